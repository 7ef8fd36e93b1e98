//! The servers' JSON API.

use super::model::{self, Fields, Valid};
use super::secrets;
use super::settings;
use super::{Filter, Server, State, Worst};
use crate::access::Allowed;
use crate::access::right::{Deploy, Edit, IsVerb, Read, Run, Servers, may};
use crate::app::App;
use crate::base::clock::rfc3339;
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id, Task};
use crate::base::secret::Secret;
use crate::base::shape::{Stored, described};
use crate::features::fleet::latest::{self, LastSample, Latest, Line};
use crate::features::house::secrets::Refs;
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::http::reply::{List, Reply, to_json};
use crate::http::request::Method::{Delete, Get, Patch, Post, Put};
use crate::http::route::{Ctx, LIMIT, OFFSET, Q, Route, route};
use crate::provision::{recipes, wheels};
use crate::task::{self, queue};
use std::collections::BTreeMap;

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Get, "/api/servers", may(Read, Servers), list)
        .query(LIST)
        .gives::<List<View>>()
        .live(),
    route(Post, "/api/servers", may(Edit, Servers), create)
        .takes(model::PARAMS)
        .creates::<View>(),
    route(Get, "/api/servers/{id}", may(Read, Servers), show)
        .gives::<View>()
        .live(),
    route(Put, "/api/servers/{id}", may(Edit, Servers), replace)
        .takes(model::PARAMS)
        .gives::<View>(),
    route(Patch, "/api/servers/{id}", may(Edit, Servers), change)
        .takes(model::PARAMS)
        .gives::<View>(),
    route(Delete, "/api/servers/{id}", may(Edit, Servers), remove)
        .query(REMOVAL)
        .gives_nothing(),
    route(
        Post,
        "/api/servers/{id}/accept-host-key",
        may(Edit, Servers),
        accept_host_key,
    )
    .takes(HOST_KEY)
    .gives::<View>(),
    route(Post, "/api/servers/{id}/check-ssh", may(Run, Servers), check_ssh)
        .takes(&[])
        .starts_task(),
    route(
        Post,
        "/api/servers/{id}/deploy-proxy",
        may(Deploy, Servers),
        deploy_proxy,
    )
    .takes(&[])
    .starts_task(),
    route(
        Get,
        "/api/servers/{id}/install-glances",
        may(Deploy, Servers),
        preview_install,
    )
    .gives::<Sources>(),
    route(
        Post,
        "/api/servers/{id}/install-glances",
        may(Deploy, Servers),
        install_glances,
    )
    .takes(super::tasks::INSTALL)
    .starts_task(),
    route(
        Post,
        "/api/servers/{id}/remove-glances",
        may(Deploy, Servers),
        remove_glances,
    )
    .takes(&[])
    .starts_task(),
];

described! {
    /// A server in the API. It has no fields for secrets.
    pub struct View<'a> {
        id: Id<id::Server>,
        name: &'a str,
        host: &'a str,
        ssh_port: u16,
        username: &'a str,
        auth_type: &'static str,
        has_password: bool,
        has_ssh_key: bool,
        has_passphrase: bool,
        has_glances_password: bool,
        has_glances_token: bool,
        /// Of those, which secrets they are.
        secret_ids: BTreeMap<&'static str, i64>,
        description: &'a str,
        tags: &'a [String],
        public_ips: &'a [String],
        glances_scheme: &'static str,
        glances_host: &'a str,
        glances_port: u16,
        glances_path: &'a str,
        glances_auth_type: &'static str,
        glances_username: &'a str,
        glances_tls_pin: &'a str,
        glances_profile: &'static str,
        glances_allow: &'a [String],
        glances_bind: &'a str,
        packages: &'static str,
        glances_api_version: Option<i64>,
        glances_path_seen: Option<&'a str>,
        poll_interval_s: i64,
        environment: &'a str,
        os_type: &'a str,
        check_method: &'static str,
        /// `off`, or `auto`: its containers are looked at.
        containers: &'static str,
        status: &'static str,
        status_since: String,
        state: State,
        state_since: String,
        silenced_until: Option<String>,
        alerts: AlertsView<'a>,
        fail_count: i64,
        last_error: Option<ErrorView<'a>>,
        host_seen: Option<&'a str>,
        moved_at: Option<String>,
        moved: Option<&'a str>,
        host_key_state: &'static str,
        host_key_fingerprint: Option<String>,
        last_sample: Option<Stored<'a, LastSample>>,
        spark_cpu: Line<'a>,
        spark_mem: Line<'a>,
        facts: Option<Stored<'a, BTreeMap<String, String>>>,
        facts_at: Option<String>,
        created_at: String,
        updated_at: String,
    }

    /// Open alerts: number, kinds, and the one that determines the state.
    struct AlertsView<'a> {
        open: i64,
        kinds: Vec<&'a str>,
        worst: Option<&'a Worst>,
    }

    struct ErrorView<'a> {
        code: &'a str,
        message: &'a str,
    }
}

