//! A backup of a large house while it is written to: how long it takes, and what a change costs before and meanwhile. Prints
//! figures, judges nothing. `cargo bench --bench backup`; `-- MEGABYTES` says how large the state is (1000).

#[path = "../common/mod.rs"]
mod common;

use common::{Client, House, Who};
use serde_json::json;
use std::fs;
use std::time::{Duration, Instant};

fn main() {
    // `cargo test --all-targets` starts benches, too: nothing to print there.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let mb: i64 = std::env::args()
        .skip(1)
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(1_000);
    let mut house = House::new();
    let off = json!({ "backups.at": "never", "backups.rehearse_days": 0, "backups.keep": 1 });
    house.admin().put("/api/settings", &off).is(200);
    house.stop();
    // Lines of the logs of tasks: what large houses are full of. What does not compress.
    let db = house.database("lamplighter.db");
    db.execute_batch(
        "PRAGMA synchronous=OFF;
         INSERT INTO tasks (id, kind, target_type, target_id, target_name, input, status, created_by, request_id, created_at, finished_at)
         VALUES (900000, 'server.check_ssh', 'server', 0, 'bench', '{}', 'ok', 'bench', '', 1, 9000000000000)",
    )
    .expect("a task");
    for part in 0..mb {
        let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
            INSERT INTO task_logs SELECT 900000, ?1 * 1000 + i, 1, 'info', 'task', '', hex(randomblob(470)) FROM n";
        db.execute(fill, [part]).expect("lines");
    }
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(db);
    let size = fs::metadata(house.folder.path().join("lamplighter.db")).unwrap().len();
    house.start();
    std::thread::sleep(Duration::from_secs(5));
    let who = house.admin().who().clone();
    let client = Client::new(house.address).by(who);
    let mut number = 0;
    let mut write = || {
        number += 1;
        let began = Instant::now();
        client
            .post("/api/groups", &json!({ "name": format!("group {number}") }))
            .is(201);
        let took = began.elapsed();
        std::thread::sleep(Duration::from_millis(5));
        took
    };
    let before = figures((0..1_000).map(|_| write()).collect());
    println!("state of {:.0} MB; a change at rest: {before}", size as f64 / 1e6);
    for (what, encryption) in [
        ("plain", json!({})),
        ("for a public key", json!({ "backups.recipient": RECIPIENT })),
    ] {
        house.admin().put("/api/settings", &encryption).is(200);
        let (took, meanwhile, made) = backup(&house, &mut write);
        println!(
            "backup, {what}: {:.1} s, {:.0} MB; {} changes meanwhile: {}",
            took.as_secs_f64(),
            made as f64 / 1e6,
            meanwhile.len(),
            figures(meanwhile),
        );
    }
}

/// The example of age's manual.
const RECIPIENT: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

/// Makes one; gives its time, what changes took meanwhile, and its size.
fn backup(house: &House, write: &mut dyn FnMut() -> Duration) -> (Duration, Vec<Duration>, u64) {
    let admin = Client::new(house.address).by(Who::clone(house.admin().who()));
    let began = Instant::now();
    let task = admin.post("/api/backups", &json!({})).is(202)["task_id"].clone();
    let mut took = Vec::new();
    loop {
        took.push(write());
        if took.len() % 10 == 0 {
            let state = admin.get(&format!("/api/tasks/{task}")).is(200);
            match state["status"].as_str() {
                Some("queued" | "running") => {}
                Some("ok") => break,
                _ => panic!("{state}"),
            }
        }
    }
    let size = admin.get("/api/backups").is(200)["items"][0]["size"].as_u64().unwrap();
    (began.elapsed(), took, size)
}

fn figures(mut took: Vec<Duration>) -> String {
    took.sort();
    let ms = |part: usize| took[(took.len() - 1) * part / 100].as_secs_f64() * 1e3;
    format!("p50 {:.1} ms, p99 {:.1} ms, at most {:.1} ms", ms(50), ms(99), ms(100))
}
