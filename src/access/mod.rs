//! Authentication and authorization. An [`Actor`] can only be made here, from a valid session or token: holding one is
//! proof.

pub mod right;
mod queries;
pub mod scope;
pub mod session;
pub mod token;
pub mod api_token;
pub mod device;
pub mod throttle;
pub mod standing;
pub mod allowed;
pub mod weak;

use crate::audit::By;
use crate::base::error::{Error, Kind, Result};
use crate::base::host;
use crate::base::id::{ApiToken, Id, User};
use crate::base::random;
use crate::db::{Conn, Db, Lens, Tx};
pub use allowed::{Allowed, Unplaced};
pub use right::{Right, Role};
pub use scope::{Grant, Grants, Place};
pub use standing::Standing;

/// An authenticated user or token, as of the request. Not `Debug`: it holds the session's CSRF token.
#[derive(Clone)]
pub struct Actor {
    user: Id<User>,
    login: String,
    role: Role,
    /// For a token: the role of its owner, which limits its rights as well.
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

/// A reader to whom objects are shown, perhaps without names.
pub trait Sees {
    /// Does the reader have this right at this place? The place is only computed if needed.
    fn sees(&self, right: Right, place: &dyn Fn() -> Result<Place>) -> Result<bool>;
}

impl Sees for Actor {
    fn sees(&self, right: Right, place: &dyn Fn() -> Result<Place>) -> Result<bool> {
        Ok(self.has(right, &self.place(place)?))
    }
}

/// For output without an actor: notifications, the daemon's log.
impl Sees for Role {
    fn sees(&self, right: Right, _: &dyn Fn() -> Result<Place>) -> Result<bool> {
        Ok(self.may(right))
    }
}

/// How the actor was authenticated.
#[derive(Clone)]
enum Proof {
    Session(session::Hash),
    Token(token::Claims),
    ApiToken(Id<ApiToken>),
}

impl Actor {
    /// Id of the user.
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

    /// The session's CSRF token; `None` for bearer tokens, which browsers never send by themselves.
    pub fn csrf(&self) -> Option<&str> {
        self.csrf.as_deref()
    }

    /// The same actor restricted to these grants.
    pub fn limited_to(self, grants: Grants) -> Actor {
        let grants = Some(grants);
        Actor { grants, ..self }
    }

    /// Restriction of queries whose answers show several objects; `None`: unrestricted.
    pub fn lens(&self) -> Option<Lens> {
        let grants = self.grants.as_ref()?;
        Some(grants.lens(|right| self.role.may(right) && self.ceiling.may(right)))
    }

    /// The place of the object in question. Only computed for actors with restricted rights.
    pub fn place(&self, look_up: impl FnOnce() -> Result<Place>) -> Result<Place> {
        match self.grants {
            Some(_) => look_up(),
            None => Ok(Place::Everywhere),
        }
    }

    /// Is the right held everywhere? Error: `forbidden`.
    pub fn may(&self, right: Right) -> Result<()> {
        self.may_at(right, &Place::Everywhere)
    }

    /// Is the right held at this place? For deciding what to show; actions use [`Self::may_at`].
    pub fn has(&self, right: Right, place: &Place) -> bool {
        let needs_grant = matches!(right, Right::May(..));
        let is_granted = (self.grants.as_ref()).is_none_or(|grants| !needs_grant || grants.hold(right, place));
        self.role.may(right) && self.ceiling.may(right) && is_granted
    }

    /// Is the right held at this place? Error: `forbidden`.
    pub fn may_at(&self, right: Right, place: &Place) -> Result<()> {
        if self.has(right, place) {
            return Ok(());
        }
        let say = match (&self.grants, right) {
            (Some(_), Right::May(..)) if self.role.may(right) && self.ceiling.may(right) => {
                format!("This token may not do {right} here. Make one with that scope, or ask an administrator.")
            }
            _ => format!("The role {} may not do this. Ask an administrator.", self.role.name()),
        };
        Err(Error::new(Kind::Forbidden, "forbidden", say))
    }

    /// For what a person does themselves: making tokens, and whatever is dangerous. Error: `token_may_not`.
    pub fn refuse_api_token(&self) -> Result<()> {
        match self.proof {
            Proof::ApiToken(_) => Err(no_token_may()),
            _ => Ok(()),
        }
    }

    /// Signs the actor out: ends the session or token family, and everything begun with it.
    pub fn sign_out(&self, tx: &Tx) -> Result<()> {
        match &self.proof {
            Proof::Session(hash) => session::end_hash(tx, hash),
            Proof::Token(claims) => queries::end_family(tx, claims.family()),
            Proof::ApiToken(_) => Err(no_token_may()),
        }
    }

    /// Reads the actor again; `None` if session or token are no longer valid.
    fn again(&self, db: &Db) -> Result<Option<Actor>> {
        match &self.proof {
            Proof::Session(hash) => Ok(session::look(db, hash, self.origin())?.map(|(actor, _)| actor)),
            Proof::Token(claims) => token::look(db, claims, self.origin()),
            Proof::ApiToken(id) => api_token::look(db, *id, self.origin()),
        }
    }

    /// Author of audit rows.
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

fn no_token_may() -> Error {
    let say = "An API token may not do this. Sign in yourself.";
    Error::new(Kind::Forbidden, "token_may_not", say)
}

/// Origin of a request, for actors and audit.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The client's address.
    pub ip: &'a str,
    /// The request's id.
    pub request_id: &'a str,
    /// Client's own request id; empty: none.
    pub client_request_id: &'a str,
}

impl<'a> Origin<'a> {
    /// Author of audit rows, for this name.
    pub const fn by(self, actor: &'a str) -> By<'a> {
        By {
            actor,
            ip: self.ip,
            request_id: self.request_id,
            client_request_id: self.client_request_id,
        }
    }
}

/// A user's row for sign-in. Not `Debug`: it holds the password hash.
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
    /// Is sign-in disabled?
    pub disabled: bool,
    /// Incremented with each change of password or role.
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

/// A sign-in. Its session and tokens are one family and end together.
pub struct SignIn<'a> {
    account: &'a Account,
    ip: &'a str,
    family: String,
}

impl<'a> SignIn<'a> {
    /// A sign-in after a correct password.
    pub fn new(account: &'a Account, ip: &'a str) -> SignIn<'a> {
        SignIn {
            account,
            ip,
            family: random::name(),
        }
    }
}

/// The account of a login, ignoring case.
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

/// Number of accounts; 0: first run.
pub fn accounts(conn: &Conn) -> Result<i64> {
    queries::accounts(conn)
}

/// Removes expired sessions and tokens.
pub fn purge(tx: &Tx) -> Result<()> {
    let now = crate::base::clock::now();
    queries::purge(
        tx,
        now - session::IDLE_MAX,
        now - session::AGE_MAX,
        now - token::REFRESH_AGE_MAX,
    )
}
