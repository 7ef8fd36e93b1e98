//! What the databases know where no daemon runs: the API's own handlers answer, in this process.

use super::{Invocation, usage};
use crate::base::clock::{self, Ms};
use crate::base::config::Config;
use crate::base::error::Result;
use crate::base::random;
use crate::base::sys;
use crate::base::zone::Zones;
use crate::form::body;
use crate::http::admission::Admission;
use crate::http::edge::Gauge;
use crate::http::guard;
use crate::http::reply;
use crate::http::request::{self, Method, Request};
use crate::http::response_cache::ResponseCache;
use crate::http::route::{self, Route, Routes, Web};
use crate::http::sse::Streams;
use crate::http::view::View;
use crate::lang::Lang;
use crate::lang::format::words_of_age;
use std::sync::{Arc, OnceLock};
use std::time::UNIX_EPOCH;

/// How old the databases are, in a sentence.
pub fn age(config: &Config) -> String {
    let files = ["lamplighter.db", "lamplighter.db-wal", "metrics.db", "metrics.db-wal"];
    let changed = files.iter().filter_map(|name| {
        let at = std::fs::metadata(config.data_dir.join(name)).ok()?.modified().ok()?;
        Ms::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
    });
    match changed.max() {
        Some(at) => {
            let ago = words_of_age(Lang::En, clock::now() - at, true);
            format!("No daemon runs. This is what the databases know; they changed last {ago}.")
        }
        None => "No daemon runs.".into(),
    }
}

/// Status and body of the API's answer to a GET, or with `sent` to a POST that changes nothing.
pub fn answer(asked: &Invocation, config: Config, path: &str, sent: Option<&[u8]>) -> Result<(u16, Vec<u8>)> {
    let app = Arc::new(asked.open_with(config)?);
    let routes = Routes::new(app.registry.all::<Route>().iter().copied(), [])?;
    let web = Arc::new(Web {
        view: View::new(),
        cache: ResponseCache::default(),
        zones: Zones::default(),
        streams: Streams::new(0, 0),
        routes,
        edge: OnceLock::new(),
        outbound: Gauge::new(0, 0),
        admission: Arc::new(Admission::new(app.db.clone())?),
        app,
    });
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let wrong = || usage("A path is like /api/servers?limit=10.");
    let request = Request {
        method: sent.map_or(Method::Get, |_| Method::Post),
        segments: request::segments(path).ok_or_else(wrong)?,
        query: body::pairs(query).ok_or_else(wrong)?,
        headers: vec![("content-type".into(), "application/json".into())],
        body: sent.unwrap_or_default().to_vec(),
        upload: None,
        ip: String::new(),
        local: true,
        tls: false,
        is_listed_origin: false,
        id: random::name(),
        client_id: String::new(),
        control: Some(sys::uid()),
    };
    let reply = (|| {
        let found = web.routes.find(request.method, &request.segments)?;
        let actor = guard::authenticate(&web.app, &request, found.route.right)?;
        route::answer(&web, &request, found, actor)
    })();
    Ok(match reply {
        Ok(reply) => (reply.status, reply.body.to_vec()),
        Err(e) => (reply::status(e.kind), reply::error_json(&e, &request).body.to_vec()),
    })
}
