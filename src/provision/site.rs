//! The sites of nginx on a server: looked at, put there, taken away, watched. One job each.
//!
//! What goes live was tested as a whole before, in a copy that nginx takes for `/etc/nginx`; at no moment does an untested
//! file stand where a reload or a reboot by somebody else would find it. Before the first change the rollback is written
//! down on the server itself, and a process there waits for the job's lock: when the job dies, however, the kernel frees the
//! lock and everything is put back at once. A reboot puts it back before nginx starts. Only the proof, a request through the
//! proxy that nothing but the new text answers, takes the rollback away.
//!
//! Names here are A-labels, lower case. The texts come from whoever renders them; this looks at their proof only.

use super::recipes::{Recipe, script};
use super::{Outcome, Progress, progress::TEXTS_SIZE_MAX};
use crate::base::clock::{Duration, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::base::host::Host;
use crate::base::secret::Secret;
use crate::base::{shell, text};
use serde::{Deserialize, Serialize};

/// What the ACME server asks for is put below this folder.
pub const WEBROOT: &str = "/var/www/lamplighter";

const MINUTE: Duration = Duration::from_secs(60);
/// Sites in one look or one sum: a few lines each, so that their texts fit into one job's.
pub const SITES_MAX: usize = 256;

/// Twelfths of a certificate's life that are left when it is renewed: a third, and a twelfth before that, so that whoever
/// alarms in the last third (and looks twelve times in a life) hears only of those that were not renewed.
pub const RENEW_TWELFTHS: i64 = 5;

const LIVE: &str = "/etc/letsencrypt/live/";

/// What certbot calls a domain's certificate: a name that nobody else gives to his.
pub fn lineage(name: &str) -> String {
    format!("lamplighter-{name}")
}

/// The lineage of certbot that a site's text names.
pub fn lineage_in(text: &str) -> Option<&str> {
    let (name, _) = text.split_once(LIVE)?.1.split_once('/')?;
    self::name(name).ok()
}

/// Path of chain and key that certbot keeps for a lineage.
pub fn acme_paths(lineage: &str) -> (String, String) {
    let dir = format!("{LIVE}{lineage}");
    (format!("{dir}/fullchain.pem"), format!("{dir}/privkey.pem"))
}

/// The file with the addresses of a target, `HOST:PORT` or `HOST:PORT:WEIGHT`, that the server looks up for nginx.
pub fn target_file(spec: &str) -> String {
    format!("{TARGETS}{spec}.conf")
}

const TARGETS: &str = "/etc/nginx/lamplighter/targets/";

/// A text has the addresses of this name looked up by the server.
pub fn follows(text: &str, host: &str) -> bool {
    text.contains(&format!("{TARGETS}{host}:"))
}

/// Path of chain and key that a person uploaded for a domain.
pub fn uploaded_paths(name: &str) -> (String, String) {
    let dir = format!("/etc/lamplighter/certs/{name}");
    (format!("{dir}/fullchain.pem"), format!("{dir}/privkey.pem"))
}

// --- what is shared with the renderer -------------------------------------------------------------------------------

/// What this nginx understands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nginx {
    /// How HTTP/2 is switched on.
    pub http2: Http2,
    /// Below 1.23.2: its session tickets must be switched off.
    pub tickets_off: bool,
    /// Its OpenSSL knows X25519MLKEM768 (3.5).
    pub mlkem: bool,
    /// The server speaks IPv6.
    pub ipv6: bool,
    /// From 1.27.3 on: the names of an upstream's servers can be resolved anew.
    #[serde(default)]
    pub resolve: bool,
    /// Names of targets that nginx cannot ask name servers for: they stand in files of this server.
    #[serde(default)]
    pub own_names: Vec<String>,
}

/// See [`Nginx::http2`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Http2 {
    /// `listen 443 ssl http2;` below 1.25.1.
    Listen,
    /// `http2 on;` from there on.
    Directive,
    /// Not at all: with the parameter the others on the port would speak it, too.
    Off,
}

impl Nginx {
    /// That of Debian 12, to have something to show of a server nobody has looked at.
    pub const DEBIAN_12: Nginx = Nginx {
        http2: Http2::Listen,
        tickets_off: true,
        mlkem: false,
        ipv6: true,
        resolve: false,
        own_names: Vec::new(),
    };

