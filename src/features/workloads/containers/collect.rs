//! The collector: one session for each server whose containers are looked at, with one connection for events and one for
//! each log that is followed. A session ends with its connection and begins again with growing pauses; what was read is in
//! the journal with where it goes on.

use super::choice::Choice;
use super::engine::{Ask, Engine};
use super::follow::{self, Followed, Skew};
use super::model::{self, EngineId, Happened, Info, Inspected, Version, What};
use super::observed::{self, CONTAINERS, Course, EVERY_S};
use super::queries::{self, Container, EngineRow, Of};
use super::relay;
use super::settings;
use super::state::{self, Told};
use super::stats::{Counters, Usage};
use crate::app::App;
use crate::base::clock::{self, Duration, Instant, Ms, SECOND};
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::base::parallel::lock;
use crate::base::process::Cancel;
use crate::base::{log, random};
use crate::events::outbox;
use crate::feature::Observes;
use crate::features::fleet::metrics;
use crate::features::fleet::servers::{self, ServerConnection};
use crate::features::workloads::logs::LOCAL;
use crate::lang::words;
use crate::provision::engines::{self, Way};
use crate::provision::recipes;
use crate::schedule::fan_out::FanOut;
use crate::schedule::service::{Service, ServiceRun};
use crate::series::{Observation, Observers, Store};
use crate::ssh::forward::Remote;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, Scope};

/// Interval of looking at settings and servers.
const REFRESH_EVERY: Duration = Duration::from_secs(5);
/// Interval of cleaning up.
const TIDY_EVERY: Duration = Duration::from_secs(600);
/// First pause before a session is tried again; it doubles.
const PAUSE_MIN: Duration = Duration::from_secs(2);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Pause where the login user may not use the socket: a group that it was added to counts for new connections only, and an
/// idle one is kept for a minute.
const DENIED_PAUSE: Duration = Duration::from_secs(75);
/// Silence of an engine after which it is an alert.
const SILENT_MAX: Ms = 120 * SECOND;
/// Interval of lists when nothing happens.
const LIST_EVERY: Duration = Duration::from_secs(30);
/// Interval of lists while much happens.
const LIST_MIN: Duration = Duration::from_secs(1);
/// Interval of lists while something may become an alert by waiting.
const WAIT_EVERY: Duration = Duration::from_secs(3);
/// Logs that are followed at once on one server.
const FOLLOWED_MAX: usize = 400;
/// Questions about use at the same time.
const WIDTH: usize = 6;
/// Stack of a thread that follows a log.
const STACK: usize = 256 << 10;
/// Pause before a log is followed again that ended with an error.
const FOLLOW_PAUSE: Duration = Duration::from_secs(10);
/// Pause before events are asked for again that ended by themselves.
const EVENTS_PAUSE: Duration = Duration::from_secs(3);
/// Longest line of events.
const EVENT_MAX: usize = 256 << 10;

/// The collector.
pub const SERVICES: &[Service] = &[Service {
    name: "containers.collect",
    every: REFRESH_EVERY,
    prepare: |_| Ok(()),
    run,
}];

/// What all sessions share.
struct Shared {
    app: Arc<App>,
    store: Store,
    observers: Observers,
}

/// A running session.
struct Session {
    cancel: Cancel,
    thread: JoinHandle<()>,
    revision: String,
}

