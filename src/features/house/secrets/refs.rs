//! Places that have a secret of the house instead of a value of their own. Whoever fills in such a field names the secret;
//! its value is put in before the field is checked, so that it is checked as if it had been typed, and what is stored is a
//! reference. A secret goes only where its scope says: else whoever may edit a server could have it sent to a machine of
//! their own.

use super::queries;
use crate::app::App;
use crate::base::error::{Error, Field, Kind, Result};
use crate::db::{Conn, Tx};
use crate::form::Input;
use crate::kinds;
use crate::vault::Sealed;
use crate::vault::reference::{self, PASSPHRASE, Part, VALUE};
use std::collections::BTreeMap;

/// Whose fields they are: the word of the scope (`servers`), that of one (`server`), and its number, if it has one already.
pub type Place<'a> = (&'a str, &'a str, Option<i64>);

/// Of one field after the other, the secret that it refers to.
pub type Refers = BTreeMap<&'static str, i64>;

/// A field that may refer to a secret.
pub struct Slot {
    pub(super) field: &'static str,
    pub(super) passphrase: Option<&'static str>,
}

/// The field of this name, stored in the column of this name.
pub const fn slot(field: &'static str) -> Slot {
    let passphrase = None;
    Slot { field, passphrase }
}

impl Slot {
    /// With a key comes its passphrase, in a field of its own.
    pub const fn with(self, field: &'static str) -> Slot {
        Slot {
            passphrase: Some(field),
            ..self
        }
    }

    /// Is a secret of this type one for it?
    pub(super) fn takes(&self, kind: &str) -> bool {
        (kind == "private_key") == self.passphrase.is_some()
    }
}

/// Has the scope of a secret that place?
pub(super) fn is_in_scope(scope: &[String], (all, one, row): Place) -> bool {
    let one = row.map(|row| format!("{one}:{row}"));
    scope.iter().any(|word| word == all || Some(word) == one.as_ref())
}

/// What a draft refers to.
#[derive(Debug, Default, Clone)]
pub struct Refs(Vec<(&'static str, i64, Part)>);

impl Refs {
    /// Puts the values into the fields. Error: a field refers to a secret that is not there, is not for that place, or does
    /// not fit.
    pub fn resolve(app: &App, conn: &Conn, input: &mut Input, place: Place, slots: &[Slot]) -> Result<Refs> {
        let mut refs = Refs::default();
        for (field, number) in input.references() {
            let wrong = |code, message: String| Error::invalid(vec![Field { field, code, message }]);
            let Some(slot) = slots.iter().find(|slot| slot.field == field) else {
                continue; // the reader says that it is no text
            };
            let secret = queries::get(conn, crate::base::id::Id::new(number))?;
            let secret = secret.ok_or_else(|| wrong("missing", format!("There is no secret {number}.")))?;
            let f = &secret.fields;
            if !is_in_scope(&f.scope, place) {
                let say = format!(
                    "The secret {} may not be used here: its scope does not have “{}”.",
                    f.name, place.0
                );
                return Err(wrong("not_in_scope", say));
            }
            if !slot.takes(&f.kind) {
                let say = format!("The secret {} is of type {}, which does not fit here.", f.name, f.kind);
                return Err(wrong("wrong_type", say));
            }
            let sealed = queries::values(conn, secret.id, secret.version)?;
            let sealed = sealed.ok_or_else(|| Error::not_found("version of this secret"))?;
            let value = app.vault.open_sealed(VALUE.at(sealed.row), &sealed.value)?;
            input.set_secret(field, Some(&value));
            refs.0.push((field, number, Part::Value));
            if let Some(other) = slot.passphrase {
                let open = |p: Vec<u8>| app.vault.open_sealed(PASSPHRASE.at(sealed.row), &p);
                input.set_secret(other, sealed.passphrase.map(open).transpose()?.as_ref());
                refs.0.push((other, number, Part::Passphrase));
            }
        }
        Ok(refs)
    }

    /// Stores them over the values that were stored from the same draft. Error: a secret is gone meanwhile.
    pub fn store(&self, tx: &Tx, mut put: impl FnMut(&'static str, i64, Part) -> Result<()>) -> Result<()> {
        for (column, secret, part) in &self.0 {
            if queries::name(tx, *secret)?.is_none() {
                return Err(Error::new(
                    Kind::Conflict,
                    "secret_gone",
                    "The secret was deleted meanwhile.",
                ));
            }
            put(column, *secret, *part)?;
        }
        Ok(())
    }

    /// Does it refer to none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What the fields of one row refer to.
pub fn of_row(conn: &Conn, sealed: &'static [Sealed], row: i64) -> Result<Refers> {
    let columns: Vec<_> = sealed.iter().collect();
    let all = reference::uses(conn, &columns, None)?.into_iter();
    Ok(all
        .filter(|(_, at, _)| *at == row)
        .map(|(of, _, secret)| (of.column, secret))
        .collect())
}

/// A place that has a secret.
#[derive(Debug, Clone)]
pub struct Use {
    /// What it is: a [`kinds::TargetKind`], or another word.
    pub of: &'static str,
    /// Its number.
    pub row: i64,
    /// Its name.
    pub name: String,
    /// Which of its fields.
    pub column: &'static str,
    /// Address of its page; empty: it has none.
    pub page: String,
}

impl std::fmt::Display for Use {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self.name == self.of {
            true => write!(f, "{} {} ({})", self.of, self.row, self.column),
            false => write!(f, "{} {} ({})", self.of, self.name, self.column),
        }
    }
}

impl Use {
    /// Has a scope the place that has it?
    pub(super) fn is_in_scope(&self, scope: &[String]) -> bool {
        let all = match self.of {
            "server" => "servers",
            "endpoint" => "endpoints",
            of => of,
        };
        is_in_scope(scope, (all, self.of, Some(self.row)))
    }
}

fn columns(app: &App) -> &[&'static Sealed] {
    app.registry.all::<Sealed>()
}

/// Where this secret is used.
pub fn uses(app: &App, conn: &Conn, secret: i64) -> Result<Vec<Use>> {
    let mut all = Vec::new();
    for (of, row, _) in reference::uses(conn, columns(app), Some(secret))? {
        let kind = kinds::target_kind(of.of);
        let name = kind.map(|kind| (kind.name_of)(conn, row)).transpose()?.flatten();
        all.push(Use {
            of: of.of,
            row,
            name: name.unwrap_or_else(|| of.of.into()),
            column: of.column,
            page: kind.map_or(String::new(), |kind| format!("{}{row}", kind.page)),
        });
    }
    Ok(all)
}

/// Number of places by secret.
pub fn counts(app: &App, conn: &Conn) -> Result<std::collections::HashMap<i64, i64>> {
    let mut all = std::collections::HashMap::new();
    for (_, _, secret) in reference::uses(conn, columns(app), None)? {
        *all.entry(secret).or_default() += 1;
    }
    Ok(all)
}
