//! DNS client: queries to servers that a person may choose. (`getaddrinfo` in [`super::names`] resolves the destination
//! of connections; it has no NS or CAA, and may answer from `/etc/hosts`.)
//!
//! A response is accepted only from the queried server, for the question asked, and complete: a truncated one is
//! queried again over TCP. All waits end at one deadline or on cancellation; sizes, records, aliases and steps are
//! bounded. Names are A-labels, lower case, without final dot.
//!
//! [`query`] is one query to one server; [`Resolver`] combines several.

use crate::base::file;
use crate::base::text::one_line;
use domain::base::iana::Rtype;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

mod exchange;
mod lookup;

pub use exchange::query;
pub use lookup::{Addresses, Authorities, NameServers, Resolver};

/// Maximum number of configured servers; more only make a failing lookup longer.
const SERVERS_MAX: usize = 6;
/// Servers that are read from resolv.conf, as glibc does (`MAXNS`).
const RESOLV_CONF_MAX: usize = 3;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Name servers.
    Ns,
    /// CA authorization (RFC 8659).
    Caa,
}

impl Type {
    fn rtype(self) -> Rtype {
        match self {
            Type::A => Rtype::A,
            Type::Aaaa => Rtype::AAAA,
            Type::Ns => Rtype::NS,
            Type::Caa => Rtype::CAA,
        }
    }

    /// As in a zone file.
    pub fn name(self) -> &'static str {
        ["A", "AAAA", "NS", "CAA"][self as usize]
    }
}

/// One question to one server.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// A-labels, without final dot.
    pub name: &'a str,
    /// The kind of records.
    pub kind: Type,
    /// Recursion desired? If not, only an authoritative answer counts; others are lame.
    pub recursive: bool,
}

/// Why a query has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsError {
    /// There is no such name.
    NxDomain,
    /// SERVFAIL: the server could not resolve it.
    ServFail,
    /// REFUSED: the server does not serve us, or not this name.
    Refused,
    /// No answer in time.
    Timeout,
    /// Nothing listens there, or there is no way to it.
    Unreachable,
    /// The name exists, but has no such record.
    NoData,
    /// The server refers to others instead of answering.
    Lame,
    /// The response is truncated, and TCP did not work.
    Truncated,
    /// A malformed response, or one for something else.
    BadAnswer,
    /// The wait was cancelled.
    Cancelled,
}

impl DnsError {
    /// Stable name.
    pub fn code(self) -> &'static str {
        match self {
            DnsError::NxDomain => "nxdomain",
            DnsError::ServFail => "servfail",
            DnsError::Refused => "refused",
            DnsError::Timeout => "timeout",
            DnsError::Unreachable => "unreachable",
            DnsError::NoData => "no_data",
            DnsError::Lame => "lame",
            DnsError::Truncated => "truncated",
            DnsError::BadAnswer => "bad_answer",
            DnsError::Cancelled => "cancelled",
        }
    }

    /// Did the server say nothing usable?
    fn is_no_word(self) -> bool {
        matches!(
            self,
            DnsError::Timeout | DnsError::Unreachable | DnsError::BadAnswer | DnsError::Truncated
        )
    }

    /// Is it about the name itself, so that another server would only repeat it?
    fn is_final(self) -> bool {
        matches!(self, DnsError::NxDomain | DnsError::NoData | DnsError::Cancelled)
    }
}

/// A failed lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The error.
    pub fault: DnsError,
    /// One sentence for each queried server: question and answer.
    pub evidence: Vec<String>,
}

impl Failure {
    fn new(fault: DnsError, say: impl Into<String>) -> Failure {
        Failure {
            fault,
            evidence: vec![say.into()],
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.evidence.join(" "))
    }
}

type Result<T, E = Failure> = std::result::Result<T, E>;

/// One record of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Owner name.
    pub owner: String,
    /// Content.
    pub data: Data,
}

/// Content of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// `A` or `AAAA`.
    Address(IpAddr),
    /// `NS`
    Ns(String),
    /// `CNAME`
    Alias(String),
    /// `CAA`
    Caa(Caa),
}

/// A CAA record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caa {
    /// Critical flag: a CA that does not know the tag must not issue.
    pub critical: bool,
    /// `issue`, `issuewild`, `iodef` …, lower case.
    pub tag: String,
    /// As it stands there; what is not printable ASCII is replaced by `?`.
    pub value: String,
}

