//! The rule language of groups: which things belong together, said as JSON. A rule is a condition
//! `{"field","op","value"}`, or `{"all":[…]}`, `{"any":[…]}`, `{"not":…}` of rules, at most [`DEPTH_MAX`] deep.
//!
//! | op | true when |
//! |---|---|
//! | `eq`, `ne` | the value is this, or is not |
//! | `contains` | a list has this entry, a text has this in it |
//! | `prefix`, `suffix` | the text begins or ends so |
//! | `glob` | the whole text fits, with `*` for any text and `?` for one character |
//! | `in` | the value is one of these |
//! | `lt`, `gt` | the number is smaller, or greater |
//! | `exists` | there is a value (`true`), or there is none (`false`) |
//!
//! Texts are compared whatever their case. Of a list, one entry has to fit (for `ne`: none may). Where there is no value,
//! only `ne` and `exists: false` are true. Reading is bounded, and so is the work: `glob` never goes back further than its
//! last `*`.

use crate::base::text;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Levels of `all`, `any` and `not` above a condition, itself counted.
pub const DEPTH_MAX: usize = 5;
/// Conditions of a rule.
pub const CONDITIONS_MAX: usize = 100;
/// Bytes of a text, and entries of `in`.
const TEXT_MAX: usize = 256;
const LIST_MAX: usize = 200;

/// What is known of a thing under one name.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact<'a> {
    /// A text; compared as a number by `lt` and `gt` if it is one.
    Text(Cow<'a, str>),
    /// A number.
    Number(f64),
    /// Texts.
    List(&'a [String]),
}

/// A rule, read and checked.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// Every one holds.
    All(Vec<Rule>),
    /// One of them holds.
    Any(Vec<Rule>),
    /// It does not hold.
    Not(Box<Rule>),
    /// A condition.
    Is(Condition),
}

/// A condition about one field.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    field: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Eq(String),
    Ne(String),
    Contains(String),
    Prefix(String),
    Suffix(String),
    Glob(Vec<char>),
    In(Vec<String>),
    Less(f64),
    Greater(f64),
    Exists(bool),
}

const OPS: &str = "eq, ne, contains, prefix, suffix, glob, in, lt, gt, exists";

impl Rule {
    /// Reads a rule; `is_field` says which fields there are. Error: a sentence with the place of the mistake.
    pub fn parse(rule: &Map<String, Value>, is_field: &dyn Fn(&str) -> bool) -> Result<Rule, String> {
        let mut count = 0;
        read(rule, is_field, 1, &mut count)
    }

    /// Does it hold for a thing? `fact` gives what is known under a field's name.
    pub fn holds<'a>(&self, fact: &impl Fn(&str) -> Option<Fact<'a>>) -> bool {
        match self {
            Rule::All(rules) => rules.iter().all(|rule| rule.holds(fact)),
            Rule::Any(rules) => rules.iter().any(|rule| rule.holds(fact)),
            Rule::Not(rule) => !rule.holds(fact),
            Rule::Is(condition) => condition.test.holds(fact(&condition.field)),
        }
    }

    /// Passes on the fields that its conditions are about.
    pub fn each_field<'a>(&'a self, each: &mut impl FnMut(&'a str)) {
        match self {
            Rule::All(rules) | Rule::Any(rules) => rules.iter().for_each(|rule| rule.each_field(each)),
            Rule::Not(rule) => rule.each_field(each),
            Rule::Is(condition) => each(&condition.field),
        }
    }
}

fn read(
    rule: &Map<String, Value>,
    is_field: &dyn Fn(&str) -> bool,
    depth: usize,
    count: &mut usize,
) -> Result<Rule, String> {
    if depth > DEPTH_MAX {
        return Err(format!("A rule has at most {DEPTH_MAX} levels."));
    }
    let mut below = |value: &Value| match value {
        Value::Object(rule) => read(rule, is_field, depth + 1, count),
        _ => Err("A rule is an object: a condition, or all, any or not of rules.".to_string()),
    };
    let mut several = |name: &str, value: &Value| match value {
        Value::Array(rules) if rules.is_empty() => Err(format!("“{name}” needs at least one rule.")),
        Value::Array(rules) => rules.iter().map(&mut below).collect::<Result<Vec<_>, _>>(),
        _ => Err(format!("“{name}” is a list of rules.")),
    };
    let only = (rule.len() == 1).then(|| rule.iter().next()).flatten();
    match only.map(|(name, value)| (name.as_str(), value)) {
        Some(("all", rules)) => Ok(Rule::All(several("all", rules)?)),
        Some(("any", rules)) => Ok(Rule::Any(several("any", rules)?)),
        Some(("not", rule)) => Ok(Rule::Not(Box::new(below(rule)?))),
        _ => {
            *count += 1;
            match *count > CONDITIONS_MAX {
                true => Err(format!("A rule has at most {CONDITIONS_MAX} conditions.")),
                false => condition(rule, is_field).map(Rule::Is),
            }
        }
    }
}

