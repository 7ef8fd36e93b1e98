//! Where the daemon lives and listens: `LAMPLIGHTER_*` variables, from the environment or from a commented
//! `KEY=value` file (`packaging/lamplighter.env`). Precedence: flag, environment, file, default. Every key is known;
//! an unknown one is an error with its place and the nearest name. What can change while it runs is a setting, not a key.

use super::error::{Error, Kind, Result};
use super::file;
use super::host::Cidr;
use super::log::Level;
use super::secret::Secret;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// One key: its name without `LAMPLIGHTER_`, its default as text, and what it is for.
pub struct Key {
    /// Without the prefix.
    pub name: &'static str,
    /// What holds when nobody says anything; empty for none.
    pub default: &'static str,
    /// One sentence.
    pub help: &'static str,
}

/// Every key there is. Help, man page, the example file's test and the parser read it from here.
pub const KEYS: &[Key] = &[
    Key {
        name: "DATA_DIR",
        default: "/var/lib/lamplighter",
        help: "Folder of the databases (dev: ./var).",
    },
    Key {
        name: "RUNTIME_DIR",
        default: "",
        help: "Folder for sockets and short-lived key files, best on tmpfs (default: $RUNTIME_DIRECTORY, else <data dir>/run).",
    },
    Key {
        name: "MASTER_KEY_FILE",
        default: "",
        help: "File with the master key: 32 bytes or 64 hex digits, 0600 (default: the systemd credential lamplighter.key, else <data dir>/master.key).",
    },
    Key {
        name: "LISTEN",
        default: "127.0.0.1:8080",
        help: "Address and port of the web server; several separated by commas.",
    },
    Key {
        name: "TLS_CERT_FILE",
        default: "",
        help: "PEM certificate chain; with TLS_KEY_FILE the web server speaks https only.",
    },
    Key {
        name: "TLS_KEY_FILE",
        default: "",
        help: "PEM private key of TLS_CERT_FILE.",
    },
    Key {
        name: "ALLOWED_HOSTS",
        default: "",
        help: "Names this server answers to, separated by commas; empty takes any (then put a proxy in front).",
    },
    Key {
        name: "TRUSTED_PROXIES",
        default: "",
        help: "Addresses or blocks whose X-Forwarded-For is believed, separated by commas.",
    },
    Key {
        name: "WORKERS",
        default: "8",
        help: "Threads that run tasks, 1 to 64.",
    },
    Key {
        name: "LOG_LEVEL",
        default: "info",
        help: "debug, info, warning or error.",
    },
    Key {
        name: "JSON_LOGS",
        default: "0",
        help: "1 writes one JSON object a line.",
    },
    Key {
        name: "TELEGRAM_BOT_TOKEN",
        default: "",
        help: "Token of a Telegram bot: makes an endpoint for messages, until somebody changes that endpoint on its page.",
    },
    Key {
        name: "TELEGRAM_CHAT_ID",
        default: "",
        help: "Chats that the bot writes to, separated by commas.",
    },
];

/// Keys that are also known without the prefix: the names that the field uses.
const BARE: [&str; 3] = ["JSON_LOGS", "TELEGRAM_BOT_TOKEN", "TELEGRAM_CHAT_ID"];

const PREFIX: &str = "LAMPLIGHTER_";

/// No key, but no mistake either: what a job of Lamplighter's starts on a server has it (`ssh/run.sh`), and that may be
/// another Lamplighter.
const JOB: &str = "LAMPLIGHTER_JOB";

/// The configuration, read and checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder of the databases.
    pub data_dir: PathBuf,
    /// Folder for sockets and short-lived key files.
    pub runtime_dir: PathBuf,
    /// File with the master key.
    pub master_key_file: PathBuf,
    /// Where the web server listens.
    pub listen: Vec<SocketAddr>,
    /// Certificate and key files when it speaks TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Host names it answers to; empty: any.
    pub allowed_hosts: Vec<String>,
    /// Whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<Cidr>,
    /// Threads that run tasks.
    pub workers: usize,
    /// Least level of the log.
    pub log_level: Level,
    /// One JSON object a line.
    pub json_logs: bool,
    /// A Telegram bot's token and its chats, as written.
    pub telegram: Option<(Secret, String)>,
}

