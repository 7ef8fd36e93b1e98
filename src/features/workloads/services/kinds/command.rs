//! A program that a unit of ours keeps running: systemd starts it, at the boot as well, and starts it again by the service's
//! policy, also while nobody looks. Here is the unit's text; the recipe writes it.

use super::{Check, Config, Kind, Place, Unit, keep, number, text};
use crate::base::host::UserName;
use crate::form::Input;
use serde_json::{Map, Value};
use std::fmt::Write;

/// See [`Kind`].
pub const KIND: Kind = Kind {
    name: "command",
    place: Place::Server,
    acts: true,
    has_password: true,
    keeps_token: false,
    tables: &[],
    fields: &["argv", "user", "directory", "environment", "memory_limit_mb", "probe"],
    required: 1,
    read,
    home: |_| String::new(),
    check: Check::Unit(|config| Unit {
        name: text(config, "unit").into(),
        user: false,
    }),
};

/// The unit's name, for a service of this name: nobody else's begin so.
pub fn unit(service: &str) -> String {
    format!("lamplighter-{}.service", service.to_lowercase())
}

/// The first line of a unit's file, by which it is known as that of this service.
pub fn mark(unit: &str) -> String {
    format!("# Written by Lamplighter for {unit}. Changes are lost with the next start from there.")
}

fn read(i: &mut Input, config: &mut Config) {
    if let Some(argv) = i.list("argv") {
        let is_path = |word: &String| word.starts_with('/') && !word.contains("/../") && word.len() > 1;
        let controls = argv.iter().any(|word| word.chars().any(char::is_control));
        match argv.first() {
            None => drop(config.remove("argv")),
            Some(_) if controls => i.wrong("argv", "bad_text", "Words of a command have no control characters."),
            Some(first) if is_path(first) => drop(config.insert("argv".into(), argv.into())),
            Some(_) => i.wrong(
                "argv",
                "bad_path",
                "The program is an absolute path, like /usr/bin/python3.",
            ),
        }
    }
    let user = i.parse("user", "bad_user", |text| match text {
        "" => Ok(String::new()),
        text => UserName::parse(text).map(|user| user.as_str().into()),
    });
    keep(config, "user", user);
    let directory = i.parse("directory", "bad_path", |text| {
        let good = text.is_empty() || text.starts_with('/') && !text.chars().any(char::is_control);
        good.then(|| text.to_string())
            .ok_or_else(|| "A folder is an absolute path.".to_string())
    });
    keep(config, "directory", directory);
    match i.object("environment") {
        Some(None) => drop(config.remove("environment")),
        Some(Some(object)) => match variables(&object) {
            Ok(variables) => drop(config.insert("environment".into(), variables.into())),
            Err(say) => i.wrong("environment", "bad_environment", say),
        },
        None => {}
    }
    match i.maybe_number("memory_limit_mb") {
        Some(Some(limit)) => drop(config.insert("memory_limit_mb".into(), limit.into())),
        Some(None) => drop(config.remove("memory_limit_mb")),
        None => {}
    }
}

fn is_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.len() <= 100 && name.starts_with(first) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn variables(object: &Map<String, Value>) -> Result<Map<String, Value>, String> {
    if object.len() > 100 {
        return Err("At most 100 variables.".into());
    }
    let one = |(name, value): (&String, &Value)| {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return Err(format!("The value of {name} is a text.")),
        };
        if !is_name(name) {
            return Err(format!("“{name}” is no name of a variable: letters, digits and _."));
        }
        if value.len() > 4_000 || value.chars().any(char::is_control) {
            return Err(format!("The value of {name} is on one line, of at most 4000 bytes."));
        }
        Ok((name.clone(), Value::String(value)))
    };
    object.iter().map(one).collect()
}

/// The file of secrets (`systemd.exec(5)`, EnvironmentFile=), of lines `NAME=value`. Error: a sentence without any value.
pub fn secrets(lines: &str) -> Result<String, String> {
    let mut out = String::new();
    for (n, line) in lines.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line
            .split_once('=')
            .filter(|(name, _)| is_name(name))
            .ok_or_else(|| format!("Line {} is not NAME=value.", n + 1))?;
        let mut quoted = String::new();
        for c in value.chars() {
            if "\"\\`$".contains(c) {
                quoted.push('\\');
            }
            quoted.push(c);
        }
        out.push_str(&format!("{name}=\"{quoted}\"\n"));
    }
    Ok(out.trim_end().into())
}

