//! The control socket: the command line of this machine asks here. Who is at its other end the kernel says (SO_PEERCRED,
//! unix(7)); only root and the user that we run as are answered. A connection is one request; streams are not served.

use super::limits::Gauge;
use super::parse::{self, Scan};
use super::peers::{ConnInfo, Peers};
use super::relay::Inner;
use super::serve::clean;
use crate::base::clock::{self, Duration};
use crate::base::error::{Error, Result};
use crate::base::{log, random, sys};
use crate::http::sse::{DOWNLOAD_HEADER, STREAM_HEADER};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Its name in the runtime folder.
pub const CONTROL_SOCKET: &str = "control.sock";

/// The largest body, in bytes: a fleet as a document may be larger than what the network may bring.
const BODY_MAX: u64 = 64 << 20;
/// Connections at once; more are closed.
const CONNECTIONS_MAX: usize = 8;
/// A request must have come by then.
const REQUEST_MAX: Duration = Duration::from_secs(10);
/// And its answer be made by then.
const HANDLER_MAX: Duration = Duration::from_secs(60);
/// Who is refused may go on sending for so long.
const LINGER_MAX: Duration = Duration::from_secs(1);
/// Without room for accepting.
const PAUSE: Duration = Duration::from_millis(100);

/// A thread that accepts, and the way to stop it.
pub struct Control {
    path: PathBuf,
    over: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

/// What its connections share.
struct Shared {
    inner: PathBuf,
    peers: Peers,
    buffered: Gauge,
    open: AtomicUsize,
}

impl Control {
    /// Listens at `path` (replaced if it is there) and asks the inner server at `inner`.
    pub fn start(path: &Path, inner: PathBuf, peers: Peers) -> Result<Control> {
        let _ = std::fs::remove_file(path); // left by a process that was killed
        let listener =
            UnixListener::bind(path).map_err(|e| Error::internal(format!("control socket {}: {e}", path.display())))?;
        let shared = Arc::new(Shared {
            inner,
            peers,
            buffered: Gauge::new(64 << 20, 64 << 20),
            open: AtomicUsize::new(0),
        });
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let thread = thread::Builder::new()
            .name("control-accept".into())
            .spawn(move || accept(&listener, &shared, &seen))?;
        Ok(Control {
            path: path.into(),
            over,
            thread,
        })
    }

    /// Takes no more connections; those that are served have their own deadlines.
    pub fn stop(self) {
        self.over.store(true, Ordering::SeqCst);
        drop(UnixStream::connect(&self.path)); // wakes `accept`
        let _ = self.thread.join();
        let _ = std::fs::remove_file(&self.path);
    }
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>, over: &AtomicBool) {
    loop {
        let accepted = listener.accept();
        if over.load(Ordering::SeqCst) {
            return;
        }
        let Ok((socket, _)) = accepted else {
            thread::sleep(PAUSE);
            continue;
        };
        if shared.open.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS_MAX {
            shared.open.fetch_sub(1, Ordering::SeqCst);
            continue; // closed
        }
        let inside = Arc::clone(shared);
        let started = thread::Builder::new().name("control".into()).spawn(move || {
            // A client that is gone needs no answer.
            let _ = serve(&inside, socket);
            inside.open.fetch_sub(1, Ordering::SeqCst);
        });
        if started.is_err() {
            shared.open.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn serve(shared: &Shared, mut socket: UnixStream) -> std::io::Result<()> {
    socket.set_read_timeout(Some(REQUEST_MAX))?;
    socket.set_write_timeout(Some(REQUEST_MAX))?;
    let uid = sys::peer_uid(&socket)?;
    if uid != 0 && uid != sys::uid() {
        log::warning("control", "a stranger was turned away", &[("uid", &uid.to_string())]);
        return refuse(
            &mut socket,
            403,
            "Only root and the user that Lamplighter runs as may ask here.",
        );
    }
    let until = clock::mono() + REQUEST_MAX;
    let (mut buf, mut scan) = (Vec::new(), Scan::default());
    let end = loop {
        match scan.end(&buf) {
            Ok(Some(end)) => break end,
            Ok(None) if clock::mono() < until && read(&mut socket, &mut buf)? > 0 => {}
            _ => return refuse(&mut socket, 400, "This is no request."),
        }
    };
    let Ok(head) = parse::request(&buf[..end]) else {
        return refuse(&mut socket, 400, "This is no request.");
    };
    if head.length > BODY_MAX {
        return refuse(&mut socket, 413, "The body is larger than 64 MiB.");
    }
    let info = ConnInfo {
        peer: (Ipv4Addr::LOCALHOST, 0).into(),
        local: true,
        tls: false,
        is_listed_origin: false,
        request_id: random::name(),
        client_request_id: String::new(),
        control: Some(uid),
    };
    let (id, length) = (info.request_id.clone(), head.length as usize);
    let named = shared.peers.name(info, &shared.buffered);
    let request = clean(&head, named.as_str(), &id, head.length);
    let mut body = buf.split_off(end);
    while body.len() < length && clock::mono() < until && read(&mut socket, &mut body)? > 0 {}
    if body.len() != length {
        return refuse(&mut socket, 400, "The body is not as long as was said.");
    }
    let until = clock::mono() + HANDLER_MAX;
    let Ok(inner) = Inner::ask(&shared.inner, &request, &body, until) else {
        return refuse(&mut socket, 503, "There was no answer in time.");
    };
    let Some(answer) = inner.answer() else {
        return refuse(&mut socket, 500, "There was no answer that could be read.");
    };
    if [STREAM_HEADER, DOWNLOAD_HEADER]
        .iter()
        .any(|name| parse::find(&answer.fields, name).is_some())
    {
        return refuse(
            &mut socket,
            406,
            "Streams and downloads are not served here: ask by --url.",
        );
    }
    let mut content = Vec::new();
    match (named.body(), answer.length) {
        (Some(whole), _) => content.extend_from_slice(&whole),
        (None, Some(length)) if answer.status != 204 => inner.whole(&mut content, length, until)?,
        _ => {}
    }
    let mut out = format!("HTTP/1.1 {} {}\r\n", answer.status, answer.reason).into_bytes();
    for (name, value) in answer.fields.iter().filter(|(name, _)| !parse::ours(name)) {
        out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    send(&mut socket, out, &content)
}

fn read(socket: &mut UnixStream, into: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut chunk = [0; 4096];
    let n = socket.read(&mut chunk)?;
    into.extend_from_slice(&chunk[..n]);
    Ok(n)
}

fn refuse(socket: &mut UnixStream, status: u16, say: &str) -> std::io::Result<()> {
    let body = serde_json::json!({ "detail": say, "error_code": "control" }).to_string();
    let head = format!("HTTP/1.1 {status} Refused\r\nContent-Type: application/json\r\n");
    send(socket, head.into_bytes(), body.as_bytes())?;
    // What is still being sent is taken, or its sender would hear of a broken pipe and not of the reason.
    socket.set_read_timeout(Some(LINGER_MAX))?;
    let (mut sink, until) = ([0; 4096], clock::mono() + LINGER_MAX);
    while clock::mono() < until && socket.read(&mut sink)? > 0 {}
    Ok(())
}

fn send(socket: &mut UnixStream, mut out: Vec<u8>, body: &[u8]) -> std::io::Result<()> {
    out.extend_from_slice(format!("Content-Length: {}\r\nConnection: close\r\n\r\n", body.len()).as_bytes());
    out.extend_from_slice(body);
    socket.write_all(&out)?;
    socket.shutdown(Shutdown::Write)
}
