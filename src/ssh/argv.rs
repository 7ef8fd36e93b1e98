//! Arguments of `ssh`: one list of options for all servers, then session-specific ones, then `--` and the host.
//! Sessions have two profiles: bytes, and a terminal. ssh configuration files of user and system are not read;
//! forwarding back from the server is off.

use super::{Auth, Target};
use crate::base::host::Host;
use std::ffi::OsString;

/// Supported by OpenSSH 8.4 and later (Debian 11, Ubuntu 22.04).
const OPTIONS: &[&str] = &[
    // no escape character: all input is data
    "EscapeChar=none",
    // only the given key
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "AddKeysToAgent=no",
    "PKCS11Provider=none",
    // only the given host key: no other file, no DNS, no updates
    "StrictHostKeyChecking=yes",
    "GlobalKnownHostsFile=/dev/null",
    "UpdateHostKeys=no",
    "CheckHostIP=no",
    "VerifyHostKeyDNS=no",
    // no canonicalization of the host name
    "CanonicalizeHostname=no",
    "ProxyCommand=none",
    "ProxyJump=none",
    // a hostile server cannot connect back
    "PermitLocalCommand=no",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ClearAllForwardings=yes",
    "Tunnel=no",
    // fewer methods, faster
    "GSSAPIAuthentication=no",
    "HostbasedAuthentication=no",
    "NumberOfPasswordPrompts=1",
    // a dead connection is noticed after 45 s
    "ConnectTimeout=10",
    "ConnectionAttempts=1",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=3",
    "TCPKeepAlive=no",
    // one connection for many sessions
    "ControlMaster=auto",
    "ControlPersist=60",
    // INFO: at ERROR ssh hides why it gave up before the login: "Unable to negotiate", "Connection closed by"
    "LogLevel=INFO",
    // pass no environment variables
    "Compression=no",
    "SendEnv=none",
];

/// The command run on every server: it reads lines of stdin up to [`GO`], then runs them. The user's login shell sees
/// nothing else. `read` takes exactly one line; a shell reading a script reads ahead.
///
/// It is also sent as the first two lines, which it ignores: a start-up file that reads a line gets one of those, and
/// one that starts another shell makes that read its commands from stdin, where it finds this.
pub(super) const COMMAND: &str = r#"exec /bin/sh -c 'eval "$(while IFS= read -r l; do case $l in (": go") break ;; ("exec "*) ;; (*) printf "%s\n" "$l" ;; esac; done)"'"#;
/// The same with a terminal as stdin. It turns off echo and line mode while it reads, and reports that by
/// [`TERMINAL_READY`]; sent earlier, input would be echoed.
pub(super) const TERMINAL_COMMAND: &str = r#"exec /bin/sh -c 't=$(stty -g); stty -echo -icanon min 1 time 0; printf "lamplighter"; s=$(while IFS= read -r l; do case $l in (": go") break ;; (*) printf "%s
" "$l" ;; esac; done); stty "$t"; eval "$s"'"#;
/// Printed when it is ready to read. A server that fakes it gains nothing.
pub(super) const TERMINAL_READY: &[u8] = b"\x1elamplighter\x1e";
/// The line after what is to be run.
pub(super) const GO: &str = ": go";

/// Files of a login, relative to ssh's working folder.
pub(super) struct Paths<'a> {
    pub(super) master: &'a str,
    pub(super) known_hosts: &'a str,
    pub(super) key: Option<&'a str>,
    pub(super) log: &'a str,
}

/// Arguments of a session on the server at `to`: an address, so that ssh resolves no name.
pub(super) fn session(target: &Target, to: &Host, paths: &Paths, terminal: bool) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["-F".into(), "none".into()];
    // Without a terminal, stdout and stderr stay separate and nothing is echoed.
    args.push(if terminal { "-tt" } else { "-T" }.into());
    for option in OPTIONS {
        args.extend(["-o".into(), OsString::from(option)]);
    }
    args.extend(["-o".into(), format!("ControlPath={}", paths.master).into()]);
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
            // It would disable askpass.
            option("BatchMode", if passphrase.is_some() { "no" } else { "yes" });
        }
    }
    args.extend(["-E".into(), paths.log.into()]);
    args.extend(["-p".into(), target.port.to_string().into()]);
    args.extend(["-l".into(), target.user.as_str().into()]);
    let command = if terminal { TERMINAL_COMMAND } else { COMMAND };
    args.extend(["--".into(), to.as_str().into(), command.into()]);
    args
}

/// Arguments of a control command (`exit`, `stop`; `forward` and `cancel` of a route) to the master behind a socket.
/// The host is only a placeholder.
pub(super) fn control(message: &'static str, socket: &str, route: Option<&str>) -> Vec<OsString> {
    let mut args: Vec<OsString> = ["-F", "none", "-T", "-o"].map(Into::into).into();
    args.extend([format!("ControlPath={socket}").into(), "-O".into(), message.into()]);
    if let Some(route) = route {
        args.extend(["-L".into(), route.into()]);
    }
    args.extend(["--".into(), "master".into()]);
    args
}

/// The server's name in its known-hosts file: independent of its address.
pub(super) fn alias(server: i64) -> String {
    format!("lamplighter-{server}")
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

    /// How the real ssh parses the arguments: `ssh -G` prints every option and does not connect.
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
        let with = |auth| understood(session(&target(host.clone(), user.clone(), auth), &host, &PATHS, false));
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
        let terminal = understood(session(&target(host.clone(), user, key(None)), &host, &PATHS, true));
        assert!(terminal.lines().any(|l| l == "requesttty force"), "{terminal}");
    }

    #[test]
    fn no_host_and_no_user_is_ever_an_option() {
        // Letters that form options, commands and escapes; the grammar accepts what is a name.
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
            let args = session(&target, &target.host, &PATHS, false);
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
