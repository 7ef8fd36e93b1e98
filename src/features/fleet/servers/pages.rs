//! Pages of servers. Actions use the same functions as the JSON API; a refused form is shown again with its values,
//! except secrets.

use super::model::{self, Fields};
use super::settings;
use super::{Alerts, Counts, Filter, HostKeyState, Server, State, api, tasks};
use crate::access::right::{Deploy, Edit, Read, Run, Servers, may};
use crate::base::clock::{self, DAY, HOUR, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id, Task};
use crate::base::idn;
use crate::features::fleet::latest::{self, Latest, Spark};
use crate::features::house::tasks::{TaskRow, task_row};
use crate::form::Input;
use crate::http::page::{self, query};
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, OFFSET, Route, route};
use crate::http::view::{Errors, Markup, Prepared, spark};
use crate::lang::Lang;
use crate::ssh::hostkey;
use crate::task::{self, queue};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/servers", may(Read, Servers), list).query(&[OFFSET]),
    route(Post, "/servers", may(Edit, Servers), create),
    route(Get, "/servers/new", may(Edit, Servers), new),
    route(Get, "/servers/{id}", may(Read, Servers), show),
    route(Post, "/servers/{id}", may(Edit, Servers), change),
    route(Get, "/servers/{id}/edit", may(Edit, Servers), edit),
    route(Get, "/servers/{id}/delete", may(Edit, Servers), ask_delete),
    route(Post, "/servers/{id}/delete", may(Edit, Servers), delete),
    route(
        Post,
        "/servers/{id}/accept-host-key",
        may(Edit, Servers),
        accept_host_key,
    ),
    route(Post, "/servers/{id}/check-ssh", may(Run, Servers), check_ssh),
    route(Post, "/servers/{id}/deploy-proxy", may(Deploy, Servers), deploy_proxy),
    route(Get, "/servers/{id}/install-glances", may(Deploy, Servers), ask_glances),
    route(
        Post,
        "/servers/{id}/install-glances",
        may(Deploy, Servers),
        install_glances,
    )
    .takes(tasks::INSTALL),
    route(Get, "/servers/{id}/remove-glances", may(Deploy, Servers), ask_remove),
    route(
        Post,
        "/servers/{id}/remove-glances",
        may(Deploy, Servers),
        remove_glances,
    ),
];

/// The part of a server's last sample that pages show. Absent values are unknown, never 0.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Sample {
    /// Unix ms.
    #[serde(skip_deserializing)]
    pub at: Ms,
    /// 0 to 100.
    pub cpu_percent: Option<f64>,
    /// 0 to 100.
    pub mem_percent: Option<f64>,
    /// 0 to 100, of the root.
    pub disk_percent: Option<f64>,
    /// 0 to 100, of the fullest.
    pub disk_max_percent: Option<f64>,
    /// Where that is mounted.
    pub disk_max_mount: Option<String>,
    /// Load average.
    pub load1: Option<f64>,
    /// Logical cores.
    pub cpu_cores: Option<u32>,
    /// Since the last boot.
    pub uptime_seconds: Option<u64>,
    /// Bytes a second.
    pub net_rx: Option<f64>,
    /// Bytes a second.
    pub disk_read: Option<f64>,
    /// File systems.
    pub disks: Vec<Disk>,
    /// File systems without a chart: number, and the first mount points.
    pub uncharted: Option<Uncharted>,
}

/// Uncharted file systems.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Uncharted {
    /// How many.
    pub count: usize,
    /// Some of them.
    pub mounts: Vec<String>,
}

/// One file system.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Disk {
    /// Where it is mounted.
    pub mount: String,
    /// 0 to 100.
    pub percent: Option<f64>,
    /// Bytes.
    pub used: Option<u64>,
    /// Bytes.
    pub size: Option<u64>,
}

/// The last sample of a server, if there is one.
pub fn sample(latest: Option<&Latest>) -> Option<Sample> {
    let latest = latest?;
    let sample: Sample = serde_json::from_str(latest.sample.get()).ok()?;
    Some(Sample {
        at: latest.at_ms,
        disk_max_percent: sample.disk_max_percent.or(sample.disk_percent),
        ..sample
    })
}

