//! Our own questions to name servers: what the world sees of a name, asked of servers that a person may choose.
//! (`getaddrinfo` in [`super::names`] answers where a connection goes; it knows neither NS nor CAA, and what it says may
//! come from `/etc/hosts`.)
//!
//! An answer is taken only from the server that was asked, to the question that was asked, and whole: what does not fit
//! into a datagram is asked again over TCP and never judged as it is. Every wait ends at one deadline or when the cord is
//! pulled; sizes, records, aliases and steps are bounded. Names are A-labels, lower case, without final dot.

use crate::base::clock::{self, Duration, Instant};
use crate::base::process::Cancel;
use crate::base::text::one_line;
use crate::base::{file, random};
use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::message::RecordSection;
use domain::base::name::{Name, ParsedName, ToName};
use domain::base::rdata::ParseRecordData;
use domain::base::{Message, MessageBuilder};
use domain::rdata::{A, Aaaa, Caa as CaaData, Cname, Ns};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;

/// Servers that a person may name. More would only make a failing look-up longer.
const SERVERS_MAX: usize = 6;
/// Servers that are read from resolv.conf, as glibc does (`MAXNS`).
const RESOLV_CONF_MAX: usize = 3;
/// How long one server gets for one answer. Authoritative servers answer in 0.1 s; a resolver may have to ask three in a row.
const ATTEMPT: Duration = Duration::from_secs(3);
/// Each server is asked so often at most: a lost datagram, or one SERVFAIL of a busy resolver, is no news.
const TRIES: usize = 2;
/// How soon a pulled cord is noticed while a socket is waited for.
const TICK: Duration = Duration::from_millis(100);
/// What we offer to take in one datagram: fits into any path's packet (DNS flag day 2020).
const UDP_OFFER: u16 = 1232;
/// What we do take: some servers send more than was offered.
const UDP_TAKE: usize = 4096;
/// Datagrams that are no answer to us, until we stop looking at the socket: somebody floods it.
const STRAY_MAX: usize = 1_000;
/// Records of one section. Thirteen name servers are many; hundreds of addresses are an attack or of no use.
const RECORDS_MAX: usize = 256;
/// Aliases followed until an address (BIND follows 16, resolvers in the field have at most four).
const ALIASES_MAX: usize = 8;
/// Steps on the way up from a name. A name may have 127 labels; nobody's zone is that far up.
const STEPS_MAX: usize = 16;
/// Sentences kept of a failed look-up: each server once in each try.
const EVIDENCE_MAX: usize = SERVERS_MAX * TRIES;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Name servers.
    Ns,
    /// Who may issue certificates (RFC 8659).
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
    /// Shall the server ask others? If not, only its own word counts: an answer without authority is lame.
    pub recursive: bool,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// There is no such name.
    NxDomain,
    /// The server could not find out.
    ServFail,
    /// The server does not answer us, or not for this name.
    Refused,
    /// No answer in time.
    Timeout,
    /// Nothing listens there, or there is no way to it.
    Unreachable,
    /// The name exists, but has no such record.
    NoData,
    /// The server points to others instead of answering.
    Lame,
    /// The answer is too long for a datagram, and over TCP there was none.
    Truncated,
    /// Something that cannot be read, or an answer to something else.
    BadAnswer,
    /// Somebody pulled the cord.
    Cancelled,
}

impl Fault {
    /// Stable name.
    pub fn code(self) -> &'static str {
        match self {
            Fault::NxDomain => "nxdomain",
            Fault::ServFail => "servfail",
            Fault::Refused => "refused",
            Fault::Timeout => "timeout",
            Fault::Unreachable => "unreachable",
            Fault::NoData => "no_data",
            Fault::Lame => "lame",
            Fault::Truncated => "truncated",
            Fault::BadAnswer => "bad_answer",
            Fault::Cancelled => "cancelled",
        }
    }

    /// Did the server say nothing that can be used?
    fn is_no_word(self) -> bool {
        matches!(
            self,
            Fault::Timeout | Fault::Unreachable | Fault::BadAnswer | Fault::Truncated
        )
    }

    /// Is it a word about the name itself, which another server would only repeat?
    fn is_final(self) -> bool {
        matches!(self, Fault::NxDomain | Fault::NoData | Fault::Cancelled)
    }
}

