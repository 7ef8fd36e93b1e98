//! Who sits at the table: every client connection has a slot or is turned away. When all slots of an address, or all
//! slots, are taken, one that keeps us waiting gives up its own: of the network that holds the most, an idle one before
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
struct Connection {
    socket: Arc<TcpStream>,
    ip: IpAddr,
    /// Since when it keeps us waiting, counted by `Shared::turn` in steps of two, plus [`SENDING`] in the middle of a
    /// head or body; [`BUSY`] while we work for it, [`LEAVING`] when evicted.
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
    /// Ticks by two each time somebody begins to keep us waiting: an order needs no clock.
    turn: AtomicU64,
    evicted: AtomicU64,
}

#[derive(Default)]
struct Table {
    connections: HashMap<u64, Arc<Connection>>,
    per_ip: HashMap<IpAddr, usize>,
    last_id: u64,
    /// Connection threads alive, evicted ones included.
    threads: usize,
    closing: bool,
}

impl ConnectionSlots {
    /// So many in all, and so many of one address.
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

    /// A slot for a new connection of `ip`; `exempt` addresses have no limit of their own.
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

    /// Ends a connection that keeps us waiting, of those that `may`. Its slot is free at once, its thread leaves soon.
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
            // It may have become busy this very moment: then the next one.
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

    /// Turns newcomers away, ends the idle, waits for the busy until then, ends them too. How many had to be cut?
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
        // A thread waiting for its handler sees its socket only afterwards; it holds no client any more.
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

    /// Idle connections ended to make table (or to stop).
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

/// A connection's own slot, held by its thread.
pub struct ConnectionSlot {
    slots: ConnectionSlots,
    id: u64,
    connection: Arc<Connection>,
}

impl ConnectionSlot {
    /// Between two requests: may be ended at any time. `false`: it is over, now.
    pub fn idle(&self) -> bool {
        let turn = self.turn();
        // Under the lock: either the closing sees this connection idle, or this sees the closing.
        let table = self.slots.table();
        !table.closing && self.turn_to(BUSY, turn)
    }

    /// A request has begun to arrive: may be ended for a newcomer. `false`: too late, the connection was ended just before.
    pub fn sending(&self) -> bool {
        let turn = self.turn() | SENDING;
        self.turn_to(self.connection.waiting_since.load(Ordering::SeqCst), turn)
    }

    /// The request has arrived and the work begins. `false`: too late, the connection was ended just before.
    pub fn busy(&self) -> bool {
        self.turn_to(self.connection.waiting_since.load(Ordering::SeqCst), BUSY)
    }

    fn turn(&self) -> u64 {
        self.slots.0.turn.fetch_add(2, Ordering::Relaxed)
    }

    /// Is the edge closing? Then this answer is the connection's last.
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