impl Config {
    /// Reads everything. `flags` are `("DATA_DIR", value)` pairs from the command line; `file` is the file's path.
    /// All errors at once, each with where it stands.
    pub fn load(
        flags: &[(&'static str, String)],
        file: Option<&Path>,
        env: &BTreeMap<String, String>,
    ) -> Result<Config> {
        let mut wrong = Vec::new();
        let mut values: BTreeMap<&str, (String, String)> = BTreeMap::new(); // key → (value, where it stands)
        if let Some(path) = file {
            let bytes = file::read_limited(path, 64 << 10).map_err(|e| {
                config_error(format!(
                    "The configuration file {} cannot be read: {e}.",
                    path.display()
                ))
            })?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            for (n, line) in text.lines().enumerate() {
                let place = format!("{} line {}", path.display(), n + 1);
                match file_line(line) {
                    Ok(None) => {}
                    Ok(Some((name, value))) => match known(name) {
                        Some(key) if values.contains_key(key) => {
                            wrong.push(format!("{place}: {name} stands there twice."))
                        }
                        Some(key) => drop(values.insert(key, (value, place))),
                        None => wrong.push(unknown(&place, name)),
                    },
                    Err(why) => wrong.push(format!("{place}: {why}")),
                }
            }
        }
        for (name, value) in env {
            match known(name) {
                Some(key) => drop(values.insert(key, (value.clone(), format!("environment variable {name}")))),
                None if name.starts_with(PREFIX) && name != JOB => wrong.push(unknown("environment", name)),
                None => {}
            }
        }
        for (name, value) in flags {
            values.insert(name, (value.clone(), format!("flag for {name}")));
        }
        let config = Config::build(&values, env, &mut wrong);
        match wrong.is_empty() {
            true => Ok(config),
            false => Err(config_error(wrong.join("\n"))),
        }
    }

    fn build(
        values: &BTreeMap<&str, (String, String)>,
        env: &BTreeMap<String, String>,
        wrong: &mut Vec<String>,
    ) -> Config {
        let text = |name: &str| -> String {
            let default = KEYS.iter().find(|k| k.name == name).map_or("", |k| k.default);
            let given = values.get(name).map(|(value, _)| value.trim());
            given.filter(|value| !value.is_empty()).unwrap_or(default).to_string()
        };
        let place = |name: &str| {
            values
                .get(name)
                .map_or(String::from("default"), |(_, place)| place.clone())
        };
        let list = |name: &str| -> Vec<String> {
            text(name)
                .split(',')
                .map(str::trim)
                .filter(|t| !t.is_empty())
                .map(String::from)
                .collect()
        };
        let data_dir = absolute(&text("DATA_DIR"));
        let runtime_dir = match (text("RUNTIME_DIR").as_str(), env.get("RUNTIME_DIRECTORY")) {
            ("", Some(systemd)) => PathBuf::from(systemd),
            ("", None) => short_enough(data_dir.join("run")),
            (given, _) => absolute(given),
        };
        let credential = env
            .get("CREDENTIALS_DIRECTORY")
            .map(|d| Path::new(d).join("lamplighter.key"))
            .filter(|p| p.exists());
        let master_key_file = match (text("MASTER_KEY_FILE").as_str(), credential) {
            ("", Some(credential)) => credential,
            ("", None) => data_dir.join("master.key"),
            (given, _) => absolute(given),
        };
        let mut listen = Vec::new();
        for item in list("LISTEN") {
            match item.parse() {
                Ok(addr) => listen.push(addr),
                Err(_) => wrong.push(format!(
                    "{}: “{item}” is not an address and port like 127.0.0.1:8080 or [::1]:8080.",
                    place("LISTEN")
                )),
            }
        }
        if list("LISTEN").is_empty() {
            wrong.push(format!("{}: there is no address in it.", place("LISTEN")));
        }
        let tls = match (text("TLS_CERT_FILE"), text("TLS_KEY_FILE")) {
            (cert, key) if cert.is_empty() && key.is_empty() => None,
            (cert, key) if !cert.is_empty() && !key.is_empty() => Some((absolute(&cert), absolute(&key))),
            _ => {
                wrong.push("TLS_CERT_FILE and TLS_KEY_FILE go together: one of them is missing.".into());
                None
            }
        };
        let mut trusted_proxies = Vec::new();
        for item in list("TRUSTED_PROXIES") {
            match Cidr::parse(&item) {
                Ok(block) => trusted_proxies.push(block),
                Err(why) => wrong.push(format!("{}: {why}", place("TRUSTED_PROXIES"))),
            }
        }
        let workers = text("WORKERS")
            .parse()
            .ok()
            .filter(|n| (1..=64).contains(n))
            .unwrap_or_else(|| {
                wrong.push(format!("{}: WORKERS is a number from 1 to 64.", place("WORKERS")));
                1
            });
        let log_level = match text("LOG_LEVEL").to_ascii_lowercase().as_str() {
            "debug" => Level::Debug,
            "info" => Level::Info,
            "warning" | "warn" => Level::Warning,
            "error" => Level::Error,
            other => {
                wrong.push(format!(
                    "{}: “{other}” is not one of debug, info, warning, error.",
                    place("LOG_LEVEL")
                ));
                Level::Info
            }
        };
        let json_logs = match text("JSON_LOGS").to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" => true,
            "0" | "false" | "no" | "" => false,
            other => {
                wrong.push(format!("{}: “{other}” is neither 1 nor 0.", place("JSON_LOGS")));
                false
            }
        };
        let telegram = match (text("TELEGRAM_BOT_TOKEN"), text("TELEGRAM_CHAT_ID")) {
            (token, chats) if !token.is_empty() && !chats.is_empty() => Some((Secret::new(token), chats)),
            (token, chats) => {
                if token.is_empty() != chats.is_empty() {
                    wrong.push("TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID go together: one of them is missing.".into());
                }
                None
            }
        };
        let allowed_hosts = list("ALLOWED_HOSTS").iter().map(|h| h.to_ascii_lowercase()).collect();
        Config {
            data_dir,
            runtime_dir,
            master_key_file,
            listen,
            tls,
            allowed_hosts,
            trusted_proxies,
            workers,
            log_level,
            json_logs,
            telegram,
        }
    }
}

fn config_error(say: String) -> Error {
    Error::new(Kind::Config, "config", say)
}

/// The key's short name when `name` (with prefix, or one of [`BARE`]) is one of ours.
fn known(name: &str) -> Option<&'static str> {
    let short = if BARE.contains(&name) {
        name
    } else {
        name.strip_prefix(PREFIX)?
    };
    KEYS.iter().find(|k| k.name == short).map(|k| k.name)
}

