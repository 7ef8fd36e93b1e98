//! The API in one file, where a change is seen in review: `tests/data/api.txt` must be what the rows of all features
//! declare, and `tests/data/openapi.json` what is told of them. After a new route: `LAMPLIGHTER_ACCEPT=1 cargo test --test it api::`, and look at the difference.

use crate::common::*;
use lamplighter::access::Right;
use lamplighter::base::shape::{Object, Shape};
use lamplighter::daemon::{self, FEATURES};
use lamplighter::form::param::{self, Param};
use lamplighter::http::openapi;
use lamplighter::http::reply::Reply;
use lamplighter::http::request::Method;
use lamplighter::http::route::{Answer, Body, Ctx, Route, route};
use lamplighter::lang::{Lang, words};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

fn params(out: &mut String, what: &str, params: &[Param]) {
    for p in params {
        let required = if p.required { ", required" } else { "" };
        let default = if p.default != 0 {
            format!(", else {}", p.default)
        } else {
            String::new()
        };
        writeln!(out, "  {what} {}: {}{required}{default}. {}", p.name, p.kind, p.doc).unwrap();
    }
}

fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Json(status, shape) => format!("{status} {shape}"),
        Answer::Bytes(kind) => format!("200 {kind}"),
        Answer::Nothing => "204".into(),
        Answer::Stream(events) => {
            let events: Vec<_> = events.iter().map(|(name, shape)| format!("{name}: {shape}")).collect();
            format!("200 stream of {}", events.join(", "))
        }
    }
}

fn collect(shape: &Shape, types: &mut BTreeMap<String, &'static Object>) {
    shape.objects(&mut |object| {
        if let Some(other) = types.insert(object.short(), object) {
            assert_eq!(other.name, object.name, "two types of one name");
        }
    });
}

#[test]
fn the_golden_text_is_what_the_routes_declare() {
    daemon::registry(FEATURES); // the document has the sections that features declare
    let mut out = String::new();
    let mut types = BTreeMap::new();
    let mut routes: Vec<&Route> = FEATURES.iter().flat_map(|f| f.routes).collect();
    routes.sort_by_key(|r| (r.path, r.method.name()));
    for route in routes {
        let place = format!("{} {}", route.method.name(), route.path);
        let answers: Vec<_> = route.answers.iter().flatten().collect();
        let takes = matches!(route.method, Method::Get | Method::Delete) || route.body.is_some();
        assert!(
            takes && !answers.is_empty(),
            "{place} does not say what it takes and gives"
        );
        let right = match route.right {
            Right::May(verb, noun) => format!("{} {}", verb.name(), noun.name()),
            other => format!("{other:?}"),
        };
        writeln!(out, "{place} ({right}{})", if route.live { ", live" } else { "" }).unwrap();
        params(&mut out, "?", route.query);
        match route.body {
            Some(Body::Fields(fields)) => params(&mut out, "-", fields),
            Some(Body::Document(shape)) => {
                collect(shape, &mut types);
                writeln!(out, "  - {shape}").unwrap();
            }
            Some(Body::Bytes(max)) => writeln!(out, "  - at most {max} bytes").unwrap(),
            None => {}
        }
        for one in answers {
            writeln!(out, "  {}", answer(one)).unwrap();
            match one {
                Answer::Json(_, shape) => collect(shape, &mut types),
                Answer::Stream(events) => events.iter().for_each(|(_, shape)| collect(shape, &mut types)),
                _ => {}
            }
        }
    }
    for (name, object) in types {
        writeln!(out, "\n{name}:{}", object.doc.concat()).unwrap();
        for member in (object.members)().iter().filter(|m| !m.to_string().is_empty()) {
            let doc = member.doc.concat();
            writeln!(out, "  {member}{}{doc}", if doc.is_empty() { "" } else { "." }).unwrap();
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/api.txt");
    if std::env::var_os("LAMPLIGHTER_ACCEPT").is_some() {
        std::fs::write(path, &out).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        out == golden,
        "the API is not as in {path}: look at the difference, and accept it"
    );
}

/// The OpenAPI document of these features.
fn document() -> Value {
    daemon::registry(FEATURES); // joins the words
    let features: Vec<_> = FEATURES.iter().map(|f| (f.name, f.routes)).collect();
    openapi::document(&features, false)
}

/// JSON with one operation or schema a line, so that a difference can be read.
fn by_lines(value: &Value, depth: usize) -> String {
    match value {
        Value::Object(all) if depth > 0 && !all.is_empty() => {
            let members: Vec<_> = all
                .iter()
                .map(|(name, value)| format!("{}: {}", Value::from(name.as_str()), by_lines(value, depth - 1)))
                .collect();
            format!("{{\n{}\n}}", members.join(",\n"))
        }
        value => value.to_string(),
    }
}

#[test]
fn the_golden_document_is_what_the_routes_declare() {
    let out = by_lines(&document(), 3) + "\n";
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), document());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/openapi.json");
    if std::env::var_os("LAMPLIGHTER_ACCEPT").is_some() {
        std::fs::write(path, &out).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        out == golden,
        "the OpenAPI document is not as in {path}: look at the difference, and accept it"
    );
}

