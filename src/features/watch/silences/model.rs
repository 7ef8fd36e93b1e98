//! Scope and duration of silences.

use crate::app::App;
use crate::base::clock::{self, DAY, HOUR, Ms};
use crate::base::error::Result;
use crate::db::Conn;
use crate::features::fleet::scope::{self, SCOPE, Scope as Within};
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::kinds::{self, HangsOn, Related};

/// Maximum length; longer ones should be changes of rules.
pub const LENGTH_MAX: Ms = 90 * DAY;
/// How far ahead a window can be planned.
const AHEAD_MAX: Ms = 365 * DAY;

/// Scope of a silence; all given conditions must match.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scope {
    /// Kind of alerts; empty: any.
    pub kind: String,
    /// What it is narrowed to.
    pub within: Within,
    /// Things, by kind and number: at most one of each kind.
    pub targets: Vec<(String, i64)>,
}

impl Scope {
    /// The thing that decides who may have it, by type and number: the server, else the domain, else the group, else the
    /// other. `None`: it is about a tag, or everything.
    pub fn target(&self) -> Option<(&str, i64)> {
        self.targets.first().map(|(kind, id)| (kind.as_str(), *id))
    }
}

/// A validated silence.
#[derive(Debug)]
pub struct Valid {
    /// Scope.
    pub scope: Scope,
    /// Reason; may be empty.
    pub reason: String,
    /// Start, unix ms.
    pub starts_at: Ms,
    /// End, unix ms.
    pub ends_at: Ms,
}

/// The fields that name a thing of these kinds; of all others it is `target`.
pub const LINKS: [(&str, &str); 3] = [("server_id", "server"), ("domain_id", "domain"), ("group_id", "group")];

/// The field of a draft that names a thing of this kind.
pub fn field_of(kind: &str) -> &'static str {
    let link = LINKS.iter().find(|(_, of)| *of == kind);
    link.map_or("target", |(field, _)| field)
}

/// What a draft may bring.
pub const PARAMS: &[Param] = &[
    param::text("kind", 4_096, "Alerts of this kind; empty: any."),
    SCOPE,
    param::text("tag", 64, "About servers with this tag: short for a scope."),
    param::link("server_id", "About this server."),
    param::link("domain_id", "About this domain."),
    param::link("group_id", "About the domains or the servers of this group."),
    param::text(
        "target",
        100,
        "About this thing, of any kind that there are alerts about: `server:7`.",
    ),
    param::flag("everything", "About anything, where nothing else is named.").example("true"),
    param::text("reason", 500, "Why, on one line."),
    param::text(
        "starts_at",
        4_096,
        "In UTC, like 2026-01-02T03:04; now where it is left out.",
    ),
    param::text("ends_at", 4_096, "In UTC; or `hours`."),
    param::number("hours", 1..=LENGTH_MAX / HOUR, "Its length, in place of `ends_at`.").example("2"),
];

/// Fields of the answer that may be sent back unchanged.
const READ_ONLY: &[&str] = &[
    "id",
    "author",
    "state",
    "server",
    "domain",
    "group",
    "targets",
    "ended_at",
    "ended_by",
    "created_at",
];

