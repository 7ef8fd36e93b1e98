//! X.509 certificates (RFC 5280), parsed strictly and without trust: issuer, subject, names, dates. Parsing proves
//! nothing; [`Certificate::link`] checks a signature, [`super::tls`] verifies trust.

use crate::base::clock::{self, DAY, HOUR, MINUTE, Ms, SECOND};
use crate::base::der::{BIT_STRING, BOOLEAN, Der, INTEGER, OCTET_STRING, OID, SEQUENCE, SET, Value};
use crate::base::text;
use ring::digest;
use rustls::crypto::ring::default_provider;
use std::fmt;
use std::net::IpAddr;
use std::sync::LazyLock;

/// The parsed fields of a certificate. Times are unix ms.
#[derive(Debug, Clone)]
pub struct Certificate<'a> {
    /// Hex in pairs, `04:9a:…`.
    pub serial: String,
    /// Issuer for display: `Let's Encrypt R11`; empty if it has no name.
    pub issuer: String,
    /// Subject for display.
    pub subject: String,
    /// Valid from.
    pub not_before: Ms,
    /// Valid to.
    pub not_after: Ms,
    /// DNS names in lower case, then addresses (subjectAltName). Browsers use no other names.
    pub names: Vec<String>,
    /// Kind and size of the public key.
    pub key: Key,
    /// May it sign other certificates?
    pub is_ca: bool,
    /// SHA-256 of the DER form, hex in lower case.
    pub sha256: String,
    issuer_name: &'a [u8],
    subject_name: &'a [u8],
    signed: &'a [u8],
    signature_algorithm: &'a [u8],
    signature: &'a [u8],
    key_algorithm: &'a [u8],
    key_bits: &'a [u8],
}

/// A public key's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// RSA with so many bits.
    Rsa(usize),
    /// ECDSA on P-256, P-384 or P-521.
    Ecdsa(u16),
    /// Ed25519.
    Ed25519,
    /// Another kind.
    Other,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Rsa(bits) => write!(f, "RSA {bits}"),
            Key::Ecdsa(curve) => write!(f, "ECDSA P-{curve}"),
            Key::Ed25519 => f.write_str("Ed25519"),
            Key::Other => f.write_str("?"),
        }
    }
}

/// Result of checking whether one certificate signed another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Yes: names match and the signature is valid.
    Good,
    /// The names do not match.
    OtherIssuer,
    /// Names match, the signature is invalid: another key of the same authority, or a forgery.
    BadSignature,
    /// An unsupported signature: SHA-1, a key below 2048 bits, P-521.
    Unsupported,
}

/// A certificate is 1 to 2 kB; a hundred names make it 5.
pub const SIZE_MAX: usize = 64 << 10;
/// Let's Encrypt allows 100 names, the largest shared ones have some hundreds.
const NAMES_MAX: usize = 2_000;
/// RFC 5280 §4.1.2.2 allows 20.
const SERIAL_MAX: usize = 64;
/// A name for people, in bytes.
const NAME_MAX: usize = 120;

const VERSION: u8 = 0xa0;
const ISSUER_UNIQUE_ID: u8 = 0x81;
const SUBJECT_UNIQUE_ID: u8 = 0x82;
const EXTENSIONS: u8 = 0xa3;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SAN_DNS: u8 = 0x82;
const SAN_IP: u8 = 0x87;

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];
const UNIT: &[u8] = &[0x55, 0x04, 0x0b];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];

