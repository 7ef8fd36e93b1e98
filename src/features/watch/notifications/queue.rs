//! From events to rows of the queue, and from results of attempts to changes of rows. Decisions take the time as a
//! parameter; threads are in [`super::sender`].

use super::channel::Outcome;
use super::model::takes_alert;
use super::model::{DOUBTS_MAX, Row, Status};
use super::queries::{self, LastNotified, New};
use super::settings;
use super::text::{Facts, What};
use super::{Endpoint, Level, wake};
use crate::access::Allowed;
use crate::access::right::{Notifications, Run};
use crate::app::App;
use crate::audit;
use crate::base::clock::{HOUR, MINUTE, Ms, SECOND};
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::base::random;
use crate::db::{Conn, Tx};
use crate::events::outbox::{self, Event};
use crate::features::fleet::servers;
use crate::features::watch::rules;
use crate::kinds::{self, EventKind};
use serde_json::Value;

/// First pause; short, since most failures are restarts.
const PAUSE_FIRST: Ms = 2 * SECOND;
/// Longest pause.
const PAUSE_MAX: Ms = 15 * MINUTE;
/// Longest pause that a receiver can request.
const WAIT_MAX: Ms = 6 * HOUR;
/// Number of waiting messages to one recipient from which they are combined.
const GATHER_MIN: usize = 4;
/// Maximum messages in a combined one.
const GATHER_MAX: i64 = 1_000;
/// Without combining: rows examined, since the first may be too old.
const ONE_OF: i64 = 100;
/// Maximum wait for other servers that were added at the same time and have not answered yet.
const COMPANY_MAX: Ms = 3 * MINUTE;
/// Additional wait for results that arrive at about the same time.
const MOMENT: Ms = 2 * SECOND;
/// Interval of first answers while others are pending.
const ANSWERS_EACH: Ms = MINUTE;

/// Event: messages to a recipient fail permanently; ends with [`RECOVERED`].
const DEAD: &str = "notification.dead";
/// Event: they succeed again.
const RECOVERED: &str = "notification.recovered";

/// Reaction to events.
pub fn react(app: &App, tx: &Tx, event: &Event) -> Result<()> {
    match event.kind.as_str() {
        "alert.raised" | "alert.flapping" => raised(app, tx, event),
        "alert.resolved" => resolved(app, tx, event),
        "server.lit" => company_known(app, tx, event),
        "server.deleted" => {
            company_known(app, tx, event)?;
            news(app, tx, event)
        }
        kind if kinds::find(kind).is_some_and(EventKind::is_news) => news(app, tx, event),
        _ => Ok(()),
    }
}

fn fingerprint(f: &Facts) -> String {
    about((&f.kind, &f.part), (&f.target.0, f.target.1))
}

fn about((kind, part): (&str, &str), target: (&str, i64)) -> String {
    match part {
        "" => format!("{kind}|{}|{}", target.0, target.1),
        part => format!("{kind}|{}|{}|{part}", target.0, target.1),
    }
}

/// Endpoints that were notified about such an alert since it began, and when last: kind and part of the alert, type and
/// id of its target.
pub fn recipients_since(conn: &Conn, what: (&str, &str), target: (&str, i64), since: Ms) -> Result<Vec<(String, Ms)>> {
    queries::recipients_since(conn, &about(what, target), since)
}

fn text(data: &Value, key: &str) -> String {
    data.get(key).and_then(Value::as_str).unwrap_or_default().to_string()
}

fn number(data: &Value, key: &str) -> i64 {
    data.get(key).and_then(Value::as_i64).unwrap_or_default()
}

fn strings(data: &Value, key: &str) -> Vec<String> {
    let items = data.get(key).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(String::from).collect()
}

/// The facts of an alert's event, as documented at `alerts`.
fn of_alert(what: What, event: &Event) -> Facts {
    let data = &event.data;
    let target = data.get("target").unwrap_or(&Value::Null);
    Facts {
        what,
        kind: text(data, "kind"),
        of: String::new(),
        level: Level::parse(&text(data, "level")).unwrap_or(Level::Warning),
        name: text(target, "name"),
        title: text(data, "title"),
        target: (text(target, "type"), number(target, "id")),
        part: text(data, "part"),
        alert: event.target_id,
        evidence: strings(data, "evidence"),
        since: number(data, "first_at"),
        at: event.at,
        count: number(data, "count"),
        held: 0,
        variant: text(data, "variant"),
        note: text(data, "note"),
        hanging: data
            .get("hanging")
            .map_or((0, 0), |h| (number(h, "domains"), number(h, "alerts"))),
        flaps: None,
    }
}

