//! The doctor finds what is wrong with an installation and says what to do.

use crate::common;

use common::*;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn case(report: &Value, check: &str) -> Value {
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|c| c["check"] == check);
    found.unwrap_or_else(|| panic!("no {check} in {report}"))["case"].clone()
}

#[test]
fn each_fault_is_found_with_advice_and_nothing_else_is() {
    let house = House::new();
    let admin = house.admin();
    let report = admin.get("/api/doctor").is(200);
    let odd: Vec<_> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["severity"] != "ok")
        .collect();
    let cases: Vec<_> = odd
        .iter()
        .map(|c| (c["check"].as_str().unwrap(), c["case"].as_str().unwrap()))
        .collect();
    assert_eq!(
        cases,
        [("key", "beside"), ("accounts", "single"), ("backup", "none")],
        "{report}"
    );
    assert!(
        odd.iter()
            .all(|c| c["advice"].as_str().is_some_and(|text| !text.contains('{'))),
        "{report}"
    );

    let task = admin.post("/api/backups", &json!({})).is(202)["task_id"]
        .as_i64()
        .unwrap();
    house.wait_for(task);
    fs::write(house.folder.path().join("notes"), "x").unwrap();
    fs::set_permissions(house.folder.path().join("notes"), fs::Permissions::from_mode(0o644)).unwrap();
    let future = "INSERT INTO events (at, kind, target_type, target_id, data) VALUES (?1, 'x', 'x', 1, '{}')";
    house
        .database("lamplighter.db")
        .execute(future, [4_000_000_000_000_i64])
        .unwrap();
    let report = admin.get("/api/doctor").is(200);
    assert_eq!(
        (
            case(&report, "folder"),
            case(&report, "clock"),
            case(&report, "backup"),
            &report["status"]
        ),
        (json!("open"), json!("back"), Value::Null, &json!("failure"))
    );

    let mut browser = house.browser();
    browser.sign_in(ADMIN, &house.password);
    for (lang, word) in [("en", "Check timedatectl."), ("ru", "Проверьте timedatectl.")] {
        let page = browser.get(&format!("/doctor?lang={lang}"));
        assert!(page.status == 200 && page.body.contains(word), "{}", page.body);
    }
    let told = run(&["doctor", "--json", "--data-dir", house.dir()]);
    assert_eq!(told.status.code(), Some(4), "{}", said(&told));
    let report: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(
        (case(&report, "integrity"), case(&report, "clock")),
        (Value::Null, json!("back"))
    );
}
