//! The overview and the first run.

use super::search;
use crate::access::Role;
use crate::access::right::{self, Read, may};
use crate::base::clock::{self, DAY, HOUR, Ms};
use crate::base::error::Result;
use crate::features::fleet::latest::Line;
use crate::features::fleet::servers::{HostKeyState, State};
use crate::features::fleet::servers::{Known, Why, count, counts_by_lamp, known};
use crate::features::house::tasks::{TaskRow, task_row};
use crate::features::proxy::domains;
use crate::features::watch::alerts;
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::request::Method::Get;
use crate::http::route::{Ctx, Route, route};
use crate::http::view::{Markup, Prepared, bars, spark};
use crate::lang::Locale;
use crate::task::{self, Status, queue};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/", may(Read, right::Dashboard), home),
    route(Get, "/search", may(Read, right::Dashboard), search::show).query(search::QUESTION),
];

/// Rows of each list on the overview.
const ROWS: usize = 6;
/// Maximum streets of the wall; the rest shares the last one.
const STREETS_MAX: usize = 12;

fn home(ctx: &Ctx) -> Result<Reply> {
    let (locale, role) = (page::locale(ctx)?, ctx.actor()?.role());
    let key = format!("home {} {} {}", locale.lang.tag(), locale.zone.name(), role.name());
    let kept = ctx.web.cache.get(ctx.app, &key, || {
        let all = known(ctx, "", "")?;
        Ok(match all.iter().all(|k| k.sample.is_none()) && all.len() <= 1 {
            true => ("dashboard/welcome.html", welcome(all.first())),
            false => ("dashboard/dashboard.html", dashboard(ctx, &all, &locale, role)?),
        })
    })?;
    page::show(ctx, kept.0, &kept.1)
}

#[derive(Serialize)]
struct Step {
    name: &'static str,
    /// `done`, `now` or `later`.
    state: &'static str,
}

#[derive(Serialize)]
struct Named<'a> {
    id: i64,
    name: &'a str,
}

/// The first run: three steps, each a lamp.
fn welcome(first: Option<&Known>) -> Prepared {
    let reached = first.is_some_and(|k| k.server.host_key_state == HostKeyState::Pinned && k.server.facts_at.is_some());
    let done = [first.is_some(), reached, false];
    let now = done.iter().position(|d| !d).unwrap_or(0);
    let steps = ["add", "reach", "glances"]
        .into_iter()
        .enumerate()
        .map(|(n, name)| Step {
            name,
            state: if done[n] {
                "done"
            } else if n == now {
                "now"
            } else {
                "later"
            },
        });
    let content = serde_json::json!({
        "steps": steps.collect::<Vec<_>>(),
        "server": first.map(|k| Named { id: k.server.id.get(), name: &k.server.fields.name }),
    });
    Prepared::of(content)
}

/// The counters with their small figures.
#[derive(Default, Serialize)]
struct Nums {
    answer: u64,
    cpu: Option<f64>,
    cpu_95: Option<f64>,
    cpu_spark: String,
    mem: Option<f64>,
    mem_95: Option<f64>,
    mem_spark: String,
    disk: Option<f64>,
    disk_name: String,
    domains: i64,
    domains_tls: i64,
    alerts: i64,
    acknowledged: i64,
    alert_bars: String,
    tasks: i64,
    tasks_ok: usize,
    tasks_run: usize,
    tasks_failed: usize,
    task_bars: String,
}

#[derive(Serialize)]
struct Street<'a> {
    tag: Option<&'a str>,
    lit: usize,
    total: usize,
    lamps: Markup,
}

#[derive(Serialize)]
struct Lamp<'a> {
    id: i64,
    name: &'a str,
    seen: Option<Ms>,
    shares: String,
    why: &'a Why,
}

#[derive(Serialize)]
struct Need<'a> {
    id: i64,
    name: &'a str,
    why: &'a Why,
}

#[derive(Serialize)]
struct Longest<'a> {
    id: i64,
    name: &'a str,
    since: Ms,
}

