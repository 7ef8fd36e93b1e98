//! Stored schedules: a cron expression in a time zone, and the task to enqueue when it is due. Enqueuing and recording
//! are one transaction, so each due time enqueues exactly one task, whatever crashes in between.
//!
//! A missed time (daemon not running, wrong clock) is skipped or made up for by one task, as the schedule says. A time
//! is also skipped while the schedule's last task has not ended. When the clock is put back, handled times are not
//! repeated, unless they are more than a day ahead: then the clock was wrong.

use super::cron::Cron;
use super::model::{Fields, Missed, Schedule};
use super::queries;
use super::service::Service;
use crate::access::Allowed;
use crate::access::right::{Deploy, Servers};
use crate::app::App;
use crate::audit::{self, By, Snapshot};
use crate::base::clock::{self, DAY, Duration, HOUR, Instant, MINUTE, Ms};
use crate::base::error::{self, Error, Field, Result};
use crate::base::id::{self, Id};
use crate::base::log;
use crate::base::zone::Zone;
use crate::db::{Conn, Tx};
use crate::kinds;
use crate::notice;
use crate::task::{Kind, NewTask, queue};

/// Later than this counts as missed.
const LATE_MAX: Ms = 5 * MINUTE;
/// Steps of the clock larger than this are no corrections.
const STEP_MAX: Ms = 90_000;
/// Maximum number of schedules.
const SCHEDULES_MAX: usize = 500;
/// Maximum characters of a name.
const NAME_MAX: usize = 100;
/// Maximum bytes of an input.
const INPUT_MAX: usize = 64 << 10;
/// A schedule that cannot be evaluated is tried again after this.
const ODD_PAUSE: Ms = HOUR;

/// The thread that follows them.
pub const SERVICES: &[Service] = &[Service {
    name: "schedule.follow",
    every: Duration::from_secs(10),
    prepare: |_| Ok(()),
    run: |run| {
        let mut follower = Follower::default();
        run.rounds(&run.app.wakes.tasks, || {
            let now = clock::now();
            let next = follower.round(run.app, clock::mono(), now)?;
            Ok(next.map(|at| Duration::from_millis((at - now).max(1) as u64)))
        });
        Ok(())
    },
}];

/// Who may manage schedules: whoever may start their tasks.
pub type Planner<'a> = Allowed<'a, Deploy, Servers>;

/// Adds a schedule. Error: invalid fields.
pub fn create(app: &App, tx: &Tx, fields: Fields, by: Planner, now: Ms) -> Result<Id<id::Schedule>> {
    let all = queries::schedules(tx)?;
    if all.len() >= SCHEDULES_MAX {
        return Err(wrong(
            "name",
            "too_many",
            format!("There are {SCHEDULES_MAX} schedules already."),
        ));
    }
    let next = check(app, &fields, &all, None, now)?;
    let id = queries::insert_schedule(tx, &fields, by.actor(), next, now)?;
    note(app, tx, "schedule.create", (id, &fields), by.into(), &Snapshot::none())?;
    Ok(id)
}

/// Changes a schedule; times before now are not made up for. Error: invalid fields.
pub fn update(app: &App, tx: &Tx, id: Id<id::Schedule>, fields: Fields, by: Planner, now: Ms) -> Result<()> {
    get(tx, id)?;
    let next = check(app, &fields, &queries::schedules(tx)?, Some(id), now)?;
    let before = snapshot(tx, id)?;
    queries::update_schedule(tx, id, &fields, by.actor(), next, now)?;
    note(app, tx, "schedule.update", (id, &fields), by.into(), &before)
}

/// Removes a schedule; its tasks stay.
pub fn remove(app: &App, tx: &Tx, id: Id<id::Schedule>, by: Planner) -> Result<()> {
    let schedule = get(tx, id)?;
    let before = snapshot(tx, id)?;
    queries::remove_schedule(tx, id)?;
    note(app, tx, "schedule.delete", (id, &schedule.fields), by.into(), &before)
}

/// What people say of a schedule, without what has come of it.
fn snapshot(conn: &Conn, id: Id<id::Schedule>) -> Result<Snapshot> {
    let runs = |name: &str| name.starts_with("last_") || ["next_run", "changed_at"].contains(&name);
    Ok(Snapshot::of(conn, "schedules", id.get())?.without(runs))
}

