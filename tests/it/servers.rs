//! Adding, changing and removing servers over the API: what is stored, what is refused, what is never seen again.

use crate::{common, fake};

use common::inputs::{body, inputs};
use common::*;
use lamplighter::base::text;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn data(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

fn add(admin: &Client, name: &str) -> i64 {
    admin.post("/api/servers", &server(name, 9)).is(201)["id"]
        .as_i64()
        .unwrap()
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap().iter();
    items.map(|s| s["name"].as_str().unwrap()).collect()
}

fn total(admin: &Client) -> i64 {
    admin.get("/api/servers").is(200)["total"].as_i64().unwrap()
}

/// An address of a server.
fn at(id: i64) -> String {
    format!("/api/servers/{id}")
}

#[test]
fn who_asks_silent_machines_again_and_again_is_told_to_wait_and_nobody_else_is() {
    let house = House::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap(); // takes connections and never says a word
    let mut server = server("silent", 9);
    server["glances_port"] = silent.local_addr().unwrap().port().into();
    let id = house.admin().post("/api/servers", &server).is(201)["id"].clone();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let (tell, admin) = (tell.clone(), house.admin());
            let path = format!("/api/servers/{id}/probe-glances");
            scope.spawn(move || tell.send(admin.post(&path, &json!({}))));
        }
        // Two requests of one address may wait for other machines at once; a third is refused meanwhile.
        let first = told.recv_timeout(PATIENCE).unwrap();
        first.fails(503, "outbound_busy");
        assert!(first.header("retry-after").is_some());
        house.admin().get("/healthz").is(200);
        drop(silent);
        for _ in 0..2 {
            assert_ne!(told.recv_timeout(PATIENCE).unwrap().status, 503);
        }
    });
    // Their places are free again.
    assert_ne!(
        house
            .admin()
            .post(&format!("/api/servers/{id}/probe-glances"), &json!({}))
            .status,
        503
    );
}

#[test]
fn who_waits_for_a_silent_machine_is_told_in_time_that_it_is_silent() {
    let house = House::with(Processes::ApiOnly, &[]);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap(); // takes connections and never says a word
    let mut server = server("silent", 9);
    server["glances_port"] = silent.local_addr().unwrap().port().into();
    let id = house.admin().post("/api/servers", &server).is(201)["id"]
        .as_i64()
        .unwrap();
    let probed = house.admin().post(&format!("{}/probe-glances", at(id)), &json!({}));
    probed.fails(504, "read_timeout");
}

#[test]
fn what_is_given_as_another_machine_means_neither_this_one_nor_a_clouds_secrets() {
    let house = House::with(Processes::One, &[]);
    let admin = house.admin();
    let ours = std::net::TcpListener::bind("127.0.0.1:0").unwrap(); // some service that only this machine may ask
    ours.set_nonblocking(true).unwrap();
    let refused = |host: &str, glances_host: &str, port: u16| {
        let mut wanted = server(&format!("{host} {glances_host} {port}"), 22);
        wanted["host"] = json!(host);
        wanted["glances_host"] = json!(glances_host);
        wanted["glances_port"] = json!(port);
        let id = admin.post("/api/servers", &wanted).is(201)["id"].as_i64().unwrap();
        let probed = admin.post(&format!("{}/probe-glances", at(id)), &json!({})).json();
        assert_eq!(
            probed["error_code"], "address_refused",
            "{host} {glances_host} {port}: {probed}"
        );
        id
    };
    // Our own port; a service of this machine; cloud metadata addresses.
    refused("127.0.0.1", "127.0.0.1", house.address.port());
    refused("192.0.2.1", "127.0.0.1", ours.local_addr().unwrap().port());
    refused("192.0.2.2", "::ffff:127.0.0.1", ours.local_addr().unwrap().port());
    let cloud = refused("169.254.169.254", "169.254.169.254", 80);
    assert!(ours.accept().is_err(), "somebody was there");
    let check = admin.post(&format!("{}/check-ssh", at(cloud)), &json!({})).is(202);
    let ended = house.wait_for(check["task_id"].as_i64().unwrap());
    assert!(ended.to_string().contains("address_refused"), "{ended}");
}

#[test]
fn a_server_is_reached_at_its_next_address_when_the_first_is_closed() {
    let Some(house) = House::with_names("::1 localhost\n127.0.0.1 localhost\n") else {
        return;
    };
    let (admin, door) = (house.admin(), Door::new(1)); // on 127.0.0.1 alone
    let mut wanted = server("two", door.port);
    wanted["host"] = json!("localhost");
    let id = admin.post("/api/servers", &wanted).is(201)["id"].as_i64().unwrap();
    eventually("its key is shown", || {
        (admin.get(&at(id)).is(200)["host_key_fingerprint"] == door.fingerprint()).then_some(())
    });
    admin
        .post(
            &format!("{}/accept-host-key", at(id)),
            &json!({ "fingerprint": door.fingerprint() }),
        )
        .is(200);
    let check = || {
        let task = admin.post(&format!("{}/check-ssh", at(id)), &json!({})).is(202);
        house.wait_for(task["task_id"].as_i64().unwrap())
    };
    let ended = check();
    assert_eq!(door.logins(), 1, "{ended}");
    // Where no address answers, the last one says why.
    drop(door);
    let ended = check();
    assert_eq!(ended["error"]["code"], "ssh_refused", "{ended}");
}