/// Builds the view of a server.
pub fn view<'a>(s: &'a Server, latest: Option<&'a Latest>) -> View<'a> {
    let f: &Fields = &s.fields;
    View {
        id: s.id,
        name: &f.name,
        host: &f.host,
        ssh_port: f.ssh_port,
        username: &f.username,
        auth_type: f.auth_type.name(),
        has_password: s.has.password,
        has_ssh_key: s.has.ssh_key,
        has_passphrase: s.has.ssh_key_passphrase,
        has_glances_password: s.has.glances_password,
        has_glances_token: s.has.glances_token,
        secret_ids: s.secret_ids(),
        description: &f.description,
        tags: &f.tags,
        public_ips: &f.public_ips,
        glances_scheme: f.glances_scheme,
        glances_host: if f.glances_host.is_empty() {
            &f.host
        } else {
            &f.glances_host
        },
        glances_port: f.glances_port,
        glances_path: &f.glances_path,
        glances_auth_type: f.glances_auth_type,
        glances_username: &f.glances_username,
        glances_tls_pin: &f.glances_tls_pin,
        glances_profile: s.glances_profile,
        glances_allow: &f.glances_allow,
        glances_bind: &f.glances_bind,
        packages: f.packages,
        glances_api_version: s.glances_api,
        glances_path_seen: s.glances_path_seen.as_deref(),
        poll_interval_s: f.poll_interval_s,
        environment: &f.environment,
        os_type: &f.os_type,
        check_method: f.check_method,
        containers: f.containers,
        status: s.availability.status,
        status_since: rfc3339(s.availability.since),
        state: s.state,
        state_since: rfc3339(s.state_since),
        silenced_until: s.silenced_until.map(rfc3339),
        alerts: AlertsView {
            open: s.alerts.open,
            kinds: s.alerts.kinds.split_whitespace().collect(),
            worst: s.alerts.worst.as_ref(),
        },
        fail_count: s.availability.fail_count,
        last_error: s
            .availability
            .error
            .as_ref()
            .map(|(code, message)| ErrorView { code, message }),
        host_seen: s.availability.host.as_deref(),
        moved_at: s.moved.as_ref().map(|(at, _)| rfc3339(*at)),
        moved: s.moved.as_ref().map(|(_, seen)| seen.as_str()),
        host_key_state: s.host_key_state.name(),
        host_key_fingerprint: s.fingerprint(),
        last_sample: latest.map(|l| Stored::new(&l.sample)),
        spark_cpu: latest.map_or(Line::NONE, |l| l.spark.cpu()),
        spark_mem: latest.map_or(Line::NONE, |l| l.spark.mem()),
        facts: Stored::parse(&s.facts),
        facts_at: s.facts_at.map(rfc3339),
        created_at: rfc3339(s.created_at),
        updated_at: rfc3339(s.updated_at),
    }
}

