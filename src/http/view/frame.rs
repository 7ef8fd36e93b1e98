//! What stands around a page's content and beside the fields of its forms.

use crate::access::right::{Noun, Right, Role, Verb};
use crate::base::clock::Ms;
use crate::base::error::Error;
use crate::http::menu::Nav;
use crate::lang::Locale;
use serde::Serialize;
use std::collections::BTreeMap;

/// Light, dark, or as the system has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Theme {
    /// As the system has it.
    #[default]
    Auto,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// For the cookie.
    pub fn name(self) -> &'static str {
        match self {
            Theme::Auto => "auto",
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }

    /// Reads a cookie or form value; anything else is [`Theme::Auto`].
    pub fn parse(text: &str) -> Theme {
        match text {
            "light" => Theme::Light,
            "dark" => Theme::Dark,
            _ => Theme::Auto,
        }
    }
}

/// What every page shows around its content.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Page {
    /// Of who looks.
    #[serde(flatten)]
    pub locale: Locale,
    /// Colours.
    pub theme: Theme,
    /// Single-letter keys work (WCAG 2.1.4: they can be switched off).
    pub keys: bool,
    /// Who is signed in; empty on the pages before signing in.
    pub user: String,
    /// `admin`, `operator` or `viewer`; empty when nobody is signed in.
    pub role: String,
    /// Which rights they have: `edit_domains`, … Only hides buttons; the guard decides.
    pub can: BTreeMap<String, bool>,
    /// Goes into every form.
    pub csrf: String,
    /// Path and query of this page, to come back to.
    pub path: String,
    /// `https://lamp.example.org`, for the line with `curl`.
    pub origin: String,
    /// The server's clock, for all ages on the page.
    pub now: Ms,
    /// So often a stream tells at least that it lives; the scripts wait a third longer.
    pub heartbeat_s: u64,
    /// The menu, with what it counts.
    pub nav: Nav,
}

impl Page {
    /// All rights there are, and which of them somebody has: for [`Page::can`].
    pub fn rights(has: impl Fn(Right) -> bool) -> BTreeMap<String, bool> {
        let name = |verb: Verb, noun: Noun| format!("{}_{}", verb.name(), noun.name().replace('-', "_"));
        let all = Role::Admin.rights();
        all.map(|(verb, noun)| (name(verb, noun), has(Right::May(verb, noun))))
            .collect()
    }

    /// May this person change things? (Only hides buttons; the guard decides.)
    pub fn acts(&self) -> bool {
        self.can.get("edit_servers").copied().unwrap_or(false)
    }
}

/// What is wrong with the fields of a form: name to code and English sentence.
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

    /// Is no field wrong?
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
