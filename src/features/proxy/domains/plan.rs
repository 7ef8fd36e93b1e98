//! What a deploy would do on each server, found out by looking and changing nothing. A deploy makes the same plan, stops
//! where the plan says stop, and does the rest.

use super::placements::Placement;
use super::preflight::{self, Verdict};
use super::settings;
use super::vhost::{self, RenderedVhost, Vhost, VhostTls};
use super::{Domain, model::Preflight};
use crate::app::App;
use crate::base::clock::{self, Ms};
use crate::base::diff;
use crate::base::error::{Error, Kind, Result};
use crate::base::host::Host;
use crate::base::id::{self, Id};
use crate::base::process::Cancel;
use crate::base::secret::Secret;
use crate::base::shape::described;
use crate::base::text;
use crate::db::Conn;
use crate::features::fleet::servers::{self, Server, connection::ServerConnection};
use crate::features::proxy::certificates;
use crate::features::proxy::upstreams;
use crate::features::proxy::upstreams::Target;
use crate::lang::Lang;
use crate::provision::Progress;
use crate::provision::site::{self as remote, Enabled, Nginx, Seen, SiteSeen, Wanted};
use crate::provision::steps::failure_of;
use crate::schedule::fan_out::FanOut;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Servers looked at, or worked on, at the same time.
pub const WIDTH: usize = 8;

/// Everything a deploy of one domain needs to know, from one snapshot of the database.
pub struct DesiredState {
    /// The domain's row.
    pub domain: Domain,
    /// Where its requests go; empty without an upstream.
    pub targets: Vec<Target>,
    /// A person's own certificate.
    pub own: Option<OwnCertificate>,
    /// Where it shall be, where it is, in order.
    pub sites: Vec<(Placement, Server)>,
    /// The ACME account's address, may be empty.
    pub acme_email: String,
    /// The ACME server's directory.
    pub acme_directory: String,
    /// For HSTS, seconds.
    pub hsts_max_age_s: i64,
}

/// A certificate that a person has given.
pub struct OwnCertificate {
    /// PEM, the leaf first.
    pub chain: String,
    /// PEM.
    pub key: Secret,
    /// Of the leaf's DER form, hex.
    pub sha256: String,
}

impl DesiredState {
    /// Reads it all.
    pub fn load(app: &App, id: Id<id::Domain>) -> Result<DesiredState> {
        app.db.read(|conn| DesiredState::read(app, conn, id))
    }

    fn read(app: &App, conn: &Conn, id: Id<id::Domain>) -> Result<DesiredState> {
        let domain = super::get(conn, id)?;
        let upstream = domain
            .fields
            .upstream_id
            .map(|id| upstreams::get(conn, id))
            .transpose()?;
        let own = match domain.fields.certificate_id {
            Some(id) if domain.fields.ssl => {
                let stored = certificates::get(conn, id)?;
                Some(OwnCertificate {
                    chain: stored.chain,
                    key: certificates::key(app, conn, id)?,
                    sha256: stored.sha256,
                })
            }
            _ => None,
        };
        let with_server = |placement: Placement| servers::get(conn, placement.server).map(|server| (placement, server));
        Ok(DesiredState {
            targets: upstream.map(|u| u.fields.targets).unwrap_or_default(),
            own,
            sites: super::placements::of(conn, id)?
                .into_iter()
                .map(with_server)
                .collect::<Result<_>>()?,
            acme_email: settings::ACME_EMAIL.text(conn)?,
            acme_directory: settings::ACME_DIRECTORY.text(conn)?,
            hsts_max_age_s: settings::NGINX_HSTS_MAX_AGE_S.number(conn)?,
            domain,
        })
    }

    /// The domain in A-labels.
    pub fn name(&self) -> &str {
        self.domain.fields.domain.ascii()
    }

    /// Its certificate comes from the ACME server.
    pub fn is_acme(&self) -> bool {
        self.domain.fields.ssl && self.own.is_none()
    }

    /// certbot's name for its certificate on a server, as far as is known without a look: that of the text there.
    pub fn lineage(&self, placement: &Placement) -> String {
        let there = remote::lineage_in(&placement.text).filter(|_| placement.name == self.name());
        there.map_or_else(|| remote::lineage(self.name()), String::from)
    }

    fn lineage_seen(&self, placement: &Placement, here: &SiteSeen) -> String {
        here.lineage.clone().unwrap_or_else(|| self.lineage(placement))
    }

    /// Where chain and key are on a server.
    fn certificate_paths(&self, lineage: &str) -> (String, String) {
        match self.own {
            Some(_) => remote::uploaded_paths(self.name()),
            None => remote::acme_paths(lineage),
        }
    }

