//! A port that takes connections, with TLS or without.

use super::{Ask, Check, Kind, Look, Place, read_peer};
use crate::base::clock;
use crate::base::error::Result;

/// See [`Kind`].
pub const KIND: Kind = Kind {
    name: "tcp",
    place: Place::Anywhere,
    acts: false,
    has_password: false,
    fields: &["host", "port", "tls"],
    required: 2,
    read: read_peer,
    home: |_| String::new(),
    check: Check::Port(ask),
    keeps_token: false,
    tables: &[],
};

/// Connects, and shakes hands where it is TLS.
pub fn ask(ask: &Ask) -> Result<Look> {
    let begun = clock::mono();
    ask.connect(|_| Ok(()))?;
    Ok(Look {
        latency_ms: Some((begun.elapsed().as_secs_f64() * 100_000.0).round() / 100.0),
        ..Look::healthy()
    })
}
