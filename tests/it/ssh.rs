//! Child processes, keys, host keys and quoting: the parts of ssh that need no server.

use lamplighter::base::process::{self, Cancel, Event, LineReader, Program, Running, Stream};
use lamplighter::base::secret::Secret;
use lamplighter::base::sys::TerminalSize;
use lamplighter::base::{lines, random, shell};
use lamplighter::ssh::{Ssh, hostkey, keys};
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(30);

fn program(name: &'static str, args: &[&str]) -> Program<'static> {
    Program {
        name,
        args: args.iter().map(Into::into).collect(),
        env: vec![],
        dir: None,
    }
}

fn sh(script: &str) -> Program<'static> {
    program("sh", &["-c", script])
}

/// Is there a living process with this in its command line?
fn alive(words: &str) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        fs::read(entry.path().join("cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).replace('\0', " ").contains(words))
    })
}

/// A killed process needs a moment to be gone.
fn ends(words: &str) {
    let until = Instant::now() + Duration::from_secs(5);
    while alive(words) {
        assert!(Instant::now() < until, "{words} lives on");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_program_gets_its_arguments_and_nothing_of_our_environment() {
    let seen = process::run(program("env", &[]), b"", LONG, 1_000, &Cancel::new()).unwrap();
    assert_eq!(seen.stdout, "LANG=C.UTF-8\nPATH=/usr/bin:/bin\n");
    let odd = ["", "a b", "$(id)", "-x", "é\n"];
    let seen = process::run(
        program("printf", &[&["<%s>"], &odd[..]].concat()),
        b"",
        LONG,
        1_000,
        &Cancel::new(),
    )
    .unwrap();
    assert_eq!(seen.stdout, "<><a b><$(id)><-x><é\n>\n");
    let input = "x".repeat(1_000_000);
    let seen = process::run(program("wc", &["-c"]), input.as_bytes(), LONG, 1_000, &Cancel::new()).unwrap();
    assert_eq!((seen.rc, seen.stdout.as_str()), (0, "1000000\n"));
    let seen = process::run(sh("echo out; echo err >&2; exit 7"), b"", LONG, 1_000, &Cancel::new()).unwrap();
    assert_eq!(
        (seen.rc, seen.stdout.as_str(), seen.stderr.as_str()),
        (7, "out\n", "err\n")
    );
    let seen = process::run(sh("kill -9 $$"), b"", LONG, 1_000, &Cancel::new()).unwrap();
    assert_eq!(seen.rc, -1);
}

#[test]
fn a_program_is_a_name_of_the_system() {
    for name in ["no-such-program", "/usr/bin/env", "../bin/env", ""] {
        let e = process::run(program(name, &[]), b"", LONG, 1_000, &Cancel::new()).unwrap_err();
        assert_eq!(e.code, "missing_program", "{name}");
    }
}

#[test]
fn a_program_that_is_late_or_cancelled_ends_with_all_its_children() {
    for (mark, script) in [
        ("51001", "sleep 51001 & sleep 51001"),
        ("51002", "trap '' TERM; sleep 51002; sleep 51002"),
        ("51003", "(trap '' TERM; sleep 51003; sleep 51003) & exec sleep 51003"),
        ("51004", "exec >&- 2>&-; sleep 51004"),
    ] {
        let started = Instant::now();
        let e = process::run(sh(script), b"", Duration::from_millis(300), 1_000, &Cancel::new()).unwrap_err();
        assert_eq!(e.code, "deadline");
        ends(&format!("sleep {mark}"));
        let cancel = Cancel::new();
        let waker = thread::spawn({
            let cancel = cancel.clone();
            move || {
                assert!(!cancel.wait(Duration::from_millis(200)));
                cancel.cancel();
                assert!(cancel.wait(LONG) && cancel.is_cancelled());
            }
        });
        let late = if mark == "51004" { Duration::from_secs(1) } else { LONG };
        let e = process::run(sh(script), b"", late, 1_000, &cancel).unwrap_err();
        assert!(e.code == "cancelled" || mark == "51004");
        waker.join().unwrap();
        ends(&format!("sleep {mark}"));
        assert!(started.elapsed() < LONG);
    }
}

#[test]
fn no_child_is_left_as_a_zombie() {
    for _ in 0..5 {
        drop(Running::start(sh("sleep 52001")).unwrap());
        process::run(sh("sleep 0"), b"", LONG, 1_000, &Cancel::new()).unwrap();
    }
    let me = std::process::id().to_string();
    let mine = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let rest = stat.rsplit_once(") ")?.1.to_string();
        let mut words = rest.split(' ');
        let (state, parent) = (words.next()?.to_string(), words.next()?.to_string());
        (parent == me && state == "Z").then_some(stat)
    });
    // Other tests of this file have children that end right now: none stays.
    let zombies: Vec<String> = mine.collect();
    thread::sleep(Duration::from_secs(1));
    for stat in zombies {
        let pid = stat.split(' ').next().unwrap().to_string();
        let now = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(!now.contains(") Z "), "{now}");
    }
}

