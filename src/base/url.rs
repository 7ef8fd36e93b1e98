//! HTTP URLs as they are pasted: `https://host[:port]/path?query`, the scheme in any case, the host in any script; no
//! user, no fragment, and only characters that a request line can carry.

use super::host::{self, Host};
use super::text::percent_decode;
use std::fmt;

/// A parsed URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Is it https?
    pub tls: bool,
    /// Name or address.
    pub host: Host,
    /// TCP port.
    pub port: u16,
    /// Path with query; starts with `/`.
    pub path: String,
}

/// Longest URL that is accepted, in bytes.
const LENGTH_MAX: usize = 2_000;

impl Url {
    /// Parses a URL. The error is a sentence that does not repeat it: it may hold a secret.
    pub fn parse(text: &str) -> Result<Url, String> {
        let wrong = |why: &str| Err(format!("An address like https://host/path is wanted; this one {why}."));
        if text.len() > LENGTH_MAX {
            return wrong("is too long");
        }
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let tls = scheme.eq_ignore_ascii_case("https");
        if !tls && !scheme.eq_ignore_ascii_case("http") {
            return wrong("does not begin with https:// or http://");
        }
        if rest.contains('#') {
            return wrong("has a fragment (#…)");
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let plain = |b: u8| b.is_ascii_graphic() && !b"<>\"\\^`{|}".contains(&b);
        if !path.bytes().all(plain) {
            return wrong("has spaces or characters that must be written as %XX");
        }
        if authority.contains('@') {
            return wrong("has a user name in it");
        }
        // The port's colon comes after the bracket of an IPv6 address.
        let (name, port) = match authority.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, Some(port)),
            _ => (authority, None),
        };
        let bare_ipv6 = name.contains(':') && !name.starts_with('[');
        let Some(host) = Host::parse(name).ok().filter(|_| !bare_ipv6) else {
            return wrong("names no host");
        };
        let port = match port.map(host::port) {
            None => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(Ok(port)) => port,
            Some(Err(_)) => return wrong("has a port that is none"),
        };
        let path = match path.as_bytes().first() {
            Some(b'/') => path.to_string(),
            _ => format!("/{path}"),
        };
        Ok(Url { tls, host, port, path })
    }

    /// User name and password written before the host, and the URL without them.
    pub fn without_login(text: &str) -> Option<(String, String, String)> {
        let (scheme, rest) = text.split_once("://")?;
        let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        let (login, _) = authority.rsplit_once('@')?;
        let (user, password) = login.split_once(':')?;
        let bare = format!("{scheme}://{}", &rest[login.len() + 1..]);
        Some((bare, percent_decode(user, false)?, percent_decode(password, false)?))
    }

    /// `https://host:port`, without path and query, which may be secret.
    pub fn origin(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => format!("{scheme}://{}", self.host.in_url()),
            (_, port) => format!("{scheme}://{}:{port}", self.host.in_url()),
        }
    }
}

impl fmt::Display for Url {
    /// Normalized: scheme and host in lower case and as A-labels, the port only if it is not the default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path == "/" { "" } else { &self.path };
        write!(f, "{}{path}", self.origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        for (text, origin, path) in [
            ("https://hooks.example/a/b?c=d", "https://hooks.example", "/a/b?c=d"),
            ("http://10.0.0.1:8080", "http://10.0.0.1:8080", "/"),
            ("https://[2001:db8::1]:8443/x", "https://[2001:db8::1]:8443", "/x"),
            ("https://[2001:db8::1]", "https://[2001:db8::1]", "/"),
            ("HTTPS://a/", "https://a", "/"),
            ("https://Host.Example:443?x", "https://host.example", "/?x"),
            ("https://hö.example/x", "https://xn--h-1ga.example", "/x"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.origin().as_str(), url.path.as_str()), (origin, path), "{text}");
        }
        for bad in [
            "",
            "ftp://a/",
            "https://",
            "https:///x",
            "https://user:pw@host/x",
            "https://host@evil/x",
            "https://host/x#y",
            "https://host/a b",
            "https://host/\r\nX: y",
            "https://host:0/",
            "https://host:99999/",
            "https://2001:db8::1/x",
            "https://-host/",
            "https://host/ö",
            "https://pаypal.example/",
            "https://host\\@evil/",
            &format!("https://host/{}", "x".repeat(2_000)),
        ] {
            let told = Url::parse(bad).expect_err(bad);
            assert!(bad.len() < 10 || !told.contains(&bad[8..]), "{told}");
        }
    }
}
