//! A container engine behind a Unix socket, as far as it is asked: lists, details, logs with frames that can be resumed,
//! events, acts. It keeps what it was asked.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A line as it lies there: unix ns, to stderr, text.
pub type Line = (i64, bool, String);

pub struct Container {
    pub id: String,
    pub name: String,
    pub state: &'static str,
    pub exit_code: i64,
    pub oom: bool,
    pub health: &'static str,
    pub project: &'static str,
    /// Its label `lamplighter.restart`.
    pub restart: &'static str,
    pub lines: Vec<Line>,
}

#[derive(Default)]
pub struct State {
    pub containers: Vec<Container>,
    events: Vec<String>,
    /// Method and path of each question.
    pub asked: Vec<String>,
    /// Bytes in place of the frames of every log.
    pub instead: Option<Vec<u8>>,
    /// In the environment of every container.
    pub env: String,
    /// The list is refused, as by Podman 4.3.
    pub no_list: bool,
    /// Its clock is before ours by so many ns.
    pub skew: i64,
    /// It is Podman: times are whole seconds, and of a log that is followed some lines are lost or torn, as when its file ends
    /// in the middle of a line.
    pub podman: bool,
}

pub struct Engine {
    pub socket: PathBuf,
    state: Arc<Mutex<State>>,
    down: Arc<AtomicBool>,
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64
}

impl Engine {
    pub fn start(folder: &Path) -> Engine {
        let socket = folder.join("engine.sock");
        let state: Arc<Mutex<State>> = Arc::default();
        let down = Arc::new(AtomicBool::new(false));
        let listener = UnixListener::bind(&socket).unwrap();
        let (shared, off) = (state.clone(), down.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, off) = (shared.clone(), off.clone());
                if !off.load(Ordering::SeqCst) {
                    thread::spawn(move || drop(serve(stream, &shared, &off)));
                }
            }
        });
        Engine { socket, state, down }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Closes all connections and takes no new ones, or takes them again.
    pub fn cut(&self, is_down: bool) {
        self.down.store(is_down, Ordering::SeqCst);
    }

    pub fn run(&self, name: &str, n: u8) {
        let id = format!("{n:02x}").repeat(32);
        let container = Container {
            id: id.clone(),
            name: name.into(),
            state: "running",
            exit_code: 0,
            oom: false,
            health: "",
            project: "shop",
            restart: "",
            lines: Vec::new(),
        };
        let mut state = self.state();
        state.containers.retain(|other| other.name != name);
        state.containers.push(container);
        state.event(&id, name, "start", &[]);
    }

    pub fn say(&self, name: &str, stderr: bool, text: &str) {
        let mut state = self.state();
        let mut at = now() + state.skew;
        if state.podman {
            at -= at % 1_000_000_000;
        }
        let of = state.containers.iter_mut().find(|c| c.name == name).unwrap();
        of.lines.push((at, stderr, text.into()));
    }

    pub fn with<T>(&self, name: &str, change: impl FnOnce(&mut Container) -> T) -> T {
        let mut state = self.state();
        change(state.containers.iter_mut().find(|c| c.name == name).unwrap())
    }

    /// Starts it again, as the engine does after an end.
    pub fn again(&self, name: &str) {
        let id = self.with(name, |container| {
            container.state = "running";
            container.id.clone()
        });
        self.state().event(&id, name, "start", &[]);
    }

    /// Is ended for want of memory: the event, the code and what is told of it agree.
    pub fn has_no_memory(&self, name: &str) {
        let id = self.with(name, |container| {
            container.oom = true;
            container.id.clone()
        });
        self.state().event(&id, name, "oom", &[]);
        self.dies(name, 137);
    }

    pub fn dies(&self, name: &str, code: i64) {
        let id = self.with(name, |container| {
            (container.state, container.exit_code) = ("exited", code);
            container.id.clone()
        });
        self.state().event(&id, name, "die", &[("exitCode", code.to_string())]);
    }
}

