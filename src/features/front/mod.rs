//! What is put together from all others: the document of the fleet, health, the dashboard.

pub mod document;
pub mod health;
pub mod exporter;
pub mod dashboard;
