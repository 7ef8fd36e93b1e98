//! SQL of the domains (placements have their own).

use super::model::{Fields, Preflight, Stands};
use super::{CertStatus, Domain, REASONS, Reason, Site};
use crate::base::clock::Ms;
use crate::base::error::{Error, Field, Result};
use crate::base::id::{self, Id};
use crate::base::idn::DomainName;
use crate::db::{self, Conn};
use rusqlite::{OptionalExtension, Row, params};
use std::collections::HashMap;

/// The reason of a domain's state: the first condition that holds. [`REASONS`] has their states.
const REASON: &str = "CASE
    WHEN d.removing THEN 'removing'
    WHEN NOT EXISTS (SELECT 1 FROM domain_sites s WHERE s.domain_id = d.id AND s.wanted AND s.name <> '') THEN
      CASE WHEN EXISTS (SELECT 1 FROM domain_sites s WHERE s.domain_id = d.id AND s.wanted AND s.state = 'failed')
      THEN 'never_worked' ELSE 'not_deployed' END
    WHEN d.answer_state IN ('down', 'unreachable', 'firewalled', 'shadowed', 'backend') THEN d.answer_state
    WHEN d.ssl AND d.cert_state = 'bad' THEN 'cert_bad'
    WHEN d.answer_state = 'partly' THEN 'half_dark'
    WHEN EXISTS (SELECT 1 FROM domain_sites s WHERE s.domain_id = d.id AND s.state = 'failed') THEN
      CASE WHEN EXISTS (SELECT 1 FROM domain_sites s WHERE s.domain_id = d.id AND s.wanted AND s.state = 'live')
        AND NOT EXISTS (SELECT 1 FROM domain_sites s WHERE s.domain_id = d.id AND s.state = 'failed'
          AND (NOT s.wanted OR s.code IS NULL OR substr(s.code, 1, 4) <> 'ssh_'))
      THEN 'incomplete' ELSE 'deploy_failed' END
    WHEN EXISTS (SELECT 1 FROM domain_sites s WHERE s.domain_id = d.id AND s.state = 'drifted') THEN 'drifted'
    WHEN d.ssl AND d.cert_state = 'urgent' THEN 'cert_urgent'
    WHEN d.ns_state = 'mismatch' THEN 'ns_mismatch'
    WHEN d.ns_state = 'error' THEN 'ns_error'
    WHEN d.ssl AND d.cert_state = 'soon' THEN 'cert_soon'
    WHEN EXISTS (SELECT 1 FROM domain_sites s WHERE s.domain_id = d.id AND (s.wanted AND s.name = '' OR NOT s.wanted))
      THEN 'partly'
    ELSE 'lit' END";

const ANSWERS: [&str; 8] = [
    "unknown",
    "ok",
    "partly",
    "backend",
    "shadowed",
    "firewalled",
    "unreachable",
    "down",
];

fn select(wheres: &str) -> String {
    format!(
        "SELECT d.id, d.domain, d.upstream_id, d.group_id, d.ssl, d.hsts, d.certificate_id, d.ns_policy, d.preflight,
           d.notes, d.ns_state, d.ns_say, d.ns_at, d.cert_state, d.cert_say, d.cert_not_after, d.removing, d.revision,
           d.created_at, d.updated_at, u.name, g.name, {REASON} AS reason, d.answer_state, d.answer_say, d.answer_since, d.ns_since,
           d.cert_since
         FROM domains d LEFT JOIN main.upstreams u ON u.id = d.upstream_id LEFT JOIN main.groups g ON g.id = d.group_id
         WHERE {wheres}"
    )
}

fn word(text: &str, words: &[&'static str]) -> &'static str {
    words.iter().copied().find(|w| *w == text).unwrap_or(words[0])
}

fn read(r: &Row) -> rusqlite::Result<Domain> {
    let stored: String = r.get(1)?;
    let domain = DomainName::parse(&stored)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, e.into()))?;
    let link = |at: usize| r.get::<_, Option<i64>>(at);
    Ok(Domain {
        id: Id::new(r.get(0)?),
        fields: Fields {
            domain,
            upstream_id: link(2)?.map(Id::new),
            server_ids: Vec::new(),
            group_id: link(3)?.map(Id::new),
            ssl: r.get(4)?,
            hsts: r.get(5)?,
            certificate_id: link(6)?.map(Id::new),
            ns_policy: r.get(7)?,
            preflight: Preflight::parse(r.get_ref(8)?.as_str()?),
            notes: r.get(9)?,
        },
        ns_state: word(r.get_ref(10)?.as_str()?, &["unknown", "ok", "mismatch", "error"]),
        ns_say: r.get(11)?,
        ns_at: r.get(12)?,
        cert_state: word(r.get_ref(13)?.as_str()?, &["unknown", "ok", "soon", "urgent", "bad"]),
        cert_say: r.get(14)?,
        cert_not_after: r.get(15)?,
        removing: r.get(16)?,
        revision: r.get(17)?,
        created_at: r.get(18)?,
        updated_at: r.get(19)?,
        upstream: r.get(20)?,
        group: r.get(21)?,
        reason: reason(r.get_ref(22)?.as_str()?),
        answer_state: word(r.get_ref(23)?.as_str()?, &ANSWERS),
        answer_say: serde_json::from_str(r.get_ref(24)?.as_str()?).unwrap_or_default(),
        answer_since: r.get(25)?,
        ns_since: r.get(26)?,
        cert_since: r.get(27)?,
        sites: Vec::new(),
    })
}

