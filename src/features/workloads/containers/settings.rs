//! Settings: what is followed, what is kept, when something is an alert.

use crate::base::clock::{DAY, HOUR, MINUTE};
use crate::base::error::Result;
use crate::db::Conn;
use crate::journal::Bounds;
use crate::settings::Setting;

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[
    CONTAINERS_FOLLOW,
    CONTAINERS_LOG_MIB_EACH,
    CONTAINERS_LOG_MIB,
    CONTAINERS_LOG_DAYS,
    CONTAINERS_UNHEALTHY_S,
    CONTAINERS_LOOP_COUNT,
    CONTAINERS_HEAL_COUNT,
];

/// `containers.follow`
pub const CONTAINERS_FOLLOW: Setting = Setting::of_text("containers.follow", 1_000, "*", |text| {
    super::choice::Choice::parse(text).map(|_| text.into())
});

/// `containers.log_mib_each`
pub const CONTAINERS_LOG_MIB_EACH: Setting = Setting::of_number("containers.log_mib_each", (1, 1_024), 20, "MiB");

/// `containers.log_mib`
pub const CONTAINERS_LOG_MIB: Setting = Setting::of_number("containers.log_mib", (16, 102_400), 1_024, "MiB");

/// `containers.log_days`
pub const CONTAINERS_LOG_DAYS: Setting = Setting::of_number("containers.log_days", (1, 365), 7, "d");

/// `containers.unhealthy_s`
pub const CONTAINERS_UNHEALTHY_S: Setting = Setting::of_number("containers.unhealthy_s", (0, 86_400), 60, "s");

/// `containers.loop_count`
pub const CONTAINERS_LOOP_COUNT: Setting = Setting::of_number("containers.loop_count", (2, 100), 3, "");

/// `containers.heal_count`
pub const CONTAINERS_HEAL_COUNT: Setting = Setting::of_number("containers.heal_count", (1, 20), 3, "");

/// In which a container must end several times to be in a loop, and after which without an end it is calm.
pub const LOOP_WINDOW: i64 = 10 * MINUTE;

/// In which restarts of an unhealthy container are counted.
pub const HEAL_WINDOW: i64 = HOUR;

/// What the journal keeps.
pub fn bounds(conn: &Conn) -> Result<Bounds> {
    Ok(Bounds {
        each: CONTAINERS_LOG_MIB_EACH.number(conn)? << 20,
        total: CONTAINERS_LOG_MIB.number(conn)? << 20,
        age: CONTAINERS_LOG_DAYS.number(conn)? * DAY,
    })
}
