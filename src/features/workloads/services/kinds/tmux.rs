//! A session of tmux: a program that somebody keeps running in a terminal.

use super::{Check, Config, Kind, Place, keep, text};
use crate::base::host::UserName;
use crate::form::Input;

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tmux {
    /// Its name.
    pub session: String,
    /// Whose it is; empty: the login user's.
    pub user: String,
    /// What is started in it; empty: it can only be stopped.
    pub command: String,
}

/// See [`Kind`].
pub const KIND: Kind = Kind {
    name: "tmux",
    place: Place::Server,
    acts: true,
    has_password: false,
    fields: &["session", "command", "user", "probe"],
    required: 1,
    read,
    home: |_| String::new(),
    check: Check::Tmux(|config| Tmux {
        session: text(config, "session").into(),
        user: text(config, "user").into(),
        command: text(config, "command").into(),
    }),
    keeps_token: false,
    tables: &[],
};

fn read(i: &mut Input, config: &mut Config) {
    let session = i.parse("session", "bad_session", |text| {
        let known = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        match text.len() <= 64 && text.chars().all(known) && !text.starts_with('-') {
            true => Ok(text.to_string()),
            false => Err("A session is called by letters, digits, - and _.".into()),
        }
    });
    keep(config, "session", session);
    let user = i.parse("user", "bad_user", |text| match text {
        "" => Ok(String::new()),
        text => UserName::parse(text).map(|user| user.as_str().into()),
    });
    keep(config, "user", user);
    let command = i.text("command");
    keep(config, "command", command);
}
