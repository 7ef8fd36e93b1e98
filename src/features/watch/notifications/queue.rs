//! From events to rows, and what an attempt's outcome does to its row. All of it is decided here, with the time given; the
//! threads are in [`super::sender`].

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

/// The first pause; short, because most failures are a restart somewhere.
const PAUSE_FIRST: Ms = 2 * SECOND;
/// The longest: an hour's outage is noticed to be over within this.
const PAUSE_MAX: Ms = 15 * MINUTE;
/// A receiver that asks for more than this has lost its mind, or means: never.
const WAIT_MAX: Ms = 6 * HOUR;
/// From so many on, waiting messages to one recipient become one: nobody reads forty.
const GATHER_MIN: usize = 4;
/// And at most so many.
const GATHER_MAX: i64 = 1_000;
/// Where each is told by itself, so many are looked at: the first may be too old.
const ONE_OF: i64 = 100;
/// Of servers that came together and never answered, those that are judged wait for the rest, this long at most …
const COMPANY_MAX: Ms = 3 * MINUTE;
/// … and then a moment for who was judged just now; one that came alone does not wait.
const MOMENT: Ms = 2 * SECOND;
/// While some have still to answer, first answers are told once in this.
const ANSWERS_EACH: Ms = MINUTE;

/// Messages to a recipient do not get through; over with [`RECOVERED`].
const DEAD: &str = "notification.dead";
/// They do again.
const RECOVERED: &str = "notification.recovered";

/// What the feature does when something has happened.
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

/// Which endpoints a message about such an alert has reached since it began, and when the last one did: kind and part of
/// the alert, type and number of what it is about.
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

/// The facts of an alert's event; its data is documented at `alerts`, which writes it.
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

/// Does an endpoint want to hear of this at all?
fn wants(conn: &Conn, endpoint: &Endpoint, f: &Facts) -> Result<bool> {
    let e = &endpoint.fields;
    let subscribed = match f.what {
        What::Event => e.events.contains(&f.kind),
        _ => f.level >= e.min_level && takes_alert(&e.events, &f.kind),
    };
    if !e.enabled || !subscribed {
        return Ok(false);
    }
    if e.tags.is_empty() {
        return Ok(true);
    }
    let tags = match f.target.0.as_str() {
        "server" => match servers::get(conn, Id::new(f.target.1)) {
            Ok(server) => server.fields.tags,
            Err(e) if e.kind == Kind::NotFound => Vec::new(),
            Err(e) => return Err(e),
        },
        _ => Vec::new(),
    };
    Ok(tags
        .iter()
        .any(|t| e.tags.iter().any(|wanted| wanted.to_lowercase() == t.to_lowercase())))
}

fn put(app: &App, tx: &Tx, endpoint: &Endpoint, event: &Event, facts: &Facts, next_at: Ms) -> Result<()> {
    let about_itself = facts.target == ("notification".to_string(), endpoint.id.get());
    for recipient in (endpoint.channel.recipients)(&endpoint.fields.config) {
        // Nobody can be told by a way that does not work that it does not work.
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

/// When a message about a server that never answered before is due: with those about the others that came with it.
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

/// The last of those that came together has answered, or is gone: nobody waits for it any more.
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

/// An alert began or happened again. The same is told at most once in an interval; what comes in between waits for the
/// interval's end, for it may be over by then. That it is worse than before, or that nothing more will be told, is not the
/// same and does not wait.
fn raised(app: &App, tx: &Tx, event: &Event) -> Result<()> {
    let mut facts = of_alert(What::Raised, event);
    // Somebody looks after it, or another alert tells of the cause.
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
        if !wants(tx, &endpoint, &facts)? {
            continue;
        }
        let before = queries::last_notified(tx, endpoint.id, &print)?;
        let waiting = queries::waiting(tx, endpoint.id, &print)?;
        if !waiting.is_empty() {
            for row in &waiting {
                // One that is told for the first time brings the latest count; that is no message held back.
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

/// An alert is over: whoever was told of it is told so; whoever would have been told later need not be.
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
                at: last.at - pause, // when it really was told
                held: first.facts.held + 1,
            },
            None => LastNotified { alert: 0, ..last },
        };
        queries::set_last_notified(tx, endpoint.id, &print, over)?;
        for row in &held_back {
            queries::end(tx, row.id, Status::Held, event.at, "It was over before it was told.")?;
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
        if wants(tx, &endpoint, &facts)? {
            put(app, tx, &endpoint, event, &facts, event.at)?;
        }
    }
    Ok(())
}

/// Takes what an endpoint is to be sent next, as one message, and marks it: a kill from here on means that it is sent again.
/// Empty: nothing now. What is too old is given up.
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
        // A few are told one by one, save those that came together.
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

/// What an outcome means for the rows of one message, for its recipient, and for who should hear that it does not work.
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
                queries::block(tx, endpoint.id, now + wait)?; // with everything, not with this alone
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

/// How long until the next attempt, after this many: doubling, with a quarter of chance so that many do not come at once.
fn pause(attempts: i64) -> Ms {
    let doubled = PAUSE_FIRST << (attempts - 1).clamp(0, 20);
    let pause = doubled.min(PAUSE_MAX);
    pause - pause / 8 + random::below(pause as u64 / 4) as Ms
}

/// Telegram has made a supergroup of a group: it has another number from now on.
fn moved(tx: &Tx, endpoint: &Endpoint, from: &str, to: &str, now: Ms) -> Result<()> {
    // As it is now: somebody may have changed it meanwhile.
    let mut fields = super::get(tx, endpoint.id)?.fields;
    let chats = fields.config.get_mut("chats").and_then(Value::as_array_mut);
    for chat in chats.into_iter().flatten().filter(|chat| chat.as_str() == Some(from)) {
        *chat = to.into();
    }
    queries::update(tx, endpoint.id, &fields, now)?;
    queries::move_recipient(tx, endpoint.id, from, to, now)
}

/// A recipient's first dead letter is an event, of which others can be told; the next ones are not.
fn fails(app: &App, tx: &Tx, endpoint: &Endpoint, recipient: &str, why: &str, now: Ms) -> Result<()> {
    let reached = (endpoint.channel.recipients)(&endpoint.fields.config);
    if !reached.iter().any(|r| r == recipient) {
        return Ok(()); // taken out meanwhile, or an old letter sent again
    }
    match queries::set_gone(tx, endpoint.id, recipient, now, why)? {
        true => about_recipient(app, tx, endpoint, recipient, DEAD, &[why]),
        false => Ok(()),
    }
}

/// A recipient works again, or is none any more.
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

/// Writes down what came of a test. One that worked shows that its recipient works.
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

/// What came of sending a test to one recipient.
pub struct Tested {
    pub recipient: String,
    pub key: String,
    pub facts: Facts,
    pub is_sent: bool,
    pub answer: String,
    pub took_ms: i64,
    /// Its row, once written down.
    pub row: Option<Id<id::Delivery>>,
}

/// A dead letter is sent again, with the same key: who has it already can tell.
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
