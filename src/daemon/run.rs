//! Start and stop. Both parts (`run-api`: web server; `run-scheduler`: workers, poller, periodic work) run in one
//! process or in two on one data folder.

use super::probe::{Door, Probe};
use super::reactor;
use super::tls;
use crate::app::App;
use crate::base::clock::Duration;
use crate::base::config::Config;
use crate::base::error::{Error, Kind, Result};
use crate::base::host::Host;
use crate::base::zone::Zones;
use crate::base::{log, notify, sys};
use crate::db::Db;
use crate::events::wake::Wake;
use crate::feature::Feature;
use crate::features::house::events;
use crate::features::house::users;
use crate::http::admission::Admission;
use crate::http::edge::{CONTROL_SOCKET, Config as EdgeConfig, Control, Edge, Gauge, Hosts, Listener, Peers};
use crate::http::guard;
use crate::http::page;
use crate::http::response_cache::ResponseCache;
use crate::http::route::{OUTBOUND_MAX, Routes, Web};
use crate::http::server::Server;
use crate::http::sse::Streams;
use crate::http::view::View;
use crate::net::policy::set_own_doors;
use crate::schedule::Scheduler;
use crate::schedule::service::{Service, Services};
use crate::task::worker::Workers;
use std::fs::File;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

/// Parts that run in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessMode {
    /// `serve`, `dev`.
    Both,
    /// `run-api`.
    Api,
    /// `run-scheduler`.
    Scheduler,
}

/// Limit of streams of a process.
const STREAMS_MAX: usize = 512;
/// Time to wait for pending responses at a stop. With what the scheduler's parts wait for, a stop takes 10 s at most.
const DRAIN: Duration = Duration::from_secs(4);

/// Runs until SIGTERM or SIGINT. `ready` is called with the addresses when requests are answered. Errors:
/// configuration, port in use, data folder in use.
pub fn run(app: Arc<App>, mode: ProcessMode, ready: impl FnOnce(&[String])) -> Result<()> {
    if let Some(path) = &app.config.log_file {
        log::also_to(path.clone());
    }
    let mut signals = sys::signal_pipe()?;
    let watch = (mode != ProcessMode::Both)
        .then(|| Services::start(&app, [&COMMIT_WATCH]))
        .transpose()?;
    // Tasks start last: if another process runs, or the port is in use, no task must have begun.
    let work_lock = (mode != ProcessMode::Api)
        .then(|| lock(&app.config.data_dir, LOCKS[1]))
        .transpose()?;
    let api = (mode != ProcessMode::Scheduler)
        .then(|| ApiHalf::start(&app))
        .transpose()?;
    let scheduler = work_lock.map(|lock| SchedulerHalf::start(&app, lock)).transpose()?;
    if api.is_none() {
        set_own_doors(app.config.listen.clone()); // the other process's
    }
    let probe = Probe::start(&app, api.as_ref().map(ApiHalf::door), scheduler.is_some())?;
    ready(&api.as_ref().map_or_else(Vec::new, ApiHalf::addresses));
    notify::tell("READY=1");
    wait_for_stop(&app, &mut signals);
    notify::tell("STOPPING=1");
    log::info("daemon", "stopping", &[]);
    probe.stop();
    // At once: both wait for other machines.
    std::thread::scope(|scope| {
        if let Some(api) = api {
            app.wakes.let_go(); // ends long polls, which would hold their handlers for half a minute
            scope.spawn(|| api.stop());
        }
        if let Some(scheduler) = scheduler {
            scheduler.stop();
        }
    });
    if let Some(watch) = watch {
        watch.stop();
    }
    app.ssh.end(); // a thread that hangs may still hold it
    log::info("daemon", "stopped", &[]);
    Ok(())
}

/// Interval of closing idle readers and returning free heap memory. Takes a millisecond if there is none.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(15);

/// The main thread, otherwise idle, also returns memory that nobody needs.
fn wait_for_stop(app: &App, signals: &mut File) {
    let mut byte = [0];
    loop {
        if !sys::readable(signals, GIVE_BACK_EVERY) {
            app.databases().into_iter().for_each(Db::close_idle);
            sys::give_back();
            continue;
        }
        match signals.read(&mut byte) {
            // SIGHUP is ignored: settings apply at once, configuration needs a restart.
            Ok(1) if i32::from(byte[0]) == libc::SIGHUP => {}
            _ => return,
        }
    }
}

