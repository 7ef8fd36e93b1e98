//! Accounts and sign-in. There is no default account and no open registration: the first administrator is made by
//! `create-admin`, by `dev`, or with the one-time setup token in the daemon's log.

mod events;
mod model;
mod queries;
mod accounts;
mod api;
mod pages;
mod commands;

use crate::access::throttle::{Known, UNLOCKED_MAX};
use crate::access::{self, Account, Role, device, password_place, second_factor, session, ticket};
use crate::app::App;
use crate::audit;
use crate::base::clock;
use crate::base::error::{Error, Kind, Result};
use crate::base::secret::Secret;
use crate::base::{file, log, random, text};
use crate::events::outbox;
use crate::feature::Feature;
use crate::http::guard;
use crate::http::request::Request;
use crate::schedule::{Periodic, Work};
use crate::settings::Setting;
use crate::vault::password;
use model::PASSWORD_MAX;
use std::path::PathBuf;
use std::time::Duration;

pub use accounts::{
    NewUser, change, create, create_first, delete, end_sessions, fresh_invite, get, invite, invite_url, list, note_own,
    place_hashes, reset_second_factor, set_lang, set_own_password, set_time_zone, snapshot,
};
pub use model::{Change, Filter, Invited, Member, check_login, check_password};

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    periodic: PERIODIC,
    commands: commands::COMMANDS,
    kinds: events::KINDS,
    settings: SETTINGS,
    sealed: second_factor::SEALED,
    ..Feature::named("users")
};

/// Lifetime of sign-ins.
const SETTINGS: &[Setting] = &[session::IDLE, session::LIFE];

const PERIODIC: &[Periodic] = &[Periodic {
    name: "users.purge_sessions",
    every: Duration::from_secs(3600),
    run: Work::Short(|app| app.db.write_reserved(access::purge)),
}];

/// Checks login and password, with the same time and text for an unknown login and a wrong password. Only with the right
/// password is it told that a code is needed. Errors: `wrong_login`, `totp_required`, `wrong_totp`, `too_many_sign_ins`,
/// `busy_signing_in`.
pub fn check_sign_in(
    app: &App,
    login: &str,
    password: &Secret,
    code: Option<&str>,
    request: &Request,
) -> Result<Account> {
    let account = app.db.read(|conn| access::account(conn, login))?;
    let known = known(app, account.as_ref(), request)?;
    let attempt = app.throttle.admit(login, &request.ip, known.as_known())?;
    let stored = account
        .as_ref()
        .map(|a| (password_place(a.id), a.password_hash.as_str()));
    let long = password.reveal_for("measuring its length").len() > 4 * PASSWORD_MAX; // bytes
    let good = !long && password::verify(&app.vault, password, stored, attempt.rank())?;
    let refused = match &account {
        // Programs use tokens. A disabled account gets the same answer as a wrong password.
        Some(account) if good && may_sign_in(account) => match check_code(app, account, code, request) {
            Ok(()) => {
                attempt.succeeded();
                return Ok(account.clone());
            }
            // The password was right, so this is not counted as a guess.
            Err(e) if e.code != WRONG_CODE => return Err(e),
            Err(e) => e,
        },
        _ => Error::new(Kind::Unauthorized, "wrong_login", "Login or password is wrong."),
    };
    attempt.failed();
    note_failure(app, account.as_ref(), request);
    Err(refused)
}

fn may_sign_in(account: &Account) -> bool {
    !account.disabled && account.role != Role::Automation
}

/// The second step of the page's sign-in, after the password. Errors: `wrong_login` if the first step has expired; else
/// as [`check_sign_in`].
pub fn check_second_step(app: &App, ticket: &str, code: &str, request: &Request) -> Result<Account> {
    let again = || Error::new(Kind::Unauthorized, "wrong_login", "Login or password is wrong.");
    let (id, generation) = ticket::read(app.vault.access_key(), ticket).ok_or_else(again)?;
    let account = app.db.read(|conn| access::account_of(conn, id))?;
    let same = account.filter(|a| a.generation == generation && may_sign_in(a));
    let account = same.ok_or_else(again)?;
    let checked = check_code(app, &account, Some(code), request);
    if checked.as_ref().is_err_and(|e| e.code == WRONG_CODE) {
        note_failure(app, Some(&account), request);
    }
    checked.map(|()| account)
}

