//! Configuration of the daemon: `LAMPLIGHTER_*` variables, from the environment or from a commented `KEY=value` file
//! (`packaging/lamplighter.env`). Precedence: flag, environment, file, default. An unknown key is an error that names
//! its place and the nearest known key. What can change while the daemon runs is a setting, not a key.

use super::error::{Error, Kind, Result};
use super::file;
use super::host::Cidr;
use super::log::Level;
use super::secret::Secret;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A configuration key.
pub struct Key {
    /// Name without the prefix `LAMPLIGHTER_`.
    pub name: &'static str,
    /// Default value as text; empty: none.
    pub default: &'static str,
    /// What it is for, one sentence.
    pub help: &'static str,
}

/// All keys. Help, man page, the test of the example file and the parser read this table.
pub const KEYS: &[Key] = &[
    Key {
        name: "DATA_DIR",
        default: SYSTEM_DATA_DIR,
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
        help: "File with the master key: 32 bytes or 64 hex digits, 0600 (default: the systemd credential lamplighter.key, else <data dir>/master.key, else of the Debian package /etc/lamplighter/master.key).",
    },
    Key {
        name: "LISTEN",
        default: "127.0.0.1:8080",
        help: "Address and port of the web server; several separated by commas.",
    },
    Key {
        name: "TLS",
        default: "0",
        help: "1: the web server speaks https, without TLS_CERT_FILE with a certificate of its own making; plain http is sent there.",
    },
    Key {
        name: "TLS_CERT_FILE",
        default: "",
        help: "PEM certificate chain; with TLS_KEY_FILE the web server speaks https. Taken up again when it changes.",
    },
    Key {
        name: "TLS_KEY_FILE",
        default: "",
        help: "PEM private key of TLS_CERT_FILE.",
    },
    Key {
        name: "REDIRECT_LISTEN",
        default: "",
        help: "Addresses and ports like 0.0.0.0:80 where plain http is sent to https at the first port of LISTEN, separated by commas.",
    },
    Key {
        name: "ALLOWED_HOSTS",
        default: "",
        help: "Names this server answers to, separated by commas; empty: any address, localhost, this machine's own name and that of site.public_url.",
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
        name: "CONTAINERS_SOCKET",
        default: "",
        help: "Socket of the container engine of this machine, such as /var/run/docker.sock; empty: its containers are not looked at. Who may open it is as good as root.",
    },
    Key {
        name: "LOG_LEVEL",
        default: "info",
        help: "debug, info, warning, error or critical.",
    },
    Key {
        name: "LOG_FILE",
        default: "",
        help: "A file that the log is written to as well; five of 10 MB are kept.",
    },
    Key {
        name: "JSON_LOGS",
        default: "0",
        help: "1 writes one JSON object a line.",
    },
    Key {
        name: "TELEGRAM_BOT_TOKEN",
        default: "",
        help: "Token of a Telegram bot: creates a notification endpoint, until that endpoint is changed on its page.",
    },
    Key {
        name: "TELEGRAM_CHAT_ID",
        default: "",
        help: "Chats that the bot writes to, separated by commas.",
    },
];

/// Unprefixed names that other programs of this kind use. They are accepted; a prefixed key wins. HOST and PORT stand
/// for LISTEN, the database URLs for DATA_DIR.
const BARE: [&str; 9] = [
    "HOST",
    "PORT",
    "DATABASE_URL",
    "DATABASE_PATH",
    "LOG_LEVEL",
    "JSON_LOGS",
    "TELEGRAM_BOT_TOKEN",
    "TELEGRAM_CHAT_ID",
    ENV_MASTER_KEY,
];

/// The master key itself, 64 hex digits.
const ENV_MASTER_KEY: &str = "ENV_MASTER_KEY";

