//! Fields of an endpoint and their validation; rows of the queue.

use super::Level;
use super::channel::Channel;
use super::text::Facts;
use super::{email, telegram, webhook};
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::base::secret::Secret;
use crate::features::fleet::scope::{self, SCOPE, Scope};
use crate::features::house::secrets::Refs;
use crate::form::param::{self, Param};
use crate::form::{Input, Kept};
use crate::kinds::{self, EventKind};
use crate::lang::Lang;
use serde_json::Value;

/// Validated plain fields.
#[derive(Debug, Clone)]
pub struct Fields {
    /// Display name; unique regardless of case.
    pub name: String,
    /// Is it active?
    pub enabled: bool,
    /// The language of its messages.
    pub lang: Lang,
    /// Time zone of its messages; empty: that of the installation.
    pub time_zone: String,
    /// Minimum level.
    pub min_level: Level,
    /// Subscribed kinds ([`is_known`]); empty: every alert, no other events.
    pub events: Vec<String>,
    /// Only about these.
    pub scope: Scope,
    /// Settings of the channel.
    pub config: Value,
}

impl Default for Fields {
    fn default() -> Fields {
        Fields {
            name: String::new(),
            enabled: true,
            lang: Lang::En,
            time_zone: String::new(),
            min_level: Level::Warning,
            events: Vec::new(),
            scope: Scope::default(),
            config: Value::Null,
        }
    }
}

