//! Scopes of rights. Users have the rights of their role everywhere; a token may have some of its user's, and for one
//! group or server only: `domains:deploy@group:3`. The same in SQL, for lists: `views.sql`.

use super::queries;
use super::right::{Noun, Right, Verb};
use crate::base::error::Result;
use crate::base::id::{Group, Id, Project, Server};
use crate::db::{Conn, Lens};
use std::fmt;

/// Scope of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// The objects of this group.
    Group(Id<Group>),
    /// The objects on this server and no other.
    Server(Id<Server>),
}

/// A right with its scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    verb: Verb,
    noun: Noun,
    scope: Scope,
}

impl Grant {
    /// Parses `noun:verb`, `noun:verb@group:3` or `noun:verb@server:5`.
    pub fn parse(text: &str) -> Option<Grant> {
        let (right, scope) = match text.split_once('@') {
            Some((right, scope)) => (right, Some(scope.split_once(':')?)),
            None => (text, None),
        };
        let (noun, verb) = right.split_once(':')?;
        let scope = match scope {
            None => Scope::All,
            Some(("group", id)) => Scope::Group(Id::parse(id)?),
            Some(("server", id)) => Scope::Server(Id::parse(id)?),
            Some(_) => return None,
        };
        let grant = Grant {
            verb: Verb::parse(verb)?,
            noun: Noun::parse(noun)?,
            scope,
        };
        let stands = match scope {
            Scope::All => true,
            Scope::Group(_) => grant.noun.is_in_groups(),
            Scope::Server(_) => grant.noun.is_on_servers(),
        };
        (stands && grant.right().is_known()).then_some(grant)
    }

    /// The right without scope.
    pub fn right(&self) -> Right {
        Right::May(self.verb, self.noun)
    }

    /// The object of the scope, by type and id; `None`: everything.
    pub fn place(&self) -> Option<(&'static str, i64)> {
        match self.scope {
            Scope::All => None,
            Scope::Group(id) => Some(("group", id.get())),
            Scope::Server(id) => Some(("server", id.get())),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.right())?;
        match self.scope {
            Scope::All => Ok(()),
            Scope::Group(id) => write!(f, "@group:{id}"),
            Scope::Server(id) => write!(f, "@server:{id}"),
        }
    }
}

/// Place of the object that a right is checked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// No particular object: a setting, a new object.
    Everywhere,
    /// Any place where the right is held: for answers that are filtered, and requests that check each object.
    Granted,
    /// An object: its group and its servers.
    At(Option<Id<Group>>, Vec<Id<Server>>),
    /// An object of this project, which is that group or another thing; without a project: there is no such object.
    In(Option<Id<Project>>, Option<Id<Group>>),
}

impl Place {
    /// Place by path: `/api/servers/5`, its page and all below are about that server. `None`: not about one object of
    /// these kinds.
    pub fn of_address(conn: &Conn, path: &str) -> Result<Option<Place>> {
        let path = path.trim_start_matches('/');
        let in_api = path.strip_prefix("api/");
        let mut parts = in_api.unwrap_or(path).split('/');
        let kind = match parts.next() {
            // The API names a container by its server's number, pages by its own.
            Some("containers") if in_api.is_some() => "server",
            Some("containers") => "container",
            Some("servers" | "hosts" | "container-projects") => "server",
            // A service stands in addresses by its name.
            Some("services") => {
                let name = parts.next().unwrap_or_default();
                return match queries::service_called(conn, name)? {
                    Some(id) => Place::of(conn, ("service", id)).map(Some),
                    None => Ok(None),
                };
            }
            Some("domains") => "domain",
            Some("groups") => "group",
            Some("tasks") => "task",
            Some("alerts") => "alert",
            Some("silences") => "silence",
            Some("secrets") => "secret",
            Some("leases") => "lease",
            Some("notifications") => "endpoint",
            _ => return Ok(None),
        };
        let mut id = parts.next();
        let kind = match (kind, id) {
            ("endpoint", Some("deliveries" | "log")) => {
                id = parts.next();
                "delivery"
            }
            _ => kind,
        };
        let id = id.and_then(|id| id.parse().ok());
        id.map(|id| Place::of(conn, (kind, id))).transpose()
    }

    /// Place of an object by type and id; for a task, alert or silence that of its target. Without place, only
    /// unrestricted rights apply.
    pub fn of(conn: &Conn, (kind, id): (&str, i64)) -> Result<Place> {
        match kind {
            "server" => Ok(Place::At(None, vec![Id::new(id)])),
            "group" => Ok(Place::In(queries::project_of(conn, kind, id)?, Some(Id::new(id)))),
            "secret" | "endpoint" | "plugin" => Ok(Place::In(queries::project_of(conn, kind, id)?, None)),
            "lease" | "delivery" => {
                let of = if kind == "lease" { "secret" } else { "endpoint" };
                match queries::owner(conn, kind, id)? {
                    Some(id) => Place::of(conn, (of, id)),
                    None => Ok(Place::In(None, None)),
                }
            }
            "domain" => Ok(Place::At(
                queries::group_of_domain(conn, id)?,
                queries::servers_of_domain(conn, id)?,
            )),
            "container" => Ok(match queries::server_of_container(conn, id)? {
                Some(server) => Place::At(None, vec![server]),
                None => Place::Everywhere,
            }),
            "service" => Ok(match queries::server_of_service(conn, id)? {
                Some(server) => Place::At(None, vec![server]),
                None => Place::Everywhere,
            }),
            "task" | "alert" | "silence" => match queries::target(conn, kind, id)? {
                Some((of, id)) if of != kind => Place::of(conn, (&of, id)),
                _ => Ok(Place::Everywhere),
            },
            _ => Ok(Place::Everywhere),
        }
    }
}

