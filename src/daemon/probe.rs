//! The self-probe, from end to end: the listener accepts, the inner server answers, the scheduler's thread lives, and a
//! write reaches the disk of the state database. Each good round feeds the service manager's watchdog. A daemon that
//! accepts and answers nothing is ended in any case, so that it is restarted; a busy one continues.

use crate::app::App;
use crate::base::clock::{self, Duration};
use crate::base::error::{Error, Result};
use crate::base::{log, notify};
use crate::http::edge::EdgeHandle;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

const EVERY: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(5);
const MISSES_MAX: u32 = 3;

/// The web server, as the probe asks it.
pub struct Door {
    /// Asks past all clients.
    pub edge: EdgeHandle,
    /// Its first address.
    pub listen: SocketAddr,
    /// Requests taken so far.
    pub taken: Arc<AtomicU64>,
}

/// The running probe.
pub struct Probe {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Probe {
    /// Starts it for the parts that run in this process.
    pub fn start(app: &Arc<App>, door: Option<Door>, has_scheduler: bool) -> Result<Probe> {
        let (stop, stopped) = mpsc::channel();
        let app = Arc::clone(app);
        let every = notify::watchdog().map_or(EVERY, |within| EVERY.min(within / 3));
        let thread = std::thread::Builder::new().name("self-probe".into()).spawn(move || {
            let mut door = door.map(Asked::new);
            while stopped.recv_timeout(every) == Err(mpsc::RecvTimeoutError::Timeout) {
                let answers = door.as_mut().is_none_or(Asked::answers);
                if answers && (!has_scheduler || is_scheduling(&app)) && writes(&app) {
                    notify::tell("WATCHDOG=1");
                }
            }
        })?;
        Ok(Probe { stop, thread })
    }

    /// Ends it after its current round.
    pub fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

/// The web server and what it showed before.
struct Asked {
    door: Door,
    misses: u32,
    taken: u64,
    status: u16,
}

impl Asked {
    fn new(door: Door) -> Asked {
        Asked {
            door,
            misses: 0,
            taken: 0,
            status: 200,
        }
    }

    fn answers(&mut self) -> bool {
        let inside = self.door.edge.ask_inside("/healthz", PATIENCE);
        let taken = self.door.taken.load(Ordering::Relaxed);
        let moved = taken != std::mem::replace(&mut self.taken, taken);
        let is_alive = match inside {
            Ok(status) => {
                if status != std::mem::replace(&mut self.status, status) {
                    log::warning("daemon", "health changed", &[("status", &status.to_string())]);
                }
                true
            }
            Err(why) => {
                log::warning("daemon", "no handler answers the self-probe", &[("error", why.code())]);
                moved
            }
        };
        if is_alive && self.is_open() {
            self.misses = 0;
            return true;
        }
        self.misses += 1;
        log::error("daemon", "the daemon's own listening address does not answer", &[]);
        if self.misses >= MISSES_MAX {
            log::critical("daemon", "giving up; the service manager restarts the daemon", &[]);
            std::process::exit(70); // EX_SOFTWARE
        }
        false
    }

    /// Does the listener accept? Our own connection gives an idle one something to accept.
    fn is_open(&self) -> bool {
        let Door { edge, listen, .. } = &self.door;
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let before = edge.accepted();
        // The counter shows the result: a full accept queue that is being emptied is alive.
        let _knock = TcpStream::connect_timeout(&SocketAddr::new(ip, listen.port()), PATIENCE);
        let until = clock::mono() + PATIENCE;
        while edge.accepted() == before && clock::mono() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        edge.accepted() != before
    }
}

/// Does the scheduler's own job run?
fn is_scheduling(app: &App) -> bool {
    let now = clock::now();
    let lives = app
        .pulses
        .all()
        .iter()
        .any(|job| job.name == "scheduler" && !job.is_late(now));
    if !lives {
        log::error("daemon", "the scheduler's thread does not run", &[]);
    }
    lives
}

/// Does a write reach the disk? One that the disk refuses was answered: a restart would not help.
fn writes(app: &App) -> bool {
    let told = |e: &Error| log::error("daemon", "the self-probe cannot write", &[("error", &e.to_string())]);
    match app.db.probe() {
        Err(e) => {
            told(&e);
            app.db.trouble().is_some()
        }
        Ok(()) => true,
    }
}
