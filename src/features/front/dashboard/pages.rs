//! The overview and the first run.

use super::search;
use crate::access::Place;
use crate::access::right::{self, Read, may};
use crate::base::error::Result;
use crate::features::fleet::servers::{HostKeyState, Known, known};
use crate::http::card::{Card, Overview, Slot};
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::request::Method::Get;
use crate::http::route::{Ctx, Route, route};
use crate::http::view::Prepared;
use crate::lang::Locale;
use serde::Serialize;
use std::collections::BTreeMap;

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/", may(Read, right::Dashboard), home),
    route(Get, "/search", may(Read, right::Dashboard), search::show).query(search::QUESTION),
];

fn home(ctx: &Ctx) -> Result<Reply> {
    let (locale, actor) = (page::locale(ctx)?, ctx.actor()?);
    let cards = ctx.app.registry.all::<Card>();
    let seen: Vec<bool> = cards
        .iter()
        .map(|card| actor.has(card.right, &Place::Granted))
        .collect();
    let (lang, zone, role) = (locale.lang.tag(), locale.zone.name(), actor.role().name());
    let key = format!("home {lang} {zone} {role} {seen:?}");
    let kept = ctx.web.cache.get(ctx.app, &key, || {
        let all = known(ctx, "", "")?;
        if all.len() <= 1 && all.iter().all(|k| k.sample.is_none()) {
            return Ok(("dashboard/welcome.html", welcome(all.first())));
        }
        let cards = cards.iter().zip(&seen).filter(|(_, seen)| **seen);
        let cards = cards.map(|(card, _)| *card).collect();
        Ok(("dashboard/dashboard.html", dashboard(ctx, &locale, cards)?))
    })?;
    page::show(ctx, kept.0, &kept.1)
}

#[derive(Serialize)]
struct Step {
    name: &'static str,
    /// `done`, `now` or `later`.
    state: &'static str,
}

#[derive(Serialize)]
struct Named<'a> {
    id: i64,
    name: &'a str,
}

/// The first run: three steps, each a lamp.
fn welcome(first: Option<&Known>) -> Prepared {
    let reached = first.is_some_and(|k| k.server.host_key_state == HostKeyState::Pinned && k.server.facts_at.is_some());
    let done = [first.is_some(), reached, false];
    let now = done.iter().position(|d| !d).unwrap_or(0);
    let steps = ["add", "reach", "glances"]
        .into_iter()
        .enumerate()
        .map(|(n, name)| Step {
            name,
            state: if done[n] {
                "done"
            } else if n == now {
                "now"
            } else {
                "later"
            },
        });
    let content = serde_json::json!({
        "steps": steps.collect::<Vec<_>>(),
        "server": first.map(|k| Named { id: k.server.id.get(), name: &k.server.fields.name }),
    });
    Prepared::of(content)
}

/// A card as its template finds it.
#[derive(Serialize)]
struct Shown {
    name: &'static str,
    template: &'static str,
    data: Prepared,
}

#[derive(Serialize)]
struct Dashboard {
    cards: BTreeMap<Slot, Vec<Shown>>,
    needs_more: usize,
}

fn dashboard(ctx: &Ctx, locale: &Locale, mut cards: Vec<&'static Card>) -> Result<Prepared> {
    cards.sort_by_key(|card| (card.slot, card.place));
    let on = Overview::new(ctx, locale);
    let mut shown: BTreeMap<_, _> = Slot::ALL.map(|slot| (slot, Vec::new())).into();
    for card in cards {
        let Some(data) = (card.data)(&on)? else { continue };
        let Card { name, template, .. } = *card;
        shown.entry(card.slot).or_default().push(Shown { name, template, data });
    }
    Ok(Prepared::of(Dashboard {
        cards: shown,
        needs_more: on.left_out(),
    }))
}
