//! Runs a deploy: the canary first, then the others; the first failure stops those that have not begun. Unproved
//! changes are rolled back by the server itself.

use super::desired::DesiredState;
use super::evaluate;
use super::inspect::{self, WIDTH};
use super::model::Stands;
use super::placements::{self, Placement, Put};
use super::plan::{Level, ServerPlan};
use super::vhost::RenderedVhost;
use crate::base::clock;
use crate::base::error::{Error, Kind as Failure, Result};
use crate::base::id::{self, Id};
use crate::base::parallel::lock;
use crate::base::process::{self, Cancel};
use crate::db::Tx;
use crate::features::fleet::servers::Server;
use crate::features::fleet::servers::ServerConnection;
use crate::provision::site::{self as remote, Apply, Certificate, Nginx};
use crate::provision::{self, Progress, Recipe, recipes};
use crate::schedule::fan_out::FanOut;
use crate::task::worker::Run;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

pub(super) const INCOMPLETE: &str = "incomplete";

/// Choices of a person for a deploy or removal.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
pub struct Choice {
    /// Overwrite texts changed by others.
    #[serde(default)]
    pub overwrite: bool,
    /// Forget sites on unreachable servers.
    #[serde(default)]
    pub forget: bool,
}

/// The text for a server, and what the plan found there.
struct Text<'a> {
    rendered: &'a RenderedVhost,
    first: Option<&'a RenderedVhost>,
    expect: Option<&'a str>,
    old_name: Option<&'a str>,
    old_expect: Option<&'a str>,
    /// certbot's name of the certificate.
    lineage: &'a str,
}

/// Failures that changed nothing and that an inspection resolves or explains: overwriting may be allowed, an
/// interrupted deploy may have left the same text, nginx may be missing or different.
const LOOK_FIRST: [&str; 8] = [
    "would_be_default",
    "http2_shared",
    "site_changed",
    "proxy_not_ready",
    "nginx_not_running",
    "site_red",
    "foreign_site",
    "lineage_changed",
];

pub(super) struct Deploy<'a> {
    run: &'a Run<'a>,
    desired: &'a DesiredState,
    choice: Choice,
    /// Sites that could not be removed, with reasons.
    left: Mutex<Vec<String>>,
    /// Reports of the last job on each server, by server id.
    with_untouched: Mutex<HashMap<i64, JobReport>>,
    /// Bridge texts that were put, which pass on ACME challenges.
    bridges: Mutex<Vec<(Id<id::Server>, String)>>,
}

/// What a job reported about the site.
#[derive(Clone, Copy)]
struct JobReport {
    stands: Stands,
    issued: bool,
}

impl JobReport {
    fn record(&mut self, report: &Progress) {
        match report {
            Progress::Fact { key: "stands", value } => self.stands = Stands::parse(value).unwrap_or(self.stands),
            Progress::Step {
                step,
                state: provision::State::Changed,
                ..
            } if step.id == "site_certificate" => self.issued = true,
            _ => {}
        }
    }
}

type Sites<'s> = Vec<&'s (Placement, Server)>;

/// Work on one server; returns the number of changes.
type Work<T> = fn(&T, &Placement, &Server) -> Result<u32>;

