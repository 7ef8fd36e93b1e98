//! Limits of clients: every number that bounds resources, and the gauges that enforce them.

use crate::base::clock::{self, Duration, Instant};
use crate::base::host::network;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Default limit of an anonymous request body in bytes.
pub const ANONYMOUS_BODY_MAX: u64 = 64 << 10;

/// Caps and deadlines. The defaults fit a fleet's control panel on a small machine.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Client connections at once; one descriptor each, and one thread for all but streams.
    pub connections_max: usize,
    /// Of one IPv4 address or IPv6 /64; loopback and trusted proxies are exempt.
    pub connections_per_ip_max: usize,
    /// Requests in handlers at once; far below the inner socket's backlog, since connecting has no deadline.
    pub in_flight_max: usize,
    /// The same per IPv4 address or IPv6 /64; fewer than there are handlers.
    pub in_flight_each_max: usize,
    /// Bytes of bodies and answers in memory at once, over all connections.
    pub buffered_max: usize,
    /// Of one IPv4 address or IPv6 /64.
    pub buffered_each_max: usize,
    /// Bytes of bodies in files at once, over all connections.
    pub spooled_max: usize,
    /// Of one IPv4 address or IPv6 /64.
    pub spooled_each_max: usize,
    /// Limit of an anonymous request body. All connections together stay below [`Limits::buffered_max`].
    pub anonymous_body_max: u64,
    /// Responses up to this size are buffered, so that a slow client holds memory but no handler.
    pub spool_max: usize,
    /// From `accept` to the end of the TLS handshake.
    pub handshake: Duration,
    /// From a head's first byte to its last (for a new connection: from `accept`).
    pub head: Duration,
    /// A kept-alive connection without a request.
    pub idle: Duration,
    /// From the end of the head to the end of the body, for the first MiB.
    pub body: Duration,
    /// Wait for a handler before 503.
    pub queue: Duration,
    /// From the start of the handler to the head of its response, then 504.
    pub handler: Duration,
    /// Writing an answer, for the first MiB.
    pub answer: Duration,
    /// Maximum time of a write without progress.
    pub stall: Duration,
    /// Interval of heartbeats on a stream.
    pub heartbeat: Duration,
    /// Minimum time between two writes of a stream.
    pub gather: Duration,
    /// Maximum age of a stream; the browser reconnects with its last id.
    pub stream_age: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        let seconds = Duration::from_secs;
        Limits {
            connections_max: 512,
            connections_per_ip_max: 64,
            in_flight_max: 64,
            in_flight_each_max: 12,
            buffered_max: 64 << 20,
            buffered_each_max: 32 << 20,
            spooled_max: 256 << 20,
            spooled_each_max: 64 << 20,
            anonymous_body_max: ANONYMOUS_BODY_MAX,
            spool_max: 1 << 20,
            handshake: seconds(5),
            head: seconds(10),
            idle: seconds(20),
            body: seconds(20),
            queue: seconds(5),
            handler: seconds(30),
            answer: seconds(60),
            stall: seconds(10),
            heartbeat: seconds(15),
            gather: Duration::from_millis(50),
            stream_age: seconds(30 * 60),
        }
    }
}

impl Limits {
    /// Reduces the limits if the process may not open enough files: a quarter is left for the rest of the daemon, and a
    /// request in a handler takes four (the edge's end, and three in `tiny_http`, whose accept loop ends at the first
    /// EMFILE).
    pub fn within(mut self, files_max: usize) -> Limits {
        self.in_flight_max = self.in_flight_max.min(files_max / 16).max(1);
        let left = (files_max - files_max / 4).saturating_sub(4 * self.in_flight_max);
        self.connections_max = self.connections_max.min(left).max(1);
        self
    }
}

/// Limit of open files of this process.
pub fn files_max() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Time limit of transferring `bytes`: `base` for the first MiB, and a second for each 64 KiB beyond.
pub fn allowance(base: Duration, bytes: u64) -> Instant {
    clock::mono() + base + Duration::from_secs(bytes.saturating_sub(1 << 20).min(1 << 40) >> 16)
}

