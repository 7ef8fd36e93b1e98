//! Fields of a service and their validation.

use super::kinds::{self, CONDITION, Config, Kind, PROBES, Place};
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::base::secret::Secret;
use crate::features::house::secrets::Refs;
use crate::form::param::{self, Param};
use crate::form::{Input, Kept};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// When it is started again.
pub const POLICIES: [&str; 3] = ["always", "on-failure", "never"];

/// Validated fields.
#[derive(Debug, Clone)]
pub struct Fields {
    /// Unique whatever its case; part of addresses.
    pub name: String,
    /// What it is; a service keeps it.
    pub kind: &'static Kind,
    /// Where it is; `None`: looked at from here.
    pub server: Option<Id<id::Server>>,
    /// Is it looked at?
    pub enabled: bool,
    /// Labels, unique.
    pub tags: Vec<String>,
    /// Free words.
    pub notes: String,
    /// What its kind needs.
    pub config: Config,
    /// Seconds from look to look.
    pub interval_s: i64,
    /// Good looks until it is up.
    pub up_after: i64,
    /// Bad looks until it is down.
    pub down_after: i64,
    /// One of [`POLICIES`].
    pub restart_policy: &'static str,
    /// Restarts of ours within the window; then it is given up.
    pub max_restarts: i64,
    /// That window, s.
    pub window_s: i64,
    /// Pause before the second restart, s; it doubles up to a minute.
    pub delay_s: i64,
    /// Those that must be healthy before it is started again.
    pub after: Vec<i64>,
}

impl Fields {
    /// A new service of this kind.
    pub fn new(kind: &'static Kind) -> Fields {
        Fields {
            name: String::new(),
            kind,
            server: None,
            enabled: true,
            tags: Vec::new(),
            notes: String::new(),
            config: Config::new(),
            interval_s: 30,
            up_after: 1,
            down_after: 2,
            restart_policy: "never",
            max_restarts: 5,
            window_s: 300,
            delay_s: 1,
            after: Vec::new(),
        }
    }

    /// What the unit of a command is made of.
    pub fn unit(&self, has_secrets: bool) -> kinds::command::Of<'_> {
        kinds::command::Of {
            name: &self.name,
            config: &self.config,
            policy: self.restart_policy,
            max_restarts: self.max_restarts,
            window_s: self.window_s,
            delay_s: self.delay_s,
            has_secrets,
        }
    }

    /// What is asked whether it works while it runs: kind and settings.
    pub fn probe(&self) -> Option<(&'static Kind, &Config)> {
        let probe = self.config.get("probe")?.as_object()?;
        Some((kinds::of(kinds::text(probe, "kind"))?, probe))
    }
}

/// Proof of validation.
#[derive(Debug)]
pub struct Valid {
    /// All plain fields.
    pub fields: Fields,
    /// `None`: the password stays as it was.
    pub password: Option<Option<Secret>>,
    /// Of that, what refers to a secret of the house.
    pub refs: Refs,
}

/// Fields of all kinds.
const SETTINGS: &[Param] = &[
    param::text("unit", 256, "Of `unit`: its name, like nginx or backup.timer."),
    param::flag("user_unit", "Of `unit`: it is one of the login user's own systemd."),
    param::text("session", 64, "Of `tmux`: the session's name."),
    param::text("command", 1_000, "Of `tmux`: what is started in it, by a shell."),
    param::text(
        "user",
        64,
        "Of `tmux`: whose session it is; nothing: the login user's. Of `command`: as whom it runs; nothing: as a user of its own.",
    ),
    param::text("directory", 1_000, "Of `command`: where it runs."),
    param::object(
        "environment",
        "Of `command`: its variables, `{NAME: value}`. Secrets go into `password`.",
    ),
    param::maybe_number(
        "memory_limit_mb",
        8..=1_048_576,
        "Of `command`: how much memory it may use; nothing: any.",
    ),
    param::text("url", 2_000, "Of `http`: http:// or https://.").example("\"https://app.example/health\""),
    param::text(
        "expect_status",
        200,
        "Of `http`: good status codes, like 200-299, 401; nothing: 200-399.",
    ),
    param::text("contains", 1_000, "Of `http`: words that the answer must have."),
    param::items(
        "json",
        20,
        &CONDITION,
        "Of `http`: conditions on the answer's JSON: `{path, op, value}`, op one of == != > >= < <= contains exists.",
    ),
    param::text(
        "host",
        4_096,
        "Of `tcp`, `redis` and `postgres`: name or address, as seen from its server; of `postgres` nothing is its socket.",
    ),
    param::maybe_number("port", 1..=65_535, "Of `tcp`, `redis` and `postgres`."),
    param::flag("tls", "Of `tcp` and `redis`: it speaks TLS."),
    param::text(
        "username",
        200,
        "Of `http`, `redis`, `postgres` and `marzban`: whose password it is; of `postgres` nothing is the user of the server.",
    ),
    param::secret(
        "password",
        16_384,
        "Of `http`, `redis`, `postgres` and `marzban`. Of `command`: variables that only it may read, a line `NAME=value` each.",
    )
    .or_reference(),
    param::text(
        "clear_prefix",
        200,
        "Of `redis`: keys that begin with this may be removed by a person; nothing: none may.",
    ),
    param::text("base_url", 2_000, "Of `marzban`: where its panel is.").example("\"https://panel.example:8000\""),
    param::text("database", 63, "Of `postgres`: the database that is looked at."),
    param::text(
        "os_user",
        64,
        "Of `postgres`: the user of its server that runs psql; nothing: postgres, with a password the login user.",
    ),
    param::list(
        "argv",
        40,
        1_000,
        "Of `exec`: an allowed program on the server, and its arguments. Of `command`: what runs; `command` is the same.",
    ),
    param::maybe_number(
        "period_s",
        10..=31_536_000,
        "Of `heartbeat`: it calls at least so often.",
    ),
    param::maybe_number(
        "grace_s",
        0..=2_592_000,
        "Of `heartbeat`: so much later is late; nothing: 300.",
    ),
    param::object(
        "probe",
        "Of `unit`, `command` and `tmux`: whether it works while it runs: `{kind: http or tcp, …}` with the settings of that kind.",
    ),
];

