//! Changes of accounts: create, invite, change role, disable, remove. The last administrator who can sign in cannot be
//! disabled, demoted or removed.

use super::model::{Change, Filter, Invited, Member, check_login, check_password, object};
use super::queries;
use crate::access::right::{Edit, Users};
use crate::access::{self, Account, Allowed, Origin, OwnSignIn, Role, password_place, second_factor};
use crate::app::App;
use crate::audit::{self, By, Snapshot};
use crate::base::clock::{self, DAY, Ms, rfc3339};
use crate::base::error::{Error, Field, Kind, Result};
use crate::base::id::{Id, User};
use crate::base::secret::Secret;
use crate::base::{random, text};
use crate::db::{Conn, Tx};
use crate::settings::SITE_PUBLIC_URL;
use crate::vault::password;
use serde_json::json;

/// One account. Error `NotFound`.
pub fn get(conn: &Conn, id: Id<User>) -> Result<Member> {
    queries::member(conn, id)?.ok_or_else(|| Error::not_found("user"))
}

/// A page of accounts and their total.
pub fn list(conn: &Conn, filter: &Filter) -> Result<(Vec<Member>, i64)> {
    queries::members(conn, filter)
}

/// Validity of an invitation.
const INVITE_AGE_MAX: Ms = 7 * DAY;

/// Adds an account without a password; returns the token of the link by which its owner sets one. `None` for programs,
/// which never sign in.
pub fn invite(app: &App, tx: &Tx, new: &Invited, by: Allowed<Edit, Users>) -> Result<(Id<User>, Option<String>)> {
    let id = queries::insert(tx, new.login, new.email, new.role.name(), clock::now())?;
    let token = match new.role {
        Role::Automation => None,
        _ => Some(put_invite(tx, id)?),
    };
    let about = (id, new.login);
    note(app, tx, by.into(), "user.create", about, &Snapshot::none())?;
    Ok((id, token))
}

/// An account as the audit compares it: what people decide about it, without what comes of its use.
pub fn snapshot(conn: &Conn, id: Id<User>) -> Result<Snapshot> {
    let Some(member) = queries::member(conn, id)? else {
        return Ok(Snapshot::none());
    };
    let comes_of_use = |name: &str| ["last_login_at", "unlocked_at", "lang", "time_zone"].contains(&name);
    Ok(Snapshot::of(conn, "users", id.get())?
        .without(comes_of_use)
        .with("totp", member.totp)
        .with("invited_until", member.invited_until.map(rfc3339)))
}

/// The audit's row about a change of one's own account.
pub fn note_own(app: &App, tx: &Tx, own: OwnSignIn, action: &str, before: &Snapshot) -> Result<()> {
    let actor = own.actor();
    note(app, tx, actor.by(), action, (actor.user(), actor.login()), before)
}

fn note(app: &App, tx: &Tx, by: By, action: &str, (id, login): (Id<User>, &str), before: &Snapshot) -> Result<()> {
    let stood = [before, &snapshot(tx, id)?];
    audit::append_change(tx, &app.vault, by, action, &object(id, login), &json!({}), stood)
}

/// A new link, replacing an earlier one: for a lost link or password. Error: `no_invite`.
pub fn fresh_invite(app: &App, tx: &Tx, member: &Member, by: Allowed<Edit, Users>) -> Result<String> {
    if member.role == Role::Automation || member.disabled {
        let say = "Who cannot sign in is not invited: a program, or an account that is disabled.";
        return Err(Error::new(Kind::Conflict, "no_invite", say));
    }
    let before = snapshot(tx, member.id)?;
    let token = put_invite(tx, member.id)?;
    note(app, tx, by.into(), "user.invite", member.about(), &before)?;
    Ok(token)
}

fn put_invite(tx: &Tx, id: Id<User>) -> Result<String> {
    let token = random::token();
    queries::put_invite(tx, id, &digest(&token), clock::now() + INVITE_AGE_MAX)?;
    Ok(token)
}

fn digest(token: &str) -> [u8; 32] {
    text::sha256(token.as_bytes())
}

/// The link with the token in its query, which is never logged; only a path while `site.public_url` is not set.
pub fn invite_url(conn: &Conn, token: &str) -> Result<String> {
    let base = SITE_PUBLIC_URL.text(conn)?;
    Ok(format!("{}/invite?token={token}", base.trim_end_matches('/')))
}

/// The account that this token invites. Error: `invite_dead`.
pub fn invited(conn: &Conn, token: &str) -> Result<Account> {
    let dead = || {
        let say = "This link is not good any more: it was used, replaced, or is older than 7 days. Ask for a new one.";
        Error::new(Kind::Forbidden, "invite_dead", say)
    };
    let id = queries::invited(conn, &digest(bare(token)), clock::now())?.ok_or_else(dead)?;
    let account = access::account_of(conn, id)?;
    account.filter(|account| !account.disabled).ok_or_else(dead)
}

