//! Browser sessions: an opaque cookie of 256 bits, of which the database holds only the SHA-256. A session ends after
//! 12 h without use (a working day), after 7 days at the latest, and at once when the password or role changes.

use super::{Actor, Origin, Proof, SignIn, queries};
use crate::base::clock::{self, DAY, HOUR, MINUTE, Ms};
use crate::base::error::Result;
use crate::base::log;
use crate::base::random;
use crate::db::{Db, Tx};
use ring::digest;

/// Longest time without use.
pub const IDLE_MAX: Ms = 12 * HOUR;
/// Longest life.
pub const AGE_MAX: Ms = 7 * DAY;
/// How exactly the last use is remembered: not every click is a write.
const SEEN_STEP: Ms = 5 * MINUTE;

/// Of a cookie or refresh token.
pub(super) type Hash = Vec<u8>;

pub(super) fn hash(token: &str) -> Hash {
    digest::digest(&digest::SHA256, token.as_bytes()).as_ref().to_vec()
}

/// Starts a session. Returns the cookie's value, which exists nowhere else.
pub fn start(tx: &Tx, by: &SignIn) -> Result<String> {
    let token = random::token();
    queries::insert_session(tx, &hash(&token), by, &random::token(), clock::now())?;
    queries::set_last_login(tx, by.account.id, clock::now())?;
    Ok(token)
}

/// The actor behind a cookie, if the session lives. This is a use of it.
pub fn find(db: &Db, cookie: &str, from: Origin) -> Result<Option<Actor>> {
    let (hash, now) = (hash(cookie), clock::now());
    let Some((actor, seen_at)) = look(db, &hash, from)? else {
        return Ok(None);
    };
    if seen_at + SEEN_STEP < now
        && let Err(e) = db.write_reserved(|tx| queries::touch_session(tx, &hash, now))
    {
        // Whoever comes to see why the disk is full must get in.
        log::warning(
            "access",
            "the last use of a session could not be stored",
            &[("error", &e.to_string())],
        );
    }
    Ok(Some(actor))
}

/// The actor of a session that lives, and when it was used last.
pub(super) fn look(db: &Db, hash: &Hash, from: Origin) -> Result<Option<(Actor, Ms)>> {
    let now = clock::now();
    let found = db.read(|conn| queries::session(conn, hash))?;
    let alive = found.filter(|(account, session)| {
        session.seen_at + IDLE_MAX > now
            && session.created_at + AGE_MAX > now
            && session.generation == account.generation
            && !account.disabled
    });
    Ok(alive.map(|(account, session)| {
        let actor = account.actor(from, Some(session.csrf), Proof::Session(hash.clone()));
        (actor, session.seen_at)
    }))
}

/// Ends the sign-in that a session belongs to.
pub fn end(tx: &Tx, cookie: &str) -> Result<()> {
    end_hash(tx, &hash(cookie))
}

pub(super) fn end_hash(tx: &Tx, hash: &Hash) -> Result<()> {
    match queries::family_of_session(tx, hash)? {
        Some(family) => queries::end_family(tx, &family),
        None => Ok(()),
    }
}
