//! A panel of Marzban (0.6 to 0.8): its nodes, its users by state, its traffic. Of a user only name, state, traffic, limit and
//! times are read; links, keys and notes stay there.

use super::{Ask, Check, Column, Config, Health, Kind, Look, Place, Row, Table, keep, text};
use crate::base::clock::{self, DAY, Ms, rfc3339};
use crate::base::error::{Error, Kind as Fault, Result};
use crate::base::secret::Secret;
use crate::base::shape::described;
use crate::base::text::{one_line, percent_encode};
use crate::base::url::Url;
use crate::form::Input;
use crate::net::dial::Security;
use crate::net::get;
use crate::net::http::{Method, Request, send};
use serde_json::{Value, json};

/// See [`Kind`].
pub const KIND: Kind = Kind {
    name: "marzban",
    place: Place::Anywhere,
    acts: false,
    has_password: true,
    fields: &["base_url", "username"],
    required: 2,
    read,
    home: |config| format!("{} {}", text(config, "base_url"), text(config, "username")),
    check: Check::Ask(ask),
    keeps_token: true,
    tables: &[Table {
        name: "nodes",
        columns: &[
            Column::of("name", "text"),
            Column::of("state", "text"),
            Column::of("xray_version", "code"),
            Column::of("share_percent", "percent"),
            Column::of("traffic_bytes", "bytes"),
            Column::of("message", "code"),
        ],
    }],
};

/// Longest answer that is read.
const BODY_MAX: usize = 4 << 20;
/// Nodes that are told.
const NODES_MAX: usize = 200;
/// States of users.
pub const PANEL_STATES: [&str; 5] = ["active", "on_hold", "limited", "expired", "disabled"];

fn read(i: &mut Input, config: &mut Config) {
    let url = i.parse("base_url", "bad_url", |text| match text {
        "" => Ok(String::new()),
        text => Url::parse(text).map(|url| format!("{}{}", url.origin(), url.path.trim_end_matches('/'))),
    });
    keep(config, "base_url", url);
    let username = i.text("username");
    keep(config, "username", username);
}

/// A signed-in talk with a panel.
struct Panel<'a> {
    ask: &'a Ask<'a>,
    url: Url,
}

impl<'a> Panel<'a> {
    fn of(ask: &'a Ask<'a>) -> Result<Panel<'a>> {
        let url = Url::parse(ask.text("base_url")).map_err(Error::internal)?;
        Ok(Panel { ask, url })
    }

    /// One request; its status and body.
    fn send(
        &self,
        method: Method,
        path: &str,
        form: bool,
        body: &[u8],
        token: Option<&Secret>,
    ) -> Result<(u16, Vec<u8>)> {
        let security = if self.url.tls { Security::Tls } else { Security::Plain };
        let path = Secret::new(format!("{}{path}", self.url.path.trim_end_matches('/')));
        let bearer = token.map(get::bearer);
        let headers: Vec<(&str, String)> = bearer
            .iter()
            .map(|value| ("authorization", value.reveal_text_for("an HTTP request").to_string()))
            .collect();
        let content_type = match (form, method) {
            (true, _) => "application/x-www-form-urlencoded",
            (false, _) => "application/json",
        };
        let answer = self.ask.reach(&self.url.host, self.url.port, security, |call, route| {
            let request = Request {
                method,
                path: &path,
                content_type,
                headers: &headers,
                body,
                route,
            };
            send(call, &request, BODY_MAX)
        })?;
        match answer.fault {
            Some(fault) => Err(fault),
            None => Ok((answer.status, answer.body)),
        }
    }

    /// Signs in, and keeps what it is given.
    fn login(&self) -> Result<()> {
        let password = self
            .ask
            .password
            .map_or("", |p| p.reveal_text_for("the login to Marzban"));
        let body = Secret::new(format!(
            "grant_type=password&username={}&password={}",
            percent_encode(self.ask.text("username")),
            percent_encode(password)
        ));
        let body = body.reveal_for("the login to Marzban");
        let (status, body) = self.send(Method::Post, "/api/admin/token", true, body, None)?;
        if status == 401 {
            let say = "It refuses the name or password that is stored.";
            return Err(Error::new(Fault::Upstream, "marzban_password", say));
        }
        let token = judged(status, &body)?;
        let token = token["access_token"].as_str().ok_or_else(odd)?;
        *self.ask.token.borrow_mut() = Some(Secret::new(token.to_string()));
        self.ask.renewed.set(true);
        Ok(())
    }

    /// A request of who is signed in; a login that has run out is renewed once.
    fn call(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let is_new = self.ask.token.borrow().is_none();
        if is_new {
            self.login()?;
        }
        let once = || {
            let token = self.ask.token.borrow();
            self.send(method, path, false, body.as_bytes(), token.as_ref())
        };
        let mut answer = once()?;
        if answer.0 == 401 && !is_new {
            self.login()?;
            answer = once()?;
        }
        judged(answer.0, &answer.1)
    }

    fn get(&self, path: &str) -> Result<Value> {
        self.call(Method::Get, path, &Value::Null)
    }
}

