//! Text of notifications: one sentence of what happened, since when, evidence, link. The queue stores facts; the text
//! is made when sending, in the endpoint's language and time zone.

use super::Level;
use crate::access::right::WITHHELD;
use crate::access::{Place, Sees};
use crate::base::clock::{MINUTE, Ms};
use crate::base::error::{Error, Result};
use crate::base::shape::described;
use crate::base::shape::{Described, Member, Object, Presence, Shape};
use crate::base::text::{cut, one_line};
use crate::kinds;
use crate::lang::format::{duration, instant};
use crate::lang::{Lang, Locale, words};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// An alert began or was repeated.
    Raised,
    /// It was resolved.
    Resolved,
    /// Another event.
    Event,
    /// A test.
    Test,
}
described!(What: "raised", "resolved", "event", "test");

impl What {
    /// As stored.
    pub fn name(self) -> &'static str {
        ["raised", "resolved", "event", "test"][self as usize]
    }
}

/// Target of an alert as in the API ([`crate::kinds::target`]).
#[derive(Serialize)]
#[serde(transparent)]
pub struct About(pub Value);

impl Described for About {
    const SHAPE: &'static Shape = &Shape::Object(&Object {
        name: "notifications::About",
        doc: &[" What an alert is about; a member more names the part of it, where it is about a part."],
        members: || {
            const {
                &[
                    Member::always("type", &Shape::Text),
                    Member::always("id", &Shape::Whole),
                    Member::always("name", &Shape::Text),
                    Member {
                        presence: Presence::Flat,
                        ..Member::always("", &Shape::Map(&Shape::Text))
                    },
                ]
            }
        },
    });
}

/// Facts of a notification, without text.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Facts {
    /// What became of it.
    pub what: What,
    /// `server.unreachable`, …
    pub kind: String,
    /// For events about an alert: its kind.
    #[serde(default)]
    pub of: String,
    /// Severity.
    pub level: Level,
    /// Display name of the target.
    pub name: String,
    /// English sentence, if the catalogue has none.
    pub title: String,
    /// Type and id of the target.
    pub target: (String, i64),
    /// Part of the target ([`kinds::target`]); empty: there is only one.
    #[serde(default)]
    pub part: String,
    /// Alert id; 0: none.
    pub alert: i64,
    /// Evidence.
    pub evidence: Vec<String>,
    /// Beginning, unix ms.
    pub since: Ms,
    /// Time of the event, unix ms.
    pub at: Ms,
    /// Number of occurrences.
    pub count: i64,
    /// Suppressed repetitions before this one.
    #[serde(default)]
    pub held: i64,
    /// Variant of the text for the kind.
    #[serde(default)]
    pub variant: String,
    /// Why it is notified now and not when raised: `rose`, `cause_over`, `silence_over`, `calm`.
    #[serde(default)]
    pub note: String,
    /// Suppressed dependents: domains, alerts.
    #[serde(default)]
    pub hanging: (i64, i64),
    /// If it flaps: number of beginnings, within how many minutes; how many minutes of calm end it.
    #[serde(default)]
    pub flaps: Option<(i64, i64, i64)>,
}

impl Facts {
    /// Hides what this actor may not see; the target may be hidden. Error: nothing may be seen.
    pub fn for_eyes_of(&mut self, by: &impl Sees) -> Result<()> {
        let mut known = [&self.kind, &self.of].into_iter().filter_map(|kind| kinds::find(kind));
        let everywhere = || Ok(Place::Everywhere);
        if !known.try_fold(true, |all, kind| {
            Ok::<_, Error>(all && by.sees(kind.right, &everywhere)?)
        })? {
            (self.name, self.title) = (WITHHELD.into(), WITHHELD.into());
            self.target.1 = 0;
            self.evidence.clear();
        }
        Ok(())
    }

    /// Is it about a server that never answered? Those of a new fleet are combined.
    pub fn is_of_newcomer(&self) -> bool {
        self.kind == "server.unreachable" && self.variant == "never"
    }

    /// Target, for machines.
    pub fn about(&self) -> Value {
        kinds::target(&self.kind, (&self.target.0, self.target.1, &self.name), &self.part)
    }
}