#[derive(Serialize)]
struct Dashboard<'a> {
    counts: HashMap<&'static str, i64>,
    longest: Option<Longest<'a>>,
    last_poll: Option<Ms>,
    nums: Nums,
    streets: Vec<Street<'a>>,
    needs: Vec<Need<'a>>,
    domain_needs: Vec<domains::Need>,
    needs_more: usize,
    tasks: Vec<TaskRow>,
    alerts: Vec<alerts::Row>,
}

fn dashboard(ctx: &Ctx, all: &[Known], locale: &Locale, role: Role) -> Result<Prepared> {
    let counts = count(all);
    // Silenced servers are left out.
    let needy: Vec<_> = all
        .iter()
        .filter(|k| k.server.silenced_until.is_none())
        .filter(|k| k.server.state >= State::Degraded || matches!(k.why.kind, "key_pending" | "key_changed"))
        .collect();
    let since = clock::now() - DAY;
    let (tasks, recent_alerts, firing, acknowledged, (domains, domains_tls), domain_needs) =
        ctx.app.db.read(|conn| {
            let tasks = task::Filter {
                limit: TASKS_COUNTED,
                ..task::Filter::default()
            };
            let alerts = alerts::Filter {
                limit: 500,
                since,
                ..alerts::Filter::default()
            };
            let acked = alerts::Filter {
                state: "acknowledged",
                limit: 1,
                ..alerts::Filter::default()
            };
            Ok((
                queue::list(conn, &tasks)?.0,
                alerts::list(conn, &alerts, &role)?.0,
                alerts::firing(conn)?,
                alerts::list(conn, &acked, &role)?.1,
                domains::totals(conn)?,
                domains::needs(conn, ROWS.saturating_sub(needy.len()).max(ROWS / 3))?,
            ))
        })?;
    let day: Vec<_> = tasks.iter().filter(|t| t.created_at >= since).collect();
    let ended = |status| day.iter().filter(|t| t.status == status).count();
    let fullest = all
        .iter()
        .filter_map(|k| Some((k.sample.as_ref()?.disk_max_percent?, k)));
    let fullest = fullest.max_by(|a, b| a.0.total_cmp(&b.0));
    let share = |pick: fn(&Known) -> Option<f64>| {
        let mut v: Vec<f64> = all
            .iter()
            .filter(|k| k.server.state != State::Down)
            .filter_map(pick)
            .collect();
        v.sort_by(f64::total_cmp);
        let at = |part: f64| v.get(((v.len() as f64 - 1.0) * part).round() as usize).copied();
        (at(0.5), at(0.95))
    };
    let (cpu, cpu_95) = share(|k| k.sample.as_ref()?.cpu_percent);
    let (mem, mem_95) = share(|k| k.sample.as_ref()?.mem_percent);
    let failed = |t: &&&task::Task| matches!(t.status, Status::Failed | Status::Interrupted);
    let nums = Nums {
        answer: all.iter().filter(|k| k.server.availability.status == "ok").count() as u64,
        cpu,
        cpu_95,
        cpu_spark: medians(all, |k| k.spark.cpu()),
        mem,
        mem_95,
        mem_spark: medians(all, |k| k.spark.mem()),
        disk: fullest.map(|(v, _)| v),
        disk_name: fullest.map(|(_, k)| place_of_disk(k)).unwrap_or_default(),
        domains,
        domains_tls,
        alerts: firing,
        acknowledged,
        alert_bars: hours(recent_alerts.iter().map(|a| a.first_at)),
        tasks: day.len() as i64,
        tasks_ok: ended(Status::Ok),
        tasks_run: ended(Status::Running) + ended(Status::Queued),
        tasks_failed: day.iter().filter(failed).count(),
        task_bars: [
            hours(day.iter().filter(failed).map(|t| t.created_at)),
            hours(day.iter().filter(|t| !failed(t)).map(|t| t.created_at)),
        ]
        .join("|"),
    };
    let longest = all
        .iter()
        .filter(|k| k.server.state == State::Down)
        .min_by_key(|k| k.server.state_since);
    let content = Dashboard {
        counts: counts_by_lamp(&counts),
        longest: longest.map(|k| Longest {
            id: k.server.id.get(),
            name: &k.server.fields.name,
            since: k.server.state_since,
        }),
        last_poll: all.iter().filter_map(|k| Some(k.sample.as_ref()?.at)).max(),
        nums,
        streets: streets(ctx, locale, all)?,
        needs_more: needy.len().saturating_sub(ROWS) + domain_needs.1,
        domain_needs: domain_needs.0,
        needs: needy
            .iter()
            .take(ROWS)
            .map(|k| Need {
                id: k.server.id.get(),
                name: &k.server.fields.name,
                why: &k.why,
            })
            .collect(),
        tasks: tasks
            .into_iter()
            .take(ROWS)
            .map(|t| task_row(ctx.web, locale.lang, t))
            .collect(),
        alerts: recent_alerts.into_iter().take(ROWS).map(alerts::row).collect(),
    };
    Ok(Prepared::of(content))
}

