//! A plan: what a deploy would do on each server, and findings that affect it.

use super::desired::DesiredState;
use super::placements::Placement;
use super::preflight::{self};
use super::vhost::RenderedVhost;
use crate::base::clock::Ms;
use crate::base::diff;
use crate::base::error::Error;
use crate::base::id::{self, Id};
use crate::base::shape::described;
use crate::features::fleet::servers::Server;
use crate::provision::site::{self as remote, Nginx};

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A deploy stops before any change.
    Stop,
    /// A deploy stops unless overwriting is permitted.
    Ask,
    /// A deploy continues with a warning.
    Warn,
}
described!(Level: "stop", "ask", "warn");

described! {
    /// Something found that was there before.
    #[derive(Debug, Clone)]
    pub struct Finding {
        /// Severity.
        pub level: Level,
        /// Stable name.
        pub code: &'static str,
        /// What was seen and what to do.
        pub message: String,
        /// Subject: a file, or a port.
        pub on: String,
        /// Its owner.
        pub by: String,
        /// Output of the server.
        pub evidence: String,
    }

    /// One action of a deploy.
    #[derive(Debug, Clone)]
    pub struct Step {
        /// `+` creates, `~` changes, `-` removes, `r` reloads.
        pub op: char,
        /// Id of the text: `switch_off`, `start`, `nginx`, `nginx_bundled`, `certbot`, `certbot_bundled`, `create`, `change`, `remove`, `issue`,
        /// `take_over`, `put_certificate`, `drop_certificate`, `enable`, `default`, `default_gone`, `reload`.
        pub what: &'static str,
        /// The file, or the ACME server.
        pub on: String,
        /// Lines added.
        pub added: usize,
        /// Lines removed.
        pub removed: usize,
    }
}

impl Step {
    pub(super) fn new(op: char, what: &'static str, on: impl Into<String>) -> Step {
        Step {
            op,
            what,
            on: on.into(),
            added: 0,
            removed: 0,
        }
    }
}

/// Plan for one server.
pub struct ServerPlan {
    /// The server.
    pub server: Id<id::Server>,
    /// Its name.
    pub name: String,
    /// Is it deployed before the others?
    pub canary: bool,
    /// Is the site to be removed there?
    pub leaves: bool,
    /// Findings, worst first.
    pub faults: Vec<Finding>,
    /// Actions in order; empty: nothing to do.
    pub steps: Vec<Step>,
    /// Current text; empty if there is none.
    pub before: String,
    /// Planned text; empty if it is to be removed.
    pub after: String,
    /// Current certificate.
    pub certificate: Option<remote::CertificateSeen>,
    /// SHA-256 of the file there now.
    pub found: Option<String>,
    /// SHA-256 of the file under the old name.
    pub found_old: Option<String>,
    /// Data for the deploy itself.
    pub(super) work: Option<Work>,
}

/// Data that only the deploy needs.
pub(super) struct Work {
    pub nginx: Option<Nginx>,
    pub set_up: bool,
    pub rendered: RenderedVhost,
    pub generation: i64,
    pub first: Option<RenderedVhost>,
    pub lineage: String,
}

/// A domain's plan.
pub struct Plan {
    /// Time of the plan, unix ms.
    pub made_at: Ms,
    /// Result of the DNS checks; `None` if disabled.
    pub preflight: Option<preflight::Report>,
    /// Findings of the domain as a whole.
    pub faults: Vec<Finding>,
    /// Servers in order of deployment.
    pub servers: Vec<ServerPlan>,
}

impl Plan {
    /// Would a deploy stop before any change?
    pub fn stops(&self) -> bool {
        let stop = |faults: &[Finding]| faults.iter().any(|f| f.level != Level::Warn);
        stop(&self.faults) || self.servers.iter().any(|s| stop(&s.faults))
    }

    /// Number of actions.
    pub fn changes(&self) -> usize {
        self.servers.iter().map(|s| s.steps.len()).sum()
    }
}

impl Finding {
    pub(super) fn new(level: Level, code: &'static str, message: String) -> Finding {
        Finding {
            level,
            code,
            message,
            on: String::new(),
            by: String::new(),
            evidence: String::new(),
        }
    }

    pub(super) fn on(self, on: impl ToString, by: impl ToString) -> Finding {
        Finding {
            on: on.to_string(),
            by: by.to_string(),
            ..self
        }
    }
}

impl ServerPlan {
    pub(super) fn empty(desired: &DesiredState, placement: &Placement, server: &Server) -> ServerPlan {
        let first = desired.sites.iter().find(|(placement, _)| placement.wanted);
        let many = desired.sites.iter().filter(|(placement, _)| placement.wanted).count() > 1;
        ServerPlan {
            server: server.id,
            name: server.fields.name.clone(),
            canary: many && first.is_some_and(|(placement, _)| placement.server == server.id),
            leaves: !placement.wanted,
            faults: Vec::new(),
            steps: Vec::new(),
            before: String::new(),
            after: String::new(),
            certificate: None,
            found: None,
            found_old: None,
            work: None,
        }
    }

    pub(super) fn failed(desired: &DesiredState, placement: &Placement, server: &Server, e: &Error) -> ServerPlan {
        let mut plan = ServerPlan::empty(desired, placement, server);
        plan.before = placement.text.clone();
        // A dead server must not block moving away from it.
        let level = match plan.leaves && e.code.starts_with("ssh_") {
            true => Level::Warn,
            false => Level::Stop,
        };
        plan.faults.push(Finding::new(level, e.code, e.say.clone()));
        plan
    }

    /// The first reason to stop.
    pub fn stop(&self, overwrite: bool) -> Option<&Finding> {
        self.faults.iter().find(|f| match f.level {
            Level::Stop => true,
            Level::Ask => !overwrite,
            Level::Warn => false,
        })
    }

    /// The difference of the texts.
    pub fn diff(&self) -> diff::Diff<'_> {
        diff::diff(&self.before, &self.after)
    }
}
