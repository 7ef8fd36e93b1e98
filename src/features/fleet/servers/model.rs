//! Fields of a server and their validation.

use crate::access::Allowed;
use crate::access::right::{Controller, Edit, Servers};
use crate::base::error::{Error, Field, Kind, Result};
use crate::base::host::{Guest, Host, UserName};
use crate::base::secret::Secret;
use crate::features::house::secrets::Refs;
use crate::form::param::{self, Param};
use crate::form::{Input, Kept};
use crate::net::policy::Policy;
use crate::ssh::{hostkey, keys};
use std::net::IpAddr;

/// Login method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthType {
    /// `password`
    Password,
    /// `ssh_key`
    SshKey,
}

impl AuthType {
    /// As stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            AuthType::Password => "password",
            AuthType::SshKey => "ssh_key",
        }
    }

    /// Parses a name.
    pub fn parse(name: &str) -> AuthType {
        if name == "password" {
            AuthType::Password
        } else {
            AuthType::SshKey
        }
    }
}

/// Validated plain fields of a server. (Secrets are in [`Secrets`].)
#[derive(Debug, Clone)]
pub struct Fields {
    /// Display name; unique regardless of case.
    pub name: String,
    /// Address or DNS name.
    pub host: String,
    /// TCP port of sshd.
    pub ssh_port: u16,
    /// Login name on the server.
    pub username: String,
    /// Login method.
    pub auth_type: AuthType,
    /// Free text.
    pub description: String,
    /// Labels, in the order given, unique.
    pub tags: Vec<String>,
    /// Public addresses; empty: those of `host`.
    pub public_ips: Vec<String>,
    /// `http` or `https`.
    pub glances_scheme: &'static str,
    /// Host of Glances; empty: `host`.
    pub glances_host: String,
    /// Its port.
    pub glances_port: u16,
    /// The path polled first.
    pub glances_path: String,
    /// `none`, `basic` or `token`.
    pub glances_auth_type: &'static str,
    /// For `basic`.
    pub glances_username: String,
    /// SHA-256 of its certificate in hex; empty: the system's certificate authorities.
    pub glances_tls_pin: String,
    /// Allowed clients ([`Guest`]) of its next installation; empty: everyone.
    pub glances_allow: Vec<String>,
    /// The address it listens on from its next installation; empty: by profile.
    pub glances_bind: String,
    /// Where packages come from: one of [`PACKAGES`].
    pub packages: &'static str,
    /// Poll interval in seconds, 30 to 60 (5 and up is accepted for tests).
    pub poll_interval_s: i64,
    /// Where it belongs: `prod`, `stage`, …; empty: nobody has said.
    pub environment: String,
    /// What runs there: `linux`, …; empty: nobody has said.
    pub os_type: String,
    /// How it is looked at beside the polls: one of [`CHECK_METHODS`].
    pub check_method: &'static str,
    /// Are its containers looked at: `off`, or `auto`, with whichever engine is there.
    pub containers: &'static str,
}

/// Values of [`Fields::containers`].
pub const CONTAINERS: [&str; 2] = ["off", "auto"];

impl Default for Fields {
    fn default() -> Fields {
        Fields {
            name: String::new(),
            host: String::new(),
            ssh_port: 22,
            username: String::new(),
            auth_type: AuthType::SshKey,
            description: String::new(),
            tags: Vec::new(),
            public_ips: Vec::new(),
            glances_scheme: "http",
            glances_host: String::new(),
            glances_port: 61208,
            glances_path: "/api/3/all".into(),
            glances_auth_type: "none",
            glances_username: String::new(),
            glances_tls_pin: String::new(),
            glances_allow: Vec::new(),
            glances_bind: String::new(),
            packages: PACKAGES[0],
            poll_interval_s: 30,
            environment: String::new(),
            os_type: String::new(),
            check_method: CHECK_METHODS[0],
            containers: CONTAINERS[0],
        }
    }
}

/// Where the packages that a server lacks come from: its own package sources, or a bundle.
pub const PACKAGES: [&str; 2] = ["sources", BUNDLE];
/// How a host is looked at: not at all, by an echo request, by connecting to its SSH port, or by its SSH server's greeting.
pub const CHECK_METHODS: [&str; 4] = ["none", "ping", "tcp", "ssh"];
/// From the bundle of its release and architecture, over ssh: the server asks nobody else.
const BUNDLE: &str = "bundle";

