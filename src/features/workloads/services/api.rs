//! The services' JSON API. It reads what the watch has stored; acts are tasks.

pub mod marzban;

use super::acts::{self, Act};
use super::model;
use super::observed::SERVICES;
use super::queries::{self, Service};
use super::verdict::{End, Figures, Health, Tables};
use super::{called, follow, import, kinds, look, named};
use crate::access::Right;
use crate::access::right::{Deploy, Edit, Read, Run, Services, may};
use crate::app::App;
use crate::base::clock::{self, HOUR, Ms, SECOND, rfc3339};
use crate::base::error::{Error, Field, Kind, Result};
use crate::base::id::{self, Id, Task};
use crate::base::process::Cancel;
use crate::base::secret::Secret;
use crate::base::shape::{Described, Shape, described};
use crate::base::text;
use crate::db::Conn;
use crate::features::fleet::metrics;
use crate::features::workloads::logs::{self, Live, Speaker};
use crate::form::param::{self, Param};
use crate::http::reply::{Reply, TEXT, TaskStarted};
use crate::http::request::Method::{Delete, Get, Patch, Post, Put};
use crate::http::route::{Answer, Ctx, LIMIT, OFFSET, Q, Route, route};
use crate::series::{Series, Window};
use serde_json::Value;
use std::collections::BTreeMap;

/// Rows of a table.
type Rows = Vec<super::verdict::Row>;

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Get, "/api/services", may(Read, Services), list)
        .query(LIST)
        .gives::<Listed>()
        .live(),
    route(Post, "/api/services", may(Edit, Services), create)
        .takes(model::PARAMS)
        .creates::<View>(),
    route(Post, "/api/services/import", may(Edit, Services), |ctx| {
        Reply::json(&import::import(ctx.app, ctx.input()?, ctx.allowed(Edit, Services)?)?)
    })
    .takes(import::PARAMS)
    .gives::<import::Imported>(),
    route(Get, "/api/services/{name}", may(Read, Services), show)
        .gives::<View>()
        .live(),
    route(Put, "/api/services/{name}", may(Edit, Services), change)
        .takes(model::PARAMS)
        .gives::<View>(),
    route(Patch, "/api/services/{name}", may(Edit, Services), change)
        .takes(model::PARAMS)
        .gives::<View>(),
    route(Delete, "/api/services/{name}", may(Edit, Services), remove).gives_nothing(),
    route(Post, "/api/services/{name}/start", may(Deploy, Services), |ctx| {
        act(ctx, acts::START)
    })
    .takes(&[])
    .starts_task(),
    route(Post, "/api/services/{name}/stop", may(Deploy, Services), |ctx| {
        act(ctx, acts::STOP)
    })
    .takes(&[])
    .starts_task(),
    route(Post, "/api/services/{name}/restart", may(Deploy, Services), |ctx| {
        act(ctx, acts::RESTART)
    })
    .takes(&[])
    .starts_task(),
    route(Get, "/api/services/{name}/unit", may(Read, Services), unit).gives::<UnitFile>(),
    route(Post, "/api/services/{name}/remove-unit", may(Deploy, Services), |ctx| {
        act(ctx, acts::REMOVE_UNIT)
    })
    .takes(&[])
    .starts_task(),
    route(Post, "/api/services/{name}/check", may(Run, Services), check)
        .takes(&[])
        .gives::<View>()
        .asks_others(),
    route(Get, "/api/services/{name}/logs", may(Read, Services), lines)
        .query(LINES)
        .gives::<logs::Lines>(),
    route(Get, "/api/services/{name}/log.txt", may(Read, Services), |ctx| {
        logs::download(ctx, speaker(ctx)?)
    })
    .query(logs::LINES)
    .gives_bytes(TEXT),
    route(Get, "/api/services/{name}/logs/stream", may(Read, Services), |ctx| {
        ctx.stream(Live::of_one(ctx, speaker(ctx)?)?)
    })
    .query(logs::LIVE)
    .streams(logs::EVENTS),
    route(Get, "/api/services/{name}/stats", may(Read, Services), stats)
        .query(PERIOD)
        .gives::<Stats>(),
    route(Get, "/api/metrics/history", may(Read, Services), history)
        .refuses(&[404])
        .query(HISTORY)
        .gives::<Stats>(),
    route(Get, "/api/redis/{name}/stats", may(Read, Services), redis_stats).gives::<RedisStats>(),
    route(Post, "/api/redis/{name}/clear", may(Deploy, Services), clear)
        .takes(CLEAR)
        .gives::<Count>()
        .answers(Answer::Json(202, TaskStarted::SHAPE))
        .refuses(&[409, 502, 504]),
    route(Get, "/api/marzban/instances", may(Read, Services), marzban::list).gives::<marzban::Instances>(),
    route(Get, "/api/marzban/instances/{name}", may(Read, Services), marzban::show).gives::<marzban::Instance>(),
    route(
        Get,
        "/api/marzban/instances/{name}/users",
        may(Read, Services),
        marzban::users,
    )
    .query(marzban::USERS)
    .gives::<marzban::Page>()
    .asks_others(),
    route(
        Patch,
        "/api/marzban/instances/{name}/users/{user}",
        may(Deploy, Services),
        marzban::change,
    )
    .takes(marzban::CHANGE)
    .gives::<kinds::PanelUser>()
    .asks_others(),
    route(
        Post,
        "/api/marzban/instances/{name}/users/{user}/reset",
        may(Deploy, Services),
        marzban::reset,
    )
    .takes(&[])
    .gives::<kinds::PanelUser>()
    .asks_others(),
    route(Get, "/api/users/stats", may(Read, Services), marzban::user_stats).gives::<marzban::UserStats>(),
    route(Get, "/api/heartbeat", Right::Public, heartbeat)
        .refuses(&[404])
        .query(CALL)
        .gives_nothing(),
    route(Post, "/api/heartbeat", Right::Public, heartbeat)
        .refuses(&[404])
        .query(CALL)
        .takes_bytes(OUTPUT_MAX)
        .gives_nothing(),
];

