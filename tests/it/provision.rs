//! Provisioning without a server: what the scripts are made of, and what is made of their output.

use lamplighter::base::clock::{self, Duration};
use lamplighter::base::error::{Error, Kind};
use lamplighter::base::host::Guest;
use lamplighter::base::process::Stream::{self, Stderr, Stdout};
use lamplighter::base::secret::Secret;
use lamplighter::provision::acts;
use lamplighter::provision::bundle;
use lamplighter::provision::progress::ProgressReader;
use lamplighter::provision::site::{self, Apply, Certificate, Enabled, Proof, Sum, Wanted};
use lamplighter::provision::steps::{FAILURES, STEPS};
use lamplighter::provision::{Debs, Firewall, Glances, Outcome, Profile, Progress, Recipe, Source, State, recipes};
use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

const NONCE: &str = "6f1c9b0de2a84c55b7d3c1a09e8f7a61";

// --- scripts --------------------------------------------------------------------------------------------------------

/// What people and their password managers think of.
const NAUGHTY: &[&str] = &[
    "simple-password",
    "it's 'quoted'",
    "$(reboot) `reboot` ${HOME}",
    "\\' ; reboot #",
    "\"; main </dev/null; \"",
    "-n -e \\c \\0 %s %n",
    "EOF TEXT * ? [a-z] ~root !!",
    "пароль с öäü и 🔑",
    " spaces around ",
    "'''''''''",
];

fn front(password: &str, allow: &[&str]) -> Glances {
    Glances {
        port: 61208,
        profile: Profile::Front {
            port: 61443,
            user: "lamp".into(),
            password: Secret::new(password),
        },
        allow: allow.iter().map(|block| Guest::parse(block).unwrap()).collect(),
        source: Source::Auto,
        bundle: String::new(),
    }
}

fn all_recipes() -> Vec<Recipe> {
    let bind = |address: &str| Profile::Bind(address.parse().unwrap());
    let plain = |profile| {
        recipes::glances(&Glances {
            port: 1,
            profile,
            allow: vec![],
            source: Source::Auto,
            bundle: String::new(),
        })
        .unwrap()
    };
    let wall = Firewall {
        ssh_port: 22,
        port: 61208,
        allow: vec![Guest::parse("10.0.0.0/8").unwrap()],
        revert: Firewall::REVERT,
    };
    let mut all = vec![
        recipes::check(),
        recipes::nginx(),
        plain(Profile::Open),
        plain(bind("10.0.0.1")),
        plain(bind("fd00::1")),
        plain(Profile::front()),
        recipes::glances_source(&front("password", &[])).unwrap(),
        recipes::glances_gone(),
        recipes::firewall(&wall).unwrap(),
        recipes::confirm(),
    ];
    all.push(bundle::ask(&recipes::nginx()).unwrap());
    all.push(bundle::needs("Package: nginx\n", "nginx").unwrap());
    all.extend([
        acts::boot(),
        acts::reboot(),
        acts::service("nginx.service", "", acts::Act::Restart).unwrap(),
    ]);
    all.extend([acts::Act::Start, acts::Act::Stop].map(|act| acts::service("bot.service", "ops", act).unwrap()));
    all.extend([acts::Act::Start, acts::Act::Stop].map(|act| acts::tmux("bot", "ops", "sleep 9", act).unwrap()));
    let command = acts::Command {
        unit: "lamplighter-bot.service",
        mark: "# ours",
        text: "# ours\n[Service]\nExecStart=/bin/true",
        secrets: "TOKEN=\"x\"",
        program: "/bin/true",
        owner: "bot",
        folder: "/srv",
        act: acts::Act::Start,
    };
    all.push(acts::command(&command).unwrap());
    all.push(acts::command_gone(command.unit, command.mark).unwrap());
    all.extend(["", "security"].map(|apply| acts::updates(apply).unwrap()));
    let file = acts::File {
        path: "/srv/f",
        mode: "644",
        owner: "root:root",
        sha256: "",
        size: 0,
        allowed: "/srv",
    };
    all.push(acts::file(&file, "/var/cache/x").unwrap());
    all.extend(site_recipes());
    all.extend(
        NAUGHTY
            .iter()
            .map(|word| recipes::glances(&front(&format!("{word:12}"), &[])).unwrap()),
    );
    all
}

