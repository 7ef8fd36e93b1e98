//! The head of the audit chain, outside the database: a file beside it with sequence number and MAC of the last row,
//! under a MAC of its own. It reveals rows that were cut off at the end and a database that was replaced by an older
//! copy. It may lag behind (crash between commit and writing) but never leads, and only moves along the chain: if its
//! row is missing or changed, it stays and [`super::verify`] reports it.

use super::{Row, queries};
use crate::base::error::Result;
use crate::base::{file, log, text};
use crate::db::{Conn, Tx};
use crate::vault::Vault;
use ring::hmac;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Number and MAC of the last row that is known to have been written. Written as `1234:6f0a…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its number, and so how many rows there are.
    pub seq: i64,
    /// Of that row, and through it of all before.
    pub mac: Vec<u8>,
}

impl Head {
    /// Reads what [`Display`](fmt::Display) writes.
    pub fn parse(text: &str) -> Option<Head> {
        let (seq, mac) = text.trim().split_once(':')?;
        let mac = text::unhex(mac).filter(|mac| mac.len() == MAC_LENGTH)?;
        let seq = seq.parse().ok().filter(|seq| *seq > 0)?;
        Some(Head { seq, mac })
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, text::hex(&self.mac))
    }
}

/// Bytes of HMAC-SHA256.
const MAC_LENGTH: usize = 32;

/// What the file says.
pub enum Found {
    Head(Head),
    /// The file does not exist.
    Missing,
    /// Not written by us, or not with the key of this database.
    Forged,
}

fn path(conn: &Conn) -> Option<PathBuf> {
    Some(Path::new(conn.path()?).with_extension("audit-head"))
}

pub fn read(conn: &Conn, vault: &Vault) -> Result<Found> {
    let Some(path) = path(conn) else {
        return Ok(Found::Missing);
    };
    let bytes = match file::read_limited(&path, 1_000) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Found::Missing),
        Err(e) => return Err(e.into()),
    };
    Ok(parse(&bytes, vault.audit_key()).map_or(Found::Forged, Found::Head))
}

fn parse(bytes: &[u8], key: &hmac::Key) -> Option<Head> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (said, tag) = text.trim_end().rsplit_once(' ')?;
    hmac::verify(key, bound(said).as_bytes(), &text::unhex(tag)?).ok()?;
    let (seq, mac) = said.split_once(' ')?;
    Some(Head {
        seq: seq.parse().ok()?,
        mac: text::unhex(mac)?,
    })
}

/// Fixed length, so that one write replaces the whole.
fn line(row: &Row, key: &hmac::Key) -> String {
    let said = format!("{:020} {}", row.seq, text::hex(&row.mac));
    format!(
        "{said} {}\n",
        text::hex(hmac::sign(key, bound(&said).as_bytes()).as_ref())
    )
}

fn bound(said: &str) -> String {
    format!("head of the audit: {said}")
}

/// Moves the head to this row after the commit.
pub fn follow(tx: &Tx, vault: &Vault, row: &Row) -> Result<()> {
    if let Found::Head(head) = read(tx, vault)?
        && head.seq < row.seq
        && queries::mac_of(tx, head.seq)? == Some(head.mac)
    {
        put(tx, vault, row, |path, line| {
            OpenOptions::new().write(true).open(path)?.write_all_at(line, 0)
        });
    }
    Ok(())
}

/// Writes a new head, whatever was there.
pub fn begin(tx: &Tx, vault: &Vault, row: &Row) {
    put(tx, vault, row, file::replace);
}

fn put(tx: &Tx, vault: &Vault, row: &Row, write: fn(&Path, &[u8]) -> io::Result<()>) {
    let (path, line) = (path(tx), line(row, vault.audit_key()));
    tx.after_commit(move || {
        let written = path.map_or(Ok(()), |path| write(&path, line.as_bytes()));
        if let Err(e) = written {
            log::warning(
                "audit",
                "the head of the audit chain cannot be written",
                &[("error", &e.to_string())],
            );
        }
    });
}
