//! Renders a domain as an nginx file from typed values. Pure.
//!
//! There is no free text in it: every value has a grammar, and the result is parsed and compared with the intended
//! tree. The first line marks the file as ours; the rest is its body, whose hash does not depend on the generation.
//!
//! Every server block answers one path that only this text has ([`Proof`]): its path and its answer are different parts
//! of the same hash of the body, so a backend that echoes requests proves nothing.

use crate::base::error::{Error, Result};
use crate::base::host::Host;
use crate::base::nginx::{Directive, block, line, parse, print};
use crate::base::text::{self, hex};
use crate::features::proxy::upstreams::Target;
use crate::provision::site::{Http2, Nginx, Proof, WEBROOT, target_file};
use std::net::{IpAddr, SocketAddr};

/// Parameters of a vhost.
#[derive(Debug, Clone)]
pub struct Vhost<'a> {
    /// The domain in A-labels, lower case.
    pub domain: &'a str,
    /// Id of the domain.
    pub id: i64,
    /// Generation of the text.
    pub generation: i64,
    /// Targets, at least one.
    pub upstream: &'a [Target],
    /// `None`: port 80 only, also used while the first certificate is issued.
    pub tls: Option<VhostTls<'a>>,
    /// Addresses of the domain's other servers, if an ACME server may ask any of them: challenges not found here are
    /// requested there.
    pub peers: &'a [IpAddr],
    /// Capabilities of the server's nginx.
    pub nginx: Nginx,
}

/// TLS on port 443, with a redirect from port 80.
#[derive(Debug, Clone)]
pub struct VhostTls<'a> {
    /// Age of Strict-Transport-Security; 0 makes browsers forget it.
    pub hsts_max_age_s: Option<i64>,
    /// Absolute path of the chain, the leaf first.
    pub chain: &'a str,
    /// Absolute path of the key.
    pub key: &'a str,
}

/// The peers in a text that challenges are passed on to.
pub fn peers_in(text: &str) -> Vec<IpAddr> {
    let all = parse(text).unwrap_or_default();
    let passing = |d: &&Directive| d.words.len() == 2 && d.words[0] == "upstream" && d.words[1].starts_with(CHALLENGE);
    let servers = all.iter().filter(passing).flat_map(|d| d.block.iter().flatten());
    let address = |d: &Directive| d.words.get(1)?.parse::<SocketAddr>().ok();
    servers.filter_map(address).map(|at| at.ip()).collect()
}

/// Paths of chain and key in a text.
pub fn pair_in(text: &str) -> Option<(String, String)> {
    let of = |word: &str| {
        let mut lines = text.lines().map(str::trim).filter_map(|line| line.strip_prefix(word));
        Some(lines.next()?.trim().strip_suffix(';')?.to_string())
    };
    Some((of("ssl_certificate ")?, of("ssl_certificate_key ")?))
}

/// A rendered file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedVhost {
    /// The whole text, marker first.
    pub text: String,
    /// SHA-256 of the body, hex.
    pub hash: String,
    /// Proof that nginx runs this text.
    pub proof: Proof,
    /// Targets whose addresses the server resolves for nginx.
    pub followed: Vec<String>,
}

/// Content of the first line of our files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// Id of the domain.
    pub id: i64,
    /// Generation of the text.
    pub generation: i64,
    /// SHA-256 of the body as rendered, hex.
    pub hash: String,
}

/// Mozilla's intermediate list 6.0: no DHE, so no DH parameters are needed.
const CIPHERS: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:\
    ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
const CURVES: &str = "X25519:prime256v1:secp384r1";
/// An older OpenSSL that does not know a name in this list keeps nginx from starting.
const CURVES_MLKEM: &str = "X25519MLKEM768:X25519:prime256v1:secp384r1";

/// Prefix of names for passing on challenges.
const CHALLENGE: &str = "lamplighter_challenge_";

const COMMENT: &str =
    "# Written by Lamplighter from the domain's form. A change made here is noticed and shown there.\n";
const MARKER: &str = "# lamplighter domain=";
/// Maximum HSTS age in seconds.
const HSTS_MAX: i64 = 10 * 365 * 24 * 3600;

