//! Holds polls against the rules. Nothing is kept of what is ordinary: a figure beyond its limit has a state until it is
//! fine again, and a poll without one costs a comparison a rule. Time is the monotonic clock's: a step of the other one
//! makes nothing fire. No data is neither good nor bad: it does not end what fires, and a server that went dark begins its
//! time anew. What no answer of a server holds any more is gone after some of them.

use super::model::{BUSY, DISK, DISK_TREND, IDLE, SERIES, Series, Watches};
use super::{Firing, Rule, Waiting};
use crate::base::clock::{Duration, Instant, Ms};
use crate::base::id::{self, Id, Server};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A good answer of a server.
pub trait Measured {
    /// A figure; `None`: it is not there.
    fn value(&self, series: &Series) -> Option<f64>;
    /// Each disk once; with a mount point, that one alone.
    fn disks(&self, mount: &str, each: &mut dyn FnMut(Disk<'_>));
}

/// A disk as it was measured. Its names are the poll's own: nearly all disks are fine, and of these nothing is kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Disk<'a> {
    /// Where it is mounted.
    pub mount: Cow<'a, str>,
    /// What is mounted.
    pub device: Cow<'a, str>,
    /// As `df` counts it.
    pub percent: f64,
    /// Bytes of the whole file system.
    pub size: Option<u64>,
    /// Bytes in use.
    pub used: Option<u64>,
    /// Bytes that users may still write.
    pub free: Option<u64>,
    /// Datasets of one pool that share what is free: this one stands for them.
    pub datasets: usize,
}

impl Disk<'_> {
    /// To be kept beyond the poll.
    fn into_owned(self) -> Disk<'static> {
        Disk {
            mount: self.mount.into_owned().into(),
            device: self.device.into_owned().into(),
            ..self
        }
    }
}

/// A poll.
pub struct Look<'a> {
    /// Whose.
    pub server: Id<Server>,
    /// When it began, by the wall clock: only for people to read.
    pub at: Ms,
    /// `None`: it was in vain.
    pub seen: Option<&'a dyn Measured>,
    /// Polls in vain, one after the other, that make a server dark.
    pub misses_max: u32,
}

/// Something fires, or does not any more.
#[derive(Debug, Clone)]
pub struct Turn {
    /// By which rule.
    pub rule: Arc<Rule>,
    /// On which server.
    pub server: Id<Server>,
    /// Of which disk; empty: of the server.
    pub part: Box<str>,
    /// It does.
    pub fires: bool,
    /// What was measured, oldest first.
    pub values: Vec<(Ms, f64)>,
    /// The disk as it was measured last.
    pub disk: Option<Disk<'static>>,
    /// Why, where the values do not say it.
    pub why: Option<String>,
}

impl Turn {
    /// When the figure went beyond its limit, by the wall clock; of a trend nobody can say.
    pub fn began(&self) -> Option<Ms> {
        let (at, _) = self.values.first().filter(|_| is_judged(&self.rule))?;
        Some(*at)
    }

    /// As it is stored.
    pub fn firing(&self) -> Firing {
        Firing {
            rule: self.rule.id,
            server: self.server,
            part: self.part.clone(),
            revision: self.rule.revision,
        }
    }
}

/// A rule and where it holds.
pub struct InForce {
    /// The rule.
    pub rule: Arc<Rule>,
    /// `None`: on every server.
    pub servers: Option<HashSet<i64>>,
}

/// Answers without the figure after which it is gone: an unmounted disk, swap switched off. A plug-in of Glances that
/// hiccups comes back sooner.
const GONE_AFTER: u32 = 10;
/// Values kept as evidence: the first one and the latest.
const VALUES: usize = 6;

/// How much of the CPU is in use or waits for disks, in percent.
fn busy(seen: &dyn Measured) -> Option<f64> {
    let value = |key: &str| seen.value(SERIES.iter().find(|s| s.key == key)?);
    Some(value("cpu")? + value("iowait").unwrap_or(0.0))
}

/// One figure of a poll.
struct Figure<'a> {
    value: f64,
    disk: Option<Disk<'a>>,
    /// Of the CPU, where the rule asks for it and it is known.
    busy: Option<f64>,
}

impl Figure<'_> {
    /// See [`Turn::part`].
    fn part(&self) -> &str {
        self.disk.as_ref().map_or("", |disk| &disk.mount)
    }
}