const LIST: &[Param] = &[
    LIMIT,
    OFFSET,
    Q,
    param::text("tag", 64, "Only with this tag."),
    param::choice(
        "status",
        &["provisioning", "ok", "unreachable"],
        "Only those that answer, or do not.",
    ),
    param::choice("state", State::WORDS, "Only in this state."),
    param::text("environment", 64, "Only of this environment."),
    param::choice("sort", &["name", "-name"], "The order."),
];

/// The filter of a list's query.
fn filter<'a>(ctx: &Ctx<'a>) -> Result<Filter<'a>> {
    let (limit, offset) = ctx.page()?;
    Ok(Filter {
        q: ctx.param("q"),
        tag: ctx.param("tag"),
        status: ctx.choice("status")?,
        state: ctx.choice("state")?,
        environment: ctx.param("environment"),
        descending: ctx.choice("sort")? == "-name",
        limit,
        offset,
    })
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let filter = filter(ctx)?;
    let body = ctx.web.cache.get(ctx.app, &format!("api servers {filter:?}"), || {
        let (servers, total) = ctx.app.db.read(|conn| super::list(conn, &filter))?;
        let latest = latest::of(&ctx.app.metrics, servers.iter().map(|s| s.id))?;
        let items: Vec<_> = servers.iter().map(|s| view(s, latest.get(&s.id))).collect();
        to_json(&List { items, total })
    })?;
    Ok(Reply::json_made::<List<View>>(body))
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    let server = ctx.app.db.read(|conn| super::get(conn, id))?;
    show_server(ctx.app, &server)
}

fn show_server(app: &App, server: &Server) -> Result<Reply> {
    let latest = latest::of(&app.metrics, [server.id])?;
    Reply::json(&view(server, latest.get(&server.id)))
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let server = add(ctx.app, ctx.input()?, ctx.allowed(Edit, Servers)?)?;
    Ok(show_server(ctx.app, &server)?
        .with_status(201)
        .header("Location", format!("/api/servers/{}", server.id)))
}

/// Reads a draft and stores it. Error: invalid fields.
pub fn add(app: &App, mut input: Input, by: Allowed<Edit, Servers>) -> Result<Server> {
    let refs = refer(app, &mut input, None)?;
    let mut valid = model::read(input, app.db.read(super::fresh)?, None)?;
    valid.refs = refs;
    model::check_here(&valid.fields, None, by)?;
    check_stored_key(app, None, &valid.secrets)?;
    app.db.write(|tx| {
        let id = super::create(app, tx, &valid, by)?;
        super::get(tx, id)
    })
}

/// What the fields refer to, put in. Errors: a secret is not there, or not for servers.
pub fn refer(app: &App, input: &mut Input, id: Option<Id<id::Server>>) -> Result<Refs> {
    let row = id.map(Id::get);
    (app.db).read(|conn| Refs::resolve(app, conn, input, ("servers", "server", row), secrets::REFERENCES))
}

/// A draft of a new server, checked and not stored. Without a secret the login is given afterwards.
pub fn draft(input: Input, fresh: &Fields, has_secret: bool, by: Allowed<Edit, Servers>) -> Result<Valid> {
    let valid = match has_secret {
        true => model::read(input, fresh.clone(), None),
        false => model::read_entry(input, fresh.clone(), None),
    }?;
    model::check_here(&valid.fields, None, by)?;
    Ok(valid)
}

/// Does the key of a draft open? Error: why not.
pub fn check_key(app: &App, valid: &Valid) -> Result<()> {
    check_stored_key(app, None, &valid.secrets)
}

fn change(ctx: &Ctx) -> Result<Reply> {
    edit(ctx, |server| server.fields.clone())
}

/// `PUT` replaces the plain fields: missing ones get their defaults. Secrets stay unless they are sent or their
/// destination changes.
fn replace(ctx: &Ctx) -> Result<Reply> {
    let fresh = ctx.app.db.read(super::fresh)?;
    edit(ctx, |_| fresh.clone())
}

fn edit(ctx: &Ctx, base: impl Fn(&Server) -> Fields) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    let server = save(ctx.app, id, ctx.input()?, base, ctx.allowed(Edit, Servers)?)?;
    show_server(ctx.app, &server)
}

