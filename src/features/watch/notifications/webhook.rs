//! Webhooks: a POST of JSON, signed as in Standard Webhooks (standardwebhooks.com), so that receivers can use existing
//! libraries:
//!
//! - `webhook-id`: the message's key, equal for every attempt; receivers drop duplicates by it.
//! - `webhook-timestamp`: unix seconds of this attempt. Receivers refuse more than five minutes of difference.
//! - `webhook-signature`: `v1,` and the base64 of HMAC-SHA256 over `<id>.<timestamp>.<body>` under the shared secret. A
//!   secret that begins with `whsec_` is the base64 of the key, any other is the key itself.
//!
//! `Idempotency-Key` repeats the id for receivers that know that header. Any 2xx means accepted.

use super::channel::{Channel, Outcome, Secrets, Sending, by_status, pin, text_of};
use super::presets::{PRESETS, Preset, preset};
use super::text::{self, Facts};
use crate::base::clock::{Duration, rfc3339};
use crate::base::secret::Secret;
use crate::base::text::{base64, unbase64};
use crate::base::url::Url;
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::net::get;
use crate::net::http::Method;
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The channel.
pub const CHANNEL: Channel = Channel {
    name: "webhook",
    secrets: &["url", "secret", "token", "password", "headers"],
    needs: |config| {
        let needs_token = preset(text_of(config, "preset")).is_some_and(|p| p.needs_token);
        match (needs_token, text_of(config, "username").is_empty()) {
            (true, _) => &["url", "token"],
            (false, false) => &["url", "password"],
            (false, true) => &["url"],
        }
    },
    read,
    check,
    // The signing key is never sent. The URL is a secret itself; the certificate proves its receiver.
    home: |config, column| {
        let pin = text_of(config, "tls_pin");
        let at = || format!("{} {pin}", text_of(config, "origin"));
        match column {
            "url" => (pin.into(), true),
            "secret" => (String::new(), true),
            "password" => (at(), !text_of(config, "username").is_empty()),
            _ => (at(), true),
        }
    },
    recipients: |config| vec![text_of(config, "room").into()],
    may_gather: |config| preset(text_of(config, "preset")).is_some(),
    pace_ms: 0,
    deadline: Duration::from_secs(15),
    send,
};

/// Longest room in bytes (Matrix).
const ROOM_MAX: usize = 255;

/// Fields of the channel.
pub const PARAMS: &[Param] = &[
    param::text("preset", 40, "A receiver with its own format; empty: our format."),
    param::text("room", ROOM_MAX, "Topic or room, where the receiver has such."),
];
/// Maximum additional headers.
const HEADERS_MAX: usize = 8;

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Config {
    /// Preset of a receiver's format ([`super::presets`]); empty: our own.
    preset: String,
    /// Topic or room, if the receiver has them.
    room: String,
    /// Empty: no login.
    username: String,
    /// Scheme, host and port of the URL: the destination of token, password and headers.
    origin: String,
    tls_pin: String,
}

/// Minimum length of the signing key; RFC 2104 recommends the length of the hash.
const SECRET_MIN: usize = 16;

