//! Host names, addresses, ports and user names that reach `ssh`, `nginx` or a URL: strict grammars, parsed once.

use super::idn;
use std::fmt;
use std::net::IpAddr;

/// A host: an IP address or a DNS name in LDH form (RFC 1123), lower case, without final dot; names in other scripts
/// are converted to A-labels. Never starts with `-` (which `ssh` would read as an option) and has no user, port or zone
/// in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host(String);

impl Host {
    /// Reads what a person typed. The error is a sentence.
    pub fn parse(text: &str) -> Result<Host, String> {
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(Host(ip.to_string()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let name = match name.is_ascii() || name.len() > 4 * 253 {
            true => name.to_ascii_lowercase(),
            false => idn::labels(name)?.join("."),
        };
        let label = |l: &str| {
            (1..=63).contains(&l.len())
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !l.starts_with('-')
                && !l.ends_with('-')
        };
        if name.is_empty() {
            return Err("Give an address or a DNS name.".into());
        }
        if name.len() > 253 || !name.split('.').all(label) {
            return Err(format!(
                "“{}” is neither an IP address nor a DNS name (letters, digits, dots and dashes).",
                super::text::one_line(text, 60)
            ));
        }
        // `1.2.3` and `256.1.1.1` are mistyped addresses: a last label of digits only is refused (RFC 3696 §2).
        if name
            .rsplit('.')
            .next()
            .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
        {
            return Err(format!("“{name}” looks like an IP address but is not one."));
        }
        Ok(Host(name))
    }

    /// The text; an IPv6 address without brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in its own script, for display.
    pub fn shown(&self) -> String {
        idn::unicode(&self.0)
    }

    /// The address when it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }

    /// As it stands in a URL: an IPv6 address in brackets.
    pub fn in_url(&self) -> String {
        if self.0.contains(':') {
            format!("[{}]", self.0)
        } else {
            self.0.clone()
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// This machine's full name: its host name if that has a domain, else the full form from `/etc/hosts` (where Debian's
/// installer writes it).
pub fn full_name(hostname: &str, hosts: &str) -> Option<Host> {
    let full = |name: &str| {
        let host = Host::parse(name)
            .ok()
            .filter(|h| h.ip().is_none() && name.contains('.'));
        host.filter(|h| !h.as_str().starts_with("localhost.") && !h.as_str().ends_with(".localdomain"))
    };
    let written = || {
        let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
        let mut lines = lines.map(|line| line.split_ascii_whitespace().skip(1));
        let mut names = lines.find(|names| names.clone().any(|n| n.eq_ignore_ascii_case(hostname)))?;
        names.find_map(full)
    };
    full(hostname).or_else(written)
}

/// A login name on a server: `[a-z_][a-z0-9_-]{0,31}` as `useradd` makes them (Debian also allows dots and capitals;
/// those are taken too, but never a leading dash).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UserName(String);

impl UserName {
    /// Reads what a person typed. The error is a sentence.
    pub fn parse(text: &str) -> Result<UserName, String> {
        let first = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
        if first && rest && text.len() <= 32 {
            return Ok(UserName(text.into()));
        }
        Err("A login name has 1 to 32 letters, digits, dots, dashes or underscores and starts with a letter.".into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A block of addresses in CIDR notation; a single address is a block of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    addr: IpAddr,
    bits: u8,
}

impl Cidr {
    /// `10.0.0.0/8`, `fd00::/8`, `192.0.2.7`. Host bits must be zero. The error is a sentence.
    pub fn parse(text: &str) -> Result<Cidr, String> {
        let wrong = || {
            format!(
                "“{}” is not an address or a block like 10.0.0.0/8.",
                super::text::one_line(text, 60)
            )
        };
        let (addr, bits) = match text.split_once('/') {
            Some((addr, bits)) if !bits.is_empty() && bits.len() <= 3 && bits.bytes().all(|b| b.is_ascii_digit()) => {
                (addr, Some(bits.parse::<u8>().map_err(|_| wrong())?))
            }
            Some(_) => return Err(wrong()),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| wrong())?;
        let full = if addr.is_ipv4() { 32 } else { 128 };
        let cidr = Cidr {
            addr,
            bits: bits.unwrap_or(full),
        };
        if cidr.bits > full {
            return Err(wrong());
        }
        if cidr.network(addr) != cidr.number(addr) {
            return Err(format!(
                "“{text}” has bits set behind the prefix; write the block's first address."
            ));
        }
        Ok(cidr)
    }

    fn number(self, ip: IpAddr) -> u128 {
        match ip {
            IpAddr::V4(v4) => u128::from(u32::from(v4)),
            IpAddr::V6(v6) => u128::from(v6),
        }
    }

    fn network(self, ip: IpAddr) -> u128 {
        let host_bits = (if ip.is_ipv4() { 32 } else { 128 }) - u32::from(self.bits);
        self.number(ip)
            .checked_shr(host_bits)
            .and_then(|n| n.checked_shl(host_bits))
            .unwrap_or(0)
    }

    /// Is this address in the block?
    pub fn contains(self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.addr.is_ipv4() && self.network(ip) == self.number(self.addr)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.bits)
    }
}

/// The first address of the block that contains this one, with the given prefix lengths for IPv4 and IPv6: the unit in
/// which clients are counted. An IPv4-mapped IPv6 address counts as IPv4.
pub fn block(ip: IpAddr, v4: u8, v6: u8) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(v4)).unwrap_or(0);
            IpAddr::V4((u32::from(ip) & mask).into())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(v6)).unwrap_or(0);
            IpAddr::V6((u128::from(ip) & mask).into())
        }
    }
}

/// The network of one subscriber or server: an IPv4 address, an IPv6 /64.
pub fn network(ip: IpAddr) -> IpAddr {
    block(ip, 32, 64)
}

/// A TCP port, 1 to 65535. The error is a sentence.
pub fn port(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 && !text.starts_with('+') => Ok(port),
        _ => Err("A port is a whole number from 1 to 65535.".into()),
    }
}