/// Maximum tries when others change the server at the same time.
const TRIES: usize = 5;

/// Reads a draft over `base` and stores it. Validation happens before the transaction (checking a key is slow), so
/// `base` may be outdated: then the draft is read again over the new row, instead of reverting others' changes.
pub fn save(
    app: &App,
    id: Id<id::Server>,
    input: Input,
    base: impl Fn(&Server) -> Fields,
    by: Allowed<Edit, Servers>,
) -> Result<Server> {
    let mut tries = TRIES;
    loop {
        tries -= 1;
        let old = app.db.read(|conn| super::get(conn, id))?;
        let mut input = input.clone();
        let refs = refer(app, &mut input, Some(id))?;
        let mut valid = model::read(input, base(&old), Some((&old.fields, old.has)))?;
        valid.refs = refs;
        model::check_here(&valid.fields, Some(&old.fields), by)?;
        check_stored_key(app, Some(id), &valid.secrets)?;
        let saved = app.db.write(|tx| {
            super::update(app, tx, &old, &valid, by)?;
            super::get(tx, id)
        });
        match saved {
            Ok(server) => {
                app.ssh.forget(id.get()); // connections with the old address or credential must not be reused
                return Ok(server);
            }
            // Another field was changed meanwhile: the draft is applied to the new row.
            Err(e) if e.code == "server_changed" && tries > 0 => {}
            Err(e) => return Err(e),
        }
    }
}

/// Checks that key and passphrase fit, if one of them is sent, before they are stored.
pub fn check_stored_key(app: &App, id: Option<Id<id::Server>>, secrets: &model::Secrets) -> Result<()> {
    if secrets.ssh_key.is_none() && secrets.ssh_key_passphrase.is_none() {
        return Ok(());
    }
    let stored = |column| -> Result<Option<Secret>> {
        match id {
            Some(id) => app.db.read(|conn| super::secret(app, conn, id, column)),
            None => Ok(None),
        }
    };
    let pick = |change: &Option<Option<Secret>>, column| match change {
        Some(value) => Ok(value.clone()),
        None => stored(column),
    };
    let passphrase = pick(&secrets.ssh_key_passphrase, "ssh_key_passphrase")?;
    match pick(&secrets.ssh_key, "ssh_key")? {
        Some(key) => model::check_key(&app.ssh, &key, passphrase.as_ref()).map(drop),
        None => Ok(()),
    }
}

/// The query of a removal.
pub const REMOVAL: &[Param] = &[param::flag(
    "forget",
    "1: it is gone for good, and the domains on it are forgotten there.",
)];

/// Removes the server of this request.
pub fn remove(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    let by = ctx.allowed(Edit, Servers)?;
    let forget = ctx.flag("forget")?;
    ctx.app
        .db
        .write(|tx| super::delete(ctx.app, tx, &super::get(tx, id)?, forget, by))?;
    ctx.app.ssh.forget(id.get());
    Ok(Reply::status(204))
}

/// What accepts a host key.
pub const HOST_KEY: &[Param] = &[
    param::text("fingerprint", 200, "The one that was compared, like `SHA256:…`.")
        .required()
        .example("\"SHA256:…\""),
];

fn accept_host_key(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    let mut input = ctx.input()?;
    let fingerprint = input.text("fingerprint");
    if fingerprint.as_deref().unwrap_or_default().is_empty() && !input.has_error("fingerprint") {
        input.wrong(
            "fingerprint",
            "required",
            "Send the fingerprint you have compared, like SHA256:….",
        );
    }
    input.finish(&[])?;
    let by = ctx.allowed(Edit, Servers)?;
    let server = ctx.app.db.write(|tx| {
        super::accept_host_key(ctx.app, tx, id, &fingerprint.unwrap_or_default(), by)?;
        super::get(tx, id)
    })?;
    ctx.app.ssh.forget(id.get());
    show_server(ctx.app, &server)
}

fn check_ssh(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    Reply::accepted(start(ctx, Run, super::tasks::CHECK_SSH, serde_json::json!({}))?)
}

