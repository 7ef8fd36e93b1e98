//! Checks and normalization of text settings. Addresses and URLs here reach `certbot`'s arguments on a server, so their
//! grammar is narrow.

use crate::base::host::{Cidr, Guest, Host};
use crate::base::text::one_line;
use crate::base::url::Url;
use crate::base::zone::Zone;

/// Allowed clients, separated by commas or spaces; or empty.
pub fn guests(text: &str) -> Result<String, String> {
    words(text).try_for_each(|word| Guest::parse(word).map(drop))?;
    Ok(words(text).collect::<Vec<_>>().join(", "))
}

/// `host`, or empty.
pub fn bind(text: &str) -> Result<String, String> {
    match text {
        "" | "host" => Ok(text.into()),
        _ => Err("This is “host”, or empty: an address belongs to one server.".into()),
    }
}

/// The entries of a list setting.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ']).filter(|word| !word.is_empty())
}

/// An e-mail address, or empty. Quoted local parts and address literals are not accepted.
pub fn email(text: &str) -> Result<String, String> {
    let local = |l: &str| {
        (1..=64).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b"._%+-".contains(&b))
            && !l.starts_with(['.', '-'])
            && !l.ends_with('.')
            && !l.contains("..")
    };
    let domain = |d: &str| Host::parse(d).ok().filter(|h| h.ip().is_none());
    match text.split_once('@').map(|(l, d)| (l, domain(d))) {
        None if text.is_empty() => Ok(String::new()),
        Some((l, Some(d))) if local(l) => Ok(format!("{l}@{d}")),
        _ => Err(format!(
            "“{}” is not an e-mail address like anna@example.com.",
            one_line(text, 60)
        )),
    }
}

/// A URL with a plain path and nothing after it.
fn plain_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._~-".contains(&b);
    (url.path.bytes().all(plain) && url.path.split('/').all(|segment| segment != "..")).then_some(url)
}

/// `https://host[:port]/path`, without user, query or fragment.
pub fn https_url(text: &str) -> Result<String, String> {
    let url = plain_url(text).filter(|url| url.tls);
    url.map(|url| url.to_string()).ok_or_else(|| {
        format!(
            "“{}” is not an address like https://acme.example.com/directory (https, a host, perhaps a port, a path).",
            one_line(text, 60)
        )
    })
}

/// `http://` or `https://` with host, optional port and path, as the base of links; or empty.
pub fn base_url(text: &str) -> Result<String, String> {
    match plain_url(text) {
        None if text.is_empty() => Ok(String::new()),
        Some(url) => Ok(url.to_string()),
        None => Err(format!(
            "“{}” is not an address like https://lamp.example.com.",
            one_line(text, 60)
        )),
    }
}

/// A known time zone, or empty.
pub fn time_zone(text: &str) -> Result<String, String> {
    match text {
        "" => Ok(String::new()),
        name => Zone::load(name).map(|zone| zone.name().into()).map_err(|e| e.say),
    }
}

/// A name for this Lamplighter, or empty.
pub fn own_name(text: &str) -> Result<String, String> {
    match text {
        "" => Ok(String::new()),
        name => Host::parse(name).map(|host| host.to_string()),
    }
}

/// Blocks of addresses, separated by commas or spaces; or nothing.
pub fn blocks(text: &str) -> Result<String, String> {
    words(text).try_for_each(|word| Cidr::parse(word).map(drop))?;
    Ok(words(text).collect::<Vec<_>>().join(" "))
}

/// Origins of web pages (RFC 6454) in the form that browsers send them, separated by commas or spaces; or nothing.
pub fn origins(text: &str) -> Result<String, String> {
    let origin = |word: &str| {
        let url = Url::parse(word)
            .ok()
            .filter(|url| url.path == "/" && !word.ends_with('/'));
        url.map(|url| url.origin()).ok_or_else(|| {
            let word = one_line(word, 60);
            format!(
                "“{word}” is not an origin like https://panel.example.com or http://10.0.0.5:3000: no path, no star."
            )
        })
    };
    let all: Vec<_> = words(text).map(origin).collect::<Result<_, _>>()?;
    Ok(all.join(" "))
}

/// Up to eight blocks of addresses, separated by spaces.
pub fn networks(text: &str) -> Result<String, String> {
    let blocks: Vec<_> = text.split_whitespace().collect();
    if blocks.len() > 8 {
        return Err(format!("At most 8 blocks; these are {}.", blocks.len()));
    }
    blocks.iter().try_for_each(|block| Cidr::parse(block).map(drop))?;
    Ok(blocks.join(" "))
}

/// Absolute path of a tar file on this machine, or empty. The file is checked when it is used.
pub fn tar_path(text: &str) -> Result<String, String> {
    let whole = text.starts_with('/') && text.ends_with(".tar") && text.split('/').all(|part| part != "..");
    match whole || text.is_empty() {
        true => Ok(text.into()),
        false => Err(format!(
            "“{}” is not a whole path like /srv/glances.tar.",
            one_line(text, 60)
        )),
    }
}

/// A user name for HTTP Basic, or empty.
pub fn http_user(text: &str) -> Result<String, String> {
    match text.contains(':') {
        true => Err("A user name has no colon: it would end there.".into()),
        false => Ok(text.into()),
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
            assert!(base_url(good).is_ok(), "{good}");
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
        let kept = base_url("HTTPS://Лампа.РФ:443/lamp/");
        assert_eq!(kept.as_deref(), Ok("https://xn--80aa5afp.xn--p1ai/lamp/"));
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
            assert!(email(good).is_ok(), "{good}");
        }
        assert_eq!(email("anna@Пример.рф").as_deref(), Ok("anna@xn--e1afmkfd.xn--p1ai"));
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
            "анна@example.com",
            "$(id)@example.com",
        ] {
            assert!(email(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn links_begin_with_an_address_and_networks_are_blocks() {
        for good in ["", "https://lamp.example.com", "http://10.0.0.1:8080/lamp/"] {
            assert!(base_url(good).is_ok(), "{good}");
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
            assert!(networks(good).is_ok(), "{good}");
        }
        for bad in ["10.0.0.1/8", "localhost", "1.1.1.1,2.2.2.2", &"::1 ".repeat(9)] {
            assert!(networks(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn origins_are_exact() {
        let kept = origins("https://Panel.Example:443, http://10.0.0.5:3000 https://[2001:db8::1]:8443");
        let exact = "https://panel.example http://10.0.0.5:3000 https://[2001:db8::1]:8443";
        assert_eq!(kept.as_deref(), Ok(exact));
        assert_eq!(origins("").as_deref(), Ok(""));
        for bad in [
            "*",
            "null",
            "panel.example",
            "https://*.example",
            "https://a/",
            "https://a/b",
            "https://u@a",
            "file://",
        ] {
            assert!(origins(bad).is_err(), "{bad}");
        }
        assert_eq!(
            blocks("10.0.0.0/8,::1  192.0.2.7").as_deref(),
            Ok("10.0.0.0/8 ::1 192.0.2.7")
        );
        assert!(blocks("10.0.0.1/8").is_err() && blocks("localhost").is_err());
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
            assert!(https_url(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "http://ca.example/dir",
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
