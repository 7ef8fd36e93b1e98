//! Reads the certificate that a server serves for a domain.

use super::evaluate::{Seen, Shown};
use super::queries::Site;
use crate::base::clock::{self, Duration, Ms, rfc3339};
use crate::base::error::{Error, Kind, Result};
use crate::base::host::Host;
use crate::base::pem;
use crate::base::text;
use crate::net::dial::{Call, Security};
use crate::net::policy::Policy;
use crate::net::tls::{Distrust, End};
use crate::net::tls_probe::{self, ShownChain};
use crate::net::x509;

/// HTTPS port.
const PORT: u16 = 443;
/// Limit of connecting: a round trip takes up to a third of a second, a lost packet is sent again after one.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// Limit for all addresses of a server, from resolution to handshake.
const LOOK_MAX: Duration = Duration::from_secs(8);
/// Addresses tried per server: two public ones, and that by which we reach it.
const ADDRESSES_MAX: usize = 3;

/// Trusted authorities besides the system's.
#[derive(Debug, Clone, Copy)]
pub struct Trust {
    /// Is the ACME server's authority public?
    pub acme_is_public: bool,
}

impl Trust {
    /// By the configured ACME directory.
    pub fn of_directory(url: &str) -> Trust {
        Trust {
            acme_is_public: url == "https://acme-v02.api.letsencrypt.org/directory",
        }
    }
}

/// Reads and evaluates. Error: a local problem, so nothing is known.
pub fn probe(site: &Site, trust: Trust) -> Result<Seen> {
    let at = clock::now();
    let misses = site.before.as_ref().map_or(0, |before| before.misses) + 1;
    let (served, address) = match reach(site) {
        Ok(found) => found,
        Err(e) if e.kind == Kind::Busy || e.kind == Kind::Config || e.kind == Kind::Internal => return Err(e),
        Err(e) => {
            return Ok(Seen {
                looked_at: at,
                code: if e.code.starts_with("tls_") {
                    "no_tls"
                } else {
                    "unreachable"
                }
                .into(),
                say: e.say,
                misses,
                private: false,
                shown: site.before.as_ref().and_then(|before| before.shown.clone()),
            });
        }
    };
    let mut shown = x509::Certificate::parse(served.leaf()).map(|c| Shown {
        names: c.names,
        issuer: c.issuer,
        serial: c.serial,
        key_type: c.key.to_string(),
        sha256: c.sha256,
        not_before: c.not_before,
        not_after: c.not_after,
        good_until: c.not_after,
        ends_by: String::new(),
    });
    let (verdict, end) = verdict(site, trust, &served, shown.as_ref(), at)?;
    if let (Some(shown), Some(End { at, whose: Some(whose) })) = (&mut shown, end) {
        (shown.good_until, shown.ends_by) = (at, whose);
    }
    let (code, say) = summary(&verdict, shown.as_ref(), &site.name, &address);
    Ok(Seen {
        looked_at: at,
        code: code.into(),
        say,
        misses: if code.is_empty() { 0 } else { misses },
        private: verdict == Verdict::Private,
        shown,
    })
}

/// The first of the server's addresses that serves a certificate. If none does, the first error counts.
fn reach(site: &Site) -> Result<(ShownChain, String)> {
    let mut first: Option<Error> = None;
    let until = clock::mono() + LOOK_MAX;
    for address in site.addresses.iter().take(ADDRESSES_MAX) {
        let host = Host::parse(address).map_err(Error::internal)?;
        let call = Call {
            host: &host,
            port: PORT,
            security: Security::Tls,
            policy: Policy::Server,
            connect_max: CONNECT_MAX,
            until,
        };
        match tls_probe::probe(&call, &site.name) {
            Ok(served) => return Ok((served, address.clone())),
            Err(e) => drop(first.get_or_insert(e)),
        }
    }
    Err(first.unwrap_or_else(|| Error::internal("a server without an address")))
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    /// Signed by an authority that this machine does not trust, as expected.
    Private,
    Bad(Distrust),
}

