//! One poll: ask, check the answer, say in plain words what was seen. Glances 3 answers only at `/api/3/all`, 4 only at
//! `/api/4/all` (T-1): where the given path is not there, both are tried below the same prefix; the person's path is never
//! changed, only reported.

use super::glances::{self, Sample};
use crate::base::clock::{self, Duration, Instant, Ms, rfc3339};
use crate::base::error::{Error, Kind, Result};
use crate::base::host::Host;
use crate::base::id::{Id, Server};
use crate::base::secret::Secret;
use crate::net::answer::Answer;
use crate::net::dial::{self, Call, Security};
use crate::net::get::{self, KeepAlive};
use crate::net::names;
use crate::net::policy::Policy;
use crate::net::tls::Pin;
use std::net::IpAddr;

/// How Glances (or the proxy in front of it) knows us.
#[derive(Debug, Clone, Default)]
pub enum PollAuth {
    /// Not at all.
    #[default]
    None,
    /// Glances' own password, or nginx's.
    Basic {
        /// Login name.
        user: String,
        /// Its password.
        password: Secret,
    },
    /// `Authorization: Bearer`: Glances from 4.5 on, or a proxy (T-11).
    Token(Secret),
}

/// What is polled.
#[derive(Debug, Clone)]
pub struct PollTarget {
    /// Whose.
    pub server: Id<Server>,
    /// Changes with every change of the server: an outcome of an older one says nothing of the new one.
    pub revision: i64,
    /// TLS or not, and who vouches for it.
    pub security: Security,
    /// Where Glances listens.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// Where that may be.
    pub policy: Policy,
    /// As the person gave it.
    pub path: String,
    /// The path that answered last, when it was another one: it is tried first.
    pub path_seen: Option<String>,
    /// How Glances knows us.
    pub auth: PollAuth,
    /// From poll to poll.
    pub interval: Duration,
    /// Failures in a row after which the server is down.
    pub fail_threshold: u32,
    /// Failures in a row so far.
    pub misses: u32,
    /// Where its sshd listens.
    pub ssh: (Host, u16),
    /// Is it another machine than ours? Only then its answer proves that our network works.
    pub far: bool,
    /// The connection, where it is kept until the next poll.
    pub line: KeepAlive,
    /// What its host's name meant when that was looked up last.
    pub meant: Vec<IpAddr>,
}

impl PollTarget {
    /// Is it known to be down?
    pub fn is_down(&self) -> bool {
        self.misses >= self.fail_threshold.max(1)
    }
}

/// What came of a poll.
#[derive(Debug)]
pub struct Outcome {
    /// Whose.
    pub server: Id<Server>,
    /// Of the target that was polled.
    pub revision: i64,
    /// Of the target that was polled.
    pub fail_threshold: u32,
    /// Of the target that was polled.
    pub far: bool,
    /// When it began, by our clock.
    pub at_ms: Ms,
    /// How long it took.
    pub took_ms: u32,
    /// Of the target that was polled.
    pub interval: Duration,
    /// 1, or 2: the first one failed in a way that passes.
    pub tries: u32,
    /// Polls in vain in a row, this one included.
    pub misses: u32,
    /// The sample and the path that gave it.
    pub result: Result<Seen>,
    /// When it goes down, and now and then while it is: which other ports of the host answer.
    pub host: Option<String>,
    /// What the host's name means, where it is one and that is known now.
    pub means: Vec<IpAddr>,
}

/// A poll that brought a sample.
#[derive(Debug, Clone)]
pub struct Polled<'a> {
    /// Whose.
    pub server: Id<Server>,
    /// When it began, by our clock (T-39).
    pub at_ms: Ms,
    /// How long it took.
    pub took_ms: u32,
    /// From poll to poll.
    pub interval_s: i64,
    /// What it brought.
    pub sample: &'a Sample,
}

/// A good answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// What it said; its `api` is the version of the API.
    pub sample: Sample,
    /// Where it was found.
    pub path: String,
}

