//! Tasks of domains are put in: deploy, renewal, and what else is done to one domain.

use super::deploy::Choice;
use super::{Domain, tasks};
use crate::access::Allowed;
use crate::access::right::{Deploy, Domains, IsVerb};
use crate::app::App;
use crate::audit;
use crate::base::clock::Ms;
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id, Task};
use crate::db::Tx;
use crate::task::{self, queue};

/// Error: the domain is being removed.
pub(super) fn refuse_removing(domain: &Domain) -> Result<()> {
    if domain.removing {
        let say = "This domain is being removed. Wait for that, then add it again.";
        return Err(Error::new(Kind::Conflict, "domain_removing", say));
    }
    Ok(())
}

/// Enqueues a deploy. Error: nothing to deploy, or a task is open.
pub fn deploy(
    app: &App,
    tx: &Tx,
    id: Id<id::Domain>,
    choice: &Choice,
    by: Allowed<Deploy, Domains>,
) -> Result<Id<Task>> {
    let domain = super::get(tx, id)?;
    refuse_removing(&domain)?;
    let lacking = |code, say| Err(Error::new(Kind::Conflict, code, say));
    if domain.sites.is_empty() {
        return lacking(
            "no_server",
            "This domain has no server. Choose where it is to be served.",
        );
    }
    if domain.sites.iter().any(|s| s.wanted) && domain.fields.upstream_id.is_none() {
        return lacking(
            "no_upstream",
            "This domain has no upstream. Choose where its requests go.",
        );
    }
    start(app, tx, &domain, tasks::DEPLOY, choice, by)
}

/// Enqueues a renewal of a domain's certificates.
pub fn renew(
    app: &App,
    tx: &Tx,
    id: Id<id::Domain>,
    choice: &tasks::Renewal,
    by: Allowed<Deploy, Domains>,
) -> Result<Id<Task>> {
    let domain = super::get(tx, id)?;
    refuse_removing(&domain)?;
    start(app, tx, &domain, tasks::RENEW, choice, by)
}

/// As [`renew`], automatically: not while another task works on the domain, nor if it was tried after `since`.
pub fn renew_due(app: &App, tx: &Tx, id: Id<id::Domain>, since: Ms) -> Result<()> {
    let target = ("domain", id.get());
    let tried = task::Filter {
        kind: Some(tasks::RENEW),
        target: Some(target),
        limit: 1,
        ..task::Filter::default()
    };
    let lately = queue::list(tx, &tried)?.0.iter().any(|task| task.created_at > since);
    if lately || queue::open(tx, target, |_| true)?.is_some() {
        return Ok(());
    }
    renew(app, tx, id, &tasks::Renewal::default(), Allowed::by_daemon()).map(drop)
}

/// Enqueues a task of a domain; the audit has what was chosen.
pub(super) fn start<V: IsVerb>(
    app: &App,
    tx: &Tx,
    domain: &Domain,
    kind: &'static str,
    choice: &impl serde::Serialize,
    by: Allowed<V, Domains>,
) -> Result<Id<Task>> {
    let name = domain.name();
    let new = task::NewTask {
        kind,
        target: ("domain", domain.id.get(), &name),
        input: serde_json::to_value(choice).map_err(Error::internal)?,
    };
    let task = queue::enqueue(tx, &app.wakes.tasks, &new, by)?;
    let data = serde_json::json!({ "task": task, "choice": choice });
    audit::append(tx, &app.vault, by, kind, &format!("domain {} {name}", domain.id), &data)?;
    Ok(task)
}