/// Names of other programs that a file may hold: each is ignored with this explanation. `*` ends a family.
const NOT_TAKEN: &[(&str, &str)] = &[
    ("ENV", "there is one mode: responses never contain internals"),
    (
        "ENABLE_MOCK_DATA",
        "nothing is made up; servers to try it on come from tests/lab",
    ),
    (
        "ACCESS_TOKEN",
        "there are accounts: make one with `lamplighter create-admin`",
    ),
    (
        "JWT_SECRET",
        "tokens are signed with a key that is derived from the master key",
    ),
    (
        "METRICS_INTERVAL_*",
        "each server has its interval, the settings have the default",
    ),
    ("METRICS_RETENTION_*", "the settings say how long what is kept"),
    ("PROXMOX_*", NO_SUCH_PART),
    ("FRIGATE_*", NO_SUCH_PART),
    ("MQTT_*", NO_SUCH_PART),
    ("AUTOMATION_*", NO_SUCH_PART),
    ("AI_HUB_*", NO_SUCH_PART),
    ("WORKER_*", NO_SUCH_PART),
];
const NO_SUCH_PART: &str = "this version has nothing that it is for";

const PREFIX: &str = "LAMPLIGHTER_";

/// Not a key, but accepted: processes that a Lamplighter job starts on a server inherit it (`ssh/run.sh`), and one of
/// them may be another Lamplighter.
const JOB: &str = "LAMPLIGHTER_JOB";

/// Where the certificate of the web server lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM, the leaf first.
    pub cert: PathBuf,
    /// PEM; may be the same file.
    pub key: PathBuf,
    /// Made and renewed by this Lamplighter.
    pub is_own: bool,
}

/// Key and certificate of our own making, in the data folder.
const OWN_TLS_FILE: &str = "tls.pem";

/// The configuration, parsed and checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder of the databases.
    pub data_dir: PathBuf,
    /// Folder for sockets and short-lived key files.
    pub runtime_dir: PathBuf,
    /// File with the master key.
    pub master_key_file: PathBuf,
    /// The master key itself, from `ENV_MASTER_KEY`: used when no file is configured.
    pub master_key: Option<Secret>,
    /// Where the web server listens.
    pub listen: Vec<SocketAddr>,
    /// Where it answers nothing but the way to https.
    pub redirect_listen: Vec<SocketAddr>,
    /// Its certificate, when it speaks TLS.
    pub tls: Option<TlsFiles>,
    /// Host names it answers to; empty: any.
    pub allowed_hosts: Vec<String>,
    /// Addresses of proxies whose X-Forwarded-For is used.
    pub trusted_proxies: Vec<Cidr>,
    /// Threads that run tasks.
    pub workers: usize,
    /// Socket of this machine's container engine.
    pub containers_socket: Option<PathBuf>,
    /// Minimum level that is logged.
    pub log_level: Level,
    /// Log as one JSON object per line.
    pub json_logs: bool,
    /// Where a daemon writes its log as well as to stderr.
    pub log_file: Option<PathBuf>,
    /// A Telegram bot's token and its chats, as written.
    pub telegram: Option<(Secret, String)>,
    /// Keys of the file that are ignored, each with the reason.
    pub notes: Vec<String>,
}

