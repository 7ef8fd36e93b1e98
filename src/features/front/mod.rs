//! Overviews made from all other features: document, health, dashboard, exporter.

pub mod document;
pub mod health;
pub mod exporter;
pub mod dashboard;
