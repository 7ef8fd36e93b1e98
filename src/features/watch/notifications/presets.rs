//! Receivers that a webhook speaks to in their own words: one row each. Adding one is adding a row and its words.

use super::Level;
use super::text::{Facts, Message, What, cut_units};
use crate::base::text::percent_encode;
use crate::net::http::Method;
use serde_json::{Map, Value};

/// A receiver.
pub struct Preset {
    /// As stored.
    pub name: &'static str,
    /// How it is asked.
    pub method: Method,
    /// Behind the address, with `{room}` and `{key}`; empty: the address is whole.
    path: &'static str,
    /// The header that its token goes into, and what stands before it; empty: it takes none.
    pub token: (&'static str, &'static str),
    /// Does it never take anything without a token?
    pub needs_token: bool,
    /// Is there a topic or a room to be named?
    pub has_room: bool,
    /// JSON; what is in braces is put in, and left out with its key where there is nothing to put in.
    body: &'static str,
    /// What it calls the four levels.
    priorities: [i64; 4],
    /// UTF-16 units of a message that it takes in any script.
    text_max: usize,
    /// What its markup needs.
    escape: fn(&str) -> String,
}

/// All of them. Sources: docs.ntfy.sh/publish (JSON to the root, 4 096 bytes), gotify.net/docs/pushmsg,
/// discord.com/developers/docs/resources/webhook (embeds: 256 and 4 096 characters), spec.matrix.org (client-server, `PUT
/// …/send/{eventType}/{txnId}`: the same id is taken once).
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

/// UTF-16 units of a title.
const TITLE_MAX: usize = 200;

/// By its name.
pub fn preset(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|p| p.name == name)
}

/// Marks that Discord's Markdown reads.
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

    /// Where to send, below the address's own path.
    pub fn path(&self, base: &str, room: &str, key: &str) -> String {
        let path = self.path.replace("{room}", &percent_encode(room)).replace("{key}", key);
        match path.as_str() {
            "" => base.into(),
            path => format!("{}{path}", base.trim_end_matches('/')),
        }
    }

    /// What to send.
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

/// A template with its texts replaced; nothing where nothing is left of it.
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
