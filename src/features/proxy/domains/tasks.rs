//! Tasks of domains: deploy, remove, renew. Unproved changes are rolled back by the server itself; of several servers
//! one is done first, then the rest, and the first failure stops those that have not begun.

use super::deploy::{Choice, Deploy, INCOMPLETE, incomplete, is_unreached, named_too};
use super::desired::DesiredState;
use super::placements::{self, Placement};
use crate::access::right::{self, may};
use crate::app::App;
use crate::base::error::{Error, Kind as Failure, Result};
use crate::base::id::{self, Id};
use crate::db::{Conn, Tx};
use crate::events::outbox::{self, Event};
use crate::features::fleet::servers::ServerConnection;
use crate::features::fleet::servers::{self, Server};
use crate::lang::Lang;
use crate::provision::site::{self as remote};
use crate::ssh;
use crate::task::queue::{self, Ended};
use crate::task::worker::Run;
use crate::task::{ByClock, Class, Kind, Outcome, Resource, Tries};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Kind: deploys a domain.
pub const DEPLOY: &str = "domain.deploy";
/// Kind: removes a domain from all servers and deletes it.
pub const REMOVE: &str = "domain.remove";
/// Kind: renews a domain's certificates.
pub const RENEW: &str = "domain.renew";

/// Kind: updates addresses of target names on a server.
pub const FOLLOW: &str = "server.follow_names";

/// Event: an unwanted site is on an unreachable server.
pub const LEFT_BEHIND: &str = "domain.left_behind";

/// For what the house begins by itself: nobody waits for it, and a server that does not answer now may do so later.
const UNREACHED: Tries = Tries {
    max: 4,
    pause: Duration::from_secs(60),
    passes: ssh::error::may_pass,
};

const NOT_ACME: &str = "not_acme";
const NOT_DEPLOYED: &str = "not_deployed";

/// All kinds. Each is idempotent: an interrupted server has rolled back, and each task inspects first.
pub const TASKS: &[Kind] = &[
    Kind {
        name: DEPLOY,
        idempotent: true,
        class: Class::Standard,
        deadline: Duration::from_secs(60 * 60),
        tries: Tries::ONCE,
        locks: its_servers,
        by_clock: Some(ByClock {
            target: "domain",
            right: may(right::Deploy, right::Domains),
        }),
        run: deploy,
    },
    Kind {
        name: REMOVE,
        idempotent: true,
        class: Class::Standard,
        deadline: Duration::from_secs(30 * 60),
        tries: Tries::ONCE,
        locks: its_servers,
        by_clock: None,
        run: remove,
    },
    Kind {
        name: RENEW,
        idempotent: true,
        class: Class::Standard,
        deadline: Duration::from_secs(30 * 60),
        tries: UNREACHED,
        locks: its_servers,
        by_clock: Some(ByClock {
            target: "domain",
            right: may(right::Deploy, right::Domains),
        }),
        run: renew,
    },
    Kind {
        name: FOLLOW,
        idempotent: true,
        class: Class::Standard,
        deadline: Duration::from_secs(10 * 60),
        tries: UNREACHED,
        locks: Kind::TARGET_ONLY,
        by_clock: None,
        run: follow,
    },
];

/// Locks of a domain's servers, including those that it is about to leave.
fn its_servers(conn: &Conn, domain: i64) -> Result<Vec<Resource>> {
    let rows = placements::of(conn, Id::new(domain))?;
    Ok(rows.iter().map(|row| Resource("server", row.server.get())).collect())
}

/// Choices of a person for a renewal.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
pub struct Renewal {
    /// Renew although it is not due.
    #[serde(default)]
    pub force: bool,
}

fn deploy(run: &Run) -> Result<Outcome> {
    let choice: Choice = run.input()?;
    let desired = DesiredState::load(run.app, Id::new(run.target()))?;
    let work = Deploy::new(run, &desired, choice);
    let changed = work.everywhere()?;
    let target = ("domain", desired.domain.id.get());
    let wake = run.app.wakes.events.clone();
    let name = desired.domain.fields.domain.unicode();
    let left = work.left();
    let commit = move |tx: &Tx| {
        let data = serde_json::json!({ "name": name, "changed": changed });
        outbox::emit(tx, &wake, "deploy.ok", target, &data)?;
        let (kind, data) = match left.is_empty() {
            true => ("domain.taken_off", serde_json::json!({ "name": name })),
            false => (LEFT_BEHIND, serde_json::json!({ "name": name, "evidence": left })),
        };
        outbox::emit(tx, &wake, kind, target, &data)
    };
    Ok(Outcome {
        changed,
        commit: Some(Box::new(commit)),
    })
}

