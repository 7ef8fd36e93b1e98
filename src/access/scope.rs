//! Where a right holds. People have the rights of their role everywhere; a token may have fewer of its user's, and for one
//! group or server only: `domains:deploy@group:3`.

use super::queries;
use super::right::{Noun, Right, Verb};
use crate::base::error::Result;
use crate::base::id::{Group, Id, Server};
use crate::db::Conn;
use std::fmt;

/// For what a grant holds. (A project will be a fourth.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// What is in this group.
    Group(Id<Group>),
    /// This server, and what is on no other.
    Server(Id<Server>),
}

/// One right within one scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    verb: Verb,
    noun: Noun,
    scope: Scope,
}

impl Grant {
    /// Reads `noun:verb`, `noun:verb@group:3` or `noun:verb@server:5`.
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
        Right::May(grant.verb, grant.noun).is_known().then_some(grant)
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.noun.name(), self.verb.name())?;
        match self.scope {
            Scope::All => Ok(()),
            Scope::Group(id) => write!(f, "@group:{id}"),
            Scope::Server(id) => write!(f, "@server:{id}"),
        }
    }
}

/// What a question for a right is about, as far as scopes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// All there is: a list, a setting, something new.
    Everywhere,
    /// One thing: the group it is in, and the servers it is on.
    At(Option<Id<Group>>, Vec<Id<Server>>),
}

impl Place {
    /// Of what an address is about: `/api/servers/5` and all below it are about that server. All other addresses are about
    /// everything, pages too: they show more than one thing.
    pub fn of_address(conn: &Conn, path: &str) -> Result<Place> {
        let mut parts = path.strip_prefix("/api/").unwrap_or_default().split('/');
        let kind = match parts.next() {
            Some("servers") => "server",
            Some("domains") => "domain",
            Some("tasks") => "task",
            _ => return Ok(Place::Everywhere),
        };
        match parts.next().and_then(|id| id.parse().ok()) {
            Some(id) => Place::of(conn, (kind, id)),
            None => Ok(Place::Everywhere),
        }
    }

    /// Of a thing by type and number; of a task: where that is which it works on. What is at no such place, or nowhere any
    /// more, is open to rights on everything alone.
    pub fn of(conn: &Conn, (kind, id): (&str, i64)) -> Result<Place> {
        match kind {
            "server" => Ok(Place::At(None, vec![Id::new(id)])),
            "domain" => Ok(Place::At(
                queries::group_of_domain(conn, id)?,
                queries::servers_of_domain(conn, id)?,
            )),
            "task" => match queries::target_of_task(conn, id)? {
                Some((kind, id)) if kind != "task" => Place::of(conn, (&kind, id)),
                _ => Ok(Place::Everywhere),
            },
            _ => Ok(Place::Everywhere),
        }
    }
}

/// What a token was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grants(Vec<Grant>);

impl Grants {
    /// Of these.
    pub fn new(grants: impl Into<Vec<Grant>>) -> Grants {
        Grants(grants.into())
    }

    /// Do they hold this right there? A thing on several servers needs all of them granted, or its group.
    pub fn hold(&self, right: Right, place: &Place) -> bool {
        let of_right = || {
            self.0
                .iter()
                .filter(|g| Right::May(g.verb, g.noun) == right)
                .map(|g| g.scope)
        };
        let has = |scope| of_right().any(|s| s == scope);
        match place {
            _ if has(Scope::All) => true,
            Place::Everywhere => false,
            Place::At(group, servers) => {
                let on_granted = !servers.is_empty() && servers.iter().all(|id| has(Scope::Server(*id)));
                on_granted || group.is_some_and(|id| has(Scope::Group(id)))
            }
        }
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
            "servers:read@group:0",
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