struct State {
    rule: Id<id::Rule>,
    part: Box<str>,
    /// Of the rule that it fires by, or would.
    revision: i64,
    since: Instant,
    /// When the last poll was.
    seen_at: Instant,
    fires: bool,
    /// Its turn is being written.
    turning: bool,
    values: Vec<(Ms, f64)>,
    disk: Option<Disk<'static>>,
    /// Answers without it.
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

/// See the module's documentation.
#[derive(Default)]
pub struct Judge {
    rules: Vec<InForce>,
    states: HashMap<i64, Vec<State>>,
    misses: HashMap<i64, u32>,
}

impl Judge {
    /// These rules hold from now on, and this is what fires. Whatever waited for its time by a rule that is not there any
    /// more, or is another one now, is forgotten.
    pub fn set(&mut self, rules: Vec<InForce>, firing: Vec<Firing>, now: Instant) {
        self.rules = rules;
        let rules = &self.rules;
        let holds = |server: i64, rule: Id<id::Rule>, part: &str| {
            let mine = rules.iter().find(|r| r.rule.id == rule);
            mine.filter(|r| r.holds_on(server) && r.wants(part))
                .map(|r| r.rule.revision)
        };
        for (server, states) in &mut self.states {
            states.retain(|s| !s.fires && holds(*server, s.rule, &s.part) == Some(s.revision));
        }
        for f in firing {
            if holds(f.server.get(), f.rule, &f.part).is_some() {
                let states = self.states.entry(f.server.get()).or_default();
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

    /// What waits, to be written down.
    pub fn waiting(&self) -> Vec<Waiting> {
        let all = self
            .states
            .iter()
            .flat_map(|(server, all)| all.iter().map(move |s| (*server, s)));
        let waits = all.filter(|(_, s)| !s.fires && !s.turning);
        waits
            .filter_map(|(server, s)| {
                Some(Waiting {
                    firing: Firing {
                        rule: s.rule,
                        server: Id::new(server),
                        part: s.part.clone(),
                        revision: s.revision,
                    },
                    held: s.seen_at.saturating_duration_since(s.since),
                    seen_at: s.values.last()?.0,
                    values: s.values.clone(),
                })
            })
            .collect()
    }

    /// This waited before the daemon began, and `ago` it was seen last: it goes on where its rule is still the same.
    pub fn resume(&mut self, waited: Waiting, ago: Duration, now: Instant) {
        let Firing {
            rule,
            server,
            part,
            revision,
        } = waited.firing;
        let same = |r: &&InForce| r.rule.id == rule && r.rule.revision == revision;
        let holds = self.rules.iter().find(same);
        let began = now.checked_sub(waited.held + ago);
        let (Some(since), true) = (began, holds.is_some_and(|r| r.holds_on(server.get()) && r.wants(&part))) else {
            return;
        };
        let states = self.states.entry(server.get()).or_default();
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

    /// Looks at a poll. Each turn is to be written and then told to [`Judge::written`].
    pub fn look(&mut self, look: &Look, now: Instant, turns: &mut Vec<Turn>) {
        let server = look.server.get();
        let Some(seen) = look.seen else {
            self.miss(server, look.misses_max);
            return;
        };
        if !self.misses.is_empty() {
            self.misses.remove(&server);
        }
        let mut states = self.states.remove(&server).unwrap_or_default();
        for held in self.rules.iter().filter(|held| held.holds_on(server)) {
            let Watches::Series(series) = held.rule.fields.watches else {
                continue;
            };
            let mut step = |figure: Figure| held.step(look, now, figure, &mut states, turns);
            if series.key == DISK {
                seen.disks(&held.rule.fields.limit.mount, &mut |disk| {
                    step(Figure {
                        value: disk.percent,
                        disk: Some(disk),
                        busy: None,
                    })
                });
            } else if let Some(value) = seen.value(series) {
                let busy = held.rule.asks_for_busy().then(|| busy(seen)).flatten();
                step(Figure {
                    value,
                    disk: None,
                    busy,
                });
            }
        }
        if !states.is_empty() {
            self.miss_parts(look, &mut states, turns);
            self.states.insert(server, states);
        }
    }

    /// What this answer did not hold.
    fn miss_parts(&self, look: &Look, states: &mut Vec<State>, turns: &mut Vec<Turn>) {
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
                    turns.push(held.turn(look, s, false, Some(why)));
                    true
                }
                Some(_) => true,
            }
        });
    }

    fn miss(&mut self, server: i64, misses_max: u32) {
        let Some(states) = self.states.get_mut(&server).filter(|s| s.iter().any(|s| !s.fires)) else {
            return;
        };
        let misses = self.misses.entry(server).or_default();
        *misses += 1;
        if *misses >= misses_max.max(1) {
            states.retain(|s| s.fires);
            self.misses.remove(&server);
            self.states.retain(|_, states| !states.is_empty());
        }
    }