/// A look-up without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it comes down to.
    pub fault: Fault,
    /// One sentence for each server that was asked: what it said to what.
    pub evidence: Vec<String>,
}

impl Failure {
    fn new(fault: Fault, say: impl Into<String>) -> Failure {
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
    /// Whose it is.
    pub owner: String,
    /// What it says.
    pub data: Data,
}

/// What a record says.
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

/// Who may issue certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caa {
    /// A CA that does not know the tag must not issue.
    pub critical: bool,
    /// `issue`, `issuewild`, `iodef` …, lower case.
    pub tag: String,
    /// As it stands there; what is not printable ASCII is replaced by `?`.
    pub value: String,
}

/// What a server said to a question. No records: the name exists, but has none of this kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Who said it.
    pub server: SocketAddr,
    /// By its own authority.
    pub authoritative: bool,
    /// Records of the kind, and the aliases on the way to them; unrelated ones are left out by who reads them.
    pub records: Vec<Record>,
    /// The zone the name lies in, if the server told it (the owner of the SOA record that comes with "no such record").
    pub zone: Option<String>,
    /// The aliases lead to a name that does not exist.
    pub dangling: bool,
}

impl Answer {
    /// Where an alias of this name points to.
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
            // Without the file there is a server on this machine, says resolv.conf(5).
            let text = file::read_limited(Path::new("/etc/resolv.conf"), 64 << 10).unwrap_or_default();
            resolv_conf(&String::from_utf8_lossy(&text))
        }
    }
}

fn resolv_conf(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let address = words.next().filter(|w| *w == "nameserver").and(words.next())?;
        // A link-local address with its `%eth0` is left out: it means another machine on each link.
        address.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 53))
    };
    let found: Vec<_> = text.lines().filter_map(server).take(RESOLV_CONF_MAX).collect();
    match found.is_empty() {
        true => vec![SocketAddr::from(([127, 0, 0, 1], 53))],
        false => found,
    }
}

// ---- look-ups --------------------------------------------------------------------------------------------------------

/// Asks a few servers in turn, until one answers or the time is over.
pub struct Resolver<'a> {
    /// Asked in this order.
    pub servers: Vec<SocketAddr>,
    /// The end of everything that is asked of it.
    pub until: Instant,
    /// Ends every wait.
    pub cancel: &'a Cancel,
}

/// What a name resolves to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// IPv4 first, in the server's order, each once.
    pub ips: Vec<IpAddr>,
    /// The names that the aliases led to.
    pub aliases: Vec<String>,
    /// One of both kinds could not be looked up; the other one could.
    pub missing: Option<(Type, Failure)>,
}

/// The name servers of the zone that a name lies in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameServers {
    /// The zone's apex: the name itself or one above it.
    pub zone: String,
    /// Sorted, each once; never empty.
    pub hosts: Vec<String>,
    /// The name itself is an alias of this one.
    pub alias: Option<String>,
}

/// The rules that stand for a name, and where they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorities {
    /// The name itself or one above it; empty when there are no rules.
    pub at: String,
    /// The rules; empty: everybody may issue.
    pub rules: Vec<Caa>,
}

