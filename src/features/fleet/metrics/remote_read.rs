//! Charts from the remote store, for data that our store no longer or never had. One query returns every series of a
//! server with mean, minimum and maximum per step; values outside the window are dropped. After a failure it is not
//! queried for half a minute, and concurrent queries are limited, so that other requests are not blocked.

use super::json_reader::JsonReader;
use crate::base::clock::{self, Ms, SECOND};
use crate::base::error::{Error, Kind, Result};
use crate::base::semaphore::Semaphore;
use crate::features::house::remote_store::RemoteStore;
use crate::series::store::PARTS_MAX;
use crate::series::window::POINTS_MAX;
use crate::series::{self, Key, Kind as SubjectKind, Series, Store, Window};
use std::fmt::Write;

/// Limit of a response: every series with three lines of [`POINTS_MAX`] values of about 35 bytes are 3.6 MB.
const BODY_MAX: usize = 6 << 20;
/// Limit of lines: as many series as our store has for a subject.
fn lines_max(kind: &SubjectKind) -> usize {
    kind.keys.len() + PARTS_MAX
}

/// Limit of concurrent queries: a quarter of the threads that answer pages.
const ASKING_MAX: usize = 4;
static ASKING: Semaphore = Semaphore::new(ASKING_MAX);
/// Note: until when the remote store is not queried (unix ms), and its error.
const RESTS: &str = "engine.rests";
const REST_MS: Ms = 30 * SECOND;

/// Function names in the query language. (`rollup` would do the same, but looks further back than requested where
/// values are sparse, which would fill gaps.)
const ROLLUPS: [&str; 3] = ["avg_over_time", "min_over_time", "max_over_time"];

