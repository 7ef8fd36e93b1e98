//! Accepts, whatever happens: no errno, no lack of descriptors or threads ends it, only the edge's own stop.

use super::answer::{self, About};
use super::client_socket::{ClientSocket, Speech, Tls};
use super::refusal::Refusal;
use super::serve::{self, Shared, count};
use crate::base::clock::Duration;
use crate::base::{log, random, sys};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Enough for the handshake and 2 KiB of buffer; a page is used only when touched.
const STACK: usize = 128 << 10;

/// Without descriptors, memory or threads: somebody must leave first.
const PAUSE: Duration = Duration::from_millis(100);

/// A burst waits here instead of for a repeated SYN.
const BACKLOG: i32 = 1024;

/// A peer that vanished without a word is given up after this.
const VANISHED_MS: u32 = 30_000;

/// A socket to accept on.
pub struct Listener {
    socket: TcpListener,
    speech: Speech,
}

impl Listener {
    /// Speaks HTTP.
    pub fn plain(socket: TcpListener) -> Listener {
        let speech = Speech::Plain;
        Listener { socket, speech }
    }

    /// Speaks HTTPS, and sends there who speaks HTTP.
    pub fn tls(socket: TcpListener, tls: Arc<Tls>) -> io::Result<Listener> {
        let speech = Speech::Tls(tls, socket.local_addr()?.port());
        Ok(Listener { socket, speech })
    }

    /// Sends everybody to HTTPS at this port of the same host.
    pub fn redirect(socket: TcpListener, https_port: u16) -> Listener {
        let speech = Speech::Redirect(https_port);
        Listener { socket, speech }
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// A thread that accepts, and the way to stop it.
pub struct Acceptor {
    /// Another handle of the listening socket: shutting it down ends its `accept`.
    stop: TcpStream,
    over: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Acceptor {
    /// Begins to accept.
    pub fn start(shared: Arc<Shared>, listener: Listener) -> io::Result<Acceptor> {
        sys::listen_backlog(&listener.socket, BACKLOG)?;
        // The one safe way to shutdown(2) a listening socket: std has the call for streams only.
        let stop = TcpStream::from(std::os::fd::OwnedFd::from(listener.socket.try_clone()?));
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let thread = thread::Builder::new()
            .name("edge-accept".into())
            .stack_size(STACK)
            .spawn(move || accept(&shared, &listener, &seen))?;
        Ok(Acceptor { stop, over, thread })
    }

    /// Stops, and closes the socket.
    pub fn stop(self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = self.stop.shutdown(Shutdown::Both);
        let _ = self.thread.join();
    }
}

fn accept(shared: &Arc<Shared>, listener: &Listener, over: &AtomicBool) {
    let mut failing = false;
    while !over.load(Ordering::SeqCst) {
        match listener.socket.accept() {
            Ok((socket, peer)) => {
                failing = false;
                count(&shared.counts.accepted);
                welcome(shared, socket, peer, listener.speech.clone());
            }
            Err(_) if over.load(Ordering::SeqCst) => break,
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
            Err(e) => {
                count(&shared.counts.accept_errors);
                if !failing {
                    log::error("http", "cannot accept connections", &[("cause", &e.to_string())]);
                }
                failing = true;
                thread::sleep(PAUSE);
            }
        }
    }
}

fn welcome(shared: &Arc<Shared>, socket: TcpStream, peer: SocketAddr, speech: Speech) {
    // Both fail only on a socket that is dead already; the first read will tell.
    let _ = socket.set_nodelay(true);
    let _ = sys::tcp_user_timeout(&socket, VANISHED_MS);
    let socket = Arc::new(socket);
    let plain = !matches!(speech, Speech::Tls(..));
    if !shared.lets_in(peer) {
        return turn_away(shared, &socket, Refusal::Stranger, plain);
    }
    let slot = match shared.slots.admit(Arc::clone(&socket), peer.ip(), shared.exempt(peer)) {
        Ok(slot) => slot,
        Err(why) => return turn_away(shared, &socket, why, plain),
    };
    let client = ClientSocket::new(Arc::clone(&socket), shared.config.limits.stall);
    let inside = Arc::clone(shared);
    let started = thread::Builder::new()
        .name("edge".into())
        .stack_size(STACK)
        .spawn(move || serve::connection(&inside, slot, client, peer, &speech));
    if started.is_err() {
        count(&shared.counts.thread_errors);
        turn_away(shared, &socket, Refusal::Full, plain);
    }
}

/// Says why, as far as that needs no waiting: this thread is the door.
fn turn_away(shared: &Shared, socket: &TcpStream, why: Refusal, plain: bool) {
    count(&shared.counts.refused[why as usize]);
    if !plain || socket.set_nonblocking(true).is_err() {
        return;
    }
    let about = About {
        id: &random::name(),
        client_id: None,
        hsts_s: None,
        origin: None,
        close: true,
    };
    let mut socket = socket;
    let _ = socket.write(&answer::refusal(why, about, false));
    let _ = socket.shutdown(Shutdown::Write);
    // What has come already must be read, or closing sends RST and the client never sees the answer.
    let _ = socket.read(&mut [0; 2048]);
}