/// State of a server with its reason.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Why {
    /// Name of the lamp of its state: `lit`, `flick`, `dark` or `unlit`.
    pub lamp: &'static str,
    /// Id of the text: `alert`, `key_changed`, `key_pending`, `new`, `unchecked`, `no_glances`, `dark`, `missed`,
    /// `lit`.
    pub kind: &'static str,
    /// Subject: the server, or the disk of an alert.
    pub name: String,
    /// Code of the last missed poll, while it is down.
    pub code: Option<String>,
    /// Kind of the alert that determines the state.
    pub alert: Option<String>,
    /// Id of its text.
    pub words: Option<String>,
    /// English sentence, if there is no text.
    pub say: String,
    /// Number of missed polls.
    pub count: i64,
    /// Since when.
    pub since: Option<Ms>,
    /// End of its silence.
    pub silenced: Option<Ms>,
    /// Number of open alerts.
    pub open: i64,
    /// The alert that determines the state, and the number of open ones: pages with another stamp are outdated.
    pub stamp: String,
    /// Evidence.
    pub evidence: Vec<String>,
}

/// Computes [`Why`].
pub fn why(server: &Server) -> Why {
    let (alerts, lamp) = (&server.alerts, &server.availability);
    let mut why = Why {
        lamp: server.state.lamp(),
        name: server.fields.name.clone(),
        count: lamp.fail_count,
        since: (server.state != State::Pending).then_some(server.state_since),
        silenced: server.silenced_until,
        open: alerts.open,
        stamp: stamp(alerts),
        ..Why::default()
    };
    if let Some((code, say)) = &lamp.error {
        why.evidence.extend([say.clone(), code.clone()]);
    }
    why.kind = match (server.state, server.host_key_state) {
        (State::Down | State::Degraded, HostKeyState::Changed) => "key_changed",
        (State::Down, _) => "dark",
        (State::Degraded, _) => "alert",
        (State::Up, _) if why.count > 0 => "missed",
        (State::Up, _) => "lit",
        (State::Pending, HostKeyState::Changed) => "key_changed",
        (State::Pending, HostKeyState::Unknown) => "new",
        (State::Pending, HostKeyState::Pending) => "key_pending",
        (State::Pending, HostKeyState::Pinned) if server.facts_at.is_none() => "unchecked",
        (State::Pending, HostKeyState::Pinned) => "no_glances",
    };
    match (why.kind, &lamp.error, &alerts.worst) {
        ("dark", Some((code, say)), _) => (why.code, why.say) = (Some(code.clone()), say.clone()),
        ("alert", _, Some(worst)) => {
            why.alert = Some(worst.kind.clone());
            why.words = Some(words(&worst.kind, &worst.variant));
            (why.say, why.name) = (worst.title.clone(), worst.name.clone());
        }
        _ => {}
    }
    why
}

/// Computes [`Why::stamp`]; the pages' script does the same from the API's answer.
fn stamp(alerts: &Alerts) -> String {
    let worst = alerts.worst.as_ref().map_or(String::new(), |w| w.id.to_string());
    format!("{worst}/{}", alerts.open)
}

/// Id of an alert's text.
pub fn words(kind: &str, variant: &str) -> String {
    match variant {
        "" => format!("alert.{kind}"),
        variant => format!("alert.{kind}.{variant}"),
    }
}

/// A row of the table.
#[derive(Serialize)]
struct Row<'a> {
    id: i64,
    name: &'a str,
    host: String,
    tags: &'a [String],
    why: &'a Why,
    sample: Option<&'a Sample>,
    /// Values with an open alert.
    open: Hot,
    spark: String,
}

/// Values to highlight.
#[derive(Serialize)]
struct Hot {
    cpu: bool,
    mem: bool,
    disk: bool,
}

impl Hot {
    fn of(alerts: &Alerts) -> Hot {
        let is_open = |kind: &str| alerts.kinds.split(' ').any(|open| open == kind);
        Hot {
            cpu: is_open("metric.cpu"),
            mem: is_open("metric.mem"),
            disk: is_open("metric.disk"),
        }
    }
}

/// Number of servers by lamp name, and of silenced ones, for facets.
pub fn counts_by_lamp(counts: &Counts) -> HashMap<&'static str, i64> {
    let each = State::ALL.map(|state| (state.lamp(), counts.of(state)));
    each.into_iter()
        .chain([("all", counts.total), ("silenced", counts.silenced)])
        .collect()
}

