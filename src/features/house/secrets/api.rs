//! The secrets' JSON API. No answer but that of a reveal has a value in it.

use super::{Secret, Shown, Version, model, queries, refs};
use crate::access::confirm::{self, Evidence};
use crate::access::right::{Edit, Read, Reveal, Secrets, may};
use crate::base::clock::{self, Ms, rfc3339};
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::base::shape::described;
use crate::db::Conn;
use crate::features::house::plugins;
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::http::reply::{List, Reply};
use crate::http::request::Method::{Delete, Get, Patch, Post};
use crate::http::route::{Ctx, LIMIT, OFFSET, Route, route};

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Get, "/api/secrets", may(Read, Secrets), list)
        .query(LIST)
        .gives::<List<View>>(),
    route(Post, "/api/secrets", may(Edit, Secrets), create)
        .takes(model::PARAMS)
        .creates::<View>()
        .asks_others(),
    route(Get, "/api/secrets/{id}", may(Read, Secrets), show).gives::<View>(),
    route(Patch, "/api/secrets/{id}", may(Edit, Secrets), change)
        .takes(model::PARAMS)
        .gives::<View>()
        .asks_others(),
    route(Delete, "/api/secrets/{id}", may(Edit, Secrets), remove).gives_nothing(),
    route(Post, "/api/secrets/{id}/rotate", may(Edit, Secrets), rotate)
        .takes(model::ROTATE)
        .gives::<View>()
        .asks_others(),
    route(Post, "/api/secrets/{id}/reveal", may(Reveal, Secrets), reveal)
        .takes(REVEAL)
        .refuses(&[403, 429, 503])
        .gives::<Revealed>(),
    route(Get, "/api/secrets/{id}/versions", may(Read, Secrets), versions).gives::<List<VersionView>>(),
    route(Get, "/api/secrets/{id}/uses", may(Read, Secrets), uses).gives::<List<UseView>>(),
    route(Delete, "/api/secrets/{id}/versions", may(Edit, Secrets), purge).gives_nothing(),
];

/// Query parameters of a list.
pub const LIST: &[Param] = &[
    LIMIT,
    OFFSET,
    param::text("q", 200, "Part of a name, a tag or the notes."),
    param::choice("type", &model::TYPES, "Only of this type."),
];

/// Parameters of a reveal.
pub const REVEAL: &[Param] = &[
    param::text("reason", 300, "Why; it stands in the audit.").required(),
    param::secret("password", 4_096, "One's password, or …"),
    param::text("totp", 64, "… a code of one's authenticator, or a recovery code."),
    param::number(
        "version",
        1..=i64::MAX,
        "Of an older one; the one in force where it is left out.",
    ),
];

described! {
    /// A secret without its value.
    struct View<'a> {
        id: Id<id::Secret>,
        name: &'a str,
        /// `password`, `token`, `text`, `private_key`.
        r#type: &'a str,
        tags: &'a [String],
        notes: &'a str,
        /// When its value ends.
        expires_at: Option<String>,
        rotation_interval_s: Option<i64>,
        /// Where it may be used.
        scope: &'a [String],
        /// `remind`, `rotate` or `apply`.
        plan: &'static str,
        /// When it is rotated by itself.
        hours: &'a str,
        /// Who may lease it.
        lessees: &'a [String],
        /// `copy`, `account` or `key`.
        lease_kind: &'static str,
        lease_max_s: i64,
        lease_servers: &'a [i64],
        lease_account: &'a str,
        lease_rotates: bool,
        /// Number of places that have it.
        used: i64,
        /// When another value is due.
        rotation_due_at: Option<String>,
        /// `ok`, `due` for another value, `ending` within two weeks, `over`.
        state: &'static str,
        /// Number of the version in force.
        version: i64,
        /// So many are kept.
        versions: i64,
        /// Of a private key: the line for `authorized_keys`.
        public_key: Option<&'a str>,
        /// When the version in force was made.
        rotated_at: String,
        created_at: String,
        updated_at: String,
    }

    /// A version without its value.
    struct VersionView<'a> {
        version: i64,
        /// Is it the one in force?
        current: bool,
        /// `given` or `generated`.
        origin: &'a str,
        public_key: Option<&'a str>,
        made_by: &'a str,
        made_at: String,
    }

    /// A place that has it.
    struct UseView<'a> {
        /// `server`, `endpoint`, `exporter`.
        r#type: &'a str,
        id: i64,
        name: &'a str,
        /// Which of its fields.
        field: &'a str,
    }

    /// A value that is shown.
    struct Revealed<'a> {
        value: &'a str,
        /// Of a private key that is locked.
        passphrase: Option<&'a str>,
        version: i64,
        /// Whoever shows it to somebody takes it away after so many seconds.
        hide_after_s: u32,
    }
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

