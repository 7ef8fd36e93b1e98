//! Settings: polling threads and retention.

use crate::base::error::Result;
use crate::db::Conn;
use crate::series::Keep;
use crate::settings::Setting;

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[
    POLL_THREADS_MAX,
    RETENTION_RAW_HOURS,
    RETENTION_MINUTE_HOURS,
    RETENTION_FIVE_MINUTE_DAYS,
    RETENTION_HALF_HOUR_DAYS,
    RETENTION_HOUR_DAYS,
];

/// `poll.threads_max`
pub const POLL_THREADS_MAX: Setting = Setting::of_number("poll.threads_max", (4, 512), 128, "");

/// `retention.raw_hours`
pub const RETENTION_RAW_HOURS: Setting = Setting::of_number("retention.raw_hours", (1, 168), 1, "h");

/// `retention.minute_hours`
pub const RETENTION_MINUTE_HOURS: Setting = Setting::of_number("retention.minute_hours", (1, 720), 24, "h");

/// `retention.five_minute_days`
pub const RETENTION_FIVE_MINUTE_DAYS: Setting = Setting::of_number("retention.five_minute_days", (1, 365), 7, "d");

/// `retention.half_hour_days`
pub const RETENTION_HALF_HOUR_DAYS: Setting = Setting::of_number("retention.half_hour_days", (1, 1095), 30, "d");

/// `retention.hour_days`
pub const RETENTION_HOUR_DAYS: Setting = Setting::of_number("retention.hour_days", (1, 3650), 365, "d");

/// Retention of the tiers as set.
pub fn keep(conn: &Conn) -> Result<Keep> {
    const HOUR: u32 = 3_600;
    const DAY: u32 = 24 * HOUR;
    let times = |setting: Setting, unit: u32| -> Result<u32> {
        Ok(u32::try_from(setting.number(conn)?).unwrap_or(0).saturating_mul(unit))
    };
    Ok(Keep::new([
        times(RETENTION_RAW_HOURS, HOUR)?,
        times(RETENTION_MINUTE_HOURS, HOUR)?,
        times(RETENTION_FIVE_MINUTE_DAYS, DAY)?,
        times(RETENTION_HALF_HOUR_DAYS, DAY)?,
        times(RETENTION_HOUR_DAYS, DAY)?,
        times(RETENTION_HOUR_DAYS, DAY)?,
    ]))
}