impl Outcome {
    /// As it is kept, if it brought a sample.
    pub fn polled(&self) -> Option<Polled<'_>> {
        Some(Polled {
            server: self.server,
            at_ms: self.at_ms,
            took_ms: self.took_ms,
            interval_s: self.interval.as_secs() as i64,
            sample: &self.result.as_ref().ok()?.sample,
        })
    }

    /// By how much the server's clock is ahead of ours; its answer is up to one poll old.
    pub fn skew_ms(&self) -> Option<Ms> {
        let theirs = self.result.as_ref().ok()?.sample.remote_now?;
        Some(theirs - self.at_ms)
    }
}

/// Limits of one poll (requirements §10).
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// From name resolution to last byte of a try.
const TRY_MAX: Duration = Duration::from_secs(5);
/// Both tries together.
const TOTAL_MAX: Duration = Duration::from_secs(8);
/// A person who presses "probe" waits for up to three paths.
const PROBE_MAX: Duration = Duration::from_secs(10);
/// An answer is 50 to 300 kB.
const BODY_MAX: usize = 4 << 20;
/// Between two polls further apart than this no connection is kept.
const KEPT_BETWEEN: Duration = Duration::from_secs(60);
/// While a host stays down, its other ports are checked once in so many polls.
const CHECK_PORTS_EVERY: u32 = 10;
/// Each of them is given this long.
const PORT_CHECK_MAX: Duration = Duration::from_millis(1_500);

/// Before the second try: long enough for a service that is being restarted to answer differently.
const PAUSE: Duration = Duration::from_millis(250);

/// Asks once, and once more when that failed in a way that passes: the connection, the time, the server's own fault. (A
/// host that is known to be down is asked once.)
pub fn poll(target: &mut PollTarget) -> Outcome {
    let (began, at_ms) = (clock::mono(), clock::now());
    let mut tries = 1;
    let mut line = std::mem::take(&mut target.line);
    let mut result = ask_any_path(target, began + TRY_MAX, &mut line);
    if result.as_ref().is_err_and(passes) && !target.is_down() {
        std::thread::sleep(PAUSE);
        result = ask_any_path(target, began + TOTAL_MAX, &mut line);
        tries = 2;
    }
    let means = means(target);
    // Web servers close what nobody has used for 60 to 75 s (nginx, Apache with patience).
    if target.interval <= KEPT_BETWEEN && result.is_ok() && !is_elsewhere(&target.meant, &means) {
        target.line = line;
    }
    match &result {
        Ok(seen) => {
            target.path_seen = (seen.path != target.path).then(|| seen.path.clone());
            target.misses = 0;
        }
        Err(_) => target.misses = target.misses.saturating_add(1),
    }
    if !means.is_empty() {
        target.meant.clone_from(&means);
    }
    let took_ms = began.elapsed().as_millis() as u32;
    let past = target.misses.checked_sub(target.fail_threshold.max(1));
    let is_due = result.is_err() && past.is_some_and(|past| past.is_multiple_of(CHECK_PORTS_EVERY));
    let host = is_due.then(|| other_ports(target));
    Outcome {
        server: target.server,
        revision: target.revision,
        fail_threshold: target.fail_threshold,
        far: target.far,
        at_ms,
        took_ms,
        interval: target.interval,
        tries,
        misses: target.misses,
        result,
        host,
        means,
    }
}

/// What the host's name means. Nobody waits for that: where it is not known any more, it is by the next poll.
fn means(target: &PollTarget) -> Vec<IpAddr> {
    if target.host.ip().is_some() {
        return Vec::new();
    }
    match names::resolve(target.host.as_str(), clock::mono()) {
        names::Answer::Known(ips) => ips,
        names::Answer::Unknown(_) | names::Answer::Slow => Vec::new(),
    }
}

/// Does a name mean none of what it meant before? Who has several addresses may be told some of them in turn.
pub fn is_elsewhere(before: &[IpAddr], now: &[IpAddr]) -> bool {
    !before.is_empty() && !now.is_empty() && !now.iter().any(|ip| before.contains(ip))
}

