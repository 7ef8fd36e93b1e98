//! The kinds of services: one row each. A kind says what it takes, where it is, and how it is looked at.

pub mod command;
mod exec;
mod heartbeat;
mod http;
mod marzban;
mod postgres;
mod redis;
mod tcp;
mod tmux;
mod unit;

use super::verdict::{Health, Look};
use crate::app::App;
use crate::base::clock::Instant;
use crate::base::error::{Error, Kind as Fault, Result};
use crate::base::host::Host;
use crate::base::process::Cancel;
use crate::base::secret::Secret;
use crate::features::fleet::servers::ServerConnection;
use crate::form::Input;
use crate::net::dial::{self, Call, Security, Wire};
use crate::net::http::Route;
use crate::net::policy::Policy;
use crate::ssh::forward::Remote;
use serde_json::{Map, Value};
use std::cell::{Cell, RefCell};
use std::time::Duration;

pub use super::verdict::{Row, Tables};
pub use http::CONDITION;
pub use marzban::{Change, PANEL_STATES, PanelUser, Wanted, change, users};
pub use postgres::{BAD_PASSWORD, Postgres, QUERIES};
pub use redis::{Counted, clear, count};
pub use tmux::Tmux;
pub use unit::Unit;

/// Validated settings of a kind.
pub type Config = Map<String, Value>;

/// A kind of services.
#[derive(Debug)]
pub struct Kind {
    /// As stored and sent.
    pub name: &'static str,
    /// Where it is.
    pub place: Place,
    /// Can it be started, stopped and restarted?
    pub acts: bool,
    /// Has it a password?
    pub has_password: bool,
    /// Its settings; the first ones are required.
    pub fields: &'static [&'static str],
    /// So many of them.
    pub required: usize,
    /// Reads its settings over those that it has.
    pub read: fn(&mut Input, &mut Config),
    /// Where its password goes: if that changes, the password must be given again.
    pub home: fn(&Config) -> String,
    /// How it is looked at.
    pub check: Check,
    /// Is it signed in to, and what it gives kept for the next look?
    pub keeps_token: bool,
    /// Tables that a look may bring, in the order of the page.
    pub tables: &'static [Table],
}

/// A table that a look brings.
#[derive(Debug)]
pub struct Table {
    /// As sent, and of the words `services.table.NAME`.
    pub name: &'static str,
    /// In the order of the page.
    pub columns: &'static [Column],
}

/// A column of a table.
#[derive(Debug, serde::Serialize)]
pub struct Column {
    /// As sent, and of the words `services.column.NAME`.
    pub name: &'static str,
    /// How it is written: `text`, `code`, `number`, `bytes`, `ms`, `seconds`, `time`.
    pub unit: &'static str,
}

impl Column {
    const fn of(name: &'static str, unit: &'static str) -> Column {
        Column { name, unit }
    }
}

/// Where a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On a server.
    Server,
    /// On a server, reached through it; or reached from here.
    Anywhere,
    /// It calls us.
    Nowhere,
}

/// How a service is looked at.
#[derive(Debug, Clone, Copy)]
pub enum Check {
    /// As a unit of systemd, with all others of its server in one job.
    Unit(fn(&Config) -> Unit),
    /// As a session of tmux, in the same job.
    Tmux(fn(&Config) -> Tmux),
    /// By a program on its server, in the same job.
    Exec(fn(&Config) -> Vec<String>),
    /// By psql on its server, in the same job.
    Postgres(fn(&Config) -> Postgres),
    /// By a connection that asks something.
    Ask(fn(&Ask) -> Result<Look>),
    /// By a mere connection; on its server, without TLS, in the same job.
    Port(fn(&Ask) -> Result<Look>),
    /// It calls us.
    Called,
}

/// The first of them.
pub static UNIT: Kind = unit::KIND;

/// All kinds.
pub const KINDS: [Kind; 10] = [
    unit::KIND,
    command::KIND,
    tmux::KIND,
    http::KIND,
    tcp::KIND,
    exec::KIND,
    redis::KIND,
    postgres::KIND,
    marzban::KIND,
    heartbeat::KIND,
];

/// Their names.
pub const NAMES: [&str; KINDS.len()] = {
    let mut names = [""; KINDS.len()];
    let mut n = 0;
    while n < KINDS.len() {
        names[n] = KINDS[n].name;
        n += 1;
    }
    names
};

/// The kind of this name.
pub fn of(name: &str) -> Option<&'static Kind> {
    static ALL: [Kind; KINDS.len()] = KINDS;
    ALL.iter().find(|kind| kind.name == name)
}

/// What a program's end and output mean.
pub fn of_exec(rc: i64, output: &str) -> Look {
    exec::outcome(rc, output)
}

/// What psql's end and output mean.
pub fn of_postgres(rc: i64, ready: i64, output: &str) -> Look {
    postgres::outcome(rc, ready, output)
}

/// What is known of a heartbeat that is due every so often, and was called `ago` ms ago.
pub fn of_calls(config: &Config, ago: Option<i64>, exit_code: Option<i64>) -> Look {
    heartbeat::read(config, ago, exit_code)
}

