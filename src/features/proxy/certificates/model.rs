//! Checks of a certificate, its chain and its key before they are stored: otherwise a mistake would show as a web
//! server that does not start, or in browsers.

use crate::base::clock::{Ms, rfc3339};
use crate::base::error::{Error, Result};
use crate::base::pem::{self, Block};
use crate::base::secret::Secret;
use crate::base::shape::described;
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::net::tls::{self, Distrust, End, KeyForm, ServerKey};
use crate::net::x509::{self, Link};
use std::borrow::Cow;

/// Proof of validation.
#[derive(Debug)]
pub struct Valid {
    /// Display name.
    pub name: String,
    /// `None`: chain and key stay as they are.
    pub checked: Option<CheckedPair>,
}

/// A chain and its key.
#[derive(Debug)]
pub struct CheckedPair {
    /// PEM, the server's own first, each signed by the next.
    pub chain: String,
    /// One PEM block.
    pub key: Secret,
    /// Names of the certificate.
    pub names: Vec<String>,
    /// Issuer for display.
    pub issuer: String,
    /// Unix ms.
    pub not_before: Ms,
    /// Unix ms.
    pub not_after: Ms,
    /// Of its DER form, hex.
    pub sha256: String,
    /// Was the order of the certificates corrected?
    pub reordered: bool,
}

/// The stored state that a draft is read over.
pub struct Old<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its chain.
    pub chain: &'a str,
    /// Unseals its key.
    pub key: &'a dyn Fn() -> Result<Secret>,
}

/// Accepted fields of a draft.
pub const PARAMS: &[Param] = &[
    param::name("name", "What people call it.").required(),
    param::text("chain", CHAIN_MAX, "Certificates in PEM, in any order.")
        .required()
        .example("\"-----BEGIN CERTIFICATE-----\\n…\""),
    param::secret("key", KEY_MAX, "The private key in PEM.")
        .required()
        .example("\"-----BEGIN PRIVATE KEY-----\\n…\""),
];

/// Fields of the answer that may be sent back unchanged.
pub const READ_ONLY: &[&str] = &[
    "id",
    "names",
    "issuer",
    "subject",
    "serial",
    "key_type",
    "not_before",
    "not_after",
    "days_left",
    "state",
    "sha256",
    "has_key",
    "notes",
    "used_by",
    "created_at",
    "updated_at",
];

/// Longest chain in bytes; usual are 4 kB.
const CHAIN_MAX: usize = 256 << 10;
/// Longest key in bytes; RSA 4096 in PEM has 3.3 kB.
const KEY_MAX: usize = 16 << 10;
/// Longest chain that browsers accept.
const CERTIFICATES_MAX: usize = 10;
/// CA/Browser Forum, Baseline Requirements §6.1.5; shorter ones have been refused since 2014.
const RSA_BITS_MIN: usize = 2048;

/// Reads a draft over the stored state. `whole`: missing fields are errors instead of kept (except the key, which is
/// never sent out). Error: invalid fields.
pub fn read(mut input: Input, old: Option<&Old>, whole: bool, now: Ms) -> Result<Valid> {
    let i = &mut input;
    let name = i.name("name");
    let chain = i.text("chain");
    let key = i.secret("key");
    let kept = old.filter(|_| !whole);
    if name.is_none() && kept.is_none() && !i.has_error("name") {
        i.wrong("name", "required", "Give the certificate a name.");
    }
    if chain.as_deref().is_none_or(str::is_empty) && kept.is_none_or(|_| chain.is_some()) && !i.has_error("chain") {
        let say = "Paste the certificate and those that it is signed by, from its first -----BEGIN to its last line.";
        i.wrong("chain", "required", say);
    }
    if (matches!(key, Some(None)) || key.is_none() && old.is_none()) && !i.has_error("key") {
        i.wrong(
            "key",
            "required",
            "Paste the private key whole, with its first and last line.",
        );
    }
    let mut checked = None;
    let changes = chain.is_some() || key.is_some();
    if changes && !["chain", "key"].iter().any(|field| i.has_error(field)) {
        let chain = chain.as_deref().or(old.map(|old| old.chain)).unwrap_or_default();
        let is_stored = key.is_none();
        let key = match (key.flatten(), old) {
            (Some(key), _) => key,
            (None, Some(old)) => (old.key)()?,
            (None, None) => Secret::default(),
        };
        match check_pair(chain, &key, now) {
            Ok(good) => checked = Some(good),
            Err(Wrong { field: "key", .. }) if is_stored => i.wrong(
                "key",
                "stored_key_differs",
                "The stored key does not belong to this certificate. Send the key that was made for it, too.",
            ),
            Err(wrong) => i.wrong(wrong.field, wrong.code, wrong.say),
        }
    }
    input.finish(READ_ONLY)?;
    let name = name.or(old.map(|old| old.name.to_string())).unwrap_or_default();
    Ok(Valid { name, checked })
}

