//! Settings: retention of events, and live streams per user.

use crate::settings::Setting;

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[STREAMS_PER_USER, RETENTION_EVENT_DAYS, RETENTION_EVENTS_MAX];

/// `streams.per_user`
pub const STREAMS_PER_USER: Setting = Setting::of_number("streams.per_user", (1, 256), 8, "");

/// `retention.event_days`
pub const RETENTION_EVENT_DAYS: Setting = Setting::of_number("retention.event_days", (1, 3650), 90, "d");

/// `retention.events_max`
pub const RETENTION_EVENTS_MAX: Setting = Setting::of_number("retention.events_max", (1_000, 10_000_000), 200_000, "");