impl Resolver<'_> {
    /// Asks the servers in turn, each twice at most. The failure is the most telling one of all.
    pub fn ask(&self, name: &str, kind: Type) -> Result<Answer> {
        let question = Question {
            name,
            kind,
            recursive: true,
        };
        let mut all = Failure {
            fault: Fault::Timeout,
            evidence: Vec::new(),
        };
        for server in (0..TRIES).flat_map(|_| &self.servers) {
            if clock::mono() >= self.until {
                break;
            }
            match query(*server, question, self.until, self.cancel) {
                Ok(answer) => return Ok(answer),
                Err(failure) if failure.fault.is_final() => return Err(failure),
                Err(failure) => {
                    // Silence says the least; of the others the last word counts.
                    if !matches!(failure.fault, Fault::Timeout | Fault::Unreachable) || all.evidence.is_empty() {
                        all.fault = failure.fault;
                    }
                    for say in failure.evidence {
                        if !all.evidence.contains(&say) && all.evidence.len() < EVIDENCE_MAX {
                            all.evidence.push(say);
                        }
                    }
                }
            }
        }
        if all.evidence.is_empty() {
            all.evidence
                .push(format!("No time was left to ask for {} of {name}.", kind.name()));
        }
        Err(all)
    }

    /// All addresses of a name, through its aliases. Fails with [`Fault::NoData`] when there are none, and with a fault of
    /// the look-up when neither kind could be looked up.
    pub fn addresses(&self, name: &str) -> Result<Addresses> {
        let mut found = Addresses {
            ips: Vec::new(),
            aliases: Vec::new(),
            missing: None,
        };
        let v4 = self.follow(name, Type::A, &mut found);
        if let Err(failure) = &v4
            && matches!(failure.fault, Fault::NxDomain | Fault::Cancelled)
        {
            return Err(failure.clone());
        }
        let v6 = self.follow(name, Type::Aaaa, &mut found);
        match (v4, v6) {
            (Err(failure), Err(_)) => return Err(failure),
            (Ok(()), Err(failure)) => found.missing = Some((Type::Aaaa, failure)),
            (Err(failure), Ok(())) => found.missing = Some((Type::A, failure)),
            (Ok(()), Ok(())) => {}
        }
        match found.ips.is_empty() && found.missing.is_none() {
            true => Err(Failure::new(
                Fault::NoData,
                format!("{name} exists, but has no address (neither A nor AAAA)."),
            )),
            false => Ok(found),
        }
    }

    /// Follows the aliases, within one answer as far as it goes, then with another question.
    fn follow(&self, name: &str, kind: Type, found: &mut Addresses) -> Result<()> {
        let mut at = name.to_string();
        let mut seen = vec![at.clone()];
        loop {
            let answer = self.ask(&at, kind)?;
            let asked = at.clone();
            while let Some(to) = answer.alias(&at) {
                at = to.to_string();
                if seen.contains(&at) || seen.len() > ALIASES_MAX {
                    let way = seen.join(" → ");
                    let say = format!("The aliases (CNAME) of {name} lead nowhere: {way} → {at}.");
                    return Err(Failure::new(Fault::BadAnswer, say));
                }
                if !found.aliases.contains(&at) {
                    found.aliases.push(at.clone());
                }
                seen.push(at.clone());
            }
            if answer.dangling {
                let say = format!("{name} is an alias (CNAME) of {at}, which does not exist.");
                return Err(Failure::new(Fault::NxDomain, say));
            }
            for record in answer.records.iter().filter(|r| r.owner == at) {
                if let Data::Address(ip) = record.data
                    && !found.ips.contains(&ip)
                {
                    found.ips.push(ip);
                }
            }
            let is_known = answer.records.iter().any(|r| r.owner == at);
            // A server of the alias' zone alone may not know where it leads to: that is asked for.
            if is_known || asked == at || answer.zone.is_some() {
                return Ok(());
            }
        }
    }

    /// The name servers of the zone that `name` lies in: its own, else those of the nearest name above it. A name of one
    /// label is never asked for: the servers of `com` say nothing about a domain.
    pub fn name_servers(&self, name: &str) -> Result<NameServers> {
        let mut alias = None;
        let mut at = name;
        for _ in 0..STEPS_MAX {
            if !at.contains('.') {
                break;
            }
            let answer = match self.ask(at, Type::Ns) {
                // Some servers deny names that only have others below them (RFC 8020 forbids it); the name itself is there.
                Err(failure) if failure.fault == Fault::NxDomain && at != name => {
                    at = parent(at);
                    continue;
                }
                answer => answer?,
            };
            if at == name {
                alias = answer.alias(at).map(String::from);
            }
            // An alias is not an apex: what comes behind it belongs to another name.
            let own = answer.records.iter().filter(|r| r.owner == at);
            let mut hosts: Vec<String> = own
                .filter_map(|r| match &r.data {
                    Data::Ns(host) => Some(host.clone()),
                    _ => None,
                })
                .collect();
            if !hosts.is_empty() && answer.alias(at).is_none() {
                hosts.sort();
                hosts.dedup();
                let zone = at.to_string();
                return Ok(NameServers { zone, hosts, alias });
            }
            at = match &answer.zone {
                Some(zone) if is_below(at, zone) => &at[at.len() - zone.len()..],
                _ => parent(at),
            };
        }
        let say = match alias {
            Some(to) => format!("{name} is an alias (CNAME) of {to}, and no zone above it has name servers (NS)."),
            None => format!("Neither {name} nor a name above it has name servers (NS)."),
        };
        Err(Failure::new(Fault::NoData, say))
    }

    /// Who may issue certificates for `name`: the rules of the nearest name upwards that has some (RFC 8659, 3).
    pub fn authorities(&self, name: &str) -> Result<Authorities> {
        let mut at = name;
        for _ in 0..STEPS_MAX {
            if at.is_empty() {
                break;
            }
            let answer = match self.ask(at, Type::Caa) {
                Err(failure) if failure.fault == Fault::NxDomain => None,
                answer => Some(answer?),
            };
            let rules = answer.map_or_else(Vec::new, |answer| {
                let mut owner = at;
                // Rules at the end of an alias stand for the name, too.
                for _ in 0..ALIASES_MAX {
                    owner = answer.alias(owner).unwrap_or(owner);
                }
                let owned = answer.records.iter().filter(|r| r.owner == owner);
                owned
                    .filter_map(|r| match &r.data {
                        Data::Caa(rule) => Some(rule.clone()),
                        _ => None,
                    })
                    .collect()
            });
            if !rules.is_empty() {
                let at = at.to_string();
                return Ok(Authorities { at, rules });
            }
            at = parent(at);
        }
        Ok(Authorities {
            at: String::new(),
            rules: Vec::new(),
        })
    }
}

