//! Runs the same work on several items, for a caller that waits for all: a few threads, each item once, none begun
//! after the deadline or cancellation. The caller's own thread works too, so a fan-out makes progress even when all
//! helper threads are in use. An item in work elsewhere under the same name and key is done after that, never at the
//! same time.

use crate::base::clock::{self, Duration, Instant};
use crate::base::log;
use crate::base::parallel::lock;
use crate::base::process::Cancel;
use crate::base::semaphore::Semaphore;
use std::collections::{HashSet, VecDeque};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

/// Helper threads of all fan-outs of the process. They wait for other machines nearly all the time.
const HELPERS_MAX: usize = 64;
static HELPERS: Semaphore = Semaphore::new(HELPERS_MAX);
/// Poll interval while waiting for an item in work elsewhere.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Items in work in any fan-out of this process.
static IN_FLIGHT: LazyLock<Mutex<HashSet<Flight>>> = LazyLock::new(Mutex::default);
static LANDED: Condvar = Condvar::new();
type Flight = (&'static str, Key);

/// Key of an item among those of the same [`FanOut::name`].
pub type Key = (i64, i64);

/// Parameters of a fan-out.
pub struct FanOut<'a> {
    /// Name of the work: `certwatch.look`. Names its threads and scopes its keys.
    pub name: &'static str,
    /// Maximum items at the same time.
    pub width: usize,
    /// No item is begun after this.
    pub begin_until: Option<Instant>,
    /// No item is begun after cancellation.
    pub cancel: &'a Cancel,
}

impl FanOut<'_> {
    /// Calls `work` with each item; it must end by a deadline of its own. Results are in the items' order; `None`: not
    /// begun. A panic of one is resumed here after the others have ended.
    pub fn run<'t, T: Sync, R: Send>(&self, items: &'t [T], work: impl Fn(&'t T) -> R + Sync) -> Vec<Option<R>> {
        self.run_alone(items, |_| None, work)
    }

    /// As [`FanOut::run`]; an item whose key is in work anywhere in this process waits for that.
    pub fn run_alone<'t, T: Sync, R: Send>(
        &self,
        items: &'t [T],
        key: impl Fn(&T) -> Option<Key>,
        work: impl Fn(&'t T) -> R + Sync,
    ) -> Vec<Option<R>> {
        let waiting = items.iter().enumerate().map(|(n, item)| (n, key(item))).collect();
        let round = Round {
            fan: self,
            waiting: Mutex::new(waiting),
            results: Mutex::new(items.iter().map(|_| None).collect()),
            threads: AtomicUsize::new(1),
            work: |n: usize| work(&items[n]),
        };
        thread::scope(|scope| round.serve(scope));
        round.results.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Round<'a, R, W> {
    fan: &'a FanOut<'a>,
    waiting: Mutex<VecDeque<(usize, Option<Key>)>>,
    results: Mutex<Vec<Option<R>>>,
    threads: AtomicUsize,
    work: W,
}

