//! Authentication and authorization. An [`Actor`] can only be made here, from a valid session or token: holding one is
//! proof.

pub mod right;
mod queries;
pub mod scope;
pub mod session;
pub mod token;
pub mod api_token;
pub mod device;
pub mod ticket;
pub mod throttle;
pub mod totp;
pub mod second_factor;
pub mod confirm;
pub mod standing;
pub mod allowed;
pub mod weak;

use crate::audit::By;
use crate::base::clock::{self, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::base::host;
use crate::base::id::{ApiToken, Id, User};
use crate::base::random;
use crate::base::text;
use crate::db::{Conn, Db, Lens, Tx};
use crate::vault::SealContext;
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
    /// How the audit names the proof.
    via: String,
    proof: Proof,
    /// `None`: all rights of the role, everywhere.
    grants: Option<Grants>,
    /// Of what belongs to projects, that of these alone; empty: of all.
    projects: Vec<i64>,
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
    Session {
        hash: session::Hash,
        family: String,
    },
    Token(token::Claims),
    ApiToken(Id<ApiToken>),
    /// The kernel told the user id, at the control socket.
    Kernel,
}

/// Somebody who has signed in themselves, and does not speak by a token that was made for a program: what is about one's
/// own account takes this. Made by [`Actor::sign_in`].
#[derive(Clone, Copy)]
pub struct OwnSignIn<'a> {
    actor: &'a Actor,
    family: &'a str,
}

impl<'a> OwnSignIn<'a> {
    /// Who it is.
    pub fn actor(&self) -> &'a Actor {
        self.actor
    }

    /// The number of this sign-in, by which it is listed; it opens nothing.
    pub fn family(&self) -> &'a str {
        self.family
    }
}

impl Proof {
    /// For the audit: which one it was. Nobody gets in by what this says.
    fn named(&self) -> String {
        let short = |family: &str| text::cut(family, FAMILY_SHOWN).to_string();
        match self {
            Proof::Session { family, .. } => format!("session {}", short(family)),
            Proof::Token(claims) => format!("sign-in {}", short(claims.family())),
            Proof::ApiToken(id) => format!("token {id}"),
            Proof::Kernel => allowed::CLI.into(),
        }
    }
}

/// Bytes of a family's name that tell sign-ins apart.
const FAMILY_SHOWN: usize = 8;

