//! The commands that start, prepare and check the daemon itself; all others are their features'.

use super::run::{self, ProcessMode};
use super::tls;
use crate::access::{self, Allowed, Role};
use crate::base::config::{Config, STATE_FILE};
use crate::base::error::{Error, Kind, Result};
use crate::base::secret::Secret;
use crate::base::{clock, file, log, random};
use crate::cli::{self, Command, Flag, Invocation, LISTEN, client, print, usage};
use crate::db::schema;
use crate::features::house::users::{self, NewUser};
use crate::net::http::Method;
use crate::vault;
use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// In the order of the help text.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "dev",
        help: "Set everything up in ./var and run it: web server, scheduler and workers.",
        flags: &[LISTEN],
        run: dev,
    },
    Command {
        name: "serve",
        help: "Run web server, scheduler and workers.",
        flags: &[LISTEN],
        run: |asked| serve(asked, ProcessMode::Both),
    },
    Command {
        name: "run-api",
        help: "Run only the web server.",
        flags: &[LISTEN],
        run: |asked| serve(asked, ProcessMode::Api),
    },
    Command {
        name: "run-scheduler",
        help: "Run only scheduler, poller and workers.",
        flags: &[],
        run: |asked| serve(asked, ProcessMode::Scheduler),
    },
    Command {
        name: "init-db",
        help: "Make the data folder, the master key (if none is there) and the databases.",
        flags: &[],
        run: init_db,
    },
    Command {
        name: "migrate",
        help: "Bring the databases to this version's schema.",
        flags: &[],
        run: migrate,
    },
    Command {
        name: "encrypt-keygen",
        help: "Make a master key.",
        flags: &[Flag {
            name: "out",
            value: "FILE",
            help: "Write it there (0600, never over an existing file) instead of printing it.",
        }],
        run: keygen,
    },
    Command {
        name: "check-config",
        help: "Read the configuration and say what is wrong with it.",
        flags: &[LISTEN],
        run: check_config,
    },
    Command {
        name: "tls-certificate",
        help: "Show the web server's certificate: its SHA-256 fingerprint, its names, its end.",
        flags: &[Flag {
            name: "pem",
            value: "",
            help: "Print the certificate itself, as curl --cacert takes it.",
        }],
        run: tls_certificate,
    },
    Command {
        name: "packaging-files",
        help: "Write the man pages and the completions of bash, zsh and fish into a folder.",
        flags: &[Flag {
            name: "out",
            value: "DIR",
            help: "The folder; it is made.",
        }],
        run: packaging_files,
    },
    Command {
        name: "api",
        help: "Ask a path of the API and print its JSON; without a daemon, what the databases know.",
        flags: &[
            Flag {
                name: "path",
                value: "PATH",
                help: "Path and query: /api/servers?limit=10.",
            },
            Flag {
                name: "method",
                value: "METHOD",
                help: "GET (default), POST, PUT, PATCH or DELETE.",
            },
            Flag {
                name: "data-file",
                value: "FILE",
                help: "The JSON to send (- is standard input).",
            },
            client::URL,
            client::TOKEN_FILE,
        ],
        run: api,
    },
];

fn tls_certificate(asked: &Invocation) -> Result<u8> {
    let config = asked.config()?;
    let none = |say: String| Error::new(Kind::NotFound, "no_certificate", say);
    let files = config
        .tls
        .ok_or_else(|| none("TLS is off: set LAMPLIGHTER_TLS=1, or give LAMPLIGHTER_TLS_CERT_FILE.".into()))?;
    if files.is_own && !files.cert.exists() {
        let say = format!(
            "{} is made when the web server starts for the first time.",
            files.cert.display()
        );
        return Err(none(say));
    }
    let loaded = tls::load(&files)?;
    if asked.flag("pem").is_some() {
        print(&tls::public_part(&files)?);
        return Ok(0);
    }
    let (file, until) = (files.cert.display().to_string(), clock::rfc3339(loaded.not_after));
    if asked.json() {
        let shown = serde_json::json!({
            "sha256": loaded.fingerprint,
            "names": loaded.names,
            "not_after": until,
            "file": file,
            "own": files.is_own,
        });
        print(&shown.to_string());
        return Ok(0);
    }
    print(&format!("SHA-256: {}", loaded.fingerprint));
    print(&format!("Names: {}", loaded.names.join(", ")));
    print(&format!("Until: {until}"));
    let made = if files.is_own { " (made by Lamplighter)" } else { "" };
    print(&format!("File: {file}{made}"));
    Ok(0)
}

fn packaging_files(asked: &Invocation) -> Result<u8> {
    let out = asked
        .flag("out")
        .ok_or_else(|| cli::usage("Say where to: --out DIR."))?;
    std::fs::create_dir_all(out)?;
    for (name, text) in cli::package_files(&asked.registry) {
        std::fs::write(Path::new(out).join(name), text)?;
    }
    Ok(0)
}

/// A request's body that is typed by hand or made by a program, in bytes.
const BODY_MAX: u64 = 64 << 20;

