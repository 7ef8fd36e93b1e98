//! A streaming JSON reader that skips unwanted values, without a tree and without recursion. It tolerates common
//! deviations: Python's `NaN`, and invalid UTF-8 in a process's name. It never tolerates an unclosed structure.

use crate::base::text;
use std::borrow::Cow;

/// A syntax error at this byte: truncated, or not JSON.
#[derive(Debug, PartialEq)]
pub struct Broken {
    /// Byte offset.
    pub at: usize,
    /// What was expected there.
    pub why: &'static str,
}

/// Result of reading.
pub type Result<T> = std::result::Result<T, Broken>;

/// Maximum depth; real responses have 6 levels.
const DEPTH_MAX: usize = 64;
/// Items read of an array; the rest is skipped.
const ITEMS_MAX: usize = 512;
/// Bytes kept of a text.
const TEXT_MAX: usize = 256;

/// A position in the text. Each method reads exactly one value of any kind; `None`: it was of another kind.
pub struct JsonReader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> JsonReader<'a> {
    /// A reader at the start; skips a byte order mark.
    pub fn new(bytes: &'a [u8]) -> JsonReader<'a> {
        let at = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        JsonReader { bytes, at, depth: 0 }
    }

    /// The first byte of the next value.
    pub fn peek(&mut self) -> Result<u8> {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.bytes.get(self.at) {
            self.at += 1;
        }
        self.bytes
            .get(self.at)
            .copied()
            .ok_or(self.broken("the text ends too early"))
    }

    /// Reads an object: `each` gets every key (escapes as written) and must read its value. `false`: not an object.
    pub fn object(&mut self, mut each: impl FnMut(&mut Self, &'a [u8]) -> Result<()>) -> Result<bool> {
        if self.peek()? != b'{' {
            return self.skip().map(|()| false);
        }
        self.items(b'}', |reader| {
            if reader.peek()? != b'"' {
                return Err(reader.broken("a key should be here"));
            }
            let key = reader.string()?;
            if reader.peek()? != b':' {
                return Err(reader.broken("a colon should be here"));
            }
            reader.at += 1;
            each(reader, key)
        })
        .map(|()| true)
    }

    /// Reads an array: `each` must read an item. `false`: not an array.
    pub fn array(&mut self, each: impl FnMut(&mut Self) -> Result<()>) -> Result<bool> {
        self.array_of(ITEMS_MAX, each)
    }

    /// As [`JsonReader::array`] with another limit of items.
    pub fn array_of(&mut self, items_max: usize, mut each: impl FnMut(&mut Self) -> Result<()>) -> Result<bool> {
        if self.peek()? != b'[' {
            return self.skip().map(|()| false);
        }
        let mut n = 0;
        self.items(b']', |reader| {
            n += 1;
            if n > items_max { reader.skip() } else { each(reader) }
        })
        .map(|()| true)
    }

    fn items(&mut self, close: u8, mut each: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.at += 1;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.broken("nested too deeply"));
        }
        if self.peek()? != close {
            loop {
                each(self)?;
                match self.peek()? {
                    b',' => self.at += 1,
                    b if b == close => break,
                    _ => return Err(self.broken("a comma should be here")),
                }
            }
        }
        self.at += 1;
        self.depth -= 1;
        Ok(())
    }

    /// A finite number, also as a string.
    pub fn number(&mut self) -> Result<Option<f64>> {
        let token = match self.peek()? {
            b'"' => self.string()?,
            b'{' | b'[' => return self.skip().map(|()| None),
            _ => self.bare()?,
        };
        let number = std::str::from_utf8(token).ok().and_then(|t| t.parse::<f64>().ok());
        Ok(number.filter(|n| n.is_finite()))
    }

    /// A text as one line, control characters as spaces, invalid UTF-8 replaced.
    pub fn text(&mut self) -> Result<Option<String>> {
        if self.peek()? != b'"' {
            return self.skip().map(|()| None);
        }
        let raw = self.string()?;
        Ok(Some(text::one_line(
            &unescape(&raw[..raw.len().min(8 * TEXT_MAX)]),
            TEXT_MAX,
        )))
    }

    /// Skips one value.
    pub fn skip(&mut self) -> Result<()> {
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'{' | b'[' => self.skip_nested(),
            _ => self.bare().map(drop),
        }
    }

    /// Only brackets and strings are parsed. Skipping takes most of a poll's parsing time (nine tenths of a response
    /// are processes), hence the table and [`JsonReader::string`]'s eight bytes at a time.
    fn skip_nested(&mut self) -> Result<()> {
        let outside = self.depth;
        while let Some(byte) = self.bytes.get(self.at) {
            match KINDS[usize::from(*byte)] {
                OTHER => self.at += 1,
                QUOTE => drop(self.string()?),
                OPEN => {
                    self.at += 1;
                    self.depth += 1;
                    if self.depth > DEPTH_MAX {
                        return Err(self.broken("nested too deeply"));
                    }
                }
                _ => {
                    self.at += 1;
                    self.depth -= 1;
                    if self.depth == outside {
                        return Ok(());
                    }
                }
            }
        }
        Err(self.broken("the text ends too early"))
    }

    /// The content of a string, escapes as written.
    fn string(&mut self) -> Result<&'a [u8]> {
        let start = self.at + 1;
        let mut at = start;
        loop {
            if let Some(eight) = self.bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
                let word = u64::from_le_bytes(*eight);
                let found = zero_bytes(word ^ QUOTES) | zero_bytes(word ^ BACKSLASHES);
                at += found.trailing_zeros() as usize / 8;
                if found == 0 {
                    continue; // trailing_zeros said 64: eight bytes on
                }
            }
            match self.bytes.get(at) {
                None => return Err(self.broken("a string does not end")),
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(&self.bytes[start..at]);
                }
                Some(b'\\') => at += 2,
                Some(_) => at += 1,
            }
        }
    }

    /// A number, or a word like `null` or `NaN`.
    fn bare(&mut self) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let n = rest
            .iter()
            .position(|b| !b.is_ascii_alphanumeric() && !b"+-.".contains(b))
            .unwrap_or(rest.len());
        if n == 0 {
            return Err(self.broken("a value should be here"));
        }
        self.at += n;
        Ok(&rest[..n])
    }

    fn broken(&self, why: &'static str) -> Broken {
        Broken { at: self.at, why }
    }
}

