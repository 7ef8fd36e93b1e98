//! Serves one client connection, request after request: head, checks, body, handler, response.

use super::answer::{self, About};
use super::client_socket::{ClientSocket, Speech, Spoken};
use super::limits::{Gauge, Limits, Share, allowance};
use super::parse::{self, Field, Head, Scan};
use super::peers::{self, CONN_HEADER, ConnInfo, Named, Peers};
use super::refusal::{REFUSALS, Refusal};
use super::relay::Inner;
use super::slots::{ConnectionSlot, ConnectionSlots};
use super::stream::{self, Framing, Live, Rounds};
use crate::base::clock::{self, Duration, Instant};
use crate::base::file;
use crate::base::host::{Cidr, Host, network};
use crate::base::log::{self, Level};
use crate::base::ration::Rations;
use crate::base::url::Url;
use crate::base::{random, text};
use crate::http::sse::{DOWNLOAD_HEADER, STREAM_HEADER, Stream, Streams};
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Limit of the body for a method and path (not decoded), in bytes.
pub type BodyMax = Box<dyn Fn(&str, &str) -> u64 + Send + Sync>;

/// Settings that may change while the edge runs.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Public address: HTTP requests to its name are redirected to its port.
    pub public: Option<Url>,
    /// Max-age of HSTS in seconds.
    pub hsts_s: u32,
    /// Allowed client addresses; empty: all.
    pub allow_from: Vec<Cidr>,
    /// Allowed CORS origins, as browsers send them: `https://panel.example`.
    pub origins: Vec<String>,
}

impl Policy {
    /// Is this client address allowed?
    pub fn lets_in(&self, ip: IpAddr) -> bool {
        self.allow_from.is_empty() || peers::trusted(&self.allow_from, ip)
    }
}

/// Returns the current policy; called for every request.
pub type PolicyNow = Box<dyn Fn() -> Arc<Policy> + Send + Sync>;

/// Is this one of the server's names?
pub type Hosts = Box<dyn Fn(&Host) -> bool + Send + Sync>;

