//! Every reader of what comes from outside, with made-up input: good samples that are cut, mixed and changed. Nothing panics,
//! nothing takes long, and what is read means what it says. Those behind a socket have stories of their own: heads, cookies,
//! tokens and bodies of requests in `edge.rs` and `admission.rs`, answers of name servers in `dns.rs`, certificates in
//! `certificates.rs`, sites in `site.rs`, audited texts in `notifications.rs`.

use crate::{common, fake};

use common::*;
use fake::data;
use lamplighter::access::scope::Grant;
use lamplighter::audit::Head;
use lamplighter::backup;
use lamplighter::backup::age::Recipient;
use lamplighter::base::config::Config;
use lamplighter::base::exposition::{Kind, Text};
use lamplighter::base::host::{Cidr, Guest, Host, UserName};
use lamplighter::base::idn::DomainName;
use lamplighter::base::lines::{self, Lines};
use lamplighter::base::secret::Secret;
use lamplighter::base::url::Url;
use lamplighter::base::zone::Zone;
use lamplighter::base::{nginx, pem, shell, text};
use lamplighter::features::fleet::metrics;
use lamplighter::form::body;
use lamplighter::net::{dns, x509};
use lamplighter::schedule::cron::Cron;
use lamplighter::ssh::{hostkey, keys};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::{Duration, Instant};

/// Longest time for one input, on a loaded machine and without optimisation.
const LONG: Duration = Duration::from_secs(2);

/// A sample that was changed somewhere.
fn spoiled(dice: &mut Dice, samples: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = samples[dice.roll(samples.len())].clone();
    for _ in 0..dice.roll(5) {
        let at = dice.roll(bytes.len() + 1);
        match dice.roll(7) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, dice.roll(256) as u8),
            2 => {
                let odd: [&[u8]; 10] = [
                    b"\0",
                    b"\r\n",
                    b"\"",
                    b"\\",
                    b"{",
                    b"[",
                    b"9999999999999999999999",
                    b"-",
                    "\u{202e}\u{fdfa}".as_bytes(),
                    b"\xff\xfe",
                ];
                let odd = odd[dice.roll(odd.len())].repeat(1 + dice.roll(40) * dice.roll(2));
                bytes.splice(at..at, odd);
            }
            3 => {
                let other = &samples[dice.roll(samples.len())];
                let from = dice.roll(other.len() + 1);
                bytes.splice(at.., other[from..].iter().copied());
            }
            4 => {
                let end = (at + dice.roll(20)).min(bytes.len());
                bytes.drain(at..end);
            }
            5 => {
                let part = bytes[at..(at + dice.roll(200)).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
            _ if at < bytes.len() => bytes[at] ^= 1 << dice.roll(8),
            _ => {}
        }
    }
    bytes
}

/// What is read is written as something that reads as the same.
fn comes_back<T: Display, E>(name: &str, text: &str, parse: impl Fn(&str) -> Result<T, E>) -> bool {
    let Ok(read) = parse(text) else { return false };
    let written = read.to_string();
    let again = parse(&written).map(|again| again.to_string());
    assert!(
        again.is_ok_and(|again| again == written),
        "{name}: {text:?} is written as {written:?}"
    );
    true
}

type Reads<'a> = Box<dyn Fn(&[u8]) -> bool + 'a>;

/// A reader: its name, good samples, and whether it took the input.
struct Reader<'a> {
    name: &'static str,
    samples: Vec<Vec<u8>>,
    /// How many inputs to how many of others: what is slow gets fewer.
    share: usize,
    reads: Reads<'a>,
}

fn reader<'a>(name: &'static str, samples: &[&str], reads: impl Fn(&[u8]) -> bool + 'a) -> Reader<'a> {
    Reader {
        name,
        samples: samples.iter().map(|sample| sample.as_bytes().to_vec()).collect(),
        share: 1,
        reads: Box::new(reads),
    }
}

