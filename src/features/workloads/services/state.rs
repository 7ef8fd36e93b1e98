//! What becomes of a service: compares a look with how it was, stores that and says what happened. Good and bad looks are
//! counted until they decide; a process that is gone decides at once. What does not work is started again as its policy
//! says: at once, then with pauses that double, and no more than so often in a window; then it is given up until a person
//! starts it. What a person has stopped, here or on its server, is left.

use super::acts;
use super::nodes;
use super::observed::TARGET;
use super::queries::{self, Service, State};
use super::verdict::{End, Happened, Health, Look};
use crate::app::App;
use crate::base::clock::{MINUTE, Ms, SECOND, rfc3339};
use crate::base::error::Result;
use crate::db::Tx;
use crate::events::outbox;
use crate::task::queue;
use std::collections::HashMap;

/// Alert: it does not work.
pub const DOWN: &str = "service.down";
/// Alert: it was started again as often as may be, and does not work.
pub const GAVE_UP: &str = "service.gave_up";
/// It works again.
pub const RECOVERED: &str = "service.recovered";
/// It is started again.
pub const RESTARTED: &str = "service.restarted";
/// A person has stopped it.
pub const STOPPED: &str = "service.stopped";
/// It was removed.
pub const DELETED: &str = "service.deleted";

/// Longest pause between two restarts.
const PAUSE_MAX: Ms = MINUTE;
/// Healthy for so long, and earlier restarts count no more.
const CALM_AFTER: Ms = 5 * MINUTE;
/// Restarts by who keeps it between two looks that are a loop.
const LOOP: i64 = 2;
/// Lines of evidence.
const LINES_MAX: usize = 40;

/// Are those healthy that must be before it is started? The name of one that is not.
pub fn waits_for(tx: &Tx, s: &Service) -> Result<Option<String>> {
    for id in &s.fields.after {
        if let Some(other) = queries::get(tx, crate::base::id::Id::new(*id))?
            && other.fields.enabled
            && !matches!(other.now.health, Health::Healthy | Health::Degraded)
        {
            return Ok(Some(other.fields.name));
        }
    }
    replica(tx, s)
}

/// Services with a tag that begins so are replicas of one thing.
const REPLICA: &str = "replica:";

/// Another replica that is being started again and does not work yet: one after the other, so that they are never all away
/// at once by what we do.
fn replica(tx: &Tx, s: &Service) -> Result<Option<String>> {
    let Some(tag) = s.fields.tags.iter().find(|tag| tag.starts_with(REPLICA)) else {
        return Ok(None);
    };
    let is_coming = |other: &Service| {
        let n = &other.now;
        other.id != s.id
            && other.fields.enabled
            && other.fields.tags.contains(tag)
            && !n.restarts_at.is_empty()
            && !matches!(n.health, Health::Healthy | Health::Degraded)
            && n.wanted != "stopped"
            && !n.has_trouble(GAVE_UP)
    };
    Ok(queries::all(tx)?
        .into_iter()
        .find(is_coming)
        .map(|other| other.fields.name))
}

/// Who has looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The watch. What is just being started or stopped is left to the task that does it.
    Watch,
    /// That task, when it has ended; or a person.
    Hand,
}

/// Stores what looks have found, and says what happened. A service that was changed or removed meanwhile is left.
/// Returns the states.
pub fn apply(app: &App, tx: &Tx, looks: &[(Service, Look)], by: By, now: Ms) -> Result<HashMap<i64, State>> {
    let mut out = HashMap::new();
    for (seen, look) in looks {
        let Some(mut s) = queries::get(tx, seen.id)?.filter(|s| s.revision == seen.revision) else {
            continue;
        };
        if by == By::Watch && queue::open(tx, (TARGET.name, s.id.get()), |_| true)?.is_some() {
            continue;
        }
        // Only what does not work is started again, and only that may have to wait.
        let waits_for = match look.health {
            Health::Unhealthy => waits_for(tx, &s)?,
            _ => None,
        };
        let happened = step(&mut s, look, waits_for.as_deref(), now);
        queries::put_state(tx, s.id, &s.now)?;
        for what in &happened {
            say(app, tx, &s, what)?;
            if what.kind == RESTARTED {
                acts::recover(app, tx, &s, &s.now.say)?;
            }
        }
        out.insert(s.id.get(), s.now);
    }
    Ok(out)
}

