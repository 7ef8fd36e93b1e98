//! Accounts: invited by a link, given a role, disabled, removed; and the confirmation asked before dangerous changes.

use crate::common::*;
use serde_json::{Value, json};

/// A client that has just confirmed with its password.
fn confirmed(house: &House, login: &str, password: &str) -> Client {
    let client = house.client().by(Who::bearer(&house.sign_in(login, password)));
    client.post("/api/me/confirm", &json!({ "password": password })).is(204);
    client
}

fn boss(house: &House) -> Client {
    confirmed(house, ADMIN, &house.password)
}

/// Invites somebody; gives their number and what stands at the end of their link.
fn invited(by: &Client, login: &str, role: &str) -> (i64, String) {
    let made = by.post("/api/users", &json!({ "login": login, "role": role })).is(201);
    let url = made["invite_url"].as_str().unwrap();
    let token = url
        .strip_prefix("/invite?token=")
        .expect("a path while nobody has said more");
    (made["id"].as_i64().unwrap(), token.into())
}

fn audit(house: &House, action: &str) -> i64 {
    let sql = "SELECT count(*) FROM audit WHERE action = ?1";
    house
        .database("lamplighter.db")
        .query_row(sql, [action], |r| r.get(0))
        .unwrap()
}

#[test]
fn an_invitation_is_a_link_that_works_once() {
    let house = House::new();
    let admin = house.admin();
    let new = json!({ "login": "anna", "role": "operator", "email": "anna@example.org" });
    let made = admin.post("/api/users", &new).is(201);
    let (id, url) = (
        made["id"].as_i64().unwrap(),
        made["invite_url"].as_str().unwrap().to_string(),
    );
    let token = house.canary(url.strip_prefix("/invite?token=").unwrap());
    assert!(token.len() >= 43, "256 bits");
    let listed = admin.get("/api/users?q=example.org").is(200);
    assert_eq!(listed["total"], 1);
    let anna = &listed["items"][0];
    assert_eq!(
        (
            &anna["id"],
            &anna["state"],
            &anna["role"],
            &anna["email"],
            &anna["last_login_at"]
        ),
        (
            &json!(id),
            &json!("invited"),
            &json!("operator"),
            &json!("anna@example.org"),
            &Value::Null
        )
    );
    assert!(anna["invited_until"].is_string());
    house.sign_in("anna", "").is(422);
    house.sign_in("anna", "whatever it is").fails(401, "wrong_login");

    // The link as a page, then the API; a password that does not fit uses nothing up.
    let page = house.client().get(&url);
    assert!(page.status == 200 && page.text().contains("anna"), "{}", page.text());
    let register = |invite: &str, password: &str| {
        let body = json!({ "invite": invite, "password": password });
        house.client().post("/api/auth/register", &body)
    };
    register(&token, "short").is(422);
    let password = house.canary("anna walks at noon");
    let answer = register(&token, &password);
    let tokens = answer.is(201);
    house.canary(tokens["access_token"].as_str().unwrap());
    assert_eq!(tokens["user"], json!({ "login": "anna", "role": "operator" }));
    register(&token, "another good sentence").fails(403, "invite_dead");
    assert_eq!(house.client().get(&url).status, 403);
    house.sign_in("anna", &password).is(200);
    let anna = admin.get(&format!("/api/users/{id}")).is(200);
    assert_eq!(anna["state"], "active");
    assert!(anna["last_login_at"].is_string() && anna["invited_until"].is_null());
    assert_eq!(
        (audit(&house, "user.create"), audit(&house, "user.accept_invite")),
        (2, 1)
    );

    // A fresh link replaces the last one, and an old one is good no more.
    let boss = boss(&house);
    let fresh = || {
        let made = boss.post(&format!("/api/users/{id}/invite"), &json!({})).is(201);
        made["invite_url"]
            .as_str()
            .unwrap()
            .strip_prefix("/invite?token=")
            .unwrap()
            .to_string()
    };
    let (first, second) = (fresh(), fresh());
    register(&first, "another good sentence").fails(403, "invite_dead");
    let late = "UPDATE invites SET expires_at = expires_at - 7 * 86400000";
    house.database("lamplighter.db").execute(late, []).unwrap();
    register(&second, "another good sentence").fails(403, "invite_dead");
    let third = fresh();
    register(&third, &house.canary("another good sentence")).is(201);
    house.sign_in("anna", &password).fails(401, "wrong_login");

    // With a name of its own outside the link is whole.
    admin
        .put(
            "/api/settings",
            &json!({ "site.public_url": "https://lamp.example.org/" }),
        )
        .is(200);
    let made = admin
        .post("/api/users", &json!({ "login": "bert", "role": "viewer" }))
        .is(201);
    assert!(
        made["invite_url"]
            .as_str()
            .unwrap()
            .starts_with("https://lamp.example.org/invite?token=")
    );
    // A program has no password.
    let made = admin
        .post("/api/users", &json!({ "login": "robot", "role": "automation" }))
        .is(201);
    assert!(made["invite_url"].is_null());
    boss.post(&format!("/api/users/{}/invite", made["id"]), &json!({}))
        .fails(409, "no_invite");
}