const LIST: &[Param] = &[
    param::text("server_id", 20, "Only on this server."),
    param::text("kind", 20, "Only of this kind."),
    param::text("health", 20, "Only with this health."),
    Q,
    LIMIT,
    OFFSET,
];

/// `lines` is the older word for `tail`.
const LINES: &[Param] = &param::joined::<{ logs::LINES.len() + 1 }>(&[
    logs::LINES,
    &[param::number("lines", 1..=5_000, "As `tail`.").or(500).alias_of("tail")],
]);

const PERIOD: &[Param] = &[param::text("period", 10, "`1h` and longer, up to now.")];

const HISTORY: &[Param] = &[
    param::text("service", 100, "Name of the service."),
    param::text(
        "metric",
        200,
        "Key of one series, as `latency` or `custom:queue`; without it all.",
    ),
    param::text("period", 10, "`1h` and longer, up to now."),
];

/// Longest output of a call.
const OUTPUT_MAX: u64 = 10 << 10;

const CALL: &[Param] = &[
    param::text("token", 100, "Who it is."),
    param::text("what", 10, "`start`, or `end` if nothing is said."),
    param::text("exit", 10, "Exit code of what calls; not 0 is an alert."),
];

const CLEAR: &[Param] = &[param::shaped(
    "confirm",
    &Shape::Nullable(&Shape::Either(&Shape::Flag, &Shape::Scalar)),
    "`false`, or nothing: only count. To remove them: their exact number, or the prefix.",
)];

/// Figures are told for so long after they were seen.
const FRESH: Ms = 2 * HOUR;

