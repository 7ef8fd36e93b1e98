//! What is asked of a container, by people and by itself: the input of its tasks, and how they are enqueued and audited.

use super::observed::TARGET;
use super::queries::Container;
use crate::access::Allowed;
use crate::access::right;
use crate::app::App;
use crate::audit;
use crate::base::error::{Error, Result};
use crate::base::id::{Id, Task};
use crate::db::Tx;
use crate::task::{NewTask, queue};
use serde::{Deserialize, Serialize};

/// Kind: starts a container.
pub const START: &str = "container.start";
/// Kind: stops a container.
pub const STOP: &str = "container.stop";
/// Kind: restarts a container.
pub const RESTART: &str = "container.restart";

/// Input of an act.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Act {
    /// Seconds that it gets to end by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_s: Option<i64>,
    /// Only if it is still unhealthy, and nobody has asked for its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unhealthy: bool,
}

impl Act {
    /// Reads `{"grace_s"}`.
    pub fn read(mut input: crate::form::Input) -> Result<Act> {
        let grace_s = input.number("grace_s");
        input.finish(&[])?;
        Ok(Act {
            grace_s,
            unhealthy: false,
        })
    }
}

/// Enqueues a restart because it is unhealthy.
pub fn heal(app: &App, tx: &Tx, c: &Container) -> Result<()> {
    let act = Act {
        unhealthy: true,
        ..Act::default()
    };
    enqueue(app, tx, RESTART, c, &act, Allowed::by_daemon()).map(drop)
}

/// Enqueues an act on a container.
pub fn enqueue(
    app: &App,
    tx: &Tx,
    kind: &'static str,
    c: &Container,
    act: &Act,
    by: Allowed<right::Deploy, right::Containers>,
) -> Result<Id<Task>> {
    let name = c.full_name();
    let new = NewTask {
        kind,
        target: (TARGET.name, c.id, &name),
        input: serde_json::to_value(act).map_err(Error::internal)?,
    };
    let task = queue::enqueue(tx, &app.wakes.tasks, &new, by)?;
    let mut detail = serde_json::json!({ "task": task, "life": c.life, "image": c.image });
    if act.unhealthy {
        detail["because"] = "unhealthy".into();
    }
    let object = format!("container {} {name}", c.id);
    audit::append(tx, &app.vault, by, kind, &object, &detail)?;
    Ok(task)
}
