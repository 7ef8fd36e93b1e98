//! Sections of the document: a feature's rows as entries without ids and secrets, readable and portable. One row each,
//! beside the feature; the document joins them and knows none. The composition root joins the rows of all features at
//! start.

use crate::access::Allowed;
use crate::access::right::{Document, Edit};
use crate::app::App;
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::base::shape::{Described, Member};
use crate::base::text;
use crate::db::{Conn, Tx};
use serde_json::{Map, Value};
use std::sync::OnceLock;

/// A section of the document.
pub struct Section {
    /// Member of the document: `servers`.
    pub name: &'static str,
    /// Display name of an entry: `server`.
    pub one: &'static str,
    /// Position in the document. Entries refer only to earlier sections.
    pub place: u8,
    /// The member that identifies an entry.
    pub key: &'static str,
    /// The id of the row with this identity.
    pub find: fn(&Conn, &str) -> Result<Option<i64>>,
    /// Every row as an entry, by name.
    pub export: fn(&Conn) -> Result<Vec<Entry>>,
    /// Creates a row from an entry and returns its id, with the checks of a form.
    pub create: fn(&Applying, Entry) -> Result<i64>,
    /// Changes the row with this id to an entry, with the checks of a form. `false`: unchanged.
    pub update: fn(&Applying, i64, Entry) -> Result<bool>,
    /// Enqueues the deploy of a new or changed row; `None` if there is nothing to deploy.
    pub deploy: Option<Deploy>,
}

/// Enqueues the deploy of a row and returns the task, or `None` if there is nothing to deploy.
pub type Deploy = fn(&Applying, i64) -> Result<Option<Id<id::Task>>>;

/// An entry: members as in the feature's form, names instead of ids.
pub type Entry = Map<String, Value>;

/// The transaction of an import, and its actor.
#[derive(Clone, Copy)]
pub struct Applying<'a> {
    /// All machines.
    pub app: &'a App,
    /// The transaction.
    pub tx: &'a Tx<'a>,
    /// Each section checks its own right besides.
    pub by: Allowed<'a, Edit, Document>,
}

/// The object with these members, as by `json!`.
pub fn entry(members: Value) -> Entry {
    match members {
        Value::Object(members) => members,
        _ => Entry::new(),
    }
}

/// Error: an entry refers to something that does not exist.
pub fn unknown(section: &str, name: &str) -> Error {
    let name = text::one_line(name, 100);
    let say = format!("There is no “{name}” here or among this document's {section}.");
    Error::new(Kind::Malformed, "unknown_name", say)
}

/// Member with the document's version, before the sections.
pub const VERSION: &str = "lamplighter";

struct Joined {
    sections: Vec<&'static Section>,
    members: Vec<Member>,
}

static JOINED: OnceLock<Joined> = OnceLock::new();

/// Sets the rows of all features; only the first call counts.
pub fn join(rows: impl IntoIterator<Item = &'static Section>) {
    JOINED.get_or_init(|| {
        let mut sections: Vec<_> = rows.into_iter().collect();
        sections.sort_by_key(|section| section.place);
        let entries = |section: &&'static Section| Member::always(section.name, Vec::<Entry>::SHAPE);
        let version = Member {
            doc: &[" Version of the document's form."],
            ..Member::always(VERSION, u32::SHAPE)
        };
        let members = std::iter::once(version).chain(sections.iter().map(entries)).collect();
        Joined { sections, members }
    });
}

/// All sections in order.
pub fn all() -> &'static [&'static Section] {
    JOINED.get().map_or(&[], |joined| &joined.sections)
}

/// Members of the document, for its shape.
pub fn members() -> &'static [Member] {
    JOINED.get().map_or(&[], |joined| &joined.members)
}
