//! SQL of services and of how they are.

use super::kinds;
use super::model::{Fields, POLICIES};
use super::nodes::Node;
use super::verdict::{End, Figures, Health, STATES};
use crate::availability;
use crate::base::clock::Ms;
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::db::{self, Conn};
use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// Kind of things that services are.
const SERVICES: &str = "service";

/// A service.
#[derive(Debug, Clone)]
pub struct Service {
    /// Id.
    pub id: Id<id::Service>,
    /// What people set.
    pub fields: Fields,
    /// Name of its server; empty: it is on none.
    pub server_name: String,
    /// Has it a password?
    pub has_password: bool,
    /// An administrator let it go to private addresses.
    pub private: bool,
    /// Of a command: which revision its unit has on the server; 0: it has none there.
    pub applied: i64,
    /// How it is.
    pub now: State,
    /// Incremented with every change.
    pub revision: i64,
    /// Unix ms.
    pub created_at: Ms,
    /// Unix ms.
    pub updated_at: Ms,
}

/// How a service is.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// One of [`STATES`].
    pub state: &'static str,
    /// How well it is.
    pub health: Health,
    /// Why, in a word.
    pub code: String,
    /// The same as a sentence.
    pub say: String,
    /// Since when it has this health, unix ms.
    pub since: Ms,
    /// Last look, unix ms.
    pub checked_at: Option<Ms>,
    /// Good looks in a row.
    pub goods: i64,
    /// Bad looks in a row.
    pub bads: i64,
    /// What a person said last: `running`, `stopped`, or nothing.
    pub wanted: &'static str,
    /// Which start of it was seen last.
    pub life: String,
    /// Restarts without a person's act.
    pub restarts: i64,
    /// Unix ms of those of ours that count.
    pub restarts_at: Vec<Ms>,
    /// Not started again before this, unix ms.
    pub next_at: Option<Ms>,
    /// Since when it is healthy without a break.
    pub healthy_since: Option<Ms>,
    /// What is an alert about it.
    pub troubles: Vec<String>,
    /// Why it stopped last.
    pub ended: Option<End>,
    /// Of a heartbeat: its last call.
    pub called_at: Option<Ms>,
    /// What that call brought.
    pub call: Option<Call>,
    /// Of a panel: its nodes over time.
    pub nodes: Vec<Node>,
}

/// What a call of a heartbeat brought.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// `start`, `end`.
    pub what: String,
    /// Exit code of what called.
    pub exit_code: Option<i64>,
    /// What it said.
    pub output: String,
    /// Seconds from its start to its end.
    pub took_s: Option<f64>,
}

impl State {
    /// Of a service that nobody has looked at.
    pub fn new(now: Ms) -> State {
        State {
            state: "unknown",
            health: Health::Unknown,
            code: String::new(),
            say: String::new(),
            since: now,
            checked_at: None,
            goods: 0,
            bads: 0,
            wanted: "",
            life: String::new(),
            restarts: 0,
            restarts_at: Vec::new(),
            next_at: None,
            healthy_since: None,
            troubles: Vec::new(),
            ended: None,
            called_at: None,
            call: None,
            nodes: Vec::new(),
        }
    }

    /// Is this an alert about it?
    pub fn has_trouble(&self, kind: &str) -> bool {
        self.troubles.iter().any(|trouble| trouble == kind)
    }
}

const COLUMNS: &str = "s.id, s.name, s.kind, s.server_id, coalesce(v.name, ''), s.enabled, s.tags, s.notes, s.config,
    s.password IS NOT NULL, s.private, s.interval_s, s.up_after, s.down_after, s.restart_policy, s.max_restarts, s.window_s,
    s.delay_s, s.after, s.revision, s.created_at, s.updated_at,
    t.state, t.health, t.code, t.say, t.since, t.checked_at, t.goods, t.bads, t.wanted, t.life, t.restarts, t.restarts_at,
    t.next_at, t.healthy_since, t.troubles, t.ended, t.called_at, t.call, t.nodes, s.applied";
const FROM: &str =
    "services s JOIN service_states t ON t.service_id = s.id LEFT JOIN main.servers v ON v.id = s.server_id";