fn site_recipes() -> Vec<Recipe> {
    let proof = Proof::new("/.well-known/lamplighter/0123456789abcdef", &"0".repeat(32)).unwrap();
    let key = Secret::new("key");
    let followed = ["backend.internal:80:3".to_string()];
    let wish = |certificate| Apply {
        name: "app.example.com",
        text: "server {\n    # it's $(reboot) `x` \\\n}\n",
        proof: &proof,
        target_names: &["backend.internal"],
        followed: &followed,
        certificate,
        expect: None,
        old_name: Some("old.example.com"),
        old_expect: Some("0000000000000000000000000000000000000000000000000000000000000000"),
        shadow: false,
    };
    let acme = Certificate::Acme {
        email: "ops@example.com",
        directory: "https://acme.example.com:14000/dir",
        lineage: "lamplighter-app.example.com",
        first: ("server {}\n", &proof),
    };
    let files = Certificate::Files {
        chain: "chain",
        key: &key,
    };
    vec![
        site::inspect(&[Wanted::default()][..0], &[]).unwrap(),
        site::apply(&wish(Certificate::None)).unwrap(),
        site::apply(&wish(acme)).unwrap(),
        site::apply(&wish(files)).unwrap(),
        site::remove("app.example.com", None).unwrap(),
        site::renew("app.example.com", "lamplighter-app.example.com", true).unwrap(),
        site::sums(&[]).unwrap(),
        site::follow(),
    ]
}

fn text(recipe: &Recipe) -> String {
    recipe
        .script(NONCE, &Debs::Own)
        .unwrap()
        .reveal_text_for("the test")
        .to_string()
}

fn feed(program: &str, args: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    (
        out.status.success(),
        String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned(),
    )
}

#[test]
fn every_script_is_well_formed_whatever_the_values() {
    for recipe in all_recipes() {
        let (ok, said) = feed("sh", &["-n"], &text(&recipe));
        assert!(ok && said.is_empty(), "{}: {said}", recipe.name);
    }
}

#[test]
fn values_arrive_as_they_were() {
    for word in NAUGHTY {
        let password = format!("{word:12}");
        let script = text(&recipes::glances(&front(&password, &["10.0.0.0/8", "192.0.2.7", "fd00::/8"])).unwrap());
        // The values alone, without what would be done with them.
        let values: String = script
            .split_inclusive('\n')
            .take_while(|line| !line.starts_with('#'))
            .collect();
        let echo = "printf '%s|%s|%s|%s|%s' \"$NONCE\" \"$PORT\" \"$BIND\" \"$ALLOW\" \"$FRONT_PASSWORD\"\n";
        let (_, said) = feed("sh", &["-s"], &(values + echo));
        assert_eq!(
            said,
            format!("{NONCE}|61208|127.0.0.1|10.0.0.0/8 192.0.2.7 fd00::/8|{password}")
        );
    }
}

#[test]
fn a_script_that_arrives_cut_does_nothing() {
    let script = text(&recipes::check());
    let (ok, said) = feed("sh", &["-s"], &script);
    assert!(ok && said.contains(" fact kernel "), "{said}");
    for cut in [script.len() - 18, script.len() / 2, script.len() / 3] {
        let cut = script.floor_char_boundary(cut);
        let (_, said) = feed("sh", &["-s"], &script[..cut]);
        assert!(!said.contains(NONCE), "at {cut}: {said}");
    }
}

#[test]
fn no_value_becomes_part_of_a_script_but_by_assignment() {
    // Two wishes that differ in every value have the same text after the values.
    let other = Glances {
        port: 7,
        ..front("quite-another-one", &["203.0.113.0/24"])
    };
    let tail = |wish: &Glances| {
        let script = text(&recipes::glances(wish).unwrap());
        script[script.find("\n# ").unwrap()..].to_string()
    };
    assert_eq!(tail(&front("password", &[])), tail(&other));
}

