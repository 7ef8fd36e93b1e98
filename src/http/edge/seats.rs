//! Who sits at the table: every client connection has a seat or is turned away. When all seats of an address, or all
//! seats, are taken, one that keeps us waiting gives up its own: of the network that holds the most, an idle one before
//! one in the middle of sending, and of those the one that has been so for longest.

use super::refusal::Refusal;
use crate::base::clock::{self, Duration, Instant};
use crate::base::host::network;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Evicted connections whose threads have not left yet: more than so many and a new one is turned away all the same.
const LEAVING_MAX: usize = 64;

/// One connection, as others see it.
struct Chair {
    socket: Arc<TcpStream>,
    ip: IpAddr,
    /// Since when it keeps us waiting, counted by `Shared::turn` in steps of two, plus [`SENDING`] in the middle of a
    /// head or body; [`BUSY`] while we work for it, [`LEAVING`] when evicted.
    waiting_since: AtomicU64,
}

const BUSY: u64 = 0;
const SENDING: u64 = 1;
const LEAVING: u64 = u64::MAX;

/// All seats.
#[derive(Clone)]
pub struct Seats(Arc<Shared>);

struct Shared {
    total_max: usize,
    per_ip_max: usize,
    room: Mutex<Room>,
    left: Condvar,
    /// Ticks by two each time somebody begins to keep us waiting: an order needs no clock.
    turn: AtomicU64,
    evicted: AtomicU64,
}

#[derive(Default)]
struct Room {
    chairs: HashMap<u64, Arc<Chair>>,
    per_ip: HashMap<IpAddr, usize>,
    last_id: u64,
    /// Connection threads alive, evicted ones included.
    threads: usize,
    closing: bool,
}

impl Seats {
    /// So many in all, and so many of one address.
    pub fn new(total_max: usize, per_ip_max: usize) -> Seats {
        Seats(Arc::new(Shared {
            total_max,
            per_ip_max,
            room: Mutex::default(),
            left: Condvar::new(),
            turn: AtomicU64::new(2),
            evicted: AtomicU64::new(0),
        }))
    }

    /// A seat for a new connection of `ip`; `exempt` addresses have no limit of their own.
    pub fn admit(&self, socket: Arc<TcpStream>, ip: IpAddr, exempt: bool) -> Result<Seat, Refusal> {
        let ip = network(ip);
        let mut room = self.room();
        if room.closing || room.threads >= self.0.total_max + LEAVING_MAX {
            return Err(Refusal::Full);
        }
        let of_ip = room.per_ip.get(&ip).copied().unwrap_or(0);
        if !exempt && of_ip >= self.0.per_ip_max && !self.evict(&mut room, |chair, _| chair.ip == ip) {
            return Err(Refusal::PeerFull);
        }
        if room.chairs.len() >= self.0.total_max && !self.evict(&mut room, |_, _| true) {
            return Err(Refusal::Full);
        }
        let chair = Arc::new(Chair {
            socket,
            ip,
            waiting_since: AtomicU64::new(self.0.turn.fetch_add(2, Ordering::Relaxed)),
        });
        room.last_id += 1;
        room.threads += 1;
        let id = room.last_id;
        *room.per_ip.entry(ip).or_default() += 1;
        room.chairs.insert(id, Arc::clone(&chair));
        Ok(Seat {
            seats: self.clone(),
            id,
            chair,
        })
    }

