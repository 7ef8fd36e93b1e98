//! The audit as JSON, and as a download.

use super::export::{self, Export};
use super::view::{View, view};
use crate::access::right::{Audit, Read, may};
use crate::audit::{self, Cursor, Filter};
use crate::base::clock::{self, Ms, rfc3339};
use crate::base::error::{Error, Field, Result};
use crate::base::shape::described;
use crate::form::param::{self, Param};
use crate::http::reply::Reply;
use crate::http::request::Method::Get;
use crate::http::route::{Answer, Ctx, Route, route};

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Get, "/api/audit", may(Read, Audit), list)
        .query(LIST)
        .gives::<List<'static>>(),
    route(Get, "/api/audit/{id}", may(Read, Audit), show).gives::<View<'static>>(),
    route(Get, "/api/audit/export", may(Read, Audit), download)
        .query(EXPORT)
        .gives_bytes(export::CSV)
        .answers(Answer::Bytes(export::JSON)),
];

const ACTOR: Param = param::text(
    "actor",
    200,
    "Only what this login did; `system` is Lamplighter itself.",
);
const ACTION: Param = param::text("action", 200, "Only this: `server.create`.");
const OBJECT: Param = param::text(
    "object",
    200,
    "Only about things of this kind (`server`), or about one (`server 5`).",
);
const IP: Param = param::text("ip", 100, "Only from this address.");
const SINCE: Param = param::text("since", 40, "Not before this: `2026-01-02T03:04` in UTC, or unix ms.");
const UNTIL: Param = param::text("until", 40, "Before this, written in the same way.");
const Q: Param = param::text("q", 200, "Only rows with this in any of their texts.");
const CURSOR: Param = param::text("cursor", 60, "Goes on behind the page that gave this as `next`.");
const LIMIT: Param = Param {
    default: 50,
    ..param::number("limit", 1..=500, "Items at most.")
};
const FORMAT: Param = param::choice("format", &["csv", "json"], "Of the file; `csv` without it.");

/// The rows' filters and the page.
pub const LIST: &[Param] = &[ACTOR, ACTION, OBJECT, IP, SINCE, UNTIL, Q, LIMIT, CURSOR];
/// The same filters.
pub const EXPORT: &[Param] = &[ACTOR, ACTION, OBJECT, IP, SINCE, UNTIL, Q, FORMAT];

described! {
    /// Rows of the audit, the newest first.
    struct List<'a> {
        items: Vec<View<'a>>,
        /// The `cursor` of the next page; `null` on the last.
        next: Option<String>,
    }
}

/// The query's filter; `read` reads a time that is no number.
pub fn filter(ctx: &Ctx, read: impl Fn(&str) -> Option<Ms>) -> Result<Filter> {
    let time = |row: &Param| -> Result<Option<Ms>> {
        let typed = ctx.param(row.name).trim();
        if typed.is_empty() {
            return Ok(None);
        }
        let at = typed.parse().ok().or_else(|| read(typed));
        let say = format!("{} is a time like 2026-01-02T03:04, or unix ms.", row.name);
        at.map(Some).ok_or_else(|| wrong(row.name, "bad_time", say))
    };
    let text = |row: &Param| ctx.param(row.name).trim().to_string();
    Ok(Filter {
        actor: text(&ACTOR),
        action: text(&ACTION),
        object: text(&OBJECT),
        ip: text(&IP),
        since: time(&SINCE)?,
        until: time(&UNTIL)?,
        q: text(&Q),
    })
}

/// Where the page begins.
pub fn cursor(ctx: &Ctx) -> Result<Option<Cursor>> {
    match ctx.param(CURSOR.name) {
        "" => Ok(None),
        given => match Cursor::parse(given) {
            Some(cursor) => Ok(Some(cursor)),
            None => {
                let say = "This is no cursor that we gave. Begin without one.".into();
                Err(wrong(CURSOR.name, "bad_cursor", say))
            }
        },
    }
}

fn wrong(field: &'static str, code: &'static str, message: String) -> Error {
    Error::invalid(vec![Field { field, code, message }])
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let (filter, from, limit) = (filter(ctx, clock::parse_utc)?, cursor(ctx)?, ctx.number(LIMIT.name)?);
    let page = ctx
        .app
        .db
        .read(|conn| audit::page(conn, &filter, from, limit as usize))?;
    Reply::json(&List {
        items: page.rows.iter().map(view).collect(),
        next: page.next.map(|next| next.to_string()),
    })
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let seq = ctx.id::<()>(0, "row")?.get();
    let row = ctx.app.db.read(|conn| audit::get(conn, seq))?;
    Reply::json(&view(&row.ok_or_else(|| Error::not_found("row"))?))
}

fn download(ctx: &Ctx) -> Result<Reply> {
    let filter = filter(ctx, clock::parse_utc)?;
    let is_json = ctx.choice(FORMAT.name)? == "json";
    let export = Export::new(&ctx.web.app, filter, is_json);
    let (media_type, ending) = if is_json {
        (export::JSON, "json")
    } else {
        (export::CSV, "csv")
    };
    let day = rfc3339(clock::now())[..10].to_string();
    ctx.download(export, media_type, &format!("audit-{day}.{ending}"))
}
