//! Events as a stream: every event in order, once, from the client's position; and a page's content as it changes.
//! Event rows are removed by age and number.

mod settings;

use crate::access::right::{Events, Read, may};
use crate::access::{Actor, Place, Right, Sees};
use crate::app::App;
use crate::base::clock::{self, DAY, Duration, rfc3339};
use crate::base::error::Result;
use crate::base::shape::described;
use crate::events::outbox::{self, Event};
use crate::feature::Feature;
use crate::form::param::{self, Param};
use crate::http::live::{DATA as LIVE, LiveQuery};
use crate::http::reply::Reply;
use crate::http::request::Method::Get;
use crate::http::route::{Ctx, Route, route};
use crate::http::sse::{self, Flow, Source};
use crate::kinds;
use crate::schedule::{Periodic, Work};
use std::sync::Arc;

pub use settings::{RETENTION_EVENT_DAYS, STREAMS_PER_USER};

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: ROUTES,
    periodic: PERIODIC,
    settings: settings::SETTINGS,
    ..Feature::named("events")
};

const ROUTES: &[Route] = &[
    route(Get, "/api/events/stream", may(Read, Events), stream)
        .query(&[AFTER])
        .streams(&[EVENT.row()]),
    route(Get, "/api/live", may(Read, Events), live)
        .query(&[OF])
        .streams(&[LIVE.row()])
        .refuses(&[404, 405]),
];

const AFTER: Param = param::number(
    "after",
    0..=i64::MAX,
    "Only events behind this one; from now on, where it is left out.",
);
const OF: Param = param::text(
    "of",
    4_096,
    "Path and query of the answer that is wanted as it changes.",
);

const EVENT: sse::Event<Shown<'static>> = sse::Event::named("event");

const PERIODIC: &[Periodic] = &[Periodic {
    name: "events.purge",
    every: Duration::from_secs(3600),
    run: Work::Short(|app| {
        let (days, keep) = app.db.read(|conn| {
            let days = settings::RETENTION_EVENT_DAYS.number(conn)?;
            Ok((days, settings::RETENTION_EVENTS_MAX.number(conn)?))
        })?;
        outbox::clean_up(&app.db, clock::now() - days * DAY, keep).map(drop)
    }),
}];

/// Events read per database query.
const LOOK_MAX: usize = 100;

/// A client's position among the events.
struct News {
    app: Arc<App>,
    after: i64,
}

/// Streams every event from now on, or after the number in `Last-Event-ID` or `?after=`: each an SSE event named
/// `event` with its number as id.
fn stream(ctx: &Ctx) -> Result<Reply> {
    let newest = ctx.app.db.read(outbox::newest)?;
    let after = match ctx.request.header("last-event-id").and_then(|t| t.parse().ok()) {
        Some(seen) => seen,
        None => match ctx.param("after") {
            "" => newest,
            _ => ctx.number("after")?,
        },
    };
    ctx.stream(News {
        app: ctx.web.app.clone(),
        // A number from another database must not make us wait.
        after: after.min(newest),
    })
}

/// The answer of `?of=` as a live stream ([`LiveQuery`]).
fn live(ctx: &Ctx) -> Result<Reply> {
    ctx.stream(LiveQuery::new(ctx, ctx.param("of"))?)
}

impl Source for News {
    fn fill(&mut self, by: &Actor, out: &mut Vec<u8>) -> Result<Flow> {
        loop {
            let events = self.app.db.read(|conn| outbox::after(conn, self.after, LOOK_MAX))?;
            for event in &events {
                self.after = event.id;
                // Events about an alert have that alert's kind.
                let of = event.data["kind"].as_str().unwrap_or_default();
                let of = kinds::find(of).map(|kind| kind.right);
                let of_it = [Some(kinds::right_to_see(&event.kind)), Some(may(Read, Events)), of];
                if self.may_see(by, of_it.into_iter().flatten(), event)? {
                    EVENT.frame(out, Some(event.id), &shown(event));
                }
            }
            if events.len() < LOOK_MAX || out.len() >= sse::BATCH {
                return Ok(Flow::More);
            }
        }
    }

    fn moved(&self) -> u64 {
        self.app.wakes.events.count()
    }
}

impl News {
    fn may_see(&self, by: &Actor, mut rights: impl Iterator<Item = Right>, event: &Event) -> Result<bool> {
        let target = (event.target_type.as_str(), event.target_id);
        let place = || self.app.db.read(|conn| Place::of(conn, target));
        rights.try_fold(true, |all, right| Ok(all && by.sees(right, &place)?))
    }
}

described! {
    /// An event as sent.
    struct Shown<'a> {
        id: i64,
        ts: String,
        kind: &'a str,
        target: Target<'a>,
        /// Data of its kind.
        data: &'a serde_json::Value,
    }

    /// Target of an event.
    struct Target<'a> {
        r#type: &'a str,
        id: i64,
    }
}

fn shown(event: &Event) -> Shown<'_> {
    Shown {
        id: event.id,
        ts: rfc3339(event.at),
        kind: &event.kind,
        target: Target {
            r#type: &event.target_type,
            id: event.target_id,
        },
        data: &event.data,
    }
}
