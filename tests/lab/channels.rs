//! What is open for hours on real servers: followed logs, forwarded sockets, terminals. Needs the lab (`tests/lab`), hosts
//! h1 and h2.

use super::ssh::{Bench, Fault, alive, alone, kill_masters, on, soon, with_key, with_password, with_sudo};
use lamplighter::base::clock;
use lamplighter::base::error::{Error, Kind};
use lamplighter::base::host::Host;
use lamplighter::base::process::Cancel;
use lamplighter::base::secret::Secret;
use lamplighter::base::shell;
use lamplighter::base::sys::TerminalSize;
use lamplighter::net::dial::{Call, Security};
use lamplighter::net::http::{self, Method, Request, Route};
use lamplighter::net::policy::Policy;
use lamplighter::ssh::follow::{Follow, News, Position, Source};
use lamplighter::ssh::forward::Remote;
use lamplighter::ssh::terminal::{LOGIN_SHELL, Shown, Terminal};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Shorter than anybody would choose, so that the tests need not wait.
const IDLE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(100);
const SIZE: TerminalSize = TerminalSize { columns: 100, rows: 30 };

fn source(script: &str, token: fn(&str) -> Option<String>) -> Source<'_> {
    Source {
        script,
        root: true,
        token,
        inclusive: false,
        idle_max: IDLE,
        pause: PAUSE,
    }
}

/// The next line; how often the connection was lost before it is counted.
#[track_caller]
fn line(follow: &mut Follow, lost: &mut u32) -> String {
    loop {
        match follow.next(&Cancel::new()).unwrap() {
            News::Line(line) => return line,
            News::Lost(e) => {
                eprintln!("{}: {} | {}", e.code, e.say, e.log);
                *lost += 1;
            }
            News::Complaint(line) => eprintln!("complaint: {line}"),
            News::Ended(rc) => panic!("it ended with {rc}"),
        }
    }
}

/// The place of an entry that `journalctl -o json` prints.
fn cursor(line: &str) -> Option<String> {
    let entry: serde_json::Value = serde_json::from_str(line).ok()?;
    Some(entry["__CURSOR"].as_str()?.to_string())
}

fn number(entry: &str) -> u64 {
    let entry: serde_json::Value = serde_json::from_str(entry).unwrap();
    let message = entry["MESSAGE"].as_str().unwrap();
    message.strip_prefix("n ").map_or(0, |n| n.parse().unwrap())
}

const JOURNAL: &str = r#"
if [ -n "$RESUME" ]; then set -- --after-cursor="$RESUME"; else set -- -n 0; fi
exec journalctl -q -f --no-tail -o json --output-fields=MESSAGE -u "$UNIT" "$@"
"#;

#[test]
#[ignore = "lab: h2"]
fn a_followed_journal_survives_broken_connections_without_loss_or_doubles() {
    let _alone = alone();
    let script = shell::assignments(&[("UNIT", "counter.service")]).unwrap() + JOURNAL;
    on(
        "h2",
        "systemctl stop counter 2>/dev/null; systemd-run -q --unit=counter sh -c 'i=0; while sleep 0.01; do i=$((i+1)); echo \"n $i\"; done'",
    );
    for target in [
        with_key("h2", "root", "id_ed25519"),
        with_sudo(with_password("h2", "ops", "ops-pw"), "ops-pw"),
    ] {
        let bench = Bench::new();
        let mut lost = 0;
        let mut follow = bench.ssh().follow(&target, source(&script, cursor), None);
        let mut last = number(&line(&mut follow, &mut lost));
        let mut go_on = |follow: &mut Follow, until: u32, what: &str| {
            let mut more = 0;
            // What was under way when the connection broke comes first.
            while lost < until || more < 60 {
                let next = number(&line(follow, &mut lost));
                assert_eq!(next, last + 1, "{what}");
                last = next;
                more += 1;
            }
            lost
        };
        go_on(&mut follow, 0, "at first");
        kill_masters(&bench); // the connection's process here
        go_on(&mut follow, 1, "after a death here");
        on("h2", "pkill -f '[s]shd: (root|ops)'");
        go_on(&mut follow, 2, "after a death there");
        // Another one goes on from where this one was.
        let position = follow.position().clone();
        drop(follow);
        soon("the end of journalctl", || !alive("h2", "journalctl -q -f"));
        let mut follow = bench.ssh().follow(&target, source(&script, cursor), Some(position));
        let lost = go_on(&mut follow, 2, "after a new start");
        assert_eq!(lost, 2, "as {}", target.user.as_str());
    }
    on("h2", "systemctl stop counter");
}

