//! Addresses of a name, name servers of its zone, and its CAA rules: queries to a few servers in turn, following
//! aliases and walking up the tree, until one answers or the deadline passes.

use super::{Answer, Caa, Data, DnsError, Failure, Question, Result, SERVERS_MAX, Type, query};
use crate::base::clock::{self, Instant};
use crate::base::process::Cancel;
use std::net::{IpAddr, SocketAddr};

/// Tries per server: a lost datagram, or one SERVFAIL of a busy resolver, does not count.
const TRIES: usize = 2;
/// Aliases followed until an address (BIND follows 16, resolvers in the field have at most four).
const ALIASES_MAX: usize = 8;
/// Steps up from a name. A name may have 127 labels; no real zone is that far up.
const STEPS_MAX: usize = 16;
/// Evidence lines of a failed lookup: each server once in each try.
const EVIDENCE_MAX: usize = SERVERS_MAX * TRIES;

/// Queries a few servers in turn, until one answers or the deadline passes.
pub struct Resolver<'a> {
    /// Asked in this order.
    pub servers: Vec<SocketAddr>,
    /// Deadline of all queries.
    pub until: Instant,
    /// Cancels every wait.
    pub cancel: &'a Cancel,
}

/// The addresses of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// IPv4 first, in the server's order, each once.
    pub ips: Vec<IpAddr>,
    /// The names that aliases (CNAME) led to.
    pub aliases: Vec<String>,
    /// One of the two kinds could not be looked up; the other one could.
    pub missing: Option<(Type, Failure)>,
}

/// The name servers of the zone that a name lies in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameServers {
    /// The zone's apex: the name itself or one above it.
    pub zone: String,
    /// Sorted, each once; never empty.
    pub hosts: Vec<String>,
    /// Target if the name itself is an alias.
    pub alias: Option<String>,
}

/// The CAA rules for a name, and where they were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorities {
    /// The name itself or one above it; empty when there are no rules.
    pub at: String,
    /// The rules; empty: any CA may issue.
    pub rules: Vec<Caa>,
}