/// Reads a draft. Its end is a time, or a number of hours after the start. Error: invalid fields.
pub fn read(mut input: Input, now: Ms) -> Result<Valid> {
    let i = &mut input;
    let kind = i.parse("kind", "bad_choice", |text| {
        match text.is_empty() || kinds::alert(text).is_some() {
            true => Ok(text.to_string()),
            false => Err("There are no alerts of this kind.".into()),
        }
    });
    let mut targets = Vec::new();
    for (field, kind) in LINKS {
        if let Some(id) = i.link::<()>(field).flatten() {
            targets.push((kind.to_string(), id.get()));
        }
    }
    if let Some(target) = i.parse("target", "bad_target", target).flatten() {
        match targets.iter().any(|(kind, _)| *kind == target.0) {
            true => i.wrong("target", "twice", "It names a second thing of one kind."),
            false => targets.push(target),
        }
    }
    let tag = i
        .text("tag")
        .map(|tag| ("tag", Some(tag).filter(|t| !t.is_empty()).into_iter().collect()));
    let scope = Scope {
        kind: kind.unwrap_or_default(),
        within: scope::read(i, &Within::default(), tag, None).unwrap_or_default(),
        targets,
    };
    let everything = i.flag("everything").unwrap_or(false);
    let names = ["kind", "tag", "scope", "server_id", "domain_id", "group_id", "target"];
    if scope == Scope::default() && !everything && !names.iter().any(|n| i.has_error(n)) {
        let say = "Say what is to be silent: a server, tag, domain, group or kind of alerts, or everything.";
        i.wrong("everything", "nothing_chosen", say);
    }
    if scope != Scope::default() && everything {
        i.wrong(
            "everything",
            "not_everything",
            "It is either everything or what is named, not both.",
        );
    }
    let reason = i.text("reason").unwrap_or_default();
    if reason.contains(char::is_control) {
        i.wrong("reason", "bad_text", "A reason is one line.");
    }
    let starts_at = i.parse("starts_at", "bad_time", time).unwrap_or(now);
    let ends_at = i.parse("ends_at", "bad_time", time);
    let hours = i.number("hours");
    let ends_at = match (ends_at, hours) {
        (Some(_), Some(_)) => {
            i.wrong("hours", "two_ends", "Give either an end or a number of hours.");
            None
        }
        (end, hours) => end.or(hours.map(|h| starts_at + h * HOUR)),
    };
    if starts_at > now + AHEAD_MAX {
        i.wrong("starts_at", "too_far", "A silence starts within a year.");
    }
    let fault = match ends_at {
        _ if i.has_error("ends_at") || i.has_error("hours") => None,
        None => Some(("required", "A silence has an end. Say when.")),
        Some(end) if end <= now || end <= starts_at => {
            Some(("too_early", "The end lies after now and after the start."))
        }
        Some(end) if end - starts_at > LENGTH_MAX => Some(("too_long", "A silence lasts at most 90 days.")),
        Some(_) => None,
    };
    if let Some((code, say)) = fault {
        i.wrong("ends_at", code, say);
    }
    input.finish(READ_ONLY)?;
    Ok(Valid {
        scope,
        reason,
        starts_at,
        ends_at: ends_at.unwrap_or(now),
    })
}

fn time(text: &str) -> std::result::Result<Ms, String> {
    clock::parse_utc(text).ok_or_else(|| "A time is like 2026-01-02T03:04, in UTC.".into())
}

/// `server:7`; nothing of nothing.
fn target(text: &str) -> std::result::Result<Option<(String, i64)>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let parts = text.split_once(':').and_then(|(kind, id)| {
        let kind = kinds::target_kind(kind)?.name.to_string();
        Some((kind, id.parse().ok().filter(|id| *id > 0)?))
    });
    parts
        .map(Some)
        .ok_or_else(|| "A target is a kind and a number, like server:7.".into())
}

/// What an alert is about, as silences and causes see it.
#[derive(Debug, Default)]
pub struct Subject {
    /// The alert's kind.
    pub kind: String,
    /// What it is about, and what that belongs to and stands on: while all servers among these are down it cannot be good.
    pub related: Vec<Related>,
}

impl Subject {
    /// The subject of an alert of this kind for this target, by type and id.
    pub fn of(conn: &Conn, kind: &str, target: (&str, i64)) -> Result<Subject> {
        let mut related = kinds::related(conn, target)?;
        let stands_on = |r: &Related| r.kind == SERVER && target.0 != SERVER;
        match kinds::alert(kind).map_or(HangsOn::All, |alert| alert.hangs_on) {
            HangsOn::All => {}
            HangsOn::None => related.retain(|r| !stands_on(r)),
            HangsOn::Some(which) => {
                let those = which(conn, target.1)?;
                related.retain(|r| !stands_on(r) || those.is_empty() || those.contains(&r.id));
            }
        }
        Ok(Subject {
            kind: kind.into(),
            related,
        })
    }