/// A message as text, independent of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Coloured disc.
    pub mark: &'static str,
    /// `ERROR`, or `OK` for a recovery: for subjects and machines.
    pub tag: &'static str,
    /// One sentence without full stop.
    pub title: String,
    /// Sentences.
    pub lines: Vec<String>,
    /// Evidence, one line each.
    pub evidence: Vec<String>,
    /// Link to the page.
    pub link: Option<String>,
}

/// Lines of evidence in a message; the page has all.
const EVIDENCE_MAX: usize = 8;
/// Bytes of a line.
const LINE_MAX: usize = 400;
/// Titles in a combined message.
const TITLES_MAX: usize = 30;
/// Names in its title.
const NAMES_MAX: usize = 3;

/// One message about these facts; `public_url` may be empty.
pub fn message(to: &Locale, facts: &[Facts], public_url: &str) -> Message {
    match facts {
        [one] => about(to, one, public_url),
        many => digest(to, many, public_url),
    }
}

fn about(to: &Locale, f: &Facts, public_url: &str) -> Message {
    let lang = to.lang;
    let title = title(lang, f);
    let mut lines = Vec::new();
    let shown = match f.what {
        What::Raised => {
            let level = words::word(lang, &format!("level.{}", f.level.name()), None).unwrap_or(f.level.name());
            lines.push(say(lang, "msg.since", &[("level", level), ("at", &when(to, f.since))]));
            if f.count > 1 {
                lines.push(counted(lang, "msg.count", f.count, &[("at", &when(to, f.at))]));
            }
            if !f.note.is_empty() {
                lines.push(say(lang, &format!("msg.note.{}", f.note), &[]));
            }
            lines.extend(hanging(lang, f.hanging));
            match f.flaps {
                None => title,
                Some((times, window, calm)) => {
                    let minutes = |n: i64| duration(lang, n * MINUTE).replace('\u{a0}', " ");
                    let values = [("window", &*minutes(window)), ("calm", &*minutes(calm))];
                    lines.push(counted(lang, "msg.flaps", times, &values));
                    say(lang, "msg.flapping", &[("title", &title)])
                }
            }
        }
        What::Resolved => {
            let took = duration(lang, f.at - f.since).replace('\u{a0}', " ");
            let (from, to) = (when(to, f.since), when(to, f.at));
            lines.push(say(
                lang,
                "msg.over_lasted",
                &[("title", &title), ("took", &took), ("from", &from), ("to", &to)],
            ));
            let good = worded(lang, "over", f);
            good.map_or_else(
                || say(lang, "msg.over", &[("title", &title)]),
                |text| words::filled(text, &[("name", &f.name)]),
            )
        }
        What::Event => {
            lines.push(say(lang, "msg.at", &[("at", &when(to, f.at))]));
            title
        }
        What::Test => {
            lines.push(say(lang, "msg.test", &[("name", &f.name)]));
            lines.push(say(lang, "msg.at", &[("at", &when(to, f.at))]));
            title
        }
    };
    if f.held > 0 {
        lines.push(counted(lang, "msg.held", f.held, &[]));
    }
    Message {
        mark: mark(f),
        tag: tag(f),
        title: shown,
        lines,
        evidence: evidence(lang, f),
        link: link(f, public_url),
    }
}

fn digest(to: &Locale, facts: &[Facts], public_url: &str) -> Message {
    let lang = to.lang;
    let worst = facts
        .iter()
        .filter(|f| f.what != What::Resolved)
        .max_by_key(|f| f.level);
    let mut evidence: Vec<String> = (facts.iter().take(TITLES_MAX))
        .map(|f| {
            let one = about(to, f, "");
            format!("{} {}", one.mark, cut(&one.title, LINE_MAX))
        })
        .collect();
    if facts.len() > TITLES_MAX {
        evidence.push(counted(lang, "msg.more", (facts.len() - TITLES_MAX) as i64, &[]));
    }
    Message {
        mark: worst.map_or("🟢", mark),
        tag: worst.map_or("OK", tag),
        title: many(lang, facts),
        lines: Vec::new(),
        evidence,
        link: (!public_url.is_empty()).then(|| format!("{public_url}/alerts")),
    }
}

