//! Placements: what is wanted on a server for a domain, what was put there, what was found there.

mod queries;

use super::model::Stands;
use crate::base::clock::Ms;
use crate::base::error::{Error, Field, Result};
use crate::base::id::{self, Id};
use crate::db::{Conn, Tx};
use crate::provision::site::{Inside, Nginx};

/// State of a placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing of ours is there.
    None,
    /// As deployed.
    Live,
    /// The last deploy failed ([`Stands`]).
    Failed,
    /// The file was changed by others.
    Drifted,
}

impl State {
    const ALL: [State; 4] = [State::None, State::Live, State::Failed, State::Drifted];

    /// As stored and shown.
    pub fn name(self) -> &'static str {
        ["none", "live", "failed", "drifted"][self as usize]
    }

    fn parse(name: &str) -> State {
        State::ALL.into_iter().find(|s| s.name() == name).unwrap_or(State::None)
    }
}

/// A failed deploy.
pub struct Failure<'a> {
    /// Stable code.
    pub code: &'a str,
    /// One sentence.
    pub say: &'a str,
    /// What is there now.
    pub stands: Stands,
    /// Was a certificate issued before the failure?
    pub issued: bool,
}

/// One row.
#[derive(Debug, Clone)]
pub struct Placement {
    /// The domain.
    pub domain: Id<id::Domain>,
    /// The server.
    pub server: Id<id::Server>,
    /// `false`: to be removed.
    pub wanted: bool,
    /// State.
    pub state: State,
    /// Name (A-labels) of its file there; empty: none.
    pub name: String,
    /// Incremented with every text that is put.
    pub generation: i64,
    /// The text that should be there.
    pub text: String,
    /// Was a foreign text adopted?
    pub adopted: bool,
    /// The text found, if different; empty: the file is missing.
    pub seen: Option<String>,
    /// Code and sentence of the last failure.
    pub problem: Option<(String, String)>,
    /// Last deploy, unix ms.
    pub deployed_at: Option<Ms>,
    /// Last check, unix ms.
    pub looked_at: Option<Ms>,
    /// Capabilities of the nginx there, as last seen.
    pub nginx: Option<Nginx>,
}

type Key = (Id<id::Domain>, Id<id::Server>);

impl Placement {
    fn key(&self) -> Key {
        (self.domain, self.server)
    }

    /// Does the text determine how it answers? Not if it was changed on the server.
    pub fn is_as_text(&self) -> bool {
        self.state == State::Live
            || self.problem.as_ref().is_none_or(|(code, _)| code != EDITED) && self.state == State::Drifted
    }
}

/// All placements of a domain, the canary first, including those to be removed.
pub fn of(conn: &Conn, domain: Id<id::Domain>) -> Result<Vec<Placement>> {
    queries::of(conn, domain)
}

/// The placement on this server. Error: invalid `server_id`.
pub fn at(conn: &Conn, domain: Id<id::Domain>, server: Id<id::Server>) -> Result<Placement> {
    let rows = of(conn, domain)?;
    rows.into_iter()
        .find(|placement| placement.server == server)
        .ok_or_else(|| {
            Error::invalid(vec![Field {
                field: "server_id",
                code: "no_site",
                message: "This domain is not on that server.".into(),
            }])
        })
}

/// All placements on a server.
pub fn on(conn: &Conn, server: Id<id::Server>) -> Result<Vec<Placement>> {
    queries::on(conn, server)
}

/// Capabilities of a server's nginx, as last seen with any of its sites.
pub fn nginx_on(conn: &Conn, server: Id<id::Server>) -> Result<Option<Nginx>> {
    queries::nginx_on(conn, server)
}

/// Servers with sites that were not checked since `before`, longest unchecked first.
pub fn due(conn: &Conn, before: Ms) -> Result<Vec<Id<id::Server>>> {
    queries::due(conn, before)
}

/// Is anything of this domain on any server?
pub fn deployed(conn: &Conn, domain: Id<id::Domain>) -> Result<bool> {
    queries::is_deployed(conn, domain)
}

