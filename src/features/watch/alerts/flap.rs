//! What comes and goes is told once, with how often, and then not until it has been calm for a while. It stays one open
//! alert meanwhile, good or bad. All of it is in the alerts' rows, so a restart forgets nothing.

use super::{Alert, note, over, queries};
use crate::app::App;
use crate::base::clock::{MINUTE, Ms};
use crate::base::error::Result;
use crate::db::{Conn, Tx};
use crate::features::watch::rules;

/// How often this alert has begun, when that is so often that it flaps.
pub fn begins(conn: &Conn, alert: &Alert, at: Ms) -> Result<Option<i64>> {
    let window = rules::ALERTS_FLAP_WINDOW_MIN.number(conn)? * MINUTE;
    let times = queries::begun(conn, alert, at - window)?;
    Ok((times >= rules::ALERTS_FLAP_COUNT.number(conn)?).then_some(times))
}

/// Those that have been calm for long enough.
pub fn calm(conn: &Conn, now: Ms) -> Result<Vec<Alert>> {
    let calm = rules::ALERTS_CALM_MIN.number(conn)? * MINUTE;
    queries::calm(conn, now - calm)
}

/// One is calm: if it is good, that is the end of it. Gives what is still bad, to be told.
pub fn end(app: &App, tx: &Tx, mut alert: Alert, now: Ms) -> Result<Option<Alert>> {
    note(app, tx, "alert.calm", &alert, None)?;
    alert.flaps = 0;
    let is_good = alert.good_since.is_some();
    if !is_good && alert.state == "firing" {
        alert.notified_level.clear(); // what was told was that nothing more would be
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