/// Extracts the token from a whole link, or returns it as it is.
fn bare(link: &str) -> &str {
    link.rsplit(['/', '=']).next().unwrap_or(link).trim()
}

/// Consumes an invitation: sets the password and ends all sign-ins of the account.
pub fn accept(app: &App, token: &str, password: &Secret, from: Origin) -> Result<Account> {
    let account = app.db.read(|conn| invited(conn, token))?;
    check_password(&account.login, password).map_err(|wrong| Error::invalid(vec![wrong]))?;
    let hash = password::hash(&app.vault, password)?;
    app.db.write(|tx| {
        let account = invited(tx, token)?; // somebody may have been quicker
        let before = snapshot(tx, account.id)?;
        queries::remove_invite(tx, account.id)?;
        queries::set_hash(tx, account.id, &hash.at(&app.vault, password_place(account.id)))?;
        queries::end_sign_ins(tx, account.id)?;
        let (by, about) = (from.by(&account.login), (account.id, &*account.login));
        note(app, tx, by, "user.accept_invite", about, &before)?;
        access::account_of(tx, account.id)?.ok_or_else(|| Error::internal("the account is not there"))
    })
}

/// Changes an account. Error: `last_admin`.
pub fn change(app: &App, tx: &Tx, member: &Member, change: &Change, by: Allowed<Edit, Users>) -> Result<()> {
    let note = |action, before: &Snapshot| note(app, tx, by.into(), action, member.about(), before);
    if let Some(email) = change.email.as_ref().filter(|email| **email != member.email) {
        let before = snapshot(tx, member.id)?;
        queries::set_email(tx, member.id, email)?;
        note("user.set_email", &before)?;
    }
    if let Some(role) = change.role.filter(|role| *role != member.role) {
        keep_an_admin(tx, member, role != Role::Admin)?;
        let before = snapshot(tx, member.id)?;
        queries::set_role(tx, member.id, role.name())?;
        queries::end_sign_ins(tx, member.id)?;
        if role == Role::Automation {
            queries::remove_invite(tx, member.id)?;
        }
        note("user.set_role", &before)?;
    }
    if let Some(projects) = change
        .projects
        .as_ref()
        .filter(|projects| **projects != member.projects)
    {
        if let Some(missing) = queries::no_project(tx, projects)? {
            let (field, message) = ("projects", format!("There is no project {missing}."));
            return Err(Error::invalid(vec![Field {
                field,
                code: "missing",
                message,
            }]));
        }
        let before = snapshot(tx, member.id)?;
        queries::set_projects(tx, member.id, projects)?;
        note("user.set_projects", &before)?;
    }
    match change.disabled.filter(|disabled| *disabled != member.disabled) {
        Some(disabled) => set_disabled(app, tx, member.id, disabled, by),
        None => Ok(()),
    }
}

/// Refuses to remove the last administrator who can sign in. Error: `last_admin`.
fn keep_an_admin(tx: &Tx, member: &Member, goes: bool) -> Result<()> {
    let is_one = member.role == Role::Admin && !member.disabled && member.has_password;
    if goes && is_one && queries::other_admins(tx, member.id)? == 0 {
        let say = "This is the last administrator who can sign in. Make another one first.";
        return Err(Error::new(Kind::Conflict, "last_admin", say));
    }
    Ok(())
}

/// Enables or disables an account; disabling ends its sessions, tokens and live views. Error: `last_admin`.
pub fn set_disabled(app: &App, tx: &Tx, id: Id<User>, disabled: bool, by: Allowed<Edit, Users>) -> Result<()> {
    let member = get(tx, id)?;
    keep_an_admin(tx, &member, disabled)?;
    let before = snapshot(tx, id)?;
    queries::set_disabled(tx, id, disabled)?;
    queries::end_sign_ins(tx, id)?;
    if disabled {
        queries::remove_invite(tx, id)?;
    }
    let action = if disabled { "user.disable" } else { "user.enable" };
    note(app, tx, by.into(), action, member.about(), &before)
}

/// Removes an account; its audit rows stay. Error: `last_admin`.
pub fn delete(app: &App, tx: &Tx, member: &Member, by: Allowed<Edit, Users>) -> Result<()> {
    keep_an_admin(tx, member, true)?;
    let before = snapshot(tx, member.id)?;
    queries::remove(tx, member.id)?;
    note(app, tx, by.into(), "user.delete", member.about(), &before)
}