#[test]
fn a_name_that_means_another_machine_is_told_once_and_a_round_robin_is_not() {
    let Some(mut house) = House::with_names("127.0.0.1 localhost\n") else {
        return;
    };
    let body = fake::data("glances/4.3.3/full/all.json");
    let glances =
        fake::Fake::everywhere(move |_, peer| drop(peer.write_all(&fake::http("200 OK", "application/json", &body))));
    let mut wanted = server("moves", 9);
    wanted["host"] = json!("localhost");
    wanted["glances_port"] = json!(glances.port);
    let id = house.admin().post("/api/servers", &wanted).is(201)["id"]
        .as_i64()
        .unwrap();
    let polled = |house: &House, what: &str, good: &dyn Fn(&Value) -> bool| {
        eventually(what, || Some(house.admin().get(&at(id)).is(200)).filter(good))
    };
    polled(&house, "it is lit", &|s| s["status"] == "ok");
    let moves = |house: &House| -> i64 {
        let sql = "SELECT count(*) FROM events WHERE kind = 'server.moved'";
        house
            .database("lamplighter.db")
            .query_row(sql, [], |r| r.get(0))
            .unwrap()
    };
    assert_eq!(moves(&house), 0);
    // A name is looked up again within a minute; at a start it is at once.
    let means = |house: &mut House, lines: &str| {
        house.stop();
        house.set_names(lines);
        house.start();
    };
    means(&mut house, "127.0.0.2 localhost\n");
    let shown = polled(&house, "the move is seen", &|s| s["moved_at"].is_string());
    assert_eq!(shown["moved"], "its name means 127.0.0.2 now; it was 127.0.0.1");
    assert_eq!(moves(&house), 1);
    assert!(
        house.said().contains("a server's name resolves to other addresses"),
        "{}",
        house.said()
    );
    let page = house.browser_of_admin().get(&format!("/servers/{id}"));
    assert!(
        page.has("its name means 127.0.0.2 now; it was 127.0.0.1"),
        "{}",
        page.body
    );
    // Some of several addresses in turn, or one that is known already, is no news.
    for lines in [
        "127.0.0.2 localhost\n127.0.0.3 localhost\n",
        "127.0.0.3 localhost\n",
        "127.0.0.1 localhost\n",
    ] {
        let before = house.admin().get(&at(id)).is(200)["last_sample"].clone();
        means(&mut house, lines);
        let sql = "SELECT addresses FROM servers WHERE id = ?1";
        eventually("it is polled there", || {
            let known: String = house
                .database("lamplighter.db")
                .query_row(sql, [id], |r| r.get(0))
                .unwrap();
            let now = house.admin().get(&at(id)).is(200);
            (now["last_sample"] != before && known.contains("127.0.0.3")).then_some(())
        });
    }
    assert_eq!(moves(&house), 1);
    // Another host is another machine, and nothing is known of its name.
    let elsewhere = json!({ "host": "127.0.0.1", "password": "some password" });
    house.admin().patch(&at(id), &elsewhere).is(200);
    assert_eq!(house.admin().get(&at(id)).is(200)["moved_at"], Value::Null);
}

#[test]
fn nothing_has_a_name_that_looks_like_another_one() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let resources = [
        ("/api/servers", server("", 9)),
        ("/api/groups", json!({})),
        (
            "/api/alert-rules",
            json!({ "watches": "disk", "threshold": 80, "clear": 75 }),
        ),
        ("/api/certificates", json!({})),
        (
            "/api/notifications",
            json!({ "type": "webhook", "url": "https://example.org/x" }),
        ),
    ];
    // Zero width, direction, tags, fillers; a joiner, though scripts and emoji are spelled with it.
    for c in
        "\u{200b}\u{2060}\u{feff}\u{ad}\u{202e}\u{2066}\u{200f}\u{61c}\u{e0041}\u{3164}\u{200c}\u{200d}\u{fe0f}".chars()
    {
        for (path, body) in &resources {
            let mut body = body.clone();
            body["name"] = json!(format!("we{c}b"));
            let answer = admin.post(path, &body);
            let wrong = answer.is(422)["fields"].clone();
            let name = wrong.as_array().unwrap().iter().find(|f| f["field"] == "name");
            let name = name.unwrap_or_else(|| panic!("{path} took {c:?}"));
            let code = format!(
                "Character 3 of name cannot be seen or turns the reading direction (U+{:04X})",
                c as u32
            );
            assert!(name["message"].as_str().unwrap().starts_with(&code), "{name}");
        }
    }
    let mut tagged = server("web", 9);
    tagged["tags"] = json!(["prod", "pro\u{200b}d"]);
    assert_eq!(admin.post("/api/servers", &tagged).wrong_fields(), ["tags"]);
    // Running text is spelled as its script wants, and nothing in it turns around.
    let mut described = server("Сервер №1 ✓", 9);
    described["description"] = json!("می\u{200c}خواهم 👩\u{200d}💻");
    let id = admin.post("/api/servers", &described).is(201)["id"].as_i64().unwrap();
    let turned = admin.patch(&at(id), &json!({ "description": "ab\u{202e}cd" }));
    assert_eq!(turned.wrong_fields(), ["description"]);
}

