//! Lines of the journal for people and programs, whoever spoke them: which are asked for, pages of them, the live stream,
//! and how a page shows them.

mod view;

use crate::access::Actor;
use crate::app::App;
use crate::base::clock::{self, DAY, Duration, HOUR, Instant, MINUTE, Ms, SECOND, rfc3339};
use crate::base::error::{Error, Field, Result};
use crate::base::id::{self, Id};
use crate::base::shape::{Described, Shape, described};
use crate::db::{Conn, Db};
use crate::form::param::{self, Param};
use crate::http::reply::Reply;
use crate::http::route::Ctx;
use crate::http::sse::{self, Event, Flow, Source};
use crate::journal::{Cursor, Filter, Level, Line, Span, Stream, Words};
use crate::series::Subject;
use serde::{Serialize, Serializer};
use std::collections::HashMap;
use std::sync::Arc;

pub use view::{LogView, Narrowed, OfLine, Shown, is_live, line_view};

/// Longest search of one request; what it has not found by then is the next one's.
const SEARCH_MAX: Duration = Duration::from_secs(4);
/// Parameters that say which lines.
pub const LINES: &[Param] = &[TAIL, SINCE, UNTIL, Q, LEVEL, STREAM, BEFORE, AFTER];
/// Parameters of a live stream.
pub const LIVE: &[Param] = &[Q, LEVEL, STREAM, FROM];

const TAIL: Param = param::number("tail", 1..=5_000, "Lines at most.").or(500);
const SINCE: Param = param::text(
    "since",
    40,
    "Not before this time: RFC 3339, unix seconds, or `10m` ago.",
);
const UNTIL: Param = param::text("until", 40, "Not after this time, likewise.");
const Q: Param = param::text("q", 500, "Words, with AND, OR, NOT, `\"several words\"` and `*`.");
const LEVEL: Param = param::choice(
    "level",
    &["trace", "debug", "info", "warning", "error", "critical"],
    "At least so bad.",
);
const STREAM: Param = param::choice("stream", &Stream::NAMES, "Only what was written there.");
const BEFORE: Param = param::text("before", 45, "Only lines before this cursor.");
const AFTER: Param = param::text("after", 45, "Only lines after this cursor, the oldest of them.");
const FROM: Param = param::number(
    "after",
    0..=i64::MAX,
    "Only lines with higher numbers: `last` of a page.",
);

/// Where somebody speaks; `None`: on the machine that Lamplighter runs on.
pub type Of = Option<Id<id::Server>>;

/// What the controller's own machine is called in names and paths.
pub const LOCAL: &str = "local";

/// Who speaks: a container, a service.
#[derive(Debug, Clone)]
pub struct Speaker {
    /// Whose lines they are.
    pub subject: Subject,
    /// Where it is.
    pub server: Of,
    /// Name of that server.
    pub server_name: String,
    /// Its own name.
    pub name: String,
}

impl Speaker {
    /// `h3/shop-api-1`; `local/shop-api-1` on the machine that Lamplighter runs on.
    pub fn full_name(&self) -> String {
        match self.server {
            Some(_) => format!("{}/{}", self.server_name, self.name),
            None => format!("{LOCAL}/{}", self.name),
        }
    }

    fn is(&self, kind: &str) -> Option<()> {
        (self.subject.0 == kind).then_some(())
    }
}

/// Number of a server, or `local` for the machine that Lamplighter runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerRef(pub Of);

impl Serialize for ServerRef {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0 {
            Some(id) => to.serialize_i64(id.get()),
            None => to.serialize_str(LOCAL),
        }
    }
}

impl Described for ServerRef {
    const SHAPE: &'static Shape = &Shape::Scalar;
}

impl ServerRef {
    /// Reads one.
    pub fn parse(text: &str) -> Option<ServerRef> {
        match text {
            LOCAL => Some(ServerRef(None)),
            text => Id::<id::Server>::parse(text).map(|id| ServerRef(Some(id))),
        }
    }
}

