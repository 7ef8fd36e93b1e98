//! The poller, its list kept in step with the servers, and what its outcomes do to the lamps: a status change, its event
//! (from which the alert is made) and its evidence are one transaction.

use super::lamp::{self, Change};
use super::ownnet::{OwnNet, Turn};
use super::poll::{Doing, PollSink, Poller, tell_log};
use super::probe::{self, Outcome, PollAuth, PollTarget};
use super::rollup::Keep;
use super::series::Figures;
use super::settings;
use super::store::Store;
use crate::app::App;
use crate::base::clock::{self, DAY, Duration, Instant, Ms, rfc3339};
use crate::base::error::{Error, Result};
use crate::base::host::Host;
use crate::base::id::{Id, Server};
use crate::base::log::{self, Level};
use crate::base::parallel::lock;
use crate::base::ration::Rations;
use crate::db::{Conn, Db, Tx};
use crate::events::outbox;
use crate::features::fleet::servers::{self, Polled};
use crate::features::watch::rules;
use crate::features::watch::rules::judge::{Look, Measured};
use crate::net::dial;
use crate::net::get::KeepAlive;
use crate::net::policy::Policy;
use crate::schedule::pool::Bounds;
use crate::schedule::service::{Service, ServiceRun};
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Mutex};

/// A lost wake-up costs at most this; a changed setting takes as long.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How often it is noted how polling goes, for whichever process is asked.
const NOTE_EVERY: Duration = Duration::from_secs(10);
/// How often what belongs to no server any more is cleaned up.
const TIDY_EVERY: Duration = Duration::from_secs(3_600);
/// Threads that poll when there is little to do.
const THREADS_MIN: usize = 4;

/// The poller: asks every server there is and will be. A stop lets polls that run end (5 s at most) and keeps what they
/// brought.
pub const SERVICES: &[Service] = &[Service {
    name: "metrics.poll",
    every: LOOK_AGAIN,
    prepare: |_| Ok(()),
    run: |run| {
        let (keeper, poller) = Keeper::start(run.app)?;
        keeper.run(run, poller);
        Ok(())
    },
}];

/// Keeps the poller's list in step with the servers.
struct Keeper {
    app: Arc<App>,
    rules: Arc<rules::Watch>,
    store: Arc<Store>,
    own_net: Arc<Mutex<OwnNet>>,
}

impl Keeper {
    fn start(app: &Arc<App>) -> Result<(Keeper, Poller)> {
        let max = app.db.read(|conn| settings::POLL_THREADS_MAX.number(conn))? as usize;
        let store = Arc::new(Store::new(app.metrics.clone()));
        let own_net = Arc::new(Mutex::new(OwnNet::resume(store.note(OFFLINE_SINCE)?)));
        let rules = Arc::new(rules::Watch::new(app.clone()));
        rules.refresh(app.db.read(servers::poll_fingerprint)?)?;
        let sink = Box::new(Lamps {
            app: app.clone(),
            rules: rules.clone(),
            store: store.clone(),
            own_net: own_net.clone(),
        });
        let min = THREADS_MIN.min(max);
        let poller = Poller::start(store.clone(), sink, Bounds { min, max })?;
        let keeper = Keeper {
            app: app.clone(),
            rules,
            store,
            own_net,
        };
        Ok((keeper, poller))
    }

    fn run(&self, run: &ServiceRun, poller: Poller) {
        let mut seen_list = None;
        let mut polled = HashSet::new();
        let (mut tidied, mut noted): (Option<Instant>, Option<Instant>) = (None, None);
        run.rounds(&self.app.wakes.events, || {
            let listed = self.refresh(&poller, &mut seen_list, &mut polled);
            // Without a list nobody may be taken for gone.
            if seen_list.is_some() && tidied.is_none_or(|at| at.elapsed() >= TIDY_EVERY) {
                tidied = Some(clock::mono());
                logged("old samples could not be tidied", self.tidy(&polled));
            }
            if noted.is_none_or(|at| at.elapsed() >= NOTE_EVERY) {
                noted = Some(clock::mono());
                let noted = self.note(&poller.doing()).and(self.rules.note());
                logged("how polling goes could not be noted", noted);
            }
            listed.and(poller.check()).map(|()| None)
        });
        poller.stop();
        logged("what waits could not be noted", self.rules.note());
    }

    fn note(&self, doing: &Doing) -> Result<()> {
        let text = serde_json::to_string(doing).map_err(Error::internal)?;
        self.store.set_note_text(DOING, &text)
    }

