//! What people do to containers: start, stop, restart, as tasks. The engine is reached anew for each, so that an act does
//! not wait for the collector, nor the collector for it.

use super::acts::{Act, RESTART, START, STOP};
use super::collect;
use super::engine::{Ask, Engine};
use super::model::{EngineId, Inspected};
use super::observed::TARGET;
use super::queries::{self, Container};
use crate::access::right::{self, may};
use crate::base::clock::{self, SECOND};
use crate::base::error::{Error, Kind as Fault, Result};
use crate::form::param::{self, Param};
use crate::task::worker::Run;
use crate::task::{ByClock, Class, Kind, Outcome, Tries};
use std::time::Duration;

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
    if input.unhealthy && !is_to_be_healed(run, &container, &life)? {
        return Ok(Outcome {
            changed: 0,
            commit: None,
        });
    }
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

/// Is it still unhealthy, and has nobody asked for its end meanwhile?
fn is_to_be_healed(run: &Run, container: &Container, life: &EngineId) -> Result<bool> {
    if container.asked_until.is_some_and(|until| clock::now() < until) {
        run.log
            .say("Somebody has just asked for its end or restart: it is left alone.");
        return Ok(false);
    }
    let details: Inspected = collect::with_engine(run.app, container.server, run.cancel, |engine: &Engine| {
        engine.read(&Ask::Inspect(life))
    })?;
    let is_so = details.state.status == "running" && details.health() == "unhealthy";
    run.log.say(match is_so {
        true => "It is unhealthy, and is restarted as its option or label says.",
        false => "It is not unhealthy any more: it is left alone.",
    });
    Ok(is_so)
}

fn life(container: &Container) -> Result<EngineId> {
    let life = EngineId::parse(&container.life).filter(|_| container.state != super::model::GONE);
    life.ok_or_else(|| {
        let say = "This container is gone; only its history is here.";
        Error::new(Fault::Conflict, "container_gone", say)
    })
}
