//! What is done to services, as tasks: start, stop, restart by people, recovery by the watch. None of these is repeated when
//! its worker is lost: it may have been done. Removing keys is.

use super::acts::{Act, CLEAR, Clear, RECOVER, REMOVE_UNIT, RESTART, START, STOP};
use super::kinds::{self, Check, Tmux, command};
use super::observed::TARGET;
use super::queries::{self, Service};
use super::verdict::Health;
use super::{look, state, watch};
use crate::access::right::{self, may};
use crate::base::clock;
use crate::base::error::{Error, Kind as Fault, Result};
use crate::base::id::Id;
use crate::base::secret::Secret;
use crate::features::fleet::servers::ServerConnection;
use crate::provision::{Recipe, acts};
use crate::task::worker::Run;
use crate::task::{ByClock, Class, Kind, Outcome, Tries};
use std::time::Duration;

const fn kind(name: &'static str, by_clock: bool, run: fn(&Run) -> Result<Outcome>) -> Kind {
    Kind {
        name,
        idempotent: false,
        class: Class::Standard,
        deadline: Duration::from_secs(15 * 60),
        tries: Tries::ONCE,
        locks: Kind::TARGET_ONLY,
        by_clock: if by_clock {
            Some(ByClock {
                target: TARGET.name,
                right: may(right::Deploy, right::Services),
            })
        } else {
            None
        },
        run,
    }
}

/// All kinds.
pub const TASKS: &[Kind] = &[
    kind(START, true, |run| asked(run, acts::Act::Start, "running")),
    kind(STOP, true, |run| asked(run, acts::Act::Stop, "stopped")),
    kind(RESTART, true, |run| asked(run, acts::Act::Restart, "running")),
    kind(REMOVE_UNIT, false, remove_unit),
    kind(RECOVER, false, recover),
    Kind {
        idempotent: true,
        ..kind(CLEAR, false, clear)
    },
];

fn service(run: &Run) -> Result<Service> {
    let found = run.app.db.read(|conn| queries::get(conn, Id::new(run.target())))?;
    found.ok_or_else(|| Error::not_found("service"))
}

/// What a person asked for. It counts before it is done: a watch that looks meanwhile must not undo it.
fn asked(run: &Run, act: acts::Act, wanted: &'static str) -> Result<Outcome> {
    let s = service(run)?;
    run.app
        .db
        .write(|tx| state::asked(run.app, tx, &s, wanted, clock::now()))?;
    let done = act_on(run, &s, act);
    let seen = watch::check_now(run.app, &service(run)?, run.cancel)?;
    say(run, &seen);
    done
}

/// Only if it still does not work, and nobody has stopped it.
fn recover(run: &Run) -> Result<Outcome> {
    let s = service(run)?;
    let input: Act = run.input()?;
    run.log.say(&format!("Because: {}", input.because));
    let seen = look::look(run.app, std::slice::from_ref(&s), run.cancel).remove(0);
    say(run, &seen);
    let nothing = Outcome {
        changed: 0,
        commit: None,
    };
    if !s.fields.enabled || s.now.wanted == "stopped" || s.fields.restart_policy == "never" {
        run.log.say("It is to be left alone now.");
        return Ok(nothing);
    }
    let runs = seen.process.as_ref().is_some_and(|p| p.runs());
    match seen.health {
        Health::Healthy | Health::Degraded => {
            run.log.say("It works again: it is left alone.");
            return Ok(nothing);
        }
        Health::Unknown => return Err(Error::new(Fault::Upstream, "service_unseen", seen.say)),
        Health::Unhealthy => {}
    }
    let act = if runs { acts::Act::Restart } else { acts::Act::Start };
    let done = act_on(run, &s, act);
    let seen = watch::check_now(run.app, &service(run)?, run.cancel)?;
    say(run, &seen);
    done
}

/// Limit of removing keys.
const CLEAR_MAX: Duration = Duration::from_secs(14 * 60);
/// A line of the log for so many keys.
const CLEAR_LINE: u64 = 10_000;

/// Removes the keys that begin with the prefix that was confirmed.
fn clear(run: &Run) -> Result<Outcome> {
    let (s, input) = (service(run)?, run.input::<Clear>()?);
    if kinds::text(&s.fields.config, "clear_prefix") != input.prefix {
        let say = "Its prefix was changed after that was confirmed.";
        return Err(Error::new(Fault::Conflict, "clear_changed", say));
    }
    let mut told = 0;
    let gone = look::asked(run.app, &s, run.cancel, CLEAR_MAX, |ask| {
        kinds::clear(ask, &input.prefix, run.cancel, &mut |gone| {
            if gone >= told + CLEAR_LINE {
                told = gone;
                run.log.say(&format!("{gone} keys are removed so far."));
            }
        })
    })?;
    run.log
        .say(&format!("{gone} keys that began with “{}” are removed.", input.prefix));
    Ok(Outcome {
        changed: u32::try_from(gone).unwrap_or(u32::MAX),
        commit: None,
    })
}

