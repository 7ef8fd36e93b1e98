//! What features declare fits together; and one more feature, with every part that there is, needs no line elsewhere.

use crate::common;

use common::*;
use lamplighter::access::right::{Edit, Read, Run, Settings, Tasks, Users, may};
use lamplighter::app::App;
use lamplighter::base::clock::{self, Duration};
use lamplighter::base::error::{Error, Field, Result};
use lamplighter::cli::{Command, Flag};
use lamplighter::daemon::{self, FEATURES};
use lamplighter::db::{Conn, Tx};
use lamplighter::events::outbox;
use lamplighter::feature::{Feature, Hit, Source};
use lamplighter::http::card::{COUNTER, Card, Counter, Slot};
use lamplighter::http::menu::{Action, Badge, Entry};
use lamplighter::http::reply::Reply;
use lamplighter::http::request::Method::{Get, Post};
use lamplighter::http::route::{Panel, route};
use lamplighter::http::view::Prepared;
use lamplighter::kinds::{About, AlertKind, BuiltinRule, EventKind, ExplainedBy, Related, TargetKind};
use lamplighter::lang::{Lang, words};
use lamplighter::schedule::service::Service;
use lamplighter::schedule::{Periodic, Work};
use lamplighter::section::{self, Applying, Section};
use lamplighter::series;
use lamplighter::settings::Setting;
use lamplighter::task::{self, queue};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, Ordering};

fn kinds() -> impl Iterator<Item = &'static EventKind> {
    FEATURES.iter().flat_map(|f| f.kinds)
}

#[test]
fn a_kind_of_event_is_declared_once_and_what_ends_an_alert_is_one() {
    let names: Vec<_> = kinds().map(|kind| kind.name).collect();
    let unique: BTreeSet<_> = names.iter().collect();
    assert_eq!(names.len(), unique.len());
    let mut rules = BTreeSet::new();
    for (kind, alert) in kinds().filter_map(|kind| Some((kind, kind.raises()?))) {
        for event in alert.resolved_by {
            assert!(unique.contains(event), "{event} ends {} and is no event", kind.name);
        }
        if let Some(rule) = alert.rule {
            assert!(
                (1..1000).contains(&rule.id) && rules.insert(rule.id),
                "{} of {}",
                rule.id,
                kind.name
            );
            assert!(!alert.title.is_empty(), "{} has no title", kind.name);
        }
    }
}

#[test]
fn every_kind_that_people_are_told_of_has_a_name_and_every_alert_has_words() {
    words::join(FEATURES.iter().map(|feature| feature.words));
    for kind in kinds() {
        let words = match kind.raises() {
            Some(alert) if alert.rule.is_some() => vec![format!("kind.{}", kind.name), format!("alert.{}", kind.name)],
            None if !kind.is_news() => Vec::new(),
            _ => vec![format!("kind.{}", kind.name)],
        };
        for word in words {
            assert!(words::word(Lang::Ru, &word, None).is_some(), "{word} has no words");
        }
    }
}

#[test]
fn sections_of_the_document_have_names_and_places_of_their_own() {
    let sections = || FEATURES.iter().flat_map(|f| f.sections);
    let names: BTreeSet<_> = sections().map(|s| s.name).collect();
    let places: BTreeSet<_> = sections().map(|s| s.place).collect();
    assert_eq!((names.len(), places.len()), (sections().count(), sections().count()));
    assert!(!names.contains(section::VERSION));
}

// ---- a feature of this test's own ------------------------------------------------------------------------------------