#[test]
#[ignore = "lab: h1"]
fn lines_of_one_moment_are_counted_where_a_source_goes_on_at_a_moment() {
    let _alone = alone();
    let bench = Bench::new();
    let root = with_key("h1", "root", "id_ed25519");
    on("h1", "printf '%s\\n' '1 a' '1 b' '2 c' '2 d' '2 d' '3 e' >/run/stamps");
    let source = || Source {
        inclusive: true,
        ..source(
            r#"awk -v from="${RESUME:-0}" '$1 >= from' /run/stamps; exec sleep 60"#,
            |line| Some(line.split(' ').next()?.to_string()),
        )
    };
    let mut from = None;
    let mut all = Vec::new();
    for _ in 0..3 {
        let mut follow = bench.ssh().follow(&root, source(), from);
        all.extend((0..2).map(|_| line(&mut follow, &mut 0)));
        from = Some(follow.position().clone());
    }
    assert_eq!(all, ["1 a", "1 b", "2 c", "2 d", "2 d", "3 e"]);
    let last = Position {
        token: "3".into(),
        lines: 1,
    };
    assert_eq!(from, Some(last));
    on("h1", "rm /run/stamps");
}

#[test]
#[ignore = "lab: h1"]
fn a_silent_log_is_alive_a_dead_network_is_noticed_and_an_ended_script_ends_it() {
    let _alone = alone();
    let root = with_key("h1", "root", "id_ed25519");
    let none: fn(&str) -> Option<String> = |_| None;
    let bench = Bench::new();
    let mut lost = 0;
    // Longer than the idle deadline, and nothing is lost.
    let script = "echo one; sleep 4; echo two; echo three >&2; printf half; exit 7";
    let mut follow = bench.ssh().follow(&root, source(script, none), None);
    assert_eq!(line(&mut follow, &mut lost), "one");
    assert_eq!((line(&mut follow, &mut lost).as_str(), lost), ("two", 0));
    let mut rest = Vec::new();
    let rc = loop {
        match follow.next(&Cancel::new()).unwrap() {
            News::Line(line) => rest.push(line),
            News::Complaint(line) => assert_eq!(line, "three"),
            News::Ended(rc) => break rc,
            News::Lost(e) => panic!("{e}"),
        }
    };
    assert_eq!((rc, rest), (7, vec!["half".to_string()]));
    assert!(
        matches!(follow.next(&Cancel::new()), Ok(News::Ended(7))),
        "once ended, it stays so"
    );
    // The network goes, and the script on the server with it.
    let mut follow = bench.ssh().follow(
        &root,
        source("echo here $RESUME; exec sleep 46001", |_| Some("x".into())),
        None,
    );
    assert_eq!(line(&mut follow, &mut lost).trim(), "here");
    let fault = Fault::new("h1", &["unplug"]);
    let News::Lost(e) = follow.next(&Cancel::new()).unwrap() else {
        panic!("a dead network is noticed")
    };
    // On a slow machine the fault takes longer than the idle deadline, and a new connection is tried at once.
    assert!(["ssh_link_lost", "ssh_no_route"].contains(&e.code), "{e}");
    soon("the end over there", || !alive("h1", "sleep 46001"));
    drop(fault);
    assert_eq!(line(&mut follow, &mut lost), "here x");
    // Who does not ask for longer than that has the script ended there, and begun again where he was.
    soon("the end over there", || !alive("h1", "sleep 46001"));
    assert_eq!(line(&mut follow, &mut lost), "here x");
    // Cancelled.
    let cancel = Cancel::new();
    let e = thread::scope(|scope| {
        scope.spawn(|| cancel.cancel());
        loop {
            match follow.next(&cancel) {
                Ok(news) => eprintln!("{news:?}"),
                Err(e) => break e,
            }
        }
    });
    assert_eq!(e.code, "cancelled");
    drop(follow);
    soon("the end over there", || !alive("h1", "sleep 46001"));
    // What no new try can help is an error at once.
    let wrong = with_password("h1", "ops", "wrong");
    let e = bench
        .ssh()
        .follow(&wrong, source("true", none), None)
        .next(&Cancel::new())
        .unwrap_err();
    assert_eq!(e.code, "ssh_wrong_password");
}

