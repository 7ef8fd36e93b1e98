//! Time zones, read from the system's files (`/usr/share/zoneinfo`, package tzdata). The C library's are unsuitable for
//! a daemon that serves people in several zones: they are process-wide, and an unknown name silently means UTC. Here an
//! unknown name is an error, and a [`Zone`] is a value.
//!
//! The files are TZif (RFC 9636): a table of transitions, and a POSIX `TZ` rule for the time after its end.

use super::clock::{self, DAY, Duration, Instant, Ms, SECOND};
use super::error::{Error, Kind, Result};
use super::text;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Folder of the zone files.
const FOLDER: &str = "/usr/share/zoneinfo";
/// The machine's own zone: a link into [`FOLDER`], or in some containers a copy of a file there, which has no name.
const LOCALTIME: &str = "/etc/localtime";
/// Holds the name of the machine's zone.
const TIMEZONE: &str = "/etc/timezone";
/// Limit of a zone file in bytes; the largest of tzdata has under 4 KB.
const BYTES_MAX: u64 = 64 << 10;
/// Limit of a name; the longest has 30 characters.
const NAME_MAX: usize = 64;

const MINUTE_S: i64 = 60;
const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 86_400;

/// A zone's offsets from UTC over time. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(Arc<Rules>);

#[derive(Debug, PartialEq, Eq)]
struct Rules {
    name: String,
    /// Seconds east of UTC before the first transition.
    first: i64,
    /// Unix seconds of a transition, ascending, and the offset from then on.
    changes: Vec<(i64, i64)>,
    /// The rule after the last transition; without one, the last offset stays.
    footer: Option<Footer>,
}

/// The instants at which the clocks of a zone show a given local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instants {
    /// None: the clocks were put forward over it, at this instant.
    Skipped(Ms),
    /// One.
    One(Ms),
    /// Two: the clocks were put back over it. The earlier comes first.
    Two(Ms, Ms),
}

impl Instants {
    /// The most likely one: of two the earlier, of none the instant of the transition.
    pub fn first(self) -> Ms {
        match self {
            Instants::Skipped(at) | Instants::One(at) | Instants::Two(at, _) => at,
        }
    }
}

impl Zone {
    /// UTC; needs no file.
    pub fn utc() -> Zone {
        Zone(Arc::new(Rules {
            name: "UTC".into(),
            first: 0,
            changes: Vec::new(),
            footer: None,
        }))
    }

    /// The zone of this name, like `Europe/Berlin`. Error: `unknown_zone`, whose sentence distinguishes a wrong name
    /// from a system without tzdata.
    pub fn load(name: &str) -> Result<Zone> {
        Zone::load_from(Path::new(FOLDER), name)
    }

    fn load_from(folder: &Path, name: &str) -> Result<Zone> {
        if name == "UTC" {
            return Ok(Zone::utc());
        }
        let zone = match is_name(name) {
            true => read(&folder.join(name)).and_then(|bytes| Zone::parse(name, &bytes)),
            false => None,
        };
        zone.ok_or_else(|| {
            let say = match folder.is_dir() {
                true => {
                    let shown = text::one_line(name, 60);
                    format!("There is no time zone “{shown}” on this system. One is written like Europe/Berlin.")
                }
                false => "This system knows no time zone but UTC: its package tzdata is missing.".into(),
            };
            Error::new(Kind::Invalid, "unknown_zone", say)
        })
    }

    /// The zone of this name, or the machine's if the name is empty or no longer known.
    pub fn load_or_system(name: &str) -> Zone {
        let named = Some(name).filter(|name| !name.is_empty());
        named
            .and_then(|name| Zone::load(name).ok())
            .unwrap_or_else(Zone::system)
    }