/// With every part there is. It counts in cursors of the outbox, so that it needs no table.
const FIREFLIES: Feature = Feature {
    words: "task.kind.firefly.glow\n= Glow\n= Светить\n\nnav.fireflies\n= Fireflies\n= Светлячки\n\n\
        count.fireflies\n= Fireflies in sight\n= Светлячков видно\n\n\
        fireflies.catch\n= Catch a firefly\n= Поймать светлячка\n\n\
        setting.fireflies.most.help\n= How many there may be.\n= Сколько их может быть.\n\n\
        setting.fireflies.most\n= Most fireflies\n= Наибольшее число светлячков\n\n\
        settings.section.fireflies\n= Fireflies\n= Светлячки\n\n\
        kind.firefly.missing\n= A firefly is missing\n= Светлячок пропал\n\n\
        alert.firefly.missing\n= {name} is missing\n= {name} пропал\n",
    routes: &[
        route(Get, "/api/fireflies", may(Read, Users), |ctx| {
            let counted = ctx.app.db.read(|conn| {
                let counts = PARTS.map(|part| Ok((part, outbox::cursor(conn, part)?)));
                let counts: Result<BTreeMap<_, _>> = counts.into_iter().collect();
                Ok(json!({ "counts": counts?, "most": MOST.number(conn)? }))
            })?;
            Reply::json(&object(
                json!({ "counted": counted, "panels": ctx.panels("fireflies", 7)? }),
            ))
        })
        .gives::<Map<String, Value>>(),
        route(Get, "/api/jars/{name…}", may(Read, Users), |ctx| {
            Reply::json(&object(json!({ "jar": ctx.arg(0) })))
        })
        .gives::<Map<String, Value>>(),
        route(Get, "/api/jars/{name…}/lid", may(Read, Users), |ctx| {
            Reply::json(&object(json!({ "lid_of": ctx.arg(0) })))
        })
        .gives::<Map<String, Value>>(),
        route(Post, "/api/fireflies/{id}/glow", may(Run, Tasks), |ctx| {
            let (id, by) = (ctx.id::<()>(0, "firefly")?.get(), ctx.allowed(Run, Tasks)?);
            let task = ctx
                .app
                .db
                .write(|tx| queue::enqueue(tx, &ctx.app.wakes.tasks, &glow(id), by))?;
            Reply::json(&object(json!({ "task_id": task })))
        })
        .takes(&[])
        .gives::<Map<String, Value>>(),
        route(Post, "/api/fireflies/{id}/{event}", may(Edit, Settings), |ctx| {
            let target = ("firefly", ctx.id::<()>(0, "firefly")?.get());
            let data = json!({ "name": "Lampyris" });
            let kind = format!("firefly.{}", ctx.arg(1));
            ctx.app
                .db
                .write(|tx| outbox::emit(tx, &ctx.app.wakes.events, &kind, target, &data))?;
            Ok(Reply::status(204))
        })
        .takes(&[])
        .gives_nothing(),
    ],
    pages: &[route(Get, "/fireflies", may(Read, Users), |_| {
        Ok(Reply::html("<h1>Fireflies</h1>".into()))
    })],
    panels: &[Panel {
        on: "fireflies",
        slot: "wings",
        data: |_, id| Ok(json!({ "of": id, "wings": 4 })),
    }],
    cards: &[Card {
        name: "fireflies",
        slot: Slot::Counters,
        place: 99,
        right: may(Read, Users),
        template: COUNTER,
        data: |_| {
            Ok(Some(Prepared::of(Counter {
                href: "/fireflies",
                value: Some(4712.0),
                ..Counter::default()
            })))
        },
    }],
    menu: &[Entry {
        path: "/fireflies",
        word: "fireflies",
        keys: "g f",
        right: may(Read, Users),
        badge: |_| {
            Ok(Badge {
                count: Some(4711),
                ..Badge::default()
            })
        },
        ..Entry::NEW
    }],
    actions: &[Action {
        word: "fireflies.catch",
        icon: "plus",
        path: "/fireflies/new",
        right: may(Read, Users),
    }],
    search: &[Source {
        kind: "fireflies",
        place: 99,
        right: may(Read, Users),
        list: None,
        find: |_, q, _| {
            let hit = Hit {
                name: format!("Lampyris {q}"),
                detail: "glows".into(),
                href: "/fireflies".into(),
            };
            Ok((vec![hit], 1))
        },
    }],
    tasks: &[task::Kind {
        name: GLOW,
        idempotent: true,
        class: task::Class::Quick,
        tries: task::Tries::ONCE,
        locks: task::Kind::TARGET_ONLY,
        by_clock: None,
        deadline: Duration::from_secs(60),
        run: |run| {
            let commit = |tx: &Tx| count(tx, "task");
            seen(run.app)?;
            assert_eq!(run.target(), 7);
            Ok(task::Outcome {
                changed: 1,
                commit: Some(Box::new(commit)),
            })
        },
    }],
    periodic: &[Periodic {
        name: "fireflies.count",
        every: Duration::from_secs(3600),
        run: Work::Short(|app| app.db.write(|tx| count(tx, "periodic"))),
    }],
    services: &[Service {
        name: "fireflies.fly",
        every: Duration::from_secs(5),
        prepare: |app| {
            app.db.write(|tx| {
                // A cursor that nobody has set is at the newest event.
                PARTS.iter().try_for_each(|part| outbox::set_cursor(tx, part, 0))?;
                count(tx, "service")
            })
        },
        run: |run| {
            // It ends once, and is started again. (A panic would be one that the harness looks for.)
            static FELL: AtomicBool = AtomicBool::new(false);
            if !FELL.swap(true, Ordering::SeqCst) {
                return Err(Error::internal("a firefly fell into the soup"));
            }
            run.app.db.write(|tx| count(tx, "service"))?;
            run.rounds(&run.app.wakes.events, || Ok(None));
            Ok(())
        },
    }],
    commands: &[Command {
        name: "count-fireflies",
        help: "Say how many fireflies there may be.",
        flags: &[Flag {
            name: "loud",
            value: "",
            help: "Say it loud.",
        }],
        run: |asked| {
            let most = asked.open()?.db.read(|conn| MOST.number(conn))?;
            let mark = asked.flag("loud").map_or("", |_| "!");
            asked.done(&format!("{most} fireflies{mark}"))
        },
    }],
    kinds: &[
        EventKind::alert(
            "firefly.missing",
            may(Read, Users),
            AlertKind {
                rule: BuiltinRule::new(999, "ERROR", About::Other),
                title: "{name} is missing",
                resolved_by: &["firefly.found"],
                explained_by: ExplainedBy::Nothing,
                ..AlertKind::NEW
            },
        ),
        EventKind::streamed("firefly.found", may(Read, Users)),
    ],
    sections: &[Section {
        name: "fireflies",
        one: "firefly",
        place: 99,
        key: "name",
        find: |conn, name| Ok((name == "Lampyris" && glows(conn)? > 0).then_some(7)),
        export: |conn| {
            let glows = Some(glows(conn)?).filter(|n| *n > 0);
            let entries = glows.map(|n| section::entry(json!({ "name": "Lampyris", "glows": n })));
            Ok(entries.into_iter().collect())
        },
        create: |to, entry| set_glows(to, &entry).map(|()| 7),
        update: |to, _, entry| {
            let before = glows(to.tx)?;
            set_glows(to, &entry)?;
            Ok(glows(to.tx)? != before)
        },
        deploy: Some(|to, id| {
            let by = to.by.also(Run, Tasks)?;
            Ok(Some(queue::enqueue(to.tx, &to.app.wakes.tasks, &glow(id), by)?))
        }),
    }],
    settings: &[MOST],
    targets: &[TargetKind {
        name: "firefly",
        page: "/fireflies/",
        name_of: |_, id| Ok((id == 7).then(|| "Lampyris".to_string())),
        named: |_, name| Ok((name == "Lampyris").then_some(7)),
        related: |_, id| Ok(vec![Related::to("firefly", id)]),
    }],
    subjects: &[&FIREFLY],
    react: Some(|_, tx, event| match event.kind.as_str() {
        "firefly.found" => count(tx, "reaction"),
        _ => Ok(()),
    }),
    ..Feature::named("fireflies")
};