/// Kinds that may be asked whether a unit or session that runs also works.
pub const PROBES: [&str; 2] = ["http", "tcp"];

/// A question to a service over the network.
pub struct Ask<'a> {
    /// Its settings.
    pub config: &'a Config,
    /// Its password.
    pub password: Option<&'a Secret>,
    /// What it has given whoever signed in, where its kind keeps that.
    pub token: RefCell<Option<Secret>>,
    /// Is that a new one?
    pub renewed: Cell<bool>,
    /// Through its server, or from here.
    pub way: Way<'a>,
    /// The end of all waiting.
    pub until: Instant,
}

/// The way to a service.
pub enum Way<'a> {
    /// From here, to addresses that this allows.
    Direct(Policy),
    /// Through its server's connection.
    Through(&'a App, &'a ServerConnection, &'a Cancel),
}

/// Limit of a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);

impl Ask<'_> {
    /// A text of the settings; empty: there is none.
    pub fn text(&self, name: &str) -> &str {
        text(self.config, name)
    }

    /// Host and port of the settings.
    pub fn peer(&self) -> Result<(Host, u16)> {
        let host = Host::parse(self.text("host")).map_err(Error::internal)?;
        let port = number(self.config, "port")
            .and_then(|n| u16::try_from(n).ok())
            .unwrap_or_default();
        Ok((host, port))
    }

    /// Does something over a way to this peer. Errors: those of [`dial::dial`], of ssh, and of the work.
    pub fn reach<T>(
        &self,
        host: &Host,
        port: u16,
        security: Security,
        work: impl FnOnce(&Call, Route) -> Result<T>,
    ) -> Result<T> {
        let call = Call {
            host,
            port,
            security,
            policy: match self.way {
                Way::Direct(policy) => policy,
                Way::Through(..) => Policy::Server,
            },
            connect_max: CONNECT_MAX,
            until: self.until,
        };
        match self.way {
            Way::Direct(_) => work(&call, Route::Direct),
            Way::Through(app, connection, cancel) => {
                if let Some(Err(what)) = host.ip().map(|ip| Policy::Server.check(ip)) {
                    let say = format!("{} is {what}.", host.as_str());
                    return Err(Error::new(Fault::Conflict, "address_refused", say));
                }
                let remote = Remote::Tcp(host.clone(), port);
                let mut forward = connection.forward(app, &remote, cancel)?;
                let path = forward.path().to_path_buf();
                let done = work(&call, Route::Unix(&path)).map_err(|e| match e.kind {
                    Fault::Upstream | Fault::Timeout => forward.explain(e, cancel),
                    _ => e,
                });
                done.map_err(|e| match e.code {
                    "forward_no_socket" => {
                        let say = format!(
                            "From its server {}:{port} cannot be reached: nothing listens there.",
                            host.in_url()
                        );
                        Error::new(Fault::Upstream, "refused", say).log(e.say)
                    }
                    _ => e,
                })
            }
        }
    }

    /// A connection to the host and port of the settings, for the work.
    pub fn connect<T>(&self, work: impl FnOnce(Wire) -> Result<T>) -> Result<T> {
        let (host, port) = self.peer()?;
        let security = match flag(self.config, "tls") {
            true => Security::Tls,
            false => Security::Plain,
        };
        self.reach(&host, port, security, |call, route| {
            work(match route {
                Route::Unix(path) => dial::dial_unix(call, path)?,
                _ => dial::dial(call)?,
            })
        })
    }
}

/// A text of the settings; empty: there is none.
pub fn text<'a>(config: &'a Config, name: &str) -> &'a str {
    config.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A number of the settings.
pub fn number(config: &Config, name: &str) -> Option<i64> {
    config.get(name).and_then(Value::as_i64)
}

/// A flag of the settings.
pub fn flag(config: &Config, name: &str) -> bool {
    config.get(name).and_then(Value::as_bool).unwrap_or_default()
}

/// Keeps a text, or takes it away where it is empty.
fn keep(config: &mut Config, name: &'static str, value: Option<String>) {
    match value {
        Some(text) if text.is_empty() => drop(config.remove(name)),
        Some(text) => drop(config.insert(name.into(), text.into())),
        None => {}
    }
}

/// Reads a host and a port.
fn read_peer(i: &mut Input, config: &mut Config) {
    let host = i.parse("host", "bad_host", |text| match text {
        "" => Ok(String::new()),
        text => Host::parse(text).map(|host| host.to_string()),
    });
    keep(config, "host", host);
    if let Some(port) = i.maybe_number("port") {
        match port {
            Some(port) => drop(config.insert("port".into(), port.into())),
            None => drop(config.remove("port")),
        }
    }
    if let Some(tls) = i.flag("tls") {
        config.insert("tls".into(), tls.into());
    }
}

/// Where a password for a host and port goes.
fn home_of_peer(config: &Config) -> String {
    let port = number(config, "port").unwrap_or_default();
    format!("{}:{port} {}", text(config, "host"), flag(config, "tls"))
}