/// The remote store's series of a subject, by exported name.
pub fn history(
    store: &Store,
    engine: &RemoteStore,
    (kind, name): (&'static SubjectKind, &str),
    window: &Window,
) -> Result<Vec<Series>> {
    let now = clock::now();
    if let Some((until, say)) = store.note_text(RESTS)?.and_then(|note| rest(&note))
        && (now..=now + REST_MS).contains(&until)
    {
        return Err(Error::new(Kind::Upstream, "engine_rests", say));
    }
    let _seat = ASKING
        .take()
        .ok_or_else(|| Error::new(Kind::Busy, "engine_busy", "Too many ask the engine just now."))?;
    let asked = ask(engine, kind, name, window);
    if let Err(e) = &asked {
        store.set_note_text(RESTS, &format!("{} {}", now + REST_MS, e.say))?;
    }
    asked
}

fn rest(note: &str) -> Option<(Ms, String)> {
    let (until, say) = note.split_once(' ')?;
    Some((until.parse().ok()?, say.to_string()))
}

fn ask(engine: &RemoteStore, kind: &'static SubjectKind, name: &str, window: &Window) -> Result<Vec<Series>> {
    let step = window.step_s;
    // A range includes its end and excludes its start; ours are the other way round, hence the millisecond and the
    // offset of one step.
    let query = format!(
        "aggr_over_time((\"avg_over_time\",\"min_over_time\",\"max_over_time\"), \
         {{__name__=~\"lamplighter_{of}_.+\",{of}={}}}[{step}s] offset 1ms) keep_metric_names",
        quoted(name),
        of = kind.name
    );
    let range = (window.from_s() + step, window.to_s(), step);
    let body = engine.query_range(&query, range, BODY_MAX)?;
    read(&body, kind, window).ok_or_else(|| {
        let say = format!(
            "{} answered with something else than a range of values.",
            engine.place()
        );
        Error::new(Kind::Upstream, "engine_odd", say)
    })
}

/// A string literal of the query language.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A series: mean, minimum and maximum per step.
struct Line {
    key: String,
    of: &'static Key,
    rollups: [Vec<Option<f64>>; 3],
}

/// Labels of one line: series, and which of its three lines.
#[derive(Default)]
struct Labels {
    name: String,
    part: String,
    rollup: Option<usize>,
}

fn read(body: &[u8], kind: &'static SubjectKind, window: &Window) -> Option<Vec<Series>> {
    let (mut lines, mut good) = (Vec::<Line>::new(), false);
    let mut reader = JsonReader::new(body);
    let read = reader.object(|reader, key| match key {
        b"data" => reader
            .object(|reader, key| match key {
                b"result" => {
                    good = reader.array(|reader| one(reader, kind, window, &mut lines))?;
                    Ok(())
                }
                _ => reader.skip(),
            })
            .map(drop),
        _ => reader.skip(),
    });
    (read == Ok(true) && good).then(|| lines.into_iter().map(|line| line.finish(window)).collect())
}

fn one(
    reader: &mut JsonReader,
    kind: &'static SubjectKind,
    window: &Window,
    lines: &mut Vec<Line>,
) -> super::json_reader::Result<()> {
    let mut labels = Labels::default();
    let mut values = vec![None; window.steps as usize];
    reader.object(|reader, key| match key {
        b"metric" => reader
            .object(|reader, key| {
                match key {
                    b"__name__" => labels.name = reader.text()?.unwrap_or_default(),
                    b"rollup" => {
                        let rollup = reader.text()?.unwrap_or_default();
                        labels.rollup = ROLLUPS.iter().position(|known| *known == rollup);
                    }
                    _ if kind.keys.iter().any(|known| known.part.as_bytes() == key) => {
                        labels.part = reader.text()?.unwrap_or_default();
                    }
                    _ => reader.skip()?,
                }
                Ok(())
            })
            .map(drop),
        b"values" => reader
            .array_of(POINTS_MAX as usize + 1, |reader| {
                let mut pair = [None; 2];
                let mut n = 0;
                reader.array(|reader| {
                    let value = reader.number()?;
                    if let Some(place) = pair.get_mut(n) {
                        *place = value;
                    }
                    n += 1;
                    Ok(())
                })?;
                let slot = pair[0].and_then(|at| slot(window, at)).and_then(|i| values.get_mut(i));
                if let (Some(slot), Some(value)) = (slot, pair[1]) {
                    *slot = Some(value);
                }
                Ok(())
            })
            .map(drop),
        _ => reader.skip(),
    })?;
    let is_named = |key: &&Key| !key.metric.is_empty() && key.metric == labels.name;
    let fits = |key: &&Key| is_named(key) && key.part.is_empty() == labels.part.is_empty();
    let (Some(of), Some(rollup)) = (kind.keys.iter().find(fits), labels.rollup) else {
        return Ok(()); // of another series
    };
    let key = series::join(of.name, &labels.part);
    if let Some(line) = lines.iter_mut().find(|line| line.key == key) {
        line.rollups[rollup] = values;
    } else if lines.len() < lines_max(kind) {
        let mut rollups = <[Vec<_>; 3]>::default();
        rollups[rollup] = values;
        lines.push(Line { key, of, rollups });
    }
    Ok(())
}

/// The step that ends at this time.
fn slot(window: &Window, at: f64) -> Option<usize> {
    let begins = at - f64::from(window.step_s) - f64::from(window.from_s());
    let slot = begins / f64::from(window.step_s);
    (slot >= 0.0 && slot < f64::from(window.steps)).then_some(slot as usize)
}

impl Line {
    fn finish(self, window: &Window) -> Series {
        let unit = self.of.unit;
        let as_kept = |value: f64| unit.rounded(unit.of_base(value));
        let of = |rollup: usize, i: usize| self.rollups[rollup].get(i).copied().flatten().map(as_kept);
        let point = |i: usize| {
            let mean = of(0, i)?;
            let at = i64::from(window.from_s()) + i as i64 * i64::from(window.step_s);
            let (least, greatest) = (of(1, i).unwrap_or(mean), of(2, i).unwrap_or(mean));
            Some((at * SECOND, mean, least.min(mean), greatest.max(mean)))
        };
        let points = (0..window.steps as usize).filter_map(point).collect();
        Series {
            key: self.key.clone(),
            unit,
            step_ms: i64::from(window.step_s) * SECOND,
            points,
        }
    }
}

/// Merges: the remote store's values, then ours from our second value on; our first step may be incomplete.
pub fn joined(own: Vec<Series>, far: Vec<Series>) -> Vec<Series> {
    let mut all = own;
    for mut line in far {
        match all.iter_mut().find(|there| there.key == line.key) {
            None => all.push(line),
            Some(there) => {
                let first = there.points.first().map_or(Ms::MAX, |p| p.0);
                line.points.retain(|p| p.0 <= first);
                let last = line.points.last().map_or(Ms::MIN, |p| p.0);
                there.points.retain(|p| p.0 > last);
                line.points.append(&mut there.points);
                there.points = line.points;
            }
        }
    }
    all.retain(|line| !line.points.is_empty());
    all
}

#[cfg(test)]
mod tests {
    use super::super::readings::SERVERS;
    use super::*;
    use crate::series::window::PERIODS;

    fn window() -> Window {
        Window::beyond(1_800_000_000 - 90 * 86_400, 1_800_000_000)
    }

    /// Labels, part, and values by step.
    type Answered<'a> = (&'a str, &'a str, &'a [(i64, &'a str)]);

    fn answer(lines: &[Answered]) -> String {
        let w = window();
        let line = |(labels, part, points): &Answered| {
            let at = |n: i64| i64::from(w.from_s()) + (n + 1) * i64::from(w.step_s);
            let points: Vec<_> = points.iter().map(|(n, v)| format!("[{},{v}]", at(*n))).collect();
            format!(
                "{{\"metric\":{{{labels},\"rollup\":\"{part}\"}},\"values\":[{}]}}",
                points.join(",")
            )
        };
        let lines: Vec<_> = lines.iter().map(line).collect();
        format!(
            "{{\"status\":\"success\",\"data\":{{\"resultType\":\"matrix\",\"result\":[{}]}}}}",
            lines.join(",")
        )
    }

    #[test]
    fn an_answer_becomes_lines_with_gaps() {
        let cpu = "\"__name__\":\"lamplighter_server_cpu_usage_ratio\",\"server\":\"a\"";
        let srv = "\"__name__\":\"lamplighter_server_filesystem_usage_ratio\",\"mountpoint\":\"/srv\"";
        let text = answer(&[
            (cpu, ROLLUPS[0], &[(0, "\"0.25\""), (1, "\"0.5\""), (5, "\"0.979\"")]),
            (cpu, ROLLUPS[1], &[(0, "\"0\""), (5, "\"NaN\"")]),
            (cpu, ROLLUPS[2], &[(0, "\"1\""), (1, "\"0.75\""), (5, "\"+Inf\"")]),
            (
                srv,
                ROLLUPS[0],
                &[
                    (719, "\"0.4\""),
                    (720, "\"0.4\""),
                    (-1, "\"0.4\""),
                    (1_000_000, "\"0.4\""),
                ],
            ),
            (
                "\"__name__\":\"lamplighter_server_made_up\"",
                ROLLUPS[0],
                &[(0, "\"1\"")],
            ),
            (cpu, "median", &[(2, "\"1\"")]),
        ]);
        let w = window();
        let lines = read(text.as_bytes(), &SERVERS, &w).unwrap();
        assert_eq!(lines.len(), 2, "{lines:?}");
        let at = |n: i64| (i64::from(w.from_s()) + n * i64::from(w.step_s)) * SECOND;
        assert_eq!(lines[0].key, "cpu");
        assert_eq!(
            lines[0].points,
            [
                (at(0), 25.0, 0.0, 100.0),
                (at(1), 50.0, 50.0, 75.0),
                (at(5), 97.9, 97.9, 97.9)
            ]
        );
        assert_eq!((lines[1].key.as_str(), lines[1].points.len()), ("disk:/srv", 1));
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for bad in [
            "",
            "{}",
            "[]",
            "{\"data\":[]}",
            "{\"data\":{\"result\":{}}}",
            "{\"data\":{\"result\":[",
            "<html>",
        ] {
            assert!(read(bad.as_bytes(), &SERVERS, &window()).is_none(), "{bad}");
        }
        assert_eq!(read(answer(&[]).as_bytes(), &SERVERS, &window()), Some(Vec::new()));
        // Any input is read to its end or refused.
        let whole = answer(&[(
            "\"__name__\":\"lamplighter_server_load1\"",
            ROLLUPS[0],
            &[(0, "\"1\""), (1, "2")],
        )]);
        for n in 0..whole.len() {
            assert!(
                read(&whole.as_bytes()[..n], &SERVERS, &window()).is_none(),
                "cut at {n}"
            );
            for byte in [0, b'"', b'[', b'9', 0xff] {
                let mut bent = whole.clone().into_bytes();
                bent[n] = byte;
                let _ = read(&bent, &SERVERS, &window());
            }
        }
    }

    #[test]
    fn there_are_so_many_seats_and_no_more() {
        for _ in 0..3 {
            let taken: Vec<_> = (0..ASKING_MAX).map_while(|_| ASKING.take()).collect();
            assert_eq!(taken.len(), ASKING_MAX);
            assert!(ASKING.take().is_none() && ASKING.take().is_none());
        }
    }

    #[test]
    fn names_cannot_leave_their_quotes() {
        assert_eq!(quoted("web-1"), "\"web-1\"");
        assert_eq!(quoted("a\"} or {b=\"\\\n"), "\"a\\\"} or {b=\\\"\\\\\\u000a\"");
    }

    #[test]
    fn ours_go_on_where_the_engines_end() {
        let line = |key: &str, at: &[i64], v: f64| Series {
            key: key.into(),
            unit: crate::series::Unit::Percent,
            step_ms: 10,
            points: at.iter().map(|at| (*at, v, v, v)).collect(),
        };
        let own = vec![line("cpu", &[50, 60, 80], 1.0), line("load1", &[50], 1.0)];
        let far = vec![
            line("cpu", &[10, 20, 50, 60, 70], 2.0),
            line("mem", &[10], 2.0),
            line("swap", &[], 2.0),
        ];
        let all = joined(own, far);
        assert_eq!(
            all.iter().map(|l| l.key.as_str()).collect::<Vec<_>>(),
            ["cpu", "load1", "mem"]
        );
        let seen: Vec<_> = all[0].points.iter().map(|p| (p.0, p.1)).collect();
        assert_eq!(seen, [(10, 2.0), (20, 2.0), (50, 2.0), (60, 1.0), (80, 1.0)]);
    }

    #[test]
    fn every_window_is_a_question_of_at_most_720_points() {
        for (_, length) in PERIODS {
            let w = Window::beyond(1_800_000_000 - length.as_secs() as u32, 1_800_000_000);
            assert!(w.steps <= POINTS_MAX && u64::from(w.steps * w.step_s) >= length.as_secs() / 2);
        }
    }
}
