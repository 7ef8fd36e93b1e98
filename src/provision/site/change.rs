//! Changes of a site: put, remove, renew its certificate, follow the addresses of its targets; each verified by its
//! proof or rolled back.

use super::super::progress::TEXTS_SIZE_MAX;
use super::super::recipes::{Recipe, script};
use super::{MINUTE, Proof, RENEW_TWELFTHS, acme_directory, name, names, sha256};
use crate::base::error::{Error, Kind, Result};
use crate::base::secret::Secret;
use crate::base::{shell, text};

/// A site to be put on a server.
pub struct Apply<'a> {
    /// The domain; names its file.
    pub name: &'a str,
    /// The whole file.
    pub text: &'a str,
    /// Proof of the text.
    pub proof: &'a Proof,
    /// Host names (not addresses) of the targets: one that does not resolve would keep all of nginx from reloading.
    pub target_names: &'a [&'a str],
    /// Targets whose addresses the server resolves for nginx: the text includes their files, [`target_file`].
    pub followed: &'a [String],
    /// Its certificate; the text must name the paths of [`acme_paths`] or [`uploaded_paths`].
    pub certificate: Certificate<'a>,
    /// SHA-256 of the file at the time of the plan, hex; `None`: there was none. If the file differs now and is not the
    /// wanted one either, the job fails with `site_changed` and changes nothing.
    pub expect: Option<&'a str>,
    /// Old name of a renamed domain: its site is removed in the same swap.
    pub old_name: Option<&'a str>,
    /// As `expect`, for the file of that name.
    pub old_expect: Option<&'a str>,
    /// May it become the default site of a port where somebody else's file is now?
    pub shadow: bool,
}

/// Certificate of a site ([`Apply::certificate`]).
pub enum Certificate<'a> {
    /// None: port 80 only.
    None,
    /// By certbot, over a file in [`WEBROOT`].
    Acme {
        /// Account e-mail; may be empty.
        email: &'a str,
        /// URL of the ACME server's directory.
        directory: &'a str,
        /// certbot's name of the certificate.
        lineage: &'a str,
        /// Text for port 80 only, used while the first certificate is issued, and its proof.
        first: (&'a str, &'a Proof),
    },
    /// Uploaded. Chain and key as PEM, checked before.
    Files {
        /// The leaf first.
        chain: &'a str,
        /// Not encrypted.
        key: &'a Secret,
    },
}

/// Puts a site in place and verifies it by its proof, or rolls everything back. A second run changes nothing.
///
/// Facts: `proved`: the address that was asked · `healed` (`yes`): an earlier job had died here; what it left was put back
/// first. When something changed also `tested` (`namespace` or `copy`): how nginx was shown the new file before it went
/// live · `answer`: status of `GET /` through the proxy, `502` included; `none` when nothing came within 15 s · with TLS
/// `tls_sha256` (of the served leaf, hex), `tls_not_after` (unix s), `tls_issuer` and `tls_chain` (`system`: the server's own
/// list of authorities vouches for it; `own`: only the certificate's own chain does).
pub fn apply(desired: &Apply) -> Result<Recipe> {
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
    match &desired.certificate {
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
    let installs = match kind {
        "acme" => vec!["openssl", "certbot"],
        "files" => vec!["openssl"],
        _ => {
            plan.push("site_targets");
            Vec::new()
        }
    };
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
        ("NAME", name(desired.name)?),
        ("OLD_NAME", desired.old_name.map(name).transpose()?.unwrap_or_default()),
        ("TEXT", &text::base64(bounded(desired.text)?)),
        ("PROOF", &desired.proof.path),
        ("PROOF_BODY", &desired.proof.body),
        ("FIRST", &text::base64(bounded(first_text)?)),
        ("FIRST_PROOF", first_proof.map_or("", |proof| &proof.path)),
        ("FIRST_BODY", first_proof.map_or("", |proof| &proof.body)),
        ("EXPECT", desired.expect.map(sha256).transpose()?.unwrap_or_default()),
        (
            "OLD_EXPECT",
            desired.old_expect.map(sha256).transpose()?.unwrap_or_default(),
        ),
        ("TARGETS", &names(desired.target_names)?),
        ("NAMED", &followed(desired.followed)?),
        ("SHADOW", if desired.shadow { "yes" } else { "" }),
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
        // Time for packages, as in deploy-proxy, and a slow ACME server.
        deadline: 25 * MINUTE,
        plan,
        installs,
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

/// Removes a site: link, file, its uploaded certificate and the certificate that certbot keeps for it alone, unless it
/// is used elsewhere. `expect` as in [`Apply::expect`]; a missing site is no error. Fact `healed` as with [`apply`].
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
        installs: Vec::new(),
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
        installs: Vec::new(),
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

/// Updates what depends on the server's network: nginx's resolvers, and the addresses of targets that nginx cannot
/// resolve itself.
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
        installs: Vec::new(),
        values: Secret::default(),
        text: script!("prelude.sh", "nginx.sh", "site.sh", "stage.sh", "site_follow.sh"),
    }
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

fn bounded(text: &str) -> Result<&[u8]> {
    match text.len() <= TEXTS_SIZE_MAX / 2 && !text.contains('\0') {
        true => Ok(text.as_bytes()),
        false => Err(Error::internal(format!("a site of {} bytes", text.len()))),
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
