//! Which role may use which route, as a whole, so that changes are seen in review: `tests/data/rights.txt` must be what the route table
//! and the table of rights make. After a new route: `LAMPLIGHTER_ACCEPT=1 cargo test --test it rights::`, and look at the
//! difference.

use crate::common::*;
use lamplighter::access::right::{Alerts, Deploy, Domains, Edit, Events, Groups, Read, Servers, Tasks, may};
use lamplighter::access::scope::Grant;
use lamplighter::access::{Actor, Grants, Origin, Place, Right, Role, session};
use lamplighter::daemon::FEATURES;
use lamplighter::db::{Db, Durability, schema};
use lamplighter::http::route::Route;
use serde_json::json;

/// Roles with access, as text.
fn who(right: Right) -> String {
    match right {
        Right::Public => "anybody".into(),
        Right::SignedIn => "who is signed in".into(),
        right => {
            let roles = [Role::Admin, Role::Operator, Role::Viewer, Role::Automation];
            let names: Vec<_> = roles.into_iter().filter(|r| r.may(right)).map(Role::name).collect();
            names.join(" ")
        }
    }
}

#[test]
fn the_golden_table_is_what_routes_and_rights_make() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rights.txt");
    let routes: Vec<&Route> = FEATURES.iter().flat_map(|f| f.routes.iter().chain(f.pages)).collect();
    let mut lines: Vec<_> = routes
        .iter()
        .map(|route| {
            let confirmed = if route.is_dangerous { ", confirmed" } else { "" };
            let (path, method) = (route.path, route.method.name());
            format!("{path} {method}: {}{confirmed}\n", who(route.right))
        })
        .collect();
    lines.sort();
    let now = lines.concat();
    if std::env::var_os("LAMPLIGHTER_ACCEPT").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        golden == now,
        "tests/data/rights.txt is not what the tables make; see the top of this file"
    );
}

/// A right as it stands in a grant.
fn named(right: Right) -> String {
    match right {
        Right::Public => "public".into(),
        Right::SignedIn => "signed-in".into(),
        Right::May(verb, noun) => format!("{}:{}", noun.name(), verb.name()),
    }
}

#[test]
fn the_golden_list_of_routes_is_what_the_table_makes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/routes.txt");
    let routes = FEATURES.iter().flat_map(|f| f.routes.iter().chain(f.pages));
    let mut lines: Vec<_> = routes
        .map(|route| {
            // Whoever comes with a cookie; a token needs none, since no browser sends one by itself.
            let csrf = if route.method.is_safe() { "-" } else { "csrf" };
            let counted = if route.is_counted() { "counted" } else { "-" };
            let (right, body) = (named(route.right), route.body_max());
            format!(
                "{} {} {right} {csrf} {body} {counted}\n",
                route.method.name(),
                route.path
            )
        })
        .collect();
    lines.sort();
    let now = format!(
        "# method, path, right, CSRF token, longest body in bytes, counts for the rate\n{}",
        lines.concat()
    );
    if std::env::var_os("LAMPLIGHTER_ACCEPT").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        golden == now,
        "tests/data/routes.txt is not what the table makes; see the top of this file"
    );
}