/// `# comment`, an empty line, or `KEY=value` with optional quotes around the value.
fn file_line(line: &str) -> std::result::Result<Option<(&str, String)>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, value) = line.split_once('=').ok_or("this is not KEY=value.")?;
    let value = value.trim();
    let inner = ['"', '\'']
        .iter()
        .find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q));
    Ok(Some((name.trim(), inner.unwrap_or(value).to_string())))
}

fn unknown(place: &str, name: &str) -> String {
    format!("{place}: unknown key {name}. Did you mean {PREFIX}{}?", nearest(name))
}

fn nearest(name: &str) -> &'static str {
    let short = name.strip_prefix(PREFIX).unwrap_or(name);
    KEYS.iter()
        .map(|k| k.name)
        .min_by_key(|known| edit_distance(short, known))
        .unwrap_or_default()
}

/// Levenshtein distance; names are short.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.bytes().enumerate() {
            let change = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn absolute(path: &str) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path))
}

/// A Unix socket's path has at most 107 bytes (`unix(7)`), and ssh adds 58 for its control sockets. A data folder that
/// lies too deep gets its runtime folder in the temporary folder, named by the user and the place.
fn short_enough(dir: PathBuf) -> PathBuf {
    const PATH_MAX: usize = 107 - 58;
    if dir.as_os_str().len() <= PATH_MAX {
        return dir;
    }
    let place = ring::digest::digest(&ring::digest::SHA256, dir.as_os_str().as_encoded_bytes());
    let tag = super::text::hex(&place.as_ref()[..8]);
    std::env::temp_dir().join(format!("lamplighter-{}-{tag}", super::sys::uid()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str) -> Result<Config> {
        let path = file::TempFile::new(&std::env::temp_dir(), file.as_bytes()).unwrap();
        Config::load(&[], Some(path.path()), &BTreeMap::new())
    }

    #[test]
    fn the_shipped_example_holds_every_key_and_its_default() {
        let example = include_str!("../../packaging/lamplighter.env");
        for key in KEYS {
            let line = format!("#{PREFIX}{}={}", key.name, key.default);
            assert!(
                example.lines().any(|l| l == line),
                "packaging/lamplighter.env lacks the line {line}"
            );
        }
        let all_on: String = example
            .lines()
            .map(|l| l.strip_prefix("#LAMP").map_or(l.into(), |l| format!("LAMP{l}")) + "\n")
            .collect();
        assert_eq!(load(&all_on).unwrap().workers, 8);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest_one() {
        let told = load("# hello\nLAMPLIGHTER_LISTN=127.0.0.1:1\n").unwrap_err();
        assert!(
            told.say.contains("line 2") && told.say.contains("LAMPLIGHTER_LISTEN"),
            "{told}"
        );
        let env = [(JOB, "0123"), ("LISTN", "x"), ("LAMPLIGHTER_LISTN", "127.0.0.1:1")];
        let env = env.map(|(name, value)| (name.to_string(), value.to_string())).into();
        let told = Config::load(&[], None, &env).unwrap_err();
        assert_eq!(
            told.say,
            "environment: unknown key LAMPLIGHTER_LISTN. Did you mean LAMPLIGHTER_LISTEN?"
        );
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let told = load("LAMPLIGHTER_LISTEN=8080\nLAMPLIGHTER_WORKERS=0\nnonsense\nLAMPLIGHTER_TLS_KEY_FILE=/x\n")
            .unwrap_err();
        assert_eq!(told.say.lines().count(), 4, "{told}");
    }

    #[test]
    fn an_empty_value_is_none_and_a_list_of_nothing_a_mistake() {
        let config = load("LAMPLIGHTER_LISTEN=\nLAMPLIGHTER_WORKERS=\n").unwrap();
        assert_eq!((config.listen[0].port(), config.workers), (8080, 8));
        assert!(load("LAMPLIGHTER_LISTEN=,\n").unwrap_err().say.contains("line 1"));
    }

    #[test]
    fn a_flag_beats_the_environment_and_the_environment_the_file() {
        let path = file::TempFile::new(
            &std::env::temp_dir(),
            b"LAMPLIGHTER_LISTEN=\"127.0.0.1:1\"\nLAMPLIGHTER_WORKERS=3",
        )
        .unwrap();
        let env = BTreeMap::from([("LAMPLIGHTER_LISTEN".to_string(), "127.0.0.1:2".to_string())]);
        let config = Config::load(&[("LISTEN", "127.0.0.1:3".into())], Some(path.path()), &env).unwrap();
        assert_eq!((config.listen[0].port(), config.workers), (3, 3));
        let config = Config::load(&[], Some(path.path()), &env).unwrap();
        assert_eq!(config.listen[0].port(), 2);
    }
}
