//! Peer verification: a certificate signed by an authority that this machine trusts, or exactly the one whose SHA-256 a
//! person pinned. A pinned certificate may be self-signed and expired, but its key must sign the handshake. There is no
//! unverified connection except [`super::tls_probe`], which sends nothing.

use super::x509::Certificate;
use crate::base::clock::{Duration, Ms, SECOND};
use crate::base::error::{Error, Kind, Result};
use crate::base::secret::Secret;
use crate::base::text;
use ring::digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer, ServerName, UnixTime,
};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// The CA bundle of Debian and Ubuntu (package `ca-certificates`).
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The SHA-256 of a certificate in DER, as `openssl x509 -fingerprint -sha256` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin([u8; 32]);

impl Pin {
    /// Reads 64 hex digits of either case, with or without colons. The error is a sentence.
    pub fn parse(text: &str) -> std::result::Result<Pin, String> {
        text::unhex(&text.trim().replace(':', ""))
            .and_then(|bytes| bytes.try_into().ok())
            .map(Pin)
            .ok_or_else(|| "A fingerprint is the certificate's SHA-256: 64 hex digits, colons allowed.".into())
    }

    /// The pin of the first certificate in a PEM file. Error: unreadable file, or no certificate.
    pub fn of_file(path: &Path) -> Result<Pin> {
        let read = CertificateDer::from_pem_file(path);
        read.map(|certificate| Pin::of(&certificate)).map_err(|e| {
            let say = format!("{} is not a PEM certificate that can be read.", path.display());
            Error::new(Kind::Config, "tls_files", say).log(e)
        })
    }

    /// The pin of a certificate in DER.
    pub fn of(certificate: &[u8]) -> Pin {
        let mut out = [0; 32];
        out.copy_from_slice(digest::digest(&digest::SHA256, certificate).as_ref());
        Pin(out)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02X}", if i == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

/// TLS client configuration for a pinned peer, or for one verified by the system's authorities.
pub fn client(pin: Option<Pin>) -> Result<Arc<ClientConfig>> {
    match pin {
        Some(pin) => Ok(config(Trust::Pinned(pin))),
        None => Ok(authorities()?.client.clone()),
    }
}

/// TLS client configuration of [`super::tls_probe`]: accepts any certificate whose key signs the handshake. No session
/// resumption: the server would not send its certificate.
pub(super) fn onlooker() -> Arc<ClientConfig> {
    static ONLOOKER: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
        let mut config = Arc::unwrap_or_clone(config(Trust::Anybody));
        config.resumption = Resumption::disabled();
        Arc::new(config)
    });
    ONLOOKER.clone()
}

/// The trusted authorities.
struct Authorities {
    stamp: Stamp,
    anchors: Arc<Anchors>,
    client: Arc<ClientConfig>,
}

/// Authorities with their expiry, which rustls does not check for roots, while OpenSSL and Firefox do.
#[derive(Clone)]
struct Anchors {
    roots: Arc<RootCertStore>,
    /// Expiry of each root.
    ends: Vec<End>,
}

impl Anchors {
    fn read<'a>(ders: impl Iterator<Item = CertificateDer<'a>>) -> Anchors {
        let (mut roots, mut ends) = (RootCertStore::empty(), Vec::new());
        for der in ders {
            // A root that rustls accepts and we cannot parse has no known expiry.
            let (at, whose) = Certificate::parse(&der).map_or((Ms::MAX, None), |c| (c.not_after, Some(c.subject)));
            if roots.add(der.into_owned()).is_ok() {
                ends.push(End { at, whose });
            }
        }
        let roots = Arc::new(roots);
        Anchors { roots, ends }
    }

    fn and(&self, more: Anchors) -> Anchors {
        let (mut roots, mut ends) = ((*more.roots).clone(), more.ends);
        roots.extend(self.roots.roots.iter().cloned());
        ends.extend_from_slice(&self.ends);
        let roots = Arc::new(roots);
        Anchors { roots, ends }
    }

    /// Roots that have not expired.
    fn alive(&self, at: Ms) -> Arc<RootCertStore> {
        if self.ends.iter().all(|end| end.at >= at) {
            return self.roots.clone();
        }
        let all = self.roots.roots.iter().zip(&self.ends);
        Arc::new(
            all.filter(|(_, end)| end.at >= at)
                .map(|(root, _)| root.clone())
                .collect(),
        )
    }

    /// Expired roots, each alone.
    fn ended(&self, at: Ms) -> impl Iterator<Item = (RootCertStore, &End)> {
        let all = self.roots.roots.iter().zip(&self.ends);
        all.filter(move |(_, end)| end.at < at)
            .map(|(root, end)| (std::iter::once(root.clone()).collect(), end))
    }
}