/// A word of a unit's file (`systemd.service(5)`, "Command lines").
fn quoted(word: &str, is_command: bool) -> String {
    let mut out = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '%' => out.push_str("%%"),
            '$' if is_command => out.push_str("$$"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// What a unit's file is made of.
#[derive(Debug, Clone, Copy)]
pub struct Of<'a> {
    /// The service's name.
    pub name: &'a str,
    /// Its settings.
    pub config: &'a Config,
    /// When systemd starts it again: `always`, `on-failure`, `never`.
    pub policy: &'a str,
    /// So often
    pub max_restarts: i64,
    /// within so many seconds,
    pub window_s: i64,
    /// and after so many each time.
    pub delay_s: i64,
    /// Is there a file of secrets?
    pub has_secrets: bool,
}

/// The text of the unit, without an end of its last line.
pub fn file(of: &Of) -> String {
    let config = of.config;
    let unit = text(config, "unit");
    let words = |name: &str| {
        config
            .get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    };
    let argv: Vec<String> = words("argv").map(|word| quoted(word, true)).collect();
    let restart = match of.policy {
        "always" => "always",
        "on-failure" => "on-failure",
        _ => "no",
    };
    let mut out = String::new();
    // Writing into a String cannot fail.
    let mut line = |text: std::fmt::Arguments| {
        let _ = writeln!(out, "{text}");
    };
    line(format_args!("{}", mark(unit)));
    line(format_args!(
        "[Unit]\nDescription={}\nWants=network-online.target\nAfter=network-online.target",
        of.name
    ));
    line(format_args!(
        "StartLimitIntervalSec={}\nStartLimitBurst={}",
        of.window_s, of.max_restarts
    ));
    line(format_args!("\n[Service]\nType=exec\nExecStart={}", argv.join(" ")));
    match text(config, "user") {
        "" => line(format_args!("DynamicUser=yes")),
        user => line(format_args!("User={user}")),
    }
    if !text(config, "directory").is_empty() {
        line(format_args!(
            "WorkingDirectory={}",
            text(config, "directory").replace('%', "%%")
        ));
    }
    for (name, value) in config
        .get("environment")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let pair = format!("{name}={}", value.as_str().unwrap_or_default());
        line(format_args!("Environment={}", quoted(&pair, false)));
    }
    if of.has_secrets {
        line(format_args!("EnvironmentFile=/etc/lamplighter-services/{unit}.env"));
    }
    line(format_args!("Restart={restart}\nRestartSec={}", of.delay_s));
    if let Some(limit) = number(config, "memory_limit_mb") {
        line(format_args!("MemoryMax={limit}M"));
    }
    line(format_args!(
        "NoNewPrivileges=yes\nPrivateTmp=yes\nProtectSystem=full\nProtectKernelTunables=yes\nProtectKernelModules=yes\n\
         ProtectControlGroups=yes\nRestrictSUIDSGID=yes\nRestrictRealtime=yes\nLockPersonality=yes"
    ));
    line(format_args!("\n[Install]\nWantedBy=multi-user.target"));
    out.trim_end().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_unit_says_what_was_asked_for_and_nothing_is_expanded() {
        let config = json!({
            "unit": unit("Shop-Bot"), "argv": ["/usr/bin/env", "a b", "$HOME", "50%", "say \"x\\y\""], "user": "bot",
            "directory": "/srv/bot", "environment": { "TZ": "UTC", "RATE": "5% $x" }, "memory_limit_mb": 256,
        });
        let mut config = config.as_object().unwrap().clone();
        let of = |config: &Config, has_secrets| {
            file(&Of {
                name: "Shop-Bot",
                config,
                policy: "on-failure",
                max_restarts: 5,
                window_s: 300,
                delay_s: 1,
                has_secrets,
            })
        };
        let text = of(&config, true);
        assert!(text.starts_with(&mark("lamplighter-shop-bot.service")), "{text}");
        for line in [
            "Description=Shop-Bot",
            r#"ExecStart="/usr/bin/env" "a b" "$$HOME" "50%%" "say \"x\\y\"""#,
            "User=bot",
            "WorkingDirectory=/srv/bot",
            "Environment=\"RATE=5%% $x\"",
            "EnvironmentFile=/etc/lamplighter-services/lamplighter-shop-bot.service.env",
            "Restart=on-failure",
            "RestartSec=1",
            "StartLimitBurst=5",
            "MemoryMax=256M",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
        config.remove("user");
        let text = of(&config, false);
        assert!(text.contains("DynamicUser=yes") && !text.contains("EnvironmentFile"));
    }

    #[test]
    fn secrets_are_lines_and_a_mistake_does_not_show_them() {
        let text = secrets("# of the bot\nTOKEN=a\"b$c\n\n KEY = x").unwrap_err();
        assert_eq!(text, "Line 4 is not NAME=value.");
        assert_eq!(secrets("TOKEN=a\"b$c=d").unwrap(), "TOKEN=\"a\\\"b\\$c=d\"");
    }
}
