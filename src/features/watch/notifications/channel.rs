//! What a way of sending is: one row of [`super::CHANNELS`] and one file. A channel knows its own settings, makes its own
//! form of a message, sends it once, and says what to think of the answer. Waiting, repeating and giving up are not its job.

use super::text::{Facts, Message};
use crate::base::clock::{Duration, Instant};
use crate::base::error::Error;
use crate::base::host::Host;
use crate::base::secret::Secret;
use crate::base::text::one_line;
use crate::base::url::Url;
use crate::form::Input;
use crate::lang::Lang;
use crate::net::dial::{Call, Security};
use crate::net::http::{self, EXCUSE_MAX, Method, Proxy, Request, Response, Route};
use crate::net::policy::Policy;
use crate::net::tls::Pin;
use serde_json::Value;
use std::collections::HashMap;

/// Secrets that were given, by column; `None` removes one.
pub type Secrets = Vec<(&'static str, Option<Secret>)>;

/// One way of sending.
pub struct Channel {
    /// `telegram`, …: the endpoint's type.
    pub name: &'static str,
    /// The columns that hold its sealed values.
    pub secrets: &'static [&'static str],
    /// Those of them that must be filled with these settings.
    pub needs: fn(&Value) -> &'static [&'static str],
    /// Reads its settings over those there were; mistakes are noted in the input. May take a secret apart that was given.
    pub read: fn(&mut Input, &Value, &mut Secrets) -> Value,
    /// What is wrong with a secret that was entered for this column; the error is a sentence without the secret.
    pub check: fn(&str, &str) -> Result<(), String>,
    /// Where a secret is sent with these settings, and whether it is sent at all. Once that changes, it is given again.
    pub home: fn(&Value, &str) -> (String, bool),
    /// Whom it reaches; each gets a row of the queue. One empty name where the address is the endpoint itself.
    pub recipients: fn(&Value) -> Vec<String>,
    /// May several things at once be told in one message? (Machines want each for itself.)
    pub may_gather: fn(&Value) -> bool,
    /// The least time between two messages, ms.
    pub pace_ms: i64,
    /// How long one attempt may take.
    pub deadline: Duration,
    /// One attempt.
    pub send: fn(&Sending) -> Outcome,
}

/// One attempt.
pub struct Sending<'a> {
    /// The channel's settings.
    pub config: &'a Value,
    /// Its opened secrets by column.
    pub secrets: &'a HashMap<&'static str, Secret>,
    /// To whom.
    pub recipient: &'a str,
    /// What, in words.
    pub message: &'a Message,
    /// What, for machines.
    pub facts: &'a [Facts],
    /// The language of the words.
    pub lang: Lang,
    /// The same for every attempt of this message.
    pub key: &'a str,
    /// The key of the first message about the same alert to the same recipient, when this is not it.
    pub thread: Option<&'a str>,
    /// Where Lamplighter itself is found; may be empty.
    pub public_url: &'a str,
    /// What it calls itself before mail servers; empty: whatever it is called.
    pub mail_name: &'a str,
    /// Which addresses may be connected to.
    pub policy: Policy,
    /// Unix seconds.
    pub now_s: i64,
    /// The end of the attempt.
    pub until: Instant,
}

/// What came of an attempt. The texts are the receiver's own words where there are any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It has it.
    Sent(String),
    /// Not now.
    Later {
        /// Why.
        why: String,
        /// Seconds it asked us to wait, with everything.
        wait_s: Option<u32>,
    },
    /// The answer says neither yes nor no: a few more attempts and no more, for each may be one more copy.
    Doubtful(String),
    /// Not this, however often.
    Never(String),
    /// The recipient is called so from now on; to be sent there at once.
    Moved(String),
}

/// For connecting; nobody's TCP handshake takes longer who will answer in time.
const CONNECT_MAX: Duration = Duration::from_secs(5);

