//! Once a minute every host with a method is looked at; results are stored together.

use super::check::{Seen, Target, look};
use super::{queries, snapshots};
use crate::app::App;
use crate::base::clock::{self, DAY, Duration};
use crate::base::error::Result;
use crate::base::process::Cancel;
use crate::features::house::events::RETENTION_EVENT_DAYS;
use crate::schedule::fan_out::FanOut;
use crate::schedule::{Periodic, Work};

pub const PERIODIC: &[Periodic] = &[
    Periodic {
        name: "hosts.look",
        every: Duration::from_secs(60),
        run: Work::Long(look_at_all),
    },
    Periodic {
        name: "hosts.purge",
        every: Duration::from_secs(3600),
        run: Work::Short(|app| {
            let days = app.db.read(|conn| RETENTION_EVENT_DAYS.number(conn))?;
            let before = clock::now() - days * DAY;
            app.db.write(|tx| {
                queries::purge(tx, before)?;
                queries::purge_facts(tx, before).map(drop)
            })
        }),
    },
    Periodic {
        name: "hosts.facts",
        every: FACTS_EVERY,
        run: Work::Short(|app| snapshots::ask_daily(app, FACTS_EVERY.as_millis() as i64)),
    },
];

/// From round to round of those that are asked for their facts; each is asked once a day.
const FACTS_EVERY: Duration = Duration::from_secs(600);

/// Concurrent looks. They only wait.
const WIDTH: usize = 64;
/// No look begins later in a run, so that the next one is in time; who was left out is the first then.
const BEGIN_MAX: Duration = Duration::from_secs(50);
/// Looks between two transactions: a daemon that is killed loses no more.
const BATCH: usize = 256;

fn look_at_all(app: &App, cancel: &Cancel) -> Result<()> {
    let targets = app.db.read(queries::targets)?;
    let fan_out = FanOut {
        name: "hosts.look",
        width: WIDTH,
        begin_until: Some(clock::mono() + BEGIN_MAX),
        cancel,
    };
    for batch in targets.chunks(BATCH) {
        let seen = fan_out.run_alone(batch, |target| Some((target.id, 0)), look);
        keep_all(app, batch, &seen)?;
    }
    Ok(())
}

fn keep_all(app: &App, batch: &[Target], seen: &[Option<Seen>]) -> Result<()> {
    let at = clock::now();
    let mut done = batch.iter().zip(seen).filter_map(|(t, s)| Some((t, s.as_ref()?)));
    app.db
        .write(|tx| done.try_for_each(|(target, seen)| queries::keep(tx, target, seen, at)))
}
