//! The recipes: typed parameters in, jobs out. A script is constant text; values reach it only as quoted assignments.

use crate::base::clock::Duration;
use crate::base::error::{Error, Field, Result};
use crate::base::host::Guest;
use crate::base::random;
use crate::base::secret::Secret;
use crate::base::shell;
use crate::base::text;
use std::net::{IpAddr, Ipv4Addr};

/// One job: script, plan and limits.
pub struct Recipe {
    /// For logs: `check`, `nginx`, `glances`, `firewall`, `confirm`.
    pub name: &'static str,
    /// Does it need root?
    pub root: bool,
    /// Limit of the whole job, connecting included.
    pub deadline: Duration,
    /// The ids of its steps, in order.
    pub plan: Vec<&'static str>,
    /// The programs that it installs where they are not there, as in [`PACKAGES`].
    pub installs: Vec<&'static str>,
    pub(super) values: Secret,
    pub(super) text: &'static str,
}

impl Recipe {
    /// The whole script, with the nonce that its marks begin with, and where packages come from.
    pub fn script(&self, nonce: &str, debs: &Debs) -> Result<Secret> {
        let debs = match debs {
            Debs::Own => "",
            Debs::Nothing => "none",
            Debs::Brought(sha256) => sha256,
        };
        let mut script = shell::assignments(&[("NONCE", nonce), ("DEBS", debs)])?;
        script.reserve_exact(self.values.reveal_for("the job's script").len() + self.text.len());
        script.push_str(self.values.reveal_text_for("the job's script"));
        script.push_str(self.text);
        Ok(Secret::new(script))
    }
}

/// Where the packages of a job come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Debs {
    /// The server's own package sources.
    Own,
    /// None is lacking, and the server's own sources are not to be asked.
    Nothing,
    /// A bundle has brought them: the SHA-256 of their tar, hex.
    Brought(String),
}

/// The programs that recipes install, and the packages that they may need for that. A bundle holds these, with all that they
/// depend on. `glances:auto` takes wheels where there is no package.
pub const PACKAGES: &[(&str, &[&str])] = &[
    ("nginx", &["nginx"]),
    ("openssl", &["openssl"]),
    ("certbot", &["certbot"]),
    ("ufw", &["ufw"]),
    (
        "glances:auto",
        &[GLANCES[0], GLANCES[1], GLANCES[2], GLANCES[3], WHEELS[0]],
    ),
    ("glances:package", &GLANCES),
    ("glances:wheels", &WHEELS),
];
/// The web server's library differs: bottle for Glances 3, the others for 4.
const GLANCES: [&str; 4] = ["glances", "python3-bottle", "python3-uvicorn", "python3-jinja2"];
const WHEELS: [&str; 1] = ["python3-venv"];

