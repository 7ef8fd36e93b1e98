//! Setting up real servers: each recipe twice, as every kind of user, and everything that stands in its way.
//! Needs the lab (`tests/lab`), hosts h3 and h4.

use lamplighter::base::error::Result;
use lamplighter::base::host::{Guest, Host, UserName};
use lamplighter::base::process::Cancel;
use lamplighter::base::secret::Secret;
use lamplighter::lang::Lang;
use lamplighter::provision::{self, Firewall, Glances, Outcome, Profile, Progress, Recipe, Source, State, recipes};
use lamplighter::ssh::{Auth, Ssh, Target};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

const PASSWORD: &str = "s'esame $(x) \"öl\" \\ 1";

// --- stories: looking -----------------------------------------------------------------------------------------------

#[test]
#[ignore = "lab: h3"]
fn a_plain_user_learns_what_the_server_is() {
    let server = Server::fresh("h3");
    let seen = server.run("plain", &recipes::check()).unwrap();
    let fact = |key: &str| seen.facts.get(key).map_or("-", String::as_str);
    assert_eq!(seen.changed, 0);
    assert_eq!(
        (fact("user"), fact("os_id"), fact("os_version")),
        ("plain", "debian", "12")
    );
    assert_eq!((fact("systemd"), fact("arch")), ("running", "x86_64"));
    assert_eq!(fact("addresses"), "10.77.0.13 fd77::13");
    assert!(fact("disk_1").ends_with(" /"), "{}", fact("disk_1"));
    assert!(fact("mem_kib").parse::<u64>().unwrap() > 100_000);
    let skew: i64 = fact("clock_skew_ms").parse().unwrap();
    assert!(skew.abs() < 5_000, "the lab's hosts share our clock: {skew}");
    assert_eq!((fact("nginx"), fact("glances")), ("-", "-"));
    assert_eq!(server.run("root", &recipes::check()).unwrap().facts["sudo"], "root");
    assert_eq!(
        server.run("deploy", &recipes::check()).unwrap().facts["sudo"],
        "nopasswd"
    );
    assert_eq!(server.run("ops", &recipes::check()).unwrap().facts["sudo"], "password");
}

// --- stories: nginx -------------------------------------------------------------------------------------------------

#[test]
#[ignore = "lab: h3"]
fn nginx_is_set_up_once_whoever_logs_in() {
    let server = Server::fresh("h3");
    let first = server.run("ops", &recipes::nginx()).unwrap();
    assert!(first.changed >= 3, "{first:?}");
    assert_eq!(
        (&*first.facts["nginx_version"], &*first.facts["nginx_http2"]),
        ("1.22.1", "listen")
    );
    assert!(server.get("http://10.77.0.13/", &[]).starts_with("200"));
    for user in ["ops", "deploy", "root"] {
        let again = server.run(user, &recipes::nginx()).unwrap();
        assert_eq!(again.changed, 0, "{user}: {:?}", again.steps);
        assert_eq!(again.steps.len(), recipes::nginx().plan.len());
    }
    let refused = server.run("plain", &recipes::nginx()).unwrap_err();
    assert!(refused.code.contains("sudo"), "{refused:?}");
}

#[test]
#[ignore = "lab: h3"]
fn a_red_nginx_is_left_exactly_as_it_was() {
    let server = Server::with_packages("h3");
    server.on("echo 'server { lisen 81; }' >/etc/nginx/sites-enabled/theirs");
    let before = server.tree("/etc/nginx");
    for recipe in [recipes::nginx(), recipes::glances(&front()).unwrap()] {
        let refused = server.run("root", &recipe).unwrap_err();
        assert_eq!(refused.code, "nginx_red");
        assert!(
            refused.say.contains("/etc/nginx/sites-enabled/theirs:1"),
            "{}",
            refused.say
        );
        assert!(refused.say.contains("lisen"), "{}", refused.say);
        assert_eq!(server.tree("/etc/nginx"), before);
    }
    assert_eq!(server.on("ls /etc/systemd/system/lamplighter* 2>/dev/null || true"), "");
}