    /// The file for one server. `None` for the nginx there: as if it were Debian 12's, to have something to show.
    pub fn render(&self, placement: &Placement, nginx: Option<&Nginx>) -> Result<RenderedVhost> {
        self.render_with(placement, nginx, &self.lineage(placement))
    }

    /// The same with the certificate that certbot keeps by this name.
    pub fn render_with(&self, placement: &Placement, nginx: Option<&Nginx>, lineage: &str) -> Result<RenderedVhost> {
        self.render_as(placement, nginx, self.domain.fields.ssl.then_some(lineage))
    }

    /// The text on port 80 alone, for the time while the first certificate is being issued.
    pub fn render_first(&self, placement: &Placement, nginx: &Nginx) -> Result<RenderedVhost> {
        self.render_as(placement, Some(nginx), None)
    }

    /// An ACME server may ask any of the domain's servers for the challenge of another, and this one would not pass it on.
    pub fn needs_bridge(&self, placement: &Placement) -> bool {
        let peers = self.peers(placement);
        !peers.is_empty() && (placement.name != self.name() || vhost::peers_in(&placement.text) != peers)
    }

    /// The text that passes challenges on, with the certificate that is there now.
    pub fn render_bridge(&self, placement: &Placement, nginx: &Nginx) -> Result<RenderedVhost> {
        let pair = vhost::pair_in(&placement.text).filter(|_| placement.name == self.name());
        self.render_pair(placement, Some(nginx), pair)
    }

    /// Addresses of the domain's other servers, when its certificate comes from an ACME server.
    fn peers(&self, placement: &Placement) -> Vec<IpAddr> {
        let others = self
            .sites
            .iter()
            .filter(|(other, _)| other.wanted && other.server != placement.server);
        let mut peers: Vec<IpAddr> = others.flat_map(|(_, server)| addresses(server)).collect();
        peers.retain(|_| self.is_acme() && placement.wanted);
        peers.sort_unstable();
        peers.dedup();
        peers.truncate(vhost::PEERS_MAX);
        peers
    }

    fn render_as(&self, placement: &Placement, nginx: Option<&Nginx>, lineage: Option<&str>) -> Result<RenderedVhost> {
        self.render_pair(placement, nginx, lineage.map(|lineage| self.certificate_paths(lineage)))
    }

    fn render_pair(
        &self,
        placement: &Placement,
        nginx: Option<&Nginx>,
        paths: Option<(String, String)>,
    ) -> Result<RenderedVhost> {
        if self.targets.is_empty() {
            let say = "This domain has no upstream, so there is nowhere to send its requests. Choose one first.";
            return Err(Error::new(Kind::Conflict, "no_upstream", say));
        }
        let peers = self.peers(placement);
        let site = |generation| Vhost {
            domain: self.name(),
            id: self.domain.id.get(),
            generation,
            upstream: &self.targets,
            tls: paths.as_ref().map(|(chain, key)| VhostTls {
                hsts_max_age_s: self.domain.fields.hsts.then_some(self.hsts_max_age_s),
                chain,
                key,
            }),
            peers: &peers,
            nginx: nginx.cloned().unwrap_or(Nginx::DEBIAN_12),
        };
        let same = vhost::render(&site(placement.generation))?;
        match vhost::marker(&placement.text) {
            Some(marker) if marker.hash == same.hash => Ok(same),
            _ => vhost::render(&site(placement.generation + 1)),
        }
    }

    /// Targets that are names: each must resolve on the server.
    pub fn target_names(&self) -> impl Iterator<Item = &str> {
        let names = self.targets.iter().map(|t| t.host.as_str());
        names.filter(|host| host.parse::<IpAddr>().is_err())
    }

    /// Another text would be put there than the one that was: something was changed here since.
    pub fn is_waiting(&self, placement: &Placement) -> bool {
        if !placement.wanted {
            return !placement.name.is_empty();
        }
        let same = |rendered: RenderedVhost| rendered.text == placement.text && placement.name == self.name();
        self.render(placement, placement.nginx.as_ref())
            .map_or(true, |rendered| !same(rendered))
    }
}

/// What another server reaches this one by: what we do, and what the world does. A name is none: nginx would not start
/// without its name server.
fn addresses(server: &Server) -> impl Iterator<Item = IpAddr> {
    let own = Host::parse(&server.fields.host).ok().and_then(|host| host.ip());
    let public = server.fields.public_ips.iter().filter_map(|ip| ip.parse().ok());
    own.into_iter()
        .chain(public)
        .filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

/// How bad something found is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A deploy stops before it changes anything.
    Stop,
    /// It stops unless the person says that the found text may be overwritten.
    Ask,
    /// It goes on and says so.
    Warn,
}
described!(Level: "stop", "ask", "warn");

