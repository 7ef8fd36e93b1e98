//! The pages of secrets. A value is on a page for half a minute, in the answer to the form that asked for it, and nowhere
//! else; a form that is refused comes back without what was secret in it.

use super::{Secret, Shown, Version, api, model, queries, refs};
use crate::access::right::{Edit, Read, Reveal, Secrets, may};
use crate::base::clock::{self, Ms, rfc3339};
use crate::base::error::{Error, Kind, Result};
use crate::base::id;
use crate::form::Input;
use crate::form::param::Param;
use crate::http::page::{self, query};
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, OFFSET, Route, route};
use crate::http::view::Errors;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/secrets", may(Read, Secrets), list).query(&[OFFSET]),
    route(Post, "/secrets", may(Edit, Secrets), create).query(&[OFFSET]),
    route(Get, "/secrets/{id}", may(Read, Secrets), show),
    route(Post, "/secrets/{id}", may(Edit, Secrets), change),
    route(Post, "/secrets/{id}/rotate", may(Edit, Secrets), rotate),
    route(Post, "/secrets/{id}/reveal", may(Reveal, Secrets), reveal),
    route(Post, "/secrets/{id}/forget", may(Edit, Secrets), forget),
    route(Get, "/secrets/{id}/delete", may(Edit, Secrets), ask_delete),
    route(Post, "/secrets/{id}/delete", may(Edit, Secrets), delete),
];

/// Secrets on one page.
const PAGE: i64 = 100;
const DAY_S: i64 = 86_400;
/// Fields that no form brings back.
const SECRET: [&str; 4] = ["value", "passphrase", "password", "totp"];

#[derive(Serialize)]
struct Row {
    id: i64,
    name: String,
    r#type: String,
    tags: Vec<String>,
    notes: String,
    state: &'static str,
    lamp: &'static str,
    expires_at: Option<Ms>,
    /// As the form takes it.
    expires: String,
    rotation_due_at: Option<Ms>,
    /// Every so many days.
    rotation_days: Option<i64>,
    /// Can the form say its interval?
    in_days: bool,
    rotated_at: Ms,
    version: i64,
    versions: i64,
    public_key: String,
    created_at: Ms,
    scope: Vec<String>,
    plan: &'static str,
    hours: String,
    lessees: Vec<String>,
    lease_kind: &'static str,
    lease_servers: Vec<i64>,
    lease_account: String,
    /// Longest lease in minutes.
    lease_max_min: i64,
    lease_rotates: bool,
    /// Number of places that have it.
    used: i64,
}

fn row(s: Secret, used: i64, now: Ms) -> Row {
    let state = s.state(now);
    let interval = s.fields.rotation_interval_s;
    Row {
        id: s.id.get(),
        state,
        lamp: match state {
            "ok" => "lit",
            "over" => "dark",
            _ => "flick",
        },
        expires: s.fields.expires_at.map(rfc3339).unwrap_or_default(),
        rotation_due_at: s.rotation_due_at(),
        rotation_days: interval.map(|i| i / DAY_S),
        in_days: interval.is_none_or(|i| i % DAY_S == 0),
        name: s.fields.name,
        r#type: s.fields.kind,
        tags: s.fields.tags,
        notes: s.fields.notes,
        scope: s.fields.scope,
        plan: s.fields.plan,
        hours: s.fields.hours,
        lessees: s.fields.lessees,
        lease_kind: s.fields.lease_kind,
        lease_servers: s.fields.lease_servers,
        lease_account: s.fields.lease_account,
        lease_max_min: s.fields.lease_max_s / 60,
        lease_rotates: s.fields.lease_rotates,
        used,
        expires_at: s.fields.expires_at,
        rotated_at: s.rotated_at,
        version: s.version,
        versions: s.versions,
        public_key: s.public_key,
        created_at: s.created_at,
    }
}

/// What was typed, without what is secret.
fn typed(form: &[(String, String)]) -> Map<String, Value> {
    let open = form.iter().filter(|(name, _)| !SECRET.contains(&name.as_str()));
    open.map(|(name, value)| (name.clone(), json!(value))).collect()
}

fn list(ctx: &Ctx) -> Result<Reply> {
    listed(ctx, &[], Errors::default())
}