described! {
    /// Lines of one speaker.
    pub struct Lines<'a> {
        /// In the order of time.
        items: Vec<LineView<'a>>,
        /// Stored lines; `null` where a filter leaves it open.
        total: Option<i64>,
        /// Cursor for more: `before` of older ones, with `after` that of newer ones; `null`: there are none.
        next: Option<String>,
        /// Number for the stream's `after`.
        last: i64,
    }

    /// A line.
    pub struct LineView<'a> {
        ts: String,
        /// `note`: said by Lamplighter, such as that lines are missing here.
        stream: &'static str,
        level: Option<&'static str>,
        /// May have colours (SGR), and no other control characters.
        line: &'a str,
        /// Place of this line.
        cursor: String,
    }

    /// Lines of several containers and services.
    pub struct Found<'a> {
        /// In the order of time.
        items: Vec<FoundLine<'a>>,
        /// Stored lines; `null` where a filter leaves it open.
        total: Option<i64>,
        /// As in the lines of one.
        next: Option<String>,
        /// Number for the stream's `after`.
        last: i64,
    }

    /// A line with who spoke it.
    pub struct FoundLine<'a> {
        server_id: ServerRef,
        /// The container, or
        container: Option<&'a str>,
        /// the service.
        service: Option<&'a str>,
        ts: String,
        stream: &'static str,
        level: Option<&'static str>,
        line: &'a str,
        cursor: String,
    }

    /// A line as it comes.
    pub struct LiveLine<'a> {
        ts: String,
        stream: &'static str,
        level: Option<&'static str>,
        line: &'a str,
        /// The container, or
        container: Option<&'a str>,
        /// the service.
        service: Option<&'a str>,
        server_id: ServerRef,
        /// Number of the container on pages.
        container_id: Option<i64>,
        /// Place of this line.
        cursor: String,
    }
}

/// Event of the stream.
const LOG: Event<LiveLine<'static>> = Event::named("log");
/// Events of the stream.
pub const EVENTS: &[(&str, &Shape)] = &[LOG.row()];

/// Lines that are asked for.
pub struct Asked {
    /// Of these.
    pub of: Vec<Speaker>,
    filter: Filter,
    span: Span,
    tail: usize,
    forward: bool,
}

/// What was found.
pub struct Answer {
    /// In the order of time.
    pub lines: Vec<(Subject, Line)>,
    total: Option<i64>,
    next: Option<String>,
    last: i64,
}

fn wrong(field: &'static str, message: String) -> Error {
    Error::invalid(vec![Field {
        field,
        code: "bad_text",
        message,
    }])
}

/// A time: RFC 3339, unix seconds, or `10m` before `now`; unix ms.
pub fn time(text: &str, now: Ms) -> Option<Ms> {
    let number = |text: &str| -> Option<i64> {
        let is_number = (1..=12).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| text.parse().ok())?
    };
    let units = [("s", SECOND), ("m", MINUTE), ("h", HOUR), ("d", DAY)];
    let ago = units
        .iter()
        .find_map(|(unit, ms)| Some((number(text.strip_suffix(unit)?)?, *ms)));
    match (ago, number(text)) {
        (Some((n, ms)), _) => Some(now - n.checked_mul(ms)?),
        (_, Some(seconds)) => Some(seconds * SECOND),
        _ => clock::parse_utc(text),
    }
}

fn filter(ctx: &Ctx) -> Result<Filter> {
    Ok(Filter {
        words: Words::parse(ctx.param("q")).map_err(|say| wrong("q", say))?,
        level: Level::parse(ctx.choice("level")?).unwrap_or(Level::Unknown),
        stream: Stream::parse(ctx.choice("stream")?),
    })
}

/// What a request asks of these.
pub fn asked(ctx: &Ctx, of: Vec<Speaker>) -> Result<Asked> {
    let now = clock::now();
    let at = |field: &'static str| match ctx.param(field) {
        "" => Ok(None),
        text => match time(text, now).and_then(|ms| ms.checked_mul(1_000_000)) {
            Some(ns) => Ok(Some(ns)),
            None => Err(wrong(
                field,
                format!("{field} is a time like 2026-11-21T05:31:50Z, unix seconds, or 10m."),
            )),
        },
    };
    let cursor = |field: &'static str| match ctx.param(field) {
        "" => Ok(None),
        text => match Cursor::parse(text) {
            Some(cursor) => Ok(Some(cursor)),
            None => Err(wrong(field, format!("{field} is the cursor of a line."))),
        },
    };
    let since = at("since")?.map(|at| Cursor { at, id: 0 });
    let until = at("until")?.map(|at| Cursor { at, id: i64::MAX });
    let (before, after) = (cursor("before")?, cursor("after")?);
    let span = Span {
        after: [since, after].into_iter().flatten().max().unwrap_or(Cursor::START),
        before: [until, before].into_iter().flatten().min().unwrap_or(Cursor::END),
    };
    Ok(Asked {
        of,
        filter: filter(ctx)?,
        span,
        tail: ctx.number("tail")? as usize,
        forward: after.is_some(),
    })
}

/// Subject kind of containers.
const CONTAINER: &str = "container";
/// Subject kind of services.
const SERVICE: &str = "service";

/// Who is meant, now and later: looked for again when somebody new has lines.
pub type Choice = Box<dyn Fn(&Conn) -> Result<Vec<Speaker>> + Send>;

