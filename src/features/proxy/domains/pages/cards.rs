//! The domains on the overview: how many, and who of them needs a person.

use super::why::{Why, why};
use crate::access::right::{Domains, Read, may};
use crate::base::error::Result;
use crate::db::Conn;
use crate::features::proxy::domains::{self, Filter, queries};
use crate::http::card::{COUNTER, Card, Counter, Picture, Slot};
use crate::http::view::Prepared;
use serde::Serialize;

/// See [`Card`].
pub const CARDS: &[Card] = &[
    Card {
        name: "domains",
        slot: Slot::Counters,
        place: 5,
        right: may(Read, Domains),
        template: COUNTER,
        data: |on| {
            let (all, tls) = on.ctx.app.db.read(queries::totals)?;
            Ok(Some(Prepared::of(Counter {
                href: "/domains",
                value: Some(all as f64),
                foot: Some(serde_json::json!({ "tls": tls, "plain": all - tls })),
                picture: Some(Picture::Part {
                    part: tls as f64,
                    whole: all as f64,
                    rest_is_bad: false,
                }),
                ..Counter::default()
            })))
        },
    },
    Card {
        name: "domains",
        slot: Slot::Needs,
        place: 2,
        right: may(Read, Domains),
        template: "domains/_card_needs.html",
        data: |on| {
            let (rows, more) = on.ctx.app.db.read(|conn| needs(conn, on.free_rows()))?;
            on.took_rows(rows.len(), more);
            Ok((!rows.is_empty()).then(|| Prepared::of(rows)))
        },
    },
];

/// A domain that needs attention, for the overview.
#[derive(Serialize)]
struct Need {
    id: i64,
    name: String,
    why: Why,
}

/// Domains that need attention, those that are down first: at most `max`, and the number of others.
fn needs(conn: &Conn, max: usize) -> Result<(Vec<Need>, usize)> {
    let mut found = Vec::new();
    let mut total = 0;
    for state in ["dark", "flick"] {
        let filter = Filter {
            state,
            limit: max as i64,
            ..Filter::default()
        };
        let (domains, count) = domains::list(conn, &filter)?;
        total += count as usize;
        found.extend(domains.iter().map(|d| Need {
            id: d.id.get(),
            name: d.name(),
            why: why(d),
        }));
    }
    found.truncate(max);
    let more = total - found.len();
    Ok((found, more))
}