#[test]
fn where_glances_would_come_from_is_told_before_and_what_is_not_ours_stays() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let id = admin.post("/api/servers", &server("plain", 22)).is(201)["id"]
        .as_i64()
        .unwrap();
    let path = format!("{}/install-glances", at(id));
    let told = admin.get(&path).is(200);
    assert_eq!((&told["next"], &told["bundle"]), (&json!(null), &json!(null)));
    assert_eq!(
        admin.post(&path, &json!({ "source": "pip" })).wrong_fields(),
        ["source"]
    );

    for bad in ["glances.tar", "/srv/../etc/x.tar", "/etc/passwd"] {
        let refused = admin.put("/api/settings", &json!({ "glances.bundle": bad }));
        assert_eq!(refused.wrong_fields(), ["glances.bundle"], "{bad}");
    }
    // What lies there is looked at each time: nothing, something else, a bundle.
    let dir = std::path::PathBuf::from(house.dir());
    let file = dir.join("wheels.tar");
    admin
        .put("/api/settings", &json!({ "glances.bundle": file.to_str().unwrap() }))
        .is(200);
    let tar = |names: &[&str]| {
        names
            .iter()
            .for_each(|name| std::fs::write(dir.join(name), name).unwrap());
        let mut tar = std::process::Command::new("tar");
        assert!(
            tar.arg("-C")
                .arg(&dir)
                .arg("-cf")
                .arg(&file)
                .args(names)
                .status()
                .unwrap()
                .success()
        );
        admin.get(&path).is(200)
    };
    let none = admin.get(&path).is(200);
    assert!(
        none["bundle_problem"].as_str().unwrap().contains("wheels.tar"),
        "{none}"
    );
    for other in [
        &["psutil-7.0-any.whl"][..],
        &["glances-4.4.1-py3-none-any.whl", "setup.py"],
    ] {
        let seen = tar(other);
        assert!(seen["bundle"].is_null() && seen["bundle_problem"].is_string(), "{seen}");
    }
    let seen = tar(&["glances-4.4.1-py3-none-any.whl", "psutil-7.0-any.whl"]);
    let sum = std::process::Command::new("sha256sum").arg(&file).output().unwrap();
    let sum = String::from_utf8_lossy(&sum.stdout)[..64].to_string();
    assert_eq!(
        (
            &seen["bundle"]["sha256"],
            &seen["bundle"]["glances"],
            &seen["bundle"]["wheels"]
        ),
        (&json!(sum), &json!(["4.4.1"]), &json!(2)),
        "{seen}"
    );
    assert!(
        admin
            .get(&format!("/servers/{id}/install-glances"))
            .text()
            .contains(&sum)
    );

    let remove = format!("{}/remove-glances", at(id));
    admin.post(&remove, &json!({})).fails(409, "glances_not_ours");
    assert_eq!(admin.get(&format!("/servers/{id}/remove-glances")).status, 200);
}

#[test]
fn who_may_ask_glances_is_kept_from_one_installation_to_the_next() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let given = |server: &Value| [server["glances_allow"].clone(), server["glances_bind"].clone()];
    let made = admin.post("/api/servers", &server("plain", 22)).is(201);
    assert_eq!(given(&made), [json!([]), json!("")]);
    admin
        .put("/api/settings", &json!({ "glances.allow": "controller, 10.0.0.0/8" }))
        .is(200);
    let refused = admin.put("/api/settings", &json!({ "glances.allow": "10.0.0.1/8" }));
    assert!(refused.is(422)["detail"].as_str().unwrap().contains("first address"));
    let made = admin.post("/api/servers", &server("fresh", 22)).is(201);
    let (id, list) = (made["id"].as_i64().unwrap(), json!(["controller", "10.0.0.0/8"]));
    assert_eq!(given(&made), [list.clone(), json!("")]);
    assert_eq!(given(&admin.put(&at(id), &made).is(200)), given(&made));

    // The next installation does as is written there, whoever starts it; what is sent with it wins.
    let wish = |body: Value| {
        let path = format!("{}/install-glances", at(id));
        let task = admin.post(&path, &body).is(202)["task_id"].as_i64().unwrap();
        let sql = "SELECT input FROM tasks WHERE id = ?1";
        let input: String = house
            .database("lamplighter.db")
            .query_row(sql, [task], |r| r.get(0))
            .unwrap();
        admin.post(&format!("/api/tasks/{task}/cancel"), &json!({})).is(202); // there is one at a time
        serde_json::from_str::<Value>(&input).unwrap()
    };
    let plain = wish(json!({}));
    assert_eq!((&plain["profile"], &plain["allow"]), (&json!("protected"), &list));
    assert_eq!(wish(json!({ "allow": [] }))["allow"], json!([]));
    assert_eq!(
        wish(json!({ "allow": "192.0.2.7, fd00::/8" }))["allow"],
        json!(["192.0.2.7", "fd00::/8"])
    );
    admin
        .patch(
            &at(id),
            &json!({ "glances_bind": "10.0.0.7", "glances_allow": ["controller"] }),
        )
        .is(200);
    let bound = wish(json!({}));
    assert_eq!(
        bound,
        json!({ "profile": "bind", "address": "10.0.0.7", "allow": ["controller"] })
    );
    let wrong = admin.patch(&at(id), &json!({ "glances_bind": "eth0", "glances_allow": ["me"] }));
    assert_eq!(wrong.wrong_fields(), ["glances_allow", "glances_bind"]);
    let page = admin.get(&format!("/servers/{id}/install-glances")).text();
    assert!(
        page.contains("value=\"controller\"") && page.contains("value=\"10.0.0.7\""),
        "{page}"
    );
    let export = run(&["export", "--data-dir", house.dir()]);
    assert!(
        said(&export).contains("\"glances_bind\": \"10.0.0.7\""),
        "{}",
        said(&export)
    );

    // The same in the form of the server, and for all that are added from now on.
    let mut browser = house.browser_of_admin();
    let form = browser.get(&format!("/servers/{id}/edit"));
    for (field, value) in [("glances_allow", "controller"), ("glances_bind", "10.0.0.7")] {
        let shown = format!("id=\"{field}\" name=\"{field}\" type=\"text\" value=\"{value}\"");
        assert!(form.has(&shown), "{shown}: {}", form.body);
    }
    let typed = |bind| [("glances_allow", "controller 192.0.2.0/24"), ("glances_bind", bind)];
    let refused = browser.post(&format!("/servers/{id}"), &typed("everywhere"));
    assert!(
        refused.status == 422 && refused.has("own IP addresses"),
        "{}",
        refused.body
    );
    assert_eq!(browser.post(&format!("/servers/{id}"), &typed("host")).status, 303);
    assert_eq!(
        given(&admin.get(&at(id)).is(200)),
        [json!(["controller", "192.0.2.0/24"]), json!("127.0.0.1")]
    );
    assert!(
        admin
            .put("/api/settings", &json!({ "glances.bind": "10.0.0.7" }))
            .status
            == 422
    );
    admin.put("/api/settings", &json!({ "glances.bind": "host" })).is(200);
    assert!(
        browser
            .get("/servers/new")
            .has("name=\"glances_bind\" type=\"text\" value=\"host\"")
    );
    let of = |name: &str, host: &str| {
        let mut wanted = server(name, 22);
        wanted["host"] = json!(host);
        given(&admin.post("/api/servers", &wanted).is(201))[1].clone()
    };
    assert_eq!(
        [of("numbered", "192.0.2.9"), of("named", "web.example")],
        ["192.0.2.9", ""]
    );
}

