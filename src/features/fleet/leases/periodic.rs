//! Leases end.

use super::{Lease, events, host, queries};
use crate::access::Allowed;
use crate::access::right::{Edit, Secrets};
use crate::app::App;
use crate::base::clock::{self, DAY, Duration, MINUTE, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::base::id::Id;
use crate::base::process::Cancel;
use crate::features::fleet::rotations;
use crate::features::house::events::RETENTION_EVENT_DAYS;
use crate::schedule::fan_out::FanOut;
use crate::schedule::{Periodic, Work};

/// All of it.
pub const PERIODIC: &[Periodic] = &[
    Periodic {
        name: "leases.end",
        every: Duration::from_secs(5),
        run: Work::Long(|app, cancel| end_all(app, cancel, clock::now())),
    },
    Periodic {
        name: "leases.purge",
        every: Duration::from_secs(3_600),
        run: Work::Short(|app| {
            let days = app.db.read(|conn| RETENTION_EVENT_DAYS.number(conn))?;
            app.db
                .write(|tx| queries::purge(tx, clock::now() - days * DAY).map(drop))
        }),
    },
];

/// Hosts at the same time, and leases of one round.
const WIDTH: usize = 16;
const ROUND: i64 = 500;
/// No end is begun later in a round.
const BEGIN_MAX: Duration = Duration::from_secs(120);
/// A lease that is still being made after this was cut off.
const MAKING_MAX: Ms = 2 * MINUTE;
/// From the second try on it is told that it cannot be ended; pauses double up to this.
const PAUSE_MAX: Ms = 10 * MINUTE;

fn end_all(app: &App, cancel: &Cancel, now: Ms) -> Result<()> {
    let quiet = app.db.read(|conn| {
        let due = queries::due(conn, now, 1)?.is_empty();
        let (open, _) = queries::list(conn, None, true, "", 1, 0)?;
        Ok(due && open.is_empty())
    })?;
    if quiet {
        return Ok(());
    }
    let (due, rotate) = app.db.write(|tx| {
        queries::half_made(tx, now - MAKING_MAX)?;
        let (_, rotate) = queries::end_copies(tx, now)?;
        Ok((queries::due(tx, now, ROUND)?, rotate))
    })?;
    for secret in rotate {
        let by = Allowed::<Edit, Secrets>::by_daemon();
        app.db
            .write(|tx| rotations::put_in_by_number(app, tx, Id::new(secret), by))?;
    }
    let fan_out = FanOut {
        name: "leases.end",
        width: WIDTH,
        begin_until: Some(clock::mono() + BEGIN_MAX),
        cancel,
    };
    let done = fan_out.run_alone(
        &due,
        |lease| Some((lease.server.map_or(0, |id| id.get()), 0)),
        |lease| end_one(app, lease, cancel),
    );
    done.into_iter().flatten().collect()
}

fn end_one(app: &App, lease: &Lease, cancel: &Cancel) -> Result<()> {
    let is_gone = lease.server_name.is_empty();
    let ended = match is_gone {
        true => {
            let say = "The server was deleted here before the lease could be ended there.";
            Err(Error::new(Kind::Conflict, "server_gone", say))
        }
        false => host::end(app, lease, cancel),
    };
    let now = clock::now();
    app.db.write(|tx| {
        let Some(mut lease) = queries::get(tx, lease.id)?.filter(Lease::is_open) else {
            return Ok(());
        };
        match &ended {
            Ok(()) => {
                queries::set_state(tx, lease.id, "ended", Some(now), "")?;
                super::emit(app, tx, events::ENDED, &lease)
            }
            Err(e) if e.code == "cancelled" => Ok(()),
            Err(e) => {
                let tells = lease.told == 0 && (lease.tries >= 1 || is_gone);
                let pause = ((MINUTE / 12) << lease.tries.min(10)).min(PAUSE_MAX);
                lease.say = e.say.clone();
                queries::set_tried(tx, lease.id, now + pause, i64::from(tells || lease.told > 0), &e.say)?;
                match tells {
                    true => super::emit(app, tx, events::STUCK, &lease),
                    false => Ok(()),
                }
            }
        }
    })
}
