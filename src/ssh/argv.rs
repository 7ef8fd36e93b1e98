//! The arguments of `ssh`: one list of options for every server, then what differs, then `--` and the host. Nothing of
//! the user's or the system's ssh configuration is read; a server can call nothing back.

use super::{Auth, Target};
use crate::base::host::Host;
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
    // INFO, for at ERROR it hides why it gave up before the login: "Unable to negotiate", "Connection closed by"
    "LogLevel=INFO",
    // nothing of our environment
    "Compression=no",
    "SendEnv=none",
];

/// The one command that any server is asked to run: it reads lines of stdin up to [`GO`], then runs them. Whatever login
/// shell the user has, it sees nothing but this. `read` takes exactly a line; a shell that reads a script reads ahead.
///
/// It is also the first two lines that are sent, and takes no notice of them: a start-up file of the user that reads a line
/// gets one of those, and one that becomes another shell makes that read its commands from stdin, where it finds this.
pub(super) const COMMAND: &str = r#"exec /bin/sh -c 'eval "$(while IFS= read -r l; do case $l in (": go") break ;; ("exec "*) ;; (*) printf "%s\n" "$l" ;; esac; done)"'"#;
/// The line after what is to be run.
pub(super) const GO: &str = ": go";

/// Files of one login, relative to ssh's working folder.
pub(super) struct Paths<'a> {
    pub(super) master: &'a str,
    pub(super) known_hosts: &'a str,
    pub(super) key: Option<&'a str>,
    pub(super) log: &'a str,
}

/// The arguments of a job on the server that is `to`: an address, so that ssh looks no name up.
pub(super) fn job(target: &Target, to: &Host, paths: &Paths) -> Vec<OsString> {
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
    args.extend(["--".into(), to.as_str().into(), COMMAND.into()]);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Duration;
    use crate::base::host::UserName;
    use crate::base::process::{self, Cancel, Program};
    use crate::base::secret::Secret;

    const PATHS: Paths = Paths {
        master: "cm/x",
        known_hosts: "files/h",
        key: Some("files/k"),
        log: "/dev/stderr",
    };

    fn target(host: Host, user: UserName, auth: Auth) -> Target {
        Target {
            server: 7,
            host,
            port: 2222,
            user,
            auth,
            sudo_password: None,
            host_key: String::new(),
        }
    }

    fn key(passphrase: Option<&str>) -> Auth {
        Auth::Key {
            pem: Secret::new("canary-pem"),
            passphrase: passphrase.map(Secret::new),
        }
    }

    /// What the real ssh makes of the arguments: its `-G` prints every option in force and connects nowhere.
    fn understood(args: Vec<OsString>) -> String {
        let args = [vec!["-G".into()], args].concat();
        let program = Program {
            name: "ssh",
            args,
            env: vec![],
            dir: None,
        };
        let seen = process::run(program, b"", Duration::from_secs(10), 64 * 1024, &Cancel::new()).unwrap();
        assert_eq!((seen.rc, seen.stderr.as_str()), (0, ""));
        seen.stdout
    }

    #[test]
    fn ssh_understands_every_option_as_it_is_meant() {
        let host = Host::parse("web-1.example.com").unwrap();
        let user = UserName::parse("ops").unwrap();
        let with = |auth| understood(job(&target(host.clone(), user.clone(), auth), &host, &PATHS));
        for (auth, own) in [
            (
                key(None),
                [
                    "batchmode yes",
                    "identityfile files/k",
                    "preferredauthentications publickey",
                ],
            ),
            (
                key(Some("canary")),
                [
                    "batchmode no",
                    "identityfile files/k",
                    "preferredauthentications publickey",
                ],
            ),
            (
                Auth::Password(Secret::new("canary")),
                [
                    "batchmode no",
                    "pubkeyauthentication false",
                    "preferredauthentications password,keyboard-interactive",
                ],
            ),
        ] {
            let text = with(auth);
            let lines: Vec<&str> = text.lines().collect();
            for want in [
                "user ops",
                "hostname web-1.example.com",
                "port 2222",
                "hostkeyalias lamplighter-7",
                "stricthostkeychecking true",
                "userknownhostsfile files/h",
                "globalknownhostsfile /dev/null",
                "updatehostkeys false",
                "verifyhostkeydns false",
                "checkhostip no",
                "identitiesonly yes",
                "identityagent none",
                "forwardagent no",
                "forwardx11 no",
                "permitlocalcommand no",
                "tunnel false",
                "clearallforwardings yes",
                "requesttty false",
                "escapechar none",
                "numberofpasswordprompts 1",
                "controlmaster auto",
                "controlpath cm/x",
                "controlpersist 60",
                "connecttimeout 10",
                "serveraliveinterval 15",
                "serveralivecountmax 3",
                "loglevel INFO",
            ]
            .into_iter()
            .chain(own)
            {
                assert!(lines.contains(&want), "{want} is missing in\n{text}");
            }
            assert!(
                lines
                    .iter()
                    .all(|l| !l.starts_with("proxycommand ") && !l.starts_with("proxyjump "))
            );
            assert!(!text.contains("canary"));
        }
    }

    #[test]
    fn no_host_and_no_user_is_ever_an_option() {
        // Letters that make options, commands and escapes; the grammar lets through what is a name.
        const LETTERS: &[u8] = b"-oPab.1:@[]%$`;|&=\n '\"\\/~#x";
        let mut seed = 1u64;
        let mut random = |n: usize| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % n
        };
        let (mut hosts, mut users) = (0, 0);
        for _ in 0..10_000 {
            let mut text = |n| -> String {
                (0..=random(n))
                    .map(|_| LETTERS[random(LETTERS.len())] as char)
                    .collect()
            };
            let (host, user) = (Host::parse(&text(8)), UserName::parse(&text(4)));
            hosts += u32::from(host.is_ok());
            users += u32::from(user.is_ok());
            let host = host.unwrap_or_else(|_| Host::parse("h").unwrap());
            let user = user.unwrap_or_else(|_| UserName::parse("u").unwrap());
            let target = target(host, user, key(None));
            let args = job(&target, &target.host, &PATHS);
            let args: Vec<&str> = args.iter().map(|a| a.to_str().unwrap()).collect();
            let [.., l, user, dashes, host, command] = args[..] else {
                panic!()
            };
            assert_eq!((l, dashes, command), ("-l", "--", COMMAND));
            assert_eq!((user, host), (target.user.as_str(), target.host.as_str()));
            for word in [user, host] {
                assert!(!word.starts_with('-'), "{word}");
                assert!(
                    word.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:".contains(&b)),
                    "{word}"
                );
            }
        }
        assert!(hosts > 200 && users > 200, "the fuzz reaches names: {hosts}, {users}");
    }
}
