//! Settings: which private networks plugins may be asked in, and where their files are.

use crate::settings::{Setting, check};

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[NETWORKS, FOLDER];

/// `plugins.networks`
pub const NETWORKS: Setting = Setting::of_text(
    "plugins.networks",
    300, // eight IPv6 blocks
    "",
    check::networks,
);

/// `plugins.folder`
pub const FOLDER: Setting = Setting::of_text("plugins.folder", 300, "/etc/lamplighter/plugins", |text| {
    match text.starts_with('/') && !text.split('/').any(|part| part == "..") {
        true => Ok(text.trim_end_matches('/').into()),
        false => Err("A path like /etc/lamplighter/plugins is wanted.".into()),
    }
});