/// Does an endpoint subscribe to this?
fn wants(app: &App, conn: &Conn, endpoint: &Endpoint, f: &Facts) -> Result<bool> {
    let e = &endpoint.fields;
    let subscribed = match f.what {
        What::Event => e.events.contains(&f.kind),
        _ => f.level >= e.min_level && takes_alert(&e.events, &f.kind),
    };
    if !e.enabled || !subscribed {
        return Ok(false);
    }
    match e.scope.is_everything() {
        true => Ok(true),
        false => (e.scope).covers(app, conn, &kinds::related(conn, (&f.target.0, f.target.1))?),
    }
}

fn put(app: &App, tx: &Tx, endpoint: &Endpoint, event: &Event, facts: &Facts, next_at: Ms) -> Result<()> {
    let about_itself = facts.target == ("notification".to_string(), endpoint.id.get());
    for recipient in (endpoint.channel.recipients)(&endpoint.fields.config) {
        // A failing endpoint cannot be used to report its own failure.
        if about_itself && recipient == facts.part {
            continue;
        }
        let new = New {
            endpoint: endpoint.id,
            recipient: &recipient,
            event: event.id,
            fingerprint: &fingerprint(facts),
            key: &random::name(),
            facts,
            status: Status::Queued,
            at: event.at,
            next_at,
            answer: "",
        };
        queries::enqueue(tx, &new)?;
    }
    wake(app, tx);
    Ok(())
}

/// Due time of a message about a server that never answered: together with others added at the same time.
fn with_company(tx: &Tx, endpoint: &Endpoint, facts: &Facts, at: Ms) -> Result<Ms> {
    if !facts.is_of_newcomer() {
        return Ok(at);
    }
    let company = servers::company(tx, facts.target.1, at - COMPANY_MAX)?;
    let first = queries::newcomers_due(tx, endpoint.id, facts.what)?;
    let wait = match facts.what {
        What::Resolved if company.unreached > 0 => ANSWERS_EACH,
        What::Resolved if first.is_some() => MOMENT,
        What::Raised if company.pending > 0 => COMPANY_MAX,
        What::Raised if company.young > 0 => MOMENT,
        _ => 0,
    };
    let due = first.map_or(at + wait, |first| first.clamp(at, at + wait));
    queries::hurry_newcomers(tx, Some(endpoint.id), facts.what, due)?;
    Ok(due)
}

/// The last of servers added together has answered or was removed: nothing waits any more.
fn company_known(app: &App, tx: &Tx, event: &Event) -> Result<()> {
    if servers::company(tx, event.target_id, event.at - COMPANY_MAX)?.pending == 0 {
        queries::hurry_newcomers(tx, None, What::Raised, event.at + MOMENT)?;
        wake(app, tx);
    }
    Ok(())
}

fn is_muted(event: &Event) -> bool {
    event.data.get("muted").and_then(Value::as_bool) == Some(true)
}

