//! The sending services: one for each receiver, so that neither waits for the other.

use super::reading::Run;
use super::target::Target;
use super::{AGAIN, BEHIND, loki, syslog};
use crate::app::App;
use crate::base::clock::{self, Duration, Instant, Ms, SECOND, rfc3339};
use crate::base::error::Result;
use crate::base::exposition::{Kind, Text};
use crate::events::outbox;
use crate::journal::Reader;
use crate::schedule::service::{Service, ServiceRun};

/// Health reports a round that takes longer.
const EVERY: Duration = Duration::from_secs(60);
/// Pause while nothing is set.
const UNSET: Duration = Duration::from_secs(5);
/// Pause before new lines are looked for.
const PAUSE: Duration = Duration::from_millis(500);
/// First pause after a failure; it doubles.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// Longest pause.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Failing for so long is an alert.
const BEHIND_AFTER: Ms = 120 * SECOND;

/// One for each receiver.
pub const SERVICES: &[Service] = &[
    Service {
        name: "forward.syslog",
        every: EVERY,
        prepare: |_| Ok(()),
        run: |run| serve(run, Target::Syslog),
    },
    Service {
        name: "forward.loki",
        every: EVERY,
        prepare: |_| Ok(()),
        run: |run| serve(run, Target::Loki),
    },
];

/// When a receiver that failed is tried again.
#[derive(Default)]
struct Retry {
    pause: Duration,
    at: Option<Instant>,
}

fn serve(run: &ServiceRun, target: Target) -> Result<()> {
    let mut retry = Retry::default();
    run.rounds(&run.app.wakes.events, || {
        let left = retry.at.map(|at| at.saturating_duration_since(clock::mono()));
        match left.filter(|left| !left.is_zero()) {
            Some(left) => Ok(Some(left)),
            None => round(run, target, &mut retry).map(Some),
        }
    });
    Ok(())
}

/// Sends what there is; returns the pause until the next round.
fn round(run: &ServiceRun, target: Target, retry: &mut Retry) -> Result<Duration> {
    let (app, name) = (run.app, target.name());
    let Some(place) = target.place(app)? else {
        if let Some(reader) = app.journal.reader(name)? {
            over(app, target, &reader)?;
            app.journal.set_reader(name, None)?;
        }
        return Ok(UNSET);
    };
    let known = app.journal.reader(name)?;
    let reader = match known {
        Some(reader) if reader.place == place.text => reader,
        other => {
            other.map_or(Ok(()), |reader| over(app, target, &reader))?;
            let reader = Reader {
                place: place.text.clone(),
                last: app.journal.newest_id(), // begins now
                ..Reader::default()
            };
            app.journal.set_reader(name, Some(&reader))?;
            reader
        }
    };
    let mut reading = Run::new(run, target, reader);
    let sent = match target {
        Target::Syslog => syslog::send(&mut reading, &place),
        Target::Loki => loki::send(&mut reading, &place),
    };
    let mut reader = reading.reader.clone();
    match sent {
        Ok(()) => {
            *retry = Retry::default();
            if !reader.fault.is_empty() {
                over(app, target, &reader)?;
                (reader.fault, reader.since, reader.told) = (String::new(), 0, false);
                reading.taken(reader)?;
            }
            Ok(PAUSE)
        }
        Err(e) => {
            retry.pause = (retry.pause * 2).clamp(RETRY_MIN, RETRY_MAX);
            retry.at = Some(clock::mono() + retry.pause);
            if reader.fault.is_empty() {
                reader.since = clock::now();
            }
            reader.fault.clone_from(&e.say);
            if !reader.told && clock::now() - reader.since >= BEHIND_AFTER {
                tell(app, target, &reader)?;
                reader.told = true;
            }
            if reader != reading.reader {
                reading.taken(reader)?;
            }
            Ok(retry.pause)
        }
    }
}

fn tell(app: &App, target: Target, reader: &Reader) -> Result<()> {
    let waiting = app.journal.newest_id() - reader.last;
    let evidence = [
        format!("{} {}", rfc3339(reader.since), reader.fault),
        format!(
            "{waiting} lines wait. They are kept as long as the logs are; so far {} were lost.",
            reader.missed
        ),
    ];
    let data = serde_json::json!({ "name": reader.place, "part": target.name(), "evidence": evidence });
    emit(app, BEHIND, &data)
}

/// A receiver takes lines again, or is none any more: ends what was told.
fn over(app: &App, target: Target, reader: &Reader) -> Result<()> {
    if !reader.told {
        return Ok(());
    }
    let data = serde_json::json!({ "name": reader.place, "part": target.name(), "missed": reader.missed });
    emit(app, AGAIN, &data)
}

fn emit(app: &App, kind: &'static str, data: &serde_json::Value) -> Result<()> {
    app.db
        .write(|tx| outbox::emit(tx, &app.wakes.events, kind, ("controller", 0), data))
}

/// How it stands with a receiver.
pub struct Standing {
    /// Which.
    pub target: Target,
    /// Its address.
    pub place: String,
    /// Lines that wait.
    pub waiting: i64,
    /// Lines that it has taken.
    pub taken: i64,
    /// Lines that it will never get.
    pub missed: i64,
    /// Why it takes none now; empty: it takes them.
    pub fault: String,
}

/// How it stands with all receivers that are set.
pub fn standing(app: &App) -> Result<Vec<Standing>> {
    let mut out = Vec::new();
    for target in Target::ALL {
        let place = app.db.read(|conn| target.address(conn))?;
        if place.is_empty() {
            continue;
        }
        let reader = app
            .journal
            .reader(target.name())?
            .filter(|reader| reader.place == place);
        let newest = app.journal.newest_id();
        let reader = reader.unwrap_or_else(|| Reader {
            last: newest,
            ..Reader::default()
        });
        out.push(Standing {
            target,
            place,
            waiting: (newest - reader.last).max(0),
            taken: reader.taken,
            missed: reader.missed,
            fault: reader.fault,
        });
    }
    Ok(out)
}

/// Name, kind, help, and what of a receiver it tells.
type Family = (&'static str, Kind, &'static str, fn(&Standing) -> i64);

/// For `/metrics`.
pub fn expose(app: &App, out: &mut Text) -> Result<()> {
    let all = standing(app)?;
    if all.is_empty() {
        return Ok(());
    }
    let families: [Family; 3] = [
        (
            "lamplighter_forward_waiting_lines",
            Kind::Gauge,
            "Lines of logs that a receiver has not taken yet.",
            |one| one.waiting,
        ),
        (
            "lamplighter_forward_lines_total",
            Kind::Counter,
            "Lines of logs that a receiver has taken.",
            |one| one.taken,
        ),
        (
            "lamplighter_forward_missed_lines_total",
            Kind::Counter,
            "Lines of logs that a receiver will never get.",
            |one| one.missed,
        ),
    ];
    for (name, kind, help, of) in families {
        out.family(name, kind, help);
        for one in &all {
            out.value(name, &[("receiver", one.target.name())], of(one) as f64);
        }
    }
    Ok(())
}
