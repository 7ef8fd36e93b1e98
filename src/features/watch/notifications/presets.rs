//! Presets of webhooks with a receiver's own format: one row each.

use super::Level;
use super::text::{Facts, Message, What, cut_units};
use crate::base::text::percent_encode;
use crate::net::http::Method;
use serde_json::{Map, Value};

/// A preset.
pub struct Preset {
    /// Stored name.
    pub name: &'static str,
    /// HTTP method.
    pub method: Method,
    /// Path after the address, with `{room}` and `{key}`; empty: the address is complete.
    path: &'static str,
    /// Header of its token, and the prefix of its value; empty: no token.
    pub token: (&'static str, &'static str),
    /// Is a token required?
    pub needs_token: bool,
    /// Does it have a topic or room?
    pub has_room: bool,
    /// JSON template; placeholders in braces are filled, and dropped with their key if empty.
    body: &'static str,
    /// Its priorities of the four levels.
    priorities: [i64; 4],
    /// Limit of a message in UTF-16 units.
    text_max: usize,
    /// Escapes its markup.
    escape: fn(&str) -> String,
}

/// All presets. Sources: docs.ntfy.sh/publish (JSON to the root, 4 096 bytes), gotify.net/docs/pushmsg,
/// discord.com/developers/docs/resources/webhook (embeds: 256 and 4 096 characters), spec.matrix.org (client-server,
/// `PUT …/send/{eventType}/{txnId}`: idempotent by id).
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "ntfy",
        method: Method::Post,
        path: "/",
        token: ("authorization", "Bearer "),
        needs_token: false,
        has_room: true,
        body: r#"{"topic":"{room}","title":"{title}","message":"{text}","priority":"{priority}","click":"{link}"}"#,
        priorities: [2, 3, 4, 5],
        text_max: 1_300, // three bytes each
        escape: str::to_string,
    },
    Preset {
        name: "gotify",
        method: Method::Post,
        path: "/message",
        token: ("x-gotify-key", ""),
        needs_token: true,
        has_room: false,
        body: r#"{"title":"{title}","message":"{text}","priority":"{priority}",
                  "extras":{"client::notification":{"click":{"url":"{link}"}}}}"#,
        priorities: [2, 5, 7, 9],
        text_max: 4_000,
        escape: str::to_string,
    },
    Preset {
        name: "discord",
        method: Method::Post,
        path: "",
        token: ("", ""),
        needs_token: false,
        has_room: false,
        body: r#"{"embeds":[{"title":"{title}","description":"{text}","url":"{link}"}],"allowed_mentions":{"parse":[]}}"#,
        priorities: [0; 4],
        text_max: 2_000, // each letter may need a backslash
        escape: discord,
    },
    Preset {
        name: "matrix",
        method: Method::Put,
        path: "/_matrix/client/v3/rooms/{room}/send/m.room.message/{key}",
        token: ("authorization", "Bearer "),
        needs_token: true,
        has_room: true,
        body: r#"{"msgtype":"m.text","body":"{all}"}"#,
        priorities: [0; 4],
        text_max: 8_000,
        escape: str::to_string,
    },
];

/// Limit of a title in UTF-16 units.
const TITLE_MAX: usize = 200;

/// The preset of this name.
pub fn preset(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|p| p.name == name)
}

/// Escapes Discord's Markdown.
fn discord(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if "\\*_~`|>#-[]()".contains(c) {
            out.push('\\');
        }
        out.push(c);
        out
    })
}

impl Preset {
    /// Is the address the server alone?
    pub fn is_at_root(&self) -> bool {
        self.path == "/"
    }

    /// Path of a request, below the address's own path.
    pub fn path(&self, base: &str, room: &str, key: &str) -> String {
        let path = self.path.replace("{room}", &percent_encode(room)).replace("{key}", key);
        match path.as_str() {
            "" => base.into(),
            path => format!("{}{path}", base.trim_end_matches('/')),
        }
    }

    /// Body of a request.
    pub fn body(&self, message: &Message, facts: &[Facts], room: &str) -> Value {
        let small = message.fit(self.text_max);
        let title = cut_units(&format!("{} {}", small.mark, small.title), TITLE_MAX);
        let below = small.below();
        let good = facts.iter().all(|f| f.what == What::Resolved);
        let worst = facts.iter().map(|f| f.level).max().unwrap_or(Level::Info);
        let level = if good { Level::Info } else { worst };
        let put = |name: &str| match name {
            "{title}" => (self.escape)(&title).into(),
            "{text}" => (self.escape)(&below).into(),
            "{all}" => small.plain().into(),
            "{link}" => small.link.clone().unwrap_or_default().into(),
            "{room}" => room.into(),
            "{priority}" => self.priorities[level as usize].into(),
            other => Value::from(other),
        };
        let template = serde_json::from_str(self.body).unwrap_or_default();
        filled(template, &put).unwrap_or_default()
    }
}

/// Fills a template; `None` if nothing is left of it.
fn filled(template: Value, put: &impl Fn(&str) -> Value) -> Option<Value> {
    match template {
        Value::String(name) => Some(put(&name)).filter(|v| v.as_str() != Some("")),
        Value::Array(items) => Some(items.into_iter().filter_map(|item| filled(item, put)).collect()),
        Value::Object(fields) => {
            let fields: Map<_, _> = fields
                .into_iter()
                .filter_map(|(name, value)| Some((name, filled(value, put)?)))
                .collect();
            (!fields.is_empty()).then_some(Value::Object(fields))
        }
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::{Lang, words};

    #[test]
    fn each_receiver_has_a_body_and_words() {
        for p in PRESETS {
            assert!(serde_json::from_str::<Value>(p.body).unwrap().is_object(), "{}", p.name);
            let room = p.has_room.then(|| format!("field.room_{}", p.name));
            let ids = [format!("channel.{}", p.name), format!("field.url_hint_{}", p.name)];
            for id in ids.into_iter().chain(room) {
                assert!(words::word(Lang::Ru, &id, None).is_some(), "{id}");
            }
        }
    }
}
