//! What a lease makes on a host, and takes away again.

use super::Lease;
use crate::app::App;
use crate::base::clock::Duration;
use crate::base::error::{Error, Kind, Result};
use crate::base::process::Cancel;
use crate::base::secret::Secret;
use crate::base::{shell, text};
use crate::features::fleet::rotations;
use crate::features::fleet::servers::ServerConnection;
use crate::ssh::Job;

const GIVE: &str = include_str!("give.sh");
const END: &str = include_str!("end.sh");
/// Limit of each; a person waits for the first.
const LIMIT: Duration = Duration::from_secs(25);

fn connection(app: &App, lease: &Lease) -> Result<ServerConnection> {
    let server = lease.server.ok_or_else(|| Error::internal("a lease of no server"))?;
    ServerConnection::of(app, server)
}

fn run(app: &App, lease: &Lease, values: &[(&'static str, &str)], script: &str, cancel: &Cancel) -> Result<()> {
    let connection = connection(app, lease)?;
    let script = shell::assignments(values)? + script;
    let root = lease.kind == "account" || lease.account != connection.target().user.as_str();
    let mut out = String::new();
    let job = Job {
        script: &script,
        root,
        deadline: LIMIT,
    };
    let done = (app.ssh).run(connection.target(), &job, cancel, &mut |_, line| {
        out.extend([line, "\n"])
    });
    let done = connection.record_host_key_change(app, cancel, done)?;
    match done.rc {
        0 => Ok(()),
        rc => {
            let say = format!(
                "{} ({}) could not be changed for a lease. The server said: “{}” (code {rc}).",
                lease.server_name,
                lease.account,
                text::one_line(out.trim(), 300)
            );
            Err(Error::new(Kind::Upstream, "lease_on_host", say))
        }
    }
}

/// Makes the account with this password, or lets the key in.
pub fn give(app: &App, lease: &Lease, groups: &str, password: Option<&Secret>, cancel: &Cancel) -> Result<()> {
    match password {
        Some(password) => {
            let groups: String = groups.split(',').map(str::trim).collect::<Vec<_>>().join(",");
            let values = [
                ("ACCOUNT", &*lease.account),
                ("VALUE", password.reveal_text_for("chpasswd's stdin")),
                ("GROUPS_WANTED", &groups),
                ("NOTE", &lease.note()),
            ];
            run(app, lease, &values, GIVE, cancel)
        }
        None => keys(app, lease, (&lease.public_key, ""), cancel),
    }
}

/// Takes it away; nothing there is right, too.
pub fn end(app: &App, lease: &Lease, cancel: &Cancel) -> Result<()> {
    match lease.kind.as_str() {
        "account" => run(
            app,
            lease,
            &[("ACCOUNT", &lease.account), ("NOTE", &lease.note())],
            END,
            cancel,
        ),
        _ => keys(app, lease, ("", &lease.public_key), cancel),
    }
}

fn keys(app: &App, lease: &Lease, (add, drop): (&str, &str), cancel: &Cancel) -> Result<()> {
    let values = [("ACCOUNT", &*lease.account), ("ADD", add), ("LIKE", ""), ("DROP", drop)];
    run(app, lease, &values, rotations::KEYS, cancel)
}
