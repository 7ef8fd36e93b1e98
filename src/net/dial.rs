//! One outbound connection: name resolution, address policy, connect, TLS; all waits are bounded by one deadline.
//! Errors say which step failed and never what was requested.

use super::names::{self, Answer};
use super::policy::{self, Policy};
use super::tls::{self, Pin};
use crate::base::clock::{self, Duration, Instant};
use crate::base::error::{Error, Kind, Result};
use crate::base::host::Host;
use crate::base::sys;
use crate::lang::words;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;

/// TLS mode and how the peer is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Plain TCP.
    Plain,
    /// TLS, verified by the system's authorities.
    Tls,
    /// TLS with exactly this certificate (pinned fingerprint).
    Pinned(Pin),
}

/// Destination and limits of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Name or address.
    pub host: &'a Host,
    /// TCP port.
    pub port: u16,
    /// TLS or not.
    pub security: Security,
    /// Which addresses are allowed.
    pub policy: Policy,
    /// Time limit of the TCP connect, all addresses together.
    pub connect_max: Duration,
    /// Deadline of everything: resolution, connect, handshake, request and response.
    pub until: Instant,
}

/// A connected stream. Reads and writes fail with `TimedOut` at the deadline, however slowly bytes arrive.
pub struct Wire {
    tcp: Timed,
    tls: Option<Box<ClientConnection>>,
}

/// Connects. Errors: `name_unknown`, `name_slow`, `address_refused`, `refused`, `no_route`, `no_network`, `connect_timeout`,
/// `tls_certificate`, `tls_not_spoken`, `tls_failed`, and those of [`explain`].
pub fn dial(call: &Call) -> Result<Wire> {
    let tcp = connect_tcp(call)?;
    Wire { tcp, tls: None }.secure(call)
}

/// Connects to a Unix socket of this machine: a daemon's, or that of an ssh forward. `call` gives the peer's name
/// (`host`, `security`) and the deadline; port and policy are ignored. Errors: `refused`, `connect_timeout`,
/// `local_network`, and those of TLS.
pub fn dial_unix(call: &Call, path: &Path) -> Result<Wire> {
    let until = (clock::mono() + call.connect_max).min(call.until);
    let stream = loop {
        let e = match sys::connect_unix(path) {
            Ok(stream) => break stream,
            Err(e) => e,
        };
        let at = path.display().to_string();
        let told = |id: &str| words::english(id, &[("socket", &at)]);
        let (kind, code, say) = match e.kind() {
            ErrorKind::WouldBlock if clock::mono() < until => {
                thread::sleep(QUEUE_PAUSE);
                continue;
            }
            ErrorKind::WouldBlock => (Kind::Timeout, "connect_timeout", told("told.socket_full")),
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                (Kind::Upstream, "refused", told("told.socket_silent"))
            }
            _ => (Kind::Upstream, "local_network", told("told.socket_closed")),
        };
        return Err(Error::new(kind, code, say).log(e));
    };
    let tcp = Timed {
        stream: Socket::Unix(stream),
        until: call.until,
    };
    Wire { tcp, tls: None }.secure(call)
}

/// Pause between tries while the accept queue of a Unix socket is full.
const QUEUE_PAUSE: Duration = Duration::from_millis(10);

/// TLS handshake for `name` that accepts any certificate; `call.security` is ignored. No secret may be sent over the
/// result, so this is private to `net`.
pub(super) fn dial_unverified(call: &Call, name: ServerName<'static>) -> Result<Wire> {
    secure(call, connect_tcp(call)?, tls::onlooker(), name)
}

