//! nginx's configuration language: a tree, its text, and a parser that reads as nginx does (`ngx_conf_read_token`).
//! Generated files are parsed again before use, to prove that nginx will read what was meant.
//!
//! Parsing is bounded: [`SIZE_MAX`] bytes, [`DEPTH_MAX`] nested blocks.

/// Longest text that is parsed, in bytes. A generated vhost has about 4 KiB.
pub const SIZE_MAX: usize = 256 * 1024;
/// Deepest nesting that is parsed; nginx's own blocks nest five deep.
pub const DEPTH_MAX: usize = 16;

/// One directive: its words (the first is its name) and its block, if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// Without quotes and escapes.
    pub words: Vec<String>,
    /// Content of its block.
    pub block: Option<Vec<Directive>>,
}

/// A directive that ends with a semicolon.
pub fn line<S: Into<String>>(words: impl IntoIterator<Item = S>) -> Directive {
    Directive {
        words: words.into_iter().map(Into::into).collect(),
        block: None,
    }
}

/// A directive with a block.
pub fn block<S: Into<String>>(words: impl IntoIterator<Item = S>, inside: Vec<Directive>) -> Directive {
    Directive {
        words: words.into_iter().map(Into::into).collect(),
        block: Some(inside),
    }
}

/// The tree as text: four spaces per level, an empty line before every block except the first line of one.
pub fn print(directives: &[Directive]) -> String {
    let mut out = String::new();
    print_at(directives, 0, &mut out);
    out
}

fn print_at(directives: &[Directive], depth: usize, out: &mut String) {
    for (n, directive) in directives.iter().enumerate() {
        if n > 0 && directive.block.is_some() {
            out.push('\n');
        }
        out.extend(std::iter::repeat_n("    ", depth));
        for (n, word) in directive.words.iter().enumerate() {
            out.push_str(if n > 0 { " " } else { "" });
            print_word(word, out);
        }
        match &directive.block {
            None => out.push_str(";\n"),
            Some(inside) => {
                out.push_str(" {\n");
                print_at(inside, depth + 1, out);
                out.extend(std::iter::repeat_n("    ", depth));
                out.push_str("}\n");
            }
        }
    }
}

fn print_word(word: &str, out: &mut String) {
    let plain =
        |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, ';' | '{' | '}' | '#' | '"' | '\'' | '\\');
    if !word.is_empty() && word.chars().all(plain) {
        return out.push_str(word);
    }
    out.push('"');
    for c in word.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A syntax error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Line number, from 1.
    pub line: u32,
    /// A sentence.
    pub say: &'static str,
}

/// Parses a text; comments are dropped. Error: the first syntax error.
pub fn parse(text: &str) -> Result<Vec<Directive>, Wrong> {
    if text.len() > SIZE_MAX {
        return Err(Wrong {
            line: 1,
            say: "The text is too long.",
        });
    }
    let mut reader = Reader {
        bytes: text.as_bytes(),
        at: 0,
        line: 1,
    };
    // The blocks that are open, with the words before each.
    let mut open: Vec<(Vec<String>, Vec<Directive>)> = Vec::new();
    let (mut here, mut words) = (Vec::new(), Vec::new());
    loop {
        match reader.token()? {
            Token::Word(word) => words.push(word),
            Token::Semicolon if words.is_empty() => return Err(reader.wrong("A “;” stands alone.")),
            Token::Semicolon => here.push(line(std::mem::take(&mut words))),
            Token::Open if words.is_empty() => return Err(reader.wrong("A “{” stands alone.")),
            Token::Open if open.len() == DEPTH_MAX => return Err(reader.wrong("Too many blocks stand in each other.")),
            Token::Open => open.push((std::mem::take(&mut words), std::mem::take(&mut here))),
            Token::Close if !words.is_empty() => return Err(reader.wrong("A directive before “}” has no end.")),
            Token::Close => {
                let Some((head, outer)) = open.pop() else {
                    return Err(reader.wrong("A “}” closes nothing."));
                };
                let inside = std::mem::replace(&mut here, outer);
                here.push(block(head, inside));
            }
            Token::End if !words.is_empty() => return Err(reader.wrong("The last directive has no end.")),
            Token::End if !open.is_empty() => return Err(reader.wrong("A block is not closed.")),
            Token::End => return Ok(here),
        }
    }
}

