//! The web server's certificate: from configured files, or self-made at the first start and renewed before its end.
//! Changed files are loaded without a restart; unusable ones are logged, and the old certificate stays.

use crate::app::App;
use crate::base::clock::{self, DAY, Duration, HOUR, Ms};
use crate::base::config::TlsFiles;
use crate::base::error::{Error, Kind, Result};
use crate::base::host::{self, Host};
use crate::base::secret::Secret;
use crate::base::url::Url;
use crate::base::{file, log, pem, sys, text};
use crate::http::edge::{Tls, tls_config};
use crate::net::own_certificate;
use crate::net::tls::Pin;
use crate::net::x509::Certificate;
use crate::settings::SITE_PUBLIC_URL;
use rustls::ServerConfig;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

/// Lifetime of a self-made certificate: the maximum that browsers accept of public ones.
const LIFE: Ms = 397 * DAY;
/// Remaining time at which a self-made certificate is renewed.
const RENEW_BEFORE: Ms = 30 * DAY;
/// Tolerance for clients' clocks.
const BACKDATED: Ms = HOUR;
/// Interval of checking the files.
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// Largest file.
const FILE_MAX: u64 = 1 << 20;

/// Content of the files.
pub struct Loaded {
    /// Fingerprint of the leaf, as of `openssl x509 -fingerprint -sha256`.
    pub fingerprint: String,
    /// Names of the leaf.
    pub names: Vec<String>,
    /// Expiry of the leaf.
    pub not_after: Ms,
    config: Arc<ServerConfig>,
}

/// Reads certificate and key. Error: unreadable, mismatched, or the key is readable by others.
pub fn load(files: &TlsFiles) -> Result<Loaded> {
    let wrong = |say: String| Error::new(Kind::Config, "tls_files", say);
    file::check_secret(&files.key).map_err(wrong)?;
    let read = |path: &Path| {
        file::read_limited(path, FILE_MAX).map_err(|e| wrong(format!("{} cannot be read: {e}.", path.display())))
    };
    let (chain, key) = (read(&files.cert)?, Secret::new(read(&files.key)?));
    let config = tls_config(&chain, key.reveal_for("TLS"))?;
    let leaf = leaf(&chain).ok_or_else(|| wrong(format!("{} begins with no certificate.", files.cert.display())))?;
    let read = Certificate::parse(&leaf)
        .ok_or_else(|| wrong(format!("The certificate in {} cannot be read.", files.cert.display())))?;
    Ok(Loaded {
        fingerprint: Pin::of(&leaf).to_string(),
        names: read.names,
        not_after: read.not_after,
        config,
    })
}

/// The first certificate of a PEM text, DER.
fn leaf(pem: &[u8]) -> Option<Vec<u8>> {
    let blocks = pem::blocks(&String::from_utf8_lossy(pem), BLOCKS_MAX).ok()?;
    let leaf = blocks.into_iter().find(|block| block.label == "CERTIFICATE")?;
    Some(leaf.der.reveal_for("reading a certificate").to_vec())
}

/// Maximum certificates of a chain.
const BLOCKS_MAX: usize = 20;

/// The certificates of the file as PEM, without a key in the same file.
pub fn public_part(files: &TlsFiles) -> Result<String> {
    let all = file::read_limited(&files.cert, FILE_MAX)?;
    let blocks = pem::blocks(&String::from_utf8_lossy(&all), BLOCKS_MAX)?;
    let certificates = blocks.iter().filter(|block| block.label == "CERTIFICATE");
    Ok(certificates
        .map(|block| pem::write(&block.label, block.der.reveal_for("showing a certificate")))
        .collect())
}

/// Serves the certificate while the web server runs.
pub struct Keeper {
    /// TLS configuration for the listeners.
    pub tls: Arc<Tls>,
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// Loads the files; creates our own if they are missing, old, or lack one of our names.
    pub fn start(app: &Arc<App>, files: TlsFiles) -> Result<Keeper> {
        if files.is_own {
            make_or_keep(app, &files)?;
        }
        let stamp = stamps(&files);
        let loaded = load(&files)?;
        tell("the certificate of the web server", &loaded);
        let config = Arc::clone(&loaded.config);
        let tls = if files.is_own {
            Tls::own(config)
        } else {
            Tls::new(config)
        };
        let (stop, stopped) = mpsc::channel();
        let (app, shown) = (Arc::clone(app), Arc::clone(&tls));
        let mut served = Served {
            files,
            stamp,
            not_after: loaded.not_after,
        };
        let thread = std::thread::Builder::new().name("tls-files".into()).spawn(move || {
            while stopped.recv_timeout(CHECK_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                if let Err(e) = served.reload(&app, &shown) {
                    let told = "the new certificate is not taken, the old one stays";
                    log::error("daemon", told, &[("error", &e.to_string())]);
                }
            }
        })?;
        Ok(Keeper { tls, stop, thread })
    }

