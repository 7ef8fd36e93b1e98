//! The command line: parsing, help and exit codes, from the declared rows; and what every command needs: configuration,
//! databases, output.

mod offline;
pub mod client;
mod package;

use crate::app::App;
use crate::base::config::{Config, SYSTEM_DATA_DIR, SYSTEM_ENV_FILE};
use crate::base::error::{Error, Kind, Result};
use crate::base::registry::Registry;
use crate::base::{log, sys};
use lexopt::{Arg, Parser, ValueExt};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A flag: its name without dashes, whether it takes a value, what it is for.
#[derive(Debug)]
pub struct Flag {
    /// Without dashes.
    pub name: &'static str,
    /// Name of its value; empty when it takes none.
    pub value: &'static str,
    /// Description, one sentence.
    pub help: &'static str,
}

/// A command: one row of `daemon`'s or a feature's `COMMANDS`.
pub struct Command {
    /// Name of the command.
    pub name: &'static str,
    /// Description, starting with a verb.
    pub help: &'static str,
    /// Flags besides the common ones.
    pub flags: &'static [Flag],
    /// Runs it; returns the exit code, or an error that determines it.
    pub run: fn(&Invocation) -> Result<u8>,
}

/// Flags of every command.
pub const COMMON: &[Flag] = &[
    Flag {
        name: "data-dir",
        value: "DIR",
        help: "Folder of the databases (LAMPLIGHTER_DATA_DIR).",
    },
    Flag {
        name: "env-file",
        value: "FILE",
        help: "Read configuration from this KEY=value file.",
    },
    Flag {
        name: "json",
        value: "",
        help: "Print JSON.",
    },
    Flag {
        name: "help",
        value: "",
        help: "Print this help.",
    },
    Flag {
        name: "version",
        value: "",
        help: "Print the version.",
    },
];

/// Whose account it is; the one value that may stand without its flag.
pub const LOGIN: Flag = Flag {
    name: "login",
    value: "LOGIN",
    help: "The account's login; the flag's name may be left out.",
};

/// For commands about one thing that has a name.
pub const NAME: Flag = Flag {
    name: "name",
    value: "NAME",
    help: "Its name; the flag's name may be left out.",
};

/// The flag of a command whose value may stand alone, if it is not given yet.
fn alone(command: Option<&'static Command>, flags: &[(&'static str, String)]) -> Option<&'static str> {
    let may = |flag: &&Flag| [LOGIN.name, NAME.name].contains(&flag.name);
    let flag = command?.flags.iter().find(may)?;
    let is_new = !flags.iter().any(|(name, _)| *name == flag.name);
    is_new.then_some(flag.name)
}

