//! `key-rotate` and `key-reseal`: replace the master key, and the key that seals the secrets.

use super::run::{LOCKS, lock};
use crate::access::Allowed;
use crate::access::right::{Controller, Edit};
use crate::audit;
use crate::base::error::{Error, Kind, Result};
use crate::base::file;
use crate::cli::{Command, Invocation};
use crate::db::schema;
use crate::vault::{self, Sealed, Vault};
use serde_json::json;
use std::os::unix::fs::{MetadataExt, chown};

const LOCK: &str = "key.lock";

/// See [`Command`].
pub const COMMANDS: &[Command] = &[
    Command {
        name: "key-rotate",
        help: "Replace the master key by a new one; the daemon may run. Also written: key rotate.",
        flags: &[],
        run: rotate,
    },
    Command {
        name: "key-reseal",
        help: "Seal all secrets by a new key; the daemon must not run. Also written: key reseal.",
        flags: &[],
        run: reseal,
    },
];

fn rotate(asked: &Invocation) -> Result<u8> {
    // As root, who alone may replace the package's key file.
    let config = asked.begin_as_is()?;
    if config.master_key.is_some() {
        let say = "The master key comes from the environment, where nothing can be replaced. Put it into a file first.";
        return Err(Error::new(Kind::Config, "master_key", say));
    }
    let path = &config.master_key_file;
    let service = std::fs::metadata(&config.data_dir)?;
    let old = vault::read_master_key_of(path, Some(service.gid()))?;
    let _alone = lock(&config.data_dir, LOCK)?;
    chown(config.data_dir.join(LOCK), Some(service.uid()), Some(service.gid()))?; // root leaves nothing of its own there
    let db = schema::STATE_DB.open(&config.data_dir)?;
    let vault = Vault::open(&db, &old)?;
    let digits = vault::new_master_key();
    let new = vault::parse_digits(&digits)?;
    db.write(|tx| vault::begin_rotation(tx, &old, &new))?;
    let line = format!("{}\n", digits.reveal_text_for("the key file"));
    file::replace(path, line.as_bytes()).map_err(|e| {
        let say = format!("{} cannot be replaced: {e}. The old key stays.", path.display());
        Error::new(Kind::Config, "master_key", say)
    })?;
    db.write(|tx| {
        vault::end_rotation(tx)?;
        let by = Allowed::<Edit, Controller>::by_cli();
        audit::append(tx, &vault, by, "key.rotate", "master key", &json!({}))
    })?;
    asked.done(&format!(
        "A new master key lies in {}. Keep a copy elsewhere. Backups made before need the old key.",
        path.display()
    ))
}

fn reseal(asked: &Invocation) -> Result<u8> {
    let app = asked.open()?;
    // A daemon would go on sealing by the old key.
    let _alone = [
        lock(&app.config.data_dir, LOCKS[0])?,
        lock(&app.config.data_dir, LOCKS[1])?,
    ];
    let master = vault::master_key(&app.config)?;
    app.db.write(|tx| vault::begin_reseal(tx, &master))?;
    let vault = Vault::open(&app.db, &master)?;
    let columns = app.registry.all::<Sealed>();
    let mut values = 0;
    for column in columns {
        values += vault.reseal_all(&app.db, column)?;
    }
    app.db.write(|tx| {
        vault::end_reseal(tx, &vault, columns)?;
        let by = Allowed::<Edit, Controller>::by_cli();
        audit::append(tx, &vault, by, "key.reseal", "secrets", &json!({ "values": values }))
    })?;
    app.db.rebuild()?;
    asked.done(&format!(
        "{values} secrets are sealed by a new key; the old one is removed."
    ))
}
