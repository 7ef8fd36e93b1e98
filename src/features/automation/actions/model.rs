//! What an action takes, and what is refused before anything is sent to a server.

use super::settings::{self, is_below, is_path};
use crate::base::error::{Error, Result};
use crate::db::Conn;
use crate::form::Input;
use crate::form::param::{self, Param};
use serde::{Deserialize, Serialize};

/// Kind: restarts the machine and waits for it.
pub const REBOOT: &str = "action.reboot";
/// Kind: restarts a service.
pub const RESTART_SERVICE: &str = "action.restart_service";
/// Kind: fetches a log.
pub const FETCH_LOGS: &str = "action.fetch_logs";
/// Kind: puts a file there.
pub const UPLOAD_FILE: &str = "action.upload_file";
/// Kind: lists updates, or applies them.
pub const UPDATES: &str = "action.updates";
/// Kind: one of these on several servers.
pub const FLEET: &str = "action.fleet";

/// What can be done to several servers.
pub const WORKS: [&str; 5] = [REBOOT, RESTART_SERVICE, FETCH_LOGS, UPLOAD_FILE, UPDATES];

/// The actions of `POST …/actions`; files have an address of their own.
pub const ACTIONS: [&str; 4] = ["reboot", "restart_service", "fetch_logs", "updates"];
/// What updates are applied.
pub const APPLY: [&str; 2] = ["security", "all"];
/// Largest file that is put on servers.
pub const FILE_MAX: u64 = 10 << 20;
/// Lines of a log when nobody says how many, and the most.
const LINES: i64 = 500;
const LINES_MAX: i64 = 50_000;

/// What an action on one server takes.
pub const PARAMS: &[Param] = &[
    param::choice("action", &ACTIONS, "What is done.").required(),
    param::text("service", 256, "Of `restart_service`: a unit, like nginx."),
    param::text("unit", 256, "Of `fetch_logs`: the unit whose journal is fetched."),
    param::text("path", 512, "Of `fetch_logs`: a file in its place."),
    param::number(
        "lines",
        1..=LINES_MAX,
        "Of `fetch_logs`: at most so many, 500 if nothing is said.",
    ),
    param::text(
        "since",
        40,
        "Of `fetch_logs` with a unit: like -2h or 2026-01-02 03:04:05, as journalctl takes it.",
    ),
    param::choice(
        "apply",
        &APPLY,
        "Of `updates`: what is applied; nothing: they are only listed.",
    ),
    param::text(
        "confirm",
        200,
        "Of `reboot`: the server's name; of several `reboot` and how many, or the group's name.",
    ),
];

/// A kind of task, with its input.
pub type Work = (&'static str, serde_json::Value);

/// Input of [`RESTART_SERVICE`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Service {
    /// With its suffix: `nginx.service`.
    pub service: String,
}

/// Input of [`FETCH_LOGS`]: either is empty.
#[derive(Debug, Serialize, Deserialize)]
pub struct Logs {
    /// With its suffix.
    pub unit: String,
    /// Absolute.
    pub path: String,
    /// At most so many.
    pub lines: i64,
    /// Empty: from the beginning.
    pub since: String,
}

/// Input of [`UPDATES`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Updates {
    /// One of [`APPLY`]; empty: list them.
    pub apply: String,
}

/// Input of [`UPLOAD_FILE`]; the content is kept with the task that it was given for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct File {
    /// Absolute.
    pub path: String,
    /// Octal.
    pub mode: String,
    /// `user` or `user:group`.
    pub owner: String,
    /// Of the content.
    pub size: u64,
    /// Of the content, hex.
    pub sha256: String,
}

/// Reads an action. `confirm` is what must be typed for a restart of the machine.
pub fn read(conn: &Conn, input: &mut Input, confirm: &str) -> Result<Option<Work>> {
    let i = input;
    let action = i.choice("action");
    let word = |i: &mut Input, name| i.text(name).unwrap_or_default();
    let (service, unit, path) = (word(i, "service"), word(i, "unit"), word(i, "path"));
    let (since, typed, apply) = (
        word(i, "since"),
        word(i, "confirm"),
        i.choice("apply").unwrap_or_default(),
    );
    let lines = i.number("lines");
    let given = [
        ("service", !service.is_empty(), "restart_service"),
        ("unit", !unit.is_empty(), "fetch_logs"),
        ("path", !path.is_empty(), "fetch_logs"),
        ("since", !since.is_empty(), "fetch_logs"),
        ("lines", lines.is_some(), "fetch_logs"),
        ("apply", !apply.is_empty(), "updates"),
        ("confirm", !typed.is_empty(), "reboot"),
    ];
    let Some(action) = action else {
        if !i.has_error("action") {
            i.wrong("action", "required", "Say what is to be done.");
        }
        return Ok(None);
    };
    for (field, is_given, belongs) in given {
        if is_given && belongs != action {
            i.wrong(field, "not_of_action", format!("{field} belongs to {belongs}."));
        }
    }
    let work = match action {
        "reboot" => {
            if typed != confirm {
                let say = format!("This restarts the whole machine. Type {confirm} to confirm it.");
                i.wrong("confirm", "unconfirmed", say);
            }
            (REBOOT, serde_json::json!({}))
        }
        "restart_service" => {
            let service = unit_name(i, "service", &service);
            (RESTART_SERVICE, json(&Service { service })?)
        }
        "fetch_logs" => {
            if unit.is_empty() == path.is_empty() {
                i.wrong("unit", "required", "Say a unit or a path, one of them.");
            } else if !path.is_empty() {
                check_path(i, &path, &settings::LOG_FOLDERS.text(conn)?, "logs may be fetched from");
                if !since.is_empty() {
                    i.wrong(
                        "since",
                        "not_of_action",
                        "since belongs to a unit: a file has no times of its own.",
                    );
                }
            }
            let is_time = |c: char| c.is_ascii_alphanumeric() || "-+: .".contains(c);
            if !since.chars().all(is_time) {
                i.wrong(
                    "since",
                    "bad_time",
                    "A time is like -2h, yesterday or 2026-01-02 03:04:05.",
                );
            }
            let unit = if unit.is_empty() {
                unit
            } else {
                unit_name(i, "unit", &unit)
            };
            let lines = lines.unwrap_or(LINES);
            (
                FETCH_LOGS,
                json(&Logs {
                    unit,
                    path,
                    lines,
                    since,
                })?,
            )
        }
        _ => (UPDATES, json(&Updates { apply: apply.into() })?),
    };
    Ok(Some(work))
}