#[test]
fn what_cannot_be_a_login_is_refused() {
    let wish = |port, user: &str, password: &str| {
        recipes::glances(&Glances {
            port: 61208,
            profile: Profile::Front {
                port,
                user: user.into(),
                password: Secret::new(password),
            },
            allow: vec![],
            source: Source::Auto,
            bundle: String::new(),
        })
    };
    let wrong = |result: Result<Recipe, Error>| {
        result
            .err()
            .map(|e| e.fields.iter().map(|f| f.field).collect::<Vec<_>>())
    };
    assert_eq!(wrong(wish(61443, "lamp", "long-enough")), None);
    assert_eq!(
        wrong(wish(61208, "a:b", "short")),
        Some(vec!["front_port", "user", "password"])
    );
    for password in ["with\nline break", "with\rreturn", "with\0nul", ""] {
        assert_eq!(
            wrong(wish(61443, "lamp", password)),
            Some(vec!["password"]),
            "{password:?}"
        );
    }
}

#[test]
fn scripts_and_tables_name_the_same_things() {
    let known: BTreeSet<&str> = STEPS.iter().map(|step| step.id).collect();
    let codes: BTreeSet<&str> = FAILURES.iter().map(|failure| failure.code).collect();
    assert_eq!((known.len(), codes.len()), (STEPS.len(), FAILURES.len()), "each once");
    let (mut planned, mut stepped, mut failing) = (
        BTreeSet::new(),
        BTreeSet::new(),
        BTreeSet::from(["broken_off".to_string()]),
    );
    for recipe in all_recipes() {
        planned.extend(recipe.plan.iter().map(|id| id.to_string()));
        let script = text(&recipe);
        for line in script.lines().filter(|line| !line.trim_start().starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            for pair in words.windows(2) {
                let id = pair[1].trim_end_matches(';');
                if !id
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
                {
                    continue;
                }
                match pair[0] {
                    "step" | "check" | "skip" => stepped.insert(id.to_string()),
                    "fail" => failing.insert(id.to_string()),
                    _ => false,
                };
            }
        }
    }
    let words = |set: &BTreeSet<&str>| set.iter().map(|word| word.to_string()).collect::<BTreeSet<_>>();
    assert_eq!(planned, words(&known));
    assert_eq!(stepped, words(&known));
    assert_eq!(failing, words(&codes));
}

#[test]
fn a_bundle_holds_whatever_a_script_installs() {
    let programs: BTreeSet<&str> = recipes::PACKAGES.iter().map(|(program, _)| *program).collect();
    let mut installed = BTreeSet::new();
    for recipe in all_recipes() {
        let script = text(&recipe);
        assert!(recipe.installs.iter().all(|program| programs.contains(program)));
        for line in script.lines().filter(|line| !line.trim_start().starts_with('#')) {
            // What web_packages chooses from, and literal names after apt_install.
            let echoed = line
                .strip_prefix("web_packages()")
                .into_iter()
                .flat_map(|rest| rest.split("echo ").skip(1));
            let named = line.split("apt_install ").skip(1);
            for names in echoed.chain(named) {
                let names = names.split([';', '|', '&', '}']).next().unwrap();
                let plain = names
                    .split_whitespace()
                    .filter(|word| !word.starts_with(['$', '"']) && !word.ends_with(')'));
                installed.extend(plain.map(String::from));
            }
        }
    }
    let bundled: BTreeSet<String> = bundle::wanted().into_iter().map(String::from).collect();
    assert_eq!(installed, bundled);
}

