//! SQL of the API tokens.

use super::{NewToken, Power, Token, grants};
use crate::access::queries::{ACCOUNT, ACCOUNT_COLUMNS, read_account};
use crate::access::{Account, Role};
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{ApiToken, Id, User};
use crate::db::{self, Conn};
use rusqlite::{OptionalExtension, Row, params};

/// Nobody speaks by it until [`set_api_token_hash`].
pub fn insert_api_token(conn: &Conn, owner: Id<User>, new: &NewToken, at: Ms) -> Result<Id<ApiToken>> {
    let (role, scopes) = match &new.power {
        Power::Role(role) => (role.name(), Vec::new()),
        Power::Scopes(grants) => ("", grants.iter().map(ToString::to_string).collect()),
    };
    let cidrs: Vec<_> = new.cidrs.iter().map(ToString::to_string).collect();
    conn.execute(
        "INSERT INTO api_tokens (user_id, name, hash, role, scopes, cidrs, created_at, expires_at)
         VALUES (?1, ?2, x'', ?3, ?4, ?5, ?6, ?7)",
        params![
            owner.get(),
            new.name,
            role,
            serde_json::json!(scopes).to_string(),
            serde_json::json!(cidrs).to_string(),
            at,
            new.expires_at
        ],
    )
    .map_err(db::on_unique_violation(
        "name",
        format!("There is a token “{}” already.", new.name),
    ))?;
    Ok(Id::new(conn.last_insert_rowid()))
}

pub fn set_api_token_hash(conn: &Conn, id: Id<ApiToken>, hash: &[u8]) -> Result<()> {
    conn.execute("UPDATE api_tokens SET hash = ?2 WHERE id = ?1", params![id.get(), hash])?;
    Ok(())
}

const API_TOKEN: &str =
    "t.id, t.name, t.role, t.scopes, t.cidrs, t.created_at, t.expires_at, t.used_at, t.used_ip, t.user_id, u.login";

/// From column `at` on.
fn read_api_token(r: &Row, at: usize) -> rusqlite::Result<Token> {
    let strings = |n: usize| -> rusqlite::Result<Vec<String>> {
        Ok(serde_json::from_str(r.get_ref(at + n)?.as_str()?).unwrap_or_default())
    };
    let role: String = r.get(at + 2)?;
    Ok(Token {
        id: Id::new(r.get(at)?),
        owner: (Id::new(r.get(at + 9)?), r.get(at + 10)?),
        name: r.get(at + 1)?,
        power: match role.as_str() {
            "" => Power::Scopes(grants(&strings(3)?)),
            // One that this version does not know may nothing that needs a right.
            role => Power::Role(Role::parse(role).unwrap_or(Role::Automation)),
        },
        cidrs: strings(4)?,
        created_at: r.get(at + 5)?,
        expires_at: r.get(at + 6)?,
        used_at: r.get(at + 7)?,
        used_ip: r.get(at + 8)?,
    })
}

/// With its owner and its hash.
pub fn api_token(conn: &Conn, id: Id<ApiToken>) -> Result<Option<(Account, Vec<u8>, Token)>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {ACCOUNT}, t.hash, {API_TOKEN} FROM api_tokens t JOIN users u ON u.id = t.user_id WHERE t.id = ?1"
    ))?;
    let row = statement.query_row([id.get()], |r| {
        Ok((
            read_account(r)?,
            r.get(ACCOUNT_COLUMNS)?,
            read_api_token(r, ACCOUNT_COLUMNS + 1)?,
        ))
    });
    Ok(row.optional()?)
}

/// The newest first.
pub fn api_tokens(conn: &Conn, owner: Option<Id<User>>) -> Result<Vec<Token>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {API_TOKEN} FROM api_tokens t JOIN users u ON u.id = t.user_id
         WHERE ?1 IS NULL OR t.user_id = ?1 ORDER BY t.id DESC"
    ))?;
    let rows = statement.query_map([owner.map(Id::get)], |r| read_api_token(r, 0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn touch_api_token(conn: &Conn, id: Id<ApiToken>, at: Ms, ip: &str) -> Result<()> {
    conn.execute(
        "UPDATE api_tokens SET used_at = ?2, used_ip = ?3 WHERE id = ?1",
        params![id.get(), at, ip],
    )?;
    Ok(())
}

pub fn delete_api_token(conn: &Conn, id: Id<ApiToken>) -> Result<()> {
    conn.execute("DELETE FROM api_tokens WHERE id = ?1", [id.get()])?;
    Ok(())
}
