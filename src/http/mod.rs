//! Everything that speaks HTTP to a client. The edge owns the sockets; `tiny_http` behind it sees only clean requests.

pub mod sse;
pub mod edge;
