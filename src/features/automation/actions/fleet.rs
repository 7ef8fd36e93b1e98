//! One action on several servers, as parts of one task. The first server goes alone; when it went well the others follow, a
//! few at a time. Whatever fails stops what has not begun. Between two lots the task holds no worker: it goes on when its
//! parts have ended ([`family::go_on`]).

use super::model::WORKS;
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::base::text;
use crate::db::Tx;
use crate::features::fleet::servers;
use crate::task::family::{children, enqueue_part, go_on};
use crate::task::worker::Run;
use crate::task::{NewTask, Outcome, Status};
use serde::{Deserialize, Serialize};

/// Most servers at once.
pub const SERVERS_MAX: usize = 1_000;

/// Input: what is done, and where.
#[derive(Debug, Serialize, Deserialize)]
pub struct Fleet {
    /// One of [`WORKS`].
    pub kind: String,
    /// Its input.
    pub input: serde_json::Value,
    /// Ids of servers, the first one in front.
    pub servers: Vec<i64>,
    /// So many at a time, after the first.
    pub width: usize,
}

pub fn run(run: &Run) -> Result<Outcome> {
    let fleet: Fleet = run.input()?;
    let parts = run.app.db.read(|conn| children(conn, run.task.id))?;
    let red: Vec<String> = (parts
        .iter()
        .filter(|part| part.status.is_final() && part.status != Status::Ok))
    .map(|part| part.target.2.clone())
    .collect();
    let rest = fleet.servers.get(parts.len()..).unwrap_or_default();
    if !red.is_empty() {
        let say = format!(
            "It did not go well on {}. {} of {} servers were left as they are.",
            text::first_of(&red, 5),
            rest.len(),
            fleet.servers.len()
        );
        return Err(Error::new(Kind::Conflict, "stopped_on_red", say));
    }
    if rest.is_empty() {
        return Ok(Outcome {
            changed: 0,
            commit: None,
        });
    }
    let kind = WORKS.into_iter().find(|kind| *kind == fleet.kind);
    let kind = kind.ok_or_else(|| Error::internal(format!("no action {}", fleet.kind)))?;
    let lot: Vec<i64> = rest
        .iter()
        .copied()
        .take(if parts.is_empty() { 1 } else { fleet.width.max(1) })
        .collect();
    run.log.say(&match parts.len() {
        0 => format!("The first of {} goes alone.", fleet.servers.len()),
        done => format!("{done} of {} went well. {} more now.", fleet.servers.len(), lot.len()),
    });
    let (id, wakes) = (run.task.id, run.app.wakes.clone());
    Ok(Outcome {
        changed: 0,
        commit: Some(Box::new(move |tx: &Tx| {
            for server in lot {
                let server: Id<id::Server> = Id::new(server);
                let name = servers::get(tx, server)?.fields.name;
                let target = ("server", server.get(), name.as_str());
                let input = fleet.input.clone();
                enqueue_part(tx, &wakes, id, &NewTask { kind, target, input })?;
            }
            go_on(tx, id)
        })),
    })
}
