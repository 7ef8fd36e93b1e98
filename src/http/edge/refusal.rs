//! Responses of the edge itself: one row each with status, stable code and sentence.

use crate::base::error::UNAUTHORIZED;

/// Why a request (or connection) was refused by the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Not `METHOD /path HTTP/1.1`.
    RequestLine,
    /// Control characters, bytes beyond ASCII, or line ends other than CRLF in the head.
    Bytes,
    /// A header line without a proper name, or a folded one.
    Header,
    /// A header that decides something came twice.
    Repeated,
    /// No `Host`, more than one, or one that is no host.
    Host,
    /// `Content-Length` is not one plain number.
    Length,
    /// `Content-Length` and `Transfer-Encoding` together: request smuggling.
    Ambiguous,
    /// The target is not an absolute path.
    Target,
    /// A body with a method that has none.
    Body,
    /// A large body of an anonymous client.
    Unknown,
    /// An address that is not allowed.
    Stranger,
    /// The head, or the body, did not arrive in time.
    Slow,
    /// The body is longer than this route takes.
    TooLarge,
    /// The target is longer than 4 KiB.
    TargetLong,
    /// An expectation other than `100-continue`.
    Expectation,
    /// A `Host` that is not ours (DNS rebinding, a wrong virtual host).
    NotOurs,
    /// WebSocket is not supported.
    Upgrade,
    /// The head is larger than 16 KiB or has more than 64 headers.
    HeadLarge,
    /// The handler's response is malformed.
    Internal,
    /// An unknown method.
    Method,
    /// Any `Transfer-Encoding`: bodies need a length.
    Coding,
    /// All connections are taken.
    Full,
    /// All connections of this address are taken.
    PeerFull,
    /// All handlers, or all the memory for bodies, are taken.
    Busy,
    /// The inner server does not take connections.
    Inner,
    /// The handler did not answer in time.
    Late,
    /// Another version of HTTP.
    Version,
}

use Refusal::*;

/// In the order of the variants (a test holds it so).
pub const REFUSALS: [(Refusal, u16, &str, &str); 27] = [
    (
        RequestLine,
        400,
        "bad_request_line",
        "The request line is not “METHOD /path HTTP/1.1”.",
    ),
    (
        Bytes,
        400,
        "bad_bytes",
        "The request's head holds bytes or line ends that HTTP does not allow.",
    ),
    (Header, 400, "bad_header", "A header line is malformed."),
    (
        Repeated,
        400,
        "repeated_header",
        "A header that may be given only once was given twice.",
    ),
    (
        Host,
        400,
        "bad_host",
        "The request needs exactly one valid Host header.",
    ),
    (
        Length,
        400,
        "bad_content_length",
        "Content-Length must be one plain number.",
    ),
    (
        Ambiguous,
        400,
        "ambiguous_length",
        "Content-Length and Transfer-Encoding exclude each other.",
    ),
    (
        Target,
        400,
        "bad_target",
        "The request's target must be an absolute path.",
    ),
    (
        Body,
        400,
        "unexpected_body",
        "A request with this method takes no body.",
    ),
    (
        Unknown,
        401,
        "unauthorized",
        UNAUTHORIZED, // a body so large needs a valid session or token
    ),
    (
        Stranger,
        403,
        "address_not_allowed",
        "Requests from this address are not allowed. The setting web.allow_from lists the allowed ones.",
    ),
    (Slow, 408, "request_timeout", "The request did not arrive in time."),
    (
        TooLarge,
        413,
        "body_too_large",
        "The request's body is larger than this address takes.",
    ),
    (
        TargetLong,
        414,
        "target_too_long",
        "The request's target is longer than 4 KiB.",
    ),
    (
        Expectation,
        417,
        "expectation_failed",
        "The only expectation served is 100-continue.",
    ),
    (
        NotOurs,
        421,
        "unknown_host",
        "This server does not answer under that host name. Add it to LAMPLIGHTER_ALLOWED_HOSTS, or make it the site.public_url of the settings.",
    ),
    (
        Upgrade,
        426,
        "no_websocket",
        "WebSocket is not spoken here. What is live comes as server-sent events over plain HTTP: GET /api/events/stream, /api/tasks/{id}/stream, /api/live?of=…",
    ),
    (
        HeadLarge,
        431,
        "head_too_large",
        "The request's head is larger than 16 KiB or has more than 64 headers.",
    ),
    (
        Internal,
        500,
        "internal",
        "Lamplighter failed here. The log has the cause under this request's id.",
    ),
    (Method, 501, "unknown_method", "This method is not served."),
    (
        Coding,
        501,
        "transfer_encoding",
        "Transfer codings are not served; send the body with a Content-Length.",
    ),
    (
        Full,
        503,
        "too_many_connections",
        "All connections are taken. Try again in a moment.",
    ),
    (
        PeerFull,
        503,
        "too_many_connections_of_peer",
        "Your address has too many connections open. Close some or try again in a moment.",
    ),
    (Busy, 503, "busy", "Lamplighter is busy. Try again in a moment."),
    (
        Inner,
        503,
        "starting",
        "Lamplighter is starting or stopping. Try again in a moment.",
    ),
    (
        Late,
        504,
        "handler_timeout",
        "This took too long and was given up. It may still be running; check before trying again.",
    ),
    (Version, 505, "http_version", "Only HTTP/1.1 and HTTP/1.0 are served."),
];

impl Refusal {
    /// The HTTP status.
    pub fn status(self) -> u16 {
        REFUSALS[self as usize].1
    }

    /// Stable, machine-readable.
    pub fn code(self) -> &'static str {
        REFUSALS[self as usize].2
    }

    /// For the person.
    pub fn say(self) -> &'static str {
        REFUSALS[self as usize].3
    }

    /// The reason phrase of the status line.
    pub fn reason(self) -> &'static str {
        match self.status() {
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            408 => "Request Timeout",
            413 => "Content Too Large",
            414 => "URI Too Long",
            417 => "Expectation Failed",
            421 => "Misdirected Request",
            426 => "Upgrade Required",
            431 => "Request Header Fields Too Large",
            501 => "Not Implemented",
            503 => "Service Unavailable",
            504 => "Gateway Timeout",
            505 => "HTTP Version Not Supported",
            _ => "Internal Server Error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_finds_its_own_row() {
        for (at, row) in REFUSALS.iter().enumerate() {
            assert_eq!(row.0 as usize, at, "{:?}", row.0);
        }
        assert_eq!(Refusal::Version as usize + 1, REFUSALS.len());
    }
}