#[test]
fn a_server_is_added_shown_changed_and_removed() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let mut wanted = json!({
        "name": "Веб-сервер №1", "host": "WEB-1.Example.net.", "ssh_port": "2222", "username": "deploy",
        "auth_type": "password", "description": "first\nand second line", "tags": ["prod", "eu-1", "Prod"],
        "public_ips": ["192.0.2.7", "2001:db8::7"], "glances_scheme": "https", "glances_host": "10.0.0.7",
        "glances_port": 61209, "glances_path": "/api/4/all", "glances_auth_type": "basic",
        "glances_username": "operator", "glances_tls_pin": "AB".repeat(32), "poll_interval_s": 60,
    });
    wanted["password"] = json!(house.canary("sign-in password"));
    wanted["glances_password"] = json!(house.canary("glances password"));
    let answer = admin.post("/api/servers", &wanted);
    let made = answer.is(201);
    let id = made["id"].as_i64().unwrap();
    assert_eq!(answer.header("location"), Some(&*at(id)));
    for (field, value) in [
        ("name", json!("Веб-сервер №1")),
        ("host", json!("web-1.example.net")),
        ("ssh_port", json!(2222)),
        ("username", json!("deploy")),
        ("auth_type", json!("password")),
        ("description", json!("first\nand second line")),
        ("tags", json!(["prod", "eu-1"])),
        ("public_ips", json!(["192.0.2.7", "2001:db8::7"])),
        ("glances_host", json!("10.0.0.7")),
        ("glances_tls_pin", json!("ab".repeat(32))),
        ("has_password", json!(true)),
        ("has_glances_password", json!(true)),
        ("has_ssh_key", json!(false)),
        ("status", json!("provisioning")),
        ("host_key_state", json!("unknown")),
        ("host_key_fingerprint", Value::Null),
        ("glances_api_version", Value::Null),
        ("last_sample", Value::Null),
    ] {
        assert_eq!(made[field], value, "{field}");
    }
    assert_eq!(admin.get(&at(id)).is(200), made);

    // What is not sent stays; what is read-only may come back.
    let mut changed = admin.patch(&at(id), &json!({ "description": "new" })).is(200);
    assert_eq!(changed["description"], "new");
    changed["description"] = made["description"].clone();
    changed["updated_at"] = made["updated_at"].clone();
    assert_eq!(changed, made);
    let back = admin.put(&at(id), &made).is(200);
    assert_eq!((&back["tags"], &back["has_password"]), (&made["tags"], &json!(true)));
    // PUT takes defaults for what is not sent, but no secret away that is still meant for the same place.
    let put = admin.put(
        &at(id),
        &json!({
            "name": "web", "host": "web-1.example.net", "ssh_port": 2222, "username": "deploy", "auth_type": "password",
            "glances_scheme": "https", "glances_host": "10.0.0.7", "glances_port": 61209,
            "glances_tls_pin": "AB".repeat(32),
        }),
    );
    let put = put.is(200);
    assert_eq!(
        (&put["poll_interval_s"], &put["tags"], &put["glances_path"]),
        (&json!(30), &json!([]), &json!("/api/3/all"))
    );
    assert_eq!(
        (&put["has_password"], &put["has_glances_password"]),
        (&json!(true), &json!(true))
    );
    let bare = admin.put(&at(id), &json!({ "description": "only this" }));
    bare.is(422);
    assert_eq!(
        bare.wrong_fields().iter().collect::<BTreeSet<_>>().len(),
        4,
        "name, host, username, key"
    );

    // Null and the empty text take a secret away; one that is still needed is asked for.
    for nothing in [Value::Null, json!("")] {
        admin
            .patch(&at(id), &json!({ "glances_password": house.canary("glances again") }))
            .is(200);
        let gone = admin.patch(&at(id), &json!({ "glances_password": nothing })).is(200);
        assert_eq!(gone["has_glances_password"], false);
    }
    let needed = admin.patch(&at(id), &json!({ "password": null }));
    needed.is(422);
    assert_eq!(needed.wrong_fields(), ["password"]);

    assert_eq!(admin.delete(&at(id)).status, 204);
    admin.get(&at(id)).fails(404, "not_found");
    admin.delete(&at(id)).fails(404, "not_found");
    admin
        .patch(&at(id), &json!({ "description": "x" }))
        .fails(404, "not_found");
    assert_eq!(total(&admin), 0);
}

#[test]
fn of_two_who_change_one_server_at_once_nobody_takes_back_what_the_other_was_promised() {
    let house = House::with(Processes::ApiOnly, &[]);
    let id = add(&house.admin(), "web");
    let write = |field: &str| {
        let client = house.admin();
        for n in 1..=40 {
            let value = format!("{field} {n}");
            // Who comes too late is told so, and comes again.
            eventually("it is taken", || {
                let answer = client.patch(&at(id), &json!({ field: value }));
                if answer.status != 200 {
                    answer.fails(409, "server_changed");
                }
                (answer.status == 200).then_some(())
            });
            assert_eq!(
                client.get(&at(id)).is(200)[field],
                value,
                "somebody else's change took ours back"
            );
        }
    };
    std::thread::scope(|scope| {
        for field in ["description", "name", "glances_username"] {
            let write = &write;
            scope.spawn(move || write(field));
        }
    });
}

