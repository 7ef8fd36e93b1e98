//! What people do to containers: start, stop, restart, as tasks. The engine is reached anew for each, so that an act does
//! not wait for the collector, nor the collector for it.

use super::collect;
use super::engine::{Ask, Engine};
use super::model::EngineId;
use super::observed::TARGET;
use super::queries::{self, Container};
use crate::access::right::{self, may};
use crate::base::clock::{self, SECOND};
use crate::base::error::{Error, Kind as Fault, Result};
use crate::form::param::{self, Param};
use crate::task::worker::Run;
use crate::task::{ByClock, Class, Kind, Outcome, Tries};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Kind: starts a container.
pub const START: &str = "container.start";
/// Kind: stops a container.
pub const STOP: &str = "container.stop";
/// Kind: restarts a container.
pub const RESTART: &str = "container.restart";

/// Seconds between the request to end and the end, when nobody says otherwise.
const GRACE_S: i64 = 10;

/// Seconds within which an end after its grace is one that was asked for.
const MORE_S: i64 = 30;

/// What acts take.
pub const ACT: &[Param] = &[GRACE];

/// How long a container may take to end.
const GRACE: Param = param::number(
    "grace_s",
    0..=600,
    "Seconds that it gets to end by itself, 10 if nothing is said.",
);

const fn kind(name: &'static str, idempotent: bool, run: fn(&Run) -> Result<Outcome>) -> Kind {
    Kind {
        name,
        idempotent,
        class: Class::Standard,
        deadline: Duration::from_secs(15 * 60),
        tries: Tries::ONCE,
        locks: Kind::TARGET_ONLY,
        by_clock: Some(ByClock {
            target: TARGET.name,
            right: may(right::Deploy, right::Containers),
        }),
        run,
    }
}

/// All kinds. A restart that lost its worker is not repeated: it may have been done.
pub const TASKS: &[Kind] = &[
    kind(START, true, |run| {
        act(run, |life, _| Ask::Start(life), "It runs already.")
    }),
    kind(STOP, true, |run| {
        act(run, |life, grace| Ask::Stop(life, grace), "It does not run.")
    }),
    kind(RESTART, false, |run| {
        act(run, |life, grace| Ask::Restart(life, grace), "")
    }),
];

/// Input of an act.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Act {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grace_s: Option<i64>,
}

impl Act {
    /// Reads `{"grace_s"}`.
    pub fn read(mut input: crate::form::Input) -> Result<Act> {
        let grace_s = input.number("grace_s");
        input.finish(&[])?;
        Ok(Act { grace_s })
    }
}

fn act(run: &Run, ask: for<'a> fn(&'a EngineId, u32) -> Ask<'a>, is_so: &str) -> Result<Outcome> {
    let input: Act = run.input()?;
    let grace = u32::try_from(input.grace_s.unwrap_or(GRACE_S)).unwrap_or_default();
    let container = run.app.db.read(|conn| queries::get(conn, run.target()))?;
    let container = container.ok_or_else(|| Error::not_found("container"))?;
    let life = life(&container)?;
    run.log.say(&format!(
        "{} {}, image {}",
        container.full_name(),
        life.short(),
        container.image
    ));
    if !matches!(ask(&life, grace), Ask::Start(_)) {
        let until = clock::now() + (i64::from(grace) + MORE_S) * SECOND;
        run.app.db.write(|tx| queries::ask_end(tx, container.id, until))?;
    }
    let status = collect::with_engine(run.app, container.server, run.cancel, |engine: &Engine| {
        let (status, _) = engine.ask(&ask(&life, grace)).map_err(|e| match e.kind {
            Fault::NotFound => {
                let say =
                    "The engine no longer has this container: it was removed or made anew. Look again and repeat it.";
                Error::new(Fault::Conflict, "container_gone", say).log(e.log)
            }
            _ => e,
        })?;
        Ok(status)
    })?;
    let changed = u32::from(status != 304);
    run.log.say(match changed {
        0 => is_so,
        _ => "Done.",
    });
    Ok(Outcome { changed, commit: None })
}

fn life(container: &Container) -> Result<EngineId> {
    let life = EngineId::parse(&container.life).filter(|_| container.state != super::model::GONE);
    life.ok_or_else(|| {
        let say = "This container is gone; only its history is here.";
        Error::new(Fault::Conflict, "container_gone", say)
    })
}
