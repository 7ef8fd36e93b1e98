//! A JSON answer as a stream: first whole, then its changes, about a second after each commit. Only routes marked
//! [`live`](super::route::Route) can be streamed: their answers do not wait and are cheap to repeat.

use super::request::{self, Method, Request};
use super::route::{self, Ctx, Web};
use super::sse::{Event, Flow, Source};
use crate::access::Actor;
use crate::base::clock::{self, Instant};
use crate::base::error::{Error, Kind, Result};
use crate::form;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// Event with the answer or its changes.
pub const DATA: Event<serde_json::Value> = Event::named("data");

/// One client's stream of one answer. Its events: `data`, the answer; of a list `{"items","total","gone"}` with new or
/// changed items and the ids of removed ones.
pub struct LiveQuery {
    web: Arc<Web>,
    request: Request,
    /// Versions of both databases at the last answer.
    versions: Option<(i64, i64)>,
    known: Snapshot,
    /// Changes not sent yet.
    pending: Option<String>,
    began: Instant,
}

impl LiveQuery {
    /// Streams the answer of `of` (path and query) for this actor. Errors: those of that answer; `not_live`.
    pub fn new(ctx: &Ctx, of: &str) -> Result<LiveQuery> {
        let (path, query) = of.split_once('?').unwrap_or((of, ""));
        let unreadable = || {
            Error::new(
                Kind::Malformed,
                "bad_address",
                "`of` is the address of an answer: /api/servers",
            )
        };
        let request = Request {
            method: Method::Get,
            segments: request::segments(path).ok_or_else(unreadable)?,
            query: form::body::pairs(query).ok_or_else(unreadable)?,
            headers: Vec::new(),
            body: Vec::new(),
            upload: None,
            ip: ctx.request.ip.clone(),
            local: ctx.request.local,
            tls: ctx.request.tls,
            is_listed_origin: ctx.request.is_listed_origin,
            id: ctx.request.id.clone(),
            client_id: ctx.request.client_id.clone(),
            control: ctx.request.control,
        };
        let mut query = LiveQuery {
            web: ctx.web.clone(),
            request,
            versions: None,
            known: Snapshot::default(),
            pending: None,
            began: clock::mono(),
        };
        query.refresh(ctx.actor()?)?;
        Ok(query)
    }

    /// Makes the answer again after a commit, and stores the changes.
    fn refresh(&mut self, by: &Actor) -> Result<()> {
        // Read before the answer is made: a commit in between makes it outdated.
        let versions = Some(self.web.app.versions()?);
        if self.versions == versions {
            return Ok(());
        }
        let found = self.web.routes.find(Method::Get, &self.request.segments)?;
        if !found.route.live {
            let say = "This answer cannot be watched. Ask for it when you need it.";
            return Err(Error::new(Kind::Invalid, "not_live", say));
        }
        let reply = route::answer(&self.web, &self.request, found, Some(by.clone()))?;
        self.versions = versions;
        self.pending = self.known.changes(&reply.body)?;
        Ok(())
    }
}

impl Source for LiveQuery {
    fn fill(&mut self, by: &Actor, out: &mut Vec<u8>) -> Result<Flow> {
        if self.pending.is_none() {
            self.refresh(by)?;
        }
        if let Some(changes) = self.pending.take() {
            DATA.frame_made(out, None, &changes);
        }
        Ok(Flow::More)
    }

    /// Changes every second.
    fn moved(&self) -> u64 {
        self.began.elapsed().as_secs()
    }
}

/// The client's state: a hash of the whole answer, and of each item of a list.
#[derive(Default)]
struct Snapshot {
    hash: RandomState,
    whole: Option<u64>,
    items: HashMap<i64, u64>,
}

#[derive(Deserialize, Serialize)]
struct List<'a> {
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
    total: i64,
    #[serde(default)]
    gone: Vec<i64>,
}

#[derive(Deserialize)]
struct Item {
    id: i64,
}

impl Snapshot {
    fn changes(&mut self, body: &[u8]) -> Result<Option<String>> {
        let whole = Some(self.hash.hash_one(body));
        if self.whole == whole {
            return Ok(None);
        }
        self.whole = whole;
        let Ok(mut list) = serde_json::from_slice::<List>(body) else {
            return Ok(Some(String::from_utf8_lossy(body).into_owned()));
        };
        let (mut items, mut new) = (HashMap::with_capacity(list.items.len()), Vec::new());
        for item in list.items {
            let Item { id } = serde_json::from_str(item.get()).map_err(Error::internal)?;
            let hash = self.hash.hash_one(item.get());
            if self.items.remove(&id) != Some(hash) {
                new.push(item);
            }
            items.insert(id, hash);
        }
        list.items = new;
        list.gone = self.items.keys().copied().collect();
        self.items = items;
        serde_json::to_string(&list).map(Some).map_err(Error::internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_told_whole_and_then_by_what_has_changed() {
        let mut known = Snapshot::default();
        let mut changes = |body: &str| known.changes(body.as_bytes()).unwrap();
        let whole = r#"{"items":[{"id":2,"a":1},{"id":1,"a":1}],"total":2}"#;
        let first = r#"{"items":[{"id":2,"a":1},{"id":1,"a":1}],"total":2,"gone":[]}"#;
        assert_eq!(changes(whole).as_deref(), Some(first), "in its order");
        assert_eq!(changes(whole), None);
        let next = r#"{"items":[{"id":3,"a":1},{"id":1,"a":1}],"total":9}"#;
        assert_eq!(
            changes(next).as_deref(),
            Some(r#"{"items":[{"id":3,"a":1}],"total":9,"gone":[2]}"#)
        );
    }

    #[test]
    fn anything_else_is_told_whole_when_it_has_changed() {
        let mut known = Snapshot::default();
        assert_eq!(known.changes(br#"{"id":1}"#).unwrap().as_deref(), Some(r#"{"id":1}"#));
        assert_eq!(known.changes(br#"{"id":1}"#).unwrap(), None);
        assert_eq!(known.changes(br#"{"id":2}"#).unwrap().as_deref(), Some(r#"{"id":2}"#));
    }
}
