//! Who is at the other end: a certificate signed by an authority this machine trusts, or exactly the one whose SHA-256 a
//! person has pinned. A pinned certificate may be self-signed and out of date, but its key must sign the handshake all
//! the same. There is no way to check nothing.

use crate::base::error::{Error, Kind, Result};
use crate::base::text;
use ring::digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, LazyLock, OnceLock};

/// Where Debian and Ubuntu keep the authorities (package `ca-certificates`).
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

    /// The pin of the first certificate in a PEM file.
    pub fn of_file(path: &Path) -> Result<Pin> {
        let read = CertificateDer::from_pem_file(path);
        read.map(|certificate| Pin::of(&certificate)).map_err(|e| {
            let say = format!("{} is not a PEM certificate that can be read.", path.display());
            Error::new(Kind::Config, "tls_files", say).log(e)
        })
    }

    fn of(certificate: &CertificateDer) -> Pin {
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

/// The TLS client for a peer with this pin, or for one that the system's authorities vouch for.
pub fn client(pin: Option<Pin>) -> Result<Arc<ClientConfig>> {
    // Made once: parsing the bundle takes some ms and its 140 authorities 200 kB.
    static BY_AUTHORITY: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    match pin {
        Some(pin) => Ok(config(Trust::Pinned(pin))),
        None => match BY_AUTHORITY.get() {
            Some(made) => Ok(made.clone()),
            None => {
                let made = config(Trust::Authorities(authorities()?));
                Ok(BY_AUTHORITY.get_or_init(|| made).clone())
            }
        },
    }
}

fn authorities() -> Result<Arc<WebPkiServerVerifier>> {
    let told = |why: String| {
        Error::new(
            Kind::Config,
            "no_authorities",
            format!("Lamplighter's machine has no usable list of certificate authorities ({BUNDLE}). Install ca-certificates."),
        )
        .log(why)
    };
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(BUNDLE).map_err(|e| told(e.to_string()))?;
    roots.add_parsable_certificates(found.flatten());
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), PROVIDER.clone())
        .build()
        .map_err(|e| told(e.to_string()))
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

/// Why a certificate was refused, carried through rustls to the one who dials.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The certificate that was shown, so that a person can compare and pin it.
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
        // webpki calls a self-signed CA certificate, as `openssl req -x509` makes them, by this name.
        C::Other(OtherError(e)) if e.to_string().contains("CaUsedAsEndEntity") => "is self-signed".into(),
        other => format!("cannot be used: {other}"),
    }
}

/// What the failed handshake means: code and the end of the sentence "host …".
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