impl<R: Send, W: Fn(usize) -> R + Sync> Round<'_, R, W> {
    fn serve<'s>(&'s self, scope: &'s Scope<'s, '_>) {
        while let Some((n, flight)) = self.take() {
            self.hire(scope);
            let result = (self.work)(n);
            drop(flight);
            lock(&self.results)[n] = Some(result);
        }
    }

    /// The first item that is not in work elsewhere; waits while all that are left are.
    fn take(&self) -> Option<(usize, Option<InFlight>)> {
        let mut flights = in_flight();
        loop {
            let is_late = self.fan.begin_until.is_some_and(|until| clock::mono() >= until);
            if is_late || self.fan.cancel.is_cancelled() {
                return None;
            }
            let mut waiting = lock(&self.waiting);
            if waiting.is_empty() {
                return None;
            }
            let name = self.fan.name;
            let free = |key: &Option<Key>| key.is_none_or(|key| !flights.contains(&(name, key)));
            if let Some(at) = waiting.iter().position(|(_, key)| free(key)) {
                let (n, key) = waiting.remove(at)?;
                return Some((n, key.map(|key| InFlight::begin(&mut flights, (name, key)))));
            }
            drop(waiting);
            flights = LANDED
                .wait_timeout(flights, LOOK_AGAIN)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Starts one more thread if there is work and a permit; that thread starts the next.
    fn hire<'s>(&'s self, scope: &'s Scope<'s, '_>) {
        let width = self.fan.width;
        let one_more = |n| (n < width).then_some(n + 1);
        if lock(&self.waiting).is_empty()
            || self
                .threads
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more)
                .is_err()
        {
            return;
        }
        let Some(place) = HELPERS.take() else {
            self.threads.fetch_sub(1, Ordering::SeqCst); // asked for again with the next item
            return;
        };
        let started = thread::Builder::new()
            .name(self.fan.name.into())
            .spawn_scoped(scope, move || {
                let _place = place;
                self.serve(scope);
                self.threads.fetch_sub(1, Ordering::SeqCst);
            });
        if let Err(e) = started {
            log::warning("fan-out", "no further thread", &[("error", &e.to_string())]);
            self.threads.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Marks an item as in work until dropped.
struct InFlight(Flight);

impl InFlight {
    fn begin(flights: &mut HashSet<Flight>, flight: Flight) -> InFlight {
        flights.insert(flight);
        InFlight(flight)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        in_flight().remove(&self.0);
        LANDED.notify_all();
    }
}

fn in_flight() -> MutexGuard<'static, HashSet<Flight>> {
    lock(&IN_FLIGHT)
}

/// Runs two functions in parallel, `second` on the caller's thread. A panic of either is resumed after the other has
/// ended.
pub fn both<A: Send, B>(name: &str, first: impl FnOnce() -> A + Send, second: impl FnOnce() -> B) -> (A, B) {
    let first = Mutex::new(Some(first));
    let take = || lock(&first).take();
    thread::scope(|scope| {
        let started = thread::Builder::new()
            .name(name.into())
            .spawn_scoped(scope, || take().map(|first| first()));
        let second = second();
        let first = match started {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => take().map(|first| first()), // at the process's limit of threads: one after the other
        };
        match first {
            Some(first) => (first, second),
            None => unreachable!("taken by nobody else"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;

    fn fan<'a>(name: &'static str, width: usize, cancel: &'a Cancel) -> FanOut<'a> {
        FanOut {
            name,
            width,
            begin_until: None,
            cancel,
        }
    }

    #[test]
    fn results_come_in_the_items_order_and_no_more_threads_work_than_said() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let items: Vec<usize> = (0..40).collect();
        let cancel = Cancel::new();
        let squares = fan("test.width", 4, &cancel).run(&items, |n| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(1));
            now.fetch_sub(1, Ordering::SeqCst);
            n * n
        });
        assert_eq!(squares, items.iter().map(|n| Some(n * n)).collect::<Vec<_>>());
        assert!((2..=4).contains(&most.load(Ordering::SeqCst)));
        assert!(fan("test.none", 4, &cancel).run(&[] as &[u8], |_| ()).is_empty());
    }

    #[test]
    fn nothing_is_begun_once_it_was_cancelled_or_the_time_is_up() {
        let cancel = Cancel::new();
        let done = fan("test.cancel", 1, &cancel).run(&[1, 2, 3], |n| {
            if *n == 2 {
                cancel.cancel();
            }
            *n
        });
        assert_eq!(done, [Some(1), Some(2), None]);
        let cancel = Cancel::new();
        let late = FanOut {
            begin_until: Some(clock::mono()),
            ..fan("test.late", 2, &cancel)
        };
        assert_eq!(late.run(&[1, 2], |n| *n), [None, None]);
    }

    #[test]
    fn an_item_is_never_done_twice_at_once_and_holds_up_no_other() {
        let (cancel, met) = (Cancel::new(), Barrier::new(2));
        let (now, others) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let fan = fan("test.alone", 2, &cancel);
        thread::scope(|scope| {
            scope.spawn(|| {
                fan.run_alone(
                    &[7],
                    |n| Some((*n, 0)),
                    |_| {
                        now.fetch_add(1, Ordering::SeqCst);
                        met.wait();
                        while others.load(Ordering::SeqCst) < 2 {
                            thread::sleep(Duration::from_millis(1));
                        }
                        now.fetch_sub(1, Ordering::SeqCst);
                    },
                )
            });
            met.wait();
            let done = fan.run_alone(
                &[7, 8, 9],
                |n| Some((*n, 0)),
                |n| match n {
                    7 => assert_eq!(now.load(Ordering::SeqCst), 0, "beside another"),
                    _ => drop(others.fetch_add(1, Ordering::SeqCst)),
                },
            );
            assert_eq!(done, [Some(()), Some(()), Some(())]);
        });
    }

    #[test]
    fn a_panic_goes_on_after_the_others_have_ended_and_holds_nothing_back() {
        let (cancel, done) = (Cancel::new(), AtomicUsize::new(0));
        let fan = fan("test.panic", 2, &cancel);
        let ran = catch_unwind(AssertUnwindSafe(|| {
            fan.run_alone(
                &[1, 2, 3, 4],
                |n| Some((*n, 0)),
                |n| match n {
                    1 => panic!("on purpose"),
                    _ => drop(done.fetch_add(1, Ordering::SeqCst)),
                },
            )
        }));
        assert!(ran.is_err());
        assert_eq!(done.load(Ordering::SeqCst), 3);
        assert_eq!(fan.run_alone(&[1], |n| Some((*n, 0)), |n| *n), [Some(1)]);
    }

    #[test]
    fn two_things_are_done_at_once() {
        let met = Barrier::new(2);
        let one = || {
            met.wait();
            1
        };
        assert_eq!(
            both("test.both", one, || {
                met.wait();
                2
            }),
            (1, 2)
        );
    }
}
