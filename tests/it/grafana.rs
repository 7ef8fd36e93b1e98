//! The dashboards for Grafana ask for what `/metrics` has.

use crate::common::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// All texts below the members of this name.
fn below<'a>(value: &'a Value, name: &str, out: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                match value.as_str() {
                    Some(text) if key == name => out.push(text),
                    _ => below(value, name, out),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| below(item, name, out)),
        _ => {}
    }
}

fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("lamplighter_"))
}

#[test]
fn each_dashboard_asks_for_metrics_that_are_there_and_shows_all_of_its_kind() {
    let house = House::new();
    let admin = house.admin();
    admin.post("/api/servers", &server("web-1", 9)).is(201);
    let job = json!({ "name": "backup", "kind": "heartbeat", "period_s": 86_400 });
    admin.post("/api/services", &job).is(201);
    let sql = "INSERT INTO containers (name, life, image, project, state, since, created_at, seen_at)
         VALUES ('web', '', 'shop:1', 'shop', 'running', 1, 1, 1)";
    house.database("lamplighter.db").execute(sql, []).unwrap();
    let text = admin.get("/metrics").text();
    let families: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/grafana");
    let mut seen = BTreeSet::new();
    for (file, prefix) in [
        ("fleet", "lamplighter_server_"),
        ("containers", "lamplighter_container_"),
        ("services", "lamplighter_service_"),
    ] {
        let board = fs::read_to_string(folder.join(file).with_extension("json")).unwrap();
        let board: Value = serde_json::from_str(&board).unwrap();
        assert_eq!(board["uid"], format!("lamplighter-{file}"));
        let (mut asked, mut sources) = (Vec::new(), Vec::new());
        below(&board, "expr", &mut asked);
        below(&board, "definition", &mut asked);
        for panel in board["panels"].as_array().unwrap() {
            below(&panel["datasource"], "uid", &mut sources);
            below(&panel["targets"], "uid", &mut sources);
        }
        assert!(
            asked.len() > 10 && sources.iter().all(|uid| *uid == "${datasource}"),
            "{file}"
        );
        let asked: BTreeSet<&str> = asked.into_iter().flat_map(names).collect();
        for name in &asked {
            assert!(
                families.contains(name),
                "{file}.json asks for {name}, which /metrics has not"
            );
        }
        seen.extend(
            asked
                .iter()
                .filter(|name| name.starts_with(prefix))
                .map(|name| name.to_string()),
        );
    }
    // What is observed of containers and services is shown.
    let shown = |name: &&&str| name.starts_with("lamplighter_container_") || name.starts_with("lamplighter_service_");
    let left_out: Vec<_> = families
        .iter()
        .filter(shown)
        .filter(|name| !seen.contains(**name))
        .collect();
    assert!(left_out.is_empty(), "on no dashboard: {left_out:?}");
}
