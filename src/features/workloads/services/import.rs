//! `services.json` read in: services by their names, with the settings of the API, and what older managers kept beside them.
//! All of it is done, or nothing: what cannot be taken is said with where it is set here.

use super::queries;
use crate::access::Allowed;
use crate::access::right::{Edit, Services};
use crate::app::App;
use crate::base::error::{Error, Kind, Result};
use crate::base::shape::described;
use crate::base::text::one_line;
use crate::db::Tx;
use crate::form::Input;
use crate::form::param::{self, Param};
use serde_json::{Map, Value};

/// Body of an import.
pub const PARAMS: &[Param] = &[
    param::object(
        "file",
        "What services.json holds: `services` by name, and perhaps `monitoring` and `logging`.",
    )
    .required()
    .example(r#"{"services":{"shop-bot":{"enabled":true,"restart_policy":"always","max_restarts":5}}}"#),
    param::flag("apply", "Carries it out; without it the answer is what would be done."),
];

/// Services in a file.
const MAX: usize = 500;

described! {
    /// What an import does, or would do.
    pub struct Imported {
        items: Vec<Item>,
        /// Was it carried out?
        applied: bool,
    }

    /// One thing in the file.
    struct Item {
        /// Where it stands in the file.
        path: String,
        /// `create`, `update`, `same`; `elsewhere`: set in another place, see `say`; `refused`: nothing is done because of it.
        action: &'static str,
        say: String,
    }
}

/// Something that older managers kept in the file.
struct Known {
    path: &'static str,
    /// Means what is so here anyway.
    same: fn(&Value) -> bool,
    /// What becomes of anything else.
    action: &'static str,
    say: &'static str,
}

const fn known(path: &'static str, same: fn(&Value) -> bool, action: &'static str, say: &'static str) -> Known {
    Known {
        path,
        same,
        action,
        say,
    }
}

const KNOWN: &[Known] = &[
    known(
        "monitoring.web_dashboard.enabled",
        |v| *v == true,
        "refused",
        "The pages are part of Lamplighter; who may reach them is said by LAMPLIGHTER_LISTEN.",
    ),
    known(
        "monitoring.web_dashboard.port",
        |_| false,
        "refused",
        "Ports are not changed by a file: LAMPLIGHTER_LISTEN.",
    ),
    known(
        "monitoring.web_dashboard.host",
        |_| false,
        "refused",
        "Addresses are not changed by a file: LAMPLIGHTER_LISTEN.",
    ),
    known(
        "monitoring.web_dashboard.auth_enabled",
        |v| *v == true,
        "refused",
        "Signing in cannot be switched off.",
    ),
    known(
        "monitoring.alerts.telegram_enabled",
        |v| *v == false,
        "elsewhere",
        "Add an endpoint of the type telegram: POST /api/notifications.",
    ),
    known(
        "monitoring.alerts.admin_chat_ids",
        |v| v.as_array().is_some_and(Vec::is_empty),
        "elsewhere",
        "Chats belong to an endpoint of the type telegram: POST /api/notifications.",
    ),
    known(
        "logging.level",
        |v| v.as_str().is_some_and(|level| level.eq_ignore_ascii_case("info")),
        "elsewhere",
        "LAMPLIGHTER_LOG_LEVEL.",
    ),
    known(
        "logging.format",
        |_| false,
        "elsewhere",
        "Lines go to the journal as they are.",
    ),
];

/// Undoes what was tried.
const UNDONE: &str = "import_undone";

/// Does what a file says, or says what would be done. Errors: those of the database, and an invalid body.
pub fn import(app: &App, mut input: Input, by: Allowed<Edit, Services>) -> Result<Imported> {
    let (file, apply) = (input.object("file").flatten(), input.flag("apply").unwrap_or(false));
    if file.is_none() && !input.has_error("file") {
        input.wrong("file", "required", "Send what the file holds, a JSON object.");
    }
    input.finish(&[])?;
    let file = file.unwrap_or_default();
    let mut items = Vec::new();
    let done = app.db.write(|tx| {
        items = tried(app, tx, &file, by)?;
        match apply && items.iter().all(|item| item.action != "refused") {
            true => Ok(()),
            false => Err(Error::new(Kind::Conflict, UNDONE, "Nothing of it is done.")),
        }
    });
    match done {
        Err(e) if e.code != UNDONE => Err(e),
        done => Ok(Imported {
            items,
            applied: done.is_ok(),
        }),
    }
}

fn tried(app: &App, tx: &Tx, file: &Map<String, Value>, by: Allowed<Edit, Services>) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for (section, value) in file {
        match (section.as_str(), value) {
            ("services", Value::Object(services)) if services.len() <= MAX => {
                for (name, fields) in services {
                    items.push(service(app, tx, name, fields, by)?);
                }
            }
            ("services", Value::Object(_)) => items.push(refused("services", format!("At most {MAX} services."))),
            ("monitoring" | "logging", value) => others(section, value, 0, &mut items),
            _ => items.push(refused(
                section,
                "There is no such section: services, monitoring, logging.".into(),
            )),
        }
    }
    Ok(items)
}

fn refused(path: &str, say: String) -> Item {
    Item {
        path: one_line(path, 200),
        action: "refused",
        say,
    }
}

fn service(app: &App, tx: &Tx, name: &str, fields: &Value, by: Allowed<Edit, Services>) -> Result<Item> {
    let path = format!("services.{}", one_line(name, 80));
    let Value::Object(fields) = fields else {
        return Ok(refused(&path, "A service is an object of its settings.".into()));
    };
    let mut fields = fields.clone();
    let old = queries::by_name(tx, name)?;
    fields.insert("name".into(), name.into());
    let input = Input::of(super::model::PARAMS, fields);
    let (action, done) = match &old {
        Some(old) => ("update", super::update(app, tx, old.id, input, by)),
        None => ("create", super::create(app, tx, input, by).map(drop)),
    };
    match done {
        Ok(()) => Ok(Item {
            path,
            action,
            say: String::new(),
        }),
        Err(e)
            if matches!(
                e.kind,
                Kind::Invalid | Kind::Conflict | Kind::Malformed | Kind::NotFound
            ) =>
        {
            let each = e
                .fields
                .iter()
                .map(|field| format!("{}: {}", field.field, field.message));
            let each: Vec<String> = each.collect();
            Ok(refused(&path, if each.is_empty() { e.say } else { each.join(" ") }))
        }
        Err(e) => Err(e),
    }
}

/// Settings that are kept elsewhere here.
fn others(path: &str, value: &Value, depth: usize, items: &mut Vec<Item>) {
    if let Some(known) = KNOWN.iter().find(|known| known.path == path) {
        let same = (known.same)(value);
        items.push(Item {
            path: path.into(),
            action: if same { "same" } else { known.action },
            say: if same { String::new() } else { known.say.into() },
        });
        return;
    }
    match value {
        Value::Object(inner) if depth < 3 && inner.len() <= MAX => {
            for (name, value) in inner {
                others(&format!("{path}.{}", one_line(name, 80)), value, depth + 1, items);
            }
        }
        _ => items.push(refused(path, "That is not known here.".into())),
    }
}
