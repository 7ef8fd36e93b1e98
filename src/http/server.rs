//! The inner server: `tiny_http` on a 0600 Unix socket used by the edge only. A fixed number of threads take requests,
//! route, authenticate and call the handler. A panic fails its own request.

use super::edge::{CONN_HEADER, ConnInfo, Peers};
use super::guard;
use super::page;
use super::reply::{self, Reply};
use super::request::{self, Method, Request};
use super::route::{self, Found, Web};
use crate::base::clock::{self, Duration};
use crate::base::error::{Error, Kind, Result};
use crate::base::log;
use crate::form;
use std::fs::File;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Handler threads. More are not faster; the number bounds waits for a slow disk or long polls.
const THREADS: usize = 16;

/// Time that handlers have to end at a stop, after the edge has drained.
const HANDLERS_MAX: Duration = Duration::from_secs(1);
/// How often that is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Converts a failed request to a response: JSON for the API, a page for people.
pub type ErrorPage = fn(&Web, &Request, &Error) -> Reply;

/// The running server.
pub struct Server {
    inner: Arc<tiny_http::Server>,
    threads: Vec<JoinHandle<()>>,
    socket: PathBuf,
    taken: Arc<AtomicU64>,
}

impl Server {
    /// Listens on `socket` (replaced if it is there) and starts the threads.
    pub fn start(socket: &Path, web: Arc<Web>, peers: Peers, error_page: ErrorPage) -> Result<Server> {
        let _ = std::fs::remove_file(socket); // left by a process that was killed
        let listener = UnixListener::bind(socket)
            .map_err(|e| Error::internal(format!("inner socket {}: {e}", socket.display())))?;
        let inner = tiny_http::Server::from_listener(listener, None).map_err(Error::internal)?;
        let inner = Arc::new(inner);
        let mut threads = Vec::new();
        let taken = Arc::new(AtomicU64::new(0));
        for n in 0..THREADS {
            let (inner, web, peers, taken) = (inner.clone(), web.clone(), peers.clone(), taken.clone());
            let thread = std::thread::Builder::new().name(format!("http-{n}"));
            threads.push(thread.spawn(move || serve(&inner, &web, &peers, &taken, error_page))?);
        }
        Ok(Server {
            inner,
            threads,
            socket: socket.into(),
            taken,
        })
    }

    /// Counter of requests taken: while it moves, the server is alive.
    pub fn heartbeat(&self) -> Arc<AtomicU64> {
        self.taken.clone()
    }