    /// Stops checking.
    pub fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

/// The served certificate, and the state of its files.
struct Served {
    files: TlsFiles,
    stamp: [Stamp; 2],
    not_after: Ms,
}

/// Inode, size, change time in seconds and nanoseconds; `None` if missing.
type Stamp = Option<(u64, u64, i64, i64)>;

fn stamps(files: &TlsFiles) -> [Stamp; 2] {
    [&files.cert, &files.key].map(|path| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
    })
}

impl Served {
    /// Loads changed files. An error is logged once, and loading is retried when the files change again: certificate
    /// and key are written one after the other.
    fn reload(&mut self, app: &App, shown: &Tls) -> Result<()> {
        if self.files.is_own && clock::now() > self.not_after - RENEW_BEFORE {
            self.not_after = Ms::MAX; // also on failure: the next start tries again
            make_or_keep(app, &self.files)?;
        }
        let stamp = stamps(&self.files);
        if stamp == self.stamp {
            return Ok(());
        }
        self.stamp = stamp;
        let loaded = load(&self.files)?;
        self.not_after = loaded.not_after;
        shown.swap(Arc::clone(&loaded.config));
        tell("a new certificate of the web server is shown", &loaded);
        Ok(())
    }
}

fn tell(what: &str, loaded: &Loaded) {
    let fields = [
        ("sha256", loaded.fingerprint.as_str()),
        ("names", &text::first_of(&loaded.names, 8)),
        ("until", &clock::rfc3339(loaded.not_after)),
    ];
    log::info("daemon", what, &fields);
}

/// Creates our own certificate if it is missing, expires soon, or lacks one of our names. The key is kept.
fn make_or_keep(app: &App, files: &TlsFiles) -> Result<()> {
    let names = own_names(app)?;
    let (key, now) = (own_key(&files.key)?, clock::now());
    if key.is_some()
        && let Ok(there) = load(files)
        && there.not_after > now + RENEW_BEFORE
        && names
            .iter()
            .all(|name| there.names.iter().any(|known| known == name.as_str()))
    {
        return Ok(());
    }
    let key = key.map_or_else(own_certificate::new_key, Ok)?;
    let certificate = own_certificate::sign(&key, &names, now - BACKDATED, now + LIFE)?;
    let mut both = pem::write("PRIVATE KEY", key.reveal_for("the file of our own certificate"));
    both.push_str(&certificate);
    let both = Secret::new(both);
    file::replace(&files.key, both.reveal_for("the file of our own certificate")).map_err(|e| {
        let say = format!("{} cannot be written: {e}.", files.key.display());
        Error::new(Kind::Config, "tls_files", say)
    })
}

/// The key of an existing file.
fn own_key(path: &Path) -> Result<Option<Secret>> {
    if !path.exists() {
        return Ok(None);
    }
    let all = Secret::new(file::read_limited(path, FILE_MAX)?);
    let blocks = pem::blocks(all.reveal_text_for("the key of our own certificate"), BLOCKS_MAX)?;
    Ok(blocks
        .into_iter()
        .find(|block| block.label == "PRIVATE KEY")
        .map(|block| block.der))
}

/// Names of this server: its public address, this machine's names, the addresses it listens on.
fn own_names(app: &App) -> Result<Vec<Host>> {
    let public = Url::parse(&app.db.read(|conn| SITE_PUBLIC_URL.text(conn))?).ok();
    let hostname = sys::hostname();
    let full = host::full_name(&hostname, &std::fs::read_to_string("/etc/hosts").unwrap_or_default());
    let named = app.config.allowed_hosts.iter().map(String::as_str);
    let named = named
        .chain([hostname.as_str(), "localhost"])
        .filter_map(|name| Host::parse(name).ok());
    let addresses = app.config.listen.iter().flat_map(|at| addresses(at.ip()));
    let addresses = addresses.filter_map(|ip| Host::parse(&ip.to_string()).ok());
    let mut names: Vec<Host> = Vec::new();
    for name in public
        .map(|url| url.host)
        .into_iter()
        .chain(full)
        .chain(named)
        .chain(addresses)
    {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// The address; for a wildcard: loopback, and that of the default route.
fn addresses(ip: IpAddr) -> Vec<IpAddr> {
    // Connecting a UDP socket sends nothing; it only queries the routing table (ip(7)). The targets are documentation
    // addresses.
    let outward = |from: IpAddr, to: &str| {
        let socket = UdpSocket::bind((from, 0)).ok()?;
        socket.connect((to, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
    };
    if !ip.is_unspecified() {
        return vec![ip];
    }
    let v4 = [
        Some(Ipv4Addr::LOCALHOST.into()),
        outward(Ipv4Addr::UNSPECIFIED.into(), "192.0.2.1"),
    ];
    let v6 = [
        Some(Ipv6Addr::LOCALHOST.into()),
        outward(Ipv6Addr::UNSPECIFIED.into(), "2001:db8::1"),
    ];
    // `[::]` includes IPv4.
    let all = v4.into_iter().chain(v6.into_iter().filter(|_| ip.is_ipv6()));
    all.flatten().collect()
}
