//! SMTP submission (RFC 5321) of one message: EHLO, TLS, login, envelope, text. A login is sent over TLS only; where
//! TLS is required and not available, nothing is sent. Replies are parsed strictly: bounded lines, one reply per
//! command, and nothing received before the TLS handshake counts after it.

use super::dial::{self, Call, Security, Wire};
use crate::base::error::{Error, Kind};
use crate::base::secret::Secret;
use crate::base::text::{base64, one_line};
use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;

/// RFC 5321 §4.5.3.1.5 allows 512 bytes; some servers send more.
const LINE_MAX: usize = 2_048;
/// Lines per reply: greetings are the longest.
const LINES_MAX: usize = 64;
/// RFC 5322 §2.1.1, without the line's end.
const TEXT_LINE_MAX: usize = 998;

/// When TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// At once (port 465).
    Implicit,
    /// By STARTTLS, which the server must offer (port 587).
    StartTls,
    /// No TLS; then no login.
    Plain,
}

/// One message and its mail server.
pub struct Letter<'a> {
    /// When TLS begins. `call.security` verifies the server and must not be [`Security::Plain`] with TLS.
    pub encryption: Encryption,
    /// Our name in EHLO: a full host name or an address literal. None: the connection's own address.
    pub hello: Option<&'a str>,
    /// Host name of this machine: used instead of a private address.
    pub machine: &'a str,
    /// User name and password.
    pub login: Option<(&'a str, &'a Secret)>,
    /// Envelope sender. Letters beyond ASCII before the `@` need a server that offers SMTPUTF8.
    pub from: &'a str,
    /// Envelope recipient; as above.
    pub to: &'a str,
    /// Headers and body; lines end with CRLF, LF or CR.
    pub message: &'a str,
}

/// A failed delivery.
#[derive(Debug)]
pub struct Refused {
    /// What happened, in words.
    pub error: Error,
    /// Permanent: a 5xx reply.
    pub is_final: bool,
    /// Everything was sent but no reply came: the message may be delivered, and a retry may duplicate it.
    pub is_unknown: bool,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        Refused {
            error,
            is_final: false,
            is_unknown: false,
        }
    }
}

type Result<T> = std::result::Result<T, Refused>;

/// Sends the message; returns the server's last reply. Codes of errors: those of [`dial::dial`], `smtp_not_spoken`,
/// `smtp_no_tls`, `smtp_no_login`, `smtp_login`, `smtp_refused`, `smtp_injected`, `smtp_bad_address`, `smtp_no_utf8`.
pub fn send(call: &Call, letter: &Letter) -> Result<String> {
    if [letter.from, letter.to].iter().any(|a| !is_address(a)) || !letter.hello.is_none_or(is_word) {
        return Err(final_error(
            "smtp_bad_address",
            "This address cannot be sent to a mail server.",
        ));
    }
    let secure_at_once = letter.encryption == Encryption::Implicit;
    let first = Call {
        security: if secure_at_once { call.security } else { Security::Plain },
        ..*call
    };
    let wire = dial::dial(&first)?;
    let mut talk = Conversation {
        call,
        wire,
        read: Vec::new(),
    };
    let own = talk
        .wire
        .own_address()
        .filter(|ip| !ip.is_loopback() || !is_word(letter.machine));
    let own = own.map_or_else(|| letter.machine.to_string(), literal);
    let hello = letter.hello.unwrap_or(&own);
    talk.expect("greeting", &[220])?;
    let mut offers = talk.hello(hello)?;
    if letter.encryption == Encryption::StartTls {
        if !offers.has("STARTTLS") {
            let say = format!(
                "{} offers no STARTTLS, so nothing was sent. Is it the right port, or is the offer removed on the way?",
                talk.whom()
            );
            return Err(Error::new(Kind::Upstream, "smtp_no_tls", say).into());
        }
        talk.command("STARTTLS", "STARTTLS", &[220])?;
        talk = talk.secure()?;
        offers = talk.hello(hello)?; // RFC 3207 §4.2: capabilities from before are discarded
    }
    if let Some((user, password)) = letter.login {
        if letter.encryption == Encryption::Plain {
            return Err(final_error("smtp_no_tls", "A login is sent under TLS only."));
        }
        talk.sign_in(&offers, user, password)?;
    }
    let beyond = [letter.to, letter.from].into_iter().find(|a| !a.is_ascii());
    if let Some(address) = beyond.filter(|_| !offers.has("SMTPUTF8")) {
        let say = format!(
            "{} takes no address with letters beyond ASCII before the @ (it offers no SMTPUTF8): {address}. Nothing was sent.",
            talk.whom()
        );
        return Err(final_error("smtp_no_utf8", &say));
    }
    let message = stuffed(letter.message, beyond.is_some())?;
    let size = match offers.has("SIZE") {
        true => format!(" SIZE={}", message.len()),
        false => String::new(),
    };
    // RFC 6531 §3.1: SMTPUTF8 implies 8BITMIME.
    let utf8 = if beyond.is_some() {
        " BODY=8BITMIME SMTPUTF8"
    } else {
        ""
    };
    talk.command("MAIL FROM", &format!("MAIL FROM:<{}>{size}{utf8}", letter.from), &[250])?;
    talk.command("RCPT TO", &format!("RCPT TO:<{}>", letter.to), &[250, 251, 252])?;
    talk.command("DATA", "DATA", &[354])?;
    talk.write(message.as_bytes())?;
    let taken = talk.reply().and_then(|reply| talk.check("the message", reply, &[250]));
    let taken = taken.map_err(|refused| Refused {
        // RFC 5321 §4.5.3.2.6: a lost link after the last dot leaves it open.
        is_unknown: !refused.error.code.starts_with("smtp_"),
        ..refused
    })?;
    let _ = talk.write(b"QUIT\r\n"); // the message is accepted; the reply to QUIT does not matter
    Ok(taken.text())
}

