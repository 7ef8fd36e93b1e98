//! A machine is restarted: silence for its alerts, the order, and the wait until another start of it answers by ssh and its
//! lamp is lit again. That it is another start is told by the kernel's own number of it, not by how long it was away.

use super::events::REBOOTED;
use super::queries;
use super::settings;
use super::work::{fact, provision};
use crate::access::Allowed;
use crate::base::clock::{self, Duration, Instant, MINUTE, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::base::process;
use crate::events::outbox;
use crate::features::fleet::latest;
use crate::features::fleet::servers::{self, ServerConnection};
use crate::features::watch::silences;
use crate::provision::acts;
use crate::task::Outcome;
use crate::task::worker::Run;

/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// A machine that still has its old start after this has not obeyed.
const BEGIN_MAX: Duration = Duration::from_secs(180);
/// The lamp has this long beyond ssh, and three polls.
const LAMP_MAX: Duration = Duration::from_secs(120);
/// The silence outlasts the longest wait, should nobody be there to lift it.
const SILENCE_MORE: Ms = 15 * MINUTE;

pub fn run(run: &Run) -> Result<Outcome> {
    let connection = servers::connect(run)?;
    let server = &connection.server;
    let was_lit = server.availability.status == "ok";
    let before = boot(run, &connection)?.0;
    let minutes = run.app.db.read(|conn| settings::REBOOT_WAIT_MIN.number(conn))?;
    let reason = format!(
        "Restart of {}: task {} of {}",
        server.fields.name, run.task.id, run.task.created_by
    );
    run.app.db.write(|tx| {
        let until = clock::now() + minutes * MINUTE + SILENCE_MORE;
        let about = ("server", server.id.get());
        let silence = silences::begin(run.app, tx, about, &reason, until, Allowed::by_daemon())?;
        queries::keep_silence(tx, run.task.id, silence)
    })?;
    match provision(run, &connection, &acts::reboot()) {
        Err(e) if e.code == "ssh_link_lost" => run
            .log
            .say("The link was lost: the order may have been carried out already."),
        other => drop(other?),
    }
    run.log
        .say("The machine was asked to restart. Waiting until another start of it answers.");
    let asked = clock::mono();
    let failed = comes_back(
        run,
        &connection,
        &before,
        asked,
        Duration::from_secs(minutes.unsigned_abs() * 60),
    )?;
    let (ssh_s, back_at) = (asked.elapsed().as_secs(), clock::now());
    run.log.say(&format!("Back by ssh after {ssh_s} s."));
    if !failed.is_empty() {
        run.log.line(
            "warning",
            "task",
            "",
            &format!("Units that failed at this start: {failed}"),
        );
    }
    if was_lit {
        lamp(run, &connection, back_at)?;
        run.log
            .say(&format!("Its lamp is lit again after {} s.", asked.elapsed().as_secs()));
    } else {
        run.log.say("Its lamp was not lit before, so nobody waits for it.");
    }
    let data = serde_json::json!({ "name": server.fields.name, "ssh_s": ssh_s, "whole_s": asked.elapsed().as_secs() });
    let (about, wake) = (server.id.get(), run.app.wakes.events.clone());
    Ok(Outcome {
        changed: 1,
        commit: Some(Box::new(move |tx| {
            outbox::emit(tx, &wake, REBOOTED, ("server", about), &data)
        })),
    })
}

/// The number of this start, and the units that failed in it.
fn boot(run: &Run, connection: &ServerConnection) -> Result<(String, String)> {
    let seen = connection.run(run.app, &acts::boot(), run.cancel, &mut |_| {})?;
    let id = fact(&seen.facts, "boot_id");
    if id.is_empty() {
        let say = "This server does not tell which start of it this is, so it could not be known when it is back.";
        return Err(Error::new(Kind::Conflict, "no_boot_id", say));
    }
    Ok((id.into(), fact(&seen.facts, "failed").into()))
}

/// Waits for another start; gives the units that failed in it. Each look is by a new connection. While a machine goes and
/// comes, ssh may say anything: only another host key ends the wait early.
fn comes_back(
    run: &Run,
    connection: &ServerConnection,
    before: &str,
    asked: Instant,
    limit: Duration,
) -> Result<String> {
    let mut gone = false;
    loop {
        if run.cancel.wait(LOOK_AGAIN) {
            run.log
                .say("Nobody waits any longer: the machine goes on with its restart by itself.");
            return Err(process::cancelled());
        }
        run.app.ssh.forget(connection.server.id.get());
        let seen = boot(run, connection);
        let waited = asked.elapsed();
        match seen {
            Ok((id, failed)) if id != before => return Ok(failed),
            Ok(_) if waited > BEGIN_MAX => {
                let say = format!(
                    "After {} s it still runs: it did not restart. Its own journal says why.",
                    waited.as_secs()
                );
                return Err(Error::new(Kind::Conflict, "reboot_not_begun", say));
            }
            Ok(_) => {}
            Err(e) if e.code.starts_with("ssh_host_key") || e.code == "cancelled" => return Err(e),
            Err(e) if waited > limit => {
                let say = format!(
                    "It was asked to restart {} s ago and is not back by ssh. {}",
                    waited.as_secs(),
                    e.say
                );
                return Err(Error::new(Kind::Timeout, "reboot_not_back", say).log(e.log));
            }
            Err(_) if !gone => {
                gone = true;
                run.log.say(&format!("It is away, after {} s.", waited.as_secs()));
            }
            Err(_) => {}
        }
    }
}

/// Waits for a poll that began after `since` and went well.
fn lamp(run: &Run, connection: &ServerConnection, since: Ms) -> Result<()> {
    let id = connection.server.id;
    let polls = Duration::from_secs(3 * connection.server.fields.poll_interval_s.unsigned_abs());
    let until = clock::mono() + LAMP_MAX + polls;
    while clock::mono() < until {
        let newest = latest::of(&run.app.metrics, [id])?
            .get(&id)
            .map_or(0, |latest| latest.at_ms);
        let state = run.app.db.read(|conn| servers::get(conn, id))?.availability.status;
        if newest >= since && state == "ok" {
            return Ok(());
        }
        if run.cancel.wait(LOOK_AGAIN) {
            return Err(process::cancelled());
        }
    }
    let say = format!(
        "It is back by ssh, but its lamp is not lit within {} s: Glances does not answer.",
        (LAMP_MAX + polls).as_secs()
    );
    Err(Error::new(Kind::Timeout, "lamp_not_back", say))
}
