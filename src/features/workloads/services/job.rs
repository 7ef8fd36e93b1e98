//! The job that looks at all services of a server at once: its script, and what its lines mean.

use super::kinds::{self, Check, Postgres, QUERIES, Tmux, Unit};
use super::queries::Service;
use super::verdict::{End, Health, Look, Process};
use crate::base::error::{Error, Result};
use crate::base::secret::Secret;
use crate::base::shell::shq;
use crate::base::text;
use std::collections::HashMap;
use std::fmt::Write;

/// Functions of the job.
const LOOK: &str = include_str!("../../../provision/scripts/services_look.sh");

/// Why a unit stopped. Variables: `UNIT`, `HOW`.
pub const WHY: &str = include_str!("../../../provision/scripts/services_why.sh");

/// The script that looks at these; nothing: none of them is looked at by a job. `folders`: where programs may be;
/// `password` opens that of a service.
pub fn script(
    services: &[Service],
    folders: &str,
    password: &dyn Fn(&Service) -> Result<Option<Secret>>,
) -> Result<Option<String>> {
    let mut calls = String::new();
    for user in [false, true] {
        let units: Vec<(i64, String)> = services
            .iter()
            .filter_map(|s| Some((s.id.get(), unit_of(s).filter(|unit| unit.user == user)?.name)))
            .collect();
        if units.is_empty() {
            continue;
        }
        let ids: Vec<String> = units.iter().map(|(id, _)| id.to_string()).collect();
        let names: Vec<String> = units.iter().map(|(_, name)| shq(name)).collect::<Result<_>>()?;
        let how = if user { "user" } else { "system" };
        writeln!(calls, "units {how} {} {}", ids.join(","), names.join(" ")).map_err(Error::internal)?;
    }
    for s in services {
        let (id, config) = (s.id, &s.fields.config);
        let call = match s.fields.kind.check {
            Check::Tmux(of) => {
                let Tmux { session, user, .. } = of(config);
                format!("session {id} {} {}", shq(&user)?, shq(&session)?)
            }
            Check::Exec(argv) => {
                let words: Vec<String> = argv(config).iter().map(|word| shq(word)).collect::<Result<_>>()?;
                format!("program {id} {} {}", shq(folders)?, words.join(" "))
            }
            Check::Postgres(of) => {
                let Postgres { os_user, conninfo } = of(config);
                if !calls.contains("QUERIES=") {
                    let queries = text::base64(QUERIES.as_bytes());
                    writeln!(calls, "QUERIES=$(echo {queries} | base64 -d)").map_err(Error::internal)?;
                }
                let password = password(s)?;
                // psql reads it from its stdin, as one line: it stands in no argument and no environment there.
                match shq(password.as_ref().map_or("", |p| p.reveal_text_for("psql's question"))) {
                    Ok(password) => format!(
                        "PASSWORD={password}\npostgres {id} {} {}",
                        shq(&os_user)?,
                        shq(&conninfo)?
                    ),
                    Err(_) => format!("echo postgres {id} {} 0", kinds::BAD_PASSWORD),
                }
            }
            Check::Port(_) if is_plain_port(s) => {
                let port = kinds::number(config, "port").unwrap_or_default();
                format!("port {id} {} {port}", shq(kinds::text(config, "host"))?)
            }
            _ => continue,
        };
        writeln!(calls, "{call}").map_err(Error::internal)?;
    }
    Ok((!calls.is_empty()).then(|| format!("{LOOK}\nmachine\n{calls}")))
}

fn unit_of(s: &Service) -> Option<Unit> {
    match s.fields.kind.check {
        Check::Unit(of) => Some(of(&s.fields.config)),
        _ => None,
    }
}

/// Is it a port without TLS on a server?
fn is_plain_port(s: &Service) -> bool {
    s.fields.server.is_some() && !kinds::flag(&s.fields.config, "tls")
}

/// Is it looked at by the job of its server?
pub fn is_in_job(s: &Service) -> bool {
    match s.fields.kind.check {
        Check::Unit(_) | Check::Tmux(_) | Check::Exec(_) | Check::Postgres(_) => true,
        Check::Port(_) => is_plain_port(s),
        Check::Ask(_) | Check::Called => false,
    }
}

