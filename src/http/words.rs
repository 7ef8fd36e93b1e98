//! Every word a person reads lives in `words.txt`, in English and Russian side by side, under an id that is never text.
//! A word that counts has one form per plural category. The tests below compare ids, forms and placeholders.

use std::collections::HashMap;
use std::sync::LazyLock;

/// A language of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Russian.
    Ru,
}

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

    /// Reads a tag (`ru`, `ru-RU`); anything we do not speak is `None`.
    pub fn parse(tag: &str) -> Option<Lang> {
        let first = tag.trim().split(['-', '_']).next()?;
        Lang::ALL
            .into_iter()
            .find(|lang| lang.tag().eq_ignore_ascii_case(first))
    }

    /// The first language of an `Accept-Language` header that we speak. Weights are not read: browsers send the list in
    /// order of preference.
    pub fn accepted(header: &str) -> Lang {
        let tags = header.split(',').take(16).filter_map(|item| item.split(';').next());
        tags.filter_map(Lang::parse).next().unwrap_or_default()
    }

    /// Which form of a counted word `n` takes (Unicode CLDR, cardinal rules; whole numbers only).
    fn form(self, n: i64) -> usize {
        let (tens, hundreds) = (n.unsigned_abs() % 10, n.unsigned_abs() % 100);
        match self {
            Lang::En => usize::from(n != 1),
            Lang::Ru if tens == 1 && hundreds != 11 => 0,
            Lang::Ru if (2..=4).contains(&tens) && !(12..=14).contains(&hundreds) => 1,
            Lang::Ru => 2,
        }
    }

    /// How many forms a counted word has.
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

/// The text of a word; with a count, the form that the count takes.
pub fn word(lang: Lang, id: &str, n: Option<i64>) -> Option<&'static str> {
    let forms = &TABLE.get(id)?[lang as usize];
    match (forms.as_slice(), n) {
        ([one], _) => Some(one),
        (many, n) => many.get(lang.form(n.unwrap_or_default())).copied(),
    }
}

/// Puts values into the `{placeholders}` of a text. An unknown placeholder stays as it is.
pub fn fill(
    text: &str,
    mut value: impl FnMut(&mut String, &str) -> bool,
    mut plain: impl FnMut(&mut String, &str),
) -> String {
    let mut out = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        plain(&mut out, before);
        let Some((name, tail)) = after.split_once('}') else {
            plain(&mut out, "{");
            rest = after;
            continue;
        };
        if !value(&mut out, name) {
            plain(&mut out, &format!("{{{name}}}"));
        }
        rest = tail;
    }
    plain(&mut out, rest);
    out
}

type Table = HashMap<&'static str, [Vec<&'static str>; Lang::ALL.len()]>;

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table::new();
    let mut id = "";
    for line in include_str!("words.txt").lines() {
        match line.strip_prefix("= ") {
            Some(text) => {
                let forms: &mut [Vec<_>; 2] = table.entry(id).or_default();
                let at = usize::from(!forms[0].is_empty());
                forms[at] = text.split(" | ").collect();
            }
            None if line.starts_with('#') => {}
            None => id = line.trim(),
        }
    }
    table
});

/// The ids in the order of the file, duplicates included.
#[cfg(test)]
pub(super) fn ids() -> Vec<&'static str> {
    let lines = include_str!("words.txt").lines();
    lines.filter(|l| !l.is_empty() && !l.starts_with(['#', '='])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_word_is_there_once_in_both_languages_with_all_its_forms() {
        let ids = ids();
        assert_eq!(
            ids.len(),
            ids.iter().collect::<BTreeSet<_>>().len(),
            "an id stands twice"
        );
        for id in ids {
            let both = TABLE.get(id).unwrap_or_else(|| panic!("{id} has no text"));
            let counts = both[0].len() > 1;
            for (lang, forms) in Lang::ALL.into_iter().zip(both) {
                assert!(
                    !forms.is_empty() && forms.iter().all(|f| !f.trim().is_empty()),
                    "{id} lacks {}",
                    lang.tag()
                );
                assert_eq!(
                    forms.len(),
                    if counts { lang.forms() } else { 1 },
                    "{id} in {}",
                    lang.tag()
                );
            }
        }
    }

    #[test]
    fn both_languages_fill_in_the_same_values() {
        let names = |text: &str| {
            let mut found = BTreeSet::new();
            fill(text, |_, name| found.insert(name.to_string()), |_, _| {});
            found
        };
        for (id, [en, ru]) in TABLE.iter() {
            let (en, ru) = (names(en.last().unwrap()), names(ru.last().unwrap()));
            assert_eq!(en, ru, "{id}");
        }
    }

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
