//! Fields of an upstream and their validation.

use crate::base::error::Result;
use crate::base::host::{self, Host};
use crate::base::shape::{Described, Shape, described};
use crate::base::text;
use crate::form::Input;
use crate::form::param::{self, Param};
use serde_json::{Map, Value};

described! {
    /// A target of requests.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct Target {
        /// Address or DNS name in the grammar of [`Host`], IPv6 without brackets.
        pub host: String,
        /// TCP port.
        pub port: u16,
        /// Weight; nginx's default is 1.
        pub weight: Option<u16>,
    }
}

impl Target {
    /// Parses `10.0.0.7:8080`, `app.internal:3000`, `[2001:db8::7]:8080`. The error is a code and a sentence.
    pub fn parse(typed: &str) -> std::result::Result<Target, Refused> {
        not_yet(typed)?;
        Target::address_and_port(typed).map_err(bad)
    }

    fn address_and_port(typed: &str) -> std::result::Result<Target, String> {
        let seen = || text::one_line(typed, 60);
        let Some((host, port)) = typed.rsplit_once(':').filter(|(host, _)| !host.is_empty()) else {
            return Err(format!(
                "“{}” is no target. Write host:port, like 10.0.0.7:8080.",
                seen()
            ));
        };
        // Without brackets the end of an IPv6 address is ambiguous.
        if host.contains(':') && !host.starts_with('[') {
            return Err(format!(
                "“{}” needs brackets around the address, like [2001:db8::7]:8080.",
                seen()
            ));
        }
        if host.starts_with('[') && !host.ends_with(']') {
            return Err(format!("“{}” is no target. Write [address]:port.", seen()));
        }
        Ok(Target {
            host: Host::parse(host)?.to_string(),
            port: host::port(port)?,
            weight: None,
        })
    }

    /// `host:port`, an IPv6 address in brackets.
    pub fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Reads a text as [`Target::parse`], or an object with `host`, `port` and optional `weight`.
    fn read(value: &Value) -> std::result::Result<Target, Refused> {
        match value {
            Value::String(typed) => Target::parse(typed.trim_matches(' ')),
            Value::Object(fields) => {
                fields.get("host").and_then(Value::as_str).map_or(Ok(()), not_yet)?;
                Target::of_fields(fields).map_err(bad)
            }
            _ => Err(bad(
                "A target is \"host:port\" or {\"host\", \"port\", \"weight\"}.".into()
            )),
        }
    }

    fn of_fields(fields: &Map<String, Value>) -> std::result::Result<Target, String> {
        if let Some(odd) = fields
            .keys()
            .find(|k| !["host", "port", "weight"].contains(&k.as_str()))
        {
            let odd = text::one_line(odd, 60);
            return Err(format!("A target has host, port and weight; there is no “{odd}”."));
        }
        let host = fields
            .get("host")
            .and_then(Value::as_str)
            .ok_or("A target needs its host, as text.")?;
        Ok(Target {
            host: Host::parse(host)?.to_string(),
            port: match fields.get("port") {
                Some(Value::String(digits)) => host::port(digits)?,
                Some(Value::Number(n)) => host::port(&n.to_string())?,
                _ => return Err("A target needs its port, a whole number from 1 to 65535.".into()),
            },
            weight: match fields.get("weight") {
                None | Some(Value::Null) => None,
                Some(Value::String(digits)) => Some(weight(digits)?),
                Some(Value::Number(n)) => Some(weight(&n.to_string())?),
                Some(_) => return Err(WEIGHT.into()),
            },
        })
    }
}

/// Why a target is refused: code and sentence.
type Refused = (&'static str, String);

fn bad(say: String) -> Refused {
    ("bad_target", say)
}

/// Refuses forms that are not supported yet; the sentence says what to write instead.
fn not_yet(typed: &str) -> std::result::Result<(), Refused> {
    let seen = text::one_line(typed, 60);
    let (scheme, rest) = typed.split_once("://").unwrap_or(("", typed));
    let place = rest.split('/').next().unwrap_or_default();
    let host = text::one_line(place.split(':').next().unwrap_or_default(), 60);
    let address = match place.contains(':') {
        true => text::one_line(place, 60),
        false => format!("{host}:80"),
    };
    let (code, say) = if scheme.eq_ignore_ascii_case("https") {
        (
            "target_tls",
            format!(
                "“{seen}” speaks TLS. A target is asked by plain HTTP; TLS towards targets is not there yet. Give a port that takes plain HTTP, like {host}:80, or put a proxy beside it that does."
            ),
        )
    } else if !scheme.is_empty() || typed.contains('/') {
        (
            "target_link",
            format!(
                "“{seen}” is a link. Write host:port, like {address}, without a scheme and without a path: the path of a request is passed on as it is."
            ),
        )
    } else if typed.contains([' ', ',', ';']) {
        (
            "target_several",
            format!("“{seen}” is more than one target. Give each of them by itself."),
        )
    } else if typed.contains('_') {
        (
            "target_container",
            format!(
                "“{seen}” has an underscore, as names of containers have: only the network of containers knows it, and DNS has no such names. Publish the container's port and give the server's address, like 127.0.0.1:8080."
            ),
        )
    } else {
        return Ok(());
    };
    Err((code, say))
}

const WEIGHT: &str = "A weight is a whole number from 1 to 65535.";

/// Parses a weight; nginx allows larger ones.
fn weight(text: &str) -> std::result::Result<u16, String> {
    host::port(text).map_err(|_| WEIGHT.into())
}

/// Maximum targets of one upstream.
pub const TARGETS_MAX: usize = 64;

/// Validated fields of an upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    /// Name, used in nginx's configuration: letters, digits, dots, dashes, underscores. Unique regardless of case.
    pub name: String,
    /// 1 to [`TARGETS_MAX`] targets with distinct addresses.
    pub targets: Vec<Target>,
    /// Free text.
    pub notes: String,
}

