//! nginx sites on a server: inspect, put, remove, compare. One job each.
//!
//! A change is tested as a whole before it goes live, in a copy that nginx takes for `/etc/nginx`; an untested file is
//! never where a reload or reboot would read it. Before the first change the rollback is stored on the server, and a
//! process there waits for the job's lock: if the job dies, the kernel frees the lock and everything is rolled back at
//! once. After a reboot it is rolled back before nginx starts. Only the proof, a request through the proxy that only
//! the new text answers, removes the rollback.
//!
//! Names are A-labels, lower case. Texts are rendered elsewhere; only their proof is used here.

use crate::base::clock::Duration;
use crate::base::error::{Error, Kind, Result};
use crate::base::host::Host;
use crate::base::text;
use serde::{Deserialize, Serialize};

mod inspect;
mod change;
mod sums;

pub use change::{Apply, Certificate, apply, follow, remove, renew};
pub use inspect::{CertificateCheck, CertificateSeen, Off, Seen, SiteSeen, Wanted, inspect, nginx, seen};
pub use sums::{Inside, Sum, Summed, summed, sums};

/// Folder of ACME challenges.
pub const WEBROOT: &str = "/var/www/lamplighter";

const MINUTE: Duration = Duration::from_secs(60);
/// Maximum sites per job, so that their texts fit into one job's limit.
pub const SITES_MAX: usize = 256;

/// Renewal when this many twelfths of a certificate's life are left: a third and a twelfth, so that alerts in the last
/// third (checked twelve times in a life) concern only failed renewals.
pub const RENEW_TWELFTHS: i64 = 5;

const LIVE: &str = "/etc/letsencrypt/live/";

/// certbot's name of a domain's certificate, distinct from names that others use.
pub fn lineage(name: &str) -> String {
    format!("lamplighter-{name}")
}

/// The lineage of certbot that a site's text names.
pub fn lineage_in(text: &str) -> Option<&str> {
    let (name, _) = text.split_once(LIVE)?.1.split_once('/')?;
    self::name(name).ok()
}

/// Paths of chain and key of a certbot lineage.
pub fn acme_paths(lineage: &str) -> (String, String) {
    let dir = format!("{LIVE}{lineage}");
    (format!("{dir}/fullchain.pem"), format!("{dir}/privkey.pem"))
}

/// File with the addresses of a target, `HOST:PORT` or `HOST:PORT:WEIGHT`, that the server resolves for nginx.
pub fn target_file(spec: &str) -> String {
    format!("{TARGETS}{spec}.conf")
}

const TARGETS: &str = "/etc/nginx/lamplighter/targets/";

/// Does the text have the addresses of this name resolved by the server?
pub fn follows(text: &str, host: &str) -> bool {
    text.contains(&format!("{TARGETS}{host}:"))
}

/// Paths of chain and key that a person uploaded for a domain.
pub fn uploaded_paths(name: &str) -> (String, String) {
    let dir = format!("/etc/lamplighter/certs/{name}");
    (format!("{dir}/fullchain.pem"), format!("{dir}/privkey.pem"))
}

// --- what is shared with the renderer -------------------------------------------------------------------------------

/// Capabilities of an nginx.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nginx {
    /// How HTTP/2 is enabled.
    pub http2: Http2,
    /// Before 1.23.2: its session tickets must be off.
    pub tickets_off: bool,
    /// Its OpenSSL knows X25519MLKEM768 (3.5).
    pub mlkem: bool,
    /// Does the server have IPv6?
    pub ipv6: bool,
    /// From 1.27.3: names of upstream servers can be resolved again.
    #[serde(default)]
    pub resolve: bool,
    /// Target names that nginx cannot resolve by DNS: they stand in /etc/hosts of the server.
    #[serde(default)]
    pub own_names: Vec<String>,
}

/// Form of HTTP/2 ([`Nginx::http2`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Http2 {
    /// `listen 443 ssl http2;` below 1.25.1.
    Listen,
    /// `http2 on;` from there on.
    Directive,
    /// Off: the parameter would affect the other sites on the port.
    Off,
}

impl Nginx {
    /// That of Debian 12, for a server not inspected yet.
    pub const DEBIAN_12: Nginx = Nginx {
        http2: Http2::Listen,
        tickets_off: true,
        mlkem: false,
        ipv6: true,
        resolve: false,
        own_names: Vec::new(),
    };

    /// By the versions of nginx and its OpenSSL, `1.22.1` and `3.0.17`; `None` if the first is no version.
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

/// A path that only one text answers, and its answer (without line end).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// [`Proof::DIR`] and 16 hex digits.
    pub path: String,
    /// 32 hex digits, not derivable from the path.
    pub body: String,
}

impl Proof {
    /// Path prefix of proofs.
    pub const DIR: &str = "/.well-known/lamplighter/";

    /// `None` if malformed.
    pub fn new(path: &str, body: &str) -> Option<Proof> {
        let hex = |text: &str, len| text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let fits = hex(path.strip_prefix(Proof::DIR)?, 16) && hex(body, 32);
        fits.then(|| Proof {
            path: path.to_string(),
            body: body.to_string(),
        })
    }
}

// --- what a server tells of a file ----------------------------------------------------------------------------------

/// A file of a site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileSeen {
    /// SHA-256, hex; `None` if the file does not exist.
    pub sha256: Option<String>,
    /// Does nginx read it?
    pub enabled: Enabled,
}

/// State in sites-enabled ([`FileSeen::enabled`]).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Enabled {
    /// No entry.
    #[default]
    No,
    /// A link to the file.
    Yes,
    /// Another file, or a link to this path.
    Foreign(String),
}

/// Longest reported value in bytes.
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

// --- grammars -------------------------------------------------------------------------------------------------------
// Callers have parsed these values before; an error here is a bug.

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

fn sha256(text: &str) -> Result<&str> {
    hash(text)
        .map(|_| text)
        .ok_or_else(|| Error::internal(format!("not a SHA-256: {text:?}")))
}

fn list(lines: Vec<String>) -> Result<String> {
    match lines.len() <= SITES_MAX {
        true => Ok(lines.join(",")),
        false => Err(Error::internal(format!("{} sites in one job", lines.len()))),
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
