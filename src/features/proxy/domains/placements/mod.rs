//! A domain on a server: what is wanted there, what was last put there, and what was found there instead.

mod queries;

use super::model::Stands;
use crate::base::clock::Ms;
use crate::base::error::{Error, Field, Result};
use crate::base::id::{self, Id};
use crate::db::{Conn, Tx};
use crate::provision::site::{Inside, Nginx};

/// How a site stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing of ours is there.
    None,
    /// As it was put there.
    Live,
    /// The last deploy failed; see [`Stands`].
    Failed,
    /// Somebody else has changed the file.
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

/// A failure at a site.
pub struct Failure<'a> {
    /// Stable code.
    pub code: &'a str,
    /// One sentence.
    pub say: &'a str,
    /// What is there now.
    pub stands: Stands,
    /// A certificate was issued before it failed, and stays.
    pub issued: bool,
}

/// One row.
#[derive(Debug, Clone)]
pub struct Placement {
    /// Which domain.
    pub domain: Id<id::Domain>,
    /// On which server.
    pub server: Id<id::Server>,
    /// False: to be taken off.
    pub wanted: bool,
    /// How it stands.
    pub state: State,
    /// The domain (A-labels) that its file there is named after; empty: there is none.
    pub name: String,
    /// Grows with every text that is put there.
    pub generation: i64,
    /// The file as it should be there.
    pub text: String,
    /// A person accepted a text that is not ours.
    pub adopted: bool,
    /// The file as it was found, when it is another; empty: it was gone.
    pub seen: Option<String>,
    /// Code and sentence of the last failure.
    pub problem: Option<(String, String)>,
    /// Unix ms.
    pub deployed_at: Option<Ms>,
    /// Unix ms.
    pub looked_at: Option<Ms>,
    /// What the nginx there understands, as last seen.
    pub nginx: Option<Nginx>,
}

type Key = (Id<id::Domain>, Id<id::Server>);

impl Placement {
    fn key(&self) -> Key {
        (self.domain, self.server)
    }

    /// Does the text say how it answers? Not one that somebody has changed on the server.
    pub fn is_as_text(&self) -> bool {
        self.state == State::Live
            || self.problem.as_ref().is_none_or(|(code, _)| code != EDITED) && self.state == State::Drifted
    }
}

/// All sites of a domain, the canary first; those that are to be taken off too.
pub fn of(conn: &Conn, domain: Id<id::Domain>) -> Result<Vec<Placement>> {
    queries::of(conn, domain)
}

/// The site on this server, or a field error.
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

/// What is on a server.
pub fn on(conn: &Conn, server: Id<id::Server>) -> Result<Vec<Placement>> {
    queries::on(conn, server)
}

/// What the nginx of a server understands, as last seen with any of its sites.
pub fn nginx_on(conn: &Conn, server: Id<id::Server>) -> Result<Option<Nginx>> {
    queries::nginx_on(conn, server)
}

/// Servers with sites that nobody has looked at since `before`, the longest unseen first.
pub fn due(conn: &Conn, before: Ms) -> Result<Vec<Id<id::Server>>> {
    queries::due(conn, before)
}

/// Is anything of this domain on any server?
pub fn deployed(conn: &Conn, domain: Id<id::Domain>) -> Result<bool> {
    queries::is_deployed(conn, domain)
}

/// Has anybody changed a file of this domain on any server?
pub fn drifted(conn: &Conn, domain: Id<id::Domain>) -> Result<bool> {
    Ok(of(conn, domain)?
        .iter()
        .any(|placement| placement.state == State::Drifted))
}

/// From now on the domain is wanted on these servers, in this order. Where it still is on another, it is to be taken off.
pub fn want(tx: &Tx, domain: Id<id::Domain>, servers: &[Id<id::Server>]) -> Result<()> {
    queries::want_none(tx, domain)?;
    for (position, server) in servers.iter().enumerate() {
        queries::insert(tx, domain, *server, position as i64)?;
    }
    queries::sweep(tx, domain)
}

/// What was put on a server.
pub struct Put<'a> {
    /// The domain its file is named after.
    pub name: &'a str,
    /// Of the text.
    pub generation: i64,
    /// The whole file.
    pub text: &'a str,
    /// What the nginx there understands.
    pub nginx: Nginx,
}

/// This is there now and was proved.
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

/// A deploy or a removal failed there.
pub fn mark_failed(tx: &Tx, placement: &Placement, failure: &Failure, at: Ms) -> Result<()> {
    queries::mark_failed(tx, placement.key(), failure, at)
}

/// It was taken off. The row goes too, unless the domain is wanted there.
pub fn mark_removed(tx: &Tx, placement: &Placement) -> Result<()> {
    queries::mark_removed(tx, placement.key())?;
    queries::sweep(tx, placement.domain)
}

/// The code of a [`Drift`] where the text is another.
pub const EDITED: &str = "site_edited";

/// What is there instead of what should be.
pub struct Drift {
    /// `site_edited`, `site_lost`, `site_off`, `site_switched_off`, `renewal_lost` or `target_lost`.
    pub code: &'static str,
    /// One sentence: which file, which line.
    pub say: String,
    /// The file as it was found; empty when it is gone.
    pub seen: String,
}

/// A look has found it as it should be (`None`), or not. Gives the state before and after.
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

/// How it answers when it is asked on its own server, and one sentence about that.
pub fn inside(tx: &Tx, placement: &Placement, inside: &(Inside, String), at: Ms) -> Result<()> {
    queries::inside(tx, placement, (inside.0.name(), &inside.1), at)
}

/// The next beat looks at what lies on this server.
pub fn make_due(tx: &Tx, server: Id<id::Server>) -> Result<()> {
    queries::make_due(tx, server)
}

/// A look at this server was tried in vain: it is not its turn again at once.
pub fn mark_attempted(tx: &Tx, server: Id<id::Server>, at: Ms) -> Result<()> {
    queries::mark_attempted(tx, server, at)
}

/// A person accepts the file as it was found: from now on that is how it should be there.
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