/// The next state of a service, and what is to be said about it.
fn step(s: &mut Service, look: &Look, waits_for: Option<&str>, now: Ms) -> Vec<Happened> {
    let f = s.fields.clone();
    let t = &mut s.now;
    let mut look = look.clone();
    let mut out = Vec::new();
    t.checked_at = Some(now);
    let mut loops = 0;
    if let Some(p) = &look.process {
        let life = format!("{} {}", p.life, p.restarts);
        let is_new = t.life != life;
        let before = t.life.rsplit_once(' ').and_then(|(_, n)| n.parse::<i64>().ok());
        if let Some(before) = before.filter(|_| is_new) {
            loops = (p.restarts - before).max(0);
            t.restarts += loops;
        }
        t.life = life;
        if let Some(end) = &p.end {
            t.ended = Some(end.clone());
            if end.asked && t.wanted != "stopped" {
                t.wanted = "stopped";
                out.push(evidence(STOPPED, &look, Some(end), now));
            }
        }
        // Somebody has started it where it is. (What still runs is on its way to its end.)
        if p.runs() && t.wanted == "stopped" && is_new {
            t.wanted = "";
        }
    }
    let runs = look.process.as_ref().is_none_or(|p| p.runs());
    if loops >= LOOP && look.health < Health::Unhealthy {
        let say = format!("It was started again {loops} times since the last look.");
        (look.health, look.code, look.say) = (Health::Unhealthy, "loops".into(), say);
    }
    // What has just been started may not work yet.
    let young = look
        .process
        .as_ref()
        .and_then(|p| p.uptime_s)
        .is_some_and(|s| s < f.interval_s as f64);
    if look.health == Health::Unhealthy && runs && young && look.process.is_some() && loops < LOOP {
        look.health = Health::Degraded;
        look.say = format!("It has just been started, and does not work yet: {}", look.say);
    }
    if !runs && t.wanted == "stopped" && look.health == Health::Unhealthy {
        (look.health, look.code, look.say) = (
            Health::Unknown,
            "stopped".into(),
            "It is stopped, as somebody wanted.".into(),
        );
    }
    match look.health {
        Health::Unknown => (t.goods, t.bads) = (0, 0),
        Health::Unhealthy => (t.goods, t.bads) = (0, t.bads + 1),
        Health::Healthy | Health::Degraded => (t.goods, t.bads) = (t.goods + 1, 0),
    }
    // A process that is gone is no matter of patience, and the first look after none counts.
    if look.health == Health::Unhealthy && (!runs || t.health == Health::Unknown) {
        t.bads = t.bads.max(f.down_after);
    }
    let decided = match look.health {
        Health::Unhealthy => t.bads >= f.down_after,
        Health::Unknown => true,
        _ => t.health != Health::Unhealthy || t.goods >= f.up_after,
    };
    if decided {
        if t.health != look.health {
            (t.health, t.since) = (look.health, now);
        }
        (t.code, t.say) = (look.code.clone(), look.say.clone());
    }
    t.state = match (&look.process, t.health) {
        (Some(p), _) => p.state,
        (None, Health::Healthy | Health::Degraded) => "running",
        (None, Health::Unhealthy) => "failed",
        (None, Health::Unknown) => "unknown",
    };
    match t.health {
        Health::Healthy | Health::Degraded => {
            let since = *t.healthy_since.get_or_insert(now);
            if now - since >= CALM_AFTER {
                t.restarts_at.clear();
                t.next_at = None;
            }
            if !t.troubles.is_empty() {
                t.troubles.clear();
                out.push(evidence(RECOVERED, &look, None, now));
            }
        }
        Health::Unknown => {
            t.healthy_since = None;
            if t.code == "stopped" && !t.troubles.is_empty() {
                t.troubles.clear();
                out.push(evidence(STOPPED, &look, None, now));
            }
        }
        Health::Unhealthy => {
            t.healthy_since = None;
            let end = look.process.as_ref().and_then(|p| p.end.as_ref());
            if !t.has_trouble(DOWN) {
                t.troubles.push(DOWN.into());
                out.push(evidence(DOWN, &look, end, now));
            }
            out.extend(heal(&f, t, &look, waits_for, now));
        }
    }
    if let Some(seen) = look.tables.get("nodes") {
        out.extend(nodes::step(&mut t.nodes, seen, now));
    }
    if t.has_trouble(GAVE_UP) {
        t.state = "failed";
    }
    out
}

