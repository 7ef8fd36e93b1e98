//! What an account is, and which logins and passwords are taken.

use crate::access::{Role, weak};
use crate::base::clock::Ms;
use crate::base::error::Field;
use crate::base::id::{Id, User};
use crate::base::secret::Secret;

/// An account as administrators see it.
#[derive(Debug, Clone)]
pub struct Member {
    /// Number.
    pub id: Id<User>,
    /// Login.
    pub login: String,
    /// Where to write to; may be empty.
    pub email: String,
    /// Role.
    pub role: Role,
    /// May not sign in.
    pub disabled: bool,
    /// Has given themselves a password.
    pub has_password: bool,
    /// There is a link that is good until then; `None`: there is none.
    pub invited_until: Option<Ms>,
    /// Is asked for a code when signing in.
    pub totp: bool,
    /// Unix ms.
    pub created_at: Ms,
    /// Unix ms.
    pub last_login_at: Option<Ms>,
}

impl Member {
    /// As the audit calls it.
    pub(super) fn object(&self) -> String {
        object(self.id, &self.login)
    }

    /// Number and login.
    pub(super) fn about(&self) -> (Id<User>, &str) {
        (self.id, &self.login)
    }
}

/// The same of its number and login.
pub(super) fn object(id: Id<User>, login: &str) -> String {
    format!("user {id} {login}")
}

/// What a list asks for.
#[derive(Debug, Default)]
pub struct Filter<'a> {
    /// Part of the login or the e-mail address.
    pub q: &'a str,
    /// At most so many.
    pub limit: i64,
    /// Skip so many.
    pub offset: i64,
}

/// Who is to have an account.
pub struct Invited<'a> {
    /// A login that fits ([`check_login`]).
    pub login: &'a str,
    /// Where to write to; may be empty.
    pub email: &'a str,
    /// What they may do.
    pub role: Role,
}

/// What is to be another.
#[derive(Debug, Default)]
pub struct Change {
    /// Another role; all sign-ins end.
    pub role: Option<Role>,
    /// Let in no more, or again; all sign-ins end.
    pub disabled: Option<bool>,
    /// Another address.
    pub email: Option<String>,
}

/// Characters of the shortest password that is taken, and of the longest. Length is what counts, and that it is not among
/// the first guesses (NIST SP 800-63B §5.1.1); the bound is the hashing's.
const PASSWORD_MIN: usize = 10;
pub(super) const PASSWORD_MAX: usize = 1_000;

/// Checks a new account's login: what can be typed, shown and logged without surprise.
pub fn check_login(login: &str) -> std::result::Result<(), Field> {
    let good = (1..=64).contains(&login.len())
        && login.bytes().all(|b| b.is_ascii_alphanumeric() || b"._@-".contains(&b))
        && login.as_bytes()[0].is_ascii_alphanumeric();
    let message =
        "A login has 1 to 64 letters, digits, dots, dashes, underscores or @ and starts with a letter or digit.";
    if good {
        Ok(())
    } else {
        Err(Field {
            field: "login",
            code: "bad_login",
            message: message.into(),
        })
    }
}

/// Checks a new password for this login.
pub fn check_password(login: &str, password: &Secret) -> std::result::Result<(), Field> {
    let text = password.reveal_text_for("judging its strength");
    let wrong = |code, message| {
        Err(Field {
            field: "password",
            code,
            message,
        })
    };
    if !(PASSWORD_MIN..=PASSWORD_MAX).contains(&text.chars().count()) {
        return wrong(
            "bad_length",
            format!("A password has {PASSWORD_MIN} to {PASSWORD_MAX} characters."),
        );
    }
    match weak::why(login, text) {
        Some((code, say)) => wrong(code, say.into()),
        None => Ok(()),
    }
}