    fn tidy(&self, polled: &HashSet<Id<Server>>) -> Result<()> {
        self.store.set_keep(self.app.db.read(Keep::read)?);
        self.store.tidy(clock::now(), |id| polled.contains(&id))
    }

    /// Makes a new list when a server was added, removed or is to be asked in another way.
    fn refresh(
        &self,
        poller: &Poller,
        seen_list: &mut Option<(i64, i64, i64)>,
        polled: &mut HashSet<Id<Server>>,
    ) -> Result<()> {
        let now = self.app.db.read(|conn| {
            let (revisions, ids) = servers::poll_fingerprint(conn)?;
            Ok((revisions, ids, servers::POLL_FAIL_THRESHOLD.number(conn)?))
        })?;
        self.rules.refresh((now.0, now.1))?;
        if *seen_list == Some(now) {
            return Ok(());
        }
        let targets = self.app.db.read(|conn| {
            let all = servers::all(conn)?;
            let known: HashSet<_> = all.iter().map(|s| s.id).collect();
            let targets: Vec<_> = all.iter().filter_map(|s| target_or_note(&self.app, conn, s)).collect();
            // Whoever was missed once already says nothing about our network, nor does our own machine.
            let far: HashSet<_> = targets.iter().filter(|t| t.far).map(|t| t.server).collect();
            let lit = |s: &servers::Server| (s.id.get(), s.lamp.status == "ok" && s.lamp.fail_count == 0);
            let lit: Vec<_> = all.iter().filter(|s| far.contains(&s.id)).map(lit).collect();
            Ok((targets, known, lit))
        })?;
        let (targets, known, lit) = targets;
        lock(&self.own_net).know(&lit);
        poller.set_targets(targets);
        for gone in polled.difference(&known) {
            self.store.forget(*gone)?;
        }
        *polled = known;
        *seen_list = Some(now);
        Ok(())
    }
}

/// What goes wrong beside the list costs no poll.
fn logged(what: &str, result: Result<()>) {
    if let Err(e) = result {
        log::error("metrics", what, &[("error", &e.to_string())]);
    }
}

/// A server that cannot be asked (its password does not open) must not keep the others from being asked.
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

/// How a server's Glances is asked.
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
        misses: u32::try_from(server.lamp.fail_count).unwrap_or(0),
        ssh: (Host::parse(&f.host).map_err(Error::internal)?, f.ssh_port),
        far: !near,
        line: KeepAlive::default(),
        meant: Vec::new(),
    })
}

/// Minds the lamps.
struct Lamps {
    app: Arc<App>,
    rules: Arc<rules::Watch>,
    store: Arc<Store>,
    own_net: Arc<Mutex<OwnNet>>,
}

/// Where it is noted how polling goes.
const DOING: &str = "poll.doing";

