//! The servers' last values for `/metrics`, read in one pass and written family by family. Stale values are left
//! out, so that the line of a server that is down ends.

use super::{DISK, Disk, FIGURES_COUNT, SERVERS, Sample, figures};
use crate::app::App;
use crate::base::clock::{self, Ms, SECOND};
use crate::base::error::Result;
use crate::base::exposition::{Kind, Text};
use crate::feature::Exposes;
use crate::features::fleet::latest;
use crate::features::fleet::servers::{self, State, StateRow};
use std::collections::HashMap;

/// See [`Exposes`].
pub const EXPOSES: &[Exposes] = &[Exposes {
    kind: SERVERS.name,
    write,
}];

/// Age from which values are stale: the usual poll interval is half a minute.
const STALE_MS: Ms = 300 * SECOND;

/// Help text of the state metrics.
pub const STATE_HELP: &str = "0: up. 1: degraded, an alert is open. 2: down. Who has not answered yet has none.";

/// A state as a number.
pub fn state_figure(state: State) -> Option<f64> {
    match state {
        State::Up => Some(0.0),
        State::Degraded => Some(1.0),
        State::Down => Some(2.0),
        State::Pending => None,
    }
}

struct Server {
    row: StateRow,
    last: Option<Last>,
}

struct Last {
    at_ms: Ms,
    values: [Option<f64>; FIGURES_COUNT],
    memory_used: Option<f64>,
    memory_size: Option<f64>,
    cores: Option<f64>,
    disks: Vec<Disk>,
}

impl Last {
    fn read(last: &latest::Text) -> Option<Last> {
        let sample: Sample = serde_json::from_str(last.sample).ok()?;
        let mut values = [None; FIGURES_COUNT];
        for (key, value) in figures(&sample, last.took_ms) {
            values[key] = Some(SERVERS.keys[key].unit.rounded(value));
        }
        Some(Last {
            at_ms: last.at_ms,
            values,
            memory_used: sample.mem_used.map(|n| n as f64),
            memory_size: sample.mem_total.map(|n| n as f64),
            cores: sample.cpu_cores.map(f64::from),
            disks: serde_json::from_str(last.disks).ok()?,
        })
    }
}

fn write(app: &App, out: &mut Text) -> Result<()> {
    let list = app.db.read(servers::states)?;
    let mut place = HashMap::with_capacity(list.len());
    let mut all = Vec::with_capacity(list.len());
    for row in list {
        place.insert(row.id, (all.len(), STALE_MS.max(3 * row.interval_s * SECOND)));
        all.push(Server { row, last: None });
    }
    let now = clock::now();
    latest::each(&app.metrics, |last| {
        if let Some((i, stale_ms)) = place.get(&last.server)
            && now - last.at_ms <= *stale_ms
        {
            all[*i].last = Last::read(&last);
        }
    })?;

    out.0.reserve(all.len() * 2_048);
    let mut family = |name: &str, help: &str, of: &dyn Fn(&Server) -> Option<f64>| {
        out.family(name, Kind::Gauge, help);
        for server in &all {
            if let Some(value) = of(server) {
                out.value(name, &[("server", &server.row.name)], value);
            }
        }
    };
    let known = |s: &Server| s.row.status != "provisioning";
    let flag = |is: bool| Some(f64::from(u8::from(is)));
    family("lamplighter_server_up", "1: Glances answers. 0: it is down.", &|s| {
        flag(s.row.status == "ok").filter(|_| known(s))
    });
    family("lamplighter_server_state", STATE_HELP, &|s| state_figure(s.row.state));
    let alerts = |s: &Server| Some(s.row.alerts as f64).filter(|_| known(s));
    family("lamplighter_server_alerts_open", "Open alerts about a server.", &alerts);
    family("lamplighter_server_silenced", "1: it is silenced.", &|s| {
        flag(s.row.silenced).filter(|_| known(s))
    });
    let at = |s: &Server| Some(s.last.as_ref()?.at_ms as f64 / 1e3);
    family(
        "lamplighter_server_last_poll_timestamp_seconds",
        "When the last good poll began.",
        &at,
    );
    for (i, key) in SERVERS.keys.iter().enumerate().take(FIGURES_COUNT) {
        family(key.metric, key.help, &|s| {
            Some(key.unit.to_base(s.last.as_ref()?.values[i]?))
        });
    }
    let used = |s: &Server| s.last.as_ref()?.memory_used;
    family("lamplighter_server_memory_used_bytes", "Memory in use.", &used);
    family("lamplighter_server_memory_size_bytes", "Memory built in.", &|s| {
        s.last.as_ref()?.memory_size
    });
    family("lamplighter_server_cpu_cores", "Logical cores.", &|s| {
        s.last.as_ref()?.cores
    });
    file_systems(out, &all);
    Ok(())
}

fn file_systems(out: &mut Text, all: &[Server]) {
    let disk = &SERVERS.keys[DISK];
    let ratio = |d: &Disk| Some(disk.unit.to_base(disk.unit.rounded(d.percent?)));
    type Of<'a> = &'a dyn Fn(&Disk) -> Option<f64>;
    let families: [(&str, &str, Of); 3] = [
        (disk.metric, disk.help, &ratio),
        (
            "lamplighter_server_filesystem_used_bytes",
            "Bytes in use on a file system.",
            &|d| d.used.map(|n| n as f64),
        ),
        (
            "lamplighter_server_filesystem_size_bytes",
            "Size of a file system.",
            &|d| d.size.map(|n| n as f64),
        ),
    ];
    for (name, help, of) in families {
        out.family(name, Kind::Gauge, help);
        for server in all {
            // A duplicate mount point would be a duplicate series, which fails the whole scrape.
            let mut seen: Vec<&str> = Vec::new();
            for disk in server.last.iter().flat_map(|last| &last.disks) {
                let Some(value) = of(disk).filter(|_| !seen.contains(&disk.mount.as_str())) else {
                    continue;
                };
                seen.push(&disk.mount);
                let labels = [
                    ("server", server.row.name.as_str()),
                    ("mountpoint", disk.mount.as_str()),
                ];
                out.value(name, &labels, value);
            }
        }
    }
}