impl Asked {
    fn subjects(&self) -> Vec<Subject> {
        self.of.iter().map(|one| one.subject).collect()
    }

    /// Finds them.
    pub fn find(&self, app: &App) -> Result<Answer> {
        let subjects = self.subjects();
        let newest = app.journal.newest_id();
        let until = clock::mono() + SEARCH_MAX;
        let page = match self.forward {
            true => app
                .journal
                .oldest(&subjects, &self.filter, self.span, self.tail, until)?,
            false => app
                .journal
                .newest(&subjects, &self.filter, self.span, self.tail, until)?,
        };
        let all = self.filter.is_empty() && self.span.after == Cursor::START && self.span.before == Cursor::END;
        let total = || {
            subjects
                .iter()
                .map(|subject| app.journal.usage_of(*subject).lines)
                .sum()
        };
        Ok(Answer {
            total: all.then(total),
            next: page.more.map(Cursor::text),
            last: page.lines.iter().map(|(_, line)| line.id).fold(newest, i64::max),
            lines: page.lines,
        })
    }
}

fn level(line: &Line) -> Option<&'static str> {
    Some(line.level.name()).filter(|name| !name.is_empty())
}

impl Answer {
    /// Cursor for more.
    pub fn next(&self) -> Option<String> {
        self.next.clone()
    }

    /// Number for a stream's `after`.
    pub fn last(&self) -> i64 {
        self.last
    }

    /// As lines of one.
    pub fn of_one(&self) -> Lines<'_> {
        let view = |line: &'_ Line| (rfc3339(line.at / 1_000_000), line.cursor().text());
        let items = self.lines.iter().map(|(_, line)| {
            let (ts, cursor) = view(line);
            LineView {
                ts,
                stream: line.stream.name(),
                level: level(line),
                line: &line.text,
                cursor,
            }
        });
        Lines {
            items: items.collect(),
            total: self.total,
            next: self.next.clone(),
            last: self.last,
        }
    }

    /// As lines of several.
    pub fn of_many<'a>(&'a self, of: &'a [Speaker]) -> Found<'a> {
        let by_subject: HashMap<Subject, &Speaker> = of.iter().map(|one| (one.subject, one)).collect();
        let items = self.lines.iter().filter_map(|(subject, line)| {
            let one = by_subject.get(subject)?;
            Some(FoundLine {
                server_id: ServerRef(one.server),
                container: one.is(CONTAINER).map(|()| one.name.as_str()),
                service: one.is(SERVICE).map(|()| one.name.as_str()),
                ts: rfc3339(line.at / 1_000_000),
                stream: line.stream.name(),
                level: level(line),
                line: &line.text,
                cursor: line.cursor().text(),
            })
        });
        Found {
            items: items.collect(),
            total: self.total,
            next: self.next.clone(),
            last: self.last,
        }
    }
}

/// The lines of one as a text file, times in UTC.
pub fn download(ctx: &Ctx, one: Speaker) -> Result<Reply> {
    let file = format!("attachment; filename=\"{}.txt\"", one.name);
    let answer = asked(ctx, vec![one])?.find(ctx.app)?;
    let mut out = String::new();
    answer.lines.iter().for_each(|(_, line)| text_line(&mut out, "", line));
    Ok(Reply::text(out).header("Content-Disposition", file))
}

/// The lines of several, each after its name.
pub fn download_all(ctx: &Ctx, of: Vec<Speaker>) -> Result<Reply> {
    let asked = asked(ctx, of)?;
    let names: HashMap<Subject, String> = asked.of.iter().map(|one| (one.subject, one.full_name())).collect();
    let mut out = String::new();
    for (subject, line) in &asked.find(ctx.app)?.lines {
        text_line(&mut out, names.get(subject).map_or("", String::as_str), line);
    }
    Ok(Reply::text(out).header("Content-Disposition", "attachment; filename=\"logs.txt\""))
}

fn text_line(out: &mut String, of: &str, line: &Line) {
    let mark = match line.stream {
        Stream::Stdout => ' ',
        Stream::Stderr => '!',
        Stream::Note => '#',
    };
    let text = crate::base::lines::uncoloured(&line.text);
    let of = if of.is_empty() { String::new() } else { format!("{of} ") };
    out.push_str(&format!("{of}{} {mark} {text}\n", rfc3339(line.at / 1_000_000)));
}

/// A live stream of lines.
pub struct Live {
    app: Arc<App>,
    choice: Choice,
    of: HashMap<Subject, Speaker>,
    subjects: Vec<Subject>,
    /// Whose lines were there when they were looked for, and when that was.
    looked: (Extent, Instant),
    filter: Filter,
    after: i64,
}

