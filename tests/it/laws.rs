//! Rules of the project that the compiler does not check, by the text of the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn sources() -> Vec<(PathBuf, String)> {
    let out = below("src");
    assert!(out.len() > 40, "the sources were not found");
    out
}

/// The Rust files of a folder of the project, with their text.
fn below(folder: &str) -> Vec<(PathBuf, String)> {
    files(folder, ".rs")
}

/// The files of a folder of the project whose names end so, with their text.
fn files(folder: &str, end: &str) -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, end: &str, out: &mut Vec<(PathBuf, String)>) {
        let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                walk(&path, end, out);
            } else if path.to_string_lossy().ends_with(end) {
                let text = fs::read_to_string(&path).unwrap();
                out.push((path, text));
            }
        }
    }
    let mut out = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), end, &mut out);
    out
}

fn short(path: &Path) -> String {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    path.strip_prefix(src).unwrap().to_string_lossy().into_owned()
}

/// Code without comments, so that a word in prose breaks no law.
fn code(text: &str) -> String {
    text.lines()
        .map(|l| l.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// `ssh/keys.rs` → [`ssh`, `keys`]; `ssh/mod.rs` → [`ssh`]; `lib.rs` and `main.rs` → [].
fn module_of(file: &str) -> Vec<String> {
    let mut parts: Vec<String> = file.trim_end_matches(".rs").split('/').map(String::from).collect();
    if parts.last().is_some_and(|p| p == "mod" || p == "lib" || p == "main") {
        parts.pop();
    }
    parts
}

/// All `crate::…` and `super::…` paths of a source, groups spread out, as paths from the crate's root.
fn paths(module: &[String], is_mod: bool, code: &str) -> Vec<Vec<String>> {
    let mut out = Vec::new();
    for (root, keyword) in [(Vec::new(), "crate::"), (parent(module, is_mod), "super::")] {
        for (at, _) in code.match_indices(keyword) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            spread(&code[at + keyword.len()..], root.clone(), &mut out);
        }
    }
    out
}

fn parent(module: &[String], _is_mod: bool) -> Vec<String> {
    module[..module.len().saturating_sub(1)].to_vec()
}

/// Reads one path, or a `{…}` group of them, from the start of `text`; returns how much was read.
fn spread(text: &str, prefix: Vec<String>, out: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix;
    let mut at = 0;
    loop {
        let rest = &text[at..];
        if let Some(group) = rest.strip_prefix('{') {
            at += 1;
            let mut inner = 0;
            loop {
                let skip = group[inner..]
                    .find(|c: char| !c.is_whitespace() && c != ',')
                    .unwrap_or(0);
                inner += skip;
                if group[inner..].is_empty() || group[inner..].starts_with('}') {
                    return at + inner + 1;
                }
                let read = spread(&group[inner..], path.clone(), out);
                inner += read.max(1);
            }
        }
        let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        at += word.len();
        if word == "super" {
            path.pop();
        } else if !word.is_empty() && word != "self" {
            path.push(word);
        }
        match text[at..].strip_prefix("::") {
            Some(_) => at += 2,
            None => {
                out.push(path);
                return at;
            }
        }
    }
}

/// The children of each module in the order of their `mod` lines.
fn orders(sources: &[(PathBuf, String)]) -> BTreeMap<Vec<String>, Vec<String>> {
    let mut out = BTreeMap::new();
    for (path, text) in sources {
        let children: Vec<String> = code(text)
            .lines()
            .filter_map(|l| {
                let l = l.trim();
                let l = l
                    .strip_prefix("pub ")
                    .or_else(|| l.strip_prefix("pub(super) "))
                    .unwrap_or(l);
                Some(l.strip_prefix("mod ")?.strip_suffix(';')?.to_string())
            })
            .collect();
        if !children.is_empty() {
            out.insert(module_of(&short(path)), children);
        }
    }
    out
}

#[test]
fn a_module_uses_only_modules_declared_above_it() {
    let sources = sources();
    let orders = orders(&sources);
    let mut broken = Vec::new();
    for (path, text) in &sources {
        let file = short(path);
        if file == "main.rs" {
            continue;
        }
        let module = module_of(&file);
        for target in paths(&module, file.ends_with("mod.rs"), &code(text)) {
            // The first place where the two ways part decides.
            let common = module.iter().zip(&target).take_while(|(a, b)| a == b).count();
            let (Some(mine), Some(theirs)) = (module.get(common), target.get(common)) else {
                continue;
            };
            let Some(order) = orders.get(&module[..common]) else {
                continue;
            };
            let place = |name: &String| order.iter().position(|n| n == name);
            if let (Some(mine_at), Some(theirs_at)) = (place(mine), place(theirs))
                && theirs_at > mine_at
            {
                broken.push(format!(
                    "{file} uses {} which is declared below {mine}",
                    target.join("::")
                ));
            }
        }
    }
    broken.sort();
    broken.dedup();
    assert!(broken.is_empty(), "the import law is broken:\n{}", broken.join("\n"));
}

#[test]
fn a_feature_is_entered_by_its_door() {
    // `mod.rs` says what others may call; whatever lies behind it is private.
    let open: Vec<_> = sources()
        .iter()
        .filter(|(path, _)| {
            let parts = module_of(&short(path));
            parts.len() == 3 && parts[0] == "features" && path.ends_with("mod.rs")
        })
        .flat_map(|(path, text)| {
            let code = code(text);
            let open = code.lines().filter(|l| l.starts_with("pub mod ") && l.ends_with(';'));
            open.map(|l| format!("{}: {l}", short(path))).collect::<Vec<_>>()
        })
        .collect();
    assert!(open.is_empty(), "open behind their doors:\n{}", open.join("\n"));
}

/// Words of before, and what is said instead (`src/manual/glossary.md`): names of types, modules and functions.
const OLD_WORDS: &[(&str, &str)] = &[
    ("Seats", "ConnectionSlots"),
    ("SEATS", "SESSIONS_PER_MASTER"),
    ("Heard", "Input"),
    ("Pull", "JsonReader"),
    ("to_push", "for_write"),
    ("to_read", "for_read"),
    ("OwnNet", "Uplink"),
    ("Watching", "a service"),
    ("Doing", "PollStats"),
    ("Measured", "Reading"),
    ("Beat", "JobRun"),
    ("Hanging", "Dependents"),
    ("Wish", "DesiredState"),
    ("twice_ok", "idempotent"),
    ("ROOMS", "BUFFERS"),
    ("told_duplicate", "on_unique_violation"),
    ("Halves", "ProcessMode"),
    ("Manner", "ServerBehaviour"),
    ("Rooms", "Processes"),
    ("Room", "Reserve"),
    ("Talk", "Conversation"),
    ("Places", "ClassLimits"),
    ("Faults", "FileErrors"),
    ("LampRow", "StateRow"),
    ("Mute", "NoAnswer"),
    ("ShownBeat", "ShownRun"),
    ("all_judged", "company_known"),
    ("forget_told", "forget_notified"),
    ("glances_way", "glances_source"),
    ("look_before", "check_domain"),
    ("look_now", "check_now"),
    ("second_look", "until_recheck"),
    ("set_told", "set_last_notified"),
    ("tell_log", "log_change"),
    ("tell_work", "emit_work_ended"),
    ("told_of", "recipients_since"),
];

#[test]
fn things_are_called_by_the_words_of_the_glossary() {
    let mut said = BTreeSet::new();
    for (path, text) in sources().into_iter().chain(below("tests")) {
        if path.ends_with("laws.rs") {
            continue;
        }
        for word in code(&text).split(|c: char| !(c.is_alphanumeric() || c == '_')) {
            if let Some((_, now)) = OLD_WORDS.iter().find(|(old, _)| *old == word) {
                said.insert(format!("{}: {word}, say {now}", path.display()));
            }
        }
    }
    assert!(said.is_empty(), "old words:\n{said:#?}");
}

#[test]
fn what_the_manual_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = vec![root.join("README.md")];
    texts.extend(
        fs::read_dir(root.join("src/manual"))
            .unwrap()
            .map(|e| e.unwrap().path()),
    );
    let is_file = |name: &&str| {
        let ends = [".rs", ".sh", ".sql", ".html", ".js", ".css", ".md"]
            .iter()
            .any(|end| name.ends_with(end));
        name.contains('/') && ends && !name.contains(['<', '*', ' ', '{']) && !name.contains("NNNN")
    };
    let mut gone = BTreeSet::new();
    for text in texts {
        let words = fs::read_to_string(&text).unwrap();
        for name in words.split('`').skip(1).step_by(2).filter(is_file) {
            if !root.join(name).exists() && !root.join("src").join(name).exists() {
                gone.insert(format!("{}: {name}", text.display()));
            }
        }
    }
    assert!(gone.is_empty(), "named and not there:\n{gone:#?}");
}

