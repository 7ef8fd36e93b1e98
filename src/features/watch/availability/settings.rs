//! Settings: when a report is made.

use crate::base::error::Result;
use crate::db::Conn;
use crate::schedule::cron::Cron;
use crate::settings::Setting;

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[REPORT];

/// `availability.report`: a cron expression, or `never`.
const REPORT: Setting = Setting::of_text("availability.report", 100, "never", |text| match text {
    "never" => Ok(text.into()),
    _ => Cron::parse(text).map(|_| text.to_string()),
});

/// When reports are made; `None`: never.
pub fn cron(conn: &Conn) -> Result<Option<Cron>> {
    Ok(Cron::parse(&REPORT.text(conn)?).ok())
}
