//! A Bot API as the public documentation and the open server have it, as far as `sendMessage` goes: its checks in its order,
//! its words (`tests/data/telegram`), its count of characters.

use super::data;
use super::receiver::{Post, Receiver, answer};
use serde_json::{Value, json};

/// The one bot there is.
pub const TOKEN: &str = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw";
/// Chats that exist.
pub const CHATS: [&str; 5] = ["424242", "-1001234567890", "-1005555", "777", "@our_alerts"];

/// A running one.
pub fn new() -> Receiver {
    Receiver::new(api)
}

/// What the chats have got: chat, and the text as it is shown.
pub fn shown(receiver: &Receiver) -> Vec<(String, String)> {
    let posts = receiver.posts();
    let sent = posts.iter().filter(|p| api(p).starts_with(b"HTTP/1.1 200"));
    sent.map(|p| {
        let body = p.json();
        (chat(&body), plain(&body).unwrap())
    })
    .collect()
}

fn reply(status: &str, body: &[u8]) -> Vec<u8> {
    answer(status, "Content-Type: application/json\r\n", body)
}

fn file(status: &str, name: &str) -> Vec<u8> {
    reply(status, &data(&format!("telegram/{name}.json")))
}

fn chat(body: &Value) -> String {
    match &body["chat_id"] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The API's answer to one request.
pub fn api(post: &Post) -> Vec<u8> {
    let token = post
        .path()
        .strip_prefix("/bot")
        .and_then(|p| p.strip_suffix("/sendMessage"));
    match token {
        Some(TOKEN) => {}
        Some(other) if other.split_once(':').is_some_and(|(n, _)| n.parse::<u64>().is_ok()) => {
            return file("401 Unauthorized", "bad_token");
        }
        _ => return file("404 Not Found", "malformed_token"),
    }
    let body = post.json();
    let text = match plain(&body) {
        Ok(text) => text,
        Err(why) => {
            let body = json!({ "ok": false, "error_code": 400, "description": format!("Bad Request: can't parse entities: {why}") });
            return reply("400 Bad Request", body.to_string().as_bytes());
        }
    };
    let chat = chat(&body);
    match chat.as_str() {
        "" => return file("400 Bad Request", "no_chat"),
        "-55" => return file("400 Bad Request", "migrated"),
        "13" => return file("403 Forbidden", "blocked"),
        known if CHATS.contains(&known) => {}
        _ => return file("400 Bad Request", "chat_not_found"),
    }
    if text.trim().is_empty() {
        return file("400 Bad Request", "empty");
    }
    if text.encode_utf16().count() > 4096 {
        return file("400 Bad Request", "too_long");
    }
    let id = 101;
    let body =
        json!({ "ok": true, "result": { "message_id": id, "chat": { "id": chat }, "date": 1795240754, "text": text } });
    reply("200 OK", body.to_string().as_bytes())
}

/// The text with its markup taken out, or what is wrong with the markup.
pub fn plain(body: &Value) -> Result<String, String> {
    let text = body["text"].as_str().unwrap_or_default();
    match body["parse_mode"].as_str() {
        None => Ok(text.into()),
        Some("HTML") => html(text),
        Some("MarkdownV2") => markdown(text),
        Some(other) => Err(format!("unknown mode {other}")),
    }
}

fn html(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut open = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix('<') {
            let (tag, behind) = after.split_once('>').ok_or("Can't find end of tag")?;
            match tag.strip_prefix('/') {
                Some(name) if open.pop() == Some(name.to_string()) => {}
                Some(name) => return Err(format!("Unexpected end tag {name}")),
                None if ["b", "i", "u", "s", "code", "pre"].contains(&tag) => open.push(tag.to_string()),
                None => return Err(format!("Unsupported start tag \"{tag}\"")),
            }
            rest = behind;
        } else if rest.starts_with('&') {
            let entities = [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&quot;", '"')];
            let known = entities.iter().find(|(e, _)| rest.starts_with(e));
            match known {
                Some((e, c)) => {
                    out.push(*c);
                    rest = &rest[e.len()..];
                }
                None => {
                    out.push('&');
                    rest = &rest[1..];
                }
            }
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    match open.pop() {
        None => Ok(out),
        Some(tag) => Err(format!("Can't find end tag corresponding to start tag {tag}")),
    }
}

fn markdown(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let (mut bold, mut code) = (false, false);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(next) if next.is_ascii() && next as u32 > 0 && next as u32 <= 126 => out.push(next),
                _ => return Err("Character '\\' is reserved".into()),
            },
            '`' => code = !code,
            c if code => out.push(c),
            '*' => bold = !bold,
            '_' | '[' | ']' | '(' | ')' | '~' | '>' | '#' | '+' | '-' | '=' | '|' | '{' | '}' | '.' | '!' => {
                return Err(format!(
                    "Character '{c}' is reserved and must be escaped with the preceding '\\'"
                ));
            }
            c => out.push(c),
        }
    }
    if bold || code {
        Err("Can't find end of the entity".into())
    } else {
        Ok(out)
    }
}
