//! SQL of endpoints, queue and delivery history.

use super::model::{Fields, Row, Status};
use super::text::{Facts, What};
use super::{Endpoint, Gone, Level, channel};
use crate::access::{Role, Sees};
use crate::base::clock::Ms;
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::db::{self, Conn};
use crate::features::fleet::scope::Scope;
use crate::features::house::secrets::Refers;
use crate::lang::Lang;
use crate::vault::reference;
use rusqlite::{OptionalExtension, params};
use std::collections::HashMap;

const COLUMNS: &str =
    "id, type, name, enabled, lang, min_level, events, scope, config, substr(token, 1, 10), substr(url, 1, 10),
    substr(secret, 1, 10), substr(password, 1, 10), substr(headers, 1, 10), blocked_until, created_at, updated_at,
    (SELECT json_group_array(json_array(g.recipient, g.since, g.answer)) FROM notification_gone g WHERE g.endpoint_id = id), saved_by,
    time_zone";

/// `None`: of a type that this version does not know.
fn endpoint(r: &rusqlite::Row) -> rusqlite::Result<Option<Endpoint>> {
    let Some(channel) = channel(&r.get::<_, String>(1)?) else {
        return Ok(None);
    };
    let list = |text: String| serde_json::from_str(&text).unwrap_or_default();
    let (mut has, mut refers) = (Vec::new(), Refers::new());
    for (at, column) in ["token", "url", "secret", "password", "headers"]
        .into_iter()
        .enumerate()
    {
        if let Some(head) = r.get::<_, Option<Vec<u8>>>(9 + at)? {
            has.push(column);
            refers.extend(reference::secret_of(&head).map(|secret| (column, secret)));
        }
    }
    Ok(Some(Endpoint {
        id: Id::new(r.get(0)?),
        channel,
        fields: Fields {
            name: r.get(2)?,
            enabled: r.get(3)?,
            lang: Lang::parse(&r.get::<_, String>(4)?).unwrap_or_default(),
            time_zone: r.get(19)?,
            min_level: Level::parse(&r.get::<_, String>(5)?).unwrap_or(Level::Info),
            events: list(r.get(6)?),
            scope: Scope::stored(r.get_ref(7)?.as_str()?),
            config: serde_json::from_str(&r.get::<_, String>(8)?).unwrap_or_default(),
        },
        has,
        refers,
        blocked_until: r.get(14)?,
        created_at: r.get(15)?,
        updated_at: r.get(16)?,
        gone: gone(&r.get::<_, String>(17)?),
        // An unknown role sees the least.
        saved_by: Role::parse(&r.get::<_, String>(18)?).unwrap_or(Role::Automation),
    }))
}

fn gone(rows: &str) -> Vec<Gone> {
    let rows: Vec<(String, Ms, String)> = serde_json::from_str(rows).unwrap_or_default();
    let gone = |(recipient, since, answer)| Gone {
        recipient,
        since,
        answer,
    };
    rows.into_iter().map(gone).collect()
}

pub fn get(conn: &Conn, id: Id<id::Endpoint>) -> Result<Option<Endpoint>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM notification_endpoints WHERE id = ?1"))?;
    Ok(statement.query_row([id.get()], endpoint).optional()?.flatten())
}

pub fn all(conn: &Conn) -> Result<Vec<Endpoint>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM notification_endpoints ORDER BY name, id"
    ))?;
    let rows = statement
        .query_map([], endpoint)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(rows.into_iter().flatten().collect())
}

pub fn count(conn: &Conn) -> Result<i64> {
    Ok(conn.query_row("SELECT count(*) FROM notification_endpoints", [], |r| r.get(0))?)
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(Error::internal)
}

fn on_unique_violation(name: &str) -> impl FnOnce(rusqlite::Error) -> Error {
    db::on_unique_violation("name", format!("There is an endpoint “{name}” already."))
}

