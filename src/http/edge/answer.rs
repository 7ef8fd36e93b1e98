//! Heads of all responses: security headers, request id and date are set here only.

use super::parse::{self, Field};
use super::refusal::Refusal;
use crate::base::clock::{self, Ms};
use serde_json::json;
use std::io::Write;

/// Headers of every response. The content security policy allows only our own scripts and styles; COOP and CORP isolate
/// from other origins' windows and pages.
const SECURITY: &str = "\
Content-Security-Policy: default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'\r\n\
X-Content-Type-Options: nosniff\r\n\
X-Frame-Options: DENY\r\n\
Referrer-Policy: no-referrer\r\n\
Cross-Origin-Opener-Policy: same-origin\r\n\
Cross-Origin-Resource-Policy: same-origin\r\n\
Permissions-Policy: accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), \
microphone=(), payment=(), usb=()\r\n";

/// Response headers that a page of an allowed origin may read.
const READABLE: &str =
    "Access-Control-Expose-Headers: ETag, Link, Location, Retry-After, X-Request-Id\r\nVary: Origin\r\n";

/// Headers set here; those of handlers are dropped.
const SAID_HERE: [&str; 10] = [
    "content-security-policy",
    "x-content-type-options",
    "x-frame-options",
    "referrer-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "permissions-policy",
    "strict-transport-security",
    "access-control-allow-origin",
    "access-control-allow-credentials",
];

/// Parameters of a response head.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Request id.
    pub id: &'a str,
    /// Client's own request id, if it is a plain word.
    pub client_id: Option<&'a str>,
    /// Max-age of Strict-Transport-Security (RFC 6797); `None`: no header.
    pub hsts_s: Option<u32>,
    /// Allowed CORS origin of the request.
    pub origin: Option<&'a str>,
    /// Is this the connection's last response?
    pub close: bool,
}

/// Appends a response head. `length` is `None` without body (204, 304) and for streams.
pub fn head(out: &mut Vec<u8>, status: u16, reason: &str, fields: &[Field<'_>], length: Option<u64>, about: About<'_>) {
    let mut line = |parts: &[&str]| parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    line(&["HTTP/1.1 ", &status.to_string(), " ", reason, "\r\n"]);
    line(&[
        "Date: ",
        &date(clock::now()),
        "\r\nX-Request-Id: ",
        about.id,
        "\r\n",
        SECURITY,
    ]);
    if let Some(theirs) = about.client_id {
        line(&["X-Client-Request-Id: ", theirs, "\r\n"]);
    }
    if let Some(seconds) = about.hsts_s {
        // Without `includeSubDomains`: other hosts may not have TLS.
        line(&["Strict-Transport-Security: max-age=", &seconds.to_string(), "\r\n"]);
    }
    if let Some(origin) = about.origin {
        line(&["Access-Control-Allow-Origin: ", origin, "\r\n", READABLE]);
    }
    if parse::find(fields, "cache-control").is_none() {
        line(&["Cache-Control: no-store\r\n"]);
    }
    for (name, value) in fields {
        if !parse::ours(name) && !SAID_HERE.iter().any(|said| name.eq_ignore_ascii_case(said)) {
            line(&[name, ": ", value, "\r\n"]);
        }
    }
    if status == 426 {
        line(&["Upgrade: HTTP/1.1\r\nConnection: Upgrade\r\n"]); // RFC 9110 §15.5.22: to what
    }
    if let Some(length) = length {
        line(&["Content-Length: ", &length.to_string(), "\r\n"]);
    }
    line(&[if about.close {
        "Connection: close\r\n\r\n"
    } else {
        "\r\n"
    }]);
}

/// Says in a finished head that the body comes in chunks (RFC 9112 §7.1).
pub fn in_chunks(head: &mut Vec<u8>) {
    head.truncate(head.len() - 2); // the empty line
    head.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
}

/// A whole response of the edge itself, the connection's last.
pub fn refusal(why: Refusal, about: About<'_>, bodiless: bool) -> Vec<u8> {
    let body = json!({
        "detail": why.say(),
        "error_code": why.code(),
        "timestamp": clock::rfc3339(clock::now()),
        "request_id": about.id,
    })
    .to_string();
    let mut fields = vec![("Content-Type", "application/json")];
    if why.status() == 503 {
        fields.push(("Retry-After", "2"));
    }
    if why.status() == 401 {
        fields.push(("WWW-Authenticate", "Bearer"));
    }
    let mut out = Vec::with_capacity(1536);
    let about = About { close: true, ..about };
    head(
        &mut out,
        why.status(),
        why.reason(),
        &fields,
        Some(body.len() as u64),
        about,
    );
    if !bodiless {
        // Writing to a Vec cannot fail.
        let _ = out.write_all(body.as_bytes());
    }
    out
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
fn date(at: Ms) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (days, time) = (at.div_euclid(clock::DAY), at.rem_euclid(clock::DAY));
    let (y, m, d) = clock::civil(days);
    let weekday = WEEKDAYS[days.rem_euclid(7) as usize];
    let month = MONTHS[m as usize - 1];
    let (hour, minute, second) = (time / clock::HOUR, time / clock::MINUTE % 60, time / clock::SECOND % 60);
    format!("{weekday}, {d:02} {month} {y:04} {hour:02}:{minute:02}:{second:02} GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: About<'_> = About {
        id: "r-1",
        client_id: None,
        hsts_s: None,
        origin: None,
        close: false,
    };

    fn text(fields: &[Field<'_>], about: About<'_>) -> String {
        let mut out = Vec::new();
        head(&mut out, 200, "OK", fields, Some(3), about);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dates_are_those_of_the_rfc() {
        assert_eq!(date(784_111_777_000), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn the_edge_has_the_last_word() {
        let head = text(
            &[
                ("Server", "tiny-http (Rust)"),
                ("X-Frame-Options", "ALLOWALL"),
                ("X-Lamplighter-Note", "inside"),
                ("Connection", "keep-alive"),
                ("Set-Cookie", "a=b"),
                ("Cache-Control", "max-age=60"),
            ],
            ABOUT,
        );
        for gone in [
            "tiny",
            "ALLOWALL",
            "inside",
            "keep-alive",
            "no-store",
            "Strict-Transport",
        ] {
            assert!(!head.contains(gone), "{gone}: {head}");
        }
        for there in [
            "Set-Cookie: a=b\r\n",
            "Cache-Control: max-age=60\r\n",
            "X-Request-Id: r-1\r\n",
            "X-Frame-Options: DENY\r\n",
        ] {
            assert!(head.contains(there), "{there}: {head}");
        }
        assert!(head.ends_with("Content-Length: 3\r\n\r\n"), "{head}");
    }

    #[test]
    fn tls_and_the_last_answer_are_said() {
        let head = text(
            &[],
            About {
                hsts_s: Some(31_536_000),
                close: true,
                ..ABOUT
            },
        );
        assert!(head.contains("Strict-Transport-Security: max-age=31536000\r\n"));
        assert!(head.contains("Cache-Control: no-store\r\n"));
        assert!(head.ends_with("Connection: close\r\n\r\n"));
    }
}
