//! Rights: a right is a verb on a noun (`domains:deploy`), and one table says which roles have it. What is not in the
//! table nobody may.

macro_rules! words {
    ($(#[$about:meta])* $all:ident by $word:ident::$constant:ident $($(#[$doc:meta])* $name:ident $text:literal)*) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $all { $($(#[$doc])* $name,)* }

        impl $all {
            /// As it stands in a grant and in the API.
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
    /// The same as a value.
    const VERB: Verb;
}

/// A noun as a type, for [`may`] and [`super::Allowed`].
pub trait IsNoun: Copy {
    /// The same as a value.
    const NOUN: Noun;
}

words! {
    /// What is done to a thing.
    Verb by IsVerb::VERB
    /// Look at it, and at what was measured and logged of it.
    Read "read"
    /// Create it, change it, remove it.
    Edit "edit"
    /// Have it checked, tested, tried again, cancelled: nothing that it is set to changes.
    Run "run"
    /// Change what runs on servers.
    Deploy "deploy"
}

words! {
    /// What a right is about.
    Noun by IsNoun::NOUN
    /// Servers, and what is installed on them.
    Servers "servers"
    /// Groups of servers and domains.
    Groups "groups"
    /// Where requests go.
    Upstreams "upstreams"
    /// Certificates that people have brought.
    Certificates "certificates"
    /// Domains, and how they are served.
    Domains "domains"
    /// What was measured.
    Metrics "metrics"
    /// The rules that raise alerts.
    AlertRules "alert-rules"
    /// What needs a person.
    Alerts "alerts"
    /// When nobody is to be told.
    Silences "silences"
    /// Who is told, and what they were told.
    Notifications "notifications"
    /// What happens.
    Events "events"
    /// Long work and its logs.
    Tasks "tasks"
    /// How Lamplighter itself is.
    Health "health"
    /// The overview and the search.
    Dashboard "dashboard"
    /// The whole fleet as one document.
    Document "document"
    /// How measurements leave the house.
    Exporter "exporter"
    /// The settings.
    Settings "settings"
    /// Accounts, and who signs in from where.
    Users "users"
    /// The machine that Lamplighter itself runs on.
    Controller "controller"
}

impl Noun {
    /// Are there some of one group alone?
    pub const fn is_in_groups(self) -> bool {
        use Noun::{Alerts, Domains, Events, Groups, Silences, Tasks};
        matches!(self, Domains | Groups | Tasks | Alerts | Events | Silences)
    }

    /// Are there some of one server alone?
    pub const fn is_on_servers(self) -> bool {
        use Noun::{Alerts, Domains, Events, Metrics, Servers, Silences, Tasks};
        matches!(self, Servers | Metrics | Domains | Tasks | Alerts | Events | Silences)
    }

    /// Does an answer about it show things of other kinds?
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
    /// Looks.
    Viewer,
    /// A program, by token only. It may what the table lists for it, and that is nothing yet: what it is for (runs of
    /// playbooks, leases of secrets) comes with those nouns.
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

    /// The one with fewer rights.
    pub fn least(self, other: Role) -> Role {
        if self.rights().count() <= other.rights().count() {
            self
        } else {
            other
        }
    }

    /// All rights of this role, as the table has them.
    pub fn rights(self) -> impl Iterator<Item = (Verb, Noun)> {
        let rows = TABLE.iter().filter(move |row| row.2.contains(&self));
        rows.map(|row| (row.0, row.1))
    }
}

/// What a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Anybody, signed in or not.
    Public,
    /// Anybody who is signed in.
    SignedIn,
    /// Who may do this to that: made by [`may`].
    May(Verb, Noun),
}

/// The right to do this to that: `may(Read, Groups)`.
pub const fn may<V: IsVerb, N: IsNoun>(_: V, _: N) -> Right {
    Right::May(V::VERB, N::NOUN)
}

impl Right {
    /// Is it in the table, or none that has to be?
    pub fn is_known(self) -> bool {
        // Whatever there is, an administrator may.
        Role::Admin.may(self)
    }
}

/// Stands for a name that the reader may not see.
pub const WITHHELD: &str = "•••";

struct Row(Verb, Noun, &'static [Role]);

const fn row<V: IsVerb, N: IsNoun>(_: V, _: N, roles: &'static [Role]) -> Row {
    Row(V::VERB, N::NOUN, roles)
}

const PEOPLE: &[Role] = &[Role::Admin, Role::Operator, Role::Viewer];
const OPERATORS: &[Role] = &[Role::Admin, Role::Operator];
const ADMINS: &[Role] = &[Role::Admin];

/// The matrix of roles and rights.
const TABLE: &[Row] = &[
    row(Read, Servers, PEOPLE),
    row(Edit, Servers, OPERATORS),
    row(Run, Servers, OPERATORS),
    row(Deploy, Servers, OPERATORS),
    row(Read, Groups, PEOPLE),
    row(Edit, Groups, OPERATORS),
    row(Read, Upstreams, PEOPLE),
    row(Edit, Upstreams, OPERATORS),
    row(Read, Certificates, PEOPLE),
    row(Edit, Certificates, OPERATORS),
    row(Read, Domains, PEOPLE),
    row(Edit, Domains, OPERATORS),
    row(Run, Domains, OPERATORS),
    row(Deploy, Domains, OPERATORS),
    row(Read, Metrics, PEOPLE),
    row(Run, Metrics, OPERATORS),
    row(Read, AlertRules, PEOPLE),
    row(Edit, AlertRules, OPERATORS),
    row(Read, Alerts, PEOPLE),
    row(Edit, Alerts, OPERATORS),
    row(Read, Silences, PEOPLE),
    row(Edit, Silences, OPERATORS),
    row(Read, Notifications, PEOPLE),
    row(Edit, Notifications, OPERATORS),
    row(Run, Notifications, OPERATORS),
    row(Read, Events, PEOPLE),
    row(Read, Tasks, PEOPLE),
    row(Run, Tasks, OPERATORS),
    row(Read, Health, PEOPLE),
    row(Read, Dashboard, PEOPLE),
    row(Read, Document, PEOPLE),
    row(Edit, Document, ADMINS),
    row(Edit, Exporter, ADMINS),
    row(Read, Settings, ADMINS),
    row(Edit, Settings, ADMINS),
    row(Read, Users, ADMINS),
    row(Edit, Users, ADMINS),
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
    fn what_is_not_listed_nobody_may_and_a_program_may_nothing_unlisted() {
        assert!(!Role::Admin.may(may(Deploy, Alerts)) && !may(Deploy, Alerts).is_known());
        assert_eq!(Role::Automation.rights().count(), 0);
        assert!(Role::Automation.may(Right::SignedIn) && !Role::Automation.may(may(Read, Servers)));
    }

    #[test]
    fn who_may_less_may_nothing_that_who_may_more_may_not() {
        for (less, more) in [(Role::Viewer, Role::Operator), (Role::Operator, Role::Admin)] {
            assert!(less.rights().all(|(verb, noun)| more.may(Right::May(verb, noun))));
        }
    }
}