/// Scripts end with the call of their main function: a truncated one does nothing.
macro_rules! script {
    ($($file:literal),+) => {
        concat!($(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/provision/scripts/", $file)),)+ "main </dev/null\n")
    };
}
pub(super) use script;

pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// Login and system information. Changes nothing and needs no root.
///
/// Facts, each only when known: `user`, `uid`, `groups`, `clock_skew_ms` (theirs minus ours), `os_id`, `os_version`,
/// `os_name`, `hostname`, `kernel`, `arch`, `cpu_count`, `cpu_model`, `mem_kib`, `swap_kib`, `uptime_s`, `systemd`
/// (`running`, `degraded`, …, `none`), `disk_1`… (type, size and use in KiB, mount point), `addresses`, `nginx`,
/// `glances`, `glances_path` and `glances_from` (`package`, `index`, `bundle SHA256`, or the folder of somebody else's), or
/// `glances_next` (where an installation would take it from: `package VERSION`, `wheels`), `certbot`, `ufw`, `python3`
/// (versions), `boot_id`, `virtualization` (`none`, `kvm`, `lxc`, …), `updates` and `updates_security` (how many wait),
/// `reboot_needed` (`yes`, `no`), and those of [`engines`].
pub fn check() -> Recipe {
    Recipe {
        name: "check",
        root: false,
        deadline: MINUTE,
        plan: vec![
            "who",
            "machine",
            "container",
            "disks",
            "addresses",
            "software",
            "updates",
            "reboot",
            "engines",
        ],
        installs: Vec::new(),
        values: Secret::default(),
        text: script!("prelude.sh", "found.sh", "engines.sh", "check.sh"),
    }
}

/// Container engines, and whether the login user may use them. Changes nothing and needs no root.
///
/// Facts, each only when there: `docker`, `podman` (version; `yes`: not known), `docker_socket`, `podman_socket` (path),
/// `docker_access`, `podman_access` (`yes`, `no`).
pub fn engines() -> Recipe {
    Recipe {
        name: "engines",
        root: false,
        deadline: MINUTE,
        plan: vec!["engines"],
        installs: Vec::new(),
        values: Secret::default(),
        text: script!("prelude.sh", "engines.sh", "engines_only.sh"),
    }
}

/// nginx, ready for the sites of Lamplighter. Facts: `nginx_version`, `nginx_http2` (`listen`: a parameter of it;
/// `directive`: `http2 on;`).
pub fn nginx() -> Recipe {
    Recipe {
        name: "nginx",
        root: true,
        // Two minutes of waiting for dpkg, and a slow mirror.
        deadline: 15 * MINUTE,
        plan: vec![
            "system",
            "nginx_before",
            "nginx_mended",
            "port_80",
            "nginx_package",
            "nginx_dirs",
            "nginx_reads",
            "nginx_conf",
            "nginx_test",
            "nginx_enabled",
            "nginx_running",
        ],
        installs: vec!["nginx"],
        values: Secret::default(),
        text: script!("prelude.sh", "nginx.sh", "site.sh", "stage.sh", "deploy_proxy.sh"),
    }
}

/// Desired installation of Glances.
#[derive(Debug, Clone)]
pub struct Glances {
    /// Port of Glances itself; default 61208.
    pub port: u16,
    /// Access protection.
    pub profile: Profile,
    /// Allowed clients; empty: everyone. With [`Profile::Front`] nginx enforces it; otherwise a firewall is needed
    /// ([`Glances::firewall`]).
    pub allow: Vec<Guest>,
    /// Source of the program.
    pub source: Source,
    /// SHA-256 of the bundle on the server; empty: pip uses the server's index.
    pub bundle: String,
}

/// Source of Glances. Wheels are installed into their own Python environment, [`VENV`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// What is installed; else the distribution's package; if there is none, wheels.
    #[default]
    Auto,
    /// Only the distribution's package.
    Package,
    /// Only wheels.
    Wheels,
}

impl Source {
    /// Names in the API and in scripts.
    pub const NAMES: [&str; 3] = ["auto", "package", "wheels"];

    /// Name as in [`Source::NAMES`].
    pub fn name(self) -> &'static str {
        Source::NAMES[self as usize]
    }

    /// The source of this name.
    pub fn of(name: &str) -> Source {
        match name {
            "package" => Source::Package,
            "wheels" => Source::Wheels,
            _ => Source::Auto,
        }
    }
}

/// Folder of the Python environment on a server.
pub const VENV: &str = "/opt/lamplighter-glances";

/// Access to Glances.
#[derive(Debug, Clone)]
pub enum Profile {
    /// All addresses, no password. Shown with a warning.
    Open,
    /// One address of the server, without password: for a private network.
    Bind(IpAddr),
    /// The default. Glances on the loopback, nginx in front of it on a port of its own with TLS and a password.
    Front {
        /// The port that is polled, by https; [`FRONT_PORT`] if nobody chose another.
        port: u16,
        /// Basic auth.
        user: String,
        /// Basic auth.
        password: Secret,
    },
}

/// What Glances listens on if nobody chose another port; its own default.
pub const GLANCES_PORT: u16 = 61208;
/// Default port of nginx for Glances. 61209 is used by Glances' other server.
pub const FRONT_PORT: u16 = 61443;

impl Profile {
    /// The protected profile with a new random password.
    pub fn front() -> Profile {
        Profile::Front {
            port: FRONT_PORT,
            user: "lamplighter".into(),
            password: Secret::new(random::token()),
        }
    }
}

