//! How commands ask the running daemon: one way for all of them. It is asked by its control socket, or by `--url` with a
//! token; where none runs, [`offline`] answers what only looks.

use super::{Flag, Invocation, offline, remark, usage};
use crate::base::clock::{self, Duration};
use crate::base::config::Config;
use crate::base::error::{Error, Kind, Result};
use crate::base::file;
use crate::base::host::Host;
use crate::base::secret::Secret;
use crate::base::url::Url;
use crate::http::edge::CONTROL_SOCKET;
use crate::net::dial::{Call, Security};
use crate::net::http::{self, Method, Request, Route};
use crate::net::policy::Policy;
use crate::net::tls::Pin;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Response of the daemon.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body as text.
    pub body: String,
}

/// Requests a public path of the daemon. Over TLS its certificate file is trusted. Error: not reachable.
pub fn ask(config: &Config, listen: SocketAddr, path: &str) -> Result<Answer> {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let host = Host::parse(&ip.to_string()).map_err(Error::internal)?;
    let security = match &config.tls {
        Some(files) => Security::Pinned(Pin::of_file(&files.cert)?),
        None => Security::Plain,
    };
    let call = Call {
        host: &host,
        port: listen.port(),
        security,
        policy: Policy::Server,
        connect_max: Duration::from_secs(3),
        until: clock::mono() + Duration::from_secs(10),
    };
    let request = Request {
        method: Method::Get,
        path: &Secret::new(path),
        content_type: "application/json",
        headers: &[],
        body: b"",
        route: Route::Direct,
    };
    let answer = http::send(&call, &request, 1 << 20).map_err(|e| {
        let say = format!("Lamplighter does not answer at {listen}. {}", e.say);
        Error::new(Kind::Upstream, "daemon_unreachable", say)
    })?;
    Ok(Answer {
        status: answer.status,
        body: String::from_utf8_lossy(&answer.body).into_owned(),
    })
}

/// Flags of the commands that ask a daemon.
pub const REMOTE: &[Flag] = &[URL, TOKEN_FILE];

/// See [`REMOTE`].
pub const URL: Flag = Flag {
    name: "url",
    value: "URL",
    help: "Ask the Lamplighter at this address instead of the one on this machine.",
};

/// See [`REMOTE`].
pub const TOKEN_FILE: Flag = Flag {
    name: "token-file",
    value: "FILE",
    help: "With --url: the API token is in this file.",
};

/// Longest answer that is taken.
const ANSWER_MAX: usize = 64 << 20;
/// Longest wait for one.
const WAIT_MAX: Duration = Duration::from_secs(90);

/// Where a command's questions go.
enum Daemon {
    /// The one of this data folder, by its control socket: it knows who asks from the kernel.
    Here(PathBuf),
    /// One anywhere, by an API token.
    There(Url, Secret),
    /// None runs here.
    None,
}

fn daemon(asked: &Invocation, config: &Config) -> Result<Daemon> {
    if let Some(text) = asked.flag("url") {
        let url = Url::parse(text.trim_end_matches('/')).map_err(|why| usage(&why))?;
        if url.path != "/" {
            return Err(usage("--url takes an address without a path: https://host[:port]."));
        }
        let path = asked
            .flag("token-file")
            .ok_or_else(|| usage("--url needs an API token: --token-file FILE."))?;
        let unreadable = |why: String| Error::new(Kind::Malformed, "token_file", format!("{path}: {why}."));
        file::check_secret(Path::new(path)).map_err(&unreadable)?;
        let bytes = file::read_limited(Path::new(path), 4_096).map_err(|e| unreadable(e.to_string()))?;
        let token = String::from_utf8(bytes).map_err(|_| unreadable("it is not text".into()))?;
        return Ok(Daemon::There(url, Secret::new(token.trim())));
    }
    let socket = config.runtime_dir.join(CONTROL_SOCKET);
    match UnixStream::connect(&socket) {
        Ok(_) => Ok(Daemon::Here(socket)),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(Daemon::None),
        Err(e) => {
            let say = format!(
                "{} cannot be asked: {e}. Ask as root or as the service's user.",
                socket.display()
            );
            Err(Error::new(Kind::Upstream, "daemon_unreachable", say))
        }
    }
}

