//! One look at sites of a server: the text that only each site has, then its front page, over as few connections as can be.

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

/// A packet's way around the world and back takes a third of a second, a lost one is sent again after one.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// nginx gives it without asking anybody.
const PROOF_MAX: Duration = Duration::from_secs(5);
/// A site gives a target that is away ten seconds before it says 504. Whoever takes longer than this is only slow.
const FRONT_MAX: Duration = Duration::from_secs(12);
/// After a 503.
const PAUSE: Duration = Duration::from_millis(1_200);
/// All sites of one look together; what time is not left for comes first the next time.
const LOOK_MAX: Duration = Duration::from_secs(30);
/// A proof is 33 bytes.
const BODY_MAX: usize = 1 << 10;
/// Addresses tried for one server: two of its public ones, and that by which we reach it.
const ADDRESSES_MAX: usize = 3;
/// Sites of one look.
pub const SITES_MAX: usize = 16;

/// Sites of one server that are looked at together.
#[derive(Debug, Clone)]
pub struct Stop {
    /// The server.
    pub server: Id<id::Server>,
    addresses: Vec<Host>,
    tls: bool,
    sites: Vec<Asked>,
    /// The address that answered last.
    good: usize,
}

#[derive(Debug, Clone)]
struct Asked {
    domain: Id<id::Domain>,
    generation: i64,
    name: String,
    proof: Option<Proof>,
    /// Looks in a row in vain.
    misses: u32,
}

/// What was seen of one site.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Which.
    pub domain: Id<id::Domain>,
    /// Where.
    pub server: Id<id::Server>,
    /// Of the text that was looked for.
    pub generation: i64,
    /// What it comes to.
    pub code: Code,
    /// One sentence.
    pub say: String,
}

impl Stop {
    /// All stops that these sites make; those of one server stand together.
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

    /// For telling one from another: changes with whatever is asked.
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

    /// Is it not settled yet what one of them is?
    pub fn is_in_doubt(&self) -> bool {
        self.sites.iter().any(|s| (1..=2).contains(&s.misses))
    }

    /// The first site's domain: no two stops have the same.
    pub fn key(&self) -> (i64, i64) {
        (self.server.get(), self.sites.first().map_or(0, |s| s.domain.get()))
    }
}

/// Looks at them; it ends within [`LOOK_MAX`] and the time of one site.
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
            // Whoever proves that he is the one meant has the last word.
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
            None => false, // there is no time left
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

/// Of several addresses, what says most about a site counts.
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
                    // Nobody took the connection: it is the same for all.
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
            security: Security::Plain, // the visit decides
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
        // How a front page is, and how long it takes, is its owner's business.
        let mut front = visit.head(name, "/", FRONT_MAX);
        if front.as_ref().is_ok_and(|status| *status == 503) {
            // A limit of requests says that, too, to whoever asks for many sites at once.
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
        // TLS that is refused or not spoken, or no HTTP.
        _ => Code::Other,
    }
}
