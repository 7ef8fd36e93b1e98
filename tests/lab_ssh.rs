//! ssh against real servers: every login, every fault. Needs the lab (`tests/lab`), hosts h1 and h2.

use lamplighter::base::error::{Error, Result};
use lamplighter::base::host::{Host, UserName};
use lamplighter::base::process::Cancel;
use lamplighter::base::secret::Secret;
use lamplighter::ssh::put::Put;
use lamplighter::ssh::{Auth, Done, Job, Ssh, Stream, Sudo, Target, hostkey};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// A machine in a folder of its own. When dropped it checks that nothing is left behind.
struct Bench {
    ssh: Option<Ssh>,
    dir: PathBuf,
}

impl Bench {
    fn new() -> Bench {
        let dir = PathBuf::from(format!("/tmp/ll-{}", &lamplighter::base::random::name()[..12]));
        let ssh = Ssh::open(dir.clone(), env!("CARGO_BIN_EXE_lamplighter").into()).unwrap();
        Bench { ssh: Some(ssh), dir }
    }

    fn ssh(&self) -> &Ssh {
        self.ssh.as_ref().unwrap()
    }

    fn run(&self, target: &Target, script: &str, root: bool) -> Result<(Done, String, String)> {
        self.run_for(target, script, root, Duration::from_secs(60), &Cancel::new())
    }

    fn run_for(
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

    fn files(&self, folder: &str) -> Vec<PathBuf> {
        fs::read_dir(self.dir.join(folder))
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(self.ssh.take());
        if !thread::panicking() {
            for folder in ["files", "ask", "cm"] {
                assert_eq!(self.files(folder), Vec::<PathBuf>::new(), "left in {folder}");
            }
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

fn script(name: &str, args: &[&str]) -> String {
    let out = Command::new(lab().join(name)).args(args).output().unwrap();
    assert!(
        out.status.success(),
        "{name} {args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}

/// As root on the host itself, not over ssh.
fn on(host: &str, command: &str) -> String {
    script("on", &["--direct", host, "sh", "-c", command])
}

/// A broken host; whole again when dropped.
struct Fault(&'static str);

impl Fault {
    fn new(host: &'static str, what: &[&str]) -> Fault {
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

fn alone() -> std::sync::MutexGuard<'static, ()> {
    LAB.lock().unwrap_or_else(|e| e.into_inner())
}

fn key(name: &str) -> Secret {
    Secret::new(fs::read(lab_dir().join("keys").join(name)).unwrap())
}

fn target(host: &str, user: &str, auth: Auth) -> Target {
    let number: i64 = host[1..].parse().unwrap();
    let address = Host::parse(&format!("10.77.0.{}", 10 + number)).unwrap();
    let host_key = hostkey::scan(&address, 22, Duration::from_secs(5)).unwrap()[0]
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

fn with_key(host: &str, user: &str, name: &str) -> Target {
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

fn with_password(host: &str, user: &str, password: &str) -> Target {
    target(host, user, Auth::Password(Secret::new(password)))
}

fn with_sudo(mut target: Target, password: &str) -> Target {
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