impl Config {
    /// Reads all sources. `flags` are `("DATA_DIR", value)` pairs from the command line; `file` is the path of the
    /// file. The error (`Config`) lists all mistakes, each with its place.
    pub fn load(
        flags: &[(&'static str, String)],
        file: Option<&Path>,
        env: &BTreeMap<String, String>,
    ) -> Result<Config> {
        let (mut wrong, mut notes) = (Vec::new(), Vec::new());
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
                        None => match not_taken(name) {
                            Some(why) => notes.push(format!("{place}: {name} is not taken: {why}.")),
                            None => wrong.push(unknown(&place, name)),
                        },
                    },
                    Err(why) => wrong.push(format!("{place}: {why}")),
                }
            }
        }
        // The prefixed name wins: no other program uses it.
        let (ours, bare): (Vec<_>, Vec<_>) = env.iter().partition(|(name, _)| name.starts_with(PREFIX));
        for (name, value) in bare.into_iter().chain(ours) {
            match known(name) {
                Some(key) => drop(values.insert(key, (value.clone(), format!("environment variable {name}")))),
                None if name.starts_with(PREFIX) && name != JOB => wrong.push(unknown("environment", name)),
                None => {}
            }
        }
        for (name, value) in flags {
            values.insert(name, (value.clone(), format!("flag for {name}")));
        }
        let mut config = Config::build(&values, env, &mut wrong);
        if config.master_key.is_some() {
            notes.push(format!(
                "The master key comes from {ENV_MASTER_KEY}, which processes of the same user can read. Put it into a file: {PREFIX}MASTER_KEY_FILE"
            ));
        }
        config.notes = notes;
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
        let given = |name: &str| Some(text(name)).filter(|value| !value.is_empty());
        let names_data_dir = values
            .get("DATA_DIR")
            .is_some_and(|(value, _)| !value.trim().is_empty());
        let database = match given("DATABASE_URL") {
            _ if names_data_dir => None,
            Some(url) => sqlite_path(&url)
                .map_err(|why| wrong.push(format!("{}: {why}", place("DATABASE_URL"))))
                .ok(),
            None => given("DATABASE_PATH"),
        };
        let data_dir = database.map_or_else(|| absolute(&text("DATA_DIR")), |path| folder_of(absolute(&path)));
        let runtime_dir = match (text("RUNTIME_DIR").as_str(), env.get("RUNTIME_DIRECTORY")) {
            ("", Some(systemd)) => PathBuf::from(systemd),
            // Commands find the packaged daemon's sockets where its unit has them.
            ("", None) => SYSTEM_RUNTIME_DIRS
                .map(Path::new)
                .into_iter()
                .find(|path| data_dir == Path::new(SYSTEM_DATA_DIR) && path.exists())
                .map_or_else(|| short_enough(data_dir.join("run")), Path::to_path_buf),
            (given, _) => absolute(given),
        };
        let credential = env
            .get("CREDENTIALS_DIRECTORY")
            .map(|d| Path::new(d).join("lamplighter.key"))
            .filter(|p| p.exists());
        let has_file = credential.is_some() || given("MASTER_KEY_FILE").is_some();
        let master_key = given(ENV_MASTER_KEY).filter(|_| !has_file).map(Secret::new);
        let master_key_file = match (text("MASTER_KEY_FILE").as_str(), credential) {
            ("", Some(credential)) => credential,
            ("", None) => Some(data_dir.join("master.key"))
                .filter(|path| {
                    path.exists() || data_dir != Path::new(SYSTEM_DATA_DIR) || !Path::new(SYSTEM_KEY).exists()
                })
                .unwrap_or_else(|| SYSTEM_KEY.into()),
            (given, _) => absolute(given),
        };
        let mut listen = Vec::new();
        let (host, port) = (given("HOST"), given("PORT"));
        let is_parted = !values.contains_key("LISTEN") && (host.is_some() || port.is_some());
        if is_parted {
            let host = host
                .unwrap_or_else(|| "127.0.0.1".into())
                .replace("localhost", "127.0.0.1");
            match host.trim_matches(['[', ']']).parse() {
                Ok(ip) => match port.as_deref().unwrap_or("8080").parse() {
                    Ok(port) => listen.push(SocketAddr::new(ip, port)),
                    Err(_) => wrong.push(format!("{}: PORT is a number from 0 to 65535.", place("PORT"))),
                },
                Err(_) => wrong.push(format!(
                    "{}: “{host}” is not an address like 0.0.0.0 or 127.0.0.1; {PREFIX}LISTEN wins over HOST and PORT.",
                    place("HOST")
                )),
            }
        }
        let mut redirect_listen = Vec::new();
        for (key, into) in [("LISTEN", &mut listen), ("REDIRECT_LISTEN", &mut redirect_listen)] {
            for item in list(key).iter().filter(|_| !(is_parted && key == "LISTEN")) {
                match item.parse() {
                    Ok(addr) => into.push(addr),
                    Err(_) => wrong.push(format!(
                        "{}: “{item}” is not an address and port like 127.0.0.1:8080 or [::1]:8080.",
                        place(key)
                    )),
                }
            }
        }
        if list("LISTEN").is_empty() {
            wrong.push(format!("{}: there is no address in it.", place("LISTEN")));
        }
        let mut switch = |name: &str| match text(name).to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" => true,
            "0" | "false" | "no" | "" => false,
            other => {
                wrong.push(format!("{}: “{other}” is neither 1 nor 0.", place(name)));
                false
            }
        };
        let (wants_tls, json_logs) = (switch("TLS"), switch("JSON_LOGS"));
        let tls = match (text("TLS_CERT_FILE"), text("TLS_KEY_FILE")) {
            (cert, key) if cert.is_empty() && key.is_empty() => wants_tls.then(|| TlsFiles {
                cert: data_dir.join(OWN_TLS_FILE),
                key: data_dir.join(OWN_TLS_FILE),
                is_own: true,
            }),
            (cert, key) if !cert.is_empty() && !key.is_empty() => Some(TlsFiles {
                cert: absolute(&cert),
                key: absolute(&key),
                is_own: false,
            }),
            _ => {
                wrong.push("TLS_CERT_FILE and TLS_KEY_FILE go together: one of them is missing.".into());
                None
            }
        };
        if tls.is_none() && !redirect_listen.is_empty() {
            wrong.push(format!(
                "{}: there is no https to send anybody to; set {PREFIX}TLS=1.",
                place("REDIRECT_LISTEN")
            ));
        }
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
        let containers_socket = given("CONTAINERS_SOCKET").map(|path| {
            if !path.starts_with('/') {
                wrong.push(format!(
                    "{}: the path of a socket begins with a slash.",
                    place("CONTAINERS_SOCKET")
                ));
            }
            PathBuf::from(path)
        });
        let log_level = match text("LOG_LEVEL").to_ascii_lowercase().as_str() {
            "debug" => Level::Debug,
            "info" => Level::Info,
            "warning" | "warn" => Level::Warning,
            "error" => Level::Error,
            "critical" => Level::Critical,
            other => {
                wrong.push(format!(
                    "{}: “{other}” is not one of debug, info, warning, error, critical.",
                    place("LOG_LEVEL")
                ));
                Level::Info
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
            master_key,
            listen,
            redirect_listen,
            tls,
            allowed_hosts,
            trusted_proxies,
            workers,
            containers_socket,
            log_level,
            json_logs,
            log_file: given("LOG_FILE").map(|path| absolute(&path)),
            telegram,
            notes: Vec::new(),
        }
    }
}

