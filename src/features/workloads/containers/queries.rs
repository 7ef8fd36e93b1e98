//! SQL of containers and their engines.

use super::stats::Usage;
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::Id;
use crate::db::Conn;
use rusqlite::{OptionalExtension, Row, params};
use std::collections::{HashMap, HashSet};

pub use crate::features::workloads::logs::Of;

/// A container as it was seen last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Our number of it: of its name on its server.
    pub id: i64,
    /// Its server.
    pub server: Of,
    /// The server's name; empty for this machine.
    pub server_name: String,
    /// Its name.
    pub name: String,
    /// The engine's id of its present life.
    pub life: String,
    /// Its image.
    pub image: String,
    /// Compose project, or empty.
    pub project: String,
    /// Compose service, or empty.
    pub service: String,
    /// One of [`super::model::STATES`].
    pub state: String,
    /// `starting`, `healthy`, `unhealthy`, or empty.
    pub health: String,
    /// Exit code of its last end.
    pub exit_code: Option<i64>,
    /// Did it end for want of memory?
    pub oom: bool,
    /// Ends without a person's act.
    pub restarts: i64,
    /// Times of the last of these, unix ms.
    pub restarts_at: Vec<Ms>,
    /// When it came into its state.
    pub since: Ms,
    /// Since when it is unhealthy.
    pub unhealthy_since: Option<Ms>,
    /// An end before this, unix ms, is one that somebody here has asked for.
    pub asked_until: Option<Ms>,
    /// Does its label say that it is to be restarted when it is unhealthy?
    pub restart_label: bool,
    /// What people say of that: `label`, `on`, `off`.
    pub restart_unhealthy: String,
    /// Times of the last of these restarts, unix ms.
    pub healed_at: Vec<Ms>,
    /// What is an alert about it.
    pub troubles: Vec<String>,
    /// First seen.
    pub created_at: Ms,
    /// Last seen.
    pub seen_at: Ms,
}

impl Container {
    /// One that is seen for the first time, of which nothing is known but its name.
    pub fn new(server: Of, server_name: &str, name: &str, now: Ms) -> Container {
        Container {
            id: 0,
            server,
            server_name: server_name.into(),
            name: name.into(),
            life: String::new(),
            image: String::new(),
            project: String::new(),
            service: String::new(),
            state: String::new(),
            health: String::new(),
            exit_code: None,
            oom: false,
            restarts: 0,
            restarts_at: Vec::new(),
            since: now,
            unhealthy_since: None,
            asked_until: None,
            restart_label: false,
            restart_unhealthy: "label".into(),
            healed_at: Vec::new(),
            troubles: Vec::new(),
            created_at: now,
            seen_at: now,
        }
    }
}

const COLUMNS: &str = "c.id, c.server_id, coalesce(s.name, ''), c.name, c.life, c.image, c.project, c.service, c.state,
    c.health, c.exit_code, c.oom, c.restarts, c.restarts_at, c.since, c.unhealthy_since, c.troubles, c.created_at, c.seen_at,
    c.asked_until, c.restart_label, c.restart_unhealthy, c.healed_at";
const FROM: &str = "containers c LEFT JOIN main.servers s ON s.id = c.server_id";

fn container(r: &Row) -> rusqlite::Result<Container> {
    let list = |n: usize| -> rusqlite::Result<String> { r.get(n) };
    Ok(Container {
        id: r.get(0)?,
        server: r.get::<_, Option<i64>>(1)?.map(Id::new),
        server_name: r.get(2)?,
        name: r.get(3)?,
        life: r.get(4)?,
        image: r.get(5)?,
        project: r.get(6)?,
        service: r.get(7)?,
        state: r.get(8)?,
        health: r.get(9)?,
        exit_code: r.get(10)?,
        oom: r.get(11)?,
        restarts: r.get(12)?,
        restarts_at: serde_json::from_str(&list(13)?).unwrap_or_default(),
        since: r.get(14)?,
        unhealthy_since: r.get(15)?,
        troubles: serde_json::from_str(&list(16)?).unwrap_or_default(),
        created_at: r.get(17)?,
        seen_at: r.get(18)?,
        asked_until: r.get(19)?,
        restart_label: r.get(20)?,
        restart_unhealthy: r.get(21)?,
        healed_at: serde_json::from_str(&list(22)?).unwrap_or_default(),
    })
}

