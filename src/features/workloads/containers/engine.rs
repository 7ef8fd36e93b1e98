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
use crate::lang::words;
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

/// What engines say, in their own words of all versions, and the code of what it means.
const KNOWN: &[(&str, &str)] = &[
    ("port is already allocated", "engine_port"),
    ("address already in use", "engine_port"),
    ("no space left on device", "engine_full"),
    ("disk quota exceeded", "engine_full"),
    ("executable file not found", "engine_command"),
    ("bind source path does not exist", "engine_mount"),
    ("error while mounting volume", "engine_mount"),
    ("marked for removal", "engine_removing"),
    ("removal of container", "engine_removing"),
    ("is paused", "engine_paused"),
    ("paused container", "engine_paused"),
    ("in state paused", "engine_paused"),
    ("container state improper", "engine_state"),
    ("is not running", "engine_state"),
    ("cannot allocate memory", "engine_memory"),
];

fn refused(ask: &Ask, status: u16, body: &[u8]) -> Error {
    let message = serde_json::from_slice::<Excuse>(body).map_or_else(
        |_| String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned(),
        |excuse| excuse.message,
    );
    let message = text::one_line(message.trim(), 300);
    let lower = message.to_lowercase();
    if status == 404 && !lower.starts_with("network ") {
        return Error::new(Kind::NotFound, "not_found", "The engine no longer has this container.").log(message);
    }
    let kind = if status == 409 { Kind::Conflict } else { Kind::Upstream };
    let known = KNOWN.iter().find(|(words, _)| lower.contains(words));
    let code = match (status, known) {
        (404, _) => "engine_network",
        (501, _) => "engine_no_logs",
        // Podman 4.3, after its very first container was made beside its service.
        (500, _) if *ask == Ask::List => "engine_no_list",
        (_, Some((_, code))) => code,
        (409, None) => "engine_conflict",
        _ => "engine_refuses",
    };
    let mut what = words::english(&format!("err.{code}"), &[]);
    if code == "engine_no_list" {
        what = words::english("told.engine_no_list", &[]);
    }
    let say = match message.as_str() {
        "" => format!("{what}."),
        message => words::english("told.engine_said", &[("what", &what), ("words", message)]),
    };
    Error::new(kind, code, say)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_says_is_known_by_its_words_and_quoted() {
        let id = EngineId::parse(&"a1".repeat(32)).unwrap();
        let start = Ask::Start(&id);
        for (status, message, code) in [
            (404, "No such container: 5a3f", "not_found"),
            (404, "network 5a3f not found", "engine_network"),
            (
                409,
                "Container 5a3f is paused. Unpause the container before stopping or killing",
                "engine_paused",
            ),
            (409, "something new", "engine_conflict"),
            (
                500,
                "driver failed programming external connectivity on endpoint web (5a3f): Bind for 0.0.0.0:80 failed: port is already allocated",
                "engine_port",
            ),
            (
                500,
                "rootlessport listen tcp 0.0.0.0:80: bind: address already in use",
                "engine_port",
            ),
            (500, "write /var/lib/docker/x: no space left on device", "engine_full"),
            (
                400,
                "OCI runtime create failed: exec: \"app\": executable file not found in $PATH: unknown",
                "engine_command",
            ),
            (500, "something new", "engine_refuses"),
            (
                501,
                "configured logging driver does not support reading",
                "engine_no_logs",
            ),
        ] {
            let body = serde_json::json!({ "cause": "x", "message": message }).to_string();
            let e = refused(&start, status, body.as_bytes());
            assert_eq!(e.code, code, "{message}");
            if code != "not_found" {
                assert!(e.say.contains(message), "{}", e.say);
                let again = words::retold(crate::lang::Lang::Ru, &e.say).unwrap();
                assert!(again.contains(message) && !again.contains("engine"), "{again}");
            }
        }
        let e = refused(&Ask::List, 500, b"");
        assert!(e.say.ends_with("systemctl restart docker."), "{}", e.say);
    }

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
