//! Password hashes: `$pbkdf2-sha256-placed$i=600000$salt$tag`, peppered with a keyring key, so that a stolen database
//! alone does not allow guessing, and bound to their row, so that a copied hash does not open another account. One
//! check costs about 0.15 s of CPU; at most two run at once to limit the load, and one of the two is reserved for known
//! clients. An unknown user costs the same as a wrong password.

use super::{SealContext, Vault, aad};
use crate::base::error::{Error, Kind, Result};
use crate::base::secret::Secret;
use crate::base::{random, text};
use ring::{hmac, pbkdf2};
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::{Condvar, Mutex, PoisonError};

/// OWASP's minimum for PBKDF2-HMAC-SHA256 (Password Storage Cheat Sheet, 2023 and later).
const ITERATIONS: u32 = 600_000;
const AT_ONCE: usize = 2;
/// Length of the queue; beyond it the newcomer or the last in rank is refused.
const QUEUE_MAX: usize = 4;

/// Priority: lower is served first, equal ones in order of arrival. 0 are known clients.
pub type Rank = u32;

static LINE: Mutex<Line> = Mutex::new(Line {
    known: 0,
    strangers: 0,
    waiting: BTreeSet::new(),
    last: 0,
});
static MOVED: Condvar = Condvar::new();

const PLACED: &str = "$pbkdf2-sha256-placed$i=";
/// Format of an older version, not bound to a row.
const UNPLACED: &str = "$pbkdf2-sha256$i=";

/// A password hash that is not bound to a row yet: hashing takes time and happens before the row is written.
pub struct Hash {
    iterations: u32,
    salt: Vec<u8>,
    out: Vec<u8>,
}

/// Hashes a new password.
pub fn hash(vault: &Vault, password: &Secret) -> Result<Hash> {
    let salt = random::bytes::<16>();
    Ok(Hash {
        iterations: ITERATIONS,
        salt: salt.to_vec(),
        out: derive(vault, password, &salt, ITERATIONS, 0)?.to_vec(),
    })
}

impl Hash {
    /// Binds the hash to its row.
    pub fn at(&self, vault: &Vault, place: SealContext) -> String {
        let tag = hmac::sign(&vault.pepper, &placed(&self.out, place));
        format!(
            "{PLACED}{}${}${}",
            self.iterations,
            text::base64url(&self.salt),
            text::base64url(tag.as_ref())
        )
    }

    /// Parses the unbound format of an older version; `None` for anything else.
    pub fn unplaced(stored: &str) -> Option<Hash> {
        parse(stored, UNPLACED)
    }
}

/// Does the password match the stored hash? `None` for an unknown user: the same work, always `false`. Error:
/// `busy_signing_in`.
pub fn verify(vault: &Vault, password: &Secret, stored: Option<(SealContext, &str)>, rank: Rank) -> Result<bool> {
    let known = stored.and_then(|(place, text)| Some((place, parse(text, PLACED)?)));
    let (iterations, salt) = known
        .as_ref()
        .map_or((ITERATIONS, &[0; 16][..]), |(_, hash)| (hash.iterations, &hash.salt));
    let got = derive(vault, password, salt, iterations, rank)?;
    Ok(known.is_some_and(|(place, hash)| hmac::verify(&vault.pepper, &placed(&got, place), &hash.out).is_ok()))
}

fn placed(out: &[u8], place: SealContext) -> Vec<u8> {
    [aad(place, 0).as_bytes(), b"|", out].concat()
}

/// Iterations, salt, and tag or hash.
fn parse(stored: &str, form: &str) -> Option<Hash> {
    let mut parts = stored.strip_prefix(form)?.split('$');
    Some(Hash {
        iterations: parts.next()?.parse().ok().filter(|n| *n > 0)?,
        salt: text::unbase64(parts.next()?)?,
        out: text::unbase64(parts.next()?)?,
    })
}

