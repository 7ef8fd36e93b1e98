//! `doctor`: for whoever has the data folder; the daemon may run.

use super::{Severity, api, checks, worst};
use crate::base::error::{Error, Result};
use crate::cli::{Command, Invocation, print};
use crate::lang::Lang;

/// See [`Command`].
pub const COMMANDS: &[Command] = &[Command {
    name: "doctor",
    help: "Check this installation and say what to do: 0 nothing, 3 warnings, 4 something is broken.",
    flags: &[],
    run: doctor,
}];

fn doctor(asked: &Invocation) -> Result<u8> {
    let app = asked.open()?;
    let findings = checks::all(&app, true);
    if asked.json() {
        print(&serde_json::to_string(&api::report(&findings)).map_err(Error::internal)?);
    } else {
        for f in &findings {
            let mark = ["ok", "warning", "FAILURE"][f.severity as usize];
            print(format!("{mark:<8} {}: {}", f.name(Lang::En), f.say(Lang::En)).trim_end_matches([':', ' ']));
            if f.severity != Severity::Ok {
                print(&format!("         {}", f.advice(Lang::En)));
            }
        }
    }
    Ok([0, 3, 4][worst(&findings) as usize])
}
