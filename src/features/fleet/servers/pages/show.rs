//! A server's own page.

use super::known::{Disk, Sample, Why, sample, why};
use crate::base::clock::{self, DAY, HOUR, Ms};
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::base::idn;
use crate::features::fleet::latest;
use crate::features::fleet::servers::{self, HostKeyState, Server, api};
use crate::features::house::tasks::{TaskRow, task_row};
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::route::Ctx;
use crate::http::view::Prepared;
use crate::lang::Lang;
use crate::ssh::hostkey;
use crate::task::{self, queue};
use serde::Serialize;
use std::collections::BTreeMap;

/// A server for its own page.
#[derive(Serialize)]
pub struct View {
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
    packages: &'static str,
    poll_interval_s: i64,
    facts_at: Option<Ms>,
    created_at: Ms,
    last_ok_at: Option<Ms>,
    sample: Option<Sample>,
}

#[derive(Serialize)]
pub struct Fact {
    name: &'static str,
    value: String,
}

/// Facts shown, in this order, as reported by `check-ssh` and the installs.
const FACTS: [&str; 18] = [
    "kernel",
    "arch",
    "cpu_model",
    "virtualization",
    "container",
    "updates",
    "updates_security",
    "reboot_needed",
    "hostname",
    "addresses",
    "user",
    "sudo_works",
    "nginx",
    "glances_version",
    "glances_from",
    "systemd",
    "docker",
    "podman",
];

pub fn view(s: Server, sample: Option<Sample>) -> (View, Vec<Fact>) {
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
        packages: f.packages,
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

pub fn show(ctx: &Ctx) -> Result<Reply> {
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
        Ok((servers::get(conn, id)?, tasks, servers::serves(conn, id)?))
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