/// The web server.
struct ApiHalf {
    _lock: File,
    /// Number of the edge's addresses that serve the application; others only redirect.
    listens: usize,
    heartbeat: Arc<AtomicU64>,
    control: Control,
    edge: Edge,
    server: Server,
    tls: Option<tls::Keeper>,
}

impl ApiHalf {
    fn start(app: &Arc<App>) -> Result<ApiHalf> {
        let config = &app.config;
        let lock = lock(&config.data_dir, LOCKS[0])?;
        users::place_hashes(app)?;
        let per_user = app.db.read(|conn| events::STREAMS_PER_USER.number(conn))?;
        let streams = Streams::new(STREAMS_MAX, per_user as usize);
        let features = app.registry.all::<Feature>();
        let routes = Routes::new(
            features.iter().flat_map(|f| f.routes),
            features.iter().flat_map(|f| f.pages),
        )?;
        let admission = Arc::new(Admission::new(app.db.clone())?);
        let web = Arc::new(Web {
            app: app.clone(),
            view: View::new(),
            cache: ResponseCache::default(),
            zones: Zones::default(),
            streams: streams.clone(),
            routes,
            admission: admission.clone(),
            edge: OnceLock::new(),
            outbound: Gauge::new(OUTBOUND_MAX.0, OUTBOUND_MAX.1),
        });
        let files = config.tls.clone();
        let tls = files.map(|files| tls::Keeper::start(app, files)).transpose()?;
        let mut listeners = Vec::new();
        for addr in &config.listen {
            let socket = bind(addr)?;
            listeners.push(match &tls {
                Some(keeper) => Listener::tls(socket, keeper.tls.clone())?,
                None => Listener::plain(socket),
            });
        }
        let https_port = listeners[0].address()?.port();
        for addr in &config.redirect_listen {
            listeners.push(Listener::redirect(bind(addr)?, https_port));
        }
        warn_of_plain(config);
        let peers = Peers::new();
        let socket = config.runtime_dir.join("http.sock");
        let server = Server::start(&socket, web.clone(), peers.clone(), page::failure)?;
        let edge_config = EdgeConfig {
            hosts: hosts(app, admission.clone()),
            policy: Box::new(move || admission.policy()),
            trusted_proxies: config.trusted_proxies.clone(),
            body_max: {
                let web = Arc::downgrade(&web); // as it holds the edge
                Box::new(move |method, path| web.upgrade().map_or(0, |web| web.routes.body_max(method, path)))
            },
            spool: {
                let web = Arc::downgrade(&web);
                let spools =
                    move |method: &str, path: &str| web.upgrade().is_some_and(|web| web.routes.spools(method, path));
                Some((config.data_dir.clone(), Box::new(spools)))
            },
            known: {
                let app = app.clone();
                Box::new(move |fields, info| guard::knows(&app, fields, info))
            },
            ..EdgeConfig::new(socket.clone())
        };
        let control = Control::start(&config.runtime_dir.join(CONTROL_SOCKET), socket, peers.clone())?;
        let edge = Edge::start(edge_config, listeners, peers, streams)?;
        let _ = web.edge.set(edge.handle()); // no other thread does
        set_own_doors(edge.addresses().to_vec());
        if let Some(token) = users::setup_token(app)? {
            let say = "No account yet. Open /setup and use this token once, or run `lamplighter create-admin`";
            log::warning("users", say, &[("setup_token", &token)]);
        }
        Ok(ApiHalf {
            _lock: lock,
            listens: config.listen.len(),
            heartbeat: server.heartbeat(),
            control,
            edge,
            server,
            tls,
        })
    }

    fn addresses(&self) -> Vec<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let own = &self.edge.addresses()[..self.listens];
        own.iter().map(|addr| format!("{scheme}://{addr}")).collect()
    }

    /// Where the self-probe asks.
    fn door(&self) -> Door {
        Door {
            edge: self.edge.handle(),
            listen: self.edge.addresses()[0],
            taken: Arc::clone(&self.heartbeat),
        }
    }

    fn stop(self) {
        self.control.stop();
        let cut = self.edge.drain(DRAIN);
        if cut > 0 {
            log::warning("http", "connections closed at the stop", &[("count", &cut.to_string())]);
        }
        self.server.stop();
        if let Some(keeper) = self.tls {
            keeper.stop();
        }
    }
}

