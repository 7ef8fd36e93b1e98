//! What administrators set, read over what is set.

use crate::base::clock::{self, Ms};
use crate::base::error::Result;
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::notice::{Banner, Level, Notice};
use serde_json::{Map, Value};

/// Longest texts, in bytes.
const TEXT_MAX: usize = 500;

/// What is taken.
pub const PARAMS: &[Param] = &[
    MAINTENANCE,
    BANNER,
    param::link("default_project", "New things belong to this project."),
];

const MAINTENANCE: Param = param::object(
    "maintenance",
    "`on`, `message` (why), `pause_schedules`; what is left out stays.",
)
.example("{\"on\":true,\"message\":\"The database moves.\",\"pause_schedules\":true}");
const BANNER: Param = param::object(
    "banner",
    "`text`, `level` (`info`, `warning`, `critical`), `until` (UTC, or null); `null` takes it away.",
)
.example("{\"text\":\"Updates tonight at 22:00.\",\"level\":\"warning\",\"until\":null}");

/// The members of [`MAINTENANCE`] and [`BANNER`], read as fields of a form.
const INNER: &[Param] = &[
    param::flag("on", ""),
    param::text("message", TEXT_MAX, ""),
    param::flag("pause_schedules", ""),
    param::text("text", TEXT_MAX, ""),
    param::choice("level", &["info", "warning", "critical"], ""),
    param::text("until", 40, ""),
];

/// Reads over `base`. Error: invalid fields.
pub fn read(input: &mut Input, base: Notice) -> Notice {
    let mut notice = base;
    if let Some(Some(members)) = input.object("maintenance") {
        maintenance(input, members, &mut notice);
    }
    match input.object("banner") {
        Some(Some(members)) => notice.banner = banner(input, members),
        Some(None) => notice.banner = None,
        None => {}
    }
    notice
}

fn maintenance(outer: &mut Input, members: Map<String, Value>, notice: &mut Notice) {
    let mut i = Input::of(INNER, members);
    if let Some(on) = i.flag("on") {
        notice.maintenance = on;
    }
    if let Some(message) = i.text("message") {
        notice.message = one_line(&mut i, "message", message);
    }
    if let Some(pause) = i.flag("pause_schedules") {
        notice.pause_schedules = pause;
    }
    told(outer, "maintenance", i.finish(&[]));
}

fn banner(outer: &mut Input, members: Map<String, Value>) -> Option<Banner> {
    let mut i = Input::of(INNER, members);
    let text = i.text("text").unwrap_or_default();
    let text = one_line(&mut i, "text", text);
    let level = i.choice("level").map_or(Level::Info, Level::parse);
    let until = i.maybe_text("until").flatten();
    let until: Option<Ms> = until.and_then(|text| match clock::parse_utc(&text) {
        Some(at) if at > clock::now() => Some(at),
        Some(_) => {
            i.wrong("until", "too_early", "The end of a banner lies ahead.");
            None
        }
        None => {
            i.wrong("until", "bad_time", "A time is like 2026-01-02T03:04, in UTC.");
            None
        }
    });
    told(outer, "banner", i.finish(&[]));
    Some(Banner { text, level, until }).filter(|banner| !banner.text.is_empty())
}

fn one_line(i: &mut Input, field: &'static str, text: String) -> String {
    if text.contains(char::is_control) {
        i.wrong(field, "bad_text", "It is one line.");
    }
    text
}

/// Mistakes inside of an object stand at the object.
fn told(outer: &mut Input, field: &'static str, read: Result<()>) {
    let Err(e) = read else { return };
    match e.fields.is_empty() {
        true => outer.wrong(field, "bad_field", e.say),
        false => e
            .fields
            .into_iter()
            .for_each(|wrong| outer.wrong(field, wrong.code, wrong.message)),
    }
}
