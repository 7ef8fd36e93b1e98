//! Messages to the service manager (sd_notify(3)): datagrams to the socket that it names. Without one they go nowhere.

use super::clock::Duration;
use super::log;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Tells the service manager lines like `READY=1`. A failure is logged: the manager then acts as if nothing was said.
pub fn tell(lines: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let address = match socket.as_encoded_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&socket),
    };
    let sent = address.and_then(|address| {
        let from = UnixDatagram::unbound()?;
        from.set_write_timeout(Some(Duration::from_secs(1)))?;
        from.send_to_addr(lines.as_bytes(), &address)
    });
    if let Err(e) = sent {
        log::warning(
            "daemon",
            "the service manager cannot be told",
            &[("error", &e.to_string())],
        );
    }
}

/// Within which time the manager wants to hear `WATCHDOG=1` (`WATCHDOG_USEC`); `None`: it does not watch this process.
pub fn watchdog() -> Option<Duration> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let within = number("WATCHDOG_USEC").filter(|us| is_ours && *us > 0)?;
    Some(Duration::from_micros(within))
}
