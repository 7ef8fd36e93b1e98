//! What groups by rule cost over 5 000 servers, by columns, figures and facts, and a look at 1 000 hosts by tcp. Prints figures,
//! judges nothing. `cargo bench --bench hosts`; `-- SERVERS` takes another number.

#[path = "../common/mod.rs"]
mod common;

use common::{Client, House};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::time::{Duration, Instant};

const SERVERS: usize = 5_000;
const LOOKED_AT: usize = 1_000;

fn main() {
    // `cargo test --all-targets` starts benches, too: nothing to print there.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let servers = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(SERVERS);
    let mut house = House::new();
    first(&house, 22);
    house.stop();
    fill(&house, servers);
    house.start();
    let admin = house.admin();
    let is = |field: &str, op: &str, value: Value| json!({ "field": field, "op": op, "value": value });
    let web = is("tags", "contains", json!("web"));
    for (what, rule) in [
        (
            "columns",
            json!({ "all": [web, is("environment", "eq", json!("prod")), is("name", "glob", json!("h*0"))] }),
        ),
        ("figures", json!({ "all": [web, is("disk", "gt", json!(80))] })),
        (
            "facts",
            json!({ "all": [is("facts.os_id", "eq", json!("debian")), is("updates", "gt", json!(5))] }),
        ),
        ("certificates", is("cert_days", "lt", json!(14))),
    ] {
        let found = admin.post("/api/groups/preview", &json!({ "rule": rule })).is(200)["total"].clone();
        println!(
            "a rule about {what}, {servers} servers, {found} found: {}",
            median(&admin, &rule)
        );
    }
    looks();
}

/// A server as the API makes it, to be copied.
fn first(house: &House, port: u16) {
    house
        .admin()
        .post("/api/servers", &common::server("first", port))
        .is(201);
}

/// A copy of the first server, changed, after it was taken into the table `one`.
fn copy(tx: &rusqlite::Transaction, change: &str, values: &[&dyn rusqlite::ToSql]) {
    tx.execute(change, values).unwrap();
    // Without the columns that are made of others.
    let sql = "SELECT group_concat(name) FROM pragma_table_info('servers')";
    let columns: String = tx.query_row(sql, [], |r| r.get(0)).unwrap();
    let sql = format!("INSERT OR REPLACE INTO servers ({columns}) SELECT {columns} FROM one");
    tx.prepare_cached(&sql).unwrap().execute([]).unwrap();
}

/// See [`copy`].
const ONE: &str = "CREATE TEMP TABLE one AS SELECT * FROM servers LIMIT 1";

/// Of the requests that ask for a preview: the evaluation, with what HTTP costs.
fn median(admin: &Client, rule: &Value) -> String {
    let body = json!({ "rule": rule });
    let mut all: Vec<Duration> = (0..21)
        .map(|_| {
            let began = Instant::now();
            admin.post("/api/groups/preview", &body).is(200);
            began.elapsed()
        })
        .collect();
    all.sort();
    let empty = {
        let mut all: Vec<Duration> = (0..21)
            .map(|_| {
                let began = Instant::now();
                admin.get("/api/groups?limit=1").is(200);
                began.elapsed()
            })
            .collect();
        all.sort();
        all[10]
    };
    format!(
        "median {:.1?}, slowest {:.1?} (an empty request: {empty:.1?})",
        all[10], all[20]
    )
}

fn fill(house: &House, servers: usize) {
    let mut state = house.database("lamplighter.db");
    state.execute_batch(ONE).unwrap();
    let tx = state.transaction().unwrap();
    for n in 1..=servers {
        let facts: Value = (0..40)
            .map(|f| (format!("fact_{f}"), json!(format!("a value of some length {f}"))))
            .collect();
        let mut facts = facts;
        facts["os_id"] = json!(if n % 3 == 0 { "ubuntu" } else { "debian" });
        facts["updates"] = json!((n % 20).to_string());
        let tags = if n % 2 == 0 {
            json!(["web", "eu"])
        } else {
            json!(["db"])
        };
        copy(
            &tx,
            "UPDATE one SET id = ?1, name = ?2, host = ?3, tags = ?4, environment = ?5, facts = ?6, facts_at = 1",
            &[
                &(n as i64),
                &format!("h{n}"),
                &format!("198.18.{}.{}", n / 250, n % 250 + 1),
                &tags.to_string(),
                &(if n % 5 == 0 { "prod" } else { "stage" }),
                &facts.to_string(),
            ],
        );
    }
    tx.commit().unwrap();
    let mut metrics = house.database("metrics.db");
    let tx = metrics.transaction().unwrap();
    for n in 1..=servers {
        let sample = json!({
            "ts": "2026-01-01T00:00:00Z", "took_ms": 12, "cpu_percent": 3.5, "mem_percent": 40.0, "mem_total": 8_000_000_000u64,
            "swap_percent": 0.0, "load1": 0.2, "load5": 0.2, "load15": 0.1, "cores": 4, "uptime_s": 100_000,
            "disk_max_percent": (n % 100) as f64, "net_rx": 1000.0, "net_tx": 1000.0, "disk_read": 0.0, "disk_write": 100.0,
        });
        tx.execute(
            "INSERT INTO server_latest (server, at_ms, took_ms, sample, spark, disks) VALUES (?1, 1, 1, ?2, x'', '[]')",
            rusqlite::params![n as i64, sample.to_string()],
        )
        .unwrap();
    }
    tx.commit().unwrap();
}

/// A round of looks by tcp: from the daemon's start until every host has its first result.
fn looks() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let mut house = House::new();
    first(&house, port);
    house.stop();
    let mut state = house.database("lamplighter.db");
    state.execute_batch(ONE).unwrap();
    let tx = state.transaction().unwrap();
    for n in 1..=LOOKED_AT {
        copy(
            &tx,
            "UPDATE one SET id = ?1, name = ?2, check_method = 'tcp'",
            &[&(n as i64), &format!("h{n}")],
        );
    }
    tx.commit().unwrap();
    drop(state);
    let began = Instant::now();
    house.start();
    let started = began.elapsed();
    let first = common::eventually("every host was looked at", || {
        let sql = "SELECT count(*), min(first_at), max(last_at) FROM host_checks WHERE status = 'up'";
        let row = house.database("lamplighter.db").query_row(sql, [], |r| {
            Ok((
                r.get::<_, i64>(0)?,
                r.get::<_, Option<i64>>(1)?,
                r.get::<_, Option<i64>>(2)?,
            ))
        });
        row.ok().filter(|(count, ..)| *count == LOOKED_AT as i64)
    });
    println!(
        "{LOOKED_AT} hosts looked at by tcp: {:.1?} from the daemon's start (of these {started:.1?} until it answers); first to last batch {} ms",
        began.elapsed(),
        first.2.unwrap_or(0) - first.1.unwrap_or(0)
    );
}
