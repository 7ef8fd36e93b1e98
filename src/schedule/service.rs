//! Services: threads that run as long as the daemon. One that ends or panics is logged, reported by health, and
//! restarted after a pause that doubles; a stop ends them in reverse order and joins each.

use crate::app::App;
use crate::base::clock::{self, Duration, Instant};
use crate::base::error::{Error, Result};
use crate::base::log;
use crate::base::process::Cancel;
use crate::events::wake::Wake;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

/// One row of a feature's `SERVICES`.
pub struct Service {
    /// Name of its thread and of its job run: `metrics.poll`.
    pub name: &'static str,
    /// Maximum time between rounds; health reports a longer one.
    pub every: Duration,
    /// Preparation; an error aborts the start of the daemon.
    pub prepare: fn(&App) -> Result<()>,
    /// Main function; returns when it is asked to stop.
    pub run: fn(&ServiceRun) -> Result<()>,
}

/// What a service gets.
pub struct ServiceRun<'a> {
    /// All machines.
    pub app: &'a Arc<App>,
    service: &'static Service,
    stop: &'a Cancel,
    /// Error and time of its last crash.
    crash: Option<(Error, Instant)>,
}

/// First pause after a crash; it doubles with each that follows soon.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Run time after which it counts as stable; health reports a crash for this long.
const STABLE: Duration = Duration::from_secs(120);

impl ServiceRun<'_> {
    /// Was it asked to stop?
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits so long, or until it is asked to stop.
    pub fn pause(&self, limit: Duration) {
        self.stop.wait(limit);
    }

    /// Calls `round` whenever `wake` rings, and at the latest after the time that the last round asked for (or the
    /// service's interval), until it is asked to stop. The result of each round is recorded for health; an error is
    /// logged when it differs from the last one.
    pub fn rounds(&self, wake: &Wake, mut round: impl FnMut() -> Result<Option<Duration>>) {
        let Service { name, every, .. } = *self.service;
        let mut logged = None;
        loop {
            // Read before the stop flag, whose setter rings after setting it.
            let seen = wake.count();
            if self.is_stopping() {
                return;
            }
            let mut pause = every;
            let result = self.app.pulses.round(name, every, || {
                pause = round()?.unwrap_or(every).min(every);
                match &self.crash {
                    Some((error, at)) if at.elapsed() < STABLE => Err(error.clone()),
                    _ => Ok(()),
                }
            });
            let error = result.err().map(|e| e.to_string());
            if let Some(error) = error.as_deref().filter(|_| logged != error) {
                log::error("service", "a round failed", &[("name", name), ("error", error)]);
            }
            logged = error;
            wake.wait(seen, pause);
        }
    }
}

/// The running threads.
pub struct Services {
    app: Arc<App>,
    running: Vec<(Cancel, JoinHandle<()>)>,
}

impl Services {
    /// Starts them in this order.
    pub fn start(app: &Arc<App>, services: impl IntoIterator<Item = &'static Service>) -> Result<Services> {
        let mut started = Services {
            app: app.clone(),
            running: Vec::new(),
        };
        match started.start_all(services) {
            Ok(()) => Ok(started),
            Err(e) => {
                started.stop();
                Err(e)
            }
        }
    }

    fn start_all(&mut self, services: impl IntoIterator<Item = &'static Service>) -> Result<()> {
        let app = &self.app;
        for service in services {
            (service.prepare)(app)?;
            app.pulses.expect(service.name, service.every);
            let (shared, stop) = (app.clone(), Cancel::new());
            let stopped = stop.clone();
            let thread = std::thread::Builder::new()
                .name(service.name.into())
                .spawn(move || supervise(&shared, service, &stopped))?;
            self.running.push((stop, thread));
        }
        Ok(())
    }

    /// Stops them, the last one first.
    pub fn stop(self) {
        for (stop, thread) in self.running.into_iter().rev() {
            stop.cancel();
            self.app.wakes.ring_all();
            let _ = thread.join();
        }
    }
}

fn supervise(app: &Arc<App>, service: &'static Service, stop: &Cancel) {
    let mut run = ServiceRun {
        app,
        service,
        stop,
        crash: None,
    };
    let mut pause = PAUSE_MIN;
    loop {
        let started = clock::mono();
        let ended = catch_unwind(AssertUnwindSafe(|| (service.run)(&run)))
            .unwrap_or_else(|_| Err(Error::internal("it panicked")));
        let error = match ended {
            Ok(()) if stop.is_cancelled() => return,
            Ok(()) => Error::internal("it ended by itself"),
            Err(error) => error,
        };
        let fields = [("name", service.name), ("error", &error.to_string())];
        log::error("service", "a service ended", &fields);
        if started.elapsed() >= STABLE {
            pause = PAUSE_MIN;
        }
        let _ = app
            .pulses
            .round(service.name, service.every, || Err::<(), _>(error.clone()));
        run.crash = Some((error, clock::mono()));
        if stop.wait(pause) {
            return;
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
