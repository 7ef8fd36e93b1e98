//! What of an inventory would be added, and adding it: all of what was chosen, or nothing.

use super::read::{Entry, FORMATS, HOSTS_MAX, read};
use crate::access::Allowed;
use crate::access::right::{Edit, Servers, may};
use crate::app::App;
use crate::base::error::{Error, Field, Result};
use crate::base::id::{self, Id, Server};
use crate::base::secret::Secret;
use crate::base::shape::described;
use crate::db::Conn;
use crate::features::fleet::servers;
use crate::features::house::plugins;
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::http::route::Ctx;
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};

/// Fields of an import.
pub const PARAMS: &[Param] = &[
    param::choice("format", &FORMATS, "What it is; `auto` looks at it."),
    param::link(
        "plugin_id",
        "A plugin that is asked for the inventory, in place of `text`.",
    ),
    param::text("text", TEXT_MAX, "The inventory itself.")
        .example("\"Host web-1\\n  HostName 192.0.2.10\\n  User root\""),
    param::text("username", 64, "Whom to sign in as where the inventory does not say."),
    param::list("tags", 32, 64, "Tags for all of them, beside their own."),
    param::list(
        "names",
        HOSTS_MAX,
        255,
        "Only these of the new ones; none: all of them.",
    ),
    param::secret("password", 1_024, "For the login to all of them, or for sudo."),
    param::secret("ssh_key", 32 << 10, "Private key for the login to all of them."),
    param::secret("ssh_key_passphrase", 1_024, "Of that key."),
];

/// Of a host without a login name.
const NOBODY: (&str, &str, &str) = (
    "username",
    "no_login",
    "It does not say whom to sign in as. Give a user name for all of them.",
);
/// Of a host whose name another one before it has.
const TWICE: (&str, &str, &str) = ("name", "twice", "It stands there twice.");
/// Of a host that is a server already, by its name or by its address.
const KNOWN: [(&str, &str, &str); 2] = [
    ("name", "known_server", "There is a server of this name already."),
    ("host", "known_server", "There is a server at this address already."),
];

/// Bytes of an inventory.
const TEXT_MAX: usize = 512 << 10;

described! {
    /// A host of an inventory.
    pub struct Row {
        name: String,
        host: String,
        port: u16,
        username: String,
        tags: Vec<String>,
        environment: String,
        /// `new`; `known`: there is a server of this name or at this address; `wrong`: it cannot be taken.
        pub state: &'static str,
        /// Why it is known or wrong.
        reasons: Vec<Reason>,
        /// The server that it is.
        server_id: Option<Id<Server>>,
    }

    /// Why a host is known or wrong.
    pub struct Reason {
        /// As it is called in a server.
        field: &'static str,
        /// Stable, for programs.
        code: &'static str,
        /// One sentence for people.
        message: String,
    }

    /// What an inventory has, and what became of it.
    pub struct Plan {
        pub items: Vec<Row>,
        total: i64,
        /// Hosts that would be added, or were.
        new: i64,
        /// Ids of the servers that were added; empty before.
        pub created: Vec<Id<Server>>,
    }
}

/// An import as it was asked for.
pub struct Asked {
    entries: Vec<Entry>,
    username: String,
    tags: Vec<String>,
    names: HashSet<String>,
    /// Login of all of them.
    secrets: Vec<(&'static str, Secret)>,
}

/// Reads a draft; a plugin that it names is asked. Errors: invalid fields, those of the plugin.
pub fn asked(ctx: &Ctx, mut input: Input) -> Result<Asked> {
    let i = &mut input;
    if let Some(Some(id)) = i.link::<id::Plugin>("plugin_id") {
        ctx.actor()?.may(may(Edit, Servers))?;
        let knows = |conn: &Conn| ctx.actor()?.knows(conn, ("plugin", id.get()));
        if !ctx.app.db.read(knows)? {
            return Err(plugins::missing());
        }
        let text = ctx.outbound(move |app| plugins::inventory(app, id))?;
        i.set_secret("text", Some(&Secret::new(text)));
    }
    let format = i.choice("format").unwrap_or(FORMATS[0]);
    let entries = i.parse("text", "bad_inventory", |text| read(format, text));
    if entries.is_none() && !i.has_error("text") {
        i.wrong("text", "required", "Give the inventory.");
    }
    let mut secrets = Vec::new();
    for field in ["password", "ssh_key", "ssh_key_passphrase"] {
        secrets.extend(i.secret(field).flatten().map(|secret| (field, secret)));
    }
    let asked = Asked {
        entries: entries.unwrap_or_default(),
        username: i.text("username").unwrap_or_default(),
        tags: i.list("tags").unwrap_or_default(),
        names: i.list("names").unwrap_or_default().into_iter().collect(),
        secrets,
    };
    input.finish(&[])?;
    Ok(asked)
}

impl Asked {
    /// A server's draft of an entry.
    fn draft(&self, entry: &Entry) -> Map<String, Value> {
        let mut tags = entry.tags.clone();
        tags.extend(self.tags.iter().filter(|tag| !entry.tags.contains(tag)).cloned());
        let mut draft = Map::new();
        let mut put = |name: &str, value: Value| drop(draft.insert(name.into(), value));
        put("name", json!(entry.name));
        put("host", json!(entry.host));
        put(
            "username",
            json!(if entry.username.is_empty() {
                &self.username
            } else {
                &entry.username
            }),
        );
        put("tags", json!(tags));
        for (name, text) in [
            ("ssh_port", &entry.port),
            ("environment", &entry.environment),
            ("os_type", &entry.os_type),
            ("description", &entry.description),
        ] {
            if !text.is_empty() {
                put(name, json!(text));
            }
        }
        for (name, secret) in &self.secrets {
            put(name, json!(secret.reveal_text_for("the draft of a server")));
        }
        draft
    }

