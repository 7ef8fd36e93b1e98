//! The catalogue: every text for people stands in a `words.txt`, in English and Russian, under an id: the machines'
//! beside this file, a feature's beside its `mod.rs`, which declares them. A counted text has one form per plural
//! category. The tests below compare ids, forms and placeholders.

use super::Lang;
use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

/// The text of an id; with a count, the plural form for it.
pub fn word(lang: Lang, id: &str, n: Option<i64>) -> Option<&'static str> {
    let text = table().get(id)?[lang as usize];
    match text.contains(BETWEEN) {
        true => text.split(BETWEEN).nth(lang.form(n.unwrap_or_default())),
        false => Some(text),
    }
}

/// Fills the `{placeholders}` of a text. An unknown placeholder stays.
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

/// Fills the `{placeholders}` of a text with these values, by name. An unknown placeholder stays.
pub fn filled(text: &str, values: &[(&str, &str)]) -> String {
    let value = |out: &mut String, name: &str| {
        let value = values.iter().find(|(known, _)| *known == name);
        value.map(|(_, value)| out.push_str(value)).is_some()
    };
    fill(text, value, |out, plain| out.push_str(plain))
}

/// A text in English, filled with these values: what is stored, and told in other languages by [`retold`].
pub fn english(id: &str, values: &[(&str, &str)]) -> String {
    filled(word(Lang::En, id, None).unwrap_or(id), values)
}

/// What was said in English and stored so, in another language: the text of `told.…` or `err.…` that it was filled from,
/// with the same values, which are told again if they can be. `None`: it is no such text.
pub fn retold(lang: Lang, said: &str) -> Option<String> {
    let tellable = |id: &str| id.starts_with("told.") || id.starts_with("err.");
    let fits = |[en, _]: &[&'static str; 2]| values_of(en, said);
    let all = table().iter().filter(|(id, _)| tellable(id));
    let found = all.filter_map(|(_, texts)| Some((texts, fits(texts)?)));
    let value_bytes = |values: &[(&str, &str)]| values.iter().map(|(_, value)| value.len()).sum::<usize>();
    let (texts, values) = found.min_by_key(|(_, values)| value_bytes(values))?;
    let again: Vec<_> = values
        .into_iter()
        .map(|(name, value)| (name, retold(lang, value).unwrap_or_else(|| value.into())))
        .collect();
    let again: Vec<(&str, &str)> = again.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Some(filled(texts[lang as usize], &again))
}

/// The values that a text was filled with to say this; `None`: it was not.
fn values_of<'t>(text: &'static str, said: &'t str) -> Option<Vec<(&'static str, &'t str)>> {
    let mut parts = text.split('{');
    let mut rest = said.strip_prefix(parts.next()?)?;
    let mut values: Vec<(&str, &str)> = Vec::new();
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        let (name, plain) = part.split_once('}')?;
        let (value, after) = match parts.peek() {
            None => (rest.strip_suffix(plain)?, ""),
            Some(_) => rest.split_once(plain)?,
        };
        let is_other = |(known, of): &(&str, &str)| *known == name && *of != value;
        if value.is_empty() || values.iter().any(is_other) {
            return None;
        }
        values.push((name, value));
        rest = after;
    }
    rest.is_empty().then_some(values)
}

/// By id, the text in each language, all forms of it: a thousand words are not worth as many allocations.
type Table = HashMap<&'static str, [&'static str; Lang::ALL.len()]>;

/// Between the forms of a text.
const BETWEEN: &str = " | ";

static JOINED: OnceLock<Table> = OnceLock::new();

/// Texts of the machines.
pub const OWN: &str = include_str!("words.txt");

/// Adds the features' texts to the machines'. The composition root calls it once at start; a second call changes
/// nothing.
pub fn join(features: impl IntoIterator<Item = &'static str>) {
    JOINED.get_or_init(|| read([OWN].into_iter().chain(features)));
}

