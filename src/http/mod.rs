//! The web server. `edge` alone touches client sockets; it hands clean requests to `tiny_http` on a Unix socket
//! (`server`), which finds the route, asks the guard and calls the handler.

pub mod sse;
pub mod edge;
pub mod rate;
pub mod admission;
pub mod request;
pub mod reply;
pub mod asset;
pub mod menu;
pub mod view;
pub mod response_cache;
pub mod route_metrics;
pub mod guard;
pub mod route;
pub mod card;
pub mod openapi;
pub mod live;
pub mod page;
pub mod server;
