//! Settings: when a server counts as down, and how Glances is installed.

use crate::settings::{Setting, check};

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[POLL_FAIL_THRESHOLD, GLANCES_ALLOW, GLANCES_BIND, GLANCES_BUNDLE];

/// `poll.fail_threshold`
pub const POLL_FAIL_THRESHOLD: Setting = Setting::of_number("poll.fail_threshold", (1, 20), 3, "");

/// `glances.allow`
pub const GLANCES_ALLOW: Setting = Setting::of_text("glances.allow", 1_000, "", check::guests);

/// `glances.bind`
pub const GLANCES_BIND: Setting = Setting::of_text("glances.bind", 4, "", check::bind);

/// `glances.bundle`
pub const GLANCES_BUNDLE: Setting = Setting::of_text(
    "glances.bundle",
    300, // room for a long path
    "",
    check::tar_path,
);