    /// Says of every host what it is, and adds the chosen new ones when `is_real`.
    pub fn carry_out(&self, app: &App, by: Allowed<Edit, Servers>, is_real: bool) -> Result<Plan> {
        let known = app.db.read(servers::all)?;
        let fresh = app.db.read(servers::fresh)?;
        let by_name: HashMap<String, Id<Server>> = known.iter().map(|s| (s.fields.name.to_lowercase(), s.id)).collect();
        let by_address: HashMap<(&str, u16), Id<Server>> = known
            .iter()
            .map(|s| ((s.fields.host.as_str(), s.fields.ssh_port), s.id))
            .collect();
        let (mut items, mut taken, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        let has_secret = self.secrets.iter().any(|(field, _)| *field != "ssh_key_passphrase");
        for entry in &self.entries {
            let port = entry.port.parse().unwrap_or(22);
            let mut row = Row {
                name: entry.name.clone(),
                host: entry.host.clone(),
                port,
                username: if entry.username.is_empty() {
                    self.username.clone()
                } else {
                    entry.username.clone()
                },
                tags: entry.tags.clone(),
                environment: entry.environment.clone(),
                state: "new",
                reasons: Vec::new(),
                server_id: None,
            };
            let twin = by_name.get(&entry.name.to_lowercase());
            let same = twin.or_else(|| by_address.get(&(entry.host.as_str(), port)));
            let draft = match (&entry.problem, same) {
                (None, Some(id)) => {
                    (row.state, row.server_id) = ("known", Some(*id));
                    row.reasons = vec![Reason::of(KNOWN[usize::from(twin.is_none())])];
                    None
                }
                (None, None) if !seen.insert(entry.name.to_lowercase()) => Some(Err(vec![Reason::of(TWICE)])),
                (None, None) if row.username.is_empty() => Some(Err(vec![Reason::of(NOBODY)])),
                (None, None) => {
                    let input = Input::of(servers::PARAMS, self.draft(entry));
                    Some(servers::draft(input, &fresh, has_secret, by).map_err(reasons))
                }
                (Some(problem), _) => Some(Err(vec![problem.clone().into()])),
            };
            match draft {
                Some(Ok(valid)) if self.names.is_empty() || self.names.contains(&entry.name) => taken.push(valid),
                Some(Err(why)) => (row.state, row.reasons) = ("wrong", why),
                _ => {}
            }
            items.push(row);
        }
        let mut created = Vec::new();
        if is_real {
            if let Some(first) = taken.first() {
                servers::check_key(app, first)?;
            }
            created = app.db.write(|tx| {
                let each = taken.iter().map(|valid| servers::create(app, tx, valid, by));
                each.collect::<Result<Vec<_>>>()
            })?;
        }
        Ok(Plan {
            total: items.len() as i64,
            new: items.iter().filter(|row| row.state == "new").count() as i64,
            items,
            created,
        })
    }
}

impl Reason {
    fn of((field, code, say): (&'static str, &'static str, &str)) -> Reason {
        let message = say.into();
        Reason { field, code, message }
    }
}

impl From<Field> for Reason {
    fn from(f: Field) -> Reason {
        Reason {
            field: f.field,
            code: f.code,
            message: f.message,
        }
    }
}

/// The mistakes of a draft.
fn reasons(e: Error) -> Vec<Reason> {
    match e.fields.is_empty() {
        true => vec![Reason::of(("", e.code, &e.say))],
        false => e.fields.into_iter().map(Reason::from).collect(),
    }
}
