//! The edge: the only code that handles clients' sockets. It accepts connections (plain or TLS), limits them in number,
//! size and time, parses requests strictly and completely, and passes each to the inner server as one clean request
//! over a Unix socket. Responses are read completely and get the security headers.
//!
//! `tiny_http` alone fails on several kinds of hostile requests; behind the edge it receives none (`tests/it/edge.rs`).

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
mod control;

pub use client_socket::{Tls, tls_config};
pub use control::{CONTROL_SOCKET, Control};
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

/// A running edge; dropping it ends it at once.
pub struct Edge {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    acceptors: Mutex<Vec<Acceptor>>,
}

impl Edge {
    /// Starts accepting. Handlers look up clients in `peers` and offer streams to `streams`. Limits are reduced to what
    /// open files allow. Error: threads or sockets.
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
            spooled: Gauge::new(limits.spooled_max, limits.spooled_each_max),
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

    /// Stops: accepts no more, closes idle connections and streams, waits up to `limit` for busy ones. Returns how many
    /// were closed by force.
    pub fn drain(&self, limit: Duration) -> usize {
        let acceptors = std::mem::take(&mut *self.acceptors.lock().unwrap_or_else(PoisonError::into_inner));
        acceptors.into_iter().for_each(Acceptor::stop);
        self.shared.streams.close();
        let cut = self.shared.slots.close(clock::mono() + limit);
        self.shared.rounds.stop();
        cut
    }

    /// Counters since the start and current figures.
    pub fn stats(&self) -> EdgeStats {
        self.handle().stats()
    }

    /// A handle for figures that does not keep the edge running.
    pub fn handle(&self) -> EdgeHandle {
        EdgeHandle(Arc::clone(&self.shared))
    }
}

/// Handle of [`Edge::handle`].
pub struct EdgeHandle(Arc<Shared>);

impl EdgeHandle {
    /// Requests the inner server directly, past all clients and limits; returns the status. The error is a sentence.
    pub fn ask_inside(&self, path: &str, limit: Duration) -> std::result::Result<u16, Refusal> {
        let info = ConnInfo {
            peer: (Ipv4Addr::LOCALHOST, 0).into(),
            local: true,
            tls: false,
            is_listed_origin: false,
            request_id: random::name(),
            client_request_id: String::new(),
            control: None,
        };
        let named = self.0.peers.name(info, &self.0.buffered);
        let request = format!(
            "GET {path} HTTP/1.0\r\nHost: localhost\r\n{CONN_HEADER}: {}\r\nConnection: close\r\n\r\n",
            named.as_str()
        );
        let inner = Inner::ask(&self.0.config.inner, request.as_bytes(), &[], clock::mono() + limit)?;
        inner.answer().map(|answer| answer.status).ok_or(Refusal::Internal)
    }

    /// Accepted connections since the start, including refused ones.
    pub fn accepted(&self) -> u64 {
        self.0.counts.accepted.load(Ordering::Relaxed)
    }

    /// Counters and figures.
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

/// Counters and figures of the edge.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct EdgeStats {
    /// Client connections open now.
    pub connections: usize,
    /// Requests in handlers now.
    pub in_flight: usize,
    /// Bytes of bodies and responses in memory now.
    pub buffered_bytes: usize,
    /// Streams offered or served now.
    pub streams: usize,
    /// Connections accepted.
    pub accepted: u64,
    /// Responses, including the edge's own.
    pub requests: u64,
    /// Streams begun.
    pub streams_served: u64,
    /// Idle connections closed to make room.
    pub evicted: u64,
    /// Failures of `accept`.
    pub accept_errors: u64,
    /// Threads that could not be started.
    pub thread_errors: u64,
    /// TLS handshakes that failed, were too slow or too many.
    pub handshake_errors: u64,
    /// Responses of the edge's own, by error code.
    pub refused: Vec<(&'static str, u64)>,
}