described! {
    /// How many services have which health; those that are switched off are left out.
    #[derive(Debug)]
    pub struct Counts {
        /// All.
        pub total: i64,
        /// All is as it should be.
        pub healthy: i64,
        /// They work, but something is not as it should be.
        pub degraded: i64,
        /// They do not work.
        pub unhealthy: i64,
        /// Nobody could look.
        pub unknown: i64,
    }

    /// Services.
    struct Listed<'a> {
        services: Vec<View<'a>>,
        total: i64,
    }

    /// A service.
    pub struct View<'a> {
        id: Id<id::Service>,
        name: &'a str,
        kind: &'static str,
        server_id: Option<Id<id::Server>>,
        /// Name of its server; empty: it is on none.
        server: &'a str,
        enabled: bool,
        tags: &'a [String],
        notes: &'a str,
        /// What its kind needs.
        config: &'a BTreeMap<String, Value>,
        has_password: bool,
        interval_s: i64,
        up_after: i64,
        down_after: i64,
        restart_policy: &'static str,
        max_restarts: i64,
        window_s: i64,
        delay_s: i64,
        /// Services that must be healthy before it is started again.
        after: &'a [i64],
        /// `running`, `stopped`, `starting`, `backoff`, `failed`, `unknown`.
        state: &'static str,
        health: Health,
        /// Why, in a word.
        health_code: &'a str,
        health_message: &'a str,
        /// Since when it has this health.
        since: String,
        checked_at: Option<String>,
        pid: Option<i64>,
        uptime_seconds: Option<f64>,
        cpu_percent: Option<f64>,
        memory_mb: Option<f64>,
        memory_percent: Option<f64>,
        latency_ms: Option<f64>,
        /// Restarts without a person's act.
        restart_count: i64,
        custom_metrics: BTreeMap<String, f64>,
        /// What its kind tells in tables: slow queries, replicas, ….
        tables: Tables,
        /// What a person said last: `running`, `stopped`; empty: nothing.
        wanted: &'static str,
        /// What is an alert about it.
        troubles: &'a [String],
        /// Why it stopped last.
        stopped: Option<Stopped>,
        /// Of a heartbeat, for who may edit it: the path to call.
        call_url: Option<String>,
        called_at: Option<String>,
        /// Of a command: which revision its unit on the server has; 0: there is none.
        applied: i64,
        revision: i64,
        created_at: String,
        updated_at: String,
    }

    /// The unit of a command, as a start or restart writes it.
    #[derive(Clone)]
    pub struct UnitFile {
        unit: String,
        path: String,
        text: String,
        /// Names of the variables that are secrets; their file is only root's.
        secrets: Vec<String>,
        /// Is a unit of it on the server?
        is_there: bool,
        /// Was the service changed since it was written there?
        changed: bool,
    }

    /// Why a service stopped.
    struct Stopped {
        at: String,
        say: String,
        /// systemd's word.
        result: String,
        exit_code: Option<i64>,
        signal: Option<i64>,
        oom: bool,
        /// Was it a stop that somebody asked for on its server?
        asked: bool,
        /// Who, where the server's journal tells.
        by: String,
        /// Its last lines, oldest first.
        lines: Vec<String>,
    }

    /// A Redis as it was seen last.
    struct RedisStats<'a> {
        id: Id<id::Service>,
        name: &'a str,
        health: Health,
        health_message: &'a str,
        checked_at: Option<String>,
        latency_ms: Option<f64>,
        /// Memory, keys, hits, clients, replication, how long ago it was saved.
        metrics: BTreeMap<String, f64>,
        /// Its slowest commands: without what they were about.
        slow_log: Rows,
        /// How its keys begin, up to the first colon; `capped`: only `looked_at` of them were looked at.
        key_patterns: Rows,
        replicas: Rows,
        /// Keys that begin with this may be removed.
        clear_prefix: Option<&'a str>,
    }

    /// Keys that would be removed.
    struct Count {
        /// So many.
        count: usize,
        /// All keys were looked at; otherwise there may be more, and only the prefix confirms.
        complete: bool,
        prefix: String,
    }

    struct Stats {
        period: &'static str,
        step_s: u32,
        /// Points further apart than twice this have a gap between them.
        interval_s: i64,
        from: String,
        to: String,
        series: Vec<Series>,
    }
}

/// The figures of all services.
pub fn figures(app: &App) -> Result<std::collections::HashMap<i64, Figures>> {
    app.metrics.read(|conn| queries::figures(conn, clock::now() - FRESH))
}

