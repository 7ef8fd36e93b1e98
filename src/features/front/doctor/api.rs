//! The doctor's JSON API.

use super::{Finding, Severity, checks, worst};
use crate::access::right::{Controller, Read, may};
use crate::base::error::Result;
use crate::base::shape::described;
use crate::http::reply::Reply;
use crate::http::request::Method::Get;
use crate::http::route::{Ctx, Route, route};
use crate::lang::Lang;

/// See [`Route`].
pub const ROUTES: &[Route] = &[route(Get, "/api/doctor", may(Read, Controller), show).gives::<Report>()];

described! {
    /// What was found.
    pub struct Report {
        /// The worst.
        status: Severity,
        checks: Vec<View>,
    }

    /// One check.
    pub struct View {
        check: &'static str,
        severity: Severity,
        /// `null`: nothing is wrong.
        case: Option<&'static str>,
        /// In English.
        say: String,
        /// What to do about it.
        advice: Option<String>,
    }
}

/// The report of these findings.
pub fn report(findings: &[Finding]) -> Report {
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let view = |f: &Finding| View {
        check: f.check,
        severity: f.severity,
        case: Some(f.case).filter(|case| !case.is_empty()),
        say: f.say(Lang::En),
        advice: some(f.advice(Lang::En)),
    };
    Report {
        status: worst(findings),
        checks: findings.iter().map(view).collect(),
    }
}

fn show(ctx: &Ctx) -> Result<Reply> {
    Reply::json(&report(&checks::all(ctx.app, false)))
}
