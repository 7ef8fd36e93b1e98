//! The route table: one row per path and method, each with its right. An ambiguous table or a malformed pattern fails
//! at start.

use super::admission::Admission;
use super::edge::{ANONYMOUS_BODY_MAX, BODY_MAX, EdgeHandle, Gauge};
use super::guard;
use super::reply::{Reply, TaskStarted};
use super::request::{Method, Request};
use super::response_cache::ResponseCache;
use super::route_metrics::{RouteCounts, RouteMetrics};
use super::sse::{Source, Streams};
use super::view::View;
use crate::access::right::{IsNoun, IsVerb};
use crate::access::{Actor, Allowed, Place, Right, Standing, Unplaced, token};
use crate::app::App;
use crate::base::clock::Duration;
use crate::base::error::{self, Error, Kind, Result};
use crate::base::id::Id;
use crate::base::shape::{Described, Shape};
use crate::base::zone::Zones;
use crate::db::{Db, Lens};
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::kinds;
use crate::notice;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock, mpsc};

/// One row of a feature's `ROUTES`.
pub struct Route {
    /// Method.
    pub method: Method,
    /// `/api/servers/{id}`: literal segments and `{names}`.
    pub path: &'static str,
    /// Right needed.
    pub right: Right,
    /// Handler.
    pub handler: fn(&Ctx) -> Result<Reply>,
    /// Does the handler check the right for each object in the body ([`Ctx::unplaced`])?
    pub asks: bool,
    /// Is it done only for who has just shown that it is still them ([`crate::access::confirm`])?
    pub is_dangerous: bool,
    /// Is it done while Lamplighter itself is in maintenance ([`crate::notice`])? Looks, signing in and one's own account
    /// always are.
    pub in_maintenance: bool,
    /// May the answer be streamed as it changes ([`super::live`])?
    pub live: bool,
    /// Counts for request rates ([`super::admission`]).
    counted: bool,
    /// Query parameters; others are ignored.
    pub query: &'static [Param],
    /// Body; `None`: not declared. Unknown fields are refused.
    pub body: Option<Body>,
    /// Successful answers; `None`: not declared.
    pub answers: [Option<Answer>; 2],
    /// Statuses of refusals beyond those that its method, right and inputs bring ([`Route::refusals`]).
    pub refuses: &'static [u16],
}