impl Glances {
    /// The firewall that this needs: none with [`Profile::Front`], or when everyone is allowed. `had`: remove rules of
    /// an earlier installation.
    pub fn firewall(&self, ssh_port: u16, had: bool) -> Option<Firewall> {
        let allow = match self.profile {
            Profile::Front { .. } => Vec::new(),
            _ => self.allow.clone(),
        };
        (had || !allow.is_empty()).then_some(Firewall {
            ssh_port,
            port: self.port,
            allow,
            revert: Firewall::REVERT,
        })
    }
}

/// Glances' web server as `lamplighter-glances.service`.
///
/// Facts: `glances_version`, `glances_api` (3 or 4), `glances_path`, `glances_from`; with [`Profile::Front`] also `tls_sha256`, the
/// fingerprint of the certificate (hex of its DER form's SHA-256).
pub fn glances(desired: &Glances) -> Result<Recipe> {
    let port = desired.port.to_string();
    let allow = blocks(&desired.allow);
    let mut plan = vec!["system"];
    let mut values = shell::assignments(&[
        ("PORT", &port),
        ("ALLOW", &allow),
        ("SOURCE", desired.source.name()),
        ("BUNDLE", &desired.bundle),
    ])?;
    let bind = match &desired.profile {
        Profile::Open => Ipv4Addr::UNSPECIFIED.into(),
        Profile::Bind(address) => *address,
        Profile::Front { port, user, password } => {
            check_front(desired.port, *port, user, password)?;
            let login = Secret::new(format!("{user}:{}", password.reveal_text_for("HTTP's form of it")));
            let login = Secret::new(text::base64(login.reveal_for("HTTP's form of it")));
            values.push_str(&shell::assignments(&[
                ("FRONT_PORT", &port.to_string()),
                ("FRONT_USER", user),
                ("FRONT_PASSWORD", password.reveal_text_for("the password file of nginx")),
                ("FRONT_LOGIN", login.reveal_text_for("the question to nginx")),
            ])?);
            plan.extend(["nginx_before", "nginx_mended", "port_80", "front_port"]);
            Ipv4Addr::LOCALHOST.into()
        }
    };
    values.push_str(&shell::assignments(&[("BIND", &bind.to_string())])?);
    let front = matches!(desired.profile, Profile::Front { .. });
    let mut installs = vec![match desired.source {
        Source::Auto => "glances:auto",
        Source::Package => "glances:package",
        Source::Wheels => "glances:wheels",
    }];
    if front {
        installs.extend(["nginx", "openssl"]);
    }
    plan.extend(["address", "glances_port"]);
    plan.extend(front.then_some("nginx_package"));
    plan.extend([
        "glances_package",
        "glances_stock_off",
        "glances_account",
        "glances_unit",
        "glances_running",
    ]);
    match front {
        true => plan.extend([
            "front_cert",
            "front_password",
            "front_conf",
            "front_test",
            "front_running",
            "front_answers",
        ]),
        false => plan.push("front_gone"),
    }
    Ok(Recipe {
        name: "glances",
        root: true,
        deadline: 20 * MINUTE,
        plan,
        installs,
        values: Secret::new(values),
        text: script!(
            "prelude.sh",
            "found.sh",
            "nginx.sh",
            "site.sh",
            "stage.sh",
            "glances.sh"
        ),
    })
}

/// Where [`glances`] would install from. Fact `way`: `there` (installed already), `package VERSION`, `wheels`, or empty
/// while the server's package lists are unknown.
pub fn glances_source(desired: &Glances) -> Result<Recipe> {
    Ok(Recipe {
        name: "glances_source",
        root: false,
        deadline: MINUTE,
        plan: vec!["software"],
        installs: Vec::new(),
        values: Secret::new(shell::assignments(&[
            ("SOURCE", desired.source.name()),
            ("BUNDLE", &desired.bundle),
        ])?),
        text: script!("prelude.sh", "found.sh", "glances_source.sh"),
    })
}

