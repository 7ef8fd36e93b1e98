//! A domain's row, its placements as they are shown, and the reasons for its state.

use super::model::{Fields, Stands};
use crate::base::clock::Ms;
use crate::base::id::{self, Id};

/// Why a domain has its state.
#[derive(Debug, PartialEq, Eq)]
pub struct Reason {
    /// Id of the text.
    pub name: &'static str,
    /// `lit`, `flick`, `dark` or `unlit`.
    pub lamp: &'static str,
    /// Source of its evidence and beginning.
    pub(super) about: About,
}

/// Subject of a [`Reason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// The settings.
    DesiredState,
    /// The last deploy or removal.
    Deploy,
    /// The files on the servers.
    Files,
    /// The answers.
    Answers,
    /// The served certificate.
    Certificate,
    /// The name servers.
    NameServers,
    /// No problem.
    Nothing,
}

/// All reasons. Which one applies is decided in `queries`, so that lists can be filtered by it.
pub const REASONS: &[Reason] = &[
    reason("not_deployed", "unlit", About::DesiredState),
    reason("never_worked", "dark", About::Deploy),
    reason("down", "dark", About::Answers),
    reason("unreachable", "dark", About::Answers),
    reason("firewalled", "dark", About::Answers),
    reason("shadowed", "dark", About::Answers),
    reason("backend", "dark", About::Answers),
    reason("cert_bad", "dark", About::Certificate),
    reason("half_dark", "flick", About::Answers),
    reason("incomplete", "flick", About::Deploy),
    reason("deploy_failed", "flick", About::Deploy),
    reason("drifted", "flick", About::Files),
    reason("cert_urgent", "flick", About::Certificate),
    reason("ns_mismatch", "flick", About::NameServers),
    reason("ns_error", "flick", About::NameServers),
    reason("cert_soon", "flick", About::Certificate),
    reason("partly", "flick", About::DesiredState),
    reason("removing", "flick", About::DesiredState),
    reason("lit", "lit", About::Nothing),
];

const fn reason(name: &'static str, lamp: &'static str, about: About) -> Reason {
    Reason { name, lamp, about }
}

/// A domain on a server: is it wanted there, and its last deploy.
#[derive(Debug, Clone)]
pub struct Site {
    /// The server.
    pub server: Id<id::Server>,
    /// Its name.
    pub server_name: String,
    /// `false`: to be removed by the next deploy.
    pub wanted: bool,
    /// `none`, `live`, `failed` or `drifted`.
    pub state: &'static str,
    /// Name of its file there; empty: none.
    pub name: String,
    /// Incremented with every text that is put.
    pub generation: i64,
    /// Was a foreign text adopted?
    pub adopted: bool,
    /// Last deploy, unix ms.
    pub deployed_at: Option<Ms>,
    /// Last check, unix ms.
    pub looked_at: Option<Ms>,
    /// Code and sentence of the last failure.
    pub error: Option<(String, String)>,
    /// For state `failed`: what is there now.
    pub stands: Option<Stands>,
    /// Was a certificate issued before the failure?
    pub issued: bool,
    /// Since when it has its state, unix ms.
    pub since: Option<Ms>,
}

/// A domain's row.
#[derive(Debug, Clone)]
pub struct Domain {
    /// Id.
    pub id: Id<id::Domain>,
    /// What a person set.
    pub fields: Fields,
    /// Name of its upstream.
    pub upstream: Option<String>,
    /// Name of its group.
    pub group: Option<String>,
    /// Placements, wanted ones first, in order.
    pub sites: Vec<Site>,
    /// Why it has its state.
    pub reason: &'static Reason,
    /// `unknown`, `ok`, `mismatch` or `error`.
    pub ns_state: &'static str,
    /// One sentence about it.
    pub ns_say: String,
    /// Time of the last check, unix ms.
    pub ns_at: Option<Ms>,
    /// Since when, unix ms.
    pub ns_since: Option<Ms>,
    /// `unknown`, `ok`, `soon`, `urgent` or `bad`.
    pub cert_state: &'static str,
    /// One sentence about it.
    pub cert_say: String,
    /// Since when, unix ms.
    pub cert_since: Option<Ms>,
    /// Earliest expiry of the served certificates, unix ms.
    pub cert_not_after: Option<Ms>,
    /// Answers from outside: `unknown`, `ok`, `partly`, `backend`, `shadowed`, `firewalled`, `unreachable` or `down`.
    pub answer_state: &'static str,
    /// Problems, one sentence each.
    pub answer_say: Vec<String>,
    /// Since when, unix ms.
    pub answer_since: Option<Ms>,
    /// Is it being removed from its servers?
    pub removing: bool,
    /// Revision, incremented with every change by a person.
    pub revision: i64,
    /// Unix ms.
    pub created_at: Ms,
    /// Unix ms.
    pub updated_at: Ms,
}

impl Domain {
    /// Display form of the name.
    pub fn name(&self) -> String {
        self.fields.domain.unicode()
    }

    /// Beginning of its state with this reason, unix ms.
    pub fn since(&self) -> Option<Ms> {
        let of_sites = |state: &str| {
            let so = self.sites.iter().filter(|s| s.state == state);
            so.filter_map(|s| s.since).min()
        };
        match self.reason.about {
            About::Deploy => of_sites("failed"),
            About::Files => of_sites("drifted"),
            About::Answers => self.answer_since,
            About::NameServers => self.ns_since,
            About::Certificate => self.cert_since,
            About::DesiredState if self.reason.name == "not_deployed" => Some(self.created_at),
            About::DesiredState => Some(self.updated_at),
            About::Nothing => self.sites.iter().filter_map(|s| s.deployed_at).max(),
        }
    }
}

/// State of a domain's certificates.
pub struct CertStatus<'a> {
    /// `unknown`, `ok`, `soon`, `urgent` or `bad`.
    pub state: &'static str,
    /// One sentence.
    pub say: &'a str,
    /// Earliest expiry.
    pub not_after: Option<Ms>,
    /// Beginning, if the certificate tells it; else when it was first seen.
    pub since: Option<Ms>,
}
