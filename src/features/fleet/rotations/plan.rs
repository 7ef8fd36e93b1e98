//! Which hosts a rotation reaches, and its beginning.

use super::Rotation;
use super::queries;
use crate::app::App;
use crate::base::clock;
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::db::{Conn, Tx};
use crate::features::fleet::servers::{self, Server};
use crate::features::house::secrets::{self, Secret, Value};
use crate::task::Resource;
use crate::vault::reference::{CANDIDATE, CANDIDATE_PASSPHRASE};

/// Most hosts of one rotation.
pub const HOSTS_MAX: usize = 1_000;

/// Servers whose login has this secret. Error `secret_used_elsewhere`: something else has it, which no rotation can bring
/// another value to.
pub fn logins(app: &App, conn: &Conn, secret: &Secret) -> Result<Vec<i64>> {
    let (mut logins, mut others) = (Vec::new(), Vec::new());
    for u in secrets::uses(app, conn, secret.id.get())? {
        match (u.of, u.column) {
            ("server", "password" | "ssh_key") => logins.push(u.row),
            _ => others.push(format!("{} {} ({})", u.of, u.name, u.column)),
        }
    }
    if let Some(first) = others.first() {
        let say = format!(
            "This secret is also used by {first}, where nobody can put another value from here. Give that one a secret of its own first."
        );
        return Err(Error::new(Kind::Conflict, "secret_used_elsewhere", say));
    }
    Ok(logins)
}

/// Hosts with their accounts: those that are named, and all whose login has this secret. The order is kept: the first is
/// the one that goes alone.
pub fn hosts(app: &App, conn: &Conn, secret: &Secret, named: &[(i64, String)]) -> Result<Vec<(Server, String)>> {
    let mut all: Vec<(Server, String)> = Vec::new();
    let logins = logins(app, conn, secret)?;
    let of_logins = logins.iter().map(|server| (*server, String::new()));
    for (id, account) in named.iter().cloned().chain(of_logins) {
        let server = servers::get(conn, Id::new(id))?;
        let account = match account.is_empty() {
            true => server.fields.username.clone(),
            false => account,
        };
        if all.iter().any(|(s, a)| (s.id.get(), a) == (id, &account)) {
            continue;
        }
        let name = &server.fields.name;
        let conflict = |code, say: String| Err(Error::new(Kind::Conflict, code, say));
        let is_key = secret.fields.kind == "private_key";
        let own = account == server.fields.username;
        let has_own = if is_key {
            server.has.ssh_key
        } else {
            server.has.password
        };
        // Else our own way in would go with the old value.
        if own && has_own && !logins.contains(&id) {
            let say = format!(
                "{name} is entered as {account} with a value of its own. Let its login refer to this secret first, else Lamplighter itself would not get in any more."
            );
            return conflict("login_of_its_own", say);
        }
        let scope = &secret.fields.scope;
        if !scope
            .iter()
            .any(|word| word == "servers" || *word == format!("server:{id}"))
        {
            let say = format!("The scope of this secret has neither “servers” nor “server:{id}” ({name}).");
            return conflict("not_in_scope", say);
        }
        all.push((server, account));
    }
    match all.len() {
        0 => {
            let say = "No server has this secret, and none was named: there is nothing to put it on.";
            Err(Error::new(Kind::Conflict, "no_hosts", say))
        }
        n if n > HOSTS_MAX => {
            let say = format!("A rotation reaches at most {HOSTS_MAX} hosts; this would be {n}.");
            Err(Error::new(Kind::Conflict, "too_many", say))
        }
        _ => Ok(all),
    }
}

/// The open rotation, or a new one with these hosts. The task goes on from there.
pub fn begin(
    app: &App,
    tx: &Tx,
    secret: &Secret,
    value: Option<Value>,
    named: &[(i64, String)],
    by: &str,
) -> Result<Rotation> {
    if !["password", "private_key"].contains(&secret.fields.kind.as_str()) {
        let say = "Only passwords and private keys are put on hosts.";
        return Err(Error::new(Kind::Conflict, "wrong_type", say));
    }
    if let Some(open) = queries::open(tx, secret.id)? {
        if value.is_some_and(|value| value.origin == "given") {
            let say = "Another value is on its way already. Bring that to its end, or drop it, first.";
            return Err(Error::new(Kind::Conflict, "rotation_open", say));
        }
        let before = queries::hosts(tx, open.id)?.len();
        for (n, (server, account)) in hosts(app, tx, secret, named)?.iter().enumerate() {
            let named = (server.id.get(), &*server.fields.name);
            queries::add_host(tx, open.id, before + n, named, account, clock::now())?;
        }
        return Ok(open);
    }
    let hosts = hosts(app, tx, secret, named)?;
    let value = match value {
        Some(value) => value,
        None => secrets::another(&secret.fields.kind, &secrets::current(app, tx, secret)?.0)?,
    };
    let now = clock::now();
    let id = queries::insert(tx, secret.id, &value.public_key, value.origin, by, now)?;
    let sealed = app.vault.seal(CANDIDATE.at(id), &value.value)?;
    let passphrase = value.passphrase.as_ref();
    let passphrase = passphrase
        .map(|p| app.vault.seal(CANDIDATE_PASSPHRASE.at(id), p))
        .transpose()?;
    queries::set_values(tx, id, &sealed, passphrase.as_deref())?;
    for (place, (server, account)) in hosts.iter().enumerate() {
        queries::add_host(tx, id, place, (server.id.get(), &server.fields.name), account, now)?;
    }
    queries::open(tx, secret.id)?.ok_or_else(|| Error::internal("a rotation that is not there"))
}

/// The servers that a rotation works on: nobody else does meanwhile.
pub fn locks(conn: &Conn, secret: i64) -> Result<Vec<Resource>> {
    let secret = Id::<id::Secret>::new(secret);
    let mut all: Vec<i64> = match queries::open(conn, secret)? {
        Some(open) => queries::hosts(conn, open.id)?
            .into_iter()
            .map(|h| h.server.get())
            .collect(),
        None => {
            let before = queries::hosts_before(conn, secret)?
                .into_iter()
                .map(|(server, _)| server);
            before.chain(queries::entered_with(conn, secret)?).collect()
        }
    };
    all.sort_unstable();
    all.dedup();
    Ok(all.into_iter().map(|server| Resource("server", server)).collect())
}
