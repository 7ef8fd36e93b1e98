//! Before a deploy: does the world see this domain at its servers, and may the certificate authority issue for it? The
//! look asks our own questions (`net::dns`), the judgement is pure. What follows from a bad check (stop, warn, nothing)
//! is the caller's: see [`super::model::Preflight`].
//!
//! Every address counts. An authority tries IPv6 first and asks from several places: one address that leads elsewhere is
//! enough to fail there, some of the time, which is worse than always.

use super::settings;
use crate::app::App;
use crate::base::clock::{self, Duration, Instant};
use crate::base::error::{Error, Result};
use crate::base::host::Host;
use crate::base::id::{Id, Server};
use crate::base::process::{self, Cancel};
use crate::base::shape::described;
use crate::base::url::Url;
use crate::features::fleet::servers;
use crate::lang::{Lang, words};
use crate::net::dns::{self, Addresses, Authorities, Caa, DnsError, Failure, Resolver};
use crate::net::names::{self, Answer};
use crate::net::policy::Policy;
use crate::schedule::fan_out::both;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// What a look-up came to.
type Found<T> = std::result::Result<T, Failure>;

/// The whole look: two servers that are silent twice take 12 s.
const LOOK: Duration = Duration::from_secs(15);
/// How long the name of a server is looked up for.
const NAME: Duration = Duration::from_secs(5);

/// What a check comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it must be.
    Ok,
    /// Worth knowing.
    Warn,
    /// A deploy would not work for everybody, or there would be no certificate.
    Bad,
}
described!(Verdict: "ok", "warn", "bad");

described! {
    /// One check.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Check {
        /// `addresses`, `alias`, `private` or `caa`.
        pub id: &'static str,
        /// What it comes to.
        pub verdict: Verdict,
        /// The id of its sentence among the words.
        pub word: &'static str,
        /// What stands for the sentence's placeholders.
        pub args: BTreeMap<&'static str, String>,
        /// Raw sentences: what was seen, where.
        pub evidence: Vec<String>,
    }
}

impl Check {
    fn new(id: &'static str, verdict: Verdict, word: &'static str, args: &[(&'static str, String)]) -> Check {
        Check {
            id,
            verdict,
            word,
            args: args.iter().cloned().collect(),
            evidence: Vec::new(),
        }
    }

    fn seen(self, evidence: Vec<String>) -> Check {
        Check { evidence, ..self }
    }

    /// The sentence in one language.
    pub fn say(&self, lang: Lang) -> String {
        let text = words::word(lang, self.word, None).unwrap_or(self.word);
        let value = |out: &mut String, name: &str| match self.args.get(name) {
            Some(value) => {
                out.push_str(value);
                true
            }
            None => false,
        };
        words::fill(text, value, |out, text| out.push_str(text))
    }
}

described! {
    /// All checks.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Report {
        /// In the order they are shown.
        pub checks: Vec<Check>,
        /// What the domain resolves to.
        pub addresses: Vec<IpAddr>,
        /// What it should resolve to; empty: not known.
        pub expected: Vec<IpAddr>,
    }
}

impl Report {
    /// The worst of all checks.
    pub fn verdict(&self) -> Verdict {
        self.checks.iter().map(|c| c.verdict).max().unwrap_or(Verdict::Ok)
    }

    /// Nobody could be asked, by a fault of ours.
    fn failed(name: &str, expected: &[IpAddr], e: &Error) -> Report {
        let args = [("name", name.to_string())];
        let check = Check::new("addresses", Verdict::Bad, "preflight.addresses.not_asked", &args);
        Report {
            checks: vec![check.seen(vec![e.say.clone()])],
            addresses: Vec::new(),
            expected: expected.to_vec(),
        }
    }

