//! The HTTP client: one request with `ureq` over our own connection ([`dial`](super::dial): address policy, peer
//! verification, deadline). No redirects, no proxy from the environment, no cookies, no connection reuse, no
//! decompression; head and body are bounded.
//!
//! A configured proxy is used by a tunnel (CONNECT), so that it sees host and port but never the path, which may hold a
//! token.
//!
//! The connection may also be a Unix socket ([`Route::Unix`]): a daemon's on this machine, or that of an ssh forward to
//! a server. [`send`] reads the whole response, [`open`] streams it.
//!
//! The only HTTP client, with one exception: frequent polls and site probes use [`get`](super::get), at half the cost.
//!
//! After the errors `empty`, `cut_short`, `read_timeout` or `reset` the peer may have received the request
//! ([`may_have_arrived`]).

use super::answer::{HEAD_MAX, parse_head};
use super::dial::{self, Call, Security, Wire};
use super::stream::{Bytes, Stream};
use super::x509::Certificate;
use crate::base::clock::{self, Duration, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::base::host::Host;
use crate::base::parallel::lock;
use crate::base::process::{self, Cancel};
use crate::base::secret::Secret;
use crate::base::text;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use ureq::http::{HeaderMap, header};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};

/// Bytes read of an error response: its message is somewhere in them.
pub const EXCUSE_MAX: usize = 16 << 10;
/// Limit of a proxy's response to CONNECT.
const TUNNEL_MAX: usize = 8 << 10;
/// Bytes per read and write. A head must fit into it.
const STEP: usize = HEAD_MAX + (16 << 10);
/// The same of a stream, for reading and for writing: hundreds of them wait, and nothing is sent but a head.
const STREAM: (usize, usize) = (HEAD_MAX + (2 << 10), 8 << 10);

/// HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Not idempotent.
    Post,
    /// Idempotent.
    Put,
    /// Changes what is sent.
    Patch,
    /// Without body.
    Delete,
}

/// A request.
pub struct Request<'a> {
    /// Method.
    pub method: Method,
    /// Path and query; may hold a token, so it appears in no error.
    pub path: &'a Secret,
    /// Media type of the body; for GET, the accepted one.
    pub content_type: &'a str,
    /// Further headers, lower case names; no control characters.
    pub headers: &'a [(&'a str, String)],
    /// The body as it is signed and sent; a GET has none.
    pub body: &'a [u8],
    /// The route to the peer.
    pub route: Route<'a>,
}

/// Route of a connection.
#[derive(Debug, Clone, Copy)]
pub enum Route<'a> {
    /// Directly to the host.
    Direct,
    /// Through a proxy's tunnel.
    Proxy(&'a Proxy),
    /// Through a Unix socket of this machine. The call's host is the peer's name: for the `Host` header and, with TLS,
    /// the certificate.
    Unix(&'a Path),
}

/// An HTTP proxy with CONNECT.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Name or address; checked against the call's policy.
    pub host: Host,
    /// TCP port.
    pub port: u16,
    /// A `Proxy-Authorization` header's value ([`super::get::basic`]).
    pub authorization: Option<Secret>,
}

/// A response.
#[derive(Debug)]
pub struct Response {
    /// 200 to 599.
    pub status: u16,
    /// The media type, lower case, without parameters.
    pub content_type: String,
    /// Target of a redirect; one line, never followed.
    pub location: Option<String>,
    /// Retry-After in seconds.
    pub retry_after: Option<u32>,
    /// Complete, or empty.
    pub body: Vec<u8>,
    /// Until when the certificate is good that the peer has shown, unix ms; `None`: without TLS.
    pub certificate_until: Option<Ms>,
    /// Why the body is missing: `too_large`, `cut_short`, `read_timeout`, `reset`, `not_http`. The status is valid all
    /// the same.
    pub fault: Option<Error>,
}

