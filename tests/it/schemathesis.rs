//! The API against its own description: schemathesis (a Python program, for development only) makes up requests that the
//! OpenAPI document allows, and such as it forbids, and looks whether each answer is one that the document declares.
//! `tests/run` installs it and says where it is by `LAMPLIGHTER_SCHEMATHESIS`; `LAMPLIGHTER_ROUNDS` makes it more.

use crate::common::*;
use serde_json::{Value, json};
use std::process::{Command, Stdio};

/// What it must not ask, each with the reason; beside what never ends ([`endless`]).
const LEFT_OUT: &[(&str, &str)] = &[
    ("/api/auth/logout", "ends the session that it asks by; tests/it/auth.rs"),
    (
        "/api/admin/settings",
        "puts the house into maintenance, where nothing else is changed; tests/it/admin.rs",
    ),
    (
        "/api/plugins",
        "a plugin is asked at an address that is made up, by other routes, too; tests/it/admin.rs",
    ),
    (
        "/api/hosts/{id}/status-check",
        "waits four seconds for a host that is not there; tests/it/hosts.rs",
    ),
    (
        "/api/tasks/{id}/logs",
        "waits when asked to, and nothing works here; tests/it/tasks.rs",
    ),
    ("/api/domains/verify-dns", "asks name servers; tests/it/nswatch.rs"),
    ("/api/domains/{id}/verify-dns", "asks name servers; tests/it/nswatch.rs"),
    (
        "/api/domains/{id}/plan",
        "looks at servers over ssh; tests/lab/domains.rs",
    ),
    ("/api/domains/{id}/answers/check", "asks sites; tests/it/sitewatch.rs"),
    (
        "/api/domains/{id}/certificate/check",
        "asks sites; tests/it/certwatch.rs",
    ),
    (
        "/api/notifications/{id}/test",
        "sends messages; tests/it/notifications.rs",
    ),
    ("/api/servers/{id}/probe-glances", "asks servers; tests/it/metrics.rs"),
    (
        "/health/scheduler",
        "says 503, as no scheduler runs here; tests/it/health.rs",
    ),
];

/// Addresses that answer by a stream of events and nothing else. Their stories are each feature's own.
fn endless(house: &House) -> Vec<String> {
    let told = house.client().get("/openapi.json").is(200);
    let only_streams = |path: &Value| {
        let content = path["get"]["responses"]["200"]["content"].as_object();
        content.is_some_and(|types| types.keys().eq(["text/event-stream"]))
    };
    let paths = told["paths"].as_object().unwrap().iter();
    let found: Vec<String> = paths
        .filter(|(_, path)| only_streams(path))
        .map(|(name, _)| name.clone())
        .collect();
    assert!(found.iter().any(|path| path == "/api/events/stream"), "{found:?}");
    found
}

/// Not among the checks: that everything allowed is accepted (what a host or a domain is, the document says in words), and
/// that each other method is refused by 405 (a body where none is taken comes first; tests/it/guard.rs asks all of them).
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
    response_schema_conformance,negative_data_rejection,ignored_auth,allow_header_conformance,use_after_free";

/// How to ask: methods that this server knows, and numbers of things that are there beside made-up ones.
const CONFIG: &str = r#"
[phases.coverage]
unexpected-methods = ["DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT"]
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 409, 413, 414, 422, 429]
"#;

/// Of each kind one, so that not everything is a 404.
fn furnish(house: &House) {
    let admin = house.admin();
    admin
        .put("/api/settings", &json!({ "rate.api": 0, "rate.signed_in": 0 }))
        .is(200); // it asks faster than people
    let make = |path: &str, body: serde_json::Value| admin.post(path, &body).is(201)["id"].as_i64().unwrap();
    let server = make("/api/servers", server("one", 22));
    let group = make("/api/groups", json!({ "name": "shops" }));
    let upstream = make("/api/upstreams", json!({ "name": "app", "targets": ["192.0.2.8:80"] }));
    let domain = json!({ "domain": "a.example", "group_id": group, "upstream_id": upstream, "server_ids": [server] });
    make("/api/domains", domain);
    make(
        "/api/silences",
        json!({ "server_id": server, "hours": 2, "reason": "Work" }),
    );
    let hook = json!({ "type": "webhook", "name": "hook", "url": "https://hook.example/x" });
    make("/api/notifications", hook);
}

