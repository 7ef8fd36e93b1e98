//! Telegram's Bot API: one POST per chat. The token is in the path, so paths are never logged. The API has no
//! idempotency keys: a retry may duplicate a message. Other API servers and an HTTP proxy can be configured.

use super::channel::{Channel, Outcome, Secrets, Sending, answer, by_status, pin, text_of};
use super::text::Message;
use crate::base::clock::Duration;
use crate::base::text::one_line;
use crate::base::url::Url;
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::net::get;
use crate::net::http::{Proxy, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The channel. Telegram accepts about one message per second and chat before it answers 429.
pub const CHANNEL: Channel = Channel {
    name: "telegram",
    secrets: &["token", "password"],
    needs: |_| &["token"],
    read,
    check,
    home: |config, column| {
        let (api, proxy) = (text_of(config, "api_base"), text_of(config, "proxy"));
        match column {
            "password" => (
                proxy.into(),
                !proxy.is_empty() && !text_of(config, "proxy_user").is_empty(),
            ),
            // A proxy can read unencrypted requests.
            _ if !api.to_ascii_lowercase().starts_with("https:") => (format!("{api} {proxy}"), true),
            _ => (format!("{api} {}", text_of(config, "tls_pin")), true),
        }
    },
    recipients: |config| texts(config, "chats"),
    may_gather: |_| true,
    pace_ms: 1_050,
    deadline: Duration::from_secs(15),
    send,
};

/// Limit of a text in UTF-16 units, without markup.
const TEXT_MAX: usize = 4_096;
const API_BASE: &str = "https://api.telegram.org";
/// Maximum number of chats.
const CHATS_MAX: usize = 10;

/// Fields of the channel.
pub const PARAMS: &[Param] = &[
    param::list("chats", CHATS_MAX, 64, "Numbers or @names of chats."),
    param::maybe_number("thread_id", 0..=i32::MAX as i64, "The topic; 0: none."),
    param::choice(
        "parse_mode",
        &["none", "html", "markdown"],
        "The markup of its messages.",
    ),
    param::text("api_base", 4_096, "Where the Bot API is, if not at Telegram's."),
    param::text("proxy", 4_096, "`http://host:port`."),
    param::text("proxy_user", 4_096, "For the proxy."),
];

#[derive(Serialize, Deserialize)]
struct Config {
    chats: Vec<String>,
    /// Topic of a forum group; 0: none.
    thread_id: i64,
    /// `none`, `html` or `markdown`.
    parse_mode: String,
    api_base: String,
    /// Empty: none.
    proxy: String,
    proxy_user: String,
    tls_pin: String,
}

/// Settings from the environment.
pub fn seeded(chats: &str) -> Result<Value, String> {
    let chats = split(chats).map(chat).collect::<Result<Vec<_>, _>>()?;
    Ok(json!({
        "chats": chats, "thread_id": 0, "parse_mode": "none", "api_base": API_BASE, "proxy": "", "proxy_user": "",
        "tls_pin": "",
    }))
}

/// Chats as typed, separated by commas or spaces.
pub fn split(chats: &str) -> impl Iterator<Item = &str> {
    chats.split([',', ' ', ';']).filter(|c| !c.is_empty())
}

/// The texts of a list in the settings.
pub fn texts(config: &Value, name: &str) -> Vec<String> {
    let items = config.get(name).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(String::from).collect()
}

fn read(i: &mut Input, base: &Value, _: &mut Secrets) -> Value {
    let text = |name: &str, usual: &str| base.get(name).and_then(Value::as_str).unwrap_or(usual).to_string();
    let chats = match i.list("chats") {
        Some(given) => {
            let read: Result<Vec<_>, _> = given.iter().map(|c| chat(c)).collect();
            match read {
                Ok(chats) if chats.is_empty() => {
                    i.wrong("chats", "required", "Give at least one chat.");
                    chats
                }
                Ok(mut chats) => {
                    let mut seen = std::collections::HashSet::new();
                    chats.retain(|c| seen.insert(c.clone()));
                    chats
                }
                Err(say) => {
                    i.wrong("chats", "bad_chat", say);
                    Vec::new()
                }
            }
        }
        None => {
            let kept = texts(base, "chats");
            if kept.is_empty() && !i.has_error("chats") {
                i.wrong("chats", "required", "Give at least one chat.");
            }
            kept
        }
    };
    let thread_id = (i.maybe_number("thread_id")).map(Option::unwrap_or_default);
    let api_base = i.parse("api_base", "bad_url", |t| match t {
        "" => Ok(API_BASE.to_string()),
        t => Url::parse(t).and_then(|url| match url.path.contains('?') {
            true => Err("The API's address has no question mark.".into()),
            false => Ok(t.trim_end_matches('/').to_string()),
        }),
    });
    let proxy = i.parse("proxy", "bad_proxy", |t| match t {
        "" => Ok(String::new()),
        t => match Url::parse(t) {
            Ok(url) if !url.tls && url.path == "/" => Ok(url.origin()),
            _ => Err("A proxy is http://host:port, without a user name in it.".into()),
        },
    });
    let proxy_user = i.parse("proxy_user", "bad_user", |t| {
        match t.len() <= 100 && !t.contains([':', '\r', '\n']) {
            true => Ok(t.to_string()),
            false => Err("A user name has at most 100 bytes and no colon.".into()),
        }
    });
    let config = Config {
        chats,
        thread_id: thread_id.unwrap_or_else(|| base.get("thread_id").and_then(Value::as_i64).unwrap_or(0)),
        parse_mode: (i.choice("parse_mode")).map_or_else(|| text("parse_mode", "none"), String::from),
        api_base: api_base.unwrap_or_else(|| text("api_base", API_BASE)),
        proxy: proxy.unwrap_or_else(|| text("proxy", "")),
        proxy_user: proxy_user.unwrap_or_else(|| text("proxy_user", "")),
        tls_pin: (i.parse("tls_pin", "bad_pin", pin)).unwrap_or_else(|| text("tls_pin", "")),
    };
    json!(config)
}

/// `-1001234567890`, `424242` or `@name`.
fn chat(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let number =
        (1..=19).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    let name = text
        .strip_prefix('@')
        .is_some_and(|n| (4..=32).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
    match number || name {
        true => Ok(text.to_string()),
        false => Err(format!(
            "“{}” is not a chat: a number like 424242 or -1001234567890, or a public name like @our_alerts.",
            one_line(text, 40)
        )),
    }
}

fn check(column: &str, secret: &str) -> Result<(), String> {
    if column != "token" {
        return Ok(());
    }
    let good = secret.split_once(':').is_some_and(|(bot, key)| {
        (1..=20).contains(&bot.len())
            && bot.bytes().all(|b| b.is_ascii_digit())
            && (1..=100).contains(&key.len())
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    });
    match good {
        true => Ok(()),
        false => Err("A bot's token is digits, a colon and letters, as @BotFather gave it.".into()),
    }
}

fn send(s: &Sending) -> Outcome {
    attempt(s).unwrap_or_else(|outcome| outcome)
}

fn attempt(s: &Sending) -> Result<Outcome, Outcome> {
    let config: Config = s.config()?;
    let token = s.secret("token")?.reveal_text_for("the Bot API's path");
    let broken = |_| Outcome::Never("The endpoint's settings cannot be read. Enter them again.".into());
    let mut url = Url::parse(&config.api_base).map_err(broken)?;
    url.path = format!("{}/bot{token}/sendMessage", url.path.trim_end_matches('/'));
    let proxy = match config.proxy.as_str() {
        "" => None,
        text => {
            let at = Url::parse(text).map_err(broken)?;
            let password = s.secrets.get("password");
            let login = (!config.proxy_user.is_empty())
                .then(|| get::basic(&config.proxy_user, password.unwrap_or(&Default::default())));
            Some(Proxy {
                host: at.host,
                port: at.port,
                authorization: login,
            })
        }
    };
    let body = body(&config, s.recipient, s.message).to_string();
    let said = s.post(&url, &config.tls_pin, body.as_bytes(), proxy.as_ref())?;
    Ok(outcome_of(&said))
}

fn body(config: &Config, recipient: &str, message: &Message) -> Value {
    let (text, mode) = render(message, &config.parse_mode);
    let mut body = json!({
        "chat_id": recipient,
        "text": text,
        // No link preview: it would show our sign-in page.
        "link_preview_options": { "is_disabled": true },
    });
    if let Some(mode) = mode {
        body["parse_mode"] = mode.into();
    }
    // Topic 1 is General, which the API does not accept: messages without a topic go there.
    if config.thread_id > 1 {
        body["message_thread_id"] = config.thread_id.into();
    }
    body
}

/// The text in a parse mode (`none`, `html`, `markdown`) and the mode's name in the API. The length is counted without
/// markup, as Telegram does.
pub fn render(message: &Message, mode: &str) -> (String, Option<&'static str>) {
    let small = message.fit(TEXT_MAX);
    match mode {
        "html" => {
            let raw = |t: &str| format!("<code>{}</code>", html(t));
            (small.with(|t| format!("<b>{}</b>", html(t)), html, raw), Some("HTML"))
        }
        "markdown" => {
            let raw = |t: &str| format!("`{}`", t.replace('\\', "\\\\").replace('`', "\\`"));
            (
                small.with(|t| format!("*{}*", markdown(t)), markdown, raw),
                Some("MarkdownV2"),
            )
        }
        _ => (small.plain(), None),
    }
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Escapes MarkdownV2 outside of code.
fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if "_*[]()~`>#+-=|{}.!\\".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[derive(Deserialize)]
struct Reply {
    ok: bool,
    #[serde(default)]
    description: String,
    parameters: Option<Parameters>,
    /// The message; other API servers send `true` or nothing.
    #[serde(default)]
    result: Value,
}

#[derive(Deserialize)]
struct Parameters {
    retry_after: Option<u32>,
    migrate_to_chat_id: Option<i64>,
}

fn outcome_of(said: &Response) -> Outcome {
    let Ok(reply) = serde_json::from_slice::<Reply>(&said.body) else {
        // Not from the Bot API: a gateway or captive portal. Its 200 is not a success.
        return match by_status(said) {
            Outcome::Sent(_) => Outcome::Doubtful(format!("{} This is not an answer of the Bot API.", answer(said))),
            other => other,
        };
    };
    if reply.ok && (200..300).contains(&said.status) {
        let id = reply.result.get("message_id").and_then(Value::as_i64);
        let id = id.map_or_else(String::new, |id| format!(", message {id}"));
        return Outcome::Sent(format!("200 ok{id}"));
    }
    let why = one_line(&format!("{} {}", said.status, reply.description), 300);
    let parameters = reply.parameters.as_ref();
    if let Some(id) = parameters.and_then(|p| p.migrate_to_chat_id) {
        return Outcome::Moved(id.to_string());
    }
    match said.status {
        429 | 500.. => Outcome::Later {
            why,
            wait_s: parameters.and_then(|p| p.retry_after).or(said.retry_after),
        },
        _ => Outcome::Never(why),
    }
}
