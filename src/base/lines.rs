//! Bounded lines of plain text from the output of programs. A line has at most as many bytes as its reader allows
//! (usually [`LINE_MAX`]) and ends with [`CUT`] when it was longer; invalid UTF-8 becomes U+FFFD. Of escape sequences
//! only colours (SGR) are kept: output must not move the cursor, set the clipboard or hide text.

use super::text;

/// Longest line that is kept, in bytes.
pub const LINE_MAX: usize = 16 * 1024;

/// Marks the end of a line that was cut.
pub const CUT: &str = " … (cut)";

/// Longest SGR sequence that is kept: `38;2;255;255;255;48;2;255;255;255` and a little more.
const SGR_MAX: usize = 40;

/// Splits a stream of bytes into lines.
pub struct Lines {
    line: Vec<u8>,
    line_max: usize,
    over: bool,
    /// A CR has just ended a line, so the LF of CRLF ends nothing.
    broken: bool,
}

impl Lines {
    /// Lines of at most `line_max` bytes.
    pub fn new(line_max: usize) -> Lines {
        Lines {
            line: Vec::new(),
            line_max,
            over: false,
            broken: false,
        }
    }

    /// Takes the next bytes and hands over every line that they complete. A lone CR (a progress bar) ends a line too,
    /// so that nothing is hidden by overwriting.
    pub fn push(&mut self, bytes: &[u8], each: &mut dyn FnMut(String)) {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|b| matches!(b, b'\n' | b'\r')) {
            self.add(&rest[..at]);
            let empty = self.line.is_empty();
            match rest[at] {
                b'\r' if empty => {}
                b'\n' if empty && self.broken => self.broken = false,
                ended => {
                    each(self.take());
                    self.broken = ended == b'\r';
                }
            }
            rest = &rest[at + 1..];
        }
        self.add(rest);
    }

    /// The end of the stream: hands over a last line without line end.
    pub fn end(&mut self, each: &mut dyn FnMut(String)) {
        if !self.line.is_empty() {
            each(self.take());
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.broken = false;
        }
        let room = self.line_max - self.line.len();
        self.over |= bytes.len() > room;
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn take(&mut self) -> String {
        let mut text = plain(&String::from_utf8_lossy(&self.line));
        if std::mem::take(&mut self.over) {
            // The cut may have split a character.
            text.truncate(text.trim_end_matches('\u{FFFD}').len());
            text.push_str(CUT);
        }
        self.line.clear();
        text
    }
}

/// The text without control characters, escape sequences (except SGR), invisible characters and those that change the
/// reading direction (CVE-2021-42574, "Trojan Source"). Tabs stay.
pub fn plain(line: &str) -> String {
    // Nearly all lines are plain: one check, one copy.
    if line.bytes().all(|b| matches!(b, b'\t' | 0x20..=0x7e)) {
        return line.to_string();
    }
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                Some('[') => sequence(&mut chars, &mut out),
                Some(']' | 'P' | 'X' | '^' | '_') => string(&mut chars),
                // ESC, intermediates, one final (ECMA-48 §13): a character set, a reset …
                Some(' '..='/') => while chars.next().is_some_and(|c| matches!(c, ' '..='/')) {},
                _ => {}
            },
            '\u{9b}' => sequence(&mut chars, &mut out),
            '\u{9d}' | '\u{90}' | '\u{98}' | '\u{9e}' | '\u{9f}' => string(&mut chars),
            '\t' => out.push(c),
            c if c.is_control() || text::unseen(c) && !text::is_joiner(c) => {}
            c => out.push(c),
        }
    }
    out
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// A control sequence after its introducer: kept if it is a colour.
fn sequence(chars: &mut Chars, out: &mut String) {
    let mut parameters = String::new();
    while let Some(c) = chars.next_if(|c| matches!(c, ' '..='?')) {
        if parameters.len() <= SGR_MAX {
            parameters.push(c);
        }
    }
    let colour = parameters.len() <= SGR_MAX && parameters.bytes().all(|b| b.is_ascii_digit() || b == b';');
    // Any other byte ends the sequence and is text again.
    if chars.next_if(|c| matches!(c, '@'..='~')) == Some('m') && colour {
        out.push_str("\u{1b}[");
        out.push_str(&parameters);
        out.push('m');
    }
}