fn deploy_proxy(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    Reply::accepted(start(ctx, Deploy, super::tasks::DEPLOY_PROXY, serde_json::json!({}))?)
}

fn install_glances(ctx: &Ctx) -> Result<Reply> {
    Reply::accepted(start_install(ctx)?)
}

described! {
    /// Sources for an installation of Glances, as far as known.
    pub struct Sources {
        /// Installed from: `package`, `index`, `bundle SHA256`, or somebody else's folder.
        from: Option<String>,
        /// Otherwise installed from `package VERSION` or `wheels`; unknown before the first check, and while the
        /// server's package lists are not read.
        next: Option<String>,
        /// The configured bundle.
        bundle: Option<wheels::Summary>,
        /// Why the bundle cannot be used.
        bundle_problem: Option<String>,
        /// Folder of wheels on the server.
        folder: &'static str,
    }
}

/// The [`Sources`] of a server.
pub fn sources(app: &App, server: &super::Server) -> Result<Sources> {
    let facts: BTreeMap<String, String> = serde_json::from_str(&server.facts).unwrap_or_default();
    let fact = |name: &str| facts.get(name).filter(|v| !v.is_empty()).cloned();
    let path = app.db.read(|conn| settings::GLANCES_BUNDLE.text(conn))?;
    let bundle = (!path.is_empty()).then(|| wheels::summary(&path)).transpose();
    let bundle_problem = bundle.as_ref().err().map(|e| e.say.clone());
    Ok(Sources {
        from: fact("glances_from"),
        next: fact("glances_next"),
        bundle: bundle.unwrap_or_default(),
        bundle_problem,
        folder: recipes::VENV,
    })
}

fn preview_install(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    let server = ctx.app.db.read(|conn| super::get(conn, id))?;
    Reply::json(&sources(ctx.app, &server)?)
}

fn remove_glances(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    Reply::accepted(start_remove(ctx)?)
}

/// The same for the page. Error: it was installed by somebody else.
pub fn start_remove(ctx: &Ctx) -> Result<Id<Task>> {
    let id = ctx.id(0, "server")?;
    let server = ctx.app.db.read(|conn| super::get(conn, id))?;
    if server.glances_profile == "unknown" {
        let say = "Lamplighter has not installed Glances on this server, so it takes none away.";
        return Err(Error::new(Kind::Conflict, "glances_not_ours", say));
    }
    start_on(ctx, Deploy, id, super::tasks::REMOVE_GLANCES, serde_json::json!({}))
}

/// The same for the page.
pub fn start_install(ctx: &Ctx) -> Result<Id<Task>> {
    let id = ctx.id(0, "server")?;
    let server = ctx.app.db.read(|conn| super::get(conn, id))?;
    let plan = super::tasks::read_install(ctx.input()?, &server.fields)?;
    start_on(ctx, Deploy, id, super::tasks::INSTALL_GLANCES, plan)
}

/// Enqueues a task for the server of this request.
pub fn start(ctx: &Ctx, verb: impl IsVerb, kind: &'static str, input: serde_json::Value) -> Result<Id<Task>> {
    start_on(ctx, verb, ctx.id(0, "server")?, kind, input)
}

/// Enqueues a task for a server.
pub fn start_on(
    ctx: &Ctx,
    verb: impl IsVerb,
    id: Id<id::Server>,
    kind: &'static str,
    input: serde_json::Value,
) -> Result<Id<Task>> {
    let by = ctx.allowed(verb, Servers)?;
    ctx.app.db.write(|tx| {
        let server = super::get(tx, id)?;
        let target = ("server", id.get(), server.fields.name.as_str());
        let task = queue::enqueue(tx, &ctx.app.wakes.tasks, &task::NewTask { kind, target, input }, by)?;
        let object = format!("server {id} {}", server.fields.name);
        crate::audit::append(
            tx,
            &ctx.app.vault,
            by,
            kind,
            &object,
            &serde_json::json!({ "task": task }),
        )?;
        Ok(task)
    })
}
