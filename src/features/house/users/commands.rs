//! Commands for the owner of the data folder: accounts are added, disabled, enabled and unlocked, passwords reset.

use super::{NewUser, accounts};
use crate::access::{self, Account, Allowed, Role};
use crate::app::App;
use crate::base::error::{Error, Kind, Result};
use crate::base::file;
use crate::base::secret::Secret;
use crate::base::sys;
use crate::cli::{Command, Flag, Invocation, LOGIN, usage};
use std::io::{BufRead, Write};
use std::path::Path;

const PASSWORD: Flag = Flag {
    name: "password-file",
    value: "FILE",
    help: "Read the password from this file (- is standard input); without it you are asked.",
};

/// Commands of this feature.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "create-admin",
        help: "Add an account; the first one of a new installation is made like this.",
        flags: &[
            LOGIN,
            PASSWORD,
            Flag {
                name: "role",
                value: "ROLE",
                help: "admin (default), operator, viewer or automation.",
            },
        ],
        run: |asked| asked.done(&create_admin(&asked.open()?, asked)?),
    },
    Command {
        name: "reset-password",
        help: "Give an account a new password and end its sessions.",
        flags: &[LOGIN, PASSWORD],
        run: |asked| asked.done(&reset_password(&asked.open()?, asked)?),
    },
    Command {
        name: "disable-user",
        help: "Let an account in no more; its sessions, tokens and live views end at once.",
        flags: &[LOGIN],
        run: |asked| asked.done(&set_disabled(&asked.open()?, asked, true)?),
    },
    Command {
        name: "enable-user",
        help: "Let a disabled account in again.",
        flags: &[LOGIN],
        run: |asked| asked.done(&set_disabled(&asked.open()?, asked, false)?),
    },
    Command {
        name: "unlock",
        help: "Let a login be tried afresh, however often it was tried wrongly before.",
        flags: &[LOGIN],
        run: |asked| asked.done(&unlock(&asked.open()?, asked)?),
    },
];

/// Adds an account with the role asked for.
fn create_admin(app: &App, asked: &Invocation) -> Result<String> {
    let login = login(asked)?;
    let role = asked.flag("role").unwrap_or("admin");
    let role = Role::parse(role).ok_or_else(|| {
        usage(&format!(
            "There is no role “{role}”: admin, operator, viewer or automation."
        ))
    })?;
    let user = NewUser::new(app, login, &password(asked, true)?, role)?;
    app.db.write(|tx| super::create(app, tx, &user, Allowed::by_cli()))?;
    Ok(format!("The account {login} ({}) has been made.", role.name()))
}

/// Sets a new password; all sessions and tokens of the account end.
fn reset_password(app: &App, asked: &Invocation) -> Result<String> {
    let account = account(app, asked)?;
    let user = NewUser::new(app, &account.login, &password(asked, true)?, account.role)?;
    app.db
        .write_reserved(|tx| accounts::set_password(app, tx, &account, &user, Allowed::by_cli()))?;
    Ok(format!(
        "The account {} has a new password; its sessions have ended.",
        account.login
    ))
}

/// Enables or disables an account; disabling ends its sessions and tokens.
fn set_disabled(app: &App, asked: &Invocation, disabled: bool) -> Result<String> {
    let account = account(app, asked)?;
    app.db
        .write_reserved(|tx| accounts::set_disabled(app, tx, account.id, disabled, Allowed::by_cli()))?;
    let login = &account.login;
    Ok(match disabled {
        true => format!(
            "The account {login} is disabled; its sessions have ended. It is kept: enable-user lets it in again."
        ),
        false => format!("The account {login} may sign in."),
    })
}

/// Ignores the counted failures of sign-ins for 15 minutes, in a running daemon too.
fn unlock(app: &App, asked: &Invocation) -> Result<String> {
    let account = account(app, asked)?;
    app.db
        .write_reserved(|tx| accounts::unlock(app, tx, &account, Allowed::by_cli()))?;
    Ok(format!(
        "The account {} may be tried afresh for 15 minutes.",
        account.login
    ))
}

fn account(app: &App, asked: &Invocation) -> Result<Account> {
    let login = login(asked)?;
    let account = app.db.read(|conn| access::account(conn, login))?;
    account.ok_or_else(|| Error::new(Kind::NotFound, "not_found", format!("There is no account “{login}”.")))
}

fn login(asked: &Invocation) -> Result<&str> {
    asked.flag("login").ok_or_else(|| usage("Say whose: --login LOGIN."))
}

/// Reads a password from a file, standard input, or the terminal (twice). Never from an argument, which other users can
/// see.
fn password(asked: &Invocation, twice: bool) -> Result<Secret> {
    let bytes = match asked.flag("password-file") {
        Some("-") => line_of_stdin()?,
        Some(path) => file::read_limited(Path::new(path), 10_000)
            .map_err(|e| Error::new(Kind::Malformed, "password_file", format!("{path} cannot be read: {e}.")))?,
        None if sys::is_tty(&std::io::stdin()) => return typed(twice),
        None => {
            return Err(usage(
                "Give the password by --password-file FILE (- for standard input).",
            ));
        }
    };
    let text = String::from_utf8(bytes).map_err(|_| usage("The password file is not text."))?;
    // Editors append one line end.
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Secret::new(text.strip_suffix('\r').unwrap_or(text)))
}

fn line_of_stdin() -> Result<Vec<u8>> {
    let mut line = Vec::new();
    std::io::stdin().lock().read_until(b'\n', &mut line)?;
    Ok(line)
}

fn typed(twice: bool) -> Result<Secret> {
    let ask = |prompt: &str| -> Result<Secret> {
        eprint!("{prompt}");
        std::io::stderr().flush()?;
        let line = sys::without_echo(line_of_stdin)?;
        eprintln!();
        let text = String::from_utf8(line?).map_err(|_| usage("The password is not text."))?;
        Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
    };
    let first = ask("New password: ")?;
    if twice && ask("The same again: ")? != first {
        return Err(usage("The two passwords differ."));
    }
    Ok(first)
}
