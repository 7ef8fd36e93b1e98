//! One echo request of ICMP by a datagram socket: no capability and no other program is needed where the kernel allows it.

use super::dial;
use super::policy::Policy;
use crate::base::clock::{self, Duration, Instant};
use crate::base::error::{Error, Kind, Result};
use crate::base::host::Host;
use crate::base::random;
use crate::base::sys;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

/// Type of a request and of its answer: RFC 792, RFC 4443.
const ECHO_V4: (u8, u8) = (8, 0);
const ECHO_V6: (u8, u8) = (128, 129);
/// Type, code, checksum, identifier, number.
const HEADER: usize = 8;
const PAYLOAD: usize = 16;

/// Sends one request to each allowed address in the resolver's order until one answers; each gets an even share of the
/// time that is left. Gives the time between request and answer. Errors: `ping_not_allowed` (the kernel refuses the
/// socket), `ping_silent`, `no_route`, `no_network`, `local_network`, and those of [`dial::allowed_addresses`].
pub fn ping(host: &Host, policy: Policy, until: Instant) -> Result<Duration> {
    let ips = dial::allowed_addresses(host, 0, policy, until)?;
    let mut last = None;
    for (i, ip) in ips.iter().enumerate() {
        let left = until.saturating_duration_since(clock::mono()) / (ips.len() - i) as u32;
        match echo(*ip, clock::mono() + left) {
            Ok(took) => return Ok(took),
            Err(e) => last = Some(explain(*ip, &e)),
        }
    }
    Err(last.unwrap_or_else(|| Error::internal("a name without addresses")))
}

fn echo(ip: IpAddr, until: Instant) -> io::Result<Duration> {
    let socket = sys::ping_socket(ip.is_ipv6()).map_err(|e| match e.kind() {
        ErrorKind::PermissionDenied => io::Error::new(ErrorKind::Unsupported, e),
        _ => e,
    })?;
    let (ask, answer) = if ip.is_ipv6() { ECHO_V6 } else { ECHO_V4 };
    let payload: [u8; PAYLOAD] = random::bytes();
    let mut request = vec![ask, 0, 0, 0, 0, 0, 0, 1];
    request.extend(payload);
    socket.connect(SocketAddr::new(ip, 0))?;
    let began = clock::mono();
    socket.send(&request)?;
    let mut reply = [0_u8; HEADER + PAYLOAD + 1];
    loop {
        let left = until.saturating_duration_since(clock::mono());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let count = socket.recv(&mut reply)?;
        let is_ours = count == HEADER + PAYLOAD && reply[0] == answer && reply[HEADER..count] == payload;
        if is_ours {
            return Ok(began.elapsed());
        }
    }
}

fn explain(ip: IpAddr, e: &io::Error) -> Error {
    let (kind, code, say) = match e.kind() {
        ErrorKind::Unsupported => (
            Kind::Busy,
            "ping_not_allowed",
            "Ping is not allowed here: the kernel of Lamplighter's machine refuses it (net.ipv4.ping_group_range)."
                .into(),
        ),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => (
            Kind::Timeout,
            "ping_silent",
            format!("{ip} does not answer to ping: the machine is off, or a firewall drops the packets."),
        ),
        ErrorKind::HostUnreachable | ErrorKind::ConnectionRefused => (
            Kind::Upstream,
            "no_route",
            format!("There is no way to {ip} from here: no route, or the machine is off."),
        ),
        ErrorKind::NetworkUnreachable => (
            Kind::Upstream,
            "no_network",
            format!("Lamplighter's own machine has no route to {ip}."),
        ),
        _ => (
            Kind::Busy,
            "local_network",
            format!("Lamplighter's own machine could not send a ping to {ip}."),
        ),
    };
    Error::new(kind, code, say).log(e)
}
