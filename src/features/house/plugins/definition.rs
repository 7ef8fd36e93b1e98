//! The definitions that there are. Each is built in; `exec` is the contract for programs of others, whose runner is not
//! there yet.

use crate::base::shape::described;
use serde::Serialize;

/// What a plugin is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// It knows hosts.
    Inventory,
    /// It knows secrets.
    Secrets,
    /// It does something.
    Automation,
}
described!(Purpose: "inventory", "secrets", "automation");

/// A kind of plugin.
#[derive(Debug)]
pub struct Definition {
    /// In the API and in the table.
    pub name: &'static str,
    /// What it is for.
    pub purpose: Purpose,
    /// The names of its settings; the required ones first.
    pub fields: &'static [&'static str],
    /// So many of them are required.
    pub required: usize,
    /// Has it a token?
    pub has_token: bool,
    /// Can it be asked? `false`: only its contract is there.
    pub runs: bool,
    /// What it is, for people.
    pub about: &'static str,
}

/// All of them.
pub const DEFINITIONS: &[Definition] = &[
    Definition {
        name: "json-url",
        purpose: Purpose::Inventory,
        fields: &["url"],
        required: 1,
        has_token: true,
        runs: true,
        about: "Hosts from an address that answers with JSON: an Ansible inventory (`_meta.hostvars`), or a list of objects with `name`. A token is sent as Bearer.",
    },
    Definition {
        name: "file",
        purpose: Purpose::Secrets,
        fields: &["path"],
        required: 1,
        has_token: false,
        runs: true,
        about: "Secrets from a file of this machine: a JSON object of names and texts, below the folder `plugins.folder`, readable by Lamplighter and writable by nobody else but root.",
    },
    Definition {
        name: "vault-kv",
        purpose: Purpose::Secrets,
        fields: &["url", "mount", "namespace"],
        required: 2,
        has_token: true,
        runs: true,
        about: "Secrets from OpenBao or HashiCorp Vault, KV version 2, by a token that may read them.",
    },
    Definition {
        name: "exec",
        purpose: Purpose::Automation,
        fields: &["program"],
        required: 1,
        has_token: false,
        runs: false,
        about: "A program below `plugins.folder`, owned by root. It will get one JSON object on stdin ({\"version\":1,\"op\":\"…\",\"config\":{…}}) and answer with one on stdout ({\"ok\":true,…} or {\"ok\":false,\"error\":\"…\"}), within 30 s and 1 MiB, without this program's environment. Its runner, as a user of its own, is not there yet: an instance can be kept, but not asked.",
    },
];

/// The definition of this name.
pub fn of(name: &str) -> Option<&'static Definition> {
    DEFINITIONS.iter().find(|definition| definition.name == name)
}
