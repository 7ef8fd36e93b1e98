//! What looks at certificates come to: a site's state, its domain's state, and when to look again. Pure.

use crate::base::clock::{HOUR, MINUTE, Ms};
use crate::base::shape::described;
use crate::features::proxy::certificates::{self, Stage};

/// What is known of the certificate that a server shows for a domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// When it was looked at, unix ms.
    pub looked_at: Ms,
    /// Empty: good. Else `expired`, `not_yet_valid`, `wrong_name`, `self_signed`, `untrusted`, `unusable`, `no_tls` or
    /// `unreachable`.
    pub code: String,
    /// One sentence: what is wrong, or that it is good.
    pub say: String,
    /// Looks in a row that were not good.
    pub misses: i64,
    /// Good, but signed by an authority that this machine does not know.
    pub private: bool,
    /// The certificate last seen, also while nothing answers.
    pub shown: Option<Shown>,
}

/// The facts of a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// What it is for.
    pub names: Vec<String>,
    /// Who signed it.
    pub issuer: String,
    /// Hex in pairs.
    pub serial: String,
    /// `ECDSA P-256`.
    pub key_type: String,
    /// Hex.
    pub sha256: String,
    /// Unix ms.
    pub not_before: Ms,
    /// Unix ms.
    pub not_after: Ms,
    /// When it stops to be taken, unix ms: its own end, or one above it that comes first.
    pub good_until: Ms,
    /// The certificate above it that ends first; empty: it does itself.
    pub ends_by: String,
}

impl Shown {
    /// From when to when it counts as living: as long as its authority meant, up to the end that comes first. So three days
    /// left are as late for a certificate of yesterday as for one of last month.
    pub fn life(&self) -> (Ms, Ms) {
        let whole = self.not_after.saturating_sub(self.not_before);
        (self.good_until.saturating_sub(whole), self.good_until)
    }
}

impl Seen {
    /// When the stage of its life began that it is in; none: it is young, or none was seen.
    pub fn since(&self, now: Ms) -> Option<Ms> {
        let (from, to) = self.shown.as_ref()?.life();
        certificates::since(from, to, now)
    }

    /// Is its time over?
    pub fn is_over(&self, now: Ms) -> bool {
        self.shown.as_ref().is_some_and(|c| c.good_until < now)
    }
}

/// How a domain's certificates stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing was seen yet.
    Unknown,
    /// More than a third of its life is left.
    Ok,
    /// A third or less.
    Soon,
    /// A tenth or less.
    Urgent,
    /// Out of date, or not what a browser would take.
    Bad,
}
described!(State: "unknown", "ok", "soon", "urgent", "bad");

impl State {
    /// As stored and shown.
    pub fn name(self) -> &'static str {
        ["unknown", "ok", "soon", "urgent", "bad"][self as usize]
    }
}

/// One look that fails is no news: a server restarts, a link is lost. Two in a row are.
pub const MISSES: i64 = 2;

/// What a site's last look says. `None`: nothing yet, or a first failure, which has to be seen again.
pub fn state(seen: &Seen, now: Ms) -> Option<State> {
    let stage = seen
        .shown
        .as_ref()
        .map(Shown::life)
        .map(|(from, to)| certificates::stage(from, to, now));
    match (seen.code.as_str(), stage) {
        // Time is no accident, and nobody has to look twice at a clock.
        (_, Some(Stage::Over)) | ("expired", _) => Some(State::Bad),
        ("", Some(Stage::Ok)) => Some(State::Ok),
        ("", Some(Stage::Soon)) => Some(State::Soon),
        ("", Some(Stage::Urgent)) => Some(State::Urgent),
        ("", None) => None,
        // No certificate was shown: what was seen before still ages. That nobody answers is told by `sitewatch`.
        ("unreachable" | "no_tls", Some(Stage::Soon)) => Some(State::Soon),
        ("unreachable" | "no_tls", Some(Stage::Urgent)) => Some(State::Urgent),
        ("unreachable" | "no_tls", _) => None,
        _ if seen.misses >= MISSES => Some(State::Bad),
        _ => None,
    }
}

/// The worst of a domain's sites; what it was before when none has anything to say.
pub fn worst(sites: &[&Seen], before: State, now: Ms) -> State {
    let known = sites.iter().filter_map(|seen| state(seen, now)).max();
    match known {
        // A site that failed for the first time may be the one that was bad: it takes nothing back alone.
        Some(State::Ok) if before > State::Ok && sites.iter().any(|s| !s.code.is_empty()) => before,
        Some(state) => state,
        None => before,
    }
}

/// Looks in the life of a certificate, so that its last third and its last tenth are seen in time.
const LOOKS_IN_A_LIFE: Ms = 12;
/// What is bad may be put right at any time, and the person who does it wants to see that.
const AFTER_BAD: Ms = 10 * MINUTE;

