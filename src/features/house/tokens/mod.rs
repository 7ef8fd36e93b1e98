//! API tokens: credentials of programs. Created and withdrawn only by users who are signed in themselves, never by a token.

mod model;
mod api;
mod pages;

use crate::access::api_token::{self, NewToken, Token};
use crate::access::right::{Edit, Read, Users, may};
use crate::access::{Actor, Place};
use crate::app::App;
use crate::audit::{self, Snapshot};
use crate::base::error::{Error, Result};
use crate::base::id::{ApiToken, Id};
use crate::db::{Conn, Tx};
use crate::feature::Feature;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    ..Feature::named("tokens")
};

/// Creates a token of the actor; its text is not stored. Errors: `token_may_not`, `duplicate`,
/// `too_many_tokens`.
fn mint(app: &App, tx: &Tx, new: &NewToken, by: &Actor) -> Result<(Id<ApiToken>, String)> {
    by.sign_in()?;
    let (id, token) = api_token::mint(tx, by.user(), new)?;
    let data = serde_json::json!({
        "name": new.name,
        "power": model::power(&new.power),
        "cidrs": new.cidrs.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "expires_at": new.expires_at.map(crate::base::clock::rfc3339),
    });
    let object = format!("token {id} {}", new.name);
    let stood = [&Snapshot::none(), &snapshot(tx, id)?];
    audit::change(tx, &app.vault, by.by(), "token.create", &object, &data, stood)?;
    Ok((id, token))
}

/// Withdraws a token of the actor; with the right to edit users, anybody's. Errors: `token_may_not`, `not_found`.
fn withdraw(app: &App, tx: &Tx, id: Id<ApiToken>, by: &Actor) -> Result<()> {
    let token = get(tx, id, by)?;
    if token.owner.0 != by.user() {
        by.allowed(Edit, Users, &Place::Everywhere)?;
    }
    let before = snapshot(tx, id)?;
    api_token::withdraw(tx, id)?;
    app.wakes.access.ring();
    let object = format!("token {id} {}", token.name);
    let data = serde_json::json!({ "owner": token.owner.1 });
    let stood = [&before, &Snapshot::none()];
    audit::change(tx, &app.vault, by.by(), "token.withdraw", &object, &data, stood)
}

/// A token as the audit compares it, without its use.
fn snapshot(conn: &Conn, id: Id<ApiToken>) -> Result<Snapshot> {
    let all = Snapshot::of(conn, "api_tokens", id.get())?;
    Ok(all.without(|name| ["used_at", "used_ip"].contains(&name)))
}

/// A token of the actor; with the right to read users, anybody's. Errors: `token_may_not`, `not_found`.
fn get(conn: &Conn, id: Id<ApiToken>, by: &Actor) -> Result<Token> {
    by.sign_in()?;
    let token = api_token::get(conn, id)?;
    let is_theirs = |token: &Token| token.owner.0 == by.user() || by.has(may(Read, Users), &Place::Everywhere);
    token.filter(is_theirs).ok_or_else(|| Error::not_found("token"))
}

/// Tokens of the actor, or everybody's. Errors: `token_may_not`, `forbidden`.
fn list(conn: &Conn, everybodys: bool, by: &Actor) -> Result<Vec<Token>> {
    by.sign_in()?;
    if everybodys {
        by.may(may(Read, Users))?;
    }
    api_token::list(conn, (!everybodys).then(|| by.user()))
}
