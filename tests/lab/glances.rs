//! Real Glances 3 (Debian's) and 4 (PyPI's) on the lab's h5, with and without a password, starting, stopping and swapped.

use lamplighter::base::clock::{self, Duration};
use lamplighter::base::host::Host;
use lamplighter::base::id::Id;
use lamplighter::base::secret::Secret;
use lamplighter::features::fleet::metrics::{self, PollAuth, PollTarget, Seen};
use lamplighter::net::dial::Security;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::time::Instant;

fn lab() -> PathBuf {
    std::env::var_os("LAMPLIGHTER_LAB")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab"), Into::into)
}

fn run(script: &str, args: &[&str]) -> String {
    let out = Command::new(lab().join(script)).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{script} {args:?}: {said}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// A script run by root on h5.
fn on(script: &str) -> String {
    run("on", &["--direct", "h5", "sh", "-ec", script])
}

const HOST: &str = "10.77.0.15";
const PASSWORD: &str = "Gl4nces pass:word";

/// Four servers, one a port; each version keeps its password in a home of its own.
fn start() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        run("up", &["h5", "--layer", "web"]);
        on("test -x /opt/g4/bin/glances || {
              apt-get install -y -q python3-venv >/dev/null
              rm -rf /opt/g4 && python3 -m venv /opt/g4
              /opt/g4/bin/pip install -q --no-index --find-links /srv/labwheels 'glances[web]'
            }");
        for (home, python) in [
            ("/opt/home3", "/usr/bin/python3"),
            ("/opt/home4", "/opt/g4/bin/python3"),
        ] {
            on(&format!(
                "mkdir -p {home}; export HOME={home} XDG_CONFIG_HOME={home}/.config
                 test -s {home}/.config/glances/operator.pwd || {python} -c '
from glances.password import GlancesPassword as P
p = P(\"operator\")
p.save_password(p.hash_password(getattr(p, \"sha256_hash\", p.get_hash)(\"{PASSWORD}\")))'"
            ));
        }
        unit("g3", 61303, "/usr/bin/glances", "/opt/home3", "");
        unit("g4", 61304, "/opt/g4/bin/glances", "/opt/home4", "");
        unit(
            "g3auth",
            61313,
            "/usr/bin/glances",
            "/opt/home3",
            "-u operator --password",
        );
        unit(
            "g4auth",
            61314,
            "/opt/g4/bin/glances",
            "/opt/home4",
            "-u operator --password",
        );
    });
}

fn unit(name: &str, port: u16, program: &str, home: &str, more: &str) {
    on(&format!(
        "systemctl stop lab-{name} 2>/dev/null || true; systemctl reset-failed lab-{name} 2>/dev/null || true
         systemd-run -q --unit=lab-{name} -E HOME={home} -E XDG_CONFIG_HOME={home}/.config -E LC_ALL=C.UTF-8 \
           {program} -w -p {port} -B 0.0.0.0 --disable-check-update {more}"
    ));
}

fn target(port: u16) -> PollTarget {
    PollTarget {
        server: Id::new(5),
        revision: 1,
        security: Security::Plain,
        host: Host::parse(HOST).unwrap(),
        port,
        policy: lamplighter::net::policy::Policy::Server,
        path: "/api/3/all".into(),
        path_seen: None,
        auth: PollAuth::None,
        interval: Duration::from_secs(30),
        fail_threshold: 3,
        misses: 0,
        ssh: (Host::parse("127.0.0.1").unwrap(), 9),
        far: true,
        line: Default::default(),
        meant: Vec::new(),
    }
}

/// Polls until there is an answer with a CPU figure: the first ones after a start have none, and say so.
fn measured(target: &mut PollTarget) -> Seen {
    let until = Instant::now() + Duration::from_secs(90);
    loop {
        let outcome = metrics::poll(target);
        match outcome.result {
            Ok(seen) if seen.sample.cpu_percent.is_some() => return seen,
            Ok(_) => {}
            Err(e) => assert!(
                ["refused", "reset", "read_timeout"].contains(&e.code) && Instant::now() < until,
                "{e}"
            ),
        }
        assert!(Instant::now() < until, "no CPU figure in time");
        std::thread::sleep(Duration::from_secs(3)); // Glances measures at most every two seconds
    }
}

#[test]
#[ignore = "lab: h5"]
fn both_versions_say_how_the_server_is() {
    start();
    for (port, api, path) in [(61303, 3, "/api/3/all"), (61304, 4, "/api/4/all")] {
        let mut target = target(port);
        let Seen { sample, path: seen } = measured(&mut target);
        assert_eq!((sample.api, seen.as_str()), (api, path));
        assert_eq!(sample.version.is_some(), api == 4);
        assert!(sample.mem_percent.unwrap() > 0.0 && sample.mem_total.unwrap() > sample.mem_used.unwrap());
        assert!(sample.load1.is_some() && sample.cpu_cores.unwrap() >= 1 && sample.uptime_seconds.is_some());
        assert_eq!(sample.hostname.as_deref(), Some("h5"));
        assert!(sample.os.as_deref().unwrap().contains("Debian"), "{:?}", sample.os);
        assert!(sample.net_rx.is_some(), "{sample:?}");
        let skew = sample.remote_now.expect("the lab keeps UTC") - clock::now();
        assert!(skew.abs() < 30_000, "{skew}");
        let probed = metrics::probe(&target).unwrap();
        println!("{}\n{sample:#?}", probed.say);
        assert_eq!(
            probed
                .say
                .starts_with("Nothing is at /api/3/all, but /api/4/all works: Glances 4."),
            api == 4
        );
    }
}

#[test]
#[ignore = "lab: h5"]
fn a_password_is_taken_by_both_and_its_lack_is_told() {
    start();
    for port in [61313, 61314] {
        let basic = |password: &str| PollAuth::Basic {
            user: "operator".into(),
            password: Secret::new(password),
        };
        let good = measured(&mut PollTarget {
            auth: basic(PASSWORD),
            ..target(port)
        });
        assert!(good.sample.mem_percent.is_some());
        for (auth, words) in [
            (PollAuth::None, "asks for a password"),
            (basic("wrong"), "does not accept this user and password"),
            (basic("wröng"), "beyond ASCII"),
            (PollAuth::Token(Secret::new("wrong")), "does not accept this token"),
        ] {
            let e = metrics::poll(&mut PollTarget { auth, ..target(port) })
                .result
                .unwrap_err();
            assert_eq!(e.code, "glances_auth", "{port}: {e}");
            assert!(e.say.contains(words), "{port}: {e}");
        }
    }
}

#[test]
#[ignore = "lab: h5"]
fn a_stopped_glances_refuses_and_comes_back_as_another_version() {
    start();
    unit("swap", 61320, "/usr/bin/glances", "/opt/home3", "");
    let mut target = target(61320);
    assert_eq!(measured(&mut target).sample.api, 3);
    on("systemctl stop lab-swap");
    let e = metrics::poll(&mut target).result.unwrap_err();
    assert_eq!(e.code, "refused", "{e}");
    unit("swap", 61320, "/opt/g4/bin/glances", "/opt/home4", "");
    assert_eq!(measured(&mut target).sample.api, 4);
    assert_eq!(target.path_seen.as_deref(), Some("/api/4/all"));
    on("systemctl stop lab-swap");
}