/// What is done about a service that does not work: a start, or no more of them.
fn heal(f: &super::model::Fields, t: &mut State, look: &Look, waits_for: Option<&str>, now: Ms) -> Option<Happened> {
    const HOPELESS: [&str; 4] = ["unit_unknown", "unit_masked", "unit_bad", "no_tmux"];
    let p = look.process.as_ref();
    let can = f.kind.acts && f.enabled && f.restart_policy != "never" && !HOPELESS.contains(&look.code.as_str());
    if !can || t.wanted == "stopped" || t.bads < f.down_after || look.code == "loops" {
        return None;
    }
    let ended_well = p.and_then(|p| p.end.as_ref()).is_some_and(End::is_good);
    if f.restart_policy == "on-failure" && p.is_some_and(|p| !p.runs()) && ended_well {
        return None;
    }
    t.restarts_at.retain(|at| now - *at < f.window_s * SECOND);
    if t.has_trouble(GAVE_UP) || t.next_at.is_some_and(|at| now < at) {
        return None;
    }
    if t.restarts_at.len() as i64 >= f.max_restarts {
        t.troubles.push(GAVE_UP.into());
        t.say = format!(
            "It was started {} times within {} s and does not work: given up until somebody starts it. {}",
            f.max_restarts, f.window_s, look.say
        );
        return Some(evidence(GAVE_UP, look, p.and_then(|p| p.end.as_ref()), now));
    }
    if let Some(name) = waits_for {
        t.say = format!("{} It is started again when {name} works.", look.say);
        return None;
    }
    let n = t.restarts_at.len() as u32;
    t.restarts += 1;
    t.restarts_at.push(now);
    t.next_at = Some(now + pause(f.delay_s, n));
    t.bads = 0;
    t.state = "backoff";
    Some(evidence(RESTARTED, look, p.and_then(|p| p.end.as_ref()), now))
}

/// The pause after restart `n` (from 0).
fn pause(delay_s: i64, n: u32) -> Ms {
    (delay_s * SECOND).saturating_mul(1 << n.min(16)).min(PAUSE_MAX)
}

fn evidence(kind: &'static str, look: &Look, end: Option<&End>, now: Ms) -> Happened {
    let mut lines = vec![format!(
        "{} {}",
        rfc3339(now),
        if look.say.is_empty() { "It works." } else { &look.say }
    )];
    if let Some(end) = end {
        if !end.by.is_empty() {
            lines.push(end.by.clone());
        }
        let skip = end.lines.len().saturating_sub(LINES_MAX);
        lines.extend(end.lines[skip..].iter().cloned());
    }
    Happened {
        kind,
        part: String::new(),
        evidence: lines,
    }
}

/// Says what happened to a service.
pub fn say(app: &App, tx: &Tx, s: &Service, what: &Happened) -> Result<()> {
    let data = serde_json::json!({
        "part": what.part, "name": s.fields.name, "kind": s.fields.kind.name, "server": s.server_name, "code": s.now.code, "say": s.now.say,
        "evidence": what.evidence,
    });
    outbox::emit(tx, &app.wakes.events, what.kind, (TARGET.name, s.id.get()), &data)
}

