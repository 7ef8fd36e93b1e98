//! Slows down password guessing without locking out: failures of one client never delay others.
//!
//! Failures are counted for a login at an address, for the address and for its surrounding network, never for a login
//! alone. Five are free; then one try is allowed after 1, 2, 4 … up to 15 minutes; each 15 minutes without a try halve
//! the count. Known clients have their own count ([`Known`]), independent of others at the same address. A success
//! resets the login's count at the address; the address keeps its count, otherwise guessing could continue between the
//! guesser's own sign-ins. Kept in memory, bounded; names are stored as keyed hashes only.
//!
//! A guesser with many addresses is hardly slowed down here. For that, unknown clients share one hashing slot, in which
//! the one with the fewest failures and tries in its neighbourhood goes first ([`Attempt::rank`]), and audit rows about
//! failures are limited.

use crate::base::clock::{self, Duration, Instant, MINUTE, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::base::host::{block, network};
use crate::base::id::{Id, User};
use crate::base::ration::Ration;
use crate::vault::password::Rank;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

const FREE_TRIES: u32 = 5;
/// Free tries of an IPv6 /48 or IPv4 /24, which may have many addresses, but also innocent neighbours.
const FREE_TRIES_OF_SITE: u32 = 50;
const WINDOW: Duration = Duration::from_secs(60);
const WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// Limit of entries; above it those with the fewest failures are dropped.
const ENTRIES_MAX: usize = 10_000;

/// Failed sign-ins with their own audit row, and the interval of further ones. Audit rows are permanent and anybody can
/// cause failures: this is at most 0.5 MB a day.
const ROWS_MAX: u32 = 60;
const ROW_EVERY: Duration = Duration::from_secs(60);

/// Counts of failed sign-ins.
#[derive(Default)]
pub struct Throttle {
    counts: Mutex<HashMap<u64, Count>>,
    hash: RandomState,
    rows: Mutex<Ration>,
}

/// What is known about the client besides the login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known<'a> {
    /// Nothing.
    No,
    /// Somebody with this login is signed in from the same network.
    Here,
    /// The client has the cookie of a device that has signed in with this login ([`super::device`]): its number.
    Device(&'a str),
    /// Somebody who has the data folder has said, at this time, that the login may be tried afresh.
    Unlocked(Ms),
}

/// So long after an `unlock` what was counted before is passed over.
pub const UNLOCKED_MAX: Ms = 15 * MINUTE;

#[derive(Clone, Copy)]
struct Count {
    fails: u32,
    /// Time of the last failure.
    at: Instant,
    /// Tries in progress.
    open: u32,
}

impl Count {
    /// The count after decay.
    fn decayed(self, now: Instant) -> Count {
        let quiet = now.saturating_duration_since(self.at);
        let halvings = (quiet.as_secs() / WAIT_MAX.as_secs()).min(31);
        let fails = match self.fails {
            few if few < FREE_TRIES && quiet > WINDOW => 0,
            fails => fails >> halvings,
        };
        Count { fails, ..self }
    }

    /// Time until the next allowed try.
    fn wait(self, free: u32, now: Instant) -> Duration {
        if self.fails + self.open < free {
            return Duration::ZERO;
        }
        // As many at once as are left, then one at a time.
        let one_by_one = if self.open > 0 {
            Duration::from_secs(1)
        } else {
            Duration::ZERO
        };
        let Some(over) = self.fails.checked_sub(free) else {
            return one_by_one;
        };
        let wait = (WINDOW * 2u32.pow(over.min(8))).min(WAIT_MAX);
        wait.saturating_sub(now.saturating_duration_since(self.at))
            .max(one_by_one)
    }
}

/// A sign-in try. Counted only when [`Attempt::failed`] is called: a refusal because of load is no guess.
pub struct Attempt<'a> {
    throttle: &'a Throttle,
    keys: Vec<(u64, u32)>,
    rank: Rank,
}