impl Invocation {
    /// Asks the API and gives the JSON of a good answer. Where no daemon runs, a GET is answered from the databases, and how
    /// old they are is told on standard error; anything else ends with 69. An answer that is an error becomes one.
    pub fn ask(&self, method: Method, path: &str, body: &[u8]) -> Result<String> {
        self.exchange(method, path, body, method == Method::Get)
    }

    /// The same for a POST that changes nothing: without a daemon it is answered as well.
    pub fn ask_without_change(&self, path: &str, body: &[u8]) -> Result<String> {
        self.exchange(Method::Post, path, body, true)
    }

    fn exchange(&self, method: Method, path: &str, body: &[u8], changes_nothing: bool) -> Result<String> {
        let config = self.begin()?;
        let (status, body) = match daemon(self, &config)? {
            Daemon::Here(socket) => {
                let host = Host::parse("localhost").map_err(Error::internal)?;
                let call = call(&host, 80, Security::Plain);
                send(&call, method, path, &[], body, Route::Unix(&socket))?
            }
            Daemon::There(url, token) => {
                let security = if url.tls { Security::Tls } else { Security::Plain };
                let call = call(&url.host, url.port, security);
                let bearer = format!("Bearer {}", token.reveal_text_for("the request's header"));
                send(&call, method, path, &[("authorization", bearer)], body, Route::Direct)?
            }
            Daemon::None if changes_nothing => {
                remark(&offline::age(&config));
                offline::answer(self, config, path, (method == Method::Post).then_some(body))?
            }
            Daemon::None => {
                let say = "No Lamplighter runs on this data folder, and only a running one changes something. Start it: \
                    systemctl start lamplighter. For one elsewhere: --url URL --token-file FILE.";
                return Err(Error::new(Kind::Upstream, "daemon_unreachable", say));
            }
        };
        match status {
            200..=299 => Ok(String::from_utf8_lossy(&body).into_owned()),
            _ => Err(refused(status, &body)),
        }
    }
}

fn call(host: &Host, port: u16, security: Security) -> Call<'_> {
    Call {
        host,
        port,
        security,
        policy: Policy::Server,
        connect_max: Duration::from_secs(10),
        until: clock::mono() + WAIT_MAX,
    }
}

fn send(
    call: &Call,
    method: Method,
    path: &str,
    headers: &[(&str, String)],
    body: &[u8],
    route: Route,
) -> Result<(u16, Vec<u8>)> {
    let request = Request {
        method,
        path: &Secret::new(path),
        content_type: "application/json",
        headers,
        body,
        route,
    };
    let answer = http::send(call, &request, ANSWER_MAX).map_err(|e| {
        Error::new(
            Kind::Upstream,
            "daemon_unreachable",
            format!("Lamplighter does not answer. {}", e.say),
        )
    })?;
    match answer.fault {
        Some(fault) => Err(fault),
        None => Ok((answer.status, answer.body)),
    }
}

/// What the API's error says, with each field's mistake.
fn refused(status: u16, body: &[u8]) -> Error {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let mut say = match body["detail"].as_str() {
        _ if status == 401 => "The API token is wrong, withdrawn or over (401).".to_string(),
        Some(detail) => detail.to_string(),
        None => format!("Lamplighter answered {status}."),
    };
    for field in body["fields"].as_array().into_iter().flatten() {
        if let (Some(name), Some(message)) = (field["field"].as_str(), field["message"].as_str())
            && !say.contains(message)
        {
            say.push_str(&format!(" {name}: {message}"));
        }
    }
    Error::new(if status == 503 { Kind::Busy } else { Kind::Conflict }, "refused", say)
}
