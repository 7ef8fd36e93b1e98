//! A server's lamp. N failed polls in a row make it dark, one good poll lights it; nothing else does.

use crate::base::clock::Ms;
use crate::base::error::Error;

/// What a lamp shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Never reached so far, and not yet given up.
    Provisioning,
    /// The last polls were good, or fewer than N of them were bad.
    Ok,
    /// N polls in a row failed.
    Unreachable,
}

impl Status {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Provisioning => "provisioning",
            Status::Ok => "ok",
            Status::Unreachable => "unreachable",
        }
    }

    /// As it was stored.
    pub fn parse(text: &str) -> Option<Status> {
        [Status::Provisioning, Status::Ok, Status::Unreachable]
            .into_iter()
            .find(|s| s.as_str() == text)
    }
}

/// What is known of one lamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lamp {
    /// What it shows.
    pub status: Status,
    /// Since when.
    pub since: Ms,
    /// Failed polls in a row.
    pub fail_count: u32,
    /// Code and sentence of the last failure; gone after a good poll.
    pub last_error: Option<(&'static str, String)>,
}

/// The lamp changed: the moment for an alert and an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// What it showed.
    pub from: Status,
    /// What it shows.
    pub to: Status,
    /// How long it showed that.
    pub after_ms: Ms,
}

/// The lamp after a poll that began `at`. A threshold of 0 counts as 1.
pub fn step(lamp: &Lamp, poll: Result<(), &Error>, at: Ms, fail_threshold: u32) -> (Lamp, Option<Change>) {
    let mut next = lamp.clone();
    match poll {
        Ok(()) => {
            next.fail_count = 0;
            next.last_error = None;
            next.status = Status::Ok;
        }
        Err(e) => {
            next.fail_count = lamp.fail_count.saturating_add(1);
            next.last_error = Some((e.code, e.say.clone()));
            if next.fail_count >= fail_threshold.max(1) {
                next.status = Status::Unreachable;
            }
        }
    }
    if next.status == lamp.status {
        return (next, None);
    }
    next.since = at;
    let change = Change {
        from: lamp.status,
        to: next.status,
        after_ms: (at - lamp.since).max(0),
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
            status: Status::Ok,
            since: 0,
            fail_count: 0,
            last_error: None,
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
            assert_eq!(lamp.last_error.is_some(), !good);
        }
        assert_eq!(
            changes,
            [
                (5, Status::Ok, Status::Unreachable, 5),
                (7, Status::Unreachable, Status::Ok, 2)
            ]
        );
        assert_eq!((lamp.fail_count, lamp.since), (0, 7));
    }

    #[test]
    fn a_newcomer_is_given_as_many_tries() {
        let bad = Error::new(Kind::Upstream, "refused", "No.");
        let mut lamp = Lamp {
            status: Status::Provisioning,
            since: 0,
            fail_count: 0,
            last_error: None,
        };
        for n in 1..=3 {
            let (next, change) = step(&lamp, Err(&bad), n, 3);
            assert_eq!(change.is_some(), n == 3);
            lamp = next;
        }
        assert_eq!(lamp.status, Status::Unreachable);
        let fresh = Lamp {
            status: Status::Provisioning,
            since: 0,
            fail_count: 0,
            last_error: None,
        };
        assert_eq!(step(&fresh, Ok(()), 1, 3).0.status, Status::Ok);
    }
}
