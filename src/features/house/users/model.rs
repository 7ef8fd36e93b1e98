//! Fields of an account, and validation of logins and passwords.

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
    /// Has a password been set?
    pub has_password: bool,
    /// End of validity of the invitation, unix ms; `None`: there is none.
    pub invited_until: Option<Ms>,
    /// Is two-step sign-in enabled?
    pub totp: bool,
    /// Projects whose things alone they see; empty: all.
    pub projects: Vec<i64>,
    /// Unix ms.
    pub created_at: Ms,
    /// Unix ms.
    pub last_login_at: Option<Ms>,
}

impl Member {
    /// Its name in the audit.
    pub(super) fn object(&self) -> String {
        object(self.id, &self.login)
    }

    /// Number and login.
    pub(super) fn about(&self) -> (Id<User>, &str) {
        (self.id, &self.login)
    }
}

/// Name of an account in the audit, from id and login.
pub(super) fn object(id: Id<User>, login: &str) -> String {
    format!("user {id} {login}")
}

/// Filter of a list.
#[derive(Debug, Default)]
pub struct Filter<'a> {
    /// Part of the login or the e-mail address.
    pub q: &'a str,
    /// Maximum number of rows.
    pub limit: i64,
    /// Number of rows to skip.
    pub offset: i64,
}

/// A new account.
pub struct Invited<'a> {
    /// A valid login ([`check_login`]).
    pub login: &'a str,
    /// Where to write to; may be empty.
    pub email: &'a str,
    /// Role.
    pub role: Role,
}

/// Changes of an account.
#[derive(Debug, Default)]
pub struct Change {
    /// Another role; all sign-ins end.
    pub role: Option<Role>,
    /// Disabled or enabled; all sign-ins end.
    pub disabled: Option<bool>,
    /// Another address.
    pub email: Option<String>,
    /// Other projects.
    pub projects: Option<Vec<i64>>,
}

/// Minimum and maximum length of a password in characters. Only length and a list of weak passwords are checked (NIST SP
/// 800-63B §5.1.1); the maximum bounds the cost of hashing.
const PASSWORD_MIN: usize = 10;
pub(super) const PASSWORD_MAX: usize = 1_000;

/// Checks a new account's login: only characters that are safe to type, show and log.
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
