//! Actions on a domain's sites: plan, deploy, show the file, adopt, renew.

pub mod api;
pub mod pages;

use crate::access::Allowed;
use crate::access::right::{Deploy, Domains};
use crate::app::App;
use crate::audit;
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::db::Tx;
use crate::events::outbox;
use crate::features::proxy::domains;
use crate::features::proxy::domains::placements::{self, State};
use crate::form::param::{self, Param};
use crate::http::route::Ctx;

/// Accepted parameters of a deploy.
pub const DEPLOY: &[Param] = &[param::flag("overwrite", "Overwrite files that others have changed.")];

/// Accepted parameters of a renewal.
pub const RENEW: &[Param] = &[param::flag("force", "Also where the certificate is young.")];

/// Adopts a site's file as last found: it counts as correct until the next deploy, which asks before overwriting it.
pub fn accept(
    app: &App,
    tx: &Tx,
    id: Id<id::Domain>,
    server: Id<id::Server>,
    by: Allowed<Deploy, Domains>,
) -> Result<()> {
    let domain = domains::get(tx, id)?;
    let placement = &placements::at(tx, id, server)?;
    let conflict = |code, say| Err(Error::new(Kind::Conflict, code, say));
    let seen = match (&placement.seen, placement.state) {
        (Some(seen), State::Drifted) if !seen.is_empty() && *seen != placement.text => seen,
        (Some(_), State::Drifted) => {
            return conflict(
                "nothing_to_adopt",
                "There is no other text to accept. Deploy to put the file back, or take the server off this domain.",
            );
        }
        _ => return conflict("not_drifted", "The file on that server is as it should be."),
    };
    placements::adopt(tx, placement, seen)?;
    let name = domain.name();
    let data = serde_json::json!({ "name": name, "server_id": server });
    audit::append(
        tx,
        &app.vault,
        by,
        "domain.adopt",
        &format!("domain {id} {name}"),
        &data,
    )?;
    match placements::drifted(tx, id)? {
        true => Ok(()),
        false => outbox::emit(tx, &app.wakes.events, "domain.healed", ("domain", id.get()), &data),
    }
}

/// Maximum domains of a bulk action: those of one list page.
pub const BULK_MAX: usize = 500;

/// The ticked domains of a list, without duplicates, at most so many.
pub fn picked(ctx: &Ctx, count_max: usize) -> Result<Vec<Id<id::Domain>>> {
    let mut ids = Vec::new();
    for (_, value) in ctx.request.form()?.iter().filter(|(name, _)| name == "ids") {
        if let Some(id) = Id::parse(value)
            && ids.len() < count_max
            && !ids.contains(&id)
        {
            ids.push(id);
        }
    }
    Ok(ids)
}
