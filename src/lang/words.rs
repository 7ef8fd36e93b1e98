//! Every word a person reads lives in `words.txt`, in English and Russian side by side, under an id that is never text.
//! A word that counts has one form per plural category. The tests below compare ids, forms and placeholders.

use super::Lang;
use std::collections::HashMap;
use std::sync::LazyLock;

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
pub(crate) fn ids() -> Vec<&'static str> {
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
}
