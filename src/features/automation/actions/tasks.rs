//! The actions as tasks.

use super::model::{FETCH_LOGS, FLEET, File, Logs, REBOOT, RESTART_SERVICE, Service, UPDATES, UPLOAD_FILE, Updates};
use super::queries::{self, Found};
use super::settings;
use super::work::provision;
use super::{PART, fleet, reboot};
use crate::access::Allowed;
use crate::app::App;
use crate::base::clock;
use crate::base::error::{Error, Kind as Fault, Result};
use crate::base::id::{self, Id};
use crate::base::process::Stream;
use crate::base::redact::Scrub;
use crate::base::shape::described;
use crate::base::{shell, text};
use crate::db::Tx;
use crate::events::outbox::Event;
use crate::features::fleet::servers::{self, ServerConnection};
use crate::features::watch::silences;
use crate::lang::Lang;
use crate::provision::{self, acts};
use crate::ssh::Job;
use crate::task::queue::Ended;
use crate::task::worker::Run;
use crate::task::{Class, Kind, Outcome, Tries};
use serde::Deserialize;
use std::io::Write;
use std::time::Duration;

const fn kind(
    name: &'static str,
    idempotent: bool,
    class: Class,
    minutes: u64,
    run: fn(&Run) -> Result<Outcome>,
) -> Kind {
    Kind {
        name,
        idempotent,
        class,
        deadline: Duration::from_secs(60 * minutes),
        tries: Tries::ONCE,
        locks: Kind::TARGET_ONLY,
        by_clock: None,
        run,
    }
}

/// All kinds. A restart that lost its worker is not repeated: it may have been done.
pub const TASKS: &[Kind] = &[
    kind(REBOOT, false, Class::Long, 90, reboot::run),
    kind(RESTART_SERVICE, false, Class::Standard, 15, restart_service),
    kind(FETCH_LOGS, true, Class::Standard, 5, fetch_logs),
    kind(UPLOAD_FILE, true, Class::Standard, 15, upload_file),
    kind(UPDATES, true, Class::Long, 60, updates),
    kind(FLEET, true, Class::Quick, 5, fleet::run),
];

/// When a task has ended, however: the silence that was made for it ends, and a file that was given for it goes. Failed work
/// is told as all work on servers is; whoever only looked reads it in the task.
pub fn react(app: &App, tx: &Tx, event: &Event) -> Result<()> {
    let Some(ended) = Ended::of(event) else { return Ok(()) };
    let Some(kind) = TASKS.iter().find(|kind| kind.name == ended.kind) else {
        return Ok(());
    };
    let task = Id::new(event.target_id);
    if let Some(silence) = queries::silence(tx, task)? {
        silences::lift(app, tx, silence, Allowed::by_daemon())?;
    }
    queries::forget_parts(tx, task)?;
    match kind.name {
        FETCH_LOGS | FLEET => Ok(()),
        _ => servers::emit_work_ended(app, tx, &ended, kind.title(Lang::En)),
    }
}

fn restart_service(run: &Run) -> Result<Outcome> {
    let input: Service = run.input()?;
    let connection = servers::connect(run)?;
    let done = provision(
        run,
        &connection,
        &acts::service(&input.service, "", acts::Act::Restart)?,
    )?;
    let fact = |key: &str| done.facts.get(key).map_or("", String::as_str);
    run.log.say(&format!(
        "{}: before {}; now {}.",
        input.service,
        fact("before"),
        fact("after")
    ));
    Ok(Outcome {
        changed: done.changed,
        commit: None,
    })
}

const LOGS_LIMIT: Duration = Duration::from_secs(120);