/// The JSON of a good answer. Error: what a bad one means.
fn judged(status: u16, body: &[u8]) -> Result<Value> {
    let read: Option<Value> = serde_json::from_slice(body).ok();
    if (200..300).contains(&status) {
        return read.ok_or_else(odd);
    }
    let said = match read.as_ref().map(|value| &value["detail"]) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Object(fields)) => {
            let each = fields
                .iter()
                .map(|(name, why)| format!("{name}: {}", why.as_str().unwrap_or_default()));
            each.collect::<Vec<_>>().join("; ")
        }
        _ => String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned(),
    };
    let said = one_line(&said, 200);
    let (kind, code, what) = match status {
        401 => (
            Fault::Upstream,
            "marzban_refused",
            "It does not accept the login that it has just given.",
        ),
        403 => (
            Fault::Upstream,
            "marzban_right",
            "Its admin may not do this: that takes a sudo admin.",
        ),
        404 => (Fault::NotFound, "marzban_missing", "It knows no such thing."),
        400..=499 => (Fault::Upstream, "marzban_error", "It does not take this."),
        _ => (Fault::Upstream, "marzban_error", "It failed by itself."),
    };
    Err(Error::new(kind, code, format!("{what} It answered {status}: {said}")))
}

fn odd() -> Error {
    Error::new(Fault::Upstream, "not_marzban", "What answers there is no Marzban.")
}

fn ask(ask: &Ask) -> Result<Look> {
    let panel = Panel::of(ask)?;
    if ask.token.borrow().is_none() {
        panel.login()?;
    }
    let begun = clock::mono();
    let system = panel.get("/api/system").map_err(|e| match e.code {
        "marzban_missing" => odd().log(e.say),
        _ => e,
    })?;
    let latency = begun.elapsed();
    if !system["version"].is_string() {
        return Err(odd());
    }
    // What only a sudo admin may ask for, or what breaks by itself, is left out; but nodes are what this is for.
    let nodes = match panel.get("/api/nodes") {
        Err(e) if e.code == "marzban_right" => Value::Null,
        answer => answer?,
    };
    let now = clock::now();
    let day = |at: Ms| rfc3339(at)[..19].to_string();
    let usage = panel.get(&format!("/api/nodes/usage?start={}&end={}", day(now - DAY), day(now)));
    let core = panel.get("/api/core");
    let mut users = Vec::new();
    for state in PANEL_STATES {
        let told = system[format!("users_{state}")].as_f64();
        // Versions before 0.8 tell only the active ones. (A limit of 0 would be none.)
        let asked = || panel.get(&format!("/api/users?status={state}&limit=1")).ok()?["total"].as_f64();
        users.push((state, told.or_else(asked)));
    }
    let mut look = judge(&system, &nodes, usage.as_ref().ok(), core.as_ref().ok(), &users);
    look.latency_ms = Some((latency.as_secs_f64() * 100_000.0).round() / 100.0);
    Ok(look)
}

