//! The queue with real workers. The work waits for a gate that the test opens.

use super::queue::{enqueue, enqueue_on};
use super::worker::{Run, Workers};
use super::*;
use crate::access::Allowed;
use crate::access::right::{Deploy, Servers};
use crate::app::App;
use crate::audit::By;
use crate::base::clock;
use crate::base::config::Config;
use crate::base::parallel::lock;
use crate::base::process;
use crate::base::{file, random};
use crate::vault;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;

/// Targets whose gate is open; each test has numbers of its own.
static OPEN: LazyLock<Mutex<BTreeSet<i64>>> = LazyLock::new(Mutex::default);

/// Whoever puts tasks in.
const ANNA: By = By {
    actor: "anna",
    via: "",
    ip: "",
    request_id: "",
    client_request_id: "",
};

/// Who decides on what others put in.
fn daemon() -> Allowed<'static, Deploy, Servers> {
    Allowed::by_daemon()
}

fn open(target: i64) {
    lock(&OPEN).insert(target);
}

/// Ends when its gate is open.
fn hold(run: &Run) -> Result<Outcome> {
    while !lock(&OPEN).contains(&run.target()) {
        if run.cancel.wait(Duration::from_millis(2)) {
            return Err(process::cancelled());
        }
    }
    Ok(Outcome {
        changed: 2,
        commit: None,
    })
}

/// Each of the target's last three digits is a server.
fn servers(_: &Conn, target: i64) -> Result<Vec<Resource>> {
    let digits = [target % 10, target / 10 % 10, target / 100 % 10];
    Ok(digits
        .iter()
        .filter(|n| **n > 0)
        .map(|n| Resource("server", *n))
        .collect())
}

const fn kind(name: &'static str, class: Class, run: fn(&Run) -> Result<Outcome>) -> Kind {
    Kind {
        name,
        idempotent: true,
        class,
        deadline: Duration::from_secs(60),
        tries: Tries::ONCE,
        by_clock: None,
        locks: Kind::TARGET_ONLY,
        run,
    }
}

static KINDS: [Kind; 6] = [
    Kind {
        locks: servers,
        ..kind("test.deploy", Class::Standard, hold)
    },
    kind("test.quick", Class::Quick, hold),
    kind("test.long", Class::Long, hold),
    Kind {
        tries: Tries {
            max: 3,
            pause: Duration::from_millis(1),
            passes: |e| e.kind == error::Kind::Upstream,
        },
        ..kind("test.flaky", Class::Quick, |run| match run.task.attempt {
            _ if run.target() == 2 => Err(conflict("no", "It will not work.".into())),
            3 => hold(run),
            n => Err(Error::new(
                error::Kind::Upstream,
                "down",
                format!("Nobody answers ({n})."),
            )),
        })
    },
    kind("test.parent", Class::Quick, |run| {
        let by = daemon();
        run.app.db.write(|tx| {
            for n in [1, 2] {
                let part = new("test.quick", run.target() + n);
                family::enqueue_child(tx, &run.app.wakes, run.task.id, &part, by)?;
            }
            Ok(())
        })?;
        Ok(Outcome {
            changed: 1,
            commit: None,
        })
    }),
    kind("test.fails", Class::Quick, |_| {
        Err(conflict("no", "It will not work.".into()))
    }),
];