/// An alert began or was repeated. The same alert is notified at most once per interval; later ones wait for its end,
/// since it may be resolved by then. A raised level, or the notice about flapping, does not wait.
fn raised(app: &App, tx: &Tx, event: &Event) -> Result<()> {
    let mut facts = of_alert(What::Raised, event);
    // Acknowledged, or another alert is about the cause.
    if text(&event.data, "state") != "firing" || is_muted(event) {
        return Ok(());
    }
    if event.kind == "alert.flapping" {
        let times = number(&event.data, "flaps");
        facts.flaps = Some((
            times,
            rules::ALERTS_FLAP_WINDOW_MIN.number(tx)?,
            rules::ALERTS_CALM_MIN.number(tx)?,
        ));
    }
    let at_once = facts.flaps.is_some() || facts.note == "rose";
    let pause = settings::MESSAGES_MIN_INTERVAL_S.number(tx)? * SECOND;
    let print = fingerprint(&facts);
    for endpoint in queries::all(tx)? {
        if !wants(app, tx, &endpoint, &facts)? {
            continue;
        }
        let before = queries::last_notified(tx, endpoint.id, &print)?;
        let waiting = queries::waiting(tx, endpoint.id, &print)?;
        if !waiting.is_empty() {
            for row in &waiting {
                // The first notification gets the latest count; that is not suppression.
                let held = row.facts.held + i64::from(row.facts.alert != facts.alert);
                queries::set_facts(tx, row.id, &Facts { held, ..facts.clone() })?;
                if at_once {
                    queries::later(tx, row.id, event.at, "")?;
                    wake(app, tx);
                }
            }
            if let Some(last) = before {
                let at = if at_once { event.at } else { last.at };
                let alert = facts.alert;
                queries::set_last_notified(tx, endpoint.id, &print, LastNotified { alert, at, ..last })?;
            }
            continue;
        }
        let at = match before {
            Some(last) if !at_once => (last.at + pause).max(event.at),
            _ => with_company(tx, &endpoint, &facts, event.at)?,
        };
        let held = before.map_or(0, |last| last.held);
        put(app, tx, &endpoint, event, &Facts { held, ..facts.clone() }, at)?;
        let last = LastNotified {
            alert: facts.alert,
            at,
            held: 0,
        };
        queries::set_last_notified(tx, endpoint.id, &print, last)?;
    }
    Ok(())
}

/// An alert was resolved: notified where it had been notified; waiting messages are dropped.
fn resolved(app: &App, tx: &Tx, event: &Event) -> Result<()> {
    let facts = of_alert(What::Resolved, event);
    let pause = settings::MESSAGES_MIN_INTERVAL_S.number(tx)? * SECOND;
    let print = fingerprint(&facts);
    for endpoint in queries::all(tx)? {
        let Some(last) = queries::last_notified(tx, endpoint.id, &print)?.filter(|t| t.alert == facts.alert) else {
            continue;
        };
        let held_back: Vec<_> = (queries::waiting(tx, endpoint.id, &print)?.into_iter())
            .filter(|row| row.next_at > event.at)
            .collect();
        let over = match held_back.first() {
            Some(first) => LastNotified {
                alert: 0,
                at: last.at - pause, // when it was really sent
                held: first.facts.held + 1,
            },
            None => LastNotified { alert: 0, ..last },
        };
        queries::set_last_notified(tx, endpoint.id, &print, over)?;
        for row in &held_back {
            queries::end(
                tx,
                row.id,
                Status::Held,
                event.at,
                "It was resolved before it was sent.",
            )?;
        }
        if held_back.is_empty() && endpoint.fields.enabled && !is_muted(event) {
            let at = with_company(tx, &endpoint, &facts, event.at)?;
            put(app, tx, &endpoint, event, &facts, at)?;
        }
    }
    Ok(())
}

fn news(app: &App, tx: &Tx, event: &Event) -> Result<()> {
    let data = &event.data;
    let name = [text(data, "name"), text(data, "target"), text(data, "login")];
    let name = name.into_iter().find(|n| !n.is_empty()).unwrap_or_default();
    let facts = Facts {
        what: What::Event,
        kind: event.kind.clone(),
        of: text(data, "kind"),
        level: Level::Info,
        title: format!("{}: {name}", event.kind),
        name,
        target: (event.target_type.clone(), event.target_id),
        part: String::new(),
        alert: 0,
        evidence: strings(data, "evidence"),
        since: event.at,
        at: event.at,
        count: 1,
        held: 0,
        variant: String::new(),
        note: String::new(),
        hanging: (0, 0),
        flaps: None,
    };
    for endpoint in queries::all(tx)? {
        if wants(app, tx, &endpoint, &facts)? {
            put(app, tx, &endpoint, event, &facts, event.at)?;
        }
    }
    Ok(())
}