/// How polling goes, as noted within the last seconds by the process that polls.
pub fn doing(metrics: &Arc<Db>) -> Result<Option<Doing>> {
    let text = Store::new(metrics.clone()).note_text(DOING)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Since when our own network seems to be down, unix ms.
pub fn offline_since(metrics: &Arc<Db>) -> Result<Option<Ms>> {
    Store::new(metrics.clone()).note(OFFLINE_SINCE)
}

/// Where it is noted that we are offline: after a restart nobody has answered yet, and the alert is still open.
const OFFLINE_SINCE: &str = "controller.offline_since";

impl PollSink for Lamps {
    fn polled(&self, mut batch: Vec<Outcome>) -> Result<()> {
        self.judge(&batch);
        let mut own_net = lock(&self.own_net);
        let turns = own_net.weigh(&batch);
        batch.retain(|outcome| !own_net.excuses(outcome));
        drop(own_net);
        let mut told = Ok(());
        for turn in turns {
            told = told.and(self.turn(&turn).inspect_err(|e| {
                log::error(
                    "metrics",
                    "the controller's own state could not be written",
                    &[("error", &e.to_string())],
                );
            }));
        }
        told.and(mind(&self.app, &batch).inspect_err(|e| {
            log::error("metrics", "lamps could not be written", &[("error", &e.to_string())]);
        }))
    }
}

impl Lamps {
    /// Holds the figures against the rules of alerts.
    fn judge(&self, batch: &[Outcome]) {
        let figures: Vec<Option<Figures>> = batch.iter().map(figures).collect();
        let looks = batch.iter().zip(&figures).map(|(outcome, figures)| Look {
            server: outcome.server,
            at: outcome.at_ms,
            seen: figures.as_ref().map(|figures| figures as &dyn Measured),
            misses_max: outcome.fail_threshold,
        });
        self.rules.look(looks);
    }

    /// The note comes before the alarm and goes after the all-clear: killed in between, we say one of them twice.
    fn turn(&self, turn: &Turn) -> Result<()> {
        let emit = |kind, data: &serde_json::Value| {
            let wake = &self.app.wakes.events;
            self.app
                .db
                .write(|tx| outbox::emit(tx, wake, kind, ("controller", 0), data))
        };
        match turn {
            Turn::Lost(since, evidence) => {
                log::error(
                    "metrics",
                    "no server can be reached: our own network seems to be down",
                    &[],
                );
                self.store.set_note(OFFLINE_SINCE, Some(*since))?;
                let data = serde_json::json!({ "name": "Lamplighter", "since": rfc3339(*since), "evidence": evidence });
                emit("controller.offline", &data)
            }
            Turn::Back(after_ms, first) => {
                log::info(
                    "metrics",
                    "servers can be reached again",
                    &[("after_s", &(after_ms / 1_000).to_string())],
                );
                let data = serde_json::json!({ "name": "Lamplighter", "after_s": after_ms / 1_000, "first": first });
                emit("controller.online", &data)?;
                self.store.set_note(OFFLINE_SINCE, None)
            }
        }
    }
}

fn figures(outcome: &Outcome) -> Option<Figures<'_>> {
    let seen = outcome.result.as_ref().ok()?;
    Some(Figures::of(&seen.sample, outcome.took_ms))
}

/// Most polls change nothing: those are found on a reader, and only the rest costs a commit.
fn mind(app: &App, batch: &[Outcome]) -> Result<()> {
    let moved: Vec<&Outcome> = app.db.read(|conn| {
        let mut moved = Vec::new();
        for outcome in batch {
            if weigh(conn, outcome)?.is_some() {
                moved.push(outcome);
            }
        }
        Ok(moved)
    })?;
    if moved.is_empty() {
        return Ok(());
    }
    app.db.write(|tx| {
        for outcome in &moved {
            if let Some(weighed) = weigh(tx, outcome)? {
                write(app, tx, outcome, &weighed)?;
            }
        }
        Ok(())
    })
}

/// What an outcome changes.
struct Weighed {
    before: Polled,
    lamp: servers::Lamp,
    change: Option<Change>,
    /// API version and path, when they are other than before.
    seen: Option<(i64, String)>,
    /// What the server's name means, when that is news, and what is to be said of it.
    addresses: Option<(String, Option<(Ms, String)>)>,
}

/// `None`: nothing, or the outcome is about a server that is gone or was changed in between.
fn weigh(conn: &Conn, outcome: &Outcome) -> Result<Option<Weighed>> {
    let before = servers::polled(conn, outcome.server)?.filter(|p| p.revision == outcome.revision);
    let Some(before) = before else { return Ok(None) };
    let poll = outcome.result.as_ref().map(drop);
    let (mut lamp, change) = lamp::step(&before.lamp, poll, outcome.at_ms, outcome.fail_threshold);
    if let Some(host) = &outcome.host {
        lamp.host = Some(host.clone());
    }
    let seen = outcome
        .result
        .as_ref()
        .ok()
        .map(|s| (i64::from(s.sample.api), s.path.clone()));
    let known = before.glances_api.zip(before.glances_path_seen.clone());
    let seen = seen.filter(|seen| Some(seen) != known.as_ref());
    let addresses = addresses(&before, outcome);
    if lamp == before.lamp && seen.is_none() && addresses.is_none() {
        return Ok(None);
    }
    Ok(Some(Weighed {
        before,
        lamp,
        change,
        seen,
        addresses,
    }))
}

/// Addresses that are kept of a name: a pool of machines behind one name is known after a while.
const ADDRESSES_MAX: usize = 16;
/// And of these are named.
const ADDRESSES_NAMED: usize = 4;

