//! Fields of a domain and their validation.

use crate::access::Place;
use crate::base::error::Result;
use crate::base::id::{Certificate, Group, Id, Server, Upstream};
use crate::base::idn::DomainName;
use crate::form::Input;
use crate::form::param::{self, Param};

/// Policy if the domain's addresses are not those of its servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Preflight {
    /// Stop the deploy.
    #[default]
    Strict,
    /// Deploy with a warning.
    Warn,
    /// Do not check.
    Off,
}

impl Preflight {
    /// As stored and shown, in the order of the variants.
    pub const NAMES: [&'static str; 3] = ["strict", "warn", "off"];

    /// As stored and shown.
    pub fn name(self) -> &'static str {
        Preflight::NAMES[self as usize]
    }

    /// Parses a name; unknown ones mean `Strict`.
    pub fn parse(name: &str) -> Preflight {
        match name {
            "warn" => Preflight::Warn,
            "off" => Preflight::Off,
            _ => Preflight::Strict,
        }
    }
}

/// Validated fields of a domain. Whether referenced rows exist is checked when they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// Name.
    pub domain: DomainName,
    /// Upstream; required for a deploy.
    pub upstream_id: Option<Id<Upstream>>,
    /// Servers; the first is the canary.
    pub server_ids: Vec<Id<Server>>,
    /// Group.
    pub group_id: Option<Id<Group>>,
    /// HTTPS, with redirect from HTTP.
    pub ssl: bool,
    /// HSTS; needs `ssl`.
    pub hsts: bool,
    /// Uploaded certificate; `None`: from the ACME server.
    pub certificate_id: Option<Id<Certificate>>,
    /// Policy for name servers ([`ns_policy`]); empty: only changes are reported.
    pub ns_policy: String,
    /// Policy for addresses.
    pub preflight: Preflight,
    /// Free text.
    pub notes: String,
}

impl Fields {
    /// A domain with only a name.
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

/// Proof of validation.
#[derive(Debug)]
pub struct Valid {
    /// All fields.
    pub fields: Fields,
}

impl Valid {
    /// Scope of the placement.
    pub fn place(&self) -> Place {
        Place::At(self.fields.group_id, self.fields.server_ids.clone())
    }
}

/// Maximum servers of one domain.
pub const SERVERS_MAX: usize = 64;

/// Accepted fields of a draft.
pub const PARAMS: &[Param] = &[
    param::text("domain", 4_096, "The name, also in other scripts than Latin.")
        .required()
        .example("\"www.example.org\""),
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

/// Fields of the answer that may be sent back unchanged.
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

/// Reads a draft over `base`: missing fields keep the values of `base`, or get defaults. Error: invalid fields.
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
    // Without a name the draft is refused; the other fields are read to report all mistakes.
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

/// `server_ids`, or `server_id` for one. An answer has both if there is one server, and may be sent back.
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

/// Policy for host names of name servers: a substring (`dnspod`), a suffix (`suffix:dnspod.net`), or a list
/// (`exact:a.example,b.example`). Normalized to lower case, without spaces and final dots. The error is a sentence.
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

/// What a failed deploy or removal has left on a server, as its job reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// Nothing was changed.
    Untouched,
    /// The previous file, and it answers.
    Back,
    /// No file, as before.
    Empty,
    /// The previous files, which nginx cannot load: it continues with its old configuration.
    Red,
    /// The previous files, but nginx does not answer as before.
    Stuck,
    /// The new file; a later step failed.
    New,
    /// The file was removed; a later step failed.
    Gone,
    /// The job was interrupted: the server rolls back, unconfirmed.
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

    /// Name as reported, stored and shown.
    pub fn name(self) -> &'static str {
        ["untouched", "back", "empty", "red", "stuck", "new", "gone", "unseen"][self as usize]
    }

    /// Parses a name ([`Stands::name`]).
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