/// What the lines of a job say, by the number of a service.
#[derive(Debug, Default)]
pub struct Answers {
    /// Uptime in s, memory in bytes, ticks a second, bytes a page.
    machine: (f64, u64, u64, u64),
    used: HashMap<i64, (u64, u64)>,
    units: HashMap<i64, HashMap<String, String>>,
    others: HashMap<i64, (String, Vec<String>)>,
}

impl Answers {
    /// Takes a line of stdout.
    pub fn take(&mut self, line: &str) {
        let mut words = line.split(' ');
        let word = words.next().unwrap_or_default();
        let rest: Vec<&str> = words.collect();
        let number = |n: usize| {
            rest.get(n)
                .and_then(|text| text.parse::<u64>().ok())
                .unwrap_or_default()
        };
        let of = |n: usize| rest.get(n).and_then(|text| text.parse::<i64>().ok());
        match word {
            "machine" => {
                let up = rest.first().and_then(|text| text.parse().ok()).unwrap_or_default();
                self.machine = (up, number(1) << 10, number(2).max(1), number(3).max(1));
            }
            "used" => drop(of(0).map(|id| self.used.insert(id, (number(1), number(2))))),
            "units" | "nounits" => {
                let ids = rest
                    .first()
                    .unwrap_or(&"")
                    .split(',')
                    .filter_map(|id| id.parse::<i64>().ok());
                let said = decoded(rest.get(1));
                let mut blocks = said.split("\n\n").map(block);
                for id in ids {
                    match word {
                        "units" => drop(self.units.insert(id, blocks.next().unwrap_or_default())),
                        _ => drop(self.others.insert(id, (word.into(), vec![said.clone()]))),
                    }
                }
            }
            "session" | "nosession" | "port" | "program" | "noprogram" | "postgres" => {
                if let Some(id) = of(0) {
                    let more = rest[1..].iter().map(|text| text.to_string()).collect();
                    self.others.insert(id, (word.into(), more));
                }
            }
            _ => {}
        }
    }

    /// What was found of a service.
    pub fn look(&self, s: &Service) -> Look {
        let id = s.id.get();
        if s.fields.kind.name == "command" && s.applied == 0 {
            // Nobody has started it yet, so nothing starts it by itself either.
            let say = "Its unit is not on its server yet: a start writes it.";
            return Look::of(Health::Unknown, "unit_not_written", say);
        }
        if let Some(block) = self.units.get(&id) {
            return self.unit(id, block);
        }
        let Some((word, rest)) = self.others.get(&id) else {
            return Look::of(
                Health::Unknown,
                "no_answer",
                "The job on its server did not say anything about it.",
            );
        };
        let text = |n: usize| rest.get(n).map_or("", String::as_str);
        let number = |n: usize| text(n).parse::<i64>().unwrap_or(-1);
        match word.as_str() {
            "nounits" => {
                let say = format!("systemctl failed there: {}", text::one_line(text(0), 300));
                Look::of(Health::Unknown, "no_systemctl", say)
            }
            "session" => self.session(id, rest),
            "nosession" => match text(0) {
                "none" => stopped(Process::default(), "session_gone", "There is no such session of tmux."),
                "missing" => Look::of(Health::Unhealthy, "no_tmux", "tmux is not installed on its server."),
                _ => {
                    let said = text::one_line(&decoded(rest.get(1).map(String::as_str).as_ref()), 300);
                    Look::of(
                        Health::Unknown,
                        "tmux_refused",
                        format!("tmux cannot be asked there: {said}"),
                    )
                }
            },
            "port" => {
                let said = decoded(rest.get(2).map(String::as_str).as_ref());
                let mut look = match number(0) {
                    0 => Look::healthy(),
                    124 => Look::of(
                        Health::Unhealthy,
                        "connect_timeout",
                        "It accepts no connection within 5 s.",
                    ),
                    127 => Look::of(
                        Health::Unknown,
                        "no_bash",
                        "Its server has no bash, which is needed for that.",
                    ),
                    _ => Look::of(Health::Unhealthy, "refused", refusal(&said)),
                };
                look.latency_ms = Some(number(1) as f64).filter(|_| look.health == Health::Healthy);
                look
            }
            "postgres" => kinds::of_postgres(number(0), number(1), &decoded(rest.get(2).map(String::as_str).as_ref())),
            "program" => {
                let output = decoded(rest.get(2).map(String::as_str).as_ref());
                let mut look = kinds::of_exec(number(0), &output);
                look.latency_ms = Some(number(1) as f64);
                look
            }
            _ => {
                let say = "On its server that program is not there, or not in a folder that programs may be in.";
                Look::of(Health::Unknown, "program_refused", say)
            }
        }
    }

