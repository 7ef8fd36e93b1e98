//! JSON API: how it stands with the receivers, and Loki's secret.

use super::send::{self, Standing};
use super::{SECRET_AT, queries, target};
use crate::access::right::{Containers, Edit, Read, Settings, may};
use crate::audit;
use crate::base::clock;
use crate::base::error::{Error, Kind, Result};
use crate::base::secret::Secret;
use crate::base::shape::described;
use crate::form::param::{self, Param};
use crate::http::reply::{List, Reply};
use crate::http::request::Method::{Get, Put};
use crate::http::route::{Ctx, Route, route};

/// Routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/api/forward", may(Read, Containers), list)
        .gives::<List<View>>()
        .live(),
    route(Put, "/api/forward/secret", may(Edit, Settings), set_secret)
        .takes(SECRET)
        .gives_nothing()
        .refuses(&[409]),
];

/// Input of the secret.
pub const SECRET: &[Param] = &[param::secret("secret", 1_000, "For Loki; none forgets it.")];

described! {
    /// A receiver of lines.
    struct View {
        /// `syslog` or `loki`.
        receiver: &'static str,
        /// Its address.
        place: String,
        /// Lines that it has not taken yet.
        waiting: i64,
        /// Lines that it has taken.
        taken: i64,
        /// Lines that it will never get: they were no longer kept, or it refused them.
        missed: i64,
        /// Why it takes none now; null: it takes them.
        fault: Option<String>,
    }
}

fn view(one: Standing) -> View {
    View {
        receiver: one.target.name(),
        place: one.place,
        waiting: one.waiting,
        taken: one.taken,
        missed: one.missed,
        fault: Some(one.fault).filter(|fault| !fault.is_empty()),
    }
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let items = send::standing(ctx.app)?.into_iter().map(view).collect();
    Reply::json(&List::whole(items))
}

/// `{"secret": "…"}`; empty or null removes it.
pub(super) fn keep_secret(ctx: &Ctx) -> Result<()> {
    let mut input = ctx.input()?;
    let secret: Option<Secret> = input.secret("secret").flatten();
    input.finish(&[])?;
    let by = ctx.allowed(Edit, Settings)?;
    ctx.app.db.write(|tx| {
        match &secret {
            Some(secret) => {
                let place = target::loki_origin(tx)?.ok_or_else(|| {
                    let say = "There is no Loki that a secret could be for: set its address first.";
                    Error::new(Kind::Conflict, "forward_no_loki", say)
                })?;
                let sealed = ctx.app.vault.seal(SECRET_AT, secret)?;
                queries::put_secret(tx, &place, &sealed, clock::now(), by.actor())?;
            }
            None => queries::forget_secret(tx)?,
        }
        let detail = serde_json::json!({ "set": secret.is_some() });
        audit::append(tx, &ctx.app.vault, by, "forward.secret", "forward", &detail)
    })
}

fn set_secret(ctx: &Ctx) -> Result<Reply> {
    keep_secret(ctx)?;
    Ok(Reply::status(204))
}