#[derive(Serialize)]
struct List<'a> {
    q: &'a str,
    state: &'a str,
    tag: &'a str,
    /// Query for the API, for the page's script.
    query: String,
    counts: HashMap<&'static str, i64>,
    /// Number of all servers, unfiltered.
    fleet: i64,
    facets: HashMap<&'static str, String>,
    rows: Markup,
    total: usize,
    first: usize,
    last: usize,
    prev: Option<String>,
    next: Option<String>,
    /// Missed polls after which a server is down.
    misses: i64,
}

/// A server with its current data.
pub struct Known {
    /// Its row.
    pub server: Server,
    /// Its state and reason.
    pub why: Why,
    /// Its last sample.
    pub sample: Option<Sample>,
    /// CPU and memory of the last polls.
    pub spark: Spark,
}

impl Known {
    /// Changes with everything that a row or a lamp shows.
    pub fn stamp(&self) -> u64 {
        let at = self.sample.as_ref().map_or(0, |s| s.at);
        let silenced = self.server.silenced_until.unwrap_or(0) as u64;
        (self.server.revision as u64) << 42 ^ at as u64 ^ silenced.rotate_left(20)
    }
}

/// Servers, those needing attention first: down, degraded, pending, up; then by name. Silenced ones come after others.
pub fn known(ctx: &Ctx, q: &str, tag: &str) -> Result<Arc<Vec<Known>>> {
    let key = format!("servers {q}\n{tag}");
    ctx.web.cache.get(ctx.app, &key, || look(ctx, q, tag))
}

fn look(ctx: &Ctx, q: &str, tag: &str) -> Result<Vec<Known>> {
    let filter = Filter {
        q,
        tag,
        limit: i64::MAX,
        ..Filter::default()
    };
    let (servers, _) = ctx.app.db.read(|conn| super::list(conn, &filter))?;
    let mut latest = latest::of(&ctx.app.metrics, servers.iter().map(|s| s.id))?;
    let mut all: Vec<Known> = servers
        .into_iter()
        .map(|server| {
            let latest = latest.remove(&server.id);
            let sample = sample(latest.as_ref());
            let why = why(&server);
            let spark = latest.map(|l| l.spark).unwrap_or_default();
            Known {
                server,
                why,
                sample,
                spark,
            }
        })
        .collect();
    let order = |k: &Known| {
        let lit = k.server.state == State::Up;
        let place = ["dark", "flick", "unlit", "lit"]
            .iter()
            .position(|lamp| *lamp == k.why.lamp);
        (lit, k.why.silenced.is_some(), place)
    };
    all.sort_by_key(order); // stable: names stay in order
    Ok(all)
}

/// Number in each state.
pub fn count(all: &[Known]) -> Counts {
    let mut counts = Counts::default();
    for k in all {
        counts.add(k.server.state, k.server.silenced_until.is_some());
    }
    counts
}

/// Servers per page.
const PAGE: usize = 200;

fn list(ctx: &Ctx) -> Result<Reply> {
    let word = |name: &str| ctx.request.param(name).unwrap_or_default();
    let (q, tag, state) = (word("q"), word("tag"), word("state"));
    let offset = ctx.number("offset")? as usize;
    let all = known(ctx, q, tag)?;
    let counts = count(&all);
    let is_asked = |k: &&Known| match state {
        "" => true,
        "silenced" => k.why.silenced.is_some(),
        lamp => k.why.lamp == lamp,
    };
    let found: Vec<_> = all.iter().filter(is_asked).collect();
    let shown = found.get(offset..).unwrap_or_default();
    let shown = &shown[..shown.len().min(PAGE)];
    let rows = shown.iter().map(|k| {
        let row = move || Row {
            id: k.server.id.get(),
            name: &k.server.fields.name,
            host: idn::unicode(&k.server.fields.host),
            tags: &k.server.fields.tags,
            why: &k.why,
            sample: k.sample.as_ref(),
            open: Hot::of(&k.server.alerts),
            spark: spark(k.spark.cpu().points().map(|v| v.map(f64::from))),
        };
        (k.server.id.get(), k.stamp(), row)
    });
    let rows = ctx.web.view.rows("servers/row.html", &page::locale(ctx)?, rows)?;
    let link = |state: &str, tag: &str, offset: usize| {
        let offset = if offset == 0 { String::new() } else { offset.to_string() };
        query(&[("q", q), ("state", state), ("tag", tag), ("offset", &offset)])
    };
    let mut facets: HashMap<_, _> = ["lit", "flick", "dark", "unlit", "silenced"]
        .into_iter()
        .map(|lamp| (lamp, link(lamp, tag, 0)))
        .collect();
    facets.insert("all", link("", tag, 0));
    facets.insert("untagged", link(state, "", 0));
    let (misses, fleet) = ctx.app.db.read(|conn| {
        let misses = settings::POLL_FAIL_THRESHOLD.number(conn)?;
        Ok((misses, super::counts(conn)?.total))
    })?;
    let content = List {
        q,
        state,
        tag,
        query: query(&[("q", q), ("tag", tag), ("limit", "500")]),
        counts: counts_by_lamp(&counts),
        facets,
        rows,
        total: found.len(),
        first: offset + 1,
        last: offset + shown.len(),
        prev: (offset > 0).then(|| link(state, tag, offset.saturating_sub(PAGE))),
        next: (offset + PAGE < found.len()).then(|| link(state, tag, offset + PAGE)),
        misses,
        fleet,
    };
    page::show(ctx, "servers/list.html", content)
}

