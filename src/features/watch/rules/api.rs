//! The JSON API of alert rules.

use super::builtin::LEVELS;
use super::model;
use super::watches::{DISK_TREND, LOG, Watches};
use super::{Rule, queries, say};
use crate::access::Allowed;
use crate::access::right::{AlertRules, Edit, Read, may};
use crate::app::App;
use crate::base::clock::rfc3339;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::base::shape::described;
use crate::db::Conn;
use crate::features::fleet::groups;
use crate::form::Input;
use crate::http::reply::Reply;
use crate::http::request::Method::{Delete, Get, Patch, Post};
use crate::http::route::{Ctx, Route, route};
use crate::kinds::About;
use crate::lang::Lang;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Get, "/api/alert-rules", may(Read, AlertRules), list).gives::<Rules>(),
    route(Post, "/api/alert-rules", may(Edit, AlertRules), create)
        .takes(model::PARAMS)
        .creates::<View>(),
    route(Get, "/api/alert-rules/{id}", may(Read, AlertRules), show).gives::<View>(),
    route(Patch, "/api/alert-rules/{id}", may(Edit, AlertRules), change)
        .takes(model::PARAMS)
        .gives::<View>(),
    route(Delete, "/api/alert-rules/{id}", may(Edit, AlertRules), remove).gives_nothing(),
    route(Post, "/api/alert-rules/{id}/reset", may(Edit, AlertRules), reset)
        .takes(&[])
        .gives::<View>(),
];

/// Data of other tables for rules.
pub struct Around {
    firing: HashMap<i64, i64>,
    groups: HashMap<i64, String>,
}

impl Around {
    /// Reads them.
    pub fn read(conn: &Conn) -> Result<Around> {
        let groups = groups::all(conn)?.into_iter().map(|g| (g.id.get(), g.fields.name));
        Ok(Around {
            firing: queries::counts(conn)?.into_iter().collect(),
            groups: groups.collect(),
        })
    }

    /// Number of firing measurements of a rule; `None` for events, which the alerts count.
    pub fn firing(&self, rule: &Rule) -> Option<i64> {
        let is_figure = matches!(rule.fields.watches, Watches::Series(_));
        is_figure.then(|| self.firing.get(&rule.id.get()).copied().unwrap_or(0))
    }

    /// The rule as a sentence.
    pub fn sentence(&self, lang: Lang, rule: &Rule) -> String {
        say::sentence(lang, rule, |id| self.groups.get(&id).cloned())
    }
}

