//! Sends to Loki: `POST /loki/api/v1/push`, JSON, lines by their labels. An answer says that they were taken. What Loki refuses
//! for what it is (too old, too long) will never be taken and is counted as missed; everything else is tried again.

use super::reading::{Named, Run};
use super::target::Place;
use crate::base::clock::Duration;
use crate::base::error::{Error, Kind, Result};
use crate::base::lines::uncoloured;
use crate::base::secret::Secret;
use crate::base::text;
use crate::journal::Line;
use crate::net::http::{self, EXCUSE_MAX, Method, Request, Route};
use std::collections::BTreeMap;

/// Limit of a request.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of lines in a request, about: Loki takes 4 MB.
const BODY_MAX: usize = 1 << 20;
/// Lines at once.
const PART: i64 = 2_000;
/// Requests until others have their turn.
const ROUNDS: usize = 20;

/// Sends what there is, for a while. Errors: those of [`http::send`], or the refusal.
pub fn send(run: &mut Run, place: &Place) -> Result<()> {
    for _ in 0..ROUNDS {
        let part = run.next(PART)?;
        if part.last == run.reader.last || run.is_stopping() {
            return Ok(());
        }
        let all: Vec<(&Named, &Line)> = part.named().collect();
        let mut rest = &all[..];
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |(_, line): &&(&Named, &Line)| {
                bytes += line.text.len() + 40;
                bytes <= BODY_MAX
            };
            let n = rest.iter().take_while(fits).count().max(1);
            let refused = post(place, &body(&rest[..n]))?;
            let mut reader = run.reader.clone();
            let last = rest[n - 1].1.id;
            reader.taken += if refused { 0 } else { n as i64 };
            // Numbers that are not in the part were removed.
            reader.missed += last - reader.last - if refused { 0 } else { n as i64 };
            reader.last = last;
            run.taken(reader)?;
            rest = &rest[n..];
        }
        if run.reader.last < part.last {
            let mut reader = run.reader.clone();
            reader.missed += part.last - reader.last;
            reader.last = part.last;
            run.taken(reader)?;
        }
    }
    Ok(())
}

fn body(lines: &[(&Named, &Line)]) -> String {
    let mut streams: BTreeMap<[&str; 4], Vec<[String; 2]>> = BTreeMap::new();
    for (name, line) in lines {
        let labels = [&name.server, &name.name, line.stream.name(), line.level.name()];
        let value = [line.at.to_string(), uncoloured(&line.text)];
        streams.entry(labels).or_default().push(value);
    }
    let stream = |(labels, values): ([&str; 4], Vec<[String; 2]>)| {
        let [server, container, stream, level] = labels;
        let mut of =
            serde_json::json!({ "job": "lamplighter", "server": server, "container": container, "stream": stream });
        if !level.is_empty() {
            of["level"] = level.into();
        }
        serde_json::json!({ "stream": of, "values": values })
    };
    let streams: Vec<_> = streams.into_iter().map(stream).collect();
    serde_json::json!({ "streams": streams }).to_string()
}

/// Sends; `true`: it was refused for what it is.
fn post(place: &Place, body: &str) -> Result<bool> {
    let mut headers: Vec<(&str, String)> = Vec::new();
    if !place.tenant.is_empty() {
        headers.push(("x-scope-orgid", place.tenant.clone()));
    }
    if let Some(authorization) = &place.authorization {
        headers.push(("authorization", authorization.reveal_text_for("Loki's header").into()));
    }
    let said = http::send(
        &place.call(PATIENCE),
        &Request {
            method: Method::Post,
            path: &Secret::new(format!("{}/loki/api/v1/push", place.base)),
            content_type: "application/json",
            headers: &headers,
            body: body.as_bytes(),
            route: Route::Direct,
        },
        EXCUSE_MAX,
    );
    drop(
        headers
            .into_iter()
            .map(|(_, value)| Secret::new(value))
            .collect::<Vec<_>>(),
    );
    let said = said?;
    let answer = text::one_line(&String::from_utf8_lossy(&said.body), 200);
    match said.status {
        200..=299 => Ok(false),
        400 | 413 | 422 => {
            crate::base::log::warning(
                "forward",
                "Loki refused lines for what they are",
                &[("answer", &answer)],
            );
            Ok(true)
        }
        status => {
            let say = format!("{} did not take lines (status {status}): {answer}", place.text);
            Err(Error::new(Kind::Upstream, "forward_refused", say))
        }
    }
}
