//! What nginx and its sites are on a server before anything is changed there. Everything in it is what the server says.

use super::super::recipes::{Recipe, script};
use super::super::{Outcome, Progress};
use super::{FileSeen, Http2, MINUTE, Nginx, Proof, VALUE_SIZE_MAX, acme_directory, enabled, hash, list, name, names};
use crate::base::clock::Ms;
use crate::base::error::{Error, Result};
use crate::base::secret::Secret;
use crate::base::{shell, text};
use serde::{Deserialize, Serialize};

/// A site to look at.
#[derive(Debug, Clone, Default)]
pub struct Wanted<'a> {
    /// The domain.
    pub name: &'a str,
    /// What its file was named after so far.
    pub old_name: Option<&'a str>,
    /// The certificate it uses or would use.
    pub certificate: CertificateCheck<'a>,
    /// Of the text that should be running.
    pub proof: Option<&'a Proof>,
    /// A name whose site is to go: what certbot keeps for it is looked for.
    pub goes: Option<&'a str>,
    /// The site is to be taken off this server.
    pub leaves: bool,
}

/// See [`Wanted::certificate`].
#[derive(Debug, Clone, Copy, Default)]
pub enum CertificateCheck<'a> {
    /// It uses none.
    #[default]
    None,
    /// The chain at this path.
    Chain(&'a str),
    /// What certbot keeps, or would, from the ACME server with this directory.
    Acme(&'a str),
}

/// What is there, and which of these names of targets the server knows by itself. Changes nothing; read the outcome with [`seen`].
pub fn inspect(sites: &[Wanted], target_names: &[&str]) -> Result<Recipe> {
    let mut lines = Vec::new();
    for site in sites {
        lines.push(format!(
            "{} {} {} {} {} {} {}",
            name(site.name)?,
            site.old_name.map(name).transpose()?.unwrap_or("-"),
            match site.certificate {
                CertificateCheck::None => "-",
                CertificateCheck::Chain(chain) => path(chain)?,
                CertificateCheck::Acme(directory) => acme_directory(directory)?,
            },
            site.proof.map_or("-", |proof| &proof.path),
            site.proof.map_or("-", |proof| &proof.body),
            site.goes.map(name).transpose()?.unwrap_or("-"),
            if site.leaves { "yes" } else { "no" },
        ));
    }
    Ok(Recipe {
        name: "site-inspect",
        root: true,
        // nginx -t asks the name server for every target there is.
        deadline: 2 * MINUTE,
        plan: vec!["site_nginx", "site_files"],
        values: Secret::new(shell::assignments(&[
            ("SITES", &list(lines)?),
            ("TARGETS", &names(target_names)?),
        ])?),
        text: script!("prelude.sh", "nginx.sh", "site.sh", "stage.sh", "site_inspect.sh"),
    })
}

/// A server's nginx as [`inspect`] saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// None: nginx is not installed.
    pub nginx: Option<Nginx>,
    /// Of nginx; empty when it is not installed.
    pub version: String,
    /// The folders and the file that sites rely on are there: deploy-proxy has done its work.
    pub ready: bool,
    /// Why nginx would not read our files, with its code; known only while it is not ready.
    pub unread: Option<(String, String)>,
    /// Of its service: `active`, `failed`, `inactive` (stopped by a person), …
    pub state: String,
    /// The configuration as it is now is faulty: what nginx says about it.
    pub red: Option<String>,
    /// The fault is in files of ours alone: a job that changes something switches these off. None: it is elsewhere.
    pub off: Option<Vec<Off>>,
    /// certbot's version.
    pub certbot: Option<String>,
    /// Who listens on port 80 and on 443, `nginx (process 7)`.
    pub listeners: [Option<String>; 2],
    /// In the order they were asked for.
    pub sites: Vec<SiteSeen>,
}

/// A file of ours that nginx does not take. Switched off, it is not read any more; a site's text stays where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Off {
    /// A link of `sites-enabled`, or a file in `conf.d`.
    pub path: String,
    /// In nginx's words.
    pub why: String,
}

impl Off {
    /// Of a fact that a job tells when it has switched a file off.
    pub fn told(progress: &Progress) -> Option<Off> {
        match progress {
            Progress::Fact { key, value } if key.starts_with("off_") => Off::read(value),
            _ => None,
        }
    }

    fn read(line: &str) -> Option<Off> {
        let (path, why) = line.split_once(' ')?;
        Some(Off {
            path: text::one_line(path, VALUE_SIZE_MAX),
            why: text::one_line(why, VALUE_SIZE_MAX),
        })
    }

    /// The domain (A-labels) whose site it is; None: it is no site.
    pub fn site(&self) -> Option<&str> {
        let file = self.path.strip_prefix("/etc/nginx/sites-enabled/")?;
        name(file.strip_suffix(".conf")?).ok()
    }
}

