//! Containers as what is observed, and as what alerts, tasks and silences are about.

use super::queries::{self, Container};
use super::settings::LOOP_WINDOW;
use super::stats::Usage;
use crate::base::clock::{Ms, SECOND};
use crate::features::fleet::servers;
use crate::features::workloads::logs::Speaker;
use crate::kinds::{Related, TargetKind};
use crate::series::{Key, Kind, Observation, Seen, Unit, Value};

macro_rules! keys {
    ($($key:literal $unit:ident $metric:literal $help:literal;)*) => {
        &[$(Key { name: $key, unit: Unit::$unit, part: "", metric: concat!("lamplighter_container_", $metric), help: $help }),*]
    };
}

/// The observed kind `container`.
pub static CONTAINERS: Kind = Kind {
    name: "container",
    source: "engine",
    keys: keys! {
        "cpu"        Percent        "cpu_usage_ratio" "Processors in use: 1 is one that is busy.";
        "mem"        Percent        "memory_usage_ratio" "Memory in use of what it may use.";
        "mem_used"   Bytes          "memory_used_bytes" "Memory in use, without files that can be dropped.";
        "net_rx"     BytesPerSecond "network_receive_bytes_per_second" "Received.";
        "net_tx"     BytesPerSecond "network_transmit_bytes_per_second" "Sent.";
        "blk_read"   BytesPerSecond "disk_read_bytes_per_second" "Read from disks.";
        "blk_write"  BytesPerSecond "disk_written_bytes_per_second" "Written to disks.";
        "pids"       Count          "pids" "Processes and threads.";
        "restarts"   Count          "restarts" "Ends without a person's act since it is known.";
        "ends"       Count          "recent_ends" "Ends without a person's act within ten minutes.";
        "unhealthy"  Seconds        "unhealthy_seconds" "For so long its check fails.";
    },
    all: |conn| {
        let filter = queries::Filter {
            limit: i64::MAX,
            ..Default::default()
        };
        let (all, _) = queries::list(conn, &filter)?;
        Ok(all.iter().map(|one| (one.id, one.full_name())).collect())
    },
    name_of: |conn, id| Ok(queries::get(conn, id)?.map(|one| one.full_name())),
    on: queries::on_servers,
    fingerprint: queries::fingerprint,
    silence_max: |_, _| Ok(4 * EVERY_S * SECOND),
};

/// Seconds from sample to sample.
pub const EVERY_S: i64 = 15;

/// What is known of a container besides its use.
#[derive(Debug, Clone, Copy)]
pub struct Course {
    /// Does it run?
    pub runs: bool,
    /// Ends without a person's act.
    pub restarts: i64,
    /// The same within ten minutes.
    pub ends: usize,
    /// Since when it is unhealthy, unix ms.
    pub unhealthy_since: Option<Ms>,
    /// Has it a check?
    pub is_checked: bool,
}

impl Course {
    /// Of a container as it was seen last.
    pub fn of(c: &Container, now: Ms) -> Course {
        Course {
            runs: c.state == "running",
            restarts: c.restarts,
            ends: c.restarts_at.iter().filter(|at| now - **at < LOOP_WINDOW).count(),
            unhealthy_since: c.unhealthy_since,
            is_checked: !c.health.is_empty(),
        }
    }
}

/// The observation of a container.
pub fn observe(id: i64, at_ms: Ms, usage: &Usage, course: &Course) -> Observation<'static> {
    let unhealthy = match course.unhealthy_since {
        Some(since) => Some(((at_ms - since) / SECOND).max(0) as f64),
        None => course.is_checked.then_some(0.0),
    };
    let figures = [
        usage.cpu,
        usage.memory,
        usage.memory_used.map(|n| n as f64),
        usage.net.map(|(rx, _)| rx),
        usage.net.map(|(_, tx)| tx),
        usage.blocks.map(|(read, _)| read),
        usage.blocks.map(|(_, written)| written),
        usage.pids.map(|n| n as f64),
        Some(course.restarts as f64),
        Some(course.ends as f64),
        unhealthy.filter(|_| course.runs),
    ];
    let value = |(key, value): (usize, Option<f64>)| {
        Some(Value {
            key,
            part: "",
            value: value?,
            is_kept: true,
            of: None,
        })
    };
    Observation {
        kind: &CONTAINERS,
        id,
        at_ms,
        seen: Seen::Values(figures.into_iter().enumerate().filter_map(value).collect()),
    }
}

impl Container {
    /// `h3/shop-api-1`; `local/shop-api-1` on the machine that Lamplighter runs on.
    pub fn full_name(&self) -> String {
        self.speaker().full_name()
    }

    /// As who speaks the lines of its log.
    pub fn speaker(&self) -> Speaker {
        Speaker {
            subject: self.subject(),
            server: self.server,
            server_name: self.server_name.clone(),
            name: self.name.clone(),
        }
    }

    /// As what its lines and figures are stored for.
    pub fn subject(&self) -> crate::series::Subject {
        (CONTAINERS.name, self.id)
    }
}

/// See [`TargetKind`]. A container stands on its server: a dark server explains it, and the server's silences are its.
pub const TARGET: TargetKind = TargetKind {
    name: "container",
    page: "/containers/",
    name_of: |conn, id| Ok(queries::get(conn, id)?.map(|one| one.full_name())),
    named: |conn, name| {
        let filter = queries::Filter {
            state: "any",
            limit: i64::MAX,
            ..Default::default()
        };
        let (all, _) = queries::list(conn, &filter)?;
        Ok(all.into_iter().find(|one| one.full_name() == name).map(|one| one.id))
    },
    related: |conn, id| {
        let Some(one) = queries::get(conn, id)? else {
            return Ok(Vec::new());
        };
        let mut out = vec![Related::to(CONTAINERS.name, id)];
        if let Some(server) = one.server {
            out.push(servers::related(&servers::get(conn, server)?));
        }
        Ok(out)
    },
};
