//! Browser sessions: a cookie of 256 random bits, of which the database holds the SHA-256. A session ends after 12 h
//! without use, after 7 days at the latest, and at once when password or role change.

use super::{Actor, Origin, Proof, SignIn, queries};
use crate::base::clock::{self, DAY, HOUR, MINUTE, Ms};
use crate::base::error::Result;
use crate::base::log;
use crate::base::random;
use crate::db::{Db, Tx};
use ring::digest;

/// Maximum time without use.
pub const IDLE_MAX: Ms = 12 * HOUR;
/// Maximum age.
pub const AGE_MAX: Ms = 7 * DAY;
/// Precision of the stored last use, to limit writes.
const SEEN_STEP: Ms = 5 * MINUTE;

/// Hash of a cookie or refresh token.
pub(super) type Hash = Vec<u8>;

pub(super) fn hash(token: &str) -> Hash {
    digest::digest(&digest::SHA256, token.as_bytes()).as_ref().to_vec()
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
    let Some((actor, seen_at)) = look(db, &hash, from)? else {
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
