//! A year of a large fleet, written straight into the file as the store would have made it, and what a chart costs then;
//! what a value costs on the disk.

use super::peers::Track;
use super::{Folder, NOW, sample};
use lamplighter::base::clock::{Duration, Ms};
use lamplighter::base::id::Id;
use lamplighter::base::random;
use lamplighter::db::{Db, Durability, schema};
use lamplighter::features::fleet::metrics::{self, FIGURES_COUNT, Polled, Recorder, SERVERS, Sample};
use lamplighter::series::chunk::{self, Bucket, Point};
use lamplighter::series::rollup::{RAW, ROLLED, Tier};
use lamplighter::series::window::PERIODS;
use lamplighter::series::{self, Keep, Window};
use std::sync::Arc;
use std::time::Instant;

const DISKS: [&str; 3] = ["disk:/", "disk:/srv/data", "disk:/var/lib/docker"];
/// Servers that differ; the others repeat them. What a chart costs does not depend on the numbers.
const KINDS: usize = 16;

fn wave(kind: usize, series: usize, at: u32) -> i64 {
    let slow = (f64::from(at) / 40_000.0 + kind as f64).sin() * 200.0;
    400 + series as i64 * 10 + slow as i64 + random::below(60) as i64
}

/// Of one series in one tier, as long as it is kept: span and bytes.
type Chunks = Vec<(u32, Vec<u8>)>;

fn chunks(tier: &Tier, kind: usize, series: usize) -> Chunks {
    let (now, step) = (
        (NOW / 1000) as u32,
        if tier.number == RAW.number { 30 } else { tier.bucket_s },
    );
    let from = tier.span(now - Keep::default().of(tier) - tier.span_s);
    let times: Vec<u32> = (from..now).step_by(step as usize).collect();
    times
        .chunk_by(|a, b| tier.span(*a) == tier.span(*b))
        .map(|part| {
            let bytes = match tier.number == RAW.number {
                true => {
                    let points = part.iter().map(|at| Point {
                        at: *at,
                        value: wave(kind, series, *at),
                    });
                    chunk::points(&points.collect::<Vec<_>>())
                }
                false => {
                    let buckets = part.iter().map(|at| {
                        let mut bucket = Bucket::of(*at, wave(kind, series, *at));
                        for _ in 0..4 {
                            bucket.add(&Bucket::of(*at, wave(kind, series, *at)));
                        }
                        bucket
                    });
                    chunk::buckets(&buckets.collect::<Vec<_>>())
                }
            };
            (tier.span(part[0]), bytes)
        })
        .collect()
}

/// Any chart of any of so many servers with a year of data each.
pub fn year(folder: &Folder, servers: usize) {
    let path = folder.0.join("year.db");
    drop(Db::open(&path, Durability::Normal, schema::METRICS).unwrap());
    let began = Instant::now();
    let figures = SERVERS.keys[..FIGURES_COUNT].iter();
    let keys: Vec<&str> = figures.map(|key| key.name).chain(DISKS).collect();
    let tiers: Vec<&Tier> = ROLLED.iter().chain([&RAW]).collect();
    // By kind, tier and series.
    let made: Vec<Vec<Vec<Chunks>>> = (0..KINDS.min(servers))
        .map(|kind| {
            let of = |tier: &&Tier| (0..keys.len()).map(|s| chunks(tier, kind, s)).collect();
            tiers.iter().map(of).collect()
        })
        .collect();
    let mut db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch("PRAGMA synchronous=OFF; PRAGMA cache_size=-200000")
        .unwrap();
    let tx = db.transaction().unwrap();
    {
        let mut add = tx
            .prepare("INSERT INTO series (id, subject, key, part, unit, source) VALUES (?1, ?2, ?3, ?4, 'percent', 'glances')")
            .unwrap();
        for server in 0..servers {
            let subject = "INSERT INTO subject (id, kind, number) VALUES (?1, 'server', ?1)";
            tx.execute(subject, [server as i64 + 1]).unwrap();
            for (n, key) in keys.iter().enumerate() {
                let id = (server * keys.len() + n + 1) as i64;
                let (key, part) = series::split(key);
                add.execute(rusqlite::params![id, server as i64 + 1, key, part])
                    .unwrap();
            }
        }
        // In the order of the keys, as the tree has them.
        let mut put = tx.prepare("INSERT INTO chunk (id, data) VALUES (?1, ?2)").unwrap();
        let mut order: Vec<usize> = (0..tiers.len()).collect();
        order.sort_by_key(|t| tiers[*t].number);
        for t in order {
            for server in 0..servers {
                for (n, parts) in made[server % made.len()][t].iter().enumerate() {
                    let id = (server * keys.len() + n + 1) as i64;
                    for (span, bytes) in parts {
                        let key = tiers[t].number << 60 | id << 32 | i64::from(*span);
                        put.execute(rusqlite::params![key, bytes]).unwrap();
                    }
                }
            }
        }
    }
    tx.commit().unwrap();
    drop(db);
    let bytes = std::fs::metadata(&path).unwrap().len();
    println!(
        "a year of {servers} servers, {} series each: {:.0} MB ({:.0} kB a server), made in {:.0} s",
        keys.len(),
        bytes as f64 / 1e6,
        bytes as f64 / 1e3 / servers as f64,
        began.elapsed().as_secs_f64()
    );
    let store = Recorder::trusting(Arc::new(Db::open(&path, Durability::Normal, schema::METRICS).unwrap()));
    let (mut all, mut all_worked) = (Vec::new(), Vec::new());
    for (name, length) in PERIODS {
        let window = Window::last(length, (NOW / 1000) as u32, &Keep::default());
        let (mut points, mut worked) = (0, Vec::new());
        let mut took: Vec<Duration> = (0..400)
            .map(|_| {
                let server = 1 + random::below(servers as u64) as i64;
                let (began, busy) = (Instant::now(), thread_cpu());
                let lines = store.history(("server", server), &window).unwrap();
                let took = began.elapsed();
                worked.push(thread_cpu() - busy);
                assert_eq!(lines.len(), keys.len());
                points = lines.iter().map(|l| l.points.len()).max().unwrap();
                took
            })
            .collect();
        took.sort_unstable();
        worked.sort_unstable();
        let ms = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        println!(
            "  chart {name:3}: p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms (CPU p50 {:.2}, p99 {:.2}); {points} points in each of {} lines",
            ms(0.5),
            ms(0.99),
            ms(1.0),
            worked[worked.len() / 2].as_secs_f64() * 1e3,
            worked[worked.len() * 99 / 100].as_secs_f64() * 1e3,
            keys.len()
        );
        all.extend(took);
        all_worked.extend(worked);
    }
    all_worked.sort_unstable();
    all.sort_unstable();
    let p99 = all[(all.len() - 1) * 99 / 100].as_secs_f64() * 1e3;
    let worked = all_worked[(all_worked.len() - 1) * 99 / 100].as_secs_f64() * 1e3;
    println!(
        "  any chart: p99 {p99:.2} ms, of which {worked:.2} ms CPU (load {})",
        super::fleet::load()
    );
}

