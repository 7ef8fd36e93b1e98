//! A panel of Marzban, as 0.8.4 answers (`tests/data/marzban`): tokens that run out, forms only, one broken user that spoils
//! the whole list.

use super::data;
use super::receiver::{Post, Receiver, answer};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard};

/// What it has.
pub struct State {
    pub password: String,
    /// Logins so far; the token of each is good until it runs out, as it is signed and not stored there.
    pub logins: usize,
    /// The tokens of all logins so far run out now.
    pub expired: bool,
    /// Logins whose tokens have run out.
    over: usize,
    /// Answers everything with 500 and a text.
    pub broken: bool,
    pub nodes: Value,
    pub users: Value,
}

/// A running one.
pub struct Marzban {
    receiver: Receiver,
    state: Arc<Mutex<State>>,
}

impl Marzban {
    pub fn start(password: &str) -> Marzban {
        let read = |name: &str| -> Value { serde_json::from_slice(&data(&format!("marzban/{name}.json"))).unwrap() };
        let state = Arc::new(Mutex::new(State {
            password: password.into(),
            logins: 0,
            expired: false,
            over: 0,
            broken: false,
            nodes: read("nodes"),
            users: read("users_after")["users"].clone(),
        }));
        let its = state.clone();
        Marzban {
            receiver: Receiver::new(move |post| api(&mut its.lock().unwrap(), post)),
            state,
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.receiver.port())
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Paths that were asked for.
    pub fn paths(&self) -> Vec<String> {
        self.receiver
            .posts()
            .iter()
            .map(|post| post.path().to_string())
            .collect()
    }
}

fn reply(status: &str, body: &Value) -> Vec<u8> {
    answer(
        status,
        "Content-Type: application/json\r\n",
        body.to_string().as_bytes(),
    )
}

fn file(status: &str, name: &str) -> Vec<u8> {
    answer(
        status,
        "Content-Type: application/json\r\n",
        &data(&format!("marzban/{name}.json")),
    )
}

fn api(state: &mut State, post: &Post) -> Vec<u8> {
    let (path, query) = post.path().split_once('?').unwrap_or((post.path(), ""));
    let of = |pairs: &str, key: &str| -> Option<String> {
        let mut pairs = pairs.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| *name == key).map(|(_, value)| decoded(value))
    };
    let method = post.head.split(' ').next().unwrap_or_default();
    if state.broken {
        return answer(
            "500 Internal Server Error",
            "Content-Type: text/plain; charset=utf-8\r\n",
            b"Internal Server Error",
        );
    }
    if std::mem::take(&mut state.expired) {
        state.over = state.logins;
    }
    if (method, path) == ("POST", "/api/admin/token") {
        if of(&post.body, "username").is_none() {
            return reply(
                "422 Unprocessable Entity",
                &json!({ "detail": { "username": "Field required" } }),
            );
        }
        if of(&post.body, "username").as_deref() != Some("admin")
            || of(&post.body, "password") != Some(state.password.clone())
        {
            return reply(
                "401 Unauthorized",
                &json!({ "detail": "Incorrect username or password" }),
            );
        }
        state.logins += 1;
        return reply(
            "200 OK",
            &json!({ "access_token": format!("token-{}-of-the-panel", state.logins), "token_type": "bearer" }),
        );
    }
    let login = |told: &str| -> Option<usize> {
        let number = told.strip_prefix("Bearer token-")?.strip_suffix("-of-the-panel")?;
        number.parse().ok()
    };
    match post.header("authorization") {
        None => return reply("401 Unauthorized", &json!({ "detail": "Not authenticated" })),
        Some(told) if login(told).is_none_or(|n| n <= state.over) => {
            return reply(
                "401 Unauthorized",
                &json!({ "detail": "Could not validate credentials" }),
            );
        }
        Some(_) => {}
    }
    let all = state.users.as_array_mut().unwrap();
    let place = |all: &[Value], name: &str| all.iter().position(|user| user["username"] == decoded(name));
    match (method, path) {
        ("GET", "/api/system") => file("200 OK", "system"),
        ("GET", "/api/core") => file("200 OK", "core"),
        ("GET", "/api/nodes") => reply("200 OK", &state.nodes),
        ("GET", "/api/nodes/usage") => {
            let is_date = |text: Option<String>| text.is_some_and(|text| text.len() == 19 && text.contains('T'));
            match is_date(of(query, "start")) && is_date(of(query, "end")) {
                true => file("200 OK", "nodes_usage"),
                false => reply("400 Bad Request", &json!({ "detail": "Invalid date range or format" })),
            }
        }
        ("GET", "/api/users") => {
            let wanted = of(query, "status");
            let found: Vec<&Value> = all
                .iter()
                .filter(|u| wanted.as_ref().is_none_or(|w| u["status"] == **w))
                .collect();
            let number = |key| of(query, key).and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
            let page: Vec<&&Value> = found.iter().skip(number("offset")).take(number("limit")).collect();
            reply("200 OK", &json!({ "users": page, "total": found.len() }))
        }
        (_, path) => {
            let Some(rest) = path.strip_prefix("/api/user/") else {
                return reply("404 Not Found", &json!({ "detail": "Not Found" }));
            };
            let (name, act) = rest.split_once('/').unwrap_or((rest, ""));
            let Some(at) = place(all, name) else {
                return reply("404 Not Found", &json!({ "detail": "User not found" }));
            };
            match (method, act) {
                ("PUT", "") => {
                    for (key, value) in post.json().as_object().unwrap() {
                        all[at][key] = if *key == "expire" && *value == 0 {
                            Value::Null
                        } else {
                            value.clone()
                        };
                    }
                }
                ("POST", "reset") => all[at]["used_traffic"] = json!(0),
                _ => return reply("405 Method Not Allowed", &json!({ "detail": "Method Not Allowed" })),
            }
            reply("200 OK", &all[at])
        }
    }
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut n) = (Vec::new(), 0);
    while n < bytes.len() {
        match (bytes[n], bytes.get(n + 1..n + 3)) {
            (b'%', Some(hex)) => {
                out.push(u8::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap());
                n += 3;
            }
            (byte, _) => {
                out.push(byte);
                n += 1;
            }
        }
    }
    String::from_utf8(out).unwrap()
}
