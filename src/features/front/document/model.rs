//! The document, and how one entry of it becomes a row. Rows are known by their names; every entry passes the same checks
//! as a form.

use crate::access::Allowed;
use crate::access::right::{self, Domains, Edit, Groups, Servers, Upstreams};
use crate::app::App;
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::base::idn::DomainName;
use crate::base::shape::described;
use crate::base::text;
use crate::db::{Conn, Tx};
use crate::features::fleet::groups;
use crate::features::fleet::servers;
use crate::features::proxy::certificates;
use crate::features::proxy::domains;
use crate::features::proxy::upstreams;
use crate::form::Input;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// What this version writes and reads.
pub const VERSION: u32 = 1;
/// Entries of one document.
const ENTRIES_MAX: usize = 20_000;

type Entries = Vec<Map<String, Value>>;

described! {
    /// A fleet. Unknown sections are refused: they are typing mistakes or belong to a newer version.
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Document {
        /// [`VERSION`].
        lamplighter: u32,
        #[serde(default)]
        servers: Entries,
        #[serde(default)]
        upstreams: Entries,
        #[serde(default)]
        groups: Entries,
        #[serde(default)]
        domains: Entries,
    }
}

impl Document {
    /// Reads JSON text.
    pub fn parse(text: &[u8]) -> Result<Document> {
        let wrong = |say: String| Error::new(Kind::Malformed, "bad_document", say);
        let document: Document = serde_json::from_slice(text).map_err(|e| {
            wrong(format!(
                "This is no document of a fleet: {e}. “lamplighter export” writes one."
            ))
        })?;
        if document.lamplighter != VERSION {
            let say = format!(
                "This document is of version {}; this program reads version {VERSION}.",
                document.lamplighter
            );
            return Err(wrong(say));
        }
        if document.rows() > ENTRIES_MAX {
            return Err(wrong(format!(
                "{} entries are too many: {ENTRIES_MAX} at most.",
                document.rows()
            )));
        }
        Ok(document)
    }

    /// How many entries it has.
    pub fn rows(&self) -> usize {
        self.servers.len() + self.upstreams.len() + self.groups.len() + self.domains.len()
    }

    /// All entries; what others refer to comes first.
    pub fn entries(self) -> impl Iterator<Item = Entry> {
        let of = |what: What| move |(n, fields)| Entry { what, n, fields };
        let servers = self.servers.into_iter().enumerate().map(of(What::Server));
        let upstreams = self.upstreams.into_iter().enumerate().map(of(What::Upstream));
        let groups = self.groups.into_iter().enumerate().map(of(What::Group));
        let domains = self.domains.into_iter().enumerate().map(of(What::Domain));
        servers.chain(upstreams).chain(groups).chain(domains)
    }
}

/// Kinds of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// In `servers`.
    Server,
    /// In `upstreams`.
    Upstream,
    /// In `groups`.
    Group,
    /// In `domains`.
    Domain,
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(["server", "upstream", "group", "domain"][*self as usize])
    }
}

/// One entry of a document.
#[derive(Debug)]
pub struct Entry {
    /// Its section.
    pub what: What,
    n: usize,
    fields: Map<String, Value>,
}

impl Entry {
    /// As it is named, for people.
    pub fn name(&self) -> String {
        let field = match self.what {
            What::Domain => "domain",
            _ => "name",
        };
        let name = self.fields.get(field).and_then(Value::as_str).unwrap_or_default();
        text::one_line(name, 100)
    }

    /// Says where in the document a mistake is.
    pub fn explain(&self, e: Error) -> Error {
        let place = format!("{}s[{}] “{}”", self.what, self.n, self.name());
        let mut said: Vec<String> = e.fields.iter().map(|f| format!("{}: {}", f.field, f.message)).collect();
        if said.is_empty() {
            said.push(e.say.clone());
        }
        Error {
            say: format!("{place}: {}", said.join(" ")),
            ..e
        }
    }
}

/// What came of an entry; with the number when it is a domain.
pub enum Done {
    /// A new row.
    Created(Option<Id<id::Domain>>),
    /// Another row than before.
    Changed(Option<Id<id::Domain>>),
    /// As it was.
    Same,
}

/// Names of what is there, so that entries find it. Names are compared without their case, as the tables do.
pub struct Names {
    servers: HashMap<String, Id<id::Server>>,
    upstreams: HashMap<String, Id<id::Upstream>>,
    groups: HashMap<String, Id<id::Group>>,
    certificates: HashMap<String, Id<id::Certificate>>,
    domains: HashMap<String, Id<id::Domain>>,
}

fn folded(name: &str) -> String {
    name.to_ascii_lowercase()
}