fn run(run: &ServiceRun) -> Result<()> {
    let app = run.app;
    let shared = Arc::new(Shared {
        app: app.clone(),
        store: Store::new(app.metrics.clone()),
        observers: Observes::start_all(app, &CONTAINERS)?,
    });
    let stop = Cancel::new();
    let fault: Arc<Mutex<Option<Error>>> = Arc::default();
    let writer = {
        let (app, stop, fault) = (app.clone(), stop.clone(), fault.clone());
        let write = move || app.journal.write_until(&stop, &mut |e| *lock(&fault) = e);
        thread::Builder::new().name("containers.write".into()).spawn(write)?
    };
    let mut sessions: HashMap<Of, Session> = HashMap::new();
    let mut tidied: Option<Instant> = None;
    run.rounds(&app.wakes.events, || {
        refresh(&shared, &mut sessions)?;
        if tidied.is_none_or(|at| at.elapsed() >= TIDY_EVERY) {
            tidied = Some(clock::mono());
            tidy(&shared)?;
        }
        // So that rules end for what is gone, although nothing is observed any more.
        shared.observers.publish(&[]);
        lock(&fault).clone().map_or(Ok(None), Err)
    });
    sessions.values().for_each(|session| session.cancel.cancel());
    for (_, session) in sessions {
        ended(session.thread);
    }
    stop.cancel();
    ended(writer);
    Ok(())
}

fn ended(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        log::error("containers", "a thread of the collector panicked", &[]);
    }
}

/// Servers to look at, each with what a new session begins for when it changes.
fn wanted(app: &App) -> Result<BTreeMap<Of, String>> {
    let mut out: BTreeMap<Of, String> = BTreeMap::new();
    app.db.read(|conn| {
        for server in servers::all(conn)?
            .iter()
            .filter(|server| server.fields.containers == "auto")
        {
            let f = &server.fields;
            let print = (&f.host, f.ssh_port, &f.username, &server.host_key, server.updated_at);
            out.insert(Some(server.id), format!("{print:?}"));
        }
        Ok(())
    })?;
    if let Some(socket) = &app.config.containers_socket {
        out.insert(None, socket.display().to_string());
    }
    Ok(out)
}

fn refresh(shared: &Arc<Shared>, sessions: &mut HashMap<Of, Session>) -> Result<()> {
    let app = &shared.app;
    app.journal.set_bounds(app.db.read(settings::bounds)?);
    let wanted = wanted(app)?;
    let over: Vec<Of> = sessions
        .iter()
        .filter(|(server, session)| session.thread.is_finished() || wanted.get(*server) != Some(&session.revision))
        .map(|(server, _)| *server)
        .collect();
    for server in &over {
        sessions[server].cancel.cancel();
    }
    for server in over {
        if let Some(session) = sessions.remove(&server) {
            ended(session.thread);
        }
    }
    for row in app.db.read(queries::engines)? {
        if !wanted.contains_key(&row.server) {
            app.db.write(|tx| {
                tell(app, tx, &row, ANSWERS)?;
                queries::remove_engine(tx, row.id)
            })?;
            // What was seen there is not looked at any more.
            state::apply(app, row.server, Vec::new(), &mut Told::default())?;
        }
    }
    for (server, revision) in wanted {
        if let std::collections::hash_map::Entry::Vacant(empty) = sessions.entry(server) {
            let cancel = Cancel::new();
            let (shared, stopped) = (shared.clone(), cancel.clone());
            let thread = thread::Builder::new()
                .name("containers.session".into())
                .spawn(move || keep_up(&shared, server, &stopped))?;
            empty.insert(Session {
                cancel,
                thread,
                revision,
            });
        }
    }
    Ok(())
}

/// Removes what is too old, and what belongs to containers that no longer exist.
fn tidy(shared: &Shared) -> Result<()> {
    let (app, now) = (&shared.app, clock::now());
    let (before, keep) = app
        .db
        .read(|conn| Ok((now - settings::bounds(conn)?.age, metrics::keep(conn)?)))?;
    app.db.write(|tx| queries::remove_gone(tx, before))?;
    shared.store.set_keep(keep);
    let known = app.db.read(queries::ids)?;
    let stored = shared.store.subjects(CONTAINERS.name)?;
    for id in stored.into_iter().chain(app.journal.subjects(CONTAINERS.name)) {
        if !known.contains(&id) {
            forget(shared, id)?;
        }
    }
    app.journal.tidy(now)?;
    shared.store.tidy(CONTAINERS.name, now)
}