/// The path in a SQLAlchemy URL: three slashes for a relative path, four for an absolute one. Errors do not repeat the
/// URL, which may hold a password.
fn sqlite_path(url: &str) -> std::result::Result<String, String> {
    let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
    let declined = match scheme
        .split('+')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase()
        .as_str()
    {
        "sqlite" => match rest.strip_prefix("///") {
            Some(path) if !path.is_empty() && !path.contains([':', '?']) => return Ok(path.into()),
            _ => "Write sqlite:///PATH, with four slashes for an absolute path",
        },
        "postgres" | "postgresql" => {
            "PostgreSQL is declined: everything lies in two SQLite files, so that there is no second service to install, \
             to secure and to keep in step with this one, and one folder is the whole backup. Take DATABASE_URL away, or \
             write sqlite:///PATH"
        }
        _ => "Only SQLite is taken: sqlite:///PATH",
    };
    Err(format!("{declined}."))
}

/// The folder of the two databases: the path itself, or the folder of our file.
fn folder_of(path: PathBuf) -> PathBuf {
    match path.file_name() {
        Some(name) if name == STATE_FILE => path.parent().unwrap_or(&path).into(),
        _ => path,
    }
}

/// The data folder of the Debian package.
pub const SYSTEM_DATA_DIR: &str = "/var/lib/lamplighter";
/// The configuration file of the Debian package.
pub const SYSTEM_ENV_FILE: &str = "/etc/lamplighter/lamplighter.env";
/// The runtime folders of the Debian package: of the whole daemon, and of the web server alone.
const SYSTEM_RUNTIME_DIRS: [&str; 2] = ["/run/lamplighter", "/run/lamplighter-api"];
/// The master key of the Debian package, which the unit passes on as a credential.
const SYSTEM_KEY: &str = "/etc/lamplighter/master.key";

/// The database of everything but samples, in the data folder.
pub const STATE_FILE: &str = "lamplighter.db";

fn config_error(say: String) -> Error {
    Error::new(Kind::Config, "config", say)
}

