//! What programs tell: an alert for each service that they name, whoever looks after it, until they say that it is over.

use super::queries;
use crate::access::Allowed;
use crate::access::right::{Alerts, Run};
use crate::app::App;
use crate::base::error::{Error, Kind, Result};
use crate::db::Tx;
use crate::events::outbox;
use crate::features::watch::notifications::Level;
use serde_json::json;

/// Event: a program tells of trouble.
pub const RAISED: &str = "program.alert";
/// Event: a program says that it is over.
pub const OVER: &str = "program.over";

const US: (&str, i64) = ("controller", 0);
/// Services with an open alert.
const OPEN_MAX: usize = 500;

fn lines(message: &str, actor: &str) -> Vec<String> {
    let said = message.lines().filter(|line| !line.trim().is_empty()).map(String::from);
    said.chain([format!("Told by {actor}.")]).collect()
}

/// Trouble of a service at a level. While its alert is open it counts once more, and the level may
/// rise.
pub fn raise(
    app: &App,
    tx: &Tx,
    (service, level, message): (&str, Level, &str),
    by: Allowed<Run, Alerts>,
) -> Result<()> {
    let open = queries::targets(tx, RAISED)?;
    if open.len() >= OPEN_MAX && open.iter().all(|(_, _, part)| part != service) {
        let say = format!("{OPEN_MAX} services have an open alert of a program already. Say first which are over.");
        return Err(Error::new(Kind::Conflict, "program_alerts_full", say));
    }
    let data =
        json!({ "name": service, "part": service, "level": level.name(), "evidence": lines(message, by.actor()) });
    outbox::emit(tx, &app.wakes.events, RAISED, US, &data)
}

/// The trouble of a service is over; nothing happens when there is none.
pub fn over(app: &App, tx: &Tx, service: &str, message: &str, by: Allowed<Run, Alerts>) -> Result<()> {
    let open = queries::targets(tx, RAISED)?;
    let is_open = open.iter().any(|(_, _, part)| part == service);
    if !is_open && queries::told_last(tx, [RAISED, OVER], service)?.as_deref() != Some(RAISED) {
        return Ok(());
    }
    let data = json!({ "name": service, "part": service, "evidence": lines(message, by.actor()) });
    outbox::emit(tx, &app.wakes.events, OVER, US, &data)
}
