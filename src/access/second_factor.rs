//! The second thing that a sign-in takes from who has switched it on: a code of their authenticator ([`super::totp`]), or
//! one of ten recovery codes, each good once. The authenticator's secret is sealed; of the recovery codes there are tags
//! under a key of the vault, so that the database alone does not let anybody try codes.

use super::{queries, totp};
use crate::base::clock::{self, SECOND};
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{Id, User};
use crate::base::random;
use crate::base::secret::Secret;
use crate::db::{Conn, Tx};
use crate::vault::{SealContext, Sealed, Vault};

/// Recovery codes of one account.
const RECOVERY_CODES: usize = 10;

/// Characters of a recovery code, without the dash in its middle: 50 bits.
const RECOVERY_LENGTH: usize = 10;

/// Where the authenticators' secrets are.
pub const SEALED: &[Sealed] = &[Sealed {
    row: "user_id",
    ..Sealed::column("second_factors", "secret")
}];

fn place(user: Id<User>) -> SealContext {
    SealContext {
        table: "second_factors",
        column: "secret",
        row: user.get(),
    }
}

fn tag(vault: &Vault, user: Id<User>, code: &str) -> Vec<u8> {
    let place = SealContext {
        table: "recovery_codes",
        column: "tag",
        row: user.get(),
    };
    vault.tag(place, &Secret::new(code))
}

/// Is a sign-in to this account asked for a code?
pub fn is_on(conn: &Conn, user: Id<User>) -> Result<bool> {
    Ok(queries::second_factor(conn, user)?.is_some_and(|row| row.is_confirmed))
}

/// Recovery codes that are left.
pub fn codes_left(conn: &Conn, user: Id<User>) -> Result<i64> {
    queries::recovery_codes_left(conn, user)
}

/// Begins afresh: a secret for the authenticator, which counts once a code has confirmed it. Error: `totp_is_on`.
pub fn begin(tx: &Tx, vault: &Vault, user: Id<User>) -> Result<Secret> {
    if is_on(tx, user)? {
        let say = "Codes of an authenticator are on already. Switch them off first.";
        return Err(Error::new(Kind::Conflict, "totp_is_on", say));
    }
    let secret = Secret::new(random::bytes::<{ totp::SECRET_BYTES }>());
    queries::put_second_factor(tx, user, &vault.seal(place(user), &secret)?)?;
    Ok(secret)
}

/// The secret that was begun and not confirmed yet.
pub fn pending(conn: &Conn, vault: &Vault, user: Id<User>) -> Result<Option<Secret>> {
    let row = queries::second_factor(conn, user)?.filter(|row| !row.is_confirmed);
    row.map(|row| vault.open_sealed(place(user), &row.secret)).transpose()
}

/// Switches it on when the code is right; gives the recovery codes, which exist nowhere else. Error: `totp_not_begun`.
pub fn confirm(tx: &Tx, vault: &Vault, user: Id<User>, typed: &str) -> Result<Option<Vec<String>>> {
    let Some(secret) = pending(tx, vault, user)? else {
        let say = "There is no secret to be confirmed. Begin with POST /api/me/totp.";
        return Err(Error::new(Kind::Conflict, "totp_not_begun", say));
    };
    let Some(step) = step_of(&secret, &plain(typed), 0) else {
        return Ok(None);
    };
    queries::confirm_second_factor(tx, user, step, clock::now())?;
    fresh_codes(tx, vault, user).map(Some)
}

/// New recovery codes in place of all others.
pub fn fresh_codes(tx: &Tx, vault: &Vault, user: Id<User>) -> Result<Vec<String>> {
    queries::remove_recovery_codes(tx, user)?;
    let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| recovery_code()).collect();
    for code in &codes {
        queries::insert_recovery_code(tx, user, &tag(vault, user, &plain(code)))?;
    }
    Ok(codes)
}

fn recovery_code() -> String {
    let text = totp::base32(&random::bytes::<7>()).to_lowercase();
    let half = RECOVERY_LENGTH / 2;
    format!("{}-{}", &text[..half], &text[half..RECOVERY_LENGTH])
}

/// Switches it off. Was there one?
pub fn remove(tx: &Tx, user: Id<User>) -> Result<bool> {
    queries::remove_recovery_codes(tx, user)?;
    queries::remove_second_factor(tx, user)
}

/// Is this a code of the authenticator, or a recovery code, that was not used before? From now on it is.
pub fn check(tx: &Tx, vault: &Vault, user: Id<User>, typed: &str) -> Result<bool> {
    let Some(row) = queries::second_factor(tx, user)?.filter(|row| row.is_confirmed) else {
        return Ok(false);
    };
    let typed = plain(typed);
    if typed.len() == RECOVERY_LENGTH {
        return queries::use_recovery_code(tx, user, &tag(vault, user, &typed), clock::now());
    }
    let secret = vault.open_sealed(place(user), &row.secret)?;
    match step_of(&secret, &typed, row.last_step) {
        Some(step) => queries::use_step(tx, user, step).map(|()| true),
        None => Ok(false),
    }
}

fn step_of(secret: &Secret, typed: &str, last: i64) -> Option<i64> {
    totp::step_of(
        secret.reveal_for("making the codes of an authenticator"),
        typed,
        clock::now() / SECOND,
        last,
    )
}

/// As it is compared: people type spaces and dashes, and capitals.
fn plain(typed: &str) -> String {
    let typed = typed.chars().filter(|c| !c.is_whitespace() && *c != '-');
    typed.flat_map(char::to_lowercase).take(64).collect()
}
