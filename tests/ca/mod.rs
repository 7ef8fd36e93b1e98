//! An authority of a test's own: certificates of chosen names and dates in a few microseconds, and servers that show them.
#![allow(dead_code, reason = "each test file uses a part of it")]

use lamplighter::base::clock::{self, DAY, HOUR, MINUTE, Ms, SECOND};
use lamplighter::base::der::write as tlv;
use lamplighter::base::pem;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A certificate with its key. An [`Authority`] is one that may sign others.
pub struct Authority {
    name: String,
    key: EcdsaKeyPair,
    pub der: Vec<u8>,
}

/// What an authority has made.
#[derive(Clone)]
pub struct Issued {
    pub der: Vec<u8>,
    /// Of those above it, without the top.
    pub between: Vec<Vec<u8>>,
    pub pkcs8: Vec<u8>,
}

impl Issued {
    pub fn pem(&self) -> String {
        let all = [&self.der].into_iter().chain(&self.between);
        all.map(|der| pem::write("CERTIFICATE", der)).collect()
    }

    pub fn key_pem(&self) -> String {
        pem::write("PRIVATE KEY", &self.pkcs8)
    }
}

static SERIAL: AtomicU64 = AtomicU64::new(0x4a00_0000_0000_0001);

fn new_key() -> (Vec<u8>, EcdsaKeyPair) {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
    (pkcs8.as_ref().to_vec(), key)
}

impl Authority {
    /// Signed by itself, valid for years around now.
    pub fn root(name: &str) -> Authority {
        Authority::root_until(name, clock::now() + 4_000 * DAY)
    }

    pub fn root_until(name: &str, end: Ms) -> Authority {
        let (_, key) = new_key();
        let dates = (clock::now() - 400 * DAY, end);
        let der = certificate(name, &key, name, key.public_key().as_ref(), dates, &[ca()]);
        Authority {
            name: name.into(),
            key,
            der,
        }
    }

    /// An authority below this one.
    pub fn below(&self, name: &str) -> Authority {
        self.below_until(name, clock::now() + 3_000 * DAY)
    }

    pub fn below_until(&self, name: &str, end: Ms) -> Authority {
        let (_, key) = new_key();
        let dates = (clock::now() - 300 * DAY, end);
        let der = certificate(&self.name, &self.key, name, key.public_key().as_ref(), dates, &[ca()]);
        Authority {
            name: name.into(),
            key,
            der,
        }
    }

    /// Another certificate for that authority's key, signed by this one (DER).
    pub fn cross(&self, other: &Authority, end: Ms) -> Vec<u8> {
        let public = other.key.public_key().as_ref();
        let dates = (clock::now() - 300 * DAY, end);
        certificate(&self.name, &self.key, &other.name, public, dates, &[ca()])
    }

    pub fn pem(&self) -> String {
        pem::write("CERTIFICATE", &self.der)
    }

    /// For these DNS names, valid in these dates (unix ms, whole seconds count).
    pub fn issue(&self, names: &[&str], from: Ms, to: Ms) -> Issued {
        let (pkcs8, key) = new_key();
        let list: Vec<u8> = names.iter().flat_map(|n| tlv(0x82, n.as_bytes())).collect();
        let names_extension = extension(&[0x55, 0x1d, 0x11], &tlv(0x30, &list));
        let public = key.public_key().as_ref();
        let der = certificate(&self.name, &self.key, names[0], public, (from, to), &[names_extension]);
        Issued {
            der,
            between: Vec::new(),
            pkcs8,
        }
    }

    /// The same, with this authority's own certificate beside it.
    pub fn issue_chain(&self, names: &[&str], from: Ms, to: Ms) -> Issued {
        Issued {
            between: vec![self.der.clone()],
            ..self.issue(names, from, to)
        }
    }
}

fn extension(oid: &[u8], content: &[u8]) -> Vec<u8> {
    tlv(0x30, &[tlv(6, oid), tlv(4, content)].concat())
}

/// basicConstraints: CA.
fn ca() -> Vec<u8> {
    extension(&[0x55, 0x1d, 0x13], &tlv(0x30, &[1, 1, 0xff]))
}

fn name(cn: &str) -> Vec<u8> {
    let pair = [tlv(6, &[0x55, 0x04, 0x03]), tlv(0x0c, cn.as_bytes())].concat();
    tlv(0x30, &tlv(0x31, &tlv(0x30, &pair)))
}

