//! The doctor: checks Lamplighter's own machine and settings, and says what to do about each finding. On a page, by the
//! API, and as `lamplighter doctor`.

mod queries;
mod checks;
mod api;
mod pages;
mod commands;

use crate::access::right::{Controller, Read, may};
use crate::base::shape::described;
use crate::feature::Feature;
use crate::http::menu::Entry;
use crate::lang::{Lang, words};
use serde::Serialize;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    menu: MENU,
    commands: commands::COMMANDS,
    ..Feature::named("doctor")
};

const MENU: &[Entry] = &[Entry {
    path: "/doctor",
    word: "doctor",
    icon: "shield",
    right: may(Read, Controller),
    place: (4, 5),
    ..Entry::NEW
}];

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    /// Nothing is wrong.
    Ok,
    /// Works, but should be changed.
    Warning,
    /// Is broken, or will be.
    Failure,
}
described!(Severity: "ok", "warning", "failure");

/// The result of one check.
#[derive(Debug)]
struct Finding {
    /// Which check: `doctor.CHECK` is its name.
    check: &'static str,
    severity: Severity,
    /// `doctor.CHECK.CASE` says what was found, `….do` what to do. Empty when nothing is wrong.
    case: &'static str,
    /// Names or figures for the text.
    what: String,
}

impl Finding {
    fn name(&self, lang: Lang) -> &'static str {
        words::word(lang, &format!("doctor.{}", self.check), None).unwrap_or(self.check)
    }

    fn say(&self, lang: Lang) -> String {
        match self.case {
            "" => self.what.clone(),
            case => self.text(lang, &format!("doctor.{}.{case}", self.check)),
        }
    }

    fn advice(&self, lang: Lang) -> String {
        match self.case {
            "" => String::new(),
            case => self.text(lang, &format!("doctor.{}.{case}.do", self.check)),
        }
    }

    fn text(&self, lang: Lang, id: &str) -> String {
        words::filled(
            words::word(lang, id, None).unwrap_or(self.case),
            &[("what", &self.what)],
        )
    }
}

/// The worst of them.
fn worst(findings: &[Finding]) -> Severity {
    findings.iter().map(|f| f.severity).max().unwrap_or(Severity::Ok)
}