/// A server for its own page.
#[derive(Serialize)]
struct View {
    id: i64,
    name: String,
    host: String,
    ssh_port: u16,
    username: String,
    auth_type: &'static str,
    tags: Vec<String>,
    public_ips: Vec<String>,
    description: String,
    os: Option<String>,
    cores: Option<i64>,
    /// A container that shows its host's load.
    load_of_host: bool,
    memory: Option<i64>,
    host_key_state: &'static str,
    host_key_fingerprint: Option<String>,
    /// The accepted key's fingerprint, if another key is offered.
    host_key_pinned: Option<String>,
    glances_url: String,
    glances_path: String,
    glances_path_seen: Option<String>,
    glances_api: Option<i64>,
    glances_auth_type: &'static str,
    glances_profile: &'static str,
    glances_allow: Vec<String>,
    glances_bind: String,
    poll_interval_s: i64,
    facts_at: Option<Ms>,
    created_at: Ms,
    last_ok_at: Option<Ms>,
    sample: Option<Sample>,
}

#[derive(Serialize)]
struct Fact {
    name: &'static str,
    value: String,
}

/// Facts shown, in this order, as reported by `check-ssh` and the installs.
const FACTS: [&str; 12] = [
    "kernel",
    "arch",
    "cpu_model",
    "container",
    "hostname",
    "addresses",
    "user",
    "sudo_works",
    "nginx",
    "glances_version",
    "glances_from",
    "systemd",
];

fn view(s: Server, sample: Option<Sample>) -> (View, Vec<Fact>) {
    let facts: BTreeMap<String, String> = serde_json::from_str(&s.facts).unwrap_or_default();
    let fact = |name: &str| facts.get(name).filter(|v| !v.is_empty()).cloned();
    let number = |name: &str| fact(name).and_then(|v| v.parse::<i64>().ok());
    let listed = FACTS
        .iter()
        .filter_map(|name| fact(name).map(|value| Fact { name, value }))
        .collect();
    let f = &s.fields;
    let host = if f.glances_host.is_empty() {
        &f.host
    } else {
        &f.glances_host
    };
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.clone()
    };
    let accepted = s.host_key.lines().next().and_then(|line| hostkey::parse(line).ok());
    let view = View {
        id: s.id.get(),
        glances_url: format!("{}://{host}:{}{}", f.glances_scheme, f.glances_port, f.glances_path),
        host_key_fingerprint: s.fingerprint(),
        host_key_pinned: accepted
            .filter(|_| s.host_key_state == HostKeyState::Changed)
            .map(|k| k.fingerprint),
        host_key_state: s.host_key_state.name(),
        os: fact("os_name"),
        cores: number("cpu_count"),
        load_of_host: fact("load").as_deref() == Some("host"),
        memory: number("mem_kib").map(|kib| kib * 1024),
        glances_api: s.glances_api,
        glances_path_seen: s.glances_path_seen.clone(),
        glances_profile: s.glances_profile,
        glances_allow: f.glances_allow.clone(),
        glances_bind: f.glances_bind.clone(),
        facts_at: s.facts_at,
        created_at: s.created_at,
        last_ok_at: sample
            .as_ref()
            .filter(|_| s.availability.status == "unreachable")
            .map(|sample| sample.at),
        auth_type: f.auth_type.name(),
        glances_auth_type: f.glances_auth_type,
        ssh_port: f.ssh_port,
        poll_interval_s: f.poll_interval_s,
        name: s.fields.name,
        host: idn::unicode(&s.fields.host),
        username: s.fields.username,
        tags: s.fields.tags,
        public_ips: s.fields.public_ips,
        description: s.fields.description,
        glances_path: s.fields.glances_path,
        sample,
    };
    (view, listed)
}