/// The figures of one service.
pub fn figures_of(app: &App, s: &Service) -> Result<Figures> {
    let since = clock::now() - FRESH;
    let found = app.metrics.read(|conn| queries::figures_of(conn, s.id.get(), since))?;
    Ok(found.unwrap_or_default())
}

/// Counts of services by health.
pub fn counts(conn: &Conn) -> Result<Counts> {
    let [healthy, degraded, unhealthy, unknown] = queries::counts(conn)?;
    Ok(Counts {
        total: healthy + degraded + unhealthy + unknown,
        healthy,
        degraded,
        unhealthy,
        unknown,
    })
}

fn stopped(end: &End) -> Stopped {
    Stopped {
        at: rfc3339(end.at),
        say: end.say(),
        result: end.result.clone(),
        exit_code: end.exit_code,
        signal: end.signal,
        oom: end.oom,
        asked: end.asked,
        by: end.by.clone(),
        lines: end.lines.clone(),
    }
}

/// What a view borrows.
struct Shown {
    s: Service,
    config: BTreeMap<String, Value>,
    figures: Figures,
    call_url: Option<String>,
}

impl Shown {
    fn of(s: Service, figures: Figures, call_url: Option<String>) -> Shown {
        Shown {
            config: s.fields.config.clone().into_iter().collect(),
            s,
            figures,
            call_url,
        }
    }

    fn view(&self) -> View<'_> {
        let (s, f, t, n) = (&self.s, &self.s.fields, &self.s.now, &self.figures);
        let round = |n: f64| (n * 10.0).round() / 10.0;
        let is_fresh = t.checked_at.is_some() && f.enabled;
        let n_or = |value: Option<f64>| value.filter(|_| is_fresh);
        View {
            id: s.id,
            name: &f.name,
            kind: f.kind.name,
            server_id: f.server,
            server: &s.server_name,
            enabled: f.enabled,
            tags: &f.tags,
            notes: &f.notes,
            config: &self.config,
            has_password: s.has_password,
            interval_s: f.interval_s,
            up_after: f.up_after,
            down_after: f.down_after,
            restart_policy: f.restart_policy,
            max_restarts: f.max_restarts,
            window_s: f.window_s,
            delay_s: f.delay_s,
            after: &f.after,
            state: t.state,
            health: t.health,
            health_code: &t.code,
            health_message: &t.say,
            since: rfc3339(t.since),
            checked_at: t.checked_at.map(rfc3339),
            pid: n.pid.filter(|_| is_fresh),
            uptime_seconds: n_or(n.uptime_s),
            cpu_percent: n_or(n.cpu),
            memory_mb: n_or(n.memory.map(|bytes| round(bytes as f64 / f64::from(1 << 20)))),
            memory_percent: n_or(n.memory_percent),
            latency_ms: n_or(n.latency_ms),
            restart_count: t.restarts,
            custom_metrics: n.custom.clone(),
            tables: n.tables.clone(),
            wanted: t.wanted,
            troubles: &t.troubles,
            stopped: t.ended.as_ref().map(stopped),
            call_url: self.call_url.clone(),
            called_at: t.called_at.map(rfc3339),
            applied: s.applied,
            revision: s.revision,
            created_at: rfc3339(s.created_at),
            updated_at: rfc3339(s.updated_at),
        }
    }
}

fn bad(field: &'static str, message: String) -> Error {
    Error::invalid(vec![Field {
        field,
        code: "bad_choice",
        message,
    }])
}