impl Actor {
    /// Root, or the user that the service runs as, by the control socket: an administrator without an account, whose number
    /// is 0. Who else is at the other end of that socket is not let in.
    pub fn of_machine_user(uid: u32, from: Origin) -> Actor {
        Actor {
            user: Id::new(0),
            login: allowed::cli_login(uid),
            role: Role::Admin,
            ceiling: Role::Admin,
            lang: String::new(),
            time_zone: String::new(),
            ip: String::new(),
            request_id: from.request_id.into(),
            client_request_id: from.client_request_id.into(),
            csrf: None,
            via: Proof::Kernel.named(),
            proof: Proof::Kernel,
            grants: None,
            projects: Vec::new(),
        }
    }

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
        let may = |right| self.role.may(right) && self.ceiling.may(right);
        let mut rows = match &self.grants {
            Some(grants) => grants.rows(may),
            None if self.projects.is_empty() => return None,
            None => {
                let reads = self.role.rights().filter(|(verb, _)| *verb == right::Verb::Read);
                let reads = reads
                    .map(|(verb, noun)| Right::May(verb, noun))
                    .filter(|right| may(*right));
                reads.map(|right| (right.to_string(), "all", None)).collect()
            }
        };
        rows.extend(self.projects.iter().map(|id| (String::new(), "project", Some(*id))));
        Some(scope::lens(&rows))
    }

    /// The projects whose things alone they see; empty: all.
    pub fn projects(&self) -> &[i64] {
        &self.projects
    }

    /// The place of the object in question. Only computed for actors with restricted rights.
    pub fn place(&self, look_up: impl FnOnce() -> Result<Place>) -> Result<Place> {
        match self.grants.is_some() || !self.projects.is_empty() {
            true => look_up(),
            false => Ok(Place::Everywhere),
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
        self.role.may(right) && self.ceiling.may(right) && is_granted && self.reaches(right, place)
    }

    /// Is that in one of their projects? What is made belongs to one ([`Allowed::keep`]), so that it may be made; a list of
    /// everything is not theirs to read, but what of it [`Self::lens`] shows.
    fn reaches(&self, right: Right, place: &Place) -> bool {
        let of_projects = matches!(right, Right::May(right::Verb::Read, noun) if noun.is_in_projects());
        match place {
            _ if self.projects.is_empty() => true,
            Place::In(project, _) => project.is_some_and(|id| self.projects.contains(&id.get())),
            Place::Everywhere => !of_projects,
            Place::Granted | Place::At(..) => true,
        }
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
            _ if !self.reaches(right, place) => "It belongs to no project of yours. Ask an administrator.".into(),
            _ => format!("The role {} may not do this. Ask an administrator.", self.role.name()),
        };
        Err(Error::new(Kind::Forbidden, "forbidden", say))
    }

    /// Signs the actor out: ends the session or token family, and everything begun with it.
    pub fn sign_out(&self, tx: &Tx) -> Result<()> {
        match &self.proof {
            Proof::Session { family, .. } => queries::end_family(tx, family),
            Proof::Token(claims) => queries::end_family(tx, claims.family()),
            Proof::ApiToken(_) => Err(no_token_may()),
            Proof::Kernel => Err(no_account()),
        }
    }

    /// Is it a user of this machine, by the control socket?
    pub fn is_machine_user(&self) -> bool {
        matches!(self.proof, Proof::Kernel)
    }

    /// The sign-in by which they are here. Errors: `token_may_not` for an API token, `no_account` for the command line.
    pub fn sign_in(&self) -> Result<OwnSignIn<'_>> {
        let family = match &self.proof {
            Proof::Session { family, .. } => family,
            Proof::Token(claims) => claims.family(),
            Proof::ApiToken(_) => return Err(no_token_may()),
            Proof::Kernel => return Err(no_account()),
        };
        Ok(OwnSignIn { actor: self, family })
    }

    /// Reads the actor again; `None` if session or token is no longer valid.
    fn again(&self, db: &Db) -> Result<Option<Actor>> {
        match &self.proof {
            Proof::Session { hash, .. } => Ok(session::authenticate(db, hash, self.origin())?.map(|(actor, _)| actor)),
            Proof::Token(claims) => token::authenticate(db, claims, self.origin()),
            Proof::ApiToken(id) => api_token::authenticate(db, *id, self.origin()),
            Proof::Kernel => Ok(Some(self.clone())),
        }
    }

    /// Author of audit rows.
    pub fn by(&self) -> By<'_> {
        let via = &self.via;
        By {
            via,
            ..self.origin().by(&self.login)
        }
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

fn no_account() -> Error {
    let say = "The command line has no account of its own. Sign in yourself.";
    Error::new(Kind::Forbidden, "no_account", say)
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
    /// As the audit wants it, of whom it names, before they are signed in.
    pub const fn by(self, actor: &'a str) -> By<'a> {
        By {
            actor,
            via: "",
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
    /// When somebody with the data folder said that it may be tried afresh; 0: never.
    pub unlocked_at: Ms,
    /// Of what belongs to projects they see that of these alone; empty: of all. An administrator always sees all.
    pub projects: Vec<i64>,
}

/// Where the hash of a user's password stands.
pub const fn password_place(id: Id<User>) -> SealContext {
    SealContext {
        table: "users",
        column: "password_hash",
        row: id.get(),
    }
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
            via: proof.named(),
            proof,
            grants: None,
            projects: match self.role {
                Role::Admin => Vec::new(),
                _ => self.projects,
            },
        }
    }
}

/// A sign-in. Its session and tokens are one family and end together.
pub struct SignIn<'a> {
    account: &'a Account,
    from: Client<'a>,
    family: String,
}

