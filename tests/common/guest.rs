//! A signed-in user with a database of their own, for tests of the edge alone.

use lamplighter::access::right::{Events, Read, may};
use lamplighter::access::{Actor, Client, Origin, Place, SignIn, Standing, account, session};
use lamplighter::db::{Db, Durability, schema};
use lamplighter::events::wake::Wake;
use std::path::Path;
use std::sync::Arc;

/// See the module's documentation.
pub struct Guest {
    db: Arc<Db>,
    actor: Actor,
}

impl Guest {
    /// A viewer who has just signed in.
    pub fn new(folder: &Path) -> Guest {
        let db = Arc::new(Db::open(&folder.join("guest.db"), Durability::Normal, schema::STATE).unwrap());
        let cookie = db.write(|tx| {
            tx.execute_batch(
                "INSERT INTO users (login, password_hash, role, created_at) VALUES ('v', '', 'viewer', 0)",
            )?;
            let from = Client {
                ip: "192.0.2.1",
                agent: "",
            };
            session::start(tx, &SignIn::new(&account(tx, "v")?.unwrap(), from))
        });
        let from = Origin {
            ip: "192.0.2.1",
            request_id: "r",
            client_request_id: "",
        };
        let actor = session::find(&db, &cookie.unwrap(), from).unwrap().unwrap();
        Guest { db, actor }
    }

    /// To open a stream with.
    pub fn standing(&self) -> Standing {
        Standing::new(
            &self.db,
            &Wake::new(),
            &self.actor,
            may(Read, Events),
            Place::Everywhere,
        )
    }
}