described! {
    /// Something that was there before us.
    #[derive(Debug, Clone)]
    pub struct Fault {
        /// How bad.
        pub level: Level,
        /// Stable name.
        pub code: &'static str,
        /// What was seen and what to do.
        pub message: String,
        /// What it is about: a file, or a port.
        pub on: String,
        /// Who or what stands there.
        pub by: String,
        /// Raw words of the server.
        pub evidence: String,
    }

    /// One thing that a deploy would do.
    #[derive(Debug, Clone)]
    pub struct Step {
        /// `+` makes, `~` changes, `-` takes away, `r` reloads.
        pub op: char,
        /// Names the words: `switch_off`, `start`, `nginx`, `certbot`, `create`, `change`, `remove`, `issue`, `take_over`,
        /// `put_certificate`, `drop_certificate`, `enable`, `default`, `default_gone`, `reload`.
        pub what: &'static str,
        /// The file, or the ACME server.
        pub on: String,
        /// Lines added.
        pub added: usize,
        /// Lines taken away.
        pub removed: usize,
    }
}

impl Step {
    fn new(op: char, what: &'static str, on: impl Into<String>) -> Step {
        Step {
            op,
            what,
            on: on.into(),
            added: 0,
            removed: 0,
        }
    }
}

/// What a deploy would do on one server.
pub struct ServerPlan {
    /// Where.
    pub server: Id<id::Server>,
    /// Its name.
    pub name: String,
    /// Tried before the others.
    pub canary: bool,
    /// It is to be taken off there.
    pub leaves: bool,
    /// What was found wrong, the worst first.
    pub faults: Vec<Fault>,
    /// What would be done, in order; empty: it is as it should be.
    pub steps: Vec<Step>,
    /// The file there now; empty when there is none.
    pub before: String,
    /// The file as it would be; empty when it would go.
    pub after: String,
    /// The certificate there.
    pub certificate: Option<remote::CertificateSeen>,
    /// SHA-256 of the file there now.
    pub found: Option<String>,
    /// SHA-256 of the file under the old name.
    pub found_old: Option<String>,
    /// For the deploy itself.
    pub(super) work: Option<Work>,
}

/// What the deploy needs of the plan and nobody else.
pub(super) struct Work {
    pub nginx: Option<Nginx>,
    pub set_up: bool,
    pub rendered: RenderedVhost,
    pub generation: i64,
    pub first: Option<RenderedVhost>,
    pub lineage: String,
}

/// A domain's plan.
pub struct Plan {
    /// Unix ms.
    pub made_at: Ms,
    /// What the name servers say; none when it is switched off.
    pub preflight: Option<preflight::Report>,
    /// Of the domain as a whole.
    pub faults: Vec<Fault>,
    /// In the order of the work.
    pub servers: Vec<ServerPlan>,
}

impl Plan {
    /// Would a deploy stop before it changes anything anywhere?
    pub fn stops(&self) -> bool {
        let stop = |faults: &[Fault]| faults.iter().any(|f| f.level != Level::Warn);
        stop(&self.faults) || self.servers.iter().any(|s| stop(&s.faults))
    }

    /// How many things would be done.
    pub fn changes(&self) -> usize {
        self.servers.iter().map(|s| s.steps.len()).sum()
    }
}

/// For the look at a server: somebody may be waiting for it.
const LOOK_LIMIT: Duration = Duration::from_secs(20);

/// Looks at every server and at the name servers.
pub fn make(app: &App, desired: &DesiredState, cancel: &Cancel) -> Plan {
    let all = clock::mono() + LOOK_LIMIT * u32::try_from(desired.sites.len()).unwrap_or(u32::MAX).max(1);
    make_all(app, std::slice::from_ref(desired), all, cancel).remove(0)
}

