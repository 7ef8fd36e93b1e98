//! SQL of the alerts.

use super::{Alert, Dependents, Suppression, Why};
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::db::Conn;
use crate::features::fleet::servers;
use crate::features::watch::notifications::Level;
use rusqlite::{OptionalExtension, Row, params};

const COLUMNS: &str =
    "id, kind, level, state, target_type, target_id, target_name, title, evidence, count, first_at, last_at,
    acked_by, acked_at, resolved_at, variant, quiet, quiet_by, quiet_until, notified_level, flaps, good_since, part";

fn read(r: &Row) -> rusqlite::Result<Alert> {
    let (by, until) = (r.get(17)?, r.get(18)?);
    let quiet = Why::parse(r.get_ref(16)?.as_str()?).map(|why| Suppression { why, by, until });
    Ok(Alert {
        id: Id::new(r.get(0)?),
        kind: r.get(1)?,
        level: r.get(2)?,
        state: r.get(3)?,
        target: (r.get(4)?, r.get(5)?, r.get(6)?),
        title: r.get(7)?,
        evidence: r.get(8)?,
        count: r.get(9)?,
        first_at: r.get(10)?,
        last_at: r.get(11)?,
        acked_by: r.get(12)?,
        acked_at: r.get(13)?,
        resolved_at: r.get(14)?,
        variant: r.get(15)?,
        quiet,
        notified_level: r.get(19)?,
        flaps: r.get(20)?,
        good_since: r.get(21)?,
        part: r.get(22)?,
    })
}

/// Filter of a list; empty texts mean any, `state` may also be `open` (firing or acknowledged).
#[derive(Debug, Default)]
pub struct Filter<'a> {
    /// `firing`, `acknowledged`, `resolved`, or `open` for the first two.
    pub state: &'a str,
    /// `INFO`, `WARNING`, `ERROR` or `CRITICAL`.
    pub level: &'a str,
    /// Only this server; 0: all.
    pub server: i64,
    /// Last occurrence not before this, unix ms.
    pub since: Ms,
    /// Page size.
    pub limit: i64,
    /// Rows to skip.
    pub offset: i64,
}

pub fn list(conn: &Conn, f: &Filter) -> Result<(Vec<Alert>, i64)> {
    let wheres = "(?1 = '' OR state = ?1 OR (?1 = 'open' AND state <> 'resolved')) AND (?2 = '' OR level = ?2)
        AND (?3 = 0 OR (target_type = 'server' AND target_id = ?3)) AND last_at >= ?4";
    let total = conn
        .prepare_cached(&format!("SELECT count(*) FROM alerts WHERE {wheres}"))?
        .query_row(params![f.state, f.level, f.server, f.since], |r| r.get(0))?;
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM alerts WHERE {wheres} ORDER BY state = 'resolved', quiet <> '' AND state <> 'resolved', last_at DESC, id DESC LIMIT ?5 OFFSET ?6"
    ))?;
    let rows = statement.query_map(params![f.state, f.level, f.server, f.since, f.limit, f.offset], read)?;
    Ok((rows.collect::<rusqlite::Result<_>>()?, total))
}

pub fn get(conn: &Conn, id: Id<id::Alert>) -> Result<Option<Alert>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM alerts WHERE id = ?1"))?;
    Ok(statement.query_row([id.get()], read).optional()?)
}

