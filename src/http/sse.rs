//! Live views. A handler that wants to stream offers a [`Source`] here and answers with the ticket in the header
//! [`STREAM_HEADER`]; the edge takes the source and serves it on the client's connection, many to a thread. So a stream
//! costs no thread of its own, and a slow client only its own connection.
//!
//! The rows are the truth: a source reads what came after its last id; that something moved is only the hint to look.

use crate::base::clock::{self, Duration, Instant};
use crate::base::error::{Error, Kind, Result};
use crate::base::random;
use std::collections::HashMap;
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
    /// with its last id.
    fn fill(&mut self, out: &mut Vec<u8>) -> Result<Flow>;

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

/// Good for one stream, for ten seconds.
pub type Ticket = String;

/// All streams: those offered and those being served. Clones share them.
#[derive(Clone)]
pub struct Streams(Arc<Registry>);

struct Registry {
    total_max: usize,
    per_owner_max: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    offered: HashMap<Ticket, Offer>,
    served: HashMap<u64, Served>,
    per_owner: HashMap<i64, usize>,
    total: usize,
    last_id: u64,
    closing: bool,
}

struct Offer {
    owner: i64,
    source: Box<dyn Source>,
    until: Instant,
    over: Arc<AtomicBool>,
}

struct Served {
    owner: i64,
    over: Arc<AtomicBool>,
}

impl Streams {
    /// So many at once, and so many of one owner.
    pub fn new(total_max: usize, per_owner_max: usize) -> Streams {
        Streams(Arc::new(Registry {
            total_max,
            per_owner_max,
            table: Mutex::default(),
        }))
    }

    /// Offers a stream to the user `owner`; the ticket goes into [`STREAM_HEADER`].
    pub fn offer(&self, owner: i64, source: Box<dyn Source>) -> Result<Ticket> {
        let now = clock::mono();
        // Declared first, so dropped after the lock is free: what a source does on its way out is its own affair.
        let _late;
        let mut table = self.table();
        _late = table.expire(now);
        if table.closing || table.total >= self.0.total_max {
            return Err(Error::new(
                Kind::Busy,
                "too_many_streams",
                "All live views are taken. Try again in a moment.",
            ));
        }
        let of_owner = table.per_owner.entry(owner).or_default();
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
        let until = now + TICKET_LIFE;
        let over = Arc::new(AtomicBool::new(false));
        let offer = Offer {
            owner,
            source,
            until,
            over,
        };
        table.offered.insert(ticket.clone(), offer);
        drop(table);
        Ok(ticket)
    }

    /// Takes the offered stream, once.
    pub(super) fn take(&self, ticket: &str) -> Option<Stream> {
        let _late;
        let mut table = self.table();
        _late = table.expire(clock::mono());
        let Offer {
            owner, source, over, ..
        } = table.offered.remove(ticket)?;
        table.last_id += 1;
        let id = table.last_id;
        let served = Served {
            owner,
            over: Arc::clone(&over),
        };
        table.served.insert(id, served);
        drop(table);
        Some(Stream {
            source,
            over,
            owner,
            id,
            streams: self.clone(),
        })
    }

    /// Ends all streams of one owner (signed out, blocked, rights changed); the browser comes back and is asked who it
    /// is.
    pub fn end_of(&self, owner: i64) {
        self.end(|of| of == owner);
    }

    /// Ends all streams and takes no more: the daemon stops.
    pub fn close(&self) {
        self.table().closing = true;
        self.end(|_| true);
    }

    fn end(&self, of: impl Fn(i64) -> bool) {
        let table = self.table();
        for offer in table.offered.values().filter(|o| of(o.owner)) {
            offer.over.store(true, Ordering::SeqCst); // its first look at itself will be its last
        }
        for served in table.served.values().filter(|s| of(s.owner)) {
            served.over.store(true, Ordering::SeqCst);
        }
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
            self.give_back(offer.owner);
        }
        late
    }

    fn give_back(&mut self, owner: i64) {
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
    /// Where the frames come from.
    pub(super) source: Box<dyn Source>,
    over: Arc<AtomicBool>,
    owner: i64,
    id: u64,
    streams: Streams,
}

impl Stream {
    /// Has somebody ended it?
    pub(super) fn over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut table = self.streams.table();
        table.served.remove(&self.id);
        table.give_back(self.owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Quiet;

    impl Source for Quiet {
        fn fill(&mut self, _: &mut Vec<u8>) -> Result<Flow> {
            Ok(Flow::More)
        }
        fn moved(&self) -> u64 {
            0
        }
    }

    fn quiet() -> Box<dyn Source> {
        Box::new(Quiet)
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
    fn who_signs_out_loses_the_views_on_their_way_too() {
        let streams = Streams::new(9, 9);
        let (mine, theirs) = (streams.offer(1, quiet()).unwrap(), streams.offer(2, quiet()).unwrap());
        streams.end_of(1);
        assert!(streams.take(&mine).unwrap().over());
        assert!(!streams.take(&theirs).unwrap().over());
    }

    #[test]
    fn a_ticket_is_good_for_one_stream() {
        let streams = Streams::new(9, 9);
        let ticket = streams.offer(1, quiet()).unwrap();
        assert!(streams.take("other").is_none());
        let stream = streams.take(&ticket);
        assert!(stream.is_some() && streams.take(&ticket).is_none());
        assert_eq!(streams.taken(), 1);
        drop(stream);
        assert_eq!(streams.taken(), 0);
        assert!(streams.table().per_owner.is_empty());
    }

    #[test]
    fn an_old_ticket_is_worth_nothing_and_gives_its_place_back() {
        let streams = Streams::new(1, 1);
        let ticket = streams.offer(1, quiet()).unwrap();
        assert!(streams.offer(2, quiet()).is_err());
        drop(streams.table().expire(clock::mono() + TICKET_LIFE * 2));
        assert!(streams.take(&ticket).is_none());
        assert!(streams.offer(2, quiet()).is_ok());
    }

    #[test]
    fn caps_tell_whose_fault_it_is() {
        let streams = Streams::new(3, 2);
        let tickets: Vec<_> = [1, 1, 2].map(|owner| streams.offer(owner, quiet()).unwrap()).into();
        assert_eq!(streams.offer(2, quiet()).unwrap_err().kind, Kind::Busy);
        drop(streams.take(&tickets[2]));
        assert_eq!(streams.offer(1, quiet()).unwrap_err().kind, Kind::TooMany(RETRY_S));
        assert!(streams.offer(2, quiet()).is_ok());
    }

    #[test]
    fn streams_end_by_owner_or_all_at_once() {
        let streams = Streams::new(9, 9);
        let [a, b] = [1, 2].map(|owner| streams.take(&streams.offer(owner, quiet()).unwrap()).unwrap());
        streams.end_of(2);
        assert!(!a.over() && b.over());
        streams.close();
        assert!(a.over());
        assert!(streams.offer(3, quiet()).is_err());
    }
}
