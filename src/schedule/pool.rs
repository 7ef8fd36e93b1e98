//! A thread pool for many small recurring items that wait for the network: each item has its own interval and a random
//! phase that it keeps, is never run twice at once, and a hanging one blocks one thread until its deadline. Threads are
//! added when items are due and all are busy, and end when idle. Items that were slow may use at most half of the
//! threads, so quick ones always find the other half. Results are passed on in batches.

use crate::base::clock::{self, Duration, Instant};
use crate::base::{log, random};
use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// The work of a pool.
pub trait Work: Send + Sync + 'static {
    /// Type of an item.
    type Item: Send + 'static;
    /// Type of a result.
    type Done: Send + 'static;
    /// Stack size of a thread in bytes: a poll needs some kB; TLS and the system's resolver more.
    const STACK: usize = 192 << 10;

    /// Runs one item and says when to run it again. It must end by a deadline of its own.
    fn run(&self, item: &mut Self::Item) -> (Self::Done, Next);

    /// Takes the results of about a second. Never called concurrently.
    fn done(&self, batch: Vec<Self::Done>);
}

/// When to run an item again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Next {
    /// Intervals to skip: 1 doubles the interval.
    pub skip: u32,
    /// Run again within this, whatever the interval.
    pub within: Option<Duration>,
    /// The run was slow: the item is limited to the slow half until it is quick again.
    pub slow: bool,
}

/// One item of the list given to [`Pool::set`].
pub struct Entry<I> {
    /// Key of the item.
    pub key: i64,
    /// A changed revision makes it a new item, run soon.
    pub revision: i64,
    /// Interval.
    pub every: Duration,
    /// The item.
    pub item: I,
}

/// Number of threads.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Minimum, also when idle.
    pub min: usize,
    /// Maximum.
    pub max: usize,
}

/// Figures of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Number of items.
    pub items: usize,
    /// Number of threads.
    pub threads: usize,
    /// Threads that run an item now.
    pub busy: usize,
    /// Items that were slow the last time.
    pub slow: usize,
    /// Lateness of the quick item that has waited longest, ms.
    pub late_ms: u64,
}

/// A batch is passed on at this age (it delays notifications of a server that went down) …
const BATCH_AGE: Duration = Duration::from_millis(400);
/// … or at this length.
const BATCH_LEN: usize = 128;
/// With so many results waiting, threads wait too: the disk is slower than the network.
const WAITING_MAX: usize = 1_024;
/// So many idle threads each wait for a due time; the others sleep.
const WATCHING_MAX: usize = 16;
/// Idle time after which a thread above the minimum ends.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Average distance of the first runs of new items, so that a large list does not begin with a burst.
const SPREAD: Duration = Duration::from_millis(30);

/// A running pool.
pub struct Pool<W: Work>(Arc<Inner<W>>, Option<JoinHandle<()>>);

struct Inner<W: Work> {
    work: W,
    bounds: Bounds,
    state: Mutex<State<W::Item>>,
    /// Signalled when something is due or was added.
    due: Condvar,
    /// Signalled when a thread has ended, at a stop.
    left: Condvar,
    results: Mutex<Results<W::Done>>,
    arrived: Condvar,
    taken: Condvar,
}

struct Results<D> {
    waiting: Vec<D>,
    closed: bool,
}

impl<W: Work> Pool<W> {
    /// Starts the minimum of threads and the one that passes results on. Error: a thread cannot be started.
    pub fn start(work: W, bounds: Bounds) -> std::io::Result<Pool<W>> {
        let inner = Arc::new(Inner {
            work,
            bounds,
            state: Mutex::new(State::new(bounds.max)),
            due: Condvar::new(),
            left: Condvar::new(),
            results: Mutex::new(Results {
                waiting: Vec::new(),
                closed: false,
            }),
            arrived: Condvar::new(),
            taken: Condvar::new(),
        });
        let taker = inner.clone();
        let taker = std::thread::Builder::new()
            .name("pool-done".into())
            .spawn(move || taker.hand_on())?;
        let mut state = inner.lock();
        for _ in 0..bounds.min {
            Inner::hire(&inner, &mut state);
        }
        drop(state);
        Ok(Pool(inner, Some(taker)))
    }

    /// The work, for those who started the pool.
    pub fn work(&self) -> &W {
        &self.0.work
    }

    /// Sets the list of items. Known items of the same revision keep their phase.
    pub fn set(&self, entries: Vec<Entry<W::Item>>) {
        self.0.lock().set(entries, clock::mono());
        self.0.due.notify_one();
    }

