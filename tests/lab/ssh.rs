//! ssh against real servers: every login, every fault. Needs the lab (`tests/lab`), hosts h1 and h2.

use lamplighter::base::error::{Error, Result};
use lamplighter::base::host::{Host, UserName};
use lamplighter::base::process::Cancel;
use lamplighter::base::secret::Secret;
use lamplighter::ssh::files::Put;
use lamplighter::ssh::{Auth, Done, Job, Ssh, Stream, Sudo, Target, hostkey};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// A machine in a folder of its own. When dropped it checks that nothing is left behind.
pub(crate) struct Bench {
    ssh: Option<Ssh>,
    dir: PathBuf,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        let dir = PathBuf::from(format!("/tmp/ll-{}", &lamplighter::base::random::name()[..12]));
        let ssh = Ssh::open(dir.clone(), env!("CARGO_BIN_EXE_lamplighter").into()).unwrap();
        Bench { ssh: Some(ssh), dir }
    }

    pub(crate) fn ssh(&self) -> &Ssh {
        self.ssh.as_ref().unwrap()
    }

    pub(crate) fn run(&self, target: &Target, script: &str, root: bool) -> Result<(Done, String, String)> {
        self.run_for(target, script, root, Duration::from_secs(60), &Cancel::new())
    }

    pub(crate) fn run_for(
        &self,
        target: &Target,
        script: &str,
        root: bool,
        deadline: Duration,
        cancel: &Cancel,
    ) -> Result<(Done, String, String)> {
        let (mut out, mut err) = (String::new(), String::new());
        let job = Job { script, root, deadline };
        let done = self.ssh().run(target, &job, cancel, &mut |stream, line| {
            let to = if stream == Stream::Stdout { &mut out } else { &mut err };
            to.push_str(line);
            to.push('\n');
        })?;
        Ok((done, out, err))
    }

    /// Its folder in the runtime folder.
    fn room(&self) -> PathBuf {
        let rooms: Vec<_> = fs::read_dir(&self.dir).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(rooms.len(), 1, "{rooms:?}");
        rooms[0].clone()
    }

    pub(crate) fn files(&self, folder: &str) -> Vec<PathBuf> {
        let all = fs::read_dir(self.room().join(folder)).unwrap();
        all.map(|e| e.unwrap().path()).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(self.ssh.take());
        if !thread::panicking() {
            assert_eq!(fs::read_dir(&self.dir).unwrap().count(), 0, "left in {:?}", self.dir);
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn lab() -> PathBuf {
    std::env::var_os("LAMPLIGHTER_LAB")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab"), Into::into)
}

fn lab_dir() -> PathBuf {
    std::env::var_os("LAB_DIR").map_or("/var/tmp/lamplighter-lab".into(), Into::into)
}

pub(crate) fn script(name: &str, args: &[&str]) -> String {
    let out = Command::new(lab().join(name)).args(args).output().unwrap();
    assert!(
        out.status.success(),
        "{name} {args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}

/// As root on the host itself, not over ssh.
pub(crate) fn on(host: &str, command: &str) -> String {
    script("on", &["--direct", host, "sh", "-c", command])
}

/// A broken host; whole again when dropped.
pub(crate) struct Fault(&'static str);

impl Fault {
    pub(crate) fn new(host: &'static str, what: &[&str]) -> Fault {
        let fault = Fault(host);
        script("fault", &[&[host], what].concat());
        fault
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        script("fault", &[self.0, "heal"]);
    }
}

/// Hosts are shared by the tests of this file: one at a time.
static LAB: Mutex<()> = Mutex::new(());

pub(crate) fn alone() -> std::sync::MutexGuard<'static, ()> {
    LAB.lock().unwrap_or_else(|e| e.into_inner())
}

fn key(name: &str) -> Secret {
    Secret::new(fs::read(lab_dir().join("keys").join(name)).unwrap())
}

fn target(host: &str, user: &str, auth: Auth) -> Target {
    let number: i64 = host[1..].parse().unwrap();
    let address = Host::parse(&format!("10.77.0.{}", 10 + number)).unwrap();
    let host_key = hostkey::scan(&address, 22, Duration::from_secs(5), &Cancel::new()).unwrap()[0]
        .line
        .clone();
    Target {
        server: number,
        host: address,
        port: 22,
        user: UserName::parse(user).unwrap(),
        auth,
        sudo_password: None,
        host_key,
    }
}

pub(crate) fn with_key(host: &str, user: &str, name: &str) -> Target {
    let passphrase = (name == "id_pass").then(|| Secret::new("lab-passphrase"));
    target(
        host,
        user,
        Auth::Key {
            pem: key(name),
            passphrase,
        },
    )
}

pub(crate) fn with_password(host: &str, user: &str, password: &str) -> Target {
    target(host, user, Auth::Password(Secret::new(password)))
}

pub(crate) fn with_sudo(mut target: Target, password: &str) -> Target {
    target.sudo_password = Some(Secret::new(password));
    target
}

#[track_caller]
fn code(result: Result<(Done, String, String)>) -> &'static str {
    let e: Error = result.expect_err("this must fail");
    eprintln!("{}: {} | {}", e.code, e.say, e.log);
    e.code
}

const WHO: &str = "id -un; pwd; umask; echo oops >&2";

#[test]
#[ignore = "lab: h1"]
fn every_kind_of_login_works() {
    let _alone = alone();
    let bench = Bench::new();
    for (target, root, user, sudo) in [
        (with_key("h1", "root", "id_ed25519"), true, "root", Sudo::Root),
        (with_key("h1", "root", "id_rsa"), false, "root", Sudo::Root),
        (with_key("h1", "root", "id_pass"), false, "root", Sudo::Root),
        (with_password("h1", "root", "root-pw"), true, "root", Sudo::Root),
        (with_password("h1", "ops", "ops-pw"), false, "ops", Sudo::Password),
        (
            with_sudo(with_password("h1", "ops", "ops-pw"), "ops-pw"),
            true,
            "root",
            Sudo::Password,
        ),
        (
            with_password("h1", "deploy", "deploy-pw"),
            true,
            "root",
            Sudo::NoPassword,
        ),
        (
            with_sudo(with_password("h1", "deploy", "deploy-pw"), "deploy-pw"),
            true,
            "root",
            Sudo::NoPassword,
        ),
        (with_password("h1", "plain", "plain-pw"), false, "plain", Sudo::Password),
    ] {
        let name = format!("{} root={root}", target.user.as_str());
        let (done, out, err) = bench.run(&target, WHO, root).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((done.rc, done.sudo), (0, sudo), "{name}");
        assert_eq!(done.user_is_root, target.user.as_str() == "root", "{name}");
        assert_eq!(out, format!("{user}\n/\n0022\n"), "{name}");
        assert_eq!(err, "oops\n", "{name}");
    }
}

#[test]
#[ignore = "lab: h1"]
fn a_server_may_be_reached_by_ipv6_and_pinned_by_any_key() {
    let _alone = alone();
    let bench = Bench::new();
    for host in ["fd77::11", "10.77.0.11"] {
        let host = Host::parse(host).unwrap();
        let key = hostkey::scan(&host, 22, Duration::from_secs(5), &Cancel::new()).unwrap();
        assert!(
            key.iter()
                .map(|k| k.kind())
                .eq(["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"])
        );
        for key in key {
            let target = Target {
                host: host.clone(),
                host_key: key.line,
                ..with_key("h1", "root", "id_ed25519")
            };
            assert_eq!(bench.run(&target, "hostname", false).unwrap().1, "h1\n");
        }
    }
}

#[test]
#[ignore = "lab: h1"]
fn every_refused_login_has_its_own_reason() {
    let _alone = alone();
    let bench = Bench::new();
    let run = |target: &Target, root| code(bench.run(target, WHO, root));
    assert_eq!(run(&with_password("h1", "ops", "wrong"), false), "ssh_wrong_password");
    assert_eq!(
        run(&with_password("h1", "nobody-here", "x"), false),
        "ssh_wrong_password"
    );
    assert_eq!(run(&with_key("h1", "root", "id_wrong"), false), "ssh_key_refused");
    let passphrase = |text: Option<&str>| {
        let (pem, passphrase) = (key("id_pass"), text.map(Secret::new));
        target("h1", "root", Auth::Key { pem, passphrase })
    };
    assert_eq!(run(&passphrase(Some("wrong")), false), "ssh_wrong_passphrase");
    assert_eq!(run(&passphrase(None), false), "ssh_passphrase_needed");
    let pem = Secret::new("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n");
    assert_eq!(
        run(&target("h1", "root", Auth::Key { pem, passphrase: None }), false),
        "ssh_key_unreadable"
    );
    let unpinned = Target {
        host_key: String::new(),
        ..with_key("h1", "root", "id_ed25519")
    };
    assert_eq!(run(&unpinned, false), "ssh_host_key_unknown");
}

#[test]
#[ignore = "lab: h2"]
fn every_refused_sudo_has_its_own_reason() {
    let _alone = alone();
    let bench = Bench::new();
    let run = |target: &Target| code(bench.run(target, WHO, true));
    let ops = with_password("h2", "ops", "ops-pw");
    let plain = with_password("h2", "plain", "plain-pw");
    assert_eq!(run(&ops), "sudo_password_needed");
    assert_eq!(run(&with_sudo(ops.clone(), "wrong")), "sudo_password_wrong");
    assert_eq!(run(&with_sudo(ops.clone(), "two\nlines")), "line_break_in_value");
    assert_eq!(run(&with_sudo(plain.clone(), "wrong")), "sudo_password_wrong");
    assert_eq!(run(&with_sudo(plain.clone(), "plain-pw")), "sudo_not_allowed");
    on("h2", "mv /usr/bin/sudo /usr/bin/sudo.away");
    let absent = run(&with_sudo(ops, "ops-pw"));
    let still = bench.run(&plain, WHO, false);
    on("h2", "mv /usr/bin/sudo.away /usr/bin/sudo");
    assert_eq!(absent, "sudo_absent");
    assert_eq!(still.unwrap().0.sudo, Sudo::Absent);
}

#[test]
#[ignore = "lab: h2"]
fn sudo_is_asked_once_and_gets_only_what_it_asks_for() {
    let _alone = alone();
    let bench = Bench::new();
    let ops = with_sudo(with_password("h2", "ops", "ops-pw"), "ops-pw");
    let deploy = with_sudo(with_password("h2", "deploy", "deploy-pw"), "canary-for-nopasswd");
    // Options that change how sudo asks, logs and starts things.
    for defaults in [
        "timestamp_timeout=0",
        "passwd_tries=1",
        "use_pty",
        "use_pty,log_output",
        "lecture=always",
        "!requiretty",
    ] {
        on(
            "h2",
            &format!(
                "echo 'Defaults {defaults}' >/etc/sudoers.d/zz-test; chmod 440 /etc/sudoers.d/zz-test; visudo -cq"
            ),
        );
        for target in [&ops, &deploy] {
            let (done, out, err) = bench.run(target, "id -un; cat; echo done", true).unwrap();
            assert_eq!(
                (done.rc, out.as_str(), err.as_str()),
                (0, "root\ndone\n", ""),
                "{defaults}"
            );
        }
    }
    on(
        "h2",
        "echo 'Defaults requiretty' >/etc/sudoers.d/zz-test; chmod 440 /etc/sudoers.d/zz-test",
    );
    assert_eq!(code(bench.run(&ops, WHO, true)), "sudo_no_terminal");
    // sudo that took a password for the last job of a connection may have changed its mind: then nobody reads it.
    on("h2", "rm /etc/sudoers.d/zz-test");
    bench.run(&ops, "true", true).unwrap();
    on(
        "h2",
        "echo 'ops ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/zz-test; chmod 440 /etc/sudoers.d/zz-test",
    );
    let (done, out, err) = bench.run(&ops, "id -un; cat; echo done", true).unwrap();
    assert_eq!((done.rc, out.as_str(), err.as_str()), (0, "root\ndone\n", ""));
    on("h2", "rm /etc/sudoers.d/zz-test");
    // A wrong password is one failure for faillock and fail2ban, not three.
    on("h2", "journalctl --rotate -q; journalctl --vacuum-time=1s -q");
    let wrong = with_sudo(ops.clone(), "wrong");
    assert_eq!(code(bench.run(&wrong, "echo never", true)), "sudo_password_wrong");
    let tries = on(
        "h2",
        "journalctl -q --no-pager | grep -c 'pam_unix(sudo:auth): authentication failure' || true",
    );
    assert_eq!(tries.trim(), "1");
    assert_eq!(
        on("h2", "journalctl -q --no-pager | grep -c -e canary -e ops-pw || true").trim(),
        "0"
    );
}

#[test]
#[ignore = "lab: h1"]
fn the_exit_code_is_the_scripts_own() {
    let _alone = alone();
    let bench = Bench::new();
    let root = with_key("h1", "root", "id_ed25519");
    let ops = with_sudo(with_password("h1", "ops", "ops-pw"), "ops-pw");
    for (script, rc) in [
        ("true", 0),
        ("false", 1),
        ("exit 255", 255),
        ("exit 255 # closed }", 255),
        ("set -e; false; exit 9", 1),
        ("kill -9 $$", 137),
        ("sh -c 'kill -TERM $$'", 143),
        ("no-such-command-here", 127),
        ("if", 2),
        ("main() { return 7; }; main", 7),
    ] {
        for target in [&root, &ops] {
            let (done, ..) = bench.run(target, script, target.user.as_str() == "ops").unwrap();
            assert_eq!(done.rc, rc, "{script}");
        }
    }
}

#[test]
#[ignore = "lab: h1"]
fn output_comes_as_it_was_written() {
    let _alone = alone();
    let bench = Bench::new();
    let root = with_key("h1", "root", "id_ed25519");
    for (script, stdout, stderr) in [
        ("printf 'no end'", "no end\n", ""),
        ("printf 'a\\n\\n\\nb\\n\\n'; printf '\\n' >&2", "a\n\n\nb\n\n", "\n"),
        ("cat; read x || echo eof", "eof\n", ""),
        ("echo one; echo two >&2; echo three", "one\nthree\n", "two\n"),
        (
            "printf '\\033[31mred\\033[0m\\033]0;t\\a\\r\\n'",
            "\u{1b}[31mred\u{1b}[0m\n",
            "",
        ),
        ("(sleep 300 & echo $! >/run/left); echo gone", "gone\n", ""),
        ("env | grep -c LAMPLIGHTER_JOB=", "1\n", ""),
    ] {
        let (done, out, err) = bench.run(&root, script, false).unwrap();
        assert_eq!((out.as_str(), err.as_str()), (stdout, stderr), "{script}");
        assert!(done.ms < 20_000, "{script} waited for what it left behind");
    }
    on("h1", "kill $(cat /run/left); rm /run/left");
    // A flood is cut; the exit code still comes.
    let (done, out, _) = bench
        .run(
            &root,
            "yes 'a line of some length, so that it goes faster' | head -c 30000000; exit 3",
            false,
        )
        .unwrap();
    assert_eq!(done.rc, 3);
    assert!(out.len() > 8_000_000 && out.len() < 9_000_000);
    assert!(out.ends_with("… (more output was dropped)\n"));
    // A long script goes through, a half one does nothing.
    let long = format!("true # {}\n", "x".repeat(100)).repeat(9_000) + "echo all";
    assert_eq!(bench.run(&root, &long, false).unwrap().1, "all\n");
}

#[test]
#[ignore = "lab: h2"]
fn a_noisy_or_strange_login_shell_does_no_harm() {
    let _alone = alone();
    let bench = Bench::new();
    let plain = with_password("h2", "plain", "plain-pw");
    on(
        "h2",
        r#"cd ~plain; cp .bashrc /run/; (echo 'echo welcome; echo to you >&2; printf "no line end"'; cat /run/.bashrc) >.bashrc"#,
    );
    let noisy = bench.run(&plain, WHO, false);
    on("h2", "cp /run/.bashrc ~plain/.bashrc");
    let (_, out, err) = noisy.unwrap();
    assert_eq!((out.as_str(), err.as_str()), ("plain\n/\n0022\n", "oops\n"));
    on("h2", "usermod -s /bin/dash plain");
    let dash = bench.run(&plain, "id -un", false);
    on("h2", "usermod -s /usr/sbin/nologin plain");
    bench.ssh().forget(2); // sshd looks at the account when a connection begins
    let none = bench.run(&plain, "id -un", false);
    on("h2", "usermod -s /bin/bash plain; chage -d 0 plain");
    bench.ssh().forget(2);
    let expired = bench.run(&plain, "id -un", false);
    on("h2", "chage -d 2026-01-01 plain");
    assert_eq!(dash.unwrap().1, "plain\n");
    assert_eq!(code(none), "ssh_no_shell");
    assert_eq!(code(expired), "ssh_password_expired");
}

/// Code and sentence of a refusal.
#[track_caller]
fn refusal(result: Result<(Done, String, String)>) -> (&'static str, String) {
    let e = result.expect_err("this must fail");
    (e.code, e.say)
}

#[test]
#[ignore = "lab: h2"]
fn start_up_files_of_others_do_not_reach_a_script_and_one_that_never_ends_is_named() {
    let _alone = alone();
    let bench = Bench::new();
    let plain = with_password("h2", "plain", "plain-pw");
    on("h2", "cp ~plain/.bashrc /run/");
    let begins_with = |line: &str| {
        on(
            "h2",
            &format!("(cat <<'E'\n{line}\nE\ncat /run/.bashrc) >~plain/.bashrc"),
        );
        bench.run_for(&plain, "id -un; env", false, Duration::from_secs(6), &Cancel::new())
    };
    let (_, out, _) = begins_with("export BASH_ENV=/tmp/theirs LANGUAGE=de CDPATH=/tmp POSIXLY_CORRECT=1").unwrap();
    assert!(out.starts_with("plain\n"), "{out}");
    for name in ["BASH_ENV", "LANGUAGE", "CDPATH", "POSIXLY_CORRECT"] {
        assert!(!out.contains(name), "{out}");
    }
    // It asks for a line, and it becomes another shell.
    for line in ["read -r answer", "exec bash --norc"] {
        let (_, out, _) = begins_with(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        assert!(out.starts_with("plain\n"), "{line}: {out}");
    }
    let silent = refusal(begins_with("echo mounting the home folder; sleep 99"));
    let ends = refusal(begins_with("echo only for people; exit 3"));
    on("h2", "cp /run/.bashrc ~plain/.bashrc; pkill -x sleep");
    assert_eq!(silent.0, "ssh_shell_silent");
    assert!(
        silent.1.contains("~/.bashrc") && silent.1.contains("mounting the home folder"),
        "{}",
        silent.1
    );
    assert_eq!(ends.0, "ssh_no_shell");
    assert!(
        ends.1.contains("code 3") && ends.1.contains("only for people"),
        "{}",
        ends.1
    );
    // Nobody waits behind the shell that never ended.
    assert_eq!(bench.run(&plain, "id -un", false).unwrap().1, "plain\n");
}

#[test]
#[ignore = "lab: h2"]
fn the_servers_own_sentence_is_the_reason() {
    let _alone = alone();
    let root = with_key("h2", "root", "id_ed25519");
    let login = |prepare: &str, mend: &str| {
        let bench = Bench::new();
        on("h2", prepare);
        let seen = refusal(bench.run(&root, WHO, true));
        on("h2", mend);
        seen
    };
    on(
        "h2",
        r#"printf '%s\n' 'echo "Please login as the user \"ubuntu\" rather than the user \"root\"."; exit 142' >/root/only"#,
    );
    let (code, say) = login(
        r#"cd /root/.ssh; cp authorized_keys kept; sed -i 's|^|command="sh /root/only" |' authorized_keys"#,
        "mv /root/.ssh/kept /root/.ssh/authorized_keys",
    );
    assert_eq!(code, "ssh_other_user", "{say}");
    assert!(say.contains("Please login as the user \"ubuntu\""), "{say}");
    let (code, say) = login("chage -d 0 root", "chage -d 2026-01-01 root");
    assert_eq!(code, "ssh_password_expired", "{say}");
    assert!(say.contains("assword"), "{say}");
    let fault = Fault::new("h2", &["drop", "22"]);
    let seen = refusal(Bench::new().run(&root, WHO, true));
    drop(fault);
    assert!(seen.1.contains("Connection timed out"), "{}", seen.1);

    let deploy = with_password("h2", "deploy", "deploy-pw");
    let ops = with_sudo(with_password("h2", "ops", "ops-pw"), "ops-pw");
    for (defaults, code, words) in [
        ("requiretty", "sudo_no_terminal", "you must have a tty"),
        ("noexec", "sudo_noexec", "Permission denied"),
    ] {
        on("h2", &format!("echo 'Defaults {defaults}' >/etc/sudoers.d/zz-test"));
        let seen = [&deploy, &ops].map(|target| Bench::new().run(target, WHO, true));
        on("h2", "rm /etc/sudoers.d/zz-test");
        for result in seen {
            let (seen, say) = refusal(result);
            assert_eq!(seen, code, "{say}");
            assert!(say.contains(words), "{say}");
        }
    }
    on("h2", "chage -d 0 deploy");
    let (code, say) = refusal(Bench::new().run(&with_key("h2", "deploy", "id_ed25519"), WHO, true));
    on("h2", "chage -d 2026-01-01 deploy");
    assert_eq!(code, "ssh_password_expired", "{say}");
}

#[test]
#[ignore = "lab: h2"]
fn every_fault_of_a_server_has_its_own_reason() {
    let _alone = alone();
    let root = with_key("h2", "root", "id_ed25519");
    let job = |target: &Target| {
        let bench = Bench::new(); // cold: no connection from before
        code(bench.run(target, "true", false))
    };
    for (fault, want) in [
        (&["drop", "22"][..], "ssh_timeout"),
        (&["reject", "22"], "ssh_refused"),
        (&["unplug"], "ssh_no_route"),
        (&["hang"], "ssh_silent"),
        (&["freeze"], "ssh_silent"),
        (&["no-sshd"], "ssh_refused"),
    ] {
        let _fault = Fault::new("h2", fault);
        assert_eq!(job(&root), want, "{fault:?}");
        let scan = hostkey::scan(&root.host, 22, Duration::from_secs(3), &Cancel::new()).unwrap_err();
        assert_eq!(scan.code, want, "scan, {fault:?}");
    }
    let named = |name: &str| Target {
        host: Host::parse(name).unwrap(),
        ..root.clone()
    };
    assert_eq!(job(&named("no-such-host.invalid")), "ssh_name_unknown");
    assert_eq!(
        hostkey::scan(
            &named("no-such-host.invalid").host,
            22,
            Duration::from_secs(3),
            &Cancel::new()
        )
        .unwrap_err()
        .code,
        "ssh_name_unknown"
    );
    let closes = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closes.local_addr().unwrap().port();
    thread::spawn(move || closes.incoming().for_each(drop));
    let closed = Target {
        port,
        host: Host::parse("127.0.0.1").unwrap(),
        ..root.clone()
    };
    assert_eq!(job(&closed), "ssh_closed");
}

#[test]
#[ignore = "lab: h2"]
fn a_changed_host_key_gets_nothing() {
    let _alone = alone();
    let bench = Bench::new();
    let before = with_sudo(with_password("h2", "ops", "ops-pw"), "ops-pw");
    let before_it = on(
        "h2",
        "journalctl -q -n 1 -o cat --show-cursor | sed -n 's/^-- cursor: //p'",
    );
    script("fault", &["h2", "rekey"]);
    assert_eq!(code(bench.run(&before, "echo never", true)), "ssh_host_key_changed");
    // sshd saw no attempt to log in.
    assert_eq!(
        on(
            "h2",
            &format!(
                "journalctl -q --no-pager --after-cursor='{}' -u ssh | grep -cE 'Failed|Accepted' || true",
                before_it.trim()
            )
        )
        .trim(),
        "0"
    );
    // A key of another kind than the pinned one is a changed key too.
    let mut other = with_password("h2", "ops", "ops-pw");
    other.host_key = hostkey::scan(&other.host, 22, Duration::from_secs(5), &Cancel::new()).unwrap()[0]
        .line
        .clone();
    on(
        "h2",
        "mkdir -p /run/sshkeys; mv /etc/ssh/ssh_host_ed25519_key* /run/sshkeys; systemctl restart ssh",
    );
    let kind = bench.run(&other, "true", false);
    on("h2", "mv /run/sshkeys/* /etc/ssh/; systemctl restart ssh");
    assert_eq!(code(kind), "ssh_host_key_changed");
    bench.run(&other, "true", false).unwrap();
}

/// Is a process with this in its command line alive on the host?
pub(crate) fn alive(host: &str, words: &str) -> bool {
    // `[x]yz` does not find itself.
    let pattern = format!("[{}]{}", &words[..1], &words[1..]);
    !on(host, &format!("pgrep -f '{pattern}' || true")).trim().is_empty()
}

pub(crate) fn soon(what: &str, mut fact: impl FnMut() -> bool) {
    let start = Instant::now();
    while !fact() {
        assert!(start.elapsed() < Duration::from_secs(15), "not soon enough: {what}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Scripts that do not want to end, and the word by which their processes are found.
const STUBBORN: &[(&str, &str)] = &[
    ("echo go; sleep 41001", "sleep 41001"),
    ("echo go; tail -f /dev/null /etc/h41002 2>/dev/null", "h41002"),
    ("trap '' TERM HUP; echo go; sleep 41003; sleep 41003", "sleep 41003"),
    ("echo go; setsid sleep 41004; sleep 41004", "sleep 41004"),
    (
        "echo go; (setsid sh -c 'trap \"\" TERM; sleep 41005; sleep 41005' &); sleep 41005",
        "sleep 41005",
    ),
    ("echo go; while :; do sleep 0.1; : 41006; done", "nothing like this"),
    ("echo go; yes 41007", "yes 41007"),
];

#[test]
#[ignore = "lab: h1"]
fn a_cancelled_job_ends_on_the_server_too() {
    let _alone = alone();
    let bench = Bench::new();
    let ops = with_sudo(with_password("h1", "ops", "ops-pw"), "ops-pw");
    let changes_user = ("echo go; sudo -u plain sleep 41008", "sleep 41008");
    for target in [
        with_key("h1", "root", "id_ed25519"),
        ops.clone(),
        with_password("h1", "deploy", "deploy-pw"),
    ] {
        for (script, word) in STUBBORN.iter().chain([&changes_user]) {
            let cancel = Cancel::new();
            let job = Job {
                script,
                root: true,
                deadline: Duration::from_secs(60),
            };
            let mut seen = 0;
            let started = Instant::now();
            let result = bench.ssh().run(&target, &job, &cancel, &mut |_, _| {
                seen += 1;
                if seen == 1 {
                    // From another thread and a little later, as a person does.
                    let cancel = cancel.clone();
                    thread::spawn(move || {
                        thread::sleep(Duration::from_millis(300));
                        cancel.cancel();
                    });
                }
            });
            let e = result.unwrap_err();
            assert_eq!(e.code, "cancelled", "{script}: {e}");
            assert!(e.say.ends_with("has ended."), "{script}: the server must confirm: {e}");
            assert!(started.elapsed() < Duration::from_secs(30), "{script}");
            assert!(!alive("h1", word), "{script} as {}", target.user.as_str());
        }
    }
    // Not as root: a user ends its own.
    let plain = with_password("h1", "plain", "plain-pw");
    let cancel = Cancel::new();
    let job = Job {
        script: "echo go; sleep 41009",
        root: false,
        deadline: Duration::from_secs(60),
    };
    let e = bench
        .ssh()
        .run(&plain, &job, &cancel, &mut |_, _| cancel.cancel())
        .unwrap_err();
    assert!(e.code == "cancelled" && e.say.ends_with("has ended."), "{e}");
    assert!(!alive("h1", "sleep 41009"));
    // Before anything has begun.
    let cancel = Cancel::new();
    cancel.cancel();
    let e = bench
        .run_for(&plain, "true", false, Duration::from_secs(60), &cancel)
        .unwrap_err();
    assert_eq!(e.code, "cancelled");
}

#[test]
#[ignore = "lab: h1"]
fn a_late_job_ends_on_the_server_too() {
    let _alone = alone();
    let bench = Bench::new();
    for target in [
        with_key("h1", "root", "id_ed25519"),
        with_sudo(with_password("h1", "ops", "ops-pw"), "ops-pw"),
    ] {
        let result = bench.run_for(
            &target,
            "echo go; sleep 42001",
            true,
            Duration::from_secs(4),
            &Cancel::new(),
        );
        assert_eq!(code(result), "deadline");
        assert!(!alive("h1", "sleep 42001"));
    }
}

#[test]
#[ignore = "lab: h1"]
fn a_job_whose_client_dies_ends_on_the_server() {
    let _alone = alone();
    let bench = Bench::new();
    for target in [
        with_key("h1", "root", "id_ed25519"),
        with_sudo(with_password("h1", "ops", "ops-pw"), "ops-pw"),
    ] {
        for warm in [false, true] {
            let job = Job {
                script: "echo go; sleep 43001",
                root: true,
                deadline: Duration::from_secs(60),
            };
            let me = std::process::id();
            let result = bench.ssh().run(&target, &job, &Cancel::new(), &mut |_, _| {
                // Our own ssh, as the system would end it (out of memory).
                let children = fs::read_to_string(format!("/proc/{me}/task/{me}/children")).unwrap_or_default();
                let children = if children.is_empty() {
                    all_children(me)
                } else {
                    children
                };
                for pid in children.split_whitespace() {
                    Command::new("kill").args(["-9", pid]).status().unwrap();
                }
            });
            let e = result.unwrap_err();
            assert_eq!(e.code, "ssh_link_lost", "warm={warm}: {e}");
            soon("the remote end", || !alive("h1", "sleep 43001"));
        }
    }
}

/// The processes that any thread of ours has started.
fn all_children(me: u32) -> String {
    fs::read_dir(format!("/proc/{me}/task"))
        .unwrap()
        .filter_map(|task| fs::read_to_string(task.unwrap().path().join("children")).ok())
        .collect()
}

#[test]
#[ignore = "lab: h2"]
fn a_job_cut_off_by_the_network_ends_on_the_server_in_its_time() {
    let _alone = alone();
    let bench = Bench::new();
    let root = with_key("h2", "root", "id_ed25519");
    let job = Job {
        script: "echo go; sleep 44001",
        root: true,
        deadline: Duration::from_secs(6),
    };
    let mut fault = None;
    let e = bench
        .ssh()
        .run(&root, &job, &Cancel::new(), &mut |_, _| {
            fault = Some(Fault::new("h2", &["unplug"]))
        })
        .unwrap_err();
    assert_eq!(e.code, "deadline");
    assert!(e.say.contains("could not be notified"), "{e}");
    assert!(alive("h2", "sleep 44001"), "nobody told the server yet");
    thread::sleep(Duration::from_secs(13)); // its own clock does
    assert!(!alive("h2", "sleep 44001"));
    drop(fault);
    // The dead connection does not take the next job with it.
    let (done, ..) = bench.run(&root, "true", true).unwrap();
    assert_eq!(done.rc, 0);
}

#[test]
#[ignore = "lab: h2"]
fn a_machine_that_freezes_in_the_middle_is_given_up_after_a_minute() {
    let _alone = alone();
    let bench = Bench::new();
    let root = with_key("h2", "root", "id_ed25519");
    let job = Job {
        script: "echo go; sleep 45001",
        root: true,
        deadline: Duration::from_secs(120),
    };
    let started = Instant::now();
    let mut fault = None;
    let e = bench
        .ssh()
        .run(&root, &job, &Cancel::new(), &mut |_, _| {
            fault = Some(Fault::new("h2", &["freeze"]))
        })
        .unwrap_err();
    eprintln!("{} after {:?}: {}", e.code, started.elapsed(), e.log);
    assert_eq!(e.code, "ssh_link_lost");
    assert!(started.elapsed() < Duration::from_secs(75));
    drop(fault);
    soon("the remote end", || !alive("h2", "sleep 45001"));
}

#[test]
#[ignore = "lab: h2"]
fn a_lost_connection_is_replaced() {
    let _alone = alone();
    let bench = Bench::new();
    let root = with_key("h2", "root", "id_ed25519");
    let boot = |(_, out, _): (Done, String, String)| out;
    let id = "cat /proc/sys/kernel/random/boot_id; systemd-analyze time >/dev/null 2>&1; stat -c %Y /run/systemd";
    boot(bench.run(&root, id, true).unwrap());
    // The server ends it.
    on("h2", "pkill -f '[s]shd: root' || true");
    assert_eq!(bench.run(&root, "echo again", true).unwrap().1, "again\n");
    // Its process here dies and leaves its socket.
    let masters = bench.files("cm");
    assert_eq!(masters.len(), 1);
    kill_masters(&bench);
    assert_eq!(bench.run(&root, "echo again", true).unwrap().1, "again\n");
    // The server reboots.
    script("fault", &["h2", "reboot"]);
    assert_eq!(bench.run(&root, "echo again", true).unwrap().1, "again\n");
    // It is told to go.
    bench.ssh().forget(2);
    assert_eq!(bench.files("cm"), Vec::<PathBuf>::new());
    assert_eq!(bench.run(&root, "echo again", true).unwrap().1, "again\n");
}

/// Kills the processes whose working folder is the bench's: its masters.
pub(crate) fn kill_masters(bench: &Bench) {
    let mut killed = 0;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == bench.room()) {
            Command::new("kill").args(["-9", &pid]).status().unwrap();
            killed += 1;
        }
    }
    assert!(killed > 0);
}

#[test]
#[ignore = "lab: h1"]
fn what_a_killed_daemon_left_is_swept_at_the_next_start() {
    let _alone = alone();
    let bench = Bench::new();
    let root = with_key("h1", "root", "id_ed25519");
    bench.run(&root, "true", false).unwrap();
    // Another process of ours in the same runtime folder sweeps nothing of the living …
    let open = || Ssh::open(bench.dir.clone(), env!("CARGO_BIN_EXE_lamplighter").into()).unwrap();
    drop(open());
    assert_eq!(bench.files("cm").len(), 1);
    // … and all of the dead: as after kill -9, the lock is free and nothing was closed.
    let room = bench.room();
    fs::write(room.join("files/left"), "key").unwrap();
    drop(std::os::unix::net::UnixListener::bind(room.join("ask/left")).unwrap());
    drop(std::os::unix::net::UnixListener::bind(room.join("cm/left")).unwrap());
    fs::remove_file(room.join("lock")).unwrap();
    fs::write(room.join("lock"), "").unwrap();
    let other = open();
    assert!(!room.exists());
    assert!(!working_in(&room), "its connection is closed");
    drop(other);
}

/// Has a process this working folder?
fn working_in(dir: &Path) -> bool {
    let gone = PathBuf::from(format!("{} (deleted)", dir.display()));
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| fs::read_link(entry.path().join("cwd")).ok())
        .any(|cwd| cwd == dir || cwd == gone)
}

#[test]
#[ignore = "lab: h1"]
fn twenty_jobs_at_once_all_run() {
    let _alone = alone();
    for target in [
        with_key("h1", "root", "id_ed25519"),
        with_sudo(with_password("h1", "ops", "ops-pw"), "ops-pw"),
    ] {
        let bench = Bench::new();
        for round in ["cold", "warm"] {
            let started = Instant::now();
            thread::scope(|scope| {
                for n in 0..20 {
                    let (bench, target) = (&bench, &target);
                    scope.spawn(move || {
                        let want = format!("{n}\n");
                        let (done, out, _) = bench.run(target, &format!("sleep 0.3; echo {n}"), true).unwrap();
                        assert_eq!((done.rc, out), (0, want));
                    });
                }
            });
            eprintln!("{} {round}: {:?}", target.user.as_str(), started.elapsed());
        }
        assert!(bench.files("cm").len() <= 2, "ten jobs share a connection");
    }
    // A server that is down is asked once for all who wait, not by one after the other.
    let bench = Bench::new();
    let dead = Target {
        port: 2,
        ..with_key("h1", "root", "id_ed25519")
    };
    let _fault = Fault::new("h1", &["drop", "2"]);
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| assert_eq!(code(bench.run(&dead, "true", false)), "ssh_timeout"));
        }
    });
    assert!(started.elapsed() < Duration::from_secs(25));
}

