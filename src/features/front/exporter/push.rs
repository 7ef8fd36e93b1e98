//! Pushes samples to the remote store: VictoriaMetrics' `/api/v1/import`, one JSON object per series. Unsent samples
//! are the unfolded poll rows, kept for at most `push.buffer_hours`; a cursor marks what was sent. It moves after an
//! accepted import: after a failure some samples are sent twice, with the same time and value, which the store
//! deduplicates.

use super::settings;
use crate::app::App;
use crate::base::clock::{self, HOUR, MINUTE, Ms, SECOND};
use crate::base::error::{Error, Result};
use crate::base::exposition::{Kind, Text};
use crate::base::log;
use crate::base::process::Cancel;
use crate::features::house::remote_store::{self, RemoteStore};
use crate::series::{self, Kind as SubjectKind, Store, Track};
use std::fmt::Write;

/// Notes in `metrics.db`: cursor (second), number of samples, last error.
const CURSOR: &str = "push.cursor";
const SENT: &str = "push.sent";
const FAILED: &str = "push.failed";
/// A poll takes up to 5 s and up to 2 s to be stored; older rows do not appear after this.
const SETTLED_MS: Ms = 15 * SECOND;
/// Length of a part when catching up.
const PART_MS: Ms = 10 * MINUTE;
/// Limit of a request body in bytes.
const BODY_MAX: usize = 1 << 20;

/// Sends everything up to now, in parts.
pub fn run(app: &App, cancel: &Cancel) -> Result<()> {
    let store = Store::new(app.metrics.clone());
    let Some(engine) = remote_store::for_write(app)? else {
        if store.note(CURSOR)?.is_some() {
            store.set_note(CURSOR, None)?;
            store.hold_from(None)?;
        }
        return Ok(());
    };
    let buffer_ms = app.db.read(|conn| settings::PUSH_BUFFER_HOURS.number(conn))? * HOUR;
    while !cancel.is_cancelled() {
        let until = clock::now() - SETTLED_MS;
        // A clock that was put back must not stop pushing.
        let noted = store.note(CURSOR)?;
        let from = noted.map_or(until, |s| s * SECOND).min(until).max(until - buffer_ms);
        if noted.is_none() {
            store.set_note(CURSOR, Some(i64::from(seconds(from))))?; // begins now
        }
        store.hold_from(Some(seconds(from)))?;
        let to = until.min(from + PART_MS);
        if to - from < SECOND {
            break;
        }
        let sent = send_all(app, &store, &engine, (seconds(from), seconds(to)), cancel);
        let so_far = store.note(SENT)?.unwrap_or(0);
        match sent {
            Ok(n) => {
                store.set_note(CURSOR, Some(i64::from(seconds(to))))?;
                store.hold_from(Some(seconds(to)))?;
                store.set_note(SENT, Some(so_far + n))?;
            }
            Err(e) => {
                store.set_note(CURSOR, Some(i64::from(seconds(from))))?;
                store.set_note(FAILED, Some(store.note(FAILED)?.unwrap_or(0) + 1))?;
                return Err(e);
            }
        }
    }
    Ok(())
}

fn seconds(at: Ms) -> u32 {
    u32::try_from(at / SECOND).unwrap_or(0)
}

/// Sends the samples of these seconds (first included, last not); returns their number.
fn send_all(app: &App, store: &Store, engine: &RemoteStore, (from, to): (u32, u32), cancel: &Cancel) -> Result<i64> {
    let mut subjects = Vec::new();
    for kind in app.registry.all::<SubjectKind>() {
        let all = app.db.read(kind.all)?.into_iter();
        subjects.extend(all.map(|(id, name)| (*kind, id, name)));
    }
    let (mut body, mut sent, mut waiting) = (String::new(), 0, 0);
    for (kind, id, name) in &subjects {
        for track in store.rows((kind.name, *id), from, to)? {
            waiting += track.points.len() as i64;
            write_track(&mut body, kind, name, &track);
        }
        if body.len() >= BODY_MAX {
            send(engine, &body)?;
            sent += std::mem::take(&mut waiting);
            body.clear();
        }
        if cancel.is_cancelled() {
            return Err(Error::internal("stopped"));
        }
    }
    if !body.is_empty() {
        send(engine, &body)?;
        sent += waiting;
    }
    Ok(sent)
}