    /// Makes these items due now. A running one is run once more after that.
    pub fn run_soon(&self, keys: impl IntoIterator<Item = i64>) {
        let (mut state, now) = (self.0.lock(), clock::mono());
        keys.into_iter().for_each(|key| state.run_soon(key, now));
        self.0.due.notify_one();
    }

    /// Is this item running?
    pub fn is_running(&self, key: i64) -> bool {
        self.0.lock().slots.get(&key).is_some_and(|slot| slot.running)
    }

    /// Current figures.
    pub fn figures(&self) -> Figures {
        self.0.lock().figures(clock::mono())
    }

    /// Waits for running items and passes on the rest.
    pub fn stop(mut self) {
        self.end();
    }

    /// As [`Pool::stop`], but threads that have not ended after `patience` are detached: what they still find is lost.
    pub fn stop_within(mut self, patience: Duration) {
        let mut state = self.0.lock();
        state.stopping = true;
        self.0.due.notify_all();
        let is_busy = |state: &mut State<W::Item>| state.threads > 0;
        let waited = self.0.left.wait_timeout_while(state, patience, is_busy);
        let (mut state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            state.hired.clear();
        }
        drop(state);
        self.end();
    }

    fn end(&mut self) {
        let Some(taker) = self.1.take() else { return };
        let mut state = self.0.lock();
        state.stopping = true;
        self.0.due.notify_all();
        let hired = std::mem::take(&mut state.hired);
        drop(state);
        // Joined to their very end: we may need to be the last owner of what they share.
        for thread in hired {
            let _ = thread.join();
        }
        self.0.results.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.0.arrived.notify_all();
        let _ = taker.join();
    }
}

