//! The API's description as an OpenAPI 3.1 document, made from what the routes declare: the rows that the reader of an input
//! asks, and the types that answers are checked against. Nothing is told here a second time.
//!
//! <https://spec.openapis.org/oas/v3.1.0>; the schemas are JSON Schema 2020-12.

use super::guard::cookie_name;
use super::reply::Refused;
use super::request::Method;
use super::route::{Answer, Body, Route};
use crate::access::Right;
use crate::base::shape::{Described, Member, Object, Presence, Shape};
use crate::form::param::{Kind, Param};
use crate::lang::{Lang, words};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The routes of one feature, under its name.
pub type Tagged = (&'static str, &'static [Route]);

/// The document for who asks over TLS or not: the cookie's name depends on it.
pub fn document(features: &[Tagged], tls: bool) -> Value {
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut schemas = BTreeMap::new();
    collect(Refused::SHAPE, &mut schemas);
    let mut tags = Vec::new();
    for (name, routes) in features.iter().filter(|(_, routes)| !routes.is_empty()) {
        tags.push(json!({ "name": name, "description": said(&format!("api.{name}")) }));
        for route in *routes {
            types(route, &mut schemas);
            let at = paths.entry(path(route)).or_default();
            at.insert(route.method.name().to_lowercase(), operation(name, route));
        }
    }
    let schemas: Map<_, _> = schemas
        .into_iter()
        .map(|(name, object)| (name, object_schema(object)))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Lamplighter",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": said("api.summary"),
            "description": said("api.about"),
        },
        "servers": [{ "url": "/" }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": refusals(features),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": said("api.bearer") },
                "session": { "type": "apiKey", "in": "cookie", "name": cookie_name(tls), "description": said("api.session") },
                "csrf": { "type": "apiKey", "in": "header", "name": "X-CSRF-Token", "description": said("api.csrf") },
            },
        },
    })
}

/// What a route does, in a few words.
pub fn summary(route: &Route, lang: Lang) -> &'static str {
    words::word(lang, &word(route), None).unwrap_or_default()
}

/// The id of a route's summary: `api.get /api/servers/{id}`.
pub fn word(route: &Route) -> String {
    format!("api.{} {}", route.method.name().to_lowercase(), route.path)
}

/// The document is in English.
fn said(id: &str) -> &'static str {
    words::word(Lang::En, id, None).unwrap_or_default()
}

/// `{name…}` has no word in OpenAPI; the parameter says that it takes slashes.
fn path(route: &Route) -> String {
    route.path.replace('…', "")
}

/// The names of a route's path: `{id}` and `{…_id}` are numbers of things; with it: does it take slashes?
pub fn args(route: &Route) -> impl Iterator<Item = (&'static str, bool)> {
    let names = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| (name.trim_end_matches('…'), name.ends_with('…')))
}

/// Is this name of a path the number of a thing?
pub fn is_id(name: &str) -> bool {
    name == "id" || name.ends_with("_id")
}

/// The id of an operation, unique among all: `get_api_servers_id`.
pub fn operation_id(route: &Route) -> String {
    let path = path(route);
    let parts = path.split('/').filter(|part| !part.is_empty());
    let parts: Vec<_> = parts
        .map(|part| part.trim_matches(['{', '}']).replace(['-', '.'], "_"))
        .collect();
    format!("{}_{}", route.method.name().to_lowercase(), parts.join("_"))
}

fn operation(tag: &str, route: &Route) -> Value {
    let mut out = Map::new();
    out.insert("operationId".into(), json!(operation_id(route)));
    out.insert("tags".into(), json!([tag]));
    out.insert("summary".into(), json!(summary(route, Lang::En)));
    let in_path = args(route).map(|(name, takes_slashes)| arg(name, takes_slashes));
    let parameters: Vec<_> = in_path.chain(route.query.iter().map(query)).collect();
    if !parameters.is_empty() {
        out.insert("parameters".into(), parameters.into());
    }
    if let Some(body) = body(route) {
        out.insert("requestBody".into(), body);
    }
    let answers = route.answers.iter().flatten();
    let mut responses = Map::new();
    for answer in answers {
        let of = response(answer, route.live);
        match responses.get_mut(&answer.status().to_string()) {
            // Another form of the same answer, as the client asks for it.
            Some(before) => before["content"].as_object_mut().into_iter().for_each(|all| {
                let content = of["content"].as_object().cloned().unwrap_or_default();
                all.extend(content);
            }),
            None => drop(responses.insert(answer.status().to_string(), of)),
        }
    }
    for status in route.refusals() {
        let place = json!({ "$ref": format!("#/components/responses/{status}") });
        responses.insert(status.to_string(), place);
    }
    out.insert("responses".into(), responses.into());
    out.insert("security".into(), security(route));
    out.into()
}

