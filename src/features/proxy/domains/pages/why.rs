//! How a domain's lamp stands, and why.

use crate::base::clock::{self, DAY, Ms};
use crate::base::id::Id;
use crate::features::proxy::domains::domain::About;
use crate::features::proxy::domains::{Domain, Site};
use serde::Serialize;

/// State of a domain with its reason.
#[derive(Serialize)]
pub struct Why {
    /// `lit`, `flick`, `dark` or `unlit`.
    pub lamp: &'static str,
    /// Id of the text.
    pub reason: &'static str,
    /// Since when, if known.
    pub since: Option<Ms>,
    /// Evidence.
    pub evidence: Vec<String>,
    /// Whole days until the certificate expires.
    pub days: i64,
}

pub fn why(d: &Domain) -> Why {
    let troubled = || d.sites.iter().filter(|s| s.error.is_some());
    let of_sites = || {
        let lines = troubled().filter_map(|s| Some((s, s.error.as_ref()?)));
        lines
            .flat_map(|(s, (code, say))| [format!("{}: {say}", s.server_name), code.clone()])
            .collect()
    };
    let said = |say: &str| Vec::from_iter((!say.is_empty()).then(|| say.to_string()));
    let evidence = match d.reason.about {
        About::Deploy | About::Files => of_sites(),
        About::Answers => d.answer_say.clone(),
        About::NameServers => said(&d.ns_say),
        About::Certificate | About::Nothing => said(&d.cert_say),
        About::DesiredState => Vec::new(),
    };
    Why {
        lamp: d.reason.lamp,
        reason: d.reason.name,
        since: d.since(),
        evidence,
        days: days(d).unwrap_or(0),
    }
}

/// Whole days until the certificate expires; negative after that.
pub fn days(d: &Domain) -> Option<i64> {
    d.cert_not_after.map(|end| (end - clock::now()).div_euclid(DAY))
}

#[derive(Serialize)]
pub struct Named {
    pub id: i64,
    pub name: String,
}

pub fn named<T>(id: Option<Id<T>>, name: &Option<String>) -> Option<Named> {
    let (id, name) = id.zip(name.clone())?;
    Some(Named { id: id.get(), name })
}

pub fn wanted(d: &Domain) -> impl Iterator<Item = &Site> {
    d.sites.iter().filter(|s| s.wanted)
}
