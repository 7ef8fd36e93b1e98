//! Masks secrets in logs. [`Scrub`] knows the secrets of one task in every encoding that programs print them in, and
//! patterns that are secret whatever they hold: private keys, bearer and bot tokens, passwords in options. Matches
//! become `•••`.
//!
//! It works on lines as `base::lines` splits them. Of a line that was cut it also masks the beginning of a secret at
//! the cut.

use super::lines::CUT;
use super::secret::Secret;
use super::text;
use std::borrow::Cow;

/// Replaces a secret.
pub const MASK: &str = "•••";

/// Shorter secrets are masked only as whole words: `root`, for example, is part of many paths.
const ANYWHERE_MIN: usize = 6;
/// Maximum lines of a private key: RSA with 16384 bits has about 200.
const KEY_LINES_MAX: usize = 250;

/// Masks the secrets of one task. Stateful: it remembers whether it is inside a private key.
#[derive(Clone)]
pub struct Scrub {
    /// Forms by their first byte, longest first.
    forms: Vec<Vec<Secret>>,
    /// One bit for each pair of bytes that a match can begin with: rules out nearly all positions.
    pairs: Box<[u64; 1024]>,
    /// Lines of a private key that may still come, and the prefix of each.
    key_lines: usize,
    key_prefix: usize,
}

impl Default for Scrub {
    fn default() -> Scrub {
        let mut scrub = Scrub {
            forms: vec![Vec::new(); 256],
            pairs: Box::new([0; 1024]),
            key_lines: 0,
            key_prefix: 0,
        };
        for (word, _) in PATTERNS {
            let cases = |at: usize| {
                let b = word.as_bytes()[at];
                [b.to_ascii_lowercase(), b.to_ascii_uppercase()]
            };
            for first in cases(0) {
                for second in cases(1) {
                    scrub.may_begin(first, second);
                }
            }
        }
        scrub
    }
}

impl Scrub {
    /// Knows only the patterns.
    pub fn new() -> Scrub {
        Scrub::default()
    }

    /// Masks this secret from now on, in all encodings. Of a secret with several lines each line is one.
    pub fn add(&mut self, secret: &Secret) {
        let bytes = secret.reveal_for("the log's filter");
        for line in bytes.split(|b| matches!(b, b'\n' | b'\r')) {
            // A key's last line may be two characters of base64, which are worthless alone.
            if !line.is_empty() && (line.len() == bytes.len() || line.len() >= ANYWHERE_MIN) {
                self.add_line(line);
            }
        }
        if bytes.len() >= ANYWHERE_MIN {
            encoded(bytes).into_iter().for_each(|form| self.form(form));
        }
    }

    fn add_line(&mut self, line: &[u8]) {
        self.form(line.to_vec());
        if line.len() >= ANYWHERE_MIN {
            encoded(line).into_iter().for_each(|form| self.form(form));
        }
    }

    fn form(&mut self, form: Vec<u8>) {
        match form[..] {
            [first] => (0..=255).for_each(|any| self.may_begin(first, any)),
            [first, second, ..] => self.may_begin(first, second),
            [] => return,
        }
        let same = &mut self.forms[form[0] as usize];
        let form = Secret::new(form);
        if !same.contains(&form) {
            same.push(form);
            same.sort_by_key(|form| std::cmp::Reverse(form.reveal_for("its length").len()));
        }
    }

    fn may_begin(&mut self, first: u8, second: u8) {
        let pair = usize::from(first) << 8 | usize::from(second);
        self.pairs[pair / 64] |= 1 << (pair % 64);
    }

