//! A name server with faults, over UDP and TCP on one port. It answers from a zone (`tests/data/dns/zone.json`: name with
//! final dot → type → values) with authority, follows aliases within it, and says NXDOMAIN and "no data" with the SOA of
//! the nearest zone above; a rule for a name (`tests/data/dns/cases.json`) makes it misbehave there.
//!
//! It writes messages byte by byte, without the crate that the daemon reads them with.

use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const A: u16 = 1;
pub const NS: u16 = 2;
pub const CNAME: u16 = 5;
pub const SOA: u16 = 6;
pub const AAAA: u16 = 28;
pub const CAA: u16 = 257;

/// Flags of an answer.
const QR: u16 = 0x8000;
const AUTHORITY: u16 = 0x0400;
const CUT: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;

/// A question as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// With final dot, as sent.
    pub name: String,
    pub kind: u16,
    pub tcp: bool,
    pub id: u16,
    pub port: u16,
}

type Spoil = Box<dyn FnMut(&mut Vec<u8>) + Send>;

#[derive(Default)]
struct Book {
    zone: BTreeMap<String, Value>,
    rules: HashMap<String, Value>,
    /// Questions so far for a name and kind.
    counts: HashMap<(String, u16), u64>,
    asked: Vec<Asked>,
    /// Changes the bytes of each answer at the last moment.
    spoil: Option<Spoil>,
}

/// The server; it ends when dropped.
pub struct NameServer {
    pub address: SocketAddr,
    book: Arc<Mutex<Book>>,
    stop: Arc<AtomicBool>,
}

impl Default for NameServer {
    /// With nothing to tell.
    fn default() -> NameServer {
        let (udp, tcp) = (0..100)
            .find_map(|_| {
                let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
                let tcp = TcpListener::bind(udp.local_addr().unwrap()).ok()?;
                Some((udp, tcp))
            })
            .expect("a port that is free for both");
        let server = NameServer {
            address: udp.local_addr().unwrap(),
            book: Arc::default(),
            stop: Arc::default(),
        };
        let (book, stop) = (server.book.clone(), server.stop.clone());
        udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !stop.load(Ordering::SeqCst) {
                let Ok((size, peer)) = udp.recv_from(&mut buffer) else {
                    continue;
                };
                let (query, udp, book) = (buffer[..size].to_vec(), udp.try_clone().unwrap(), book.clone());
                std::thread::spawn(move || {
                    if let Some(answer) = answer(&book, &query, false, peer.port()) {
                        let _ = udp.send_to(&answer, peer);
                    }
                });
            }
        });
        let (book, stop) = (server.book.clone(), server.stop.clone());
        std::thread::spawn(move || {
            for client in tcp.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (client, book) = (client.unwrap(), book.clone());
                std::thread::spawn(move || serve(client, &book));
            }
        });
        server
    }
}

impl NameServer {
    /// With the zone and the rules of the fixtures.
    pub fn of_fixtures() -> NameServer {
        let server = NameServer::default();
        let read = |name: &str| -> Value { serde_json::from_slice(&super::data(name)).unwrap() };
        for (name, records) in read("dns/zone.json").as_object().unwrap() {
            server.set(name, records.clone());
        }
        for case in read("dns/cases.json")["cases"].as_array().unwrap() {
            if case["rule"].is_object() {
                server.rule(case["query"].as_str().unwrap(), case["rule"].clone());
            }
        }
        server
    }

    /// `{"NS": ["ns1.example."], "A": ["192.0.2.1"], "CAA": ["0 issue ca.example"]}`
    pub fn set(&self, name: &str, records: Value) {
        assert!(name.ends_with('.') && records.is_object(), "{name}: {records}");
        self.book.lock().unwrap().zone.insert(name.into(), records);
    }

    pub fn remove(&self, name: &str) {
        self.book.lock().unwrap().zone.remove(name).expect("it was there");
    }

    pub fn rule(&self, name: &str, rule: Value) {
        let mut book = self.book.lock().unwrap();
        book.counts.retain(|(of, _), _| of != name);
        match rule.is_null() {
            true => drop(book.rules.remove(name)),
            false => drop(book.rules.insert(name.into(), rule)),
        }
    }