#[test]
fn each_promise_of_the_manual_is_held_by_a_test_that_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("src/manual/security.md")).unwrap();
    let (_, promises) = text.split_once("| promise | held by |").unwrap();
    let rows = promises.lines().skip(2).take_while(|line| line.starts_with('|'));
    let (mut seen, mut wrong) = (0, Vec::new());
    for row in rows {
        seen += 1;
        let (promise, held_by) = row.trim_matches('|').split_once('|').unwrap();
        let tests: Vec<_> = held_by.split('`').skip(1).step_by(2).collect();
        if tests.is_empty() {
            wrong.push(format!("no test: {promise}"));
        }
        for test in tests {
            let (module, name) = test.split_once("::").unwrap_or((test, ""));
            let folder = if module.contains('/') { "tests" } else { "tests/it" };
            let code = fs::read_to_string(root.join(folder).join(module).with_extension("rs")).unwrap_or_default();
            let head = code.split_once(&format!("\nfn {name}(")).map(|(before, _)| before);
            // Between `#[test]` and the function stand attributes only.
            let is_test = head.is_some_and(|before| {
                let mut lines = before.lines().rev().take_while(|line| line.starts_with("#["));
                lines.any(|line| line == "#[test]")
            });
            if !is_test {
                wrong.push(format!("there is no test {test}: {promise}"));
            }
        }
    }
    assert!(seen > 20, "{seen}: the promises were not found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn some_words_live_in_one_place_only() {
    type Place = fn(&str) -> bool;
    let laws: &[(&str, Place)] = &[
        ("rusqlite", |f| f.starts_with("db/") || f.ends_with("queries.rs")),
        ("Command::new", |f| f == "base/process.rs"),
        ("SystemTime", |f| f == "base/clock.rs"),
        ("Instant::now", |f| f == "base/clock.rs"),
        ("minijinja", |f| f.starts_with("http/view/")),
        // Machines and other files of a feature give values; what a person sees of them is made in its pages.
        ("http::view", |f| {
            f.ends_with("pages.rs")
                || f.contains("/pages/")
                || f.starts_with("http/")
                || f == "daemon/run.rs"
                || f == "cli/offline.rs" // the API without a daemon
        }),
        ("domain::base", |f| f.starts_with("net/dns/")),
        ("domain::rdata", |f| f.starts_with("net/dns/")),
        ("ureq::", |f| f.starts_with("net/") || f.starts_with("cli/")),
        ("tiny_http::", |f| f.starts_with("http/")),
        ("unsafe ", |f| f == "base/sys.rs"),
        ("allow(unsafe_code)", |_| false),
        ("eprintln!", |f| {
            f == "daemon/mod.rs" || f == "features/house/users/commands.rs"
        }),
        ("println!", |f| {
            f == "daemon/mod.rs" || f == "features/house/users/commands.rs"
        }),
        // Who has changed something is told by a proof that they may: `Allowed`, or by who is signing in.
        ("By::ours", |f| f.starts_with("audit/") || f == "access/allowed.rs"),
        ("by_cli()", |f| f == "access/allowed.rs" || f.ends_with("commands.rs")),
        ("todo!", |_| false),
        ("unimplemented!", |_| false),
        ("dbg!", |_| false),
    ];
    let mut broken = Vec::new();
    for (path, text) in &sources() {
        let file = short(path);
        let code = code(text);
        for (word, place) in laws {
            if code.contains(word) && !place(&file) {
                broken.push(format!("{file} says {word}"));
            }
        }
    }
    assert!(broken.is_empty(), "words out of place:\n{}", broken.join("\n"));
}

