//! The API in one file, where a change is seen in review: `tests/data/api.txt` must be what the rows of all features
//! declare. After a new route: `LAMPLIGHTER_ACCEPT=1 cargo test --test it api::`, and look at the difference.

use lamplighter::access::Right;
use lamplighter::base::shape::{Object, Shape};
use lamplighter::daemon::{self, FEATURES};
use lamplighter::form::param::Param;
use lamplighter::http::request::Method;
use lamplighter::http::route::{Answer, Body, Route};
use std::collections::BTreeMap;
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
