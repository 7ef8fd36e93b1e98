//! Who changed what, when, from where: rows chained by a MAC under a keyring key, written in the transaction of the
//! change itself. Rows neither change nor go (triggers say so to the honest); [`verify`] finds a row that was altered, rows
//! that are missing in front, in the middle or, by the [`head`], at the end.

mod queries;
mod head;

use self::head::Found;
use crate::base::clock::{self, Ms};
use crate::base::error::Result;
use crate::db::{Conn, Db, Tx};
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
    /// What the client called that request; empty: nothing.
    pub client_request_id: &'a str,
}

impl<'a> By<'a> {
    /// Of work that no request has carried.
    pub const fn ours(actor: &'a str) -> By<'a> {
        By {
            actor,
            ip: "",
            request_id: "",
            client_request_id: "",
        }
    }
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
    /// What the client called it.
    pub client_request_id: String,
    mac: Vec<u8>,
}

/// Appends one row.
pub fn append<'a>(
    tx: &Tx,
    vault: &Vault,
    by: impl Into<By<'a>>,
    action: &str,
    object: &str,
    detail: &serde_json::Value,
) -> Result<()> {
    let row = insert(tx, vault, by.into(), action, object, detail)?;
    head::follow(tx, vault, &row)
}

fn insert(tx: &Tx, vault: &Vault, by: By, action: &str, object: &str, detail: &serde_json::Value) -> Result<Row> {
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
        client_request_id: by.client_request_id.into(),
        mac: Vec::new(),
    };
    row.mac = mac(vault.audit_key(), &before, &row);
    queries::insert(tx, &row)?;
    Ok(row)
}

/// The row with which the head begins. Where it is, a missing head is no new house.
const BEGIN: &str = "audit.begin";

const SYSTEM: By = By::ours("system");

/// Called when the database is opened: makes the head, once in its life.
pub fn begin(db: &Db, vault: &Vault) -> Result<()> {
    // A head without its beginning is one of rows that were removed: it stays, for [`verify`].
    let is_new = |conn: &Conn| Ok(matches!(head::read(conn, vault)?, Found::Missing) && !queries::has(conn, BEGIN)?);
    if !db.read(is_new)? {
        return Ok(());
    }
    db.write_reserved(|tx| {
        if is_new(tx)? {
            let row = insert(tx, vault, SYSTEM, BEGIN, "audit", &serde_json::json!({}))?;
            head::begin(tx, vault, &row);
        }
        Ok(())
    })
}

/// The rows that are there are all there are: for who has put a backup back. What was wrong with the head is noted.
pub fn accept(db: &Db, vault: &Vault, by: By, broken: &Broken) -> Result<()> {
    db.write(|tx| {
        let row = insert(
            tx,
            vault,
            by,
            "audit.accept",
            "audit",
            &serde_json::json!({ "was": broken.to_string() }),
        )?;
        head::begin(tx, vault, &row);
        Ok(())
    })
}

/// What is wrong with the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// This row is not as it was written.
    Changed(i64),
    /// These rows are not there, in front or in the middle.
    Missing(i64, i64),
    /// These rows are not there, at the end.
    Cut(i64, i64),
    /// This row was written by us, but there was another one of this number before it.
    Replaced(i64),
    /// The file of the head is not there.
    HeadMissing,
    /// The file of the head was not written by us.
    HeadForged,
}

impl Broken {
    /// Is it only the end that is wrong? So after a backup was put back.
    pub fn is_about_the_end(&self) -> bool {
        !matches!(self, Broken::Changed(_) | Broken::Missing(..))
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rows = |from: &i64, to: &i64| match from == to {
            true => format!("Row {from} is"),
            false => format!("Rows {from} to {to} are"),
        };
        match self {
            Broken::Changed(seq) => write!(f, "Row {seq} is not as it was written."),
            Broken::Missing(from, to) => write!(f, "{} missing.", rows(from, to)),
            Broken::Cut(from, to) => write!(f, "{} missing at the end.", rows(from, to)),
            Broken::Replaced(seq) => write!(f, "Rows up to {seq} were removed at the end and others written."),
            Broken::HeadMissing => {
                f.write_str("The file lamplighter.audit-head is missing: rows may be missing at the end.")
            }
            Broken::HeadForged => {
                f.write_str("The file lamplighter.audit-head is not ours: rows may be missing at the end.")
            }
        }
    }
}

/// Number and MAC of the last row; none in a house where nothing has happened.
pub fn last(db: &Db) -> Result<Option<(i64, Vec<u8>)>> {
    let last = db.read(queries::last)?;
    Ok(Some(last).filter(|(seq, _)| *seq > 0))
}

/// Rows of one look: nobody waits for the whole chain.
const LOOK_MAX: usize = 1_000;

/// Walks the whole chain; how many rows there are, or the first thing that is wrong.
pub fn verify(db: &Db, vault: &Vault) -> Result<std::result::Result<i64, Broken>> {
    // Read first: rows that come meanwhile are behind it.
    let found = db.read(|conn| head::read(conn, vault))?;
    let (mut seq, mut before) = (0, Vec::new());
    loop {
        let rows = db.read(|conn| queries::after(conn, seq, LOOK_MAX))?;
        for row in &rows {
            if row.seq != seq + 1 {
                return Ok(Err(Broken::Missing(seq + 1, row.seq - 1)));
            }
            if mac(vault.audit_key(), &before, row) != row.mac {
                return Ok(Err(Broken::Changed(row.seq)));
            }
            if let Found::Head(head) = &found
                && head.seq == row.seq
                && head.mac != row.mac
            {
                return Ok(Err(Broken::Replaced(row.seq)));
            }
            (seq, before) = (row.seq, row.mac.clone());
        }
        if rows.len() < LOOK_MAX {
            break;
        }
    }
    Ok(match found {
        Found::Missing => Err(Broken::HeadMissing),
        Found::Forged => Err(Broken::HeadForged),
        Found::Head(head) if head.seq > seq => Err(Broken::Cut(seq + 1, head.seq)),
        Found::Head(_) => Ok(seq),
    })
}

fn mac(key: &hmac::Key, before: &[u8], row: &Row) -> Vec<u8> {
    let mut context = hmac::Context::with_key(key);
    context.update(before);
    let (seq, at) = (row.seq.to_string(), row.at.to_string());
    let parts = [
        &seq,
        &at,
        &row.actor,
        &row.ip,
        &row.action,
        &row.object,
        &row.detail,
        &row.request_id,
    ];
    // Rows from before there was such a thing are as they were, and so is a row without one.
    let theirs = (!row.client_request_id.is_empty()).then_some(&row.client_request_id);
    for part in parts.into_iter().chain(theirs) {
        context.update(&(part.len() as u64).to_be_bytes()); // lengths keep `ab|c` and `a|bc` apart
        context.update(part.as_bytes());
    }
    context.sign().as_ref().to_vec()
}
