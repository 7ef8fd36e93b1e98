//! Parser of request heads, stricter than RFC 9112 where parsers could disagree, so that all later code reads the same.
//! Pure: bytes in, [`Head`] or [`Refusal`] out.

use super::refusal::Refusal;
use crate::base::host::Host;

/// A head may have so many bytes (nginx and Apache take 8 KiB a line; cookies and tokens fit many times).
pub const HEAD_MAX: usize = 16 << 10;
/// A head may have so many headers; browsers send about 20.
pub const HEADERS_MAX: usize = 64;
/// A target may have so many bytes.
pub const TARGET_MAX: usize = 4 << 10;

/// Supported methods.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// Methods without body: a large response and an unread body could block each other.
const BODILESS: [&str; 3] = ["GET", "HEAD", "OPTIONS"];
/// Headers that decide identity, target or framing: a repetition is refused.
const ONCE: [&str; 11] = [
    "host",
    "content-length",
    "transfer-encoding",
    "content-type",
    "authorization",
    "cookie",
    "origin",
    "expect",
    "last-event-id",
    "x-forwarded-proto",
    "x-request-id",
];
/// Hop-by-hop headers (RFC 9110 §7.6.1) and those set by the edge. `Forwarded` and `X-Forwarded-*` are never passed on:
/// the table of peers has the verified values.
const STRIPPED: [&str; 17] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "expect",
    "content-length",
    "server",
    "date",
    "x-request-id",
    "forwarded",
    "x-real-ip",
];

/// A name and its value, without the blanks around.
pub type Field<'a> = (&'a str, &'a str);

/// A valid request head.
#[derive(Debug)]
pub struct Head<'a> {
    /// One of the seven methods served.
    pub method: &'static str,
    /// Starts with `/`; no `#`, no blank, ASCII. Percent escapes are undecoded: the router decodes once.
    pub target: &'a str,
    /// The `Host`, normalized, without port.
    pub host: Host,
    /// Length of the body in bytes.
    pub length: u64,
    /// Was there a `Content-Length`?
    pub has_length: bool,
    /// Close after the response: requested by the client, or HTTP/1.0.
    pub close: bool,
    /// The client speaks HTTP/1.0, which knows no chunks.
    pub old: bool,
    /// Expects `100 Continue` before the body.
    pub expects: bool,
    /// All headers as they came.
    pub fields: Vec<Field<'a>>,
}

impl<'a> Head<'a> {
    /// The values of all headers of that (lower-case) name, in order.
    pub fn all(&self, name: &str) -> Vec<&'a str> {
        self.fields
            .iter()
            .filter(|f| f.0.eq_ignore_ascii_case(name))
            .map(|f| f.1)
            .collect()
    }

    /// Headers to pass to the inner server.
    pub fn clean(&self) -> impl Iterator<Item = &Field<'a>> {
        self.fields
            .iter()
            .filter(|(name, _)| !ours(name) && !starts_with(name, "x-forwarded-"))
    }

    /// The target without query, for the log: queries may hold secrets.
    pub fn path(&self) -> &'a str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// The first header of that (lower-case) name.
pub fn find<'a>(fields: &[Field<'a>], name: &str) -> Option<&'a str> {
    fields.iter().find(|f| f.0.eq_ignore_ascii_case(name)).map(|f| f.1)
}

/// Is that header hop-by-hop or set by the edge?
pub fn ours(name: &str) -> bool {
    STRIPPED.iter().any(|s| name.eq_ignore_ascii_case(s)) || starts_with(name, "x-lamplighter-")
}

fn starts_with(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|p| p.eq_ignore_ascii_case(prefix))
}

/// Finds the end of a head while it arrives, and refuses an invalid byte at once.
#[derive(Default)]
pub struct Scan {
    at: usize,
}

impl Scan {
    /// Scans the new bytes. `Some(n)`: the head is `buf[..n]`, empty line included.
    pub fn end(&mut self, buf: &[u8]) -> Result<Option<usize>, Refusal> {
        while let Some(&byte) = buf.get(self.at) {
            match byte {
                b'\n' if self.at > 0 && buf[self.at - 1] == b'\r' => {
                    if self.at >= HEAD_MAX {
                        break;
                    }
                    if self.at >= 3 && buf[self.at - 2] == b'\n' || self.at == 1 {
                        return Ok(Some(self.at + 1));
                    }
                }
                _ if self.at > 0 && buf[self.at - 1] == b'\r' => return Err(Refusal::Bytes),
                b'\r' | b'\t' | b' '..=b'~' => {}
                _ => return Err(Refusal::Bytes),
            }
            self.at += 1;
        }
        match buf.len() >= HEAD_MAX {
            true if !buf[..HEAD_MAX].contains(&b'\r') => Err(Refusal::TargetLong),
            true => Err(Refusal::HeadLarge),
            false => Ok(None),
        }
    }
}

