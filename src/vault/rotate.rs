//! Replacing keys. The master key: all data keys are wrapped by both, the file is replaced, then the old wrapping goes;
//! whichever key the file holds in between opens the database. The key of the secrets: a new one is added, every sealed
//! value is sealed by it, then the old one is removed; until then both open.

use super::queries::{self, Row};
use super::{SECRETS, SealContext, Vault, keyring_aad, seal_with, unwrap_key, wrapping_key};
use crate::base::error::{Error, Result};
use crate::base::secret::Secret;
use crate::base::{clock, random};
use crate::db::{Db, Tx};

/// A column with sealed values: one row of a feature's declaration.
#[derive(Debug)]
pub struct Sealed {
    /// Its table.
    pub table: &'static str,
    /// Its name.
    pub column: &'static str,
    /// The column with the number of [`SealContext::row`].
    pub row: &'static str,
    /// Table and column of the [`SealContext`], where they are not those above: a table was renamed.
    pub place: Option<(&'static str, &'static str)>,
    /// What its rows are, by [`TargetKind`](crate::kinds::TargetKind) or by another word, where one may hold a reference
    /// to a secret ([`super::reference`]); else empty.
    pub of: &'static str,
}

impl Sealed {
    /// A column of a table with `id`.
    pub const fn column(table: &'static str, column: &'static str) -> Sealed {
        Sealed {
            table,
            column,
            row: "id",
            place: None,
            of: "",
        }
    }

    /// The same, which may hold a reference; `of` is what its rows are.
    pub const fn or_reference(self, of: &'static str) -> Sealed {
        Sealed { of, ..self }
    }

    /// The place of the value in this row.
    pub fn at(&self, row: i64) -> SealContext {
        let (table, column) = self.place.unwrap_or((self.table, self.column));
        SealContext { table, column, row }
    }
}

/// Rows of one transaction.
const ROWS: usize = 500;

/// Wraps all data keys by the next master key as well. Error: `wrong_master_key`.
pub fn begin_rotation(tx: &Tx, master: &Secret, next: &Secret) -> Result<()> {
    let (old, new) = (wrapping_key(master)?, wrapping_key(next)?);
    for row in queries::all(tx)? {
        let key = unwrap_key(&old, &row)?;
        let wrapped = seal_with(&new, 0, &keyring_aad(row.id, &row.purpose), &key.key)?;
        queries::set_next(tx, row.id, &wrapped)?;
    }
    Ok(())
}

/// From now on only the next master key opens the data keys: call it when that one lies in its file.
pub fn end_rotation(tx: &Tx) -> Result<()> {
    queries::take_next(tx)
}

/// Adds a key for secrets, unless an earlier reseal has and was cut off. The vault must be opened again.
pub fn begin_reseal(tx: &Tx, master: &Secret) -> Result<()> {
    let rows = queries::all(tx)?;
    if rows.iter().filter(|row| row.purpose == SECRETS).count() > 1 {
        return Ok(());
    }
    let id = rows.iter().map(|row| row.id).max().unwrap_or(0) + 1;
    let key = Secret::new(random::bytes::<32>());
    let row = Row {
        id,
        purpose: SECRETS.into(),
        wrapped: seal_with(&wrapping_key(master)?, 0, &keyring_aad(id, SECRETS), &key)?,
        next: None,
    };
    queries::insert(tx, &row, clock::now())
}

impl Vault {
    /// Seals a whole column by the newest key; how many values were not yet.
    pub fn reseal_all(&self, db: &Db, of: &Sealed) -> Result<usize> {
        let (mut last, mut changed) = (0, 0);
        loop {
            let rows = db.write(|tx| {
                let rows = queries::sealed_after(tx, of, last, ROWS)?;
                for (row, sealed) in &rows {
                    if let Some(sealed) = self.reseal(of.at(*row), sealed)? {
                        queries::set_sealed(tx, of, *row, &sealed)?;
                        changed += 1;
                    }
                }
                Ok(rows)
            })?;
            match rows.last() {
                Some((row, _)) if rows.len() == ROWS => last = *row,
                _ => return Ok(changed),
            }
        }
    }
}

/// Removes the older keys for secrets, which must seal nothing any more.
pub fn end_reseal(tx: &Tx, vault: &Vault, columns: &[&Sealed]) -> Result<()> {
    for of in columns {
        let mut last = 0;
        loop {
            let rows = queries::sealed_after(tx, of, last, ROWS)?;
            for (row, sealed) in &rows {
                if vault.reseal(of.at(*row), sealed)?.is_some() {
                    let what = format!("{}.{} of row {row} is sealed by an old key", of.table, of.column);
                    return Err(Error::internal(what));
                }
            }
            match rows.last() {
                Some((row, _)) if rows.len() == ROWS => last = *row,
                _ => break,
            }
        }
    }
    let rows = queries::all(tx)?;
    let newest = vault.newest()?.0;
    rows.iter()
        .filter(|row| row.purpose == SECRETS && row.id != i64::from(newest))
        .try_for_each(|row| queries::remove(tx, row.id))
}
