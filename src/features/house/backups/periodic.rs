//! Periodic work: starts backups and rehearsals when they are due, and notices when the newest backup is old.

use super::tasks::{MAKE, REHEARSE, Which};
use super::{US, events, queries, settings};
use crate::access::Allowed;
use crate::access::right::{Controller, Edit};
use crate::app::App;
use crate::base::clock::{self, DAY, Duration, MINUTE, Ms};
use crate::base::error::{Error, Result};
use crate::db::Conn;
use crate::events::outbox;
use crate::schedule::{Periodic, Work};
use crate::settings::time_zone;
use crate::task::{NewTask, queue};
use serde_json::{Value, json};

/// See [`Periodic`].
pub const PERIODIC: &[Periodic] = &[
    Periodic {
        name: "backups.age",
        every: Duration::from_secs(600),
        run: Work::Short(|app| tell_age(app, clock::now())),
    },
    Periodic {
        name: "backups.follow",
        every: Duration::from_secs(60),
        run: Work::Short(|app| follow(app, clock::now())),
    },
];

/// A machine that was off at the time makes up for it when it is on again.
fn follow(app: &App, now: Ms) -> Result<()> {
    let (is_due, due_rehearsal) = app
        .db
        .read(|conn| Ok((is_due(conn, app.started_at, now)?, to_rehearse(conn, now)?)))?;
    if is_due {
        start(app, MAKE, json!({}))?;
    }
    if let Some(which) = due_rehearsal {
        start(app, REHEARSE, serde_json::to_value(which).map_err(Error::internal)?)?;
    }
    Ok(())
}

/// Has a time of the schedule passed since the last one, or since the start where there was none?
fn is_due(conn: &Conn, started_at: Ms, now: Ms) -> Result<bool> {
    let Some(cron) = settings::cron(conn)? else {
        return Ok(false);
    };
    let since = queries::last(conn)?.0.unwrap_or(started_at).min(now);
    Ok(cron.next_after(since, &time_zone(conn)?).is_some_and(|due| due <= now))
}

/// The newest backup, when none was read for the days of the setting.
fn to_rehearse(conn: &Conn, now: Ms) -> Result<Option<Which>> {
    let days = settings::REHEARSE_DAYS.number(conn)?;
    let last = queries::last(conn)?.1.unwrap_or(0).min(now);
    // The backup of this minute is still being written down.
    let is_settled = |at: Ms| now - at >= MINUTE;
    let newest = queries::newest_made(conn)?.filter(|b| b.is_readable() && is_settled(b.began_at));
    let is_due = days > 0 && now - last >= days * DAY;
    Ok(newest.filter(|_| is_due).map(|b| Which { backup: b.id.get() }))
}

fn start(app: &App, kind: &'static str, input: Value) -> Result<()> {
    let by = Allowed::<Edit, Controller>::by_daemon();
    let target = (US.0, US.1, "Lamplighter");
    let started = app
        .db
        .write(|tx| queue::enqueue(tx, &app.wakes.tasks, &NewTask { kind, target, input }, by));
    match started {
        Err(e) if e.code == "task_open" => Ok(()),
        started => started.map(drop),
    }
}

/// Tells once that the newest backup is too old; a new one ends it.
fn tell_age(app: &App, now: Ms) -> Result<()> {
    let told = app.db.read(|conn| {
        let Some(age_max) = settings::age_max(conn)? else {
            return Ok(None);
        };
        let newest = queries::newest_made(conn)?.map(|b| b.began_at);
        let is_old = now - newest.unwrap_or(app.started_at) > age_max;
        let is_told = outbox::newest_of(conn, [events::OLD, events::MADE])?.as_deref() == Some(events::OLD);
        Ok((is_old && !is_told).then_some(newest))
    })?;
    let Some(newest) = told else {
        return Ok(());
    };
    let evidence = newest.map_or("No backup was made yet.".into(), |at| {
        format!("The newest one was begun at {}.", clock::rfc3339(at))
    });
    let data = json!({ "name": "Lamplighter", "evidence": [evidence] });
    app.db
        .write(|tx| outbox::emit(tx, &app.wakes.events, events::OLD, US, &data))
}