/// What the answers mean.
fn judge(
    system: &Value,
    nodes: &Value,
    usage: Option<&Value>,
    core: Option<&Value>,
    users: &[(&str, Option<f64>)],
) -> Look {
    let mut look = Look::healthy();
    let mut put = |name: &str, value: Option<f64>| {
        if let Some(value) = value {
            look.custom.insert(name.into(), value);
        }
    };
    for (name, key) in [
        ("users", "total_user"),
        ("online_users", "online_users"),
        ("incoming_bytes", "incoming_bandwidth"),
        ("outgoing_bytes", "outgoing_bandwidth"),
        ("incoming_per_s_bytes", "incoming_bandwidth_speed"),
        ("outgoing_per_s_bytes", "outgoing_bandwidth_speed"),
        ("cpu_percent", "cpu_usage"),
        ("memory_bytes", "mem_used"),
        ("memory_max_bytes", "mem_total"),
    ] {
        put(name, system[key].as_f64());
    }
    for (state, count) in users {
        put(&format!("users_{state}"), *count);
    }
    let used = |id: &Value| {
        let rows = usage
            .and_then(|usage| usage["usages"].as_array())
            .map_or(&[][..], Vec::as_slice);
        let row = rows.iter().find(|row| row["node_id"] == *id)?;
        Some(row["uplink"].as_f64()? + row["downlink"].as_f64()?)
    };
    let list = nodes.as_array().map_or(&[][..], Vec::as_slice);
    let text = |value: &Value, max: usize| one_line(value.as_str().unwrap_or_default(), max);
    // The panel's own Xray serves as well.
    let mut found = Vec::new();
    if let Some(core) = core {
        let state = if core["started"] == true { "connected" } else { "error" };
        let version = text(&core["version"], 40);
        found.push((
            "Master".to_string(),
            state.to_string(),
            version,
            String::new(),
            used(&Value::Null),
        ));
    }
    found.extend(list.iter().take(NODES_MAX).map(|node| {
        let version = text(&node["xray_version"], 40);
        let (name, state, message) = (
            text(&node["name"], 60),
            text(&node["status"], 40),
            text(&node["message"], 200),
        );
        (name, state, version, message, used(&node["id"]))
    }));
    let all: f64 = found.iter().filter_map(|node| node.4).sum();
    let row =
        |(name, state, version, message, traffic): &(String, String, String, String, Option<f64>)| -> Option<Row> {
            let share = traffic
                .filter(|_| all > 0.0)
                .map(|n| (n * 1_000.0 / all).round() / 10.0);
            let row = json!({
                "name": name, "state": state, "xray_version": version, "message": message, "traffic_bytes": traffic,
                "share_percent": share,
            });
            row.as_object().cloned()
        };
    let rows: Vec<Row> = found.iter().filter_map(row).collect();
    let serving = || found.iter().filter(|node| node.1 != "disabled");
    put("nodes", Some(serving().count() as f64));
    put(
        "nodes_connected",
        Some(serving().filter(|node| node.1 == "connected").count() as f64),
    );
    look.tables.insert("nodes".into(), rows);
    let bad: Vec<String> = serving()
        .filter(|node| node.1 != "connected")
        .map(|(name, state, _, message, _)| match message.is_empty() {
            true => format!("{name} is {state}"),
            false => format!("{name} is {state}: {message}"),
        })
        .collect();
    if !bad.is_empty() {
        look.health = Health::Degraded;
        look.code = "marzban_node".into();
        look.say = format!("{}.", crate::base::text::first_of(&bad, 5));
    }
    look
}

described! {
    /// A user of a panel: nothing of this is a secret.
    #[derive(Debug, PartialEq)]
    pub struct PanelUser {
        /// Name.
        pub username: String,
        /// `active`, `on_hold`, `limited`, `expired`, `disabled`.
        pub status: String,
        /// Traffic so far, bytes.
        pub used_bytes: f64,
        /// Its limit, bytes.
        pub limit_bytes: Option<f64>,
        /// End of its time.
        pub expires_at: Option<String>,
        /// Seen last.
        pub online_at: Option<String>,
    }
}

fn user(value: &Value) -> Option<PanelUser> {
    let text = |key: &str| one_line(value[key].as_str().unwrap_or_default(), 64);
    let some = |key: &str| value[key].as_f64().filter(|n| *n > 0.0);
    let seen = text("online_at");
    let seen = seen.get(..19).unwrap_or_default();
    Some(PanelUser {
        username: Some(text("username")).filter(|name| !name.is_empty())?,
        status: text("status"),
        used_bytes: value["used_traffic"].as_f64().unwrap_or_default(),
        limit_bytes: some("data_limit"),
        expires_at: some("expire").map(|s| rfc3339(s as i64 * 1_000)),
        // Times without a zone are in UTC.
        online_at: clock::parse_utc(seen).map(rfc3339),
    })
}

/// Which users are wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// One of [`PANEL_STATES`]; empty: all.
    pub status: String,
    /// With this in their names or notes.
    pub search: String,
    /// At most so many, from 1.
    pub limit: i64,
    /// After so many.
    pub offset: i64,
}

/// A page of its users, and how many there are.
pub fn users(ask: &Ask, wanted: &Wanted) -> Result<(Vec<PanelUser>, i64)> {
    let mut path = format!(
        "/api/users?limit={}&offset={}&sort=username",
        wanted.limit.max(1),
        wanted.offset
    );
    for (key, value) in [("status", &wanted.status), ("search", &wanted.search)] {
        if !value.is_empty() {
            path += &format!("&{key}={}", percent_encode(value));
        }
    }
    let answer = Panel::of(ask)?.get(&path)?;
    let all = answer["users"].as_array().ok_or_else(odd)?;
    Ok((
        all.iter().filter_map(user).collect(),
        answer["total"].as_i64().unwrap_or_default(),
    ))
}

