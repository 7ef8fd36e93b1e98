//! Name resolution with deadlines. `getaddrinfo` has none (it may take half a minute), so a few threads call it and
//! callers wait until their own deadline. Names are resolved at most once a minute.

use crate::base::clock::{self, Duration, Instant};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};

/// Result of a resolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// At least one address.
    Known(Vec<IpAddr>),
    /// Unknown name or no answer; the resolver's message.
    Unknown(String),
    /// No answer by the deadline.
    Slow,
}

/// Validity of an answer. The resolver does not give the TTL.
const GOOD: Duration = Duration::from_secs(60);
/// Validity of a failure.
const BAD: Duration = Duration::from_secs(5);
/// Concurrent lookups. A slow resolver delays other names, but not literal addresses.
const THREADS_MAX: usize = 4;
/// Limit of cached names; the table is cleared when full.
const NAMES_MAX: usize = 16_384;
/// Addresses used per name.
const ADDRESSES_MAX: usize = 4;

enum Entry {
    Asked,
    Known(Answer, Instant),
}

#[derive(Default)]
struct Table {
    entries: HashMap<String, Entry>,
    queue: VecDeque<String>,
    threads: usize,
    idle: usize,
}

struct Names {
    table: Mutex<Table>,
    asked: Condvar,
    told: Condvar,
}

static NAMES: LazyLock<Names> = LazyLock::new(|| Names {
    table: Mutex::default(),
    asked: Condvar::new(),
    told: Condvar::new(),
});

/// The addresses of a name (already known to be one, see [`crate::base::host::Host`]), by `until` at the latest.
pub fn resolve(name: &str, until: Instant) -> Answer {
    let mut table = NAMES.lock();
    let mut asked_by_us = false;
    loop {
        let now = clock::mono();
        match table.entries.get(name) {
            Some(Entry::Known(answer, good_until)) if *good_until > now || asked_by_us => return answer.clone(),
            Some(Entry::Asked) => {}
            _ => {
                asked_by_us = true;
                table.ask(name);
            }
        }
        table.staff();
        let left = until.saturating_duration_since(now);
        if left.is_zero() {
            return Answer::Slow;
        }
        table = NAMES
            .told
            .wait_timeout(table, left)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
}

impl Names {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn ask(&mut self, name: &str) {
        if self.entries.len() >= NAMES_MAX {
            self.entries.retain(|_, entry| matches!(entry, Entry::Asked));
        }
        self.entries.insert(name.into(), Entry::Asked);
        self.queue.push_back(name.into());
        NAMES.asked.notify_one();
    }

    /// Starts a thread if all are busy. If that fails (process limit), the name waits for one of the others.
    fn staff(&mut self) {
        if !self.queue.is_empty() && self.idle == 0 && self.threads < THREADS_MAX {
            let started = std::thread::Builder::new()
                .name("names".into())
                .stack_size(256 << 10) // getaddrinfo and the modules of nsswitch.conf run on it
                .spawn(serve);
            self.threads += usize::from(started.is_ok());
        }
    }
}

fn serve() {
    let mut table = NAMES.lock();
    loop {
        let Some(name) = table.queue.pop_front() else {
            table.idle += 1;
            table = NAMES.asked.wait(table).unwrap_or_else(PoisonError::into_inner);
            table.idle -= 1;
            continue;
        };
        drop(table);
        let answer = ask_system(&name);
        let good_for = if matches!(answer, Answer::Known(_)) { GOOD } else { BAD };
        table = NAMES.lock();
        table
            .entries
            .insert(name, Entry::Known(answer, clock::mono() + good_for));
        NAMES.told.notify_all();
    }
}

fn ask_system(name: &str) -> Answer {
    match (name, 0).to_socket_addrs() {
        Ok(found) => {
            let mut ips: Vec<IpAddr> = Vec::new();
            for ip in found.map(|a| a.ip()) {
                if !ips.contains(&ip) && ips.len() < ADDRESSES_MAX {
                    ips.push(ip);
                }
            }
            match ips.is_empty() {
                true => Answer::Unknown("no address".into()),
                false => Answer::Known(ips),
            }
        }
        Err(e) => Answer::Unknown(e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_is_known_and_a_reserved_name_is_not() {
        let until = clock::mono() + Duration::from_secs(30);
        assert!(matches!(resolve("localhost", until), Answer::Known(ips) if ips[0].is_loopback()));
        // RFC 6761: `.invalid` never exists.
        assert_eq!(
            std::mem::discriminant(&resolve("nobody.invalid", until)),
            std::mem::discriminant(&Answer::Unknown(String::new()))
        );
    }

    #[test]
    fn whoever_cannot_wait_is_told_so() {
        let past = clock::mono();
        assert_eq!(resolve("slow.invalid", past), Answer::Slow);
    }
}