#[test]
fn every_route_says_in_both_languages_what_it_does() {
    daemon::registry(FEATURES);
    for feature in FEATURES.iter().filter(|f| !f.routes.is_empty()) {
        let tag = format!("api.{}", feature.name);
        for id in feature.routes.iter().map(openapi::word).chain([tag]) {
            for lang in Lang::ALL {
                let said = words::word(lang, &id, None);
                assert!(
                    said.is_some(),
                    "`{id}` is missing in the words.txt of the feature {}",
                    feature.name
                );
            }
        }
    }
}

/// Calls `each` with every object in it that is a schema, with where it is.
fn schemas(value: &Value, place: &str, each: &mut dyn FnMut(&Map<String, Value>, &str)) {
    match value {
        Value::Object(all) => {
            let is_schema = |key: &str| all.get(key).is_some_and(|v| v.is_object());
            for (name, inner) in all {
                let place = format!("{place}/{name}");
                let one = matches!(name.as_str(), "schema" | "items" | "additionalProperties") && inner.is_object();
                if one {
                    each(inner.as_object().unwrap(), &place);
                }
                if matches!(name.as_str(), "properties" | "schemas" | "x-events") && is_schema(name) {
                    let inner = inner.as_object().unwrap();
                    inner
                        .iter()
                        .for_each(|(name, s)| each(s.as_object().unwrap(), &format!("{place}/{name}")));
                }
                schemas(inner, &place, each);
            }
        }
        Value::Array(all) => all
            .iter()
            .enumerate()
            .for_each(|(n, v)| schemas(v, &format!("{place}/{n}"), each)),
        _ => {}
    }
}

#[test]
fn the_document_keeps_the_rules_of_openapi() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    let mut used = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let names: BTreeSet<_> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        assert!(path.starts_with('/') && !path.contains('…'), "{path}");
        for (method, op) in methods.as_object().unwrap() {
            let place = format!("{method} {path}");
            assert!(
                ids.insert(op["operationId"].as_str().unwrap()),
                "{place}: its id stands twice"
            );
            assert!(!op["summary"].as_str().unwrap().is_empty(), "{place}");
            let parameters = op["parameters"].as_array().cloned().unwrap_or_default();
            let of = |kind: &str| -> BTreeSet<String> {
                let all = parameters.iter().filter(|p| p["in"] == kind);
                all.map(|p| p["name"].as_str().unwrap().to_string()).collect()
            };
            assert!(
                of("path").iter().map(String::as_str).eq(names.iter().copied()),
                "{place}: names of its path"
            );
            assert_eq!(
                of("path").len() + of("query").len(),
                parameters.len(),
                "{place}: one stands twice"
            );
            let answers = op["responses"].as_object().unwrap();
            assert!(
                answers.keys().any(|status| status.starts_with('2')),
                "{place}: no way that all is well"
            );
            let is_public = op["security"] == json!([]);
            assert_eq!(
                is_public && !answers.contains_key("401"),
                !answers.contains_key("401"),
                "{place}"
            );
            for tag in op["tags"].as_array().unwrap() {
                assert!(
                    document["tags"].as_array().unwrap().iter().any(|t| t["name"] == *tag),
                    "{place}"
                );
            }
        }
    }
    // Whatever is referred to is there, and what is there is referred to.
    let text = document.to_string();
    for (at, _) in text.match_indices("\"$ref\":\"#") {
        let pointer = text[at + 9..].split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
        used.insert(pointer.to_string());
    }
    for kind in ["schemas", "responses"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            assert!(
                used.contains(&format!("/components/{kind}/{name}")),
                "{name} is used nowhere"
            );
            let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            assert!(name.chars().all(good), "{name} is no name of a component");
        }
    }
    let mut seen = 0;
    schemas(&document, "", &mut |schema, place| {
        seen += 1;
        let keys: BTreeSet<_> = schema.keys().map(String::as_str).collect();
        let known = [
            "type",
            "format",
            "enum",
            "minimum",
            "maximum",
            "minLength",
            "maxLength",
            "maxItems",
            "items",
            "properties",
            "required",
            "additionalProperties",
            "anyOf",
            "allOf",
            "description",
            "default",
            "writeOnly",
            "$ref",
        ];
        assert!(keys.iter().all(|key| known.contains(key)), "{place}: {keys:?}");
        let number = |key: &str| schema.get(key).and_then(Value::as_f64);
        if let (Some(min), Some(max)) = (number("minimum"), number("maximum")) {
            assert!(min <= max, "{place}");
            assert!(number("default").is_none_or(|n| (min..=max).contains(&n)), "{place}");
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required {
            assert!(
                schema["properties"].get(name.as_str().unwrap()).is_some(),
                "{place}: {name}"
            );
        }
    });
    assert!(seen > 500, "{seen}: the schemas were not found");
}