fn condition(rule: &Map<String, Value>, is_field: &dyn Fn(&str) -> bool) -> Result<Condition, String> {
    if let Some(other) = rule.keys().find(|k| !["field", "op", "value"].contains(&k.as_str())) {
        let shown = text::one_line(other, 40);
        return Err(format!(
            "“{shown}” is no part of a rule: a condition has field, op and value; all, any and not stand alone."
        ));
    }
    let word = |name: &str| rule.get(name).and_then(Value::as_str);
    let field = word("field").ok_or("A condition needs a field.")?;
    if field.len() > TEXT_MAX || !is_field(field) {
        return Err(format!("There is no field “{}”.", text::one_line(field, 40)));
    }
    let op = word("op").ok_or_else(|| format!("A condition needs an op: {OPS}."))?;
    let value = rule.get("value").unwrap_or(&Value::Null);
    let said = || {
        plain(value)
            .ok_or_else(|| format!("“{field} {op}” needs a text, a number or a flag of at most {TEXT_MAX} bytes."))
    };
    let number = || match value {
        Value::Number(n) => n.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let number = || {
        number()
            .filter(|n| n.is_finite())
            .ok_or_else(|| format!("“{field} {op}” needs a number."))
    };
    let test = match op {
        "eq" => Test::Eq(said()?),
        "ne" => Test::Ne(said()?),
        "contains" => Test::Contains(said()?),
        "prefix" => Test::Prefix(said()?),
        "suffix" => Test::Suffix(said()?),
        "glob" => Test::Glob(said()?.chars().collect()),
        "in" => match value {
            Value::Array(all) if !all.is_empty() && all.len() <= LIST_MAX => {
                let all: Option<Vec<_>> = all.iter().map(plain).collect();
                Test::In(all.ok_or_else(|| format!("“{field} in” is a list of texts and numbers."))?)
            }
            _ => return Err(format!("“{field} in” needs a list of 1 to {LIST_MAX} values.")),
        },
        "lt" => Test::Less(number()?),
        "gt" => Test::Greater(number()?),
        "exists" => match value {
            Value::Null => Test::Exists(true),
            Value::Bool(is) => Test::Exists(*is),
            _ => return Err(format!("“{field} exists” is true or false.")),
        },
        "regex" => return Err("There are no regular expressions here. Use glob, with * and ?.".into()),
        other => {
            return Err(format!(
                "There is no op “{}”; there are {OPS}.",
                text::one_line(other, 40)
            ));
        }
    };
    Ok(Condition {
        field: field.into(),
        test,
    })
}

/// A value as the text that is compared.
fn plain(value: &Value) -> Option<String> {
    let said = match value {
        Value::String(text) => text.to_lowercase(),
        Value::Number(n) => n.as_f64().map(written)?,
        Value::Bool(is) => is.to_string(),
        _ => return None,
    };
    (said.len() <= TEXT_MAX).then_some(said)
}

/// 4.0 and 4 are the same number.
fn written(n: f64) -> String {
    n.to_string()
}

impl Test {
    fn holds(&self, fact: Option<Fact>) -> bool {
        let fact = fact.filter(|fact| !matches!(fact, Fact::Text(text) if text.is_empty()));
        let fact = fact.filter(|fact| !matches!(fact, Fact::List(list) if list.is_empty()));
        let Some(fact) = fact else {
            return matches!(self, Test::Ne(_) | Test::Exists(false));
        };
        match (self, &fact) {
            (Test::Exists(is), _) => *is,
            (Test::Less(limit), fact) => number(fact).is_some_and(|n| n < *limit),
            (Test::Greater(limit), fact) => number(fact).is_some_and(|n| n > *limit),
            (Test::Ne(said), fact) => !Test::Eq(said.clone()).holds(Some(fact.clone())),
            (Test::Contains(said), Fact::List(list)) => list.iter().any(|text| text.to_lowercase() == *said),
            (test, Fact::List(list)) => list.iter().any(|text| test.fits(&text.to_lowercase())),
            (test, Fact::Text(text)) => test.fits(&text.to_lowercase()),
            (test, Fact::Number(n)) => test.fits(&written(*n)),
        }
    }

    fn fits(&self, text: &str) -> bool {
        match self {
            Test::Eq(said) => text == said,
            Test::Contains(said) => text.contains(said.as_str()),
            Test::Prefix(said) => text.starts_with(said.as_str()),
            Test::Suffix(said) => text.ends_with(said.as_str()),
            Test::In(all) => all.iter().any(|said| text == said),
            Test::Glob(pattern) => glob(pattern, text),
            Test::Ne(_) | Test::Less(_) | Test::Greater(_) | Test::Exists(_) => false,
        }
    }
}

fn number(fact: &Fact) -> Option<f64> {
    match fact {
        Fact::Number(n) => Some(*n),
        Fact::Text(text) => text.trim().parse().ok(),
        Fact::List(_) => None,
    }
}

/// `*` is any text, `?` one character. Goes back to the last `*` only: at most pattern × text steps.
pub fn glob(pattern: &[char], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, from)) => {
                    (p, t) = (at + 1, from + 1);
                    star = Some((at, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const FIELDS: [&str; 5] = ["name", "tags", "cpu", "facts.os", "none"];

    fn parse(rule: Value) -> Result<Rule, String> {
        let is_field = |name: &str| FIELDS.contains(&name);
        Rule::parse(rule.as_object().ok_or("no object")?, &is_field)
    }

    fn holds(rule: Value) -> bool {
        let tags = ["Web".to_string(), "eu".to_string()];
        let fact = |name: &str| match name {
            "name" => Some(Fact::Text("Web-1.Example".into())),
            "tags" => Some(Fact::List(&tags)),
            "cpu" => Some(Fact::Number(91.5)),
            "facts.os" => Some(Fact::Text("12".into())),
            _ => None,
        };
        parse(rule).unwrap().holds(&fact)
    }

    #[test]
    fn each_op_says_what_it_says() {
        let is = |field: &str, op: &str, value: Value| holds(json!({ "field": field, "op": op, "value": value }));
        for (field, op, value, expected) in [
            ("name", "eq", json!("web-1.example"), true),
            ("name", "eq", json!("web-1"), false),
            ("name", "ne", json!("web-1"), true),
            ("name", "contains", json!("1.EX"), true),
            ("name", "prefix", json!("web"), true),
            ("name", "suffix", json!("ample"), true),
            ("name", "glob", json!("web-?.*"), true),
            ("name", "glob", json!("web"), false),
            ("name", "in", json!(["x", "WEB-1.example"]), true),
            ("tags", "contains", json!("web"), true),
            ("tags", "contains", json!("we"), false),
            ("tags", "prefix", json!("we"), true),
            ("tags", "ne", json!("web"), false),
            ("tags", "ne", json!("db"), true),
            ("cpu", "gt", json!(90), true),
            ("cpu", "lt", json!("91.5"), false),
            ("cpu", "eq", json!(91.5), true),
            ("facts.os", "gt", json!(9), true),
            ("facts.os", "eq", json!(12.0), true),
            ("name", "gt", json!(1), false),
            ("none", "exists", json!(false), true),
            ("none", "exists", json!(true), false),
            ("name", "exists", Value::Null, true),
            ("none", "eq", json!(""), false),
            ("none", "ne", json!("x"), true),
            ("none", "lt", json!(5), false),
        ] {
            assert_eq!(is(field, op, value.clone()), expected, "{field} {op} {value}");
        }
    }

    #[test]
    fn rules_are_joined_and_turned_round() {
        let (yes, no) = (
            json!({ "field": "cpu", "op": "gt", "value": 1 }),
            json!({ "field": "cpu", "op": "lt", "value": 1 }),
        );
        assert!(holds(json!({ "all": [yes, { "not": no }] })));
        assert!(!holds(json!({ "all": [yes, no] })));
        assert!(holds(json!({ "any": [no, yes] })));
        assert!(!holds(json!({ "not": { "any": [no, yes] } })));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        let good = json!({ "field": "name", "op": "eq", "value": "x" });
        let deep = |levels: usize| (1..levels).fold(good.clone(), |rule, _| json!({ "not": rule }));
        assert!(parse(deep(DEPTH_MAX)).is_ok());
        assert!(parse(json!({ "any": vec![good.clone(); CONDITIONS_MAX] })).is_ok());
        for bad in [
            json!({}),
            json!([]),
            json!({ "all": [] }),
            json!({ "all": good }),
            json!({ "all": [good], "any": [good] }),
            json!({ "not": [good] }),
            json!({ "field": "password", "op": "eq", "value": "x" }),
            json!({ "field": "name", "op": "regex", "value": "(a+)+$" }),
            json!({ "field": "name", "op": "like", "value": "x" }),
            json!({ "field": "name", "op": "eq" }),
            json!({ "field": "name", "op": "eq", "value": "x".repeat(TEXT_MAX + 1) }),
            json!({ "field": "name", "op": "in", "value": [] }),
            json!({ "field": "name", "op": "in", "value": vec!["x"; LIST_MAX + 1] }),
            json!({ "field": "cpu", "op": "gt", "value": "much" }),
            json!({ "field": "cpu", "op": "gt", "value": "inf" }),
            json!({ "field": "cpu", "op": "exists", "value": 1 }),
            json!({ "field": "name", "op": "eq", "value": "x", "all": [] }),
            json!({ "any": vec![good.clone(); CONDITIONS_MAX + 1] }),
            deep(DEPTH_MAX + 1),
        ] {
            assert!(parse(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_glob_fits_the_whole_text_and_stars_do_not_multiply() {
        let fits = |pattern: &str, text: &str| glob(&pattern.chars().collect::<Vec<_>>(), text);
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("?", "", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*ж?", "жжж", true),
            ("a", "ab", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
        assert!(!fits(&"*a".repeat(100), &"b".repeat(10_000)));
    }
}
