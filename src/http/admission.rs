//! Settings of admission: allowed addresses, CORS origins, HSTS, request rates. [`Admission`] keeps them in the form
//! needed for every request, and reads them again after a commit.

use super::edge::Policy;
use super::rate::Windows;
use crate::base::clock;
use crate::base::error::{Error, Field, Kind, Result};
use crate::base::host::{Cidr, network};
use crate::base::log;
use crate::base::parallel::lock;
use crate::base::url::Url;
use crate::db::{Conn, Db};
use crate::settings::{SITE_PUBLIC_URL, Setting, check};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

/// All of them, in the order of the page.
pub const SETTINGS: &[Setting] = &[
    WEB_HSTS_DAYS,
    WEB_ALLOW_FROM,
    WEB_CORS_ORIGINS,
    RATE_API,
    RATE_SIGNED_IN,
];

/// `web.hsts_days`
pub const WEB_HSTS_DAYS: Setting = Setting::of_number("web.hsts_days", (0, 730), 365, "d");

/// `web.allow_from`
pub const WEB_ALLOW_FROM: Setting = Setting::of_text("web.allow_from", 2_000, "", check::blocks);

/// `web.cors_origins`
pub const WEB_CORS_ORIGINS: Setting = Setting::of_text("web.cors_origins", 1_000, "", check::origins);

/// `rate.api`
pub const RATE_API: Setting = Setting::of_number("rate.api", (0, 1_000_000), 100, "");

/// `rate.signed_in`
pub const RATE_SIGNED_IN: Setting = Setting::of_number("rate.signed_in", (0, 1_000_000), 3_000, "");

/// Cached settings and request counters.
pub struct Admission {
    db: Arc<Db>,
    kept: Mutex<Kept>,
    hash: RandomState,
    /// Counters of anonymous requests by network.
    strangers: Windows<IpAddr>,
    /// Counters of sessions and tokens, by a keyed hash.
    known: Windows<u64>,
}

struct Kept {
    /// Database version of the cached settings.
    version: i64,
    policy: Arc<Policy>,
    /// Requests per minute: anonymous, authenticated; 0: unlimited.
    rates: [u32; 2],
}

/// Whom a request is counted for.
#[derive(Debug, Clone, Copy)]
pub enum Caller<'a> {
    /// Anonymous: by address.
    Stranger(&'a str),
    /// By session or token.
    Known(&'a str),
}

impl Admission {
    /// Reads the settings. Error: the database.
    pub fn new(db: Arc<Db>) -> Result<Admission> {
        Ok(Admission {
            kept: Mutex::new(read(&db)?),
            db,
            hash: RandomState::new(),
            strangers: Windows::default(),
            known: Windows::default(),
        })
    }

    /// The current policy.
    pub fn policy(&self) -> Arc<Policy> {
        self.with(|kept| Arc::clone(&kept.policy))
    }

    /// Counts a request. Error: `too_many_requests`.
    pub fn count(&self, caller: Caller) -> Result<()> {
        let [strangers_max, known_max] = self.with(|kept| kept.rates);
        let now = clock::mono();
        let (max, counted) = match caller {
            Caller::Stranger(ip) if strangers_max > 0 => {
                let ip = ip.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
                (strangers_max, self.strangers.admit(network(ip), strangers_max, now))
            }
            Caller::Known(credential) if known_max > 0 => {
                let credential = self.hash.hash_one(credential);
                (known_max, self.known.admit(credential, known_max, now))
            }
            _ => return Ok(()),
        };
        counted.map_err(|left| {
            let left = left.as_secs() as u32 + 1;
            let say = format!("More than {max} requests came within a minute. Try again in {left} s.");
            Error::new(Kind::TooMany(left), "too_many_requests", say)
        })
    }

    /// While the database cannot be read, the last values apply.
    fn with<T>(&self, read_kept: impl FnOnce(&Kept) -> T) -> T {
        let mut kept = lock(&self.kept);
        let fresh = self.db.version().and_then(|version| {
            if version != kept.version {
                *kept = read(&self.db)?;
            }
            Ok(())
        });
        if let Err(e) = fresh {
            log::warning("http", "the settings cannot be read", &[("error", &e.to_string())]);
        }
        read_kept(&kept)
    }
}

/// The version is read first: a commit in between causes another read.
fn read(db: &Db) -> Result<Kept> {
    let version = db.version()?;
    db.read(|conn| {
        let origins = WEB_CORS_ORIGINS.text(conn)?;
        Ok(Kept {
            version,
            policy: Arc::new(Policy {
                public: Url::parse(&SITE_PUBLIC_URL.text(conn)?).ok(),
                hsts_s: WEB_HSTS_DAYS.number(conn)? as u32 * 86_400,
                allow_from: allowed(conn)?,
                origins: check::words(&origins).map(String::from).collect(),
            }),
            rates: [RATE_API.number(conn)? as u32, RATE_SIGNED_IN.number(conn)? as u32],
        })
    })
}

fn allowed(conn: &Conn) -> Result<Vec<Cidr>> {
    let text = WEB_ALLOW_FROM.text(conn)?;
    let parse = |word| Cidr::parse(word).map_err(Error::internal);
    check::words(&text).map(parse).collect()
}

/// Would a client of this address still be admitted? (This machine always is; so is the command line, which has no
/// address.) Error: `invalid`.
pub fn keeps_in(conn: &Conn, ip: &str) -> Result<()> {
    let policy = Policy {
        allow_from: allowed(conn)?,
        ..Policy::default()
    };
    match ip.parse::<IpAddr>() {
        Ok(ip) if !ip.to_canonical().is_loopback() && !policy.lets_in(ip) => {
            let say = format!("You come from {ip}, which is not among these: you would lock yourself out.");
            let field = Field {
                field: WEB_ALLOW_FROM.key,
                code: "locks_out",
                message: say.clone(),
            };
            Err(Error {
                fields: vec![field],
                ..Error::new(Kind::Invalid, "invalid", say)
            })
        }
        _ => Ok(()),
    }
}