pub fn insert(conn: &Conn, channel: &str, f: &Fields, saved_by: Role, at: Ms) -> Result<Id<id::Endpoint>> {
    conn.execute(
        "INSERT INTO notification_endpoints (type, name, enabled, lang, min_level, events, scope, config, created_at, updated_at, saved_by,
         time_zone) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10, ?11)",
        params![
            channel, f.name, f.enabled, f.lang.tag(), f.min_level.name(), json(&f.events)?, f.scope.text(), json(&f.config)?, at,
            saved_by.name(), f.time_zone
        ],
    )
    .map_err(on_unique_violation(&f.name))?;
    Ok(Id::new(conn.last_insert_rowid()))
}

pub fn update(conn: &Conn, id: Id<id::Endpoint>, f: &Fields, at: Ms) -> Result<()> {
    conn.execute(
        "UPDATE notification_endpoints SET name = ?2, enabled = ?3, lang = ?4, min_level = ?5, events = ?6, scope = ?7, config = ?8,
         updated_at = ?9, time_zone = ?10, revision = revision + 1 WHERE id = ?1",
        params![
            id.get(), f.name, f.enabled, f.lang.tag(), f.min_level.name(), json(&f.events)?, f.scope.text(), json(&f.config)?, at,
            f.time_zone
        ],
    )
    .map_err(on_unique_violation(&f.name))?;
    Ok(())
}

pub fn set_saved_by(conn: &Conn, id: Id<id::Endpoint>, role: Role) -> Result<()> {
    conn.execute(
        "UPDATE notification_endpoints SET saved_by = ?2 WHERE id = ?1",
        params![id.get(), role.name()],
    )?;
    Ok(())
}

pub fn remove(conn: &Conn, id: Id<id::Endpoint>) -> Result<()> {
    conn.execute("DELETE FROM notification_endpoints WHERE id = ?1", [id.get()])?;
    Ok(())
}

pub fn sealed(conn: &Conn, id: Id<id::Endpoint>, column: &'static str) -> Result<Option<Vec<u8>>> {
    let sql = format!("SELECT {column} FROM notification_endpoints WHERE id = ?1");
    Ok(conn
        .prepare_cached(&sql)?
        .query_row([id.get()], |r| r.get(0))
        .optional()?
        .flatten())
}

pub fn set_sealed(conn: &Conn, id: Id<id::Endpoint>, column: &'static str, sealed: Option<&[u8]>) -> Result<()> {
    let sql = format!("UPDATE notification_endpoints SET {column} = ?2 WHERE id = ?1");
    conn.execute(&sql, params![id.get(), sealed])?;
    Ok(())
}

pub fn block(conn: &Conn, id: Id<id::Endpoint>, until: Ms) -> Result<()> {
    conn.prepare_cached("UPDATE notification_endpoints SET blocked_until = ?2 WHERE id = ?1")?
        .execute(params![id.get(), until])?;
    Ok(())
}

/// Marks a recipient as unreachable; returns whether that is new.
pub fn set_gone(conn: &Conn, id: Id<id::Endpoint>, recipient: &str, at: Ms, answer: &str) -> Result<bool> {
    let mut statement = conn.prepare_cached(
        "INSERT INTO notification_gone (endpoint_id, recipient, since, answer) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (endpoint_id, recipient) DO UPDATE SET answer = ?4 RETURNING since = ?3",
    )?;
    Ok(statement.query_row(params![id.get(), recipient, at, answer], |r| r.get(0))?)
}

/// Removes that mark; returns whether there was one.
pub fn set_back(conn: &Conn, id: Id<id::Endpoint>, recipient: &str) -> Result<bool> {
    let changed = conn
        .prepare_cached("DELETE FROM notification_gone WHERE endpoint_id = ?1 AND recipient = ?2")?
        .execute(params![id.get(), recipient])?;
    Ok(changed > 0)
}

// ---- the environment's endpoint --------------------------------------------------------------------------------------

