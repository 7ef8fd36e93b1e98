//! The sites of nginx on a server: looked at, put there, taken away, watched. One job each.
//!
//! What goes live was tested as a whole before, in a copy that nginx takes for `/etc/nginx`; at no moment does an untested
//! file stand where a reload or a reboot by somebody else would find it. Before the first change the rollback is written
//! down on the server itself, and a process there waits for the job's lock: when the job dies, however, the kernel frees the
//! lock and everything is put back at once. A reboot puts it back before nginx starts. Only the proof, a request through the
//! proxy that nothing but the new text answers, takes the rollback away.
//!
//! Names here are A-labels, lower case. The texts come from whoever renders them; this looks at their proof only.

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

// --- what a server tells of a file ----------------------------------------------------------------------------------

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
