//! The fleet's JSON API.

use super::model::Document;
use super::{Change, Mode, apply};
use crate::access::right::{self, Edit, Read, may};
use crate::base::error::Result;
use crate::form::param::{self, Param};
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Get, "/api/fleet", may(Read, right::Document), export).gives::<Document>(),
    route(Post, "/api/fleet", may(Edit, right::Document), import)
        .query(MODE)
        .takes_document::<Document>()
        .gives::<Change>(),
];

fn export(ctx: &Ctx) -> Result<Reply> {
    let document = ctx.app.db.read(Document::of)?;
    Ok(Reply::json_made::<Document>(document.pretty()?.into_bytes()))
}

const MODE: &[Param] = &[param::choice(
    "mode",
    &["plan", "apply", "deploy"],
    "Say what would change (when nothing is said), change it, or go on to the servers.",
)];

/// Reads the document in.
fn import(ctx: &Ctx) -> Result<Reply> {
    let mode = match ctx.choice("mode")? {
        "apply" => Mode::Apply,
        "deploy" => Mode::Deploy,
        _ => Mode::Plan,
    };
    let document = Document::parse(&ctx.request.body)?;
    Reply::json(&apply(ctx.app, document, mode, ctx.allowed(Edit, right::Document)?)?)
}
