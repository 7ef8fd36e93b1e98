//! API: shares of time and incidents.

use crate::access::right::{Events, Read, may};
use crate::availability::{self, State, Subject, Weighed};
use crate::base::clock::{self, DAY, Ms, SECOND, rfc3339};
use crate::base::error::{Error, Result};
use crate::base::shape::described;
use crate::base::text;
use crate::db::Conn;
use crate::form::param::{self, Param};
use crate::http::reply::Reply;
use crate::http::request::Method::Get;
use crate::http::route::{Answer, Ctx, Route, route};
use crate::kinds;

/// API routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/api/availability", may(Read, Events), list)
        .query(&[KIND, DAYS, FORMAT])
        .gives::<Listed>()
        .answers(Answer::Bytes(CSV)),
    route(Get, "/api/availability/{kind}/{id}", may(Read, Events), show)
        .query(&[DAYS])
        .gives::<Whole>(),
];

/// Days of the periods that are shown.
pub const PERIODS: [i64; 4] = [1, 7, 30, 90];

const CSV: &str = "text/csv; charset=utf-8";
/// Of a list: only things of this kind.
pub const KIND: Param = param::choice("kind", availability::KINDS, "Only things of this kind.");
const DAYS: Param = param::number(
    "days",
    1..=400,
    "Of this many days up to now; without it of 1, 7, 30 and 90.",
);
const FORMAT: Param = param::choice("format", &["csv"], "As a file for spreadsheets.");

described! {
    /// What was available how much.
    struct Listed {
        items: Vec<View>,
        total: i64,
    }

    /// A thing.
    struct View {
        kind: String,
        id: i64,
        name: String,
        state: State,
        /// Since when it is so.
        since: String,
        periods: Vec<Period>,
    }

    /// A time up to now. Shares are of the time that is known: without the two last.
    struct Period {
        days: i64,
        /// Percent; `null`: nothing is known.
        share: Option<f64>,
        up_s: i64,
        down_s: i64,
        /// In which nobody knew.
        unknown_s: i64,
        /// In which Lamplighter itself was off, or without a network.
        off_s: i64,
        incidents: i64,
        /// Mean time until it was up again, of the incidents that are over.
        mttr_s: Option<i64>,
    }

    /// One thing, with its days and incidents.
    struct Whole {
        kind: String,
        id: i64,
        name: String,
        state: State,
        since: String,
        periods: Vec<Period>,
        /// Oldest first, in UTC.
        daily: Vec<Daily>,
        /// Newest first, at most 500.
        incidents: Vec<Incident>,
    }

    /// A day.
    struct Daily {
        day: String,
        share: Option<f64>,
        down_s: i64,
    }

    /// A time in which it was down.
    struct Incident {
        since: String,
        /// `null`: it goes on.
        until: Option<String>,
        length_s: i64,
        cause: String,
    }
}

/// Incidents of one answer.
const INCIDENTS_MAX: usize = 500;

/// A thing with its name.
pub struct Named {
    /// What is known of it.
    pub subject: Subject,
    /// As people call it.
    pub name: String,
}

/// What is asked for, read at once.
pub struct Reading {
    /// By kind and name.
    pub all: Vec<Named>,
    /// See [`availability::off`].
    pub off: Vec<(Ms, Ms)>,
    /// Until then.
    pub now: Ms,
}

/// Reads things of this kind (empty: of all), or one of them, of so many days.
pub fn read(conn: &Conn, kind: &str, id: Option<i64>, days: i64) -> Result<Reading> {
    let now = clock::now();
    let from = now - days * DAY;
    let mut all = Vec::new();
    for subject in availability::subjects(conn, kind, id, from)? {
        let named = kinds::target_kind(&subject.kind).map(|kind| (kind.name_of)(conn, subject.id));
        if let Some(name) = named.transpose()?.flatten() {
            all.push(Named { subject, name });
        }
    }
    all.sort_by_cached_key(|one| (one.subject.kind.clone(), one.name.to_lowercase()));
    let off = availability::off(conn, from)?;
    Ok(Reading { all, off, now })
}

impl Reading {
    /// What so many days came to.
    pub fn weigh(&self, one: &Named, days: i64) -> Weighed {
        availability::weigh(&one.subject.stretches, &self.off, (self.now - days * DAY, self.now))
    }

