//! Settings: when an alert counts as flapping.

use crate::settings::Setting;

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[ALERTS_FLAP_COUNT, ALERTS_FLAP_WINDOW_MIN, ALERTS_CALM_MIN];

/// `alerts.flap_count`
pub const ALERTS_FLAP_COUNT: Setting = Setting::of_number("alerts.flap_count", (2, 100), 4, "");

/// `alerts.flap_window_min`
pub const ALERTS_FLAP_WINDOW_MIN: Setting = Setting::of_number("alerts.flap_window_min", (1, 1440), 30, "min");

/// `alerts.calm_min`
pub const ALERTS_CALM_MIN: Setting = Setting::of_number("alerts.calm_min", (1, 1440), 15, "min");
