//! A client's socket, plain or TLS. Reads and writes have fixed deadlines, and writes must make progress.

use crate::base::clock::{self, Duration, Instant};
use crate::base::error::{Error, Kind, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, PoisonError, RwLock};

/// Limits of discarding input after the last response: closing with unread input makes the kernel send RST, and the
/// client would lose the response.
const DRAIN_MAX: usize = 64 << 10;
const DRAIN: Duration = Duration::from_secs(1);

/// TLS plaintext buffered for a slow client; more blocks the writer.
const TLS_BUFFER: usize = 32 << 10;

/// The TLS configuration of a listener; it can be replaced for new connections without a restart.
pub struct Tls {
    config: RwLock<Arc<ServerConfig>>,
    is_own: bool,
}

impl Tls {
    /// Shows what the configuration says.
    pub fn new(config: Arc<ServerConfig>) -> Arc<Tls> {
        Arc::new(Tls {
            config: RwLock::new(config),
            is_own: false,
        })
    }

    /// With a self-made certificate: HSTS is not sent (RFC 6797 §11.3).
    pub fn own(config: Arc<ServerConfig>) -> Arc<Tls> {
        Arc::new(Tls {
            config: RwLock::new(config),
            is_own: true,
        })
    }

    /// Replaces the configuration for new connections.
    pub fn swap(&self, config: Arc<ServerConfig>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// Is the certificate self-made?
    pub fn is_own(&self) -> bool {
        self.is_own
    }

    fn now(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Protocol of a listener.
#[derive(Clone)]
pub enum Speech {
    /// HTTP.
    Plain,
    /// HTTPS; HTTP requests are redirected to this port.
    Tls(Arc<Tls>, u16),
    /// HTTP; all requests are redirected to HTTPS at this port.
    Redirect(u16),
}

/// Protocol that a client of a TLS listener uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// TLS, after the handshake.
    Tls,
    /// HTTP, nothing read yet.
    Plain,
}

/// TLS 1.2 and 1.3 by `ring`, HTTP/1.1 only, tickets but no early data (it can be replayed), for a certificate chain
/// and its key in PEM.
pub fn tls_config(chain_pem: &[u8], key_pem: &[u8]) -> Result<Arc<ServerConfig>> {
    let bad = |what: &str, e: &dyn std::fmt::Display| {
        Error::new(Kind::Config, "bad_certificate", format!("The {what} cannot be used.")).log(e)
    };
    let chain = CertificateDer::pem_slice_iter(chain_pem)
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|e| bad("TLS certificate", &e))?;
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|e| bad("TLS key", &e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::internal)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| bad("TLS certificate with this key", &e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(Error::internal)?;
    config.send_tls13_tickets = 1;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// The socket with its deadlines.
pub struct ClientSocket {
    socket: Arc<TcpStream>,
    tls: Option<Box<ServerConnection>>,
    stall: Duration,
}

impl ClientSocket {
    /// Takes over a connected socket.
    pub fn new(socket: Arc<TcpStream>, stall: Duration) -> ClientSocket {
        ClientSocket {
            socket,
            tls: None,
            stall,
        }
    }

    /// TLS handshake. [`ErrorKind::ConnectionAborted`] if the client closed without sending; no TLS memory is allocated
    /// before its first byte.
    pub fn shake(&mut self, tls: &Tls, until: Instant) -> io::Result<Spoken> {
        self.socket.set_read_timeout(Some(self.timed(until).left()?))?;
        let mut first = [0];
        if self.socket.peek(&mut first).map_err(in_time)? == 0 {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        // TLS begins with the byte 22 (RFC 8446 §5.1), HTTP with a method in capitals.
        if first[0].is_ascii_uppercase() {
            return Ok(Spoken::Plain);
        }
        let mut server = ServerConnection::new(tls.now()).map_err(io::Error::other)?;
        server.set_buffer_limit(Some(TLS_BUFFER));
        while server.is_handshaking() {
            server.complete_io(&mut self.timed(until))?;
        }
        // Session tickets of the handshake's last flight.
        while server.wants_write() {
            server.write_tls(&mut self.timed(until))?;
        }
        self.tls = Some(Box::new(server));
        Ok(Spoken::Tls)
    }

    /// Is it encrypted?
    pub fn tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Some bytes, or 0 at the end. [`ErrorKind::TimedOut`] at the deadline.
    pub fn read(&mut self, buf: &mut [u8], until: Instant) -> io::Result<usize> {
        let mut timed = timed(&self.socket, until, self.stall);
        match &mut self.tls {
            None => timed.read(buf),
            Some(tls) => rustls::Stream::new(tls.as_mut(), &mut timed).read(buf),
        }
    }

    /// Writes everything. [`ErrorKind::TimedOut`] at the deadline or without progress.
    pub fn write(&mut self, bytes: &[u8], until: Instant) -> io::Result<()> {
        let mut timed = timed(&self.socket, until, self.stall);
        match &mut self.tls {
            None => timed.write_all(bytes),
            Some(tls) => {
                let mut stream = rustls::Stream::new(tls.as_mut(), &mut timed);
                stream.write_all(bytes)?;
                stream.flush()
            }
        }
    }

    /// Switches to sending only, without blocking.
    pub fn into_stream(self) -> io::Result<StreamSocket> {
        self.socket.set_nonblocking(true)?;
        Ok(StreamSocket(self))
    }

    /// Closes at once.
    pub fn close(mut self) {
        self.end();
    }

    /// Closes after the last response in a way that the client can read it.
    pub fn linger(mut self) {
        self.end();
        let until = clock::mono() + DRAIN;
        let mut junk = [0; 2048];
        let mut left = DRAIN_MAX;
        let mut timed = timed(&self.socket, until, self.stall);
        while let Ok(n @ 1..) = timed.read(&mut junk) {
            left = left.saturating_sub(n);
            if left == 0 {
                break;
            }
        }
    }

    fn end(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = self.socket.set_nonblocking(true);
            let _ = tls.write_tls(&mut &*self.socket);
            let _ = self.socket.set_nonblocking(false);
        }
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    fn timed(&self, until: Instant) -> Timed<'_> {
        timed(&self.socket, until, self.stall)
    }
}

/// A client's socket for streams: sends only, never blocks.
pub struct StreamSocket(ClientSocket);

/// Result of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// Everything was written.
    All,
    /// A part was written.
    Some,
    /// Nothing was written: the client does not read.
    Nothing,
}

impl StreamSocket {
    /// Writes without blocking and removes the written bytes from `out`.
    pub fn push(&mut self, out: &mut Vec<u8>) -> io::Result<Pushed> {
        let ClientSocket { socket, tls, .. } = &mut self.0;
        let mut to = Counted(socket, 0);
        let mut taken = 0;
        let all = loop {
            let left = &out[taken..];
            let step = match tls {
                _ if left.is_empty() && !tls.as_ref().is_some_and(|tls| tls.wants_write()) => break true,
                None => to.write(left).map(|n| taken += n),
                Some(tls) => {
                    taken += tls.writer().write(left)?;
                    tls.write_tls(&mut to).map(drop)
                }
            };
            match step {
                Err(e) if e.kind() == ErrorKind::WouldBlock => break false,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                step => step?,
            }
        };
        let moved = to.1 > 0;
        out.drain(..taken);
        Ok(match (all, moved) {
            (true, _) => Pushed::All,
            (_, true) => Pushed::Some,
            (_, false) => Pushed::Nothing,
        })
    }

    /// Has the client closed? Its input is discarded. Never blocks.
    pub fn gone(&mut self) -> bool {
        let ClientSocket { socket, tls, .. } = &mut self.0;
        let mut junk = [0; 512];
        let seen = match tls {
            None => (&**socket).read(&mut junk).map(|n| n == 0),
            Some(tls) => tls.read_tls(&mut &**socket).and_then(|n| {
                let state = tls.process_new_packets().map_err(io::Error::other)?;
                while matches!(tls.reader().read(&mut junk), Ok(1..)) {}
                Ok(n == 0 || state.peer_has_closed())
            }),
        };
        match seen {
            Ok(gone) => gone,
            Err(e) => !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }

    /// Closes.
    pub fn close(&mut self) {
        self.0.end();
    }
}

fn timed(socket: &TcpStream, until: Instant, stall: Duration) -> Timed<'_> {
    Timed { socket, until, stall }
}

/// A blocking socket with a deadline.
struct Timed<'a> {
    socket: &'a TcpStream,
    until: Instant,
    stall: Duration,
}

impl Timed<'_> {
    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(clock::mono());
        // A timeout of zero would mean none.
        match left < Duration::from_millis(1) {
            true => Err(ErrorKind::TimedOut.into()),
            false => Ok(left),
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.left()?))?;
        (&mut &*self.socket).read(buf).map_err(in_time)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(self.left()?.min(self.stall)))?;
        (&mut &*self.socket).write(bytes).map_err(in_time)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A non-blocking socket, and how many bytes it took.
