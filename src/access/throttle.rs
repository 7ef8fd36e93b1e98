//! Slows down guessing: five sign-ins a minute for each name and each address (/64 for IPv6), then one try after 1, 2,
//! 4 … up to 15 minutes. Nobody is locked out for good, or locking out would be the attack. Kept in memory, bounded.
//! Who brings a new name and address each time never waits; for that the rows about failures are rationed.

use crate::base::clock::{self, Duration, Instant};
use crate::base::error::{Error, Kind, Result};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

const FREE_TRIES: u32 = 5;
const WINDOW: Duration = Duration::from_secs(60);
const WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// More names and addresses than this are an attack in itself; those with the fewest tries are forgotten.
const ENTRIES_MAX: usize = 10_000;

/// Failed sign-ins that are told each by itself, and how long it takes until there may be one more. The audit keeps its
/// rows for good, and anybody can fail: this is 0.5 MB a day at the very most.
const ROWS_MAX: u32 = 60;
const ROW_EVERY: Duration = Duration::from_secs(60);

/// Counts of failed sign-ins.
#[derive(Default)]
pub struct Throttle {
    tries: Mutex<HashMap<String, Entry>>,
    rows: Mutex<Rows>,
}

#[derive(Default)]
struct Rows {
    /// Of [`ROWS_MAX`].
    used: u32,
    /// When one of them came back last.
    since: Option<Instant>,
    untold: u64,
}

struct Entry {
    fails: u32,
    since: Instant,
    free_at: Instant,
}

impl Throttle {
    /// May this name from this address try now? Counts the try; [`Throttle::forgive`] takes it back after a success.
    pub fn try_sign_in(&self, login: &str, ip: &str) -> Result<()> {
        self.attempt(login, ip, clock::mono())
    }

    /// A right password: the name and address start afresh.
    pub fn forgive(&self, login: &str, ip: &str) {
        let mut map = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys(login, ip) {
            map.remove(&key);
        }
    }

    /// Shall this failure be written down? Then with how many before it that were only counted. It is the same for a name
    /// that exists and one that does not, or the time it takes would tell them apart.
    pub fn tell_failure(&self) -> Option<u64> {
        self.rows
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next(clock::mono())
    }

    fn attempt(&self, login: &str, ip: &str, now: Instant) -> Result<()> {
        let mut map = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = keys(login, ip);
        let wait = keys
            .iter()
            .filter_map(|k| map.get(k))
            .map(|e| e.free_at.saturating_duration_since(now))
            .max();
        if let Some(wait) = wait.filter(|w| !w.is_zero()) {
            let seconds = wait.as_secs() as u32 + 1;
            return Err(Error::new(
                Kind::TooMany(seconds),
                "too_many_sign_ins",
                format!("Too many failed sign-ins. Try again in {seconds} s."),
            ));
        }
        if map.len() + keys.len() > ENTRIES_MAX {
            map.retain(|_, e| e.since + WINDOW > now || e.free_at > now);
            while map.len() + keys.len() > ENTRIES_MAX {
                forget_half(&mut map);
            }
        }
        for key in keys {
            let entry = map.entry(key).or_insert(Entry {
                fails: 0,
                since: now,
                free_at: now,
            });
            if entry.since + WINDOW < now && entry.fails < FREE_TRIES {
                (entry.fails, entry.since) = (0, now);
            }
            entry.fails += 1;
            if entry.fails >= FREE_TRIES {
                let doublings = (entry.fails - FREE_TRIES).min(8);
                entry.free_at = now + (WINDOW * 2u32.pow(doublings)).min(WAIT_MAX);
            }
        }
        Ok(())
    }
}

impl Rows {
    fn next(&mut self, now: Instant) -> Option<u64> {
        let since = *self.since.get_or_insert(now);
        let back = (now - since).as_secs() / ROW_EVERY.as_secs();
        self.since = Some(since + ROW_EVERY * back as u32);
        self.used = self.used.saturating_sub(back as u32);
        if self.used == ROWS_MAX {
            self.untold += 1;
            return None;
        }
        self.used += 1;
        Some(std::mem::take(&mut self.untold))
    }
}

