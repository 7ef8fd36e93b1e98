//! What engines say, read with care: another engine, version or somebody else's socket may send anything.

use crate::base::clock::{self, Ms};
use crate::base::error::{Error, Result};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;

/// An engine's id of one life of a container: 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EngineId(String);

impl EngineId {
    /// Reads one.
    pub fn parse(text: &str) -> Option<EngineId> {
        let is_id = text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        is_id.then(|| EngineId(text.into()))
    }

    /// All digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digits that people know it by.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl fmt::Display for EngineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Is this the name of a container, as engines take them?
pub fn is_name(text: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    (1..=128).contains(&text.len()) && text.bytes().all(known) && text.as_bytes()[0].is_ascii_alphanumeric()
}

/// The states that engines know, and `gone`: removed.
pub const STATES: [&str; 8] = [
    "created",
    "running",
    "paused",
    "restarting",
    "removing",
    "exited",
    "dead",
    GONE,
];
/// The state of a removed container.
pub const GONE: &str = "gone";

/// A time at the beginning of a line, `2026-11-21T04:51:03.803499060Z `, in unix ns, and what follows it.
pub fn stamp(line: &[u8]) -> Option<(i64, &[u8])> {
    let digits = |from: usize, count: usize| -> Option<i64> {
        let part = line.get(from..from + count)?;
        part.iter()
            .all(u8::is_ascii_digit)
            .then(|| part.iter().fold(0, |n, b| n * 10 + i64::from(b - b'0')))
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if !marks.iter().all(|(at, mark)| line.get(*at) == Some(mark)) {
        return None;
    }
    let days = clock::days(digits(0, 4)?, digits(5, 2)?, digits(8, 2)?)?;
    let (h, m, s) = (digits(11, 2)?, digits(14, 2)?, digits(17, 2)?);
    if !(1970..2200).contains(&digits(0, 4)?) || h > 23 || m > 59 || s > 60 {
        return None;
    }
    let mut at = 19;
    let mut ns = 0;
    if line.get(at) == Some(&b'.') {
        let count = line[at + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
        if !(1..=9).contains(&count) {
            return None;
        }
        ns = digits(at + 1, count)? * 10_i64.pow(9 - count as u32);
        at += 1 + count;
    }
    let offset = match line.get(at)? {
        b'Z' => {
            at += 1;
            0
        }
        sign @ (b'+' | b'-') => {
            let seconds = digits(at + 1, 2)? * 3_600 + digits(at + 4, 2)? * 60;
            at += 6;
            if *sign == b'+' { seconds } else { -seconds }
        }
        _ => return None,
    };
    let rest = match line.get(at) {
        None => &line[at..],
        Some(b' ') => &line[at + 1..],
        Some(_) => return None,
    };
    let seconds = days * 86_400 + h * 3_600 + m * 60 + s - offset;
    Some((seconds * 1_000_000_000 + ns, rest))
}

/// A time of an engine in unix ms; `None` for its zero, `0001-01-01T00:00:00Z`.
pub fn time(text: &str) -> Option<Ms> {
    let (at, _) = stamp(text.as_bytes())?;
    Some(at / 1_000_000).filter(|at| *at > 0)
}

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> std::result::Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Of `/version`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Version {
    /// As people know it.
    #[serde(default, deserialize_with = "or_default")]
    pub version: String,
    #[serde(default, deserialize_with = "or_default")]
    components: Vec<Component>,
}

#[derive(Debug, Deserialize)]
struct Component {
    #[serde(rename = "Name", default)]
    name: String,
}

impl Version {
    /// `docker` or `podman`.
    pub fn engine(&self) -> &'static str {
        match self.components.iter().any(|part| part.name.starts_with("Podman")) {
            true => "podman",
            false => "docker",
        }
    }
}

/// Of `/info`.
#[derive(Debug, Default)]
pub struct Info {
    /// What the server's clock shows, unix ms.
    pub shown: Option<Ms>,
    /// Its processors.
    pub cpus: u32,
}

impl Info {
    /// Reads an answer.
    pub fn of(answer: &serde_json::Value) -> Info {
        Info {
            shown: answer[concat!("System", "Time")].as_str().and_then(time),
            cpus: answer["NCPU"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(default, deserialize_with = "or_default")]
    id: String,
    #[serde(default, deserialize_with = "or_default")]
    names: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    image: String,
    #[serde(default, deserialize_with = "or_default")]
    state: String,
    #[serde(default, deserialize_with = "or_default")]
    status: String,
    #[serde(default, deserialize_with = "or_default")]
    labels: BTreeMap<String, Option<String>>,
}

/// A container as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// This life's id.
    pub life: EngineId,
    /// Its name.
    pub name: String,
    /// Its image, one line.
    pub image: String,
    /// One of [`STATES`].
    pub state: &'static str,
    /// `starting`, `healthy`, `unhealthy`; empty: it has no check, or the engine does not say here.
    pub health: &'static str,
    /// Exit code of one that ended.
    pub exit_code: Option<i64>,
    /// Compose project, or empty.
    pub project: String,
    /// Compose service, or empty.
    pub service: String,
    /// Its labels for us, by what follows `lamplighter.`.
    pub labels: BTreeMap<String, String>,
}

/// Containers that are looked at on one server; further ones are not.
pub const CONTAINERS_MAX: usize = 2_000;

/// Of `/containers/json`. Rows without a proper id and name are left out.
pub fn list(body: &[u8]) -> Result<Vec<Listed>> {
    let rows: Vec<serde_json::Value> = serde_json::from_slice(body).map_err(|e| {
        let say = "The container engine's list is not what such a list is.";
        Error::new(crate::base::error::Kind::Upstream, "engine_answer", say).log(e)
    })?;
    let rows = rows
        .into_iter()
        .filter_map(|row| serde_json::from_value::<Row>(row).ok());
    Ok(rows.filter_map(listed).take(CONTAINERS_MAX).collect())
}

fn listed(row: Row) -> Option<Listed> {
    let names = row.names.iter().map(|name| name.strip_prefix('/').unwrap_or(name));
    let name = names.into_iter().find(|name| is_name(name))?.to_string();
    let label = |key: &str| row.labels.get(key).cloned().flatten().unwrap_or_default();
    let short = |text: &str, max| crate::base::text::one_line(text, max);
    let known = |words: &[&'static str], text: &str| words.iter().copied().find(|word| *word == text);
    let ours = row.labels.iter().filter_map(|(key, value)| {
        let key = key.strip_prefix("lamplighter.").filter(|key| key.len() <= 32)?;
        Some((key.to_string(), short(value.as_deref().unwrap_or_default(), 100)))
    });
    Some(Listed {
        life: EngineId::parse(&row.id)?,
        image: short(&row.image, 200),
        state: known(&STATES[..7], &row.state.to_ascii_lowercase()).unwrap_or("dead"),
        health: health_in(&row.status),
        exit_code: exit_code_in(&row.status),
        project: short(&label("com.docker.compose.project"), 128),
        service: short(&label("com.docker.compose.service"), 128),
        labels: ours.take(8).collect(),
        name,
    })
}

/// `Up 5 minutes (unhealthy)`
fn health_in(status: &str) -> &'static str {
    [
        ("(healthy)", "healthy"),
        ("(unhealthy)", "unhealthy"),
        ("(health: starting)", "starting"),
    ]
    .iter()
    .find(|(text, _)| status.ends_with(text))
    .map_or("", |(_, health)| health)
}

/// `Exited (137) 2 hours ago`
fn exit_code_in(status: &str) -> Option<i64> {
    let rest = status.strip_prefix("Exited (")?;
    rest.split_once(')')?.0.parse().ok()
}

/// Of `/containers/ID/json`, what is wanted of it. The environment, which has secrets, is not read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspected {
    /// How it is.
    #[serde(default, deserialize_with = "or_default")]
    pub state: InspectedState,
    #[serde(default, deserialize_with = "or_default")]
    config: InspectedConfig,
    #[serde(default, deserialize_with = "or_default")]
    host_config: InspectedHost,
}

/// How a container is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InspectedState {
    /// `running`, `exited` …
    #[serde(default, deserialize_with = "or_default")]
    pub status: String,
    /// Was it ended for want of memory?
    #[serde(rename = "OOMKilled", default, deserialize_with = "or_default")]
    pub oom_killed: bool,
    #[serde(default, deserialize_with = "or_default")]
    health: InspectedHealth,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedHealth {
    #[serde(default, deserialize_with = "or_default")]
    status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedConfig {
    #[serde(default, deserialize_with = "or_default")]
    tty: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedHost {
    #[serde(default, deserialize_with = "or_default")]
    log_config: LogConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LogConfig {
    #[serde(rename = "Type", default, deserialize_with = "or_default")]
    driver: String,
}

impl Inspected {
    /// How its log is kept: `json-file`, `journald` …
    pub fn log_driver(&self) -> &str {
        &self.host_config.log_config.driver
    }

    /// Is its log a terminal's, without frames?
    pub fn tty(&self) -> bool {
        self.config.tty
    }

    /// As [`Listed::health`].
    pub fn health(&self) -> &'static str {
        let words = ["starting", "healthy", "unhealthy"];
        words
            .into_iter()
            .find(|word| *word == self.state.health.status)
            .unwrap_or("")
    }
}

#[derive(Debug, Deserialize)]
struct RawEvent {
    #[serde(rename = "Type", default, deserialize_with = "or_default")]
    of: String,
    #[serde(rename = "Action", default, deserialize_with = "or_default")]
    action: String,
    #[serde(default, deserialize_with = "or_default")]
    status: String,
    #[serde(rename = "Actor", default, deserialize_with = "or_default")]
    actor: Actor,
    #[serde(rename = "HealthStatus", default, deserialize_with = "or_default")]
    health: String,
    #[serde(rename = "timeNano", default, deserialize_with = "or_default")]
    time_nano: i64,
}

#[derive(Debug, Default, Deserialize)]
struct Actor {
    #[serde(rename = "ID", default, deserialize_with = "or_default")]
    id: String,
    #[serde(rename = "Attributes", default, deserialize_with = "or_default")]
    attributes: BTreeMap<String, Option<String>>,
}

/// Something that happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// Whose life.
    pub life: EngineId,
    /// Its name then; may be empty.
    pub name: String,
    /// What.
    pub what: What,
    /// Unix ns by the server's clock.
    pub at: i64,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It was started.
    Started,
    /// It ended with this code.
    Died(Option<i64>),
    /// It was ended for want of memory.
    Oom,
    /// Somebody sends it a signal, which `stop` and `restart` do first.
    Asked,
    /// Its health is this.
    Health(&'static str),
    /// Something else that the list shows: made, renamed, paused, removed.
    Other,
}

/// A line of `/events`; `None`: it is about nothing that matters.
pub fn happened(line: &str) -> Option<Happened> {
    let line = line.trim_start_matches('\u{1e}'); // json-seq, from API 1.53
    let raw: RawEvent = serde_json::from_str(line).ok()?;
    if !raw.of.is_empty() && raw.of != "container" {
        return None;
    }
    let action = if raw.action.is_empty() { raw.status } else { raw.action };
    let attribute = |key: &str| raw.actor.attributes.get(key).cloned().flatten();
    let code = || {
        let code = attribute("exitCode").or_else(|| attribute("containerExitCode"))?;
        code.parse().ok()
    };
    let what = match action.split(':').next().unwrap_or_default().trim() {
        "start" | "restart" => What::Started,
        "die" | "died" => What::Died(code()),
        "oom" => What::Oom,
        "kill" | "stop" => What::Asked,
        "health_status" => {
            let said = action
                .split_once(':')
                .map_or(raw.health.as_str(), |(_, said)| said.trim());
            let words = ["starting", "healthy", "unhealthy"];
            What::Health(words.into_iter().find(|word| *word == said)?)
        }
        "create" | "pause" | "unpause" | "rename" | "destroy" | "remove" => What::Other,
        _ => return None,
    };
    let name = attribute("name").unwrap_or_default();
    Some(Happened {
        life: EngineId::parse(&raw.actor.id)?,
        name: if is_name(&name) { name } else { String::new() },
        what,
        at: raw.time_nano,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(file: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/data/docker/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn times_are_read_to_the_nanosecond_in_any_zone() {
        let of = |text: &str| stamp(text.as_bytes()).map(|(at, rest)| (at, String::from_utf8_lossy(rest).into_owned()));
        assert_eq!(of("1970-01-01T00:00:01.5Z x y"), Some((1_500_000_000, "x y".into())));
        assert_eq!(
            of("2026-11-21T05:31:50Z out"),
            Some((1_795_239_110_000_000_000, "out".into()))
        );
        assert_eq!(
            of("2026-11-21T07:31:50+02:00 "),
            Some((1_795_239_110_000_000_000, String::new()))
        );
        assert_eq!(
            of("2026-11-21T05:31:50.000000001Z"),
            Some((1_795_239_110_000_000_001, String::new()))
        );
        for bad in [
            "",
            "2026-11-21",
            "2026-13-21T05:31:50Z x",
            "2026-11-21T05:31:50Zx",
            "0001-01-01T00:00:00Z x",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert_eq!(time("0001-01-01T00:00:00Z"), None);
    }

    #[test]
    fn the_lists_of_both_engines_are_read() {
        let docker = list(&data("20.10.24/containers_all.json")).unwrap();
        let web = docker.iter().find(|one| one.name == "shop-web-1").unwrap();
        assert_eq!((web.state, web.health), ("running", "healthy"));
        assert_eq!((web.project.as_str(), web.service.as_str()), ("shop", "web"));
        assert!(docker.iter().any(|one| one.exit_code == Some(137)));
        let podman = list(&data("podman-4.3.1/containers_all.json")).unwrap();
        assert!(podman.iter().any(|one| one.name == "burner" && one.state == "running"));
        assert!(list(b"{}").is_err());
        let odd = br#"[{"Id":"x"},{"Names":null},3,{"Id":"aa","Names":["/../x"],"Labels":null}]"#;
        assert_eq!(list(odd).unwrap(), []);
    }

    #[test]
    fn details_and_versions_are_read() {
        let of = |file: &str| serde_json::from_slice::<Inspected>(&data(file)).unwrap();
        assert!(of("20.10.24/inspect_oom.json").state.oom_killed && of("20.10.24/inspect_tty.json").tty());
        assert_eq!(of("20.10.24/inspect_running.json").health(), "healthy");
        assert_eq!(of("podman-4.3.1/inspect_talker.json").health(), "");
        let info = Info::of(&serde_json::from_slice(&data("20.10.24/info.json")).unwrap());
        assert_eq!((info.shown, info.cpus), (Some(1_795_236_654_591), 2));
        let of = |file: &str| serde_json::from_slice::<Version>(&data(file)).unwrap();
        let (docker, podman) = (of("20.10.24/version.json"), of("podman-4.3.1/version.json"));
        assert_eq!((docker.engine(), docker.version.as_str()), ("docker", "20.10.24+dfsg1"));
        assert_eq!((podman.engine(), podman.version.as_str()), ("podman", "4.3.1"));
    }

    #[test]
    fn events_of_all_versions_are_read() {
        let of = |file: &str| {
            let text = String::from_utf8(data(file)).unwrap();
            text.lines()
                .filter_map(happened)
                .map(|event| event.what)
                .collect::<Vec<_>>()
        };
        let docker = of("20.10.24/events_live.ndjson");
        assert!(docker.contains(&What::Asked) && docker.contains(&What::Died(Some(137))));
        let podman = of("podman-4.3.1/events.json");
        assert!(podman.contains(&What::Died(Some(137))) && podman.contains(&What::Health("healthy")));
        let newer = of("newer-shapes/events_api_1.52.ndjson");
        assert_eq!(
            newer[..4],
            [What::Started, What::Health("healthy"), What::Oom, What::Died(Some(137))]
        );
        for bad in [
            "",
            "{}",
            "[]",
            "{\"Type\":\"image\",\"Action\":\"pull\"}",
            "{\"Action\":3}",
        ] {
            assert_eq!(happened(bad), None);
        }
    }
}