/// What is observed of fireflies.
static FIREFLY: series::Kind = series::Kind {
    name: "firefly",
    source: "eyes",
    keys: &[
        series::Key {
            name: "glow",
            unit: series::Unit::Percent,
            part: "",
            metric: "lamplighter_firefly_glow_ratio",
            help: "How brightly it glows.",
        },
        series::Key {
            name: "wing",
            unit: series::Unit::Count,
            part: "side",
            metric: "lamplighter_firefly_wings",
            help: "Its wings.",
        },
    ],
    all: |_| Ok(vec![(7, "Lampyris".into())]),
    name_of: |_, id| Ok((id == 7).then(|| "Lampyris".to_string())),
    on: |_, _| Ok(Default::default()),
    fingerprint: |_| Ok((1, 1)),
    silence_max: |_, _| Ok(10 * clock::MINUTE),
};

fn seen(app: &App) -> Result<()> {
    let value = |key, part, value| series::Value {
        key,
        part,
        value,
        is_kept: true,
        of: None,
    };
    let values = vec![value(0, "", 25.0), value(1, "left", 2.0), value(1, "right", 2.0)];
    let seen = series::Observation {
        kind: &FIREFLY,
        id: 7,
        at_ms: clock::now(),
        seen: series::Seen::Values(values),
    };
    series::Store::new(app.metrics.clone()).add(&[seen], |_| Ok(()))
}