/// Declared body of a route.
#[derive(Debug, Clone, Copy)]
pub enum Body {
    /// An object (or a form) with these fields.
    Fields(&'static [Param]),
    /// An object that the feature reads itself.
    Document(&'static Shape),
    /// Bytes of any kind, at most so many.
    Bytes(u64),
}

/// Declared answer of a route.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// This status, and JSON of this type.
    Json(u16, &'static Shape),
    /// 200, and bytes of this media type.
    Bytes(&'static str),
    /// 204.
    Nothing,
    /// Server-sent events of these names, with JSON of these types.
    Stream(&'static [(&'static str, &'static Shape)]),
}

impl Route {
    /// The same, done only for who has shown their password or a code within ten minutes, and never for a program's token.
    pub const fn dangerous(self) -> Route {
        Route {
            is_dangerous: true,
            ..self
        }
    }

    /// The same, done in maintenance too.
    pub const fn in_maintenance(self) -> Route {
        Route {
            in_maintenance: true,
            ..self
        }
    }

    /// Is it refused while Lamplighter is in maintenance?
    fn rests(&self) -> bool {
        !self.method.is_safe() && !self.in_maintenance && matches!(self.right, Right::May(..))
    }

    /// The same, to be streamed as well.
    pub const fn live(self) -> Route {
        Route { live: true, ..self }
    }

    /// The handler checks the right itself, for each object in the body.
    pub const fn asks(self) -> Route {
        Route { asks: true, ..self }
    }

    /// Excludes it from request rates.
    pub const fn uncounted(self) -> Route {
        Route { counted: false, ..self }
    }

    /// Does it count for request rates? Streams do not: browsers reconnect by themselves.
    pub fn is_counted(&self) -> bool {
        let streams = |answer: &Option<Answer>| matches!(answer, Some(Answer::Stream(_)));
        self.counted && !self.answers.iter().any(streams)
    }

    /// Limit of its body in bytes.
    pub fn body_max(&self) -> u64 {
        if let Some(Body::Bytes(max)) = self.body {
            return max;
        }
        match (self.method, self.right) {
            (Method::Get, _) => 0,
            (_, Right::Public) => ANONYMOUS_BODY_MAX,
            _ => BODY_MAX,
        }
    }

    /// Declares the query's parameters.
    pub const fn query(self, query: &'static [Param]) -> Route {
        Route { query, ..self }
    }

    /// Declares the body's fields.
    pub const fn takes(self, fields: &'static [Param]) -> Route {
        let body = Some(Body::Fields(fields));
        Route { body, ..self }
    }

    /// Declares a body that the feature reads itself.
    pub const fn takes_document<T: Described>(self) -> Route {
        let body = Some(Body::Document(T::SHAPE));
        Route { body, ..self }
    }

    /// Declares a body of any bytes, of at most so many.
    pub const fn takes_bytes(self, max: u64) -> Route {
        let body = Some(Body::Bytes(max));
        Route { body, ..self }
    }

    /// 200 and this, as JSON.
    pub const fn gives<T: Described>(self) -> Route {
        self.answers(Answer::Json(200, T::SHAPE))
    }

    /// 201 with the new object.
    pub const fn creates<T: Described>(self) -> Route {
        self.answers(Answer::Json(201, T::SHAPE))
    }

    /// 202 with the task's id.
    pub const fn starts_task(self) -> Route {
        self.answers(Answer::Json(202, TaskStarted::SHAPE))
    }

    /// 204.
    pub const fn gives_nothing(self) -> Route {
        self.answers(Answer::Nothing)
    }

    /// 200 and bytes of this media type.
    pub const fn gives_bytes(self, media_type: &'static str) -> Route {
        self.answers(Answer::Bytes(media_type))
    }

    /// A stream of these events.
    pub const fn streams(self, events: &'static [(&'static str, &'static Shape)]) -> Route {
        self.answers(Answer::Stream(events))
    }

    /// May also be refused by these statuses.
    pub const fn refuses(self, refuses: &'static [u16]) -> Route {
        Route { refuses, ..self }
    }

    /// Asks other machines ([`Ctx::outbound`]): they may give a bad answer, or none in time.
    pub const fn asks_others(self) -> Route {
        self.refuses(&[502, 504])
    }

    /// Adds an answer; at most two.
    pub const fn answers(self, answer: Answer) -> Route {
        let answers = match self.answers {
            [None, _] => [Some(answer), None],
            [first, None] => [first, Some(answer)],
            _ => panic!("a route answers in two ways at most"),
        };
        Route { answers, ..self }
    }

    /// Where the actor must have the route's right. Routes that show several objects filter them, so they need it for
    /// something; routes that change something need it for that object, or everywhere.
    fn place(&self, actor: &Actor, db: &Db, request: &Request) -> Result<Place> {
        let may_filter = request.method.is_safe() || self.asks;
        let has_place = self.is_api() || request.method.is_safe() || !actor.projects().is_empty();
        actor.place(|| {
            let of_address = match has_place {
                true => db.read(|conn| Place::of_address(conn, &request.path()))?,
                false => None,
            };
            Ok(of_address.unwrap_or(if may_filter { Place::Granted } else { Place::Everywhere }))
        })
    }

    /// What the handler's queries see: a route about one object shows that, a list of one kind everything of it to who
    /// may see all. Who sees some projects alone sees the same in every request: forms show lists, too.
    fn lens(&self, actor: &Actor, place: &Place, request: &Request) -> Option<Lens> {
        if !actor.projects().is_empty() {
            return actor.lens();
        }
        let of_one = self.is_api() && matches!(place, Place::At(..) | Place::In(..));
        let of_all = match self.right {
            Right::May(_, noun) => self.is_api() && !noun.is_mixed() && actor.has(self.right, &Place::Everywhere),
            _ => false,
        };
        let sees_whole = of_one || of_all || !request.method.is_safe();
        if sees_whole { None } else { actor.lens() }
    }

    fn is_api(&self) -> bool {
        self.path.starts_with("/api/")
    }

    /// The statuses by which a request may be refused, in their order. Refusals look the same everywhere
    /// ([`super::reply::Refused`]). What is wrong with HTTP itself (408, 417, 421, 426, 431, 501, 505) any address may say.
    pub fn refusals(&self) -> Vec<u16> {
        let has_args = self.path.contains('{');
        let has_body = !matches!(self.method, Method::Get | Method::Delete);
        let mut all = vec![400, 429, 503];
        all.extend(self.refuses);
        let mut add = |when: bool, status: u16| all.extend(when.then_some(status));
        add(self.right != Right::Public, 401);
        add(self.right != Right::Public || !self.method.is_safe(), 403);
        add(has_args, 404);
        add(!self.method.is_safe(), 409);
        add(has_body, 413);
        add(has_args || !self.query.is_empty(), 414);
        add(has_body || !self.query.is_empty(), 422);
        let given = |status: &u16| self.answers.iter().flatten().any(|answer| answer.status() == *status);
        all.retain(|status| !given(status));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Is it one of a page (which declares no answers) and not of the API?
    pub fn is_page(&self) -> bool {
        self.answers[0].is_none()
    }

    /// Asks the handler. In a debug build, as the tests are, an answer or a refusal that is not as declared is a panic,
    /// which costs the request.
    fn answer(&self, ctx: &Ctx) -> Result<Reply> {
        let reply = (self.handler)(ctx);
        #[cfg(debug_assertions)]
        match &reply {
            Ok(reply) => self.check(reply),
            Err(e) => self.check_refusal(e),
        }
        reply
    }

    #[cfg(debug_assertions)]
    fn check_refusal(&self, error: &Error) {
        let status = super::reply::status(error.kind);
        let known = self.is_page() || status == 500 || self.refusals().contains(&status);
        assert!(
            known,
            "{} {} does not declare that it may be refused by {status}: {error}",
            self.method.name(),
            self.path
        );
    }

    #[cfg(debug_assertions)]
    fn check(&self, reply: &Reply) {
        let declared: Vec<Answer> = self.answers.into_iter().flatten().collect();
        if declared.is_empty() {
            return; // a page
        }
        let faults: Vec<_> = declared.iter().filter_map(|answer| answer.check(reply).err()).collect();
        let good = faults.len() < declared.len();
        assert!(
            good,
            "{} {} is not as declared: {}",
            self.method.name(),
            self.path,
            faults.join("; ")
        );
    }
}

impl Answer {
    /// Its status.
    pub const fn status(&self) -> u16 {
        match self {
            Answer::Json(status, _) => *status,
            Answer::Bytes(_) | Answer::Stream(_) => 200,
            Answer::Nothing => 204,
        }
    }
}

#[cfg(debug_assertions)]
impl Answer {
    /// Does the reply match? Error: why not.
    fn check(&self, reply: &Reply) -> std::result::Result<(), String> {
        let header = |name: &str| {
            reply
                .headers
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, value)| value.as_str())
        };
        let expect = |good: bool, what: &str| if good { Ok(()) } else { Err(what.to_string()) };
        match self {
            Answer::Nothing => expect(reply.status == 204 && reply.body.is_empty(), "no 204"),
            Answer::Bytes(kind) => expect(
                reply.status == 200 && header("Content-Type") == Some(kind),
                "no bytes of that kind",
            ),
            Answer::Stream(_) => expect(header(super::sse::STREAM_HEADER).is_some(), "no stream"),
            Answer::Json(status, shape) => {
                expect(reply.status == *status, "another status")?;
                let said = reply.shape.ok_or("the type of the answer is not said")?;
                expect(said == *shape, &format!("{said} instead of {shape}"))?;
                let value = serde_json::from_slice(&reply.body).map_err(|e| e.to_string())?;
                shape.check(&value)
            }
        }
    }
}

/// Shorthand for a row.
pub const fn route(method: Method, path: &'static str, right: Right, handler: fn(&Ctx) -> Result<Reply>) -> Route {
    Route {
        method,
        path,
        right,
        handler,
        asks: false,
        is_dangerous: false,
        in_maintenance: false,
        live: false,
        counted: true,
        query: &[],
        body: None,
        answers: [None, None],
        refuses: &[],
    }
}

/// A panel of a feature on another feature's page: one row of its `PANELS`. The page has slots and does not know the
/// panels.
pub struct Panel {
    /// Whose page: `domain`.
    pub on: &'static str,
    /// The slot's name; the page's template knows where it is and how it looks.
    pub slot: &'static str,
    /// Data for the slot's template about the object with this id; `null` leaves the slot out.
    pub data: fn(&Ctx, i64) -> Result<serde_json::Value>,
}

/// A card on the page of whatever events and alerts are about ([`crate::kinds::TargetKind`]), also of kinds that features
/// bring later.
pub struct TargetPanel {
    /// As in [`Panel`].
    pub slot: &'static str,
    /// As in [`Panel`], of the thing with this kind and number.
    pub data: fn(&Ctx, (&str, i64)) -> Result<serde_json::Value>,
}

/// Shared state of handlers.
pub struct Web {
    /// All machines.
    pub app: Arc<App>,
    /// Templates and words.
    pub view: View,
    /// Cached content.
    pub cache: ResponseCache,
    /// Time zones of the readers.
    pub zones: Zones,
    /// Streams offered to the edge.
    pub streams: Streams,
    /// All routes of all features.
    pub routes: Routes,
    /// Admission settings.
    pub admission: Arc<Admission>,
    /// The edge, once it runs.
    pub edge: OnceLock<EdgeHandle>,
    /// Slots for [`Ctx::outbound`].
    pub outbound: Gauge,
}

/// Limit of handlers that wait for other machines, in total and per network: most threads must stay free.
pub const OUTBOUND_MAX: (usize, usize) = (4, 2);

/// Time limit of such a handler: shorter than the edge's.
const OUTBOUND_WAIT: Duration = Duration::from_secs(25);

/// Context of a handler.
pub struct Ctx<'a> {
    /// All machines; reads are restricted to what the actor may see.
    pub app: &'a App,
    /// Shared state.
    pub web: &'a Arc<Web>,
    /// The request.
    pub request: &'a Request,
    args: Vec<Cow<'a, str>>,
    route: &'static Route,
    place: Place,
    actor: Option<Actor>,
}

/// Authorizes and calls the handler. Errors: `unauthorized`, `forbidden`, `invalid` where the query is not as the route
/// declares, where it is dangerous those of [`guard::confirmed`], those of the handler.
pub fn answer(web: &Arc<Web>, request: &Request, found: Found, actor: Option<Actor>) -> Result<Reply> {
    let route = found.route;
    let (place, lens) = match &actor {
        Some(actor) => {
            let place = route.place(actor, &web.app.db, request)?;
            actor.may_at(route.right, &place)?;
            let lens = route.lens(actor, &place, request);
            (place, lens)
        }
        None if route.right == Right::Public => (Place::Everywhere, None),
        None => return Err(token::unauthorized()),
    };
    if route.is_dangerous {
        guard::confirmed(&web.app, request, actor.as_ref().ok_or_else(token::unauthorized)?)?;
    }
    if route.rests() {
        web.app.db.read(notice::get)?.refuse()?;
    }
    let narrowed = lens.map(|lens| web.app.through(lens));
    let ctx = Ctx {
        app: narrowed.as_ref().unwrap_or(&web.app),
        web,
        request,
        args: found.args,
        route,
        place,
        actor,
    };
    ctx.check_query()?;
    route.answer(&ctx)
}

impl<'a> Ctx<'a> {
    /// Is each parameter of the query as its row says, whether it is read or not?
    fn check_query(&self) -> Result<()> {
        for row in self.route.query {
            match row.kind {
                param::Kind::Number { .. } | param::Kind::Flag => self.number(row.name).map(|_| ())?,
                param::Kind::Choice(_) => self.choice(row.name).map(|_| ())?,
                param::Kind::Link => self.link::<()>(row.name).map(|_| ())?,
                param::Kind::Text { bytes_max } if self.param(row.name).len() > bytes_max => {
                    let say = format!("{} may have at most {bytes_max} bytes.", row.name);
                    return Err(bad_param(row, "too_long", say));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Runs work that waits for other machines on its own thread. Errors: `outbound_busy` without a free slot,
    /// `outbound_timeout` (the slot is freed when the work really ends), `unauthorized` if the actor was signed out
    /// meanwhile.
    pub fn outbound<T: Send + 'static>(&self, work: impl FnOnce(&App) -> Result<T> + Send + 'static) -> Result<T> {
        let ip = self.request.ip.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let place = self.web.outbound.one(ip).ok_or_else(|| {
            let say = "Other machines are being asked already, as many as may be at once. Try again in a moment.";
            Error::new(Kind::Busy, "outbound_busy", say)
        })?;
        let (app, mut standing) = (Arc::clone(&self.web.app), self.standing()?);
        let (tell, told) = mpsc::sync_channel(1);
        std::thread::Builder::new().name("outbound".into()).spawn(move || {
            let done = work(&app);
            drop(place); // before the answer: an immediate repetition finds it free
            let _ = tell.send(done); // nobody listens after the timeout
        })?;
        let done = told.recv_timeout(OUTBOUND_WAIT).unwrap_or_else(|e| {
            Err(match e {
                mpsc::RecvTimeoutError::Timeout => {
                    let say = format!("The other machine gave no answer within {} s.", OUTBOUND_WAIT.as_secs());
                    Error::new(Kind::Timeout, "outbound_timeout", say)
                }
                mpsc::RecvTimeoutError::Disconnected => Error::internal("what asked other machines panicked"),
            })
        });
        standing.ask()?;
        done
    }

    /// The actor. Always present except on public routes.
    pub fn actor(&self) -> Result<&Actor> {
        self.actor.as_ref().ok_or_else(token::unauthorized)
    }

    /// The actor's permission for the object of the request. Error: `forbidden`.
    pub fn allowed<V: IsVerb, N: IsNoun>(&self, verb: V, noun: N) -> Result<Allowed<'_, V, N>> {
        self.actor()?.allowed(verb, noun, &self.place)
    }

    /// The actor's permission for some object: for those in the body, or new ones. Error: `forbidden`.
    pub fn unplaced<V: IsVerb, N: IsNoun>(&self, verb: V, noun: N) -> Result<Unplaced<'_, V, N>> {
        self.actor()?.unplaced(verb, noun)
    }

    /// The object of the request.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The actor, to be checked again during long work.
    pub fn standing(&self) -> Result<Standing> {
        let changed = &self.app.wakes.access;
        Ok(Standing::new(
            &self.app.db,
            changed,
            self.actor()?,
            self.route.right,
            self.place.clone(),
        ))
    }

    /// Answers with a live stream, for as long as the actor is signed in and may see it.
    pub fn stream(&self, source: impl Source + 'static) -> Result<Reply> {
        let ticket = self.web.streams.offer(self.standing()?, Box::new(source))?;
        Ok(Reply::stream(&ticket))
    }

    /// Answers with a download whose bytes the source makes one batch after the other, each of [`super::sse::BATCH`] at
    /// least up to the last, for as long as who asks is signed in and may see it. An error of the source breaks it off.
    pub fn download(&self, source: impl Source + 'static, media_type: &'static str, name: &str) -> Result<Reply> {
        let ticket = self.web.streams.offer(self.standing()?, Box::new(source))?;
        Ok(Reply::download(&ticket, media_type, name))
    }

    /// The actor, if signed in.
    pub fn maybe_actor(&self) -> Option<&Actor> {
        self.actor.as_ref()
    }

    /// The body's fields by the route's declaration. Error: malformed.
    pub fn input(&self) -> Result<Input> {
        let fields = match self.route.body {
            Some(Body::Fields(fields)) => fields,
            _ => &[],
        };
        Input::read(fields, self.request.header("content-type"), &self.request.body)
    }

    fn query_row(&self, name: &str) -> &'static Param {
        param::find(self.route.query, name)
    }

    /// A parameter of the query that is text; empty when absent.
    pub fn param(&self, name: &str) -> &'a str {
        let row = self.query_row(name);
        self.request.param(row.name).unwrap_or_default()
    }

    /// A parameter of the query that is a number, within its row's bounds; its default when absent.
    pub fn number(&self, name: &str) -> Result<i64> {
        let row = self.query_row(name);
        let (min, max) = match row.kind {
            param::Kind::Number { min, max } => (min, max),
            param::Kind::Flag => (0, 1),
            _ => return Err(Error::internal(format!("{name} is no number by its row"))),
        };
        let text = self.param(name);
        if text.is_empty() {
            return Ok(row.default);
        }
        let wrong = || {
            bad_param(
                row,
                "bad_number",
                format!("{name} is a whole number from {min} to {max}."),
            )
        };
        text.parse().ok().filter(|n| (min..=max).contains(n)).ok_or_else(wrong)
    }

    /// A parameter of the query that is `1` or `0`, the latter when absent.
    pub fn flag(&self, name: &str) -> Result<bool> {
        Ok(self.number(name)? == 1)
    }

    /// A parameter of the query that is one of its row's words; empty when absent.
    pub fn choice(&self, name: &str) -> Result<&'static str> {
        let row = self.query_row(name);
        let param::Kind::Choice(words) = row.kind else {
            return Err(Error::internal(format!("{name} is no choice by its row")));
        };
        let text = self.param(name);
        let known = words.iter().copied().chain([""]).find(|word| *word == text);
        known.ok_or_else(|| bad_param(row, "bad_choice", format!("{name} is one of: {}.", words.join(", "))))
    }

