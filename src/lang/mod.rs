//! Languages of the user interface: negotiation, the catalogue of words, and formats of numbers, sizes, durations and
//! times.

pub mod words;
pub mod format;

use crate::base::shape::described;
use crate::base::zone::Zone;

/// Language and time zone of a reader.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Locale {
    /// Language.
    pub lang: Lang,
    /// Time zone.
    pub zone: Zone,
}

/// A language of the user interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Russian.
    Ru,
}
described!(Lang: "en", "ru");

impl Lang {
    /// All of them, in the order of `words.txt`.
    pub const ALL: [Lang; 2] = [Lang::En, Lang::Ru];

    /// The tag for `<html lang>`.
    pub const fn tag(self) -> &'static str {
        match self {
            Lang::En => "en",
            Lang::Ru => "ru",
        }
    }

    /// Parses a tag (`ru`, `ru-RU`); `None` if the language is not supported.
    pub fn parse(tag: &str) -> Option<Lang> {
        let first = tag.trim().split(['-', '_']).next()?;
        Lang::ALL
            .into_iter()
            .find(|lang| lang.tag().eq_ignore_ascii_case(first))
    }

    /// The first supported language of an `Accept-Language` header. Weights are ignored: browsers send the list in
    /// order of preference.
    pub fn accepted(header: &str) -> Lang {
        let tags = header.split(',').take(16).filter_map(|item| item.split(';').next());
        tags.filter_map(Lang::parse).next().unwrap_or_default()
    }

    /// Plural form for `n` (Unicode CLDR, cardinal rules; whole numbers only).
    fn form(self, n: i64) -> usize {
        let (tens, hundreds) = (n.unsigned_abs() % 10, n.unsigned_abs() % 100);
        match self {
            Lang::En => usize::from(n != 1),
            Lang::Ru if tens == 1 && hundreds != 11 => 0,
            Lang::Ru if (2..=4).contains(&tens) && !(12..=14).contains(&hundreds) => 1,
            Lang::Ru => 2,
        }
    }

    /// Number of plural forms.
    #[cfg(test)]
    const fn forms(self) -> usize {
        match self {
            Lang::En => 2,
            Lang::Ru => 3,
        }
    }
}

impl serde::Serialize for Lang {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.tag())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plural_forms_follow_the_rules_of_the_language() {
        for (n, en, ru) in [
            (0, 1, 2),
            (1, 0, 0),
            (2, 1, 1),
            (5, 1, 2),
            (11, 1, 2),
            (12, 1, 2),
            (21, 1, 0),
            (22, 1, 1),
            (111, 1, 2),
        ] {
            assert_eq!((Lang::En.form(n), Lang::Ru.form(n)), (en, ru), "{n}");
        }
    }

    #[test]
    fn the_first_language_we_speak_wins() {
        assert_eq!(Lang::accepted("de-DE,de;q=0.9,ru-RU;q=0.8,en;q=0.7"), Lang::Ru);
        assert_eq!(Lang::accepted("de"), Lang::En);
        assert_eq!(Lang::accepted(""), Lang::En);
        assert_eq!(Lang::accepted(&"x,".repeat(100_000)), Lang::En);
    }
}
