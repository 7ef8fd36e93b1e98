//! Outbound connections. All outgoing TCP connections and Unix sockets use [`dial`]: the address is checked against a
//! [`policy::Policy`] at the time of connecting, no proxy is taken from the environment, no redirect is followed, and
//! the whole exchange has one deadline. Certificates are verified by the system's bundle or a pinned fingerprint
//! ([`tls_probe`] and [`visit`] accept any, but send nothing secret). Requests (path, headers, credentials) never
//! appear in errors.

pub mod policy;
pub mod names;
pub mod dns;
pub mod x509;
pub mod own_certificate;
pub mod tls;
pub mod dial;
pub mod ping;
pub mod tls_probe;
pub mod answer;
pub mod get;
pub mod stream;
pub mod http;
pub mod visit;
pub mod smtp;
pub mod syslog;