/// What the server's name has come to mean, if it has.
fn addresses(before: &Polled, outcome: &Outcome) -> Option<(String, Option<(Ms, String)>)> {
    let known: Vec<IpAddr> = before.addresses.split(' ').filter_map(|ip| ip.parse().ok()).collect();
    if outcome.means.iter().all(|ip| known.contains(ip)) {
        return None;
    }
    let named = |ips: &[IpAddr]| {
        let named: Vec<_> = ips.iter().take(ADDRESSES_NAMED).map(IpAddr::to_string).collect();
        named.join(", ")
    };
    let moved = probe::is_elsewhere(&known, &outcome.means).then(|| {
        let (now, was) = (named(&outcome.means), named(&known));
        (outcome.at_ms, format!("its name means {now} now; it was {was}"))
    });
    let earlier = known.iter().filter(|ip| !outcome.means.contains(ip));
    let all = outcome.means.iter().chain(earlier).take(ADDRESSES_MAX);
    let all: Vec<_> = all.map(IpAddr::to_string).collect();
    Some((all.join(" "), moved))
}

/// A name that means something else each minute is told of now and then.
static MOVES: LazyLock<Rations<i64>> = LazyLock::new(|| Rations::new(3, Duration::from_secs(3_600)));

fn tell_moved(app: &App, tx: &Tx, id: Id<Server>, name: &str, seen: &str) -> Result<()> {
    if MOVES.next(id.get(), clock::mono()).is_none() {
        return Ok(());
    }
    let fields = [("server", name), ("seen", seen)];
    log::warning("metrics", "a server's name means another machine", &fields);
    let data = serde_json::json!({ "name": name, "evidence": [seen] });
    outbox::emit(tx, &app.wakes.events, "server.moved", ("server", id.get()), &data)
}

fn write(app: &App, tx: &Tx, outcome: &Outcome, weighed: &Weighed) -> Result<()> {
    let id = outcome.server;
    servers::set_lamp(tx, id, &weighed.lamp)?;
    if let Some((api, path)) = &weighed.seen {
        servers::set_glances_seen(tx, id, *api, path)?;
    }
    if let Some((all, moved)) = &weighed.addresses {
        servers::set_addresses(tx, id, all, moved.as_ref())?;
        if let Some((_, seen)) = moved {
            tell_moved(app, tx, id, &weighed.before.name, seen)?;
        }
    }
    let Some(change) = weighed.change else { return Ok(()) };
    let (name, after_s) = (&weighed.before.name, (change.after_ms / 1_000).to_string());
    let fields = [
        ("server", name.as_str()),
        ("from", change.from),
        ("to", change.to),
        ("after_s", &after_s),
    ];
    match change.to {
        "unreachable" => tell_log(Level::Warning, id, "a lamp went dark", &fields),
        _ => tell_log(Level::Info, id, "a lamp is lit", &fields),
    }
    let kind = match (change.from, change.to) {
        (_, "unreachable") => "server.unreachable",
        ("unreachable", _) => "server.recovered",
        _ => "server.lit",
    };
    // Nobody's lamp has gone out: mostly it is a new server whose Glances is still to come.
    let is_new = (change.from, change.to) == ("provisioning", "unreachable");
    let data = serde_json::json!({
        "name": weighed.before.name, "from": change.from, "to": change.to, "after_s": change.after_ms / 1_000,
        "since": rfc3339(weighed.lamp.since), "level": is_new.then_some("WARNING"),
        "variant": if is_new { "never" } else { "" },
        "evidence": evidence(outcome, weighed),
    });
    outbox::emit(tx, &app.wakes.events, kind, ("server", id.get()), &data)
}

/// The raw facts behind a change, oldest first.
fn evidence(outcome: &Outcome, weighed: &Weighed) -> Vec<String> {
    let line = |at: Ms, text: &str| format!("{} {text}", rfc3339(at));
    let mut out = Vec::new();
    if let Some((_, say)) = &weighed.before.lamp.error {
        out.push(format!("before: {say}"));
    }
    match &outcome.result {
        Err(e) => {
            out.push(line(outcome.at_ms, &e.say));
            out.push(format!(
                "{} polls in a row missed, the last took {} ms",
                weighed.lamp.fail_count, outcome.took_ms
            ));
            out.extend(outcome.host.clone());
            let moved = weighed.addresses.as_ref().and_then(|(_, moved)| moved.as_ref());
            let moved = moved.or(weighed.before.moved.as_ref());
            out.extend(
                moved
                    .filter(|(at, _)| outcome.at_ms - at < DAY)
                    .map(|(at, seen)| line(*at, seen)),
            );
        }
        Ok(seen) => out.push(line(
            outcome.at_ms,
            &format!("Glances answers at {} after {} ms", seen.path, outcome.took_ms),
        )),
    }
    out
}
