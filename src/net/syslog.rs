//! Syslog: messages of RFC 5424 over TCP (RFC 6587) or TLS (RFC 5425), each with its length before it. The protocol has no
//! answers: what a receiver has taken shows only at the end of a connection, which it ends itself once it has read all.

use super::dial::{self, Call, Wire};
use crate::base::clock::Instant;
use crate::base::error::Result;
use std::fmt::Write as _;
use std::io::Write as _;

/// A message.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// 0 (emergency) to 7 (debug).
    pub severity: u8,
    /// Unix ns.
    pub at: i64,
    /// Machine that it is from.
    pub host: &'a str,
    /// Program that it is from.
    pub app: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// Ascending; a receiver may know by it what it has got twice.
    pub number: i64,
    /// Its text.
    pub text: &'a str,
}

/// Facility local0.
const FACILITY: u8 = 16;

impl Message<'_> {
    /// Appends it with its length.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut line = String::with_capacity(self.text.len() + 150);
        let at = crate::base::clock::rfc3339(self.at.div_euclid(1_000_000));
        let micros = self.at.div_euclid(1_000).rem_euclid(1_000);
        let number = self.number.rem_euclid(i64::from(i32::MAX)) + 1;
        let _ = write!(
            line,
            "<{}>1 {}{micros:03}Z {} {} - {} [meta sequenceId=\"{number}\"] {}",
            FACILITY * 8 + self.severity.min(7),
            at.trim_end_matches('Z'),
            word(self.host, 255),
            word(self.app, 48),
            word(self.kind, 32),
            self.text
        );
        let _ = write!(out, "{} ", line.len());
        out.extend_from_slice(line.as_bytes());
    }
}

/// A field of the head: printable ASCII without spaces; `-`: none.
fn word(text: &str, max: usize) -> String {
    let plain = text.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' });
    let plain: String = plain.take(max).collect();
    if plain.is_empty() { "-".into() } else { plain }
}

/// A connection to a receiver.
pub struct Sender<'a> {
    call: Call<'a>,
    wire: Wire,
}

impl<'a> Sender<'a> {
    /// Connects. Errors: those of [`dial::dial`].
    pub fn connect(call: &Call<'a>) -> Result<Sender<'a>> {
        let wire = dial::dial(call)?;
        Ok(Sender { call: *call, wire })
    }

    /// Sends messages. Error: the connection; how many of all have arrived is not known.
    pub fn send(&mut self, messages: &[u8], until: Instant) -> Result<()> {
        self.wire.renew(until);
        let sent = self.wire.write_all(messages).and_then(|()| self.wire.flush());
        sent.map_err(|e| dial::explain(&self.call, &e))
    }

    /// Ends the connection. Error: the receiver may not have taken all that was sent.
    pub fn finish(mut self, until: Instant) -> Result<()> {
        self.wire.renew(until);
        self.wire.finish().map_err(|e| dial::explain(&self.call, &e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_framed_by_its_bytes() {
        let mut out = Vec::new();
        let message = Message {
            severity: 3,
            at: 1_764_473_839_123_456_789,
            host: "web 1",
            app: "",
            kind: "stderr",
            number: 4_711,
            text: "кони\tERROR",
        };
        message.write(&mut out);
        let text = String::from_utf8(out).unwrap();
        let (length, message) = text.split_once(' ').unwrap();
        assert_eq!(length.parse::<usize>().unwrap(), message.len());
        assert_eq!(
            message,
            "<131>1 2025-11-30T03:37:19.123456Z web_1 - - stderr [meta sequenceId=\"4712\"] кони\tERROR"
        );
    }
}