/// Changes of secrets: `None` keeps, `Some(None)` removes.
#[derive(Debug, Default)]
pub struct Secrets {
    /// Login password; with a key it is the sudo password.
    pub password: Option<Option<Secret>>,
    /// Private key, cleaned.
    pub ssh_key: Option<Option<Secret>>,
    /// Its passphrase.
    pub ssh_key_passphrase: Option<Option<Secret>>,
    /// For Glances' Basic auth.
    pub glances_password: Option<Option<Secret>>,
    /// For Glances' bearer token.
    pub glances_token: Option<Option<Secret>>,
}

impl Fields {
    /// Destination of the login or sudo password.
    fn login_at(&self) -> (&str, u16, &str) {
        (&self.host, self.ssh_port, &self.username)
    }

    /// Do its packages come from a bundle?
    pub fn from_bundle(&self) -> bool {
        self.packages == BUNDLE
    }

    /// Destination of the Glances password or token, with its verification.
    fn glances_at(&self) -> (&str, &str, u16, &str) {
        let host = match self.glances_host.as_str() {
            "" => &self.host,
            other => other,
        };
        (self.glances_scheme, host, self.glances_port, &self.glances_tls_pin)
    }
}

/// Which secrets are stored.
#[derive(Debug, Default, Clone, Copy)]
pub struct Has {
    /// Login or sudo password.
    pub password: bool,
    /// Private key.
    pub ssh_key: bool,
    /// Passphrase of the key.
    pub ssh_key_passphrase: bool,
    /// Glances password.
    pub glances_password: bool,
    /// Glances token.
    pub glances_token: bool,
}

/// Proof of validation.
#[derive(Debug)]
pub struct Valid {
    /// All plain fields.
    pub fields: Fields,
    /// Changes of secrets.
    pub secrets: Secrets,
    /// Of those, what refers to a secret.
    pub refs: Refs,
    /// A host key given at creation: accepted at once.
    pub host_key: Option<String>,
}

/// Accepted fields of a draft.
pub const PARAMS: &[Param] = &[
    param::name("name", "What people call it, unique whatever its case.").required(),
    param::text("host", 4_096, "Its address or host name.")
        .required()
        .example("\"192.0.2.10\""),
    param::number("ssh_port", 1..=65535, "Where its SSH server listens."),
    param::text("username", 4_096, "Whom to sign in as.")
        .required()
        .example("\"root\""),
    param::text("description", 2_000, "Free words."),
    param::list("tags", 32, 64, "To find and group it by."),
    param::list(
        "public_ips",
        16,
        45,
        "Addresses that visitors reach it by, where they are not its own.",
    ),
    param::choice("glances_scheme", &["http", "https"], "How Glances is asked."),
    param::text("glances_host", 4_096, "Where Glances is asked; empty: at `host`."),
    param::number("glances_port", 1..=65535, "Where Glances listens."),
    param::text("glances_path", 4_096, "Path in front of Glances' own."),
    param::choice(
        "glances_auth_type",
        &["none", "basic", "token"],
        "How Glances knows us.",
    ),
    param::text("glances_username", 4_096, "For `basic`."),
    param::text(
        "glances_tls_pin",
        4_096,
        "SHA-256 of its certificate, where no authority vouches for it.",
    ),
    param::words(
        "glances_allow",
        64,
        50,
        "Who may ask Glances, besides us (`controller`): addresses and blocks.",
    ),
    param::text(
        "glances_bind",
        4_096,
        "On which of its addresses Glances listens; `host` is the one above.",
    ),
    param::choice(
        "packages",
        &PACKAGES,
        "Where packages come from: the server's own sources, or a bundle that goes to it over ssh.",
    ),
    param::number("poll_interval_s", 5..=3600, "From poll to poll, in seconds."),
    param::text("environment", 64, "Where it belongs.").example("\"prod\""),
    param::text("os_type", 64, "What runs there."),
    param::choice(
        "check_method",
        &CHECK_METHODS,
        "How it is looked at once a minute, beside the polls: an echo, its SSH port, its SSH server's greeting.",
    ),
    param::choice("containers", &CONTAINERS, "Whether its containers are looked at."),
    param::secret("password", 1_024, "For the login, or for sudo.")
        .example("\"…\"")
        .or_reference(),
    param::secret("ssh_key", 32 << 10, "Private key for the login.").or_reference(),
    param::secret("ssh_key_passphrase", 1_024, "Of that key."),
    param::secret("glances_password", 1_024, "For `basic`.").or_reference(),
    param::secret("glances_token", 8 << 10, "For `token`.").or_reference(),
    param::choice("auth_type", &["password", "ssh_key"], "How we sign in."),
    param::text("host_key", 4_096, "Its host key, known before: pinned at once."),
];

