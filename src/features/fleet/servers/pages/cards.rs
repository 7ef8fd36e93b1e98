//! The servers on the overview: the sentence above it, their figures, the wall of lamps, and who of them needs a person.

use super::known::{Known, Why, count, counts_by_lamp, known};
use crate::access::Right;
use crate::access::right::{Read, Servers, may};
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::features::fleet::latest::Line;
use crate::features::fleet::servers::State;
use crate::http::card::{COUNTER, Card, Counter, Overview, Picture, Slot};
use crate::http::view::{Markup, Prepared, spark};
use crate::lang::format;
use serde::Serialize;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};

const SEE: Right = may(Read, Servers);

/// See [`Card`].
pub const CARDS: &[Card] = &[
    Card {
        name: "lamps",
        slot: Slot::Head,
        place: 1,
        right: SEE,
        template: "servers/_card_head.html",
        data: head,
    },
    counter("answer", 1, answer),
    counter("cpu", 2, |on| {
        share(on, |k| k.sample.as_ref()?.cpu_percent, |k| k.spark.cpu())
    }),
    counter("mem", 3, |on| {
        share(on, |k| k.sample.as_ref()?.mem_percent, |k| k.spark.mem())
    }),
    counter("disk", 4, disk),
    Card {
        name: "wall",
        slot: Slot::Wide,
        place: 1,
        right: SEE,
        template: "servers/_card_wall.html",
        data: wall,
    },
    Card {
        name: "servers",
        slot: Slot::Needs,
        place: 1,
        right: SEE,
        template: "servers/_card_needs.html",
        data: needs,
    },
];

const fn counter(name: &'static str, place: u8, data: fn(&Overview) -> Result<Option<Prepared>>) -> Card {
    Card {
        name,
        slot: Slot::Counters,
        place,
        right: SEE,
        template: COUNTER,
        data,
    }
}

#[derive(Serialize)]
struct Head<'a> {
    counts: HashMap<&'static str, i64>,
    longest: Option<Longest<'a>>,
    last_poll: Option<Ms>,
}

#[derive(Serialize)]
struct Longest<'a> {
    id: i64,
    name: &'a str,
    since: Ms,
}

fn head(on: &Overview) -> Result<Option<Prepared>> {
    let all = known(on.ctx, "", "")?;
    let down = all.iter().map(|k| &k.server).filter(|s| s.state == State::Down);
    let longest = down.min_by_key(|s| s.state_since).map(|s| Longest {
        id: s.id.get(),
        name: &s.fields.name,
        since: s.state_since,
    });
    Ok(Some(Prepared::of(Head {
        counts: counts_by_lamp(&count(&all)),
        longest,
        last_poll: all.iter().filter_map(|k| Some(k.sample.as_ref()?.at)).max(),
    })))
}

/// Servers that answer.
fn answer(on: &Overview) -> Result<Option<Prepared>> {
    let all = known(on.ctx, "", "")?;
    let counts = count(&all);
    let answer = all.iter().filter(|k| k.server.availability.status == "ok").count() as f64;
    Ok(Some(Prepared::of(Counter {
        href: "/servers",
        value: Some(answer),
        unit: format!(" / {}", counts.total),
        foot: Some(json!({ "n": counts.of(State::Pending) })),
        picture: Some(Picture::Part {
            part: answer,
            whole: counts.total as f64,
            rest_is_bad: true,
        }),
    })))
}

/// The median of the servers that are not down, what one of twenty exceeds, and the fleet's last hour.
fn share(on: &Overview, pick: fn(&Known) -> Option<f64>, line: fn(&Known) -> Line) -> Result<Option<Prepared>> {
    let all = known(on.ctx, "", "")?;
    let there = all.iter().filter(|k| k.server.state != State::Down);
    let mut values: Vec<f64> = there.filter_map(pick).collect();
    values.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let n = ((values.len() as f64 - 1.0) * part).round();
        values.get(n as usize).copied()
    };
    let whole = |v| format::number(on.locale.lang, v, 0);
    Ok(Some(Prepared::of(Counter {
        href: "/servers",
        value: at(0.5),
        unit: "%".into(),
        foot: at(0.95).map(|v| json!({ "value": whole(v) })),
        picture: Some(Picture::Line {
            points: medians(&all, line),
        }),
    })))
}

/// The fleet's median at each point of the last hour.
fn medians(all: &[Known], line: fn(&Known) -> Line) -> String {
    let lines: Vec<Vec<_>> = all.iter().map(|k| line(k).points().collect()).collect();
    let points = lines.iter().map(Vec::len).max().unwrap_or(0);
    spark((0..points).map(|i| {
        let mut v: Vec<u8> = lines.iter().filter_map(|line| *line.get(i)?).collect();
        v.sort_unstable();
        v.get(v.len() / 2).map(|v| f64::from(*v))
    }))
}

