//! Sends messages: one thread finds due endpoints, a pool sends for them. A hanging receiver blocks one thread, and
//! then counts as slow: others always find half of the threads free.

use super::channel::{Channel, Outcome, Sending, text_of};
use super::model::Row;
use super::queue::{self, Tested};
use super::settings;
use super::text::{self, Facts, What};
use super::{Endpoint, Level, policy, queries};
use crate::app::App;
use crate::base::clock::{self, Duration, Instant, Ms, SECOND};
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::base::parallel::lock;
use crate::base::redact::Scrub;
use crate::base::secret::Secret;
use crate::base::text::{base64, one_line};
use crate::base::zone::Zone;
use crate::base::{log, random};
use crate::db::Conn;
use crate::lang::Locale;
use crate::net::policy::Policy;
use crate::schedule::pool::{Bounds, Entry, Next, Pool, Work};
use crate::schedule::service::Service;
use crate::settings::SITE_PUBLIC_URL;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Poll interval: the most that a lost wake-up can cost.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Time to wait for running attempts at a stop. Longer ones are repeated at the next start.
const STOP_MAX: Duration = Duration::from_secs(4);
/// Bytes kept of a receiver's message.
const ANSWER_MAX: usize = 500;

/// The sending service. It first creates the endpoint of the environment, if configured.
pub const SERVICES: &[Service] = &[Service {
    name: "notifications.send",
    every: LOOK_AGAIN,
    prepare: super::seed,
    run: |run| {
        let sender = Sender {
            app: run.app.clone(),
            stop: AtomicBool::new(false),
            fault: Mutex::default(),
        };
        let pool = Pool::start(sender, THREADS)?;
        let mut known = Vec::new();
        run.rounds(&run.app.wakes.messages, || {
            let next = send_due(&pool, &mut known)?;
            lock(&pool.work().fault).clone().map_or(Ok(()), Err)?;
            Ok(next.map(|at| Duration::from_millis((at - clock::now()).max(1) as u64)))
        });
        // No further attempt begins; running ones may end.
        pool.work().stop.store(true, Ordering::SeqCst);
        pool.stop_within(STOP_MAX);
        Ok(())
    },
}];

/// Endpoints served at the same time.
const THREADS: Bounds = Bounds { min: 1, max: 64 };
/// Duration from which an attempt counts as slow.
const SLOW: Duration = Duration::from_millis(1_500);
/// Fallback interval of an endpoint, if a wake-up was missed.
const EVERY: Duration = Duration::from_secs(3_600);

struct Sender {
    app: Arc<App>,
    stop: AtomicBool,
    /// Internal error that prevented sending.
    fault: Mutex<Option<Error>>,
}

impl Work for Sender {
    type Item = Id<id::Endpoint>;
    type Done = ();
    /// Stack size for TLS.
    const STACK: usize = 1 << 20;

    fn run(&self, endpoint: &mut Id<id::Endpoint>) -> ((), Next) {
        let begun = clock::mono();
        self.serve(*endpoint);
        let next = Next {
            slow: begun.elapsed() >= SLOW,
            ..Next::default()
        };
        ((), next)
    }

    fn done(&self, _: Vec<()>) {}
}

/// Runs the endpoints that have due messages; returns when the next one will.
fn send_due(pool: &Pool<Sender>, known: &mut Vec<Id<id::Endpoint>>) -> Result<Option<Ms>> {
    let app = &pool.work().app;
    let now = clock::now();
    let (endpoints, lost, (due, next)) = app.db.read(|conn| {
        // Read before claiming, so that a claim in between is not counted twice.
        let lost = queries::lost(conn, |id| pool.is_running(id))?;
        let endpoints: Vec<_> = queries::all(conn)?.into_iter().map(|e| e.id).collect();
        Ok((endpoints, lost, queries::due(conn, now)?))
    })?;
    if !lost.is_empty() {
        app.db.write_reserved(|tx| {
            let still = queries::lost(tx, |id| pool.is_running(id))?;
            for row in still.iter().filter(|row| lost.contains(row)) {
                let why = "Lamplighter stopped while this was being sent; it may come twice.";
                queries::put_back(tx, *row, now, why)?;
            }
            Ok(())
        })?;
        app.wakes.messages.ring();
    }
    if *known != endpoints {
        let entry = |id: &Id<id::Endpoint>| Entry {
            key: id.get(),
            revision: 1,
            every: EVERY,
            item: *id,
        };
        pool.set(endpoints.iter().map(entry).collect());
        *known = endpoints;
    }
    if due.is_empty() {
        *lock(&pool.work().fault) = None; // a message that could not be sent
    }
    pool.run_soon(due.into_iter().map(Id::get));
    Ok(next)
}

