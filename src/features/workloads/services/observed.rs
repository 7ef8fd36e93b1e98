//! Services as what is observed, and as what alerts, tasks and silences are about.

use super::queries::{self, State};
use super::verdict::{Figures, Health};
use crate::base::clock::{Ms, SECOND};
use crate::base::id::Id;
use crate::features::fleet::servers;
use crate::kinds::{Related, TargetKind};
use crate::series::{Key, Kind, Observation, Seen, Unit, Value};

macro_rules! keys {
    ($($key:literal $unit:ident $part:literal $metric:literal $help:literal;)*) => {
        &[$(Key { name: $key, unit: Unit::$unit, part: $part, metric: concat!("lamplighter_service_", $metric), help: $help }),*]
    };
}

/// The observed kind `service`.
pub static SERVICES: Kind = Kind {
    name: "service",
    source: "look",
    keys: keys! {
        "up"       Count        ""       "up" "1: it works; 0: it does not.";
        "cpu"      Percent      ""       "cpu_usage_ratio" "Processors in use: 1 is one that is busy.";
        "mem"      Percent      ""       "memory_usage_ratio" "Memory in use of its server's.";
        "mem_used" Bytes        ""       "memory_used_bytes" "Memory in use.";
        "uptime"   Seconds      ""       "uptime_seconds" "Since it was started.";
        "restarts" Count        ""       "restarts" "Restarts without a person's act since it is known.";
        "latency"  Milliseconds ""       "latency_seconds" "Until its answer.";
        "custom"   Count        "figure" "figure" "Figures of its own.";
    },
    all: |conn| {
        let all = queries::all(conn)?;
        Ok(all.into_iter().map(|s| (s.id.get(), s.fields.name)).collect())
    },
    name_of: |conn, id| Ok(queries::get(conn, Id::new(id))?.map(|s| s.fields.name)),
    on: queries::on_servers,
    fingerprint: queries::fingerprint,
    silence_max: |conn, id| {
        let found = queries::get(conn, Id::new(id))?;
        Ok(found.map_or(0, |s| 4 * s.fields.interval_s * SECOND))
    },
};

/// The observation of a service.
pub fn observe<'a>(id: i64, at_ms: Ms, now: &State, figures: &'a Figures) -> Observation<'a> {
    let up = match now.health {
        Health::Healthy | Health::Degraded => Some(1.0),
        Health::Unhealthy => Some(0.0),
        Health::Unknown => None,
    };
    let plain = [
        up,
        figures.cpu,
        figures.memory_percent,
        figures.memory.map(|n| n as f64),
        figures.uptime_s,
        Some(now.restarts as f64),
        figures.latency_ms,
    ];
    let custom = plain.len();
    let value = |key: usize, part: &'a str, value: f64| Value {
        key,
        part,
        value,
        is_kept: true,
        of: None,
    };
    let own = figures.custom.iter().map(|(name, number)| value(custom, name, *number));
    let values = plain
        .into_iter()
        .enumerate()
        .filter_map(|(key, n)| Some(value(key, "", n?)));
    Observation {
        kind: &SERVICES,
        id,
        at_ms,
        seen: Seen::Values(values.chain(own).collect()),
    }
}

/// See [`TargetKind`]. A service stands on its server: a dark server explains it, and the server's silences are its.
pub const TARGET: TargetKind = TargetKind {
    name: "service",
    page: "/service/",
    name_of: |conn, id| Ok(queries::get(conn, Id::new(id))?.map(|s| s.fields.name)),
    named: |conn, name| Ok(queries::by_name(conn, name)?.map(|s| s.id.get())),
    related: |conn, id| {
        let Some(service) = queries::get(conn, Id::new(id))? else {
            return Ok(Vec::new());
        };
        let mut out = vec![Related::to(SERVICES.name, id)];
        if let Some(server) = service.fields.server {
            out.push(servers::related(&servers::get(conn, server)?));
        }
        Ok(out)
    },
};
