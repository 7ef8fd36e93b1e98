//! What the texts among the settings must be. Addresses and URLs here reach `certbot`'s arguments on a server, so their
//! grammar is as narrow as their use.

use crate::base::host::{self, Cidr, Host};
use crate::base::text::one_line;

/// An e-mail address, or nothing. Quoted local parts and address literals are not taken: nobody has one.
pub fn email(text: &str) -> Result<(), String> {
    let local = |l: &str| {
        (1..=64).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b"._%+-".contains(&b))
            && !l.starts_with(['.', '-'])
            && !l.ends_with('.')
            && !l.contains("..")
    };
    let domain = |d: &str| Host::parse(d).is_ok_and(|h| h.ip().is_none());
    match text.split_once('@') {
        _ if text.is_empty() => Ok(()),
        Some((l, d)) if local(l) && domain(d) => Ok(()),
        _ => Err(format!(
            "“{}” is not an e-mail address like anna@example.com.",
            one_line(text, 60)
        )),
    }
}

/// `https://host[:port]/path`, without user, query or fragment.
pub fn https_url(text: &str) -> Result<(), String> {
    let wrong = || {
        format!(
            "“{}” is not an address like https://acme.example.com/directory (https, a host, perhaps a port, a path).",
            one_line(text, 60)
        )
    };
    let rest = text.strip_prefix("https://").ok_or_else(wrong)?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // The colon of a port stands behind the bracket of an IPv6 address.
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (authority, None),
    };
    let bare_ipv6 = name.contains(':') && !name.starts_with('[');
    if bare_ipv6 || Host::parse(name).is_err() || port.is_some_and(|p| host::port(p).is_err()) {
        return Err(wrong());
    }
    let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._~-".contains(&b));
    match plain && path.split('/').all(|segment| segment != "..") {
        true => Ok(()),
        false => Err(wrong()),
    }
}

/// `http://` or `https://`, a host, perhaps a port and a path; or nothing. What links begin with.
pub fn base_url(text: &str) -> Result<(), String> {
    let https = text.strip_prefix("http://").map(|rest| format!("https://{rest}"));
    match https_url(https.as_deref().unwrap_or(text)) {
        Err(_) if !text.is_empty() => Err(format!(
            "“{}” is not an address like https://lamp.example.com.",
            one_line(text, 60)
        )),
        _ => Ok(()),
    }
}

/// Up to eight blocks of addresses with spaces between.
pub fn networks(text: &str) -> Result<(), String> {
    let blocks: Vec<_> = text.split_whitespace().collect();
    if blocks.len() > 8 {
        return Err(format!("At most 8 blocks; these are {}.", blocks.len()));
    }
    blocks.into_iter().try_for_each(|block| Cidr::parse(block).map(drop))
}

/// A user name that HTTP Basic can carry, or nothing.
pub fn http_user(text: &str) -> Result<(), String> {
    match text.contains(':') {
        true => Err("A user name has no colon: it would end there.".into()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_has_an_address() {
        for good in [
            "",
            "http://10.0.0.5:8428",
            "https://vm.example/insert/0/prometheus",
            "http://[2001:db8::1]:1",
        ] {
            assert_eq!(base_url(good), Ok(()), "{good}");
        }
        for bad in [
            "vm:8428",
            "ftp://vm",
            "http://",
            "http://u:p@vm",
            "http://vm/?x=1",
            "http://vm/../x",
        ] {
            assert!(base_url(bad).is_err(), "{bad}");
        }
        assert!(http_user("a:b").is_err() && http_user("lamp").is_ok());
    }

    #[test]
    fn addresses_are_mailable_and_harmless() {
        for good in [
            "",
            "anna@example.com",
            "a.b+c@x.example",
            "ops_1%x@xn--e1afmkfd.xn--p1ai",
        ] {
            assert_eq!(email(good), Ok(()), "{good}");
        }
        for bad in [
            "anna",
            "@example.com",
            "anna@",
            "-m@example.com",
            "a..b@example.com",
            ".a@example.com",
            "a.@example.com",
            "a b@example.com",
            "a@b@example.com",
            "a@192.0.2.1",
            "\"a b\"@example.com",
            "a;id@example.com",
            "a@exam ple.com",
            "анна@пример.рф",
            "$(id)@example.com",
        ] {
            assert!(email(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn links_begin_with_an_address_and_networks_are_blocks() {
        for good in ["", "https://lamp.example.com", "http://10.0.0.1:8080/lamp/"] {
            assert_eq!(base_url(good), Ok(()), "{good}");
        }
        for bad in [
            "lamp.example.com",
            "ftp://x",
            "https://a/?b",
            "javascript:alert(1)",
            "http://",
            "https://a b",
        ] {
            assert!(base_url(bad).is_err(), "{bad}");
        }
        for good in ["", "10.0.0.0/8", "127.0.0.1  ::1 fd00::/8"] {
            assert_eq!(networks(good), Ok(()), "{good}");
        }
        for bad in ["10.0.0.1/8", "localhost", "1.1.1.1,2.2.2.2", &"::1 ".repeat(9)] {
            assert!(networks(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_directory_is_a_plain_https_address() {
        for good in [
            "https://acme-v02.api.letsencrypt.org/directory",
            "https://acme.lab.test:14000/dir",
            "https://10.0.0.1/acme/v2/directory",
            "https://[2001:db8::1]:14000/dir",
            "https://[2001:db8::1]/dir",
            "https://ca.example",
        ] {
            assert_eq!(https_url(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "http://ca.example/dir",
            "HTTPS://ca.example/dir",
            "https://",
            "https:///dir",
            "https://user@ca.example/dir",
            "https://ca.example:0/dir",
            "https://ca.example:99999/dir",
            "https://ca.example:/dir",
            "https://2001:db8::1/dir",
            "https://[2001:db8::1/dir",
            "https://ca.example/dir?x=1",
            "https://ca.example/dir#x",
            "https://ca.example/a/../b",
            "https://ca.example/a b",
            "https://ca.example/$(id)",
            "https://ca.example/d --staging",
            "--server=https://ca.example",
        ] {
            assert!(https_url(bad).is_err(), "{bad}");
        }
    }
}