#[test]
fn what_is_wrong_with_an_invitation_is_told_by_field() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    for (body, fields) in [
        (json!({}), &["login", "role"][..]),
        (json!({ "login": "-x", "role": "boss" }), &["login", "role"]),
        (json!({ "login": "x", "role": "viewer", "email": "nobody" }), &["email"]),
        (json!({ "login": ADMIN.to_uppercase(), "role": "viewer" }), &["login"]),
    ] {
        let answer = admin.post("/api/users", &body);
        assert!([409, 422].contains(&answer.status), "{}", answer.text());
        assert_eq!(answer.wrong_fields(), fields, "{body}");
    }
    for role in ["operator", "viewer"] {
        let other = house.somebody(role);
        other.get("/api/users").fails(403, "forbidden");
        other
            .post("/api/users", &json!({ "login": "friend", "role": "admin" }))
            .fails(403, "forbidden");
        other
            .patch("/api/users/1", &json!({ "role": "admin" }))
            .fails(403, "forbidden");
        assert_eq!(other.get("/users").status, 403);
    }
}

#[test]
fn what_is_dangerous_is_done_by_who_has_just_shown_that_it_is_them() {
    let house = House::new();
    let admin = house.admin();
    let (id, _) = invited(&admin, "anna", "viewer");
    let path = format!("/api/users/{id}");
    let promote = json!({ "role": "operator" });
    admin.patch(&path, &promote).fails(403, "confirm_required");
    admin.delete(&path).fails(403, "confirm_required");
    assert_eq!(admin.get("/api/auth/me").is(200)["confirmed_until"], Value::Null);
    admin.post("/api/me/confirm", &json!({})).is(422);
    admin
        .post("/api/me/confirm", &json!({ "password": "not it" }))
        .fails(403, "wrong_confirmation");
    admin.patch(&path, &promote).fails(403, "confirm_required");
    admin
        .post("/api/me/confirm", &json!({ "password": house.password }))
        .is(204);
    assert!(admin.get("/api/auth/me").is(200)["confirmed_until"].is_string());
    assert_eq!(admin.patch(&path, &promote).is(200)["role"], "operator");
    // Another sign-in of the same user is not confirmed.
    let other = house.client().by(Who::bearer(&house.sign_in(ADMIN, &house.password)));
    other.patch(&path, &promote).fails(403, "confirm_required");
    // After ten minutes the confirmation expires.
    let late = "UPDATE confirmations SET at = at - 600000";
    house.database("lamplighter.db").execute(late, []).unwrap();
    admin.delete(&path).fails(403, "confirm_required");

    // A page without script asks on the way, with all that was sent, and goes on with it.
    let browser = house
        .client()
        .by(Who::cookie(&house.sign_in(ADMIN, &house.password), house.address));
    let Who::Cookie(_, csrf) = browser.who() else {
        unreachable!()
    };
    let form = format!("csrf={csrf}&role=viewer&email=anna%40example.org");
    let asked = browser.form(&format!("/users/{id}"), &form);
    assert_eq!(asked.status, 403);
    let page = asked.text();
    for part in [
        format!("action=\"/users/{id}\""),
        "name=\"role\" value=\"viewer\"".into(),
        "name=\"email\" value=\"anna@example.org\"".into(),
        "name=\"confirm_password\"".into(),
    ] {
        assert!(page.contains(&part), "{part}: {page}");
    }
    let wrong = browser.form(&format!("/users/{id}"), &format!("{form}&confirm_password=no"));
    assert!(wrong.status == 403 && wrong.text().contains("name=\"role\" value=\"viewer\""));
    let role = || admin.get(&path).is(200)["role"].clone();
    assert_eq!(role(), "operator");
    let password = &house.password;
    let done = browser.form(&format!("/users/{id}"), &format!("{form}&confirm_password={password}"));
    assert_eq!((done.status, role()), (303, json!("viewer")));
    assert_eq!(
        browser
            .form(&format!("/users/{id}/disable"), &format!("csrf={csrf}"))
            .status,
        303
    );
    assert_eq!(audit(&house, "auth.confirm"), 2);
}

