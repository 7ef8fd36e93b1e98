//! Settings: retention of ended tasks.

use crate::settings::Setting;

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[RETENTION_TASK_DAYS, RETENTION_TASKS_MAX, RETENTION_LOG_LINES_MAX];

/// `retention.task_days`
pub const RETENTION_TASK_DAYS: Setting = Setting::of_number("retention.task_days", (1, 3650), 30, "d");

/// `retention.tasks_max`
pub const RETENTION_TASKS_MAX: Setting = Setting::of_number("retention.tasks_max", (100, 1_000_000), 20_000, "");

/// `retention.log_lines_max`
pub const RETENTION_LOG_LINES_MAX: Setting = Setting::of_number(
    "retention.log_lines_max",
    (100_000, 100_000_000), // one task writes up to 50 000
    2_000_000,
    "",
);
