//! Who may read figures, and how long they wait for the remote store.

use crate::settings::Setting;

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[EXPORTER_LOCAL, PUSH_BUFFER_HOURS];

/// `exporter.local`
pub const EXPORTER_LOCAL: Setting = Setting::of_number("exporter.local", (0, 2), 1, "");

/// `push.buffer_hours`
pub const PUSH_BUFFER_HOURS: Setting = Setting::of_number("push.buffer_hours", (1, 72), 6, "h");
