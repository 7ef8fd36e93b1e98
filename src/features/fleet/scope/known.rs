//! Hosts as rules see them: the fields that there are, and what is known under each.

use crate::base::clock::{DAY, Ms};
use crate::rule::{Fact, Rule};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Fields of a rule, beside `facts.NAME`: those of the row, what is known of it, and the figures of the last poll.
pub const FIELDS: [&str; 20] = [
    "tags",
    "name",
    "hostname",
    "environment",
    "os_type",
    "status",
    "state",
    "disk",
    "cpu",
    "mem",
    "swap",
    "load",
    "updates",
    "cert_days",
    "glances",
    "description",
    "username",
    "port",
    "check_method",
    "id",
];
/// Ids of the groups that a thing is in; for scopes, not for the rules of groups.
pub const GROUPS: &str = "groups";
/// Those of the last poll.
const FIGURES: [&str; 5] = ["cpu", "mem", "swap", "load", "disk"];
/// Before the name of a fact.
const FACTS: &str = "facts.";
/// The fact behind the field `updates`.
const UPDATES: &str = "updates";

/// Is this a field that rules about hosts may ask for?
pub fn is_field(name: &str) -> bool {
    let is_fact = |name: &str| {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        !name.is_empty() && name.len() <= 64 && name.bytes().all(good)
    };
    FIELDS.contains(&name) || name.strip_prefix(FACTS).is_some_and(is_fact)
}

/// What has to be read for a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Figures of the last poll.
    pub figures: bool,
    /// Facts of the last check.
    pub facts: bool,
    /// Result of the last look.
    pub status: bool,
    /// Ends of certificates.
    pub cert: bool,
    /// Groups of hosts.
    pub groups: bool,
}

impl Needs {
    /// Of this rule.
    pub fn of(rule: &Rule) -> Needs {
        let asks = |is: &dyn Fn(&str) -> bool| rule.asks(&|field: &str| is(field));
        Needs {
            figures: asks(&|field| FIGURES.contains(&field)),
            facts: asks(&|field| field == UPDATES || field.starts_with(FACTS)),
            status: asks(&|field| field == "status"),
            cert: asks(&|field| field == "cert_days"),
            groups: asks(&|field| field == GROUPS),
        }
    }

    /// Is anything asked for that changes by itself?
    pub fn is_live(self) -> bool {
        self.figures || self.facts || self.status || self.cert || self.groups
    }
}

/// A host as rules see it.
#[derive(Debug, Default)]
pub struct Known {
    pub id: i64,
    pub name: String,
    pub host: String,
    pub port: u16,
    pub username: String,
    pub description: String,
    pub tags: Vec<String>,
    pub environment: String,
    pub os_type: String,
    pub check_method: String,
    /// Of its last look.
    pub status: Option<String>,
    /// Its lamp.
    pub state: String,
    /// API version last seen.
    pub glances: Option<f64>,
    /// By name; empty when no rule asks for one.
    pub facts: BTreeMap<String, String>,
    /// The earliest end of a certificate that it serves, unix ms.
    pub cert_end: Option<Ms>,
    /// Ids of its groups, as texts.
    pub groups: Vec<String>,
}

/// Figures of the last poll.
#[derive(Debug, Default, Deserialize)]
pub struct Figures {
    cpu_percent: Option<f64>,
    mem_percent: Option<f64>,
    swap_percent: Option<f64>,
    load1: Option<f64>,
    disk_max_percent: Option<f64>,
}

/// What is known of a host under a field's name.
pub fn fact<'a>(host: &'a Known, polled: Option<&Figures>, now: Ms, field: &str) -> Option<Fact<'a>> {
    let text = |text: &'a str| Some(Fact::Text(Cow::Borrowed(text)));
    let figure = |of: fn(&Figures) -> Option<f64>| polled.and_then(of).map(Fact::Number);
    match field {
        "id" => Some(Fact::Number(host.id as f64)),
        "name" => text(&host.name),
        "hostname" => text(&host.host),
        "port" => Some(Fact::Number(host.port.into())),
        "username" => text(&host.username),
        "description" => text(&host.description),
        "tags" => Some(Fact::List(&host.tags)),
        "environment" => text(&host.environment),
        "os_type" => text(&host.os_type),
        "check_method" => text(&host.check_method),
        "status" => text(host.status.as_deref().unwrap_or("unknown")),
        "state" => text(&host.state),
        "glances" => host.glances.map(Fact::Number),
        "cpu" => figure(|f| f.cpu_percent),
        "mem" => figure(|f| f.mem_percent),
        "swap" => figure(|f| f.swap_percent),
        "load" => figure(|f| f.load1),
        "disk" => figure(|f| f.disk_max_percent),
        "updates" => host.facts.get(UPDATES).and_then(|n| n.parse().ok()).map(Fact::Number),
        "cert_days" => (host.cert_end).map(|end| Fact::Number((end - now).div_euclid(DAY) as f64)),
        GROUPS => Some(Fact::List(&host.groups)),
        other => host.facts.get(other.strip_prefix(FACTS)?).and_then(|value| text(value)),
    }
}
