//! Fields of a group and their validation.

use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::features::fleet::scope::parse;
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::rule::Rule;
use serde_json::{Map, Value};

/// What can be grouped.
pub const KINDS: [&str; 2] = ["domain", "host"];

/// How a group of hosts gets its members.
pub const TYPES: [&str; 2] = ["static", "dynamic"];
/// Most servers of a group whose members are said.
const MEMBERS_MAX: usize = 5_000;

/// Validated fields of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// One of [`KINDS`]; fixed at creation.
    pub kind: &'static str,
    /// Display name; unique within its kind.
    pub name: String,
    /// Free text.
    pub notes: String,
    /// Of hosts: the rule that finds its members; none: they are said.
    pub rule: Option<Map<String, Value>>,
    /// Of hosts: ids of its servers, in order.
    pub members: Vec<i64>,
}

impl Fields {
    /// One of [`TYPES`].
    pub fn type_name(&self) -> &'static str {
        TYPES[usize::from(self.rule.is_some())]
    }
}

impl Default for Fields {
    fn default() -> Fields {
        Fields {
            kind: "domain",
            name: String::new(),
            notes: String::new(),
            rule: None,
            members: Vec::new(),
        }
    }
}

/// Proof of validation.
#[derive(Debug)]
pub struct Valid {
    /// All fields.
    pub fields: Fields,
    /// The rule in `fields`.
    pub rule: Option<Rule>,
}

/// Accepted fields of a draft.
pub const PARAMS: &[Param] = &[
    param::choice("kind", &KINDS, "What is in it; a group keeps its kind."),
    param::name("name", "What people call it, unique within its kind.").required(),
    param::text("notes", 2_000, "Free words."),
    param::choice(
        "type",
        &TYPES,
        "Of hosts: whether its members are said, or found by its rule.",
    ),
    RULE,
    param::object("rule_json", "Another word for `rule`.").alias_of("rule"),
    param::links(
        "server_ids",
        MEMBERS_MAX,
        "Of hosts: its servers. What a rule finds is shown here, and not changed by what is sent.",
    ),
    param::links("hosts", MEMBERS_MAX, "Another word for `server_ids`.").alias_of("server_ids"),
];

/// A rule about hosts.
pub const RULE: Param = param::object(
    "rule",
    "Of hosts: a condition `{field, op, value}`, or `all`, `any`, `not` of rules, at most five levels.",
)
.example("{\"field\":\"tags\",\"op\":\"contains\",\"value\":\"web\"}");

/// Fields of the answer that may be sent back unchanged.
pub const READ_ONLY: &[&str] = &["id", "counts", "revision", "created_at", "updated_at"];

/// Reads a draft over `base`: missing fields keep the values of `base`. Error: invalid fields.
pub fn read(mut input: Input, base: Fields, is_new: bool) -> Result<Valid> {
    let mut f = base;
    let i = &mut input;
    i.known_as("rule_json", "rule");
    i.known_as("hosts", "server_ids");
    let (chosen, rule) = (i.choice("type"), i.object("rule"));
    let said = i.links::<id::Server>("server_ids");
    let is_of_hosts = chosen.is_some() || rule.is_some() || said.is_some();
    match i.choice("kind") {
        Some(kind) if !is_new && kind != f.kind => {
            i.wrong("kind", "fixed", "A group keeps its kind. Make another group.");
        }
        Some(kind) => f.kind = kind,
        None if is_new && is_of_hosts => f.kind = KINDS[1],
        None => {}
    }
    let rule = members(i, &mut f, chosen, rule, said);
    if let Some(name) = i.name("name") {
        f.name = name;
    }
    if let Some(notes) = i.text("notes") {
        f.notes = notes;
    }
    if f.name.is_empty() && !i.has_error("name") {
        i.wrong("name", "required", "Give the group a name.");
    }
    input.finish(READ_ONLY)?;
    Ok(Valid { fields: f, rule })
}

/// Reads how a group gets its members. Gives its rule.
fn members(
    i: &mut Input,
    f: &mut Fields,
    chosen: Option<&'static str>,
    rule: Option<Option<Map<String, Value>>>,
    said: Option<Vec<Id<id::Server>>>,
) -> Option<Rule> {
    let (by_rule, has_rule) = (chosen == Some(TYPES[1]), matches!(rule, Some(Some(_))));
    if f.kind != KINDS[1] {
        if by_rule || has_rule || said.is_some_and(|said| !said.is_empty()) {
            let say = "A group of domains has no rule and no servers. Make a group of hosts.";
            i.wrong("kind", "of_domains", say);
        }
        return None;
    }
    if let Some(rule) = rule {
        f.rule = rule;
    } else if chosen == Some(TYPES[0]) {
        f.rule = None;
    }
    if chosen.is_some_and(|chosen| chosen != f.type_name()) && !i.has_error("rule") {
        let say = match by_rule {
            true => "A dynamic group needs a rule.",
            false => "A static group has no rule.",
        };
        i.wrong("rule", "bad_rule", say);
    }
    if let (None, Some(mut said)) = (&f.rule, said) {
        said.sort_unstable();
        f.members = said.into_iter().map(Id::get).collect();
    }
    match parse(f.rule.as_ref()?) {
        Ok(rule) => Some(rule),
        Err(say) => {
            i.wrong("rule", "bad_rule", say);
            None
        }
    }
}
