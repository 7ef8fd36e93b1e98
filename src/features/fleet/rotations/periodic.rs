//! Rotations by the clock, and those that were cut off.

use super::{queries, work};
use crate::access::Allowed;
use crate::access::right::{Edit, Secrets};
use crate::app::App;
use crate::base::clock::{self, DAY, Duration, HOUR, MINUTE, Ms};
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::db::Tx;
use crate::features::house::events::RETENTION_EVENT_DAYS;
use crate::features::house::secrets::{self, Secret};
use crate::schedule::{Periodic, Work};
use crate::settings;
use crate::task::{NewTask, queue};

/// All of it.
pub const PERIODIC: &[Periodic] = &[
    Periodic {
        name: "rotations.tend",
        every: Duration::from_secs(10),
        run: Work::Short(|app| tend(app, clock::now())),
    },
    Periodic {
        name: "rotations.purge",
        every: Duration::from_secs(3_600),
        run: Work::Short(|app| {
            let days = app.db.read(|conn| RETENTION_EVENT_DAYS.number(conn))?;
            app.db
                .write(|tx| queries::purge(tx, clock::now() - days * DAY).map(drop))
        }),
    },
];

/// A rotation by the clock that was put in is not put in again before this.
const PAUSE: Ms = HOUR;

fn tend(app: &App, now: Ms) -> Result<()> {
    let (untidy, due, minute) = app.db.read(|conn| {
        let zone = settings::time_zone(conn)?;
        let minute = zone.local(now).rem_euclid(DAY) / MINUTE;
        Ok((queries::untidy(conn, now)?, secrets::overdue(conn, now)?, minute))
    })?;
    for id in untidy {
        app.db.write(|tx| {
            let secret = secrets::get(tx, id)?;
            put_in(app, tx, &secret, work::SETTLE)
        })?;
    }
    for secret in due.iter().filter(|s| is_within(&s.fields.hours, minute)) {
        let kind = match secret.fields.plan {
            "apply" => work::APPLY,
            _ => work::ROTATE,
        };
        app.db.write(|tx| {
            secrets::set_next_try(tx, secret.id, now + PAUSE)?;
            put_in(app, tx, secret, kind)
        })?;
    }
    Ok(())
}

/// Has a secret rotated, as its plan says, by the daemon.
pub fn put_in_by_number(app: &App, tx: &Tx, id: Id<id::Secret>, _by: Allowed<Edit, Secrets>) -> Result<()> {
    let secret = secrets::get(tx, id)?;
    let kind = match secret.fields.plan {
        "apply" => work::APPLY,
        _ => work::ROTATE,
    };
    put_in(app, tx, &secret, kind)
}

/// Is this minute of the day within these hours?
fn is_within(hours: &str, minute: i64) -> bool {
    match secrets::hours(hours) {
        None => true,
        Some((from, to)) if from < to => (from..to).contains(&minute),
        Some((from, to)) => minute >= from || minute < to,
    }
}

/// Puts a task in, unless one works on the secret already.
fn put_in(app: &App, tx: &Tx, secret: &Secret, kind: &'static str) -> Result<()> {
    let target = ("secret", secret.id.get());
    if queue::open(tx, target, |kind| kind.starts_with("rotations."))?.is_some() {
        return Ok(());
    }
    let new = NewTask {
        kind,
        target: (target.0, target.1, &secret.fields.name),
        input: serde_json::json!({}),
    };
    queue::enqueue(tx, &app.wakes.tasks, &new, Allowed::<Edit, Secrets>::by_daemon()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::is_within;

    #[test]
    fn hours_may_go_over_midnight() {
        for (hours, minute, within) in [
            ("", 0, true),
            ("02:00-04:00", 120, true),
            ("02:00-04:00", 240, false),
            ("22:30-01:00", 1_350, true),
            ("22:30-01:00", 59, true),
            ("22:30-01:00", 60, false),
        ] {
            assert_eq!(is_within(hours, minute), within, "{hours} {minute}");
        }
    }
}
