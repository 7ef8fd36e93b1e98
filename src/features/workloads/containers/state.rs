//! What becomes of containers: compares what an engine lists with what was known, stores it and says what happened. An end
//! is an alert when nobody asked for it, its code is not 0 and the engine has not started it again after some seconds; an
//! end for want of memory always; several ends in a row are a loop.

use super::acts;
use super::model::{EngineId, GONE, Listed};
use super::queries::{self, Container, Of};
use super::settings::{self, HEAL_WINDOW, LOOP_WINDOW};
use crate::app::App;
use crate::base::clock::{self, MINUTE, Ms, SECOND, rfc3339};
use crate::base::error::Result;
use crate::base::lines;
use crate::base::text;
use crate::db::Tx;
use crate::events::outbox;
use crate::journal::{Cursor, Filter, Span};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Alert: it ended without a person's act.
pub const DIED: &str = "container.died";
/// Alert: it was ended for want of memory.
pub const OOM: &str = "container.oom";
/// Alert: its check says that it is unhealthy, for longer than is patient.
pub const UNHEALTHY: &str = "container.unhealthy";
/// Alert: it ends again and again.
pub const LOOPS: &str = "container.loops";
/// It is restarted because it is unhealthy.
pub const HEALS: &str = "container.heals";
/// Alert: it was restarted as often as may be, and is unhealthy again.
pub const GAVE_UP: &str = "container.gave_up";
/// It runs again.
pub const RUNNING: &str = "container.running";
/// It is healthy again.
pub const HEALTHY: &str = "container.healthy";
/// It has run for so long that its ends are over.
pub const CALM: &str = "container.calm";
/// It was removed.
pub const REMOVED: &str = "container.removed";

/// How long an engine may take to start a container again before its end is an alert.
const PATIENCE: Ms = 5 * SECOND;
/// How long an engine may take to write an end down.
const WRITTEN_MAX: Ms = 15 * SECOND;
/// How long before an end a person's act counts as its reason: a stop has its grace.
const ACT_BEFORE: Ms = 10 * MINUTE;
/// Of an alert's evidence: the lines of this time before it.
const LAST_WORDS: Ms = MINUTE;
/// At most so many of them.
const LAST_LINES: usize = 40;
/// Ends that are remembered.
const ENDS_MAX: usize = 100;
/// How long a restart of an unhealthy container may take until the next is tried.
const HEAL_PAUSE: Ms = 5 * MINUTE;
/// Containers that are gone of which a server's history is kept.
const GONE_MAX: i64 = 500;

/// What events have told since the last list, by life.
#[derive(Debug, Default)]
pub struct Told {
    /// Last act of a person or program: unix ms.
    asked: HashMap<EngineId, Ms>,
    /// Those that have begun since: an act before that is no reason for what comes.
    begun: HashSet<EngineId>,
    /// Ends with their codes, and whether it has begun again since.
    died: HashMap<EngineId, (Option<i64>, bool)>,
    /// Ends that the last lists did not have yet, since unix ms: an engine tells of an end before it has written it down.
    early: HashMap<EngineId, Ms>,
    oom: HashMap<EngineId, Ms>,
    health: HashMap<EngineId, &'static str>,
}

impl Told {
    /// Somebody sent it a signal.
    pub fn asked(&mut self, life: EngineId) {
        self.begun.remove(&life);
        self.asked.insert(life, clock::now());
    }

    /// It ended.
    pub fn died(&mut self, life: EngineId, code: Option<i64>) {
        self.died.insert(life, (code, false));
    }

    /// It began, perhaps again.
    pub fn started(&mut self, life: &EngineId) {
        self.early.remove(life);
        self.begun.insert(life.clone());
        if let Some((_, again)) = self.died.get_mut(life) {
            *again = true;
        }
    }

    /// It had no memory.
    pub fn oom(&mut self, life: EngineId) {
        self.oom.insert(life, clock::now());
    }

    /// Its health.
    pub fn health(&mut self, life: EngineId, health: &'static str) {
        self.health.insert(life, health);
    }