    /// The machine's own zone; UTC if it has none.
    pub fn system() -> Zone {
        let link = std::fs::read_link(LOCALTIME).ok();
        let target = link.as_ref().and_then(|path| path.to_str());
        let linked = target.and_then(|path| Some(path.split_once("/zoneinfo/")?.1.to_string()));
        let written = || String::from_utf8(read(Path::new(TIMEZONE))?).ok();
        let name = linked.or_else(written).unwrap_or_default();
        let zone = Zone::load(name.trim()).unwrap_or_default();
        // Debian calls it Etc/UTC.
        if zone.0.is_utc() { Zone::utc() } else { zone }
    }

    /// Parses a TZif file of any version. `None` if it is malformed or has leap seconds (`right/…`), which Unix time
    /// does not have.
    pub fn parse(name: &str, bytes: &[u8]) -> Option<Zone> {
        let (header, rest) = Header::read(bytes)?;
        let (header, block, rest, width) = match header.version {
            0 => (header, rest, None, 4),
            _ => {
                let (header, block) = Header::read(rest.get(header.size(4)?..)?)?;
                let rest = block.get(header.size(8)?..)?;
                (header, block, Some(rest), 8)
            }
        };
        let (first, changes) = header.changes(block, width)?;
        let footer = match rest {
            None => None,
            Some(rest) => {
                let line = rest.strip_prefix(b"\n")?;
                let end = line.iter().position(|b| *b == b'\n')?;
                match std::str::from_utf8(&line[..end]).ok()? {
                    "" => None,
                    rule => Some(Footer::parse(rule)?),
                }
            }
        };
        Some(Zone(Arc::new(Rules {
            name: name.into(),
            first,
            changes,
            footer,
        })))
    }

    /// The zone's name: `Europe/Berlin`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Offset from UTC at an instant in milliseconds; east is positive.
    pub fn offset(&self, at: Ms) -> Ms {
        self.0.offset(at.div_euclid(SECOND)) * SECOND
    }

    /// The local time at an instant, as the UTC instant with the same clock reading: for
    /// [`clock::civil`](super::clock::civil) and the like.
    pub fn local(&self, at: Ms) -> Ms {
        at.saturating_add(self.offset(at))
    }

    /// The instants of a local time, given as [`Zone::local`] gives it.
    pub fn instants(&self, local: Ms) -> Instants {
        // No offset reaches a day, so only nearby transitions matter.
        let (from, to) = (local.saturating_sub(2 * DAY), local.saturating_add(2 * DAY));
        let mut before = self.offset(from);
        let mut found = Vec::new();
        let mut skipped = local.saturating_sub(before);
        let mut start = from;
        for (change, after) in self.0.between(from.div_euclid(SECOND), to.div_euclid(SECOND)) {
            let (change, after) = (change * SECOND, after * SECOND);
            let at = local.saturating_sub(before);
            if (start..change).contains(&at) {
                found.push(at);
            }
            if at >= change && local.saturating_sub(after) < change {
                skipped = change;
            }
            (before, start) = (after, change);
        }
        let at = local.saturating_sub(before);
        if at >= start {
            found.push(at);
        }
        match found[..] {
            [] => Instants::Skipped(skipped),
            [one] => Instants::One(one),
            [first, .., last] => Instants::Two(first, last),
        }
    }

    /// `UTC`, `UTC+3`, `UTC−3:30`: unambiguous, unlike `IST` or `CST`.
    pub fn label(&self, at: Ms) -> String {
        let minutes = self.offset(at) / clock::MINUTE;
        let sign = if minutes < 0 { '−' } else { '+' };
        match (minutes.abs() / 60, minutes.abs() % 60) {
            (0, 0) => "UTC".into(),
            (h, 0) => format!("UTC{sign}{h}"),
            (h, min) => format!("UTC{sign}{h}:{min:02}"),
        }
    }
}

/// Cache of zones by name, for pages. An entry is read again after a minute, since tzdata may be updated while the daemon
/// runs.
#[derive(Default)]
pub struct Zones(Mutex<Vec<(String, Instant, Option<Zone>)>>);

