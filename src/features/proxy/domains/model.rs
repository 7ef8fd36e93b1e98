//! A domain's fields and the only way to make them valid.

use crate::access::Place;
use crate::base::error::Result;
use crate::base::id::{Certificate, Group, Id, Server, Upstream};
use crate::base::idn::DomainName;
use crate::form::Input;
use crate::form::param::{self, Param};

/// What to do when the domain's addresses are not those of its servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Preflight {
    /// Do not deploy.
    #[default]
    Strict,
    /// Deploy and say so.
    Warn,
    /// Do not look.
    Off,
}

impl Preflight {
    /// As stored and shown, in the order of the variants.
    pub const NAMES: [&'static str; 3] = ["strict", "warn", "off"];

    /// As stored and shown.
    pub fn name(self) -> &'static str {
        Preflight::NAMES[self as usize]
    }

    /// Reads the name; anything else is the careful one.
    pub fn parse(name: &str) -> Preflight {
        match name {
            "warn" => Preflight::Warn,
            "off" => Preflight::Off,
            _ => Preflight::Strict,
        }
    }
}

/// A domain's fields, valid. Whether the rows they name exist is asked when they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// The name.
    pub domain: DomainName,
    /// Where its requests go; it is deployed only with one.
    pub upstream_id: Option<Id<Upstream>>,
    /// Where it is served; the first is the canary.
    pub server_ids: Vec<Id<Server>>,
    /// The group it is looked at with.
    pub group_id: Option<Id<Group>>,
    /// HTTPS, and HTTP leads to it.
    pub ssl: bool,
    /// Browsers are told to use HTTPS only; needs `ssl`.
    pub hsts: bool,
    /// A person's own certificate; none: from the ACME server.
    pub certificate_id: Option<Id<Certificate>>,
    /// What all name servers must satisfy, see [`ns_policy`]; empty: only changes are told.
    pub ns_policy: String,
    /// What a deploy does about addresses that do not fit.
    pub preflight: Preflight,
    /// Free words.
    pub notes: String,
}

impl Fields {
    /// A domain with a name and nothing else.
    pub fn of(domain: DomainName) -> Fields {
        Fields {
            domain,
            upstream_id: None,
            server_ids: Vec::new(),
            group_id: None,
            ssl: false,
            hsts: false,
            certificate_id: None,
            ns_policy: String::new(),
            preflight: Preflight::default(),
            notes: String::new(),
        }
    }
}

/// Proof that a draft fits.
#[derive(Debug)]
pub struct Valid {
    /// All fields.
    pub fields: Fields,
}

impl Valid {
    /// Where it is to stand.
    pub fn place(&self) -> Place {
        Place::At(self.fields.group_id, self.fields.server_ids.clone())
    }
}

/// Servers of one domain: a canary and the rest, one after the other.
pub const SERVERS_MAX: usize = 64;

/// What a draft may bring.
pub const PARAMS: &[Param] = &[
    param::text("domain", 4_096, "The name, also in other scripts than Latin.").required(),
    param::link("upstream_id", "Where its requests go."),
    param::link("group_id", "Its group."),
    param::link(
        "certificate_id",
        "A stored certificate, in place of one by Let's Encrypt.",
    ),
    param::flag("ssl", "Is it served over TLS?"),
    param::flag("hsts", "Shall browsers refuse plain HTTP?"),
    param::text(
        "ns_policy",
        4_096,
        "What its name servers must be: a part, `suffix:…` or `exact:…,…`.",
    ),
    param::choice(
        "preflight",
        &Preflight::NAMES,
        "Is a deploy stopped by what is checked before it?",
    ),
    param::text("notes", 2_000, "Free words."),
    param::link("server_id", "The server, where it is one."),
    param::links("server_ids", SERVERS_MAX, "The servers that serve it."),
];

/// Fields of the answer that may be sent back and are not ours to set.
pub const READ_ONLY: &[&str] = &[
    "id",
    "domain_unicode",
    "state",
    "reason",
    "state_since",
    "sites",
    "upstream",
    "group",
    "ns_state",
    "ns_say",
    "ns_at",
    "cert_state",
    "cert_say",
    "cert_not_after",
    "answer_state",
    "answer_say",
    "answer_since",
    "removing",
    "revision",
    "created_at",
    "updated_at",
];

const SEVERAL: &str =
    "Give one name: each name is a domain of its own here. Add the others after this one, with the same upstream.";

