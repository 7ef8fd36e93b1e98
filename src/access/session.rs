//! Browser sessions: an opaque cookie of 256 bits, of which the database holds only the SHA-256. A session ends after a
//! time without use (12 h unless set otherwise: a working day), after 7 days at the latest, and at once when the password
//! or role changes.

use super::{Actor, Origin, Proof, SignIn, queries};
use crate::base::clock::{self, HOUR, MINUTE, Ms};
use crate::base::error::Result;
use crate::base::{log, random, text};
use crate::db::{Conn, Db, Tx};
use crate::settings::Setting;

/// `session.idle_minutes`: longest time without use. A use is remembered to [`SEEN_STEP`], so less would end by chance.
pub const IDLE: Setting = Setting::of_number("session.idle_minutes", (10, 43_200), 720, "min");

/// `session.life_hours`: longest life.
pub const LIFE: Setting = Setting::of_number("session.life_hours", (1, 8_760), 168, "h");

/// How long a session may last, by the settings.
pub struct Bounds {
    /// Without use.
    pub idle: Ms,
    /// In all.
    pub life: Ms,
}

impl Bounds {
    /// As they are now.
    pub fn read(conn: &Conn) -> Result<Bounds> {
        Ok(Bounds {
            idle: IDLE.number(conn)? * MINUTE,
            life: LIFE.number(conn)? * HOUR,
        })
    }
}

/// How exactly the last use is remembered: not every click is a write.
const SEEN_STEP: Ms = 5 * MINUTE;

/// Hash of a cookie or refresh token.
pub(super) type Hash = Vec<u8>;

pub(super) fn hash(token: &str) -> Hash {
    text::sha256(token.as_bytes()).to_vec()
}

/// Starts a session. Returns the cookie's value, which is not stored.
pub fn start(tx: &Tx, by: &SignIn) -> Result<String> {
    let token = random::token();
    queries::insert_session(tx, &hash(&token), by, &random::token(), clock::now())?;
    queries::set_last_login(tx, by.account.id, clock::now())?;
    Ok(token)
}

/// The actor of a cookie, if the session is valid. Counts as a use.
pub fn find(db: &Db, cookie: &str, from: Origin) -> Result<Option<Actor>> {
    let (hash, now) = (hash(cookie), clock::now());
    let Some((actor, seen_at)) = authenticate(db, &hash, from)? else {
        return Ok(None);
    };
    if seen_at + SEEN_STEP < now
        && let Err(e) = db.write_reserved(|tx| queries::touch_session(tx, &hash, now))
    {
        // Must work on a full disk, so that an administrator can sign in.
        log::warning(
            "access",
            "the last use of a session could not be stored",
            &[("error", &e.to_string())],
        );
    }
    Ok(Some(actor))
}

/// The actor of a valid session, and the time of its last use.
pub(super) fn authenticate(db: &Db, hash: &Hash, from: Origin) -> Result<Option<(Actor, Ms)>> {
    let now = clock::now();
    let (found, bounds) = db.read(|conn| Ok((queries::session(conn, hash)?, Bounds::read(conn)?)))?;
    let alive = found.filter(|(account, session)| {
        session.seen_at + bounds.idle > now
            && session.created_at + bounds.life > now
            && session.generation == account.generation
            && !account.disabled
    });
    Ok(alive.map(|(account, session)| {
        let proof = Proof::Session {
            hash: hash.clone(),
            family: session.family,
        };
        let actor = account.actor(from, Some(session.csrf), proof);
        (actor, session.seen_at)
    }))
}

/// Ends the sign-in that a session belongs to.
pub fn end(tx: &Tx, cookie: &str) -> Result<()> {
    match queries::family_of_session(tx, &hash(cookie))? {
        Some(family) => queries::end_family(tx, &family),
        None => Ok(()),
    }
}
