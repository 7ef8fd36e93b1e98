//! HTTP GET over one connection, for the Glances poll and [`visit`](super::visit). Everything else uses
//! [`http`](super::http): a poll costs half the CPU of one with `ureq` (`tests/bench/poll.rs` prints both).

use super::answer::{Answer, Exchanged, Input};
use super::dial::{self, Call, Security, Wire};
use crate::base::clock::{self, Duration};
use crate::base::error::{Error, Kind, Result};
use crate::base::secret::Secret;
use crate::base::semaphore::{Permit, Semaphore};
use crate::base::text;
use std::io::Write;

/// `Authorization: Basic` with UTF-8 (RFC 7617).
pub fn basic(user: &str, password: &Secret) -> Secret {
    let mut pair = format!("{user}:").into_bytes();
    pair.extend_from_slice(password.reveal_for("HTTP Basic"));
    let header = Secret::new(format!("Basic {}", text::base64(&pair)));
    pair.fill(0);
    header
}

/// `Authorization: Bearer`.
pub fn bearer(token: &Secret) -> Secret {
    Secret::new([b"Bearer ", token.reveal_for("HTTP Bearer")].concat())
}

/// Sends a GET for `path` (with its query). `authorization` is a header value; it goes to this peer only.
/// Errors: those of [`dial::dial`], `not_http`, `tls_expected`, `empty`, `cut_short`, `too_large`, `encoded`, `bad_request`.
pub fn get(call: &Call, path: &str, authorization: Option<&Secret>, body_max: usize) -> Result<Answer> {
    let request = Secret::new(request(call, path, authorization, "close")?);
    let (head, body, _) = exchange(call, dial::dial(call)?, &request, body_max)?;
    Ok(head.with(body))
}

/// A connection kept from one GET to the next by the same caller. Only with TLS, where the handshake costs more than
/// the rest of a poll; a plain connection costs some µs. A clone is empty.
#[derive(Default)]
pub struct KeepAlive(Option<(Wire, Permit)>);

/// Kept connections of the whole process: each takes some kB and a descriptor.
const IDLE_MAX: usize = 512;
/// Time limit on a kept connection that a firewall may have dropped; then a new one is made.
const KEPT_MAX: Duration = Duration::from_secs(2);

static IDLE: Semaphore = Semaphore::new(IDLE_MAX);

impl Clone for KeepAlive {
    fn clone(&self) -> KeepAlive {
        KeepAlive::default()
    }
}

impl std::fmt::Debug for KeepAlive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() {
            "KeepAlive(open)"
        } else {
            "KeepAlive"
        })
    }
}

/// As [`get`], over the kept connection if it still works; keeps it if the peer allows.
pub fn get_over(
    call: &Call,
    path: &str,
    authorization: Option<&Secret>,
    body_max: usize,
    kept: &mut KeepAlive,
) -> Result<Answer> {
    if call.security == Security::Plain {
        return get(call, path, authorization, body_max);
    }
    let request = Secret::new(request(call, path, authorization, "keep-alive")?);
    let mut read = None;
    if let Some((mut wire, _)) = kept.0.take() {
        wire.renew(call.until.min(clock::mono() + KEPT_MAX));
        // Closed meanwhile, or dropped in between: that says nothing about the peer.
        read = match exchange(call, wire, &request, body_max) {
            Err(e) if ["empty", "reset", "read_timeout"].contains(&e.code) => None,
            other => Some(other),
        };
    }
    let (head, body, wire) = match read {
        Some(read) => read?,
        None => exchange(call, dial::dial(call)?, &request, body_max)?,
    };
    kept.0 = wire.zip(IDLE.take());
    Ok(head.with(body))
}

fn exchange(call: &Call, wire: Wire, request: &Secret, body_max: usize) -> Result<Exchanged> {
    ask(call, wire, request.reveal_for("the wire"), |input| {
        input.answer(body_max)
    })
}

/// Sends a request and reads its response.
pub(super) fn ask<'a, T>(
    call: &'a Call<'a>,
    mut wire: Wire,
    request: &[u8],
    read: impl FnOnce(Input<'a>) -> Result<T>,
) -> Result<T> {
    wire.write_all(request)
        .and_then(|()| wire.flush())
        .map_err(|e| dial::explain(call, &e))?;
    read(Input::new(call, wire))
}

fn request(call: &Call, path: &str, authorization: Option<&Secret>, connection: &str) -> Result<Vec<u8>> {
    let token = |bytes: &[u8]| bytes.iter().all(|b| (0x20..0x7f).contains(b));
    let target = path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    let authorization = authorization.map(|a| a.reveal_for("request header"));
    if !target || !authorization.is_none_or(token) {
        let say = "The path or the token has characters that a request cannot carry.";
        return Err(Error::new(Kind::Upstream, "bad_request", say));
    }
    let mut out = Vec::with_capacity(512);
    let host = call.host.in_url();
    write!(
        out,
        "GET {path} HTTP/1.1\r\nHost: {host}:{}\r\nUser-Agent: lamplighter/{}\r\nAccept: application/json\r\nAccept-Encoding: identity\r\nConnection: {connection}\r\n",
        call.port,
        env!("CARGO_PKG_VERSION"),
    )?;
    if let Some(value) = authorization {
        out.extend_from_slice(b"Authorization: ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_kept_up_to_their_number() {
        let mut taken: Vec<Permit> = std::iter::from_fn(|| IDLE.take()).take(IDLE_MAX + 1).collect();
        assert!((1..=IDLE_MAX).contains(&taken.len()), "{}", taken.len());
        assert!(
            IDLE.take().is_none() && IDLE.take().is_none(),
            "who got none gives none back"
        );
        taken.pop();
        assert!(IDLE.take().is_some());
    }

    #[test]
    fn credentials_are_written_as_utf_8_and_never_shown() {
        let header = basic("monitor", &Secret::new("pa:ss wörd"));
        assert_eq!(header.reveal_text_for("test"), "Basic bW9uaXRvcjpwYTpzcyB3w7ZyZA==");
        assert_eq!(format!("{header:?}"), "Secret(…)");
    }
}
