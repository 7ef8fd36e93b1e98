//! The audit's chain is walked at start and each hour: what is wrong with it is an alert, and `lamplighter verify-audit`
//! says which row.

use super::alerts;
use crate::app::App;
use crate::audit::{self, Broken, By};
use crate::base::clock::Duration;
use crate::base::error::{Error, Kind, Result};
use crate::base::log;
use crate::cli::Asked;
use crate::events::outbox;
use crate::feature::Feature;
use crate::schedule::{Periodic, Work};

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    periodic: PERIODIC,
    ..Feature::named("audit")
};

const PERIODIC: &[Periodic] = &[Periodic {
    name: "audit.verify",
    every: Duration::from_secs(3600),
    // Of its own thread: a million rows take some seconds.
    run: Work::Long(|app, _| tell(app, audit::verify(&app.db, &app.vault)?.err())),
}];

const BROKEN: &str = "audit.broken";
const US: (&str, i64) = ("controller", 0);

fn tell(app: &App, broken: Option<Broken>) -> Result<()> {
    app.db.write(|tx| {
        let is_open = alerts::is_open(tx, BROKEN, US)?;
        match &broken {
            Some(broken) => {
                log::error("audit", "the chain is broken", &[("what", &broken.to_string())]);
                let data = serde_json::json!({ "name": "Lamplighter", "evidence": [broken.to_string()] });
                outbox::emit(tx, &app.wakes.events, BROKEN, US, &data)
            }
            None if is_open => {
                let data = serde_json::json!({ "name": "Lamplighter" });
                outbox::emit(tx, &app.wakes.events, "audit.whole", US, &data)
            }
            None => Ok(()),
        }
    })
}

/// `verify-audit`: says how many rows there are, or fails with the first thing that is wrong.
pub fn verify(app: &App, asked: &Asked) -> Result<String> {
    let whole = |rows: i64| format!("The audit is whole: {rows} rows, none changed and none missing.");
    let broken = match audit::verify(&app.db, &app.vault)? {
        Ok(rows) => return Ok(whole(rows)),
        Err(broken) => broken,
    };
    if asked.flag("accept").is_none() {
        let hint = match broken.is_about_the_end() {
            true => " If a backup was put back, that is why: lamplighter verify-audit --accept",
            false => "",
        };
        let say = format!("The audit is broken. {broken}{hint}");
        return Err(Error::new(Kind::Conflict, "audit_broken", say));
    }
    if !broken.is_about_the_end() {
        let say = format!("{broken} That cannot be accepted, only known.");
        return Err(Error::new(Kind::Conflict, "audit_broken", say));
    }
    let by = By {
        actor: "cli",
        ip: "",
        request_id: "",
    };
    audit::accept(&app.db, &app.vault, by, &broken)?;
    Ok(format!("{broken} That is noted in the audit, which goes on from here."))
}
