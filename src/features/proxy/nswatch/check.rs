//! One check of the name servers of a name.

use super::policy::Policy;
use crate::base::clock::{self, Duration};
use crate::base::process::Cancel;
use crate::net::dns::{DnsError, Resolver, Type};
use std::net::SocketAddr;

/// Result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// All match the policy, or there is none.
    Ok,
    /// At least one does not match.
    Mismatch,
    /// They could not be looked up.
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

/// A check with its evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Result.
    pub state: State,
    /// `ok`, `mismatch`, or why there is no answer ([`DnsError::code`]).
    pub code: String,
    /// The zone of these name servers; empty without an answer.
    pub zone: String,
    /// Name servers, sorted; empty without an answer.
    pub ns: Vec<String>,
    /// The policy they were compared with.
    pub policy: String,
    /// Evidence.
    pub evidence: Vec<String>,
}

impl Check {
    /// Is it the same result? (Evidence may differ: another resolver may have failed.)
    pub fn is_as(&self, other: &Check) -> bool {
        (self.state, &self.code, &self.zone, &self.ns, &self.policy)
            == (other.state, &other.code, &other.zone, &other.ns, &other.policy)
    }

    /// Was there no answer at all?
    pub fn is_silence(&self) -> bool {
        is_silence(&self.code)
    }

    /// Evidence on one line.
    pub fn say(&self) -> String {
        self.evidence.join(" ")
    }
}

fn is_silence(code: &str) -> bool {
    [DnsError::Timeout, DnsError::Unreachable]
        .iter()
        .any(|fault| fault.code() == code)
}

/// Limit for querying the root: two servers, twice.
const ROOT_MAX: Duration = Duration::from_secs(6);

/// Checks whether our own resolvers answer at all, even for the root; if not, silence about a name says nothing about
/// it. Returns the evidence if they are silent.
pub fn silent_resolvers(servers: &[SocketAddr], cancel: &Cancel) -> Option<Vec<String>> {
    let asked = Resolver {
        servers: servers.to_vec(),
        until: clock::mono() + ROOT_MAX,
        cancel,
    };
    let failure = asked.ask(".", Type::Ns).err()?;
    is_silence(failure.fault.code()).then_some(failure.evidence)
}

/// Looks up the name servers of `name` (A-labels) and compares them with `policy`. `None` if cancelled.
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
