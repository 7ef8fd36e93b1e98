//! Sections of the house's document: what a feature looks after, as entries without numbers and secrets that a person can
//! read, keep, and read in here or elsewhere. One row each, beside the feature; the document puts them together and knows
//! none of them. The composition root joins the rows of all features before anything runs.

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
    /// Its member of the document: `servers`.
    pub name: &'static str,
    /// What one entry of it is, for people: `server`.
    pub one: &'static str,
    /// Its place in the document. An entry names only what is in sections before its own.
    pub place: u8,
    /// The member of an entry by which it is known.
    pub key: &'static str,
    /// The number of the row that is known by this.
    pub find: fn(&Conn, &str) -> Result<Option<i64>>,
    /// Every row as an entry, in the order of their names.
    pub export: fn(&Conn) -> Result<Vec<Entry>>,
    /// Makes a new row as the entry says and gives its number, after the checks that a form passes.
    pub create: fn(&Applying, Entry) -> Result<i64>,
    /// Makes the row with this number as the entry says, after the checks that a form passes. `false`: it was so already.
    pub update: fn(&Applying, i64, Entry) -> Result<bool>,
    /// Puts in the task that takes a new or changed row to the servers; `None` while there is nothing to take there.
    pub deploy: Option<fn(&Applying, i64) -> Result<Option<Id<id::Task>>>>,
}

/// What a document says of one row: members as in the feature's form, names in place of numbers.
pub type Entry = Map<String, Value>;

/// The transaction in which a document is read in, and who does it.
#[derive(Clone, Copy)]
pub struct Applying<'a> {
    /// All machines.
    pub app: &'a App,
    /// All or nothing.
    pub tx: &'a Tx<'a>,
    /// Each section asks for its own right besides.
    pub by: Allowed<'a, Edit, Document>,
}

/// The object with these members, as `json!` makes it.
pub fn entry(members: Value) -> Entry {
    match members {
        Value::Object(members) => members,
        _ => Entry::new(),
    }
}

/// An entry names something that is not there.
pub fn unknown(section: &str, name: &str) -> Error {
    let name = text::one_line(name, 100);
    let say = format!("There is no “{name}” here or among this document's {section}.");
    Error::new(Kind::Malformed, "unknown_name", say)
}

/// The document's member that tells its version, before the sections.
pub const VERSION: &str = "lamplighter";

struct Joined {
    sections: Vec<&'static Section>,
    members: Vec<Member>,
}

static JOINED: OnceLock<Joined> = OnceLock::new();

/// Takes the rows of all features; a program has one list of features, so only the first call counts.
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

/// All sections in their order.
pub fn all() -> &'static [&'static Section] {
    JOINED.get().map_or(&[], |joined| &joined.sections)
}

/// The members of the document, for its shape.
pub fn members() -> &'static [Member] {
    JOINED.get().map_or(&[], |joined| &joined.members)
}