#[test]
#[ignore = "lab: h1"]
fn no_secret_is_ever_seen_from_outside() {
    let _alone = alone();
    let bench = Bench::new();
    let targets = [
        with_sudo(with_password("h1", "ops", "ops-pw"), "ops-pw"),
        with_key("h1", "root", "id_pass"),
        with_sudo(with_password("h1", "ops", "ops-pw"), "wrong-canary"),
    ];
    let secrets = [
        "ops-pw",
        "lab-passphrase",
        "wrong-canary",
        "script-canary",
        "PRIVATE KEY",
    ];
    let stop = Cancel::new();
    thread::scope(|scope| {
        // Both machines, as fast as we can.
        let here = scope.spawn(|| {
            let (mut rounds, mut found) = (0, Vec::new());
            while !stop.is_cancelled() {
                for entry in fs::read_dir("/proc").unwrap().flatten() {
                    for file in ["cmdline", "environ"] {
                        let text = fs::read(entry.path().join(file)).unwrap_or_default();
                        let text = String::from_utf8_lossy(&text);
                        found.extend(
                            secrets
                                .iter()
                                .filter(|s| text.contains(**s))
                                .map(|s| format!("{s} in {text:?}")),
                        );
                    }
                }
                rounds += 1;
            }
            (rounds, found)
        });
        for target in &targets {
            for _ in 0..3 {
                let _ = bench.run(target, "X='script-canary'; sleep 0.2", true);
                bench.ssh().forget(1);
            }
            // The login is over: its files are gone while the connection lives.
            let job = Job {
                script: "echo go",
                root: false,
                deadline: Duration::from_secs(20),
            };
            let result = bench.ssh().run(target, &job, &Cancel::new(), &mut |_, _| {
                assert_eq!(bench.files("ask"), Vec::<PathBuf>::new());
                let files = bench.files("files");
                assert_eq!(files.len(), 1, "only ssh's log");
                let log = fs::read_to_string(&files[0]).unwrap();
                assert!(secrets.iter().all(|s| !log.contains(s)));
            });
            result.unwrap();
        }
        stop.cancel();
        let (rounds, found) = here.join().unwrap();
        assert!(rounds > 20, "{rounds}");
        assert_eq!(found, Vec::<String>::new());
    });
    let journal = on("h1", "journalctl -q --no-pager -b");
    assert!(secrets.iter().all(|s| !journal.contains(s)));
    assert!(journal.contains("COMMAND="), "sudo's log was looked at");
}

