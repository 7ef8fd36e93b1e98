//! One field that finds everything with a name: servers, domains, upstreams, groups, certificates and tasks. The palette
//! asks the API while somebody types; without script the same field leads to a page.

use crate::access::right::{Dashboard, Read, may};
use crate::base::error::Result;
use crate::base::id::Id;
use crate::base::shape::described;
use crate::base::text;
use crate::features::fleet::groups;
use crate::features::fleet::servers;
use crate::features::fleet::servers::pages::task_title;
use crate::features::proxy::certificates;
use crate::features::proxy::domains;
use crate::features::proxy::upstreams;
use crate::form::param::{self, Param};
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::request::Method::Get;
use crate::http::route::{Ctx, Route, route};
use crate::task::{self, queue};
use serde::Serialize;
use std::collections::BTreeMap;

/// See [`Route`].
pub const ROUTES: &[Route] = &[route(Get, "/api/search", may(Read, Dashboard), search)
    .query(QUESTION)
    .gives::<Found>()];

/// What a search may be asked.
pub const QUESTION: &[Param] = &[param::text(
    "q",
    4_096,
    "Part of a name, host or note; or a task's number.",
)];

/// Of each kind; how many more there are is told.
const EACH_MAX: i64 = 8;
/// Longer than any name.
const Q_MAX: usize = 253;

described! {
    struct Hit {
        /// As in the menu: `servers`, `domains`, …
        kind: &'static str,
        name: String,
        /// What tells it from others of the name.
        detail: String,
        /// Its page.
        href: String,
    }

    /// What fits: the first of each kind, and how many there are of those kinds that have more.
    #[derive(Default)]
    struct Found {
        items: Vec<Hit>,
        /// All that fit, shown or not.
        total: i64,
        /// By kind, where not all are among the items: all of them.
        more: BTreeMap<&'static str, i64>,
    }
}

impl Found {
    fn add(&mut self, kind: &'static str, name: &str, detail: &str, href: String) {
        self.items.push(Hit {
            kind,
            name: name.into(),
            detail: detail.into(),
            href,
        });
    }

    fn count(&mut self, kind: &'static str, all: i64) {
        self.total += all;
        if all > EACH_MAX {
            self.more.insert(kind, all);
        }
    }
}

fn hits(ctx: &Ctx) -> Result<(String, Found)> {
    let q = text::cut(ctx.param("q").trim(), Q_MAX).to_string();
    if q.is_empty() {
        return Ok((q, Found::default()));
    }
    let mut found = Found::default();
    let (q, limit) = (q.as_str(), EACH_MAX);
    ctx.app.db.read(|conn| {
        let filter = servers::Filter {
            q,
            limit,
            ..Default::default()
        };
        let (rows, all) = servers::list(conn, &filter)?;
        found.count("servers", all);
        for s in rows {
            found.add("servers", &s.fields.name, &s.fields.host, format!("/servers/{}", s.id));
        }
        let filter = domains::Filter {
            q,
            limit,
            ..Default::default()
        };
        let (rows, all) = domains::list(conn, &filter)?;
        found.count("domains", all);
        for d in rows {
            let name = certificates::shown(d.fields.domain.ascii());
            found.add(
                "domains",
                &name,
                d.group.as_deref().unwrap_or(""),
                format!("/domains/{}", d.id),
            );
        }
        let filter = upstreams::Filter {
            q,
            limit,
            ..Default::default()
        };
        let (rows, all) = upstreams::list(conn, &filter)?;
        found.count("upstreams", all);
        for u in rows {
            found.add(
                "upstreams",
                &u.fields.name,
                &u.fields.notes,
                format!("/upstreams/{}", u.id),
            );
        }
        let filter = groups::Filter {
            kind: "",
            q,
            limit,
            offset: 0,
        };
        let (rows, all) = groups::list(conn, &filter)?;
        found.count("groups", all);
        for g in rows {
            found.add("groups", &g.fields.name, &g.fields.notes, format!("/groups#g{}", g.id));
        }
        let part = q.to_lowercase();
        let has = |name: &String| name.to_lowercase().contains(&part) || certificates::shown(name).contains(&part);
        let named = certificates::all(conn)?.into_iter();
        let named: Vec<_> = named.filter(|c| has(&c.name) || c.names.iter().any(has)).collect();
        found.count("certificates", named.len() as i64);
        for c in named.into_iter().take(EACH_MAX as usize) {
            found.add(
                "certificates",
                &c.name,
                &c.names.join(", "),
                format!("/certificates/{}", c.id),
            );
        }
        let filter = task::Filter {
            q,
            limit,
            ..Default::default()
        };
        let (mut tasks, all) = queue::list(conn, &filter)?;
        found.count("tasks", all);
        if let Some(id) = Id::parse(q.trim_start_matches('#'))
            && let Ok(task) = queue::get(conn, id)
        {
            found.total += 1;
            tasks.push(task);
        }
        let lang = page::lang(ctx.request, ctx.maybe_actor());
        for t in tasks {
            let name = format!("{}: {}", t.target.2, task_title(ctx.web, &t.kind, lang));
            found.add("tasks", &name, &format!("#{}", t.id), format!("/tasks/{}", t.id));
        }
        Ok(())
    })?;
    Ok((q.to_string(), found))
}

/// Everything whose name (or host, or notes) has `?q=` in it, at most eight of a kind; `total` counts all, `more` those of
/// the kinds that are cut. A number finds its task.
fn search(ctx: &Ctx) -> Result<Reply> {
    let (_, found) = hits(ctx)?;
    Reply::json(&found)
}

/// The list of a kind that takes the same question; groups have none.
fn list_of(kind: &str) -> Option<&'static str> {
    match kind {
        "servers" => Some("/servers"),
        "domains" => Some("/domains"),
        "upstreams" => Some("/upstreams"),
        "certificates" => Some("/certificates"),
        "tasks" => Some("/logs"),
        _ => None,
    }
}

/// The hits of a kind.
#[derive(Serialize)]
struct Part<'a> {
    hits: &'a [Hit],
    /// All of the kind, where these are not all.
    of: Option<i64>,
    /// Where all of them are.
    all: Option<&'static str>,
}

/// The same as a page.
pub fn show(ctx: &Ctx) -> Result<Reply> {
    let (q, found) = hits(ctx)?;
    let parts: Vec<_> = found
        .items
        .chunk_by(|a, b| a.kind == b.kind)
        .map(|hits| Part {
            hits,
            of: found.more.get(hits[0].kind).copied(),
            all: list_of(hits[0].kind),
        })
        .collect();
    page::show(
        ctx,
        "dashboard/search.html",
        serde_json::json!({ "q": q, "parts": parts }),
    )
}