/// When those have begun that were seen last since then, unix ms.
pub fn first_seen_since(conn: &Conn, since: Ms, max: i64) -> Result<Vec<Ms>> {
    let mut statement =
        conn.prepare_cached("SELECT first_at FROM alerts WHERE last_at >= ?1 ORDER BY id DESC LIMIT ?2")?;
    let rows = statement.query_map(params![since, max], |r| r.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn count_open(conn: &Conn) -> Result<i64> {
    Ok(conn
        .prepare_cached("SELECT count(*) FROM alerts WHERE state <> 'resolved'")?
        .query_row([], |r| r.get(0))?)
}

pub fn firing(conn: &Conn) -> Result<i64> {
    Ok(conn
        .prepare_cached("SELECT count(*) FROM alerts WHERE state = 'firing'")?
        .query_row([], |r| r.get(0))?)
}

/// Identity of an open alert: kind, rule, part and target.
fn fingerprint(kind: &str, part: &str, target: (&str, i64)) -> String {
    match part {
        "" => format!("{kind}|{}|{}", target.0, target.1),
        part => format!("{kind}|{}|{}|{part}", target.0, target.1),
    }
}

fn rows(conn: &Conn, wheres: &str, values: impl rusqlite::Params) -> Result<Vec<Alert>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM alerts WHERE state <> 'resolved' AND {wheres}"
    ))?;
    let rows = statement.query_map(values, read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// An alert to raise.
pub struct What<'a> {
    /// [`Alert::kind`].
    pub kind: &'a str,
    /// [`Alert::part`].
    pub part: &'a str,
    /// [`Alert::variant`].
    pub variant: &'a str,
    /// [`Alert::level`].
    pub level: &'a str,
    /// [`Alert::title`].
    pub title: &'a str,
    /// [`Alert::evidence`].
    pub evidence: &'a str,
    /// [`Alert::first_at`].
    pub since: Ms,
}

/// Result of raising.
pub struct Raised {
    /// The alert.
    pub alert: Alert,
    /// It was open before, at a lower level.
    pub rose: bool,
    /// It was acknowledged and needs attention again because its level rose.
    pub reopened: bool,
}

/// Updates what depends on a target's alerts: called by each function that raises or ends one.
fn changed(conn: &Conn, target: (&str, i64), at: Ms) -> Result<()> {
    match target.0 {
        "server" => servers::alerts_changed(conn, target.1, at),
        _ => Ok(()),
    }
}

/// Raises a new alert, or repeats the open one. The level of an open one only rises; then it needs attention again.
pub fn raise(conn: &Conn, what: What, target: (&str, i64, &str), at: Ms) -> Result<Raised> {
    let fingerprint = fingerprint(what.kind, what.part, (target.0, target.1));
    let before = rows(conn, "fingerprint = ?1", [&fingerprint])?.into_iter().next();
    let rose = before
        .as_ref()
        .is_some_and(|b| Level::parse(what.level) > Level::parse(&b.level));
    let reopened = rose && before.as_ref().is_some_and(|b| b.state == "acknowledged");
    let level = match &before {
        Some(before) if !rose => before.level.as_str(),
        _ => what.level,
    };
    let mut statement = conn.prepare_cached(&format!(
        "INSERT INTO alerts (fingerprint, kind, level, state, target_type, target_id, target_name, title, evidence, first_at, last_at,
           variant, changed_at, part)
         VALUES (?1, ?2, ?3, 'firing', ?4, ?5, ?6, ?7, ?8, ?13, ?9, ?10, ?9, ?12)
         ON CONFLICT (fingerprint) WHERE state <> 'resolved'
         DO UPDATE SET count = count + 1, last_at = ?9, evidence = ?8, title = ?7, target_name = ?6, variant = ?10, level = ?3,
           changed_at = CASE WHEN good_since IS NULL THEN changed_at ELSE ?9 END, good_since = NULL,
           state = CASE WHEN ?11 THEN 'firing' ELSE state END, acked_by = CASE WHEN ?11 THEN NULL ELSE acked_by END,
           acked_at = CASE WHEN ?11 THEN NULL ELSE acked_at END
         RETURNING {COLUMNS}"
    ))?;
    let values = params![
        fingerprint,
        what.kind,
        level,
        target.0,
        target.1,
        target.2,
        what.title,
        what.evidence,
        at,
        what.variant,
        reopened,
        what.part,
        what.since.min(at)
    ];
    let alert = statement.query_row(values, read)?;
    changed(conn, (target.0, target.1), at)?;
    Ok(Raised { alert, rose, reopened })
}

