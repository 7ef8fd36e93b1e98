//! Which containers' logs are followed: names with `*`, `project:NAME`, `label:NAME=VALUE` (of labels that begin with
//! `lamplighter.`), each with `-` before it to leave it out. The last rule that fits decides. The label
//! `lamplighter.logs=off` leaves out whatever the rules say.

use super::model::Listed;

/// The rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice(Vec<(bool, Rule)>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Name(String),
    Project(String),
    Label(String, String),
}

impl Choice {
    /// Reads rules, separated by spaces or commas. Error: a sentence.
    pub fn parse(text: &str) -> Result<Choice, String> {
        let words = text.split([' ', ',']).filter(|word| !word.is_empty());
        let rule = |word: &str| {
            let (word, wanted) = word.strip_prefix('-').map_or((word, true), |word| (word, false));
            let rule = match word.split_once(':') {
                Some(("project", name)) => Rule::Project(name.into()),
                Some(("label", pair)) => match pair.split_once('=') {
                    Some((name, value)) => {
                        let name = name.strip_prefix("lamplighter.").unwrap_or(name);
                        Rule::Label(name.into(), value.into())
                    }
                    None => return Err(format!("“{word}” is no label with a value: label:logs=on.")),
                },
                Some((other, _)) => return Err(format!("“{other}:” is neither project: nor label:.")),
                None if word.is_empty() => return Err("A minus stands before a name.".into()),
                None => Rule::Name(word.into()),
            };
            Ok((wanted, rule))
        };
        words.map(rule).collect::<Result<_, _>>().map(Choice)
    }

    /// Is this one followed?
    pub fn takes(&self, one: &Listed) -> bool {
        if one.labels.get("logs").is_some_and(|value| value == "off") {
            return false;
        }
        let fits = |rule: &Rule| match rule {
            Rule::Name(pattern) => matches(pattern, &one.name),
            Rule::Project(pattern) => !one.project.is_empty() && matches(pattern, &one.project),
            Rule::Label(name, value) => one.labels.get(name).is_some_and(|has| matches(value, has)),
        };
        let last = self.0.iter().rev().find(|(_, rule)| fits(rule));
        last.is_some_and(|(wanted, _)| *wanted)
    }
}

/// A text by a pattern with `*`.
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::workloads::containers::model::EngineId;

    #[test]
    fn the_last_rule_that_fits_decides() {
        let one = |name: &str, project: &str, label: &str| Listed {
            life: EngineId::parse(&"ab".repeat(32)).unwrap(),
            name: name.into(),
            image: String::new(),
            state: "running",
            health: "",
            exit_code: None,
            project: project.into(),
            service: String::new(),
            labels: [("logs".to_string(), label.to_string())].into(),
        };
        for (rules, name, project, label, taken) in [
            ("*", "web", "", "", true),
            ("*", "web", "", "off", false),
            ("", "web", "", "", false),
            ("* -web*", "web-1", "", "", false),
            ("* -web* web-2", "web-2", "", "", true),
            ("project:shop", "web", "shop", "", true),
            ("project:shop,-*-db-*", "shop-db-1", "shop", "", false),
            ("project:*", "web", "", "", false),
            ("label:logs=on", "web", "", "on", true),
            ("a*b*c", "aXbYc", "", "", true),
            ("a*b*c", "aXbYcZ", "", "", false),
        ] {
            let choice = Choice::parse(rules).unwrap();
            assert_eq!(choice.takes(&one(name, project, label)), taken, "{rules} {name}");
        }
        for bad in ["-", "label:x", "image:x"] {
            assert!(Choice::parse(bad).is_err(), "{bad}");
        }
    }
}