/// `None`: of a kind that this version does not know.
fn service(r: &Row) -> rusqlite::Result<Option<Service>> {
    let text = |n: usize| -> rusqlite::Result<String> { r.get(n) };
    let Some(kind) = kinds::of(&text(2)?) else {
        return Ok(None);
    };
    let known =
        |words: &[&'static str], word: &str, or: &'static str| words.iter().copied().find(|w| *w == word).unwrap_or(or);
    Ok(Some(Service {
        id: Id::new(r.get(0)?),
        fields: Fields {
            name: r.get(1)?,
            kind,
            server: r.get::<_, Option<i64>>(3)?.map(Id::new),
            enabled: r.get(5)?,
            tags: serde_json::from_str(&text(6)?).unwrap_or_default(),
            notes: r.get(7)?,
            config: serde_json::from_str(&text(8)?).unwrap_or_default(),
            interval_s: r.get(11)?,
            up_after: r.get(12)?,
            down_after: r.get(13)?,
            restart_policy: known(&POLICIES, &text(14)?, "never"),
            max_restarts: r.get(15)?,
            window_s: r.get(16)?,
            delay_s: r.get(17)?,
            after: serde_json::from_str(&text(18)?).unwrap_or_default(),
        },
        server_name: r.get(4)?,
        has_password: r.get(9)?,
        private: r.get(10)?,
        applied: r.get(41)?,
        revision: r.get(19)?,
        created_at: r.get(20)?,
        updated_at: r.get(21)?,
        now: State {
            state: known(&STATES, &text(22)?, "unknown"),
            health: Health::parse(&text(23)?),
            code: r.get(24)?,
            say: r.get(25)?,
            since: r.get(26)?,
            checked_at: r.get(27)?,
            goods: r.get(28)?,
            bads: r.get(29)?,
            wanted: known(&["running", "stopped"], &text(30)?, ""),
            life: r.get(31)?,
            restarts: r.get(32)?,
            restarts_at: serde_json::from_str(&text(33)?).unwrap_or_default(),
            next_at: r.get(34)?,
            healthy_since: r.get(35)?,
            troubles: serde_json::from_str(&text(36)?).unwrap_or_default(),
            ended: serde_json::from_str(&text(37)?).ok(),
            called_at: r.get(38)?,
            call: serde_json::from_str(&text(39)?).ok(),
            nodes: serde_json::from_str(&text(40)?).unwrap_or_default(),
        },
    }))
}

/// Which services are wanted; empty texts and `None` mean any.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// On this server.
    pub server: Option<i64>,
    /// Of this kind.
    pub kind: &'a str,
    /// With this health.
    pub health: &'a str,
    /// With this in name, notes, tags, settings or the server's name.
    pub q: &'a str,
    /// At most so many.
    pub limit: i64,
    /// After so many.
    pub offset: i64,
}

/// A page of services by name, and their total.
pub fn list(conn: &Conn, filter: &Filter) -> Result<(Vec<Service>, i64)> {
    let wanted = "(?1 IS NULL OR s.server_id = ?1) AND (?2 = '' OR s.kind = ?2) AND (?3 = '' OR t.health = ?3)
        AND (?4 = '' OR instr(lower(s.name || ' ' || s.notes || ' ' || s.tags || ' ' || s.config || ' ' || coalesce(v.name, '')),
          lower(?4)) > 0)";
    let Filter {
        server,
        kind,
        health,
        q,
        limit,
        offset,
    } = *filter;
    let total = conn
        .prepare_cached(&format!("SELECT count(*) FROM {FROM} WHERE {wanted}"))?
        .query_row(params![server, kind, health, q], |r| r.get(0))?;
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM {FROM} WHERE {wanted} ORDER BY s.name LIMIT ?5 OFFSET ?6"
    ))?;
    let rows = statement.query_map(params![server, kind, health, q, limit, offset], service)?;
    let rows: Vec<Option<Service>> = rows.collect::<rusqlite::Result<_>>()?;
    Ok((rows.into_iter().flatten().collect(), total))
}

/// All of them by name.
pub fn all(conn: &Conn) -> Result<Vec<Service>> {
    let filter = Filter {
        limit: i64::MAX,
        ..Filter::default()
    };
    Ok(list(conn, &filter)?.0)
}

/// One by its id.
pub fn get(conn: &Conn, id: Id<id::Service>) -> Result<Option<Service>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM {FROM} WHERE s.id = ?1"))?;
    Ok(statement.query_row([id.get()], service).optional()?.flatten())
}

/// One by its name, whatever its case.
pub fn by_name(conn: &Conn, name: &str) -> Result<Option<Service>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM {FROM} WHERE s.name = ?1"))?;
    Ok(statement.query_row([name], service).optional()?.flatten())
}

