//! A watch's check of one domain, made now because a person asks for it.

use crate::app::App;
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::http::route::Ctx;

/// What a watch checks periodically, and at once on demand.
pub struct OnDemand {
    /// Checks a domain and stores the result; returns whether there was anything to check.
    pub check: fn(&App, Id<id::Domain>) -> Result<bool>,
    /// Code and sentence of the refusal when there was nothing.
    pub nothing: (&'static str, &'static str),
}

impl OnDemand {
    /// Checks the domain in the request's address. Errors: `not_found`, there is nothing to check.
    pub fn now(&self, ctx: &Ctx) -> Result<Id<id::Domain>> {
        let id = ctx.id(0, "domain")?;
        ctx.app.db.read(|conn| super::get(conn, id))?;
        if (self.check)(ctx.app, id)? {
            return Ok(id);
        }
        let (code, say) = self.nothing;
        Err(Error::new(Kind::Conflict, code, say))
    }
}
