//! Events of tasks.

use crate::access::right::{Read, Tasks, may};
use crate::kinds::EventKind;

/// Event kinds of tasks.
pub const KINDS: &[EventKind] = &[EventKind::streamed("task.ended", may(Read, Tasks))];
