//! Plugins are asked: for hosts, or for one secret. Whatever answers is a stranger: bounded in time and size, and only where
//! an administrator lets plugins go (`plugins.networks` beside the Internet; never metadata or link-local addresses).

use super::settings::{FOLDER, NETWORKS};
use super::{Plugin, token};
use crate::app::App;
use crate::base::clock::{self, Duration};
use crate::base::error::{Error, Kind, Result};
use crate::base::host::Cidr;
use crate::base::secret::Secret;
use crate::base::text::{self, percent_encode};
use crate::base::url::Url;
use crate::net::dial::{Call, Security};
use crate::net::http::{self, EXCUSE_MAX, Method, Request, Route};
use crate::net::policy::{Opened, Policy};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Limit of one question.
const ASK_MAX: Duration = Duration::from_secs(15);
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Largest answer.
const ANSWER_MAX: usize = 4 << 20;
/// Largest file of secrets.
const FILE_MAX: u64 = 1 << 20;
/// Most hosts of an inventory.
const HOSTS_MAX: usize = 10_000;

fn upstream(say: String) -> Error {
    Error::new(Kind::Upstream, "plugin_answer", say)
}

/// The names of an inventory's hosts, in order.
pub fn hosts(app: &App, plugin: &Plugin) -> Result<Vec<String>> {
    Ok(inventory(app, plugin)?.0)
}

/// The names of an inventory's hosts, and what was answered.
pub fn inventory(app: &App, plugin: &Plugin) -> Result<(Vec<String>, Value)> {
    let answer = get(app, plugin, plugin.text("url"), "", "authorization")?;
    let names = names(&answer).ok_or_else(|| {
        upstream("It answers with JSON that is neither an Ansible inventory (_meta.hostvars) nor a list of objects with a name.".into())
    })?;
    match names.len() > HOSTS_MAX {
        true => Err(upstream(format!(
            "It names {} hosts; at most {HOSTS_MAX} are taken.",
            names.len()
        ))),
        false => Ok((names, answer)),
    }
}

/// A list of hosts as the Ansible inventory that it would be; what is one stays as it is.
pub fn as_ansible(answer: Value) -> Value {
    let Value::Array(items) = answer else { return answer };
    let mut hosts = Map::new();
    for item in items {
        let text = |keys: &[&str]| {
            let found = keys.iter().find_map(|key| item.get(key));
            found.filter(|value| value.is_string() || value.is_number()).cloned()
        };
        let name = match &item {
            Value::String(name) => Some(name.clone()),
            _ => text(&["name", "hostname"]).and_then(|name| name.as_str().map(String::from)),
        };
        let Some(name) = name else { continue };
        let vars = [
            ("ansible_host", text(&["host", "address", "ip"])),
            ("ansible_port", text(&["port"])),
            ("ansible_user", text(&["username", "user"])),
            ("environment", text(&["environment"])),
        ];
        let vars = vars
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_string(), value?)));
        hosts.insert(name, Value::Object(vars.collect()));
    }
    serde_json::json!({ "_meta": { "hostvars": hosts }, "all": { "hosts": [] } })
}

fn names(answer: &Value) -> Option<Vec<String>> {
    let name = |item: &Value| match item {
        Value::String(name) => Some(name.clone()),
        item => ["name", "hostname"]
            .iter()
            .find_map(|key| item.get(key)?.as_str().map(String::from)),
    };
    let mut names: Vec<String> = match answer {
        Value::Array(items) => items.iter().map(name).collect::<Option<_>>()?,
        Value::Object(all) => {
            let vars = all.get("_meta")?.get("hostvars")?.as_object()?;
            vars.keys().cloned().collect()
        }
        _ => return None,
    };
    names.sort();
    names.dedup();
    Some(names)
}

/// One secret, by `path#key`, or in a file by `key`. Errors: `plugin_answer`, those of the connection.
pub fn secret(app: &App, plugin: &Plugin, what: &str) -> Result<Secret> {
    let (path, key) = what.rsplit_once('#').unwrap_or(("", what));
    let missing = || upstream(format!("It has no “{}”.", text::one_line(what, 100)));
    let value = match plugin.definition.name {
        "file" => from_file(app, plugin)?.get(key).cloned().ok_or_else(missing)?,
        _ => {
            // https://openbao.org/api-docs/secret/kv/kv-v2/#read-secret-version
            let path: Vec<String> = path
                .split('/')
                .filter(|part| !part.is_empty())
                .map(percent_encode)
                .collect();
            let below = format!("/v1/{}/data/{}", plugin.text("mount").trim_matches('/'), path.join("/"));
            let mut answer = get(app, plugin, plugin.text("url"), &below, "x-vault-token")?;
            answer
                .pointer_mut("/data/data")
                .and_then(|data| data.get_mut(key))
                .map(Value::take)
                .ok_or_else(missing)?
        }
    };
    match value {
        Value::String(text) => Ok(Secret::new(text)),
        _ => Err(upstream(format!("“{}” is no text.", text::one_line(what, 100)))),
    }
}

