//! Evaluation of site checks: state of a site and of its domain. Pure.

use crate::base::clock::{MINUTE, Ms, SECOND};
use crate::provision::site::Inside;

/// State of a site or domain, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Nobody knows yet.
    Unknown,
    /// Good.
    Ok,
    /// Good on some of its servers only. (Not for sites.)
    Partly,
    /// nginx answers, its backend does not.
    Backend,
    /// Another site answers instead.
    Shadowed,
    /// Answers on its server, but is not reachable from outside.
    Firewalled,
    /// Neither the site nor the server is reachable.
    Unreachable,
    /// No web server accepts connections.
    Down,
}

impl State {
    const ALL: [State; 8] = [
        State::Unknown,
        State::Ok,
        State::Partly,
        State::Backend,
        State::Shadowed,
        State::Firewalled,
        State::Unreachable,
        State::Down,
    ];

    /// As stored and shown.
    pub fn name(self) -> &'static str {
        [
            "unknown",
            "ok",
            "partly",
            "backend",
            "shadowed",
            "firewalled",
            "unreachable",
            "down",
        ][self as usize]
    }

    /// Parses a name; `Unknown` if unknown.
    pub fn parse(name: &str) -> State {
        State::ALL
            .into_iter()
            .find(|s| s.name() == name)
            .unwrap_or(State::Unknown)
    }

    /// Does it need attention?
    pub fn is_bad(self) -> bool {
        self > State::Ok
    }
}

/// Result of a check from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Good.
    Good,
    /// The connection was refused.
    Refused,
    /// No response to the connection attempt.
    Silent,
    /// The connection was accepted, but no response came.
    NoAnswer,
    /// An answer of another site.
    Other,
    /// 502, 503 or 504.
    Backend,
    /// A local problem: nothing is known.
    Unseen,
}

impl Code {
    const ALL: [Code; 7] = [
        Code::Good,
        Code::Refused,
        Code::Silent,
        Code::NoAnswer,
        Code::Other,
        Code::Backend,
        Code::Unseen,
    ];

    /// As stored and shown.
    pub fn name(self) -> &'static str {
        ["", "refused", "silent", "mute", "other", "backend", "unseen"][self as usize]
    }

    /// Parses a name; `Unseen` if unknown.
    pub fn parse(name: &str) -> Code {
        Code::ALL.into_iter().find(|c| c.name() == name).unwrap_or(Code::Unseen)
    }

    /// Was there no HTTP response?
    pub fn is_silence(self) -> bool {
        [Code::Refused, Code::Silent, Code::NoAnswer].contains(&self)
    }

    /// Does a check on the server help?
    pub fn wants_inside(self) -> bool {
        self.is_silence() || self == Code::Other
    }
}

/// Failed checks in a row that count; a single one may be a restart.
const MISSES: i64 = 2;
/// Maximum wait for the check on the server; it is made within half of that.
const INSIDE_MAX: Ms = 45 * SECOND;
/// Interval of checks on the server while it is bad.
const INSIDE_EVERY: Ms = 10 * MINUTE;

/// Known state of a site.
#[derive(Debug, Clone)]
pub struct Known {
    /// Result of the last check.
    pub code: Code,
    /// Failed checks in a row.
    pub misses: i64,
    /// Time of the first of them.
    pub since: Option<Ms>,
    /// State so far.
    pub state: State,
    /// Result on the server itself, and its time.
    pub inside: Option<(Inside, Ms)>,
    /// The server's last poll failed, but it is not down yet: it may be the whole machine.
    pub wavers: bool,
}

impl Known {
    /// The state after one more check.
    pub fn after(&self, code: Code, at: Ms) -> Known {
        let mut now = Known { code, ..self.clone() };
        match code {
            Code::Good => (now.misses, now.since) = (0, None),
            Code::Unseen => {}
            _ => (now.misses, now.since) = (self.misses + 1, self.since.or(Some(at))),
        }
        now.state = now.settled(at);
        now
    }

    /// Result on the server since the problem began.
    fn fresh_inside(&self) -> Option<Inside> {
        let (inside, at) = self.inside?;
        (Some(at) >= self.since).then_some(inside)
    }

    /// Should the server be checked?
    pub fn wants_inside(&self, now: Ms) -> bool {
        let asked = self.inside.map_or(0, |(_, at)| at);
        self.code.wants_inside() && (Some(asked) < self.since || asked + INSIDE_EVERY <= now)
    }