/// Which containers are wanted; empty texts and `None` mean any.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// Of this server.
    pub server: Option<Of>,
    /// In this state; `""`: in any but `gone`.
    pub state: &'a str,
    /// Of this compose project.
    pub project: &'a str,
    /// With this in name, image or project.
    pub q: &'a str,
    /// At most so many.
    pub limit: i64,
    /// After so many.
    pub offset: i64,
}

/// A page of containers by server, project and name, and their total.
pub fn list(conn: &Conn, filter: &Filter) -> Result<(Vec<Container>, i64)> {
    let wanted = "(?1 OR coalesce(c.server_id, 0) = ?2) AND CASE ?3 WHEN '' THEN c.state <> 'gone' WHEN 'any' THEN 1 ELSE c.state = ?3 END
         AND (?4 = '' OR c.project = ?4) AND (?5 = '' OR instr(lower(c.name || ' ' || c.image || ' ' || c.project), lower(?5)) > 0)";
    let server = filter.server.map_or(0, |server| server.map_or(0, Id::get));
    let any = filter.server.is_none();
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM {FROM} WHERE {wanted}
         ORDER BY s.name IS NOT NULL, s.name COLLATE NOCASE, c.project, c.name LIMIT ?6 OFFSET ?7"
    ))?;
    let rows = statement.query_map(
        params![
            any,
            server,
            filter.state,
            filter.project,
            filter.q,
            filter.limit,
            filter.offset
        ],
        container,
    )?;
    let rows = rows.collect::<rusqlite::Result<_>>()?;
    let mut statement = conn.prepare_cached(&format!("SELECT count(*) FROM {FROM} WHERE {wanted}"))?;
    let total = statement.query_row(params![any, server, filter.state, filter.project, filter.q], |r| {
        r.get(0)
    })?;
    Ok((rows, total))
}

/// One by its number.
pub fn get(conn: &Conn, id: i64) -> Result<Option<Container>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM {FROM} WHERE c.id = ?1"))?;
    Ok(statement.query_row([id], container).optional()?)
}

/// One by its server and name.
pub fn by_name(conn: &Conn, server: Of, name: &str) -> Result<Option<Container>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM {FROM} WHERE coalesce(c.server_id, 0) = ?1 AND c.name = ?2"
    ))?;
    Ok(statement
        .query_row(params![server.map_or(0, Id::get), name], container)
        .optional()?)
}

/// Notes that its end is asked for, and may take until then.
pub fn ask_end(conn: &Conn, id: i64, until: Ms) -> Result<()> {
    conn.execute(
        "UPDATE containers SET asked_until = ?2 WHERE id = ?1",
        params![id, until],
    )?;
    Ok(())
}

/// Stores what people say of its restart when it is unhealthy.
pub fn set_restart_unhealthy(conn: &Conn, id: i64, option: &str) -> Result<()> {
    conn.execute(
        "UPDATE containers SET restart_unhealthy = ?2 WHERE id = ?1",
        params![id, option],
    )?;
    Ok(())
}

