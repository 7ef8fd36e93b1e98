//! E-mail by one server (a relay or a provider's submission port). Each recipient gets a separate mail, so one invalid
//! address does not affect the others. `Message-ID` is equal for all attempts, so most programs show duplicates once.

use super::channel::{Channel, Outcome, Secrets, Sending, pin, text_of};
use super::telegram::texts;
use super::text::{Message, cut_units};
use crate::base::clock::{self, DAY, Duration, HOUR, MINUTE, SECOND};
use crate::base::host::{self, Host};
use crate::base::sys;
use crate::base::text::{base64, one_line};
use crate::base::url::Url;
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::lang::Lang;
use crate::net::dial::Security;
use crate::net::smtp::{self, Encryption, Letter};
use crate::net::tls::Pin;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The channel. RFC 5321 §4.5.3.2 has longer limits than an alert should wait; a greylisting server answers within
/// seconds.
pub const CHANNEL: Channel = Channel {
    name: "email",
    secrets: &["password"],
    needs: |config| match config.get("username").and_then(Value::as_str) {
        None | Some("") => &[],
        Some(_) => &["password"],
    },
    read,
    check: |_, text| match text.contains(['\r', '\n', '\0']) {
        true => Err("A password has no line breaks. Paste it without the end of the line.".into()),
        false => Ok(()),
    },
    home: |config, _| {
        let port = config.get("port").and_then(Value::as_u64).unwrap_or_default();
        let at = format!("{}:{port} {}", text_of(config, "host"), text_of(config, "tls_pin"));
        (at, !text_of(config, "username").is_empty())
    },
    recipients: |config| texts(config, "to"),
    may_gather: |_| true,
    pace_ms: 1_000,
    deadline: Duration::from_secs(30),
    send,
};

/// Maximum recipients; more need a mailing list.
const RECIPIENTS_MAX: usize = 20;

/// Fields of the channel.
pub const PARAMS: &[Param] = &[
    param::text("host", 4_096, "The mail server."),
    param::choice("encryption", &["starttls", "tls", "none"], "How it is talked to."),
    param::number("port", 1..=65535, "Where it listens."),
    param::text("from", 4_096, "The sender's address."),
    param::list("to", RECIPIENTS_MAX, 254, "Addresses."),
];

#[derive(Serialize, Deserialize)]
struct Config {
    host: String,
    port: u16,
    /// `tls`, `starttls` or `none`.
    encryption: String,
    /// Empty: no login.
    username: String,
    from: String,
    to: Vec<String>,
    tls_pin: String,
}

fn read(i: &mut Input, base: &Value, _: &mut Secrets) -> Value {
    let text = |name: &str, usual: &str| base.get(name).and_then(Value::as_str).unwrap_or(usual).to_string();
    let encryption = (i.choice("encryption")).map_or_else(|| text("encryption", "starttls"), String::from);
    let usual_port = match encryption.as_str() {
        "tls" => 465,
        "starttls" => 587,
        _ => 25,
    };
    let port = i.number("port").map(|n| n as u16);
    let kept = base
        .get("port")
        .and_then(Value::as_u64)
        .and_then(|n| u16::try_from(n).ok());
    let to = match i.list("to") {
        Some(given) => {
            let read: Result<Vec<_>, _> = given.iter().map(|a| address(a)).collect();
            let mut to = read.unwrap_or_else(|say| {
                i.wrong("to", "bad_address", say);
                Vec::new()
            });
            let mut seen = std::collections::HashSet::new();
            to.retain(|a| seen.insert(a.to_lowercase()));
            to
        }
        None => texts(base, "to"),
    };
    let host = i.parse("host", "bad_host", |t| Host::parse(t).map(|h| h.to_string()));
    let from = i.parse("from", "bad_address", address);
    let username = i.parse("username", "bad_user", |t| {
        match t.len() <= 200 && !t.contains(['\r', '\n', '\0']) {
            true => Ok(t.to_string()),
            false => Err("A user name has at most 200 bytes on one line.".into()),
        }
    });
    let config = Config {
        host: host.unwrap_or_else(|| text("host", "")),
        port: port.or(kept).unwrap_or(usual_port),
        encryption,
        username: username.unwrap_or_else(|| text("username", "")),
        from: from.unwrap_or_else(|| text("from", "")),
        to,
        tls_pin: (i.parse("tls_pin", "bad_pin", pin)).unwrap_or_else(|| text("tls_pin", "")),
    };
    for (field, missing, say) in [
        (
            "host",
            config.host.is_empty(),
            "Give the mail server's name or address.",
        ),
        (
            "from",
            config.from.is_empty(),
            "Give the address that the mails come from.",
        ),
        ("to", config.to.is_empty(), "Give at least one address to send to."),
    ] {
        if missing && !i.has_error(field) {
            i.wrong(field, "required", say);
        }
    }
    if config.encryption == "none" && !config.username.is_empty() {
        let say =
            "A user name and a password are sent under TLS only. Choose STARTTLS or TLS, or leave the user name empty.";
        i.wrong("encryption", "login_needs_tls", say);
    }
    json!(config)
}