/// One by the hash of its token.
pub fn by_token(conn: &Conn, hash: &[u8]) -> Result<Option<Service>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM {FROM} WHERE s.token_hash = ?1"))?;
    Ok(statement.query_row([hash], service).optional()?.flatten())
}

fn on_unique_violation(name: &str) -> impl FnOnce(rusqlite::Error) -> Error {
    db::on_unique_violation(
        "name",
        format!("There is a service called “{name}” already. Give this one another name."),
    )
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(Error::internal)
}

/// Adds one.
pub fn insert(conn: &Conn, f: &Fields, private: bool, at: Ms) -> Result<Id<id::Service>> {
    conn.execute(
        "INSERT INTO services (name, kind, server_id, enabled, tags, notes, config, private, interval_s, up_after, down_after,
           restart_policy, max_restarts, window_s, delay_s, after, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?17)",
        params![
            f.name,
            f.kind.name,
            f.server.map(Id::get),
            f.enabled,
            json(&f.tags)?,
            f.notes,
            json(&f.config)?,
            private,
            f.interval_s,
            f.up_after,
            f.down_after,
            f.restart_policy,
            f.max_restarts,
            f.window_s,
            f.delay_s,
            json(&f.after)?,
            at
        ],
    )
    .map_err(on_unique_violation(&f.name))?;
    let id = Id::new(conn.last_insert_rowid());
    put_state(conn, id, &State::new(at))?;
    Ok(id)
}

/// Changes one.
pub fn update(conn: &Conn, id: Id<id::Service>, f: &Fields, private: bool, at: Ms) -> Result<()> {
    conn.execute(
        "UPDATE services SET name = ?2, server_id = ?3, enabled = ?4, tags = ?5, notes = ?6, config = ?7, private = ?8,
           interval_s = ?9, up_after = ?10, down_after = ?11, restart_policy = ?12, max_restarts = ?13, window_s = ?14,
           delay_s = ?15, after = ?16, updated_at = ?17, revision = revision + 1 WHERE id = ?1",
        params![
            id.get(),
            f.name,
            f.server.map(Id::get),
            f.enabled,
            json(&f.tags)?,
            f.notes,
            json(&f.config)?,
            private,
            f.interval_s,
            f.up_after,
            f.down_after,
            f.restart_policy,
            f.max_restarts,
            f.window_s,
            f.delay_s,
            json(&f.after)?,
            at
        ],
    )
    .map_err(on_unique_violation(&f.name))?;
    Ok(())
}

/// Removes one.
pub fn remove(conn: &Conn, id: Id<id::Service>) -> Result<()> {
    conn.execute("DELETE FROM services WHERE id = ?1", [id.get()])?;
    Ok(())
}

/// Stores how it is.
pub fn put_state(conn: &Conn, id: Id<id::Service>, s: &State) -> Result<()> {
    let ended = s.ended.as_ref().map(json).transpose()?.unwrap_or_default();
    let call = s.call.as_ref().map(json).transpose()?.unwrap_or_default();
    conn.prepare_cached(
        "INSERT OR REPLACE INTO service_states (service_id, state, health, code, say, since, checked_at, goods, bads, wanted, life,
           restarts, restarts_at, next_at, healthy_since, troubles, ended, called_at, call, nodes)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20
         WHERE EXISTS (SELECT 1 FROM services WHERE id = ?1)",
    )?
    .execute(params![
        id.get(),
        s.state,
        s.health.name(),
        s.code,
        s.say,
        s.since,
        s.checked_at,
        s.goods,
        s.bads,
        s.wanted,
        s.life,
        s.restarts,
        json(&s.restarts_at)?,
        s.next_at,
        s.healthy_since,
        json(&s.troubles)?,
        ended,
        s.called_at,
        call,
        json(&s.nodes)?
    ])?;
    availability::record(conn, (SERVICES, id.get()), s.health.availability(), s.since, &s.say)
}

/// Notes which revision of a command's unit is on its server.
pub fn set_applied(conn: &Conn, id: Id<id::Service>, revision: i64) -> Result<()> {
    conn.execute(
        "UPDATE services SET applied = ?2 WHERE id = ?1",
        params![id.get(), revision],
    )?;
    Ok(())
}

