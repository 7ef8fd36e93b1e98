//! Which containers a rule of alerts is about.

use super::choice::matches;
use super::queries::Container;

/// Names with `*`, `project:NAME`, `exit:CODE` (of the last end), each with `-` before it to leave it out. The last that
/// fits decides; where the first leaves something out, all others are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen(Vec<(bool, Which)>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Which {
    Name(String),
    Project(String),
    Exit(i64),
}

impl Chosen {
    /// Reads them, separated by spaces or commas. Error: a sentence.
    pub fn parse(text: &str) -> Result<Chosen, String> {
        let words = text.split([' ', ',']).filter(|word| !word.is_empty());
        let one = |word: &str| {
            let (word, wanted) = word.strip_prefix('-').map_or((word, true), |word| (word, false));
            let which = match word.split_once(':') {
                Some(("project", name)) => Which::Project(name.into()),
                Some(("exit", code)) => match code.parse() {
                    Ok(code) => Which::Exit(code),
                    Err(_) => return Err(format!("“{word}” has no exit code: exit:137.")),
                },
                Some((other, _)) => return Err(format!("“{other}:” is neither project: nor exit:.")),
                None if word.is_empty() => return Err("A minus stands before a name.".into()),
                None => Which::Name(word.into()),
            };
            Ok((wanted, which))
        };
        words.map(one).collect::<Result<_, _>>().map(Chosen)
    }

    /// Is this one meant?
    pub fn takes(&self, one: &Container) -> bool {
        let fits = |which: &Which| match which {
            Which::Name(pattern) => matches(pattern, &one.name) || matches(pattern, &one.full_name()),
            Which::Project(pattern) => !one.project.is_empty() && matches(pattern, &one.project),
            Which::Exit(code) => one.exit_code == Some(*code),
        };
        let last = self.0.iter().rev().find(|(_, which)| fits(which));
        let others = self.0.first().is_none_or(|(wanted, _)| !wanted);
        last.map_or(others, |(wanted, _)| *wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_that_fits_decides_and_a_minus_first_means_all_others() {
        let one = |name: &str, project: &str, exit_code: Option<i64>| Container {
            name: name.into(),
            project: project.into(),
            exit_code,
            ..Container::new(None, "", name, 0)
        };
        for (text, name, project, code, meant) in [
            ("", "web", "", None, true),
            ("web*", "web-1", "", None, true),
            ("local/web*", "web-1", "", None, true),
            ("h4/*", "web-1", "", None, false),
            ("project:shop", "web", "", None, false),
            ("project:shop -shop-db", "shop-db", "shop", None, false),
            ("-exit:143", "web", "", Some(143), false),
            ("-exit:143", "web", "", Some(1), true),
            ("exit:137,exit:139", "web", "", Some(137), true),
        ] {
            let chosen = Chosen::parse(text).unwrap();
            assert_eq!(chosen.takes(&one(name, project, code)), meant, "{text} {name}");
        }
        for bad in ["-", "exit:x", "label:x=y"] {
            assert!(Chosen::parse(bad).is_err(), "{bad}");
        }
    }
}
