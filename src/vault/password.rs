//! Password hashes: `$pbkdf2-sha256$i=600000$salt$hash`, peppered with a keyring key, so that a thief of the database
//! cannot even guess. One check costs about 0.15 s of CPU; at most two run at once, or signing in would be the denial
//! of service. An unknown user costs the same as a wrong password.

use super::Vault;
use crate::base::error::{Error, Kind, Result};
use crate::base::secret::Secret;
use crate::base::{random, text};
use ring::{hmac, pbkdf2};
use std::num::NonZeroU32;
use std::sync::{Condvar, Mutex, PoisonError};

/// OWASP's floor for PBKDF2-HMAC-SHA256 (Password Storage Cheat Sheet, 2023 and later).
const ITERATIONS: u32 = 600_000;
const AT_ONCE: usize = 2;
/// Who waits longer than this many others is turned away instead of queueing for seconds.
const QUEUE_MAX: usize = 4;

static RUNNING: Mutex<(usize, usize)> = Mutex::new((0, 0)); // running, waiting
static FREED: Condvar = Condvar::new();

/// A password's hash, ready to be stored.
pub fn hash(vault: &Vault, password: &Secret) -> Result<String> {
    let salt = random::bytes::<16>();
    let out = derive(vault, password, &salt, ITERATIONS)?;
    Ok(format!(
        "$pbkdf2-sha256$i={ITERATIONS}${}${}",
        text::base64url(&salt),
        text::base64url(&out)
    ))
}

/// Does the password match? `None` for an unknown user: the same work, always `false`.
pub fn verify(vault: &Vault, password: &Secret, stored: Option<&str>) -> Result<bool> {
    let parsed = stored.and_then(parse);
    let (iterations, salt, want) = parsed.unwrap_or((ITERATIONS, vec![0; 16], vec![0; 32]));
    let got = derive(vault, password, &salt, iterations)?;
    // Compared through a MAC under a random key: constant time with what ring still offers.
    let key = hmac::Key::new(hmac::HMAC_SHA256, &random::bytes::<32>());
    let same = hmac::verify(&key, &want, hmac::sign(&key, &got).as_ref()).is_ok();
    Ok(same && stored.is_some())
}

fn parse(stored: &str) -> Option<(u32, Vec<u8>, Vec<u8>)> {
    let mut parts = stored.strip_prefix("$pbkdf2-sha256$i=")?.split('$');
    let iterations = parts.next()?.parse().ok().filter(|n| *n > 0)?;
    Some((
        iterations,
        text::unbase64(parts.next()?)?,
        text::unbase64(parts.next()?)?,
    ))
}

fn derive(vault: &Vault, password: &Secret, salt: &[u8], iterations: u32) -> Result<[u8; 32]> {
    let _turn = Turn::take()?;
    let peppered = hmac::sign(&vault.pepper, password.reveal_for("hashing a password"));
    let mut out = [0; 32];
    let rounds = NonZeroU32::new(iterations).ok_or_else(|| Error::internal("no iterations"))?;
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, peppered.as_ref(), &mut out);
    Ok(out)
}

/// One of the [`AT_ONCE`] places.
struct Turn;

impl Turn {
    fn take() -> Result<Turn> {
        let mut state = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 >= AT_ONCE && state.1 >= QUEUE_MAX {
            return Err(Error::new(
                Kind::TooMany(5),
                "busy_signing_in",
                "Too many people are signing in. Try again in a moment.",
            ));
        }
        state.1 += 1;
        while state.0 >= AT_ONCE {
            state = FREED.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        *state = (state.0 + 1, state.1 - 1);
        Ok(Turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).0 -= 1;
        FREED.notify_one();
    }
}
