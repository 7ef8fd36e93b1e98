//! What the manual says to type, typed: the blocks of commands of the README on a fresh machine, those of the operations on a
//! server with the Debian package. A new command in these texts is run by itself; one that cannot be run here is named
//! below with the reason. Needs the lab (`tests/lab`), hosts h9 and h10, jq, and debhelper.

use crate::common;
use crate::package::{is_up, package, put};

use common::lab::{Hosts, address, key, on};
use common::*;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The blocks of commands of a text: lines behind four spaces.
fn blocks(markdown: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let mut is_in = false;
    for line in markdown.lines() {
        match line.strip_prefix("    ") {
            Some(command) if is_in => blocks.last_mut().unwrap().extend(["\n", command]),
            Some(command) => blocks.push(command.into()),
            None => {}
        }
        is_in = line.starts_with("    ");
    }
    blocks
}

/// The text's commands, with these words for the reader's own; a line that begins with one of `not_run` is left out. Each word
/// and each line must be there, so that these tables do not grow old.
fn commands(markdown: &str, words: &[(&str, &str)], not_run: &[(&str, &str)]) -> Vec<String> {
    let mut all = blocks(markdown).join("\n\n");
    assert!(all.lines().count() > 10, "{all}");
    for (line, why) in not_run {
        let kept: Vec<&str> = all.lines().filter(|l| !l.starts_with(line)).collect();
        assert!(kept.len() < all.lines().count(), "no line begins with {line} ({why})");
        all = kept.join("\n");
    }
    for (word, ours) in words {
        assert!(all.contains(word), "{word} is in no command:\n{all}");
        all = all.replace(word, ours);
    }
    let typed = |line: &str| line.split("  # ").next().unwrap_or_default().to_string();
    let left = all.lines().map(typed).find(|line| line.contains('…'));
    assert_eq!(left, None, "a word of the reader's own");
    all.split("\n\n")
        .filter(|block| !block.trim().is_empty())
        .map(String::from)
        .collect()
}

/// A person's shell, at a person's pace; but a refusal is a failure, and what streams for ever is left after a moment.
const SHELL: &str = r#"set -euo pipefail
trap 'sleep 1' DEBUG
curl() {
  case " $* " in
    *" -sN "*) timeout 6 curl --fail-with-body "$@" >live || [ $? = 124 ]; cat live; [ -s live ] ;;
    *) command curl --fail-with-body "$@" ;;
  esac
}
"#;

#[test]
#[ignore = "lab: h10"]
fn what_the_readme_says_to_type_works_as_it_stands_there() {
    let hosts = Hosts::fresh(&["h10"], None);
    let host = hosts.0[0];
    let folder = Folder::new();
    let dir = folder.path().join("var");
    let (dir, program) = (dir.to_str().unwrap(), env!("CARGO_BIN_EXE_lamplighter"));
    let mut dev = Daemon::start(lamplighter(&["dev", "--listen", "127.0.0.1:0", "--data-dir", dir]));
    let door = dev.word_after("Lamplighter is lit: http://");
    let password = dev.word_after("one-time password ");
    fs::write(folder.path().join("key"), key("id_ed25519")).unwrap();
    let fingerprint = on(host, "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub | cut -d' ' -f2");
    let sign_in = format!("\"password\":\"{password}\"");
    let words = [
        ("127.0.0.1:8080", door.as_str()),
        ("\"password\":\"…\"", &sign_in),
        ("192.0.2.7", &address(host)),
        ("~/.ssh/id_ed25519", "key"),
        ("SHA256:…", &fingerprint),
        (
            "\"token\":\"…\"",
            "\"token\":\"123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1\"",
        ),
        ("-100…", "-1001234567890"),
        ("cargo run -q --release --", program),
    ];
    let not_run = [
        ("cargo run --release -- dev", "it runs"),
        ("tests/run", "that is what runs this"),
        ("packaging/build-deb", "in lab/package"),
        ("lamplighter create-admin", "in lab/package"),
        ("lamplighter init-db", "the system's folders: in it/cli, elsewhere"),
        ("lamplighter serve", "the same"),
        (
            "curl -s -H \"$H\" -X POST $A/notifications/1/test",
            "it would write to Telegram",
        ),
    ];
    let commands = commands(include_str!("../../README.md"), &words, &not_run).join("\n");
    let shell = Command::new("bash")
        .args(["-c", &format!("{SHELL}set -x\n{commands}")])
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .output()
        .unwrap();
    assert!(shell.status.success(), "{}", said(&shell));
    let told = said(&shell);
    for word in [fingerprint.as_str(), "event: end", "shop.example.org"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert!(!told.contains("PRIVATE KEY"), "{told}");
}

#[test]
#[ignore = "lab: h9"]
fn what_the_operations_say_to_type_works_on_a_server_with_the_package() {
    let hosts = Hosts::fresh(&["h9"], None);
    let host = hosts.0[0];
    let folder = Folder::new();
    let file = package(&folder);
    let name = Path::new("/root").join(file.file_name().unwrap());
    put(host, name.to_str().unwrap(), &fs::read(&file).unwrap());
    put(host, "/root/password", b"a long night at sea\n");
    let words = [
        (
            "RECIPIENT",
            "age1lvyvwawkr0mcnnnncaghunadrqkmuf9e6507x9y920xxpp866cnql7dp2z",
        ),
        ("OLD.key", "/root/OLD.key"),
    ];
    let not_run = [
        ("packaging/build-deb", "before"),
        ("ssh -L", "from the reader's desk"),
        ("lamplighter bundle", "where there is a mirror: in lab/airgap"),
        ("lamplighter api --method PATCH", "there is no server 1: in lab/airgap"),
        ("age --decrypt", "on the machine that has the identity: in it/backups"),
        (
            "apt install ./lamplighter_OLDER",
            "there is no older release: the way back in it/upgrade",
        ),
        ("cd /var/lib/lamplighter", "the same"),
        ("rm -f lamplighter.db", "the same"),
        ("cp -a lamplighter.before", "the same"),
        ("lamplighter verify-audit --accept", "the same"),
        (
            "# /etc/litestream.yml",
            "a program of others, which Debian 12 does not have",
        ),
        ("dbs:", "the same"),
        ("  - path:", "the same"),
        ("    replica:", "the same"),
        ("litestream", "the same"),
    ];
    let text = include_str!("../../src/manual/operations.md");
    for block in commands(text, &words, &not_run) {
        // Who is asked for a password types it, twice; the terminal is script(1)'s.
        let typed = |line: &str| match line.split_once('#').map_or(line, |(command, _)| command).trim_end() {
            command if command.starts_with("lamplighter create-admin") => {
                format!("for n in 1 2; do sleep 2; cat password; done | script -qec '{command}' /dev/null")
            }
            _ => line.into(),
        };
        let block: Vec<String> = block.lines().map(typed).collect();
        put(
            host,
            "/root/block",
            format!("{SHELL}cd /root\n{}\n", block.join("\n")).as_bytes(),
        );
        on(
            host,
            "bash /root/block 2>&1 && cp /etc/lamplighter/master.key /root/OLD.key",
        );
    }
    is_up(host);
    assert_eq!(
        on(host, "systemctl is-active lamplighter lamplighter@east"),
        "active\nactive"
    );
    assert!(
        on(host, "ls /var/backups/lamplighter").contains("house.age"),
        "the backup for a passphrase"
    );
}