fn reason(name: &str) -> &'static Reason {
    REASONS.iter().find(|r| r.name == name).unwrap_or(&REASONS[0])
}

fn read_site(r: &Row) -> rusqlite::Result<(i64, Site)> {
    let code: Option<String> = r.get(10)?;
    let is_failed = r.get_ref(4)?.as_str()? == "failed";
    let site = Site {
        server: Id::new(r.get(1)?),
        server_name: r.get(2)?,
        wanted: r.get(3)?,
        state: word(r.get_ref(4)?.as_str()?, &["none", "live", "failed", "drifted"]),
        name: r.get(5)?,
        generation: r.get(6)?,
        adopted: r.get(7)?,
        deployed_at: r.get(8)?,
        looked_at: r.get(9)?,
        error: code
            .map(|code| Ok::<_, rusqlite::Error>((code, r.get::<_, Option<String>>(11)?.unwrap_or_default())))
            .transpose()?,
        stands: Stands::parse(r.get_ref(12)?.as_str()?).filter(|_| is_failed),
        issued: r.get::<_, bool>(13)? && is_failed,
        since: r.get(14)?,
    };
    Ok((r.get(0)?, site))
}

/// Loads the placements of these domains in one query.
fn with_sites(conn: &Conn, mut domains: Vec<Domain>) -> Result<Vec<Domain>> {
    let ids = serde_json::json!(domains.iter().map(|d| d.id).collect::<Vec<_>>()).to_string();
    let mut statement = conn.prepare_cached(
        "SELECT s.domain_id, s.server_id, v.name, s.wanted, s.state, s.name, s.generation, s.adopted, s.deployed_at,
           s.looked_at, s.code, s.say, s.stands, s.issued, s.since
         FROM domain_sites s JOIN main.servers v ON v.id = s.server_id
         WHERE s.domain_id IN (SELECT value FROM json_each(?1)) ORDER BY s.domain_id, s.wanted DESC, s.position",
    )?;
    let mut sites: HashMap<i64, Vec<Site>> = HashMap::new();
    for row in statement.query_map([ids], read_site)? {
        let (domain, site) = row?;
        sites.entry(domain).or_default().push(site);
    }
    for domain in &mut domains {
        domain.sites = sites.remove(&domain.id.get()).unwrap_or_default();
        domain.fields.server_ids = domain.sites.iter().filter(|s| s.wanted).map(|s| s.server).collect();
    }
    Ok(domains)
}

pub fn get(conn: &Conn, id: Id<id::Domain>) -> Result<Option<Domain>> {
    let mut statement = conn.prepare_cached(&select("d.id = ?1"))?;
    let row = statement.query_row([id.get()], read).optional()?;
    Ok(with_sites(conn, row.into_iter().collect())?.pop())
}

/// By its A-labels.
pub fn by_name(conn: &Conn, domain: &str) -> Result<Option<Id<id::Domain>>> {
    let mut statement = conn.prepare_cached("SELECT id FROM domains WHERE domain = ?1")?;
    Ok(statement.query_row([domain], |r| r.get(0)).optional()?.map(Id::new))
}

/// What a list asks for; empty and `None` mean any.
#[derive(Debug, Default)]
pub struct Filter<'a> {
    /// Part of the name (stored or displayed form) or of the notes.
    pub q: &'a str,
    /// Only in this group.
    pub group: Option<Id<id::Group>>,
    /// Only on this server.
    pub server: Option<Id<id::Server>>,
    /// Only with this upstream.
    pub upstream: Option<Id<id::Upstream>>,
    /// With TLS, or without.
    pub ssl: Option<bool>,
    /// `lit`, `flick`, `dark` or `unlit`.
    pub state: &'a str,
    /// Sort key.
    pub sort: Sort,
    /// Descending order.
    pub descending: bool,
    /// Page size.
    pub limit: i64,
    /// Rows to skip.
    pub offset: i64,
}

/// Sort key ([`Filter::sort`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// By the stored name.
    #[default]
    Name,
    /// By expiry of the certificate; without one last.
    Expiry,
}