/// Do these headers authenticate somebody?
pub type Known = Box<dyn Fn(&[Field<'_>], &ConnInfo) -> bool + Send + Sync>;

/// Does the body go into a file, by method and path?
pub type Spools = Box<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// Bodies up to this size are copied behind the head, so that most responses are sent in one write.
const WITH_HEAD: usize = 16 << 10;

/// Default limit of a body.
pub const BODY_MAX: u64 = 1 << 20;

/// Parameters of an edge.
pub struct Config {
    /// The inner server's Unix socket.
    pub inner: PathBuf,
    /// Caps and deadlines.
    pub limits: Limits,
    /// The current [`Policy`].
    pub policy: PolicyNow,
    /// Our own host names and addresses.
    pub hosts: Hosts,
    /// Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are used.
    pub trusted_proxies: Vec<Cidr>,
    /// Limits of bodies by route.
    pub body_max: BodyMax,
    /// Which bodies above [`Limits::anonymous_body_max`] go into a file, in this folder; the others are held in memory.
    pub spool: Option<(PathBuf, Spools)>,
    /// Authentication check for bodies above [`Limits::anonymous_body_max`].
    pub known: Known,
}

impl Config {
    /// Defaults in front of that socket.
    pub fn new(inner: PathBuf) -> Config {
        Config {
            inner,
            limits: Limits::default(),
            policy: Box::new(Arc::default),
            hosts: Box::new(|_| true),
            trusted_proxies: Vec::new(),
            body_max: Box::new(|_, _| BODY_MAX),
            spool: None,
            known: Box::new(|_, _| false),
        }
    }
}

/// State shared by all connections.
pub struct Shared {
    pub config: Config,
    pub slots: ConnectionSlots,
    pub in_flight: Gauge,
    pub buffered: Gauge,
    pub spooled: Gauge,
    pub peers: Peers,
    pub streams: Streams,
    pub rounds: Rounds,
    pub counts: Counts,
    /// Limits log lines about refused requests per network and status.
    pub told: Rations<(IpAddr, u16)>,
}

/// Counters since the start.
#[derive(Default)]
pub struct Counts {
    pub accepted: AtomicU64,
    pub accept_errors: AtomicU64,
    pub thread_errors: AtomicU64,
    pub handshake_errors: AtomicU64,
    pub requests: AtomicU64,
    pub streams: AtomicU64,
    pub refused: [AtomicU64; REFUSALS.len()],
}

/// Increments a counter.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Shared {
    /// Is this peer exempt from the limit of connections per address?
    pub fn exempt(&self, peer: SocketAddr) -> bool {
        let ip = peer.ip().to_canonical();
        ip.is_loopback() || peers::trusted(&self.config.trusted_proxies, ip)
    }

    /// May this socket's peer be admitted? Clients of a proxy are checked by request.
    pub fn lets_in(&self, peer: SocketAddr) -> bool {
        self.exempt(peer) || (self.config.policy)().lets_in(peer.ip())
    }
}

/// Serves a connection until its end, or until it becomes a stream.
pub fn connection(
    shared: &Arc<Shared>,
    slot: ConnectionSlot,
    mut client: ClientSocket,
    socket: SocketAddr,
    speech: &Speech,
) {
    let accepted = clock::mono();
    let (https_port, insists) = match speech {
        Speech::Plain => (None, false),
        Speech::Redirect(port) => (Some(*port), false),
        Speech::Tls(tls, port) => match client.shake(tls, accepted + shared.config.limits.handshake) {
            Ok(Spoken::Tls) => (None, !tls.is_own()),
            Ok(Spoken::Plain) => (Some(*port), false),
            Err(e) => {
                // Closing without sending anything is no attempt.
                if e.kind() != ErrorKind::ConnectionAborted {
                    count(&shared.counts.handshake_errors);
                }
                return;
            }
        },
    };
    let mut session = Session {
        now: Exchange::new(socket, client.tls(), insists),
        https_port,
        insists,
        shared,
        slot,
        client,
        socket,
        carry: Vec::new(),
    };
    let mut fresh = Some(accepted);
    loop {
        match session.turn(fresh.take()) {
            Ok(After::Again) => {}
            Ok(After::Close) => return session.client.linger(),
            Err(Stop::Gone) => return session.client.close(),
            Ok(After::Stream(stream, head, framing)) => return session.stream(stream, head, framing),
            Err(Stop::Refuse(why)) => return session.refuse(why),
        }
    }
}

/// Early end of a request.
enum Stop {
    /// The client has gone: no response.
    Gone,
    /// The edge responds itself, and closes.
    Refuse(Refusal),
}

impl From<Refusal> for Stop {
    fn from(why: Refusal) -> Stop {
        Stop::Refuse(why)
    }
}

enum After {
    Again,
    Close,
    /// The head to send first; no stream follows a HEAD request.
    Stream(Option<Stream>, Vec<u8>, Framing),
}

/// State of the current request, for response and log.
struct Exchange {
    started: Instant,
    method: &'static str,
    path: String,
    peer: SocketAddr,
    local: bool,
    tls: bool,
    /// May HSTS be sent? Not with a self-made certificate.
    insists: bool,
    hsts_s: Option<u32>,
    /// The allowed CORS origin, for a request without cookie.
    origin: Option<String>,
    id: String,
    /// The client's own request id: returned and logged.
    client_id: Option<String>,
    close: bool,
    /// The client speaks HTTP/1.0.
    old: bool,
}

/// Limit of a path in the log.
const PATH_TOLD: usize = 200;

/// Limits of log lines about refused requests: this many at once per network and status, then one per interval.
pub const LINES_MAX: u32 = 20;
pub const LINE_EVERY: Duration = Duration::from_secs(10);

/// Headers that proxies add; a proxy that adds none hides its clients.
const SPEAKS_FOR: [&str; 6] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-real-ip",
    "forwarded",
    "via",
];

impl Exchange {
    fn new(peer: SocketAddr, tls: bool, insists: bool) -> Exchange {
        Exchange {
            started: clock::mono(),
            method: "-",
            path: "-".into(),
            peer,
            local: false,
            tls,
            insists,
            hsts_s: None,
            origin: None,
            id: random::name(),
            client_id: None,
            close: false,
            old: false,
        }
    }

