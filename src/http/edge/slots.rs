//! Connection slots: every client connection has one or is refused. When all slots, or all of an address, are in use, a
//! waiting connection is closed: of the network with the most connections, an idle one before one in the middle of
//! sending, and of these the longest waiting.

use super::refusal::Refusal;
use crate::base::clock::{self, Duration, Instant};
use crate::base::host::network;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Closed connections whose threads have not ended yet: above this number, new ones are refused.
const LEAVING_MAX: usize = 64;

/// A connection, as seen by others.
struct Connection {
    socket: Arc<TcpStream>,
    ip: IpAddr,
    /// Since when it waits for the client, by `Shared::turn` in steps of two, plus [`SENDING`] in the middle of a head
    /// or body; [`BUSY`] while a request is handled, [`LEAVING`] when closed.
    waiting_since: AtomicU64,
}

const BUSY: u64 = 0;
const SENDING: u64 = 1;
const LEAVING: u64 = u64::MAX;

/// All slots.
#[derive(Clone)]
pub struct ConnectionSlots(Arc<Shared>);

struct Shared {
    total_max: usize,
    per_ip_max: usize,
    table: Mutex<Table>,
    left: Condvar,
    /// Incremented by two when a connection begins to wait: the order needs no clock.
    turn: AtomicU64,
    evicted: AtomicU64,
}

#[derive(Default)]
struct Table {
    connections: HashMap<u64, Arc<Connection>>,
    per_ip: HashMap<IpAddr, usize>,
    last_id: u64,
    /// Connection threads, including those of closed connections.
    threads: usize,
    closing: bool,
}

impl ConnectionSlots {
    /// Limits: in total and per address.
    pub fn new(total_max: usize, per_ip_max: usize) -> ConnectionSlots {
        ConnectionSlots(Arc::new(Shared {
            total_max,
            per_ip_max,
            table: Mutex::default(),
            left: Condvar::new(),
            turn: AtomicU64::new(2),
            evicted: AtomicU64::new(0),
        }))
    }

    /// A slot for a new connection of `ip`; `exempt` addresses have no own limit. `None`: refused.
    pub fn admit(&self, socket: Arc<TcpStream>, ip: IpAddr, exempt: bool) -> Result<ConnectionSlot, Refusal> {
        let ip = network(ip);
        let mut table = self.table();
        if table.closing || table.threads >= self.0.total_max + LEAVING_MAX {
            return Err(Refusal::Full);
        }
        let of_ip = table.per_ip.get(&ip).copied().unwrap_or(0);
        if !exempt && of_ip >= self.0.per_ip_max && !self.evict(&mut table, |connection, _| connection.ip == ip) {
            return Err(Refusal::PeerFull);
        }
        if table.connections.len() >= self.0.total_max && !self.evict(&mut table, |_, _| true) {
            return Err(Refusal::Full);
        }
        let connection = Arc::new(Connection {
            socket,
            ip,
            waiting_since: AtomicU64::new(self.0.turn.fetch_add(2, Ordering::Relaxed)),
        });
        table.last_id += 1;
        table.threads += 1;
        let id = table.last_id;
        *table.per_ip.entry(ip).or_default() += 1;
        table.connections.insert(id, Arc::clone(&connection));
        Ok(ConnectionSlot {
            slots: self.clone(),
            id,
            connection,
        })
    }

