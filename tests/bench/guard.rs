//! What a request's guard costs: who it is (session or API token, each looked up in the database) and whether they may.
//! Prints figures, judges nothing: `cargo bench --bench guard`.

#[path = "../common/mod.rs"]
mod common;

use common::{ADMIN, House, Processes, server};
use lamplighter::access::right::{Domains, Read, Servers, may};
use lamplighter::access::{Actor, Origin, Place, api_token, session};
use lamplighter::db::{Db, Durability, schema};
use serde_json::json;
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: usize = 20_000;

fn main() {
    // `cargo test --all-targets` starts benches, too: nothing to print there.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let one = admin.post("/api/servers", &server("one", 22)).is(201)["id"].clone();
    let domain = json!({ "domain": "a.example", "server_ids": [one] });
    admin.post("/api/domains", &domain).is(201);
    let cookie = house.sign_in(ADMIN, &house.password).cookie().1;
    let scopes = [
        format!("servers:read@server:{one}"),
        format!("domains:read@server:{one}"),
    ];
    let token = json!({ "name": "bench", "scopes": scopes, "cidrs": ["127.0.0.0/8", "::1"] });
    let token = admin.post("/api/tokens", &token).is(201)["token"]
        .as_str()
        .unwrap()
        .to_string();

    let file = std::path::Path::new(house.dir()).join("lamplighter.db");
    let db = Db::open(&file, Durability::Full, schema::STATE).unwrap();
    let from = Origin {
        ip: "127.0.0.1",
        request_id: "r",
        client_request_id: "",
    };
    let may_look = |actor: &Actor, path: &str, right| {
        let of_address = || Ok(db.read(|conn| Place::of_address(conn, path))?.unwrap_or(Place::Granted));
        actor.may_at(right, &actor.place(of_address).unwrap()).unwrap();
    };
    let server = format!("/api/servers/{one}");
    figure("session, an administrator", || {
        let actor = session::find(&db, &cookie, from).unwrap().unwrap();
        may_look(&actor, &server, may(Read, Servers));
    });
    let by_token = || api_token::find(&db, &token, from).unwrap().unwrap();
    figure("API token with scopes, a list", || {
        may_look(&by_token(), "/api/servers", may(Read, Servers));
    });
    figure("API token with scopes, a server", || {
        may_look(&by_token(), &server, may(Read, Servers));
    });
    figure("API token with scopes, a domain", || {
        may_look(&by_token(), "/api/domains/1", may(Read, Domains));
    });
    let seen = db.through(by_token().lens().unwrap());
    figure("reading through a lens", || {
        let count = "SELECT count(*) FROM servers";
        black_box(
            seen.read(|conn| Ok(conn.prepare_cached(count)?.query_row([], |r| r.get::<_, i64>(0))?))
                .unwrap(),
        );
    });
}

fn figure(what: &str, mut work: impl FnMut()) {
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            work();
            began.elapsed()
        })
        .collect();
    times.sort();
    let us = |at: usize| times[at].as_secs_f64() * 1e6;
    println!(
        "{what}: median {:.1} µs, 99 % {:.1} µs",
        us(ROUNDS / 2),
        us(ROUNDS * 99 / 100)
    );
}