/// The functions of a source that others may call: head and body, as text.
fn public_functions(code: &str) -> Vec<(&str, &str)> {
    let starts: Vec<_> = (code.match_indices("fn "))
        .filter(|(at, _)| {
            code[code[..*at].rfind('\n').map_or(0, |n| n + 1)..*at]
                .trim_start()
                .starts_with("pub")
        })
        .map(|(at, _)| at)
        .collect();
    let functions = starts.iter().filter_map(|&at| {
        let head = code[at..].find('{')?;
        let indent = at - code[..at].rfind('\n').map_or(0, |n| n + 1);
        let indent = &code[at - indent..][..indent - code[at - indent..at].trim_start().len()];
        let body = code[at + head..].find(&format!("\n{indent}}}"))?;
        Some((&code[at..at + head], &code[at + head..at + head + body]))
    });
    functions.collect()
}

#[test]
fn what_a_person_changes_is_changed_by_proof_that_they_may() {
    let (mut broken, mut seen) = (Vec::new(), 0);
    for (path, text) in sources()
        .iter()
        .filter(|(path, _)| short(path).starts_with("features/"))
    {
        let code = code(text);
        for (head, body) in public_functions(&code) {
            let body: String = body.split_whitespace().collect();
            let is_told =
                body.contains("audit::append") || body.contains("audit::change(") || body.contains("note(app,tx,by");
            if head.contains("&Tx") && is_told {
                seen += 1;
                if !head.contains("Allowed<") && !head.contains("OwnSignIn") {
                    broken.push(format!("{}: {}", short(path), head.lines().next().unwrap_or_default()));
                }
            }
        }
    }
    assert!(seen > 15, "{seen}: the functions were not found");
    assert!(
        broken.is_empty(),
        "changes without Allowed<…> or OwnSignIn:\n{}",
        broken.join("\n")
    );
}