#[test]
fn a_tail_of_a_path_a_body_with_two_names_for_a_field_and_a_stream_are_told() {
    const FIELDS: &[Param] = &[
        param::text("login", 10, "Who.").required(),
        param::text("email", 10, "The same.").alias_of("login"),
        param::secret("password", 10, "By what.").required(),
        param::words("tags", 3, 4, "More."),
    ];
    const HANDLER: fn(&Ctx) -> lamplighter::base::error::Result<Reply> = |_| Ok(Reply::status(204));
    const ROUTES: &[Route] = &[
        route(Method::Get, "/api/x/{name…}/log", Right::SignedIn, HANDLER)
            .query(&[param::flag("all", "All."), param::number("n", 1..=5, "How many.").or(2)])
            .streams(&[("line", &Shape::Text)]),
        route(Method::Post, "/api/x", Right::Public, HANDLER)
            .takes(FIELDS)
            .gives_nothing(),
        route(Method::Put, "/api/x", Right::Public, HANDLER)
            .takes(FIELDS)
            .gives_nothing(),
        route(Method::Patch, "/api/x", Right::Public, HANDLER)
            .takes(FIELDS)
            .gives_nothing(),
    ];
    let document = openapi::document(&[("x", ROUTES)], true);
    let log = &document["paths"]["/api/x/{name}/log"]["get"];
    assert_eq!(log["parameters"][0]["x-takes-slashes"], true);
    assert_eq!(
        log["parameters"][1]["schema"],
        json!({ "type": "integer", "enum": [0, 1], "default": 0 })
    );
    assert_eq!(log["parameters"][2]["schema"]["default"], 2);
    let line = &log["responses"]["200"]["content"]["text/event-stream"]["x-events"]["line"];
    assert_eq!(line, &json!({ "type": "string" }));
    let body = |method: &str| document["paths"]["/api/x"][method]["requestBody"].clone();
    let schema = |method: &str| body(method)["content"]["application/json"]["schema"].clone();
    assert_eq!(body("post")["required"], true);
    assert_eq!(schema("post")["required"], json!(["password"]));
    let either = json!([{ "anyOf": [{ "required": ["login"] }, { "required": ["email"] }] }]);
    assert_eq!(schema("post")["allOf"], either);
    assert_eq!(
        (schema("put").get("required"), &schema("put")["allOf"]),
        (None, &either)
    );
    assert_eq!(
        (body("patch")["required"].clone(), schema("patch").get("allOf")),
        (false.into(), None)
    );
    assert_eq!(
        document["components"]["securitySchemes"]["session"]["name"],
        "__Host-lamplighter"
    );
}

#[test]
fn anybody_may_read_the_document_and_a_refusal_is_as_it_says() {
    let house = House::with(Processes::ApiOnly, &[]);
    let told = house.client().get("/openapi.json").is(200);
    assert_eq!(told, document());
    let refused = house
        .admin()
        .post("/api/groups", &json!({ "name": "", "kind": "x" }))
        .is(422);
    let schema = &document()["components"]["schemas"]["http.reply.Refused"];
    let names = |of: &Value| of.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&refused), names(&schema["properties"]));
    let unknown = house.admin().get("/api/groups/9").is(404);
    let required = schema["required"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_str().unwrap().to_string());
    assert_eq!(names(&unknown), required.collect());
}