impl Zones {
    const FRESH: Duration = Duration::from_secs(60);
    /// Names kept; a house has one zone or two.
    const NAMES_MAX: usize = 16;

    /// As [`Zone::load`]; nothing where that is an error.
    pub fn load(&self, name: &str) -> Option<Zone> {
        self.get(name, |name| Zone::load(name).ok())
    }

    /// As [`Zone::load_or_system`].
    pub fn load_or_system(&self, name: &str) -> Zone {
        let named = Some(name).filter(|name| !name.is_empty());
        let named = named.and_then(|name| self.load(name));
        let system = || self.get("", |_| Some(Zone::system()));
        named.or_else(system).unwrap_or_default()
    }

    fn get(&self, name: &str, read: fn(&str) -> Option<Zone>) -> Option<Zone> {
        let now = clock::mono();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(_, since, _)| now.saturating_duration_since(*since) < Zones::FRESH);
        if let Some((.., zone)) = known.iter().find(|(known, ..)| known == name) {
            return zone.clone();
        }
        let zone = read(name);
        if known.len() < Zones::NAMES_MAX {
            known.push((name.into(), now, zone.clone()));
        }
        zone
    }
}

/// The names in tzdata's list for choosing (one for each region), UTC first; only UTC if tzdata is missing. Other names
/// can be given, too.
pub fn names() -> Vec<String> {
    let table = read(&Path::new(FOLDER).join("zone.tab")).unwrap_or_default();
    let lines = String::from_utf8_lossy(&table);
    let names = lines.lines().filter(|line| !line.starts_with('#'));
    let mut names: Vec<String> = names
        .filter_map(|line| line.split('\t').nth(2))
        .filter(|name| is_name(name))
        .map(String::from)
        .collect();
    names.sort_unstable();
    names.insert(0, "UTC".into());
    names
}

/// Is it a plain relative name that cannot leave the folder?
fn is_name(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+-".contains(&b));
    name.len() <= NAME_MAX && name.split('/').all(part)
}

/// Reads a file if it is regular and small.
fn read(path: &Path) -> Option<Vec<u8>> {
    let file = File::open(path).ok()?;
    file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= BYTES_MAX).then_some(bytes)
}

impl Default for Zone {
    fn default() -> Zone {
        Zone::utc()
    }
}

impl serde::Serialize for Zone {
    fn serialize<S: serde::Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}

impl Rules {
    fn is_utc(&self) -> bool {
        let stays = |f: &Footer| f.standard == 0 && f.summer.is_none();
        self.first == 0 && self.changes.is_empty() && self.footer.as_ref().is_none_or(stays)
    }

    fn offset(&self, at: i64) -> i64 {
        match self.changes.partition_point(|(change, _)| *change <= at) {
            n if n == self.changes.len() => match (&self.footer, self.changes.last()) {
                (Some(footer), _) => footer.offset(at),
                (None, Some((_, last))) => *last,
                (None, None) => self.first,
            },
            0 => self.first,
            n => self.changes[n - 1].1,
        }
    }

    /// The transitions after `from` and up to `to`.
    fn between(&self, from: i64, to: i64) -> Vec<(i64, i64)> {
        let last = self.changes.last().map_or(i64::MIN, |(change, _)| *change);
        let listed = self.changes.iter().copied();
        let ruled = self.footer.iter().flat_map(|footer| footer.changes(from));
        let all = listed.chain(ruled.filter(|(change, _)| *change > last));
        all.filter(|(change, _)| (from..=to).contains(change) && *change != from)
            .collect()
    }
}

/// The counts in a block's header of a TZif file.
struct Header {
    version: u8,
    ut_marks: usize,
    std_marks: usize,
    leaps: usize,
    times: usize,
    kinds: usize,
    chars: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<(Header, &[u8])> {
        let (head, rest) = bytes.split_at_checked(44)?;
        let count = |n: usize| {
            let bytes = head[20 + 4 * n..24 + 4 * n].try_into().ok()?;
            usize::try_from(u32::from_be_bytes(bytes)).ok()
        };
        let header = Header {
            version: head[4],
            ut_marks: count(0)?,
            std_marks: count(1)?,
            leaps: count(2)?,
            times: count(3)?,
            kinds: count(4)?,
            chars: count(5)?,
        };
        head.starts_with(b"TZif").then_some((header, rest))
    }

