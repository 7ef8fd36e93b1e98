//! The schema as a whole, where a change is seen in review: `sql/schema.sql` must be what the migrations make.
//! After a new migration: `LAMPLIGHTER_ACCEPT=1 cargo test --test it schema::`, and look at the difference.

use lamplighter::db::{Db, Durability, migrate, schema};

fn made(name: &str, durability: Durability, steps: &[migrate::Step]) -> String {
    let dir = std::env::temp_dir().join(format!("lamplighter-schema-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let db = Db::open(&dir.join(name), durability, steps).unwrap();
    let text = db.read(migrate::dump).unwrap();
    drop(db);
    std::fs::remove_dir_all(&dir).unwrap();
    format!("-- {name}\n\n{text}")
}

#[test]
fn the_golden_schema_is_what_the_migrations_make() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/sql/schema.sql");
    let now = made("lamplighter.db", Durability::Full, schema::STATE)
        + &made("metrics.db", Durability::Normal, schema::METRICS);
    if std::env::var_os("LAMPLIGHTER_ACCEPT").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        golden == now,
        "sql/schema.sql is not what the migrations make; see the top of this file"
    );
}

#[test]
fn a_file_from_a_newer_version_is_refused_and_stays_good() {
    let dir = std::env::temp_dir().join(format!("lamplighter-newer-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("x.db");
    drop(Db::open(&path, Durability::Full, schema::STATE).unwrap());
    let told = Db::open(&path, Durability::Full, &schema::STATE[..1])
        .err()
        .expect("a newer schema was opened");
    assert_eq!(told.code, "schema_newer");
    assert!(told.say.contains("newer"), "{told}");
    Db::open(&path, Durability::Full, schema::STATE).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn tasks_and_their_logs_outlive_the_tables_new_shape() {
    let dir = std::env::temp_dir().join(format!("lamplighter-tasks-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("x.db");
    let before = schema::STATE
        .iter()
        .position(|step| step.name.ends_with("task_queue.sql"));
    drop(Db::open(&path, Durability::Full, &schema::STATE[..before.unwrap()]).unwrap());
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute_batch(
        "INSERT INTO tasks (id, kind, target_type, target_id, target_name, lane, input, status, created_by, request_id, created_at)
         VALUES (7, 'server.check_ssh', 'server', 1, 'web', 'server:1', '{}', 'ok', 'root', '', 1),
                (9, 'server.check_ssh', 'server', 1, 'web', 'server:1', '{}', 'queued', 'root', '', 1);
         INSERT INTO task_logs (task_id, seq, at, level, source, stream, line) VALUES (7, 1, 1, 'info', 'task', '', 'said');
         DELETE FROM tasks WHERE id = 9;",
    )
    .unwrap();
    drop(raw);
    drop(Db::open(&path, Durability::Full, schema::STATE).unwrap());
    let raw = rusqlite::Connection::open(&path).unwrap();
    let kept: (i64, String, i64) = raw
        .query_row(
            "SELECT t.id, l.line, (SELECT seq FROM sqlite_sequence WHERE name = 'tasks') FROM tasks t JOIN task_logs l ON l.task_id = t.id",
            [],
            |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)),
        )
        .unwrap();
    assert_eq!(kept, (7, "said".into(), 9), "and no number is given twice");
    raw.execute_batch("PRAGMA foreign_keys = ON; DELETE FROM tasks")
        .unwrap();
    let left: i64 = raw
        .query_row("SELECT count(*) FROM task_logs", [], |r| r.get(0))
        .unwrap();
    assert_eq!(left, 0, "a log still goes with its task");
    std::fs::remove_dir_all(&dir).unwrap();
}