impl<'a> Certificate<'a> {
    /// Parses DER. `None`: no certificate, or one that breaks the rules.
    pub fn parse(der: &'a [u8]) -> Option<Certificate<'a>> {
        if der.len() > SIZE_MAX {
            return None;
        }
        let mut outer = Der::new(der);
        let mut parts = outer.open(SEQUENCE)?;
        outer.end()?;
        let signed = parts.take(SEQUENCE)?;
        let signature_algorithm = parts.take(SEQUENCE)?;
        let signature = bits(parts.take(BIT_STRING)?)?;
        parts.end()?;

        let mut body = Der::new(signed.content);
        body.maybe(VERSION)?; // the version: the fields present show it as well
        let serial = body.take(INTEGER)?.content;
        // RFC 5280 §4.1.1.2: both signature algorithm fields must be equal.
        if body.take(SEQUENCE)?.content != signature_algorithm.content || !(1..=SERIAL_MAX).contains(&serial.len()) {
            return None;
        }
        let issuer = body.take(SEQUENCE)?;
        let mut validity = body.open(SEQUENCE)?;
        let (not_before, not_after) = (time(validity.value()?)?, time(validity.value()?)?);
        validity.end()?;
        let subject = body.take(SEQUENCE)?;
        let mut key = body.open(SEQUENCE)?;
        let key_algorithm = key.take(SEQUENCE)?.content;
        let key_bits = bits(key.take(BIT_STRING)?)?;
        key.end()?;
        body.maybe(ISSUER_UNIQUE_ID)?;
        body.maybe(SUBJECT_UNIQUE_ID)?;
        let (names, is_ca) = match body.maybe(EXTENSIONS)? {
            Some(part) => {
                let mut inner = Der::new(part.content);
                let list = inner.open(SEQUENCE)?;
                inner.end()?;
                extensions(list)?
            }
            None => (Vec::new(), false),
        };
        body.end()?;
        Some(Certificate {
            serial: pairs(serial),
            issuer: name(issuer.content)?,
            subject: name(subject.content)?,
            not_before,
            not_after,
            names,
            key: key_kind(key_algorithm, key_bits)?,
            is_ca,
            sha256: text::hex(digest::digest(&digest::SHA256, der).as_ref()),
            issuer_name: issuer.content,
            subject_name: subject.content,
            signed: signed.whole,
            signature_algorithm: signature_algorithm.content,
            signature,
            key_algorithm,
            key_bits,
        })
    }

    /// Was this one signed with the key of `issuer`?
    pub fn link(&self, issuer: &Certificate) -> Link {
        static ALGORITHMS: LazyLock<rustls::crypto::WebPkiSupportedAlgorithms> =
            LazyLock::new(|| default_provider().signature_verification_algorithms);
        if self.issuer_name != issuer.subject_name {
            return Link::OtherIssuer;
        }
        let fitting = ALGORITHMS.all.iter().filter(|a| {
            a.signature_alg_id().as_ref() == self.signature_algorithm
                && a.public_key_alg_id().as_ref() == issuer.key_algorithm
        });
        let mut link = Link::Unsupported;
        for algorithm in fitting {
            link = Link::BadSignature;
            let verified = algorithm.verify_signature(issuer.key_bits, self.signed, self.signature);
            if verified.is_ok() {
                return Link::Good;
            }
        }
        link
    }

    /// Is its issuer its own subject?
    pub fn is_self_issued(&self) -> bool {
        self.issuer_name == self.subject_name
    }
}

/// Do these names cover this one (A-labels, lower case)? A wildcard stands for the whole first label only (RFC 6125
/// §6.4.3), and never for all names of a top-level domain.
pub fn covers<S: AsRef<str>>(names: &[S], ascii_domain: &str) -> bool {
    let above = ascii_domain
        .split_once('.')
        .filter(|(label, _)| !label.is_empty())
        .map(|(_, rest)| rest);
    names
        .iter()
        .map(AsRef::as_ref)
        .any(|name| match name.strip_prefix("*.") {
            Some(rest) => rest.contains('.') && above == Some(rest),
            None => name == ascii_domain,
        })
}

/// A BIT STRING of whole bytes.
fn bits(value: Value<'_>) -> Option<&[u8]> {
    let (unused, bytes) = value.content.split_first()?;
    (*unused == 0).then_some(bytes)
}

fn pairs(bytes: &[u8]) -> String {
    let pairs: Vec<_> = bytes.iter().map(|b| format!("{b:02x}")).collect();
    pairs.join(":")
}

/// RFC 5280 §4.1.2.5: UTC, with seconds, without fractions.
fn time(value: Value) -> Option<Ms> {
    let digits = value.content.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |from: usize, to: usize| {
        let part = digits.get(from..to)?;
        Some(part.iter().fold(0, |n, b| n * 10 + i64::from(b - b'0')))
    };
    let (year, rest) = match (value.tag, digits.len()) {
        (UTC_TIME, 12) => match number(0, 2)? {
            late @ 50.. => (1900 + late, 2),
            early => (2000 + early, 2),
        },
        (GENERALIZED_TIME, 14) => (number(0, 4)?, 4),
        _ => return None,
    };
    let two = |n: usize| number(rest + 2 * n, rest + 2 * n + 2);
    let (month, day, hour, minute, second) = (two(0)?, two(1)?, two(2)?, two(3)?, two(4)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(clock::days(year, month, day)? * DAY + hour * HOUR + minute * MINUTE + second * SECOND)
}

/// A distinguished name for display: organisation and common name, without repetition.
fn name(content: &[u8]) -> Option<String> {
    let mut found: [Option<String>; 3] = [const { None }; 3];
    let mut sets = Der::new(content);
    while !sets.is_empty() {
        let mut set = sets.open(SET)?;
        while !set.is_empty() {
            let mut pair = set.open(SEQUENCE)?;
            let kind = pair.take(OID)?.content;
            let value = pair.value()?;
            let wanted = [COMMON_NAME, ORGANIZATION, UNIT].iter().position(|k| *k == kind);
            if let Some(slot) = wanted {
                found[slot] = Some(words(value)).filter(|w| !w.is_empty());
            }
        }
    }
    Some(match found {
        [Some(cn), Some(o), _] if !cn.contains(&o) => text::one_line(&format!("{o} {cn}"), NAME_MAX),
        [Some(cn), ..] => cn,
        [None, Some(o), _] => o,
        [None, None, unit] => unit.unwrap_or_default(),
    })
}

/// A string of one of the types that names are made of.
fn words(value: Value) -> String {
    const T61: u8 = 0x14;
    const BMP: u8 = 0x1e;
    let text = match value.tag {
        T61 => value.content.iter().map(|b| char::from(*b)).collect(),
        BMP => {
            let units = value.content.chunks_exact(2).map(|c| u16::from_be_bytes([c[0], c[1]]));
            char::decode_utf16(units)
                .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect()
        }
        _ => String::from_utf8_lossy(value.content).into_owned(), // UTF8String, PrintableString, IA5String
    };
    text::one_line(&text, NAME_MAX)
}

fn key_kind(algorithm: &[u8], key: &[u8]) -> Option<Key> {
    let mut parts = Der::new(algorithm);
    let kind = parts.take(OID)?.content;
    if kind == RSA {
        let mut key = Der::new(key);
        let modulus = key.open(SEQUENCE)?.take(INTEGER)?.content;
        let leading = modulus.iter().take_while(|b| **b == 0).count();
        let first = modulus.get(leading)?;
        return Some(Key::Rsa((modulus.len() - leading) * 8 - first.leading_zeros() as usize));
    }
    if kind == EC {
        let curve = parts.value()?;
        let curves = [(P256, 256), (P384, 384), (P521, 521)];
        let known = curves.iter().find(|(oid, _)| *oid == curve.content);
        return Some(known.map_or(Key::Other, |(_, size)| Key::Ecdsa(*size)));
    }
    Some(if kind == ED25519 { Key::Ed25519 } else { Key::Other })
}

/// subjectAltName and basicConstraints. An extension must not occur twice (RFC 5280 §4.2).
fn extensions(mut list: Der) -> Option<(Vec<String>, bool)> {
    let (mut names, mut is_ca) = (None, None);
    while !list.is_empty() {
        let mut extension = list.open(SEQUENCE)?;
        let kind = extension.take(OID)?.content;
        extension.maybe(BOOLEAN)?; // critical or not: what is not read here, webpki and browsers judge
        let content = extension.take(OCTET_STRING)?.content;
        extension.end()?;
        let again = match kind {
            SUBJECT_ALT_NAME => names.replace(alt_names(content)?).is_some(),
            BASIC_CONSTRAINTS => is_ca.replace(may_sign(content)?).is_some(),
            _ => false,
        };
        if again {
            return None;
        }
    }
    Some((names.unwrap_or_default(), is_ca.unwrap_or(false)))
}

fn alt_names(content: &[u8]) -> Option<Vec<String>> {
    let mut outer = Der::new(content);
    let mut list = outer.open(SEQUENCE)?;
    outer.end()?;
    let (mut names, mut addresses) = (Vec::new(), Vec::new());
    while !list.is_empty() {
        let value = list.value()?;
        match value.tag {
            SAN_DNS => names.extend(dns_name(value.content)),
            SAN_IP => addresses.extend(address(value.content)),
            _ => {} // mail addresses, URIs: no server's name
        }
        if names.len() + addresses.len() > NAMES_MAX {
            return None;
        }
    }
    names.extend(addresses);
    Some(names)
}

/// A possible DNS name. Others (with a NUL, a space) never match, so they are skipped.
fn dns_name(content: &[u8]) -> Option<String> {
    let good = |b: &u8| b.is_ascii_alphanumeric() || b"-._*".contains(b);
    let text = std::str::from_utf8(content).ok()?;
    (content.iter().all(good) && (1..=255).contains(&content.len())).then(|| text.to_ascii_lowercase())
}

fn address(content: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(content).map(IpAddr::from);
    let ip = v4.or_else(|_| <[u8; 16]>::try_from(content).map(IpAddr::from)).ok()?;
    Some(ip.to_string())
}

fn may_sign(content: &[u8]) -> Option<bool> {
    let mut outer = Der::new(content);
    let mut parts = outer.open(SEQUENCE)?;
    outer.end()?;
    Some(parts.maybe(BOOLEAN)?.is_some_and(|b| b.content == [0xff]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tag: u8, text: &str) -> Option<String> {
        let value = Value {
            tag,
            content: text.as_bytes(),
            whole: &[],
        };
        time(value).map(clock::rfc3339)
    }

    #[test]
    fn times_are_read_as_rfc_5280_writes_them() {
        for (tag, text, read) in [
            (UTC_TIME, "261121102526Z", "2026-11-21T10:25:26.000Z"),
            (UTC_TIME, "500101000000Z", "1950-01-01T00:00:00.000Z"),
            (UTC_TIME, "491231235959Z", "2049-12-31T23:59:59.000Z"),
            (GENERALIZED_TIME, "20500101000000Z", "2050-01-01T00:00:00.000Z"),
            (GENERALIZED_TIME, "99991231235959Z", "9999-12-31T23:59:59.000Z"),
            (UTC_TIME, "240229000000Z", "2024-02-29T00:00:00.000Z"),
        ] {
            assert_eq!(at(tag, text).as_deref(), Some(read));
        }
        for (tag, bad) in [
            (UTC_TIME, "2611211025Z"),       // no seconds
            (UTC_TIME, "261121102526+0000"), // not UTC
            (UTC_TIME, "230229000000Z"),     // no such day
            (UTC_TIME, "261321000000Z"),     // no such month
            (UTC_TIME, "260021000000Z"),
            (UTC_TIME, "261100000000Z"),
            (UTC_TIME, "261121240000Z"),
            (UTC_TIME, "261121106000Z"),
            (GENERALIZED_TIME, "20261121102526.5Z"),
            (GENERALIZED_TIME, "261121102526Z"),
            (UTC_TIME, ""),
            (UTC_TIME, "-61121102526Z"),
        ] {
            assert_eq!(at(tag, bad), None, "{bad}");
        }
    }

    #[test]
    fn a_star_is_one_whole_label() {
        let names = ["shop.example", "*.tern.example", "*.co", "192.0.2.7"];
        for good in [
            "shop.example",
            "a.tern.example",
            "xn--e1afmkfd.tern.example",
            "192.0.2.7",
        ] {
            assert!(covers(&names, good), "{good}");
        }
        for bad in [
            "www.shop.example",
            "tern.example",
            "a.b.tern.example",
            ".tern.example",
            "a.co",
            "co",
            "atern.example",
            "",
        ] {
            assert!(!covers(&names, bad), "{bad}");
        }
        assert!(!covers(&["f*.example.org", "*"], "foo.example.org"));
    }
}
