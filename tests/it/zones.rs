//! Times are read in the reader's zone: pages in the user's, notifications in the receiver's, else in the installation's; the
//! API speaks UTC, and a zone that nobody knows is refused when it is saved.

use crate::{common, fake};

use common::*;
use fake::telegram;
use lamplighter::base::clock::{self, DAY};
use serde_json::{Value, json};

const TOKYO: &str = "Asia/Tokyo";

fn set(house: &House, key: &str, value: Value) {
    house.admin().put("/api/settings", &json!({ key: value })).is(200);
}

#[test]
fn pages_are_in_the_zone_of_the_user_else_of_the_house() {
    let house = House::new();
    set(&house, "site.time_zone", json!("Asia/Kolkata"));
    let mut browser = house.browser_of_admin();
    let page = browser.get("/");
    assert!(
        page.has("data-tz=\"Asia/Kolkata\"") && page.has("Asia/Kolkata (UTC+5:30)"),
        "{}",
        page.body
    );
    browser.post("/prefs", &[("time_zone", TOKYO), ("back", "/")]);
    let page = browser.get("/prefs");
    assert!(
        page.has("data-tz=\"Asia/Tokyo\"") && page.has("Asia/Tokyo (UTC+9)"),
        "{}",
        page.body
    );
    assert!(
        page.has("<option value=\"Europe/Moscow\"") && page.has("value=\"Asia/Tokyo\" autocomplete"),
        "{}",
        page.body
    );

    // What a person types is by their clocks too, and the API keeps to UTC.
    let tomorrow = &clock::rfc3339(clock::now() + DAY)[..10];
    let form = [
        ("everything", "true"),
        ("starts_at", &*format!("{tomorrow}T12:00")),
        ("hours", "1"),
    ];
    let made = browser.post("/silences", &form);
    assert_eq!(made.header("location"), "/silences?state=waiting", "{}", made.body);
    let list = house.admin().get("/api/silences").is(200);
    assert_eq!(
        list["items"][0]["starts_at"],
        format!("{tomorrow}T03:00:00.000Z"),
        "{list}"
    );
    let page = browser.get("/silences?state=waiting");
    assert!(
        page.has("12:00:00") && page.has("Start, Asia/Tokyo (UTC+9)"),
        "{}",
        page.body
    );

    // Without a choice the installation's applies again.
    browser.post("/prefs", &[("time_zone", ""), ("back", "/")]);
    assert!(browser.get("/silences?state=waiting").has("08:30:00"));
}

#[test]
fn a_zone_that_nobody_knows_is_refused_where_it_is_saved() {
    let house = House::new();
    let admin = house.admin();
    let mut browser = house.browser_of_admin();
    for unknown in ["Mars/Base", "../../../etc/passwd", "/etc/localtime", "UTC+3"] {
        let page = browser.post("/prefs", &[("time_zone", unknown), ("back", "/")]);
        assert_eq!(page.status, 422, "{unknown}");
        assert!(
            page.has("id=\"time_zone-e\"") && page.has(&format!("value=\"{unknown}\"")),
            "{}",
            page.body
        );
        let refused = admin.patch("/api/auth/me", &json!({ "time_zone": unknown }));
        assert_eq!(refused.wrong_fields(), ["time_zone"]);
        let refused = admin.put("/api/settings", &json!({ "site.time_zone": unknown }));
        assert_eq!(
            (refused.status, refused.wrong_fields()),
            (422, vec!["site.time_zone".into()])
        );
    }
    assert_eq!(admin.get("/api/auth/me").is(200)["time_zone"], "");
    let me = admin
        .patch("/api/auth/me", &json!({ "time_zone": TOKYO, "lang": "ru" }))
        .is(200);
    assert_eq!((&me["time_zone"], &me["lang"]), (&json!(TOKYO), &json!("ru")));
    assert_eq!(admin.get("/api/auth/me").is(200), me);
    // As it was got, it may be sent back.
    admin.patch("/api/auth/me", &me).is(200);
}

#[test]
fn a_message_is_in_the_zone_of_its_receiver_else_of_the_house() {
    let house = House::new();
    let api = telegram::new();
    house.canary(telegram::TOKEN.split_once(':').unwrap().1);
    set(&house, "messages.networks", json!("127.0.0.0/8"));
    set(&house, "site.time_zone", json!("Asia/Kolkata"));
    let endpoint = json!({
        "type": "telegram", "name": "phone", "token": telegram::TOKEN, "chats": ["424242"],
        "api_base": format!("http://127.0.0.1:{}", api.port()),
    });
    let admin = house.admin();
    let made = admin.post("/api/notifications", &endpoint).is(201);
    let at = format!("/api/notifications/{}", made["id"]);
    assert_eq!(made["time_zone"], "");
    let told = |n: usize, zone: &str| {
        admin.post(&format!("{at}/test"), &json!({})).is(200);
        let (_, text) = telegram::shown(&api)[n].clone();
        assert!(text.contains(zone), "{zone}: {text}");
    };
    told(0, "UTC+5:30");
    admin.patch(&at, &json!({ "time_zone": TOKYO })).is(200);
    assert_eq!(admin.get(&at).is(200)["time_zone"], TOKYO);
    told(1, "UTC+9");
    let refused = admin.patch(&at, &json!({ "time_zone": "Mars/Base" }));
    assert_eq!(
        (refused.status, refused.wrong_fields()),
        (422, vec!["time_zone".into()])
    );
    set(&house, "site.time_zone", json!("UTC"));
    admin.patch(&at, &json!({ "time_zone": "" })).is(200);
    told(2, " UTC");
}