    fn periods(&self, one: &Named, days: &[i64]) -> Vec<Period> {
        let period = |days: &i64| {
            let w = self.weigh(one, *days);
            Period {
                days: *days,
                share: w.share(),
                up_s: w.up / SECOND,
                down_s: w.down / SECOND,
                unknown_s: w.unknown / SECOND,
                off_s: w.off / SECOND,
                incidents: w.incidents as i64,
                mttr_s: w.mttr().map(|ms| ms / SECOND),
            }
        };
        days.iter().map(period).collect()
    }
}

/// How a thing is now, and since when.
pub fn state(subject: &Subject) -> (State, Ms) {
    let last = subject.stretches.last();
    last.map_or((State::Unknown, 0), |last| (last.state, last.since))
}

fn days(ctx: &Ctx) -> Result<Vec<i64>> {
    let days = ctx.number(DAYS.name)?;
    Ok(if days > 0 { vec![days] } else { PERIODS.to_vec() })
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let (kind, days) = (ctx.choice(KIND.name)?, days(ctx)?);
    let longest = days.iter().copied().max().unwrap_or(1);
    let found = ctx.app.db.read(|conn| read(conn, kind, None, longest))?;
    let view = |one: &Named| {
        let (state, since) = state(&one.subject);
        View {
            kind: one.subject.kind.clone(),
            id: one.subject.id,
            name: one.name.clone(),
            state,
            since: rfc3339(since),
            periods: found.periods(one, &days),
        }
    };
    let items: Vec<View> = found.all.iter().map(view).collect();
    if ctx.choice(FORMAT.name)?.is_empty() {
        let total = items.len() as i64;
        return Reply::json(&Listed { items, total });
    }
    let day = &rfc3339(found.now)[..10];
    Ok(Reply::bytes(CSV, csv(&items)).header(
        "Content-Disposition",
        format!("attachment; filename=\"availability-{day}.csv\""),
    ))
}

fn csv(items: &[View]) -> Vec<u8> {
    let head = "kind,id,name,state,days,share,up_s,down_s,unknown_s,off_s,incidents,mttr_s\r\n";
    let mut out = head.as_bytes().to_vec();
    for (one, period) in items.iter().flat_map(|one| one.periods.iter().map(move |p| (one, p))) {
        let cells = [
            one.kind.clone(),
            one.id.to_string(),
            one.name.clone(),
            one.state.name().to_string(),
            period.days.to_string(),
            period.share.map(|share| format!("{share:.5}")).unwrap_or_default(),
            period.up_s.to_string(),
            period.down_s.to_string(),
            period.unknown_s.to_string(),
            period.off_s.to_string(),
            period.incidents.to_string(),
            period.mttr_s.map(|s| s.to_string()).unwrap_or_default(),
        ];
        for (n, cell) in cells.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            text::csv_cell(&mut out, cell);
        }
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// The thing of the request, with so many days. Error `NotFound`.
pub fn one(ctx: &Ctx, days: i64) -> Result<Reading> {
    let (kind, id) = (ctx.arg(0), ctx.id::<()>(1, "thing")?.get());
    let missing = || Error::not_found("thing");
    if !availability::KINDS.contains(&kind) {
        return Err(missing());
    }
    let found = ctx.app.db.read(|conn| read(conn, kind, Some(id), days))?;
    if found.all.is_empty() {
        return Err(missing());
    }
    Ok(found)
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let days = days(ctx)?;
    let longest = days.iter().copied().max().unwrap_or(1);
    let found = one(ctx, longest)?;
    let named = found.all.first().ok_or_else(|| Error::not_found("thing"))?;
    let (state, since) = state(&named.subject);
    let stretches = &named.subject.stretches;
    let daily = availability::days(stretches, &found.off, longest as usize, found.now);
    let incidents = availability::incidents(stretches, (found.now - longest * DAY, found.now));
    Reply::json(&Whole {
        kind: named.subject.kind.clone(),
        id: named.subject.id,
        name: named.name.clone(),
        state,
        since: rfc3339(since),
        periods: found.periods(named, &days),
        daily: daily
            .iter()
            .map(|day| Daily {
                day: rfc3339(day.at)[..10].to_string(),
                share: day.weighed.share(),
                down_s: day.weighed.down / SECOND,
            })
            .collect(),
        incidents: incidents
            .rev()
            .take(INCIDENTS_MAX)
            .map(|s| Incident {
                since: rfc3339(s.since),
                until: s.until.map(rfc3339),
                length_s: (s.until.unwrap_or(found.now) - s.since) / SECOND,
                cause: s.cause.clone(),
            })
            .collect(),
    })
}