/// Fields of the answer that may be sent back unchanged.
pub const READ_ONLY: &[&str] = &[
    "id",
    "status",
    "status_since",
    "state",
    "state_since",
    "silenced_until",
    "alerts",
    "fail_count",
    "last_error",
    "host_seen",
    "moved_at",
    "moved",
    "host_key_state",
    "host_key_fingerprint",
    "glances_api_version",
    "glances_path_seen",
    "glances_profile",
    "last_sample",
    "spark_cpu",
    "spark_mem",
    "facts",
    "facts_at",
    "facts_snapshot",
    "last_check",
    "latency_ms",
    "error",
    "created_at",
    "updated_at",
    "has_password",
    "has_ssh_key",
    "has_passphrase",
    "has_glances_password",
    "has_glances_token",
    "secret_ids",
    "revision",
];

/// Allowed clients: a list, or a text separated by commas or spaces.
pub fn guests(i: &mut Input, name: &'static str) -> Option<Vec<String>> {
    let list = i.words(name)?;
    match list.iter().find_map(|guest| Guest::parse(guest).err()) {
        Some(why) => {
            i.wrong(
                name,
                "bad_block",
                format!("{why} This Lamplighter itself is “controller”."),
            );
            None
        }
        None => Some(unique(list)),
    }
}

/// Placeholder for the address in `host`.
pub const OWN_HOST: &str = "host";

/// The address in `host`, if it is one.
fn own_address(host: &str) -> Option<String> {
    let ip = Host::parse(host).ok()?.ip()?;
    Some(ip.to_string())
}

/// An address of the server, [`OWN_HOST`], or none.
pub fn bind(i: &mut Input, name: &'static str, host: &str) -> Option<String> {
    i.parse(name, "bad_address", |text| match text.parse::<IpAddr>() {
        _ if text.is_empty() => Ok(String::new()),
        _ if text == OWN_HOST => own_address(host).ok_or_else(|| {
            "“host” is the address that the server is known by, and this one is known by a name. Give one of its own IP addresses, or nothing.".into()
        }),
        Ok(ip) => Ok(ip.to_string()),
        Err(_) => Err("Give one of the server's own IP addresses, or “host” for the one that it is known by.".into()),
    })
}

/// Reads a draft over `base`: missing fields keep the values of `base`. `old` is the stored row, if any. Error: invalid
/// fields.
pub fn read(input: Input, base: Fields, old: Option<(&Fields, Has)>) -> Result<Valid> {
    read_with(input, base, old, false)
}

/// As [`read`], for an entry of a document, which has no secrets: they must be added afterwards.
pub fn read_entry(input: Input, base: Fields, old: Option<(&Fields, Has)>) -> Result<Valid> {
    read_with(input, base, old, true)
}