impl<W: Work> Drop for Pool<W> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<W: Work> Inner<W> {
    fn lock(&self) -> MutexGuard<'_, State<W::Item>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hire(this: &Arc<Self>, state: &mut State<W::Item>) {
        let worker = this.clone();
        let started = std::thread::Builder::new()
            .name("pool".into())
            .stack_size(W::STACK)
            .spawn(move || Inner::serve(&worker));
        match started {
            Ok(thread) => {
                state.hired.retain(|thread| !thread.is_finished());
                state.hired.push(thread);
                state.threads += 1;
                state.idle += 1; // it is starting
            }
            // At the process's thread limit the others continue; the next item that finds all busy tries again.
            Err(e) => log::warning("pool", "no further thread", &[("error", &e.to_string())]),
        }
    }

    /// Main loop of a thread. Each idle thread waits for a due time of its own, the next that no other waits for, so
    /// that threads rarely wake each other.
    fn serve(this: &Arc<Self>) {
        let mut state = this.lock();
        state.idle -= 1;
        let mut free_since = clock::mono();
        while !state.stopping {
            let now = clock::mono();
            if let Some(mut run) = state.next(now) {
                // One thread is always free to watch: all others may hang at the same time.
                if state.idle == 0 && state.threads < this.bounds.max {
                    Inner::hire(this, &mut state);
                } else if !state.is_watched() {
                    this.due.notify_one();
                }
                state.busy += 1;
                drop(state);
                let done = catch_unwind(AssertUnwindSafe(|| this.work.run(&mut run.item)));
                let next = match done {
                    Ok((done, next)) => {
                        this.put(done);
                        next
                    }
                    Err(_) => {
                        log::error("pool", "a run panicked", &[("key", &run.key.to_string())]);
                        Next::default()
                    }
                };
                state = this.lock();
                state.busy -= 1;
                state.finish(run, next, clock::mono());
                free_since = clock::mono();
                continue;
            }
            if state.threads > this.bounds.min && now >= free_since + IDLE_MAX && state.is_watched() {
                break;
            }
            let watches = state.unwatched();
            state.watched.extend(watches);
            let until = watches.map_or(IDLE_MAX, |(due, _)| due.saturating_duration_since(now).min(IDLE_MAX));
            state.idle += 1;
            state = this
                .due
                .wait_timeout(state, until)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            state.idle -= 1;
            if let Some(turn) = watches {
                state.watched.remove(&turn);
            }
        }
        state.threads -= 1;
        this.left.notify_all();
    }

    fn put(&self, done: W::Done) {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        while results.waiting.len() >= WAITING_MAX {
            results = self.taken.wait(results).unwrap_or_else(PoisonError::into_inner);
        }
        results.waiting.push(done);
        if [1, BATCH_LEN].contains(&results.waiting.len()) {
            self.arrived.notify_one();
        }
    }

    fn hand_on(&self) {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if results.waiting.is_empty() {
                if results.closed {
                    return;
                }
                results = self.arrived.wait(results).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let ripe = clock::mono() + BATCH_AGE;
            while results.waiting.len() < BATCH_LEN && !results.closed {
                let left = ripe.saturating_duration_since(clock::mono());
                if left.is_zero() {
                    break;
                }
                results = self
                    .arrived
                    .wait_timeout(results, left)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
            let batch = std::mem::take(&mut results.waiting);
            self.taken.notify_all();
            drop(results);
            if catch_unwind(AssertUnwindSafe(|| self.work.done(batch))).is_err() {
                log::error("pool", "a batch was lost: its handler panicked", &[]);
            }
            results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The queue. Nothing here reads a clock.
struct State<I> {
    /// Boxed: a hash table is half empty, and a slot is large.
    slots: HashMap<i64, Box<Slot<I>>>,
    /// Idle items, quick and slow ones.
    order: [BTreeSet<Turn>; 2],
    /// Items that a thread waits for.
    watched: BTreeSet<Turn>,
    /// Running slow items, and their limit.
    slow_busy: usize,
    slow_max: usize,
    threads: usize,
    hired: Vec<JoinHandle<()>>,
    idle: usize,
    busy: usize,
    stopping: bool,
}

/// Due time and key.
type Turn = (Instant, i64);

struct Slot<I> {
    revision: i64,
    every: Duration,
    due: Instant,
    item: Option<I>,
    running: bool,
    /// Requested again while running.
    again: bool,
    slow: bool,
}

struct Run<I> {
    key: i64,
    revision: i64,
    item: I,
    /// Counts against the limit of slow items.
    slow: bool,
}

impl<I> State<I> {
    fn new(threads_max: usize) -> State<I> {
        State {
            slots: HashMap::new(),
            order: Default::default(),
            slow_busy: 0,
            slow_max: (threads_max / 2).max(1),
            threads: 0,
            hired: Vec::new(),
            idle: 0,
            busy: 0,
            watched: BTreeSet::new(),
            stopping: false,
        }
    }

    fn set(&mut self, entries: Vec<Entry<I>>, now: Instant) {
        let spread = SPREAD
            * u32::try_from(entries.len().saturating_sub(1))
                .unwrap_or(u32::MAX)
                .min(100_000);
        let mut old = std::mem::take(&mut self.slots);
        for entry in entries {
            let slot = match old.remove(&entry.key) {
                Some(known)
                    if known.revision == entry.revision
                        && known.every == entry.every
                        && (known.item.is_some() || known.running) =>
                {
                    known
                }
                before => {
                    let late = spread.min(entry.every).as_millis() as u64;
                    Box::new(Slot {
                        revision: entry.revision,
                        every: entry.every,
                        due: now + Duration::from_millis(random::below(late + 1)),
                        item: Some(entry.item),
                        running: before.is_some_and(|b| b.running),
                        again: false,
                        slow: false,
                    })
                }
            };
            self.slots.insert(entry.key, slot);
        }
        // A running item is remembered to its end, so that the same key is not run twice at once.
        for (key, mut slot) in old.into_iter().filter(|(_, slot)| slot.running) {
            (slot.item, slot.revision) = (None, i64::MIN);
            self.slots.insert(key, slot);
        }
        self.order = Default::default();
        for (key, slot) in self.slots.iter().filter(|(_, slot)| !slot.running) {
            self.order[usize::from(slot.slow)].insert((slot.due, *key));
        }
    }

    /// The first item that may run. When the slow limit is reached, the end of a slow item checks again.
    fn head(&self) -> Option<Turn> {
        self.first(|_| true)
    }

    fn first(&self, of: impl Fn(&Turn) -> bool) -> Option<Turn> {
        let [quick, slow] = &self.order;
        let slow = Some(slow).filter(|_| self.slow_busy < self.slow_max);
        let firsts = [Some(quick), slow].map(|order| order?.iter().find(|turn| of(turn)).copied());
        firsts.into_iter().flatten().min()
    }

    fn next(&mut self, now: Instant) -> Option<Run<I>> {
        let (due, key) = self.head().filter(|(due, _)| *due <= now)?;
        let slot = self.slots.get_mut(&key)?;
        self.order[usize::from(slot.slow)].remove(&(due, key));
        let item = slot.item.take()?;
        slot.running = true;
        self.slow_busy += usize::from(slot.slow);
        Some(Run {
            key,
            revision: slot.revision,
            item,
            slow: slot.slow,
        })
    }

    fn run_soon(&mut self, key: i64, now: Instant) {
        let Some(slot) = self.slots.get_mut(&key) else { return };
        if slot.running {
            slot.again = true;
        } else if slot.due > now {
            let order = &mut self.order[usize::from(slot.slow)];
            order.remove(&(slot.due, key));
            slot.due = now;
            order.insert((now, key));
        }
    }

    /// Will a thread wake for the first item?
    fn is_watched(&self) -> bool {
        self.head().is_none_or(|turn| self.watched.contains(&turn))
    }

    /// What an idle thread should wait for: the first item that none waits for.
    fn unwatched(&self) -> Option<Turn> {
        let enough = self.watched.len() >= WATCHING_MAX && self.is_watched();
        self.first(|turn| !self.watched.contains(turn)).filter(|_| !enough)
    }

    fn finish(&mut self, run: Run<I>, next: Next, now: Instant) {
        self.slow_busy -= usize::from(run.slow);
        let Some(slot) = self.slots.get_mut(&run.key) else {
            return;
        };
        slot.running = false;
        if slot.revision == run.revision && slot.item.is_none() {
            slot.item = Some(run.item);
            slot.slow = next.slow;
            slot.due = next_due(slot.due, slot.every, next.skip, now);
            if let Some(within) = next.within {
                slot.due = slot.due.min(now + within);
            }
        }
        if std::mem::take(&mut slot.again) {
            slot.due = slot.due.min(now);
        }
        match slot.item {
            Some(_) => drop(self.order[usize::from(slot.slow)].insert((slot.due, run.key))),
            None => drop(self.slots.remove(&run.key)), // it was removed meanwhile
        }
    }

    fn figures(&self, now: Instant) -> Figures {
        let late = self.order[0]
            .first()
            .map_or(Duration::ZERO, |(due, _)| now.saturating_duration_since(*due));
        Figures {
            items: self.slots.values().filter(|s| s.item.is_some() || s.running).count(),
            threads: self.threads,
            busy: self.busy,
            slow: self.slots.values().filter(|s| s.slow).count(),
            late_ms: late.as_millis() as u64,
        }
    }
}

/// The phase is kept, so that runs stay spread, also after all were late together (suspend); missed runs are not caught
/// up.
fn next_due(due: Instant, every: Duration, skip: u32, now: Instant) -> Instant {
    let next = due + every * (skip + 1);
    match now.checked_duration_since(next) {
        Some(behind) if !every.is_zero() => {
            let rounds = behind.as_nanos() / every.as_nanos() + 1;
            next + every * u32::try_from(rounds).unwrap_or(u32::MAX)
        }
        _ => next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn entry(key: i64, revision: i64) -> Entry<&'static str> {
        Entry {
            key,
            revision,
            every: 30 * S,
            item: "x",
        }
    }

    const QUICK: Next = Next {
        skip: 0,
        within: None,
        slow: false,
    };
    const SLOW: Next = Next { slow: true, ..QUICK };

    #[test]
    fn an_item_comes_round_at_its_interval_and_never_twice_at_once() {
        let t = clock::mono();
        let mut state = State::new(8);
        state.set(vec![entry(1, 1)], t);
        let first = state.next(t).unwrap();
        assert!(state.next(t + 100 * S).is_none(), "it is still running");
        state.finish(first, QUICK, t + 2 * S);
        assert!(state.next(t + 29 * S).is_none());
        let second = state.next(t + 30 * S).unwrap();
        state.finish(second, QUICK, t + 95 * S); // two rounds missed
        assert!(state.next(t + 119 * S).is_none(), "what was missed is not caught up on");
        assert!(state.next(t + 120 * S).is_some(), "the phase stays");
    }

    #[test]
    fn rounds_are_left_out_and_the_spread_survives_a_long_sleep() {
        let t = clock::mono();
        let mut state = State::new(8);
        state.set(vec![entry(1, 1)], t);
        let first = state.next(t).unwrap();
        state.finish(first, Next { skip: 1, ..QUICK }, t + S);
        assert!(state.next(t + 59 * S).is_none());
        let second = state.next(t + 60 * S).expect("two intervals later");
        let soon = Next {
            skip: 1_000,
            within: Some(10 * S),
            ..QUICK
        };
        state.finish(second, soon, t + 61 * S);
        assert!(state.next(t + 70 * S).is_none());
        assert!(state.next(t + 71 * S).is_some(), "whatever its interval");

        let mut state = State::new(8);
        state.set((0..1000).map(|k| entry(k, 1)).collect(), t);
        // All are an hour late together: each is run once, one soon after the other.
        let mut late = t + 3_600 * S;
        while let Some(next) = state.next(late) {
            late += S / 1000;
            state.finish(next, QUICK, late);
        }
        let third = (0..1000).filter(|k| state.slots[k].due <= late + 10 * S).count();
        assert!((250..420).contains(&third), "{third} of 1000 in the first third");
    }

    #[test]
    fn slow_ones_wait_for_their_like_and_never_for_all_threads() {
        let t = clock::mono();
        let mut state = State::new(4);
        state.set((0..10).map(|k| entry(k, 1)).collect(), t);
        while let Some(next) = state.next(t + S) {
            let slow = next.key < 8;
            state.finish(next, if slow { SLOW } else { QUICK }, t + S);
        }
        let now = t + 40 * S;
        let running: Vec<_> = std::iter::from_fn(|| state.next(now)).collect();
        let (slow, quick): (Vec<_>, Vec<_>) = running.into_iter().partition(|r| r.key < 8);
        assert_eq!(
            (slow.len(), quick.len()),
            (2, 2),
            "half of four threads; the quick ones all"
        );
        assert!(state.head().is_none(), "six are due, and there is no place for them");
        assert_eq!(state.figures(now).slow, 8);
        for one in slow {
            state.finish(one, QUICK, now);
        }
        assert!(
            state.head().is_some_and(|(due, _)| due <= now),
            "their places are free again"
        );
        assert_eq!(state.figures(now).slow, 6);
    }

    #[test]
    fn what_is_asked_for_is_due_at_once_and_once_more_when_it_runs() {
        let t = clock::mono();
        let mut state = State::new(8);
        state.set(vec![entry(1, 1)], t);
        let first = state.next(t + S).unwrap();
        state.run_soon(1, t + S);
        assert!(state.next(t + S).is_none(), "never twice at once");
        state.finish(first, QUICK, t + 2 * S);
        let again = state.next(t + 2 * S).unwrap();
        state.finish(again, QUICK, t + 2 * S);
        assert!(state.next(t + 3 * S).is_none(), "once more, and then at its time");
        state.run_soon(1, t + 3 * S);
        state.run_soon(9, t + 3 * S); // nobody knows it
        let asked = state.next(t + 3 * S).unwrap();
        state.finish(asked, SLOW, t + 3 * S);
        state.run_soon(1, t + 4 * S);
        assert!(state.order[1].contains(&(t + 4 * S, 1)), "among its like");
    }

    #[test]
    fn a_changed_item_is_run_soon_but_after_the_old_one_has_ended() {
        let t = clock::mono();
        let mut state = State::new(8);
        state.set(vec![entry(1, 1)], t);
        let old = state.next(t).unwrap();
        state.set(vec![entry(1, 2)], t + S);
        assert!(state.next(t + 2 * S).is_none());
        state.finish(old, QUICK, t + 3 * S);
        assert_eq!(state.next(t + 3 * S).unwrap().revision, 2);
    }

    #[test]
    fn a_removed_item_is_gone_and_may_come_back() {
        let t = clock::mono();
        let mut state = State::new(8);
        state.set(vec![entry(1, 1), entry(2, 1)], t);
        let running = state.next(t + S).unwrap();
        let (stays, goes) = (3 - running.key, running.key);
        state.set(vec![entry(stays, 1)], t + S);
        state.set(vec![entry(stays, 1), entry(goes, 1)], t + S);
        let other = state.next(t + 2 * S).unwrap();
        assert_eq!(other.key, stays, "the same key is not run beside its former self");
        state.finish(running, QUICK, t + 2 * S);
        assert_eq!(state.next(t + 2 * S).unwrap().key, goes);
        state.finish(other, QUICK, t + 2 * S);
        state.set(Vec::new(), t + 2 * S);
        assert!(state.next(t + 200 * S).is_none());
    }

    #[test]
    fn an_unchanged_list_changes_nothing() {
        let t = clock::mono();
        let mut state = State::new(8);
        state.set((0..100).map(|k| entry(k, 1)).collect(), t);
        let before: Vec<Instant> = (0..100).map(|k| state.slots[&k].due).collect();
        assert!(before.iter().all(|due| *due <= t + 3 * S) && before.iter().any(|due| *due != before[0]));
        state.set((0..100).map(|k| entry(k, 1)).collect(), t + S);
        assert_eq!(before, (0..100).map(|k| state.slots[&k].due).collect::<Vec<_>>());
        assert_eq!(state.figures(t + 4 * S).items, 100);
    }

    #[test]
    fn idle_threads_wait_for_one_turn_each_and_the_first_in_line_is_never_missed() {
        let t = clock::mono();
        let mut state = State::new(64);
        state.set((0..100).map(|k| entry(k, 1)).collect(), t);
        let early = state.next(t + S).unwrap();
        let mut waiting = 0;
        while let Some(turn) = state.unwatched() {
            assert!(state.watched.insert(turn), "each for another");
            waiting += 1;
        }
        assert!(waiting == WATCHING_MAX && state.is_watched());
        assert!(
            state.watched.iter().eq(state.order[0].iter().take(waiting)),
            "the first in line"
        );
        // A short interval comes back in front of all of them: that is waited for, however many wait already.
        state.slots.get_mut(&early.key).unwrap().every = Duration::ZERO;
        state.finish(early, QUICK, t);
        assert!(!state.is_watched());
        assert_eq!(state.unwatched(), state.head());
    }

    /// Runs an item for as long as its gate is closed, and counts.
    struct Gates;

    struct Gate {
        open: Arc<(Mutex<bool>, Condvar)>,
        runs: Arc<std::sync::atomic::AtomicUsize>,
    }

    impl Work for Gates {
        type Item = Gate;
        type Done = ();

        fn run(&self, gate: &mut Gate) -> ((), Next) {
            gate.runs.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let (open, opened) = &*gate.open;
            drop(opened.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
            ((), QUICK)
        }

        fn done(&self, _: Vec<()>) {}
    }

    fn gate(key: i64, every: Duration, open: bool) -> Entry<Gate> {
        let item = Gate {
            open: Arc::new((Mutex::new(open), Condvar::new())),
            runs: Arc::default(),
        };
        Entry {
            key,
            revision: 1,
            every,
            item,
        }
    }

    /// Opens a gate at the end of a test, also of one that fails: the pool waits for what it runs.
    struct Opens(Arc<(Mutex<bool>, Condvar)>);

    impl Drop for Opens {
        fn drop(&mut self) {
            *self.0.0.lock().unwrap() = true;
            self.0.1.notify_all();
        }
    }

    fn bounds(min: usize, max: usize) -> Bounds {
        Bounds { min, max }
    }

    fn runs_at_least(n: usize, runs: &std::sync::atomic::AtomicUsize) {
        let until = clock::mono() + 20 * S;
        while runs.load(std::sync::atomic::Ordering::SeqCst) < n {
            assert!(clock::mono() < until, "only {runs:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn whoever_hangs_takes_no_place_from_those_who_come_later() {
        let pool = Pool::start(Gates, bounds(1, 4)).unwrap();
        let (hangs, quick) = (gate(1, 3_600 * S, false), gate(2, Duration::from_millis(10), true));
        let (hanging, runs) = (hangs.item.runs.clone(), quick.item.runs.clone());
        let _opens = Opens(hangs.item.open.clone());
        pool.set(vec![hangs]);
        runs_at_least(1, &hanging); // the only thread is gone
        pool.set(vec![gate(1, 3_600 * S, false), quick]);
        runs_at_least(10, &runs);
    }

    #[test]
    fn a_stop_waits_no_longer_than_said_for_who_hangs() {
        let pool = Pool::start(Gates, bounds(1, 4)).unwrap();
        let hangs = gate(1, 3_600 * S, false);
        let (hanging, _opens) = (hangs.item.runs.clone(), Opens(hangs.item.open.clone()));
        pool.set(vec![hangs]);
        runs_at_least(1, &hanging);
        assert!(pool.is_running(1) && !pool.is_running(2));
        pool.stop_within(Duration::from_millis(10));
        let pool = Pool::start(Gates, bounds(1, 4)).unwrap();
        pool.stop_within(3_600 * S);
    }

    #[test]
    fn the_watch_is_taken_over_by_who_knows_of_something_earlier() {
        let pool = Pool::start(Gates, bounds(2, 2)).unwrap();
        let often = gate(1, Duration::from_millis(10), false);
        let (open, runs) = (Opens(often.item.open.clone()), often.item.runs.clone());
        pool.set(vec![often]);
        runs_at_least(1, &runs);
        std::thread::sleep(Duration::from_millis(50)); // the other thread knows of nothing and sleeps for long
        drop(open);
        runs_at_least(20, &runs);
    }
}
