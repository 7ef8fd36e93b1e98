//! Events of accounts.

use crate::access::right::{Read, Users, may};
use crate::kinds::{About, AlertKind, BuiltinRule, EventKind, ExplainedBy};

/// Event kinds of this feature.
pub const KINDS: &[EventKind] = &[
    EventKind::streamed("auth.login_failed", may(Read, Users)),
    EventKind::alert(
        "auth.refresh_reused",
        may(Read, Users),
        AlertKind {
            rule: BuiltinRule::new(4, "CRITICAL", About::Other),
            title: "A refresh token of {name} was used twice: somebody else may have it",
            explained_by: ExplainedBy::NothingEver,
            ..AlertKind::NEW
        },
    ),
];
