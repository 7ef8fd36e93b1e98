//! The edge: the only code that touches a client's socket. It takes connections (plain or TLS), bounds them in number,
//! size and time, reads requests by a strict grammar and whole, and hands each to the inner server as one clean request
//! over one Unix-socket connection. Answers come back whole and leave with the security headers.
//!
//! `tiny_http` alone dies of one hostile request in a dozen ways; behind the edge it meets none (`tests/it/edge.rs`).

mod refusal;
mod limits;
mod parse;
mod answer;
mod slots;
mod peers;
mod client_socket;
mod relay;
mod stream;
mod serve;
mod listen;

pub use client_socket::{Tls, tls_config};
pub use limits::{ANONYMOUS_BODY_MAX, Gauge, Limits};
pub use listen::Listener;
pub use peers::{CONN_HEADER, ConnInfo, Peers};
pub use refusal::Refusal;
pub use serve::{BODY_MAX, BodyMax, Config, Hosts, Policy, PolicyNow};

use crate::base::clock::{self, Duration};
use crate::base::error::Result;
use crate::base::ration::Rations;
use crate::base::{log, random};
use crate::http::sse::Streams;
use listen::Acceptor;
use relay::Inner;
use serve::{Counts, LINE_EVERY, LINES_MAX, Shared};
use slots::ConnectionSlots;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use stream::Rounds;

/// A running edge; dropped, it ends at once.
pub struct Edge {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    acceptors: Mutex<Vec<Acceptor>>,
}

impl Edge {
    /// Starts to accept. The handlers behind the inner socket ask `peers` who is there and offer their streams to
    /// `streams`. The caps shrink to what this process may open in files.
    pub fn start(mut config: Config, listeners: Vec<Listener>, peers: Peers, streams: Streams) -> Result<Edge> {
        if let Some(files) = limits::files_max() {
            let wanted = config.limits.connections_max;
            config.limits = config.limits.within(files);
            if config.limits.connections_max < wanted {
                let now = config.limits.connections_max.to_string();
                log::warning(
                    "http",
                    "the limit of open files is low: fewer connections are accepted",
                    &[("connections_max", &now)],
                );
            }
        }
        let limits = &config.limits;
        let shared = Arc::new(Shared {
            slots: ConnectionSlots::new(limits.connections_max, limits.connections_per_ip_max),
            in_flight: Gauge::new(limits.in_flight_max, limits.in_flight_each_max),
            buffered: Gauge::new(limits.buffered_max, limits.buffered_each_max),
            peers,
            streams,
            rounds: Rounds::start(limits)?,
            counts: Counts::default(),
            told: Rations::new(LINES_MAX, LINE_EVERY),
            config,
        });
        let edge = Edge {
            shared,
            addresses: listeners
                .iter()
                .map(Listener::address)
                .collect::<std::io::Result<_>>()?,
            acceptors: Mutex::default(),
        };
        for listener in listeners {
            let acceptor = Acceptor::start(Arc::clone(&edge.shared), listener)?;
            edge.acceptors
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(acceptor);
        }
        Ok(edge)
    }

    /// Where it listens, in the order of the listeners.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Stops: takes no more connections, ends the idle ones and the streams, lets busy ones finish for up to `limit`.
    /// Returns how many had to be cut off.
    pub fn drain(&self, limit: Duration) -> usize {
        let acceptors = std::mem::take(&mut *self.acceptors.lock().unwrap_or_else(PoisonError::into_inner));
        acceptors.into_iter().for_each(Acceptor::stop);
        self.shared.streams.close();
        let cut = self.shared.slots.close(clock::mono() + limit);
        self.shared.rounds.stop();
        cut
    }

    /// What was seen since the start, and what is going on now.
    pub fn stats(&self) -> EdgeStats {
        self.handle().stats()
    }

    /// Who looks at the figures without holding the edge open.
    pub fn handle(&self) -> EdgeHandle {
        EdgeHandle(Arc::clone(&self.shared))
    }
}

/// See [`Edge::handle`].
pub struct EdgeHandle(Arc<Shared>);

impl EdgeHandle {
    /// Asks the inner server past all clients and caps, and gives the status of its answer; an error says what failed.
    pub fn ask_inside(&self, path: &str, limit: Duration) -> std::result::Result<u16, Refusal> {
        let info = ConnInfo {
            peer: (Ipv4Addr::LOCALHOST, 0).into(),
            local: true,
            tls: false,
            is_listed_origin: false,
            request_id: random::name(),
            client_request_id: String::new(),
        };
        let named = self.0.peers.name(info, &self.0.buffered);
        let request = format!(
            "GET {path} HTTP/1.0\r\nHost: localhost\r\n{CONN_HEADER}: {}\r\nConnection: close\r\n\r\n",
            named.as_str()
        );
        let inner = Inner::ask(&self.0.config.inner, request.as_bytes(), &[], clock::mono() + limit)?;
        inner.answer().map(|answer| answer.status).ok_or(Refusal::Internal)
    }

    /// Connections accepted since the start, those included that were turned away.
    pub fn accepted(&self) -> u64 {
        self.0.counts.accepted.load(Ordering::Relaxed)
    }

    /// See [`Edge::stats`].
    pub fn stats(&self) -> EdgeStats {
        let Shared {
            slots,
            in_flight,
            buffered,
            streams,
            counts,
            ..
        } = &*self.0;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        EdgeStats {
            connections: slots.taken(),
            in_flight: in_flight.taken(),
            buffered_bytes: buffered.taken(),
            streams: streams.taken(),
            accepted: read(&counts.accepted),
            requests: read(&counts.requests),
            streams_served: read(&counts.streams),
            evicted: slots.evicted(),
            accept_errors: read(&counts.accept_errors),
            thread_errors: read(&counts.thread_errors),
            handshake_errors: read(&counts.handshake_errors),
            refused: refusal::REFUSALS
                .iter()
                .map(|row| (row.2, read(&counts.refused[row.0 as usize])))
                .filter(|(_, n)| *n > 0)
                .collect(),
        }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.drain(Duration::ZERO);
    }
}

/// See [`Edge::stats`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct EdgeStats {
    /// Client connections open now.
    pub connections: usize,
    /// Requests inside now.
    pub in_flight: usize,
    /// Bytes of bodies and answers in memory now.
    pub buffered_bytes: usize,
    /// Streams offered or served now.
    pub streams: usize,
    /// Connections accepted.
    pub accepted: u64,
    /// Requests answered, the edge's own answers included.
    pub requests: u64,
    /// Streams begun.
    pub streams_served: u64,
    /// Idle connections ended to make room.
    pub evicted: u64,
    /// Failures of `accept`.
    pub accept_errors: u64,
    /// Threads that could not be started.
    pub thread_errors: u64,
    /// TLS handshakes that failed, were too slow or too many.
    pub handshake_errors: u64,
    /// Answers of the edge's own, by their error code.
    pub refused: Vec<(&'static str, u64)>,
}