fn read_with(mut input: Input, base: Fields, old: Option<(&Fields, Has)>, secrets_later: bool) -> Result<Valid> {
    let is_new = base.name.is_empty();
    let has = old.map(|(_, has)| has).unwrap_or_default();
    let mut f = base;
    let i = &mut input;
    set(&mut f.name, i.name("name"));
    set(
        &mut f.host,
        i.parse("host", "bad_host", |t| Host::parse(t).map(|h| h.to_string())),
    );
    set(&mut f.ssh_port, i.number("ssh_port").map(|n| n as u16));
    set(
        &mut f.username,
        i.parse("username", "bad_user", |t| {
            UserName::parse(t).map(|u| u.as_str().to_string())
        }),
    );
    set(&mut f.description, i.text("description"));
    set(&mut f.tags, i.list("tags").map(unique));
    let ips = i.list("public_ips");
    set(&mut f.public_ips, ips.and_then(|ips| addresses(i, ips)));
    set(&mut f.glances_scheme, i.choice("glances_scheme"));
    set(
        &mut f.glances_host,
        i.parse("glances_host", "bad_host", |t| {
            if t.is_empty() {
                Ok(String::new())
            } else {
                Host::parse(t).map(|h| h.to_string())
            }
        }),
    );
    set(&mut f.glances_port, i.number("glances_port").map(|n| n as u16));
    set(&mut f.glances_path, i.parse("glances_path", "bad_path", path));
    set(&mut f.glances_auth_type, i.choice("glances_auth_type"));
    set(
        &mut f.glances_username,
        i.parse("glances_username", "bad_user", one_line),
    );
    set(&mut f.glances_tls_pin, i.parse("glances_tls_pin", "bad_pin", pin));
    set(&mut f.glances_allow, guests(i, "glances_allow"));
    set(&mut f.glances_bind, bind(i, "glances_bind", &f.host));
    if f.glances_bind == OWN_HOST {
        // Defaults from settings for every new server; one with a name listens on the default.
        f.glances_bind = own_address(&f.host).unwrap_or_default();
    }
    set(&mut f.packages, i.choice("packages"));
    set(&mut f.poll_interval_s, i.number("poll_interval_s"));
    set(&mut f.environment, i.parse("environment", "bad_label", label));
    set(&mut f.os_type, i.parse("os_type", "bad_label", label));
    set(&mut f.check_method, i.choice("check_method"));
    set(&mut f.containers, i.choice("containers"));
    let mut secrets = Secrets {
        password: i.secret("password"),
        ssh_key: i.secret("ssh_key"),
        ssh_key_passphrase: i.secret("ssh_key_passphrase"),
        glances_password: i.secret("glances_password"),
        glances_token: i.secret("glances_token"),
    };
    let auth = i.choice("auth_type").map(AuthType::parse);
    let only_password = matches!(secrets.password, Some(Some(_))) && !matches!(secrets.ssh_key, Some(Some(_)));
    f.auth_type = auth.unwrap_or(if is_new && only_password {
        AuthType::Password
    } else {
        f.auth_type
    });
    let host_key = i.parse("host_key", "bad_host_key", |t| {
        if t.is_empty() {
            Ok(None)
        } else {
            hostkey::parse(t).map(|k| Some(k.line))
        }
    });
    // The API shows `host` if no Glances host is set; sent back, it must still follow `host`.
    if f.glances_host == f.host || old.is_some_and(|(old, _)| f.glances_host == old.host) {
        f.glances_host.clear();
    }
    required(i, &f, is_new);
    if let Some((old, has)) = old {
        keep_at_home(i, &f, &mut secrets, old, has);
    }
    let all = Has {
        password: true,
        ssh_key: true,
        ssh_key_passphrase: true,
        glances_password: true,
        glances_token: true,
    };
    check_secrets(i, &f, &mut secrets, if secrets_later { all } else { has });
    input.finish(READ_ONLY)?;
    Ok(Valid {
        fields: f,
        secrets,
        refs: Refs::default(),
        host_key: host_key.flatten(),
    })
}

/// Only administrators may configure a server that is this machine: its loopback services are not for others. Error
/// `Forbidden`.
pub fn check_here(f: &Fields, old: Option<&Fields>, by: Allowed<Edit, Servers>) -> Result<()> {
    let here = Host::parse(&f.host).is_ok_and(|host| Policy::of_server(&host) == Policy::Server);
    let moved = old.is_none_or(|old| (&old.host, old.glances_at()) != (&f.host, f.glances_at()));
    if !here || !moved || by.also(Edit, Controller).is_ok() {
        return Ok(());
    }
    Err(Error::invalid(vec![Field {
        field: "host",
        code: "own_machine",
        message: "This is the machine that Lamplighter runs on. Only an administrator may add or move it.".into(),
    }]))
}

fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

fn required(i: &mut Input, f: &Fields, is_new: bool) {
    for (field, value, say) in [
        ("name", &f.name, "Give the server a name."),
        ("host", &f.host, "Give the server's address or DNS name."),
        ("username", &f.username, "Give the login name to use on the server."),
    ] {
        if is_new && value.is_empty() && !i.has_error(field) {
            i.wrong(field, "required", say);
        }
    }
}

/// A stored secret stays with its destination ([`Input::keep_at_home`]). A private key is not revealed to the server
/// that asks for it.
fn keep_at_home(i: &mut Input, f: &Fields, secrets: &mut Secrets, old: &Fields, has: Has) {
    let login = Kept {
        field: "password",
        stored: has.password,
        in_use: true,
        moved: f.login_at() != old.login_at() && !i.has_error("host") && !i.has_error("username"),
        say: "Address, port or login name has changed. Give the password again: the stored one is not sent anywhere else.",
    };
    i.keep_at_home(login, &mut secrets.password);
    for (field, stored, change, auth) in [
        (
            "glances_password",
            has.glances_password,
            &mut secrets.glances_password,
            "basic",
        ),
        ("glances_token", has.glances_token, &mut secrets.glances_token, "token"),
    ] {
        let kept = Kept {
            field,
            stored,
            in_use: f.glances_auth_type == auth,
            moved: f.glances_at() != old.glances_at(),
            say: "Glances' address or certificate has changed. Give this again: the stored one is not sent anywhere else. \
                  If nobody knows it, choose no sign-in and install Glances again.",
        };
        i.keep_at_home(kept, change);
    }
}

