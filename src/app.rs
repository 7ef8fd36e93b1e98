//! All machines, opened once at start and passed by reference; there are no globals.

use crate::access::throttle::Throttle;
use crate::audit;
use crate::base::clock::{self, Instant, Ms};
use crate::base::config::Config;
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{Id, Task};
use crate::base::pulse::Pulses;
use crate::base::registry::Registry;
use crate::base::{file, log};
use crate::db::{Db, Lens, schema};
use crate::events::wake::Wake;
use crate::journal::Journal;
use crate::ssh::Ssh;
use crate::vault::{self, Vault};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The opened machines.
#[derive(Clone)]
pub struct App {
    /// Declared rows of the features.
    pub registry: Arc<Registry>,
    /// Configuration as read at start.
    pub config: Arc<Config>,
    /// `lamplighter.db`.
    pub db: Arc<Db>,
    /// `metrics.db`.
    pub metrics: Arc<Db>,
    /// `journal.db`.
    pub journal: Arc<Journal>,
    /// Sealed values and keys.
    pub vault: Arc<Vault>,
    /// Connections to servers.
    pub ssh: Arc<Ssh>,
    /// Wake-ups of waiting threads.
    pub wakes: Arc<Wakes>,
    /// Results of this process's background work.
    pub pulses: Arc<Pulses>,
    /// Throttling of failed sign-ins.
    pub throttle: Arc<Throttle>,
    /// Start, monotonic clock.
    pub started: Instant,
    /// Start, unix ms.
    pub started_at: Ms,
}

/// One counter for each thing that can be waited for.
pub struct Wakes {
    /// The task queue changed.
    pub tasks: Wake,
    /// There are new events.
    pub events: Wake,
    /// There are notifications to send.
    pub messages: Wake,
    /// A session ended or an account changed: [`crate::access::Standing`].
    pub access: Wake,
    logs: [Wake; LOG_WAKES],
    over: AtomicBool,
}

/// Counters for task logs, shared by id, so that readers of one log are rarely woken by others.
const LOG_WAKES: usize = 32;

impl Wakes {
    fn new() -> Wakes {
        Wakes {
            tasks: Wake::new(),
            events: Wake::new(),
            messages: Wake::new(),
            access: Wake::new(),
            logs: std::array::from_fn(|_| Wake::new()),
            over: AtomicBool::new(false),
        }
    }

    /// The counter of a task's log.
    pub fn log(&self, task: Id<Task>) -> Wake {
        self.logs[task.get() as usize % LOG_WAKES].clone()
    }

    /// Ends all waits on behalf of clients: the web server stops.
    pub fn let_go(&self) {
        self.over.store(true, Ordering::SeqCst);
        self.ring_all();
    }

    /// Have the waits ended?
    pub fn are_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Rings all: another process has written.
    pub fn ring_all(&self) {
        for wake in [&self.tasks, &self.events, &self.messages]
            .into_iter()
            .chain(&self.logs)
        {
            wake.ring();
        }
    }
}

impl App {
    /// Versions of both databases; they change with every commit to one of them.
    pub fn versions(&self) -> Result<(i64, i64)> {
        Ok((self.db.version()?, self.metrics.version()?))
    }

    /// All databases, in the order of [`schema::ALL`].
    pub fn databases(&self) -> [&Db; 3] {
        [&self.db, &self.metrics, self.journal.db()]
    }

    /// The same machines, for somebody whose reads see no more than this.
    pub fn through(&self, lens: Lens) -> App {
        App {
            db: Arc::new(self.db.through(lens)),
            ..self.clone()
        }
    }

    /// Opens all machines. The data folder must exist with its key (`init-db` and `dev` create them). Errors:
    /// configuration, key, databases.
    pub fn open(config: Config, registry: Arc<Registry>) -> Result<App> {
        keep_private(&config)?;
        let master = vault::master_key(&config)?;
        let [db, metrics, journal] = schema::open_all(&config.data_dir)?;
        let journal = Journal::open(Arc::new(journal))?;
        let vault = Vault::open(&db, &master)?;
        audit::begin(&db, &vault)?;
        let program = std::env::current_exe()?;
        let ssh = Ssh::open(config.runtime_dir.clone(), program)?;
        Ok(App {
            registry,
            config: Arc::new(config),
            db: Arc::new(db),
            metrics: Arc::new(metrics),
            journal: Arc::new(journal),
            vault: Arc::new(vault),
            ssh: Arc::new(ssh),
            wakes: Arc::new(Wakes::new()),
            pulses: Arc::default(),
            throttle: Arc::default(),
            started: clock::mono(),
            started_at: clock::now(),
        })
    }
}

/// Removes access of group and others to the data folder and its files: unpacking a backup, or `chmod`, may have added
/// it.
fn keep_private(config: &Config) -> Result<()> {
    let dir = &config.data_dir;
    let files = schema::ALL
        .iter()
        .flat_map(|db| ["", "-wal", "-shm"].map(|end| dir.join(format!("{}{end}", db.name))));
    for path in [dir.clone(), dir.join("setup-token")].into_iter().chain(files) {
        let shown = path.display().to_string();
        match file::make_private(&path) {
            Ok(false) => {}
            Ok(true) => log::warning("daemon", "removed read access of other users", &[("path", &shown)]),
            Err(e) => {
                let say = format!("{shown} can be read by others, and that cannot be changed: {e}. Whose is it?");
                return Err(Error::new(Kind::Config, "data_dir", say));
            }
        }
    }
    Ok(())
}