/// The key's short name if `name` (with prefix, or one of [`BARE`]) is known.
fn known(name: &str) -> Option<&'static str> {
    let ours = |short| KEYS.iter().find(|k| k.name == short).map(|k| k.name);
    let bare = BARE.into_iter().find(|bare| *bare == name);
    bare.or_else(|| ours(name.strip_prefix(PREFIX)?))
}

fn not_taken(name: &str) -> Option<&'static str> {
    let fits = |known: &str| {
        known
            .strip_suffix('*')
            .map_or(known == name, |family| name.starts_with(family))
    };
    NOT_TAKEN.iter().find(|(known, _)| fits(known)).map(|(_, why)| *why)
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
    fn names_of_the_field_are_taken_or_answered() {
        let config =
            load("HOST=0.0.0.0\nPORT=8000\nLOG_LEVEL=DEBUG\nDATABASE_URL=sqlite:///./app.db\nENV=production\n");
        let config = config.unwrap();
        assert_eq!(config.listen, ["0.0.0.0:8000".parse().unwrap()]);
        assert_eq!(
            (config.log_level, config.notes.len()),
            (Level::Debug, 1),
            "{:?}",
            config.notes
        );
        assert_eq!(config.data_dir, absolute("./app.db"));
        let at = |file: &str| load(file).unwrap().data_dir;
        assert_eq!(
            at("DATABASE_URL=sqlite+aiosqlite:////srv/l/lamplighter.db"),
            Path::new("/srv/l")
        );
        assert_eq!(
            at("DATABASE_PATH=/srv/p\nLAMPLIGHTER_DATA_DIR=/srv/d"),
            Path::new("/srv/d")
        );
        assert_eq!(load("PORT=9000").unwrap().listen, ["127.0.0.1:9000".parse().unwrap()]);
        let ours = load("PORT=9000\nLAMPLIGHTER_LISTEN=[::1]:1").unwrap();
        assert_eq!(ours.listen, ["[::1]:1".parse().unwrap()]);
        let told = load("DATABASE_URL=postgresql+psycopg://me:hush-hush@db/x\nHOST=web\n").unwrap_err();
        assert_eq!(told.say.lines().count(), 2, "{told}");
        assert!(
            told.say.contains("PostgreSQL is declined") && !told.say.contains("hush"),
            "{told}"
        );
        let env = [
            ("LOG_LEVEL", "error"),
            ("LAMPLIGHTER_LOG_LEVEL", "debug"),
            ("PROXMOX_X", "not ours"),
        ];
        let env = env.map(|(name, value)| (name.to_string(), value.to_string())).into();
        let config = Config::load(&[], None, &env).unwrap();
        assert_eq!((config.log_level, config.notes.len()), (Level::Debug, 0));
    }

    #[test]
    fn tls_is_by_files_or_by_a_certificate_of_its_own() {
        assert_eq!(load("LAMPLIGHTER_TLS=0").unwrap().tls, None);
        let own =
            load("LAMPLIGHTER_TLS=1\nLAMPLIGHTER_DATA_DIR=/srv/l\nLAMPLIGHTER_REDIRECT_LISTEN=0.0.0.0:80").unwrap();
        assert_eq!(own.redirect_listen, ["0.0.0.0:80".parse().unwrap()]);
        let own = own.tls.unwrap();
        assert_eq!(
            (&*own.cert, &*own.key, own.is_own),
            (Path::new("/srv/l/tls.pem"), &*own.cert, true)
        );
        let files = "LAMPLIGHTER_TLS_CERT_FILE=/c\nLAMPLIGHTER_TLS_KEY_FILE=/k\n";
        for more in ["", "LAMPLIGHTER_TLS=1", "LAMPLIGHTER_TLS=0"] {
            let given = load(&format!("{files}{more}")).unwrap().tls.unwrap();
            assert_eq!((&*given.key, given.is_own), (Path::new("/k"), false));
        }
        let told = load("LAMPLIGHTER_REDIRECT_LISTEN=0.0.0.0:80\nLAMPLIGHTER_TLS=maybe").unwrap_err();
        assert_eq!(told.say.lines().count(), 2, "{told}");
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
