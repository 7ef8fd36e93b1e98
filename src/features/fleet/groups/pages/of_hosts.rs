//! The page of a group of hosts: its members, its rule, and the form that changes it.

use crate::access::right::{Edit, Groups, Read, Servers};
use crate::base::error::{Error, Field, Kind, Result};
use crate::base::id::{self, Id};
use crate::db::Conn;
use crate::features::fleet::groups::{self, Group, api, members, model};
use crate::features::fleet::{scope, servers};
use crate::form::Input;
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::route::Ctx;
use crate::http::view::Errors;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Members that the page names; the API names all.
const SHOWN_MAX: usize = 300;

/// The values of the form.
#[derive(Serialize)]
pub struct Form {
    name: String,
    notes: String,
    type_name: String,
    rule: String,
    /// Names, one a line.
    servers: String,
}

impl Form {
    /// Of a new group.
    pub fn fresh() -> Form {
        Form::typed(&[])
    }

    /// As it was sent.
    pub fn typed(pairs: &[(String, String)]) -> Form {
        let value = |name: &str| pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        Form {
            name: value("name").unwrap_or_default(),
            notes: value("notes").unwrap_or_default(),
            type_name: value("type").unwrap_or_else(|| model::TYPES[1].into()),
            rule: value("rule").unwrap_or_default(),
            servers: value("servers").unwrap_or_default(),
        }
    }

    fn of(group: &Group, members: &[(i64, String)]) -> Form {
        let f = &group.fields;
        let names: Vec<&str> = members.iter().map(|(_, name)| name.as_str()).collect();
        Form {
            name: f.name.clone(),
            notes: f.notes.clone(),
            type_name: f.type_name().into(),
            rule: f
                .rule
                .as_ref()
                .map(|rule| format!("{:#}", json!(rule)))
                .unwrap_or_default(),
            servers: if f.rule.is_none() {
                names.join("\n")
            } else {
                String::new()
            },
        }
    }
}

/// The form for the API: servers by name, and of a static group no rule. Error: a name that nobody has.
pub fn input(conn: &Conn, pairs: &[(String, String)]) -> Result<Input> {
    let value = |name: &str| pairs.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str());
    let mut draft = Map::new();
    for name in ["name", "notes", "type"] {
        draft.insert(name.into(), value(name).into());
    }
    draft.insert("kind".into(), model::KINDS[1].into());
    match value("type") == model::TYPES[1] {
        true => drop(draft.insert("rule".into(), value("rule").into())),
        false => {
            draft.insert("rule".into(), Value::Null);
            draft.insert("server_ids".into(), ids(conn, value("servers"))?);
        }
    }
    Ok(Input::of(model::PARAMS, draft))
}

fn ids(conn: &Conn, names: &str) -> Result<Value> {
    let mut ids = Vec::new();
    for name in names.lines().map(str::trim).filter(|name| !name.is_empty()) {
        match servers::by_name(conn, name)? {
            Some(id) => ids.push(id.get()),
            None => {
                return Err(Error::invalid(vec![Field {
                    field: "servers",
                    code: "unknown",
                    message: "One of these servers does not exist.".into(),
                }]));
            }
        }
    }
    Ok(json!(ids))
}

#[derive(Serialize)]
struct Show {
    group: Head,
    form: Form,
    fields: &'static [&'static str],
    members: Vec<(i64, String)>,
    total: usize,
    errors: Errors,
    delete: bool,
}

#[derive(Serialize)]
struct Head {
    id: i64,
    name: String,
    notes: String,
    type_name: &'static str,
    rule: String,
}

/// A group of domains is shown as its domains.
pub fn show(ctx: &Ctx) -> Result<Reply> {
    let id: Id<id::Group> = ctx.id(0, "group")?;
    page(ctx, id, None)
}

fn page(ctx: &Ctx, id: Id<id::Group>, refused: Option<(Form, Errors)>) -> Result<Reply> {
    let (group, mut named) = ctx.app.db.read(|conn| {
        let group = groups::get(conn, id)?;
        let named = servers::names(conn, &group.fields.members)?;
        Ok((group, named))
    })?;
    if group.fields.kind != model::KINDS[1] {
        return Ok(Reply::see_other(format!("/domains?group_id={id}")));
    }
    let (form, errors) = refused.unwrap_or_else(|| (Form::of(&group, &named), Errors::default()));
    let is_refused = !errors.is_empty();
    let total = named.len();
    named.truncate(SHOWN_MAX);
    let content = Show {
        form,
        errors,
        fields: &scope::FIELDS,
        members: named,
        total,
        delete: ctx.request.param("delete").is_some(),
        group: Head {
            id: id.get(),
            type_name: group.fields.type_name(),
            rule: group
                .fields
                .rule
                .as_ref()
                .map(|rule| scope::sentence(rule, true))
                .unwrap_or_default(),
            name: group.fields.name,
            notes: group.fields.notes,
        },
    };
    let reply = page::show(ctx, "groups/show.html", content)?;
    Ok(if is_refused { reply.with_status(422) } else { reply })
}

/// Changes a group of hosts by its form.
pub fn change(ctx: &Ctx, id: Id<id::Group>) -> Result<Reply> {
    let pairs = ctx.request.form()?;
    let by = ctx.allowed(Edit, Groups)?;
    let input = ctx.app.db.read(|conn| input(conn, &pairs));
    match input.and_then(|input| api::save(ctx.app, id, input, |group| group.fields.clone(), by)) {
        Ok(_) => Ok(Reply::see_other(format!("/groups/{id}"))),
        Err(e) if !e.fields.is_empty() && matches!(e.kind, Kind::Invalid | Kind::Conflict) => {
            page(ctx, id, Some((Form::typed(&pairs), Errors::of(&e))))
        }
        Err(e) => Err(e),
    }
}

/// Finds the members again.
pub fn recalculate(ctx: &Ctx) -> Result<Reply> {
    let id: Id<id::Group> = ctx.id(0, "group")?;
    ctx.allowed(Edit, Groups)?.also(Read, Servers)?;
    ctx.app.db.write(|tx| members::again(ctx.app, tx, id).map(drop))?;
    Ok(Reply::see_other(format!("/groups/{id}")))
}