/// What is to be shown: a token, or a session's cookie and, for what changes something, its CSRF token. The names in the
/// brackets are the right that is asked for.
fn security(route: &Route) -> Value {
    let rights = match route.right {
        Right::Public => return json!([]),
        Right::SignedIn => json!([]),
        right => json!([right.to_string()]),
    };
    match route.method.is_safe() {
        true => json!([{ "bearer": rights }, { "session": rights }]),
        false => json!([{ "bearer": rights }, { "session": rights, "csrf": [] }]),
    }
}

fn arg(name: &str, takes_slashes: bool) -> Value {
    let mut out = json!({ "name": name, "in": "path", "required": true });
    out["schema"] = match is_id(name) {
        true => schema(&Shape::Id),
        false => json!({ "type": "string", "minLength": 1 }),
    };
    if takes_slashes {
        out["description"] = json!(said("api.tail"));
        out["x-takes-slashes"] = json!(true);
    }
    out
}

fn query(param: &Param) -> Value {
    let mut schema = match param.kind {
        Kind::Flag => json!({ "type": "integer", "enum": [0, 1] }),
        Kind::Link => schema(&Shape::Id),
        // An empty value chooses nothing, as in a form.
        Kind::Choice(words) if !words.contains(&"") => {
            json!({ "type": "string", "enum": words.iter().chain(&[""]).collect::<Vec<_>>() })
        }
        kind => input(kind),
    };
    let in_bounds = match param.kind {
        Kind::Flag => true,
        Kind::Number { min, max } => (min..=max).contains(&param.default),
        _ => false,
    };
    if in_bounds {
        schema["default"] = json!(param.default);
    }
    json!({ "name": param.name, "in": "query", "required": param.required, "description": param.doc, "schema": schema })
}

fn body(route: &Route) -> Option<Value> {
    let (schema, required) = match route.body? {
        Body::Bytes(max) => {
            let schema = json!({ "type": "string", "format": "binary", "maxLength": max });
            return Some(json!({ "required": false, "content": { "application/octet-stream": { "schema": schema } } }));
        }
        Body::Fields(fields) => {
            let schema = fields_schema(fields, route.method);
            let required = schema.get("required").is_some() || schema.get("allOf").is_some();
            (schema, required)
        }
        // No body is an empty object.
        Body::Document(shape) => (self::schema(shape), !matches!(shape, Shape::Map(_))),
    };
    let mut content = json!({ "schema": schema });
    if let Some(example) = example(route) {
        content["example"] = example;
    }
    Some(json!({ "required": required, "content": { "application/json": content } }))
}

/// A body that shows how one looks: what is required, and what has an example. `None` where the route takes none.
pub fn example(route: &Route) -> Option<Value> {
    let Body::Fields(fields) = route.body? else { return None };
    let is_shown = |p: &&Param| p.alias_of.is_empty() && (must(p, route.method) || !p.example.is_empty());
    let shown = fields.iter().filter(is_shown);
    Some(
        shown
            .map(|p| (p.name.to_string(), value(p)))
            .collect::<Map<_, _>>()
            .into(),
    )
}

/// A value that a field may have.
fn value(param: &Param) -> Value {
    let made = || match param.kind {
        Kind::Choice(words) => json!(words.iter().find(|word| !word.is_empty())),
        Kind::Flag => json!(true),
        Kind::Number { min, .. } | Kind::MaybeNumber { min, .. } => json!(min),
        Kind::Decimal { min, .. } => json!(min),
        Kind::Link => json!(1),
        Kind::Links { .. } => json!([1]),
        Kind::Words { .. } | Kind::List { .. } | Kind::Items { .. } => json!([]),
        Kind::Object => json!({}),
        Kind::Shaped(_) => json!(null),
        Kind::Name => json!("example"),
        Kind::Text { .. } | Kind::Secret { .. } => json!("…"),
    };
    serde_json::from_str(param.example).unwrap_or_else(|_| made())
}

/// Must a body of this method bring it? A thing that is replaced keeps its secrets.
pub fn must(param: &Param, method: Method) -> bool {
    let is_secret = matches!(param.kind, Kind::Secret { .. });
    param.required && (method == Method::Post || method == Method::Put && !is_secret)
}