/// Proof of validation.
#[derive(Debug)]
pub struct Valid {
    /// All plain fields.
    pub fields: Fields,
    /// Columns whose secret changes; `None` removes it.
    pub secrets: Vec<(&'static str, Option<Secret>)>,
    /// Of those, what refers to a secret of the house.
    pub refs: Refs,
}

/// Accepted fields of a draft: common ones, and those of each channel.
pub const PARAMS: &[Param] = &param::joined::<COUNT>(&[OWN, telegram::PARAMS, email::PARAMS, webhook::PARAMS]);
const COUNT: usize = OWN.len() + telegram::PARAMS.len() + email::PARAMS.len() + webhook::PARAMS.len();

const OWN: &[Param] = &[
    param::text("type", 20, "The way of sending; an endpoint keeps it.")
        .required()
        .example("\"webhook\""),
    param::name("name", "What people call it, unique whatever its case.").required(),
    param::flag("enabled", "Is anything sent?"),
    param::choice("lang", &["en", "ru"], "The language of its messages."),
    param::text(
        "time_zone",
        4_096,
        "By whose clocks its messages are; empty: the house's.",
    ),
    param::choice("min_level", &Level::NAMES, "Nothing below this."),
    param::list(
        "events",
        64,
        64,
        "Kinds it has subscribed to; none: every alert and no news.",
    ),
    SCOPE,
    param::list(
        "tags",
        32,
        64,
        "Short for a scope: only about servers with one of these.",
    ),
    param::secret(
        "token",
        SECRET_MAX,
        "The bot's token, or the one that a receiver wants.",
    )
    .or_reference(),
    param::secret("url", SECRET_MAX, "Where messages are sent.")
        .example("\"https://hook.example.org/in\"")
        .or_reference(),
    param::secret("secret", SECRET_MAX, "What messages are signed with.").or_reference(),
    param::secret(
        "password",
        SECRET_MAX,
        "Of the mail account, the receiver or the proxy.",
    )
    .or_reference(),
    param::secret("headers", SECRET_MAX, "Further headers, one a line.").or_reference(),
    param::text("username", 4_096, "Of the mail account or the receiver."),
    param::text(
        "tls_pin",
        4_096,
        "SHA-256 of the receiver's certificate, where no authority vouches for it.",
    ),
];

/// Fields of the answer that may be sent back unchanged.
pub const READ_ONLY: &[&str] = &[
    "id",
    "type",
    "address",
    "has_token",
    "has_url",
    "has_secret",
    "has_password",
    "has_headers",
    "secret_ids",
    "origin",
    "from_environment",
    "saved_by",
    "state",
    "created_at",
    "updated_at",
];

/// Longest secret in bytes; URLs are the longest.
const SECRET_MAX: usize = 4_096;

/// Reads a draft over `base`: missing fields keep the values of `base`. `old` is the stored state: settings of the
/// channel and filled columns. Error: invalid fields.
pub fn read(
    mut input: Input,
    channel: &'static Channel,
    base: Fields,
    old: Option<(&Value, &[&'static str])>,
) -> Result<Valid> {
    let has = old.map_or(&[][..], |(_, has)| has);
    let i = &mut input;
    let mut f = base;
    set(&mut f.name, i.name("name"));
    set(&mut f.enabled, i.flag("enabled"));
    set(&mut f.lang, i.choice("lang").and_then(Lang::parse));
    set(&mut f.time_zone, i.time_zone("time_zone"));
    set(&mut f.min_level, i.choice("min_level").and_then(Level::parse));
    let events = i.list("events");
    if let Some(unknown) = events.iter().flatten().find(|e| !is_known(e)) {
        let known: Vec<_> = kinds::all()
            .into_iter()
            .filter(|k| is_notifiable(k))
            .map(|k| k.name)
            .collect();
        let say = format!(
            "“{unknown}” is not something to subscribe to. Known are: {}.",
            known.join(", ")
        );
        i.wrong("events", "bad_choice", say);
    }
    set(&mut f.events, events);
    let tags = i.list("tags").map(|tags| ("tags", tags));
    let said = scope::read(i, &f.scope, tags, None);
    set(&mut f.scope, said);
    let mut secrets = Vec::new();
    for column in channel.secrets.iter().copied() {
        let Some(change) = i.secret(column) else {
            continue;
        };
        let text = change.as_ref().map(|s| s.reveal_text_for("looking at its form"));
        match text.map_or(Ok(()), |text| (channel.check)(column, text)) {
            Ok(()) => secrets.push((column, change)),
            Err(say) => i.wrong(column, "bad_secret", say),
        }
    }
    f.config = (channel.read)(i, &f.config, &mut secrets);
    // The stored destination is no field of a draft: it belongs to the stored URL.
    if let Some((config, _)) = old
        && !secrets.iter().any(|(column, _)| *column == "url")
        && let Some(origin) = config.get("origin")
    {
        f.config["origin"] = origin.clone();
    }
    if let Some((config, has)) = old {
        for &field in has {
            if secrets.iter().any(|(given, _)| *given == field) {
                continue;
            }
            let (home, in_use) = (channel.home)(&f.config, field);
            let say = format!(
                "The address, the proxy or the certificate has changed. Give the {field} again: the stored one is not sent anywhere else."
            );
            let kept = Kept {
                field,
                stored: true,
                in_use,
                moved: home != (channel.home)(config, field).0,
                say: &say,
            };
            let mut change = None;
            i.keep_at_home(kept, &mut change);
            secrets.extend(change.map(|change| (field, change)));
        }
    }
    if f.name.is_empty() && !i.has_error("name") {
        i.wrong("name", "nameless", "Give it a name.");
    }
    for column in (channel.needs)(&f.config) {
        let given = secrets.iter().find(|(name, _)| name == column);
        let will_have = given.map_or(has.contains(column), |(_, value)| value.is_some());
        if !will_have && !i.has_error(column) {
            i.wrong(column, "required", format!("The {column} is missing."));
        }
    }
    input.finish(READ_ONLY)?;
    Ok(Valid {
        fields: f,
        secrets,
        refs: Refs::default(),
    })
}

fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

/// State of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Waits for its time.
    Queued,
    /// An attempt is in progress.
    Sending,
    /// Accepted by the receiver.
    Sent,
    /// Failed permanently, or too old.
    Dead,
    /// Obsolete before its time came.
    Held,
}

impl Status {
    const ALL: [Status; 5] = [
        Status::Queued,
        Status::Sending,
        Status::Sent,
        Status::Dead,
        Status::Held,
    ];

    /// As stored and shown.
    pub fn name(self) -> &'static str {
        ["queued", "sending", "sent", "dead", "held"][self as usize]
    }

    /// Parses a name.
    pub fn parse(name: &str) -> Status {
        Status::ALL
            .into_iter()
            .find(|s| s.name() == name)
            .unwrap_or(Status::Dead)
    }
}

/// One message to one recipient.
#[derive(Debug, Clone)]
pub struct Row {
    pub id: Id<id::Delivery>,
    pub endpoint: Id<id::Endpoint>,
    pub endpoint_name: String,
    pub endpoint_type: String,
    pub recipient: String,
    pub key: String,
    pub facts: Facts,
    pub status: Status,
    pub attempts: i64,
    /// Number of ambiguous answers.
    pub doubts: i64,
    pub created_at: Ms,
    /// Its age counts from here.
    pub since: Ms,
    pub next_at: Ms,
    pub ended_at: Option<Ms>,
    pub answer: String,
    pub event: i64,
}

/// Maximum of ambiguous answers: each attempt may have been one more copy.
pub const DOUBTS_MAX: i64 = 3;

impl Row {
    /// Given up, but it may have arrived?
    pub fn is_doubtful(&self) -> bool {
        self.status == Status::Dead && self.doubts >= DOUBTS_MAX
    }
}

/// Can this kind be subscribed to?
pub fn is_known(name: &str) -> bool {
    kinds::find(name).is_some_and(is_notifiable)
}

fn is_notifiable(kind: &EventKind) -> bool {
    kind.is_news() || kind.raises().is_some()
}

/// Does a subscription include this alert? One without any alert kind includes all, also those of later versions.
pub fn takes_alert(events: &[String], kind: &str) -> bool {
    let is_news = |name: &str| kinds::find(name).is_some_and(EventKind::is_news);
    let mut alerts = events.iter().filter(|e| !is_news(e)).peekable();
    alerts.peek().is_none() || alerts.any(|e| e == kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::proxy::domains;

    #[test]
    fn who_names_no_alert_gets_every_alert_and_who_names_one_gets_that() {
        kinds::join(domains::FEATURE.kinds);
        let none: &[String] = &[];
        let news = &["deploy.ok".to_string()];
        let one = &["deploy.ok".to_string(), "deploy.failed".to_string()];
        assert!(takes_alert(none, "ns.mismatch") && takes_alert(news, "brand.new"));
        assert!(takes_alert(one, "deploy.failed") && !takes_alert(one, "server.unreachable"));
        assert!(is_known("deploy.ok") && is_known("deploy.failed") && !is_known("x"));
    }
}
