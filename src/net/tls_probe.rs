//! Reads a server's certificates: a TLS handshake as a browser's that accepts any certificate, sends nothing and
//! disconnects. The chain is verified afterwards, by a browser's rules.

use super::dial::{self, Call};
use super::tls::{self, Distrust, End};
use super::x509::SIZE_MAX;
use crate::base::clock::Ms;
use crate::base::error::{Error, Kind, Result};
use rustls::pki_types::{CertificateDer, ServerName};

/// The certificates that a server showed for a name.
#[derive(Debug)]
pub struct ShownChain {
    name: String,
    chain: Vec<CertificateDer<'static>>,
}

/// Reads the certificates of `call`'s host for `name` (SNI). `call.security` is ignored. Errors: those of
/// [`dial::dial`], and `tls_no_certificate`.
pub fn probe(call: &Call, name: &str) -> Result<ShownChain> {
    let asked = ServerName::try_from(name.to_owned()).map_err(Error::internal)?;
    let wire = dial::dial_unverified(call, asked)?;
    let chain = wire.shown();
    wire.leave();
    if chain.is_empty() || chain.iter().any(|c| c.len() > SIZE_MAX) {
        let say = format!(
            "{}:{} shows no certificate that can be read.",
            call.host.in_url(),
            call.port
        );
        return Err(Error::new(Kind::Upstream, "tls_no_certificate", say));
    }
    Ok(ShownChain {
        name: name.into(),
        chain,
    })
}

impl ShownChain {
    /// The server's own certificate, DER.
    pub fn leaf(&self) -> &[u8] {
        self.chain.first().map_or(&[], |c| c)
    }

    /// All certificates, DER, the server's own first.
    pub fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.chain.iter().map(|c| c.as_ref())
    }

    /// Would a browser trust the chain at this time, with these authorities (DER) besides the system's?
    pub fn verdict(&self, extra: &[&[u8]], at: Ms) -> Result<std::result::Result<(), Distrust>> {
        tls::verify_chain(&self.chain, &self.name, extra, at)
    }

    /// Until when it is trusted, if it is now ([`tls::good_until`]).
    pub fn good_until(&self, extra: &[&[u8]], at: Ms) -> Result<Option<End>> {
        tls::good_until(&self.chain().collect::<Vec<_>>(), extra, at)
    }
}
