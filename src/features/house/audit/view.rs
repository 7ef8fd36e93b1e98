//! A row as the API shows it.

use crate::audit::Row;
use crate::base::clock::rfc3339;
use crate::base::shape::described;
use crate::base::text;
use serde_json::Value;

described! {
    /// One row of the audit.
    pub struct View<'a> {
        /// 1, 2, 3 …
        id: i64,
        ts: String,
        /// Login; `system` is Lamplighter itself, `cli:USER` the command line.
        actor: &'a str,
        /// By what they were let in: a session, a sign-in's tokens, an API token, the command line; empty: our own work.
        via: &'a str,
        /// Empty: our own work.
        ip: &'a str,
        /// `server.create`, …
        action: &'a str,
        object: Object<'a>,
        /// How what is different stood before; `null`: it was not there, or nothing stands anywhere.
        before: Option<Value>,
        /// And afterwards; `null`: it is not there any more.
        after: Option<Value>,
        /// What else is known.
        detail: Value,
        request_id: &'a str,
        /// What the client called the request.
        client_request_id: &'a str,
        /// Seals this row and all before it: HMAC-SHA256, hex.
        mac: String,
    }

    /// What a change was about.
    struct Object<'a> {
        kind: &'a str,
        id: Option<i64>,
        /// What it was called then.
        name: &'a str,
    }
}

/// As the API shows it.
pub fn view(row: &Row) -> View<'_> {
    let stood = |text: &str| (!text.is_empty()).then(|| stored(text));
    let (kind, id, name) = object(&row.object);
    View {
        id: row.seq,
        ts: rfc3339(row.at),
        actor: &row.actor,
        via: &row.via,
        ip: &row.ip,
        action: &row.action,
        object: Object { kind, id, name },
        before: stood(&row.before),
        after: stood(&row.after),
        detail: stored(&row.detail),
        request_id: &row.request_id,
        client_request_id: &row.client_request_id,
        mac: text::hex(row.mac()),
    }
}

/// What somebody has changed from outside may be anything.
pub fn stored(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|_| json.into())
}

/// `server 5 web-1`: kind, number, name.
pub fn object(text: &str) -> (&str, Option<i64>, &str) {
    let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
    let (first, name) = rest.split_once(' ').unwrap_or((rest, ""));
    match first.parse() {
        Ok(id) => (kind, Some(id), name),
        Err(_) => (kind, None, rest),
    }
}
