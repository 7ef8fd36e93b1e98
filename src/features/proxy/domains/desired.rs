//! The desired state of a domain from one database snapshot, and the texts derived from it.

use super::Domain;
use super::placements::Placement;
use super::settings;
use super::vhost::{self, RenderedVhost, Vhost, VhostTls};
use crate::app::App;
use crate::base::error::{Error, Kind, Result};
use crate::base::host::Host;
use crate::base::id::{self, Id};
use crate::base::secret::Secret;
use crate::db::Conn;
use crate::features::fleet::servers::{self, Server};
use crate::features::proxy::certificates;
use crate::features::proxy::upstreams;
use crate::features::proxy::upstreams::Target;
use crate::provision::site::{self as remote, Nginx, SiteSeen};
use std::net::IpAddr;

/// The data of a deploy, from one database snapshot.
pub struct DesiredState {
    /// The domain's row.
    pub domain: Domain,
    /// Targets; empty without upstream.
    pub targets: Vec<Target>,
    /// Uploaded certificate.
    pub own: Option<OwnCertificate>,
    /// Wanted and existing placements, in order.
    pub sites: Vec<(Placement, Server)>,
    /// E-mail of the ACME account; may be empty.
    pub acme_email: String,
    /// URL of the ACME directory.
    pub acme_directory: String,
    /// For HSTS, seconds.
    pub hsts_max_age_s: i64,
}

/// An uploaded certificate.
pub struct OwnCertificate {
    /// PEM, the leaf first.
    pub chain: String,
    /// PEM.
    pub key: Secret,
    /// Of the leaf's DER form, hex.
    pub sha256: String,
}

impl DesiredState {
    /// Loads all of it. Errors: not found, missing upstream or certificate.
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

    /// Is its certificate from an ACME server?
    pub fn is_acme(&self) -> bool {
        self.domain.fields.ssl && self.own.is_none()
    }

    /// certbot's name of its certificate on a server, as known from the text there.
    pub fn lineage(&self, placement: &Placement) -> String {
        let there = remote::lineage_in(&placement.text).filter(|_| placement.name == self.name());
        there.map_or_else(|| remote::lineage(self.name()), String::from)
    }

    pub(super) fn lineage_seen(&self, placement: &Placement, here: &SiteSeen) -> String {
        here.lineage.clone().unwrap_or_else(|| self.lineage(placement))
    }

    /// Paths of chain and key on a server.
    pub(super) fn certificate_paths(&self, lineage: &str) -> (String, String) {
        match self.own {
            Some(_) => remote::uploaded_paths(self.name()),
            None => remote::acme_paths(lineage),
        }
    }

    /// Renders the file for one server. Without a known nginx it is rendered for Debian 12's.
    pub fn render(&self, placement: &Placement, nginx: Option<&Nginx>) -> Result<RenderedVhost> {
        self.render_with(placement, nginx, &self.lineage(placement))
    }

    /// Renders with the certificate of this lineage.
    pub fn render_with(&self, placement: &Placement, nginx: Option<&Nginx>, lineage: &str) -> Result<RenderedVhost> {
        self.render_as(placement, nginx, self.domain.fields.ssl.then_some(lineage))
    }

    /// Renders the text for port 80 only, used while the first certificate is issued.
    pub fn render_first(&self, placement: &Placement, nginx: &Nginx) -> Result<RenderedVhost> {
        self.render_as(placement, Some(nginx), None)
    }

    /// Does this server need a bridge? (An ACME server may ask it for the challenge of another.)
    pub fn needs_bridge(&self, placement: &Placement) -> bool {
        let peers = self.peers(placement);
        !peers.is_empty() && (placement.name != self.name() || vhost::peers_in(&placement.text) != peers)
    }

    /// Renders the bridge text, with the current certificate.
    pub fn render_bridge(&self, placement: &Placement, nginx: &Nginx) -> Result<RenderedVhost> {
        let pair = vhost::pair_in(&placement.text).filter(|_| placement.name == self.name());
        self.render_pair(placement, Some(nginx), pair)
    }

    /// Addresses of the domain's other servers if it uses ACME.
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

    /// Is a deploy pending, because the rendered text changed?
    pub fn is_waiting(&self, placement: &Placement) -> bool {
        if !placement.wanted {
            return !placement.name.is_empty();
        }
        let same = |rendered: RenderedVhost| rendered.text == placement.text && placement.name == self.name();
        self.render(placement, placement.nginx.as_ref())
            .map_or(true, |rendered| !same(rendered))
    }
}

/// Addresses by which other servers reach this one: ours and the public ones. Names are excluded: nginx would not start
/// without DNS.
pub(super) fn addresses(server: &Server) -> impl Iterator<Item = IpAddr> {
    let own = Host::parse(&server.fields.host).ok().and_then(|host| host.ip());
    let public = server.fields.public_ips.iter().filter_map(|ip| ip.parse().ok());
    own.into_iter()
        .chain(public)
        .filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}
