//! Servers with what is known of them now: last sample, lamp and why it is so. Made once for all pages, until somebody commits.

use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::features::fleet::latest::{self, Latest, Spark};
use crate::features::fleet::servers::{self, Alerts, Counts, Filter, HostKeyState, Server, State};
use crate::http::route::Ctx;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

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

/// Number of servers by lamp name, and of silenced ones, for facets.
pub fn counts_by_lamp(counts: &Counts) -> HashMap<&'static str, i64> {
    let each = State::ALL.map(|state| (state.lamp(), counts.of(state)));
    each.into_iter()
        .chain([("all", counts.total), ("silenced", counts.silenced)])
        .collect()
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
    ctx.web.cache.get(ctx.app, &key, || read_known(ctx, q, tag))
}

fn read_known(ctx: &Ctx, q: &str, tag: &str) -> Result<Vec<Known>> {
    let filter = Filter {
        q,
        tag,
        limit: i64::MAX,
        ..Filter::default()
    };
    let (servers, _) = ctx.app.db.read(|conn| servers::list(conn, &filter))?;
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