/// The one flag of a command that begins with this letter.
fn short(command: Option<&'static Command>, letter: char) -> Option<&'static str> {
    let mut all = command?.flags.iter().filter(|flag| flag.name.starts_with(letter));
    let flag = all.next()?;
    all.next().is_none().then_some(flag.name)
}

/// For commands that listen, or ask who does.
pub const LISTEN: Flag = Flag {
    name: "listen",
    value: "ADDR:PORT",
    help: "Where the web server listens (LAMPLIGHTER_LISTEN).",
};
/// A parsed command line.
pub struct Invocation {
    /// Declared rows of all features.
    pub registry: Arc<Registry>,
    /// The command.
    pub command: &'static Command,
    flags: Vec<(&'static str, String)>,
}

impl Invocation {
    /// Value of a flag; for a flag without value the empty text if it was given.
    pub fn flag(&self, name: &str) -> Option<&str> {
        self.flags.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
    }

    /// All values of a flag that may be given more than once.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let of_that_name = self.flags.iter().filter(|(n, _)| *n == name);
        of_that_name.map(|(_, value)| value.as_str()).collect()
    }

    /// Was `--json` given?
    pub fn json(&self) -> bool {
        self.flag("json").is_some()
    }

    /// The configuration from flags, environment and file, in this order of precedence.
    pub fn config(&self) -> Result<Config> {
        let is_dev = self.command.name == "dev";
        let env: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let mut flags = Vec::new();
        for (flag, key) in [("data-dir", "DATA_DIR"), ("listen", "LISTEN")] {
            if let Some(value) = self.flag(flag) {
                flags.push((key, value.to_string()));
            }
        }
        let given = self.flag("env-file").map(PathBuf::from);
        let names_data_dir =
            flags.iter().any(|(key, _)| *key == "DATA_DIR") || env.contains_key("LAMPLIGHTER_DATA_DIR");
        // `dev` reads a `.env` in its working folder; what means the installed one reads that one's.
        let usual = match is_dev {
            true => Some(PathBuf::from(".env")),
            false => (!names_data_dir).then(|| PathBuf::from(SYSTEM_ENV_FILE)),
        };
        let file = given.or_else(|| usual.filter(|path| path.exists()));
        let config = Config::load(&flags, file.as_deref(), &env)?;
        match is_dev && !names_data_dir && config.data_dir == Path::new(SYSTEM_DATA_DIR) {
            // Not the system's folder, unless configured.
            true => {
                flags.push(("DATA_DIR", "var".into()));
                Config::load(&flags, file.as_deref(), &env)
            }
            false => Ok(config),
        }
    }

    /// The configuration, after the process is hardened and its log is set up. Started by root it goes on as the owner
    /// of the data folder: what root left there, the daemon could not open.
    pub fn begin(&self) -> Result<Config> {
        let config = self.begin_as_is()?;
        let owner = std::fs::metadata(&config.data_dir).ok().filter(|_| sys::uid() == 0);
        if let Some(owner) = owner.filter(|owner| owner.uid() != 0) {
            sys::become_user(owner.uid(), owner.gid())
                .map_err(|e| Error::internal(format!("cannot become the owner of the data folder: {e}")))?;
        }
        Ok(config)
    }

    /// The same, staying root.
    pub fn begin_as_is(&self) -> Result<Config> {
        let config = self.config()?;
        log::init(config.log_level, config.json_logs);
        config.notes.iter().for_each(|note| log::warning("config", note, &[]));
        sys::private_umask();
        sys::few_heaps();
        sys::undumpable();
        Ok(config)
    }

    /// Opens all machines for a command that works on the data folder.
    pub fn open(&self) -> Result<App> {
        self.open_with(self.begin()?)
    }

    /// The same with a configuration read before.
    pub fn open_with(&self, config: Config) -> Result<App> {
        if !config.data_dir.is_dir() {
            let say = format!(
                "There is no folder {}. Make it with: lamplighter init-db",
                config.data_dir.display()
            );
            return Err(Error::new(Kind::Config, "data_dir", say));
        }
        App::open(config, self.registry.clone())
    }

    /// Prints a sentence; exit code 0.
    pub fn done(&self, say: &str) -> Result<u8> {
        print(&if self.json() {
            serde_json::json!({ "ok": true, "detail": say }).to_string()
        } else {
            say.to_string()
        });
        Ok(0)
    }
}

/// A usage error.
pub fn usage(say: &str) -> Error {
    Error::new(Kind::Malformed, "usage", say)
}

/// Writes a line to standard output; a closed pipe is no error.
pub fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end_matches('\n'));
}

/// Writes a line to standard error, beside what the command prints.
pub fn remark(text: &str) {
    let _ = writeln!(std::io::stderr(), "lamplighter: {text}");
}

/// Man pages and completions of all commands, for the package: name and text.
pub fn package_files(registry: &Registry) -> Vec<package::Made> {
    package::files(registry.all::<Command>())
}

/// Result of parsing.
pub enum Parsed {
    /// Run this command.
    Run(Invocation),
    /// Print this and exit with 0.
    Print(String),
}