const OTHER: u8 = 0;
const QUOTE: u8 = 1;
const OPEN: u8 = 2;
const CLOSE: u8 = 3;

const KINDS: [u8; 256] = {
    let mut kinds = [OTHER; 256];
    kinds[b'"' as usize] = QUOTE;
    kinds[b'{' as usize] = OPEN;
    kinds[b'[' as usize] = OPEN;
    kinds[b'}' as usize] = CLOSE;
    kinds[b']' as usize] = CLOSE;
    kinds
};

const ONES: u64 = 0x0101_0101_0101_0101;
const QUOTES: u64 = ONES * b'"' as u64;
const BACKSLASHES: u64 = ONES * b'\\' as u64;

/// The high bit of each byte that is zero; of the lowest one that is set, which is the first in the text, it is certain.
/// Source: Mycroft's test, "Bit Twiddling Hacks".
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & (ONES << 7)
}

fn unescape(raw: &[u8]) -> Cow<'_, str> {
    let plain = String::from_utf8_lossy(raw);
    if !raw.contains(&b'\\') {
        return plain;
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = plain.chars();
    let mut high: Option<u32> = None; // the first half of a pair
    while let Some(c) = rest.next() {
        let code = match c {
            '\\' => match rest.next() {
                Some('u') => {
                    let digits: String = rest.by_ref().take(4).collect();
                    u32::from_str_radix(&digits, 16).unwrap_or(0xfffd)
                }
                Some('n' | 't' | 'r' | 'b' | 'f') | None => u32::from(' '),
                Some(other) => u32::from(other),
            },
            c => u32::from(c),
        };
        match (high.take(), code) {
            (Some(first), 0xdc00..=0xdfff) => {
                out.extend(char::from_u32(0x10000 + ((first - 0xd800) << 10) + (code - 0xdc00)));
                continue;
            }
            (Some(_), _) => out.push('\u{fffd}'),
            (None, _) => {}
        }
        match code {
            0xd800..=0xdbff => high = Some(code),
            code => out.push(char::from_u32(code).unwrap_or('\u{fffd}')),
        }
    }
    out.extend(high.map(|_| '\u{fffd}'));
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<()> {
        JsonReader::new(text.as_bytes()).skip()
    }

    #[test]
    fn the_wanted_is_read_and_the_rest_is_skipped() {
        let mut seen = Vec::new();
        let mut reader =
            JsonReader::new(br#"{"a": [1, {"x": "]}"}, 2], "b": "7.5", "c": {"d": 3}, "e": NaN, "f": 1e400, "g": -2}"#);
        let was = reader.object(|reader, key| {
            let value = if key == b"a" {
                reader.skip().map(|()| None)?
            } else {
                reader.number()?
            };
            seen.push((String::from_utf8_lossy(key).into_owned(), value));
            Ok(())
        });
        assert_eq!(was, Ok(true));
        let values: Vec<_> = seen.iter().map(|(_, v)| *v).collect();
        assert_eq!(values, [None, Some(7.5), None, None, None, Some(-2.0)]);
    }

    #[test]
    fn texts_become_one_clean_line() {
        let text = |json: &[u8]| JsonReader::new(json).text().unwrap().unwrap();
        assert_eq!(text(br#""a\n\u0007b""#), "a  b");
        assert_eq!(text(r#""\/ \u041f \ud83d\ude00 \"" "#.as_bytes()), "/ П 😀 \"");
        assert_eq!(text(br#""x\ud83d""#), "x\u{fffd}");
        assert_eq!(text(br#""\ud83dA\udc00""#), "\u{fffd}A\u{fffd}");
        assert_eq!(text(b"\"\xff\""), "\u{fffd}");
        assert_eq!(text(format!("\"{}\"", "é".repeat(500)).as_bytes()), "é".repeat(128));
        assert_eq!(JsonReader::new(b"3").text(), Ok(None));
    }

    #[test]
    fn what_does_not_close_is_broken() {
        for bad in [
            "",
            " ",
            "{",
            "[1",
            "\"a",
            "\"a\\",
            "\"a\\\"",
            "{\"a\":[}",
            "}",
            ",",
            &"[".repeat(100_000),
        ] {
            assert!(all(bad).is_err(), "{}", text::cut(bad, 20));
        }
        assert_eq!(all(&"[".repeat(65)).unwrap_err().why, "nested too deeply");
        assert_eq!(all(&format!("{}{}", "[".repeat(64), "]".repeat(64))), Ok(()));
        let mut reader = JsonReader::new(b"{\"a\" 1}");
        assert!(reader.object(|reader, _| reader.skip()).is_err());
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_survived() {
        let whole = br#"{"a": [1, {"x": "]}"}, null], "b": "7\u00e95", "c": {"d": 3}}"#;
        let read = |bytes: &[u8]| {
            JsonReader::new(bytes).object(|reader, key| match key {
                b"a" => reader.array(|reader| reader.number().map(drop)).map(drop),
                b"b" => reader.text().map(drop),
                _ => reader.object(|reader, _| reader.number().map(drop)).map(drop),
            })
        };
        assert_eq!(read(whole), Ok(true));
        for n in 0..whole.len() {
            assert!(read(&whole[..n]).is_err(), "cut at {n}");
            for byte in 0..=255 {
                let mut bent = whole.to_vec();
                bent[n] = byte;
                let _ = read(&bent); // no panic, no endless loop
            }
        }
    }
}