    fn learn(&mut self, head: &Head<'_>, config: &Config, policy: &Policy) {
        self.method = head.method;
        self.path = text::cut(head.path(), PATH_TOLD).into();
        (self.close, self.old) = (head.close, head.old);
        if let [id] = head.all("x-request-id")[..]
            && (1..=64).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        {
            self.client_id = Some(id.into());
        }
        let near = self.peer.ip().to_canonical().is_loopback();
        self.local = near && SPEAKS_FOR.iter().all(|name| head.all(name).is_empty());
        if peers::trusted(&config.trusted_proxies, self.peer.ip()) {
            let https = head.all("x-forwarded-proto") == ["https"];
            (self.tls, self.insists) = (self.tls || https, self.insists || https);
            self.peer = peers::behind(&config.trusted_proxies, self.peer, &head.all("x-forwarded-for"));
        }
        self.hsts_s = self.insists.then_some(policy.hsts_s);
        if let [origin] = head.all("origin")[..]
            && head.all("cookie").is_empty()
            && policy.origins.iter().any(|listed| listed == origin)
        {
            self.origin = Some(origin.into());
        }
    }

    fn about(&self) -> About<'_> {
        About {
            id: &self.id,
            client_id: self.client_id.as_deref(),
            hsts_s: self.hsts_s,
            origin: self.origin.as_deref(),
            close: self.close,
        }
    }
}

struct Session<'a> {
    shared: &'a Arc<Shared>,
    slot: ConnectionSlot,
    client: ClientSocket,
    socket: SocketAddr,
    /// Redirect everything to HTTPS at this port.
    https_port: Option<u16>,
    /// As [`Exchange::insists`].
    insists: bool,
    /// Bytes read ahead: the next, pipelined request.
    carry: Vec<u8>,
    now: Exchange,
}