#[test]
fn guessing_at_the_question_who_it_is_waits_like_guessing_at_the_door() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let guess = || admin.post("/api/me/confirm", &json!({ "password": "a guess" }));
    for _ in 0..5 {
        guess().fails(403, "wrong_confirmation");
    }
    let sixth = guess();
    sixth.fails(429, "too_many_sign_ins");
    assert!(sixth.header("retry-after").is_some());
    admin
        .post("/api/me/confirm", &json!({ "password": house.password }))
        .fails(429, "too_many_sign_ins");
    admin
        .post("/api/me/password", &json!({ "old": house.password, "new": "x" }))
        .fails(429, "too_many_sign_ins");
    // `unlock` works on the data folder, with a running daemon too.
    let unlock = run(&["unlock", ADMIN, "--data-dir", house.dir()]);
    assert!(unlock.status.success(), "{}", said(&unlock));
    house.sign_in(ADMIN, &house.password).is(200);
    assert_eq!(audit(&house, "user.unlock"), 1);
}

#[test]
fn another_role_and_being_disabled_count_at_once() {
    let house = House::new();
    let boss = boss(&house);
    let password = house.account("anna", "operator");
    let id = boss.get("/api/users?q=anna").is(200)["items"][0]["id"]
        .as_i64()
        .unwrap();
    let path = format!("/api/users/{id}");
    let answer = house.sign_in("anna", &password);
    let both = [Who::bearer(&answer), Who::cookie(&answer, house.address)].map(|who| house.client().by(who));
    let mut live = both[1].stream("/api/events/stream", None);
    for anna in &both {
        anna.get("/api/servers").is(200);
    }
    boss.patch(&path, &json!({ "role": "viewer" })).is(200);
    for anna in &both {
        anna.get("/api/servers").fails(401, "unauthorized");
    }
    assert!(live.ends(), "what is watched ends, too");

    let answer = house.sign_in("anna", &password);
    assert_eq!(answer.is(200)["user"]["role"], "viewer");
    let anna = house.client().by(Who::bearer(&answer));
    boss.patch(&path, &json!({ "disabled": true })).is(200);
    anna.get("/api/servers").fails(401, "unauthorized");
    house.sign_in("anna", &password).fails(401, "wrong_login");
    assert_eq!(
        boss.patch(&path, &json!({ "disabled": false })).is(200)["state"],
        "active"
    );
    house.sign_in("anna", &password).is(200);

    // What was got can be sent back.
    let got = boss.get(&path).is(200);
    assert_eq!(boss.patch(&path, &got).is(200), got);

    let anna = house.client().by(Who::bearer(&house.sign_in("anna", &password)));
    boss.delete(&format!("{path}/sessions")).is(204);
    anna.get("/api/servers").fails(401, "unauthorized");
    let anna = house.client().by(Who::bearer(&house.sign_in("anna", &password)));
    boss.delete(&path).is(204);
    anna.get("/api/servers").fails(401, "unauthorized");
    boss.get(&path).fails(404, "not_found");
    let sql = "SELECT count(*) FROM audit WHERE actor = 'anna'";
    let kept: i64 = house
        .database("lamplighter.db")
        .query_row(sql, [], |r| r.get(0))
        .unwrap();
    assert!(kept > 0, "the audit keeps what they did");
    for (action, times) in [
        ("user.set_role", 1),
        ("user.disable", 1),
        ("user.enable", 1),
        ("user.delete", 1),
    ] {
        assert_eq!(audit(&house, action), times, "{action}");
    }
}

