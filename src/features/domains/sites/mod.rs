//! A domain on a server: what is wanted there, what was last put there, and what was found there instead.

mod queries;

use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::db::{Conn, Tx};

/// How a site stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing of ours is there.
    None,
    /// As it was put there.
    Live,
    /// The last deploy failed; what was there before is still there.
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

/// One row.
#[derive(Debug, Clone)]
pub struct Row {
    /// Which domain.
    pub domain: Id<id::Domain>,
    /// On which server.
    pub server: Id<id::Server>,
    /// The first wanted one is tried first.
    pub position: i64,
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
}

impl Row {
    fn key(&self) -> (Id<id::Domain>, Id<id::Server>) {
        (self.domain, self.server)
    }
}

/// All sites of a domain, the canary first; those that are to be taken off too.
pub fn of(conn: &Conn, domain: Id<id::Domain>) -> Result<Vec<Row>> {
    queries::of(conn, domain)
}

/// What is on a server.
pub fn on(conn: &Conn, server: Id<id::Server>) -> Result<Vec<Row>> {
    queries::on(conn, server)
}

/// Servers with sites that nobody has looked at since `before`, the longest unseen first.
pub fn due(conn: &Conn, before: Ms) -> Result<Vec<Id<id::Server>>> {
    queries::due(conn, before)
}

/// Is anything of this domain on any server?
pub fn deployed(conn: &Conn, domain: Id<id::Domain>) -> Result<bool> {
    queries::is_deployed(conn, domain)
}

/// From now on the domain is wanted on these servers, in this order. Where it still is on another, it is to be taken off.
pub fn want(tx: &Tx, domain: Id<id::Domain>, servers: &[Id<id::Server>]) -> Result<()> {
    queries::want_none(tx, domain)?;
    for (position, server) in servers.iter().enumerate() {
        queries::insert(tx, domain, *server, position as i64)?;
    }
    queries::sweep(tx, domain)
}

/// This text is there now and was proved.
pub fn live(tx: &Tx, row: &Row, name: &str, generation: i64, text: &str, at: Ms) -> Result<()> {
    queries::live(
        tx,
        &Row {
            name: name.into(),
            generation,
            text: text.into(),
            adopted: false,
            deployed_at: Some(at),
            ..row.clone()
        },
    )
}

/// A deploy failed; what was there before is there again.
pub fn failed(tx: &Tx, row: &Row, code: &str, say: &str) -> Result<()> {
    queries::failed(tx, row.key(), code, say)
}

/// It was taken off. The row goes too, unless the domain is wanted there.
pub fn gone(tx: &Tx, row: &Row) -> Result<()> {
    queries::gone(tx, row.key())?;
    queries::sweep(tx, row.domain)
}

/// What a look has found. `seen`: the file when it is another than it should be; empty when it is gone.
pub fn looked(tx: &Tx, row: &Row, seen: Option<&str>, at: Ms) -> Result<State> {
    let state = match (seen, row.state) {
        (Some(_), _) => State::Drifted,
        (None, State::Drifted) => State::Live,
        (None, state) => state,
    };
    queries::looked(tx, row.key(), state, seen, at)?;
    Ok(state)
}

/// A person accepts the file as it was found: from now on that is how it should be there.
pub fn adopt(tx: &Tx, row: &Row, text: &str, at: Ms) -> Result<()> {
    queries::live(
        tx,
        &Row {
            text: text.into(),
            adopted: true,
            deployed_at: row.deployed_at.or(Some(at)),
            ..row.clone()
        },
    )
}