    fn unit(&self, id: i64, block: &HashMap<String, String>) -> Look {
        let word = |key: &str| block.get(key).map_or("", String::as_str);
        let number = |key: &str| word(key).parse::<u64>().ok().filter(|n| *n < u64::MAX / 2);
        let name = word("Id");
        match word("LoadState") {
            "loaded" => {}
            "not-found" => {
                return Look::of(
                    Health::Unhealthy,
                    "unit_unknown",
                    format!("systemd there knows no unit {name}."),
                );
            }
            "masked" => return Look::of(Health::Unhealthy, "unit_masked", format!("{name} is masked there.")),
            "" => return Look::of(Health::Unknown, "no_answer", "systemd did not say anything about it."),
            other => return Look::of(Health::Unhealthy, "unit_bad", format!("systemd calls it {other}.")),
        }
        let status = word("ExecMainStatus").parse::<i64>().ok();
        let (exit_code, signal) = match word("ExecMainCode") {
            "1" => (status, None),
            "2" | "3" => (None, status),
            _ => (None, None),
        };
        let end = End {
            result: word("Result").into(),
            exit_code,
            signal,
            oom: word("Result") == "oom-kill",
            ..End::default()
        };
        let (up, total, tick, page) = self.machine;
        let used = self.used.get(&id);
        let since = |key: &str| {
            number(key)
                .filter(|us| *us > 0)
                .map(|us| (up - us as f64 / 1e6).max(0.0))
        };
        let is_up = ["active", "reloading"].contains(&word("ActiveState"));
        let mut process = Process {
            state: "running",
            pid: number("MainPID").filter(|pid| *pid > 0).map(|pid| pid as i64),
            uptime_s: since(if is_up {
                "ActiveEnterTimestampMonotonic"
            } else {
                "InactiveEnterTimestampMonotonic"
            }),
            cpu_ns: number("CPUUsageNSec").or(used.map(|(ticks, _)| ticks * 1_000_000_000 / tick)),
            memory: number("MemoryCurrent").or(used.map(|(_, pages)| pages * page)),
            memory_total: Some(total),
            restarts: number("NRestarts").unwrap_or_default() as i64,
            life: word("InvocationID").into(),
            is_kept: !["", "no"].contains(&word("Restart")),
            end: None,
        };
        let ends_well = word("Type") == "oneshot" && end.result == "success";
        match (word("ActiveState"), word("SubState")) {
            ("active" | "reloading", _) => with(process, Look::healthy()),
            ("activating", "auto-restart") => {
                (process.state, process.end) = ("backoff", Some(end.clone()));
                let say = format!("{} systemd is about to start it again.", end.say());
                with(process, Look::of(Health::Degraded, "unit_backoff", say))
            }
            ("activating", _) => {
                process.state = "starting";
                with(process, Look::of(Health::Degraded, "unit_starting", "It is starting."))
            }
            ("deactivating", _) => with(process, Look::of(Health::Degraded, "unit_stopping", "It is stopping.")),
            ("inactive", _) if ends_well => {
                process.state = "stopped";
                with(process, Look::healthy())
            }
            ("failed", _) => {
                (process.state, process.end) = ("failed", Some(end.clone()));
                with(process, Look::of(Health::Unhealthy, "unit_failed", end.say()))
            }
            _ => {
                let say = end.say();
                process.end = Some(end);
                stopped(process, "unit_stopped", &say)
            }
        }
    }