    /// The line with secrets masked.
    pub fn line<'a>(&mut self, line: &'a str) -> Cow<'a, str> {
        if self.in_key(line) {
            return MASK.into();
        }
        let whole = line.strip_suffix(CUT).unwrap_or(line);
        let bytes = whole.as_bytes();
        let mut out = String::new();
        let (mut kept, mut at) = (0, 0);
        // The forms are bytes: an invalid character beside one does not matter.
        let mut hide = |kept: usize, from: usize| {
            out.push_str(&String::from_utf8_lossy(&bytes[kept..from]));
            out.push_str(MASK);
        };
        while at < bytes.len() {
            // The last byte has no second one: 0 is used, which no line contains.
            let pair = usize::from(bytes[at]) << 8 | usize::from(*bytes.get(at + 1).unwrap_or(&0));
            let may = self.pairs[pair / 64] & 1 << (pair % 64) != 0;
            match may.then(|| self.find(bytes, at)).flatten() {
                Some((from, to)) => {
                    hide(kept, from);
                    (kept, at) = (to, to);
                }
                None => at += 1,
            }
        }
        if whole.len() < line.len() {
            let begun = self.begun(&bytes[kept..]);
            if begun > 0 {
                hide(kept, bytes.len() - begun);
                kept = bytes.len();
            }
        }
        if kept == 0 {
            return line.into();
        }
        out.push_str(&String::from_utf8_lossy(&line.as_bytes()[kept..]));
        out.into()
    }

    /// The range to mask, if a match begins at `at`.
    fn find(&self, line: &[u8], at: usize) -> Option<(usize, usize)> {
        let rest = &line[at..];
        for form in &self.forms[line[at] as usize] {
            let form = form.reveal_for("the log's filter");
            let to = at + form.len();
            if rest.starts_with(form) && (form.len() >= ANYWHERE_MIN || is_word(line, at, to)) {
                return Some((at, to));
            }
        }
        PATTERNS.iter().find_map(|(word, shape)| {
            let (begin, behind) = rest.split_at_checked(word.len())?;
            let (skip, size) = begin.eq_ignore_ascii_case(word.as_bytes()).then(|| shape(behind))??;
            let from = at + word.len() + skip;
            Some((from, from + size))
        })
    }

    /// How many of a cut line's last bytes are the beginning of a secret.
    fn begun(&self, line: &[u8]) -> usize {
        let all = self.forms.iter().flatten();
        all.filter_map(|form| {
            let form = form.reveal_for("the log's filter");
            (1..form.len().min(line.len() + 1))
                .rev()
                .find(|n| line.ends_with(&form[..*n]))
        })
        .max()
        .unwrap_or(0)
    }

    /// Is this a line of a private key? Each may have a prefix (a time, a name) as long as that of its BEGIN line.
    /// Lines of the other stream may come between; they pass. A key that never ends is given up after
    /// [`KEY_LINES_MAX`].
    fn in_key(&mut self, line: &str) -> bool {
        let begin = line
            .find("-----BEGIN ")
            .filter(|at| line[*at..].contains("PRIVATE KEY"));
        if let Some(at) = begin {
            let whole = line[at..].contains("-----END ");
            (self.key_lines, self.key_prefix) = (if whole { 0 } else { KEY_LINES_MAX }, at);
            return true;
        }
        if self.key_lines == 0 {
            return false;
        }
        self.key_lines -= 1;
        let body = line.get(self.key_prefix..).unwrap_or_default().trim();
        if body.starts_with("-----END ") {
            self.key_lines = 0;
            return true;
        }
        let coded = body.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
        coded || body.starts_with("Proc-Type:") || body.starts_with("DEK-Info:")
    }
}

/// What follows a keyword: how many bytes to skip, how many to mask.
type Shape = fn(&[u8]) -> Option<(usize, usize)>;

/// Keywords in any case, and what is secret after them.
const PATTERNS: &[(&str, Shape)] = &[
    ("bearer ", |rest| token(rest, b"-._~+/=", 8)),
    // A Telegram bot's token: its number, a colon, 35 characters.
    ("bot", |rest| {
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let secret = rest.get(digits..)?.strip_prefix(b":")?;
        let (_, size) = token(secret, b"_-", 30).filter(|_| digits >= 5)?;
        Some((0, digits + 1 + size))
    }),
    // An API token of ours, which is as good as a password.
    ("llt_", |rest| token(rest, b"_-", 40)),
    ("password=", value),
    ("passwd=", value),
    ("passphrase=", value),
    ("--password ", value),
];

/// Letters, digits and `more`, at least so many.
fn token(rest: &[u8], more: &[u8], min: usize) -> Option<(usize, usize)> {
    let size = rest
        .iter()
        .take_while(|b| b.is_ascii_alphanumeric() || more.contains(b))
        .count();
    (size >= min).then_some((0, size))
}

/// A value: up to its closing quote, or to the end of the word.
fn value(rest: &[u8]) -> Option<(usize, usize)> {
    let (skip, size) = match rest.first()? {
        quote @ (b'\'' | b'"') => (1, rest[1..].iter().take_while(|b| *b != quote).count()),
        _ => (
            0,
            rest.iter()
                .take_while(|b| !b.is_ascii_whitespace() && !b"&;,\"')".contains(b))
                .count(),
        ),
    };
    // What is masked already stays so.
    (size > 0 && !rest[skip..].starts_with(MASK.as_bytes())).then_some((skip, size))
}

