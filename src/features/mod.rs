//! What people ask for. Each feature may use only those above it.

pub mod users;
pub mod servers;
pub mod metrics;
pub mod alerts;
pub mod tasks;
pub mod settings;
pub mod health;

use crate::base::error::Error;
use crate::http::reply::{self, Reply};
use crate::http::request::Request;
use crate::http::route::Web;

/// A failed request as its sender can read it.
pub fn error_page(_web: &Web, request: &Request, error: &Error) -> Reply {
    reply::error_json(error, request)
}
