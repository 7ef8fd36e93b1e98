//! Validation of accounts.

use crate::access::Role;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::features::house::users::{Change, check_login};
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::settings::check;

const ROLES: &[&str] = &["admin", "operator", "viewer", "automation"];

const ROLE: Param = param::choice(
    "role",
    ROLES,
    "What they may do; `automation` is for programs, with tokens only.",
);
const EMAIL: Param = param::text("email", 254, "Where to write to; may be empty.");

/// Parameters of a new account.
pub const INVITE: &[Param] = &[
    param::text("login", 256, "By what they sign in; it stays.").required(),
    ROLE.required(),
    EMAIL,
];

/// Parameters of a change; fields that are not sent stay.
pub const CHANGE: &[Param] = &[
    ROLE,
    EMAIL,
    param::flag("disabled", "May they sign in no more?"),
    param::links(
        "projects",
        PROJECTS_MAX,
        "Of groups, secrets and notifications they see those of these projects alone; none: all. Administrators see all.",
    ),
];

/// Most projects of an account.
const PROJECTS_MAX: usize = 100;

/// Read-only fields of the answer, ignored when sent back.
pub const READ_ONLY: &[&str] = &[
    "id",
    "login",
    "state",
    "totp",
    "invited_until",
    "created_at",
    "last_login_at",
];

/// An invitation.
pub struct New {
    pub login: String,
    pub email: String,
    pub role: Role,
}

fn email(input: &mut Input) -> Option<String> {
    input.parse("email", "bad_email", check::email)
}

fn role(input: &mut Input) -> Option<Role> {
    input.choice("role").and_then(Role::parse)
}

/// Reads an invitation.
pub fn invitation(mut input: Input) -> Result<New> {
    let login = input.text("login").unwrap_or_default();
    if let Err(wrong) = check_login(&login)
        && !input.has_error("login")
    {
        input.wrong("login", wrong.code, wrong.message);
    }
    let role = role(&mut input);
    if role.is_none() && !input.has_error("role") {
        input.wrong("role", "required", "Say what they may do.");
    }
    let email = email(&mut input).unwrap_or_default();
    input.finish(&[])?;
    Ok(New {
        login,
        email,
        role: role.unwrap_or(Role::Viewer),
    })
}

/// Reads a change.
pub fn change(mut input: Input) -> Result<Change> {
    let change = Change {
        role: role(&mut input),
        disabled: input.flag("disabled"),
        email: email(&mut input),
        projects: input
            .links::<id::Project>("projects")
            .map(|all| all.into_iter().map(Id::get).collect()),
    };
    input.finish(READ_ONLY)?;
    Ok(change)
}
