//! One poll: request, check, error text. Glances 3 answers only at `/api/3/all`, 4 only at `/api/4/all`: if the given
//! path does not exist, both are tried below the same prefix; the configured path is never changed, only reported.

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

/// Authentication at Glances or the proxy in front of it.
#[derive(Debug, Clone, Default)]
pub enum PollAuth {
    /// None.
    #[default]
    None,
    /// By password of Glances or nginx.
    Basic {
        /// Login name.
        user: String,
        /// Its password.
        password: Secret,
    },
    /// `Authorization: Bearer`: Glances 4.5 and later, or a proxy.
    Token(Secret),
}

/// A server to poll.
#[derive(Debug, Clone)]
pub struct PollTarget {
    /// Id of the server.
    pub server: Id<Server>,
    /// Changes with every change of the server: outcomes of older revisions are ignored.
    pub revision: i64,
    /// TLS mode and verification.
    pub security: Security,
    /// Host of Glances.
    pub host: Host,
    /// Port of Glances.
    pub port: u16,
    /// Address policy.
    pub policy: Policy,
    /// Configured path.
    pub path: String,
    /// The path that answered last, if different: tried first.
    pub path_seen: Option<String>,
    /// Authentication.
    pub auth: PollAuth,
    /// Poll interval.
    pub interval: Duration,
    /// Failures in a row after which the server is down.
    pub fail_threshold: u32,
    /// Failures in a row so far.
    pub misses: u32,
    /// Host and port of its sshd.
    pub ssh: (Host, u16),
    /// Is it another machine? Only then a response proves that our network works.
    pub far: bool,
    /// A kept connection.
    pub line: KeepAlive,
    /// Addresses of the host when last resolved.
    pub meant: Vec<IpAddr>,
}

impl PollTarget {
    /// Is it known to be down?
    pub fn is_down(&self) -> bool {
        self.misses >= self.fail_threshold.max(1)
    }
}

/// Result of a poll.
#[derive(Debug)]
pub struct Outcome {
    /// Id of the server.
    pub server: Id<Server>,
    /// Revision of the polled target.
    pub revision: i64,
    /// Fail threshold of the target.
    pub fail_threshold: u32,
    /// Is the target another machine?
    pub far: bool,
    /// Start by our clock, unix ms.
    pub at_ms: Ms,
    /// Duration in ms.
    pub took_ms: u32,
    /// Poll interval of the target.
    pub interval: Duration,
    /// 1, or 2 if the first try failed with a temporary error.
    pub tries: u32,
    /// Failed polls in a row, this one included.
    pub misses: u32,
    /// The sample and the path that gave it.
    pub result: Result<Seen>,
    /// For a server that goes or is down: which other ports of the host answer.
    pub host: Option<String>,
    /// Addresses of the host's name, if known.
    pub means: Vec<IpAddr>,
}

/// A successful poll.
#[derive(Debug, Clone)]
pub struct Polled<'a> {
    /// Id of the server.
    pub server: Id<Server>,
    /// Start by our clock, unix ms.
    pub at_ms: Ms,
    /// Duration in ms.
    pub took_ms: u32,
    /// Poll interval in s.
    pub interval_s: i64,
    /// Its sample.
    pub sample: &'a Sample,
}

/// A valid response.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The sample; its `api` is the API version.
    pub sample: Sample,
    /// The path that answered.
    pub path: String,
}

impl Outcome {
    /// The sample for storage, if there is one.
    pub fn polled(&self) -> Option<Polled<'_>> {
        Some(Polled {
            server: self.server,
            at_ms: self.at_ms,
            took_ms: self.took_ms,
            interval_s: self.interval.as_secs() as i64,
            sample: &self.result.as_ref().ok()?.sample,
        })
    }

    /// How far the server's clock is ahead of ours; its response may be one poll old.
    pub fn skew_ms(&self) -> Option<Ms> {
        let theirs = self.result.as_ref().ok()?.sample.remote_now?;
        Some(theirs - self.at_ms)
    }
}