/// A sealed column of one.
pub fn sealed(conn: &Conn, id: Id<id::Service>, column: &'static str) -> Result<Option<Vec<u8>>> {
    let sql = format!("SELECT {column} FROM main.services WHERE id = ?1");
    let found: Option<Option<Vec<u8>>> = conn
        .prepare_cached(&sql)?
        .query_row([id.get()], |r| r.get(0))
        .optional()?;
    Ok(found.flatten())
}

/// Stores a sealed column.
pub fn set_sealed(conn: &Conn, id: Id<id::Service>, column: &'static str, sealed: Option<&[u8]>) -> Result<()> {
    let sql = format!("UPDATE services SET {column} = ?2 WHERE id = ?1");
    conn.execute(&sql, params![id.get(), sealed])?;
    Ok(())
}

/// Stores by what a call is known.
pub fn set_token_hash(conn: &Conn, id: Id<id::Service>, hash: &[u8]) -> Result<()> {
    conn.execute(
        "UPDATE services SET token_hash = ?2 WHERE id = ?1",
        params![id.get(), hash],
    )?;
    Ok(())
}

/// Changes when a service comes, goes or changes, or its server does.
pub fn fingerprint(conn: &Conn) -> Result<(i64, i64)> {
    let mut statement = conn.prepare_cached(
        "SELECT coalesce(sum(s.id + s.revision * 31), 0), count(*) + coalesce(sum(v.revision), 0) FROM main.services s
         LEFT JOIN main.servers v ON v.id = s.server_id",
    )?;
    Ok(statement.query_row([], |r| Ok((r.get(0)?, r.get(1)?)))?)
}

/// Ids of those on these servers.
pub fn on_servers(conn: &Conn, servers: &HashSet<i64>) -> Result<HashSet<i64>> {
    let mut statement =
        conn.prepare_cached("SELECT id FROM main.services WHERE server_id IN (SELECT value FROM json_each(?1))")?;
    let rows = statement.query_map([serde_json::json!(servers).to_string()], |r| r.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// How many there are with each health, in the order of [`Health::ALL`]; those that are switched off are left out.
pub fn counts(conn: &Conn) -> Result<[i64; 4]> {
    let mut statement = conn.prepare_cached(
        "SELECT t.health, count(*) FROM services s JOIN service_states t ON t.service_id = s.id WHERE s.enabled GROUP BY t.health",
    )?;
    let mut counts = [0; 4];
    for row in statement.query_map([], |r| Ok((r.get::<_, String>(0)?, r.get(1)?)))? {
        let (health, count): (String, i64) = row?;
        counts[Health::parse(&health) as usize] = count;
    }
    Ok(counts)
}

// ---- metrics.db ------------------------------------------------------------------------------------------------------

/// Stores the figures that were seen last.
pub fn put_figures(conn: &Conn, id: i64, at: Ms, figures: &Figures) -> Result<()> {
    conn.prepare_cached("INSERT OR REPLACE INTO service_latest (service, at_ms, figures) VALUES (?1, ?2, ?3)")?
        .execute(params![id, at, json(figures)?])?;
    Ok(())
}

/// The figures of all, seen since then.
pub fn figures(conn: &Conn, since: Ms) -> Result<HashMap<i64, Figures>> {
    let mut statement = conn.prepare_cached("SELECT service, figures FROM service_latest WHERE at_ms >= ?1")?;
    let rows = statement.query_map([since], |r| Ok((r.get(0)?, r.get::<_, String>(1)?)))?;
    let read = |row: rusqlite::Result<(i64, String)>| {
        row.map(|(id, text)| (id, serde_json::from_str(&text).unwrap_or_default()))
    };
    Ok(rows.map(read).collect::<rusqlite::Result<_>>()?)
}

/// The figures of one, if they were seen since then.
pub fn figures_of(conn: &Conn, id: i64, since: Ms) -> Result<Option<Figures>> {
    let mut statement = conn.prepare_cached("SELECT figures FROM service_latest WHERE service = ?1 AND at_ms >= ?2")?;
    let found: Option<String> = statement.query_row([id, since], |r| r.get(0)).optional()?;
    Ok(found.map(|text| serde_json::from_str(&text).unwrap_or_default()))
}

/// Forgets the figures of one.
pub fn forget_figures(conn: &Conn, id: i64) -> Result<()> {
    conn.prepare_cached("DELETE FROM service_latest WHERE service = ?1")?
        .execute([id])?;
    Ok(())
}
