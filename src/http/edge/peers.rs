//! The client of each request. The inner server sees only a Unix socket; the edge marks each request with 128 random
//! bits, by which handlers look up the client here. Bodies of uploads and large responses are passed here, not through the
//! socket.

use super::limits::{Gauge, Share};
use crate::base::host::Cidr;
use crate::base::random;
use std::collections::HashMap;
use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Header with the mark.
pub const CONN_HEADER: &str = "X-Lamplighter-Conn";

/// Verified facts about a request's client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnInfo {
    /// The client's address: the socket's peer, or as given by a trusted proxy (then with port 0).
    pub peer: SocketAddr,
    /// Is the peer a program on this machine, and no proxy?
    pub local: bool,
    /// Did the client speak TLS, to us or to a trusted proxy?
    pub tls: bool,
    /// Is it a request of an allowed CORS origin, without cookie?
    pub is_listed_origin: bool,
    /// Request id for logs and error responses.
    pub request_id: String,
    /// Client's own request id; empty: none.
    pub client_request_id: String,
    /// The user of this machine who asks by the control socket, as the kernel says; `None`: it came over the network.
    pub control: Option<u32>,
}

/// Requests in handlers now. Clones share the table.
#[derive(Clone, Default)]
pub struct Peers(Arc<Mutex<HashMap<String, Inside>>>);

struct Inside {
    info: ConnInfo,
    /// The body's share of the memory for responses.
    held: Share,
    body: Option<Arc<Vec<u8>>>,
    /// The request's body where it came into a file, with its share of the disk.
    upload: Option<(File, Share)>,
}

impl Peers {
    /// An empty table.
    pub fn new() -> Peers {
        Peers::default()
    }

    /// The client of this mark, while its request is in a handler.
    pub fn get(&self, name: &str) -> Option<ConnInfo> {
        self.table().get(name).map(|inside| inside.info.clone())
    }

    /// Passes a response body to the edge without copying it through the socket. `false` if it must go through the
    /// socket: no memory is available now, or nobody waits for it.
    pub fn hand_over(&self, name: &str, body: &Arc<Vec<u8>>) -> bool {
        self.table().get_mut(name).is_some_and(|inside| {
            let fits = inside.held.grow(body.len());
            inside.body = fits.then(|| Arc::clone(body));
            fits
        })
    }

    /// The request's body, where it came into a file.
    pub fn upload(&self, name: &str) -> std::io::Result<Option<File>> {
        let table = self.table();
        let upload = table.get(name).and_then(|inside| inside.upload.as_ref());
        upload.map(|(file, _)| file.try_clone()).transpose()
    }

    /// Number of requests in handlers.
    pub fn count(&self) -> usize {
        self.table().len()
    }

    /// Creates a mark; dropping it removes the entry.
    pub(super) fn name(&self, info: ConnInfo, memory: &Gauge) -> Named {
        let name = random::name();
        let inside = Inside {
            held: memory.share(info.peer.ip()),
            info,
            body: None,
            upload: None,
        };
        self.table().insert(name.clone(), inside);
        Named(self.clone(), name)
    }

    fn table(&self) -> MutexGuard<'_, HashMap<String, Inside>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request in a handler.
pub(super) struct Named(Peers, String);

impl Named {
    pub(super) fn as_str(&self) -> &str {
        &self.1
    }

    /// Passes the request's body to the handler; its share of the disk is held as long as this lives.
    pub(super) fn bring(&self, upload: File, share: Share) {
        if let Some(inside) = self.0.table().get_mut(&self.1) {
            inside.upload = Some((upload, share));
        }
    }