fn listed(ctx: &Ctx, form: &[(String, String)], errors: Errors) -> Result<Reply> {
    let q = ctx.request.param("q").unwrap_or_default();
    let offset = ctx.number("offset")?;
    let ((rows, total), used) = ctx.app.db.read(|conn| {
        let rows = queries::list(conn, q, "", PAGE, offset)?;
        Ok((rows, refs::counts(ctx.app, conn)?))
    })?;
    let used = |id: i64| used.get(&id).copied().unwrap_or(0);
    let now = clock::now();
    let at = |offset: i64| query(&[("q", q), ("offset", &offset.to_string())]);
    let content = json!({
        "q": q,
        "items": rows.into_iter().map(|s| (used(s.id.get()), s)).map(|(n, s)| row(s, n, now)).collect::<Vec<_>>(),
        "total": total,
        "types": model::TYPES,
        "value_max": model::VALUE_MAX,
        "prev": (offset > 0).then(|| at((offset - PAGE).max(0))),
        "next": (offset + PAGE < total).then(|| at(offset + PAGE)),
        "typed": typed(form),
        "errors": errors,
    });
    page::show(ctx, "secrets/list.html", content)
}

#[derive(Serialize)]
struct VersionRow {
    number: i64,
    origin: String,
    made_by: String,
    made_at: Ms,
}

#[derive(Serialize)]
struct Content<'a> {
    s: Row,
    /// Name, field and page of each place that has it.
    uses: Vec<(String, &'static str, String)>,
    panels: Map<String, Value>,
    all: Vec<VersionRow>,
    /// Version, value and passphrase, for half a minute.
    shown: Option<(i64, &'a str, Option<&'a str>)>,
    shown_s: u32,
    value_max: usize,
    typed: Map<String, Value>,
    errors: Errors,
}

fn show(ctx: &Ctx) -> Result<Reply> {
    details(ctx, "secrets/show.html", None, &[], Errors::default())
}

fn details(
    ctx: &Ctx,
    template: &str,
    shown: Option<&Shown>,
    form: &[(String, String)],
    errors: Errors,
) -> Result<Reply> {
    let id = ctx.id(0, "secret")?;
    let (secret, all, uses) = ctx.app.db.read(|conn| {
        let uses = refs::uses(ctx.app, conn, id.get())?;
        Ok((super::get(conn, id)?, queries::versions(conn, id)?, uses))
    })?;
    let version = |v: Version| VersionRow {
        number: v.number,
        origin: v.origin,
        made_by: v.made_by,
        made_at: v.made_at,
    };
    let content = Content {
        s: row(secret, uses.len() as i64, clock::now()),
        uses: (uses.into_iter().map(|u| (u.name, u.column, u.page))).collect(),
        panels: ctx.panels(super::TARGET.name, id.get())?,
        all: all.into_iter().map(version).collect(),
        shown: shown.map(|s| {
            let passphrase = s.passphrase.as_ref();
            (
                s.version,
                s.value.reveal_text_for("a page for half a minute"),
                passphrase.map(|p| p.reveal_text_for("a page for half a minute")),
            )
        }),
        shown_s: super::SHOWN_S,
        value_max: model::VALUE_MAX,
        typed: typed(form),
        errors,
    };
    page::show(ctx, template, content)
}

/// Translates a form for the API: what is empty is not sent, except what `clears` names; days are seconds.
fn draft(form: &[(String, String)], params: &'static [Param], clears: &[&str]) -> Input {
    let mut draft = Map::new();
    for (name, value) in form {
        // A browser sends the line ends of mail.
        let value = value.replace("\r\n", "\n");
        let value = match SECRET.contains(&name.as_str()) {
            true => value.as_str(),
            false => value.trim(),
        };
        match name.as_str() {
            "csrf" => {}
            "scope" | "lessees" | "lease_servers" => {
                let words = value.split([',', ' ']).filter(|word| !word.is_empty());
                draft.insert(name.clone(), words.collect());
            }
            "tags" => {
                let tags = value.split(',').map(str::trim).filter(|tag| !tag.is_empty());
                draft.insert("tags".into(), tags.collect());
            }
            "rotation_days" => {
                let seconds = match value.parse::<i64>() {
                    Ok(days) => json!(days.saturating_mul(DAY_S)),
                    Err(_) if value.is_empty() => Value::Null,
                    Err(_) => json!(value),
                };
                draft.insert("rotation_interval_s".into(), seconds);
            }
            "lease_max_min" => {
                let seconds = value.parse::<i64>().map(|n| n.saturating_mul(60));
                draft.insert("lease_max_s".into(), seconds.map_or(json!(value), Value::from));
            }
            name if value.is_empty() && !clears.contains(&name) => {}
            name => drop(draft.insert(name.into(), json!(value))),
        }
    }
    Input::of(params, draft)
}

