//! The poller as a service: keeps its list in step with the servers and stores its statistics for other processes.

use super::outcomes::{OFFLINE_SINCE, Outcomes};
use super::poller::{PollStats, Poller};
use super::probe::{self, PollAuth, PollTarget};
use super::readings::SERVERS;
use super::recorder::Recorder;
use super::settings;
use super::uplink::Uplink;
use crate::app::App;
use crate::base::clock::{self, Duration, Instant, Ms};
use crate::base::error::{Error, Result};
use crate::base::host::Host;
use crate::base::id::{Id, Server};
use crate::base::log;
use crate::base::parallel::lock;
use crate::db::{Conn, Db};
use crate::feature::Observes;
use crate::features::fleet::servers;
use crate::net::dial;
use crate::net::get::KeepAlive;
use crate::net::policy::Policy;
use crate::schedule::pool::Bounds;
use crate::schedule::service::{Service, ServiceRun};
use crate::series::Store;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

/// Poll interval of the list: the most that a lost wake-up or a changed setting can cost.
const REFRESH_EVERY: Duration = Duration::from_secs(5);
/// Interval of stored statistics.
const NOTE_EVERY: Duration = Duration::from_secs(10);
/// Interval of cleaning up data of removed servers.
const TIDY_EVERY: Duration = Duration::from_secs(3_600);
/// Minimum of polling threads.
const THREADS_MIN: usize = 4;

/// Polls all servers. A stop waits for running polls (5 s at most) and stores their results.
pub const SERVICES: &[Service] = &[Service {
    name: "metrics.poll",
    every: REFRESH_EVERY,
    prepare: |_| Ok(()),
    run: PollerService::run,
}];

/// State of the service.
struct PollerService {
    app: Arc<App>,
    recorder: Arc<Recorder>,
    uplink: Arc<Mutex<Uplink>>,
    /// Fingerprint of the current list.
    listed: Option<(i64, i64, i64)>,
    polled: HashSet<Id<Server>>,
}

impl PollerService {
    fn run(run: &ServiceRun) -> Result<()> {
        let app = run.app;
        let max = app.db.read(|conn| settings::POLL_THREADS_MAX.number(conn))? as usize;
        let recorder = Arc::new(Recorder::new(app.metrics.clone()));
        let uplink = Arc::new(Mutex::new(Uplink::resume(recorder.note(OFFLINE_SINCE)?)));
        let observers = Observes::start_all(app, &SERVERS)?;
        let outcomes = Outcomes::new(app.clone(), recorder.clone(), observers, uplink.clone());
        let min = THREADS_MIN.min(max);
        let poller = Poller::start(move |batch| outcomes.take(&batch), Bounds { min, max })?;
        let mut service = PollerService {
            app: app.clone(),
            recorder,
            uplink,
            listed: None,
            polled: HashSet::new(),
        };
        let (mut tidied, mut noted): (Option<Instant>, Option<Instant>) = (None, None);
        run.rounds(&app.wakes.events, || {
            let listed = service.refresh(|targets| poller.set_targets(targets));
            // Without a list no server may be taken for removed.
            if service.listed.is_some() && tidied.is_none_or(|at| at.elapsed() >= TIDY_EVERY) {
                tidied = Some(clock::mono());
                logged("old samples could not be tidied", service.tidy());
            }
            if noted.is_none_or(|at| at.elapsed() >= NOTE_EVERY) {
                noted = Some(clock::mono());
                logged("how polling goes could not be noted", service.note(&poller.stats()));
            }
            listed.and(poller.check()).map(|()| None)
        });
        poller.stop();
        Ok(())
    }

    fn note(&self, stats: &PollStats) -> Result<()> {
        let text = serde_json::to_string(stats).map_err(Error::internal)?;
        self.recorder.set_note_text(STATS, &text)
    }

    fn tidy(&self) -> Result<()> {
        self.recorder.set_keep(self.app.db.read(settings::keep)?);
        self.recorder.tidy(clock::now(), |id| self.polled.contains(&id))
    }