/// Claims the next message of an endpoint: after a crash it is sent again. Empty: nothing is due. Messages that are too
/// old become dead letters.
pub fn claim(app: &App, tx: &Tx, endpoint: &Endpoint, now: Ms) -> Result<Vec<Row>> {
    let age_max = settings::MESSAGES_MAX_AGE_H.number(tx)? * HOUR;
    let may_gather = (endpoint.channel.may_gather)(&endpoint.fields.config);
    let rows_max = if may_gather { GATHER_MAX } else { ONE_OF };
    let due = queries::due_rows(tx, endpoint.id, now, rows_max)?;
    let (mut due, stale): (Vec<_>, Vec<_>) = due.into_iter().partition(|row| row.since + age_max > now);
    for row in &stale {
        give_up(app, tx, endpoint, row, now)?;
    }
    let Some(first) = due.first().map(|row| row.recipient.clone()) else {
        return Ok(Vec::new());
    };
    due.retain(|row| row.recipient == first);
    if !may_gather {
        due.truncate(1);
    } else if due.len() < GATHER_MIN {
        // A few are sent one by one, except those that came together.
        let head = due.remove(0);
        due.retain(|row| {
            let [one, other] = [&head.facts, &row.facts];
            one.what == other.what && one.is_of_newcomer() && other.is_of_newcomer()
        });
        due.insert(0, head);
    }
    for row in &due {
        queries::set_sending(tx, row.id)?;
    }
    Ok(due)
}

fn give_up(app: &App, tx: &Tx, endpoint: &Endpoint, row: &Row, now: Ms) -> Result<()> {
    let answer = match row.answer.as_str() {
        "" => "Given up: too old.".into(),
        last => format!("Given up: too old. The last answer was: {last}"),
    };
    queries::end(tx, row.id, Status::Dead, now, &answer)?;
    fails(app, tx, endpoint, &row.recipient, &answer, now)
}

/// Applies the result of an attempt to the rows of a message and to its recipient, and emits events.
pub fn finish(app: &App, tx: &Tx, endpoint: &Endpoint, rows: &[Row], outcome: &Outcome, now: Ms) -> Result<()> {
    let Some(Row { recipient, key, .. }) = rows.first() else {
        return Ok(());
    };
    match outcome {
        Outcome::Sent(answer) => {
            for row in rows {
                queries::set_key(tx, row.id, key)?;
                queries::end(tx, row.id, Status::Sent, now, answer)?;
            }
            queries::block(tx, endpoint.id, now + endpoint.channel.pace_ms)?;
            works_again(app, tx, endpoint, recipient)
        }
        Outcome::Later { why, wait_s } => {
            let asked = wait_s.map(|s| (i64::from(s) * SECOND).min(WAIT_MAX));
            if let Some(wait) = asked {
                queries::block(tx, endpoint.id, now + wait)?; // for the whole endpoint
            }
            for row in rows {
                queries::later(tx, row.id, now + asked.unwrap_or_else(|| pause(row.attempts + 1)), why)?;
            }
            Ok(())
        }
        Outcome::Doubtful(why) => {
            let why = format!("Doubtful, it may have arrived: {why}");
            for row in rows {
                queries::doubt(tx, row.id)?;
                if row.doubts + 1 < DOUBTS_MAX {
                    queries::later(tx, row.id, now + pause(row.attempts + 1), &why)?;
                } else {
                    queries::end(tx, row.id, Status::Dead, now, &why)?;
                    fails(app, tx, endpoint, recipient, &why, now)?;
                }
            }
            Ok(())
        }
        Outcome::Never(why) => {
            for row in rows {
                queries::end(tx, row.id, Status::Dead, now, why)?;
            }
            fails(app, tx, endpoint, recipient, why, now)
        }
        Outcome::Moved(to) => {
            moved(tx, endpoint, recipient, to, now)?;
            works_again(app, tx, endpoint, recipient)
        }
    }
}

/// Pause before the next attempt: doubling, with 25 % jitter.
fn pause(attempts: i64) -> Ms {
    let doubled = PAUSE_FIRST << (attempts - 1).clamp(0, 20);
    let pause = doubled.min(PAUSE_MAX);
    pause - pause / 8 + random::below(pause as u64 / 4) as Ms
}

