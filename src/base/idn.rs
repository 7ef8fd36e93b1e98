//! Internationalized domain names. Stored is the form that DNS, nginx and certificates use: A-labels (RFC 5890), lower
//! case, no final dot. Displayed is the Unicode form, unless it could be confused with another name.
//!
//! There are no Unicode tables here, so the rules are stricter than those of IDNA: what cannot be checked without
//! tables is refused in its own script and accepted as an A-label, which is unambiguous.

use super::text;
use std::fmt;
use std::ops::RangeInclusive;

/// Octets of a name and of a label, without the final dot (RFC 1035 §2.3.4).
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;

/// Prefix of A-labels.
const ACE: &str = "xn--";

/// A domain that can have a web site: at least two labels, no address, no wildcard.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainName(String);

impl DomainName {
    /// Reads what a person typed, in any script or as A-labels. The error is a sentence.
    pub fn parse(typed: &str) -> Result<DomainName, String> {
        let bare = typed.strip_suffix('.').unwrap_or(typed);
        if bare.is_empty() {
            return Err("Give a domain name, like shop.example.org.".into());
        }
        // Each character takes at least one octet, so a longer text cannot be a name.
        if bare.chars().count() > NAME_MAX {
            return Err(format!("A domain name has at most {NAME_MAX} characters."));
        }
        if bare.contains("://") || bare.contains('/') {
            return Err("Give only the name: without https:// and without a path.".into());
        }
        if bare.parse::<std::net::IpAddr>().is_ok() {
            return Err(format!("“{bare}” is an address. A site needs a domain name."));
        }
        if bare.contains(':') {
            return Err("Give only the name: without a port.".into());
        }
        let labels = labels(bare)?;
        let Some(last) = labels.last().filter(|_| labels.len() > 1) else {
            return Err(format!(
                "“{bare}” is a single word. A site's name has at least two parts, like {bare}.example."
            ));
        };
        // Browsers read a name whose last part is a number as an address (WHATWG URL, “ends in a number”).
        let hex = last.strip_prefix("0x");
        if last.bytes().all(|b| b.is_ascii_digit()) || hex.is_some_and(|h| h.bytes().all(|b| b.is_ascii_hexdigit())) {
            return Err(format!("“{bare}” looks like an address: its last part is a number."));
        }
        let ascii = labels.join(".");
        if ascii.len() > NAME_MAX {
            return Err(format!(
                "A domain name has at most {NAME_MAX} bytes in the form that DNS knows; this has {}.",
                ascii.len()
            ));
        }
        Ok(DomainName(ascii))
    }

    /// A name that cannot exist (RFC 6761 §6.4), for a draft that has none and is refused.
    pub fn nobodys() -> DomainName {
        DomainName("name.invalid".into())
    }

    /// A-labels, lower case, no final dot.
    pub fn ascii(&self) -> &str {
        &self.0
    }