#[test]
fn the_scripts_are_clean() {
    let version = Command::new("shellcheck").arg("--version").output();
    assert!(version.expect("shellcheck, see tests/run").status.success());
    // The text alone, each once; which values it is given, and what of the prelude each reads, a checker of texts cannot
    // know; quotation marks in sentences are meant.
    let scripts = all_recipes().iter().map(text).collect::<Vec<_>>();
    let texts: BTreeSet<&str> = scripts
        .iter()
        .map(|script| &script[script.find("\n# ").unwrap()..])
        .collect();
    for text in texts {
        let (ok, said) = feed(
            "shellcheck",
            &["-s", "sh", "-S", "warning", "-e", "SC2154,SC2153,SC2034,SC1111", "-"],
            text,
        );
        assert!(ok, "{said}");
    }
}

#[test]
fn the_firewall_is_only_asked_for_where_nginx_does_not_do_it() {
    let allow = vec![Guest::parse("192.0.2.7").unwrap()];
    let wish = |profile, allow| Glances {
        port: 61208,
        profile,
        allow,
        source: Source::Auto,
        bundle: String::new(),
    };
    assert!(wish(Profile::front(), allow.clone()).firewall(22, false).is_none());
    assert!(wish(Profile::Open, vec![]).firewall(22, false).is_none());
    let wall = wish(Profile::Open, allow).firewall(2222, false).unwrap();
    assert_eq!(
        (wall.ssh_port, wall.port, wall.revert),
        (2222, 61208, Duration::from_secs(90))
    );
}

// --- what a job prints ----------------------------------------------------------------------------------------------

struct Seen {
    result: Result<Outcome, Error>,
    told: Vec<String>,
}

/// Feeds lines to the reader of a job with the steps of deploy-proxy; `@` stands for the nonce.
fn read(lines: &[(Stream, &str)], rc: i32) -> Seen {
    let plan = recipes::nginx().plan;
    let mut progress = ProgressReader::new(NONCE, &plan);
    let mut told = Vec::new();
    let start = clock::mono();
    for (n, (stream, line)) in lines.iter().enumerate() {
        let at = start + Duration::from_millis(10 * n as u64);
        progress.feed(*stream, &line.replace('@', NONCE), at, 1_000_000, &mut |report| {
            told.push(match report {
                Progress::Step {
                    index,
                    total,
                    step,
                    state,
                    ms,
                } => format!("{index}/{total} {} {state:?} {ms}", step.id),
                Progress::Command { line } => format!("$ {line}"),
                Progress::Ended { line, rc, ms } => format!("$ {line} = {rc} {ms}"),
                Progress::Line { stream, text } => format!("{stream:?} {text}"),
                Progress::Fact { key, value } => format!("{key}={value}"),
            });
        });
    }
    Seen {
        result: progress.outcome(rc),
        told,
    }
}

#[test]
fn a_good_job_is_told_step_by_step() {
    let seen = read(
        &[
            (Stdout, "@ step system running"),
            (Stdout, "@ step system ok"),
            (Stdout, "@ step nginx_before skipped"),
            (Stdout, "@ step nginx_package running"),
            (Stdout, "@ cmd apt-get install nginx"),
            (Stderr, "@"),
            (Stdout, "Unpacking"),
            (Stderr, "W: old"),
            (Stdout, "@ rc 0"),
            (Stdout, "@ step nginx_package changed"),
            (Stdout, "no line end@ fact nginx_version 1.22.1"),
            (Stdout, "@ fact epoch_ms 1000250"),
            (Stdout, "@ end"),
        ],
        0,
    );
    assert_eq!(
        seen.told,
        [
            "1/11 system Running 0",
            "1/11 system Ok 10",
            "2/11 nginx_before Skipped 0",
            "5/11 nginx_package Running 0",
            "$ apt-get install nginx",
            "Stdout Unpacking",
            "Stderr W: old",
            "$ apt-get install nginx = 0 40",
            "5/11 nginx_package Changed 60",
            "Stdout no line end",
            "nginx_version=1.22.1",
            "clock_skew_ms=250",
        ]
    );
    let outcome = seen.result.unwrap();
    assert_eq!(outcome.changed, 1);
    assert_eq!(outcome.steps.len(), 3);
    assert_eq!((outcome.steps[2].state, outcome.steps[2].ms), (State::Changed, 60));
    assert_eq!(outcome.facts.len(), 2);
}

