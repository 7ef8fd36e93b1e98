//! Who is asking and what they may do. An [`Actor`] can only be made here, from a live session, a live token or by the
//! daemon itself: holding one is the proof.

pub mod right;
mod queries;
pub mod session;
pub mod token;
pub mod throttle;

use crate::audit::By;
use crate::base::id::{Id, User};
pub use right::{Right, Role};

/// Somebody who has proved who they are. Not `Debug`: the session's CSRF token is in it.
#[derive(Clone)]
pub struct Actor {
    user: Id<User>,
    login: String,
    role: Role,
    lang: String,
    ip: String,
    request_id: String,
    csrf: Option<String>,
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

    /// The session's CSRF token; `None` when a bearer token speaks (a browser never sends one by itself).
    pub fn csrf(&self) -> Option<&str> {
        self.csrf.as_deref()
    }

    /// As the audit wants it.
    pub fn by(&self) -> By<'_> {
        By {
            actor: &self.login,
            ip: &self.ip,
            request_id: &self.request_id,
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
}

/// A user's row as far as signing in needs it. Not `Debug`: the password's hash is in it.
#[derive(Clone)]
pub struct Account {
    /// Number.
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
}

impl Account {
    fn actor(self, from: Origin, csrf: Option<String>) -> Actor {
        Actor {
            user: self.id,
            login: self.login,
            role: self.role,
            lang: self.lang,
            ip: from.ip.into(),
            request_id: from.request_id.into(),
            csrf,
        }
    }
}

/// The account of a login, whatever its case.
pub fn account(conn: &crate::db::Conn, login: &str) -> crate::base::error::Result<Option<Account>> {
    queries::account_by_login(conn, login)
}

/// How many accounts there are: none means first run.
pub fn accounts(conn: &crate::db::Conn) -> crate::base::error::Result<i64> {
    queries::accounts(conn)
}

/// Removes what has ended by age; called now and then.
pub fn purge(tx: &crate::db::Tx) -> crate::base::error::Result<()> {
    let now = crate::base::clock::now();
    queries::purge(
        tx,
        now - session::IDLE_MAX,
        now - session::AGE_MAX,
        now - token::REFRESH_AGE_MAX,
    )
}