/// Stores what was seen of one; with the number 0 it is new. Returns its number.
pub fn put(conn: &Conn, c: &Container) -> Result<i64> {
    let (restarts_at, troubles) = (serde_json::json!(c.restarts_at), serde_json::json!(c.troubles));
    let healed_at = serde_json::json!(c.healed_at);
    conn.prepare_cached(
        "INSERT INTO containers (id, server_id, name, life, image, project, service, state, health, exit_code, oom, restarts,
           restarts_at, since, unhealthy_since, troubles, created_at, seen_at, restart_label, healed_at)
         VALUES (nullif(?1, 0), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)
         ON CONFLICT (id) DO UPDATE SET life = ?4, image = ?5, project = ?6, service = ?7, state = ?8, health = ?9,
           exit_code = ?10, oom = ?11, restarts = ?12, restarts_at = ?13, since = ?14, unhealthy_since = ?15,
           troubles = ?16, seen_at = ?18, restart_label = ?19, healed_at = ?20",
    )?
    .execute(params![
        c.id,
        c.server.map(Id::get),
        c.name,
        c.life,
        c.image,
        c.project,
        c.service,
        c.state,
        c.health,
        c.exit_code,
        c.oom,
        c.restarts,
        restarts_at.to_string(),
        c.since,
        c.unhealthy_since,
        troubles.to_string(),
        c.created_at,
        c.seen_at,
        c.restart_label,
        healed_at.to_string()
    ])?;
    Ok(if c.id == 0 { conn.last_insert_rowid() } else { c.id })
}