#[test]
fn output_cannot_pass_for_a_mark() {
    let other = "0f1c9b0de2a84c55b7d3c1a09e8f7a61";
    let forged = format!("{other} end");
    let seen = read(
        &[
            (Stdout, "NONCE end"),
            (Stdout, " end"),
            (Stdout, "step system changed"),
            (Stdout, &forged),
            (Stdout, &NONCE[..31]),
            (Stderr, "@ step system changed"),
            (Stderr, "@ end"),
        ],
        0,
    );
    assert_eq!(seen.result.unwrap_err().code, "broken_off");
    assert!(seen.told.iter().all(|line| line.starts_with("Std")), "{:?}", seen.told);
}

#[test]
fn a_lying_server_can_say_little() {
    let mut lines: Vec<(Stream, String)> = vec![
        (Stdout, "@ step rm_rf changed".into()),
        (Stdout, "@ step who changed".into()), // of another recipe
        (Stdout, "@ step system exploded".into()),
        (Stdout, "@ step system changed".into()),
        (Stdout, "@ step system changed".into()),
        (Stdout, "@ rc 7".into()),
        (Stdout, "@ cmd x".into()),
        (Stdout, "@ rc 99999999999999999999".into()),
        (Stdout, "@".into()),
        (Stdout, "@ @ @".into()),
        (Stdout, "@ fact".into()),
        (Stdout, "@ fact UPPER x".into()),
        (Stdout, "@ fact a/b x".into()),
        (Stdout, "@ fact empty ".into()),
        (Stdout, "@ fact epoch_ms 9223372036854775807999".into()),
        (Stdout, format!("@ fact long {}", "й".repeat(5000))),
        (Stdout, "@ fact esc \u{1b}[31mred\u{7}".into()),
    ];
    lines.extend((0..500).map(|n| (Stdout, format!("@ fact n{n} x"))));
    lines.push((Stdout, "@ end".into()));
    let lines: Vec<(Stream, &str)> = lines.iter().map(|(stream, line)| (*stream, line.as_str())).collect();
    let outcome = read(&lines, 0).result.unwrap();
    assert_eq!((outcome.changed, outcome.steps.len()), (1, 1));
    assert!(outcome.facts.len() < 100 && outcome.facts["long"].len() <= 1024);
    assert_eq!(outcome.facts["esc"], "[31mred");
    assert!(!outcome.facts.contains_key("clock_skew_ms") && !outcome.facts.contains_key("empty"));
}

#[test]
fn whole_texts_arrive_whole_or_not_at_all() {
    let piece = |bytes: &[u8]| lamplighter::base::text::base64(bytes);
    let mut lines: Vec<(Stream, String)> = vec![
        (Stdout, format!("@ text live {}", piece("первая\n".as_bytes()))),
        (
            Stdout,
            format!("@ text live {}", piece(format!("{NONCE} end\n").as_bytes())),
        ),
        (Stdout, "@ text empty ".into()),
        (Stdout, format!("@ text bad {}", piece(b"good"))),
        (Stdout, "@ text bad !!!".into()),
        (Stdout, format!("@ text bad {}", piece(b"good"))),
        (Stdout, format!("@ text UPPER {}", piece(b"x"))),
        (Stdout, format!("@ text raw {}", piece(b"\xff\x00\x1b"))),
        (Stderr, format!("@ text other {}", piece(b"x"))),
    ];
    // One that goes beyond the room for all of them: it is left out, the others stay.
    let long = "x".repeat(3000);
    lines.extend((0..100).map(|_| (Stdout, format!("@ text flood {}", piece(long.as_bytes())))));
    lines.push((Stdout, format!("@ text late {}", piece(b"late"))));
    lines.extend((0..2000).map(|n| (Stdout, format!("@ text many_{n} {}", piece(b"x")))));
    lines.push((Stdout, "@ end".into()));
    let lines: Vec<(Stream, &str)> = lines.iter().map(|(stream, line)| (*stream, line.as_str())).collect();
    let seen = read(&lines, 0);
    assert!(
        seen.told.is_empty() || seen.told.iter().all(|line| line.starts_with("Std")),
        "{:?}",
        seen.told
    );
    let texts = seen.result.unwrap().texts;
    assert_eq!(
        texts["live"],
        format!("первая\n{NONCE} end\n"),
        "a mark in a text is text"
    );
    assert_eq!(
        (&*texts["empty"], &*texts["late"], &*texts["raw"]),
        ("", "late", "\u{fffd}\0\u{1b}")
    );
    for key in ["bad", "UPPER", "other", "flood"] {
        assert!(!texts.contains_key(key), "{key}");
    }
    assert!(texts.len() <= 600 && texts.values().map(String::len).sum::<usize>() <= 256 * 1024);
}

