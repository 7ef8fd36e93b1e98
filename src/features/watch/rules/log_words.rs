//! Rules on words in logs: counts the lines with the words of each rule as they are stored, by container. A rule fires when
//! more such lines came within its time than it allows, and until none is left in that time.

use super::evaluate::{InForce, Transition};
use super::standing::Standing;
use super::{Rule, queries, write};
use crate::app::App;
use crate::base::clock::{self, Duration, Instant, Ms, SECOND, rfc3339};
use crate::base::error::{Error, Result};
use crate::base::text;
use crate::features::workloads::containers::CONTAINERS;
use crate::journal::{Stream, Words};
use crate::schedule::service::{Service, ServiceRun};
use std::collections::{HashMap, HashSet, VecDeque};

/// Interval of counting.
const EVERY: Duration = Duration::from_secs(3);
/// Lines that are looked at in one round; of a flood the newest part is counted.
const LINES_MAX: usize = 20_000;
/// Lines that are remembered of one rule and container: as many as a rule may allow, and one.
const FOUND_MAX: usize = 10_001;
/// Lines that are remembered with their text, for the evidence.
const TEXTS_MAX: usize = 20;

/// The counting.
pub const SERVICES: &[Service] = &[Service {
    name: "rules.log_words",
    every: EVERY,
    prepare: |_| Ok(()),
    run: |run: &ServiceRun| {
        let mut counts = Counts::new();
        run.rounds(&run.app.wakes.events, || {
            counts.look(run.app)?;
            Ok(None)
        });
        Ok(())
    },
}];

/// Rule, its revision, container.
type Key = (i64, i64, i64);

/// Lines with a rule's words in one log.
#[derive(Default)]
struct Found {
    /// When each came.
    at: VecDeque<Ms>,
    /// The newest of them.
    texts: VecDeque<String>,
}

struct Counts {
    standing: Standing,
    /// The rules with the words that they count.
    rules: Vec<(InForce, Words)>,
    begun: Instant,
    /// Number of the last line that was looked at.
    after: Option<i64>,
    found: HashMap<Key, Found>,
}

impl Counts {
    fn new() -> Counts {
        Counts {
            standing: Standing::new(&CONTAINERS, Rule::is_of_logs),
            rules: Vec::new(),
            begun: clock::mono(),
            after: None,
            found: HashMap::new(),
        }
    }

    /// Counts what was stored since the last call, and says what crosses its limit.
    fn look(&mut self, app: &App) -> Result<()> {
        app.db.read(|conn| {
            self.standing.refresh(app, conn, |rules| {
                self.rules = rules.into_iter().map(with_words).collect::<Result<_>>()?;
                Ok(())
            })
        })?;
        if self.rules.is_empty() {
            (self.begun, self.after) = (clock::mono(), None);
            self.found.clear();
            return Ok(());
        }
        let subjects: Vec<_> = app.journal.subjects(CONTAINERS.name);
        let subjects: Vec<_> = subjects.into_iter().map(|id| (CONTAINERS.name, id)).collect();
        let after = match self.after {
            Some(after) => after,
            None => app.journal.newest_id(),
        };
        let (lines, _) = app.journal.since(&subjects, after, LINES_MAX)?;
        self.after = Some(lines.last().map_or(after, |(_, line)| line.id));
        let now = clock::now();
        for ((_, id), line) in lines.iter().filter(|(_, line)| line.stream != Stream::Note) {
            for (held, words) in self.rules.iter().filter(|(held, _)| held.holds_on(*id)) {
                if words.find(&line.text) {
                    let found = self.found.entry(key(&held.rule, *id)).or_default();
                    found.add(now, rfc3339(line.at / 1_000_000), &line.text);
                }
            }
        }
        let windows: HashMap<(i64, i64), Ms> = self
            .rules
            .iter()
            .map(|(held, _)| ((held.rule.id.get(), held.rule.revision), window(&held.rule)))
            .collect();
        self.found.retain(|(rule, revision, _), found| {
            let window = windows.get(&(*rule, *revision));
            window.is_some_and(|window| found.keep(now - window))
        });
        let turned = self.turned(app)?;
        match turned.is_empty() {
            true => Ok(()),
            false => app.db.write(|tx| write(app, tx, &turned)),
        }
    }

    fn turned(&self, app: &App) -> Result<Vec<Transition>> {
        let firing = app.db.read(|conn| queries::firing(conn, CONTAINERS.name, None, None))?;
        let fires: HashSet<(i64, i64)> = firing.iter().map(|f| (f.rule.get(), f.subject.1)).collect();
        let mut out = Vec::new();
        for ((rule, revision, id), found) in &self.found {
            let of = |(held, _): &&(InForce, Words)| held.rule.id.get() == *rule && held.rule.revision == *revision;
            let Some((held, _)) = self.rules.iter().find(of) else {
                continue;
            };
            if held.rule.fields.limit.is_bad(found.at.len() as f64) && !fires.contains(&(*rule, *id)) {
                out.push(transition(&held.rule, *id, Some(found)));
            }
        }
        for f in firing {
            let Some((held, _)) = self.rules.iter().find(|(held, _)| held.rule.id == f.rule) else {
                continue;
            };
            // What came before this process began is not known: so long it stays as it is.
            let is_known = self.begun.elapsed() >= Duration::from_millis(window(&held.rule).unsigned_abs());
            if is_known && !self.found.contains_key(&key(&held.rule, f.subject.1)) {
                out.push(transition(&held.rule, f.subject.1, None));
            }
        }
        Ok(out)
    }
}

fn with_words(held: InForce) -> Result<(InForce, Words)> {
    let words = Words::parse(&held.rule.fields.words).map_err(Error::internal)?;
    Ok((held, words))
}

fn key(rule: &Rule, id: i64) -> Key {
    (rule.id.get(), rule.revision, id)
}

fn window(rule: &Rule) -> Ms {
    rule.fields.limit.for_s * SECOND
}

fn transition(rule: &std::sync::Arc<Rule>, id: i64, found: Option<&Found>) -> Transition {
    let now = clock::now();
    let count = found.map_or(0, |found| found.at.len());
    Transition {
        rule: rule.clone(),
        subject: (CONTAINERS.name, id),
        part: "".into(),
        fires: found.is_some(),
        values: vec![(now, count as f64)],
        disk: None,
        why: None,
        lines: found.map_or_else(Vec::new, |found| found.texts.iter().cloned().collect()),
    }
}

impl Found {
    fn add(&mut self, now: Ms, at: String, line: &str) {
        self.at.push_back(now);
        self.texts
            .push_back(format!("{at} {}", crate::base::lines::uncoloured(text::cut(line, 300))));
        let (many, old) = (
            self.at.len().saturating_sub(FOUND_MAX),
            self.texts.len().saturating_sub(TEXTS_MAX),
        );
        self.at.drain(..many);
        self.texts.drain(..old);
    }

    /// Forgets what came before; false: nothing is left.
    fn keep(&mut self, from: Ms) -> bool {
        self.at.retain(|at| *at > from);
        !self.at.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_within_their_time_and_the_newest_are_the_evidence() {
        let mut found = Found::default();
        for n in 0..30_i64 {
            found.add(
                n * SECOND,
                rfc3339(n * SECOND),
                &format!("\u{1b}[31mERROR\u{1b}[0m {n}"),
            );
        }
        assert!(found.keep(9 * SECOND));
        assert_eq!((found.at.len(), found.texts.len()), (20, TEXTS_MAX));
        assert!(found.texts[0].ends_with("ERROR 10"), "{}", found.texts[0]);
        assert!(!found.keep(30 * SECOND));
    }
}