/// Asks for `/` and gives the answer's last line.
fn asked(socket: &Path) -> std::io::Result<String> {
    let mut to = UnixStream::connect(socket)?;
    to.set_read_timeout(Some(Duration::from_secs(20)))?;
    to.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    to.read_to_string(&mut answer)?;
    match answer.lines().last() {
        Some(line) => Ok(line.to_string()),
        None => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A web server on a Unix socket, which says who asked it.
const SERVER: &str = r#"
import socketserver
class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        while self.rfile.readline().strip(): pass
        self.wfile.write(b'HTTP/1.0 200 OK\r\n\r\nfrom the socket\n')
class Many(socketserver.ThreadingUnixStreamServer):
    request_queue_size = 128
Many('/run/web.sock', Answer).serve_forever()
"#;

#[test]
#[ignore = "lab: h1"]
fn a_forward_leads_to_a_unix_socket_and_to_a_port_and_says_why_it_does_not() {
    let _alone = alone();
    let root = with_key("h1", "root", "id_ed25519");
    on(
        "h1",
        &format!("cat >/run/web.py <<'E'\n{SERVER}\nE\nsystemd-run -q --unit=web-socket python3 /run/web.py"),
    );
    on(
        "h1",
        "mkdir -p /run/www; echo from the port >/run/www/index.html; systemd-run -q --unit=web-port python3 -m http.server 8123 --bind 127.0.0.1 --directory /run/www",
    );
    soon("the web servers", || {
        on("h1", "ss -Hlnt sport = :8123; ls /run/web.sock 2>/dev/null || true")
            .lines()
            .count()
            == 2
    });
    let failure = || Error::new(Kind::Upstream, "empty", "It closed the connection without an answer.");
    let unix = |path: &str| Remote::Unix(path.into());
    let tcp = |port| Remote::Tcp(Host::parse("127.0.0.1").unwrap(), port);
    {
        let bench = Bench::new();
        let open = |remote: Remote| bench.ssh().forward(&root, &remote, &Cancel::new());
        let mut socket = open(unix("/run/web.sock")).unwrap();
        let port = open(tcp(8123)).unwrap();
        assert_eq!(
            std::fs::metadata(socket.path()).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(asked(socket.path()).unwrap(), "from the socket");
        assert_eq!(asked(port.path()).unwrap(), "from the port");
        assert_eq!(bench.files("cm").len(), 1, "they share a connection");
        // Many at once, far beyond what sshd gives one connection of sessions.
        thread::scope(|scope| {
            for _ in 0..40 {
                let path = socket.path().to_path_buf();
                scope.spawn(move || assert_eq!(asked(&path).unwrap(), "from the socket"));
            }
        });
        assert_eq!(
            socket.explain(failure(), &Cancel::new()).code,
            "empty",
            "nothing is said against it"
        );
        // As any client of ours asks.
        let (host, path) = (Host::parse("h1").unwrap(), Secret::new("/index.html"));
        let call = Call {
            host: &host,
            port: 80,
            security: Security::Plain,
            policy: Policy::Server,
            connect_max: Duration::from_secs(5),
            until: clock::mono() + Duration::from_secs(20),
        };
        let request = Request {
            method: Method::Get,
            path: &path,
            content_type: "*/*",
            headers: &[],
            body: b"",
            route: Route::Unix(port.path()),
        };
        let answer = http::send(&call, &request, 1_000).unwrap();
        assert_eq!(
            (answer.status, answer.body.as_slice()),
            (200, b"from the port\n".as_slice())
        );
        for missing in [unix("/run/no.sock"), tcp(8124)] {
            let mut forward = open(missing).unwrap();
            asked(forward.path()).unwrap_err();
            let e = forward.explain(failure(), &Cancel::new());
            assert_eq!(e.code, "forward_no_socket", "{e}");
            eprintln!("{e}");
            assert_eq!(forward.explain(failure(), &Cancel::new()).code, "empty", "said once");
        }
        let gone = port.path().to_path_buf();
        drop(port);
        assert!(!gone.exists());
        assert_eq!(asked(socket.path()).unwrap(), "from the socket", "the other one stays");
        assert!(socket.is_open());
        bench.ssh().forget(1);
        soon("the end of the connection", || !socket.is_open());
        let e = socket.explain(failure(), &Cancel::new());
        assert_eq!(e.code, "ssh_link_lost", "{e}");
    }
    on(
        "h1",
        "printf 'AllowTcpForwarding no\\nAllowStreamLocalForwarding no\\n' >/etc/ssh/sshd_config.d/00-test.conf; systemctl restart ssh",
    );
    let bench = Bench::new();
    let refused: Vec<Error> = [unix("/run/web.sock"), tcp(8123)]
        .iter()
        .map(|remote| {
            let mut forward = bench.ssh().forward(&root, remote, &Cancel::new()).unwrap();
            let answered = asked(forward.path()).is_ok();
            let e = forward.explain(failure(), &Cancel::new());
            assert!(!answered, "{e}");
            e
        })
        .collect();
    on(
        "h1",
        "rm /etc/ssh/sshd_config.d/00-test.conf; systemctl restart ssh; systemctl stop web-socket web-port; rm -r /run/www /run/web.*",
    );
    for e in refused {
        assert_eq!(e.code, "forward_forbidden", "{e}");
        assert!(e.say.contains("AllowTcpForwarding"), "{e}");
        eprintln!("{e}");
    }
}

/// Reads what is shown until it holds `wanted`; gives all of it.
#[track_caller]
fn until_shown(terminal: &mut Terminal, wanted: &str) -> String {
    let until = clock::mono() + Duration::from_secs(20);
    let mut seen = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if text.contains(wanted) {
            return text;
        }
        match terminal.next(until, &Cancel::new()) {
            Shown::Bytes(bytes) => seen.extend(bytes),
            other => panic!("{other:?} before {wanted:?}, after {text:?}"),
        }
    }
}

#[test]
#[ignore = "lab: h2"]
fn a_terminal_echoes_is_resized_and_hangs_up() {
    let _alone = alone();
    let bench = Bench::new();
    let plain = with_password("h2", "plain", "plain-pw");
    for round in ["cold", "shared"] {
        let open = |script: &str| bench.ssh().terminal(&plain, script, SIZE, &Cancel::new()).unwrap();
        let mut terminal = open(LOGIN_SHELL);
        let keys = terminal.keyboard();
        assert!(keys.send(b"stty size; echo $TERM-$((40+2))\n"));
        let seen = until_shown(&mut terminal, "xterm-256color-42");
        assert!(seen.contains("30 100"), "{round}: {seen}");
        assert!(
            seen.contains("$TERM-$((40+2))"),
            "{round}: what is typed is echoed: {seen}"
        );
        assert!(
            !seen.contains(": go") && !seen.contains("exec"),
            "{round}: our own words are not: {seen}"
        );
        keys.resize(TerminalSize { columns: 132, rows: 43 }).unwrap();
        // The new size travels beside what is typed: asked until it is there.
        keys.send(b"until [ \"$(stty size)\" = '43 132' ]; do sleep 0.05; done; echo resized-$((1+1)); stty -a\n");
        let modes = until_shown(&mut terminal, "extproc");
        assert!(modes.contains("resized-2"), "{round}: {modes}");
        assert!(
            modes.contains(" iutf8") && !modes.contains("-iutf8"),
            "{round}: {modes}"
        );
        // A flood nobody looks at is stopped, and can be interrupted.
        keys.send(b"yes\n");
        until_shown(&mut terminal, "y\r\ny\r\n");
        keys.send(b"\x03");
        keys.send("echo от-$((2+3))\n".as_bytes());
        until_shown(&mut terminal, "от-5");
        keys.send(b"sleep 47001\n");
        soon("the program", || alive("h2", "sleep 47001"));
        drop(terminal);
        soon("the hangup", || !alive("h2", "sleep 47001"));
        // A command with a value of somebody else's, and its end.
        let script = shell::assignments(&[("NAME", "it's $(id); é")]).unwrap() + "printf '<%s>' \"$NAME\"; exit 5";
        let mut terminal = open(&script);
        until_shown(&mut terminal, "<it's $(id); é>");
        let until = clock::mono() + Duration::from_secs(20);
        assert_eq!(terminal.next(until, &Cancel::new()), Shown::Ended(Some(5)), "{round}");
        // One that is too much at once is not taken, rather than kept here.
        let terminal = &mut open("stty raw -echo; printf ready; sleep 47002");
        until_shown(terminal, "ready");
        let keys = terminal.keyboard();
        let mut taken = 0;
        while keys.send(&[b'x'; 4_096]) && taken < 10_000 {
            taken += 1;
        }
        assert!(taken < 10_000, "{round}");
    }
    let wrong = with_password("h2", "plain", "wrong");
    let e = bench
        .ssh()
        .terminal(&wrong, LOGIN_SHELL, SIZE, &Cancel::new())
        .err()
        .unwrap();
    assert_eq!(e.code, "ssh_wrong_password");
}

#[test]
#[ignore = "lab: h1"]
fn followers_and_terminals_take_no_place_of_a_job() {
    let _alone = alone();
    let bench = Bench::new();
    let root = with_key("h1", "root", "id_ed25519");
    let none: fn(&str) -> Option<String> = |_| None;
    let mut followers: Vec<Follow> = (0..12)
        .map(|_| {
            bench
                .ssh()
                .follow(&root, source("echo go; exec sleep 48001", none), None)
        })
        .collect();
    for follow in &mut followers {
        assert_eq!(line(follow, &mut 0), "go");
    }
    let mut terminals: Vec<Terminal> = (0..3)
        .map(|_| {
            bench
                .ssh()
                .terminal(&root, "echo go; exec sleep 48001", SIZE, &Cancel::new())
                .unwrap()
        })
        .collect();
    terminals
        .iter_mut()
        .for_each(|terminal| drop(until_shown(terminal, "go")));
    assert_eq!(
        bench.files("cm").len(),
        3,
        "two for the followers, one for the terminals"
    );
    thread::scope(|scope| {
        for n in 0..12 {
            let (bench, root) = (&bench, &root);
            scope.spawn(move || {
                let (done, out, _) = bench.run(root, &format!("sleep 0.2; echo {n}"), true).unwrap();
                assert_eq!((done.rc, out), (0, format!("{n}\n")));
            });
        }
    });
    assert!(bench.files("cm").len() <= 5);
    drop(followers);
    drop(terminals);
    soon("the end of all", || !alive("h1", "sleep 48001"));
    // There is an end to what may be open.
    let port = Remote::Tcp(Host::parse("127.0.0.1").unwrap(), 22);
    let open = || bench.ssh().forward(&root, &port, &Cancel::new());
    let all: Vec<_> = (0..20).map(|_| open().unwrap()).collect();
    assert_eq!(open().err().unwrap().code, "ssh_sessions_full");
    drop(all);
    open().unwrap();
}

#[test]
#[ignore = "lab: h2"]
fn a_job_of_little_time_takes_nobody_with_it() {
    let _alone = alone();
    let bench = Bench::new();
    let plain = with_password("h2", "plain", "plain-pw");
    // A login that takes 2 s: one job has no time for it, another has.
    on(
        "h2",
        "cp ~plain/.bashrc /run/; (echo 'sleep 2'; cat /run/.bashrc) >~plain/.bashrc",
    );
    let cancel = Cancel::new();
    let ends = thread::scope(|scope| {
        let hurried = scope.spawn(|| bench.run_for(&plain, "true", false, Duration::from_secs(1), &cancel));
        soon("the first login", || !bench.files("files").is_empty());
        let other = scope.spawn(|| bench.run_for(&plain, "echo done", false, Duration::from_secs(20), &cancel));
        (hurried.join().unwrap(), other.join().unwrap())
    });
    on("h2", "cp /run/.bashrc ~plain/.bashrc");
    assert!(ends.0.is_err());
    assert_eq!(ends.1.unwrap().1, "done\n");
}
