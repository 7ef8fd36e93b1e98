//! API tokens: an access token for 15 minutes (JWT, HS256 only) and a refresh token that is replaced at each use; one
//! family per sign-in. Each request checks the family: signing out ends its access tokens, too.
//!
//! A refresh token used twice is stolen: the whole family ends. A client that lost the answer may retry within 10 s, if
//! it is the same client and the new token is unused, which is then invalidated. So a family never forks.

use super::session::hash;
use super::{Account, Actor, Client, Origin, Proof, SignIn, queries};
use crate::base::clock::{self, DAY, Ms, SECOND};
use crate::base::error::{Error, Kind, Result};
use crate::base::{host, random, text};
use crate::db::{Db, Tx};
use ring::hmac;
use serde::{Deserialize, Serialize};

/// Life of an access token in seconds.
pub const ACCESS_AGE_S: i64 = 15 * 60;
/// Life of a refresh token.
pub const REFRESH_AGE_MAX: Ms = 30 * DAY;
const GRACE: Ms = 10 * SECOND;
/// The one header we write and take: {"alg":"HS256","typ":"JWT"}.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
const ISSUER: &str = "lamplighter";
/// Clocks of one machine do not differ: a token from the future is forged, or the clock was set back.
const SKEW_S: i64 = 5;

/// Claims of an access token.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Claims {
    iss: String,
    sub: i64,
    family: String,
    typ: String,
    iat: i64,
    exp: i64,
    jti: String,
}

impl Claims {
    pub(super) fn family(&self) -> &str {
        &self.family
    }
}

/// Tokens of an API sign-in.
pub struct Pair {
    /// JWT.
    pub access: String,
    /// Opaque, 256 bits.
    pub refresh: String,
}

/// Creates the first pair of a family.
pub fn issue(tx: &Tx, key: &hmac::Key, by: &SignIn) -> Result<Pair> {
    let refresh = random::token();
    queries::insert_refresh(tx, &hash(&refresh), by, None, clock::now())?;
    queries::set_last_login(tx, by.account.id, clock::now())?;
    Ok(Pair {
        access: sign(key, by.account, &by.family)?,
        refresh,
    })
}

/// Where a token came from, as far as it can be told: the network and the program's name.
fn client_tag(from: Client) -> Vec<u8> {
    let network = from.ip.parse().ok().map(host::network);
    hash(&format!("{network:?} {}", from.agent))
}

/// Result of using a refresh token.
pub enum Refreshed {
    /// The next pair.
    Fresh(Account, Pair),
    /// Reused: the family has been ended. (Commit this.)
    Reused(Account),
    /// Unknown, too old, or ended.
    Dead,
}

/// Exchanges a refresh token that came from there.
pub fn refresh(tx: &Tx, key: &hmac::Key, token: &str, from: Client) -> Result<Refreshed> {
    let client = client_tag(from);
    let now = clock::now();
    let old = hash(token);
    let Some((account, row)) = queries::refresh(tx, &old)? else {
        return Ok(Refreshed::Dead);
    };
    if row.created_at + REFRESH_AGE_MAX < now || row.generation != account.generation || account.disabled {
        return Ok(Refreshed::Dead);
    }
    match row.used_at {
        None => queries::use_refresh(tx, &old, &client, now)?,
        Some(used) => {
            let is_same = used + GRACE >= now && row.used_by.as_ref() == Some(&client);
            if !is_same || !queries::take_back(tx, &row.family, &old)? {
                queries::end_family(tx, &row.family)?;
                return Ok(Refreshed::Reused(account));
            }
        }
    }
    let next = random::token();
    let of = SignIn {
        account: &account,
        from,
        family: row.family,
    };
    queries::insert_refresh(tx, &hash(&next), &of, Some(&old), now)?;
    let pair = Pair {
        access: sign(key, &account, &of.family)?,
        refresh: next,
    };
    Ok(Refreshed::Fresh(account, pair))
}

/// Ends the family of a refresh token (sign-out of an API client).
pub fn end(tx: &Tx, token: &str) -> Result<()> {
    match queries::refresh(tx, &hash(token))? {
        Some((_, row)) => queries::end_family(tx, &row.family),
        None => Ok(()),
    }
}

/// The actor behind an access token.
pub fn find(db: &Db, key: &hmac::Key, token: &str, from: Origin) -> Result<Option<Actor>> {
    match verify(key, token, clock::now() / SECOND) {
        Some(claims) => authenticate(db, &claims, from),
        None => Ok(None),
    }
}