/// The plans of several domains, in the order of `all_desired`. Servers are looked at side by side, the domains of one server
/// one after the other. Where a server cannot be reached, its other domains get the same fault without another wait;
/// what is not looked at before `until` gets the fault `not_looked_at`.
pub fn make_all(app: &App, all_desired: &[DesiredState], until: Instant, cancel: &Cancel) -> Vec<Plan> {
    let mut by_server: BTreeMap<i64, Vec<(usize, usize)>> = BTreeMap::new();
    for (w, desired) in all_desired.iter().enumerate() {
        for (s, (_, server)) in desired.sites.iter().enumerate() {
            by_server.entry(server.id.get()).or_default().push((w, s));
        }
    }
    let groups: Vec<Vec<(usize, usize)>> = by_server.into_values().collect();
    // Each look itself ends when the cord is pulled.
    let not_cancelled = Cancel::new();
    let looks = FanOut {
        name: "domains.plan",
        width: WIDTH,
        begin_until: None,
        cancel: &not_cancelled,
    };
    let looked = looks.run(&groups, |sites| {
        let mut refused: Option<Error> = None;
        let look = |&(w, s): &(usize, usize)| {
            let desired = &all_desired[w];
            let (placement, server) = &desired.sites[s];
            if let Some(e) = &refused {
                return ((w, s), ServerPlan::failed(desired, placement, server, e));
            }
            let plan = in_time(until)
                .and_then(|()| ServerConnection::of(app, server.id))
                .and_then(|way| on_server(app, &way, desired, placement, cancel, &mut |_| ()))
                .unwrap_or_else(|e| {
                    let plan = ServerPlan::failed(desired, placement, server, &e);
                    refused = Some(e).filter(|e| e.code.starts_with("ssh_"));
                    plan
                });
            ((w, s), plan)
        };
        sites.iter().map(look).collect::<Vec<_>>()
    });
    let mut looked: BTreeMap<(usize, usize), ServerPlan> = looked.into_iter().flatten().flatten().collect();
    let servers: Vec<Vec<ServerPlan>> = (0..all_desired.len())
        .map(|w| {
            let sites = 0..all_desired[w].sites.len();
            let mut servers = sites.filter_map(|s| looked.remove(&(w, s))).collect::<Vec<_>>();
            leave_out(&mut servers);
            servers
        })
        .collect();
    let issues = |servers: &[ServerPlan]| servers.iter().any(|s| s.steps.iter().any(|step| step.what == "issue"));
    let pairs: Vec<_> = all_desired.iter().zip(&servers).collect();
    let asked = looks.run(&pairs, |(desired, servers)| match in_time(until) {
        Ok(()) => before(app, desired, issues(servers), cancel),
        Err(e) => (None, vec![Fault::new(Level::Warn, e.code, e.say)]),
    });
    let made_at = clock::now();
    let plan = |((preflight, faults), servers)| Plan {
        made_at,
        preflight,
        faults,
        servers,
    };
    asked.into_iter().flatten().zip(servers).map(plan).collect()
}

/// A server that cannot be reached is left out where another one can be.
fn leave_out(servers: &mut [ServerPlan]) {
    let is_dead = |plan: &ServerPlan| plan.faults.iter().any(|fault| fault.code.starts_with("ssh_"));
    if servers.iter().all(|plan| plan.leaves || is_dead(plan)) {
        return;
    }
    let dead = servers.iter_mut().filter(|plan| is_dead(plan));
    for fault in dead
        .flat_map(|plan| &mut plan.faults)
        .filter(|fault| fault.code.starts_with("ssh_"))
    {
        fault.level = Level::Warn;
    }
}

fn in_time(until: Instant) -> Result<()> {
    if clock::mono() < until {
        return Ok(());
    }
    let say = "There was no time to look here. Make the plan for fewer domains, or open the plan of this one.";
    Err(Error::new(Kind::Timeout, "not_looked_at", say))
}

/// What is asked before any server is touched: the name servers, and whether there is anything to do at all.
pub fn before(
    app: &App,
    desired: &DesiredState,
    issues: bool,
    cancel: &Cancel,
) -> (Option<preflight::Report>, Vec<Fault>) {
    let mut faults = Vec::new();
    if desired.sites.is_empty() {
        let message = "This domain is on no server. Choose at least one.".to_string();
        faults.push(Fault::new(Level::Stop, "no_server", message));
    }
    if desired.targets.is_empty() && desired.sites.iter().any(|(placement, _)| placement.wanted) {
        let message = "This domain has no upstream, so there is nowhere to send its requests. Choose one first.";
        faults.push(Fault::new(Level::Stop, "no_upstream", message.to_string()));
    }
    let wanted = || desired.sites.iter().filter(|(placement, _)| placement.wanted);
    if desired.is_acme() && wanted().count() > 1 {
        for (_, server) in wanted().filter(|(_, server)| addresses(server).next().is_none()) {
            let message = format!(
                "The ACME server may ask any server of this domain, and the others cannot pass its question on to {}: its address is not known here. Give its public address on its page.",
                server.fields.name
            );
            faults.push(Fault::new(Level::Warn, "peer_unknown", message).on(&server.fields.name, ""));
        }
    }
    if desired.domain.fields.preflight == Preflight::Off {
        return (None, faults);
    }
    let servers: Vec<_> = wanted().map(|(placement, _)| placement.server).collect();
    let expected = match preflight::expected_addresses(app, &servers) {
        Ok(expected) => expected,
        Err(e) => {
            faults.push(Fault::new(Level::Stop, e.code, e.say));
            return (None, faults);
        }
    };
    let report = preflight::check(app, desired.name(), &expected, cancel);
    if cancel.is_cancelled() {
        return (None, faults);
    }
    // Who may issue matters only where somebody is asked to.
    let matters = |c: &&preflight::Check| c.verdict == Verdict::Bad && (issues || c.id != "caa");
    if let Some(bad) = report.checks.iter().find(matters).map(|c| c.say(Lang::En)) {
        // Only an ACME server has to find the way here already. Everything else may be made ready before the move.
        let level = match desired.domain.fields.preflight {
            Preflight::Strict if issues => Level::Stop,
            _ => Level::Warn,
        };
        faults.push(Fault::new(level, "preflight", bad));
    }
    (Some(report), faults)
}