enum Token {
    Word(String),
    Semicolon,
    Open,
    Close,
    End,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u32,
}

impl Reader<'_> {
    fn wrong(&self, say: &'static str) -> Wrong {
        Wrong { line: self.line, say }
    }

    fn next(&mut self) -> Option<u8> {
        let b = *self.bytes.get(self.at)?;
        self.at += 1;
        self.line += u32::from(b == b'\n');
        Some(b)
    }

    fn token(&mut self) -> Result<Token, Wrong> {
        loop {
            match self.next() {
                None => return Ok(Token::End),
                Some(b' ' | b'\t' | b'\r' | b'\n') => {}
                Some(b'#') => while self.next().is_some_and(|b| b != b'\n') {},
                Some(b';') => return Ok(Token::Semicolon),
                Some(b'{') => return Ok(Token::Open),
                Some(b'}') => return Ok(Token::Close),
                Some(quote @ (b'"' | b'\'')) => return self.quoted(quote).map(Token::Word),
                Some(_) => return self.bare().map(Token::Word),
            }
        }
    }

    /// Up to the same quote; only a blank or the end of the directive may follow it.
    fn quoted(&mut self, quote: u8) -> Result<String, Wrong> {
        let start = self.at;
        loop {
            match self.next() {
                None => return Err(self.wrong("A quoted word is not closed.")),
                Some(b'\\') => drop(self.next()),
                Some(b) if b == quote => break,
                Some(_) => {}
            }
        }
        let word = self.word(start, self.at - 1)?;
        match self.bytes.get(self.at) {
            // nginx takes a “)” as the begin of the next word, for “if”.
            None | Some(b' ' | b'\t' | b'\r' | b'\n' | b';' | b'{' | b')') => Ok(word),
            Some(_) => Err(self.wrong("Something follows a quoted word without a blank.")),
        }
    }

    /// Up to a blank, “;” or “{”; the brace of a “${name}” belongs to the word. Its first byte was read already.
    fn bare(&mut self) -> Result<String, Wrong> {
        let start = self.at - 1;
        let mut before = self.bytes[start];
        if before == b'\\' {
            self.next();
        }
        while let Some(&b) = self.bytes.get(self.at) {
            match b {
                b' ' | b'\t' | b'\r' | b'\n' | b';' => break,
                b'{' if before != b'$' => break,
                b'\\' => {
                    self.next();
                    self.next();
                }
                _ => drop(self.next()),
            }
            before = b;
        }
        self.word(start, self.at)
    }

    /// A backslash before a quote, a backslash, t, r or n is an escape; before anything else it stays.
    fn word(&self, start: usize, end: usize) -> Result<String, Wrong> {
        let mut out = Vec::with_capacity(end - start);
        let mut bytes = self.bytes[start..end].iter().copied().peekable();
        while let Some(b) = bytes.next() {
            let escaped = match (b, bytes.peek()) {
                (b'\\', Some(b @ (b'"' | b'\'' | b'\\'))) => Some(*b),
                (b'\\', Some(b't')) => Some(b'\t'),
                (b'\\', Some(b'r')) => Some(b'\r'),
                (b'\\', Some(b'n')) => Some(b'\n'),
                _ => None,
            };
            if escaped.is_some() {
                bytes.next();
            }
            out.push(escaped.unwrap_or(b));
        }
        String::from_utf8(out).map_err(|_| self.wrong("A word is not UTF-8."))
    }
}
