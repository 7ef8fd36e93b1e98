//! Client of a remote store: imports samples as JSON lines, and queries ranges.

use crate::base::clock::{self, Duration};
use crate::base::error::{Error, Kind, Result};
use crate::base::host::Host;
use crate::base::secret::Secret;
use crate::base::text;
use crate::base::url::Url;
use crate::net::dial::{Call, Security};
use crate::net::http::{self, EXCUSE_MAX, Method, Request, Response, Route};
use crate::net::policy::Policy;

/// Limit of an import.
const IMPORT_MAX: Duration = Duration::from_secs(20);
const IMPORT_CONNECT_MAX: Duration = Duration::from_secs(5);
/// Limit of a query: a person waits for the chart.
const QUERY_MAX: Duration = Duration::from_secs(5);
const QUERY_CONNECT_MAX: Duration = Duration::from_secs(2);

/// Address and authorization.
pub struct RemoteStore {
    host: Host,
    port: u16,
    security: Security,
    /// Base path of its API, without trailing slash.
    base: String,
    authorization: Option<Secret>,
}

impl RemoteStore {
    /// `None`: not a URL.
    pub(super) fn at(url: &str, authorization: Option<Secret>) -> Option<RemoteStore> {
        let url = Url::parse(url).ok()?;
        Some(RemoteStore {
            security: if url.tls { Security::Tls } else { Security::Plain },
            base: url.path.trim_end_matches('/').to_string(),
            host: url.host,
            port: url.port,
            authorization,
        })
    }

    /// Scheme, host and port: the destination of the secret.
    pub(super) fn home(&self) -> String {
        format!("{:?} {}", self.security, self.place())
    }

    /// Host and port, for display.
    pub fn place(&self) -> String {
        format!("{}:{}", self.host.in_url(), self.port)
    }

    fn call(&self, connect_max: Duration, all_max: Duration) -> Call<'_> {
        Call {
            host: &self.host,
            port: self.port,
            security: self.security,
            // The administrator's own store, usually in the same private network.
            policy: Policy::Server,
            connect_max,
            until: clock::mono() + all_max,
        }
    }

    /// Imports JSON lines. Errors: those of [`crate::net::http::send`], or the store's refusal.
    pub fn import(&self, body: &str) -> Result<()> {
        let said = self.ask(
            &self.call(IMPORT_CONNECT_MAX, IMPORT_MAX),
            Method::Post,
            format!("{}/api/v1/import", self.base),
            body.as_bytes(),
            EXCUSE_MAX,
        )?;
        self.good(said.status, &said.body, "did not take the samples")
    }

    /// Queries a range of `query` with these steps, in unix seconds; returns the response's JSON. Errors: as
    /// [`RemoteStore::import`].
    pub fn query_range(&self, query: &str, (from, to, step): (u32, u32, u32), body_max: usize) -> Result<Vec<u8>> {
        let query = text::percent_encode(query);
        // A fixed range: other queries must not shift the steps.
        let path = format!(
            "{}/api/v1/query_range?query={query}&start={from}&end={to}&step={step}s&nocache=1",
            self.base
        );
        let answer = self.ask(
            &self.call(QUERY_CONNECT_MAX, QUERY_MAX),
            Method::Get,
            path,
            b"",
            body_max,
        )?;
        self.good(answer.status, &answer.body, "did not answer the question")?;
        match answer.fault {
            None => Ok(answer.body),
            Some(fault) => Err(fault),
        }
    }

    fn ask(&self, call: &Call, method: Method, path: String, body: &[u8], body_max: usize) -> Result<Response> {
        let authorization = self.authorization.as_ref();
        let headers: Vec<_> = authorization
            .map(|a| ("authorization", a.reveal_text_for("the store's header").to_string()))
            .into_iter()
            .collect();
        let said = http::send(
            call,
            &Request {
                method,
                path: &Secret::new(path),
                content_type: "application/json",
                headers: &headers,
                body,
                route: Route::Direct,
            },
            body_max,
        );
        let wiped = headers.into_iter().map(|(_, value)| Secret::new(value));
        drop(wiped.collect::<Vec<_>>());
        said
    }

    fn good(&self, status: u16, body: &[u8], failed: &str) -> Result<()> {
        if (200..300).contains(&status) {
            return Ok(());
        }
        let answer = text::one_line(&String::from_utf8_lossy(body), 200);
        let say = format!("{} {failed} (status {status}): {answer}", self.place());
        Err(Error::new(Kind::Upstream, "engine_refused", say))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let of = |url| RemoteStore::at(url, None).map(|e| (e.place(), e.base));
        let found = |place: &str, base: &str| Some((place.to_string(), base.to_string()));
        assert_eq!(of("http://10.0.0.5:8428"), found("10.0.0.5:8428", ""));
        assert_eq!(of("HTTPS://vm.example/"), found("vm.example:443", ""));
        let cluster = "http://[2001:db8::1]:8480/insert/0/prometheus";
        assert_eq!(of(cluster), found("[2001:db8::1]:8480", "/insert/0/prometheus"));
    }
}