fn parent(name: &str) -> &str {
    name.split_once('.').map_or("", |(_, parent)| parent)
}

fn is_below(name: &str, zone: &str) -> bool {
    name.strip_suffix(zone).is_some_and(|head| head.ends_with('.'))
}

// ---- one question to one server --------------------------------------------------------------------------------------

/// Asks one server once: by datagram, and over TCP when the answer does not fit into one. It gets 3 s for each, within
/// `until`.
pub fn query(server: SocketAddr, question: Question, until: Instant, cancel: &Cancel) -> Result<Answer> {
    let asked = Asked::new(server, question)?;
    let wait = |until: Instant| Wait {
        until: (clock::mono() + ATTEMPT).min(until),
        cancel,
    };
    match asked.by_udp(&wait(until))? {
        Some(answer) => Ok(answer),
        None => match asked.by_tcp(&wait(until)) {
            Err(failure) if failure.fault.is_no_word() => {
                let mut whole = asked.fail(
                    Fault::Truncated,
                    "an answer that does not fit into a datagram, and over TCP none",
                );
                whole.evidence.extend(failure.evidence);
                Err(whole)
            }
            other => other,
        },
    }
}

/// How long to wait.
struct Wait<'a> {
    until: Instant,
    cancel: &'a Cancel,
}

impl Wait<'_> {
    /// The next slice of time to block for, or why there is none.
    fn slice(&self, asked: &Asked) -> Result<Duration> {
        if self.cancel.is_cancelled() {
            return Err(asked.fail(Fault::Cancelled, "nothing: it was cancelled"));
        }
        let left = self.until.saturating_duration_since(clock::mono());
        match left.is_zero() {
            true => Err(asked.fail(Fault::Timeout, "no answer in time")),
            false => Ok(left.min(TICK)),
        }
    }
}