/// One series with labels for its subject and part.
fn write_track(out: &mut String, kind: &SubjectKind, name: &str, track: &Track) {
    let (key, part) = series::split(&track.key);
    let Some(key) = kind
        .keys
        .iter()
        .find(|known| known.name == key && !known.metric.is_empty())
    else {
        return;
    };
    let mut metric = serde_json::Map::new();
    metric.insert("__name__".into(), key.metric.into());
    metric.insert(kind.name.into(), name.into());
    if !key.part.is_empty() {
        metric.insert(key.part.into(), part.into());
    }
    let _ = write!(out, "{{\"metric\":{}", serde_json::Value::Object(metric));
    let values = track.points.iter().map(|(_, value)| key.unit.to_base(*value));
    list(out, "values", values);
    list(
        out,
        "timestamps",
        track.points.iter().map(|(at, _)| i64::from(*at) * SECOND),
    );
    out.push_str("}\n");
}

fn list<T: std::fmt::Display>(out: &mut String, key: &str, items: impl Iterator<Item = T>) {
    let _ = write!(out, ",\"{key}\":[");
    for (n, item) in items.enumerate() {
        let _ = write!(out, "{}{item}", if n > 0 { "," } else { "" });
    }
    out.push(']');
}

fn send(engine: &RemoteStore, body: &str) -> Result<()> {
    engine.import(body).inspect_err(|e| {
        let fields = [("engine", engine.place()), ("error", e.to_string())];
        let fields = fields.each_ref().map(|(key, value)| (*key, value.as_str()));
        log::warning("exporter", "samples were not accepted", &fields);
    })
}

/// Metrics of the push, for [`super::own`].
pub fn figures(app: &App, out: &mut Text) -> Result<()> {
    let store = Store::new(app.metrics.clone());
    let Some(cursor) = store.note(CURSOR)? else {
        return Ok(());
    };
    let lag = (clock::now() / SECOND - cursor).max(0) as f64;
    let help = "Age of the newest samples that the engine has taken.";
    out.one("lamplighter_push_lag_seconds", Kind::Gauge, help, lag);
    let counters = [
        (
            "lamplighter_push_samples_total",
            "Samples that the engine has taken.",
            SENT,
        ),
        ("lamplighter_push_failures_total", "Attempts that failed.", FAILED),
    ];
    for (name, help, note) in counters {
        let n = store.note(note)?.unwrap_or(0) as f64;
        out.one(name, Kind::Counter, help, n);
    }
    Ok(())
}

/// State of the push for people: lag in seconds, and whether a secret is stored.
pub fn state(app: &App) -> Result<(Option<i64>, bool)> {
    let cursor = Store::new(app.metrics.clone()).note(CURSOR)?;
    let secret = app.db.read(remote_store::has_secret)?;
    Ok((cursor.map(|c| (clock::now() / SECOND - c).max(0)), secret))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::fleet::metrics::SERVERS;

    #[test]
    fn a_series_is_one_line_of_json() {
        let mut out = String::new();
        let track = |key: &str| Track {
            key: key.into(),
            unit: series::Unit::Percent,
            points: vec![(1_800_000_000, 97.9), (1_800_000_030, 3.0)],
        };
        write_track(&mut out, &SERVERS, "web \"1\"", &track("cpu"));
        write_track(&mut out, &SERVERS, "b", &track("disk:/srv"));
        write_track(&mut out, &SERVERS, "b", &track("nobody knows"));
        let lines: Vec<serde_json::Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(
            lines,
            [
                serde_json::json!({
                    "metric": { "__name__": "lamplighter_server_cpu_usage_ratio", "server": "web \"1\"" },
                    "values": [0.979, 0.03], "timestamps": [1_800_000_000_000i64, 1_800_000_030_000i64],
                }),
                serde_json::json!({
                    "metric": {
                        "__name__": "lamplighter_server_filesystem_usage_ratio", "server": "b", "mountpoint": "/srv",
                    },
                    "values": [0.979, 0.03], "timestamps": [1_800_000_000_000i64, 1_800_000_030_000i64],
                }),
            ]
        );
    }
}