fn derive(vault: &Vault, password: &Secret, salt: &[u8], iterations: u32, rank: Rank) -> Result<[u8; 32]> {
    let _turn = Turn::take(rank)?;
    let peppered = hmac::sign(&vault.pepper, password.reveal_for("hashing a password"));
    let mut out = [0; 32];
    let rounds = NonZeroU32::new(iterations).ok_or_else(|| Error::internal("no iterations"))?;
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, peppered.as_ref(), &mut out);
    Ok(out)
}

/// The queue by rank and arrival.
struct Line {
    known: usize,
    strangers: usize,
    waiting: BTreeSet<(Rank, u64)>,
    last: u64,
}

impl Line {
    /// Takes a place in the queue, if necessary that of the last in rank.
    fn enter(&mut self, rank: Rank) -> Option<(Rank, u64)> {
        self.last += 1;
        let me = (rank, self.last);
        self.waiting.insert(me);
        if self.waiting.len() > QUEUE_MAX && !self.is_free(self.waiting.first().map_or(0, |first| first.0)) {
            self.waiting.pop_last();
        }
        self.waiting.contains(&me).then_some(me)
    }

    fn is_free(&self, rank: Rank) -> bool {
        self.known + self.strangers < AT_ONCE && (rank == 0 || self.strangers < AT_ONCE - 1)
    }

    fn running(&mut self, rank: Rank) -> &mut usize {
        if rank == 0 {
            &mut self.known
        } else {
            &mut self.strangers
        }
    }
}

/// Holds one of the [`AT_ONCE`] slots.
struct Turn(Rank);

impl Turn {
    fn take(rank: Rank) -> Result<Turn> {
        let busy = || {
            let say = "Too many people are signing in. Try again in a moment.";
            Error::new(Kind::TooMany(5), "busy_signing_in", say)
        };
        let mut line = LINE.lock().unwrap_or_else(PoisonError::into_inner);
        let me = line.enter(rank).ok_or_else(busy)?;
        MOVED.notify_all(); // a waiter may have been displaced by this one
        while line.waiting.first() != Some(&me) || !line.is_free(rank) {
            line = MOVED.wait(line).unwrap_or_else(PoisonError::into_inner);
            if !line.waiting.contains(&me) {
                return Err(busy());
            }
        }
        line.waiting.remove(&me);
        *line.running(rank) += 1;
        MOVED.notify_all();
        Ok(Turn(rank))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *LINE.lock().unwrap_or_else(PoisonError::into_inner).running(self.0) -= 1;
        MOVED.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Db, Durability, schema};

    #[test]
    fn a_hash_is_good_for_one_row_and_an_older_one_is_given_its_place() {
        let dir = std::env::temp_dir().join(format!("ll-pw-{}", random::name()));
        std::fs::create_dir(&dir).unwrap();
        let db = Db::open(&dir.join("x.db"), Durability::Full, schema::STATE).unwrap();
        let vault = Vault::open(&db, &super::super::new_master_key()).unwrap();
        let (password, other) = (Secret::new("a long password"), Secret::new("another password"));
        let row = |row| SealContext {
            table: "users",
            column: "password_hash",
            row,
        };
        let hash = hash(&vault, &password).unwrap();
        let stored = hash.at(&vault, row(1));
        let good = |password, row, stored: &str| verify(&vault, password, Some((row, stored)), 0).unwrap();
        assert!(good(&password, row(1), &stored));
        assert!(!good(&password, row(2), &stored), "carried to another row");
        assert!(!good(&other, row(1), &stored));
        assert!(!verify(&vault, &password, None, 0).unwrap());
        let old = format!(
            "{UNPLACED}{}${}${}",
            hash.iterations,
            text::base64url(&hash.salt),
            text::base64url(&hash.out)
        );
        assert!(!good(&password, row(1), &old), "of no place");
        let given = Hash::unplaced(&old).unwrap().at(&vault, row(1));
        assert_eq!(given, stored);
        assert!(Hash::unplaced(&stored).is_none());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