/// A person's start or stop: what was counted is over. A stop ends its alerts.
pub fn asked(app: &App, tx: &Tx, s: &Service, wanted: &'static str, now: Ms) -> Result<()> {
    let Some(mut s) = queries::get(tx, s.id)? else {
        return Ok(());
    };
    s.now.wanted = wanted;
    s.now.restarts_at.clear();
    (s.now.next_at, s.now.bads) = (None, 0);
    s.now.troubles.retain(|kind| kind != GAVE_UP || wanted == "stopped");
    if wanted == "stopped" && !s.now.troubles.is_empty() {
        s.now.troubles.clear();
        let what = Happened {
            kind: STOPPED,
            part: String::new(),
            evidence: vec![format!("{} Stopped by a person.", rfc3339(now))],
        };
        say(app, tx, &s, &what)?;
    }
    queries::put_state(tx, s.id, &s.now)
}

#[cfg(test)]
mod tests {
    use super::super::kinds;
    use super::super::model::Fields;
    use super::super::verdict::Process;
    use super::*;
    use crate::base::config::Config;
    use crate::base::id::Id;
    use crate::base::{file, random};
    use crate::vault;
    use std::sync::Arc;

    fn service(policy: &'static str) -> Service {
        let mut fields = Fields::new(kinds::of("unit").unwrap());
        (fields.name, fields.restart_policy, fields.server) = ("bot".into(), policy, Some(Id::new(1)));
        Service {
            id: Id::new(1),
            fields,
            server_name: "h1".into(),
            has_password: false,
            private: false,
            applied: 0,
            now: State::new(0),
            revision: 1,
            created_at: 0,
            updated_at: 0,
        }
    }

    #[test]
    fn of_replicas_one_is_started_again_after_the_other() {
        let dir = std::env::temp_dir().join(random::name());
        file::private_dir(&dir).unwrap();
        let key = vault::new_master_key();
        file::write_new(&dir.join("master.key"), key.reveal_for("a test's key file")).unwrap();
        let flags = [("DATA_DIR", dir.display().to_string())];
        let config = Config::load(&flags, None, &Default::default()).unwrap();
        let app = App::open(config, Arc::default()).unwrap();
        let add = |name: &str, tag: &str| {
            let mut fields = Fields::new(kinds::of("unit").unwrap());
            (fields.name, fields.tags) = (name.into(), vec!["chat".into(), tag.into()]);
            app.db.write(|tx| {
                let id = queries::insert(tx, &fields, false, 0)?;
                Ok(queries::get(tx, id)?.unwrap())
            })
        };
        let (mut one, two) = (add("one", "replica:shop").unwrap(), add("two", "replica:shop").unwrap());
        let other = add("other", "replica:blog").unwrap();
        let waits = |s: &Service| app.db.write(|tx| waits_for(tx, s)).unwrap();
        assert_eq!(waits(&two), None, "nobody is being started");
        let mut set = |health, troubles: &[&str]| {
            (one.now.restarts_at, one.now.health) = (vec![5], health);
            one.now.troubles = troubles.iter().map(|kind| kind.to_string()).collect();
            app.db.write(|tx| queries::put_state(tx, one.id, &one.now)).unwrap();
        };
        set(Health::Unhealthy, &[DOWN]);
        assert_eq!(waits(&two).as_deref(), Some("one"));
        assert_eq!(waits(&other), None, "of something else");
        set(Health::Unhealthy, &[DOWN, GAVE_UP]);
        assert_eq!(waits(&two), None, "it is given up: nobody waits for ever");
        set(Health::Healthy, &[]);
        assert_eq!(waits(&two), None);
        drop(app);
        std::fs::remove_dir_all(dir).unwrap();
    }

