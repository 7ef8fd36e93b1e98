//! Hosts as rules see them: the fields that there are, and what is known under each.

use crate::base::clock::{DAY, Ms};
use crate::rule::{Fact, Rule};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    fields: BTreeSet<String>,
    /// Names of facts of the last check.
    facts: BTreeSet<String>,
}

impl Needs {
    /// Of this rule.
    pub fn of(rule: &Rule) -> Needs {
        let (mut fields, mut facts) = (BTreeSet::new(), BTreeSet::new());
        rule.each_field(&mut |field| {
            match field.strip_prefix(FACTS).or((field == UPDATES).then_some(UPDATES)) {
                Some(name) => facts.insert(name.to_string()),
                None => fields.insert(field.to_string()),
            };
        });
        Needs { fields, facts }
    }

    /// Is this field asked for?
    pub fn asks(&self, field: &str) -> bool {
        self.fields.contains(field)
    }

    /// Is a figure of the last poll asked for?
    pub fn asks_figures(&self) -> bool {
        FIGURES.iter().any(|field| self.asks(field))
    }

    /// Is a fact of the last check asked for?
    pub fn asks_facts(&self) -> bool {
        !self.facts.is_empty()
    }

    /// Of stored facts those that are asked for; the others are passed over, not read.
    pub fn facts(&self, stored: &str) -> BTreeMap<String, String> {
        let mut json = serde_json::Deserializer::from_str(stored);
        Wanted(&self.facts).deserialize(&mut json).unwrap_or_default() // none before the first check
    }

    /// Is anything asked for that changes by itself?
    pub fn is_live(&self) -> bool {
        let others = ["status", "cert_days", GROUPS];
        self.asks_figures() || self.asks_facts() || others.iter().any(|field| self.asks(field))
    }
}

/// Reads an object of texts, of these names alone.
struct Wanted<'a>(&'a BTreeSet<String>);

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = BTreeMap<String, String>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("facts by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut found = BTreeMap::new();
        while let Some(name) = from.next_key_seed(Name(self.0))? {
            match name {
                Some(name) => drop(found.insert(name, from.next_value()?)),
                None => drop(from.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// A name, if it is one of these.
struct Name<'a>(&'a BTreeSet<String>);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.get(name).cloned())
    }
}

/// A host as rules see it: what no rule asks for is empty, except id and name.
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
    /// By name.
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn of_facts_only_those_are_read_that_a_rule_asks_for() {
        let is = |field: &str| json!({ "field": field, "op": "eq", "value": "1" });
        let rule = json!({ "all": [is("facts.kernel"), { "not": { "any": [is("updates"), is("tags")] } }] });
        let needs = Needs::of(&Rule::parse(rule.as_object().unwrap(), &is_field).unwrap());
        assert!(needs.asks("tags") && !needs.asks("name") && !needs.asks_figures() && needs.is_live());
        let stored = json!({ "a": { "deep": [1] }, "kernel": "6 \"x\"", "n\u{e9}": null, "updates": "3", "z": "9" });
        let kept = BTreeMap::from([("kernel", "6 \"x\""), ("updates", "3")].map(|(k, v)| (k.into(), v.into())));
        assert_eq!(needs.facts(&stored.to_string()), kept);
        assert_eq!(needs.facts(""), BTreeMap::new());
    }
}
