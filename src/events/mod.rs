//! Events: rows written in the transaction of the change (`outbox`), and an in-process notification that there are new
//! ones (`wake`). Readers rely on the rows; a missed notification only delays them.

pub mod wake;
pub mod outbox;
