//! Panels of Marzban: how they and their nodes were seen last, and their users, who are asked for when somebody looks.

use super::{Rows, figures, figures_of};
use crate::access::right::{Deploy, Services};
use crate::app::App;
use crate::audit;
use crate::base::clock::{self, rfc3339};
use crate::base::error::{Error, Field, Result};
use crate::base::id::{self, Id};
use crate::base::process::Cancel;
use crate::base::shape::described;
use crate::features::workloads::services::kinds::{self, Change, PANEL_STATES, PanelUser, Wanted};
use crate::features::workloads::services::queries::{self, Service};
use crate::features::workloads::services::verdict::{Figures, Health};
use crate::features::workloads::services::{look, named};
use crate::form::param::{self, Param};
use crate::http::reply::Reply;
use crate::http::route::Ctx;
use std::collections::BTreeMap;

/// Of a list of users.
pub const USERS: &[Param] = &[
    param::text(
        "status",
        20,
        "Only in this state: active, on_hold, limited, expired, disabled.",
    ),
    param::text("search", 100, "Only with this in their names or notes."),
    crate::http::route::LIMIT,
    crate::http::route::OFFSET,
];

/// Of a changed user; one of them.
pub const CHANGE: &[Param] = &[
    param::flag("enabled", "May it use the service?"),
    param::text(
        "expires_at",
        40,
        "End of its time in UTC, like 2027-01-02T03:04Z; an empty text: none.",
    ),
];

described! {
    /// All panels.
    pub struct Instances<'a> {
        instances: Vec<Instance<'a>>,
    }

    /// A panel as it was seen last.
    pub struct Instance<'a> {
        id: Id<id::Service>,
        name: &'a str,
        base_url: &'a str,
        health: Health,
        health_message: &'a str,
        checked_at: Option<String>,
        latency_ms: Option<f64>,
        users: Users,
        /// Traffic, processor and memory of its server.
        metrics: BTreeMap<String, f64>,
        /// Each with state, message, version of Xray and its share of a day's traffic.
        nodes: Rows,
    }

    /// Users by state; nothing where a panel does not tell.
    #[derive(Debug, Default, Clone, PartialEq)]
    pub struct Users {
        pub total: Option<f64>,
        pub online: Option<f64>,
        pub active: Option<f64>,
        pub on_hold: Option<f64>,
        pub limited: Option<f64>,
        pub expired: Option<f64>,
        pub disabled: Option<f64>,
    }

    /// Users of all panels together.
    pub struct UserStats {
        users: Users,
        instances: usize,
        /// So many of them could be looked at.
        seen: usize,
    }

    /// Users of a panel.
    pub struct Page {
        users: Vec<PanelUser>,
        total: i64,
    }
}

/// Users by state, of these figures.
pub fn users_of(n: &Figures) -> Users {
    let of = |name: &str| n.custom.get(name).copied();
    Users {
        total: of("users"),
        online: of("online_users"),
        active: of("users_active"),
        on_hold: of("users_on_hold"),
        limited: of("users_limited"),
        expired: of("users_expired"),
        disabled: of("users_disabled"),
    }
}

fn instance<'a>(s: &'a Service, mut n: Figures) -> Instance<'a> {
    let users = users_of(&n);
    n.custom
        .retain(|name, _| !name.starts_with("users") && name != "online_users");
    Instance {
        id: s.id,
        name: &s.fields.name,
        base_url: kinds::text(&s.fields.config, "base_url"),
        health: s.now.health,
        health_message: &s.now.say,
        checked_at: s.now.checked_at.map(rfc3339),
        latency_ms: n.latency_ms,
        users,
        nodes: n.tables.remove("nodes").unwrap_or_default(),
        metrics: n.custom,
    }
}

/// All panels with their figures.
pub fn panels(app: &App) -> Result<Vec<(Service, Figures)>> {
    let filter = queries::Filter {
        kind: "marzban",
        limit: i64::MAX,
        ..queries::Filter::default()
    };
    let (all, _) = app.db.read(|conn| queries::list(conn, &filter))?;
    let mut figures = figures(app)?;
    Ok(all
        .into_iter()
        .map(|s| {
            let n = figures.remove(&s.id.get()).unwrap_or_default();
            (s, n)
        })
        .collect())
}

/// The panel of the request, by its name or number. Error `NotFound`.
pub fn panel(ctx: &Ctx) -> Result<Service> {
    ctx.app.db.read(|conn| named(conn, ctx.arg(0), "marzban"))
}

pub fn list(ctx: &Ctx) -> Result<Reply> {
    let all = panels(ctx.app)?;
    let instances = all.iter().map(|(s, n)| instance(s, n.clone())).collect();
    Reply::json(&Instances { instances })
}

