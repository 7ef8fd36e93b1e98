//! How often name servers are checked.

use crate::settings::Setting;

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[NSWATCH_INTERVAL_MIN];

/// `nswatch.interval_min`
pub const NSWATCH_INTERVAL_MIN: Setting = Setting::of_number("nswatch.interval_min", (1, 1440), 15, "min");
