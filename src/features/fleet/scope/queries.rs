//! SQL of what rules ask for.

use super::known::{Known, Needs};
use crate::base::error::Result;
use crate::db::Conn;
use rusqlite::Row;

fn text<'a>(r: &'a Row, column: usize) -> rusqlite::Result<&'a str> {
    Ok(r.get_ref(column)?.as_str_or_null()?.unwrap_or_default())
}

/// Passes on what a rule with these needs may ask of every server, by name, or of a single one.
pub fn each_known(conn: &Conn, needs: Needs, only: Option<i64>, mut each: impl FnMut(Known)) -> Result<()> {
    let when = |wanted: bool, column: &'static str| if wanted { column } else { "NULL" };
    let mut statement = conn.prepare_cached(&format!(
        "SELECT s.id, s.name, s.host, s.ssh_port, s.username, s.description, s.tags, s.environment, s.os_type,
           s.check_method, s.state, s.glances_api, {}, {}, {}, {} FROM servers s WHERE {} ORDER BY s.name, s.id",
        when(needs.facts, "s.facts"),
        when(
            needs.status,
            "(SELECT c.status FROM main.host_checks c WHERE c.server_id = s.id ORDER BY c.id DESC LIMIT 1)"
        ),
        when(
            needs.cert,
            "(SELECT min(d.cert_not_after) FROM main.domain_sites x JOIN main.domains d ON d.id = x.domain_id
              WHERE x.server_id = s.id)"
        ),
        when(
            needs.groups,
            "(SELECT group_concat(m.group_id) FROM main.group_members m WHERE m.server_id = s.id)"
        ),
        if only.is_some() { "s.id = ?1" } else { "?1 IS NULL" },
    ))?;
    let mut rows = statement.query([only])?;
    while let Some(r) = rows.next()? {
        each(Known {
            id: r.get(0)?,
            name: r.get(1)?,
            host: r.get(2)?,
            port: r.get(3)?,
            username: r.get(4)?,
            description: r.get(5)?,
            tags: serde_json::from_str(text(r, 6)?).unwrap_or_default(),
            environment: r.get(7)?,
            os_type: r.get(8)?,
            check_method: r.get(9)?,
            state: r.get(10)?,
            glances: r.get::<_, Option<i64>>(11)?.map(|api| api as f64),
            facts: serde_json::from_str(text(r, 12)?).unwrap_or_default(), // none before the first check
            status: r.get(13)?,
            cert_end: r.get(14)?,
            groups: text(r, 15)?
                .split(',')
                .filter(|id| !id.is_empty())
                .map(String::from)
                .collect(),
        });
    }
    Ok(())
}
