//! `inventory` and `inventory-import`.

use crate::base::error::{Error, Kind, Result};
use crate::base::file;
use crate::base::text::percent_encode;
use crate::cli::{Command, Flag, Invocation, client, print, usage};
use crate::net::http::Method;
use serde_json::{Map, Value, json};
use std::io::Read;
use std::path::Path;

/// Bytes of a file that is read in, and of a key.
const FILE_MAX: u64 = 512 << 10;

const LIST: Flag = Flag {
    name: "list",
    value: "",
    help: "The whole inventory, as Ansible asks a script for it.",
};

/// See [`Command`].
pub const COMMANDS: &[Command] = &[
    Command {
        name: "inventory",
        help: "Print the fleet as an inventory: for Ansible (--list, --host), for ssh (--ssh-config, --known-hosts) or for Prometheus.",
        flags: &[
            LIST,
            Flag {
                name: "host",
                value: "NAME",
                help: "The variables of one host, as Ansible asks for them.",
            },
            Flag {
                name: "ssh-config",
                value: "",
                help: "Host blocks for ssh, which take only the accepted keys.",
            },
            Flag {
                name: "known-hosts",
                value: "",
                help: "The accepted keys.",
            },
            Flag {
                name: "known-hosts-file",
                value: "FILE",
                help: "With --ssh-config: where that file will be (~/.ssh/lamplighter_known_hosts).",
            },
            Flag {
                name: "prometheus-sd",
                value: "",
                help: "Targets, as Prometheus reads them by http_sd_configs or from a file.",
            },
            Flag {
                name: "port",
                value: "PORT",
                help: "With --prometheus-sd: where the exporter listens (9100).",
            },
            Flag {
                name: "tag",
                value: "TAG",
                help: "Only servers with this tag.",
            },
            Flag {
                name: "environment",
                value: "NAME",
                help: "Only servers of this environment.",
            },
            client::URL,
            client::TOKEN_FILE,
        ],
        run: inventory,
    },
    Command {
        name: "inventory-import",
        help: "Add the hosts of an inventory (ssh_config, Ansible INI or JSON, CSV) as servers.",
        flags: &[
            Flag {
                name: "file",
                value: "FILE",
                help: "The inventory (- is standard input).",
            },
            Flag {
                name: "format",
                value: "NAME",
                help: "ssh_config, ansible or csv; without it, it is looked at.",
            },
            Flag {
                name: "username",
                value: "NAME",
                help: "Whom to sign in as where the inventory does not say.",
            },
            Flag {
                name: "key-file",
                value: "FILE",
                help: "Private key for the login to all of them; without one, logins are given afterwards.",
            },
            Flag {
                name: "tag",
                value: "TAG",
                help: "A tag for all of them; may be given again.",
            },
            Flag {
                name: "plan",
                value: "",
                help: "Only show what would be added.",
            },
            Flag {
                name: "yes",
                value: "",
                help: "Add them.",
            },
            client::URL,
            client::TOKEN_FILE,
        ],
        run: import,
    },
];

fn inventory(asked: &Invocation) -> Result<u8> {
    let mut query = Vec::new();
    for (flag, param) in [
        ("tag", "tag"),
        ("environment", "environment"),
        ("port", "port"),
        ("known-hosts-file", "known_hosts"),
    ] {
        query.extend(
            asked
                .flag(flag)
                .map(|value| format!("{param}={}", percent_encode(value))),
        );
    }
    let get = |what: &str| asked.ask(Method::Get, &format!("/api/inventory/{what}?{}", query.join("&")), b"");
    let chosen = ["list", "host", "ssh-config", "known-hosts", "prometheus-sd"];
    let chosen: Vec<_> = chosen.into_iter().filter(|name| asked.flag(name).is_some()).collect();
    let answer = match chosen[..] {
        ["list"] => get("ansible")?,
        ["host"] => {
            let name = asked.flag("host").unwrap_or_default();
            let all: Value = serde_json::from_str(&get("ansible")?).map_err(Error::internal)?;
            let vars = all["_meta"]["hostvars"].get(name);
            // Ansible takes an empty object for a host that is not there.
            vars.cloned().unwrap_or_else(|| json!({})).to_string()
        }
        [what] => get(what)?,
        _ => {
            let say = "Say one of --list, --host NAME, --ssh-config, --known-hosts and --prometheus-sd.";
            return Err(usage(say));
        }
    };
    print(answer.trim_end());
    Ok(0)
}

fn import(asked: &Invocation) -> Result<u8> {
    let is_real = match (asked.flag("plan"), asked.flag("yes")) {
        (Some(_), None) => false,
        (None, Some(_)) => true,
        _ => return Err(usage("Say --plan to see what would be added, or --yes to add it.")),
    };
    let bytes = match asked.flag("file") {
        None => return Err(usage("Say which inventory: --file FILE (- is standard input).")),
        Some("-") => {
            let mut bytes = Vec::new();
            std::io::stdin().take(FILE_MAX + 1).read_to_end(&mut bytes)?;
            bytes
        }
        Some(path) => file::read_limited(Path::new(path), FILE_MAX)?,
    };
    let no_text = |_| Error::new(Kind::Malformed, "no_text", "The inventory is not text in UTF-8.");
    let mut body = Map::new();
    body.insert("text".into(), String::from_utf8(bytes).map_err(no_text)?.into());
    for name in ["format", "username"] {
        if let Some(value) = asked.flag(name) {
            body.insert(name.into(), value.into());
        }
    }
    body.insert("tags".into(), json!(asked.all("tag")));
    if let Some(path) = asked.flag("key-file") {
        let key = file::read_limited(Path::new(path), FILE_MAX)?;
        body.insert("ssh_key".into(), String::from_utf8(key).map_err(no_text)?.into());
    }
    let body = Value::Object(body).to_string();
    let answer = match is_real {
        true => asked.ask(Method::Post, "/api/inventory/import", body.as_bytes())?,
        false => asked.ask_without_change("/api/inventory/preview", body.as_bytes())?,
    };
    print(&match asked.json() {
        true => answer,
        false => told(&serde_json::from_str(&answer).map_err(Error::internal)?),
    });
    Ok(0)
}

/// For people.
fn told(plan: &Value) -> String {
    let word = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_string();
    let rows = plan["items"].as_array().map_or(&[][..], Vec::as_slice);
    let line = |row: &Value| {
        let port = row["port"].as_u64().unwrap_or_default();
        let at = format!("{}@{}:{port}", word(row, "username"), word(row, "host"));
        let reasons = row["reasons"].as_array().map_or(&[][..], Vec::as_slice);
        let why: Vec<String> = reasons.iter().map(|reason| word(reason, "message")).collect();
        format!(
            "{:<6} {:<24} {at:<40} {}\n",
            word(row, "state"),
            word(row, "name"),
            why.join(" ")
        )
    };
    let mut text: String = rows.iter().map(line).collect();
    let created = plan["created"].as_array().map_or(0, Vec::len);
    text.push_str(&format!("{} hosts, {} new, {created} added.", rows.len(), plan["new"]));
    text
}