/// Parses a complete head as delimited by [`Scan`].
pub fn request(head: &[u8]) -> Result<Head<'_>, Refusal> {
    let text = std::str::from_utf8(head).map_err(|_| Refusal::Bytes)?;
    let mut lines = lines_of(text).split("\r\n");
    let (method, target, old) = request_line(lines.next().unwrap_or_default())?;
    let fields = fields(lines)?;
    for name in ONCE {
        if fields.iter().filter(|f| f.0.eq_ignore_ascii_case(name)).count() > 1 {
            return Err(match name {
                "host" => Refusal::Host,
                "content-length" => Refusal::Length,
                _ => Refusal::Repeated,
            });
        }
    }
    let host = find(&fields, "host").and_then(host).ok_or(Refusal::Host)?;
    let given = find(&fields, "content-length");
    match (find(&fields, "transfer-encoding"), given) {
        (Some(_), Some(_)) => return Err(Refusal::Ambiguous),
        (Some(_), None) => return Err(Refusal::Coding),
        _ => {}
    }
    // Other upgrades, like h2c, may be ignored (RFC 9110 §7.8); a WebSocket client would wait.
    let wants_websocket = (find(&fields, "upgrade").into_iter().flat_map(|value| value.split(',')))
        .any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"));
    if wants_websocket && !old {
        return Err(Refusal::Upgrade);
    }
    let length = given.map_or(Ok(0), content_length)?;
    if length > 0 && BODILESS.contains(&method) {
        return Err(Refusal::Body);
    }
    let expects = match find(&fields, "expect") {
        // HTTP/1.0 knows no 100 (RFC 9110 §10.1.1).
        Some(what) if what.eq_ignore_ascii_case("100-continue") => !old && length > 0,
        Some(_) => return Err(Refusal::Expectation),
        None => false,
    };
    let close = old
        || fields
            .iter()
            .filter(|f| f.0.eq_ignore_ascii_case("connection"))
            .flat_map(|f| f.1.split(','))
            .any(|option| option.trim().eq_ignore_ascii_case("close"));
    Ok(Head {
        method,
        target,
        host,
        length,
        has_length: given.is_some(),
        close,
        old,
        expects,
        fields,
    })
}

fn request_line(line: &str) -> Result<(&'static str, &str, bool), Refusal> {
    let mut parts = line.split(' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::RequestLine);
    };
    let old = match version.as_bytes() {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            return Err(Refusal::Version);
        }
        _ => return Err(Refusal::RequestLine),
    };
    if !token(method) {
        return Err(Refusal::RequestLine);
    }
    let method = METHODS.into_iter().find(|m| *m == method).ok_or(Refusal::Method)?;
    if target.len() > TARGET_MAX {
        return Err(Refusal::TargetLong);
    }
    if !target.starts_with('/') || !target.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return Err(Refusal::Target);
    }
    Ok((method, target, old))
}

fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<Field<'a>>, Refusal> {
    let mut out = Vec::with_capacity(24);
    for line in lines {
        if out.len() == HEADERS_MAX {
            return Err(Refusal::HeadLarge);
        }
        // A folded line starts with a blank, and a blank before the colon hides a header from some parsers: no token.
        let (name, value) = line.split_once(':').ok_or(Refusal::Header)?;
        if !token(name) {
            return Err(Refusal::Header);
        }
        out.push((name, value.trim_matches([' ', '\t'])));
    }
    Ok(out)
}

/// RFC 9110 §5.6.2.
fn token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Parses `name`, `name:port`, `[v6]:port`; normalized, without port.
fn host(text: &str) -> Option<Host> {
    if !text.is_ascii() {
        return None;
    }
    let (name, port) = match text.strip_prefix('[').and_then(|t| t.split_once(']')) {
        Some((v6, rest)) => (v6.parse::<std::net::Ipv6Addr>().ok()?.to_string(), rest),
        None => {
            let name = text.split(':').next()?;
            (name.to_string(), &text[name.len()..])
        }
    };
    match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok() => {}
        None if port.is_empty() => {}
        _ => return None,
    }
    // An IPv6 address without brackets was cut at its first colon.
    Host::parse(&name).ok()
}

fn content_length(text: &str) -> Result<u64, Refusal> {
    match text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit u64: a length that is too large.
        true if text.len() > 19 => Err(Refusal::TooLarge),
        true => text.parse().map_err(|_| Refusal::Length),
        false => Err(Refusal::Length),
    }
}

/// The head of the inner server's response.
pub struct Answer<'a> {
    /// 200 to 599.
    pub status: u16,
    /// The words behind the status.
    pub reason: &'a str,
    /// Its `Content-Length`.
    pub length: Option<u64>,
    /// All headers.
    pub fields: Vec<Field<'a>>,
}