/// Disables two-step sign-in of an account whose owner lost the authenticator; ends all its sign-ins.
pub fn reset_second_factor(app: &App, tx: &Tx, member: &Member, by: Allowed<Edit, Users>) -> Result<()> {
    let before = snapshot(tx, member.id)?;
    if !second_factor::remove(tx, member.id)? {
        let say = "This account is not asked for a code.";
        return Err(Error::new(Kind::Conflict, "totp_is_off", say));
    }
    queries::end_sign_ins(tx, member.id)?;
    note(app, tx, by.into(), "user.totp_reset", member.about(), &before)
}

/// Ends all sign-ins of an account.
pub fn end_sessions(app: &App, tx: &Tx, member: &Member, by: Allowed<Edit, Users>) -> Result<()> {
    queries::end_sign_ins(tx, member.id)?;
    audit::append(tx, &app.vault, by, "user.end_sessions", &member.object(), &json!({}))
}

/// Ignores the counted failures of sign-ins for a while.
pub fn unlock(app: &App, tx: &Tx, account: &Account, by: Allowed<Edit, Users>) -> Result<()> {
    queries::unlock(tx, account.id, clock::now())?;
    let object = object(account.id, &account.login);
    audit::append(tx, &app.vault, by, "user.unlock", &object, &json!({}))
}

/// Changes the user's own password; all other sign-ins end.
pub fn set_own_password(app: &App, own: OwnSignIn, new: &Secret) -> Result<()> {
    let actor = own.actor();
    check_password(actor.login(), new).map_err(|wrong| Error::invalid(vec![Field { field: "new", ..wrong }]))?;
    let hash = password::hash(&app.vault, new)?;
    app.db.write(|tx| {
        let before = snapshot(tx, actor.user())?;
        queries::set_hash(tx, actor.user(), &hash.at(&app.vault, password_place(actor.user())))?;
        queries::remove_invite(tx, actor.user())?;
        access::end_other_sessions(tx, own)?;
        note_own(app, tx, own, "user.set_password", &before)
    })
}

/// Validated login and hashed password. Hashing is slow and done outside any transaction.
pub struct NewUser {
    pub(super) login: String,
    hash: password::Hash,
    role: Role,
}

impl NewUser {
    /// Checks and hashes.
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

/// Adds an account.
pub fn create(app: &App, tx: &Tx, user: &NewUser, by: Allowed<Edit, Users>) -> Result<Account> {
    insert(app, tx, user, by.into())
}

fn insert(app: &App, tx: &Tx, user: &NewUser, by: By) -> Result<Account> {
    let id = queries::insert(tx, &user.login, "", user.role.name(), clock::now())?;
    queries::set_hash(tx, id, &user.hash.at(&app.vault, password_place(id)))?;
    note(app, tx, by, "user.create", (id, &user.login), &Snapshot::none())?;
    access::account(tx, &user.login)?.ok_or_else(|| Error::internal("the new account is not there"))
}

/// Adds the first administrator. Error `Conflict` if there is an account already.
pub fn create_first(app: &App, tx: &Tx, user: &NewUser, by: Allowed<Edit, Users>) -> Result<Account> {
    insert_first(app, tx, user, by.into())
}

pub(super) fn insert_first(app: &App, tx: &Tx, user: &NewUser, by: By) -> Result<Account> {
    if access::accounts(tx)? > 0 {
        return Err(closed());
    }
    insert(app, tx, user, by)
}

pub(super) fn closed() -> Error {
    let say = "Registration is closed: there is an administrator already. Ask them for an account.";
    Error::new(Kind::Forbidden, "registration_closed", say)
}

/// Sets a new password and ends all sessions and tokens of the account.
pub fn set_password(app: &App, tx: &Tx, account: &Account, new: &NewUser, by: Allowed<Edit, Users>) -> Result<()> {
    let before = snapshot(tx, account.id)?;
    queries::set_hash(tx, account.id, &new.hash.at(&app.vault, password_place(account.id)))?;
    queries::end_sign_ins(tx, account.id)?;
    queries::remove_invite(tx, account.id)?;
    let about = (account.id, &*account.login);
    note(app, tx, by.into(), "user.set_password", about, &before)
}

/// Binds password hashes of an older version to their rows; called before anybody can sign in. Unbound hashes that
/// appear later are not accepted.
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
            queries::set_hash(tx, id, &hash.at(&app.vault, password_place(id)))?;
        }
        Ok(())
    })
}

/// Stores a user's time zone; empty: that of the installation.
pub fn set_time_zone(tx: &Tx, id: Id<User>, name: &str) -> Result<()> {
    queries::set_time_zone(tx, id, name)
}

/// Stores a user's language.
pub fn set_lang(tx: &Tx, id: Id<User>, lang: &str) -> Result<()> {
    queries::set_lang(tx, id, lang)
}
