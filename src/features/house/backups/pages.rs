//! The page of backups.

use super::{api, queries, settings};
use crate::access::right::{Controller, Edit, Read, may};
use crate::base::clock::{self, Ms};
use crate::base::error::Result;
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};
use crate::settings::time_zone;
use serde::Serialize;

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Get, "/backups", may(Read, Controller), list),
    route(Post, "/backups", may(Edit, Controller), make),
    route(Post, "/backups/{id}/rehearse", may(Edit, Controller), rehearse),
];

#[derive(Serialize)]
struct Row {
    id: i64,
    began_at: Ms,
    /// `making`, `made` or `failed`.
    state: &'static str,
    path: String,
    size: i64,
    encryption: String,
    error: String,
    rehearsed_at: Option<Ms>,
    rehearsal_error: String,
    may_rehearse: bool,
}

#[derive(Serialize)]
struct Content {
    items: Vec<Row>,
    folder: String,
    /// `None`: they are made on demand only.
    next_at: Option<Ms>,
    rehearse_days: i64,
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let content = ctx.app.db.read(|conn| {
        let zone = time_zone(conn)?;
        let next = settings::cron(conn)?.and_then(|cron| cron.next_after(clock::now(), &zone));
        let items = queries::all(conn)?.into_iter().map(|b| Row {
            id: b.id.get(),
            began_at: b.began_at,
            state: match b.ended_at {
                None => "making",
                Some(_) if b.error.is_empty() => "made",
                Some(_) => "failed",
            },
            may_rehearse: b.is_readable(),
            path: b.path,
            size: b.size,
            encryption: b.encryption,
            error: b.error,
            rehearsed_at: b.rehearsed_at,
            rehearsal_error: b.rehearsal_error,
        });
        Ok(Content {
            items: items.collect(),
            folder: settings::folder(conn, &ctx.app.config)?.display().to_string(),
            next_at: next,
            rehearse_days: settings::REHEARSE_DAYS.number(conn)?,
        })
    })?;
    page::show(ctx, "backups/list.html", content)
}

fn make(ctx: &Ctx) -> Result<Reply> {
    Ok(Reply::see_other(format!("/tasks/{}", api::start_make(ctx)?)))
}

fn rehearse(ctx: &Ctx) -> Result<Reply> {
    Ok(Reply::see_other(format!("/tasks/{}", api::start_rehearsal(ctx)?)))
}