    fn session(&self, id: i64, rest: &[String]) -> Look {
        let number = |n: usize| rest.get(n).and_then(|text| text.parse::<i64>().ok());
        let (now, pid, dead, status, created) = (number(0), number(1), number(2), number(3), number(4));
        let (_, total, tick, page) = self.machine;
        let used = self.used.get(&id);
        let process = Process {
            state: "running",
            pid,
            uptime_s: now.zip(created).map(|(now, created)| (now - created).max(0) as f64),
            cpu_ns: used.map(|(ticks, _)| ticks * 1_000_000_000 / tick),
            memory: used.map(|(_, pages)| pages * page),
            memory_total: Some(total),
            life: created.map(|at| at.to_string()).unwrap_or_default(),
            ..Process::default()
        };
        if dead != Some(1) {
            return with(process, Look::healthy());
        }
        let end = End {
            exit_code: status,
            ..End::default()
        };
        let say = end.say();
        let mut look = stopped(process, "session_dead", &say);
        if let Some(process) = &mut look.process {
            (process.state, process.end) = ("failed", Some(end));
        }
        look
    }
}

fn with(process: Process, look: Look) -> Look {
    Look {
        process: Some(process),
        ..look
    }
}

fn stopped(process: Process, code: &str, say: &str) -> Look {
    let process = Process {
        state: "stopped",
        ..process
    };
    with(process, Look::of(Health::Unhealthy, code, say))
}

/// bash's complaint as a sentence.
fn refusal(said: &str) -> String {
    let last = said
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty())
        .unwrap_or_default();
    match last.rsplit_once(": ") {
        Some((_, "Connection refused")) => "Nothing listens at that port.".into(),
        Some((_, why)) => format!("It cannot be reached from its server: {}", text::one_line(why, 200)),
        None => "It cannot be reached from its server.".into(),
    }
}

