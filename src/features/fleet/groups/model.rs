//! Fields of a group and their validation.

use crate::base::error::Result;
use crate::form::Input;
use crate::form::param::{self, Param};

/// What can be grouped.
pub const KINDS: [&str; 2] = ["domain", "host"];

/// Validated fields of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// One of [`KINDS`]; fixed at creation.
    pub kind: &'static str,
    /// Display name; unique within its kind.
    pub name: String,
    /// Free text.
    pub notes: String,
}

impl Default for Fields {
    fn default() -> Fields {
        Fields {
            kind: "domain",
            name: String::new(),
            notes: String::new(),
        }
    }
}

/// Proof of validation.
#[derive(Debug)]
pub struct Valid {
    /// All fields.
    pub fields: Fields,
}

/// Accepted fields of a draft.
pub const PARAMS: &[Param] = &[
    param::choice("kind", &KINDS, "What is in it; a group keeps its kind."),
    param::name("name", "What people call it, unique within its kind.").required(),
    param::text("notes", 2_000, "Free words."),
];

/// Fields of the answer that may be sent back unchanged.
pub const READ_ONLY: &[&str] = &["id", "counts", "revision", "created_at", "updated_at"];

/// Reads a draft over `base`: missing fields keep the values of `base`. Error: invalid fields.
pub fn read(mut input: Input, base: Fields, is_new: bool) -> Result<Valid> {
    let mut f = base;
    let i = &mut input;
    match i.choice("kind") {
        Some(kind) if !is_new && kind != f.kind => {
            i.wrong("kind", "fixed", "A group keeps its kind. Make another group.");
        }
        Some(kind) => f.kind = kind,
        None => {}
    }
    if let Some(name) = i.name("name") {
        f.name = name;
    }
    if let Some(notes) = i.text("notes") {
        f.notes = notes;
    }
    if f.name.is_empty() && !i.has_error("name") {
        i.wrong("name", "required", "Give the group a name.");
    }
    input.finish(READ_ONLY)?;
    Ok(Valid { fields: f })
}