/// Sends, and reads an answer of at most `body_max` bytes. Errors: those of [`dial::dial`] and [`dial::dial_unix`],
/// `proxy_refused`, `proxy_login`, `not_http`, `tls_expected`, `empty`, `cut_short`, `encoded`, `bad_request`.
pub fn send(call: &Call, request: &Request, body_max: usize) -> Result<Response> {
    let asked = asked(call, request)?;
    let seen = Arc::new(Seen::default());
    let (mut response, body) = exchange(call, request, asked, (connect(call, request)?, (STEP, STEP)), &seen)?;
    let length = body.content_length().unwrap_or(0);
    let mut reader = body.into_reader().take(body_max as u64 + 1);
    let mut body = Vec::new();
    let read = match length > body_max as u64 {
        true => Err(too_large(call, body_max)),
        false => match reader.read_to_end(&mut body) {
            Ok(n) if n > body_max => Err(too_large(call, body_max)),
            Ok(_) => Ok(()),
            Err(e) => Err(seen.explain(call, &ureq::Error::from(e))),
        },
    };
    match read {
        Ok(()) => response.body = body,
        Err(e) => response.fault = Some(e),
    }
    Ok(response)
}

/// Sends, and returns the response when its head is there, by `call.until`. The body is read with [`Stream`], each part
/// within `idle_max`. `cancel` aborts it. Errors: as [`send`], and `cancelled`.
pub fn open<'a>(
    call: &Call<'a>,
    request: &Request,
    idle_max: Duration,
    cancel: &Cancel,
) -> Result<(Response, Stream<Source<'a>>)> {
    let asked = asked(call, request)?;
    let wire = connect(call, request)?;
    let breaker = wire.breaker()?;
    let watch = cancel.watch(move || breaker.pull());
    if cancel.is_cancelled() {
        return Err(process::cancelled());
    }
    let seen = Arc::new(Seen::default());
    let (response, body) =
        exchange(call, request, asked, (wire, STREAM), &seen).map_err(|e| match cancel.is_cancelled() {
            true => process::cancelled(),
            false => e,
        })?;
    seen.lock().idle_max = Some(idle_max);
    let source = Source {
        call: *call,
        reader: body.into_reader(),
        seen,
        idle_max,
        cancel: cancel.clone(),
        _watch: watch,
    };
    Ok((response, Stream::new(source)))
}

fn connect(call: &Call, request: &Request) -> Result<Wire> {
    match request.route {
        Route::Direct => dial::dial(call),
        Route::Proxy(proxy) => tunnel(call, proxy)?.secure(call),
        Route::Unix(path) => dial::dial_unix(call, path),
    }
}

fn exchange(
    call: &Call,
    request: &Request,
    asked: ureq::http::Request<&[u8]>,
    (wire, (input, output)): (Wire, (usize, usize)),
    seen: &Arc<Seen>,
) -> Result<(Response, ureq::Body)> {
    let shown = wire.shown();
    let certificate_until = shown
        .first()
        .and_then(|der| Certificate::parse(der))
        .map(|c| c.not_after);
    let carrier = Carrier {
        wire,
        buffers: LazyBuffers::new(input, output),
        tls: call.security != Security::Plain,
        seen: seen.clone(),
    };
    let agent = ureq::Agent::with_parts(config(), Once(Mutex::new(Some(carrier))), Nowhere);
    let answer = match request.method {
        Method::Get | Method::Delete => agent.run(asked.map(drop)),
        Method::Post | Method::Put | Method::Patch => agent.run(asked),
    };
    let answer = answer.map_err(|e| seen.explain(call, &e))?;
    let response = Response {
        certificate_until,
        ..read_head(call, answer.status().as_u16(), answer.headers())?
    };
    Ok((response, answer.into_body()))
}

/// A streamed body, as [`Stream`] reads it.
pub struct Source<'a> {
    call: Call<'a>,
    reader: ureq::BodyReader<'static>,
    seen: Arc<Seen>,
    idle_max: Duration,
    cancel: Cancel,
    _watch: process::Watch,
}