/// Checks that the chosen login methods have their secrets, and that the key opens.
fn check_secrets(i: &mut Input, f: &Fields, secrets: &mut Secrets, has: Has) {
    let will_have = |change: &Option<Option<Secret>>, has: bool| change.as_ref().map_or(has, Option::is_some);
    if f.auth_type == AuthType::Password && !will_have(&secrets.password, has.password) && !i.has_error("password") {
        i.wrong("password", "required", "Signing in by password needs the password.");
    }
    if f.auth_type == AuthType::SshKey && !will_have(&secrets.ssh_key, has.ssh_key) && !i.has_error("ssh_key") {
        i.wrong(
            "ssh_key",
            "required",
            "Signing in by key needs the private key. Paste it whole, with its first and last line.",
        );
    }
    if f.glances_auth_type == "basic"
        && (f.glances_username.is_empty() || !will_have(&secrets.glances_password, has.glances_password))
    {
        i.wrong(
            "glances_password",
            "required",
            "Basic auth at Glances needs a user name and a password.",
        );
    }
    if f.glances_auth_type == "token" && !will_have(&secrets.glances_token, has.glances_token) {
        i.wrong("glances_token", "required", "Token auth at Glances needs the token.");
    }
    for (field, value) in [
        ("password", &secrets.password),
        ("ssh_key_passphrase", &secrets.ssh_key_passphrase),
        ("glances_password", &secrets.glances_password),
        ("glances_token", &secrets.glances_token),
    ] {
        let text = value
            .iter()
            .flatten()
            .map(|s| s.reveal_text_for("looking for line breaks"))
            .next()
            .unwrap_or_default();
        if text.contains(['\r', '\n', '\0']) {
            i.wrong(
                field,
                "line_break",
                "A password or token has no line breaks. Paste it without the end of the line.",
            );
        }
    }
    if let Some(Some(pasted)) = &secrets.ssh_key {
        match keys::clean(pasted.reveal_for("cleaning a pasted key")) {
            Ok(key) => secrets.ssh_key = Some(Some(key)),
            Err(e) => i.wrong("ssh_key", e.code, e.say),
        }
    }
}

fn one_line(text: &str) -> std::result::Result<String, String> {
    let good = text.len() <= 256 && !text.chars().any(char::is_control) && !text.contains(':');
    if good {
        Ok(text.into())
    } else {
        Err("A user name has at most 256 bytes on one line, without a colon.".into())
    }
}

/// A short word for people and rules.
fn label(text: &str) -> std::result::Result<String, String> {
    match text.len() <= 64 && !text.chars().any(char::is_control) {
        true => Ok(text.trim().into()),
        false => Err("This has at most 64 bytes on one line.".into()),
    }
}

fn path(text: &str) -> std::result::Result<String, String> {
    let good = text.starts_with('/')
        && text.len() <= 200
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_.-~".contains(&b))
        && text.split('/').all(|s| s != "." && s != "..");
    if good {
        Ok(text.into())
    } else {
        Err("A path starts with / and has letters, digits, dots, dashes and underscores, like /api/4/all.".into())
    }
}

fn pin(text: &str) -> std::result::Result<String, String> {
    let hex: String = text
        .chars()
        .filter(|c| *c != ':')
        .collect::<String>()
        .to_ascii_lowercase();
    let good = hex.is_empty() || hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    if good {
        Ok(hex)
    } else {
        Err("A certificate's SHA-256 fingerprint has 64 hex digits.".into())
    }
}

fn unique(mut tags: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    tags.retain(|t| seen.insert(t.to_lowercase()));
    tags
}

fn addresses(i: &mut Input, ips: Vec<String>) -> Option<Vec<String>> {
    match ips.iter().find(|t| t.parse::<std::net::IpAddr>().is_err()) {
        Some(bad) => {
            i.wrong("public_ips", "bad_address", format!("“{bad}” is not an IP address."));
            None
        }
        None => Some(ips),
    }
}

/// Tests a key with its passphrase (`ssh-keygen -y`): an unusable key is not stored. Error: `bad_key` or those of
/// [`crate::ssh::Ssh::inspect`].
pub fn check_key(ssh: &crate::ssh::Ssh, key: &Secret, passphrase: Option<&Secret>) -> Result<keys::KeyInfo> {
    ssh.inspect(key, passphrase).map_err(|e| {
        let field = if e.code.contains("passphrase") {
            "ssh_key_passphrase"
        } else {
            "ssh_key"
        };
        Error {
            kind: Kind::Invalid,
            fields: vec![Field {
                field,
                code: e.code,
                message: e.say.clone(),
            }],
            ..e
        }
    })
}