/// From one look at a site to the next. `usual` is what a person has set.
pub fn every(seen: &Seen, usual: Ms) -> Ms {
    let life = seen
        .shown
        .as_ref()
        .map_or(Ms::MAX, |c| c.not_after.saturating_sub(c.not_before) / LOOKS_IN_A_LIFE);
    let soon = match (seen.code.is_empty(), seen.misses) {
        (true, _) => Ms::MAX,
        (false, ..MISSES) => MINUTE,
        (false, _) => AFTER_BAD,
    };
    usual.min(life).min(soon).clamp(MINUTE, 24 * HOUR)
}

/// The least time from one attempt to renew to the next: that of certbot's own timer, or what a short life allows.
pub fn renewal_every(shown: &Shown) -> Ms {
    let life = shown.not_after.saturating_sub(shown.not_before);
    (life / LOOKS_IN_A_LIFE).clamp(MINUTE, 12 * HOUR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::DAY;

    fn seen(code: &str, misses: i64, life: Ms, left: Ms) -> Seen {
        Seen {
            code: code.into(),
            misses,
            shown: Some(Shown {
                not_before: left - life,
                not_after: left,
                good_until: left,
                ..Shown::default()
            }),
            ..Seen::default()
        }
    }

    #[test]
    fn a_good_certificate_is_judged_by_its_age_and_a_bad_one_when_it_was_seen_twice() {
        for (seen, known) in [
            (seen("", 0, 90 * DAY, 60 * DAY), Some(State::Ok)),
            (seen("", 0, 90 * DAY, 30 * DAY), Some(State::Soon)),
            (seen("", 0, HOUR, 20 * MINUTE), Some(State::Soon)),
            (seen("", 0, 90 * DAY, 9 * DAY), Some(State::Urgent)),
            (seen("", 0, HOUR, 5 * MINUTE), Some(State::Urgent)),
            (seen("expired", 1, 90 * DAY, -1), Some(State::Bad)),
            (seen("unreachable", 1, 90 * DAY, -1), Some(State::Bad)),
            (seen("unreachable", 1, 90 * DAY, 60 * DAY), None),
            (seen("unreachable", 1, 90 * DAY, 9 * DAY), Some(State::Urgent)),
            (seen("unreachable", 9, 90 * DAY, 60 * DAY), None),
            (seen("no_tls", 9, 90 * DAY, 30 * DAY), Some(State::Soon)),
            (seen("wrong_name", 1, 90 * DAY, 9 * DAY), None),
            (seen("wrong_name", 2, 90 * DAY, 60 * DAY), Some(State::Bad)),
            (seen("untrusted", 9, 90 * DAY, 60 * DAY), Some(State::Bad)),
            (Seen::default(), None),
        ] {
            assert_eq!(state(&seen, 0), known, "{seen:?}");
        }
    }

    #[test]
    fn the_worst_site_decides_and_a_first_failure_takes_nothing_back() {
        let good = seen("", 0, 90 * DAY, 60 * DAY);
        let soon = seen("", 0, 90 * DAY, 20 * DAY);
        let failed = seen("unreachable", 1, 90 * DAY, 60 * DAY);
        let worst = |sites: &[&Seen], before| worst(sites, before, 0);
        assert_eq!(worst(&[], State::Unknown), State::Unknown);
        assert_eq!(worst(&[&good, &soon], State::Ok), State::Soon);
        assert_eq!(worst(&[&good, &failed], State::Ok), State::Ok);
        assert_eq!(worst(&[&good, &failed], State::Bad), State::Bad);
        assert_eq!(worst(&[&good, &failed], State::Unknown), State::Ok);
        assert_eq!(worst(&[&failed], State::Unknown), State::Unknown);
        assert_eq!(worst(&[&good, &good], State::Bad), State::Ok);
    }

    #[test]
    fn a_short_life_is_looked_at_more_often() {
        let usual = HOUR;
        assert_eq!(every(&seen("", 0, 90 * DAY, 60 * DAY), usual), HOUR);
        assert_eq!(every(&seen("", 0, HOUR, HOUR), usual), 5 * MINUTE);
        assert_eq!(every(&seen("", 0, 5 * MINUTE, MINUTE), usual), MINUTE);
        assert_eq!(every(&seen("unreachable", 1, 90 * DAY, 60 * DAY), usual), MINUTE);
        assert_eq!(every(&seen("unreachable", 5, 90 * DAY, 60 * DAY), usual), 10 * MINUTE);
        assert_eq!(every(&seen("", 0, 90 * DAY, 60 * DAY), 5 * MINUTE), 5 * MINUTE);
    }
}