pub fn seed(conn: &Conn) -> Result<Option<(String, Id<id::Endpoint>)>> {
    let row = conn.query_row("SELECT state, endpoint_id FROM notification_seed", [], |r| {
        Ok((r.get(0)?, Id::new(r.get(1)?)))
    });
    Ok(row.optional()?)
}

pub fn set_seed(conn: &Conn, id: Id<id::Endpoint>) -> Result<()> {
    conn.execute(
        "INSERT INTO notification_seed (one, state, endpoint_id) VALUES (1, 'env', ?1)",
        [id.get()],
    )?;
    Ok(())
}

pub fn seed_is_ours(conn: &Conn, id: Id<id::Endpoint>) -> Result<()> {
    conn.execute(
        "UPDATE notification_seed SET state = 'ui' WHERE endpoint_id = ?1",
        [id.get()],
    )?;
    Ok(())
}

// ---- the queue -------------------------------------------------------------------------------------------------------

const ROW: &str =
    "q.id, q.endpoint_id, e.name, e.type, q.recipient, q.key, q.what, q.kind, q.level, q.facts, q.status, q.attempts,
    q.created_at, q.since, q.next_at, q.ended_at, q.answer, q.event_id, q.doubts";
const FROM: &str = "notification_queue q JOIN notification_endpoints e ON e.id = q.endpoint_id";

fn row(r: &rusqlite::Row) -> rusqlite::Result<Row> {
    let facts: String = r.get(9)?;
    let facts: Facts = serde_json::from_str(&facts)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(9, rusqlite::types::Type::Text, e.into()))?;
    Ok(Row {
        id: Id::new(r.get(0)?),
        endpoint: Id::new(r.get(1)?),
        endpoint_name: r.get(2)?,
        endpoint_type: r.get(3)?,
        recipient: r.get(4)?,
        key: r.get(5)?,
        facts,
        status: Status::parse(&r.get::<_, String>(10)?),
        attempts: r.get(11)?,
        created_at: r.get(12)?,
        since: r.get(13)?,
        next_at: r.get(14)?,
        ended_at: r.get(15)?,
        answer: r.get(16)?,
        event: r.get(17)?,
        doubts: r.get(18)?,
    })
}

/// Key of the first message to this recipient about the alert of `row`.
pub fn first_key(conn: &Conn, row: &Row) -> Result<Option<String>> {
    let mut statement = conn.prepare_cached(
        "SELECT f.key FROM notification_queue f JOIN notification_queue q ON q.id = ?1 AND f.endpoint_id = q.endpoint_id
           AND f.recipient = q.recipient AND f.fingerprint = q.fingerprint AND f.id < q.id
         WHERE f.what = ?2 AND f.status = 'sent' AND json_extract(f.facts, '$.alert') = ?3 ORDER BY f.id LIMIT 1",
    )?;
    let key = statement.query_row(params![row.id.get(), What::Raised.name(), row.facts.alert], |r| {
        r.get(0)
    });
    Ok(key.optional()?)
}

/// A row to insert.
pub struct New<'a> {
    pub endpoint: Id<id::Endpoint>,
    pub recipient: &'a str,
    pub event: i64,
    pub fingerprint: &'a str,
    pub key: &'a str,
    pub facts: &'a Facts,
    pub status: Status,
    pub at: Ms,
    pub next_at: Ms,
    pub answer: &'a str,
}

pub fn enqueue(conn: &Conn, new: &New) -> Result<Id<id::Delivery>> {
    let ended = (new.status != Status::Queued).then_some(new.at);
    conn.prepare_cached(
        "INSERT INTO notification_queue (endpoint_id, recipient, event_id, fingerprint, key, what, kind, level, facts, status,
         attempts, created_at, since, next_at, ended_at, answer)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12, ?13, ?14, ?15)",
    )?
    .execute(params![
        new.endpoint.get(),
        new.recipient,
        new.event,
        new.fingerprint,
        new.key,
        new.facts.what.name(),
        new.facts.kind,
        new.facts.level.name(),
        json(new.facts)?,
        new.status.name(),
        i64::from(new.status != Status::Queued),
        new.at,
        new.next_at,
        ended,
        new.answer,
    ])?;
    Ok(Id::new(conn.last_insert_rowid()))
}

