//! Evaluates observations of one kind of subjects by the rules. A state is kept only for a value beyond its threshold,
//! until it is back below `clear`; an ordinary observation costs one comparison for each rule. Durations are measured by
//! the monotonic clock, so a step of the wall clock makes nothing fire. Missing data does not end a firing rule, and a
//! subject that was silent for too long starts its duration again. A part that is missing in [`GONE_AFTER`] answers in
//! a row counts as removed.

use super::reading::{self, Disk, Reading};
use super::watches::{BUSY, IDLE};
use super::{Firing, Rule, Waiting};
use crate::base::clock::{Duration, Instant, Ms};
use crate::base::id::{self, Id};
use crate::series::{Kind, Observation, Seen, Subject};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A rule begins or stops firing for one part of a subject.
#[derive(Debug, Clone)]
pub struct Transition {
    /// The rule.
    pub rule: Arc<Rule>,
    /// The subject.
    pub subject: Subject,
    /// The part, such as a mount point; empty: the subject as a whole.
    pub part: Box<str>,
    /// True: it begins to fire. False: it stops.
    pub fires: bool,
    /// Measured values with their times, oldest first.
    pub values: Vec<(Ms, f64)>,
    /// Last measurement of the disk.
    pub disk: Option<Disk>,
    /// Explanation, if the values alone do not give it.
    pub why: Option<String>,
    /// Lines of a log that it is about.
    pub lines: Vec<String>,
}

impl Transition {
    /// Time at which the value passed its threshold, unix ms; `None` for trends.
    pub fn began(&self) -> Option<Ms> {
        let (at, _) = self.values.first().filter(|_| self.rule.is_of_observations())?;
        Some(*at)
    }

    /// The form in which it is stored.
    pub fn firing(&self) -> Firing {
        Firing {
            rule: self.rule.id,
            subject: self.subject,
            part: self.part.clone(),
            revision: self.rule.revision,
        }
    }
}

/// An enabled rule with its subjects.
pub struct InForce {
    /// The rule.
    pub rule: Arc<Rule>,
    /// `None`: every subject of its kind.
    pub only: Option<HashSet<i64>>,
}

/// Answers in a row without a value after which its part counts as removed (disk unmounted, swap switched off). A
/// plug-in of Glances that fails temporarily returns sooner.
const GONE_AFTER: u32 = 10;
/// Maximum of values kept as evidence: the first and the latest ones.
const VALUES: usize = 6;

struct State {
    rule: Id<id::Rule>,
    part: Box<str>,
    /// Revision of the rule.
    revision: i64,
    since: Instant,
    /// Time of the last observation.
    seen_at: Instant,
    fires: bool,
    /// Is its transition being stored?
    turning: bool,
    values: Vec<(Ms, f64)>,
    disk: Option<Disk>,
    /// Answers in a row without this part.
    absent: u32,
    seen: bool,
}

impl State {
    fn note(&mut self, at: Ms, value: f64) {
        if self.values.len() >= VALUES {
            self.values.remove(1);
        }
        self.values.push((at, value));
    }
}

/// States and rules of one kind of subjects.
#[derive(Default)]
pub struct Evaluator {
    rules: Vec<InForce>,
    states: HashMap<i64, Vec<State>>,
    misses: HashMap<i64, u32>,
}

impl Evaluator {
    /// Replaces the rules and the stored firing states. Pending durations of rules that were removed or changed are
    /// dropped.
    pub fn set(&mut self, rules: Vec<InForce>, firing: Vec<Firing>, now: Instant) {
        self.rules = rules;
        let rules = &self.rules;
        let holds = |id: i64, rule: Id<id::Rule>, part: &str| {
            let mine = rules.iter().find(|r| r.rule.id == rule);
            mine.filter(|r| r.holds_on(id) && r.wants(part))
                .map(|r| r.rule.revision)
        };
        for (id, states) in &mut self.states {
            states.retain(|s| !s.fires && holds(*id, s.rule, &s.part) == Some(s.revision));
        }
        for f in firing {
            if holds(f.subject.1, f.rule, &f.part).is_some() {
                let states = self.states.entry(f.subject.1).or_default();
                states.push(State {
                    rule: f.rule,
                    part: f.part,
                    revision: f.revision,
                    since: now,
                    seen_at: now,
                    fires: true,
                    turning: false,
                    values: Vec::new(),
                    disk: None,
                    absent: 0,
                    seen: false,
                });
            }
        }
        self.states.retain(|_, states| !states.is_empty());
    }

