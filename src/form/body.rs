//! Request bodies: a JSON object or an HTML form, both bounded and strict.

use crate::base::error::{Error, Kind, Result};
use crate::base::text;
use serde_json::{Map, Value};

/// Fields of a form that are the guard's and not the handler's: the CSRF token, and by what somebody shows that it is
/// still them (their password, or a code).
pub const OF_THE_GUARD: [&str; 3] = [CSRF, CONFIRM_PASSWORD, CONFIRM_TOTP];
/// See [`OF_THE_GUARD`].
pub const CSRF: &str = "csrf";
/// See [`OF_THE_GUARD`].
pub const CONFIRM_PASSWORD: &str = "confirm_password";
/// See [`OF_THE_GUARD`].
pub const CONFIRM_TOTP: &str = "confirm_totp";

/// The body as an object: of a form when its content type says so, without what is [`OF_THE_GUARD`], else of JSON. In a
/// form a name that comes again is a list (check boxes).
pub fn object(content_type: Option<&str>, body: &[u8]) -> Result<Map<String, Value>> {
    if !content_type.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
        return json(content_type, body);
    }
    let mut values = Map::new();
    for (name, value) in form(body)? {
        match values.get_mut(&name) {
            Some(Value::Array(list)) => list.push(value.into()),
            Some(first) => *first = Value::Array(vec![first.take(), value.into()]),
            None => drop(values.insert(name, value.into())),
        }
    }
    for name in OF_THE_GUARD {
        values.remove(name);
    }
    Ok(values)
}

/// The body as a JSON object; an empty body is an empty object. Errors name the place and never repeat a value, which
/// may be a secret.
pub fn json(content_type: Option<&str>, body: &[u8]) -> Result<Map<String, Value>> {
    let kind = content_type.unwrap_or("application/json");
    if !kind
        .split(';')
        .next()
        .is_some_and(|k| k.trim().eq_ignore_ascii_case("application/json"))
    {
        return Err(Error::new(
            Kind::Malformed,
            "not_json",
            "Send a JSON object with Content-Type: application/json.",
        ));
    }
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|e| {
        let what = match e.classify() {
            serde_json::error::Category::Data => "has a field of the wrong type or an unknown one",
            _ => "is not JSON",
        };
        Error::new(
            Kind::Malformed,
            "bad_json",
            format!("The body {what} (line {}, column {}).", e.line(), e.column()),
        )
        .log(text::cut(&safe_json_error(&e), 200))
    })
}

/// serde's message may quote a value of the input; only the part before the quote is kept.
fn safe_json_error(e: &serde_json::Error) -> String {
    let text = e.to_string();
    text.split(['`', '"']).next().unwrap_or_default().to_string()
}

/// The body as an HTML form: decoded pairs in order.
pub fn form(body: &[u8]) -> Result<Vec<(String, String)>> {
    let text = std::str::from_utf8(body).ok();
    text.and_then(pairs)
        .ok_or_else(|| Error::new(Kind::Malformed, "bad_form", "The form cannot be read."))
}

/// Decodes `a=b&c=d`; `None` when an escape is broken. More than 500 pairs are refused.
pub fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let parts: Vec<_> = text.split('&').filter(|p| !p.is_empty()).collect();
    if parts.len() > 500 {
        return None;
    }
    let decode = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        Some((text::percent_decode(name, true)?, text::percent_decode(value, true)?))
    };
    parts.into_iter().map(decode).collect()
}
