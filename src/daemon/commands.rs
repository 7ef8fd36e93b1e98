//! What each command does.

use super::run::{self, Halves};
use crate::access::{self, Role};
use crate::app::{self, App};
use crate::audit::By;
use crate::base::config::{Config, STATE_FILE};
use crate::base::error::{Error, Kind, Result};
use crate::base::secret::Secret;
use crate::base::{file, log, random, sys};
use crate::cli::{Asked, client};
use crate::features;
use crate::features::front::document::commands as fleet;
use crate::features::front::health::{self, overall::Overall};
use crate::features::house::users::commands as user_commands;
use crate::features::house::users::{self, NewUser};

use crate::schedule;
use crate::vault;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Runs a command; the exit code, or the error that gives it.
pub fn run(asked: &Asked) -> Result<u8> {
    match asked.command.name {
        "encrypt-keygen" => return keygen(asked),
        "check-config" => return check_config(asked),
        _ => {}
    }
    let config = config(asked)?;
    log::init(config.log_level, config.json_logs);
    config.notes.iter().for_each(|note| log::warning("config", note, &[]));
    sys::private_umask();
    sys::few_heaps();
    sys::undumpable();
    match asked.command.name {
        "dev" => dev(config),
        "serve" => serve(config, Halves::Both),
        "run-api" => serve(config, Halves::Api),
        "run-scheduler" => serve(config, Halves::Scheduler),
        "init-db" => init_db(asked, &config),
        "migrate" => {
            app::open_databases(&config)?;
            done(asked, "The databases have this version's schema.")
        }
        "create-admin" => done(asked, &user_commands::create_admin(&open(config)?, asked)?),
        "reset-password" => done(asked, &user_commands::reset_password(&open(config)?, asked)?),
        "disable-user" => done(asked, &user_commands::set_disabled(&open(config)?, asked, true)?),
        "enable-user" => done(asked, &user_commands::set_disabled(&open(config)?, asked, false)?),
        "verify-audit" => done(asked, &features::house::audit::commands::verify(&open(config)?, asked)?),
        "export" => {
            print(&fleet::export(&open(config)?)?);
            Ok(0)
        }
        "apply" => {
            let change = fleet::apply(&open(config)?, asked)?;
            print(&match asked.json() {
                true => serde_json::to_string(&change).map_err(Error::internal)?,
                false => fleet::told(&change),
            });
            Ok(0)
        }
        "health" => ask_health(asked, &config),
        "status" => status(asked, &open(config)?),
        other => Err(Error::internal(format!("command {other} has no code"))),
    }
}

/// Writes a line to standard output; a reader that has gone away is fine.
pub fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end_matches('\n'));
}

fn done(asked: &Asked, say: &str) -> Result<u8> {
    print(&if asked.json() {
        serde_json::json!({ "ok": true, "detail": say }).to_string()
    } else {
        say.to_string()
    });
    Ok(0)
}

fn config(asked: &Asked) -> Result<Config> {
    let is_dev = asked.command.name == "dev";
    let env: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let mut flags = Vec::new();
    for (flag, key) in [("data-dir", "DATA_DIR"), ("listen", "LISTEN")] {
        if let Some(value) = asked.flag(flag) {
            flags.push((key, value.to_string()));
        }
    }
    let given = asked.flag("env-file").map(PathBuf::from);
    // `dev` reads a `.env` of the folder it is started in, as the field expects.
    let file = given.or_else(|| Some(PathBuf::from(".env")).filter(|p| is_dev && p.exists()));
    let names_data_dir = flags.iter().any(|(key, _)| *key == "DATA_DIR") || env.contains_key("LAMPLIGHTER_DATA_DIR");
    let config = Config::load(&flags, file.as_deref(), &env)?;
    match is_dev && !names_data_dir && config.data_dir == Path::new("/var/lib/lamplighter") {
        // Not the system's folder, unless a file or variable says so.
        true => {
            flags.push(("DATA_DIR", "var".into()));
            Config::load(&flags, file.as_deref(), &env)
        }
        false => Ok(config),
    }
}

