//! Compares the sites on a server with what was put there, and requests them there.

use super::super::Outcome;
use super::super::recipes::{Recipe, script};
use super::{FileSeen, MINUTE, Proof, VALUE_SIZE_MAX, enabled, hash, list, name, sha256};
use crate::base::error::{Error, Kind, Result};
use crate::base::secret::Secret;
use crate::base::{shell, text};

/// A file to compare.
#[derive(Debug, Clone, Default)]
pub struct Sum<'a> {
    /// The domain.
    pub name: &'a str,
    /// SHA-256 of the expected text, hex. If the file differs, its text is reported; `None`: never.
    pub known: Option<&'a str>,
    /// certbot's name of its certificate, if it has one.
    pub lineage: Option<&'a str>,
    /// Proof of the text that should be running: is it answered?
    pub proof: Option<&'a Proof>,
    /// Should port 443 be open, too?
    pub tls: bool,
}

/// The hash of each site's file, whether nginx reads it, and whether it answers at the address of this connection.
/// Changes nothing; read the outcome with [`summed`]. Facts: `moved`: files that [`follow`] would rewrite; `lost`:
/// target names that no longer resolve, separated by blanks.
pub fn sums(sites: &[Sum]) -> Result<Recipe> {
    let mut lines = Vec::new();
    for site in sites {
        let known = site.known.map(sha256).transpose()?;
        let lineage = site.lineage.map(name).transpose()?;
        lines.push(format!(
            "{} {} {} {} {} {}",
            name(site.name)?,
            known.unwrap_or("-"),
            lineage.unwrap_or("-"),
            site.proof.map_or("-", |proof| &proof.path),
            site.proof.map_or("-", |proof| &proof.body),
            if site.tls { "443" } else { "80" },
        ));
    }
    Ok(Recipe {
        name: "site-sums",
        root: true,
        deadline: MINUTE,
        plan: vec!["site_sums"],
        installs: Vec::new(),
        values: Secret::new(shell::assignments(&[("SITES", &list(lines)?)])?),
        text: script!("prelude.sh", "nginx.sh", "site.sh", "site_sums.sh"),
    })
}

/// Result of [`sums`] for a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summed {
    /// Its hash and whether nginx reads it.
    pub file: FileSeen,
    /// Why certbot will not renew its certificate: `lost`, `off` or `astray`.
    pub unrenewed: Option<String>,
    /// Its text, if requested and different. `None` with another hash: too long.
    pub text: Option<String>,
    /// How it answers on the server itself, with one sentence.
    pub inside: Option<(Inside, String)>,
}

/// How a site answers on its own server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inside {
    /// Correctly (proof answered).
    Proved,
    /// Something else answers.
    Other,
    /// Nothing listens.
    Refused,
    /// Nothing answers in time.
    Silent,
}

impl Inside {
    const ALL: [Inside; 4] = [Inside::Proved, Inside::Other, Inside::Refused, Inside::Silent];

    /// Name as reported and stored.
    pub fn name(self) -> &'static str {
        ["proved", "other", "refused", "silent"][self as usize]
    }

    /// `None`: not requested.
    pub fn parse(name: &str) -> Option<Inside> {
        Inside::ALL.into_iter().find(|inside| inside.name() == name)
    }

    fn say(self, address: &str, nginx: &str) -> String {
        let what = match self {
            Inside::Proved => "the site answers as it should",
            Inside::Other => "something else answers for the site",
            Inside::Refused => "the connection is refused",
            Inside::Silent => "nothing answers in time",
        };
        let address = text::one_line(address, 64);
        let address = if address.is_empty() { "there" } else { &address };
        format!(
            "Asked on the server itself, at {address}: {what}; systemd says of nginx.service: {}.",
            text::one_line(nginx, 40)
        )
    }
}

/// Parses the outcome of [`sums`], in the order of `sites`. Error `broken_off`: it does not cover all of them.
pub fn summed(outcome: &Outcome, sites: &[Sum]) -> Result<Vec<Summed>> {
    let told = outcome.texts.get("sums").map_or("", String::as_str);
    let lines: Vec<&str> = told.lines().collect();
    if lines.len() != sites.len() {
        return Err(Error::new(
            Kind::Upstream,
            "broken_off",
            "The server did not tell the state of all sites. Try again.",
        )
        .log(format!("{} of {} sums", lines.len(), sites.len())));
    }
    let fact = |key: &str| outcome.facts.get(key).map_or("", String::as_str);
    let asked = outcome.texts.get("inside").map_or("", String::as_str);
    let asked: Vec<&str> = asked.lines().collect();
    let one = |(n, line): (usize, &&str)| {
        let inside = asked.get(n).and_then(|word| Inside::parse(word));
        let (sum, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (renewal, link) = rest.split_once(' ').unwrap_or(("-", "no"));
        Summed {
            unrenewed: (renewal != "-").then(|| text::one_line(renewal, VALUE_SIZE_MAX)),
            file: FileSeen {
                sha256: hash(sum),
                enabled: enabled(&text::one_line(link, VALUE_SIZE_MAX)),
            },
            text: outcome.texts.get(&format!("live_{n}")).cloned(),
            inside: inside.map(|inside| (inside, inside.say(fact("address"), fact("nginx_state")))),
        }
    };
    Ok(lines.iter().enumerate().map(one).collect())
}
