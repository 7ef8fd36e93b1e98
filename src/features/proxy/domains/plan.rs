//! A plan: what a deploy would do on each server, and what was found there that is in its way.

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

/// How bad something found is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A deploy stops before it changes anything.
    Stop,
    /// It stops unless the person says that the found text may be overwritten.
    Ask,
    /// It goes on and says so.
    Warn,
}
described!(Level: "stop", "ask", "warn");

described! {
    /// Something that was there before us.
    #[derive(Debug, Clone)]
    pub struct Finding {
        /// How bad.
        pub level: Level,
        /// Stable name.
        pub code: &'static str,
        /// What was seen and what to do.
        pub message: String,
        /// What it is about: a file, or a port.
        pub on: String,
        /// Who or what stands there.
        pub by: String,
        /// Raw words of the server.
        pub evidence: String,
    }

    /// One thing that a deploy would do.
    #[derive(Debug, Clone)]
    pub struct Step {
        /// `+` makes, `~` changes, `-` takes away, `r` reloads.
        pub op: char,
        /// Names the words: `switch_off`, `start`, `nginx`, `certbot`, `create`, `change`, `remove`, `issue`, `take_over`,
        /// `put_certificate`, `drop_certificate`, `enable`, `default`, `default_gone`, `reload`.
        pub what: &'static str,
        /// The file, or the ACME server.
        pub on: String,
        /// Lines added.
        pub added: usize,
        /// Lines taken away.
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

/// What a deploy would do on one server.
pub struct ServerPlan {
    /// Where.
    pub server: Id<id::Server>,
    /// Its name.
    pub name: String,
    /// Tried before the others.
    pub canary: bool,
    /// It is to be taken off there.
    pub leaves: bool,
    /// What was found wrong, the worst first.
    pub faults: Vec<Finding>,
    /// What would be done, in order; empty: it is as it should be.
    pub steps: Vec<Step>,
    /// The file there now; empty when there is none.
    pub before: String,
    /// The file as it would be; empty when it would go.
    pub after: String,
    /// The certificate there.
    pub certificate: Option<remote::CertificateSeen>,
    /// SHA-256 of the file there now.
    pub found: Option<String>,
    /// SHA-256 of the file under the old name.
    pub found_old: Option<String>,
    /// For the deploy itself.
    pub(super) work: Option<Work>,
}

/// What the deploy needs of the plan and nobody else.
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
    /// Unix ms.
    pub made_at: Ms,
    /// What the name servers say; none when it is switched off.
    pub preflight: Option<preflight::Report>,
    /// Of the domain as a whole.
    pub faults: Vec<Finding>,
    /// In the order of the work.
    pub servers: Vec<ServerPlan>,
}

impl Plan {
    /// Would a deploy stop before it changes anything anywhere?
    pub fn stops(&self) -> bool {
        let stop = |faults: &[Finding]| faults.iter().any(|f| f.level != Level::Warn);
        stop(&self.faults) || self.servers.iter().any(|s| stop(&s.faults))
    }

    /// How many things would be done.
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
        // A dead server keeps nobody from moving away from it.
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

    /// The difference as people know it.
    pub fn diff(&self) -> diff::Diff<'_> {
        diff::diff(&self.before, &self.after)
    }
}
