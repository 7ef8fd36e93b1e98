//! A request as handlers see it; `form` reads its body.

use crate::access::Origin;
use crate::base::error::Result;
use crate::base::text;
use crate::form::body;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// The methods that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Also answers HEAD, whose body the edge drops.
    Get,
    /// Create, act.
    Post,
    /// Replace.
    Put,
    /// Change what is sent.
    Patch,
    /// Remove.
    Delete,
    /// No route has it; the edge answers CORS preflights.
    Options,
}

impl Method {
    /// `GET`, …
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
        }
    }

    /// Parses a method; HEAD is read as GET.
    pub fn parse(name: &str) -> Option<Method> {
        match name {
            "GET" | "HEAD" => Some(Method::Get),
            "POST" => Some(Method::Post),
            "PUT" => Some(Method::Put),
            "PATCH" => Some(Method::Patch),
            "DELETE" => Some(Method::Delete),
            "OPTIONS" => Some(Method::Options),
            _ => None,
        }
    }

    /// Is it read-only?
    pub fn is_safe(self) -> bool {
        self == Method::Get
    }
}

/// One request, complete. Not `Debug`: passwords and tokens are in it.
pub struct Request {
    /// Method.
    pub method: Method,
    /// Path segments, decoded ([`segments`]).
    pub segments: Vec<String>,
    /// Decoded pairs of the query.
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The whole body, where it is not an [`Request::upload`].
    pub body: Vec<u8>,
    /// The body of a route that takes bytes, if there are many: in a file that is gone with this request.
    pub upload: Option<File>,
    /// The client's address.
    pub ip: String,
    /// Was it sent by a program on this machine, not a proxy?
    pub local: bool,
    /// Did it come over TLS (here or at a trusted proxy)?
    pub tls: bool,
    /// Was it sent by a page of an allowed origin, without cookie (CORS)?
    pub is_listed_origin: bool,
    /// Its id, also in the answer and the log.
    pub id: String,
    /// Client's own request id; empty: none.
    pub client_id: String,
    /// The user of this machine who asks by the control socket.
    pub control: Option<u32>,
}

impl Request {
    /// The path, decoded.
    pub fn path(&self) -> String {
        format!("/{}", self.segments.join("/"))
    }

    /// Origin of the request, for authentication and audit.
    pub fn origin(&self) -> Origin<'_> {
        Origin {
            ip: &self.ip,
            request_id: &self.id,
            client_request_id: &self.client_id,
        }
    }

    /// A header's value; names in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The value of a query parameter; the first if repeated.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// A cookie's value.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let pairs = self.header("cookie")?.split(';');
        pairs
            .filter_map(|p| p.trim().split_once('='))
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v)
    }

    /// The body in pieces of this size, as often as is wanted, without holding more than one. Error: I/O, that of `each`.
    pub fn each_part(&self, size: usize, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let Some(file) = &self.upload else {
            return self.body.chunks(size).try_for_each(each);
        };
        let (mut part, mut at) = (vec![0; size], 0);
        loop {
            let mut have = 0;
            while have < size {
                match file.read_at(&mut part[have..], at)? {
                    0 => break,
                    n => (have, at) = (have + n, at + n as u64),
                }
            }
            if have == 0 {
                return Ok(());
            }
            each(&part[..have])?;
        }
    }

    /// The body as an HTML form: decoded pairs in order.
    pub fn form(&self) -> Result<Vec<(String, String)>> {
        body::form(&self.body)
    }

    /// Does the client want JSON and not a page? A client with a token is a program: redirected to the sign-in page, it
    /// would take the 200 for success. `/metrics` is only used by programs.
    pub fn wants_json(&self) -> bool {
        let path: Vec<_> = self.segments.iter().map(String::as_str).collect();
        matches!(path[..], ["api", _, ..] | ["metrics"]) || self.header("authorization").is_some()
    }
}

/// The segments of a path, each decoded once, so that guard and handler see the same. A segment may contain slashes
/// sent as `%2F`: only routes ending in `{name…}` accept it. `None`: dot segments, empty segments (also between such
/// slashes), control characters, invalid escapes.
pub fn segments(raw: &str) -> Option<Vec<String>> {
    let raw: Vec<&str> = raw.strip_prefix('/')?.split('/').collect();
    let last = raw.len() - 1;
    let decode = |(n, raw): (usize, &&str)| {
        let segment = text::percent_decode(raw, false)?;
        let bad = |part: &str| part == "." || part == ".." || part.chars().any(char::is_control);
        // `/servers/` and `/servers` are different; an empty segment in the middle is invalid.
        let hole = segment.is_empty() && n < last || segment.contains('/') && segment.split('/').any(str::is_empty);
        (!hole && !segment.split('/').any(bad)).then_some(segment)
    };
    raw.iter().enumerate().map(decode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_once_and_cannot_climb() {
        let path = |raw| segments(raw).map(|all| all.join("|"));
        for (raw, decoded) in [
            ("/api/servers/5", "api|servers|5"),
            ("/", ""),
            ("/servers/", "servers|"),
            ("/a%20b", "a b"),
            ("/%2541", "%41"), // once, not twice
            ("/a%2Fb/c%2fd", "a/b|c/d"),
        ] {
            assert_eq!(path(raw).as_deref(), Some(decoded), "{raw}");
        }
        for bad in [
            "",
            "x",
            "/..",
            "/a/../b",
            "/%2e%2e/b",
            "/a%2f..",
            "/a%2f%2e%2fb",
            "/a%2f",
            "/%2fa",
            "/a%2f%2fb",
            "/a%00",
            "/a%0ab",
            "/a%2fb%0a",
            "//",
            "/a//b",
            "/%zz",
            "/%ff",
        ] {
            assert_eq!(path(bad), None, "{bad}");
        }
    }
}