pub fn list(conn: &Conn, filter: &Filter) -> Result<(Vec<Domain>, i64)> {
    let mut wheres = String::from(
        "(?1 IS NULL OR d.group_id = ?1) AND (?2 IS NULL OR d.upstream_id = ?2) AND (?3 IS NULL OR d.ssl = ?3)
         AND (?4 IS NULL OR EXISTS (SELECT 1 FROM domain_sites s WHERE s.domain_id = d.id AND s.server_id = ?4))",
    );
    if !filter.state.is_empty() {
        // Not user input: the names are constants.
        let of_state = REASONS.iter().filter(|r| r.lamp == filter.state);
        let names: Vec<_> = of_state.map(|r| format!("'{}'", r.name)).collect();
        wheres += &format!(" AND reason IN ({})", names.join(", "));
    }
    let direction = if filter.descending { "DESC" } else { "ASC" };
    let order = match filter.sort {
        Sort::Name => format!("d.domain {direction}"),
        Sort::Expiry => format!("d.cert_not_after IS NULL, d.cert_not_after {direction}, d.domain"),
    };
    let mut statement = conn.prepare_cached(&format!("{} ORDER BY {order}, d.id", select(&wheres)))?;
    let values = params![
        filter.group.map(Id::get),
        filter.upstream.map(Id::get),
        filter.ssl,
        filter.server.map(Id::get)
    ];
    let rows = statement.query_map(values, read)?;
    // The displayed form of names is not stored, so this search is done here.
    let needle = filter.q.to_lowercase();
    let (mut total, mut page) = (0, Vec::new());
    for row in rows {
        let row = row?;
        let found = needle.is_empty()
            || row.fields.domain.ascii().contains(&needle)
            || row.fields.domain.unicode().contains(&needle)
            || row.fields.notes.to_lowercase().contains(&needle);
        if !found {
            continue;
        }
        if total >= filter.offset && (page.len() as i64) < filter.limit {
            page.push(row);
        }
        total += 1;
    }
    Ok((with_sites(conn, page)?, total))
}

/// Number of domains by reason, whatever the filter.
pub fn counts(conn: &Conn) -> Result<Vec<(&'static Reason, i64)>> {
    count(conn, "1")
}

/// The same without silenced ones (their own silence, their group's or a global one).
pub fn loud(conn: &Conn) -> Result<Vec<(&'static Reason, i64)>> {
    count(
        conn,
        "NOT EXISTS (SELECT 1 FROM main.silences q WHERE q.state = 'active' AND q.kind = '' AND q.scope = ''
           AND NOT EXISTS (SELECT 1 FROM main.silence_targets t WHERE t.silence_id = q.id
             AND NOT (t.target_type = 'domain' AND t.target_id = d.id)
             AND NOT (t.target_type = 'group' AND t.target_id IS d.group_id)))",
    )
}

