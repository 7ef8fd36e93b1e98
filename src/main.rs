//! Hands the arguments to the daemon and leaves with its exit code.

use lamplighter::daemon;
use std::process::ExitCode;

fn main() -> ExitCode {
    // ssh starts this program for a password: nothing else may run then.
    if let Some(code) = lamplighter::ssh::askpass::if_asked() {
        return ExitCode::from(code as u8);
    }
    ExitCode::from(daemon::main(daemon::FEATURES, std::env::args_os().skip(1)))
}
