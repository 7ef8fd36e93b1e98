//! Rights: a right is a verb on a noun (`domains:deploy`), and one table lists the roles that have it. Rights that are
//! not in the table are denied.

use std::fmt;

macro_rules! words {
    ($(#[$about:meta])* $all:ident by $word:ident::$constant:ident $($(#[$doc:meta])* $name:ident $text:literal)*) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $all { $($(#[$doc])* $name,)* }

        impl $all {
            /// Name in grants and in the API.
            pub const fn name(self) -> &'static str {
                match self { $($all::$name => $text,)* }
            }

            /// Reads a name.
            pub fn parse(name: &str) -> Option<$all> {
                match name { $($text => Some($all::$name),)* _ => None }
            }
        }

        $($(#[$doc])* #[derive(Debug, Clone, Copy)] pub struct $name;
        impl $word for $name { const $constant: $all = $all::$name; })*
    };
}

/// A verb as a type, for [`may`] and [`super::Allowed`].
pub trait IsVerb: Copy {
    /// The verb as a value.
    const VERB: Verb;
}

/// A noun as a type, for [`may`] and [`super::Allowed`].
pub trait IsNoun: Copy {
    /// The noun as a value.
    const NOUN: Noun;
}

words! {
    /// Verb of a right.
    Verb by IsVerb::VERB
    /// Read it, with its measurements and logs.
    Read "read"
    /// Create, change, remove.
    Edit "edit"
    /// Check, test, retry, cancel: without changing its settings.
    Run "run"
    /// Change what runs on servers.
    Deploy "deploy"
    /// Show what is sealed.
    Reveal "reveal"
}

words! {
    /// Noun of a right.
    Noun by IsNoun::NOUN
    /// Servers, and what is installed on them.
    Servers "servers"
    /// Groups of servers and domains.
    Groups "groups"
    /// Upstreams.
    Upstreams "upstreams"
    /// Uploaded certificates.
    Certificates "certificates"
    /// Domains, and how they are served.
    Domains "domains"
    /// Containers, with their logs and figures.
    Containers "containers"
    /// Services: what is looked after on servers and beside them.
    Services "services"
    /// Measurements.
    Metrics "metrics"
    /// Alert rules.
    AlertRules "alert-rules"
    /// Alerts.
    Alerts "alerts"
    /// Silences.
    Silences "silences"
    /// Notification endpoints and deliveries.
    Notifications "notifications"
    /// Events.
    Events "events"
    /// Tasks and their logs.
    Tasks "tasks"
    /// Health of Lamplighter itself.
    Health "health"
    /// The overview and the search.
    Dashboard "dashboard"
    /// The whole fleet as one document.
    Document "document"
    /// Export of metrics.
    Exporter "exporter"
    /// The settings.
    Settings "settings"
    /// Accounts and sign-ins.
    Users "users"
    /// Who changed what.
    Audit "audit"
    /// Secrets that are kept under a name.
    Secrets "secrets"
    /// The machine that Lamplighter itself runs on.
    Controller "controller"
}

impl Noun {
    /// Can objects of it belong to a group?
    pub const fn is_in_groups(self) -> bool {
        use Noun::{Alerts, Domains, Events, Groups, Silences, Tasks};
        matches!(self, Domains | Groups | Tasks | Alerts | Events | Silences)
    }

    /// Can objects of it belong to a server?
    pub const fn is_on_servers(self) -> bool {
        use Noun::{Alerts, Containers, Domains, Events, Metrics, Servers, Services, Silences, Tasks};
        matches!(
            self,
            Servers | Containers | Services | Metrics | Domains | Tasks | Alerts | Events | Silences
        )
    }

    /// Do objects of it belong to a project?
    pub const fn is_in_projects(self) -> bool {
        matches!(self, Noun::Groups | Noun::Secrets | Noun::Notifications)
    }

    /// Does an answer about it show objects of other kinds?
    pub const fn is_mixed(self) -> bool {
        matches!(self, Noun::Dashboard | Noun::Document | Noun::Events)
    }
}

/// A user's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Admin,
    /// Changes servers and runs actions.
    Operator,
    /// Reads.
    Viewer,
    /// For programs, by token only: reads the fleet, runs checks, deploys domains as they are saved, silences while it
    /// works. It sets nothing, and changes nothing on servers but sites.
    Automation,
}

impl Role {
    /// As stored and shown in the API.
    pub fn name(self) -> &'static str {
        match self {
            Role::Admin => "admin",
            Role::Operator => "operator",
            Role::Viewer => "viewer",
            Role::Automation => "automation",
        }
    }

    /// Reads a role's name.
    pub fn parse(name: &str) -> Option<Role> {
        [Role::Admin, Role::Operator, Role::Viewer, Role::Automation]
            .into_iter()
            .find(|r| r.name() == name)
    }

    /// Does this role have that right?
    pub fn may(self, right: Right) -> bool {
        match right {
            Right::Public | Right::SignedIn => true,
            Right::May(verb, noun) => (TABLE.iter()).any(|row| (row.0, row.1) == (verb, noun) && row.2.contains(&self)),
        }
    }

    /// Has the other one each right of this one?
    pub fn is_within(self, other: Role) -> bool {
        self.rights().all(|(verb, noun)| other.may(Right::May(verb, noun)))
    }

    /// The one with fewer rights; `None`: each has some that the other has not.
    pub fn least(self, other: Role) -> Option<Role> {
        let (less, more) = if self.is_within(other) {
            (self, other)
        } else {
            (other, self)
        };
        less.is_within(more).then_some(less)
    }

    /// All rights of this role in the table.
    pub fn rights(self) -> impl Iterator<Item = (Verb, Noun)> {
        let rows = TABLE.iter().filter(move |row| row.2.contains(&self));
        rows.map(|row| (row.0, row.1))
    }
}