fn decoded(text: Option<&&str>) -> String {
    let bytes = text.and_then(|text| text::unbase64(text)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn block(text: &str) -> HashMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// Adds to an end what [`WHY`] says.
pub fn explain(end: &mut End, line: &str) {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "lines" => {
            end.lines = decoded(Some(&rest))
                .lines()
                .map(|line| text::cut(line, 500).to_string())
                .collect()
        }
        "asked" => end.asked = true,
        "by" => end.by = text::one_line(decoded(Some(&rest)).trim(), 300),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;
    use crate::features::workloads::services::model::Fields;
    use crate::features::workloads::services::queries::State;

    fn service(id: i64, kind: &str, config: &str) -> Service {
        let mut fields = Fields::new(kinds::of(kind).unwrap());
        fields.server = Some(Id::new(1));
        fields.config = serde_json::from_str(config).unwrap();
        Service {
            id: Id::new(id),
            fields,
            server_name: "h1".into(),
            has_password: false,
            private: false,
            applied: 0,
            now: State::new(0),
            revision: 1,
            created_at: 0,
            updated_at: 0,
        }
    }

    const UNITS: &str = "Type=simple\nRestart=on-failure\nResult=success\nNRestarts=2\nExecMainCode=0\nExecMainStatus=0\nMainPID=712\n\
        Id=nginx.service\nLoadState=loaded\nActiveState=active\nSubState=running\nInvocationID=aa\nMemoryCurrent=[not set]\n\
        CPUUsageNSec=18446744073709551615\nActiveEnterTimestampMonotonic=100000000\n\nType=simple\nRestart=no\nResult=signal\n\
        ExecMainCode=2\nExecMainStatus=9\nMainPID=0\nId=bot.service\nLoadState=loaded\nActiveState=failed\nSubState=failed\n\n\
        Id=none.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead";

    #[test]
    fn a_job_asks_for_all_at_once_and_its_answers_are_told_apart() {
        let all = [
            service(3, "unit", r#"{"unit":"nginx.service"}"#),
            service(5, "unit", r#"{"unit":"bot.service"}"#),
            service(8, "unit", r#"{"unit":"none.service"}"#),
            service(9, "tcp", r#"{"host":"127.0.0.1","port":6379}"#),
            service(10, "exec", r#"{"argv":["/opt/c/x","a'b"]}"#),
        ];
        let script = script(&all, "/opt/c", &|_| Ok(None)).unwrap().unwrap();
        assert!(
            script.contains("units system 3,5,8 'nginx.service' 'bot.service' 'none.service'\n"),
            "{script}"
        );
        let last = shq("a'b").unwrap();
        assert!(
            script.ends_with(&format!(
                "port 9 '127.0.0.1' 6379\nprogram 10 '/opt/c' '/opt/c/x' {last}\n"
            )),
            "{script}"
        );

        let mut answers = Answers::default();
        answers.take("machine 400.5 1024 100 4096");
        answers.take(&format!("units 3,5,8 {}", text::base64(UNITS.as_bytes())));
        answers.take("used 3 250 10");
        answers.take(&format!(
            "port 9 1 3 {}",
            text::base64(
                b"bash: connect: Connection refused\nbash: line 1: /dev/tcp/127.0.0.1/6379: Connection refused\n"
            )
        ));
        answers.take(&format!("program 10 2 15 {}", text::base64(b"CRITICAL - full\n")));
        let look = answers.look(&all[0]);
        let process = look.process.unwrap();
        assert_eq!(
            (look.health, process.state, process.pid),
            (Health::Healthy, "running", Some(712))
        );
        assert_eq!(
            (process.cpu_ns, process.memory),
            (Some(2_500_000_000), Some(40_960)),
            "from its processes"
        );
        assert_eq!(
            (process.uptime_s, process.restarts, process.is_kept),
            (Some(300.5), 2, true)
        );
        let look = answers.look(&all[1]);
        assert_eq!(
            (look.health, &*look.say),
            (Health::Unhealthy, "It was ended by signal 9 (KILL).")
        );
        assert_eq!(look.process.unwrap().state, "failed");
        assert_eq!(answers.look(&all[2]).code, "unit_unknown");
        assert_eq!(answers.look(&all[3]).say, "Nothing listens at that port.");
        assert_eq!(
            (answers.look(&all[4]).health, answers.look(&all[4]).say),
            (Health::Unhealthy, "CRITICAL - full".into())
        );
    }

    #[test]
    fn databases_are_asked_with_their_passwords_and_a_bad_one_harms_no_other() {
        let all = [
            service(3, "postgres", r#"{"database":"shop"}"#),
            service(
                4,
                "postgres",
                r#"{"database":"shop","host":"10.0.0.2","username":"mon"}"#,
            ),
            service(5, "postgres", r#"{"database":"bank"}"#),
        ];
        let password = |s: &Service| {
            Ok(match s.id.get() {
                4 => Some(Secret::new("it's".to_string())),
                5 => Some(Secret::new("two\nlines".to_string())),
                _ => None,
            })
        };
        let script = script(&all, "", &password).unwrap().unwrap();
        let calls = script.split_once("\nmachine\n").unwrap().1;
        assert_eq!(calls.matches("QUERIES=$(echo ").count(), 1);
        let (_, calls) = calls.split_once('\n').unwrap();
        let with = |text: &str| shq(text).unwrap();
        let wanted = format!(
            "PASSWORD=''\npostgres 3 '' {}\nPASSWORD={}\npostgres 4 '' {}\necho postgres 5 65 0\n",
            with("dbname='shop' connect_timeout='5'"),
            with("it's"),
            with("dbname='shop' host='10.0.0.2' user='mon' connect_timeout='5'"),
        );
        assert_eq!(calls, wanted);
        let mut answers = Answers::default();
        answers.take("postgres 5 65 0");
        answers.take(&format!(
            "postgres 4 2 0 {}",
            text::base64(b"FATAL:  password authentication failed for user")
        ));
        assert_eq!(answers.look(&all[2]).code, "postgres_password");
        assert_eq!(
            (answers.look(&all[1]).code, answers.look(&all[0]).health),
            ("postgres_password".into(), Health::Unknown)
        );
    }

    #[test]
    fn a_session_is_there_dead_or_gone() {
        let tmux = service(4, "tmux", r#"{"session":"bot"}"#);
        let of = |line: &str| {
            let mut answers = Answers::default();
            answers.take("machine 400.5 1024 100 4096");
            answers.take(line);
            answers.look(&tmux)
        };
        let look = of("session 4 1000 77 0  940");
        let process = look.process.unwrap();
        assert_eq!(
            (look.health, process.pid, process.uptime_s),
            (Health::Healthy, Some(77), Some(60.0))
        );
        let look = of("session 4 1000 77 1 3 940");
        assert_eq!(
            (look.say.as_str(), look.process.unwrap().state),
            ("It ended with code 3.", "failed")
        );
        assert_eq!(of("nosession 4 none").code, "session_gone");
        assert_eq!(of("nosession 4 missing").code, "no_tmux");
        assert_eq!(of("").health, Health::Unknown);
    }
}
