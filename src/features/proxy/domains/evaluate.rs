//! Compares what was found on a server with what is wanted: findings, steps and the text. Pure.

use super::desired::DesiredState;
use super::placements::Placement;
use super::plan::{Finding, Level, ServerPlan, Step, Work};
use super::vhost::{self, RenderedVhost};
use crate::base::diff;
use crate::base::error::{Error, Result};
use crate::base::text;
use crate::features::fleet::servers::Server;
use crate::provision::site::{self as remote, Enabled, Nginx, Seen, SiteSeen};
use crate::provision::steps::failure_of;

/// Evaluates an inspection. Pure.
pub(super) fn evaluate(
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
    if server.fields.from_bundle() {
        plan.tell_bundle();
    }
    Ok(plan)
}

/// Longest evidence of one finding, in bytes.
const EVIDENCE_MAX: usize = 4_000;

fn site_path(name: &str) -> String {
    format!("/etc/nginx/sites-available/{name}.conf")
}

/// SHA-256 of a file, hex.
pub fn sum(text: &str) -> String {
    text::hex(&text::sha256(text.as_bytes()))
}

impl ServerPlan {
    /// The site is to be removed from this server. Its file has the name under which it was put.
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
                "{} was changed on the server by others. Permit its removal, or inspect it first.",
                site_path(&placement.name)
            );
            let finding = Finding::new(Level::Ask, "site_edited", message);
            self.faults.push(finding.on(site_path(&placement.name), ""));
        }
        self.steps.push(Step::new('-', "remove", site_path(&placement.name)));
        self.steps.extend(defaults(here));
        self.steps.push(Step::new('r', "reload", ""));
        self.let_go(here);
    }

    /// Removes certbot's certificate of a removed name, unless it is used elsewhere.
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
                .push(Finding::new(Level::Warn, "certificate_used", message).on(path, user));
        }
    }

    /// Finds certbot's certificates and their owners.
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
                .push(Finding::new(level, "lineage_leftovers", message).on(places, lineage));
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
            self.faults.push(Finding::new(level, code, message).on(line, ""));
        }
        if let Some((path, names)) = &here.stranger {
            let message = format!(
                "{path} is a certificate that others have made, for {names}. It stays as it is, and this site gets its own, {lineage}. If it is for {} too, remove that name from it: its renewal will be validated at this site.",
                desired.name()
            );
            let finding = Finding::new(Level::Warn, "lineage_foreign", message);
            self.faults.push(finding.on(path, names));
        }
    }

    /// Finds an invalid configuration and a stopped service: both are repaired if only our files cause them.
    fn find_red(&mut self, placement: &Placement, seen: &Seen, replaced: &[Option<&str>]) {
        let evidence = text::cut(seen.red.as_deref().unwrap_or_default(), EVIDENCE_MAX);
        let red = |level, message: &str| Finding {
            evidence: evidence.to_string(),
            ..Finding::new(level, "nginx_red", message.to_string())
        };
        match &seen.off {
            None if seen.red.is_some() => self.faults.push(red(
                Level::Stop,
                "nginx on this server does not accept its configuration, before any change. Repair the file it names first.",
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
                    let finding = Finding::new(Level::Warn, "own_file_red", message).on(&off.path, "");
                    self.faults.push(Finding {
                        evidence: off.why.clone(),
                        ..finding
                    });
                    self.steps.push(Step::new('-', "switch_off", off.path.clone()));
                }
            }
        }
        if let Some((code, why)) = &seen.unread {
            let code = failure_of(code).code;
            self.faults.push(Finding {
                evidence: why.clone(),
                ..Finding::new(Level::Stop, code, why.clone())
            });
        }
        match seen.state.as_str() {
            "failed" => self.steps.push(Step::new('+', "start", "")),
            "inactive" if seen.ready && placement.wanted => {
                let message = "nginx does not run on this server: it was stopped. “Deploy reverse proxy” starts it.";
                self.faults
                    .push(Finding::new(Level::Stop, "nginx_not_running", message.to_string()));
            }
            _ => {}
        }
    }

    /// Finds others that use the ports or the name.
    fn find_strangers(&mut self, desired: &DesiredState, seen: &Seen, here: &SiteSeen) {
        for (port, who) in [80, 443].into_iter().zip(&seen.listeners) {
            let Some(who) = who.as_ref().filter(|who| !who.starts_with("nginx ")) else {
                continue;
            };
            if port == 80 || desired.domain.fields.ssl {
                let message = format!("Port {port} of this server is in use by {who}. nginx cannot listen there.");
                self.faults
                    .push(Finding::new(Level::Stop, "port_taken", message).on(port, who));
            }
        }
        for other in &here.others {
            let message = format!(
                "{other} answers for {} already. nginx would listen to one of the two only. Take the name out there, or delete that file.",
                desired.name()
            );
            self.faults
                .push(Finding::new(Level::Stop, "foreign_site", message).on(desired.name(), other));
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
                .push(Finding::new(Level::Ask, "would_be_default", message).on(port, file));
        }
        if let Enabled::Foreign(place) = &here.file.enabled {
            let message = format!(
                "/etc/nginx/sites-enabled/{}.conf is not our link, but {place}. Take it away first.",
                desired.name()
            );
            let link = format!("/etc/nginx/sites-enabled/{}.conf", desired.name());
            self.faults
                .push(Finding::new(Level::Stop, "foreign_link", message).on(link, place));
        }
    }

    /// Finds foreign changes of our files: never overwritten silently.
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
                let finding = Finding::new(Level::Ask, "site_edited", message);
                // A text equal to the wanted one is from an interrupted deploy.
                if !vhost::untouched(here.text.as_deref().unwrap_or_default()) || !is_ours(desired, here) {
                    self.faults.push(finding);
                }
            }
            Some(_) if placement.adopted => {
                let message = format!(
                    "{} has a text that a person accepted. Say that it may be overwritten.",
                    site_path(desired.name())
                );
                let finding = Finding::new(Level::Ask, "site_adopted", message);
                self.faults.push(finding.on(site_path(desired.name()), ""));
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
            let finding = Finding::new(Level::Ask, "site_edited", message);
            self.faults.push(finding.on(site_path(old), ""));
        }
    }

    /// Several target names in one upstream: only nginx 1.27.3 and later can resolve them itself.
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
            "nginx {} cannot follow {names} among several targets. Lamplighter resolves the addresses, and again with each check of the server’s files; nginx is reloaded when one has changed. From 1.27.3 on nginx does it itself.",
            seen.version
        );
        self.faults
            .push(Finding::new(Level::Warn, "resolved_once", message).on(names, &seen.version));
    }

    /// What is installed comes from a bundle.
    fn tell_bundle(&mut self) {
        for step in &mut self.steps {
            step.what = match step.what {
                "nginx" => "nginx_bundled",
                "certbot" => "certbot_bundled",
                other => other,
            };
        }
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
        // The requested proof is that of the text put last: it counts if that is the wanted one.
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

    /// Capabilities of the nginx there. Error: none installed.
    pub(super) fn nginx(&self) -> Result<Nginx> {
        let nginx = self.work.as_ref().and_then(|work| work.nginx.clone());
        nginx.ok_or_else(|| Error::internal("nginx without a version"))
    }
}

/// Changes of our default sites.
fn defaults(here: &SiteSeen) -> impl Iterator<Item = Step> + '_ {
    here.defaults.iter().map(|(how, port)| match how.as_str() {
        "put" => Step::new('+', "default", port),
        _ => Step::new('-', "default_gone", port),
    })
}

/// Is this a text of ours for this domain, unedited?
fn is_ours(desired: &DesiredState, here: &SiteSeen) -> bool {
    let marker = here.text.as_deref().and_then(vhost::marker);
    marker.is_some_and(|marker| marker.id == desired.domain.id.get())
}
