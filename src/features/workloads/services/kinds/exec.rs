//! A program on a server that says how something is, as the plugins of Nagios and Icinga do: code 0 is healthy, 1 degraded,
//! 2 unhealthy, another one unknown; its first line says why. An object of JSON in its output brings figures, and may
//! decide by `health` and `message`; so do the figures after a `|`.

use super::{Check, Config, Health, Kind, Look, Place};
use crate::base::text::one_line;
use crate::form::Input;
use serde_json::Value;

/// See [`Kind`].
pub const KIND: Kind = Kind {
    name: "exec",
    place: Place::Server,
    acts: false,
    has_password: false,
    fields: &["argv"],
    required: 1,
    read,
    home: |_| String::new(),
    check: Check::Exec(|config| {
        let words = config
            .get("argv")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        words.iter().filter_map(Value::as_str).map(String::from).collect()
    }),
    keeps_token: false,
    tables: &[],
};

/// Most figures of one program.
const FIGURES_MAX: usize = 40;

fn read(i: &mut Input, config: &mut Config) {
    let Some(argv) = i.list("argv") else { return };
    match argv.first() {
        None => drop(config.remove("argv")),
        Some(program) if !program.starts_with('/') || program.split('/').any(|part| part == "..") => {
            let say = "The program is an absolute path, like /usr/lib/nagios/plugins/check_load.";
            i.wrong("argv", "bad_program", say);
        }
        Some(_) => drop(config.insert("argv".into(), argv.into())),
    }
}

/// What its end and output mean.
pub fn outcome(rc: i64, output: &str) -> Look {
    let first = output
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    let (said, figures) = first.split_once('|').unwrap_or((first, ""));
    let said = one_line(said.trim(), 300);
    let (health, code) = match rc {
        0 => (Health::Healthy, ""),
        1 => (Health::Degraded, "exec_warning"),
        2 => (Health::Unhealthy, "exec_critical"),
        124 | 137 => (Health::Unhealthy, "exec_slow"),
        126 | 127 => (Health::Unknown, "exec_missing"),
        _ => (Health::Unknown, "exec_unknown"),
    };
    let say = match (code, said.as_str()) {
        ("", _) => String::new(),
        ("exec_slow", _) => "The program did not end in time.".into(),
        (_, "") => format!("The program ended with code {rc} and said nothing."),
        (_, said) => said.into(),
    };
    let mut look = Look::of(health, code, say);
    for figure in figures.split_whitespace().take(FIGURES_MAX) {
        if let Some((name, value)) = figure.split_once('=')
            && let Some(number) = leading_number(value)
        {
            look.custom.insert(name.trim_matches('\'').into(), number);
        }
    }
    if let Ok(Value::Object(object)) = serde_json::from_str(output.trim()) {
        for (name, value) in object.iter().take(FIGURES_MAX) {
            if let (true, Some(number)) = (name.len() <= 60, value.as_f64()) {
                look.custom.insert(name.clone(), number);
            }
        }
        let word = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        if rc == 0 && Health::ALL.iter().any(|health| health.name() == word("health")) {
            look.health = Health::parse(word("health"));
            look.code = if look.health == Health::Healthy {
                ""
            } else {
                "exec_says"
            }
            .into();
        }
        look.say = match look.health {
            Health::Healthy => String::new(),
            _ => one_line(word("message"), 300),
        };
    }
    look
}

/// `12.5MB;20;30` is 12.5.
fn leading_number(text: &str) -> Option<f64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && !".-+".contains(c))
        .unwrap_or(text.len());
    text[..end].parse().ok().filter(|n: &f64| n.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_of_nagios_are_understood() {
        let look = outcome(
            1,
            "LOAD WARNING - 4.2 | load1=4.200;3;6;0; 'free space'=1 load5=2.1MB\nmore\n",
        );
        assert_eq!(
            (look.health, &*look.code, &*look.say),
            (Health::Degraded, "exec_warning", "LOAD WARNING - 4.2")
        );
        assert_eq!((look.custom["load1"], look.custom["load5"]), (4.2, 2.1));
        assert_eq!(outcome(0, "OK").health, Health::Healthy);
        assert_eq!(outcome(3, "?").health, Health::Unknown);
        assert_eq!(
            (outcome(127, "").health, outcome(124, "").health),
            (Health::Unknown, Health::Unhealthy)
        );
    }

    #[test]
    fn json_brings_figures_and_may_decide() {
        let look = outcome(
            0,
            r#"{"queue": 12, "age_s": 3.5, "health": "degraded", "message": "slow", "x": "y"}"#,
        );
        assert_eq!(
            (look.health, &*look.say, look.custom.len()),
            (Health::Degraded, "slow", 2)
        );
        let look = outcome(2, r#"{"health": "healthy", "message": "no"}"#);
        assert_eq!((look.health, &*look.say), (Health::Unhealthy, "no"), "a bad end counts");
    }
}