const GLOW: &str = "firefly.glow";
const MOST: Setting = Setting::of_number("fireflies.most", (1, 100), 7, "");

/// What is counted, each in a cursor; `document`: how bright the only firefly glows, 0 while there is none.
const PARTS: [&str; 5] = ["task", "periodic", "reaction", "service", "document"];

fn glows(conn: &Conn) -> Result<i64> {
    outbox::cursor(conn, "document")
}

fn set_glows(to: &Applying, entry: &section::Entry) -> Result<()> {
    let message = "A firefly glows from 1 to 9.".into();
    let wrong = || {
        Error::invalid(vec![Field {
            field: "glows",
            code: "bad_glow",
            message,
        }])
    };
    let glows = entry.get("glows").and_then(Value::as_i64);
    let glows = glows.filter(|n| (1..10).contains(n)).ok_or_else(wrong)?;
    outbox::set_cursor(to.tx, "document", glows)
}

fn glow(id: i64) -> task::NewTask<'static> {
    task::NewTask {
        kind: GLOW,
        target: ("firefly", id, "Lampyris"),
        input: json!({}),
    }
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn count(tx: &Tx, what: &str) -> Result<()> {
    outbox::set_cursor(tx, what, outbox::cursor(tx, what)? % 1_000 + 1)
}

/// What comes after this in the arguments is the command line of the program.
const ARGS: &str = "FIREFLIES_ARGS";

#[test]
#[ignore = "the program that the story below starts"]
fn a_program_with_one_feature_more() {
    let Ok(args) = std::env::var(ARGS) else { return };
    let all: Vec<&Feature> = FEATURES.iter().copied().chain([&FIREFLIES]).collect();
    let code = daemon::main(all.leak(), args.split(' ').map(OsString::from));
    std::process::exit(code.into());
}

fn program(args: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "feature::a_program_with_one_feature_more",
            "--ignored",
            "--nocapture",
        ])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env(ARGS, args.join(" "));
    command
}