/// Is only Glances gone, or the whole host? Its ssh and web ports are connected to and nothing is sent.
fn other_ports(target: &PollTarget) -> String {
    let (host, ssh) = &target.ssh;
    let seen = [("ssh", *ssh), ("web", 80), ("web", 443)].map(|(what, port)| {
        let call = Call {
            host,
            port,
            security: Security::Plain,
            policy: Policy::Server,
            connect_max: PORT_CHECK_MAX,
            until: clock::mono() + PORT_CHECK_MAX,
        };
        let is = match dial::dial(&call) {
            Ok(_) => "answers",
            Err(e) if e.code == "refused" => "refuses",
            Err(_) => "does not answer",
        };
        format!("{what} port {port} {is}")
    });
    format!("{} {}", rfc3339(clock::now()), seen.join(", "))
}

/// Asks at once for a person, and says what was found beside the person's path.
pub fn probe(target: &PollTarget) -> Result<Probed> {
    let fresh = PollTarget {
        path_seen: None,
        ..target.clone()
    };
    let began = clock::mono();
    let seen = ask_any_path(&fresh, began + PROBE_MAX, &mut KeepAlive::default())?;
    let took_ms = began.elapsed().as_millis() as u32;
    let version = seen
        .sample
        .version
        .clone()
        .unwrap_or_else(|| format!("{}.x", seen.sample.api));
    let say = match seen.path == target.path {
        true => format!("Glances {version} answers at {}.", seen.path),
        false => format!(
            "Nothing is at {}, but {} works: Glances {version}. Lamplighter uses that.",
            target.path, seen.path
        ),
    };
    Ok(Probed { seen, took_ms, say })
}

/// What a probe found.
#[derive(Debug)]
pub struct Probed {
    /// The answer.
    pub seen: Seen,
    /// How long it took.
    pub took_ms: u32,
    /// One sentence: where and which version.
    pub say: String,
}

/// Who gives our loopback for a server's Glances has most likely a tunnel in mind.
const LOOPBACK_NEEDS_NO_TUNNEL: &str =
    " Glances that listens on the server's loopback only is installed from here behind nginx, and needs no tunnel.";

/// May it be different a moment later?
fn passes(e: &Error) -> bool {
    const CODES: [&str; 8] = [
        "refused",
        "reset",
        "empty",
        "cut_short",
        "connect_timeout",
        "read_timeout",
        "glances_proxy",
        "glances_failed",
    ];
    CODES.contains(&e.code)
}

/// Is it the path that is wrong, and not the server?
fn wrong_path(e: &Error) -> bool {
    ["glances_path", "glances_html", "glances_nothing"].contains(&e.code)
}

/// Where both versions would answer beside the given path: below the same prefix, for what is outside of it belongs to
/// somebody else and must see no password. `/a/api/3/all` and `/a/` both lie below `/a`.
fn beside(given: &str) -> [String; 2] {
    let is_version = |rest: &str| {
        let number = rest.split('/').next().unwrap_or_default();
        !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    };
    let versioned = given.rfind("/api/").filter(|at| is_version(&given[at + 5..]));
    let prefix = versioned.map_or_else(
        || {
            let whole = given.trim_end_matches('/');
            whole.strip_suffix("/api").unwrap_or(whole)
        },
        |at| &given[..at],
    );
    [4, 3].map(|version| format!("{prefix}/api/{version}/all"))
}

fn ask_any_path(target: &PollTarget, until: Instant, line: &mut KeepAlive) -> Result<Seen> {
    let beside = beside(&target.path);
    let seen = target.path_seen.as_ref().filter(|seen| beside.contains(seen));
    let mut paths = vec![seen.map_or(target.path.as_str(), String::as_str)];
    for path in std::iter::once(&target.path).chain(&beside) {
        if !paths.contains(&path.as_str()) {
            paths.push(path);
        }
    }
    let mut first: Option<Error> = None;
    for path in paths {
        match ask(target, path, until, line) {
            Ok(sample) => {
                return Ok(Seen {
                    sample,
                    path: path.to_string(),
                });
            }
            // Nothing anywhere: the person wants to hear of the path they gave (or that used to work).
            Err(e) if wrong_path(&e) => drop(first.get_or_insert(e)),
            // It says more than "not there": Glances 4 with a password answers 404 at 3's path and 401 at its own.
            Err(e) => return Err(e),
        }
    }
    Err(first.unwrap_or_else(|| Error::internal("no path was tried")))
}

