//! The engine: Docker 20.10 and newer, Podman 4.3 and newer. Only what [`Ask`] can say leaves towards its socket, which is
//! as good as root: method and path come from one list, names have a strict grammar. Paths have no version: each engine
//! then answers in its own.

use super::model::EngineId;
use crate::base::clock::{self, Duration};
use crate::base::error::{Error, Kind, Result};
use crate::base::host::Host;
use crate::base::process::Cancel;
use crate::base::secret::Secret;
use crate::base::text;
use crate::net::dial::{Call, Security};
use crate::net::http::{self, Method, Request, Route, Source};
use crate::net::policy::Policy;
use crate::net::stream::Stream;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Longest answer that is read whole: a list of some thousand containers.
const BODY_MAX: usize = 16 << 20;
/// Limit of a question.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// A stopping container may take its grace and a little more.
const STOP_MORE: Duration = Duration::from_secs(30);
/// Silence after which a stream is opened again: it may be dead without anybody having said so.
const IDLE_MAX: Duration = Duration::from_secs(3_600);

/// All that may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask<'a> {
    /// `GET /_ping`
    Ping,
    /// `GET /version`
    Version,
    /// `GET /info`
    Info,
    /// `GET /containers/json`, also of those that do not run.
    List,
    /// `GET /containers/ID/json`. Its answer has secrets in `Config.Env`, which are not read.
    Inspect(&'a EngineId),
    /// `GET /containers/ID/stats`, one sample at once.
    Stats(&'a EngineId),
    /// `GET /containers/ID/logs` from this time (unix ns; 0: from the start), to the end or for ever.
    Logs(&'a EngineId, i64, bool),
    /// `GET /events` of containers.
    Events,
    /// `POST /containers/ID/start`
    Start(&'a EngineId),
    /// `POST /containers/ID/stop` with so many seconds of grace.
    Stop(&'a EngineId, u32),
    /// `POST /containers/ID/restart`, likewise.
    Restart(&'a EngineId, u32),
}

/// Events that are asked for. Health checks make three others of each container every few seconds.
const EVENTS: &str = r#"{"type":["container"],"event":["create","start","restart","die","died","oom","kill","stop","pause","unpause","rename","destroy","remove","health_status"]}"#;

impl Ask<'_> {
    fn method(&self) -> Method {
        match self {
            Ask::Start(_) | Ask::Stop(..) | Ask::Restart(..) => Method::Post,
            _ => Method::Get,
        }
    }

    fn path(&self) -> String {
        match self {
            Ask::Ping => "/_ping".into(),
            Ask::Version => "/version".into(),
            Ask::Info => "/info".into(),
            Ask::List => "/containers/json?all=1".into(),
            Ask::Inspect(id) => format!("/containers/{id}/json"),
            Ask::Stats(id) => format!("/containers/{id}/stats?stream=false&one-shot=true"),
            Ask::Logs(id, since, follow) => {
                let since = format!("{}.{:09}", since / 1_000_000_000, since % 1_000_000_000);
                let follow = u8::from(*follow);
                format!("/containers/{id}/logs?stdout=1&stderr=1&timestamps=1&follow={follow}&since={since}")
            }
            Ask::Events => format!("/events?filters={}", text::percent_encode(EVENTS)),
            Ask::Start(id) => format!("/containers/{id}/start"),
            Ask::Stop(id, grace) => format!("/containers/{id}/stop?t={grace}"),
            Ask::Restart(id, grace) => format!("/containers/{id}/restart?t={grace}"),
        }
    }

    fn limit(&self) -> Duration {
        match self {
            Ask::Stop(_, grace) | Ask::Restart(_, grace) => Duration::from_secs(u64::from(*grace)) + STOP_MORE,
            _ => ANSWER_MAX,
        }
    }
}

/// An engine behind a socket of this machine: its own, or one that leads to a server.
#[derive(Debug, Clone)]
pub struct Engine {
    socket: PathBuf,
    host: Host,
}

/// An endless answer.
pub type Endless<'a> = Stream<Source<'a>>;

#[derive(Deserialize)]
struct Excuse {
    #[serde(default)]
    message: String,
}

impl Engine {
    /// The engine behind this socket.
    pub fn at(socket: &Path) -> Result<Engine> {
        Ok(Engine {
            socket: socket.into(),
            host: Host::parse("docker").map_err(Error::internal)?,
        })
    }

    fn call(&self, limit: Duration) -> Call<'_> {
        Call {
            host: &self.host,
            port: 80,
            security: Security::Plain,
            policy: Policy::Server,
            connect_max: limit,
            until: clock::mono() + limit,
        }
    }

    /// Asks, and gives status and body. Errors: those of [`http::send`], `engine_refuses`, and `not_found` for a container that
    /// is gone.
    pub fn ask(&self, ask: &Ask) -> Result<(u16, Vec<u8>)> {
        let path = Secret::new(ask.path());
        let answer = http::send(&self.call(ask.limit()), &self.request(ask, &path), BODY_MAX)?;
        if let Some(fault) = answer.fault {
            return Err(fault);
        }
        match answer.status {
            200..=299 | 304 => Ok((answer.status, answer.body)),
            status => Err(refused(ask, status, &answer.body)),
        }
    }

    /// Asks for what does not end. Errors: as [`Engine::ask`], `cancelled`.
    pub fn open(&self, ask: &Ask, cancel: &Cancel) -> Result<Endless<'_>> {
        let path = Secret::new(ask.path());
        let (answer, mut stream) = http::open(&self.call(ask.limit()), &self.request(ask, &path), IDLE_MAX, cancel)?;
        if answer.status == 200 {
            return Ok(stream);
        }
        let mut excuse = vec![0; http::EXCUSE_MAX];
        let n = stream.read(&mut excuse)?;
        Err(refused(ask, answer.status, &excuse[..n]))
    }

    fn request<'a>(&'a self, ask: &Ask, path: &'a Secret) -> Request<'a> {
        Request {
            method: ask.method(),
            path,
            content_type: "application/json",
            headers: &[],
            body: b"",
            route: Route::Unix(&self.socket),
        }
    }

    /// Asks, and reads the answer as JSON. Errors: as [`Engine::ask`], `engine_answer`.
    pub fn read<T: for<'de> Deserialize<'de>>(&self, ask: &Ask) -> Result<T> {
        let (_, body) = self.ask(ask)?;
        serde_json::from_slice(&body).map_err(|e| {
            let say = "The container engine answered something that this version does not understand.";
            Error::new(Kind::Upstream, "engine_answer", say).log(e)
        })
    }
}

fn refused(ask: &Ask, status: u16, body: &[u8]) -> Error {
    let message = serde_json::from_slice::<Excuse>(body).map_or_else(
        |_| String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned(),
        |excuse| excuse.message,
    );
    let message = text::one_line(message.trim(), 300);
    match status {
        404 => Error::new(Kind::NotFound, "not_found", "The engine no longer has this container.").log(message),
        409 => {
            let say = format!("The engine cannot do this now: {message}");
            Error::new(Kind::Conflict, "engine_conflict", say)
        }
        501 => Error::new(
            Kind::Upstream,
            "engine_no_logs",
            "This container's logging driver keeps nothing that can be read.",
        )
        .log(message),
        500 if *ask == Ask::List => {
            // Podman 4.3, after its very first container was made beside its service.
            let say = format!(
                "The container engine answers, but does not list its containers ({message}). On the server, for Podman: systemctl restart podman.service; for Docker: systemctl restart docker."
            );
            Error::new(Kind::Upstream, "engine_refuses", say)
        }
        _ => {
            let say = format!("The container engine refused ({status}): {message}");
            Error::new(Kind::Upstream, "engine_refuses", say)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_list_leaves_towards_the_socket() {
        let id = EngineId::parse(&"a1".repeat(32)).unwrap();
        let all = [
            Ask::Ping,
            Ask::Version,
            Ask::Info,
            Ask::List,
            Ask::Inspect(&id),
            Ask::Stats(&id),
            Ask::Logs(&id, 1_764_473_839_000_000_001, true),
            Ask::Events,
            Ask::Start(&id),
            Ask::Stop(&id, 10),
            Ask::Restart(&id, 10),
        ];
        let mut posts = 0;
        for ask in &all {
            let path = ask.path();
            assert!(
                path.bytes().all(|b| b.is_ascii_graphic() && !b"\"{}#".contains(&b)),
                "{path}"
            );
            posts += usize::from(ask.method() == Method::Post);
        }
        assert_eq!(posts, 3);
        assert!(all[6].path().ends_with("&since=1764473839.000000001"));
        for bad in [
            "",
            "abc",
            "../../images/json",
            &"g1".repeat(32),
            &"a1".repeat(33),
            "A1B2C3D4E5F6",
        ] {
            assert!(EngineId::parse(bad).is_none(), "{bad}");
        }
    }
}
