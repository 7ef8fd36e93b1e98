//! How a server's container engine is reached: by its socket when the login user may open it, else through root.

use crate::base::error::{Error, Kind, Result};
use crate::lang::words;
use std::collections::BTreeMap;

/// Lets a user use a socket that only root may open, as long as it runs. Variables: `SOCKET`, `OWNER`.
pub const RELAY: &str = include_str!("scripts/engine_relay.sh");

/// A way to an engine, by the facts of [`super::recipes::engines`].
#[derive(Debug, Clone)]
pub enum Way {
    /// The login user may open this socket.
    Open(String),
    /// Only root may open this one. Where sudo does not help, the error says what does.
    Root(String, Error),
}

/// The way to the engine of a server where `user` logs in. Errors: `engine_absent`, `engine_off`, each with the one command
/// that mends it.
pub fn way(facts: &BTreeMap<String, String>, user: &str) -> Result<Way> {
    let fact = |key: &str| facts.get(key).map(String::as_str).filter(|value| !value.is_empty());
    let refused = |code, say: String| Error::new(Kind::Conflict, code, say);
    for engine in ["docker", "podman"] {
        if let (Some(socket), Some("yes")) = (fact(&format!("{engine}_socket")), fact(&format!("{engine}_access"))) {
            return Ok(Way::Open(socket.into()));
        }
    }
    // Podman's folder is closed to everybody else, whether its socket is on or not.
    if let Some(socket) = fact("docker_socket") {
        let say = words::english("told.engine_denied_docker", &[("user", user)]);
        return Ok(Way::Root(socket.into(), refused("engine_denied", say)));
    }
    if let (Some(socket), Some(_)) = (fact("podman_socket"), fact("podman")) {
        let say = words::english("told.engine_denied_podman", &[("user", user)]);
        return Ok(Way::Root(socket.into(), refused("engine_denied", say)));
    }
    if fact("podman").is_some() {
        return Err(podman_off());
    }
    if fact("docker").is_some() {
        return Err(refused("engine_off", words::english("told.engine_off_docker", &[])));
    }
    Err(refused("engine_absent", words::english("told.engine_absent", &[])))
}

fn podman_off() -> Error {
    Error::new(
        Kind::Conflict,
        "engine_off",
        words::english("told.engine_off_podman", &[]),
    )
}

/// What the end of [`RELAY`] with this code means for an engine's socket.
pub fn relay_ended(rc: i32, socket: &str, user: &str) -> Error {
    let values = [("user", user), ("socket", socket)];
    let (code, say) = match rc {
        3 if socket.contains("podman") => return podman_off(),
        3 => (
            "engine_off",
            words::english("told.engine_off_socket", &[("socket", socket)]),
        ),
        4 => ("engine_denied", words::english("told.engine_denied_socat", &values)),
        _ => ("engine_denied", words::english("told.engine_denied_sudo", &values)),
    };
    Error::new(Kind::Conflict, code, say).log(format_args!("code {rc}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_what_mends_it() {
        let of = |facts: &[(&str, &str)]| {
            let facts = facts.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            way(&facts, "ops").map_err(|e| (e.code, e.say))
        };
        let docker = [("docker_socket", "/run/docker.sock"), ("docker_access", "yes")];
        let opens = |way: Way, at: &str| matches!(way, Way::Open(socket) if socket == at);
        assert!(opens(of(&docker).unwrap(), "/run/docker.sock"));
        let both = [
            ("docker_socket", "/run/docker.sock"),
            ("docker_access", "no"),
            ("podman", "4.3.1"),
            ("podman_socket", "/run/user/1000/podman/podman.sock"),
            ("podman_access", "yes"),
        ];
        // What is one's own needs no root.
        assert!(opens(of(&both).unwrap(), "/run/user/1000/podman/podman.sock"));
        for (facts, mends) in [
            (&both[..2], "usermod -aG docker ops"),
            (
                &[
                    ("podman", "4.3.1"),
                    ("podman_socket", "/run/podman/podman.sock"),
                    ("podman_access", "no"),
                ][..],
                "usermod -aG sudo ops",
            ),
        ] {
            let Way::Root(socket, denied) = of(facts).unwrap() else {
                panic!("{facts:?}")
            };
            assert!(socket.starts_with("/run/") && denied.code == "engine_denied" && denied.say.contains(mends));
        }
        for (facts, code, mends) in [
            (
                &[("podman", "4.3.1")][..],
                "engine_off",
                "systemctl enable --now podman.socket",
            ),
            (
                &[("docker", "29.0.1")][..],
                "engine_off",
                "systemctl enable --now docker",
            ),
            (
                &[("podman_socket", "/run/podman/podman.sock")][..],
                "engine_absent",
                "Neither",
            ),
        ] {
            let (got, say) = of(facts).unwrap_err();
            assert!(got == code && say.contains(mends), "{say}");
        }
        assert_eq!(relay_ended(3, "/run/podman/podman.sock", "ops").code, "engine_off");
        assert!(
            relay_ended(4, "/run/docker.sock", "ops")
                .say
                .contains("apt-get install socat")
        );
    }
}