#[test]
fn every_module_opens_with_its_promise() {
    let silent: Vec<_> = sources()
        .iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| short(path))
        .collect();
    assert!(silent.is_empty(), "no //! at the top of: {silent:?}");
}

/// What a browser gets: templates, scripts and styles, with their text.
fn front() -> Vec<(String, String)> {
    fn walk(dir: &Path, out: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, out);
            } else {
                let file = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
                out.push((file.to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut out = Vec::new();
    for folder in ["templates", "static"] {
        walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut out);
    }
    assert!(out.len() > 40, "the front was not found");
    out
}

#[test]
fn templates_never_switch_escaping_off() {
    let mut broken = Vec::new();
    for (file, text) in front().iter().filter(|(file, _)| file.ends_with(".html")) {
        for word in [
            "|safe",
            "| safe",
            "autoescape",
            "<script>",
            " style=",
            "onclick=",
            "onload=",
            "javascript:",
        ] {
            if text.contains(word) {
                broken.push(format!("{file}: {word}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_front_is_written_in_lines_that_can_be_read() {
    let mut broken = Vec::new();
    for (file, text) in front().iter().filter(|(file, _)| !file.ends_with(".svg")) {
        for (number, line) in text.lines().enumerate().filter(|(_, l)| l.chars().count() > 140) {
            broken.push(format!("{file}:{}: {} characters", number + 1, line.chars().count()));
        }
    }
    assert!(broken.is_empty(), "longer than 140 characters:\n{}", broken.join("\n"));
}

#[test]
fn templates_ask_for_a_right_and_not_for_a_role() {
    let asks = |(file, text): &(String, String)| {
        let words = ["role ==", "role !=", "role in", "role is"];
        (file.ends_with(".html") && words.iter().any(|word| text.contains(word))).then(|| file.clone())
    };
    let broken: Vec<_> = front().iter().filter_map(asks).collect();
    assert!(broken.is_empty(), "say `can.edit_settings` or the like: {broken:?}");
}

/// Scripts and styles find a cell by its `data-` name or class: a column more must not make them mean another.
#[test]
fn no_column_of_a_table_is_addressed_by_its_number() {
    let mut broken = Vec::new();
    for (file, text) in front() {
        for line in text.lines() {
            let by_number = ["cells[", ".cellIndex"].iter().any(|word| line.contains(word));
            let mut selectors = line.split('{').next().unwrap_or_default().split(',');
            let by_style = file.ends_with(".css")
                && selectors.any(|selector| {
                    let mut words = selector.split(|c: char| !c.is_alphanumeric() && c != '-');
                    selector.contains(":nth-") && words.any(|word| ["td", "th", "col"].contains(&word))
                });
            if by_number || by_style {
                broken.push(format!("{file}: {}", line.trim()));
            }
        }
    }
    assert!(broken.is_empty(), "a column by its number:\n{}", broken.join("\n"));
}

#[test]
fn scripts_for_servers_are_constants() {
    // A value reaches a script only through base::shell; nobody else quotes for a shell.
    let broken: Vec<_> = sources()
        .iter()
        .filter(|(path, text)| code(text).contains(r"'\\''") && short(path) != "base/shell.rs")
        .map(|(path, _)| short(path))
        .collect();
    assert!(broken.is_empty(), "own quoting in {broken:?}");
}

#[test]
fn only_the_crates_of_the_design_card_are_used() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let section = manifest
        .split("[dependencies]")
        .nth(1)
        .unwrap()
        .split("\n[")
        .next()
        .unwrap();
    let mut crates: Vec<_> = section
        .lines()
        .filter_map(|l| l.split_once('='))
        .map(|(name, _)| name.trim())
        .collect();
    crates.retain(|name| !name.starts_with('#'));
    crates.sort_unstable();
    let card = [
        "domain",
        "lexopt",
        "libc",
        "minijinja",
        "ring",
        "rusqlite",
        "rustls",
        "serde",
        "serde_json",
        "tiny_http",
        "ureq",
    ];
    assert_eq!(crates, card);
}

/// What a call's second argument is, when it is a literal.
fn second_literal(arguments: &str) -> Option<&str> {
    let mut depth = 0;
    let comma = arguments.find(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0 || depth < 0
    })?;
    let (literal, _) = arguments[comma + 1..].trim_start().strip_prefix('"')?.split_once('"')?;
    Some(literal)
}

#[test]
fn what_a_person_is_refused_has_words_and_advice() {
    const KINDS: [&str; 8] = [
        "NotFound",
        "Conflict",
        "Forbidden",
        "Unauthorized",
        "TooMany",
        "Busy",
        "Timeout",
        "Method",
    ];
    let texts: Vec<String> = files("src", "words.txt").into_iter().map(|(_, text)| text).collect();
    let words: BTreeSet<&str> = texts.iter().flat_map(|text| text.lines()).collect();
    let mut missing = BTreeSet::new();
    for (path, text) in &sources() {
        let file = short(path);
        // Those talk to a terminal.
        if ["cli/", "daemon/"].iter().any(|room| file.starts_with(room)) || file.ends_with("commands.rs") {
            continue;
        }
        let code = code(text);
        for arguments in code.split("Error::new(").skip(1) {
            let kind = arguments.trim_start().split_once("::").map_or("", |(_, rest)| rest);
            if !KINDS.iter().any(|k| kind.starts_with(k)) {
                continue;
            }
            let Some(name) = second_literal(arguments) else {
                continue;
            };
            for key in [format!("err.{name}"), format!("err.{name}.do")] {
                if !words.contains(key.as_str()) {
                    missing.insert(format!("{file}: {key}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "no words for:\n{missing:#?}");
}

#[test]
fn what_an_alert_is_called_knows_the_name_of_what_it_is_about_and_nothing_else() {
    let kinds = lamplighter::daemon::FEATURES.iter().flat_map(|feature| feature.kinds);
    let told: BTreeSet<String> = kinds
        .flat_map(|kind| ["alert", "event", "over"].map(|when| format!("{when}.{}", kind.name)))
        .collect();
    let mut wrong = Vec::new();
    for (_, text) in files("src", "words.txt") {
        for entry in text.split("\n\n") {
            let mut lines = entry.trim().lines();
            let Some(id) = lines.next().filter(|id| told.contains(*id)) else {
                continue;
            };
            let rest = lines.map(|line| line.replace("{name}", ""));
            wrong.extend(
                rest.filter(|line| line.contains('{'))
                    .map(|line| format!("{id} {line}")),
            );
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn the_words_of_every_feature_are_declared_by_it() {
    let mut there: Vec<String> = files("src", "words.txt").into_iter().map(|(_, text)| text).collect();
    let features = lamplighter::daemon::FEATURES.iter().map(|feature| feature.words);
    let mut joined: Vec<String> = features.filter(|text| !text.is_empty()).map(String::from).collect();
    joined.push(lamplighter::lang::words::OWN.into());
    there.sort_unstable();
    joined.sort_unstable();
    assert!(
        there == joined,
        "a words.txt is not declared, or twice: {} files, {} joined",
        there.len(),
        joined.len()
    );
}

/// Sleeps of a second and more in tests: the file, how many, and why nothing shorter would do.
const LONG_SLEEPS: &[(&str, usize, &str)] = &[
    ("tests/it/auth.rs", 1, "the grace of a refresh token is ten seconds"),
    (
        "tests/it/containers.rs",
        2,
        "what happens every second; nothing may be stored meanwhile: that is what is looked at",
    ),
    (
        "tests/it/exporter.rs",
        2,
        "an outage longer than two pushes; an engine that never answers",
    ),
    (
        "tests/it/metrics.rs",
        5,
        "peers that never answer; rounds of polls are counted over ten seconds",
    ),
    ("tests/it/net.rs", 1, "a peer that never answers"),
    (
        "tests/it/proofs.rs",
        3,
        "a Glances that never answers; threads are missed for a while; rounds of a minute under another clock",
    ),
    ("tests/it/sitewatch.rs", 1, "a web server that never answers"),
    (
        "tests/it/workloads.rs",
        2,
        "what was said before a rule is not counted; nothing is restarted in two lists",
    ),
    ("tests/it/ssh.rs", 1, "children of other tests may be ending just now"),
    (
        "tests/lab/airgap.rs",
        1,
        "nothing may happen meanwhile: that is what is counted",
    ),
    (
        "tests/lab/containers.rs",
        2,
        "links are cut and daemons die in the middle of what is written; an alert that must not come",
    ),
    ("tests/lab/glances.rs", 1, "Glances measures at most every two seconds"),
    (
        "tests/lab/own_network.rs",
        2,
        "silence must last longer than three rounds of polls with their deadlines",
    ),
    ("tests/lab/provision.rs", 1, "file times are whole seconds"),
    ("tests/lab/push.rs", 1, "an outage longer than two pushes"),
    (
        "tests/lab/secrets.rs",
        1,
        "a link is cut in the middle of a rotation for a while",
    ),
    (
        "tests/lab/services.rs",
        6,
        "nobody starts what was given up or stopped: that is what is looked at; lines must come while nobody reads them",
    ),
    (
        "tests/lab/ssh.rs",
        1,
        "the server's own clock ends the command after ten seconds",
    ),
];

#[test]
fn a_test_that_sleeps_long_says_why() {
    let long = |line: &&str| {
        let Some((_, rest)) = line.split_once("sleep(") else {
            return false;
        };
        let number = |unit: &str| {
            let digits = rest.split_once(unit)?.1.split(')').next()?;
            digits.replace('_', "").parse::<u64>().ok()
        };
        number("from_secs(").is_some_and(|s| s >= 1) || number("from_millis(").is_some_and(|ms| ms > 1_000)
    };
    let mut seen = BTreeMap::new();
    for (path, text) in below("tests") {
        let count = text.lines().filter(long).count();
        if count > 0 {
            let file = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
            seen.insert(file.to_string_lossy().into_owned(), count);
        }
    }
    seen.retain(|file, _| !file.starts_with("tests/bench/"));
    let listed: BTreeMap<_, _> = LONG_SLEEPS
        .iter()
        .map(|(file, n, _)| ((*file).to_string(), *n))
        .collect();
    assert_eq!(
        seen, listed,
        "wait for what happens with `eventually`, or say in LONG_SLEEPS why time must pass"
    );
}

#[test]
fn every_migration_is_run() {
    let named = lamplighter::db::schema::STATE
        .iter()
        .chain(lamplighter::db::schema::METRICS)
        .chain(lamplighter::db::schema::JOURNAL);
    let named: BTreeSet<String> = named.map(|step| step.name.to_string()).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let mut there = BTreeSet::new();
    for (folder, prefix) in [
        (folder.clone(), ""),
        (folder.join("metrics"), "metrics/"),
        (folder.join("journal"), "journal/"),
    ] {
        for entry in fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.starts_with(|c: char| c.is_ascii_digit()) {
                there.insert(format!("{prefix}{name}"));
            }
        }
    }
    assert_eq!(there, named, "a file of sql/ needs its row in src/db/schema.rs");
}
