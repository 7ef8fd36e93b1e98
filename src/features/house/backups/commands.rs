//! `backup`, `verify-backup` and `restore`: for whoever has the data folder.

use crate::access::Allowed;
use crate::access::right::{Controller, Edit};
use crate::audit::{self, Broken};
use crate::backup::age::Recipient;
use crate::backup::{self, Manifest, Unpacked};
use crate::base::clock::rfc3339;
use crate::base::error::{Error, Kind, Result};
use crate::base::file;
use crate::base::process::Cancel;
use crate::base::secret::Secret;
use crate::cli::{Command, Flag, Invocation, print, usage};
use serde_json::json;
use std::fs::File;
use std::io::Read;
use std::path::Path;

const FILE: Flag = Flag {
    name: "file",
    value: "FILE",
    help: "The backup; - is standard input.",
};
const PASSPHRASE: Flag = Flag {
    name: "passphrase-file",
    value: "FILE",
    help: "The passphrase of the backup stands in this file (0600).",
};

/// See [`Command`].
pub const COMMANDS: &[Command] = &[
    Command {
        name: "backup",
        help: "Write all databases to one file, while the daemon runs; the master key stays outside.",
        flags: &[
            Flag {
                name: "out",
                value: "FILE",
                help: "Write it there (0600, never over an existing file).",
            },
            Flag {
                name: "recipient",
                value: "AGE1…",
                help: "Encrypt it to this public key; it is opened by: age --decrypt --identity KEYFILE",
            },
            PASSPHRASE,
            Flag {
                name: "with-key",
                value: "",
                help: "Put the master key inside: whoever has the file has all secrets.",
            },
        ],
        run: make,
    },
    Command {
        name: "verify-backup",
        help: "Unpack a backup into a temporary folder and check all of it, without changing anything.",
        flags: &[FILE, PASSPHRASE],
        run: verify,
    },
    Command {
        name: "restore",
        help: "Put a backup back into an empty data folder.",
        flags: &[FILE, PASSPHRASE],
        run: restore,
    },
];

/// The passphrase of `--passphrase-file`.
fn passphrase(asked: &Invocation) -> Result<Option<Secret>> {
    asked
        .flag(PASSPHRASE.name)
        .map(|path| super::passphrase(Path::new(path)))
        .transpose()
}

fn make(asked: &Invocation) -> Result<u8> {
    let out = asked.flag("out").ok_or_else(|| usage("Say where to: --out FILE."))?;
    let recipient = match (asked.flag("recipient"), passphrase(asked)?) {
        (Some(_), Some(_)) => return Err(usage("Give --recipient or --passphrase-file, not both.")),
        (Some(key), None) => Some(Recipient::parse(key)?),
        (None, Some(passphrase)) => Some(Recipient::Passphrase(passphrase)),
        (None, None) => None,
    };
    let with_key = asked.flag("with-key").is_some();
    let app = asked.open()?;
    let by = Allowed::<Edit, Controller>::by_cli();
    // Before the copy, so that the backup itself says it was made.
    app.db.write(|tx| {
        let detail = json!({ "file": out, "encrypted": recipient.is_some(), "with_key": with_key });
        audit::append(tx, &app.vault, by, "backup.make", "backup", &detail)
    })?;
    let manifest = backup::make(&app, Path::new(out), recipient.as_ref(), with_key, &Cancel::new())?;
    told(asked, &manifest, &format!("{out} is written and on the disk."))
}

fn told(asked: &Invocation, manifest: &Manifest, say: &str) -> Result<u8> {
    if asked.json() {
        print(&serde_json::to_string(manifest).map_err(|e| Error::internal(e.to_string()))?);
        return Ok(0);
    }
    let files = manifest
        .files
        .iter()
        .map(|part| format!("{} ({} bytes)", part.name, part.size));
    let files: Vec<_> = files.collect();
    print(&format!(
        "{say} Made {} by Lamplighter {}: {}.",
        rfc3339(manifest.made_at),
        manifest.version,
        files.join(", ")
    ));
    Ok(0)
}

fn unpack(asked: &Invocation, folder: &Path) -> Result<Unpacked> {
    let path = asked.flag(FILE.name).ok_or_else(|| usage("Say which: --file FILE."))?;
    let from: Box<dyn Read> = match path {
        "-" => Box::new(std::io::stdin().lock()),
        path => Box::new(
            File::open(path)
                .map_err(|e| Error::new(Kind::NotFound, "backup_file", format!("{path} cannot be read: {e}.")))?,
        ),
    };
    backup::unpack(from, passphrase(asked)?.as_ref(), folder)
}

fn verify(asked: &Invocation) -> Result<u8> {
    asked.begin()?;
    let unpacked = unpack(asked, &std::env::temp_dir())?;
    told(asked, &unpacked.manifest, "The backup is whole.")
}

fn restore(asked: &Invocation) -> Result<u8> {
    let config = asked.begin()?;
    file::private_dir(&config.data_dir)?;
    let manifest = unpack(asked, &config.data_dir)?.put_in_place(&config)?;
    let app = asked.open_with(config)?;
    let by = Allowed::<Edit, Controller>::by_cli();
    // The file that holds the audit's end was not in the backup: what is there now is all.
    audit::accept(&app.db, &app.vault, by.into(), &Broken::HeadMissing)?;
    app.db.write(|tx| {
        let detail = json!({ "made_at": rfc3339(manifest.made_at), "audit_head": manifest.audit_head });
        audit::append(tx, &app.vault, by, "backup.restore", "backup", &detail)
    })?;
    told(asked, &manifest, "The backup is in its place.")
}