/// Does its token open anything? For a test without a name.
pub fn token_works(app: &App, plugin: &Plugin) -> Result<String> {
    match plugin.definition.name {
        "file" => Ok(format!("The file has {} secrets.", from_file(app, plugin)?.len())),
        _ => {
            let answer = get(
                app,
                plugin,
                plugin.text("url"),
                "/v1/auth/token/lookup-self",
                "x-vault-token",
            )?;
            let left = answer["data"]["ttl"].as_i64().unwrap_or_default();
            Ok(match left {
                0 => "The token is good and does not end.".into(),
                left => format!("The token is good for another {left} s."),
            })
        }
    }
}

fn policy(app: &App) -> Result<Policy> {
    let text = app.db.read(|conn| NETWORKS.text(conn))?;
    let mut opened = Opened::default();
    for (slot, block) in opened.iter_mut().zip(text.split_whitespace()) {
        *slot = Cidr::parse(block).ok();
    }
    Ok(Policy::PublicAnd(opened))
}

/// Asks for JSON. The token is in this header.
fn get(app: &App, plugin: &Plugin, base: &str, below: &str, header: &str) -> Result<Value> {
    let url = Url::parse(base).map_err(upstream)?;
    let token = app.db.read(|conn| token(app, conn, plugin.id))?;
    let policy = policy(app)?;
    let call = Call {
        host: &url.host,
        port: url.port,
        security: if url.tls { Security::Tls } else { Security::Plain },
        policy,
        connect_max: CONNECT_MAX,
        until: clock::mono() + ASK_MAX,
    };
    let mut headers = Vec::new();
    if let Some(token) = &token {
        let shown = token.reveal_text_for("the header of a plugin");
        let value = if header == "authorization" {
            format!("Bearer {shown}")
        } else {
            shown.to_string()
        };
        headers.push((header, value));
    }
    if !plugin.text("namespace").is_empty() {
        headers.push(("x-vault-namespace", plugin.text("namespace").into()));
    }
    let path = if below.is_empty() {
        url.path.clone()
    } else {
        format!("{}{below}", url.path.trim_end_matches('/'))
    };
    let request = Request {
        method: Method::Get,
        path: &Secret::new(path),
        content_type: "application/json",
        headers: &headers,
        body: b"",
        route: Route::Direct,
    };
    let answer = http::send(&call, &request, ANSWER_MAX);
    let wiped = headers.into_iter().map(|(_, value)| Secret::new(value));
    drop(wiped.collect::<Vec<_>>());
    let answer = answer?;
    if let Some(fault) = answer.fault {
        return Err(fault);
    }
    let body = Secret::new(answer.body); // wiped when it is read
    let bytes = body.reveal_for("a plugin's answer");
    if answer.status != 200 {
        let said = text::one_line(&String::from_utf8_lossy(&bytes[..bytes.len().min(EXCUSE_MAX)]), 200);
        return Err(upstream(format!(
            "{} answers with status {}: {said}",
            url.host.in_url(),
            answer.status
        )));
    }
    serde_json::from_slice(bytes).map_err(|_| upstream(format!("{} answers, but not with JSON.", url.host.in_url())))
}

/// The names and values of a file. It must be below the folder for plugins as it really lies, and nobody but root and we may
/// have written it.
fn from_file(app: &App, plugin: &Plugin) -> Result<serde_json::Map<String, Value>> {
    let folder = app.db.read(|conn| FOLDER.text(conn))?;
    let path = plugin.text("path");
    let bad = |say: &str| upstream(format!("{path}: {say}"));
    let seen = |e: std::io::Error| bad(&e.to_string());
    let folder = Path::new(&folder)
        .canonicalize()
        .map_err(|e| upstream(format!("{folder}: {e}")))?;
    let real = Path::new(path).canonicalize().map_err(seen)?;
    if !real.starts_with(&folder) {
        return Err(bad(&format!("it lies outside of {}.", folder.display())));
    }
    let mut file = File::open(&real).map_err(seen)?;
    let about = file.metadata().map_err(seen)?;
    let ours = crate::base::sys::uid();
    if !about.is_file() || about.mode() & 0o022 != 0 || ![0, ours].contains(&about.uid()) {
        return Err(bad(
            "it must be a file that only root, or Lamplighter's own user, may write.",
        ));
    }
    if about.len() > FILE_MAX {
        return Err(bad("it is longer than 1 MiB."));
    }
    let mut bytes = Vec::new();
    (&mut file).take(FILE_MAX).read_to_end(&mut bytes).map_err(seen)?;
    let bytes = Secret::new(bytes);
    serde_json::from_slice(bytes.reveal_for("a file of secrets")).map_err(|_| bad("it is no JSON object."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_inventory_is_read_in_its_usual_forms() {
        let ansible = json!({ "web": { "hosts": ["b", "a"] }, "_meta": { "hostvars": { "b": {}, "a": {} } } });
        assert_eq!(names(&ansible).unwrap(), ["a", "b"]);
        let list = json!([{ "name": "x", "ip": "1.2.3.4" }, { "hostname": "w" }, "v", "v"]);
        assert_eq!(names(&list).unwrap(), ["v", "w", "x"]);
        for bad in [
            json!({}),
            json!({ "hosts": [] }),
            json!(1),
            json!([1]),
            json!([{ "ip": "1.2.3.4" }]),
        ] {
            assert_eq!(names(&bad), None, "{bad}");
        }
    }
}
