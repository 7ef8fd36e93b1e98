//! The servers' pages. What a person does here ends in the same functions as the JSON API; a form that is refused comes
//! back with what was typed, except secrets.

use super::latest::{self, Latest};
use super::model::{self, Fields, Has};
use super::{Filter, HostKeyState, Server, api, tasks};
use crate::access::Right;
use crate::base::clock::Ms;
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{Id, Task};
use crate::http::input::Input;
use crate::http::page::{self, query};
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, Web, route};
use crate::http::view::{Errors, Markup, spark};
use crate::http::words::Lang;
use crate::provision;
use crate::ssh::hostkey;
use crate::task::{self, Status, queue};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Get, "/servers", Right::Read, list),
    route(Post, "/servers", Right::Edit, create),
    route(Get, "/servers/new", Right::Edit, new),
    route(Get, "/servers/{id}", Right::Read, show),
    route(Post, "/servers/{id}", Right::Edit, change),
    route(Get, "/servers/{id}/edit", Right::Edit, edit),
    route(Get, "/servers/{id}/delete", Right::Edit, ask_delete),
    route(Post, "/servers/{id}/delete", Right::Edit, delete),
    route(Post, "/servers/{id}/accept-host-key", Right::Edit, accept_host_key),
    route(Post, "/servers/{id}/check-ssh", Right::Act, check_ssh),
    route(Post, "/servers/{id}/deploy-proxy", Right::Act, deploy_proxy),
    route(Get, "/servers/{id}/install-glances", Right::Act, ask_glances),
    route(Post, "/servers/{id}/install-glances", Right::Act, install_glances),
];

/// From here on a share is shown as too much, and the lamp flickers.
const CPU_LIMIT: f64 = 95.0;
const MEM_LIMIT: f64 = 90.0;
const DISK_LIMIT: f64 = 90.0;

/// What a page reads out of a server's last sample. Absent is unknown, never 0.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Sample {
    /// Unix ms.
    #[serde(skip)]
    pub at: Ms,
    #[serde(rename(deserialize = "cpu_percent"))]
    /// 0 to 100.
    pub cpu: Option<f64>,
    #[serde(rename(deserialize = "mem_percent"))]
    /// 0 to 100.
    pub mem: Option<f64>,
    #[serde(rename(deserialize = "disk_percent"))]
    /// The fullest file system, 0 to 100.
    pub disk: Option<f64>,
    /// Load average.
    pub load1: Option<f64>,
    #[serde(rename(deserialize = "net_rx"))]
    /// Bytes a second.
    pub net: Option<f64>,
    #[serde(rename(deserialize = "disk_read"))]
    /// Bytes a second.
    pub io: Option<f64>,
    /// Seconds.
    pub uptime_seconds: Option<f64>,
    /// Processors.
    pub cpu_cores: Option<f64>,
    /// File systems.
    pub disks: Vec<Disk>,
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
    pub used: Option<f64>,
    /// Bytes.
    pub size: Option<f64>,
}

/// The last sample of a server, if it ever had one.
pub fn sample(latest: Option<&Latest>) -> Option<Sample> {
    let latest = latest?;
    let mut sample: Sample = serde_json::from_str(&latest.sample).ok()?;
    sample.at = latest.at;
    Some(sample)
}

/// How a lamp stands, and why: the first of the reasons that holds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Why {
    /// `lit`, `flick`, `dark` or `unlit`.
    pub lamp: &'static str,
    /// Names the words: `key_changed`, `key_pending`, `new`, `no_glances`, `dark`, `missed`, `cpu`, `mem`, `disk`, `lit`.
    pub kind: &'static str,
    /// The server's name.
    pub name: String,
    /// Code and sentence of the last missed poll.
    pub code: Option<String>,
    /// See `code`.
    pub say: String,
    /// What was measured and its limit, when a limit is crossed.
    pub value: Option<i64>,
    /// See `value`.
    pub limit: i64,
    /// Missed polls.
    pub count: i64,
    /// Since when.
    pub since: Option<Ms>,
    /// Raw facts.
    pub evidence: Vec<String>,
}

/// See [`Why`].
pub fn why(server: &Server, sample: Option<&Sample>) -> Why {
    let mut why = Why { name: server.fields.name.clone(), since: Some(server.lamp.since), ..Why::default() };
    if let Some((code, say)) = &server.lamp.error {
        why.evidence.push(say.clone());
        why.evidence.push(code.clone());
    }
    why.count = server.lamp.fail_count;
    (why.lamp, why.kind) = match (server.lamp.status, server.host_key_state) {
        ("unreachable", HostKeyState::Changed) => ("dark", "key_changed"),
        ("unreachable", _) => ("dark", "dark"),
        ("ok", HostKeyState::Changed) => ("flick", "key_changed"),
        ("ok", _) if why.count > 0 => ("flick", "missed"),
        ("ok", _) => match sample.and_then(crossed) {
            Some((kind, value, limit)) => {
                why.value = Some(value.round() as i64);
                why.limit = limit as i64;
                why.evidence.push(format!("{kind}_percent {value:.1}"));
                why.since = sample.map(|s| s.at);
                ("flick", kind)
            }
            None => ("lit", "lit"),
        },
        (_, HostKeyState::Unknown) => ("unlit", "new"),
        (_, HostKeyState::Pending) => ("unlit", "key_pending"),
        (_, HostKeyState::Changed) => ("dark", "key_changed"),
        (_, HostKeyState::Pinned) => ("unlit", "no_glances"),
    };
    if why.kind == "dark" {
        (why.code, why.say) = server.lamp.error.clone().map_or((None, String::new()), |(code, say)| (Some(code), say));
    }
    if why.lamp == "unlit" {
        why.since = None;
    }
    why
}

fn crossed(s: &Sample) -> Option<(&'static str, f64, f64)> {
    let shares = [("mem", s.mem, MEM_LIMIT), ("disk", s.disk, DISK_LIMIT), ("cpu", s.cpu, CPU_LIMIT)];
    shares.into_iter().find_map(|(kind, value, limit)| value.filter(|v| *v >= limit).map(|v| (kind, v, limit)))
}

/// A row of the table.
#[derive(Serialize)]
struct Row<'a> {
    id: i64,
    name: &'a str,
    host: &'a str,
    tags: &'a [String],
    why: Why,
    sample: Option<Sample>,
    spark: String,
}

#[derive(Default, Serialize)]
struct Counts {
    all: usize,
    lit: usize,
    flick: usize,
    dark: usize,
    unlit: usize,
}

#[derive(Serialize)]
struct List<'a> {
    q: &'a str,
    state: &'a str,
    tag: &'a str,
    /// As sent to the API by the page's script.
    query: String,
    counts: Counts,
    facets: HashMap<&'static str, String>,
    rows: Markup,
    total: usize,
    first: usize,
    last: usize,
    prev: Option<String>,
    next: Option<String>,
    /// Missed polls until a lamp is dark.
    misses: i64,
}