fn count(conn: &Conn, wanted: &str) -> Result<Vec<(&'static Reason, i64)>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {REASON} AS reason, count(*) FROM domains d WHERE {wanted} GROUP BY reason"
    ))?;
    let rows = statement.query_map([], |r| Ok((reason(r.get_ref(0)?.as_str()?), r.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Every domain (A-labels) with its state.
pub fn lamps(conn: &Conn) -> Result<Vec<(String, &'static str)>> {
    let mut statement = conn.prepare_cached(&format!("SELECT d.domain, {REASON} FROM domains d ORDER BY d.domain"))?;
    let rows = statement.query_map([], |r| Ok((r.get(0)?, reason(r.get_ref(1)?.as_str()?).lamp)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Number of domains, and of those with TLS.
pub fn totals(conn: &Conn) -> Result<(i64, i64)> {
    let mut statement = conn.prepare_cached("SELECT count(*), coalesce(sum(ssl), 0) FROM domains")?;
    Ok(statement.query_row([], |r| Ok((r.get(0)?, r.get(1)?)))?)
}

/// Id and name of every uploaded certificate, for choosing.
pub fn certificates(conn: &Conn) -> Result<Vec<(i64, String)>> {
    let mut statement = conn.prepare_cached("SELECT id, name FROM certificates ORDER BY name")?;
    let rows = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

const GROUP: &str = "group of domains";

fn no_such_row(field: &'static str, what: &str, id: i64) -> Field {
    Field {
        field,
        code: "no_such_row",
        message: format!("There is no {what} with the number {id}."),
    }
}

/// What is said of a group that is not there.
pub fn no_group(id: Id<id::Group>) -> Field {
    no_such_row("group_id", GROUP, id.get())
}

/// Referenced rows that do not exist.
pub fn missing(conn: &Conn, f: &Fields) -> Result<Vec<Field>> {
    let mut out = Vec::new();
    let mut check = |field: &'static str, what: &str, sql: &str, id: Option<i64>| -> Result<()> {
        let Some(id) = id else { return Ok(()) };
        if conn
            .prepare_cached(sql)?
            .query_row([id], |_| Ok(()))
            .optional()?
            .is_none()
        {
            out.push(no_such_row(field, what, id));
        }
        Ok(())
    };
    let upstream = f.upstream_id.map(Id::get);
    check(
        "upstream_id",
        "upstream",
        "SELECT 1 FROM upstreams WHERE id = ?1",
        upstream,
    )?;
    let group = f.group_id.map(Id::get);
    check(
        "group_id",
        GROUP,
        "SELECT 1 FROM groups WHERE id = ?1 AND kind = 'domain'",
        group,
    )?;
    let certificate = f.certificate_id.map(Id::get);
    check(
        "certificate_id",
        "certificate",
        "SELECT 1 FROM certificates WHERE id = ?1",
        certificate,
    )?;
    for server in &f.server_ids {
        check(
            "server_ids",
            "server",
            "SELECT 1 FROM servers WHERE id = ?1",
            Some(server.get()),
        )?;
    }
    Ok(out)
}

fn on_unique_violation(f: &Fields) -> impl FnOnce(rusqlite::Error) -> Error {
    db::on_unique_violation(
        "domain",
        format!("{} is there already. Change that one.", f.domain.unicode()),
    )
}

pub fn insert(conn: &Conn, f: &Fields, at: Ms) -> Result<Id<id::Domain>> {
    conn.execute(
        "INSERT INTO domains (domain, upstream_id, group_id, ssl, hsts, certificate_id, ns_policy, preflight, notes,
           created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)",
        params![
            f.domain.ascii(),
            f.upstream_id.map(Id::get),
            f.group_id.map(Id::get),
            f.ssl,
            f.hsts,
            f.certificate_id.map(Id::get),
            f.ns_policy,
            f.preflight.name(),
            f.notes,
            at
        ],
    )
    .map_err(on_unique_violation(f))?;
    Ok(Id::new(conn.last_insert_rowid()))
}

pub fn update(conn: &Conn, id: Id<id::Domain>, f: &Fields, at: Ms) -> Result<()> {
    conn.execute(
        "UPDATE domains SET domain = ?2, upstream_id = ?3, group_id = ?4, ssl = ?5, hsts = ?6, certificate_id = ?7,
           ns_policy = ?8, preflight = ?9, notes = ?10, updated_at = ?11, revision = revision + 1 WHERE id = ?1",
        params![
            id.get(),
            f.domain.ascii(),
            f.upstream_id.map(Id::get),
            f.group_id.map(Id::get),
            f.ssl,
            f.hsts,
            f.certificate_id.map(Id::get),
            f.ns_policy,
            f.preflight.name(),
            f.notes,
            at
        ],
    )
    .map_err(on_unique_violation(f))?;
    Ok(())
}

pub fn set_removing(conn: &Conn, id: Id<id::Domain>, at: Ms) -> Result<()> {
    conn.execute(
        "UPDATE domains SET removing = 1, updated_at = ?2, revision = revision + 1 WHERE id = ?1",
        params![id.get(), at],
    )?;
    Ok(())
}

pub fn remove(conn: &Conn, id: Id<id::Domain>) -> Result<()> {
    conn.execute("DELETE FROM domains WHERE id = ?1", [id.get()])?;
    Ok(())
}

pub fn set_ns_status(conn: &Conn, id: Id<id::Domain>, state: &str, say: &str, at: Ms) -> Result<()> {
    conn.prepare_cached(
        "UPDATE domains SET ns_since = CASE WHEN ns_state = ?2 THEN coalesce(ns_since, ns_at, ?4) ELSE ?4 END,
           ns_state = ?2, ns_say = ?3, ns_at = ?4 WHERE id = ?1",
    )?
    .execute(params![id.get(), state, say, at])?;
    Ok(())
}

pub fn set_cert_status(conn: &Conn, id: Id<id::Domain>, status: &CertStatus, at: Ms) -> Result<()> {
    conn.prepare_cached(
        "UPDATE domains SET cert_since = coalesce(?5, CASE WHEN cert_state = ?2 THEN cert_since END, ?6),
           cert_state = ?2, cert_say = ?3, cert_not_after = ?4 WHERE id = ?1",
    )?
    .execute(params![
        id.get(),
        status.state,
        status.say,
        status.not_after,
        status.since,
        at
    ])?;
    Ok(())
}

pub fn set_answers(conn: &Conn, id: Id<id::Domain>, state: &str, say: &[String], since: Option<Ms>) -> Result<()> {
    let say = serde_json::to_string(say).map_err(Error::internal)?;
    conn.prepare_cached("UPDATE domains SET answer_state = ?2, answer_say = ?3, answer_since = ?4 WHERE id = ?1")?
        .execute(params![id.get(), state, say, since])?;
    Ok(())
}
