//! Validation of a new token.

use crate::access::api_token::{NewToken, Power};
use crate::access::scope::{self, Grant};
use crate::access::{Actor, Grants, Place, Role};
use crate::base::clock::{self, Ms};
use crate::base::error::Result;
use crate::base::host::Cidr;
use crate::base::text;
use crate::db::Conn;
use crate::form::Input;
use crate::form::param::{self, Param};

/// Parameters of a new token.
pub const PARAMS: &[Param] = &[
    param::name("name", "What it is called.").required(),
    param::choice("role", &ROLES, "It may what this role may; or `scopes`."),
    param::list(
        "scopes",
        200,
        64,
        "What it may: `noun:verb`, or for one group or server alone `noun:verb@group:3`, `noun:verb@server:5`.",
    ),
    param::text(
        "expires_at",
        4_096,
        "When it ends, in UTC, like 2026-01-02T03:04; never where it is left out.",
    ),
    param::list(
        "cidrs",
        32,
        64,
        "The addresses and blocks that it is taken from; from anywhere where it is left out.",
    ),
];

/// Roles, fewest rights first.
pub const ROLES: [&str; 4] = ["automation", "viewer", "operator", "admin"];

/// Role or scopes as the API and the audit write them.
pub fn power(power: &Power) -> Vec<String> {
    match power {
        Power::Role(role) => vec![format!("role:{}", role.name())],
        Power::Scopes(grants) => grants.iter().map(ToString::to_string).collect(),
    }
}

/// Reads a draft. Error: invalid fields; also for rights that the actor does not have.
pub fn read(conn: &Conn, mut input: Input, by: &Actor) -> Result<NewToken> {
    let i = &mut input;
    let name = i.name("name").unwrap_or_default();
    if name.is_empty() && !i.has_error("name") {
        i.wrong("name", "required", "Give the token a name.");
    }
    let role = i.choice("role").and_then(Role::parse);
    let scopes = i.list("scopes").unwrap_or_default();
    let grants = grants(conn, i, &scopes, by)?;
    let power = match role {
        Some(role) if scopes.is_empty() => {
            if !role.is_within(by.role()) {
                i.wrong("role", "more_than_owner", "This role has rights that your own has not.");
            }
            Power::Role(role)
        }
        role => {
            let fault = if role.is_some() {
                "A token has a role or scopes, not both."
            } else {
                "Say what it may: a role or scopes."
            };
            if !i.has_error("scopes") && !i.has_error("role") && (role.is_some() || scopes.is_empty()) {
                i.wrong("scopes", "role_or_scopes", fault);
            }
            Power::Scopes(Grants::new(grants))
        }
    };
    let expires_at = i
        .parse("expires_at", "bad_time", |text| time(text, clock::now()))
        .flatten();
    let mut cidrs = Vec::new();
    for text in i.list("cidrs").unwrap_or_default() {
        match Cidr::parse(&text) {
            Ok(cidr) => cidrs.push(cidr),
            Err(say) => i.wrong("cidrs", "bad_cidr", say),
        }
    }
    input.finish(&[])?;
    Ok(NewToken {
        name,
        power,
        cidrs,
        expires_at,
    })
}

fn grants(conn: &Conn, i: &mut Input, scopes: &[String], by: &Actor) -> Result<Vec<Grant>> {
    let mut grants = Vec::new();
    for text in scopes {
        let Some(grant) = Grant::parse(text) else {
            let shown = text::one_line(text, 64);
            let say = format!(
                "“{shown}” is no scope. One is noun:verb, like domains:deploy; some may end in @group:3 or @server:5."
            );
            i.wrong("scopes", "bad_scope", say);
            break;
        };
        // Who signed in themselves has their role's rights, though perhaps for some projects alone; so has their token.
        let place = match by.sign_in() {
            Ok(_) => Place::Granted,
            Err(_) => Place::Everywhere,
        };
        if !by.has(grant.right(), &place) {
            i.wrong("scopes", "more_than_owner", format!("You may not do {text} yourself."));
            break;
        }
        if let Some((kind, id)) = grant.place()
            && !(scope::exists(conn, (kind, id))? && by.knows(conn, (kind, id))?)
        {
            i.wrong(
                "scopes",
                "no_such_row",
                format!("There is no {kind} with the number {id}."),
            );
            break;
        }
        if !grants.contains(&grant) {
            grants.push(grant);
        }
    }
    Ok(grants)
}

/// Empty: no expiry.
fn time(text: &str, now: Ms) -> std::result::Result<Option<Ms>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let at = clock::parse_utc(text).ok_or("A time is written like 2026-01-02T03:04, in UTC.")?;
    match at > now {
        true => Ok(Some(at)),
        false => Err("This time is over.".into()),
    }
}
