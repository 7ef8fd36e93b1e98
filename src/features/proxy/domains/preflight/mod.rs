//! Checks before a deploy: does the domain resolve to its servers, and may the certificate authority issue for it? Names
//! are resolved with `net::dns`; the evaluation is pure. The caller decides what a failed check means (stop, warn,
//! ignore): [`super::model::Preflight`].
//!
//! Every address counts. An authority tries IPv6 first and validates from several places: one wrong address is enough
//! for validations that fail intermittently.

mod addresses;
mod caa;

use super::settings;
use crate::app::App;
use crate::base::clock::{self, Duration, Instant};
use crate::base::error::{Error, Result};
use crate::base::host::Host;
use crate::base::id::{Id, Server};
use crate::base::process::{self, Cancel};
use crate::base::shape::described;
use crate::features::fleet::servers;
use crate::lang::{Lang, words};
use crate::net::dns::{self, Addresses, Authorities, Failure, Resolver};
use crate::net::names::{self, Answer};
use crate::net::policy::Policy;
use crate::schedule::fan_out::both;
use addresses::evaluate_addresses;
use caa::{authority, evaluate_authorities};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Result of a DNS query.
pub type Found<T> = std::result::Result<T, Failure>;

/// Deadline of all queries: two servers that do not answer twice take 12 s.
const LOOK: Duration = Duration::from_secs(15);

/// Deadline for resolving a server's name.
const NAME: Duration = Duration::from_secs(5);

/// Result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Passed.
    Ok,
    /// Passed with a warning.
    Warn,
    /// Failed: the domain would not work for every visitor, or no certificate would be issued.
    Bad,
}

described!(Verdict: "ok", "warn", "bad");

described! {
    /// One check.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Check {
        /// `addresses`, `alias`, `private` or `caa`.
        pub id: &'static str,
        /// Its result.
        pub verdict: Verdict,
        /// Id of its text.
        pub word: &'static str,
        /// Values of the text's placeholders.
        pub args: BTreeMap<&'static str, String>,
        /// Evidence: what was found, and where.
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
    /// The worst result of all checks.
    pub fn verdict(&self) -> Verdict {
        self.checks.iter().map(|c| c.verdict).max().unwrap_or(Verdict::Ok)
    }

    /// No name server could be asked, because of a local error.
    fn failed(name: &str, expected: &[IpAddr], e: &Error) -> Report {
        let args = [("name", name.to_string())];
        let check = Check::new("addresses", Verdict::Bad, "preflight.addresses.not_asked", &args);
        Report {
            checks: vec![check.seen(vec![e.say.clone()])],
            addresses: Vec::new(),
            expected: expected.to_vec(),
        }
    }

    /// The whole report as text for a log.
    pub fn lines(&self) -> Vec<String> {
        let of = |c: &Check| [&[c.say(Lang::En)], &c.evidence[..]].concat();
        self.checks.iter().flat_map(of).collect()
    }
}

/// Name servers to ask: those of the setting, else those of the system.
pub fn name_servers(app: &App) -> Result<Vec<SocketAddr>> {
    let setting = app.db.read(|conn| settings::DNS_RESOLVERS.text(conn))?;
    Ok(dns::servers(&setting))
}

/// Public addresses of these servers: `public_ips` if set, else those that the host name resolves to. Without repeats, in
/// order. A host that cannot be resolved has none.
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

/// Resolves `name` (A-labels) and evaluates the answers. When cancelled, both queries fail; the caller knows the reason.
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
    // In parallel: a user waits for the result.
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

/// Input of the evaluation.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// A-labels.
    pub name: &'a str,
    /// Public addresses of the servers; empty: unknown.
    pub expected: &'a [IpAddr],
    /// What the name resolves to.
    pub addresses: &'a Found<Addresses>,
    /// CAA records.
    pub authorities: &'a Found<Authorities>,
    /// The ACME directory in use.
    pub directory: &'a str,
}

/// Evaluates everything.
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

pub fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::dns::{Caa, DnsError, Type};

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
        let source = concat!(
            include_str!("mod.rs"),
            include_str!("addresses.rs"),
            include_str!("caa.rs")
        );
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