    /// Bytes of the block after the header; times have 4 or 8 bytes. `None` on overflow.
    fn size(&self, width: usize) -> Option<usize> {
        let counts = [
            self.ut_marks,
            self.std_marks,
            self.leaps,
            self.times,
            self.kinds,
            self.chars,
        ];
        let is_sane = counts.iter().all(|n| *n as u64 <= BYTES_MAX);
        is_sane.then_some(
            self.times * (width + 1)
                + self.kinds * 6
                + self.chars
                + self.leaps * (width + 4)
                + self.std_marks
                + self.ut_marks,
        )
    }

    /// The offset before the first transition, and all transitions with the offset after them.
    fn changes(&self, block: &[u8], width: usize) -> Option<(i64, Vec<(i64, i64)>)> {
        let block = block.get(..self.size(width)?)?;
        let (times, block) = block.split_at_checked(self.times * width)?;
        let (which, block) = block.split_at_checked(self.times)?;
        let (kinds, _) = block.split_at_checked(self.kinds * 6)?;
        let offset = |n: usize| {
            let bytes = kinds.get(n * 6..n * 6 + 4)?.try_into().ok()?;
            let offset = i64::from(i32::from_be_bytes(bytes));
            (-DAY_S < offset && offset < DAY_S + 2 * HOUR_S).then_some(offset)
        };
        let number = |bytes: &[u8]| match bytes.try_into() {
            Ok(eight) => Some(i64::from_be_bytes(eight)),
            Err(_) => Some(i64::from(i32::from_be_bytes(bytes.try_into().ok()?))),
        };
        let changes: Vec<_> = times
            .chunks_exact(width)
            .zip(which)
            .map(|(time, kind)| Some((number(time)?, offset(usize::from(*kind))?)))
            .collect::<Option<_>>()?;
        // Transitions outside the range of milliseconds are dropped.
        let fits = changes
            .iter()
            .all(|(at, _)| (i64::MIN / SECOND..=i64::MAX / SECOND).contains(at));
        let rises = changes.windows(2).all(|pair| pair[0].0 < pair[1].0);
        (self.leaps == 0 && fits && rises).then_some((offset(0)?, changes))
    }
}

/// The POSIX rule at the end of a file: `CET-1CEST,M3.5.0,M10.5.0/3`.
#[derive(Debug, PartialEq, Eq)]
struct Footer {
    standard: i64,
    summer: Option<Summer>,
}

/// The part of the year with daylight saving; on the southern hemisphere it spans the turn of the year.
#[derive(Debug, PartialEq, Eq)]
struct Summer {
    offset: i64,
    start: Date,
    end: Date,
}

/// A day of each year, and the local seconds since midnight.
#[derive(Debug, PartialEq, Eq)]
struct Date {
    day: Day,
    seconds: i64,
}

#[derive(Debug, PartialEq, Eq)]
enum Day {
    /// `J60` is 1 March in every year.
    Julian(i64),
    /// `59`: from 0, leap days counted.
    Numbered(i64),
    /// `M3.5.0`: month, week (5 is the last), weekday (0 is Sunday).
    Weekday(i64, i64, i64),
}

impl Footer {
    fn parse(rule: &str) -> Option<Footer> {
        let mut text = Text(rule);
        text.name()?;
        let standard = -text.time(24)?;
        if text.0.is_empty() {
            return Some(Footer { standard, summer: None });
        }
        text.name()?;
        let offset = match text.0.starts_with(',') {
            true => standard + HOUR_S,
            false => -text.time(24)?,
        };
        let (start, end) = (text.date()?, text.date()?);
        let summer = Some(Summer { offset, start, end });
        text.0.is_empty().then_some(Footer { standard, summer })
    }

