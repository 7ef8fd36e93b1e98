//! Who changed what, when, from where: rows chained by a MAC under a keyring key, written in the transaction of the
//! change itself. Rows neither change nor go: SQLite's triggers refuse it. [`verify`] finds a row that was altered, rows
//! that are missing in front, in the middle or, by the [`head`], at the end, and triggers that are gone.
//!
//! Whoever has both the database and the key can write another chain. Against that stands a head that was kept elsewhere:
//! the journal has one of each hour, and [`verify`] takes it.

mod queries;
mod head;
mod snapshot;

use self::head::Found;
use crate::base::clock::{self, Ms};
use crate::base::error::Result;
use crate::db::{Conn, Db, Tx};
use crate::vault::Vault;
use ring::hmac;
use serde_json::Value;

pub use head::Head;
pub use queries::{Cursor, Filter, Page, actions, actors, get, object_kinds, page};
pub use snapshot::Snapshot;

/// Who did it, as it stands in the log.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// Login, or `system`, `cli`.
    pub actor: &'a str,
    /// Address; empty for our own work.
    pub ip: &'a str,
    /// By what they were let in: `session 1f3a…`, `token 5 backup`, `cli`; empty for our own work, and before a sign-in.
    pub via: &'a str,
    /// The request that carried it; empty for our own work.
    pub request_id: &'a str,
    /// What the client called that request; empty: nothing.
    pub client_request_id: &'a str,
}

impl<'a> By<'a> {
    /// Of work that no request has carried.
    pub const fn ours(actor: &'a str, via: &'a str) -> By<'a> {
        By {
            actor,
            via,
            ip: "",
            request_id: "",
            client_request_id: "",
        }
    }

    /// Of a part of what this login has put in before, with a proof.
    pub const fn part_of(actor: &'a str) -> By<'a> {
        By::ours(actor, "")
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
    /// By what they were let in.
    pub via: String,
    /// `server.create`, …
    pub action: String,
    /// `server 5 web-1`.
    pub object: String,
    /// JSON object, secrets masked.
    pub detail: String,
    /// JSON object: how what is different stood before. Empty: it was not there, or nothing stands anywhere.
    pub before: String,
    /// The same for afterwards. Empty: it is not there any more, or nothing stands anywhere.
    pub after: String,
    /// The request's id.
    pub request_id: String,
    /// What the client called it.
    pub client_request_id: String,
    mac: Vec<u8>,
}

impl Row {
    /// Seals this row and, through it, all before.
    pub fn mac(&self) -> &[u8] {
        &self.mac
    }
}

/// Appends one row about an act.
pub fn append<'a>(
    tx: &Tx,
    vault: &Vault,
    by: impl Into<By<'a>>,
    action: &str,
    object: &str,
    detail: &Value,
) -> Result<()> {
    let none = Snapshot::none();
    append_change(tx, vault, by, action, object, detail, [&none, &none])
}

/// Appends one row about a change, with what is different. A change that changed nothing is none.
pub fn change<'a>(
    tx: &Tx,
    vault: &Vault,
    by: impl Into<By<'a>>,
    action: &str,
    object: &str,
    detail: &Value,
    stood: [&Snapshot; 2],
) -> Result<()> {
    match stood[0].is_there() && stood[0] == stood[1] {
        true => Ok(()),
        false => append_change(tx, vault, by, action, object, detail, stood),
    }
}

/// The same, whatever is different.
pub fn append_change<'a>(
    tx: &Tx,
    vault: &Vault,
    by: impl Into<By<'a>>,
    action: &str,
    object: &str,
    detail: &Value,
    stood: [&Snapshot; 2],
) -> Result<()> {
    let row = insert(tx, vault, by.into(), action, object, detail, stood)?;
    head::follow(tx, vault, &row)
}

fn insert(
    tx: &Tx,
    vault: &Vault,
    by: By,
    action: &str,
    object: &str,
    detail: &Value,
    stood: [&Snapshot; 2],
) -> Result<Row> {
    let (last, mac_before) = queries::last(tx)?;
    let [before, after] = snapshot::difference(stood);
    let mut row = Row {
        seq: last + 1,
        at: clock::now(),
        actor: by.actor.into(),
        ip: by.ip.into(),
        via: by.via.into(),
        action: action.into(),
        object: object.into(),
        detail: snapshot::masked(detail).to_string(),
        before,
        after,
        request_id: by.request_id.into(),
        client_request_id: by.client_request_id.into(),
        mac: Vec::new(),
    };
    row.mac = mac(vault.audit_key(), &mac_before, &row);
    queries::insert(tx, &row)?;
    Ok(row)
}

/// The row with which the head begins. Where it is, a missing head is no new house.
const BEGIN: &str = "audit.begin";