/// Fields of all services.
const OWN: &[Param] = &[
    param::text(
        "name",
        63,
        "Letters, digits, dots, dashes, underscores; unique whatever its case.",
    )
    .required()
    .example("\"shop-bot\""),
    param::choice("kind", &kinds::NAMES, "What it is; a service keeps its kind.").required(),
    param::link("server_id", "Where it is; `null`: looked at from here."),
    param::flag("enabled", "Whether it is looked at."),
    param::list("tags", 32, 64, "To find and group it by."),
    param::text("notes", 2_000, "Free words."),
    param::number("interval_s", 10..=3_600, "Seconds from look to look."),
    param::number("up_after", 1..=10, "Good looks until it is up."),
    param::number("down_after", 1..=10, "Bad looks until it is down."),
    param::choice(
        "restart_policy",
        &POLICIES,
        "When it is started again: whenever it does not run or work; not after it ended well; never.",
    ),
    param::number(
        "max_restarts",
        1..=100,
        "Restarts within the window; then it is given up.",
    ),
    param::number("window_s", 10..=86_400, "That window, in seconds."),
    param::number(
        "delay_s",
        1..=60,
        "Seconds before the second restart; they double up to a minute.",
    ),
    param::links("after", 16, "Services that must be healthy before it is started again."),
];

/// Accepted fields of a draft.
pub const PARAMS: &[Param] = &param::joined::<{ OWN.len() + SETTINGS.len() }>(&[OWN, SETTINGS]);

/// Fields of the answer that may be sent back unchanged.
pub const READ_ONLY: &[&str] = &[
    "id",
    "server",
    "config",
    "has_password",
    "state",
    "health",
    "health_code",
    "health_message",
    "since",
    "checked_at",
    "pid",
    "uptime_seconds",
    "cpu_percent",
    "memory_mb",
    "memory_percent",
    "latency_ms",
    "restart_count",
    "custom_metrics",
    "tables",
    "wanted",
    "troubles",
    "stopped",
    "call_url",
    "applied",
    "called_at",
    "revision",
    "created_at",
    "updated_at",
];

/// What is stored of the service that is changed.
pub struct Stored<'a> {
    /// Its fields.
    pub fields: &'a Fields,
    /// Has it a password?
    pub has_password: bool,
}