#[derive(Serialize)]
struct Show {
    server: View,
    facts: Vec<Fact>,
    lamp: &'static str,
    why: Why,
    period: &'static str,
    tasks: Vec<TaskRow>,
    open_task: Option<i64>,
    /// Domains that prevent its deletion.
    serves: Vec<(i64, String)>,
    sources: api::Sources,
    panels: serde_json::Map<String, serde_json::Value>,
}

/// How long a change of addresses is shown.
const MOVED_SHOWN: Ms = 7 * DAY;

/// Tasks on a server's page.
const TASKS_SHOWN: i64 = 5;

fn show(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    let periods = ["1h", "6h", "24h", "7d", "30d", "90d", "1y"];
    let asked = ctx.request.param("period").unwrap_or_default();
    let period = periods.into_iter().find(|p| *p == asked);
    let (lang, role) = (page::lang(ctx.request, ctx.maybe_actor()), ctx.actor()?.role());
    let key = format!("server {id} {} {} {period:?}", lang.tag(), role.name());
    let content = ctx.web.cache.get(ctx.app, &key, || content(ctx, id, lang, period))?;
    page::show(ctx, "servers/show.html", &*content)
}

fn content(ctx: &Ctx, id: Id<id::Server>, lang: Lang, period: Option<&'static str>) -> Result<Prepared> {
    let (server, tasks, serves) = ctx.app.db.read(|conn| {
        let of_server = task::Filter {
            target: Some(("server", id.get())),
            limit: TASKS_SHOWN,
            ..task::Filter::default()
        };
        let tasks = queue::list(conn, &of_server)?.0;
        Ok((super::get(conn, id)?, tasks, super::serves(conn, id)?))
    })?;
    let latest = latest::of(&ctx.app.metrics, [id])?;
    let disks = latest::disks(&ctx.app.metrics, id)?;
    let disks: Vec<Disk> = disks
        .and_then(|d| serde_json::from_str(d.get()).ok())
        .unwrap_or_default();
    let sample = sample(latest.get(&id)).map(|sample| Sample { disks, ..sample });
    let mut why = why(&server);
    // Longer charts of a new server would be empty.
    let young = clock::now() - server.created_at < 6 * HOUR;
    let host = server.availability.host.clone();
    let moved = server.moved.as_ref().filter(|(at, _)| clock::now() - at < MOVED_SHOWN);
    let moved = moved.map(|(at, seen)| format!("{} {seen}", clock::rfc3339(*at)));
    let sources = api::sources(ctx.app, &server)?;
    let (server, facts) = view(server, sample);
    if let (true, Some(latest)) = (why.evidence.is_empty(), latest.get(&id)) {
        why.evidence.push(format!("GET {}", server.glances_url));
        why.evidence.push(format!("200, {} ms", latest.took_ms));
    }
    let usual = if young { "1h" } else { "6h" };
    let panels = ctx.panels("server", id.get())?;
    if let Some(facts) = evidence(&panels, &why) {
        why.evidence = facts;
    }
    // Seen since the alert was raised.
    let later = [host, moved].into_iter().flatten();
    let later: Vec<_> = later.filter(|line| !why.evidence.contains(line)).collect();
    why.evidence.extend(later);
    let content = Show {
        server,
        facts,
        lamp: why.lamp,
        why,
        period: period.unwrap_or(usual),
        open_task: tasks.iter().find(|t| !t.status.is_final()).map(|t| t.id.get()),
        tasks: tasks.into_iter().map(|t| task_row(ctx.web, lang, t)).collect(),
        serves,
        sources,
        panels,
    };
    Ok(Prepared::of(content))
}

