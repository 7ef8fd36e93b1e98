//! Check of CAA records (RFC 8659, RFC 8657): may the certificate authority issue for the name?

use super::{Check, Found, Verdict};
use crate::base::url::Url;
use crate::net::dns::{Authorities, Caa, DnsError};

/// A certificate authority whose name in CAA records is known: by its directory's host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority {
    /// Display name.
    name: &'static str,
    /// Its name in CAA records.
    caa: &'static str,
}

/// Source: https://letsencrypt.org/docs/caa/. Nothing is assumed about other directories (private CAs, test servers).
pub fn authority(directory: &str) -> Option<Authority> {
    let host = Url::parse(directory).ok()?.host;
    host.as_str().ends_with(".api.letsencrypt.org").then_some(Authority {
        name: "Let's Encrypt",
        caa: "letsencrypt.org",
    })
}

/// Tags that current CAs know; an unknown critical tag forbids any CA to issue (RFC 8659, 4.1).
const TAGS: [&str; 7] = [
    "issue",
    "issuewild",
    "iodef",
    "issuemail",
    "issuevmc",
    "contactemail",
    "contactphone",
];

pub fn evaluate_authorities(name: &str, ca: Option<Authority>, found: &Found<Authorities>) -> Check {
    let check = |verdict, word, args: &[_]| Check::new("caa", verdict, word, args);
    let found = match found {
        Ok(found) => found,
        Err(failure) => {
            // A CA refuses on SERVFAIL; whether it meets the same failure as we do is unknown.
            let verdict = match failure.fault {
                DnsError::ServFail => Verdict::Bad,
                _ => Verdict::Warn,
            };
            let args = [("name", name.to_string())];
            return check(verdict, "preflight.caa.failed", &args).seen(failure.evidence.clone());
        }
    };
    let lines: Vec<_> = found
        .rules
        .iter()
        .map(|r| {
            format!(
                "{} CAA {} {} “{}”",
                found.at,
                if r.critical { 128 } else { 0 },
                r.tag,
                r.value
            )
        })
        .collect();
    let args = [
        ("name", name.to_string()),
        ("at", found.at.clone()),
        ("ca", ca.map_or_else(String::new, |ca| ca.name.into())),
        ("caa", ca.map_or_else(String::new, |ca| ca.caa.into())),
    ];
    let (verdict, word) = match ca {
        _ if found.rules.is_empty() => (Verdict::Ok, "preflight.caa.none"),
        None => (Verdict::Ok, "preflight.caa.told"),
        Some(ca) => allowed(ca, &found.rules),
    };
    check(verdict, word, &args).seen(lines)
}

/// May this authority issue, by the HTTP challenge?
fn allowed(ca: Authority, rules: &[Caa]) -> (Verdict, &'static str) {
    if rules.iter().any(|r| r.critical && !TAGS.contains(&r.tag.as_str())) {
        return (Verdict::Bad, "preflight.caa.critical");
    }
    let issue: Vec<_> = rules
        .iter()
        .filter(|r| r.tag == "issue")
        .map(|r| Issue::parse(&r.value))
        .collect();
    if issue.is_empty() {
        return (Verdict::Ok, "preflight.caa.none");
    }
    let ours: Vec<_> = issue.iter().filter(|i| i.domain.eq_ignore_ascii_case(ca.caa)).collect();
    let by_http = |i: &&&Issue| {
        i.methods
            .as_ref()
            .is_none_or(|m| m.iter().any(|m| m.eq_ignore_ascii_case("http-01")))
    };
    let usable: Vec<_> = ours.iter().filter(by_http).collect();
    if ours.is_empty() {
        (Verdict::Bad, "preflight.caa.forbidden")
    } else if usable.is_empty() {
        (Verdict::Bad, "preflight.caa.method")
    } else if usable.iter().all(|i| i.account) {
        (Verdict::Warn, "preflight.caa.account")
    } else {
        (Verdict::Ok, "preflight.caa.ok")
    }
}

/// The value of an `issue` rule: `letsencrypt.org; validationmethods=http-01,dns-01; accounturi=https://…` (RFC 8657).
struct Issue<'a> {
    domain: &'a str,
    methods: Option<Vec<&'a str>>,
    account: bool,
}

impl Issue<'_> {
    fn parse(value: &str) -> Issue<'_> {
        let mut parts = value.split(';').map(str::trim);
        let domain = parts.next().unwrap_or_default();
        let (mut methods, mut account) = (None, false);
        for (tag, value) in parts.filter_map(|p| p.split_once('=')) {
            match tag.trim().to_ascii_lowercase().as_str() {
                "validationmethods" => methods = Some(value.split(',').map(str::trim).collect()),
                "accounturi" => account = true,
                _ => {}
            }
        }
        Issue {
            domain,
            methods,
            account,
        }
    }
}