/// `a@b` without characters that would end the argument; any script before the `@`.
fn is_address(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !"<>()[]\\,;:\"@".contains(c);
    let parts = text
        .split_once('@')
        .filter(|(local, host)| !local.is_empty() && !host.is_empty());
    text.len() <= 254
        && parts.is_some_and(|(local, host)| {
            local.chars().all(|c| plain(c) || !c.is_ascii() && c.is_alphanumeric()) && host.chars().all(plain)
        })
}

/// Address literal for EHLO (RFC 5321 §4.1.3).
pub fn literal(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("[{ip}]"),
        IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
    }
}

fn is_word(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b))
}

/// Wire form: CRLF everywhere (a lone CR or LF allows SMTP smuggling), dots doubled, a final dot.
fn stuffed(message: &str, utf8: bool) -> Result<String> {
    let unix = message.replace("\r\n", "\n").replace('\r', "\n");
    let mut out = String::with_capacity(unix.len() + unix.len() / 32);
    for line in unix.strip_suffix('\n').unwrap_or(&unix).split('\n') {
        if line.len() > TEXT_LINE_MAX || !(utf8 || line.is_ascii()) || line.contains('\0') {
            return Err(Error::internal("a mail's line that no server must take").into());
        }
        if line.starts_with('.') {
            out.push('.');
        }
        out.push_str(line);
        out.push_str("\r\n");
    }
    out.push_str(".\r\n");
    Ok(out)
}

fn final_error(code: &'static str, say: &str) -> Refused {
    Refused {
        is_final: true,
        ..Error::new(Kind::Upstream, code, say).into()
    }
}

/// Capabilities from EHLO, one per line.
struct Offers(Vec<String>);

impl Offers {
    fn has(&self, name: &str) -> bool {
        self.words(name).is_some()
    }

    /// Parameters of a capability. `AUTH=LOGIN` is the form of some old servers.
    fn words(&self, name: &str) -> Option<Vec<String>> {
        let lines = self.0.iter().map(|l| l.replacen('=', " ", 1).to_ascii_uppercase());
        let mut found = None;
        for line in lines {
            let mut words = line.split_ascii_whitespace();
            if words.next() == Some(name) {
                found.get_or_insert_with(Vec::new).extend(words.map(String::from));
            }
        }
        found
    }
}

struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    fn text(&self) -> String {
        one_line(&format!("{} {}", self.code, self.lines.join(" ")), 300)
    }
}

struct Conversation<'a> {
    call: &'a Call<'a>,
    wire: Wire,
    /// Read and not yet used.
    read: Vec<u8>,
}