/// How many have lines, and the highest number of one: of containers, of services.
type Extent = [(usize, i64); 2];

/// Lines of one batch.
const BATCH: usize = 1_000;
/// Interval of looking for them again, when nobody new has lines: one may have come into a project.
const LOOK_EVERY: Duration = Duration::from_secs(10);

impl Live {
    /// A stream of their lines from now on, or after the number in `Last-Event-ID` or `?after=`. Who comes later and is of
    /// the choice is in it.
    pub fn new(ctx: &Ctx, choice: Choice) -> Result<Live> {
        let app = ctx.web.app.clone();
        let newest = app.journal.newest_id();
        let after = match ctx.request.header("last-event-id").and_then(|text| text.parse().ok()) {
            Some(seen) => seen,
            None => match ctx.param("after") {
                "" => newest,
                _ => ctx.number("after")?,
            },
        };
        let mut live = Live {
            choice,
            of: HashMap::new(),
            subjects: Vec::new(),
            looked: (Extent::default(), clock::mono()),
            filter: filter(ctx)?,
            after: after.clamp(0, newest),
            app,
        };
        live.look(&ctx.app.db)?;
        Ok(live)
    }

    /// A stream of one.
    pub fn of_one(ctx: &Ctx, one: Speaker) -> Result<Live> {
        Live::new(ctx, Box::new(move |_| Ok(vec![one.clone()])))
    }

    fn extent(&self) -> Extent {
        [CONTAINER, SERVICE].map(|kind| self.app.journal.extent(kind))
    }

    fn look(&mut self, db: &Db) -> Result<()> {
        self.looked = (self.extent(), clock::mono());
        let of = db.read(|conn| (self.choice)(conn))?;
        self.subjects = of.iter().map(|one| one.subject).collect();
        self.of = of.into_iter().map(|one| (one.subject, one)).collect();
        Ok(())
    }

    /// What is new. Who has got its first lines while this was read is looked for, and read as well.
    fn news(&mut self, by: &Actor) -> Result<(Vec<(Subject, Line)>, bool)> {
        for _ in 0..3 {
            let found = self.app.journal.since(&self.subjects, self.after, BATCH)?;
            let (extent, at) = self.looked;
            if self.extent() == extent && at.elapsed() < LOOK_EVERY {
                return Ok(found);
            }
            let db = match by.lens() {
                Some(lens) => Arc::new(self.app.db.through(lens)),
                None => self.app.db.clone(),
            };
            self.look(&db)?;
        }
        self.app.journal.since(&self.subjects, self.after, BATCH)
    }

    fn frame(&self, out: &mut Vec<u8>, subject: Subject, line: &Line) {
        let Some(one) = self.of.get(&subject) else {
            return;
        };
        let line_view = LiveLine {
            ts: rfc3339(line.at / 1_000_000),
            stream: line.stream.name(),
            level: level(line),
            line: &line.text,
            container: one.is(CONTAINER).map(|()| one.name.as_str()),
            service: one.is(SERVICE).map(|()| one.name.as_str()),
            server_id: ServerRef(one.server),
            container_id: one.is(CONTAINER).map(|()| subject.1),
            cursor: line.cursor().text(),
        };
        let json = serde_json::to_string(&line_view).unwrap_or_default(); // only text keys
        LOG.frame_made(out, Some(line.id), &json);
    }
}

impl Source for Live {
    fn fill(&mut self, by: &Actor, out: &mut Vec<u8>) -> Result<Flow> {
        let (lines, left_out) = self.news(by)?;
        if let Some((subject, line)) = lines.first().filter(|_| left_out) {
            let note = Line {
                text: "Older lines are not shown here.".into(),
                stream: Stream::Note,
                id: line.id - 1,
                ..line.clone()
            };
            self.frame(out, *subject, &note);
        }
        for (subject, line) in &lines {
            if self.filter.fits(line.stream, line.level, &line.text) {
                self.frame(out, *subject, line);
            }
            self.after = line.id;
            if out.len() >= sse::BATCH {
                break;
            }
        }
        Ok(Flow::More)
    }

    fn moved(&self) -> u64 {
        self.app.journal.moved()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_three_ways() {
        let now = 1_795_239_110_000;
        assert_eq!(time("10m", now), Some(now - 10 * MINUTE));
        assert_eq!(time("1795239110", now), Some(now));
        assert_eq!(time("2026-11-21T05:31:50Z", now), Some(now));
        for bad in ["", "m", "-1", "10w", "999999999999999999999d", "yesterday"] {
            assert_eq!(time(bad, now), None, "{bad}");
        }
    }
}
