//! A compose-like project of four containers on two servers with real engines: one with a terminal, one that logs JSON, one
//! that crashes, one that is unhealthy. Needs the lab (`tests/lab`), hosts h4 and h5.

use crate::common;
use crate::containers::lab;

use common::lab::on;
use common::*;
use serde_json::json;
use std::time::Duration;

const LABELS: &str = "--label com.docker.compose.project=shop --network host";

#[test]
#[ignore = "lab: h4 h5"]
fn a_project_is_read_live_falls_and_is_made_anew() {
    let lab = lab();
    let admin = lab.house.admin();
    let mut live = admin.stream("/api/log-search/stream?project=shop", None);
    admin.patch("/api/servers/1", &json!({ "tags": ["shop"] })).is(200);
    admin
        .put(
            "/api/settings",
            &json!({ "containers.unhealthy_s": 0, "containers.heal_count": 1 }),
        )
        .is(200);
    let rule = json!({ "name": "bad words", "watches": "container_log", "words": "declined", "threshold": 2, "for_s": 60,
        "tags": ["shop"] });
    admin.post("/api/alert-rules", &rule).is(201);
    let start =
        |name: &str, more: &str, run: &str| format!("docker run -d {LABELS} --name {name} {more} lab:1 sh -c '{run}'");
    on(
        "h4",
        &start(
            "terminal",
            "-t",
            "while true; do echo hello from a terminal; sleep 1; done",
        ),
    );
    let json = r#"while true; do echo "{\"level\":\"warn\",\"msg\":\"card declined\"}"; sleep 1; done"#;
    on("h4", &start("pay", "", json));
    on(
        "h5",
        &format!(
            "podman run -d {LABELS} --name crash lab:1 sh -c 'echo begins; sleep 12; echo ERROR it falls >&2; exit 3'"
        ),
    );
    on(
        "h5",
        &format!("podman run -d {LABELS} --name pay lab:1 sh -c 'while true; do echo card declined; sleep 1; done'"),
    );
    let sick = start(
        "sick",
        "--label lamplighter.restart=unhealthy --health-cmd false --health-interval 1s --health-retries 1",
        "echo not well; sleep 1000",
    );
    on("h4", &sick);

    // Live, of containers that were not there when the stream began, on both servers.
    let mut wanted = vec!["hello from a terminal", "card declined", "begins", "not well"];
    while !wanted.is_empty() {
        let event = live
            .next(Duration::from_secs(30))
            .unwrap_or_else(|| panic!("{wanted:?} did not come"));
        let line = event.json()["line"].as_str().unwrap().to_string();
        wanted.retain(|text| !line.contains(text));
    }
    let alert = |kind: &str, name: &str| {
        eventually(kind, || {
            let all = admin.get("/api/alerts?state=firing&limit=100").is(200);
            let mut all = all["items"].as_array().unwrap().iter().cloned();
            all.find(|alert| alert["kind"] == kind && alert["target"]["name"] == name)
        })
    };
    let died = alert("container.died", "h5/crash");
    let evidence = died["evidence"].to_string();
    assert!(
        evidence.contains("code 3") && evidence.contains("ERROR it falls"),
        "{evidence}"
    );
    let said = alert("metric.container_log", "h4/pay");
    assert!(said["evidence"].to_string().contains("card declined"), "{said}");
    let all = admin.get("/api/alerts?state=firing&limit=100").is(200);
    assert!(!all.to_string().contains("h5/pay"), "its server has no such tag: {all}");
    alert("container.gave_up", "h4/sick");
    let tasks = admin.get("/api/tasks?kind=container.restart").is(200);
    assert_eq!(tasks["total"], 1, "{tasks}");

    // Made anew: one history.
    on(
        "h5",
        &format!("podman rm crash; podman run -d {LABELS} --name crash lab:1 sh -c 'echo begins again; sleep 1000'"),
    );
    eventually("both lives", || {
        let found = admin.get("/api/log-search?q=begins&containers=h5/crash").is(200);
        (found["items"].as_array().unwrap().len() == 2).then_some(())
    });
    eventually("its alert is over", || {
        let all = admin.get("/api/alerts?state=firing&limit=100").is(200);
        let is = |alert: &serde_json::Value| alert["kind"] == "container.died";
        (!all["items"].as_array().unwrap().iter().any(is)).then_some(())
    });
    let restarted = admin
        .post("/api/container-projects/2/shop/restart", &json!({ "grace_s": 1 }))
        .is(202);
    for task in restarted["task_ids"].as_array().unwrap() {
        assert_eq!(lab.house.wait_for(task.as_i64().unwrap())["status"], "ok");
    }
}