type Used = std::collections::HashMap<i64, i64>;

fn view<'a>(s: &'a Secret, used: &Used, now: Ms) -> View<'a> {
    let f = &s.fields;
    View {
        id: s.id,
        name: &f.name,
        r#type: &f.kind,
        tags: &f.tags,
        notes: &f.notes,
        expires_at: f.expires_at.map(rfc3339),
        rotation_interval_s: f.rotation_interval_s,
        scope: &f.scope,
        plan: f.plan,
        hours: &f.hours,
        lessees: &f.lessees,
        lease_kind: f.lease_kind,
        lease_max_s: f.lease_max_s,
        lease_servers: &f.lease_servers,
        lease_account: &f.lease_account,
        lease_rotates: f.lease_rotates,
        used: used.get(&s.id.get()).copied().unwrap_or(0),
        rotation_due_at: s.rotation_due_at().map(rfc3339),
        state: s.state(now),
        version: s.version,
        versions: s.versions,
        public_key: some(&s.public_key),
        rotated_at: rfc3339(s.rotated_at),
        created_at: rfc3339(s.created_at),
        updated_at: rfc3339(s.updated_at),
    }
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let (limit, offset) = ctx.page()?;
    let (q, kind) = (ctx.param("q"), ctx.choice("type")?);
    let ((rows, total), used) = ctx.app.db.read(|conn| {
        let rows = queries::list(conn, q, kind, limit, offset)?;
        Ok((rows, refs::counts(ctx.app, conn)?))
    })?;
    let now = clock::now();
    let items: Vec<_> = rows.iter().map(|s| view(s, &used, now)).collect();
    Reply::json(&List { items, total })
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "secret")?;
    answer(ctx, &ctx.app.db.read(|conn| super::get(conn, id))?)
}

fn answer(ctx: &Ctx, secret: &Secret) -> Result<Reply> {
    let used = ctx.app.db.read(|conn| refs::counts(ctx.app, conn))?;
    Reply::json(&view(secret, &used, clock::now()))
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let secret = add(ctx, ctx.input()?)?;
    Reply::created(
        format!("/api/secrets/{}", secret.id),
        &view(&secret, &Used::new(), clock::now()),
    )
}

/// A value that a plugin is asked for, put in as if it had been sent. Whoever may not reveal secrets may not have one
/// fetched either: a secret could then be used where they read it. Errors: `forbidden`, those of the plugin.
fn from_plugin(ctx: &Ctx, mut input: Input) -> Result<Input> {
    let plugin = input.link::<id::Plugin>("plugin_id").flatten();
    let what = input.text("plugin_secret").unwrap_or_default();
    match plugin {
        None if what.is_empty() => {}
        Some(id) if !what.is_empty() => {
            ctx.allowed(Reveal, Secrets)?;
            let knows = |conn: &Conn| ctx.actor()?.knows(conn, ("plugin", id.get()));
            if !ctx.app.db.read(knows)? {
                return Err(plugins::missing());
            }
            let value = ctx.outbound(move |app| plugins::secret(app, id, &what))?;
            input.set_secret("value", Some(&value));
        }
        _ => input.wrong(
            "plugin_secret",
            "required",
            "Name a plugin, and the secret that it is asked for.",
        ),
    }
    Ok(input)
}

/// Reads a draft and stores it. Error: invalid fields.
pub fn add(ctx: &Ctx, input: Input) -> Result<Secret> {
    let by = ctx.allowed(Edit, Secrets)?;
    let input = from_plugin(ctx, input)?;
    let opens = |key: &_, passphrase: Option<&_>| super::open_key(ctx.app, key, passphrase);
    let (fields, value) = model::read(input, model::Fields::default(), &opens, clock::now())?;
    let value = value.ok_or_else(|| Error::internal("a new secret without a value"))?;
    ctx.app.db.write(|tx| {
        let id = super::create(ctx.app, tx, &fields, &value, by)?;
        super::get(tx, id)
    })
}

fn change(ctx: &Ctx) -> Result<Reply> {
    answer(ctx, &save(ctx, ctx.input()?)?)
}

