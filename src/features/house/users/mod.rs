//! Accounts and sign-in. There is no default account and no open registration: the first administrator is made by
//! `create-admin`, by `dev`, or with the one-time setup token in the daemon's log.

mod events;
mod queries;
mod api;
mod pages;
mod commands;

use crate::access::right::{Edit, Users};
use crate::access::throttle::Known;
use crate::access::{self, Account, Allowed, Role, device, weak};
use crate::app::App;
use crate::audit::{self, By};
use crate::base::clock;
use crate::base::error::{Error, Field, Kind, Result};
use crate::base::id::{Id, User};
use crate::base::secret::Secret;
use crate::base::{file, log, random};
use crate::db::{Conn, Tx};
use crate::events::outbox;
use crate::feature::Feature;
use crate::http::guard;
use crate::http::request::Request;
use crate::schedule::{Periodic, Work};
use crate::vault::{SealContext, password};
use std::path::PathBuf;
use std::time::Duration;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    periodic: PERIODIC,
    commands: commands::COMMANDS,
    kinds: events::KINDS,
    ..Feature::named("users")
};

const PERIODIC: &[Periodic] = &[Periodic {
    name: "users.purge_sessions",
    every: Duration::from_secs(3600),
    run: Work::Short(|app| app.db.write_reserved(access::purge)),
}];

/// Minimum and maximum length of a password in characters. Length counts, and that it is not among the first guesses
/// (NIST SP 800-63B §5.1.1); the maximum is that of the hashing.
const PASSWORD_MIN: usize = 10;
const PASSWORD_MAX: usize = 1_000;

/// Checks the login of a new account. The error is a sentence.
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

/// Checks a new password for this login. The error is a sentence.
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

/// A checked login and a hashed password. Hashing is slow and done outside any transaction.
pub struct NewUser {
    login: String,
    hash: password::Hash,
    role: Role,
}

/// Place of a user's password hash.
fn place(id: Id<User>) -> SealContext {
    SealContext {
        table: "users",
        column: "password_hash",
        row: id.get(),
    }
}

impl NewUser {
    /// Checks and hashes. Error: invalid fields.
    pub fn new(app: &App, login: &str, password: &Secret, role: Role) -> Result<NewUser> {
        let wrong: Vec<_> = [check_login(login), check_password(login, password)]
            .into_iter()
            .filter_map(std::result::Result::err)
            .collect();
        if !wrong.is_empty() {
            return Err(Error::invalid(wrong));
        }
        Ok(NewUser {
            login: login.into(),
            hash: password::hash(&app.vault, password)?,
            role,
        })
    }
}

/// Adds an account. Error: duplicate login.
pub fn create(app: &App, tx: &Tx, user: &NewUser, by: Allowed<Edit, Users>) -> Result<Account> {
    insert(app, tx, user, by.into())
}

fn insert(app: &App, tx: &Tx, user: &NewUser, by: By) -> Result<Account> {
    let id = queries::insert(tx, &user.login, user.role.name(), clock::now())?;
    queries::set_hash(tx, id, &user.hash.at(&app.vault, place(id)))?;
    let data = serde_json::json!({ "login": user.login, "role": user.role.name() });
    audit::append(
        tx,
        &app.vault,
        by,
        "user.create",
        &format!("user {id} {}", user.login),
        &data,
    )?;
    access::account(tx, &user.login)?.ok_or_else(|| Error::internal("the new account is not there"))
}

/// Adds the first administrator. Error `Conflict` if there is an account.
pub fn create_first(app: &App, tx: &Tx, user: &NewUser, by: Allowed<Edit, Users>) -> Result<Account> {
    insert_first(app, tx, user, by.into())
}

fn insert_first(app: &App, tx: &Tx, user: &NewUser, by: By) -> Result<Account> {
    if access::accounts(tx)? > 0 {
        return Err(closed());
    }
    insert(app, tx, user, by)
}

fn closed() -> Error {
    let say = "Registration is closed: there is an administrator already. Ask them for an account.";
    Error::new(Kind::Forbidden, "registration_closed", say)
}

/// Sets a new password and ends all sessions and tokens of the account.
pub fn set_password(app: &App, tx: &Tx, account: &Account, new: &NewUser, by: Allowed<Edit, Users>) -> Result<()> {
    queries::set_hash(tx, account.id, &new.hash.at(&app.vault, place(account.id)))?;
    queries::end_sign_ins(tx, account.id)?;
    let object = format!("user {} {}", account.id, account.login);
    audit::append(tx, &app.vault, by, "user.set_password", &object, &serde_json::json!({}))
}

/// Binds hashes of an older version to their rows; called before sign-ins are possible. Unbound hashes are not
/// accepted.
pub fn place_hashes(app: &App) -> Result<()> {
    let of_old = |conn: &Conn| -> Result<Vec<_>> {
        let all = queries::hashes(conn)?.into_iter();
        Ok(all
            .filter_map(|(id, stored)| Some((id, password::Hash::unplaced(&stored)?)))
            .collect())
    };
    if app.db.read(of_old)?.is_empty() {
        return Ok(());
    }
    app.db.write(|tx| {
        for (id, hash) in of_old(tx)? {
            queries::set_hash(tx, id, &hash.at(&app.vault, place(id)))?;
        }
        Ok(())
    })
}

