//! The form of a server: a new one, a changed one. What is refused comes back with what was typed, except secrets.

use crate::access::right::{Edit, Run, Servers};
use crate::base::error::{Error, Kind, Result};
use crate::features::fleet::servers::model::{self, Fields};
use crate::features::fleet::servers::secrets::REFERENCES;
use crate::features::fleet::servers::{self, Server, api, tasks};
use crate::features::house::secrets::{self, Refers};
use crate::form::Input;
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::route::Ctx;
use crate::http::view::Errors;
use serde::Serialize;
use std::collections::HashMap;

/// The form as typed or as stored. Secrets never come back.
#[derive(Default, Serialize)]
struct Form {
    id: Option<i64>,
    /// Name before editing.
    was: String,
    has: Stored,
    /// Fields that refer to a secret, and its number.
    #[serde(skip)]
    refs: Refers,
    values: HashMap<String, String>,
}

#[derive(Default, Serialize)]
struct Stored {
    password: bool,
    ssh_key: bool,
    ssh_key_passphrase: bool,
    glances_password: bool,
    glances_token: bool,
}

const SECRET_FIELDS: [&str; 5] = servers::secrets::SECRETS;

/// What a form shows for these fields.
fn values(f: &Fields) -> HashMap<String, String> {
    [
        ("name", f.name.clone()),
        ("host", f.host.clone()),
        ("ssh_port", f.ssh_port.to_string()),
        ("username", f.username.clone()),
        ("auth_type", f.auth_type.name().to_string()),
        ("description", f.description.clone()),
        ("tags", f.tags.join(", ")),
        ("public_ips", f.public_ips.join(", ")),
        ("glances_scheme", f.glances_scheme.to_string()),
        ("glances_host", f.glances_host.clone()),
        ("glances_port", f.glances_port.to_string()),
        ("glances_path", f.glances_path.clone()),
        ("glances_auth_type", f.glances_auth_type.to_string()),
        ("glances_username", f.glances_username.clone()),
        ("glances_tls_pin", f.glances_tls_pin.clone()),
        ("glances_allow", f.glances_allow.join(", ")),
        ("glances_bind", f.glances_bind.clone()),
        ("packages", f.packages.to_string()),
        ("environment", f.environment.clone()),
        ("os_type", f.os_type.clone()),
        ("check_method", f.check_method.to_string()),
        ("poll_interval_s", f.poll_interval_s.to_string()),
        ("containers", f.containers.to_string()),
        ("host_key", String::new()),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .into()
}

/// The form of a new server.
fn blank(ctx: &Ctx) -> Result<Form> {
    Ok(Form {
        values: values(&ctx.app.db.read(servers::fresh)?),
        ..Form::default()
    })
}

fn form_of(s: &Server) -> Form {
    Form {
        id: Some(s.id.get()),
        was: s.fields.name.clone(),
        has: Stored {
            password: s.has.password,
            ssh_key: s.has.ssh_key,
            ssh_key_passphrase: s.has.ssh_key_passphrase,
            glances_password: s.has.glances_password,
            glances_token: s.has.glances_token,
        },
        refs: s.secret_ids(),
        values: values(&s.fields),
    }
}

/// Where the secrets of a form go.
fn place(id: Option<i64>) -> (&'static str, &'static str, Option<i64>) {
    ("servers", "server", id)
}

fn form_page(ctx: &Ctx, form: Form, typed: &[(String, String)], errors: Errors) -> Result<Reply> {
    let picks = secrets::offered(ctx, place(form.id), REFERENCES, &form.refs, typed)?;
    page::show(
        ctx,
        "servers/form.html",
        serde_json::json!({ "picks": picks, "form": form, "errors": errors }),
    )
}

pub fn new(ctx: &Ctx) -> Result<Reply> {
    form_page(ctx, blank(ctx)?, &[], Errors::default())
}

pub fn edit(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    let server = ctx.app.db.read(|conn| servers::get(conn, id))?;
    form_page(ctx, form_of(&server), &[], Errors::default())
}

/// The form as API input: lists split at commas and spaces, empty secrets left out. `refs`: what refers to a secret now.
fn input(pairs: &[(String, String)], refs: &Refers) -> Input {
    let mut object = serde_json::Map::new();
    for (name, value) in pairs {
        let value = match name.as_str() {
            "csrf" | "then" => continue,
            choice if secrets::is_choice(choice) => continue,
            secret if SECRET_FIELDS.contains(&secret) && value.is_empty() => continue,
            "tags" | "public_ips" => value.split([',', ' ']).filter(|t| !t.is_empty()).collect(),
            _ => serde_json::Value::from(value.as_str()),
        };
        object.insert(name.clone(), value);
    }
    secrets::choose(pairs, REFERENCES, refs, &mut object);
    Input::of(model::PARAMS, object)
}

/// The form with its mistakes, or the error itself if it is not about fields.
fn again(ctx: &Ctx, mut form: Form, pairs: Vec<(String, String)>, error: Error) -> Result<Reply> {
    if error.fields.is_empty() || !matches!(error.kind, Kind::Invalid | Kind::Conflict) {
        return Err(error);
    }
    let open = pairs.iter().filter(|(name, _)| !SECRET_FIELDS.contains(&name.as_str()));
    form.values.extend(open.cloned());
    Ok(form_page(ctx, form, &pairs, Errors::of(&error))?.with_status(422))
}

pub fn create(ctx: &Ctx) -> Result<Reply> {
    let pairs = ctx.request.form()?;
    let by = ctx.allowed(Edit, Servers)?;
    let fresh = ctx.app.db.read(servers::fresh)?;
    let mut draft = input(&pairs, &Refers::new());
    let added = api::refer(ctx.app, &mut draft, None).and_then(|refs| {
        let mut valid = model::read(draft, fresh, None)?;
        valid.refs = refs;
        model::check_here(&valid.fields, None, by)?;
        api::check_stored_key(ctx.app, None, &valid.secrets)?;
        let id = ctx.app.db.write(|tx| servers::create(ctx.app, tx, &valid, by))?;
        Ok((id, valid.host_key.is_some()))
    });
    match added {
        // With an accepted key the check runs at once; otherwise the key is confirmed first.
        Ok((id, true)) if pairs.iter().any(|(n, v)| n == "then" && v == "check") => {
            let task = api::start_on(ctx, Run, id, tasks::CHECK_SSH, serde_json::json!({}))?;
            Ok(Reply::see_other(format!("/tasks/{task}")))
        }
        Ok((id, _)) => Ok(Reply::see_other(format!("/servers/{id}"))),
        Err(e) => again(ctx, blank(ctx)?, pairs, e),
    }
}

pub fn change(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    let pairs = ctx.request.form()?;
    let refs = ctx.app.db.read(|conn| servers::get(conn, id))?.secret_ids();
    match api::save(
        ctx.app,
        id,
        input(&pairs, &refs),
        |server| server.fields.clone(),
        ctx.allowed(Edit, Servers)?,
    ) {
        Ok(_) => Ok(Reply::see_other(format!("/servers/{id}"))),
        Err(e) => {
            let server = ctx.app.db.read(|conn| servers::get(conn, id))?;
            again(ctx, form_of(&server), pairs, e)
        }
    }
}