fn fetch_logs(run: &Run) -> Result<Outcome> {
    let input: Logs = run.input()?;
    let connection = servers::connect(run)?;
    let (kib, folders) = run
        .app
        .db
        .read(|conn| Ok((settings::LOG_KIB.number(conn)?, settings::LOG_FOLDERS.text(conn)?)))?;
    let values = [
        ("UNIT", input.unit.as_str()),
        ("FILE", &input.path),
        ("SINCE", &input.since),
        ("LINES", &input.lines.to_string()),
        ("BYTES", &(kib << 10).to_string()),
        ("ALLOWED", &folders),
    ];
    let script = shell::assignments(&values)? + acts::LOGS;
    let job = Job {
        script: &script,
        root: true,
        deadline: LOGS_LIMIT,
    };
    let (mut sent, mut said) = (String::new(), String::new());
    let done = connection.job(run.app, &job, run.cancel, &mut |stream, line| match stream {
        Stream::Stdout => sent.push_str(line),
        Stream::Stderr => said.extend([line, " "]),
    })?;
    if done.rc != 0 {
        let known = acts::LOGS_REFUSED.iter().find(|(rc, ..)| *rc == done.rc);
        let said = text::one_line(&said, 300);
        let (code, say) = known.map_or(("log_unread", "The log could not be read on this server."), |row| {
            (row.1, row.2)
        });
        let say = if said.is_empty() {
            say.into()
        } else {
            format!("{say} It said: {said}")
        };
        return Err(Error::new(Fault::Conflict, code, say).log(format_args!("rc {}", done.rc)));
    }
    let Some(bytes) = text::unbase64(&sent) else {
        return Err(Error::new(
            Fault::Upstream,
            "log_unread",
            "What this server sent is no log.",
        ));
    };
    let cut = bytes.len() as i64 >= kib << 10;
    let content = masked(&connection, &bytes);
    let name = match input.unit.is_empty() {
        true => input.path.rsplit('/').next().unwrap_or_default().to_string(),
        false => input.unit,
    };
    run.log.say(&format!(
        "{} lines, {} KiB{}. They are kept with this task: GET /api/hosts/{}/actions/{}/result",
        content.lines().count(),
        content.len().div_ceil(1024),
        if cut {
            ": more than may be kept, so the beginning is missing"
        } else {
            ""
        },
        connection.server.id,
        run.task.id
    ));
    let found = Found {
        task: run.task.id,
        name: format!("{}-{name}.txt", connection.server.fields.name),
        content,
        cut,
        at: clock::now(),
    };
    let server = connection.server.id;
    Ok(Outcome {
        changed: 0,
        commit: Some(Box::new(move |tx| queries::keep(tx, server, "logs", &found))),
    })
}

/// The lines without this server's own secrets and whatever looks like one.
fn masked(connection: &ServerConnection, bytes: &[u8]) -> String {
    let mut scrub = Scrub::new();
    connection.secrets().for_each(|secret| scrub.add(secret));
    let mut out = String::with_capacity(bytes.len());
    for line in String::from_utf8_lossy(bytes).lines() {
        out.push_str(&scrub.line(line));
        out.push('\n');
    }
    out
}

/// Bytes of one part: each is sealed by itself, and no more than one is held.
pub const PART_MAX: usize = 512 << 10;

fn upload_file(run: &Run) -> Result<Outcome> {
    let file: File = run.input()?;
    let of = run.task.parent.unwrap_or(run.task.id);
    let connection = servers::connect(run)?;
    run.log.say(&format!(
        "{} bytes, SHA-256 {}, for {}",
        file.size, file.sha256, file.path
    ));
    let allowed = run.app.db.read(|conn| settings::FILE_FOLDERS.text(conn))?;
    let parts = (file.size as usize).div_ceil(PART_MAX);
    let stage = connection.stage(run.app, 2 * file.size, run.cancel, &mut |out| {
        for number in 0..parts {
            write_part(run, of, number, out)?;
        }
        Ok(())
    })?;
    let placed = acts::File {
        path: &file.path,
        mode: &file.mode,
        owner: &file.owner,
        sha256: &file.sha256,
        size: file.size,
        allowed: &allowed,
    };
    let done = provision(run, &connection, &acts::file(&placed, &stage)?)?;
    if let Some(kept) = done.facts.get("kept") {
        run.log
            .say(&format!("The file that was there before is kept on the server: {kept}"));
    }
    Ok(Outcome {
        changed: done.changed,
        commit: None,
    })
}

fn write_part(run: &Run, of: Id<id::Task>, number: usize, out: &mut dyn Write) -> Result<()> {
    let found = run.app.db.read(|conn| queries::part(conn, of, number))?;
    let (row, sealed) =
        found.ok_or_else(|| Error::internal(format!("part {number} of the file of task {of} is gone")))?;
    let part = run.app.vault.open_sealed(PART.at(row), &sealed)?;
    out.write_all(part.reveal_for("a file on its way to a server"))?;
    Ok(())
}

described! {
    /// A package that waits for an update.
    #[derive(Debug, Clone, Deserialize)]
    pub struct Update {
        /// Its name.
        pub package: String,
        /// The version that is there; empty: it comes anew.
        pub installed: String,
        /// The version that waits.
        pub candidate: String,
        /// Where it comes from.
        pub source: String,
        /// Is it a security update?
        pub security: bool,
    }

    /// Updates of a server, as its own apt tells them.
    #[derive(Debug, Clone, Deserialize)]
    pub struct Waiting {
        /// What waits.
        pub updates: Vec<Update>,
        /// Packages that an administrator of the server holds back.
        pub held: Vec<String>,
        /// How many this task has applied.
        pub applied: i64,
        /// Does the server want to be restarted?
        pub reboot: bool,
        /// The packages that ask for that.
        pub reboot_for: Vec<String>,
        /// What needrestart says, line by line; `null`: it is not installed there.
        pub needrestart: Option<Vec<String>>,
        /// The package lists could not all be read anew.
        pub lists_old: bool,
    }
}