impl Sending<'_> {
    /// The settings as the channel's own type. They were made by its `read`.
    pub fn config<T: serde::de::DeserializeOwned>(&self) -> Result<T, Outcome> {
        serde_json::from_value(self.config.clone())
            .map_err(|_| Outcome::Never("The endpoint's settings cannot be read. Enter them again.".into()))
    }

    /// A secret that must be there.
    pub fn secret(&self, column: &str) -> Result<&Secret, Outcome> {
        let missing = || Outcome::Never(format!("The endpoint's {column} is missing. Enter it."));
        self.secrets.get(column).ok_or_else(missing)
    }

    /// The call to this host.
    pub fn call<'c>(&'c self, host: &'c Host, port: u16, security: Security) -> Call<'c> {
        Call {
            host,
            port,
            security,
            policy: self.policy,
            connect_max: CONNECT_MAX,
            until: self.until,
        }
    }

    /// One POST of JSON to `url`, its path being a secret.
    pub fn post(&self, url: &Url, pin: &str, body: &[u8], proxy: Option<&Proxy>) -> Result<Response, Outcome> {
        self.ask(Method::Post, url, pin, &[], body, proxy)
    }

    /// One request with JSON and further headers.
    pub fn ask(
        &self,
        method: Method,
        url: &Url,
        pin: &str,
        headers: &[(&str, String)],
        body: &[u8],
        proxy: Option<&Proxy>,
    ) -> Result<Response, Outcome> {
        let path = Secret::new(url.path.as_str());
        let request = Request {
            method,
            path: &path,
            content_type: "application/json",
            headers,
            body,
            route: proxy.map_or(Route::Direct, Route::Proxy),
        };
        let call = self.call(&url.host, url.port, security(url, pin));
        http::send(&call, &request, EXCUSE_MAX).map_err(|e| failed(&e))
    }
}

/// A failure on the way. Whatever it is, it may be over later; a wrong address is put right by a person, and what waits
/// then goes out.
pub fn failed(e: &Error) -> Outcome {
    let doubt = match http::may_have_arrived(e) {
        true => " It may have arrived all the same, and will come twice then.",
        false => "",
    };
    let opened = match e.code {
        "address_refused" => " An administrator can open a network in the settings (messages.networks).",
        _ => "",
    };
    Outcome::Later {
        why: format!("{}{doubt}{opened}", e.say),
        wait_s: None,
    }
}

/// Who vouches for an address; `pin` is empty for the system's authorities.
fn security(url: &Url, pin: &str) -> Security {
    match (url.tls, Pin::parse(pin)) {
        (false, _) => Security::Plain,
        (true, Ok(pin)) => Security::Pinned(pin),
        (true, Err(_)) => Security::Tls,
    }
}

/// A certificate's SHA-256 as it is stored, or nothing.
pub fn pin(text: &str) -> Result<String, String> {
    match text {
        "" => Ok(String::new()),
        text => Pin::parse(text).map(|pin| pin.to_string()),
    }
}

/// A text of the settings; empty when there is none.
pub fn text_of<'v>(config: &'v Value, name: &str) -> &'v str {
    config.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Status and the beginning of the body, as one line.
pub fn answer(said: &Response) -> String {
    let body = String::from_utf8_lossy(&said.body);
    // A gateway's page is of no use as a sentence.
    let body = match said.content_type.as_str() {
        "text/html" if body.trim_start().starts_with('<') => "(a web page)".into(),
        _ => body,
    };
    match &said.location {
        Some(to) if (300..400).contains(&said.status) => {
            let to = Url::parse(to).map_or_else(|_| String::from("elsewhere"), |url| url.origin());
            format!(
                "{} leads to {to}. Redirects are not followed: enter the final address.",
                said.status
            )
        }
        _ => one_line(&format!("{} {}", said.status, body), 300),
    }
}

/// What a status means where nothing more is known: 2xx has it, 408, 425, 429 and 5xx later, anything else never.
pub fn by_status(said: &Response) -> Outcome {
    match said.status {
        200..=299 => Outcome::Sent(answer(said)),
        408 | 425 | 429 | 500.. => Outcome::Later {
            why: answer(said),
            wait_s: said.retry_after,
        },
        _ => Outcome::Never(answer(said)),
    }
}
