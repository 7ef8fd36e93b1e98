//! Pages of domains. Actions use the same functions as the JSON API; a refused form is shown again with its values.
//! Cards of other features are in slots.

mod why;
mod cards;
mod list;
mod show;
mod panels;
mod form;
mod acts;

use super::{api, deployments};
use crate::access::right::{Deploy, Domains, Edit, Read, may};
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Route, route};
use acts::{ask_delete, bulk, delete};
use form::{change, create, edit, new};
use list::list;
use show::show;

pub use cards::CARDS;
pub use panels::PANELS;

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/domains", may(Read, Domains), list).query(api::LIST),
    route(Post, "/domains", may(Edit, Domains), create),
    route(Get, "/domains/new", may(Edit, Domains), new),
    route(Post, "/domains/bulk", may(Deploy, Domains), bulk),
    route(
        Post,
        "/domains/plan",
        may(Deploy, Domains),
        deployments::pages::show_plans,
    ),
    route(Get, "/domains/{id}", may(Read, Domains), show),
    route(Post, "/domains/{id}", may(Edit, Domains), change),
    route(Get, "/domains/{id}/edit", may(Edit, Domains), edit),
    route(Get, "/domains/{id}/delete", may(Edit, Domains), ask_delete),
    route(Post, "/domains/{id}/delete", may(Edit, Domains), delete),
    route(
        Get,
        "/domains/{id}/plan",
        may(Deploy, Domains),
        deployments::pages::show_plan,
    ),
    route(
        Post,
        "/domains/{id}/deploy",
        may(Deploy, Domains),
        deployments::pages::deploy,
    )
    .takes(deployments::DEPLOY),
    route(
        Post,
        "/domains/{id}/renew",
        may(Deploy, Domains),
        deployments::pages::renew,
    )
    .takes(deployments::RENEW),
    route(
        Post,
        "/domains/{id}/adopt",
        may(Deploy, Domains),
        deployments::pages::adopt,
    )
    .takes(deployments::api::SERVER),
    route(
        Post,
        "/domains/{id}/forget",
        may(Edit, Domains),
        deployments::pages::forget,
    )
    .takes(deployments::api::SERVER),
];
