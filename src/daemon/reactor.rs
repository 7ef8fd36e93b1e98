//! Passes new events to the features that react. The reactions to an event and the cursor's move are one transaction:
//! each event is handled exactly once, also after a crash. An event that a feature cannot handle is logged and skipped,
//! so that it does not block later alerts.

use crate::app::App;
use crate::base::clock::Duration;
use crate::base::error::{Error, Kind, Result};
use crate::base::log;
use crate::db::Tx;
use crate::events::outbox::{self, Event};
use crate::feature::Feature;
use crate::schedule::service::Service;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Name of the cursor.
const READER: &str = "reactor";
/// Poll interval: the most that a lost wake-up can cost.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
const BATCH: usize = 100;

/// The service row.
pub const SERVICE: Service = Service {
    name: "events.react",
    every: LOOK_AGAIN,
    // A new reader begins at the newest event; from then on its cursor is stored.
    prepare: |app| {
        app.db
            .write_reserved(|tx| outbox::set_cursor(tx, READER, outbox::cursor(tx, READER)?))
    },
    run: |run| {
        let features = run.app.registry.all::<Feature>();
        run.rounds(&run.app.wakes.events, || {
            let events = react(run.app, features)?;
            Ok((events == BATCH).then_some(Duration::ZERO))
        });
        Ok(())
    },
};

/// Handles one batch; returns the number of events.
fn react(app: &App, features: &[&Feature]) -> Result<usize> {
    let events = app
        .db
        .read(|conn| outbox::after(conn, outbox::cursor(conn, READER)?, BATCH))?;
    match digest(app, features, &events) {
        Err(e) if e.kind != Kind::Busy => one_by_one(app, features, &events)?,
        other => other?,
    }
    Ok(events.len())
}

fn one_by_one(app: &App, features: &[&Feature], events: &[Event]) -> Result<()> {
    for event in events {
        match digest(app, features, std::slice::from_ref(event)) {
            Err(e) if e.kind != Kind::Busy => {
                let id = event.id.to_string();
                let fields = [("event", &*id), ("kind", &*event.kind), ("error", &e.to_string())];
                log::error("reactor", "an event was skipped", &fields);
                app.db.write_reserved(|tx| outbox::set_cursor(tx, READER, event.id))?;
            }
            other => other?,
        }
    }
    Ok(())
}

/// Runs all reactions to these events and moves the cursor, or does nothing.
fn digest(app: &App, features: &[&Feature], events: &[Event]) -> Result<()> {
    let Some(last) = events.last() else { return Ok(()) };
    let all = |tx: &Tx| {
        for event in events {
            for react in features.iter().filter_map(|f| f.react) {
                react(app, tx, event)?;
            }
        }
        outbox::set_cursor(tx, READER, last.id)
    };
    // On a full disk only the alert about it is handled.
    catch_unwind(AssertUnwindSafe(|| app.db.write_reserved(all)))
        .unwrap_or_else(|_| Err(Error::internal("a reaction panicked")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::config::Config;
    use crate::base::{file, random};
    use crate::vault;

    const PICKY: Feature = Feature {
        react: Some(|_, tx, event| match event.kind.as_str() {
            "bad" => Err(Error::internal("indigestible")),
            "worse" => panic!("indigestible"),
            _ => outbox::set_cursor(tx, &event.kind, event.id),
        }),
        ..Feature::named("picky")
    };

    #[test]
    fn an_event_that_cannot_be_digested_does_not_stop_the_next() {
        let dir = std::env::temp_dir().join(random::name());
        file::private_dir(&dir).unwrap();
        let key = vault::new_master_key();
        file::write_new(&dir.join("master.key"), key.reveal_for("a test's key file")).unwrap();
        let flags = [("DATA_DIR", dir.display().to_string())];
        let app = App::open(
            Config::load(&flags, None, &Default::default()).unwrap(),
            Default::default(),
        )
        .unwrap();
        let emit = |tx: &Tx, kind| outbox::emit(tx, &app.wakes.events, kind, ("test", 1), &serde_json::json!({}));
        app.db
            .write(|tx| {
                outbox::set_cursor(tx, READER, 0)?;
                ["first", "bad", "second", "worse", "third"]
                    .into_iter()
                    .try_for_each(|kind| emit(tx, kind))
            })
            .unwrap();
        assert_eq!(react(&app, &[&PICKY]).unwrap(), 5);
        assert_eq!(react(&app, &[&PICKY]).unwrap(), 0);
        for (kind, id) in [("first", 1), ("second", 3), ("third", 5)] {
            assert_eq!(app.db.read(|conn| outbox::cursor(conn, kind)).unwrap(), id, "{kind}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
