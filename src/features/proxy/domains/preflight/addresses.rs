//! Check of addresses: does the name resolve to its servers only?

use super::{Check, Found, Verdict, list};
use crate::net::dns::{Addresses, DnsError};
use std::net::IpAddr;

pub fn evaluate_addresses(name: &str, expected: &[IpAddr], found: &Found<Addresses>) -> Vec<Check> {
    let found = match found {
        Ok(found) => found,
        Err(failure) => {
            let word = match failure.fault {
                DnsError::NxDomain => "preflight.addresses.nxdomain",
                DnsError::NoData => "preflight.addresses.no_data",
                DnsError::ServFail => "preflight.addresses.servfail",
                DnsError::Refused => "preflight.addresses.refused",
                DnsError::Timeout | DnsError::Cancelled => "preflight.addresses.timeout",
                DnsError::Unreachable => "preflight.addresses.unreachable",
                DnsError::Lame => "preflight.addresses.lame",
                DnsError::Truncated => "preflight.addresses.truncated",
                DnsError::BadAnswer => "preflight.addresses.bad_answer",
            };
            let check = Check::new("addresses", Verdict::Bad, word, &[("name", name.into())]);
            return vec![check.seen(failure.evidence.clone())];
        }
    };
    let elsewhere: Vec<_> = found.ips.iter().filter(|ip| !expected.contains(ip)).collect();
    let (verdict, word) = if expected.is_empty() {
        (Verdict::Warn, "preflight.addresses.unknown")
    } else if found.ips.is_empty() {
        // One record type could not be resolved, and the other has no records.
        (Verdict::Bad, "preflight.addresses.half_none")
    } else if elsewhere.is_empty() {
        (Verdict::Ok, "preflight.addresses.ok")
    } else if elsewhere.len() == found.ips.len() {
        (Verdict::Bad, "preflight.addresses.elsewhere")
    } else {
        (Verdict::Bad, "preflight.addresses.partly")
    };
    let args = [
        ("name", name.to_string()),
        ("found", list(&found.ips)),
        ("expected", list(expected)),
        ("foreign", list(&elsewhere)),
    ];
    let evidence = vec![format!("{name}: {}.", list(&found.ips))];
    let mut checks = vec![Check::new("addresses", verdict, word, &args).seen(evidence)];
    if let Some((kind, failure)) = &found.missing {
        let args = [("name", name.to_string()), ("kind", kind.name().to_string())];
        let half = Check::new("half", Verdict::Warn, "preflight.half", &args);
        checks.push(half.seen(failure.evidence.clone()));
    }
    if let Some(last) = found.aliases.last() {
        let way = [&[name.to_string()], &found.aliases[..]].concat().join(" → ");
        let args = [("name", name.to_string()), ("to", last.clone())];
        checks.push(Check::new("alias", Verdict::Ok, "preflight.alias", &args).seen(vec![format!("CNAME: {way}.")]));
    }
    checks
}
