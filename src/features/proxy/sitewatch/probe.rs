//! Checks the sites of a server: the proof of each, then its front page, over as few connections as possible.

use super::evaluate::Code;
use super::queries::Site;
use crate::base::clock::{self, Duration, Instant};
use crate::base::error::{Error, Kind, Result};
use crate::base::host::Host;
use crate::base::id::{self, Id};
use crate::net::dial::{Call, Security};
use crate::net::policy::Policy;
use crate::net::visit::Visit;
use crate::provision::site::Proof;

/// Limit of connecting: a round trip takes up to a third of a second, a lost packet is sent again after one.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// Limit of a proof, which nginx serves from memory.
const PROOF_MAX: Duration = Duration::from_secs(5);
/// Limit of a front page: nginx gives a missing target ten seconds before 504; longer means slow.
const FRONT_MAX: Duration = Duration::from_secs(12);
/// Pause after a 503.
const PAUSE: Duration = Duration::from_millis(1_200);
/// Limit of all sites of one check; the rest comes first in the next one.
const LOOK_MAX: Duration = Duration::from_secs(30);
/// Limit of a body; a proof has 33 bytes.
const BODY_MAX: usize = 1 << 10;
/// Addresses tried per server: two public ones, and that by which we reach it.
const ADDRESSES_MAX: usize = 3;
/// Maximum sites of one check.
pub const SITES_MAX: usize = 16;

/// Sites of one server that are checked together.
#[derive(Debug, Clone)]
pub struct Stop {
    /// The server.
    pub server: Id<id::Server>,
    addresses: Vec<Host>,
    tls: bool,
    sites: Vec<Asked>,
    /// Index of the address that answered last.
    good: usize,
}

#[derive(Debug, Clone)]
struct Asked {
    domain: Id<id::Domain>,
    generation: i64,
    name: String,
    proof: Option<Proof>,
    /// Failed checks in a row.
    misses: u32,
}

/// Result for one site.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The domain.
    pub domain: Id<id::Domain>,
    /// The server.
    pub server: Id<id::Server>,
    /// Generation of the expected text.
    pub generation: i64,
    /// Result.
    pub code: Code,
    /// Evidence, one sentence.
    pub say: String,
}

impl Stop {
    /// Groups these sites into stops; those of one server are adjacent. Error: a malformed address.
    pub fn of(sites: &[Site]) -> Result<Vec<Stop>> {
        let mut stops: Vec<Stop> = Vec::new();
        for tls in [false, true] {
            for site in sites.iter().filter(|s| s.tls == tls) {
                let asked = Asked {
                    domain: site.domain,
                    generation: site.generation,
                    name: site.name.clone(),
                    proof: site.proof.clone(),
                    misses: 0,
                };
                match stops.last_mut() {
                    Some(stop) if stop.server == site.server && stop.tls == tls && stop.sites.len() < SITES_MAX => {
                        stop.sites.push(asked);
                    }
                    _ => {
                        let addresses = site.addresses.iter().take(ADDRESSES_MAX);
                        stops.push(Stop {
                            server: site.server,
                            addresses: addresses
                                .map(|a| Host::parse(a).map_err(Error::internal))
                                .collect::<Result<_>>()?,
                            tls,
                            sites: vec![asked],
                            good: 0,
                        });
                    }
                }
            }
        }
        Ok(stops)
    }

    /// A fingerprint of what is checked.
    pub fn print(&self) -> String {
        let sites = self.sites.iter().map(|s| {
            let proof = s.proof.as_ref().map_or("", |p| &p.path);
            format!("{} {} {} {proof}", s.domain, s.generation, s.name)
        });
        format!(
            "{:?} {} {}",
            self.addresses,
            self.tls,
            sites.collect::<Vec<_>>().join(", ")
        )
    }

    /// Is the state of one of its sites undecided?
    pub fn is_in_doubt(&self) -> bool {
        self.sites.iter().any(|s| (1..=2).contains(&s.misses))
    }

    /// Key: the first site's domain and the server; unique among stops.
    pub fn key(&self) -> (i64, i64) {
        (self.server.get(), self.sites.first().map_or(0, |s| s.domain.get()))
    }
}

/// Checks them; ends within [`LOOK_MAX`] and the time of one site.
pub fn probe(stop: &mut Stop) -> Vec<Seen> {
    let until = clock::mono() + LOOK_MAX;
    let mut open: Vec<usize> = (0..stop.sites.len()).collect();
    let mut seen: Vec<Option<(Code, String)>> = vec![None; stop.sites.len()];
    for n in 0..stop.addresses.len() {
        let n = (stop.good + n) % stop.addresses.len();
        let round = Round {
            stop,
            address: &stop.addresses[n],
            until,
        };
        let mut known = round.probe(&open);
        open.retain(|site| match known.remove(site) {
            // An address with the right proof decides.
            Some(found @ (Code::Good | Code::Backend, _)) => {
                seen[*site] = Some(found);
                false
            }
            Some(found) => {
                if weight(found.0) > seen[*site].as_ref().map_or(-1, |(code, _)| weight(*code)) {
                    seen[*site] = Some(found);
                }
                true
            }
            None => false, // out of time
        });
        if seen.iter().flatten().any(|(code, _)| *code == Code::Good) {
            stop.good = n;
        }
        if open.is_empty() {
            break;
        }
    }
    let done = seen.iter().take_while(|s| s.is_some()).count();
    let server = stop.server;
    let out = stop.sites.iter_mut().zip(seen).filter_map(|(site, seen)| {
        let (code, say) = seen?;
        site.misses = match code {
            Code::Good | Code::Unseen => 0,
            _ => site.misses.saturating_add(1),
        };
        Some(Seen {
            domain: site.domain,
            server,
            generation: site.generation,
            code,
            say,
        })
    });
    let out = out.collect();
    let len = stop.sites.len();
    stop.sites.rotate_left(if done < len { done } else { 0 });
    out
}

