//! Changes of the user's own account, each with its audit row.

use crate::access::confirm::{self, Evidence};
use crate::access::{self, OwnSignIn, second_factor, totp};
use crate::app::App;
use crate::base::error::{Error, Field, Kind, Result};
use crate::base::secret::Secret;
use crate::db::Tx;
use crate::features::house::users;

/// Changes the password; needs the old one; all other sign-ins end. Errors: `wrong_password`, `too_many_sign_ins`, a
/// password that does not fit.
pub fn set_password(app: &App, own: OwnSignIn, old: Secret, new: &Secret) -> Result<()> {
    let evidence = Evidence::Password(old);
    confirm::check(&app.db, &app.vault, &app.throttle, own.actor(), &evidence).map_err(|e| match e.code {
        "wrong_confirmation" => Error::new(Kind::Forbidden, "wrong_password", "This is not your password of now."),
        _ => e,
    })?;
    users::set_own_password(app, own, new)?;
    app.wakes.access.ring();
    Ok(())
}

/// An act on the own account of which its row shows nothing.
fn note_act(app: &App, tx: &Tx, own: OwnSignIn, action: &str) -> Result<()> {
    users::note_own(app, tx, own, action, &users::snapshot(tx, own.actor().user())?)
}

/// Ends one of the user's own sign-ins. Error `NotFound`.
pub fn end_session(app: &App, own: OwnSignIn, family: &str) -> Result<()> {
    app.db.write_reserved(|tx| {
        if !access::end_session(tx, own.actor().user(), family)? {
            return Err(Error::not_found("sign-in"));
        }
        note_act(app, tx, own, "user.end_session")
    })?;
    app.wakes.access.ring();
    Ok(())
}

/// Ends all other sign-ins.
pub fn end_other_sessions(app: &App, own: OwnSignIn) -> Result<()> {
    app.db.write_reserved(|tx| {
        access::end_other_sessions(tx, own)?;
        note_act(app, tx, own, "user.end_other_sessions")
    })?;
    app.wakes.access.ring();
    Ok(())
}

/// What an authenticator needs.
pub struct Enrolment {
    /// Base32, to be typed.
    pub secret: String,
    /// For a QR code.
    pub uri: String,
}

fn enrolment(own: OwnSignIn, secret: &Secret) -> Enrolment {
    let secret = totp::base32(secret.reveal_for("showing it to its owner's authenticator"));
    Enrolment {
        uri: totp::uri(&secret, own.actor().login()),
        secret,
    }
}

/// Creates a secret for an authenticator, not yet confirmed. Error: `totp_is_on`.
pub fn begin_totp(app: &App, own: OwnSignIn) -> Result<Enrolment> {
    let secret = app.db.write(|tx| {
        note_act(app, tx, own, "user.totp_begin")?;
        second_factor::begin(tx, &app.vault, own.actor().user())
    })?;
    Ok(enrolment(own, &secret))
}

/// The unconfirmed secret.
pub fn pending_totp(app: &App, own: OwnSignIn) -> Result<Option<Enrolment>> {
    let secret = (app.db).read(|conn| second_factor::pending(conn, &app.vault, own.actor().user()))?;
    Ok(secret.map(|secret| enrolment(own, &secret)))
}

/// Enables two-step sign-in by a code; returns the recovery codes. Errors: `totp_not_begun`, a wrong code, `too_many_sign_ins`.
pub fn confirm_totp(app: &App, own: OwnSignIn, code: &str) -> Result<Vec<String>> {
    let user = own.actor().user();
    let attempt = app.throttle.admit_code(user, access::throttle::Known::Here)?;
    let codes = app.db.write(|tx| {
        let before = users::snapshot(tx, user)?;
        let codes = second_factor::confirm(tx, &app.vault, user, code)?;
        if codes.is_some() {
            users::note_own(app, tx, own, "user.totp_on", &before)?;
        }
        Ok(codes)
    })?;
    attempt.ended(codes.is_some());
    codes.ok_or_else(|| {
        let message = "This is not the code that this secret gives now. Look at the clocks of both devices.".into();
        Error::invalid(vec![Field {
            field: "code",
            code: "wrong_code",
            message,
        }])
    })
}

/// Replaces the recovery codes. Error: `totp_is_off`.
pub fn fresh_codes(app: &App, own: OwnSignIn) -> Result<Vec<String>> {
    let user = own.actor().user();
    app.db.write(|tx| {
        if !second_factor::is_on(tx, user)? {
            return Err(off());
        }
        note_act(app, tx, own, "user.recovery_codes")?;
        second_factor::fresh_codes(tx, &app.vault, user)
    })
}

/// Disables two-step sign-in. Error: `totp_is_off`.
pub fn end_totp(app: &App, own: OwnSignIn) -> Result<()> {
    app.db.write(|tx| {
        let before = users::snapshot(tx, own.actor().user())?;
        if !second_factor::remove(tx, own.actor().user())? {
            return Err(off());
        }
        users::note_own(app, tx, own, "user.totp_off", &before)
    })
}

fn off() -> Error {
    Error::new(Kind::Conflict, "totp_is_off", "This account is not asked for a code.")
}