/// Evidence of the alert that the page is about, from the alerts' panel.
fn evidence(panels: &serde_json::Map<String, serde_json::Value>, why: &Why) -> Option<Vec<String>> {
    let kind = match why.kind {
        "dark" => "server.unreachable",
        "key_changed" => "host.key_changed",
        "alert" => why.alert.as_deref()?,
        _ => return None,
    };
    let rows = panels.get("alerts")?.get("rows")?.as_array()?;
    let row = rows.iter().find(|row| row["kind"] == kind)?;
    serde_json::from_value(row["evidence"].clone()).ok()
}

/// The form as typed or as stored. Secrets never come back.
#[derive(Default, Serialize)]
struct Form {
    id: Option<i64>,
    /// Name before editing.
    was: String,
    has: Stored,
    values: HashMap<String, String>,
}

#[derive(Default, Serialize)]
struct Stored {
    password: bool,
    ssh_key: bool,
    ssh_key_passphrase: bool,
    glances_password: bool,
    glances_token: bool,
}

const SECRET_FIELDS: [&str; 5] = super::SECRETS;

/// What a form shows for these fields.
fn values(f: &Fields) -> HashMap<String, String> {
    [
        ("name", f.name.clone()),
        ("host", f.host.clone()),
        ("ssh_port", f.ssh_port.to_string()),
        ("username", f.username.clone()),
        ("auth_type", f.auth_type.name().to_string()),
        ("description", f.description.clone()),
        ("tags", f.tags.join(", ")),
        ("public_ips", f.public_ips.join(", ")),
        ("glances_scheme", f.glances_scheme.to_string()),
        ("glances_host", f.glances_host.clone()),
        ("glances_port", f.glances_port.to_string()),
        ("glances_path", f.glances_path.clone()),
        ("glances_auth_type", f.glances_auth_type.to_string()),
        ("glances_username", f.glances_username.clone()),
        ("glances_tls_pin", f.glances_tls_pin.clone()),
        ("glances_allow", f.glances_allow.join(", ")),
        ("glances_bind", f.glances_bind.clone()),
        ("poll_interval_s", f.poll_interval_s.to_string()),
        ("host_key", String::new()),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .into()
}

/// The form of a new server.
fn blank(ctx: &Ctx) -> Result<Form> {
    Ok(Form {
        values: values(&ctx.app.db.read(super::fresh)?),
        ..Form::default()
    })
}

fn form_of(s: &Server) -> Form {
    Form {
        id: Some(s.id.get()),
        was: s.fields.name.clone(),
        has: Stored {
            password: s.has.password,
            ssh_key: s.has.ssh_key,
            ssh_key_passphrase: s.has.ssh_key_passphrase,
            glances_password: s.has.glances_password,
            glances_token: s.has.glances_token,
        },
        values: values(&s.fields),
    }
}

fn form_page(ctx: &Ctx, form: Form, errors: Errors) -> Result<Reply> {
    page::show(
        ctx,
        "servers/form.html",
        serde_json::json!({ "form": form, "errors": errors }),
    )
}

fn new(ctx: &Ctx) -> Result<Reply> {
    form_page(ctx, blank(ctx)?, Errors::default())
}

fn edit(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    let server = ctx.app.db.read(|conn| super::get(conn, id))?;
    form_page(ctx, form_of(&server), Errors::default())
}

/// The form as API input: lists split at commas and spaces, empty secrets left out.
fn input(pairs: &[(String, String)]) -> Input {
    let mut object = serde_json::Map::new();
    for (name, value) in pairs {
        let value = match name.as_str() {
            "csrf" | "then" => continue,
            secret if SECRET_FIELDS.contains(&secret) && value.is_empty() => continue,
            "tags" | "public_ips" => value.split([',', ' ']).filter(|t| !t.is_empty()).collect(),
            _ => serde_json::Value::from(value.as_str()),
        };
        object.insert(name.clone(), value);
    }
    Input::of(model::PARAMS, object)
}

/// The form with its mistakes, or the error itself if it is not about fields.
fn again(ctx: &Ctx, mut form: Form, pairs: Vec<(String, String)>, error: Error) -> Result<Reply> {
    if error.fields.is_empty() || !matches!(error.kind, Kind::Invalid | Kind::Conflict) {
        return Err(error);
    }
    form.values.extend(
        pairs
            .into_iter()
            .filter(|(name, _)| !SECRET_FIELDS.contains(&name.as_str())),
    );
    Ok(form_page(ctx, form, Errors::of(&error))?.with_status(422))
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let pairs = ctx.request.form()?;
    let by = ctx.allowed(Edit, Servers)?;
    let fresh = ctx.app.db.read(super::fresh)?;
    let added = model::read(input(&pairs), fresh, None).and_then(|valid| {
        model::check_here(&valid.fields, None, by)?;
        api::check_stored_key(ctx.app, None, &valid.secrets)?;
        let id = ctx.app.db.write(|tx| super::create(ctx.app, tx, &valid, by))?;
        Ok((id, valid.host_key.is_some()))
    });
    match added {
        // With an accepted key the check runs at once; otherwise the key is confirmed first.
        Ok((id, true)) if pairs.iter().any(|(n, v)| n == "then" && v == "check") => {
            let task = api::start_on(ctx, Run, id, tasks::CHECK_SSH, serde_json::json!({}))?;
            Ok(Reply::see_other(format!("/tasks/{task}")))
        }
        Ok((id, _)) => Ok(Reply::see_other(format!("/servers/{id}"))),
        Err(e) => again(ctx, blank(ctx)?, pairs, e),
    }
}

fn change(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    let pairs = ctx.request.form()?;
    match api::save(
        ctx.app,
        id,
        input(&pairs),
        |server| server.fields.clone(),
        ctx.allowed(Edit, Servers)?,
    ) {
        Ok(_) => Ok(Reply::see_other(format!("/servers/{id}"))),
        Err(e) => {
            let server = ctx.app.db.read(|conn| super::get(conn, id))?;
            again(ctx, form_of(&server), pairs, e)
        }
    }
}

fn ask(ctx: &Ctx, what: &str, unconfirmed: bool) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    let (server, serves) = (ctx.app.db).read(|conn| Ok((super::get(conn, id)?, super::serves(conn, id)?)))?;
    let sources = api::sources(ctx.app, &server)?;
    let content = serde_json::json!({ "ask": what, "server": view(server, None).0, "serves": serves, "unconfirmed": unconfirmed, "sources": sources });
    page::show(ctx, "servers/ask.html", content)
}