    /// Rebuilds the list when a server was added, removed or changed.
    fn refresh(&mut self, set_targets: impl FnOnce(Vec<PollTarget>)) -> Result<()> {
        let now = self.app.db.read(|conn| {
            let (revisions, ids) = servers::poll_fingerprint(conn)?;
            Ok((revisions, ids, servers::POLL_FAIL_THRESHOLD.number(conn)?))
        })?;
        if self.listed == Some(now) {
            return Ok(());
        }
        let (targets, known, up) = self.app.db.read(|conn| {
            let all = servers::all(conn)?;
            let known: HashSet<_> = all.iter().map(|s| s.id).collect();
            let targets: Vec<_> = all.iter().filter_map(|s| target_or_note(&self.app, conn, s)).collect();
            // Servers that failed their last poll say nothing about our network, nor does our own machine.
            let far: HashSet<_> = targets.iter().filter(|t| t.far).map(|t| t.server).collect();
            let up = |s: &servers::Server| {
                (
                    s.id.get(),
                    s.availability.status == "ok" && s.availability.fail_count == 0,
                )
            };
            let up: Vec<_> = all.iter().filter(|s| far.contains(&s.id)).map(up).collect();
            Ok((targets, known, up))
        })?;
        lock(&self.uplink).know(&up);
        set_targets(targets);
        for gone in self.polled.difference(&known) {
            self.recorder.forget(*gone)?;
        }
        self.polled = known;
        self.listed = Some(now);
        Ok(())
    }
}

/// Logs a failure that does not affect polling.
fn logged(what: &str, result: Result<()>) {
    if let Err(e) = result {
        log::error("metrics", what, &[("error", &e.to_string())]);
    }
}

/// A server that cannot be polled (its password cannot be unsealed) must not affect others.
fn target_or_note(app: &App, conn: &Conn, server: &servers::Server) -> Option<PollTarget> {
    target(app, conn, server)
        .map_err(|e| {
            log::error(
                "metrics",
                "a server is not polled",
                &[("server", &server.fields.name), ("error", &e.to_string())],
            )
        })
        .ok()
}

/// Poll target of a server.
pub fn target(app: &App, conn: &Conn, server: &servers::Server) -> Result<PollTarget> {
    let f = &server.fields;
    let host = if f.glances_host.is_empty() {
        &f.host
    } else {
        &f.glances_host
    };
    let stored = |column| -> Result<_> { Ok(servers::secret(app, conn, server.id, column)?.unwrap_or_default()) };
    let auth = match f.glances_auth_type {
        "basic" => PollAuth::Basic {
            user: f.glances_username.clone(),
            password: stored("glances_password")?,
        },
        "token" => PollAuth::Token(stored("glances_token")?),
        _ => PollAuth::None,
    };
    let host = Host::parse(host).map_err(Error::internal)?;
    let near = host.as_str() == "localhost" || host.ip().is_some_and(dial::is_own);
    Ok(PollTarget {
        server: server.id,
        revision: server.poll_revision,
        security: probe::security(f.glances_scheme, &f.glances_tls_pin).map_err(Error::internal)?,
        host,
        port: f.glances_port,
        policy: Policy::of_server(&Host::parse(&f.host).map_err(Error::internal)?),
        path: f.glances_path.clone(),
        path_seen: server.glances_path_seen.clone().filter(|seen| *seen != f.glances_path),
        auth,
        interval: Duration::from_secs(f.poll_interval_s.max(1) as u64),
        fail_threshold: servers::POLL_FAIL_THRESHOLD.number(conn)? as u32,
        misses: u32::try_from(server.availability.fail_count).unwrap_or(0),
        ssh: (Host::parse(&f.host).map_err(Error::internal)?, f.ssh_port),
        far: !near,
        line: KeepAlive::default(),
        meant: Vec::new(),
    })
}

/// Note: statistics of polling.
const STATS: &str = "poll.doing";

/// Statistics stored in the last seconds by the polling process.
pub fn poll_stats(metrics: &Arc<Db>) -> Result<Option<PollStats>> {
    let text = Store::new(metrics.clone()).note_text(STATS)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Since when our own network is down, unix ms.
pub fn offline_since(metrics: &Arc<Db>) -> Result<Option<Ms>> {
    Store::new(metrics.clone()).note(OFFLINE_SINCE)
}