impl Throttle {
    /// May this login be tried from this address now? Error: `too_many_sign_ins`.
    pub fn admit(&self, login: &str, ip: &str, known: Known) -> Result<Attempt<'_>> {
        self.admit_at(self.keys(login, ip, known), known, clock::mono())
    }

    /// May a code of this account's authenticator be tried now? Only who has its password, or is signed in to it, comes so
    /// far; then it is counted for the account, or a code would be found from many addresses. Error: `too_many_sign_ins`.
    pub fn admit_code(&self, user: Id<User>, known: Known) -> Result<Attempt<'_>> {
        let key = match known {
            Known::Device(number) => self.hash.hash_one(("code of a device", number)),
            Known::Unlocked(at) => self.hash.hash_one(("code afresh", user.get(), at)),
            Known::Here | Known::No => self.hash.hash_one(("code", user.get())),
        };
        self.admit_at(vec![(key, FREE_TRIES)], known, clock::mono())
    }

    /// Should this failure be recorded? `Some` holds the number of unrecorded ones before it. Independent of whether
    /// the login exists, since the time would reveal it.
    pub fn report_failure(&self) -> Option<u64> {
        self.rows
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next(ROWS_MAX, ROW_EVERY, clock::mono())
    }

    /// Counter keys, the login's own first, with their free tries.
    fn keys(&self, login: &str, ip: &str, known: Known) -> Vec<(u64, u32)> {
        let ip = ip.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let login = login.to_lowercase();
        let pair = (self.hash.hash_one(("login", &login, network(ip))), FREE_TRIES);
        match known {
            Known::Device(number) => vec![(self.hash.hash_one(("device", number)), FREE_TRIES)],
            Known::Here => vec![pair],
            Known::Unlocked(at) => vec![(self.hash.hash_one(("afresh", at, &login, network(ip))), FREE_TRIES)],
            Known::No => vec![
                pair,
                (self.hash.hash_one(("network", network(ip))), FREE_TRIES),
                (self.hash.hash_one(("site", block(ip, 24, 48))), FREE_TRIES_OF_SITE),
                // Never waited for: only used for ranking.
                (self.hash.hash_one(("provider", block(ip, 16, 32))), u32::MAX),
            ],
        }
    }

    fn admit_at(&self, keys: Vec<(u64, u32)>, known: Known, now: Instant) -> Result<Attempt<'_>> {
        let mut counts = self.counts();
        let of = |key: &u64| counts.get(key).map(|count| count.decayed(now));
        let found = || keys.iter().filter_map(|(key, free)| Some((of(key)?, *free)));
        let wait = found().map(|(count, free)| count.wait(free, now)).max();
        if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
            let seconds = wait.as_millis().div_ceil(1_000) as u32;
            return Err(Error::new(
                Kind::TooMany(seconds),
                "too_many_sign_ins",
                format!("Too many failed sign-ins. Try again in {seconds} s."),
            ));
        }
        let rank = match known {
            Known::No => 1 + found().map(|(count, _)| count.fails + count.open).sum::<u32>(),
            _ => 0,
        };
        if counts.len() + keys.len() > ENTRIES_MAX {
            counts.retain(|_, count| count.open > 0 || count.decayed(now).fails > 0);
            while counts.len() + keys.len() > ENTRIES_MAX {
                forget_half(&mut counts);
            }
        }
        for (key, _) in &keys {
            let fresh = Count {
                fails: 0,
                at: now,
                open: 0,
            };
            counts.entry(*key).or_insert(fresh).open += 1;
        }
        drop(counts);
        Ok(Attempt {
            throttle: self,
            keys,
            rank,
        })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<u64, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// Rank for hashing: known clients first, then those from networks with the fewest failures and tries.
    pub fn rank(&self) -> Rank {
        self.rank
    }

    /// Counts how it ended, and passes that on.
    pub fn ended(self, good: bool) -> bool {
        if good {
            self.succeeded()
        } else {
            self.failed()
        }
        good
    }

    /// It was a guess.
    pub fn failed(self) {
        self.failed_at(clock::mono());
    }

    fn failed_at(self, now: Instant) {
        let mut counts = self.throttle.counts();
        for (key, _) in &self.keys {
            if let Some(count) = counts.get_mut(key) {
                *count = count.decayed(now);
                (count.fails, count.at) = (count.fails.saturating_add(1), now);
            }
        }
    }

    /// The password was right.
    pub fn succeeded(self) {
        if let Some((own, _)) = self.keys.first()
            && let Some(count) = self.throttle.counts().get_mut(own)
        {
            count.fails = 0;
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut counts = self.throttle.counts();
        for (key, _) in &self.keys {
            if let Some(count) = counts.get_mut(key) {
                count.open = count.open.saturating_sub(1);
                if count.open == 0 && count.fails == 0 {
                    counts.remove(key);
                }
            }
        }
    }
}