#[test]
fn a_typo_in_a_field_is_told_and_nothing_is_stored() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let mut wanted = server("web", 22);
    wanted["ssh_prot"] = json!(2222);
    let answer = admin.post("/api/servers", &wanted);
    assert!(
        answer.fails(422, "unknown_field")["detail"]
            .as_str()
            .unwrap()
            .contains("ssh_prot")
    );
    // Several mistakes: all at once, each with its field.
    let answer = admin.post(
        "/api/servers",
        &json!({ "name": "", "host": "a b", "ssh_port": 0, "username": "-x" }),
    );
    answer.fails(422, "invalid");
    let wrong: BTreeSet<_> = answer.wrong_fields().into_iter().collect();
    assert_eq!(
        wrong,
        ["name", "host", "ssh_port", "username", "ssh_key"]
            .map(String::from)
            .into()
    );
    assert_eq!(total(&admin), 0);
}

#[test]
fn two_servers_never_have_one_name() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let id = add(&admin, "web");
    let other = add(&admin, "mail");
    for name in ["web", "WEB", " web "] {
        let twin = admin.post("/api/servers", &server(name, 22));
        twin.fails(409, "duplicate");
        assert_eq!(twin.wrong_fields(), ["name"]);
    }
    admin
        .patch(&at(other), &json!({ "name": "Web" }))
        .fails(409, "duplicate");
    admin.patch(&at(id), &json!({ "name": "WEB" })).is(200); // its own
    assert_eq!(total(&admin), 2);
}

#[test]
fn the_list_is_searched_filtered_sorted_and_paged() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    for n in 0..12 {
        let mut one = server(&format!("srv-{n:02}"), 22);
        one["tags"] = json!(if n % 2 == 0 { ["even", "a_b"] } else { ["odd", "axb"] });
        one["description"] = json!(if n == 7 { "the 100 % one" } else { "" });
        admin.post("/api/servers", &one).is(201);
    }
    let list = |query: &str| admin.get(&format!("/api/servers?{query}")).is(200);
    let all = list("");
    assert_eq!((all["total"].as_i64(), names(&all).len()), (Some(12), 12));
    let page = list("limit=5&offset=10");
    assert_eq!(
        (names(&page), page["total"].as_i64()),
        (vec!["srv-10", "srv-11"], Some(12))
    );
    assert_eq!(names(&list("sort=-name&limit=2")), ["srv-11", "srv-10"]);
    assert_eq!(list("tag=even")["total"], 6);
    assert_eq!(list("tag=EVEN")["total"], 6);
    assert_eq!(list("tag=eve")["total"], 0, "a tag is whole");
    assert_eq!(
        names(&list("q=100%20%25")),
        ["srv-07"],
        "% is a character, not a pattern"
    );
    assert_eq!(list("q=a_b")["total"], 6, "_ is a character, too");
    assert_eq!(list("q=SRV-03")["total"], 1);
    assert_eq!(list("q=127.0.0")["total"], 12);
    assert_eq!(list("q=' OR 1=1 --".replace(' ', "%20").as_str())["total"], 0);
    assert_eq!(list("status=provisioning")["total"], 12);
    assert_eq!(list("status=ok&q=srv")["total"], 0);
    assert_eq!(list("offset=500")["total"], 12);
}

#[test]
fn a_host_key_given_with_the_server_is_pinned_at_once() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let door = Door::new(1);
    let mut wanted = server("web", door.port);
    wanted["host_key"] = json!(format!("{}  a comment", door.key_line()));
    let made = admin.post("/api/servers", &wanted).is(201);
    assert_eq!(made["host_key_state"], "pinned");
    assert_eq!(made["host_key_fingerprint"], door.fingerprint());
    let tasks = admin.get("/api/tasks").is(200);
    assert_eq!(tasks["total"], 0, "nobody needs to look: {tasks}");
    for bad in [
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-dss AAAAB3NzaC1kc3MAAAA",
        "$(id)",
        "ssh-rsa x\nssh-rsa y",
    ] {
        let mut wanted = server("mail", 22);
        wanted["host_key"] = json!(bad);
        let refused = admin.post("/api/servers", &wanted);
        refused.is(422);
        assert_eq!(refused.wrong_fields(), ["host_key"], "{bad}");
    }
    // A new address is a new machine.
    let moved = admin
        .patch(
            &at(made["id"].as_i64().unwrap()),
            &json!({ "host": "localhost", "password": "some password" }),
        )
        .is(200);
    assert_eq!(
        (&moved["host_key_state"], &moved["host_key_fingerprint"]),
        (&json!("unknown"), &Value::Null)
    );
}

#[test]
fn a_stored_secret_goes_to_no_other_place_than_it_was_given_for() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let mut wanted = server("web", 22);
    wanted["host_key"] = json!(Door::new(1).key_line());
    wanted["glances_auth_type"] = json!("basic");
    wanted["glances_username"] = json!("lamp");
    wanted["glances_password"] = json!(house.canary("glances password"));
    wanted["glances_token"] = json!(house.canary("glances token"));
    wanted["glances_host"] = json!("10.0.0.7");
    let id = admin.post("/api/servers", &wanted).is(201)["id"].as_i64().unwrap();
    let refused = |change: Value, fields: &[&str]| {
        let answer = admin.patch(&at(id), &change);
        answer.is(422);
        assert_eq!(answer.wrong_fields(), fields, "{change}");
        assert!(answer.text().contains("not sent anywhere else"), "{change}");
    };
    // Where the password for the login goes: as a login, and as sudo's beside a key.
    let key = String::from_utf8(data("ssh-keys/ed25519")).unwrap();
    for (field, value) in [
        ("host", json!("192.0.2.66")),
        ("ssh_port", json!(2222)),
        ("username", json!("eve")),
    ] {
        refused(json!({ field: value }), &["password"]);
        refused(
            json!({ field: value, "auth_type": "ssh_key", "ssh_key": key }),
            &["password"],
        );
    }
    // Where Glances' goes; the host is no part of it here. Whoever changes the pin may stand in between.
    for (field, value) in [
        ("glances_host", json!("192.0.2.66")),
        ("glances_port", json!(666)),
        ("glances_scheme", json!("https")),
        ("glances_tls_pin", json!("ab".repeat(32))),
    ] {
        refused(json!({ field: value }), &["glances_password"]);
        refused(
            json!({ field: value, "glances_auth_type": "token" }),
            &["glances_token"],
        );
    }
    assert_eq!(admin.get(&at(id)).is(200)["host_key_state"], "pinned");

    // Given again it may go, and the new machine's key is looked at first.
    let moved = json!({ "host": "192.0.2.66", "password": house.canary("given again") });
    let moved = admin.patch(&at(id), &moved).is(200);
    assert_eq!(
        (&moved["host_key_state"], &moved["has_glances_password"]),
        (&json!("unknown"), &json!(true))
    );
    // Glances follows the host: so does the question.
    let here = json!({ "glances_host": "", "glances_password": house.canary("glances again") });
    assert_eq!(
        admin.patch(&at(id), &here).is(200)["has_glances_token"],
        false,
        "it was not in use"
    );
    refused(
        json!({ "host": "192.0.2.67", "password": house.canary("and again") }),
        &["glances_password"],
    );
    // Switching to "no login" first does not help: an unused secret is not kept for the new place.
    let gone = json!({ "glances_auth_type": "none", "glances_port": 667 });
    assert_eq!(admin.patch(&at(id), &gone).is(200)["has_glances_password"], false);
    // A key tells nothing to the machine that asks for it.
    let keyed = json!({ "auth_type": "ssh_key", "ssh_key": key, "password": null });
    admin.patch(&at(id), &keyed).is(200);
    let moved = admin.patch(&at(id), &json!({ "host": "192.0.2.68" })).is(200);
    assert_eq!(moved["has_ssh_key"], true);
}

