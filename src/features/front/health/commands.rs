//! `health` and `status`: how all is, asked of the running daemon and read from the databases.

use super::Status;
use super::overall::Overall;
use crate::base::error::{Error, Result};
use crate::cli::{Command, Invocation, LISTEN, client, print};
use crate::schedule;

/// Commands of this feature.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "health",
        help: "Ask the running daemon whether it is healthy.",
        flags: &[LISTEN],
        run: ask_health,
    },
    Command {
        name: "status",
        help: "Show what the databases say: servers, tasks, alerts, background work.",
        flags: &[],
        run: status,
    },
];

fn ask_health(asked: &Invocation) -> Result<u8> {
    let config = asked.begin()?;
    let listen = *config
        .listen
        .first()
        .ok_or_else(|| Error::internal("no address to ask"))?;
    let answer = client::ask(&config, listen, "/health")?;
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let status = match body["status"].as_str() {
        Some("healthy") => Status::Healthy,
        Some("degraded") => Status::Degraded,
        _ => Status::Unhealthy,
    };
    print(if asked.json() { &answer.body } else { status.name() });
    Ok(exit_code(status))
}

fn exit_code(status: Status) -> u8 {
    [0, 3, 4][status as usize]
}

fn status(asked: &Invocation) -> Result<u8> {
    let app = asked.open()?;
    let overall = Overall::of(&app)?;
    let job_runs = app.db.read(schedule::job_runs)?;
    if asked.json() {
        #[derive(serde::Serialize)]
        struct View<'a, JobRun> {
            #[serde(flatten)]
            overall: &'a Overall,
            periodic: Vec<JobRun>,
        }
        let view = View {
            overall: &overall,
            periodic: job_runs,
        };
        print(&serde_json::to_string(&view).map_err(Error::internal)?);
    } else {
        let (parts, tasks) = (&overall.parts, &overall.tasks);
        let n = &parts.servers.counts;
        print(overall.status.name());
        parts.lamplighter.reasons.iter().for_each(|reason| print(reason));
        print(&format!(
            "servers: {} up, {} degraded, {} down, {} pending; {} of all {} silenced",
            n.up, n.degraded, n.down, n.pending, n.silenced, n.total
        ));
        let d = &parts.domains;
        print(&format!(
            "domains: {} lit, {} flicker, {} dark, {} not deployed",
            d.lit, d.flick, d.dark, d.unlit
        ));
        let s = &overall.services;
        print(&format!(
            "services: {} healthy, {} degraded, {} unhealthy, {} unknown",
            s.healthy, s.degraded, s.unhealthy, s.unknown
        ));
        print(&format!(
            "tasks: {} running, {} waiting; alerts: {} open, {} not acknowledged",
            tasks.running, tasks.queued, overall.alerts_open, overall.alerts_firing
        ));
    }
    Ok(exit_code(overall.status))
}
