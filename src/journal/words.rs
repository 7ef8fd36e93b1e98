//! What people look for in lines: words with `AND` (or nothing), `OR`, `NOT` (or `-`), `"several words"`, and `*` for
//! anything within a line. Case does not count.

use std::borrow::Cow;

/// Longest query in bytes.
pub const MAX: usize = 500;

/// A query: any of the alternatives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    any: Vec<Vec<Term>>,
}

/// One word of an alternative.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    /// Texts that follow one another; more than one where there was a `*`.
    parts: Vec<String>,
    wanted: bool,
}

/// A text in the case in which it is compared.
pub fn folded(text: &str) -> Cow<'_, str> {
    match text.is_ascii() {
        true if !text.bytes().any(|b| b.is_ascii_uppercase()) => Cow::Borrowed(text),
        true => Cow::Owned(text.to_ascii_lowercase()),
        false => Cow::Owned(text.to_lowercase()),
    }
}

impl Words {
    /// Reads a query. An empty one finds every line. Error: a sentence.
    pub fn parse(text: &str) -> Result<Words, String> {
        if text.len() > MAX {
            return Err(format!("A search has at most {MAX} bytes."));
        }
        let (mut any, mut all, mut wanted) = (Vec::new(), Vec::new(), true);
        let mut rest = text.trim();
        let mut waits = false; // an operator waits for its word
        while !rest.is_empty() {
            let (word, quoted, after) = next(rest)?;
            rest = after.trim_start();
            match word {
                "AND" if !quoted => waits = true,
                "OR" if !quoted => {
                    if all.is_empty() {
                        return Err("OR stands between two words.".into());
                    }
                    any.push(std::mem::take(&mut all));
                    waits = true;
                }
                "NOT" if !quoted => (wanted, waits) = (false, true),
                _ => {
                    let (word, denied) = match word.strip_prefix('-').filter(|w| !quoted && !w.is_empty()) {
                        Some(word) => (word, true),
                        None => (word, false),
                    };
                    let parts = |word: &str| word.split('*').map(|p| folded(p).into_owned()).collect::<Vec<_>>();
                    let mut parts = if quoted {
                        vec![folded(word).into_owned()]
                    } else {
                        parts(word)
                    };
                    parts.retain(|part| !part.is_empty());
                    all.push(Term {
                        parts,
                        wanted: wanted && !denied,
                    });
                    (wanted, waits) = (true, false);
                }
            }
        }
        if waits {
            return Err("AND, OR and NOT stand before a word. To find them as words, put them in quotes.".into());
        }
        any.extend(Some(all).filter(|all| !all.is_empty()));
        Ok(Words { any })
    }

    /// Does it find every line?
    pub fn is_empty(&self) -> bool {
        self.any.is_empty()
    }

    /// Does it find this line?
    pub fn find(&self, line: &str) -> bool {
        if self.is_empty() {
            return true;
        }
        let line = folded(line);
        self.any.iter().any(|all| all.iter().all(|term| term.finds(&line)))
    }

    /// May lines with these [`Sieve`]d words be among those that it finds?
    pub fn may_find(&self, sieve: &Sieve) -> bool {
        let passes = |term: &Term| !term.wanted || term.parts.iter().all(|part| sieve.may_hold(part));
        self.any.is_empty() || self.any.iter().any(|all| all.iter().all(passes))
    }
}

impl Term {
    fn finds(&self, line: &str) -> bool {
        let mut rest = line;
        let found = self.parts.iter().all(|part| match rest.find(part.as_str()) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        });
        found == self.wanted
    }
}

/// The next word, whether it was quoted, and what follows.
fn next(text: &str) -> Result<(&str, bool, &str), String> {
    if let Some(quoted) = text.strip_prefix('"') {
        return match quoted.split_once('"') {
            Some((word, after)) => Ok((word, true, after)),
            None => Err("A quote is not closed.".into()),
        };
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    Ok((&text[..end], false, &text[end..]))
}

/// Which three bytes in a row stand somewhere in some lines: a Bloom filter of 4 KiB with two bits for each.
pub struct Sieve<'a>(Cow<'a, [u8]>);

/// Bytes of a [`Sieve`].
pub const SIEVE: usize = 4_096;

impl Default for Sieve<'_> {
    fn default() -> Self {
        Sieve(Cow::Owned(vec![0; SIEVE]))
    }
}

impl<'a> Sieve<'a> {
    /// As stored; one of another size lets everything pass.
    pub fn stored(bytes: &'a [u8]) -> Sieve<'a> {
        Sieve(Cow::Borrowed(bytes))
    }

    /// To be stored.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Adds a line.
    pub fn add(&mut self, line: &str) {
        let line = folded(line);
        let bits = self.0.to_mut();
        for three in line.as_bytes().windows(3) {
            for bit in places(three) {
                bits[bit / 8] |= 1 << (bit % 8);
            }
        }
    }

    /// May a line have been added in which this folded text stands?
    fn may_hold(&self, text: &str) -> bool {
        let has = |bit: usize| self.0[bit / 8] & (1 << (bit % 8)) != 0;
        self.0.len() != SIEVE
            || text
                .as_bytes()
                .windows(3)
                .all(|three| places(three).into_iter().all(has))
    }
}

fn places(three: &[u8]) -> [usize; 2] {
    let n = u32::from(three[0]) | u32::from(three[1]) << 8 | u32::from(three[2]) << 16;
    let mixed = (u64::from(n) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bits = (SIEVE * 8) as u64;
    [(mixed >> 20) % bits, (mixed >> 44) % bits].map(|bit| bit as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(query: &str, line: &str) -> bool {
        let words = Words::parse(query).unwrap();
        let mut sieve = Sieve::default();
        sieve.add(line);
        let found = words.find(line);
        assert!(
            !found || words.may_find(&sieve),
            "the sieve holds back what is there: {query}"
        );
        found
    }

    #[test]
    fn words_are_joined_as_they_are_written() {
        let line = "GET /api/Orders 500 timeout after 30 s, запрос Отклонён";
        for query in [
            "",
            "orders",
            "orders timeout",
            "orders AND timeout",
            "nothing OR timeout",
            "orders NOT success",
            "orders -success",
            "\"timeout after\"",
            "get*500",
            "*",
            "отклонён",
            "a OR b OR timeout 30",
            "\"NOT\" OR get",
        ] {
            assert!(finds(query, line), "{query}");
        }
        for query in [
            "success",
            "orders success",
            "orders NOT timeout",
            "-get",
            "500*get",
            "\"after timeout\"",
            "\"*\"",
        ] {
            assert!(!finds(query, line), "{query}");
        }
        for bad in ["OR x", "x OR", "NOT", "x AND", "\"open"] {
            assert!(Words::parse(bad).is_err(), "{bad}");
        }
        assert!(Words::parse(&"x".repeat(MAX + 1)).is_err());
    }

    #[test]
    fn a_sieve_holds_back_nearly_all_that_is_not_there() {
        let mut sieve = Sieve::default();
        for n in 0..600 {
            sieve.add(&format!(
                "127.0.0.1 - - \"GET /item/{n} HTTP/1.1\" 200 {} worker-{}",
                n * 37,
                n % 7
            ));
        }
        let passed = (0..1_000).filter(|n| Words::parse(&format!("rareword{n}")).unwrap().may_find(&sieve));
        assert!(passed.count() < 10);
        assert!(Words::parse("rare OR item").unwrap().may_find(&sieve));
        assert!(Words::parse("NOT rareword").unwrap().may_find(&sieve));
        assert!(Words::parse("rareword").unwrap().may_find(&Sieve::stored(&[])));
    }
}
