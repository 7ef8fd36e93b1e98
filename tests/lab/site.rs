//! Sites on real servers: put there, proved, taken away, and every way that can go wrong leaving what was there before.
//! Needs the lab (`tests/lab`), hosts h4, h5 and infra.

use lamplighter::base::error::Result;
use lamplighter::base::host::{Host, UserName};
use lamplighter::base::nginx;
use lamplighter::base::process::Cancel;
use lamplighter::base::secret::Secret;
use lamplighter::base::text::hex;
use lamplighter::features::proxy::domains::{RenderedVhost, Vhost, VhostTls, render_vhost};
use lamplighter::features::proxy::upstreams::Target as To;
use lamplighter::lang::Lang;
use lamplighter::provision::site::{self, Apply, Certificate, Enabled, Seen, Sum, Wanted};
use lamplighter::provision::{self, Outcome, Progress, Recipe, State, recipes};
use lamplighter::ssh::{Auth, Ssh, Target};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

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
    assert!(seen.ready && seen.state == "active" && seen.red.is_none(), "{seen:?}");
    assert_eq!(seen.sites[0].file.enabled, Enabled::Yes);
    assert_eq!(seen.sites[0].text.as_deref(), Some(&*site.text));
    assert!(seen.sites[0].proved && seen.sites[0].others.is_empty(), "{seen:?}");
    assert!(seen.listeners[0].as_deref().unwrap().starts_with("nginx"), "{seen:?}");
}

#[test]
#[ignore = "lab: h4"]
fn requests_go_around_all_targets_and_websockets_are_passed_on() {
    let server = Server::ready();
    for (port, says) in [(8001, "one"), (8002, "two"), (8003, "three")] {
        server.backend(port, says);
    }
    let site = server.plain(1, "127.0.0.1:8001 127.0.0.1:8002 127.0.0.1:8003");
    server.deploy(&site).unwrap();
    let mut said: Vec<String> = (0..6).map(|_| server.get("http", NAME, "/")).collect();
    said.sort();
    said.dedup();
    assert_eq!(said.len(), 3, "{said:?}");

    // A program that shows what it was asked.
    server.on(
        "cat >/srv/echo.py <<'P'\nimport http.server\nclass H(http.server.BaseHTTPRequestHandler):\n def do_GET(s):\n  \
         b=str(s.headers).encode(); s.send_response(200); s.send_header('Content-Length', str(len(b))); s.end_headers(); s.wfile.write(b)\n\
         http.server.HTTPServer.address_family=10; http.server.HTTPServer(('::1', 8004), H).serve_forever()\nP\nsystemd-run -q --unit=echo python3 /srv/echo.py; sleep 1",
    );
    let live = sum(&site.text);
    let site = server.plain(2, "::1:8004");
    server.deploy_on(&site, Some(&live)).unwrap();
    let asked = get(
        "h4",
        "http",
        NAME,
        "/",
        &["-H", "Upgrade: websocket", "-H", "X-Forwarded-For: 1.2.3.4"],
    );
    for line in [
        "Host: app.h4.lab.test",
        "X-Real-IP: 10.77.0.1\n",
        "X-Forwarded-For: 1.2.3.4, 10.77.0.1\n",
        "X-Forwarded-Proto: http\n",
        "X-Forwarded-Port: 80\n",
        "Upgrade: websocket",
        "Connection: upgrade",
    ] {
        assert!(asked.contains(line), "{line}: {asked}");
    }
    assert!(server.get("http", NAME, "/").contains("Connection: close"));
}

#[test]
#[ignore = "lab: h4"]
fn a_container_that_may_not_mount_tests_a_copy() {
    let server = Server::ready();
    server.on("printf '#!/bin/sh\nexit 1\n' >/usr/local/sbin/unshare; chmod 755 /usr/local/sbin/unshare");
    let first = server.deploy(&server.plain(1, "127.0.0.1:8001")).unwrap();
    assert_eq!(first.facts["tested"], "copy");
    let before = server.tree();
    let broken = broken(&server.plain(2, "127.0.0.1:8002"));
    let live = server.look(None).sites[0].file.sha256.clone();
    let refused = server.deploy_on(&broken, live.as_deref()).unwrap_err();
    assert_eq!(refused.code, "site_red");
    assert!(
        refused.say.contains("/etc/nginx/sites-enabled/app.h4.lab.test.conf:4") && refused.say.contains("“lisen 80;”"),
        "{}",
        refused.say
    );
    server.same(&before, "");
}

