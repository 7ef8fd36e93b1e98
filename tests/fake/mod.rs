//! A server that answers as a test tells it to: one thread a connection, plain or TLS with the certificate in
//! `tests/data/tls`.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod dns;
pub mod engine;
pub mod marzban;
pub mod proxy;
pub mod receiver;
pub mod smtp;
pub mod syslog;
pub mod telegram;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What `openssl x509 -fingerprint -sha256` says of `tests/data/tls/selfsigned.crt`.
pub const FINGERPRINT: &str =
    "6D:A8:AF:02:37:1E:F7:7F:83:34:F7:78:E7:14:0A:C6:90:0C:64:B6:21:29:8D:C4:20:B5:11:DB:01:91:5E:49";

/// A file of `tests/data`.
pub fn data(path: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// TLS with the certificate of `tests/data/tls`.
pub fn tls_config() -> Arc<rustls::ServerConfig> {
    let chain = vec![CertificateDer::from_pem_slice(&data("tls/selfsigned.crt")).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(&data("tls/selfsigned.key")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Arc::new(config)
}

/// The other end of a connection.
pub trait Peer: Read + Write {}
impl<T: Read + Write> Peer for T {}

/// The server; it ends when dropped.
pub struct Fake {
    pub port: u16,
    seen: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

type Answer = dyn Fn(&str, &mut dyn Peer) + Send + Sync;

impl Fake {
    /// Answers each request (its head as text) by writing to the peer; the connection is closed afterwards.
    pub fn new(answer: impl Fn(&str, &mut dyn Peer) + Send + Sync + 'static) -> Fake {
        Fake::start("127.0.0.1:0", None, Arc::new(answer))
    }

    /// The same on all addresses of the machine (or of the network namespace that the calling thread is in).
    pub fn everywhere(answer: impl Fn(&str, &mut dyn Peer) + Send + Sync + 'static) -> Fake {
        Fake::start("0.0.0.0:0", None, Arc::new(answer))
    }

    /// The same behind TLS.
    pub fn tls(answer: impl Fn(&str, &mut dyn Peer) + Send + Sync + 'static) -> Fake {
        Fake::start("127.0.0.1:0", Some(tls_config()), Arc::new(answer))
    }

    fn start(at: &str, tls: Option<Arc<rustls::ServerConfig>>, answer: Arc<Answer>) -> Fake {
        let listener = TcpListener::bind(at).unwrap();
        let fake = Fake {
            port: listener.local_addr().unwrap().port(),
            seen: Arc::default(),
            stop: Arc::default(),
        };
        let (seen, stop) = (fake.seen.clone(), fake.stop.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (client, tls, answer, seen) = (client.unwrap(), tls.clone(), answer.clone(), seen.clone());
                std::thread::spawn(move || {
                    let _ = client.set_read_timeout(Some(Duration::from_secs(30)));
                    let _ = client.set_nodelay(true);
                    match tls {
                        None => serve(&mut &client, &seen, &*answer),
                        Some(config) => {
                            let session = rustls::ServerConnection::new(config).unwrap();
                            let mut stream = rustls::StreamOwned::new(session, client.try_clone().unwrap());
                            serve(&mut stream, &seen, &*answer);
                            if !stream.conn.is_handshaking() {
                                stream.conn.send_close_notify();
                                let _ = stream.flush();
                            }
                        }
                    }
                    let _ = client.shutdown(Shutdown::Write);
                });
            }
        });
        fake
    }

    /// The heads of all requests so far.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port)); // wakes accept
    }
}

fn serve(peer: &mut dyn Peer, seen: &Mutex<Vec<String>>, answer: &Answer) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match peer.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    seen.lock().unwrap().push(head.clone());
    answer(&head, peer);
}

/// A whole answer with `Content-Length`.
pub fn http(status: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    out.extend_from_slice(body);
    out
}

/// Writes until the other end has had enough.
pub fn endless(peer: &mut dyn Peer, piece: &[u8], pause: Duration) {
    while peer.write_all(piece).and_then(|()| peer.flush()).is_ok() {
        std::thread::sleep(pause);
    }
}
