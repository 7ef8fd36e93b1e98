//! Makes a plan by inspecting servers and DNS, without changes. A deploy makes the same plan, stops where the plan says
//! so, and does the rest.

use super::desired::{DesiredState, addresses};
use super::evaluate::evaluate;
use super::model::Preflight;
use super::placements::Placement;
use super::plan::{Finding, Level, Plan, ServerPlan};
use super::preflight::{self, Verdict};
use super::vhost::{self};
use crate::app::App;
use crate::base::clock::{self};
use crate::base::error::{Error, Kind, Result};
use crate::base::process::Cancel;
use crate::features::fleet::servers::ServerConnection;
use crate::lang::Lang;
use crate::provision::Progress;
use crate::provision::site::{self as remote, Wanted};
use crate::schedule::fan_out::FanOut;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Servers handled at the same time.
pub const WIDTH: usize = 8;

/// Limit of inspecting a server: somebody may be waiting.
const LOOK_LIMIT: Duration = Duration::from_secs(20);

/// Inspects every server and DNS.
pub fn make(app: &App, desired: &DesiredState, cancel: &Cancel) -> Plan {
    let all = clock::mono() + LOOK_LIMIT * u32::try_from(desired.sites.len()).unwrap_or(u32::MAX).max(1);
    make_all(app, std::slice::from_ref(desired), all, cancel).remove(0)
}

/// Plans of several domains, in the order of `all_desired`. Servers are inspected in parallel, the domains of one
/// server one after the other. If a server is unreachable, its other domains get the same error at once; what is not
/// inspected before `until` gets the finding `out_of_time`.
pub fn make_all(app: &App, all_desired: &[DesiredState], until: Instant, cancel: &Cancel) -> Vec<Plan> {
    let mut by_server: BTreeMap<i64, Vec<(usize, usize)>> = BTreeMap::new();
    for (w, desired) in all_desired.iter().enumerate() {
        for (s, (_, server)) in desired.sites.iter().enumerate() {
            by_server.entry(server.id.get()).or_default().push((w, s));
        }
    }
    let groups: Vec<Vec<(usize, usize)>> = by_server.into_values().collect();
    // Each inspection ends by itself on cancellation.
    let not_cancelled = Cancel::new();
    let fan_out = FanOut {
        name: "domains.plan",
        width: WIDTH,
        begin_until: None,
        cancel: &not_cancelled,
    };
    let plans = fan_out.run(&groups, |sites| {
        let mut refused: Option<Error> = None;
        let inspect_one = |&(w, s): &(usize, usize)| {
            let desired = &all_desired[w];
            let (placement, server) = &desired.sites[s];
            if let Some(e) = &refused {
                return ((w, s), ServerPlan::failed(desired, placement, server, e));
            }
            let plan = in_time(until)
                .and_then(|()| ServerConnection::of(app, server.id))
                .and_then(|connection| on_server(app, &connection, desired, placement, cancel, &mut |_| ()))
                .unwrap_or_else(|e| {
                    let plan = ServerPlan::failed(desired, placement, server, &e);
                    refused = Some(e).filter(|e| e.code.starts_with("ssh_"));
                    plan
                });
            ((w, s), plan)
        };
        sites.iter().map(inspect_one).collect::<Vec<_>>()
    });
    let mut plans: BTreeMap<(usize, usize), ServerPlan> = plans.into_iter().flatten().flatten().collect();
    let servers: Vec<Vec<ServerPlan>> = (0..all_desired.len())
        .map(|w| {
            let sites = 0..all_desired[w].sites.len();
            let mut servers = sites.filter_map(|s| plans.remove(&(w, s))).collect::<Vec<_>>();
            leave_out(&mut servers);
            servers
        })
        .collect();
    let issues = |servers: &[ServerPlan]| servers.iter().any(|s| s.steps.iter().any(|step| step.what == "issue"));
    let pairs: Vec<_> = all_desired.iter().zip(&servers).collect();
    let asked = fan_out.run(&pairs, |(desired, servers)| match in_time(until) {
        Ok(()) => before(app, desired, issues(servers), cancel),
        Err(e) => (None, vec![Finding::new(Level::Warn, e.code, e.say)]),
    });
    let made_at = clock::now();
    let plan = |((preflight, faults), servers)| Plan {
        made_at,
        preflight,
        faults,
        servers,
    };
    asked.into_iter().flatten().zip(servers).map(plan).collect()
}

