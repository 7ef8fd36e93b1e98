//! Password hashes: `$pbkdf2-sha256-placed$i=600000$salt$tag`, peppered with a keyring key, so that a thief of the database
//! cannot even guess, and bound to their place, so that nobody's hash opens another account. One check costs about 0.15 s
//! of CPU; at most two run at once, or signing in would be the denial of service, and one of the two is kept for those who
//! are known. An unknown user costs the same as a wrong password.

use super::{SealContext, Vault, aad};
use crate::base::error::{Error, Kind, Result};
use crate::base::secret::Secret;
use crate::base::{random, text};
use ring::{hmac, pbkdf2};
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::{Condvar, Mutex, PoisonError};

/// OWASP's floor for PBKDF2-HMAC-SHA256 (Password Storage Cheat Sheet, 2023 and later).
const ITERATIONS: u32 = 600_000;
const AT_ONCE: usize = 2;
/// Who comes when so many wait is turned away, or the last in rank, instead of queueing for seconds.
const QUEUE_MAX: usize = 4;

/// Who is served first: the lowest, and of equals who came first. 0 are those who are known.
pub type Rank = u32;

static LINE: Mutex<Line> = Mutex::new(Line {
    known: 0,
    strangers: 0,
    waiting: BTreeSet::new(),
    last: 0,
});
static MOVED: Condvar = Condvar::new();

const PLACED: &str = "$pbkdf2-sha256-placed$i=";
/// As an older version stored it: the hash itself in the tag's place.
const UNPLACED: &str = "$pbkdf2-sha256$i=";

/// A password's hash that has no place yet: hashing takes its time before the row is written and has a number.
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
    /// Ready to be stored there, and good nowhere else.
    pub fn at(&self, vault: &Vault, place: SealContext) -> String {
        let tag = hmac::sign(&vault.pepper, &placed(&self.out, place));
        format!(
            "{PLACED}{}${}${}",
            self.iterations,
            text::base64url(&self.salt),
            text::base64url(tag.as_ref())
        )
    }

    /// What an older version has stored; `None`: nothing of that kind.
    pub fn unplaced(stored: &str) -> Option<Hash> {
        parse(stored, UNPLACED)
    }
}

/// Does the password match what is stored there? `None` for an unknown user: the same work, always `false`. Error:
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

/// Who is served and who waits, by rank and arrival.
struct Line {
    known: usize,
    strangers: usize,
    waiting: BTreeSet<(Rank, u64)>,
    last: u64,
}

impl Line {
    /// Takes a place in the queue, if need be of the last in rank.
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

/// One of the [`AT_ONCE`] places.
struct Turn(Rank);

impl Turn {
    fn take(rank: Rank) -> Result<Turn> {
        let busy = || {
            let say = "Too many people are signing in. Try again in a moment.";
            Error::new(Kind::TooMany(5), "busy_signing_in", say)
        };
        let mut line = LINE.lock().unwrap_or_else(PoisonError::into_inner);
        let me = line.enter(rank).ok_or_else(busy)?;
        MOVED.notify_all(); // somebody may have lost their place to this one
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