    /// In its own script. A label that would be refused in its own script (mixed look-alikes, for example) stays an
    /// A-label, as in browsers.
    pub fn unicode(&self) -> String {
        unicode(&self.0)
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for DomainName {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

/// The labels of a typed name as A-labels. The error is a sentence.
pub fn labels(name: &str) -> Result<Vec<String>, String> {
    if let Some(dot) = name.chars().find(|c| OTHER_DOTS.contains(c)) {
        return Err(format!(
            "“{dot}” is not the dot of domain names. Write a plain full stop."
        ));
    }
    name.split('.').map(to_ascii).collect()
}

/// The display form of a stored name ([`DomainName::unicode`]).
pub fn unicode(name: &str) -> String {
    let shown: Vec<String> = name.split('.').map(to_unicode).collect();
    shown.join(".")
}

/// One typed label as an A-label.
fn to_ascii(label: &str) -> Result<String, String> {
    let low = lower(label);
    let shown = || text::one_line(&low, 60);
    if low.is_empty() {
        return Err("A domain name has no empty parts: two dots stand together, or one at the start.".into());
    }
    if low == "*" {
        return Err("A wildcard is no site. Give each name of its own.".into());
    }
    let ascii = if !low.is_ascii() {
        spelled(&low)?;
        format!("{ACE}{}", encode(&low).ok_or("This part of the name is too long.")?)
    } else {
        if let Some(bad) = low.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-') {
            return Err(match bad {
                '_' => format!("“{}” has an underscore: such names carry records, not sites.", shown()),
                c if c.is_control() => "A domain name has no line breaks or control characters.".into(),
                c => format!("“{c}” cannot stand in a domain name: only letters, digits, dots and hyphens can."),
            });
        }
        if let Some(coded) = low.strip_prefix(ACE) {
            let own = decode(coded).filter(|own| encode(own).as_deref() == Some(coded));
            let good = own.is_some_and(|own| {
                !own.is_ascii() && lower(&own) == own && !own.chars().any(|c| c.is_control() || c.is_whitespace())
            });
            if !good {
                return Err(format!(
                    "“{}” begins with xn-- but is not the coded form of any name.",
                    shown()
                ));
            }
        }
        low.clone()
    };
    if low.starts_with('-') || low.ends_with('-') {
        return Err(format!(
            "“{}” begins or ends with a hyphen, which no part of a name may.",
            shown()
        ));
    }
    if ascii.len() > LABEL_MAX {
        return Err(format!(
            "Between two dots there are at most {LABEL_MAX} bytes in the form that DNS knows; “{}” has {}.",
            shown(),
            ascii.len()
        ));
    }
    Ok(ascii)
}

/// The display form of one stored label.
fn to_unicode(label: &str) -> String {
    label
        .strip_prefix(ACE)
        .and_then(decode)
        .filter(|own| spelled(own).is_ok())
        .unwrap_or_else(|| label.to_string())
}

/// Character by character: `str::to_lowercase` would make the last Σ of a word a ς, which is another name.
fn lower(label: &str) -> String {
    label.chars().flat_map(char::to_lowercase).collect()
}

/// IDNA 2003 treats these as dots; they are refused.
const OTHER_DOTS: [char; 3] = ['\u{3002}', '\u{ff0e}', '\u{ff61}'];

/// Marks that NFC joins with the letter before them, and letters that it joins with each other.
const UNCOMPOSED: &[RangeInclusive<char>] = &[
    '\u{300}'..='\u{36f}',
    '\u{653}'..='\u{655}',
    '\u{1100}'..='\u{11ff}',
    '\u{1ab0}'..='\u{1aff}',
    '\u{1dc0}'..='\u{1dff}',
    '\u{20d0}'..='\u{20ff}',
    '\u{3099}'..='\u{309a}',
    '\u{a960}'..='\u{a97f}',
    '\u{d7b0}'..='\u{d7ff}',
    '\u{fe20}'..='\u{fe2f}',
];

/// The pairs of Indic scripts that NFC joins: a mark with the characters that it must not follow. (Unicode 14, canonical
/// decompositions of the scripts in daily use.)
const JOINED: &[(char, &[char])] = &[
    ('\u{93c}', &['\u{928}', '\u{930}', '\u{933}']),
    ('\u{9be}', &['\u{9c7}']),
    ('\u{9d7}', &['\u{9c7}']),
    ('\u{b3e}', &['\u{b47}']),
    ('\u{b56}', &['\u{b47}']),
    ('\u{b57}', &['\u{b47}']),
    ('\u{bbe}', &['\u{bc6}', '\u{bc7}']),
    ('\u{bd7}', &['\u{b92}', '\u{bc6}']),
    ('\u{c56}', &['\u{c46}']),
    ('\u{cc2}', &['\u{cc6}']),
    ('\u{cd5}', &['\u{cbf}', '\u{cc6}', '\u{cca}']),
    ('\u{cd6}', &['\u{cc6}']),
    ('\u{d3e}', &['\u{d46}', '\u{d47}']),
    ('\u{d57}', &['\u{d46}']),
    ('\u{dca}', &['\u{dd9}', '\u{ddc}']),
    ('\u{dcf}', &['\u{dd9}']),
    ('\u{ddf}', &['\u{dd9}']),
    ('\u{102e}', &['\u{1025}']),
];

/// Signs that are no letters but belong to words of these scripts: viramas, nuktas, tone and vowel marks.
const SIGNS: &[RangeInclusive<char>] = &[
    '\u{5b0}'..='\u{5bd}',
    '\u{5c1}'..='\u{5c2}',
    '\u{64b}'..='\u{652}',
    '\u{670}'..='\u{670}',
    '\u{93c}'..='\u{93c}',
    '\u{94d}'..='\u{94d}',
    '\u{9bc}'..='\u{9bc}',
    '\u{9cd}'..='\u{9cd}',
    '\u{a3c}'..='\u{a3c}',
    '\u{a4d}'..='\u{a4d}',
    '\u{abc}'..='\u{abc}',
    '\u{acd}'..='\u{acd}',
    '\u{b3c}'..='\u{b3c}',
    '\u{b4d}'..='\u{b4d}',
    '\u{bcd}'..='\u{bcd}',
    '\u{c4d}'..='\u{c4d}',
    '\u{cbc}'..='\u{cbc}',
    '\u{ccd}'..='\u{ccd}',
    '\u{d4d}'..='\u{d4d}',
    '\u{dca}'..='\u{dca}',
    '\u{e47}'..='\u{e4e}',
    '\u{ec8}'..='\u{ecd}',
    '\u{1037}'..='\u{1037}',
    '\u{1039}'..='\u{103a}',
    '\u{17c9}'..='\u{17d3}',
];

/// Compatibility characters (NFKC maps them to other letters or numbers): superscripts, ligatures, circled, wide,
/// mathematical and presentation forms; and those whose composed form NFC decomposes.
const DISGUISED: &[RangeInclusive<char>] = &[
    '\u{aa}'..='\u{aa}',
    '\u{b2}'..='\u{b3}',
    '\u{b5}'..='\u{b5}',
    '\u{b9}'..='\u{ba}',
    '\u{bc}'..='\u{be}',
    '\u{132}'..='\u{133}',
    '\u{13f}'..='\u{140}',
    '\u{149}'..='\u{149}',
    '\u{17f}'..='\u{17f}',
    '\u{1c4}'..='\u{1cc}',
    '\u{1f1}'..='\u{1f3}',
    '\u{2b0}'..='\u{2b8}',
    '\u{2e0}'..='\u{2e4}',
    '\u{37a}'..='\u{37a}',
    '\u{3d0}'..='\u{3d6}',
    '\u{3f0}'..='\u{3f5}',
    '\u{3f9}'..='\u{3f9}',
    '\u{587}'..='\u{587}',
    '\u{675}'..='\u{678}',
    '\u{958}'..='\u{95f}',
    '\u{9dc}'..='\u{9df}',
    '\u{9f4}'..='\u{9f9}',
    '\u{a33}'..='\u{a36}',
    '\u{a59}'..='\u{a5e}',
    '\u{b5c}'..='\u{b5d}',
    '\u{e33}'..='\u{e33}',
    '\u{eb3}'..='\u{eb3}',
    '\u{edc}'..='\u{edd}',
    '\u{10fc}'..='\u{10fc}',
    '\u{1d2c}'..='\u{1d6a}',
    '\u{1d78}'..='\u{1d78}',
    '\u{1d9b}'..='\u{1dbf}',
    '\u{1e9a}'..='\u{1e9b}',
    '\u{2070}'..='\u{209c}',
    '\u{2100}'..='\u{218b}',
    '\u{2460}'..='\u{24ff}',
    '\u{2776}'..='\u{2793}',
    '\u{2c7c}'..='\u{2c7d}',
    '\u{2d6f}'..='\u{2d6f}',
    '\u{2e80}'..='\u{2fd5}',
    '\u{309f}'..='\u{309f}',
    '\u{30ff}'..='\u{30ff}',
    '\u{3131}'..='\u{33ff}',
    '\u{a69c}'..='\u{a69d}',
    '\u{a770}'..='\u{a770}',
    '\u{a7f2}'..='\u{a7f9}',
    '\u{ab5c}'..='\u{ab69}',
    '\u{f900}'..='\u{fdff}',
    '\u{fe70}'..='\u{ffef}',
    '\u{1d400}'..='\u{1d7ff}',
    '\u{1ee00}'..='\u{1eeff}',
    '\u{1f100}'..='\u{1f9ff}',
    '\u{1fbf0}'..='\u{1fbf9}',
    '\u{2f800}'..='\u{2fa1f}',
];

/// Scripts with letters that look alike; they must not be mixed in one label.
const ALIKE: &[(&str, &[RangeInclusive<char>])] = &[
    (
        "Latin",
        &[
            'a'..='z',
            '\u{df}'..='\u{2af}',
            '\u{1e00}'..='\u{1eff}',
            '\u{2c60}'..='\u{2c7f}',
            '\u{a720}'..='\u{a7ff}',
        ],
    ),
    (
        "Cyrillic",
        &[
            '\u{400}'..='\u{52f}',
            '\u{1c80}'..='\u{1c8f}',
            '\u{2de0}'..='\u{2dff}',
            '\u{a640}'..='\u{a69f}',
        ],
    ),
    ("Greek", &['\u{370}'..='\u{3ff}', '\u{1f00}'..='\u{1fff}']),
    ("Armenian", &['\u{530}'..='\u{58f}']),
    ("Cherokee", &['\u{13a0}'..='\u{13ff}', '\u{ab70}'..='\u{abbf}']),
];

/// Right-to-left scripts.
const LEFTWARD: &[RangeInclusive<char>] = &[
    '\u{590}'..='\u{8ff}',
    '\u{10800}'..='\u{10fff}',
    '\u{1e800}'..='\u{1efff}',
];

fn is_in(ranges: &[RangeInclusive<char>], c: char) -> bool {
    ranges.iter().any(|r| r.contains(&c))
}

/// Can this lower-case label be typed and shown in its own script without confusion? The error is a sentence.
fn spelled(label: &str) -> Result<(), String> {
    let code = |c: char| format!("U+{:04X}", c as u32);
    let mut before = None;
    for c in label.chars() {
        if c.is_control() || c.is_whitespace() {
            return Err("A domain name has no spaces, line breaks or control characters.".into());
        }
        if text::unseen(c) {
            return Err(format!(
                "The name has a character in it that cannot be seen ({}). Type it again.",
                code(c)
            ));
        }
        if is_in(UNCOMPOSED, c)
            || JOINED
                .iter()
                .any(|(mark, after)| *mark == c && before.is_some_and(|b| after.contains(&b)))
        {
            return Err(format!(
                "The name has a letter in two pieces (with the mark {}). Write it composed, or give the xn-- form.",
                code(c)
            ));
        }
        let plain = c == '-' || c.is_alphanumeric() && !is_in(DISGUISED, c);
        let sign = is_in(SIGNS, c) && before.is_some_and(|b| b.is_alphanumeric() || is_in(SIGNS, b));
        if !plain && !sign {
            return Err(format!(
                "“{c}” ({}) cannot stand in a domain name: only letters, digits and hyphens can.",
                code(c)
            ));
        }
        before = Some(c);
    }
    if label.chars().nth(2) == Some('-') && label.chars().nth(3) == Some('-') {
        return Err("Two hyphens at the third and fourth place are kept for coded names like xn--….".into());
    }
    let mut scripts = ALIKE
        .iter()
        .filter(|(_, letters)| label.chars().any(|c| is_in(letters, c)));
    if let (Some((one, _)), Some((other, _))) = (scripts.next(), scripts.next()) {
        return Err(format!(
            "“{}” mixes {one} and {other} letters, which look alike. If that is meant, give the xn-- form.",
            text::one_line(label, 60)
        ));
    }
    // RFC 5893 §2, as far as possible without tables: one direction per label, and no digit before a right-to-left
    // letter.
    if label.chars().any(|c| is_in(LEFTWARD, c)) {
        let other = label.chars().any(|c| c.is_alphabetic() && !is_in(LEFTWARD, c));
        if other || label.starts_with(|c: char| c.is_numeric()) {
            return Err(format!(
                "“{}” is read from both sides: letters from right to left stand with others, or a digit before them.",
                text::one_line(label, 60)
            ));
        }
    }
    Ok(())
}

/// RFC 3492 §5.
const BASE: u32 = 36;
const T_MIN: u32 = 1;
const T_MAX: u32 = 26;
const SKEW: u32 = 38;
const DAMP: u32 = 700;
const BIAS: u32 = 72;
const FIRST: u32 = 128;

fn adapt(delta: u32, points: u32, first: bool) -> u32 {
    let mut delta = delta / if first { DAMP } else { 2 };
    delta += delta / points;
    let mut k = 0;
    while delta > (BASE - T_MIN) * T_MAX / 2 {
        delta /= BASE - T_MIN;
        k += BASE;
    }
    k + (BASE - T_MIN + 1) * delta / (delta + SKEW)
}

fn threshold(k: u32, bias: u32) -> u32 {
    k.saturating_sub(bias).clamp(T_MIN, T_MAX)
}

/// Punycode (RFC 3492 §6.3), without prefix. `None` on overflow.
fn encode(label: &str) -> Option<String> {
    let basic: String = label.chars().filter(char::is_ascii).collect();
    let count = u32::try_from(label.chars().count()).ok()?;
    let digit = |d: u32| match d as u8 {
        d @ 0..=25 => (b'a' + d) as char,
        d => (b'0' + d - 26) as char,
    };
    let mut done = basic.len() as u32;
    let mut out = basic;
    let (mut n, mut delta, mut bias, mut first) = (FIRST, 0u32, BIAS, true);
    if done > 0 {
        out.push('-');
    }
    while done < count {
        let next = label.chars().map(|c| c as u32).filter(|c| *c >= n).min()?;
        delta = delta.checked_add((next - n).checked_mul(done + 1)?)?;
        n = next;
        for c in label.chars().map(|c| c as u32) {
            if c < n {
                delta = delta.checked_add(1)?;
            }
            if c == n {
                let mut q = delta;
                let mut k = BASE;
                loop {
                    let t = threshold(k, bias);
                    if q < t {
                        break;
                    }
                    out.push(digit(t + (q - t) % (BASE - t)));
                    q = (q - t) / (BASE - t);
                    k += BASE;
                }
                out.push(digit(q));
                bias = adapt(delta, done + 1, first);
                (delta, first) = (0, false);
                done += 1;
            }
        }
        delta = delta.checked_add(1)?;
        n += 1;
    }
    Some(out)
}

/// Reads Punycode (RFC 3492 §6.2), without prefix; `None` when it is none.
fn decode(coded: &str) -> Option<String> {
    // Work grows with the square of the length; no label is longer than this.
    if coded.len() > 4 * LABEL_MAX || !coded.is_ascii() {
        return None;
    }
    let (basic, rest) = coded.rsplit_once('-').unwrap_or(("", coded));
    let mut out: Vec<char> = basic.chars().collect();
    let (mut n, mut i, mut bias) = (FIRST, 0u32, BIAS);
    let mut digits = rest.bytes();
    while digits.len() > 0 {
        let (old, mut weight, mut k) = (i, 1u32, BASE);
        loop {
            let d = match digits.next()? {
                b @ b'a'..=b'z' => u32::from(b - b'a'),
                b @ b'A'..=b'Z' => u32::from(b - b'A'),
                b @ b'0'..=b'9' => u32::from(b - b'0') + 26,
                _ => return None,
            };
            i = i.checked_add(d.checked_mul(weight)?)?;
            let t = threshold(k, bias);
            if d < t {
                break;
            }
            weight = weight.checked_mul(BASE - t)?;
            k += BASE;
        }
        let count = out.len() as u32 + 1;
        bias = adapt(i - old, count, old == 0);
        n = n.checked_add(i / count)?;
        i %= count;
        out.insert(i as usize, char::from_u32(n)?);
        i += 1;
    }
    Some(out.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3492 §7.1, without its mixed-case annotation.
    const SAMPLES: &[(&str, &str)] = &[
        ("ليهمابتكلموشعربي؟", "egbpdaj6bu4bxfgehfvwxn"),
        ("他们为什么不说中文", "ihqwcrb4cv8a8dqg056pqjye"),
        ("他們爲什麽不說中文", "ihqwctvzc91f659drss3x8bo0yb"),
        ("Pročprostěnemluvíčesky", "Proprostnemluvesky-uyb24dma41a"),
        ("למההםפשוטלאמדבריםעברית", "4dbcagdahymbxekheh6e0a7fei0b"),
        (
            "यहलोगहिन्दीक्योंनहींबोलसकतेहैं",
            "i1baa7eci9glrd9b2ae1bj0hfcgg6iyaf8o0a1dig0cd",
        ),
        (
            "なぜみんな日本語を話してくれないのか",
            "n8jok5ay5dzabd5bym9f0cm5685rrjetr6pdxa",
        ),
        (
            "세계의모든사람들이한국어를이해한다면얼마나좋을까",
            "989aomsvi5e83db1d2a355cv1e0vak1dwrv93d5xbh15a0dt30a5jpsd879ccm6fea98c",
        ),
        ("почемужеонинеговорятпорусски", "b1abfaaepdrnnbgefbadotcwatmq2g4l"),
        (
            "PorquénopuedensimplementehablarenEspañol",
            "PorqunopuedensimplementehablarenEspaol-fmd56a",
        ),
        (
            "TạisaohọkhôngthểchỉnóitiếngViệt",
            "TisaohkhngthchnitingVit-kjcr8268qyxafd2f1b9g",
        ),
        ("3年B組金八先生", "3B-ww4c5e180e575a65lsy2b"),
        (
            "安室奈美恵-with-SUPER-MONKEYS",
            "-with-SUPER-MONKEYS-pc58ag80a8qai00g7n9n",
        ),
        (
            "Hello-Another-Way-それぞれの場所",
            "Hello-Another-Way--fc4qua05auwb3674vfr0b",
        ),
        ("ひとつ屋根の下2", "2-u9tlzr9756bt3uc0v"),
        ("MajiでKoiする5秒前", "MajiKoi5-783gue6qz075azm5e"),
        ("パフィーdeルンバ", "de-jg4avhby1noc0d"),
        ("そのスピードで", "d9juau41awczczp"),
        ("-> $1.00 <-", "-> $1.00 <--"),
    ];

    #[test]
    fn punycode_is_that_of_rfc_3492() {
        for (plain, coded) in SAMPLES {
            assert_eq!(encode(plain).as_deref(), Some(*coded), "{plain}");
            assert_eq!(decode(coded).as_deref(), Some(*plain), "{coded}");
        }
        for bad in ["é", "a_b", "99999999", "-", "zzzzzzzzz", "a-\u{7f}"] {
            assert!(
                decode(bad).is_none_or(|u| encode(&u).as_deref() != Some(bad)),
                "{bad:?}"
            );
        }
        assert_eq!(decode(&"a".repeat(10_000)), None);
    }

    #[test]
    fn names_are_kept_as_dns_knows_them_and_shown_as_people_write_them() {
        for (typed, kept, shown) in [
            ("Example.ORG.", "example.org", "example.org"),
            ("a.b", "a.b", "a.b"),
            ("r3---sn.example", "r3---sn.example", "r3---sn.example"),
            ("Bücher.example", "xn--bcher-kva.example", "bücher.example"),
            ("BÜCHER.example", "xn--bcher-kva.example", "bücher.example"),
            ("XN--BCHER-KVA.example", "xn--bcher-kva.example", "bücher.example"),
            ("пример.рф", "xn--e1afmkfd.xn--p1ai", "пример.рф"),
            ("ПРИМЕР.РФ", "xn--e1afmkfd.xn--p1ai", "пример.рф"),
            ("faß.example", "xn--fa-hia.example", "faß.example"),
            ("ΣΊΣΥΦΟΣ.example", "xn--kxa6akbbkh.example", "σίσυφοσ.example"),
            ("例え.テスト", "xn--r8jz45g.xn--zckzah", "例え.テスト"),
            ("हिन्दी.example", "xn--j2bd4cyah0f.example", "हिन्दी.example"),
            ("ไทย.example", "xn--o3cw4h.example", "ไทย.example"),
            ("עברית.example", "xn--5dbqzzl.example", "עברית.example"),
            ("한국.example", "xn--3e0b707e.example", "한국.example"),
            ("日本3b.example", "xn--3b-5t7du0c.example", "日本3b.example"),
        ] {
            let name = DomainName::parse(typed).unwrap_or_else(|e| panic!("{typed}: {e}"));
            assert_eq!((name.ascii(), &*name.unicode()), (kept, shown), "{typed}");
            for again in [kept, shown] {
                assert_eq!(DomainName::parse(again).as_ref(), Ok(&name), "{again}");
            }
        }
    }

    #[test]
    fn a_label_that_could_be_taken_for_another_is_taken_and_shown_only_in_its_coded_form() {
        for own in [
            "аpple",
            "pаypal",
            "gооgle",
            "ꭺpple",
            "ορen",
            "exam\u{200d}ple",
            "ａpple",
            "e\u{301}t\u{e9}",
        ] {
            assert!(DomainName::parse(&format!("{own}.example")).is_err(), "{own}");
            let coded = format!("xn--{}.example", encode(own).unwrap());
            let name = DomainName::parse(&coded).unwrap_or_else(|e| panic!("{own} as {coded}: {e}"));
            assert_eq!((name.ascii(), name.unicode()), (&*coded, coded.clone()), "{own}");
        }
    }

    #[test]
    fn what_is_no_site_is_refused_with_a_reason() {
        let long = format!("{}.example", "a".repeat(64));
        let longer = vec!["abcdefg"; 32].join(".");
        let wide = format!("{}.example", "ы".repeat(60));
        for bad in [
            "",
            ".",
            "..",
            "a..b",
            ".a.b",
            "a.b..",
            "localhost",
            "пример",
            "*.example.org",
            "a.*.org",
            "10.0.0.1",
            "::1",
            "[::1]",
            "1.2.3",
            "a.1",
            "a.0x7f",
            "a.0x",
            "example.org:443",
            "https://example.org",
            "example.org/",
            "-a.example",
            "a-.example",
            "a.-b",
            "_dmarc.example.org",
            "a b.example",
            "a\nb.example",
            "a\0.example",
            "exa mple.org",
            "example.org#",
            "example.org;",
            "$host",
            "{x}.example",
            "a\\.example",
            "example。org",
            "example．org",
            "example｡org",
            "a\u{202e}b.example",
            "a\u{200b}b.example",
            "\u{feff}a.example",
            "a\u{ad}b.example",
            "cafe\u{301}.example",
            "и\u{306}.example",
            "ｅxample.org",
            "①.example",
            "½.example",
            "☃.example",
            "😀.example",
            "ab--ы.example",
            "-\u{202e}.example",
            "xn--.example",
            "xn--a.example",
            "xn--example-.example",
            "xn--bcher-kva-.example",
            "xn--99999999.example",
            "xn--BÜCHER.example",
            "xn--abc-.example",
            "xn--tiny-ascii-.org",
            "אa.example",
            "1א.example",
            "x; } server { listen 81; }",
            &long,
            &longer,
            &wide,
        ] {
            let refused = DomainName::parse(bad);
            assert!(refused.is_err(), "{bad:?} gave {refused:?}");
            let say = refused.unwrap_err();
            assert!(
                !say.contains(['\n', '\0', '\u{202e}', '\u{200b}']) && say.len() < 400,
                "{bad:?}: {say:?}"
            );
        }
    }

    #[test]
    fn whatever_comes_in_the_stored_form_reads_as_itself() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64; // xorshift: the same names every time
        let mut next = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let alphabets = [
            "abz09-",
            "абвжя-",
            "äöüßéabc",
            "日本語かなカナ",
            "देवनागरी्",
            "xn-",
            "a\u{301}\u{200d}я.",
            "αβγ9",
        ];
        let mut taken = 0;
        for _ in 0..20_000 {
            let alphabet: Vec<char> = alphabets[next() as usize % alphabets.len()].chars().collect();
            let length = 1 + next() as usize % 24;
            let label: String = (0..length)
                .map(|_| alphabet[next() as usize % alphabet.len()])
                .collect();
            assert_eq!(encode(&label).as_deref().and_then(decode).as_deref(), Some(&*label));
            let Ok(name) = DomainName::parse(&format!("{label}.example")) else {
                continue;
            };
            taken += 1;
            let ascii = name.ascii();
            assert!(
                ascii
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b)),
                "{ascii}"
            );
            assert!(
                ascii
                    .split('.')
                    .all(|l| (1..=63).contains(&l.len()) && !l.starts_with('-') && !l.ends_with('-'))
            );
            assert_eq!(DomainName::parse(ascii).as_ref(), Ok(&name), "{label}");
            assert_eq!(DomainName::parse(&name.unicode()).as_ref(), Ok(&name), "{label}");
        }
        assert!(taken > 5_000, "{taken}");
    }
}
