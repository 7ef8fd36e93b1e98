//! Overviews made from all other features (document, health, dashboard, exporter), the API's description, the manual.

pub mod document;
pub mod health;
pub mod exporter;
pub mod dashboard;
pub mod charts;
pub mod docs;
pub mod help;
pub mod doctor;