impl Sender {
    fn stops(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Sends the due messages of an endpoint one after the other.
    fn serve(&self, id: Id<id::Endpoint>) {
        let all = || -> Result<()> {
            while !self.stops() && send_next(&self.app, id)? {}
            Ok(())
        };
        let ended = catch_unwind(AssertUnwindSafe(all)).unwrap_or_else(|_| Err(Error::internal("a sender panicked")));
        *lock(&self.fault) = ended.as_ref().err().cloned();
        if let Err(e) = &ended {
            let fields = [("endpoint", id.to_string()), ("error", e.to_string())];
            let fields = fields.each_ref().map(|(key, text)| (*key, text.as_str()));
            log::error("notifications", "messages wait", &fields);
        }
    }
}

/// One attempt; `false` if nothing is due.
fn send_next(app: &App, id: Id<id::Endpoint>) -> Result<bool> {
    let claimed = app.db.write_reserved(|tx| {
        let Some(endpoint) = queries::get(tx, id)? else {
            return Ok(None);
        };
        let rows = queue::claim(app, tx, &endpoint, clock::now())?;
        let post = Post::open(app, tx, &endpoint);
        let thread = match rows.as_slice() {
            [one] if one.facts.alert > 0 => queries::first_key(tx, one)?,
            _ => None,
        };
        Ok(Some((endpoint, rows, post, thread)))
    })?;
    let Some((endpoint, rows, post, thread)) = claimed else {
        return Ok(false);
    };
    let Some(first) = rows.first() else { return Ok(false) };
    let mut facts: Vec<Facts> = rows.iter().map(|row| row.facts.clone()).collect();
    facts.iter_mut().try_for_each(|f| f.for_eyes_of(&endpoint.saved_by))?;
    let outcome = match post {
        Ok(post) => post.send(&endpoint, &first.recipient, &facts, &first.key, thread.as_deref()),
        // A retry does not help if a secret cannot be unsealed.
        Err(e) => Outcome::Never(e.say),
    };
    log_outcome(&endpoint, &rows, &outcome);
    app.db.write_reserved(|tx| match queries::get(tx, id)? {
        Some(endpoint) => queue::finish(app, tx, &endpoint, &rows, &outcome, clock::now()),
        None => Ok(()), // removed meanwhile, with its rows
    })?;
    Ok(true)
}

fn log_outcome(endpoint: &Endpoint, rows: &[Row], outcome: &Outcome) {
    let (id, n) = (endpoint.id.to_string(), rows.len().to_string());
    let attempt = rows.first().map_or(0, |row| row.attempts + 1).to_string();
    let fields = |why| {
        [
            ("endpoint", id.as_str()),
            ("messages", &n),
            ("attempt", &attempt),
            ("answer", why),
        ]
    };
    match outcome {
        Outcome::Sent(answer) => log::info("notifications", "sent", &fields(answer)),
        Outcome::Later { why, .. } => log::warning("notifications", "not sent, tries again", &fields(why)),
        Outcome::Doubtful(why) => log::warning(
            "notifications",
            "may have been sent: the answer is ambiguous",
            &fields(why),
        ),
        Outcome::Never(why) => log::error("notifications", "not sent, given up", &fields(why)),
        Outcome::Moved(_) => log::info("notifications", "the chat has a new id", &fields("")),
    }
}

/// Data of an endpoint for sending.
struct Post {
    secrets: HashMap<&'static str, Secret>,
    policy: Policy,
    public_url: String,
    mail_name: String,
    locale: Locale,
}

impl Post {
    fn open(app: &App, conn: &Conn, endpoint: &Endpoint) -> Result<Post> {
        let mut secrets = HashMap::new();
        for column in endpoint.channel.secrets.iter().copied() {
            if let Some(secret) = super::secret(app, conn, endpoint.id, column)? {
                secrets.insert(column, secret);
            }
        }
        Ok(Post {
            secrets,
            policy: policy(conn)?,
            public_url: SITE_PUBLIC_URL.text(conn)?.trim_end_matches('/').to_string(),
            mail_name: settings::MESSAGES_MAIL_NAME.text(conn)?,
            locale: Locale {
                lang: endpoint.fields.lang,
                zone: match endpoint.fields.time_zone.as_str() {
                    "" => crate::settings::time_zone(conn)?,
                    name => Zone::load_or_system(name),
                },
            },
        })
    }

