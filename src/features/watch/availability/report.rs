//! The report: what was available least in the last week, as a message to whoever subscribes to it.

use super::{events, settings};
use crate::app::App;
use crate::availability::{self, Weighed};
use crate::base::clock::{DAY, MINUTE, Ms};
use crate::base::error::Result;
use crate::db::Conn;
use crate::events::outbox;
use crate::kinds;
use crate::settings::time_zone;

/// Days that it is about.
const DAYS: Ms = 7;
/// Things that it names.
const WORST: usize = 5;

/// Makes it when it is due. A machine that was off at the time makes up for it when it is on again.
pub fn follow(app: &App, now: Ms) -> Result<()> {
    let is_due = app.db.read(|conn| {
        let Some(cron) = settings::cron(conn)? else {
            return Ok(false);
        };
        let since = availability::reported_at(conn)?.unwrap_or(app.started_at).min(now);
        Ok(cron.next_after(since, &time_zone(conn)?).is_some_and(|due| due <= now))
    })?;
    if !is_due {
        return Ok(());
    }
    app.db.write(|tx| {
        availability::set_reported_at(tx, now)?;
        let data = serde_json::json!({ "name": "Lamplighter", "evidence": lines(tx, now)? });
        outbox::emit(tx, &app.wakes.events, events::REPORT, ("controller", 0), &data)
    })
}

/// Its lines: how many things, how many incidents, and the worst of them.
fn lines(conn: &Conn, now: Ms) -> Result<Vec<String>> {
    let from = now - DAYS * DAY;
    let off = availability::off(conn, from)?;
    let mut all: Vec<(String, f64, Weighed)> = Vec::new();
    for subject in availability::subjects(conn, "", None, from)? {
        let Some(kind) = kinds::target_kind(&subject.kind) else {
            continue;
        };
        let weighed = availability::weigh(&subject.stretches, &off, (from, now));
        if let (Some(name), Some(share)) = ((kind.name_of)(conn, subject.id)?, weighed.share()) {
            all.push((format!("{} {name}", subject.kind), share, weighed));
        }
    }
    let incidents: usize = all.iter().map(|(_, _, weighed)| weighed.incidents).sum();
    let whole = all.iter().filter(|(_, _, weighed)| weighed.down == 0).count();
    let mut out = vec![format!(
        "{DAYS} days: {} things, {whole} of them without an incident; {incidents} incidents.",
        all.len()
    )];
    all.retain(|(_, _, weighed)| weighed.down > 0);
    all.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
    out.extend(all.iter().take(WORST).map(|(name, share, weighed)| {
        let down = (weighed.down + MINUTE - 1) / MINUTE;
        format!("{name}: {share:.3} %, {} incidents, {down} min down", weighed.incidents)
    }));
    Ok(out)
}
