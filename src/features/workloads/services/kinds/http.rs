//! A page or an API: its status, words in it, and values in its JSON. A number that a condition reads is a figure.

use super::{Ask, Check, Config, Health, Kind, Look, Place, keep, text};
use crate::base::clock::{self, DAY, Ms};
use crate::base::error::{Error, Result};
use crate::base::secret::Secret;
use crate::base::shape::Shape;
use crate::base::url::Url;
use crate::form::Input;
use crate::net::dial::Security;
use crate::net::get;
use crate::net::http::{Method, Request, send};
use serde_json::{Value, json};

/// See [`Kind`].
pub const KIND: Kind = Kind {
    name: "http",
    place: Place::Anywhere,
    acts: false,
    has_password: true,
    fields: &["url", "expect_status", "contains", "json", "username"],
    required: 1,
    read,
    home: |config| {
        Url::parse(text(config, "url"))
            .map(|url| url.origin())
            .unwrap_or_default()
    },
    check: Check::Ask(ask),
    keeps_token: false,
    tables: &[],
};

/// Longest answer that is read.
const BODY_MAX: usize = 1 << 20;
/// Status codes that are good where nobody says which.
const GOOD: &str = "200-399";

fn read(i: &mut Input, config: &mut Config) {
    let url = i.parse("url", "bad_url", |text| match text {
        "" => Ok(String::new()),
        text => Url::parse(text).map(|url| format!("{}{}", url.origin(), url.path)),
    });
    keep(config, "url", url);
    let status = i.parse("expect_status", "bad_status", |text| {
        match text.is_empty() || statuses(text).is_some() {
            true => Ok(text.to_string()),
            false => Err("Status codes are like 200 or 200-299, 401.".into()),
        }
    });
    keep(config, "expect_status", status);
    let contains = i.text("contains");
    keep(config, "contains", contains);
    let username = i.text("username");
    keep(config, "username", username);
    if let Some(items) = i.items("json") {
        match items.iter().map(condition).collect::<std::result::Result<Vec<_>, _>>() {
            Ok(all) if all.is_empty() => drop(config.remove("json")),
            Ok(all) => drop(config.insert("json".into(), all.into())),
            Err(say) => i.wrong("json", "bad_condition", say),
        }
    }
}

/// Ranges of status codes: `200-299, 401`.
fn statuses(text: &str) -> Option<Vec<(u16, u16)>> {
    let code = |text: &str| text.trim().parse::<u16>().ok().filter(|n| (100..600).contains(n));
    let range = |part: &str| match part.split_once('-') {
        Some((from, to)) => Some((code(from)?, code(to)?)),
        None => code(part).map(|n| (n, n)),
    };
    text.split(',').map(range).collect()
}

/// How a value may be compared.
const OPS: [&str; 8] = ["==", "!=", ">", ">=", "<", "<=", "contains", "exists"];

/// The type of a condition.
pub const CONDITION: Shape = Shape::Any;

/// Reads `{"path", "op", "value"}`.
fn condition(given: &Value) -> std::result::Result<Value, String> {
    let object = given
        .as_object()
        .ok_or("A condition is an object with path, op and value.")?;
    if let Some(odd) = object
        .keys()
        .find(|key| !["path", "op", "value"].contains(&key.as_str()))
    {
        let odd = crate::base::text::one_line(odd, 40);
        return Err(format!("A condition has path, op and value; there is no “{odd}”."));
    }
    let path = object.get("path").and_then(Value::as_str).unwrap_or_default();
    let op = object.get("op").and_then(Value::as_str).unwrap_or("==");
    let value = object.get("value").cloned().unwrap_or(Value::Null);
    if path.is_empty() || path.len() > 200 || path.chars().any(char::is_control) {
        return Err("A path names the value, like status or data.0.free.".into());
    }
    if !OPS.contains(&op) {
        return Err(format!("op is one of: {}.", OPS.join(" ")));
    }
    if op.starts_with(['<', '>']) && value.as_f64().is_none() {
        return Err(format!("{op} compares with a number."));
    }
    if value.is_object() || value.is_array() || value.as_str().is_some_and(|text| text.len() > 1_000) {
        return Err("A value is a text, a number, true, false or null.".into());
    }
    Ok(json!({ "path": path, "op": op, "value": value }))
}