    fn send(&self, endpoint: &Endpoint, recipient: &str, facts: &[Facts], key: &str, thread: Option<&str>) -> Outcome {
        let channel: &Channel = endpoint.channel;
        let message = text::message(&self.locale, facts, &self.public_url);
        let sending = Sending {
            config: &endpoint.fields.config,
            secrets: &self.secrets,
            recipient,
            message: &message,
            facts,
            lang: self.locale.lang,
            key,
            thread,
            public_url: &self.public_url,
            mail_name: &self.mail_name,
            policy: self.policy,
            now_s: clock::now() / SECOND,
            until: clock::mono() + channel.deadline,
        };
        // A panic must not lead to endless retries.
        let outcome = catch_unwind(AssertUnwindSafe(|| (channel.send)(&sending)))
            .unwrap_or_else(|_| Outcome::Never("Lamplighter failed at sending this. The log has the cause.".into()));
        self.clean(outcome, text_of(sending.config, "username"))
    }

    /// Masks secrets in a receiver's message, which may echo them.
    fn clean(&self, outcome: Outcome, user: &str) -> Outcome {
        let mut scrub = Scrub::new();
        for secret in self.secrets.values() {
            scrub.add(secret);
            // Secret parts of values that are not secret as a whole.
            let text = secret.reveal_text_for("the log's filter");
            for line in text.lines() {
                let value = line.split_once(':').map(|(_, value)| value.trim());
                for part in [value, line.splitn(4, '/').nth(3)].into_iter().flatten() {
                    if part.len() >= 8 {
                        scrub.add(&Secret::new(part));
                    }
                }
            }
            scrub.add(&Secret::new(base64(format!("{user}:{text}").as_bytes())));
        }
        let mut clean = |text: String| scrub.line(&one_line(&text, ANSWER_MAX)).into_owned();
        match outcome {
            Outcome::Sent(text) => Outcome::Sent(clean(text)),
            Outcome::Later { why, wait_s } => Outcome::Later {
                why: clean(why),
                wait_s,
            },
            Outcome::Doubtful(why) => Outcome::Doubtful(clean(why)),
            Outcome::Never(why) => Outcome::Never(clean(why)),
            moved => moved,
        }
    }
}

/// Sends a test to every recipient now, and returns the results.
pub fn test(app: &App, id: Id<id::Endpoint>) -> Result<Vec<Tested>> {
    let (endpoint, post) = app.db.read(|conn| {
        let endpoint = super::get(conn, id)?;
        let post = Post::open(app, conn, &endpoint)?;
        Ok((endpoint, post))
    })?;
    let mut results = Vec::new();
    // One deadline for all: a person waits.
    let until: Instant = clock::mono() + endpoint.channel.deadline;
    for recipient in (endpoint.channel.recipients)(&endpoint.fields.config) {
        let now = clock::now();
        let facts = Facts {
            what: What::Test,
            kind: "test".into(),
            of: String::new(),
            level: Level::Info,
            name: endpoint.fields.name.clone(),
            title: String::new(),
            target: ("notification".into(), id.get()),
            part: String::new(),
            alert: 0,
            evidence: Vec::new(),
            since: now,
            at: now,
            count: 1,
            held: 0,
            variant: String::new(),
            note: String::new(),
            hanging: (0, 0),
            flaps: None,
        };
        let key = random::name();
        let began = clock::mono();
        let outcome = match began < until {
            true => post.send(&endpoint, &recipient, std::slice::from_ref(&facts), &key, None),
            false => Outcome::Never("Not tried: the ones before took too long.".into()),
        };
        let (is_sent, answer) = match outcome {
            Outcome::Sent(answer) => (true, answer),
            Outcome::Later { why, wait_s: Some(s) } => (false, format!("{why} (wait {s} s)")),
            Outcome::Later { why, wait_s: None } | Outcome::Never(why) => (false, why),
            Outcome::Doubtful(why) => (false, format!("Doubtful, it may have arrived: {why}")),
            Outcome::Moved(to) => (
                false,
                format!("This group is a supergroup now; its number is {to}. Enter that."),
            ),
        };
        results.push(Tested {
            recipient,
            key,
            facts,
            is_sent,
            answer,
            took_ms: began.elapsed().as_millis() as i64,
            row: None,
        });
    }
    app.db.write(|tx| {
        let endpoint = super::get(tx, id)?;
        for test in &mut results {
            test.row = Some(queue::tested(app, tx, &endpoint, test)?);
        }
        Ok(())
    })?;
    Ok(results)
}