impl Session<'_> {
    /// One request and its response. `accepted` is given for the first.
    fn turn(&mut self, accepted: Option<Instant>) -> Result<After, Stop> {
        let end = self.head(accepted)?;
        let head = parse::request(&self.carry[..end])?;
        let config = &self.shared.config;
        let policy = (config.policy)();
        self.now.learn(&head, config, &policy);
        if !(config.hosts)(&head.host) {
            return Err(Refusal::NotOurs.into());
        }
        if let Some(port) = self.https_port {
            let place = https(&head, port, policy.public.as_ref());
            return Ok(self.send_on(&place));
        }
        if !self.now.local && !policy.lets_in(self.now.peer.ip()) {
            return Err(Refusal::Stranger.into());
        }
        let is_preflight = head.method == "OPTIONS" && !head.all("access-control-request-method").is_empty();
        if is_preflight && self.now.origin.is_some() {
            self.carry.drain(..end);
            return self.allow_methods();
        }
        if head.length > 0 && head.length > (config.body_max)(head.method, head.path()) {
            return Err(Refusal::TooLarge.into());
        }
        let info = ConnInfo {
            peer: self.now.peer,
            local: self.now.local,
            tls: self.now.tls,
            is_listed_origin: self.now.origin.is_some(),
            request_id: self.now.id.clone(),
            client_request_id: self.now.client_id.clone().unwrap_or_default(),
            control: None,
        };
        if head.length > config.limits.anonymous_body_max && !(config.known)(&head.fields, &info) {
            return Err(Refusal::Unknown.into());
        }
        let ip = info.peer.ip();
        let named = self.shared.peers.name(info, &self.shared.buffered);
        let shared = Arc::clone(self.shared);
        let spool = shared
            .config
            .spool
            .as_ref()
            .filter(|_| head.length > config.limits.anonymous_body_max);
        let spool = spool.filter(|(_, spools)| spools(head.method, head.path()));
        let request = clean(&head, named.as_str(), &self.now.id, spool.map_or(head.length, |_| 0));
        let (length, expects) = (head.length, head.expects);
        self.carry.drain(..end);

        let mut held = self.shared.buffered.share(ip);
        let mut body = Vec::new();
        match spool {
            None => {
                body.reserve_exact(length as usize); // bounded by the route's limit
                self.body(length, expects, &mut |part| {
                    // Counted as it arrives: announcing a body reserves nothing.
                    let fits = held.grow(part.len());
                    body.extend_from_slice(part);
                    fits.then_some(()).ok_or(Refusal::Busy)
                })?;
            }
            Some((folder, _)) => {
                let mut share = self.shared.spooled.share(ip);
                let mut file = file::nameless(folder).map_err(unspooled)?;
                self.body(length, expects, &mut |part| {
                    let fits = share.grow(part.len());
                    fits.then_some(()).ok_or(Refusal::Busy)?;
                    file.write_all(part).map_err(unspooled)
                })?;
                named.bring(file, share);
            }
        }
        let place = self
            .shared
            .in_flight
            .one_until(ip, clock::mono() + config.limits.queue)
            .ok_or(Refusal::Busy)?;
        if !self.slot.busy() {
            return Err(Stop::Gone);
        }
        let until = clock::mono() + config.limits.handler;
        let inner = Inner::ask(&config.inner, &request, &body, until)?;
        drop((body, request));
        self.now.close |= self.slot.last();
        self.answer(inner, named, until, held, place)
    }

    /// Redirects and closes: an unread body prevents another request.
    fn send_on(&mut self, place: &str) -> After {
        self.now.close = true;
        let mut out = Vec::with_capacity(1024);
        let fields = [("Location", place)];
        answer::head(&mut out, 308, "Permanent Redirect", &fields, Some(0), self.now.about());
        let sent = self.client.write(&out, clock::mono() + self.shared.config.limits.stall);
        self.log(308, 0, sent.is_err());
        After::Close
    }

    /// CORS preflight (Fetch standard): allows everything that the token may do.
    fn allow_methods(&mut self) -> Result<After, Stop> {
        if !self.slot.busy() {
            return Err(Stop::Gone);
        }
        let mut out = Vec::with_capacity(1024);
        answer::head(&mut out, 204, "No Content", &PREFLIGHT, None, self.now.about());
        let sent = self.client.write(&out, clock::mono() + self.shared.config.limits.stall);
        self.log(204, 0, sent.is_err());
        match sent {
            Err(_) => Err(Stop::Gone),
            Ok(()) if self.now.close => Ok(After::Close),
            Ok(()) => Ok(After::Again),
        }
    }

    /// Waits for a request and reads its head; returns its end in `carry`.
    fn head(&mut self, accepted: Option<Instant>) -> Result<usize, Stop> {
        let limits = &self.shared.config.limits;
        if self.carry.is_empty() {
            self.carry = Vec::new(); // idle connections hold no buffer
            if accepted.is_none() && !self.slot.idle() {
                return Err(Stop::Gone);
            }
            let until = accepted.map_or_else(|| clock::mono() + limits.idle, |at| at + limits.head);
            // Browsers open spare connections: a silent one gets no 408.
            if !matches!(self.more(until), Ok(1..)) {
                return Err(Stop::Gone);
            }
        }
        if !self.slot.sending() {
            return Err(Stop::Gone);
        }
        self.now = Exchange::new(self.socket, self.client.tls(), self.insists);
        let until = accepted.unwrap_or(self.now.started) + limits.head;
        let mut scan = Scan::default();
        loop {
            if let Some(end) = scan.end(&self.carry)? {
                return Ok(end);
            }
            match self.more(until) {
                Ok(1..) => {}
                Err(ErrorKind::TimedOut) => return Err(Refusal::Slow.into()),
                _ => return Err(Stop::Gone),
            }
        }
    }

    fn more(&mut self, until: Instant) -> Result<usize, ErrorKind> {
        const CHUNK: usize = 2 << 10;
        let have = self.carry.len();
        self.carry.resize(have + CHUNK, 0); // on the heap: as in `Inner::read`
        let read = self.client.read(&mut self.carry[have..], until);
        self.carry.truncate(have + *read.as_ref().unwrap_or(&0));
        read.map_err(|e| e.kind())
    }

    /// Reads the whole body before a handler starts, piece by piece.
    fn body(
        &mut self,
        length: u64,
        expects: bool,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Refusal>,
    ) -> Result<(), Stop> {
        const CHUNK: u64 = 16 << 10;
        let begun = length.min(self.carry.len() as u64);
        let until = allowance(self.shared.config.limits.body, length);
        if expects && begun < length {
            self.client
                .write(b"HTTP/1.1 100 Continue\r\n\r\n", until)
                .map_err(|_| Stop::Gone)?;
        }
        take(&self.carry[..begun as usize])?;
        self.carry.drain(..begun as usize);
        let mut left = length - begun;
        let mut chunk = vec![0; left.min(CHUNK) as usize];
        while left > 0 {
            let room = left.min(CHUNK) as usize;
            match self.client.read(&mut chunk[..room], until).map_err(|e| e.kind()) {
                Ok(0) => return Err(Stop::Gone),
                Ok(n) => {
                    take(&chunk[..n])?;
                    left -= n as u64;
                }
                Err(ErrorKind::TimedOut) => return Err(Refusal::Slow.into()),
                Err(_) => return Err(Stop::Gone),
            }
        }
        Ok(())
    }

    /// Takes the response from the handler and sends it.
    fn answer(
        &mut self,
        inner: Inner,
        named: Named,
        until: Instant,
        mut held: Share,
        place: Share,
    ) -> Result<After, Stop> {
        let answer = inner.answer().ok_or(Refusal::Internal)?;
        let bodiless = self.now.method == "HEAD" || matches!(answer.status, 204 | 304);
        let mut out = Vec::with_capacity(2048);
        let download = parse::find(&answer.fields, DOWNLOAD_HEADER);
        if let Some(ticket) = parse::find(&answer.fields, STREAM_HEADER).or(download) {
            let stream = Some(self.shared.streams.take(ticket).ok_or(Refusal::Internal)?);
            self.now.close = true;
            let framing = match download {
                None => Framing::Events,
                Some(_) if self.now.old => Framing::Bytes,
                Some(_) => Framing::Chunks,
            };
            let mut fields = answer.fields.clone();
            if framing == Framing::Events {
                fields.retain(|f| !entity(f.0));
                fields.push(("Content-Type", "text/event-stream; charset=utf-8"));
                fields.push(("X-Accel-Buffering", "no"));
            }
            answer::head(&mut out, 200, "OK", &fields, None, self.now.about());
            if framing == Framing::Chunks {
                answer::in_chunks(&mut out);
            }
            return Ok(After::Stream(stream.filter(|_| !bodiless), out, framing));
        }
        // A 204 has no length; a 304 and the response to HEAD may have that of the missing body.
        let told = answer.length.filter(|_| answer.status != 204);
        let length = match bodiless {
            true => 0,
            false => answer.length.ok_or(Refusal::Internal)?,
        };
        answer::head(
            &mut out,
            answer.status,
            answer.reason,
            &answer.fields,
            told,
            self.now.about(),
        );
        let spool_max = self.shared.config.limits.spool_max as u64;
        let by = allowance(self.shared.config.limits.answer, length);
        let status = answer.status;
        let sent = if let Some(body) = named.body() {
            if body.len() as u64 != length {
                return Err(Refusal::Internal.into());
            }
            drop((inner, place));
            let (begin, rest) = body.split_at(body.len().min(WITH_HEAD));
            out.extend_from_slice(begin);
            self.client.write(&out, by).and_then(|()| self.client.write(rest, by))
        } else if length <= spool_max && held.grow(length as usize) {
            out.reserve_exact(length as usize + 1);
            inner.whole(&mut out, length, until).map_err(|e| match e.kind() {
                ErrorKind::TimedOut => Refusal::Late,
                _ => Refusal::Internal,
            })?;
            drop((inner, place));
            self.client.write(&out, by)
        } else {
            self.pump(&inner, &mut out, length, by)
        };
        self.log(status, if sent.is_ok() { length } else { 0 }, sent.is_err());
        match sent {
            // Client or response ended early: closing marks the response as incomplete.
            Err(_) => Err(Stop::Gone),
            Ok(()) if self.now.close => Ok(After::Close),
            Ok(()) => Ok(After::Again),
        }
    }

    /// Sends a large response in parts, with its handler waiting.
    fn pump(&mut self, inner: &Inner, out: &mut Vec<u8>, length: u64, until: Instant) -> std::io::Result<()> {
        self.client.write(out, until)?;
        let mut done = 0;
        while done < length {
            out.clear();
            inner.part(out, length, done, until)?;
            self.client.write(out, until)?;
            done += out.len() as u64;
        }
        Ok(())
    }

    fn stream(mut self, stream: Option<Stream>, mut head: Vec<u8>, framing: Framing) {
        let limits = &self.shared.config.limits;
        if stream.is_some() {
            count(&self.shared.counts.streams);
            if framing == Framing::Events {
                stream::begin(&mut head);
            }
        }
        let sent = self.client.write(&head, clock::mono() + limits.stall);
        let (Some(stream), Ok(())) = (stream, &sent) else {
            self.log(200, 0, sent.is_err());
            return self.client.linger();
        };
        let Ok(to) = self.client.into_stream() else { return };
        let (shared, now) = (Arc::clone(self.shared), self.now);
        let told = Box::new(move |bytes| access_line(&now, &shared, 200, bytes, false));
        let live = Live::new(stream, framing, to, self.slot, limits, told);
        self.shared.rounds.serve(live);
    }

    fn refuse(mut self, why: Refusal) {
        count(&self.shared.counts.refused[why as usize]);
        if why == Refusal::Internal {
            let fields = [("request_id", self.now.id.as_str()), ("path", &self.now.path)];
            log::error("http", "the inner server gave a malformed response", &fields);
        }
        // A refused head has no parsed method.
        let bodiless = self.now.method == "HEAD" || self.now.method == "-" && self.carry.starts_with(b"HEAD ");
        let bytes = answer::refusal(why, self.now.about(), bodiless);
        let until = clock::mono() + self.shared.config.limits.stall;
        let sent = self.client.write(&bytes, until);
        self.log(why.status(), bytes.len() as u64, sent.is_err());
        self.client.linger();
    }

    fn log(&self, status: u16, bytes: u64, cut: bool) {
        access_line(&self.now, self.shared, status, bytes, cut);
    }
}