    /// The servers that it stands on.
    pub fn servers(&self) -> impl Iterator<Item = i64> {
        self.related.iter().filter(|r| r.kind == SERVER).map(|r| r.id)
    }
}

/// What other things stand on.
const SERVER: &str = "server";

impl Scope {
    /// The thing of this kind.
    pub fn of_kind(&self, kind: &str) -> Option<i64> {
        self.targets.iter().find(|(of, _)| of == kind).map(|(_, id)| *id)
    }

    /// Is such an alert meant? Of something that stands on several things of a kind: only when all of them are meant.
    pub fn covers(&self, app: &App, conn: &Conn, subject: &Subject) -> Result<bool> {
        let related = &subject.related;
        let meant = |(kind, id): &(String, i64)| {
            let mut same = related.iter().filter(|r| r.kind == kind).peekable();
            same.peek().is_some() && same.all(|r| r.id == *id)
        };
        let of_group = |(kind, _): &&(String, i64)| kind == "group";
        if !(self.kind.is_empty() || self.kind == subject.kind)
            || !self.targets.iter().filter(|target| !of_group(target)).all(meant)
        {
            return Ok(false);
        }
        for (_, id) in self.targets.iter().filter(of_group) {
            if !Within::in_groups(&[*id]).covers(app, conn, related)? {
                return Ok(false);
            }
        }
        self.within.covers(app, conn, related)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn draft(fields: serde_json::Value) -> Result<Valid> {
        read(Input::of(PARAMS, fields.as_object().unwrap().clone()), 1_000 * DAY)
    }

    #[test]
    fn a_silence_is_about_something_and_has_an_end() {
        kinds::join(crate::features::proxy::nswatch::FEATURE.kinds);
        let now = 1_000 * DAY;
        let good = draft(json!({ "tag": "prod", "hours": "4" })).unwrap();
        assert_eq!((good.starts_at, good.ends_at), (now, now + 4 * HOUR));
        let good = draft(json!({ "everything": true, "starts_at": clock::rfc3339(now + DAY), "ends_at": clock::rfc3339(now + 2 * DAY) })).unwrap();
        assert_eq!((good.scope, good.ends_at - good.starts_at), (Scope::default(), DAY));
        for (fields, wrong) in [
            (json!({ "hours": "1" }), "everything"),
            (
                json!({ "everything": "on", "kind": "ns.mismatch", "hours": "1" }),
                "everything",
            ),
            (json!({ "kind": "no.such", "hours": "1" }), "kind"),
            (json!({ "target": "server", "hours": "1" }), "target"),
            (json!({ "target": "ghost:1", "hours": "1" }), "target"),
            (json!({ "everything": true }), "ends_at"),
            (json!({ "everything": true, "hours": "2161" }), "hours"),
            (json!({ "everything": true, "hours": "0" }), "hours"),
            (json!({ "everything": true, "ends_at": "tomorrow" }), "ends_at"),
            (json!({ "everything": true, "ends_at": "1990-01-01T00:00" }), "ends_at"),
            (
                json!({ "everything": true, "ends_at": clock::rfc3339(now + 91 * DAY) }),
                "ends_at",
            ),
            (
                json!({ "everything": true, "ends_at": clock::rfc3339(now + DAY), "hours": "1" }),
                "hours",
            ),
            (
                json!({ "everything": true, "starts_at": clock::rfc3339(now + 366 * DAY), "hours": "1" }),
                "starts_at",
            ),
        ] {
            let refused = draft(fields.clone()).expect_err("was taken");
            assert!(refused.fields.iter().any(|f| f.field == wrong), "{fields}: {refused:?}");
        }
    }
}