/// Number and name of all things of a kind that a scope may name: `group` or `server`.
pub fn things(conn: &Conn, kind: &str) -> Result<Vec<(i64, String)>> {
    queries::scoped_things(conn, kind)
}

/// Is there such a group or server?
pub fn exists(conn: &Conn, thing: (&str, i64)) -> Result<bool> {
    queries::scoped_thing_exists(conn, thing)
}

/// SQL views for [`lens`].
const VIEWS: &str = include_str!("views.sql");

/// A row of the table `granted`: right, scope, number.
pub(super) type Row = (String, &'static str, Option<i64>);

/// The restriction of queries to what these rows show.
pub(super) fn lens(rows: &[Row]) -> Lens {
    Lens {
        views: VIEWS,
        granted: serde_json::json!(rows).to_string().into(),
    }
}

/// Grants of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grants(Vec<Grant>);

impl Grants {
    /// These grants.
    pub fn new(grants: impl Into<Vec<Grant>>) -> Grants {
        Grants(grants.into())
    }

    /// Do they include this right at this place? An object on several servers needs grants for all of them, or for its
    /// group.
    pub fn hold(&self, right: Right, place: &Place) -> bool {
        let of_right = || self.0.iter().filter(|g| g.right() == right).map(|g| g.scope);
        let has = |scope| of_right().any(|s| s == scope);
        match place {
            _ if has(Scope::All) => true,
            Place::Everywhere => false,
            Place::Granted => of_right().next().is_some(),
            Place::In(_, group) => group.is_some_and(|id| has(Scope::Group(id))),
            Place::At(group, servers) => {
                let on_granted = !servers.is_empty() && servers.iter().all(|id| has(Scope::Server(*id)));
                on_granted || group.is_some_and(|id| has(Scope::Group(id)))
            }
        }
    }

    /// What these grants let read, as far as `may` allows: rows of the table `granted`.
    pub(super) fn rows(&self, may: impl Fn(Right) -> bool) -> Vec<Row> {
        let reads = self.0.iter().filter(|g| g.verb == Verb::Read && may(g.right()));
        reads
            .map(|g| {
                let (scope, id) = g.place().map_or(("all", None), |(scope, id)| (scope, Some(id)));
                (g.right().to_string(), scope, id)
            })
            .collect()
    }

    /// All grants.
    pub fn iter(&self) -> impl Iterator<Item = &Grant> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::super::right::{Deploy, Domains, Read, Servers, may};
    use super::*;

    fn grants(all: &[&str]) -> Grants {
        Grants::new(all.iter().map(|text| Grant::parse(text).unwrap()).collect::<Vec<_>>())
    }

    fn at(group: i64, servers: &[i64]) -> Place {
        let group = (group > 0).then(|| Id::new(group));
        Place::At(group, servers.iter().map(|id| Id::new(*id)).collect())
    }

    #[test]
    fn a_grant_is_read_as_it_is_written_and_nothing_else_is() {
        for text in [
            "servers:read",
            "domains:deploy@group:3",
            "domains:deploy@server:5",
            "alert-rules:edit",
            "metrics:read@server:5",
        ] {
            assert_eq!(Grant::parse(text).unwrap().to_string(), text);
        }
        for bad in [
            "",
            "servers",
            "servers:",
            ":read",
            "servers:read@",
            "servers:read@group",
            "domains:read@group:0",
            "servers:read@group:3",
            "groups:read@server:3",
            "settings:edit@server:3",
            "servers:read@project:1",
            "servers:read@server:5@group:3",
            "alerts:deploy",
            "Servers:read",
            "*:read",
        ] {
            assert_eq!(Grant::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_grant_for_less_than_everything_holds_for_its_own_and_no_list() {
        let deploy = may(Deploy, Domains);
        let of_group = grants(&["domains:deploy@group:3", "servers:read"]);
        assert!(of_group.hold(deploy, &at(3, &[1, 2])));
        for elsewhere in [at(4, &[1]), at(0, &[1]), at(0, &[]), Place::Everywhere] {
            assert!(!of_group.hold(deploy, &elsewhere), "{elsewhere:?}");
        }
        assert!(!of_group.hold(may(Read, Domains), &at(3, &[])), "another verb");
        assert!(of_group.hold(may(Read, Servers), &Place::Everywhere));
        let of_servers = grants(&["domains:deploy@server:1", "domains:deploy@server:2"]);
        assert!(of_servers.hold(deploy, &at(4, &[1, 2])) && of_servers.hold(deploy, &at(0, &[2])));
        for elsewhere in [at(0, &[1, 3]), at(0, &[]), Place::Everywhere] {
            assert!(!of_servers.hold(deploy, &elsewhere), "{elsewhere:?}");
        }
    }
}
