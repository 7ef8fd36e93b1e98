//! What a look at a service finds: how well it is, and the process behind it.

use crate::availability::State;
use crate::base::clock::Ms;
use crate::base::shape::described;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How well a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// All is as it should be.
    Healthy,
    /// It works, but something is not as it should be.
    Degraded,
    /// It does not work.
    Unhealthy,
    /// Nobody could look, or nobody is to: nothing is said about it.
    Unknown,
}
described!(Health: "healthy", "degraded", "unhealthy", "unknown");

impl Health {
    /// All, from good to bad.
    pub const ALL: [Health; 4] = [Health::Healthy, Health::Degraded, Health::Unhealthy, Health::Unknown];

    /// Can what has it be used?
    pub fn availability(self) -> State {
        match self {
            Health::Healthy | Health::Degraded => State::Up,
            Health::Unhealthy => State::Down,
            Health::Unknown => State::Unknown,
        }
    }

    /// As stored and shown.
    pub fn name(self) -> &'static str {
        Health::WORDS[self as usize]
    }

    /// Reads a name; another text is `Unknown`.
    pub fn parse(name: &str) -> Health {
        Health::ALL
            .into_iter()
            .find(|health| health.name() == name)
            .unwrap_or(Health::Unknown)
    }
}

/// States of a service, as stored and shown.
pub const STATES: [&str; 6] = ["running", "stopped", "starting", "backoff", "failed", "unknown"];

/// The process behind a service.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Process {
    /// One of [`STATES`].
    pub state: &'static str,
    /// Main process.
    pub pid: Option<i64>,
    /// Seconds since it came into its state.
    pub uptime_s: Option<f64>,
    /// Processor time so far, ns.
    pub cpu_ns: Option<u64>,
    /// Memory in use, bytes.
    pub memory: Option<u64>,
    /// Memory of its server, bytes.
    pub memory_total: Option<u64>,
    /// Restarts by who keeps it.
    pub restarts: i64,
    /// Which start it is; empty: not known.
    pub life: String,
    /// Does somebody else start it again by itself?
    pub is_kept: bool,
    /// How it ended last, where it does not run.
    pub end: Option<End>,
}

impl Process {
    /// Does it run?
    pub fn runs(&self) -> bool {
        self.state == "running"
    }
}

/// How a process ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// systemd's word: `success`, `exit-code`, `signal`, `oom-kill`, …; empty: not known.
    pub result: String,
    /// Exit code.
    pub exit_code: Option<i64>,
    /// Signal that ended it.
    pub signal: Option<i64>,
    /// Did it end for want of memory?
    pub oom: bool,
    /// Was it stopped by a stop that somebody asked for on the server?
    pub asked: bool,
    /// Who asked, where that is known: a line of sudo's.
    pub by: String,
    /// Its last lines, oldest first.
    pub lines: Vec<String>,
    /// When it was seen, unix ms.
    pub at: Ms,
}

impl End {
    /// Did it end well?
    pub fn is_good(&self) -> bool {
        self.asked || self.result == "success" || (self.result.is_empty() && self.exit_code == Some(0))
    }

    /// As a sentence.
    pub fn say(&self) -> String {
        match (self.oom, self.signal, self.exit_code) {
            (true, _, _) => "It was ended for want of memory.".into(),
            (_, Some(signal), _) => format!("It was ended by signal {signal}{}.", signal_name(signal)),
            _ if self.asked => "It was stopped on the server.".into(),
            (_, _, Some(code)) if self.result == "timeout" => format!("It was too slow for systemd (code {code})."),
            (_, _, Some(code)) => format!("It ended with code {code}."),
            _ if ["", "success"].contains(&self.result.as_str()) => "It does not run.".into(),
            _ => format!("It does not run: {}.", self.result),
        }
    }
}

/// ` (KILL)` of the signals that people meet; empty for others.
fn signal_name(signal: i64) -> &'static str {
    match signal {
        1 => " (HUP)",
        2 => " (INT)",
        3 => " (QUIT)",
        6 => " (ABRT)",
        9 => " (KILL)",
        11 => " (SEGV)",
        13 => " (PIPE)",
        15 => " (TERM)",
        _ => "",
    }
}

/// Something to be said about a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// Event kind.
    pub kind: &'static str,
    /// Of which part of it; empty: of all of it.
    pub part: String,
    /// Lines for people.
    pub evidence: Vec<String>,
}

/// A row of a table, by its columns.
pub type Row = serde_json::Map<String, serde_json::Value>;
/// Tables that a look brings, by their names.
pub type Tables = BTreeMap<String, Vec<Row>>;

