//! Basic types and functions, independent of the domain. They use only the standard library, `ring`, `serde`,
//! `serde_json` and (in `sys`, the only file with `unsafe`) `libc`.

pub mod clock;
pub mod error;
pub mod sys;
pub mod text;
pub mod zone;
pub mod diff;
pub mod exposition;
pub mod parallel;
pub mod semaphore;
pub mod registry;
pub mod id;
pub mod shape;
pub mod random;
pub mod secret;
pub mod der;
pub mod pem;
pub mod idn;
pub mod host;
pub mod url;
pub mod shell;
pub mod nginx;
pub mod file;
pub mod tar;
pub mod lines;
pub mod redact;
pub mod process;
pub mod ration;
pub mod log_file;
pub mod log;
pub mod notify;
pub mod pulse;
pub mod qr;
pub mod config;