#[test]
fn a_failure_tells_how_the_way_back_went() {
    let seen = read(
        &[
            (Stdout, "@ step nginx_test running"),
            (Stdout, "@ fail nginx_red It is faulty."),
            (Stdout, "@ step nginx_test failed"),
            (Stdout, "@ rollback Everything was put back."),
        ],
        1,
    );
    let said = seen.result.unwrap_err().say;
    assert!(
        said.starts_with("It is faulty. Everything was put back. (Step"),
        "{said}"
    );
}

#[test]
fn what_a_server_says_of_its_sites_is_read_with_care() {
    let wanted = [Wanted::default(), Wanted::default()];
    let sum = "a".repeat(64);
    let text = format!(
        "sha256 {sum}\nenabled /etc/x\u{1b}[31m\nold_sha256 zz\nold_enabled yes\nother /a\nother /b\nlineage ../x\nlacks ended\nstranger /x a.test b.test\ngoes y\nproved no\n\
         cert_not_after 1800000000\ncert_not_before 99999999999999999999\ncert_name a.test\ncert_issuer CN=x\nnonsense\ncert_new y\n"
    );
    let mut outcome = Outcome::default();
    outcome.texts.insert("site_0".into(), text);
    outcome.facts.insert("nginx_version".into(), "no version".into());
    let seen = site::seen(&outcome, &wanted);
    assert_eq!((seen.nginx, seen.sites.len()), (None, 2));
    let first = &seen.sites[0];
    assert_eq!(first.file.sha256.as_deref(), Some(&*sum));
    assert_eq!(first.file.enabled, Enabled::Foreign("/etc/x [31m".into()));
    assert_eq!((&first.old.sha256, &first.old.enabled), (&None, &Enabled::Yes));
    assert_eq!((first.others.len(), first.proved), (2, false));
    assert_eq!((&first.lineage, first.lacks.as_deref()), (&None, Some("ended")));
    assert_eq!(first.stranger, Some(("/x".into(), "a.test b.test".into())));
    assert_eq!(first.goes, [("y".into(), String::new())]);
    let certificate = first.certificate.as_ref().unwrap();
    assert_eq!(
        (certificate.not_after, certificate.not_before),
        (Some(1_800_000_000_000), None)
    );
    assert_eq!(seen.sites[1].certificate, None);

    let sums = |told: &str| {
        let mut outcome = Outcome::default();
        outcome.texts.insert("sums".into(), told.into());
        let asked = [
            Sum {
                name: "a.test",
                ..Sum::default()
            },
            Sum {
                name: "b.test",
                ..Sum::default()
            },
        ];
        site::summed(&outcome, &asked)
    };
    let told = sums(&format!("{sum} lost yes\n- - /etc/other\n")).unwrap();
    assert_eq!(told[0].file.sha256.as_deref(), Some(&*sum));
    assert_eq!(told[0].unrenewed.as_deref(), Some("lost"));
    assert_eq!(told[1].unrenewed, None);
    assert_eq!(told[1].file.enabled, Enabled::Foreign("/etc/other".into()));
    assert_eq!(
        (told[0].inside.clone(), told[1].inside.clone()),
        (None, None),
        "nobody was asked"
    );
    assert_eq!(
        sums("- - no\n").unwrap_err().code,
        "broken_off",
        "one is missing: neither is believed"
    );
    assert_eq!(sums("").unwrap_err().code, "broken_off");
}

