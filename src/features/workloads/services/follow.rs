//! The logs of services: one session a server follows the journal of all its units, another one what its sessions of tmux
//! show. Lines go into the same journal as those of containers, each service with the cursor of its last entry, so that a
//! new start goes on without loss and without doubles.

use super::entries::{self, Entry, Place};
use super::kinds::{Check, Tmux, Unit};
use super::observed::SERVICES;
use super::queries::{self, Service};
use super::settings;
use crate::app::App;
use crate::base::clock::{self, Duration, Ms};
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::base::lines::plain;
use crate::base::process::Cancel;
use crate::base::{log, random, shell, text};
use crate::db::Conn;
use crate::features::fleet::servers::{self, ServerConnection};
use crate::features::workloads::containers::{self, Ration, Skew};
use crate::features::workloads::logs::Speaker;
use crate::journal::{Cursor, Filter, Level, New, Span, Stream};
use crate::schedule::service::{Service as Row, ServiceRun};
use crate::series::Subject;
use crate::ssh::follow::{News, Source};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// Interval of looking whether services came, went or changed.
const REFRESH_EVERY: Duration = Duration::from_secs(5);
/// Pause before a connection that was lost is tried again; it doubles up to a minute.
const PAUSE: Duration = Duration::from_secs(2);
/// Pause after an end that does not pass by itself, such as a refused sudo.
const PAUSE_LONG: Duration = Duration::from_secs(120);
/// Silence after which a server counts as lost.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// Stack of a session's thread.
const STACK: usize = 512 << 10;
/// Lines of a screen that are compared with those of the next one.
const SCREEN: usize = 600;

/// Functions of the followers.
const JOURNAL: &str = include_str!("../../../provision/scripts/services_follow.sh");
const TMUX: &str = include_str!("../../../provision/scripts/tmux_follow.sh");

/// See [`Row`].
pub const ROW: Row = Row {
    name: "services.follow",
    every: REFRESH_EVERY,
    prepare: |_| Ok(()),
    run,
};

/// What a session follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum What {
    Units,
    Screens,
}

/// What is followed of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Spoken {
    Unit(Unit),
    /// User and session.
    Screen(String, String),
}

/// A session that should be.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    /// Of the server: changes when it is to be reached in another way.
    print: String,
    of: Vec<(i64, Spoken)>,
}

struct Session {
    cancel: Cancel,
    thread: JoinHandle<()>,
    wanted: Arc<Wanted>,
}

type Key = (i64, What);

/// Who may have lines.
pub fn speakers(conn: &Conn) -> Result<Vec<Speaker>> {
    Ok(queries::all(conn)?.iter().filter_map(speaker).collect())
}

/// As who speaks; nothing: services of its kind say nothing.
pub fn speaker(s: &Service) -> Option<Speaker> {
    spoken(s, "").map(|_| Speaker {
        subject: subject(s.id.get()),
        server: s.fields.server,
        server_name: s.server_name.clone(),
        name: s.fields.name.clone(),
    })
}

fn subject(id: i64) -> Subject {
    (SERVICES.name, id)
}

fn spoken(s: &Service, login: &str) -> Option<Spoken> {
    match s.fields.kind.check {
        Check::Unit(of) => Some(Spoken::Unit(of(&s.fields.config))),
        Check::Tmux(of) => {
            let Tmux { session, user, .. } = of(&s.fields.config);
            let user = if user.is_empty() { login.to_string() } else { user };
            Some(Spoken::Screen(user, session))
        }
        _ => None,
    }
}

fn run(run: &ServiceRun) -> Result<()> {
    let app = run.app;
    let mut sessions: HashMap<Key, Session> = HashMap::new();
    run.rounds(&app.wakes.events, || {
        refresh(app, &mut sessions)?;
        Ok(None)
    });
    sessions.values().for_each(|session| session.cancel.cancel());
    sessions.into_values().for_each(|session| ended(session.thread));
    Ok(())
}

fn ended(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        log::error("services", "a thread that follows a log panicked", &[]);
    }
}

fn wanted(conn: &Conn) -> Result<BTreeMap<Key, Wanted>> {
    let mut out: BTreeMap<Key, Wanted> = BTreeMap::new();
    if settings::SERVICES_LOGS.number(conn)? == 0 {
        return Ok(out);
    }
    let servers: HashMap<i64, servers::Server> = servers::all(conn)?.into_iter().map(|s| (s.id.get(), s)).collect();
    for s in queries::all(conn)?.iter().filter(|s| s.fields.enabled) {
        let Some(server) = s.fields.server.and_then(|id| servers.get(&id.get())) else {
            continue;
        };
        let f = &server.fields;
        let Some(spoken) = spoken(s, &f.username) else { continue };
        let what = match spoken {
            Spoken::Unit(_) => What::Units,
            Spoken::Screen(..) => What::Screens,
        };
        let print = (&f.host, f.ssh_port, &f.username, &server.host_key, server.updated_at);
        let one = out.entry((server.id.get(), what)).or_insert_with(|| Wanted {
            print: format!("{print:?}"),
            of: Vec::new(),
        });
        one.of.push((s.id.get(), spoken));
    }
    Ok(out)
}