    /// Pending states, for storage.
    pub fn waiting(&self, kind: &Kind) -> Vec<Waiting> {
        let all = self
            .states
            .iter()
            .flat_map(|(id, all)| all.iter().map(move |s| (*id, s)));
        let waits = all.filter(|(_, s)| !s.fires && !s.turning);
        let waiting = |(id, s): (i64, &State)| {
            Some(Waiting {
                firing: Firing {
                    rule: s.rule,
                    subject: (kind.name, id),
                    part: s.part.clone(),
                    revision: s.revision,
                },
                held: s.seen_at.saturating_duration_since(s.since),
                seen_at: s.values.last()?.0,
                values: s.values.clone(),
            })
        };
        waits.filter_map(waiting).collect()
    }

    /// Restores a pending state from before a restart, last observed `ago`, if its rule is unchanged.
    pub fn resume(&mut self, waited: Waiting, ago: Duration, now: Instant) {
        let Firing {
            rule,
            subject: (_, id),
            part,
            revision,
        } = waited.firing;
        let same = |r: &&InForce| r.rule.id == rule && r.rule.revision == revision;
        let holds = self.rules.iter().find(same);
        let began = now.checked_sub(waited.held + ago);
        let (Some(since), true) = (began, holds.is_some_and(|r| r.holds_on(id) && r.wants(&part))) else {
            return;
        };
        let states = self.states.entry(id).or_default();
        if !states.iter().any(|s| s.rule == rule && s.part == part) {
            states.push(State {
                rule,
                part,
                revision,
                since,
                seen_at: now,
                fires: false,
                turning: false,
                values: waited.values,
                disk: None,
                absent: 0,
                seen: false,
            });
        }
    }

    /// Evaluates an observation. The caller stores each transition and then reports it to [`Evaluator::written`].
    pub fn evaluate(&mut self, seen: &Observation, now: Instant, transitions: &mut Vec<Transition>) {
        let id = seen.id;
        if let Seen::Missed(misses_max) = seen.seen {
            self.miss(id, misses_max);
            return;
        }
        if !self.misses.is_empty() {
            self.misses.remove(&id);
        }
        let mut states = self.states.remove(&id).unwrap_or_default();
        for held in self.rules.iter().filter(|held| held.holds_on(id)) {
            reading::each(&held.rule, seen, |reading| {
                held.step(seen, now, &reading, &mut states, transitions);
            });
        }
        if !states.is_empty() {
            self.miss_parts(seen, &mut states, transitions);
            self.states.insert(id, states);
        }
    }

    /// Counts parts that are missing in this answer.
    fn miss_parts(&self, seen: &Observation, states: &mut Vec<State>, transitions: &mut Vec<Transition>) {
        states.retain_mut(|s| {
            if std::mem::take(&mut s.seen) || s.turning {
                return true;
            }
            s.absent += 1;
            let rule = self.rules.iter().find(|r| r.rule.id == s.rule);
            match rule.filter(|_| s.fires) {
                None => s.absent < GONE_AFTER && rule.is_some(),
                Some(held) if s.absent >= GONE_AFTER => {
                    s.turning = true;
                    let why = format!("not in the last {GONE_AFTER} answers any more");
                    transitions.push(held.transition(seen, s, false, Some(why)));
                    true
                }
                Some(_) => true,
            }
        });
    }

