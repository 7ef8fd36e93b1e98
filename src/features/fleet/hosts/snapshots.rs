//! A snapshot is kept of what every task over ssh has found on a host, and hosts are asked for it once a day.

use super::events::FACTS_CHANGED;
use super::facts::{Change, Facts, changes, snapshot};
use super::queries;
use crate::access::Allowed;
use crate::access::right::{Run, Servers};
use crate::app::App;
use crate::base::clock::{self, DAY, Ms};
use crate::base::error::{Kind, Result};
use crate::base::id::Id;
use crate::db::Tx;
use crate::events::outbox::{self, Event};
use crate::features::fleet::servers;
use crate::task::NewTask;
use crate::task::queue::{self, Ended};

/// Changes that an event tells.
const TOLD_MAX: usize = 20;

/// After work on a server, its facts may be others.
pub fn react(app: &App, tx: &Tx, event: &Event) -> Result<()> {
    let Some(ended) = Ended::of(event).filter(|ended| ended.ok && ended.kind.starts_with("server.")) else {
        return Ok(());
    };
    let server = match servers::get(tx, Id::new(ended.target.0)) {
        Err(e) if e.kind == Kind::NotFound => return Ok(()), // removed since
        server => server?,
    };
    let Some(at) = server.facts_at else { return Ok(()) };
    let found: Facts = serde_json::from_str(&server.facts).unwrap_or_default();
    let now = snapshot(found);
    let before = queries::newest_facts(tx, server.id)?;
    if before.as_ref().is_some_and(|before| before.facts == now) {
        return queries::seen_again(tx, server.id, at.max(event.at));
    }
    let what = before.map_or_else(Vec::new, |before| changes(&before.facts, &now));
    queries::keep_facts(tx, server.id, &now, at.max(event.at))?;
    let evidence: Vec<String> = what.iter().take(TOLD_MAX).map(Change::sentence).collect();
    let data = serde_json::json!({ "name": server.fields.name, "evidence": evidence });
    outbox::emit(tx, &app.wakes.events, FACTS_CHANGED, ("server", server.id.get()), &data)
}

/// Has those asked whose facts are older than a day, the oldest first, and only as many as are due in one round of `every`:
/// a thousand hosts are not asked at once.
pub fn ask_daily(app: &App, every: Ms) -> Result<()> {
    let before = clock::now() - DAY;
    let due = app.db.read(|conn| queries::facts_due(conn, before, every))?;
    for (id, name) in due {
        app.db.write(|tx| {
            queries::set_facts_asked(tx, id, clock::now())?;
            let new = NewTask {
                kind: servers::CHECK_SSH,
                target: ("server", id, &name),
                input: serde_json::json!({}),
            };
            match queue::enqueue(tx, &app.wakes.tasks, &new, Allowed::<Run, Servers>::by_daemon()) {
                Err(e) if e.kind == Kind::Conflict => Ok(()), // it is being asked
                other => other.map(drop),
            }
        })?;
    }
    Ok(())
}
