//! Series: observed values by (kind of subject, id, key, part), each with a unit and a source. Values of the last hours
//! are rows of whole observations, older ones are columns in chunks ([`chunk`]) of six resolutions ([`rollup`]), each
//! with its own retention: 1.9 bytes per value. A feature that observes something declares a [`Kind`] with its keys,
//! makes an [`Observation`] of each answer, passes it to [`Store::add`] and publishes it to the [`Observers`].

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
