//! A server's row, and the states that are stored with it.

use super::model::{Fields, Has};
use crate::base::clock::Ms;
use crate::base::id::{self, Id};
use crate::base::shape::described;
use crate::ssh::hostkey;
use serde::Serialize;
use std::collections::BTreeMap;

/// State of a server's host key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKeyState {
    /// Not read yet.
    Unknown,
    /// Offered, waits for confirmation.
    Pending,
    /// Accepted; only this key is allowed.
    Pinned,
    /// A different key was offered: nothing is sent.
    Changed,
}

impl HostKeyState {
    const ALL: [HostKeyState; 4] = [
        HostKeyState::Unknown,
        HostKeyState::Pending,
        HostKeyState::Pinned,
        HostKeyState::Changed,
    ];

    /// As stored and shown.
    pub fn name(self) -> &'static str {
        ["unknown", "pending", "pinned", "changed"][self as usize]
    }

    pub(super) fn parse(name: &str) -> HostKeyState {
        HostKeyState::ALL
            .into_iter()
            .find(|s| s.name() == name)
            .unwrap_or(HostKeyState::Unknown)
    }
}

/// State of a server, from availability and open alerts. The rule is in SQL (`sql/0021_state.sql`); pages, commands,
/// API and metrics read the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Available, no open alert of level WARNING or higher.
    Up,
    /// Not answered yet.
    Pending,
    /// Available, with an open alert of level WARNING or higher.
    Degraded,
    /// Not available.
    Down,
}
described!(State: "up", "pending", "degraded", "down");

impl State {
    /// From the best to the worst.
    pub const ALL: [State; 4] = [State::Up, State::Pending, State::Degraded, State::Down];

    /// As stored and shown.
    pub fn name(self) -> &'static str {
        ["up", "pending", "degraded", "down"][self as usize]
    }

    /// Name of its lamp picture.
    pub fn lamp(self) -> &'static str {
        ["lit", "unlit", "flick", "dark"][self as usize]
    }

    pub(super) fn parse(name: &str) -> State {
        let known = State::ALL.into_iter().find(|s| s.name() == name);
        known.unwrap_or(State::Pending)
    }
}

/// Open alerts of a server.
#[derive(Debug, Clone, Default)]
pub struct Alerts {
    /// Id.
    pub open: i64,
    /// Kinds, separated by spaces.
    pub kinds: String,
    /// The alert that determines the state: the worst, of several the oldest.
    pub worst: Option<Worst>,
}

described! {
    /// The worst open alert.
    #[derive(Debug, Clone)]
    pub struct Worst {
        /// Id.
        pub id: i64,
        /// `metric.disk`, …
        pub kind: String,
        /// `WARNING`, `ERROR` or `CRITICAL`.
        pub level: String,
        /// Variant of the text for the kind.
        #[serde(skip)]
        pub variant: String,
        /// One sentence.
        pub title: String,
        /// Subject as in the alert: `web-1 /srv`.
        #[serde(skip)]
        pub name: String,
    }
}

/// Does Glances answer?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Availability {
    /// `provisioning`, `ok` or `unreachable`.
    pub status: &'static str,
    /// Since when, unix ms: when down, since the first failed poll.
    pub since: Ms,
    /// Failed polls in a row.
    pub fail_count: i64,
    /// Start of the first of them, unix ms.
    pub missed_since: Option<Ms>,
    /// Code and sentence of the last failed poll.
    pub error: Option<(String, String)>,
    /// While it is down: other ports of the host that answered, and when that was checked.
    pub host: Option<String>,
}

/// A server's row.
#[derive(Debug, Clone)]
pub struct Server {
    /// Id.
    pub id: Id<id::Server>,
    /// Plain fields.
    pub fields: Fields,
    /// Stored secrets.
    pub has: Has,
    /// Which secrets its password, key, Glances password and token are.
    pub refers: [Option<i64>; 4],
    /// Installation profile of Glances: `unknown`, `protected` or `open`.
    pub glances_profile: &'static str,
    /// The accepted key, one or more `known_hosts` key lines.
    pub host_key: String,
    /// The key offered last, if it is not the accepted one.
    pub host_key_seen: String,
    /// State of the host key.
    pub host_key_state: HostKeyState,
    /// Availability.
    pub availability: Availability,
    /// When its name's addresses changed, unix ms, with a sentence.
    pub moved: Option<(Ms, String)>,
    /// State.
    pub state: State,
    /// Since when, unix ms.
    pub state_since: Ms,
    /// Open alerts.
    pub alerts: Alerts,
    /// End of its silence, unix ms; does not affect the state.
    pub silenced_until: Option<Ms>,
    /// API version last seen, 3 or 4.
    pub glances_api: Option<i64>,
    /// The path that answered.
    pub glances_path_seen: Option<String>,
    /// JSON object from the last check.
    pub facts: String,
    /// Time of that check, unix ms.
    pub facts_at: Option<Ms>,
    /// Revision, incremented with every change.
    pub revision: i64,
    /// Incremented when polling parameters change.
    pub poll_revision: i64,
    /// Unix ms.
    pub created_at: Ms,
    /// Unix ms.
    pub updated_at: Ms,
}

/// Stored values that a poll's outcome is compared with.
#[derive(Debug, Clone)]
pub struct Polled {
    /// The server's name.
    pub name: String,
    /// [`Server::poll_revision`].
    pub revision: i64,
    /// Availability before the poll.
    pub availability: Availability,
    /// API version last seen.
    pub glances_api: Option<i64>,
    /// The path that answered last.
    pub glances_path_seen: Option<String>,
    /// Known addresses of its name, separated by spaces, latest first; empty: no name, or not resolved yet.
    pub addresses: String,
    /// [`Server::moved`].
    pub moved: Option<(Ms, String)>,
}

impl Server {
    /// The fields that refer to a secret, with its number.
    pub fn secret_ids(&self) -> BTreeMap<&'static str, i64> {
        let columns = ["password", "ssh_key", "glances_password", "glances_token"];
        let all = columns.into_iter().zip(self.refers);
        all.filter_map(|(column, secret)| Some((column, secret?))).collect()
    }

    /// Address of its sshd: a different one is a different machine with its own host key.
    pub fn address(&self) -> (&String, u16) {
        (&self.fields.host, self.fields.ssh_port)
    }

    /// Fingerprint to show: the offered key while it is pending or different, else the accepted one.
    pub fn fingerprint(&self) -> Option<String> {
        let line = if self.host_key_seen.is_empty() {
            &self.host_key
        } else {
            &self.host_key_seen
        };
        hostkey::parse(line.lines().next()?).ok().map(|k| k.fingerprint)
    }
}
