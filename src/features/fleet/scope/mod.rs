//! Which things are meant, said in the one language of rules ([`crate::rule`]): the members of groups of hosts, and the
//! scope of alert rules, silences, notifications and whatever else is narrowed. A scope asks for the servers that a thing
//! stands on; where these are several, it has to hold for each of them. Of a thing that stands on no server only its groups
//! are known.

mod known;
mod queries;

use crate::app::App;
use crate::base::clock::{self, Ms};
use crate::base::error::Result;
use crate::base::log;
use crate::db::Conn;
use crate::features::fleet::latest;
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::kinds::Related;
use crate::rule::Rule;
use known::{Figures, GROUPS, Known, Needs, fact, is_field};
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};

pub use known::FIELDS;

/// Reads the rule of a group of hosts. Error: a sentence with the mistake.
pub fn parse(rule: &Map<String, Value>) -> std::result::Result<Rule, String> {
    Rule::parse(rule, &is_field)
}

/// Hosts for which the rule holds, by name. `only` looks at a single one.
pub fn matching(app: &App, conn: &Conn, rule: &Rule, only: Option<i64>) -> Result<Vec<(i64, String)>> {
    let (needs, now) = (Needs::of(rule), clock::now());
    let figures = figures(app, &needs, only)?;
    let mut found = Vec::new();
    queries::each_known(conn, &needs, only, |host| {
        if rule.holds(&|field: &str| fact(&host, figures.get(&host.id), now, field)) {
            found.push((host.id, host.name));
        }
    })?;
    Ok(found)
}

/// Of every server that was polled, or of one; nothing where no rule asks.
fn figures(app: &App, needs: &Needs, only: Option<i64>) -> Result<HashMap<i64, Figures>> {
    let mut all = HashMap::new();
    if needs.asks_figures() {
        latest::samples(&app.metrics, only, |server, sample| {
            all.insert(server, serde_json::from_str(sample).unwrap_or_default());
        })?;
    }
    Ok(all)
}

/// Which things are meant; the default is all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scope {
    said: Map<String, Value>,
    rule: Option<Rule>,
}

/// The field of a draft with a scope.
pub const SCOPE: Param = param::object(
    "scope",
    "Only about these: a rule as groups of hosts have one, about the servers it stands on; also by `groups`, ids of groups.",
);

impl Scope {
    /// Reads a scope; an empty object, or none, means everything. Error: a sentence with the mistake.
    pub fn parse(said: Option<Map<String, Value>>) -> std::result::Result<Scope, String> {
        let said = said.unwrap_or_default();
        let is_field = |name: &str| name == GROUPS || is_field(name);
        let rule = (!said.is_empty()).then(|| Rule::parse(&said, &is_field)).transpose()?;
        Ok(Scope { said, rule })
    }

    /// Reads a stored scope; one that this version does not understand means nothing at all.
    pub fn stored(text: &str) -> Scope {
        if text.is_empty() {
            return Scope::default();
        }
        let read = serde_json::from_str(text).map_err(|e| e.to_string());
        read.and_then(Scope::parse).unwrap_or_else(|e| {
            log::warning("scope", "a stored scope cannot be read", &[("error", &e)]);
            Scope {
                said: Map::new(),
                rule: Some(Rule::Any(Vec::new())),
            }
        })
    }

    /// What stands on servers with one of these tags; none: everything.
    pub fn tagged(tags: &[String]) -> Scope {
        Scope::one_of("tags", json!(tags), tags.is_empty())
    }

    /// What is in one of these groups; none: everything.
    pub fn in_groups(ids: &[i64]) -> Scope {
        Scope::one_of(GROUPS, json!(ids), ids.is_empty())
    }

    fn one_of(field: &str, values: Value, is_empty: bool) -> Scope {
        let said = match json!({ "field": field, "op": "in", "value": values }) {
            Value::Object(said) if !is_empty => Some(said),
            _ => None,
        };
        Scope::parse(said).unwrap_or_default()
    }

    /// The tags of [`Scope::tagged`]; `None`: it is another scope. Everything has no tags.
    pub fn tags(&self) -> Option<Vec<String>> {
        self.values_of("tags", |value| value.as_str().map(String::from))
    }

    /// The groups of [`Scope::in_groups`]; `None`: it is another scope. Everything has no groups.
    pub fn groups(&self) -> Option<Vec<i64>> {
        self.values_of(GROUPS, Value::as_i64)
    }