struct Counted<'a>(&'a TcpStream, usize);

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.0.write(bytes)?;
        self.1 += taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Linux says `EAGAIN` when a socket's timeout is over.
fn in_time(e: io::Error) -> io::Error {
    match e.kind() {
        ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
        _ => e,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    const STEP: Duration = Duration::from_millis(20);

    /// Our socket, and the other end.
    fn pair(stall: Duration) -> (ClientSocket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (ClientSocket::new(Arc::new(listener.accept().unwrap().0), stall), other)
    }

    fn soon() -> Instant {
        clock::mono() + 10 * STEP
    }

    #[test]
    fn dripping_extends_no_deadline() {
        let (mut socket, other) = pair(Duration::from_secs(600));
        let dripper = thread::spawn(move || {
            let mut buf = [0; 1000];
            // Takes a little and gives a little, until we hang up.
            while (&other).read(&mut buf[..100]).is_ok_and(|n| n > 0) && (&other).write(b"x").is_ok() {
                thread::sleep(STEP);
            }
        });
        let large = vec![0; 64 << 20];
        assert_eq!(socket.write(&large, soon()).unwrap_err().kind(), ErrorKind::TimedOut);
        let until = soon();
        let end = std::iter::repeat_with(|| socket.read(&mut [0; 1], until))
            .find_map(io::Result::err)
            .unwrap();
        assert_eq!(end.kind(), ErrorKind::TimedOut);
        drop(socket);
        dripper.join().unwrap();
    }

    #[test]
    fn who_takes_nothing_of_an_answer_is_given_up_after_the_stall_time() {
        let far = clock::mono() + Duration::from_secs(600);
        let large = vec![0; 64 << 20];
        let (mut socket, _other) = pair(STEP);
        assert_eq!(socket.write(&large, far).unwrap_err().kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn a_stream_sends_what_is_taken_and_keeps_the_rest_in_order() {
        let (socket, mut other) = pair(STEP);
        let mut stream = socket.into_stream().unwrap();
        let whole: Vec<u8> = (0..16_u32 << 20).map(|n| (n >> 8) as u8).collect();
        let mut left = whole.clone();
        assert_eq!(stream.push(&mut left).unwrap(), Pushed::Some);
        // Nobody reads: the kernel moves a little more from one buffer to the other, then it takes nothing.
        assert!((0..1_000).any(|_| stream.push(&mut left).unwrap() == Pushed::Nothing));
        let reader = thread::spawn(move || {
            let mut seen = Vec::new();
            other.read_to_end(&mut seen).unwrap();
            seen
        });
        while stream.push(&mut left).unwrap() != Pushed::All {
            thread::yield_now();
        }
        assert!(left.is_empty());
        stream.close();
        assert!(reader.join().unwrap() == whole);
    }

    #[test]
    fn a_stream_sees_its_client_leave_and_nothing_else() {
        let (socket, other) = pair(STEP);
        let mut stream = socket.into_stream().unwrap();
        assert!(!stream.gone());
        (&other).write_all(b"chatter").unwrap();
        assert!(!stream.gone() && !stream.gone());
        drop(other);
        let until = clock::mono() + Duration::from_secs(60);
        while !stream.gone() {
            assert!(clock::mono() < until);
            thread::yield_now();
        }
    }
}