impl State {
    fn event(&mut self, id: &str, name: &str, action: &str, more: &[(&str, String)]) {
        let mut attributes = json!({ "name": name, "image": "shop:1" });
        for (key, value) in more {
            attributes[key] = value.as_str().into();
        }
        let event = json!({ "Type": "container", "Action": action, "Actor": { "ID": id, "Attributes": attributes },
            "time": now() / 1_000_000_000, "timeNano": now() });
        self.events.push(event.to_string());
    }
}

fn list(state: &State) -> Value {
    let row = |c: &Container| {
        let status = match (c.state, c.health) {
            ("running", "") => "Up 5 minutes".to_string(),
            ("running", "starting") => "Up 1 second (health: starting)".to_string(),
            ("running", health) => format!("Up 5 minutes ({health})"),
            _ => format!("Exited ({}) 1 second ago", c.exit_code),
        };
        json!({ "Id": c.id, "Names": [format!("/{}", c.name)], "Image": "shop:1", "State": c.state, "Status": status,
            "Labels": { "com.docker.compose.project": c.project, "com.docker.compose.service": c.name,
                "lamplighter.restart": c.restart }, "Created": 1 })
    };
    state.containers.iter().map(row).collect()
}

fn answer(stream: &mut UnixStream, status: u16, body: &str) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn chunk(stream: &mut UnixStream, bytes: &[u8]) -> std::io::Result<()> {
    write!(stream, "{:x}\r\n", bytes.len())?;
    stream.write_all(bytes)?;
    stream.write_all(b"\r\n")
}

fn frame(line: &Line) -> Vec<u8> {
    let at = lamplighter::base::clock::rfc3339(line.0 / 1_000_000);
    let seconds = at.split('.').next().unwrap();
    let text = format!("{seconds}.{:09}Z {}\n", line.0 % 1_000_000_000, line.2);
    let mut out = vec![1 + u8::from(line.1), 0, 0, 0];
    out.extend((text.len() as u32).to_be_bytes());
    out.extend(text.as_bytes());
    out
}

fn serve(mut stream: UnixStream, state: &Mutex<State>, down: &AtomicBool) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
    }
    let asked = first.rsplit_once(' ').map_or("", |(asked, _)| asked).to_string();
    state.lock().unwrap().asked.push(asked.clone());
    let (method, path) = asked.split_once(' ').unwrap_or_default();
    let parts: Vec<&str> = path.split(['/', '?']).skip(1).collect();
    let open = |stream: &mut UnixStream| {
        stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
    };
    match (method, &parts[..]) {
        ("GET", ["_ping"]) => answer(&mut stream, 200, "OK"),
        ("GET", ["version"]) if state.lock().unwrap().podman => answer(
            &mut stream,
            200,
            r#"{"Version":"4.3.1","ApiVersion":"1.41","Components":[{"Name":"Podman Engine","Version":"4.3.1"}]}"#,
        ),
        ("GET", ["version"]) => answer(
            &mut stream,
            200,
            r#"{"Version":"29.0.1","ApiVersion":"1.52","Components":null}"#,
        ),
        ("GET", ["info"]) => {
            let at = lamplighter::base::clock::rfc3339((now() + state.lock().unwrap().skew) / 1_000_000);
            answer(&mut stream, 200, &json!({ "SystemTime": at, "NCPU": 2 }).to_string())
        }
        ("GET", ["containers", "json", _]) if state.lock().unwrap().no_list => {
            let message = "container 5a3f is not in the database: no such container";
            answer(
                &mut stream,
                500,
                &json!({ "cause": "no such container", "message": message }).to_string(),
            )
        }
        ("GET", ["containers", "json", _]) => {
            let body = list(&state.lock().unwrap()).to_string();
            answer(&mut stream, 200, &body)
        }
        ("GET", ["events", _]) => {
            let mut seen = state.lock().unwrap().events.len();
            open(&mut stream)?;
            while !down.load(Ordering::SeqCst) {
                let new: Vec<String> = state.lock().unwrap().events[seen..].to_vec();
                for event in &new {
                    chunk(&mut stream, format!("{event}\n").as_bytes())?;
                }
                seen += new.len();
                thread::sleep(Duration::from_millis(10));
            }
            Ok(())
        }
        (_, ["containers", id, what, ..]) => of_one(&mut stream, state, down, (method, id, what, path)),
        _ => answer(&mut stream, 404, r#"{"message":"page not found"}"#),
    }
}

