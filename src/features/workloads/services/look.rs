//! Looks at services: those of a server together, over one connection and in one job; the others from here.

use super::job::{self, Answers, WHY};
use super::kinds::{self, Ask, Check, Config, Kind, Way};
use super::queries::{self, Service};
use super::settings;
use super::verdict::{End, Health, Look};
use crate::app::App;
use crate::base::clock::{self, Duration};
use crate::base::error::{Error, Kind as Fault, Result};
use crate::base::id::{self, Id};
use crate::base::process::{Cancel, Stream};
use crate::base::redact::Scrub;
use crate::base::secret::Secret;
use crate::base::shell;
use crate::db::Conn;
use crate::features::fleet::metrics;
use crate::features::fleet::servers::ServerConnection;
use crate::ssh::Job;
use crate::vault::{SealContext, Sealed};

/// Columns with sealed values.
pub const SEALED: &[Sealed] = &[
    Sealed::column("services", "password").or_reference("service"),
    Sealed::column("services", "token"),
];

/// Limit of one question.
pub const ASK_MAX: Duration = Duration::from_secs(10);
/// Limit of a job without programs; each of these adds [`PROGRAM_MAX`].
const JOB_MAX: Duration = Duration::from_secs(20);
/// Limit of one program; the script has the same.
const PROGRAM_MAX: Duration = Duration::from_secs(12);
/// Limit of asking why something stopped.
const WHY_MAX: Duration = Duration::from_secs(15);

/// What a sealed value is bound to.
pub fn place(id: Id<id::Service>, column: &'static str) -> SealContext {
    SealContext {
        table: "services",
        column,
        row: id.get(),
    }
}

/// Opens a stored value.
pub fn secret(app: &App, conn: &Conn, id: Id<id::Service>, column: &'static str) -> Result<Option<Secret>> {
    match queries::sealed(conn, id, column)? {
        Some(stored) => app.vault.open_stored(conn, place(id, column), &stored),
        None => Ok(None),
    }
}

/// Looks at services that are all on one server, or all on none. In their order.
pub fn look(app: &App, services: &[Service], cancel: &Cancel) -> Vec<Look> {
    let Some(server) = services.first().and_then(|s| s.fields.server) else {
        return services.iter().map(|s| from_here(app, s)).collect();
    };
    let connection = match ServerConnection::of(app, server) {
        Ok(connection) => connection,
        Err(e) => return services.iter().map(|_| unknown(&e)).collect(),
    };
    let answers = in_job(app, &connection, services, cancel);
    // One failed login says it for all: each further one would wait as long.
    let mut broken: Option<Error> = answers.as_ref().err().filter(|e| is_of_connection(e)).cloned();
    let mut one = |s: &Service| -> Look {
        let found = match (&answers, job::is_in_job(s)) {
            (Ok(answers), true) => answers.look(s),
            (Err(e), true) => return unknown(e),
            (_, false) => Look::healthy(),
        };
        let runs = found.process.as_ref().is_none_or(|p| p.runs());
        let asked = match (s.fields.probe(), s.fields.kind) {
            (Some((kind, config)), _) if runs && found.health < Health::Unhealthy => Some((kind, config)),
            (None, kind) if !job::is_in_job(s) => Some((kind, &s.fields.config)),
            _ => None,
        };
        let found = match (asked, &broken) {
            (Some(_), Some(e)) => unknown(e),
            (Some((kind, config)), None) => {
                let asked = ask(app, s, kind, config, Way::Through(app, &connection, cancel));
                match asked {
                    Ok(look) => found.and(look),
                    Err(e) if is_of_connection(&e) => {
                        broken = Some(e.clone());
                        unknown(&e)
                    }
                    Err(e) => found.and(Look::of(Health::Unhealthy, e.code, e.say)),
                }
            }
            _ => found,
        };
        why(app, &connection, s, found, cancel)
    };
    services.iter().map(&mut one).collect()
}

/// Looks at one that is on no server.
fn from_here(app: &App, s: &Service) -> Look {
    let now = clock::now();
    let found = match s.fields.kind.check {
        Check::Called => {
            let exit_code = s.now.call.as_ref().and_then(|call| call.exit_code);
            Ok(kinds::of_calls(
                &s.fields.config,
                s.now.called_at.map(|at| now - at),
                exit_code,
            ))
        }
        _ => {
            // A failure says nothing while our own network is down.
            if let Ok(Some(_)) = metrics::offline_since(&app.metrics) {
                return Look::of(Health::Unknown, "no_network", "Lamplighter's own network is down.");
            }
            let policy = app.db.read(|conn| settings::policy(conn, s.private));
            policy.and_then(|policy| ask(app, s, s.fields.kind, &s.fields.config, Way::Direct(policy)))
        }
    };
    found.unwrap_or_else(|e| match e.code {
        "address_refused" | "no_network" | "internal" => unknown(&e),
        _ => Look::of(Health::Unhealthy, e.code, e.say),
    })
}