/// Removes what [`glances`] installed. Packages of the distribution stay.
pub fn glances_gone() -> Recipe {
    Recipe {
        name: "glances_gone",
        root: true,
        deadline: 5 * MINUTE,
        plan: vec![
            "system",
            "glances_gone",
            "front_gone",
            "glances_account_gone",
            "glances_venv_gone",
        ],
        installs: Vec::new(),
        values: Secret::default(),
        text: script!(
            "prelude.sh",
            "found.sh",
            "nginx.sh",
            "site.sh",
            "stage.sh",
            "glances.sh",
            "glances_gone.sh"
        ),
    }
}

/// The password file is `user:hash`, one line; HTTP sends `user:password`.
fn check_front(port: u16, front_port: u16, user: &str, password: &Secret) -> Result<()> {
    let mut wrong = Vec::new();
    let mut bad = |field, code, message: &str| {
        wrong.push(Field {
            field,
            code,
            message: message.into(),
        });
    };
    if port == front_port {
        bad(
            "front_port",
            "same_port",
            "The protected entrance needs another port than Glances itself.",
        );
    }
    if !(1..=64).contains(&user.len()) || !user.bytes().all(|b| b.is_ascii_alphanumeric() || b"._@-".contains(&b)) {
        bad(
            "user",
            "bad_user",
            "The user name has 1 to 64 letters, digits, dots, dashes, underscores or @.",
        );
    }
    let password = password.reveal_text_for("its form");
    if password.chars().count() < 8 || password.len() > 128 || password.contains(char::is_control) {
        bad(
            "password",
            "bad_password",
            "The password has at least 8 characters, at most 128 bytes and no control characters.",
        );
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Error::invalid(wrong)),
    }
}

/// Access to one port.
#[derive(Debug, Clone)]
pub struct Firewall {
    /// The login port; kept reachable, as is the port of the connection itself.
    pub ssh_port: u16,
    /// The restricted port.
    pub port: u16,
    /// Allowed clients. Empty: our rules are removed.
    pub allow: Vec<Guest>,
    /// Time after which the firewall reverts unless [`confirm`] came. Whole seconds.
    pub revert: Duration,
}

impl Firewall {
    /// Long enough for a new connection over a slow link, short enough to wait for.
    pub const REVERT: Duration = Duration::from_secs(90);
}

/// Rules for one port by ufw. Use [`super::firewall`], which also confirms. Fact `firewall`: `unchanged`, or `armed`:
/// the revert timer runs.
pub fn firewall(desired: &Firewall) -> Result<Recipe> {
    let values = shell::assignments(&[
        ("SSH_PORT", &desired.ssh_port.to_string()),
        ("PORT", &desired.port.to_string()),
        ("ALLOW", &blocks(&desired.allow)),
        ("REVERT_S", &desired.revert.as_secs().to_string()),
    ])?;
    Ok(Recipe {
        name: "firewall",
        root: true,
        deadline: 10 * MINUTE,
        plan: vec![
            "system",
            "firewall_free",
            "firewall_package",
            "firewall_armed",
            "firewall_guard",
            "firewall_rules",
            "firewall_on",
        ],
        installs: vec!["ufw"],
        values: Secret::new(values),
        text: script!("prelude.sh", "firewall.sh"),
    })
}

/// Confirms that the server is reachable: the firewall stays.
pub fn confirm() -> Recipe {
    Recipe {
        name: "confirm",
        root: true,
        deadline: MINUTE,
        plan: vec!["firewall_confirmed"],
        installs: Vec::new(),
        values: Secret::default(),
        text: script!("prelude.sh", "confirm.sh"),
    }
}

/// Addresses as ufw and nginx write them: a single one without prefix length. The server resolves `controller`.
fn blocks(allow: &[Guest]) -> String {
    let word = |guest: &Guest| {
        let Guest::Block(block) = guest else {
            return "controller".into();
        };
        let text = block.to_string();
        match text.strip_suffix(if text.contains(':') { "/128" } else { "/32" }) {
            Some(single) => single.to_string(),
            None => text,
        }
    };
    allow.iter().map(word).collect::<Vec<_>>().join(" ")
}