    /// Closes a waiting connection among those that `may`. Its slot is free at once, its thread ends soon.
    fn evict(&self, table: &mut Table, may: impl Fn(&Connection, u64) -> bool) -> bool {
        loop {
            let first = table
                .connections
                .iter()
                .map(|(id, connection)| (connection, connection.waiting_since.load(Ordering::SeqCst), *id))
                .filter(|(connection, since, _)| *since != BUSY && *since != LEAVING && may(connection, *since))
                .map(|(connection, since, id)| (Reverse(table.per_ip.get(&connection.ip)), since & SENDING, since, id))
                .min();
            let Some((_, _, since, id)) = first else { return false };
            let connection = &table.connections[&id];
            // It may have become busy just now: then the next one.
            if connection
                .waiting_since
                .compare_exchange(since, LEAVING, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
            {
                let _ = connection.socket.shutdown(Shutdown::Both);
                self.0.evicted.fetch_add(1, Ordering::Relaxed);
                leave(table, id);
                return true;
            }
        }
    }

    /// Refuses new connections, closes idle ones, waits for busy ones until then, closes them. Returns how many were
    /// closed by force.
    pub fn close(&self, until: Instant) -> usize {
        let mut table = self.table();
        table.closing = true;
        while self.evict(&mut table, |_, since| since & SENDING == 0) {}
        drop(table);
        if self.wait_empty(until) {
            return 0;
        }
        let table = self.table();
        let cut = table.connections.len();
        for connection in table.connections.values() {
            let _ = connection.socket.shutdown(Shutdown::Both);
        }
        drop(table);
        // A thread waiting for its handler sees its socket only afterwards; it has no client any more.
        self.wait_empty(clock::mono() + Duration::from_secs(1));
        cut
    }

    fn wait_empty(&self, until: Instant) -> bool {
        let mut table = self.table();
        while table.threads > 0 {
            let left = until.saturating_duration_since(clock::mono());
            if left.is_zero() {
                return false;
            }
            table = self
                .0
                .left
                .wait_timeout(table, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }

    /// Connections open now.
    pub fn taken(&self) -> usize {
        self.table().connections.len()
    }

    /// Idle connections closed for new ones or at the stop.
    pub fn evicted(&self) -> u64 {
        self.0.evicted.load(Ordering::Relaxed)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn leave(table: &mut Table, id: u64) {
    let Some(connection) = table.connections.remove(&id) else {
        return;
    };
    if let Some(count) = table.per_ip.get_mut(&connection.ip) {
        *count -= 1;
        if *count == 0 {
            table.per_ip.remove(&connection.ip);
        }
    }
}

/// The slot of a connection, held by its thread.
pub struct ConnectionSlot {
    slots: ConnectionSlots,
    id: u64,
    connection: Arc<Connection>,
}

impl ConnectionSlot {
    /// Between two requests: may be closed at any time. `false`: it was closed.
    pub fn idle(&self) -> bool {
        let turn = self.turn();
        // Under the lock: either the closing side sees it idle, or this sees the closing.
        let table = self.slots.table();
        !table.closing && self.turn_to(BUSY, turn)
    }

    /// A request has begun to arrive: may be closed for a new connection. `false`: it was closed just before.
    pub fn sending(&self) -> bool {
        let turn = self.turn() | SENDING;
        self.turn_to(self.connection.waiting_since.load(Ordering::SeqCst), turn)
    }

    /// The request has arrived. `false`: the connection was closed just before.
    pub fn busy(&self) -> bool {
        self.turn_to(self.connection.waiting_since.load(Ordering::SeqCst), BUSY)
    }

    fn turn(&self) -> u64 {
        self.slots.0.turn.fetch_add(2, Ordering::Relaxed)
    }

    /// Is the edge closing? Then this response is the last.
    pub fn last(&self) -> bool {
        self.slots.table().closing
    }

    fn turn_to(&self, from: u64, to: u64) -> bool {
        from != LEAVING
            && self
                .connection
                .waiting_since
                .compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut table = self.slots.table();
        leave(&mut table, self.id);
        table.threads -= 1;
        drop(table);
        self.slots.0.left.notify_all();
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
    fn the_longest_idle_gives_up_its_slot_and_the_busy_never_do() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let slots = ConnectionSlots::new(3, 2);
        let admit = |ip: &str, exempt| slots.admit(socket(&listener), ip.parse().unwrap(), exempt);
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
        assert_eq!((slots.taken(), slots.evicted()), (3, 1));
        drop((first, second, third, fourth));
        assert_eq!(slots.taken(), 0);
        assert!(slots.table().per_ip.is_empty());
    }

    #[test]
    fn neighbours_of_one_ipv6_line_share_its_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let slots = ConnectionSlots::new(9, 1);
        let one = slots
            .admit(socket(&listener), "2001:db8::1".parse().unwrap(), false)
            .ok()
            .unwrap();
        assert!(one.busy());
        let other = slots.admit(socket(&listener), "2001:db8::ffff:2".parse().unwrap(), false);
        assert_eq!(other.err(), Some(Refusal::PeerFull));
        assert!(
            slots
                .admit(socket(&listener), "2001:db8:0:1::1".parse().unwrap(), false)
                .is_ok()
        );
    }

    #[test]
    fn closing_ends_the_idle_and_waits_for_the_busy() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let slots = ConnectionSlots::new(9, 9);
        let idle = slots
            .admit(socket(&listener), "192.0.2.1".parse().unwrap(), false)
            .ok()
            .unwrap();
        let busy = slots
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
        assert_eq!(slots.close(clock::mono() + Duration::from_secs(60)), 0);
        worker.join().unwrap();
        idler.join().unwrap();
        assert!(
            slots
                .admit(socket(&listener), "192.0.2.1".parse().unwrap(), false)
                .is_err()
        );
    }
}
