//! Sites on real servers: put there, proved, taken away, and every way that can go wrong leaving what was there before.
//! Needs the lab (`tests/lab`), hosts h4, h5 and infra.

use lamplighter::base::error::{Error, Result};
use lamplighter::base::host::{Host, UserName};
use lamplighter::base::process::Cancel;
use lamplighter::base::secret::Secret;
use lamplighter::base::text::hex;
use lamplighter::features::domains::site::{Rendered, Site, Target as To, Tls, proof_in, render};
use lamplighter::provision::site::{self, Apply, Certificate, Enabled, Seen, Sum, Wanted};
use lamplighter::provision::{self, Outcome, Recipe, Report, State, recipes};
use lamplighter::ssh::{Auth, Ssh, Target};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

const NAME: &str = "app.h4.lab.test";
const DIRECTORY: &str = "https://acme.lab.test:14000/dir";

// --- stories: putting there -----------------------------------------------------------------------------------------

#[test]
#[ignore = "lab: h4"]
fn a_first_deploy_is_proved_and_a_second_changes_nothing() {
    let server = Server::ready();
    let first = server.deploy(&server.plain(1, "0.0.0.0:1")).unwrap();
    assert!(first.changed >= 3, "{:?}", first.steps);
    assert_eq!(first.facts["tested"], "namespace");
    assert_eq!(first.facts["proved"], "10.77.0.14");
    assert_eq!(first.facts["answer"], "502", "nobody is behind it, and that is said");
    server.backend(8001, "one");
    assert!(server.get("http", NAME, "/").starts_with("502"));

    let site = server.plain(2, "127.0.0.1:8001");
    let live = server.look(None).sites[0].file.sha256.clone();
    let changed = server.deploy_on(&site, live.as_deref()).unwrap();
    assert_eq!(changed.facts["answer"], "200");
    assert!(server.get("http", NAME, "/").contains("one"));

    for user in ["root", "deploy", "ops"] {
        server.run(user, &server.apply(&site, None)).unwrap();
        let since = Instant::now();
        let again = server.run(user, &server.apply(&site, None)).unwrap();
        println!("FIGURE second deploy as {user}: {} ms", since.elapsed().as_millis());
        assert_eq!(again.changed, 0, "{user}: {:?}", again.steps);
        assert_eq!(again.facts["proved"], "10.77.0.14");
    }

    let seen = server.look(Some(&site));
    assert!(seen.ready && seen.running && seen.red.is_none(), "{seen:?}");
    assert_eq!(seen.sites[0].file.enabled, Enabled::Yes);
    assert_eq!(seen.sites[0].text.as_deref(), Some(&*site.text));
    assert!(seen.sites[0].proved && seen.sites[0].others.is_empty(), "{seen:?}");
    assert!(seen.listeners[0].as_deref().unwrap().starts_with("nginx"), "{seen:?}");
}

// --- the bed --------------------------------------------------------------------------------------------------------

/// A host on a new disk with nginx and certbot, and a machine to reach it. When dropped it checks that nothing was left.
struct Server {
    host: &'static str,
    ssh: Option<Ssh>,
    dir: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

/// One story at a time: they share the hosts.
static LAB: Mutex<()> = Mutex::new(());

impl Server {
    /// Prepared by deploy-proxy.
    fn ready() -> Server {
        let server = Server::start("h4", &["h4", "--fresh", "--layer", "web"]);
        server.run("root", &recipes::nginx()).unwrap();
        server
    }

    fn start(host: &'static str, up: &[&str]) -> Server {
        let alone = LAB.lock().unwrap_or_else(|e| e.into_inner());
        script("up", up);
        let dir = PathBuf::from(format!("/tmp/ll-{}", &lamplighter::base::random::name()[..12]));
        let ssh = Ssh::open(dir.clone(), env!("CARGO_BIN_EXE_lamplighter").into()).unwrap();
        Server {
            host,
            ssh: Some(ssh),
            dir,
            _alone: alone,
        }
    }

    fn target(&self, user: &str) -> Target {
        let lab = lab_dir();
        let address = format!("10.77.0.1{}", &self.host[1..]);
        let known = fs::read_to_string(lab.join("known_hosts")).unwrap();
        let key = known
            .lines()
            .find(|l| l.starts_with(&format!("{address},")) && l.contains("ssh-ed25519"))
            .unwrap();
        Target {
            server: 10 + user.len() as i64,
            host: Host::parse(&address).unwrap(),
            port: 22,
            user: UserName::parse(user).unwrap(),
            auth: Auth::Key {
                pem: Secret::new(fs::read(lab.join("keys/id_ed25519")).unwrap()),
                passphrase: None,
            },
            sudo_password: (user == "ops").then(|| Secret::new("ops-pw")),
            host_key: key.split_once(' ').unwrap().1.to_string(),
        }
    }

    fn run(&self, user: &str, recipe: &Recipe) -> Result<Outcome> {
        self.watch(user, recipe, &mut |_| {})
    }

    fn watch(&self, user: &str, recipe: &Recipe, on: &mut dyn FnMut(&Report)) -> Result<Outcome> {
        let mut log = String::new();
        let ssh = self.ssh.as_ref().unwrap();
        let result = provision::run(ssh, &self.target(user), recipe, &Cancel::new(), &mut |report| {
            note(&mut log, &report);
            on(&report);
        });
        println!("--- {}\n{log}--- {result:?}\n", recipe.name);
        result
    }

    // -- sites

    fn facts(&self) -> site::Nginx {
        site::Nginx::of("1.22.1", "3.0.20", true).unwrap()
    }

