//! Slack's incoming webhooks, and compatible ones (Mattermost, Rocket.Chat). The URL is the secret. Slack has no
//! idempotency keys.

use super::channel::{Channel, Outcome, Secrets, Sending, answer, by_status, pin, text_of};
use crate::base::clock::Duration;
use crate::base::url::Url;
use crate::form::Input;
use crate::net::http::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The channel. Slack accepts about one message per second.
pub const CHANNEL: Channel = Channel {
    name: "slack",
    secrets: &["url"],
    needs: |_| &["url"],
    read,
    check: |_, text| Url::parse(text).map(drop),
    // The URL is the secret; the certificate proves its receiver.
    home: |config, _| (text_of(config, "tls_pin").into(), true),
    recipients: |_| vec![String::new()],
    may_gather: |_| true,
    pace_ms: 1_050,
    deadline: Duration::from_secs(15),
    send,
};

/// Limit of a text; Slack hides the rest of longer ones.
const TEXT_MAX: usize = 3_000;

#[derive(Serialize, Deserialize)]
struct Config {
    tls_pin: String,
}

fn read(i: &mut Input, base: &Value, _: &mut Secrets) -> Value {
    let kept = base.get("tls_pin").and_then(Value::as_str).unwrap_or_default();
    let tls_pin = i.parse("tls_pin", "bad_pin", pin);
    json!(Config {
        tls_pin: tls_pin.unwrap_or_else(|| kept.into())
    })
}

/// Escapes the three special characters. Formatting marks count at the edge of a word only; there a zero-width space
/// separates them. Nothing is added inside a word (`web_1`): names are copied from messages.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut before = ' ';
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let inside = before.is_alphanumeric() && chars.peek().is_some_and(|next| next.is_alphanumeric());
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '*' | '_' | '~' | '`' if !inside => {
                out.push('\u{200b}');
                out.push(c);
            }
            c => out.push(c),
        }
        before = c;
    }
    out
}

/// Escapes for code: the three special characters, and backticks.
fn code(text: &str) -> String {
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('`', "'");
    format!("`{text}`")
}

fn send(s: &Sending) -> Outcome {
    attempt(s).unwrap_or_else(|outcome| outcome)
}

fn attempt(s: &Sending) -> Result<Outcome, Outcome> {
    let config: Config = s.config()?;
    let url = Url::parse(s.secret("url")?.reveal_text_for("where to send")).map_err(Outcome::Never)?;
    let small = s.message.fit(TEXT_MAX);
    let link = small.link.clone();
    let sentence = |text: &str| match &link {
        // Links are not escaped: they may hold underscores.
        Some(link) if link == text => format!("<{}>", text.replace('&', "&amp;")),
        _ => escape(text),
    };
    let text = small.with(|t| format!("*{}*", escape(t)), sentence, code);
    let said = s.post(
        &url,
        &config.tls_pin,
        json!({ "text": text }).to_string().as_bytes(),
        None,
    )?;
    Ok(match by_status(&said) {
        Outcome::Sent(_) => outcome_of(&said),
        outcome => outcome,
    })
}

/// Compatible receivers accept in different ways (`ok`, nothing, `{"success":true}`, `{"result":"success"}`); a refusal
/// is in a field. Anything else with status 200 (a portal) is ambiguous.
fn outcome_of(said: &Response) -> Outcome {
    let body = said.body.trim_ascii();
    if body.is_empty() || body.eq_ignore_ascii_case(b"ok") || body.eq_ignore_ascii_case(b"success") {
        return Outcome::Sent(answer(said));
    }
    let fields: Value = serde_json::from_slice(body).unwrap_or_default();
    if !fields.is_object() {
        return Outcome::Doubtful(format!("{} This says neither yes nor no.", answer(said)));
    }
    let is_no = |name: &str| match &fields[name] {
        Value::Bool(yes) => !yes,
        Value::String(word) => !["ok", "success", "true"].contains(&word.to_ascii_lowercase().as_str()),
        _ => false,
    };
    let error = text_of(&fields, "error");
    if error.is_empty() && !["ok", "success", "result", "status"].into_iter().any(is_no) {
        return Outcome::Sent(answer(said));
    }
    match error {
        "ratelimited" | "rate_limited" | "internal_error" | "service_unavailable" => Outcome::Later {
            why: answer(said),
            wait_s: said.retry_after,
        },
        _ => Outcome::Never(answer(said)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_at_the_edge_of_a_word_are_disarmed_and_names_stay_as_they_are() {
        assert_eq!(escape("web_1 a*b"), "web_1 a*b");
        assert_eq!(
            escape("*x* <!here> & _y_"),
            "\u{200b}*x\u{200b}* &lt;!here&gt; &amp; \u{200b}_y\u{200b}_"
        );
        assert_eq!(code("a`b<c"), "`a'b&lt;c`");
    }
}
