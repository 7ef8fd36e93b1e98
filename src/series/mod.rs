//! Series: what was observed of any subject, by (kind of subject, number, key, part), each with a unit and a source. Values
//! of the last hours are rows of whole observations, then columns in chunks ([`chunk`]) of six resolutions ([`rollup`]),
//! each kept for a time of its own: 1.9 bytes a value. A feature that observes something declares a [`Kind`] with its
//! keys, makes an [`Observation`] of each answer, gives it to [`Store::add`] and tells the [`Observers`].

pub mod chunk;
pub mod rollup;
pub mod window;
mod unit;
mod observation;
mod retention_clock;
mod queries;
mod fold;
pub mod store;
mod read;
mod notes;

pub use observation::{Key, Kind, Observation, Observer, Observers, Seen, Subject, Value, Whole, join, split};
pub use read::{Series, Track};
pub use rollup::Keep;
pub use store::Store;
pub use unit::Unit;
pub use window::Window;