/// One schedule.
pub fn get(conn: &Conn, id: Id<id::Schedule>) -> Result<Schedule> {
    let all = queries::schedules(conn)?;
    all.into_iter()
        .find(|s| s.id == id)
        .ok_or_else(|| Error::not_found("schedule"))
}

/// All of them by name.
pub fn all(conn: &Conn) -> Result<Vec<Schedule>> {
    queries::schedules(conn)
}

fn note(
    app: &App,
    tx: &Tx,
    action: &str,
    (id, fields): (Id<id::Schedule>, &Fields),
    by: By,
    before: &Snapshot,
) -> Result<()> {
    let data = serde_json::json!({
        "kind": fields.kind, "target": fields.target.2, "cron": fields.cron, "zone": fields.zone,
        "missed": fields.missed.name(), "enabled": fields.enabled,
    });
    let (object, after) = (format!("schedule {id} {}", fields.name), snapshot(tx, id)?);
    audit::change(tx, &app.vault, by, action, &object, &data, [before, &after])?;
    let wake = app.wakes.tasks.clone();
    tx.after_commit(move || wake.ring());
    Ok(())
}

fn wrong(field: &'static str, code: &'static str, message: String) -> Error {
    Error::invalid(vec![Field { field, code, message }])
}

/// Validates a schedule; returns its first due time, `None` when it is off.
fn check(app: &App, f: &Fields, all: &[Schedule], id: Option<Id<id::Schedule>>, now: Ms) -> Result<Option<Ms>> {
    if f.name.trim().is_empty() || f.name.chars().count() > NAME_MAX {
        return Err(wrong(
            "name",
            "bad_name",
            format!("A name has 1 to {NAME_MAX} characters."),
        ));
    }
    if all
        .iter()
        .any(|other| other.fields.name == f.name && Some(other.id) != id)
    {
        return Err(wrong(
            "name",
            "taken",
            format!("There is a schedule “{}” already.", f.name),
        ));
    }
    if kind_of(app, &f.kind).is_none() {
        return Err(wrong("kind", "bad_choice", "There is no such kind of task.".into()));
    }
    if f.input.to_string().len() > INPUT_MAX {
        return Err(wrong(
            "input",
            "too_long",
            format!("The input has {INPUT_MAX} bytes at most."),
        ));
    }
    let zone = Zone::load(&f.zone).map_err(|e| wrong("zone", "unknown_zone", e.say))?;
    let cron = Cron::parse(&f.cron).map_err(|say| wrong("cron", "bad_cron", say))?;
    Ok(cron.next_after(now, &zone).filter(|_| f.enabled))
}

fn kind_of(app: &App, name: &str) -> Option<&'static Kind> {
    app.registry
        .all::<Kind>()
        .iter()
        .copied()
        .find(|kind| kind.name == name)
}

/// Follows the schedules; remembers the last clock readings.
#[derive(Default)]
pub struct Follower {
    last: Option<(Instant, Ms)>,
}

impl Follower {
    /// Enqueues what is due at `now`; returns when the next one is due. The first round, and one after the clock was
    /// put back, corrects due times that are too far ahead.
    pub fn round(&mut self, app: &App, mono: Instant, now: Ms) -> Result<Option<Ms>> {
        let step = self.last.map(|(then, wall)| {
            let passed = mono.saturating_duration_since(then).as_millis() as Ms;
            now - wall - passed
        });
        if step.is_none_or(|step| step < -STEP_MAX) {
            if let Some(step) = step {
                let fields = [("by_s", &*(-step / 1_000).to_string())];
                log::warning(
                    "schedule",
                    "the clock was set back: due times are computed again",
                    &fields,
                );
            }
            set_right(app, now)?;
        }
        self.last = Some((mono, now));
        // What comes due meanwhile was missed when they go on.
        if app.db.read(notice::get)?.is_paused() {
            return Ok(None);
        }
        let is_due = |s: &Schedule| s.next_run.is_some_and(|at| at <= now);
        let due: Vec<Schedule> = app.db.read(queries::schedules)?.into_iter().filter(is_due).collect();
        for schedule in &due {
            app.db.write(|tx| {
                let now_stored = get(tx, schedule.id)?;
                match now_stored.next_run == schedule.next_run {
                    true => deal_with(app, tx, &now_stored, now),
                    false => Ok(()), // changed meanwhile
                }
            })?;
        }
        let all = app.db.read(queries::schedules)?;
        Ok(all.iter().filter_map(|s| s.next_run).min())
    }
}

