//! The document's form.

use crate::base::error::{Error, Kind, Result};
use crate::base::shape::{Described, Object, Shape};
use crate::base::text;
use crate::db::Conn;
use crate::section::{self, Entry, Section};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::fmt;

/// Version that is written and read.
pub const VERSION: u32 = 1;
/// Maximum entries of a document.
const ENTRIES_MAX: usize = 20_000;

/// A fleet: entries by section.
#[derive(Debug)]
pub struct Document {
    version: u32,
    sections: Vec<Vec<Entry>>,
}

impl Document {
    /// What there is.
    pub fn of(conn: &Conn) -> Result<Document> {
        let sections = section::all().iter().map(|section| (section.export)(conn));
        Ok(Document {
            version: VERSION,
            sections: sections.collect::<Result<_>>()?,
        })
    }

    /// Reads JSON text.
    pub fn parse(text: &[u8]) -> Result<Document> {
        let wrong = |say: String| Error::new(Kind::Malformed, "bad_document", say);
        let document: Document = serde_json::from_slice(text).map_err(|e| {
            wrong(format!(
                "This is no document of a fleet: {e}. “lamplighter export” writes one."
            ))
        })?;
        if document.version != VERSION {
            let say = format!(
                "This document is of version {}; this program reads version {VERSION}.",
                document.version
            );
            return Err(wrong(say));
        }
        let rows = document.rows();
        if rows > ENTRIES_MAX {
            return Err(wrong(format!("{rows} entries are too many: {ENTRIES_MAX} at most.")));
        }
        Ok(document)
    }

    /// Formatted text: one line per field in a fixed order, for readable diffs.
    pub fn pretty(&self) -> Result<String> {
        let mut text = serde_json::to_string_pretty(self).map_err(Error::internal)?;
        text.push('\n');
        Ok(text)
    }

    /// Number of entries.
    pub fn rows(&self) -> usize {
        self.sections.iter().map(Vec::len).sum()
    }

    /// All entries; referenced ones first.
    pub fn entries(self) -> impl Iterator<Item = Row> {
        let sections = section::all().iter().zip(self.sections);
        sections.flat_map(|(section, entries)| {
            let entries = entries.into_iter().enumerate();
            entries.map(|(n, entry)| Row { section, n, entry })
        })
    }
}

/// One entry with its place.
pub struct Row {
    /// What it is in.
    pub section: &'static Section,
    n: usize,
    /// Content.
    pub entry: Entry,
}

impl Row {
    /// Display name.
    pub fn name(&self) -> String {
        let name = self.entry.get(self.section.key).and_then(Value::as_str);
        text::one_line(name.unwrap_or_default(), 100)
    }

    /// Position in the document, for errors.
    pub fn place(&self) -> String {
        format!("{}[{}] “{}”", self.section.name, self.n, self.name())
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(1 + self.sections.len()))?;
        map.serialize_entry(section::VERSION, &self.version)?;
        for (section, entries) in section::all().iter().zip(&self.sections) {
            map.serialize_entry(section.name, entries)?;
        }
        map.end()
    }
}

/// Unknown sections are refused: typing mistakes, or of a newer version.
impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Document, D::Error> {
        from.deserialize_map(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Document, A::Error> {
        let all = section::all();
        let mut version = None;
        let mut sections: Vec<Option<Vec<Entry>>> = vec![None; all.len()];
        while let Some(name) = map.next_key::<String>()? {
            if name == section::VERSION {
                if version.replace(map.next_value()?).is_some() {
                    return Err(A::Error::duplicate_field(section::VERSION));
                }
                continue;
            }
            let Some(n) = all.iter().position(|section| section.name == name) else {
                let known: Vec<_> = all.iter().map(|section| format!("`{}`", section.name)).collect();
                return Err(A::Error::custom(format!(
                    "unknown section `{}`, expected one of {}",
                    text::one_line(&name, 100),
                    known.join(", ")
                )));
            };
            if sections[n].replace(map.next_value()?).is_some() {
                return Err(A::Error::duplicate_field(all[n].name));
            }
        }
        Ok(Document {
            version: version.ok_or_else(|| A::Error::missing_field(section::VERSION))?,
            sections: sections.into_iter().map(Option::unwrap_or_default).collect(),
        })
    }
}

impl Described for Document {
    const SHAPE: &'static Shape = &Shape::Object(&Object {
        name: concat!(module_path!(), "::Document"),
        doc: &[" A fleet. Unknown sections are refused: they are typing mistakes or belong to a newer version."],
        members: section::members,
    });
}