fn refresh(app: &Arc<App>, sessions: &mut HashMap<Key, Session>) -> Result<()> {
    let wanted = app.db.read(wanted)?;
    let over: Vec<Key> = sessions
        .iter()
        .filter(|(key, session)| session.thread.is_finished() || wanted.get(*key) != Some(&*session.wanted))
        .map(|(key, _)| *key)
        .collect();
    over.iter().for_each(|key| sessions[key].cancel.cancel());
    for key in over {
        if let Some(session) = sessions.remove(&key) {
            ended(session.thread);
        }
    }
    for (key, wanted) in wanted {
        if let std::collections::hash_map::Entry::Vacant(empty) = sessions.entry(key) {
            let (cancel, wanted) = (Cancel::new(), Arc::new(wanted));
            let (app, stopped, of) = (app.clone(), cancel.clone(), wanted.clone());
            let thread = thread::Builder::new()
                .name("services.follow".into())
                .stack_size(STACK)
                .spawn(move || keep_up(&app, key, &of, &stopped))?;
            empty.insert(Session { cancel, thread, wanted });
        }
    }
    Ok(())
}

/// Follows until cancelled. What does not pass by itself is said once in each log, and tried again now and then.
fn keep_up(app: &App, (server, what): Key, wanted: &Wanted, cancel: &Cancel) {
    let mut said = String::new();
    while !cancel.is_cancelled() {
        let why = match session(app, Id::new(server), what, wanted, cancel) {
            Ok(why) => why,
            Err(e) => e.say,
        };
        if cancel.is_cancelled() {
            return;
        }
        if said != why {
            let note = || vec![New::note(now_ns(), format!("The log is not read: {why}"))];
            for (id, _) in &wanted.of {
                if app.journal.put(subject(*id), note(), None, cancel).is_err() {
                    return;
                }
            }
            said = why;
        }
        let [some] = random::bytes::<1>();
        if cancel.wait(PAUSE_LONG.mul_f64(0.75 + f64::from(some) / 512.0)) {
            return;
        }
    }
}

fn now_ns() -> i64 {
    clock::now().saturating_mul(1_000_000)
}

/// One session; why it ended, which its script says. Errors: those of ssh that do not pass.
fn session(app: &App, server: Id<id::Server>, what: What, wanted: &Wanted, cancel: &Cancel) -> Result<String> {
    let connection = ServerConnection::of(app, server)?;
    let login = connection.server.fields.username.clone();
    let mut reader = Reader::new(app, wanted, app.db.read(|conn| Ok(containers::bounds(conn)?.age))?)?;
    let (assignments, script) = match what {
        What::Units => (reader.journal(&login)?, JOURNAL),
        What::Screens => (reader.screens()?, TMUX),
    };
    let script = assignments + script;
    let source = Source {
        script: &script,
        root: true,
        token: entries::cursor_of,
        inclusive: false,
        idle_max: IDLE_MAX,
        pause: PAUSE,
    };
    let mut follow = connection.follow(app, source);
    let mut complaint = String::new();
    loop {
        match follow.next(cancel)? {
            News::Line(line) => reader.take(&line, cancel)?,
            News::Complaint(line) => complaint = text::one_line(&line, 300),
            News::Lost(_) => {}
            News::Ended(rc) => return Ok(format!("it ended there with code {rc}. {complaint}").trim_end().into()),
        }
    }
}

/// One that is read.
struct Voice {
    id: i64,
    /// The last entry that was taken.
    place: Option<Place>,
    /// The last lines of its screen.
    screen: Vec<String>,
    ration: Ration,
}

struct Reader<'a> {
    app: &'a App,
    wanted: &'a Wanted,
    voices: Vec<Voice>,
    /// Which of them, by systemd and unit, or by `screen` and `USER/NAME`.
    names: HashMap<(&'static str, String), Vec<usize>>,
    skew: Skew,
}