/// From where and by what somebody signs in, as it is shown to them later.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// The client's address.
    pub ip: &'a str,
    /// What the program says it is.
    pub agent: &'a str,
}

/// Bytes of a program's own description that are kept.
const AGENT_MAX: usize = 200;

impl<'a> SignIn<'a> {
    /// Of somebody whose password was right.
    pub fn new(account: &'a Account, from: Client<'a>) -> SignIn<'a> {
        SignIn {
            account,
            from,
            family: random::name(),
        }
    }
}

/// A sign-in that goes on, as its owner sees it.
#[derive(Debug)]
pub struct Session {
    /// Its number.
    pub family: String,
    /// When it began.
    pub created_at: Ms,
    /// When it was used last, to a few minutes.
    pub seen_at: Ms,
    /// From where, then.
    pub ip: String,
    /// By what, then; empty: not said.
    pub agent: String,
}

/// Sign-ins of one account that are shown; the newest of more.
const SESSIONS_MAX: usize = 200;

/// The sign-ins of an account that go on, the last used first.
pub fn sessions(conn: &Conn, user: Id<User>) -> Result<Vec<Session>> {
    let now = clock::now();
    let bounds = session::Bounds::read(conn)?;
    let since = (now - bounds.idle, now - bounds.life, now - token::REFRESH_AGE_MAX);
    let mut all: Vec<Session> = Vec::new();
    for row in queries::sign_ins(conn, user, since)? {
        match all.iter().position(|known| known.family == row.family) {
            Some(n) => all[n].created_at = all[n].created_at.min(row.created_at),
            None if all.len() < SESSIONS_MAX => all.push(row),
            None => {}
        }
    }
    Ok(all)
}

/// Ends one sign-in of this account. Was there one?
pub fn end_session(tx: &Tx, user: Id<User>, family: &str) -> Result<bool> {
    match queries::is_family_of(tx, user, family)? {
        true => queries::end_family(tx, family).map(|()| true),
        false => Ok(false),
    }
}

/// Ends all sign-ins of the account but this one. Who is
/// signing in just now, by what was true a moment ago, does not get in either.
pub fn end_other_sessions(tx: &Tx, keep: OwnSignIn) -> Result<()> {
    let user = keep.actor.user;
    queries::grow_generation(tx, user)?;
    queries::keep_family(tx, user, keep.family)
}

/// The account of a login, whatever its case.
pub fn account(conn: &Conn, login: &str) -> Result<Option<Account>> {
    queries::account_by_login(conn, login)
}

/// The account of a number.
pub fn account_of(conn: &Conn, id: Id<User>) -> Result<Option<Account>> {
    queries::account_by_id(conn, id)
}

/// Is somebody signed in to this account from the same network?
pub fn is_here(conn: &Conn, user: Id<User>, ip: &str) -> Result<bool> {
    let network = |ip: &str| ip.parse().ok().map(host::network);
    let here = network(ip);
    let idle = session::Bounds::read(conn)?.idle;
    let all = queries::session_addresses(conn, user, clock::now() - idle)?;
    Ok(here.is_some() && all.iter().any(|ip| network(ip) == here))
}

/// Number of accounts; 0: first run.
pub fn accounts(conn: &Conn) -> Result<i64> {
    queries::accounts(conn)
}

/// Removes expired sessions and tokens.
pub fn purge(tx: &Tx) -> Result<()> {
    let now = clock::now();
    let bounds = session::Bounds::read(tx)?;
    let since = (now - bounds.idle, now - bounds.life, now - token::REFRESH_AGE_MAX);
    queries::purge(tx, since, now - confirm::AGE_MAX)
}