/// The oracle of our reader and writer is nginx itself: what it answers is what it has read.
#[test]
#[ignore = "lab: h4"]
fn nginx_reads_our_words_as_we_do() {
    let server = Server::ready();
    let pieces = [
        "a", ";", "{", "}", "#", "\"", "'", "\\", " ", "\t", "\n", "\r", "é", ")", "(", "*", "\\n", "\\\"", "%", "=",
    ];
    let mut words: Vec<String> = pieces
        .iter()
        .flat_map(|a| pieces.iter().map(move |b| format!("{a}{b}x")))
        .collect();
    words.extend(pieces.iter().map(|piece| format!("x{piece}")));
    let locations = words.iter().enumerate().map(|(n, word)| {
        nginx::block(
            ["location", "=", &format!("/{n}")],
            vec![nginx::line(["return", "200", &format!("<{word}>")])],
        )
    });
    // The same words without our quotes, read by both.
    let raw = [
        "a\\;b",
        "a\\\"b",
        "a#b",
        "a\"b\"",
        "a'b",
        "\"a\\tb\"",
        "'a\\qb'",
        "'a\"b'",
        "a\\ b",
        "a}b",
        "\\a",
        "\"\\\\\"",
    ];
    let mut text = nginx::print(&[nginx::block(
        ["server"],
        [nginx::line(["listen", "8099"])].into_iter().chain(locations).collect(),
    )]);
    text.push_str("server { listen 8098;\n");
    for (n, word) in raw.iter().enumerate() {
        text.push_str(&format!("location = /{n} {{ return 200 {word}; }}\n"));
    }
    text.push_str("}\n");
    let file = format!("{}/disk/host-h4/etc/nginx/conf.d/words.conf", lab_dir().display());
    fs::write(file, &text).unwrap();
    server.on("nginx -t && systemctl reload nginx && sleep 0.5");
    let read = nginx::parse(&text).unwrap();
    let said = |port: u16, n: usize| {
        let out = Command::new("curl")
            .args(["-s", &format!("http://10.77.0.14:{port}/{n}")])
            .output()
            .unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let word = |server: usize, n: usize| {
        let location = &read[server].block.as_ref().unwrap()[n + 1];
        location.block.as_ref().unwrap()[0].words[2].clone()
    };
    for (n, meant) in words.iter().enumerate() {
        assert_eq!(
            (said(8099, n), word(0, n)),
            (format!("<{meant}>"), format!("<{meant}>")),
            "{meant:?}"
        );
    }
    for (n, raw) in raw.iter().enumerate() {
        assert_eq!(said(8098, n), word(1, n), "{raw}");
    }
}

// --- stories: what stands in the way --------------------------------------------------------------------------------

#[test]
#[ignore = "lab: h4"]
fn what_is_not_right_before_is_told_and_nothing_is_touched() {
    let server = Server::ready();
    let old = server.plain(1, "127.0.0.1:8001");
    server.deploy(&old).unwrap();
    server.backend(8001, "one");
    let live = sum(&old.text);
    let new = server.plain(2, "127.0.0.1:8002");
    let refused = |made: &str, site: &RenderedVhost, expect: Option<&str>, code: &str, words: &[&str], unmade: &str| {
        server.on(made);
        let before = server.tree();
        let e = server.deploy_on(site, expect).unwrap_err();
        assert_eq!(e.code, code, "{e:?}");
        for word in words {
            assert!(e.say.contains(word), "{word}: {}", e.say);
        }
        assert!(e.say.contains("The site was not touched."), "{}", e.say);
        server.same(&before, code);
        assert!(server.get("http", NAME, "/").contains("one"), "{code}");
        server.on(unmade);
    };
    let theirs = "/etc/nginx/sites-enabled/theirs";
    refused(
        &format!("printf 'server {{\\n    lisen 81;\\n}}\\n' >{theirs}"),
        &new,
        Some(&live),
        "nginx_red",
        &["already faulty", "sites-enabled/theirs:2", "“lisen 81;”"],
        &format!("rm {theirs}"),
    );
    refused(
        &format!("echo 'server {{ listen 80; server_name \"x.test\" APP.h4.lab.test; }}' >{theirs}"),
        &new,
        Some(&live),
        "foreign_site",
        &["sites-enabled/theirs"],
        &format!("rm {theirs}"),
    );
    // A name like ours on another port is nobody's business.
    server.on(&format!(
        "echo 'server {{ listen 8080; server_name {NAME}; }}' >{theirs}"
    ));
    assert!(server.look(None).sites[0].others.is_empty());
    // A look tells all of it beforehand.
    server.on(&format!(
        "echo 'server {{ listen [::]:80; server_name a.test {NAME}; }}' >{theirs}"
    ));
    assert_eq!(server.look(None).sites[0].others, [theirs]);
    server.on(&format!("echo 'server {{ lisen 81; }}' >{theirs}"));
    let seen = server.look(None);
    assert!(
        seen.red.as_deref().unwrap().contains("sites-enabled/theirs:1"),
        "{seen:?}"
    );
    assert_eq!(seen.sites[0].text.as_deref(), Some(&*old.text));
    server.on(&format!("rm {theirs}"));
    refused(
        "true",
        &new,
        None,
        "site_changed",
        &["sites-available/app.h4.lab.test.conf"],
        "true",
    );
    let file = "/etc/nginx/sites-available/app.h4.lab.test.conf";
    refused(
        &format!("cp {file} /root/kept && echo '# by hand' >>{file}"),
        &new,
        Some(&live),
        "site_changed",
        &["changed by somebody"],
        &format!("cp /root/kept {file}"),
    );
    let unknown = server.plain(2, "no-such-host.lab.test:80");
    let recipe = site::apply(&Apply {
        target_names: &["no-such-host.lab.test"],
        followed: &[],
        ..wish(&unknown, Some(&live))
    })
    .unwrap();
    let e = server.run("root", &recipe).unwrap_err();
    assert_eq!(e.code, "target_unresolved");
    assert!(e.say.contains("no-such-host.lab.test"), "{}", e.say);
    refused(
        "true",
        &broken(&new),
        Some(&live),
        "site_red",
        &["unknown directive", "“lisen 80;”"],
        "true",
    );
    refused(
        "rm /etc/nginx/conf.d/lamplighter.conf",
        &new,
        Some(&live),
        "proxy_not_ready",
        &["Deploy reverse proxy"],
        "true",
    );
}

#[test]
#[ignore = "lab: h4"]
fn another_web_server_on_port_80_is_named() {
    let server = Server::ready();
    server.on("systemctl stop nginx && systemd-run -q --unit=other-web python3 -m http.server 80 && sleep 1");
    let before = server.tree();
    let refused = server.deploy(&server.plain(1, "127.0.0.1:8001")).unwrap_err();
    assert_eq!(refused.code, "port_taken");
    assert!(refused.say.contains("python3"), "{}", refused.say);
    server.same(&before, "");
    assert!(
        server.look(None).listeners[0]
            .as_deref()
            .unwrap()
            .starts_with("python3")
    );
    // The same with the other port, which only TLS takes.
    server.on("systemctl stop other-web; systemctl start nginx; systemd-run -q --unit=other-tls python3 -m http.server 443 && sleep 1");
    let (first, site) = (
        server.plain(1, "127.0.0.1:8001"),
        server.secure(NAME, 1, "127.0.0.1:8001", site::acme_paths(&site::lineage(NAME))),
    );
    let refused = server.run("root", &acme(NAME, &site, &first, None)).unwrap_err();
    assert_eq!(refused.code, "port_taken");
    assert!(
        refused.say.contains("Port 443") && refused.say.contains("python3"),
        "{}",
        refused.say
    );
    server.same(&before, "443");
}

#[test]
#[ignore = "lab: h4"]
fn a_site_that_somebody_shadows_is_put_back() {
    let server = Server::ready();
    server.backend(8001, "one");
    let old = server.plain(1, "127.0.0.1:8001");
    server.deploy(&old).unwrap();
    // Green for nginx, but whoever asks this very address gets the other site.
    server.on(
        "echo 'server { listen 10.77.0.14:80; server_name other.test; return 418; }' >/etc/nginx/sites-enabled/shadow",
    );
    let before = server.tree();
    let refused = server
        .deploy_on(&server.plain(2, "127.0.0.1:8002"), Some(&sum(&old.text)))
        .unwrap_err();
    assert_eq!(refused.code, "site_not_served");
    assert!(
        refused.say.contains("10.77.0.14") && refused.say.contains("put back"),
        "{}",
        refused.say
    );
    server.same(&before, "");
}

#[test]
#[ignore = "lab: h4"]
fn whoever_breaks_nginx_in_between_is_named_and_the_site_goes_on() {
    let server = Server::ready();
    server.backend(8001, "one");
    let old = server.plain(1, "127.0.0.1:8001");
    server.deploy(&old).unwrap();
    let before = server.tree();
    // Between the test and the swap.
    server.shim(
        "systemd-run",
        "*lamplighter-undo*",
        "echo 'server { lisen 82; }' >/etc/nginx/sites-enabled/late",
    );
    let refused = server
        .deploy_on(&server.plain(2, "127.0.0.1:8002"), Some(&sum(&old.text)))
        .unwrap_err();
    assert_eq!(refused.code, "site_red");
    for word in ["sites-enabled/late:1", "became faulty", "were put back"] {
        assert!(refused.say.contains(word), "{word}: {}", refused.say);
    }
    server.on("rm /etc/nginx/sites-enabled/late");
    server.same(&before, "");
    assert!(server.get("http", NAME, "/").contains("one"));
    server.on("nginx -t");
}

#[test]
#[ignore = "lab: h4"]
fn a_full_disk_leaves_the_old_site() {
    let server = Server::ready();
    server.backend(8001, "one");
    let old = server.plain(1, "127.0.0.1:8001");
    server.deploy(&old).unwrap();
    let several = server.plain(2, &vec!["127.0.0.1:8002"; 60].join(" "));
    for dir in ["/etc/nginx", "/var/lib"] {
        let before = server.tree();
        let full = Fault::new("h4", &["full", dir]);
        let refused = server.deploy_on(&several, Some(&sum(&old.text))).unwrap_err();
        assert_eq!(refused.code, "disk_full", "{dir}: {refused:?}");
        assert_eq!(server.on(&format!("find {dir} -name '*.lamplighter-*'")), "");
        drop(full);
        server.same(&before, dir);
        assert!(server.get("http", NAME, "/").contains("one"));
    }
}

// --- stories: the job dies ------------------------------------------------------------------------------------------

#[test]
#[ignore = "lab: h4"]
fn a_job_that_is_killed_at_any_step_leaves_the_old_site_or_the_new_one() {
    let server = Server::ready();
    server.backend(8001, "one");
    server.backend(8002, "two");
    let old = server.plain(1, "127.0.0.1:8001");
    let new = server.plain(2, "127.0.0.1:8002");
    server.deploy(&old).unwrap();
    let armed = "[ -e /var/lib/lamplighter-undo ] &&";
    let places = [
        // (the program it is killed in, when, whether the new site is complete then)
        ("unshare", "", false),
        ("systemd-run", "", false),
        ("sync", armed, false),
        ("stat", armed, false),
        ("systemctl", armed, false),
        ("timeout", armed, false),
        ("rm", "[ -e /var/lib/lamplighter-undo.done ] &&", true),
    ];
    for (program, when, complete) in places {
        let before = server.tree();
        server.hold(program, when);
        thread::scope(|scope| {
            let job = scope.spawn(|| server.deploy_on(&new, Some(&sum(&old.text))));
            server.wait("[ -e /run/held ]");
            server.on(&format!("{KILL_JOB}; rm -f /run/hold"));
            let died = job.join().unwrap().unwrap_err();
            assert_eq!(died.code, "broken_off", "{program}: {died:?}");
        });
        server.on(&format!("rm -f /usr/local/sbin/{program}"));
        let says = if complete { "two" } else { "one" };
        server.wait(&format!(
            "curl -s -H 'Host: {NAME}' http://10.77.0.14/ | grep -q {says}"
        ));
        if !complete && !["unshare", "systemd-run"].contains(&program) {
            server.wait("[ ! -e /var/lib/lamplighter-undo ]");
            server.same(&before, program);
        }
        // The next job cleans up whatever is left, and goes through.
        let expect = if complete { &new } else { &old };
        server.deploy_on(&new, Some(&sum(&expect.text))).unwrap();
        assert!(server.get("http", NAME, "/").contains("two"), "{program}");
        server.deploy_on(&old, Some(&sum(&new.text))).unwrap();
    }
}

#[test]
#[ignore = "lab: h4"]
fn a_reboot_between_swap_and_proof_brings_the_old_site_back() {
    let server = Server::ready();
    server.backend(8001, "one");
    let old = server.plain(1, "127.0.0.1:8001");
    server.deploy(&old).unwrap();
    let before = server.tree();
    for how in ["reboot", "crash"] {
        server.hold(
            "systemctl",
            "[ -e /var/lib/lamplighter-undo ] && [ \"$1\" = reload ] &&",
        );
        thread::scope(|scope| {
            let job = scope.spawn(|| server.deploy_on(&server.plain(2, "127.0.0.1:8002"), Some(&sum(&old.text))));
            server.wait("[ -e /run/held ]");
            if how == "crash" {
                server.on("rm /usr/local/sbin/systemctl; sync");
                script("fault", &["h4", "crash"]);
                script("up", &["h4"]);
            } else {
                // The watcher is stopped by the shutdown: it must be the unit before nginx that heals.
                server.on("rm /usr/local/sbin/systemctl; chmod 644 /usr/bin/flock");
                script("fault", &["h4", "reboot"]);
                server.on("chmod 755 /usr/bin/flock");
            }
            job.join().unwrap().unwrap_err();
        });
        server.wait("systemctl is-active nginx");
        server.wait(&format!(
            "curl -s -H 'Host: {NAME}' http://10.77.0.14{} | grep -q {}",
            old.proof.path, old.proof.body
        ));
        server.same(&before, how);
    }
}

#[test]
#[ignore = "lab: h4"]
fn a_cancelled_job_takes_its_site_back_itself() {
    let server = Server::ready();
    server.hold("timeout", "[ -e /var/lib/lamplighter-undo ] &&");
    let before = server.tree();
    let cancel = Cancel::new();
    thread::scope(|scope| {
        let job = scope.spawn(|| {
            let recipe = server.apply(&server.plain(1, "127.0.0.1:8001"), None);
            provision::run(
                server.ssh.as_ref().unwrap(),
                &server.target("root"),
                &recipe,
                &cancel,
                &mut |_| {},
            )
        });
        server.wait("[ -e /run/held ]");
        cancel.cancel();
        assert_eq!(job.join().unwrap().unwrap_err().code, "cancelled");
    });
    server.on("rm -f /run/hold /usr/local/sbin/timeout");
    server.wait("[ ! -e /var/lib/lamplighter-undo ]");
    server.same(&before, "");
    assert!(!server.get("http", NAME, "/").starts_with("502"));
}

#[test]
#[ignore = "lab: h4"]
fn two_jobs_at_once_come_one_after_the_other() {
    let server = Server::ready();
    server.backend(8001, "one");
    let names: Vec<String> = (0..6).map(|n| format!("site-{n}.h4.lab.test")).collect();
    thread::scope(|scope| {
        let jobs: Vec<_> = names
            .iter()
            .map(|name| {
                let server = &server;
                scope.spawn(move || {
                    let site = server.named(name, 1, "127.0.0.1:8001 127.0.0.1:8001");
                    let recipe = site::apply(&Apply {
                        name,
                        ..wish(&site, None)
                    })
                    .unwrap();
                    server.run("root", &recipe)
                })
            })
            .collect();
        for job in jobs {
            job.join().unwrap().unwrap();
        }
    });
    for name in &names {
        assert!(server.get("http", name, "/").contains("one"), "{name}");
    }
    // A name that is too long for nginx as it is set up: nginx's own words say what to do.
    let name = format!("{}.h4.lab.test", "a".repeat(60));
    let site = server.named(&name, 1, "127.0.0.1:8001");
    let recipe = site::apply(&Apply {
        name: &name,
        ..wish(&site, None)
    })
    .unwrap();
    let refused = server.run("root", &recipe).unwrap_err();
    assert_eq!(refused.code, "site_red");
    assert!(refused.say.contains("so long a name"), "{}", refused.say);
}

// --- stories: certificates ------------------------------------------------------------------------------------------

#[test]
#[ignore = "lab: h4"]
fn a_certificate_is_issued_over_the_old_site_and_renewed() {
    let server = Server::ready();
    server.backend(8001, "one");
    let old = server.plain(1, "127.0.0.1:8001");
    let new = server.secure(NAME, 2, "127.0.0.1:8001", site::acme_paths(&site::lineage(NAME)));

    // Killed while certbot runs, on a server that had nothing: nothing is left.
    let before = server.tree();
    server.hold("certbot", "");
    thread::scope(|scope| {
        let job = scope.spawn(|| server.run("root", &acme(NAME, &new, &old, None)));
        server.wait("[ -e /run/held ]");
        assert!(server.get("http", NAME, "/").contains("one"), "the first text is live");
        server.on(&format!("{KILL_JOB}; rm -f /usr/local/sbin/certbot"));
        assert_eq!(job.join().unwrap().unwrap_err().code, "broken_off");
    });
    server.wait("[ ! -e /var/lib/lamplighter-undo ]");
    server.same(&before, "killed in certbot");
    server.on("rm -f /run/hold; while pgrep certbot; do sleep 0.2; done");

    let since = Instant::now();
    let first = server.run("root", &acme(NAME, &new, &old, None)).unwrap();
    println!("FIGURE first TLS deploy: {} ms", since.elapsed().as_millis());
    assert_eq!(first.facts["answer"], "200");
    assert_eq!(first.facts["tls_chain"], "own", "nobody's list has pebble's root");
    assert!(first.facts["tls_issuer"].contains("Pebble"), "{:?}", first.facts);
    // Verified by another machine.
    let root = server.pebble_root();
    let verified = ["-D", "-", "--cacert", root.to_str().unwrap()];
    let page = get("h4", "https", NAME, "/", &verified);
    assert!(page.starts_with("200") && page.contains("one"), "{page}");
    assert!(
        page.contains("HTTP/2 200") && page.contains("strict-transport-security: max-age=600"),
        "{page}"
    );
    let moved = get("h4", "http", NAME, "/x?y=1", &["-D", "-"]);
    assert!(moved.contains("Location: https://app.h4.lab.test/x?y=1"), "{moved}");
    assert!(
        get("h4", "https", NAME, "/no-such-page", &verified).contains("strict-transport"),
        "on errors too"
    );

    for _ in 0..2 {
        let since = Instant::now();
        let again = server.run("root", &acme(NAME, &new, &old, None)).unwrap();
        println!("FIGURE second TLS deploy: {} ms", since.elapsed().as_millis());
        assert_eq!(again.changed, 0, "{:?}", again.steps);
    }
    // Another target needs no new certificate.
    server.backend(8002, "two");
    let other = server.secure(NAME, 3, "127.0.0.1:8002", site::acme_paths(&site::lineage(NAME)));
    let changed = server
        .run("root", &acme(NAME, &other, &old, Some(&sum(&new.text))))
        .unwrap();
    let state = |outcome: &Outcome, id: &str| outcome.steps.iter().find(|s| s.id == id).map(|s| s.state);
    assert_eq!(state(&changed, "site_certificate"), Some(State::Ok));
    assert_eq!(changed.facts["tls_sha256"], first.facts["tls_sha256"]);
    assert!(get("h4", "https", NAME, "/", &verified).contains("two"));

    let wanted = [Wanted {
        name: NAME,
        certificate: site::CertificateCheck::Acme(DIRECTORY),
        proof: Some(&other.proof),
        ..Wanted::default()
    }];
    let seen = site::seen(
        &server.run("root", &site::inspect(&wanted, &[]).unwrap()).unwrap(),
        &wanted,
    );
    let certificate = seen.sites[0].certificate.clone().unwrap();
    assert_eq!(certificate.names, [NAME]);
    assert_eq!(certificate.sha256, first.facts["tls_sha256"]);
    assert!(certificate.not_after > certificate.not_before && certificate.issuer.contains("Pebble"));
    assert_eq!(seen.sites[0].lineage, Some(site::lineage(NAME)));
    assert_eq!(seen.sites[0].lacks, None);
    assert!(seen.sites[0].proved);

    let kept = server
        .run("root", &site::renew(NAME, &site::lineage(NAME), false).unwrap())
        .unwrap();
    assert_eq!(
        (kept.changed, &kept.facts["tls_sha256"]),
        (0, &first.facts["tls_sha256"])
    );
    let renewed = server
        .run("root", &site::renew(NAME, &site::lineage(NAME), true).unwrap())
        .unwrap();
    assert_eq!(renewed.changed, 1);
    assert_ne!(renewed.facts["tls_sha256"], first.facts["tls_sha256"]);
    assert!(get("h4", "https", NAME, "/", &verified).starts_with("200"));
    let unknown = server
        .run(
            "root",
            &site::renew("other.h4.lab.test", "other.h4.lab.test", false).unwrap(),
        )
        .unwrap_err();
    assert_eq!(unknown.code, "no_lineage");

    // Renamed: the new name has all, of the old one nothing is left, not even what certbot would renew in vain.
    let name = "new.h4.lab.test";
    let moved = server.secure(name, 4, "127.0.0.1:8002", site::acme_paths(&site::lineage(name)));
    let first = server.named(name, 4, "127.0.0.1:8002");
    let recipe = |expect: Option<&str>| {
        site::apply(&Apply {
            name,
            old_name: Some(NAME),
            old_expect: Some(&sum(&other.text)),
            certificate: Certificate::Acme {
                email: "ops@lab.test",
                directory: DIRECTORY,
                lineage: &site::lineage(name),
                first: (&first.text, &first.proof),
            },
            ..wish(&moved, expect)
        })
        .unwrap()
    };
    server.run("root", &recipe(None)).unwrap();
    assert!(get("h4", "https", name, "/", &verified).contains("two"));
    assert!(!get("h4", "https", NAME, "/", &["-k"]).contains(&other.proof.body));
    assert_eq!(
        server.on("ls /etc/nginx/sites-available /etc/nginx/sites-enabled /etc/letsencrypt/live | grep app || true"),
        ""
    );
    assert_eq!(server.run("root", &recipe(None)).unwrap().changed, 0);

    // Taken away.
    let gone = server
        .run("root", &site::remove(name, Some(&sum(&moved.text))).unwrap())
        .unwrap();
    assert!(gone.changed >= 4, "{:?}", gone.steps);
    assert_eq!(
        server
            .on("ls /etc/nginx/sites-available /etc/nginx/sites-enabled /etc/letsencrypt/live | grep lab.test || true"),
        ""
    );
    assert_eq!(
        server.run("root", &site::remove(name, None).unwrap()).unwrap().changed,
        0
    );
}

#[test]
#[ignore = "lab: h4 h5"]
fn a_certificate_that_is_not_to_be_had_leaves_the_site_as_it_was() {
    let server = Server::ready();
    script("up", &["h4", "h5", "--layer", "web"]);
    server.backend(8001, "one");
    let refused = |name: &str, directory: &str, shim: &str, code: &str, words: &[&str]| {
        let old = server.named(name, 1, "127.0.0.1:8001");
        let recipe = |certificate, site: &RenderedVhost, expect: Option<&str>| {
            site::apply(&Apply {
                name,
                certificate,
                ..wish(site, expect)
            })
            .unwrap()
        };
        server.run("root", &recipe(Certificate::None, &old, None)).unwrap();
        let before = server.tree();
        if !shim.is_empty() {
            server.on(&format!(
                "printf '%s\\n' '#!/bin/sh' 'cat <<E' \"{shim}\" E 'exit 1' >/usr/local/sbin/certbot; chmod 755 /usr/local/sbin/certbot"
            ));
        }
        let new = server.secure(name, 2, "127.0.0.1:8001", site::acme_paths(&site::lineage(name)));
        let wanted = Certificate::Acme {
            email: "",
            directory,
            lineage: &site::lineage(name),
            first: (&old.text, &old.proof),
        };
        let live = sum(&old.text);
        let e = server.run("root", &recipe(wanted, &new, Some(&live))).unwrap_err();
        server.on("rm -f /usr/local/sbin/certbot");
        println!("SAID {}", e.say);
        assert_eq!(e.code, code, "{e:?}");
        for word in words {
            assert!(e.say.contains(word), "{word}: {}", e.say);
        }
        server.same(&before, code);
        assert!(server.get("http", name, "/").contains("one"), "{code}");
        server.run("root", &site::remove(name, Some(&live)).unwrap()).unwrap();
    };
    refused(
        "wrong.h5.lab.test",
        DIRECTORY,
        "",
        "acme_wrong_address",
        &["404", "must point to this server"],
    );
    refused(
        "no-address.lab.test",
        DIRECTORY,
        "",
        "acme_no_address",
        &["no-address.lab.test", "Create the A or AAAA record"],
    );
    let away = "https://acme.lab.test:14999/dir";
    refused(NAME, away, "", "acme_unreachable", &["cannot be reached"]);
    let limit = "Error creating new order :: too many certificates (5) already issued for this exact set of domains in the \
                 last 168h0m0s: app.h4.lab.test, retry after 2026-11-22 10:00:00 UTC";
    refused(NAME, DIRECTORY, limit, "acme_rate_limited", &["Wait until the time"]);
    let account = "An unexpected error occurred:
AttributeError: can\u{27}t set attribute";
    refused(NAME, DIRECTORY, account, "acme_account", &["/etc/letsencrypt/accounts"]);
}

#[test]
#[ignore = "lab: h4"]
fn certbot_is_fetched_when_it_is_not_there() {
    let server = Server::start("h4", &["h4", "--fresh"]);
    server.run("root", &recipes::nginx()).unwrap();
    server.backend(8001, "one");
    let old = server.plain(1, "127.0.0.1:8001");
    server.deploy(&old).unwrap();
    let new = server.secure(NAME, 2, "127.0.0.1:8001", site::acme_paths(&site::lineage(NAME)));
    let recipe = acme(NAME, &new, &old, Some(&sum(&old.text)));

    server.on("cp /etc/apt/sources.list /root/; echo 'deb [trusted=yes] file:/srv/gone ./' >/etc/apt/sources.list; rm -rf /var/lib/apt/lists/*");
    let before = server.tree();
    let refused = server.run("root", &recipe).unwrap_err();
    assert_eq!(refused.code, "apt_failed", "{refused:?}");
    server.same(&before, "no package");
    assert!(server.get("http", NAME, "/").contains("one"));

    server.on(
        "cp /root/sources.list /etc/apt/; systemd-run -q --unit=updates python3 -c 'import fcntl, time; \
         f = open(\"/var/lib/dpkg/lock-frontend\", \"w\"); fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(5)' && sleep 1",
    );
    let mut waited = false;
    let outcome = server.watch("root", &recipe, &mut |report| {
        waited |= matches!(report, Progress::Line { text, .. } if text.contains("waiting for the package system"));
    });
    assert!(outcome.unwrap().changed >= 5 && waited);
    assert!(server.get("https", NAME, "/").contains("one"));
}

#[test]
#[ignore = "lab: h4"]
fn a_certificate_of_ones_own_is_swapped_as_a_pair() {
    let server = Server::ready();
    server.backend(8001, "one");
    let site = server.secure(NAME, 1, "127.0.0.1:8001", site::uploaded_paths(NAME));
    let (chain, key) = server.pair("first");
    let (chain_2, key_2) = server.pair("second");
    let files = |chain: &str, key: &Secret, expect: Option<&str>| {
        site::apply(&Apply {
            certificate: Certificate::Files { chain, key },
            ..wish(&site, expect)
        })
        .unwrap()
    };
    // A key of another certificate: nginx sees it before anything is live.
    let before = server.tree();
    let refused = server.run("root", &files(&chain, &key_2, None)).unwrap_err();
    assert_eq!(refused.code, "site_red");
    assert!(refused.say.contains("key values mismatch"), "{}", refused.say);
    assert_eq!(
        server.on("ls /etc/lamplighter/pairs; stat -c %a /etc/lamplighter /etc/lamplighter/pairs"),
        "755\n700\n"
    );
    server.on("rm -r /etc/lamplighter");
    server.same(&before, "mismatch");

    let first = server.run("root", &files(&chain, &key, None)).unwrap();
    assert_eq!(
        (&*first.facts["tls_chain"], &*first.facts["tested"]),
        ("own", "namespace")
    );
    let ca = server.dir.join("ca.pem");
    let verified = ["--cacert", ca.to_str().unwrap()];
    assert!(get("h4", "https", NAME, "/", &verified).contains("one"));
    assert_eq!(server.run("root", &files(&chain, &key, None)).unwrap().changed, 0);
    let (path, key_path) = site::uploaded_paths(NAME);
    assert_eq!(
        server.on(&format!("stat -L -c '%a %U' {key_path} $(dirname {path})")),
        "600 root\n700 root\n"
    );

    let live = sum(&site.text);
    let second = server.run("root", &files(&chain_2, &key_2, Some(&live))).unwrap();
    assert_ne!(second.facts["tls_sha256"], first.facts["tls_sha256"]);
    assert_eq!(
        server.on("ls /etc/lamplighter/pairs | wc -l"),
        "1\n",
        "the old pair is gone"
    );
    assert!(get("h4", "https", NAME, "/", &verified).contains("one"));
    // Of the key there is no other copy.
    let secret = key_2.reveal_text_for("the test").lines().nth(1).unwrap().to_string();
    let copies = server.on(&format!("grep -rlF '{secret}' /etc /run /var /tmp 2>/dev/null || true"));
    assert_eq!(copies.lines().count(), 1, "{copies}");

    // Without TLS again: the pair goes with it.
    let plain = server.plain(2, "127.0.0.1:8001");
    server.deploy_on(&plain, Some(&live)).unwrap();
    assert_eq!(
        server.on("ls /etc/lamplighter/certs /etc/lamplighter/pairs | grep lab || true"),
        ""
    );
    let e = server
        .run("root", &site::remove(NAME, Some(&live)).unwrap())
        .unwrap_err();
    assert_eq!(e.code, "site_changed");
    server
        .run("root", &site::remove(NAME, Some(&sum(&plain.text))).unwrap())
        .unwrap();
    assert!(!server.get("http", NAME, "/").contains("one"));
}

// --- stories: watching ----------------------------------------------------------------------------------------------

#[test]
#[ignore = "lab: h4"]
fn a_file_that_was_edited_by_hand_is_seen_at_once() {
    let server = Server::ready();
    let site = server.plain(1, "127.0.0.1:8001");
    server.deploy(&site).unwrap();
    let known = sum(&site.text);
    let names: Vec<String> = (0..40).map(|n| format!("site-{n}.example.com")).collect();
    let mut asked = vec![Sum {
        name: NAME,
        known: Some(&known),
        ..Sum::default()
    }];
    asked.extend(names.iter().map(|name| Sum { name, ..Sum::default() }));
    let floor = || {
        let since = Instant::now();
        server.run("root", &site::sums(&[]).unwrap()).unwrap();
        println!("FIGURE a job that does nothing: {} ms", since.elapsed().as_millis());
    };
    let look = || {
        floor();
        let since = Instant::now();
        let outcome = server.run("root", &site::sums(&asked).unwrap()).unwrap();
        println!("FIGURE sums of {}: {} ms", asked.len(), since.elapsed().as_millis());
        assert_eq!(outcome.changed, 0);
        site::summed(&outcome, &asked).unwrap()
    };
    look();
    let seen = look();
    assert_eq!(seen.len(), 41);
    assert_eq!(
        (seen[0].file.sha256.as_deref(), &seen[0].file.enabled),
        (Some(&*known), &Enabled::Yes)
    );
    assert_eq!((&seen[0].text, &seen[1].file.sha256), (&None, &None));
    let file = "/etc/nginx/sites-available/app.h4.lab.test.conf";
    server.on(&format!(
        "echo '# by hand ☃' >>{file}; rm /etc/nginx/sites-enabled/app.h4.lab.test.conf"
    ));
    server.on("echo '# theirs' >/etc/nginx/sites-enabled/site-3.example.com.conf");
    let seen = look();
    let edited = format!("{}# by hand ☃\n", site.text);
    assert_eq!(seen[0].text.as_deref(), Some(&*edited));
    assert_eq!(
        (seen[0].file.sha256.as_deref(), &seen[0].file.enabled),
        (Some(&*sum(&edited)), &Enabled::No)
    );
    assert!(matches!(&seen[4].file.enabled, Enabled::Foreign(path) if path.ends_with("site-3.example.com.conf")));
    // Put back on request: the hash that was seen is the permission.
    server.on("rm /etc/nginx/sites-enabled/site-3.example.com.conf");
    server.deploy_on(&site, Some(&sum(&edited))).unwrap();
    assert_eq!(look()[0].file.sha256.as_deref(), Some(&*known));
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

    fn watch(&self, user: &str, recipe: &Recipe, on: &mut dyn FnMut(&Progress)) -> Result<Outcome> {
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
    fn plain(&self, generation: i64, targets: &str) -> RenderedVhost {
        self.named(NAME, generation, targets)
    }

    fn named(&self, domain: &str, generation: i64, targets: &str) -> RenderedVhost {
        render_vhost(&Vhost {
            domain,
            id: 7,
            generation,
            upstream: &to(targets),
            tls: None,
            peers: &[],
            nginx: self.facts(),
        })
        .unwrap()
    }

    fn secure(&self, domain: &str, generation: i64, targets: &str, (chain, key): (String, String)) -> RenderedVhost {
        render_vhost(&Vhost {
            domain,
            id: 7,
            generation,
            upstream: &to(targets),
            tls: Some(VhostTls {
                hsts_max_age_s: Some(600),
                chain: &chain,
                key: &key,
            }),
            peers: &[],
            nginx: self.facts(),
        })
        .unwrap()
    }

    fn apply(&self, site: &RenderedVhost, expect: Option<&str>) -> Recipe {
        site::apply(&wish(site, expect)).unwrap()
    }

    fn deploy(&self, site: &RenderedVhost) -> Result<Outcome> {
        self.deploy_on(site, None)
    }

    fn deploy_on(&self, site: &RenderedVhost, expect: Option<&str>) -> Result<Outcome> {
        self.run("root", &self.apply(site, expect))
    }

    fn look(&self, site: Option<&RenderedVhost>) -> Seen {
        let wanted = [Wanted {
            name: NAME,
            proof: site.map(|site| &site.proof),
            ..Wanted::default()
        }];
        let outcome = self.run("root", &site::inspect(&wanted, &[]).unwrap()).unwrap();
        assert_eq!(outcome.changed, 0);
        site::seen(&outcome, &wanted)
    }

    // -- certificates

    /// Another machine trusts pebble: its root as a file.
    fn pebble_root(&self) -> PathBuf {
        let file = self.dir.join("pebble.pem");
        let out = Command::new("curl")
            .args(["-sk", "https://10.77.0.2:15000/roots/0"])
            .output()
            .unwrap();
        fs::write(&file, out.stdout).unwrap();
        file
    }

    /// Chain and key of a certificate for [`NAME`] by a private authority, which is `ca.pem` in our folder.
    fn pair(&self, which: &str) -> (String, Secret) {
        let script = format!(
            "cd {dir} && [ -e ca.pem ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3 \
             -subj '/CN=a private CA' -keyout ca.key -out ca.pem; \
             openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={NAME} -keyout {which}.key | \
             openssl x509 -req -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out {which}.pem -extfile ext && cat ca.pem >>{which}.pem",
            dir = self.dir.display()
        );
        fs::write(self.dir.join("ext"), format!("subjectAltName=DNS:{NAME}\n")).unwrap();
        let out = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(out.status.success(), "{out:?}");
        let read = |end: &str| fs::read_to_string(self.dir.join(format!("{which}.{end}"))).unwrap();
        (read("pem"), Secret::new(read("key")))
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

    /// Before a program does what it is called for with these words, this is done once.
    fn shim(&self, program: &str, words: &str, first: &str) {
        let real = self.on(&format!("command -v {program}"));
        self.on(&format!(
            "cat >/usr/local/sbin/{program} <<'S'\n#!/bin/sh\ncase \"$*\" in {words}) rm -f /usr/local/sbin/{program}; {first} ;; esac\n\
             exec {} \"$@\"\nS\nchmod 755 /usr/local/sbin/{program}",
            real.trim()
        ));
    }

    /// A program stands still when it is called, while `/run/hold` is there; `/run/held` tells.
    fn hold(&self, program: &str, when: &str) {
        let real = self.on(&format!("command -v {program}"));
        self.on(&format!(
            "rm -f /run/held; touch /run/hold; cat >/usr/local/sbin/{program} <<'S'\n#!/bin/sh\n\
             if {when} [ -e /run/hold ]; then : >/run/held; while [ -e /run/hold ]; do sleep 0.05; done; fi\n\
             exec {} \"$@\"\nS\nchmod 755 /usr/local/sbin/{program}",
            real.trim()
        ));
    }

    fn wait(&self, command: &str) {
        self.on(&format!(
            "for i in $(seq 150); do {{ {command}; }} >/dev/null 2>&1 && exit 0; sleep 0.1; done; exit 1"
        ));
    }

    /// Every file below with its mode and hash.
    fn tree(&self) -> String {
        self.on(
            "cd / && find etc/nginx etc/lamplighter etc/systemd/system -mindepth 1 -printf '%p %M %u %g %l ' -type f \
             -exec sha256sum {} \\; -o -printf '\\n' 2>/dev/null | sort",
        )
    }

    fn same(&self, before: &str, what: &str) {
        let after = self.tree();
        let differ = |a: &str, b: &str| {
            a.lines()
                .filter(|l| !b.lines().any(|m| m == *l))
                .collect::<Vec<_>>()
                .join("\n")
        };
        assert!(
            after == before,
            "{what}\nbefore:\n{}\nafter:\n{}",
            differ(before, &after),
            differ(&after, before)
        );
    }

    /// Status and body of a GET from here, as another machine does it.
    fn get(&self, scheme: &str, name: &str, path: &str) -> String {
        get(self.host, scheme, name, path, &["-k"])
    }
}

fn wish<'a>(site: &'a RenderedVhost, expect: Option<&'a str>) -> Apply<'a> {
    Apply {
        name: NAME,
        text: &site.text,
        proof: &site.proof,
        target_names: &[],
        followed: &[],
        certificate: Certificate::None,
        expect,
        old_name: None,
        old_expect: None,
        shadow: false,
    }
}

fn acme(name: &str, site: &RenderedVhost, first: &RenderedVhost, expect: Option<&str>) -> Recipe {
    site::apply(&Apply {
        name,
        certificate: Certificate::Acme {
            email: "ops@lab.test",
            directory: DIRECTORY,
            lineage: &site::lineage(name),
            first: (&first.text, &first.proof),
        },
        ..wish(site, expect)
    })
    .unwrap()
}

/// The shells of a job, all at once and without a word.
const KILL_JOB: &str = "for p in $(grep -ls LAMPLIGHTER_JOB= /proc/[0-9]*/environ | cut -d/ -f3); do \
    case $(tr '\\0' ' ' </proc/$p/cmdline) in '/bin/sh -s ') echo $p ;; esac; done | xargs kill -9";

/// A text that nginx does not take: its fourth line is wrong.
fn broken(site: &RenderedVhost) -> RenderedVhost {
    RenderedVhost {
        text: site.text.replacen("    listen 80;", "    lisen 80;", 1),
        ..site.clone()
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

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.ssh.take());
        let _ = fs::remove_dir_all(&self.dir);
        if !thread::panicking() {
            assert_eq!(
                self.on("ls -d /run/lamplighter-job.* /run/lamplighter-inspect.* /var/lib/lamplighter-undo* 2>/dev/null || true"),
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

fn note(log: &mut String, report: &Progress) {
    use std::fmt::Write;
    let _ = match report {
        Progress::Step {
            index,
            total,
            step,
            state,
            ms,
        } => writeln!(log, "[{index}/{total}] {} {state:?} {ms} ms", step.title(Lang::En)),
        Progress::Command { line } => writeln!(log, "$ {line}"),
        Progress::Ended { rc, ms, .. } => writeln!(log, "= {rc} {ms} ms"),
        Progress::Line { stream, text } => writeln!(log, "{stream:?}: {text}"),
        Progress::Fact { key, value } => writeln!(log, "{key} = {value}"),
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