#[test]
fn only_names_and_addresses_of_their_grammar_become_a_job() {
    let proof = Proof::new("/.well-known/lamplighter/0123456789abcdef", &"0".repeat(32)).unwrap();
    let wish = |name, email, directory| {
        let first = ("server {}\n", &proof);
        site::apply(&Apply {
            name,
            text: "server {}\n",
            proof: &proof,
            target_names: &[],
            followed: &[],
            certificate: Certificate::Acme {
                email,
                directory,
                lineage: "lamplighter-a.test",
                first,
            },
            expect: None,
            old_name: None,
            old_expect: None,
            shadow: false,
        })
        .err()
        .map(|e| e.code)
    };
    for spec in [
        "a.test",
        "a.test:0",
        "10.0.0.1:80",
        "a.test:80:0",
        "a.test:80;",
        "../a:80",
        "a.test:80:1:1",
    ] {
        let followed = [spec.to_string()];
        let wish = Apply {
            name: "app.example.com",
            text: "server {}\n",
            proof: &proof,
            target_names: &[],
            followed: &followed,
            certificate: Certificate::None,
            expect: None,
            old_name: None,
            old_expect: None,
            shadow: false,
        };
        assert!(site::apply(&wish).is_err(), "{spec}");
    }
    let url = "https://acme.example.com/dir";
    assert_eq!(wish("app.example.com", "", url), None);
    assert_eq!(wish("app.example.com", "ops+x@example.com", url), None);
    for name in ["10.0.0.1", "-a.test", "a/../b", "a b", "App.test", "a.test\n", ""] {
        assert_eq!(wish(name, "", url), Some("internal"), "{name:?}");
    }
    for email in ["--config=x@y", "a@b@c", "a b@c", "a", "a@b\n", "'@x"] {
        assert_eq!(wish("a.test", email, url), Some("bad_acme_email"), "{email:?}");
    }
    for url in ["http://acme.test", "--server", "https://a b", "https://a\n", ""] {
        assert_eq!(wish("a.test", "", url), Some("bad_acme_directory"), "{url:?}");
    }
    assert!(
        site::sums(&[Sum {
            name: "a.test,b",
            ..Sum::default()
        }])
        .is_err()
    );
    assert!(
        site::sums(&vec![
            Sum {
                name: "a.test",
                ..Sum::default()
            };
            257
        ])
        .is_err()
    );
}

#[test]
fn a_failure_says_what_where_and_what_to_do() {
    let seen = read(
        &[
            (Stdout, "@ step nginx_before running"),
            (Stdout, "@ cmd nginx -t"),
            (Stderr, "noise from before"),
            (Stderr, "@"),
            (
                Stderr,
                "nginx: [emerg] unknown directive \"lisen\" in /etc/nginx/sites-enabled/x:3",
            ),
            (Stderr, "nginx: configuration file /etc/nginx/nginx.conf test failed"),
            (Stdout, "@ rc 1"),
            (Stdout, "@ fail nginx_red It was already faulty."),
            (Stdout, "@ fail step_failed A second word does not count."),
            (Stdout, "@ step nginx_before failed"),
        ],
        1,
    );
    let e = seen.result.unwrap_err();
    assert_eq!((e.code, e.kind), ("nginx_red", Kind::Conflict));
    assert!(e.say.starts_with("It was already faulty. The server said: “nginx: [emerg] unknown directive \"lisen\" in /etc/nginx/sites-enabled/x:3”. (Step “nginx configuration as found”.) Repair"), "{}", e.say);
    assert!(
        e.log.contains("nginx -t") && e.log.contains("test failed") && !e.log.contains("noise"),
        "{}",
        e.log
    );
    assert_eq!(seen.told.last().unwrap(), "2/11 nginx_before Failed 90");
}

