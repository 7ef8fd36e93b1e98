//! Encodings and small text functions: hex, base64, percent encoding, truncation, invisible characters.

use std::fmt::Write;

/// SHA-256 (FIPS 180-4).
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    out
}

/// Are two random tokens the same? Compared by their hashes, so that the time it takes tells nothing about either.
pub fn is_same_token(one: &str, other: &str) -> bool {
    sha256(one.as_bytes()) == sha256(other.as_bytes())
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

/// Decodes hex of either case; `None` if malformed.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    bytes
        .chunks(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect()
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn encode64(bytes: &[u8], alphabet: &[u8; 64], pad: bool) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let n = chunk.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            match i <= chunk.len() {
                true => out.push(alphabet[(n >> (18 - 6 * i) & 63) as usize] as char),
                false if pad => out.push('='),
                false => {}
            }
        }
    }
    out
}

/// Base64 with padding (RFC 4648 §4).
pub fn base64(bytes: &[u8]) -> String {
    encode64(bytes, STANDARD, true)
}

/// Base64url without padding (RFC 4648 §5).
pub fn base64url(bytes: &[u8]) -> String {
    encode64(bytes, URL, false)
}

/// Decodes either alphabet, with or without padding; `None` if malformed.
pub fn unbase64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    if text.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    for chunk in text.chunks(4) {
        let mut n = 0u32;
        for b in chunk {
            n = n << 6
                | match b {
                    b'A'..=b'Z' => u32::from(b - b'A'),
                    b'a'..=b'z' => u32::from(b - b'a') + 26,
                    b'0'..=b'9' => u32::from(b - b'0') + 52,
                    b'+' | b'-' => 62,
                    b'/' | b'_' => 63,
                    _ => return None,
                };
        }
        n <<= 6 * (4 - chunk.len());
        out.extend_from_slice(&n.to_be_bytes()[1..chunk.len()]);
    }
    Some(out)
}

/// Percent-decodes a path segment or a query value (`plus`: `+` is a space, as in HTML forms). `None` on a broken
/// escape or invalid UTF-8.
pub fn percent_decode(text: &str, plus: bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        match b {
            b'%' => {
                let pair = [bytes.next()?, bytes.next()?];
                out.push(unhex(std::str::from_utf8(&pair).ok()?)?[0]);
            }
            b'+' if plus => out.push(b' '),
            b => out.push(b),
        }
    }
    String::from_utf8(out).ok()
}

/// Percent-encodes everything except the unreserved characters of RFC 3986.
pub fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, b| {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(b as char),
            b => drop(write!(out, "%{b:02X}")),
        }
        out
    })
}

/// At most `max` bytes of `text`, cut at a character boundary.
pub fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// One cell of CSV (RFC 4180). What a spreadsheet would take for a formula is given as text, by an apostrophe in front (OWASP, “CSV
/// Injection”).
pub fn csv_cell(out: &mut Vec<u8>, text: &str) {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        "'"
    } else {
        ""
    };
    match text.contains([',', '"', '\r', '\n']) {
        true => out.extend_from_slice(format!("\"{guard}{}\"", text.replace('"', "\"\"")).as_bytes()),
        false => {
            out.extend_from_slice(guard.as_bytes());
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// Is the character invisible, or does it change the order of the text around it? Two names that look the same could
/// then differ. (Unicode's Default_Ignorable_Code_Point, separators and annotations, and the empty braille pattern.)
/// [`is_joiner`] tells those that scripts and emoji need within words.
pub fn unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// ZWNJ and ZWJ, which Persian, Indic scripts and emoji need, and variation selectors. Allowed in running text, not in
/// names, where they make look-alikes.
pub fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

/// One line of plain text from any input: control and invisible characters become spaces, ends are trimmed, at most
/// `max` bytes are kept.
pub fn one_line(text: &str, max: usize) -> String {
    let odd = |c: char| c.is_control() || unseen(c) && !is_joiner(c);
    let line = cut(text.trim_matches(|c: char| odd(c) || c.is_whitespace()), max);
    match line.contains(odd) {
        true => line.replace(odd, " "),
        false => line.to_string(),
    }
}

/// The lines of a program's output that tell why it failed: those marked as errors, else the last; at most three.
pub fn telling<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    const MARKS: &[&str] = &["[emerg]", "[alert]", "[crit]", "[error]", "error:", " : Depends: "];
    // Separators, and what certbot prints in any case.
    const IDLE: &[&str] = &[
        "Ask for help or search",
        "See the logfile",
        "Saving debug log to",
        "If you like Certbot",
        "* Donating to",
        "Some challenges have failed",
    ];
    let idle = |line: &&str| !line.contains(char::is_alphanumeric) || IDLE.iter().any(|words| line.contains(words));
    let lines: Vec<&str> = lines.map(str::trim).filter(|line| !idle(line)).collect();
    let is_marked = |line: &&&str| {
        MARKS.iter().any(|mark| line.contains(mark)) || ["E: ", "sudo: "].iter().any(|begin| line.starts_with(begin))
    };
    let marked: Vec<&str> = lines.iter().filter(is_marked).copied().collect();
    let chosen = if marked.is_empty() { lines } else { marked };
    chosen[chosen.len().saturating_sub(3)..].to_vec()
}

/// `a, b and 3 more`: the first `max` names, the rest counted.
pub fn first_of(names: &[String], max: usize) -> String {
    let named = names[..names.len().min(max)].join(", ");
    match names.len().saturating_sub(max) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
            assert_eq!(unbase64(coded).as_deref(), Some(plain.as_bytes()));
            assert_eq!(unbase64(coded.trim_end_matches('=')).as_deref(), Some(plain.as_bytes()));
        }
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
        assert_eq!(unbase64("-_8"), unbase64("+/8"));
        assert_eq!(unbase64("a"), None);
        assert_eq!(unbase64("a b="), None);
    }

    #[test]
    fn percent_escapes_are_read_once_and_strictly() {
        assert_eq!(percent_decode("a%2Fb+c", false).as_deref(), Some("a/b+c"));
        assert_eq!(percent_decode("a+%D0%B9", true).as_deref(), Some("a й"));
        for bad in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(percent_decode(bad, false), None, "{bad}");
        }
        assert_eq!(
            percent_decode(&percent_encode("é /%?&"), false).as_deref(),
            Some("é /%?&")
        );
    }

    #[test]
    fn hex_goes_there_and_back() {
        assert_eq!(hex(&[0, 255, 16]), "00ff10");
        assert_eq!(unhex("00fF10"), Some(vec![0, 255, 16]));
        assert_eq!(unhex("0"), None);
        assert_eq!(unhex("0g"), None);
    }
}
