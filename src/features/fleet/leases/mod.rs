//! Leases: a secret that is given out for a while. Of a copy the end says only that whoever has it should forget it; an
//! account or a key on a server is made with the lease and taken away at its end.
//!
//! The row stands before the host is touched: a lease that is cut off in the making is taken away, too. The end is tried
//! again until the host answers; when it cannot be, an alert says what is still there.

mod queries;
mod events;
mod host;
mod periodic;
mod api;
mod pages;

use crate::access::right::{Edit, Run, Secrets};
use crate::access::{Actor, Allowed};
use crate::app::App;
use crate::audit;
use crate::base::clock::{self, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::base::random;
use crate::base::secret::Secret as SecretValue;
use crate::db::{Conn, Tx};
use crate::events::outbox;
use crate::feature::Feature;
use crate::features::fleet::servers;
use crate::features::house::secrets::{self, Secret};
use crate::kinds::{Related, TargetKind};

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    panels: pages::PANELS,
    periodic: periodic::PERIODIC,
    kinds: events::KINDS,
    targets: &[TARGET],
    ..Feature::named("leases")
};

const TARGET: TargetKind = TargetKind {
    name: "lease",
    page: "/leases/",
    name_of: queries::name,
    named: |_, text| Ok(text.parse().ok()),
    related: |conn, id| {
        let mut all = vec![Related::to(TARGET.name, id)];
        if let Some(lease) = queries::get(conn, Id::new(id))? {
            all.push(Related::to(secrets::TARGET.name, lease.secret.get()));
        }
        Ok(all)
    },
};

/// A lease.
#[derive(Debug, Clone)]
struct Lease {
    id: Id<id::Lease>,
    secret: Id<id::Secret>,
    secret_name: String,
    /// `copy`, `account`, `key`.
    kind: String,
    /// `making`, `active`, `ending`, `ended`.
    state: String,
    /// Login.
    holder: String,
    /// How they are signed in: `token 12`, `session …`.
    via: String,
    /// Of a copy.
    version: i64,
    server: Option<Id<id::Server>>,
    server_name: String,
    account: String,
    public_key: String,
    issued_at: Ms,
    expires_at: Ms,
    max_at: Ms,
    ended_at: Option<Ms>,
    tries: i64,
    told: i64,
    say: String,
}

impl Lease {
    fn is_open(&self) -> bool {
        self.state != "ended"
    }

    /// What its account is marked with on the host.
    fn note(&self) -> String {
        format!("Lamplighter lease {} {}", self.id, self.issued_at)
    }
}

/// What the holder gets.
struct Given {
    lease: Lease,
    value: SecretValue,
    passphrase: Option<SecretValue>,
}

fn get(conn: &Conn, id: Id<id::Lease>) -> Result<Lease> {
    queries::get(conn, id)?.ok_or_else(|| Error::not_found("lease"))
}

/// May they lease it? Only who stands in its list; the right alone is not enough.
fn check_lessee(secret: &Secret, actor: &Actor) -> Result<()> {
    let by = actor.by();
    let token = by.via.strip_prefix("token ").map(|id| format!("token:{id}"));
    let words = [
        Some(format!("role:{}", actor.role().name())),
        Some(format!("user:{}", actor.login())).filter(|_| token.is_none()),
        token,
    ];
    let list = &secret.fields.lessees;
    match words.iter().flatten().any(|word| list.contains(word)) {
        true => Ok(()),
        false => {
            let say = "You do not stand in the list of those who may lease this secret.";
            Err(Error::new(Kind::Forbidden, "not_a_lessee", say))
        }
    }
}