impl<'a> Reader<'a> {
    /// `age`: what is older is not kept, so it is not read either.
    fn new(app: &'a App, wanted: &'a Wanted, age: Ms) -> Result<Reader<'a>> {
        let oldest = u64::try_from(clock::now() - age).unwrap_or(0) * 1_000;
        let mut names: HashMap<_, Vec<usize>> = HashMap::new();
        let mut voices = Vec::new();
        for (n, (id, spoken)) in wanted.of.iter().enumerate() {
            let name = match spoken {
                Spoken::Unit(unit) => (how(unit), unit.name.clone()),
                Spoken::Screen(user, session) => ("screen", format!("{user}/{session}")),
            };
            names.entry(name).or_default().push(n);
            let screen = match spoken {
                Spoken::Unit(_) => Vec::new(),
                Spoken::Screen(..) => stored(app, *id)?,
            };
            voices.push(Voice {
                id: *id,
                place: Place::parse(&app.journal.mark(subject(*id))).filter(|place| place.at > oldest),
                screen,
                ration: Ration::default(),
            });
        }
        Ok(Reader {
            app,
            wanted,
            voices,
            names,
            skew: Skew::default(),
        })
    }

    /// What the journal's follower is told.
    fn journal(&self, login: &str) -> Result<String> {
        let list = |choose: &dyn Fn(&Voice, &Unit) -> bool| -> String {
            let all = self.voices.iter().zip(&self.wanted.of);
            let chosen = all.filter_map(|(voice, (_, spoken))| match spoken {
                Spoken::Unit(unit) if choose(voice, unit) => Some(unit.name.as_str()),
                _ => None,
            });
            chosen.collect::<Vec<_>>().join(" ")
        };
        let first = self
            .voices
            .iter()
            .filter_map(|voice| voice.place.as_ref())
            .min_by_key(|place| place.at);
        shell::assignments(&[
            ("UNITS", &list(&|_, unit| !unit.user)),
            ("OWN", &list(&|_, unit| unit.user)),
            ("NEW", &list(&|voice, _| voice.place.is_none())),
            ("FROM", first.map_or("", |place| &place.cursor)),
            ("LOGIN", login),
        ])
    }

    fn screens(&self) -> Result<String> {
        let all = self.wanted.of.iter().filter_map(|(_, spoken)| match spoken {
            Spoken::Screen(user, session) => Some(format!("{user}/{session}")),
            Spoken::Unit(_) => None,
        });
        shell::assignments(&[("SESSIONS", &all.collect::<Vec<_>>().join(" "))])
    }

    /// Takes a line of a follower.
    fn take(&mut self, line: &str, cancel: &Cancel) -> Result<()> {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["@", ms] => ms.parse().map_or((), |ms| self.skew.see(ms)),
            ["=", how, name, id] if name != id => {
                let how = if how == "user" { "user" } else { "system" };
                let all = self.names.get(&(how, name.to_string())).cloned().unwrap_or_default();
                let known = self.names.entry((how, id.to_string())).or_default();
                known.extend(all);
                known.sort_unstable();
                known.dedup();
            }
            ["!", "gap"] => {
                let say = "Lines may be missing here: the server's journal no longer has the last one that was read.";
                for voice in self.voices.iter().filter(|voice| voice.place.is_some()) {
                    let note = vec![New::note(self.skew.ours(0), say)];
                    self.app.journal.put(subject(voice.id), note, None, cancel)?;
                }
            }
            ["screen", session, screen] => self.screen(session, screen, cancel)?,
            _ => {
                if let Some(entry) = Entry::parse(line) {
                    self.entry(&entry, cancel)?;
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry, cancel: &Cancel) -> Result<()> {
        let at = i64::try_from(entry.place.at).unwrap_or(0).saturating_mul(1_000);
        let at = self.skew.ours(at);
        for n in self.names.get(&entry.of).map_or(&[][..], Vec::as_slice) {
            let voice = &mut self.voices[*n];
            if voice.place.as_ref().is_some_and(|last| !entry.place.is_after(last)) {
                continue;
            }
            let lines = admitted(&mut voice.ration, entry.lines(at));
            let mark = Some(entry.place.cursor.clone());
            self.app.journal.put(subject(voice.id), lines, mark, cancel)?;
            voice.place = Some(entry.place.clone());
        }
        Ok(())
    }

    fn screen(&mut self, session: &str, screen: &str, cancel: &Cancel) -> Result<()> {
        let shown = text::unbase64(screen).unwrap_or_default();
        let shown = String::from_utf8_lossy(&shown);
        let new: Vec<String> = shown
            .trim_end()
            .split('\n')
            .map(|line| plain(line.trim_end()))
            .collect();
        if new.iter().all(String::is_empty) {
            return Ok(());
        }
        let at = self.skew.ours(0);
        let all = self.names.get(&("screen", session.to_string()));
        for n in all.map_or(&[][..], Vec::as_slice) {
            let voice = &mut self.voices[*n];
            let known = entries::known(&voice.screen, &new);
            let line = |text: &String| New {
                at,
                stream: Stream::Stdout,
                level: Level::of(text),
                text: text.as_str().into(),
            };
            let lines: Vec<New> = new[known..].iter().map(line).collect();
            voice.screen = new.clone();
            if !lines.is_empty() {
                let lines = admitted(&mut voice.ration, lines);
                self.app.journal.put(subject(voice.id), lines, None, cancel)?;
            }
        }
        Ok(())
    }
}

fn how(unit: &Unit) -> &'static str {
    if unit.user { "user" } else { "system" }
}

fn admitted(ration: &mut Ration, lines: Vec<New>) -> Vec<New> {
    let mut out = Vec::new();
    ration.refill(clock::mono());
    lines.into_iter().for_each(|line| ration.admit(line, &mut out));
    out
}

/// The last stored lines of a screen, where a new start goes on.
fn stored(app: &App, id: i64) -> Result<Vec<String>> {
    let until = clock::mono() + Duration::from_secs(3);
    let span = Span {
        after: Cursor::START,
        before: Cursor::END,
    };
    let page = app
        .journal
        .newest(&[subject(id)], &Filter::default(), span, SCREEN, until)?;
    let lines = page.lines.into_iter().map(|(_, line)| line);
    Ok(lines
        .filter(|line| line.stream != Stream::Note)
        .map(|line| line.text.into())
        .collect())
}