/// Rows about the beginning of this alert that were never tried.
pub fn waiting(conn: &Conn, endpoint: Id<id::Endpoint>, fingerprint: &str) -> Result<Vec<Row>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {ROW} FROM {FROM} WHERE q.endpoint_id = ?1 AND q.fingerprint = ?2 AND q.what = ?3 AND q.status = 'queued' AND q.attempts = 0"
    ))?;
    let rows = statement.query_map(params![endpoint.get(), fingerprint, What::Raised.name()], row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Waiting messages about servers that never answered: of one endpoint, or of all.
const NEWCOMERS: &str =
    "(?1 IS NULL OR endpoint_id = ?1) AND kind = 'server.unreachable' AND what = ?2 AND status = 'queued'
    AND attempts = 0 AND json_extract(facts, '$.variant') = 'never'";

/// Earliest due time of these.
pub fn newcomers_due(conn: &Conn, endpoint: Id<id::Endpoint>, what: What) -> Result<Option<Ms>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT min(next_at) FROM notification_queue WHERE {NEWCOMERS}"
    ))?;
    Ok(statement.query_row(params![endpoint.get(), what.name()], |r| r.get(0))?)
}

/// Makes these due at a time, or earlier.
pub fn hurry_newcomers(conn: &Conn, endpoint: Option<Id<id::Endpoint>>, what: What, at: Ms) -> Result<()> {
    conn.prepare_cached(&format!(
        "UPDATE notification_queue SET next_at = min(next_at, ?3) WHERE {NEWCOMERS}"
    ))?
    .execute(params![endpoint.map(Id::get), what.name(), at])?;
    Ok(())
}

pub fn set_facts(conn: &Conn, id: Id<id::Delivery>, facts: &Facts) -> Result<()> {
    conn.prepare_cached("UPDATE notification_queue SET facts = ?2, level = ?3 WHERE id = ?1")?
        .execute(params![id.get(), json(facts)?, facts.level.name()])?;
    Ok(())
}

/// Endpoints with due messages, and when the next one will have some.
pub fn due(conn: &Conn, now: Ms) -> Result<(Vec<Id<id::Endpoint>>, Option<Ms>)> {
    let mut statement = conn.prepare_cached(
        "SELECT q.endpoint_id, min(max(q.next_at, e.blocked_until)) FROM notification_queue q
         JOIN notification_endpoints e ON e.id = q.endpoint_id
         WHERE q.status IN ('queued', 'sending') AND q.status = 'queued' AND e.enabled GROUP BY q.endpoint_id",
    )?;
    let rows = statement.query_map([], |r| Ok((Id::new(r.get(0)?), r.get::<_, Ms>(1)?)))?;
    let (mut now_due, mut next) = (Vec::new(), None::<Ms>);
    for pair in rows {
        let (id, at) = pair?;
        match at <= now {
            true => now_due.push(id),
            false => next = Some(next.map_or(at, |n| n.min(at))),
        }
    }
    Ok((now_due, next))
}

