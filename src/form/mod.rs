//! Fields of a JSON object or an HTML form, read one by one into typed values. All mistakes are collected, so that a
//! person sees them at once, each beside its field. An unknown name is a mistake too. Types and bounds stand in the
//! [`param`] rows that a route declares; the reader takes them by name.

pub mod body;
pub mod param;

use crate::base::error::{Error, Field, Kind, Result};
use crate::base::id::Id;
use crate::base::secret::Secret;
use crate::base::text;
use crate::base::zone::Zone;
use param::{Kind as Type, Param};
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// A reader of the fields of one request.
#[derive(Clone)]
pub struct Input {
    params: &'static [Param],
    values: Map<String, Value>,
    asked: Vec<&'static str>,
    errors: Vec<Field>,
}

impl Input {
    /// Reads a body that may hold `params`: a form if its content type says so, else a JSON object. Error: malformed.
    pub fn read(params: &'static [Param], content_type: Option<&str>, body: &[u8]) -> Result<Input> {
        Ok(Input::of(params, body::object(content_type, body)?))
    }

    /// Reads an object: that of a body, or one put together from a page's form or a document.
    pub fn of(params: &'static [Param], values: Map<String, Value>) -> Input {
        Input {
            params,
            values,
            asked: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn row(&self, name: &str) -> &'static Param {
        param::find(self.params, name)
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.asked.push(name);
        self.values.remove(name)
    }

    /// Takes a field that does not belong here. Was it sent?
    pub fn given(&mut self, name: &'static str) -> bool {
        self.take(name).is_some()
    }

    /// What is sent as `alias` is `name`, unless that is sent, too.
    pub fn known_as(&mut self, alias: &'static str, name: &'static str) {
        if let Some(value) = self.take(alias) {
            self.values.entry(name).or_insert(value);
        }
    }

    /// Records a mistake.
    pub fn wrong(&mut self, field: &'static str, code: &'static str, message: impl Into<String>) {
        self.errors.push(Field {
            field,
            code,
            message: message.into(),
        });
    }

    /// A display name: 1 to 100 characters on one line, all visible.
    pub fn name(&mut self, name: &'static str) -> Option<String> {
        let text = self.parse(name, "bad_name", |text| {
            let good = (1..=100).contains(&text.chars().count()) && !text.contains(char::is_control);
            match good && !text.trim().is_empty() {
                true => Ok(text.to_string()),
                false => Err("A name has 1 to 100 characters on one line.".into()),
            }
        })?;
        self.seen(name, &text, text::unseen).then_some(text)
    }

    /// Are all characters visible, except those that `unseen` accepts? Else records which one is not.
    fn seen(&mut self, name: &'static str, text: &str, unseen: impl Fn(char) -> bool) -> bool {
        let Some((at, bad)) = text.chars().enumerate().find(|(_, c)| unseen(*c)) else {
            return true;
        };
        let (code, at) = (bad as u32, at + 1);
        let say = format!(
            "Character {at} of {name} cannot be seen or turns the reading direction (U+{code:04X}). Take it out."
        );
        self.wrong(name, "unseen", say);
        false
    }

    /// Text, trimmed; `None` if absent.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        let bytes_max = match self.row(name).kind {
            Type::Text { bytes_max } => bytes_max,
            Type::Name | Type::Choice(_) => 4_096,
            _ => mistyped(name),
        };
        match self.take(name)? {
            Value::String(text) => {
                let text = text.trim_matches(' ');
                if text.len() > bytes_max {
                    self.wrong(
                        name,
                        "too_long",
                        format!("{name} may have at most {bytes_max} bytes; this has {}.", text.len()),
                    );
                    return None;
                }
                self.seen(name, text, |c| text::unseen(c) && !text::is_joiner(c))
                    .then(|| text.to_string())
            }
            _ => {
                self.wrong(name, "not_text", format!("{name} is text."));
                None
            }
        }
    }

    /// Text that `parse` turns into a value; its error is the sentence shown.
    pub fn parse<T>(
        &mut self,
        name: &'static str,
        code: &'static str,
        parse: impl FnOnce(&str) -> std::result::Result<T, String>,
    ) -> Option<T> {
        let text = self.text(name)?;
        parse(&text).map_err(|message| self.wrong(name, code, message)).ok()
    }

    /// A list, or a text with entries separated by commas or spaces, as forms send it.
    pub fn words(&mut self, name: &'static str) -> Option<Vec<String>> {
        if let Some(Value::String(text)) = self.values.get(name) {
            let words: Vec<_> = text.split([',', ' ']).filter(|word| !word.is_empty()).collect();
            let words = Value::from(words);
            self.values.insert(name.into(), words);
        }
        self.list(name)
    }

    /// A known time zone; an empty text is none.
    pub fn time_zone(&mut self, name: &'static str) -> Option<String> {
        self.parse(name, "unknown_zone", |text| match text {
            "" => Ok(String::new()),
            text => Zone::load(text).map(|zone| zone.name().into()).map_err(|e| e.say),
        })
    }

    /// One of the row's words.
    pub fn choice(&mut self, name: &'static str) -> Option<&'static str> {
        let Type::Choice(words) = self.row(name).kind else {
            mistyped(name)
        };
        self.choice_of(name, words)
    }

    /// One of `words`, a subset of those that the row allows.
    pub fn choice_of(&mut self, name: &'static str, words: &[&'static str]) -> Option<&'static str> {
        self.parse(name, "bad_choice", |text| {
            words
                .iter()
                .copied()
                .find(|w| *w == text)
                .ok_or_else(|| format!("{name} is one of: {}.", words.join(", ")))
        })
    }

    /// A whole number, as a JSON number or as digits.
    pub fn number(&mut self, name: &'static str) -> Option<i64> {
        let (Type::Number { min, max } | Type::MaybeNumber { min, max }) = self.row(name).kind else {
            mistyped(name)
        };
        let number = match self.take(name)? {
            Value::Number(n) => n.as_i64(),
            Value::String(digits) if !digits.starts_with('+') => digits.parse().ok(),
            _ => None,
        };
        let good = number.filter(|n| (min..=max).contains(n));
        if good.is_none() {
            let say = format!("{name} is a whole number from {min} to {max}.");
            self.wrong(name, "bad_number", say);
        }
        good
    }

    /// A decimal number, as a JSON number or as text, within bounds equal to the row's or narrower.
    pub fn decimal_within(&mut self, name: &'static str, bounds: RangeInclusive<f64>) -> Option<f64> {
        let Type::Decimal { .. } = self.row(name).kind else {
            mistyped(name)
        };
        let number = match self.take(name)? {
            Value::Number(n) => n.as_f64(),
            // A decimal comma is accepted.
            Value::String(digits) => digits.trim_matches(' ').replace(',', ".").parse().ok(),
            _ => None,
        };
        let good = number.filter(|n| bounds.contains(n));
        if good.is_none() {
            let (from, to) = (bounds.start(), bounds.end());
            self.wrong(name, "bad_decimal", format!("{name} is a number from {from} to {to}."));
        }
        good
    }

    /// A value of the row's type.
    pub fn shaped(&mut self, name: &'static str) -> Option<Value> {
        let Type::Shaped(of) = self.row(name).kind else {
            mistyped(name)
        };
        let value = self.take(name)?;
        let good = of.check(&value).is_ok();
        if !good {
            self.wrong(name, "bad_type", format!("{name} is: {of}."));
        }
        good.then_some(value)
    }

    /// A boolean: JSON's, or the words of a form.
    pub fn flag(&mut self, name: &'static str) -> Option<bool> {
        let Type::Flag = self.row(name).kind else {
            mistyped(name)
        };
        let flag = match self.take(name)? {
            Value::Bool(flag) => Some(flag),
            Value::String(text) => match text.as_str() {
                "true" | "on" | "1" => Some(true),
                "false" | "off" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        };
        if flag.is_none() {
            self.wrong(name, "not_a_flag", format!("{name} is true or false."));
        }
        flag
    }

    /// The id of another row; `Some(None)` (JSON `null` or an empty text) is none.
    pub fn link<T>(&mut self, name: &'static str) -> Option<Option<Id<T>>> {
        let Type::Link = self.row(name).kind else {
            mistyped(name)
        };
        let id = match self.take(name)? {
            Value::Null => return Some(None),
            Value::String(text) if text.is_empty() => return Some(None),
            value => id_of(&value),
        };
        if id.is_none() {
            self.wrong(name, "bad_id", format!("{name} is the number of one, or null."));
        }
        id.map(Some)
    }

    /// The ids of other rows, without duplicates; a form may send a single one.
    pub fn links<T>(&mut self, name: &'static str) -> Option<Vec<Id<T>>> {
        let Type::Links { count_max } = self.row(name).kind else {
            mistyped(name)
        };
        let items = match self.take(name)? {
            Value::Array(items) => items,
            one @ Value::String(_) => vec![one],
            _ => {
                self.wrong(name, "not_a_list", format!("{name} is a list of numbers."));
                return None;
            }
        };
        if items.len() > count_max {
            let say = format!("{name} may have at most {count_max} entries; this has {}.", items.len());
            self.wrong(name, "too_many", say);
            return None;
        }
        let mut ids = Vec::with_capacity(items.len());
        for item in &items {
            match id_of(item) {
                Some(id) if !ids.contains(&id) => ids.push(id),
                Some(_) => {}
                None => {
                    self.wrong(name, "bad_id", format!("Each entry of {name} is the number of one."));
                    return None;
                }
            }
        }
        Some(ids)
    }

    /// A JSON object that the caller reads itself, or its text; `Some(None)` (`null` or an empty text) is none.
    pub fn object(&mut self, name: &'static str) -> Option<Option<Map<String, Value>>> {
        let Type::Object = self.row(name).kind else {
            mistyped(name)
        };
        let read = match self.take(name)? {
            Value::Null => return Some(None),
            Value::String(text) if text.is_empty() => return Some(None),
            Value::String(text) => serde_json::from_str(&text).ok(),
            Value::Object(object) => Some(object),
            _ => None,
        };
        if read.is_none() {
            self.wrong(name, "not_an_object", format!("{name} is a JSON object, or null."));
        }
        read.map(Some)
    }

    /// A list that the caller reads itself.
    pub fn items(&mut self, name: &'static str) -> Option<Vec<Value>> {
        let Type::Items { count_max, .. } = self.row(name).kind else {
            mistyped(name)
        };
        match self.take(name)? {
            Value::Array(items) if items.len() <= count_max => Some(items),
            Value::Array(items) => {
                let say = format!("{name} may have at most {count_max} entries; this has {}.", items.len());
                self.wrong(name, "too_many", say);
                None
            }
            _ => {
                self.wrong(name, "not_a_list", format!("{name} is a list."));
                None
            }
        }
    }

    /// A list of short texts; from a form also one text with commas.
    pub fn list(&mut self, name: &'static str) -> Option<Vec<String>> {
        let (Type::List { count_max, bytes_max } | Type::Words { count_max, bytes_max }) = self.row(name).kind else {
            mistyped(name)
        };
        let items = match self.take(name)? {
            Value::Array(items) => items
                .into_iter()
                .map(|v| v.as_str().map(|t| t.trim_matches(' ').to_string()))
                .collect(),
            _ => None,
        };
        let Some(items): Option<Vec<String>> = items else {
            self.wrong(name, "not_a_list", format!("{name} is a list of texts."));
            return None;
        };
        if items.len() > count_max {
            self.wrong(
                name,
                "too_many",
                format!("{name} may have at most {count_max} entries; this has {}.", items.len()),
            );
            return None;
        }
        if let Some(bad) = items
            .iter()
            .find(|t| t.is_empty() || t.len() > bytes_max || t.chars().any(char::is_control))
        {
            let shown = text::one_line(bad, 40);
            self.wrong(
                name,
                "bad_entry",
                format!("In {name}, each entry has 1 to {bytes_max} bytes on one line; “{shown}” has not."),
            );
            return None;
        }
        items.iter().all(|t| self.seen(name, t, text::unseen)).then_some(items)
    }

    /// A secret: `None` keeps what is stored, `Some(None)` (JSON `null` or an empty text) removes it.
    pub fn secret(&mut self, name: &'static str) -> Option<Option<Secret>> {
        let Type::Secret { bytes_max } = self.row(name).kind else {
            mistyped(name)
        };
        match self.take(name)? {
            Value::Null => Some(None),
            Value::String(text) if text.is_empty() => Some(None),
            Value::String(text) if text.len() <= bytes_max => Some(Some(Secret::new(text))),
            Value::String(_) => {
                self.wrong(name, "too_long", format!("{name} may have at most {bytes_max} bytes."));
                None
            }
            _ => {
                self.wrong(name, "not_text", format!("{name} is text."));
                None
            }
        }
    }

    /// Fields that refer to a secret of the house instead of bringing a value, `{"secret_id": 5}`, with its number.
    pub fn references(&self) -> Vec<(&'static str, i64)> {
        let of = |param: &Param| {
            let object = self.values.get(param.name).filter(|_| param.may_refer)?.as_object()?;
            let number = object.get("secret_id").filter(|_| object.len() == 1)?.as_i64()?;
            Some((param.name, number))
        };
        self.params.iter().filter_map(of).collect()
    }

    /// Puts in what such a field refers to.
    pub fn set_secret(&mut self, name: &'static str, value: Option<&Secret>) {
        let value = value.map(|v| v.reveal_text_for("a field that refers to it"));
        self.values.insert(name.into(), value.into());
    }

    /// Checks that a stored secret is only sent to the place it was given for: else whoever may edit a row could have
    /// it sent to a machine of their own. If the destination changes, the secret must be given again; an unused one is
    /// removed.
    pub fn keep_at_home(&mut self, kept: Kept, change: &mut Option<Option<Secret>>) {
        if !kept.moved || !kept.stored || change.is_some() || self.has_error(kept.field) {
            return;
        }
        match kept.in_use {
            true => self.wrong(kept.field, "moved", kept.say),
            false => *change = Some(None),
        }
    }

    /// A whole number; JSON `null` and an empty text are none.
    pub fn maybe_number(&mut self, name: &'static str) -> Option<Option<i64>> {
        let is_none = |v: &Value| v.is_null() || v.as_str() == Some("");
        match self.values.get(name).is_some_and(is_none) {
            true => self.take(name).map(|_| None),
            false => self.number(name).map(Some),
        }
    }

    /// Text; JSON `null` and an empty text are none.
    pub fn maybe_text(&mut self, name: &'static str) -> Option<Option<String>> {
        match self.values.get(name).is_some_and(Value::is_null) {
            true => self.take(name).map(|_| None),
            false => self.text(name).map(|text| Some(text).filter(|text| !text.is_empty())),
        }
    }

    /// Is a mistake of this field recorded?
    pub fn has_error(&self, field: &str) -> bool {
        self.errors.iter().any(|e| e.field == field)
    }

    /// The recorded mistakes as an error, where nothing else can be read.
    pub fn refuse(self) -> Error {
        Error::invalid(self.errors)
    }

    /// Ends reading: returns all mistakes as one error. `read_only` names may be sent back unchanged; other names that
    /// were not read are unknown.
    pub fn finish(self, read_only: &[&str]) -> Result<()> {
        if !self.errors.is_empty() {
            return Err(Error::invalid(self.errors));
        }
        match self.values.keys().find(|name| !read_only.contains(&name.as_str())) {
            None => Ok(()),
            Some(unknown) => {
                let shown = text::one_line(unknown, 60);
                let known = self.asked.join(", ");
                let say = format!("There is no field “{shown}” here. Known are: {known}.");
                Err(Error::new(Kind::Invalid, "unknown_field", say))
            }
        }
    }
}

/// A stored secret and how a draft changes its destination ([`Input::keep_at_home`]).
pub struct Kept<'s> {
    /// The field of the secret.
    pub field: &'static str,
    /// Is a secret stored?
    pub stored: bool,
    /// Is it used with the draft's settings?
    pub in_use: bool,
    /// Does the draft change the destination: address, port, certificate, proxy, login?
    pub moved: bool,
    /// The sentence that asks for it again.
    pub say: &'s str,
}

/// A programming error: the row has another type than the reader asks for.
fn mistyped(name: &str) -> ! {
    panic!("{name} is read as another type than its row says")
}

fn id_of<T>(value: &Value) -> Option<Id<T>> {
    match value {
        Value::Number(n) => n.as_i64().filter(|n| *n > 0).map(Id::new),
        Value::String(digits) => Id::parse(digits),
        _ => None,
    }
}