/// A server's response. No records: the name exists, but has none of this kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The server.
    pub server: SocketAddr,
    /// Is it authoritative?
    pub authoritative: bool,
    /// Records of the queried kind and aliases; callers skip unrelated ones.
    pub records: Vec<Record>,
    /// The zone of the name, if the server gave it (owner of the SOA record in a negative answer).
    pub zone: Option<String>,
    /// An alias points to a name that does not exist.
    pub dangling: bool,
}

impl Answer {
    /// Target of an alias of this name.
    fn alias(&self, name: &str) -> Option<&str> {
        self.records.iter().find_map(|r| match &r.data {
            Data::Alias(to) if r.owner == name => Some(to.as_str()),
            _ => None,
        })
    }
}

/// Reads a list of name servers: addresses, each perhaps with a port (`192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1`,
/// `[2001:db8::1]:53`), with spaces or commas between. The error is a sentence.
pub fn parse_servers(text: &str) -> Result<Vec<SocketAddr>, String> {
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    let servers = words.map(parse_server).collect::<Result<Vec<_>, _>>()?;
    match servers.len() {
        0..=SERVERS_MAX => Ok(servers),
        n => Err(format!("At most {SERVERS_MAX} name servers; these are {n}.")),
    }
}

fn parse_server(word: &str) -> Result<SocketAddr, String> {
    let bare = word.strip_prefix('[').and_then(|w| w.strip_suffix(']'));
    let ip = bare.unwrap_or(word).parse::<IpAddr>().ok();
    let server = ip.map(|ip| SocketAddr::new(ip, 53)).or_else(|| word.parse().ok());
    let usable = |s: &SocketAddr| s.port() != 0 && !s.ip().is_unspecified() && !s.ip().is_multicast();
    server.filter(usable).ok_or_else(|| {
        format!(
            "“{}” is not a name server's address like 192.0.2.1, 192.0.2.1:5353 or [2001:db8::1]:53.",
            one_line(word, 60)
        )
    })
}

/// The servers of the setting `dns.resolvers`, or those of the system when it names none.
pub fn servers(setting: &str) -> Vec<SocketAddr> {
    match parse_servers(setting) {
        Ok(named) if !named.is_empty() => named,
        _ => {
            // Without the file, resolv.conf(5) means a server on this machine.
            let text = file::read_limited(Path::new("/etc/resolv.conf"), 64 << 10).unwrap_or_default();
            resolv_conf(&String::from_utf8_lossy(&text))
        }
    }
}

fn resolv_conf(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let address = words.next().filter(|w| *w == "nameserver").and(words.next())?;
        // A link-local address with its `%eth0` is skipped: it depends on the interface.
        address.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 53))
    };
    let found: Vec<_> = text.lines().filter_map(server).take(RESOLV_CONF_MAX).collect();
    match found.is_empty() {
        true => vec![SocketAddr::from(([127, 0, 0, 1], 53))],
        false => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_addresses_with_or_without_port() {
        let good = parse_servers(" 192.0.2.1, 192.0.2.2:5353,2001:db8::1  [2001:db8::2] [2001:db8::3]:54").unwrap();
        let texts: Vec<_> = good.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "192.0.2.1:53",
                "192.0.2.2:5353",
                "[2001:db8::1]:53",
                "[2001:db8::2]:53",
                "[2001:db8::3]:54"
            ]
        );
        assert_eq!(parse_servers(" , "), Ok(vec![]));
        for bad in [
            "ns1.example",
            "192.0.2",
            "192.0.2.1:0",
            "192.0.2.1:x",
            "0.0.0.0",
            "224.0.0.1",
            "[192.0.2.1",
            "1.1.1.1;1.0.0.1",
            "1.1.1.1 2 3",
            "1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4 1.1.1.5 1.1.1.6 1.1.1.7",
        ] {
            assert!(parse_servers(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_systems_servers_are_read_as_its_own_resolver_reads_them() {
        let text = "# nameserver 192.0.2.9\n;nameserver 192.0.2.8\nsearch example\nnameserver 192.0.2.1\n  nameserver\t2001:db8::1 \nnameserver fe80::1%eth0\nnameserverx 192.0.2.7\nnameserver 192.0.2.2 # two\nnameserver 192.0.2.3\n";
        let read: Vec<_> = resolv_conf(text).iter().map(ToString::to_string).collect();
        assert_eq!(read, ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.2:53"]);
        assert_eq!(
            resolv_conf("search example\n"),
            [SocketAddr::from(([127, 0, 0, 1], 53))]
        );
        assert_eq!(servers("192.0.2.5"), [SocketAddr::from(([192, 0, 2, 5], 53))]);
    }
}