/// Due rows of an endpoint, oldest first. Of messages about one alert to one recipient a later one waits for the
/// earlier, so that a recovery never arrives first.
pub fn due_rows(conn: &Conn, endpoint: Id<id::Endpoint>, now: Ms, limit: i64) -> Result<Vec<Row>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {ROW} FROM {FROM} WHERE q.endpoint_id = ?1 AND q.status IN ('queued', 'sending') AND q.status = 'queued'
         AND q.next_at <= ?2 AND e.blocked_until <= ?2 AND e.enabled
         AND NOT EXISTS (SELECT 1 FROM notification_queue b WHERE b.endpoint_id = q.endpoint_id AND b.status IN ('queued', 'sending')
                         AND b.id < q.id AND b.recipient = q.recipient AND b.fingerprint = q.fingerprint)
         ORDER BY q.id LIMIT ?3"
    ))?;
    let rows = statement.query_map(params![endpoint.get(), now, limit], row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn set_sending(conn: &Conn, id: Id<id::Delivery>) -> Result<()> {
    conn.prepare_cached("UPDATE notification_queue SET status = 'sending', attempts = attempts + 1 WHERE id = ?1")?
        .execute([id.get()])?;
    Ok(())
}

/// Rows in the middle of an attempt whose endpoint is not `busy`: left by a crash.
pub fn lost(conn: &Conn, is_busy: impl Fn(i64) -> bool) -> Result<Vec<i64>> {
    let mut statement = conn.prepare_cached(
        "SELECT id, endpoint_id FROM notification_queue WHERE status IN ('queued', 'sending') AND status = 'sending'",
    )?;
    let rows = statement.query_map([], |r| Ok((r.get(0)?, r.get::<_, i64>(1)?)))?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(rows
        .into_iter()
        .filter(|(_, of)| !is_busy(*of))
        .map(|(id, _)| id)
        .collect())
}

pub fn put_back(conn: &Conn, id: i64, at: Ms, why: &str) -> Result<()> {
    conn.execute(
        "UPDATE notification_queue SET status = 'queued', next_at = ?2, answer = ?3 WHERE id = ?1 AND status = 'sending'",
        params![id, at, why],
    )?;
    Ok(())
}

pub fn end(conn: &Conn, id: Id<id::Delivery>, status: Status, at: Ms, answer: &str) -> Result<()> {
    conn.prepare_cached("UPDATE notification_queue SET status = ?2, ended_at = ?3, answer = ?4 WHERE id = ?1")?
        .execute(params![id.get(), status.name(), at, answer])?;
    Ok(())
}

/// Records the key of the message in which the row was sent.
pub fn set_key(conn: &Conn, id: Id<id::Delivery>, key: &str) -> Result<()> {
    conn.prepare_cached("UPDATE notification_queue SET key = ?2 WHERE id = ?1")?
        .execute(params![id.get(), key])?;
    Ok(())
}

pub fn later(conn: &Conn, id: Id<id::Delivery>, next_at: Ms, answer: &str) -> Result<()> {
    conn.prepare_cached("UPDATE notification_queue SET status = 'queued', next_at = ?2, answer = ?3 WHERE id = ?1")?
        .execute(params![id.get(), next_at, answer])?;
    Ok(())
}

/// Records an ambiguous answer.
pub fn doubt(conn: &Conn, id: Id<id::Delivery>) -> Result<()> {
    conn.prepare_cached("UPDATE notification_queue SET doubts = doubts + 1 WHERE id = ?1")?
        .execute([id.get()])?;
    Ok(())
}

/// Moves waiting rows to another recipient, due at once.
pub fn move_recipient(conn: &Conn, endpoint: Id<id::Endpoint>, from: &str, to: &str, at: Ms) -> Result<()> {
    conn.execute(
        "UPDATE OR IGNORE notification_queue SET recipient = ?3, status = 'queued', next_at = min(next_at, ?4)
         WHERE endpoint_id = ?1 AND recipient = ?2 AND status IN ('queued', 'sending')",
        params![endpoint.get(), from, to, at],
    )?;
    // Messages that the other recipient gets anyway.
    conn.execute(
        "DELETE FROM notification_queue WHERE endpoint_id = ?1 AND recipient = ?2 AND status IN ('queued', 'sending')",
        params![endpoint.get(), from],
    )?;
    Ok(())
}

/// Makes rows that wait after an error due now; suppressed ones keep waiting.
pub fn hurry(conn: &Conn, endpoint: Id<id::Endpoint>, at: Ms) -> Result<()> {
    conn.execute(
        "UPDATE notification_endpoints SET blocked_until = 0 WHERE id = ?1",
        [endpoint.get()],
    )?;
    conn.execute(
        "UPDATE notification_queue SET next_at = ?2 WHERE endpoint_id = ?1 AND status = 'queued' AND attempts > 0",
        params![endpoint.get(), at],
    )?;
    Ok(())
}

/// Queues a dead letter again; returns whether it was one.
pub fn revive(conn: &Conn, id: Id<id::Delivery>, at: Ms) -> Result<bool> {
    let changed = conn.execute(
        "UPDATE notification_queue SET status = 'queued', attempts = 0, doubts = 0, since = ?2, next_at = ?2, ended_at = NULL
         WHERE id = ?1 AND status = 'dead'",
        params![id.get(), at],
    )?;
    Ok(changed > 0)
}

pub fn delivery(conn: &Conn, id: Id<id::Delivery>) -> Result<Option<Row>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {ROW} FROM {FROM} WHERE q.id = ?1"))?;
    Ok(statement.query_row([id.get()], row).optional()?)
}