    /// A query parameter that is an id; `None` if absent.
    pub fn link<T>(&self, name: &str) -> Result<Option<Id<T>>> {
        match self.param(name) {
            "" => Ok(None),
            text => match Id::parse(text) {
                Some(id) => Ok(Some(id)),
                None => Err(bad_param(
                    self.query_row(name),
                    "bad_choice",
                    format!("{name} is the number of one."),
                )),
            },
        }
    }

    /// `limit` and `offset` of a list.
    pub fn page(&self) -> Result<(i64, i64)> {
        Ok((self.number(LIMIT.name)?, self.number(OFFSET.name)?))
    }

    /// The decoded value of the pattern's `n`th name; empty if there is none.
    pub fn arg(&self, n: usize) -> &str {
        self.args.get(n).map_or("", |text| text)
    }

    /// The id at place `n` of the pattern. Error `NotFound` for anything else.
    pub fn id<T>(&self, n: usize, what: &str) -> Result<Id<T>> {
        Id::parse(self.arg(n)).ok_or_else(|| Error::not_found(what))
    }

    /// The panels of all features on an object's page, by slot.
    pub fn panels(&self, on: &str, id: i64) -> Result<serde_json::Map<String, serde_json::Value>> {
        let mut slots = serde_json::Map::new();
        let mut put = |slot: &str, data: serde_json::Value| {
            if !data.is_null() {
                slots.insert(slot.to_string(), data);
            }
        };
        for panel in self.app.registry.all::<Panel>().iter().filter(|p| p.on == on) {
            put(panel.slot, (panel.data)(self, id)?);
        }
        if kinds::target_kind(on).is_some() {
            for panel in self.app.registry.all::<TargetPanel>() {
                put(panel.slot, (panel.data)(self, (on, id))?);
            }
        }
        Ok(slots)
    }
}

