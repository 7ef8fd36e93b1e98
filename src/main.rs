//! Hands the arguments to the daemon and leaves with its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Called by ssh for a password: nothing else of the program may run then.
    if let Some(code) = lamplighter::ssh::askpass::if_asked() {
        return ExitCode::from(code as u8);
    }
    ExitCode::from(lamplighter::daemon::main(std::env::args_os().skip(1)))
}