/// Writes down a lease of so many seconds; what is made on a host comes after that. Errors: `not_a_lessee`, `forbidden`
/// server.
fn begin(
    app: &App,
    tx: &Tx,
    secret: &Secret,
    (ttl_s, server): (i64, Option<Id<id::Server>>),
    actor: &Actor,
    by: Allowed<Run, Secrets>,
) -> Result<Lease> {
    check_lessee(secret, actor)?;
    let f = &secret.fields;
    let now = clock::now();
    let max_at = now + f.lease_max_s * 1_000;
    let name = match (f.lease_kind, server) {
        ("copy", None) => String::new(),
        ("copy", Some(_)) => {
            let say = "A copy is of no server: leave server_id out.";
            return Err(Error::new(Kind::Conflict, "no_server_wanted", say));
        }
        (_, Some(id)) if f.lease_servers.contains(&id.get()) => servers::get(tx, id)?.fields.name,
        (_, None) if f.lease_servers.len() == 1 => servers::get(tx, Id::new(f.lease_servers[0]))?.fields.name,
        _ => {
            let say = "Say by server_id for which server: one of the secret's lease_servers.";
            return Err(Error::new(Kind::Conflict, "server_wanted", say));
        }
    };
    let server = match f.lease_kind {
        "copy" => None,
        _ => server.or(f.lease_servers.first().map(|id| Id::new(*id))),
    };
    let account = match f.lease_kind {
        "account" => format!("ll-{}", &random::name()[..12]),
        "key" => f.lease_account.clone(),
        _ => String::new(),
    };
    let mut lease = Lease {
        id: Id::new(0),
        secret: secret.id,
        secret_name: f.name.clone(),
        kind: f.lease_kind.into(),
        state: if f.lease_kind == "copy" { "active" } else { "making" }.into(),
        holder: actor.login().into(),
        via: actor.by().via.into(),
        version: secret.version,
        server,
        server_name: name,
        account,
        public_key: String::new(),
        issued_at: now,
        expires_at: (now + ttl_s * 1_000).min(max_at),
        max_at,
        ended_at: None,
        tries: 0,
        told: 0,
        say: String::new(),
    };
    lease.id = queries::insert(tx, &lease)?;
    let data = serde_json::json!({
        "secret": lease.secret_name, "kind": lease.kind, "server": lease.server_name, "account": lease.account,
        "expires_at": clock::rfc3339(lease.expires_at),
    });
    audit::append(tx, &app.vault, by, "lease.give", &object(&lease), &data)?;
    emit(app, tx, events::GIVEN, &lease)?;
    Ok(lease)
}

/// Later by so many seconds from now, up to its longest. Errors: `lease_over`, not theirs.
fn renew(app: &App, tx: &Tx, id: Id<id::Lease>, ttl_s: i64, actor: &Actor, by: Allowed<Run, Secrets>) -> Result<Lease> {
    let lease = get(tx, id)?;
    check_holder(&lease, actor)?;
    check_lessee(&secrets::get(tx, lease.secret)?, actor)?;
    let now = clock::now();
    if lease.state != "active" || lease.expires_at <= now {
        let say = "This lease is over. Ask for another one.";
        return Err(Error::new(Kind::Conflict, "lease_over", say));
    }
    let at = (now + ttl_s * 1_000).min(lease.max_at);
    queries::set_expiry(tx, id, at)?;
    let data = serde_json::json!({ "expires_at": clock::rfc3339(at) });
    audit::append(tx, &app.vault, by, "lease.renew", &object(&lease), &data)?;
    get(tx, id)
}

/// Who has it; others need the right to change secrets.
fn check_holder(lease: &Lease, actor: &Actor) -> Result<()> {
    let by = actor.by();
    let is_token = by.via.starts_with("token ");
    let own = match is_token {
        true => lease.via == by.via,
        false => lease.holder == actor.login(),
    };
    match own {
        true => Ok(()),
        false => actor.may(crate::access::right::may(Edit, Secrets)),
    }
}

/// Ends it now: at once, or as soon as the host answers. Safe to repeat.
fn revoke(app: &App, tx: &Tx, id: Id<id::Lease>, actor: &Actor, by: Allowed<Run, Secrets>) -> Result<()> {
    let lease = get(tx, id)?;
    check_holder(&lease, actor)?;
    if !lease.is_open() {
        return Ok(());
    }
    queries::expire(tx, id, clock::now())?;
    let none = serde_json::json!({});
    audit::append(tx, &app.vault, by, "lease.revoke", &object(&lease), &none)
}

/// Ends all leases of a secret; how many.
fn revoke_all(app: &App, tx: &Tx, id: Id<id::Secret>, by: Allowed<Edit, Secrets>) -> Result<usize> {
    let secret = secrets::get(tx, id)?;
    let n = queries::expire_all(tx, id.get(), clock::now())?;
    let data = serde_json::json!({ "leases": n });
    audit::append(tx, &app.vault, by, "lease.revoke_all", &secrets::object(&secret), &data)?;
    Ok(n)
}

fn object(lease: &Lease) -> String {
    format!("lease {} {}", lease.id, lease.secret_name)
}

fn emit(app: &App, tx: &Tx, kind: &str, lease: &Lease) -> Result<()> {
    let data = serde_json::json!({
        "name": lease.secret_name, "holder": lease.holder, "kind": lease.kind, "server": lease.server_name,
        "account": lease.account, "evidence": [&lease.say],
    });
    outbox::emit(tx, &app.wakes.events, kind, (TARGET.name, lease.id.get()), &data)
}