/// An address for envelope and header, its domain in its own script. The error is a sentence.
fn address(text: &str) -> Result<String, String> {
    let letter = |c: char| match c.is_ascii() {
        true => c.is_ascii_alphanumeric() || "._%+-'=/!#$&*?^`{|}~".contains(c),
        false => c.is_alphanumeric(),
    };
    let local = |l: &str| {
        (1..=64).contains(&l.len())
            && l.chars().all(letter)
            && !l.starts_with('.')
            && !l.ends_with('.')
            && !l.contains("..")
    };
    let domain = |d: &str| Host::parse(d).ok().filter(|h| h.ip().is_none());
    match text.split_once('@').map(|(l, d)| (l, domain(d))) {
        Some((l, Some(d))) if local(l) && l.len() + d.as_str().len() < 254 => Ok(format!("{l}@{}", d.shown())),
        _ => Err(format!("“{}” is not an e-mail address.", one_line(text, 60))),
    }
}

/// The address with its domain as A-labels.
fn on_the_wire(address: &str) -> Result<String, Outcome> {
    let (local, domain) = address.split_once('@').unwrap_or_default();
    let domain = Host::parse(domain).map_err(Outcome::Never)?;
    Ok(format!("{local}@{domain}"))
}

/// Name for EHLO: the setting, else our public URL, else this machine's full name. Without any, the connection's
/// address is used (RFC 5321 §4.1.4).
fn own_name(s: &Sending) -> Option<String> {
    let public = || Url::parse(s.public_url).ok().map(|url| url.host);
    let public = || public().filter(|host| host.ip().is_some() || host.as_str().contains('.'));
    let machine = || {
        let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        host::full_name(&sys::hostname(), &hosts)
    };
    let host = Host::parse(s.mail_name).ok().or_else(public).or_else(machine)?;
    Some(host.ip().map_or_else(|| host.to_string(), smtp::literal))
}

fn send(s: &Sending) -> Outcome {
    attempt(s).unwrap_or_else(|outcome| outcome)
}

fn attempt(s: &Sending) -> Result<Outcome, Outcome> {
    let config: Config = s.config()?;
    let host = Host::parse(&config.host).map_err(Outcome::Never)?;
    let (encryption, security) = match (config.encryption.as_str(), Pin::parse(&config.tls_pin)) {
        ("none", _) => (Encryption::Plain, Security::Plain),
        (when, pin) => {
            let when = if when == "tls" {
                Encryption::Implicit
            } else {
                Encryption::StartTls
            };
            (when, pin.map_or(Security::Tls, Security::Pinned))
        }
    };
    let login = match config.username.as_str() {
        "" => None,
        user => Some((user, s.secret("password")?)),
    };
    let (from, to) = (on_the_wire(&config.from)?, on_the_wire(s.recipient)?);
    let hello = own_name(s);
    let at = clock::civil(s.now_s.div_euclid(DAY / SECOND));
    let message = compose(&Mail {
        from: &from,
        to: &to,
        lang: s.lang,
        key: s.key,
        thread: s.thread,
        date: &date(at, s.now_s),
        message: s.message,
    });
    let letter = Letter {
        encryption,
        hello: hello.as_deref(),
        machine: &sys::hostname(),
        login,
        from: &from,
        to: &to,
        message: &message,
    };
    smtp::send(&s.call(&host, config.port, security), &letter).map_or_else(
        |refused| {
            let doubt = match refused.is_unknown {
                true => " It may have arrived all the same, and will come twice then.",
                false => "",
            };
            let why = format!("{}{doubt}", refused.error.say);
            Err(match (refused.is_final, refused.error.code) {
                (true, _) => Outcome::Never(why),
                (false, "address_refused") => super::channel::failed(&refused.error),
                (false, _) => Outcome::Later { why, wait_s: None },
            })
        },
        |said| Ok(Outcome::Sent(said)),
    )
}

/// Parts of a mail.
pub struct Mail<'a> {
    /// Sender address.
    pub from: &'a str,
    /// Recipient address.
    pub to: &'a str,
    /// For `Content-Language`.
    pub lang: Lang,
    /// For `Message-ID`.
    pub key: &'a str,
    /// Key of the mail that this one replies to, for threads.
    pub thread: Option<&'a str>,
    /// Date in the form of RFC 5322 §3.3.
    pub date: &'a str,
    /// Content.
    pub message: &'a Message,
}

