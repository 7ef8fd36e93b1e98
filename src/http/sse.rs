//! Server-sent events. A handler offers a [`Source`] and answers with its ticket in the header [`STREAM_HEADER`]; the
//! edge takes the source and serves it on the client's connection, many per thread. So a stream needs no own thread,
//! and a slow client delays only itself.
//!
//! Sources read rows after their last id; the wake is only a hint. The reader's right is checked repeatedly
//! ([`Standing`]): a stream ends with its sign-in.

use crate::access::{Actor, Standing};
use crate::base::clock::{self, Duration, Instant};
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{Id, User};
use crate::base::random;
use crate::base::shape::{Described, Shape};
use serde::Serialize;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Response header that hands a stream to the edge.
pub const STREAM_HEADER: &str = "X-Lamplighter-Stream";

/// The same for a download: what is sent is the bytes that the source makes, and the end of them is the end.
pub const DOWNLOAD_HEADER: &str = "X-Lamplighter-Download";

/// Validity of a ticket; the edge uses it at once.
const TICKET_LIFE: Duration = Duration::from_secs(10);

/// Retry-After of refused streams in seconds.
const RETRY_S: u32 = 10;

/// A batch of this size is sent without collecting more.
pub const BATCH: usize = 16 << 10;

/// Whether a source has more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Continue at the next wake, or at once after a batch.
    More,
    /// Send what was written, then end.
    End,
}

/// A client's view of growing data.
pub trait Source: Send {
    /// Appends frames ([`frame`]) of new data; may append nothing. About [`BATCH`] bytes are enough: the next call
    /// follows when they are sent. An error ends the stream, and the browser reconnects with its last id. `by` is the
    /// reader's current state.
    fn fill(&mut self, by: &Actor, out: &mut Vec<u8>) -> Result<Flow>;

    /// Changes when there may be more; called often.
    fn moved(&self) -> u64;
}

/// Appends one event. Line ends in `data` become further `data:` lines (browsers join them by LF), in `event` they are
/// dropped.
pub fn frame(out: &mut Vec<u8>, id: Option<i64>, event: &str, data: &str) {
    if let Some(id) = id {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(id.to_string().as_bytes());
        out.push(b'\n');
    }
    if !event.is_empty() {
        out.extend_from_slice(b"event: ");
        out.extend(event.bytes().filter(|b| !b.is_ascii_control()));
        out.push(b'\n');
    }
    let mut rest = data;
    loop {
        let (line, more) = match rest.find(['\r', '\n']) {
            Some(at) => (
                &rest[..at],
                Some(&rest[at + 1 + usize::from(rest[at..].starts_with("\r\n"))..]),
            ),
            None => (rest, None),
        };
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
        match more {
            Some(more) => rest = more,
            None => break,
        }
    }
    out.push(b'\n');
}