/// Expiry of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Unix ms.
    pub at: Ms,
    /// The issuing certificate that expires then; `None`: the certificate itself.
    pub whose: Option<String>,
}

/// Time and size of the bundle: `update-ca-certificates` changes them.
type Stamp = (i64, i64, u64);

/// Loaded once and again when the bundle changes: parsing takes some ms, its 140 authorities 200 kB.
fn authorities() -> Result<Arc<Authorities>> {
    static KNOWN: Mutex<Option<Arc<Authorities>>> = Mutex::new(None);
    let told = |why: String| {
        Error::new(
            Kind::Config,
            "no_authorities",
            format!("Lamplighter's machine has no usable list of certificate authorities ({BUNDLE}). Install ca-certificates."),
        )
        .log(why)
    };
    let file = std::fs::metadata(BUNDLE).map_err(|e| told(e.to_string()))?;
    let stamp = (file.mtime(), file.mtime_nsec(), file.size());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = known.as_ref().filter(|k| k.stamp == stamp) {
        return Ok(known.clone());
    }
    let found = CertificateDer::pem_file_iter(BUNDLE).map_err(|e| told(e.to_string()))?;
    let anchors = Arc::new(Anchors::read(found.flatten()));
    let verifier = WebPkiServerVerifier::builder_with_provider(anchors.roots.clone(), PROVIDER.clone())
        .build()
        .map_err(|e| told(e.to_string()))?;
    let client = config(Trust::Authorities(verifier));
    let made = Arc::new(Authorities { stamp, anchors, client });
    *known = Some(made.clone());
    Ok(made)
}

/// Why a browser would refuse a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Distrust {
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It is for other names.
    WrongName,
    /// Self-signed.
    SelfSigned,
    /// Not signed by a trusted authority, or an intermediate certificate is missing.
    UnknownIssuer,
    /// An issuer has expired.
    IssuerExpired(End),
    /// Anything else; the end of the sentence "its certificate …".
    Unusable(String),
}