/// A mistake in a field. Neither certificates nor keys are quoted.
#[derive(Debug)]
pub struct Wrong {
    /// `chain` or `key`.
    pub field: &'static str,
    /// Code of the text.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub say: String,
}

fn chain_wrong(code: &'static str, say: impl Into<String>) -> Wrong {
    Wrong {
        field: "chain",
        code,
        say: say.into(),
    }
}

fn key_wrong(code: &'static str, say: impl Into<String>) -> Wrong {
    Wrong {
        field: "key",
        code,
        say: say.into(),
    }
}

type Checked<T> = std::result::Result<T, Wrong>;

/// Checks that a chain and a key (PEM) work together in a server for browsers. Error: the mistake.
pub fn check_pair(chain: &str, key: &Secret, now: Ms) -> Checked<CheckedPair> {
    let blocks = certificates(chain)?;
    let ders: Vec<&[u8]> = blocks
        .iter()
        .map(|b| b.der.reveal_for("a certificate is public"))
        .collect();
    let all = read_all(&ders)?;
    let (form, key) = private_key(key)?;
    let server_key = ServerKey::read(form, &key.der).ok_or_else(|| weak(&all).unwrap_or_else(unusable_key))?;
    let leaf = (0..all.len()).find(|i| server_key.fits(ders[*i])).ok_or_else(|| {
        weak(&all).unwrap_or_else(|| {
            key_wrong(
                "key_differs",
                "This key belongs to none of the certificates. Paste the one that the certificate was requested with.",
            )
        })
    })?;
    let order = order(&all, leaf)?;
    let own = &all[leaf];
    if let Some(wrong) = weak(std::slice::from_ref(own)) {
        return Err(wrong);
    }
    dates(&order.iter().map(|i| &all[*i]).collect::<Vec<_>>(), now)?;
    if own.names.is_empty() {
        let say = "The certificate is for no name: it has no subjectAltName, and browsers read nothing else. Have it made again with the names in it.";
        return Err(chain_wrong("no_names", say));
    }
    holds(&all, &ders, &order, now)?;
    Ok(CheckedPair {
        chain: order.iter().map(|i| pem::write("CERTIFICATE", ders[*i])).collect(),
        key: Secret::new(pem::write(&key.label, key.der.reveal_for("a key in its plainest form"))),
        names: own.names.clone(),
        issuer: own.issuer.clone(),
        not_before: own.not_before,
        not_after: own.not_after,
        sha256: own.sha256.clone(),
        reordered: order.iter().enumerate().any(|(place, i)| place != *i),
    })
}

/// The certificates in a paste, without duplicates.
fn certificates(text: &str) -> Checked<Vec<Block>> {
    let blocks = pem::blocks(text, CERTIFICATES_MAX).map_err(|e| chain_wrong(e.code, e.say))?;
    let mut out: Vec<Block> = Vec::new();
    for block in blocks {
        match block.label.as_str() {
            "CERTIFICATE" | "X509 CERTIFICATE" => {
                if !out.iter().any(|known| known.der == block.der) {
                    out.push(block);
                }
            }
            key if key.ends_with("PRIVATE KEY") => {
                let say = "There is a private key among the certificates. It belongs into its own field, where it is kept sealed. Nothing was stored.";
                return Err(chain_wrong("chain_has_key", say));
            }
            request if request.ends_with("CERTIFICATE REQUEST") => {
                let say = "This is a request for a certificate, not the certificate that the authority made from it.";
                return Err(chain_wrong("chain_is_request", say));
            }
            other => {
                let say =
                    format!("There is a block “{other}” among the certificates. Leave only the blocks CERTIFICATE.");
                return Err(chain_wrong("chain_other", say));
            }
        }
    }
    Ok(out)
}

fn read_all<'a>(ders: &[&'a [u8]]) -> Checked<Vec<x509::Certificate<'a>>> {
    let read = ders.iter().enumerate().map(|(i, der)| {
        x509::Certificate::parse(der).ok_or_else(|| {
            let say = format!(
                "Certificate number {} cannot be read: it is damaged, or no certificate.",
                i + 1
            );
            chain_wrong("chain_unreadable", say)
        })
    });
    read.collect()
}