    /// By the versions of nginx and its OpenSSL, `1.22.1` and `3.0.17`; None when the first is no version.
    pub fn of(nginx: &str, openssl: &str, ipv6: bool) -> Option<Nginx> {
        let nginx = version(nginx)?;
        Some(Nginx {
            http2: match nginx < [1, 25, 1] {
                true => Http2::Listen,
                false => Http2::Directive,
            },
            tickets_off: nginx < [1, 23, 2],
            mlkem: version(openssl).is_some_and(|openssl| openssl >= [3, 5, 0]),
            ipv6,
            resolve: nginx >= [1, 27, 3],
            own_names: Vec::new(),
        })
    }
}

fn version(text: &str) -> Option<[u32; 3]> {
    let mut numbers = text.split('.').map(|part| {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        part[..digits].parse().ok()
    });
    Some([
        numbers.next()??,
        numbers.next()??,
        numbers.next().flatten().unwrap_or(0),
    ])
}

/// A path that only one text answers, and what it answers (without the line end).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// [`Proof::DIR`] and 16 hex digits.
    pub path: String,
    /// 32 hex digits, not to be had from the path.
    pub body: String,
}

impl Proof {
    /// Where proofs live.
    pub const DIR: &str = "/.well-known/lamplighter/";

    /// None when it is none.
    pub fn new(path: &str, body: &str) -> Option<Proof> {
        let hex = |text: &str, len| text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let fits = hex(path.strip_prefix(Proof::DIR)?, 16) && hex(body, 32);
        fits.then(|| Proof {
            path: path.to_string(),
            body: body.to_string(),
        })
    }
}

// --- looking --------------------------------------------------------------------------------------------------------

/// A site to look at.
#[derive(Debug, Clone, Default)]
pub struct Wanted<'a> {
    /// The domain.
    pub name: &'a str,
    /// What its file was named after so far.
    pub old_name: Option<&'a str>,
    /// The certificate it uses or would use.
    pub certificate: Look<'a>,
    /// Of the text that should be running.
    pub proof: Option<&'a Proof>,
    /// A name whose site is to go: what certbot keeps for it is looked for.
    pub goes: Option<&'a str>,
    /// The site is to be taken off this server.
    pub leaves: bool,
}

/// See [`Wanted::certificate`].
#[derive(Debug, Clone, Copy, Default)]
pub enum Look<'a> {
    /// It uses none.
    #[default]
    None,
    /// The chain at this path.
    Chain(&'a str),
    /// What certbot keeps, or would, from the ACME server with this directory.
    Acme(&'a str),
}

/// What is there, and which of these names of targets the server knows by itself. Changes nothing; read the outcome with [`seen`].
pub fn look(sites: &[Wanted], target_names: &[&str]) -> Result<Recipe> {
    let mut lines = Vec::new();
    for site in sites {
        lines.push(format!(
            "{} {} {} {} {} {} {}",
            name(site.name)?,
            site.old_name.map(name).transpose()?.unwrap_or("-"),
            match site.certificate {
                Look::None => "-",
                Look::Chain(chain) => path(chain)?,
                Look::Acme(directory) => acme_directory(directory)?,
            },
            site.proof.map_or("-", |proof| &proof.path),
            site.proof.map_or("-", |proof| &proof.body),
            site.goes.map(name).transpose()?.unwrap_or("-"),
            if site.leaves { "yes" } else { "no" },
        ));
    }
    Ok(Recipe {
        name: "site-look",
        root: true,
        // nginx -t asks the name server for every target there is.
        deadline: 2 * MINUTE,
        plan: vec!["site_nginx", "site_files"],
        values: Secret::new(shell::assignments(&[
            ("SITES", &list(lines)?),
            ("TARGETS", &names(target_names)?),
        ])?),
        text: script!("prelude.sh", "nginx.sh", "site.sh", "stage.sh", "site_look.sh"),
    })
}

/// A server's nginx as [`look`] saw it.
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

/// One site as [`look`] saw it. Everything in it is what the server says.
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

/// A file of a site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileSeen {
    /// Of its bytes, hex; None when there is no such file.
    pub sha256: Option<String>,
    /// Whether nginx reads it.
    pub enabled: Enabled,
}