fn json(value: &impl Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(value).map_err(Error::internal)
}

/// A unit's name as systemd has them; without a suffix it is a service.
fn unit_name(i: &mut Input, field: &'static str, text: &str) -> String {
    const SUFFIXES: [&str; 6] = [".service", ".socket", ".timer", ".target", ".mount", ".path"];
    let plain = |c: char| c.is_ascii_alphanumeric() || ":_.@-\\".contains(c);
    if text.is_empty() || text.starts_with(['-', '.']) || !text.chars().all(plain) {
        let say = "A unit is like nginx or postgresql@15-main.service: letters, digits and : _ . @ - \\ alone.";
        i.wrong(field, "bad_unit", say);
    }
    match SUFFIXES.iter().any(|suffix| text.ends_with(suffix)) {
        true => text.into(),
        false => format!("{text}.service"),
    }
}

fn check_path(i: &mut Input, path: &str, folders: &str, what: &str) {
    if !is_path(path) || path == "/" {
        let say = "A path is absolute, like /srv/app/app.conf: letters, digits and . _ + @ = : , - alone, and nothing that leads up.";
        i.wrong("path", "bad_path", say);
    } else if !is_below(path, folders) {
        let folders = if folders.is_empty() { "none" } else { folders };
        i.wrong(
            "path",
            "path_not_allowed",
            format!("The folders that {what}: {folders}. An administrator sets them."),
        );
    }
}

/// Reads where a file goes, of that size and SHA-256.
pub fn read_file(conn: &Conn, input: &mut Input, (size, sha256): (u64, String)) -> Result<File> {
    let i = input;
    let path = i.text("path").unwrap_or_default();
    let mode = i.text("mode").filter(|mode| !mode.is_empty()).unwrap_or("644".into());
    let owner = i
        .text("owner")
        .filter(|owner| !owner.is_empty())
        .unwrap_or("root:root".into());
    match path.is_empty() {
        true if !i.has_error("path") => i.wrong("path", "required", "Say where the file goes."),
        true => {}
        false => check_path(i, &path, &settings::FILE_FOLDERS.text(conn)?, "files may be put into"),
    }
    let mode = mode.trim_start_matches('0').to_string();
    if mode.is_empty() || mode.len() > 3 || !mode.chars().all(|c| ('0'..='7').contains(&c)) {
        i.wrong(
            "mode",
            "bad_mode",
            "A mode is three octal digits, like 644: no file is put anywhere that runs as its owner.",
        );
    }
    let is_name = |name: &str| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
        !name.is_empty() && name.len() <= 32 && !name.starts_with(['-']) && name.chars().all(plain)
    };
    let (user, group) = owner.split_once(':').unwrap_or((&owner, "root"));
    if !is_name(user) || !is_name(group) {
        i.wrong(
            "owner",
            "bad_owner",
            "An owner is a user, or a user and a group: www-data:www-data.",
        );
    }
    Ok(File {
        path,
        mode,
        owner,
        size,
        sha256,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_a_name_and_no_option() {
        let named = |text: &str| {
            let mut i = Input::of(PARAMS, serde_json::Map::new());
            let unit = unit_name(&mut i, "service", text);
            (!i.has_error("service")).then_some(unit)
        };
        assert_eq!(named("nginx").as_deref(), Some("nginx.service"));
        assert_eq!(named("ssh.socket").as_deref(), Some("ssh.socket"));
        assert_eq!(
            named("postgresql@15-main").as_deref(),
            Some("postgresql@15-main.service")
        );
        for bad in ["", "-H", "a b", "a;b", "a/b", "../x", ".x", "a\nb", "ä"] {
            assert_eq!(named(bad), None, "{bad}");
        }
    }
}
