//! Migrations: numbered steps from `sql/`, embedded in the binary. `PRAGMA user_version` is the number of the last
//! step; each step and its number are one transaction, so an interrupted migration resumes. A file from a newer version
//! is refused unchanged.

use crate::base::clock;
use crate::base::error::{Error, Kind, Result};
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// One migration; its position in the list is its number (from 1).
pub struct Step {
    /// File name, for messages.
    pub name: &'static str,
    /// SQL text.
    pub sql: &'static str,
}

/// Runs all missing steps. A file that holds data is first copied (`VACUUM INTO`). Errors: newer file, failed copy,
/// failed step.
pub fn run(conn: &mut Connection, path: &Path, steps: &[Step]) -> Result<()> {
    let have: usize = version(conn)?;
    if have > steps.len() {
        return Err(Error::new(
            Kind::Config,
            "schema_newer",
            format!(
                "{} was written by a newer Lamplighter (schema {have}; this one knows {}). Install that version again or restore a backup.",
                path.display(),
                steps.len()
            ),
        ));
    }
    if have > 0 && have < steps.len() {
        let aside = path.with_extension(format!("before-{}-{}.db", steps.len(), clock::now()));
        conn.execute("VACUUM INTO ?1", [aside.to_string_lossy()])?;
    }
    for (index, step) in steps.iter().enumerate().skip(have) {
        // Foreign keys are off while a table is rebuilt: sqlite.org/lang_altertable.html, 7.
        let is_rebuilt = step.sql.contains("DROP TABLE");
        conn.pragma_update(None, "foreign_keys", !is_rebuilt)?;
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another process may have migrated between our check and our lock.
        if version(&tx)? > index {
            continue;
        }
        tx.execute_batch(step.sql)
            .map_err(|e| Error::internal(format!("migration {}: {e}", step.name)))?;
        if is_rebuilt && tx.prepare("PRAGMA foreign_key_check")?.exists([])? {
            return Err(Error::internal(format!(
                "migration {}: rows hang on nothing",
                step.name
            )));
        }
        tx.pragma_update(None, "user_version", index as i64 + 1)?;
        tx.commit()?;
    }
    conn.pragma_update(None, "foreign_keys", true)?;
    Ok(())
}

fn version(conn: &Connection) -> Result<usize> {
    let n: i64 = conn.query_row("PRAGMA user_version", [], |r| r.get(0))?;
    usize::try_from(n).map_err(|_| Error::new(Kind::Config, "schema_odd", "This is not a Lamplighter database."))
}

/// The schema as text, sorted by name: the content of the golden file `sql/schema.sql`.
pub fn dump(conn: &Connection) -> Result<String> {
    let mut statement = conn.prepare(
        "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY tbl_name, type DESC, name",
    )?;
    let rows = statement.query_map([], |r| r.get::<_, String>(0))?;
    let mut out = String::new();
    for sql in rows {
        out.push_str(&sql?);
        out.push_str(";\n\n");
    }
    Ok(out)
}