/// Headers and body with lines of at most 76 characters: non-ASCII text is in encoded words (RFC 2047) and base64. Only
/// addresses may be non-ASCII; then RFC 6532 applies to the whole mail.
pub fn compose(mail: &Mail) -> String {
    let m = mail.message;
    // The subject is cut; the body has the rest.
    let subject = cut_units(&format!("[{}] {}", m.tag, m.title), 150);
    let domain = mail.from.rsplit('@').next().unwrap_or("localhost");
    let mut out = String::new();
    let id = |key: &str| format!("<{key}@{domain}>");
    let thread = mail.thread.map(id);
    let thread = ["In-Reply-To", "References"]
        .into_iter()
        .filter_map(|name| Some((name, thread.clone()?)));
    let headers = [
        ("From", format!("Lamplighter <{}>", mail.from)),
        ("To", format!("<{}>", mail.to)),
        ("Subject", encoded(&subject)),
        ("Date", mail.date.to_string()),
        ("Message-ID", id(mail.key)),
        ("MIME-Version", "1.0".into()),
        ("Content-Type", "text/plain; charset=utf-8".into()),
        ("Content-Language", mail.lang.tag().into()),
        ("Content-Transfer-Encoding", "base64".into()),
        // RFC 3834: no out-of-office answers.
        ("Auto-Submitted", "auto-generated".into()),
        ("X-Auto-Response-Suppress", "All".into()),
    ];
    for (name, value) in headers.into_iter().chain(thread) {
        // Text of people or servers cannot begin a header line here.
        let value: String = value.chars().filter(|c| !c.is_control() || *c == '\n').collect();
        out.push_str(&format!("{name}: {}\r\n", value.replace('\n', "\r\n ")));
    }
    out.push_str("\r\n");
    let body = m.plain().replace('\n', "\r\n") + "\r\n";
    for line in base64(body.as_bytes()).as_bytes().chunks(76) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push_str("\r\n");
    }
    out
}

/// A header value: unchanged if it is short printable ASCII, else encoded words of at most 75 characters, folded
/// between them. The text has no control characters.
fn encoded(text: &str) -> String {
    let plain = |c: char| c == ' ' || c.is_ascii_graphic();
    if text.len() <= 60 && text.chars().all(plain) && !text.contains("=?") {
        return text.into();
    }
    // A line has 76 characters (RFC 2047 §2); less `Subject: `, `=?utf-8?B?` and `?=` that is 55: 39 bytes make 52.
    const BYTES_MAX: usize = 39;
    let mut words = Vec::new();
    let mut word = String::new();
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if word.len() + c.len_utf8() > BYTES_MAX {
            words.push(std::mem::take(&mut word)); // never inside a character (RFC 2047 §5)
        }
        word.push(c);
    }
    words.push(word);
    let words: Vec<_> = words
        .iter()
        .map(|w| format!("=?utf-8?B?{}?=", base64(w.as_bytes())))
        .collect();
    words.join("\n")
}

fn date((year, month, day): (i64, u32, u32), now_s: i64) -> String {
    let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]; // 1 January 1970 was a Thursday
    let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let ms = now_s * SECOND;
    let time = ms.rem_euclid(DAY);
    format!(
        "{}, {day:02} {} {year} {:02}:{:02}:{:02} +0000",
        days[ms.div_euclid(DAY).rem_euclid(7) as usize],
        months[month as usize - 1],
        time / HOUR,
        time / MINUTE % 60,
        time / SECOND % 60,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::text::unbase64;

    fn mail(title: &str, evidence: &str) -> String {
        let message = Message {
            mark: "🔴",
            tag: "CRITICAL",
            title: title.into(),
            lines: vec!["Since then.".into()],
            evidence: vec![evidence.into()],
            link: None,
        };
        compose(&Mail {
            from: "lamp@example.org",
            to: "ops@example.org",
            lang: Lang::Ru,
            key: "k",
            thread: None,
            date: "Sat, 21 Nov 2026 10:39:22 +0000",
            message: &message,
        })
    }

    #[test]
    fn a_subject_in_any_script_is_read_back_whole() {
        let title = "Сервер «web-01» не горит: Glances не отвечает 🚨 и ещё очень много слов, чтобы хватило на строки";
        let text = mail(title, "x");
        assert!(text.is_ascii() && text.lines().all(|l| l.len() <= 76), "{text}");
        let subject = text
            .split("Subject: ")
            .nth(1)
            .unwrap()
            .split("\r\nDate")
            .next()
            .unwrap();
        let read: Vec<u8> = (subject.split("\r\n "))
            .flat_map(|word| {
                assert!(word.len() <= 75, "{word}");
                unbase64(word.strip_prefix("=?utf-8?B?").unwrap().strip_suffix("?=").unwrap()).unwrap()
            })
            .collect();
        assert_eq!(String::from_utf8(read).unwrap(), format!("[CRITICAL] {title}"));
    }

    #[test]
    fn no_word_of_an_alert_becomes_a_header() {
        for evil in [
            "x\r\nBcc: thief@example.net",
            "x\nBcc: t@example.net\n\nbody",
            "x\rBcc: t@e",
            "=?utf-8?Q?x=0D=0ABcc?=",
        ] {
            let text = mail(evil, evil);
            let head = text.split("\r\n\r\n").next().unwrap();
            let names: Vec<_> = head
                .split("\r\n")
                .filter(|l| !l.starts_with(' '))
                .map(|l| l.split(':').next().unwrap())
                .collect();
            assert_eq!(names.len(), 11, "{head}");
            assert!(!names.contains(&"Bcc") && !head.contains("=?utf-8?Q?x"), "{head}");
        }
    }

    #[test]
    fn the_date_is_that_of_rfc_5322() {
        assert_eq!(date((2026, 11, 21), 1_795_257_562), "Sat, 21 Nov 2026 10:39:22 +0000");
    }
}
