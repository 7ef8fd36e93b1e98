//! Drift detection: changes of our files by others. Each server with sites is checked from time to time by file hashes
//! over its shared connection; differences are reported with the line, stored, and never overwritten automatically.

use super::evaluate::sum;
use super::inspect::WIDTH;
use super::placements::{self, Drift, Placement, State};
use super::settings;
use super::tasks;
use super::vhost;
use crate::access::Allowed;
use crate::access::right::{Deploy, Servers};
use crate::app::App;
use crate::audit;
use crate::base::clock::{self, Ms};
use crate::base::diff::{Change, diff};
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::base::process::Cancel;
use crate::db::Tx;
use crate::events::outbox::{self, Event};
use crate::features::fleet::servers::{self, SITES_OFF, ServerConnection};
use crate::provision::site::{self as remote, Enabled, Off, Proof, Sum, Summed};
use crate::schedule::fan_out::FanOut;
use crate::task::{self, queue};

/// Checks the servers that are due.
pub fn run_once(app: &App, cancel: &Cancel) -> Result<()> {
    let due = app.db.read(|conn| {
        let minutes = settings::DRIFT_INTERVAL_MIN.number(conn)?;
        placements::due(conn, clock::now() - minutes * 60_000)
    })?;
    check(app, &due, cancel)
}

/// Checks all sites of these servers, each server separately.
pub fn check(app: &App, servers: &[Id<id::Server>], cancel: &Cancel) -> Result<()> {
    let fan_out = FanOut {
        name: "domains.drift",
        width: WIDTH,
        begin_until: None,
        cancel,
    };
    let results = fan_out.run_alone(servers, |id| Some((id.get(), 0)), |id| inspect_server(app, *id, cancel));
    results.into_iter().flatten().collect()
}

/// Checks all sites of one server. An unreachable server has its own alert.
fn inspect_server(app: &App, server: Id<id::Server>, cancel: &Cancel) -> Result<()> {
    let rows = app.db.read(|conn| placements::on(conn, server))?;
    let sums: Vec<String> = rows.iter().map(|placement| sum(&placement.text)).collect();
    let proofs: Vec<Option<Proof>> = rows
        .iter()
        .map(|placement| placement.is_as_text().then(|| vhost::proof_in(&placement.text))?)
        .collect();
    let asked: Vec<Sum> = rows
        .iter()
        .zip(&sums)
        .zip(&proofs)
        .map(|((placement, sum), proof)| Sum {
            name: &placement.name,
            known: Some(sum),
            // An adopted text may use somebody else's certificate.
            lineage: remote::lineage_in(&placement.text).filter(|_| !placement.adopted),
            proof: proof.as_ref(),
            tls: vhost::pair_in(&placement.text).is_some(),
        })
        .collect();
    let ask = |asked: &[Sum]| {
        let connection = ServerConnection::of(app, server)?;
        let outcome = connection.run(app, &remote::sums(asked)?, cancel, &mut |_| ())?;
        Ok::<_, Error>((remote::summed(&outcome, asked)?, outcome.facts))
    };
    let mut found = Vec::with_capacity(asked.len());
    let (mut moved, mut lost) = (String::new(), String::new());
    for some in asked.chunks(remote::SITES_MAX) {
        match ask(some) {
            Ok((summed, mut facts)) => {
                found.extend(summed);
                moved = facts.remove("moved").unwrap_or_default();
                lost = facts.remove("lost").unwrap_or_default();
            }
            Err(_) => return app.db.write(|tx| placements::mark_attempted(tx, server, clock::now())),
        }
    }
    app.db.write(|tx| {
        for ((placement, sum), found) in rows.iter().zip(&sums).zip(&found) {
            if let Some(inside) = &found.inside {
                placements::inside(tx, placement, inside, clock::now())?;
            }
            let drift = compare(placement, sum, found).or_else(|| target_lost(placement, &lost));
            note(app, tx, placement, drift.as_ref(), clock::now())?;
        }
        if moved.is_empty() {
            return Ok(());
        }
        follow(app, tx, server, &moved)
    })
}

/// Addresses of target names changed: a task updates nginx, so that it is visible. Not while another task is at work.
fn follow(app: &App, tx: &Tx, server: Id<id::Server>, moved: &str) -> Result<()> {
    let target = ("server", server.get());
    if queue::open(tx, target, |_| true)?.is_some() {
        return Ok(());
    }
    let name = servers::get(tx, server)?.fields.name;
    let by = Allowed::<Deploy, Servers>::by_daemon();
    let new = task::NewTask {
        kind: tasks::FOLLOW,
        target: (target.0, target.1, &name),
        input: serde_json::json!({}),
    };
    let task = queue::enqueue(tx, &app.wakes.tasks, &new, by)?;
    let data = serde_json::json!({ "task": task, "files": moved });
    audit::append(
        tx,
        &app.vault,
        by,
        tasks::FOLLOW,
        &format!("server {server} {name}"),
        &data,
    )
}

/// A target name that no longer resolves on the server.
fn target_lost(placement: &Placement, lost: &str) -> Option<Drift> {
    let host = lost
        .split(' ')
        .find(|host| !host.is_empty() && remote::follows(&placement.text, host))?;
    Some(Drift {
        code: "target_lost",
        say: format!(
            "The target {host} cannot be resolved on this server any more. Requests go to the addresses that it had last."
        ),
        seen: placement.text.clone(),
    })
}