fn api(asked: &Invocation) -> Result<u8> {
    let path = asked
        .flag("path")
        .filter(|path| path.starts_with('/'))
        .ok_or_else(|| usage("Say which: --path /api/servers."))?;
    let method = match asked.flag("method").unwrap_or("GET") {
        "GET" => Method::Get,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "PATCH" => Method::Patch,
        "DELETE" => Method::Delete,
        _ => return Err(usage("--method is GET, POST, PUT, PATCH or DELETE.")),
    };
    let body = match asked.flag("data-file") {
        None if matches!(method, Method::Get | Method::Delete) => Vec::new(),
        None => b"{}".to_vec(),
        Some(_) if matches!(method, Method::Get | Method::Delete) => {
            return Err(usage("A GET or DELETE sends no data."));
        }
        Some("-") => {
            let mut bytes = Vec::new();
            std::io::stdin().take(BODY_MAX + 1).read_to_end(&mut bytes)?;
            bytes
        }
        Some(path) => file::read_limited(Path::new(path), BODY_MAX)?,
    };
    let answer = asked.ask(method, path, &body)?;
    if !answer.is_empty() {
        print(&answer);
    }
    Ok(0)
}

fn check_config(asked: &Invocation) -> Result<u8> {
    let config = asked.config()?;
    // A self-made certificate is created at the first start.
    if let Some(files) = config.tls.as_ref().filter(|files| !files.is_own || files.key.exists()) {
        tls::load(files)?;
    }
    let lines = [
        ("data_dir", config.data_dir.display().to_string()),
        ("runtime_dir", config.runtime_dir.display().to_string()),
        ("master_key_file", key_place(&config)),
        ("listen", join(&config.listen)),
        ("tls", if config.tls.is_some() { "yes" } else { "no" }.to_string()),
        ("redirect_listen", join(&config.redirect_listen)),
    ];
    if asked.json() {
        let map: BTreeMap<_, _> = lines.into_iter().collect();
        print(&serde_json::json!({ "ok": true, "config": map, "notes": config.notes }).to_string());
    } else {
        lines.iter().for_each(|(key, value)| print(&format!("{key}: {value}")));
        config.notes.iter().for_each(|note| print(note));
        print("The configuration is good.");
    }
    Ok(0)
}

fn key_place(config: &Config) -> String {
    match config.master_key {
        Some(_) => "none: ENV_MASTER_KEY".into(),
        None => config.master_key_file.display().to_string(),
    }
}

fn join(addresses: &[SocketAddr]) -> String {
    let all: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    all.join(",")
}

fn keygen(asked: &Invocation) -> Result<u8> {
    let key = vault::new_master_key();
    let line = format!("{}\n", key.reveal_text_for("handing a new key to its owner"));
    match asked.flag("out") {
        Some(path) => {
            write_key(Path::new(path), line.as_bytes())?;
            asked.done(&format!(
                "A new master key lies in {path}. Keep a copy elsewhere: without it the secrets are lost."
            ))
        }
        None => {
            print(&line);
            Ok(0)
        }
    }
}

fn write_key(path: &Path, line: &[u8]) -> Result<()> {
    file::write_new_durably(path, line).map_err(|e| {
        let say = match e.kind() {
            std::io::ErrorKind::AlreadyExists => {
                format!(
                    "{} is there already and was not touched: a lost master key means lost secrets.",
                    path.display()
                )
            }
            _ => format!("{} cannot be written: {e}.", path.display()),
        };
        Error::new(Kind::Config, "master_key", say)
    })
}

/// Creates data folder, key and databases; existing ones stay. A key is never created for existing databases: theirs is
/// lost.
fn prepare(config: &Config) -> Result<()> {
    file::private_dir(&config.data_dir)?;
    if config.master_key.is_none() && !config.master_key_file.exists() {
        if config.data_dir.join(STATE_FILE).exists() {
            let say = format!(
                "{} is missing, but the databases exist. Put the key back; a new one could not open their secrets.",
                config.master_key_file.display()
            );
            return Err(Error::new(Kind::Config, "master_key", say));
        }
        let key = vault::new_master_key();
        write_key(
            &config.master_key_file,
            format!("{}\n", key.reveal_text_for("the key file")).as_bytes(),
        )?;
    }
    Ok(())
}

fn init_db(asked: &Invocation) -> Result<u8> {
    let config = asked.begin()?;
    prepare(&config)?;
    let app = asked.open_with(config)?;
    asked.done(&format!(
        "{} is ready. Next: lamplighter create-admin --login LOGIN",
        app.config.data_dir.display()
    ))
}

fn migrate(asked: &Invocation) -> Result<u8> {
    schema::open_all(&asked.begin()?.data_dir)?;
    asked.done("The databases have this version's schema.")
}

fn serve(asked: &Invocation, mode: ProcessMode) -> Result<u8> {
    let app = Arc::new(asked.open()?);
    run::run(app, mode, |addresses| {
        log::info(
            "daemon",
            "ready",
            &[
                ("version", env!("CARGO_PKG_VERSION")),
                ("address", &addresses.join(",")),
            ],
        );
    })?;
    Ok(0)
}

/// Sets up a fresh machine: creates everything, and one account whose password is shown once.
fn dev(asked: &Invocation) -> Result<u8> {
    let config = asked.begin()?;
    prepare(&config)?;
    let app = Arc::new(asked.open_with(config)?);
    if app.db.read(access::accounts)? == 0 {
        let password = random::token()[..20].to_string();
        let user = NewUser::new(&app, "admin", &Secret::new(password.as_str()), Role::Admin)?;
        let by = Allowed::by_cli();
        app.db.write(|tx| users::create_first(&app, tx, &user, by))?;
        // Shown at once: if the port is in use, the next start has no password to show.
        print(&format!("Sign in as admin with the one-time password {password}"));
        let dir = app.config.data_dir.display();
        print(&format!(
            "It is shown only now. Another one: lamplighter reset-password --login admin --data-dir {dir}"
        ));
    }
    run::run(app, ProcessMode::Both, |addresses| {
        for address in addresses {
            print(&format!("Lamplighter is lit: {address}"));
        }
    })?;
    Ok(0)
}