const SYSTEM: By = By::ours("system", "");

/// Called when the database is opened: makes the head, once in its life.
pub fn begin(db: &Db, vault: &Vault) -> Result<()> {
    // A head without its beginning is one of rows that were removed: it stays, for [`verify`].
    let is_new = |conn: &Conn| Ok(matches!(head::read(conn, vault)?, Found::Missing) && !queries::has(conn, BEGIN)?);
    if !db.read(is_new)? {
        return Ok(());
    }
    db.write_reserved(|tx| {
        if is_new(tx)? {
            let none = Snapshot::none();
            let row = insert(
                tx,
                vault,
                SYSTEM,
                BEGIN,
                "audit",
                &serde_json::json!({}),
                [&none, &none],
            )?;
            head::begin(tx, vault, &row);
        }
        Ok(())
    })
}

/// The rows that are there are all there are: for who has put a backup back. What was wrong with the head is noted.
pub fn accept(db: &Db, vault: &Vault, by: By, broken: &Broken) -> Result<()> {
    db.write(|tx| {
        let (none, was) = (Snapshot::none(), serde_json::json!({ "was": broken.to_string() }));
        let row = insert(tx, vault, by, "audit.accept", "audit", &was, [&none, &none])?;
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
    /// This row, which was noted elsewhere as a head, is not there or not the same.
    NotTheNoted(i64),
    /// SQLite would let rows be changed: triggers are not there as they were made.
    Unguarded,
}

impl Broken {
    /// Is it only the end that is wrong? So after a backup was put back.
    pub fn is_about_the_end(&self) -> bool {
        matches!(
            self,
            Broken::Cut(..) | Broken::Replaced(_) | Broken::HeadMissing | Broken::HeadForged
        )
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
            Broken::NotTheNoted(seq) => write!(f, "Row {seq} is not the one whose head was noted elsewhere."),
            Broken::Unguarded => f.write_str("The triggers that keep its rows are not in the database."),
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

/// The last row there is: what a backup and the journal keep. `None` in a database that has none.
pub fn head(db: &Db) -> Result<Option<Head>> {
    let (seq, mac) = db.read(queries::last)?;
    Ok((seq > 0).then_some(Head { seq, mac }))
}

/// Walks the whole chain; its head, or the first thing that is wrong. `noted` is a head that was kept elsewhere.
pub fn verify(db: &Db, vault: &Vault, noted: Option<&Head>) -> Result<std::result::Result<Head, Broken>> {
    // Read first: rows that come meanwhile are behind it.
    let found = db.read(|conn| head::read(conn, vault))?;
    let mut last = Head {
        seq: 0,
        mac: Vec::new(),
    };
    loop {
        let rows = db.read(|conn| queries::after(conn, last.seq, LOOK_MAX))?;
        for row in &rows {
            if row.seq != last.seq + 1 {
                return Ok(Err(Broken::Missing(last.seq + 1, row.seq - 1)));
            }
            if mac(vault.audit_key(), &last.mac, row) != row.mac {
                return Ok(Err(Broken::Changed(row.seq)));
            }
            if let Found::Head(head) = &found
                && head.seq == row.seq
                && head.mac != row.mac
            {
                return Ok(Err(Broken::Replaced(row.seq)));
            }
            if let Some(noted) = noted
                && noted.seq == row.seq
                && noted.mac != row.mac
            {
                return Ok(Err(Broken::NotTheNoted(row.seq)));
            }
            last = Head {
                seq: row.seq,
                mac: row.mac.clone(),
            };
        }
        if rows.len() < LOOK_MAX {
            break;
        }
    }
    let is_guarded = db.read(queries::is_guarded)?;
    Ok(match (found, noted) {
        (Found::Head(head), _) if head.seq > last.seq => Err(Broken::Cut(last.seq + 1, head.seq)),
        (_, Some(noted)) if noted.seq > last.seq => Err(Broken::NotTheNoted(noted.seq)),
        (Found::Missing, _) => Err(Broken::HeadMissing),
        (Found::Forged, _) => Err(Broken::HeadForged),
        _ if !is_guarded => Err(Broken::Unguarded),
        _ => Ok(last),
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
    // Columns that came later. Rows from before are as they were: what is empty at the end is not there.
    let later = [&row.client_request_id, &row.via, &row.before, &row.after];
    let used = later.iter().rposition(|part| !part.is_empty()).map_or(0, |at| at + 1);
    for part in parts.into_iter().chain(later[..used].iter().copied()) {
        context.update(&(part.len() as u64).to_be_bytes()); // lengths keep `ab|c` and `a|bc` apart
        context.update(part.as_bytes());
    }
    context.sign().as_ref().to_vec()
}
