//! One look at a host: an echo, a connection, or a greeting. Nothing is sent but the echo request.

use crate::base::clock::{self, Duration, Instant};
use crate::base::error::{Error, Kind, Result};
use crate::base::host::Host;
use crate::base::shape::described;
use crate::net::dial::{self, Call, Security};
use crate::net::ping;
use crate::net::policy::Policy;
use serde::Serialize;
use std::io::{BufRead, BufReader, Read};

/// Limit of one look, with the look-up of its name.
pub const LOOK_MAX: Duration = Duration::from_secs(4);
/// Most bytes that are read before a greeting of SSH: RFC 4253 4.2 allows other lines first.
const GREETING_MAX: u64 = 4 << 10;

/// Does a host answer?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It answers.
    Up,
    /// It does not.
    Down,
    /// Not looked at, or the look failed on this side.
    Unknown,
}
described!(Status: "up", "down", "unknown");

impl Status {
    /// As stored and shown.
    pub fn name(self) -> &'static str {
        Status::WORDS[self as usize]
    }

    /// Reads a name; another text is `Unknown`.
    pub fn parse(name: &str) -> Status {
        match name {
            "up" => Status::Up,
            "down" => Status::Down,
            _ => Status::Unknown,
        }
    }
}

/// Whom to look at.
#[derive(Debug, Clone)]
pub struct Target {
    /// Id of the server.
    pub id: i64,
    /// Its address or name.
    pub host: String,
    /// Port of its SSH server.
    pub port: u16,
    /// `ping`, `tcp` or `ssh`.
    pub method: &'static str,
}

/// What a look has found.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Does it answer?
    pub status: Status,
    /// `ping`, `tcp` or `ssh`.
    pub method: &'static str,
    /// Until the answer, in ms.
    pub latency_ms: Option<f64>,
    /// Why it is not up; empty when it is.
    pub code: String,
    /// The same as a sentence.
    pub say: String,
}

/// Looks at a host for at most [`LOOK_MAX`].
pub fn look(target: &Target) -> Seen {
    let (latency, error) = match ask(target, clock::mono() + LOOK_MAX) {
        Ok(took) => (Some((took.as_secs_f64() * 100_000.0).round() / 100.0), None),
        Err(e) => (None, Some(e)),
    };
    Seen {
        status: error.as_ref().map_or(Status::Up, meaning),
        method: target.method,
        latency_ms: latency,
        code: error.as_ref().map(|e| e.code.to_string()).unwrap_or_default(),
        say: error.map(|e| e.say).unwrap_or_default(),
    }
}

/// What failed on this side says nothing about the host.
fn meaning(e: &Error) -> Status {
    const OURS: [&str; 8] = [
        "name_unknown",
        "name_slow",
        "address_refused",
        "no_network",
        "local_network",
        "ping_not_allowed",
        "bad_host",
        "internal",
    ];
    match OURS.contains(&e.code) || e.kind == Kind::Internal {
        true => Status::Unknown,
        false => Status::Down,
    }
}

fn ask(target: &Target, until: Instant) -> Result<Duration> {
    let host = Host::parse(&target.host).map_err(|say| Error::new(Kind::Internal, "bad_host", say))?;
    let policy = Policy::of_server(&host);
    if target.method == "ping" {
        return ping::ping(&host, policy, until);
    }
    let began = clock::mono();
    let wire = dial::dial(&Call {
        host: &host,
        port: target.port,
        security: Security::Plain,
        policy,
        connect_max: LOOK_MAX,
        until,
    })?;
    match target.method == "ssh" && !greets(wire) {
        true => {
            let say = format!(
                "{}:{} takes connections, but no SSH server greets there.",
                host.in_url(),
                target.port
            );
            Err(Error::new(Kind::Upstream, "no_greeting", say))
        }
        false => Ok(began.elapsed()),
    }
}

fn greets(from: impl Read) -> bool {
    let mut lines = BufReader::new(from.take(GREETING_MAX));
    let mut line = Vec::new();
    while matches!(lines.read_until(b'\n', &mut line), Ok(count) if count > 0) {
        if line.starts_with(b"SSH-") {
            return true;
        }
        line.clear();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_may_have_lines_before_it_and_does_not_go_on_for_ever() {
        assert!(greets(&b"SSH-2.0-OpenSSH_9.6\r\n"[..]));
        assert!(greets(&b"Welcome\r\nSSH-2.0-x\r\n"[..]));
        assert!(!greets(&b"HTTP/1.1 400 Bad Request\r\n"[..]));
        assert!(!greets(&b""[..]));
        assert!(!greets(std::io::repeat(b'x')));
    }

    #[test]
    fn only_what_fails_at_the_host_is_down() {
        let of = |code| meaning(&Error::new(Kind::Upstream, code, "x"));
        for code in ["refused", "connect_timeout", "no_route", "ping_silent", "no_greeting"] {
            assert_eq!(of(code), Status::Down, "{code}");
        }
        for code in ["name_unknown", "no_network", "ping_not_allowed", "address_refused"] {
            assert_eq!(of(code), Status::Unknown, "{code}");
        }
    }
}