/// Reads a draft over what is stored. Error: invalid fields.
pub fn read(mut input: Input, old: Option<Stored>) -> Result<Valid> {
    let i = &mut input;
    let chosen = i.choice("kind").and_then(kinds::of);
    let mut f = match (&old, chosen) {
        (Some(old), Some(other)) if old.fields.kind.name != other.name => {
            i.wrong("kind", "fixed", "A service keeps its kind. Make another one.");
            old.fields.clone()
        }
        (Some(old), _) => old.fields.clone(),
        (None, Some(kind)) => Fields::new(kind),
        (None, None) => {
            if !i.has_error("kind") {
                i.wrong(
                    "kind",
                    "required",
                    format!("Say what it is: {}.", kinds::NAMES.join(", ")),
                );
            }
            Fields::new(&kinds::UNIT)
        }
    };
    set(&mut f.name, i.parse("name", "bad_name", name));
    if f.name.is_empty() && !i.has_error("name") {
        i.wrong("name", "required", "Give the service a name.");
    }
    set(&mut f.server, i.link("server_id"));
    set(&mut f.enabled, i.flag("enabled"));
    set(&mut f.tags, i.list("tags").map(unique));
    set(&mut f.notes, i.text("notes"));
    set(&mut f.interval_s, i.number("interval_s"));
    set(&mut f.up_after, i.number("up_after"));
    set(&mut f.down_after, i.number("down_after"));
    set(&mut f.restart_policy, i.choice("restart_policy"));
    set(&mut f.max_restarts, i.number("max_restarts"));
    set(&mut f.window_s, i.number("window_s"));
    set(&mut f.delay_s, i.number("delay_s"));
    set(
        &mut f.after,
        i.links::<id::Service>("after")
            .map(|ids| ids.into_iter().map(Id::get).collect()),
    );
    let password = settings(i, &mut f, old.as_ref());
    place(i, &f);
    input.finish(READ_ONLY)?;
    Ok(Valid {
        fields: f,
        password,
        refs: Refs::default(),
    })
}

/// Reads the settings of the kind, and its password.
fn settings(i: &mut Input, f: &mut Fields, old: Option<&Stored>) -> Option<Option<Secret>> {
    let kind = f.kind;
    if kind.name == "command" {
        i.known_as("command", "argv");
    }
    for param in SETTINGS.iter().filter(|param| param.name != "password") {
        if !kind.fields.contains(&param.name) && i.given(param.name) {
            let say = format!(
                "{} is not of {}, which has: {}.",
                param.name,
                kind.name,
                kind.fields.join(", ")
            );
            i.wrong(param.name, "not_of_kind", say);
        }
    }
    (kind.read)(i, &mut f.config);
    if kind.fields.contains(&"probe") {
        probe(i, &mut f.config);
    }
    for name in &kind.fields[..kind.required] {
        if !f.config.contains_key(*name) && !i.has_error(name) {
            i.wrong(name, "required", format!("A service of this kind needs {name}."));
        }
    }
    let mut password = i.secret("password");
    if !kind.has_password && matches!(password, Some(Some(_))) {
        i.wrong(
            "password",
            "not_of_kind",
            format!("A service of the kind {} has no password.", kind.name),
        );
    }
    if let Some(old) = old {
        let of = |f: &Fields| format!("{:?} {}", f.server, (kind.home)(&f.config));
        let kept = Kept {
            field: "password",
            stored: old.has_password,
            in_use: kind.has_password,
            moved: of(old.fields) != of(f),
            say: "It would be sent to another place now: give the password again.",
        };
        i.keep_at_home(kept, &mut password);
    }
    password
}

/// Reads what is asked while it runs: the settings of another kind.
fn probe(i: &mut Input, config: &mut Config) {
    let Some(given) = i.object("probe") else { return };
    let Some(mut given) = given else {
        config.remove("probe");
        return;
    };
    let word = given.remove("kind");
    let named = word.as_ref().and_then(Value::as_str).unwrap_or_default();
    let Some(kind) = kinds::of(named).filter(|kind| PROBES.contains(&kind.name)) else {
        i.wrong(
            "probe",
            "bad_probe",
            format!("Its kind is one of: {}.", PROBES.join(", ")),
        );
        return;
    };
    let mut draft = Input::of(SETTINGS, given);
    let mut read = Map::new();
    (kind.read)(&mut draft, &mut read);
    let missing = kind.fields[..kind.required]
        .iter()
        .find(|name| !read.contains_key(**name));
    match (draft.finish(&[]), missing) {
        (Err(e), _) => {
            let say = e.fields.first().map_or(e.say.clone(), |field| field.message.clone());
            i.wrong("probe", "bad_probe", say);
        }
        (Ok(()), Some(name)) => i.wrong("probe", "bad_probe", format!("A probe of this kind needs {name}.")),
        (Ok(()), None) => {
            read.insert("kind".into(), kind.name.into());
            config.insert("probe".into(), read.into());
        }
    }
}

/// Is it where its kind can be?
fn place(i: &mut Input, f: &Fields) {
    match f.kind.place {
        Place::Server if f.server.is_none() && !i.has_error("server_id") => {
            i.wrong(
                "server_id",
                "required",
                "A service of this kind is on a server: say which.",
            );
        }
        Place::Nowhere if f.server.is_some() => {
            i.wrong("server_id", "not_of_kind", "It calls by itself, from wherever it is.");
        }
        _ => {}
    }
    if !f.kind.acts && f.restart_policy != "never" {
        i.wrong(
            "restart_policy",
            "not_of_kind",
            "A service of this kind is only looked at: nothing restarts it.",
        );
    }
}

fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

fn unique(mut tags: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    tags.retain(|tag| seen.insert(tag.to_lowercase()));
    tags
}

fn name(text: &str) -> std::result::Result<String, String> {
    let good = (1..=63).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    match good && !RESERVED.contains(&text) {
        true => Ok(text.into()),
        false => Err(
            "A name has 1 to 63 letters, digits, dots, dashes and underscores, and starts with a letter or digit."
                .into(),
        ),
    }
}

/// What addresses of pages begin with.
const RESERVED: [&str; 2] = ["new", "import"];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tried(value: Value, old: Option<&Fields>) -> std::result::Result<Fields, Vec<(&'static str, &'static str)>> {
        let Value::Object(object) = value else { panic!() };
        let old = old.map(|fields| Stored {
            fields,
            has_password: true,
        });
        read(Input::of(PARAMS, object), old)
            .map(|valid| valid.fields)
            .map_err(|e| e.fields.iter().map(|field| (field.field, field.code)).collect())
    }

    #[test]
    fn each_kind_takes_its_own_settings_and_no_others() {
        let unit =
            json!({ "name": "web", "kind": "unit", "server_id": 1, "unit": "nginx", "restart_policy": "on-failure" });
        let f = tried(unit, None).unwrap();
        assert_eq!(
            (f.config["unit"].as_str(), f.restart_policy),
            (Some("nginx.service"), "on-failure")
        );
        for (value, wrong) in [
            (
                json!({ "kind": "unit", "name": "a", "unit": "x" }),
                ("server_id", "required"),
            ),
            (
                json!({ "kind": "unit", "name": "a", "server_id": 1 }),
                ("unit", "required"),
            ),
            (
                json!({ "kind": "unit", "name": "a", "server_id": 1, "unit": "x", "url": "http://a" }),
                ("url", "not_of_kind"),
            ),
            (
                json!({ "kind": "http", "name": "a", "url": "http://a", "restart_policy": "always" }),
                ("restart_policy", "not_of_kind"),
            ),
            (
                json!({ "kind": "tcp", "name": "a", "host": "b", "port": 1, "password": "x" }),
                ("password", "not_of_kind"),
            ),
            (
                json!({ "kind": "heartbeat", "name": "a", "period_s": 60, "server_id": 1 }),
                ("server_id", "not_of_kind"),
            ),
            (
                json!({ "kind": "exec", "name": "a", "server_id": 1, "argv": ["check"] }),
                ("argv", "bad_program"),
            ),
            (json!({ "kind": "nothing", "name": "a" }), ("kind", "bad_choice")),
            (
                json!({ "kind": "tcp", "name": "new", "host": "b", "port": 1 }),
                ("name", "bad_name"),
            ),
        ] {
            assert!(tried(value.clone(), None).unwrap_err().contains(&wrong), "{value}");
        }
    }

    #[test]
    fn a_probe_has_the_settings_of_its_kind() {
        let of = |probe: Value| {
            tried(
                json!({ "name": "a", "kind": "unit", "server_id": 1, "unit": "x", "probe": probe }),
                None,
            )
        };
        let f = of(json!({ "kind": "http", "url": "http://127.0.0.1:8080/health" })).unwrap();
        let (kind, config) = f.probe().unwrap();
        assert_eq!(
            (kind.name, kinds::text(config, "url")),
            ("http", "http://127.0.0.1:8080/health")
        );
        for bad in [
            json!({ "kind": "unit" }),
            json!({ "kind": "tcp", "host": "a" }),
            json!({ "kind": "tcp", "host": "a", "port": 1, "x": 1 }),
        ] {
            assert_eq!(of(bad.clone()).unwrap_err(), [("probe", "bad_probe")], "{bad}");
        }
        assert!(tried(json!({ "probe": null }), Some(&f)).unwrap().probe().is_none());
    }

    #[test]
    fn a_password_does_not_follow_to_another_place() {
        let f = tried(json!({ "name": "cache", "kind": "redis", "host": "10.0.0.5" }), None).unwrap();
        assert_eq!(f.config["port"], 6379);
        assert!(tried(json!({ "notes": "x" }), Some(&f)).is_ok());
        assert_eq!(
            tried(json!({ "host": "10.0.0.6" }), Some(&f)).unwrap_err(),
            [("password", "moved")]
        );
        assert!(tried(json!({ "host": "10.0.0.6", "password": "again" }), Some(&f)).is_ok());
    }
}
