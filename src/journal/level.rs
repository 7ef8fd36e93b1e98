//! The level of a line, as programs usually write it: JSON, logfmt, klog, `[ERROR]`, `WARN:`, Python, Java.

/// How bad what a line says is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// It does not say.
    Unknown = 0,
    /// `trace`
    Trace = 1,
    /// `debug`
    Debug = 2,
    /// `info`
    Info = 3,
    /// `warning`
    Warning = 4,
    /// `error`
    Error = 5,
    /// `critical`
    Critical = 6,
}

/// Bytes of a line in which a level is looked for.
const HEAD: usize = 400;

impl Level {
    /// Names, in the order of the values; the first is empty.
    pub const NAMES: [&'static str; 7] = ["", "trace", "debug", "info", "warning", "error", "critical"];

    /// Its name; empty when unknown.
    pub fn name(self) -> &'static str {
        Level::NAMES[self as usize]
    }

    /// The level of a name in [`Level::NAMES`].
    pub fn parse(name: &str) -> Option<Level> {
        let place = Level::NAMES.iter().position(|known| *known == name)?;
        Some(Level::of_number(place as u8))
    }

    /// The level of a stored value.
    pub fn of_number(n: u8) -> Level {
        use Level::{Critical, Debug, Error, Info, Trace, Unknown, Warning};
        [Unknown, Trace, Debug, Info, Warning, Error, Critical]
            .get(usize::from(n))
            .copied()
            .unwrap_or(Unknown)
    }

    /// What a line of plain text says of itself.
    pub fn of(line: &str) -> Level {
        let head = &line.as_bytes()[..line.len().min(HEAD)];
        if head.first() == Some(&b'{')
            && let Some(level) = of_json(head)
        {
            return level;
        }
        of_klog(head)
            .or_else(|| of_pair(head))
            .or_else(|| of_start(head))
            .or_else(|| of_words(head))
            .unwrap_or(Level::Unknown)
    }
}

/// A word for a level, in any case.
fn of_word(word: &[u8]) -> Option<Level> {
    const WORDS: [(&str, Level); 19] = [
        ("trace", Level::Trace),
        ("verbose", Level::Trace),
        ("debug", Level::Debug),
        ("fine", Level::Debug),
        ("dbg", Level::Debug),
        ("info", Level::Info),
        ("inf", Level::Info),
        ("information", Level::Info),
        ("notice", Level::Info),
        ("warn", Level::Warning),
        ("warning", Level::Warning),
        ("wrn", Level::Warning),
        ("error", Level::Error),
        ("err", Level::Error),
        ("severe", Level::Error),
        ("fatal", Level::Critical),
        ("critical", Level::Critical),
        ("panic", Level::Critical),
        ("emerg", Level::Critical),
    ];
    (3..=11).contains(&word.len()).then_some(())?;
    let found = WORDS
        .iter()
        .find(|(known, _)| word.eq_ignore_ascii_case(known.as_bytes()));
    found.map(|(_, level)| *level)
}

