//! The arguments of `ssh`: one list of options for every server, then what differs, then `--` and the host. Nothing of
//! the user's or the system's ssh configuration is read; a server can call nothing back.

use super::{Auth, Target};
use std::ffi::OsString;

/// Accepted by every OpenSSH from 8.4 on (Debian 11, Ubuntu 22.04).
const OPTIONS: &[&str] = &[
    // no terminal: stdout and stderr stay apart, nothing is echoed; stdin is plain bytes
    "RequestTTY=no",
    "EscapeChar=none",
    // only the key that is given
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "AddKeysToAgent=no",
    "PKCS11Provider=none",
    // only the host key that is given: from no other file, not from DNS, never updated
    "StrictHostKeyChecking=yes",
    "GlobalKnownHostsFile=/dev/null",
    "UpdateHostKeys=no",
    "CheckHostIP=no",
    "VerifyHostKeyDNS=no",
    // the name goes out as it is
    "CanonicalizeHostname=no",
    "ProxyCommand=none",
    "ProxyJump=none",
    // a hostile server cannot call back
    "PermitLocalCommand=no",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ClearAllForwardings=yes",
    "Tunnel=no",
    // fewer methods, faster
    "GSSAPIAuthentication=no",
    "HostbasedAuthentication=no",
    "NumberOfPasswordPrompts=1",
    // a dead link is noticed after 45 s
    "ConnectTimeout=10",
    "ConnectionAttempts=1",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=3",
    "TCPKeepAlive=no",
    // one connection for many jobs
    "ControlMaster=auto",
    "ControlPersist=60",
    // errors only, and nothing of our environment
    "LogLevel=ERROR",
    "Compression=no",
    "SendEnv=none",
];

/// The one command that any server is asked to run: it reads a block of stdin, then runs it. Whatever login shell the
/// user has, it sees nothing but this. `dd` takes exactly a block; a shell that reads a script reads ahead.
const COMMAND: &str = r#"exec /bin/sh -c 'eval "$(dd bs=4096 count=1 iflag=fullblock 2>/dev/null)"'"#;

/// Files of one login, relative to the runtime folder.
pub(super) struct Paths<'a> {
    pub(super) master: &'a str,
    pub(super) known_hosts: &'a str,
    pub(super) key: Option<&'a str>,
    pub(super) log: &'a str,
}

/// The arguments of a job.
pub(super) fn job(target: &Target, paths: &Paths) -> Vec<OsString> {
    let mut args = common(paths.master);
    let mut option = |name: &str, value: &str| args.extend(["-o".into(), format!("{name}={value}").into()]);
    option("UserKnownHostsFile", paths.known_hosts);
    option("HostKeyAlias", &alias(target.server));
    match &target.auth {
        Auth::Password(_) => {
            option("PreferredAuthentications", "password,keyboard-interactive");
            option("PubkeyAuthentication", "no");
            option("BatchMode", "no");
        }
        Auth::Key { passphrase, .. } => {
            option("PreferredAuthentications", "publickey");
            option("IdentityFile", paths.key.unwrap_or("none"));
            // It would switch askpass off.
            option("BatchMode", if passphrase.is_some() { "no" } else { "yes" });
        }
    }
    args.extend(["-E".into(), paths.log.into()]);
    args.extend(["-p".into(), target.port.to_string().into()]);
    args.extend(["-l".into(), target.user.as_str().into()]);
    args.extend(["--".into(), target.host.as_str().into(), COMMAND.into()]);
    args
}

/// The arguments of a message (`exit`, `stop`) to the master behind a socket. It has a host's place in its grammar, but
/// goes nowhere.
pub(super) fn master(message: &'static str, socket: &str) -> Vec<OsString> {
    let mut args = common(socket);
    args.extend(["-O".into(), message.into(), "--".into(), "master".into()]);
    args
}

/// The name under which a server's key stands in its known-hosts file: independent of its address.
pub(super) fn alias(server: i64) -> String {
    format!("lamplighter-{server}")
}

fn common(socket: &str) -> Vec<OsString> {
    let mut args = vec!["-F".into(), "none".into(), "-T".into()];
    for option in OPTIONS {
        args.extend(["-o".into(), OsString::from(option)]);
    }
    args.extend(["-o".into(), format!("ControlPath={socket}").into()]);
    args
}