/// The value at `data.0.free`.
fn at<'v>(body: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(body, |value, key| match value {
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        Value::Object(object) => object.get(key),
        _ => None,
    })
}

fn holds(found: Option<&Value>, op: &str, wanted: &Value) -> bool {
    let numbers = || Some((found?.as_f64()?, wanted.as_f64()?));
    let compared = |is: fn(f64, f64) -> bool| numbers().is_some_and(|(a, b)| is(a, b));
    match op {
        "exists" => found.is_some(),
        "==" => found == Some(wanted) || compared(|a, b| a == b),
        "!=" => found.is_some() && found != Some(wanted) && !compared(|a, b| a == b),
        ">" => compared(|a, b| a > b),
        ">=" => compared(|a, b| a >= b),
        "<" => compared(|a, b| a < b),
        "<=" => compared(|a, b| a <= b),
        _ => match (found, wanted) {
            (Some(Value::String(text)), Value::String(part)) => text.contains(part.as_str()),
            (Some(Value::Array(items)), wanted) => items.contains(wanted),
            _ => false,
        },
    }
}

fn ask(ask: &Ask) -> Result<Look> {
    let url = Url::parse(ask.text("url")).map_err(Error::internal)?;
    let security = match url.tls {
        true => Security::Tls,
        false => Security::Plain,
    };
    let path = Secret::new(url.path.clone());
    let login = ask.password.map(|password| get::basic(ask.text("username"), password));
    let headers: Vec<(&str, String)> = login
        .iter()
        .map(|value| ("authorization", value.reveal_text_for("an HTTP request").to_string()))
        .collect();
    let begun = clock::mono();
    let answer = ask.reach(&url.host, url.port, security, |call, route| {
        let request = Request {
            method: Method::Get,
            path: &path,
            content_type: "*/*",
            headers: &headers,
            body: b"",
            route,
        };
        send(call, &request, BODY_MAX)
    })?;
    let latency = begun.elapsed().as_secs_f64() * 1_000.0;
    let mut look = judge(ask.config, answer.status, &answer.body, answer.fault.as_ref());
    look.latency_ms = Some((latency * 100.0).round() / 100.0);
    Ok(match answer.certificate_until {
        Some(until) => certified(look, until, clock::now()),
        None => look,
    })
}

/// Days of its certificate that are few.
const DAYS_FEW: i64 = 14;

/// The look, with the days that the certificate is good for: few of them are a trouble before it is one for visitors.
fn certified(mut look: Look, until: Ms, now: Ms) -> Look {
    let days = (until - now).div_euclid(DAY);
    look.custom.insert("tls_days".into(), days as f64);
    if look.health == Health::Healthy && days < DAYS_FEW {
        look.health = Health::Degraded;
        look.code = "tls_ends".into();
        look.say = format!("It works; its certificate is good for {days} more days.");
    }
    look
}