/// A control string (title, clipboard, device control): up to BEL or ST, or to the end of the line.
fn string(chars: &mut Chars) {
    while let Some(c) = chars.next() {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' if chars.next_if_eq(&'\\').is_some() => return,
            _ => {}
        }
    }
}

/// A line without its colours.
pub fn uncoloured(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        out.push_str(part.split_once('m').map_or("", |(_, text)| text));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut out) = (Lines::new(LINE_MAX), Vec::new());
        for chunk in chunks {
            lines.push(chunk, &mut |line| out.push(line));
        }
        lines.end(&mut |line| out.push(line));
        out
    }

    #[test]
    fn every_kind_of_line_end_ends_one_line() {
        for chunks in [
            &[b"a\r\n\r\nb".as_slice()][..],
            &[b"a\r", b"\n\r", b"\nb"],
            &[b"a\n\nb\n"],
            &[b"a\n\r\nb\r"],
        ] {
            assert_eq!(lines(chunks), ["a", "", "b"], "{chunks:?}");
        }
        assert_eq!(lines(&[b"5%\r10%\r\r\ndone"]), ["5%", "10%", "done"]);
        assert!(lines(&[]).is_empty());
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_one_is_whole() {
        let mut flood = "é".repeat(LINE_MAX).into_bytes();
        flood.insert(0, b'x'); // the cut goes through a character
        flood.extend(b"\nnext");
        let got = lines(&[&flood[..100], &flood[100..]]);
        assert_eq!(got[0].len(), LINE_MAX - 1 + CUT.len());
        assert!(got[0].ends_with(&format!("é{CUT}")));
        assert_eq!(got[1..], ["next"]);
        let exact = vec![b'y'; LINE_MAX];
        assert_eq!(lines(&[&exact])[0].len(), LINE_MAX);
    }

    #[test]
    fn only_colours_survive_of_all_escapes() {
        for (raw, kept) in [
            ("\u{1b}[1;31mred\u{1b}[0m", "\u{1b}[1;31mred\u{1b}[0m"),
            ("\u{1b}[mx\u{9b}32my", "\u{1b}[mx\u{1b}[32my"),
            ("\u{1b}[2J\u{1b}[Hcleared", "cleared"),
            ("\u{1b}]0;title\u{7}a\u{1b}]8;;http://x\u{1b}\\b", "ab"),
            ("\u{1b}]52;c;aGk=\u{9c}clip", "clip"),
            ("\u{1b}P$qm\u{1b}\\a\u{90}x\u{9c}b", "ab"),
            ("\u{1b}]0;never ended", ""),
            ("\u{1b}(B\u{1b})0\u{1b}ca\u{1b}7b", "ab"),
            ("\u{1b}[>4;2m\u{1b}[?25lq", "q"),
            ("\u{1b}[31\u{1b}[1mbroken", "\u{1b}[1mbroken"),
            ("a\u{7}\u{7}\u{8}\u{0}\u{7f}b\tc\u{85}", "ab\tc"),
            ("\u{202e}evil\u{2066}x\u{200f}\u{feff}y\u{2028}z", "evilxyz"),
            ("Привет, мир ✓ 👩‍💻", "Привет, мир ✓ 👩‍💻"),
            ("\u{1b}", ""),
            ("\u{1b}[", ""),
        ] {
            assert_eq!(plain(raw), kept, "{raw:?}");
        }
        assert_eq!(plain(&format!("\u{1b}[{}mx", "1;".repeat(1_000_000))), "x");
        assert_eq!(lines(&[b"\xff\xfe ok \xc3"]), ["\u{FFFD}\u{FFFD} ok \u{FFFD}"]);
    }
}
