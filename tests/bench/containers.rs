//! What containers cost: the daemon as it is, with a faithful fake engine behind a socket of this machine, in another process.
//! Prints figures, judges nothing. `cargo bench --bench containers`; `-- live`, `-- idle`, `-- store` a part of them.

#[path = "../common/mod.rs"]
mod common;
#[path = "../fake/mod.rs"]
mod fake;

use common::{Folder, House, Processes, eventually};
use fake::engine::Engine;
use lamplighter::base::process::Cancel;
use lamplighter::db::schema::JOURNAL_DB;
use lamplighter::journal::{Bounds, Filter, Journal, Level, New, Span, Stream, Words};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

fn main() {
    // `cargo test --all-targets` starts benches, too: nothing to print there.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let asked = |part: &str| {
        let mut parts = std::env::args().skip(1).filter(|arg| arg != "--bench").peekable();
        parts.peek().is_none() || parts.any(|arg| arg == part)
    };
    if asked("idle") {
        idle();
    }
    if asked("live") {
        live();
    }
    if asked("store") {
        store();
    }
}

fn house(engine: &Engine) -> House {
    let socket = engine.socket.to_str().unwrap();
    House::with(Processes::One, &[("LAMPLIGHTER_CONTAINERS_SOCKET", socket)])
}

fn followed(engine: &Engine, count: usize) {
    eventually("all logs are followed", || {
        let asked = engine.state().asked.iter().filter(|ask| ask.contains("/logs?")).count();
        (asked >= count).then_some(())
    });
}

/// 200 containers that say nothing.
fn idle() {
    let folder = Folder::new();
    let engine = Engine::start(folder.path());
    let house = house(&engine);
    std::thread::sleep(Duration::from_secs(8));
    let (empty, cpu_empty) = (rss_kb(&house), over_a_minute(&house));
    (0..200).for_each(|n| engine.run(&format!("quiet-{n}"), n as u8));
    followed(&engine, 200);
    std::thread::sleep(Duration::from_secs(20));
    let cpu = over_a_minute(&house);
    println!(
        "idle, 200 followed: {:.2} % of a core with statistics every 15 s ({:.0} ms a round of 200; {:.2} % without containers), {:.1} kB each",
        cpu / 600.0,
        (cpu - cpu_empty) / 4.0,
        cpu_empty / 600.0,
        (rss_kb(&house) - empty) / 200.0
    );
}

/// CPU of a minute, ms.
fn over_a_minute(house: &House) -> f64 {
    let before = cpu_ms(house);
    std::thread::sleep(Duration::from_secs(60));
    cpu_ms(house) - before
}

/// 1 000 lines a second of 100 containers, and 20 readers of five of them each.
fn live() {
    const SECONDS: usize = 30;
    let folder = Folder::new();
    let engine = Engine::start(folder.path());
    let mut house = house(&engine);
    // All readers are one user here.
    let wanted = serde_json::json!({ "streams.per_user": 50 });
    house.admin().put("/api/settings", &wanted).is(200);
    house.stop();
    house.start();
    (0..100).for_each(|n| engine.run(&format!("web-{n}"), n as u8));
    followed(&engine, 100);
    (0..100).for_each(|n| engine.say(&format!("web-{n}"), false, "first"));
    let admin = house.admin();
    eventually("they are known", || {
        let all = admin.get("/api/log-search?q=first&tail=200").is(200);
        (all["items"].as_array().unwrap().len() == 100).then_some(())
    });
    std::thread::sleep(Duration::from_secs(5));
    for readers in [0, 20] {
        let (over, lags) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let threads: Vec<_> = (0..readers)
            .map(|n| {
                let all: Vec<_> = (0..5).map(|k| format!("local/web-{}", (n * 5 + k) % 100)).collect();
                let mut stream = admin.stream(&format!("/api/log-search/stream?containers={}", all.join(",")), None);
                let (over, lags) = (over.clone(), lags.clone());
                std::thread::spawn(move || {
                    let mut own = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        let Some(event) = stream.next(Duration::from_secs(2)) else {
                            continue;
                        };
                        let sent = event
                            .data
                            .split("sent ")
                            .nth(1)
                            .and_then(|rest| rest.split(' ').next()?.parse::<u128>().ok());
                        own.extend(sent.map(|sent| now_us().saturating_sub(sent)));
                    }
                    lags.lock().unwrap().extend(own);
                })
            })
            .collect();
        std::thread::sleep(Duration::from_secs(2));
        let (before, rss) = (cpu_ms(&house), rss_kb(&house));
        let began = Instant::now();
        for tick in 0..SECONDS * 20 {
            for n in 0..50 {
                let name = format!("web-{}", (tick * 50 + n) % 100);
                engine.say(
                    &name,
                    false,
                    &format!(
                        "INFO request of a customer sent {} and was answered with 200 in 3 ms",
                        now_us()
                    ),
                );
            }
            let due = Duration::from_millis(50 * (tick as u64 + 1));
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
        std::thread::sleep(Duration::from_secs(2));
        let lines = (SECONDS * 1_000) as f64;
        println!(
            "1000 lines/s of 100 containers, {readers} readers of five: {:.1} µs CPU a line, {:+.1} MB RSS ({:.1} MB)",
            (cpu_ms(&house) - before) * 1e3 / lines,
            (rss_kb(&house) - rss) / 1e3,
            rss_kb(&house) / 1e3
        );
        over.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let mut lags = std::mem::take(&mut *lags.lock().unwrap());
        lags.sort_unstable();
        if let Some(last) = lags.len().checked_sub(1) {
            println!(
                "  written → reader, {} events: p50 {:.0} ms, p99 {:.0} ms, slowest {:.0} ms",
                lags.len(),
                lags[last / 2] as f64 / 1e3,
                lags[last * 99 / 100] as f64 / 1e3,
                lags[last] as f64 / 1e3
            );
        }
    }
}

