//! Pages of Marzban: all panels with their nodes, and the users of one.

use super::{TableView, glyph, tables};
use crate::base::clock::{Ms, parse_utc};
use crate::base::error::{Error, Kind, Result};
use crate::features::workloads::services::api::marzban::{self, Users};
use crate::features::workloads::services::kinds::{Change, PANEL_STATES, PanelUser, Wanted};
use crate::http::page::{self, query};
use crate::http::reply::Reply;
use crate::http::route::Ctx;
use serde::Serialize;

/// Users on a page.
const SHOWN: i64 = 100;

#[derive(Serialize)]
struct Panel {
    name: String,
    glyph: &'static str,
    health: &'static str,
    say: String,
    checked_at: Option<Ms>,
    users: Users,
    nodes: Option<TableView>,
}

#[derive(Serialize)]
struct List {
    panels: Vec<Panel>,
}

pub fn list(ctx: &Ctx) -> Result<Reply> {
    let all = marzban::panels(ctx.app)?;
    let panels = all.iter().map(|(s, n)| Panel {
        name: s.fields.name.clone(),
        glyph: glyph(s),
        health: s.now.health.name(),
        say: s.now.say.clone(),
        checked_at: s.now.checked_at,
        users: marzban::users_of(n),
        nodes: tables(s, n).pop(),
    });
    page::show(
        ctx,
        "services/marzban.html",
        List {
            panels: panels.collect(),
        },
    )
}

#[derive(Serialize)]
struct OneUser {
    username: String,
    status: String,
    used: f64,
    limit: Option<f64>,
    expires_at: Option<Ms>,
    online_at: Option<Ms>,
}

#[derive(Serialize)]
struct UserList {
    name: String,
    status: String,
    q: String,
    /// State, whether it is chosen, address.
    facets: Vec<(&'static str, bool, String)>,
    users: Vec<OneUser>,
    total: i64,
    /// Addresses of the pages before and after; empty: none.
    before: String,
    after: String,
    /// Why they cannot be shown.
    error: String,
}

pub fn users(ctx: &Ctx) -> Result<Reply> {
    let s = marzban::panel(ctx)?;
    let (status, q) = (ctx.param("status"), ctx.param("search"));
    let offset: i64 = ctx.param("offset").parse().unwrap_or(0).max(0);
    let wanted = Wanted {
        status: status.into(),
        search: q.into(),
        limit: SHOWN,
        offset,
    };
    let at = |status: &str, offset: i64| {
        let offset = if offset > 0 { offset.to_string() } else { String::new() };
        query(&[("status", status), ("search", q), ("offset", &offset)])
    };
    let (found, error) = match marzban::asked_users(ctx, &s, wanted) {
        Ok(found) => (found, String::new()),
        Err(e) if matches!(e.kind, Kind::Upstream | Kind::Timeout | Kind::NotFound) => ((Vec::new(), 0), e.say),
        Err(e) => return Err(e),
    };
    let time = |text: &Option<String>| text.as_deref().and_then(parse_utc);
    let row = |user: &PanelUser| OneUser {
        username: user.username.clone(),
        status: user.status.clone(),
        used: user.used_bytes,
        limit: user.limit_bytes,
        expires_at: time(&user.expires_at),
        online_at: time(&user.online_at),
    };
    let (rows, total) = found;
    let content = UserList {
        name: s.fields.name.clone(),
        status: status.into(),
        q: q.into(),
        facets: std::iter::once("")
            .chain(PANEL_STATES)
            .map(|state| (state, state == status, at(state, 0)))
            .collect(),
        users: rows.iter().map(row).collect(),
        total,
        before: if offset > 0 {
            at(status, (offset - SHOWN).max(0))
        } else {
            String::new()
        },
        after: if offset + SHOWN < total {
            at(status, offset + SHOWN)
        } else {
            String::new()
        },
        error,
    };
    page::show(ctx, "services/users.html", content)
}

/// One user is changed, and the list is shown again.
pub fn change(ctx: &Ctx) -> Result<Reply> {
    let s = marzban::panel(ctx)?;
    let form = ctx.request.form()?;
    let text = |key: &str| {
        form.iter()
            .find(|(name, _)| name == key)
            .map_or("", |(_, value)| value.as_str())
    };
    let what = match text("what") {
        "enable" => Change::Enabled(true),
        "disable" => Change::Enabled(false),
        "reset" => Change::Reset,
        "expiry" => Change::Expires(marzban::expiry(text("expires_at").trim())?),
        _ => return Err(Error::not_found("act")),
    };
    marzban::changed_user(ctx, &s, text("user"), what)?;
    Ok(Reply::see_other(format!(
        "/marzban/{}{}",
        s.fields.name,
        query(&[("status", text("status"))])
    )))
}