    /// The transitions of the years around an instant, in order.
    fn changes(&self, near: i64) -> Vec<(i64, i64)> {
        let Some(summer) = &self.summer else {
            return Vec::new();
        };
        let (year, _, _) = clock::civil(near.div_euclid(DAY_S));
        let mut all = Vec::with_capacity(6);
        for year in year - 1..=year + 1 {
            let start = summer.start.local(year).map(|at| (at - self.standard, summer.offset));
            let end = summer.end.local(year).map(|at| (at - summer.offset, self.standard));
            all.extend(end.into_iter().chain(start));
        }
        // If daylight saving ends when it begins again, it lasts all year: the stable sort keeps the start after the
        // end.
        all.sort_by_key(|(at, _)| *at);
        all
    }

    fn offset(&self, at: i64) -> i64 {
        let changes = self.changes(at);
        let last = changes.iter().rfind(|(change, _)| *change <= at);
        last.map_or(self.standard, |(_, offset)| *offset)
    }
}

impl Date {
    /// Local seconds since 1970.
    fn local(&self, year: i64) -> Option<i64> {
        let new_year = clock::days(year, 1, 1)?;
        let is_leap = clock::days(year, 2, 29).is_some();
        let day = match self.day {
            Day::Julian(n) => new_year + n - 1 + i64::from(is_leap && n >= 60),
            Day::Numbered(n) => new_year + n,
            Day::Weekday(month, week, weekday) => {
                let first = clock::days(year, month, 1)?;
                // 1970-01-01 was a Thursday.
                let day = first + (weekday - (first + 4)).rem_euclid(7) + (week - 1) * 7;
                let next_month = clock::days(year + month / 12, month % 12 + 1, 1)?;
                if day < next_month { day } else { day - 7 }
            }
        };
        Some(day * DAY_S + self.seconds)
    }
}

/// The unread rest of a rule.
struct Text<'t>(&'t str);