    /// A site on port 80 with these targets.
    fn plain(&self, generation: i64, targets: &str) -> Rendered {
        self.named(NAME, generation, targets)
    }

    fn named(&self, domain: &str, generation: i64, targets: &str) -> Rendered {
        render(&Site {
            domain,
            id: 7,
            generation,
            upstream: &to(targets),
            tls: None,
            nginx: self.facts(),
        })
        .unwrap()
    }

    fn secure(&self, domain: &str, generation: i64, targets: &str, (chain, key): (String, String)) -> Rendered {
        render(&Site {
            domain,
            id: 7,
            generation,
            upstream: &to(targets),
            tls: Some(Tls {
                hsts_max_age_s: Some(600),
                chain: &chain,
                key: &key,
            }),
            nginx: self.facts(),
        })
        .unwrap()
    }

    fn apply(&self, site: &Rendered, expect: Option<&str>) -> Recipe {
        site::apply(&wish(site, expect)).unwrap()
    }

    fn deploy(&self, site: &Rendered) -> Result<Outcome> {
        self.deploy_on(site, None)
    }

    fn deploy_on(&self, site: &Rendered, expect: Option<&str>) -> Result<Outcome> {
        self.run("root", &self.apply(site, expect))
    }

    fn look(&self, site: Option<&Rendered>) -> Seen {
        let wanted = [Wanted {
            name: NAME,
            proof: site.map(|site| &site.proof),
            ..Wanted::default()
        }];
        let outcome = self.run("root", &site::look(&wanted).unwrap()).unwrap();
        assert_eq!(outcome.changed, 0);
        site::seen(&outcome, &wanted)
    }

    // -- the host

    fn on(&self, command: &str) -> String {
        on(self.host, command)
    }

    /// A program behind the proxy that says its name.
    fn backend(&self, port: u16, says: &str) {
        self.on(&format!(
            "mkdir -p /srv/{says} && echo {says} >/srv/{says}/index.html && \
             systemd-run -q --unit=backend-{port} --working-directory=/srv/{says} python3 -m http.server {port} && \
             for i in $(seq 50); do curl -sf -o /dev/null http://127.0.0.1:{port}/ && exit 0; sleep 0.1; done; exit 1"
        ));
    }

    /// Every file below with its mode and hash.
    fn tree(&self) -> String {
        self.on(
            "cd / && find etc/nginx etc/lamplighter etc/systemd/system var/lib/lamplighter -printf '%p %M %u %g %l ' -type f \
             -exec sha256sum {} \\; -o -printf '\\n' 2>/dev/null | sort",
        )
    }

    /// Status and body of a GET from here, as another machine does it.
    fn get(&self, scheme: &str, name: &str, path: &str) -> String {
        get(self.host, scheme, name, path, &["-k"])
    }
}

fn wish<'a>(site: &'a Rendered, expect: Option<&'a str>) -> Apply<'a> {
    Apply {
        name: NAME,
        text: &site.text,
        proof: &site.proof,
        target_names: &[],
        certificate: Certificate::None,
        expect,
        old_name: None,
        old_expect: None,
    }
}

fn to(targets: &str) -> Vec<To> {
    let one = |target: &str| {
        let (host, port) = target.rsplit_once(':').unwrap();
        To {
            host: host.into(),
            port: port.parse().unwrap(),
            weight: None,
        }
    };
    targets.split(' ').map(one).collect()
}

fn sum(text: &str) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref())
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.ssh.take());
        let _ = fs::remove_dir_all(&self.dir);
        if !thread::panicking() {
            assert_eq!(
                self.on("ls -d /run/lamplighter-job.* /run/lamplighter-look.* /var/lib/lamplighter/undo* 2>/dev/null || true"),
                "",
                "a job left its folder"
            );
            assert_eq!(
                self.on("find /etc -name '*.lamplighter-*' -o -name 'lamplighter-undo*'"),
                "",
                "a job left something half done"
            );
        }
    }
}

fn get(host: &str, scheme: &str, name: &str, path: &str, args: &[&str]) -> String {
    let port = if scheme == "https" { 443 } else { 80 };
    let out = Command::new("curl")
        .args(["-s", "-m", "10", "-w", "\n%{http_code}", "--resolve"])
        .arg(format!("{name}:{port}:10.77.0.1{}", &host[1..]))
        .args(args)
        .arg(format!("{scheme}://{name}{path}"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap();
    format!("{status} {body}")
}

fn note(log: &mut String, report: &Report) {
    use std::fmt::Write;
    let _ = match report {
        Report::Step {
            index,
            total,
            step,
            state,
            ms,
        } => writeln!(log, "[{index}/{total}] {} {state:?} {ms} ms", step.en),
        Report::Command { line } => writeln!(log, "$ {line}"),
        Report::Ended { rc, ms, .. } => writeln!(log, "= {rc} {ms} ms"),
        Report::Line { stream, text } => writeln!(log, "{stream:?}: {text}"),
        Report::Fact { key, value } => writeln!(log, "{key} = {value}"),
    };
}

fn lab() -> PathBuf {
    std::env::var_os("LAMPLIGHTER_LAB")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab"), Into::into)
}

fn lab_dir() -> PathBuf {
    std::env::var_os("LAB_DIR").map_or("/var/tmp/lamplighter-lab".into(), PathBuf::from)
}

fn script(name: &str, args: &[&str]) -> String {
    let out = Command::new(lab().join(name)).args(args).output().unwrap();
    let told = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{name} {args:?}: {told}");
    String::from_utf8(out.stdout).unwrap()
}

/// As root on the host itself, not over ssh.
fn on(host: &str, command: &str) -> String {
    script("on", &["--direct", host, "sh", "-c", command])
}
