//! What is said of domains on the pages of servers and tasks.

use super::list::{Row, row};
use super::show::{site, stands_as};
use crate::base::clock::Ms;
use crate::base::error::{Error, Result};
use crate::base::id::Id;
use crate::features::proxy::domains::{self, Domain, Filter, Site};
use crate::http::route::{Ctx, Panel};
use crate::task::{Status, queue};
use serde::Serialize;
use serde_json::Value;

/// Panels on other pages; rendered by `domains/_on_server.html` and `domains/_stands.html`.
pub const PANELS: &[Panel] = &[
    Panel {
        on: "server",
        slot: "domains",
        data: on_server,
    },
    Panel {
        on: "task",
        slot: "stands",
        data: after_failure,
    },
];

/// State of a domain on one of its servers.
#[derive(Serialize)]
struct Standing<'a> {
    server_id: i64,
    server: &'a str,
    glyph: &'static str,
    /// Id of the text.
    what: &'static str,
    deployed_at: Option<Ms>,
    issued: bool,
}

fn standing<'a>(d: &Domain, s: &'a Site, since: Option<Ms>) -> Standing<'a> {
    let is_new = s.state == "live" && since.is_some() && s.deployed_at >= since;
    Standing {
        server_id: s.server.get(),
        server: &s.server_name,
        glyph: site(d, s).glyph,
        what: if is_new { "fresh" } else { stands_as(s) },
        deployed_at: s.deployed_at,
        issued: s.issued,
    }
}

/// On the page of a domain's failed task: what is on its servers now.
fn after_failure(ctx: &Ctx, id: i64) -> Result<Value> {
    let domain = ctx.app.db.read(|conn| {
        let task = queue::get(conn, Id::new(id))?;
        let is_told = task.status.is_final() && task.status != Status::Ok && task.target.0 == "domain";
        let domain = match is_told {
            true => domains::find(conn, Id::new(task.target.1))?,
            false => None,
        };
        Ok(domain.map(|domain| (domain, task.started_at)))
    })?;
    let Some((domain, since)) = domain.filter(|(d, _)| !d.sites.is_empty()) else {
        return Ok(Value::Null);
    };
    let sites: Vec<_> = domain.sites.iter().map(|s| standing(&domain, s, since)).collect();
    serde_json::to_value(sites).map_err(Error::internal)
}

/// Domains on a server's page.
const ON_SERVER: i64 = 12;

#[derive(Serialize)]
struct OnServer {
    rows: Vec<Row>,
    total: i64,
}

fn on_server(ctx: &Ctx, id: i64) -> Result<Value> {
    let filter = Filter {
        server: Some(Id::new(id)),
        limit: ON_SERVER,
        ..Filter::default()
    };
    let (domains, total) = ctx.app.db.read(|conn| domains::list(conn, &filter))?;
    if total == 0 {
        return Ok(Value::Null);
    }
    let rows = domains.iter().map(row).collect();
    serde_json::to_value(OnServer { rows, total }).map_err(Error::internal)
}