/// Whoever guesses hardest is remembered: a flood of fresh names and addresses must not set the target's count free.
fn forget_half(map: &mut HashMap<String, Entry>) {
    let mut order: Vec<_> = map.values().map(|e| (e.fails, e.since)).collect();
    let middle = order.len() / 2;
    let (_, limit, _) = order.select_nth_unstable(middle);
    let (limit, mut surplus) = (*limit, middle + 1);
    map.retain(|_, e| {
        let goes = surplus > 0 && (e.fails, e.since) <= limit;
        surplus -= usize::from(goes);
        !goes
    });
}

fn keys(login: &str, ip: &str) -> [String; 2] {
    let net = match ip.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) => format!("{:x?}", &v6.segments()[..4]),
        _ => ip.to_string(),
    };
    [format!("login {}", login.to_lowercase()), format!("ip {net}")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_try_in_a_minute_waits_and_the_wait_grows() {
        let throttle = Throttle::default();
        let start = clock::mono();
        for n in 0..5 {
            throttle
                .attempt("anna", "192.0.2.1", start)
                .unwrap_or_else(|e| panic!("try {n}: {e}"));
        }
        assert!(
            throttle.attempt("anna", "192.0.2.9", start).is_err(),
            "same name, other address"
        );
        assert!(
            throttle.attempt("bert", "192.0.2.1", start).is_err(),
            "same address, other name"
        );
        assert!(throttle.attempt("bert", "192.0.2.9", start).is_ok());
        let later = start + WINDOW + Duration::from_secs(1);
        assert!(
            throttle.attempt("anna", "192.0.2.1", later).is_ok(),
            "one more after a minute"
        );
        assert!(
            throttle.attempt("anna", "192.0.2.1", later + WINDOW).is_err(),
            "and then two minutes' wait"
        );
        throttle.forgive("anna", "192.0.2.1");
        assert!(throttle.attempt("anna", "192.0.2.1", later).is_ok());
    }

    #[test]
    fn neighbours_in_an_ipv6_net_count_as_one() {
        let throttle = Throttle::default();
        for n in 0..5 {
            throttle
                .attempt(&format!("u{n}"), &format!("2001:db8::{n}"), clock::mono())
                .unwrap();
        }
        assert!(throttle.attempt("u9", "2001:db8::ffff", clock::mono()).is_err());
        assert!(throttle.attempt("u9", "2001:db8:0:1::1", clock::mono()).is_ok());
    }

    #[test]
    fn a_flood_of_names_neither_grows_the_table_nor_sets_the_target_free() {
        let throttle = Throttle::default();
        for _ in 0..FREE_TRIES {
            throttle.attempt("anna", "192.0.2.1", clock::mono()).unwrap();
        }
        for n in 0..30_000u32 {
            let _ = throttle.attempt(
                &format!("u{n}"),
                &std::net::Ipv4Addr::from(n).to_string(),
                clock::mono(),
            );
        }
        assert!(throttle.tries.lock().unwrap().len() <= ENTRIES_MAX);
        assert!(throttle.attempt("anna", "192.0.2.9", clock::mono()).is_err());
    }

    #[test]
    fn a_flood_of_failures_is_told_once_a_minute_with_its_count() {
        let (mut rows, start) = (Rows::default(), clock::mono());
        let told = (0..1_000).filter_map(|_| rows.next(start)).collect::<Vec<_>>();
        assert_eq!(told, [0; 60]);
        assert_eq!(rows.next(start + ROW_EVERY), Some(940));
        assert_eq!(rows.next(start + ROW_EVERY), None);
        assert_eq!(rows.next(start + 2 * ROW_EVERY), Some(1));
        let rested = start + 90 * ROW_EVERY;
        assert_eq!((0..1_000).filter_map(|_| rows.next(rested)).count(), 60);
    }
}
