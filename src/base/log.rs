//! The daemon's log: one line per event on stderr, `time LEVEL target message key=value…`, or one JSON object per line.
//! Control characters are escaped, so that outside text cannot forge a line. What may hold secrets goes through
//! [`super::redact`] first.

use super::clock;
use super::log_file::LogFile;
use std::io::Write;
use std::panic::PanicHookInfo;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// Severity of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For development.
    Debug,
    /// Normal operation.
    Info,
    /// Needs attention.
    Warning,
    /// A failure.
    Error,
    /// A failure after which nothing is as it should be: a damaged file, a process that gives up.
    Critical,
}

static LEAST: AtomicU8 = AtomicU8::new(Level::Info as u8);
static AS_JSON: AtomicBool = AtomicBool::new(false);
static FILE: OnceLock<LogFile> = OnceLock::new();

/// Sets the minimum level and the format. Called once at start.
pub fn init(least: Level, as_json: bool) {
    LEAST.store(least as u8, Ordering::Relaxed);
    AS_JSON.store(as_json, Ordering::Relaxed);
    std::panic::set_hook(Box::new(panicked));
}

/// From now on lines go into this file as well (see [`LogFile`]). Called once, by a daemon that starts.
pub fn also_to(path: PathBuf) {
    let _ = FILE.set(LogFile::new(path)); // a second one would be a second daemon in this process
}

/// Logs a panic as one line instead of the several that Rust would write.
fn panicked(info: &PanicHookInfo) {
    let thread = std::thread::current();
    let at = info.location().map(ToString::to_string).unwrap_or_default();
    let fields = [
        ("thread", thread.name().unwrap_or("")),
        ("at", &at),
        ("what", info.payload_as_str().unwrap_or("")),
    ];
    error("panic", "a thread panicked", &fields);
}

/// Is this level written? For callers whose message is expensive to build.
pub fn enabled(level: Level) -> bool {
    level as u8 >= LEAST.load(Ordering::Relaxed)
}

/// Writes one line. `target` names the module; `fields` are keys and values.
pub fn line(level: Level, target: &str, message: &str, fields: &[(&str, &str)]) {
    if !enabled(level) {
        return;
    }
    let name = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"][level as usize];
    let at = clock::rfc3339(clock::now());
    let mut text = if AS_JSON.load(Ordering::Relaxed) {
        let mut object = serde_json::Map::new();
        for (key, value) in [
            ("ts", at.as_str()),
            ("level", name),
            ("target", target),
            ("message", message),
        ] {
            object.insert(key.into(), value.into());
        }
        for (key, value) in fields {
            object.insert((*key).into(), (*value).into());
        }
        serde_json::Value::Object(object).to_string()
    } else {
        let mut text = format!("{at} {name} {target} {}", escape(message));
        for (key, value) in fields {
            text.push_str(&format!(" {key}={}", escape(value)));
        }
        text
    };
    text.push('\n');
    // stderr is closed: there is nowhere to report that.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
    if let Some(Err(e)) = FILE.get().map(|file| file.write(text.as_bytes())) {
        let _ = writeln!(
            std::io::stderr().lock(),
            "{at} ERROR log the log file is not written error={}",
            escape(&e)
        );
    }
}

fn escape(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect::<Vec<_>>()
            } else {
                vec![c]
            }
        })
        .collect()
}

/// Logs at level `INFO`.
pub fn info(target: &str, message: &str, fields: &[(&str, &str)]) {
    line(Level::Info, target, message, fields);
}

/// Logs at level `WARNING`.
pub fn warning(target: &str, message: &str, fields: &[(&str, &str)]) {
    line(Level::Warning, target, message, fields);
}

/// Logs at level `ERROR`.
pub fn error(target: &str, message: &str, fields: &[(&str, &str)]) {
    line(Level::Error, target, message, fields);
}

/// Logs at level `CRITICAL`.
pub fn critical(target: &str, message: &str, fields: &[(&str, &str)]) {
    line(Level::Critical, target, message, fields);
}