fn read(i: &mut Input, base: &Value, secrets: &mut Secrets) -> Value {
    let mut config: Config = serde_json::from_value(base.clone()).unwrap_or_default();
    let names = PRESETS.iter().map(|p| p.name).chain([""]);
    let names: Vec<&'static str> = names.collect();
    config.preset = i.choice_of("preset", &names).map_or(config.preset, String::from);
    config.room = i.text("room").unwrap_or(config.room);
    let login = i.parse("username", "bad_user", |t| {
        match t.len() <= 200 && !t.contains([':', '\r', '\n', '\0']) {
            true => Ok(t.to_string()),
            false => Err("A user name has at most 200 bytes on one line, and no colon.".into()),
        }
    });
    config.tls_pin = i.parse("tls_pin", "bad_pin", pin).unwrap_or(config.tls_pin);
    let also = login.as_ref().is_some_and(|l| !l.is_empty())
        || secrets
            .iter()
            .any(|(column, value)| *column == "password" && value.is_some());
    config.username = login.unwrap_or(config.username);
    // A login inside the URL, as in curl, becomes a login.
    let given = secrets
        .iter()
        .position(|(column, url)| *column == "url" && url.is_some());
    if let Some(at) = given
        && let Some(url) = secrets[at].1.take()
    {
        let text = url.reveal_text_for("taking it apart");
        let parts = Url::without_login(text);
        if parts.is_some() && also {
            i.wrong(
                "url",
                "two_logins",
                "The address has a user name in it, and there is another one beside it. Give one of them.",
            );
        }
        let bare = match parts {
            Some((bare, user, password)) => {
                config.username = user;
                secrets.retain(|(column, _)| *column != "password");
                secrets.push(("password", Some(Secret::new(password))));
                bare
            }
            None => text.to_string(),
        };
        if let Ok(url) = Url::parse(&bare) {
            config.origin = url.origin();
            if url.path != "/" && preset(&config.preset).is_some_and(Preset::is_at_root) {
                i.wrong(
                    "url",
                    "has_path",
                    "Give the server alone, like https://ntfy.sh: the topic has a field of its own.",
                );
            }
        }
        secrets.retain(|(column, _)| *column != "url");
        secrets.push(("url", Some(Secret::new(bare))));
    }
    match preset(&config.preset) {
        Some(p) if p.has_room && config.room.is_empty() && !i.has_error("room") => {
            i.wrong(
                "room",
                "required",
                "Give the topic or the room that the messages go to.",
            );
        }
        Some(p) if p.has_room => {}
        _ => config.room.clear(),
    }
    json!(config)
}

fn check(column: &str, secret: &str) -> Result<(), String> {
    match column {
        "url" => {
            let bare = Url::without_login(secret).map(|(bare, ..)| bare);
            Url::parse(bare.as_deref().unwrap_or(secret)).map(drop)
        }
        "headers" => headers(secret).map(drop),
        "token" | "password"
            if secret.bytes().all(|b| (0x20..0x7f).contains(&b))
                || column == "password" && !secret.contains(['\r', '\n', '\0']) =>
        {
            Ok(())
        }
        "token" | "password" => Err(format!(
            "A {column} has no line breaks. Paste it without the end of the line."
        )),
        _ if key(secret).is_none_or(|key| key.len() < SECRET_MIN) => Err(format!(
            "A secret has at least {SECRET_MIN} characters, or is whsec_ and base64 as Standard Webhooks has it."
        )),
        _ => Ok(()),
    }
}

/// Additional headers, one per line, as `Name: value`. The error is a sentence without the values.
fn headers(text: &str) -> Result<Vec<(String, String)>, String> {
    let ours = [
        "host",
        "content-length",
        "content-type",
        "connection",
        "transfer-encoding",
        "accept-encoding",
    ];
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        let good = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        let plain = value.bytes().all(|b| (0x20..0x7f).contains(&b));
        (good && plain && !ours.contains(&&*name)).then(|| (name, value.to_string()))
    };
    let lines: Vec<_> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    let read: Option<Vec<_>> = lines.iter().map(|line| header(line)).collect();
    read.filter(|all| all.len() <= HEADERS_MAX).ok_or_else(|| {
        format!("Up to {HEADERS_MAX} headers, one a line, as Name: value in ASCII; not those that belong to the request itself ({}).", ours.join(", "))
    })
}

fn key(secret: &str) -> Option<Vec<u8>> {
    match secret.strip_prefix("whsec_") {
        Some(coded) => unbase64(coded),
        None => Some(secret.as_bytes().to_vec()),
    }
}

/// Value of `webhook-signature`.
pub fn signature(secret: &Secret, id: &str, at_s: i64, body: &str) -> Option<String> {
    let key = Secret::new(key(secret.reveal_text_for("signing a webhook"))?);
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.reveal_for("signing a webhook"));
    let tag = hmac::sign(&key, format!("{id}.{at_s}.{body}").as_bytes());
    Some(format!("v1,{}", base64(tag.as_ref())))
}

