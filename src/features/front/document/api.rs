//! The fleet's JSON API.

use super::model::{self, Document};
use super::{Mode, apply, pretty};
use crate::access::right::{self, Edit, Read, may};
use crate::base::error::{Error, Field, Result};
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Get, "/api/fleet", may(Read, right::Document), export),
    route(Post, "/api/fleet", may(Edit, right::Document), import),
];

fn export(ctx: &Ctx) -> Result<Reply> {
    let document = ctx.app.db.read(model::read_all)?;
    Ok(Reply::bytes("application/json", pretty(&document)?.into_bytes()))
}

/// The document as body; `?mode=plan` (when nothing is said), `apply` or `deploy`.
fn import(ctx: &Ctx) -> Result<Reply> {
    let mode = match ctx.request.param("mode") {
        None | Some("plan") => Mode::Plan,
        Some("apply") => Mode::Apply,
        Some("deploy") => Mode::Deploy,
        Some(_) => {
            let message = "mode is one of: plan, apply, deploy.".to_string();
            let (field, code) = ("mode", "bad_choice");
            return Err(Error::invalid(vec![Field { field, code, message }]));
        }
    };
    let document = Document::parse(&ctx.request.body)?;
    Reply::json(&apply(ctx.app, document, mode, ctx.allowed(Edit, right::Document)?)?)
}
