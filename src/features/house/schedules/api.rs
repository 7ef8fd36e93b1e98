//! The schedules' JSON API.

use super::model;
use crate::access::right::{Deploy, Read, Servers, Tasks, may};
use crate::base::clock::{self, rfc3339};
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::base::shape::described;
use crate::db::Conn;
use crate::form::Input;
use crate::http::reply::{List, Reply};
use crate::http::request::Method::{Delete, Get, Patch, Post};
use crate::http::route::{Ctx, Route, route};
use crate::schedule::model::Schedule;
use crate::schedule::stored;

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Get, "/api/schedules", may(Read, Tasks), list).gives::<List<View>>(),
    route(Post, "/api/schedules", may(Deploy, Servers), create)
        .takes(model::PARAMS)
        .creates::<View>(),
    route(Get, "/api/schedules/{id}", may(Read, Tasks), show).gives::<View>(),
    route(Patch, "/api/schedules/{id}", may(Deploy, Servers), change)
        .takes(model::PARAMS)
        .gives::<View>(),
    route(Delete, "/api/schedules/{id}", may(Deploy, Servers), remove).gives_nothing(),
    route(Post, "/api/schedules/{id}/run", may(Deploy, Servers), run)
        .takes(&[])
        .starts_task(),
];

/// Number of due times in an answer.
pub const NEXT_SHOWN: usize = 3;

described! {
    /// A schedule as the API shows it.
    struct View<'a> {
        id: Id<id::Schedule>,
        name: &'a str,
        /// Of the task.
        kind: &'a str,
        target: Target<'a>,
        cron: &'a str,
        time_zone: &'a str,
        /// `skip` or `once`.
        missed: &'static str,
        enabled: bool,
        /// Who saved it last.
        owner: &'a str,
        last_due: Option<String>,
        /// `queued`, `skipped` (it was missed), `open` (the last task had not ended) or `failed`.
        last_result: Option<&'a str>,
        /// Why, if it was not queued.
        last_say: Option<&'a str>,
        last_task_id: Option<Id<id::Task>>,
        next_run: Option<String>,
        next_runs: Vec<String>,
    }

    /// What the task is about.
    struct Target<'a> {
        r#type: &'a str,
        id: i64,
        name: &'a str,
    }
}

fn view(s: &Schedule) -> View<'_> {
    let f = &s.fields;
    let told = |text| Some(text).filter(|text: &&str| !text.is_empty());
    let next = model::next_runs(f, clock::now(), NEXT_SHOWN);
    View {
        id: s.id,
        name: &f.name,
        kind: &f.kind,
        target: Target {
            r#type: &f.target.0,
            id: f.target.1,
            name: &f.target.2,
        },
        cron: &f.cron,
        time_zone: &f.zone,
        missed: f.missed.name(),
        enabled: f.enabled,
        owner: &s.owner,
        last_due: s.last_due.map(rfc3339),
        last_result: told(&s.last_result),
        last_say: told(&s.last_say),
        last_task_id: s.last_task,
        next_run: s.next_run.map(rfc3339),
        next_runs: next.into_iter().map(rfc3339).collect(),
    }
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let all = ctx.app.db.read(stored::all)?;
    Reply::json(&List::whole(all.iter().map(view).collect()))
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "schedule")?;
    Reply::json(&view(&ctx.app.db.read(|conn| stored::get(conn, id))?))
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let schedule = add(ctx, ctx.input()?)?;
    Reply::created(format!("/api/schedules/{}", schedule.id), &view(&schedule))
}

/// The schedule in the address, if its target is there for them. Error `not_found`.
fn of_address(ctx: &Ctx, conn: &Conn) -> Result<Schedule> {
    let schedule = stored::get(conn, ctx.id(0, "schedule")?)?;
    let (of, id, _) = &schedule.fields.target;
    match ctx.actor()?.knows(conn, (of, *id))? {
        true => Ok(schedule),
        false => Err(Error::not_found("schedule")),
    }
}

/// Reads a draft and stores it. Errors: those of [`model::read`].
pub fn add(ctx: &Ctx, input: Input) -> Result<Schedule> {
    let by = ctx.allowed(Deploy, Servers)?;
    ctx.app.db.write(|tx| {
        let fields = model::read(ctx.app, tx, input, model::empty(tx)?, ctx.actor()?)?;
        let id = stored::create(ctx.app, tx, fields, by, clock::now())?;
        stored::get(tx, id)
    })
}

fn change(ctx: &Ctx) -> Result<Reply> {
    Reply::json(&view(&save(ctx, ctx.input()?)?))
}

/// Changes the schedule in the address. Errors: `not_found`, those of [`model::read`].
pub fn save(ctx: &Ctx, input: Input) -> Result<Schedule> {
    let by = ctx.allowed(Deploy, Servers)?;
    ctx.app.db.write(|tx| {
        let old = of_address(ctx, tx)?;
        let fields = model::read(ctx.app, tx, input, old.fields, ctx.actor()?)?;
        stored::update(ctx.app, tx, old.id, fields, by, clock::now())?;
        stored::get(tx, old.id)
    })
}

fn remove(ctx: &Ctx) -> Result<Reply> {
    delete(ctx)?;
    Ok(Reply::status(204))
}

/// Removes the schedule in the address.
pub fn delete(ctx: &Ctx) -> Result<()> {
    let by = ctx.allowed(Deploy, Servers)?;
    ctx.app.db.write(|tx| {
        let schedule = of_address(ctx, tx)?;
        stored::remove(ctx.app, tx, schedule.id, by)
    })
}

fn run(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    Reply::accepted(begin(ctx)?)
}

/// Enqueues the task of the schedule in the address now. Errors: `not_found`; `forbidden` if the actor may not start it.
pub fn begin(ctx: &Ctx) -> Result<Id<id::Task>> {
    let by = ctx.allowed(Deploy, Servers)?;
    ctx.app.db.write(|tx| {
        let schedule = of_address(ctx, tx)?;
        let (id, kind) = (schedule.id, schedule.fields.kind);
        if let Some((_, by_clock)) = model::kinds(ctx.app).into_iter().find(|(k, _)| k.name == kind) {
            ctx.actor()?.may(by_clock.right)?;
        }
        stored::run_now(ctx.app, tx, id, by)
    })
}
