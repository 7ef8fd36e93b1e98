//! SQL of what rules ask for.

use super::known::{GROUPS, Known, Needs};
use crate::base::error::Result;
use crate::db::Conn;
use rusqlite::Row;
use std::collections::BTreeMap;

fn text<'a>(r: &'a Row, column: usize) -> rusqlite::Result<&'a str> {
    Ok(r.get_ref(column)?.as_str_or_null()?.unwrap_or_default())
}

/// Passes on what a rule with these needs asks of every server, by name, or of a single one. Other columns are not read.
pub fn each_known(conn: &Conn, needs: &Needs, only: Option<i64>, mut each: impl FnMut(Known)) -> Result<()> {
    let when = |wanted: bool, column: &'static str| if wanted { column } else { "NULL" };
    let asked = |(field, column): (&str, &'static str)| when(needs.asks(field), column);
    let mut columns = vec!["s.id", "s.name"];
    columns.extend(COLUMNS.map(asked));
    columns.push(when(needs.asks_facts(), "s.facts"));
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {} FROM servers s WHERE {} ORDER BY s.name, s.id",
        columns.join(", "),
        if only.is_some() { "s.id = ?1" } else { "?1 IS NULL" },
    ))?;
    let mut rows = statement.query([only])?;
    while let Some(r) = rows.next()? {
        let word = |column: usize| text(r, column).map(String::from);
        each(Known {
            id: r.get(0)?,
            name: r.get(1)?,
            host: word(2)?,
            port: r.get::<_, Option<u16>>(3)?.unwrap_or_default(),
            username: word(4)?,
            description: word(5)?,
            tags: match text(r, 6)? {
                "" => Vec::new(),
                tags => serde_json::from_str(tags).unwrap_or_default(),
            },
            environment: word(7)?,
            os_type: word(8)?,
            check_method: word(9)?,
            state: word(10)?,
            glances: r.get::<_, Option<i64>>(11)?.map(|api| api as f64),
            status: r.get(12)?,
            cert_end: r.get(13)?,
            groups: text(r, 14)?
                .split(',')
                .filter(|id| !id.is_empty())
                .map(String::from)
                .collect(),
            facts: match text(r, 15)? {
                "" => BTreeMap::new(),
                stored => needs.facts(stored),
            },
        });
    }
    Ok(())
}

/// Fields and where they stand.
const COLUMNS: [(&str, &str); 13] = [
    ("hostname", "s.host"),
    ("port", "s.ssh_port"),
    ("username", "s.username"),
    ("description", "s.description"),
    ("tags", "s.tags"),
    ("environment", "s.environment"),
    ("os_type", "s.os_type"),
    ("check_method", "s.check_method"),
    ("state", "s.state"),
    ("glances", "s.glances_api"),
    (
        "status",
        "(SELECT c.status FROM main.host_checks c WHERE c.server_id = s.id ORDER BY c.id DESC LIMIT 1)",
    ),
    (
        "cert_days",
        "(SELECT min(d.cert_not_after) FROM main.domain_sites x JOIN main.domains d ON d.id = x.domain_id
          WHERE x.server_id = s.id)",
    ),
    (
        GROUPS,
        "(SELECT group_concat(m.group_id) FROM main.group_members m WHERE m.server_id = s.id)",
    ),
];