/// Enables or disables an account; disabling ends its sessions, tokens and live views.
pub fn set_disabled(app: &App, tx: &Tx, account: &Account, disabled: bool, by: Allowed<Edit, Users>) -> Result<()> {
    queries::set_disabled(tx, account.id, disabled)?;
    queries::end_sign_ins(tx, account.id)?;
    let action = if disabled { "user.disable" } else { "user.enable" };
    let object = format!("user {} {}", account.id, account.login);
    audit::append(tx, &app.vault, by, action, &object, &serde_json::json!({}))
}

/// Stores a user's time zone; empty: that of the installation.
pub fn set_time_zone(tx: &Tx, id: Id<User>, name: &str) -> Result<()> {
    queries::set_time_zone(tx, id, name)
}

/// Stores a user's language.
pub fn set_lang(tx: &Tx, id: Id<User>, lang: &str) -> Result<()> {
    queries::set_lang(tx, id, lang)
}

/// Checks a sign-in; same time and error for an unknown login and a wrong password.
pub fn check_sign_in(app: &App, login: &str, password: &Secret, request: &Request) -> Result<Account> {
    let account = app.db.read(|conn| access::account(conn, login))?;
    let cookie = request.cookie(guard::device_cookie_name(request.tls));
    let device = |a: &Account| device::number(app.vault.access_key(), cookie?, a.id);
    let known = match &account {
        Some(account) => match device(account) {
            Some(number) => Known::Device(number),
            None if app.db.read(|conn| access::is_here(conn, account.id, &request.ip))? => Known::Here,
            None => Known::No,
        },
        None => Known::No,
    };
    let attempt = app.throttle.admit(login, &request.ip, known)?;
    let stored = account.as_ref().map(|a| (place(a.id), a.password_hash.as_str()));
    let long = password.reveal_for("measuring its length").len() > 4 * PASSWORD_MAX; // bytes
    let good = !long && password::verify(&app.vault, password, stored, attempt.rank())?;
    match account {
        // Programs use tokens; a disabled account gets the same answer as a wrong password.
        Some(account) if good && !account.disabled && account.role != Role::Automation => {
            attempt.succeeded();
            Ok(account)
        }
        account => {
            attempt.failed();
            if let Some(untold) = app.throttle.report_failure()
                && let Err(e) = report_failure(app, account.as_ref(), untold, request)
            {
                // A wrong password is refused the same way on a full disk.
                log::warning(
                    "users",
                    "a failed sign-in could not be recorded",
                    &[("error", &e.to_string())],
                );
            }
            Err(Error::new(
                Kind::Unauthorized,
                "wrong_login",
                "Login or password is wrong.",
            ))
        }
    }
}

/// Replaces unknown logins in the audit: they may be passwords typed in the wrong field.
const NOBODYS: &str = "(unknown)";

/// `untold`: number of failures before this one without their own row.
fn report_failure(app: &App, account: Option<&Account>, untold: u64, request: &Request) -> Result<()> {
    let login = account.map_or(NOBODYS, |a| a.login.as_str());
    let data = serde_json::json!({ "login": login, "ip": request.ip, "untold": untold });
    let object = format!("login {login}");
    app.db.write(|tx| {
        audit::append(
            tx,
            &app.vault,
            request.origin().by("nobody"),
            "auth.login_failed",
            &object,
            &data,
        )?;
        outbox::emit(tx, &app.wakes.events, "auth.login_failed", ("user", 0), &data)
    })
}

/// File of the setup token: readable by the owner of the data folder only.
fn setup_token_file(app: &App) -> PathBuf {
    app.config.data_dir.join("setup-token")
}

/// Length of [`random::token`].
const SETUP_TOKEN_LENGTH: usize = 43;

/// The stored token. An empty or truncated one (full disk, `touch`) counts as none, since it could be guessed.
fn stored_setup_token(app: &App) -> Option<String> {
    let bytes = file::read_limited(&setup_token_file(app), 100).ok()?;
    let token = String::from_utf8(bytes).ok()?.trim().to_string();
    (token.len() == SETUP_TOKEN_LENGTH).then_some(token)
}

/// Creates (or finds) the one-time setup token while there is no account; removes it otherwise.
pub fn setup_token(app: &App) -> Result<Option<String>> {
    let path = setup_token_file(app);
    if app.db.read(access::accounts)? > 0 {
        let _ = std::fs::remove_file(&path); // usually not there
        return Ok(None);
    }
    if let Some(token) = stored_setup_token(app) {
        return Ok(Some(token));
    }
    let token = random::token();
    file::replace(&path, token.as_bytes())?;
    Ok(Some(token))
}

/// Registers the first administrator with the setup token.
pub fn register_first(app: &App, login: &str, password: &Secret, token: &str, request: &Request) -> Result<Account> {
    if app.db.read(access::accounts)? > 0 {
        return Err(closed());
    }
    let attempt = app.throttle.admit(NOBODYS, &request.ip, Known::No)?;
    let digest = |t: &str| ring::digest::digest(&ring::digest::SHA256, t.as_bytes());
    let is_right = |wanted: String| digest(&wanted).as_ref() == digest(token.trim()).as_ref();
    if !stored_setup_token(app).is_some_and(is_right) {
        attempt.failed();
        return Err(Error::new(
            Kind::Forbidden,
            "wrong_setup_token",
            "This is not the setup token. It stands in Lamplighter's log (journalctl -u lamplighter) and in the file setup-token of its data folder.",
        ));
    }
    attempt.succeeded();
    let user = NewUser::new(app, login, password, Role::Admin)?;
    let account = app
        .db
        .write(|tx| insert_first(app, tx, &user, request.origin().by(&user.login)))?;
    let _ = std::fs::remove_file(setup_token_file(app)); // useless now: an account exists
    Ok(account)
}
