//! Lines of logs go on to a syslog receiver and to Loki: all of them, through outages and kills, with secrets that stay at home.

use crate::{common, fake};

use common::client::Client;
use common::*;
use fake::FINGERPRINT;
use fake::engine::Engine;
use fake::receiver::{Post, Receiver, Turn, answer};
use fake::syslog::{Mood, Syslog};
use serde_json::{Value, json};
use std::path::Path;

struct Story {
    engine: Engine,
    house: House,
    admin: Client,
    _folder: Folder,
}

fn story() -> Story {
    let folder = Folder::new();
    let engine = Engine::start(folder.path());
    let socket = engine.socket.to_str().unwrap().to_string();
    let house = House::with(Processes::One, &[("LAMPLIGHTER_CONTAINERS_SOCKET", socket.as_str())]);
    let admin = house.admin();
    Story {
        engine,
        house,
        admin,
        _folder: folder,
    }
}

impl Story {
    /// Says these lines, and waits until they are stored.
    fn says(&self, numbers: std::ops::Range<usize>) {
        for n in numbers.clone() {
            self.engine
                .say("web", n % 10 == 3, &format!("line {n} of many, as long as most are"));
        }
        eventually("they are stored", || {
            let web = self.admin.get("/api/containers/local/web");
            (web.status == 200 && web.is(200)["log_lines"].as_u64() >= Some(numbers.end as u64)).then_some(())
        });
    }

    fn standing(&self, receiver: &str) -> Value {
        let all = self.admin.get("/api/forward").is(200);
        let items = all["items"].as_array().unwrap();
        items
            .iter()
            .find(|one| one["receiver"] == receiver)
            .cloned()
            .unwrap_or_default()
    }

    /// A receiver that is set begins with what is stored from then on.
    fn begins(&self, settings: &Value) {
        self.admin.put("/api/settings", settings).is(200);
        for place in ["forward.syslog", "forward.loki"]
            .iter()
            .filter_map(|key| settings[*key].as_str())
        {
            let journal = rusqlite::Connection::open(Path::new(self.house.dir()).join("journal.db")).unwrap();
            let begun = "SELECT count(*) FROM readers WHERE place = ?1";
            eventually("it begins", || {
                let n: i64 = journal.query_row(begun, [place], |r| r.get(0)).unwrap();
                (n > 0).then_some(())
            });
        }
    }
}

fn number(text: &str) -> Option<usize> {
    text.split_once("line ")?.1.split(' ').next()?.parse().ok()
}

/// The numbers without those that came again.
fn once(numbers: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut seen = std::collections::HashSet::new();
    numbers.filter(|n| seen.insert(*n)).collect()
}

#[test]
fn a_syslog_receiver_gets_every_line_in_order_whatever_breaks() {
    for tls in [false, true] {
        let mut story = story();
        let syslog = Syslog::start(tls);
        story.engine.run("web", 1);
        story.says(0..10);
        let scheme = if tls { "tls" } else { "tcp" };
        story.begins(
            &json!({ "forward.syslog": format!("{scheme}://127.0.0.1:{}", syslog.port),
            "forward.syslog_pin": if tls { FINGERPRINT } else { "" } }),
        );
        story.says(10..300);
        let got = |from: usize, to: usize| {
            eventually("the lines are there", || {
                let all = once(syslog.messages().iter().filter_map(|text| number(text)));
                (all.len() >= to - from).then_some(())
            });
            let mut all: Vec<_> = once(syslog.messages().iter().filter_map(|text| number(text)));
            all.sort_unstable();
            assert_eq!(all, (from..to).collect::<Vec<_>>(), "what was before is not sent");
        };
        got(10, 300);
        let first = &syslog.messages()[0];
        assert!(
            first.starts_with("<134>1 20") && first.contains(" local web - stdout [meta sequenceId=\""),
            "{first}"
        );
        // It dies in the middle of them, and so do we.
        syslog.is(Mood::Dies);
        story.says(300..1_500);
        eventually("it breaks", || story.standing("syslog")["fault"].as_str().map(|_| ()));
        story.house.kill();
        story.house.start();
        story.admin = story.house.admin();
        syslog.is(Mood::Closed);
        story.says(1_500..1_800);
        eventually("it is said", || story.standing("syslog")["fault"].as_str().map(|_| ()));
        syslog.is(Mood::Takes);
        got(10, 1_800);
        eventually("it stands well", || {
            let is = story.standing("syslog");
            (is["waiting"] == 0 && is["fault"].is_null() && is["missed"] == 0).then_some(())
        });
        let metrics = story.admin.get("/metrics").text();
        assert!(
            metrics.contains("lamplighter_forward_waiting_lines{receiver=\"syslog\"} 0"),
            "{metrics}"
        );
    }
}

fn lines_of(posts: &[Post]) -> Vec<usize> {
    let mut out = Vec::new();
    for post in posts {
        for stream in post.json()["streams"].as_array().unwrap() {
            let values = stream["values"].as_array().unwrap();
            out.extend(values.iter().filter_map(|value| number(value[1].as_str().unwrap())));
        }
    }
    out
}