    fn miss(&mut self, id: i64, misses_max: u32) {
        let Some(states) = self.states.get_mut(&id).filter(|s| s.iter().any(|s| !s.fires)) else {
            return;
        };
        let misses = self.misses.entry(id).or_default();
        *misses += 1;
        if *misses >= misses_max.max(1) {
            states.retain(|s| s.fires);
            self.misses.remove(&id);
            self.states.retain(|_, states| !states.is_empty());
        }
    }

    /// The transitions were stored; or not (false): then the next poll returns them again.
    pub fn written(&mut self, transitions: &[Transition], are: bool) {
        for transition in transitions {
            let Some(states) = self.states.get_mut(&transition.subject.1) else {
                continue;
            };
            states.retain_mut(|s| {
                if s.rule != transition.rule.id || s.part != transition.part {
                    return true;
                }
                s.turning = false;
                s.fires = if are { transition.fires } else { s.fires };
                transition.fires || !are
            });
        }
        self.states.retain(|_, states| !states.is_empty());
    }
}

impl InForce {
    /// Does the rule apply to this subject?
    pub fn holds_on(&self, id: i64) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&id))
    }

    /// Does the rule watch this part?
    pub fn wants(&self, part: &str) -> bool {
        let mount = &self.rule.fields.limit.mount;
        mount.is_empty() || mount == part
    }

    fn step(
        &self,
        seen: &Observation,
        now: Instant,
        reading: &Reading,
        states: &mut Vec<State>,
        transitions: &mut Vec<Transition>,
    ) {
        let limit = &self.rule.fields.limit;
        let (value, busy) = (reading.value, reading.busy);
        let bad = limit.is_bad(value) && busy.is_none_or(|busy| busy >= BUSY);
        let fine = limit.is_fine(value) || busy.is_some_and(|busy| busy < IDLE);
        let place = states
            .iter()
            .position(|s| s.rule == self.rule.id && *s.part == *reading.part);
        let place = match place {
            None if !bad => return,
            None => {
                states.push(State {
                    rule: self.rule.id,
                    part: reading.part.into(),
                    revision: self.rule.revision,
                    since: now,
                    seen_at: now,
                    fires: false,
                    turning: false,
                    values: Vec::new(),
                    disk: None,
                    absent: 0,
                    seen: true,
                });
                states.len() - 1
            }
            Some(place) => place,
        };
        let s = &mut states[place];
        (s.seen, s.seen_at, s.absent) = (true, now, 0);
        s.note(seen.at_ms, value);
        s.disk = reading.disk();
        if s.turning {
            return;
        }
        match s.fires {
            false if !bad => drop(states.swap_remove(place)),
            false if now.saturating_duration_since(s.since) >= Duration::from_secs(limit.for_s as u64) => {
                s.turning = true;
                transitions.push(self.transition(seen, s, true, None));
            }
            false => {}
            // It fired by an earlier revision: the new threshold decides at once, without `clear`.
            true if s.revision != self.rule.revision && bad => s.revision = self.rule.revision,
            true if fine || s.revision != self.rule.revision => {
                s.turning = true;
                transitions.push(self.transition(seen, s, false, None));
            }
            true => {}
        }
    }

    fn transition(&self, seen: &Observation, s: &State, fires: bool, why: Option<String>) -> Transition {
        Transition {
            rule: self.rule.clone(),
            subject: seen.subject(),
            part: s.part.clone(),
            fires,
            values: s.values.clone(),
            disk: s.disk.clone(),
            why,
            lines: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::builtin::Fields;
    use super::super::watches::Watches;
    use super::*;
    use crate::features::fleet::metrics::SERVERS;
    use crate::series::Value;

    struct Answer<'a> {
        cpu: Option<f64>,
        disks: &'a [(&'a str, f64)],
    }

    impl<'a> Answer<'a> {
        fn values(&self) -> Vec<Value<'a>> {
            let value = |key: &str, part: &'a str, value: f64| Value {
                key: SERVERS.place(key).unwrap(),
                part,
                value,
                is_kept: false,
                of: None,
            };
            let disks =
                ["disk", "mount"].map(|key| self.disks.iter().map(move |(part, percent)| (key, *part, *percent)));
            let cpu = self.cpu.iter().map(|cpu| ("cpu", "", *cpu));
            let all = cpu.chain(disks.into_iter().flatten());
            all.map(|(key, part, number)| value(key, part, number)).collect()
        }
    }

    fn rule(watches: &str, revision: i64, change: impl FnOnce(&mut Fields)) -> Arc<Rule> {
        let mut fields = Fields::blank(Watches::parse(watches).unwrap());
        (fields.limit.threshold, fields.limit.clear, fields.limit.for_s) = (90.0, 85.0, 60);
        change(&mut fields);
        Arc::new(Rule {
            id: Id::new(if watches == "cpu" { 1000 } else { 1001 }),
            builtin: None,
            fields,
            revision,
            created_at: 0,
            updated_at: 0,
        })
    }

    /// An evaluator and its clock.
    struct Setup {
        evaluator: Evaluator,
        zero: Instant,
        s: u64,
    }

    impl Setup {
        fn new(rules: &[&Arc<Rule>], firing: Vec<Firing>) -> Setup {
            let mut setup = Setup {
                evaluator: Evaluator::default(),
                zero: crate::base::clock::mono(),
                s: 0,
            };
            setup.set(rules, firing);
            setup
        }

        fn set(&mut self, rules: &[&Arc<Rule>], firing: Vec<Firing>) {
            let hold = |rule: &&Arc<Rule>| InForce {
                rule: (*rule).clone(),
                only: None,
            };
            self.evaluator.set(rules.iter().map(hold).collect(), firing, self.zero);
        }

        /// Advances by 30 s; returns what began (`+/srv`) and what ended (`-/srv`).
        fn poll(&mut self, answer: Option<Answer>) -> Vec<String> {
            let transitions = self.poll_unwritten(answer);
            self.evaluator.written(&transitions, true);
            said(&transitions)
        }

        fn poll_unwritten(&mut self, answer: Option<Answer>) -> Vec<Transition> {
            self.s += 30;
            let seen = Observation {
                kind: &SERVERS,
                id: 7,
                // The wall clock jumps back and forth all the time.
                at_ms: if self.s.is_multiple_of(60) {
                    1
                } else {
                    1_900_000_000_000
                },
                seen: answer.map_or(Seen::Missed(3), |a| Seen::Values(a.values())),
            };
            let mut transitions = Vec::new();
            self.evaluator
                .evaluate(&seen, self.zero + Duration::from_secs(self.s), &mut transitions);
            transitions
        }

        fn cpu(&mut self, values: &[f64]) -> Vec<Vec<String>> {
            values
                .iter()
                .map(|v| {
                    self.poll(Some(Answer {
                        cpu: Some(*v),
                        disks: &[],
                    }))
                })
                .collect()
        }
    }

    fn said(transitions: &[Transition]) -> Vec<String> {
        transitions
            .iter()
            .map(|t| format!("{}{}", if t.fires { '+' } else { '-' }, t.part))
            .collect()
    }

    fn fired(rule: &Rule, part: &str) -> Firing {
        Firing {
            rule: rule.id,
            subject: (SERVERS.name, 7),
            part: part.into(),
            revision: rule.revision,
        }
    }

    const NOTHING: Vec<String> = Vec::new();

    #[test]
    fn it_fires_after_its_time_and_until_it_is_fine() {
        let rule = rule("cpu", 1, |_| ());
        let mut setup = Setup::new(&[&rule], vec![]);
        let told = setup.cpu(&[95.0, 95.0, 89.0, 95.0, 95.0, 91.0, 99.0, 86.0, 91.0, 85.0, 99.0]);
        let (plus, minus) = (vec!["+".to_string()], vec!["-".to_string()]);
        let nothing = NOTHING;
        let expected = [
            &nothing, &nothing, &nothing, &nothing, &nothing, &plus, &nothing, &nothing, &nothing, &minus, &nothing,
        ];
        assert_eq!(told.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_processor_that_is_full_now_and_then_is_no_fault_and_one_that_stays_full_is() {
        let builtin = super::super::builtin::Builtin::all()
            .into_iter()
            .find(|b| b.fields().watches.name() == "cpu");
        let rule = Arc::new(Rule::as_it_came(builtin.unwrap()));
        let mut setup = Setup::new(&[&rule], vec![]);
        assert_eq!(setup.cpu(&[100.0, 40.0].repeat(60)).concat(), NOTHING);
        let told = setup.cpu(&[100.0; 25]);
        assert_eq!((told[..20].concat(), told.concat()), (NOTHING, vec!["+".to_string()]));
        assert_eq!(setup.cpu(&[40.0]).concat(), ["-"]);
    }

    #[test]
    fn what_is_ordinary_leaves_nothing_behind() {
        let (cpu, disk) = (rule("cpu", 1, |_| ()), rule("disk", 1, |_| ()));
        let mut setup = Setup::new(&[&cpu, &disk], vec![]);
        for _ in 0..3 {
            setup.poll(Some(Answer {
                cpu: Some(50.0),
                disks: &[("/", 10.0), ("/srv", 90.0)],
            }));
            setup.poll(None);
        }
        assert!(setup.evaluator.states.is_empty() && setup.evaluator.misses.is_empty());
        setup.cpu(&[95.0, 50.0]);
        assert!(setup.evaluator.states.is_empty());
    }

    #[test]
    fn silence_is_neither_good_nor_bad_and_a_server_that_was_down_begins_anew() {
        let rule = rule("cpu", 1, |_| ());
        let mut setup = Setup::new(&[&rule], vec![]);
        setup.cpu(&[95.0]);
        // Two missed polls do not restart the duration.
        assert_eq!([setup.poll(None), setup.poll(None)], [NOTHING, NOTHING]);
        assert_eq!(setup.cpu(&[95.0]), [["+"]]);
        for _ in 0..50 {
            assert_eq!(setup.poll(None), NOTHING);
            assert_eq!(
                setup.poll(Some(Answer {
                    cpu: Some(86.0),
                    disks: &[]
                })),
                NOTHING
            );
        }
        assert_eq!(setup.cpu(&[10.0, 95.0]), [vec!["-".to_string()], vec![]]);
        (0..3).for_each(|_| drop(setup.poll(None)));
        assert_eq!(setup.cpu(&[95.0, 95.0, 95.0]), [vec![], vec![], vec!["+".to_string()]]);
    }

    #[test]
    fn each_disk_is_for_itself_and_one_that_is_gone_is_over() {
        let any = rule("disk", 1, |f| f.limit.for_s = 0);
        let mut setup = Setup::new(&[&any], vec![]);
        let both: &[(&str, f64)] = &[("/", 95.0), ("/srv", 99.0)];
        let one: &[(&str, f64)] = &[("/", 95.0)];
        let answer = |disks| Some(Answer { cpu: None, disks });
        assert_eq!(setup.poll(answer(both)), ["+/", "+/srv"]);
        for _ in 1..GONE_AFTER {
            assert_eq!(setup.poll(answer(one)), NOTHING);
        }
        assert_eq!(setup.poll(answer(one)), ["-/srv"]);
        assert_eq!(setup.poll(answer(&[("/", 5.0)])), ["-/"]);
        let srv = rule("disk", 1, |f| (f.limit.for_s, f.limit.mount) = (0, "/srv".into()));
        assert_eq!(Setup::new(&[&srv], vec![]).poll(answer(both)), ["+/srv"]);
    }

    #[test]
    fn after_a_restart_it_is_not_told_again_and_its_end_is() {
        let disk = rule("disk", 3, |f| f.limit.for_s = 0);
        let mut setup = Setup::new(&[&disk], vec![fired(&disk, "/")]);
        let full = |percent| {
            Some(Answer {
                cpu: None,
                disks: if percent { &[("/", 95.0)] } else { &[("/", 80.0)] },
            })
        };
        assert_eq!(setup.poll(full(true)), NOTHING);
        assert_eq!(setup.poll(full(false)), ["-/"]);
        // States of a removed rule are dropped.
        let mut setup = Setup::new(&[], vec![fired(&disk, "/")]);
        assert_eq!(setup.poll(full(false)), NOTHING);
        assert!(setup.evaluator.states.is_empty());
    }

    #[test]
    fn what_waited_goes_on_waiting_and_not_anew() {
        let rule = rule("cpu", 1, |f| f.limit.for_s = 300);
        let mut before = Setup::new(&[&rule], vec![]);
        before.cpu(&[95.0; 8]); // three minutes and a half
        let waits = before.evaluator.waiting(&SERVERS);
        assert_eq!((waits.len(), waits[0].held), (1, Duration::from_secs(210)));
        let resumed = |rule: &Arc<Rule>, waited: &Waiting| {
            let mut setup = Setup::new(&[rule], vec![]);
            let now = setup.zero + Duration::from_secs(1_000);
            setup.s = 1_000;
            setup.evaluator.resume(waited.clone(), Duration::from_secs(20), now);
            setup
        };
        // 20 s down, then at the third half minute: 320 s.
        assert_eq!(resumed(&rule, &waits[0]).cpu(&[95.0; 3]).concat(), ["+"]);
        assert_eq!(resumed(&rule, &waits[0]).cpu(&[95.0; 2]).concat(), NOTHING);
        // A good value in between restarts the duration.
        assert_eq!(
            resumed(&rule, &waits[0]).cpu(&[50.0, 95.0, 95.0, 95.0]).concat(),
            NOTHING
        );
        // So does a changed rule.
        let other = self::rule("cpu", 2, |f| f.limit.for_s = 300);
        assert_eq!(resumed(&other, &waits[0]).cpu(&[95.0; 3]).concat(), NOTHING);
    }

    #[test]
    fn a_changed_rule_decides_by_what_it_says_now() {
        let old = rule("cpu", 1, |_| ());
        let milder = rule("cpu", 2, |f| f.limit.threshold = 97.0);
        let mut setup = Setup::new(&[&milder], vec![fired(&old, "")]);
        assert_eq!(setup.cpu(&[95.0]), [["-"]], "neither bad now, nor fine as it was");
        let mut setup = Setup::new(&[&milder], vec![fired(&old, "")]);
        assert_eq!(setup.cpu(&[98.0, 95.0, 85.0]), [vec![], vec![], vec!["-".to_string()]]);
        // The duration pending for the old revision restarts.
        let mut setup = Setup::new(&[&old], vec![]);
        setup.cpu(&[99.0, 99.0]);
        setup.set(&[&milder], vec![]);
        assert_eq!(setup.cpu(&[99.0, 99.0, 99.0]), [vec![], vec![], vec!["+".to_string()]]);
    }

    #[test]
    fn what_could_not_be_written_comes_again() {
        let rule = rule("cpu", 1, |f| f.limit.for_s = 0);
        let mut setup = Setup::new(&[&rule], vec![]);
        let bad = || {
            Some(Answer {
                cpu: Some(99.0),
                disks: &[],
            })
        };
        let transitions = setup.poll_unwritten(bad());
        assert_eq!(said(&transitions), ["+"]);
        assert_eq!(said(&setup.poll_unwritten(bad())), NOTHING, "it is being written");
        setup.evaluator.written(&transitions, false);
        assert_eq!(setup.poll(bad()), ["+"]);
        assert_eq!(setup.poll(bad()), NOTHING);
    }
}
