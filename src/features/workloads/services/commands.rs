//! `svc`: what the API tells of services, for the command line, and their start and stop.

use crate::base::error::{Error, Kind, Result};
use crate::base::file;
use crate::base::text::percent_encode;
use crate::cli::{Command, Flag, Invocation, NAME, client, print, usage};
use crate::net::http::Method;
use serde_json::{Value, json};
use std::io::Read;
use std::path::Path;

/// Exit code where something is degraded.
const DEGRADED: u8 = 3;
/// Exit code where something is unhealthy.
const UNHEALTHY: u8 = 4;

/// Commands of this feature.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "svc-status",
        help: "List the services, or show one: code 3 where one is degraded, 4 where one is unhealthy.",
        flags: &[NAME, client::URL, client::TOKEN_FILE],
        run: status,
    },
    Command {
        name: "svc-health",
        help: "Look at one service now.",
        flags: &[NAME, client::URL, client::TOKEN_FILE],
        run: |asked| {
            let name = name(asked)?;
            let answer = asked.ask(Method::Post, &format!("/api/services/{name}/check"), b"{}")?;
            shown(
                asked,
                &[serde_json::from_str(&answer).map_err(Error::internal)?],
                &answer,
            )
        },
    },
    Command {
        name: "svc-metrics",
        help: "Print the figures of the services, or of one.",
        flags: &[NAME, client::URL, client::TOKEN_FILE],
        run: |asked| {
            let (all, answer) = fetched(asked)?;
            if asked.json() {
                print(&answer);
                return Ok(0);
            }
            for s in &all {
                let name = s["name"].as_str().unwrap_or_default();
                let plain = [
                    "cpu_percent",
                    "memory_mb",
                    "memory_percent",
                    "uptime_seconds",
                    "latency_ms",
                    "restart_count",
                ];
                let own = s["custom_metrics"].as_object().into_iter().flatten();
                let lines = plain
                    .iter()
                    .map(|key| (key.to_string(), &s[*key]))
                    .chain(own.map(|(key, value)| (key.clone(), value)));
                lines
                    .filter(|(_, value)| value.is_number())
                    .for_each(|(key, value)| print(&format!("{name} {key} {value}")));
            }
            Ok(0)
        },
    },
    Command {
        name: "svc-import",
        help: "Read services.json in: all of it or nothing.",
        flags: &[
            Flag {
                name: "file",
                value: "FILE",
                help: "The file (- is standard input).",
            },
            Flag {
                name: "plan",
                value: "",
                help: "Only show what would be done.",
            },
            Flag {
                name: "yes",
                value: "",
                help: "Do it.",
            },
            client::URL,
            client::TOKEN_FILE,
        ],
        run: import,
    },
    Command {
        name: "svc-start",
        help: "Start a service, and wait for it.",
        flags: &[NAME, WAIT, client::URL, client::TOKEN_FILE],
        run: |asked| act(asked, "start"),
    },
    Command {
        name: "svc-stop",
        help: "Stop a service, and wait for it. It stays stopped until a person starts it.",
        flags: &[NAME, WAIT, client::URL, client::TOKEN_FILE],
        run: |asked| act(asked, "stop"),
    },
    Command {
        name: "svc-restart",
        help: "Restart a service, and wait for it.",
        flags: &[NAME, WAIT, client::URL, client::TOKEN_FILE],
        run: |asked| act(asked, "restart"),
    },
    Command {
        name: "marzban-list",
        help: "List the panels of Marzban and their nodes.",
        flags: &[client::URL, client::TOKEN_FILE],
        run: marzban_list,
    },
    Command {
        name: "cache-stats",
        help: "Print the figures of a Redis, its slow commands and how its keys begin.",
        flags: &[NAME, client::URL, client::TOKEN_FILE],
        run: cache_stats,
    },
    Command {
        name: "cache-clear",
        help: "Count the keys of a Redis below its prefix, or remove them.",
        flags: &[NAME, CONFIRM, WAIT, client::URL, client::TOKEN_FILE],
        run: cache_clear,
    },
];

const CONFIRM: Flag = Flag {
    name: "confirm",
    value: "COUNT",
    help: "Remove them: their exact number, or the prefix. Without it they are only counted.",
};

/// Bytes of a file that is read in.
const FILE_MAX: u64 = 512 << 10;