    fn settled(&self, now: Ms) -> State {
        let inside = self.fresh_inside();
        let waits = self.code.wants_inside() && inside.is_none() && self.since.is_some_and(|at| now < at + INSIDE_MAX);
        match self.code {
            Code::Good => State::Ok,
            Code::Unseen => self.state,
            _ if self.misses < MISSES || waits => self.state,
            // A refusal is a response: the machine is there.
            Code::Silent | Code::NoAnswer if self.wavers => self.state,
            Code::Backend => State::Backend,
            Code::Other => State::Shadowed,
            Code::Refused | Code::NoAnswer if inside == Some(Inside::Proved) => State::Firewalled,
            Code::Refused | Code::NoAnswer => State::Down,
            Code::Silent => match inside {
                Some(Inside::Proved | Inside::Other) => State::Firewalled,
                Some(Inside::Refused | Inside::Silent) => State::Down,
                None => State::Unreachable,
            },
        }
    }
}

/// State of a domain; `None`: unknown.
pub fn whole(sites: &[State]) -> Option<State> {
    let bad = sites.iter().filter(|s| s.is_bad()).count();
    match bad {
        0 => sites.contains(&State::Ok).then_some(State::Ok),
        _ if bad < sites.len() => Some(State::Partly),
        _ => sites.iter().copied().max(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known {
            code: Code::Good,
            misses: 0,
            since: None,
            state: State::Ok,
            inside: None,
            wavers: false,
        }
    }

    #[test]
    fn outside_and_inside_together_tell_what_it_is() {
        let first = 1_000 * SECOND;
        for (code, inside, state) in [
            (Code::Refused, None, State::Down),
            (Code::Refused, Some(Inside::Refused), State::Down),
            (Code::Refused, Some(Inside::Proved), State::Firewalled),
            (Code::NoAnswer, Some(Inside::Silent), State::Down),
            (Code::NoAnswer, Some(Inside::Proved), State::Firewalled),
            (Code::Silent, None, State::Unreachable),
            (Code::Silent, Some(Inside::Proved), State::Firewalled),
            (Code::Silent, Some(Inside::Other), State::Firewalled),
            (Code::Silent, Some(Inside::Refused), State::Down),
            (Code::Other, None, State::Shadowed),
            (Code::Other, Some(Inside::Proved), State::Shadowed),
            (Code::Backend, None, State::Backend),
        ] {
            let once = known().after(code, first);
            assert_eq!(
                (once.state, once.misses),
                (State::Ok, 1),
                "one look is no news: {code:?}"
            );
            let asked = Known {
                inside: inside.map(|inside| (inside, first + SECOND)),
                ..once
            };
            let twice = asked.after(code, first + MINUTE);
            assert_eq!((twice.state, twice.since), (state, Some(first)), "{code:?} {inside:?}");
            assert_eq!(twice.after(Code::Unseen, first + 2 * MINUTE).state, state);
            let good = twice.after(Code::Good, first + 2 * MINUTE);
            assert_eq!((good.state, good.misses, good.since), (State::Ok, 0, None));
        }
    }

    #[test]
    fn what_a_server_may_still_say_is_waited_for_and_so_is_a_lamp_that_wavers() {
        let first = 1_000 * SECOND;
        let old = Known {
            inside: Some((Inside::Proved, first - MINUTE)),
            ..known()
        };
        let soon = old.after(Code::Silent, first).after(Code::Silent, first + 5 * SECOND);
        assert_eq!(soon.state, State::Ok, "it was asked before the trouble began");
        assert!(soon.wants_inside(first + 5 * SECOND));
        assert_eq!(soon.after(Code::Silent, first + MINUTE).state, State::Unreachable);
        let wavering = Known {
            wavers: true,
            ..known()
        };
        let twice = wavering.after(Code::Silent, first).after(Code::Silent, first + MINUTE);
        assert_eq!(twice.state, State::Ok);
        let refused = wavering
            .after(Code::Refused, first)
            .after(Code::Refused, first + MINUTE);
        assert_eq!(refused.state, State::Down);
        let other = wavering
            .after(Code::Backend, first)
            .after(Code::Backend, first + MINUTE);
        assert_eq!(other.state, State::Backend, "whoever answers is not dark");
    }

    #[test]
    fn a_domain_is_dark_when_all_its_sites_are() {
        use State::*;
        assert_eq!(whole(&[]), None);
        assert_eq!(whole(&[Unknown]), None);
        assert_eq!(whole(&[Unknown, Ok]), Some(Ok));
        assert_eq!(whole(&[Ok, Down]), Some(Partly));
        assert_eq!(whole(&[Unknown, Down]), Some(Partly));
        assert_eq!(whole(&[Backend, Down]), Some(Down));
        assert_eq!(whole(&[Shadowed]), Some(Shadowed));
    }
}