    /// The passed body; counted as long as this lives.
    pub(super) fn body(&self) -> Option<Arc<Vec<u8>>> {
        self.0.table().get(&self.1)?.body.clone()
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        self.0.table().remove(&self.1);
    }
}

/// Is this address one of the trusted proxies?
pub(super) fn trusted(proxies: &[Cidr], ip: IpAddr) -> bool {
    proxies.iter().any(|block| block.contains(ip.to_canonical()))
}

/// The client behind trusted proxies: follows `X-Forwarded-For` (all of them, in order) from its end as long as the
/// sender is trusted. An unreadable entry ends at the last known address.
pub(super) fn behind(proxies: &[Cidr], socket: SocketAddr, forwarded: &[&str]) -> SocketAddr {
    let mut peer = SocketAddr::new(socket.ip().to_canonical(), socket.port());
    for entry in forwarded.iter().rev().flat_map(|line| line.rsplit(',')) {
        if !trusted(proxies, peer.ip()) {
            break;
        }
        match address(entry.trim()) {
            Some(ip) => peer = SocketAddr::new(ip.to_canonical(), 0),
            None => break,
        }
    }
    peer
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:4711`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    bare.parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|a| a.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let proxies = [Cidr::parse("10.0.0.0/8").unwrap(), Cidr::parse("127.0.0.1").unwrap()];
        let from = |socket: &str, lines: &[&str]| behind(&proxies, socket.parse().unwrap(), lines).to_string();
        assert_eq!(from("192.0.2.9:1", &["1.2.3.4"]), "192.0.2.9:1", "not a proxy");
        assert_eq!(from("10.0.0.1:1", &[]), "10.0.0.1:1");
        assert_eq!(from("10.0.0.1:1", &["1.2.3.4"]), "1.2.3.4:0");
        assert_eq!(
            from("10.0.0.1:1", &["6.6.6.6, 1.2.3.4"]),
            "1.2.3.4:0",
            "the far end is the client's own word"
        );
        assert_eq!(
            from("10.0.0.1:1", &["6.6.6.6, 1.2.3.4", "10.0.0.2, 127.0.0.1"]),
            "1.2.3.4:0"
        );
        assert_eq!(from("[::ffff:10.0.0.1]:1", &["[2001:db8::1]:80"]), "[2001:db8::1]:0");
        assert_eq!(from("10.0.0.1:1", &["1.2.3.4, unknown"]), "10.0.0.1:1");
        assert_eq!(from("10.0.0.1:1", &["", "10.0.0.3:99"]), "10.0.0.3:0");
    }

    #[test]
    fn a_name_is_known_while_its_request_is_inside() {
        let peers = Peers::new();
        let info = ConnInfo {
            peer: "192.0.2.1:5".parse().unwrap(),
            local: false,
            tls: true,
            is_listed_origin: false,
            request_id: "r".into(),
            client_request_id: String::new(),
            control: None,
        };
        let named = peers.name(info.clone(), &Gauge::new(0, 0));
        assert_eq!(peers.get(named.as_str()), Some(info));
        let name = named.as_str().to_string();
        drop(named);
        assert_eq!((peers.get(&name), peers.count()), (None, 0));
    }

    #[test]
    fn a_body_is_handed_over_while_somebody_waits_for_it_and_memory_is_left() {
        let (peers, memory) = (Peers::new(), Gauge::new(10, 10));
        let info = ConnInfo {
            peer: "192.0.2.1:5".parse().unwrap(),
            local: false,
            tls: false,
            is_listed_origin: false,
            request_id: "r".into(),
            client_request_id: String::new(),
            control: None,
        };
        let [first, second] = [peers.name(info.clone(), &memory), peers.name(info, &memory)];
        let body = Arc::new(vec![7; 6]);
        assert!(peers.hand_over(first.as_str(), &body) && !peers.hand_over(second.as_str(), &body));
        assert_eq!((first.body(), second.body()), (Some(Arc::clone(&body)), None));
        let gone = first.as_str().to_string();
        drop(first);
        assert_eq!((memory.taken(), Arc::strong_count(&body)), (0, 1));
        assert!(peers.hand_over(second.as_str(), &body) && !peers.hand_over(&gone, &body));
    }
}