/// One site as [`inspect`] saw it. Everything in it is what the server says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteSeen {
    /// Of its file.
    pub file: FileSeen,
    /// Its text; None when there is none, or one too long to be told.
    pub text: Option<String>,
    /// Of the file with the old name, when that was asked for.
    pub old: FileSeen,
    /// Other files that answer for the same name on port 80 or 443.
    pub others: Vec<String>,
    /// Files of others that answer for what nobody serves, with the port: this site would come before them.
    pub shadows: Vec<(String, String)>,
    /// What a change does to our file that answers for what nobody named: `put` or `drop`, and the port or place.
    pub defaults: Vec<(String, String)>,
    /// The certificate that was asked for.
    pub certificate: Option<CertificateSeen>,
    /// certbot's name for it; None: every place that we might give it is taken by what certbot does not recognise.
    pub lineage: Option<String>,
    /// Why another has to be issued: `none`, `server`, `ended`, `name`. None: it is good.
    pub lacks: Option<String>,
    /// What somebody has set for all of certbot's runs: `stop` (it cannot be taken back) or `warn`, and the line.
    pub settings: Vec<(String, String)>,
    /// Files in those places.
    pub leftovers: Vec<String>,
    /// Somebody else's certificate by this name: where it is, and its names.
    pub stranger: Option<(String, String)>,
    /// What certbot keeps for the name that goes, and a file that uses it besides (empty: none does, and it goes, too).
    pub goes: Vec<(String, String)>,
    /// The running nginx gives the proof that was asked for.
    pub proved: bool,
}

/// A certificate on the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateSeen {
    /// Unix ms; None (as below) when it cannot be read there.
    pub not_before: Option<Ms>,
    /// Unix ms.
    pub not_after: Option<Ms>,
    /// DNS names.
    pub names: Vec<String>,
    /// As OpenSSL writes it.
    pub issuer: String,
    /// Of the leaf's DER form, hex.
    pub sha256: String,
}

/// What a [`inspect`] at these sites has found.
pub fn seen(outcome: &Outcome, sites: &[Wanted]) -> Seen {
    let fact = |key: &str| outcome.facts.get(key).cloned();
    let yes = |key: &str| fact(key).as_deref() == Some("yes");
    Seen {
        nginx: nginx(outcome),
        version: fact("nginx_version").unwrap_or_default(),
        ready: yes("nginx_ready"),
        unread: fact("nginx_unread").and_then(|told| {
            let (code, why) = told.split_once(' ')?;
            Some((code.to_string(), why.to_string()))
        }),
        state: fact("nginx_state").unwrap_or_default(),
        red: outcome.texts.get("nginx_red").cloned(),
        off: yes("nginx_mendable").then(|| {
            let lines = outcome.texts.get("nginx_off").map_or("", String::as_str).lines();
            lines.filter_map(Off::read).collect()
        }),
        certbot: fact("certbot"),
        listeners: [fact("port_80"), fact("port_443")],
        sites: (0..sites.len()).map(|n| site_seen(outcome, n)).collect(),
    }
}

/// What the nginx of a server understands, as [`inspect`] tells it, and [`apply`] when nothing was to be changed.
pub fn nginx(outcome: &Outcome) -> Option<Nginx> {
    let fact = |key: &str| outcome.facts.get(key).map_or("", String::as_str);
    let known = Nginx::of(fact("nginx_version"), fact("nginx_openssl"), fact("ipv6") == "yes")?;
    let names = fact("own_names").split(' ').filter(|name| !name.is_empty());
    let shared = fact("http2_shared") == "no" && known.http2 == Http2::Listen;
    Some(Nginx {
        http2: if shared { Http2::Off } else { known.http2 },
        own_names: names.map(String::from).collect(),
        ..known
    })
}

fn site_seen(outcome: &Outcome, n: usize) -> SiteSeen {
    let mut site = SiteSeen {
        text: outcome.texts.get(&format!("live_{n}")).cloned(),
        ..SiteSeen::default()
    };
    let told = outcome.texts.get(&format!("site_{n}")).map_or("", String::as_str);
    for (key, value) in told.lines().filter_map(|line| line.split_once(' ')) {
        let value = text::one_line(value, VALUE_SIZE_MAX);
        match key {
            "sha256" => site.file.sha256 = hash(&value),
            "enabled" => site.file.enabled = enabled(&value),
            "old_sha256" => site.old.sha256 = hash(&value),
            "old_enabled" => site.old.enabled = enabled(&value),
            "other" => site.others.push(value),
            "lineage" => site.lineage = name(&value).ok().map(String::from),
            "lacks" => site.lacks = Some(value),
            "settings" => site.settings.push(two(&value)),
            "leftover" => site.leftovers.push(value),
            "stranger" => site.stranger = Some(two(&value)),
            "goes" => site.goes.push(two(&value)),
            "default" => site.defaults.push(two(&value)),
            "shadows" => site
                .shadows
                .extend(value.split_once(' ').map(|(port, file)| (port.into(), file.into()))),
            "proved" => site.proved = value == "yes",
            _ => {
                if let Some(key) = key.strip_prefix("cert_") {
                    certificate(site.certificate.get_or_insert_default(), key, value);
                }
            }
        }
    }
    site
}

/// The first word, and the rest.
fn two(value: &str) -> (String, String) {
    let (first, rest) = value.split_once(' ').unwrap_or((value, ""));
    (first.to_string(), rest.to_string())
}

fn certificate(seen: &mut CertificateSeen, key: &str, value: String) {
    let ms = |value: &str| value.parse::<Ms>().ok().and_then(|seconds| seconds.checked_mul(1000));
    match key {
        "not_before" => seen.not_before = ms(&value),
        "not_after" => seen.not_after = ms(&value),
        "name" => seen.names.push(value),
        "issuer" => seen.issuer = value,
        "sha256" => seen.sha256 = value,
        _ => {}
    }
}

fn path(text: &str) -> Result<&str> {
    match text.starts_with('/') && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b)) {
        true => Ok(text),
        false => Err(Error::internal(format!("not a plain path: {text:?}"))),
    }
}