#[test]
#[ignore = "lab: h1"]
fn files_go_there_and_back_and_change_only_once() {
    let _alone = alone();
    let bench = Bench::new();
    let (ssh, cancel, limit) = (bench.ssh(), Cancel::new(), Duration::from_secs(30));
    let ops = with_sudo(with_password("h1", "ops", "ops-pw"), "ops-pw");
    let content: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let put = |path: &str, content: &[u8], mode, root| {
        let owner = if root { "root:root" } else { "" };
        ssh.put(
            &ops,
            &Put {
                path,
                content,
                mode,
                owner,
                root,
            },
            limit,
            &cancel,
        )
    };
    let path = "/etc/it's a file; $(x)";
    assert!(put(path, &content, 0o640, true).unwrap());
    assert!(!put(path, &content, 0o640, true).unwrap());
    assert!(put(path, &content, 0o644, true).unwrap(), "the mode");
    assert!(put(path, b"", 0o644, true).unwrap(), "the content");
    assert_eq!(ssh.get(&ops, path, true, limit, &cancel).unwrap().unwrap(), b"");
    assert!(put(path, &content, 0o644, true).unwrap());
    assert_eq!(ssh.get(&ops, path, false, limit, &cancel).unwrap().unwrap(), content);
    assert_eq!(
        on(
            "h1",
            "stat -c '%a %U:%G' \"/etc/it's a file; \\$(x)\"; ls -A /etc | grep -c lamplighter || true"
        ),
        "644 root:root\n0\n"
    );
    on("h1", "rm -f /etc/it\\'s*");
    assert_eq!(ssh.get(&ops, path, true, limit, &cancel).unwrap(), None);
    assert_eq!(
        put("/etc/no/such/folder", b"x", 0o644, true).unwrap_err().code,
        "remote_write"
    );
    assert_eq!(
        put("/etc/not-mine", b"x", 0o644, false).unwrap_err().code,
        "remote_write"
    );
    assert_eq!(
        ssh.get(&ops, "/etc/shadow", false, limit, &cancel).unwrap_err().code,
        "remote_read"
    );
    assert_eq!(
        put("/tmp/x", &vec![0; 600_000], 0o644, false).unwrap_err().code,
        "file_too_long"
    );
    assert_eq!(
        put("/tmp/a\nb", b"x", 0o644, false).unwrap_err().code,
        "line_break_in_value"
    );
}

