//! Members of groups of hosts: said one by one, or found by a rule. What a rule finds is stored, and found again when a
//! server changes, when the rule does, and every five minutes, because figures and facts change by themselves.

use super::model::KINDS;
use super::queries;
use crate::app::App;
use crate::base::clock::Duration;
use crate::base::error::{Error, Field, Kind, Result};
use crate::base::id::{self, Id};
use crate::base::log;
use crate::db::Tx;
use crate::events::outbox::Event;
use crate::features::fleet::scope::{matching, parse};
use crate::rule::Rule;
use crate::schedule::{Periodic, Work};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

pub const PERIODIC: &[Periodic] = &[Periodic {
    name: "groups.recalculate",
    every: Duration::from_secs(300),
    run: Work::Short(recalculate_all),
}];

/// What a recalculation has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Servers that came in.
    pub added: Vec<i64>,
    /// Servers that went out.
    pub removed: Vec<i64>,
    /// Members now.
    pub total: i64,
}

/// Stores the members of a group: those said, or those that its rule finds. Error: one of those said does not exist.
pub fn store(app: &App, tx: &Tx, id: Id<id::Group>, rule: Option<&Rule>, said: &[i64]) -> Result<Change> {
    let before: BTreeSet<i64> = queries::members(tx, id)?.into_iter().collect();
    let now: BTreeSet<i64> = match rule {
        Some(rule) => matching(app, tx, rule, None)?.into_iter().map(|(id, _)| id).collect(),
        None => said.iter().copied().collect(),
    };
    let change = Change {
        added: now.difference(&before).copied().collect(),
        removed: before.difference(&now).copied().collect(),
        total: now.len() as i64,
    };
    queries::remove_members(tx, id, &change.removed)?;
    if queries::add_members(tx, id, &change.added)? != change.added.len() {
        return Err(Error::invalid(vec![Field {
            field: "server_ids",
            code: "unknown",
            message: "One of these servers does not exist.".into(),
        }]));
    }
    Ok(change)
}

/// Finds the members of a group of hosts again. Error: it is of domains, or its rule cannot be read.
pub fn again(app: &App, tx: &Tx, id: Id<id::Group>) -> Result<Change> {
    let group = super::get(tx, id)?;
    if group.fields.kind != KINDS[1] {
        let say = "This is a group of domains: it has no rule, and nothing to recalculate.";
        return Err(Error::new(Kind::Conflict, "group_of_domains", say));
    }
    let rule = group.fields.rule.as_ref().map(parse).transpose();
    let rule = rule.map_err(|say| Error::new(Kind::Conflict, "group_rule_unreadable", say))?;
    store(app, tx, id, rule.as_ref(), &group.fields.members)
}

/// Reads a stored rule; one that this version does not understand finds nobody new and loses nobody.
fn stored(id: i64, rule: &str) -> Option<Rule> {
    let read = serde_json::from_str::<Map<String, Value>>(rule).map_err(|e| e.to_string());
    match read.and_then(|rule| parse(&rule)) {
        Ok(rule) => Some(rule),
        Err(e) => {
            let fields = [("group", &*id.to_string()), ("error", &*e)];
            log::warning("groups", "a stored rule cannot be read", &fields);
            None
        }
    }
}

fn recalculate_all(app: &App) -> Result<()> {
    for (id, rule) in app.db.read(queries::rules)? {
        let Some(rule) = stored(id, &rule) else { continue };
        app.db.write(|tx| match queries::get(tx, Id::new(id))? {
            Some(_) => store(app, tx, Id::new(id), Some(&rule), &[]).map(drop),
            None => Ok(()), // deleted meanwhile
        })?;
    }
    Ok(())
}

/// A server that is new or was changed is looked at by every rule.
pub fn react(app: &App, tx: &Tx, event: &Event) -> Result<()> {
    if !["server.created", "server.changed", "host.facts_changed"].contains(&event.kind.as_str()) {
        return Ok(());
    }
    let server = event.target_id;
    for (id, rule) in queries::rules(tx)? {
        let Some(rule) = stored(id, &rule) else { continue };
        match matching(app, tx, &rule, Some(server))?.is_empty() {
            true => queries::remove_members(tx, Id::new(id), &[server])?,
            false => queries::add_members(tx, Id::new(id), &[server]).map(drop)?,
        }
    }
    Ok(())
}
