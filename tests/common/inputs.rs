//! Good, bad and odd values for every kind of field, from `tests/data/bad-inputs`.

use lamplighter::base::text;
use serde_json::{Value, json};

/// The fixture's entries of one kind, with repeats written out and remarks cut off.
pub fn inputs(of: &str, kind: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../data/bad-inputs/inputs.json")).unwrap();
    let list = if kind.is_empty() { &all[of] } else { &all[of][kind] };
    let list = list.as_array().unwrap_or_else(|| panic!("no {kind} of {of}"));
    list.iter().map(written_out).collect()
}

fn written_out(value: &Value) -> Value {
    match value {
        Value::Object(o) if o.contains_key("repeat") => {
            let count = o["chars"].as_u64().unwrap() as usize;
            json!(o["repeat"].as_str().unwrap().repeat(count))
        }
        Value::Array(list) => list.iter().map(written_out).collect(),
        Value::String(text) => match text.split_once(" (") {
            Some((bare, remark)) if remark.ends_with(')') => json!(bare),
            _ => value.clone(),
        },
        _ => value.clone(),
    }
}

/// The body with raw bytes where the fixture has them: JSON alone cannot hold them.
pub fn body(wanted: &Value) -> Vec<u8> {
    let raw = |value: &Value| value.get("b64").map(|b| text::unbase64(b.as_str().unwrap()).unwrap());
    let mut out = b"{".to_vec();
    for (n, (name, value)) in wanted.as_object().unwrap().iter().enumerate() {
        out.extend_from_slice(if n > 0 { b"," } else { b"" });
        out.extend_from_slice(format!("{}:", json!(name)).as_bytes());
        match raw(value) {
            Some(bytes) => out.extend([b"\"", &*bytes, b"\""].concat()),
            None => out.extend_from_slice(value.to_string().as_bytes()),
        }
    }
    out.push(b'}');
    out
}