/// Renders the file. Error `internal`: a value outside its grammar, which callers must have refused.
pub fn render(site: &Vhost) -> Result<RenderedVhost> {
    check(site)?;
    // The hash of everything but the proof determines the proof.
    let bare = sha256(&print(&tree(site, None)));
    let proof = Proof {
        path: format!("{PROOF_DIR}{}", &bare[..16]),
        body: bare[16..48].to_string(),
    };
    let meant = tree(site, Some(&proof));
    let body = format!("{COMMENT}{}", print(&meant));
    if parse(&body).as_ref() != Ok(&meant) {
        return Err(Error::internal(format!(
            "nginx would read another site than was meant: {body}"
        )));
    }
    let hash = sha256(&body);
    let text = format!(
        "{MARKER}{} generation={} sha256={hash}\n{body}",
        site.id, site.generation
    );
    let names = site.upstream.iter().filter(|target| is_followed(site, target));
    Ok(RenderedVhost {
        text,
        hash,
        proof,
        followed: names.map(spec).collect(),
    })
}

/// The marker of a file, if it is ours, edited or not.
pub fn marker(text: &str) -> Option<Marker> {
    let mut words = text.lines().next()?.strip_prefix(MARKER)?.split(' ');
    let id = words.next()?.parse().ok()?;
    let generation = words.next()?.strip_prefix("generation=")?.parse().ok()?;
    let hash = words.next()?.strip_prefix("sha256=")?;
    let fits = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()) && words.next().is_none();
    fits.then(|| Marker {
        id,
        generation,
        hash: hash.to_string(),
    })
}

/// Is it our file without later edits?
pub fn untouched(text: &str) -> bool {
    let body = text.split_once('\n').map_or("", |(_, body)| body);
    marker(text).is_some_and(|marker| marker.hash == sha256(body))
}

/// The proof of a text, for a file that is restored. `None`: not our text.
pub fn proof_in(text: &str) -> Option<Proof> {
    fn find(directives: &[Directive]) -> Option<Proof> {
        directives.iter().find_map(|directive| {
            let inside = directive.block.as_ref()?;
            let words: Vec<&str> = directive.words.iter().map(String::as_str).collect();
            match words[..] {
                ["location", "=", path] if path.starts_with(PROOF_DIR) => {
                    let answer = inside.iter().find(|d| d.words.first().is_some_and(|w| w == "return"))?;
                    let body = answer.words.get(2)?.strip_suffix('\n')?;
                    Proof::new(path, body)
                }
                _ => find(inside),
            }
        })
    }
    find(&parse(text).ok()?)
}

/// Path prefix of proofs, in the space reserved by RFC 8615.
const PROOF_DIR: &str = Proof::DIR;

fn sha256(text: &str) -> String {
    hex(&text::sha256(text.as_bytes()))
}

/// Checks the grammars again: accepted values cannot be misread by nginx.
fn check(site: &Vhost) -> Result<()> {
    let path =
        |path: &str| path.starts_with('/') && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b));
    let name = |host: &str| Host::parse(host).is_ok_and(|parsed| parsed.as_str() == host);
    let right = name(site.domain)
        && Host::parse(site.domain).is_ok_and(|host| host.ip().is_none())
        && site.domain.contains('.')
        && site.id > 0
        && site.generation >= 0
        && site.peers.len() <= PEERS_MAX
        && !site.upstream.is_empty()
        && site.upstream.len() <= TARGETS_MAX
        && site
            .upstream
            .iter()
            .all(|t| name(&t.host) && t.port > 0 && t.weight != Some(0))
        && site.tls.as_ref().is_none_or(|tls| {
            path(tls.chain) && path(tls.key) && tls.hsts_max_age_s.is_none_or(|age| (0..=HSTS_MAX).contains(&age))
        });
    match right {
        true => Ok(()),
        false => Err(Error::internal(format!("a value outside its grammar: {site:?}"))),
    }
}

/// Maximum peers: more would take longer than an ACME server waits.
pub const PEERS_MAX: usize = 32;

/// Maximum targets of one upstream.
pub const TARGETS_MAX: usize = 64;