/// Filter of a list.
#[derive(Debug, Default)]
pub struct Filter<'a> {
    /// A status, `open` for what waits or is being sent; empty: any.
    pub status: &'a str,
    /// Only this endpoint; 0: all.
    pub endpoint: i64,
    pub limit: i64,
    pub offset: i64,
}

/// Deliveries as this actor may see them, newest first, and their total.
pub fn deliveries(conn: &Conn, f: &Filter, by: &impl Sees) -> Result<(Vec<Row>, i64)> {
    let wheres = "(?1 = '' OR q.status = ?1 OR (?1 = 'open' AND q.status IN ('queued', 'sending'))) AND (?2 = 0 OR q.endpoint_id = ?2)";
    let total = conn
        .prepare_cached(&format!("SELECT count(*) FROM {FROM} WHERE {wheres}"))?
        .query_row(params![f.status, f.endpoint], |r| r.get(0))?;
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {ROW} FROM {FROM} WHERE {wheres} ORDER BY q.id DESC LIMIT ?3 OFFSET ?4"
    ))?;
    let rows = statement.query_map(params![f.status, f.endpoint, f.limit, f.offset], row)?;
    let mut rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    rows.iter_mut().try_for_each(|row| row.facts.for_eyes_of(by))?;
    Ok((rows, total))
}

/// Numbers of an endpoint's messages.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Counts {
    /// Not yet sent.
    pub waiting: i64,
    /// Dead letters.
    pub dead: i64,
    /// Sent.
    pub sent: i64,
    /// Time of the last sent one, unix ms.
    pub last_sent_at: Option<Ms>,
    /// Error of a waiting message or of the last test, in the receiver's words.
    pub last_error: Option<String>,
}

pub fn counts(conn: &Conn) -> Result<HashMap<i64, Counts>> {
    let mut statement = conn.prepare_cached(
        "SELECT endpoint_id, sum(status IN ('queued', 'sending')), sum(status = 'dead'), sum(status = 'sent'),
                max(CASE WHEN status = 'sent' THEN ended_at END)
         FROM notification_queue GROUP BY endpoint_id",
    )?;
    let rows = statement.query_map([], |r| {
        let counts = Counts {
            waiting: r.get(1)?,
            dead: r.get(2)?,
            sent: r.get(3)?,
            last_sent_at: r.get(4)?,
            last_error: None,
        };
        Ok((r.get::<_, i64>(0)?, counts))
    })?;
    let mut all = rows.collect::<rusqlite::Result<HashMap<_, _>>>()?;
    let mut last = conn.prepare_cached(
        "SELECT q.answer FROM notification_queue q JOIN notification_endpoints e ON e.id = q.endpoint_id
         WHERE q.endpoint_id = ?1 AND q.attempts > 0 AND (q.status = 'queued' OR (q.status = 'dead' AND q.what = 'test'
           AND q.ended_at >= e.updated_at AND NOT EXISTS (SELECT 1 FROM notification_queue s WHERE s.endpoint_id = q.endpoint_id
             AND s.id > q.id AND s.recipient = q.recipient AND s.status = 'sent')))
         ORDER BY q.id DESC LIMIT 1",
    )?;
    for (id, counts) in &mut all {
        counts.last_error = last.query_row([id], |r| r.get(0)).optional()?;
    }
    Ok(all)
}