impl Fault {
    fn new(level: Level, code: &'static str, message: String) -> Fault {
        Fault {
            level,
            code,
            message,
            on: String::new(),
            by: String::new(),
            evidence: String::new(),
        }
    }

    fn on(self, on: impl ToString, by: impl ToString) -> Fault {
        Fault {
            on: on.to_string(),
            by: by.to_string(),
            ..self
        }
    }
}

impl ServerPlan {
    fn empty(desired: &DesiredState, placement: &Placement, server: &Server) -> ServerPlan {
        let first = desired.sites.iter().find(|(placement, _)| placement.wanted);
        let many = desired.sites.iter().filter(|(placement, _)| placement.wanted).count() > 1;
        ServerPlan {
            server: server.id,
            name: server.fields.name.clone(),
            canary: many && first.is_some_and(|(placement, _)| placement.server == server.id),
            leaves: !placement.wanted,
            faults: Vec::new(),
            steps: Vec::new(),
            before: String::new(),
            after: String::new(),
            certificate: None,
            found: None,
            found_old: None,
            work: None,
        }
    }

    fn failed(desired: &DesiredState, placement: &Placement, server: &Server, e: &Error) -> ServerPlan {
        let mut plan = ServerPlan::empty(desired, placement, server);
        plan.before = placement.text.clone();
        // A dead server keeps nobody from moving away from it.
        let level = match plan.leaves && e.code.starts_with("ssh_") {
            true => Level::Warn,
            false => Level::Stop,
        };
        plan.faults.push(Fault::new(level, e.code, e.say.clone()));
        plan
    }

    /// The first reason to stop.
    pub fn stop(&self, overwrite: bool) -> Option<&Fault> {
        self.faults.iter().find(|f| match f.level {
            Level::Stop => true,
            Level::Ask => !overwrite,
            Level::Warn => false,
        })
    }

    /// The difference as people know it.
    pub fn diff(&self) -> diff::Diff<'_> {
        diff::diff(&self.before, &self.after)
    }
}