/// Limit of connecting.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// Limit of one try, from name resolution to the last byte.
const TRY_MAX: Duration = Duration::from_secs(5);
/// Limit of both tries.
const TOTAL_MAX: Duration = Duration::from_secs(8);
/// Limit of a poll on demand, for up to three paths.
const PROBE_MAX: Duration = Duration::from_secs(10);
/// Limit of a response; usual are 50 to 300 kB.
const BODY_MAX: usize = 4 << 20;
/// Poll interval above which no connection is kept.
const KEPT_BETWEEN: Duration = Duration::from_secs(60);
/// While a host is down, its other ports are checked once in so many polls.
const CHECK_PORTS_EVERY: u32 = 10;
/// Limit of each port check.
const PORT_CHECK_MAX: Duration = Duration::from_millis(1_500);

/// Pause before the second try: long enough for a service to restart.
const PAUSE: Duration = Duration::from_millis(250);

/// Polls once, and again after a temporary failure: connection, timeout, server error. A host that is known to be down
/// is tried once.
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
    // Web servers close connections after 60 to 75 s without use (nginx, Apache).
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

/// Cached addresses of the host. Not waited for: if unknown now, they are known by the next poll.
fn means(target: &PollTarget) -> Vec<IpAddr> {
    if target.host.ip().is_some() {
        return Vec::new();
    }
    match names::resolve(target.host.as_str(), clock::mono()) {
        names::Answer::Known(ips) => ips,
        names::Answer::Unknown(_) | names::Answer::Slow => Vec::new(),
    }
}

/// Do a name's addresses have nothing in common with those before? A resolver may rotate several addresses.
pub fn is_elsewhere(before: &[IpAddr], now: &[IpAddr]) -> bool {
    !before.is_empty() && !now.is_empty() && !now.iter().any(|ip| before.contains(ip))
}

/// Is only Glances down, or the whole host? Connects to its ssh and web ports; nothing is sent.
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

/// Polls at once for a person; also reports other paths that answer.
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

/// Result of a poll on demand.
#[derive(Debug)]
pub struct Probed {
    /// The response.
    pub seen: Seen,
    /// Duration in ms.
    pub took_ms: u32,
    /// Address and version, one sentence.
    pub say: String,
}

/// Advice when our loopback is configured as a server's Glances: a tunnel is not needed.
const LOOPBACK_NEEDS_NO_TUNNEL: &str =
    " Glances that listens on the server's loopback only is installed from here behind nginx, and needs no tunnel.";

/// Is the error temporary?
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

/// Is only the path wrong?
fn wrong_path(e: &Error) -> bool {
    ["glances_path", "glances_html", "glances_nothing"].contains(&e.code)
}

/// Paths of both versions below the same prefix as the given path; what is outside of it may belong to others and must
/// not get the password. `/a/api/3/all` and `/a/` both lie below `/a`.
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
            // Nothing found: the error is about the configured path (or the one that used to work).
            Err(e) if wrong_path(&e) => drop(first.get_or_insert(e)),
            // More specific than "not found": Glances 4 with a password answers 404 at 3's path and 401 at its own.
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

/// Error of a response before its content is read: code and the end of the sentence "host …".
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
                // FastAPI's HTTPBasic decodes as ASCII; 3.x and nginx accept UTF-8.
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

/// From `http` or `https` and a stored pin (empty: the system's authorities). The error is a sentence.
pub fn security(scheme: &str, pin: &str) -> std::result::Result<Security, String> {
    match (scheme, pin) {
        ("http", _) => Ok(Security::Plain),
        ("https", "") => Ok(Security::Tls),
        ("https", pin) => Pin::parse(pin).map(Security::Pinned),
        _ => Err("The scheme is http or https.".into()),
    }
}