#[test]
fn a_program_that_leaves_its_streams_to_another_does_not_hold_us() {
    let started = Instant::now();
    let seen = process::run(sh("setsid sleep 20 & echo here"), b"", LONG, 1_000, &Cancel::new()).unwrap();
    assert_eq!(seen.stdout, "here\n");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_flood_is_slowed_down_and_cut() {
    let seen = process::run(sh("yes | head -c 20000000"), b"", LONG, 10_000, &Cancel::new()).unwrap();
    assert_eq!(seen.stdout.lines().last(), Some(process::TRUNCATED));
    assert!(seen.stdout.len() < 10_100);
    // Nobody listens: the child waits, nothing is stored.
    let mut running = Running::start(program("yes", &[])).unwrap();
    let memory = || -> usize {
        let mut text = String::new();
        fs::File::open("/proc/self/statm")
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let before = memory();
    thread::sleep(Duration::from_millis(500));
    assert!(memory() < before + 20_000_000);
    let first = LineReader::new(lines::LINE_MAX).next(&mut running, Instant::now() + LONG, &Cancel::new());
    assert_eq!(first, Event::Output(Stream::Stdout, "y".into()));
}

#[test]
fn lines_come_as_they_are_written_and_stdin_stays_open() {
    let mut running = Running::start(sh("while read x; do echo \"got $x\"; done; echo end >&2")).unwrap();
    let (until, cancel) = (Instant::now() + LONG, Cancel::new());
    let mut reader = LineReader::new(lines::LINE_MAX);
    for word in ["one", "two"] {
        running.send(format!("{word}\n").as_bytes());
        assert_eq!(
            reader.next(&mut running, until, &cancel),
            Event::Output(Stream::Stdout, format!("got {word}"))
        );
    }
    assert_eq!(reader.next(&mut running, Instant::now(), &cancel), Event::Late);
    running.close();
    assert_eq!(
        reader.next(&mut running, until, &cancel),
        Event::Output(Stream::Stderr, "end".into())
    );
    assert_eq!(reader.next(&mut running, until, &cancel), Event::End);
    assert!(running.exited_within(LONG).unwrap().success());
    let long = process::run(
        sh("head -c 100000 /dev/zero | tr '\\0' x"),
        b"",
        LONG,
        1_000_000,
        &Cancel::new(),
    )
    .unwrap();
    assert_eq!(long.stdout.trim_end().len(), lines::LINE_MAX + lines::CUT.len());
}

#[test]
fn a_program_at_a_terminal_is_typed_to_and_told_its_size() {
    let size = |columns, rows| TerminalSize { columns, rows };
    let script = "trap 'stty size' WINCH; stty size; read x; echo got $x; stty raw -echo; while :; do sleep 0.05; done";
    let mut running = Running::start_on_terminal(sh(script), size(100, 30)).unwrap();
    let (until, cancel) = (Instant::now() + LONG, Cancel::new());
    let mut lines = LineReader::new(lines::LINE_MAX);
    let mut line = |running: &mut Running| match lines.next(running, until, &cancel) {
        Event::Output(Stream::Stdout, line) => line,
        other => panic!("{other:?}"),
    };
    assert_eq!(line(&mut running), "30 100");
    assert!(!running.terminal_is_raw());
    let keys = running.keyboard();
    assert!(keys.send(b"word\n"));
    assert_eq!(line(&mut running), "word", "the terminal echoes");
    assert_eq!(line(&mut running), "got word");
    let typing = thread::spawn(move || {
        keys.resize(size(132, 43)).unwrap();
        keys
    });
    assert_eq!(line(&mut running), "43 132");
    let keys = typing.join().unwrap();
    while !running.terminal_is_raw() {
        thread::sleep(Duration::from_millis(10));
    }
    // It does not read: there is an end to what waits for it, and what is refused is refused whole.
    let taken = (0..1_000).take_while(|_| keys.send(&[b'x'; 1_024])).count();
    assert!((1..200).contains(&taken), "{taken}");
    drop(running);
    assert!(!keys.send(&[b'x'; 100_000]), "nor later");
}

/// What breaks quoting: every character of a shell's grammar, long, wide and invisible ones.
fn naughty() -> Vec<String> {
    let mut all: Vec<String> = [
        "",
        " ",
        "'",
        "''",
        "'\\''",
        "\"",
        "\\",
        "\\n",
        "$x",
        "${x}",
        "$(id)",
        "`id`",
        "!x",
        "#x",
        "~",
        "*",
        "?",
        "[a]",
        "{a,b}",
        ";id",
        "&",
        "|id",
        ">x",
        "<x",
        "(x)",
        "a=b",
        "-n",
        "--",
        "-e",
        "%s",
        "\t",
        "it's",
        "'; id #",
        "\u{1b}[31m",
        "é",
        "日本",
        "\u{202e}",
        "🦀",
        "\u{85}",
        "\u{7f}",
        "\u{1}",
        "END",
        "EOF",
    ]
    .map(String::from)
    .into();
    all.push("'".repeat(3_000));
    all.push("x y'".repeat(10_000));
    let mut seed = 7u64;
    for _ in 0..2_000 {
        let mut word = String::new();
        for _ in 0..20 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            word.push(b"'\"\\$`!;&|<>(){}[]*?~# \tab%="[(seed >> 33) as usize % 27] as char);
        }
        all.push(word);
    }
    all
}

#[test]
fn every_value_reaches_a_shell_as_it_is() {
    let values = naughty();
    let mut script = String::from("{\n");
    for value in &values {
        script += &shell::assignments(&[("VALUE", value)]).unwrap();
        script += "printf '%s\\0' \"$VALUE\"\n";
    }
    script += "} | od -An -v -tx1\n";
    let out = process::run(
        program("sh", &["-s"]),
        script.as_bytes(),
        LONG,
        64_000_000,
        &Cancel::new(),
    )
    .unwrap();
    assert_eq!((out.rc, out.stderr.as_str()), (0, ""));
    let hex: String = out.stdout.split_whitespace().collect();
    let bytes = lamplighter::base::text::unhex(&hex).unwrap();
    let seen: Vec<&str> = std::str::from_utf8(&bytes).unwrap().split_terminator('\0').collect();
    assert_eq!(seen, values);
    for bad in ["a\nb", "a\rb", "a\0b"] {
        assert_eq!(shell::shq(bad).unwrap_err().code, "line_break_in_value");
    }
}

struct Bench(Option<Ssh>, PathBuf);

impl Bench {
    fn new() -> Bench {
        let dir = PathBuf::from(format!("/tmp/ll-{}", &random::name()[..12]));
        Bench(
            Some(Ssh::open(dir.clone(), env!("CARGO_BIN_EXE_lamplighter").into()).unwrap()),
            dir,
        )
    }

    fn ssh(&self) -> &Ssh {
        self.0.as_ref().unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(self.0.take());
        assert_eq!(fs::read_dir(&self.1).unwrap().count(), 0, "left in {:?}", self.1);
        fs::remove_dir_all(&self.1).unwrap();
    }
}

#[test]
fn everything_on_disk_is_for_its_owner_only() {
    let bench = Bench::new();
    let mut folders = vec![bench.1.clone()];
    while let Some(folder) = folders.pop() {
        let mode = folder.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700, "{folder:?}");
        folders.extend(
            fs::read_dir(&folder)
                .unwrap()
                .map(|e| e.unwrap().path())
                .filter(|p| p.is_dir()),
        );
    }
    let deep = PathBuf::from("/tmp").join("x".repeat(60));
    let e = Ssh::open(deep.clone(), "/usr/bin/lamplighter".into()).err().unwrap();
    assert_eq!(e.code, "runtime_dir_too_long");
    assert!(!deep.exists());
}