/// A resource limit shared by all connections, with a lower one per network.
#[derive(Clone)]
pub struct Gauge(Arc<Inner>);

struct Inner {
    max: usize,
    each_max: usize,
    used: Mutex<Used>,
    freed: Condvar,
}

#[derive(Default)]
struct Used {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

impl Inner {
    fn take(&self, used: &mut Used, network: IpAddr, n: usize) -> bool {
        let own = used.of.get(&network).copied().unwrap_or(0);
        let fits = used.all + n <= self.max && own + n <= self.each_max;
        if fits && n > 0 {
            used.all += n;
            used.of.insert(network, own + n);
        }
        fits
    }
}

impl Gauge {
    /// An unused gauge of `max`, of which one network gets `each_max`.
    pub fn new(max: usize, each_max: usize) -> Gauge {
        Gauge(Arc::new(Inner {
            max,
            each_max,
            used: Mutex::default(),
            freed: Condvar::new(),
        }))
    }

    /// An empty share.
    pub fn share(&self, ip: IpAddr) -> Share {
        Share(self.clone(), network(ip), 0)
    }

    /// Takes one unit, or `None` at once.
    pub fn one(&self, ip: IpAddr) -> Option<Share> {
        self.one_until(ip, clock::mono())
    }

    /// Takes one unit, waiting until then.
    pub fn one_until(&self, ip: IpAddr, until: Instant) -> Option<Share> {
        let network = network(ip);
        let mut used = self.used();
        while !self.0.take(&mut used, network, 1) {
            let left = until.saturating_duration_since(clock::mono());
            if left.is_zero() {
                return None;
            }
            used = self
                .0
                .freed
                .wait_timeout(used, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        Some(Share(self.clone(), network, 1))
    }

    /// Units in use.
    pub fn taken(&self) -> usize {
        self.used().all
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.0.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Units held by one connection; returned on drop.
pub struct Share(Gauge, IpAddr, usize);

impl Share {
    /// Takes `n` more; `false` if not available.
    pub fn grow(&mut self, n: usize) -> bool {
        let mut used = self.0.used();
        let fits = self.0.0.take(&mut used, self.1, n);
        if fits {
            self.2 += n;
        }
        fits
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.2 == 0 {
            return;
        }
        let mut used = self.0.used();
        used.all -= self.2;
        if let Some(own) = used.of.get_mut(&self.1) {
            *own -= self.2;
            if *own == 0 {
                used.of.remove(&self.1);
            }
        }
        drop(used);
        // Notifies all: the first waiter may be of a network at its limit.
        self.0.0.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_gives_what_it_has_and_takes_it_back() {
        let (here, there) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let gauge = Gauge::new(10, 6);
        let (mut a, mut b) = (gauge.share(here), gauge.share(there));
        assert!(a.grow(6) && !b.grow(5));
        assert!(gauge.one(here).is_none(), "one network has its share, and no more");
        assert!(b.grow(4) && gauge.one(there).is_none());
        drop(a);
        assert_eq!(gauge.taken(), 4);
        drop(b);
        assert_eq!(gauge.taken(), 0);
        assert!(gauge.used().of.is_empty());
    }

    #[test]
    fn who_waits_for_a_place_gets_it() {
        let ip = "192.0.2.1".parse().unwrap();
        let gauge = Gauge::new(1, 1);
        let held = gauge.one(ip);
        let other = gauge.clone();
        let waiter = std::thread::spawn(move || other.one_until(ip, clock::mono() + Duration::from_secs(60)).is_some());
        drop(held);
        assert!(waiter.join().unwrap());
        assert_eq!(gauge.taken(), 0);
    }

    #[test]
    fn few_files_make_small_caps() {
        let caps = |files| {
            let limits = Limits::default().within(files);
            (limits.connections_max, limits.in_flight_max)
        };
        assert_eq!(caps(8192), (512, 64));
        assert_eq!(caps(1024), (512, 64));
        assert_eq!(caps(64), (32, 4));
        assert_eq!(caps(1), (1, 1));
        assert!(files_max().unwrap() > 0);
    }
}
