//! Outbound connections. Whatever leaves this machine over TCP, or goes to a Unix socket on it, leaves by [`dial`]: the address is checked against a
//! [`policy::Policy`] at the moment of connecting, no proxy is taken from the environment, no redirect is followed, and the whole exchange
//! has one deadline that a dripping peer cannot stretch. Certificates are verified by the system's bundle or by a pinned
//! fingerprint, never not at all ([`tls_probe`] only reads one and sends nothing; [`visit`] asks what anybody may ask). What was asked (path, headers,
//! credentials) never appears in an error.

pub mod policy;
pub mod names;
pub mod dns;
pub mod x509;
pub mod tls;
pub mod dial;
pub mod tls_probe;
pub mod answer;
pub mod get;
pub mod stream;
pub mod http;
pub mod visit;
pub mod smtp;