impl<'a> Deploy<'a> {
    pub(super) fn new(run: &'a Run<'a>, desired: &'a DesiredState, choice: Choice) -> Deploy<'a> {
        Deploy {
            run,
            desired,
            choice,
            left: Mutex::default(),
            with_untouched: Mutex::default(),
            bridges: Mutex::default(),
        }
    }

    pub(super) fn left(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.left))
    }

    fn job_reports(&self) -> MutexGuard<'_, HashMap<i64, JobReport>> {
        lock(&self.with_untouched)
    }

    /// Runs a job that changes the site. A job without report was interrupted.
    fn job(&self, connection: &ServerConnection, server: &Server, recipe: &Recipe) -> Result<provision::Outcome> {
        let run = self.run;
        let mut with_untouched = JobReport {
            stands: Stands::Unseen,
            issued: false,
        };
        let mut on_progress = run.on_progress(self.on(server));
        let done = connection.run(run.app, recipe, run.cancel, &mut |report| {
            with_untouched.record(&report);
            on_progress(report);
        });
        match done {
            Ok(_) => drop(self.job_reports().remove(&server.id.get())),
            Err(_) => drop(self.job_reports().insert(server.id.get(), with_untouched)),
        }
        done
    }

    pub(super) fn everywhere(&self) -> Result<u32> {
        let (leaving, wanted): (Vec<_>, Vec<_>) =
            self.desired.sites.iter().partition(|(placement, _)| !placement.wanted);
        self.check_domain(&wanted)?;
        let (wanted, missing) = self.reached(&wanted)?;
        let mut changed = self.bridge(&wanted).map_err(|e| named_too(e, &missing))?;
        changed += self
            .canary_first(&wanted, Self::put)
            .inspect_err(|_| self.unbridge(&wanted))
            .map_err(|e| named_too(e, &missing))?;
        // Removals come last: until the others serve, the old servers still do.
        changed += self.all(&leaving, Self::leave)?;
        incomplete(&missing).map_or(Ok(changed), Err)
    }

    /// The reachable servers of several, with a sentence for each one left out. Error: none is reachable.
    fn reached<'s>(&self, wanted: &[&'s (Placement, Server)]) -> Result<(Sites<'s>, Vec<String>)> {
        if wanted.len() < 2 {
            return Ok((wanted.to_vec(), Vec::new()));
        }
        let knocked = self.fan_out().run(wanted, |(_, server)| {
            let nothing = remote::sums(&[])?;
            self.connection(server)?
                .run(self.run.app, &nothing, self.run.cancel, &mut |_| ())
        });
        let (mut there, mut missing) = (Vec::new(), Vec::new());
        for (site, knocked) in wanted.iter().zip(knocked) {
            match knocked.unwrap_or_else(|| Err(process::cancelled())) {
                Err(e) if is_unreached(&e) && !self.run.cancel.is_cancelled() => missing.push((*site, e)),
                // Other problems are reported by the work itself.
                _ => there.push(*site),
            }
        }
        let mut said = Vec::new();
        for ((placement, server), e) in missing {
            let e = self.failed(placement, server, e);
            if there.is_empty() {
                return Err(self.with_untouched(e, wanted.len() - 1));
            }
            self.run
                .log
                .line("warning", "task", "", &format!("{} It is left out.", e.say));
            said.push(e.say);
        }
        Ok((there, said))
    }

    fn canary_first(&self, wanted: &[&(Placement, Server)], work: Work<Self>) -> Result<u32> {
        match wanted.split_first() {
            Some((canary, rest)) => Ok(self.all(&[*canary], work)? + self.all(rest, work)?),
            None => Ok(0),
        }
    }

    /// An ACME server may validate at any of several servers: before that, each passes on challenges to the others.
    /// Bridges are not recorded; the final texts are.
    fn bridge(&self, wanted: &[&(Placement, Server)]) -> Result<u32> {
        let without: Vec<_> = wanted
            .iter()
            .copied()
            .filter(|(placement, _)| self.desired.needs_bridge(placement))
            .collect();
        let put = |this: &Self, placement: &Placement, server: &Server| this.put_bridge(placement, server);
        self.canary_first(&without, put).inspect_err(|_| self.unbridge(wanted))
    }

    fn put_bridge(&self, placement: &Placement, server: &Server) -> Result<u32> {
        let connection = self.connection(server)?;
        let (changed, plan) = self.made_ready(&connection, placement, server)?;
        let rendered = self.desired.render_bridge(placement, &plan.nginx()?)?;
        lock(&self.bridges).push((server.id, rendered.text.clone()));
        let text = Text {
            rendered: &rendered,
            first: None,
            expect: plan.found.as_deref(),
            old_name: None,
            old_expect: None,
            lineage: "",
        };
        Ok(changed + self.apply(&connection, server, &text)?.changed)
    }

    /// Restores the texts before the bridges, except where the deploy succeeded.
    fn unbridge(&self, wanted: &[&(Placement, Server)]) {
        let bridges = std::mem::take(&mut *lock(&self.bridges));
        for (placement, server) in wanted {
            let bridge = bridges.iter().find(|(on, _)| *on == server.id);
            if let Some((_, text)) = bridge
                && let Err(e) = self.put_back(placement, server, text)
            {
                self.run
                    .log
                    .line("warning", "task", "", &format!("{}: {}", server.fields.name, e.say));
            }
        }
    }

    fn put_back(&self, placement: &Placement, server: &Server, bridge: &str) -> Result<()> {
        let now = self.run.app.db.read(|conn| placements::of(conn, placement.domain))?;
        if now
            .iter()
            .any(|now| now.server == placement.server && now.text != placement.text)
        {
            return Ok(());
        }
        let (name, sum) = (self.desired.name(), evaluate::sum(bridge));
        let recipe = match (placement.name == name, super::vhost::proof_in(&placement.text)) {
            (false, _) => remote::remove(name, Some(&sum))?,
            (true, None) => return Ok(()),
            (true, Some(proof)) => remote::apply(&Apply {
                name,
                text: &placement.text,
                proof: &proof,
                target_names: &[],
                followed: &[],
                certificate: Certificate::None,
                expect: Some(&sum),
                old_name: None,
                old_expect: None,
                shadow: true,
            })?,
        };
        // A cancelled deploy is rolled back, too.
        let (run, cancel) = (self.run, Cancel::new());
        let done = self
            .connection(server)?
            .run(run.app, &recipe, &cancel, &mut run.on_progress(self.on(server)));
        done.map(drop)
    }

    /// Checks of the domain as a whole. DNS is checked if a certificate must be issued.
    fn check_domain(&self, wanted: &[&(Placement, Server)]) -> Result<()> {
        let is_new = |(placement, _): &&(Placement, Server)| {
            placement.state == placements::State::None || placement.name != self.desired.name()
        };
        let issues = self.desired.is_acme() && wanted.iter().any(is_new);
        let (report, faults) = inspect::before(self.run.app, self.desired, issues, self.run.cancel);
        for line in report.iter().flat_map(|report| report.lines()) {
            self.run.log.say(&line);
        }
        for finding in &faults {
            match finding.level {
                Level::Warn => self.run.log.line("warning", "task", "", &finding.message),
                _ => return Err(Error::new(Failure::Conflict, finding.code, finding.message.clone())),
            }
        }
        Ok(())
    }

    fn fan_out(&self) -> FanOut<'_> {
        FanOut {
            name: "domains.deploy",
            width: WIDTH,
            begin_until: None,
            cancel: self.run.cancel,
        }
    }

    /// Works on several servers, a few at a time. After the first failure no further one begins.
    pub(super) fn all(&self, sites: &[&(Placement, Server)], work: Work<Self>) -> Result<u32> {
        let red = AtomicBool::new(false);
        let results = self.fan_out().run(sites, |(placement, server)| {
            if red.load(Ordering::SeqCst) {
                return None;
            }
            let result = work(self, placement, server).map_err(|e| self.failed(placement, server, e));
            if result.is_err() {
                red.store(true, Ordering::SeqCst);
            }
            Some(result)
        });
        let results: Vec<_> = results.into_iter().map(Option::flatten).collect();
        let left = results.iter().filter(|r| r.is_none()).count();
        let mut changed = 0;
        for result in results.into_iter().flatten() {
            changed += result.map_err(|e| self.with_untouched(e, left))?;
        }
        match self.run.cancel.is_cancelled() && left > 0 {
            true => Err(process::cancelled()),
            false => Ok(changed),
        }
    }

    fn with_untouched(&self, e: Error, left: usize) -> Error {
        match left {
            0 => e,
            n => Error {
                say: format!("{} {n} more servers were not touched.", e.say),
                ..e
            },
        }
    }

    /// Records the failure of a site and adds the server's name.
    fn failed(&self, placement: &Placement, server: &Server, e: Error) -> Error {
        if self.run.cancel.is_cancelled() {
            return e;
        }
        // Without a job nothing was changed.
        let with_untouched = self.job_reports().remove(&server.id.get());
        let failure = placements::Failure {
            code: e.code,
            say: &e.say,
            stands: with_untouched.map_or(Stands::Untouched, |with_untouched| with_untouched.stands),
            issued: with_untouched.is_some_and(|with_untouched| with_untouched.issued),
        };
        if let Err(lost) = self
            .run
            .app
            .db
            .write(|tx| placements::mark_failed(tx, placement, &failure, clock::now()))
        {
            crate::base::log::error(
                "domains",
                "cannot record a failed deploy",
                &[("error", &lost.to_string())],
            );
        }
        match self.desired.sites.len() {
            1 => e,
            _ => Error {
                say: format!("{}: {}", server.fields.name, e.say),
                ..e
            },
        }
    }

    /// Name of a server in the log; empty for a single one.
    pub(super) fn on<'s>(&self, server: &'s Server) -> &'s str {
        match self.desired.sites.len() {
            1 => "",
            _ => &server.fields.name,
        }
    }

    pub(super) fn connection(&self, server: &Server) -> Result<ServerConnection> {
        let run = self.run;
        let connection = ServerConnection::open_verified(run.app, server.id, run.cancel, &mut |say| run.log.say(say))?;
        connection.secrets().for_each(|secret| run.log.hide(secret));
        Ok(connection)
    }

    fn inspect(&self, connection: &ServerConnection, placement: &Placement, server: &Server) -> Result<ServerPlan> {
        let run = self.run;
        let plan = inspect::on_server(
            run.app,
            connection,
            self.desired,
            placement,
            run.cancel,
            &mut run.on_progress(self.on(server)),
        )?;
        if let Some(finding) = plan.stop(self.choice.overwrite) {
            for line in finding.evidence.lines() {
                run.log.line("warning", "ssh", "stderr", line);
            }
            return Err(Error::new(Failure::Conflict, finding.code, finding.message.clone()));
        }
        Ok(plan)
    }

    fn put(&self, placement: &Placement, server: &Server) -> Result<u32> {
        let connection = self.connection(server)?;
        let (mut changed, settled) = self.put_unseen(&connection, placement, server)?;
        if settled {
            return Ok(changed);
        }
        let (set_up, plan) = self.made_ready(&connection, placement, server)?;
        changed += set_up;
        let nginx = plan.nginx()?;
        let Some(work) = plan.work.as_ref() else {
            return Err(Error::internal("a plan without work"));
        };
        if !plan.steps.is_empty() {
            let text = Text {
                rendered: &work.rendered,
                first: work.first.as_ref(),
                expect: plan.found.as_deref(),
                old_name: self.old_name(placement),
                old_expect: plan.found_old.as_deref(),
                lineage: &work.lineage,
            };
            changed += self.apply(&connection, server, &text)?.changed;
        }
        self.keep(placement, &work.rendered.text, work.generation, nginx)?;
        Ok(changed)
    }

    /// The plan for a server whose nginx is prepared first if necessary.
    fn made_ready(
        &self,
        connection: &ServerConnection,
        placement: &Placement,
        server: &Server,
    ) -> Result<(u32, ServerPlan)> {
        let run = self.run;
        let plan = self.inspect(connection, placement, server)?;
        if !plan.work.as_ref().is_some_and(|work| work.set_up) {
            return Ok((0, plan));
        }
        let done = connection.run(
            run.app,
            &recipes::nginx(),
            run.cancel,
            &mut run.on_progress(self.on(server)),
        )?;
        Ok((done.changed, self.inspect(connection, placement, server)?))
    }

    fn keep(&self, placement: &Placement, text: &str, generation: i64, nginx: Nginx) -> Result<()> {
        let put = Put {
            name: self.desired.name(),
            generation,
            text,
            nginx,
        };
        let keep = |tx: &Tx| placements::mark_deployed(tx, &fresh(tx, placement)?, &put, clock::now());
        self.run.app.db.write(keep)
    }

    /// One job without prior inspection, where nginx is known: the job checks by itself, and changes nothing if
    /// anything differs. Returns the number of changes, and `false` if an inspection is needed.
    fn put_unseen(&self, connection: &ServerConnection, placement: &Placement, server: &Server) -> Result<(u32, bool)> {
        let desired = self.desired;
        let is_renamed = !placement.name.is_empty() && placement.name != desired.name();
        let known = match &placement.nginx {
            Some(nginx) => Some(nginx.clone()),
            None => self.run.app.db.read(|conn| placements::nginx_on(conn, server.id))?,
        };
        let Some(nginx) = known.filter(|_| !is_renamed && !placement.adopted) else {
            return Ok((0, false));
        };
        let rendered = desired.render(placement, Some(&nginx))?;
        let first = match desired.is_acme() {
            true => Some(desired.render_first(placement, &nginx)?),
            false => None,
        };
        let there = (!placement.name.is_empty()).then(|| evaluate::sum(&placement.text));
        let text = Text {
            rendered: &rendered,
            first: first.as_ref(),
            expect: there.as_deref(),
            old_name: None,
            old_expect: None,
            lineage: &desired.lineage(placement),
        };
        match self.apply(connection, server, &text) {
            // nginx changed since: its text may differ, too.
            Ok(done) if remote::nginx(&done).is_some_and(|now| now != nginx) => Ok((done.changed, false)),
            Ok(done) => {
                if done.changed > 0 || placement.state != placements::State::Live || placement.text != rendered.text {
                    let generation =
                        super::vhost::marker(&rendered.text).map_or(placement.generation, |m| m.generation);
                    self.keep(placement, &rendered.text, generation, nginx)?;
                }
                Ok((done.changed, true))
            }
            Err(e) if LOOK_FIRST.contains(&e.code) => Ok((0, false)),
            Err(e) => Err(e),
        }
    }

    fn old_name<'r>(&self, placement: &'r Placement) -> Option<&'r str> {
        Some(placement.name.as_str()).filter(|name| !name.is_empty() && *name != self.desired.name())
    }

    fn apply(&self, connection: &ServerConnection, server: &Server, text: &Text) -> Result<provision::Outcome> {
        let desired = self.desired;
        let names: Vec<&str> = desired.target_names().collect();
        let certificate = match (&desired.own, text.first) {
            (Some(own), _) => {
                self.run.log.hide(&own.key);
                Certificate::Files {
                    chain: &own.chain,
                    key: &own.key,
                }
            }
            (None, Some(first)) => Certificate::Acme {
                email: &desired.acme_email,
                directory: &desired.acme_directory,
                lineage: text.lineage,
                first: (&first.text, &first.proof),
            },
            (None, None) => Certificate::None,
        };
        let recipe = remote::apply(&Apply {
            name: desired.name(),
            text: &text.rendered.text,
            proof: &text.rendered.proof,
            target_names: &names,
            followed: &text.rendered.followed,
            certificate,
            expect: text.expect,
            old_name: text.old_name,
            old_expect: text.old_expect,
            shadow: self.choice.overwrite,
        })?;
        self.job(connection, server, &recipe)
    }

    /// As [`Deploy::take_off`]. An unreachable server does not block a move: the site is left for the next deploy, or
    /// to be forgotten.
    fn leave(&self, placement: &Placement, server: &Server) -> Result<u32> {
        let e = match self.take_off(placement, server) {
            Err(e) if is_unreached(&e) && !self.run.cancel.is_cancelled() => self.failed(placement, server, e),
            done => return done,
        };
        let say = format!("It could not be taken off {}: {}", server.fields.name, e.say);
        self.run.log.line("warning", "task", "", &say);
        lock(&self.left).push(say);
        Ok(0)
    }

    /// For a removal: forgets a site on an unreachable server if allowed.
    pub(super) fn take_off_or_forget(&self, placement: &Placement, server: &Server) -> Result<u32> {
        match self.take_off(placement, server) {
            Err(e) if is_unreached(&e) && !self.run.cancel.is_cancelled() => match self.choice.forget {
                true => {
                    let say = format!("What lies on {} is forgotten: {}", server.fields.name, e.say);
                    self.run.log.line("warning", "task", "", &say);
                    self.run.app.db.write(|tx| placements::mark_removed(tx, placement))?;
                    Ok(0)
                }
                false => Err(Error {
                    say: format!(
                        "{} If that server is gone for good, delete the domain again and say that it may be forgotten there.",
                        e.say
                    ),
                    ..e
                }),
            },
            done => done,
        }
    }

    fn take_off(&self, placement: &Placement, server: &Server) -> Result<u32> {
        let mut changed = 0;
        if !placement.name.is_empty() {
            let connection = self.connection(server)?;
            let plan = self.inspect(&connection, placement, server)?;
            if !plan.steps.is_empty() {
                changed = self.remove(&connection, placement, server, &plan)?;
            }
        }
        self.run.app.db.write(|tx| placements::mark_removed(tx, placement))?;
        Ok(changed)
    }

    fn remove(
        &self,
        connection: &ServerConnection,
        placement: &Placement,
        server: &Server,
        plan: &ServerPlan,
    ) -> Result<u32> {
        let recipe = remote::remove(&placement.name, plan.found.as_deref())?;
        Ok(self.job(connection, server, &recipe)?.changed)
    }
}

/// The others are served; these sentences are about the missing ones.
pub(super) fn incomplete(missing: &[String]) -> Option<Error> {
    let say = format!("Done, but not everywhere. {}", missing.join(" "));
    (!missing.is_empty()).then(|| Error::new(Failure::Upstream, INCOMPLETE, say))
}

/// A failed validation may be caused by a server that was left out: the name leads there, too.
pub(super) fn named_too(e: Error, missing: &[String]) -> Error {
    match e.code.starts_with("acme_") && !missing.is_empty() {
        true => Error {
            say: format!(
                "{} {} As long as the name has the address of a server that does not answer, the ACME server may ask there: take that address out of the name, then try again.",
                e.say,
                missing.join(" ")
            ),
            ..e
        },
        false => e,
    }
}

/// Could we not log in?
pub(super) fn is_unreached(e: &Error) -> bool {
    e.code.starts_with("ssh_")
}

/// The current row: the server may have been removed from the domain meanwhile.
pub(super) fn fresh(tx: &Tx, placement: &Placement) -> Result<Placement> {
    let rows = placements::of(tx, placement.domain)?;
    rows.into_iter()
        .find(|now| now.server == placement.server)
        .ok_or_else(|| Error::not_found("site"))
}