fn import(asked: &Invocation) -> Result<u8> {
    let apply = match (asked.flag("plan"), asked.flag("yes")) {
        (Some(_), None) => false,
        (None, Some(_)) => true,
        _ => return Err(usage("Say --plan to see what would be done, or --yes to do it.")),
    };
    let bytes = match asked.flag("file") {
        None => return Err(usage("Say which file: --file FILE (- is standard input).")),
        Some("-") => {
            let mut bytes = Vec::new();
            std::io::stdin().take(FILE_MAX + 1).read_to_end(&mut bytes)?;
            bytes
        }
        Some(path) => file::read_limited(Path::new(path), FILE_MAX)?,
    };
    let read: Value = serde_json::from_slice(&bytes)
        .map_err(|e| Error::new(Kind::Malformed, "not_json", format!("The file is no JSON: {e}.")))?;
    let body = json!({ "file": read, "apply": apply }).to_string();
    let answer = match apply {
        true => asked.ask(Method::Post, "/api/services/import", body.as_bytes())?,
        false => asked.ask_without_change("/api/services/import", body.as_bytes())?,
    };
    let told: Value = serde_json::from_str(&answer).map_err(Error::internal)?;
    if asked.json() {
        print(&answer);
    } else {
        for item in told["items"].as_array().into_iter().flatten() {
            let word = |key: &str| item[key].as_str().unwrap_or_default();
            print(format!("{:<10} {:<40} {}", word("action"), word("path"), word("say")).trim_end());
        }
        print(if told["applied"] == true {
            "Done."
        } else {
            "Nothing is changed."
        });
    }
    Ok(if apply && told["applied"] != true { 1 } else { 0 })
}

const WAIT: Flag = Flag {
    name: "no-wait",
    value: "",
    help: "Say the task's number and do not wait for its end.",
};

fn name(asked: &Invocation) -> Result<String> {
    match asked.flag(NAME.name) {
        Some(name) => Ok(percent_encode(name)),
        None => Err(usage("Say which service: lamplighter svc-… NAME.")),
    }
}

/// The services that are asked for, and the API's answer.
fn fetched(asked: &Invocation) -> Result<(Vec<Value>, String)> {
    let path = match asked.flag(NAME.name) {
        Some(name) => format!("/api/services/{}", percent_encode(name)),
        None => "/api/services?limit=500".to_string(),
    };
    let answer = asked.ask(Method::Get, &path, b"")?;
    let value: Value = serde_json::from_str(&answer).map_err(Error::internal)?;
    let all = match value["services"].as_array() {
        Some(all) => all.clone(),
        None => vec![value],
    };
    Ok((all, answer))
}

fn status(asked: &Invocation) -> Result<u8> {
    let (all, answer) = fetched(asked)?;
    shown(asked, &all, &answer)
}

/// Prints a table, in colours on a terminal; the code says how the worst of them is.
fn shown(asked: &Invocation, all: &[Value], answer: &str) -> Result<u8> {
    let has = |health: &str| all.iter().any(|s| s["health"] == health && s["enabled"] == true);
    let code = if has("unhealthy") {
        UNHEALTHY
    } else if has("degraded") {
        DEGRADED
    } else {
        0
    };
    if asked.json() {
        print(answer);
        return Ok(code);
    }
    if all.is_empty() {
        print("No services.");
    }
    let coloured = std::io::IsTerminal::is_terminal(&std::io::stdout()) && std::env::var_os("NO_COLOR").is_none();
    for s in all {
        let word = |key: &str| s[key].as_str().unwrap_or_default().to_string();
        let health = word("health");
        let colour = match (coloured, health.as_str()) {
            (false, _) => "",
            (_, "healthy") => "\u{1b}[32m",
            (_, "degraded") => "\u{1b}[33m",
            (_, "unhealthy") => "\u{1b}[31m",
            _ => "\u{1b}[2m",
        };
        let end = if colour.is_empty() { "" } else { "\u{1b}[0m" };
        let place = match word("server").as_str() {
            "" => "-".to_string(),
            server => server.to_string(),
        };
        let figure = |key: &str, unit: &str| s[key].as_f64().map_or("-".into(), |n| format!("{n:.1}{unit}"));
        print(
            format!(
                "{colour}{health:<10}{end} {:<24} {:<10} {place:<16} {:<9} {:>7} {:>9}  {}",
                word("name"),
                word("kind"),
                word("state"),
                figure("cpu_percent", "%"),
                figure("memory_mb", "M"),
                word("health_message")
            )
            .trim_end(),
        );
    }
    Ok(code)
}