    /// Forgets what is about lives that are no longer listed, or long ago.
    fn keep(&mut self, listed: &[Listed], now: Ms) {
        let is_listed = |life: &EngineId| listed.iter().any(|one| one.life == *life);
        let begun = std::mem::take(&mut self.begun);
        self.asked
            .retain(|life, at| is_listed(life) && !begun.contains(life) && now - *at < ACT_BEFORE);
        self.health.retain(|life, _| is_listed(life));
        let is_up = |life: &EngineId| listed.iter().any(|one| one.life == *life && is_up(one.state));
        let unwritten = self.died.drain().filter(|(_, (_, again))| !again);
        self.early.extend(unwritten.map(|(life, _)| (life, now)));
        self.early.retain(|life, at| is_up(life) && now - *at < WRITTEN_MAX);
        self.oom.clear();
    }
}

/// Bounds as they are set.
struct Patience {
    unhealthy: Ms,
    loop_count: usize,
    heal_count: usize,
}

/// A server's containers after a list.
pub struct Applied {
    /// Those that are listed, with our numbers.
    pub here: Vec<(Listed, Container)>,
    /// Numbers of those whose history was removed.
    pub forgotten: Vec<i64>,
    /// May something become an alert by waiting?
    pub waits: bool,
}

/// Stores what a server's engine lists, and says what happened.
pub fn apply(app: &App, server: Of, listed: Vec<Listed>, told: &mut Told) -> Result<Applied> {
    let now = clock::now();
    let filter = queries::Filter {
        server: Some(server),
        state: "any",
        limit: i64::MAX,
        ..Default::default()
    };
    let applied = app.db.write(|tx| {
        let patience = Patience {
            unhealthy: settings::CONTAINERS_UNHEALTHY_S.number(tx)? * SECOND,
            loop_count: usize::try_from(settings::CONTAINERS_LOOP_COUNT.number(tx)?).unwrap_or(3),
            heal_count: usize::try_from(settings::CONTAINERS_HEAL_COUNT.number(tx)?).unwrap_or(3),
        };
        let (known, _) = queries::list(tx, &filter)?;
        let mut known: BTreeMap<String, Container> = known.into_iter().map(|one| (one.name.clone(), one)).collect();
        let mut applied = Applied {
            here: Vec::with_capacity(listed.len()),
            forgotten: Vec::new(),
            waits: false,
        };
        let name = match server {
            Some(id) => crate::features::fleet::servers::get(tx, id)?.fields.name,
            None => String::new(),
        };
        for one in &listed {
            let before = known.remove(&one.name);
            let mut after = before
                .clone()
                .unwrap_or_else(|| Container::new(server, &name, &one.name, now));
            let happened = step(&mut after, before.as_ref(), one, told, &patience, now);
            after.troubles = troubles(&after.troubles, &happened);
            if before.as_ref() != Some(&after) {
                after.seen_at = now;
                after.id = queries::put(tx, &after)?;
            }
            applied.waits |= may_wait(&after, told, one, now);
            for what in &happened {
                say(app, tx, &after, what, now)?;
                if what.kind == HEALS {
                    acts::heal(app, tx, &after)?;
                }
            }
            applied.here.push((one.clone(), after));
        }
        for (_, mut gone) in known.into_iter().filter(|(_, one)| one.state != GONE) {
            (gone.state, gone.since, gone.health) = (GONE.into(), now, String::new());
            (gone.unhealthy_since, gone.seen_at) = (None, now);
            if !gone.troubles.is_empty() {
                gone.troubles.clear();
                say(app, tx, &gone, &Happened::of(REMOVED), now)?;
            }
            queries::put(tx, &gone)?;
        }
        applied.forgotten = queries::remove_most_gone(tx, server, GONE_MAX)?;
        Ok(applied)
    })?;
    told.keep(&listed, now);
    Ok(Applied {
        waits: applied.waits || !told.early.is_empty(),
        ..applied
    })
}

/// Something to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Happened {
    kind: &'static str,
    evidence: Vec<String>,
}

impl Happened {
    fn of(kind: &'static str) -> Happened {
        Happened {
            kind,
            evidence: Vec::new(),
        }
    }
}

/// Did somebody ask for an end of it? The engine may have told so; of acts from here Podman tells nothing.
fn is_asked(c: &Container, told: &Told, one: &Listed, now: Ms) -> bool {
    told.asked.contains_key(&one.life) || c.asked_until.is_some_and(|until| now < until)
}

fn is_up(state: &str) -> bool {
    ["running", "paused"].contains(&state)
}

