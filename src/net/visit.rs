//! Anonymous requests to a web server over one connection to a chosen address, for any of its site names. Any
//! certificate is accepted, so no secret can be sent.

use super::answer::{Answer, Head, Input};
use super::dial::{self, Call, Security, Wire};
use super::get;
use crate::base::clock::{self, Duration};
use crate::base::error::{Error, Result};
use rustls::pki_types::ServerName;

/// A connection that is renewed when the server has closed it.
pub struct Visit<'a> {
    call: Call<'a>,
    /// SNI name; `None`: plain HTTP.
    name: Option<&'a str>,
    wire: Option<Wire>,
}

impl<'a> Visit<'a> {
    /// Connects within `within`. `call.security` is ignored: with a `name` TLS is used. Errors: those of
    /// [`dial::dial`].
    pub fn begin(call: Call<'a>, name: Option<&'a str>, within: Duration) -> Result<Visit<'a>> {
        let wire = connect(&ends(&call, within), name)?;
        Ok(Visit {
            call,
            name,
            wire: Some(wire),
        })
    }

    /// GET of `path` of the site `host`. Errors: those of [`super::get::get`].
    pub fn get(&mut self, host: &str, path: &str, within: Duration, body_max: usize) -> Result<Answer> {
        let (head, body, wire) = self.ask(("GET", host, path), within, |input| input.answer(body_max))?;
        self.wire = wire;
        Ok(head.with(body))
    }

    /// HEAD of `path` of the site `host`; returns its status. Errors: as [`Visit::get`].
    pub fn head(&mut self, host: &str, path: &str, within: Duration) -> Result<u16> {
        let (head, wire): (Head, _) = self.ask(("HEAD", host, path), within, |input| input.lone_head())?;
        self.wire = wire;
        Ok(head.status)
    }

    fn ask<T>(
        &mut self,
        request: (&str, &str, &str),
        within: Duration,
        read: impl Fn(Input<'_>) -> Result<T>,
    ) -> Result<T> {
        let call = ends(&self.call, within);
        if let Some(wire) = self.wire.take() {
            match exchange(&call, wire, request, &read) {
                // Closed since the last response: that says nothing about this request.
                Err(e) if ["empty", "reset"].contains(&e.code) => {}
                other => return other,
            }
        }
        exchange(&call, connect(&call, self.name)?, request, &read)
    }
}

fn ends<'a>(call: &Call<'a>, within: Duration) -> Call<'a> {
    Call {
        until: call.until.min(clock::mono() + within),
        ..*call
    }
}

fn connect(call: &Call, name: Option<&str>) -> Result<Wire> {
    match name {
        None => dial::dial(&Call {
            security: Security::Plain,
            ..*call
        }),
        Some(name) => dial::dial_unverified(call, ServerName::try_from(name.to_owned()).map_err(Error::internal)?),
    }
}

fn exchange<T>(
    call: &Call,
    mut wire: Wire,
    (method, host, path): (&str, &str, &str),
    read: impl Fn(Input<'_>) -> Result<T>,
) -> Result<T> {
    wire.renew(call.until);
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: lamplighter/{}\r\nAccept: */*\r\nAccept-Encoding: identity\r\nConnection: keep-alive\r\n\r\n",
        env!("CARGO_PKG_VERSION"),
    );
    get::ask(call, wire, request.as_bytes(), read)
}