fn ask_delete(ctx: &Ctx) -> Result<Reply> {
    ask(ctx, "delete", false)
}

/// Needs the server's name typed.
fn delete(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    let by = ctx.allowed(Edit, Servers)?;
    let pairs = ctx.request.form()?;
    let value = |name| pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let (typed, forget) = (value("confirm"), value("forget") == Some("true"));
    let deleted = ctx.app.db.write(|tx| {
        let server = super::get(tx, id)?;
        if typed.map(str::trim) != Some(server.fields.name.as_str()) {
            return Ok(false);
        }
        super::delete(ctx.app, tx, &server, forget, by)?;
        Ok(true)
    })?;
    if !deleted {
        return Ok(ask(ctx, "delete", true)?.with_status(422));
    }
    ctx.app.ssh.forget(id.get());
    Ok(Reply::see_other("/servers"))
}

fn accept_host_key(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    let by = ctx.allowed(Edit, Servers)?;
    let typed = ctx
        .request
        .form()?
        .into_iter()
        .find(|(name, _)| name == "fingerprint")
        .map(|(_, value)| value);
    ctx.app
        .db
        .write(|tx| super::accept_host_key(ctx.app, tx, id, &typed.unwrap_or_default(), by))?;
    ctx.app.ssh.forget(id.get());
    Ok(Reply::see_other(format!("/servers/{id}")))
}

fn follow(task: Id<Task>) -> Reply {
    Reply::see_other(format!("/tasks/{task}"))
}

fn check_ssh(ctx: &Ctx) -> Result<Reply> {
    Ok(follow(api::start(ctx, Run, tasks::CHECK_SSH, serde_json::json!({}))?))
}

fn deploy_proxy(ctx: &Ctx) -> Result<Reply> {
    Ok(follow(api::start(
        ctx,
        Deploy,
        tasks::DEPLOY_PROXY,
        serde_json::json!({}),
    )?))
}

fn ask_glances(ctx: &Ctx) -> Result<Reply> {
    ask(ctx, "glances", false)
}

fn ask_remove(ctx: &Ctx) -> Result<Reply> {
    ask(ctx, "remove", false)
}

fn remove_glances(ctx: &Ctx) -> Result<Reply> {
    Ok(follow(api::start_remove(ctx)?))
}

fn install_glances(ctx: &Ctx) -> Result<Reply> {
    Ok(follow(api::start_install(ctx)?))
}