/// Requirement of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Public.
    Public,
    /// Signed in.
    SignedIn,
    /// This verb on this noun; made by [`may`].
    May(Verb, Noun),
}

/// The right to do this to that: `may(Read, Groups)`.
pub const fn may<V: IsVerb, N: IsNoun>(_: V, _: N) -> Right {
    Right::May(V::VERB, N::NOUN)
}

impl Right {
    /// Is it in the table, or no verb on a noun?
    pub fn is_known(self) -> bool {
        // Administrators have every right.
        Role::Admin.may(self)
    }
}

/// As in a grant: `domains:deploy`; also `public` and `signed-in`.
impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Right::Public => f.write_str("public"),
            Right::SignedIn => f.write_str("signed-in"),
            Right::May(verb, noun) => write!(f, "{}:{}", noun.name(), verb.name()),
        }
    }
}

/// Replaces a name that the reader may not see.
pub const WITHHELD: &str = "•••";

struct Row(Verb, Noun, &'static [Role]);

const fn row<V: IsVerb, N: IsNoun>(_: V, _: N, roles: &'static [Role]) -> Row {
    Row(V::VERB, N::NOUN, roles)
}

const ALL: &[Role] = &[Role::Admin, Role::Operator, Role::Viewer, Role::Automation];
const PEOPLE: &[Role] = &[Role::Admin, Role::Operator, Role::Viewer];
const WORKERS: &[Role] = &[Role::Admin, Role::Operator, Role::Automation];
const OPERATORS: &[Role] = &[Role::Admin, Role::Operator];
const ADMINS: &[Role] = &[Role::Admin];

/// The matrix of roles and rights.
const TABLE: &[Row] = &[
    row(Read, Servers, ALL),
    row(Edit, Servers, OPERATORS),
    row(Run, Servers, WORKERS),
    row(Deploy, Servers, OPERATORS),
    row(Read, Groups, ALL),
    row(Edit, Groups, OPERATORS),
    row(Read, Upstreams, ALL),
    row(Edit, Upstreams, OPERATORS),
    row(Read, Certificates, ALL),
    row(Edit, Certificates, OPERATORS),
    row(Read, Domains, ALL),
    row(Edit, Domains, OPERATORS),
    row(Run, Domains, WORKERS),
    row(Deploy, Domains, WORKERS),
    row(Read, Containers, ALL),
    row(Deploy, Containers, OPERATORS),
    row(Read, Services, ALL),
    row(Edit, Services, OPERATORS),
    row(Run, Services, WORKERS),
    row(Deploy, Services, OPERATORS),
    row(Read, Metrics, ALL),
    row(Run, Metrics, WORKERS),
    row(Read, AlertRules, ALL),
    row(Edit, AlertRules, OPERATORS),
    row(Read, Alerts, ALL),
    row(Edit, Alerts, OPERATORS),
    row(Run, Alerts, WORKERS),
    row(Read, Silences, ALL),
    row(Edit, Silences, WORKERS),
    row(Read, Notifications, PEOPLE),
    row(Edit, Notifications, OPERATORS),
    row(Run, Notifications, OPERATORS),
    row(Read, Events, ALL),
    row(Read, Tasks, ALL),
    row(Run, Tasks, WORKERS),
    row(Read, Health, ALL),
    row(Read, Dashboard, PEOPLE),
    row(Read, Document, PEOPLE),
    row(Edit, Document, ADMINS),
    row(Edit, Exporter, ADMINS),
    row(Read, Settings, ADMINS),
    row(Edit, Settings, ADMINS),
    row(Read, Users, ADMINS),
    row(Edit, Users, ADMINS),
    row(Read, Audit, ADMINS),
    row(Read, Secrets, OPERATORS),
    row(Edit, Secrets, OPERATORS),
    row(Run, Secrets, WORKERS),
    row(Reveal, Secrets, ADMINS),
    row(Read, Controller, ADMINS),
    row(Edit, Controller, ADMINS),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_stands_in_the_table_once_and_an_administrator_has_them_all() {
        for (n, row) in TABLE.iter().enumerate() {
            assert!(
                !TABLE[..n].iter().any(|other| (other.0, other.1) == (row.0, row.1)),
                "{:?} {:?}",
                row.0,
                row.1
            );
            assert!(row.2.contains(&Role::Admin));
        }
        assert_eq!(Role::Admin.rights().count(), TABLE.len());
    }

    #[test]
    fn what_is_not_listed_nobody_may_and_a_program_sets_nothing() {
        assert!(!Role::Admin.may(may(Deploy, Alerts)) && !may(Deploy, Alerts).is_known());
        assert!(Role::Automation.may(Right::SignedIn) && Role::Automation.may(may(Deploy, Domains)));
        let edits = Role::Automation.rights().filter(|(verb, _)| *verb == Verb::Edit);
        assert_eq!(edits.collect::<Vec<_>>(), [(Verb::Edit, Noun::Silences)]);
        assert!(!Role::Automation.may(may(Deploy, Servers)));
    }

    #[test]
    fn who_may_less_may_nothing_that_who_may_more_may_not() {
        use Role::{Admin, Automation, Operator, Viewer};
        for (less, more) in [(Viewer, Operator), (Operator, Admin), (Automation, Operator)] {
            assert!(less.is_within(more) && !more.is_within(less));
            assert_eq!((less.least(more), more.least(less)), (Some(less), Some(less)));
        }
        assert_eq!(Viewer.least(Automation), None);
    }
}
