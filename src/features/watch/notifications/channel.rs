//! Channels: each is one row of [`super::CHANNELS`] and one file. A channel reads its own settings, formats a message,
//! sends it once, and interprets the answer. Waiting, retries and giving up are done elsewhere.

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

/// Secrets of an input, by column; `None` removes one.
pub type Secrets = Vec<(&'static str, Option<Secret>)>;

/// A channel.
pub struct Channel {
    /// Type of the endpoint: `telegram`, …
    pub name: &'static str,
    /// Columns of its sealed values.
    pub secrets: &'static [&'static str],
    /// Columns that these settings require.
    pub needs: fn(&Value) -> &'static [&'static str],
    /// Reads its settings over the stored ones; mistakes are recorded in the input. May split a secret.
    pub read: fn(&mut Input, &Value, &mut Secrets) -> Value,
    /// Validates a secret for this column; the error is a sentence without the secret.
    pub check: fn(&str, &str) -> Result<(), String>,
    /// Destination of a secret with these settings, and whether it is used. If it changes, the secret must be given
    /// again.
    pub home: fn(&Value, &str) -> (String, bool),
    /// Recipients; each gets a row of the queue. One empty name if the endpoint itself is the address.
    pub recipients: fn(&Value) -> Vec<String>,
    /// May several events be combined in one message? (Not for machines.)
    pub may_gather: fn(&Value) -> bool,
    /// Minimum time between two messages, ms.
    pub pace_ms: i64,
    /// Limit of one attempt.
    pub deadline: Duration,
    /// Sends one message.
    pub send: fn(&Sending) -> Outcome,
}

/// Parameters of one attempt.
pub struct Sending<'a> {
    /// The channel's settings.
    pub config: &'a Value,
    /// Its unsealed secrets by column.
    pub secrets: &'a HashMap<&'static str, Secret>,
    /// The recipient.
    pub recipient: &'a str,
    /// The text.
    pub message: &'a Message,
    /// The facts, for machines.
    pub facts: &'a [Facts],
    /// Language of the text.
    pub lang: Lang,
    /// Equal for every attempt of this message.
    pub key: &'a str,
    /// Key of the first message about the same alert to the same recipient, unless this is it.
    pub thread: Option<&'a str>,
    /// URL of Lamplighter; may be empty.
    pub public_url: &'a str,
    /// Name for mail servers; empty: the host name.
    pub mail_name: &'a str,
    /// Address policy.
    pub policy: Policy,
    /// Time of the attempt, unix seconds.
    pub now_s: i64,
    /// Deadline of the attempt.
    pub until: Instant,
}

/// Result of an attempt. Texts are the receiver's messages if there are any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Accepted.
    Sent(String),
    /// A temporary failure.
    Later {
        /// Reason.
        why: String,
        /// Seconds to wait before any further message.
        wait_s: Option<u32>,
    },
    /// Ambiguous: retried a few times only, since each attempt may be one more copy.
    Doubtful(String),
    /// A permanent failure.
    Never(String),
    /// The recipient has a new name; retried at once.
    Moved(String),
}

/// Limit of connecting.
const CONNECT_MAX: Duration = Duration::from_secs(5);

impl Sending<'_> {
    /// The settings as the channel's own type, made by its `read`.
    pub fn config<T: serde::de::DeserializeOwned>(&self) -> Result<T, Outcome> {
        serde_json::from_value(self.config.clone())
            .map_err(|_| Outcome::Never("The endpoint's settings cannot be read. Enter them again.".into()))
    }

    /// A required secret. Error: it is not stored.
    pub fn secret(&self, column: &str) -> Result<&Secret, Outcome> {
        let missing = || Outcome::Never(format!("The endpoint's {column} is missing. Enter it."));
        self.secrets.get(column).ok_or_else(missing)
    }

    /// The connection parameters for this host.
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

    /// POSTs JSON to `url`, whose path is secret.
    pub fn post(&self, url: &Url, pin: &str, body: &[u8], proxy: Option<&Proxy>) -> Result<Response, Outcome> {
        self.ask(Method::Post, url, pin, &[], body, proxy)
    }

    /// Sends JSON with further headers.
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

/// A failure on the way: always temporary; a wrong address is corrected by a person, and waiting messages are then
/// sent.
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

/// Verification of an address; an empty `pin` means the system's authorities.
fn security(url: &Url, pin: &str) -> Security {
    match (url.tls, Pin::parse(pin)) {
        (false, _) => Security::Plain,
        (true, Ok(pin)) => Security::Pinned(pin),
        (true, Err(_)) => Security::Tls,
    }
}

/// A certificate's SHA-256 in stored form, or empty.
pub fn pin(text: &str) -> Result<String, String> {
    match text {
        "" => Ok(String::new()),
        text => Pin::parse(text).map(|pin| pin.to_string()),
    }
}

/// A text of the settings; empty if absent.
pub fn text_of<'v>(config: &'v Value, name: &str) -> &'v str {
    config.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Status and the beginning of the body, as one line.
pub fn answer(said: &Response) -> String {
    let body = String::from_utf8_lossy(&said.body);
    // A gateway's HTML page is not used as a message.
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

/// Meaning of a status if nothing else is known: 2xx accepted; 408, 425, 429 and 5xx temporary; others permanent.
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