/// `manifest.json` holds OpenSSH's own judgement of each file.
#[test]
fn every_pasted_key_is_taken_or_refused_as_openssh_would() {
    let bench = Bench::new();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/ssh-keys");
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(dir.join("manifest.json")).unwrap()).unwrap();
    let passphrase = Secret::new(manifest["passphrase"].as_str().unwrap());
    for key in manifest["keys"].as_array().unwrap() {
        let name = key["file"].as_str().unwrap();
        let needs = key["opens_with_passphrase"] == true;
        let good = key["opens_after_cleaning"] == true;
        let pasted = fs::read(dir.join(name)).unwrap();
        let opened = keys::clean(&pasted).and_then(|pem| bench.ssh().inspect(&pem, needs.then_some(&passphrase)));
        let info = match opened {
            Ok(info) => info,
            Err(e) => {
                assert!(!good, "{name}: {e}");
                assert!(
                    ["bad_key", "ssh_key_unreadable", "ssh_key_pkcs8"].contains(&e.code),
                    "{name}: {}",
                    e.code
                );
                continue;
            }
        };
        assert!(good, "{name} opens, but not for OpenSSH");
        assert_eq!(info.encrypted, needs, "{name}");
        // What was mended has the fingerprint of the good one.
        if let Some(want) = key["fingerprint"].as_str() {
            assert_eq!(
                (info.fingerprint.as_str(), info.kind.as_str()),
                (want, key["type"].as_str().unwrap()),
                "{name}"
            );
        } else {
            assert_eq!(
                info.fingerprint, "SHA256:tkM6gn16a7l1DTvqLO5E+RdNKU51BTTsD+j0Kt8enrs",
                "{name}"
            );
        }
        assert_eq!(info.warning.is_some(), ["dsa", "rsa1024"].contains(&name), "{name}");
        if needs {
            let pem = keys::clean(&pasted).unwrap();
            let code = |passphrase: Option<&Secret>| bench.ssh().inspect(&pem, passphrase).unwrap_err().code;
            assert_eq!(code(Some(&Secret::new("wrong"))), "ssh_wrong_passphrase", "{name}");
            assert_eq!(code(None), "ssh_passphrase_needed", "{name}");
        }
    }
}