/// Of a list: how many items at most.
pub const LIMIT: Param = param::number("limit", 1..=500, "Items at most.").or(50);

/// Of a list: how many items to pass over.
pub const OFFSET: Param = param::number("offset", 0..=1_000_000_000, "Items to pass over.");

/// Of a list: what must be in a name.
pub const Q: Param = param::text("q", 4_096, "Only what has this in a name.");

fn bad_param(row: &Param, code: &'static str, message: String) -> Error {
    let field = row.name;
    Error::invalid(vec![error::Field { field, code, message }])
}

/// The table, checked.
pub struct Routes {
    table: Vec<Entry>,
    /// Metrics of unmatched requests: made-up paths must not create counters.
    unmatched: RouteMetrics,
}

struct Entry {
    pattern: Pattern,
    is_page: bool,
    route: &'static Route,
    metrics: RouteMetrics,
}

/// A matching row.
pub struct Found<'r, 'p> {
    /// The row.
    pub route: &'static Route,
    /// The values of its pattern's names, in order.
    pub args: Vec<Cow<'p, str>>,
    metrics: &'r RouteMetrics,
}

/// A parsed path pattern.
#[derive(Debug, PartialEq, Eq)]
struct Pattern {
    head: Vec<Segment>,
    /// What follows a name that takes several segments; `None` without such a name.
    suffix: Option<Vec<&'static str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Segment {
    Literal(&'static str),
    Name,
}

impl Pattern {
    /// Parses `/api/images/{id}/tags/{name…}/pull`. Error: why it is malformed.
    fn parse(path: &'static str) -> std::result::Result<Pattern, &'static str> {
        let mut pattern = Pattern {
            head: Vec::new(),
            suffix: None,
        };
        for part in path.strip_prefix('/').ok_or("does not start with /")?.split('/') {
            let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
            match (name, &mut pattern.suffix) {
                (Some(_), Some(_)) => return Err("has a name behind one that takes several segments"),
                (Some(name), suffix) if name.ends_with('…') => *suffix = Some(Vec::new()),
                (Some(_), None) => pattern.head.push(Segment::Name),
                (None, _) if part.contains(['{', '}']) => return Err("has a name that is not a whole segment"),
                (None, Some(suffix)) => suffix.push(part),
                (None, None) => pattern.head.push(Segment::Literal(part)),
            }
        }
        Ok(pattern)
    }

    /// Do both match the same paths?
    fn same(&self, other: &Pattern) -> bool {
        let kind = |s: &Segment| match s {
            Segment::Literal(text) => *text,
            Segment::Name => "{}",
        };
        self.suffix == other.suffix && self.head.iter().map(kind).eq(other.head.iter().map(kind))
    }

    /// The values of its names, if the path matches.
    fn fit<'p>(&self, path: &'p [String]) -> Option<Vec<Cow<'p, str>>> {
        let (head, rest) = path.split_at_checked(self.head.len())?;
        let mut args = Vec::new();
        for (segment, part) in self.head.iter().zip(head) {
            match segment {
                Segment::Literal(text) if text == part => {}
                Segment::Name if !part.is_empty() && !part.contains('/') => args.push(Cow::from(part.as_str())),
                _ => return None,
            }
        }
        match &self.suffix {
            None => rest.is_empty().then_some(args),
            Some(suffix) => {
                let (name, behind) = rest.split_at_checked(rest.len().checked_sub(suffix.len())?)?;
                args.push(match name {
                    [] => return None,
                    [one] => Cow::from(one.as_str()),
                    several => Cow::from(several.join("/")),
                });
                let good = behind == suffix.as_slice() && name.last().is_some_and(|part| !part.is_empty());
                good.then_some(args)
            }
        }
    }