impl Bytes for Source<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let read = loop {
            match self.reader.read(into) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            _ if self.cancel.is_cancelled() => Err(process::cancelled()),
            Ok(n) => Ok(n),
            Err(e) => {
                let e = self.seen.explain(&self.call, &ureq::Error::from(e));
                Err(match e.code {
                    "read_timeout" => {
                        let say = format!(
                            "{} has sent nothing for {} s.",
                            whom(&self.call),
                            self.idle_max.as_secs()
                        );
                        Error::new(Kind::Timeout, "stream_silent", say)
                    }
                    _ => e,
                })
            }
        }
    }

    fn too_large(&self, max: usize) -> Error {
        too_large(&self.call, max)
    }
}

/// May the peer have received the request in spite of this error? A retry may then duplicate it.
pub fn may_have_arrived(error: &Error) -> bool {
    matches!(
        error.code,
        "empty" | "cut_short" | "read_timeout" | "reset" | "not_http" | "encoded"
    )
}

/// Without the default port: some receivers select their virtual host by the whole header.
fn authority(call: &Call) -> String {
    let usual = if call.security == Security::Plain { 80 } else { 443 };
    match call.port == usual {
        true => call.host.in_url(),
        false => format!("{}:{}", call.host.in_url(), call.port),
    }
}

fn config() -> ureq::config::Config {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None) // else `ureq` would read proxy variables of the environment
        .max_idle_connections(0)
        .max_response_header_size(HEAD_MAX)
        .user_agent(concat!("lamplighter/", env!("CARGO_PKG_VERSION")))
        .accept("*/*")
        .accept_encoding("identity")
        .build()
}

fn asked<'a>(call: &Call, request: &Request<'a>) -> Result<ureq::http::Request<&'a [u8]>> {
    let wrong = || {
        let say = "The address or a header has characters that a request cannot carry.";
        Error::new(Kind::Upstream, "bad_request", say)
    };
    let path = request.path.reveal_for("request line");
    let target = path.starts_with(b"/") && path.iter().all(|b| b.is_ascii_graphic() && *b != b'#');
    let plain = |value: &str| value.bytes().all(|b| (0x20..0x7f).contains(&b));
    if !target || !request.headers.iter().all(|(_, value)| plain(value)) {
        return Err(wrong());
    }
    let (method, scheme) = (
        match request.method {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        },
        match call.security {
            Security::Plain => "http",
            Security::Tls | Security::Pinned(_) => "https",
        },
    );
    let authority = authority(call);
    let uri = ureq::http::Uri::builder()
        .scheme(scheme)
        .authority(authority.as_str())
        .path_and_query(path)
        .build();
    let mut asked = ureq::http::Request::builder()
        .method(method)
        .uri(uri.map_err(|_| wrong())?)
        .header(header::HOST, authority)
        .header(header::CONNECTION, "close");
    asked = match request.method {
        Method::Get | Method::Delete => asked.header(header::ACCEPT, request.content_type),
        Method::Post | Method::Put | Method::Patch => asked.header(header::CONTENT_TYPE, request.content_type),
    };
    for (name, value) in request.headers {
        asked = asked.header(*name, value);
    }
    asked.body(request.body).map_err(|_| wrong())
}

