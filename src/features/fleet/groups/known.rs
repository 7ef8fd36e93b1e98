//! Hosts as rules see them: the fields that there are, and what is known under each.

use crate::rule::{Fact, Rule};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Fields of a rule, beside `facts.NAME`: those of the row, what is known of it, and the figures of the last poll.
const FIELDS: [&str; 18] = [
    "name",
    "hostname",
    "port",
    "username",
    "description",
    "tags",
    "environment",
    "os_type",
    "check_method",
    "status",
    "state",
    "glances",
    "cpu",
    "mem",
    "swap",
    "load",
    "disk",
    "id",
];
/// Those of the last poll.
pub const FIGURES: [&str; 5] = ["cpu", "mem", "swap", "load", "disk"];
/// Before the name of a fact.
pub const FACTS: &str = "facts.";

/// Is this a field that rules may ask for?
fn is_field(name: &str) -> bool {
    let is_fact = |name: &str| {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        !name.is_empty() && name.len() <= 64 && name.bytes().all(good)
    };
    FIELDS.contains(&name) || name.strip_prefix(FACTS).is_some_and(is_fact)
}

/// Reads a rule about hosts. Error: a sentence with the mistake.
pub fn parse(rule: &Map<String, Value>) -> std::result::Result<Rule, String> {
    Rule::parse(rule, &is_field)
}

/// A host as rules see it.
#[derive(Debug)]
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
    /// JSON object.
    pub facts: String,
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
pub fn fact<'a>(
    host: &'a Known,
    polled: Option<&Figures>,
    facts: &'a BTreeMap<String, String>,
    field: &str,
) -> Option<Fact<'a>> {
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
        other => facts.get(other.strip_prefix(FACTS)?).and_then(|value| text(value)),
    }
}