// ---- hostile input ---------------------------------------------------------------------------------------------------

fn post(admin: &Client, wanted: &Value) -> Answer {
    admin.send("POST", "/api/servers", Some(("application/json", &body(wanted))))
}

/// The field of our API that a fixture's field is about.
const FIELDS: [(&str, &str); 6] = [
    ("host", "host"),
    ("port", "ssh_port"),
    ("ssh_user", "username"),
    ("name", "name"),
    ("tags", "tags"),
    ("path", "glances_path"),
];

#[test]
fn hostile_values_are_refused_by_name_and_good_ones_taken_as_they_are() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    for (fixture, field) in FIELDS {
        for bad in inputs(fixture, "bad") {
            let mut wanted = server("of bad input", 22);
            wanted[field] = bad.clone();
            let answer = post(&admin, &wanted);
            assert!((400..500).contains(&answer.status), "{field} {bad}: {}", answer.status);
            let told = answer.json();
            if answer.status == 422 {
                assert_eq!(answer.wrong_fields(), [field], "{bad}: {told}");
            } else {
                assert_eq!(told["error_code"], "bad_json", "{field} {bad}: {told}"); // bytes that are no text
            }
            assert_eq!(total(&admin), 0, "{field} {bad} was stored");
        }
        for kind in ["ok", "safe"] {
            if kind == "safe" && fixture != "name" {
                continue;
            }
            for good in inputs(fixture, kind) {
                let mut wanted = server("of good input", 22);
                wanted[field] = good.clone();
                let made = post(&admin, &wanted).is(201);
                let kept = good
                    .as_str()
                    .filter(|_| field == "ssh_port")
                    .map_or(good.clone(), |digits| json!(digits.parse::<u16>().unwrap()));
                assert_eq!(made[field], kept, "{field}");
                let id = made["id"].as_i64().unwrap();
                assert_eq!(admin.get(&at(id)).is(200)[field], kept);
                assert_eq!(admin.delete(&at(id)).status, 204);
            }
        }
    }
}

#[test]
fn what_would_run_in_a_shell_or_in_nginx_is_only_text_or_refused() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let browser = house
        .client()
        .by(Who::cookie(&house.sign_in(ADMIN, &house.password), house.address));
    let nasty: Vec<Value> = ["shell_in_any_field", "nginx_in_any_field"]
        .iter()
        .flat_map(|k| inputs(k, ""))
        .collect();
    let safe = inputs("name", "safe");
    let fields = [
        "name",
        "host",
        "username",
        "description",
        "glances_host",
        "glances_path",
        "glances_username",
        "glances_tls_pin",
    ];
    let mut taken = 0;
    for value in nasty.iter().chain(&safe) {
        for field in fields.iter().chain(&["tags", "public_ips"]) {
            let is_list = ["tags", "public_ips"].contains(field);
            let sent = if is_list { json!([value]) } else { value.clone() };
            let mut wanted = server("plain", 22);
            wanted[*field] = sent.clone();
            let answer = post(&admin, &wanted);
            if answer.status == 201 {
                let made = answer.json();
                // A DNS name has no case.
                let kept = if field.contains("host") {
                    json!(value.as_str().unwrap().to_lowercase())
                } else {
                    sent
                };
                assert_eq!(made[*field], kept, "{field} came out otherwise");
                let page = browser.get(&format!("/servers/{}", made["id"]));
                assert_eq!(page.status, 200, "{}", page.text());
                let text = value.as_str().unwrap();
                assert!(
                    !text.contains("<") || !page.text().contains(text),
                    "{field}: {text} stands in the page as it is"
                );
                assert_eq!(admin.delete(&at(made["id"].as_i64().unwrap())).status, 204);
                taken += 1;
            } else {
                answer.is(422);
                assert_eq!(answer.wrong_fields(), [*field], "{value}");
            }
            assert_eq!(total(&admin), 0);
        }
    }
    assert!(taken > 50, "{taken}: names and descriptions may hold anything");
    assert!(!Path::new("/tmp/pwned").exists() && !Path::new("/tmp/pwn").exists());
}

