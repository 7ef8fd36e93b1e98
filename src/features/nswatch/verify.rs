//! What a person asks for: look now, at the name servers and at the addresses, and say whether all is as it must be.

use super::look::{Look, State, look};
use super::{keep, periodic};
use crate::app::App;
use crate::base::clock::{self, Instant};
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::base::parallel;
use crate::base::process::{self, Cancel};
use crate::features::domains::preflight::{self, Report, Verdict};
use crate::features::domains::{self, Domain};
use crate::http::words::Lang;
use crate::net::dns::Resolver;

/// What was seen.
pub struct Verified {
    /// The domain as it was looked at.
    pub domain: Domain,
    /// Its addresses, held against those of its servers.
    pub addresses: Report,
    /// Its name servers, held against its policy.
    pub look: Look,
}

impl Verified {
    /// Is all as it must be?
    pub fn is_ok(&self) -> bool {
        self.addresses.verdict() < Verdict::Bad && self.look.state == State::Ok
    }

    /// What is not, in sentences; empty when all is.
    pub fn reason(&self) -> String {
        let checks = self.addresses.checks.iter();
        let mut says: Vec<_> = checks
            .filter(|c| c.verdict == Verdict::Bad)
            .map(|c| c.say(Lang::En))
            .collect();
        if self.look.state != State::Ok {
            says.push(self.look.say());
        }
        says.join(" ")
    }
}

/// Looks, keeps what was seen of the name servers, and tells. Waits until `until` at most.
pub fn verify(app: &App, id: Id<id::Domain>, until: Instant) -> Result<Verified> {
    let domain = app.db.read(|conn| domains::get(conn, id))?;
    let cancel = Cancel::new();
    let servers = preflight::name_servers(app)?;
    let name = domain.fields.domain.ascii();
    let (seen, addresses) = std::thread::scope(|scope| {
        let seen = scope.spawn(|| {
            let resolver = Resolver {
                servers: servers.clone(),
                until,
                cancel: &cancel,
            };
            look(&resolver, name, &domain.fields.ns_policy)
        });
        let addresses = preflight::expected(app, &domain.fields.server_ids)
            .and_then(|expected| preflight::look_at_addresses(&servers, name, &expected, until, &cancel));
        (seen.join(), addresses)
    });
    let seen = seen.map_err(|_| Error::internal("a look panicked"))?;
    let look = seen.ok_or_else(process::cancelled)?;
    app.db.write(|tx| keep(app, tx, &domain, &look, clock::now()))?;
    Ok(Verified {
        addresses: addresses?,
        domain,
        look,
    })
}

/// The same for several, in the order of `ids`.
pub fn verify_all(app: &App, ids: &[Id<id::Domain>], until: Instant) -> Vec<(Id<id::Domain>, Result<Verified>)> {
    parallel::map(ids, periodic::THREADS_MAX, |id| (*id, verify(app, *id, until)))
}