/// Headers of a preflight response. Never credentials: cookies are not for other origins.
const PREFLIGHT: [Field<'static>; 3] = [
    ("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE"),
    (
        "Access-Control-Allow-Headers",
        "Authorization, Content-Type, If-None-Match, Last-Event-ID, X-Request-Id",
    ),
    ("Access-Control-Max-Age", "600"),
];

/// The same URL over TLS: at the public address if the client used its name, else at the listener's port.
fn https(head: &Head<'_>, port: u16, public: Option<&Url>) -> String {
    let own = || Url {
        tls: true,
        host: head.host.clone(),
        port,
        path: "/".into(),
    };
    let at = public.filter(|url| url.tls && url.host == head.host);
    format!("{}{}", at.cloned().unwrap_or_else(own).origin(), head.target)
}

/// The request for the inner server.
pub fn clean(head: &Head<'_>, name: &str, id: &str, length: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let mut line = |parts: &[&str]| parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    line(&[head.method, " ", head.target, " HTTP/1.0\r\n"]);
    for (name, value) in head.clean() {
        line(&[name, ": ", value, "\r\n"]);
    }
    if head.has_length {
        line(&["Content-Length: ", &length.to_string(), "\r\n"]);
    }
    line(&[
        "X-Request-Id: ",
        id,
        "\r\n",
        CONN_HEADER,
        ": ",
        name,
        "\r\nConnection: close\r\n\r\n",
    ]);
    out
}

