//! Who changed what, when, from where: rows chained by a MAC under a keyring key, written in the transaction of the
//! change itself. A row that was altered or taken out of the middle breaks the chain ([`verify`]).

mod queries;

use crate::base::clock::{self, Ms};
use crate::base::error::Result;
use crate::db::{Conn, Tx};
use crate::vault::Vault;
use ring::hmac;

/// Who did it, as it stands in the log.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// Login, or `system`, `cli`.
    pub actor: &'a str,
    /// Address; empty for our own work.
    pub ip: &'a str,
    /// The request that carried it; empty for our own work.
    pub request_id: &'a str,
}

/// One row.
#[derive(Debug, Clone)]
pub struct Row {
    /// 1, 2, 3 …
    pub seq: i64,
    /// When.
    pub at: Ms,
    /// Who.
    pub actor: String,
    /// From where.
    pub ip: String,
    /// `server.create`, …
    pub action: String,
    /// `server 5 web-1`.
    pub object: String,
    /// JSON object, secrets masked by the caller.
    pub detail: String,
    /// The request's id.
    pub request_id: String,
    mac: Vec<u8>,
}

/// Appends one row.
pub fn append(tx: &Tx, vault: &Vault, by: By, action: &str, object: &str, detail: &serde_json::Value) -> Result<()> {
    let (last, before) = queries::last(tx)?;
    let mut row = Row {
        seq: last + 1,
        at: clock::now(),
        actor: by.actor.into(),
        ip: by.ip.into(),
        action: action.into(),
        object: object.into(),
        detail: detail.to_string(),
        request_id: by.request_id.into(),
        mac: Vec::new(),
    };
    row.mac = mac(vault.audit_key(), &before, &row);
    queries::insert(tx, &row)
}

/// Walks the whole chain; the number of the first row that does not fit, if any.
pub fn verify(conn: &Conn, vault: &Vault) -> Result<Option<i64>> {
    let mut before: Option<Vec<u8>> = None;
    let mut broken = None;
    queries::each(conn, |row| {
        // The first row kept is the anchor: older ones may have been purged with their age.
        let fits = before
            .as_ref()
            .is_none_or(|b| mac(vault.audit_key(), b, &row) == row.mac);
        before = Some(row.mac);
        if !fits {
            broken = Some(row.seq);
        }
        fits
    })?;
    Ok(broken)
}

fn mac(key: &hmac::Key, before: &[u8], row: &Row) -> Vec<u8> {
    let mut context = hmac::Context::with_key(key);
    context.update(before);
    let (seq, at) = (row.seq.to_string(), row.at.to_string());
    for part in [
        &seq,
        &at,
        &row.actor,
        &row.ip,
        &row.action,
        &row.object,
        &row.detail,
        &row.request_id,
    ] {
        context.update(&(part.len() as u64).to_be_bytes()); // lengths keep `ab|c` and `a|bc` apart
        context.update(part.as_bytes());
    }
    context.sign().as_ref().to_vec()
}
