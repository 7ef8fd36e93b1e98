//! One field that finds everything with a name: servers, domains, upstreams, groups, certificates and tasks. The palette
//! asks the API while somebody types; without script the same field leads to a page.

use crate::access::Right;
use crate::base::error::Result;
use crate::base::id::Id;
use crate::base::text;
use crate::features::servers::pages::task_title;
use crate::features::{certificates, domains, groups, servers, upstreams};
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::request::Method::Get;
use crate::http::route::{Ctx, Route, route};
use crate::task::{self, queue};
use serde::Serialize;

/// See [`Route`].
pub const ROUTES: &[Route] = &[route(Get, "/api/search", Right::Read, search)];

/// Of each kind: who does not see it types one letter more.
const EACH_MAX: i64 = 8;
/// Longer than any name.
const Q_MAX: usize = 253;

#[derive(Serialize)]
struct Hit {
    /// As in the menu: `servers`, `domains`, …
    kind: &'static str,
    name: String,
    /// What tells it from others of the name.
    detail: String,
    /// Its page.
    href: String,
}

fn hits(ctx: &Ctx) -> Result<(String, Vec<Hit>)> {
    let q = text::cut(ctx.request.param("q").unwrap_or("").trim(), Q_MAX).to_string();
    if q.is_empty() {
        return Ok((q, Vec::new()));
    }
    let mut all = Vec::new();
    let mut add = |kind, name: &str, detail: &str, href: String| {
        all.push(Hit {
            kind,
            name: name.into(),
            detail: detail.into(),
            href,
        });
    };
    let (q, limit) = (q.as_str(), EACH_MAX);
    ctx.app.db.read(|conn| {
        let filter = servers::Filter {
            q,
            limit,
            ..Default::default()
        };
        for s in servers::list(conn, &filter)?.0 {
            add("servers", &s.fields.name, &s.fields.host, format!("/servers/{}", s.id));
        }
        let filter = domains::Filter {
            q,
            limit,
            ..Default::default()
        };
        for d in domains::list(conn, &filter)?.0 {
            let name = certificates::shown(d.fields.domain.ascii());
            add(
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
        for u in upstreams::list(conn, &filter)?.0 {
            add(
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
        for g in groups::list(conn, &filter)?.0 {
            add("groups", &g.fields.name, &g.fields.notes, format!("/groups#g{}", g.id));
        }
        let part = q.to_lowercase();
        let has = |name: &String| name.to_lowercase().contains(&part) || certificates::shown(name).contains(&part);
        let named = certificates::all(conn)?.into_iter();
        for c in named
            .filter(|c| has(&c.name) || c.names.iter().any(has))
            .take(EACH_MAX as usize)
        {
            add(
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
        let mut tasks = queue::list(conn, &filter)?.0;
        if let Some(id) = Id::parse(q.trim_start_matches('#')) {
            tasks.extend(queue::get(conn, id).ok());
        }
        let lang = page::lang(ctx.request, ctx.maybe_actor());
        for t in tasks {
            let name = format!("{}: {}", t.target.2, task_title(ctx.web, &t.kind, lang));
            add("tasks", &name, &format!("#{}", t.id), format!("/tasks/{}", t.id));
        }
        Ok(())
    })?;
    Ok((q.to_string(), all))
}

/// Everything whose name (or host, or notes) has `?q=` in it, at most eight of a kind; a number finds its task.
fn search(ctx: &Ctx) -> Result<Reply> {
    let (_, items) = hits(ctx)?;
    Reply::json(&serde_json::json!({ "total": items.len(), "items": items }))
}

/// The same as a page.
pub fn show(ctx: &Ctx) -> Result<Reply> {
    let (q, items) = hits(ctx)?;
    let parts: Vec<_> = items.chunk_by(|a, b| a.kind == b.kind).collect();
    page::show(ctx, "home/search.html", serde_json::json!({ "q": q, "parts": parts }))
}