/// The fullest disk of all.
fn disk(on: &Overview) -> Result<Option<Prepared>> {
    let all = known(on.ctx, "", "")?;
    let disks = all
        .iter()
        .filter_map(|k| Some((k.sample.as_ref()?.disk_max_percent?, k)));
    let fullest = disks.max_by(|a, b| a.0.total_cmp(&b.0));
    let value = fullest.map(|(v, _)| v);
    Ok(Some(Prepared::of(Counter {
        href: "/servers",
        value,
        unit: "%".into(),
        foot: fullest.map(|(_, k)| json!({ "place": place_of_disk(k) })),
        picture: Some(Picture::Part {
            part: value.unwrap_or(0.0),
            whole: 100.0,
            rest_is_bad: false,
        }),
    })))
}

/// `web-1 /srv`; the root goes without saying.
fn place_of_disk(k: &Known) -> String {
    let mount = k.sample.as_ref().and_then(|s| s.disk_max_mount.as_deref());
    match mount.filter(|mount| *mount != "/") {
        Some(mount) => format!("{} {mount}", k.server.fields.name),
        None => k.server.fields.name.clone(),
    }
}

#[derive(Serialize)]
struct Need<'a> {
    id: i64,
    name: &'a str,
    why: &'a Why,
}

fn needs(on: &Overview) -> Result<Option<Prepared>> {
    let all = known(on.ctx, "", "")?;
    // Who is silenced needs nobody: that was said.
    let loud = all.iter().filter(|k| k.server.silenced_until.is_none());
    let needy =
        loud.filter(|k| k.server.state >= State::Degraded || matches!(k.why.kind, "key_pending" | "key_changed"));
    let needs: Vec<_> = needy
        .map(|k| Need {
            id: k.server.id.get(),
            name: &k.server.fields.name,
            why: &k.why,
        })
        .collect();
    let shown = needs.len().min(on.free_rows());
    on.took_rows(shown, needs.len() - shown);
    Ok((shown > 0).then(|| Prepared::of(&needs[..shown])))
}

#[derive(Serialize)]
struct Wall<'a> {
    counts: HashMap<&'static str, i64>,
    streets: Vec<Street<'a>>,
}

#[derive(Serialize)]
struct Street<'a> {
    tag: Option<&'a str>,
    lit: usize,
    total: usize,
    lamps: Markup,
}

#[derive(Serialize)]
struct Lamp<'a> {
    id: i64,
    name: &'a str,
    seen: Option<Ms>,
    shares: String,
    why: &'a Why,
}

/// Streets of the wall; what is left shares the last one.
const STREETS_MAX: usize = 12;

/// One street for each first tag, until there are groups.
fn wall(on: &Overview) -> Result<Option<Prepared>> {
    let all = known(on.ctx, "", "")?;
    let mut by_tag: BTreeMap<Option<&str>, Vec<&Known>> = BTreeMap::new();
    for k in all.iter() {
        let tag = k.server.fields.tags.first().map(String::as_str);
        by_tag.entry(tag).or_default().push(k);
    }
    let mut streets: Vec<_> = by_tag.into_iter().collect();
    streets.sort_by_key(|(tag, lamps)| (tag.is_none(), std::cmp::Reverse(lamps.len())));
    if streets.len() > STREETS_MAX {
        let rest: Vec<_> = streets.drain(STREETS_MAX - 1..).flat_map(|(_, lamps)| lamps).collect();
        streets.push((None, rest));
    }
    let streets = streets.into_iter().map(|(tag, lamps)| street(on, tag, lamps));
    Ok(Some(Prepared::of(Wall {
        counts: counts_by_lamp(&count(&all)),
        streets: streets.collect::<Result<_>>()?,
    })))
}

fn street<'a>(on: &Overview, tag: Option<&'a str>, mut lamps: Vec<&'a Known>) -> Result<Street<'a>> {
    lamps.sort_by(|a, b| a.server.fields.name.cmp(&b.server.fields.name));
    let whole = |v: Option<f64>| v.map(|v| format!("{v:.0}")).unwrap_or_default();
    let lamp = |k: &'a Known| Lamp {
        id: k.server.id.get(),
        name: &k.server.fields.name,
        seen: k.sample.as_ref().map(|s| s.at),
        shares: k.sample.as_ref().map_or(String::new(), |s| {
            [s.cpu_percent, s.mem_percent, s.disk_max_percent].map(whole).join(" ")
        }),
        why: &k.why,
    };
    let rows = lamps.iter().map(|k| (k.server.id.get(), k.stamp(), || lamp(k)));
    let markup = on.ctx.web.view.rows("servers/lamp.html", on.locale, rows)?;
    let lit = lamps.iter().filter(|k| k.server.state == State::Up).count();
    Ok(Street {
        tag,
        lit,
        total: lamps.len(),
        lamps: markup,
    })
}