/// Telegram turned a group into a supergroup with a new id.
fn moved(tx: &Tx, endpoint: &Endpoint, from: &str, to: &str, now: Ms) -> Result<()> {
    // The current row: it may have changed meanwhile.
    let mut fields = super::get(tx, endpoint.id)?.fields;
    let chats = fields.config.get_mut("chats").and_then(Value::as_array_mut);
    for chat in chats.into_iter().flatten().filter(|chat| chat.as_str() == Some(from)) {
        *chat = to.into();
    }
    queries::update(tx, endpoint.id, &fields, now)?;
    queries::move_recipient(tx, endpoint.id, from, to, now)
}

/// A recipient's first dead letter is an event; later ones are not.
fn fails(app: &App, tx: &Tx, endpoint: &Endpoint, recipient: &str, why: &str, now: Ms) -> Result<()> {
    let reached = (endpoint.channel.recipients)(&endpoint.fields.config);
    if !reached.iter().any(|r| r == recipient) {
        return Ok(()); // removed meanwhile, or an old letter sent again
    }
    match queries::set_gone(tx, endpoint.id, recipient, now, why)? {
        true => about_recipient(app, tx, endpoint, recipient, DEAD, &[why]),
        false => Ok(()),
    }
}

/// A recipient works again, or was removed.
pub fn works_again(app: &App, tx: &Tx, endpoint: &Endpoint, recipient: &str) -> Result<()> {
    match queries::set_back(tx, endpoint.id, recipient)? {
        true => about_recipient(app, tx, endpoint, recipient, RECOVERED, &[]),
        false => Ok(()),
    }
}

fn about_recipient(app: &App, tx: &Tx, e: &Endpoint, recipient: &str, event: &str, evidence: &[&str]) -> Result<()> {
    let name = match recipient {
        "" => e.fields.name.clone(),
        _ => format!("{} ({recipient})", e.fields.name),
    };
    let data = serde_json::json!({ "name": name, "part": recipient, "evidence": evidence });
    outbox::emit(tx, &app.wakes.events, event, ("notification", e.id.get()), &data)
}

/// Records the results of a test. A success marks the recipient as working.
pub fn tested(app: &App, tx: &Tx, endpoint: &Endpoint, test: &Tested) -> Result<Id<id::Delivery>> {
    if test.is_sent {
        works_again(app, tx, endpoint, &test.recipient)?;
    }
    let new = New {
        endpoint: endpoint.id,
        recipient: &test.recipient,
        event: 0,
        fingerprint: &fingerprint(&test.facts),
        key: &test.key,
        facts: &test.facts,
        status: if test.is_sent { Status::Sent } else { Status::Dead },
        at: test.facts.at,
        next_at: test.facts.at,
        answer: &test.answer,
    };
    queries::enqueue(tx, &new)
}

/// Result of a test for one recipient.
pub struct Tested {
    pub recipient: String,
    pub key: String,
    pub facts: Facts,
    pub is_sent: bool,
    pub answer: String,
    pub took_ms: i64,
    /// Its row, once stored.
    pub row: Option<Id<id::Delivery>>,
}

/// Queues a dead letter again with the same key.
pub fn resend(app: &App, tx: &Tx, id: Id<id::Delivery>, by: Allowed<Run, Notifications>, now: Ms) -> Result<Row> {
    let row = queries::delivery(tx, id)?.ok_or_else(|| Error::not_found("message"))?;
    if row.facts.what == What::Test {
        let say = "A test is not sent again; send another one.";
        return Err(Error::new(Kind::Conflict, "is_a_test", say));
    }
    if !queries::revive(tx, id, now)? {
        let say = "Only a message that was given up can be sent again.";
        return Err(Error::new(Kind::Conflict, "not_dead", say));
    }
    let object = format!("message {id}");
    audit::append(
        tx,
        &app.vault,
        by,
        "notification.resend",
        &object,
        &serde_json::json!({}),
    )?;
    wake(app, tx);
    queries::delivery(tx, id)?.ok_or_else(|| Error::not_found("message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_chance_up_to_a_quarter_of_an_hour() {
        for (attempts, usual) in [
            (1, 2_000),
            (2, 4_000),
            (3, 8_000),
            (8, 256_000),
            (9, 512_000),
            (10, 900_000),
            (99, 900_000),
        ] {
            for _ in 0..50 {
                let pause = pause(attempts);
                assert!((usual * 7 / 8..=usual * 9 / 8).contains(&pause), "{attempts}: {pause}");
            }
        }
    }
}