/// What this thread has worked: on a busy machine the rest is waiting for a core.
fn thread_cpu() -> Duration {
    // SAFETY: a zeroed timespec is valid, and the pointer is to it.
    unsafe {
        let mut at: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut at);
        Duration::new(at.tv_sec as u64, at.tv_nsec as u32)
    }
}

/// Bytes of a raw value in the file: real values as the store keeps them, and the raw chunks alone in a file of their own.
/// Gives the values for others to keep.
pub fn disk(folder: &Folder, base: &Sample) -> Vec<Track> {
    const SERVERS: i64 = 50;
    const HOURS: i64 = 12;
    let path = folder.0.join("disk.db");
    let store = Recorder::trusting(folder.db("disk.db"));
    let conn = rusqlite::Connection::open_in_memory().unwrap();
    conn.execute_batch(
        "CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT); INSERT INTO settings VALUES ('retention.raw_hours', '168')",
    )
    .unwrap();
    store.set_keep(metrics::keep(&conn).unwrap());
    let (mut values, mut tracks) = (0, Vec::<Track>::new());
    let start: Ms = NOW;
    for n in 0..HOURS * 120 {
        for server in 1..=SERVERS {
            let at_ms = start + n * 30_000 + random::below(900) as Ms;
            let sample = sample(base, server, at_ms);
            let polled = Polled {
                server: Id::new(server),
                at_ms,
                took_ms: 40 + random::below(20) as u32,
                interval_s: 30,
                sample: &sample,
            };
            let seen = metrics::observe(&polled);
            store.add(std::slice::from_ref(&polled)).unwrap();
            for value in seen.values().iter().filter(|value| value.is_kept) {
                values += 1;
                let of = &seen.kind.keys[value.key];
                let key = series::join(of.name, value.part);
                let point = ((at_ms / 1000) as u32, of.unit.to_base(of.unit.rounded(value.value)));
                match tracks.iter_mut().find(|(s, k, _)| *s == server && *k == key) {
                    Some((.., points)) => points.push(point),
                    None => tracks.push((server, key, vec![point])),
                }
            }
        }
    }
    store.tidy(start + HOURS * 3_600_000 + 2 * 3_600_000, |_| true).unwrap();
    drop(store);
    let raw = folder.0.join("raw.db");
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute("ATTACH ?1 AS raw", [raw.to_str().unwrap()]).unwrap();
    db.execute_batch(
        "CREATE TABLE raw.chunk (id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
         INSERT INTO raw.chunk SELECT id, data FROM main.chunk WHERE id >> 60 = 1 ORDER BY id;
         DETACH raw;",
    )
    .unwrap();
    let sum: i64 = db
        .query_row("SELECT sum(length(data)) FROM chunk WHERE id >> 60 = 1", [], |r| {
            r.get(0)
        })
        .unwrap();
    let size = |path: &std::path::Path| std::fs::metadata(path).unwrap().len() as f64;
    println!(
        "disk: {values} raw values: {:.2} bytes each in a file of raw chunks alone (payload {:.2}); whole file with every rollup, the last polls and empty pages {:.2}",
        size(&raw) / values as f64,
        sum as f64 / values as f64,
        size(&path) / values as f64
    );
    tracks
}