fn tree(site: &Vhost, proof: Option<&Proof>) -> Vec<Directive> {
    let mut out = Vec::new();
    let place = match site.upstream {
        [only] if is_asked_for(site, only) => PassTo::Asked(address(only)),
        [only] if only.weight.is_none() && !is_followed(site, only) => PassTo::Known(address(only)),
        several => {
            let name = format!("lamplighter_{}", site.domain);
            let is_asked = |target: &Target| is_asked_for(site, target) && !is_followed(site, target);
            let mut lines = Vec::new();
            if several.iter().any(is_asked) {
                lines.extend([line(["zone", &name, "256k"]), line(["include", RESOLVER])]);
            }
            lines.extend(several.iter().map(|target| {
                if is_followed(site, target) {
                    return line(["include", &target_file(&spec(target))]);
                }
                let resolve = is_asked(target).then(|| "resolve".to_string());
                let weight = target.weight.map(|weight| format!("weight={weight}"));
                line(
                    ["server".to_string(), address(target)]
                        .into_iter()
                        .chain(resolve)
                        .chain(weight),
                )
            }));
            out.push(block(["upstream", &name], lines));
            PassTo::Known(name)
        }
    };
    let pass = pass(&place, site.tls.as_ref());
    let mut plain = listen(site, "80", &[]);
    plain.extend(common(site, proof));
    let mut challenge = open();
    challenge.extend([line(["root", WEBROOT]), line(["default_type", "text/plain"])]);
    if !site.peers.is_empty() {
        challenge.push(line(["try_files", "$uri", "@lamplighter_challenge"]));
        let name = format!("{CHALLENGE}{}", site.domain);
        plain.push(block(["location", "@lamplighter_challenge"], elsewhere(site, &name)));
        let servers = site
            .peers
            .iter()
            .map(|ip| line(["server", &SocketAddr::new(*ip, 80).to_string()]));
        out.push(block(["upstream", &name], servers.collect()));
    }
    plain.push(block(["location", "^~", "/.well-known/acme-challenge/"], challenge));
    let Some(tls) = &site.tls else {
        plain.push(pass);
        out.push(block(["server"], plain));
        return out;
    };
    // The name and not $host: requests for other names must not be redirected to themselves.
    let there = format!("https://{}$request_uri", site.domain);
    plain.push(block(["location", "/"], vec![line(["return", "301", &there])]));
    out.push(block(["server"], plain));

    let mut secure = match site.nginx.http2 {
        Http2::Listen => listen(site, "443", &["ssl", "http2"]),
        Http2::Off => listen(site, "443", &["ssl"]),
        Http2::Directive => {
            let mut lines = listen(site, "443", &["ssl"]);
            lines.push(line(["http2", "on"]));
            lines
        }
    };
    let mut head = common(site, proof);
    let proof = head.split_off(2);
    secure.extend(head);
    secure.extend([
        line(["ssl_certificate", tls.chain]),
        line(["ssl_certificate_key", tls.key]),
        line(["ssl_protocols", "TLSv1.2", "TLSv1.3"]),
        line(["ssl_ciphers", CIPHERS]),
        line(["ssl_prefer_server_ciphers", "off"]),
        line(["ssl_ecdh_curve", if site.nginx.mlkem { CURVES_MLKEM } else { CURVES }]),
        line(["ssl_session_timeout", "1d"]),
        line(["ssl_session_cache", "shared:lamplighter:10m"]),
    ]);
    if site.nginx.tickets_off {
        // Before 1.23.2 nginx never changed its ticket key.
        secure.push(line(["ssl_session_tickets", "off"]));
    }
    if let Some(age) = tls.hsts_max_age_s {
        // On server level: no location adds headers, which would replace this one.
        let value = format!("max-age={age}");
        secure.push(line(["add_header", "Strict-Transport-Security", &value, "always"]));
    }
    secure.extend(proof);
    secure.push(pass);
    out.push(block(["server"], secure));
    out
}

/// Requests a challenge from the other servers, without recursion.
fn elsewhere(site: &Vhost, name: &str) -> Vec<Directive> {
    let mut lines = open();
    lines.extend([
        block(["if", "($http_lamplighter_challenge)"], vec![line(["return", "404"])]),
        line(["proxy_pass", &format!("http://{name}")]),
        line(["proxy_set_header", "Host", site.domain]),
        line(["proxy_set_header", "Lamplighter-Challenge", "passed"]),
        line(["proxy_next_upstream", "error", "timeout", "http_404"]),
        // An ACME server does not wait longer than ten seconds.
        line(["proxy_connect_timeout", "2s"]),
        line(["proxy_read_timeout", "2s"]),
    ]);
    lines
}