/// Parses the head of the inner server's response. `None`: malformed (a line end in a header) or chunked.
pub fn answer(head: &[u8]) -> Option<Answer<'_>> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = lines_of(text).split("\r\n");
    let (version, rest) = lines.next()?.split_once(' ')?;
    let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let fields = fields(lines).ok()?;
    let status = status.parse().ok().filter(|s| (200..600).contains(s))?;
    let lengths = fields
        .iter()
        .filter(|f| f.0.eq_ignore_ascii_case("content-length"))
        .count();
    let length = find(&fields, "content-length").map(content_length).transpose().ok()?;
    let good = version.starts_with("HTTP/1.") && lengths <= 1 && find(&fields, "transfer-encoding").is_none();
    good.then_some(Answer {
        status,
        reason,
        length,
        fields,
    })
}

/// Without the empty line at the end and the line end before it.
fn lines_of(text: &str) -> &str {
    text.strip_suffix("\r\n\r\n")
        .or_else(|| text.strip_suffix("\r\n"))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &[u8]) -> Result<usize, Refusal> {
        let end = Scan::default().end(text)?.ok_or(Refusal::Slow)?;
        request(&text[..end]).map(|_| end)
    }

    #[test]
    fn a_head_ends_at_its_empty_line_however_it_is_cut() {
        let text = b"GET /a?b=c HTTP/1.1\r\nHost: h\r\n\r\nGET /next";
        let mut scan = Scan::default();
        let end = (0..=text.len()).find_map(|n| scan.end(&text[..n]).unwrap());
        assert_eq!(end, Some(text.len() - 9));
        let head = request(&text[..end.unwrap()]).unwrap();
        assert_eq!((head.method, head.target, head.path()), ("GET", "/a?b=c", "/a"));
        assert!(!head.close && !head.has_length);
    }

    #[test]
    fn a_wrong_byte_is_refused_before_the_head_is_complete() {
        for bad in [
            &b"GET / HTTP/1.1\n"[..],
            b"\x16\x03\x01",
            b"GET /\x00",
            b"GET /\xc3\xa9",
            b"GET / HTTP/1.1\rX",
            b"\n",
            b"GET / HTTP/1.1\r\r",
        ] {
            assert_eq!(Scan::default().end(bad), Err(Refusal::Bytes), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn limits_hold_to_the_byte() {
        let head = |target: usize, pad: usize| {
            format!(
                "GET /{} HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n",
                "a".repeat(target),
                "b".repeat(pad)
            )
            .into_bytes()
        };
        let base = head(0, 0).len();
        assert!(whole(&head(TARGET_MAX - 1, 0)).is_ok());
        assert_eq!(whole(&head(TARGET_MAX, 0)), Err(Refusal::TargetLong));
        assert_eq!(whole(&head(HEAD_MAX, 0)), Err(Refusal::TargetLong));
        assert_eq!(whole(&head(0, HEAD_MAX - base)), Ok(HEAD_MAX));
        assert_eq!(whole(&head(0, HEAD_MAX - base + 1)), Err(Refusal::HeadLarge));
        let many = |n: usize| format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(n)).into_bytes();
        assert!(whole(&many(HEADERS_MAX - 1)).is_ok());
        assert_eq!(whole(&many(HEADERS_MAX)), Err(Refusal::HeadLarge));
    }

    #[test]
    fn hosts_are_read_in_every_spelling() {
        for (text, name) in [
            ("h", "h"),
            ("Example.COM:8080", "example.com"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]", "::1"),
            ("[FD00:0::1]:443", "fd00::1"),
        ] {
            assert_eq!(host(text).map(|h| h.to_string()).as_deref(), Some(name), "{text}");
        }
        for bad in [
            "",
            ":80",
            "a b",
            "a:",
            "a:b",
            "a:99999",
            "a:1:2",
            "::1",
            "[::1",
            "[a]",
            "[127.0.0.1]",
            "[::1]x",
            "u@h",
            "h/",
            "a:+1",
        ] {
            assert_eq!(host(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_neighbours_say_to_each_other_stays_outside() {
        let text = b"POST / HTTP/1.1\r\nHost: h\r\nTE: chunked\r\nX-Lamplighter-Conn: 1\r\nx-forwarded-for: 1\r\nForwarded: for=1\r\nConnection: keep-alive, Close\r\nAccept: x\r\n\r\n";
        let head = request(text).unwrap();
        assert!(head.close);
        assert_eq!(
            head.clean().copied().collect::<Vec<_>>(),
            [("Host", "h"), ("Accept", "x")]
        );
    }

    #[test]
    fn a_broken_answer_is_seen() {
        let good = answer(b"HTTP/1.0 404 Not Found\r\nContent-Length: 3\r\nA: b\r\n\r\n").unwrap();
        assert_eq!(
            (good.status, good.reason, good.length, good.fields.len()),
            (404, "Not Found", Some(3), 2)
        );
        for bad in [
            &b"HTTP/1.0 999 x\r\n\r\n"[..],
            b"HTTP/1.0 100 Continue\r\n\r\n",
            b"junk\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: a\nb c\r\nbroken line\r\n\r\n",
        ] {
            assert!(answer(bad).is_none(), "{}", bad.escape_ascii());
        }
    }
}