described! {
    /// All rules, and what they can watch.
    struct Rules {
        items: Vec<View>,
        total: usize,
        /// Names that a rule can watch.
        watches: Vec<&'static str>,
        levels: [&'static str; 4],
    }

    /// A rule in the API: for events without limits, and only with the narrowing of its kind.
    struct View {
        id: Id<id::Rule>,
        builtin: bool,
        /// A built-in one that was changed.
        changed: bool,
        name: String,
        watches: &'static str,
        /// Kind of its alerts.
        kind: &'static str,
        enabled: bool,
        level: &'static str,
        /// The rule as a sentence.
        sentence: String,
        /// Number of firing measurements.
        firing: Option<i64>,
        revision: i64,
        created_at: Option<String>,
        updated_at: Option<String>,
        /// What it is narrowed to; nothing: everything.
        scope: Option<Map<String, Value>>,
        /// Of servers: the tags, where the scope is nothing else.
        #[serde(skip_serializing_if = "Option::is_none")]
        tags: Option<Vec<String>>,
        /// Names with `*`, `project:NAME`, `exit:CODE`, each with `-` before it to leave it out.
        #[serde(skip_serializing_if = "Option::is_none")]
        containers: Option<String>,
        /// Words in a log that are counted.
        #[serde(skip_serializing_if = "Option::is_none")]
        words: Option<String>,
        /// Of domains: the groups, where the scope is nothing else.
        #[serde(skip_serializing_if = "Option::is_none")]
        groups: Option<Vec<i64>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        unit: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        direction: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        threshold: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        clear: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        for_s: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        mount: Option<String>,
    }
}

fn view(rule: &Rule, around: &Around) -> View {
    let (f, about) = (rule.fields.clone(), rule.fields.watches.about());
    let series = match f.watches {
        Watches::Series(series) => Some(series),
        _ => None,
    };
    View {
        id: rule.id,
        builtin: rule.builtin.is_some(),
        changed: rule.builtin.is_some() && rule.revision > 0,
        name: say::name(Lang::En, rule),
        watches: f.watches.name(),
        kind: f.watches.kind(),
        enabled: f.enabled,
        level: f.level,
        sentence: around.sentence(Lang::En, rule).replace('\u{a0}', " "),
        firing: around.firing(rule),
        revision: rule.revision,
        created_at: (rule.revision > 0).then(|| rfc3339(rule.created_at)),
        updated_at: (rule.revision > 0).then(|| rfc3339(rule.updated_at)),
        scope: f.scope.said().cloned(),
        tags: matches!(about, About::Server | About::Container).then(|| f.scope.tags().unwrap_or_default()),
        groups: (about == About::Domain).then(|| f.scope.groups().unwrap_or_default()),
        containers: (about == About::Container).then_some(f.containers),
        words: series.filter(|s| s.name == LOG).map(|_| f.words),
        unit: series.map(|s| s.unit.name()),
        direction: series.map(|_| if f.limit.below { "below" } else { "above" }),
        threshold: series.map(|_| f.limit.threshold),
        clear: series.filter(|s| s.name != LOG).map(|_| f.limit.clear),
        for_s: series.filter(|s| s.name != DISK_TREND).map(|_| f.limit.for_s),
        mount: series.filter(|s| s.is_of_disks()).map(|_| f.limit.mount),
    }
}

fn whole(conn: &Conn, id: Id<id::Rule>) -> Result<View> {
    Ok(view(&super::get(conn, id)?, &Around::read(conn)?))
}

/// All rules, without pages.
fn list(ctx: &Ctx) -> Result<Reply> {
    let items: Vec<_> = ctx.app.db.read(|conn| {
        let around = Around::read(conn)?;
        Ok(super::all(conn)?.iter().map(|rule| view(rule, &around)).collect())
    })?;
    Reply::json(&Rules {
        total: items.len(),
        items,
        watches: Watches::names(),
        levels: LEVELS,
    })
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "rule")?;
    Reply::json(&ctx.app.db.read(|conn| whole(conn, id))?)
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let id = add(ctx.app, ctx.input()?, ctx.allowed(Edit, AlertRules)?)?;
    Reply::created(
        format!("/api/alert-rules/{id}"),
        &ctx.app.db.read(|conn| whole(conn, id))?,
    )
}

/// Reads a draft and stores it. Error: invalid fields.
pub fn add(app: &App, input: Input, by: Allowed<Edit, AlertRules>) -> Result<Id<id::Rule>> {
    let valid = model::read_new(input)?;
    app.db.write(|tx| super::create(app, tx, &valid, by))
}

fn change(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "rule")?;
    save(ctx.app, id, ctx.input()?, ctx.allowed(Edit, AlertRules)?)?;
    Reply::json(&ctx.app.db.read(|conn| whole(conn, id))?)
}

/// Reads a draft over the stored rule and stores it, in one transaction. Error: invalid fields.
pub fn save(app: &App, id: Id<id::Rule>, input: Input, by: Allowed<Edit, AlertRules>) -> Result<()> {
    app.db.write(|tx| {
        let old = super::get(tx, id)?;
        let valid = model::read(input, old.fields.clone(), old.builtin.is_some())?;
        super::update(app, tx, &old, &valid, by)
    })
}

fn remove(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "rule")?;
    let by = ctx.allowed(Edit, AlertRules)?;
    ctx.app.db.write(|tx| super::delete(ctx.app, tx, id, by))?;
    Ok(Reply::status(204))
}

fn reset(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    let id = ctx.id(0, "rule")?;
    let by = ctx.allowed(Edit, AlertRules)?;
    let rule = ctx.app.db.write(|tx| {
        super::reset(ctx.app, tx, id, by)?;
        whole(tx, id)
    })?;
    Reply::json(&rule)
}