fn send(s: &Sending) -> Outcome {
    attempt(s).unwrap_or_else(|outcome| outcome)
}

fn attempt(s: &Sending) -> Result<Outcome, Outcome> {
    let config: Config = s.config()?;
    let mut url = Url::parse(s.secret("url")?.reveal_text_for("where to send")).map_err(Outcome::Never)?;
    let preset = preset(&config.preset);
    let body = match (preset, s.facts) {
        (Some(preset), facts) => preset.body(s.message, facts, &config.room),
        (None, [facts]) => body(s, facts),
        (None, _) => return Err(Outcome::Never("A webhook carries one event.".into())),
    }
    .to_string();
    let further = s
        .secrets
        .get("headers")
        .map(|h| headers(h.reveal_text_for("a webhook's headers")));
    let further = further.transpose().map_err(Outcome::Never)?.unwrap_or_default();
    let mut headers: Vec<(&str, String)> = further
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    if !config.username.is_empty() {
        let login = get::basic(&config.username, s.secret("password")?);
        headers.push(("authorization", login.reveal_text_for("a webhook's login").into()));
    }
    if let Some(preset) = preset {
        url.path = preset.path(&url.path, &config.room, s.key);
        let (name, before) = preset.token;
        if let Some(token) = s.secrets.get("token").filter(|_| !name.is_empty()) {
            headers.push((name, format!("{before}{}", token.reveal_text_for("a webhook's token"))));
        }
    } else {
        headers.extend([
            ("webhook-id", s.key.to_string()),
            ("webhook-timestamp", s.now_s.to_string()),
            ("idempotency-key", s.key.to_string()),
        ]);
        if let Some(secret) = s.secrets.get("secret") {
            let unusable = || Outcome::Never("The webhook's secret cannot be used. Enter it again.".into());
            let signed = signature(secret, s.key, s.now_s, &body).ok_or_else(unusable)?;
            headers.push(("webhook-signature", signed));
        }
    }
    let method = preset.map_or(Method::Post, |p| p.method);
    let said = s.ask(method, &url, &config.tls_pin, &headers, body.as_bytes(), None);
    drop(
        headers
            .into_iter()
            .map(|(_, value)| Secret::new(value))
            .collect::<Vec<_>>(),
    ); // zeroed
    Ok(by_status(&said?))
}

fn body(s: &Sending, f: &Facts) -> Value {
    json!({
        "type": match f.what {
            text::What::Raised => "alert.raised",
            text::What::Resolved => "alert.resolved",
            text::What::Event => f.kind.as_str(),
            text::What::Test => "test",
        },
        "timestamp": rfc3339(f.at),
        "data": {
            "kind": f.kind,
            "level": f.level.name(),
            "title": text::title(s.lang, f),
            "text": s.message.plain(),
            "alert_id": (f.alert > 0).then_some(f.alert),
            "target": f.about(),
            "evidence": f.evidence,
            "since": rfc3339(f.since),
            "count": f.count,
            "held_back": f.held,
            "note": f.note,
            "flapping": f.flaps.map(|(times, ..)| times),
            "hanging": { "domains": f.hanging.0, "alerts": f.hanging.1 },
            "link": s.message.link,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        // The example of the specification's reference libraries.
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signed = signature(
            &secret,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1614265330,
            "{\"test\": 2432232314}",
        );
        assert_eq!(
            signed.as_deref(),
            Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
        );
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_refused() {
        for good in ["sixteen letters!", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            assert_eq!(check("secret", good), Ok(()), "{good}");
        }
        for bad in ["", "short", "whsec_", "whsec_!!!!", "whsec_YWJj"] {
            assert!(check("secret", bad).is_err(), "{bad}");
        }
        assert!(check("url", "https://hooks.example/x").is_ok() && check("url", "x").is_err());
    }
}
