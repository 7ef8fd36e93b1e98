//! Groups of domains in the document of the house.

use super::model::{Fields, PARAMS, read};
use super::queries;
use crate::access::right::{Edit, Groups};
use crate::base::id::Id;
use crate::form::Input;
use crate::section::{self, Section};
use serde_json::json;

pub const SECTION: Section = Section {
    name: "groups",
    one: "group",
    place: 3,
    key: "name",
    find: |conn, name| Ok(queries::by_name(conn, name)?.map(|id| id.get())),
    export: |conn| {
        let rows = super::of_domains(conn)?.into_iter().map(|row| row.fields);
        let entries = rows.map(|f| section::entry(json!({ "name": f.name, "notes": f.notes })));
        Ok(entries.collect())
    },
    create: |to, entry| {
        let valid = read(Input::of(PARAMS, entry), Fields::default(), true)?;
        let id = super::create(to.app, to.tx, &valid, to.by.also(Edit, Groups)?)?;
        Ok(id.get())
    },
    update: |to, id, entry| {
        let old = super::get(to.tx, Id::new(id))?;
        let valid = read(Input::of(PARAMS, entry), old.fields.clone(), false)?;
        let changed = valid.fields != old.fields;
        if changed {
            super::update(to.app, to.tx, &old, &valid, to.by.also(Edit, Groups)?)?;
        }
        Ok(changed)
    },
    deploy: None,
};