/// A common title with the first names, if all are of one kind that has a text for it.
fn many(lang: Lang, facts: &[Facts]) -> String {
    let n = facts.len() as i64;
    let same = |f: &&Facts| (f.what, &f.kind, &f.variant) == (facts[0].what, &facts[0].kind, &facts[0].variant);
    let what = if facts[0].what == What::Resolved {
        "over"
    } else {
        "alert"
    };
    let id = format!("many.{what}.{}.{}", facts[0].kind, facts[0].variant);
    let known = facts.iter().all(|f| same(&f)) && words::word(lang, &id, Some(n)).is_some();
    if !known {
        return counted(lang, "msg.many", n, &[]);
    }
    let mut names: Vec<_> = facts.iter().take(NAMES_MAX).map(|f| f.name.as_str()).collect();
    let more = counted(lang, "msg.more", n - names.len() as i64, &[]);
    if facts.len() > names.len() {
        names.push(&more);
    }
    one_line(&counted(lang, &id, n, &[("names", &names.join(", "))]), LINE_MAX)
}

/// Title: the catalogue's text if there is one.
pub fn title(lang: Lang, f: &Facts) -> String {
    let text = match f.what {
        What::Raised | What::Resolved => worded(lang, "alert", f),
        What::Event => worded(lang, "event", f),
        What::Test => words::word(lang, "msg.test_title", None),
    };
    let name = if f.name.is_empty() { "?" } else { &f.name };
    let text = text.map(|text| words::filled(text, &[("name", name)]));
    one_line(&text.unwrap_or_else(|| f.title.clone()), LINE_MAX)
}

/// The text of a kind in its variant, or the usual one.
fn worded(lang: Lang, what: &str, f: &Facts) -> Option<&'static str> {
    let varied = format!("{what}.{}.{}", f.kind, f.variant);
    let usual = || words::word(lang, &format!("{what}.{}", f.kind), None);
    match f.variant.is_empty() {
        true => usual(),
        false => words::word(lang, &varied, None).or_else(usual),
    }
}

/// “3 domains, 2 other alerts”; empty if none.
fn hanging(lang: Lang, (domains, alerts): (i64, i64)) -> Option<String> {
    let part = |id: &str, n: i64| (n > 0).then(|| counted(lang, id, n, &[]));
    let parts: Vec<_> = [part("hang.domains", domains), part("hang.alerts", alerts)]
        .into_iter()
        .flatten()
        .collect();
    (!parts.is_empty()).then(|| say(lang, "hang.on", &[("what", &parts.join(", "))]))
}

fn evidence(lang: Lang, f: &Facts) -> Vec<String> {
    let given = if f.what == What::Resolved {
        &[]
    } else {
        f.evidence.as_slice()
    };
    let short = |lines: &[String]| -> Vec<String> {
        let lines = lines.iter().map(|e| one_line(e, LINE_MAX));
        lines.filter(|e| !e.is_empty()).collect()
    };
    if given.len() <= EVIDENCE_MAX {
        return short(given);
    }
    let more = counted(lang, "msg.more", (given.len() - EVIDENCE_MAX) as i64, &[]);
    match f.target.0.as_str() {
        // How it is, and its last words: those in between are on the page.
        "container" => {
            let (first, last) = (&given[..1], &given[given.len() - (EVIDENCE_MAX - 1)..]);
            [short(first), vec![more], short(last)].concat()
        }
        _ => [short(&given[..EVIDENCE_MAX]), vec![more]].concat(),
    }
}

fn link(f: &Facts, public_url: &str) -> Option<String> {
    let (what, id) = (f.target.0.as_str(), f.target.1);
    let path = match (what, f.what) {
        (_, What::Test) => format!("/notifications/{id}"),
        ("server", _) if f.kind != "server.deleted" => format!("/servers/{id}"),
        ("domain", _) if f.kind != "domain.deleted" => format!("/domains/{id}"),
        ("notification", _) => format!("/notifications/{id}"),
        ("task", _) => format!("/tasks/{id}"),
        ("container", _) => format!("/containers/{id}"),
        ("service", _) if f.kind != "service.deleted" => format!("/service/{id}"),
        _ if f.alert > 0 => "/alerts".into(),
        _ => String::from("/"),
    };
    (!public_url.is_empty()).then(|| format!("{public_url}{path}"))
}

