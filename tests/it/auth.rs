//! Sign-in and sign-out by browsers, programs and attackers.

use crate::common;

use common::*;
use lamplighter::base::text;
use lamplighter::db::{Db, Durability, schema};
use lamplighter::vault::{self, Vault};
use ring::hmac;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A daemon behind a trusted proxy, so that each test has client addresses of its own.
fn behind_a_proxy() -> House {
    House::with(Processes::One, &[("LAMPLIGHTER_TRUSTED_PROXIES", "127.0.0.1")])
}

fn from(house: &House, ip: &str) -> Client {
    house.client().with("X-Forwarded-For", ip)
}

fn credentials(login: &str, password: &str) -> Value {
    json!({ "login": login, "password": password })
}

#[test]
fn a_sign_in_answers_as_scripts_rely_on() {
    let house = House::new();
    let answer = house.sign_in(ADMIN, &house.password);
    let body = answer.is(200);
    let mut keys: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        ["access_token", "expires_in", "refresh_token", "token_type", "user"]
    );
    assert_eq!(
        (&body["token_type"], &body["expires_in"]),
        (&json!("bearer"), &json!(900))
    );
    assert_eq!(body["user"], json!({ "login": ADMIN, "role": "admin" }));
    let cookie = answer.header("set-cookie").unwrap();
    for flag in ["; Path=/", "; HttpOnly", "; SameSite=Strict", "; Max-Age="] {
        assert!(cookie.contains(flag), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "over plain HTTP a browser would drop it");
    assert!(answer.cookie().1.len() >= 43, "256 bits");

    let bearer = house.client().by(Who::bearer(&answer));
    let browser = house.client().by(Who::cookie(&answer, house.address));
    for client in [bearer, browser] {
        let me = client.get("/api/auth/me").is(200);
        assert_eq!((&me["login"], &me["role"]), (&json!(ADMIN), &json!("admin")));
    }
    for alias in ["username", "email"] {
        let again = house
            .client()
            .post("/api/auth/login", &json!({ alias: ADMIN, "password": house.password }));
        again.is(200);
        assert_ne!(again.cookie(), answer.cookie(), "each sign-in is a session of its own");
    }
}

#[test]
fn behind_tls_the_cookie_is_bound_to_this_host_and_to_tls() {
    let house = behind_a_proxy();
    let answer = from(&house, "192.0.2.1")
        .with("X-Forwarded-Proto", "https")
        .post("/api/auth/login", &credentials(ADMIN, &house.password));
    let cookie = answer.header("set-cookie").unwrap();
    assert!(
        cookie.starts_with("__Host-lamplighter=") && cookie.contains("; Secure"),
        "{cookie}"
    );
    // `X-Forwarded-For` from an untrusted peer is ignored.
    let stranger = House::new();
    let answer = stranger
        .client()
        .with("X-Forwarded-Proto", "https")
        .post("/api/auth/login", &credentials(ADMIN, &stranger.password));
    assert!(answer.header("set-cookie").unwrap().starts_with("lamplighter_session="));
}