fn ask(target: &PollTarget, path: &str, until: Instant, line: &mut KeepAlive) -> Result<Sample> {
    let authorization = match &target.auth {
        PollAuth::None => None,
        PollAuth::Basic { user, password } => Some(get::basic(user, password)),
        PollAuth::Token(token) => Some(get::bearer(token)),
    };
    let call = Call {
        host: &target.host,
        port: target.port,
        security: target.security,
        policy: target.policy,
        connect_max: CONNECT_MAX,
        until,
    };
    let answer = get::get_over(&call, path, authorization.as_ref(), BODY_MAX, line).map_err(|mut e| {
        if e.code == "address_refused" && Policy::of_server(&target.host) == Policy::Server {
            e.say.push_str(LOOPBACK_NEEDS_NO_TUNNEL);
        }
        e
    })?;
    if let Some((code, end)) = fault(target, path, &answer) {
        let say = format!("{}:{} {end}", target.host.in_url(), target.port);
        return Err(Error::new(Kind::Upstream, code, say));
    }
    glances::parse(&answer.body).map_err(|e| {
        let say = format!(
            "{}:{} answers at {path}, but: {}",
            target.host.in_url(),
            target.port,
            e.say
        );
        Error { say, ..e }
    })
}

/// What is wrong with an answer before its content is read: code and the end of the sentence "host …".
fn fault(target: &PollTarget, path: &str, answer: &Answer) -> Option<(&'static str, String)> {
    let begins = |what: &[u8]| answer.body.trim_ascii_start().starts_with(what);
    let fault = match answer.status {
        200 if answer.content_type == "text/html" || begins(b"<") => (
            "glances_html",
            format!("answers with a web page instead of data at {path}: a login page, or another program."),
        ),
        200 => return None,
        401 => match &target.auth {
            PollAuth::None => ("glances_auth", "asks for a password (401). Give user and password of Glances.".into()),
            PollAuth::Basic { user, password } => {
                let plain = user.is_ascii() && password.reveal_for("is it ASCII?").is_ascii();
                // FastAPI's HTTPBasic decodes as ASCII; 3.x and nginx take UTF-8.
                let hint = if plain { "" } else { " Glances 4 itself cannot read letters beyond ASCII in them." };
                ("glances_auth", format!("does not accept this user and password (401).{hint}"))
            }
            PollAuth::Token(_) => (
                "glances_auth",
                "does not accept this token (401). Glances itself knows tokens from 4.5 on; older ones need a proxy for it."
                    .into(),
            ),
        },
        403 => ("glances_forbidden", "knows us but forbids it (403). Is there an allow-list of addresses?".into()),
        404 => ("glances_path", format!("has nothing at {path} (404). Check path and API version.")),
        301..=303 | 307 | 308 => {
            let to = answer.location.as_deref().unwrap_or("an unnamed place");
            (
                "glances_redirect",
                format!(
                    "redirects to {to} ({}). Lamplighter follows no redirect, so that no password gets elsewhere; set scheme, host and port to that.",
                    answer.status
                ),
            )
        }
        400 if answer.body.windows(10).any(|w| w == b"HTTPS port") => {
            ("glances_wants_tls", "speaks TLS on this port (400). Set the scheme to https.".into())
        }
        code @ (502..=504) => (
            "glances_proxy",
            format!("is a proxy that does not reach Glances behind it ({code}). Is Glances running there?"),
        ),
        code @ 500..=599 => ("glances_failed", format!("answers {code} at {path}: Glances itself, or what is in front of it, failed.")),
        code => ("glances_status", format!("answers {code} at {path}.")),
    };
    Some(fault)
}

/// `http` or `https`, and a pin as stored (empty: the system's authorities).
pub fn security(scheme: &str, pin: &str) -> std::result::Result<Security, String> {
    match (scheme, pin) {
        ("http", _) => Ok(Security::Plain),
        ("https", "") => Ok(Security::Tls),
        ("https", pin) => Pin::parse(pin).map(Security::Pinned),
        _ => Err("The scheme is http or https.".into()),
    }
}