fn fields_schema(fields: &[Param], method: Method) -> Value {
    let properties: Map<_, _> = fields.iter().map(|p| (p.name.to_string(), field(p))).collect();
    let mut out = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    let aliases = |name: &str| -> Vec<&str> {
        let others = fields.iter().filter(|p| p.alias_of == name).map(|p| p.name);
        others.collect()
    };
    let needed = || fields.iter().filter(|p| must(p, method));
    let alone: Vec<_> = needed()
        .filter(|p| aliases(p.name).is_empty())
        .map(|p| p.name)
        .collect();
    if !alone.is_empty() {
        out["required"] = json!(alone);
    }
    let one_of_them = |p: &Param| {
        let names = [p.name].into_iter().chain(aliases(p.name));
        json!({ "anyOf": names.map(|name| json!({ "required": [name] })).collect::<Vec<_>>() })
    };
    let several: Vec<_> = needed()
        .filter(|p| !aliases(p.name).is_empty())
        .map(one_of_them)
        .collect();
    if !several.is_empty() {
        out["allOf"] = json!(several);
    }
    out
}

fn field(param: &Param) -> Value {
    let mut out = input(param.kind);
    if param.may_refer {
        let number = json!({ "type": "integer", "minimum": 1 });
        let reference = json!({ "type": "object", "properties": { "secret_id": number }, "required": ["secret_id"],
            "additionalProperties": false });
        out = json!({ "anyOf": [out, reference], "writeOnly": true });
    }
    out["description"] = json!(param.doc);
    out
}