fn of_one(
    stream: &mut UnixStream,
    state: &Mutex<State>,
    down: &AtomicBool,
    (method, id, what, path): (&str, &str, &str, &str),
) -> std::io::Result<()> {
    let mut locked = state.lock().unwrap();
    let env = locked.env.clone();
    let instead = locked.instead.clone();
    let Some(c) = locked.containers.iter_mut().find(|c| c.id == id) else {
        drop(locked);
        return answer(stream, 404, r#"{"message":"No such container"}"#);
    };
    match (method, what) {
        ("GET", "json") => {
            let body = json!({ "Id": c.id, "State": { "Status": c.state, "ExitCode": c.exit_code, "OOMKilled": c.oom,
                    "Health": { "Status": c.health } },
                "Config": { "Tty": false, "Env": [env] }, "Created": "2026-11-21T04:49:50Z" });
            drop(locked);
            answer(stream, 200, &body.to_string())
        }
        ("GET", "stats") => {
            let cpu = now() / 10;
            let body = json!({ "cpu_stats": { "cpu_usage": { "total_usage": cpu }, "system_cpu_usage": now() * 2, "online_cpus": 2 },
                "memory_stats": { "usage": 3_000_000, "limit": 6_000_000, "stats": { "inactive_file": 1_000_000 } },
                "pids_stats": { "current": 3 }, "networks": null, "blkio_stats": null });
            drop(locked);
            answer(stream, 200, &body.to_string())
        }
        ("POST", "start") if c.state == "running" => {
            drop(locked);
            stream.write_all(b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n")
        }
        ("POST", "stop") if c.state == "paused" => {
            drop(locked);
            answer(stream, 409, r#"{"message":"Container is paused"}"#)
        }
        ("POST", act) => {
            let (id, name) = (c.id.clone(), c.name.clone());
            if act != "start" {
                (c.state, c.exit_code) = ("exited", 137);
                locked.event(&id, &name, "kill", &[("signal", "15".into())]);
                locked.event(&id, &name, "die", &[("exitCode", "137".into())]);
            }
            let c = locked.containers.iter_mut().find(|c| c.id == id).unwrap();
            if act != "stop" {
                c.state = "running";
                c.health = if c.health.is_empty() { "" } else { "starting" };
                locked.event(&id, &name, "start", &[]);
            }
            drop(locked);
            stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        }
        ("GET", "logs") => {
            drop(locked);
            stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
            )?;
            if let Some(bytes) = instead {
                chunk(stream, &bytes)?;
                return chunk(stream, b"");
            }
            let since = path.split("since=").nth(1).unwrap_or("0.0");
            let (seconds, nanos) = since.split_once('.').unwrap();
            let since = seconds.parse::<i64>().unwrap() * 1_000_000_000 + nanos.parse::<i64>().unwrap();
            let follow = path.contains("follow=1");
            let mut sent = 0;
            loop {
                let (mut new, runs, podman) = {
                    let locked = state.lock().unwrap();
                    match locked.containers.iter().find(|c| c.id == id) {
                        Some(c) => (c.lines[sent..].to_vec(), c.state == "running", locked.podman),
                        None => (Vec::new(), false, false),
                    }
                };
                sent += new.len();
                if let Some(torn) = new.last_mut().filter(|_| podman && runs) {
                    let half = torn.2.len() / 2;
                    // The next time that it is read it is whole.
                    if follow || now() / 100_000_000 % 5 == 0 {
                        torn.2.truncate(half);
                    }
                }
                if podman && follow && sent % 3 == 0 {
                    new.pop();
                }
                let frames: Vec<u8> = new.iter().filter(|line| line.0 >= since).flat_map(frame).collect();
                // In pieces that end anywhere.
                for piece in frames.chunks(1_013) {
                    chunk(stream, piece)?;
                }
                if down.load(Ordering::SeqCst) {
                    return Ok(());
                }
                if !(follow && runs) {
                    return chunk(stream, b"");
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
        _ => {
            drop(locked);
            answer(stream, 404, r#"{"message":"page not found"}"#)
        }
    }
}