#[test]
fn a_feature_brings_everything_along_without_a_line_elsewhere() {
    let mut house = House::empty(Processes::One, &[]);
    house.password = house.account(ADMIN, "admin");
    let dir = house.dir().to_string();
    let mut daemon = Daemon::start(program(&["serve", "--data-dir", &dir, "--listen", "127.0.0.1:0"]));
    house.address = daemon.word_after("address=http://").parse().unwrap();
    house.daemons.push(daemon);
    let admin = house.admin();
    let counts = |part: &str, n: i64| {
        eventually(part, || {
            let delivery = admin.get("/api/fireflies").is(200);
            (delivery["counted"]["counts"][part] == n).then_some(delivery)
        })
    };

    // Route, panel, setting, periodic work; a service that ended is started again, and the log says so.
    let delivery = counts("periodic", 1);
    assert_eq!(delivery["panels"]["wings"], json!({ "of": 7, "wings": 4 }));
    assert_eq!(delivery["counted"]["most"], 7);
    counts("service", 2);
    assert!(house.said().contains("a service ended"), "{}", house.said());
    let beats = admin.get("/health/scheduler").text();
    assert!(
        beats.contains("fireflies.fly") && beats.contains("fireflies.count"),
        "{beats}"
    );

    // A name with slashes at the end of a path, raw or as %2F; the longest suffix wins.
    for (path, wanted) in [
        ("garden", json!({ "jar": "garden" })),
        ("garden/shed/7", json!({ "jar": "garden/shed/7" })),
        ("garden%2Fshed", json!({ "jar": "garden/shed" })),
        ("garden%2Fshed/lid", json!({ "lid_of": "garden/shed" })),
        ("garden/shed/lid", json!({ "lid_of": "garden/shed" })),
        ("lid", json!({ "jar": "lid" })),
    ] {
        assert_eq!(admin.get(&format!("/api/jars/{path}")).is(200), wanted, "{path}");
    }
    for path in ["garden//shed", "garden/../shed", "garden%2F..%2Fshed"] {
        let status = admin.get(&format!("/api/jars/{path}")).status;
        assert!([400, 404].contains(&status), "{path}: {status}");
    }
    assert_eq!(admin.get("/api/fireflies%2F7").status, 404);

    // Task.
    let task = admin.post("/api/fireflies/7/glow", &json!({})).is(200)["task_id"]
        .as_i64()
        .unwrap();
    assert_eq!(house.wait_for(task)["status"], "ok");
    counts("task", 1);

    // What was observed of it is in the figures for others, as its kind says.
    let figures = admin.get("/metrics").text();
    for line in [
        "# TYPE lamplighter_firefly_glow_ratio gauge\nlamplighter_firefly_glow_ratio{firefly=\"Lampyris\"} 0.25\n",
        "\nlamplighter_firefly_wings{firefly=\"Lampyris\",side=\"left\"} 2\n",
    ] {
        assert!(figures.contains(line), "{figures}");
    }

    // A section of the document: planned, refused, read in and taken to where it belongs, written out.
    let document = |glows: i64| json!({ "lamplighter": 1, "fireflies": [{ "name": "Lampyris", "glows": glows }] });
    let apply = |mode: &str, glows| admin.post(&format!("/api/fleet?mode={mode}"), &document(glows));
    let entries = || admin.get("/api/fleet").is(200)["fireflies"].clone();
    let planned = apply("plan", 3).is(200);
    assert_eq!(planned["created"], json!(["firefly Lampyris"]));
    assert_eq!(entries(), json!([]));
    let refused = apply("apply", 10);
    let (status, why) = (refused.status, refused.text());
    assert!(
        status == 422 && why.contains("fireflies[0] “Lampyris”: glows: A firefly glows"),
        "{why}"
    );
    let done = apply("deploy", 3).is(200);
    assert_eq!(house.wait_for(done["tasks"][0].as_i64().unwrap())["status"], "ok");
    counts("task", 2);
    assert_eq!(entries(), document(3)["fireflies"]);
    assert_eq!(apply("apply", 3).is(200)["same"], 1);
    assert_eq!(apply("apply", 4).is(200)["changed"], json!(["firefly Lampyris"]));
    assert_eq!(entries(), document(4)["fireflies"]);

    // An event raises an alert, by the rule that its row brings, and another ends it; the reaction sees it.
    let alerts = |state: &str| {
        let list = admin.get("/api/alerts").is(200);
        let found = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|a| a["kind"] == "firefly.missing")
            .cloned();
        found.filter(|a| a["state"] == state)
    };
    assert_eq!(admin.post("/api/fireflies/7/missing", &json!({})).status, 204);
    let alert = eventually("the alert", || alerts("firing"));
    assert_eq!(
        (&alert["title"], &alert["level"]),
        (&json!("Lampyris is missing"), &json!("ERROR"))
    );
    let viewer = house.somebody("viewer");
    let seen = viewer.get("/api/alerts").is(200)["items"][0].clone();
    assert_eq!(
        seen["title"], "••• is missing",
        "who may not see fireflies sees no names of them"
    );
    assert!(admin.get("/api/alert-rules").text().contains("firefly.missing"));
    // A silence of it keeps the alert quiet.
    let draft = |target: &str| json!({ "target": target, "hours": 1 });
    admin.post("/api/silences", &draft("firefly:8")).is(422);
    let silence = admin.post("/api/silences", &draft("firefly:7")).is(201);
    let target = json!({ "type": "firefly", "id": 7, "name": "Lampyris" });
    assert_eq!(
        (&silence["targets"], &silence["server_id"]),
        (&json!([target]), &Value::Null)
    );
    eventually("the silence", || {
        alerts("firing").filter(|alert| alert["quiet"]["silence_id"] == silence["id"])
    });
    assert!(admin.get("/silences").text().contains("href=\"/fireflies/7\""));
    assert_eq!(admin.post("/api/fireflies/7/found", &json!({})).status, 204);
    eventually("its end", || alerts("resolved"));
    counts("reaction", 1);

    // Page, menu with its count, action of the palette: for who may.
    assert!(admin.get("/fireflies").text().contains("<h1>Fireflies</h1>"));
    let page = admin.get("/alerts").text();
    assert!(page.contains("href=\"/fireflies\"") && page.contains("4,711"), "{page}");
    assert!(
        page.contains("href=\"/fireflies/new\"") && page.contains("Catch a firefly"),
        "{page}"
    );
    let resolved = admin.get("/alerts?state=resolved").text();
    assert!(resolved.contains("Lampyris is missing"), "{resolved}");
    let page = viewer.get("/alerts").text();
    assert!(!page.contains("/fireflies"), "{page}");
    assert_eq!(viewer.get("/fireflies").status, 403);

    // Card of the overview, which comes with the second server.
    for port in [22, 23] {
        admin
            .post("/api/servers", &server(&format!("web-{port}"), port))
            .is(201);
    }
    let overview = admin.get("/").text();
    assert!(
        overview.contains("Fireflies in sight") && overview.contains("data-v=\"fireflies\">4,712<"),
        "{overview}"
    );
    assert!(!viewer.get("/").text().contains("Fireflies in sight"));

    // Search.
    let found = |who: &Client| who.get("/api/search?q=noctiluca").is(200)["items"].clone();
    let hit = json!({ "kind": "fireflies", "name": "Lampyris noctiluca", "detail": "glows", "href": "/fireflies" });
    assert_eq!((found(&admin), found(&viewer)), (json!([hit]), json!([])));

    // Setting and command.
    admin.put("/api/settings", &json!({ "fireflies.most": 9 })).is(200);
    assert!(admin.get("/settings").text().contains("Most fireflies"));
    let said_of = |args: &[&str]| said(&finish(program(args), ""));
    assert!(said_of(&["count-fireflies", "--data-dir", &dir, "--loud"]).contains("9 fireflies!"));
    assert!(said_of(&["--help"]).contains("Say how many fireflies there may be."));
    house.stop();
}