/// The filter of a list.
pub fn filter<'a>(ctx: &Ctx<'a>, (limit, offset): (i64, i64)) -> Result<queries::Filter<'a>> {
    let server = match ctx.param("server_id") {
        "" => None,
        text => {
            let id = Id::<id::Server>::parse(text)
                .ok_or_else(|| bad("server_id", "server_id is a server's number.".into()))?;
            Some(id.get())
        }
    };
    let (kind, health) = (ctx.param("kind"), ctx.param("health"));
    if !kind.is_empty() && kinds::of(kind).is_none() {
        return Err(bad("kind", format!("kind is one of: {}.", kinds::NAMES.join(", "))));
    }
    if !health.is_empty() && Health::ALL.iter().all(|known| known.name() != health) {
        return Err(bad(
            "health",
            "health is one of: healthy, degraded, unhealthy, unknown.".into(),
        ));
    }
    Ok(queries::Filter {
        server,
        kind,
        health,
        q: ctx.param("q"),
        limit,
        offset,
    })
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let filter = filter(ctx, ctx.page()?)?;
    let (all, total) = ctx.app.db.read(|conn| queries::list(conn, &filter))?;
    let mut figures = figures(ctx.app)?;
    let shown: Vec<Shown> = all
        .into_iter()
        .map(|s| {
            let of = figures.remove(&s.id.get()).unwrap_or_default();
            Shown::of(s, of, None)
        })
        .collect();
    let services = shown.iter().map(Shown::view).collect();
    Reply::json(&Listed { services, total })
}

/// The service of the request. Error `NotFound`.
pub fn service(ctx: &Ctx) -> Result<Service> {
    ctx.app.db.read(|conn| called(conn, ctx.arg(0)))
}

/// The path that a heartbeat calls, for who may edit it.
pub fn call_url(ctx: &Ctx, s: &Service) -> Result<Option<String>> {
    if !matches!(s.fields.kind.check, kinds::Check::Called) || ctx.allowed(Edit, Services).is_err() {
        return Ok(None);
    }
    let token = ctx.app.db.read(|conn| look::secret(ctx.app, conn, s.id, "token"))?;
    Ok(token.map(|token| {
        format!(
            "/api/heartbeat?token={}",
            token.reveal_text_for("who may edit the heartbeat")
        )
    }))
}

fn reply(ctx: &Ctx, s: Service) -> Result<Reply> {
    let figures = figures_of(ctx.app, &s)?;
    let url = call_url(ctx, &s)?;
    Reply::json(&Shown::of(s, figures, url).view())
}

/// What a start of a command writes.
fn unit(ctx: &Ctx) -> Result<Reply> {
    let s = service(ctx)?;
    if s.fields.kind.name != "command" {
        let say = "Only services of the kind command have a unit of ours.";
        return Err(Error::new(Kind::Conflict, "service_no_unit", say));
    }
    Reply::json(&unit_file(ctx.app, &s)?)
}

/// The unit's file, and the names of its secrets.
pub fn unit_file(app: &App, s: &Service) -> Result<UnitFile> {
    let stored = app.db.read(|conn| look::secret(app, conn, s.id, "password"))?;
    let names = |lines: &Secret| -> Vec<String> {
        let lines = lines.reveal_text_for("the names of a unit's secrets").lines();
        let names = lines.filter_map(|line| line.trim().split_once('='));
        names.map(|(name, _)| name.to_string()).collect()
    };
    let secrets = stored.as_ref().map(names).unwrap_or_default();
    let unit = kinds::text(&s.fields.config, "unit").to_string();
    Ok(UnitFile {
        path: format!("/etc/systemd/system/{unit}"),
        text: kinds::command::file(&s.fields.unit(!secrets.is_empty())),
        secrets,
        is_there: s.applied > 0,
        changed: s.applied > 0 && s.applied != s.revision,
        unit,
    })
}

/// As who the service of the request speaks. Error `Conflict`: services of its kind say nothing.
fn speaker(ctx: &Ctx) -> Result<Speaker> {
    let s = service(ctx)?;
    follow::speaker(&s).ok_or_else(|| {
        let say = format!("Services of the kind {} have no log.", s.fields.kind.name);
        Error::new(Kind::Conflict, "service_no_log", say)
    })
}

fn lines(ctx: &Ctx) -> Result<Reply> {
    let asked = logs::asked(ctx, vec![speaker(ctx)?])?;
    Reply::json(&asked.find(ctx.app)?.of_one())
}

