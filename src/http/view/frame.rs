//! Data around a page's content, and errors beside form fields.

use crate::access::right::{Noun, Right, Role, Verb};
use crate::base::clock::Ms;
use crate::base::error::Error;
use crate::http::menu::Nav;
use crate::lang::Locale;
use serde::Serialize;
use std::collections::BTreeMap;

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
    pub can: BTreeMap<String, bool>,
    /// CSRF token for forms.
    pub csrf: String,
    /// Path and query of this page.
    pub path: String,
    /// Origin, for the line with `curl`.
    pub origin: String,
    /// Time of the server, for ages on the page.
    pub now: Ms,
    /// Heartbeat interval of streams in seconds; the scripts wait a third longer.
    pub heartbeat_s: u64,
    /// The menu, with what it counts.
    pub nav: Nav,
}

impl Page {
    /// All rights, and which of them somebody has: for [`Page::can`].
    pub fn rights(has: impl Fn(Right) -> bool) -> BTreeMap<String, bool> {
        let name = |verb: Verb, noun: Noun| format!("{}_{}", verb.name(), noun.name().replace('-', "_"));
        let all = Role::Admin.rights();
        all.map(|(verb, noun)| (name(verb, noun), has(Right::May(verb, noun))))
            .collect()
    }

    /// May this reader change anything? (Only hides buttons; the guard decides.)
    pub fn acts(&self) -> bool {
        self.can.get("edit_servers").copied().unwrap_or(false)
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