#[test]
fn the_last_administrator_stays() {
    let house = House::new();
    let mut boss = boss(&house);
    let me = format!("/api/users/{}", boss.get("/api/auth/me").is(200)["id"]);
    let all = |boss: &Client, path: &str| {
        boss.patch(path, &json!({ "role": "viewer" })).fails(409, "last_admin");
        boss.patch(path, &json!({ "disabled": true })).fails(409, "last_admin");
        boss.delete(path).fails(409, "last_admin");
    };
    all(&boss, &me);
    let by_hand = run(&["disable-user", "--login", ADMIN, "--data-dir", house.dir()]);
    assert!(!by_hand.status.success() && said(&by_hand).contains("last administrator"));
    // Somebody who was only invited, or is disabled, does not count.
    let (second, token) = invited(&boss, "second", "admin");
    all(&boss, &me);
    let password = house.canary("the second sentence");
    let accept = json!({ "invite": token, "password": password });
    let accepted = house.client().post("/api/auth/register", &accept).is(201);
    house.canary(accepted["access_token"].as_str().unwrap());
    let path = format!("/api/users/{second}");
    boss.patch(&path, &json!({ "disabled": true })).is(200);
    all(&boss, &me);
    boss.patch(&path, &json!({ "disabled": false })).is(200);
    boss.patch(&me, &json!({ "role": "viewer" })).is(200);
    boss = confirmed(&house, "second", &password);
    all(&boss, &path);
    boss.delete(&me).is(204);
}

#[test]
fn of_two_who_go_at_once_one_administrator_stays() {
    let house = House::new();
    let password = house.account("second", "admin");
    let both = [boss(&house), confirmed(&house, "second", &password)];
    let paths = both
        .each_ref()
        .map(|boss| format!("/api/users/{}", boss.get("/api/auth/me").is(200)["id"]));
    let gone = std::thread::scope(|scope| {
        let delete = |(boss, path): (&Client, &String)| {
            let (boss, path) = (house.client().by(boss.who().clone()), path.clone());
            scope.spawn(move || boss.delete(&path).status)
        };
        let all: Vec<_> = both.iter().zip(&paths).map(delete).collect();
        all.into_iter()
            .map(|one| one.join().unwrap())
            .filter(|status| *status == 204)
            .count()
    });
    assert_eq!(gone, 1);
}

#[test]
fn who_asks_is_told_what_they_may() {
    let house = House::with(Processes::ApiOnly, &[]);
    let me = house.somebody("viewer").get("/api/auth/me").is(200);
    let rights: Vec<_> = me["rights"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r.as_str().unwrap())
        .collect();
    assert!(
        rights.contains(&"servers:read") && !rights.contains(&"servers:edit"),
        "{rights:?}"
    );
    assert_eq!((&me["totp"], &me["role"]), (&json!(false), &json!("viewer")));
    let admin = house.admin().get("/api/auth/me").is(200);
    assert!(admin["rights"].as_array().unwrap().contains(&json!("users:edit")));
}