/// GeneralizedTime from 2050 on, UTCTime before (RFC 5280 §4.1.2.5).
fn time(at: Ms) -> Vec<u8> {
    let (y, m, d) = clock::civil(at.div_euclid(DAY));
    let rest = at.rem_euclid(DAY);
    let (h, min, s) = (rest / HOUR, rest % HOUR / MINUTE, rest % MINUTE / SECOND);
    match y {
        1950..2050 => tlv(
            0x17,
            format!("{:02}{m:02}{d:02}{h:02}{min:02}{s:02}Z", y % 100).as_bytes(),
        ),
        _ => tlv(0x18, format!("{y:04}{m:02}{d:02}{h:02}{min:02}{s:02}Z").as_bytes()),
    }
}

fn certificate(
    issuer: &str,
    signer: &EcdsaKeyPair,
    subject: &str,
    public: &[u8],
    (from, to): (Ms, Ms),
    extensions: &[Vec<u8>],
) -> Vec<u8> {
    let ecdsa_sha256 = tlv(0x30, &tlv(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]));
    let p256 = [
        tlv(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01]),
        tlv(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]),
    ]
    .concat();
    let bits = |bytes: &[u8]| tlv(3, &[&[0], bytes].concat());
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let body = [
        tlv(0xa0, &tlv(2, &[2])),
        tlv(2, &serial),
        ecdsa_sha256.clone(),
        name(issuer),
        tlv(0x30, &[time(from), time(to)].concat()),
        name(subject),
        tlv(0x30, &[tlv(0x30, &p256), bits(public)].concat()),
        tlv(0xa3, &tlv(0x30, &extensions.concat())),
    ]
    .concat();
    let body = tlv(0x30, &body);
    let signature = signer.sign(&SystemRandom::new(), &body).unwrap();
    tlv(0x30, &[body, ecdsa_sha256, bits(signature.as_ref())].concat())
}

/// A server that shows a certificate for each name it is asked for, and counts what is said to it afterwards.
pub struct Shop {
    pub port: u16,
    shown: Arc<Shelf>,
    stop: Arc<AtomicBool>,
    /// Handshakes that came to their end.
    pub visits: Arc<AtomicUsize>,
    /// Bytes that visitors sent after the handshake.
    pub said: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Shelf(Mutex<HashMap<String, Arc<CertifiedKey>>>);

impl ResolvesServerCert for Shelf {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.lock().unwrap().get(hello.server_name()?).cloned()
    }
}

impl Shop {
    /// On a port of its own, or on 443 of this loopback address.
    pub fn open(at: &str) -> Shop {
        let listener = TcpListener::bind(at).unwrap_or_else(|e| panic!("{at}: {e}"));
        let shop = Shop {
            port: listener.local_addr().unwrap().port(),
            shown: Arc::default(),
            stop: Arc::default(),
            visits: Arc::default(),
            said: Arc::default(),
        };
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(shop.shown.clone());
        let config = Arc::new(config);
        let (stop, visits, said) = (shop.stop.clone(), shop.visits.clone(), shop.said.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (config, visits, said) = (config.clone(), visits.clone(), said.clone());
                let client = client.unwrap();
                std::thread::spawn(move || serve(client, config, &visits, &said));
            }
        });
        shop
    }

    pub fn show(&self, name: &str, issued: &Issued) {
        let chain = [&issued.der].into_iter().chain(&issued.between);
        let chain = chain.map(|der| CertificateDer::from(der.clone())).collect();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(issued.pkcs8.clone()));
        let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
        let shown = Arc::new(CertifiedKey::new(chain, key));
        self.shown.0.lock().unwrap().insert(name.into(), shown);
    }

    /// From now on nobody gets a certificate for this name.
    pub fn hide(&self, name: &str) {
        self.shown.0.lock().unwrap().remove(name);
    }
}

fn serve(client: TcpStream, config: Arc<rustls::ServerConfig>, visits: &AtomicUsize, said: &AtomicUsize) {
    let _ = client.set_read_timeout(Some(Duration::from_secs(20)));
    let mut session = rustls::ServerConnection::new(config).unwrap();
    let mut client = client;
    while session.is_handshaking() {
        if session.complete_io(&mut client).is_err() {
            return;
        }
    }
    visits.fetch_add(1, Ordering::SeqCst);
    let mut rest = Vec::new();
    let _ = rustls::Stream::new(&mut session, &mut client).read_to_end(&mut rest);
    said.fetch_add(rest.len(), Ordering::SeqCst);
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port)); // wakes accept
    }
}
