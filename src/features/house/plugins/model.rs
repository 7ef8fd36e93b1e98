//! What an instance takes.

use super::definition::{self, Definition};
use super::{Plugin, definition::DEFINITIONS};
use crate::base::error::Result;
use crate::base::secret::Secret;
use crate::base::url::Url;
use crate::form::param::{self, Param};
use crate::form::{Input, Kept};
use serde_json::{Map, Value};

/// Validated fields of an instance.
#[derive(Debug)]
pub struct Valid {
    pub name: String,
    pub definition: &'static Definition,
    pub config: Map<String, Value>,
    pub enabled: bool,
    /// `None`: as it was.
    pub token: Option<Option<Secret>>,
}

const NAMES: [&str; 4] = ["json-url", "file", "vault-kv", "exec"];

/// What is taken.
pub const PARAMS: &[Param] = &[
    param::name("name", "What people call it; unique.").required(),
    param::choice("definition", &NAMES, "Which kind it is; an instance keeps it.").required(),
    param::object("config", "Its settings, as its definition names them: texts.")
        .example("{\"url\":\"https://cmdb.example/hosts\"}"),
    param::secret("token", 4_096, "What it shows to whom it asks."),
    param::flag("enabled", "Whether it is asked at all."),
];

/// Longest setting, in bytes.
const TEXT_MAX: usize = 2_000;

/// Reads over `base`. Error: invalid fields.
pub fn read(mut input: Input, base: Option<&Plugin>) -> Result<Valid> {
    let i = &mut input;
    let name = i.name("name").or_else(|| base.map(|plugin| plugin.name.clone()));
    if name.is_none() && !i.has_error("name") {
        i.wrong("name", "required", "Give the plugin a name.");
    }
    let chosen = i.choice("definition").and_then(definition::of);
    let definition = match (base, chosen) {
        (Some(plugin), Some(other)) if plugin.definition.name != other.name => {
            i.wrong(
                "definition",
                "fixed",
                "An instance keeps its definition. Make another one.",
            );
            plugin.definition
        }
        (Some(plugin), _) => plugin.definition,
        (None, Some(chosen)) => chosen,
        (None, None) => {
            if !i.has_error("definition") {
                i.wrong("definition", "required", "Say which kind of plugin it is.");
            }
            &DEFINITIONS[0]
        }
    };
    let config = match i.object("config") {
        Some(config) => config.unwrap_or_default(),
        None => base.map(|plugin| plugin.config.clone()).unwrap_or_default(),
    };
    let config = check(i, definition, config);
    let enabled = i.flag("enabled").unwrap_or(base.is_none_or(|plugin| plugin.enabled));
    let mut token = i.secret("token");
    if !definition.has_token && matches!(token, Some(Some(_))) {
        i.wrong("token", "no_token", "This kind of plugin has no token.");
    }
    if let Some(plugin) = base {
        // Whoever may edit an instance may not have its token sent to a machine of theirs.
        let kept = Kept {
            field: "token",
            moved: home(&plugin.config) != home(&config),
            stored: plugin.has_token,
            in_use: definition.has_token,
            say: "It would be sent to another place now: give the token again.",
        };
        i.keep_at_home(kept, &mut token);
    }
    input.finish(&[
        "id",
        "purpose",
        "has_token",
        "project_id",
        "last",
        "created_at",
        "updated_at",
    ])?;
    Ok(Valid {
        name: name.unwrap_or_default(),
        definition,
        config,
        enabled,
        token,
    })
}

/// Where a token is sent to.
fn home(config: &Map<String, Value>) -> Option<(String, Value)> {
    let url = Url::parse(config.get("url")?.as_str()?).ok()?;
    Some((url.origin(), config.get("namespace").cloned().unwrap_or_default()))
}

fn check(i: &mut Input, definition: &Definition, config: Map<String, Value>) -> Map<String, Value> {
    let mut clean = Map::new();
    for (name, value) in config {
        let text = value.as_str().map(str::trim);
        match text {
            _ if !definition.fields.contains(&name.as_str()) => {
                let say = format!(
                    "{} has these settings: {}.",
                    definition.name,
                    definition.fields.join(", ")
                );
                i.wrong("config", "bad_field", say);
            }
            Some("") => {}
            Some(text) if text.len() <= TEXT_MAX && !text.contains(char::is_control) => {
                drop(clean.insert(name, text.into()));
            }
            _ => i.wrong(
                "config",
                "bad_text",
                format!("{name} is a text on one line of at most {TEXT_MAX} bytes."),
            ),
        }
    }
    for name in &definition.fields[..definition.required] {
        if !clean.contains_key(*name) && !i.has_error("config") {
            i.wrong("config", "required", format!("{} needs {name}.", definition.name));
        }
    }
    let text = |name: &str| clean.get(name).and_then(Value::as_str);
    if let Some(Err(say)) = text("url").map(Url::parse) {
        i.wrong("config", "bad_url", say);
    }
    for name in ["path", "program"] {
        let is_inside = |text: &str| text.starts_with('/') && !text.split('/').any(|part| part == "..");
        if text(name).is_some_and(|text| !is_inside(text)) {
            i.wrong(
                "config",
                "bad_path",
                format!("{name} is an absolute path, like /etc/lamplighter/plugins/x."),
            );
        }
    }
    let is_plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "/_-.".contains(c));
    for name in ["mount", "namespace"] {
        if text(name).is_some_and(|text| !is_plain(text)) {
            i.wrong(
                "config",
                "bad_text",
                format!("{name} is letters, digits and / _ - . alone."),
            );
        }
    }
    clean
}
