//! What people do to servers that are set up: restart a service or the machine, put a file there, bring packages up to
//! date. Values are checked by whoever makes them; here they are only quoted.

use super::parts::Parts;
use super::recipes::{MINUTE, Recipe, script};
use crate::base::error::Result;
use crate::base::process::Cancel;
use crate::base::random;
use crate::base::secret::Secret;
use crate::base::shell;
use crate::base::text;
use crate::ssh::{Ssh, Target};
use std::io::Write;

/// Where parts of a file lie until they are put together, below it a folder for each.
const STAGE: &str = "/var/cache/lamplighter-upload";

/// What is done to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It runs afterwards.
    Start,
    /// It does not.
    Stop,
    /// It runs anew, unless its own configuration test refuses that.
    Restart,
}

impl Act {
    fn name(self) -> &'static str {
        match self {
            Act::Start => "start",
            Act::Stop => "stop",
            Act::Restart => "restart",
        }
    }
}

/// Starts, stops or restarts a unit of systemd; `owner`: of this user's own, empty: of the system's. Facts: `before`, `after`
/// (state and process).
pub fn service(unit: &str, owner: &str, act: Act) -> Result<Recipe> {
    let values = [("SERVICE", unit), ("OWNER", owner), ("ACT", act.name())];
    Ok(Recipe {
        name: "service",
        root: true,
        deadline: 10 * MINUTE,
        plan: match act {
            Act::Start => vec!["service_known", "service_config", "service_started"],
            Act::Stop => vec!["service_known", "service_stopped"],
            Act::Restart => vec!["service_known", "service_config", "service_restarted"],
        },
        installs: Vec::new(),
        values: Secret::new(shell::assignments(&values)?),
        text: script!("prelude.sh", "act_service.sh"),
    })
}

/// A unit of ours that is written and started.
#[derive(Debug)]
pub struct Command<'a> {
    /// Its name, with `.service`.
    pub unit: &'a str,
    /// First line of its file.
    pub mark: &'a str,
    /// The whole file, without an end of its last line.
    pub text: &'a str,
    /// The file of its secrets, likewise; empty: there is none.
    pub secrets: &'a str,
    /// What must be there and executable.
    pub program: &'a str,
    /// Who must be there, or empty.
    pub owner: &'a str,
    /// Folder that must be there, or empty.
    pub folder: &'a str,
    /// Start or restart.
    pub act: Act,
}

/// Writes a unit, enables and starts it; when anything fails, what was there before is back. Fact: `after`.
pub fn command(command: &Command) -> Result<Recipe> {
    let values = [
        ("UNIT", command.unit),
        ("MARK", command.mark),
        ("TEXT_64", &text::base64(command.text.as_bytes())),
        ("ENV_64", &text::base64(command.secrets.as_bytes())),
        ("PROGRAM", command.program),
        ("OWNER", command.owner),
        ("FOLDER", command.folder),
        ("ACT", command.act.name()),
    ];
    Ok(Recipe {
        name: "command",
        root: true,
        deadline: 5 * MINUTE,
        plan: vec![
            "unit_free",
            "unit_needs",
            "unit_secrets",
            "unit_written",
            "unit_enabled",
            "service_started",
        ],
        installs: Vec::new(),
        values: Secret::new(shell::assignments(&values)?),
        text: script!("prelude.sh", "act_command.sh"),
    })
}

/// Stops a unit of ours and takes it away with its secrets.
pub fn command_gone(unit: &str, mark: &str) -> Result<Recipe> {
    let values = [("UNIT", unit), ("MARK", mark), ("ACT", "remove")];
    Ok(Recipe {
        name: "command_gone",
        root: true,
        deadline: 5 * MINUTE,
        plan: vec!["unit_ours", "unit_gone"],
        installs: Vec::new(),
        values: Secret::new(shell::assignments(&values)?),
        text: script!("prelude.sh", "act_command.sh"),
    })
}

/// Starts, stops or restarts a session of tmux of the user `owner`, with a command for a shell.
pub fn tmux(session: &str, owner: &str, command: &str, act: Act) -> Result<Recipe> {
    let values = [
        ("SESSION", session),
        ("OWNER", owner),
        ("COMMAND", command),
        ("ACT", act.name()),
    ];
    Ok(Recipe {
        name: "tmux",
        root: true,
        deadline: MINUTE,
        plan: match act {
            Act::Stop => vec!["tmux_known", "tmux_stopped"],
            _ => vec!["tmux_known", "tmux_started"],
        },
        installs: Vec::new(),
        values: Secret::new(shell::assignments(&values)?),
        text: script!("prelude.sh", "act_tmux.sh"),
    })
}