/// What an answer means.
fn judge(config: &Config, status: u16, body: &[u8], fault: Option<&Error>) -> Look {
    let bad = |code: &str, say: String| Look::of(Health::Unhealthy, code, say);
    let expected = text(config, "expect_status");
    let expected = if expected.is_empty() { GOOD } else { expected };
    let good = statuses(expected).unwrap_or_default();
    if !good.iter().any(|(from, to)| (*from..=*to).contains(&status)) {
        return bad("http_status", format!("It answers {status}; {expected} is expected."));
    }
    let conditions = config
        .get("json")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let words = text(config, "contains");
    if let Some(fault) = fault.filter(|_| !words.is_empty() || !conditions.is_empty()) {
        return bad(fault.code, fault.say.clone());
    }
    if !words.is_empty() && !String::from_utf8_lossy(body).contains(words) {
        return bad("words_missing", format!("Its answer does not contain “{words}”."));
    }
    let mut look = Look::healthy();
    if conditions.is_empty() {
        return look;
    }
    let Ok(found) = serde_json::from_slice::<Value>(body) else {
        return bad("not_json", "Its answer is no JSON.".into());
    };
    for condition in conditions {
        let word = |key: &str| condition.get(key).and_then(Value::as_str).unwrap_or_default();
        let (path, op, wanted) = (word("path"), word("op"), condition.get("value").unwrap_or(&Value::Null));
        let value = at(&found, path);
        if let Some(number) = value.and_then(Value::as_f64) {
            look.custom.insert(path.into(), number);
        }
        if !holds(value, op, wanted) && look.health == Health::Healthy {
            let seen = value.map_or("nothing".into(), |value| {
                crate::base::text::one_line(&value.to_string(), 80)
            });
            look.health = Health::Unhealthy;
            look.code = "json_condition".into();
            look.say = format!("{path} {op} {wanted} is expected; it is {seen}.");
        }
    }
    look
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(config: Value, status: u16, body: &str) -> (Health, String, Vec<(String, f64)>) {
        let Value::Object(config) = config else { panic!() };
        let look = judge(&config, status, body.as_bytes(), None);
        (look.health, look.code, look.custom.into_iter().collect())
    }

    #[test]
    fn a_certificate_that_ends_soon_is_a_trouble_before_it_is_one_for_visitors() {
        let seen = |days: i64| certified(Look::healthy(), 1_000 + days * DAY + 5, 1_000);
        assert_eq!((seen(14).health, seen(14).custom["tls_days"]), (Health::Healthy, 14.0));
        assert_eq!((seen(13).health, &*seen(13).code), (Health::Degraded, "tls_ends"));
        let bad = certified(Look::of(Health::Unhealthy, "http_status", "502"), 1_000, 1_000);
        assert_eq!(bad.code, "http_status", "what is worse is said");
    }

    #[test]
    fn a_status_words_and_values_decide() {
        let ok = (Health::Healthy, String::new(), Vec::new());
        assert_eq!(judged(json!({}), 302, ""), ok);
        assert_eq!(judged(json!({}), 502, "").1, "http_status");
        assert_eq!(judged(json!({ "expect_status": "401, 500-502" }), 502, ""), ok);
        assert_eq!(judged(json!({ "contains": "alive" }), 200, "it is alive"), ok);
        assert_eq!(
            judged(json!({ "contains": "alive" }), 200, "it is not").1,
            "words_missing"
        );
        let conditions = json!({ "json": [
            { "path": "status", "op": "==", "value": "ok" },
            { "path": "data.0.free", "op": ">", "value": 10 },
        ] });
        let body = r#"{"status":"ok","data":[{"free":12.5}]}"#;
        assert_eq!(
            judged(conditions.clone(), 200, body),
            (Health::Healthy, String::new(), vec![("data.0.free".into(), 12.5)])
        );
        let low = judged(conditions.clone(), 200, r#"{"status":"ok","data":[{"free":3}]}"#);
        assert_eq!(
            (&*low.1, low.2[0].1),
            ("json_condition", 3.0),
            "its figure is kept all the same"
        );
        assert_eq!(judged(conditions.clone(), 200, "{}").1, "json_condition");
        assert_eq!(judged(conditions, 200, "<html>").1, "not_json");
    }

    #[test]
    fn a_condition_is_checked_before_it_is_kept() {
        for good in [
            json!({ "path": "a", "op": "exists" }),
            json!({ "path": "a.b", "op": "<=", "value": 3 }),
            json!({ "path": "a", "value": null }),
        ] {
            assert!(condition(&good).is_ok(), "{good}");
        }
        for bad in [
            json!("a"),
            json!({ "path": "" }),
            json!({ "path": "a", "op": "~" }),
            json!({ "path": "a", "op": ">", "value": "3" }),
            json!({ "path": "a", "value": [1] }),
            json!({ "path": "a", "x": 1 }),
        ] {
            assert!(condition(&bad).is_err(), "{bad}");
        }
    }
}
