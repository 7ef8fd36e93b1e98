//! Periodic evaluation of the rules on forecasts of full disks. For a server that does not answer nothing changes.
//! Servers are evaluated one after the other with pauses, so that polls are not delayed.

use super::evaluate::{InForce, Transition};
use super::trend::{self, BEFORE_S, Trend, WINDOW_S};
use super::{Firing, Rule, in_force, queries, watches, write};
use crate::app::App;
use crate::base::clock::{self, Duration, HOUR, Ms, SECOND};
use crate::base::error::Result;
use crate::base::id::{Id, Server};
use crate::base::process::Cancel;
use crate::features::fleet::latest;
use crate::features::fleet::metrics::{Disk, SERVERS};
use crate::features::fleet::servers;
use crate::lang::Lang;
use crate::lang::format::{bytes, duration, number};
use crate::schedule::{Periodic, Work};
use crate::series::{self, Series, Store, Window};

/// Interval of the evaluation: a disk that fills within a day is reported in time.
const EVERY: Duration = Duration::from_secs(900);
/// Polls of the last two hours may not be in the rollups yet; a server that was silent for longer is skipped.
const SILENT_MS: Ms = 2 * HOUR;
/// Points of the last hours and of the days before, in seconds.
const STEP_S: u32 = 600;
const STEP_BEFORE_S: u32 = 3_600;
/// Servers between two pauses, and the pause: 10 s in all for ten thousand servers.
const SERVERS_AT_ONCE: usize = 50;
const REST: Duration = Duration::from_millis(50);

pub const PERIODIC: Periodic = Periodic {
    name: "metrics.filling",
    every: EVERY,
    run: Work::Long(forecast),
};

fn forecast(app: &App, cancel: &Cancel) -> Result<()> {
    let (in_force, all) = app.db.read(|conn| {
        Ok((
            in_force(app, conn, &SERVERS, Rule::is_of_trends)?,
            servers::states(conn)?,
        ))
    })?;
    if in_force.is_empty() {
        return Ok(());
    }
    let store = Store::new(app.metrics.clone());
    for part in all.chunks(SERVERS_AT_ONCE) {
        let mut transitions = Vec::new();
        for server in part.iter().filter(|server| server.status == "ok") {
            transitions.extend(transitions_on(app, &store, &in_force, Id::new(server.id))?);
        }
        if !transitions.is_empty() {
            app.db.write(|tx| write(app, tx, &transitions))?;
        }
        if cancel.wait(REST) {
            break;
        }
    }
    Ok(())
}

/// Transitions of this server.
fn transitions_on(app: &App, store: &Store, in_force: &[InForce], server: Id<Server>) -> Result<Vec<Transition>> {
    let mine: Vec<&InForce> = in_force.iter().filter(|rule| rule.holds_on(server.get())).collect();
    let now = clock::now();
    let last = latest::of(&app.metrics, [server])?.remove(&server);
    if mine.is_empty() || last.is_none_or(|last| (now - last.at_ms).abs() > SILENT_MS) {
        return Ok(Vec::new());
    }
    let mut transitions = Vec::new();
    let now_s = now / SECOND;
    let lines = disks_of(store, server, &window(STEP_S, now_s - WINDOW_S, now_s))?;
    let firing = app
        .db
        .read(|conn| queries::firing(conn, SERVERS.name, None, Some(server.get())))?;
    let disks: Vec<Filling> = lines.iter().filter_map(|line| Filling::of(line, now)).collect();
    for rule in mine {
        let limit = &rule.rule.fields.limit;
        for fires in firing.iter().filter(|f| f.rule == rule.rule.id) {
            let disk = disks.iter().find(|d| *d.mount == *fires.part);
            let hours = match disk {
                None => f64::INFINITY, // it is gone
                Some(Filling { trend: Some(trend), .. }) => trend.hours,
                Some(_) => continue, // nobody can tell: we were away
            };
            let is_over = if fires.revision == rule.rule.revision {
                limit.is_fine(hours)
            } else {
                !limit.is_bad(hours)
            };
            if is_over {
                transitions.push(over(rule, fires, disk));
            }
        }
        for disk in disks.iter().filter(|d| rule.wants(d.mount)) {
            let fires = || firing.iter().any(|f| f.rule == rule.rule.id && *f.part == *disk.mount);
            let Some(trend) = disk.trend.as_ref().filter(|t| limit.is_bad(t.hours) && !fires()) else {
                continue;
            };
            let before = disks_of(
                store,
                server,
                &window(STEP_BEFORE_S, now_s - BEFORE_S, now_s - WINDOW_S),
            )?;
            let most = before
                .iter()
                .filter(|line| line.key == disk.key)
                .flat_map(|line| &line.points);
            let most = most.map(|(.., most)| *most).max_by(f64::total_cmp);
            if trend::is_new(disk.percent, most) {
                transitions.push(Transition {
                    rule: rule.rule.clone(),
                    subject: (SERVERS.name, server.get()),
                    part: disk.mount.into(),
                    fires: true,
                    values: disk.values(),
                    disk: None,
                    why: Some(disk.words(trend, capacity(app, server, disk.mount)?)),
                    lines: Vec::new(),
                });
            }
        }
    }
    Ok(transitions)
}

