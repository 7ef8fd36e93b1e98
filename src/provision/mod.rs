//! Sets up servers. A recipe is one script and one job: each step checks, changes only what is not right, and checks
//! again; a second run changes nothing, and a failed job restores its own files.
//!
//! No step asks a question, waits longer than two minutes for the package system or touches an nginx whose
//! configuration was invalid before. Files of others are not changed, except ufw's, through ufw and only with a
//! rollback.

use crate::base::clock::{self, Duration};
use crate::base::error::{Error, Result};
use crate::base::process::Cancel;
use crate::base::random;
use crate::ssh::{Job, Ssh, Sudo, Target};

pub mod steps;
pub mod progress;
pub mod recipes;
pub mod site;
mod parts;
pub mod acts;
pub mod wheels;
pub mod bundle;
pub mod engines;

pub use acts::stage;
pub use progress::{Outcome, Progress, State, StepDone};
use recipes::MINUTE;
pub use recipes::{Debs, Firewall, Glances, Profile, Recipe, Source};

/// Runs a recipe on a server, with packages of its own sources; `on_progress` gets all progress.
///
/// Fact `sudo` is always there: `root`, `nopasswd`, `password`, `refused` or `absent`.
/// Errors: those of [`crate::ssh`], and [`steps::FAILURES`].
pub fn run(
    ssh: &Ssh,
    target: &Target,
    recipe: &Recipe,
    cancel: &Cancel,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Outcome> {
    run_with(ssh, target, recipe, &Debs::Own, cancel, on_progress)
}

/// The same, with packages of wherever.
pub fn run_with(
    ssh: &Ssh,
    target: &Target,
    recipe: &Recipe,
    debs: &Debs,
    cancel: &Cancel,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Outcome> {
    let nonce = random::name();
    let script = recipe.script(&nonce, debs)?;
    let job = Job {
        script: script.reveal_text_for("ssh's stdin"),
        root: recipe.root,
        deadline: recipe.deadline,
    };
    let mut reader = progress::ProgressReader::new(&nonce, &recipe.plan);
    let done = ssh.run(target, &job, cancel, &mut |stream, line| {
        reader.feed(stream, line, clock::mono(), clock::now(), on_progress);
    })?;
    let mut outcome = reader.outcome(done.rc)?;
    let sudo = match done.sudo {
        Sudo::Root => "root",
        Sudo::NoPassword => "nopasswd",
        Sudo::Password => "password",
        Sudo::Refused(_) => "refused",
        Sudo::Absent => "absent",
    };
    outcome.facts.insert("sudo".into(), sudo.into());
    Ok(outcome)
}

/// Sets the firewall up and confirms it over a new connection. If none gets through, the server reverts by itself; this
/// waits for that, so that the error `ufw_lockout_reverted` means that the server is reachable again.
pub fn firewall(
    ssh: &Ssh,
    target: &Target,
    desired: &Firewall,
    debs: &Debs,
    cancel: &Cancel,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Outcome> {
    let mut outcome = run_with(ssh, target, &recipes::firewall(desired)?, debs, cancel, on_progress)?;
    if outcome.facts.get("firewall").map(String::as_str) != Some("armed") {
        return Ok(outcome);
    }
    let armed = clock::mono();
    // Existing connections pass any firewall: only a new one is a proof.
    ssh.forget(target.server);
    let confirmed = run(ssh, target, &recipes::confirm(), cancel, on_progress).or_else(|refused| {
        let reverted = armed + desired.revert + Duration::from_secs(5);
        if cancel.wait(reverted.saturating_duration_since(clock::mono())) {
            return Err(refused);
        }
        ssh.forget(target.server);
        run(ssh, target, &recipes::confirm(), cancel, on_progress).map_err(|e| match e.code {
            "ufw_lockout_reverted" => Error {
                log: format!("{e}; before: {refused}"),
                ..e
            },
            _ => e,
        })
    })?;
    outcome.changed += confirmed.changed;
    outcome.steps.extend(confirmed.steps);
    Ok(outcome)
}