/// Entries with the most failures are kept: a flood of new names and addresses must not reset a target's count.
fn forget_half(counts: &mut HashMap<u64, Count>) {
    let mut order: Vec<_> = counts.values().map(|c| (c.fails, c.at)).collect();
    let middle = order.len() / 2;
    let (_, limit, _) = order.select_nth_unstable(middle);
    let (limit, mut surplus) = (*limit, middle + 1);
    counts.retain(|_, c| {
        let goes = surplus > 0 && (c.fails, c.at) <= limit;
        surplus -= usize::from(goes);
        !goes
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Story {
        throttle: Throttle,
        now: Instant,
    }

    impl Story {
        fn new() -> Story {
            Story {
                throttle: Throttle::default(),
                now: clock::mono(),
            }
        }

        fn admit(&self, login: &str, ip: &str, known: Known) -> Result<Attempt<'_>> {
            let keys = self.throttle.keys(login, ip, known);
            self.throttle.admit_at(keys, known, self.now)
        }

        /// A wrong password, if it may be tried at all.
        fn fails(&self, login: &str, ip: &str, known: Known) -> bool {
            let attempt = self.admit(login, ip, known);
            attempt.map(|attempt| attempt.failed_at(self.now)).is_ok()
        }

        fn may(&self, login: &str, ip: &str, known: Known) -> bool {
            self.admit(login, ip, known).is_ok()
        }
    }

    #[test]
    fn the_sixth_try_in_a_minute_waits_longer_each_time_and_is_forgotten_in_the_end() {
        let mut story = Story::new();
        assert!((0..5).all(|_| story.fails("anna", "192.0.2.1", Known::No)));
        for (wait, next) in [(1, 2), (2, 4), (4, 8)] {
            story.now += WINDOW * wait - Duration::from_secs(1);
            assert!(!story.may("Anna", "192.0.2.1", Known::No), "{wait} min");
            story.now += Duration::from_secs(1);
            assert!(
                story.fails("anna", "192.0.2.1", Known::No),
                "one more, and then {next} min"
            );
        }
        story.now += WAIT_MAX * 3;
        assert!(
            (0..4).all(|_| story.fails("anna", "192.0.2.1", Known::No)),
            "8 have become 1"
        );
        assert!(!story.may("anna", "192.0.2.1", Known::No));
    }

    #[test]
    fn nobody_waits_for_what_others_did() {
        let story = Story::new();
        for n in 0..200 {
            story.fails("anna", &format!("198.51.100.{n}"), Known::No);
            story.fails("anna", &format!("2001:db8:0:{n:x}::1"), Known::No);
        }
        assert!(story.may("anna", "192.0.2.1", Known::No), "the name is free elsewhere");
        assert!(story.may("anna", "2001:db8:1::1", Known::No));
        // Known clients at the guesser's address are not slowed down.
        assert!((0..5).all(|_| story.fails("bert", "192.0.2.9", Known::No)));
        assert!(!story.may("anna", "192.0.2.9", Known::No), "the address waits");
        assert!(story.may("anna", "192.0.2.9", Known::Here));
        assert!(!story.may("bert", "192.0.2.9", Known::Here), "that is the pair");
        assert!(story.may("bert", "192.0.2.9", Known::Device("7")));
        // A known device cannot be used for guessing.
        assert!((0..5).all(|_| story.fails("bert", "192.0.2.9", Known::Device("7"))));
        assert!(!story.may("bert", "203.0.113.1", Known::Device("7")));
    }

    #[test]
    fn an_unlocked_login_is_tried_afresh_and_not_for_ever() {
        let story = Story::new();
        assert!((0..5).all(|_| story.fails("anna", "192.0.2.1", Known::No)));
        assert!(!story.may("anna", "192.0.2.1", Known::No) && !story.may("anna", "192.0.2.1", Known::Here));
        assert!((0..5).all(|_| story.fails("anna", "192.0.2.1", Known::Unlocked(1))));
        assert!(!story.may("anna", "192.0.2.1", Known::Unlocked(1)));
        assert!(story.may("anna", "192.0.2.1", Known::Unlocked(2)), "once more");
        assert!(!story.may("anna", "192.0.2.1", Known::No), "what was counted stays");
    }

    #[test]
    fn codes_are_counted_for_the_account_wherever_they_come_from() {
        let throttle = Throttle::default();
        let anna = Id::new(1);
        let wrong = |known| throttle.admit_code(anna, known).map(Attempt::failed).is_ok();
        assert!((0..5).all(|_| wrong(Known::No)));
        assert!(!wrong(Known::No) && !wrong(Known::Here));
        assert!(wrong(Known::Device("7")) && wrong(Known::Unlocked(1)));
        assert!(throttle.admit_code(Id::new(2), Known::No).is_ok());
    }

    #[test]
    fn a_sign_in_of_ones_own_does_not_set_the_address_free() {
        let story = Story::new();
        for _ in 0..4 {
            assert!(story.fails("anna", "192.0.2.1", Known::No));
            let own = story.admit("mallory", "192.0.2.1", Known::No);
            own.unwrap_or_else(|e| panic!("{e}")).succeeded();
        }
        assert!(story.fails("anna", "192.0.2.1", Known::No));
        assert!(!story.may("anna", "192.0.2.1", Known::No) && !story.may("bert", "192.0.2.1", Known::No));
    }

    #[test]
    fn who_was_turned_away_has_not_guessed_and_many_at_once_are_no_way_around() {
        let story = Story::new();
        for _ in 0..20 {
            assert!(
                story.may("anna", "192.0.2.1", Known::No),
                "let in, and then we were busy"
            );
        }
        let open: Vec<_> = (0..8)
            .filter_map(|_| story.admit("anna", "192.0.2.1", Known::No).ok())
            .collect();
        assert_eq!(open.len(), 5);
        drop(open);
        assert!(story.throttle.counts().is_empty());
    }

    #[test]
    fn neighbours_in_an_ipv6_net_count_as_one_and_many_nets_of_a_site_in_the_end() {
        let story = Story::new();
        assert!((0..5).all(|n| story.fails(&format!("u{n}"), &format!("2001:db8::{n}"), Known::No)));
        assert!(!story.may("u9", "2001:db8::ffff", Known::No));
        let tried = (1..=99).filter(|n| story.fails("anna", &format!("2001:db8:0:{n:x}::1"), Known::No));
        assert_eq!(tried.count(), 45, "and 5 before");
        // Who comes from elsewhere goes before them, most of all from another provider.
        let rank = |ip| story.admit("anna", ip, Known::No).map(|a| a.rank()).ok();
        assert_eq!(rank("2001:db8:7::1"), Some(51));
        assert_eq!(rank("192.0.2.1"), Some(1));
    }

    #[test]
    fn a_flood_of_names_neither_grows_the_table_nor_sets_the_target_free() {
        let story = Story::new();
        assert!((0..5).all(|_| story.fails("anna", "192.0.2.1", Known::No)));
        for n in 0..30_000u32 {
            story.fails(&format!("u{n}"), &Ipv4Addr::from(n << 8).to_string(), Known::No);
        }
        assert!(story.throttle.counts().len() <= ENTRIES_MAX);
        assert!(!story.may("anna", "192.0.2.1", Known::No));
    }
}