/// Runs it by this token; says what it has found, if anything.
fn hunt(
    house: &House,
    program: &str,
    token: &str,
    (phases, examples): (&str, u64),
    seed: u64,
) -> Result<String, String> {
    let folder = Folder::new();
    let config = folder.file("schemathesis.toml", CONFIG);
    let mut command = Command::new(program);
    command.args(["--no-color", "--config-file"]).arg(config).arg("run");
    command.arg(format!("http://{}/openapi.json", house.address));
    command.args([
        "--header",
        &format!("Authorization: Bearer {token}"),
        "--checks",
        CHECKS,
    ]);
    command.args(["--phases", phases, "--continue-on-failure", "--warnings", "off"]);
    command.args([
        "--suppress-health-check",
        "all",
        "--request-timeout",
        "20",
        "--workers",
        "1", // with more, CPython 3.11 now and then fails in `ast.parse` ("recursion depth mismatch")
    ]);
    command.args(["--max-examples", &examples.to_string(), "--seed", &seed.to_string()]);
    let left_out = LEFT_OUT.iter().map(|(path, _)| path.to_string());
    for path in left_out.chain(endless(house)) {
        command.args(["--exclude-path", &path]);
    }
    let done = command
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("{program} does not start: {e}"))?;
    let said = said(&done);
    if done.status.success() { Ok(said) } else { Err(said) }
}

/// The lines that say how much was asked.
fn summary(said: &str) -> String {
    let from = said.find("API Operations:").unwrap_or(0);
    said[from..].to_string()
}

#[test]
#[ignore = "schemathesis: a program from PyPI, see tests/run"]
fn what_the_description_allows_or_forbids_never_makes_the_api_fail() {
    let program = std::env::var("LAMPLIGHTER_SCHEMATHESIS").expect("tests/run says where schemathesis is");
    let seed = std::env::var("LAMPLIGHTER_SEED").map_or(7, |seed| seed.parse().expect("a number"));
    let house = House::with(Processes::ApiOnly, &[]);
    furnish(&house);
    let rounds = rounds(1) as u64;
    // The borders of every declaration once; what somebody may not do answers soon.
    // Both sign in first: the refused sign-ins among the requests make later ones wait.
    let asked = [
        ("admin", house.admin(), ("examples,coverage,fuzzing", 4 * rounds)),
        ("viewer", house.somebody("viewer"), ("examples,fuzzing", 3 * rounds)),
    ];
    for (role, client, how) in asked {
        let Who::Bearer(token) = client.who() else {
            panic!("no token")
        };
        match hunt(&house, &program, token, how, seed) {
            Ok(said) => println!("{role}\n{}", summary(&said)),
            Err(said) => panic!("as {role}:\n{said}"),
        }
    }
}

#[test]
fn what_is_left_out_is_there_and_says_where_else_it_is_tested() {
    let told = House::with(Processes::ApiOnly, &[])
        .client()
        .get("/openapi.json")
        .is(200);
    for (path, reason) in LEFT_OUT {
        assert!(told["paths"].get(*path).is_some(), "{path} is no address of the API");
        let file = reason.split("; ").nth(1).unwrap();
        let there = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        assert!(there.is_file(), "{path}: {file} is not there");
    }
}

#[test]
#[ignore = "schemathesis: a program from PyPI, see tests/run"]
fn another_program_finds_the_description_valid() {
    let program = std::env::var("LAMPLIGHTER_SPEC_VALIDATOR").expect("tests/run says where openapi-spec-validator is");
    let document = House::with(Processes::ApiOnly, &[])
        .client()
        .get("/openapi.json")
        .is(200);
    let folder = Folder::new();
    let file = folder.file("openapi.json", document.to_string());
    let done = Command::new(program).arg(&file).stdin(Stdio::null()).output().unwrap();
    assert!(done.status.success(), "{}", said(&done));
}
