//! The way to an engine whose socket only root may open: a small relay there, run by sudo, with a socket that is the login
//! user's. It ends with us, with the connection, or with what it was made for.

use crate::app::App;
use crate::base::clock::Duration;
use crate::base::error::{Error, Result};
use crate::base::parallel::lock;
use crate::base::process::Cancel;
use crate::base::shell;
use crate::features::fleet::servers::ServerConnection;
use crate::provision::engines;
use crate::ssh::follow::{News, Source};
use std::sync::Mutex;
use std::thread;

/// Silence after which the server counts as lost.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Does something with a socket there that leads to this one, as long as the work takes. Errors: those of ssh and sudo, of
/// [`engines::relay_ended`] and of the work.
pub fn with<T>(
    app: &App,
    connection: &ServerConnection,
    socket: &str,
    cancel: &Cancel,
    work: impl FnOnce(&str) -> Result<T>,
) -> Result<T> {
    let user = connection.server.fields.username.as_str();
    let script = shell::assignments(&[("SOCKET", socket), ("OWNER", user)])? + engines::RELAY;
    let mut follow = connection.follow(
        app,
        Source {
            script: &script,
            root: true,
            token: |_| None,
            inclusive: false,
            idle_max: IDLE_MAX,
            pause: Duration::from_secs(1),
        },
    );
    let there = loop {
        match follow.next(cancel)? {
            News::Line(line) => match line.strip_prefix("relay ") {
                Some(path) => break path.to_string(),
                None => continue,
            },
            News::Complaint(_) => {}
            News::Lost(e) => return Err(e),
            News::Ended(rc) => return Err(engines::relay_ended(rc, socket, user)),
        }
    };
    let over = Cancel::new();
    let ended: Mutex<Option<Error>> = Mutex::default();
    thread::scope(|scope| {
        let keep = || {
            let why = loop {
                match follow.next(&over) {
                    Ok(News::Line(_) | News::Complaint(_)) => {}
                    Ok(News::Lost(e)) | Err(e) => break e,
                    Ok(News::Ended(rc)) => break engines::relay_ended(rc, socket, user),
                }
            };
            *lock(&ended) = Some(why);
            drop(follow); // ends the script there
        };
        thread::Builder::new()
            .name("containers.relay".into())
            .spawn_scoped(scope, keep)?;
        let done = work(&there);
        let ended = lock(&ended).take().filter(|_| done.is_err());
        over.cancel();
        match ended {
            Some(why) if !cancel.is_cancelled() => Err(why),
            _ => done,
        }
    })
}