    /// Whatever is about to be sent goes through this first.
    pub fn spoil(&self, how: impl FnMut(&mut Vec<u8>) + Send + 'static) {
        self.book.lock().unwrap().spoil = Some(Box::new(how));
    }

    /// All questions so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.book.lock().unwrap().asked.clone()
    }

    /// Questions about a name so far.
    pub fn asked_for(&self, name: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|a| a.name == name).collect()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address); // wakes accept
    }
}

fn serve(mut client: TcpStream, book: &Mutex<Book>) {
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let port = client.peer_addr().map_or(0, |a| a.port());
    let mut length = [0; 2];
    while client.read_exact(&mut length).is_ok() {
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        if client.read_exact(&mut query).is_err() {
            return;
        }
        if let Some(answer) = answer(book, &query, true, port) {
            let _ = client.write_all(&[&(answer.len() as u16).to_be_bytes()[..], &answer].concat());
        }
    }
}

/// One record, not written yet.
struct Record {
    owner: String,
    kind: u16,
    data: Vec<u8>,
}

#[derive(Default)]
struct Message {
    flags: u16,
    answer: Vec<Record>,
    authority: Vec<Record>,
}

fn answer(book: &Mutex<Book>, query: &[u8], tcp: bool, port: u16) -> Option<Vec<u8>> {
    let (id, flags, name, kind) = question(query)?;
    let key = name.to_ascii_lowercase();
    let mut book = book.lock().unwrap();
    book.asked.push(Asked {
        name,
        kind,
        tcp,
        id,
        port,
    });
    let count = book.counts.entry((key.clone(), kind)).or_default();
    *count += 1;
    let count = *count;
    let rule = book.rules.get(&key).cloned().unwrap_or(Value::Null);
    let over = rule["times"].as_u64().is_some_and(|times| count > times);
    let rule = if over { Value::Null } else { rule };
    let has = |word: &str| rule[word] == json!(true);
    if rule["drop"] == "all" || rule["drop"] == if tcp { "tcp" } else { "udp" } {
        return None;
    }
    let mut message = look_up(&book.zone, &key, kind);
    message.flags |= QR | AUTHORITY | flags & RECURSION_DESIRED;
    if let Some(sets) = rule["alternate"].as_array()
        && kind == NS
    {
        let set = &sets[(count as usize - 1) % sets.len()];
        message.answer = records(&key, NS, set);
    }
    if let Some(rcode) = rule["rcode"].as_str() {
        message = Message {
            flags: QR | flags & RECURSION_DESIRED | if rcode == "REFUSED" { 5 } else { 2 },
            ..Message::default()
        };
    }
    if has("lame") {
        message = Message {
            flags: QR | flags & RECURSION_DESIRED,
            authority: records("example.", NS, &json!(["a.nic.example.", "b.nic.example."])),
            ..Message::default()
        };
    }
    if has("nodata") {
        message.answer.clear();
        message.authority = vec![soa(&key)];
    }
    if has("cname_loop") {
        message.answer = records(&key, CNAME, &json!([key]));
    }
    if has("extra") {
        let other = records("unrelated.example.", NS, &json!(["ns.evil.example."]));
        message.answer = other.into_iter().chain(message.answer).collect();
    }
    if !tcp && (has("tc") || has("tc_partial")) {
        message.flags |= CUT;
        message.answer.truncate(usize::from(has("tc_partial")));
    }
    let asked = if has("wrong_question") { "other.example." } else { &key };
    let id = if has("wrong_id") { id.wrapping_add(1) } else { id };
    let mut bytes = write(id, asked, kind, &message, has("loop"));
    if has("garbage") {
        let mut noise = 0x9e37_79b9_u32;
        bytes.iter_mut().for_each(|b| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *b = (noise >> 24) as u8;
        });
    }
    if has("short") {
        bytes.truncate(bytes.len() / 2);
    }
    if let Some(spoil) = &mut book.spoil {
        spoil(&mut bytes);
    }
    drop(book);
    if let Some(seconds) = rule["delay"].as_f64() {
        std::thread::sleep(Duration::from_secs_f64(seconds));
    }
    Some(bytes)
}

