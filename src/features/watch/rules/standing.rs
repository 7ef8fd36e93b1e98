//! The rules in force on a kind of subjects, evaluated again only when what they depend on has changed: rules, subjects
//! and their servers, and every [`SCOPES_EVERY_S`] what scopes ask for that changes by itself.

use super::evaluate::InForce;
use super::{Rule, SCOPES_EVERY_S, in_force, queries};
use crate::app::App;
use crate::base::clock::{self, SECOND};
use crate::base::error::Result;
use crate::db::Conn;
use crate::series::Kind;

/// Of rules, of subjects, and the round of live scopes.
type Fingerprint = ([i64; 3], (i64, i64), Option<i64>);

/// What was read last.
pub struct Standing {
    kind: &'static Kind,
    which: fn(&Rule) -> bool,
    seen: Option<Fingerprint>,
    /// Does a scope ask for what changes by itself?
    is_live: bool,
}

impl Standing {
    /// Of these rules, of which none is read yet.
    pub fn new(kind: &'static Kind, which: fn(&Rule) -> bool) -> Standing {
        Standing {
            kind,
            which,
            seen: None,
            is_live: false,
        }
    }

    /// Gives the rules to `take` if something changed since it last took some without an error.
    pub fn refresh(&mut self, app: &App, conn: &Conn, take: impl FnOnce(Vec<InForce>) -> Result<()>) -> Result<()> {
        let round = self.is_live.then(|| clock::now() / (SCOPES_EVERY_S as i64 * SECOND));
        let now = (queries::fingerprint(conn)?, (self.kind.fingerprint)(conn)?, round);
        if self.seen == Some(now) {
            return Ok(());
        }
        let rules = in_force(app, conn, self.kind, self.which)?;
        let is_live = rules.iter().any(|held| held.rule.fields.scope.is_live());
        take(rules)?;
        (self.seen, self.is_live) = (Some(now), is_live);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::builtin::Fields;
    use super::super::watches::{LOG, Watches};
    use super::*;
    use crate::base::config::Config;
    use crate::base::error::Error;
    use crate::base::{file, random};
    use crate::features::workloads::containers::CONTAINERS;
    use crate::vault;
    use std::sync::Arc;

    #[test]
    fn rules_are_taken_once_until_something_changes_that_they_depend_on() {
        let dir = std::env::temp_dir().join(random::name());
        file::private_dir(&dir).unwrap();
        let key = vault::new_master_key();
        file::write_new(&dir.join("master.key"), key.reveal_for("a test's key file")).unwrap();
        let flags = [("DATA_DIR", dir.display().to_string())];
        let config = Config::load(&flags, None, &Default::default()).unwrap();
        let app = App::open(config, Arc::default()).unwrap();
        let mut standing = Standing::new(&CONTAINERS, Rule::is_of_logs);
        let mut taken = || {
            let mut names = None;
            let take = |rules: Vec<InForce>| {
                names = Some(
                    rules
                        .iter()
                        .map(|held| held.rule.fields.name.clone())
                        .collect::<Vec<_>>(),
                );
                Ok(())
            };
            app.db.read(|conn| standing.refresh(&app, conn, take)).unwrap();
            names
        };
        assert_eq!(taken(), Some(vec![]));
        assert_eq!(taken(), None);

        let mut fields = Fields::blank(Watches::parse(LOG).unwrap());
        (fields.name, fields.words, fields.containers) = ("panics".into(), "panic".into(), "exit:137".into());
        (fields.limit.threshold, fields.limit.clear) = (2.0, 0.0);
        app.db.write(|tx| queries::put(tx, None, &fields, 1)).unwrap();
        assert_eq!(taken(), Some(vec!["panics".to_string()]));
        assert_eq!(taken(), None);

        // A container comes, and ends: a rule may ask how.
        let run = |sql: &'static str| app.db.write(|tx| Ok(tx.execute_batch(sql)?)).unwrap();
        run(
            "INSERT INTO containers (id, name, life, image, state, since, created_at, seen_at)
             VALUES (7, 'web', '', '', 'running', 5, 5, 5)",
        );
        assert_eq!(taken(), Some(vec!["panics".to_string()]));
        run("UPDATE containers SET seen_at = 9");
        assert_eq!(taken(), None);
        run("UPDATE containers SET exit_code = 137");
        assert_eq!(taken(), Some(vec!["panics".to_string()]));

        // What could not be taken is given again.
        run("UPDATE containers SET since = 9");
        let refused = |_| Err(Error::internal("no"));
        app.db.read(|conn| standing.refresh(&app, conn, refused)).unwrap_err();
        let mut again = false;
        let take = |_| {
            again = true;
            Ok(())
        };
        app.db.read(|conn| standing.refresh(&app, conn, take)).unwrap();
        assert!(again);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