/// A question as bytes, and who is asked.
struct Asked<'a> {
    server: SocketAddr,
    question: Question<'a>,
    name: Name<Vec<u8>>,
    id: u16,
    bytes: Vec<u8>,
}

/// What a message is to us.
enum Received {
    /// Not ours: somebody else's, or noise.
    Stray,
    /// With our number, but to another question.
    Foreign,
    /// Ours, but cut.
    Cut,
    /// Ours.
    Whole(Result<Answer>),
}

impl<'a> Asked<'a> {
    fn new(server: SocketAddr, question: Question<'a>) -> Result<Asked<'a>> {
        let mut asked = Asked {
            server,
            question,
            name: Name::root_vec(),
            id: u16::from_ne_bytes(random::bytes()),
            bytes: Vec::new(),
        };
        // A label or a name that is too long for DNS. (An IP address would pass; nobody asks for one.)
        asked.name = Name::vec_from_str(question.name).map_err(|e| {
            asked.fail(
                Fault::BadAnswer,
                &format!("nothing: the name cannot be asked for ({e})"),
            )
        })?;
        let mut message = MessageBuilder::new_vec();
        message.header_mut().set_id(asked.id);
        message.header_mut().set_rd(question.recursive);
        let mut questions = message.question();
        let put = questions.push((&asked.name, question.kind.rtype(), Class::IN));
        let mut additional = questions.additional();
        let put = put.and_then(|()| {
            additional.opt(|opt| {
                opt.set_udp_payload_size(UDP_OFFER);
                Ok(())
            })
        });
        // A vector takes every question.
        put.map_err(|e| {
            asked.fail(
                Fault::BadAnswer,
                &format!("nothing: the question cannot be written ({e})"),
            )
        })?;
        asked.bytes = additional.finish();
        Ok(asked)
    }

    fn fail(&self, fault: Fault, saw: &str) -> Failure {
        let server = match self.server.port() {
            53 => self.server.ip().to_string(),
            _ => self.server.to_string(),
        };
        let (kind, name) = (self.question.kind.name(), self.question.name);
        Failure::new(fault, format!("{server}, asked for {kind} of {name}: {saw}."))
    }

    fn fail_io(&self, e: &io::Error) -> Failure {
        let (fault, saw) = match e.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => (Fault::Timeout, "no answer in time".into()),
            ErrorKind::ConnectionRefused => (Fault::Unreachable, "nothing listens there".into()),
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => {
                (Fault::BadAnswer, "it closed the connection instead of answering".into())
            }
            _ => (Fault::Unreachable, format!("it cannot be reached ({e})")),
        };
        self.fail(fault, &saw)
    }