/// The private key in a paste.
fn private_key(text: &Secret) -> Checked<(KeyForm, Block)> {
    let text = text.reveal_text_for("reading a pasted key");
    let blocks = pem::blocks(text, 4).map_err(|e| key_wrong(e.code, e.say))?;
    let mut found = None;
    for block in blocks {
        let label = block.label.as_str();
        if label == "EC PARAMETERS" {
            continue; // `openssl ecparam -genkey` writes them before the key, which has the same information
        }
        if block.is_encrypted || label == "ENCRYPTED PRIVATE KEY" {
            let say = "The key is locked with a passphrase, and a web server cannot ask for it. Unlock it first: openssl pkey -in key.pem -out unlocked.pem";
            return Err(key_wrong("key_encrypted", say));
        }
        let say = match (KeyForm::of(label), label) {
            (Some(form), _) => match found.replace((form, block)) {
                None => continue,
                Some(_) => {
                    return Err(key_wrong(
                        "key_many",
                        "There is more than one private key here. Paste the one.",
                    ));
                }
            },
            (None, "OPENSSH PRIVATE KEY") => {
                "This is a key for SSH. Paste the one that the certificate was requested with."
            }
            (None, "CERTIFICATE") => {
                "This is a certificate. Its private key belongs here: it begins with -----BEGIN PRIVATE KEY-----."
            }
            (None, public) if public.ends_with("PUBLIC KEY") => {
                "This is the public half. The private key belongs here."
            }
            _ => {
                "This is no private key. One begins with -----BEGIN PRIVATE KEY-----, RSA PRIVATE KEY or EC PRIVATE KEY."
            }
        };
        return Err(key_wrong("key_is_other", say));
    }
    found.ok_or_else(|| key_wrong("key_is_other", "There is no private key here."))
}

/// A short RSA key causes other checks to fail, so it is reported first.
fn weak(all: &[x509::Certificate]) -> Option<Wrong> {
    let bits = all
        .iter()
        .find(|c| !c.is_ca || all.len() == 1)
        .and_then(|c| match c.key {
            x509::Key::Rsa(bits) if bits < RSA_BITS_MIN => Some(bits),
            _ => None,
        })?;
    let say = format!(
        "An RSA key of {bits} bits is too weak: browsers refuse less than {RSA_BITS_MIN}. Make a new key and have the certificate made again."
    );
    Some(key_wrong("key_weak", say))
}

fn unusable_key() -> Wrong {
    let say = "This key cannot be used. RSA of 2048 to 4096 bits, ECDSA on P-256 or P-384, and Ed25519 are; or it was damaged on the way.";
    key_wrong("key_unusable", say)
}

/// Orders from the leaf up, each signed by the next. All certificates must be part of the chain.
fn order(all: &[x509::Certificate], leaf: usize) -> Checked<Vec<usize>> {
    let mut order = vec![leaf];
    let mut last = leaf;
    while !all[last].is_self_issued() {
        let mut worst = None;
        let next = (0..all.len())
            .filter(|i| !order.contains(i))
            .find(|i| match all[last].link(&all[*i]) {
                Link::Good => true,
                Link::OtherIssuer => false,
                bad => {
                    worst = Some(bad);
                    false
                }
            });
        match (next, worst) {
            (Some(next), _) => {
                order.push(next);
                last = next;
            }
            (None, Some(Link::Unsupported)) => {
                let say = format!(
                    "“{}” is signed in a way that is not taken: SHA-1, a key below 2048 bits, or P-521.",
                    all[last].subject
                );
                return Err(chain_wrong("chain_unsupported", say));
            }
            (None, Some(_)) => {
                let say = format!(
                    "“{}” says that “{}” signed it, but the signature is not by the key of the certificate of that name here. Take the chain that came with this certificate.",
                    all[last].subject, all[last].issuer
                );
                return Err(chain_wrong("chain_bad_signature", say));
            }
            (None, None) => break,
        }
    }
    match (0..all.len()).find(|i| !order.contains(i)) {
        None => Ok(order),
        Some(stray) if all[last].is_self_issued() => {
            let say = format!("“{}” does not belong to this chain. Leave it out.", all[stray].subject);
            Err(chain_wrong("chain_stray", say))
        }
        Some(stray) => {
            let say = format!(
                "“{}” is signed by “{}”, whose certificate is not here; “{}” does not belong in between.",
                all[last].subject, all[last].issuer, all[stray].subject
            );
            Err(chain_wrong("chain_gap", say))
        }
    }
}

fn dates(chain: &[&x509::Certificate], now: Ms) -> Checked<()> {
    let Some(over) = chain.iter().find(|c| c.not_after < now) else {
        return Ok(());
    };
    let day = rfc3339(over.not_after);
    let day = day.split('T').next().unwrap_or_default();
    Err(match std::ptr::eq(*over, chain[0]) {
        true => chain_wrong(
            "expired",
            format!("The certificate has been out of date since {day}. Have it renewed."),
        ),
        false => chain_wrong(
            "issuer_expired",
            format!(
                "“{}” in the chain has been out of date since {day}. Take the chain that is given out today.",
                over.subject
            ),
        ),
    })
}

