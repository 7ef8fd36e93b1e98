//! Evaluation of certificate checks: state of a site, state of a domain, time of the next check. Pure.

use crate::base::clock::{HOUR, MINUTE, Ms};
use crate::base::shape::described;
use crate::features::proxy::certificates::{self, Stage};

/// Known state of the certificate that a server serves for a domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Time of the check, unix ms.
    pub looked_at: Ms,
    /// Empty: good. Else `expired`, `not_yet_valid`, `wrong_name`, `self_signed`, `untrusted`, `unusable`, `no_tls` or
    /// `unreachable`.
    pub code: String,
    /// One sentence: what is wrong, or that it is good.
    pub say: String,
    /// Failed checks in a row.
    pub misses: i64,
    /// Good, but signed by an authority that this machine does not trust.
    pub private: bool,
    /// The certificate last seen, kept while nothing answers.
    pub shown: Option<Shown>,
}

/// Data of a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// Names.
    pub names: Vec<String>,
    /// Issuer.
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
    /// End of validity, unix ms: its own, or that of an issuer that expires first.
    pub good_until: Ms,
    /// The issuer that expires first; empty: itself.
    pub ends_by: String,
}

impl Shown {
    /// Start and end of its life: the intended length, up to the first expiry. So three days left are as late for a
    /// certificate of yesterday as for one of last month.
    pub fn life(&self) -> (Ms, Ms) {
        let whole = self.not_after.saturating_sub(self.not_before);
        (self.good_until.saturating_sub(whole), self.good_until)
    }
}

impl Seen {
    /// Beginning of the current stage; `None`: young, or no certificate seen.
    pub fn since(&self, now: Ms) -> Option<Ms> {
        let (from, to) = self.shown.as_ref()?.life();
        certificates::since(from, to, now)
    }

    /// Has it expired?
    pub fn is_over(&self, now: Ms) -> bool {
        self.shown.as_ref().is_some_and(|c| c.good_until < now)
    }
}

/// State of a domain's certificates.
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
    /// Expired, or not acceptable for a browser.
    Bad,
}
described!(State: "unknown", "ok", "soon", "urgent", "bad");

impl State {
    /// As stored and shown.
    pub fn name(self) -> &'static str {
        ["unknown", "ok", "soon", "urgent", "bad"][self as usize]
    }
}

/// Failed checks in a row that count; a single one may be a restart.
pub const MISSES: i64 = 2;

/// State of a site by its last check. `None`: nothing known, or a first failure, which is checked again.
pub fn state(seen: &Seen, now: Ms) -> Option<State> {
    let stage = seen
        .shown
        .as_ref()
        .map(Shown::life)
        .map(|(from, to)| certificates::stage(from, to, now));
    match (seen.code.as_str(), stage) {
        // Dates need no second check.
        (_, Some(Stage::Over)) | ("expired", _) => Some(State::Bad),
        ("", Some(Stage::Ok)) => Some(State::Ok),
        ("", Some(Stage::Soon)) => Some(State::Soon),
        ("", Some(Stage::Urgent)) => Some(State::Urgent),
        ("", None) => None,
        // No certificate: the one seen before still ages. Missing answers are reported by `sitewatch`.
        ("unreachable" | "no_tls", Some(Stage::Soon)) => Some(State::Soon),
        ("unreachable" | "no_tls", Some(Stage::Urgent)) => Some(State::Urgent),
        ("unreachable" | "no_tls", _) => None,
        _ if seen.misses >= MISSES => Some(State::Bad),
        _ => None,
    }
}

/// The worst state of a domain's sites; the previous one if no site has a state.
pub fn worst(sites: &[&Seen], before: State, now: Ms) -> State {
    let known = sites.iter().filter_map(|seen| state(seen, now)).max();
    match known {
        // A site that failed for the first time may be the bad one: it does not improve the state.
        Some(State::Ok) if before > State::Ok && sites.iter().any(|s| !s.code.is_empty()) => before,
        Some(state) => state,
        None => before,
    }
}

/// Checks in the life of a certificate, so that its last third and last tenth are noticed in time.
const LOOKS_IN_A_LIFE: Ms = 12;
/// Interval after a failure, which may be repaired at any time.
const AFTER_BAD: Ms = 10 * MINUTE;

/// Interval of checks of a site. `usual` is the setting.
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

/// Minimum time between attempts to renew: that of certbot's timer, or less for short lives.
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