/// `web-1 /srv`; without the part for the root.
fn place_of_disk(k: &Known) -> String {
    let mount = k.sample.as_ref().and_then(|s| s.disk_max_mount.as_deref());
    match mount.filter(|mount| *mount != "/") {
        Some(mount) => format!("{} {mount}", k.server.fields.name),
        None => k.server.fields.name.clone(),
    }
}

/// Tasks read for the counter of a day.
const TASKS_COUNTED: i64 = 500;

/// Number in each of the last 24 hours.
fn hours(times: impl Iterator<Item = Ms>) -> String {
    let now = clock::now();
    let mut counts = [0; 24];
    for at in times {
        let ago = (now - at).div_euclid(HOUR);
        if (0..24).contains(&ago) {
            counts[23 - ago as usize] += 1;
        }
    }
    bars(counts)
}

/// Median of the fleet at each point of the last hour.
fn medians(all: &[Known], line: fn(&Known) -> Line) -> String {
    let lines: Vec<Vec<_>> = all.iter().map(|k| line(k).points().collect()).collect();
    let points = lines.iter().map(Vec::len).max().unwrap_or(0);
    spark((0..points).map(|i| {
        let mut v: Vec<u8> = lines.iter().filter_map(|line| *line.get(i)?).collect();
        v.sort_unstable();
        v.get(v.len() / 2).map(|v| f64::from(*v))
    }))
}

/// The wall: one street per first tag.
fn streets<'a>(ctx: &Ctx, locale: &Locale, all: &'a [Known]) -> Result<Vec<Street<'a>>> {
    let mut by_tag: BTreeMap<Option<&str>, Vec<&Known>> = BTreeMap::new();
    for k in all {
        by_tag
            .entry(k.server.fields.tags.first().map(String::as_str))
            .or_default()
            .push(k);
    }
    let mut streets: Vec<_> = by_tag.into_iter().collect();
    streets.sort_by_key(|(tag, lamps)| (tag.is_none(), std::cmp::Reverse(lamps.len())));
    if streets.len() > STREETS_MAX {
        let rest: Vec<_> = streets.drain(STREETS_MAX - 1..).flat_map(|(_, lamps)| lamps).collect();
        streets.push((None, rest));
    }
    streets
        .into_iter()
        .map(|(tag, lamps)| street(ctx, locale, tag, lamps))
        .collect()
}

fn street<'a>(ctx: &Ctx, locale: &Locale, tag: Option<&'a str>, mut lamps: Vec<&'a Known>) -> Result<Street<'a>> {
    lamps.sort_by(|a, b| a.server.fields.name.cmp(&b.server.fields.name));
    let lamp = |k: &'a Known| {
        let s = k.sample.as_ref();
        let whole = |v: Option<f64>| v.map(|v| format!("{v:.0}")).unwrap_or_default();
        Lamp {
            id: k.server.id.get(),
            name: &k.server.fields.name,
            seen: s.map(|s| s.at),
            shares: s.map_or(String::new(), |s| {
                format!(
                    "{} {} {}",
                    whole(s.cpu_percent),
                    whole(s.mem_percent),
                    whole(s.disk_max_percent)
                )
            }),
            why: &k.why,
        }
    };
    let rows = lamps.iter().map(|k| (k.server.id.get(), k.stamp(), || lamp(k)));
    let markup = ctx.web.view.rows("dashboard/lamp.html", locale, rows)?;
    let lit = lamps.iter().filter(|k| k.server.state == State::Up).count();
    Ok(Street {
        tag,
        lit,
        total: lamps.len(),
        lamps: markup,
    })
}
