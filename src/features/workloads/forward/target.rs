//! Who lines go on to, by the settings.

use super::settings::{self, FORWARD_LOKI, FORWARD_LOKI_TENANT, FORWARD_LOKI_USER, FORWARD_SYSLOG, FORWARD_SYSLOG_PIN};
use super::{SECRET_AT, queries};
use crate::app::App;
use crate::base::clock::{self, Duration};
use crate::base::error::{Error, Result};
use crate::base::host::Host;
use crate::base::secret::Secret;
use crate::base::url::Url;
use crate::db::Conn;
use crate::net::dial::{Call, Security};
use crate::net::get;
use crate::net::policy::Policy;
use crate::net::tls::Pin;

/// The two that there may be; their names are those of their readers of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A syslog receiver.
    Syslog,
    /// Loki.
    Loki,
}

/// Limit of connecting.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// One that is set.
pub struct Place {
    /// As in the setting.
    pub text: String,
    host: Host,
    port: u16,
    security: Security,
    /// Path before that of its API.
    pub base: String,
    /// Headers of requests.
    pub tenant: String,
    /// Its value of the header.
    pub authorization: Option<Secret>,
}

impl Target {
    /// Both.
    pub const ALL: [Target; 2] = [Target::Syslog, Target::Loki];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Target::Syslog => "syslog",
            Target::Loki => "loki",
        }
    }

    /// Its address; empty: it is none.
    pub fn address(self, conn: &Conn) -> Result<String> {
        match self {
            Target::Syslog => FORWARD_SYSLOG.text(conn),
            Target::Loki => FORWARD_LOKI.text(conn),
        }
    }

    /// Where it is; `None`: it is not set.
    pub fn place(self, app: &App) -> Result<Option<Place>> {
        let text = app.db.read(|conn| self.address(conn))?;
        if text.is_empty() {
            return Ok(None);
        }
        let odd = || Error::internal(format!("{} is no address", self.name()));
        match self {
            Target::Syslog => {
                let (tls, host, port) = settings::receiver(&text).ok_or_else(odd)?;
                let pin = app.db.read(|conn| FORWARD_SYSLOG_PIN.text(conn))?;
                let security = match (tls, pin.is_empty()) {
                    (false, _) => Security::Plain,
                    (true, true) => Security::Tls,
                    (true, false) => Security::Pinned(Pin::parse(&pin).map_err(Error::internal)?),
                };
                Ok(Some(Place {
                    text,
                    host,
                    port,
                    security,
                    base: String::new(),
                    tenant: String::new(),
                    authorization: None,
                }))
            }
            Target::Loki => {
                let url = Url::parse(&text).map_err(Error::internal)?;
                let (user, tenant, sealed) = app.db.read(|conn| {
                    let user = FORWARD_LOKI_USER.text(conn)?;
                    Ok((user, FORWARD_LOKI_TENANT.text(conn)?, queries::secret(conn)?))
                })?;
                // It was given for one place and is shown to no other.
                let sealed = sealed.filter(|(place, _)| *place == url.origin());
                let secret = sealed
                    .map(|(_, sealed)| app.vault.open_sealed(SECRET_AT, &sealed))
                    .transpose()?;
                let authorization = secret.map(|secret| match user.is_empty() {
                    true => get::bearer(&secret),
                    false => get::basic(&user, &secret),
                });
                Ok(Some(Place {
                    security: if url.tls { Security::Tls } else { Security::Plain },
                    base: url.path.trim_end_matches('/').into(),
                    host: url.host,
                    port: url.port,
                    text,
                    tenant,
                    authorization,
                }))
            }
        }
    }
}

impl Place {
    /// A connection there that is over after this.
    pub fn call(&self, limit: Duration) -> Call<'_> {
        Call {
            host: &self.host,
            port: self.port,
            security: self.security,
            // The administrator's own receiver, usually in the same private network.
            policy: Policy::Server,
            connect_max: CONNECT_MAX.min(limit),
            until: clock::mono() + limit,
        }
    }
}

/// Where Loki's secret belongs: scheme, host and port; `None`: there is no Loki.
pub fn loki_origin(conn: &Conn) -> Result<Option<String>> {
    Ok(Url::parse(&FORWARD_LOKI.text(conn)?).ok().map(|url| url.origin()))
}

/// Is there a secret for it?
pub fn has_secret(conn: &Conn) -> Result<bool> {
    let origin = loki_origin(conn)?;
    Ok(queries::secret(conn)?.is_some_and(|(place, _)| Some(place) == origin))
}