impl Names {
    /// Reads them all.
    pub fn load(conn: &Conn) -> Result<Names> {
        let certificates = certificates::all(conn)?;
        Ok(Names {
            servers: servers::all(conn)?
                .iter()
                .map(|s| (folded(&s.fields.name), s.id))
                .collect(),
            upstreams: upstreams::all(conn)?
                .iter()
                .map(|u| (folded(&u.fields.name), u.id))
                .collect(),
            groups: groups::of_domains(conn)?
                .iter()
                .map(|g| (folded(&g.fields.name), g.id))
                .collect(),
            certificates: certificates.iter().map(|c| (folded(&c.name), c.id)).collect(),
            domains: domains::all(conn)?
                .iter()
                .map(|d| (d.fields.domain.ascii().to_string(), d.id))
                .collect(),
        })
    }

    /// Makes the row of an entry, or makes it as the entry says.
    pub fn put(&mut self, app: &App, tx: &Tx, entry: &Entry, by: Allowed<Edit, right::Document>) -> Result<Done> {
        let input = |params| Input::of(params, entry.fields.clone());
        match entry.what {
            What::Server => self.put_server(app, tx, &entry.name(), input(servers::PARAMS), by),
            What::Upstream => self.put_upstream(app, tx, &entry.name(), input(upstreams::PARAMS), by),
            What::Group => self.put_group(app, tx, &entry.name(), input(groups::PARAMS), by),
            What::Domain => self.put_domain(app, tx, entry, by),
        }
    }

    fn put_server(
        &mut self,
        app: &App,
        tx: &Tx,
        name: &str,
        input: Input,
        by: Allowed<Edit, right::Document>,
    ) -> Result<Done> {
        let Some(id) = self.servers.get(&folded(name)) else {
            let valid = servers::read_entry(input, servers::fresh(tx)?, None)?;
            let id = servers::create(app, tx, &valid, by.also(Edit, Servers)?)?;
            self.servers.insert(folded(&valid.fields.name), id);
            return Ok(Done::Created(None));
        };
        let old = servers::get(tx, *id)?;
        let mut valid = servers::read_entry(input, old.fields.clone(), Some((&old.fields, old.has)))?;
        if valid.host_key.as_ref() == Some(&old.host_key) {
            valid.host_key = None;
        }
        if server_entry(&old.fields, &old.host_key) == server_entry(&valid.fields, &old.host_key)
            && valid.host_key.is_none()
        {
            return Ok(Done::Same);
        }
        servers::update(app, tx, &old, &valid, by.also(Edit, Servers)?)?;
        Ok(Done::Changed(None))
    }

    fn put_upstream(
        &mut self,
        app: &App,
        tx: &Tx,
        name: &str,
        input: Input,
        by: Allowed<Edit, right::Document>,
    ) -> Result<Done> {
        let Some(id) = self.upstreams.get(&folded(name)) else {
            let valid = upstreams::read(input, upstreams::Fields::default())?;
            let id = upstreams::create(app, tx, &valid, by.also(Edit, Upstreams)?)?;
            self.upstreams.insert(folded(&valid.fields.name), id);
            return Ok(Done::Created(None));
        };
        let old = upstreams::get(tx, *id)?;
        let valid = upstreams::read(input, old.fields.clone())?;
        if valid.fields == old.fields {
            return Ok(Done::Same);
        }
        upstreams::update(app, tx, &old, &valid, by.also(Edit, Upstreams)?)?;
        Ok(Done::Changed(None))
    }

    fn put_group(
        &mut self,
        app: &App,
        tx: &Tx,
        name: &str,
        input: Input,
        by: Allowed<Edit, right::Document>,
    ) -> Result<Done> {
        let Some(id) = self.groups.get(&folded(name)) else {
            let valid = groups::read(input, groups::Fields::default(), true)?;
            let id = groups::create(app, tx, &valid, by.also(Edit, Groups)?)?;
            self.groups.insert(folded(&valid.fields.name), id);
            return Ok(Done::Created(None));
        };
        let old = groups::get(tx, *id)?;
        let valid = groups::read(input, old.fields.clone(), false)?;
        if valid.fields == old.fields {
            return Ok(Done::Same);
        }
        groups::update(app, tx, &old, &valid, by.also(Edit, Groups)?)?;
        Ok(Done::Changed(None))
    }

