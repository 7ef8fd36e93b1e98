//! A certificate that signs itself, for a server that nobody has given one yet (RFC 5280, RFC 5480): ECDSA on P-256, its
//! names and addresses in subjectAltName, no authority. Who trusts it does so by its fingerprint.

use crate::base::clock::{self, DAY, HOUR, MINUTE, Ms, SECOND};
use crate::base::der::{BIT_STRING, BOOLEAN, INTEGER, OCTET_STRING, OID, SEQUENCE, SET, write};
use crate::base::error::{Error, Result};
use crate::base::host::Host;
use crate::base::secret::Secret;
use crate::base::{pem, random};
use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use std::net::IpAddr;

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 0x0e];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
const EC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const UTF8: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SAN_DNS: u8 = 0x82;
const SAN_IP: u8 = 0x87;

/// Longest common name (RFC 5280, appendix A.1); subjectAltName has no such bound.
const COMMON_NAME_MAX: usize = 64;

/// A new private key (PKCS #8, DER).
pub fn new_key() -> Result<Secret> {
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new());
    Ok(Secret::new(made.map_err(Error::internal)?.as_ref()))
}

/// A certificate of this key (PKCS #8, DER; P-256) for these names, valid from and to these moments: PEM.
pub fn sign(key: &Secret, names: &[Host], from: Ms, to: Ms) -> Result<String> {
    let random = SystemRandom::new();
    let der = key.reveal_for("signing our own certificate");
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der, &random).map_err(Error::internal)?;
    let body = body(key.public_key().as_ref(), names, from, to);
    let signature = key.sign(&random, &body).map_err(Error::internal)?;
    let whole = sequence(&[&body, &algorithm(&[ECDSA_SHA256]), &bits(signature.as_ref())]);
    Ok(pem::write("CERTIFICATE", &whole))
}

/// What is signed (RFC 5280 §4.1, TBSCertificate).
fn body(public: &[u8], names: &[Host], from: Ms, to: Ms) -> Vec<u8> {
    let mut serial = random::bytes::<16>();
    serial[0] = serial[0] & 0x7f | 0x40; // positive, and never shorter
    let name = distinguished(names);
    sequence(&[
        &write(VERSION, &write(INTEGER, &[2])),
        &write(INTEGER, &serial),
        &algorithm(&[ECDSA_SHA256]),
        &name,
        &sequence(&[&time(from), &time(to)]),
        &name,
        &sequence(&[&algorithm(&[EC_KEY, P256]), &bits(public)]),
        &write(EXTENSIONS, &extensions(public, names)),
    ])
}

fn extensions(public: &[u8], names: &[Host]) -> Vec<u8> {
    let names: Vec<u8> = names.iter().flat_map(alt_name).collect();
    // RFC 7093 §2: the leftmost 160 bits of the SHA-256 of the key.
    let key_id = digest::digest(&digest::SHA256, public);
    sequence(&[
        &extension(SUBJECT_ALT_NAME, false, &write(SEQUENCE, &names)),
        &extension(BASIC_CONSTRAINTS, true, &sequence(&[])), // signs no others
        &extension(KEY_USAGE, true, &write(BIT_STRING, &[7, 0x80])), // digitalSignature
        &extension(EXTENDED_KEY_USAGE, false, &sequence(&[&write(OID, SERVER_AUTH)])),
        &extension(SUBJECT_KEY_ID, false, &write(OCTET_STRING, &key_id.as_ref()[..20])),
    ])
}

fn alt_name(host: &Host) -> Vec<u8> {
    match host.ip() {
        Some(IpAddr::V4(ip)) => write(SAN_IP, &ip.octets()),
        Some(IpAddr::V6(ip)) => write(SAN_IP, &ip.octets()),
        None => write(SAN_DNS, host.as_str().as_bytes()),
    }
}

/// The first name that fits, as issuer and subject alike.
fn distinguished(names: &[Host]) -> Vec<u8> {
    let fits = names.iter().find(|host| host.as_str().len() <= COMMON_NAME_MAX);
    let name = fits.map_or("Lamplighter", Host::as_str);
    let pair = sequence(&[&write(OID, COMMON_NAME), &write(UTF8, name.as_bytes())]);
    write(SEQUENCE, &write(SET, &pair))
}

fn extension(oid: &[u8], critical: bool, content: &[u8]) -> Vec<u8> {
    let critical = if critical { write(BOOLEAN, &[0xff]) } else { Vec::new() };
    sequence(&[&write(OID, oid), &critical, &write(OCTET_STRING, content)])
}

fn algorithm(oids: &[&[u8]]) -> Vec<u8> {
    let oids: Vec<u8> = oids.iter().flat_map(|oid| write(OID, oid)).collect();
    write(SEQUENCE, &oids)
}

/// A BIT STRING of whole bytes.
fn bits(bytes: &[u8]) -> Vec<u8> {
    write(BIT_STRING, &[&[0], bytes].concat())
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    write(SEQUENCE, &parts.concat())
}

/// RFC 5280 §4.1.2.5: two digits of the year before 2050, four from then on.
fn time(at: Ms) -> Vec<u8> {
    let (y, m, d) = clock::civil(at.div_euclid(DAY));
    let rest = at.rem_euclid(DAY);
    let (h, min, s) = (rest / HOUR, rest % HOUR / MINUTE, rest % MINUTE / SECOND);
    let behind = format!("{m:02}{d:02}{h:02}{min:02}{s:02}Z");
    match y {
        1950..2050 => write(UTC_TIME, format!("{:02}{behind}", y % 100).as_bytes()),
        _ => write(GENERALIZED_TIME, format!("{y:04}{behind}").as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::x509::{Certificate, Key, Link};

    #[test]
    fn it_is_a_certificate_for_its_names_signed_by_itself() {
        let names = ["lamp.example", "10.0.0.5", "2001:db8::7"].map(|name| Host::parse(name).unwrap());
        let (from, to) = (1_700_000_000_000, 2_900_000_000_000); // to 2061: both forms of time
        let text = sign(&new_key().unwrap(), &names, from, to).unwrap();
        let block = pem::blocks(&text, 1).unwrap().remove(0);
        let read = Certificate::parse(block.der.reveal_for("a test")).unwrap();
        assert_eq!(read.names, ["lamp.example", "10.0.0.5", "2001:db8::7"]);
        assert_eq!((&*read.subject, &*read.issuer), ("lamp.example", "lamp.example"));
        assert_eq!((read.not_before, read.not_after), (from, to));
        assert_eq!(
            (read.key, read.is_ca, read.link(&read)),
            (Key::Ecdsa(256), false, Link::Good)
        );
        assert_eq!(read.serial.len(), 16 * 3 - 1);
    }
}