pub fn show(ctx: &Ctx) -> Result<Reply> {
    let s = panel(ctx)?;
    let n = figures_of(ctx.app, &s)?;
    Reply::json(&instance(&s, n))
}

pub fn user_stats(ctx: &Ctx) -> Result<Reply> {
    let all = panels(ctx.app)?;
    let seen: Vec<Users> = all
        .iter()
        .map(|(_, n)| users_of(n))
        .filter(|users| users.total.is_some())
        .collect();
    let sum = |of: fn(&Users) -> Option<f64>| seen.iter().filter_map(of).reduce(|a, b| a + b);
    let users = Users {
        total: sum(|users| users.total),
        online: sum(|users| users.online),
        active: sum(|users| users.active),
        on_hold: sum(|users| users.on_hold),
        limited: sum(|users| users.limited),
        expired: sum(|users| users.expired),
        disabled: sum(|users| users.disabled),
    };
    Reply::json(&UserStats {
        users,
        instances: all.len(),
        seen: seen.len(),
    })
}

/// A page of a panel's users, asked for now.
pub fn asked_users(ctx: &Ctx, s: &Service, wanted: Wanted) -> Result<(Vec<PanelUser>, i64)> {
    if !wanted.status.is_empty() && !PANEL_STATES.contains(&wanted.status.as_str()) {
        let message = format!("status is one of: {}.", PANEL_STATES.join(", "));
        return Err(Error::invalid(vec![Field {
            field: "status",
            code: "bad_choice",
            message,
        }]));
    }
    let s = s.clone();
    ctx.outbound(move |app| look::asked(app, &s, &Cancel::new(), look::ASK_MAX, |ask| kinds::users(ask, &wanted)))
}

pub fn users(ctx: &Ctx) -> Result<Reply> {
    let (limit, offset) = ctx.page()?;
    let wanted = Wanted {
        status: ctx.param("status").into(),
        search: ctx.param("search").into(),
        limit,
        offset,
    };
    let (users, total) = asked_users(ctx, &panel(ctx)?, wanted)?;
    Reply::json(&Page { users, total })
}

/// Changes a user of a panel, as the request's person, and says so in the audit before it is done.
pub fn changed_user(ctx: &Ctx, s: &Service, name: &str, what: Change) -> Result<PanelUser> {
    let by = ctx.allowed(Deploy, Services)?;
    let (act, detail) = match what {
        Change::Enabled(true) => ("marzban.user_enable", serde_json::json!({ "user": name })),
        Change::Enabled(false) => ("marzban.user_disable", serde_json::json!({ "user": name })),
        Change::Reset => ("marzban.user_reset", serde_json::json!({ "user": name })),
        Change::Expires(at) => {
            let at = at.map(|s| rfc3339(s * clock::SECOND));
            (
                "marzban.user_expiry",
                serde_json::json!({ "user": name, "expires_at": at }),
            )
        }
    };
    let object = format!("service {} {}", s.id, s.fields.name);
    ctx.app
        .db
        .write(|tx| audit::append(tx, &ctx.app.vault, by, act, &object, &detail))?;
    let (s, name) = (s.clone(), name.to_string());
    ctx.outbound(move |app| {
        look::asked(app, &s, &Cancel::new(), look::ASK_MAX, |ask| {
            kinds::change(ask, &name, what)
        })
    })
}

/// The end of a user's time, unix s. Error: no time.
pub fn expiry(text: &str) -> Result<Option<i64>> {
    if text.is_empty() {
        return Ok(None);
    }
    let at = clock::parse_utc(text).filter(|at| *at > 0).ok_or_else(|| {
        Error::invalid(vec![Field {
            field: "expires_at",
            code: "bad_time",
            message: "expires_at is a time in UTC, like 2027-01-02T03:04Z.".into(),
        }])
    })?;
    Ok(Some(at / clock::SECOND))
}

pub fn change(ctx: &Ctx) -> Result<Reply> {
    let mut input = ctx.input()?;
    let (enabled, expires) = (input.flag("enabled"), input.text("expires_at"));
    input.finish(&[])?;
    let s = panel(ctx)?;
    let mut done = None;
    if let Some(text) = expires {
        done = Some(changed_user(ctx, &s, ctx.arg(1), Change::Expires(expiry(&text)?))?);
    }
    if let Some(enabled) = enabled {
        done = Some(changed_user(ctx, &s, ctx.arg(1), Change::Enabled(enabled))?);
    }
    match done {
        Some(user) => Reply::json(&user),
        None => Err(Error::invalid(vec![Field {
            field: "enabled",
            code: "required",
            message: "Send enabled, expires_at, or both.".into(),
        }])),
    }
}

pub fn reset(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    Reply::json(&changed_user(ctx, &panel(ctx)?, ctx.arg(1), Change::Reset)?)
}