    fn values_of<T>(&self, field: &str, read: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
        if self.is_everything() {
            return Some(Vec::new());
        }
        match (self.said.get("field")?, self.said.get("op")?, self.said.get("value")?) {
            (Value::String(name), Value::String(op), Value::Array(all)) if name == field && op == "in" => {
                all.iter().map(read).collect()
            }
            _ => None,
        }
    }

    /// Is nothing left out?
    pub fn is_everything(&self) -> bool {
        self.rule.is_none()
    }

    /// As it was said; `None`: everything.
    pub fn said(&self) -> Option<&Map<String, Value>> {
        (!self.is_everything()).then_some(&self.said)
    }

    /// In short, for people, in no language: `tags contains web & disk > 90`; empty: everything.
    pub fn sentence(&self) -> String {
        match self.said() {
            Some(said) => sentence(said, true),
            None => String::new(),
        }
    }

    /// As it stands in a form.
    pub fn form_text(&self) -> String {
        self.said().map(|said| format!("{:#}", json!(said))).unwrap_or_default()
    }

    /// As stored.
    pub fn text(&self) -> String {
        match self.is_everything() {
            true => String::new(),
            false => json!(self.said).to_string(),
        }
    }

    /// May it hold for other things after a while, though nobody has changed anything?
    pub fn is_live(&self) -> bool {
        self.rule.as_ref().is_some_and(|rule| Needs::of(rule).is_live())
    }

    /// The servers that it holds for; `None`: for all.
    pub fn servers(&self, app: &App, conn: &Conn) -> Result<Option<HashSet<i64>>> {
        let Some(rule) = &self.rule else { return Ok(None) };
        let found = matching(app, conn, rule, None)?;
        Ok(Some(found.into_iter().map(|(id, _)| id).collect()))
    }

