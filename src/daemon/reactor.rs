//! Hands new events to the features that react. An event's reactions and the cursor that moves past it are one
//! transaction: each event is reacted to exactly once, also when the daemon dies in between.

use crate::app::App;
use crate::base::clock::Duration;
use crate::base::error::Result;
use crate::base::log;
use crate::events::outbox;
use crate::feature::Feature;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Name of the cursor.
const READER: &str = "reactor";
/// A lost wake-up costs at most this.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
const BATCH: usize = 100;

/// The running thread.
pub struct Reactor {
    app: Arc<App>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Reactor {
    /// Starts the thread.
    pub fn start(app: Arc<App>, features: &'static [&'static Feature]) -> Result<Reactor> {
        // A new reader begins at the end of what there is; from then on its cursor is remembered.
        app.db
            .write(|tx| outbox::set_cursor(tx, READER, outbox::cursor(tx, READER)?))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (app.clone(), stop.clone());
        let thread = std::thread::Builder::new().name("reactor".into()).spawn(move || {
            let wake = &shared.wakes.events;
            while !stopped.load(Ordering::SeqCst) {
                let seen = wake.count();
                match react(&shared, features) {
                    Ok(BATCH) => {}
                    Ok(_) => drop(wake.wait(seen, LOOK_AGAIN)),
                    Err(e) => {
                        log::error("reactor", "an event waits", &[("error", &e.to_string())]);
                        wake.wait(seen, LOOK_AGAIN);
                    }
                }
            }
        })?;
        Ok(Reactor { app, stop, thread })
    }

    /// Ends the thread after the batch it is at.
    pub fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.app.wakes.events.ring();
        let _ = self.thread.join();
    }
}

/// One batch; says how many events it had.
fn react(app: &App, features: &[&Feature]) -> Result<usize> {
    let (cursor, events) = app.db.read(|conn| {
        let cursor = outbox::cursor(conn, READER)?;
        Ok((cursor, outbox::after(conn, cursor, BATCH)?))
    })?;
    let Some(last) = events.last().map(|e| e.id) else {
        return Ok(0);
    };
    debug_assert!(last > cursor);
    app.db.write(|tx| {
        for event in &events {
            for react in features.iter().filter_map(|f| f.react) {
                react(app, tx, event)?;
            }
        }
        outbox::set_cursor(tx, READER, last)
    })?;
    Ok(events.len())
}
