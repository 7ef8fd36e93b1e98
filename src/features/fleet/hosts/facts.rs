//! Snapshots of what checks have found on a host, and what differs between two of them.

use std::collections::{BTreeMap, BTreeSet};

/// Facts by name.
pub type Facts = BTreeMap<String, String>;

/// What is another at every check and says nothing about the host.
const RESTLESS: [&str; 5] = ["uptime_s", "clock_skew_ms", "epoch_ms", "load", "sudo_problem"];
/// How the check names disks: type, size and use in KiB, mount point.
const DISK: &str = "disk_";

/// What of a check's facts belongs to a snapshot: not what never rests, and of disks not how full they are.
pub fn snapshot(found: Facts) -> Facts {
    let of_disk = |value: &str| {
        let mut parts = value.splitn(4, ' ');
        let (kind, size, mount) = (parts.next()?, parts.next()?, parts.nth(1)?);
        Some((format!("disk {mount}"), format!("{kind} {size} KiB")))
    };
    let kept = found.into_iter().filter(|(name, _)| !RESTLESS.contains(&name.as_str()));
    kept.filter_map(|(name, value)| match name.starts_with(DISK) {
        true => of_disk(&value),
        false => Some((name, value)),
    })
    .collect()
}

/// A fact that came, went or is another.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub fact: String,
    /// What it was; `None`: it came.
    pub before: Option<String>,
    /// What it is; `None`: it went.
    pub after: Option<String>,
}

impl Change {
    /// For events: `kernel: 6.1.0-9 → 6.1.0-10`.
    pub fn sentence(&self) -> String {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "–".into());
        format!("{}: {} → {}", self.fact, shown(&self.before), shown(&self.after))
    }
}

/// What has changed, by name.
pub fn changes(before: &Facts, after: &Facts) -> Vec<Change> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differs = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    differs
        .map(|name| Change {
            fact: name.clone(),
            before: before.get(name).cloned(),
            after: after.get(name).cloned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(all: &[(&str, &str)]) -> Facts {
        all.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    #[test]
    fn a_snapshot_has_what_rests() {
        let found = facts(&[
            ("kernel", "6.1"),
            ("uptime_s", "77"),
            ("disk_1", "ext4 1000 400 /"),
            ("disk_2", "xfs 9 1 /srv/my data"),
            ("disk_3", "odd"),
        ]);
        let kept = facts(&[
            ("kernel", "6.1"),
            ("disk /", "ext4 1000 KiB"),
            ("disk /srv/my data", "xfs 9 KiB"),
        ]);
        assert_eq!(snapshot(found), kept);
    }

    #[test]
    fn what_came_went_and_is_another_is_told() {
        let (before, after) = (
            facts(&[("a", "1"), ("b", "2"), ("c", "3")]),
            facts(&[("a", "1"), ("b", "4"), ("d", "5")]),
        );
        let told: Vec<String> = changes(&before, &after).iter().map(Change::sentence).collect();
        assert_eq!(told, ["b: 2 → 4", "c: 3 → –", "d: – → 5"]);
        assert!(changes(&after, &after).is_empty());
    }
}
