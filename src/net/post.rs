//! One POST (or PUT) over one connection, for messages that leave: what became of it is told by status and a few KiB of the answer;
//! nothing is followed. Where a proxy is set (a country or a firewall that lets nothing else out), it is asked for a tunnel
//! (CONNECT), so that it sees a name and a port and never the path, which may hold a token.
//!
//! A failure from `empty`, `cut_short`, `read_timeout` or `reset` on leaves open whether the other side has taken the
//! request in ([`may_have_arrived`]).

use super::dial::{self, Call, Security, Wire};
use super::get::{Input, parse_head};
use crate::base::error::{Error, Kind, Result};
use crate::base::host::Host;
use crate::base::secret::Secret;
use crate::base::text;
use std::io::{Read, Write};

/// The sentence of an error is somewhere in this much of an answer.
const ANSWER_MAX: usize = 16 << 10;
/// A proxy's answer to CONNECT is a status line and a few headers.
const TUNNEL_MAX: usize = 8 << 10;

/// How it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Once more is one more.
    Post,
    /// Once more is the same.
    Put,
}

/// What is sent.
pub struct Post<'a> {
    /// How it is asked.
    pub method: Method,
    /// Path and query; it may hold a token, so it is in no error.
    pub path: &'a Secret,
    /// Media type of the body.
    pub content_type: &'a str,
    /// Further headers, lower case names; no control characters.
    pub headers: &'a [(&'a str, String)],
    /// The body as it is signed and sent.
    pub body: &'a [u8],
    /// Through which proxy, if any.
    pub proxy: Option<&'a Proxy>,
}

/// An HTTP proxy that makes tunnels.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Name or address; it is checked against the call's policy as any other.
    pub host: Host,
    /// TCP port.
    pub port: u16,
    /// A `Proxy-Authorization` header's value ([`super::get::basic`]).
    pub authorization: Option<Secret>,
}

/// What came back.
#[derive(Debug)]
pub struct Said {
    /// 200 to 599.
    pub status: u16,
    /// The media type, lower case, without parameters.
    pub content_type: String,
    /// Where it wants us to go instead; one line, never followed.
    pub location: Option<String>,
    /// Seconds to wait.
    pub retry_after: Option<u32>,
    /// Empty when it was longer than a few KiB, or broken: the status counts.
    pub body: Vec<u8>,
}

/// Sends. Errors: those of [`dial::dial`], `proxy_refused`, `proxy_login`, `not_http`, `tls_expected`, `empty`, `cut_short`,
/// `encoded`, `bad_request`.
pub fn post(call: &Call, post: &Post) -> Result<Said> {
    let request = Secret::new(request(call, post)?);
    let mut wire = match post.proxy {
        None => dial::dial(call)?,
        Some(proxy) => tunnel(call, proxy)?.secure(call)?,
    };
    let sent = wire
        .write_all(request.reveal_for("the wire"))
        .and_then(|()| wire.flush());
    drop(request);
    // Who refuses early may have answered before it was sent everything: its answer says more than the broken pipe.
    let read = Input::new(call, wire).verdict(ANSWER_MAX);
    let (head, body) = match (sent, read) {
        (_, Ok(read)) => read,
        (Err(e), Err(_)) => return Err(dial::explain(call, &e)),
        (Ok(()), Err(e)) => return Err(e),
    };
    Ok(Said {
        status: head.status,
        content_type: head.content_type,
        location: head.location,
        retry_after: head.retry_after,
        body: body.to_vec(),
    })
}

/// After such an error the other side may have got the request all the same: sent again, it may come twice.
pub fn may_have_arrived(error: &Error) -> bool {
    matches!(
        error.code,
        "empty" | "cut_short" | "read_timeout" | "reset" | "not_http" | "encoded"
    )
}

fn request(call: &Call, post: &Post) -> Result<Vec<u8>> {
    let path = post.path.reveal_for("request line");
    let target = path.starts_with(b"/") && path.iter().all(|b| b.is_ascii_graphic() && *b != b'#');
    let plain = |value: &str| value.bytes().all(|b| (0x20..0x7f).contains(&b));
    if !target || !post.headers.iter().all(|(_, value)| plain(value)) {
        let say = "The address or a header has characters that a request cannot carry.";
        return Err(Error::new(Kind::Upstream, "bad_request", say));
    }
    let mut out = Vec::with_capacity(512 + post.body.len());
    let verb: &[u8] = match post.method {
        Method::Post => b"POST ",
        Method::Put => b"PUT ",
    };
    out.extend_from_slice(verb);
    out.extend_from_slice(path);
    write!(
        out,
        " HTTP/1.1\r\nHost: {}\r\nUser-Agent: lamplighter/{}\r\nAccept: */*\r\nAccept-Encoding: identity\r\nConnection: close\r\nContent-Type: {}\r\nContent-Length: {}\r\n",
        authority(call),
        env!("CARGO_PKG_VERSION"),
        post.content_type,
        post.body.len(),
    )?;
    for (name, value) in post.headers {
        write!(out, "{name}: {value}\r\n")?;
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(post.body);
    Ok(out)
}

/// Without the port that goes without saying: some receivers choose their virtual host by the whole header.
fn authority(call: &Call) -> String {
    let usual = if call.security == Security::Plain { 80 } else { 443 };
    match call.port == usual {
        true => call.host.in_url(),
        false => format!("{}:{}", call.host.in_url(), call.port),
    }
}

fn tunnel(call: &Call, proxy: &Proxy) -> Result<Wire> {
    let to_proxy = Call {
        host: &proxy.host,
        port: proxy.port,
        security: Security::Plain,
        ..*call
    };
    // The proxy looks names up; an address is judged here, so that a proxy opens no door that the policy keeps shut.
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
    // Byte by byte: what comes behind the empty line belongs to the tunnel.
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
