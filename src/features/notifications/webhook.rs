//! A POST of JSON to whoever wants it, signed as Standard Webhooks (standardwebhooks.com) has it, so that receivers can use
//! an existing library:
//!
//! - `webhook-id`: the message's key, the same for every attempt. Who has seen it already drops the copy.
//! - `webhook-timestamp`: unix seconds of this attempt. Refuse what is more than five minutes off.
//! - `webhook-signature`: `v1,` and the base64 of HMAC-SHA256 over `<id>.<timestamp>.<body>` under the shared secret. A
//!   secret that begins with `whsec_` is the base64 of the key, any other is the key itself.
//!
//! `Idempotency-Key` repeats the id for receivers that know that header. Any 2xx means: taken.

use super::channel::{Channel, Outcome, Sending, by_status, pin, text_of};
use super::text::{self, Facts};
use crate::base::clock::{Duration, rfc3339};
use crate::base::secret::Secret;
use crate::base::text::{base64, unbase64};
use crate::base::url::Url;
use crate::http::input::Input;
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// See [`Channel`].
pub const CHANNEL: Channel = Channel {
    name: "webhook",
    secrets: &["url", "secret"],
    needs: |_| &["url"],
    read,
    check,
    // The signing key is never sent. The address is a secret itself; the certificate says who gets it.
    home: |config, column| match column {
        "url" => (text_of(config, "tls_pin").into(), true),
        _ => (String::new(), true),
    },
    recipients: |_| vec![String::new()],
    may_gather: false,
    pace_ms: 0,
    deadline: Duration::from_secs(15),
    send,
};

#[derive(Serialize, Deserialize)]
struct Config {
    tls_pin: String,
}

/// A key shorter than this can be tried out; RFC 2104 wants as much as the hash is long.
const SECRET_MIN: usize = 16;

fn read(i: &mut Input, base: &Value) -> Value {
    let kept = base.get("tls_pin").and_then(Value::as_str).unwrap_or_default();
    let tls_pin = i.parse("tls_pin", "bad_pin", pin);
    json!(Config {
        tls_pin: tls_pin.unwrap_or_else(|| kept.into())
    })
}

fn check(column: &str, secret: &str) -> Result<(), String> {
    match column {
        "url" => Url::parse(secret).map(drop),
        _ if key(secret).is_none_or(|key| key.len() < SECRET_MIN) => Err(format!(
            "A secret has at least {SECRET_MIN} characters, or is whsec_ and base64 as Standard Webhooks has it."
        )),
        _ => Ok(()),
    }
}

fn key(secret: &str) -> Option<Vec<u8>> {
    match secret.strip_prefix("whsec_") {
        Some(coded) => unbase64(coded),
        None => Some(secret.as_bytes().to_vec()),
    }
}

/// The value of `webhook-signature`.
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
    let url = Url::parse(s.secret("url")?.reveal_text_for("where to send")).map_err(Outcome::Never)?;
    let [facts] = s.facts else {
        return Err(Outcome::Never("A webhook carries one event.".into()));
    };
    let body = body(s, facts).to_string();
    let mut headers = vec![
        ("webhook-id", s.key.to_string()),
        ("webhook-timestamp", s.now_s.to_string()),
        ("idempotency-key", s.key.to_string()),
    ];
    if let Some(secret) = s.secrets.get("secret") {
        let unusable = || Outcome::Never("The webhook's secret cannot be used. Enter it again.".into());
        headers.push((
            "webhook-signature",
            signature(secret, s.key, s.now_s, &body).ok_or_else(unusable)?,
        ));
    }
    let said = s.post(&url, &config.tls_pin, &headers, body.as_bytes(), None)?;
    Ok(by_status(&said))
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