/// Which start of the machine this is. Fact: `boot_id`; `failed`: the units that failed. Needs no root.
pub fn boot() -> Recipe {
    Recipe {
        name: "boot",
        root: false,
        deadline: MINUTE / 3,
        plan: vec!["booted"],
        installs: Vec::new(),
        values: Secret::default(),
        text: script!("prelude.sh", "act_boot.sh"),
    }
}

/// Asks the machine to restart in two seconds; not in the middle of the package system's work.
pub fn reboot() -> Recipe {
    Recipe {
        name: "reboot",
        root: true,
        deadline: 4 * MINUTE,
        plan: vec!["reboot_free", "reboot_asked"],
        installs: Vec::new(),
        values: Secret::default(),
        text: script!("prelude.sh", "act_reboot.sh"),
    }
}

/// Lists the updates that wait, and applies them: `apply` is empty (none), `security` or `all`. Facts: `applied`, `left`,
/// `reboot` (`yes`), `lists` (`old`: they could not all be read anew). Texts: `plan` (before) and `left` (after), each a
/// line of apt's simulation; `held`, `reboot`, `needrestart`.
pub fn updates(apply: &str) -> Result<Recipe> {
    Ok(Recipe {
        name: "updates",
        root: true,
        deadline: 55 * MINUTE,
        plan: vec!["updates_lists", "updates_plan", "updates_applied", "updates_after"],
        installs: Vec::new(),
        values: Secret::new(shell::assignments(&[("APPLY", apply)])?),
        text: script!("prelude.sh", "act_updates.sh"),
    })
}

/// A file that is staged.
#[derive(Debug)]
pub struct File<'a> {
    /// Absolute, without spaces.
    pub path: &'a str,
    /// Octal permission bits.
    pub mode: &'a str,
    /// `user:group`.
    pub owner: &'a str,
    /// Of the content, hex.
    pub sha256: &'a str,
    /// Of the content, in bytes.
    pub size: u64,
    /// Folders below which it may be, with spaces between them.
    pub allowed: &'a str,
}

/// Puts a staged file in its place. Facts: `kept` (where the file before it is kept), `path` (as resolved).
pub fn file(file: &File, stage: &str) -> Result<Recipe> {
    let values = [
        ("FILE", file.path),
        ("MODE", file.mode),
        ("OWNER", file.owner),
        ("SHA256", file.sha256),
        ("SIZE_KIB", &(file.size / 1024 + 1).to_string()),
        ("ALLOWED", file.allowed),
        ("STAGE", stage),
    ];
    Ok(Recipe {
        name: "file",
        root: true,
        deadline: 3 * MINUTE,
        plan: vec!["file_arrived", "file_allowed", "file_kept", "file_placed"],
        installs: Vec::new(),
        values: Secret::new(shell::assignments(&values)?),
        text: script!("prelude.sh", "act_file.sh"),
    })
}

/// Sends a file's bytes in parts, as `write` gives them; returns the folder of the parts. Errors: as [`Ssh::run`];
/// `disk_full`, `remote_write`.
pub fn stage(
    ssh: &Ssh,
    target: &Target,
    size: u64,
    cancel: &Cancel,
    write: &mut dyn FnMut(&mut dyn Write) -> Result<()>,
) -> Result<String> {
    let folder = format!("{STAGE}/{}", random::name());
    let mut parts = Parts::begin(ssh, target, &folder, size, cancel)?;
    write(&mut parts).map_err(|e| parts.why(e))?;
    parts.finish()?;
    Ok(folder)
}

/// Reads the end of a unit's journal (`UNIT`) or of a file (`FILE`): at most `LINES` lines and `BYTES` bytes, as base64.
/// Exit codes: those of [`LOGS_REFUSED`].
pub const LOGS: &str = include_str!("scripts/act_logs.sh");

/// Exit codes of [`LOGS`] by which it refuses, with code and sentence.
pub const LOGS_REFUSED: &[(i32, &str, &str)] = &[
    (44, "log_missing", "There is no such file or unit on this server."),
    (
        45,
        "path_not_allowed",
        "On this server that path leads out of the folders that logs may be fetched from.",
    ),
    (46, "not_a_file", "That path is no regular file on this server."),
    (47, "no_journal", "This server has no journalctl."),
];
