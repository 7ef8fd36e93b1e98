//! Forms with fields that may have a secret of the house instead of a value of their own: which ones are offered, and what
//! was chosen. The select of such a field is called like the field with [`CHOSEN`].

use super::queries;
use super::refs::{Place, Refers, Slot, is_in_scope};
use crate::access;
use crate::access::right::{Read, Secrets, may};
use crate::base::error::Result;
use crate::http::route::Ctx;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What the name of the select ends with.
const CHOSEN: &str = "_secret_id";
/// Sent by a form whose mistake was that the place has changed: the same secret was chosen once more.
const AGAIN: &str = "_again";

/// Is this another field's select, or what belongs to one?
pub fn is_choice(name: &str) -> bool {
    name.ends_with(CHOSEN) || name.ends_with(AGAIN)
}

/// What one field may have.
#[derive(Debug, Serialize)]
pub struct Choice {
    /// The secret that is chosen; 0: a value of its own.
    now: i64,
    /// Numbers and names.
    all: Vec<(i64, String)>,
}

/// Field by field, the secrets that the person may see and that place may use, with those that it refers to now. `typed`:
/// a form that was refused.
pub fn offered(
    ctx: &Ctx,
    place: Place,
    slots: &[Slot],
    now: &Refers,
    typed: &[(String, String)],
) -> Result<BTreeMap<&'static str, Choice>> {
    let may_read = ctx.actor()?.has(may(Read, Secrets), &access::Place::Granted);
    let mut all = match may_read {
        true => ctx.app.db.read(queries::choices)?,
        false => Vec::new(),
    };
    all.retain(|s| is_in_scope(&s.scope, place) || now.values().any(|id| *id == s.id));
    let choice = |slot: &Slot| {
        let has = now.get(slot.field).copied();
        let fitting = all.iter().filter(|s| slot.takes(&s.kind));
        let mut rows: Vec<_> = fitting.map(|s| (s.id, s.name.clone())).collect();
        // One that is not seen here stays all the same: else the form would take it away.
        if let Some(id) = has.filter(|id| !rows.iter().any(|(known, _)| known == id)) {
            rows.push((id, format!("#{id}")));
        }
        let typed = typed
            .iter()
            .find(|(name, _)| name.strip_suffix(CHOSEN) == Some(slot.field));
        let now = match typed {
            Some((_, value)) => value.parse().unwrap_or(0),
            None => has.unwrap_or(0),
        };
        (slot.field, Choice { now, all: rows })
    };
    Ok(slots.iter().map(choice).collect())
}

/// Puts what was chosen into a draft that has what was typed, without the empty ones.
pub fn choose(form: &[(String, String)], slots: &[Slot], now: &Refers, draft: &mut Map<String, Value>) {
    let sent = |slot: &Slot, end: &str| {
        let mut all = form.iter();
        let found = all.find(|(name, _)| name.strip_suffix(end) == Some(slot.field));
        found.map(|(_, value)| value.as_str())
    };
    for slot in slots {
        let Some(chosen) = sent(slot, CHOSEN) else { continue };
        let fields = [Some(slot.field), slot.passphrase];
        let fields = fields.into_iter().flatten();
        match (chosen.parse::<i64>().ok(), now.get(slot.field)) {
            // It stays; what was typed is nothing beside it.
            (Some(secret), Some(has)) if secret == *has && sent(slot, AGAIN).is_none() => {
                fields.for_each(|field| drop(draft.remove(field)));
            }
            (Some(secret), _) => {
                fields.for_each(|field| drop(draft.remove(field)));
                draft.insert(slot.field.into(), json!({ "secret_id": secret }));
            }
            // Taken away, unless something is typed instead.
            (None, Some(_)) if !draft.contains_key(slot.field) => {
                fields.for_each(|field| drop(draft.insert(field.into(), Value::Null)));
            }
            (None, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::refs::slot;
    use super::*;

    #[test]
    fn a_field_has_what_was_chosen_or_what_was_typed() {
        let slots = [slot("token"), slot("key").with("phrase")];
        let none = Refers::new();
        let five = Refers::from([("token", 5), ("key", 6)]);
        for (now, form, draft, wanted) in [
            (
                &none,
                vec![("token_secret_id", "")],
                json!({ "token": "x" }),
                json!({ "token": "x" }),
            ),
            (
                &none,
                vec![("token_secret_id", "7")],
                json!({ "token": "x" }),
                json!({ "token": { "secret_id": 7 } }),
            ),
            (
                &five,
                vec![("token_secret_id", "5")],
                json!({ "token": "x" }),
                json!({}),
            ),
            (
                &five,
                vec![("token_secret_id", "5"), ("token_again", "1")],
                json!({}),
                json!({ "token": { "secret_id": 5 } }),
            ),
            (
                &five,
                vec![("token_secret_id", "")],
                json!({ "token": "x" }),
                json!({ "token": "x" }),
            ),
            (
                &five,
                vec![("token_secret_id", "")],
                json!({}),
                json!({ "token": null }),
            ),
            (
                &five,
                vec![("key_secret_id", "")],
                json!({}),
                json!({ "key": null, "phrase": null }),
            ),
            (&five, vec![("key_secret_id", "6")], json!({ "phrase": "x" }), json!({})),
            (&five, vec![], json!({}), json!({})),
        ] {
            let form: Vec<_> = form.into_iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
            let mut draft = draft.as_object().unwrap().clone();
            choose(&form, &slots, now, &mut draft);
            assert_eq!(Value::from(draft), wanted, "{form:?}");
        }
    }
}
