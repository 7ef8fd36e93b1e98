//! Upstreams in the document of the house.

use super::model::{Fields, PARAMS, read};
use super::queries;
use crate::access::right::{Edit, Upstreams};
use crate::base::id::Id;
use crate::form::Input;
use crate::section::{self, Section};
use serde_json::json;

pub const SECTION: Section = Section {
    name: "upstreams",
    one: "upstream",
    place: 2,
    key: "name",
    find: |conn, name| Ok(queries::by_name(conn, name)?.map(|id| id.get())),
    export: |conn| {
        let rows = super::all(conn)?.into_iter().map(|row| row.fields);
        let entries = rows.map(|f| section::entry(json!({ "name": f.name, "targets": f.targets, "notes": f.notes })));
        Ok(entries.collect())
    },
    create: |to, entry| {
        let valid = read(Input::of(PARAMS, entry), Fields::default())?;
        let id = super::create(to.app, to.tx, &valid, to.by.also(Edit, Upstreams)?)?;
        Ok(id.get())
    },
    update: |to, id, entry| {
        let old = super::get(to.tx, Id::new(id))?;
        let valid = read(Input::of(PARAMS, entry), old.fields.clone())?;
        let changed = valid.fields != old.fields;
        if changed {
            super::update(to.app, to.tx, &old, &valid, to.by.also(Edit, Upstreams)?)?;
        }
        Ok(changed)
    },
    deploy: None,
};
