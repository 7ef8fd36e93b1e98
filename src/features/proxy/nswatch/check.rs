//! One look at the name servers of one name, and what it comes to.

use super::policy::Policy;
use crate::base::clock::{self, Duration};
use crate::base::process::Cancel;
use crate::net::dns::{DnsError, Resolver, Type};
use std::net::SocketAddr;

/// What a look comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// All fit the policy, or there is none.
    Ok,
    /// At least one does not fit.
    Mismatch,
    /// They could not be found out: nothing is known of the policy.
    Error,
}

impl State {
    /// As stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Mismatch => "mismatch",
            State::Error => "error",
        }
    }

    /// Reads a stored name.
    pub fn parse(name: &str) -> State {
        match name {
            "ok" => State::Ok,
            "mismatch" => State::Mismatch,
            _ => State::Error,
        }
    }
}

/// The result of a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What it comes to.
    pub state: State,
    /// `ok`, `mismatch`, or why there is no answer ([`DnsError::code`]).
    pub code: String,
    /// The zone whose name servers these are; empty when there was no answer.
    pub zone: String,
    /// Sorted; empty when there was no answer.
    pub ns: Vec<String>,
    /// What they were held against.
    pub policy: String,
    /// The raw sentences: what was seen, where.
    pub evidence: Vec<String>,
}

impl Check {
    /// Is it the same news? (The sentences may differ: another of our servers may have been the one that failed.)
    pub fn is_as(&self, other: &Check) -> bool {
        (self.state, &self.code, &self.zone, &self.ns, &self.policy)
            == (other.state, &other.code, &other.zone, &other.ns, &other.policy)
    }

    /// Did nobody say anything at all?
    pub fn is_silence(&self) -> bool {
        is_silence(&self.code)
    }

    /// All of it on one line.
    pub fn say(&self) -> String {
        self.evidence.join(" ")
    }
}

fn is_silence(code: &str) -> bool {
    [DnsError::Timeout, DnsError::Unreachable]
        .iter()
        .any(|fault| fault.code() == code)
}

/// Time to ask for the root: two servers, twice.
const ROOT_MAX: Duration = Duration::from_secs(6);

/// Do our own name servers say nothing at all, not even about the root? Then silence about a name tells of them, not of
/// the name. Gives what was seen of it.
pub fn silent_resolvers(servers: &[SocketAddr], cancel: &Cancel) -> Option<Vec<String>> {
    let asked = Resolver {
        servers: servers.to_vec(),
        until: clock::mono() + ROOT_MAX,
        cancel,
    };
    let failure = asked.ask(".", Type::Ns).err()?;
    is_silence(failure.fault.code()).then_some(failure.evidence)
}

/// Asks for the name servers of `name` (A-labels) and holds them against `policy`. `None` when it was cancelled.
pub fn check(resolver: &Resolver, name: &str, policy: &str) -> Option<Check> {
    let blank = Check {
        state: State::Error,
        code: String::new(),
        zone: String::new(),
        ns: Vec::new(),
        policy: policy.into(),
        evidence: Vec::new(),
    };
    let found = match resolver.name_servers(name) {
        Ok(found) => found,
        Err(failure) if failure.fault == DnsError::Cancelled => return None,
        Err(failure) => {
            return Some(Check {
                code: failure.fault.code().into(),
                evidence: failure.evidence,
                ..blank
            });
        }
    };
    let rule = Policy::parse(policy);
    let misfits: Vec<&str> = found
        .hosts
        .iter()
        .map(String::as_str)
        .filter(|h| !rule.fits(h))
        .collect();
    let mut evidence = vec![format!("Name servers of {}: {}.", found.zone, found.hosts.join(", "))];
    if let Some(to) = &found.alias {
        evidence.push(format!("{name} is an alias (CNAME) of {to}."));
    }
    if !misfits.is_empty() {
        evidence.push(format!("Not “{}”: {}.", policy.trim(), misfits.join(", ")));
    }
    let state = if misfits.is_empty() { State::Ok } else { State::Mismatch };
    Some(Check {
        state,
        code: state.name().into(),
        zone: found.zone,
        ns: found.hosts,
        evidence,
        ..blank
    })
}
