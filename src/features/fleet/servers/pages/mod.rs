//! Pages of servers. Actions use the same functions as the JSON API; a refused form is shown again with its values,
//! except secrets.

mod known;
mod cards;
mod list;
mod show;
mod form;
mod acts;

use super::tasks;
use crate::access::right::{Deploy, Edit, Read, Run, Servers, may};
use crate::http::request::Method::{Get, Post};
use crate::http::route::{OFFSET, Route, route};
use acts::{
    accept_host_key, ask_delete, ask_glances, ask_remove, check_ssh, delete, deploy_proxy, install_glances,
    remove_glances,
};
use form::{change, create, edit, new};
use list::list;
use show::show;

pub use cards::CARDS;
pub use known::{Known, known, words};

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/servers", may(Read, Servers), list).query(&[OFFSET]),
    route(Post, "/servers", may(Edit, Servers), create),
    route(Get, "/servers/new", may(Edit, Servers), new),
    route(Get, "/servers/{id}", may(Read, Servers), show),
    route(Post, "/servers/{id}", may(Edit, Servers), change),
    route(Get, "/servers/{id}/edit", may(Edit, Servers), edit),
    route(Get, "/servers/{id}/delete", may(Edit, Servers), ask_delete),
    route(Post, "/servers/{id}/delete", may(Edit, Servers), delete),
    route(
        Post,
        "/servers/{id}/accept-host-key",
        may(Edit, Servers),
        accept_host_key,
    ),
    route(Post, "/servers/{id}/check-ssh", may(Run, Servers), check_ssh),
    route(Post, "/servers/{id}/deploy-proxy", may(Deploy, Servers), deploy_proxy),
    route(Get, "/servers/{id}/install-glances", may(Deploy, Servers), ask_glances),
    route(
        Post,
        "/servers/{id}/install-glances",
        may(Deploy, Servers),
        install_glances,
    )
    .takes(tasks::INSTALL),
    route(Get, "/servers/{id}/remove-glances", may(Deploy, Servers), ask_remove),
    route(
        Post,
        "/servers/{id}/remove-glances",
        may(Deploy, Servers),
        remove_glances,
    ),
];
