//! Settings: when backups are made, where, for whom, and for how long they are kept.

use crate::backup::age::Recipient;
use crate::base::clock::{HOUR, Ms};
use crate::base::config::{Config, SYSTEM_DATA_DIR};
use crate::base::error::{Error, Kind, Result};
use crate::base::text::one_line;
use crate::db::Conn;
use crate::schedule::cron::Cron;
use crate::settings::Setting;
use std::path::{Path, PathBuf};

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[
    AT,
    FOLDER,
    KEEP,
    RECIPIENT,
    PASSPHRASE_FILE,
    REHEARSE_DAYS,
    AGE_MAX_HOURS,
];

/// `backups.at`: a cron expression, or `never`.
const AT: Setting = Setting::of_text("backups.at", 100, "30 3 * * *", |text| match text {
    "never" => Ok(text.into()),
    _ => Cron::parse(text).map(|_| text.to_string()),
});

/// `backups.folder`
const FOLDER: Setting = Setting::of_text("backups.folder", 300, "", absolute);

/// `backups.keep`
pub const KEEP: Setting = Setting::of_number("backups.keep", (1, 1_000), 7, "");

/// `backups.recipient`
const RECIPIENT: Setting = Setting::of_text("backups.recipient", 100, "", |text| match text {
    "" => Ok(String::new()),
    key => Recipient::parse(key).map(|_| key.to_string()).map_err(|e| e.say),
});

/// `backups.passphrase_file`
const PASSPHRASE_FILE: Setting = Setting::of_text("backups.passphrase_file", 300, "", absolute);

/// `backups.rehearse_days`; 0: never.
pub const REHEARSE_DAYS: Setting = Setting::of_number("backups.rehearse_days", (0, 365), 7, "d");

/// `backups.age_max_hours`; 0: any age.
const AGE_MAX_HOURS: Setting = Setting::of_number("backups.age_max_hours", (0, 8_760), 48, "h");

fn absolute(text: &str) -> std::result::Result<String, String> {
    match text.is_empty() || Path::new(text).is_absolute() && !text.split('/').any(|part| part == "..") {
        true => Ok(text.into()),
        false => Err(format!("“{}” is not a path like /srv/backups.", one_line(text, 60))),
    }
}

/// When backups are made; `None`: never.
pub fn cron(conn: &Conn) -> Result<Option<Cron>> {
    Ok(Cron::parse(&AT.text(conn)?).ok())
}

/// The age that a backup may have; `None`: any.
pub fn age_max(conn: &Conn) -> Result<Option<Ms>> {
    let hours = AGE_MAX_HOURS.number(conn)?;
    Ok((hours > 0).then_some(hours * HOUR))
}

/// Where the Debian package's backups go: purging it does not remove them.
const SYSTEM_FOLDER: &str = "/var/backups/lamplighter";

/// Where backups go: the setting, else the package's folder, else one in the data folder.
pub fn folder(conn: &Conn, config: &Config) -> Result<PathBuf> {
    let set = FOLDER.text(conn)?;
    let is_system = || config.data_dir == Path::new(SYSTEM_DATA_DIR) && Path::new(SYSTEM_FOLDER).is_dir();
    Ok(match set.as_str() {
        "" if is_system() => SYSTEM_FOLDER.into(),
        "" => config.data_dir.join("backups"),
        set => set.into(),
    })
}

/// For whom backups are encrypted. Error: two are set.
pub fn recipient(conn: &Conn) -> Result<Option<Recipient>> {
    let (key, path) = (RECIPIENT.text(conn)?, PASSPHRASE_FILE.text(conn)?);
    match (key.as_str(), path.as_str()) {
        ("", "") => Ok(None),
        (key, "") => Recipient::parse(key).map(Some),
        ("", path) => super::passphrase(Path::new(path)).map(Recipient::Passphrase).map(Some),
        _ => {
            let say = "Backups are encrypted for a public key or for a passphrase, not for both.";
            Err(Error::new(Kind::Conflict, "backup_two_recipients", say))
        }
    }
}

/// The passphrase file that is set.
pub fn passphrase_file(conn: &Conn) -> Result<Option<PathBuf>> {
    Ok(Some(PASSPHRASE_FILE.text(conn)?)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from))
}