/// Would a browser trust this chain for this name at this time? `extra` are authorities (DER) besides the system's.
/// Problems of the certificate itself are reported before those of its issuers.
pub fn verify_chain(
    chain: &[CertificateDer],
    name: &str,
    extra: &[&[u8]],
    at: Ms,
) -> Result<std::result::Result<(), Distrust>> {
    let unusable = |why: &str| Ok(Err(Distrust::Unusable(why.into())));
    let Some((leaf, rest)) = chain.split_first() else {
        return unusable("is missing");
    };
    let (Some(read), Ok(parsed)) = (Certificate::parse(leaf), ParsedCertificate::try_from(leaf)) else {
        return unusable("cannot be read");
    };
    if at > read.not_after {
        return Ok(Err(Distrust::Expired));
    }
    if at < read.not_before {
        return Ok(Err(Distrust::NotYetValid));
    }
    let Ok(name) = ServerName::try_from(name) else {
        return unusable("is asked for by a name that is none");
    };
    match verify_server_name(&parsed, &name) {
        Ok(()) => {}
        Err(rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => return Ok(Err(Distrust::WrongName)),
        Err(e) => return Ok(Err(Distrust::Unusable(in_words(&e)))),
    }
    let trusted = trusted(extra)?;
    Ok(stands(&read, &parsed, rest, &trusted, at))
}

/// Is this chain (DER) signed by a trusted authority, regardless of names and of its own dates?
pub fn vouched(chain: &[&[u8]], at: Ms) -> Result<std::result::Result<(), Distrust>> {
    let chain: Vec<_> = chain.iter().map(|der| CertificateDer::from(*der)).collect();
    let unreadable = || Ok(Err(Distrust::Unusable("cannot be read".into())));
    let Some((leaf, rest)) = chain.split_first() else {
        return unreadable();
    };
    let (Some(read), Ok(parsed)) = (Certificate::parse(leaf), ParsedCertificate::try_from(leaf)) else {
        return unreadable();
    };
    let trusted = trusted(&[])?;
    Ok(stands(&read, &parsed, rest, &trusted, at))
}

/// Until when a currently trusted chain stays trusted: the first expiry on the path used. A certificate with an
/// alternative path, such as a cross-signed root, does not count. All DER. `None`: not trusted now.
pub fn good_until(chain: &[&[u8]], extra: &[&[u8]], at: Ms) -> Result<Option<End>> {
    let chain: Vec<_> = chain.iter().map(|der| CertificateDer::from(*der)).collect();
    let Some((leaf, rest)) = chain.split_first() else {
        return Ok(None);
    };
    let (Some(read), Ok(parsed)) = (Certificate::parse(leaf), ParsedCertificate::try_from(leaf)) else {
        return Ok(None);
    };
    let trusted = trusted(extra)?;
    if stands(&read, &parsed, rest, &trusted, at).is_err() {
        return Ok(None);
    }
    let between = rest.iter().filter_map(|der| Certificate::parse(der)).map(|c| End {
        at: c.not_after,
        whose: Some(c.subject),
    });
    let mut ends: Vec<End> = between.chain(trusted.ends.iter().cloned()).collect();
    ends.retain(|end| at <= end.at && end.at < read.not_after);
    ends.sort_by_key(|end| end.at);
    // Expired one second later.
    let outlived = ends.partition_point(|end| stands(&read, &parsed, rest, &trusted, end.at + SECOND).is_ok());
    let own = End {
        at: read.not_after,
        whose: None,
    };
    Ok(Some(ends.into_iter().nth(outlived).unwrap_or(own)))
}

/// The system's authorities and these (DER).
fn trusted(extra: &[&[u8]]) -> Result<Arc<Anchors>> {
    let known = authorities()?.anchors.clone();
    Ok(match extra {
        [] => known,
        _ => Arc::new(known.and(anchors(extra))),
    })
}

fn stands(
    leaf: &Certificate,
    parsed: &ParsedCertificate,
    between: &[CertificateDer],
    trusted: &Anchors,
    at: Ms,
) -> std::result::Result<(), Distrust> {
    use CertificateError::{Expired, ExpiredContext, UnknownIssuer};
    let why = match vouches(parsed, between, &trusted.alive(at), at) {
        Ok(()) => return Ok(()),
        Err(rustls::Error::InvalidCertificate(why)) => why,
        Err(e) => return Err(Distrust::Unusable(in_words(&e))),
    };
    let ended = match why {
        UnknownIssuer => {
            let mut ended = trusted.ended(at);
            let used = ended.find(|(root, _)| vouches(parsed, between, root, at).is_ok());
            used.map(|(_, end)| end.clone())
        }
        Expired | ExpiredContext { .. } => {
            let read = between.iter().filter_map(|der| Certificate::parse(der));
            let ended = read.filter(|c| c.not_after < at).max_by_key(|c| c.not_after);
            ended.map(|c| End {
                at: c.not_after,
                whose: Some(c.subject),
            })
        }
        _ => None,
    };
    Err(match (ended, why) {
        (Some(end), _) => Distrust::IssuerExpired(end),
        (None, _) if leaf.is_self_issued() => Distrust::SelfSigned,
        (None, UnknownIssuer) => Distrust::UnknownIssuer,
        (None, why) => Distrust::Unusable(in_words(&rustls::Error::InvalidCertificate(why))),
    })
}

/// Does `anchor` verify the leaf through the intermediates, for server use, at this time? The error is the end of the
/// sentence "its certificate …". All DER.
pub fn holds(leaf: &[u8], between: &[&[u8]], anchor: &[u8], at: Ms) -> std::result::Result<(), String> {
    let leaf = CertificateDer::from(leaf);
    let parsed = ParsedCertificate::try_from(&leaf).map_err(|e| in_words(&e))?;
    let between: Vec<_> = between.iter().map(|der| CertificateDer::from(*der)).collect();
    vouches(&parsed, &between, &anchors(&[anchor]).roots, at).map_err(|e| in_words(&e))
}

fn anchors(ders: &[&[u8]]) -> Anchors {
    Anchors::read(ders.iter().map(|der| CertificateDer::from(*der)))
}

fn vouches(
    leaf: &ParsedCertificate,
    between: &[CertificateDer],
    roots: &RootCertStore,
    at: Ms,
) -> std::result::Result<(), rustls::Error> {
    let at = UnixTime::since_unix_epoch(Duration::from_millis(at.max(0) as u64));
    let algorithms = PROVIDER.signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(leaf, roots, between, at, algorithms)
}

/// Encodings of private keys that servers read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyForm {
    /// `PRIVATE KEY`
    Pkcs8,
    /// `RSA PRIVATE KEY`
    Pkcs1,
    /// `EC PRIVATE KEY`
    Sec1,
}

impl KeyForm {
    /// By its PEM label.
    pub fn of(label: &str) -> Option<KeyForm> {
        match label {
            "PRIVATE KEY" => Some(KeyForm::Pkcs8),
            "RSA PRIVATE KEY" => Some(KeyForm::Pkcs1),
            "EC PRIVATE KEY" => Some(KeyForm::Sec1),
            _ => None,
        }
    }
}