/// An uploaded certificate may be signed by its own authority, one from a configured ACME server by a private
/// authority. All others must be trusted by this machine. Also returns the end of validity.
fn verdict(
    site: &Site,
    trust: Trust,
    served: &ShownChain,
    shown: Option<&Shown>,
    at: Ms,
) -> Result<(Verdict, Option<End>)> {
    let own = match &site.own {
        Some(chain) => pem::blocks(chain, usize::MAX)?,
        None => Vec::new(),
    };
    let own: Vec<&[u8]> = own
        .iter()
        .map(|b| b.der.reveal_for("a certificate is public"))
        .collect();
    let doubt = match served.verdict(&[], at)? {
        Ok(()) => return Ok((Verdict::Good, served.good_until(&[], at)?)),
        Err(doubt) => doubt,
    };
    let top = match doubt {
        Distrust::UnknownIssuer if own.is_empty() && !trust.acme_is_public => served.chain().last(),
        // A single certificate has no other issuer.
        Distrust::UnknownIssuer | Distrust::SelfSigned
            if own.len() == 1 && shown.is_some_and(|s| Some(&s.sha256) == site.own_sha256.as_ref()) =>
        {
            return Ok((Verdict::Private, None));
        }
        Distrust::UnknownIssuer | Distrust::SelfSigned => own.last().copied(),
        _ => None,
    };
    Ok(match (top.map(|top| served.verdict(&[top], at)).transpose()?, doubt) {
        (Some(Ok(())), _) => (Verdict::Private, served.good_until(top.as_slice(), at)?),
        (Some(Err(Distrust::IssuerExpired(end))), _) | (None, Distrust::IssuerExpired(end)) => {
            (Verdict::Bad(Distrust::IssuerExpired(end.clone())), Some(end))
        }
        // Only its authority knows the chain above, which is not always sent.
        (Some(Err(_)), Distrust::UnknownIssuer) if own.is_empty() => (Verdict::Private, None),
        (_, doubt) => (Verdict::Bad(doubt), None),
    })
}

/// Code and sentence.
fn summary(verdict: &Verdict, shown: Option<&Shown>, name: &str, address: &str) -> (&'static str, String) {
    let day = |at: Ms| {
        rfc3339(at)
            .replace('T', " ")
            .split('.')
            .next()
            .unwrap_or_default()
            .to_string()
            + " UTC"
    };
    let ends = shown.map(|c| day(c.not_after)).unwrap_or_default();
    let until = match shown {
        Some(c) if !c.ends_by.is_empty() => format!(
            "{}: then “{}” in its chain ends, before the certificate itself ({ends})",
            day(c.good_until),
            c.ends_by
        ),
        _ => ends.clone(),
    };
    let issuer = shown.map(|c| c.issuer.as_str()).unwrap_or_default();
    match verdict {
        Verdict::Good => (
            "",
            format!("{address} shows a certificate by {issuer} that is good until {until}."),
        ),
        Verdict::Private => (
            "",
            format!("{address} shows a certificate by a private authority ({issuer}) that is good until {until}."),
        ),
        Verdict::Bad(Distrust::Expired) => (
            "expired",
            format!("The certificate that {address} shows ended on {ends}."),
        ),
        Verdict::Bad(Distrust::NotYetValid) => {
            let from = shown.map(|c| day(c.not_before)).unwrap_or_default();
            (
                "not_yet_valid",
                format!("The certificate that {address} shows is valid from {from} on only."),
            )
        }
        Verdict::Bad(Distrust::WrongName) => {
            let names = shown.map(|c| c.names.join(", ")).unwrap_or_default();
            let names = text::one_line(&names, 200);
            let of = if names.is_empty() { "no name".into() } else { names };
            (
                "wrong_name",
                format!("Asked for {name}, {address} shows a certificate for {of}."),
            )
        }
        Verdict::Bad(Distrust::SelfSigned) => (
            "self_signed",
            format!("The certificate that {address} shows is self-signed."),
        ),
        Verdict::Bad(Distrust::UnknownIssuer) => (
            "untrusted",
            format!(
                "The certificate that {address} shows is signed by “{issuer}”, and no authority that browsers know stands behind that; or an intermediate certificate is missing."
            ),
        ),
        Verdict::Bad(Distrust::IssuerExpired(end)) => (
            "issuer_expired",
            format!(
                "“{}” in the chain of the certificate that {address} shows ended on {}. Renew the certificate, or give it today's chain.",
                end.whose.as_deref().unwrap_or_default(),
                day(end.at)
            ),
        ),
        Verdict::Bad(Distrust::Unusable(why)) => ("unusable", format!("The certificate that {address} shows {why}.")),
    }
}
