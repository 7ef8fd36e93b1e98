//! A route's declaration in words: its inputs and answers with their types, and a line with `curl` that works.

use crate::access::Right;
use crate::base::error::Result;
use crate::base::shape::{Object, Presence, Shape};
use crate::base::shell::shq;
use crate::form::param::{Kind, Param};
use crate::http::openapi;
use crate::http::request::Method;
use crate::http::route::{Answer, Body, Route};
use crate::lang::{Lang, words};
use serde::Serialize;
use std::collections::BTreeMap;

/// A route in words.
#[derive(Serialize)]
pub struct Described {
    id: String,
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    right: String,
    /// May the answer be followed as it changes?
    live: bool,
    /// Names of the path and parameters of the query.
    parameters: Vec<Field>,
    body: Vec<Field>,
    /// The body's type, where it is no list of fields.
    document: Vec<Text>,
    answers: Vec<Said>,
    refusals: Vec<Said>,
    curl: String,
}

/// Something that may be sent.
#[derive(Serialize)]
struct Field {
    name: &'static str,
    of: Vec<Text>,
    required: bool,
    /// What holds without it; empty: nothing special.
    default: String,
    what: &'static str,
}

/// A way that a route answers.
#[derive(Serialize)]
struct Said {
    status: u16,
    say: &'static str,
    /// The type of its JSON, the media type of its bytes, or the events of its stream.
    of: Vec<Text>,
}

/// A named type of answers.
#[derive(Serialize)]
pub struct Type {
    name: String,
    what: String,
    members: Vec<Part>,
}

/// A member of a type.
#[derive(Serialize)]
struct Part {
    name: &'static str,
    of: Vec<Text>,
    always: bool,
    what: String,
}

/// A piece of text; `to` is the type of the same page that it leads to, or empty.
#[derive(Serialize)]
pub struct Text {
    say: String,
    to: String,
}

/// Does a route have this in its path, its summary or the name of something that it takes?
pub fn fits(route: &Route, q: &str, lang: Lang) -> bool {
    let q = q.to_lowercase();
    let body = match route.body {
        Some(Body::Fields(fields)) => fields,
        _ => &[],
    };
    let names = route.query.iter().chain(body).map(|p| p.name);
    let texts = [route.path, route.method.name(), openapi::summary(route, lang)];
    texts
        .into_iter()
        .chain(names)
        .any(|text| text.to_lowercase().contains(&q))
}

/// Who may.
pub fn right(right: Right, lang: Lang) -> String {
    match right {
        Right::Public => word(lang, "docs.right.anybody").into(),
        Right::SignedIn => word(lang, "docs.right.signed_in").into(),
        right => right.to_string(),
    }
}

/// A route in words; `origin` is the address that who reads has come by.
pub fn route(route: &Route, lang: Lang, origin: &str) -> Result<Described> {
    let in_path = openapi::args(route).map(|(name, takes_slashes)| Field {
        name,
        of: match openapi::is_id(name) {
            true => shape(&Shape::Id, lang),
            false => plain(word(lang, "docs.kind.text")),
        },
        required: true,
        default: String::new(),
        what: if takes_slashes { word(lang, "api.tail") } else { "" },
    });
    let (body, document) = match route.body {
        Some(Body::Fields(fields)) => (fields, Vec::new()),
        Some(Body::Document(of)) => (&[][..], shape(of, lang)),
        Some(Body::Bytes(max)) => (
            &[][..],
            plain(format!("{} ≤ {} MiB", word(lang, "docs.kind.bytes"), max >> 20)),
        ),
        None => (&[][..], Vec::new()),
    };
    let said = |status: u16, of: Vec<Text>| Said {
        status,
        say: word(lang, &format!("api.status.{status}")),
        of,
    };
    let answers = route.answers.iter().flatten();
    Ok(Described {
        id: openapi::operation_id(route),
        method: route.method.name(),
        path: route.path,
        summary: openapi::summary(route, lang),
        right: right(route.right, lang),
        live: route.live,
        parameters: in_path.chain(route.query.iter().map(|p| in_query(p, lang))).collect(),
        body: body.iter().map(|p| in_body(p, route, lang)).collect(),
        document,
        answers: answers.map(|a| said(a.status(), answer(a, lang))).collect(),
        refusals: route.refusals().into_iter().map(|s| said(s, Vec::new())).collect(),
        curl: curl(route, origin)?,
    })
}