/// See [`FileSeen::enabled`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Enabled {
    /// Nothing of this name in sites-enabled.
    #[default]
    No,
    /// A link to the file.
    Yes,
    /// Something else stands there: a file, or a link to this path.
    Foreign(String),
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

/// What a [`look`] at these sites has found.
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

/// What the nginx of a server understands, as [`look`] tells it, and [`apply`] when nothing was to be changed.
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

/// One line of a site, as it is shown.
const VALUE_SIZE_MAX: usize = 400;

fn hash(value: &str) -> Option<String> {
    (value.len() == 64 && value.bytes().all(|b| b.is_ascii_hexdigit())).then(|| value.to_string())
}

fn enabled(value: &str) -> Enabled {
    match value {
        "yes" => Enabled::Yes,
        "no" => Enabled::No,
        other => Enabled::Foreign(other.to_string()),
    }
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

// --- putting there --------------------------------------------------------------------------------------------------

/// A site to be put on a server.
pub struct Apply<'a> {
    /// The domain; names its file.
    pub name: &'a str,
    /// The whole file.
    pub text: &'a str,
    /// What only this text answers.
    pub proof: &'a Proof,
    /// Host names (not addresses) of the targets: one that does not resolve would keep all of nginx from reloading.
    pub target_names: &'a [&'a str],
    /// Targets whose addresses the server is to look up for nginx: the text includes their files, see [`target_file`].
    pub followed: &'a [String],
    /// Where its certificate comes from; the text must name the paths of [`acme_paths`] or [`uploaded_paths`].
    pub certificate: Certificate<'a>,
    /// SHA-256 of the file that the plan saw, hex; None: it saw none. When another text is there now, and not the wanted
    /// one either, the job fails with `site_changed` and touches nothing.
    pub expect: Option<&'a str>,
    /// A domain was renamed: the site of this name goes in the same swap.
    pub old_name: Option<&'a str>,
    /// As `expect`, for the file of that name.
    pub old_expect: Option<&'a str>,
    /// It may become the one that answers for names that nobody serves, where a file of somebody else does now.
    pub shadow: bool,
}

/// See [`Apply::certificate`].
pub enum Certificate<'a> {
    /// The site is on port 80 alone.
    None,
    /// By certbot, over a file in [`WEBROOT`].
    Acme {
        /// For the account; may be empty.
        email: &'a str,
        /// URL of the ACME server's directory.
        directory: &'a str,
        /// certbot's name for it.
        lineage: &'a str,
        /// The text on port 80 alone that is put there while the first certificate is being issued, and its proof.
        first: (&'a str, &'a Proof),
    },
    /// A person's own. Chain and key as PEM; that they fit was looked at before.
    Files {
        /// The leaf first.
        chain: &'a str,
        /// Not encrypted.
        key: &'a Secret,
    },
}

