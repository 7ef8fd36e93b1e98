//! How often sites are asked.

use crate::settings::Setting;

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[SITEWATCH_INTERVAL_S];

/// `sitewatch.interval_s`
pub const SITEWATCH_INTERVAL_S: Setting = Setting::of_number(
    "sitewatch.interval_s",
    (0, 3600),
    60,
    "s",
    "How often each site is asked from here whether it answers. 0: never, then nothing tells that it does not.",
    "Как часто отсюда проверять, отвечает ли каждый сайт. 0: никогда, тогда об отказе ничто не сообщит.",
);
