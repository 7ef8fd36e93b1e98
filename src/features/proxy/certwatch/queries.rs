//! SQL of certificate checks.

use super::evaluate::{Seen, Shown, State};
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::db::Conn;
use rusqlite::{OptionalExtension, Row, params};

/// A site to check, with its last result.
#[derive(Debug, Clone)]
pub struct Site {
    /// The domain.
    pub domain: Id<id::Domain>,
    /// The server.
    pub server: Id<id::Server>,
    /// The server's name.
    pub server_name: String,
    /// A-labels: the name of its file there.
    pub name: String,
    /// Addresses: the server's public ones, then that by which it is reached.
    pub addresses: Vec<String>,
    /// PEM of the uploaded certificate; `None`: from an ACME server.
    pub own: Option<String>,
    /// Its SHA-256, hex.
    pub own_sha256: Option<String>,
    /// The last result.
    pub before: Option<Seen>,
}

impl Site {
    /// Does the server serve another certificate than the stored one? (A deploy is pending.)
    pub fn shows_another(&self) -> bool {
        let shown = self.before.as_ref().and_then(|seen| seen.shown.as_ref());
        match (&self.own_sha256, shown) {
            (Some(own), Some(shown)) => *own != shown.sha256,
            _ => false,
        }
    }
}

const SEEN: &str = "w.looked_at, w.code, w.say, w.misses, w.private, w.names, w.issuer, w.serial, w.key_type, w.sha256,
    w.not_before, w.not_after, w.good_until, w.ends_by";

/// Reads the columns of [`SEEN`] from index `n`; the first is NULL before the first check.
fn seen(r: &Row, n: usize) -> rusqlite::Result<Option<Seen>> {
    let Some(looked_at) = r.get(n)? else {
        return Ok(None);
    };
    let sha256: String = r.get(n + 9)?;
    let shown = match sha256.is_empty() {
        true => None,
        false => Some(Shown {
            names: serde_json::from_str(r.get_ref(n + 5)?.as_str()?).unwrap_or_default(),
            issuer: r.get(n + 6)?,
            serial: r.get(n + 7)?,
            key_type: r.get(n + 8)?,
            sha256,
            not_before: r.get::<_, Option<Ms>>(n + 10)?.unwrap_or_default(),
            not_after: r.get::<_, Option<Ms>>(n + 11)?.unwrap_or_default(),
            good_until: r.get::<_, Option<Ms>>(n + 12)?.unwrap_or_default(),
            ends_by: r.get(n + 13)?,
        }),
    };
    Ok(Some(Seen {
        looked_at,
        code: r.get(n + 1)?,
        say: r.get(n + 2)?,
        misses: r.get(n + 3)?,
        private: r.get(n + 4)?,
        shown,
    }))
}

// A site whose file has no TLS is not checked: it waits for its deploy.
const WATCHED: &str = "d.ssl = 1 AND d.removing = 0 AND x.name <> '' AND instr(x.text, 'ssl_certificate') > 0";

