//! Authentication and authorization. An [`Actor`] can only be made here, from a valid session or token: holding one is
//! proof.

pub mod right;
mod queries;
pub mod scope;
pub mod session;
pub mod token;
pub mod device;
pub mod throttle;
pub mod standing;
pub mod allowed;
pub mod weak;

use crate::audit::By;
use crate::base::error::{Error, Kind, Result};
use crate::base::host;
use crate::base::id::{Id, User};
use crate::base::random;
use crate::db::{Conn, Db, Lens, Tx};
pub use allowed::{Allowed, Unplaced};
pub use right::{Right, Role};
pub use scope::{Grants, Place};
pub use standing::Standing;

/// Somebody who has proved who they are, as it was at that moment. Not `Debug`: the session's CSRF token is in it.
#[derive(Clone)]
pub struct Actor {
    user: Id<User>,
    login: String,
    role: Role,
    /// Their rights are this role's as well: that of a token's owner.
    ceiling: Role,
    lang: String,
    time_zone: String,
    ip: String,
    request_id: String,
    client_request_id: String,
    csrf: Option<String>,
    proof: Proof,
    /// `None`: all rights of the role, everywhere.
    grants: Option<Grants>,
}

/// Somebody to whom things are shown, perhaps without names.
pub trait Sees {
    /// Have they this right for what stands at this place? It is only looked up for who does not have it everywhere.
    fn sees(&self, right: Right, place: &dyn Fn() -> Result<Place>) -> Result<bool>;
}

impl Sees for Actor {
    fn sees(&self, right: Right, place: &dyn Fn() -> Result<Place>) -> Result<bool> {
        Ok(self.has(right, &self.place(place)?))
    }
}

/// For what is sent to whom nobody asks any more: messages, the daemon's log.
impl Sees for Role {
    fn sees(&self, right: Right, _: &dyn Fn() -> Result<Place>) -> Result<bool> {
        Ok(self.may(right))
    }
}

/// By what they have proved it.
#[derive(Clone)]
enum Proof {
    Session(session::Hash),
    Token(token::Claims),
}

impl Actor {
    /// The user's number.
    pub fn user(&self) -> Id<User> {
        self.user
    }

    /// The user's login.
    pub fn login(&self) -> &str {
        &self.login
    }

    /// The user's role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The language the user chose; empty when none.
    pub fn lang(&self) -> &str {
        &self.lang
    }

    /// The time zone the user chose; empty when none.
    pub fn time_zone(&self) -> &str {
        &self.time_zone
    }

    /// The session's CSRF token; `None` when a bearer token speaks (a browser never sends one by itself).
    pub fn csrf(&self) -> Option<&str> {
        self.csrf.as_deref()
    }

    /// The same one with these rights of theirs and no more: as a token of theirs that was given these.
    pub fn limited_to(self, grants: Grants) -> Actor {
        let grants = Some(grants);
        Actor { grants, ..self }
    }

    /// What their reads see where an answer shows more than one thing; `None`: all there is.
    pub fn lens(&self) -> Option<Lens> {
        let grants = self.grants.as_ref()?;
        Some(grants.lens(|right| self.role.may(right) && self.ceiling.may(right)))
    }

    /// Where does the thing stand that they ask about? Only looked up for who does not have all rights of their role.
    pub fn place(&self, look_up: impl FnOnce() -> Result<Place>) -> Result<Place> {
        match self.grants {
            Some(_) => look_up(),
            None => Ok(Place::Everywhere),
        }
    }

    /// May they do that, wherever it is? Error: `forbidden`.
    pub fn may(&self, right: Right) -> Result<()> {
        self.may_at(right, &Place::Everywhere)
    }

    /// Have they this right there? Only what they can be shown hangs on this answer; who does something asks
    /// [`Self::may_at`].
    pub fn has(&self, right: Right, place: &Place) -> bool {
        let needs_grant = matches!(right, Right::May(..));
        let is_granted = (self.grants.as_ref()).is_none_or(|grants| !needs_grant || grants.hold(right, place));
        self.role.may(right) && self.ceiling.may(right) && is_granted
    }