    fn runs(uptime_s: f64) -> Look {
        Look {
            process: Some(Process {
                state: "running",
                uptime_s: Some(uptime_s),
                life: "a".into(),
                ..Process::default()
            }),
            ..Look::healthy()
        }
    }

    fn red(uptime_s: f64) -> Look {
        Look {
            process: runs(uptime_s).process,
            ..Look::of(Health::Unhealthy, "refused", "Nothing listens.")
        }
    }

    fn dead(result: &str, code: i64) -> Look {
        let end = End {
            result: result.into(),
            exit_code: Some(code),
            lines: vec!["last words".into()],
            ..End::default()
        };
        Look {
            process: Some(Process {
                state: "failed",
                end: Some(end),
                life: "a".into(),
                ..Process::default()
            }),
            ..Look::of(Health::Unhealthy, "unit_failed", "It ended.")
        }
    }

    fn kinds_of(happened: &[Happened]) -> Vec<&'static str> {
        happened.iter().map(|what| what.kind).collect()
    }

    #[test]
    fn looks_are_counted_until_they_decide() {
        let mut s = service("never");
        s.fields.up_after = 2;
        assert!(step(&mut s, &runs(900.0), None, 1_000).is_empty());
        assert_eq!(
            (s.now.health, s.now.state),
            (Health::Healthy, "running"),
            "the first counts at once"
        );
        assert!(step(&mut s, &red(930.0), None, 31_000).is_empty());
        assert_eq!((s.now.health, s.now.bads), (Health::Healthy, 1));
        assert_eq!(kinds_of(&step(&mut s, &red(932.0), None, 33_000)), [DOWN]);
        assert!(
            step(&mut s, &runs(960.0), None, 63_000).is_empty(),
            "two good looks are wanted"
        );
        assert_eq!(s.now.health, Health::Unhealthy);
        assert_eq!(kinds_of(&step(&mut s, &runs(990.0), None, 93_000)), [RECOVERED]);
        assert_eq!((s.now.health, s.now.since), (Health::Healthy, 93_000));
    }

    #[test]
    fn nothing_is_said_about_what_nobody_could_see() {
        let mut s = service("always");
        step(&mut s, &runs(900.0), None, 1_000);
        let dark = Look::of(Health::Unknown, "ssh_timeout", "The server does not answer.");
        assert!(step(&mut s, &dark, None, 31_000).is_empty());
        assert_eq!((s.now.health, s.now.state), (Health::Unknown, "unknown"));
        assert_eq!(
            kinds_of(&step(&mut s, &dead("exit-code", 1), None, 61_000)),
            [DOWN, RESTARTED]
        );
    }

    #[test]
    fn it_is_started_again_with_growing_pauses_and_then_given_up() {
        let mut s = service("on-failure");
        s.fields.max_restarts = 3;
        let mut at = 1_000;
        assert_eq!(
            kinds_of(&step(&mut s, &dead("exit-code", 1), None, at)),
            [DOWN, RESTARTED]
        );
        let mut pauses = Vec::new();
        for _ in 0..2 {
            let begun = at;
            loop {
                at += 500;
                if kinds_of(&step(&mut s, &dead("exit-code", 1), None, at)) == [RESTARTED] {
                    break;
                }
            }
            pauses.push(at - begun);
        }
        assert_eq!(pauses, [1_000, 2_000]);
        let said = loop {
            at += 500;
            let said = step(&mut s, &dead("exit-code", 1), None, at);
            if !said.is_empty() {
                break said;
            }
        };
        assert_eq!((kinds_of(&said), s.now.state), (vec![GAVE_UP], "failed"));
        assert!(said[0].evidence.contains(&"last words".to_string()), "{said:?}");
        for _ in 0..2_000 {
            at += 1_000;
            assert!(
                step(&mut s, &dead("exit-code", 1), None, at).is_empty(),
                "nothing more, ever"
            );
        }
        assert_eq!(s.now.restarts, 3);
    }

    #[test]
    fn restarts_do_not_count_once_it_was_well_for_five_minutes() {
        let mut s = service("always");
        s.fields.max_restarts = 1;
        s.fields.window_s = 86_400;
        step(&mut s, &dead("signal", 9), None, 1_000);
        assert_eq!(s.now.restarts_at, [1_000]);
        step(&mut s, &runs(40.0), None, 31_000);
        step(&mut s, &runs(340.0), None, 331_000);
        assert!(s.now.restarts_at.is_empty());
        assert_eq!(
            kinds_of(&step(&mut s, &dead("signal", 9), None, 361_000)),
            [DOWN, RESTARTED]
        );
    }

    #[test]
    fn policies_tell_a_good_end_from_a_bad_one_and_a_persons_stop_is_respected() {
        for (policy, restarts) in [("always", true), ("on-failure", false), ("never", false)] {
            let mut s = service(policy);
            let said = step(&mut s, &dead("success", 0), None, 1_000);
            assert_eq!(kinds_of(&said).contains(&RESTARTED), restarts, "{policy}");
        }
        let mut s = service("always");
        s.now.wanted = "stopped";
        assert!(step(&mut s, &dead("success", 0), None, 1_000).is_empty());
        assert_eq!((s.now.health, &*s.now.code), (Health::Unknown, "stopped"));
        // It takes its time to end: that is no start.
        step(&mut s, &runs(100.0), None, 2_000);
        assert_eq!(s.now.wanted, "stopped");
        // Somebody starts it on its server, and it fails later.
        let mut started = runs(100.0);
        started.process.as_mut().unwrap().life = "b".into();
        step(&mut s, &started, None, 31_000);
        assert_eq!(s.now.wanted, "");
        assert_eq!(
            kinds_of(&step(&mut s, &dead("signal", 9), None, 61_000)),
            [DOWN, RESTARTED]
        );
        // And stops it there.
        let mut s = service("always");
        step(&mut s, &runs(100.0), None, 1_000);
        let mut stopped = dead("success", 0);
        stopped.process.as_mut().unwrap().end.as_mut().unwrap().asked = true;
        assert_eq!(kinds_of(&step(&mut s, &stopped, None, 31_000)), [STOPPED]);
        assert_eq!((s.now.wanted, s.now.health), ("stopped", Health::Unknown));
    }

    #[test]
    fn what_has_just_been_started_may_take_its_time() {
        let mut s = service("always");
        step(&mut s, &runs(900.0), None, 1_000);
        assert!(step(&mut s, &red(5.0), None, 31_000).is_empty());
        assert_eq!(s.now.health, Health::Degraded);
        step(&mut s, &red(31.0), None, 57_000);
        assert_eq!(
            kinds_of(&step(&mut s, &red(33.0), None, 59_000)),
            [DOWN, RESTARTED],
            "it runs, and does not work"
        );
    }

    #[test]
    fn it_waits_for_what_it_needs_and_systemds_own_loop_is_seen() {
        let mut s = service("always");
        assert_eq!(
            kinds_of(&step(&mut s, &dead("signal", 9), Some("postgres"), 1_000)),
            [DOWN]
        );
        assert!(s.now.say.contains("when postgres works"), "{}", s.now.say);
        assert_eq!(kinds_of(&step(&mut s, &dead("signal", 9), None, 2_000)), [RESTARTED]);

        let mut s = service("always");
        let kept = |n: i64| {
            let mut look = runs(1.0);
            look.process.as_mut().unwrap().restarts = n;
            look
        };
        step(&mut s, &kept(0), None, 1_000);
        step(&mut s, &kept(4), None, 31_000);
        assert_eq!(
            kinds_of(&step(&mut s, &kept(8), None, 61_000)),
            [DOWN],
            "systemd starts it: we do not"
        );
        assert_eq!(s.now.restarts, 8);
    }
}