/// Reads a line of apt's simulation: `openssl [3.0.11-1] (3.0.13-1 Debian-Security:12/stable-security [amd64])`.
fn update(line: &str) -> Option<Update> {
    let (head, rest) = line.split_once(" (")?;
    let (package, installed) = match head.split_once(" [") {
        Some((package, version)) => (package, version.trim_end_matches(']')),
        None => (head, ""),
    };
    let (candidate, source) = rest.split_once(' ').unwrap_or((rest, ""));
    let source = source.split(" [").next().unwrap_or_default().trim_end_matches(')');
    Some(Update {
        package: package.into(),
        installed: installed.into(),
        candidate: candidate.trim_end_matches(')').into(),
        security: source.contains("-Security:")
            || source.split([' ', ',', '/']).any(|part| part.ends_with("-security")),
        source: source.into(),
    })
}

fn waiting(done: &provision::Outcome) -> Waiting {
    let lines = |key: &str| -> Vec<String> {
        let text = done.texts.get(key).map_or("", String::as_str).lines();
        text.map(|line| text::one_line(line, 300))
            .filter(|line| !line.is_empty())
            .collect()
    };
    let fact = |key: &str| done.facts.get(key).map_or("", String::as_str);
    Waiting {
        updates: lines("left").iter().filter_map(|line| update(line)).collect(),
        held: lines("held"),
        applied: fact("applied").parse().unwrap_or(0),
        reboot: fact("reboot") == "yes",
        reboot_for: lines("reboot"),
        needrestart: (fact("needrestart") != "none").then(|| lines("needrestart")),
        lists_old: fact("lists") == "old",
    }
}

/// Lines of a plan in the log; the whole is in the result.
const PLAN_LOGGED: usize = 200;

fn updates(run: &Run) -> Result<Outcome> {
    let input: Updates = run.input()?;
    let connection = servers::connect(run)?;
    if connection.server.fields.from_bundle() {
        let say = "Packages for this server come from a bundle, so its own sources are not asked for updates.";
        return Err(Error::new(Fault::Conflict, "updates_from_bundle", say));
    }
    let done = provision(run, &connection, &acts::updates(&input.apply)?)?;
    let plan = done.texts.get("plan").map_or("", String::as_str);
    let planned: Vec<_> = plan.lines().filter_map(update).collect();
    let count = |all: &[Update]| {
        format!(
            "{}, {} of them for security",
            all.len(),
            all.iter().filter(|u| u.security).count()
        )
    };
    run.log.say(&format!("Updates that waited: {}.", count(&planned)));
    for u in planned.iter().take(PLAN_LOGGED) {
        let mark = if u.security { " (security)" } else { "" };
        let from = if u.installed.is_empty() { "new" } else { &u.installed };
        run.log.say(&format!("  {}: {from} → {}{mark}", u.package, u.candidate));
    }
    let waiting = waiting(&done);
    if !input.apply.is_empty() {
        run.log.say(&format!(
            "Applied: {}. Left: {}.",
            waiting.applied,
            count(&waiting.updates)
        ));
    }
    if waiting.lists_old {
        run.log.line(
            "warning",
            "task",
            "",
            "Not all package lists could be read anew: there may be more.",
        );
    }
    for line in waiting.needrestart.iter().flatten() {
        run.log.say(&format!("needrestart: {line}"));
    }
    if waiting.reboot {
        run.log.line(
            "warning",
            "task",
            "",
            &format!("This server wants to be restarted: {}", waiting.reboot_for.join(", ")),
        );
    }
    let found = Found {
        task: run.task.id,
        name: format!("{}-updates.json", connection.server.fields.name),
        content: serde_json::to_string(&waiting).map_err(Error::internal)?,
        cut: !done.texts.contains_key("left"),
        at: clock::now(),
    };
    let server = connection.server.id;
    Ok(Outcome {
        changed: done.changed,
        commit: Some(Box::new(move |tx| queries::keep(tx, server, "updates", &found))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apts_simulation_is_read_line_by_line() {
        let one = update("openssl [3.0.11-1] (3.0.13-1 Debian-Security:12/stable-security [amd64])").unwrap();
        assert_eq!(
            (
                &*one.package,
                &*one.installed,
                &*one.candidate,
                &*one.source,
                one.security
            ),
            (
                "openssl",
                "3.0.11-1",
                "3.0.13-1",
                "Debian-Security:12/stable-security",
                true
            )
        );
        let new = update("linux-image-6.1 (6.1.94-1 Debian:12.6/stable [amd64])").unwrap();
        assert_eq!((&*new.installed, new.security), ("", false));
        let ubuntu = "libc6 [2.39-0ubuntu8] (2.39-0ubuntu8.2 Ubuntu:24.04/noble-updates, Ubuntu:24.04/noble-security [amd64]) []";
        let ubuntu = update(ubuntu).unwrap();
        assert_eq!((&*ubuntu.candidate, ubuntu.security), ("2.39-0ubuntu8.2", true));
        let local = update("tool [1.0] (2.0 localhost [all])").unwrap();
        assert_eq!(
            (&*local.candidate, &*local.source, local.security),
            ("2.0", "localhost", false)
        );
        assert!(update("Reading package lists...").is_none());
    }
}