/// The next state of a container, and what is to be said about it.
fn step(
    c: &mut Container,
    before: Option<&Container>,
    one: &Listed,
    told: &Told,
    patience: &Patience,
    now: Ms,
) -> Vec<Happened> {
    let mut out = Vec::new();
    let was_up = before.is_some_and(|before| is_up(&before.state));
    let is_new_life = c.life != one.life.as_str();
    (c.life, c.image) = (one.life.as_str().into(), one.image.clone());
    (c.project, c.service) = (one.project.clone(), one.service.clone());
    c.restart_label = one.labels.get("restart").is_some_and(|when| when == "unhealthy");
    if c.state != one.state || is_new_life {
        (c.state, c.since) = (one.state.into(), now);
    }
    let asked = is_asked(c, told, one, now);
    if is_up(one.state) && (told.begun.contains(&one.life) || !was_up) {
        c.asked_until = None;
    }
    let died = told.died.get(&one.life);
    let is_counted = told.early.contains_key(&one.life);
    let ended = died.is_some() || was_up && !is_up(one.state) && !is_new_life && !is_counted;
    let has_trouble = |c: &Container, kind: &str| c.troubles.iter().any(|trouble| trouble == kind);
    if ended {
        c.exit_code = died.and_then(|(code, _)| *code).or(one.exit_code).or(c.exit_code);
        c.oom = told.oom.contains_key(&one.life);
        if asked {
            c.restarts_at.clear(); // what was before is no reason any more
        } else {
            c.restarts += 1;
            c.restarts_at.push(now);
        }
    } else if !is_up(one.state) && one.exit_code.is_some() {
        c.exit_code = one.exit_code;
    }
    c.restarts_at.retain(|at| now - *at < LOOP_WINDOW);
    let many = c.restarts_at.len().saturating_sub(ENDS_MAX);
    c.restarts_at.drain(..many);
    if told.oom.contains_key(&one.life) && !has_trouble(c, OOM) {
        out.push(Happened::of(OOM));
    }
    if c.restarts_at.len() >= patience.loop_count && !has_trouble(c, LOOPS) {
        let evidence = vec![format!("It ended {} times within ten minutes.", c.restarts_at.len())];
        out.push(Happened { kind: LOOPS, evidence });
    }
    let up = is_up(&c.state);
    let bad_end = !up && c.state != "created" && c.exit_code.is_some_and(|code| code != 0) && !asked;
    let known_end = before.is_some_and(|before| !is_up(&before.state)) && !c.restarts_at.is_empty();
    if bad_end && known_end && now - c.since >= PATIENCE && !has_trouble(c, DIED) {
        out.push(Happened::of(DIED));
    }
    if up && has_trouble(c, DIED) {
        out.push(Happened::of(RUNNING));
    }
    if up && c.restarts_at.is_empty() && (has_trouble(c, OOM) || has_trouble(c, LOOPS)) {
        out.push(Happened::of(CALM));
    }
    let health = told.health.get(&one.life).copied();
    // The list tells it for Docker; for Podman only events and details do.
    let health = if one.health.is_empty() {
        health.unwrap_or("")
    } else {
        one.health
    };
    c.health = if up { health.into() } else { String::new() };
    match c.health.as_str() {
        "unhealthy" => {
            let since = *c.unhealthy_since.get_or_insert(now);
            if now - since >= patience.unhealthy && !has_trouble(c, UNHEALTHY) {
                out.push(Happened::of(UNHEALTHY));
            }
            if now - since >= patience.unhealthy && !asked {
                out.extend(heal(c, since, patience, now));
            }
        }
        _ => {
            c.unhealthy_since = None;
            if has_trouble(c, UNHEALTHY) && (c.health == "healthy" || !up) {
                out.push(Happened::of(HEALTHY));
            }
        }
    }
    out
}

/// Is it restarted when it is unhealthy?
pub fn is_healed(c: &Container) -> bool {
    match c.restart_unhealthy.as_str() {
        "label" => c.restart_label,
        option => option == "on",
    }
}

