//! Scope and duration of silences.

use crate::base::clock::{self, DAY, HOUR, Ms};
use crate::base::error::{Kind, Result};
use crate::base::id::{self, Id};
use crate::db::Conn;
use crate::features::fleet::servers;
use crate::features::proxy::domains;
use crate::features::proxy::sitewatch;
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::kinds;

/// Maximum length; longer ones should be changes of rules.
pub const LENGTH_MAX: Ms = 90 * DAY;
/// How far ahead a window can be planned.
const AHEAD_MAX: Ms = 365 * DAY;

/// Scope of a silence; all given conditions must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Kind of alerts; empty: any.
    pub kind: String,
    /// Tag of servers; empty: any.
    pub tag: String,
    /// A server, and what depends on it alone.
    pub server: Option<Id<id::Server>>,
    /// One domain.
    pub domain: Option<Id<id::Domain>>,
    /// Domains of a group.
    pub group: Option<Id<id::Group>>,
}

impl Scope {
    /// The object of the scope, by type and id; `None`: a tag, or everything.
    pub fn target(&self) -> Option<(&'static str, i64)> {
        let server = self.server.map(|id| ("server", id.get()));
        let domain = self.domain.map(|id| ("domain", id.get()));
        let group = self.group.map(|id| ("group", id.get()));
        server.or(domain).or(group)
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

/// Accepted fields of a draft.
pub const PARAMS: &[Param] = &[
    param::text("kind", 4_096, "Alerts of this kind; empty: any."),
    param::text("tag", 64, "About servers with this tag."),
    param::link("server_id", "About this server."),
    param::link("domain_id", "About this domain."),
    param::link("group_id", "About the domains of this group."),
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
    let scope = Scope {
        kind: kind.unwrap_or_default(),
        tag: i.text("tag").unwrap_or_default(),
        server: i.link("server_id").flatten(),
        domain: i.link("domain_id").flatten(),
        group: i.link("group_id").flatten(),
    };
    let everything = i.flag("everything").unwrap_or(false);
    let names = ["kind", "tag", "server_id", "domain_id", "group_id"];
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

/// The subject of an alert, for silences and causes.
#[derive(Debug, Default)]
pub struct Subject {
    /// The alert's kind.
    pub kind: String,
    /// Servers that it depends on, with tags: it cannot be resolved while all of them are down.
    pub servers: Vec<(Id<id::Server>, Vec<String>)>,
    /// The domain.
    pub domain: Option<Id<id::Domain>>,
    /// Its group.
    pub group: Option<Id<id::Group>>,
}

impl Subject {
    /// The subject of an alert of this kind for this target, by type and id.
    pub fn of(conn: &Conn, kind: &str, target: (&str, i64)) -> Result<Subject> {
        let mut subject = Subject {
            kind: kind.into(),
            ..Subject::default()
        };
        let mut on = Vec::new();
        match target.0 {
            "server" => on.push(Id::new(target.1)),
            "domain" => {
                let id = Id::new(target.1);
                subject.domain = Some(id);
                if let Some(domain) = domains::find(conn, id)? {
                    subject.group = domain.fields.group_id;
                    let lies = domain.sites.iter().any(|s| !s.name.is_empty());
                    let sites = domain.sites.iter().filter(|s| !lies || !s.name.is_empty());
                    on.extend(sites.map(|s| s.server));
                }
                if kind == sitewatch::DARK {
                    // It is about the servers where it does not answer.
                    let dark = sitewatch::dark_on(conn, id)?;
                    on.retain(|server| dark.is_empty() || dark.contains(server));
                }
                if kind.starts_with("ns.") {
                    on.clear(); // name servers are not our servers
                }
            }
            _ => {}
        }
        for id in on {
            match servers::get(conn, id) {
                Ok(server) => subject.servers.push((id, server.fields.tags)),
                Err(e) if e.kind == Kind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(subject)
    }
}

impl Scope {
    /// Is such an alert covered? If it is on several servers, all must be covered.
    pub fn covers(&self, subject: &Subject) -> bool {
        let servers = &subject.servers;
        let lies = !servers.is_empty();
        let same_tag = |tag: &String| tag.to_lowercase() == self.tag.to_lowercase();
        (self.kind.is_empty() || self.kind == subject.kind)
            && (self.tag.is_empty() || (lies && servers.iter().all(|(_, tags)| tags.iter().any(same_tag))))
            && self
                .server
                .is_none_or(|wanted| lies && servers.iter().all(|(id, _)| *id == wanted))
            && (self.domain.is_none() || self.domain == subject.domain)
            && (self.group.is_none() || self.group == subject.group)
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

    #[test]
    fn what_lies_on_two_servers_is_silent_when_both_are() {
        let on = |ids: &[(i64, &str)]| Subject {
            kind: "certificate.bad".into(),
            servers: ids
                .iter()
                .map(|(id, tag)| (Id::new(*id), vec![tag.to_string()]))
                .collect(),
            domain: Some(Id::new(7)),
            group: None,
        };
        let server = Scope {
            server: Some(Id::new(1)),
            ..Scope::default()
        };
        assert!(server.covers(&on(&[(1, "")])) && !server.covers(&on(&[(1, ""), (2, "")])) && !server.covers(&on(&[])));
        let tag = Scope {
            tag: "PROD".into(),
            ..Scope::default()
        };
        assert!(tag.covers(&on(&[(1, "prod"), (2, "Prod")])) && !tag.covers(&on(&[(1, "prod"), (2, "test")])));
        let both = Scope {
            kind: "certificate.bad".into(),
            domain: Some(Id::new(7)),
            ..Scope::default()
        };
        assert!(
            both.covers(&on(&[]))
                && !Scope {
                    kind: "ns.mismatch".into(),
                    ..both.clone()
                }
                .covers(&on(&[]))
        );
        assert!(
            !Scope {
                group: Some(Id::new(1)),
                ..both
            }
            .covers(&on(&[]))
                && Scope::default().covers(&Subject::default())
        );
    }
}