    /// The answer, or `None` when it was cut.
    fn by_udp(&self, wait: &Wait) -> Result<Option<Answer>> {
        // A socket of its own for each question: its port is as random as the number, and being connected it hears nobody
        // else.
        let any: IpAddr = match self.server.ip() {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let io = |e: io::Error| self.fail_io(&e);
        let socket = UdpSocket::bind((any, 0)).map_err(io)?;
        socket.connect(self.server).map_err(io)?;
        socket.send(&self.bytes).map_err(io)?;
        let mut buffer = [0; UDP_TAKE];
        let mut strays = Strays::default();
        loop {
            let slice = wait.slice(self).map_err(|failure| strays.explain(self, failure))?;
            socket.set_read_timeout(Some(slice)).map_err(io)?;
            let got = match socket.recv(&mut buffer) {
                Ok(size) => self.read(&buffer[..size]),
                Err(e) if is_pause(&e) => continue,
                Err(e) => return Err(self.fail_io(&e)),
            };
            match got {
                Received::Whole(answer) => return answer.map(Some),
                Received::Cut => return Ok(None),
                stray => strays.note(self, &stray)?,
            }
        }
    }

    fn by_tcp(&self, wait: &Wait) -> Result<Answer> {
        let io = |e: io::Error| self.fail_io(&e);
        let left = wait.until.saturating_duration_since(clock::mono());
        wait.slice(self)?;
        let mut stream = TcpStream::connect_timeout(&self.server, left).map_err(io)?;
        let framed = [&(self.bytes.len() as u16).to_be_bytes()[..], &self.bytes].concat();
        stream.set_write_timeout(Some(TICK)).map_err(io)?; // it fits into any send buffer
        stream.write_all(&framed).map_err(io)?;
        let mut strays = Strays::default();
        loop {
            let mut length = [0; 2];
            self.fill(&mut stream, &mut length, wait)
                .map_err(|failure| strays.explain(self, failure))?;
            let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
            self.fill(&mut stream, &mut message, wait)?;
            match self.read(&message) {
                Received::Whole(answer) => return answer,
                Received::Cut => return Err(self.fail(Fault::Truncated, "an answer that is cut")),
                stray => strays.note(self, &stray)?,
            }
        }
    }

    fn fill(&self, stream: &mut TcpStream, buffer: &mut [u8], wait: &Wait) -> Result<()> {
        let mut have = 0;
        while have < buffer.len() {
            let slice = wait.slice(self)?;
            stream.set_read_timeout(Some(slice)).map_err(|e| self.fail_io(&e))?;
            match stream.read(&mut buffer[have..]) {
                Ok(0) => return Err(self.fail_io(&ErrorKind::UnexpectedEof.into())),
                Ok(size) => have += size,
                Err(e) if is_pause(&e) => {}
                Err(e) => return Err(self.fail_io(&e)),
            }
        }
        Ok(())
    }

    fn read(&self, bytes: &[u8]) -> Received {
        let Ok(message) = Message::from_octets(bytes) else {
            return Received::Stray;
        };
        let header = message.header();
        if header.id() != self.id || !header.qr() {
            return Received::Stray;
        }
        let is_ours = message.sole_question().is_ok_and(|q| {
            q.qtype() == self.question.kind.rtype() && q.qclass() == Class::IN && q.qname().name_eq(&self.name)
        });
        match (is_ours, header.tc()) {
            (false, _) => Received::Foreign,
            (true, true) => Received::Cut,
            (true, false) => Received::Whole(self.judge(&message)),
        }
    }

    fn judge(&self, message: &Message<&[u8]>) -> Result<Answer> {
        let header = message.header();
        match header.rcode() {
            Rcode::NOERROR | Rcode::NXDOMAIN => {}
            Rcode::SERVFAIL => return Err(self.fail(Fault::ServFail, "SERVFAIL (it could not find out)")),
            Rcode::REFUSED => return Err(self.fail(Fault::Refused, "REFUSED (it does not answer this)")),
            other => return Err(self.fail(Fault::BadAnswer, &format!("the error {other}"))),
        }
        let read = |e: Unreadable| self.fail(Fault::BadAnswer, e.0);
        let records = message.answer().map_err(Unreadable::from).and_then(|section| {
            let mut out = Vec::new();
            for_each(section, |record| {
                let owner = text(&record.owner());
                let data = match (record.rtype(), self.question.kind) {
                    (Rtype::CNAME, _) => rdata::<Cname<_>>(&record)?.map(|d| Data::Alias(text(d.cname()))),
                    (Rtype::A, Type::A) => rdata::<A>(&record)?.map(|d| Data::Address(d.addr().into())),
                    (Rtype::AAAA, Type::Aaaa) => rdata::<Aaaa>(&record)?.map(|d| Data::Address(d.addr().into())),
                    (Rtype::NS, Type::Ns) => rdata::<Ns<_>>(&record)?.map(|d| Data::Ns(text(d.nsdname()))),
                    (Rtype::CAA, Type::Caa) => rdata::<CaaData<_>>(&record)?.map(|d| Data::Caa(caa(&d))),
                    _ => None,
                };
                out.extend(data.map(|data| Record { owner, data }));
                Ok(())
            })?;
            Ok(out)
        });
        let records = records.map_err(read)?;
        let (mut zone, mut referral) = (None, false);
        let section = message.authority().map_err(|e| read(e.into()))?;
        for_each(section, |record| {
            let owner = text(&record.owner());
            match record.rtype() {
                Rtype::SOA => zone = Some(owner),
                Rtype::NS => referral = true,
                _ => {}
            }
            Ok(())
        })
        .map_err(read)?;
        let dangling = header.rcode() == Rcode::NXDOMAIN;
        if dangling && records.is_empty() {
            return Err(self.fail(Fault::NxDomain, "NXDOMAIN (there is no such name)"));
        }
        // Nothing, without a word from whom: the server does not know this zone and nobody was asked for us.
        let knows = header.aa() || zone.is_some() || self.question.recursive && header.ra() && !referral;
        if records.is_empty() && !knows {
            let say = match referral {
                true => "no answer, only the names of other servers: it is not in charge of this name",
                false => "nothing: it is not in charge of this name",
            };
            return Err(self.fail(Fault::Lame, say));
        }
        if !self.question.recursive && !header.aa() {
            return Err(self.fail(Fault::Lame, "an answer from memory: it is not in charge of this name"));
        }
        Ok(Answer {
            server: self.server,
            authoritative: header.aa(),
            records,
            zone,
            dangling,
        })
    }
}

/// What came that was no answer.
#[derive(Default)]
struct Strays {
    count: usize,
    foreign: bool,
}

impl Strays {
    fn note(&mut self, asked: &Asked, stray: &Received) -> Result<()> {
        self.count += 1;
        self.foreign |= matches!(stray, Received::Foreign);
        match self.count > STRAY_MAX {
            true => Err(asked.fail(Fault::BadAnswer, "a flood of messages, none of them an answer")),
            false => Ok(()),
        }
    }