/// An entry of a list of allowed clients: a block of addresses, or this Lamplighter itself, by the address that the
/// server sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guest {
    /// Written `controller`.
    Controller,
    /// A block of addresses.
    Block(Cidr),
}

impl Guest {
    /// Reads one. The error is a sentence.
    pub fn parse(text: &str) -> Result<Guest, String> {
        match text {
            "controller" => Ok(Guest::Controller),
            block => Cidr::parse(block).map(Guest::Block),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_addresses_or_names_and_nothing_else() {
        for (typed, kept) in [
            ("10.0.0.1", "10.0.0.1"),
            ("Web-1.Example.COM.", "web-1.example.com"),
            ("[FD00::1]", "fd00::1"),
            ("xn--e1afmkfd.xn--p1ai", "xn--e1afmkfd.xn--p1ai"),
            ("Пример.РФ.", "xn--e1afmkfd.xn--p1ai"),
            ("сервер", "xn--b1afb6bcb"),
        ] {
            assert_eq!(Host::parse(typed).unwrap().as_str(), kept);
        }
        for bad in [
            "",
            "-oProxyCommand=x",
            "a b",
            "a;b",
            "root@h",
            "h:22",
            "1.2.3",
            "256.1.1.1",
            "fe80::1%eth0",
            "a..b",
            "-a.b",
            "a-.b",
            "a/b",
            "a\nb",
            "пример рф",
            "пример。рф",
            "pаypal.com",
            "$(пример)",
            "$(x)",
        ] {
            assert!(Host::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_machine_s_full_name_is_its_own_or_the_written_one() {
        let hosts = "127.0.0.1 localhost\n127.0.1.1\tweb-1.example.org web-1 # its own\n192.0.2.1 x.example y\n";
        let of = |hostname| full_name(hostname, hosts).map(|h| h.to_string());
        assert_eq!(of("lamp.example.net").as_deref(), Some("lamp.example.net"));
        assert_eq!(of("Web-1").as_deref(), Some("web-1.example.org"));
        for none in [
            "",
            "localhost",
            "web-2",
            "localhost.localdomain",
            "a_b.example",
            "10.0.0.1",
        ] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn blocks_hold_their_addresses() {
        let block = |t| Cidr::parse(t).unwrap();
        assert!(block("10.0.0.0/8").contains("10.255.0.1".parse().unwrap()));
        assert!(!block("10.0.0.0/8").contains("11.0.0.1".parse().unwrap()));
        assert!(block("0.0.0.0/0").contains("203.0.113.9".parse().unwrap()));
        assert!(block("::/0").contains("2001:db8::1".parse().unwrap()));
        assert!(!block("::/0").contains("203.0.113.9".parse().unwrap()));
        assert!(block("192.0.2.7").contains("192.0.2.7".parse().unwrap()));
        for bad in [
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "x",
            "10.0.0.0/8/8",
        ] {
            assert!(Cidr::parse(bad).is_err(), "{bad}");
        }
    }
}
