//! Servers in the document of the house: without their secrets, which are given afterwards.

use super::model::{PARAMS, read_entry};
use super::{Fields, queries};
use crate::access::right::{Edit, Servers};
use crate::base::id::Id;
use crate::form::Input;
use crate::section::{self, Entry, Section};
use serde_json::json;

pub const SECTION: Section = Section {
    name: "servers",
    one: "server",
    place: 1,
    key: "name",
    find: |conn, name| Ok(queries::by_name(conn, name)?.map(|id| id.get())),
    export: |conn| {
        let servers = super::all(conn)?;
        Ok(servers.iter().map(|s| entry(&s.fields, &s.host_key)).collect())
    },
    create: |to, entry| {
        let valid = read_entry(Input::of(PARAMS, entry), super::fresh(to.tx)?, None)?;
        let id = super::create(to.app, to.tx, &valid, to.by.also(Edit, Servers)?)?;
        Ok(id.get())
    },
    update: |to, id, said| {
        let old = super::get(to.tx, Id::new(id))?;
        let mut valid = read_entry(
            Input::of(PARAMS, said),
            old.fields.clone(),
            Some((&old.fields, old.has)),
        )?;
        if valid.host_key.as_ref() == Some(&old.host_key) {
            valid.host_key = None;
        }
        if valid.host_key.is_none() && entry(&valid.fields, "") == entry(&old.fields, "") {
            return Ok(false);
        }
        super::update(to.app, to.tx, &old, &valid, to.by.also(Edit, Servers)?)?;
        Ok(true)
    },
    deploy: None,
};

/// Its host key is public, and whoever reads it in need not look again.
fn entry(f: &Fields, host_key: &str) -> Entry {
    let mut entry = section::entry(json!({
        "name": f.name, "host": f.host, "ssh_port": f.ssh_port, "username": f.username, "auth_type": f.auth_type.name(),
        "description": f.description, "tags": f.tags, "public_ips": f.public_ips,
        "glances_scheme": f.glances_scheme, "glances_host": f.glances_host, "glances_port": f.glances_port,
        "glances_path": f.glances_path, "glances_auth_type": f.glances_auth_type,
        "glances_username": f.glances_username, "glances_tls_pin": f.glances_tls_pin,
        "glances_allow": f.glances_allow, "glances_bind": f.glances_bind, "packages": f.packages, "poll_interval_s": f.poll_interval_s,
        "environment": f.environment, "os_type": f.os_type, "check_method": f.check_method,
        "containers": f.containers,
    }));
    if !host_key.is_empty() {
        entry.insert("host_key".into(), host_key.into());
    }
    entry
}