/// As strict as [`parse_head`]: double framing and compression are refused.
fn read_head(call: &Call, status: u16, headers: &HeaderMap) -> Result<Response> {
    let refused = |code, what: &str| Err(Error::new(Kind::Upstream, code, format!("{} {what}.", whom(call))));
    let values = |name| headers.get_all(name).iter().map(|value| value.as_bytes());
    let text_of = |name| values(name).next().map(String::from_utf8_lossy);
    let mut lengths = values(header::CONTENT_LENGTH);
    let length = lengths.next();
    if !(200..=599).contains(&status) || lengths.any(|other| Some(other) != length) {
        return refused("not_http", "does not answer as a web server");
    }
    if !values(header::TRANSFER_ENCODING).all(|v| v.eq_ignore_ascii_case(b"chunked")) {
        return refused("encoded", "encodes its answer in a way that was not asked for");
    }
    if length.is_some() && values(header::TRANSFER_ENCODING).next().is_some() {
        return refused("not_http", "frames its answer in two ways at once");
    }
    if !values(header::CONTENT_ENCODING).all(|v| v.is_empty() || v.eq_ignore_ascii_case(b"identity")) {
        return refused("encoded", "compresses its answer though that was not asked for");
    }
    let kind = text_of(header::CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    Ok(Response {
        certificate_until: None,
        status,
        content_type: text::one_line(kind.trim(), 100).to_ascii_lowercase(),
        location: text_of(header::LOCATION).map(|to| text::one_line(&to, 200)),
        // A date is ignored: rate limits for machines use seconds.
        retry_after: text_of(header::RETRY_AFTER).and_then(|v| v.trim().parse().ok()),
        body: Vec::new(),
        fault: None,
    })
}

fn whom(call: &Call) -> String {
    format!("{}:{}", call.host.in_url(), call.port)
}

fn too_large(call: &Call, max: usize) -> Error {
    let say = format!("{} answers with more than {} KiB.", whom(call), max >> 10);
    Error::new(Kind::Upstream, "too_large", say)
}

/// What `ureq` calls back with.
type Carried<T> = std::result::Result<T, ureq::Error>;

/// Gives `ureq` the one existing connection.
#[derive(Debug)]
struct Once(Mutex<Option<Carrier>>);

impl Connector<()> for Once {
    type Out = Carrier;

    fn connect(&self, _: &ConnectionDetails, _: Option<()>) -> Carried<Option<Carrier>> {
        Ok(lock(&self.0).take())
    }
}

/// [`dial`] resolves names. `ureq` needs one address and passes it to [`Once`], which ignores it.
#[derive(Debug)]
struct Nowhere;

impl Resolver for Nowhere {
    fn resolve(&self, _: &ureq::http::Uri, _: &ureq::config::Config, _: NextTimeout) -> Carried<ResolvedSocketAddrs> {
        let mut addresses = self.empty();
        addresses.push(([0, 0, 0, 0], 0).into());
        Ok(addresses)
    }
}

/// A [`Wire`] as a `ureq` transport.
struct Carrier {
    wire: Wire,
    buffers: LazyBuffers,
    tls: bool,
    seen: Arc<Seen>,
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Carrier")
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.buffers.output().fill(0); // what was sent may hold a token
    }
}

impl Transport for Carrier {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    /// A peer that refuses early may answer before it has read everything: its response says more than the broken pipe.
    /// So a write error is only kept, and reported if there is no response.
    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Carried<()> {
        if !self.seen.is_sent() {
            return Ok(());
        }
        let bytes = &self.buffers.output()[..amount];
        if let Err(e) = self.wire.write_all(bytes).and_then(|()| self.wire.flush()) {
            self.seen.lock().unsent = Some(e);
        }
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Carried<bool> {
        let into = self.buffers.input_append_buf();
        if into.is_empty() {
            return Err(ureq::Error::LargeResponseHeader(STEP, HEAD_MAX));
        }
        if let Some(idle_max) = self.seen.lock().idle_max {
            self.wire.renew(clock::mono() + idle_max);
        }
        let n = loop {
            match self.wire.read(into) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // TLS closed without close_notify; the framing shows whether something is missing.
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => break 0,
                Err(e) => {
                    let kind = e.kind();
                    self.seen.lock().unread = Some(e);
                    return Err(ureq::Error::Io(kind.into()));
                }
                Ok(n) => break n,
            }
        };
        self.seen.keep(&into[..n]);
        self.buffers.input_appended(n);
        Ok(n > 0)
    }

    fn is_open(&mut self) -> bool {
        false // it is used once
    }

    fn is_tls(&self) -> bool {
        self.tls
    }
}

/// State of the connection, for error texts.
#[derive(Default)]
struct Seen(Mutex<Happened>);

#[derive(Default)]
struct Happened {
    /// Set when the head was read: time limit of each further part.
    idle_max: Option<Duration>,
    /// The first bytes that were read.
    read: Vec<u8>,
    unsent: Option<io::Error>,
    unread: Option<io::Error>,
}

