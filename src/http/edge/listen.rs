//! Accept loop: no error of accept, descriptors or threads ends it, only the stop of the edge.

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

/// Stack size: enough for the handshake and 2 KiB of buffer.
const STACK: usize = 128 << 10;

/// Pause without descriptors, memory or threads.
const PAUSE: Duration = Duration::from_millis(100);

/// Accept queue for bursts.
const BACKLOG: i32 = 1024;

/// Time after which a vanished peer is given up.
const VANISHED_MS: u32 = 30_000;

/// A listening socket with its protocol.
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

    /// HTTP that redirects everything to HTTPS at this port.
    pub fn redirect(socket: TcpListener, https_port: u16) -> Listener {
        let speech = Speech::Redirect(https_port);
        Listener { socket, speech }
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// An accepting thread with its stop handle.
pub struct Acceptor {
    /// Duplicate of the listening socket: shutdown on it ends `accept`.
    stop: TcpStream,
    over: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Acceptor {
    /// Begins to accept.
    pub fn start(shared: Arc<Shared>, listener: Listener) -> io::Result<Acceptor> {
        sys::listen_backlog(&listener.socket, BACKLOG)?;
        // std has shutdown(2) for streams only.
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
    // Both fail only on a dead socket; the first read reports it.
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

/// Sends the reason if that is possible without blocking.
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
    // Input must be read before closing, else the kernel sends RST and the client loses the response.
    let _ = socket.read(&mut [0; 2048]);
}