/// What is done about one that is unhealthy since then: a restart, once in each such time, or no more of them.
fn heal(c: &mut Container, since: Ms, patience: &Patience, now: Ms) -> Option<Happened> {
    c.healed_at.retain(|at| now - *at < HEAL_WINDOW);
    let waits = c
        .healed_at
        .last()
        .is_some_and(|at| *at >= since && now - *at < HEAL_PAUSE);
    if !is_healed(c) || waits {
        return None;
    }
    let so_often = format!("It was restarted {} times within an hour.", c.healed_at.len());
    let kind = if c.healed_at.len() < patience.heal_count {
        c.healed_at.push(now);
        HEALS
    } else if c.troubles.iter().any(|kind| kind == GAVE_UP) {
        return None;
    } else {
        GAVE_UP
    };
    let evidence = vec![so_often];
    Some(Happened { kind, evidence })
}

/// Will waiting alone bring something to be said?
fn may_wait(c: &Container, told: &Told, one: &Listed, now: Ms) -> bool {
    let has = |kind: &str| c.troubles.iter().any(|trouble| trouble == kind);
    let ended = !is_up(&c.state) && !c.restarts_at.is_empty() && !has(DIED) && !is_asked(c, told, one, now);
    let unhealthy = c.unhealthy_since.is_some() && (!has(UNHEALTHY) || is_healed(c) && !has(GAVE_UP));
    ended && c.exit_code != Some(0) || unhealthy
}

/// What is an alert after this.
fn troubles(before: &[String], happened: &[Happened]) -> Vec<String> {
    let mut out = before.to_vec();
    for what in happened {
        match what.kind {
            RUNNING => out.retain(|kind| kind != DIED),
            HEALTHY => out.retain(|kind| kind != UNHEALTHY && kind != GAVE_UP),
            HEALS => {}
            CALM => out.retain(|kind| kind != OOM && kind != LOOPS),
            REMOVED => out.clear(),
            kind => out.push(kind.into()),
        }
    }
    out
}

fn say(app: &App, tx: &Tx, c: &Container, what: &Happened, now: Ms) -> Result<()> {
    let mut evidence = what.evidence.clone();
    if [DIED, OOM, LOOPS, UNHEALTHY, GAVE_UP].contains(&what.kind) {
        evidence.extend(self::evidence(app, c, now)?);
    }
    let data = serde_json::json!({
        "name": c.full_name(), "container": c.name, "server_id": c.server, "image": c.image, "state": c.state,
        "exit_code": c.exit_code, "oom": c.oom, "restarts": c.restarts, "since": rfc3339(c.since), "evidence": evidence,
    });
    outbox::emit(
        tx,
        &app.wakes.events,
        what.kind,
        (super::observed::TARGET.name, c.id),
        &data,
    )
}

/// `2026-11-21T05:31:50.000Z exited, code 137, for want of memory; image shop/api:2`
fn how(c: &Container, now: Ms) -> String {
    let mut out = format!("{} {}", rfc3339(now), c.state);
    if let Some(code) = c.exit_code.filter(|_| !is_up(&c.state)) {
        out.push_str(&format!(", code {code}"));
    }
    if c.oom {
        out.push_str(", for want of memory");
    }
    if !c.health.is_empty() {
        out.push_str(&format!(", {}", c.health));
    }
    out.push_str(&format!("; image {}", c.image));
    out
}

/// How it is, and what it said in the minute before.
pub fn evidence(app: &App, c: &Container, now: Ms) -> Result<Vec<String>> {
    let mut out = vec![how(c, now)];
    out.extend(last_words(app, c, now)?);
    Ok(out)
}

