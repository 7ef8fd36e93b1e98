//! Retention: rows are deleted by age and count, oldest first, in small transactions, never unfinished or unread ones; and
//! the file shrinks.

use crate::common;

use common::*;
use lamplighter::base::clock::{self, DAY};
use lamplighter::db::{Db, Durability, schema};
use lamplighter::events::outbox;
use lamplighter::task::queue::{self, Keep};
use rusqlite::{Connection, params};
use serde_json::json;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn numbers(conn: &Connection, sql: &str) -> Vec<i64> {
    let mut statement = conn.prepare(sql).unwrap();
    let rows = statement.query_map([], |r| r.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

/// A task with so many lines of log that ended (unless it has not) at this time.
fn task(conn: &Connection, id: i64, status: &str, ended: Option<i64>, lines: i64) {
    conn.execute(
        "INSERT INTO tasks (id, kind, target_type, target_id, target_name, input, status, created_by, request_id,
           created_at, finished_at)
         VALUES (?1, 'server.old', 'server', 1, 'web', '{}', ?2, 'root', '', 1, ?3)",
        params![id, status, ended],
    )
    .unwrap();
    let mut line = conn
        .prepare_cached("INSERT INTO task_logs (task_id, seq, at, level, source, stream, line) VALUES (?1, ?2, 1, 'info', 'task', '', ?3)")
        .unwrap();
    for seq in 1..=lines {
        line.execute(params![id, seq, "what was said ".repeat(8)]).unwrap();
    }
}

fn event(conn: &Connection, id: i64, at: i64) {
    conn.prepare_cached(
        "INSERT INTO events (id, at, kind, target_type, target_id, data) VALUES (?1, ?2, 'old.news', 'server', 1, ?3)",
    )
    .unwrap()
    .execute(params![id, at, format!("{{\"n\":\"{}\"}}", "x".repeat(200))])
    .unwrap();
}

#[test]
fn the_oldest_go_first_and_what_is_still_to_be_done_or_read_stays() {
    let folder = Folder::new();
    let path = folder.path().join("lamplighter.db");
    let db = Db::open(&path, Durability::Full, schema::STATE).unwrap();
    let conn = Connection::open(&path).unwrap();
    let now = clock::now();
    for id in 1..=20 {
        match id {
            2 => task(&conn, id, "running", None, 50),
            3 => task(&conn, id, "queued", None, 0),
            5 => task(&conn, id, "failed", Some(now - 40 * DAY), 3_000),
            _ => task(&conn, id, "ok", Some(now - 20 * DAY), 10),
        }
    }
    let tasks = || numbers(&conn, "SELECT id FROM tasks ORDER BY id");
    let orphans = || {
        numbers(
            &conn,
            "SELECT count(*) FROM task_logs WHERE task_id NOT IN (SELECT id FROM tasks)",
        )
    };
    let all = Keep {
        since: 0,
        tasks_max: 1_000,
        lines_max: 1_000_000,
    };
    assert_eq!(queue::clean_up(&db, all).unwrap(), 0, "nothing is too old or too much");
    let age = Keep {
        since: now - 30 * DAY,
        ..all
    };
    assert_eq!(
        queue::clean_up(&db, age).unwrap(),
        3_001,
        "one task and its log, in four parts"
    );
    assert!(!tasks().contains(&5) && tasks().len() == 19);
    let count = Keep { tasks_max: 12, ..all };
    assert_eq!(queue::clean_up(&db, count).unwrap(), 5 * 11);
    assert_eq!(tasks(), [vec![2, 3], (9..=20).collect()].concat());
    let lines = Keep { lines_max: 35, ..all };
    assert_eq!(queue::clean_up(&db, lines).unwrap(), 9 * 11);
    assert_eq!(tasks(), [2, 3, 18, 19, 20]);
    assert_eq!(numbers(&conn, "SELECT count(*) FROM task_logs WHERE task_id = 2"), [50]);
    assert_eq!(orphans(), [0]);

    for id in 1..=100 {
        event(&conn, id, if id <= 10 { now - 100 * DAY } else { now });
    }
    let events = || numbers(&conn, "SELECT id FROM events ORDER BY id");
    assert_eq!(outbox::clean_up(&db, now - DAY, 20).unwrap(), 0, "nobody has read any");
    db.write(|tx| outbox::set_cursor(tx, "quick", 100)).unwrap();
    db.write(|tx| outbox::set_cursor(tx, "slow", 60)).unwrap();
    assert_eq!(outbox::clean_up(&db, now - DAY, 1_000).unwrap(), 10);
    assert_eq!(
        outbox::clean_up(&db, now - DAY, 20).unwrap(),
        50,
        "what the slow one has seen"
    );
    assert_eq!(events(), (61..=100).collect::<Vec<_>>());
    db.write(|tx| outbox::set_cursor(tx, "slow", 100)).unwrap();
    assert_eq!(outbox::clean_up(&db, now - DAY, 20).unwrap(), 20);
    assert_eq!(events(), (81..=100).collect::<Vec<_>>());
}

#[test]
fn others_write_while_much_is_removed() {
    let folder = Folder::new();
    let path = folder.path().join("lamplighter.db");
    let db = Db::open(&path, Durability::Full, schema::STATE).unwrap();
    let mut conn = Connection::open(&path).unwrap();
    let tx = conn.transaction().unwrap();
    (1..=60_000).for_each(|id| event(&tx, id, 1));
    tx.commit().unwrap();
    db.write(|tx| outbox::set_cursor(tx, "all", 60_000)).unwrap();
    let done = AtomicBool::new(false);
    let (mut longest, mut written) = (Duration::ZERO, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(outbox::clean_up(&db, 2, 1_000_000).unwrap(), 60_000);
            done.store(true, Ordering::SeqCst);
        });
        while !done.load(Ordering::SeqCst) {
            let began = Instant::now();
            db.write(|tx| outbox::set_cursor(tx, "other", 60_000)).unwrap();
            longest = longest.max(began.elapsed());
            written += 1;
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    println!("{written} writes in between, the longest waited {longest:?}");
    assert!(written >= 20, "only {written} writes came in between");
}

#[test]
fn a_full_house_becomes_small_again() {
    let mut house = House::new();
    let admin = house.admin();
    let endpoint = json!({ "type": "webhook", "name": "hook", "url": "https://hook.invalid/", "enabled": false });
    let endpoint = admin.post("/api/notifications", &endpoint).is(201)["id"].clone();
    let limits = json!({
        "retention.tasks_max": 200, "retention.events_max": 1_000, "retention.deliveries_max": 1_000,
    });
    admin.put("/api/settings", &limits).is(200);
    house.stop();
    let path = house.database("lamplighter.db").path().unwrap().to_string();
    let now = clock::now();
    {
        let mut conn = house.database("lamplighter.db");
        let tx = conn.transaction().unwrap();
        for id in 1_001..=1_600 {
            task(&tx, id, "ok", Some(now), 100);
        }
        let newest = numbers(&tx, "SELECT coalesce(max(id), 0) FROM events")[0];
        (newest + 1..=newest + 40_000).for_each(|id| event(&tx, id, now));
        tx.execute("UPDATE event_cursors SET event_id = ?1", [newest + 40_000])
            .unwrap();
        let mut message = tx
            .prepare(
                "INSERT INTO notification_queue (endpoint_id, recipient, event_id, fingerprint, key, what, kind, level,
                   facts, status, created_at, since, next_at, ended_at)
                 VALUES (?1, '', ?2, 'f', 'k', 'event', 'old.news', 'INFO', '{}', ?3, 1, ?4, ?5, ?6)",
            )
            .unwrap();
        for n in 1..=5_000 {
            // Every tenth waits for an endpoint that is switched off.
            let (status, ended) = match n % 10 {
                0 => ("queued", None),
                1 => ("dead", Some(now)),
                _ => ("sent", Some(now)),
            };
            let values = params![endpoint.as_i64().unwrap(), n, status, now, now + DAY, ended];
            message.execute(values).unwrap();
        }
        drop(message);
        tx.commit().unwrap();
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .unwrap();
    }
    let full = fs::metadata(&path).unwrap().len();
    house.start();
    let small = eventually("the file is small", || {
        let small = fs::metadata(&path).unwrap().len();
        (small < full / 3).then_some(small)
    });
    println!("{} kB, then {} kB", full / 1000, small / 1000);
    let conn = house.database("lamplighter.db");
    let kept = numbers(&conn, "SELECT id FROM tasks WHERE id > 1000 ORDER BY id");
    assert!(kept.len() <= 200 && kept.last() == Some(&1_600), "{kept:?}");
    assert_eq!(
        numbers(&conn, "SELECT count(*) FROM notification_queue WHERE status = 'queued'"),
        [500]
    );
    assert_eq!(
        numbers(
            &conn,
            "SELECT count(*) FROM notification_queue WHERE status <> 'queued'"
        ),
        [1_000]
    );
    assert!(numbers(&conn, "SELECT count(*) FROM events")[0] < 1_100);
    // What it takes of the disk is on the page of settings.
    let answer = house.sign_in(ADMIN, &house.password);
    let browser = house.client().by(Who::cookie(&answer, house.address));
    let page = browser.get("/settings").text();
    assert!(page.contains("s-storage") && page.contains("retention.tasks_max"));
    let storage = house.admin().get("/api/health/storage").is(200);
    let state = &storage["databases"][0];
    assert!(state["bytes"].as_i64().unwrap() < full as i64, "{storage}");
}
