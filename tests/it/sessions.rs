//! The user's own account: password, two-step sign-in, open sign-ins.

use crate::common::*;
use lamplighter::access::totp;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// The bytes of a secret as it is typed.
fn bytes_of(base32: &str) -> Vec<u8> {
    let digit = |c: u8| if c.is_ascii_digit() { c - b'2' + 26 } else { c - b'A' };
    let bits: Vec<u8> = base32
        .bytes()
        .flat_map(|c| (0..5).rev().map(move |i| digit(c) >> i & 1))
        .collect();
    bits.chunks_exact(8)
        .map(|byte| byte.iter().fold(0, |all, bit| all << 1 | bit))
        .collect()
}

/// What an authenticator shows so many steps from now.
pub fn code(secret: &str, steps: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    totp::code(&bytes_of(secret), now / totp::STEP_S + steps)
}

/// Switches it on; gives the secret and the recovery codes.
fn with_totp(house: &House, client: &Client) -> (String, Vec<String>) {
    let begun = client.post("/api/me/totp", &json!({})).is(200);
    let secret = house.canary(begun["secret"].as_str().unwrap());
    let codes = client
        .post("/api/me/totp/confirm", &json!({ "code": code(&secret, -1) }))
        .is(200);
    let codes: Vec<String> = codes["recovery_codes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c.as_str().unwrap().into())
        .collect();
    codes.iter().for_each(|code| drop(house.canary(code.clone())));
    (secret, codes)
}

fn sign_in(house: &House, login: &str, password: &str, code: &str) -> Answer {
    let body = json!({ "login": login, "password": password, "totp": code });
    let answer = house.client().post("/api/auth/login", &body);
    if answer.status == 200 {
        house.canary(answer.json()["access_token"].as_str().unwrap());
    }
    answer
}

#[test]
fn a_new_password_of_ones_own_ends_all_other_sign_ins() {
    let house = House::new();
    let password = house.account("anna", "viewer");
    let clients = || {
        let answer = house.sign_in("anna", &password);
        let refresh = answer.json()["refresh_token"].clone();
        (
            house.client().by(Who::bearer(&answer)),
            house.client().by(Who::cookie(&answer, house.address)),
            refresh,
        )
    };
    let (mine, my_browser, _) = clients();
    let (other, other_browser, refresh) = clients();
    let mut live = other_browser.stream("/api/events/stream", None);
    let new = house.canary("the lamp was lit at noon");
    let change = |old: &str, new: &str| mine.post("/api/me/password", &json!({ "old": old, "new": new }));
    change("not the old one", &new).fails(403, "wrong_password");
    assert_eq!(change(&password, "short").wrong_fields(), ["new"]);
    other.get("/api/auth/me").is(200);
    change(&password, &new).is(204);
    other.get("/api/auth/me").fails(401, "unauthorized");
    other_browser.get("/api/auth/me").fails(401, "unauthorized");
    let again = house
        .client()
        .post("/api/auth/refresh", &json!({ "refresh_token": refresh }));
    again.fails(401, "refresh_token_dead");
    assert!(live.ends());
    mine.get("/api/auth/me").is(200);
    my_browser.get("/api/auth/me").is(200);
    house.sign_in("anna", &password).fails(401, "wrong_login");
    house.sign_in("anna", &new).is(200);
}

#[test]
fn the_places_where_one_is_signed_in_are_told_and_ended() {
    let house = House::with(Processes::One, &[("LAMPLIGHTER_TRUSTED_PROXIES", "127.0.0.1")]);
    let password = house.account("anna", "viewer");
    let from = |ip: &str, agent: &str| {
        let client = house.client().with("X-Forwarded-For", ip).with("User-Agent", agent);
        let answer = client.post("/api/auth/login", &json!({ "login": "anna", "password": password }));
        house.client().by(Who::bearer(&answer))
    };
    let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
    let (home, work) = (from("192.0.2.7", firefox), from("2001:db8::9", "curl/7.88.1"));
    let list = |client: &Client| {
        client.get("/api/me/sessions").is(200)["items"]
            .as_array()
            .unwrap()
            .clone()
    };
    let all = list(&home);
    assert_eq!(all.len(), 2, "{all:?}");
    let of = |ip: &str| {
        all.iter()
            .find(|s| s["ip"] == ip)
            .unwrap_or_else(|| panic!("{ip}: {all:?}"))
    };
    let (here, there) = (of("192.0.2.7"), of("2001:db8::9"));
    assert_eq!(
        (&here["browser"], &here["current"], &here["user_agent"]),
        (&json!("Firefox, Linux"), &json!(true), &json!(firefox))
    );
    assert_eq!((&there["browser"], &there["current"]), (&json!("curl"), &json!(false)));
    assert!(here["created_at"].is_string() && here["last_seen_at"].is_string());

    // Only one's own.
    let admin = house.admin();
    let id = there["id"].as_str().unwrap();
    admin.delete(&format!("/api/me/sessions/{id}")).fails(404, "not_found");
    home.delete("/api/me/sessions/nonsense").fails(404, "not_found");
    home.delete(&format!("/api/me/sessions/{id}")).is(204);
    work.get("/api/auth/me").fails(401, "unauthorized");
    let others = [from("192.0.2.8", ""), from("192.0.2.9", "")];
    home.delete("/api/me/sessions").is(204);
    for other in others {
        other.get("/api/auth/me").fails(401, "unauthorized");
    }
    assert_eq!(list(&home).len(), 1);
    // One may end this very one, too.
    home.delete(&format!("/api/me/sessions/{}", here["id"].as_str().unwrap()))
        .is(204);
    home.get("/api/auth/me").fails(401, "unauthorized");
    admin.get("/api/auth/me").is(200);
}

#[test]
fn a_session_ends_by_the_settings() {
    let house = House::new();
    let browser = || {
        house
            .client()
            .by(Who::cookie(&house.sign_in(ADMIN, &house.password), house.address))
    };
    let (idle, old) = (browser(), browser());
    let db = house.database("lamplighter.db");
    let shift = |column: &str, minutes: i64| {
        let sql = format!("UPDATE sessions SET {column} = {column} - {minutes} * 60000");
        db.execute(&sql, []).unwrap();
    };
    let set = |settings: Value| house.admin().put("/api/settings", &settings).is(200);
    shift("seen_at", 30);
    idle.get("/api/auth/me").is(200);
    shift("seen_at", 30);
    set(json!({ "session.idle_minutes": 20 }));
    idle.get("/api/auth/me").fails(401, "unauthorized");
    set(json!({ "session.idle_minutes": null }));
    old.get("/api/auth/me").is(200);
    shift("created_at", 90);
    old.get("/api/auth/me").is(200);
    set(json!({ "session.life_hours": 1 }));
    old.get("/api/auth/me").fails(401, "unauthorized");
    let cookie = house.sign_in(ADMIN, &house.password);
    assert!(cookie.header("set-cookie").unwrap().contains("Max-Age=3600"));
}

#[test]
fn a_sign_in_takes_a_code_where_there_is_an_authenticator() {
    let house = House::new();
    let password = house.account("anna", "viewer");
    let anna = house.client().by(Who::bearer(&house.sign_in("anna", &password)));
    anna.post("/api/me/totp/confirm", &json!({ "code": "123456" }))
        .fails(409, "totp_not_begun");
    let begun = anna.post("/api/me/totp", &json!({})).is(200);
    let secret = begun["secret"].as_str().unwrap();
    assert_eq!(bytes_of(secret).len(), 20);
    let uri = format!("otpauth://totp/Lamplighter:anna?secret={secret}&issuer=Lamplighter");
    assert_eq!(begun["uri"], uri.as_str());
    // Begun is not on: a code shows that the authenticator has it.
    house.sign_in("anna", &password).is(200);
    assert_eq!(
        anna.post("/api/me/totp/confirm", &json!({ "code": "000000x" }))
            .wrong_fields(),
        ["code"]
    );
    let (secret, codes) = with_totp(&house, &anna);
    assert!(codes.len() >= 8, "{}", codes.len());
    assert_eq!(anna.get("/api/auth/me").is(200)["totp"], true);
    anna.post("/api/me/totp", &json!({})).fails(409, "totp_is_on");

    house.sign_in("anna", &password).fails(401, "totp_required");
    house.sign_in("anna", "wrong").fails(401, "wrong_login");
    sign_in(&house, "anna", "wrong", &code(&secret, 0)).fails(401, "wrong_login");
    sign_in(&house, "anna", &password, &code(&secret, -1)).fails(401, "wrong_totp"); // confirmed it: used
    let now = code(&secret, 0);
    sign_in(&house, "anna", &password, &now).is(200);
    sign_in(&house, "anna", &password, &now).fails(401, "wrong_totp"); // each is good once
    // So is a recovery code, however it is typed.
    let typed = codes[0].replace('-', " ").to_uppercase();
    sign_in(&house, "anna", &password, &typed).is(200);
    sign_in(&house, "anna", &password, &codes[0]).fails(401, "wrong_totp");

    // Off again, and new codes, only by who shows that it is them; a code will do.
    anna.delete("/api/me/totp").fails(403, "confirm_required");
    anna.post("/api/me/totp/recovery-codes", &json!({}))
        .fails(403, "confirm_required");
    anna.post("/api/me/confirm", &json!({ "totp": codes[1] })).is(204);
    let fresh = anna.post("/api/me/totp/recovery-codes", &json!({})).is(200);
    let fresh = house.canary(fresh["recovery_codes"][0].as_str().unwrap());
    sign_in(&house, "anna", &password, &codes[2]).fails(401, "wrong_totp");
    sign_in(&house, "anna", &password, &fresh).is(200);
    anna.delete("/api/me/totp").is(204);
    anna.delete("/api/me/totp").fails(409, "totp_is_off");
    house.sign_in("anna", &password).is(200);
}

#[test]
fn who_has_lost_their_authenticator_is_let_in_by_an_administrator() {
    let house = House::new();
    let password = house.account("anna", "viewer");
    let anna = house.client().by(Who::bearer(&house.sign_in("anna", &password)));
    with_totp(&house, &anna);
    let admin = house.admin();
    let listed = admin.get("/api/users?q=anna").is(200);
    assert_eq!(listed["items"][0]["totp"], true);
    let path = format!("/api/users/{}/totp", listed["items"][0]["id"]);
    admin.delete(&path).fails(403, "confirm_required");
    admin
        .post("/api/me/confirm", &json!({ "password": house.password }))
        .is(204);
    admin.delete(&path).is(204);
    anna.get("/api/auth/me").fails(401, "unauthorized");
    house.sign_in("anna", &password).is(200);
    admin.delete(&path).fails(409, "totp_is_off");
    let sql = "SELECT count(*) FROM audit WHERE action = 'user.totp_reset' AND actor = 'root-admin'";
    let told: i64 = house
        .database("lamplighter.db")
        .query_row(sql, [], |r| r.get(0))
        .unwrap();
    assert_eq!(told, 1);
}

#[test]
fn codes_are_not_to_be_guessed_from_many_addresses() {
    let house = House::with(Processes::ApiOnly, &[("LAMPLIGHTER_TRUSTED_PROXIES", "127.0.0.1")]);
    let password = house.account("anna", "viewer");
    let known = house.sign_in("anna", &password);
    let device = known.cookies().into_iter().find(|c| c.contains("_device=")).unwrap();
    let anna = house.client().by(Who::bearer(&known));
    let (secret, codes) = with_totp(&house, &anna);
    let from = |ip: &str, code: &str| {
        let client = house.client().with("X-Forwarded-For", ip);
        client.post(
            "/api/auth/login",
            &json!({ "login": "anna", "password": password, "totp": code }),
        )
    };
    for n in 0..5 {
        from(&format!("198.51.100.{n}"), "000000").fails(401, "wrong_totp");
    }
    from("198.51.100.9", &codes[0]).fails(429, "too_many_sign_ins");
    // The owner's known device is not throttled by others' failures.
    let own = house
        .client()
        .with("X-Forwarded-For", "192.0.2.5")
        .with("Cookie", &device);
    let body = json!({ "login": "anna", "password": password, "totp": code(&secret, 0) });
    own.post("/api/auth/login", &body).is(200);
}

#[test]
fn the_page_of_the_sign_in_asks_for_the_code_in_a_second_step() {
    let house = House::new();
    let password = house.account("anna", "viewer");
    let anna = house.client().by(Who::bearer(&house.sign_in("anna", &password)));
    let (secret, codes) = with_totp(&house, &anna);
    let stranger = house.client();
    let asked = stranger.form("/login", &format!("login=anna&password={password}&next=%2Fservers"));
    let page = asked.text();
    assert_eq!(asked.status, 200, "{page}");
    assert!(
        asked.header("set-cookie").is_none() && !page.contains(&password),
        "the password does not travel back"
    );
    let (_, ticket) = page.split_once("name=\"ticket\" value=\"").expect("a second step");
    let ticket = ticket.split('"').next().unwrap();
    let step = |ticket: &str, code: &str| {
        stranger.form(
            "/login",
            &format!("login=anna&ticket={ticket}&totp={code}&next=%2Fservers"),
        )
    };
    let wrong = step(ticket, "000000");
    assert!(
        wrong.status == 422 && wrong.text().contains("name=\"ticket\""),
        "{}",
        wrong.text()
    );
    let forged = step(&ticket.replacen('.', "0.", 1), &code(&secret, 0));
    assert!(forged.status == 422 && forged.text().contains("name=\"password\""));
    let done = step(ticket, &code(&secret, 0));
    assert_eq!((done.status, done.header("location")), (303, Some("/servers")));
    // A new password makes a ticket of before useless.
    anna.post(
        "/api/me/password",
        &json!({ "old": password, "new": house.canary("a new long sentence") }),
    )
    .is(204);
    assert_eq!(step(ticket, &codes[0]).status, 422);
}