fn question(query: &[u8]) -> Option<(u16, u16, String, u16)> {
    let word = |at: usize| Some(u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]));
    let (mut at, mut name) = (12, String::new());
    while *query.get(at)? != 0 {
        let length = usize::from(query[at]);
        name += std::str::from_utf8(query.get(at + 1..at + 1 + length)?).ok()?;
        name.push('.');
        at += 1 + length;
    }
    Some((word(0)?, word(2)?, name, word(at + 1)?))
}

fn parent(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, up)| up).filter(|up| !up.is_empty())
}

fn look_up(zone: &BTreeMap<String, Value>, name: &str, kind: u16) -> Message {
    let mut message = Message::default();
    let mut at = name.to_string();
    loop {
        let below = format!(".{at}");
        let Some(entry) = zone.get(&at) else {
            if !zone.keys().any(|k| k.ends_with(&below)) {
                message.flags = 3;
            }
            message.authority.push(soa(apex(zone, &at)));
            return message;
        };
        let found = records(&at, kind, &entry[name_of(kind)]);
        if !found.is_empty() {
            message.answer.extend(found);
            return message;
        }
        let Some(to) = entry["CNAME"][0].as_str() else {
            message.authority.push(soa(apex(zone, &at)));
            return message;
        };
        message.answer.extend(records(&at, CNAME, &entry["CNAME"]));
        // Around in a circle: that is all there is to say.
        if message.answer.iter().any(|r| r.owner == to) {
            return message;
        }
        at = to.to_string();
    }
}

/// The nearest name upwards that has name servers; the root when there is none.
fn apex<'a>(zone: &BTreeMap<String, Value>, name: &'a str) -> &'a str {
    let mut at = Some(name);
    while let Some(name) = at {
        if zone.get(name).is_some_and(|entry| entry["NS"].is_array()) {
            return name;
        }
        at = parent(name);
    }
    "."
}

fn name_of(kind: u16) -> &'static str {
    match kind {
        A => "A",
        NS => "NS",
        CNAME => "CNAME",
        AAAA => "AAAA",
        CAA => "CAA",
        _ => "",
    }
}

fn records(owner: &str, kind: u16, values: &Value) -> Vec<Record> {
    let values = values.as_array().map_or(&[][..], Vec::as_slice);
    let data = |value: &str| match kind {
        A => value.parse::<std::net::Ipv4Addr>().unwrap().octets().to_vec(),
        AAAA => value.parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec(),
        CAA => {
            let mut words = value.splitn(3, ' ');
            let (flags, tag) = (words.next().unwrap(), words.next().unwrap());
            let head = [flags.parse().unwrap(), tag.len() as u8];
            [&head[..], tag.as_bytes(), words.next().unwrap_or_default().as_bytes()].concat()
        }
        _ => labels(value),
    };
    let record = |value: &Value| Record {
        owner: owner.into(),
        kind,
        data: data(value.as_str().unwrap()),
    };
    values.iter().map(record).collect()
}

fn soa(zone: &str) -> Record {
    let numbers = [1_u32, 60, 60, 600, 5].map(u32::to_be_bytes).concat();
    Record {
        owner: zone.into(),
        kind: SOA,
        data: [labels("ns1.example."), labels("admin.example."), numbers].concat(),
    }
}

fn labels(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|l| !l.is_empty()) {
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

fn write(id: u16, name: &str, kind: u16, message: &Message, pointer_loop: bool) -> Vec<u8> {
    let counts = [1, message.answer.len() as u16, message.authority.len() as u16, 0];
    let mut out = [id, message.flags]
        .iter()
        .chain(&counts)
        .flat_map(|w| w.to_be_bytes())
        .collect::<Vec<u8>>();
    out.extend(labels(name));
    out.extend([kind.to_be_bytes(), 1_u16.to_be_bytes()].concat());
    for record in message.answer.iter().chain(&message.authority) {
        let here = out.len() as u16;
        match record.owner == name {
            _ if pointer_loop => out.extend((0xc000 | here).to_be_bytes()),
            true => out.extend(0xc00c_u16.to_be_bytes()), // the name in the question
            false => out.extend(labels(&record.owner)),
        }
        out.extend([record.kind.to_be_bytes(), 1_u16.to_be_bytes()].concat());
        out.extend(300_u32.to_be_bytes());
        out.extend((record.data.len() as u16).to_be_bytes());
        out.extend(&record.data);
    }
    out
}