#[test]
fn who_was_given_less_than_their_role_has_reaches_what_they_were_given_and_nothing_else() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let make = |path: &str, body: serde_json::Value| admin.post(path, &body).is(201)["id"].as_i64().unwrap();
    let (one, two) = (
        make("/api/servers", server("one", 22)),
        make("/api/servers", server("two", 22)),
    );
    let shops = make("/api/groups", json!({ "name": "shops" }));
    let ours = make(
        "/api/domains",
        json!({ "domain": "a.example", "group_id": shops, "server_ids": [one, two] }),
    );
    let other = make("/api/domains", json!({ "domain": "b.example", "server_ids": [one] }));
    let task = house.newest_task(one, "server.look_host_key");

    let db = Db::open(
        &std::path::Path::new(house.dir()).join("lamplighter.db"),
        Durability::Full,
        schema::STATE,
    )
    .unwrap();
    let from = Origin {
        ip: "127.0.0.1",
        request_id: "r",
        client_request_id: "",
    };
    let actor = |login: &str, grants: &[String]| {
        let password = if login == ADMIN {
            house.password.clone()
        } else {
            house.account(login, login)
        };
        let cookie = house.sign_in(login, &password).cookie().1;
        let actor = session::find(&db, &cookie, from).unwrap().unwrap();
        actor.limited_to(Grants::new(
            grants
                .iter()
                .map(|text| Grant::parse(text).unwrap())
                .collect::<Vec<_>>(),
        ))
    };
    let place = |address: &str| {
        let of_address = db.read(|conn| Place::of_address(conn, address)).unwrap();
        of_address.unwrap_or(Place::Everywhere)
    };

    let given = ["domains:deploy", "domains:edit", "tasks:read"].map(|right| format!("{right}@group:{shops}"));
    let program = actor(
        ADMIN,
        &[&given[..], &[format!("tasks:read@server:{one}"), "servers:read".into()]].concat(),
    );
    let deploy = may(Deploy, Domains);
    assert!(program.has(deploy, &place(&format!("/api/domains/{ours}/deploy"))));
    assert!(program.has(may(Read, Tasks), &place(&format!("/api/tasks/{task}/stream"))));
    assert!(
        program.has(may(Read, Servers), &place("/api/servers")),
        "that was given for all of them"
    );
    assert!(program.has(Right::SignedIn, &Place::Everywhere));
    for address in [
        format!("/api/domains/{other}/deploy"),
        "/api/domains/999/deploy".into(),
        "/api/domains/bulk".into(),
    ] {
        assert!(!program.has(deploy, &place(&address)), "{address}");
    }
    let denied = |verb: Right, address: &str| assert!(!program.has(verb, &place(address)), "{verb:?} {address}");
    denied(may(Read, Tasks), "/api/tasks");
    denied(may(Read, Domains), &format!("/api/domains/{ours}"));
    denied(may(Edit, Servers), &format!("/api/servers/{one}"));
    // Its page is about the same thing.
    assert_eq!(
        place(&format!("/domains/{ours}/deploy")),
        place(&format!("/api/domains/{ours}"))
    );

    what_lists_show_is_what_may_be_asked_for(&db, &program);
    for given in [
        vec![],
        vec![format!("servers:read@server:{two}")],
        vec![
            format!("domains:read@server:{one}"),
            format!("tasks:read@server:{two}"),
            format!("alerts:read@server:{one}"),
            "events:read".into(),
        ],
        vec![
            format!("domains:read@server:{one}"),
            format!("domains:read@server:{two}"),
        ],
        vec![
            format!("domains:read@group:{shops}"),
            format!("groups:read@group:{shops}"),
            format!("events:read@group:{shops}"),
        ],
        vec!["domains:read".into(), "groups:read".into(), "alerts:read".into()],
    ] {
        what_lists_show_is_what_may_be_asked_for(&db, &actor(ADMIN, &given));
    }

    // A domain of theirs stays theirs, and no proof is good for another right.
    let by = program
        .allowed(Edit, Domains, &place(&format!("/api/domains/{ours}")))
        .unwrap();
    assert!(by.reaches(&place(&format!("/api/domains/{ours}"))).is_ok());
    let elsewhere = place(&format!("/api/domains/{other}"));
    assert_eq!(by.reaches(&elsewhere).err().map(|e| e.code), Some("forbidden"));
    assert!(by.also(Edit, Servers).is_err() && by.also(Edit, Domains).is_err());

    // A grant never exceeds the owner's rights.
    let viewer = actor(
        "viewer",
        &[
            format!("domains:deploy@group:{shops}"),
            "servers:edit".into(),
            "servers:read".into(),
        ],
    );
    assert!(!viewer.has(deploy, &place(&format!("/api/domains/{ours}"))));
    assert!(!viewer.has(may(Edit, Servers), &Place::Everywhere) && viewer.has(may(Read, Servers), &Place::Everywhere));
}

/// The views and the rights are two texts: they must agree on every row there is.
fn what_lists_show_is_what_may_be_asked_for(db: &Db, by: &Actor) {
    let seen = db.through(by.lens().expect("they have grants"));
    let rows = |db: &Db, table: &str| -> Vec<i64> {
        let sql = format!("SELECT id FROM {table} ORDER BY id");
        db.read(|conn| {
            let mut statement = conn.prepare(&sql)?;
            let ids = statement.query_map([], |r| r.get(0))?;
            Ok(ids.collect::<rusqlite::Result<_>>()?)
        })
        .unwrap()
    };
    for (table, kind, right) in [
        ("servers", "server", may(Read, Servers)),
        ("domains", "domain", may(Read, Domains)),
        ("groups", "group", may(Read, Groups)),
        ("tasks", "task", may(Read, Tasks)),
        ("alerts", "alert", may(Read, Alerts)),
    ] {
        let mut all = rows(db, table);
        all.retain(|id| by.has(right, &db.read(|conn| Place::of(conn, (kind, *id))).unwrap()));
        assert_eq!(rows(&seen, table), all, "{table} by {}", seen.seen_by());
    }
    let target = "SELECT id, target_type, target_id FROM events";
    let events: Vec<(i64, String, i64)> = db
        .read(|conn| {
            let mut statement = conn.prepare(target)?;
            let rows = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .unwrap();
    assert!(events.len() > 3);
    let may_see = |kind: &str, id: i64| {
        let place = db.read(|conn| Place::of(conn, (kind, id))).unwrap();
        by.has(may(Read, Events), &place)
    };
    let theirs: Vec<_> = events.iter().filter(|e| may_see(&e.1, e.2)).map(|e| e.0).collect();
    assert_eq!(rows(&seen, "events"), theirs, "events by {}", seen.seen_by());
}
