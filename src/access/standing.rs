//! Repeated authorization of long requests. A live view or long poll holds a [`Standing`] and checks before each step:
//! is the session or token valid, is the account enabled, does its role have the right? Changes by this process count
//! at once, those of others (command line) within [`Standing::EVERY`].

use super::{Actor, Place, Right, token};
use crate::base::clock::{self, Duration, Instant};
use crate::base::error::Result;
use crate::db::Db;
use crate::events::wake::Wake;
use std::sync::Arc;

/// An actor with what is needed to check again. Streams require one.
pub struct Standing {
    db: Arc<Db>,
    changed: Wake,
    actor: Actor,
    right: Right,
    place: Place,
    /// Count of `changed`, and time of the last check.
    asked: (u64, Instant),
}

impl Standing {
    /// Maximum delay until a change by another process is noticed. One query each time: 500 streams cost 1 % of a core.
    pub const EVERY: Duration = Duration::from_secs(1);

    /// Of one whom the guard has let through to something that asks for `right` at `place`. `changed` is rung when this process has
    /// ended a session or changed an account.
    pub fn new(db: &Arc<Db>, changed: &Wake, actor: &Actor, right: Right, place: Place) -> Standing {
        Standing {
            db: Arc::clone(db),
            changed: changed.clone(),
            actor: actor.clone(),
            right,
            place,
            // What happened between the guard's look and now is seen at the first asking.
            asked: (changed.count().wrapping_sub(1), clock::mono()),
        }
    }

    /// Who it was when it was asked last.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Who it is now. Errors: `unauthorized`, `forbidden`.
    pub fn ask(&mut self) -> Result<&Actor> {
        // Counted before the look: what changes meanwhile is seen at the next.
        let now = (self.changed.count(), clock::mono());
        if self.asked.0 != now.0 || now.1.saturating_duration_since(self.asked.1) >= Standing::EVERY {
            self.actor = self.actor.again(&self.db)?.ok_or_else(token::unauthorized)?;
            self.actor.may_at(self.right, &self.place)?;
            self.asked = now;
        }
        Ok(&self.actor)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::access::right::{Dashboard, Read, may};
    use crate::access::{Client, Origin, SignIn, account, session};
    use crate::base::random;
    use crate::db::{Durability, schema};

    const HERE: Client = Client {
        ip: "192.0.2.1",
        agent: "",
    };

    /// A viewer of this number, who has just signed in to a database of their own.
    pub(crate) fn standing(user: i64) -> Standing {
        let path = std::env::temp_dir().join(format!("{}.db", random::name()));
        let db = Arc::new(Db::open(&path, Durability::Normal, schema::STATE).unwrap());
        let cookie = db
            .write(|tx| {
                let row =
                    "INSERT INTO users (id, login, password_hash, role, created_at) VALUES (?1, 'v', '', 'viewer', 0)";
                tx.execute(row, [user])?;
                session::start(tx, &SignIn::new(&account(tx, "v")?.unwrap(), HERE))
            })
            .unwrap();
        let from = Origin {
            ip: "192.0.2.1",
            request_id: "r",
            client_request_id: "",
        };
        let actor = session::find(&db, &cookie, from).unwrap().unwrap();
        for file in [
            path.clone(),
            path.with_extension("db-wal"),
            path.with_extension("db-shm"),
        ] {
            let _ = std::fs::remove_file(file); // the open one goes on
        }
        Standing::new(&db, &Wake::new(), &actor, may(Read, Dashboard), Place::Everywhere)
    }

    #[test]
    fn it_looks_once_a_second_and_at_once_when_something_was_changed_here() {
        let mut standing = standing(1);
        assert_eq!(standing.ask().unwrap().login(), "v");
        standing.asked.1 += Standing::EVERY * 3_600; // however slow this machine is
        let db = Arc::clone(&standing.db);
        let role = |role: &str| {
            db.write(|tx| Ok(tx.execute("UPDATE users SET role = ?1", [role])?))
                .unwrap()
        };
        role("automation");
        assert!(standing.ask().is_ok(), "asked a moment ago");
        standing.changed.ring();
        assert_eq!(standing.ask().err().map(|e| e.code), Some("forbidden"));
        role("operator");
        assert_eq!(standing.ask().unwrap().role().name(), "operator");
        role("viewer");
        standing.asked.1 = clock::mono() - Standing::EVERY;
        assert_eq!(standing.ask().unwrap().role().name(), "viewer");
    }
}