/// Moves due times that lie further ahead than the expression gives from now on.
fn set_right(app: &App, now: Ms) -> Result<()> {
    for schedule in app.db.read(queries::schedules)? {
        let Ok((cron, zone)) = read(&schedule.fields) else {
            continue;
        };
        let next = cron.next_after(after(&schedule, now), &zone);
        if schedule.next_run > next && next.is_some() {
            app.db.write(|tx| queries::set_next_run(tx, schedule.id, next))?;
        }
    }
    Ok(())
}

/// Times after this are not handled yet.
fn after(schedule: &Schedule, now: Ms) -> Ms {
    match schedule.last_due {
        Some(last) if last > now && last - now <= DAY => last,
        _ => now,
    }
}

fn read(fields: &Fields) -> std::result::Result<(Cron, Zone), String> {
    Ok((Cron::parse(&fields.cron)?, Zone::load(&fields.zone).map_err(|e| e.say)?))
}

/// Handles one due time: enqueues a task or records why not; sets the next due time.
fn deal_with(app: &App, tx: &Tx, schedule: &Schedule, now: Ms) -> Result<()> {
    let due = schedule.next_run.unwrap_or(now);
    let f = &schedule.fields;
    let (next, task, result, say) = match read(f) {
        Err(say) => (Some(now + ODD_PAUSE), None, "failed", say), // a zone that tzdata no longer has
        Ok((cron, zone)) => {
            let next = cron.next_after(after(schedule, now).max(due), &zone);
            if now - due > LATE_MAX && f.missed == Missed::Skip {
                (next, None, "skipped", "It was missed.".into())
            } else {
                let (task, result, say) = put_in(app, tx, schedule, due)?;
                (next, task, result, say)
            }
        }
    };
    queries::set_dealt_with(tx, schedule.id, due, task, (result, &say), next)
}

/// Puts its task in now, whether it is due or off; that counts as no due time.
pub fn run_now(app: &App, tx: &Tx, id: Id<id::Schedule>, by: Planner) -> Result<Id<id::Task>> {
    let schedule = get(tx, id)?;
    let f = &schedule.fields;
    let gone = || {
        let say = "There is no such kind of task any more.";
        Error::new(error::Kind::Conflict, "schedule_kind_gone", say)
    };
    let new = NewTask {
        kind: kind_of(app, &f.kind).ok_or_else(gone)?.name,
        target: (&f.target.0, f.target.1, &f.target.2),
        input: f.input.clone(),
    };
    let task = queue::enqueue(tx, &app.wakes.tasks, &new, by)?;
    let data = serde_json::json!({ "task": task, "owner": schedule.owner });
    audit::append(
        tx,
        &app.vault,
        by,
        "schedule.run",
        &format!("schedule {id} {}", f.name),
        &data,
    )?;
    Ok(task)
}