const WRONG_CODE: &str = "wrong_totp";

/// Checks the code of an account with two-step sign-in. Errors: `totp_required`, `wrong_totp`, `too_many_sign_ins`.
pub fn check_code(app: &App, account: &Account, code: Option<&str>, request: &Request) -> Result<()> {
    if !app.db.read(|conn| second_factor::is_on(conn, account.id))? {
        return Ok(());
    }
    let Some(code) = code.filter(|code| !code.is_empty()) else {
        let say = "Send the code of your authenticator, or a recovery code, as “totp” as well.";
        return Err(Error::new(Kind::Unauthorized, "totp_required", say));
    };
    let known = known(app, Some(account), request)?;
    let attempt = app.throttle.admit_code(account.id, known.as_known())?;
    let good = app
        .db
        .write_reserved(|tx| second_factor::check(tx, &app.vault, account.id, code))?;
    match attempt.ended(good) {
        true => Ok(()),
        false => {
            let say = "This code is not good: it is wrong, too old, or was used before.";
            Err(Error::new(Kind::Unauthorized, WRONG_CODE, say))
        }
    }
}

/// Is the client's device known for this account? See [`Known`].
enum KnownBy {
    Nothing,
    Network,
    Device(String),
    Unlocked(i64),
}

impl KnownBy {
    fn as_known(&self) -> Known<'_> {
        match self {
            KnownBy::Nothing => Known::No,
            KnownBy::Network => Known::Here,
            KnownBy::Device(number) => Known::Device(number),
            KnownBy::Unlocked(at) => Known::Unlocked(*at),
        }
    }
}

fn known(app: &App, account: Option<&Account>, request: &Request) -> Result<KnownBy> {
    let Some(account) = account else {
        return Ok(KnownBy::Nothing);
    };
    let cookie = request.cookie(guard::device_cookie_name(request.tls));
    let device = || device::number(app.vault.access_key(), cookie?, account.id);
    Ok(if account.unlocked_at + UNLOCKED_MAX > clock::now() {
        KnownBy::Unlocked(account.unlocked_at)
    } else if let Some(number) = device() {
        KnownBy::Device(number.into())
    } else if app.db.read(|conn| access::is_here(conn, account.id, &request.ip))? {
        KnownBy::Network
    } else {
        KnownBy::Nothing
    })
}

fn note_failure(app: &App, account: Option<&Account>, request: &Request) {
    if let Some(untold) = app.throttle.report_failure()
        && let Err(e) = report_failure(app, account, untold, request)
    {
        // The answer is the same when the audit cannot be written (full disk).
        log::warning("users", "a failed sign-in is not noted", &[("error", &e.to_string())]);
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
        return Err(accounts::closed());
    }
    let attempt = app.throttle.admit(NOBODYS, &request.ip, Known::No)?;
    if !stored_setup_token(app).is_some_and(|wanted| text::is_same_token(&wanted, token.trim())) {
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
        .write(|tx| accounts::insert_first(app, tx, &user, request.origin().by(&user.login)))?;
    let _ = std::fs::remove_file(setup_token_file(app)); // useless now: an account exists
    Ok(account)
}

/// Accepts an invitation: sets the account's password. With two-step sign-in a code is needed, too. Errors:
/// `invite_dead`, `too_many_sign_ins`, as [`check_code`], a password that does not fit.
pub fn register_invited(
    app: &App,
    token: &str,
    password: &Secret,
    code: Option<&str>,
    request: &Request,
) -> Result<Account> {
    let attempt = app.throttle.admit(NOBODYS, &request.ip, Known::No)?;
    let account = match app.db.read(|conn| accounts::invited(conn, token)) {
        Err(e) if e.code == "invite_dead" => {
            attempt.failed();
            return Err(e);
        }
        account => account?,
    };
    attempt.succeeded();
    check_password(&account.login, password).map_err(|wrong| Error::invalid(vec![wrong]))?;
    check_code(app, &account, code, request)?;
    accounts::accept(app, token, password, request.origin())
}