impl<'a> Conversation<'a> {
    fn whom(&self) -> String {
        format!("{}:{}", self.call.host.in_url(), self.call.port)
    }

    fn broken(&self, e: &io::Error) -> Refused {
        dial::explain(self.call, e).into()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let sent = self.wire.write_all(bytes).and_then(|()| self.wire.flush());
        sent.map_err(|e| self.broken(&e))
    }

    fn not_spoken(&self) -> Refused {
        let say = format!("{} does not speak SMTP.", self.whom());
        Error::new(Kind::Upstream, "smtp_not_spoken", say).into()
    }

    fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.read.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                let line = line.strip_suffix(b"\n").unwrap_or(&line);
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                return Ok(String::from_utf8_lossy(line).into_owned());
            }
            if self.read.len() > LINE_MAX {
                return Err(self.not_spoken());
            }
            let mut piece = [0; 1_024];
            match self.wire.read(&mut piece) {
                Ok(0) => return Err(self.broken(&ErrorKind::ConnectionReset.into())),
                Ok(n) => self.read.extend_from_slice(&piece[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(self.broken(&e)),
            }
        }
    }

    fn reply(&mut self) -> Result<Reply> {
        let mut lines = Vec::new();
        let mut code = None;
        while lines.len() < LINES_MAX {
            let line = self.line()?;
            let bytes = line.as_bytes();
            let digits = bytes
                .get(..3)
                .filter(|d| d.iter().all(u8::is_ascii_digit) && (b'2'..=b'5').contains(&d[0]));
            let (Some(digits), mark @ (None | Some(b' ' | b'-'))) = (digits, bytes.get(3)) else {
                return Err(self.not_spoken());
            };
            let this = digits.iter().fold(0, |n, b| n * 10 + u16::from(b - b'0'));
            if *code.get_or_insert(this) != this {
                return Err(self.not_spoken());
            }
            lines.push(line.get(4..).unwrap_or_default().trim().to_string());
            if mark != Some(&b'-') {
                return Ok(Reply { code: this, lines });
            }
        }
        Err(self.not_spoken())
    }

    /// `said_to` names the command, without its arguments.
    fn check(&self, said_to: &str, reply: Reply, good: &[u16]) -> Result<Reply> {
        if good.contains(&reply.code) {
            return Ok(reply);
        }
        let (code, mut end) = match reply.code {
            530 => ("smtp_login", " It wants a login first."),
            534 | 535 | 538 => ("smtp_login", " The user name or the password is wrong."),
            _ => ("smtp_refused", ""),
        };
        if said_to != "AUTH" && code == "smtp_login" && reply.code != 530 {
            end = "";
        }
        let say = format!("{} says to {said_to}: {}{end}", self.whom(), reply.text());
        Err(Refused {
            error: Error::new(Kind::Upstream, code, say),
            is_final: reply.code >= 500,
            is_unknown: false,
        })
    }

    fn expect(&mut self, said_to: &str, good: &[u16]) -> Result<Reply> {
        let reply = self.reply()?;
        self.check(said_to, reply, good)
    }

    fn command(&mut self, name: &str, line: &str, good: &[u16]) -> Result<Reply> {
        self.write(format!("{line}\r\n").as_bytes())?;
        self.expect(name, good)
    }

    /// EHLO, or HELO for old servers, which offer nothing.
    fn hello(&mut self, name: &str) -> Result<Offers> {
        self.write(format!("EHLO {name}\r\n").as_bytes())?;
        let reply = self.reply()?;
        if matches!(reply.code, 500 | 502 | 504) {
            self.command("HELO", &format!("HELO {name}"), &[250])?;
            return Ok(Offers(Vec::new()));
        }
        let reply = self.check("EHLO", reply, &[250])?;
        Ok(Offers(reply.lines.into_iter().skip(1).collect()))
    }

    fn secure(self) -> Result<Conversation<'a>> {
        if !self.read.is_empty() {
            // CVE-2011-0411: data that a third party put behind the reply would count as the server's.
            let say = format!(
                "{} continues in clear text after STARTTLS; nothing was sent.",
                self.whom()
            );
            return Err(Error::new(Kind::Upstream, "smtp_injected", say).into());
        }
        Ok(Conversation {
            wire: self.wire.secure(self.call)?,
            ..self
        })
    }

    /// Tries each mechanism that is offered and known, until one works: some servers offer what they do not support.
    fn sign_in(&mut self, offers: &Offers, user: &str, password: &Secret) -> Result<()> {
        let offered = offers.words("AUTH").unwrap_or_default();
        let password = password.reveal_for("SMTP AUTH");
        let mut refused: Option<Refused> = None;
        for mechanism in ["PLAIN", "LOGIN"]
            .into_iter()
            .filter(|mechanism| offered.iter().any(|o| o == mechanism))
        {
            let tried = match mechanism {
                "PLAIN" => self.plain(user, password),
                _ => self.login(user, password),
            };
            match (tried, refused.take()) {
                (Ok(()), _) => return Ok(()),
                // An earlier reply says more than a disconnect or an unknown mechanism.
                (Err(now), Some(before)) if !now.is_final || before.error.code == "smtp_login" => return Err(before),
                (Err(now), _) if !now.is_final => return Err(now),
                (Err(now), _) => refused = Some(now),
            }
        }
        Err(refused.unwrap_or_else(|| {
            let say = format!("{} offers neither AUTH PLAIN nor AUTH LOGIN.", self.whom());
            Error::new(Kind::Upstream, "smtp_no_login", say).into()
        }))
    }

    fn plain(&mut self, user: &str, password: &[u8]) -> Result<()> {
        let both = Secret::new([b"\0", user.as_bytes(), b"\0", password].concat());
        self.secret_line("AUTH PLAIN ", both.reveal_for("SMTP AUTH"))?;
        let mut reply = self.reply()?;
        if reply.code == 334 {
            // The server ignores the initial response and asks for it (RFC 4954 §4).
            self.secret_line("", both.reveal_for("SMTP AUTH"))?;
            reply = self.reply()?;
        }
        if reply.code == 334 {
            self.write(b"*\r\n")?;
            reply = self.reply()?;
        }
        self.check("AUTH", reply, &[235]).map(drop)
    }

    fn login(&mut self, user: &str, password: &[u8]) -> Result<()> {
        self.command("AUTH", "AUTH LOGIN", &[334])?;
        self.command("AUTH", &base64(user.as_bytes()), &[334])?;
        self.secret_line("", password)?;
        self.expect("AUTH", &[235]).map(drop)
    }

    /// A command and a base64 argument that is zeroed afterwards.
    fn secret_line(&mut self, command: &str, secret: &[u8]) -> Result<()> {
        let coded = Secret::new(base64(secret));
        let line = Secret::new([command.as_bytes(), coded.reveal_for("SMTP AUTH"), b"\r\n"].concat());
        self.write(line.reveal_for("SMTP AUTH"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_over_the_wire_has_whole_lines_and_doubled_dots() {
        let stuffed = |text: &str| stuffed(text, false);
        assert_eq!(stuffed("a\n.b\r\n..c\rd\n").unwrap(), "a\r\n..b\r\n...c\r\nd\r\n.\r\n");
        assert_eq!(stuffed(".").unwrap(), "..\r\n.\r\n");
        assert_eq!(stuffed("").unwrap(), "\r\n.\r\n");
        for bad in ["x".repeat(999), "é".into(), "\0".into()] {
            assert!(stuffed(&bad).is_err());
        }
    }

    #[test]
    fn an_address_carries_no_second_command() {
        for good in ["a@b", "ä@b", "anna.o'hara+x=y@mail.example.com"] {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "",
            "a",
            "@b",
            "a@",
            "a@b@c",
            "a b@c",
            "a@b>\r\nDATA",
            "a@b\n",
            "<a@b>",
            "a@ä",
            "a\u{2028}@b",
            "a@b SIZE=1",
        ] {
            assert!(!is_address(bad), "{bad:?}");
        }
    }

    #[test]
    fn capabilities_are_read_whatever_their_case_and_age() {
        let offers = Offers(vec![
            "size 10".into(),
            "AUTH=LOGIN".into(),
            "Auth PLAIN cram-md5".into(),
        ]);
        assert!(offers.has("SIZE") && !offers.has("STARTTLS") && !offers.has("LOGIN"));
        assert_eq!(offers.words("AUTH").unwrap(), ["LOGIN", "PLAIN", "CRAM-MD5"]);
    }
}
