//! Health of Lamplighter: `/health` and its aliases, `/health/scheduler` for the background work.

mod events;
mod overall;
mod commands;

use crate::access::right::{Health, Read, may};
use crate::access::{self, Right};
use crate::app::App;
use crate::base::clock::{self, Duration, Ms};
use crate::base::config::STATE_FILE;
use crate::base::error::{Error, Kind, Result};
use crate::base::parallel::lock;
use crate::base::pulse::JobRun;
use crate::base::shape::{Described, described};
use crate::base::{log, sys};
use crate::db::Trouble;
use crate::events::outbox;
use crate::feature::Feature;
use crate::features::watch::alerts;
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::request::Method::Get;
use crate::http::route::{Answer, Ctx, Panel, Route, route};
use crate::lang::format::bytes;
use crate::lang::{Lang, words};
use crate::schedule::{self, Periodic, Work};
use serde::Serialize;
use std::sync::Mutex;

pub use overall::{Overall, own as own_state};

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: ROUTES,
    panels: PANELS,
    periodic: PERIODIC,
    commands: commands::COMMANDS,
    kinds: events::KINDS,
    ..Feature::named("health")
};

const PANELS: &[Panel] = &[
    Panel {
        on: "settings",
        slot: "storage",
        data: |ctx, _| serde_json::to_value(storage_of(ctx.app)?).map_err(Error::internal),
    },
    Panel {
        on: "settings",
        slot: "own",
        data: |ctx, _| serde_json::to_value(panel(ctx)?).map_err(Error::internal),
    },
];

const PERIODIC: &[Periodic] = &[
    Periodic {
        name: "databases.shrink",
        every: Duration::from_secs(3600),
        run: Work::Short(|app| {
            for db in app.databases() {
                let bytes = db.shrink()?;
                if bytes > 0 {
                    let name = db.path().display().to_string();
                    log::info(
                        "db",
                        "released free disk space",
                        &[("file", &name), ("bytes", &bytes.to_string())],
                    );
                }
            }
            Ok(())
        }),
    },
    Periodic {
        name: "databases.disk",
        every: Duration::from_secs(10),
        run: Work::Short(check_disk),
    },
    Periodic {
        name: "databases.check",
        every: Duration::from_secs(24 * 3600),
        run: Work::Long(|app, cancel| {
            let mut damage = Vec::new();
            for db in app.databases() {
                if let Some(what) = db.check(cancel)? {
                    let what = format!("{} is damaged: {what}.", db.path().display());
                    log::critical("db", &what, &[]);
                    damage.push(what);
                }
            }
            match damage.is_empty() {
                true => Ok(()),
                false => Err(Error::new(Kind::Internal, "database_damaged", damage.join(" "))),
            }
        }),
    },
];

const ROUTES: &[Route] = &[
    route(Get, "/health", Right::Public, health)
        .uncounted()
        .gives::<Report>()
        .answers(Answer::Json(503, Report::SHAPE)),
    route(Get, "/healthz", Right::Public, health)
        .uncounted()
        .gives::<Report>()
        .answers(Answer::Json(503, Report::SHAPE)),
    route(Get, "/api/health", Right::Public, health)
        .uncounted()
        .gives::<Report>()
        .answers(Answer::Json(503, Report::SHAPE)),
    route(Get, "/health/scheduler", Right::Public, scheduler)
        .uncounted()
        .gives::<SchedulerReport>()
        .answers(Answer::Json(503, SchedulerReport::SHAPE)),
    route(Get, "/api/status", may(Read, Health), overall::show).gives::<overall::Report>(),
    route(Get, "/api/health/storage", may(Read, Health), storage).gives::<Storage>(),
];

/// Time after the start without job runs.
const FIRST_RUNS: Duration = Duration::from_secs(30);

/// Health status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// No problem.
    Healthy,
    /// Works partly: see the reasons.
    Degraded,
    /// Does not work.
    Unhealthy,
}
described!(Status: "healthy", "degraded", "unhealthy");

impl Status {
    /// As shown.
    pub fn name(self) -> &'static str {
        ["healthy", "degraded", "unhealthy"][self as usize]
    }

    /// HTTP status for load balancers.
    pub fn code(self) -> u16 {
        if self == Status::Unhealthy { 503 } else { 200 }
    }
}

/// A problem of Lamplighter itself. `code` is a text id below `health.`.
#[derive(Debug, Clone)]
pub struct Reason {
    code: &'static str,
    /// Severity.
    pub status: Status,
    what: String,
    error: String,
    n: i64,
}

impl Reason {
    fn new(code: &'static str, status: Status, what: impl Into<String>, error: impl Into<String>) -> Reason {
        Reason {
            code,
            status,
            what: what.into(),
            error: error.into(),
            n: 0,
        }
    }

    /// The problem of a job, if there is one.
    fn of(job: &JobRun, now: Ms) -> Option<Reason> {
        let reason = |code, error| Reason {
            n: job.fails,
            ..Reason::new(code, Status::Degraded, &job.name, error)
        };
        match &job.error {
            _ if job.is_late(now) => Some(reason("late", "")),
            Some(e) if job.is_failing() => Some(reason("fails", e)),
            _ => None,
        }
    }