/// The file for a body cannot be written.
fn unspooled(e: std::io::Error) -> Refusal {
    log::error("http", "no file for a body", &[("error", &e.to_string())]);
    Refusal::Busy
}

/// Headers about a body: those of a stream's ticket do not apply to the stream.
fn entity(name: &str) -> bool {
    [
        "content-type",
        "cache-control",
        "etag",
        "last-modified",
        "x-accel-buffering",
    ]
    .iter()
    .any(|n| name.eq_ignore_ascii_case(n))
}

fn access_line(now: &Exchange, shared: &Shared, status: u16, bytes: u64, cut: bool) {
    count(&shared.counts.requests);
    let good = status < 400 && !cut;
    // Relates our request id to the client's.
    let changed = now.client_id.is_some() && !matches!(now.method, "GET" | "HEAD" | "-");
    let level = if good && !changed { Level::Debug } else { Level::Info };
    if !log::enabled(level) {
        return; // skips formatting when the level is off
    }
    let left_out = match good || log::enabled(Level::Debug) {
        true => Some(0),
        false => shared.told.next((network(now.peer.ip()), status), clock::mono()),
    };
    let Some(left_out) = left_out.map(|n| n.to_string()) else {
        return;
    };
    let took = (clock::mono() - now.started).as_millis();
    let (peer, status) = (now.peer.ip().to_string(), status.to_string());
    let (bytes, took) = (bytes.to_string(), took.to_string());
    let mut fields = vec![
        ("peer", peer.as_str()),
        ("method", now.method),
        ("path", &now.path),
        ("status", &status),
        ("bytes", &bytes),
        ("ms", &took),
    ];
    if left_out != "0" {
        fields.push(("left_out_before", &left_out));
    }
    if let Some(theirs) = &now.client_id {
        fields.push(("client_request_id", theirs));
    }
    fields.push(("request_id", &now.id));
    let message = if cut { "answer broken off" } else { "request" };
    log::line(level, "http", message, &fields);
}