    /// Is a thing meant that stands on these, is in these and is these?
    pub fn covers(&self, app: &App, conn: &Conn, related: &[Related]) -> Result<bool> {
        let Some(rule) = &self.rule else { return Ok(true) };
        let of = |kind: &'static str| related.iter().filter(move |r| r.kind == kind).map(|r| r.id);
        let groups: Vec<String> = of("group").map(|id| id.to_string()).collect();
        let (needs, now) = (Needs::of(rule), clock::now());
        let mut servers = of("server").peekable();
        if servers.peek().is_none() {
            return Ok(rule.holds(&|field: &str| match field {
                GROUPS => Some(crate::rule::Fact::List(&groups)),
                _ => None,
            }));
        }
        for id in servers {
            if !holds_for(app, conn, (rule, &needs), (id, &groups), now)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A rule that was read, in short.
pub fn sentence(rule: &Map<String, Value>, is_outer: bool) -> String {
    let below = |value: &Value| value.as_object().map(|rule| sentence(rule, false)).unwrap_or_default();
    let joined = |all: &Value, by: &str| {
        let all: Vec<String> = all.as_array().into_iter().flatten().map(below).collect();
        match is_outer || all.len() == 1 {
            true => all.join(by),
            false => format!("({})", all.join(by)),
        }
    };
    if let Some(all) = rule.get("all") {
        return joined(all, " & ");
    }
    if let Some(any) = rule.get("any") {
        return joined(any, " | ");
    }
    if let Some(not) = rule.get("not") {
        return format!(
            "!({})",
            not.as_object().map(|rule| sentence(rule, true)).unwrap_or_default()
        );
    }
    let word = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default();
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    let value = match rule.get("value") {
        Some(Value::Array(all)) => all.iter().map(plain).collect::<Vec<_>>().join(", "),
        Some(Value::Null) | None => String::new(),
        Some(value) => plain(value),
    };
    let op = match word("op") {
        "eq" => "=",
        "ne" => "≠",
        "lt" => "<",
        "gt" => ">",
        other => other,
    };
    format!("{} {op} {value}", word("field")).trim_end().to_string()
}

/// Does a rule hold for what stands on a server and is in these groups? For none that is gone.
fn holds_for(
    app: &App,
    conn: &Conn,
    (rule, needs): (&Rule, &Needs),
    (id, groups): (i64, &[String]),
    now: Ms,
) -> Result<bool> {
    let figures = figures(app, needs, Some(id))?;
    let mut holds = false;
    queries::each_known(conn, needs, Some(id), |mut host: Known| {
        host.groups.extend_from_slice(groups);
        holds = rule.holds(&|field: &str| fact(&host, figures.get(&id), now, field));
    })?;
    Ok(holds)
}

/// Reads the scope of a draft, or what stands for one: `tags`, or ids of groups. `None`: nothing of it was sent. What is sent
/// back as it stands in `old` is no change; two changes at once contradict each other.
pub fn read(
    i: &mut Input,
    old: &Scope,
    tags: Option<(&'static str, Vec<String>)>,
    groups: Option<Vec<i64>>,
) -> Option<Scope> {
    let said = match i.object("scope").map(Scope::parse) {
        Some(Err(say)) => {
            i.wrong("scope", "bad_rule", say);
            return None;
        }
        Some(Ok(scope)) => Some(scope),
        None => None,
    };
    let short = match (tags, groups) {
        (Some((field, tags)), _) => Some((field, Scope::tagged(&tags), old.tags() == Some(tags))),
        (None, Some(groups)) => Some((GROUPS, Scope::in_groups(&groups), old.groups() == Some(groups))),
        (None, None) => None,
    };
    let short = short.filter(|(_, scope, is_same)| !(*is_same || scope.is_everything() && said.is_some()));
    match (said.filter(|scope| scope != old), short) {
        (Some(said), Some((field, short, _))) if said != short => {
            i.wrong(field, "two_scopes", "Give either this or a scope, not both.");
            None
        }
        (Some(said), _) => Some(said),
        (None, Some((_, short, _))) => Some(short),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_groups_are_short_words_for_scopes() {
        let tags = vec!["web".to_string(), "db".to_string()];
        let tagged = Scope::tagged(&tags);
        assert_eq!((tagged.tags(), tagged.groups()), (Some(tags), None));
        assert_eq!(Scope::stored(&tagged.text()), tagged);
        let groups = Scope::in_groups(&[7]);
        assert_eq!((groups.tags(), groups.groups()), (None, Some(vec![7])));
        let all = Scope::default();
        assert!(all.is_everything() && all.text().is_empty() && Scope::tagged(&[]) == all);
        assert_eq!((all.tags(), all.groups()), (Some(vec![]), Some(vec![])));
        assert!(!Scope::stored("{\"field\":\"no such\"}").is_everything());
        assert!(parse(groups.said().unwrap()).is_err(), "a group is not found by groups");
    }

    #[test]
    fn of_a_draft_one_scope_is_read() {
        const PARAMS: &[Param] = &[SCOPE, param::list("tags", 9, 64, "x")];
        let draft = |body: Value, old: &Scope| {
            let mut input = Input::of(PARAMS, body.as_object().unwrap().clone());
            let tags = input.list("tags").map(|tags| ("tags", tags));
            let scope = read(&mut input, old, tags, None);
            (scope, input.has_error("tags") || input.has_error("scope"))
        };
        let (all, web) = (Scope::default(), Scope::tagged(&["web".into()]));
        let prod = json!({ "field": "environment", "op": "eq", "value": "prod" });
        let is_prod = Scope::parse(prod.as_object().cloned()).unwrap();
        assert_eq!(draft(json!({}), &web), (None, false));
        assert_eq!(draft(json!({ "tags": ["web"] }), &all), (Some(web.clone()), false));
        assert_eq!(draft(json!({ "tags": [] }), &web), (Some(all.clone()), false));
        assert_eq!(
            draft(json!({ "scope": null, "tags": [] }), &web),
            (Some(all.clone()), false)
        );
        // Sent back as it stands.
        assert_eq!(
            draft(json!({ "scope": web.said(), "tags": ["web"] }), &web),
            (None, false)
        );
        assert_eq!(draft(json!({ "scope": prod, "tags": [] }), &is_prod), (None, false));
        // One of the two was changed.
        assert_eq!(
            draft(json!({ "scope": prod, "tags": ["web"] }), &web),
            (Some(is_prod.clone()), false)
        );
        assert_eq!(
            draft(json!({ "scope": prod, "tags": [] }), &all),
            (Some(is_prod.clone()), false)
        );
        assert_eq!(
            draft(json!({ "scope": web.said(), "tags": ["db"] }), &web)
                .0
                .unwrap()
                .tags()
                .unwrap(),
            ["db"]
        );
        assert_eq!(draft(json!({ "scope": prod, "tags": ["db"] }), &web), (None, true));
        assert_eq!(draft(json!({ "scope": { "field": "no such" } }), &web), (None, true));
    }
}
