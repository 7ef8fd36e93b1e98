//! What is asked of a service, by people and by its own recovery: how its tasks are enqueued and audited.

use super::observed::TARGET;
use super::queries::Service;
use crate::access::Allowed;
use crate::access::right;
use crate::app::App;
use crate::audit;
use crate::base::error::{Error, Kind as Fault, Result};
use crate::base::id::{Id, Task};
use crate::db::Tx;
use crate::task::{NewTask, queue};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Kind: starts a service.
pub const START: &str = "service.start";
/// Kind: stops a service.
pub const STOP: &str = "service.stop";
/// Kind: restarts a service.
pub const RESTART: &str = "service.restart";
/// Kind: takes the unit of a command away from its server.
pub const REMOVE_UNIT: &str = "service.remove_unit";
/// Kind: starts or restarts a service because it does not work.
pub const RECOVER: &str = "service.recover";

/// Kind: removes keys of a Redis.
pub const CLEAR: &str = "redis.clear";

/// Input of [`CLEAR`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Clear {
    /// Keys that begin with this.
    pub prefix: String,
}

/// Enqueues the removal of the keys that begin with its prefix.
pub fn clear(
    app: &App,
    tx: &Tx,
    s: &Service,
    prefix: &str,
    by: Allowed<right::Deploy, right::Services>,
) -> Result<Id<Task>> {
    let input = Clear { prefix: prefix.into() };
    let detail = serde_json::json!({ "prefix": prefix });
    put_in(
        app,
        tx,
        CLEAR,
        s,
        serde_json::to_value(input).map_err(Error::internal)?,
        detail,
        by,
    )
}

/// Input of an act.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Act {
    /// Why it is recovered; empty: a person asks.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub because: String,
}

/// Enqueues the recovery of a service.
pub fn recover(app: &App, tx: &Tx, s: &Service, because: &str) -> Result<()> {
    let act = Act {
        because: because.into(),
    };
    enqueue(app, tx, RECOVER, s, &act, Allowed::by_daemon()).map(drop)
}

/// Enqueues an act on a service. Error: it is one that is only looked at.
pub fn enqueue(
    app: &App,
    tx: &Tx,
    kind: &'static str,
    s: &Service,
    act: &Act,
    by: Allowed<right::Deploy, right::Services>,
) -> Result<Id<Task>> {
    if !s.fields.kind.acts {
        let say = format!(
            "{} is of the kind {}, which is only looked at: there is nothing to start or stop.",
            s.fields.name, s.fields.kind.name
        );
        return Err(Error::new(Fault::Conflict, "service_only_looked_at", say));
    }
    if kind == REMOVE_UNIT && s.fields.kind.name != "command" {
        let say = format!(
            "{} has no unit of ours: it is of the kind {}.",
            s.fields.name, s.fields.kind.name
        );
        return Err(Error::new(Fault::Conflict, "service_no_unit", say));
    }
    let mut detail = serde_json::json!({});
    if !act.because.is_empty() {
        detail["because"] = act.because.as_str().into();
    }
    put_in(
        app,
        tx,
        kind,
        s,
        serde_json::to_value(act).map_err(Error::internal)?,
        detail,
        by,
    )
}

/// Enqueues a task, and audits it.
fn put_in(
    app: &App,
    tx: &Tx,
    kind: &'static str,
    s: &Service,
    input: Value,
    mut detail: Value,
    by: Allowed<right::Deploy, right::Services>,
) -> Result<Id<Task>> {
    let new = NewTask {
        kind,
        target: (TARGET.name, s.id.get(), &s.fields.name),
        input,
    };
    let task = queue::enqueue(tx, &app.wakes.tasks, &new, by)?;
    detail["task"] = serde_json::json!(task);
    let object = format!("service {} {}", s.id, s.fields.name);
    audit::append(tx, &app.vault, by, kind, &object, &detail)?;
    Ok(task)
}
