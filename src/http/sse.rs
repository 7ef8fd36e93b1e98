//! Live views. A handler that wants to stream offers a [`Source`] here and answers with the ticket in the header
//! [`STREAM_HEADER`]; the edge takes the source and serves it on the client's connection, many to a thread. So a stream
//! costs no thread of its own, and a slow client only its own connection.
//!
//! The rows are the truth: a source reads what came after its last id; that something moved is only the hint to look.
//! Who looks is asked for again and again ([`Standing`]): a stream ends with the sign-in that opened it.

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

/// The answer's header that hands a stream over to the edge.
pub const STREAM_HEADER: &str = "X-Lamplighter-Stream";

/// How long a ticket waits for the edge, which comes within the same answer.
const TICKET_LIFE: Duration = Duration::from_secs(10);

/// What a caller turned away is told to wait, in seconds: about a page's life.
const RETRY_S: u32 = 10;

/// A batch of frames this long is sent on without gathering more: there is a backlog.
pub const BATCH: usize = 16 << 10;

/// May there be more?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Yes: look again at the next wake, or at once after a batch.
    More,
    /// No: what was written is sent, then the stream ends.
    End,
}

/// One client's view of something that grows.
pub trait Source: Send {
    /// Appends ready-made frames ([`frame`]) for what came after the last call; may append nothing. About [`BATCH`]
    /// bytes are enough: the next call follows when they are sent. An error ends the stream, and the browser comes back
    /// with its last id. `by` is who looks, as they are now.
    fn fill(&mut self, by: &Actor, out: &mut Vec<u8>) -> Result<Flow>;

    /// Moves when there may be more; looked at often.
    fn moved(&self) -> u64;
}

/// Appends one event. No text can break out of its field: line ends in `data` become further `data:` lines (the browser
/// joins them by line feeds), in `event` they are dropped.
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
    /// One of this name.
    pub const fn named(name: &'static str) -> Event<T> {
        Event(name, PhantomData)
    }

    /// Appends one ([`frame`]).
    pub fn frame(&self, out: &mut Vec<u8>, id: Option<i64>, data: &T) {
        // Our types have no keys that are no text, which alone fails.
        let json = serde_json::to_string(data).unwrap_or_default();
        frame(out, id, self.0, &json);
    }

    /// Appends one whose data was made before.
    pub fn frame_made(&self, out: &mut Vec<u8>, id: Option<i64>, json: &str) {
        frame(out, id, self.0, json);
    }

    /// For a route's declaration.
    pub const fn row(&self) -> (&'static str, &'static Shape) {
        (self.0, T::SHAPE)
    }
}

/// Good for one stream, for ten seconds.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Ticket(String);

impl Ticket {
    /// As it stands in [`STREAM_HEADER`].
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// All streams: those offered and those being served. Clones share them.
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
    /// So many at once, and so many of one owner.
    pub fn new(total_max: usize, per_owner_max: usize) -> Streams {
        Streams(Arc::new(Registry {
            total_max,
            per_owner_max,
            table: Mutex::default(),
            closing: AtomicBool::new(false),
        }))
    }

    /// Offers a stream to who stands there; the ticket goes into [`STREAM_HEADER`].
    pub fn offer(&self, standing: Standing, source: Box<dyn Source>) -> Result<Ticket> {
        let now = clock::mono();
        // Declared first, so dropped after the lock is free: what a source does on its way out is its own affair.
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

    /// Takes the offered stream, once.
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

    /// Ends all streams and takes no more: the daemon stops.
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

/// A stream being served; dropped, its place is free.
pub(super) struct Stream {
    source: Box<dyn Source>,
    standing: Box<Standing>,
    streams: Streams,
}

impl Stream {
    /// Shall it end? So for who is not signed in any more, or may not look any more.
    pub(super) fn over(&mut self) -> bool {
        self.streams.closing() || self.standing.ask().is_err()
    }

    /// See [`Source::fill`].
    pub(super) fn fill(&mut self, out: &mut Vec<u8>) -> Result<Flow> {
        self.source.fill(self.standing.ask()?, out)
    }

    /// See [`Source::moved`].
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
