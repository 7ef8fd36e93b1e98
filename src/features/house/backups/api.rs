//! JSON API of backups.

use super::tasks::{MAKE, REHEARSE, Which, for_a_key};
use super::{Backup, US, queries};
use crate::access::right::{Controller, Edit, Read, may};
use crate::audit;
use crate::base::clock::rfc3339;
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id, Task};
use crate::base::shape::described;
use crate::http::reply::{List, Reply};
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};
use crate::task::{NewTask, queue};
use serde_json::{Value, json};

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Get, "/api/backups", may(Read, Controller), list).gives::<List<View>>(),
    route(Post, "/api/backups", may(Edit, Controller), make)
        .takes(&[])
        .starts_task(),
    route(Post, "/api/backups/{id}/rehearse", may(Edit, Controller), rehearse)
        .takes(&[])
        .starts_task(),
];

described! {
    /// A backup that was made or tried.
    struct View<'a> {
        id: Id<id::Backup>,
        began_at: String,
        /// `null`: it is being made.
        ended_at: Option<String>,
        /// On Lamplighter's own machine.
        path: &'a str,
        /// Bytes.
        size: i64,
        /// `none`, `recipient` or `passphrase`.
        encryption: &'a str,
        /// `null`: it was made, or is being made.
        error: Option<&'a str>,
        /// When it was unpacked and checked last.
        rehearsed_at: Option<String>,
        rehearsal_error: Option<&'a str>,
    }
}

fn view(b: &Backup) -> View<'_> {
    let some = |text| Some(text).filter(|text: &&str| !text.is_empty());
    View {
        id: b.id,
        began_at: rfc3339(b.began_at),
        ended_at: b.ended_at.map(rfc3339),
        path: &b.path,
        size: b.size,
        encryption: &b.encryption,
        error: some(&b.error),
        rehearsed_at: b.rehearsed_at.map(rfc3339),
        rehearsal_error: some(&b.rehearsal_error),
    }
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let all = ctx.app.db.read(queries::all)?;
    Reply::json(&List::whole(all.iter().map(view).collect()))
}

fn make(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    Reply::accepted(start_make(ctx)?)
}

fn rehearse(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    Reply::accepted(start_rehearsal(ctx)?)
}

/// Starts the task that makes one.
pub fn start_make(ctx: &Ctx) -> Result<Id<Task>> {
    start(ctx, MAKE, json!({}))
}

/// Starts the task that reads this one again. Errors: `not_found`, `backup_for_a_key`.
pub fn start_rehearsal(ctx: &Ctx) -> Result<Id<Task>> {
    let id: Id<id::Backup> = ctx.id(0, "backup")?;
    let found = ctx.app.db.read(|conn| queries::get(conn, id))?;
    let found = found
        .filter(Backup::is_made)
        .ok_or_else(|| Error::not_found("backup"))?;
    if !found.is_readable() {
        return Err(for_a_key());
    }
    start(
        ctx,
        REHEARSE,
        serde_json::to_value(Which { backup: id.get() }).map_err(Error::internal)?,
    )
}

fn start(ctx: &Ctx, kind: &'static str, input: Value) -> Result<Id<Task>> {
    let by = ctx.allowed(Edit, Controller)?;
    let target = (US.0, US.1, "Lamplighter");
    ctx.app.db.write(|tx| {
        let task = queue::enqueue(tx, &ctx.app.wakes.tasks, &NewTask { kind, target, input }, by)?;
        audit::append(tx, &ctx.app.vault, by, kind, "backup", &json!({ "task": task }))?;
        Ok(task)
    })
}
