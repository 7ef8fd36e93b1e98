//! A server's lamp. N failed polls in a row make it dark, one good poll lights it; nothing else does.

use crate::base::clock::Ms;
use crate::base::error::Error;
use crate::features::fleet::servers::Lamp;

/// The lamp changed: the moment for an alert and an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// What it showed.
    pub from: &'static str,
    /// What it shows.
    pub to: &'static str,
    /// How long it showed that.
    pub after_ms: Ms,
}

/// The lamp after a poll that began `at`. A threshold of 0 counts as 1.
pub fn step(lamp: &Lamp, poll: Result<(), &Error>, at: Ms, fail_threshold: u32) -> (Lamp, Option<Change>) {
    let mut next = lamp.clone();
    match poll {
        Ok(()) => {
            next.fail_count = 0;
            next.missed_since = None;
            next.error = None;
            next.host = None;
            next.status = "ok";
        }
        Err(e) => {
            next.fail_count += 1;
            next.missed_since.get_or_insert(at);
            next.error = Some((e.code.into(), e.say.clone()));
            if next.fail_count >= i64::from(fail_threshold.max(1)) {
                next.status = "unreachable";
            }
        }
    }
    if next.status == lamp.status {
        return (next, None);
    }
    next.since = next.missed_since.unwrap_or(at);
    let change = Change {
        from: lamp.status,
        to: next.status,
        after_ms: (next.since - lamp.since).max(0),
    };
    (next, Some(change))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::Kind;

    #[test]
    fn three_in_a_row_make_it_dark_and_one_lights_it() {
        let bad = Error::new(Kind::Timeout, "read_timeout", "Too slow.");
        let mut lamp = Lamp {
            status: "ok",
            since: 0,
            fail_count: 0,
            missed_since: None,
            error: None,
            host: None,
        };
        let mut changes = Vec::new();
        for (at, good) in [false, false, true, false, false, false, false, true, true]
            .into_iter()
            .enumerate()
            .map(|(i, g)| (i as Ms, g))
        {
            let (next, change) = step(&lamp, if good { Ok(()) } else { Err(&bad) }, at, 3);
            changes.extend(change.map(|c| (at, c.from, c.to, c.after_ms)));
            lamp = next;
            assert_eq!(lamp.error.is_some(), !good);
        }
        // Dark since the first of the three, and said after the third.
        assert_eq!(changes, [(5, "ok", "unreachable", 3), (7, "unreachable", "ok", 4)]);
        assert_eq!((lamp.fail_count, lamp.since), (0, 7));
    }

    #[test]
    fn a_newcomer_is_given_as_many_tries() {
        let bad = Error::new(Kind::Upstream, "refused", "No.");
        let mut lamp = Lamp {
            status: "provisioning",
            since: 0,
            fail_count: 0,
            missed_since: None,
            error: None,
            host: None,
        };
        for n in 1..=3 {
            let (next, change) = step(&lamp, Err(&bad), n, 3);
            assert_eq!(change.is_some(), n == 3);
            lamp = next;
        }
        assert_eq!(lamp.status, "unreachable");
        let fresh = Lamp {
            status: "provisioning",
            since: 0,
            fail_count: 0,
            missed_since: None,
            error: None,
            host: None,
        };
        assert_eq!(step(&fresh, Ok(()), 1, 3).0.status, "ok");
    }
}