/// The named types of these routes, by name.
pub fn types(routes: &'static [Route], lang: Lang) -> Vec<Type> {
    let mut all: BTreeMap<String, &'static Object> = BTreeMap::new();
    for route in routes {
        openapi::types(route, &mut all);
    }
    let one = |(name, object): (String, &'static Object)| {
        let mut members = Vec::new();
        object.each_member(false, &mut |member, always| {
            let any_name = member.presence == Presence::Flat;
            members.push(Part {
                name: if any_name { "*" } else { member.name },
                of: match member.shape {
                    Shape::Map(of) if any_name => shape(of, lang),
                    of => shape(of, lang),
                },
                always,
                what: openapi::prose(member.doc),
            });
        });
        let what = openapi::prose(object.doc);
        Type { name, what, members }
    };
    all.into_iter().map(one).collect()
}

fn word(lang: Lang, id: &str) -> &'static str {
    words::word(lang, id, None).unwrap_or_default()
}

/// A text with whole numbers in its places.
fn filled(lang: Lang, id: &str, values: &[(&str, String)]) -> String {
    let values: Vec<_> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
    words::filled(word(lang, id), &values)
}

fn plain(say: impl Into<String>) -> Vec<Text> {
    vec![Text {
        say: say.into(),
        to: String::new(),
    }]
}

fn in_query(param: &Param, lang: Lang) -> Field {
    let is_default = match param.kind {
        Kind::Number { min, max } => param.default != 0 && (min..=max).contains(&param.default),
        _ => false,
    };
    Field {
        name: param.name,
        of: match param.kind {
            Kind::Flag => plain("0 | 1"),
            Kind::Link => shape(&Shape::Id, lang),
            kind => input(kind, lang),
        },
        required: param.required,
        default: if is_default {
            param.default.to_string()
        } else {
            String::new()
        },
        what: param.doc,
    }
}

fn in_body(param: &Param, route: &Route, lang: Lang) -> Field {
    Field {
        name: param.name,
        of: input(param.kind, lang),
        required: openapi::must(param, route.method),
        default: String::new(),
        what: param.doc,
    }
}

/// The type of an input.
fn input(kind: Kind, lang: Lang) -> Vec<Text> {
    let say = |id: &str, values: &[(&str, String)]| plain(filled(lang, id, values));
    let span = |min: String, max: String| [("min", min), ("max", max)];
    match kind {
        Kind::Name => say("docs.kind.name", &[]),
        Kind::Text { bytes_max } => say("docs.kind.text_max", &[("max", bytes_max.to_string())]),
        Kind::Secret { bytes_max } => say("docs.kind.secret", &[("max", bytes_max.to_string())]),
        Kind::Choice(words) => plain(choice(words)),
        Kind::Flag => plain("true | false"),
        Kind::Number { min, max: i64::MAX } => say("docs.kind.number_from", &[("min", min.to_string())]),
        Kind::Number { min, max } => say("docs.kind.number", &span(min.to_string(), max.to_string())),
        Kind::MaybeNumber { min, max } => {
            let mut out = say("docs.kind.number", &span(min.to_string(), max.to_string()));
            out.extend(plain(" | null"));
            out
        }
        Kind::Decimal { min, max } => say("docs.kind.decimal", &span(min.to_string(), max.to_string())),
        Kind::Link => shape(&Shape::Nullable(&Shape::Id), lang),
        Kind::Links { count_max } => say("docs.kind.ids", &[("n", count_max.to_string())]),
        Kind::Words { count_max, bytes_max } | Kind::List { count_max, bytes_max } => {
            let values = [("n", count_max.to_string()), ("max", bytes_max.to_string())];
            say("docs.kind.texts", &values)
        }
        Kind::Shaped(of) => shape(of, lang),
        Kind::Object => shape(&Shape::Nullable(&Shape::Map(&Shape::Any)), lang),
        Kind::Items { count_max, of } => {
            let mut out = say("docs.kind.items", &[("n", count_max.to_string())]);
            out.extend(shape(of, lang));
            out
        }
    }
}