/// `{"level":"warn"}`, `"severity":"ERROR"`, `"level":40` (pino, bunyan).
fn of_json(head: &[u8]) -> Option<Level> {
    [
        &b"\"level\""[..],
        b"\"severity\"",
        b"\"lvl\"",
        b"\"levelname\"",
        b"\"log.level\"",
    ]
    .iter()
    .find_map(|key| {
        let at = position(head, key)? + key.len();
        let rest = head[at..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        if let Some(text) = rest.strip_prefix(b"\"") {
            let end = text.iter().position(|b| *b == b'"').unwrap_or(text.len());
            return of_word(&text[..end]);
        }
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        match std::str::from_utf8(&rest[..digits]).ok()?.parse::<u32>().ok()? {
            10..20 => Some(Level::Trace),
            20..30 => Some(Level::Debug),
            30..40 => Some(Level::Info),
            40..50 => Some(Level::Warning),
            50..60 => Some(Level::Error),
            60..70 => Some(Level::Critical),
            _ => None,
        }
    })
}

/// `E0321 10:20:30.1234   1 file.go:12] text`
fn of_klog(head: &[u8]) -> Option<Level> {
    let [letter, digits @ ..] = head else { return None };
    let is_klog = digits.len() > 5 && digits[..4].iter().all(u8::is_ascii_digit) && digits[4] == b' ';
    match letter {
        b'I' if is_klog => Some(Level::Info),
        b'W' if is_klog => Some(Level::Warning),
        b'E' if is_klog => Some(Level::Error),
        b'F' if is_klog => Some(Level::Critical),
        _ => None,
    }
}

/// `level=warn`, `lvl=dbug`, `severity="error"`.
fn of_pair(head: &[u8]) -> Option<Level> {
    [&b"level="[..], b"lvl=", b"severity="].iter().find_map(|key| {
        let at = position(head, key)?;
        if at > 0 && head[at - 1].is_ascii_alphanumeric() {
            return None;
        }
        let value = head[at + key.len()..].trim_ascii_start();
        let value = value.strip_prefix(b"\"").unwrap_or(value);
        of_word(&value[..value.iter().take_while(|b| b.is_ascii_alphabetic()).count()])
    })
}

/// `error: …`, `panic: …`, `Traceback (most recent call last)`.
fn of_start(head: &[u8]) -> Option<Level> {
    if head.starts_with(b"Traceback (most recent") || head.starts_with(b"Exception in thread") {
        return Some(Level::Error);
    }
    let letters = head.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    (head.get(letters) == Some(&b':')).then(|| of_word(&head[..letters]))?
}

/// `[error]` in any case, `ERROR` in capitals, as a word of its own.
fn of_words(head: &[u8]) -> Option<Level> {
    let mut at = 0;
    while at < head.len() {
        let letters = head[at..].iter().take_while(|b| b.is_ascii_alphabetic()).count();
        if letters == 0 {
            at += 1;
            continue;
        }
        let (word, end) = (&head[at..at + letters], at + letters);
        let before = at.checked_sub(1).map_or(b' ', |n| head[n]);
        let after = head.get(end).copied().unwrap_or(b' ');
        let framed = matches!(
            (before, after),
            (b'[', b']') | (b'<', b'>') | (b'(', b')') | (b'|', b'|')
        );
        // The m of a colour's sequence is no letter of the word.
        let colour = before == b'[' || before.is_ascii_digit();
        let (word, before) = match word {
            [b'm', rest @ ..] if colour => (rest, b' '),
            word => (word, before),
        };
        let capital = word.iter().all(u8::is_ascii_uppercase);
        let alone = |b: u8| !b.is_ascii_alphanumeric() && b != b'_';
        if (framed || capital && alone(before) && alone(after))
            && let Some(level) = of_word(word)
        {
            return Some(level);
        }
        at = end;
    }
    None
}

fn position(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|w| w == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_shapes_are_read() {
        for (line, level) in [
            (r#"{"time":"x","level":"warn","msg":"slow"}"#, "warning"),
            (r#"{"level":50,"msg":"boom"}"#, "error"),
            (r#"{"severity": "INFO"}"#, "info"),
            (r#"{"msg":"level of water"}"#, ""),
            ("time=x level=error msg=\"no\"", "error"),
            ("ts=1 lvl=\"debug\"", "debug"),
            ("E0321 10:20:30.123456       1 main.go:12] no", "error"),
            ("I0321 10:20:30.123456       1 main.go:12] yes", "info"),
            ("2026/11/21 04:51:03 [error] 31#31: *1 open() failed", "error"),
            ("2026-11-21 04:51:03,123 - app - WARNING - slow", "warning"),
            ("2026-11-21 04:51:03.123 ERROR 1 --- [main] c.e.App : no", "error"),
            ("ERROR:root:no", "error"),
            ("warn: upstream slow 150", "warning"),
            ("panic: runtime error: index out of range", "critical"),
            ("Traceback (most recent call last):", "error"),
            ("\u{1b}[31mERROR\u{1b}[0m no", "error"),
            ("\u{1b}[32mINFO\u{1b}[0m запрос", "info"),
            ("127.0.0.1 - - \"GET /error HTTP/1.1\" 200", ""),
            ("an error occurred", ""),
            ("TERROR and INFORMED", ""),
            ("", ""),
        ] {
            assert_eq!(Level::of(line).name(), level, "{line}");
        }
    }
}