/// Parses the arguments (without the program's name). Error: usage.
pub fn parse(registry: &Arc<Registry>, args: impl IntoIterator<Item = OsString>) -> Result<Parsed> {
    let commands = registry.all::<Command>();
    let usage = |say: String| Error::new(Kind::Malformed, "usage", format!("{say} Try: lamplighter --help"));
    let mut parser = Parser::from_args(args);
    let mut command: Option<&'static Command> = None;
    let mut flags: Vec<(&'static str, String)> = Vec::new();
    while let Some(arg) = parser.next().map_err(|e| usage(format!("{e}.")))? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Parsed::Print(help(commands, command))),
            Arg::Short('V') | Arg::Long("version") => return Ok(Parsed::Print(version())),
            Arg::Short(_) | Arg::Long(_) => {
                let name = match arg {
                    Arg::Short(letter) => {
                        short(command, letter).ok_or_else(|| usage(format!("Unknown flag -{letter}.")))?
                    }
                    Arg::Long(name) => name,
                    Arg::Value(_) => "",
                };
                let own = command.map_or(&[][..], |c| c.flags);
                let flag = own.iter().chain(COMMON).find(|f| f.name == name);
                let Some(flag) = flag else {
                    return Err(usage(format!("Unknown flag --{name}.")));
                };
                let value = match flag.value {
                    "" => String::new(),
                    _ => parser
                        .value()
                        .and_then(|v| v.string())
                        .map_err(|e| usage(format!("{e}.")))?,
                };
                flags.push((flag.name, value));
            }
            Arg::Value(word) if command.is_none() => {
                let mut word = word.to_string_lossy().into_owned();
                // `key rotate` is `key-rotate`.
                if commands.iter().any(|c| c.name.starts_with(&format!("{word}-")))
                    && !commands.iter().any(|c| c.name == word)
                    && let Ok(Some(Arg::Value(second))) = parser.next()
                {
                    word = format!("{word}-{}", second.to_string_lossy());
                }
                let found = commands.iter().find(|c| c.name == word);
                command = Some(found.ok_or_else(|| usage(format!("Unknown command “{word}”.")))?);
            }
            // `unlock anna` is `unlock --login anna`: whose it is may stand alone.
            Arg::Value(word) => match alone(command, &flags) {
                Some(name) => flags.push((name, word.string().map_err(|e| usage(format!("{e}.")))?)),
                None => return Err(usage(format!("{}.", Arg::Value(word).unexpected()))),
            },
        }
    }
    match command {
        Some(command) => Ok(Parsed::Run(Invocation {
            registry: registry.clone(),
            command,
            flags,
        })),
        None => Ok(Parsed::Print(help(commands, None))),
    }
}

fn version() -> String {
    format!("lamplighter {}", env!("CARGO_PKG_VERSION"))
}

fn help(commands: &[&Command], command: Option<&Command>) -> String {
    let mut out = String::new();
    let flags = |out: &mut String, flags: &[Flag]| {
        for f in flags {
            let name = format!("--{} {}", f.name, f.value);
            out.push_str(&format!("  {name:<24} {}\n", f.help));
        }
    };
    match command {
        Some(c) => {
            out.push_str(&format!(
                "{}\n\nUsage: lamplighter {} [flags]\n\nFlags:\n",
                c.help, c.name
            ));
            flags(&mut out, c.flags);
        }
        None => {
            out.push_str("Looks after a fleet of Debian and Ubuntu servers over ssh.\n\nUsage: lamplighter COMMAND [flags]\n\nCommands:\n");
            for c in commands {
                out.push_str(&format!("  {:<16} {}\n", c.name, c.help));
            }
            out.push_str("\nFlags:\n");
        }
    }
    flags(&mut out, COMMON);
    let codes: Vec<_> = EXIT_CODES
        .iter()
        .map(|(code, means)| format!("{code} {means}"))
        .collect();
    out.push_str(&format!("\nExit codes: {}.\n", codes.join(", ")));
    out
}

/// What the exit codes mean (sysexits.h where it has one).
const EXIT_CODES: &[(u8, &str)] = &[
    (0, "ok"),
    (1, "failed"),
    (2, "usage"),
    (3, "degraded"),
    (4, "unhealthy"),
    (69, "daemon not reachable"),
    (75, "try again"),
    (78, "configuration"),
];

/// Exit code of an error (sysexits.h where it has one).
pub fn exit_code(error: &Error) -> u8 {
    match (error.kind, error.code) {
        (Kind::Config, _) => 78,
        (_, "usage") => 2,
        (_, "daemon_unreachable") => 69,
        (Kind::Busy, _) => 75,
        _ => 1,
    }
}