#[test]
#[ignore = "lab: h3"]
fn a_file_of_ours_that_nginx_does_not_take_is_taken_back() {
    let server = Server::with_packages("h3");
    // Fine while conf.d is empty; a "map" is not allowed inside a "server".
    server.on("cd /etc/nginx && sed -i 's|include /etc/nginx/conf.d/\\*.conf;|server { listen 82; include /etc/nginx/conf.d/*.conf; }|' nginx.conf");
    let before = server.tree("/etc/nginx");
    let refused = server.run("deploy", &recipes::nginx()).unwrap_err();
    assert_eq!(refused.code, "nginx_red");
    assert!(
        refused.say.contains("taken back") && refused.say.contains("conf.d/lamplighter.conf"),
        "{}",
        refused.say
    );
    assert_eq!(server.tree("/etc/nginx"), before);
    server.on("nginx -t");
}

#[test]
#[ignore = "lab: h3"]
fn a_port_80_that_another_program_holds_is_not_fought_over() {
    let server = Server::fresh("h3");
    server.on("systemd-run -q --unit=other-web python3 -m http.server 80 && sleep 1");
    let refused = server.run("root", &recipes::nginx()).unwrap_err();
    assert_eq!(refused.code, "port_taken");
    assert!(
        refused.say.contains("Port 80") && refused.say.contains("python3"),
        "{}",
        refused.say
    );
    assert_eq!(
        server.on("dpkg-query -W nginx 2>/dev/null || true"),
        "",
        "nothing was installed"
    );
}

// --- stories: apt ---------------------------------------------------------------------------------------------------

#[test]
#[ignore = "lab: h3"]
fn a_held_package_system_is_waited_for() {
    let server = Server::fresh("h3");
    server.on(
        "systemd-run -q --unit=updates python3 -c 'import fcntl, time; f = open(\"/var/lib/dpkg/lock-frontend\", \"w\"); \
         fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(20)' && sleep 1",
    );
    let since = Instant::now();
    let mut log = String::new();
    let first = server
        .watch("root", &recipes::nginx(), &Cancel::new(), &mut |report| {
            note(&mut log, &report)
        })
        .unwrap();
    assert!(first.changed > 0);
    assert!(since.elapsed() > Duration::from_secs(15), "it waited");
    assert!(
        log.contains("waiting for the package system: python3 (process "),
        "{log}"
    );
}

#[test]
#[ignore = "lab: h3"]
fn what_apt_cannot_do_is_said_in_words() {
    let server = Server::fresh("h3");
    server.on("mv /etc/apt/sources.list /root/ && rm -rf /var/lib/apt/lists/* && apt-get update -q");
    let refused = server.run("root", &recipes::nginx()).unwrap_err();
    assert_eq!(refused.code, "package_missing");
    assert!(refused.say.contains("nginx"), "{}", refused.say);

    server.on("echo 'deb [trusted=yes] file:/srv/gone ./' >/etc/apt/sources.list");
    let refused = server.run("root", &recipes::nginx()).unwrap_err();
    assert_eq!(refused.code, "apt_failed");
    assert!(
        refused.say.contains("/srv/gone"),
        "the server's own words: {}",
        refused.say
    );

    // The lists know the package, but its file is gone: they are read anew before anybody is bothered.
    server.on(
        "mv /root/sources.list /etc/apt/ && apt-get update -q && mv /srv/labrepo /srv/moved \
        && mkdir /srv/labrepo && cp -a /srv/moved/. /srv/labrepo/ && rm /srv/labrepo/nginx_*",
    );
    let refused = server.run("root", &recipes::nginx()).unwrap_err();
    assert_eq!(refused.code, "apt_failed");
    server.on("rm -r /srv/labrepo && mv /srv/moved /srv/labrepo");

    // An installation that somebody broke off is finished first.
    server.on("cd /srv/labrepo && dpkg --unpack netcat-openbsd_*.deb >/dev/null 2>&1");
    assert_ne!(server.on("dpkg --audit"), "");
    server.run("root", &recipes::nginx()).unwrap();
    assert_eq!(server.on("dpkg --audit"), "");
}

#[test]
#[ignore = "lab: h3"]
fn a_full_disk_is_named_and_nothing_is_half_written() {
    let server = Server::fresh("h3");
    let full = Fault::new("h3", &["full", "/var"]);
    let refused = server.run("root", &recipes::nginx()).unwrap_err();
    assert_eq!(refused.code, "disk_full", "{refused:?}");
    drop(full);
    server.run("root", &recipes::nginx()).unwrap();

    server.on("rm /etc/nginx/conf.d/lamplighter.conf");
    let full = Fault::new("h3", &["full", "/etc/nginx"]);
    let before = server.tree("/etc/nginx");
    let refused = server.run("root", &recipes::nginx()).unwrap_err();
    assert_eq!(refused.code, "disk_full", "{refused:?}");
    assert_eq!(server.tree("/etc/nginx"), before);
    drop(full);
}

