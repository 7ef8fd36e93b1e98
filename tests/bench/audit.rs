//! What a million rows of the audit cost: a page, a search, a download, the walk over the chain. Prints figures, judges
//! nothing. `cargo bench --bench audit`; `-- ROWS` takes another number.

#[path = "../common/mod.rs"]
mod common;

use common::{ADMIN, Client, House, Who};
use lamplighter::audit::{self, By, Snapshot};
use lamplighter::db::{Db, Durability, schema};
use lamplighter::vault::{self, Vault};
use serde_json::json;
use std::fs;
use std::time::{Duration, Instant};

const ROWS: usize = 1_000_000;

fn main() {
    // `cargo test --all-targets` starts benches, too: nothing to print there.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let rows = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(ROWS);
    let mut house = House::new();
    house.stop();
    let began = Instant::now();
    fill(&house, rows);
    let file = house.folder.path().join("lamplighter.db");
    let mb = fs::metadata(file).unwrap().len() as f64 / 1e6;
    println!(
        "{rows} rows written in {:.1?}; the database has {mb:.0} MB",
        began.elapsed()
    );
    house.start();

    let admin = house.admin();
    let page = Client::new(house.address).by(Who::cookie(&house.sign_in(ADMIN, &house.password), house.address));
    let middle = admin.get(&format!("/api/audit/{}", rows / 2)).is(200);
    let ts = middle["ts"].as_str().unwrap();
    for (what, client, path) in [
        ("page", &page, "/audit".to_string()),
        ("page, one person", &page, "/audit?actor=user-3".into()),
        ("page, one server", &page, "/audit?object=server+17".into()),
        ("page, until the middle", &page, format!("/audit?until={ts}")),
        ("API", &admin, "/api/audit".into()),
        ("API, a rare action", &admin, "/api/audit?action=server.forget".into()),
        (
            "API, actor and action",
            &admin,
            "/api/audit?actor=user-3&action=server.update".into(),
        ),
        (
            "API, actor, rare action",
            &admin,
            "/api/audit?actor=user-3&action=server.forget".into(),
        ),
        (
            "API, kind since the middle",
            &admin,
            format!("/api/audit?object=server&since={ts}"),
        ),
        ("API, address", &admin, "/api/audit?ip=192.0.2.9".into()),
        ("API, q found at once", &admin, "/api/audit?q=web-17".into()),
    ] {
        times(what, 200, || client.get(&path).is_ok());
    }
    for (what, path) in [
        ("API, q that nothing fits", "/api/audit?q=needle-in-no-stack"),
        ("API, q of one rare row", "/api/audit?q=the-only-one"),
        (
            "API, q in Russian, nothing",
            "/api/audit?q=%D0%B8%D0%B3%D0%BE%D0%BB%D0%BA%D0%B0",
        ),
    ] {
        times(what, 5, || admin.get(path).is_ok());
    }
    let before = memory(&house);
    let began = Instant::now();
    let csv = admin.get("/api/audit/export");
    let mb = csv.body.len() as f64 / 1e6;
    println!(
        "CSV of all: {mb:.0} MB in {:.1?}; memory {before} kB before, {} kB after",
        began.elapsed(),
        memory(&house)
    );
    drop(csv);
    house.stop();
    let began = Instant::now();
    let said = common::said(&common::run(&["verify-audit", "--data-dir", house.dir()]));
    println!("verify-audit: {:.1?} ({})", began.elapsed(), said.trim());
}

trait IsOk {
    fn is_ok(&self);
}

impl IsOk for common::Answer {
    fn is_ok(&self) {
        assert_eq!(self.status, 200, "{}", self.text());
    }
}

fn times(what: &str, rounds: usize, ask: impl Fn()) {
    let mut took: Vec<Duration> = (0..rounds)
        .map(|_| {
            let began = Instant::now();
            ask();
            began.elapsed()
        })
        .collect();
    took.sort();
    println!(
        "{what:<28} p50 {:>9.2?}  slowest {:>9.2?}",
        took[rounds / 2],
        took[rounds - 1]
    );
}

fn fill(house: &House, rows: usize) {
    let folder = house.folder.path();
    let db = Db::open(&folder.join("lamplighter.db"), Durability::Full, schema::STATE).unwrap();
    let vault = Vault::open(&db, &vault::read_master_key(&folder.join("master.key")).unwrap()).unwrap();
    let actions = [
        "server.update",
        "domain.deploy",
        "auth.login",
        "group.update",
        "settings.change",
    ];
    for begin in (0..rows).step_by(5_000) {
        db.write(|tx| {
            for n in begin..rows.min(begin + 5_000) {
                let (actor, ip, id) = (
                    format!("user-{}", n % 20),
                    format!("192.0.2.{}", n % 250),
                    format!("{n:032x}"),
                );
                let by = By {
                    actor: &actor,
                    ip: &ip,
                    via: "session 0a1b2c3d",
                    request_id: &id,
                    client_request_id: "",
                };
                let action = match n {
                    n if n == rows / 3 => "server.forget",
                    n => actions[n % actions.len()],
                };
                let kind = action.split('.').next().unwrap();
                let notes = if n == rows / 5 {
                    "the-only-one"
                } else {
                    "front of the shop, витрина магазина"
                };
                let stood = [(22, "old"), (2222, notes)].map(|(port, notes)| {
                    let values = [("ssh_port", json!(port)), ("description", json!(notes))];
                    Snapshot::of_values(values.map(|(name, value)| (name.to_string(), value)))
                });
                let object = format!("{kind} {} web-{}", n % 300, n % 300);
                let detail = json!({ "name": format!("web-{}", n % 300) });
                audit::change(tx, &vault, by, action, &object, &detail, [&stood[0], &stood[1]])?;
            }
            Ok(())
        })
        .unwrap();
    }
}

/// Resident memory of the daemon, in kB.
fn memory(house: &House) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", house.daemons[0].pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().to_string()
}
