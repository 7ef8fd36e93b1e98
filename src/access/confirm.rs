//! Is it still them? What would hurt most in the hands of who has found an open browser is done only by somebody who has
//! shown their password or a code within the last ten minutes, in this very sign-in. Which acts these are stands in the
//! table of routes; the guard asks.

use super::throttle::{Known, Throttle, UNLOCKED_MAX};
use super::{Actor, queries, second_factor};
use crate::audit;
use crate::base::clock::{self, MINUTE, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::base::secret::Secret;
use crate::db::{Conn, Db};
use crate::form::Input;
use crate::vault::{Vault, password};

/// How long it counts.
pub const AGE_MAX: Ms = 10 * MINUTE;

/// What somebody shows.
pub enum Evidence {
    /// Their password.
    Password(Secret),
    /// A code of their authenticator, or a recovery code.
    Code(String),
}

impl Evidence {
    /// Reads `password` or `totp` of a body. `None`: neither is there, and that is noted as wrong.
    pub fn read(input: &mut Input) -> Option<Evidence> {
        let password = input.secret("password").flatten();
        let code = input.text("totp").filter(|code| !code.is_empty());
        match (password, code) {
            (Some(password), _) => Some(Evidence::Password(password)),
            (None, Some(code)) => Some(Evidence::Code(code)),
            (None, None) => {
                input.wrong("password", "required", "Give your password, or a code as “totp”.");
                None
            }
        }
    }
}

/// Until when what they have shown counts; `None`: it does not.
pub fn until(conn: &Conn, actor: &Actor) -> Result<Option<Ms>> {
    let Ok(by) = actor.sign_in() else {
        return Ok(None); // a token shows nothing
    };
    let until = queries::confirmed_at(conn, by.family())?.map(|at| at + AGE_MAX);
    Ok(until.filter(|until| *until > clock::now()))
}

/// They have shown it. Whoever asks by the control socket has: the kernel says at each request who they are. Errors:
/// `confirm_required`; `token_may_not` for an API token.
pub fn require(db: &Db, actor: &Actor) -> Result<()> {
    if actor.is_machine_user() {
        return Ok(());
    }
    actor.sign_in()?;
    match db.read(|conn| until(conn, actor))? {
        Some(_) => Ok(()),
        None => Err(Error::new(
            Kind::Forbidden,
            "confirm_required",
            "Show first that it is you: POST /api/me/confirm with your password or a code. That counts for 10 minutes.",
        )),
    }
}

/// Checks what they show, and remembers it. Errors: `wrong_confirmation`, `too_many_sign_ins`, `busy_signing_in`.
pub fn show(db: &Db, vault: &Vault, throttle: &Throttle, actor: &Actor, evidence: &Evidence) -> Result<()> {
    let by = actor.sign_in()?;
    check(db, vault, throttle, actor, evidence)?;
    db.write_reserved(|tx| {
        queries::put_confirmation(tx, by.family(), actor.user(), clock::now())?;
        let object = format!("user {} {}", actor.user(), actor.login());
        audit::append(tx, vault, actor.by(), "auth.confirm", &object, &serde_json::json!({}))
    })
}

/// Is it theirs? Counted as a sign-in is: an open browser is no place to guess passwords in.
pub fn check(db: &Db, vault: &Vault, throttle: &Throttle, actor: &Actor, evidence: &Evidence) -> Result<()> {
    let account = db.read(|conn| queries::account_by_id(conn, actor.user()))?;
    let account = account.ok_or_else(super::token::unauthorized)?;
    let known = match account.unlocked_at + UNLOCKED_MAX > clock::now() {
        true => Known::Unlocked(account.unlocked_at),
        false => Known::Here,
    };
    let good = match evidence {
        Evidence::Password(password) => {
            let attempt = throttle.admit(actor.login(), &actor.ip, known)?;
            let stored = (super::password_place(account.id), account.password_hash.as_str());
            let good = password::verify(vault, password, Some(stored), attempt.rank())?;
            attempt.ended(good)
        }
        Evidence::Code(code) => {
            let attempt = throttle.admit_code(account.id, known)?;
            attempt.ended(db.write_reserved(|tx| second_factor::check(tx, vault, account.id, code))?)
        }
    };
    match good {
        true => Ok(()),
        false => Err(Error::new(
            Kind::Forbidden,
            "wrong_confirmation",
            "This is not your password, or not a code that is good now.",
        )),
    }
}
