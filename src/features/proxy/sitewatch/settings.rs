//! Settings: interval of site checks.

use crate::settings::Setting;

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[SITEWATCH_INTERVAL_S];

/// `sitewatch.interval_s`
pub const SITEWATCH_INTERVAL_S: Setting = Setting::of_number("sitewatch.interval_s", (0, 3600), 60, "s");