    /// Observation and advice.
    pub fn say(&self, lang: Lang) -> String {
        let word = words::word(lang, &format!("health.{}", self.code), Some(self.n)).unwrap_or(self.code);
        let what = words::word(lang, &format!("beat.{}", self.what), None).unwrap_or(&self.what);
        let n = self.n.to_string();
        let value = |out: &mut String, name: &str| {
            out.push_str(match name {
                "what" => what,
                "n" => &n,
                _ => &self.error,
            });
            true
        };
        words::fill(word, value, |out, plain| out.push_str(plain))
    }
}

/// Health of Lamplighter itself.
pub struct Own {
    /// Worst status of the reasons.
    pub status: Status,
    /// `ok`, `full`, `damaged`, `failing` or `unreadable`: the worst of all databases.
    pub database: &'static str,
    /// Problems, worst first.
    pub reasons: Vec<Reason>,
}

/// Evaluates [`Own`]; costs one query.
pub fn own(app: &App) -> Own {
    let mut reasons = Vec::new();
    // Servers are managed even without samples and lines.
    let worst = [Status::Unhealthy, Status::Degraded, Status::Degraded];
    for (db, worst) in app.databases().into_iter().zip(worst) {
        let file = || db.path().file_name().unwrap_or_default().to_string_lossy();
        match db.trouble() {
            Some(Trouble::Damaged(e)) => reasons.push(Reason::new("damaged", worst, file(), e)),
            Some(Trouble::Failing(e)) => reasons.push(Reason::new("failing", Status::Degraded, file(), e)),
            Some(Trouble::Full) if reasons.iter().any(|r| r.code == "full") => {} // all are on the same disk
            Some(Trouble::Full) => reasons.push(Reason::new("full", Status::Degraded, folder(app), "")),
            None => {}
        }
    }
    if let Err(e) = app.db.read(access::accounts) {
        reasons.push(Reason::new("unreadable", Status::Unhealthy, STATE_FILE, e.to_string()));
    }
    let of_files = |r: &&Reason| r.code;
    let database = reasons.iter().max_by_key(|r| r.status).as_ref().map_or("ok", of_files);
    match app.db.read(schedule::job_runs) {
        Ok(job_runs) if job_runs.is_empty() && app.started.elapsed() < FIRST_RUNS => {}
        Ok(job_runs) if job_runs.is_empty() => reasons.push(Reason::new("no_beats", Status::Degraded, "", "")),
        Ok(job_runs) => reasons.extend(job_runs.iter().filter_map(|job| Reason::of(job, clock::now()))),
        Err(e) => log::warning("health", "the job runs cannot be read", &[("error", &e.to_string())]),
    }
    reasons.sort_by_key(|r| std::cmp::Reverse(r.status));
    Own {
        status: reasons.first().map_or(Status::Healthy, |r| r.status),
        database,
        reasons,
    }
}

/// Event and alert: our own disk is full, or nearly.
const DISK_FULL: &str = "controller.disk_full";
/// Event: there is space again.
const DISK_ROOM: &str = "controller.disk_room";
const US: (&str, i64) = ("controller", 0);
/// Nearly full: less than this fraction, and at most this many bytes free.
const LOW: (u64, u64) = (20, 512 << 20);

/// Last reported severity; `None`: not checked yet.
static SAID: Mutex<Option<Option<&'static str>>> = Mutex::new(None);

/// Reports when the disk of our data is nearly full, full, and has space again. Uses the reserve, too.
fn check_disk(app: &App) -> Result<()> {
    let is_full = app.databases().iter().any(|db| db.trouble() == Some(Trouble::Full));
    let (free, size) = sys::disk(&app.config.data_dir)?;
    let is_open = app.db.read(|conn| alerts::is_open(conn, DISK_FULL, US))?;
    let mut said = lock(&SAID);
    let before = said.unwrap_or(is_open.then_some("CRITICAL"));
    let low = (size / LOW.0).min(LOW.1);
    let enough = if before.is_some() { low + low / 2 } else { low };
    let now = match (is_full, before) {
        (true, _) => Some("CRITICAL"),
        (false, before) if free < enough => before.or(Some("ERROR")),
        (false, _) => None,
    };
    if now != before {
        let shown = |n: u64| bytes(Lang::En, n as f64).replace('\u{a0}', " ");
        let seen = format!(
            "{} {}: {} free of {}",
            clock::rfc3339(clock::now()),
            folder(app),
            shown(free),
            shown(size)
        );
        let kept = "Only signing in, cleaning up and this alarm are written until there is room.";
        let evidence: Vec<_> = [Some(seen.as_str()), is_full.then_some(kept)]
            .into_iter()
            .flatten()
            .collect();
        let data = serde_json::json!({ "name": "Lamplighter", "level": now, "evidence": evidence });
        let event = if now.is_some() { DISK_FULL } else { DISK_ROOM };
        app.db
            .write_reserved(|tx| outbox::emit(tx, &app.wakes.events, event, US, &data))?;
    }
    *said = Some(now);
    Ok(())
}

