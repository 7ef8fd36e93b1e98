//! References: a sealed column holds, instead of a value of its own, which secret of the house it has. What is read there
//! is that secret's value in force, so a rotation reaches all places at once. A reference is bound to its place as sealed
//! values are: copied elsewhere it leads nowhere.
//!
//! While another value is on its way to the hosts, each server's login has the one that was proved there.

use super::queries::{self, Referred};
use super::{SealContext, Sealed, Vault};
use crate::base::error::{Error, Kind, Result};
use crate::base::secret::Secret;
use crate::db::Conn;

/// Values of the house's secrets.
pub const VALUE: Sealed = Sealed::column("secret_versions", "value");
/// What their private keys are locked with.
pub const PASSPHRASE: Sealed = Sealed::column("secret_versions", "passphrase");
/// Values on their way.
pub const CANDIDATE: Sealed = Sealed::column("secret_rotations", "value");
/// What their private keys are locked with.
pub const CANDIDATE_PASSPHRASE: Sealed = Sealed::column("secret_rotations", "passphrase");

/// First byte of a reference; a sealed value's is [`super::VERSION`].
const REFERENCE: u8 = 2;

/// Which part of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Its value.
    Value,
    /// The passphrase of its value.
    Passphrase,
}

/// Is this a reference?
pub(super) fn is_reference(stored: &[u8]) -> bool {
    stored.first() == Some(&REFERENCE)
}

/// The number of the secret that this refers to; `None`: it is a value.
pub fn secret_of(stored: &[u8]) -> Option<i64> {
    let number = stored.get(1..9).filter(|_| is_reference(stored))?;
    Some(i64::from_be_bytes(number.try_into().ok()?))
}

/// What every reference to the value of this secret begins with.
pub fn head(secret: i64, part: Part) -> Vec<u8> {
    let part = u8::from(part == Part::Passphrase);
    [&[REFERENCE], &secret.to_be_bytes()[..], &[part]].concat()
}

impl Vault {
    /// What is stored at this place to refer to a secret.
    pub fn refer(&self, place: SealContext, secret: i64, part: Part) -> Vec<u8> {
        let head = head(secret, part);
        let tag = self.tag(place, &Secret::new(head.clone()));
        [head, tag].concat()
    }

    /// What is stored at this place: a value of its own, or that of the secret it refers to. `None`: that one has no such
    /// part.
    pub fn open_stored(&self, conn: &Conn, place: SealContext, stored: &[u8]) -> Result<Option<Secret>> {
        let Some(secret) = secret_of(stored) else {
            return self.open_sealed(place, stored).map(Some);
        };
        let part = match stored.get(9) {
            Some(0) => Part::Value,
            _ => Part::Passphrase,
        };
        if stored != self.refer(place, secret, part) {
            let place = format!("{}.{} of row {}", place.table, place.column, place.row);
            let say = format!("A stored reference does not belong there ({place}). Choose the secret again.");
            return Err(Error::new(Kind::Internal, "sealed_value", say));
        }
        let is_login =
            place.table == "servers" && ["password", "ssh_key", "ssh_key_passphrase"].contains(&place.column);
        let found = match is_login {
            true => queries::candidate(conn, secret, place.row)?,
            false => None,
        };
        let (found, of) = match found {
            Some(found) => (found, (CANDIDATE, CANDIDATE_PASSPHRASE)),
            None => (
                queries::in_force(conn, secret)?.ok_or_else(|| Error::not_found("secret that is referred to"))?,
                (VALUE, PASSPHRASE),
            ),
        };
        let Referred { row, value, passphrase } = found;
        match part {
            Part::Value => self.open_sealed(of.0.at(row), &value).map(Some),
            Part::Passphrase => passphrase.map(|p| self.open_sealed(of.1.at(row), &p)).transpose(),
        }
    }
}

/// Where secrets are used: column by column, the rows. `secret`: this one only.
pub fn uses(conn: &Conn, columns: &[&'static Sealed], secret: Option<i64>) -> Result<Vec<(&'static Sealed, i64, i64)>> {
    let mut all = Vec::new();
    for of in columns.iter().copied().filter(|of| !of.of.is_empty()) {
        for (row, head) in queries::references(conn, of)? {
            let Some(number) = secret_of(&head) else { continue };
            // A key's passphrase is used where the key is.
            if secret.is_none_or(|wanted| wanted == number) && head.get(9) == Some(&0) {
                all.push((of, row, number));
            }
        }
    }
    Ok(all)
}
