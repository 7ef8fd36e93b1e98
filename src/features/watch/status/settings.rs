//! Settings: is there a public page, and what it is called.

use crate::settings::Setting;

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[ENABLED, TITLE];

/// `status.enabled`
pub const ENABLED: Setting = Setting::of_number("status.enabled", (0, 1), 0, "");

/// `status.title`; empty: “Status”.
pub const TITLE: Setting = Setting::of_text("status.title", 100, "", |text| match text.contains(char::is_control) {
    true => Err("A title is one line.".into()),
    false => Ok(text.trim().into()),
});
