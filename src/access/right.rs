//! Roles and rights: deny by default, one table.

/// A user's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Admin,
    /// Changes servers and runs actions.
    Operator,
    /// Looks.
    Viewer,
    /// A program: runs what it is allowed to, by token only.
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
}

/// What a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Anybody, signed in or not.
    Public,
    /// Anybody who is signed in.
    SignedIn,
    /// Read lists, metrics, logs.
    Read,
    /// Create, change and delete servers; acknowledge alerts.
    Edit,
    /// Run actions on servers; cancel tasks.
    Act,
    /// Users, settings, audit.
    Administer,
}

impl Right {
    /// What it takes to see an event of this kind and what is made of it: alerts, messages. Who signed in, and from where,
    /// is for administrators.
    pub fn to_see(kind: &str) -> Right {
        match kind.starts_with("auth.") {
            true => Right::Administer,
            false => Right::Read,
        }
    }
}

/// Stands for a name that the reader may not see.
pub const WITHHELD: &str = "•••";

impl Role {
    /// The matrix of requirements §8.4.
    pub fn may(self, right: Right) -> bool {
        match right {
            Right::Public | Right::SignedIn => true,
            Right::Read => self != Role::Automation,
            Right::Edit | Right::Act => matches!(self, Role::Admin | Role::Operator),
            Right::Administer => self == Role::Admin,
        }
    }
}
