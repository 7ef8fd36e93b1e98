//! Flapping alerts: one that begins often is notified once, with its count, and then not until it has been calm for a
//! while. It stays one open alert meanwhile. All state is in the alerts' rows, so it survives a restart.

use super::{Alert, note, over, queries};
use crate::app::App;
use crate::base::clock::{MINUTE, Ms};
use crate::base::error::Result;
use crate::db::{Conn, Tx};
use crate::features::watch::rules;

/// Number of beginnings, if the alert flaps.
pub fn begins(conn: &Conn, alert: &Alert, at: Ms) -> Result<Option<i64>> {
    let window = rules::ALERTS_FLAP_WINDOW_MIN.number(conn)? * MINUTE;
    let times = queries::begun(conn, alert, at - window)?;
    Ok((times >= rules::ALERTS_FLAP_COUNT.number(conn)?).then_some(times))
}

/// Flapping alerts that have been calm for long enough.
pub fn calm(conn: &Conn, now: Ms) -> Result<Vec<Alert>> {
    let calm = rules::ALERTS_CALM_MIN.number(conn)? * MINUTE;
    queries::calm(conn, now - calm)
}

/// Ends the flapping of an alert: if it is resolved, the alert ends. Returns an alert that is still firing, to be
/// notified.
pub fn end(app: &App, tx: &Tx, mut alert: Alert, now: Ms) -> Result<Option<Alert>> {
    note(app, tx, "alert.calm", &alert, None)?;
    alert.flaps = 0;
    let is_good = alert.good_since.is_some();
    if !is_good && alert.state == "firing" {
        alert.notified_level.clear(); // the last notification said that no more would come
    }
    queries::set_quiet(tx, &alert)?;
    if !is_good {
        return Ok(Some(alert));
    }
    let target = (alert.target.0.as_str(), alert.target.1);
    let good = queries::resolve(tx, &alert.kind, &alert.part, target, true, now)?;
    over(app, tx, good, false, now)?;
    Ok(None)
}