    /// All of it, for a log.
    pub fn lines(&self) -> Vec<String> {
        let of = |c: &Check| [&[c.say(Lang::En)], &c.evidence[..]].concat();
        self.checks.iter().flat_map(of).collect()
    }
}

/// The name servers that are asked: those of the setting, else those of the system.
pub fn name_servers(app: &App) -> Result<Vec<SocketAddr>> {
    let setting = app.db.read(|conn| settings::DNS_RESOLVERS.text(conn))?;
    Ok(dns::servers(&setting))
}

/// The addresses at which the world reaches these servers: `public_ips` where a person has given them, else those of the
/// host. Each once, in order. A host that cannot be looked up has none.
pub fn expected_addresses(app: &App, ids: &[Id<Server>]) -> Result<Vec<IpAddr>> {
    let rows = app.db.read(|conn| {
        let rows = ids.iter().map(|id| servers::get(conn, *id));
        rows.collect::<Result<Vec<_>>>()
    })?;
    let until = clock::mono() + NAME;
    let mut out = Vec::new();
    for server in rows {
        let named = server.fields.public_ips.iter().filter_map(|ip| ip.parse().ok());
        let mut ips: Vec<IpAddr> = named.collect();
        if ips.is_empty() {
            ips = match Host::parse(&server.fields.host).ok().and_then(|host| host.ip()) {
                Some(ip) => vec![ip],
                None => match names::resolve(&server.fields.host, until) {
                    Answer::Known(ips) => ips,
                    Answer::Unknown(_) | Answer::Slow => Vec::new(),
                },
            };
        }
        for ip in ips {
            if !out.contains(&ip) {
                out.push(ip);
            }
        }
    }
    Ok(out)
}

/// Looks at `name` (A-labels) and judges what was seen. A pulled cord makes both look-ups fail; who pulled it knows.
pub fn check(app: &App, name: &str, expected: &[IpAddr], cancel: &Cancel) -> Report {
    let asked = app.db.read(|conn| {
        let servers = dns::servers(&settings::DNS_RESOLVERS.text(conn)?);
        Ok((servers, settings::ACME_DIRECTORY.text(conn)?))
    });
    let (servers, directory) = match asked {
        Ok(asked) => asked,
        Err(e) => return Report::failed(name, expected, &e),
    };
    let until = clock::mono() + LOOK;
    let resolver = || resolver(&servers, until, cancel);
    // Both at once: a person waits for them.
    let authorities = || resolver().authorities(name);
    let (authorities, addresses) = both("preflight", authorities, || resolver().addresses(name));
    evaluate(&Seen {
        name,
        expected,
        addresses: &addresses,
        authorities: &authorities,
        directory: &directory,
    })
}

/// The addresses alone. Error `cancelled`.
pub fn check_addresses(
    servers: &[SocketAddr],
    name: &str,
    expected: &[IpAddr],
    until: Instant,
    cancel: &Cancel,
) -> Result<Report> {
    let found = resolver(servers, until, cancel).addresses(name);
    if cancel.is_cancelled() {
        return Err(process::cancelled());
    }
    Ok(Report {
        checks: evaluate_addresses(name, expected, &found),
        addresses: found.map_or_else(|_| Vec::new(), |found| found.ips),
        expected: expected.to_vec(),
    })
}

fn resolver<'a>(servers: &[SocketAddr], until: Instant, cancel: &'a Cancel) -> Resolver<'a> {
    Resolver {
        servers: servers.to_vec(),
        until,
        cancel,
    }
}

/// Everything that is judged.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// A-labels.
    pub name: &'a str,
    /// The servers' public addresses; empty: not known.
    pub expected: &'a [IpAddr],
    /// What the name resolves to.
    pub addresses: &'a Found<Addresses>,
    /// Who may issue for it.
    pub authorities: &'a Found<Authorities>,
    /// The ACME directory that will be asked.
    pub directory: &'a str,
}