/// Puts a site there and proves it, or puts everything back as it was. A second run changes nothing.
///
/// Facts: `proved`: the address that was asked · `healed` (`yes`): an earlier job had died here; what it left was put back
/// first. When something changed also `tested` (`namespace` or `copy`): how nginx was shown the new file before it went
/// live · `answer`: status of `GET /` through the proxy, `502` included; `none` when nothing came within 15 s · with TLS
/// `tls_sha256` (of the served leaf, hex), `tls_not_after` (unix s), `tls_issuer` and `tls_chain` (`system`: the server's own
/// list of authorities vouches for it; `own`: only the certificate's own chain does).
pub fn apply(wish: &Apply) -> Result<Recipe> {
    let mut plan = vec![
        "system",
        "site_healed",
        "site_ready",
        "nginx_before",
        "nginx_mended",
        "site_expected",
        "site_ports",
    ];
    let (mut kind, mut email, mut directory, mut lineage, mut first) = ("none", "", "", "", None);
    let mut secret = String::new();
    match &wish.certificate {
        Certificate::None => {}
        Certificate::Acme {
            email: to,
            directory: url,
            lineage: kept,
            first: text,
        } => {
            (kind, email, directory, first) = ("acme", acme_email(to)?, acme_directory(url)?, Some(text));
            lineage = name(kept)?;
            plan.extend(["site_tools", "site_targets", "site_first", "site_certificate"]);
        }
        Certificate::Files { chain, key } => {
            kind = "files";
            secret = shell::assignments(&[
                ("CHAIN", &text::base64(chain.as_bytes())),
                ("KEY", &text::base64(key.reveal_for("the key file on the server"))),
            ])?;
            plan.extend(["site_tools", "site_targets", "site_certificate"]);
        }
    }
    if kind == "none" {
        plan.push("site_targets");
    }
    plan.extend([
        "site_tested",
        "site_armed",
        "site_live",
        "site_proved",
        "site_neighbours",
        "site_kept",
    ]);
    let (first_text, first_proof) = first.map_or(("", None), |(text, proof)| (*text, Some(*proof)));
    let mut values = shell::assignments(&[
        ("NAME", name(wish.name)?),
        ("OLD_NAME", wish.old_name.map(name).transpose()?.unwrap_or_default()),
        ("TEXT", &text::base64(bounded(wish.text)?)),
        ("PROOF", &wish.proof.path),
        ("PROOF_BODY", &wish.proof.body),
        ("FIRST", &text::base64(bounded(first_text)?)),
        ("FIRST_PROOF", first_proof.map_or("", |proof| &proof.path)),
        ("FIRST_BODY", first_proof.map_or("", |proof| &proof.body)),
        ("EXPECT", wish.expect.map(sha256).transpose()?.unwrap_or_default()),
        (
            "OLD_EXPECT",
            wish.old_expect.map(sha256).transpose()?.unwrap_or_default(),
        ),
        ("TARGETS", &names(wish.target_names)?),
        ("NAMED", &followed(wish.followed)?),
        ("SHADOW", if wish.shadow { "yes" } else { "" }),
        ("CERT", kind),
        ("TWELFTHS", &RENEW_TWELFTHS.to_string()),
        ("EMAIL", email),
        ("DIRECTORY", directory),
        ("LINEAGE", lineage),
    ])?;
    values.push_str(&secret);
    Ok(Recipe {
        name: "site",
        root: true,
        // Packages, as for deploy-proxy, and an ACME server that takes its time.
        deadline: 25 * MINUTE,
        plan,
        values: Secret::new(values),
        text: script!(
            "prelude.sh",
            "nginx.sh",
            "site.sh",
            "stage.sh",
            "site_certbot.sh",
            "site_swap.sh",
            "site_around.sh",
            "site_apply.sh"
        ),
    })
}

/// Takes a site away: link, file, its uploaded certificate and the certificate that certbot keeps for it alone, unless somebody else uses that.
/// `expect` as in [`Apply::expect`]; a site that is not there is fine. Fact `healed` as with [`apply`].
pub fn remove(domain: &str, expect: Option<&str>) -> Result<Recipe> {
    Ok(Recipe {
        name: "site-remove",
        root: true,
        deadline: 5 * MINUTE,
        plan: vec![
            "system",
            "site_healed",
            "nginx_before",
            "nginx_mended",
            "site_expected",
            "site_tested",
            "site_armed",
            "site_gone",
            "site_kept",
            "site_certificate_gone",
        ],
        values: Secret::new(shell::assignments(&[
            ("NAME", name(domain)?),
            ("EXPECT", expect.map(sha256).transpose()?.unwrap_or_default()),
        ])?),
        text: script!(
            "prelude.sh",
            "nginx.sh",
            "site.sh",
            "stage.sh",
            "site_swap.sh",
            "site_remove.sh"
        ),
    })
}

/// Has certbot renew a domain's certificate, which it calls `lineage`, when it is due (see [`RENEW_TWELFTHS`]), or now (`force`). Facts: `tls_…` as with [`apply`], of what is
/// served afterwards.
pub fn renew(domain: &str, lineage: &str, force: bool) -> Result<Recipe> {
    Ok(Recipe {
        name: "site-renew",
        root: true,
        deadline: 15 * MINUTE,
        plan: vec![
            "system",
            "site_lineage",
            "nginx_before",
            "nginx_mended",
            "site_renewed",
            "site_proved",
        ],
        values: Secret::new(shell::assignments(&[
            ("NAME", name(domain)?),
            ("LINEAGE", name(lineage)?),
            ("TWELFTHS", &RENEW_TWELFTHS.to_string()),
            ("FORCE", if force { "yes" } else { "" }),
        ])?),
        text: script!(
            "prelude.sh",
            "nginx.sh",
            "site.sh",
            "stage.sh",
            "site_certbot.sh",
            "site_renew.sh"
        ),
    })
}