impl Resolver<'_> {
    /// Queries the servers in turn, each at most twice. The error is the most informative failure.
    pub fn ask(&self, name: &str, kind: Type) -> Result<Answer> {
        let question = Question {
            name,
            kind,
            recursive: true,
        };
        let mut all = Failure {
            fault: DnsError::Timeout,
            evidence: Vec::new(),
        };
        for server in (0..TRIES).flat_map(|_| &self.servers) {
            if clock::mono() >= self.until {
                break;
            }
            match query(*server, question, self.until, self.cancel) {
                Ok(answer) => return Ok(answer),
                Err(failure) if failure.fault.is_final() => return Err(failure),
                Err(failure) => {
                    // Silence says least; of the others the last one counts.
                    if !matches!(failure.fault, DnsError::Timeout | DnsError::Unreachable) || all.evidence.is_empty() {
                        all.fault = failure.fault;
                    }
                    for say in failure.evidence {
                        if !all.evidence.contains(&say) && all.evidence.len() < EVIDENCE_MAX {
                            all.evidence.push(say);
                        }
                    }
                }
            }
        }
        if all.evidence.is_empty() {
            all.evidence
                .push(format!("No time was left to ask for {} of {name}.", kind.name()));
        }
        Err(all)
    }

    /// All addresses of a name, through its aliases. Error: [`DnsError::NoData`] if there are none, or the failure of
    /// the lookup if neither kind could be looked up.
    pub fn addresses(&self, name: &str) -> Result<Addresses> {
        let mut found = Addresses {
            ips: Vec::new(),
            aliases: Vec::new(),
            missing: None,
        };
        let v4 = self.follow(name, Type::A, &mut found);
        if let Err(failure) = &v4
            && matches!(failure.fault, DnsError::NxDomain | DnsError::Cancelled)
        {
            return Err(failure.clone());
        }
        let v6 = self.follow(name, Type::Aaaa, &mut found);
        match (v4, v6) {
            (Err(failure), Err(_)) => return Err(failure),
            (Ok(()), Err(failure)) => found.missing = Some((Type::Aaaa, failure)),
            (Err(failure), Ok(())) => found.missing = Some((Type::A, failure)),
            (Ok(()), Ok(())) => {}
        }
        match found.ips.is_empty() && found.missing.is_none() {
            true => Err(Failure::new(
                DnsError::NoData,
                format!("{name} exists, but has no address (neither A nor AAAA)."),
            )),
            false => Ok(found),
        }
    }

    /// Follows aliases, within one response as far as possible, then with another query.
    fn follow(&self, name: &str, kind: Type, found: &mut Addresses) -> Result<()> {
        let mut at = name.to_string();
        let mut seen = vec![at.clone()];
        loop {
            let answer = self.ask(&at, kind)?;
            let asked = at.clone();
            while let Some(to) = answer.alias(&at) {
                at = to.to_string();
                if seen.contains(&at) || seen.len() > ALIASES_MAX {
                    let path = seen.join(" → ");
                    let say = format!("The aliases (CNAME) of {name} lead nowhere: {path} → {at}.");
                    return Err(Failure::new(DnsError::BadAnswer, say));
                }
                if !found.aliases.contains(&at) {
                    found.aliases.push(at.clone());
                }
                seen.push(at.clone());
            }
            if answer.dangling {
                let say = format!("{name} is an alias (CNAME) of {at}, which does not exist.");
                return Err(Failure::new(DnsError::NxDomain, say));
            }
            for record in answer.records.iter().filter(|r| r.owner == at) {
                if let Data::Address(ip) = record.data
                    && !found.ips.contains(&ip)
                {
                    found.ips.push(ip);
                }
            }
            let is_known = answer.records.iter().any(|r| r.owner == at);
            // A server of the alias' zone may not know the target: it is queried.
            if is_known || asked == at || answer.zone.is_some() {
                return Ok(());
            }
        }
    }

    /// The name servers of the zone that `name` lies in: its own, else those of the nearest name above it. A name of one
    /// label is never asked for: the servers of `com` say nothing about a domain.
    pub fn name_servers(&self, name: &str) -> Result<NameServers> {
        let mut alias = None;
        let mut at = name;
        for _ in 0..STEPS_MAX {
            if !at.contains('.') {
                break;
            }
            let answer = match self.ask(at, Type::Ns) {
                // Some servers deny names that only have names below them (RFC 8020 forbids it); the name itself
                // exists.
                Err(failure) if failure.fault == DnsError::NxDomain && at != name => {
                    at = parent(at);
                    continue;
                }
                answer => answer?,
            };
            if at == name {
                alias = answer.alias(at).map(String::from);
            }
            // An alias is not an apex: what follows belongs to another name.
            let own = answer.records.iter().filter(|r| r.owner == at);
            let mut hosts: Vec<String> = own
                .filter_map(|r| match &r.data {
                    Data::Ns(host) => Some(host.clone()),
                    _ => None,
                })
                .collect();
            if !hosts.is_empty() && answer.alias(at).is_none() {
                hosts.sort();
                hosts.dedup();
                let zone = at.to_string();
                return Ok(NameServers { zone, hosts, alias });
            }
            at = match &answer.zone {
                Some(zone) if is_below(at, zone) => &at[at.len() - zone.len()..],
                _ => parent(at),
            };
        }
        let say = match alias {
            Some(to) => format!("{name} is an alias (CNAME) of {to}, and no zone above it has name servers (NS)."),
            None => format!("Neither {name} nor a name above it has name servers (NS)."),
        };
        Err(Failure::new(DnsError::NoData, say))
    }

    /// Who may issue certificates for `name`: the rules of the nearest name upwards that has some (RFC 8659, 3).
    pub fn authorities(&self, name: &str) -> Result<Authorities> {
        let mut at = name;
        for _ in 0..STEPS_MAX {
            if at.is_empty() {
                break;
            }
            let answer = match self.ask(at, Type::Caa) {
                Err(failure) if failure.fault == DnsError::NxDomain => None,
                answer => Some(answer?),
            };
            let rules = answer.map_or_else(Vec::new, |answer| {
                let mut owner = at;
                // Rules at the target of an alias apply to the name, too.
                for _ in 0..ALIASES_MAX {
                    owner = answer.alias(owner).unwrap_or(owner);
                }
                let owned = answer.records.iter().filter(|r| r.owner == owner);
                owned
                    .filter_map(|r| match &r.data {
                        Data::Caa(rule) => Some(rule.clone()),
                        _ => None,
                    })
                    .collect()
            });
            if !rules.is_empty() {
                let at = at.to_string();
                return Ok(Authorities { at, rules });
            }
            at = parent(at);
        }
        Ok(Authorities {
            at: String::new(),
            rules: Vec::new(),
        })
    }
}

fn parent(name: &str) -> &str {
    name.split_once('.').map_or("", |(_, parent)| parent)
}

fn is_below(name: &str, zone: &str) -> bool {
    name.strip_suffix(zone).is_some_and(|head| head.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_above_a_name_at_a_dot_only() {
        assert!(is_below("a.b.example", "b.example") && is_below("a.b.example", "example"));
        assert!(!is_below("ab.example", "b.example") && !is_below("b.example", "b.example"));
    }
}