fn choice(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|w| if w.is_empty() { "\"\"" } else { w }).collect();
    words.join(" | ")
}

/// A type; named ones lead to their place.
fn shape(of: &Shape, lang: Lang) -> Vec<Text> {
    let around = |before: &str, of: &Shape, after: &str| {
        let mut out = plain(before);
        out.extend(shape(of, lang));
        out.extend(plain(after));
        out
    };
    match of {
        Shape::Any => plain(word(lang, "docs.kind.any")),
        Shape::Flag => plain("true | false"),
        Shape::Whole => plain(word(lang, "docs.kind.whole")),
        Shape::Id => plain(word(lang, "docs.kind.id")),
        Shape::Number => plain(word(lang, "docs.kind.some_number")),
        Shape::Text => plain(word(lang, "docs.kind.text")),
        Shape::Scalar => plain(word(lang, "docs.kind.scalar")),
        Shape::Choice(words) => plain(choice(words)),
        Shape::List(of) => around("[", of, "]"),
        Shape::Map(of) => around("{*: ", of, "}"),
        Shape::Nullable(of) => around("", of, " | null"),
        Shape::Either(one, other) => {
            let mut out = around("", one, " | ");
            out.extend(shape(other, lang));
            out
        }
        Shape::Object(object) if object.name.is_empty() => {
            let mut out = plain("{");
            object.each_member(false, &mut |member, always| {
                let comma = if out.len() > 1 { ", " } else { "" };
                let open = if always { "" } else { "?" };
                out.extend(plain(format!("{comma}{}{open}: ", member.name)));
                out.extend(shape(member.shape, lang));
            });
            out.extend(plain("}"));
            out
        }
        Shape::Object(object) => {
            let name = openapi::name(object);
            vec![Text {
                say: name.clone(),
                to: name,
            }]
        }
    }
}

fn answer(answer: &Answer, lang: Lang) -> Vec<Text> {
    match answer {
        Answer::Json(_, of) => shape(of, lang),
        Answer::Bytes(kind) => plain(*kind),
        Answer::Nothing => Vec::new(),
        Answer::Stream(events) => {
            let mut out = plain("text/event-stream");
            for (name, of) in *events {
                out.extend(plain(format!(" · {name}: ")));
                out.extend(shape(of, lang));
            }
            out
        }
    }
}

/// A line for a shell. What stands for something of one's own is a variable or the number 1.
fn curl(route: &Route, origin: &str) -> Result<String> {
    let mut out = String::from("curl");
    let is_stream = matches!(route.answers[0], Some(Answer::Stream(_)));
    if is_stream {
        out.push_str(" -N");
    }
    if route.method != Method::Get {
        out.push_str(&format!(" -X {}", route.method.name()));
    }
    if route.right != Right::Public {
        out.push_str(" -H \"Authorization: Bearer $TOKEN\"");
    }
    let body = match route.body {
        Some(Body::Document(_)) => Some("@body.json".to_string()),
        Some(Body::Bytes(_)) => {
            out.push_str(" -H 'Content-Type: application/octet-stream' --data-binary @FILE");
            None
        }
        _ => openapi::example(route).map(|body| body.to_string()),
    };
    if let Some(body) = body {
        out.push_str(" -H 'Content-Type: application/json' -d ");
        out.push_str(&shq(&body)?);
    }
    let mut path: Vec<_> = route.path.split('/').map(str::to_string).collect();
    for part in &mut path {
        if let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            *part = if openapi::is_id(name) {
                "1".into()
            } else {
                "NAME".into()
            };
        }
    }
    let required: Vec<_> = (route.query.iter().filter(|p| p.required))
        .map(|p| format!("{}={}", p.name, p.example.trim_matches('"')))
        .collect();
    let query = if required.is_empty() {
        String::new()
    } else {
        format!("?{}", required.join("&"))
    };
    let address = shq(&format!("{origin}{}{query}", path.join("/")))?;
    Ok(format!("{out} {address}"))
}