    /// Priority among matching patterns, larger wins: from the left a literal before a name, and a name before one that
    /// takes several segments; of two of these the longer suffix.
    fn rank(&self) -> Vec<usize> {
        let suffix = self.suffix.iter().flat_map(|suffix| [0, suffix.len()]);
        self.head_rank().into_iter().chain(suffix).collect()
    }

    /// The same without what stands behind a name that takes several segments.
    fn head_rank(&self) -> Vec<usize> {
        let rank = |s: &Segment| if *s == Segment::Name { 1 } else { 2 };
        self.head.iter().map(rank).collect()
    }
}

impl Routes {
    /// Checks and indexes the rows of all features. Error: ambiguous or malformed rows.
    pub fn new(
        rows: impl IntoIterator<Item = &'static Route>,
        pages: impl IntoIterator<Item = &'static Route>,
    ) -> Result<Routes> {
        let mut table: Vec<Entry> = Vec::new();
        let rows = rows.into_iter().map(|row| (row, false));
        for (row, is_page) in rows.chain(pages.into_iter().map(|row| (row, true))) {
            let bad = |why: &str| Error::internal(format!("route {} {}: {why}", row.method.name(), row.path));
            if !row.right.is_known() {
                return Err(bad("asks for a right that the table of rights does not name"));
            }
            let has_body = !matches!(row.method, Method::Get | Method::Delete);
            if !is_page && (row.answers[0].is_none() || has_body && row.body.is_none()) {
                return Err(bad("does not say what it takes and how it answers"));
            }
            let pattern = Pattern::parse(row.path).map_err(bad)?;
            let mut rows = table.iter().filter(|other| other.route.method == row.method);
            if rows.any(|other| other.pattern.same(&pattern)) {
                return Err(bad("stands there twice"));
            }
            table.push(Entry {
                pattern,
                is_page,
                route: row,
                metrics: RouteMetrics::default(),
            });
        }
        Ok(Routes {
            table,
            unmatched: RouteMetrics::default(),
        })
    }

