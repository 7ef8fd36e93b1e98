//! Tokens for programs: `llt_<number>_<secret>_<checksum>`. The prefix lets scanners of secrets find one, the checksum
//! (CRC-32, hex) tells a mistyped one without a look at the database, and the number finds its row, so that only one hash
//! is compared, in constant time. The row is read at each request: what happened to the token or its owner counts at once.

mod queries;

use super::session::hash;
use super::{Account, Actor, Grant, Grants, Origin, Proof, Role};
use crate::base::clock::{self, MINUTE, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::base::host::Cidr;
use crate::base::id::{ApiToken, Id, User};
use crate::base::{log, random};
use crate::db::{Conn, Db, Tx};
use std::net::IpAddr;

const PREFIX: &str = "llt_";
/// Longer is no token of ours, in bytes.
const LENGTH_MAX: usize = 100;
/// How exactly the last use is remembered: not every request is a write.
const USED_STEP: Ms = 5 * MINUTE;
/// Of one owner.
const COUNT_MAX: usize = 200;

/// What a token may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Power {
    /// What this role may, as far as its owner may it.
    Role(Role),
    /// These, as far as its owner may them.
    Scopes(Grants),
}

/// A new token.
pub struct NewToken {
    /// What its owner calls it.
    pub name: String,
    /// What it may.
    pub power: Power,
    /// From where it is taken; empty: from anywhere.
    pub cidrs: Vec<Cidr>,
    /// When it ends, unix ms; `None`: never.
    pub expires_at: Option<Ms>,
}

/// A token as it is listed.
#[derive(Debug)]
pub struct Token {
    /// Number.
    pub id: Id<ApiToken>,
    /// Whose.
    pub owner: (Id<User>, String),
    /// What its owner calls it.
    pub name: String,
    /// What it may; a scope that this version does not know is left out.
    pub power: Power,
    /// From where it is taken; empty: from anywhere.
    pub cidrs: Vec<String>,
    /// Unix ms.
    pub created_at: Ms,
    /// Unix ms; `None`: never.
    pub expires_at: Option<Ms>,
    /// To a few minutes; `None`: never.
    pub used_at: Option<Ms>,
    /// From where, then.
    pub used_ip: String,
}