/// A private key for a TLS server.
pub struct ServerKey(Arc<dyn rustls::sign::SigningKey>);

impl ServerKey {
    /// Parses a key; `None` for unsupported kinds: RSA of 2048 to 4096 bits, ECDSA on P-256 or P-384, and Ed25519 are
    /// supported.
    pub fn read(form: KeyForm, der: &Secret) -> Option<ServerKey> {
        let bytes = der.reveal_for("reading a server's key");
        let key = match form {
            KeyForm::Pkcs8 => PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(bytes)),
            KeyForm::Pkcs1 => PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(bytes)),
            KeyForm::Sec1 => PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(bytes)),
        };
        rustls::crypto::ring::sign::any_supported_type(&key).ok().map(ServerKey)
    }

    /// Is it the key of this certificate (DER)?
    pub fn fits(&self, certificate: &[u8]) -> bool {
        let chain = vec![CertificateDer::from(certificate.to_vec())];
        CertifiedKey::new(chain, self.0.clone()).keys_match().is_ok()
    }
}

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

fn config(trust: Trust) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3");
    Arc::new(
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(trust))
            .with_no_client_auth(),
    )
}

/// Why a certificate was refused, passed through rustls to the caller of `dial`.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The refused certificate, so that a person can compare and pin it.
    pub seen: Pin,
    /// The end of the sentence "its certificate …".
    pub why: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SHA-256 {})", self.why, self.seen)
    }
}

impl std::error::Error for Refused {}

#[derive(Debug)]
enum Trust {
    Anybody,
    Authorities(Arc<WebPkiServerVerifier>),
    Pinned(Pin),
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let seen = Pin::of(leaf);
        let why = match self {
            Trust::Anybody => return Ok(ServerCertVerified::assertion()),
            Trust::Pinned(pin) if *pin == seen => return Ok(ServerCertVerified::assertion()),
            Trust::Pinned(_) => "is not the pinned one".into(),
            Trust::Authorities(verifier) => match verifier.verify_server_cert(leaf, chain, name, ocsp, now) {
                Ok(verified) => return Ok(verified),
                Err(e) => in_words(&e),
            },
        };
        let refused = Refused { seen, why };
        Err(CertificateError::Other(OtherError(Arc::new(refused))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, leaf, signed, &PROVIDER.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signed, &PROVIDER.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        PROVIDER.signature_verification_algorithms.supported_schemes()
    }
}

fn in_words(e: &rustls::Error) -> String {
    use CertificateError as C;
    let rustls::Error::InvalidCertificate(e) = e else {
        return format!("cannot be used: {e}");
    };
    match e {
        C::Expired | C::ExpiredContext { .. } => "has expired".into(),
        C::NotValidYet | C::NotValidYetContext { .. } => "is not valid yet (is a clock wrong?)".into(),
        C::UnknownIssuer => "is not signed by an authority this machine trusts".into(),
        C::NotValidForName | C::NotValidForNameContext { .. } => "is for another name".into(),
        // webpki's error for a self-signed CA certificate, as `openssl req -x509` makes them.
        C::Other(OtherError(e)) if e.to_string().contains("CaUsedAsEndEntity") => "is self-signed".into(),
        other => format!("cannot be used: {other}"),
    }
}

/// Meaning of a failed handshake: code and the end of the sentence "host …".
pub(super) fn explain(e: &rustls::Error) -> (&'static str, String) {
    match e {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => (
            "tls_certificate",
            match other.downcast_ref::<Refused>() {
                Some(r) => format!(
                    "shows a certificate that {}. Its SHA-256 is {}; if that is the one you expect, pin it.",
                    r.why, r.seen
                ),
                None => format!("shows a certificate that cannot be used: {other}."),
            },
        ),
        rustls::Error::InvalidMessage(_) => ("tls_not_spoken", "does not speak TLS on this port. Try http.".into()),
        rustls::Error::AlertReceived(alert) => ("tls_failed", format!("ended the TLS handshake: {alert:?}.")),
        other => (
            "tls_failed",
            format!("and Lamplighter could not agree on TLS: {other}."),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_as_openssl_prints_them() {
        let plain = "ab".repeat(32);
        let pin = Pin::parse(&plain).unwrap();
        assert_eq!(pin.to_string().len(), 95);
        assert_eq!(Pin::parse(&pin.to_string()), Ok(pin));
        for bad in ["", "ab", &"ab".repeat(31), &"ab".repeat(33), &"zz".repeat(32)] {
            assert!(Pin::parse(bad).is_err(), "{bad}");
        }
    }
}