fn folder(app: &App) -> String {
    app.config.data_dir.display().to_string()
}

described! {
    /// Health of Lamplighter.
    struct Report {
        status: Status,
        version: &'static str,
        /// `ok`, `full`, `damaged`, `failing` or `unreadable`: the worst of all files.
        database: &'static str,
        uptime_seconds: u64,
        /// Problems as sentences; only for signed-in users.
        #[serde(skip_serializing_if = "Option::is_none")]
        reasons: Option<Vec<String>>,
    }

    /// State of the background work.
    struct SchedulerReport<'a> {
        /// `healthy` or `unhealthy`.
        status: &'static str,
        items: Vec<JobReport<'a>>,
        total: usize,
    }

    /// One job.
    struct JobReport<'a> {
        name: &'a str,
        /// Interval.
        every_s: i64,
        /// Age of the last run.
        age_s: i64,
        /// Duration of the last run.
        took_ms: i64,
        late: bool,
        /// Has its last run failed?
        failed: bool,
        /// Failures in a row.
        fails: i64,
    }
}

/// Public; the reasons are for signed-in users.
fn health(ctx: &Ctx) -> Result<Reply> {
    let own = own(ctx.app);
    let say = || own.reasons.iter().map(|r| r.say(Lang::En)).collect();
    let report = Report {
        status: own.status,
        version: env!("CARGO_PKG_VERSION"),
        database: own.database,
        uptime_seconds: ctx.app.started.elapsed().as_secs(),
        reasons: ctx.maybe_actor().map(|_| say()),
    };
    Ok(Reply::json(&report)?.with_status(own.status.code()))
}

/// Health and background jobs for a page.
#[derive(Serialize)]
struct Shown {
    status: Status,
    reasons: Vec<String>,
    job_runs: Vec<ShownRun>,
}

#[derive(Serialize)]
struct ShownRun {
    #[serde(flatten)]
    job: JobRun,
    /// `late`, `fails`, or nothing.
    trouble: Option<&'static str>,
}

fn panel(ctx: &Ctx) -> Result<Shown> {
    let (own, now) = (own(ctx.app), clock::now());
    let lang = page::lang(ctx.request, ctx.maybe_actor());
    let shown = |job| ShownRun {
        trouble: Reason::of(&job, now).map(|reason| reason.code),
        job,
    };
    Ok(Shown {
        status: own.status,
        reasons: own.reasons.iter().map(|reason| reason.say(lang)).collect(),
        job_runs: ctx.app.db.read(schedule::job_runs)?.into_iter().map(shown).collect(),
    })
}

described! {
    /// Disk usage of Lamplighter in bytes.
    pub struct Storage {
        databases: Vec<Database>,
        /// Free bytes of their disk for this user.
        disk_free: Option<u64>,
        /// Size of the disk.
        disk_size: Option<u64>,
    }

    struct Database {
        name: String,
        /// With its write-ahead log.
        bytes: i64,
        /// Free pages of it: reused or returned.
        empty: i64,
    }
}

/// Reads [`Storage`].
pub fn storage_of(app: &App) -> Result<Storage> {
    let databases = app.databases().map(|db| {
        let size = db.size()?;
        let name = db.path().file_name().unwrap_or_default();
        Ok(Database {
            name: name.to_string_lossy().into_owned(),
            bytes: size.file + size.wal,
            empty: size.free,
        })
    });
    let disk = sys::disk(&app.config.data_dir).ok();
    Ok(Storage {
        databases: databases.into_iter().collect::<Result<_>>()?,
        disk_free: disk.map(|(free, _)| free),
        disk_size: disk.map(|(_, size)| size),
    })
}

fn storage(ctx: &Ctx) -> Result<Reply> {
    Reply::json(&storage_of(ctx.app)?)
}

/// 503 if a job is late or fails, or if there is none.
fn scheduler(ctx: &Ctx) -> Result<Reply> {
    let job_runs = ctx.app.db.read(schedule::job_runs)?;
    let now = clock::now();
    let good = !job_runs.is_empty() && job_runs.iter().all(|job| Reason::of(job, now).is_none());
    let report = SchedulerReport {
        status: if good { "healthy" } else { "unhealthy" },
        items: job_runs.iter().map(|b| job(b, now)).collect(),
        total: job_runs.len(),
    };
    Ok(Reply::json(&report)?.with_status(if good { 200 } else { 503 }))
}

fn job(b: &JobRun, now: Ms) -> JobReport<'_> {
    JobReport {
        name: &b.name,
        every_s: b.every_ms / 1000,
        age_s: (now - b.alive_at) / 1000,
        took_ms: b.last_ms,
        late: b.is_late(now),
        failed: b.error.is_some(),
        fails: b.fails,
    }
}
