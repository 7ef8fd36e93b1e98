//! Lamplighter's own metrics: resources, queues, failures. Without names of servers or people.

use super::push;
use crate::base::error::Result;
use crate::base::exposition::{Kind, Text};
use crate::base::sys;
use crate::features::fleet::metrics;
use crate::features::fleet::servers::State;
use crate::features::front::health::Overall;
use crate::features::watch::notifications;
use crate::http::edge::EdgeHandle;
use crate::http::route::{Ctx, Route};
use crate::http::route_metrics::{BOUNDS_US, CLASSES};
use crate::schedule;
use crate::task::{Status, queue};

/// Appends all families.
pub fn write(ctx: &Ctx, out: &mut Text) -> Result<()> {
    let app = ctx.app;
    out.family(
        "lamplighter_build_info",
        Kind::Gauge,
        "Always 1; the version is the label.",
    );
    out.value("lamplighter_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    process(out, app.started_at as f64 / 1e3);

    out.family(
        "lamplighter_database_size_bytes",
        Kind::Gauge,
        "Size of a database with its log.",
    );
    let names = ["state", "metrics", "journal"].into_iter();
    let databases = names.zip(app.databases()).map(|(name, db)| Ok((name, db.size()?)));
    let databases = databases.collect::<Result<Vec<_>>>()?;
    for (name, size) in &databases {
        let bytes = (size.file + size.wal) as f64;
        out.value("lamplighter_database_size_bytes", &[("database", name)], bytes);
    }
    out.family("lamplighter_database_free_bytes", Kind::Gauge, "Of that, empty pages.");
    for (name, size) in &databases {
        out.value(
            "lamplighter_database_free_bytes",
            &[("database", name)],
            size.free as f64,
        );
    }
    if let Ok((free, _)) = sys::disk(&app.config.data_dir) {
        let help = "Left on the disk of the databases.";
        out.one("lamplighter_disk_free_bytes", Kind::Gauge, help, free as f64);
    }

    requests(ctx, out);
    let overall = Overall::of(app)?;
    let (tasks, messages, job_runs) = app.db.read(|conn| {
        Ok((
            queue::counts(conn)?,
            notifications::backlog(conn)?,
            schedule::job_runs(conn)?,
        ))
    })?;
    let name = "lamplighter_state";
    out.family(name, Kind::Gauge, metrics::STATE_HELP);
    for (part, state) in overall.parts().into_iter().chain([("all", overall.state)]) {
        out.value(name, &[("part", part)], metrics::state_figure(state).unwrap_or(0.0));
    }
    out.family("lamplighter_servers", Kind::Gauge, "Servers by their state.");
    for state in State::ALL {
        let n = overall.parts.servers.counts.of(state);
        out.value("lamplighter_servers", &[("state", state.name())], n as f64);
    }
    let silenced = overall.parts.servers.counts.silenced as f64;
    let help = "Silenced servers.";
    out.one("lamplighter_servers_silenced", Kind::Gauge, help, silenced);
    out.family("lamplighter_domains", Kind::Gauge, "Domains by their lamp.");
    for (lamp, n) in overall.parts.domains.by_lamp() {
        out.value("lamplighter_domains", &[("state", lamp)], n as f64);
    }
    out.family(
        "lamplighter_tasks",
        Kind::Gauge,
        "Tasks that are kept, by status; queued ones wait.",
    );
    // States without tasks are 0, so that the series always exist.
    for (_, status) in Status::NAMES {
        let n = tasks.iter().find(|(name, _)| name == status).map_or(0, |(_, n)| *n);
        out.value("lamplighter_tasks", &[("status", status)], n as f64);
    }
    out.one(
        "lamplighter_messages_waiting",
        Kind::Gauge,
        "Messages to be sent.",
        messages as f64,
    );
    let help = "Alerts that are not over.";
    out.one("lamplighter_alerts_open", Kind::Gauge, help, overall.alerts_open as f64);
    let help = "Open alerts that are not acknowledged.";
    let firing = overall.alerts_firing as f64;
    out.one("lamplighter_alerts_firing", Kind::Gauge, help, firing);
    let help = "When a periodic work last ended.";
    out.family("lamplighter_periodic_last_run_timestamp_seconds", Kind::Gauge, help);
    for job in job_runs.iter().filter(|job| job.last_at > 0) {
        let name = "lamplighter_periodic_last_run_timestamp_seconds";
        out.value(name, &[("name", &job.name)], job.last_at as f64 / 1e3);
    }
    let help = "Rounds in a row that a periodic work has failed.";
    out.family("lamplighter_periodic_failed", Kind::Gauge, help);
    for job in &job_runs {
        out.value("lamplighter_periodic_failed", &[("name", &job.name)], job.fails as f64);
    }
    polls(ctx, out)?;
    push::figures(app, out)
}

fn process(out: &mut Text, started_s: f64) {
    out.one(
        "process_start_time_seconds",
        Kind::Gauge,
        "When it was started.",
        started_s,
    );
    let Ok(usage) = sys::usage() else { return };
    let help = "Memory in use, without what is swapped out.";
    out.one(
        "process_resident_memory_bytes",
        Kind::Gauge,
        help,
        usage.resident as f64,
    );
    let help = "CPU time used, user and system.";
    out.one("process_cpu_seconds_total", Kind::Counter, help, usage.cpu_s);
    out.one("process_threads", Kind::Gauge, "Threads.", usage.threads as f64);
    out.one(
        "process_open_fds",
        Kind::Gauge,
        "Open file descriptors.",
        usage.files as f64,
    );
}

/// Requests by route, and connections and refusals of the edge.
fn requests(ctx: &Ctx, out: &mut Text) {
    let asked: Vec<_> = ctx
        .web
        .routes
        .counted()
        .filter(|(_, c)| c.classes != [0; CLASSES.len()])
        .collect();
    let labels = |route: &Option<&Route>| route.map_or(("other", "other"), |r| (r.method.name(), r.path));
    let name = "lamplighter_http_requests_total";
    out.family(name, Kind::Counter, "Requests answered, by route and class of status.");
    for (route, counted) in &asked {
        let (method, path) = labels(route);
        for (class, n) in CLASSES.iter().zip(counted.classes).filter(|(_, n)| *n > 0) {
            out.value(
                name,
                &[("method", method), ("route", path), ("status", class)],
                n as f64,
            );
        }
    }
    let help = "How long answers took to make, by route; a stream counts until it is handed over.";
    out.family("lamplighter_http_request_duration_seconds", Kind::Histogram, help);
    let bounds = BOUNDS_US.map(|us| (us as f64 / 1e6).to_string());
    for (route, counted) in &asked {
        let (method, path) = labels(route);
        let mut n = 0;
        for (bound, more) in bounds.iter().map(String::as_str).chain(["+Inf"]).zip(counted.buckets) {
            n += more;
            let labels = [("method", method), ("route", path), ("le", bound)];
            out.value("lamplighter_http_request_duration_seconds_bucket", &labels, n as f64);
        }
        let labels = [("method", method), ("route", path)];
        let sum = counted.sum_us as f64 / 1e6;
        out.value("lamplighter_http_request_duration_seconds_sum", &labels, sum);
        out.value("lamplighter_http_request_duration_seconds_count", &labels, n as f64);
    }
    let Some(edge) = ctx.web.edge.get().map(EdgeHandle::stats) else {
        return;
    };
    let name = "lamplighter_http_refused_total";
    out.family(
        name,
        Kind::Counter,
        "Requests that were turned away at the door, by why.",
    );
    for (why, n) in edge.refused {
        out.value(name, &[("reason", why)], n as f64);
    }
    let gauges: [(&str, &str, usize); 3] = [
        (
            "lamplighter_http_connections",
            "Connections that are open.",
            edge.connections,
        ),
        (
            "lamplighter_http_requests_in_flight",
            "Requests being answered.",
            edge.in_flight,
        ),
        (
            "lamplighter_stream_clients",
            "Live streams that are open.",
            edge.streams,
        ),
    ];
    for (name, help, value) in gauges {
        out.one(name, Kind::Gauge, help, value as f64);
    }
    let help = "Live streams that were begun.";
    out.one(
        "lamplighter_streams_total",
        Kind::Counter,
        help,
        edge.streams_served as f64,
    );
}

fn polls(ctx: &Ctx, out: &mut Text) -> Result<()> {
    let offline = metrics::offline_since(&ctx.app.metrics)?;
    let help = "1: Lamplighter's own network seems to be down.";
    let down = f64::from(u8::from(offline.is_some()));
    out.one("lamplighter_controller_offline", Kind::Gauge, help, down);
    let Some(stats) = metrics::poll_stats(&ctx.app.metrics)? else {
        return Ok(());
    };
    let help = "Polls since the poller was started, by how they ended.";
    out.family("lamplighter_polls_total", Kind::Counter, help);
    for (result, n) in [("ok", stats.ok), ("failed", stats.failed)] {
        out.value("lamplighter_polls_total", &[("result", result)], n as f64);
    }
    let help = "How long polls took, good and bad.";
    out.family("lamplighter_poll_duration_seconds", Kind::Summary, help);
    out.value("lamplighter_poll_duration_seconds_sum", &[], stats.took_ms as f64 / 1e3);
    out.value(
        "lamplighter_poll_duration_seconds_count",
        &[],
        (stats.ok + stats.failed) as f64,
    );
    let gauges: [(&str, &str, f64); 5] = [
        (
            "lamplighter_poll_targets",
            "Servers that are polled.",
            stats.targets as f64,
        ),
        (
            "lamplighter_poll_slow_targets",
            "Of those, slow the last time.",
            stats.slow as f64,
        ),
        ("lamplighter_poll_threads", "Threads that poll.", stats.threads as f64),
        ("lamplighter_poll_busy_threads", "Of those, busy.", stats.busy as f64),
        (
            "lamplighter_poll_late_seconds",
            "How late the latest poll was.",
            stats.late_ms as f64 / 1e3,
        ),
    ];
    for (name, help, value) in gauges {
        out.one(name, Kind::Gauge, help, value);
    }
    Ok(())
}