/// Prints; nothing here depends on a time. Compared with the same script by plain `ssh`, side by side.
#[test]
#[ignore = "lab: h1"]
fn what_a_job_costs() {
    let _alone = alone();
    let root = with_key("h1", "root", "id_ed25519");
    let ops = with_sudo(with_key("h1", "ops", "id_ed25519"), "ops-pw");
    let script = "dpkg-query -W >/dev/null; echo done";
    let median = |mut all: Vec<Duration>| {
        all.sort();
        all[all.len() / 2]
    };
    let plain = |user: &str| {
        let started = Instant::now();
        let out = Command::new("ssh")
            .args([
                "-F",
                "none",
                "-o",
                "IdentitiesOnly=yes",
                "-o",
                "GlobalKnownHostsFile=/dev/null",
                "-i",
            ])
            .arg(lab_dir().join("keys/id_ed25519"))
            .arg("-o")
            .arg(format!(
                "UserKnownHostsFile={}",
                lab_dir().join("known_hosts").display()
            ))
            .args(["-l", user, "10.77.0.11", script])
            .output()
            .unwrap();
        assert_eq!(out.stdout, b"done\n");
        started.elapsed()
    };
    let (mut cold, mut warm, mut other, mut sudo) = (vec![], vec![], vec![], vec![]);
    for _ in 0..9 {
        let bench = Bench::new();
        for times in [&mut cold, &mut warm] {
            let started = Instant::now();
            bench.run(&root, script, true).unwrap();
            times.push(started.elapsed());
        }
        bench.run(&ops, "true", false).unwrap();
        let started = Instant::now();
        bench.run(&ops, script, true).unwrap();
        sudo.push(started.elapsed());
        other.push(plain("root"));
    }
    let (cold, warm, other, sudo) = (median(cold), median(warm), median(other), median(sudo));
    let ratio = |a: Duration| a.as_secs_f64() / other.as_secs_f64();
    println!(
        "plain ssh {other:?}; cold {cold:?} ({:.2}); warm {warm:?} ({:.2}); warm with sudo's password {sudo:?}",
        ratio(cold),
        ratio(warm)
    );
}

#[test]
#[ignore = "lab: h2"]
fn a_server_may_ask_for_a_password_in_its_own_way_or_for_none() {
    let _alone = alone();
    let bench = Bench::new();
    let ops = with_password("h2", "ops", "ops-pw");
    let with = |config: &str| {
        on(
            "h2",
            &format!("printf '{config}' >/etc/ssh/sshd_config.d/00-test.conf; systemctl restart ssh"),
        );
        bench.ssh().forget(2);
        bench.run(&ops, "id -un", false)
    };
    let pam = with("PasswordAuthentication no\\nKbdInteractiveAuthentication yes\\n");
    let wrong = {
        let wrong = with_password("h2", "ops", "wrong");
        bench.run(&wrong, "id -un", false)
    };
    let keys_only = with("PasswordAuthentication no\\nKbdInteractiveAuthentication no\\n");
    on("h2", "rm /etc/ssh/sshd_config.d/00-test.conf; systemctl restart ssh");
    assert_eq!(pam.unwrap().1, "ops\n");
    assert_eq!(code(wrong), "ssh_wrong_password");
    assert_eq!(code(keys_only), "ssh_password_off");
}
