//! Servers as that which events, alerts, tasks and silences are about.

use super::{Server, queries};
use crate::base::id::Id;
use crate::kinds::{Related, TargetKind};

/// See [`TargetKind`].
pub const TARGET: TargetKind = TargetKind {
    name: "server",
    page: "/servers/",
    name_of: |conn, id| Ok(queries::polled(conn, Id::new(id))?.map(|server| server.name)),
    named: |conn, name| {
        let same = |s: &Server| s.fields.name.to_lowercase() == name.to_lowercase();
        Ok(queries::all(conn)?.into_iter().find(same).map(|s| s.id.get()))
    },
    related: |conn, id| {
        let found = queries::polled(conn, Id::new(id))?;
        Ok(found.map(|_| Related::to(TARGET.name, id)).into_iter().collect())
    },
};

/// A server as something that others stand on.
pub fn related(server: &Server) -> Related {
    Related::to(TARGET.name, server.id.get())
}