/// Removes those that are gone since before this time. Returns their numbers.
pub fn remove_gone(conn: &Conn, before: Ms) -> Result<Vec<i64>> {
    let mut statement =
        conn.prepare_cached("DELETE FROM containers WHERE state = 'gone' AND since < ?1 RETURNING id")?;
    let rows = statement.query_map([before], |r| r.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Of the containers that are gone on a server all but the newest `keep`.
pub fn remove_most_gone(conn: &Conn, server: Of, keep: i64) -> Result<Vec<i64>> {
    let mut statement = conn.prepare_cached(
        "DELETE FROM containers WHERE state = 'gone' AND coalesce(server_id, 0) = ?1 AND id NOT IN (
           SELECT id FROM containers WHERE state = 'gone' AND coalesce(server_id, 0) = ?1 ORDER BY since DESC, id DESC LIMIT ?2)
         RETURNING id",
    )?;
    let rows = statement.query_map(params![server.map_or(0, Id::get), keep], |r| r.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// All numbers.
pub fn ids(conn: &Conn) -> Result<HashSet<i64>> {
    let mut statement = conn.prepare_cached("SELECT id FROM containers")?;
    let rows = statement.query_map([], |r| r.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// How many there are, not counting those that are gone, and how many of them run.
pub fn counts(conn: &Conn) -> Result<(i64, i64, i64)> {
    let mut statement = conn.prepare_cached(
        "SELECT count(*), coalesce(sum(state = 'running'), 0), coalesce(sum(troubles <> '[]'), 0) FROM containers
         WHERE state <> 'gone'",
    )?;
    Ok(statement.query_row([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?)
}

/// Changes when a container comes or goes, or it changes in what rules ask of it (its last end, its project), or its
/// server does.
pub fn fingerprint(conn: &Conn) -> Result<(i64, i64)> {
    let mut statement = conn.prepare_cached(
        "SELECT coalesce(sum(c.id + c.since + coalesce(c.exit_code, 0)), 0), count(*) + coalesce(sum(s.revision), 0)
         FROM main.containers c
         LEFT JOIN main.servers s ON s.id = c.server_id",
    )?;
    Ok(statement.query_row([], |r| Ok((r.get(0)?, r.get(1)?)))?)
}

/// Numbers of those on these servers.
pub fn on_servers(conn: &Conn, servers: &HashSet<i64>) -> Result<HashSet<i64>> {
    let mut statement =
        conn.prepare_cached("SELECT id FROM main.containers WHERE server_id IN (SELECT value FROM json_each(?1))")?;
    let rows = statement.query_map([serde_json::json!(servers).to_string()], |r| r.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// An engine, as it was seen last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineRow {
    /// Number.
    pub id: i64,
    /// Of this server.
    pub server: Of,
    /// The server's name; empty for this machine.
    pub server_name: String,
    /// `docker` or `podman`; empty: not known yet.
    pub engine: String,
    /// Its version.
    pub version: String,
    /// Its socket there.
    pub socket: String,
    /// `waiting`, `answers`, `silent`.
    pub state: String,
    /// Why it is silent.
    pub code: String,
    /// The same as a sentence.
    pub say: String,
    /// Since when.
    pub since: Ms,
    /// Is its silence an alert?
    pub told: bool,
}

/// All engines that we see.
pub fn engines(conn: &Conn) -> Result<Vec<EngineRow>> {
    let mut statement = conn.prepare_cached(
        "SELECT e.id, e.server_id, coalesce(s.name, ''), e.engine, e.version, e.socket, e.state, e.code, e.say, e.since, e.told
         FROM container_engines e LEFT JOIN main.servers s ON s.id = e.server_id
         ORDER BY s.name IS NOT NULL, s.name COLLATE NOCASE",
    )?;
    let rows = statement.query_map([], |r| {
        Ok(EngineRow {
            id: r.get(0)?,
            server: r.get::<_, Option<i64>>(1)?.map(Id::new),
            server_name: r.get(2)?,
            engine: r.get(3)?,
            version: r.get(4)?,
            socket: r.get(5)?,
            state: r.get(6)?,
            code: r.get(7)?,
            say: r.get(8)?,
            since: r.get(9)?,
            told: r.get(10)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Stores an engine; with the number 0 it is new.
pub fn put_engine(conn: &Conn, e: &EngineRow) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO container_engines (id, server_id, engine, version, socket, state, code, say, since, told)
         VALUES (nullif(?1, 0), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (id) DO UPDATE SET engine = ?3, version = ?4, socket = ?5, state = ?6, code = ?7, say = ?8, since = ?9,
           told = ?10",
    )?
    .execute(params![
        e.id,
        e.server.map(Id::get),
        e.engine,
        e.version,
        e.socket,
        e.state,
        e.code,
        e.say,
        e.since,
        e.told
    ])?;
    Ok(())
}

/// Removes an engine that is not looked at any more.
pub fn remove_engine(conn: &Conn, id: i64) -> Result<()> {
    conn.prepare_cached("DELETE FROM container_engines WHERE id = ?1")?
        .execute([id])?;
    Ok(())
}

/// An event about a container: number, unix ms, kind, data.
pub type EventRow = (i64, Ms, String, String);

/// The newest events about a container, newest first.
pub fn events(conn: &Conn, id: i64, limit: i64) -> Result<Vec<EventRow>> {
    let mut statement = conn.prepare_cached(
        "SELECT id, at, kind, data FROM events WHERE target_type = 'container' AND target_id = ?1
         ORDER BY id DESC LIMIT ?2",
    )?;
    let rows = statement.query_map([id, limit], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

// ---- metrics.db ------------------------------------------------------------------------------------------------------

/// Stores what a container used last.
pub fn put_usage(conn: &Conn, id: i64, at: Ms, usage: &Usage) -> Result<()> {
    conn.prepare_cached(
        "INSERT OR REPLACE INTO container_latest (container, at_ms, cpu, memory, memory_used, memory_limit, pids)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        id,
        at,
        usage.cpu,
        usage.memory,
        usage.memory_used.map(|n| n as i64),
        usage.memory_limit.map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
        usage.pids.map(|n| n as i64)
    ])?;
    Ok(())
}

/// What each container used last, if that was after this time.
pub fn usages(conn: &Conn, since: Ms) -> Result<HashMap<i64, Usage>> {
    let mut statement = conn.prepare_cached(
        "SELECT container, cpu, memory, memory_used, memory_limit, pids FROM container_latest WHERE at_ms >= ?1",
    )?;
    let whole = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok());
    let rows = statement.query_map([since], |r| {
        let usage = Usage {
            cpu: r.get(1)?,
            memory: r.get(2)?,
            memory_used: whole(r.get(3)?),
            memory_limit: whole(r.get(4)?),
            pids: whole(r.get(5)?),
            ..Usage::default()
        };
        Ok((r.get(0)?, usage))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Removes what a container used last.
pub fn forget_usage(conn: &Conn, id: i64) -> Result<()> {
    conn.prepare_cached("DELETE FROM container_latest WHERE container = ?1")?
        .execute([id])?;
    Ok(())
}