    fn put_domain(&mut self, app: &App, tx: &Tx, entry: &Entry, by: Allowed<Edit, right::Document>) -> Result<Done> {
        let mut fields = entry.fields.clone();
        link(&mut fields, "upstream", "upstream_id", |name| {
            self.upstreams.get(name).map(|id| id.get())
        })?;
        link(&mut fields, "group", "group_id", |name| {
            self.groups.get(name).map(|id| id.get())
        })?;
        link(&mut fields, "certificate", "certificate_id", |name| {
            self.certificates.get(name).map(|id| id.get())
        })?;
        if let Some(Value::Array(list)) = fields.remove("servers") {
            let ids: Result<Vec<Value>> = list.iter().map(|name| self.server(name)).collect();
            fields.insert("server_ids".into(), ids?.into());
        }
        let name = DomainName::parse(&entry.name())
            .map(|d| d.ascii().to_string())
            .unwrap_or_default();
        let Some(id) = self.domains.get(&name) else {
            let valid = domains::read(Input::of(domains::PARAMS, fields), None)?;
            let id = domains::create(app, tx, &valid, by.also(Edit, Domains)?)?;
            self.domains.insert(name, id);
            return Ok(Done::Created(Some(id)));
        };
        let old = domains::get(tx, *id)?;
        let valid = domains::read(Input::of(domains::PARAMS, fields), Some(old.fields.clone()))?;
        if valid.fields == old.fields {
            return Ok(Done::Same);
        }
        domains::update(app, tx, &old, &valid, by.also(Edit, Domains)?)?;
        Ok(Done::Changed(Some(old.id)))
    }

    fn server(&self, name: &Value) -> Result<Value> {
        let name = name.as_str().unwrap_or_default();
        let id = self
            .servers
            .get(&folded(name))
            .ok_or_else(|| unknown("servers", name))?;
        Ok(id.get().into())
    }
}

fn unknown(section: &str, name: &str) -> Error {
    let say = format!(
        "There is no “{}” here or among this document's {section}.",
        text::one_line(name, 100)
    );
    Error::new(Kind::Malformed, "unknown_name", say)
}

/// A name in the document is a number in the form.
fn link(
    fields: &mut Map<String, Value>,
    field: &'static str,
    form: &str,
    find: impl Fn(&str) -> Option<i64>,
) -> Result<()> {
    let value = match fields.remove(field) {
        None => return Ok(()),
        Some(Value::String(name)) => find(&folded(&name))
            .ok_or_else(|| unknown(&format!("{field}s"), &name))?
            .into(),
        Some(Value::Null) => Value::Null,
        Some(other) => other,
    };
    fields.insert(form.into(), value);
    Ok(())
}

/// The fleet as it is.
pub fn read_all(conn: &Conn) -> Result<Document> {
    let servers = servers::all(conn)?;
    let named = |id: &Id<id::Server>| servers.iter().find(|s| s.id == *id).map(|s| s.fields.name.as_str());
    let certificates = certificates::all(conn)?;
    let domains = domains::all(conn)?.into_iter().filter(|d| !d.removing).map(|d| {
        let f = &d.fields;
        let certificate = certificates
            .iter()
            .find(|c| Some(c.id) == f.certificate_id)
            .map(|c| &c.name);
        object(json!({
            "domain": f.domain.unicode(), "servers": f.server_ids.iter().filter_map(named).collect::<Vec<_>>(),
            "upstream": d.upstream, "group": d.group, "ssl": f.ssl, "hsts": f.hsts, "certificate": certificate,
            "ns_policy": f.ns_policy, "preflight": f.preflight.name(), "notes": f.notes,
        }))
    });
    Ok(Document {
        lamplighter: VERSION,
        domains: domains.collect(),
        upstreams: upstreams::all(conn)?
            .iter()
            .map(|u| object(json!({ "name": u.fields.name, "targets": u.fields.targets, "notes": u.fields.notes })))
            .collect(),
        groups: groups::of_domains(conn)?
            .iter()
            .map(|g| object(json!({ "name": g.fields.name, "notes": g.fields.notes })))
            .collect(),
        servers: servers.iter().map(|s| server_entry(&s.fields, &s.host_key)).collect(),
    })
}

/// A server without its secrets. (Its host key is public, and whoever reads it in need not look again.)
fn server_entry(f: &servers::Fields, host_key: &str) -> Map<String, Value> {
    let mut entry = object(json!({
        "name": f.name, "host": f.host, "ssh_port": f.ssh_port, "username": f.username, "auth_type": f.auth_type.name(),
        "description": f.description, "tags": f.tags, "public_ips": f.public_ips,
        "glances_scheme": f.glances_scheme, "glances_host": f.glances_host, "glances_port": f.glances_port,
        "glances_path": f.glances_path, "glances_auth_type": f.glances_auth_type,
        "glances_username": f.glances_username, "glances_tls_pin": f.glances_tls_pin,
        "glances_allow": f.glances_allow, "glances_bind": f.glances_bind, "poll_interval_s": f.poll_interval_s,
    }));
    if !host_key.is_empty() {
        entry.insert("host_key".into(), host_key.into());
    }
    entry
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