fn new(kind: &'static str, target: i64) -> NewTask<'static> {
    NewTask {
        kind,
        target: ("domain", target, "example.org"),
        input: serde_json::json!({}),
    }
}

struct House {
    app: Arc<App>,
    dir: PathBuf,
    workers: Option<Workers>,
}

impl House {
    fn new(workers: usize) -> House {
        let dir = std::env::temp_dir().join(random::name());
        file::private_dir(&dir).unwrap();
        let key = vault::new_master_key();
        file::write_new(&dir.join("master.key"), key.reveal_for("a test's key file")).unwrap();
        let flags = [("DATA_DIR", dir.display().to_string())];
        let config = Config::load(&flags, None, &Default::default()).unwrap();
        let app = Arc::new(App::open(config, Default::default()).unwrap());
        let workers = Some(Workers::start(app.clone(), KINDS.iter().collect(), workers).unwrap());
        House { app, dir, workers }
    }

    fn put(&self, kind: &'static str, target: i64) -> Id<id::Task> {
        self.put_on(kind, target, Terms::default())
    }

    fn put_on(&self, kind: &'static str, target: i64, terms: Terms) -> Id<id::Task> {
        let wake = &self.app.wakes.tasks;
        let put = |tx: &Tx| queue::insert(tx, wake, &new(kind, target), None, terms, ANNA);
        self.app.db.write(put).unwrap()
    }

    fn get(&self, id: Id<id::Task>) -> Task {
        self.app.db.read(|conn| queue::get(conn, id)).unwrap()
    }

    /// Why it waits, and for whom.
    fn waits(&self, id: Id<id::Task>) -> Option<(wait::Reason, Vec<Id<id::Task>>)> {
        let waiting = |conn: &Conn| wait::of(conn, &queue::get(conn, id)?, clock::now());
        let waiting = self.app.db.read(waiting).unwrap()?;
        Some((waiting.reason, waiting.tasks.iter().map(|t| t.id).collect()))
    }

    #[track_caller]
    fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let until = clock::mono() + Duration::from_secs(30);
        while !holds() {
            assert!(clock::mono() < until, "never: {what}");
            self.app.wakes.tasks.ring(); // nobody waits for the next look
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[track_caller]
    fn reaches(&self, id: Id<id::Task>, status: Status) {
        self.until(&format!("task {id} is {}", status.name()), || {
            self.get(id).status == status
        });
    }

    fn cancel(&self, id: Id<id::Task>) {
        self.app
            .db
            .write(|tx| queue::cancel(tx, &self.app.wakes, id, Allowed::by_daemon()))
            .unwrap();
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(workers) = self.workers.take() {
            workers.stop();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn work_that_shares_a_server_never_runs_together_and_nobody_is_passed_by() {
    let house = House::new(8);
    let first = house.put("test.deploy", 1_012);
    let shares = house.put("test.deploy", 1_023);
    let apart = house.put("test.deploy", 1_045);
    let behind = house.put("test.deploy", 1_003);
    house.reaches(first, Status::Running);
    house.reaches(apart, Status::Running);
    house.until("both wait", || {
        house.waits(behind) == Some((wait::Reason::Tasks, vec![shares]))
    });
    assert_eq!(house.waits(shares), Some((wait::Reason::Tasks, vec![first])));
    assert_eq!(house.get(shares).status, Status::Queued);
    open(1_012);
    house.reaches(first, Status::Ok);
    house.reaches(shares, Status::Running);
    // Server 3 is not free before its first waiter has ended.
    assert_eq!(house.waits(behind), Some((wait::Reason::Tasks, vec![shares])));
    [1_023, 1_045, 1_003].into_iter().for_each(open);
    [shares, apart, behind]
        .into_iter()
        .for_each(|id| house.reaches(id, Status::Ok));
    assert_eq!(house.waits(behind), None);
}

#[test]
fn long_work_leaves_workers_for_what_is_quick() {
    let house = House::new(4);
    let long: Vec<_> = (2_001..2_006).map(|n| house.put("test.long", n)).collect();
    let standard = house.put("test.deploy", 2_900);
    house.reaches(long[2], Status::Running);
    open(2_006);
    let quick = house.put("test.quick", 2_006);
    house.reaches(quick, Status::Ok); // though six waited before it
    assert_eq!(house.waits(long[3]), Some((wait::Reason::Worker, vec![])));
    assert_eq!(
        house.get(standard).status,
        Status::Queued,
        "the last place is for what is quick"
    );
    [2_001, 2_002, 2_003, 2_004, 2_005, 2_900].into_iter().for_each(open);
    long.iter().for_each(|id| house.reaches(*id, Status::Ok));
    house.reaches(standard, Status::Ok);
}

#[test]
fn what_time_may_mend_is_tried_again() {
    let house = House::new(2);
    let (task, other) = (house.put("test.flaky", 3_001), house.put("test.flaky", 2));
    house.until("its third try", || house.get(task).attempt == 3);
    open(3_001);
    house.reaches(task, Status::Ok);
    house.reaches(other, Status::Failed);
    assert_eq!((house.get(task).error, house.get(other).attempt), (None, 1));
    let lines = house.app.db.read(|conn| log::after(conn, task, 0, 100)).unwrap();
    let said: Vec<_> = lines.iter().map(|l| l.line.as_str()).collect();
    assert!(
        said.contains(&"That was try 2 of 3. The next one is in 0 s."),
        "{said:?}"
    );
}

#[test]
fn only_what_is_idempotent_is_tried_again() {
    static ODD: Kind = Kind {
        idempotent: false,
        tries: Tries { max: 2, ..Tries::ONCE },
        ..kind("test.odd", Class::Quick, hold)
    };
    let house = House::new(1);
    assert!(Workers::start(house.app.clone(), vec![&ODD], 1).is_err());
}

#[test]
fn another_person_approves_or_refuses_in_time() {
    let house = House::new(2);
    let soon = clock::now() + clock::HOUR;
    let terms = |until| Terms {
        approve_until: Some(until),
        window: None,
    };
    let decide = |id, approve: bool| {
        house.app.db.write(|tx| match approve {
            true => wait::approve(&house.app, tx, id, daemon()),
            false => wait::refuse(&house.app, tx, id, "not on a Friday", daemon()),
        })
    };
    open(4_001);
    let task = house.put_on("test.quick", 4_001, terms(soon));
    assert_eq!(house.waits(task), Some((wait::Reason::Approval, vec![])));
    let own = |tx: &Tx| {
        enqueue_on(
            tx,
            &house.app.wakes.tasks,
            &new("test.quick", 4_009),
            terms(soon),
            daemon(),
        )
    };
    let own = house.app.db.write(own).unwrap();
    assert_eq!(decide(own, true).unwrap_err().code, "own_approval");
    decide(task, true).unwrap();
    house.reaches(task, Status::Ok);
    assert_eq!(house.get(task).decided_by.as_deref(), Some("system"));
    assert_eq!(decide(task, true).unwrap_err().code, "task_not_waiting");

    let refused = house.put_on("test.quick", 4_002, terms(soon));
    decide(refused, false).unwrap();
    let ended = house.get(refused);
    let said = (
        "approval_refused".into(),
        "system has refused it: not on a Friday".into(),
    );
    assert_eq!((ended.status, ended.error), (Status::Cancelled, Some(said)));

    let forgotten = house.put_on("test.quick", 4_003, terms(1));
    house.reaches(forgotten, Status::Cancelled);
    assert_eq!(house.get(forgotten).error.unwrap().0, "approval_expired");
}

#[test]
fn a_window_is_waited_for_and_can_be_missed() {
    let house = House::new(2);
    let now = clock::now();
    let terms = |from, to| Terms {
        approve_until: None,
        window: Some((from, to)),
    };
    open(5_001);
    let later = house.put_on("test.quick", 5_009, terms(now + clock::HOUR, now + 2 * clock::HOUR));
    let soon = house.put_on("test.quick", 5_001, terms(now + 200, now + clock::HOUR));
    let missed = house.put_on("test.quick", 5_002, terms(1, 2));
    house.reaches(missed, Status::Cancelled);
    assert_eq!(house.get(missed).error.unwrap().0, "window_missed");
    house.reaches(soon, Status::Ok);
    assert!(house.get(soon).started_at.unwrap() >= now + 200);
    assert_eq!(house.get(later).status, Status::WaitingWindow);
    assert_eq!(house.waits(later), Some((wait::Reason::Window, vec![])));
    house.cancel(later);
    house.reaches(later, Status::Cancelled);
}

#[test]
fn a_parent_holds_no_worker_and_ends_with_its_last_part() {
    let house = House::new(1);
    let parent = house.put("test.parent", 6_000);
    house.reaches(parent, Status::WaitingChildren);
    let parts = house.app.db.read(|conn| family::children(conn, parent)).unwrap();
    let (first, second) = (parts[0].id, parts[1].id);
    assert_eq!(house.waits(parent), Some((wait::Reason::Children, vec![first, second])));
    open(6_001);
    house.reaches(first, Status::Ok);
    assert_eq!(house.get(parent).status, Status::WaitingChildren);
    open(6_002);
    house.reaches(parent, Status::Ok);
    let ended = house.get(parent);
    assert_eq!((ended.changed, ended.error), (1 + 2 + 2, None));

    // Cancelling reaches all children, in any state.
    let parent = house.put("test.parent", 6_100);
    house.reaches(parent, Status::WaitingChildren);
    let parts = house.app.db.read(|conn| family::children(conn, parent)).unwrap();
    house.reaches(parts[0].id, Status::Running);
    house.cancel(parent);
    house.reaches(parent, Status::Cancelled);
    for part in parts {
        assert_eq!(house.get(part.id).status, Status::Cancelled);
    }
}

#[test]
fn parts_begin_after_their_parent_and_their_failure_is_its_own() {
    let house = House::new(2);
    let terms = Terms {
        approve_until: Some(clock::now() + clock::HOUR),
        window: None,
    };
    let parent = house.put_on("test.quick", 7_000, terms);
    let child = |kind, n| {
        let put = |tx: &Tx| family::enqueue_child(tx, &house.app.wakes, parent, &new(kind, n), daemon());
        house.app.db.write(put)
    };
    let (good, bad) = (child("test.quick", 7_001).unwrap(), child("test.fails", 7_002).unwrap());
    assert_eq!(house.waits(good), Some((wait::Reason::Parent, vec![parent])));
    [7_000, 7_001].into_iter().for_each(open);
    let approve = |tx: &Tx| wait::approve(&house.app, tx, parent, daemon());
    house.app.db.write(approve).unwrap();
    house.reaches(parent, Status::Failed);
    assert_eq!(house.get(parent).error.unwrap().0, "parts_failed");
    assert_eq!(
        (house.get(good).status, house.get(bad).status),
        (Status::Ok, Status::Failed)
    );
    assert_eq!(child("test.quick", 7_003).unwrap_err().code, "task_ended");

    // A parent whose own part fails cancels children that have not begun.
    let wake = &house.app.wakes.tasks;
    let (parent, part) = house
        .app
        .db
        .write(|tx| {
            let parent = enqueue(tx, wake, &new("test.fails", 7_010), daemon())?;
            let part = new("test.quick", 7_011);
            let part = family::enqueue_child(tx, &house.app.wakes, parent, &part, daemon())?;
            Ok((parent, part))
        })
        .unwrap();
    house.reaches(parent, Status::Failed);
    house.reaches(part, Status::Cancelled);
}
