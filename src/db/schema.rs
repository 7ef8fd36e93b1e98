//! The migrations of both files, in order. A released step is never edited; changes are new steps.

use super::migrate::{self, Step};
use super::{Db, Durability};
use crate::base::config::STATE_FILE;
use crate::base::error::Result;
use std::path::Path;

/// A database of the data folder.
pub struct Database {
    /// The file's name.
    pub name: &'static str,
    /// How much a commit is worth.
    pub durability: Durability,
    /// Its migrations, in order.
    pub steps: &'static [Step],
}

impl Database {
    /// Opens it in this folder, making it and bringing its schema up to date.
    pub fn open(&self, folder: &Path) -> Result<Db> {
        Db::open(&folder.join(self.name), self.durability, self.steps)
    }
}

/// What people have said and done; every commit is on the disk.
pub const STATE_DB: Database = Database {
    name: STATE_FILE,
    durability: Durability::Full,
    steps: STATE,
};

/// What was measured.
pub const METRICS_DB: Database = Database {
    name: "metrics.db",
    durability: Durability::Normal,
    steps: METRICS,
};

/// What was said.
pub const JOURNAL_DB: Database = Database {
    name: "journal.db",
    durability: Durability::Normal,
    steps: JOURNAL,
};

/// The databases that are backed up and restored.
pub const DATABASES: [&Database; 2] = [&STATE_DB, &METRICS_DB];

/// All databases of the data folder: what must be private. The journal is not backed up: it may be larger than all others
/// together, and a restore drops it.
pub const ALL: [&Database; 3] = [&STATE_DB, &METRICS_DB, &JOURNAL_DB];

/// Opens all databases of this folder, in the order of [`ALL`], making them and bringing their schemas up to date. Errors:
/// as [`Db::open`]; a newer one, or no room, before any is changed.
pub fn open_all(folder: &Path) -> Result<[Db; 3]> {
    let attach = |of: &Database| -> Result<(Db, u64)> {
        let db = Db::attach(&folder.join(of.name), of.durability)?;
        let needed = db.needs(of.steps)?;
        Ok((db, needed))
    };
    let [state, metrics, journal] = ALL.map(attach);
    let ((state, a), (metrics, b), (journal, c)) = (state?, metrics?, journal?);
    migrate::check_room(folder, a + b + c)?;
    let all = [state, metrics, journal];
    for (db, of) in all.iter().zip(ALL) {
        db.upgrade(of.steps)?;
    }
    Ok(all)
}

macro_rules! steps {
    ($($file:literal),* $(,)?) => { &[$(Step { name: $file, sql: include_str!(concat!("../../sql/", $file)) }),*] };
}

/// Steps of `lamplighter.db`.
pub const STATE: &[Step] = steps![
    "0001_core.sql",
    "0002_users.sql",
    "0003_servers.sql",
    "0004_alerts.sql",
    "0005_upstreams.sql",
    "0006_groups.sql",
    "0007_certificates.sql",
    "0008_domains.sql",
    "0009_nswatch.sql",
    "0010_certwatch.sql",
    "0011_notifications.sql",
    "0012_exporter.sql",
    "0013_rules.sql",
    "0014_silences.sql",
    "0015_engine.sql",
    "0016_resolvers.sql",
    "0017_chain.sql",
    "0018_recipients.sql",
    "0019_pulses.sql",
    "0020_stands.sql",
    "0021_state.sql",
    "0022_guests.sql",
    "0023_sign_ins.sql",
    "0024_audit.sql",
    "0025_webhook_headers.sql",
    "0026_told.sql",
    "0027_sitewatch.sql",
    "0028_addresses.sql",
    "0029_since.sql",
    "0030_rule_subjects.sql",
    "0031_zones.sql",
    "0032_task_queue.sql",
    "0033_schedules.sql",
    "0034_names.sql",
    "0035_api_tokens.sql",
    "0036_people.sql",
    "0037_audit_rows.sql",
    "0038_silence_targets.sql",
    "0040_keyring.sql",
    "0041_backups.sql",
    "0042_schema_versions.sql",
    "0043_packages.sql",
    "0045_hosts.sql",
    "0046_host_groups.sql",
    "0050_secrets.sql",
    "0051_containers.sql",
    "0052_forward.sql",
    "0055_container_rules.sql",
    "0058_secret_use.sql",
    "0059_leases.sql",
    "0063_scopes.sql",
    "0064_host_facts.sql",
    "0067_actions.sql",
    "0068_admin.sql",
    "0069_projects.sql",
    "0070_user_projects.sql",
    "0071_left_out.sql",
    "0072_services.sql",
    "0073_service_nodes.sql",
    "0074_availability.sql",
    "0075_service_units.sql",
];

/// Steps of `metrics.db`.
pub const METRICS: &[Step] = steps![
    "metrics/0001_series.sql",
    "metrics/0002_notes.sql",
    "metrics/0003_subjects.sql",
    "metrics/0004_schema_versions.sql",
    "metrics/0005_containers.sql",
    "metrics/0006_services.sql",
];

/// Steps of `journal.db`.
pub const JOURNAL: &[Step] = steps!["journal/0001_lines.sql", "journal/0002_readers.sql"];
