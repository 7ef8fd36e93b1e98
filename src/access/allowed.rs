//! Proof of permission: [`Allowed<Edit, Domains>`](Allowed). Functions that change something take one, so that they
//! cannot be called without a check, and the audit knows the actor.

use super::right::{IsNoun, IsVerb, Right, Role, may};
use super::{Actor, Place, queries};
use crate::audit::By;
use crate::base::error::Result;
use crate::base::sys;
use crate::db::{Conn, Tx};
use std::marker::PhantomData;
use std::sync::OnceLock;

/// How the audit names what the command line was let in by: a user of this machine.
pub const CLI: &str = "cli";

/// How a user of this machine is called who works by the command line. No account has a colon in its login.
pub fn cli_login(uid: u32) -> String {
    format!("{CLI}:{}", sys::user_name(uid))
}

/// Permission to do `V` to `N`. Only made here: from an [`Actor`] with that right, for the daemon's own work, and for
/// the command line.
pub struct Allowed<'a, V, N> {
    by: By<'a>,
    /// `None`: the daemon itself, or the command line.
    of: Option<&'a Actor>,
    right: PhantomData<fn() -> (V, N)>,
}

impl<V, N> Clone for Allowed<'_, V, N> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<V, N> Copy for Allowed<'_, V, N> {}

impl<'a, V, N> From<Allowed<'a, V, N>> for By<'a> {
    fn from(allowed: Allowed<'a, V, N>) -> By<'a> {
        allowed.by
    }
}

/// Permission to do `V` to some `N`; checked again for each object.
pub struct Unplaced<'a, V, N>(&'a Actor, V, N);

impl<'a, V: IsVerb, N: IsNoun> Unplaced<'a, V, N> {
    /// May they do it there? Error: `forbidden`.
    pub fn at(&self, place: &Place) -> Result<Allowed<'a, V, N>> {
        self.0.allowed(self.1, self.2, place)
    }

    /// May they do it to this thing, by type and number? Error: `forbidden`.
    pub fn to(&self, conn: &Conn, thing: (&str, i64)) -> Result<Allowed<'a, V, N>> {
        self.at(&self.0.place(|| Place::of(conn, thing))?)
    }
}

impl Actor {
    /// May they do that to what stands at `place`? Error: `forbidden`.
    pub fn allowed<V: IsVerb, N: IsNoun>(&self, verb: V, noun: N, place: &Place) -> Result<Allowed<'_, V, N>> {
        // That they have the right for something is no proof for anything.
        let place = if *place == Place::Granted {
            &Place::Everywhere
        } else {
            place
        };
        self.may_at(may(verb, noun), place)?;
        Ok(Allowed::new(self.by(), Some(self)))
    }

    /// Is that thing, by type and number, there for them? What belongs to a project that is not theirs is as good as not there,
    /// wherever a request names it. Whether they may do something to it is asked besides.
    pub fn knows(&self, conn: &Conn, thing: (&str, i64)) -> Result<bool> {
        if self.projects().is_empty() {
            return Ok(true);
        }
        Ok(match Place::of(conn, thing)? {
            Place::In(project, _) => project.is_some_and(|id| self.projects().contains(&id.get())),
            _ => true,
        })
    }

    /// The same where the request names the things, or makes one: the proof is got for each. Error: `forbidden`, when they
    /// may do it to none.
    pub fn unplaced<V: IsVerb, N: IsNoun>(&self, verb: V, noun: N) -> Result<Unplaced<'_, V, N>> {
        self.may_at(may(verb, noun), &Place::Granted)?;
        Ok(Unplaced(self, verb, noun))
    }
}

impl<'a, V, N> Allowed<'a, V, N> {
    const fn new(by: By<'a>, of: Option<&'a Actor>) -> Allowed<'a, V, N> {
        let right = PhantomData;
        Allowed { by, of, right }
    }

    /// Permission for the daemon's own work: schedules and reactions.
    pub const fn by_daemon() -> Allowed<'static, V, N> {
        Allowed::new(By::ours("system", ""), None)
    }

    /// What somebody does who has the data folder: `cli:root`, or whoever the command runs as.
    pub fn by_cli() -> Allowed<'static, V, N> {
        static NAME: OnceLock<String> = OnceLock::new();
        let name = NAME.get_or_init(|| cli_login(sys::uid()));
        Allowed::new(By::ours(name, CLI), None)
    }

    /// Their login; `system` and `cli:USER` stand for the house and for the command line.
    pub const fn actor(&self) -> &'a str {
        self.by.actor
    }

    /// Role that results are shown to: daemon and command line see everything.
    pub fn role(&self) -> Role {
        self.of.map_or(Role::Admin, Actor::role)
    }

    /// May they do the same there, where the thing is moved to? Error: `forbidden`.
    pub fn reaches(&self, place: &Place) -> Result<()>
    where
        V: IsVerb,
        N: IsNoun,
    {
        (self.of).map_or(Ok(()), |actor| actor.may_at(Right::May(V::VERB, N::NOUN), place))
    }

    /// See [`Actor::knows`].
    pub fn knows(&self, conn: &Conn, thing: (&str, i64)) -> Result<bool> {
        self.of.map_or(Ok(true), |actor| actor.knows(conn, thing))
    }

    /// What they made belongs to a project of theirs: to the usual one if that is one of them, else to their first.
    pub fn keep(&self, tx: &Tx, thing: (&str, i64)) -> Result<()> {
        let theirs = self.of.map_or(&[][..], Actor::projects);
        let Some(first) = theirs.first() else { return Ok(()) };
        let usual = queries::project_of(tx, thing.0, thing.1)?;
        match usual.is_some_and(|id| theirs.contains(&id.get())) {
            true => Ok(()),
            false => queries::set_project(tx, thing, *first),
        }
    }

    /// The same one, for another right that this change needs too. Error: `forbidden`.
    pub fn also<W: IsVerb, M: IsNoun>(&self, verb: W, noun: M) -> Result<Allowed<'a, W, M>> {
        match self.of {
            Some(actor) => actor.allowed(verb, noun, &Place::Everywhere),
            None => Ok(Allowed::new(self.by, None)),
        }
    }
}