fn forget(shared: &Shared, id: i64) -> Result<()> {
    let subject = (CONTAINERS.name, id);
    shared.store.forget(subject, |tx| queries::forget_usage(tx, id))?;
    shared.app.journal.forget(subject)
}

// ---- one server ------------------------------------------------------------------------------------------------------

/// Sessions with a server, one after the other, until cancelled.
fn keep_up(shared: &Arc<Shared>, server: Of, cancel: &Cancel) {
    let mut pause = PAUSE_MIN;
    while !cancel.is_cancelled() {
        let begun = clock::mono();
        let ended = match server {
            Some(id) => over_ssh(shared, id, cancel),
            None => on_this_machine(shared, cancel),
        };
        let Err(e) = ended else { continue };
        if cancel.is_cancelled() {
            return;
        }
        if begun.elapsed() > PAUSE_MAX {
            pause = PAUSE_MIN;
        }
        silent(shared, server, &e);
        let [some] = random::bytes::<1>();
        let least = match e.code {
            "engine_denied" => DENIED_PAUSE,
            _ => Duration::ZERO,
        };
        if cancel.wait(pause.mul_f64(0.75 + f64::from(some) / 512.0).max(least)) {
            return;
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

fn on_this_machine(shared: &Arc<Shared>, cancel: &Cancel) -> Result<()> {
    let Some(socket) = shared.app.config.containers_socket.as_deref() else {
        return Ok(());
    };
    talk(shared, None, socket, &socket.display().to_string(), cancel)
}

fn over_ssh(shared: &Arc<Shared>, id: Id<id::Server>, cancel: &Cancel) -> Result<()> {
    through(&shared.app, id, cancel, |path, socket| {
        talk(shared, Some(id), path, socket, cancel)
    })
}

/// Does something with the engine of a server, or of this machine. Errors: those of ssh, of
/// [`engines::way`] and of the work.
pub fn with_engine<T>(app: &App, server: Of, cancel: &Cancel, work: impl FnOnce(&Engine) -> Result<T>) -> Result<T> {
    match (server, app.config.containers_socket.as_deref()) {
        (Some(id), _) => through(app, id, cancel, |path, _| work(&Engine::at(path)?)),
        (None, Some(socket)) => work(&Engine::at(socket)?),
        (None, None) => {
            let say = "Containers of this machine are not looked at: LAMPLIGHTER_CONTAINERS_SOCKET is not set.";
            Err(Error::new(Kind::Conflict, "engine_absent", say))
        }
    }
}

/// Reaches the engine of a server, and gives the path of a socket here that leads to it, and that of its own there.
fn through<T>(
    app: &App,
    id: Id<id::Server>,
    cancel: &Cancel,
    work: impl FnOnce(&Path, &str) -> Result<T>,
) -> Result<T> {
    let connection = ServerConnection::of(app, id)?;
    let user = connection.server.fields.username.clone();
    let found = connection.run(app, &recipes::engines(), cancel, &mut |_| {})?;
    let forwarded = |there: &str, socket: &str| {
        let mut forward = connection.forward(app, &Remote::Unix(there.into()), cancel)?;
        let path = forward.path().to_path_buf();
        work(&path, socket).map_err(|e| match e.kind {
            Kind::Upstream | Kind::Timeout => forward.explain(e, cancel),
            _ => e,
        })
    };
    match engines::way(&found.facts, &user)? {
        Way::Open(socket) => forwarded(&socket, &socket),
        Way::Root(socket, denied) => relay::with(app, &connection, &socket, cancel, |there| forwarded(there, &socket))
            .map_err(|e| match e.code.starts_with("sudo_") {
                true => Error {
                    say: words::english("told.engine_denied_both", &[("what", &denied.say), ("why", &e.say)]),
                    ..denied
                },
                false => e,
            }),
    }
}

/// Event: an engine does not answer.
pub const SILENT: &str = "containers.silent";
/// Event: it answers again, or is not asked any more.
pub const ANSWERS: &str = "containers.answers";

fn engine_row(conn: &crate::db::Conn, server: Of) -> Result<EngineRow> {
    let row = queries::engines(conn)?.into_iter().find(|row| row.server == server);
    Ok(row.unwrap_or_else(|| EngineRow {
        id: 0,
        server,
        server_name: String::new(),
        engine: String::new(),
        version: String::new(),
        socket: String::new(),
        state: "waiting".into(),
        code: String::new(),
        say: String::new(),
        since: clock::now(),
        told: false,
    }))
}

/// Says that an engine is silent, or answers again; nothing if that is known.
fn tell(app: &App, tx: &crate::db::Tx, row: &EngineRow, kind: &'static str) -> Result<()> {
    if row.told == (kind == SILENT) {
        return Ok(());
    }
    let name = match row.server {
        Some(id) => servers::get(tx, id)?.fields.name,
        None => LOCAL.into(),
    };
    let evidence = [format!("{} {}", clock::rfc3339(row.since), row.say)];
    let data = serde_json::json!({ "name": name, "code": row.code, "evidence": evidence });
    let target = row.server.map_or(("controller", 0), |id| ("server", id.get()));
    outbox::emit(tx, &app.wakes.events, kind, target, &data)
}

fn silent(shared: &Shared, server: Of, e: &Error) {
    let app = &shared.app;
    let done = app.db.write(|tx| {
        let now = clock::now();
        let mut row = engine_row(tx, server)?;
        if row.state != "silent" {
            (row.state, row.since) = ("silent".into(), now);
        }
        (row.code, row.say) = (e.code.into(), e.say.clone());
        // An engine that never answered is being set up.
        if now - row.since >= SILENT_MAX && !row.version.is_empty() {
            tell(app, tx, &row, SILENT)?;
            row.told = true;
        }
        queries::put_engine(tx, &row)
    });
    if let Err(e) = done {
        log::error(
            "containers",
            "an engine's silence could not be noted",
            &[("error", &e.to_string())],
        );
    }
}

fn answers(app: &App, server: Of, version: &Version, socket: &str) -> Result<()> {
    app.db.write(|tx| {
        let mut row = engine_row(tx, server)?;
        tell(app, tx, &row, ANSWERS)?;
        if row.state != "answers" {
            (row.state, row.since) = ("answers".into(), clock::now());
        }
        (row.engine, row.version) = (
            version.engine().into(),
            crate::base::text::one_line(&version.version, 60),
        );
        (row.socket, row.told) = (socket.into(), false);
        (row.code, row.say) = (String::new(), String::new());
        queries::put_engine(tx, &row)
    })
}

/// One session with an engine, until it fails or is cancelled.
fn talk(shared: &Arc<Shared>, server: Of, path: &Path, socket: &str, cancel: &Cancel) -> Result<()> {
    let engine = Engine::at(path)?;
    engine.ask(&Ask::Ping)?;
    let version: Version = engine.read(&Ask::Version)?;
    let info = Info::of(&engine.read(&Ask::Info)?);
    let skew = Skew::default();
    if let Some(shown) = info.shown {
        skew.see(shown);
    }
    answers(&shared.app, server, &version, socket)?;
    let over = Cancel::new();
    let ends = over.clone();
    let _watch = cancel.watch(move || ends.cancel());
    if cancel.is_cancelled() {
        return Ok(());
    }
    let visit = Visit {
        shared,
        server,
        engine: &engine,
        skew: &skew,
        cpus: info.cpus,
        podman: version.engine() == "podman",
        over: &over,
        fault: Mutex::default(),
        there: Mutex::default(),
    };
    let done = thread::scope(|scope| {
        let done = visit.look(scope);
        over.cancel();
        done
    });
    match lock(&visit.fault).take() {
        Some(e) if done.as_ref().is_ok_and(|()| !cancel.is_cancelled()) => Err(e),
        _ => done,
    }
}

struct Visit<'a> {
    shared: &'a Arc<Shared>,
    server: Of,
    engine: &'a Engine,
    skew: &'a Skew,
    cpus: u32,
    podman: bool,
    /// The session is over.
    over: &'a Cancel,
    /// Why.
    fault: Mutex<Option<Error>>,
    /// What is there: of those that run the use is asked for.
    there: Mutex<Vec<There>>,
}

/// A container, for who measures.
type There = (i64, EngineId, Container);

/// A log that is followed.
struct Follower {
    life: EngineId,
    live: bool,
    cancel: Cancel,
    state: Arc<Mutex<Went>>,
}

/// How following a log went.
enum Went {
    Goes,
    Ended,
    Failed(Instant, Error),
}

impl<'a> Visit<'a> {
    fn fail(&self, e: Error) {
        let mut fault = lock(&self.fault);
        if !self.over.is_cancelled() {
            *fault = Some(e);
        }
        drop(fault);
        self.over.cancel();
    }

    /// Lists, and follows what is to be followed, until the session is over.
    fn look<'s>(&'s self, scope: &'s Scope<'s, '_>) -> Result<()> {
        let (tell, told) = mpsc::sync_channel(10_000);
        thread::Builder::new()
            .name("containers.events".into())
            .spawn_scoped(scope, move || {
                if let Err(e) = self.events(&tell) {
                    self.fail(e);
                }
            })?;
        thread::Builder::new()
            .name("containers.stats".into())
            .spawn_scoped(scope, || self.measure())?;
        let mut followers: HashMap<i64, Follower> = HashMap::new();
        let mut stirred: HashSet<EngineId> = HashSet::new();
        let (mut news, mut listed_at, mut dirty, mut waits) = (Told::default(), None::<Instant>, true, false);
        while !self.over.is_cancelled() {
            let due = match (dirty, waits) {
                (true, _) => LIST_MIN,
                (_, true) => WAIT_EVERY,
                _ => LIST_EVERY,
            };
            let left = listed_at.map_or(Duration::ZERO, |at| due.saturating_sub(at.elapsed()));
            if left.is_zero() {
                (dirty, listed_at) = (false, Some(clock::mono()));
                let applied = self.list(&mut news)?;
                waits = applied.waits;
                self.follow(scope, &mut followers, &applied, &mut stirred)?;
                for id in applied.forgotten {
                    forget(self.shared, id)?;
                }
                continue;
            }
            match told.recv_timeout(left.min(Duration::from_millis(500))) {
                Ok(None) => dirty = true,
                Ok(Some(event)) => {
                    dirty = true;
                    if matches!(event.what, What::Started | What::Died(_)) {
                        stirred.insert(event.life.clone());
                    }
                    match event.what {
                        What::Asked => news.asked(event.life),
                        What::Died(code) => news.died(event.life, code),
                        What::Oom => news.oom(event.life),
                        What::Health(health) => news.health(event.life, health),
                        What::Started => news.started(&event.life),
                        What::Other => {}
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        followers.values().for_each(|follower| follower.cancel.cancel());
        Ok(())
    }

    fn list(&self, news: &mut Told) -> Result<state::Applied> {
        let (_, body) = self.engine.ask(&Ask::List)?;
        let listed = model::list(&body)?;
        let known: HashMap<String, (String, String, String)> = self.shared.app.db.read(|conn| {
            let filter = queries::Filter {
                server: Some(self.server),
                state: "any",
                limit: i64::MAX,
                ..Default::default()
            };
            let (all, _) = queries::list(conn, &filter)?;
            Ok(all
                .into_iter()
                .map(|one| (one.name, (one.life, one.state, one.health)))
                .collect())
        })?;
        // Details of those that have just ended or begun: the list has neither want of memory nor Podman's health.
        let changed = listed.iter().filter(|one| {
            known
                .get(&one.name)
                .is_none_or(|(life, state, _)| life != one.life.as_str() || state != one.state)
        });
        for one in changed.take(100) {
            let details: Inspected = match self.engine.read(&Ask::Inspect(&one.life)) {
                Err(e) if e.kind == Kind::NotFound => continue,
                details => details?,
            };
            if details.state.oom_killed && known.contains_key(&one.name) {
                news.oom(one.life.clone());
            }
            if !details.health().is_empty() {
                news.health(one.life.clone(), details.health());
            }
        }
        let applied = state::apply(&self.shared.app, self.server, listed, news)?;
        let there = applied.here.iter().map(|(one, c)| (c.id, one.life.clone(), c.clone()));
        *lock(&self.there) = there.collect();
        Ok(applied)
    }

    /// Tells what happens, and `None` where something may have happened unheard, until the session is over. Errors: what
    /// breaks the stream.
    fn events(&self, tell: &mpsc::SyncSender<Option<Happened>>) -> Result<()> {
        loop {
            let mut stream = self.engine.open(&Ask::Events, self.over)?;
            if tell.send(None).is_err() {
                return Ok(());
            }
            while let Some(line) = stream.line(EVENT_MAX)? {
                if let Some(event) = model::happened(&line)
                    && tell.send(Some(event)).is_err()
                {
                    return Ok(());
                }
            }
            // Podman with its events in a file ends the stream at once while there is no file. An engine that has gone
            // refuses the next question.
            if self.over.wait(EVENTS_PAUSE) {
                return Ok(());
            }
        }
    }

    /// Begins to follow what is to be followed, and lets go what is not any more. `stirred`: lives that began or ended since
    /// they were looked at: between two lists one may have had a life of its own, and words that nobody has read.
    fn follow<'s>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        followers: &mut HashMap<i64, Follower>,
        applied: &state::Applied,
        stirred: &mut HashSet<EngineId>,
    ) -> Result<()> {
        let app = &self.shared.app;
        let choice = app.db.read(|conn| settings::CONTAINERS_FOLLOW.text(conn))?;
        let choice = Choice::parse(&choice).map_err(Error::internal)?;
        let here: HashMap<i64, _> = applied.here.iter().map(|(one, c)| (c.id, one)).collect();
        followers.retain(|id, follower| {
            let stays = here.get(id).is_some_and(|one| choice.takes(one));
            // Of a removed container the rest is read as long as the engine gives it.
            if here.contains_key(id) && !stays {
                follower.cancel.cancel();
            }
            let goes = matches!(*lock(&follower.state), Went::Goes);
            stays || goes
        });
        for (one, c) in applied.here.iter().filter(|(one, _)| choice.takes(one)) {
            let live = one.state == "running" || one.state == "paused";
            if let Some(there) = followers.get(&c.id) {
                let same = there.life == one.life;
                match &*lock(&there.state) {
                    // The name's next life waits for the end of the one before.
                    Went::Goes => continue,
                    Went::Ended if same && !live && !there.live && !stirred.contains(&one.life) => continue,
                    Went::Failed(at, e) if same && (at.elapsed() < FOLLOW_PAUSE || is_for_good(e)) => continue,
                    _ => {}
                }
            }
            let going = followers
                .values()
                .filter(|f| matches!(*lock(&f.state), Went::Goes))
                .count();
            if going >= FOLLOWED_MAX {
                break;
            }
            let follower = Follower {
                life: one.life.clone(),
                live,
                cancel: Cancel::new(),
                state: Arc::new(Mutex::new(Went::Goes)),
            };
            let (life, cancel, state) = (one.life.clone(), follower.cancel.clone(), follower.state.clone());
            let subject = c.subject();
            thread::Builder::new()
                .name("containers.log".into())
                .stack_size(STACK)
                .spawn_scoped(scope, move || {
                    let ends = cancel.clone();
                    let _watch = self.over.watch(move || ends.cancel());
                    if self.over.is_cancelled() {
                        return;
                    }
                    let followed = Followed {
                        engine: self.engine,
                        skew: self.skew,
                        journal: &self.shared.app.journal,
                        subject,
                        life: &life,
                        live,
                        podman: self.podman,
                    };
                    let done = follow::follow(&followed, &cancel);
                    *lock(&state) = match done {
                        Ok(()) => Went::Ended,
                        Err(e) => Went::Failed(clock::mono(), e),
                    };
                })?;
            stirred.remove(&one.life);
            followers.insert(c.id, follower);
        }
        // The others wait for the end of who follows them.
        stirred.retain(|life| {
            let mut going = followers.values().filter(|f| matches!(*lock(&f.state), Went::Goes));
            going.any(|follower| follower.life == *life)
        });
        Ok(())
    }

    /// Asks for what is used, again and again. An engine that does not answer that ends the session.
    fn measure(&self) {
        let mut before: HashMap<i64, (EngineId, Counters, Instant)> = HashMap::new();
        while !self.over.wait(Duration::from_secs(EVERY_S as u64)) {
            if let Err(e) = self.engine.ask(&Ask::Ping).and_then(|_| self.measure_once(&mut before)) {
                return self.fail(e);
            }
        }
    }

    fn measure_once(&self, before: &mut HashMap<i64, (EngineId, Counters, Instant)>) -> Result<()> {
        let (running, others): (Vec<There>, Vec<There>) = lock(&self.there)
            .iter()
            .cloned()
            .partition(|(.., c)| c.state == "running");
        let over = AtomicBool::new(false);
        let fan_out = FanOut {
            name: "containers.stats",
            width: WIDTH,
            begin_until: None,
            cancel: self.over,
        };
        let answers = fan_out.run(&running, |(_, life, _)| {
            if over.load(Ordering::Relaxed) {
                return None;
            }
            match self.engine.ask(&Ask::Stats(life)) {
                Ok((_, body)) => Counters::read(&body, self.cpus).map(|counters| (counters, clock::mono())),
                Err(e) if e.kind == Kind::NotFound || e.kind == Kind::Conflict => None,
                Err(_) => {
                    over.store(true, Ordering::Relaxed);
                    None
                }
            }
        });
        let now = clock::now();
        let mut usages: Vec<(i64, Usage, Course)> = Vec::with_capacity(running.len());
        let mut next = HashMap::with_capacity(running.len());
        for ((id, life, c), answer) in running.into_iter().zip(answers) {
            let Some((counters, at)) = answer.flatten() else {
                continue;
            };
            let then = before.get(&id).filter(|(of, ..)| *of == life);
            let seconds = then.map_or(0.0, |(_, _, then)| at.saturating_duration_since(*then).as_secs_f64());
            let usage = counters.since(then.map(|(_, counters, _)| counters), seconds);
            usages.push((id, usage, Course::of(&c, now)));
            next.insert(id, (life, counters, at));
        }
        *before = next;
        let seen: Vec<Observation> = usages
            .iter()
            .map(|(id, usage, course)| observed::observe(*id, now, usage, course))
            .collect();
        self.shared.store.add(&seen, |tx| {
            usages
                .iter()
                .try_for_each(|(id, usage, _)| queries::put_usage(tx, *id, now, usage))
        })?;
        self.shared.observers.publish(&seen);
        // What does not run uses nothing, which ends what rules said of its use; it has no series of that time.
        let idle = Usage::default();
        let others = others
            .iter()
            .map(|(id, _, c)| observed::observe(*id, now, &idle, &Course::of(c, now)));
        self.shared.observers.publish(&others.collect::<Vec<_>>());
        Ok(())
    }
}

/// Does trying again make no sense for this life?
fn is_for_good(e: &Error) -> bool {
    ["engine_no_logs", "not_found"].contains(&e.code)
}
