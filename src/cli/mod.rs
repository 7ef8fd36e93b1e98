//! The command table: parsing, help and exit codes come from here. What a command does is in `daemon` and in the
//! features; this only says what there is.

pub mod client;

use crate::base::error::{Error, Kind, Result};
use lexopt::{Arg, Parser, ValueExt};
use std::ffi::OsString;

/// A flag: its name without dashes, whether it takes a value, what it is for.
#[derive(Debug)]
pub struct Flag {
    /// Without dashes.
    pub name: &'static str,
    /// Name of its value; empty when it takes none.
    pub value: &'static str,
    /// One sentence.
    pub help: &'static str,
}

/// A command.
#[derive(Debug)]
pub struct Command {
    /// Its word.
    pub name: &'static str,
    /// One sentence, starting with a verb.
    pub help: &'static str,
    /// Beside the common ones.
    pub flags: &'static [Flag],
}

/// Flags that every command takes.
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

const LISTEN: Flag = Flag {
    name: "listen",
    value: "ADDR:PORT",
    help: "Where the web server listens (LAMPLIGHTER_LISTEN).",
};
const LOGIN: Flag = Flag {
    name: "login",
    value: "LOGIN",
    help: "The account's login.",
};
const PASSWORD: Flag = Flag {
    name: "password-file",
    value: "FILE",
    help: "Read the password from this file (- is standard input); without it you are asked.",
};

/// All commands, in the order of the help.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "dev",
        help: "Set everything up in ./var and run it: web server, scheduler and workers.",
        flags: &[LISTEN],
    },
    Command {
        name: "serve",
        help: "Run web server, scheduler and workers.",
        flags: &[LISTEN],
    },
    Command {
        name: "run-api",
        help: "Run only the web server.",
        flags: &[LISTEN],
    },
    Command {
        name: "run-scheduler",
        help: "Run only scheduler, poller and workers.",
        flags: &[],
    },
    Command {
        name: "init-db",
        help: "Make the data folder, the master key (if none is there) and the databases.",
        flags: &[],
    },
    Command {
        name: "migrate",
        help: "Bring the databases to this version's schema.",
        flags: &[],
    },
    Command {
        name: "create-admin",
        help: "Add an account; the first one of a new installation is made like this.",
        flags: &[
            LOGIN,
            PASSWORD,
            Flag {
                name: "role",
                value: "ROLE",
                help: "admin (default), operator, viewer or automation.",
            },
        ],
    },
    Command {
        name: "reset-password",
        help: "Give an account a new password and end its sessions.",
        flags: &[LOGIN, PASSWORD],
    },
    Command {
        name: "disable-user",
        help: "Let an account in no more; its sessions, tokens and live views end at once.",
        flags: &[LOGIN],
    },
    Command {
        name: "enable-user",
        help: "Let a disabled account in again.",
        flags: &[LOGIN],
    },
    Command {
        name: "export",
        help: "Print servers, upstreams, groups and domains as one JSON document, without secrets.",
        flags: &[],
    },
    Command {
        name: "apply",
        help: "Make the fleet as a document says; what it does not name stays.",
        flags: &[
            Flag {
                name: "file",
                value: "FILE",
                help: "The document (- is standard input).",
            },
            Flag {
                name: "plan",
                value: "",
                help: "Only show what would change.",
            },
            Flag {
                name: "yes",
                value: "",
                help: "Change it.",
            },
            Flag {
                name: "deploy",
                value: "",
                help: "With --yes: deploy the domains that are new or changed.",
            },
        ],
    },
    Command {
        name: "verify-audit",
        help: "Check that no row of the audit was changed or removed; says the first that was.",
        flags: &[Flag {
            name: "accept",
            value: "",
            help: "A backup was put back: take the rows that are there as all, and note it.",
        }],
    },
    Command {
        name: "encrypt-keygen",
        help: "Make a master key.",
        flags: &[Flag {
            name: "out",
            value: "FILE",
            help: "Write it there (0600, never over an existing file) instead of printing it.",
        }],
    },
    Command {
        name: "check-config",
        help: "Read the configuration and say what is wrong with it.",
        flags: &[LISTEN],
    },
    Command {
        name: "health",
        help: "Ask the running daemon whether it is healthy.",
        flags: &[LISTEN],
    },
    Command {
        name: "status",
        help: "Show what the databases say: servers, tasks, alerts, background work.",
        flags: &[],
    },
];

/// What was typed.
#[derive(Debug)]
pub struct Asked {
    /// A row of [`COMMANDS`].
    pub command: &'static Command,
    flags: Vec<(&'static str, String)>,
}

impl Asked {
    /// The value of a flag; of a flag without a value, the empty text when it was given.
    pub fn flag(&self, name: &str) -> Option<&str> {
        self.flags.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
    }

    /// Was `--json` given?
    pub fn json(&self) -> bool {
        self.flag("json").is_some()
    }
}

/// What to do with a command line.
pub enum Parsed {
    /// Run this.
    Run(Asked),
    /// Print this and leave with 0.
    Print(String),
}

/// Reads the arguments (without the program's name).
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Parsed> {
    let usage = |say: String| Error::new(Kind::Malformed, "usage", format!("{say} Try: lamplighter --help"));
    let mut parser = Parser::from_args(args);
    let mut command: Option<&'static Command> = None;
    let mut flags: Vec<(&'static str, String)> = Vec::new();
    while let Some(arg) = parser.next().map_err(|e| usage(format!("{e}.")))? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Parsed::Print(help(command))),
            Arg::Short('V') | Arg::Long("version") => return Ok(Parsed::Print(version())),
            Arg::Long(name) => {
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
                let word = word.to_string_lossy().into_owned();
                let found = COMMANDS.iter().find(|c| c.name == word);
                command = Some(found.ok_or_else(|| usage(format!("Unknown command “{word}”.")))?);
            }
            other => return Err(usage(format!("{}.", other.unexpected()))),
        }
    }
    match command {
        Some(command) => Ok(Parsed::Run(Asked { command, flags })),
        None => Ok(Parsed::Print(help(None))),
    }
}

fn version() -> String {
    format!("lamplighter {}", env!("CARGO_PKG_VERSION"))
}

fn help(command: Option<&Command>) -> String {
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
            for c in COMMANDS {
                out.push_str(&format!("  {:<16} {}\n", c.name, c.help));
            }
            out.push_str("\nFlags:\n");
        }
    }
    flags(&mut out, COMMON);
    out.push_str(
        "\nExit codes: 0 ok, 1 failed, 2 usage, 3 degraded, 4 unhealthy, 69 daemon not reachable, 75 try again, 78 configuration.\n",
    );
    out
}

/// The exit code of a failure (sysexits.h where it has a word for it).
pub fn exit_code(error: &Error) -> u8 {
    match (error.kind, error.code) {
        (Kind::Config, _) => 78,
        (_, "usage") => 2,
        (_, "daemon_unreachable") => 69,
        (Kind::Busy, _) => 75,
        _ => 1,
    }
}
