//! API: chosen series of one time, together.

use crate::access::right::{Dashboard, Read, may};
use crate::app::App;
use crate::base::clock::{SECOND, rfc3339};
use crate::base::error::{Error, Field, Result};
use crate::base::shape::described;
use crate::features::fleet::metrics;
use crate::form::param::{self, Param};
use crate::http::reply::Reply;
use crate::http::request::Method::Get;
use crate::http::route::{Ctx, Route, route};
use crate::series::{Kind, Series, Store, Window};

/// API routes.
pub const ROUTES: &[Route] = &[route(Get, "/api/charts", may(Read, Dashboard), show)
    .query(QUERY)
    .gives::<Charts>()];

/// What is asked for.
pub const SERIES: Param = param::text(
    "series",
    300,
    "One series, as `server:5:cpu` or `service:3:custom:queue`; may stand up to 12 times.",
);
/// The time of all of them.
pub const PERIOD: Param = param::text("period", 10, "`1h` and longer, up to now.");
const QUERY: &[Param] = &[SERIES, PERIOD];

/// Series at once.
pub const SERIES_MAX: usize = 12;
/// Points further apart than twice this have a gap between them.
const INTERVAL_S: i64 = 60;

described! {
    /// Series of one time.
    struct Charts {
        period: &'static str,
        step_s: u32,
        /// Points further apart than twice this have a gap between them.
        interval_s: i64,
        from: String,
        to: String,
        /// In the order they were asked for; `key` is `s0`, `s1` and so on.
        series: Vec<Series>,
    }
}

/// A series that was chosen.
pub struct Chosen {
    /// Kind of its subject.
    pub kind: &'static Kind,
    /// Its subject.
    pub id: i64,
    /// As that is called.
    pub name: String,
    /// Key with its part.
    pub key: String,
}

impl Chosen {
    /// As in an address.
    pub fn text(&self) -> String {
        format!("{}:{}:{}", self.kind.name, self.id, self.key)
    }
}

/// The kind of subjects that is called so.
pub fn kind(app: &App, name: &str) -> Option<&'static Kind> {
    app.registry
        .all::<Kind>()
        .iter()
        .copied()
        .find(|kind| kind.name == name)
}

/// The series of the query that there are. Error: one that is written in no such way, or too many.
pub fn chosen(ctx: &Ctx) -> Result<Vec<Chosen>> {
    let wrong = |message: String| {
        Error::invalid(vec![Field {
            field: "series",
            code: "bad_choice",
            message,
        }])
    };
    let asked = ctx
        .request
        .query
        .iter()
        .filter(|(name, value)| name == SERIES.name && !value.is_empty());
    let mut out = Vec::new();
    for (_, text) in asked {
        let mut parts = text.splitn(3, ':');
        let (name, id, key) = (parts.next(), parts.next(), parts.next());
        let known = name.and_then(|name| kind(ctx.app, name));
        let id = id.and_then(|id| id.parse::<i64>().ok());
        let (Some(kind), Some(id), Some(key)) = (known, id, key) else {
            return Err(wrong("series is like server:5:cpu: kind, number and key.".into()));
        };
        if out.len() == SERIES_MAX {
            return Err(wrong(format!("{SERIES_MAX} series at most.")));
        }
        // What the reader does not see, or what is gone, is left out.
        if let Some(name) = ctx.app.db.read(|conn| (kind.name_of)(conn, id))? {
            out.push(Chosen {
                kind,
                id,
                name,
                key: key.into(),
            });
        }
    }
    Ok(out)
}

/// The series of a subject in a time.
pub fn series_of(ctx: &Ctx, kind: &'static Kind, id: i64, window: &Window) -> Result<Vec<Series>> {
    Store::new(ctx.app.metrics.clone()).history((kind.name, id), window)
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let (period, window) = metrics::window(ctx)?;
    let mut series = Vec::new();
    for (n, one) in chosen(ctx)?.iter().enumerate() {
        let all = series_of(ctx, one.kind, one.id, &window)?;
        let found = all.into_iter().find(|line| line.key == one.key);
        series.extend(found.map(|line| Series {
            key: format!("s{n}"),
            ..line
        }));
    }
    Reply::json(&Charts {
        period,
        step_s: window.step_s,
        interval_s: INTERVAL_S,
        from: rfc3339(i64::from(window.from_s()) * SECOND),
        to: rfc3339(i64::from(window.to_s()) * SECOND),
        series,
    })
}
