//! How often served certificates are checked.

use crate::settings::Setting;

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[CERTWATCH_INTERVAL_MIN];

/// `certwatch.interval_min`
pub const CERTWATCH_INTERVAL_MIN: Setting = Setting::of_number("certwatch.interval_min", (1, 1440), 60, "min");