fn now_us() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()
}

/// 1 GiB of 60 containers in the store.
fn store() {
    let folder = Folder::new();
    let journal = Journal::open(Arc::new(JOURNAL_DB.open(folder.path()).unwrap())).unwrap();
    journal.set_bounds(Bounds {
        each: 64 << 20,
        total: 4 << 30,
        ..Bounds::default()
    });
    let (began, mut at, mut lines) = (Instant::now(), 1_764_000_000_000_000_000_i64, 0_u64);
    while journal.usage().bytes < 1 << 30 {
        for id in 0..60 {
            let some = (0..1_000).map(|n| {
                at += 1_000_000;
                lines += 1;
                let word = if lines == 2_000_000 {
                    "needle-in-the-hay"
                } else {
                    "answered"
                };
                New {
                    at,
                    stream: Stream::Stdout,
                    level: Level::Info,
                    text: format!(
                        "INFO request {lines} of customer {} {word} with 200 in {} ms from worker-{id}",
                        n * 37,
                        n % 90
                    )
                    .into(),
                }
            });
            journal
                .put(("container", id), some.collect(), None, &Cancel::new())
                .unwrap();
        }
        journal.commit().unwrap();
    }
    println!(
        "{lines} lines, {} MB stored in {:.0} s: {:.1} µs a line",
        journal.usage().bytes >> 20,
        began.elapsed().as_secs_f64(),
        began.elapsed().as_secs_f64() * 1e6 / lines as f64
    );
    let all: Vec<_> = (0..60).map(|id| ("container", id)).collect();
    let find = |what: &str, subjects: &[(&'static str, i64)], words: &str, count: usize, rounds: usize| {
        let filter = Filter {
            words: Words::parse(words).unwrap(),
            ..Filter::default()
        };
        let mut took: Vec<f64> = (0..rounds)
            .map(|_| {
                let began = Instant::now();
                let page = journal
                    .newest(
                        subjects,
                        &filter,
                        Span::default(),
                        count,
                        Instant::now() + Duration::from_secs(60),
                    )
                    .unwrap();
                assert!(!page.lines.is_empty() && page.lines.len() <= count);
                began.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        took.sort_by(f64::total_cmp);
        println!(
            "{what}: p50 {:.1} ms, p99 {:.1} ms",
            took[rounds / 2],
            took[rounds * 99 / 100]
        );
    };
    find("newest 500 lines of one", &all[7..8], "", 500, 200);
    find("newest 500 lines of all 60", &all, "", 500, 100);
    find("a usual word's first page of all 60", &all, "answered", 200, 100);
    find("a rare word in all of it", &all, "needle-in-the-hay", 200, 5);
}

fn status(house: &House, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", house.daemons[0].pid())).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn rss_kb(house: &House) -> f64 {
    status(house, "VmRSS:")
}

/// CPU of the daemon by the scheduler's clock; threads that have ended count, too.
fn cpu_ms(house: &House) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", house.daemons[0].pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) * 10.0
}