/// Number of unsent messages, including those of inactive endpoints.
pub fn backlog(conn: &Conn) -> Result<i64> {
    Ok(conn
        .prepare_cached("SELECT count(*) FROM notification_queue WHERE status IN ('queued','sending')")?
        .query_row([], |r| r.get(0))?)
}

/// Number of dead letters.
pub fn dead(conn: &Conn) -> Result<i64> {
    Ok(conn
        .prepare_cached("SELECT count(*) FROM notification_queue WHERE status = 'dead'")?
        .query_row([], |r| r.get(0))?)
}

// ---- what was told ---------------------------------------------------------------------------------------------------

/// When an endpoint was last notified about an identity.
#[derive(Debug, Clone, Copy)]
pub struct LastNotified {
    /// Alert id; 0: resolved.
    pub alert: i64,
    /// When it was or will be sent.
    pub at: Ms,
    /// Number of repetitions suppressed since.
    pub held: i64,
}

pub fn last_notified(conn: &Conn, endpoint: Id<id::Endpoint>, fingerprint: &str) -> Result<Option<LastNotified>> {
    let mut statement = conn.prepare_cached(
        "SELECT alert_id, at, held FROM notification_last_sent WHERE endpoint_id = ?1 AND fingerprint = ?2",
    )?;
    let last_notified = statement.query_row(params![endpoint.get(), fingerprint], |r| {
        Ok(LastNotified {
            alert: r.get(0)?,
            at: r.get(1)?,
            held: r.get(2)?,
        })
    });
    Ok(last_notified.optional()?)
}

pub fn set_last_notified(
    conn: &Conn,
    endpoint: Id<id::Endpoint>,
    fingerprint: &str,
    last_notified: LastNotified,
) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO notification_last_sent (endpoint_id, fingerprint, alert_id, at, held) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (endpoint_id, fingerprint) DO UPDATE SET alert_id = ?3, at = ?4, held = ?5",
    )?
    .execute(params![
        endpoint.get(),
        fingerprint,
        last_notified.alert,
        last_notified.at,
        last_notified.held
    ])?;
    Ok(())
}

/// Names of endpoints, and when the last message reached each.
pub fn recipients_since(conn: &Conn, fingerprint: &str, since: Ms) -> Result<Vec<(String, Ms)>> {
    let mut statement = conn.prepare_cached(
        "SELECT e.name, max(q.ended_at) FROM notification_queue q JOIN notification_endpoints e ON e.id = q.endpoint_id
         WHERE q.fingerprint = ?1 AND q.what = 'raised' AND q.status = 'sent' AND q.created_at >= ?2 GROUP BY e.id ORDER BY 2",
    )?;
    let rows = statement.query_map(params![fingerprint, since], |r| Ok((r.get(0)?, r.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Removes at most `rows_max` ended rows that ended before `since` or are not among the newest `keep`; oldest first.
/// Returns how many.
pub fn remove_ended(conn: &Conn, since: Ms, keep: i64, rows_max: usize) -> Result<usize> {
    let mut statement = conn.prepare_cached(
        "DELETE FROM notification_queue WHERE id IN (
           SELECT id FROM notification_queue WHERE ended_at IS NOT NULL AND (ended_at < ?1 OR id <=
             (SELECT id FROM notification_queue WHERE ended_at IS NOT NULL ORDER BY id DESC LIMIT 1 OFFSET ?2))
           AND status IN ('sent', 'dead', 'held') ORDER BY id LIMIT ?3)",
    )?;
    Ok(statement.execute(params![since, keep, rows_max as i64])?)
}

/// Removes the history of resolved alerts.
pub fn forget_notified(conn: &Conn, before: Ms) -> Result<()> {
    conn.execute(
        "DELETE FROM notification_last_sent WHERE at < ?1 AND alert_id = 0",
        [before],
    )?;
    Ok(())
}