type Put = (Option<Id<id::Task>>, &'static str, String);

fn put_in(app: &App, tx: &Tx, schedule: &Schedule, due: Ms) -> Result<Put> {
    let f = &schedule.fields;
    let Some(kind) = kind_of(app, &f.kind) else {
        return Ok((None, "failed", format!("There is no kind of task {} any more.", f.kind)));
    };
    let name = match kinds::target_kind(&f.target.0) {
        Some(row) => match (row.name_of)(tx, f.target.1)? {
            Some(name) => name,
            None => return Ok((None, "failed", format!("{} is not there any more.", f.target.2))),
        },
        None => f.target.2.clone(),
    };
    let new = NewTask {
        kind: kind.name,
        target: (&f.target.0, f.target.1, &name),
        input: f.input.clone(),
    };
    let by = Planner::by_daemon();
    match queue::enqueue(tx, &app.wakes.tasks, &new, by) {
        Ok(task) => {
            let data = serde_json::json!({ "task": task, "due": clock::rfc3339(due), "owner": schedule.owner });
            let object = format!("schedule {} {}", schedule.id, f.name);
            audit::append(tx, &app.vault, by, "schedule.run", &object, &data)?;
            Ok((Some(task), "queued", String::new()))
        }
        Err(e) if e.code == "task_open" => Ok((None, "open", e.say)),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::config::Config;
    use crate::base::registry::Registry;
    use crate::base::{file, random};
    use crate::task::{Class, Filter, Outcome, Task, Tries};
    use crate::vault;
    use std::path::PathBuf;
    use std::sync::Arc;

    static KINDS: [Kind; 1] = [Kind {
        name: "test.work",
        idempotent: true,
        class: Class::Quick,
        deadline: Duration::from_secs(60),
        tries: Tries::ONCE,
        locks: Kind::TARGET_ONLY,
        by_clock: None,
        run: |_| {
            Ok(Outcome {
                changed: 0,
                commit: None,
            })
        },
    }];

    struct House {
        app: App,
        dir: PathBuf,
        mono: Instant,
    }

    impl Drop for House {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }

    fn at(text: &str) -> Ms {
        clock::parse_utc(text).unwrap()
    }

    fn fields(name: &str, missed: Missed) -> Fields {
        Fields {
            name: name.into(),
            kind: "test.work".into(),
            target: ("thing".into(), name.len() as i64, "web".into()),
            input: serde_json::json!({ "force": true }),
            cron: "30 2 * * *".into(),
            zone: "Europe/Berlin".into(),
            missed,
            enabled: true,
        }
    }

    impl House {
        fn new() -> House {
            let dir = std::env::temp_dir().join(random::name());
            file::private_dir(&dir).unwrap();
            let key = vault::new_master_key();
            file::write_new(&dir.join("master.key"), key.reveal_for("a test's key file")).unwrap();
            let flags = [("DATA_DIR", dir.display().to_string())];
            let config = Config::load(&flags, None, &Default::default()).unwrap();
            let app = App::open(config, Arc::new(Registry::default().with(&KINDS))).unwrap();
            let mono = clock::mono();
            House { app, dir, mono }
        }

        fn add(&self, fields: Fields, now: &str) -> Result<Id<id::Schedule>> {
            let by = Planner::by_daemon();
            self.app.db.write(|tx| create(&self.app, tx, fields, by, at(now)))
        }

        fn get(&self, id: Id<id::Schedule>) -> Schedule {
            self.app.db.read(|conn| get(conn, id)).unwrap()
        }

        /// All tasks, newest first; waiting ones are ended.
        fn tasks(&self) -> Vec<Task> {
            let filter = Filter {
                limit: 100,
                ..Filter::default()
            };
            let tasks = self.app.db.read(|conn| queue::list(conn, &filter)).unwrap().0;
            for task in tasks.iter().filter(|task| !task.status.is_final()) {
                let end = |tx: &Tx| queue::cancel(tx, &self.app.wakes, task.id, Allowed::by_daemon());
                self.app.db.write(end).unwrap();
            }
            tasks
        }

        /// Both clocks have advanced to this time.
        fn round(&mut self, follower: &mut Follower, from: &mut Ms, to: &str) -> Option<Ms> {
            self.mono += Duration::from_millis((at(to) - *from).unsigned_abs());
            *from = at(to);
            follower.round(&self.app, self.mono, *from).unwrap()
        }
    }

    #[test]
    fn what_is_due_is_put_in_once_and_not_beside_itself() {
        let mut house = House::new();
        let mut now = at("2026-11-01T00:00");
        let id = house.add(fields("nightly", Missed::Skip), "2026-11-01T00:00").unwrap();
        let mut follower = Follower::default();
        let next = house.round(&mut follower, &mut now, "2026-11-01T00:00");
        assert_eq!(next, Some(at("2026-11-01T01:30")), "02:30 in Berlin");
        house.round(&mut follower, &mut now, "2026-11-01T01:29");
        assert_eq!(house.tasks().len(), 0);
        let next = house.round(&mut follower, &mut now, "2026-11-01T01:30");
        assert_eq!(next, Some(at("2026-11-02T01:30")));
        house.round(&mut follower, &mut now, "2026-11-01T01:31");
        let schedule = house.get(id);
        assert_eq!(
            (&*schedule.last_result, schedule.last_due),
            ("queued", Some(at("2026-11-01T01:30")))
        );
        // It has not ended when the next one is due.
        house.round(&mut follower, &mut now, "2026-11-02T01:30");
        assert_eq!(house.get(id).last_result, "open");
        let tasks = house.tasks();
        assert_eq!((tasks.len(), Some(tasks[0].id)), (1, house.get(id).last_task));
        assert_eq!(tasks[0].input, r#"{"force":true}"#);
        house.round(&mut follower, &mut now, "2026-11-03T01:30");
        assert_eq!(house.tasks().len(), 2);
    }

    #[test]
    fn what_was_missed_is_left_out_or_made_up_for_once() {
        let mut house = House::new();
        let mut now = at("2026-11-01T00:00");
        let skip = house.add(fields("skips", Missed::Skip), "2026-11-01T00:00").unwrap();
        let once = house
            .add(fields("catches up", Missed::Once), "2026-11-01T00:00")
            .unwrap();
        // The daemon comes back after three days.
        let next = house.round(&mut Follower::default(), &mut now, "2026-11-04T12:00");
        assert_eq!(next, Some(at("2026-11-05T01:30")));
        assert_eq!(
            (house.get(skip).last_result, house.get(once).last_result),
            ("skipped".into(), "queued".into())
        );
        assert_eq!(house.tasks().len(), 1, "one for three");
    }

    #[test]
    fn a_clock_that_goes_back_repeats_nothing_and_stops_nothing() {
        let mut house = House::new();
        let mut now = at("2026-11-01T00:00");
        let id = house.add(fields("nightly", Missed::Once), "2026-11-01T00:00").unwrap();
        let mut follower = Follower::default();
        house.round(&mut follower, &mut now, "2026-11-01T01:30");
        assert_eq!(house.tasks().len(), 1);
        // Ten minutes back: that night's run is done.
        let next = house.round(&mut follower, &mut now, "2026-11-01T01:20");
        assert_eq!(next, Some(at("2026-11-02T01:30")));
        // A year ahead, and right again.
        house.round(&mut follower, &mut now, "2027-11-01T12:00");
        assert_eq!(house.tasks().len(), 2, "one for a year");
        assert_eq!(house.get(id).next_run, Some(at("2027-11-02T01:30")));
        let next = house.round(&mut follower, &mut now, "2026-11-01T12:00");
        assert_eq!(
            next,
            Some(at("2026-11-03T01:30")),
            "that of the next night was dealt with"
        );
    }

    #[test]
    fn what_cannot_be_followed_is_not_stored() {
        let house = House::new();
        let now = "2026-11-01T00:00";
        house.add(fields("nightly", Missed::Skip), now).unwrap();
        let with = |change: fn(&mut Fields)| {
            let mut fields = fields("other", Missed::Skip);
            change(&mut fields);
            house.add(fields, now).map_err(|e| e.fields[0].field)
        };
        assert_eq!(with(|f| f.name = "nightly".into()), Err("name"));
        assert_eq!(with(|f| f.name = " ".into()), Err("name"));
        assert_eq!(with(|f| f.kind = "test.other".into()), Err("kind"));
        assert_eq!(with(|f| f.zone = "Europe/Nowhere".into()), Err("zone"));
        assert_eq!(with(|f| f.zone = "../etc/passwd".into()), Err("zone"));
        assert_eq!(with(|f| f.cron = "0 0 30 2 *".into()), Err("cron"));
        assert_eq!(with(|f| f.input = "x".repeat(INPUT_MAX).into()), Err("input"));
        // A schedule that is off is never due, until it is on.
        let off = with(|f| f.enabled = false).unwrap();
        assert_eq!(house.get(off).next_run, None);
        let by = Planner::by_daemon();
        let on = fields("other", Missed::Skip);
        let saved = |tx: &Tx| update(&house.app, tx, off, on.clone(), by, at(now));
        house.app.db.write(saved).unwrap();
        assert_eq!(house.get(off).next_run, Some(at("2026-11-01T01:30")));
        house.app.db.write(|tx| remove(&house.app, tx, off, by)).unwrap();
        assert_eq!(house.app.db.read(all).unwrap().len(), 1);
    }
}