    /// The row for a path and method, with the values of its names. Errors: not found, method not allowed.
    pub fn find<'p>(&self, method: Method, path: &'p [String]) -> Result<Found<'_, 'p>> {
        let mut fits: Vec<_> = (self.table.iter())
            .filter_map(|entry| Some((entry, entry.pattern.fit(path)?)))
            .collect();
        // A word that stands in a row is no name: `/servers/new` is another address than `/servers/{id}`.
        if let Some(best) = fits.iter().map(|(entry, _)| entry.pattern.head_rank()).max() {
            fits.retain(|(entry, _)| entry.pattern.head_rank() == best);
        }
        let allowed: BTreeSet<_> = fits.iter().map(|(entry, _)| entry.route.method.name()).collect();
        let best = (fits.into_iter().filter(|(entry, _)| entry.route.method == method))
            .max_by_key(|(entry, _)| entry.pattern.rank());
        match best {
            Some((entry, args)) => Ok(Found {
                route: entry.route,
                args,
                metrics: &entry.metrics,
            }),
            None if allowed.is_empty() => Err(Error::new(
                Kind::NotFound,
                "no_such_page",
                "There is nothing at this address.",
            )),
            None => {
                let allowed = allowed.into_iter().collect::<Vec<_>>().join(", ");
                let say = format!("This address takes {allowed}, not {}.", method.name());
                // The list comes back as the answer's `Allow` (RFC 9110 §15.5.6).
                Err(Error::new(Kind::Method, "method_not_allowed", say).log(allowed))
            }
        }
    }

    /// Programs may request API paths without `/api`. If such a route exists and nothing else matches, returns the
    /// redirect status: 307 (temporary) if a page has this path, else 308.
    pub fn moved(&self, request: &Request) -> Option<u16> {
        let accepts = |kind| request.header("accept").is_some_and(|all| all.contains(kind));
        // A browser's `Accept` is explicit, and so is a complete path.
        if accepts("text/html") || matches!(&request.segments[..], [first, _, ..] if first == "api") {
            return None;
        }
        let at = |path: &[String]| {
            self.table
                .iter()
                .filter(|entry| entry.pattern.fit(path).is_some())
                .collect::<Vec<_>>()
        };
        let here = at(&request.segments);
        let takes = |entry: &&&Entry| entry.route.method == request.method;
        let is_program = request.header("authorization").is_some() || accepts("application/json");
        if here
            .iter()
            .find(takes)
            .is_some_and(|entry| !entry.is_page || !is_program)
        {
            return None;
        }
        let below_api = [&["api".to_string()], &request.segments[..]].concat();
        let there = at(&below_api);
        there.iter().find(takes)?;
        Some(if here.is_empty() { 308 } else { 307 })
    }

    /// Limit of the body for this method and path (not decoded), in bytes.
    pub fn body_max(&self, method: &str, path: &str) -> u64 {
        let found = Method::parse(method).zip(super::request::segments(path));
        let found = found.and_then(|(method, path)| Some(self.find(method, &path).ok()?.route.body_max()));
        found.unwrap_or(ANONYMOUS_BODY_MAX) // unmatched; a small body is read, so that its sender sees the response
    }

    /// Does the body for this method and path go into a file? Where it is any bytes.
    pub fn spools(&self, method: &str, path: &str) -> bool {
        let found = Method::parse(method).zip(super::request::segments(path));
        let found = found.and_then(|(method, path)| Some(self.find(method, &path).ok()?.route.body));
        matches!(found, Some(Some(Body::Bytes(_))))
    }

    /// All rows, for the API's description and for tests.
    pub fn rows(&self) -> impl Iterator<Item = &'static Route> {
        self.table.iter().map(|entry| entry.route)
    }

    /// The metrics for a request.
    pub fn metrics<'r>(&'r self, found: &Result<Found<'r, '_>>) -> &'r RouteMetrics {
        found.as_ref().map_or(&self.unmatched, |found| found.metrics)
    }

    /// Counters by method and pattern; `None` for unmatched requests.
    pub fn counted(&self) -> impl Iterator<Item = (Option<&'static Route>, RouteCounts)> {
        let rows = self.table.iter().map(|entry| (Some(entry.route), entry.metrics.read()));
        rows.chain([(None, self.unmatched.read())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDLER: fn(&Ctx) -> Result<Reply> = |_| Ok(Reply::status(204));

    fn routes(paths: &[&'static str]) -> Result<Routes> {
        let row = |path: &&'static str| &*Box::leak(Box::new(route(Method::Get, path, Right::Public, HANDLER)));
        Routes::new([], paths.iter().map(row))
    }

    /// The pattern that a path finds, and its names' values.
    fn find(routes: &Routes, path: &str) -> Option<(&'static str, Vec<String>)> {
        let path = super::super::request::segments(path)?;
        let found = routes.find(Method::Get, &path).ok()?;
        Some((found.route.path, found.args.into_iter().map(Cow::into_owned).collect()))
    }

    #[test]
    fn a_name_at_the_end_takes_slashes_and_the_longest_suffix_wins() {
        let all = [
            "/s/{name…}",
            "/s/{name…}/rotate",
            "/s/{name…}/all/rotate",
            "/s/{id}/logs",
            "/s/list",
            "/t/{id}",
        ];
        let routes = routes(&all).unwrap();
        for (path, pattern, args) in [
            ("/s/a", all[0], &["a"][..]),
            ("/s/a/b/c", all[0], &["a/b/c"]),
            ("/s/a%2Fb%2fc", all[0], &["a/b/c"]),
            ("/s/a%2Fb/c", all[0], &["a/b/c"]),
            ("/s/a/b/rotate", all[1], &["a/b"]),
            ("/s/a%2Fb/rotate", all[1], &["a/b"]),
            ("/s/a/all/rotate", all[2], &["a"]),
            ("/s/all/rotate", all[1], &["all"]),
            ("/s/a%2Frotate", all[0], &["a/rotate"]), // one name that looks like more
            ("/s/rotate", all[0], &["rotate"]),
            ("/s/a/logs", all[3], &["a"]),
            ("/s/a/b/logs", all[0], &["a/b/logs"]),
            ("/s/list", all[4], &[]),
            ("/t/5", all[5], &["5"]),
        ] {
            let args = args.iter().map(|arg| arg.to_string()).collect();
            assert_eq!(find(&routes, path), Some((pattern, args)), "{path}");
        }
        for nobodys in [
            "/s",
            "/s/",
            "/s/a/",
            "/s/a//b",
            "/s/a/../b",
            "/t/5%2F6",
            "/t/a/b",
            "/t/",
        ] {
            assert_eq!(find(&routes, nobodys), None, "{nobodys}");
        }
    }

    #[test]
    fn a_word_of_the_table_is_no_name_and_each_method_is_told_once() {
        let row =
            |(method, path): (Method, &'static str)| &*Box::leak(Box::new(route(method, path, Right::Public, HANDLER)));
        let all = [
            (Method::Get, "/c/served"),
            (Method::Get, "/c/{id}"),
            (Method::Put, "/c/{id}"),
            (Method::Get, "/t/{name…}"),
            (Method::Post, "/t/{name…}/pull"),
        ];
        let routes = Routes::new([], all.map(row)).unwrap();
        let allowed = |method: Method, path: &str| {
            let path = super::super::request::segments(path).unwrap();
            routes.find(method, &path).err().map(|e| e.log)
        };
        assert_eq!(allowed(Method::Put, "/c/served").as_deref(), Some("GET"));
        assert_eq!(allowed(Method::Post, "/c/5").as_deref(), Some("GET, PUT"));
        assert_eq!(allowed(Method::Put, "/t/a/pull").as_deref(), Some("GET, POST"));
        for (method, path) in [
            (Method::Get, "/t/a/pull"),
            (Method::Post, "/t/a/pull"),
            (Method::Put, "/c/5"),
        ] {
            assert_eq!(allowed(method, path), None, "{path}");
        }
    }

    #[test]
    fn a_table_that_is_ambiguous_or_odd_does_not_boot() {
        for bad in [
            &["/a/{id}", "/a/{name}"][..],
            &["/a/{b…}/c", "/a/{d…}/c"],
            &["/a/{b…}/{c}"],
            &["/a/{b…}/{c…}"],
            &["/a/x{b}"],
            &["a"],
        ] {
            assert!(routes(bad).is_err(), "{bad:?}");
        }
        assert!(routes(&["/a/{id}", "/a/{id…}", "/a/{id…}/c", "/a/c"]).is_ok());
    }
}