fn secure(call: &Call, tcp: Timed, config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Wire> {
    if let Socket::Tcp(stream) = &tcp.stream {
        let _ = stream.set_nodelay(true); // the handshake's small writes must not wait for each other
    }
    let session = ClientConnection::new(config, name).map_err(Error::internal)?;
    let mut wire = Wire {
        tcp,
        tls: Some(Box::new(session)),
    };
    wire.shake_hands().map_err(|e| explain(call, &e))?;
    Ok(wire)
}

/// Resolves the name and connects.
fn connect_tcp(call: &Call) -> Result<Timed> {
    Ok(Timed {
        stream: Socket::Tcp(connect(call, &addresses(call.host, call.until)?)?),
        until: call.until,
    })
}

fn addresses(host: &Host, until: Instant) -> Result<Vec<IpAddr>> {
    if let Some(ip) = host.ip() {
        return Ok(vec![ip]);
    }
    match names::resolve(host.as_str(), until) {
        Answer::Known(ips) => Ok(ips),
        Answer::Unknown(why) => {
            let say = words::english("told.name_unknown", &[("host", host.as_str())]);
            Err(Error::new(Kind::Upstream, "name_unknown", say).log(why))
        }
        Answer::Slow => {
            let say = words::english("told.name_slow", &[("host", host.as_str())]);
            Err(Error::new(Kind::Timeout, "name_slow", say))
        }
    }
}

/// The allowed addresses of a host in the resolver's order, never empty, for a program that connects itself: given the
/// name, it would resolve it again and might get another answer. Errors: `name_unknown`, `name_slow`,
/// `address_refused`.
pub fn allowed_addresses(host: &Host, port: u16, policy: Policy, until: Instant) -> Result<Vec<IpAddr>> {
    let (mut good, mut last) = (Vec::new(), None);
    for ip in addresses(host, until)? {
        match check_address(host, ip, port, policy) {
            Ok(()) => good.push(ip),
            Err(e) => last = Some(e),
        }
    }
    match good.is_empty() {
        false => Ok(good),
        true => Err(last.unwrap_or_else(|| Error::internal("a name without addresses"))),
    }
}

fn check_address(host: &Host, ip: IpAddr, port: u16, policy: Policy) -> Result<()> {
    let why = match policy.check(ip) {
        Ok(()) if policy::is_own_door(ip, port, is_own) => "where Lamplighter itself listens",
        Ok(()) => return Ok(()),
        Err(why) => why,
    };
    let hint = match ip.to_canonical().is_loopback() && policy == Policy::Elsewhere {
        true => " That is this machine and not the server: give an address at which the server itself answers.",
        false => "",
    };
    let say = format!(
        "{} is {why}; Lamplighter does not connect there.{hint}",
        named(host, ip)
    );
    Err(Error::new(Kind::Upstream, "address_refused", say))
}

/// Tries the addresses in the resolver's order; each gets an even share of the time that is left.
fn connect(call: &Call, ips: &[IpAddr]) -> Result<TcpStream> {
    let until = (clock::mono() + call.connect_max).min(call.until);
    let mut last = None;
    for (i, ip) in ips.iter().enumerate() {
        if let Err(refused) = check_address(call.host, *ip, call.port, call.policy) {
            last = Some(refused);
            continue;
        }
        let left = until.saturating_duration_since(clock::mono()) / (ips.len() - i) as u32;
        match TcpStream::connect_timeout(&SocketAddr::new(*ip, call.port), left.max(Duration::from_millis(1))) {
            Ok(stream) => return Ok(stream),
            Err(e) => last = Some(explain_connect(call, *ip, &e)),
        }
    }
    Err(last.unwrap_or_else(|| Error::internal("a name without addresses")))
}

/// Is this an address of this machine? Nothing is sent: the kernel only selects the source address.
pub fn is_own(ip: IpAddr) -> bool {
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let from = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, 9))?; // discard; any port does
        socket.local_addr()
    });
    ip.is_loopback() || from.is_ok_and(|from| from.ip() == ip)
}

fn named(host: &Host, ip: IpAddr) -> String {
    match host.ip() {
        Some(_) => ip.to_string(),
        None => format!("{host} ({ip})"),
    }
}

fn explain_connect(call: &Call, ip: IpAddr, e: &io::Error) -> Error {
    let (whom, port) = (named(call.host, ip), call.port.to_string());
    let (kind, code, say) = match e.kind() {
        ErrorKind::ConnectionRefused => (
            Kind::Upstream,
            "refused",
            words::english("told.refused", &[("whom", &whom), ("port", &port)]),
        ),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => (
            Kind::Timeout,
            "connect_timeout",
            words::english("told.connect_timeout", &[("whom", &whom), ("port", &port)]),
        ),
        ErrorKind::HostUnreachable => (
            Kind::Upstream,
            "no_route",
            words::english("told.no_route", &[("whom", &whom)]),
        ),
        // Reported by our kernel: no packet was sent.
        ErrorKind::NetworkUnreachable => (
            Kind::Upstream,
            "no_network",
            words::english("told.no_network", &[("whom", &whom)]),
        ),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => return reset(call),
        // A local problem: no free port, too many open files, a local firewall.
        _ => (
            Kind::Busy,
            "local_network",
            words::english("told.local_network", &[("whom", &whom)]),
        ),
    };
    Error::new(kind, code, say).log(e)
}

fn reset(call: &Call) -> Error {
    let say = words::english(
        "told.reset",
        &[("whom", &format!("{}:{}", call.host.in_url(), call.port))],
    );
    Error::new(Kind::Upstream, "reset", say)
}

/// Error of a failure on a connected stream: `read_timeout`, `reset`, or one of TLS.
pub(super) fn explain(call: &Call, e: &io::Error) -> Error {
    let whom = format!("{}:{}", call.host.in_url(), call.port);
    if let Some(e) = e.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
        let (code, end) = tls::explain(e);
        return Error::new(Kind::Upstream, code, format!("{whom} {end}")).log(e);
    }
    match e.kind() {
        ErrorKind::TimedOut => {
            let say = words::english("told.read_timeout", &[("whom", &whom)]);
            Error::new(Kind::Timeout, "read_timeout", say)
        }
        _ => reset(call).log(e),
    }
}

