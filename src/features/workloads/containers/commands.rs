//! `containers` and `logs`: what the API tells, for the command line.

use crate::base::clock::Duration;
use crate::base::error::{Error, Result};
use crate::base::text;
use crate::cli::{Command, Flag, Invocation, NAME, client, print, usage};
use crate::features::workloads::logs::LOCAL;
use crate::net::http::Method;
use serde_json::Value;

/// Pause between two looks of `logs --follow`.
const PAUSE: Duration = Duration::from_millis(700);

/// Commands of this feature.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "containers",
        help: "List the containers of all servers, or of one.",
        flags: &[SERVER, client::URL, client::TOKEN_FILE],
        run: |asked| {
            let answer = asked.ask(
                Method::Get,
                &format!("/api/containers?limit=500{}", server(asked)?),
                b"",
            )?;
            print(&match asked.json() {
                true => answer,
                false => table(&serde_json::from_str(&answer).map_err(Error::internal)?),
            });
            Ok(0)
        },
    },
    Command {
        name: "logs",
        help: "Print the log of a container, over all its lives under this name.",
        flags: &[
            NAME,
            SERVER,
            Flag {
                name: "follow",
                value: "",
                help: "Go on with new lines until interrupted.",
            },
            Flag {
                name: "since",
                value: "TIME",
                help: "Not before this: 10m, 2h, unix seconds, or 2026-11-21T05:31Z.",
            },
            Flag {
                name: "query",
                value: "WORDS",
                help: "Only lines with these words: AND, OR, NOT, * and \"several words\".",
            },
            Flag {
                name: "tail",
                value: "N",
                help: "At most so many lines, 500 if nothing is said.",
            },
            client::URL,
            client::TOKEN_FILE,
        ],
        run: logs,
    },
];

const SERVER: Flag = Flag {
    name: "server",
    value: "SERVER",
    help: "Only of this server: its name or number, or local.",
};

/// `&server_id=…` of the server that was asked for.
fn server(asked: &Invocation) -> Result<String> {
    let Some(word) = asked.flag("server") else {
        return Ok(String::new());
    };
    if word == LOCAL || word.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(format!("&server_id={}", text::percent_encode(word)));
    }
    let path = format!("/api/servers?limit=500&q={}", text::percent_encode(word));
    let answer: Value = serde_json::from_str(&asked.ask(Method::Get, &path, b"")?).map_err(Error::internal)?;
    let rows = answer["items"].as_array().map_or(&[][..], Vec::as_slice);
    let found = rows.iter().find(|row| row["name"] == word);
    let found = found.ok_or_else(|| Error::not_found("server"))?;
    Ok(format!("&server_id={}", found["id"]))
}

fn table(answer: &Value) -> String {
    let mut out = String::new();
    let rows = answer["items"].as_array().map_or(&[][..], Vec::as_slice);
    let word = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_string();
    for row in rows {
        let server = match row["server"].as_str() {
            Some("") | None => "local".to_string(),
            Some(name) => name.to_string(),
        };
        let cpu = row["cpu_percent"].as_f64().map_or("-".into(), |n| format!("{n:.1} %"));
        let state = match word(row, "health").as_str() {
            "" => word(row, "state"),
            health => format!("{} ({health})", word(row, "state")),
        };
        let name = format!("{server}/{}", word(row, "name"));
        out.push_str(&format!("{name:<40} {state:<22} {cpu:>8}  {}\n", word(row, "image")));
    }
    let shown = rows.len() as u64;
    match answer["total"].as_u64() {
        Some(total) if total > shown => out.push_str(&format!("… and {} more\n", total - shown)),
        _ if out.is_empty() => out.push_str("No containers.\n"),
        _ => {}
    }
    out
}

fn logs(asked: &Invocation) -> Result<u8> {
    let Some(name) = asked.flag(NAME.name) else {
        return Err(usage("Say whose log: lamplighter logs NAME."));
    };
    let address = address(asked, name)?;
    let mut query = format!("containers={}", text::percent_encode(&address));
    for (flag, param) in [("since", "since"), ("query", "q"), ("tail", "tail")] {
        if let Some(value) = asked.flag(flag) {
            query.push_str(&format!("&{param}={}", text::percent_encode(value)));
        }
    }
    let mut cursor = None::<String>;
    loop {
        let after = cursor
            .as_ref()
            .map_or(String::new(), |cursor| format!("&after={cursor}"));
        let answer = asked.ask(Method::Get, &format!("/api/log-search?{query}{after}"), b"")?;
        if asked.json() && asked.flag("follow").is_none() {
            print(&answer);
            return Ok(0);
        }
        let answer: Value = serde_json::from_str(&answer).map_err(Error::internal)?;
        let items = answer["items"].as_array().map_or(&[][..], Vec::as_slice);
        for line in items {
            let word = |key: &str| line[key].as_str().unwrap_or_default();
            print(&match asked.json() {
                true => line.to_string(),
                false => format!("{} {}", word("ts"), crate::base::lines::uncoloured(word("line"))),
            });
        }
        let last = items.last().and_then(|line| line["cursor"].as_str());
        cursor = last.map(String::from).or(cursor);
        if asked.flag("follow").is_none() {
            return Ok(0);
        }
        if cursor.is_none() {
            cursor = Some(format!("{}-0", crate::base::clock::now().saturating_mul(1_000_000)));
        }
        std::thread::sleep(PAUSE);
    }
}

/// `SERVER_ID/NAME` of the one container that is called so.
fn address(asked: &Invocation, name: &str) -> Result<String> {
    let path = format!(
        "/api/containers?state=any&limit=500&q={}{}",
        text::percent_encode(name),
        server(asked)?
    );
    let answer: Value = serde_json::from_str(&asked.ask(Method::Get, &path, b"")?).map_err(Error::internal)?;
    let rows = answer["items"].as_array().map_or(&[][..], Vec::as_slice);
    let found: Vec<String> = rows
        .iter()
        .filter(|row| row["name"] == name)
        .map(|row| match row["server_id"].as_i64() {
            Some(id) => format!("{id}/{name}"),
            None => format!("local/{name}"),
        })
        .collect();
    match &found[..] {
        [one] => Ok(one.clone()),
        [] => Err(Error::not_found("container")),
        several => Err(usage(&format!(
            "There are several: {}. Say which: --server NAME.",
            several.join(", ")
        ))),
    }
}