    /// May they do that to what stands at `place`? Error: `forbidden`.
    pub fn may_at(&self, right: Right, place: &Place) -> Result<()> {
        if self.has(right, place) {
            return Ok(());
        }
        let say = match (&self.grants, right) {
            (Some(_), Right::May(verb, noun)) if self.role.may(right) && self.ceiling.may(right) => format!(
                "This token may not do {}:{} here. Make one with that scope, or ask an administrator.",
                noun.name(),
                verb.name()
            ),
            _ => format!("The role {} may not do this. Ask an administrator.", self.role.name()),
        };
        Err(Error::new(Kind::Forbidden, "forbidden", say))
    }

    /// Signs them out: ends the session or the family of tokens by which they are here, and what began with it.
    pub fn sign_out(&self, tx: &Tx) -> Result<()> {
        match &self.proof {
            Proof::Session(hash) => session::end_hash(tx, hash),
            Proof::Token(claims) => queries::end_family(tx, claims.family()),
        }
    }

    /// Asks the database again: the same one as they are now, if what they have proved it by still holds.
    fn again(&self, db: &Db) -> Result<Option<Actor>> {
        match &self.proof {
            Proof::Session(hash) => Ok(session::look(db, hash, self.origin())?.map(|(actor, _)| actor)),
            Proof::Token(claims) => token::look(db, claims, self.origin()),
        }
    }

    /// As the audit wants it.
    pub fn by(&self) -> By<'_> {
        self.origin().by(&self.login)
    }

    fn origin(&self) -> Origin<'_> {
        Origin {
            ip: &self.ip,
            request_id: &self.request_id,
            client_request_id: &self.client_request_id,
        }
    }
}

/// From where a request came: what an [`Actor`] and the audit remember of it.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The client's address.
    pub ip: &'a str,
    /// The request's id.
    pub request_id: &'a str,
    /// What the client called it; empty: nothing.
    pub client_request_id: &'a str,
}

impl<'a> Origin<'a> {
    /// As the audit wants it, of whom it names.
    pub const fn by(self, actor: &'a str) -> By<'a> {
        By {
            actor,
            ip: self.ip,
            request_id: self.request_id,
            client_request_id: self.client_request_id,
        }
    }
}

/// A user's row as far as signing in needs it. Not `Debug`: the password's hash is in it.
#[derive(Clone)]
pub struct Account {
    /// Id.
    pub id: Id<User>,
    /// Login as stored.
    pub login: String,
    /// PBKDF2 hash.
    pub password_hash: String,
    /// Role.
    pub role: Role,
    /// May not sign in.
    pub disabled: bool,
    /// Grows with each change of password or role.
    pub generation: i64,
    /// Chosen language, or empty.
    pub lang: String,
    /// Chosen time zone, or empty.
    pub time_zone: String,
}

impl Account {
    fn actor(self, from: Origin, csrf: Option<String>, proof: Proof) -> Actor {
        Actor {
            user: self.id,
            login: self.login,
            role: self.role,
            ceiling: self.role,
            lang: self.lang,
            time_zone: self.time_zone,
            ip: from.ip.into(),
            request_id: from.request_id.into(),
            client_request_id: from.client_request_id.into(),
            csrf,
            proof,
            grants: None,
        }
    }
}

/// One sign-in. Its session and its tokens are one family and end together.
pub struct SignIn<'a> {
    account: &'a Account,
    ip: &'a str,
    family: String,
}

impl<'a> SignIn<'a> {
    /// Of somebody whose password was right.
    pub fn new(account: &'a Account, ip: &'a str) -> SignIn<'a> {
        SignIn {
            account,
            ip,
            family: random::name(),
        }
    }
}

/// The account of a login, whatever its case.
pub fn account(conn: &Conn, login: &str) -> Result<Option<Account>> {
    queries::account_by_login(conn, login)
}

/// Is somebody signed in to this account from the same network?
pub fn is_here(conn: &Conn, user: Id<User>, ip: &str) -> Result<bool> {
    let network = |ip: &str| ip.parse().ok().map(host::network);
    let here = network(ip);
    let all = queries::session_addresses(conn, user, crate::base::clock::now() - session::IDLE_MAX)?;
    Ok(here.is_some() && all.iter().any(|ip| network(ip) == here))
}

/// How many accounts there are: none means first run.
pub fn accounts(conn: &Conn) -> Result<i64> {
    queries::accounts(conn)
}

/// Removes what has ended by age; called now and then.
pub fn purge(tx: &Tx) -> Result<()> {
    let now = crate::base::clock::now();
    queries::purge(
        tx,
        now - session::IDLE_MAX,
        now - session::AGE_MAX,
        now - token::REFRESH_AGE_MAX,
    )
}
