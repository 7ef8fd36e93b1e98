//! The secrets' JSON API. No answer but that of a reveal has a value in it.

use super::{Secret, Shown, Version, model, queries};
use crate::access::confirm::Evidence;
use crate::access::right::{Edit, Read, Reveal, Secrets, may};
use crate::base::clock::{self, Ms, rfc3339};
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::base::shape::described;
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
        .creates::<View>(),
    route(Get, "/api/secrets/{id}", may(Read, Secrets), show).gives::<View>(),
    route(Patch, "/api/secrets/{id}", may(Edit, Secrets), change)
        .takes(model::PARAMS)
        .gives::<View>(),
    route(Delete, "/api/secrets/{id}", may(Edit, Secrets), remove).gives_nothing(),
    route(Post, "/api/secrets/{id}/rotate", may(Edit, Secrets), rotate)
        .takes(model::ROTATE)
        .gives::<View>(),
    route(Post, "/api/secrets/{id}/reveal", may(Reveal, Secrets), reveal)
        .takes(REVEAL)
        .refuses(&[403, 429, 503])
        .gives::<Revealed>(),
    route(Get, "/api/secrets/{id}/versions", may(Read, Secrets), versions).gives::<List<VersionView>>(),
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

fn view(s: &Secret, now: Ms) -> View<'_> {
    let f = &s.fields;
    View {
        id: s.id,
        name: &f.name,
        r#type: &f.kind,
        tags: &f.tags,
        notes: &f.notes,
        expires_at: f.expires_at.map(rfc3339),
        rotation_interval_s: f.rotation_interval_s,
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
    let (rows, total) = ctx.app.db.read(|conn| queries::list(conn, q, kind, limit, offset))?;
    let now = clock::now();
    let items: Vec<_> = rows.iter().map(|s| view(s, now)).collect();
    Reply::json(&List { items, total })
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "secret")?;
    answer(&ctx.app.db.read(|conn| super::get(conn, id))?)
}

fn answer(secret: &Secret) -> Result<Reply> {
    Reply::json(&view(secret, clock::now()))
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let secret = add(ctx, ctx.input()?)?;
    Reply::created(format!("/api/secrets/{}", secret.id), &view(&secret, clock::now()))
}

/// Reads a draft and stores it. Error: invalid fields.
pub fn add(ctx: &Ctx, input: Input) -> Result<Secret> {
    let by = ctx.allowed(Edit, Secrets)?;
    let opens = |key: &_, passphrase: Option<&_>| super::open_key(ctx.app, key, passphrase);
    let (fields, value) = model::read(input, model::Fields::default(), &opens, clock::now())?;
    let value = value.ok_or_else(|| Error::internal("a new secret without a value"))?;
    ctx.app.db.write(|tx| {
        let id = super::create(ctx.app, tx, &fields, &value, by)?;
        super::get(tx, id)
    })
}

fn change(ctx: &Ctx) -> Result<Reply> {
    answer(&save(ctx, ctx.input()?)?)
}

/// Changes the secret in the address. Errors: `not_found`, invalid fields.
pub fn save(ctx: &Ctx, input: Input) -> Result<Secret> {
    let (id, by) = (ctx.id(0, "secret")?, ctx.allowed(Edit, Secrets)?);
    let opens = |key: &_, passphrase: Option<&_>| super::open_key(ctx.app, key, passphrase);
    let old = ctx.app.db.read(|conn| super::get(conn, id))?;
    let (fields, value) = model::read(input, old.fields, &opens, clock::now())?;
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
    answer(&renew(ctx, ctx.input()?)?)
}

/// Puts another value in force. Errors: `not_found`, invalid fields.
pub fn renew(ctx: &Ctx, input: Input) -> Result<Secret> {
    let (id, by) = (ctx.id(0, "secret")?, ctx.allowed(Edit, Secrets)?);
    let opens = |key: &_, passphrase: Option<&_>| super::open_key(ctx.app, key, passphrase);
    let old = ctx.app.db.read(|conn| super::get(conn, id))?;
    let value = model::read_rotation(input, &old.fields.kind, &opens)?;
    ctx.app.db.write(|tx| {
        super::get(tx, id)?;
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
