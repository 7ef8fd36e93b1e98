//! `verify-audit`: for whoever has the data folder.

use crate::access::Allowed;
use crate::access::right::{Controller, Edit};
use crate::app::App;
use crate::audit::{self, Head};
use crate::base::error::{Error, Kind, Result};
use crate::cli::{Command, Flag, Invocation, usage};

/// Commands of this feature.
pub const COMMANDS: &[Command] = &[Command {
    name: "verify-audit",
    help: "Check that no row of the audit was changed or removed; says the first that was.",
    flags: &[
        Flag {
            name: "head",
            value: "SEQ:MAC",
            help: "A head that was kept elsewhere (the journal has one of each hour): its row must be there.",
        },
        Flag {
            name: "accept",
            value: "",
            help: "A backup was put back: take the rows that are there as all, and note it.",
        },
    ],
    run: |asked| asked.done(&verify(&asked.open()?, asked)?),
}];

/// `verify-audit`: says how many rows there are, or fails with the first thing that is wrong.
fn verify(app: &App, asked: &Invocation) -> Result<String> {
    let whole = |head: &Head| {
        let rows = head.seq;
        format!("The audit is whole: {rows} rows, none changed and none missing. Its head is {head}")
    };
    let noted = match asked.flag("head") {
        Some(text) => Some(Head::parse(text).ok_or_else(|| {
            usage("A head is the number of a row, a colon and 64 hexadecimal digits, as the journal has it.")
        })?),
        None => None,
    };
    let broken = match audit::verify(&app.db, &app.vault, noted.as_ref())? {
        Ok(head) => return Ok(whole(&head)),
        Err(broken) => broken,
    };
    if asked.flag("accept").is_none() {
        let hint = match broken.is_about_the_end() {
            true => " If a backup was put back, that is why: lamplighter verify-audit --accept",
            false => "",
        };
        let say = format!("The audit is broken. {broken}{hint}");
        return Err(Error::new(Kind::Conflict, "audit_broken", say));
    }
    if !broken.is_about_the_end() {
        let say = format!("{broken} That cannot be accepted, only known.");
        return Err(Error::new(Kind::Conflict, "audit_broken", say));
    }
    let by = Allowed::<Edit, Controller>::by_cli();
    audit::accept(&app.db, &app.vault, by.into(), &broken)?;
    Ok(format!("{broken} That is noted in the audit, which goes on from here."))
}