/// One that reads text.
fn of_text<'a>(name: &'static str, samples: &[&str], reads: impl Fn(&str) -> bool + 'a) -> Reader<'a> {
    reader(name, samples, move |bytes| reads(&String::from_utf8_lossy(bytes)))
}

fn of_files<'a>(name: &'static str, folder: &str, end: &str, reads: impl Fn(&[u8]) -> bool + 'a) -> Reader<'a> {
    let folder = format!("{}/tests/data/{folder}", env!("CARGO_MANIFEST_DIR"));
    let mut paths = files(folder.as_ref());
    paths.retain(|path| path.to_str().unwrap().ends_with(end));
    paths.sort();
    assert!(!paths.is_empty(), "{folder}");
    Reader {
        name,
        samples: paths.iter().map(|path| fs::read(path).unwrap()).collect(),
        share: 8,
        reads: Box::new(reads),
    }
}

#[test]
fn whatever_is_read_does_no_harm() {
    let scratch = Folder::new();
    // A real archive, plain and for a passphrase.
    let house = House::with(Processes::ApiOnly, &[]);
    let plain = scratch.path().join("plain");
    let sealed = scratch.path().join("sealed");
    let passphrase = scratch.file("passphrase", "a long night at sea");
    fs::set_permissions(&passphrase, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    for (to, more) in [
        (&plain, vec![]),
        (&sealed, vec!["--passphrase-file", passphrase.to_str().unwrap()]),
    ] {
        let made = run(&[
            vec!["backup", "--data-dir", house.dir(), "--out", to.to_str().unwrap()],
            more,
        ]
        .concat());
        assert!(made.status.success(), "{}", said(&made));
    }
    let admin = house.admin();
    let document = admin.get("/api/fleet").text();
    let unpacks =
        |bytes: &[u8]| backup::unpack(bytes, Some(&Secret::new("a long night at sea")), scratch.path()).is_ok();
    let key_line = Door::new(1).key_line();
    let configuration = scratch.path().join("configuration");

    let readers = vec![
        of_text(
            "host",
            &["web-1.example", "192.0.2.1", "[2001:db8::1]", "fe80::1%eth0"],
            |s| comes_back("host", s, Host::parse),
        ),
        of_text(
            "address range",
            &["192.0.2.0/24", "2001:db8::/32", "::1", "::ffff:1.2.3.4/100"],
            |s| comes_back("range", s, Cidr::parse),
        ),
        of_text("user name", &["root", "_deploy-1", "a.b"], |s| {
            UserName::parse(s).is_ok()
        }),
        of_text("guest", &["controller", "192.0.2.0/24"], |s| Guest::parse(s).is_ok()),
        of_text(
            "url",
            &[
                "https://a.example:8443/x?y=1",
                "http://[::1]/",
                "https://u:p@a.example/",
            ],
            |s| comes_back("url", s, Url::parse),
        ),
        of_text(
            "domain",
            &["магазин.example", "xn--80aswg.xn--p1ai", "*.a.example", "straße.de"],
            |s| comes_back("domain", s, DomainName::parse),
        ),
        of_text(
            "grant",
            &["domains:deploy@group:3", "servers:read", "*:read@server:9"],
            |s| comes_back("grant", s, |s| Grant::parse(s).ok_or(())),
        ),
        of_text(
            "audit head",
            &["1234:6f0a6f0a6f0a6f0a6f0a6f0a6f0a6f0a6f0a6f0a6f0a6f0a6f0a6f0a6f0a6f0a"],
            |s| comes_back("head", s, |s| Head::parse(s).ok_or(())),
        ),
        of_text("cron", &["*/5 0-6,22 1 jan-mar mon", "@daily", "30 3 * * *"], |s| {
            Cron::parse(s).is_ok()
        }),
        of_text(
            "name servers",
            &["192.0.2.53", "192.0.2.53:5353 [2001:db8::53]:53", "::1,1.1.1.1"],
            |s| dns::parse_servers(s).is_ok(),
        ),
        of_text("percent", &["a%20b+c", "%d0%b9", "%zz"], |s| {
            text::percent_decode(s, true).is_some()
        }),
        of_text("base64", &["aGVsbG8=", "____", "aGVs"], |s| text::unbase64(s).is_some()),
        of_text("hex", &["00ff", "6f0a"], |s| text::unhex(s).is_some()),
        of_text("query", &["a=1&b=%20c+d&e", "limit=5&q=a%26b"], |s| {
            body::pairs(s).is_some()
        }),
        reader("form", &["login=a&password=b%20c&_csrf=x"], |b| body::form(b).is_ok()),
        reader(
            "json",
            &[r#"{"name":"web","list":[1,2.5e3,null,{"a":"\u00e9\ud83d\ude00"}],"ok":true}"#],
            |b| body::json(Some("application/json"), b).is_ok(),
        ),
        Reader {
            name: "document",
            samples: vec![document.into_bytes()],
            share: 20,
            reads: Box::new(|b| {
                let answer = admin.send("POST", "/api/fleet?mode=plan", Some(("application/json", b)));
                assert!(answer.status < 500, "{}", answer.text());
                answer.status == 200
            }),
        },
        of_text(
            "age recipient",
            &["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"],
            |s| Recipient::parse(s).is_ok(),
        ),
        of_text(
            "host key",
            &[
                &key_line,
                "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQD comment",
                "|1|aaa=|bbb= ssh-ed25519 AAAA",
            ],
            |s| hostkey::parse(s).is_ok(),
        ),
        reader(
            "remote output",
            &[
                "\u{1b}[31mred\u{1b}[0m\r\n",
                "50 %\r60 %\r\n\u{1b}]0;title\u{7}ok\n",
                "a\tb\u{202e}c\u{9b}2J\n",
            ],
            |bytes| {
                let mut taken = Vec::new();
                let mut lines = Lines::new(4_096);
                let half = bytes.len() / 2;
                lines.push(&bytes[..half], &mut |line| taken.push(line));
                lines.push(&bytes[half..], &mut |line| taken.push(line));
                lines.end(&mut |line| taken.push(line));
                for line in taken.iter().map(|line| lines::plain(line)) {
                    // Colours alone may stay: ESC [ digits and semicolons m.
                    for part in line.split('\u{1b}').skip(1) {
                        let inside = part.strip_prefix('[').and_then(|rest| rest.split_once('m'));
                        let is_colour = inside
                            .is_some_and(|(n, _)| n.bytes().all(|b| b.is_ascii_digit() || b == b';' || b == b':'));
                        assert!(is_colour, "{line:?}");
                    }
                    let is_odd = |c: char| {
                        c.is_control() && !matches!(c, '\t' | '\u{1b}') || matches!(c, '\u{202a}'..='\u{202e}')
                    };
                    assert!(!line.contains(is_odd), "{line:?}");
                }
                !taken.is_empty()
            },
        ),
        reader(
            "configuration",
            &[
                "# a remark\nLAMPLIGHTER_DATA_DIR=/var/lib/x\nLAMPLIGHTER_LISTEN=127.0.0.1:8080,[::1]:80\nLAMPLIGHTER_TRUSTED_PROXIES=\"10.0.0.0/8\"\n",
                "LAMPLIGHTER_WORKERS=4\nLAMPLIGHTER_ALLOWED_HOSTS=a.example\n",
            ],
            |b| {
                fs::write(&configuration, b).unwrap();
                Config::load(&[], Some(&configuration), &BTreeMap::new()).is_ok()
            },
        ),
        of_files("nginx", "nginx", "", |b| {
            nginx::parse(&String::from_utf8_lossy(b)).is_ok()
        }),
        of_files("zone", "zones", "", |b| {
            let zone = Zone::parse("Made/Up", b);
            if let Some(zone) = &zone {
                for at in [i64::MIN / 4, -1, 0, 1_795_000_000_000, i64::MAX / 4] {
                    let _ = (zone.offset(at), zone.instants(at));
                }
            }
            zone.is_some()
        }),
        of_files("glances", "glances", "all.json", |b| metrics::parse(b).is_ok()),
        of_files("private key", "ssh-keys", "", |b| keys::clean(b).is_ok()),
        of_files("pem", "certs", ".pem", |b| {
            pem::blocks(&String::from_utf8_lossy(b), 20).is_ok()
        }),
        Reader {
            name: "certificate",
            samples: pem::blocks(&String::from_utf8(data("certs/ec.pem")).unwrap(), 20)
                .unwrap()
                .iter()
                .map(|b| b.der.reveal_for("a test").to_vec())
                .collect(),
            share: 1,
            reads: Box::new(|b| x509::Certificate::parse(b).is_some()),
        },
        Reader {
            name: "archive",
            samples: vec![fs::read(&plain).unwrap()],
            share: 150,
            reads: Box::new(unpacks),
        },
        Reader {
            name: "sealed archive",
            samples: vec![fs::read(&sealed).unwrap()],
            share: 300,
            reads: Box::new(unpacks),
        },
    ];
    let mut dice = Dice::new(51);
    for reader in &readers {
        let (mut inputs, mut taken, mut slowest) = (0, 0, Duration::ZERO);
        let samples = reader.samples.iter().filter(|sample| (reader.reads)(sample)).count();
        assert!(samples > 0, "{}: no sample is good", reader.name);
        for _ in 0..rounds(3_000).div_ceil(reader.share) {
            let bytes = spoiled(&mut dice, &reader.samples);
            let began = Instant::now();
            let read = catch_unwind(AssertUnwindSafe(|| (reader.reads)(&bytes)));
            slowest = slowest.max(began.elapsed());
            let is_read =
                read.unwrap_or_else(|_| panic!("{}: {}", reader.name, bytes[..bytes.len().min(2_000)].escape_ascii()));
            inputs += 1;
            taken += usize::from(is_read);
        }
        eprintln!(
            "{:<16} {inputs:>7} inputs, {taken:>7} taken, the slowest took {slowest:?}",
            reader.name
        );
        assert!(slowest < LONG, "{}: {slowest:?}", reader.name);
    }
    assert_eq!(files(scratch.path()).len(), 4, "what is unpacked in vain is removed");
}

#[test]
fn a_quoted_value_is_one_word_for_every_shell_and_a_label_one_line() {
    let mut dice = Dice::new(52);
    let samples: Vec<Vec<u8>> = [
        "it's",
        "$(id)",
        "`id`",
        "a b\\",
        "-n",
        "'; rm x; '",
        "\u{1b}[0m",
        "é\u{202e}",
        "!x",
        "~root",
        "*",
    ]
    .map(|s| s.as_bytes().to_vec())
    .into();
    let made = (0..rounds(500)).map(|_| String::from_utf8_lossy(&spoiled(&mut dice, &samples)).into_owned());
    let values: Vec<String> = made.collect();
    let (good, refused): (Vec<_>, Vec<_>) = values.iter().partition(|value| shell::shq(value).is_ok());
    assert!(
        refused.iter().all(|value| value.contains(['\0', '\r', '\n'])),
        "{refused:?}"
    );
    for some in good.chunks(200) {
        let quoted: Vec<String> = some.iter().map(|value| shell::shq(value).unwrap()).collect();
        let script = format!("printf '%s\\0' {}", quoted.join(" "));
        let out = Command::new("sh").args(["-c", &script]).output().unwrap();
        let words: Vec<&[u8]> = out.stdout.split(|b| *b == 0).collect();
        let wanted: Vec<&[u8]> = some.iter().map(|value| value.as_bytes()).chain([&b""[..]]).collect();
        assert!(words == wanted, "{script}");
    }
    for value in &values {
        let mut page = Text(String::new());
        page.family("x", Kind::Gauge, value);
        page.value("x", &[("label", value)], 1.0);
        let text = page.0;
        assert_eq!(text.lines().count(), 3, "{value:?}: {text:?}");
        let line = text.lines().last().unwrap();
        assert!(line.starts_with("x{label=\"") && line.ends_with("\"} 1"), "{line:?}");
    }
}
