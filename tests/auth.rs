//! Signing in and out, as people, scripts and thieves do it.

mod common;

use common::*;
use lamplighter::base::text;
use lamplighter::vault::{self, Vault};
use ring::hmac;
use serde_json::{Value, json};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[test]
fn a_sign_in_answers_as_scripts_rely_on() {
    let house = House::new();
    let answer = house.sign_in(ADMIN, &house.password);
    let body = answer.is(200);
    let mut keys: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["access_token", "expires_in", "refresh_token", "token_type", "user"]);
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("bearer"), &json!(900)));
    assert_eq!(body["user"], json!({ "login": ADMIN, "role": "admin" }));
    let cookie = answer.header("set-cookie").unwrap();
    for flag in ["; Path=/", "; HttpOnly", "; SameSite=Strict", "; Max-Age="] {
        assert!(cookie.contains(flag), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "over plain HTTP a browser would drop it");
    assert!(answer.cookie().1.len() >= 43, "256 bits");
}