fn table() -> &'static Table {
    #[cfg(test)]
    join(tests::texts());
    static ALONE: LazyLock<Table> = LazyLock::new(|| read([OWN]));
    JOINED.get().unwrap_or_else(|| &ALONE)
}

fn read(texts: impl IntoIterator<Item = &'static str>) -> Table {
    let mut table = Table::new();
    for text in texts {
        let mut id = "";
        for line in text.lines() {
            match line.strip_prefix("= ") {
                Some(text) => {
                    let texts: &mut [&str; 2] = table.entry(id).or_default();
                    let at = usize::from(!texts[0].is_empty());
                    texts[at] = text;
                }
                None if line.starts_with('#') => {}
                None => id = line.trim(),
            }
        }
    }
    table
}

/// The ids in the order of the files, duplicates included.
#[cfg(test)]
pub(crate) fn ids() -> Vec<&'static str> {
    let lines = [OWN].into_iter().chain(tests::texts()).flat_map(str::lines);
    lines.filter(|l| !l.is_empty() && !l.starts_with(['#', '='])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// All `words.txt` of the features; `tests/it/laws.rs` checks that each is declared.
    pub(super) fn texts() -> Vec<&'static str> {
        static TEXTS: LazyLock<Vec<String>> = LazyLock::new(|| {
            let mut texts = Vec::new();
            walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/features"), &mut texts);
            texts
        });
        TEXTS.iter().map(String::as_str).collect()
    }

    fn walk(folder: &Path, texts: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, texts);
            } else if path.ends_with("words.txt") {
                texts.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }

    #[test]
    fn every_word_is_there_once_in_both_languages_with_all_its_forms() {
        let ids = ids();
        assert_eq!(
            ids.len(),
            ids.iter().collect::<BTreeSet<_>>().len(),
            "an id stands twice"
        );
        for id in ids {
            let both = table().get(id).unwrap_or_else(|| panic!("{id} has no text"));
            let forms_of = |text: &'static str| text.split(BETWEEN).collect::<Vec<_>>();
            let counts = forms_of(both[0]).len() > 1;
            for (lang, text) in Lang::ALL.into_iter().zip(both) {
                let forms = forms_of(text);
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
    fn what_was_said_in_english_is_told_again_with_its_values() {
        let (en, ru) = ("{a} may not use {b}; usermod {a}.", "{a} нельзя {b}");
        assert_eq!(
            values_of(en, "ops may not use /run/x; usermod ops."),
            Some(vec![("a", "ops"), ("b", "/run/x"), ("a", "ops")])
        );
        for other in [
            "ops may not use /run/x; usermod eve.",
            "ops may not use /run/x",
            " may not use x; usermod .",
            ru,
        ] {
            assert_eq!(values_of(en, other), None, "{other}");
        }
        let what = english("err.engine_port", &[]);
        let said = english(
            "told.engine_said",
            &[("what", &what), ("words", "bind: address {already} in use")],
        );
        let again = retold(Lang::Ru, &said).unwrap();
        assert!(
            again.starts_with(word(Lang::Ru, "err.engine_port", None).unwrap()),
            "{again}"
        );
        assert!(
            again.contains("bind: address {already} in use") && !again.contains("said"),
            "{again}"
        );
        assert_eq!(retold(Lang::En, &said), Some(said));
        assert_eq!(retold(Lang::Ru, "Something else."), None);
    }

    #[test]
    fn both_languages_fill_in_the_same_values() {
        let names = |text: &str| {
            let mut found = BTreeSet::new();
            fill(text, |_, name| found.insert(name.to_string()), |_, _| {});
            found
        };
        for (id, [en, ru]) in table().iter() {
            let last = |text: &'static str| text.rsplit(BETWEEN).next().unwrap();
            let (en, ru) = (names(last(en)), names(last(ru)));
            assert_eq!(en, ru, "{id}");
        }
    }
}