/// Was a file of this domain changed by others on any server?
pub fn drifted(conn: &Conn, domain: Id<id::Domain>) -> Result<bool> {
    Ok(of(conn, domain)?
        .iter()
        .any(|placement| placement.state == State::Drifted))
}

/// Sets the wanted servers of a domain, in order. Placements elsewhere are to be removed.
pub fn want(tx: &Tx, domain: Id<id::Domain>, servers: &[Id<id::Server>]) -> Result<()> {
    queries::want_none(tx, domain)?;
    for (position, server) in servers.iter().enumerate() {
        queries::insert(tx, domain, *server, position as i64)?;
    }
    queries::sweep(tx, domain)
}

/// A text that was put.
pub struct Put<'a> {
    /// Name of its file.
    pub name: &'a str,
    /// Generation of the text.
    pub generation: i64,
    /// The whole file.
    pub text: &'a str,
    /// Capabilities of the nginx there.
    pub nginx: Nginx,
}

/// Records a proved deploy.
pub fn mark_deployed(tx: &Tx, placement: &Placement, put: &Put, at: Ms) -> Result<()> {
    queries::mark_deployed(
        tx,
        &Placement {
            name: put.name.into(),
            generation: put.generation,
            text: put.text.into(),
            nginx: Some(put.nginx.clone()),
            adopted: false,
            deployed_at: Some(at),
            ..placement.clone()
        },
    )
}

/// Records a failed deploy or removal.
pub fn mark_failed(tx: &Tx, placement: &Placement, failure: &Failure, at: Ms) -> Result<()> {
    queries::mark_failed(tx, placement.key(), failure, at)
}

/// Records a removal. The row is deleted unless the domain is wanted there.
pub fn mark_removed(tx: &Tx, placement: &Placement) -> Result<()> {
    queries::mark_removed(tx, placement.key())?;
    queries::sweep(tx, placement.domain)
}

/// Code of a [`Drift`] with another text.
pub const EDITED: &str = "site_edited";

/// A difference found by a check.
pub struct Drift {
    /// `site_edited`, `site_lost`, `site_off`, `site_switched_off`, `renewal_lost` or `target_lost`.
    pub code: &'static str,
    /// One sentence: file and line.
    pub say: String,
    /// The text found; empty if the file is missing.
    pub seen: String,
}

/// Records a check: as it should be (`None`), or not. Returns the states before and after.
pub fn mark_checked(tx: &Tx, placement: &Placement, drift: Option<&Drift>, at: Ms) -> Result<(State, State)> {
    let mut now = placement.clone();
    now.looked_at = Some(at);
    match drift {
        Some(drift) => {
            now.state = State::Drifted;
            now.seen = Some(drift.seen.clone());
            now.problem = Some((drift.code.into(), drift.say.clone()));
        }
        None if placement.state == State::Drifted => {
            now.state = State::Live;
            now.seen = None;
            now.problem = None;
        }
        None => {}
    }
    queries::mark_checked(tx, &now)?;
    Ok((placement.state, now.state))
}

/// Records how it answers on its own server, with a sentence.
pub fn inside(tx: &Tx, placement: &Placement, inside: &(Inside, String), at: Ms) -> Result<()> {
    queries::inside(tx, placement, (inside.0.name(), &inside.1), at)
}

/// Makes the sites of this server due at the next check.
pub fn make_due(tx: &Tx, server: Id<id::Server>) -> Result<()> {
    queries::make_due(tx, server)
}

/// Records a failed check of this server, so that it is not due again at once.
pub fn mark_attempted(tx: &Tx, server: Id<id::Server>, at: Ms) -> Result<()> {
    queries::mark_attempted(tx, server, at)
}

/// Adopts the text found: it counts as correct from now on.
pub fn adopt(tx: &Tx, placement: &Placement, text: &str) -> Result<()> {
    queries::mark_deployed(
        tx,
        &Placement {
            text: text.into(),
            adopted: true,
            ..placement.clone()
        },
    )
}
