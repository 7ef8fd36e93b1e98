//! Settings of secrets.

use crate::settings::Setting;

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[VERSIONS_KEPT];

/// `secrets.versions_kept`: values of each secret, the one in force among them.
pub const VERSIONS_KEPT: Setting = Setting::of_number("secrets.versions_kept", (1, 100), 5, "");