impl Wire {
    /// Our address on this connection.
    pub(super) fn own_address(&self) -> Option<IpAddr> {
        match &self.tcp.stream {
            Socket::Tcp(stream) => stream.local_addr().ok().map(|at| at.ip().to_canonical()),
            Socket::Unix(_) => None,
        }
    }

    /// Sets the deadline for the next exchange on the connection.
    pub(super) fn renew(&mut self, until: Instant) {
        self.tcp.until = until;
    }

    /// Waits until data can be read, or the end. Not for TLS, where data may be buffered already.
    pub(super) fn wait(&mut self) -> io::Result<()> {
        match self.tls.is_none() && !sys::readable(&self.tcp.stream, self.tcp.left()?) {
            true => Err(ErrorKind::TimedOut.into()),
            false => Ok(()),
        }
    }

    /// A handle that closes this connection from another thread.
    pub(super) fn breaker(&self) -> io::Result<Breaker> {
        Ok(Breaker(self.tcp.stream.try_clone()?))
    }

    /// Starts TLS as `call` wants it, with `call.host`, on an established connection: directly, after STARTTLS, or
    /// through a proxy's tunnel.
    pub(super) fn secure(self, call: &Call) -> Result<Wire> {
        let pin = match call.security {
            Security::Plain => return Ok(self),
            Security::Tls => None,
            Security::Pinned(pin) => Some(pin),
        };
        let name = match call.host.ip() {
            Some(ip) => ServerName::from(ip),
            None => ServerName::try_from(call.host.as_str().to_owned()).map_err(Error::internal)?,
        };
        secure(call, self.tcp, tls::client(pin)?, name)
    }

    /// The peer's certificates, its own first; empty without TLS.
    pub(super) fn shown(&self) -> Vec<CertificateDer<'static>> {
        let tls = self.tls.as_ref().and_then(|tls| tls.peer_certificates());
        tls.unwrap_or_default().iter().map(|c| c.clone().into_owned()).collect()
    }

    /// Sends close_notify and closes, so that the peer logs no broken connection. Errors are ignored.
    pub(super) fn leave(mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = tls.write_tls(&mut self.tcp);
        }
    }

    /// Ends what we send, and waits until the peer has ended, too: then it has taken all of it. Error: it has not.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            while tls.wants_write() {
                tls.write_tls(&mut self.tcp)?;
            }
        }
        match &self.tcp.stream {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write)?,
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write)?,
        }
        let mut rest = [0; 1_024];
        // Below TLS: whether its end is told by an alert or by the connection's does not matter.
        while self.tcp.read(&mut rest)? > 0 {}
        // An end that came before the peer had all is none: what it has not acknowledged is lost.
        match sys::unacknowledged(&self.tcp.stream)? {
            0 => Ok(()),
            _ => Err(ErrorKind::ConnectionReset.into()),
        }
    }

    fn shake_hands(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.is_handshaking() {
                if let (0, 0) = tls.complete_io(&mut self.tcp)? {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
            }
        }
        Ok(())
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls.as_mut(), &mut self.tcp).read(into),
            None => self.tcp.read(into),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls.as_mut(), &mut self.tcp).write(bytes),
            None => self.tcp.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls.as_mut(), &mut self.tcp).flush(),
            None => Ok(()),
        }
    }
}

/// Closes a connection from another thread ([`Wire::breaker`]).
pub(super) struct Breaker(Socket);

impl Breaker {
    /// Shuts the socket down: reads and writes end.
    pub(super) fn pull(&self) {
        let _ = match &self.0 {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

/// The underlying socket.
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn try_clone(&self) -> io::Result<Socket> {
        Ok(match self {
            Socket::Tcp(stream) => Socket::Tcp(stream.try_clone()?),
            Socket::Unix(stream) => Socket::Unix(stream.try_clone()?),
        })
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Socket::Tcp(stream) => stream.as_raw_fd(),
            Socket::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

/// A socket with a deadline.
struct Timed {
    stream: Socket,
    until: Instant,
}

impl Timed {
    /// The time left, set before every call: a timeout set once would restart with every byte.
    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(clock::mono());
        match left < Duration::from_millis(1) {
            true => Err(ErrorKind::TimedOut.into()), // a timeout of zero is an error to the socket
            false => Ok(left),
        }
    }
}

/// The kernel says EAGAIN when a socket's timeout is over.
fn timed_out(e: io::Error) -> io::Error {
    if e.kind() == ErrorKind::WouldBlock {
        ErrorKind::TimedOut.into()
    } else {
        e
    }
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = Some(self.left()?);
        match &mut self.stream {
            Socket::Tcp(stream) => stream.set_read_timeout(left).and_then(|()| stream.read(into)),
            Socket::Unix(stream) => stream.set_read_timeout(left).and_then(|()| stream.read(into)),
        }
        .map_err(timed_out)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = Some(self.left()?);
        match &mut self.stream {
            Socket::Tcp(stream) => stream.set_write_timeout(left).and_then(|()| stream.write(bytes)),
            Socket::Unix(stream) => stream.set_write_timeout(left).and_then(|()| stream.write(bytes)),
        }
        .map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