    /// Silence is another thing than an answer to something else.
    fn explain(&self, asked: &Asked, failure: Failure) -> Failure {
        match self.foreign && failure.fault == Fault::Timeout {
            true => asked.fail(
                Fault::BadAnswer,
                "only an answer to another question, or one that cannot be read",
            ),
            false => failure,
        }
    }
}

/// Nothing yet: a slice of the time is over, or a signal came.
fn is_pause(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::Interrupted
    )
}

/// Why a message cannot be read.
struct Unreadable(&'static str);

impl<E: std::error::Error> From<E> for Unreadable {
    fn from(_: E) -> Unreadable {
        Unreadable("an answer that cannot be read")
    }
}

type Parsed<'a> = domain::base::ParsedRecord<'a, &'a [u8]>;

fn for_each<'a>(
    section: RecordSection<'a, &'a [u8]>,
    mut look: impl FnMut(Parsed<'a>) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    for (n, record) in section.enumerate() {
        if n >= RECORDS_MAX {
            return Err(Unreadable("an answer with too many records"));
        }
        let record = record?;
        if record.class() == Class::IN {
            look(record)?;
        }
    }
    Ok(())
}

fn rdata<'a, D: ParseRecordData<'a, &'a [u8]>>(record: &Parsed<'a>) -> Result<Option<D>, Unreadable> {
    Ok(record.to_record::<D>()?.map(|r| r.into_data()))
}

fn text<Octs: AsRef<[u8]>>(name: &ParsedName<Octs>) -> String {
    // Display writes what is no letter as `\123`: no control character comes through.
    name.to_string().trim_end_matches('.').to_ascii_lowercase()
}

