//! Settings: where lines go on to.

use crate::base::host::{self, Host};
use crate::base::text::one_line;
use crate::net::tls::Pin;
use crate::settings::{Setting, check};

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[
    FORWARD_SYSLOG,
    FORWARD_SYSLOG_PIN,
    FORWARD_LOKI,
    FORWARD_LOKI_USER,
    FORWARD_LOKI_TENANT,
];

/// `forward.syslog`
pub const FORWARD_SYSLOG: Setting = Setting::of_text("forward.syslog", 300, "", |text| match text {
    "" => Ok(String::new()),
    text => receiver(text)
        .map(|(tls, host, port)| format!("{}://{}:{port}", if tls { "tls" } else { "tcp" }, host.in_url()))
        .ok_or_else(|| {
            format!(
                "“{}” is not an address like tls://logs.example.com:6514 or tcp://192.0.2.5:514.",
                one_line(text, 60)
            )
        }),
});

/// `forward.syslog_pin`
pub const FORWARD_SYSLOG_PIN: Setting = Setting::of_text("forward.syslog_pin", 100, "", |text| match text {
    "" => Ok(String::new()),
    text => Pin::parse(text).map(|pin| pin.to_string()),
});

/// `forward.loki`
pub const FORWARD_LOKI: Setting = Setting::of_text("forward.loki", 300, "", check::base_url);

/// `forward.loki_user`
pub const FORWARD_LOKI_USER: Setting = Setting::of_text("forward.loki_user", 100, "", check::http_user);

/// `forward.loki_tenant`
pub const FORWARD_LOKI_TENANT: Setting = Setting::of_text("forward.loki_tenant", 100, "", |text| {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"!-_.*'()|".contains(&b);
    match text.bytes().all(known) {
        true => Ok(text.into()),
        false => Err("A tenant has letters, digits and ! - _ . * ' ( ) | only.".into()),
    }
});

/// With TLS or not, host and port of a syslog receiver.
pub fn receiver(text: &str) -> Option<(bool, Host, u16)> {
    let (scheme, rest) = text.split_once("://")?;
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "tls" => true,
        "tcp" => false,
        _ => return None,
    };
    let (name, port) = rest.trim_end_matches('/').rsplit_once(':')?;
    let bare_ipv6 = name.contains(':') && !name.starts_with('[');
    let host = Host::parse(name).ok().filter(|_| !bare_ipv6)?;
    Some((tls, host, host::port(port).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_are_taken_apart() {
        let of = |text: &str| receiver(text).map(|(tls, host, port)| (tls, host.to_string(), port));
        assert_eq!(of("tcp://192.0.2.5:514"), Some((false, "192.0.2.5".into(), 514)));
        assert_eq!(
            of("TLS://Logs.example.com:6514/"),
            Some((true, "logs.example.com".into(), 6514))
        );
        assert!(of("tls://[2001:db8::1]:6514").is_some());
        for bad in [
            "",
            "udp://a:514",
            "tcp://a",
            "tcp://a:0",
            "tcp://2001:db8::1:514",
            "tls://a b:1",
            "a:514",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
