//! The rules' JSON API.

use super::model::{self, About, LEVELS, Watches};
use super::{Rule, queries, say};
use crate::access::Allowed;
use crate::access::right::{AlertRules, Edit, Read, may};
use crate::app::App;
use crate::base::clock::rfc3339;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::db::Conn;
use crate::features::fleet::groups;
use crate::form::Input;
use crate::http::reply::Reply;
use crate::http::request::Method::{Delete, Get, Patch, Post};
use crate::http::route::{Ctx, Route, route};
use crate::lang::Lang;
use serde_json::{Value, json};
use std::collections::HashMap;

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Get, "/api/alert-rules", may(Read, AlertRules), list),
    route(Post, "/api/alert-rules", may(Edit, AlertRules), create),
    route(Get, "/api/alert-rules/{id}", may(Read, AlertRules), show),
    route(Patch, "/api/alert-rules/{id}", may(Edit, AlertRules), change),
    route(Delete, "/api/alert-rules/{id}", may(Edit, AlertRules), remove),
    route(Post, "/api/alert-rules/{id}/reset", may(Edit, AlertRules), reset),
];

/// What the rules' own tables do not say of them.
pub struct Around {
    firing: HashMap<i64, i64>,
    groups: HashMap<i64, String>,
}

impl Around {
    /// As it is now.
    pub fn read(conn: &Conn) -> Result<Around> {
        let groups = groups::of_domains(conn)?
            .into_iter()
            .map(|g| (g.id.get(), g.fields.name));
        Ok(Around {
            firing: queries::counts(conn)?.into_iter().collect(),
            groups: groups.collect(),
        })
    }

    /// How much fires by a rule of a figure; of an event the alerts know.
    pub fn firing(&self, rule: &Rule) -> Option<i64> {
        let is_figure = matches!(rule.fields.watches, Watches::Series(_));
        is_figure.then(|| self.firing.get(&rule.id.get()).copied().unwrap_or(0))
    }

    /// The rule in words.
    pub fn sentence(&self, lang: Lang, rule: &Rule) -> String {
        say::sentence(lang, rule, |id| self.groups.get(&id).cloned())
    }
}

/// A rule as the API shows it: of an event it says no limits, and only what its kind can be narrowed by.
fn view(rule: &Rule, around: &Around) -> Value {
    let f = &rule.fields;
    let mut out = json!({
        "id": rule.id,
        "builtin": rule.builtin.is_some(),
        "changed": rule.builtin.is_some() && rule.revision > 0,
        "name": say::name(Lang::En, rule),
        "watches": f.watches.name(),
        "kind": f.watches.kind(),
        "enabled": f.enabled,
        "level": f.level,
        "sentence": around.sentence(Lang::En, rule).replace('\u{a0}', " "),
        "firing": around.firing(rule),
        "revision": rule.revision,
        "created_at": (rule.revision > 0).then(|| rfc3339(rule.created_at)),
        "updated_at": (rule.revision > 0).then(|| rfc3339(rule.updated_at)),
    });
    match f.watches.about() {
        About::Server => out["tags"] = json!(f.tags),
        About::Domain => out["groups"] = json!(f.groups),
        About::Other => {}
    }
    if let Watches::Series(series) = f.watches {
        out["unit"] = json!(series.unit.name());
        out["direction"] = json!(if f.limit.below { "below" } else { "above" });
        out["threshold"] = json!(f.limit.threshold);
        out["clear"] = json!(f.limit.clear);
        if series.key != model::DISK_TREND {
            out["for_s"] = json!(f.limit.for_s);
        }
        if series.is_of_disks() {
            out["mount"] = json!(f.limit.mount);
        }
    }
    out
}

fn whole(conn: &Conn, id: Id<id::Rule>) -> Result<Value> {
    Ok(view(&super::get(conn, id)?, &Around::read(conn)?))
}

/// All at once: they are few.
fn list(ctx: &Ctx) -> Result<Reply> {
    let items: Vec<_> = ctx.app.db.read(|conn| {
        let around = Around::read(conn)?;
        Ok(super::all(conn)?.iter().map(|rule| view(rule, &around)).collect())
    })?;
    Reply::json(&json!({ "total": items.len(), "items": items, "watches": Watches::names(), "levels": LEVELS }))
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "rule")?;
    Reply::json(&ctx.app.db.read(|conn| whole(conn, id))?)
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let id = add(ctx.app, ctx.request.input()?, ctx.allowed(Edit, AlertRules)?)?;
    Reply::created(
        format!("/api/alert-rules/{id}"),
        &ctx.app.db.read(|conn| whole(conn, id))?,
    )
}

/// Reads a draft and stores it.
pub fn add(app: &App, input: Input, by: Allowed<Edit, AlertRules>) -> Result<Id<id::Rule>> {
    let valid = model::read_new(input)?;
    app.db.write(|tx| super::create(app, tx, &valid, by))
}

fn change(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "rule")?;
    save(ctx.app, id, ctx.request.input()?, ctx.allowed(Edit, AlertRules)?)?;
    Reply::json(&ctx.app.db.read(|conn| whole(conn, id))?)
}

/// Reads a draft over the rule as it is and stores it, in one transaction: nobody can come in between.
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
    ctx.request.input()?.finish(&[])?;
    let id = ctx.id(0, "rule")?;
    let by = ctx.allowed(Edit, AlertRules)?;
    let rule = ctx.app.db.write(|tx| {
        super::reset(ctx.app, tx, id, by)?;
        whole(tx, id)
    })?;
    Reply::json(&rule)
}