/// Global basic auth or address lists must not apply to the ACME server.
fn open() -> Vec<Directive> {
    vec![line(["auth_basic", "off"]), line(["allow", "all"])]
}

/// The server's own resolvers for nginx; written by `nginx.sh`.
const RESOLVER: &str = "/etc/nginx/lamplighter/resolver.conf";

/// Destination of requests.
enum PassTo {
    /// An address, or an upstream of addresses: known when nginx starts.
    Known(String),
    /// A name with its port, resolved at request time: its address may change, and a missing name affects no other
    /// site.
    Asked(String),
}

fn is_asked_for(site: &Vhost, target: &Target) -> bool {
    Host::parse(&target.host).is_ok_and(|host| host.ip().is_none()) && !site.nginx.own_names.contains(&target.host)
}

/// nginx would resolve this name once at start, and not start if it is missing: the server resolves it instead.
fn is_followed(site: &Vhost, target: &Target) -> bool {
    let is_name = Host::parse(&target.host).is_ok_and(|host| host.ip().is_none());
    is_name && (!is_asked_for(site, target) || (site.upstream.len() > 1 && !site.nginx.resolve))
}

fn spec(target: &Target) -> String {
    let weight = target.weight.map_or(String::new(), |weight| format!(":{weight}"));
    format!("{}:{}{weight}", target.host, target.port)
}

fn address(target: &Target) -> String {
    match target.host.contains(':') {
        true => format!("[{}]:{}", target.host, target.port),
        false => format!("{}:{}", target.host, target.port),
    }
}

fn listen(site: &Vhost, port: &str, more: &[&str]) -> Vec<Directive> {
    let on = |place: String| line(["listen", &place].into_iter().chain(more.iter().copied()));
    let mut lines = vec![on(port.to_string())];
    lines.extend(site.nginx.ipv6.then(|| on(format!("[::]:{port}"))));
    lines
}

/// Common directives of a server block: two lines of listen and server_name first; then the proof.
fn common(site: &Vhost, proof: Option<&Proof>) -> Vec<Directive> {
    let mut lines = vec![line(["server_name", site.domain]), line(["server_tokens", "off"])];
    lines.extend(proof.map(|proof| {
        block(
            ["location", "=", &proof.path],
            vec![
                line(["access_log", "off"]),
                line(["default_type", "text/plain"]),
                line(["return", "200", &format!("{}\n", proof.body)]),
            ],
        )
    }));
    lines
}

/// Passes requests to the targets. Connections to them are not reused: the map for `Connection` closes them unless they
/// are upgraded.
fn pass(place: &PassTo, tls: Option<&VhostTls>) -> Directive {
    let mut lines = match place {
        PassTo::Known(place) => vec![line(["proxy_pass", &format!("http://{place}")])],
        PassTo::Asked(name) => vec![
            line(["include", RESOLVER]),
            // A variable makes nginx resolve at request time; it also disables the default rewriting of Location.
            line(["set", "$lamplighter_target", name]),
            line(["proxy_pass", "http://$lamplighter_target"]),
            line(["proxy_redirect", &format!("http://{name}/"), "/"]),
        ],
    };
    lines.push(line(["proxy_http_version", "1.1"]));
    lines.extend(
        [
            ("Host", "$host"),
            ("X-Real-IP", "$remote_addr"),
            ("X-Forwarded-For", "$proxy_add_x_forwarded_for"),
            ("X-Forwarded-Proto", "$scheme"),
            ("X-Forwarded-Host", "$host"),
            ("X-Forwarded-Port", "$server_port"),
            ("Upgrade", "$http_upgrade"),
            ("Connection", "$lamplighter_connection"),
        ]
        .map(|(name, value)| line(["proxy_set_header", name, value])),
    );
    if tls.is_some_and(|tls| tls.hsts_max_age_s.is_some()) {
        // Browsers use the first of two such headers (RFC 6797 §8.1): ours.
        lines.push(line(["proxy_hide_header", "Strict-Transport-Security"]));
    }
    lines.extend([
        // A missing target fails fast; slow pages, uploads and idle WebSockets have time.
        line(["proxy_connect_timeout", "10s"]),
        line(["proxy_send_timeout", "60s"]),
        line(["proxy_read_timeout", "300s"]),
        line(["client_max_body_size", "50m"]),
    ]);
    block(["location", "/"], lines)
}