/// Looks at one server; changes nothing. One job.
pub(super) fn on_server(
    app: &App,
    way: &ServerConnection,
    desired: &DesiredState,
    placement: &Placement,
    cancel: &Cancel,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<ServerPlan> {
    let (chain, _) = remote::uploaded_paths(desired.name());
    let proof = vhost::proof_in(&placement.text);
    let old_name = Some(placement.name.as_str()).filter(|name| !name.is_empty() && *name != desired.name());
    let wanted = [Wanted {
        name: desired.name(),
        old_name,
        certificate: match (&desired.own, placement.wanted && desired.domain.fields.ssl) {
            (_, false) => remote::Look::None,
            (Some(_), true) => remote::Look::Chain(&chain),
            (None, true) => remote::Look::Acme(&desired.acme_directory),
        },
        proof: proof.as_ref(),
        goes: old_name.or((!placement.wanted).then_some(desired.name())),
        leaves: !placement.wanted,
    }];
    let mut recipe = remote::look(&wanted, &desired.target_names().collect::<Vec<_>>())?;
    recipe.deadline = LOOK_LIMIT;
    let outcome = way.run(app, &recipe, cancel, on_progress)?;
    let seen = remote::seen(&outcome, &wanted);
    judge(desired, placement, &way.server, seen, old_name)
}

/// What was seen, held against what is wanted. Pure.
fn judge(
    desired: &DesiredState,
    placement: &Placement,
    server: &Server,
    mut seen: Seen,
    old_name: Option<&str>,
) -> Result<ServerPlan> {
    let mut plan = ServerPlan::empty(desired, placement, server);
    let here = seen.sites.pop().unwrap_or_default();
    plan.before = here.text.clone().unwrap_or_default();
    plan.certificate = here.certificate.clone();
    let replaced = [Some(desired.name()), old_name];
    plan.find_red(placement, &seen, &replaced);
    if !placement.wanted {
        plan.leave(placement, &here);
        return Ok(plan);
    }
    plan.find_strangers(desired, &seen, &here);
    plan.find_edits(desired, placement, &here, old_name);
    plan.find_names(desired, &seen);
    if desired.targets.is_empty() {
        return Ok(plan);
    }
    let lineage = desired.lineage_seen(placement, &here);
    plan.find_lineages(desired, &here, &lineage);
    let rendered = desired.render_with(placement, seen.nginx.as_ref(), &lineage)?;
    plan.after = rendered.text.clone();
    plan.plan_steps(desired, placement, &seen, &here, old_name, &rendered)?;
    Ok(plan)
}

/// Raw words shown of one fault.
const EVIDENCE_MAX: usize = 4_000;

fn site_path(name: &str) -> String {
    format!("/etc/nginx/sites-available/{name}.conf")
}

/// SHA-256 of a file, hex.
pub fn sum(text: &str) -> String {
    text::hex(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref())
}

impl ServerPlan {
    /// The site is taken off this server. Its file is named as it was put there.
    fn leave(&mut self, placement: &Placement, here: &SiteSeen) {
        let (file, text) = match here.old.sha256.is_some() || placement.name.is_empty() {
            true => (&here.old, placement.text.clone()),
            false => (&here.file, here.text.clone().unwrap_or_default()),
        };
        self.before = text;
        self.found = file.sha256.clone();
        if placement.name.is_empty() || (file.sha256.is_none() && file.enabled == Enabled::No) {
            return;
        }
        if file.sha256.as_ref().is_some_and(|found| *found != sum(&placement.text)) {
            let message = format!(
                "{} was changed on the server by somebody else. Say that it may go all the same, or look at it first.",
                site_path(&placement.name)
            );
            let fault = Fault::new(Level::Ask, "site_edited", message);
            self.faults.push(fault.on(site_path(&placement.name), ""));
        }
        self.steps.push(Step::new('-', "remove", site_path(&placement.name)));
        self.steps.extend(defaults(here));
        self.steps.push(Step::new('r', "reload", ""));
        self.let_go(here);
    }

    /// What certbot keeps for a name that goes, goes too; not what somebody else uses.
    fn let_go(&mut self, here: &SiteSeen) {
        for (lineage, user) in &here.goes {
            let path = remote::acme_paths(lineage).0;
            if user.is_empty() {
                self.steps.push(Step::new('-', "drop_certificate", path));
                continue;
            }
            let message = format!(
                "{user} uses {path}, so that certificate stays. certbot cannot renew it over this server's port 80 any more."
            );
            self.faults
                .push(Fault::new(Level::Warn, "certificate_used", message).on(path, user));
        }
    }

    /// Certificates that certbot keeps, and whose they are.
    fn find_lineages(&mut self, desired: &DesiredState, here: &SiteSeen, lineage: &str) {
        if !desired.is_acme() {
            return;
        }
        if !here.leftovers.is_empty() {
            let level = match here.lineage {
                None => Level::Stop,
                Some(_) => Level::Warn,
            };
            let places = here.leftovers.join(" ");
            let message = format!(
                "certbot does not recognise what lies at {places} (its four files as links, and its renewal file). It is not used. Put back what is missing, or remove these when nothing uses them."
            );
            self.faults
                .push(Fault::new(level, "lineage_leftovers", message).on(places, lineage));
        }
        let issues = here.lacks.is_some();
        for (how, line) in here.settings.iter().filter(|(how, _)| how != "stop" || issues) {
            let (level, code, message) = match how.as_str() {
                "stop" => (
                    Level::Stop,
                    "acme_settings",
                    format!(
                        "certbot on this server has a setting that cannot be taken back for this site: {line}. Take it out."
                    ),
                ),
                _ => (
                    Level::Warn,
                    "acme_settings_timer",
                    format!(
                        "certbot on this server is set for all its runs: {line}. It does not count here, but it does where certbot's own timer renews."
                    ),
                ),
            };
            self.faults.push(Fault::new(level, code, message).on(line, ""));
        }
        if let Some((path, names)) = &here.stranger {
            let message = format!(
                "{path} is a certificate of somebody else, for {names}. It stays as it is, and this site gets its own, {lineage}. If it is for {} too, take that name out of it: its renewal asks at this site from now on.",
                desired.name()
            );
            let fault = Fault::new(Level::Warn, "lineage_foreign", message);
            self.faults.push(fault.on(path, names));
        }
    }

    /// A configuration that is already faulty, and a service that is down: both are mended where files of ours alone are
    /// the reason.
    fn find_red(&mut self, placement: &Placement, seen: &Seen, replaced: &[Option<&str>]) {
        let evidence = text::cut(seen.red.as_deref().unwrap_or_default(), EVIDENCE_MAX);
        let red = |level, message: &str| Fault {
            evidence: evidence.to_string(),
            ..Fault::new(level, "nginx_red", message.to_string())
        };
        match &seen.off {
            None if seen.red.is_some() => self.faults.push(red(
                Level::Stop,
                "nginx on this server does not accept its own configuration, before anything was changed. Mend what it names first.",
            )),
            None => {}
            Some(off) => {
                let (own, others): (Vec<_>, Vec<_>) = off.iter().partition(|off| replaced.contains(&off.site()));
                if !own.is_empty() || others.is_empty() {
                    let message = "nginx on this server does not accept a file that is about to be replaced.";
                    self.faults.push(red(Level::Warn, message));
                }
                for off in others {
                    let message = format!(
                        "nginx does not accept {}, a file of Lamplighter’s. It is switched off, so that the others are served.",
                        off.path
                    );
                    let fault = Fault::new(Level::Warn, "own_file_red", message).on(&off.path, "");
                    self.faults.push(Fault {
                        evidence: off.why.clone(),
                        ..fault
                    });
                    self.steps.push(Step::new('-', "switch_off", off.path.clone()));
                }
            }
        }
        if let Some((code, why)) = &seen.unread {
            let code = failure_of(code).code;
            self.faults.push(Fault {
                evidence: why.clone(),
                ..Fault::new(Level::Stop, code, why.clone())
            });
        }
        match seen.state.as_str() {
            "failed" => self.steps.push(Step::new('+', "start", "")),
            "inactive" if seen.ready && placement.wanted => {
                let message =
                    "nginx does not run on this server: somebody has stopped it. “Deploy reverse proxy” starts it.";
                self.faults
                    .push(Fault::new(Level::Stop, "nginx_not_running", message.to_string()));
            }
            _ => {}
        }
    }

    /// Others who hold the ports, or the name.
    fn find_strangers(&mut self, desired: &DesiredState, seen: &Seen, here: &SiteSeen) {
        for (port, who) in [80, 443].into_iter().zip(&seen.listeners) {
            let Some(who) = who.as_ref().filter(|who| !who.starts_with("nginx ")) else {
                continue;
            };
            if port == 80 || desired.domain.fields.ssl {
                let message = format!("Port {port} of this server is in use by {who}. nginx cannot listen there.");
                self.faults
                    .push(Fault::new(Level::Stop, "port_taken", message).on(port, who));
            }
        }
        for other in &here.others {
            let message = format!(
                "{other} answers for {} already. nginx would listen to one of the two only. Take the name out there, or delete that file.",
                desired.name()
            );
            self.faults
                .push(Fault::new(Level::Stop, "foreign_site", message).on(desired.name(), other));
        }
        for (port, file) in here
            .shadows
            .iter()
            .filter(|(port, _)| port == "80" || desired.domain.fields.ssl)
        {
            let message = format!(
                "Names that nobody serves, and the bare address, are answered by {file} on port {port}, because it is the first that nginx reads. This site would come before it, and on 443 its TLS versions would hold for all. Add default_server to the listen line there, or say that this may change."
            );
            self.faults
                .push(Fault::new(Level::Ask, "would_be_default", message).on(port, file));
        }
        if let Enabled::Foreign(place) = &here.file.enabled {
            let message = format!(
                "/etc/nginx/sites-enabled/{}.conf is not our link, but {place}. Take it away first.",
                desired.name()
            );
            let link = format!("/etc/nginx/sites-enabled/{}.conf", desired.name());
            self.faults
                .push(Fault::new(Level::Stop, "foreign_link", message).on(link, place));
        }
    }

    /// Texts of our files that are not ours: they are never overwritten silently.
    fn find_edits(&mut self, desired: &DesiredState, placement: &Placement, here: &SiteSeen, old_name: Option<&str>) {
        let ours = sum(&placement.text);
        let is_there = placement.name == desired.name();
        match &here.file.sha256 {
            Some(found) if !is_there || *found != ours => {
                let message = match is_there {
                    true => {
                        "was changed on the server since it was put there. Accept that text, or say that it may be overwritten."
                    }
                    false => {
                        "is there already and is not from here. Say that it may be overwritten, or take it away first."
                    }
                };
                let message = format!("{} {message}", site_path(desired.name()));
                let fault = Fault::new(Level::Ask, "site_edited", message);
                // A text equal to the wanted one is nobody's edit: an earlier deploy was cut off before it could tell.
                if !vhost::untouched(here.text.as_deref().unwrap_or_default()) || !is_ours(desired, here) {
                    self.faults.push(fault);
                }
            }
            Some(_) if placement.adopted => {
                let message = format!(
                    "{} has a text that a person accepted. Say that it may be overwritten.",
                    site_path(desired.name())
                );
                let fault = Fault::new(Level::Ask, "site_adopted", message);
                self.faults.push(fault.on(site_path(desired.name()), ""));
            }
            _ => {}
        }
        if let (Some(old), Some(found)) = (old_name, &here.old.sha256)
            && *found != ours
        {
            let message = format!(
                "{}, the file under the old name, was changed on the server. Say that it may go all the same.",
                site_path(old)
            );
            let fault = Fault::new(Level::Ask, "site_edited", message);
            self.faults.push(fault.on(site_path(old), ""));
        }
    }

    /// Several names in one upstream: only an nginx from 1.27.3 on can follow them by itself.
    fn find_names(&mut self, desired: &DesiredState, seen: &Seen) {
        let Some(nginx) = seen
            .nginx
            .as_ref()
            .filter(|nginx| !nginx.resolve && desired.targets.len() > 1)
        else {
            return;
        };
        let once: Vec<&str> = desired
            .target_names()
            .filter(|name| !nginx.own_names.iter().any(|own| own == name))
            .collect();
        if once.is_empty() {
            return;
        }
        let names = once.join(", ");
        let message = format!(
            "nginx {} cannot follow {names} among several targets. Lamplighter looks the addresses up, and again with each look at the server’s files; nginx is reloaded when one has moved. From 1.27.3 on nginx does it itself.",
            seen.version
        );
        self.faults
            .push(Fault::new(Level::Warn, "resolved_once", message).on(names, &seen.version));
    }

    fn plan_steps(
        &mut self,
        desired: &DesiredState,
        placement: &Placement,
        seen: &Seen,
        here: &SiteSeen,
        old_name: Option<&str>,
        rendered: &RenderedVhost,
    ) -> Result<()> {
        let lineage = desired.lineage_seen(placement, here);
        let mut steps = std::mem::take(&mut self.steps);
        let same_text = here.text.as_deref() == Some(rendered.text.as_str());
        if !seen.ready {
            steps.push(Step::new('+', "nginx", ""));
        }
        if desired.is_acme() && seen.certbot.is_none() {
            steps.push(Step::new('+', "certbot", ""));
        }
        if desired.is_acme() && (here.lacks.is_some() || here.lineage.is_none()) {
            steps.push(Step::new('+', "issue", desired.acme_directory.clone()));
        } else if desired.is_acme() && remote::lineage_in(&placement.text) != Some(&lineage) {
            steps.push(Step::new('~', "take_over", remote::acme_paths(&lineage).0));
        }
        if let Some(own) = &desired.own
            && here.certificate.as_ref().is_none_or(|c| c.sha256 != own.sha256)
        {
            steps.push(Step::new('~', "put_certificate", desired.certificate_paths(&lineage).0));
        }
        if !same_text {
            let told = diff::diff(&self.before, &rendered.text);
            let (op, what) = match here.file.sha256 {
                Some(_) => ('~', "change"),
                None => ('+', "create"),
            };
            steps.push(Step {
                added: told.added,
                removed: told.removed,
                ..Step::new(op, what, site_path(desired.name()))
            });
        }
        if here.file.enabled == Enabled::No {
            steps.push(Step::new(
                '+',
                "enable",
                format!("/etc/nginx/sites-enabled/{}.conf", desired.name()),
            ));
        }
        if let Some(old) = old_name.filter(|_| here.old.sha256.is_some() || here.old.enabled != Enabled::No) {
            steps.push(Step::new('-', "remove", site_path(old)));
        }
        // The proof that was asked for is that of the text we put there last: it counts when that is the wanted one.
        let runs = here.proved && vhost::proof_in(&placement.text).as_ref() == Some(&rendered.proof);
        if !steps.is_empty() || !runs {
            steps.extend(defaults(here));
            steps.push(Step::new('r', "reload", ""));
        }
        self.steps = steps;
        self.let_go(here);
        let nginx = seen.nginx.clone();
        let generation = vhost::marker(&rendered.text).map_or(placement.generation, |m| m.generation);
        self.work = Some(Work {
            nginx,
            set_up: !seen.ready,
            rendered: rendered.clone(),
            generation,
            first: match (desired.is_acme(), &seen.nginx) {
                (true, Some(nginx)) => Some(desired.render_first(placement, nginx)?),
                _ => None,
            },
            lineage,
        });
        self.found = here.file.sha256.clone();
        self.found_old = here.old.sha256.clone();
        Ok(())
    }

    /// What the nginx there understands.
    pub(super) fn nginx(&self) -> Result<Nginx> {
        let nginx = self.work.as_ref().and_then(|work| work.nginx.clone());
        nginx.ok_or_else(|| Error::internal("nginx without a version"))
    }
}

/// What becomes of our file that answers for what nobody named.
fn defaults(here: &SiteSeen) -> impl Iterator<Item = Step> + '_ {
    here.defaults.iter().map(|(how, port)| match how.as_str() {
        "put" => Step::new('+', "default", port),
        _ => Step::new('-', "default_gone", port),
    })
}

/// A text of ours for this very domain, whole and unedited.
fn is_ours(desired: &DesiredState, here: &SiteSeen) -> bool {
    let marker = here.text.as_deref().and_then(vhost::marker);
    marker.is_some_and(|marker| marker.id == desired.domain.id.get())
}