impl Token {
    /// Is it over?
    pub fn is_expired(&self, now: Ms) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// Is this meant to be one of these tokens?
pub fn is_one(token: &str) -> bool {
    token.starts_with(PREFIX)
}

/// Makes a token for this owner; the text exists nowhere else. Errors: `duplicate` (name), `too_many`.
pub fn mint(tx: &Tx, owner: Id<User>, new: &NewToken) -> Result<(Id<ApiToken>, String)> {
    if queries::api_tokens(tx, Some(owner))?.len() >= COUNT_MAX {
        let say = format!("{COUNT_MAX} tokens are the most that one account has. Withdraw those that nobody uses.");
        return Err(Error::new(Kind::Conflict, "too_many_tokens", say));
    }
    let id = queries::insert_api_token(tx, owner, new, clock::now())?;
    let body = format!("{PREFIX}{id}_{}", random::token());
    let token = format!("{body}_{:08x}", crc32(body.as_bytes()));
    queries::set_api_token_hash(tx, id, &hash(&token))?;
    Ok((id, token))
}

/// The tokens of this owner, or of everybody; the newest first.
pub fn list(conn: &Conn, owner: Option<Id<User>>) -> Result<Vec<Token>> {
    queries::api_tokens(conn, owner)
}

/// One of them.
pub fn get(conn: &Conn, id: Id<ApiToken>) -> Result<Option<Token>> {
    Ok(queries::api_token(conn, id)?.map(|(_, _, token)| token))
}

/// Withdraws it: from now on it is good for nothing.
pub fn withdraw(tx: &Tx, id: Id<ApiToken>) -> Result<()> {
    queries::delete_api_token(tx, id)
}

/// The actor behind a token; `None`: it is none, or not any more. This is a use of it. Error: `token_address`.
pub fn find(db: &Db, token: &str, from: Origin) -> Result<Option<Actor>> {
    let Some(id) = number(token) else { return Ok(None) };
    let Some((account, kept, row)) = db.read(|conn| queries::api_token(conn, id))? else {
        return Ok(None);
    };
    if !same(&kept, &hash(token)) {
        return Ok(None);
    }
    let (used_at, now) = (row.used_at, clock::now());
    let actor = actor(account, &row, from)?;
    if actor.is_some()
        && used_at.is_none_or(|at| at + USED_STEP < now)
        && let Err(e) = db.write_reserved(|tx| queries::touch_api_token(tx, id, now, from.ip))
    {
        log::warning(
            "access",
            "a token's use is not remembered",
            &[("error", &e.to_string())],
        );
    }
    Ok(actor)
}

/// The current actor of a token that was verified before; `None`: it is no longer valid.
pub(super) fn authenticate(db: &Db, id: Id<ApiToken>, from: Origin) -> Result<Option<Actor>> {
    match db.read(|conn| queries::api_token(conn, id))? {
        Some((account, _, row)) => actor(account, &row, from),
        None => Ok(None),
    }
}

fn actor(account: Account, row: &Token, from: Origin) -> Result<Option<Actor>> {
    if account.disabled || row.is_expired(clock::now()) {
        return Ok(None);
    }
    let ip = from.ip.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
    let is_from = |cidr: &String| Cidr::parse(cidr).is_ok_and(|cidr| ip.is_some_and(|ip| cidr.contains(ip)));
    if !row.cidrs.is_empty() && !row.cidrs.iter().any(is_from) {
        let say = format!("This token is not taken from {}.", from.ip);
        return Err(Error::new(Kind::Forbidden, "token_address", say));
    }
    let mut actor = account.actor(from, None, Proof::ApiToken(row.id));
    actor.via = format!("{} {}", actor.via, row.name);
    match &row.power {
        Power::Role(role) => match role.least(actor.ceiling) {
            Some(role) => actor.role = role,
            None => return Ok(None), // its owner has another role now, which would not give this one
        },
        Power::Scopes(grants) => actor.grants = Some(grants.clone()),
    }
    Ok(Some(actor))
}

/// The number in a token that is written as ours are.
fn number(token: &str) -> Option<Id<ApiToken>> {
    if token.len() > LENGTH_MAX {
        return None;
    }
    let (body, sum) = token.rsplit_once('_')?;
    let (id, _) = body.strip_prefix(PREFIX)?.split_once('_')?;
    (format!("{:08x}", crc32(body.as_bytes())) == sum).then(|| Id::parse(id))?
}

/// In a time that does not tell where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// CRC-32 (ISO 3309, as in zlib).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1))
        })
    })
}

/// The grants of these scopes, without those that this version does not know.
fn grants(scopes: &[String]) -> Grants {
    Grants::new(scopes.iter().filter_map(|text| Grant::parse(text)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_form_and_a_mistyped_one_is_none() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926, "the check value of the standard");
        let body = format!("{PREFIX}12_{}", random::token());
        let token = format!("{body}_{:08x}", crc32(body.as_bytes()));
        assert!(is_one(&token));
        assert_eq!(number(&token), Some(Id::new(12)));
        let mistyped = token.replacen("llt_12_", "llt_13_", 1);
        for bad in [
            "",
            "llt_",
            "llt_1_x",
            "llt_1_x_00000000",
            "llt__x_1",
            &mistyped,
            &token[..token.len() - 1],
            &format!("{token}0"),
            &"llt_1_".repeat(100),
        ] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }

    #[test]
    fn hashes_are_compared_whole() {
        assert!(same(b"abc", b"abc") && !same(b"abc", b"abd") && !same(b"abc", b"ab") && !same(b"xbc", b"abc"));
    }
}