#[test]
fn bodies_and_queries_that_make_no_sense_are_refused() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    for bad in inputs("json_body", "bad") {
        let bytes = match bad.get("b64") {
            Some(coded) => text::unbase64(coded.as_str().unwrap()).unwrap(),
            None => bad.as_str().unwrap().as_bytes().to_vec(),
        };
        for (method, path) in [
            ("POST", "/api/servers"),
            ("POST", "/api/auth/login"),
            ("PUT", "/api/settings"),
        ] {
            let answer = admin.send(method, path, Some(("application/json", &bytes)));
            // An empty body is an empty object: of a setting, that is no change.
            let empty = bytes.is_empty() && path == "/api/settings";
            assert!(
                empty || (400..500).contains(&answer.status),
                "{path} {bad}: {}",
                answer.status
            );
        }
    }
    for kind in ["text/plain", "application/xml", "multipart/form-data; boundary=x"] {
        let answer = admin.send(
            "POST",
            "/api/servers",
            Some((kind, server("web", 22).to_string().as_bytes())),
        );
        answer.fails(400, "not_json");
    }
    let deep = "[".repeat(100_000);
    let answer = admin.send("POST", "/api/servers", Some(("application/json", deep.as_bytes())));
    answer.fails(400, "bad_json");
    assert_eq!(total(&admin), 0);
    for bad in inputs("query", "bad") {
        let query = bad.as_str().unwrap();
        let path = match query.split_once('=').unwrap().0 {
            "since" => "/api/alerts",
            "order" | "page" => continue, // no list here has such a parameter
            _ => "/api/servers",
        };
        let answer = admin.get(&format!("{path}?{query}"));
        assert!((400..500).contains(&answer.status), "{path}?{query}: {}", answer.status);
    }
    for bad in ["status=happy", "status=ok&sort=host", "tag=%ff", "limit=0", "limit=501"] {
        let status = admin.get(&format!("/api/servers?{bad}")).status;
        assert!([400, 422].contains(&status), "{bad}: {status}");
    }
}

// ---- secrets ---------------------------------------------------------------------------------------------------------

#[test]
fn secrets_go_in_and_never_come_out() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let browser = house
        .client()
        .by(Who::cookie(&house.sign_in(ADMIN, &house.password), house.address));
    let id = add(&admin, "web");
    let mut told = String::new();
    for value in inputs("secret_values", "") {
        let value = value.as_str().unwrap();
        for field in ["password", "glances_password", "glances_token"] {
            // Long enough to be looked for: the fixture's own are as short as `a:b`.
            let secret = house.canary(format!("{value}-{}", lamplighter::base::random::name()));
            let answer = admin.patch(&at(id), &json!({ field: secret }));
            answer.is(200);
            told += &answer.text();
            let mut bad = json!({ field: secret, "host": "a b" }); // an error must not quote its neighbour
            told += &admin.patch(&at(id), &bad).text();
            bad[field] = json!([secret]);
            told += &admin.patch(&at(id), &bad).text();
            told += &admin
                .send(
                    "PATCH",
                    &at(id),
                    Some((
                        "application/json",
                        format!("{{\"{field}\": {}", json!(secret)).as_bytes(),
                    )),
                )
                .text();
            assert_eq!(lamplighter_secret(&told, &secret), None, "{field}");
        }
    }
    for path in [at(id), "/api/servers".into(), "/api/tasks".into()] {
        told += &admin.get(&path).text();
    }
    for path in [
        format!("/servers/{id}"),
        format!("/servers/{id}/edit"),
        "/servers".into(),
        "/".into(),
    ] {
        let page = browser.get(&path);
        assert_eq!(page.status, 200, "{path}: {}", page.text());
        told += &page.text();
    }
    // The form comes back with its mistake, but without the password.
    let secret = house.canary("typed into a form");
    let page = browser.form(
        &format!("/servers/{id}"),
        "name=web&host=a+b&username=root&password=typed+into+a+form",
    );
    assert_eq!(page.status, 422, "{}", page.text());
    told += &page.text();
    assert_eq!(lamplighter_secret(&told, &secret), None);
    assert!(!told.contains("some password"));
    for broken in ["two\nlines", "a\rb", "nul\0byte"] {
        let answer = admin.patch(&at(id), &json!({ "password": broken }));
        answer.is(422);
        assert_eq!(answer.wrong_fields(), ["password"]);
    }
    let long = admin.patch(&at(id), &json!({ "password": "x".repeat(1_025) }));
    assert_eq!((long.status, long.wrong_fields()), (422, vec!["password".to_string()]));
}

fn lamplighter_secret(told: &str, secret: &str) -> Option<&'static str> {
    found_in(told.as_bytes(), secret)
}