/// Sites to check: those of one domain in its order, or of all, longest unchecked first.
pub fn sites(conn: &Conn, domain: Option<Id<id::Domain>>) -> Result<Vec<Site>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT x.domain_id, x.server_id, s.name, x.name, s.public_ips, s.host, c.chain, c.sha256, {SEEN}
         FROM domain_sites x JOIN domains d ON d.id = x.domain_id JOIN main.servers s ON s.id = x.server_id
         LEFT JOIN certificates c ON c.id = d.certificate_id
         LEFT JOIN certwatch_served w ON w.domain_id = x.domain_id AND w.server_id = x.server_id
         WHERE {WATCHED} AND (?1 = 0 OR d.id = ?1)
         ORDER BY iif(?1 = 0, coalesce(w.looked_at, 0), 0), x.domain_id, x.position, x.server_id"
    ))?;
    let rows = statement.query_map([domain.map_or(0, Id::get)], |r| {
        let mut addresses: Vec<String> = serde_json::from_str(r.get_ref(4)?.as_str()?).unwrap_or_default();
        addresses.truncate(2);
        addresses.push(r.get(5)?);
        Ok(Site {
            domain: Id::new(r.get(0)?),
            server: Id::new(r.get(1)?),
            server_name: r.get(2)?,
            name: r.get(3)?,
            addresses,
            own: r.get(6)?,
            own_sha256: r.get(7)?,
            before: seen(r, 8)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Stores a result if the site still exists.
pub fn put(conn: &Conn, domain: Id<id::Domain>, server: Id<id::Server>, s: &Seen) -> Result<()> {
    let c = s.shown.clone().unwrap_or_default();
    let is_known = s.shown.is_some();
    conn.prepare_cached(
        "INSERT OR REPLACE INTO certwatch_served (domain_id, server_id, looked_at, code, say, misses, private, names, issuer,
           serial, key_type, sha256, not_before, not_after, good_until, ends_by)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16
         WHERE EXISTS (SELECT 1 FROM domain_sites WHERE domain_id = ?1 AND server_id = ?2 AND name <> '')",
    )?
    .execute(params![
        domain.get(),
        server.get(),
        s.looked_at,
        s.code,
        s.say,
        s.misses,
        s.private,
        serde_json::to_string(&c.names).unwrap_or_else(|_| "[]".into()),
        c.issuer,
        c.serial,
        c.key_type,
        c.sha256,
        is_known.then_some(c.not_before),
        is_known.then_some(c.not_after),
        is_known.then_some(c.good_until),
        c.ends_by,
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
    /// Its sentence.
    pub say: String,
    /// Earliest expiry, unix ms.
    pub not_after: Option<Ms>,
}

fn state(name: &str) -> State {
    [State::Ok, State::Soon, State::Urgent, State::Bad]
        .into_iter()
        .find(|s| s.name() == name)
        .unwrap_or(State::Unknown)
}

/// The [`Summary`]; `None` if the domain does not exist.
pub fn summary(conn: &Conn, domain: Id<id::Domain>) -> Result<Option<Summary>> {
    let mut statement =
        conn.prepare_cached("SELECT domain, cert_state, cert_say, cert_not_after FROM domains WHERE id = ?1")?;
    let row = statement.query_row([domain.get()], |r| {
        Ok(Summary {
            domain: r.get(0)?,
            state: state(r.get_ref(1)?.as_str()?),
            say: r.get(2)?,
            not_after: r.get(3)?,
        })
    });
    Ok(row.optional()?)
}

/// Domains that are no longer checked: without TLS, or not on any server.
pub fn unwatched(conn: &Conn) -> Result<Vec<Id<id::Domain>>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT o.id FROM domains o WHERE o.cert_state <> 'unknown' AND NOT EXISTS
           (SELECT 1 FROM domain_sites x JOIN domains d ON d.id = x.domain_id WHERE d.id = o.id AND {WATCHED})"
    ))?;
    let rows = statement.query_map([], |r| r.get(0).map(Id::new))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Removes results of sites that are no longer checked.
pub fn sweep(conn: &Conn) -> Result<usize> {
    Ok(conn
        .prepare_cached(&format!(
            "DELETE FROM certwatch_served WHERE NOT EXISTS
               (SELECT 1 FROM domain_sites x JOIN domains d ON d.id = x.domain_id
                WHERE x.domain_id = certwatch_served.domain_id AND x.server_id = certwatch_served.server_id AND {WATCHED})"
        ))?
        .execute([])?)
}

/// Is there anything to remove? (Avoids the writer.)
pub fn has_strays(conn: &Conn) -> Result<bool> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT EXISTS (SELECT 1 FROM certwatch_served w WHERE NOT EXISTS
           (SELECT 1 FROM domain_sites x JOIN domains d ON d.id = x.domain_id
            WHERE x.domain_id = w.domain_id AND x.server_id = w.server_id AND {WATCHED}))"
    ))?;
    Ok(statement.query_row([], |r| r.get(0))?)
}

/// Makes this domain due at the next run.
pub fn make_due(conn: &Conn, domain: Id<id::Domain>) -> Result<()> {
    conn.prepare_cached("UPDATE certwatch_served SET looked_at = 0 WHERE domain_id = ?1")?
        .execute([domain.get()])?;
    Ok(())
}

/// Makes failed sites on this server due.
pub fn make_due_on(conn: &Conn, server: Id<id::Server>) -> Result<()> {
    conn.prepare_cached("UPDATE certwatch_served SET looked_at = 0 WHERE server_id = ?1 AND code <> ''")?
        .execute([server.get()])?;
    Ok(())
}

/// One row of the overview.
#[derive(Debug, Clone)]
pub struct Served {
    /// The domain.
    pub domain: Id<id::Domain>,
    /// A-labels.
    pub name: String,
    /// The server.
    pub server: Id<id::Server>,
    /// The server's name.
    pub server_name: String,
    /// The result there.
    pub seen: Seen,
}

/// All served certificates valid until `until` at most, earliest expiry first, and their total. Unreadable ones come
/// first.
pub fn overview(conn: &Conn, until: Ms, limit: i64, offset: i64) -> Result<(Vec<Served>, i64)> {
    let wheres = "coalesce(w.good_until, 0) <= ?1";
    let total = conn
        .prepare_cached(&format!("SELECT count(*) FROM certwatch_served w WHERE {wheres}"))?
        .query_row([until], |r| r.get(0))?;
    let mut statement = conn.prepare_cached(&format!(
        "SELECT w.domain_id, d.domain, w.server_id, s.name, {SEEN} FROM certwatch_served w
         JOIN domains d ON d.id = w.domain_id JOIN main.servers s ON s.id = w.server_id
         WHERE {wheres} ORDER BY coalesce(w.good_until, 0), d.domain, w.server_id LIMIT ?2 OFFSET ?3"
    ))?;
    let rows = statement.query_map(params![until, limit, offset], |r| {
        Ok(Served {
            domain: Id::new(r.get(0)?),
            name: r.get(1)?,
            server: Id::new(r.get(2)?),
            server_name: r.get(3)?,
            seen: seen(r, 4)?.unwrap_or_default(),
        })
    })?;
    Ok((rows.collect::<rusqlite::Result<_>>()?, total))
}