/// Does the page with the form say what is wrong?
fn is_about_fields(e: &Error) -> bool {
    !e.fields.is_empty() && e.kind == Kind::Invalid
}

/// Back to the page of the secret, or the page with the mistakes.
fn back(ctx: &Ctx, form: &[(String, String)], done: Result<Secret>) -> Result<Reply> {
    match done {
        Ok(secret) => Ok(Reply::see_other(format!("/secrets/{}", secret.id))),
        Err(e) if is_about_fields(&e) => {
            Ok(details(ctx, "secrets/show.html", None, form, Errors::of(&e))?.with_status(422))
        }
        Err(e) => Err(e),
    }
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let form = ctx.request.form()?;
    match api::add(ctx, draft(&form, model::PARAMS, &[])) {
        Ok(secret) => Ok(Reply::see_other(format!("/secrets/{}", secret.id))),
        Err(e) if is_about_fields(&e) => Ok(listed(ctx, &form, Errors::of(&e))?.with_status(422)),
        Err(e) => Err(e),
    }
}

fn change(ctx: &Ctx) -> Result<Reply> {
    let form = ctx.request.form()?;
    back(
        ctx,
        &form,
        api::save(
            ctx,
            draft(&form, model::PARAMS, &["notes", "expires_at", "hours", "lease_account"]),
        ),
    )
}

fn rotate(ctx: &Ctx) -> Result<Reply> {
    let form = ctx.request.form()?;
    back(ctx, &form, api::renew(ctx, draft(&form, model::ROTATE, &[])))
}

fn reveal(ctx: &Ctx) -> Result<Reply> {
    let form = ctx.request.form()?;
    let errors = match api::open(ctx, draft(&form, api::REVEAL, &[])) {
        Ok(shown) => {
            let page = details(ctx, "secrets/show.html", Some(&shown), &[], Errors::default())?;
            let away = format!(
                "{}; url=/secrets/{}",
                super::SHOWN_S,
                ctx.id::<id::Secret>(0, "secret")?
            );
            return Ok(page.header("Refresh", away));
        }
        Err(e) if e.code == "wrong_confirmation" => Errors::one("password", e.code, &e.say),
        Err(e) if is_about_fields(&e) => Errors::of(&e),
        Err(e) => return Err(e),
    };
    Ok(details(ctx, "secrets/show.html", None, &form, errors)?.with_status(422))
}

fn forget(ctx: &Ctx) -> Result<Reply> {
    api::forget(ctx)?;
    Ok(Reply::see_other(format!(
        "/secrets/{}",
        ctx.id::<id::Secret>(0, "secret")?
    )))
}

fn ask_delete(ctx: &Ctx) -> Result<Reply> {
    details(ctx, "secrets/delete.html", None, &[], Errors::default())
}

/// Needs the secret's name typed: its values go, too.
fn delete(ctx: &Ctx) -> Result<Reply> {
    let (id, by) = (ctx.id(0, "secret")?, ctx.allowed(Edit, Secrets)?);
    let form = ctx.request.form()?;
    let typed = form.iter().find(|(name, _)| name == "confirm");
    let typed = typed.map_or("", |(_, value)| value.trim());
    let deleted = ctx.app.db.write(|tx| {
        if super::get(tx, id)?.fields.name != typed {
            return Ok(false);
        }
        super::delete(ctx.app, tx, id, by)?;
        Ok(true)
    })?;
    match deleted {
        true => Ok(Reply::see_other("/secrets")),
        false => {
            let errors = Errors::one("confirm", "unconfirmed", "This is not its name. Nothing was deleted.");
            Ok(details(ctx, "secrets/delete.html", None, &form, errors)?.with_status(422))
        }
    }
}