fn say(run: &Run, seen: &super::verdict::Look) {
    let process = seen.process.as_ref().map_or("", |p| p.state);
    run.log.say(&format!("{} {process}. {}", seen.health.name(), seen.say));
}

fn act_on(run: &Run, s: &Service, act: acts::Act) -> Result<Outcome> {
    let Some(server) = s.fields.server.filter(|_| s.fields.kind.acts) else {
        let say = format!(
            "{} is only looked at: there is nothing to start or stop.",
            s.fields.name
        );
        return Err(Error::new(Fault::Conflict, "service_only_looked_at", say));
    };
    let connection = ServerConnection::open_verified(run.app, server, run.cancel, &mut |say| run.log.say(say))?;
    connection.secrets().for_each(|secret| run.log.hide(secret));
    let is_written = s.fields.kind.name == "command" && act != acts::Act::Stop;
    let recipe = match is_written {
        true => written(run, s, act)?,
        false => recipe(s, &connection, act)?,
    };
    let done = connection.run(run.app, &recipe, run.cancel, &mut run.on_progress(""))?;
    if is_written {
        run.app.db.write(|tx| queries::set_applied(tx, s.id, s.revision))?;
    }
    Ok(Outcome {
        changed: done.changed,
        commit: None,
    })
}

/// The recipe that writes the unit of a command, with its secrets, and starts it.
fn written(run: &Run, s: &Service, act: acts::Act) -> Result<Recipe> {
    let app = run.app;
    let stored = app.db.read(|conn| look::secret(app, conn, s.id, "password"))?;
    let secrets = match &stored {
        Some(lines) => {
            let lines = lines.reveal_text_for("the unit's file of secrets");
            lines
                .lines()
                .filter_map(|line| line.split_once('='))
                .for_each(|(_, value)| run.log.hide(&Secret::new(value.trim().to_string())));
            command::secrets(lines).map_err(Error::internal)?
        }
        None => String::new(),
    };
    let config = &s.fields.config;
    let unit = kinds::text(config, "unit");
    let program = config
        .get("argv")
        .and_then(|argv| argv.get(0))
        .and_then(|word| word.as_str());
    acts::command(&acts::Command {
        unit,
        mark: &command::mark(unit),
        text: &command::file(&s.fields.unit(!secrets.is_empty())),
        secrets: &secrets,
        program: program.unwrap_or_default(),
        owner: kinds::text(config, "user"),
        folder: kinds::text(config, "directory"),
        act,
    })
}

/// Takes the unit away; the service stays, and is looked at no more than any other that is not there.
fn remove_unit(run: &Run) -> Result<Outcome> {
    let s = service(run)?;
    let server = s.fields.server.ok_or_else(|| Error::not_found("server"))?;
    let unit = kinds::text(&s.fields.config, "unit");
    run.app
        .db
        .write(|tx| state::asked(run.app, tx, &s, "stopped", clock::now()))?;
    let connection = ServerConnection::open_verified(run.app, server, run.cancel, &mut |say| run.log.say(say))?;
    connection.secrets().for_each(|secret| run.log.hide(secret));
    let recipe = acts::command_gone(unit, &command::mark(unit))?;
    let done = connection.run(run.app, &recipe, run.cancel, &mut run.on_progress(""))?;
    run.app.db.write(|tx| queries::set_applied(tx, s.id, 0))?;
    Ok(Outcome {
        changed: done.changed,
        commit: None,
    })
}

fn recipe(s: &Service, connection: &ServerConnection, act: acts::Act) -> Result<Recipe> {
    let login = &connection.server.fields.username;
    match s.fields.kind.check {
        Check::Unit(of) => {
            let unit = of(&s.fields.config);
            acts::service(&unit.name, if unit.user { login } else { "" }, act)
        }
        Check::Tmux(of) => {
            let Tmux { session, user, command } = of(&s.fields.config);
            if command.is_empty() && act != acts::Act::Stop {
                let say = format!("No command is stored for the session {session}: it can only be stopped.");
                return Err(Error::new(Fault::Conflict, "service_no_command", say));
            }
            acts::tmux(&session, if user.is_empty() { login } else { &user }, &command, act)
        }
        _ => Err(Error::internal(format!("{} has no acts", s.fields.kind.name))),
    }
}
