//! Checks on demand: name servers and addresses, with a verdict.

use super::check::{Check, State, check};
use super::policy::Policy;
use super::{periodic, record};
use crate::app::App;
use crate::base::clock::{self, Instant};
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::base::process::{self, Cancel};
use crate::features::proxy::domains::{self, Domain, Report, Verdict};
use crate::lang::{Lang, words};
use crate::net::dns::Resolver;
use crate::schedule::fan_out::both;

/// Results of a check on demand.
pub struct Verified {
    /// The domain as it was checked.
    pub domain: Domain,
    /// Its addresses compared with those of its servers.
    pub addresses: Report,
    /// Its name servers compared with its policy.
    pub check: Check,
}

impl Verified {
    /// Is everything right?
    pub fn is_ok(&self) -> bool {
        self.addresses.verdict() < Verdict::Bad && self.check.state == State::Ok
    }

    /// Problems as sentences for log and API; empty if none.
    pub fn reason(&self) -> String {
        let mut says = self.misled(Lang::En);
        if self.check.state != State::Ok {
            says.push(self.check.say());
        }
        says.join(" ")
    }

    /// Problems as sentences for a person; empty if none.
    pub fn says(&self, lang: Lang) -> Vec<String> {
        let mut says = self.misled(lang);
        let word = |id: &str, n: Option<i64>| words::word(lang, id, n).unwrap_or_default().to_string();
        match self.check.state {
            State::Ok => {}
            State::Error => says.push(word(&format!("ns.code.{}", self.check.code), None)),
            State::Mismatch => {
                let rule = Policy::parse(&self.check.policy);
                let misfits = self.check.ns.iter().filter(|host| !rule.fits(host)).count();
                let text = word("ns.mismatch", Some(misfits as i64));
                let (n, all) = (misfits.to_string(), self.check.ns.len().to_string());
                says.push(words::filled(&text, &[("n", &n), ("all", &all)]));
            }
        }
        says
    }

    /// Wrong addresses.
    fn misled(&self, lang: Lang) -> Vec<String> {
        let bad = self.addresses.checks.iter().filter(|c| c.verdict == Verdict::Bad);
        bad.map(|c| c.say(lang)).collect()
    }

    /// Evidence.
    pub fn evidence(&self) -> impl Iterator<Item = &str> {
        let of_addresses = self.addresses.checks.iter().flat_map(|c| &c.evidence);
        of_addresses.chain(&self.check.evidence).map(String::as_str)
    }
}

/// Checks, stores the result for the name servers, and emits events. Waits until `until`, and six seconds more if
/// nothing answered, to check our own resolvers. Error `not_in_time`: it did not get its turn; nothing is stored.
pub fn verify(app: &App, id: Id<id::Domain>, until: Instant) -> Result<Verified> {
    verify_all(app, &[id], until).remove(0).1
}

fn not_in_time() -> Error {
    let say = "There was no time left to check this domain. Check fewer at once, or try again.";
    Error::new(Kind::Timeout, "not_in_time", say)
}

fn verify_now(app: &App, id: Id<id::Domain>, until: Instant) -> Result<Verified> {
    let domain = app.db.read(|conn| domains::get(conn, id))?;
    let cancel = Cancel::new();
    let servers = domains::name_servers(app)?;
    let name = domain.fields.domain.ascii();
    let check_until = (clock::mono() + periodic::CHECK_MAX).min(until);
    let resolver = Resolver {
        servers: servers.clone(),
        until: check_until,
        cancel: &cancel,
    };
    let seen = || check(&resolver, name, &domain.fields.ns_policy);
    let (seen, addresses) = both("nswatch.verify", seen, || {
        let expected = domains::expected_addresses(app, &domain.fields.server_ids)?;
        domains::check_addresses(&servers, name, &expected, check_until, &cancel)
    });
    let check = seen.ok_or_else(process::cancelled)?;
    if check.state == State::Error && clock::mono() >= until {
        return Err(not_in_time());
    }
    record(app, &resolver, &domain, &check)?;
    Ok(Verified {
        addresses: addresses?,
        domain,
        check,
    })
}

/// The same for several domains, in the order of `ids`.
pub fn verify_all(app: &App, ids: &[Id<id::Domain>], until: Instant) -> Vec<(Id<id::Domain>, Result<Verified>)> {
    let cancel = Cancel::new();
    let fan_out = periodic::fan_out(Some(until), &cancel);
    let done = fan_out.run_alone(ids, |id| Some((id.get(), 0)), |id| verify_now(app, *id, until));
    let done = done.into_iter().map(|done| done.unwrap_or_else(|| Err(not_in_time())));
    ids.iter().copied().zip(done).collect()
}