/// Changes the secret in the address. Errors: `not_found`, invalid fields.
pub fn save(ctx: &Ctx, input: Input) -> Result<Secret> {
    let (id, by) = (ctx.id(0, "secret")?, ctx.allowed(Edit, Secrets)?);
    let input = from_plugin(ctx, input)?;
    let opens = |key: &_, passphrase: Option<&_>| super::open_key(ctx.app, key, passphrase);
    let old = ctx.app.db.read(|conn| super::get(conn, id))?;
    let (fields, value) = model::read(input, old.fields.clone(), &opens, clock::now())?;
    if fields.reaches_beyond(&old.fields) {
        // Where it may be used and who may lease it is as good as its value.
        ctx.allowed(Reveal, Secrets)?;
        confirm::require(&ctx.app.db, ctx.actor()?)?;
    }
    ctx.app.db.write(|tx| {
        super::update(ctx.app, tx, id, (&fields, value.as_ref()), by)?;
        super::get(tx, id)
    })
}

fn remove(ctx: &Ctx) -> Result<Reply> {
    let (id, by) = (ctx.id(0, "secret")?, ctx.allowed(Edit, Secrets)?);
    ctx.app.db.write(|tx| super::delete(ctx.app, tx, id, by))?;
    Ok(Reply::status(204))
}

fn rotate(ctx: &Ctx) -> Result<Reply> {
    answer(ctx, &renew(ctx, ctx.input()?)?)
}

/// Puts another value in force. Errors: `not_found`, invalid fields.
pub fn renew(ctx: &Ctx, input: Input) -> Result<Secret> {
    let (id, by) = (ctx.id(0, "secret")?, ctx.allowed(Edit, Secrets)?);
    let input = from_plugin(ctx, input)?;
    let opens = |key: &_, passphrase: Option<&_>| super::open_key(ctx.app, key, passphrase);
    let old = ctx.app.db.read(|conn| super::get(conn, id))?;
    let value = model::read_rotation(input, &old.fields.kind, &opens)?;
    ctx.app.db.write(|tx| {
        super::get(tx, id)?;
        if value.origin == "generated" {
            super::refuse_made_here(ctx.app, tx, id)?;
        }
        super::rotate(ctx.app, tx, id, &value, by)?;
        super::get(tx, id)
    })
}

fn reveal(ctx: &Ctx) -> Result<Reply> {
    let shown = open(ctx, ctx.input()?)?;
    Reply::json(&Revealed {
        value: shown.value.reveal_text_for("whom it is shown to"),
        passphrase: shown
            .passphrase
            .as_ref()
            .map(|p| p.reveal_text_for("whom it is shown to")),
        version: shown.version,
        hide_after_s: super::SHOWN_S,
    })
}

/// Opens a value of the secret in the address. Errors: those of [`super::reveal`], invalid fields.
pub fn open(ctx: &Ctx, mut input: Input) -> Result<Shown> {
    let (id, by) = (ctx.id(0, "secret")?, ctx.allowed(Reveal, Secrets)?);
    let reason = input.text("reason").unwrap_or_default();
    if reason.chars().any(char::is_control) {
        input.wrong("reason", "one_line", "The reason is one line.");
    } else if reason.is_empty() && !input.has_error("reason") {
        input.wrong("reason", "required", "Say why: it stands in the audit.");
    }
    let version = input.number("version");
    let Some(evidence) = Evidence::read(&mut input) else {
        return Err(input.refuse());
    };
    input.finish(&[])?;
    super::reveal(ctx.app, (id, version), &reason, &evidence, (ctx.actor()?, by))
}

fn versions(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "secret")?;
    let (secret, all) = ctx
        .app
        .db
        .read(|conn| Ok((super::get(conn, id)?, queries::versions(conn, id)?)))?;
    let items = all.iter().map(|v| version(v, secret.version)).collect();
    Reply::json(&List::whole(items))
}

fn uses(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "secret")?;
    let all = ctx.app.db.read(|conn| {
        super::get(conn, id)?;
        refs::uses(ctx.app, conn, id.get())
    })?;
    let items: Vec<UseView> = all
        .iter()
        .map(|u| UseView {
            r#type: u.of,
            id: u.row,
            name: &u.name,
            field: u.column,
        })
        .collect();
    Reply::json(&List::whole(items))
}

fn version(v: &Version, current: i64) -> VersionView<'_> {
    VersionView {
        version: v.number,
        current: v.number == current,
        origin: &v.origin,
        public_key: some(&v.public_key),
        made_by: &v.made_by,
        made_at: rfc3339(v.made_at),
    }
}

fn purge(ctx: &Ctx) -> Result<Reply> {
    forget(ctx)?;
    Ok(Reply::status(204))
}

/// Forgets the older values of the secret in the address. Error: `not_found`.
pub fn forget(ctx: &Ctx) -> Result<()> {
    let (id, by) = (ctx.id(0, "secret")?, ctx.allowed(Edit, Secrets)?);
    ctx.app.db.write(|tx| super::purge(ctx.app, tx, id, by)).map(drop)
}
