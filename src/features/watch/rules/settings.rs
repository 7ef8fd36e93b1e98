//! When an alert is taken to flap.

use crate::settings::Setting;

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[ALERTS_FLAP_COUNT, ALERTS_FLAP_WINDOW_MIN, ALERTS_CALM_MIN];

/// `alerts.flap_count`
pub const ALERTS_FLAP_COUNT: Setting = Setting::of_number(
    "alerts.flap_count",
    (2, 100),
    4,
    "",
    "How often an alert begins within the time below until it is taken to flap: one message says so, then there are none until it is calm.",
    "Сколько раз тревога должна начаться за указанное ниже время, чтобы считаться мигающей: об этом одно сообщение, дальше тишина, пока не успокоится.",
);

/// `alerts.flap_window_min`
pub const ALERTS_FLAP_WINDOW_MIN: Setting = Setting::of_number(
    "alerts.flap_window_min",
    (1, 1440),
    30,
    "min",
    "Within which time an alert has to begin that often.",
    "За какое время тревога должна начаться столько раз.",
);

/// `alerts.calm_min`
pub const ALERTS_CALM_MIN: Setting = Setting::of_number(
    "alerts.calm_min",
    (1, 1440),
    15,
    "min",
    "How long an alert that flaps must stay as it is until its state is told.",
    "Сколько мигающая тревога должна не меняться, чтобы о её состоянии сообщили.",
);
