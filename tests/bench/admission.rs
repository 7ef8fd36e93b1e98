//! What it costs to come in: the TLS handshake with a page behind it, and the guard of a request. Prints figures, judges
//! nothing. `cargo bench --bench admission`

#[path = "../common/mod.rs"]
mod common;

use common::{House, Processes};
use lamplighter::access::Right;
use lamplighter::access::right::{Read, Servers, may};
use lamplighter::app::App;
use lamplighter::base::config::Config;
use lamplighter::daemon::{FEATURES, registry};
use lamplighter::http::admission::Admission;
use lamplighter::http::guard;
use lamplighter::http::request::{Method, Request};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::io::{Read as _, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

const HANDSHAKES: usize = 500;
const REQUESTS: usize = 20_000;

fn main() {
    // `cargo test --all-targets` starts benches, too: nothing to print there.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let mut house = House::with(Processes::ApiOnly, &[]);
    let answer = house.sign_in(common::ADMIN, &house.password);
    let (name, cookie) = answer.cookie();
    let token = answer.json()["access_token"].as_str().unwrap().to_string();
    let way = |name: &str, value: String| vec![(name.to_string(), value)];
    guards(&house, "session", way("cookie", format!("{name}={cookie}")));
    guards(&house, "token", way("authorization", format!("Bearer {token}")));
    let program = serde_json::json!({ "name": "bench", "role": "operator", "cidrs": ["127.0.0.0/8"] });
    let program = house.admin().post("/api/tokens", &program).is(201)["token"].clone();
    let program = program.as_str().unwrap();
    guards(&house, "API token", way("authorization", format!("Bearer {program}")));
    house.stop();
    house.set_env("LAMPLIGHTER_TLS", "1");
    house.start();
    for again in [false, true] {
        handshakes(&house, again);
    }
}

/// Who asks, whether they may, and how often: as the server does it for every request.
fn guards(house: &House, what: &str, headers: Vec<(String, String)>) {
    let config = Config::load(&[("DATA_DIR", house.dir().into())], None, &Default::default()).unwrap();
    let app = App::open(config, Arc::new(registry(FEATURES))).unwrap();
    let admission = Admission::new(app.db.clone()).unwrap();
    let request = Request {
        method: Method::Get,
        segments: vec!["api".into(), "servers".into()],
        query: Vec::new(),
        headers,
        body: Vec::new(),
        upload: None,
        ip: "127.0.0.1".into(),
        local: true,
        tls: false,
        is_listed_origin: false,
        id: "r".into(),
        client_id: String::new(),
        control: None,
    };
    let right: Right = may(Read, Servers);
    let mut times = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let began = Instant::now();
        let policy = admission.policy();
        assert!(policy.lets_in([127, 0, 0, 1].into()));
        let actor = guard::authenticate(&app, &request, right).unwrap().expect("somebody");
        guard::count(&admission, &request, true).unwrap();
        assert!(actor.role().may(right));
        times.push(began.elapsed());
    }
    print(&format!("guard of a request by {what}"), times);
}

/// Connects, shakes hands and gets the sign-in page; `again` with the ticket of the time before.
fn handshakes(house: &House, again: bool) {
    let pem = std::fs::read(house.folder.path().join("tls.pem")).unwrap();
    let config = || {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Arc::new(config.unwrap().with_root_certificates(roots).with_no_client_auth())
    };
    let kept = config();
    let times = (0..HANDSHAKES)
        .map(|_| {
            let config = if again { kept.clone() } else { config() };
            let began = Instant::now();
            page(house.address, config);
            began.elapsed()
        })
        .collect();
    let how = if again { "with a ticket" } else { "in full" };
    print(&format!("TLS handshake {how} and the sign-in page"), times);
}

fn page(at: SocketAddr, config: Arc<rustls::ClientConfig>) {
    let socket = TcpStream::connect(at).unwrap();
    socket.set_nodelay(true).unwrap();
    let client = rustls::ClientConnection::new(config, at.ip().into()).unwrap();
    let mut stream = rustls::StreamOwned::new(client, socket);
    stream
        .write_all(b"GET /login HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    let said = String::from_utf8(said).unwrap();
    assert!(said.starts_with("HTTP/1.1 200 ") && said.contains("</html>"), "{said}");
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let n = times.len();
    println!(
        "{what}: p50 {:?}, p99 {:?} ({n} times)",
        times[n / 2],
        times[n * 99 / 100]
    );
}