impl Seen {
    fn lock(&self) -> std::sync::MutexGuard<'_, Happened> {
        lock(&self.0)
    }

    fn is_sent(&self) -> bool {
        self.lock().unsent.is_none()
    }

    fn keep(&self, bytes: &[u8]) {
        let mut happened = self.lock();
        let room = HEAD_MAX - happened.read.len().min(HEAD_MAX);
        happened.read.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn explain(&self, call: &Call, e: &ureq::Error) -> Error {
        let happened = self.lock();
        if let Some(e) = &happened.unread {
            return dial::explain(call, e);
        }
        let refused = |code, what: &str| Error::new(Kind::Upstream, code, format!("{} {what}.", whom(call)));
        let head = happened.read.windows(4).position(|w| w == b"\r\n\r\n");
        if let Some(Err((code, what))) = head.map(|end| parse_head(&happened.read[..end + 4])) {
            return refused(code, what).log(e);
        }
        match (e, happened.read.as_slice()) {
            (_, []) => match &happened.unsent {
                Some(e) => dial::explain(call, e),
                None => refused("empty", "closed the connection without an answer"),
            },
            // A TLS alert: the peer expects TLS.
            (_, [0x15, 0x03, ..]) => refused("tls_expected", "speaks TLS on this port. Set the scheme to https"),
            (ureq::Error::LargeResponseHeader(..), _) => refused("not_http", "sends endless headers"),
            (ureq::Error::Io(_), _) => refused("cut_short", "closed the connection in the middle of its answer"),
            _ => refused("not_http", "does not answer as a web server"),
        }
        .log(e)
    }
}

fn tunnel(call: &Call, proxy: &Proxy) -> Result<Wire> {
    let to_proxy = Call {
        host: &proxy.host,
        port: proxy.port,
        security: Security::Plain,
        ..*call
    };
    // The proxy resolves names; a literal address is checked here, so that a proxy does not bypass the policy.
    if let Some(Err(why)) = call.host.ip().map(|ip| call.policy.check(ip)) {
        let say = format!("{} is {why}; Lamplighter does not connect there.", call.host);
        return Err(Error::new(Kind::Upstream, "address_refused", say));
    }
    let whom = format!("The proxy {}:{}", proxy.host.in_url(), proxy.port);
    let mut wire = dial::dial(&to_proxy)?;
    let at = format!("{}:{}", call.host.in_url(), call.port);
    let mut ask = format!("CONNECT {at} HTTP/1.1\r\nHost: {at}\r\n").into_bytes();
    if let Some(value) = &proxy.authorization {
        ask.extend_from_slice(b"Proxy-Authorization: ");
        ask.extend_from_slice(value.reveal_for("the proxy's header"));
        ask.extend_from_slice(b"\r\n");
    }
    ask.extend_from_slice(b"\r\n");
    let ask = Secret::new(ask);
    wire.write_all(ask.reveal_for("the wire"))
        .map_err(|e| dial::explain(&to_proxy, &e))?;
    let mut head = Vec::new();
    // Byte by byte: what follows the empty line belongs to the tunnel.
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match wire.read(&mut byte).map_err(|e| dial::explain(&to_proxy, &e))? {
            1 if head.len() < TUNNEL_MAX => head.push(byte[0]),
            _ => {
                let say = format!("{whom} does not answer as an HTTP proxy.");
                return Err(Error::new(Kind::Upstream, "proxy_refused", say));
            }
        }
    }
    let status = parse_head(&head).map(|h| h.status).unwrap_or_default();
    match status {
        200..=299 => Ok(wire),
        407 => {
            let say = format!("{whom} wants a user name and a password, or other ones.");
            Err(Error::new(Kind::Upstream, "proxy_login", say))
        }
        _ => {
            let line = head.split(|b| *b == b'\r').next().unwrap_or_default();
            let line = text::one_line(&String::from_utf8_lossy(line), 100);
            let say = format!("{whom} makes no tunnel to {at}: {line}");
            Err(Error::new(Kind::Upstream, "proxy_refused", say))
        }
    }
}