fn mark(f: &Facts) -> &'static str {
    match (f.what, f.level) {
        (What::Resolved, _) => "🟢",
        (What::Test, _) | (_, Level::Info) => "🔵",
        (_, Level::Warning) => "🟡",
        (_, Level::Error) => "🟠",
        (_, Level::Critical) => "🔴",
    }
}

fn tag(f: &Facts) -> &'static str {
    match f.what {
        What::Resolved => "OK",
        What::Test => "TEST",
        What::Raised | What::Event => f.level.name(),
    }
}

fn when(to: &Locale, at: Ms) -> String {
    instant(to, at).replace('\u{a0}', " ")
}

fn say(lang: Lang, id: &str, values: &[(&str, &str)]) -> String {
    words::filled(words::word(lang, id, None).unwrap_or(id), values)
}

fn counted(lang: Lang, id: &str, n: i64, values: &[(&str, &str)]) -> String {
    let text = words::word(lang, id, Some(n)).unwrap_or(id);
    let n = n.to_string();
    words::filled(text, &[values, &[("n", &*n)]].concat())
}

impl Message {
    /// Without markup; limits count this.
    pub fn plain(&self) -> String {
        self.with(str::to_string, str::to_string, str::to_string)
    }

    /// Everything below the title, without the link.
    pub fn below(&self) -> String {
        let gap = (!self.lines.is_empty() && !self.evidence.is_empty()).then(String::new);
        let all = self.lines.iter().chain(&gap).chain(&self.evidence);
        all.map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// Renders the message; the functions convert title, text and raw text to a channel's markup.
    pub fn with(
        &self,
        title: impl Fn(&str) -> String,
        text: impl Fn(&str) -> String,
        raw: impl Fn(&str) -> String,
    ) -> String {
        let mut out = format!("{} {}", self.mark, title(&self.title));
        for line in &self.lines {
            out.push('\n');
            out.push_str(&text(line));
        }
        if !self.evidence.is_empty() {
            out.push('\n');
        }
        for line in &self.evidence {
            out.push('\n');
            out.push_str(&raw(line));
        }
        if let Some(link) = &self.link {
            out.push_str("\n\n");
            out.push_str(&text(link));
        }
        out
    }

    /// Shortens to at most `max` UTF-16 units of plain text: evidence first, from its end, then sentences, then the
    /// title. The link is kept as long as possible.
    pub fn fit(&self, max: usize) -> Message {
        let mut small = self.clone();
        let long = |m: &Message| units(&m.plain()) > max;
        while long(&small) && small.evidence.pop().is_some() {}
        if small.evidence.len() < self.evidence.len() {
            // Replaces what does not fit; dropped if even this does not fit.
            small.evidence.push("…".into());
            if long(&small) {
                small.evidence.pop();
            }
        }
        while long(&small) && small.lines.pop().is_some() {}
        if long(&small) {
            small.link = None;
        }
        if long(&small) {
            let over = units(&small.plain()) - max;
            let left = units(&small.title).saturating_sub(over);
            small.title = cut_units(&small.title, left);
        }
        small
    }
}

/// Length of a text in UTF-16 units, as Telegram counts.
pub fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// At most `max` UTF-16 units, cut at a character; cut text ends with `…`.
pub fn cut_units(text: &str, max: usize) -> String {
    if units(text) <= max {
        return text.into();
    }
    let mut left = max.saturating_sub(1); // for the ellipsis
    let mut out: String = (text.chars())
        .take_while(|c| {
            let fits = c.len_utf16() <= left;
            left = if fits { left - c.len_utf16() } else { 0 };
            fits
        })
        .collect();
    if max > 0 {
        out.push('…');
    }
    out
}