fn act(asked: &Invocation, what: &str) -> Result<u8> {
    let name = name(asked)?;
    let answer = asked.ask(Method::Post, &format!("/api/services/{name}/{what}"), b"{}")?;
    wait(asked, answer)
}

fn marzban_list(asked: &Invocation) -> Result<u8> {
    let answer = asked.ask(Method::Get, "/api/marzban/instances", b"")?;
    if asked.json() {
        print(&answer);
        return Ok(0);
    }
    let all: Value = serde_json::from_str(&answer).map_err(Error::internal)?;
    for panel in all["instances"].as_array().into_iter().flatten() {
        let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
        let (users, online) = (&panel["users"]["total"], &panel["users"]["online"]);
        let (name, health) = (word(&panel["name"]), word(&panel["health"]));
        print(
            format!(
                "{name:<24} {health:<10} users {users}, online {online}  {}",
                word(&panel["health_message"])
            )
            .trim_end(),
        );
        for node in panel["nodes"].as_array().into_iter().flatten() {
            let (name, state, xray) = (word(&node["name"]), word(&node["state"]), word(&node["xray_version"]));
            print(format!("  {name:<22} {state:<10} {xray:<10} {}", word(&node["message"])).trim_end());
        }
    }
    Ok(0)
}

fn cache_stats(asked: &Invocation) -> Result<u8> {
    let answer = asked.ask(Method::Get, &format!("/api/redis/{}/stats", name(asked)?), b"")?;
    if asked.json() {
        print(&answer);
        return Ok(0);
    }
    let stats: Value = serde_json::from_str(&answer).map_err(Error::internal)?;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    print(&format!(
        "{} {}",
        text(&stats["health"]),
        text(&stats["health_message"])
    ));
    for (key, value) in stats["metrics"].as_object().into_iter().flatten() {
        print(&format!("{key:<24} {value}"));
    }
    for (table, keys) in [
        ("key_patterns", ["prefix", "keys", "share_percent"]),
        ("slow_log", ["command", "took_ms", "at"]),
        ("replicas", ["address", "state", "behind_bytes"]),
    ] {
        for row in stats[table].as_array().into_iter().flatten() {
            let words: Vec<String> = keys.iter().map(|key| text(&row[*key])).collect();
            print(&format!("{table:<14} {}", words.join("  ")));
        }
    }
    Ok(0)
}

fn cache_clear(asked: &Invocation) -> Result<u8> {
    let path = format!("/api/redis/{}/clear", name(asked)?);
    let Some(confirm) = asked.flag(CONFIRM.name) else {
        let answer = asked.ask(Method::Post, &path, b"{}")?;
        let counted: Value = serde_json::from_str(&answer).map_err(Error::internal)?;
        let (count, prefix) = (&counted["count"], counted["prefix"].as_str().unwrap_or_default());
        print(&match (asked.json(), counted["complete"] == true) {
            (true, _) => answer,
            (_, true) => format!("{count} keys begin with “{prefix}”. To remove them: --confirm {count}"),
            (_, false) => format!("More than {count} keys begin with “{prefix}”. To remove them: --confirm '{prefix}'"),
        });
        return Ok(0);
    };
    let body = serde_json::json!({ "confirm": confirm }).to_string();
    let answer = asked.ask(Method::Post, &path, body.as_bytes())?;
    wait(asked, answer)
}

/// Waits for the task that this answer tells of.
fn wait(asked: &Invocation, answer: String) -> Result<u8> {
    let started: Value = serde_json::from_str(&answer).map_err(Error::internal)?;
    let task = started["task_id"].as_i64().unwrap_or_default();
    if asked.flag("no-wait").is_some() {
        print(&if asked.json() { answer } else { format!("task {task}") });
        return Ok(0);
    }
    let task: Value = loop {
        let logs = asked.ask(
            Method::Get,
            &format!("/api/tasks/{task}/logs?after=999999&wait=10"),
            b"",
        )?;
        let logs: Value = serde_json::from_str(&logs).map_err(Error::internal)?;
        if !logs["end"].is_null() {
            let answer = asked.ask(Method::Get, &format!("/api/tasks/{task}"), b"")?;
            break serde_json::from_str(&answer).map_err(Error::internal)?;
        }
    };
    let is_done = task["status"] == "ok";
    match (asked.json(), is_done) {
        (true, _) => print(&task.to_string()),
        (_, true) => print("Done."),
        (_, false) => print(task["error"]["message"].as_str().unwrap_or("It failed.")),
    }
    Ok(if is_done { 0 } else { 1 })
}
