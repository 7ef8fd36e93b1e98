//! Any unit of systemd on a server, of the system or of the login user.

use super::{Check, Config, Kind, Place, flag, keep, text};
use crate::form::Input;

/// A unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// With its suffix: `nginx.service`.
    pub name: String,
    /// Of the login user's own systemd.
    pub user: bool,
}

/// See [`Kind`].
pub const KIND: Kind = Kind {
    name: "unit",
    place: Place::Server,
    acts: true,
    has_password: false,
    fields: &["unit", "user_unit", "probe"],
    required: 1,
    read,
    home: |_| String::new(),
    check: Check::Unit(|config| Unit {
        name: text(config, "unit").into(),
        user: flag(config, "user_unit"),
    }),
    keeps_token: false,
    tables: &[],
};

fn read(i: &mut Input, config: &mut Config) {
    let unit = i.parse("unit", "bad_unit", name);
    keep(config, "unit", unit);
    if let Some(user) = i.flag("user_unit") {
        config.insert("user_unit".into(), user.into());
    }
}

/// A unit's name with its suffix (`systemd.unit(5)`).
pub fn name(text: &str) -> Result<String, String> {
    const SUFFIXES: [&str; 6] = [".service", ".socket", ".timer", ".mount", ".path", ".target"];
    if text.is_empty() {
        return Ok(String::new());
    }
    let known = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if text.len() > 200 || !text.chars().all(known) || text.starts_with('-') {
        return Err("A unit is called like nginx or getty@tty1.service: letters, digits and : - _ . \\ @.".into());
    }
    match SUFFIXES.iter().any(|suffix| text.ends_with(suffix)) {
        true => Ok(text.into()),
        false => Ok(format!("{text}.service")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_has_a_suffix_and_nothing_that_is_an_option_or_a_pattern() {
        assert_eq!(name("nginx").unwrap(), "nginx.service");
        assert_eq!(name("a@b.timer").unwrap(), "a@b.timer");
        for bad in ["-x", "a b", "a*", "a;b", "../x"] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