/// Type and id of targets with an open alert of this kind, if it is made from an event.
pub fn targets(conn: &Conn, kind: &str) -> Result<Vec<(String, i64, String)>> {
    let mut statement = conn.prepare_cached(
        "SELECT target_type, target_id, part FROM alerts WHERE kind = ?1 AND kind NOT LIKE 'metric.%' AND state <> 'resolved'",
    )?;
    let rows = statement.query_map([kind], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The newest of these events about a part, among those that may still wait for their reaction.
pub fn told_last(conn: &Conn, kinds: [&str; 2], part: &str) -> Result<Option<String>> {
    let mut statement = conn.prepare_cached(
        "SELECT kind FROM events WHERE kind IN (?1, ?2) AND data ->> '$.part' = ?3
           AND id > (SELECT max(id) - 2000 FROM events) ORDER BY id DESC LIMIT 1",
    )?;
    Ok(statement
        .query_row(params![kinds[0], kinds[1], part], |r| r.get(0))
        .optional()?)
}

/// Resolves alerts and returns them. A flapping one stays open, resolved for the moment, unless it ends `for_good`: by
/// a person, or because of something worse.
pub fn resolve(conn: &Conn, kind: &str, part: &str, target: (&str, i64), for_good: bool, at: Ms) -> Result<Vec<Alert>> {
    let mut statement = conn.prepare_cached(&format!(
        "UPDATE alerts SET last_at = ?2, changed_at = CASE WHEN good_since IS NULL THEN ?2 ELSE changed_at END,
           good_since = CASE WHEN flaps = 0 OR ?3 THEN NULL ELSE coalesce(good_since, ?2) END,
           resolved_at = CASE WHEN flaps = 0 OR ?3 THEN ?2 END,
           state = CASE WHEN flaps = 0 OR ?3 THEN 'resolved' ELSE state END, for_good = ?3
         WHERE fingerprint = ?1 AND state <> 'resolved' RETURNING {COLUMNS}"
    ))?;
    let over = statement
        .query_map(params![fingerprint(kind, part, target), at, for_good], read)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    if !over.is_empty() {
        changed(conn, target, at)?;
    }
    Ok(over)
}

/// All open alerts.
pub fn open(conn: &Conn) -> Result<Vec<Alert>> {
    rows(conn, "true ORDER BY id", [])
}

/// All open alerts of this target, by type and id.
pub fn about(conn: &Conn, target: (&str, i64)) -> Result<Vec<Alert>> {
    rows(conn, "target_type = ?1 AND target_id = ?2", params![target.0, target.1])
}

/// All open alerts that are suppressed.
pub fn quiet(conn: &Conn) -> Result<Vec<Alert>> {
    rows(conn, "quiet <> '' ORDER BY id", [])
}

/// The open alerts of a server and of what is on it, and those that this alert inhibits.
pub fn about_server(conn: &Conn, server: i64, alert: Id<id::Alert>) -> Result<Vec<Alert>> {
    rows(
        conn,
        "id <> ?2 AND ((target_type = 'server' AND target_id = ?1) OR (quiet = 'muted' AND quiet_by = ?2)
           OR (target_type = 'container' AND target_id IN (SELECT id FROM main.containers WHERE server_id = ?1))
           OR (target_type = 'domain' AND target_id IN (SELECT domain_id FROM domain_sites WHERE server_id = ?1))) ORDER BY id",
        params![server, alert.get()],
    )
}

/// Suppressed alerts whose recheck is due.
pub fn waited(conn: &Conn, now: Ms) -> Result<Vec<Alert>> {
    rows(conn, "quiet = 'muted' AND quiet_until <= ?1 ORDER BY id", [now])
}

/// Flapping alerts without change since `before`.
pub fn calm(conn: &Conn, before: Ms) -> Result<Vec<Alert>> {
    rows(
        conn,
        "quiet <> '' AND flaps > 0 AND changed_at <= ?1 ORDER BY id",
        [before],
    )
}

/// The open alert of this kind and target, if its condition holds now.
pub fn burning(conn: &Conn, kind: &str, target: (&str, i64)) -> Result<Option<i64>> {
    let mut statement = conn.prepare_cached(
        "SELECT id FROM alerts WHERE fingerprint = ?1 AND state <> 'resolved' AND good_since IS NULL",
    )?;
    Ok(statement
        .query_row([fingerprint(kind, "", target)], |r| r.get(0))
        .optional()?)
}

/// How often an equal alert has begun since then, without those that a person ended.
pub fn begun(conn: &Conn, alert: &Alert, since: Ms) -> Result<i64> {
    Ok(conn
        .prepare_cached("SELECT count(*) FROM alerts WHERE fingerprint = ?1 AND first_at >= ?2 AND NOT for_good")?
        .query_row(
            params![
                fingerprint(&alert.kind, &alert.part, (&alert.target.0, alert.target.1)),
                since
            ],
            |r| r.get(0),
        )?)
}

pub fn hanging(conn: &Conn, alert: &Alert) -> Result<Dependents> {
    let alerts = conn
        .prepare_cached(
            "SELECT count(*) FROM alerts WHERE state <> 'resolved' AND quiet = 'muted' AND quiet_by = ?1 AND quiet_until IS NULL",
        )?
        .query_row([alert.id.get()], |r| r.get(0))?;
    if alert.kind != "server.unreachable" {
        return Ok(Dependents { domains: 0, alerts });
    }
    // Another server of the same domain may still be available.
    let domains = conn
        .prepare_cached(
            "SELECT count(*) FROM domain_sites x WHERE x.server_id = ?1 AND x.name <> '' AND NOT EXISTS
               (SELECT 1 FROM domain_sites y WHERE y.domain_id = x.domain_id AND y.name <> '' AND NOT EXISTS
                 (SELECT 1 FROM alerts a WHERE a.fingerprint = 'server.unreachable|server|' || y.server_id
                  AND a.state <> 'resolved' AND a.good_since IS NULL))",
        )?
        .query_row([alert.target.1], |r| r.get(0))?;
    Ok(Dependents { domains, alerts })
}

pub fn set_quiet(conn: &Conn, alert: &Alert) -> Result<()> {
    let quiet = alert.quiet.as_ref();
    conn.prepare_cached(
        "UPDATE alerts SET quiet = ?2, quiet_by = ?3, quiet_until = ?4, notified_level = ?5, flaps = ?6 WHERE id = ?1",
    )?
    .execute(params![
        alert.id.get(),
        quiet.map_or("", |q| q.why.name()),
        quiet.map_or(0, |q| q.by),
        quiet.and_then(|q| q.until),
        alert.notified_level,
        alert.flaps
    ])?;
    Ok(())
}

/// Resolves all alerts of a target and returns them.
pub fn resolve_all(conn: &Conn, target: (&str, i64), at: Ms) -> Result<Vec<Alert>> {
    let mut statement = conn.prepare_cached(&format!(
        "UPDATE alerts SET state = 'resolved', resolved_at = ?3, last_at = ?3, good_since = NULL
         WHERE target_type = ?1 AND target_id = ?2 AND state <> 'resolved' RETURNING {COLUMNS}"
    ))?;
    let over = statement
        .query_map(params![target.0, target.1, at], read)?
        .collect::<rusqlite::Result<_>>()?;
    changed(conn, target, at)?;
    Ok(over)
}

pub fn acknowledge(conn: &Conn, id: Id<id::Alert>, by: &str, at: Ms) -> Result<()> {
    conn.execute(
        "UPDATE alerts SET state = 'acknowledged', acked_by = ?2, acked_at = ?3 WHERE id = ?1",
        params![id.get(), by, at],
    )?;
    Ok(())
}

pub fn purge(conn: &Conn, before: Ms) -> Result<()> {
    conn.execute(
        "DELETE FROM alerts WHERE state = 'resolved' AND resolved_at < ?1",
        [before],
    )?;
    Ok(())
}