fn show(ctx: &Ctx) -> Result<Reply> {
    reply(ctx, service(ctx)?)
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let (input, by) = (ctx.input()?, ctx.allowed(Edit, Services)?);
    let s = ctx.app.db.write(|tx| {
        let id = super::create(ctx.app, tx, input, by)?;
        queries::get(tx, id)?.ok_or_else(|| Error::not_found("service"))
    })?;
    let address = format!("/api/services/{}", s.fields.name);
    Ok(reply(ctx, s)?.with_status(201).header("Location", address))
}

fn change(ctx: &Ctx) -> Result<Reply> {
    let (input, by, id) = (ctx.input()?, ctx.allowed(Edit, Services)?, service(ctx)?.id);
    let s = ctx.app.db.write(|tx| {
        super::update(ctx.app, tx, id, input, by)?;
        queries::get(tx, id)?.ok_or_else(|| Error::not_found("service"))
    })?;
    reply(ctx, s)
}

fn remove(ctx: &Ctx) -> Result<Reply> {
    let (id, by) = (service(ctx)?.id, ctx.allowed(Edit, Services)?);
    ctx.app.db.write(|tx| super::delete(ctx.app, tx, id, by))?;
    Ok(Reply::status(204))
}

fn act(ctx: &Ctx, kind: &'static str) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    Reply::accepted(start(ctx, kind, &service(ctx)?)?)
}

/// Enqueues an act on a service.
pub fn start(ctx: &Ctx, kind: &'static str, s: &Service) -> Result<Id<Task>> {
    let by = ctx.allowed(Deploy, Services)?;
    ctx.app
        .db
        .write(|tx| acts::enqueue(ctx.app, tx, kind, s, &Act::default(), by))
}

fn check(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    let s = service(ctx)?;
    looked(ctx, &s)?;
    reply(ctx, service(ctx)?)
}

/// Looks at a service now.
pub fn looked(ctx: &Ctx, s: &Service) -> Result<()> {
    let s = s.clone();
    ctx.outbound(move |app| super::watch::check_now(app, &s, &Cancel::new()).map(drop))
}

/// A service's series of a period.
pub fn chart(ctx: &Ctx, id: i64) -> Result<(&'static str, Window, Vec<Series>)> {
    metrics::chart_of_subject(ctx, (SERVICES.name, id))
}

fn stats(ctx: &Ctx) -> Result<Reply> {
    told(ctx, &service(ctx)?, "")
}

/// The same, asked for by names in the query.
fn history(ctx: &Ctx) -> Result<Reply> {
    let s = ctx.app.db.read(|conn| called(conn, ctx.param("service")))?;
    told(ctx, &s, ctx.param("metric"))
}

/// A service's series, or one of them.
fn told(ctx: &Ctx, s: &Service, metric: &str) -> Result<Reply> {
    let (period, window, mut series) = chart(ctx, s.id.get())?;
    series.retain(|line| metric.is_empty() || line.key == metric);
    Reply::json(&Stats {
        period,
        step_s: window.step_s,
        interval_s: s.fields.interval_s,
        from: rfc3339(i64::from(window.from_s()) * SECOND),
        to: rfc3339(i64::from(window.to_s()) * SECOND),
        series,
    })
}

/// The Redis of the request, by its name or number. Error `NotFound`.
fn redis(ctx: &Ctx) -> Result<Service> {
    ctx.app.db.read(|conn| named(conn, ctx.arg(0), "redis"))
}

fn redis_stats(ctx: &Ctx) -> Result<Reply> {
    let s = redis(ctx)?;
    let mut n = figures_of(ctx.app, &s)?;
    let mut table = |name: &str| n.tables.remove(name).unwrap_or_default();
    let (slow_log, key_patterns, replicas) = (table("slow_log"), table("key_patterns"), table("replicas"));
    Reply::json(&RedisStats {
        id: s.id,
        name: &s.fields.name,
        health: s.now.health,
        health_message: &s.now.say,
        checked_at: s.now.checked_at.map(rfc3339),
        latency_ms: n.latency_ms,
        metrics: n.custom,
        slow_log,
        key_patterns,
        replicas,
        clear_prefix: prefix(&s),
    })
}