/// A kind of event: its name, and the type of its data.
pub struct Event<T>(&'static str, PhantomData<fn() -> T>);

impl<T: Described + Serialize> Event<T> {
    /// An event kind of this name.
    pub const fn named(name: &'static str) -> Event<T> {
        Event(name, PhantomData)
    }

    /// Appends an event ([`frame`]).
    pub fn frame(&self, out: &mut Vec<u8>, id: Option<i64>, data: &T) {
        // Our types have only text keys; other keys are the only cause of failure.
        let json = serde_json::to_string(data).unwrap_or_default();
        self.frame_made(out, id, &json);
    }

    /// Appends an event with JSON made before. A debug build checks it against the declared shape.
    pub fn frame_made(&self, out: &mut Vec<u8>, id: Option<i64>, json: &str) {
        #[cfg(debug_assertions)]
        if let Err(why) = serde_json::from_str(json).map_or_else(|e| Err(e.to_string()), |value| T::SHAPE.check(&value))
        {
            panic!("an event {} is not as declared: {why}", self.0);
        }
        frame(out, id, self.0, json);
    }

    /// For a route's declaration.
    pub const fn row(&self) -> (&'static str, &'static Shape) {
        (self.0, T::SHAPE)
    }
}

/// Ticket for one stream.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Ticket(String);

impl Ticket {
    /// Text for [`STREAM_HEADER`].
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// All streams, offered or served. Clones share them.
#[derive(Clone)]
pub struct Streams(Arc<Registry>);

struct Registry {
    total_max: usize,
    per_owner_max: usize,
    table: Mutex<Table>,
    closing: AtomicBool,
}

#[derive(Default)]
struct Table {
    offered: HashMap<String, Offer>,
    per_owner: HashMap<Id<User>, usize>,
    total: usize,
}

struct Offer {
    standing: Box<Standing>,
    source: Box<dyn Source>,
    until: Instant,
}

impl Streams {
    /// Limits: in total and per owner.
    pub fn new(total_max: usize, per_owner_max: usize) -> Streams {
        Streams(Arc::new(Registry {
            total_max,
            per_owner_max,
            table: Mutex::default(),
            closing: AtomicBool::new(false),
        }))
    }

    /// Offers a stream for this reader; the ticket goes into [`STREAM_HEADER`]. Errors: limits.
    pub fn offer(&self, standing: Standing, source: Box<dyn Source>) -> Result<Ticket> {
        let now = clock::mono();
        // Declared first, so dropped after the lock is released: a source's drop may take time.
        let _late;
        let mut table = self.table();
        _late = table.expire(now);
        if self.closing() || table.total >= self.0.total_max {
            return Err(Error::new(
                Kind::Busy,
                "too_many_streams",
                "All live views are taken. Try again in a moment.",
            ));
        }
        let of_owner = table.per_owner.entry(standing.actor().user()).or_default();
        if *of_owner >= self.0.per_owner_max {
            return Err(Error::new(
                Kind::TooMany(RETRY_S),
                "too_many_streams_of_user",
                "You have too many live views open. Close some tabs.",
            ));
        }
        *of_owner += 1;
        table.total += 1;
        let ticket = random::name();
        let offer = Offer {
            standing: Box::new(standing),
            source,
            until: now + TICKET_LIFE,
        };
        table.offered.insert(ticket.clone(), offer);
        drop(table);
        Ok(Ticket(ticket))
    }

    /// Takes an offered stream, once.
    pub(super) fn take(&self, ticket: &str) -> Option<Stream> {
        let _late;
        let mut table = self.table();
        _late = table.expire(clock::mono());
        let Offer { standing, source, .. } = table.offered.remove(ticket)?;
        drop(table);
        Some(Stream {
            source,
            standing,
            streams: self.clone(),
        })
    }

    /// Ends all streams and accepts no more.
    pub fn close(&self) {
        self.0.closing.store(true, Ordering::SeqCst);
    }

    fn closing(&self) -> bool {
        self.0.closing.load(Ordering::SeqCst)
    }

    /// Streams offered or served now.
    pub fn taken(&self) -> usize {
        self.table().total
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn expire(&mut self, now: Instant) -> Vec<Offer> {
        let late: Vec<Offer> = self
            .offered
            .extract_if(|_, offer| offer.until < now)
            .map(|(_, offer)| offer)
            .collect();
        for offer in &late {
            self.give_back(offer.standing.actor().user());
        }
        late
    }

    fn give_back(&mut self, owner: Id<User>) {
        self.total -= 1;
        if let Some(count) = self.per_owner.get_mut(&owner) {
            *count -= 1;
            if *count == 0 {
                self.per_owner.remove(&owner);
            }
        }
    }
}

/// A served stream; dropping it frees its slot.
pub(super) struct Stream {
    source: Box<dyn Source>,
    standing: Box<Standing>,
    streams: Streams,
}

impl Stream {
    /// Must it end? The reader is signed out, or may no longer see it.
    pub(super) fn over(&mut self) -> bool {
        self.streams.closing() || self.standing.ask().is_err()
    }

    /// As [`Source::fill`].
    pub(super) fn fill(&mut self, out: &mut Vec<u8>) -> Result<Flow> {
        self.source.fill(self.standing.ask()?, out)
    }

    /// As [`Source::moved`].
    pub(super) fn moved(&self) -> u64 {
        self.source.moved()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.streams.table().give_back(self.standing.actor().user());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::standing;

    struct Quiet;

    impl Source for Quiet {
        fn fill(&mut self, _: &Actor, _: &mut Vec<u8>) -> Result<Flow> {
            Ok(Flow::More)
        }
        fn moved(&self) -> u64 {
            0
        }
    }

    fn offer(streams: &Streams, owner: i64) -> Result<Ticket> {
        streams.offer(standing::tests::standing(owner), Box::new(Quiet))
    }

    #[test]
    fn no_text_breaks_out_of_its_frame() {
        let of = |id, event, data| {
            let mut out = Vec::new();
            frame(&mut out, id, event, data);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(of(Some(7), "log", "{}"), "id: 7\nevent: log\ndata: {}\n\n");
        assert_eq!(of(None, "", ""), "data: \n\n");
        assert_eq!(
            of(None, "a\nid: 9", "x\n\nevent: y\rz\r\né"),
            "event: aid: 9\ndata: x\ndata: \ndata: event: y\ndata: z\ndata: é\n\n"
        );
    }

    #[test]
    fn a_ticket_is_good_for_one_stream() {
        let streams = Streams::new(9, 9);
        let ticket = offer(&streams, 1).unwrap();
        assert!(streams.take("other").is_none());
        let stream = streams.take(&ticket.0);
        assert!(stream.is_some() && streams.take(&ticket.0).is_none());
        assert_eq!(streams.taken(), 1);
        drop(stream);
        assert_eq!(streams.taken(), 0);
        assert!(streams.table().per_owner.is_empty());
    }

    #[test]
    fn an_old_ticket_is_worth_nothing_and_gives_its_place_back() {
        let streams = Streams::new(1, 1);
        let ticket = offer(&streams, 1).unwrap();
        assert!(offer(&streams, 2).is_err());
        drop(streams.table().expire(clock::mono() + TICKET_LIFE * 2));
        assert!(streams.take(&ticket.0).is_none());
        assert!(offer(&streams, 2).is_ok());
    }

    #[test]
    fn caps_tell_whose_fault_it_is() {
        let streams = Streams::new(3, 2);
        let tickets = [1, 1, 2].map(|owner| offer(&streams, owner).unwrap());
        assert_eq!(offer(&streams, 2).unwrap_err().kind, Kind::Busy);
        drop(streams.take(&tickets[2].0));
        assert_eq!(offer(&streams, 1).unwrap_err().kind, Kind::TooMany(RETRY_S));
        assert!(offer(&streams, 2).is_ok());
    }

    #[test]
    fn closed_is_closed_for_those_who_are_there_and_those_who_come() {
        let streams = Streams::new(9, 9);
        let mut stream = streams.take(&offer(&streams, 1).unwrap().0).unwrap();
        assert!(!stream.over());
        streams.close();
        assert!(stream.over());
        assert!(offer(&streams, 1).is_err());
    }
}