fn caa(data: &CaaData<&[u8]>) -> Caa {
    let printable = |b: &u8| if (b' '..=b'~').contains(b) { char::from(*b) } else { '?' };
    Caa {
        critical: data.flags().bits() & 0x80 != 0,
        tag: data.tag().to_string().to_ascii_lowercase(),
        value: data.value().iter().map(printable).collect(),
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

    #[test]
    fn a_zone_is_above_a_name_at_a_dot_only() {
        assert!(is_below("a.b.example", "b.example") && is_below("a.b.example", "example"));
        assert!(!is_below("ab.example", "b.example") && !is_below("b.example", "b.example"));
    }

    /// Where the bytes of a server may go wrong, a server will. 300,000 answers (a fixed sequence), each changed in some
    /// places, cut or grown: nothing panics, and what is believed is bounded and belongs to the question.
    #[test]
    fn spoiled_answers_are_refused_or_read_and_never_more() {
        let question = |kind| Question {
            name: "a.example",
            kind,
            recursive: true,
        };
        let server = SocketAddr::from(([127, 0, 0, 1], 53));
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut below = move |n: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % n.max(1) as u64) as usize
        };
        let (mut whole, mut failed, mut stray) = (0, 0, 0);
        for n in 0..300_000 {
            let kind = [Type::A, Type::Aaaa, Type::Ns, Type::Caa][n % 4];
            let asked = Asked::new(server, question(kind)).unwrap();
            let mut bytes = answer_to(&asked);
            match below(12) {
                0 => bytes.truncate(below(bytes.len())),
                1 => bytes.extend(vec![0xc0; below(600)]),
                2 => bytes[7] = below(256) as u8, // more records than there are
                _ => {}
            }
            for _ in 0..below(6) {
                if bytes.len() > 2 {
                    let at = 2 + below(bytes.len() - 2);
                    bytes[at] = [0xc0 | bytes[at], 0, 0xff, below(256) as u8][below(4)];
                }
            }
            match asked.read(&bytes) {
                Received::Whole(Ok(answer)) => {
                    whole += 1;
                    let bounded = |name: &str| name.len() <= 4 * 255 && !name.contains(char::is_control);
                    assert!(answer.records.len() <= RECORDS_MAX);
                    assert!(
                        answer
                            .records
                            .iter()
                            .all(|r| bounded(&r.owner) && bounded(&format!("{:?}", r.data)))
                    );
                    assert!(answer.zone.iter().all(|zone| bounded(zone)));
                }
                Received::Whole(Err(failure)) => {
                    failed += 1;
                    assert!(failure.to_string().len() < 500, "{failure}");
                }
                _ => stray += 1,
            }
        }
        let least = whole.min(failed).min(stray);
        assert!(
            least > 10_000,
            "{whole} whole, {failed} failed, {stray} strays: this tests nothing"
        );
    }

    /// Two aliases, then a record of the kind asked for, and the zone.
    fn answer_to(asked: &Asked) -> Vec<u8> {
        let kind = asked.question.kind;
        let data: &[u8] = match kind {
            Type::A => &[192, 0, 2, 1],
            Type::Aaaa => &[0x20; 16],
            Type::Ns => b"\x03ns1\xc0\x0e",
            Type::Caa => b"\x80\x05issueca.example",
        };
        let mut out = asked.bytes[..asked.bytes.len() - 11].to_vec(); // without the OPT record
        out[2..12].copy_from_slice(&[0x84, 0x80, 0, 1, 0, 3, 0, 1, 0, 0]);
        let mut record = |owner: &[u8], kind: u16, data: &[u8]| {
            out.extend(owner);
            out.extend([kind.to_be_bytes(), 1_u16.to_be_bytes()].concat());
            out.extend([0, 0, 1, 44]);
            out.extend((data.len() as u16).to_be_bytes());
            out.extend(data);
        };
        record(b"\xc0\x0c", 5, b"\x01b\xc0\x0e");
        record(b"\x01b\xc0\x0e", 5, b"\x01c\xc0\x0e");
        record(b"\x01c\xc0\x0e", kind.rtype().to_int(), data);
        record(b"\xc0\x0e", 6, &[&b"\xc0\x0e\xc0\x0e"[..], &[0; 20]].concat());
        out
    }
}