    /// These turns were written, or (false) not: then they come again with the next poll.
    pub fn written(&mut self, turns: &[Turn], are: bool) {
        for turn in turns {
            let Some(states) = self.states.get_mut(&turn.server.get()) else {
                continue;
            };
            states.retain_mut(|s| {
                if s.rule != turn.rule.id || s.part != turn.part {
                    return true;
                }
                s.turning = false;
                s.fires = if are { turn.fires } else { s.fires };
                turn.fires || !are
            });
        }
        self.states.retain(|_, states| !states.is_empty());
    }
}

impl InForce {
    /// Does it hold on this server?
    pub fn holds_on(&self, server: i64) -> bool {
        self.servers.as_ref().is_none_or(|servers| servers.contains(&server))
    }

    /// Is this disk one that it watches?
    pub fn wants(&self, part: &str) -> bool {
        let mount = &self.rule.fields.limit.mount;
        mount.is_empty() || mount == part
    }

    fn step(&self, look: &Look, now: Instant, figure: Figure, states: &mut Vec<State>, turns: &mut Vec<Turn>) {
        let limit = &self.rule.fields.limit;
        let (value, busy) = (figure.value, figure.busy);
        let bad = limit.is_bad(value) && busy.is_none_or(|busy| busy >= BUSY);
        let fine = limit.is_fine(value) || busy.is_some_and(|busy| busy < IDLE);
        let place = states
            .iter()
            .position(|s| s.rule == self.rule.id && *s.part == *figure.part());
        let place = match place {
            None if !bad => return,
            None => {
                states.push(State {
                    rule: self.rule.id,
                    part: figure.part().into(),
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
        s.note(look.at, value);
        s.disk = figure.disk.map(Disk::into_owned);
        if s.turning {
            return;
        }
        match s.fires {
            false if !bad => drop(states.swap_remove(place)),
            false if now.saturating_duration_since(s.since) >= Duration::from_secs(limit.for_s as u64) => {
                s.turning = true;
                turns.push(self.turn(look, s, true, None));
            }
            false => {}
            // Fired by the rule as it was: what it is now decides without the benefit of the doubt.
            true if s.revision != self.rule.revision && bad => s.revision = self.rule.revision,
            true if fine || s.revision != self.rule.revision => {
                s.turning = true;
                turns.push(self.turn(look, s, false, None));
            }
            true => {}
        }
    }

    fn turn(&self, look: &Look, s: &State, fires: bool, why: Option<String>) -> Turn {
        Turn {
            rule: self.rule.clone(),
            server: look.server,
            part: s.part.clone(),
            fires,
            values: s.values.clone(),
            disk: s.disk.clone(),
            why,
        }
    }
}

/// Is this looked at in polls?
pub fn is_judged(rule: &Rule) -> bool {
    matches!(rule.fields.watches, Watches::Series(series) if series.key != DISK_TREND)
}

#[cfg(test)]
mod tests {
    use super::super::model::{Fields, Watches};
    use super::*;

    struct Answer<'a> {
        cpu: Option<f64>,
        disks: &'a [(&'a str, f64)],
    }

    impl Measured for Answer<'_> {
        fn value(&self, series: &Series) -> Option<f64> {
            self.cpu.filter(|_| series.key == "cpu")
        }

        fn disks(&self, mount: &str, each: &mut dyn FnMut(Disk<'_>)) {
            let wanted = self.disks.iter().filter(|(m, _)| mount.is_empty() || *m == mount);
            wanted.for_each(|(mount, percent)| {
                each(Disk {
                    mount: (*mount).into(),
                    device: "".into(),
                    percent: *percent,
                    size: None,
                    used: None,
                    free: None,
                    datasets: 1,
                })
            });
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

    /// A judge, its clock, and what it said.
    struct Court {
        judge: Judge,
        zero: Instant,
        s: u64,
    }

    impl Court {
        fn new(rules: &[&Arc<Rule>], firing: Vec<Firing>) -> Court {
            let mut court = Court {
                judge: Judge::default(),
                zero: crate::base::clock::mono(),
                s: 0,
            };
            court.set(rules, firing);
            court
        }

        fn set(&mut self, rules: &[&Arc<Rule>], firing: Vec<Firing>) {
            let hold = |rule: &&Arc<Rule>| InForce {
                rule: (*rule).clone(),
                servers: None,
            };
            self.judge.set(rules.iter().map(hold).collect(), firing, self.zero);
        }

        /// Half a minute later; gives what began (`+/srv`) and what is over (`-/srv`).
        fn poll(&mut self, answer: Option<Answer>) -> Vec<String> {
            let turns = self.poll_unwritten(answer);
            self.judge.written(&turns, true);
            said(&turns)
        }

        fn poll_unwritten(&mut self, answer: Option<Answer>) -> Vec<Turn> {
            self.s += 30;
            let look = Look {
                server: Id::new(7),
                // Somebody sets the wall clock back and forth all the time.
                at: if self.s.is_multiple_of(60) {
                    1
                } else {
                    1_900_000_000_000
                },
                seen: answer.as_ref().map(|a| a as &dyn Measured),
                misses_max: 3,
            };
            let mut turns = Vec::new();
            self.judge
                .look(&look, self.zero + Duration::from_secs(self.s), &mut turns);
            turns
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

    fn said(turns: &[Turn]) -> Vec<String> {
        turns
            .iter()
            .map(|t| format!("{}{}", if t.fires { '+' } else { '-' }, t.part))
            .collect()
    }

    fn fired(rule: &Rule, part: &str) -> Firing {
        Firing {
            rule: rule.id,
            server: Id::new(7),
            part: part.into(),
            revision: rule.revision,
        }
    }

    const NOTHING: Vec<String> = Vec::new();

    #[test]
    fn it_fires_after_its_time_and_until_it_is_fine() {
        let rule = rule("cpu", 1, |_| ());
        let mut court = Court::new(&[&rule], vec![]);
        let told = court.cpu(&[95.0, 95.0, 89.0, 95.0, 95.0, 91.0, 99.0, 86.0, 91.0, 85.0, 99.0]);
        let (plus, minus) = (vec!["+".to_string()], vec!["-".to_string()]);
        let nothing = NOTHING;
        let expected = [
            &nothing, &nothing, &nothing, &nothing, &nothing, &plus, &nothing, &nothing, &nothing, &minus, &nothing,
        ];
        assert_eq!(told.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_processor_that_is_full_now_and_then_is_no_fault_and_one_that_stays_full_is() {
        let builtin = super::super::model::BUILTIN
            .iter()
            .find(|b| b.fields().watches.name() == "cpu");
        let rule = Arc::new(Rule::as_it_came(builtin.unwrap()));
        let mut court = Court::new(&[&rule], vec![]);
        assert_eq!(court.cpu(&[100.0, 40.0].repeat(60)).concat(), NOTHING);
        let told = court.cpu(&[100.0; 25]);
        assert_eq!((told[..20].concat(), told.concat()), (NOTHING, vec!["+".to_string()]));
        assert_eq!(court.cpu(&[40.0]).concat(), ["-"]);
    }

    #[test]
    fn what_is_ordinary_leaves_nothing_behind() {
        let (cpu, disk) = (rule("cpu", 1, |_| ()), rule("disk", 1, |_| ()));
        let mut court = Court::new(&[&cpu, &disk], vec![]);
        for _ in 0..3 {
            court.poll(Some(Answer {
                cpu: Some(50.0),
                disks: &[("/", 10.0), ("/srv", 90.0)],
            }));
            court.poll(None);
        }
        assert!(court.judge.states.is_empty() && court.judge.misses.is_empty());
        court.cpu(&[95.0, 50.0]);
        assert!(court.judge.states.is_empty());
    }

    #[test]
    fn silence_is_neither_good_nor_bad_and_a_dark_server_begins_anew() {
        let rule = rule("cpu", 1, |_| ());
        let mut court = Court::new(&[&rule], vec![]);
        court.cpu(&[95.0]);
        // Two missed polls are no darkness.
        assert_eq!([court.poll(None), court.poll(None)], [NOTHING, NOTHING]);
        assert_eq!(court.cpu(&[95.0]), [["+"]]);
        for _ in 0..50 {
            assert_eq!(court.poll(None), NOTHING);
            assert_eq!(
                court.poll(Some(Answer {
                    cpu: Some(86.0),
                    disks: &[]
                })),
                NOTHING
            );
        }
        assert_eq!(court.cpu(&[10.0, 95.0]), [vec!["-".to_string()], vec![]]);
        (0..3).for_each(|_| drop(court.poll(None)));
        assert_eq!(court.cpu(&[95.0, 95.0, 95.0]), [vec![], vec![], vec!["+".to_string()]]);
    }

    #[test]
    fn each_disk_is_for_itself_and_one_that_is_gone_is_over() {
        let any = rule("disk", 1, |f| f.limit.for_s = 0);
        let mut court = Court::new(&[&any], vec![]);
        let both: &[(&str, f64)] = &[("/", 95.0), ("/srv", 99.0)];
        let one: &[(&str, f64)] = &[("/", 95.0)];
        let answer = |disks| Some(Answer { cpu: None, disks });
        assert_eq!(court.poll(answer(both)), ["+/", "+/srv"]);
        for _ in 1..GONE_AFTER {
            assert_eq!(court.poll(answer(one)), NOTHING);
        }
        assert_eq!(court.poll(answer(one)), ["-/srv"]);
        assert_eq!(court.poll(answer(&[("/", 5.0)])), ["-/"]);
        let srv = rule("disk", 1, |f| (f.limit.for_s, f.limit.mount) = (0, "/srv".into()));
        assert_eq!(Court::new(&[&srv], vec![]).poll(answer(both)), ["+/srv"]);
    }

    #[test]
    fn after_a_restart_it_is_not_told_again_and_its_end_is() {
        let disk = rule("disk", 3, |f| f.limit.for_s = 0);
        let mut court = Court::new(&[&disk], vec![fired(&disk, "/")]);
        let full = |percent| {
            Some(Answer {
                cpu: None,
                disks: if percent { &[("/", 95.0)] } else { &[("/", 80.0)] },
            })
        };
        assert_eq!(court.poll(full(true)), NOTHING);
        assert_eq!(court.poll(full(false)), ["-/"]);
        // Of a rule that is not there any more nothing is left.
        let mut court = Court::new(&[], vec![fired(&disk, "/")]);
        assert_eq!(court.poll(full(false)), NOTHING);
        assert!(court.judge.states.is_empty());
    }

    #[test]
    fn what_waited_goes_on_waiting_and_not_anew() {
        let rule = rule("cpu", 1, |f| f.limit.for_s = 300);
        let mut before = Court::new(&[&rule], vec![]);
        before.cpu(&[95.0; 8]); // three minutes and a half
        let waits = before.judge.waiting();
        assert_eq!((waits.len(), waits[0].held), (1, Duration::from_secs(210)));
        let resumed = |rule: &Arc<Rule>, waited: &Waiting| {
            let mut court = Court::new(&[rule], vec![]);
            let now = court.zero + Duration::from_secs(1_000);
            court.s = 1_000;
            court.judge.resume(waited.clone(), Duration::from_secs(20), now);
            court
        };
        // 20 s down, then at the third half minute: 320 s.
        assert_eq!(resumed(&rule, &waits[0]).cpu(&[95.0; 3]).concat(), ["+"]);
        assert_eq!(resumed(&rule, &waits[0]).cpu(&[95.0; 2]).concat(), NOTHING);
        // What was fine in between begins anew.
        assert_eq!(
            resumed(&rule, &waits[0]).cpu(&[50.0, 95.0, 95.0, 95.0]).concat(),
            NOTHING
        );
        // So does what waited for another rule than there is now.
        let other = self::rule("cpu", 2, |f| f.limit.for_s = 300);
        assert_eq!(resumed(&other, &waits[0]).cpu(&[95.0; 3]).concat(), NOTHING);
    }

    #[test]
    fn a_changed_rule_decides_by_what_it_says_now() {
        let old = rule("cpu", 1, |_| ());
        let milder = rule("cpu", 2, |f| f.limit.threshold = 97.0);
        let mut court = Court::new(&[&milder], vec![fired(&old, "")]);
        assert_eq!(court.cpu(&[95.0]), [["-"]], "neither bad now, nor fine as it was");
        let mut court = Court::new(&[&milder], vec![fired(&old, "")]);
        assert_eq!(court.cpu(&[98.0, 95.0, 85.0]), [vec![], vec![], vec!["-".to_string()]]);
        // What waited by the old one begins anew.
        let mut court = Court::new(&[&old], vec![]);
        court.cpu(&[99.0, 99.0]);
        court.set(&[&milder], vec![]);
        assert_eq!(court.cpu(&[99.0, 99.0, 99.0]), [vec![], vec![], vec!["+".to_string()]]);
    }

    #[test]
    fn what_could_not_be_written_comes_again() {
        let rule = rule("cpu", 1, |f| f.limit.for_s = 0);
        let mut court = Court::new(&[&rule], vec![]);
        let bad = || {
            Some(Answer {
                cpu: Some(99.0),
                disks: &[],
            })
        };
        let turns = court.poll_unwritten(bad());
        assert_eq!(said(&turns), ["+"]);
        assert_eq!(said(&court.poll_unwritten(bad())), NOTHING, "it is being written");
        court.judge.written(&turns, false);
        assert_eq!(court.poll(bad()), ["+"]);
        assert_eq!(court.poll(bad()), NOTHING);
    }
}