impl Text<'_> {
    fn skip(&mut self, mark: char) -> bool {
        let rest = self.0.strip_prefix(mark);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// `CEST` or `<+03>`; the text is not used.
    fn name(&mut self) -> Option<()> {
        self.0 = match self.0.strip_prefix('<') {
            Some(rest) => rest.split_once('>')?.1,
            None => {
                let rest = self.0.trim_start_matches(|c: char| c.is_ascii_alphabetic());
                (self.0.len() - rest.len() >= 3).then_some(rest)?
            }
        };
        Some(())
    }

    fn number(&mut self, max: i64) -> Option<i64> {
        let rest = self.0.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        digits.parse().ok().filter(|n| *n <= max)
    }

    /// `-1`, `3:30`, `+24:00:00` as seconds.
    fn time(&mut self, hours_max: i64) -> Option<i64> {
        let minus = self.skip('-');
        if !minus {
            self.skip('+');
        }
        let mut seconds = self.number(hours_max)? * HOUR_S;
        for unit in [MINUTE_S, 1] {
            if self.skip(':') {
                seconds += self.number(59)? * unit;
            }
        }
        Some(if minus { -seconds } else { seconds })
    }

    /// `,M3.5.0/3`.
    fn date(&mut self) -> Option<Date> {
        self.skip(',').then_some(())?;
        let day = if self.skip('J') {
            Day::Julian(self.number(365).filter(|n| *n >= 1)?)
        } else if self.skip('M') {
            let month = self.number(12)?;
            let week = self.skip('.').then(|| self.number(5))??;
            let weekday = self.skip('.').then(|| self.number(6))??;
            (month >= 1 && week >= 1).then_some(Day::Weekday(month, week, weekday))?
        } else {
            Day::Numbered(self.number(365)?)
        };
        // Up to a week away from the day's midnight (RFC 9636, 3.3.1).
        let seconds = match self.skip('/') {
            true => self.time(167)?,
            false => 2 * HOUR_S,
        };
        Some(Date { day, seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/zones")
    }

    fn file(name: &str) -> Vec<u8> {
        std::fs::read(folder().join(name.replace('/', "-") + ".tzif")).unwrap()
    }

    fn zone(name: &str) -> Zone {
        Zone::parse(name, &file(name)).unwrap_or_else(|| panic!("{name} cannot be read"))
    }

    #[test]
    fn offsets_and_local_times_are_those_that_python_reads_from_the_same_files() {
        let expected = std::fs::read_to_string(folder().join("expected.txt")).unwrap();
        let (mut now, mut changes) = (Zone::utc(), 0);
        for line in expected.lines() {
            let (what, rest) = line.split_once(' ').unwrap();
            let numbers = || {
                rest.split(' ')
                    .map(|n| n.parse::<i64>().unwrap() * SECOND)
                    .collect::<Vec<_>>()
            };
            let name = now.name();
            match what {
                "zone" => now = zone(rest),
                "change" => {
                    let [at, before, after] = numbers()[..] else {
                        panic!("{line}")
                    };
                    assert_eq!((now.offset(at - 1), now.offset(at)), (before, after), "{name} {line}");
                    changes += 1;
                }
                _ => match (now.instants(numbers()[0]), &numbers()[1..]) {
                    (Instants::Skipped(at), []) => assert_ne!(now.offset(at - 1), now.offset(at), "{name} {line}"),
                    (Instants::One(at), [one]) => assert_eq!(at, *one, "{name} {line}"),
                    (Instants::Two(a, b), [first, last]) => assert_eq!((a, b), (*first, *last), "{name} {line}"),
                    (other, _) => panic!("{name} {line}: {other:?}"),
                },
            }
        }
        assert!(changes > 400, "{changes} changes were compared");
    }

    #[test]
    fn a_time_that_the_clocks_jump_over_is_the_instant_of_the_jump() {
        let at = |text| clock::parse_utc(text).unwrap();
        let berlin = zone("Europe/Berlin");
        for (local, instants) in [
            ("2026-03-29T02:30", Instants::Skipped(at("2026-03-29T01:00"))),
            ("2026-03-29T03:00", Instants::One(at("2026-03-29T01:00"))),
            (
                "2026-10-25T02:30",
                Instants::Two(at("2026-10-25T00:30"), at("2026-10-25T01:30")),
            ),
            ("2099-07-01T12:00", Instants::One(at("2099-07-01T10:00"))),
        ] {
            assert_eq!(berlin.instants(at(local)), instants, "{local}");
        }
        // A whole day that was skipped.
        let noon = zone("Pacific/Apia").instants(at("2011-12-30T12:00"));
        assert_eq!(noon, Instants::Skipped(at("2011-12-30T10:00")));
        assert_eq!(berlin.local(at("2026-07-01T10:00")), at("2026-07-01T12:00"));
        assert_eq!(berlin.label(at("2026-07-01T10:00")), "UTC+2");
        assert_eq!(zone("Asia/Kathmandu").label(0), "UTC+5:30");
        assert_eq!(zone("America/St_Johns").label(at("2026-01-01T00:00")), "UTC−3:30");
        assert_eq!(Zone::utc().label(0), "UTC");
    }

    #[test]
    fn a_name_that_is_no_zone_is_refused_and_cannot_leave_the_folder() {
        for bad in [
            "",
            "/",
            "Nowhere/Land",
            "europe/berlin",
            "../../etc/passwd",
            "/etc/localtime",
            "Europe/../Europe/Berlin",
            "Europe",
            "Europe/",
            "Europe//Berlin",
            "zone.tab",
            "Europe/Berlin\0",
            "Europe/Berlín",
            &"x".repeat(1_000),
        ] {
            let error = Zone::load(bad).unwrap_err();
            assert_eq!((error.code, error.kind), ("unknown_zone", Kind::Invalid), "{bad}");
        }
        let missing = Zone::load_from(Path::new("/no such folder"), "Europe/Berlin").unwrap_err();
        assert!(missing.say.contains("tzdata"), "{}", missing.say);
        assert_eq!(Zone::load("UTC").unwrap(), Zone::utc());
        assert!(names().contains(&"UTC".into()));
    }

    #[test]
    fn every_zone_of_this_system_can_be_read() {
        for name in names() {
            let zone = Zone::load(&name).unwrap();
            for at in [0, clock::now(), 4_102_444_800_000] {
                let local = zone.local(at);
                let back = match zone.instants(local) {
                    Instants::Two(first, last) => first == at || last == at,
                    one => one == Instants::One(at),
                };
                assert!(back && zone.offset(at).abs() <= 15 * clock::HOUR, "{name} {at}");
            }
        }
        assert_eq!(Zone::load_or_system("Nowhere/Land"), Zone::system());
    }

    #[test]
    fn a_broken_file_is_no_zone_and_breaks_nothing() {
        let whole = file("Europe/Dublin");
        for end in 0..whole.len() {
            assert_eq!(Zone::parse("x", &whole[..end]), None, "cut at {end}");
        }
        for (n, odd) in (0..whole.len()).flat_map(|n| [0, 1, 0x7f, 0x80, 0xff].map(|odd| (n, odd))) {
            let mut bytes = whole.clone();
            bytes[n] = odd;
            let Some(zone) = Zone::parse("x", &bytes) else { continue };
            for at in [i64::MIN, -1, 0, 1_800_000_000_000, 4_102_444_800_000, i64::MAX] {
                let (_, _, _) = (zone.offset(at), zone.local(at), zone.instants(at));
            }
        }
        let leaps = {
            let mut bytes = b"TZif2".to_vec();
            bytes.resize(44, 0);
            bytes.extend_from_within(..);
            bytes[44 + 31] = 1; // one leap second
            bytes[44 + 39] = 1; // one kind
            bytes.extend([0; 6 + 12]);
            bytes.extend(b"\nUTC0\n");
            bytes
        };
        assert_eq!(Zone::parse("right/UTC", &leaps), None);
    }

    #[test]
    fn rules_are_those_of_posix_and_nothing_else() {
        let utc = |text| clock::parse_utc(text).unwrap() / SECOND;
        let offset = |rule: &str, at| Footer::parse(rule).unwrap_or_else(|| panic!("{rule}")).offset(utc(at)) / 60;
        assert_eq!(offset("<+0545>-5:45", "2026-07-01T00:00"), 345);
        assert_eq!(offset("EST5EDT,M3.2.0,M11.1.0", "2026-07-01T00:00"), -240);
        assert_eq!(offset("EST5EDT,M3.2.0,M11.1.0", "2026-12-01T00:00"), -300);
        // South: daylight saving spans the turn of the year.
        assert_eq!(offset("NZST-12NZDT,M9.5.0,M4.1.0/3", "2026-01-01T00:00"), 780);
        // All year (RFC 9636, 3.3.1).
        for at in ["2026-01-01T04:59", "2026-01-01T05:00", "2026-07-01T00:00"] {
            assert_eq!(offset("EST5EDT,0/0,J365/25", at), -240, "{at}");
        }
        for bad in [
            "",
            "UTC",
            "A0",
            "<+01-1",
            "CET-25",
            "CET-1CEST",
            "CET-1CEST,M3.5.0",
            "CET-1CEST,M13.5.0,M10.5.0",
            "CET-1CEST,M3.6.0,M10.5.0",
            "CET-1CEST,M3.5.7,M10.5.0",
            "CET-1CEST,J0,J5",
            "CET-1CEST,J1,J5/168",
            "CET-1CEST,J1,J5 ",
            "CET-1:60",
            "CET-99999999999999999999",
        ] {
            assert_eq!(Footer::parse(bad), None, "{bad}");
        }
    }
}
