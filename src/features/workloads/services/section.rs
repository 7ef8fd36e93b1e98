//! Services in the document of the house: settings of the kind stand beside the others, the server and the services that it
//! waits for by their names.

use super::kinds::Place;
use super::model::PARAMS;
use super::queries::{self, Service};
use crate::access::right::{Edit, Services};
use crate::base::error::{Error, Result};
use crate::base::id::Id;
use crate::db::Conn;
use crate::features::fleet::servers;
use crate::form::Input;
use crate::section::{self, Entry, Section};
use serde_json::{Value, json};
use std::collections::HashMap;

pub const SECTION: Section = Section {
    name: "services",
    one: "service",
    place: 5,
    key: "name",
    find: |conn, name| Ok(queries::by_name(conn, name)?.map(|s| s.id.get())),
    export: |conn| {
        let all = queries::all(conn)?;
        let names: HashMap<i64, &str> = all.iter().map(|s| (s.id.get(), s.fields.name.as_str())).collect();
        Ok(in_order(&all).into_iter().map(|s| entry(s, &names)).collect())
    },
    create: |to, entry| {
        let input = Input::of(PARAMS, numbered(to.tx, entry)?);
        let id = super::create(to.app, to.tx, input, to.by.also(Edit, Services)?)?;
        Ok(id.get())
    },
    update: |to, id, entry| {
        let old = queries::get(to.tx, Id::new(id))?.ok_or_else(|| Error::not_found("service"))?;
        let given = numbered(to.tx, entry)?;
        let valid = super::read(to.app, to.tx, Input::of(PARAMS, given.clone()), Some(&old))?;
        let new = Service {
            fields: valid.fields,
            ..old.clone()
        };
        let names = HashMap::new();
        let changed = self::entry(&new, &names) != self::entry(&old, &names)
            || (new.fields.server, &new.fields.after) != (old.fields.server, &old.fields.after);
        if changed {
            super::update(
                to.app,
                to.tx,
                old.id,
                Input::of(PARAMS, given),
                to.by.also(Edit, Services)?,
            )?;
        }
        Ok(changed)
    },
    deploy: None,
};

/// Those that others wait for come first; where they wait for each other, as they are.
fn in_order(all: &[Service]) -> Vec<&Service> {
    let mut left: Vec<&Service> = all.iter().collect();
    let mut out: Vec<&Service> = Vec::new();
    while !left.is_empty() {
        let is_ready = |s: &&Service| {
            !s.fields
                .after
                .iter()
                .any(|id| left.iter().any(|other| other.id.get() == *id))
        };
        let (mut ready, rest): (Vec<&Service>, Vec<&Service>) = left.iter().partition(|s| is_ready(s));
        if ready.is_empty() {
            out.extend(rest);
            break;
        }
        out.append(&mut ready);
        left = rest;
    }
    out
}

fn entry(s: &Service, names: &HashMap<i64, &str>) -> Entry {
    let f = &s.fields;
    let mut out = section::entry(json!({
        "name": f.name, "kind": f.kind.name, "enabled": f.enabled, "tags": f.tags, "notes": f.notes,
        "interval_s": f.interval_s, "up_after": f.up_after, "down_after": f.down_after,
    }));
    if f.kind.place != Place::Nowhere {
        out.insert(
            "server".into(),
            Some(s.server_name.as_str()).filter(|name| !name.is_empty()).into(),
        );
    }
    if f.kind.acts {
        let after: Vec<&str> = f.after.iter().filter_map(|id| names.get(id).copied()).collect();
        out.extend(section::entry(json!({
            "restart_policy": f.restart_policy, "max_restarts": f.max_restarts, "window_s": f.window_s, "delay_s": f.delay_s,
            "after": after,
        })));
    }
    let own = f
        .config
        .iter()
        .filter(|(name, _)| f.kind.fields.contains(&name.as_str()));
    out.extend(own.map(|(name, value)| (name.clone(), value.clone())));
    out
}

/// The entry as the API takes it: numbers instead of names.
fn numbered(conn: &Conn, mut entry: Entry) -> Result<Entry> {
    match entry.remove("server") {
        Some(Value::String(name)) => {
            let id = servers::by_name(conn, &name)?.ok_or_else(|| section::unknown("servers", &name))?;
            entry.insert("server_id".into(), id.get().into());
        }
        Some(other) => drop(entry.insert("server_id".into(), other)),
        None => {}
    }
    if let Some(Value::Array(names)) = entry.remove("after") {
        let one = |name: &Value| {
            let name = name.as_str().unwrap_or_default();
            let found = queries::by_name(conn, name)?.ok_or_else(|| section::unknown("services", name))?;
            Ok(found.id.get())
        };
        let ids: Result<Vec<i64>> = names.iter().map(one).collect();
        entry.insert("after".into(), ids?.into());
    }
    Ok(entry)
}
