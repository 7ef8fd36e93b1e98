//! The daemon speaks https: with a certificate that it makes itself, or with files that may change while it runs. The clients
//! are curl and openssl, as people have them.

use crate::common;

use common::*;
use lamplighter::base::clock::{self, DAY};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

/// The status, the headers and the body that curl gets.
#[track_caller]
fn curl(args: &[&str]) -> (String, String) {
    let args = [
        &[
            "--silent",
            "--show-error",
            "--noproxy",
            "*",
            "--max-time",
            "60",
            "--include",
        ],
        args,
    ]
    .concat();
    let said = Command::new("curl").args(&args).output().expect("curl is there");
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.status.success(),
        "curl {args:?}: {}",
        String::from_utf8_lossy(&said.stderr)
    );
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
    (head.to_ascii_lowercase(), body.into())
}

/// Does curl, trusting this certificate alone, take what is shown?
fn trusts(pem: &Path, url: &str) -> bool {
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--noproxy",
        "*",
        "--max-time",
        "60",
        "--output",
        "/dev/null",
        "--cacert",
    ]);
    curl.arg(pem).arg(url).status().unwrap().success()
}

fn tool(house: &House, args: &[&str]) -> String {
    let mut command = lamplighter(&[args, &["--data-dir", house.dir()]].concat());
    command.env("LAMPLIGHTER_TLS", "1");
    let output = finish(command, "");
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

fn openssl(args: &[&str]) -> String {
    let output = Command::new("openssl").args(args).stdin(Stdio::null()).output();
    let output = output.expect("openssl, see tests/run");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_first_start_makes_a_certificate_that_the_next_ones_keep() {
    let mut house = House::empty(Processes::ApiOnly, &[("LAMPLIGHTER_TLS", "1")]);
    house.password = house.account(ADMIN, "admin");
    let mut early = lamplighter(&["tls-certificate", "--data-dir", house.dir()]);
    early.env("LAMPLIGHTER_TLS", "1");
    let early = finish(early, "");
    assert!(
        said(&early).contains("is made when the web server starts"),
        "{}",
        said(&early)
    );
    house.start();
    let file = house.folder.path().join("tls.pem");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    let (port, url) = (house.address.port(), format!("https://{}", house.address));
    let pem = house
        .folder
        .file("shown.pem", tool(&house, &["tls-certificate", "--pem"]));
    assert!(!fs::read_to_string(&pem).unwrap().contains("PRIVATE"));
    for name in ["127.0.0.1", "localhost"] {
        assert!(trusts(&pem, &format!("https://{name}:{port}/healthz")), "{name}");
    }
    // The fingerprint is told at the start, by the command, and is that of what is shown.
    let told: serde_json::Value = serde_json::from_str(&tool(&house, &["tls-certificate", "--json"])).unwrap();
    let sha256 = told["sha256"].as_str().unwrap();
    assert!(house.said().contains(&format!("sha256={sha256}")), "{}", house.said());
    assert_eq!(told["own"], true);
    let shown = openssl(&[
        "s_client",
        "-connect",
        &house.address.to_string(),
        "-alpn",
        "h2,http/1.1",
    ]);
    assert!(shown.contains("ALPN protocol: http/1.1"), "{shown}");
    let leaf = house.folder.file("leaf.pem", shown);
    let leaf = leaf.to_str().unwrap();
    let print = openssl(&["x509", "-noout", "-fingerprint", "-sha256", "-in", leaf]);
    assert!(print.trim().ends_with(sha256), "{print} {sha256}");
    let all = openssl(&["verify", "-purpose", "sslserver", "-CAfile", leaf, leaf]);
    assert!(all.contains(": OK"), "{all}");
    let old = openssl(&["s_client", "-tls1_1", "-connect", &house.address.to_string()]);
    assert!(!old.contains("Cipher is ECDHE"), "{old}");
    // A browser gets its cookie bound to TLS; nobody is told to insist on a certificate like this one.
    let form = format!("login={ADMIN}&password={}", house.password);
    let ask = [
        "--cacert",
        pem.to_str().unwrap(),
        "--data",
        &form,
        &format!("{url}/login"),
    ];
    let (head, _) = curl(&ask);
    assert!(head.starts_with("http/1.1 303"), "{head}");
    let cookie = head
        .lines()
        .find(|line| line.starts_with("set-cookie: __host-lamplighter="))
        .expect(&head);
    for part in ["; secure", "; httponly", "; samesite=strict", "; path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!head.contains("strict-transport-security"), "{head}");
    // Plain http at the same port leads there, and says nothing of its own.
    let (head, body) = curl(&[&format!("http://{}/servers?q=a", house.address)]);
    assert!(head.starts_with("http/1.1 308"), "{head}");
    assert!(head.contains(&format!("location: {url}/servers?q=a")), "{head}");
    assert_eq!(body, "");
    // The command that asks the daemon trusts just this certificate.
    let mut health = lamplighter(&[
        "health",
        "--data-dir",
        house.dir(),
        "--listen",
        &house.address.to_string(),
    ]);
    health.env("LAMPLIGHTER_TLS", "1");
    assert_eq!(finish(health, "").status.code(), Some(0));
    house.stop();
    house.start();
    assert!(
        trusts(&pem, &format!("{url}/healthz")),
        "the same certificate after a restart"
    );
    // With another name in its settings it makes another one of the same key, and nothing else of it is in the data folder.
    let before = fs::read_to_string(&file).unwrap();
    house.stop();
    house.set_env("LAMPLIGHTER_ALLOWED_HOSTS", "lamp.example");
    house.start();
    let after = fs::read_to_string(&file).unwrap();
    let key = |text: &str| text.split("-----END PRIVATE KEY").next().unwrap().to_string();
    assert!(before != after && key(&before) == key(&after));
    let told = tool(&house, &["tls-certificate"]);
    assert!(told.contains("lamp.example"), "{told}");
}

#[test]
fn files_that_change_are_taken_up_and_open_connections_stay() {
    let folder = Folder::new();
    let authority = crate::ca::Authority::root("A Test Root");
    let issue = |names: &[&str]| {
        let issued = authority.issue(names, clock::now() - DAY, clock::now() + 90 * DAY);
        (issued.pem(), issued.key_pem())
    };
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let write = |(chain, secret): &(String, String)| {
        fs::write(&cert, chain).unwrap();
        fs::write(&key, secret).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write(&issue(&["old.example"]));
    let env = [
        ("LAMPLIGHTER_TLS_CERT_FILE", cert.to_str().unwrap()),
        ("LAMPLIGHTER_TLS_KEY_FILE", key.to_str().unwrap()),
        ("LAMPLIGHTER_REDIRECT_LISTEN", "127.0.0.1:0"),
    ];
    let mut house = House::empty(Processes::ApiOnly, &env);
    house.password = house.account(ADMIN, "admin");
    house.start();
    let root = folder.file("root.pem", authority.pem());
    let port = house.address.port();
    let to = |name: &str| format!("{name}:{port}:127.0.0.1");
    let ask = |name: &str, path: &str| {
        let (root, to, url) = (root.to_str().unwrap(), to(name), format!("https://{name}:{port}{path}"));
        curl(&["--cacert", root, "--resolve", &to, "--header", "Host: localhost", &url])
    };
    let (head, _) = ask("old.example", "/healthz");
    assert!(head.contains("strict-transport-security: max-age=31536000"), "{head}");

    // A stream over TLS that is open all the while.
    let token = format!(r#"{{"login":"{ADMIN}","password":"{}"}}"#, house.password);
    let login = [
        "--cacert",
        root.to_str().unwrap(),
        "--resolve",
        &to("old.example"),
        "--json",
        &token,
        "--header",
        "Host: localhost",
        &format!("https://old.example:{port}/api/auth/login"),
    ];
    let (_, body) = curl(&login);
    let token: serde_json::Value = serde_json::from_str(&body).unwrap();
    let token = house.canary(token["access_token"].as_str().unwrap());
    let mut stream = Command::new("curl")
        .args([
            "--silent",
            "--no-buffer",
            "--noproxy",
            "*",
            "--cacert",
            root.to_str().unwrap(),
        ])
        .args(["--resolve", &to("old.example"), "--header", "Host: localhost"])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .arg(format!("https://old.example:{port}/api/events/stream"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(stream.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "event: beat"));

    // Half of the change is there: the old certificate stays.
    let fresh = issue(&["new.example"]);
    fs::write(&cert, &fresh.0).unwrap();
    eventually("it says so", || {
        house.said().contains("the new certificate is not taken").then_some(())
    });
    ask("old.example", "/healthz");
    write(&fresh);
    let shown = "a new certificate of the web server is shown";
    eventually("it is taken", || house.said().contains(shown).then_some(()));
    ask("new.example", "/healthz");
    let bearer = format!("Authorization: Bearer {token}");
    let (root, way) = (root.to_str().unwrap(), to("new.example"));
    let api = |path: &str, more: &[&str]| {
        let url = format!("https://new.example:{port}{path}");
        let args = [
            "--cacert",
            root,
            "--resolve",
            &way,
            "--header",
            "Host: localhost",
            "--header",
            &bearer,
            &url,
        ];
        curl(&[&args[..], more].concat()).0
    };
    let made = api("/api/groups", &["--json", r#"{"name":"later"}"#]);
    assert!(made.starts_with("http/1.1 201"), "{made}");
    let mut rest = lines.map(Result::unwrap);
    assert!(
        rest.any(|line| line.starts_with("data: ") && line.contains("group.")),
        "the stream goes on"
    );
    let _ = stream.kill();
    let _ = stream.wait();

    // The setting takes it back, and the other port leads here.
    let set = |value: &str| {
        let body = format!(r#"{{"web.hsts_days":{value}}}"#);
        api("/api/settings", &["--request", "PUT", "--json", &body])
    };
    assert!(set("0").starts_with("http/1.1 200"));
    assert!(api("/healthz", &[]).contains("strict-transport-security: max-age=0"));
    assert!(set("800").starts_with("http/1.1 422"));
    let mut config = lamplighter(&["check-config", "--data-dir", house.dir()]);
    config.envs(env);
    let config = finish(config, "");
    assert!(
        said(&config).contains("redirect_listen: 127.0.0.1:0"),
        "{}",
        said(&config)
    );
}