fn bind(addr: &SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(addr).map_err(|e| {
        let say = format!("Cannot listen on {addr}: {e}. Is another Lamplighter running, or is the port taken?");
        Error::new(Kind::Config, "listen", say)
    })
}

/// Warns that passwords and tokens cross the network unencrypted; behind a proxy on another machine it decides.
fn warn_of_plain(config: &Config) {
    let open = config
        .listen
        .iter()
        .find(|addr| !addr.ip().to_canonical().is_loopback());
    if let (None, Some(addr), true) = (&config.tls, open, config.trusted_proxies.is_empty()) {
        let told = "without https, passwords cross the network as they are: set LAMPLIGHTER_TLS=1";
        log::warning("http", told, &[("listen", &addr.to_string())]);
    }
}

/// Accepted host names: the configured ones and our own addresses. A foreign name cannot stand for these (DNS
/// rebinding), and the self-probe and `lamplighter health` use them.
///
/// Without configured names: any address, this machine's own names, and that of `site.public_url`.
fn hosts(app: &Arc<App>, admission: Arc<Admission>) -> Hosts {
    let app = app.clone();
    let named: Vec<Host> = (app.config.allowed_hosts.iter())
        .filter_map(|name| Host::parse(name.trim_matches(['[', ']'])).ok())
        .collect();
    let machine = Host::parse(&sys::hostname()).ok();
    Box::new(move |host| match host.ip() {
        _ if named.contains(host) => true,
        None if named.is_empty() => {
            let is_public = || admission.policy().public.as_ref().is_some_and(|url| url.host == *host);
            host.as_str() == "localhost" || machine.as_ref() == Some(host) || is_public()
        }
        None => false,
        Some(_) if named.is_empty() => true,
        Some(ip) => ip.is_loopback() || app.config.listen.iter().any(|addr| addr.ip() == ip),
    })
}

/// Workers, services, periodic work. One process per data folder, by a lock.
struct SchedulerHalf {
    _lock: File,
    services: Services,
    workers: Workers,
    scheduler: Scheduler,
}

impl SchedulerHalf {
    fn start(app: &Arc<App>, lock: File) -> Result<SchedulerHalf> {
        // Higher features depend on lower ones: they start first and stop last.
        let features = app.registry.all::<Feature>();
        let services = features.iter().rev().flat_map(|f| f.services);
        let services = Services::start(app, std::iter::once(&reactor::SERVICE).chain(services))?;
        let workers = Workers::start(app.clone(), app.registry.all().to_vec(), app.config.workers)?;
        let periodic = features.iter().flat_map(|f| f.periodic).collect();
        let scheduler = Scheduler::start(app.clone(), periodic)?;
        Ok(SchedulerHalf {
            _lock: lock,
            services,
            workers,
            scheduler,
        })
    }

    fn stop(self) {
        self.scheduler.stop();
        self.workers.stop();
        self.services.stop();
    }
}

/// The locks of both parts.
pub const LOCKS: [&str; 2] = ["api.lock", "scheduler.lock"];

/// Locks a part of a data folder: one web server, one scheduler.
pub fn lock(folder: &Path, name: &str) -> Result<File> {
    let file = File::options().create(true).append(true).open(folder.join(name))?;
    file.try_lock().map_err(|e| {
        let say = format!(
            "Another Lamplighter already works on {}. Stop it first.",
            folder.display()
        );
        Error::new(Kind::Busy, "already_running", say).log(e)
    })?;
    Ok(file)
}

/// With two processes, commits of the other one must wake our readers: SQLite's change counter is polled.
const COMMIT_WATCH: Service = Service {
    name: "events.commits",
    every: Duration::from_millis(25),
    prepare: |_| Ok(()),
    run: |run| {
        let mut seen = None;
        run.rounds(&Wake::new(), || {
            let now = run.app.db.version()?;
            if seen.replace(now) != Some(now) {
                run.app.wakes.ring_all();
            }
            Ok(None)
        });
        Ok(())
    },
};
