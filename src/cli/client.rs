//! Client of the running daemon.

use crate::base::clock::{self, Duration};
use crate::base::config::Config;
use crate::base::error::{Error, Kind, Result};
use crate::base::host::Host;
use crate::base::secret::Secret;
use crate::net::dial::{Call, Security};
use crate::net::http::{self, Method, Request, Route};
use crate::net::policy::Policy;
use crate::net::tls::Pin;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Response of the daemon.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body as text.
    pub body: String,
}

/// Requests a public path of the daemon. Over TLS its certificate file is trusted. Error: not reachable.
pub fn ask(config: &Config, listen: SocketAddr, path: &str) -> Result<Answer> {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let host = Host::parse(&ip.to_string()).map_err(Error::internal)?;
    let security = match &config.tls {
        Some(files) => Security::Pinned(Pin::of_file(&files.cert)?),
        None => Security::Plain,
    };
    let call = Call {
        host: &host,
        port: listen.port(),
        security,
        policy: Policy::Server,
        connect_max: Duration::from_secs(3),
        until: clock::mono() + Duration::from_secs(10),
    };
    let request = Request {
        method: Method::Get,
        path: &Secret::new(path),
        content_type: "application/json",
        headers: &[],
        body: b"",
        route: Route::Direct,
    };
    let answer = http::send(&call, &request, 1 << 20).map_err(|e| {
        let say = format!("Lamplighter does not answer at {listen}. {}", e.say);
        Error::new(Kind::Upstream, "daemon_unreachable", say)
    })?;
    Ok(Answer {
        status: answer.status,
        body: String::from_utf8_lossy(&answer.body).into_owned(),
    })
}
