//! SQL of site checks.

use super::evaluate::{Code, Known, State};
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::db::Conn;
use crate::features::proxy::domains;
use crate::features::proxy::domains::EDITED;
use crate::provision::site::{Inside, Proof};
use rusqlite::{OptionalExtension, params};

/// A site to check.
#[derive(Debug, Clone)]
pub struct Site {
    /// The domain.
    pub domain: Id<id::Domain>,
    /// The server.
    pub server: Id<id::Server>,
    /// A-labels: the name of its file there.
    pub name: String,
    /// Generation of its text.
    pub generation: i64,
    /// Addresses: the server's public ones, then that by which it is reached.
    pub addresses: Vec<String>,
    /// Is it on port 443?
    pub tls: bool,
    /// Its proof; `None`: a text adopted from others.
    pub proof: Option<Proof>,
}

// Sites to be removed, or without a text of ours, are not checked.
const WATCHED: &str = "d.removing = 0 AND x.wanted = 1 AND x.name <> '' AND x.text <> ''";
const FROM: &str = "domain_sites x JOIN domains d ON d.id = x.domain_id JOIN main.servers s ON s.id = x.server_id";

/// Sites to check, of one domain or of all; those of one server are adjacent.
pub fn sites(conn: &Conn, domain: Option<Id<id::Domain>>) -> Result<Vec<Site>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT x.domain_id, x.server_id, x.name, x.generation, s.public_ips, s.host, x.text,
           x.state = 'live' OR x.state = 'drifted' AND coalesce(x.code, '') <> ?2
             OR x.state = 'failed' AND x.stands IN ('untouched', 'back')
         FROM {FROM} WHERE {WATCHED} AND (?1 = 0 OR d.id = ?1) ORDER BY x.server_id, x.domain_id"
    ))?;
    let rows = statement.query_map(params![domain.map_or(0, Id::get), EDITED], |r| {
        let mut addresses: Vec<String> = serde_json::from_str(r.get_ref(4)?.as_str()?).unwrap_or_default();
        addresses.truncate(2);
        addresses.push(r.get(5)?);
        let text = r.get_ref(6)?.as_str()?;
        let is_as_text: bool = r.get(7)?;
        Ok(Site {
            domain: Id::new(r.get(0)?),
            server: Id::new(r.get(1)?),
            name: r.get(2)?,
            generation: r.get(3)?,
            addresses,
            tls: text.contains("ssl_certificate"),
            proof: if is_as_text { domains::proof_in(text) } else { None },
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Changes when the list of sites changes.
pub fn fingerprint(conn: &Conn) -> Result<[i64; 4]> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT count(*), coalesce(sum(x.domain_id + x.server_id), 0), coalesce(sum(x.generation * 16 + x.adopted * 8
           + instr('live drifted failed', x.state)), 0) + coalesce(sum(x.deployed_at), 0), coalesce(sum(s.revision), 0)
         FROM {FROM} WHERE {WATCHED}"
    ))?;
    Ok(statement.query_row([], |r| Ok([r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?]))?)
}

/// Known state of a checked site.
#[derive(Debug, Clone)]
pub struct Placement {
    /// The server.
    pub server: Id<id::Server>,
    /// Name of the server.
    pub server_name: String,
    /// Generation of the text there.
    pub generation: i64,
    /// Time of the last check; `None`: never.
    pub looked_at: Option<Ms>,
    /// Evidence of the last check.
    pub say: String,
    /// Result on the server itself.
    pub inside_say: String,
    /// Evaluated state.
    pub known: Known,
}

/// All checked sites of a domain.
pub fn placements(conn: &Conn, domain: Id<id::Domain>) -> Result<Vec<Placement>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT x.server_id, s.name, x.generation, w.looked_at, coalesce(w.code, ''), coalesce(w.say, ''),
           coalesce(w.misses, 0), w.since, coalesce(w.state, 'unknown'), x.inside, x.inside_say, x.inside_at,
           s.status = 'ok' AND s.fail_count > 0
         FROM {FROM} LEFT JOIN sitewatch_probes w ON w.domain_id = x.domain_id AND w.server_id = x.server_id
         WHERE {WATCHED} AND d.id = ?1 ORDER BY x.position, x.server_id"
    ))?;
    let rows = statement.query_map([domain.get()], |r| {
        let inside = Inside::parse(r.get_ref(9)?.as_str()?);
        Ok(Placement {
            server: Id::new(r.get(0)?),
            server_name: r.get(1)?,
            generation: r.get(2)?,
            looked_at: r.get(3)?,
            say: r.get(5)?,
            inside_say: r.get(10)?,
            known: Known {
                code: Code::parse(r.get_ref(4)?.as_str()?),
                misses: r.get(6)?,
                since: r.get(7)?,
                state: State::parse(r.get_ref(8)?.as_str()?),
                inside: inside.zip(r.get::<_, Option<Ms>>(11)?),
                wavers: r.get(12)?,
            },
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Stores a result.
pub fn put(conn: &Conn, domain: Id<id::Domain>, placement: &Placement) -> Result<()> {
    let known = &placement.known;
    conn.prepare_cached(
        "INSERT OR REPLACE INTO sitewatch_probes (domain_id, server_id, looked_at, code, say, misses, since, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        domain.get(),
        placement.server.get(),
        placement.looked_at,
        known.code.name(),
        placement.say,
        known.misses,
        known.since,
        known.state.name()
    ])?;
    Ok(())
}

/// A domain's last reported state.
#[derive(Debug, Clone)]
pub struct Summary {
    /// A-labels.
    pub domain: String,
    /// Its state.
    pub state: State,
    /// Sentences.
    pub say: Vec<String>,
    /// Beginning of the problem.
    pub since: Option<Ms>,
}

/// The [`Summary`]; `None` if the domain does not exist.
pub fn summary(conn: &Conn, domain: Id<id::Domain>) -> Result<Option<Summary>> {
    let mut statement =
        conn.prepare_cached("SELECT domain, answer_state, answer_say, answer_since FROM domains WHERE id = ?1")?;
    let row = statement.query_row([domain.get()], |r| {
        Ok(Summary {
            domain: r.get(0)?,
            state: State::parse(r.get_ref(1)?.as_str()?),
            say: serde_json::from_str(r.get_ref(2)?.as_str()?).unwrap_or_default(),
            since: r.get(3)?,
        })
    });
    Ok(row.optional()?)
}

/// Domains with results that are no longer checked; all if checks are disabled.
pub fn unwatched(conn: &Conn, is_off: bool) -> Result<Vec<Id<id::Domain>>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT o.id FROM domains o WHERE o.answer_state <> 'unknown' AND (?1 OR NOT EXISTS
           (SELECT 1 FROM {FROM} WHERE d.id = o.id AND {WATCHED}))"
    ))?;
    let rows = statement.query_map([is_off], |r| r.get(0).map(Id::new))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Removes results of sites that are no longer checked. Returns their domains.
pub fn sweep(conn: &Conn, is_off: bool) -> Result<Vec<Id<id::Domain>>> {
    let mut statement = conn.prepare_cached(&format!(
        "DELETE FROM sitewatch_probes WHERE ?1 OR NOT EXISTS (SELECT 1 FROM {FROM}
           WHERE x.domain_id = sitewatch_probes.domain_id AND x.server_id = sitewatch_probes.server_id AND {WATCHED})
         RETURNING domain_id"
    ))?;
    let rows = statement.query_map([is_off], |r| r.get(0).map(Id::new))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
