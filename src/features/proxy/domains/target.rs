//! Domains as that which events, alerts, tasks and silences are about.

use super::Domain;
use crate::base::error::Kind;
use crate::base::id::Id;
use crate::features::fleet::servers;
use crate::kinds::{Related, TargetKind};

/// See [`TargetKind`].
pub const TARGET: TargetKind = TargetKind {
    name: "domain",
    page: "/domains/",
    name_of: |conn, id| Ok(super::find(conn, Id::new(id))?.map(|domain| domain.name())),
    named: |conn, name| {
        let name = name.to_lowercase();
        let same = |d: &Domain| d.name() == name || d.fields.domain.ascii() == name;
        Ok(super::all(conn)?.into_iter().find(same).map(|d| d.id.get()))
    },
    related: |conn, id| {
        let mut related = vec![Related::to(TARGET.name, id)];
        let Some(domain) = super::find(conn, Id::new(id))? else {
            return Ok(related);
        };
        related.extend(domain.fields.group_id.map(|group| Related::to("group", group.get())));
        // Where it lies, or as long as it lies nowhere, where it is to lie.
        let lies = domain.sites.iter().any(|s| !s.name.is_empty());
        for site in domain.sites.iter().filter(|s| !lies || !s.name.is_empty()) {
            match servers::get(conn, site.server) {
                Ok(server) => related.push(servers::related(&server)),
                Err(e) if e.kind == Kind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(related)
    },
};