/// What it said in the minute before.
fn last_words(app: &App, c: &Container, now: Ms) -> Result<Vec<String>> {
    let newest = app.journal.newest(
        &[c.subject()],
        &Filter::default(),
        Span::default(),
        1,
        clock::mono() + clock::Duration::from_secs(2),
    )?;
    // It may have been silent for a while before its end was noticed.
    let end = newest
        .lines
        .last()
        .map_or(now, |(_, line)| now.min(line.at / 1_000_000));
    let span = Span {
        after: Cursor {
            at: (end - LAST_WORDS).saturating_mul(1_000_000),
            id: 0,
        },
        ..Span::default()
    };
    let until = clock::mono() + clock::Duration::from_secs(2);
    let page = app
        .journal
        .newest(&[c.subject()], &Filter::default(), span, LAST_LINES, until)?;
    let line = |line: &crate::journal::Line| {
        let text = text::cut(&line.text, 300);
        format!(
            "{} {}",
            rfc3339(line.at / 1_000_000),
            lines::plain(&lines::uncoloured(text))
        )
    };
    Ok(page.lines.iter().map(|(_, one)| line(one)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(state: &'static str, health: &'static str, code: Option<i64>) -> Listed {
        Listed {
            life: EngineId::parse(&"ab".repeat(32)).unwrap(),
            name: "web".into(),
            image: "x".into(),
            state,
            health,
            exit_code: code,
            project: String::new(),
            service: String::new(),
            labels: BTreeMap::new(),
        }
    }

    struct Story {
        now: Ms,
        container: Option<Container>,
        told: Told,
    }

    impl Story {
        fn new() -> Story {
            let (now, container, told) = (1_000_000, None, Told::default());
            Story { now, container, told }
        }

        fn see(&mut self, after: Ms, one: Listed) -> Vec<&'static str> {
            self.now += after;
            let patience = Patience {
                unhealthy: 60 * SECOND,
                loop_count: 3,
                heal_count: 2,
            };
            let before = self.container.clone();
            let mut c = before
                .clone()
                .unwrap_or_else(|| Container::new(None, "", &one.name, self.now));
            let happened = step(&mut c, before.as_ref(), &one, &self.told, &patience, self.now);
            c.troubles = troubles(&c.troubles, &happened);
            self.container = Some(c);
            self.told.keep(&[one], self.now);
            happened.into_iter().map(|what| what.kind).collect()
        }

        fn dies(&mut self, code: i64) {
            self.told.died(listed("exited", "", None).life, Some(code));
        }
    }

    #[test]
    fn an_end_that_somebody_here_asked_for_is_none_also_later() {
        let mut story = Story::new();
        assert!(story.see(0, listed("running", "", None)).is_empty());
        story.dies(3);
        assert!(story.see(SECOND, listed("exited", "", Some(3))).is_empty());
        assert!(story.see(SECOND, listed("running", "", None)).is_empty());
        story.container.as_mut().unwrap().asked_until = Some(story.now + 40 * SECOND);
        story.dies(137);
        for after in [SECOND, 10 * SECOND, 60 * SECOND] {
            assert!(story.see(after, listed("exited", "", Some(137))).is_empty());
        }
        assert_eq!(story.container.as_ref().unwrap().restarts, 1);
    }

    #[test]
    fn an_end_that_the_list_has_not_yet_is_one_end() {
        let mut story = Story::new();
        assert!(story.see(0, listed("running", "", None)).is_empty());
        story.dies(3);
        assert!(story.see(SECOND, listed("running", "", None)).is_empty());
        assert!(!story.told.early.is_empty(), "it is looked at again soon");
        assert!(story.see(3 * SECOND, listed("exited", "", Some(3))).is_empty());
        assert_eq!(story.see(6 * SECOND, listed("exited", "", Some(3))), [DIED]);
        assert_eq!(story.container.as_ref().unwrap().restarts, 1);
        // One that the engine has started again is up for good, and its next end is another one.
        story.dies(3);
        story.told.started(&listed("", "", None).life);
        assert_eq!(story.see(SECOND, listed("running", "", None)), [RUNNING]);
        assert!(story.told.early.is_empty());
        assert_eq!(story.container.as_ref().unwrap().restarts, 2);
    }

    #[test]
    fn an_end_that_nobody_asked_for_is_said_once_and_over_when_it_runs() {
        let mut story = Story::new();
        assert!(story.see(0, listed("running", "", None)).is_empty());
        story.dies(3);
        assert!(story.see(SECOND, listed("exited", "", Some(3))).is_empty());
        assert_eq!(story.see(6 * SECOND, listed("exited", "", Some(3))), [DIED]);
        assert!(story.see(6 * SECOND, listed("exited", "", Some(3))).is_empty());
        assert_eq!(story.see(SECOND, listed("running", "", None)), [RUNNING]);
    }

    #[test]
    fn what_a_person_did_or_ended_well_or_is_an_old_end_is_no_alert() {
        let mut story = Story::new();
        story.see(0, listed("running", "", None));
        story.told.asked(listed("exited", "", None).life);
        story.dies(137);
        assert!(story.see(SECOND, listed("exited", "", Some(137))).is_empty());
        assert!(story.see(9 * SECOND, listed("exited", "", Some(137))).is_empty());
        let mut story = Story::new();
        story.see(0, listed("running", "", None));
        story.dies(0);
        story.see(SECOND, listed("exited", "", Some(0)));
        assert!(story.see(9 * SECOND, listed("exited", "", Some(0))).is_empty());
        let mut story = Story::new();
        story.see(0, listed("exited", "", Some(1)));
        assert!(story.see(9 * SECOND, listed("exited", "", Some(1))).is_empty());
    }

    #[test]
    fn ends_in_a_row_are_a_loop_until_it_is_calm() {
        let mut story = Story::new();
        story.see(0, listed("running", "", None));
        let mut said = Vec::new();
        for _ in 0..4 {
            story.dies(1);
            said.extend(story.see(2 * SECOND, listed("running", "", None)));
        }
        assert_eq!(said, [LOOPS]);
        assert!(story.see(5 * MINUTE, listed("running", "", None)).is_empty());
        assert_eq!(story.see(6 * MINUTE, listed("running", "", None)), [CALM]);
    }

    #[test]
    fn want_of_memory_and_bad_health_are_said() {
        let mut story = Story::new();
        story.see(0, listed("running", "healthy", None));
        story.told.oom(listed("running", "", None).life);
        story.dies(137);
        assert_eq!(story.see(SECOND, listed("running", "starting", None)), [OOM]);
        assert!(story.container.as_ref().unwrap().oom);
        assert!(story.see(SECOND, listed("running", "unhealthy", None)).is_empty());
        assert_eq!(story.see(MINUTE, listed("running", "unhealthy", None)), [UNHEALTHY]);
        assert_eq!(story.see(SECOND, listed("running", "healthy", None)), [HEALTHY]);
    }

    #[test]
    fn what_is_unhealthy_is_restarted_so_often_and_then_given_up() {
        let mut story = Story::new();
        let healing = |health: &'static str| Listed {
            labels: [("restart".to_string(), "unhealthy".to_string())].into(),
            ..listed("running", health, None)
        };
        story.see(0, healing("healthy"));
        for _ in 0..2 {
            let first = story.see(SECOND, healing("unhealthy"));
            assert!(first.is_empty(), "{first:?}");
            assert!(story.see(MINUTE, healing("unhealthy")).contains(&HEALS));
            assert!(story.see(SECOND, healing("unhealthy")).is_empty(), "once");
            story.see(SECOND, healing("starting"));
        }
        story.see(SECOND, healing("unhealthy"));
        assert_eq!(story.see(MINUTE, healing("unhealthy")), [GAVE_UP]);
        assert!(story.see(10 * MINUTE, healing("unhealthy")).is_empty());
        assert_eq!(story.see(SECOND, healing("healthy")), [HEALTHY]);
        assert!(story.container.as_ref().unwrap().troubles.is_empty());

        // Whom a person has asked to end is left alone, and whom nobody wants to be restarted.
        let mut story = Story::new();
        story.see(0, healing("unhealthy"));
        story.told.asked(healing("").life);
        story.told.asked.values_mut().for_each(|at| *at = story.now);
        assert_eq!(story.see(MINUTE, healing("unhealthy")), [UNHEALTHY]);
        let mut story = Story::new();
        story.see(0, healing("unhealthy"));
        story.container.as_mut().unwrap().restart_unhealthy = "off".into();
        assert_eq!(story.see(MINUTE, healing("unhealthy")), [UNHEALTHY]);
    }

    #[test]
    fn an_act_is_the_reason_of_one_end_and_of_no_later_one() {
        let life = listed("", "", None).life;
        let mut story = Story::new();
        story.see(0, listed("running", "", None));
        story.told.asked(life.clone());
        story.container.as_mut().unwrap().asked_until = Some(story.now + 40 * SECOND);
        story.dies(137);
        story.told.started(&life);
        assert!(story.see(SECOND, listed("running", "", None)).is_empty());
        assert_eq!(story.container.as_ref().unwrap().restarts, 0, "that was the restart");
        story.dies(3);
        assert!(story.see(SECOND, listed("exited", "", Some(3))).is_empty());
        assert_eq!(story.see(6 * SECOND, listed("exited", "", Some(3))), [DIED]);
    }

    #[test]
    fn colours_are_taken_off() {
        assert_eq!(lines::uncoloured("a\u{1b}[1;31mb\u{1b}[0mc\u{1b}[3"), "abc");
    }
}