fn check_config(asked: &Asked) -> Result<u8> {
    let config = config(asked)?;
    if let Some((cert, key)) = &config.tls {
        run::read_tls(cert, key)?;
    }
    let lines = [
        ("data_dir", config.data_dir.display().to_string()),
        ("runtime_dir", config.runtime_dir.display().to_string()),
        ("master_key_file", config.master_key_file.display().to_string()),
        (
            "listen",
            config
                .listen
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(","),
        ),
        ("tls", if config.tls.is_some() { "yes" } else { "no" }.to_string()),
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

fn keygen(asked: &Asked) -> Result<u8> {
    let key = vault::new_master_key();
    let line = format!("{}\n", key.reveal_text_for("handing a new key to its owner"));
    match asked.flag("out") {
        Some(path) => {
            write_key(Path::new(path), line.as_bytes())?;
            done(
                asked,
                &format!("A new master key lies in {path}. Keep a copy elsewhere: without it the secrets are lost."),
            )
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

/// Data folder, key and databases; what is there stays. A key is never made for databases that exist: theirs is lost.
fn prepare(config: &Config) -> Result<()> {
    file::private_dir(&config.data_dir)?;
    if !config.master_key_file.exists() {
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

fn init_db(asked: &Asked, config: &Config) -> Result<u8> {
    prepare(config)?;
    open(config.clone())?;
    done(
        asked,
        &format!(
            "{} is ready. Next: lamplighter create-admin --login LOGIN",
            config.data_dir.display()
        ),
    )
}

fn open(config: Config) -> Result<App> {
    if !config.data_dir.is_dir() {
        let say = format!(
            "There is no folder {}. Make it with: lamplighter init-db",
            config.data_dir.display()
        );
        return Err(Error::new(Kind::Config, "data_dir", say));
    }
    App::open(config)
}

fn serve(config: Config, halves: Halves) -> Result<u8> {
    let app = Arc::new(open(config)?);
    run::run(app, halves, |addresses| {
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

/// One command on a fresh machine: everything is made, one account with a password that is shown once.
fn dev(config: Config) -> Result<u8> {
    prepare(&config)?;
    let app = Arc::new(App::open(config)?);
    if app.db.read(access::accounts)? == 0 {
        let password = random::token()[..20].to_string();
        let user = NewUser::new(&app, "admin", &Secret::new(password.as_str()), Role::Admin)?;
        let by = By::ours("cli");
        app.db.write(|tx| users::create_first(&app, tx, &user, by))?;
        // At once, not when we listen: should the port be taken, the next start has no password to show any more.
        print(&format!("Sign in as admin with the one-time password {password}"));
        let dir = app.config.data_dir.display();
        print(&format!(
            "It is shown only now. Another one: lamplighter reset-password --login admin --data-dir {dir}"
        ));
    }
    run::run(app, Halves::Both, |addresses| {
        for address in addresses {
            print(&format!("Lamplighter is lit: {address}"));
        }
    })?;
    Ok(0)
}

fn ask_health(asked: &Asked, config: &Config) -> Result<u8> {
    let listen = *config
        .listen
        .first()
        .ok_or_else(|| Error::internal("no address to ask"))?;
    let answer = client::ask(config, listen, "/health")?;
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let status = match body["status"].as_str() {
        Some("healthy") => health::Status::Healthy,
        Some("degraded") => health::Status::Degraded,
        _ => health::Status::Unhealthy,
    };
    print(if asked.json() { &answer.body } else { status.name() });
    Ok(exit_code(status))
}

fn exit_code(status: health::Status) -> u8 {
    [0, 3, 4][status as usize]
}

fn status(asked: &Asked, app: &App) -> Result<u8> {
    let overall = Overall::of(app)?;
    let beats = app.db.read(schedule::beats)?;
    if asked.json() {
        #[derive(serde::Serialize)]
        struct View<'a, Beat> {
            #[serde(flatten)]
            overall: &'a Overall,
            periodic: Vec<Beat>,
        }
        let view = View {
            overall: &overall,
            periodic: beats,
        };
        print(&serde_json::to_string(&view).map_err(Error::internal)?);
    } else {
        let (parts, tasks) = (&overall.parts, &overall.tasks);
        let n = &parts.servers.counts;
        print(overall.status.name());
        parts.lamplighter.reasons.iter().for_each(|reason| print(reason));
        print(&format!(
            "servers: {} up, {} degraded, {} down, {} pending; {} of all {} silenced",
            n.up, n.degraded, n.down, n.pending, n.silenced, n.total
        ));
        let d = &parts.domains;
        print(&format!(
            "domains: {} lit, {} flicker, {} dark, {} not deployed",
            d.lit, d.flick, d.dark, d.unlit
        ));
        print(&format!(
            "tasks: {} running, {} waiting; alerts: {} open, {} not acknowledged",
            tasks.running, tasks.queued, overall.alerts_open, overall.alerts_firing
        ));
    }
    Ok(exit_code(overall.status))
}