/// The prefix of keys that may be removed.
pub fn prefix(s: &Service) -> Option<&str> {
    Some(kinds::text(&s.fields.config, "clear_prefix")).filter(|prefix| !prefix.is_empty())
}

fn clear(ctx: &Ctx) -> Result<Reply> {
    let mut input = ctx.input()?;
    let confirm = input.shaped("confirm");
    input.finish(&[])?;
    let s = redis(ctx)?;
    match confirm {
        None | Some(Value::Null | Value::Bool(false)) => {
            let (counted, prefix) = counted(ctx, &s)?;
            Reply::json(&Count {
                count: counted.keys,
                complete: counted.is_all,
                prefix,
            })
        }
        Some(Value::String(word)) => Reply::accepted(cleared(ctx, &s, &word)?),
        Some(other) => Reply::accepted(cleared(ctx, &s, &other.to_string())?),
    }
}

/// Counts the keys that would be removed, now; and their prefix. Error: it has none.
pub fn counted(ctx: &Ctx, s: &Service) -> Result<(kinds::Counted, String)> {
    let prefix = prefix(s).ok_or_else(|| {
        let say = format!("{} has no prefix of keys that may be removed.", s.fields.name);
        Error::new(Kind::Conflict, "clear_no_prefix", say)
    })?;
    let (s, prefix) = (s.clone(), prefix.to_string());
    ctx.outbound(move |app| {
        let counted = look::asked(app, &s, &Cancel::new(), look::ASK_MAX, |ask| kinds::count(ask, &prefix))?;
        Ok((counted, prefix))
    })
}

/// Enqueues the removal of keys, if that was confirmed: by the prefix, or by the number of keys there are now.
pub fn cleared(ctx: &Ctx, s: &Service, confirm: &str) -> Result<Id<Task>> {
    let by = ctx.allowed(Deploy, Services)?;
    let confirmed = match prefix(s).filter(|prefix| *prefix == confirm) {
        Some(prefix) => prefix.to_string(),
        None => {
            let (counted, prefix) = counted(ctx, s)?;
            if !counted.is_all || counted.keys.to_string() != confirm {
                let least = if counted.is_all { "" } else { "at least " };
                let say = format!(
                    "{least}{} keys begin with “{prefix}” now. Confirm by their exact number or by the prefix.",
                    counted.keys
                );
                return Err(Error::new(Kind::Conflict, "clear_not_confirmed", say));
            }
            prefix
        }
    };
    ctx.app.db.write(|tx| acts::clear(ctx.app, tx, s, &confirmed, by))
}

/// A call of a heartbeat: whoever knows the token may call. It says nothing but that it was heard.
fn heartbeat(ctx: &Ctx) -> Result<Reply> {
    let token = Secret::new(ctx.param("token").to_string());
    let hash = text::sha256(token.reveal_for("its hash"));
    let what = match ctx.param("what") {
        "" | "end" => "end",
        "start" => "start",
        _ => return Err(bad("what", "what is one of: start, end.".into())),
    };
    let exit_code = match ctx.param("exit") {
        "" => None,
        text => Some(
            text.parse::<i64>()
                .ok()
                .filter(|code| (0..=255).contains(code))
                .ok_or_else(|| bad("exit", "exit is a number from 0 to 255.".into()))?,
        ),
    };
    let output = String::from_utf8_lossy(&ctx.request.body).into_owned();
    let now = clock::now();
    ctx.app.db.write(|tx| {
        let s = queries::by_token(tx, &hash)?
            .filter(|s| s.fields.enabled)
            .ok_or_else(|| Error::not_found("heartbeat"))?;
        let mut t = s.now.clone();
        let begun = t.call.as_ref().filter(|call| call.what == "start").and(t.called_at);
        if what == "end" {
            t.called_at = Some(now);
        }
        t.call = Some(queries::Call {
            what: what.into(),
            exit_code,
            output,
            took_s: begun.filter(|_| what == "end").map(|at| (now - at) as f64 / 1_000.0),
        });
        queries::put_state(tx, s.id, &t)
    })?;
    Ok(Reply::status(204))
}