    /// Answers pending requests, then ends the threads; one that hangs is left.
    pub fn stop(self) {
        for _ in &self.threads {
            self.inner.unblock(); // wakes one thread, behind the requests that wait
        }
        // Whose client was cut off may still wait for another machine: nobody waits for its answer.
        let until = clock::mono() + HANDLERS_MAX;
        while !self.threads.iter().all(JoinHandle::is_finished) && clock::mono() < until {
            std::thread::sleep(LOOK_AGAIN);
        }
        for thread in self.threads.into_iter().filter(JoinHandle::is_finished) {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn serve(server: &tiny_http::Server, web: &Arc<Web>, peers: &Peers, taken: &AtomicU64, error_page: ErrorPage) {
    // `recv` fails when unblocked, and when accepting has ended for good, which the daemon's self-probe detects.
    while let Ok(mut inner) = server.recv() {
        taken.fetch_add(1, Ordering::Relaxed);
        let conn = header(&inner, CONN_HEADER);
        let answer = match peers
            .upload(&conn)
            .map_err(Error::from)
            .and_then(|upload| read(&mut inner, peers.get(&conn), upload))
        {
            Ok(request) => handle(web, &request, error_page),
            Err(e) => {
                log::error(
                    "http",
                    "the edge sent a malformed request",
                    &[("error", &e.to_string())],
                );
                Reply::status(reply::status(e.kind))
            }
        };
        if let Err(e) = respond(inner, &answer, |body| peers.hand_over(&conn, body)) {
            log::line(
                log::Level::Debug,
                "http",
                "answer not taken",
                &[("error", &e.to_string())],
            );
        }
    }
}

/// Converts the edge's request. Failures are bugs, except undecodable paths.
fn read(inner: &mut tiny_http::Request, info: Option<ConnInfo>, upload: Option<File>) -> Result<Request> {
    let info = info.ok_or_else(|| Error::new(Kind::Forbidden, "not_the_edge", "Only the edge may ask here."))?;
    let headers = inner.headers().iter();
    let headers = headers
        .map(|h| {
            (
                h.field.as_str().as_str().to_ascii_lowercase(),
                h.value.as_str().to_string(),
            )
        })
        .collect();
    let url = inner.url().to_string();
    let (path, query) = url.split_once('?').unwrap_or((&url, ""));
    let method = Method::parse(inner.method().as_str()).unwrap_or(Method::Options);
    let wanted = inner.body_length().unwrap_or(0);
    let mut body = Vec::with_capacity(wanted.min(1 << 20));
    inner.as_reader().read_to_end(&mut body)?;
    if body.len() != wanted {
        return Err(Error::internal("body cut short"));
    }
    let (segments, pairs) = match (request::segments(path), form::body::pairs(query)) {
        (Some(segments), Some(pairs)) => (segments, pairs),
        _ => (unreadable(path), Vec::new()),
    };
    Ok(Request {
        method,
        segments,
        query: pairs,
        headers,
        body,
        upload,
        ip: info.peer.ip().to_string(),
        local: info.local,
        tls: info.tls,
        is_listed_origin: info.is_listed_origin,
        id: info.request_id,
        client_id: info.client_request_id,
        control: info.control,
    })
}

fn header(inner: &tiny_http::Request, name: &str) -> String {
    let mut headers = inner.headers().iter();
    headers
        .find(|h| h.field.as_str().as_str().eq_ignore_ascii_case(name))
        .map(|h| h.value.as_str().to_string())
        .unwrap_or_default()
}

/// Replaces an undecodable path: it keeps its API or page form, and no route has such a segment.
fn unreadable(path: &str) -> Vec<String> {
    let api = path.starts_with("/api/").then_some("api");
    api.into_iter().chain([UNREADABLE]).map(String::from).collect()
}

/// No decodable segment contains control characters.
const UNREADABLE: &str = "\0";

fn handle(web: &Arc<Web>, request: &Request, error_page: ErrorPage) -> Reply {
    let began = clock::mono();
    let found = find(web, request);
    let metrics = web.routes.metrics(&found);
    let result = catch_unwind(AssertUnwindSafe(|| match web.routes.moved(request) {
        Some(status) => Ok(Reply::status(status).header("Location", format!("/api{}", page::here(request)))),
        None => answer(web, request, found.or_else(|e| nothing_there(web, request, e))?),
    }))
    .unwrap_or_else(|_| Err(Error::internal("a handler panicked")));
    let reply = result.unwrap_or_else(|e| {
        if e.kind == Kind::Internal {
            log::error(
                "http",
                "request failed",
                &[
                    ("path", &request.segments.join("/")),
                    ("error", &e.to_string()),
                    ("request_id", &request.id),
                ],
            );
        }
        error_page(web, request, &e)
    });
    metrics.count(reply.status, began.elapsed());
    reply
}

fn find<'r, 'p>(web: &'r Web, request: &'p Request) -> Result<Found<'r, 'p>> {
    if request.segments.last().is_some_and(|last| last == UNREADABLE) {
        return Err(Error::new(
            Kind::Malformed,
            "bad_address",
            "This address cannot be read: a broken escape, or a dot or empty segment.",
        ));
    }
    web.routes.find(request.method, &request.segments)
}

/// Counts unmatched requests, too.
fn nothing_there<T>(web: &Web, request: &Request, e: Error) -> Result<T> {
    guard::count(&web.admission, request, guard::who(&web.app, request).is_some())?;
    Err(e)
}

fn answer(web: &Arc<Web>, request: &Request, found: Found) -> Result<Reply> {
    let route = found.route;
    let actor = guard::authenticate(&web.app, request, route.right);
    if route.is_counted() {
        guard::count(&web.admission, request, matches!(actor, Ok(Some(_))))?;
    }
    route::answer(web, request, found, actor?)
}

/// Bodies up to this size travel with the head.
const INLINE_MAX: usize = 2 << 10;

/// Sends the response in one write: `tiny_http` would copy it in pieces of 8 KiB. Always with a length, never chunked:
/// a truncated response must be recognizable.
fn respond(
    inner: tiny_http::Request,
    reply: &Reply,
    hand_over: impl FnOnce(&Arc<Vec<u8>>) -> bool,
) -> std::io::Result<()> {
    let mut out = Vec::with_capacity(INLINE_MAX + 512);
    let reason = tiny_http::StatusCode(reply.status).default_reason_phrase();
    let date = clock::http_date(clock::now());
    write!(out, "HTTP/1.0 {} {reason}\r\nDate: {date}\r\n", reply.status)?;
    for (name, value) in &reply.headers {
        write!(out, "{name}: {value}\r\n")?;
    }
    write!(out, "Content-Length: {}\r\n\r\n", reply.body.len())?;
    let told = inner.method() != &tiny_http::Method::Head;
    if told && (reply.body.len() <= INLINE_MAX || !hand_over(&reply.body)) {
        out.extend_from_slice(&reply.body);
    }
    let mut writer = inner.into_writer();
    writer.write_all(&out)?;
    writer.flush()
}
