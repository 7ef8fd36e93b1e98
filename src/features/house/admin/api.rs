//! The administrators' settings as JSON.

use super::model;
use crate::access::Allowed;
use crate::access::right::{Edit, Read, Right, Settings, may};
use crate::app::App;
use crate::audit::{self, Snapshot};
use crate::base::clock::{self, rfc3339};
use crate::base::error::{Error, Result};
use crate::base::id::{Id, Project};
use crate::base::shape::described;
use crate::features::house::projects;
use crate::form::Input;
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Put};
use crate::http::route::{Ctx, Route, route};
use crate::notice::{self, Level, Notice};

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Get, "/api/admin/settings", may(Read, Settings), show).gives::<View>(),
    route(Put, "/api/admin/settings", may(Edit, Settings), change)
        .takes(model::PARAMS)
        .gives::<View>()
        .in_maintenance(),
    route(Get, "/api/admin/settings/public", Right::Public, public).gives::<Public>(),
];

described! {
    /// What administrators set.
    struct View<'a> {
        maintenance: Maintenance<'a>,
        /// `null`: none.
        banner: Option<BannerView<'a>>,
        /// New things belong to it.
        default_project: Id<Project>,
    }

    /// Maintenance of Lamplighter itself.
    struct Maintenance<'a> {
        /// Are changes and runs refused?
        on: bool,
        /// Why.
        message: &'a str,
        /// Do schedules rest meanwhile?
        pause_schedules: bool,
    }

    /// A text on every page.
    struct BannerView<'a> {
        text: &'a str,
        level: Level,
        /// `null`: until it is taken away.
        until: Option<String>,
    }

    /// What anybody is told, signed in or not.
    struct Public<'a> {
        maintenance: PublicMaintenance<'a>,
        /// `null`: none now.
        banner: Option<BannerView<'a>>,
    }

    /// Maintenance, for anybody.
    struct PublicMaintenance<'a> {
        on: bool,
        /// Empty when it is off.
        message: &'a str,
    }
}

fn banner(banner: &notice::Banner) -> BannerView<'_> {
    BannerView {
        text: &banner.text,
        level: banner.level,
        until: banner.until.map(rfc3339),
    }
}

fn reply(app: &App) -> Result<Reply> {
    let (notice, default_project) = app.db.read(|conn| Ok((notice::get(conn)?, projects::usual(conn)?)))?;
    Reply::json(&View {
        maintenance: Maintenance {
            on: notice.maintenance,
            message: &notice.message,
            pause_schedules: notice.pause_schedules,
        },
        banner: notice.banner.as_ref().map(banner),
        default_project,
    })
}

fn show(ctx: &Ctx) -> Result<Reply> {
    reply(ctx.app)
}

fn change(ctx: &Ctx) -> Result<Reply> {
    save(ctx.app, ctx.input()?, ctx.allowed(Edit, Settings)?)?;
    reply(ctx.app)
}

/// Reads a draft and stores it. Error: invalid fields.
pub fn save(app: &App, mut input: Input, by: Allowed<Edit, Settings>) -> Result<()> {
    app.db.write(|tx| {
        let old = notice::get(tx)?;
        let wanted = model::read(&mut input, old.clone());
        let project = input.link::<Project>("default_project").flatten();
        if let Some(id) = project.filter(|_| !input.has_error("default_project"))
            && projects::find(tx, id)?.is_none()
        {
            input.wrong("default_project", "missing", "There is no such project.");
        }
        input.finish(&[])?;
        let was = projects::usual(tx)?;
        if let Some(id) = project {
            projects::set_usual(tx, id)?;
        }
        notice::set(tx, &wanted)?;
        let now = projects::usual(tx)?;
        if (&old, was) == (&wanted, now) {
            return Ok(());
        }
        let stood = [snapshot(&old, was)?, snapshot(&wanted, now)?];
        let data = serde_json::json!({ "maintenance": wanted.maintenance, "banner": wanted.banner });
        audit::append_change(
            tx,
            &app.vault,
            by,
            "admin.settings",
            "settings",
            &data,
            [&stood[0], &stood[1]],
        )
    })
}

fn snapshot(notice: &Notice, project: Id<Project>) -> Result<Snapshot> {
    let mut values: std::collections::BTreeMap<String, serde_json::Value> =
        serde_json::from_value(serde_json::to_value(notice).map_err(Error::internal)?).map_err(Error::internal)?;
    values.insert("default_project".into(), project.get().into());
    Ok(Snapshot::of_values(values))
}

fn public(ctx: &Ctx) -> Result<Reply> {
    let notice = ctx.app.db.read(notice::get)?;
    Reply::json(&Public {
        maintenance: PublicMaintenance {
            on: notice.maintenance,
            message: if notice.maintenance { &notice.message } else { "" },
        },
        banner: notice.banner_at(clock::now()).map(banner),
    })
}
