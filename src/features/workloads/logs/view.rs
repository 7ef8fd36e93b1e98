//! Lines on pages.

use super::{Asked, Speaker, asked};
use crate::base::clock::{self, Duration, Ms};
use crate::base::error::Result;
use crate::http::page::query;
use crate::http::route::Ctx;
use crate::journal::{Cursor, Filter, Level, Line, Span, Stream};
use crate::series::Subject;
use serde::Serialize;

/// Lines on each side of one that is shown in its context.
const AROUND: usize = 150;
/// Limit of looking for them.
const AROUND_MAX: Duration = Duration::from_secs(3);

/// Whose line it is, where several are in one stream.
#[derive(Serialize)]
pub struct OfLine {
    /// The page with the line in its context.
    pub href: String,
    /// Who spoke it.
    pub name: String,
}

/// A line as shown, like those of tasks.
#[derive(Serialize)]
pub struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<OfLine>,
    seq: i64,
    at: Ms,
    class: &'static str,
    text: String,
}

/// A line as shown. `static/js/lines.js` does the same for later ones.
pub fn line_view(line: &Line, of: Option<OfLine>) -> Shown {
    Shown {
        of,
        seq: line.id,
        at: line.at / 1_000_000,
        class: match (line.stream, line.level) {
            (Stream::Note, _) => "st",
            (_, Level::Error | Level::Critical) => "e",
            (_, Level::Warning) => "w",
            (Stream::Stderr, _) => "x",
            _ => "",
        },
        text: line.text.replace('\u{1b}', "␛"),
    }
}

/// What the lines are narrowed by.
#[derive(Serialize)]
pub struct Narrowed {
    q: String,
    level: String,
    since: String,
    until: String,
    stream: String,
    levels: [&'static str; 7],
    streams: [&'static str; 3],
}

impl Narrowed {
    /// By the parameters of a request.
    pub fn of(ctx: &Ctx) -> Narrowed {
        let param = |name: &str| ctx.request.param(name).unwrap_or_default().to_string();
        Narrowed {
            q: param("q"),
            level: param("level"),
            since: param("since"),
            until: param("until"),
            stream: param("stream"),
            levels: Level::NAMES,
            streams: Stream::NAMES,
        }
    }

    /// The query of the live stream.
    pub fn live(&self, more: &[(&str, &str)]) -> String {
        let own = [("q", self.q.as_str()), ("level", &self.level), ("stream", &self.stream)];
        query(&[&own[..], more].concat())
    }

    /// The query of a page.
    pub fn query(&self, more: &[(&str, &str)]) -> String {
        let own = [
            ("q", self.q.as_str()),
            ("level", &self.level),
            ("since", &self.since),
            ("until", &self.until),
            ("stream", &self.stream),
        ];
        query(&[&own[..], more].concat())
    }
}

/// Do new lines come into this page?
pub fn is_live(ctx: &Ctx) -> bool {
    ["at", "before", "after", "until"]
        .iter()
        .all(|name| ctx.request.param(name).unwrap_or_default().is_empty())
}

/// The log of one speaker on its page.
#[derive(Serialize)]
pub struct LogView {
    lines: Vec<Shown>,
    /// Do new lines come in?
    running: bool,
    /// Query of the stream.
    live: String,
    /// Number for the stream.
    last: i64,
    older: Option<String>,
    /// Is this a page of older lines?
    back: bool,
    /// Query of the download.
    download: String,
    log_lines: i64,
    log_bytes: i64,
    narrowed: Narrowed,
}

impl LogView {
    /// What a request asks of one: the newest lines, older ones, or those around `at`.
    pub fn of(ctx: &Ctx, one: Speaker) -> Result<LogView> {
        let subject = one.subject;
        let (lines, last, more) = match Cursor::parse(ctx.param("at")) {
            Some(at) => around(ctx, subject, at)?,
            None => {
                let asked: Asked = asked(ctx, vec![one])?;
                let answer = asked.find(ctx.app)?;
                let lines = answer.lines.iter().map(|(_, line)| line.clone()).collect();
                (lines, answer.last(), answer.next())
            }
        };
        let (narrowed, stored, running) = (Narrowed::of(ctx), ctx.app.journal.usage_of(subject), is_live(ctx));
        Ok(LogView {
            lines: lines.iter().map(|line| line_view(line, None)).collect(),
            running,
            live: narrowed.live(&[]),
            last,
            older: more.map(|cursor| narrowed.query(&[("before", &cursor)])),
            back: !running,
            download: narrowed.query(&[("tail", "5000")]),
            log_lines: stored.lines,
            log_bytes: stored.bytes,
            narrowed,
        })
    }
}

/// The lines around a place, the number for a stream, and where older ones go on.
fn around(ctx: &Ctx, subject: Subject, at: Cursor) -> Result<(Vec<Line>, i64, Option<String>)> {
    let (until, all) = (clock::mono() + AROUND_MAX, Filter::default());
    let before = Span {
        before: Cursor {
            id: at.id.saturating_add(1),
            ..at
        },
        ..Span::default()
    };
    let after = Span {
        after: at,
        ..Span::default()
    };
    let (journal, of) = (&ctx.app.journal, [subject]);
    let older = journal.newest(&of, &all, before, AROUND, until)?;
    let newer = journal.oldest(&of, &all, after, AROUND, until)?;
    let lines = older.lines.into_iter().chain(newer.lines);
    let lines: Vec<Line> = lines.map(|(_, line)| line).collect();
    Ok((lines, journal.newest_id(), older.more.map(Cursor::text)))
}
