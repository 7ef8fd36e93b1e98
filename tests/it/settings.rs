//! Settings: numbers within bounds, texts by their grammar, all of a request or none, and the default comes back.

use crate::common;

use common::*;
use lamplighter::daemon::FEATURES;
use lamplighter::lang::{Lang, words};
use serde_json::{Value, json};

fn one(house: &House, key: &str) -> Value {
    let list = house.admin().get("/api/settings").is(200);
    let items = list["items"].as_array().unwrap();
    let found = items.iter().find(|s| s["key"] == key);
    found.unwrap_or_else(|| panic!("no {key}")).clone()
}

#[test]
fn a_text_is_taken_by_its_grammar_shown_as_a_string_and_goes_back_to_its_default() {
    let house = House::new();
    let admin = house.admin();
    let directory = one(&house, "acme.directory");
    assert_eq!(
        (&directory["type"], &directory["value"]),
        (&json!("text"), &directory["default"])
    );
    assert!(directory["length_max"].as_i64().unwrap() > 100 && directory.get("min").is_none());
    let number = one(&house, "nswatch.interval_min");
    assert_eq!(
        (&number["type"], &number["value"], &number["max"]),
        (&json!("number"), &json!(15), &json!(1440))
    );

    let changes = json!({
        "acme.directory": " https://acme.lab.test:14000/dir ", "acme.email": "ops@lab.test",
        "dns.resolvers": "192.0.2.1, [2001:db8::1]:5353", "nginx.hsts_max_age_s": 0,
    });
    admin.put("/api/settings", &changes).is(200);
    assert_eq!(
        one(&house, "acme.directory")["value"],
        "https://acme.lab.test:14000/dir"
    );
    assert_eq!(one(&house, "dns.resolvers")["value"], "192.0.2.1, [2001:db8::1]:5353");
    assert_eq!(one(&house, "nginx.hsts_max_age_s")["value"], 0);

    admin
        .put("/api/settings", &json!({ "acme.directory": null, "acme.email": "" }))
        .is(200);
    assert_eq!(one(&house, "acme.directory")["value"], directory["default"]);
    assert_eq!(one(&house, "acme.email")["value"], "");
    assert_eq!(one(&house, "dns.resolvers")["value"], "192.0.2.1, [2001:db8::1]:5353");
}

#[test]
fn one_bad_value_and_nothing_is_changed() {
    let house = House::new();
    let admin = house.admin();
    let long = format!("https://ca.example/{}", "a".repeat(300));
    for (key, bad) in [
        ("dns.resolvers", json!("ns1.example")),
        (
            "dns.resolvers",
            json!("1.1.1.1 2.2.2.2 3.3.3.3 4.4.4.4 5.5.5.5 6.6.6.6 7.7.7.7"),
        ),
        ("dns.resolvers", json!("1.1.1.1\n2.2.2.2")),
        ("acme.email", json!("-m@example.com")),
        ("acme.email", json!("a@example.com\u{0}")),
        ("acme.directory", json!("http://ca.example/dir")),
        ("acme.directory", json!("https://ca.example/$(id)")),
        ("acme.directory", json!(long)),
        ("acme.directory", json!(5)),
        ("nswatch.interval_min", json!(0)),
        ("nswatch.interval_min", json!("fifteen")),
        ("nginx.hsts_max_age_s", json!(63_072_001)),
    ] {
        let answer = admin.put("/api/settings", &json!({ "poll.fail_threshold": 7, key: bad }));
        answer.is(422);
        assert_eq!(answer.wrong_fields(), [key], "{bad}");
        assert_eq!(one(&house, "poll.fail_threshold")["value"], 3, "{bad}");
    }
    for not_a_value in [json!([1]), json!({}), json!(true)] {
        admin
            .put("/api/settings", &json!({ "acme.email": not_a_value }))
            .fails(400, "bad_json");
    }
    admin
        .put("/api/settings", &json!({ "acme.mail": "a@b.example" }))
        .fails(404, "not_found");
}

#[test]
fn every_setting_and_section_has_a_name_for_people() {
    words::join(FEATURES.iter().map(|feature| feature.words));
    for s in FEATURES.iter().flat_map(|f| f.settings) {
        let section = s.key.split_once('.').map_or(s.key, |(section, _)| section);
        let key = s.key;
        let ids = [
            format!("setting.{key}"),
            format!("setting.{key}.help"),
            format!("settings.section.{section}"),
        ];
        for word in ids {
            for lang in [Lang::En, Lang::Ru] {
                assert!(words::word(lang, &word, None).is_some(), "{word}");
            }
        }
    }
}
