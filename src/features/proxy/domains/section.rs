//! Domains in the document of the house: servers, upstream, group and certificate stand there by their names.

use super::model::{PARAMS, read};
use super::{Choice, queries};
use crate::access::right::{Deploy, Domains, Edit};
use crate::base::error::{Kind, Result};
use crate::base::id::Id;
use crate::base::idn::DomainName;
use crate::db::Conn;
use crate::features::fleet::{groups, servers};
use crate::features::proxy::{certificates, upstreams};
use crate::form::Input;
use crate::section::{self, Entry, Section};
use serde_json::{Value, json};

pub const SECTION: Section = Section {
    name: "domains",
    one: "domain",
    place: 4,
    key: "domain",
    find: |conn, name| match DomainName::parse(name) {
        Ok(domain) => Ok(queries::by_name(conn, domain.ascii())?.map(|id| id.get())),
        // What is no domain name is refused with all other mistakes of its entry.
        Err(_) => Ok(None),
    },
    export,
    create: |to, entry| {
        let valid = read(Input::of(PARAMS, numbers(to.tx, entry)?), None)?;
        let id = super::create(to.app, to.tx, &valid, to.by.also(Edit, Domains)?)?;
        Ok(id.get())
    },
    update: |to, id, entry| {
        let entry = numbers(to.tx, entry)?;
        let old = super::get(to.tx, Id::new(id))?;
        let valid = read(Input::of(PARAMS, entry), Some(old.fields.clone()))?;
        let changed = valid.fields != old.fields;
        if changed {
            super::update(to.app, to.tx, &old, &valid, to.by.also(Edit, Domains)?)?;
        }
        Ok(changed)
    },
    deploy: Some(|to, id| {
        let by = to.by.also(Deploy, Domains)?;
        match super::deploy(to.app, to.tx, Id::new(id), &Choice::default(), by) {
            Ok(task) => Ok(Some(task)),
            // A domain without upstream or server is complete as a row; there is nothing to deploy yet.
            Err(e) if e.kind == Kind::Conflict && ["no_server", "no_upstream"].contains(&e.code) => Ok(None),
            Err(e) => Err(e),
        }
    }),
};

/// All but those that are being removed.
fn export(conn: &Conn) -> Result<Vec<Entry>> {
    let servers = servers::all(conn)?;
    let certificates = certificates::all(conn)?;
    let domains = super::all(conn)?.into_iter().filter(|d| !d.removing).map(|d| {
        let f = &d.fields;
        let on = |id| servers.iter().find(|s| s.id == id).map(|s| s.fields.name.as_str());
        let with = certificates.iter().find(|c| Some(c.id) == f.certificate_id);
        section::entry(json!({
            "domain": f.domain.unicode(), "servers": f.server_ids.iter().filter_map(|id| on(*id)).collect::<Vec<_>>(),
            "upstream": d.upstream, "group": d.group, "ssl": f.ssl, "hsts": f.hsts, "certificate": with.map(|c| &c.name),
            "ns_policy": f.ns_policy, "preflight": f.preflight.name(), "notes": f.notes,
        }))
    });
    Ok(domains.collect())
}

/// The fields of the form for an entry: numbers in place of names.
fn numbers(conn: &Conn, mut entry: Entry) -> Result<Entry> {
    link(&mut entry, "upstream", |name| {
        Ok(upstreams::by_name(conn, name)?.map(|id| id.get()))
    })?;
    link(&mut entry, "group", |name| {
        Ok(groups::by_name(conn, name)?.map(|id| id.get()))
    })?;
    link(&mut entry, "certificate", |name| {
        Ok(certificates::by_name(conn, name)?.map(|id| id.get()))
    })?;
    if let Some(Value::Array(names)) = entry.remove("servers") {
        let number = |name: &Value| {
            let name = name.as_str().unwrap_or_default();
            let id = servers::by_name(conn, name)?.ok_or_else(|| section::unknown("servers", name))?;
            Ok(id.get().into())
        };
        let ids: Result<Vec<Value>> = names.iter().map(number).collect();
        entry.insert("server_ids".into(), ids?.into());
    }
    Ok(entry)
}

/// `upstream` with a name is `upstream_id` with its number; nothing is nothing there too.
fn link(entry: &mut Entry, what: &str, find: impl Fn(&str) -> Result<Option<i64>>) -> Result<()> {
    let value = match entry.remove(what) {
        None => return Ok(()),
        Some(Value::String(name)) => find(&name)?
            .ok_or_else(|| section::unknown(&format!("{what}s"), &name))?
            .into(),
        Some(other) => other,
    };
    entry.insert(format!("{what}_id"), value);
    Ok(())
}