#[test]
fn pasted_keys_are_mended_or_judged_when_they_are_typed() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let manifest: Value = serde_json::from_slice(&data("ssh-keys/manifest.json")).unwrap();
    let passphrase = manifest["passphrase"].as_str().unwrap();
    let wanted = |key: &str, passphrase: Option<&str>| {
        let mut wanted = server("by key", 22);
        wanted.as_object_mut().unwrap().remove("password");
        wanted["ssh_key"] = json!(key);
        if let Some(passphrase) = passphrase {
            wanted["ssh_key_passphrase"] = json!(passphrase);
        }
        wanted
    };
    let mut opened = 0;
    for entry in manifest["keys"].as_array().unwrap() {
        let file = entry["file"].as_str().unwrap();
        let bytes = data(&format!("ssh-keys/{file}"));
        let Ok(key) = String::from_utf8(bytes) else { continue };
        let encrypted = entry["opens_with_passphrase"] == true;
        let opens = entry["opens_after_cleaning"] == true && file != "oversize"; // 70 kB are no key
        let answer = admin.post("/api/servers", &wanted(&key, encrypted.then_some(passphrase)));
        if !opens {
            answer.is(422);
            assert_eq!(answer.wrong_fields(), ["ssh_key"], "{file}: {}", answer.text());
            assert_eq!(total(&admin), 0, "{file}");
            continue;
        }
        let made = answer.is(201);
        opened += 1;
        assert_eq!(
            (&made["has_ssh_key"], &made["has_passphrase"]),
            (&json!(true), &json!(encrypted)),
            "{file}"
        );
        assert_eq!(made["auth_type"], "ssh_key");
        assert_eq!(admin.delete(&at(made["id"].as_i64().unwrap())).status, 204);
        if encrypted {
            for (wrong, code) in [
                (Some("wrong one"), "ssh_wrong_passphrase"),
                (None, "ssh_passphrase_needed"),
            ] {
                let answer = admin.post("/api/servers", &wanted(&key, wrong));
                answer.is(422);
                assert_eq!(
                    answer.wrong_fields(),
                    ["ssh_key_passphrase"],
                    "{file}: {}",
                    answer.text()
                );
                assert_eq!(answer.json()["fields"][0]["code"], code);
            }
        }
    }
    assert!(opened > 15, "{opened}");
    // A passphrase that comes later is tried on the stored key, and a key on the stored passphrase.
    let key = |file: &str| String::from_utf8(data(&format!("ssh-keys/{file}"))).unwrap();
    let id = admin
        .post("/api/servers", &wanted(&key("ed25519_pass"), Some(passphrase)))
        .is(201)["id"]
        .as_i64()
        .unwrap();
    let answer = admin.patch(&at(id), &json!({ "ssh_key_passphrase": "another one" }));
    answer.is(422);
    assert_eq!(answer.wrong_fields(), ["ssh_key_passphrase"]);
    admin
        .patch(&at(id), &json!({ "ssh_key": key("ed25519_pass_gcm") }))
        .is(200);
    admin.patch(&at(id), &json!({ "ssh_key_passphrase": null })).is(422);
    admin
        .patch(
            &at(id),
            &json!({ "ssh_key": key("ed25519_crlf"), "ssh_key_passphrase": null }),
        )
        .is(200);
}

#[test]
fn a_server_that_is_worked_on_neither_goes_nor_moves() {
    let house = House::new();
    let (admin, door) = (house.admin(), Door::new(1));
    let mut wanted = server("web", door.port);
    wanted["host_key"] = json!(door.key_line());
    let id = admin.post("/api/servers", &wanted).is(201)["id"].as_i64().unwrap();
    let path = format!("/api/servers/{id}");
    door.hold_logins();
    let task = admin.post(&format!("{path}/check-ssh"), &json!({})).is(202)["task_id"]
        .as_i64()
        .unwrap();
    // A look at the host key waits behind it; being newer, it must not hide the work.
    let db = house.database("lamplighter.db");
    db.execute(
        "INSERT INTO tasks (kind, target_type, target_id, target_name, input, status, created_by, request_id, created_at)
         VALUES ('server.look_host_key', 'server', ?1, 'web', '{}', 'queued', 'system', '', 0)",
        [id],
    )
    .unwrap();
    admin.delete(&path).fails(409, "task_open");
    admin
        .patch(&path, &json!({ "host": "192.0.2.1", "password": "some password" }))
        .fails(409, "task_open");
    assert_eq!(
        admin.patch(&path, &json!({ "description": "x" })).is(200)["description"],
        "x"
    );
    door.open();
    house.wait_for(task);
    eventually("nothing works on it", || {
        (admin.delete(&path).status == 204).then_some(())
    });
}

#[test]
fn a_key_accepted_while_a_look_is_under_way_stays_accepted() {
    let house = House::new();
    let (admin, door) = (house.admin(), Door::new(1));
    door.shut();
    let id = admin.post("/api/servers", &server("web", door.port)).is(201)["id"]
        .as_i64()
        .unwrap();
    let path = format!("/api/servers/{id}");
    eventually("the look is under way", || (door.waiting() > 0).then_some(()));
    let given = json!({ "host_key": Door::new(2).key_line() });
    assert_eq!(admin.patch(&path, &given).is(200)["host_key_state"], "pinned");
    door.open();
    let look = house.wait_for(house.newest_task(id, "server.look_host_key"));
    assert_eq!(look["error"]["code"], "server_changed", "{look}");
    assert_eq!(admin.get(&path).is(200)["host_key_state"], "pinned");
}

#[test]
fn a_server_that_moves_while_a_look_is_under_way_gets_another_one() {
    let house = House::new();
    let (admin, old, new) = (house.admin(), Door::new(1), Door::new(2));
    old.shut();
    let id = admin.post("/api/servers", &server("web", old.port)).is(201)["id"]
        .as_i64()
        .unwrap();
    let path = format!("/api/servers/{id}");
    eventually("the look is under way", || (old.waiting() > 0).then_some(()));
    let first = house.newest_task(id, "server.look_host_key");
    let there = json!({ "ssh_port": new.port, "password": "some password" });
    assert_eq!(admin.patch(&path, &there).is(200)["host_key_state"], "unknown");
    old.open();
    assert_eq!(house.wait_for(first)["error"]["code"], "server_changed");
    let look = eventually("another look", || {
        let newest = house.newest_task(id, "server.look_host_key");
        Some(newest).filter(|newest| *newest != first)
    });
    assert_eq!(house.wait_for(look)["error"], Value::Null);
    assert_eq!(admin.get(&path).is(200)["host_key_state"], "pending");
}

#[test]
fn a_new_key_given_by_hand_settles_the_alert_of_the_changed_one() {
    let house = House::new();
    let (admin, door) = (house.admin(), Door::new(1));
    let mut wanted = server("web", door.port);
    wanted["host_key"] = json!(door.key_line());
    let id = admin.post("/api/servers", &wanted).is(201)["id"].as_i64().unwrap();
    let path = format!("/api/servers/{id}");
    door.rekey(2);
    let task = admin.post(&format!("{path}/check-ssh"), &json!({})).is(202)["task_id"]
        .as_i64()
        .unwrap();
    house.wait_for(task);
    let open = || admin.get("/api/alerts?state=open").is(200)["total"].as_i64().unwrap();
    eventually("the alert", || (open() == 1).then_some(()));
    admin.patch(&path, &json!({ "host_key": door.key_line() })).is(200);
    eventually("it is settled", || (open() == 0).then_some(()));
}