// --- watching -------------------------------------------------------------------------------------------------------

/// A file to be compared.
#[derive(Debug, Clone, Default)]
pub struct Sum<'a> {
    /// The domain.
    pub name: &'a str,
    /// SHA-256 of the text that should be there, hex. When another is there, that text is told too; None: no text is.
    pub known: Option<&'a str>,
    /// certbot's name for its certificate, when it has one.
    pub lineage: Option<&'a str>,
    /// Of the text that should be running: is it?
    pub proof: Option<&'a Proof>,
    /// Port 443 should be listened on, too.
    pub tls: bool,
}

/// What has moved on the server since its sites were put there: nginx asks the name servers of now, and the addresses of
/// targets that it cannot follow itself are those of now.
pub fn follow() -> Recipe {
    Recipe {
        name: "site-follow",
        root: true,
        deadline: 5 * MINUTE,
        plan: vec![
            "system",
            "nginx_before",
            "nginx_mended",
            "followed",
            "nginx_test",
            "nginx_running",
        ],
        values: Secret::default(),
        text: script!("prelude.sh", "nginx.sh", "site.sh", "stage.sh", "site_follow.sh"),
    }
}

/// The hash of each site's file, whether nginx reads it, and whether it answers where this connection came in. Changes nothing; read
/// the outcome with [`summed`]. Facts: `moved`: files that [`follow`] would write anew; `lost`: names of targets that do not resolve
/// any more, with blanks between.
pub fn sums(sites: &[Sum]) -> Result<Recipe> {
    let mut lines = Vec::new();
    for site in sites {
        let known = site.known.map(sha256).transpose()?;
        let lineage = site.lineage.map(name).transpose()?;
        lines.push(format!(
            "{} {} {} {} {} {}",
            name(site.name)?,
            known.unwrap_or("-"),
            lineage.unwrap_or("-"),
            site.proof.map_or("-", |proof| &proof.path),
            site.proof.map_or("-", |proof| &proof.body),
            if site.tls { "443" } else { "80" },
        ));
    }
    Ok(Recipe {
        name: "site-sums",
        root: true,
        deadline: MINUTE,
        plan: vec!["site_sums"],
        values: Secret::new(shell::assignments(&[("SITES", &list(lines)?)])?),
        text: script!("prelude.sh", "nginx.sh", "site.sh", "site_sums.sh"),
    })
}

/// A file that [`sums`] has compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summed {
    /// Its hash and whether nginx reads it.
    pub file: FileSeen,
    /// Why certbot will never renew its certificate: `lost`, `off` or `astray`.
    pub unrenewed: Option<String>,
    /// Its text, when it was asked for and differs. None with another hash: too long to be told.
    pub text: Option<String>,
    /// How it answers on the server itself, and one sentence about that.
    pub inside: Option<(Inside, String)>,
}

/// How a site answers when it is asked on its own server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inside {
    /// As it should.
    Proved,
    /// Something else answers.
    Other,
    /// Nothing listens.
    Refused,
    /// Nothing answers in time.
    Silent,
}

impl Inside {
    const ALL: [Inside; 4] = [Inside::Proved, Inside::Other, Inside::Refused, Inside::Silent];

    /// As told and stored.
    pub fn name(self) -> &'static str {
        ["proved", "other", "refused", "silent"][self as usize]
    }

    /// None: it was not asked.
    pub fn parse(name: &str) -> Option<Inside> {
        Inside::ALL.into_iter().find(|inside| inside.name() == name)
    }

    fn say(self, address: &str, nginx: &str) -> String {
        let what = match self {
            Inside::Proved => "the site answers as it should",
            Inside::Other => "something else answers for the site",
            Inside::Refused => "the connection is refused",
            Inside::Silent => "nothing answers in time",
        };
        let address = text::one_line(address, 64);
        let address = if address.is_empty() { "there" } else { &address };
        format!(
            "Asked on the server itself, at {address}: {what}; systemd says of nginx.service: {}.",
            text::one_line(nginx, 40)
        )
    }
}

