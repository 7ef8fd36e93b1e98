//! Settings: frequency, retries, allowed networks, and retention of the log.

use crate::settings::{SITE_PUBLIC_URL, Setting, check};

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[
    SITE_PUBLIC_URL,
    MESSAGES_MIN_INTERVAL_S,
    MESSAGES_MAX_AGE_H,
    MESSAGES_NETWORKS,
    MESSAGES_MAIL_NAME,
    RETENTION_DELIVERY_DAYS,
    RETENTION_DELIVERIES_MAX,
];

/// `messages.min_interval_s`
pub const MESSAGES_MIN_INTERVAL_S: Setting = Setting::of_number("messages.min_interval_s", (0, 86400), 300, "s");

/// `messages.max_age_h`
pub const MESSAGES_MAX_AGE_H: Setting = Setting::of_number("messages.max_age_h", (1, 168), 24, "h");

/// `messages.networks`
pub const MESSAGES_NETWORKS: Setting = Setting::of_text(
    "messages.networks",
    300, // eight IPv6 blocks
    "",
    check::networks,
);

/// `messages.mail_name`
pub const MESSAGES_MAIL_NAME: Setting = Setting::of_text(
    "messages.mail_name",
    253, // a DNS name
    "",
    check::own_name,
);

/// `retention.delivery_days`
pub const RETENTION_DELIVERY_DAYS: Setting = Setting::of_number("retention.delivery_days", (1, 3650), 30, "d");

/// `retention.deliveries_max`
pub const RETENTION_DELIVERIES_MAX: Setting =
    Setting::of_number("retention.deliveries_max", (1_000, 1_000_000), 20_000, "");