#[test]
fn a_refused_paste_says_what_it_is() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/ssh-keys");
    for (name, word) in [
        ("public_instead_of_private", "public key"),
        ("certificate_instead", "certificate"),
        ("ed25519.ppk", "PuTTY"),
        ("rsa_pass_v2.ppk", "PuTTY"),
        ("ed25519_utf16", "UTF-16"),
        ("ed25519_one_line", "line breaks"),
        ("ed25519_backslash_n", "line breaks"),
        ("ed25519_truncated", "end is missing"),
        ("empty", "no private key"),
        ("blanks", "no private key"),
    ] {
        let e = keys::clean(&fs::read(dir.join(name)).unwrap()).unwrap_err();
        assert!(e.say.contains(word), "{name}: {}", e.say);
    }
    assert!(keys::clean(&vec![b'x'; 300_000]).is_err());
}

#[test]
fn a_host_that_is_not_there_has_no_host_key() {
    let local = lamplighter::base::host::Host::parse("127.0.0.1").unwrap();
    let code = |port| {
        hostkey::scan(&local, port, Duration::from_secs(2), &Cancel::new())
            .unwrap_err()
            .code
    };
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    assert_eq!(code(port), "ssh_silent");
    drop(silent);
    assert_eq!(code(port), "ssh_refused");
}