#[test]
fn what_a_program_says_in_any_case_is_no_reason_and_a_wrong_clock_is_told_where_it_matters() {
    let said = |fail: &str, theirs: i64| {
        let (fail, time) = (format!("@ fail {fail} It failed."), format!("@ time {theirs}"));
        let lines = [
            (Stdout, "@ cmd certbot certonly"),
            (Stderr, "@"),
            (Stderr, "Saving debug log to /var/log/letsencrypt/letsencrypt.log"),
            (Stderr, "The hook ended with code 7"),
            (Stderr, "- - - - - - - - - - - - - - - - - - - -"),
            (Stderr, "If you like Certbot, please consider supporting our work by:"),
            (
                Stderr,
                " * Donating to EFF:                    https://eff.org/donate-le",
            ),
            (Stderr, ""),
            (Stdout, "@ rc 1"),
            (Stdout, &fail),
            (Stdout, &time),
        ];
        read(&lines, 1).result.unwrap_err().say
    };
    const HOUR: i64 = 3_600_000;
    let plain = said("acme_failed", 1_000_000 + HOUR / 15);
    assert!(
        plain.starts_with("It failed. The server said: “The hook ended with code 7”. /var/log"),
        "{plain}"
    );
    let ahead = said("acme_untrusted", 1_000_000 + 50 * HOUR);
    assert!(
        ahead.contains("The server’s clock is 2 days ahead of this machine’s."),
        "{ahead}"
    );
    let behind = said("site_not_served", 1_000_000 - 3 * HOUR);
    assert!(behind.contains("is 3 hours behind this machine’s."), "{behind}");
    assert!(
        !said("port_taken", 50 * HOUR).contains("clock"),
        "it decides nothing there"
    );
}

#[test]
fn a_general_failure_is_made_sharper_by_what_the_server_said() {
    let code = |fail: &str, said: &str| {
        let fail = format!("@ fail {fail} Sentence.");
        read(
            &[
                (Stdout, "@ cmd x"),
                (Stderr, "@"),
                (Stderr, said),
                (Stdout, "@ rc 100"),
                (Stdout, &fail),
            ],
            1,
        )
        .result
        .unwrap_err()
        .code
    };
    assert_eq!(
        code(
            "apt_failed",
            "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7"
        ),
        "dpkg_locked"
    );
    assert_eq!(
        code(
            "apt_failed",
            "E: You don't have enough free space in /var/cache/apt/archives/."
        ),
        "disk_full"
    );
    assert_eq!(
        code("write_failed", "cat: write error: No space left on device"),
        "disk_full"
    );
    assert_eq!(
        code(
            "nginx_not_running",
            "bind() to 0.0.0.0:80 failed (98: Address already in use)"
        ),
        "port_taken"
    );
    assert_eq!(
        code("apt_failed", "E: Sub-process returned an error code"),
        "apt_failed"
    );
    assert_eq!(
        code("nginx_red", "No space left on device"),
        "nginx_red",
        "a sharp code stays"
    );
    assert_eq!(code("made_up_code", "x"), "step_failed");
}

#[test]
fn a_job_that_broke_off_is_not_taken_for_done() {
    let lines = [
        (Stdout, "@ step nginx_package running"),
        (Stdout, "@ cmd apt-get install nginx"),
    ];
    assert_eq!(read(&lines, 0).result.unwrap_err().code, "broken_off");
    assert_eq!(read(&lines, 143).result.unwrap_err().code, "broken_off");
    assert_eq!(read(&[(Stdout, "@ end")], 1).result.unwrap_err().code, "step_failed");
    let e = read(&[(Stdout, "@ cmd false it"), (Stdout, "@ rc 1")], 1)
        .result
        .unwrap_err();
    assert!(e.say.starts_with("“false it” ended with code 1."), "{}", e.say);
}