fn is_word(line: &[u8], from: usize, to: usize) -> bool {
    let part = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_' || *b >= 0x80);
    !(part(from.checked_sub(1).and_then(|before| line.get(before))) || part(line.get(to)))
}

/// A secret in the encodings that programs write: base64 (also inside a longer text, such as `user:password`), hex,
/// percent, JSON, shell.
fn encoded(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut forms: Vec<String> = Vec::new();
    for alphabet in [text::base64 as fn(&[u8]) -> String, text::base64url] {
        forms.push(alphabet(secret).trim_end_matches('=').into());
        // Base64 depends on the offset modulo 3; the characters that depend on neighbours are left out.
        for before in 0..3 {
            let coded = alphabet(&[&[0; 2][..before], secret].concat());
            let inner = (before * 4).div_ceil(3)..(before + secret.len()) * 4 / 3;
            forms.extend(coded.get(inner).filter(|form| form.len() >= 8).map(Into::into));
        }
    }
    let hex = text::hex(secret);
    forms.push(hex.to_uppercase());
    forms.push(hex);
    if let Ok(text) = std::str::from_utf8(secret) {
        let percent = text::percent_encode(text);
        forms.push(percent.replace("%20", "+"));
        forms.push(percent);
        let json = serde_json::Value::from(text).to_string();
        let json = &json[1..json.len() - 1];
        // Python writes everything beyond ASCII as \uXXXX.
        let ascii = json.encode_utf16().fold(String::new(), |out, unit| match unit {
            0..0x80 => out + char::from(unit as u8).encode_utf8(&mut [0; 4]),
            _ => out + &format!("\\u{unit:04x}"),
        });
        forms.push(json.replace('/', "\\/"));
        forms.push(json.into());
        forms.push(ascii);
        // A quote in quotes: our form, and that of `set -x` in dash; backslashes as of `printf %q`.
        forms.push(text.replace('\'', r"'\''"));
        forms.push(text.replace('\'', r#"'"'"'"#));
        forms.push(text.chars().fold(String::new(), |mut out, c| {
            if c.is_ascii() && !c.is_ascii_alphanumeric() && !"_-./:=@%+,".contains(c) {
                out.push('\\');
            }
            out.push(c);
            out
        }));
    }
    forms
        .into_iter()
        .map(String::into_bytes)
        .filter(|form| form.len() >= ANYWHERE_MIN)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrub(secrets: &[&str]) -> Scrub {
        let mut scrub = Scrub::new();
        secrets.iter().for_each(|s| scrub.add(&Secret::new(*s)));
        scrub
    }

    #[test]
    fn a_secret_is_hidden_in_every_form() {
        let secret = "pä'ss \"w/ord$1";
        let mut scrub = scrub(&[secret]);
        let basic = |before: &str| text::base64(format!("{before}{secret}\n").as_bytes());
        for form in [
            secret.to_string(),
            text::base64(secret.as_bytes()),
            text::base64url(secret.as_bytes()),
            text::hex(secret.as_bytes()),
            text::hex(secret.as_bytes()).to_uppercase(),
            text::percent_encode(secret),
            text::percent_encode(secret).replace("%20", "+"),
            serde_json::Value::from(secret).to_string(),
            r#""p\u00e4'ss \"w/ord$1""#.into(),
            super::super::shell::shq(secret).unwrap(),
            r#"pä\'ss\ \"w/ord\$1"#.into(),
        ] {
            let line = format!("before {form} after");
            let clean = scrub.line(&line).into_owned();
            assert!(clean.starts_with("before ") && clean.ends_with(" after"), "{clean}");
            assert!(clean.contains(MASK) && clean.len() < 26, "{form} → {clean}");
        }
        for before in ["", "u", "us", "user:"] {
            let line = format!("Authorization: Basic {}", basic(before));
            let clean = scrub.line(&line).into_owned();
            // At most the neighbours' own characters are left.
            assert!(
                clean.contains(MASK) && clean.len() < "Authorization: Basic •••".len() + 12,
                "{clean}"
            );
        }
        assert!(matches!(scrub.line("nothing here"), Cow::Borrowed("nothing here")));
    }

    #[test]
    fn short_secrets_are_hidden_as_words_only() {
        let mut scrub = scrub(&["root", "abcdef"]);
        assert_eq!(
            scrub.line("/root is root's, chroot is not: root_x"),
            "/••• is •••'s, chroot is not: root_x"
        );
        assert_eq!(scrub.line("xabcdefx"), "x•••x");
    }

    #[test]
    fn the_longest_secret_wins_and_repeats_are_all_hidden() {
        let mut scrub = scrub(&["secret", "secret-longer"]);
        assert_eq!(
            scrub.line("secret-longer secretsecret secret-lon"),
            "••• •••••• •••-lon"
        );
    }

    #[test]
    fn a_secret_that_was_cut_in_two_leaves_no_beginning() {
        let mut scrub = scrub(&["correct horse battery"]);
        for n in 1.."correct horse battery".len() {
            let line = format!("it is {}{CUT}", &"correct horse battery"[..n]);
            assert_eq!(scrub.line(&line), format!("it is {MASK}{CUT}"));
        }
        assert_eq!(
            scrub.line(&format!("it is correct horse battery{CUT}")),
            format!("it is {MASK}{CUT}")
        );
        assert_eq!(scrub.line(&format!("nothing{CUT}")), format!("nothing{CUT}"));
    }

    #[test]
    fn private_keys_are_hidden_line_by_line_and_nothing_else() {
        let mut scrub = Scrub::new();
        let text = "cat key\n-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\nAAAA=\n-----END OPENSSH PRIVATE KEY-----\nok\n\
            log: -----BEGIN RSA PRIVATE KEY-----\nlog: Proc-Type: 4,ENCRYPTED\nlog: DEK-Info: AES\n\nlog: MIIE\n\
            then something else\nlog: MIIE\nlog: -----END RSA PRIVATE KEY-----\nMIIE";
        let clean: Vec<_> = text.lines().map(|line| scrub.line(line).into_owned()).collect();
        let want = [
            "cat key",
            MASK,
            MASK,
            MASK,
            MASK,
            "ok",
            MASK,
            MASK,
            MASK,
            MASK,
            MASK,
            "then something else",
            MASK,
            MASK,
            "MIIE",
        ];
        assert_eq!(clean, want);
        assert_eq!(
            scrub.line(r#"{"key":"-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----"}"#),
            MASK
        );
        assert_eq!(scrub.line("ok"), "ok");
        scrub.line("-----BEGIN PRIVATE KEY-----");
        assert!(
            (0..300).any(|_| scrub.line("base64") == "base64"),
            "it does not hide for ever"
        );
    }

    #[test]
    fn tokens_and_passwords_are_hidden_by_their_shape() {
        let mut scrub = Scrub::new();
        for (line, clean) in [
            ("Authorization: Bearer eyJhbGciOi.J9-_x=", "Authorization: Bearer •••"),
            (
                "authorization: bearer abcdefgh, next",
                "authorization: bearer •••, next",
            ),
            ("the bearer of news", "the bearer of news"),
            (
                "https://api.telegram.org/bot123456:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1/sendMessage",
                "https://api.telegram.org/bot•••/sendMessage",
            ),
            (
                "token llt_5_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA_5d2f0a11.",
                "token llt_•••.",
            ),
            ("robot12 bot:x bottle", "robot12 bot:x bottle"),
            ("mysql --password hunter2 -h x", "mysql --password ••• -h x"),
            ("mysql --password=hunter2 -h x", "mysql --password=••• -h x"),
            ("url?user=a&password=hunter2&x=1", "url?user=a&password=•••&x=1"),
            ("PASSWORD='two words' next", "PASSWORD='•••' next"),
            ("password: incorrect", "password: incorrect"),
            ("password=", "password="),
        ] {
            assert_eq!(scrub.line(line), clean);
        }
    }

    #[test]
    fn lines_of_any_bytes_are_no_harm() {
        let mut scrub = scrub(&["пароль", "x\u{1f980}y"]);
        assert_eq!(scrub.line("и пароль, и x🦀y"), "и •••, и •••");
        let mut seed = 1u32;
        for _ in 0..20_000 {
            let line: String = (0..40)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    ['п', 'а', 'b', 'o', 't', '=', ' ', '1', ':', '\'', 'é', '-'][(seed >> 24) as usize % 12]
                })
                .collect();
            assert!(!scrub.line(&line).is_empty());
        }
    }
}