// --- stories: glances -----------------------------------------------------------------------------------------------

#[test]
#[ignore = "lab: h3"]
fn glances_answers_behind_tls_and_a_password() {
    let server = Server::fresh("h3");
    // Looks at every command line and environment while the password is on its way.
    server.on("echo esame >/root/word");
    server.on(
        "systemd-run -q --unit=spy sh -c 'while :; do grep -lsaf /root/word /proc/[0-9]*/cmdline /proc/[0-9]*/environ; \
         sleep 0.02; done >/root/seen'",
    );
    let first = server.run("ops", &recipes::glances(&front()).unwrap()).unwrap();
    assert_eq!(server.on("systemctl stop spy; cat /root/seen"), "");
    assert!(first.changed >= 8, "{first:?}");
    assert_eq!(
        (&*first.facts["glances_version"], &*first.facts["glances_api"]),
        ("3.3.1.1", "3")
    );
    for user in ["deploy", "root"] {
        let again = server.run(user, &recipes::glances(&front()).unwrap()).unwrap();
        assert_eq!(again.changed, 0, "{user}: {:?}", again.steps);
        assert_eq!(again.facts["tls_sha256"], first.facts["tls_sha256"]);
    }

    let url = "https://10.77.0.13:61443/api/3/fs";
    assert!(server.get(url, &[]).starts_with("401"));
    assert!(server.get(url, &["-u", "lamp:wrong-password"]).starts_with("401"));
    let answer = server.get(url, &["-u", &format!("lamp:{PASSWORD}")]);
    assert!(answer.starts_with("200"), "{answer}");
    assert_eq!(
        answer.matches("mnt_point\":\"").count(),
        1,
        "one disk, no mount of the sandbox: {answer}"
    );
    let shown = server
        .on("openssl s_client -connect 127.0.0.1:61443 </dev/null 2>/dev/null | openssl x509 -outform der | sha256sum");
    assert_eq!(shown.split(' ').next().unwrap(), first.facts["tls_sha256"]);
    assert!(
        server.get("http://10.77.0.13:61208/", &[]).starts_with("000"),
        "Glances itself is not reached"
    );

    // Our own unit has the command line; the distribution's service is off but not masked.
    assert_eq!(
        server
            .on("systemctl show -p ExecStart --value lamplighter-glances | sed 's/.*argv\\[\\]=\\([^;]*\\) ;.*/\\1/'")
            .trim(),
        "/usr/bin/glances -w -p 61208 -B 127.0.0.1 --disable-check-update"
    );
    assert_eq!(
        server.on("systemctl is-enabled glances; systemctl is-active glances; true"),
        "disabled\ninactive\n"
    );
    assert_ne!(server.on("ps -o user= -C glances").trim(), "root");

    // Neither the password nor its like lies anywhere but in the hash.
    assert_eq!(
        server.on("grep -rlF esame /etc /run /var/log /var/lib 2>/dev/null || true"),
        ""
    );

    // Another password is one change, and it works at once.
    let mut other = front();
    other.profile = Profile::Front {
        port: 61443,
        user: "lamp".into(),
        password: Secret::new("another-one"),
    };
    let changed = server.run("root", &recipes::glances(&other).unwrap()).unwrap();
    assert_eq!(changed.changed, 1, "{:?}", changed.steps);
    assert!(server.get(url, &["-u", "lamp:another-one"]).starts_with("200"));
    assert!(server.get(url, &["-u", &format!("lamp:{PASSWORD}")]).starts_with("401"));

    // nginx keeps the list of who may ask at all.
    other.allow = vec![Guest::parse("10.77.0.14").unwrap()];
    server.run("root", &recipes::glances(&other).unwrap()).unwrap();
    assert!(server.get(url, &["-u", "lamp:another-one"]).starts_with("403"));

    // The open profile takes the entrance away.
    let open = Glances {
        port: 61208,
        profile: Profile::Open,
        allow: vec![],
        source: Source::Auto,
        bundle: String::new(),
    };
    server.run("root", &recipes::glances(&open).unwrap()).unwrap();
    assert_eq!(
        server.run("root", &recipes::glances(&open).unwrap()).unwrap().changed,
        0
    );
    assert!(server.get("http://10.77.0.13:61208/api/3/mem", &[]).starts_with("200"));
    assert!(server.get(url, &[]).starts_with("000"));
    // It comes back by itself after a reboot.
    script("fault", &["h3", "reboot"]);
    let until = Instant::now() + Duration::from_secs(20);
    while !server.get("http://10.77.0.13:61208/api/3/mem", &[]).starts_with("200") {
        assert!(Instant::now() < until, "not back");
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
#[ignore = "lab: h3"]
fn a_second_run_notices_what_has_changed_since_the_first() {
    let server = Server::with_packages("h3");
    let recipe = recipes::glances(&front()).unwrap();
    let first = server.run("root", &recipe).unwrap();
    let mut pin = first.facts["tls_sha256"].clone();
    let certificate = |days: u32| {
        format!(
            "cd /etc/nginx/lamplighter && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
             -days {days} -subj /CN=other -keyout glances.key -out glances.crt 2>/dev/null"
        )
    };
    for (damage, healed, new_pin) in [
        ("systemctl stop lamplighter-glances", vec!["glances_running"], false),
        (
            "systemctl -q disable lamplighter-glances",
            vec!["glances_running"],
            false,
        ),
        (
            "systemctl kill -s STOP lamplighter-glances",
            vec!["glances_running"],
            false,
        ),
        (
            "sed -i s/127.0.0.1/0.0.0.0/ /etc/systemd/system/lamplighter-glances.service",
            vec!["glances_unit", "glances_running"],
            false,
        ),
        ("systemctl -q enable glances", vec!["glances_stock_off"], false),
        ("dpkg --force-depends -r python3-bottle", vec!["glances_package"], false),
        ("systemctl stop nginx", vec!["front_running"], false),
        ("systemctl -q disable nginx", vec!["front_running"], false),
        (
            "sed -i /auth_basic/d /etc/nginx/conf.d/lamplighter-glances.conf; systemctl reload nginx",
            vec!["front_conf", "front_running"],
            false,
        ),
        (
            "chmod 644 /etc/nginx/lamplighter/glances.htpasswd",
            vec!["front_password"],
            false,
        ),
        (
            "echo lamp:nonsense >/etc/nginx/lamplighter/glances.htpasswd",
            vec!["front_password"],
            false,
        ),
        (&*certificate(29), vec!["front_cert", "front_running"], true),
        (&*certificate(400), vec!["front_running"], true),
    ] {
        // Files of the second before count as loaded by what was restarted in it.
        thread::sleep(Duration::from_millis(1100));
        server.on(damage);
        let again = server
            .run("root", &recipe)
            .unwrap_or_else(|e| panic!("{damage}: {e:?}"));
        let changed: Vec<_> = again.steps.iter().filter(|s| s.state == State::Changed).collect();
        assert!(changed.iter().map(|s| s.id).eq(healed), "{damage}: {:?}", again.steps);
        assert_eq!(again.facts["tls_sha256"] != pin, new_pin, "{damage}");
        pin = again.facts["tls_sha256"].clone();
        let url = "https://10.77.0.13:61443/api/3/mem";
        assert!(server.get(url, &["-u", &format!("lamp:{PASSWORD}")]).starts_with("200"));
        assert!(server.get(url, &[]).starts_with("401"), "{damage}");
        assert_eq!(server.run("root", &recipe).unwrap().changed, 0, "{damage}");
    }
}

#[test]
#[ignore = "lab: h4"]
fn a_glances_4_that_is_there_already_is_used() {
    let server = Server::fresh("h4");
    server.on("export DEBIAN_FRONTEND=noninteractive; apt-get install -y -q --no-install-recommends python3-venv python3-pip >/dev/null 2>&1 \
        && python3 -m venv /opt/glances && /opt/glances/bin/pip install -q --no-index --find-links /srv/labwheels 'glances[web]'");
    assert_eq!(
        server.run("plain", &recipes::check()).unwrap().facts["glances_path"],
        "/opt/glances/bin/glances"
    );
    let wish = Glances { port: 61300, ..front() };
    let first = server.run("deploy", &recipes::glances(&wish).unwrap()).unwrap();
    assert_eq!(
        (&*first.facts["glances_api"], &*first.facts["glances_path"]),
        ("4", "/opt/glances/bin/glances")
    );
    assert!(first.facts["glances_version"].starts_with("4."));
    assert_eq!(
        server.run("deploy", &recipes::glances(&wish).unwrap()).unwrap().changed,
        0
    );
    assert_eq!(
        server.on("dpkg-query -W glances 2>/dev/null || true"),
        "",
        "no second Glances"
    );
    let url = "https://10.77.0.14:61443/api/4/fs";
    let answer = server.get(url, &["-u", &format!("lamp:{PASSWORD}")]);
    assert!(answer.starts_with("200"), "{answer}");
    assert_eq!(
        answer.matches("mnt_point").count(),
        2,
        "one disk, and the key's own name: {answer}"
    );
}

#[test]
#[ignore = "lab: h3"]
fn a_glances_that_cannot_start_leaves_nothing() {
    let server = Server::with_packages("h3");
    server.on("systemctl enable --now glances 2>/dev/null; printf '#!/bin/sh\\necho \"cannot import bottle\" >&2; exit 2\\n' >/usr/bin/glances");
    let state = || {
        (
            server.tree("/etc/nginx"),
            server.tree("/etc/systemd"),
            server.on("getent passwd"),
        )
    };
    let before = state();
    let refused = server.run("root", &recipes::glances(&front()).unwrap()).unwrap_err();
    assert_eq!(refused.code, "glances_not_answering");
    assert!(refused.say.contains("cannot import bottle"), "{}", refused.say);
    assert_eq!(state(), before);
    assert_eq!(
        server.on("systemctl is-enabled glances lamplighter-glances 2>/dev/null; true"),
        "enabled\n"
    );
}

#[test]
#[ignore = "lab: h3"]
fn a_port_or_address_that_is_not_ours_is_refused_before_anything_changes() {
    let server = Server::fresh("h3");
    let wish = |port, profile| Glances {
        port,
        profile,
        allow: vec![],
        source: Source::Auto,
        bundle: String::new(),
    };
    let refused = server
        .run("root", &recipes::glances(&wish(22, Profile::Open)).unwrap())
        .unwrap_err();
    assert_eq!(refused.code, "port_taken");
    assert!(refused.say.contains("sshd"), "{}", refused.say);
    let elsewhere = wish(61208, Profile::Bind("10.99.0.1".parse().unwrap()));
    assert_eq!(
        server
            .run("root", &recipes::glances(&elsewhere).unwrap())
            .unwrap_err()
            .code,
        "address_missing"
    );
    assert_eq!(server.on("dpkg-query -W glances 2>/dev/null || true"), "");

    let here = wish(61208, Profile::Bind("10.77.0.13".parse().unwrap()));
    server.run("root", &recipes::glances(&here).unwrap()).unwrap();
    assert!(server.get("http://10.77.0.13:61208/api/3/mem", &[]).starts_with("200"));
    assert!(
        server
            .on("curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:61208/ || true")
            .starts_with("000")
    );
}

// --- stories: being stopped -----------------------------------------------------------------------------------------

#[test]
#[ignore = "lab: h3"]
fn a_cancelled_job_leaves_no_half_written_thing() {
    let server = Server::fresh("h3");
    // In the middle of dpkg: it finishes what it began, by itself.
    let cancel = Cancel::new();
    let stopped = server.watch("ops", &recipes::nginx(), &cancel, &mut |report| {
        if let Progress::Line { text, .. } = report
            && text.starts_with("Unpacking nginx")
        {
            cancel.cancel();
        }
    });
    assert_eq!(stopped.unwrap_err().code, "cancelled");
    server.wait("! pgrep -x dpkg && ! pgrep -x apt-get");
    assert_eq!(server.on("dpkg --audit"), "");
    assert_eq!(server.on("dpkg-query -W -f '${db:Status-Status}' nginx"), "installed");
    assert_eq!(server.on("ls -d /run/lamplighter-job* 2>/dev/null || true"), "");

    // Between our file and the reload: the file is taken back.
    let before = server.tree("/etc/nginx");
    let cancel = Cancel::new();
    let stopped = server.watch("ops", &recipes::nginx(), &cancel, &mut |report| {
        if let Progress::Step {
            step,
            state: State::Changed,
            ..
        } = report
            && step.id == "nginx_conf"
        {
            cancel.cancel();
        }
    });
    assert_eq!(stopped.unwrap_err().code, "cancelled");
    server.wait("flock -n /run/lamplighter-provision.lock true");
    let after = server.tree("/etc/nginx");
    // The job may have reached its end before the word came; half of it is what must not be.
    assert!(after == before || after.contains("conf.d/lamplighter.conf"), "{after}");
    assert!(!after.contains("lamplighter-new"));
    server.run("ops", &recipes::nginx()).unwrap();
    assert_eq!(server.run("ops", &recipes::nginx()).unwrap().changed, 0);
}

#[test]
#[ignore = "lab: h3"]
fn a_broken_link_does_not_break_dpkg() {
    let server = Server::fresh("h3");
    let mut fault = None;
    let lost = server.watch("root", &recipes::nginx(), &Cancel::new(), &mut |report| {
        if let Progress::Line { text, .. } = report
            && text.starts_with("Unpacking nginx")
            && fault.is_none()
        {
            fault = Some(Fault::new("h3", &["drop"]));
        }
    });
    // What we see of it is ssh's story; what the server has is ours.
    assert!(lost.is_err());
    drop(fault);
    server.wait("! pgrep -x dpkg && ! pgrep -x apt-get");
    assert_eq!(server.on("dpkg --audit"), "");
    server.run("root", &recipes::nginx()).unwrap();
}

#[test]
#[ignore = "lab: h3"]
fn two_jobs_do_not_change_one_server_at_once() {
    let server = Server::fresh("h3");
    server.on("systemd-run -q --unit=other flock /run/lamplighter-provision.lock sleep 60");
    let refused = server.run("root", &recipes::nginx()).unwrap_err();
    assert_eq!(refused.code, "job_running");
}

// --- stories: the firewall ------------------------------------------------------------------------------------------

fn wall(allow: &[&str], revert_s: u64) -> Firewall {
    Firewall {
        ssh_port: 22,
        port: 61208,
        allow: allow.iter().map(|block| Guest::parse(block).unwrap()).collect(),
        revert: Duration::from_secs(revert_s),
    }
}

#[test]
#[ignore = "lab: h3, h4"]
fn the_firewall_lets_in_who_is_named_and_ssh() {
    let server = Server::with_packages("h3");
    Server::up(&["h4"]);
    let open = Glances {
        port: 61208,
        profile: Profile::Open,
        allow: vec![],
        source: Source::Auto,
        bundle: String::new(),
    };
    server.run("ops", &recipes::glances(&open).unwrap()).unwrap();
    let url = "http://10.77.0.13:61208/api/3/mem";
    let from_h4 = |url: &str| {
        on(
            "h4",
            &format!("curl -s -m 3 -o /dev/null -w '%{{http_code}}' {url} || true"),
        )
    };
    assert_eq!(from_h4(url), "200");

    let first = server
        .firewall("ops", &wall(&["10.77.0.1", "192.0.2.0/24", "fd77::1"], 60))
        .unwrap();
    assert!(first.changed >= 4, "{first:?}");
    assert!(server.get(url, &[]).starts_with("200"));
    assert_eq!(from_h4(url), "000");
    assert_eq!(from_h4("'http://[fd77::13]:61208/'"), "000");
    assert_eq!(
        server
            .firewall("root", &wall(&["10.77.0.1", "192.0.2.0/24", "fd77::1"], 60))
            .unwrap()
            .changed,
        0
    );
    assert!(
        server.on("cat /etc/ufw/ufw.conf").contains("ENABLED=yes"),
        "also after the next start"
    );
    // What else the server offers is reached as before, and the timer is gone.
    assert_eq!(from_h4("http://10.77.0.13/"), "200");
    assert_eq!(
        server
            .on("systemctl is-active lamplighter-ufw-revert.timer || true")
            .trim(),
        "inactive"
    );

    // Another list: the new one gets in, the old one does not.
    server.firewall("deploy", &wall(&["10.77.0.14"], 60)).unwrap();
    assert_eq!(from_h4(url), "200");
    assert!(server.get(url, &["-m", "3"]).starts_with("000"));

    // No list: our rules go, the firewall stays as it is.
    server.firewall("root", &wall(&[], 60)).unwrap();
    assert!(server.get(url, &[]).starts_with("200"));
    assert!(!server.on("ufw show added").contains("61208"));
}

#[test]
#[ignore = "lab: h3, h4"]
fn a_strict_firewall_stays_as_strict() {
    let server = Server::with_packages("h3");
    Server::up(&["h4"]);
    server.on("systemctl start nginx; ufw allow from 10.77.0.0/24 to any port 22 proto tcp && ufw --force enable");
    for user in ["ops", "root"] {
        let set = server.firewall(user, &wall(&["10.77.0.1"], 60)).unwrap();
        assert_eq!(set.changed > 0, user == "ops", "{:?}", set.steps);
    }
    let rules = server.on("ufw show added");
    assert!(
        rules.contains("allow from 10.77.0.1 to any port 22 proto tcp comment 'lamplighter ssh'"),
        "{rules}"
    );
    assert!(
        !rules.contains("allow 22/tcp"),
        "ssh was not opened to everybody: {rules}"
    );
    assert_eq!(
        on(
            "h4",
            "curl -s -m 3 -o /dev/null -w '%{http_code}' http://10.77.0.13/ || true"
        ),
        "000"
    );
    assert!(server.on("cat /etc/ufw/ufw.conf").contains("ENABLED=yes"));
}

#[test]
#[ignore = "lab: h3"]
fn a_lock_out_heals_by_itself() {
    let server = Server::with_packages("h3");
    // A rule of somebody else that stands before ours, asleep until the firewall is switched on.
    server.on("sed -i 's/^# End required lines/&\\n-A ufw-before-input -p tcp --dport 22 -m conntrack --ctstate NEW -j DROP/' /etc/ufw/before.rules");
    let before = server.on("cat /etc/ufw/*.rules /etc/ufw/ufw.conf /etc/default/ufw; ufw status");
    let since = Instant::now();
    let locked = server.firewall("ops", &wall(&["10.77.0.1"], 15)).unwrap_err();
    assert_eq!(locked.code, "ufw_lockout_reverted", "{locked:?}");
    assert!(since.elapsed() > Duration::from_secs(15));
    assert_eq!(
        server.on("cat /etc/ufw/*.rules /etc/ufw/ufw.conf /etc/default/ufw; ufw status"),
        before
    );
    server.run("plain", &recipes::check()).unwrap();
}

// --- figures --------------------------------------------------------------------------------------------------------

/// Prints how long a job takes beside the same script by plain `ssh host 'sh -s' <script`; run it with `--nocapture`.
#[test]
#[ignore = "lab: h3"]
fn a_job_beside_plain_ssh() {
    let server = Server::with_packages("h3");
    server.run("root", &recipes::nginx()).unwrap();
    server.run("root", &recipes::glances(&front()).unwrap()).unwrap();
    let at = |of: &[Duration], n: usize| of[n].as_secs_f64() * 1000.0;
    for (name, recipe) in [
        ("check", recipes::check()),
        ("nginx, second run", recipes::nginx()),
        ("glances, second run", recipes::glances(&front()).unwrap()),
    ] {
        let [mut plain, mut cold, mut warm] = [const { Vec::new() }; 3];
        let time = |job: &mut dyn FnMut()| {
            let since = Instant::now();
            job();
            since.elapsed()
        };
        let run = || assert_eq!(server.run_quietly("root", &recipe).unwrap().changed, 0);
        for _ in 0..15 {
            plain.push(time(&mut || server.plain_ssh(&recipe)));
            server.ssh.as_ref().unwrap().forget(server.target("root").server);
            cold.push(time(&mut || run()));
            warm.push(time(&mut || run()));
        }
        for times in [&mut plain, &mut cold, &mut warm] {
            times.sort();
        }
        // The best tells more than the median where others use the machine, too.
        for (of, n) in [("best", 0), ("median", plain.len() / 2)] {
            let [plain, cold, warm] = [&plain, &cold, &warm].map(|times| at(times, n));
            let (by_cold, by_warm) = (cold / plain, warm / plain);
            println!(
                "{name}, {of}: plain ssh {plain:.0} ms, cold {cold:.0} ms = {by_cold:.2}, warm {warm:.0} ms = {by_warm:.2}"
            );
        }
    }
}

// --- the harness ----------------------------------------------------------------------------------------------------

fn front() -> Glances {
    Glances {
        port: recipes::GLANCES_PORT,
        profile: Profile::Front {
            port: recipes::FRONT_PORT,
            user: "lamp".into(),
            password: Secret::new(PASSWORD),
        },
        allow: vec![],
        source: Source::Auto,
        bundle: String::new(),
    }
}

/// A host on a new disk, and a machine to reach it. When dropped it checks that no job left anything on the host.
struct Server {
    host: &'static str,
    ssh: Option<Ssh>,
    dir: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

/// One story at a time: they share two hosts.
static LAB: Mutex<()> = Mutex::new(());

impl Server {
    fn fresh(host: &'static str) -> Server {
        Server::start(host, &[host, "--fresh"])
    }

    fn with_packages(host: &'static str) -> Server {
        Server::start(host, &[host, "--fresh", "--layer", "web"])
    }

    /// More hosts, as they are.
    fn up(hosts: &[&str]) {
        script("up", hosts);
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
        let (lab, address) = (lab_dir(), self.address());
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
        let mut log = String::new();
        let result = self.watch(user, recipe, &Cancel::new(), &mut |report| note(&mut log, &report));
        assert!(!log.contains("esame"), "a password in the log");
        show(recipe.name, &log, &result);
        result
    }

    fn watch(&self, user: &str, recipe: &Recipe, cancel: &Cancel, tell: &mut dyn FnMut(Progress)) -> Result<Outcome> {
        provision::run(self.ssh.as_ref().unwrap(), &self.target(user), recipe, cancel, tell)
    }

    fn run_quietly(&self, user: &str, recipe: &Recipe) -> Result<Outcome> {
        self.watch(user, recipe, &Cancel::new(), &mut |_| {})
    }

    /// The yardstick: a connection of its own, as a person would do it.
    fn plain_ssh(&self, recipe: &Recipe) {
        let lab = lab_dir();
        let script = recipe.script("nonce", &provision::Debs::Own).unwrap();
        let file = self.dir.join("script");
        fs::write(&file, script.reveal_for("the test")).unwrap();
        let key = lab.join("keys/id_ed25519");
        let known = format!("UserKnownHostsFile={}", lab.join("known_hosts").display());
        let out = Command::new("ssh")
            .args(["-F", "none", "-T", "-o", "BatchMode=yes", "-o", &known, "-i"])
            .arg(key)
            .args(["-l", "root", &self.address(), "sh -s"])
            .stdin(fs::File::open(file).unwrap())
            .output()
            .unwrap();
        assert!(String::from_utf8_lossy(&out.stdout).contains("nonce end"), "{out:?}");
    }

    fn address(&self) -> String {
        format!("10.77.0.1{}", &self.host[1..])
    }

    fn firewall(&self, user: &str, wish: &Firewall) -> Result<Outcome> {
        let mut log = String::new();
        let result = provision::firewall(
            self.ssh.as_ref().unwrap(),
            &self.target(user),
            wish,
            &provision::Debs::Own,
            &Cancel::new(),
            &mut |report| {
                note(&mut log, &report);
            },
        );
        show("firewall", &log, &result);
        result
    }

    fn on(&self, command: &str) -> String {
        on(self.host, command)
    }

    fn wait(&self, command: &str) {
        self.on(&format!(
            "for i in $(seq 150); do {{ {command}; }} >/dev/null && exit 0; sleep 0.2; done; exit 1"
        ));
    }

    /// Every file below with its mode, time and hash.
    fn tree(&self, dir: &str) -> String {
        self.on(&format!("cd {dir} && find . -printf '%p %M %u %g %l ' -type f -printf '%T@ ' -exec sha256sum {{}} \\; -o -printf '\\n' | sort"))
    }

    /// Status and body of a GET from here.
    fn get(&self, url: &str, args: &[&str]) -> String {
        let out = Command::new("curl")
            .args(["-sk", "-m", "10", "-w", "\n%{http_code}"])
            .args(args)
            .arg(url)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap();
        format!("{status} {body}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.ssh.take());
        let _ = fs::remove_dir_all(&self.dir);
        if !thread::panicking() {
            assert_eq!(
                self.on("ls -d /run/lamplighter-job.* 2>/dev/null || true"),
                "",
                "a job left its folder"
            );
            assert_eq!(
                self.on("find /etc -name '*.lamplighter-new'"),
                "",
                "a job left a half-written file"
            );
        }
    }
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

/// For the reader of a failed test.
fn show(name: &str, log: &str, result: &Result<Outcome>) {
    println!("--- {name}\n{log}--- {result:?}\n");
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