/// The judgement.
pub fn evaluate(seen: &Seen) -> Report {
    let mut checks = evaluate_addresses(seen.name, seen.expected, seen.addresses);
    let ips = seen.addresses.as_ref().map_or(&[][..], |found| &found.ips);
    let ca = authority(seen.directory);
    let private: Vec<_> = ips.iter().filter(|ip| Policy::Public.check(**ip).is_err()).collect();
    if ca.is_some() && !private.is_empty() {
        let args = [("name", seen.name.to_string()), ("found", list(&private))];
        checks.push(Check::new("private", Verdict::Warn, "preflight.private", &args));
    }
    checks.push(evaluate_authorities(seen.name, ca, seen.authorities));
    Report {
        checks,
        addresses: ips.to_vec(),
        expected: seen.expected.to_vec(),
    }
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn evaluate_addresses(name: &str, expected: &[IpAddr], found: &Found<Addresses>) -> Vec<Check> {
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
        // One kind could not be looked up, and there is none of the other.
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

/// A certificate authority whose name in CAA records is known: by its directory's host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Authority {
    /// As people know it.
    name: &'static str,
    /// As it stands in CAA records.
    caa: &'static str,
}

/// Source: https://letsencrypt.org/docs/caa/. Of any other directory (a private CA, a test server) nothing is assumed.
fn authority(directory: &str) -> Option<Authority> {
    let host = Url::parse(directory).ok()?.host;
    host.as_str().ends_with(".api.letsencrypt.org").then_some(Authority {
        name: "Let's Encrypt",
        caa: "letsencrypt.org",
    })
}

/// Tags that a CA of today knows; another one that is marked critical forbids everybody to issue (RFC 8659, 4.1).
const TAGS: [&str; 7] = [
    "issue",
    "issuewild",
    "iodef",
    "issuemail",
    "issuevmc",
    "contactemail",
    "contactphone",
];

fn evaluate_authorities(name: &str, ca: Option<Authority>, found: &Found<Authorities>) -> Check {
    let check = |verdict, word, args: &[_]| Check::new("caa", verdict, word, args);
    let found = match found {
        Ok(found) => found,
        Err(failure) => {
            // An authority refuses when it gets SERVFAIL; whether it gets our silence, too, cannot be known here.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::dns::Type;

    const PUBLIC: &str = "https://acme-v02.api.letsencrypt.org/directory";

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|t| t.parse().unwrap()).collect()
    }

    fn at(found: &[&str]) -> Found<Addresses> {
        Ok(Addresses {
            ips: ips(found),
            aliases: Vec::new(),
            missing: None,
        })
    }

    fn addresses(expected: &[&str], found: &Found<Addresses>) -> Vec<Check> {
        evaluate_addresses("shop.example", &ips(expected), found)
    }

    #[test]
    fn every_address_must_be_one_of_the_servers() {
        let server = ["198.51.100.10", "2001:db8::10"];
        for (found, verdict, word) in [
            (&["198.51.100.10"][..], Verdict::Ok, "preflight.addresses.ok"),
            (
                &["198.51.100.10", "2001:db8::10"],
                Verdict::Ok,
                "preflight.addresses.ok",
            ),
            (&["198.51.100.99"], Verdict::Bad, "preflight.addresses.elsewhere"),
            (&["104.16.1.1"], Verdict::Bad, "preflight.addresses.elsewhere"),
            (
                &["198.51.100.10", "198.51.100.99"],
                Verdict::Bad,
                "preflight.addresses.partly",
            ),
            // IPv6 is tried first: one old AAAA record is enough.
            (
                &["198.51.100.10", "2001:db8::99"],
                Verdict::Bad,
                "preflight.addresses.partly",
            ),
        ] {
            let checks = addresses(&server, &at(found));
            assert_eq!((checks[0].verdict, checks[0].word), (verdict, word), "{found:?}");
        }
        assert_eq!(addresses(&[], &at(&["198.51.100.10"]))[0].verdict, Verdict::Warn);
        let checks = addresses(&server, &at(&["198.51.100.10", "198.51.100.99"]));
        assert!(
            checks[0].say(Lang::En).contains("198.51.100.99"),
            "{}",
            checks[0].say(Lang::En)
        );
    }

    #[test]
    fn aliases_and_what_could_not_be_looked_up_are_told() {
        let failure = Failure {
            fault: DnsError::ServFail,
            evidence: vec!["192.0.2.1, asked for AAAA of shop.example: SERVFAIL.".into()],
        };
        let found = Ok(Addresses {
            ips: ips(&["198.51.100.10"]),
            aliases: vec!["a.example".into(), "b.example".into()],
            missing: Some((Type::Aaaa, failure.clone())),
        });
        let checks = addresses(&["198.51.100.10"], &found);
        let ids: Vec<_> = checks.iter().map(|c| (c.id, c.verdict)).collect();
        assert_eq!(
            ids,
            [
                ("addresses", Verdict::Ok),
                ("half", Verdict::Warn),
                ("alias", Verdict::Ok)
            ]
        );
        assert_eq!(checks[2].evidence, ["CNAME: shop.example → a.example → b.example."]);
        assert_eq!(checks[1].evidence, failure.evidence);
        let none = addresses(&["198.51.100.10"], &Err(failure));
        assert_eq!(
            (none[0].verdict, none[0].word),
            (Verdict::Bad, "preflight.addresses.servfail")
        );
    }

    #[test]
    fn a_private_address_is_told_when_a_public_authority_is_to_reach_it() {
        let free = Ok(Authorities {
            at: String::new(),
            rules: Vec::new(),
        });
        let found = at(&["10.77.0.11"]);
        let seen = |directory| {
            let seen = Seen {
                name: "shop.example",
                expected: &ips(&["10.77.0.11"]),
                addresses: &found,
                authorities: &free,
                directory,
            };
            evaluate(&seen)
        };
        assert_eq!(seen(PUBLIC).verdict(), Verdict::Warn);
        assert!(seen(PUBLIC).checks.iter().any(|c| c.id == "private"));
        assert_eq!(seen("https://acme.lab.test:14000/dir").verdict(), Verdict::Ok);
        assert_eq!(authority("https://letsencrypt.org.evil.example/dir"), None);
        assert_eq!(authority("https://evil.example/.api.letsencrypt.org"), None);
        assert!(authority("https://acme-staging-v02.api.letsencrypt.org/directory").is_some());
    }

    #[test]
    fn rules_of_the_domain_decide_whether_a_certificate_can_be_had() {
        let rule = |critical, tag: &str, value: &str| Caa {
            critical,
            tag: tag.into(),
            value: value.into(),
        };
        let ca = authority(PUBLIC);
        for (rules, verdict, word) in [
            (vec![], Verdict::Ok, "preflight.caa.none"),
            (
                vec![rule(false, "issue", "letsencrypt.org")],
                Verdict::Ok,
                "preflight.caa.ok",
            ),
            (
                vec![rule(false, "issue", " LetsEncrypt.ORG ; x=y")],
                Verdict::Ok,
                "preflight.caa.ok",
            ),
            (vec![rule(false, "issue", ";")], Verdict::Bad, "preflight.caa.forbidden"),
            (
                vec![rule(false, "issue", "other.example")],
                Verdict::Bad,
                "preflight.caa.forbidden",
            ),
            (
                vec![
                    rule(false, "issue", "other.example"),
                    rule(false, "issue", "letsencrypt.org"),
                ],
                Verdict::Ok,
                "preflight.caa.ok",
            ),
            // Rules about wildcards or mail say nothing about a plain name.
            (
                vec![rule(false, "issuewild", ";"), rule(false, "iodef", "mailto:a@b")],
                Verdict::Ok,
                "preflight.caa.none",
            ),
            (
                vec![rule(true, "tbs", "x"), rule(false, "issue", "letsencrypt.org")],
                Verdict::Bad,
                "preflight.caa.critical",
            ),
            (
                vec![rule(false, "issue", "letsencrypt.org; validationmethods=dns-01")],
                Verdict::Bad,
                "preflight.caa.method",
            ),
            (
                vec![rule(
                    false,
                    "issue",
                    "letsencrypt.org; validationmethods=dns-01,http-01",
                )],
                Verdict::Ok,
                "preflight.caa.ok",
            ),
            (
                vec![rule(false, "issue", "letsencrypt.org; accounturi=https://acme/acct/1")],
                Verdict::Warn,
                "preflight.caa.account",
            ),
        ] {
            let found = Ok(Authorities {
                at: "example".into(),
                rules: rules.clone(),
            });
            let check = evaluate_authorities("shop.example", ca, &found);
            assert_eq!((check.verdict, check.word), (verdict, word), "{rules:?}");
            assert_eq!(check.evidence.len(), rules.len());
            let told = evaluate_authorities("shop.example", None, &found);
            assert_eq!(told.verdict, Verdict::Ok, "of a private authority nothing is assumed");
        }
        for (fault, verdict) in [(DnsError::ServFail, Verdict::Bad), (DnsError::Timeout, Verdict::Warn)] {
            let failed = Err(Failure {
                fault,
                evidence: vec!["seen".into()],
            });
            assert_eq!(evaluate_authorities("shop.example", ca, &failed).verdict, verdict);
        }
    }

    #[test]
    fn every_check_has_its_words_in_both_languages() {
        let source = include_str!("preflight.rs");
        let ids = source
            .split('"')
            .filter(|part| part.len() > 10 && part.starts_with("preflight.") && !part.contains(".rs"));
        let mut count = 0;
        for id in ids {
            count += 1;
            for lang in Lang::ALL {
                assert!(words::word(lang, id, None).is_some(), "{id} has no words");
            }
        }
        assert!(count > 20, "{count}");
    }
}