/// Leaves out unreachable servers if another one is reachable.
fn leave_out(servers: &mut [ServerPlan]) {
    let is_dead = |plan: &ServerPlan| plan.faults.iter().any(|finding| finding.code.starts_with("ssh_"));
    if servers.iter().all(|plan| plan.leaves || is_dead(plan)) {
        return;
    }
    let dead = servers.iter_mut().filter(|plan| is_dead(plan));
    for finding in dead
        .flat_map(|plan| &mut plan.faults)
        .filter(|finding| finding.code.starts_with("ssh_"))
    {
        finding.level = Level::Warn;
    }
}

fn in_time(until: Instant) -> Result<()> {
    if clock::mono() < until {
        return Ok(());
    }
    let say =
        "There was no time to inspect this server. Make the plan for fewer domains, or open the plan of this one.";
    Err(Error::new(Kind::Timeout, "not_looked_at", say))
}

/// Checks before any server is touched: DNS, and whether there is anything to do.
pub fn before(
    app: &App,
    desired: &DesiredState,
    issues: bool,
    cancel: &Cancel,
) -> (Option<preflight::Report>, Vec<Finding>) {
    let mut faults = Vec::new();
    if desired.sites.is_empty() {
        let message = "This domain is on no server. Choose at least one.".to_string();
        faults.push(Finding::new(Level::Stop, "no_server", message));
    }
    if desired.targets.is_empty() && desired.sites.iter().any(|(placement, _)| placement.wanted) {
        let message = "This domain has no upstream, so there is nowhere to send its requests. Choose one first.";
        faults.push(Finding::new(Level::Stop, "no_upstream", message.to_string()));
    }
    let wanted = || desired.sites.iter().filter(|(placement, _)| placement.wanted);
    if desired.is_acme() && wanted().count() > 1 {
        for (_, server) in wanted().filter(|(_, server)| addresses(server).next().is_none()) {
            let message = format!(
                "The ACME server may ask any server of this domain, and the others cannot pass its question on to {}: its address is not known here. Give its public address on its page.",
                server.fields.name
            );
            faults.push(Finding::new(Level::Warn, "peer_unknown", message).on(&server.fields.name, ""));
        }
    }
    if desired.domain.fields.preflight == Preflight::Off {
        return (None, faults);
    }
    let servers: Vec<_> = wanted().map(|(placement, _)| placement.server).collect();
    let expected = match preflight::expected_addresses(app, &servers) {
        Ok(expected) => expected,
        Err(e) => {
            faults.push(Finding::new(Level::Stop, e.code, e.say));
            return (None, faults);
        }
    };
    let report = preflight::check(app, desired.name(), &expected, cancel);
    if cancel.is_cancelled() {
        return (None, faults);
    }
    // CAA matters only if a certificate is requested.
    let matters = |c: &&preflight::Check| c.verdict == Verdict::Bad && (issues || c.id != "caa");
    if let Some(bad) = report.checks.iter().find(matters).map(|c| c.say(Lang::En)) {
        // Only an ACME server must find the name here already. Everything else may be prepared before a move.
        let level = match desired.domain.fields.preflight {
            Preflight::Strict if issues => Level::Stop,
            _ => Level::Warn,
        };
        faults.push(Finding::new(level, "preflight", bad));
    }
    (Some(report), faults)
}

/// Inspects one server in one job; changes nothing.
pub(super) fn on_server(
    app: &App,
    connection: &ServerConnection,
    desired: &DesiredState,
    placement: &Placement,
    cancel: &Cancel,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<ServerPlan> {
    let (chain, _) = remote::uploaded_paths(desired.name());
    let proof = vhost::proof_in(&placement.text);
    let old_name = Some(placement.name.as_str()).filter(|name| !name.is_empty() && *name != desired.name());
    let wanted = [Wanted {
        name: desired.name(),
        old_name,
        certificate: match (&desired.own, placement.wanted && desired.domain.fields.ssl) {
            (_, false) => remote::CertificateCheck::None,
            (Some(_), true) => remote::CertificateCheck::Chain(&chain),
            (None, true) => remote::CertificateCheck::Acme(&desired.acme_directory),
        },
        proof: proof.as_ref(),
        goes: old_name.or((!placement.wanted).then_some(desired.name())),
        leaves: !placement.wanted,
    }];
    let mut recipe = remote::inspect(&wanted, &desired.target_names().collect::<Vec<_>>())?;
    recipe.deadline = LOOK_LIMIT;
    let outcome = connection.run(app, &recipe, cancel, on_progress)?;
    let seen = remote::seen(&outcome, &wanted);
    evaluate(desired, placement, &connection.server, seen, old_name)
}
