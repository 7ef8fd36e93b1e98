//! The fleet in the words of other programs. Pure: rows in, text out. Nothing that a server says of itself goes out: Ansible
//! would run what stands in braces there.

use crate::base::host::Host;
use crate::features::fleet::servers::{HostKeyState, Server};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What Ansible asks an inventory script for with `--list`: groups by tag, environment and group of hosts. `groups` names
/// them with the ids of their servers.
pub fn ansible(servers: &[Server], groups: &[(String, Vec<i64>)]) -> Map<String, Value> {
    let mut members: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let (mut vars, mut alone) = (Map::new(), BTreeSet::new());
    for server in servers {
        let f = &server.fields;
        let mut of = |group: String| {
            members.entry(group).or_default().insert(&f.name);
        };
        f.tags.iter().for_each(|tag| of(format!("tag_{}", word(tag))));
        if !f.environment.is_empty() {
            of(format!("env_{}", word(&f.environment)));
        }
        let mine = groups.iter().filter(|(_, ids)| ids.contains(&server.id.get()));
        mine.for_each(|(name, _)| of(format!("group_{}", word(name))));
        if !members.values().any(|names| names.contains(f.name.as_str())) {
            alone.insert(f.name.as_str());
        }
        vars.insert(f.name.clone(), host_vars(server));
    }
    let mut out = Map::new();
    out.insert("_meta".into(), json!({ "hostvars": vars }));
    let children: Vec<&str> = members.keys().map(String::as_str).chain(["ungrouped"]).collect();
    out.insert("all".into(), json!({ "children": children }));
    out.insert("ungrouped".into(), json!({ "hosts": alone }));
    out.extend(
        members
            .iter()
            .map(|(group, names)| (group.clone(), json!({ "hosts": names }))),
    );
    out
}

fn host_vars(server: &Server) -> Value {
    let f = &server.fields;
    // Ansible fills in what stands in braces.
    let plain = |text: &&String| !text.contains("{{") && !text.contains("{%") && !text.contains("{#");
    json!({
        "ansible_host": f.host, "ansible_port": f.ssh_port, "ansible_user": f.username,
        "lamplighter_id": server.id, "lamplighter_tags": f.tags.iter().filter(plain).collect::<Vec<_>>(),
        "lamplighter_environment": Some(&f.environment).filter(plain), "lamplighter_os_type": Some(&f.os_type).filter(plain),
    })
}

/// A name that Ansible takes for a group: letters, digits and underscores.
fn word(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_alphanumeric() { c } else { '_' })
        .collect()
}

/// `Host` blocks that take only the accepted keys, which stand in `known_hosts`.
pub fn ssh_config(servers: &[Server], known_hosts: &str) -> String {
    let mut out =
        String::from("# Made by Lamplighter. In ~/.ssh/config, above everything else: Include lamplighter.conf\n");
    let mut taken = BTreeSet::new();
    for server in servers.iter().filter(|server| is_pinned(server)) {
        let f = &server.fields;
        let alias = alias(&f.name);
        let alias = match taken.insert(alias.clone()) {
            true => alias,
            false => format!("{alias}-{}", server.id),
        };
        let quoted = match known_hosts.contains(char::is_whitespace) {
            true => format!("\"{known_hosts}\""),
            false => known_hosts.to_string(),
        };
        out.push_str(&format!(
            "\nHost {alias}\n    HostName {}\n    Port {}\n    User {}\n    HostKeyAlias {}\n    UserKnownHostsFile {quoted}\n    StrictHostKeyChecking yes\n",
            f.host, f.ssh_port, f.username, key_alias(server)
        ));
    }
    out
}

/// The accepted keys, by the aliases in [`ssh_config`] and by address.
pub fn known_hosts(servers: &[Server]) -> String {
    let mut out = String::new();
    for server in servers.iter().filter(|server| is_pinned(server)) {
        let f = &server.fields;
        let address = match f.ssh_port {
            22 => f.host.clone(),
            port => format!("[{}]:{port}", f.host),
        };
        for key in server.host_key.lines().filter(|line| !line.trim().is_empty()) {
            out.push_str(&format!("{},{address} {}\n", key_alias(server), key.trim()));
        }
    }
    out
}

fn is_pinned(server: &Server) -> bool {
    server.host_key_state == HostKeyState::Pinned && !server.host_key.is_empty()
}

/// What a key is known by, whatever the address.
fn key_alias(server: &Server) -> String {
    format!("lamplighter-{}", server.id)
}

/// A name that ssh takes for one host: no spaces, no pattern.
fn alias(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || ['-', '_', '.'].contains(&c);
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '-' }).collect();
    plain.trim_start_matches('-').to_string()
}

/// The targets and labels of one server for Prometheus' HTTP service discovery.
pub fn prometheus(server: &Server, port: u16) -> (String, BTreeMap<&'static str, String>) {
    let f = &server.fields;
    let host = Host::parse(&f.host).map_or_else(|_| f.host.clone(), |host| host.in_url());
    // Between commas, so that ,web, is found with a simple expression.
    let tags = f.tags.iter().fold(String::from(","), |all, tag| format!("{all}{tag},"));
    let labels = [
        ("__meta_lamplighter_id", server.id.to_string()),
        ("__meta_lamplighter_name", f.name.clone()),
        ("__meta_lamplighter_environment", f.environment.clone()),
        ("__meta_lamplighter_os_type", f.os_type.clone()),
        ("__meta_lamplighter_state", server.state.name().into()),
        ("__meta_lamplighter_tags", tags),
    ];
    (format!("{host}:{port}"), labels.into_iter().collect())
}