    /// Ends a connection that keeps us waiting, of those that `may`. Its seat is free at once, its thread leaves soon.
    fn evict(&self, room: &mut Room, may: impl Fn(&Chair, u64) -> bool) -> bool {
        loop {
            let first = room
                .chairs
                .iter()
                .map(|(id, chair)| (chair, chair.waiting_since.load(Ordering::SeqCst), *id))
                .filter(|(chair, since, _)| *since != BUSY && *since != LEAVING && may(chair, *since))
                .map(|(chair, since, id)| (Reverse(room.per_ip.get(&chair.ip)), since & SENDING, since, id))
                .min();
            let Some((_, _, since, id)) = first else { return false };
            let chair = &room.chairs[&id];
            // It may have become busy this very moment: then the next one.
            if chair
                .waiting_since
                .compare_exchange(since, LEAVING, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
            {
                let _ = chair.socket.shutdown(Shutdown::Both);
                self.0.evicted.fetch_add(1, Ordering::Relaxed);
                leave(room, id);
                return true;
            }
        }
    }

    /// Turns newcomers away, ends the idle, waits for the busy until then, ends them too. How many had to be cut?
    pub fn close(&self, until: Instant) -> usize {
        let mut room = self.room();
        room.closing = true;
        while self.evict(&mut room, |_, since| since & SENDING == 0) {}
        drop(room);
        if self.wait_empty(until) {
            return 0;
        }
        let room = self.room();
        let cut = room.chairs.len();
        for chair in room.chairs.values() {
            let _ = chair.socket.shutdown(Shutdown::Both);
        }
        drop(room);
        // A thread waiting for its handler sees its socket only afterwards; it holds no client any more.
        self.wait_empty(clock::mono() + Duration::from_secs(1));
        cut
    }

    fn wait_empty(&self, until: Instant) -> bool {
        let mut room = self.room();
        while room.threads > 0 {
            let left = until.saturating_duration_since(clock::mono());
            if left.is_zero() {
                return false;
            }
            room = self
                .0
                .left
                .wait_timeout(room, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }

    /// Connections open now.
    pub fn taken(&self) -> usize {
        self.room().chairs.len()
    }

    /// Idle connections ended to make room (or to stop).
    pub fn evicted(&self) -> u64 {
        self.0.evicted.load(Ordering::Relaxed)
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        self.0.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn leave(room: &mut Room, id: u64) {
    let Some(chair) = room.chairs.remove(&id) else { return };
    if let Some(count) = room.per_ip.get_mut(&chair.ip) {
        *count -= 1;
        if *count == 0 {
            room.per_ip.remove(&chair.ip);
        }
    }
}

/// A connection's own seat, held by its thread.
pub struct Seat {
    seats: Seats,
    id: u64,
    chair: Arc<Chair>,
}

impl Seat {
    /// Between two requests: may be ended at any time. `false`: it is over, now.
    pub fn idle(&self) -> bool {
        let turn = self.turn();
        // Under the lock: either the closing sees this chair idle, or this sees the closing.
        let room = self.seats.room();
        !room.closing && self.turn_to(BUSY, turn)
    }

    /// A request has begun to arrive: may be ended for a newcomer. `false`: too late, the connection was ended just before.
    pub fn sending(&self) -> bool {
        let turn = self.turn() | SENDING;
        self.turn_to(self.chair.waiting_since.load(Ordering::SeqCst), turn)
    }

    /// The request has arrived and the work begins. `false`: too late, the connection was ended just before.
    pub fn busy(&self) -> bool {
        self.turn_to(self.chair.waiting_since.load(Ordering::SeqCst), BUSY)
    }

    fn turn(&self) -> u64 {
        self.seats.0.turn.fetch_add(2, Ordering::Relaxed)
    }

    /// Is the edge closing? Then this answer is the connection's last.
    pub fn last(&self) -> bool {
        self.seats.room().closing
    }

    fn turn_to(&self, from: u64, to: u64) -> bool {
        from != LEAVING
            && self
                .chair
                .waiting_since
                .compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut room = self.seats.room();
        leave(&mut room, self.id);
        room.threads -= 1;
        drop(room);
        self.seats.0.left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn socket(listener: &TcpListener) -> Arc<TcpStream> {
        Arc::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap())
    }

    #[test]
    fn the_longest_idle_gives_up_its_seat_and_the_busy_never_do() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let seats = Seats::new(3, 2);
        let admit = |ip: &str, exempt| seats.admit(socket(&listener), ip.parse().unwrap(), exempt);
        let first = admit("192.0.2.1", false).ok().unwrap();
        let second = admit("192.0.2.1", false).ok().unwrap();
        assert!(first.busy() && second.busy());
        assert_eq!(admit("192.0.2.1", false).err(), Some(Refusal::PeerFull));
        assert!(second.idle());
        let third = admit("::ffff:192.0.2.1", false).ok().unwrap();
        assert!(!second.busy() && !second.idle(), "it was ended for the newcomer");
        assert!(third.busy());
        let fourth = admit("192.0.2.1", true).ok().unwrap();
        assert!(fourth.busy());
        assert_eq!(admit("192.0.2.2", false).err(), Some(Refusal::Full));
        assert_eq!((seats.taken(), seats.evicted()), (3, 1));
        drop((first, second, third, fourth));
        assert_eq!(seats.taken(), 0);
        assert!(seats.room().per_ip.is_empty());
    }

    #[test]
    fn neighbours_of_one_ipv6_line_share_its_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let seats = Seats::new(9, 1);
        let one = seats
            .admit(socket(&listener), "2001:db8::1".parse().unwrap(), false)
            .ok()
            .unwrap();
        assert!(one.busy());
        let other = seats.admit(socket(&listener), "2001:db8::ffff:2".parse().unwrap(), false);
        assert_eq!(other.err(), Some(Refusal::PeerFull));
        assert!(
            seats
                .admit(socket(&listener), "2001:db8:0:1::1".parse().unwrap(), false)
                .is_ok()
        );
    }

    #[test]
    fn closing_ends_the_idle_and_waits_for_the_busy() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let seats = Seats::new(9, 9);
        let idle = seats
            .admit(socket(&listener), "192.0.2.1".parse().unwrap(), false)
            .ok()
            .unwrap();
        let busy = seats
            .admit(socket(&listener), "192.0.2.1".parse().unwrap(), false)
            .ok()
            .unwrap();
        assert!(busy.busy());
        let worker = std::thread::spawn(move || {
            while !busy.last() {
                std::thread::yield_now();
            }
            assert!(!busy.idle());
        });
        let idler = std::thread::spawn(move || while idle.busy() && idle.idle() {});
        assert_eq!(seats.close(clock::mono() + Duration::from_secs(60)), 0);
        worker.join().unwrap();
        idler.join().unwrap();
        assert!(
            seats
                .admit(socket(&listener), "192.0.2.1".parse().unwrap(), false)
                .is_err()
        );
    }
}
