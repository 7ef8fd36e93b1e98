//! The page of tokens: the user's own; for administrators everybody's. A new one is shown once, in the answer to its form.

use super::model;
use crate::access::api_token::Token;
use crate::access::right::{Edit, Read, Users, may};
use crate::access::scope::{self, Grant};
use crate::access::{Actor, Place, Right, Role};
use crate::base::clock::{self, DAY, Ms};
use crate::base::error::{Error, Result};
use crate::base::id::{ApiToken, Id};
use crate::form::Input;
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};
use crate::http::view::Errors;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Get, "/tokens", Right::SignedIn, list).query(super::api::LIST),
    route(Post, "/tokens", Right::SignedIn, create),
    route(Post, "/tokens/{id}/withdraw", Right::SignedIn, withdraw),
];

#[derive(Serialize)]
struct Row {
    id: i64,
    name: String,
    owner: String,
    power: Vec<String>,
    cidrs: Vec<String>,
    expires_at: Option<Ms>,
    expired: bool,
    used_at: Option<Ms>,
    used_ip: String,
    /// May the reader withdraw it?
    may_withdraw: bool,
}

/// Rights on one noun.
#[derive(Serialize)]
struct Noun {
    name: &'static str,
    rights: Vec<String>,
}

#[derive(Serialize)]
struct Content {
    all: bool,
    may_see_all: bool,
    items: Vec<Row>,
    roles: Vec<&'static str>,
    nouns: Vec<Noun>,
    groups: Vec<(i64, String)>,
    servers: Vec<(i64, String)>,
    /// The new token, with its name.
    made: Option<(String, String)>,
    /// Typed values of a refused form: fields and ticked rights.
    typed: Map<String, Value>,
    ticked: Vec<String>,
    errors: Errors,
}

fn list(ctx: &Ctx) -> Result<Reply> {
    show(ctx, None, &[], Errors::default())
}

fn show(ctx: &Ctx, made: Option<(String, String)>, form: &[(String, String)], errors: Errors) -> Result<Reply> {
    let by = ctx.actor()?;
    let all = ctx.request.param("all") == Some("1");
    let (tokens, groups, servers) = ctx.app.db.read(|conn| {
        let tokens = super::list(conn, all, by)?;
        Ok((tokens, scope::things(conn, "group")?, scope::things(conn, "server")?))
    })?;
    let may_withdraw_all = by.has(may(Edit, Users), &Place::Everywhere);
    let row = |t: Token| Row {
        id: t.id.get(),
        power: model::power(&t.power),
        expired: t.is_expired(clock::now()),
        may_withdraw: may_withdraw_all || t.owner.0 == by.user(),
        name: t.name,
        owner: t.owner.1,
        cidrs: t.cidrs,
        expires_at: t.expires_at,
        used_at: t.used_at,
        used_ip: t.used_ip,
    };
    let content = Content {
        all,
        may_see_all: by.has(may(Read, Users), &Place::Everywhere),
        items: tokens.into_iter().map(row).collect(),
        roles: roles(by),
        nouns: nouns(by),
        groups,
        servers,
        made,
        typed: form.iter().map(|(name, value)| (name.clone(), json!(value))).collect(),
        ticked: ticked(form),
        errors,
    };
    page::show(ctx, "tokens/list.html", content)
}

/// Roles with no more rights than the actor has.
fn roles(by: &Actor) -> Vec<&'static str> {
    let roles = model::ROLES.into_iter();
    roles
        .filter(|name| Role::parse(name).is_some_and(|role| role.is_within(by.role())))
        .collect()
}

fn nouns(by: &Actor) -> Vec<Noun> {
    let mut nouns: Vec<Noun> = Vec::new();
    for (verb, noun) in by.role().rights() {
        let right = format!("{}:{}", noun.name(), verb.name());
        match nouns.last_mut() {
            Some(last) if last.name == noun.name() => last.rights.push(right),
            _ => nouns.push(Noun {
                name: noun.name(),
                rights: vec![right],
            }),
        }
    }
    nouns
}

fn ticked(form: &[(String, String)]) -> Vec<String> {
    let rights = form.iter().filter(|(name, _)| name == "right");
    rights.map(|(_, right)| right.clone()).collect()
}

/// Translates the form for the API. A right that cannot be limited to the chosen group or server is an error.
fn draft(form: &[(String, String)]) -> Map<String, Value> {
    let typed = |name: &str| {
        form.iter()
            .find(|(n, _)| n == name)
            .map_or("", |(_, value)| value.trim())
    };
    let mut draft = Map::new();
    draft.insert("name".into(), json!(typed("name")));
    match typed("role") {
        "" => {
            let place = match typed("where") {
                "" => String::new(),
                place => format!("@{place}"),
            };
            let scopes: Vec<_> = ticked(form).into_iter().map(|right| right + &place).collect();
            draft.insert("scopes".into(), json!(scopes));
        }
        role => {
            draft.insert("role".into(), json!(role));
        }
    }
    let cidrs = typed("cidrs").split([',', ' ']).filter(|text| !text.is_empty());
    draft.insert("cidrs".into(), json!(cidrs.collect::<Vec<_>>()));
    if let Ok(days @ 1..=3_650) = typed("days").parse::<i64>() {
        draft.insert("expires_at".into(), json!(clock::rfc3339(clock::now() + days * DAY)));
    }
    draft
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let (form, by) = (ctx.request.form()?, ctx.actor()?);
    let minted = ctx.app.db.write(|tx| {
        let new = model::read(tx, Input::of(model::PARAMS, draft(&form)), by)?;
        let (_, token) = super::mint(ctx.app, tx, &new, by)?;
        Ok((new.name, token))
    });
    match minted {
        Ok(made) => show(ctx, Some(made), &[], Errors::default()),
        Err(e) if !e.fields.is_empty() => Ok(show(ctx, None, &form, refused(&form, &e))?.with_status(422)),
        Err(e) => Err(e),
    }
}

/// Names the ticked rights that cannot be limited to the chosen group or server.
fn refused(form: &[(String, String)], e: &Error) -> Errors {
    let is_placed = form.iter().any(|(name, value)| name == "where" && !value.is_empty());
    let is_right = |right: &String| Grant::parse(right).is_some();
    if is_placed && e.fields.iter().any(|f| f.code == "bad_scope") && ticked(form).iter().all(is_right) {
        return Errors::one("where", "not_there", &e.say);
    }
    Errors::of(e)
}

fn withdraw(ctx: &Ctx) -> Result<Reply> {
    let (id, by): (Id<ApiToken>, _) = (ctx.id(0, "token")?, ctx.actor()?);
    ctx.app.db.write(|tx| super::withdraw(ctx.app, tx, id, by))?;
    Ok(Reply::see_other("/tokens"))
}
