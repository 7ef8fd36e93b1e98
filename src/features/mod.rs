//! What people ask for. Each feature may use only those above it.

pub mod users;
pub mod servers;
pub mod metrics;
pub mod alerts;
pub mod tasks;
pub mod settings;
pub mod health;

use crate::app::App;
use crate::base::error::Result;
use crate::http::view::Nav;

/// (until home lands)
pub fn nav(_app: &App) -> Result<Nav> {
    Ok(Nav::default())
}
