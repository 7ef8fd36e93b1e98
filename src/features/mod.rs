//! What a person asks for, one folder a noun. Each may use only those before it in this list.

pub mod metrics;