/// Asks a service something of its own kind, within so long. Errors: those of the way there, and of the work.
pub fn asked<T>(
    app: &App,
    s: &Service,
    cancel: &Cancel,
    within: Duration,
    work: impl FnOnce(&Ask) -> Result<T>,
) -> Result<T> {
    let connection = s
        .fields
        .server
        .map(|server| ServerConnection::of(app, server))
        .transpose()?;
    let way = match &connection {
        Some(connection) => Way::Through(app, connection, cancel),
        None => Way::Direct(app.db.read(|conn| settings::policy(conn, s.private))?),
    };
    over(app, s, (s.fields.kind, &s.fields.config), way, within, work)
}

fn ask(app: &App, s: &Service, kind: &Kind, config: &Config, way: Way) -> Result<Look> {
    let (Check::Ask(work) | Check::Port(work)) = kind.check else {
        return Err(Error::internal(format!("{} is not asked", kind.name)));
    };
    over(app, s, (kind, config), way, ASK_MAX, work)
}

/// Asks over this way, with what is sealed of it. What it gives to go on with is kept, unless it was changed meanwhile.
fn over<T>(
    app: &App,
    s: &Service,
    (kind, config): (&Kind, &Config),
    way: Way,
    within: Duration,
    work: impl FnOnce(&Ask) -> Result<T>,
) -> Result<T> {
    let is_own = kind.name == s.fields.kind.name;
    let opened = |column, is_wanted: bool| match is_wanted && is_own {
        true => app.db.read(|conn| secret(app, conn, s.id, column)),
        false => Ok(None),
    };
    let password = opened("password", kind.has_password)?;
    let ask = Ask {
        config,
        password: password.as_ref(),
        token: opened("token", kind.keeps_token)?.into(),
        renewed: false.into(),
        way,
        until: clock::mono() + within,
    };
    let done = work(&ask);
    if let Some(token) = ask.token.take().filter(|_| ask.renewed.get()) {
        let sealed = app.vault.seal(place(s.id, "token"), &token)?;
        app.db.write(|tx| match queries::get(tx, s.id)? {
            Some(now) if now.revision == s.revision => queries::set_sealed(tx, s.id, "token", Some(&sealed)),
            _ => Ok(()),
        })?;
    }
    done
}

/// Asks for all that a job can tell.
fn in_job(app: &App, connection: &ServerConnection, services: &[Service], cancel: &Cancel) -> Result<Answers> {
    let folders = app.db.read(|conn| settings::SERVICES_PROGRAMS.text(conn))?;
    let mut answers = Answers::default();
    let password = |s: &Service| app.db.read(|conn| secret(app, conn, s.id, "password"));
    let Some(script) = job::script(services, &folders, &password)? else {
        return Ok(answers);
    };
    let is_program = |s: &&Service| matches!(s.fields.kind.check, Check::Exec(_) | Check::Postgres(_));
    let programs = u32::try_from(services.iter().filter(is_program).count()).unwrap_or(u32::MAX);
    let job = Job {
        script: &script,
        root: false,
        deadline: JOB_MAX + PROGRAM_MAX * programs,
    };
    let done = connection.job(app, &job, cancel, &mut |stream, line| {
        if stream == Stream::Stdout {
            answers.take(line);
        }
    })?;
    match done.rc {
        0 => Ok(answers),
        rc => Err(Error::new(
            Fault::Upstream,
            "look_failed",
            format!("The job that looks at the services of this server ended with code {rc}."),
        )),
    }
}

/// Adds why a unit stopped, when that is new.
fn why(app: &App, connection: &ServerConnection, s: &Service, mut look: Look, cancel: &Cancel) -> Look {
    let Check::Unit(of) = s.fields.kind.check else {
        return look;
    };
    let Some(process) = &mut look.process else { return look };
    let life = format!("{} {}", process.life, process.restarts);
    let Some(end) = &mut process.end else { return look };
    end.at = clock::now();
    if let (Some(known), true) = (&s.now.ended, s.now.life == life && s.now.state != "running") {
        *end = End {
            at: known.at,
            asked: known.asked,
            by: known.by.clone(),
            lines: known.lines.clone(),
            ..end.clone()
        };
        return look;
    }
    let unit = of(&s.fields.config);
    let how = if unit.user { "user" } else { "system" };
    let Ok(values) = shell::assignments(&[("UNIT", &unit.name), ("HOW", how)]) else {
        return look;
    };
    let script = values + WHY;
    let mut scrub = Scrub::new();
    connection.secrets().for_each(|secret| scrub.add(secret));
    // Root sees the whole journal; who may not be root sees what there is to see.
    for root in [!unit.user, false] {
        let mut found = end.clone();
        let job = Job {
            script: &script,
            root,
            deadline: WHY_MAX,
        };
        let done = connection.job(app, &job, cancel, &mut |stream, line| {
            if stream == Stream::Stdout {
                job::explain(&mut found, line);
            }
        });
        if done.is_ok() {
            found.lines = found.lines.iter().map(|line| scrub.line(line).to_string()).collect();
            *end = found;
            break;
        }
    }
    look
}

fn unknown(e: &Error) -> Look {
    Look::of(Health::Unknown, e.code, e.say.clone())
}

/// Is it the way to the server that failed, and not the service?
fn is_of_connection(e: &Error) -> bool {
    e.code.starts_with("ssh_")
        || e.code.starts_with("host_key")
        || ["cancelled", "no_credential", "deadline"].contains(&e.code)
}