/// Rank of a result: of several addresses the most informative counts.
fn weight(code: Code) -> i32 {
    match code {
        Code::Unseen => 0,
        Code::Silent => 1,
        Code::Refused => 2,
        Code::NoAnswer => 3,
        _ => 4,
    }
}

/// The sites of a stop at one of its addresses.
struct Round<'a> {
    stop: &'a Stop,
    address: &'a Host,
    until: Instant,
}

type Known = std::collections::HashMap<usize, (Code, String)>;

impl Round<'_> {
    fn probe(&self, open: &[usize]) -> Known {
        let mut known = Known::new();
        let mut shared: Option<Visit> = None;
        for (i, n) in open.iter().enumerate() {
            if clock::mono() >= self.until {
                break;
            }
            let site = &self.stop.sites[*n];
            let mut visit = match shared.take().map_or_else(|| self.begin(site), Ok) {
                Ok(visit) => visit,
                Err(e) => {
                    let code = code(&e);
                    // No connection: the same result for all sites.
                    let same = if matches!(code, Code::Refused | Code::Silent | Code::Unseen) {
                        &open[i..]
                    } else {
                        &open[i..=i]
                    };
                    known.extend(same.iter().map(|n| (*n, (code, e.say.clone()))));
                    if same.len() > 1 {
                        break;
                    }
                    continue;
                }
            };
            known.insert(*n, self.ask(&mut visit, site));
            shared = Some(visit).filter(|_| !self.stop.tls);
        }
        known
    }

    fn port(&self) -> u16 {
        if self.stop.tls { 443 } else { 80 }
    }

    fn begin<'a>(&'a self, site: &'a Asked) -> Result<Visit<'a>> {
        let call = Call {
            host: self.address,
            port: self.port(),
            security: Security::Plain, // the connection decides
            policy: Policy::Server,
            connect_max: CONNECT_MAX,
            until: self.until + PROOF_MAX + FRONT_MAX,
        };
        Visit::begin(call, self.stop.tls.then_some(&*site.name), PROOF_MAX)
    }

    fn ask(&self, visit: &mut Visit, site: &Asked) -> (Code, String) {
        let (whom, name) = (format!("{}:{}", self.address.in_url(), self.port()), &site.name);
        if let Some(proof) = &site.proof {
            let other = |what: &str| {
                let say = format!("{whom}, asked for {name}, {what}: it is not the site that was deployed there.");
                (Code::Other, say)
            };
            match visit.get(name, &proof.path, PROOF_MAX, BODY_MAX) {
                Ok(answer) if answer.status == 200 && answer.body.trim_ascii() == proof.body.as_bytes() => {}
                Ok(answer) => {
                    return other(&match (answer.status, answer.location) {
                        (200, _) => "answers something else".into(),
                        (status, Some(to)) => format!("sends elsewhere ({status}, {to})"),
                        (status, None) => format!("answers {status}"),
                    });
                }
                Err(e) if code(&e) == Code::Other => return (Code::Other, e.say),
                Err(e) => return (code(&e), e.say),
            }
        }
        // Content and speed of a front page are its owner's business.
        let mut front = visit.head(name, "/", FRONT_MAX);
        if front.as_ref().is_ok_and(|status| *status == 503) {
            // Rate limits answer 503, too, when many sites are requested at once.
            std::thread::sleep(PAUSE);
            front = visit.head(name, "/", FRONT_MAX);
        }
        match front {
            Ok(status @ (502..=504)) => {
                let say = format!(
                    "{whom} answers {status} for the front page of {name}: nginx runs, what is behind it does not answer."
                );
                (Code::Backend, say)
            }
            _ => (Code::Good, format!("{whom} answers for {name}.")),
        }
    }
}

fn code(e: &Error) -> Code {
    if matches!(e.kind, Kind::Busy | Kind::Config | Kind::Internal) {
        return Code::Unseen;
    }
    match e.code {
        "refused" => Code::Refused,
        "connect_timeout" | "no_route" => Code::Silent,
        "read_timeout" | "reset" | "empty" | "cut_short" => Code::NoAnswer,
        "name_unknown" | "name_slow" | "address_refused" | "no_network" => Code::Unseen,
        // TLS refused or not spoken, or no HTTP.
        _ => Code::Other,
    }
}