#[test]
fn who_may_not_sign_in_hears_the_same_words_whatever_the_reason() {
    let house = behind_a_proxy();
    let robot = house.account("robot", "automation");
    let blocked = house.account("blocked", "viewer");
    house
        .database("lamplighter.db")
        .execute("UPDATE users SET disabled = 1 WHERE login = 'blocked'", [])
        .unwrap();
    let long = "x".repeat(60_000);
    let mut answers = Vec::new();
    for (n, (login, password)) in [
        (ADMIN, "not the password"),
        ("nobody-of-this-name", "not the password"),
        ("robot", &robot),
        ("blocked", &blocked),
        (ADMIN, &long),
        ("root-admin\0", &house.password),
        ("' OR 1=1 --", "x"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = from(&house, &format!("192.0.2.{n}")).post("/api/auth/login", &credentials(login, password));
        let mut body = answer.fails(401, "wrong_login");
        assert!(answer.header("set-cookie").is_none());
        body["timestamp"] = Value::Null;
        body["request_id"] = Value::Null;
        let mut headers: Vec<_> = answer.headers.iter().map(|(name, _)| name.clone()).collect();
        headers.sort();
        answers.push((body, headers));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
}

#[test]
fn what_is_missing_or_too_much_is_told_by_field() {
    let house = behind_a_proxy();
    for (n, (body, field)) in [
        (json!({ "login": ADMIN, "password": "" }), "password"),
        (json!({ "login": ADMIN }), "password"),
        (json!({ "login": "", "password": "x" }), "login"),
        (json!({ "login": ["a"], "password": "x" }), "login"),
        (json!({ "login": ADMIN, "password": { "a": 1 } }), "password"),
        (json!({ "login": "x".repeat(300), "password": "x" }), "login"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = from(&house, &format!("192.0.2.{n}")).post("/api/auth/login", &body);
        answer.is(422);
        assert_eq!(answer.wrong_fields(), [field], "{}", answer.text());
    }
    // Oversized bodies are refused unread.
    let flood = json!({ "login": ADMIN, "password": "x".repeat(100_001) });
    from(&house, "192.0.2.98")
        .post("/api/auth/login", &flood)
        .fails(413, "body_too_large");
    // The rule for case is: it does not matter, and the answer has the login as it was made.
    let shouted = from(&house, "192.0.2.99").post("/api/auth/login", &credentials("ROOT-Admin", &house.password));
    assert_eq!(shouted.is(200)["user"]["login"], ADMIN);
}

#[test]
fn the_sixth_wrong_try_waits_and_only_those_concerned_wait() {
    let house = behind_a_proxy();
    let anna = house.account("anna", "viewer");
    let wrong = || from(&house, "192.0.2.1").post("/api/auth/login", &credentials(ADMIN, "wrong"));
    for _ in 0..5 {
        wrong().fails(401, "wrong_login");
    }
    let sixth = wrong();
    sixth.fails(429, "too_many_sign_ins");
    let wait: u64 = sixth.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let right = from(&house, "192.0.2.1").post("/api/auth/login", &credentials(ADMIN, &house.password));
    right.fails(429, "too_many_sign_ins"); // or guessing would go on, one answer in six
    let page = from(&house, "192.0.2.1").form("/login", "login=root-admin&password=wrong");
    assert_eq!(page.status, 429, "the page is no way around");
    assert!(page.header("retry-after").is_some());
    from(&house, "192.0.2.1")
        .post("/api/auth/login", &credentials("anna", &anna))
        .fails(429, "too_many_sign_ins"); // the address waits
    from(&house, "192.0.2.2")
        .post("/api/auth/login", &credentials("anna", &anna))
        .is(200); // others do not
    // Of `X-Forwarded-For` only the last entry counts, which the proxy itself wrote.
    let forged = from(&house, "203.0.113.77, 192.0.2.1").post("/api/auth/login", &credentials("anna", &anna));
    forged.fails(429, "too_many_sign_ins");
}

#[test]
fn nobody_can_keep_another_from_signing_in() {
    let house = behind_a_proxy();
    let mallory = house.account("mallory", "viewer");
    let right = credentials(ADMIN, &house.password);
    let try_from = |ip: &str, login: &str, password: &str| {
        from(&house, ip)
            .post("/api/auth/login", &credentials(login, password))
            .status
    };
    // From one address; signing in successfully in between does not reset the count …
    for guess in 0..4 {
        assert_eq!(try_from("198.51.100.7", ADMIN, &format!("guess {guess}")), 401);
        assert_eq!(try_from("198.51.100.7", "mallory", &mallory), 200);
    }
    assert_eq!(try_from("198.51.100.7", ADMIN, "guess 5"), 401);
    assert_eq!(try_from("198.51.100.7", ADMIN, "guess 6"), 429);
    // … and from many networks at once, while the owner signs in from an unknown device.
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for n in 0..10 {
            let (try_from, over) = (&try_from, &over);
            scope.spawn(move || {
                for m in 0..2_000 {
                    if over.load(Ordering::SeqCst) {
                        break;
                    }
                    let guess = try_from(&format!("2001:db8:{n:x}:{m:x}::1"), ADMIN, "a guess");
                    assert!([401, 429].contains(&guess), "{guess}");
                }
            });
        }
        let owner = from(&house, "192.0.2.5").post("/api/auth/login", &right);
        // At the guesser's own address the device is known that has signed in before, and no other login's.
        let device = owner.cookies().into_iter().find(|c| c.contains("_device="));
        let elsewhere = |login: &str, password: &str| {
            from(&house, "198.51.100.7")
                .with("Cookie", device.as_deref().unwrap_or_default())
                .post("/api/auth/login", &credentials(login, password))
                .status
        };
        let there = (elsewhere(ADMIN, &house.password), elsewhere("root", "x"));
        over.store(true, Ordering::SeqCst);
        owner.is(200);
        assert_eq!(there, (200, 429));
    });
}

#[test]
fn nobody_can_keep_the_first_administrator_out() {
    let mut house = House::empty(Processes::One, &[("LAMPLIGHTER_TRUSTED_PROXIES", "127.0.0.1")]);
    house.start();
    let token = house.daemons[0].word_after("setup_token=");
    let password = house.canary("a password for the first one");
    let register = |ip: &str, token: &str| {
        let body = json!({ "login": "owner", "password": password, "setup_token": token });
        from(&house, ip).post("/api/auth/register", &body)
    };
    for _ in 0..5 {
        register("198.51.100.7", "a guess").fails(403, "wrong_setup_token");
    }
    register("198.51.100.7", &token).fails(429, "too_many_sign_ins");
    register("192.0.2.5", &token).is(201);
}

#[test]
fn a_password_typed_as_the_login_is_written_nowhere() {
    let house = House::new();
    let typed = house.canary("correct horse battery staple");
    house.sign_in(&typed, "x").fails(401, "wrong_login");
    house
        .client()
        .form("/login", "login=correct+horse+battery+staple&password=x");
    house.sign_in(ADMIN, "wrong").fails(401, "wrong_login");
    let db = house.database("lamplighter.db");
    let mut statement = db
        .prepare("SELECT object, detail FROM audit WHERE action = 'auth.login_failed' ORDER BY seq")
        .unwrap();
    let told: Vec<(String, String)> = statement
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let who: Vec<_> = told.iter().map(|(object, _)| object.as_str()).collect();
    assert_eq!(who, ["login (unknown)", "login (unknown)", "login root-admin"]);
    assert!(told[0].1.contains(r#""login":"(unknown)""#), "{}", told[0].1);
}

#[test]
fn a_flood_of_failed_sign_ins_does_not_fill_the_audit() {
    let house = behind_a_proxy();
    // A new name and a new address each time: nobody has to wait.
    for n in 0..80 {
        let wrong = credentials(&format!("guess-{n}"), "wrong");
        from(&house, &format!("10.0.{n}.1"))
            .post("/api/auth/login", &wrong)
            .fails(401, "wrong_login");
    }
    let db = house.database("lamplighter.db");
    let count = |sql: &str| db.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap();
    // One may have come back while this ran, with the count of those before it.
    let rows = count("SELECT count(*) FROM audit WHERE action = 'auth.login_failed'");
    assert!((60..=65).contains(&rows), "{rows}");
    assert_eq!(
        count("SELECT count(*) FROM events WHERE kind = 'auth.login_failed'"),
        rows
    );
    house.sign_in(ADMIN, &house.password).is(200);
}

#[test]
fn a_refresh_token_changes_at_each_use_and_a_stolen_one_ends_its_family() {
    let house = House::new();
    let refresh = |token: &Value| {
        house
            .client()
            .post("/api/auth/refresh", &json!({ "refresh_token": token }))
    };
    let first = house.sign_in(ADMIN, &house.password).json();
    let other = house.sign_in(ADMIN, &house.password).json();
    let second = refresh(&first["refresh_token"]).is(200);
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    assert_eq!(second["user"]["login"], ADMIN);
    let works = |token: &Value| {
        let who = Who::Bearer(token.as_str().unwrap().into());
        house.client().by(who).get("/api/auth/me").status == 200
    };
    assert!(works(&first["access_token"]) && works(&second["access_token"]));
    // A client whose answer was lost may try again, for ten seconds.
    let third = refresh(&first["refresh_token"]).is(200);
    thread::sleep(Duration::from_secs(11));
    refresh(&first["refresh_token"]).fails(401, "refresh_token_dead");
    for token in [&second, &third, &first] {
        refresh(&token["refresh_token"]).fails(401, "refresh_token_dead");
    }
    refresh(&other["refresh_token"]).is(200); // another sign-in is another family
    refresh(&json!("never given out")).fails(401, "refresh_token_dead");
    for bad in [json!({}), json!({ "refresh_token": 5 }), json!({ "refresh_token": "" })] {
        house.client().post("/api/auth/refresh", &bad).is(422);
    }
}

#[test]
fn a_refresh_token_never_forks() {
    let house = House::new();
    let refresh = |agent: &str, token: &Value| {
        let client = house.client().with("User-Agent", agent);
        client.post("/api/auth/refresh", &json!({ "refresh_token": token }))
    };
    let first = || house.sign_in(ADMIN, &house.password).json()["refresh_token"].clone();
    let next = |answer: Answer| answer.is(200)["refresh_token"].clone();
    // Another program brings it within the grace.
    let token = first();
    let mine = next(refresh("mine", &token));
    refresh("thief", &token).fails(401, "refresh_token_dead");
    refresh("mine", &mine).fails(401, "refresh_token_dead");
    // The same one does, but the answer was not lost: it has been used.
    let token = first();
    let mine = next(refresh("mine", &token));
    let further = next(refresh("mine", &mine));
    refresh("mine", &token).fails(401, "refresh_token_dead");
    refresh("mine", &further).fails(401, "refresh_token_dead");
    // The lost answer is used after all.
    let token = first();
    let lost = next(refresh("mine", &token));
    let again = next(refresh("mine", &token));
    refresh("mine", &lost).fails(401, "refresh_token_dead");
    refresh("mine", &again).fails(401, "refresh_token_dead");
    let db = house.database("lamplighter.db");
    let sql = "SELECT count(*) FROM audit WHERE action = 'auth.refresh_reused'";
    assert_eq!(db.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap(), 3);
}

#[test]
fn signing_out_ends_the_session_and_the_refresh_token() {
    let house = House::new();
    let answer = house.sign_in(ADMIN, &house.password);
    let who = Who::cookie(&answer, house.address);
    let Who::Cookie(cookie, _) = &who else { unreachable!() };
    let without_csrf = house.client().by(Who::Cookie(cookie.clone(), String::new()));
    without_csrf.post("/api/auth/logout", &json!({})).fails(403, "csrf");
    let browser = house.client().by(who.clone());
    let token = answer.json()["refresh_token"].clone();
    let out = browser.post("/api/auth/logout", &json!({ "refresh_token": token }));
    assert_eq!(out.status, 204);
    let cleared = out.header("set-cookie").unwrap();
    assert!(cleared.contains("=;") && cleared.contains("Max-Age=0"), "{cleared}");
    browser.get("/api/auth/me").fails(401, "unauthorized");
    house
        .client()
        .post("/api/auth/refresh", &json!({ "refresh_token": token }))
        .fails(401, "refresh_token_dead");

    // The tokens of a sign-in end with its cookie, and its cookie with its tokens: an access token at once.
    for by_cookie in [true, false] {
        let answer = house.sign_in(ADMIN, &house.password);
        let [bearer, browser] =
            [Who::bearer(&answer), Who::cookie(&answer, house.address)].map(|who| house.client().by(who));
        let way = if by_cookie { &browser } else { &bearer };
        assert_eq!(way.post("/api/auth/logout", &json!({})).status, 204);
        for client in [&bearer, &browser] {
            client.get("/api/auth/me").fails(401, "unauthorized");
        }
        let refresh = json!({ "refresh_token": answer.json()["refresh_token"] });
        house
            .client()
            .post("/api/auth/refresh", &refresh)
            .fails(401, "refresh_token_dead");
    }

    // The same by the page's button.
    let browser = house
        .client()
        .by(Who::cookie(&house.sign_in(ADMIN, &house.password), house.address));
    let out = browser.form("/logout", "");
    assert_eq!((out.status, out.header("location")), (303, Some("/login")));
    let home = browser.get("/");
    assert_eq!((home.status, home.header("location")), (303, Some("/login?next=%2F")));
}

#[test]
fn a_new_password_ends_sessions_and_tokens_at_once() {
    let house = House::new();
    let answer = house.sign_in(ADMIN, &house.password);
    let bearer = house.client().by(Who::bearer(&answer));
    let browser = house.client().by(Who::cookie(&answer, house.address));
    bearer.get("/api/servers").is(200);
    browser.get("/api/servers").is(200);
    let fresh = house.canary("a new and long password");
    let file = house.folder.file("pw", format!("{fresh}\n"));
    let args = ["reset-password", "--data-dir", house.dir(), "--login", ADMIN];
    let reset = run(&[&args[..], &["--password-file", file.to_str().unwrap()]].concat());
    assert!(reset.status.success(), "{}", said(&reset));
    std::fs::remove_file(file).unwrap();
    bearer.get("/api/servers").fails(401, "unauthorized");
    browser.get("/api/servers").fails(401, "unauthorized");
    house
        .client()
        .post(
            "/api/auth/refresh",
            &json!({ "refresh_token": answer.json()["refresh_token"] }),
        )
        .fails(401, "refresh_token_dead");
    house.sign_in(ADMIN, &house.password).fails(401, "wrong_login");
    house.sign_in(ADMIN, &fresh).is(200);
}

#[test]
fn a_blocked_account_is_out_at_once() {
    let house = House::new();
    let password = house.account("viewer", "viewer");
    let answer = house.sign_in("viewer", &password);
    let clients = [Who::bearer(&answer), Who::cookie(&answer, house.address)].map(|who| house.client().by(who));
    let account = |command: &str, login: &str| run(&[command, "--data-dir", house.dir(), "--login", login]);
    let out = account("disable-user", "viewer");
    assert!(
        out.status.success() && said(&out).contains("disabled"),
        "{}",
        said(&out)
    );
    house.sign_in("viewer", &password).fails(401, "wrong_login");
    assert!(account("enable-user", "viewer").status.success());
    for client in &clients {
        client.get("/api/servers").fails(401, "unauthorized"); // what has ended does not come back
    }
    let refresh = json!({ "refresh_token": answer.json()["refresh_token"] });
    house
        .client()
        .post("/api/auth/refresh", &refresh)
        .fails(401, "refresh_token_dead");
    house.sign_in("viewer", &password).is(200);
    assert_eq!(account("disable-user", "nobody").status.code(), Some(1));
}

#[test]
fn forged_and_stale_access_tokens_open_nothing() {
    let house = House::new();
    let good = house.sign_in(ADMIN, &house.password).json()["access_token"]
        .as_str()
        .unwrap()
        .to_string();
    let try_with = |header: &str| house.client().with("Authorization", header).get("/api/servers");
    try_with(&format!("Bearer {good}")).is(200);
    try_with(&format!("bearer {good}")).is(200);
    let parts: Vec<&str> = good.split('.').collect();
    let coded = |json: &str| text::base64url(json.as_bytes());
    let claims: Value = serde_json::from_slice(&text::unbase64(parts[1]).unwrap()).unwrap();

    // A thief of the database and the key file could sign; so these are signed rightly, and wrong otherwise.
    let db = Db::open(
        &house.folder.path().join("lamplighter.db"),
        Durability::Full,
        schema::STATE,
    )
    .unwrap();
    let master = vault::read_master_key(&house.folder.path().join("master.key")).unwrap();
    let vault = Vault::open(&db, &master).unwrap();
    let signed = |change: &dyn Fn(&mut Value)| {
        let mut claims = claims.clone();
        change(&mut claims);
        let body = format!("{}.{}", parts[0], coded(&claims.to_string()));
        let tag = hmac::sign(vault.access_key(), body.as_bytes());
        format!("{body}.{}", text::base64url(tag.as_ref()))
    };
    try_with(&format!("Bearer {}", signed(&|_| {}))).is(200);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let foreign = hmac::Key::new(hmac::HMAC_SHA256, &[0; 32]);
    let body = format!("{}.{}", parts[0], parts[1]);
    let stale = [
        signed(&|c| c["exp"] = json!(now - 1)),
        signed(&|c| c["iat"] = json!(now + 60)),
        signed(&|c| c["typ"] = json!("refresh")),
        signed(&|c| c["iss"] = json!("somebody")),
        signed(&|c| c["sub"] = json!(999)),
        signed(&|c| c["family"] = json!("nobody")),
        signed(&|c| drop(c.as_object_mut().unwrap().remove("exp"))),
        format!(
            "{body}.{}",
            text::base64url(hmac::sign(&foreign, body.as_bytes()).as_ref())
        ),
        format!("{}.{}.", coded(r#"{"alg":"none","typ":"JWT"}"#), parts[1]),
        format!("{}.{}.{}", coded(r#"{"alg":"none"}"#), parts[1], parts[2]),
        format!("{}.{}.{}", coded(r#"{"alg":"HS512","typ":"JWT"}"#), parts[1], parts[2]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{}.{}.{}", parts[0], coded(r#"{"sub":1}"#), parts[2]),
        format!("{good}."),
        format!("{}A", &good[..good.len() - 2]),
        "a.b.c".into(),
        "x".repeat(8_000),
        String::new(),
    ];
    for token in stale {
        let answer = try_with(&format!("Bearer {token}"));
        answer.fails(401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    for header in ["Basic cm9vdC1hZG1pbjp4", "Bearer", "Token x", &good, "Bearer a\tb"] {
        assert_eq!(try_with(header).status, 401, "{header}");
    }
    // Where nobody needs to be signed in a stale token bars nobody: who renews one often still sends it along.
    house
        .client()
        .with("Authorization", "Bearer nonsense")
        .get("/health")
        .is(200);
}

#[test]
fn the_first_administrator_comes_once_with_the_token_of_the_log() {
    let mut house = House::empty(Processes::One, &[]);
    house.start();
    let token = house.daemons[0].word_after("setup_token=");
    let password = house.canary("a password for the first one");
    let register = |login: &str, token: &str| {
        house.client().post(
            "/api/auth/register",
            &json!({ "login": login, "password": password, "setup_token": token }),
        )
    };
    register("eve", "a guess").fails(403, "wrong_setup_token");
    register("bad login!", &token).is(422);
    let login = house.client().get("/login");
    assert_eq!((login.status, login.header("location")), (303, Some("/setup")));

    let mut statuses: Vec<u16> = thread::scope(|scope| {
        let tries: Vec<_> = (0..50)
            .map(|n| {
                scope.spawn({
                    let (register, token) = (&register, &token);
                    move || register(&format!("admin-{n}"), token).status
                })
            })
            .collect();
        tries.into_iter().map(|t| t.join().unwrap()).collect()
    });
    statuses.sort_unstable();
    assert_eq!(statuses[0], 201, "{statuses:?}");
    assert!(statuses[1..].iter().all(|s| [403, 429].contains(s)), "{statuses:?}");
    let count = |house: &House| -> i64 {
        let db = house.database("lamplighter.db");
        db.query_row("SELECT count(*) FROM users", [], |r| r.get(0)).unwrap()
    };
    assert_eq!(count(&house), 1);

    house.stop(); // and with it what it remembers of who tried too often
    house.start();
    assert!(!house.folder.path().join("setup-token").exists());
    let late = house.client().post(
        "/api/auth/register",
        &json!({ "login": "late", "password": password, "setup_token": token }),
    );
    late.fails(403, "registration_closed");
    let page = house.client().get("/setup");
    assert_eq!((page.status, page.header("location")), (303, Some("/login")));
    assert_eq!(count(&house), 1);
}

#[test]
fn each_role_signs_in_as_what_it_is_but_programs_do_not() {
    let house = House::new();
    for role in ["operator", "viewer", "admin"] {
        let me = house.somebody(role).get("/api/auth/me").is(200);
        assert_eq!(me["role"], role);
    }
    let robot = house.account("robot", "automation");
    house.sign_in("robot", &robot).fails(401, "wrong_login");
    let create = |flags: &[&str], input: &str| {
        let args = ["create-admin", "--data-dir", house.dir(), "--password-file", "-"];
        run_with_input(&[&args[..], flags].concat(), input)
    };
    for (flags, input, code, word) in [
        (&["--login", ADMIN][..], "a long password", 1, "already"),
        (&["--login", "x", "--role", "king"], "a long password", 2, "king"),
        (&["--login", "x"], "short", 1, "characters"),
        (&["--login", "x"], "короткий", 1, "characters"),
        (&["--login", "root-two"], "root-two-root", 1, "login"),
        (&["--login", "x"], "P@ssw0rd2024!", 1, "guessers"),
        (&["--login", "two words"], "a long password", 1, "login"),
        (&[], "a long password", 2, "--login"),
    ] {
        let refused = create(flags, input);
        assert_eq!(refused.status.code(), Some(code), "{flags:?}: {}", said(&refused));
        assert!(said(&refused).contains(word), "{}", said(&refused));
    }
}

#[test]
fn a_password_opens_one_account_whatever_is_carried_where_in_the_database() {
    let house = House::new();
    let password = house.account("viewer", "viewer");
    let db = house.database("lamplighter.db");
    let carry =
        "UPDATE users SET password_hash = (SELECT password_hash FROM users WHERE login = 'viewer') WHERE login = ?1";
    assert_eq!(db.execute(carry, [ADMIN]).unwrap(), 1);
    house.sign_in("viewer", &password).is(200);
    house.sign_in(ADMIN, &password).fails(401, "wrong_login");
}

#[test]
fn an_empty_setup_token_file_opens_nothing() {
    let mut house = House::empty(Processes::One, &[]);
    house.start();
    std::fs::write(house.folder.path().join("setup-token"), "").unwrap();
    let password = house.canary("a password for the first one");
    for token in ["", " "] {
        let body = json!({ "login": "eve", "password": password, "setup_token": token });
        house
            .client()
            .post("/api/auth/register", &body)
            .fails(403, "wrong_setup_token");
    }
    let db = house.database("lamplighter.db");
    let users: i64 = db.query_row("SELECT count(*) FROM users", [], |r| r.get(0)).unwrap();
    assert_eq!(users, 0);
}