fn disks_of(store: &Store, server: Id<Server>, window: &Window) -> Result<Vec<Series>> {
    store.history_of((SERVERS.name, server.get()), watches::DISK, window)
}

fn window(step_s: u32, from: i64, to: i64) -> Window {
    let second = |at: i64| u32::try_from(at).unwrap_or(0);
    Window::of_steps(step_s, second(from), second(to))
}

/// A recently measured disk.
struct Filling<'a> {
    key: &'a str,
    mount: &'a str,
    percent: f64,
    trend: Option<Trend>,
}

impl Filling<'_> {
    fn of(line: &Series, now: Ms) -> Option<Filling<'_>> {
        let points: Vec<(i64, f64)> = line.points.iter().map(|(at, mean, ..)| (at / SECOND, *mean)).collect();
        let (at, ..) = line.points.last()?;
        let (_, percent) = points.last()?;
        (now - at <= SILENT_MS).then(|| Filling {
            key: &line.key,
            mount: series::split(&line.key).1,
            percent: *percent,
            trend: trend::estimate(&points),
        })
    }

    /// Hourly values of the period that is evaluated.
    fn values(&self) -> Vec<(Ms, f64)> {
        let steps = self.trend.iter().flat_map(|t| t.steps.iter().rev().step_by(2));
        let mut values: Vec<(Ms, f64)> = steps
            .map(|(at, value)| (at * SECOND, (value * 10.0).round() / 10.0))
            .collect();
        values.reverse();
        values
    }

    /// `/srv fills by 3.2 GiB an hour and is full in 9 h`
    fn words(&self, trend: &Trend, capacity: Option<f64>) -> String {
        let percent = format!("{} %", number(Lang::En, trend.per_hour, 1));
        let speed = capacity.map_or(percent, |all| bytes(Lang::En, all * trend.per_hour / 100.0));
        let left = duration(Lang::En, (trend.hours * 60.0).round() as Ms * clock::MINUTE);
        format!("{} fills by {speed} an hour and is full in {left}", self.mount).replace('\u{a0}', " ")
    }
}

fn over(rule: &InForce, fires: &Firing, disk: Option<&Filling>) -> Transition {
    let why = match disk {
        None => format!("{} is not there any more", fires.part),
        Some(disk) if disk.trend.as_ref().is_some_and(|t| t.hours.is_finite()) => {
            format!("{} fills more slowly", fires.part)
        }
        Some(_) => format!("{} does not fill any more", fires.part),
    };
    Transition {
        rule: rule.rule.clone(),
        subject: fires.subject,
        part: fires.part.clone(),
        fires: false,
        values: disk.map_or_else(Vec::new, Filling::values),
        disk: None,
        why: Some(why),
        lines: Vec::new(),
    }
}

/// Bytes that users can store on it.
fn capacity(app: &App, server: Id<Server>, mount: &str) -> Result<Option<f64>> {
    let Some(text) = latest::disks(&app.metrics, server)? else {
        return Ok(None);
    };
    let disks: Vec<Disk> = serde_json::from_str(text.get()).unwrap_or_default();
    let disk = disks.into_iter().find(|d| d.mount == mount);
    Ok(disk.and_then(|d| {
        let (used, percent) = (d.used?, d.percent.filter(|p| *p > 1.0)?);
        Some(used as f64 / percent * 100.0)
    }))
}