/// Checks besides signatures: issuers may sign for these names, and the leaf is for servers.
fn holds(all: &[x509::Certificate], ders: &[&[u8]], order: &[usize], now: Ms) -> Checked<()> {
    let (leaf, last) = (order[0], order[order.len() - 1]);
    // A self-signed one has no issuer. SHA-1 in a root's own signature is acceptable: it is not relied on.
    let own = all[last].is_self_issued().then(|| all[last].link(&all[last]));
    if own == Some(Link::BadSignature) || leaf == last && own == Some(Link::Unsupported) {
        let say = format!(
            "“{}” says that it signed itself, but the signature is not by its key, or made in a way that is not taken.",
            all[last].subject
        );
        return Err(chain_wrong("chain_bad_signature", say));
    }
    if leaf == last && own.is_some() {
        return Ok(()); // reported as a note
    }
    if all[leaf].is_ca {
        let say = "This is the certificate of an authority, which signs others, and not one for a server.";
        return Err(chain_wrong("chain_is_authority", say));
    }
    if order.len() == 1 {
        return Ok(());
    }
    let between: Vec<&[u8]> = order[1..order.len() - 1].iter().map(|i| ders[*i]).collect();
    let at = now.max(all[leaf].not_before);
    tls::holds(ders[leaf], &between, ders[last], at).map_err(|why| {
        chain_wrong(
            "chain_refused",
            format!("No browser would take this chain: the certificate {why}."),
        )
    })
}

described! {
    /// A remark that is no error.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Note {
        /// `self_signed`, `private_ca`, `not_yet_valid`, `ends_by`, `ed25519`, `reordered`.
        pub code: &'static str,
        /// One sentence.
        pub message: Cow<'static, str>,
        /// For `ends_by`: the certificate of the chain that expires first.
        pub ends_by: Option<String>,
        /// Its expiry, unix ms.
        #[serde(skip)]
        pub good_until: Option<Ms>,
    }
}

impl Note {
    const fn new(code: &'static str, message: &'static str) -> Note {
        Note {
            code,
            message: Cow::Borrowed(message),
            ends_by: None,
            good_until: None,
        }
    }
}

/// The certificates were not in the order that servers send.
pub const REORDERED: Note = Note::new(
    "reordered",
    "The certificates came in another order. They were put right: the server's own first, each signed by the next.",
);

/// Remarks about a stored chain. Error: it cannot be parsed.
pub fn notes(chain: &str, now: Ms) -> Result<Vec<Note>> {
    let blocks = pem::blocks(chain, CERTIFICATES_MAX)?;
    let ders: Vec<&[u8]> = blocks
        .iter()
        .map(|b| b.der.reveal_for("a certificate is public"))
        .collect();
    let leaf = x509::Certificate::parse(ders.first().copied().unwrap_or_default())
        .ok_or_else(|| Error::internal("a stored certificate cannot be read"))?;
    let mut out = Vec::new();
    let mut note = |code, message| out.push(Note::new(code, message));
    if leaf.is_self_issued() {
        note(
            "self_signed",
            "The certificate is self-signed: browsers will not trust it unless it was put among their authorities.",
        );
    } else if let Err(Distrust::UnknownIssuer | Distrust::SelfSigned) =
        tls::vouched(&ders, now.clamp(leaf.not_before, leaf.not_after.max(leaf.not_before)))?
    {
        note(
            "private_ca",
            "No authority that this machine knows has signed it: browsers will not trust it unless they know that authority. If there is an intermediate certificate, paste it too.",
        );
    }
    if leaf.not_before > now {
        note(
            "not_yet_valid",
            "The certificate is not valid yet: until then a deploy with it fails and is rolled back.",
        );
    }
    if leaf.key == x509::Key::Ed25519 {
        note(
            "ed25519",
            "The key is Ed25519, which browsers do not take for certificates; other programs may.",
        );
    }
    let top = ders
        .split_last()
        .filter(|(_, below)| !below.is_empty())
        .map(|(top, _)| *top);
    let at = now.max(leaf.not_before);
    if let Some(End { at, whose: Some(whose) }) = tls::good_until(&ders, top.as_slice(), at)? {
        out.push(Note {
            code: "ends_by",
            message: format!(
                "“{whose}” in the chain ends first, on {}. From then on browsers refuse the certificate, too. Take the chain that is given out today.",
                rfc3339(at)
            )
            .into(),
            ends_by: Some(whose),
            good_until: Some(at),
        });
    }
    Ok(out)
}