/// What is done to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// May use it, or may not.
    Enabled(bool),
    /// End of its time, unix s; nothing: none.
    Expires(Option<i64>),
    /// Traffic counts from 0 again.
    Reset,
}

/// Changes one of its users. Error `NotFound`.
pub fn change(ask: &Ask, name: &str, what: Change) -> Result<PanelUser> {
    let path = format!("/api/user/{}", percent_encode(name));
    let (method, path, body) = match what {
        Change::Enabled(true) => (Method::Put, path, json!({ "status": "active" })),
        Change::Enabled(false) => (Method::Put, path, json!({ "status": "disabled" })),
        // 0 is none.
        Change::Expires(at) => (Method::Put, path, json!({ "expire": at.unwrap_or(0) })),
        Change::Reset => (Method::Post, path + "/reset", Value::Null),
    };
    user(&Panel::of(ask)?.call(method, &path, &body)?).ok_or_else(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> Value {
        let path = format!("{}/tests/data/marzban/{name}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn what_a_real_panel_says_is_understood() {
        let mut usage = fixture("nodes_usage");
        usage["usages"][0]["uplink"] = json!(9_007_199_254_740_993_u64);
        usage["usages"][1]["downlink"] = json!(9_007_199_254_740_993_u64);
        let users = [("active", Some(3.0)), ("expired", None)];
        let look = judge(
            &fixture("system"),
            &fixture("nodes_disabled"),
            Some(&usage),
            Some(&fixture("core")),
            &users,
        );
        assert_eq!((look.health, &*look.code), (Health::Degraded, "marzban_node"));
        assert_eq!(look.say, "DE node is error: [Errno 111] Connection refused.");
        assert_eq!((look.custom["users"], look.custom["users_active"]), (5.0, 3.0));
        assert!(!look.custom.contains_key("users_expired"));
        assert_eq!(
            (look.custom["nodes"], look.custom["nodes_connected"]),
            (2.0, 1.0),
            "a disabled one does not count"
        );
        let nodes = &look.tables["nodes"];
        assert_eq!(
            (&nodes[0]["name"], &nodes[0]["xray_version"]),
            (&json!("Master"), &json!("1.8.24"))
        );
        assert_eq!(
            (&nodes[0]["share_percent"], &nodes[1]["share_percent"]),
            (&json!(50.0), &json!(50.0))
        );
        assert_eq!(
            (&nodes[2]["name"], &nodes[2]["state"]),
            (&json!("Нидерланды-2"), &json!("disabled"))
        );
        let alone = judge(&fixture("system"), &Value::Null, None, None, &[]);
        assert_eq!(alone.health, Health::Healthy, "who is no sudo admin sees no nodes");
    }

    #[test]
    fn of_a_user_nothing_secret_is_read() {
        let page = fixture("users_limited");
        let read = user(&page["users"][0]).unwrap();
        assert_eq!(
            (&*read.username, &*read.status, read.limit_bytes),
            ("ivan_petrov", "limited", Some(10_737_418_240.0))
        );
        assert_eq!(read.expires_at.as_deref(), Some("2026-12-21T05:00:39.000Z"));
        let told = serde_json::to_string(&read).unwrap();
        for secret in ["Ljk3", "/sub/", "тариф", "chacha20"] {
            assert!(!told.contains(secret), "{told}");
        }
    }

    #[test]
    fn refusals_are_said_in_plain_words() {
        for (status, body, code, say) in [
            (
                401,
                r#"{"detail":"Could not validate credentials"}"#,
                "marzban_refused",
                "validate credentials",
            ),
            (403, r#"{"detail":"You're not allowed"}"#, "marzban_right", "sudo admin"),
            (
                422,
                r#"{"detail":{"status":"Input should be"}}"#,
                "marzban_error",
                "status: Input should be",
            ),
            (
                500,
                "Internal Server Error",
                "marzban_error",
                "It failed by itself. It answered 500: Internal Server Error",
            ),
            (200, "<html>", "not_marzban", "no Marzban"),
        ] {
            let e = judged(status, body.as_bytes()).unwrap_err();
            assert!(e.code == code && e.say.contains(say), "{} {}", e.code, e.say);
        }
    }
}