/// The actor of verified claims. Account and family are read each time: changes of password or role and sign-outs apply
/// at once.
pub(super) fn authenticate(db: &Db, claims: &Claims, from: Origin) -> Result<Option<Actor>> {
    if claims.exp <= clock::now() / SECOND {
        return Ok(None);
    }
    let account = db.read(|conn| queries::account_of_family(conn, claims.sub, &claims.family))?;
    Ok(account
        .filter(|a| !a.disabled)
        .map(|a| a.actor(from, None, Proof::Token(claims.clone()))))
}

fn sign(key: &hmac::Key, account: &Account, family: &str) -> Result<String> {
    let now = clock::now() / SECOND;
    let claims = Claims {
        iss: ISSUER.into(),
        sub: account.id.get(),
        family: family.into(),
        typ: "access".into(),
        iat: now,
        exp: now + ACCESS_AGE_S,
        jti: random::name(),
    };
    let claims = serde_json::to_vec(&claims).map_err(Error::internal)?;
    let body = format!("{HEADER}.{}", text::base64url(&claims));
    let tag = text::base64url(hmac::sign(key, body.as_bytes()).as_ref());
    Ok(format!("{body}.{tag}"))
}

fn verify(key: &hmac::Key, token: &str, now_s: i64) -> Option<Claims> {
    if token.len() > 2_048 {
        return None;
    }
    let (body, tag) = token.rsplit_once('.')?;
    // The header is compared, not parsed: no other algorithm can be selected.
    let claims = body.strip_prefix(HEADER)?.strip_prefix('.')?;
    hmac::verify(key, body.as_bytes(), &text::unbase64(tag)?).ok()?;
    let claims: Claims = serde_json::from_slice(&text::unbase64(claims)?).ok()?;
    let good = claims.iss == ISSUER && claims.typ == "access" && claims.iat <= now_s + SKEW_S && claims.exp > now_s;
    good.then_some(claims)
}

/// The error of a request that needs a sign-in.
pub fn unauthorized() -> Error {
    Error::new(
        Kind::Unauthorized,
        "unauthorized",
        "Sign in first, or renew the access token.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Role;
    use crate::base::id::Id;

    fn account() -> Account {
        Account {
            id: Id::new(7),
            login: "m".into(),
            password_hash: String::new(),
            role: Role::Viewer,
            disabled: false,
            generation: 1,
            lang: String::new(),
            time_zone: String::new(),
            unlocked_at: 0,
            projects: Vec::new(),
        }
    }

    #[test]
    fn only_our_own_unexpired_hs256_tokens_are_taken() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef0123456789abcdef");
        let other = hmac::Key::new(hmac::HMAC_SHA256, b"another key, another key, another");
        let good = sign(&key, &account(), "f").unwrap();
        let now = clock::now() / SECOND;
        assert_eq!(verify(&key, &good, now).unwrap().sub, 7);
        assert!(verify(&key, &good, now + ACCESS_AGE_S + 1).is_none(), "expired");
        assert!(verify(&key, &good, now - 60).is_none(), "from the future");
        assert!(verify(&other, &good, now).is_none(), "another key");
        let parts: Vec<&str> = good.split('.').collect();
        let header = |json: &str| text::base64url(json.as_bytes());
        for forged in [
            format!("{}.{}.", header(r#"{"alg":"none","typ":"JWT"}"#), parts[1]),
            format!("{}.{}.{}", header(r#"{"alg":"none"}"#), parts[1], parts[2]),
            format!("{}.{}.{}", header(r#"{"alg":"RS256","typ":"JWT"}"#), parts[1], parts[2]),
            format!("{}.{}.{}", header(r#"{"alg":"HS512","typ":"JWT"}"#), parts[1], parts[2]),
            format!("{}.{}", parts[0], parts[1]),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{}.{}.{}", parts[0], parts[1], &parts[2][..20]),
            format!("{}.{}.{}", parts[0], header(r#"{"sub":1}"#), parts[2]),
            "a.b.c".into(),
            String::new(),
            "x".repeat(5_000),
        ] {
            assert!(verify(&key, &forged, now).is_none(), "{forged}");
        }
        // Correctly signed, but not an access token.
        let body = format!(
            "{HEADER}.{}",
            header(&format!(
                r#"{{"iss":"lamplighter","sub":7,"family":"f","typ":"refresh","iat":{now},"exp":{},"jti":"x"}}"#,
                now + 60
            ))
        );
        let tag = text::base64url(hmac::sign(&key, body.as_bytes()).as_ref());
        assert!(verify(&key, &format!("{body}.{tag}"), now).is_none(), "wrong type");
    }
}