/// Reads a draft over `base`: what is not sent stays as it is there, without a base it takes its default.
pub fn read(mut input: Input, base: Option<Fields>) -> Result<Valid> {
    let i = &mut input;
    let typed = i.text("domain").and_then(|typed| {
        let several = typed.split([' ', ',', ';']).filter(|name| !name.is_empty()).count() > 1;
        let read = match several {
            true => Err(("several", SEVERAL.to_string())),
            false => DomainName::parse(&typed).map_err(|say| ("bad_domain", say)),
        };
        read.map_err(|(code, say)| i.wrong("domain", code, say)).ok()
    });
    let known = typed.or_else(|| base.as_ref().map(|b| b.domain.clone()));
    if known.is_none() && !i.has_error("domain") {
        i.wrong("domain", "required", "Give the domain name, like shop.example.org.");
    }
    // Without a name the draft is refused; the other fields are read all the same, to tell all mistakes at once.
    let domain = known.unwrap_or_else(DomainName::nobodys);
    let mut f = match base {
        Some(base) => Fields { domain, ..base },
        None => Fields::of(domain),
    };
    set(&mut f.upstream_id, i.link("upstream_id"));
    set(&mut f.group_id, i.link("group_id"));
    set(&mut f.certificate_id, i.link("certificate_id"));
    set(&mut f.ssl, i.flag("ssl"));
    set(&mut f.hsts, i.flag("hsts"));
    set(&mut f.ns_policy, i.parse("ns_policy", "bad_policy", ns_policy));
    set(&mut f.preflight, i.choice("preflight").map(Preflight::parse));
    set(&mut f.notes, i.text("notes"));
    servers(i, &mut f);
    if f.hsts && !f.ssl && !i.has_error("ssl") && !i.has_error("hsts") {
        let say = "HSTS makes browsers refuse plain HTTP, so it needs TLS. Switch TLS on or HSTS off.";
        i.wrong("hsts", "needs_ssl", say);
    }
    input.finish(READ_ONLY)?;
    Ok(Valid { fields: f })
}

fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

/// `server_ids`, or `server_id` for one. An answer has both when there is one, and may be sent back as it is.
fn servers(i: &mut Input, f: &mut Fields) {
    let one = i.link("server_id");
    let many = i.links("server_ids");
    match (many, one) {
        (Some(many), Some(Some(one))) if many != [one] => {
            i.wrong(
                "server_id",
                "two_answers",
                "server_id and server_ids say different things. Send one of them.",
            );
        }
        (Some(many), _) => f.server_ids = many,
        (None, Some(one)) => f.server_ids = one.into_iter().collect(),
        (None, None) => {}
    }
}

/// What the name servers' host names must have: a part of them (`dnspod`), their end (`suffix:dnspod.net`), or be one of
/// a list (`exact:a.example,b.example`). Kept in lower case, without spaces and final dots. The error is a sentence.
pub fn ns_policy(typed: &str) -> std::result::Result<String, String> {
    let wrong = || {
        "A policy is a part of the name servers' names, like dnspod, or suffix:dnspod.net, or exact:ns1.example,ns2.example."
            .to_string()
    };
    let low = typed.to_ascii_lowercase();
    if low.is_empty() {
        return Ok(low);
    }
    if low.len() > 500 {
        return Err("A policy has at most 500 bytes.".into());
    }
    let (mode, rest) = match low.split_once(':') {
        Some((mode @ ("suffix" | "exact"), rest)) => (mode, rest),
        Some(_) => return Err(wrong()),
        None => ("", &*low),
    };
    let bare = |name: &str| name.trim_matches(' ').trim_end_matches('.').to_string();
    let names: Vec<String> = match mode {
        "exact" => rest.split(',').map(bare).collect(),
        "suffix" => vec![bare(rest)],
        _ => vec![rest.to_string()],
    };
    let good = |name: &String| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b)) && name.len() <= 253
    };
    if !names.iter().all(good) {
        return Err(wrong());
    }
    Ok(match mode {
        "" => rest.to_string(),
        mode => format!("{mode}:{}", names.join(",")),
    })
}

/// What a deploy or a removal that failed has left on a server, as its job told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// It has changed nothing.
    Untouched,
    /// The file that was there before, and it answers.
    Back,
    /// Nothing, as before.
    Empty,
    /// The files of before, which nginx cannot read: what it had read goes on.
    Red,
    /// The files of before, but nginx does not answer as before.
    Stuck,
    /// The new file; what came after it failed.
    New,
    /// The file is off; what came after that failed.
    Gone,
    /// The job was cut off: the server puts back what was there, and nobody has seen it.
    Unseen,
}

impl Stands {
    const ALL: [Stands; 8] = [
        Stands::Untouched,
        Stands::Back,
        Stands::Empty,
        Stands::Red,
        Stands::Stuck,
        Stands::New,
        Stands::Gone,
        Stands::Unseen,
    ];

    /// As a job says it, and as stored and shown.
    pub fn name(self) -> &'static str {
        ["untouched", "back", "empty", "red", "stuck", "new", "gone", "unseen"][self as usize]
    }

    /// See [`Stands::name`].
    pub fn parse(name: &str) -> Option<Stands> {
        Stands::ALL.into_iter().find(|s| s.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_a_part_an_end_or_a_list_of_names() {
        for (typed, kept) in [
            ("", ""),
            ("DNSPod", "dnspod"),
            (".dnspod.", ".dnspod."),
            ("suffix:dnspod.net.", "suffix:dnspod.net"),
            ("Exact:NS1.example., ns2.example", "exact:ns1.example,ns2.example"),
        ] {
            assert_eq!(ns_policy(typed).as_deref(), Ok(kept), "{typed}");
            assert_eq!(ns_policy(kept).as_deref(), Ok(kept), "{kept}");
        }
        let long = "a".repeat(501);
        for bad in [
            "suffix:",
            "exact:a,,b",
            "regex:.*",
            "a b",
            "a;b",
            "*",
            "a\nb",
            "днс",
            "suffix:a.example,b.example",
            "exact:",
            ",",
            &long,
        ] {
            assert!(ns_policy(bad).is_err(), "{bad:?}");
        }
    }
}
