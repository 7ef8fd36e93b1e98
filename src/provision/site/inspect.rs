//! Reads nginx and its sites on a server. All values are reported by the server and untrusted.

use super::super::recipes::{Recipe, script};
use super::super::{Outcome, Progress};
use super::{FileSeen, Http2, MINUTE, Nginx, Proof, VALUE_SIZE_MAX, acme_directory, enabled, hash, list, name, names};
use crate::base::clock::Ms;
use crate::base::error::{Error, Result};
use crate::base::secret::Secret;
use crate::base::{shell, text};
use serde::{Deserialize, Serialize};

/// A site to inspect.
#[derive(Debug, Clone, Default)]
pub struct Wanted<'a> {
    /// The domain.
    pub name: &'a str,
    /// Name of its file before a rename.
    pub old_name: Option<&'a str>,
    /// The certificate it uses or would use.
    pub certificate: CertificateCheck<'a>,
    /// Proof of the text that should be running.
    pub proof: Option<&'a Proof>,
    /// A name whose site is to be removed: its certbot certificate is looked up.
    pub goes: Option<&'a str>,
    /// Is the site to be removed from this server?
    pub leaves: bool,
}

/// Which certificate to inspect ([`Wanted::certificate`]).
#[derive(Debug, Clone, Copy, Default)]
pub enum CertificateCheck<'a> {
    /// None.
    #[default]
    None,
    /// The chain at this path.
    Chain(&'a str),
    /// certbot's, from the ACME server with this directory.
    Acme(&'a str),
}

/// Inspects these sites, and which target names the server resolves by itself. Changes nothing; read the outcome with
/// [`seen`].
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
        // nginx -t resolves every target.
        deadline: 2 * MINUTE,
        plan: vec!["site_nginx", "site_files"],
        installs: Vec::new(),
        values: Secret::new(shell::assignments(&[
            ("SITES", &list(lines)?),
            ("TARGETS", &names(target_names)?),
        ])?),
        text: script!("prelude.sh", "nginx.sh", "site.sh", "stage.sh", "site_inspect.sh"),
    })
}

/// Result of [`inspect`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `None`: nginx is not installed.
    pub nginx: Option<Nginx>,
    /// Version of nginx; empty if not installed.
    pub version: String,
    /// Folders and the file that sites depend on exist (deploy-proxy has run).
    pub ready: bool,
    /// Why nginx would not read our files, with a code; known only if not ready.
    pub unread: Option<(String, String)>,
    /// State of its service: `active`, `failed`, `inactive` (stopped), …
    pub state: String,
    /// nginx's error, if the current configuration is invalid.
    pub red: Option<String>,
    /// Our files that cause the error: a job that changes something disables them. `None`: the error is elsewhere.
    pub off: Option<Vec<Off>>,
    /// certbot's version.
    pub certbot: Option<String>,
    /// Listeners on port 80 and 443: `nginx (process 7)`.
    pub listeners: [Option<String>; 2],
    /// In the order requested.
    pub sites: Vec<SiteSeen>,
}

/// A file of ours that nginx rejects. When disabled it is no longer read; the site's text stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Off {
    /// A link of `sites-enabled`, or a file in `conf.d`.
    pub path: String,
    /// nginx's message.
    pub why: String,
}

impl Off {
    /// Parses the fact of a job that disabled a file.
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

    /// The domain (A-labels) of the site; `None`: not a site's file.
    pub fn site(&self) -> Option<&str> {
        let file = self.path.strip_prefix("/etc/nginx/sites-enabled/")?;
        name(file.strip_suffix(".conf")?).ok()
    }
}

/// Result of [`inspect`] for one site, as reported by the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteSeen {
    /// Its file.
    pub file: FileSeen,
    /// Its text; `None` if there is none or it is too long.
    pub text: Option<String>,
    /// The file of the old name, if requested.
    pub old: FileSeen,
    /// Other files with the same server name on port 80 or 443.
    pub others: Vec<String>,
    /// Default sites of others, with the port: this site would take precedence.
    pub shadows: Vec<(String, String)>,
    /// Effect of a change on our default site: `put` or `drop`, and the port or place.
    pub defaults: Vec<(String, String)>,
    /// The certificate that was asked for.
    pub certificate: Option<CertificateSeen>,
    /// certbot's name for it; `None`: all candidate names are taken by files that certbot does not know.
    pub lineage: Option<String>,
    /// Why a new one must be issued: `none`, `server`, `ended`, `name`. `None`: it is valid.
    pub lacks: Option<String>,
    /// Global certbot settings: `stop` (cannot be overridden) or `warn`, and the line.
    pub settings: Vec<(String, String)>,
    /// Unknown files at those names.
    pub leftovers: Vec<String>,
    /// Somebody else's certificate of this name: its path and names.
    pub stranger: Option<(String, String)>,
    /// certbot's certificate of a removed name, and another file that uses it (empty: none, and it is removed, too).
    pub goes: Vec<(String, String)>,
    /// Does the running nginx answer the requested proof?
    pub proved: bool,
}

/// A certificate on the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateSeen {
    /// Unix ms; `None` if unreadable (also below).
    pub not_before: Option<Ms>,
    /// Unix ms.
    pub not_after: Option<Ms>,
    /// DNS names.
    pub names: Vec<String>,
    /// In OpenSSL's form.
    pub issuer: String,
    /// SHA-256 of the leaf's DER form, hex.
    pub sha256: String,
}

/// Parses the outcome of [`inspect`].
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

/// Capabilities of the server's nginx, as reported by [`inspect`], and by [`apply`] if nothing had to change.
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
