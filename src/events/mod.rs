//! What happened, as rows written in the same transaction as the change (`outbox`), and the in-process hint that there is
//! something new (`wake`). The row is the truth, the wake is only a hint: a missed one costs a moment, never a line.

pub mod wake;
pub mod outbox;
