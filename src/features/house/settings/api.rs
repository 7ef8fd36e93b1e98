//! The settings' JSON API.

use crate::access::Allowed;
use crate::access::right::{Edit, Read, Settings, may};
use crate::app::App;
use crate::audit::{self, By, Snapshot};
use crate::base::error::{self, Error, Result};
use crate::base::shape::{Described, Member, Object, Shape, described};
use crate::features::house::remote_store;
use crate::form::body;
use crate::http::admission::{self, WEB_ALLOW_FROM};
use crate::http::reply::{List, Reply};
use crate::http::request::Method::{Get, Put};
use crate::http::route::{Ctx, Route, route};
use crate::lang::Lang;
use crate::settings::{self, Setting, Type, Value};
use serde::Serialize;
use std::collections::BTreeMap;

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Get, "/api/settings", may(Read, Settings), list).gives::<List<View>>(),
    route(Put, "/api/settings", may(Edit, Settings), change)
        .takes_document::<BTreeMap<String, Option<Value>>>()
        .gives::<List<View>>()
        .refuses(&[404]),
];

described! {
    /// One setting as shown.
    pub struct View {
        /// `section.name`.
        pub key: &'static str,
        /// Current value.
        pub value: Value,
        /// Default.
        pub default: Value,
        /// Type and bounds.
        #[serde(flatten)]
        pub kind: Kind,
        /// Description, one sentence.
        pub help: &'static str,
        /// Description in Russian.
        pub help_ru: &'static str,
    }
}

/// Type and bounds of a value.
#[derive(Serialize, Clone, Copy)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Kind {
    /// A whole number.
    Number {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
        /// Unit, or empty.
        unit: &'static str,
    },
    /// Text on one line.
    Text {
        /// Longest, in bytes.
        length_max: usize,
    },
}

/// The members depend on `type`.
impl Described for Kind {
    const SHAPE: &'static Shape = &Shape::Object(&Object {
        name: "",
        doc: &[],
        members: || {
            const {
                &[
                    Member::always("type", &Shape::Choice(&["number", "text"])),
                    Member::optional("min", &Shape::Whole),
                    Member::optional("max", &Shape::Whole),
                    Member::optional("unit", &Shape::Text),
                    Member::optional("length_max", &Shape::Whole),
                ]
            }
        },
    });
}

/// Every setting with its current value.
pub fn all(app: &App) -> Result<Vec<View>> {
    app.db.read(|conn| {
        let view = |s: &&'static Setting| {
            Ok(View {
                key: s.key,
                value: s.value(conn)?,
                default: s.default(),
                kind: match s.kind {
                    Type::Number { min, max, unit, .. } => Kind::Number { min, max, unit },
                    Type::Text { max, .. } => Kind::Text { length_max: max },
                },
                help: s.help(Lang::En),
                help_ru: s.help(Lang::Ru),
            })
        };
        app.registry.all().iter().map(view).collect()
    })
}

/// Sets several at once: all or none. An empty value restores the default. Error: invalid values.
pub fn set_all(app: &App, changes: &[(String, Option<String>)], by: Allowed<Edit, Settings>) -> Result<()> {
    app.db.write(|tx| {
        let homes = remote_store::homes(tx)?;
        let mut detail = serde_json::Map::new();
        let mut stood = [BTreeMap::new(), BTreeMap::new()];
        for (key, value) in changes {
            let known = app.registry.all::<Setting>().iter().find(|s| s.key == key);
            let setting = known.ok_or_else(|| Error::not_found("setting"))?;
            let was = setting.value(tx)?;
            if settings::set(tx, setting, value.as_deref(), by.actor())? {
                let told = |value| serde_json::to_value(value).map_err(Error::internal);
                stood[0].entry(key.clone()).or_insert(told(was)?);
                stood[1].insert(key.clone(), told(setting.value(tx)?)?);
                detail.insert(key.clone(), value.clone().into());
            }
        }
        if detail.contains_key(WEB_ALLOW_FROM.key) {
            admission::keeps_in(tx, By::from(by).ip)?;
        }
        if remote_store::keep_at_home(tx, &homes)? {
            detail.insert("push_secret_forgotten".into(), true.into());
        }
        if detail.is_empty() {
            return Ok(());
        }
        let [before, after] = stood.map(Snapshot::of_values);
        let (what, detail) = ("settings.change", detail.into());
        audit::append_change(tx, &app.vault, by, what, "settings", &detail, [&before, &after])
    })
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let items = all(ctx.app)?;
    Reply::json(&List::whole(items))
}

/// Accepts `{"poll.fail_threshold": 5, "dns.resolvers": "192.0.2.1", "retention.task_days": null}` (`null` restores the
/// default), or the list as it was read: key and value of each.
fn change(ctx: &Ctx) -> Result<Reply> {
    let mut body: serde_json::Map<String, serde_json::Value> =
        body::json(ctx.request.header("content-type"), &ctx.request.body)?;
    let pairs: Vec<_> = match body.get_mut("items") {
        Some(serde_json::Value::Array(items)) => {
            let pair = |item: &mut serde_json::Value| {
                let key = item["key"].as_str().unwrap_or_default().to_string();
                (key, item["value"].take())
            };
            items.iter_mut().filter(|item| item.is_object()).map(pair).collect()
        }
        _ => body.into_iter().collect(),
    };
    let mut changes = Vec::new();
    for (key, value) in pairs {
        let value = match value {
            serde_json::Value::Null => None,
            serde_json::Value::Number(n) => Some(n.to_string()),
            serde_json::Value::String(text) => Some(text),
            _ => {
                return Err(Error::new(
                    error::Kind::Malformed,
                    "bad_json",
                    "A setting is a number, a text or null.",
                ));
            }
        };
        changes.push((key, value));
    }
    set_all(ctx.app, &changes, ctx.allowed(Edit, Settings)?)?;
    list(ctx)
}