/// Compares what was found with what should be there. Pure.
fn compare(placement: &Placement, wanted: &str, found: &Summed) -> Option<Drift> {
    let path = format!("/etc/nginx/sites-available/{}.conf", placement.name);
    match (&found.file.sha256, &found.file.enabled) {
        (None, _) => Some(Drift {
            code: "site_lost",
            say: format!("{path} is gone."),
            seen: String::new(),
        }),
        (Some(sum), _) if sum != wanted => {
            let seen = found.text.clone().unwrap_or_default();
            Some(Drift {
                code: placements::EDITED,
                say: match first_line(&placement.text, &seen) {
                    Some(line) => format!("{path} differs from line {line} on."),
                    None => format!("{path} differs, and is too long to be shown."),
                },
                seen,
            })
        }
        (Some(_), Enabled::Yes) => found.unrenewed.as_ref().map(|why| Drift {
            code: "renewal_lost",
            say: unrenewed(remote::lineage_in(&placement.text).unwrap_or_default(), why),
            seen: placement.text.clone(),
        }),
        (Some(_), Enabled::No) if is_switched_off(placement) => Some(Drift {
            code: SWITCHED_OFF,
            say: placement
                .problem
                .as_ref()
                .map(|(_, say)| say.clone())
                .unwrap_or_default(),
            seen: placement.text.clone(),
        }),
        (Some(_), _) => Some(Drift {
            code: "site_off",
            say: format!("{path} is as it should be, but no link in /etc/nginx/sites-enabled leads to it."),
            seen: placement.text.clone(),
        }),
    }
}

/// Its link was removed by a job of ours, because nginx rejected the file.
const SWITCHED_OFF: &str = "site_switched_off";

fn is_switched_off(placement: &Placement) -> bool {
    placement.problem.as_ref().is_some_and(|(code, _)| code == SWITCHED_OFF)
}

/// A job disabled sites: reported at once with nginx's reason.
pub fn react(app: &App, tx: &Tx, event: &Event) -> Result<()> {
    if event.kind != SITES_OFF {
        return Ok(());
    }
    let off: Vec<Off> = serde_json::from_value(event.data["off"].clone()).unwrap_or_default();
    for placement in placements::on(tx, Id::new(event.target_id))? {
        let Some(off) = off.iter().find(|off| off.site() == Some(&placement.name)) else {
            continue;
        };
        if placement.deployed_at.is_some_and(|at| at >= event.at) {
            continue; // the same job has put it in place again
        }
        let drift = Drift {
            code: SWITCHED_OFF,
            say: format!("{} was switched off, so that nginx can run: {}", off.path, off.why),
            seen: placement.text.clone(),
        };
        note(app, tx, &placement, Some(&drift), event.at)?;
    }
    Ok(())
}

/// Why a certificate will not be renewed, with advice.
fn unrenewed(lineage: &str, why: &str) -> String {
    let file = format!("/etc/letsencrypt/renewal/{lineage}.conf");
    match why {
        "off" => format!("{file} says “autorenew = False”, so the certificate will end. Take that line out."),
        "astray" => format!(
            "{file} has the name proved another way than over Lamplighter's folder, which cannot work here, so the certificate will end. Put back the line “authenticator = webroot” with {}.",
            remote::WEBROOT
        ),
        _ => format!(
            "certbot does not recognise its certificate {lineage} any more ({file} or one of its links is missing), so it will end. Put back what is missing, or deploy the domain: it gets another one."
        ),
    }
}

/// Number of the first line of the new text that differs.
fn first_line(old: &str, new: &str) -> Option<usize> {
    let told = diff(old, new);
    let lines = &told.hunks.first()?.lines;
    let at = lines.iter().position(|l| l.change != Change::Same)?;
    let next = lines[at..].iter().find_map(|l| l.new);
    next.or_else(|| lines[at].old)
}

fn note(app: &App, tx: &Tx, placement: &Placement, drift: Option<&Drift>, at: Ms) -> Result<()> {
    // A deploy may have happened meanwhile: then the result is outdated.
    let now = placements::of(tx, placement.domain)?
        .into_iter()
        .find(|now| now.server == placement.server);
    let Some(now) = now.filter(|now| now.text == placement.text && now.name == placement.name) else {
        return Ok(());
    };
    if tasks::is_busy(tx, placement.domain)? {
        return Ok(());
    }
    let event = match placements::mark_checked(tx, &now, drift, at)? {
        (before, State::Drifted) if before != State::Drifted => "domain.drifted",
        (State::Drifted, after) if after != State::Drifted && !placements::drifted(tx, placement.domain)? => {
            "domain.healed"
        }
        _ => return Ok(()),
    };
    let domain = super::get(tx, placement.domain)?;
    let evidence: Vec<&str> = drift.iter().map(|d| d.say.as_str()).collect();
    let data = serde_json::json!({
        "name": domain.fields.domain.unicode(), "server_id": placement.server.get(), "evidence": evidence,
    });
    outbox::emit(tx, &app.wakes.events, event, ("domain", placement.domain.get()), &data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_differs_is_told_as_it_is_on_the_server() {
        assert_eq!(first_line("a\nb\nc\n", "a\nB\nc\n"), Some(2));
        assert_eq!(first_line("a\nb\nc\n", "a\nb\nc\nd\n"), Some(4));
        assert_eq!(first_line("a\nb\nc\n", "b\nc\n"), Some(1));
        assert_eq!(first_line("a\nb\n", "a\n"), Some(2));
        assert_eq!(first_line("a\n", "a\n"), None);
    }
}