/// Proof of validation.
#[derive(Debug)]
pub struct Valid {
    /// All fields.
    pub fields: Fields,
}

/// Accepted fields of a draft.
pub const PARAMS: &[Param] = &[
    param::text(
        "name",
        4_096,
        "Letters, digits, dots, dashes, underscores; unique whatever its case.",
    )
    .required()
    .example("\"app\""),
    param::items(
        "targets",
        TARGETS_MAX,
        &Shape::Either(&Shape::Text, Target::SHAPE),
        "`host:port`, or `{host, port, weight}`; no address twice.",
    )
    .required()
    .example("[\"10.0.0.7:8080\"]"),
    param::text("notes", 2_000, "Free words."),
];

/// Fields of the answer that may be sent back unchanged.
pub const READ_ONLY: &[&str] = &["id", "used_by", "domains", "revision", "created_at", "updated_at"];

/// Reads a draft over `base`: missing fields keep the values of `base`. Error: invalid or missing fields.
pub fn read(mut input: Input, base: Fields) -> Result<Valid> {
    let mut f = base;
    let i = &mut input;
    if let Some(name) = i.parse("name", "bad_name", name) {
        f.name = name;
    }
    if let Some(items) = i.items("targets") {
        f.targets = targets(i, &items).unwrap_or_default();
    }
    if let Some(notes) = i.text("notes") {
        f.notes = notes;
    }
    if f.name.is_empty() && !i.has_error("name") {
        i.wrong("name", "required", "Give the upstream a name.");
    }
    if f.targets.is_empty() && !i.has_error("targets") {
        i.wrong("targets", "required", "Give at least one target, like 10.0.0.7:8080.");
    }
    input.finish(READ_ONLY)?;
    Ok(Valid { fields: f })
}

fn targets(i: &mut Input, items: &[Value]) -> Option<Vec<Target>> {
    let mut out: Vec<Target> = Vec::with_capacity(items.len());
    for (n, item) in items.iter().enumerate() {
        match Target::read(item) {
            Ok(t) if out.iter().any(|o| (&o.host, o.port) == (&t.host, t.port)) => {
                let say = format!("{} stands there twice. Give it a weight instead.", t.address());
                i.wrong("targets", "duplicate", say);
                return None;
            }
            Ok(t) => out.push(t),
            Err((code, say)) => {
                i.wrong("targets", code, format!("Target {}: {say}", n + 1));
                return None;
            }
        }
    }
    Some(out)
}

fn name(text: &str) -> std::result::Result<String, String> {
    let good = (1..=63).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if good {
        Ok(text.into())
    } else {
        Err(
            "A name has 1 to 63 letters, digits, dots, dashes and underscores, and starts with a letter or digit."
                .into(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_target_is_read_from_text_or_from_an_object_and_written_one_way() {
        for (given, address, weight) in [
            (json!("10.0.0.7:8080"), "10.0.0.7:8080", None),
            (json!(" App.Internal.:3000 "), "app.internal:3000", None),
            (json!("[2001:DB8::7]:8080"), "[2001:db8::7]:8080", None),
            (json!({ "host": "2001:db8::7", "port": "80" }), "[2001:db8::7]:80", None),
            (json!({ "host": "[::1]", "port": 80, "weight": null }), "[::1]:80", None),
            (json!({ "host": "a", "port": 80, "weight": 65535 }), "a:80", Some(65535)),
        ] {
            let target = Target::read(&given).unwrap_or_else(|e| panic!("{given}: {e:?}"));
            assert_eq!((&*target.address(), target.weight), (address, weight), "{given}");
            assert_eq!(Target::read(&serde_json::to_value(&target).unwrap()), Ok(target));
        }
    }

    #[test]
    fn what_cannot_be_yet_says_so_and_what_to_do_until_then() {
        for (given, code, words) in [
            (json!("https://10.0.0.7:8443/"), "target_tls", "like 10.0.0.7:80"),
            (
                json!("http://app.internal:3000"),
                "target_link",
                "like app.internal:3000,",
            ),
            (json!("10.0.0.7:8080/app"), "target_link", "without a path"),
            (json!("10.0.0.7:80, 10.0.0.8:80"), "target_several", "by itself"),
            (json!("10.0.0.7 8080"), "target_several", "by itself"),
            (json!("my_app:3000"), "target_container", "127.0.0.1:8080"),
            (
                json!({ "host": "my_app", "port": 3000 }),
                "target_container",
                "127.0.0.1:8080",
            ),
            (json!({ "host": "https://a", "port": 443 }), "target_tls", "like a:80"),
        ] {
            let (seen, say) = Target::read(&given).expect_err("refused");
            assert_eq!(seen, code, "{given}");
            assert!(say.contains(words), "{given}: {say}");
        }
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for bad in [
            json!("[::1]"),
            json!("[::1:80"),
            json!("[app.internal]x:80"),
            json!("10.0.0.7:"),
            json!("10.0.0.7:+80"),
            json!("fe80::1%eth0:80"),
            json!(":80"),
            json!(80),
            json!(null),
            json!([]),
            json!({}),
            json!({ "host": "a" }),
            json!({ "host": "a", "port": 80.0 }),
            json!({ "host": "a", "port": true }),
            json!({ "host": "a", "port": 80, "weight": 0 }),
            json!({ "host": "a", "port": 80, "weight": 1.5 }),
            json!({ "host": "a", "port": 80, "wieght": 1 }),
            json!({ "host": "a:81", "port": 80 }),
        ] {
            assert!(Target::read(&bad).is_err(), "{bad}");
        }
    }
}