#[test]
fn loki_gets_every_line_with_its_labels_and_nobody_else_its_secret() {
    let mut story = story();
    let loki = Receiver::new(|_| answer("204 No Content", "", b""));
    let other = Receiver::new(|_| answer("204 No Content", "", b""));
    let secret = story.house.canary("loki-s3cret-42");
    story.engine.run("web", 1);
    story.says(0..5);
    story
        .admin
        .put("/api/forward/secret", &json!({ "secret": secret }))
        .fails(409, "forward_no_loki");
    story.admin.put(
        "/api/settings",
        &json!({ "forward.loki": format!("http://127.0.0.1:{}/logs", loki.port()), "forward.loki_user": "lamp", "forward.loki_tenant": "home" }),
    );
    assert_eq!(
        story
            .admin
            .put("/api/forward/secret", &json!({ "secret": secret }))
            .status,
        204
    );
    story.begins(&json!({ "forward.loki": format!("http://127.0.0.1:{}/logs", loki.port()) }));
    story.engine.say("web", true, "ERROR line 5 falls");
    story.engine.say("web", false, "line 6");
    let posts = eventually("both", || {
        let posts = loki.posts();
        (lines_of(&posts).len() >= 2).then_some(posts)
    });
    assert_eq!(posts[0].path(), "/logs/loki/api/v1/push");
    assert_eq!(posts[0].header("x-scope-orgid"), Some("home"));
    assert!(posts[0].header("authorization").unwrap().starts_with("Basic "));
    let streams: Vec<Value> = posts
        .iter()
        .flat_map(|p| p.json()["streams"].as_array().unwrap().clone())
        .collect();
    let bad = streams.iter().find(|s| s["stream"]["stream"] == "stderr").unwrap();
    assert_eq!(
        bad["stream"],
        json!({ "job": "lamplighter", "server": "local", "container": "web", "stream": "stderr", "level": "error" })
    );
    // It is ill for a while, we die meanwhile, and of one request it wants nothing.
    loki.then((0..4).map(|_| Turn::Say(answer("500 X", "", b"ill"))));
    for n in 7..400 {
        story.engine.say("web", false, &format!("line {n}"));
    }
    eventually("it is said", || story.standing("loki")["fault"].as_str().map(|_| ()));
    story.house.kill();
    story.house.start();
    story.admin = story.house.admin();
    eventually("all are there", || {
        let all = once(lines_of(&loki.posts()).into_iter());
        (all == (5..400).collect::<Vec<_>>()).then_some(())
    });
    eventually("nothing waits", || {
        (story.standing("loki")["waiting"] == 0).then_some(())
    });
    loki.then([Turn::Say(answer("400 Bad Request", "", b"entry too far behind"))]);
    story.engine.say("web", false, "line 400");
    eventually("it counts as lost", || {
        (story.standing("loki")["missed"] == 1).then_some(())
    });
    story.engine.say("web", false, "line 401");
    eventually("the next one is taken", || {
        lines_of(&loki.posts()).contains(&401).then_some(())
    });
    // Another place has another secret.
    story.begins(&json!({ "forward.loki": format!("http://127.0.0.1:{}/other", other.port()) }));
    story.engine.say("web", false, "line 402");
    let posts = eventually("it is at the other", || {
        let posts = other.posts();
        lines_of(&posts).contains(&402).then_some(posts)
    });
    assert!(posts.iter().all(|post| post.header("authorization").is_none()));
}

#[test]
fn who_is_away_for_longer_than_logs_are_kept_hears_how_much_is_gone() {
    let story = story();
    let syslog = Syslog::start(false);
    syslog.is(Mood::Closed);
    story.engine.run("web", 1);
    story.says(0..1);
    story
        .admin
        .put("/api/settings", &json!({ "containers.log_mib_each": 1 }));
    story.begins(&json!({ "forward.syslog": format!("tcp://127.0.0.1:{}", syslog.port) }));
    let long = "x".repeat(1_000);
    let before = story.standing("syslog")["waiting"].as_i64().unwrap();
    for n in 0..4_000 {
        story.engine.say("web", false, &format!("line {n} {long}"));
    }
    eventually("they wait", || {
        (story.standing("syslog")["waiting"].as_i64().unwrap() >= before + 4_000).then_some(())
    });
    syslog.is(Mood::Takes);
    let standing = eventually("it has caught up", || {
        let is = story.standing("syslog");
        (is["waiting"] == 0).then_some(is)
    });
    let (taken, missed) = (
        standing["taken"].as_i64().unwrap(),
        standing["missed"].as_i64().unwrap(),
    );
    assert!(missed > 2_000 && taken > 300 && taken + missed == 4_000, "{standing}");
    let all = once(syslog.messages().iter().filter_map(|text| number(text)));
    assert!(all.is_sorted() && all.last() == Some(&3_999), "the newest are there");
}