/// The schema of what the reader of this kind takes. Numbers and flags may also be sent as text, as forms do; that is said
/// once, in the document's description.
fn input(kind: Kind) -> Value {
    let texts = |count_max: usize, bytes_max: usize| {
        let one = json!({ "type": "string", "minLength": 1, "maxLength": bytes_max });
        json!({ "type": "array", "maxItems": count_max, "items": one })
    };
    let number = |name: Value, min: i64, max: i64| match max {
        i64::MAX => json!({ "type": name, "minimum": min }),
        _ => json!({ "type": name, "minimum": min, "maximum": max }),
    };
    match kind {
        Kind::Name => json!({ "type": "string", "minLength": 1, "maxLength": 100 }),
        // A text of so many bytes has at most so many characters.
        Kind::Text { bytes_max } => json!({ "type": "string", "maxLength": bytes_max }),
        Kind::Secret { bytes_max } => {
            json!({ "type": ["string", "null"], "maxLength": bytes_max, "format": "password", "writeOnly": true })
        }
        Kind::Choice(words) => json!({ "type": "string", "enum": words }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Number { min, max } => number(json!("integer"), min, max),
        Kind::MaybeNumber { min, max } => number(json!(["integer", "null"]), min, max),
        Kind::Decimal { min, max } => json!({ "type": "number", "minimum": min, "maximum": max }),
        Kind::Link => json!({ "type": ["integer", "null"], "minimum": 1 }),
        Kind::Links { count_max } => json!({ "type": "array", "maxItems": count_max, "items": schema(&Shape::Id) }),
        Kind::List { count_max, bytes_max } => texts(count_max, bytes_max),
        Kind::Words { count_max, bytes_max } => json!({ "anyOf": [texts(count_max, bytes_max), { "type": "string" }] }),
        Kind::Object => json!({ "type": ["object", "null"] }),
        Kind::Shaped(of) => schema(of),
        Kind::Items { count_max, of } => json!({ "type": "array", "maxItems": count_max, "items": schema(of) }),
    }
}

fn response(answer: &Answer, live: bool) -> Value {
    let status = answer.status();
    let mut out = json!({ "description": said(&format!("api.status.{status}")) });
    match answer {
        Answer::Json(_, shape) => {
            out["content"] = json!({ "application/json": { "schema": schema(shape) } });
            if live {
                let event = json!({ "data": schema(shape) });
                out["content"]["text/event-stream"] = json!({ "schema": { "type": "string" }, "x-events": event });
            }
            if matches!(status, 201 | 202) {
                out["headers"] =
                    json!({ "Location": { "schema": { "type": "string" }, "description": said("api.location") } });
            }
        }
        Answer::Bytes(kind) => {
            let media_type = kind.split(';').next().unwrap_or(kind);
            let is_json = media_type == "application/json";
            let schema = if is_json {
                json!({})
            } else {
                json!({ "type": "string" })
            };
            out["content"] = json!({ media_type: { "schema": schema } });
        }
        Answer::Stream(events) => {
            let events: Map<_, _> = events
                .iter()
                .map(|(name, shape)| (name.to_string(), schema(shape)))
                .collect();
            out["content"] = json!({ "text/event-stream": { "schema": { "type": "string" }, "x-events": events } });
        }
        Answer::Nothing => {}
    }
    out
}

/// One for each status that any route may refuse by.
fn refusals(features: &[Tagged]) -> Map<String, Value> {
    let statuses = features
        .iter()
        .flat_map(|(_, routes)| *routes)
        .flat_map(Route::refusals);
    let text = |description: &str| json!({ "schema": { "type": "string" }, "description": description });
    let one = |status: u16| {
        let mut out = json!({
            "description": said(&format!("api.status.{status}")),
            "content": { "application/json": { "schema": schema(Refused::SHAPE) } },
        });
        match status {
            401 => out["headers"] = json!({ "WWW-Authenticate": text("Bearer") }),
            405 => out["headers"] = json!({ "Allow": text(said("api.allow")) }),
            429 | 503 => out["headers"] = json!({ "Retry-After": text(said("api.retry")) }),
            _ => {}
        }
        (status.to_string(), out)
    };
    statuses.map(one).collect()
}

/// The types that a route names.
pub fn types(route: &Route, all: &mut BTreeMap<String, &'static Object>) {
    match route.body {
        Some(Body::Document(shape)) => collect(shape, all),
        Some(Body::Fields(fields)) => {
            for field in fields {
                if let Kind::Items { of, .. } = field.kind {
                    collect(of, all);
                }
            }
        }
        Some(Body::Bytes(_)) | None => {}
    }
    for answer in route.answers.iter().flatten() {
        match answer {
            Answer::Json(_, shape) => collect(shape, all),
            Answer::Stream(events) => events.iter().for_each(|(_, shape)| collect(shape, all)),
            Answer::Bytes(_) | Answer::Nothing => {}
        }
    }
}

/// Those whose members stand in another's place have no name there.
fn collect(shape: &Shape, all: &mut BTreeMap<String, &'static Object>) {
    match shape {
        Shape::List(of) | Shape::Map(of) | Shape::Nullable(of) => collect(of, all),
        Shape::Either(one, other) => [one, other].iter().for_each(|of| collect(of, all)),
        Shape::Object(object) => {
            let is_new = object.name.is_empty() || all.insert(name(object), object).is_none();
            if is_new {
                object.each_member(false, &mut |member, _| collect(member.shape, all));
            }
        }
        _ => {}
    }
}

/// The name of a type among the components: `servers.View`.
pub fn name(object: &Object) -> String {
    object.short().replace("::", ".")
}

/// The schema of a type; one with a name is referred to.
fn schema(shape: &Shape) -> Value {
    match shape {
        Shape::Any => json!({}),
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Whole => json!({ "type": "integer", "format": "int64" }),
        Shape::Id => json!({ "type": "integer", "format": "int64", "minimum": 1 }),
        Shape::Number => json!({ "type": "number" }),
        Shape::Text => json!({ "type": "string" }),
        Shape::Scalar => json!({ "type": ["number", "string"] }),
        Shape::Choice(words) => json!({ "type": "string", "enum": words }),
        Shape::List(of) => json!({ "type": "array", "items": schema(of) }),
        Shape::Map(of) => json!({ "type": "object", "additionalProperties": schema(of) }),
        Shape::Nullable(of) => json!({ "anyOf": [schema(of), { "type": "null" }] }),
        Shape::Either(one, other) => json!({ "anyOf": [schema(one), schema(other)] }),
        Shape::Object(object) if object.name.is_empty() => object_schema(object),
        Shape::Object(object) => json!({ "$ref": format!("#/components/schemas/{}", name(object)) }),
    }
}

fn object_schema(object: &Object) -> Value {
    let (mut properties, mut required, mut rest) = (Map::new(), Vec::new(), None);
    object.each_member(false, &mut |member: &'static Member, always| {
        if let (Shape::Map(of), Presence::Flat) = (member.shape, member.presence) {
            rest = Some(schema(of));
            return;
        }
        if always {
            required.push(member.name);
        }
        let mut one = schema(member.shape);
        let doc = prose(member.doc);
        if !doc.is_empty() {
            one["description"] = json!(doc);
        }
        properties.insert(member.name.to_string(), one);
    });
    let mut out = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        out["required"] = json!(required);
    }
    // What a later version adds, a program passes over; where any name may stand, its type is said.
    if let Some(rest) = rest {
        out["additionalProperties"] = rest;
    }
    let doc = prose(object.doc);
    if !doc.is_empty() {
        out["description"] = json!(doc);
    }
    out
}

/// A doc comment as text: without what only rustdoc follows.
pub fn prose(doc: &[&str]) -> String {
    let text: Vec<_> = doc.iter().map(|line| line.trim()).collect();
    text.join(" ").replace("[`", "`").replace("`]", "`")
}