/// What a look has found.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// How well it is.
    pub health: Health,
    /// Why, in a word; empty where it is healthy.
    pub code: String,
    /// The same as a sentence.
    pub say: String,
    /// Until the answer, ms.
    pub latency_ms: Option<f64>,
    /// The process behind it, where there is one.
    pub process: Option<Process>,
    /// Figures of its own.
    pub custom: BTreeMap<String, f64>,
    /// Tables of its own.
    pub tables: Tables,
}

impl Look {
    /// All is well.
    pub fn healthy() -> Look {
        Look::of(Health::Healthy, "", "")
    }

    /// This health for this reason.
    pub fn of(health: Health, code: impl Into<String>, say: impl Into<String>) -> Look {
        Look {
            health,
            code: code.into(),
            say: say.into(),
            latency_ms: None,
            process: None,
            custom: BTreeMap::new(),
            tables: Tables::new(),
        }
    }

    /// The worse of the two decides; figures are those of both.
    pub fn and(self, other: Look) -> Look {
        let (worse, better) = if other.health > self.health {
            (other, self)
        } else {
            (self, other)
        };
        Look {
            latency_ms: worse.latency_ms.or(better.latency_ms),
            process: worse.process.or(better.process),
            custom: worse.custom.into_iter().chain(better.custom).collect(),
            tables: worse.tables.into_iter().chain(better.tables).collect(),
            ..worse
        }
    }
}

/// Figures of a service that were seen last.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// Main process.
    pub pid: Option<i64>,
    /// Seconds since it came into its state.
    pub uptime_s: Option<f64>,
    /// Processors in use, percent of one.
    pub cpu: Option<f64>,
    /// Memory in use, bytes.
    pub memory: Option<u64>,
    /// The same, percent of its server's.
    pub memory_percent: Option<f64>,
    /// Until the answer, ms.
    pub latency_ms: Option<f64>,
    /// Figures of its own.
    pub custom: BTreeMap<String, f64>,
    /// Tables of its own.
    pub tables: Tables,
    /// Processor time so far, ns, and when that was, unix ms: the next look compares with it.
    pub cpu_ns: Option<(u64, Ms)>,
    /// Of which start that is.
    pub life: String,
}

impl Figures {
    /// The figures of a look, after those of the one before.
    pub fn of(look: &Look, before: &Figures, now: Ms) -> Figures {
        let round = |n: f64| (n * 10.0).round() / 10.0;
        let p = look.process.as_ref();
        let cpu_ns = p.and_then(|p| p.cpu_ns).map(|ns| (ns, now));
        let is_same = p.is_some_and(|p| p.life == before.life);
        let cpu = match (before.cpu_ns, cpu_ns) {
            (Some((then, at)), Some((ns, _))) if is_same && ns >= then && now > at => {
                Some(round((ns - then) as f64 / 10_000.0 / (now - at) as f64))
            }
            _ => None,
        };
        let memory = p.and_then(|p| p.memory);
        let total = p.and_then(|p| p.memory_total).filter(|total| *total > 0);
        Figures {
            pid: p.and_then(|p| p.pid),
            uptime_s: p.filter(|p| p.runs()).and_then(|p| p.uptime_s),
            cpu,
            memory,
            memory_percent: memory.zip(total).map(|(m, t)| round(m as f64 * 100.0 / t as f64)),
            latency_ms: look.latency_ms,
            custom: look.custom.clone(),
            tables: look.tables.clone(),
            cpu_ns,
            life: p.map(|p| p.life.clone()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_of_two_decides_and_no_figure_is_lost() {
        let mut process = Look::healthy();
        process.process = Some(Process {
            state: "running",
            ..Process::default()
        });
        let mut probe = Look::of(Health::Unhealthy, "refused", "Nothing listens.");
        probe.latency_ms = Some(2.0);
        for both in [process.clone().and(probe.clone()), probe.and(process)] {
            assert_eq!(
                (both.health, &*both.code, both.latency_ms),
                (Health::Unhealthy, "refused", Some(2.0))
            );
            assert!(both.process.is_some());
        }
    }

    #[test]
    fn processor_use_is_between_two_looks_of_one_life() {
        let look = |ns, life: &str| Look {
            process: Some(Process {
                state: "running",
                cpu_ns: Some(ns),
                life: life.into(),
                memory: Some(512 << 20),
                memory_total: Some(1 << 30),
                ..Process::default()
            }),
            ..Look::healthy()
        };
        let first = Figures::of(&look(0, "a"), &Figures::default(), 1_000);
        assert_eq!((first.cpu, first.memory_percent), (None, Some(50.0)));
        let second = Figures::of(&look(5_000_000_000, "a"), &first, 11_000);
        assert_eq!(second.cpu, Some(50.0));
        assert_eq!(
            Figures::of(&look(6_000_000_000, "b"), &second, 21_000).cpu,
            None,
            "another life"
        );
        assert_eq!(
            Figures::of(&look(1, "a"), &second, 21_000).cpu,
            None,
            "it cannot go back"
        );
    }
}