/// Emits events for failed tasks, also at their deadline or without worker: errors of ACME server or certbot concern
/// the certificate, others the deploy. A renewal without certificate is neither.
pub fn react(app: &App, tx: &Tx, event: &Event) -> Result<()> {
    let Some(ended) = Ended::of(event) else { return Ok(()) };
    if let Some(kind) = TASKS.iter().find(|k| k.name == FOLLOW && k.name == ended.kind) {
        return servers::emit_work_ended(app, tx, &ended, kind.title(Lang::En));
    }
    let Some((code, say)) = ended.failure else {
        return Ok(());
    };
    let kind = match ended.kind.as_str() {
        // An unreachable server has its own event.
        RENEW if [NOT_ACME, NOT_DEPLOYED, INCOMPLETE].contains(&code.as_str()) => return Ok(()),
        RENEW => "certificate.failed",
        DEPLOY if code.starts_with("acme_") => "certificate.failed",
        DEPLOY | REMOVE => "deploy.failed",
        _ => return Ok(()),
    };
    let (id, name) = ended.target;
    if let Err(e) = super::get(tx, Id::new(id)) {
        return if e.kind == Failure::NotFound { Ok(()) } else { Err(e) }; // deleted since
    }
    let data = serde_json::json!({ "name": name, "evidence": [say, code] });
    outbox::emit(tx, &app.wakes.events, kind, ("domain", id), &data)
}

/// Removes a deleted domain from every server, then deletes its row.
fn remove(run: &Run) -> Result<Outcome> {
    let choice: Choice = run.input()?;
    let desired = DesiredState::load(run.app, Id::new(run.target()))?;
    let work = Deploy::new(run, &desired, choice);
    let all: Vec<_> = desired.sites.iter().collect();
    let leaving: Vec<(Placement, Server)> = all
        .into_iter()
        .map(|(placement, server)| {
            let placement = Placement {
                wanted: false,
                ..placement.clone()
            };
            (placement, server.clone())
        })
        .collect();
    let changed = work.all(&leaving.iter().collect::<Vec<_>>(), Deploy::take_off_or_forget)?;
    let (wake, domain) = (run.app.wakes.events.clone(), desired.domain);
    let commit = move |tx: &Tx| super::forget(tx, &wake, &domain);
    Ok(Outcome {
        changed,
        commit: Some(Box::new(commit)),
    })
}

/// certbot's own timer renews due certificates; this is for manual renewals, and for lives too short for a timer that
/// runs twice a day.
fn renew(run: &Run) -> Result<Outcome> {
    let choice: Renewal = run.input()?;
    let desired = DesiredState::load(run.app, Id::new(run.target()))?;
    if !desired.is_acme() {
        let say = "This domain has no certificate from an ACME server, so there is nothing to renew.";
        return Err(Error::new(Failure::Conflict, NOT_ACME, say));
    }
    let work = Deploy::new(run, &desired, Choice::default());
    let live: Vec<_> = desired
        .sites
        .iter()
        .filter(|(placement, _)| placement.wanted && !placement.name.is_empty())
        .collect();
    if live.is_empty() {
        let say = "This domain is on no server yet. Deploy it first: that also gets its certificate.";
        return Err(Error::new(Failure::Conflict, NOT_DEPLOYED, say));
    }
    let (mut changed, mut missing) = (0, Vec::new());
    let (wanted, several) = (live.len(), live.len() > 1);
    for (placement, server) in live {
        let lineage =
            remote::lineage_in(&placement.text).map_or_else(|| remote::lineage(&placement.name), String::from);
        let recipe = remote::renew(&placement.name, &lineage, choice.force)?;
        let renewed = work
            .connection(server)
            .and_then(|connection| connection.run(run.app, &recipe, run.cancel, &mut run.on_progress(work.on(server))));
        match renewed {
            Ok(done) => changed += done.changed,
            // A failure of one does not stop the others.
            Err(e) if several && is_unreached(&e) && !run.cancel.is_cancelled() => {
                let say = format!("{}: {}", server.fields.name, e.say);
                run.log.line("warning", "task", "", &format!("{say} It is left out."));
                missing.push((say, e));
            }
            Err(e) => {
                let said: Vec<String> = missing.into_iter().map(|(say, _)| say).collect();
                return Err(named_too(e, &said));
            }
        }
    }
    if missing.len() == wanted {
        let (say, e) = missing.remove(0);
        return Err(Error { say, ..e });
    }
    let said: Vec<String> = missing.into_iter().map(|(say, _)| say).collect();
    if let Some(e) = incomplete(&said) {
        return Err(e);
    }
    let (wake, target) = (run.app.wakes.events.clone(), ("domain", desired.domain.id.get()));
    let data = serde_json::json!({ "name": desired.domain.fields.domain.unicode(), "changed": changed });
    Ok(Outcome {
        changed,
        commit: Some(Box::new(move |tx| {
            outbox::emit(tx, &wake, "domain.renewed", target, &data)
        })),
    })
}

/// Automatic, after a check found that addresses of target names changed.
fn follow(run: &Run) -> Result<Outcome> {
    let connection = ServerConnection::of(run.app, Id::new(run.target()))?;
    connection.secrets().for_each(|secret| run.log.hide(secret));
    let done = connection.run(run.app, &remote::follow(), run.cancel, &mut run.on_progress(""))?;
    Ok(Outcome {
        changed: done.changed,
        commit: None,
    })
}

/// Is a task open that will change this domain's sites?
pub fn is_busy(conn: &Conn, domain: Id<id::Domain>) -> Result<bool> {
    let open = queue::open(conn, ("domain", domain.get()), |kind| kind == DEPLOY || kind == REMOVE)?;
    Ok(open.is_some())
}
