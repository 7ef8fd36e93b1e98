//! One query to one server, over UDP or TCP, and the parser of its response. Responses are untrusted: only records that
//! belong to the question are used, and their number is bounded.

use super::{Answer, Caa, Data, DnsError, Failure, Question, Record, Result, Type};
use crate::base::clock::{self, Duration, Instant};
use crate::base::process::Cancel;
use crate::base::random;
use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::message::RecordSection;
use domain::base::name::{Name, ParsedName, ToName};
use domain::base::rdata::ParseRecordData;
use domain::base::{Message, MessageBuilder};
use domain::rdata::{A, Aaaa, Caa as CaaData, Cname, Ns};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};

/// Time limit of one server for one response. Authoritative servers answer in 0.1 s; a resolver may have to ask three
/// in a row.
const ATTEMPT: Duration = Duration::from_secs(3);
/// How soon a cancellation is noticed while waiting for a socket.
const TICK: Duration = Duration::from_millis(100);
/// EDNS payload size that we offer: fits any path's MTU (DNS flag day 2020).
const UDP_OFFER: u16 = 1232;
/// Size that we accept: some servers send more than was offered.
const UDP_TAKE: usize = 4096;
/// Unrelated datagrams after which the socket is given up: a flood.
const STRAY_MAX: usize = 1_000;
/// Records per section. Thirteen name servers are many; hundreds of addresses are an attack.
const RECORDS_MAX: usize = 256;

/// Queries one server once: over UDP, and over TCP if the response is truncated. 3 s for each, within `until`. Error:
/// the failure with its evidence.
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
                    DnsError::Truncated,
                    "an answer that does not fit into a datagram, and over TCP none",
                );
                whole.evidence.extend(failure.evidence);
                Err(whole)
            }
            other => other,
        },
    }
}

/// Deadline and cancellation.
struct Wait<'a> {
    until: Instant,
    cancel: &'a Cancel,
}

impl Wait<'_> {
    /// The next time slice to block for, or why there is none.
    fn slice(&self, asked: &Asked) -> Result<Duration> {
        if self.cancel.is_cancelled() {
            return Err(asked.fail(DnsError::Cancelled, "nothing: it was cancelled"));
        }
        let left = self.until.saturating_duration_since(clock::mono());
        match left.is_zero() {
            true => Err(asked.fail(DnsError::Timeout, "no answer in time")),
            false => Ok(left.min(TICK)),
        }
    }
}

/// An encoded query and its server.
struct Asked<'a> {
    server: SocketAddr,
    question: Question<'a>,
    name: Name<Vec<u8>>,
    id: u16,
    bytes: Vec<u8>,
}

/// Classification of a received message.
enum Received {
    /// Unrelated to us.
    Stray,
    /// With our id, but for another question.
    Foreign,
    /// Ours, but truncated.
    Cut,
    /// Ours, complete.
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
        // A label or name that is too long for DNS. (An IP address would pass; none is queried.)
        asked.name = Name::vec_from_str(question.name).map_err(|e| {
            asked.fail(
                DnsError::BadAnswer,
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
        // Writing to a vector cannot fail.
        put.map_err(|e| {
            asked.fail(
                DnsError::BadAnswer,
                &format!("nothing: the question cannot be written ({e})"),
            )
        })?;
        asked.bytes = additional.finish();
        Ok(asked)
    }

    fn fail(&self, fault: DnsError, saw: &str) -> Failure {
        let server = match self.server.port() {
            53 => self.server.ip().to_string(),
            _ => self.server.to_string(),
        };
        let (kind, name) = (self.question.kind.name(), self.question.name);
        Failure::new(fault, format!("{server}, asked for {kind} of {name}: {saw}."))
    }

    fn fail_io(&self, e: &io::Error) -> Failure {
        let (fault, saw) = match e.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => (DnsError::Timeout, "no answer in time".into()),
            ErrorKind::ConnectionRefused => (DnsError::Unreachable, "nothing listens there".into()),
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => (
                DnsError::BadAnswer,
                "it closed the connection instead of answering".into(),
            ),
            _ => (DnsError::Unreachable, format!("it cannot be reached ({e})")),
        };
        self.fail(fault, &saw)
    }

    /// The response, or `None` if it was truncated.
    fn by_udp(&self, wait: &Wait) -> Result<Option<Answer>> {
        // A socket of its own for each query: its source port is random, and since it is connected, it receives from
        // the server only.
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
                Received::Cut => return Err(self.fail(DnsError::Truncated, "an answer that is cut")),
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
            (true, false) => Received::Whole(self.interpret(&message)),
        }
    }

    fn interpret(&self, message: &Message<&[u8]>) -> Result<Answer> {
        let header = message.header();
        match header.rcode() {
            Rcode::NOERROR | Rcode::NXDOMAIN => {}
            Rcode::SERVFAIL => return Err(self.fail(DnsError::ServFail, "SERVFAIL (it could not find out)")),
            Rcode::REFUSED => return Err(self.fail(DnsError::Refused, "REFUSED (it does not answer this)")),
            other => return Err(self.fail(DnsError::BadAnswer, &format!("the error {other}"))),
        }
        let read = |e: Unreadable| self.fail(DnsError::BadAnswer, e.0);
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
            return Err(self.fail(DnsError::NxDomain, "NXDOMAIN (there is no such name)"));
        }
        // Empty, without authority: the server does not know this zone and did not recurse.
        let knows = header.aa() || zone.is_some() || self.question.recursive && header.ra() && !referral;
        if records.is_empty() && !knows {
            let say = match referral {
                true => "no answer, only the names of other servers: it is not in charge of this name",
                false => "nothing: it is not in charge of this name",
            };
            return Err(self.fail(DnsError::Lame, say));
        }
        if !self.question.recursive && !header.aa() {
            return Err(self.fail(
                DnsError::Lame,
                "an answer from memory: it is not in charge of this name",
            ));
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

/// Received messages that were no response.
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
            true => Err(asked.fail(DnsError::BadAnswer, "a flood of messages, none of them an answer")),
            false => Ok(()),
        }
    }

    /// Tells silence from responses to something else.
    fn explain(&self, asked: &Asked, failure: Failure) -> Failure {
        match self.foreign && failure.fault == DnsError::Timeout {
            true => asked.fail(
                DnsError::BadAnswer,
                "only an answer to another question, or one that cannot be read",
            ),
            false => failure,
        }
    }
}

/// Nothing yet: the time slice is over, or a signal came.
fn is_pause(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::Interrupted
    )
}

/// Why a message cannot be parsed.
struct Unreadable(&'static str);

impl<E: std::error::Error> From<E> for Unreadable {
    fn from(_: E) -> Unreadable {
        Unreadable("an answer that cannot be read")
    }
}

type Parsed<'a> = domain::base::ParsedRecord<'a, &'a [u8]>;

fn for_each<'a>(
    section: RecordSection<'a, &'a [u8]>,
    mut visit: impl FnMut(Parsed<'a>) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    for (n, record) in section.enumerate() {
        if n >= RECORDS_MAX {
            return Err(Unreadable("an answer with too many records"));
        }
        let record = record?;
        if record.class() == Class::IN {
            visit(record)?;
        }
    }
    Ok(())
}

fn rdata<'a, D: ParseRecordData<'a, &'a [u8]>>(record: &Parsed<'a>) -> Result<Option<D>, Unreadable> {
    Ok(record.to_record::<D>()?.map(|r| r.into_data()))
}

fn text<Octs: AsRef<[u8]>>(name: &ParsedName<Octs>) -> String {
    // Display writes other characters as `\123`: no control character gets through.
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