/// What [`sums`] of these sites has found, in their order. Error `broken_off`: it did not speak of all of them.
pub fn summed(outcome: &Outcome, sites: &[Sum]) -> Result<Vec<Summed>> {
    let told = outcome.texts.get("sums").map_or("", String::as_str);
    let lines: Vec<&str> = told.lines().collect();
    if lines.len() != sites.len() {
        return Err(Error::new(
            Kind::Upstream,
            "broken_off",
            "The server did not tell the state of all sites. Try again.",
        )
        .log(format!("{} of {} sums", lines.len(), sites.len())));
    }
    let fact = |key: &str| outcome.facts.get(key).map_or("", String::as_str);
    let asked = outcome.texts.get("inside").map_or("", String::as_str);
    let asked: Vec<&str> = asked.lines().collect();
    let one = |(n, line): (usize, &&str)| {
        let inside = asked.get(n).and_then(|word| Inside::parse(word));
        let (sum, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (renewal, link) = rest.split_once(' ').unwrap_or(("-", "no"));
        Summed {
            unrenewed: (renewal != "-").then(|| text::one_line(renewal, VALUE_SIZE_MAX)),
            file: FileSeen {
                sha256: hash(sum),
                enabled: enabled(&text::one_line(link, VALUE_SIZE_MAX)),
            },
            text: outcome.texts.get(&format!("live_{n}")).cloned(),
            inside: inside.map(|inside| (inside, inside.say(fact("address"), fact("nginx_state")))),
        }
    };
    Ok(lines.iter().enumerate().map(one).collect())
}

// --- grammars -------------------------------------------------------------------------------------------------------
// Whoever calls this has parsed all of it before; what is wrong here is our mistake.

fn name(text: &str) -> Result<&str> {
    match Host::parse(text) {
        Ok(host) if host.as_str() == text && host.ip().is_none() => Ok(text),
        _ => Err(Error::internal(format!("not a DNS name: {text:?}"))),
    }
}

fn names(texts: &[&str]) -> Result<String> {
    let names = texts.iter().map(|text| name(text));
    Ok(names.collect::<Result<Vec<_>>>()?.join(" "))
}

fn followed(specs: &[String]) -> Result<String> {
    for spec in specs {
        let mut parts = spec.split(':');
        name(parts.next().unwrap_or_default())?;
        let numbers: Vec<Option<u32>> = parts.map(|part| part.parse().ok()).collect();
        if !matches!(numbers[..], [Some(1..=65535)] | [Some(1..=65535), Some(1..)]) {
            return Err(Error::internal(format!("not a target: {spec:?}")));
        }
    }
    Ok(specs.join(" "))
}

fn path(text: &str) -> Result<&str> {
    match text.starts_with('/') && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b)) {
        true => Ok(text),
        false => Err(Error::internal(format!("not a plain path: {text:?}"))),
    }
}

fn sha256(text: &str) -> Result<&str> {
    hash(text)
        .map(|_| text)
        .ok_or_else(|| Error::internal(format!("not a SHA-256: {text:?}")))
}

fn bounded(text: &str) -> Result<&[u8]> {
    match text.len() <= TEXTS_SIZE_MAX / 2 && !text.contains('\0') {
        true => Ok(text.as_bytes()),
        false => Err(Error::internal(format!("a site of {} bytes", text.len()))),
    }
}

fn list(lines: Vec<String>) -> Result<String> {
    match lines.len() <= SITES_MAX {
        true => Ok(lines.join(",")),
        false => Err(Error::internal(format!("{} sites in one job", lines.len()))),
    }
}

/// Never an option, one address, and nothing that a shell or certbot could read otherwise.
fn acme_email(text: &str) -> Result<&str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"@._+-".contains(&b);
    let fits = text.len() <= 254 && text.bytes().all(plain) && text.bytes().filter(|b| *b == b'@').count() == 1;
    match text.is_empty() || (fits && !text.starts_with('-')) {
        true => Ok(text),
        false => Err(Error::new(
            Kind::Malformed,
            "bad_acme_email",
            format!(
                "“{}” is not an address that an ACME server takes.",
                text::one_line(text, 100)
            ),
        )),
    }
}

fn acme_directory(text: &str) -> Result<&str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?&=%[]".contains(&b);
    match text.starts_with("https://") && text.len() <= 300 && text.bytes().all(plain) {
        true => Ok(text),
        false => Err(Error::new(
            Kind::Malformed,
            "bad_acme_directory",
            format!("“{}” is not an https address.", text::one_line(text, 100)),
        )),
    }
}
