//! Data around a page's content, and errors beside form fields.

use super::Prepared;
use crate::access::right::{Noun, Right, Role, Verb};
use crate::base::clock::Ms;
use crate::base::error::Error;
use crate::lang::Locale;
use crate::notice::{Level, Notice};
use minijinja::value::{Object, Value};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Colour theme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Theme {
    /// By system setting.
    #[default]
    Auto,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// Name for the cookie.
    pub fn name(self) -> &'static str {
        match self {
            Theme::Auto => "auto",
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }

    /// Parses a cookie or form value; others are [`Theme::Auto`].
    pub fn parse(text: &str) -> Theme {
        match text {
            "light" => Theme::Light,
            "dark" => Theme::Dark,
            _ => Theme::Auto,
        }
    }
}

/// Data that every page shows around its content.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Page {
    /// Locale of the reader.
    #[serde(flatten)]
    pub locale: Locale,
    /// Theme.
    pub theme: Theme,
    /// Are single-letter shortcuts enabled (WCAG 2.1.4)?
    pub keys: bool,
    /// Login; empty before signing in.
    pub user: String,
    /// `admin`, `operator` or `viewer`; empty when nobody is signed in.
    pub role: String,
    /// Rights of the reader: `edit_domains`, … Only hides buttons; the guard decides.
    #[serde(skip)]
    pub can: Can,
    /// CSRF token for forms.
    pub csrf: String,
    /// Path and query of this page.
    pub path: String,
    /// Path of the menu entry that the page belongs to.
    pub here: &'static str,
    /// Origin, for the line with `curl`.
    pub origin: String,
    /// Time of the server, for ages on the page.
    pub now: Ms,
    /// Heartbeat interval of streams in seconds; the scripts wait a third longer.
    pub heartbeat_s: u64,
    /// The [menu](crate::http::menu::Nav), with what it counts.
    pub nav: Prepared,
    /// What everybody is told now: text and level.
    pub banner: Option<(String, Level)>,
    /// Why nothing is changed now; empty words: it was not said.
    pub maintenance: Option<String>,
}

impl Page {
    /// Shows what everybody is told at the time of this page.
    pub fn tell(&mut self, notice: &Notice) {
        self.banner = notice
            .banner_at(self.now)
            .map(|banner| (banner.text.clone(), banner.level));
        self.maintenance = notice.maintenance.then(|| notice.message.clone());
    }
}

/// A set of rights, in templates `can.edit_domains`: a name is looked up when a template asks for it, and one that is no
/// right is undefined there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Can(u128);

impl Can {
    /// The rights that `has` accepts.
    pub fn of(has: impl Fn(Right) -> bool) -> Can {
        let held = rights().filter(|(_, right)| has(*right));
        Can(held.fold(0, |bits, (bit, _)| bits | bit))
    }

    /// Is it in the set?
    pub fn has(self, right: Right) -> bool {
        rights().any(|(bit, one)| one == right && self.0 & bit != 0)
    }

    /// Equal for equal sets only; for keys of caches.
    pub fn key(self) -> u128 {
        self.0
    }
}

/// All rights that there are, each with its bit.
fn rights() -> impl Iterator<Item = (u128, Right)> {
    let all = Role::Admin.rights().enumerate();
    all.map(|(n, (verb, noun))| (1 << n, Right::May(verb, noun)))
}

impl Object for Can {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let (verb, noun) = key.as_str()?.split_once('_')?;
        let right = Right::May(Verb::parse(verb)?, Noun::parse(&noun.replace('_', "-"))?);
        right.is_known().then(|| self.has(right).into())
    }
}

/// Errors of form fields: name to code and English sentence.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub struct Errors(BTreeMap<String, Wrong>);

#[derive(Debug, Clone, Serialize)]
struct Wrong {
    code: &'static str,
    say: String,
}

impl Errors {
    /// One wrong field.
    pub fn one(field: &str, code: &'static str, say: &str) -> Errors {
        let wrong = Wrong {
            code,
            say: say.to_string(),
        };
        Errors(BTreeMap::from([(field.to_string(), wrong)]))
    }

    /// Are there no errors?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All wrong fields of an error; of two mistakes in one field the first.
    pub fn of(error: &Error) -> Errors {
        let mut all = BTreeMap::new();
        for f in &error.fields {
            all.entry(f.field.to_string()).or_insert_with(|| Wrong {
                code: f.code,
                say: f.message.clone(),
            });
        }
        Errors(all)
    }
}
