//! The nodes of a panel over time: one alert a node, also while it comes and goes. A node that was away for a minute, or
//! that changes often, is down; it is up again when it has stayed connected for five minutes.

use super::verdict::{Happened, Row};
use crate::base::clock::{MINUTE, Ms, rfc3339};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Alert: a node is not connected, or comes and goes.
pub const DOWN: &str = "marzban.node_down";
/// It is connected, and stays so.
pub const UP: &str = "marzban.node_up";

/// Away for so long is down.
const AWAY_MAX: Ms = MINUTE;
/// So many changes within so long are as bad.
const CHANGES: (usize, Ms) = (4, 10 * MINUTE);
/// Connected for so long is up.
const CALM_AFTER: Ms = 5 * MINUTE;

/// What is remembered of a node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its name, which is what people know it by.
    pub name: String,
    /// Was it connected, or switched off, when it was seen last?
    pub good: bool,
    /// Since when, unix ms.
    pub since: Ms,
    /// When it changed lately, unix ms.
    pub changes: Vec<Ms>,
    /// Is there an alert about it?
    pub alert: bool,
}

/// What becomes of the nodes that were known, after those that are seen; and what is to be said.
pub fn step(known: &mut Vec<Node>, seen: &[Row], now: Ms) -> Vec<Happened> {
    let mut out = Vec::new();
    let text = |row: &Row, key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_string();
    // What is gone, somebody has removed.
    known.retain(|node| {
        let stays = seen.iter().any(|row| text(row, "name") == node.name);
        if !stays && node.alert {
            out.push(happened(UP, node, "It was removed.".into(), now));
        }
        stays
    });
    for row in seen {
        let (name, state, message) = (text(row, "name"), text(row, "state"), text(row, "message"));
        let good = ["connected", "disabled"].contains(&state.as_str());
        let at = match known.iter().position(|node| node.name == name) {
            Some(at) => at,
            None => {
                let since = now;
                known.push(Node {
                    name,
                    good,
                    since,
                    ..Node::default()
                });
                known.len() - 1
            }
        };
        let node = &mut known[at];
        if node.good != good {
            (node.good, node.since) = (good, now);
            node.changes.push(now);
        }
        node.changes.retain(|at| now - at < CHANGES.1);
        let flaps = node.changes.len() >= CHANGES.0;
        if !node.alert && ((!node.good && now - node.since >= AWAY_MAX) || flaps) {
            node.alert = true;
            let said = if message.is_empty() {
                String::new()
            } else {
                format!(": {message}")
            };
            let say = match flaps {
                true => format!(
                    "It comes and goes: {} changes within {} min. Now it is {state}{said}.",
                    node.changes.len(),
                    CHANGES.1 / MINUTE
                ),
                false => format!("It is {state}{said}."),
            };
            out.push(happened(DOWN, node, say, now));
        } else if node.alert && node.good && (state == "disabled" || !flaps && now - node.since >= CALM_AFTER) {
            node.alert = false;
            node.changes.clear();
            out.push(happened(UP, node, format!("It is {state}."), now));
        }
    }
    out
}

/// Nobody looks any more: its alerts end.
pub fn left(known: &mut Vec<Node>, now: Ms) -> Vec<Happened> {
    let all = std::mem::take(known);
    let told = all.iter().filter(|node| node.alert);
    told.map(|node| happened(UP, node, "Nobody looks at it any more.".into(), now))
        .collect()
}

fn happened(kind: &'static str, node: &Node, say: String, now: Ms) -> Happened {
    Happened {
        kind,
        part: node.name.clone(),
        evidence: vec![format!("{} {}: {say}", rfc3339(now), node.name)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::{HOUR, SECOND};
    use serde_json::json;

    fn row(name: &str, state: &str) -> Row {
        json!({ "name": name, "state": state, "message": "refused" })
            .as_object()
            .cloned()
            .unwrap()
    }

    /// What is said from look to look, every 10 s, of one node with these states.
    fn told(known: &mut Vec<Node>, from: Ms, states: impl Iterator<Item = &'static str>) -> Vec<(Ms, &'static str)> {
        let mut out = Vec::new();
        for (n, state) in states.enumerate() {
            let now = from + n as Ms * 10 * SECOND;
            out.extend(
                step(known, &[row("de", state)], now)
                    .iter()
                    .map(|what| (now, what.kind)),
            );
        }
        out
    }

    #[test]
    fn an_hour_of_flapping_is_one_alert() {
        let mut known = Vec::new();
        let flaps = ["connecting", "connected"].into_iter().cycle().take(360);
        let said = told(&mut known, 0, flaps);
        assert_eq!(said.len(), 1, "{said:?}");
        let said = told(&mut known, HOUR, std::iter::repeat_n("connected", 60));
        assert_eq!(said.iter().map(|what| what.1).collect::<Vec<_>>(), [UP], "and its end");
        // Whatever the rhythm: at most two messages in an hour.
        for rhythm in 1..=12_usize {
            let states = (0..360).map(|n| if n / rhythm % 2 == 0 { "connected" } else { "error" });
            let said = told(&mut Vec::new(), 0, states);
            assert!(said.len() <= 2, "{rhythm}: {said:?}");
        }
    }

    #[test]
    fn a_node_that_is_away_is_told_after_a_minute_and_back_when_it_stays() {
        let mut known = Vec::new();
        assert_eq!(told(&mut known, 0, std::iter::repeat_n("connected", 3)), []);
        let said = told(&mut known, 30 * SECOND, std::iter::repeat_n("error", 20));
        assert_eq!(said, [(90 * SECOND, DOWN)]);
        let said = told(&mut known, HOUR, std::iter::repeat_n("connected", 60));
        assert_eq!(said, [(HOUR + 5 * MINUTE, UP)]);
        // A short absence is nobody's business; switching it off, and removing it, ends an alert.
        assert_eq!(
            told(&mut known, 2 * HOUR, ["error", "error", "connected"].into_iter()),
            []
        );
        told(&mut known, 3 * HOUR, std::iter::repeat_n("error", 8));
        assert_eq!(told(&mut known, 4 * HOUR, ["disabled"].into_iter()), [(4 * HOUR, UP)]);
        told(&mut known, 5 * HOUR, std::iter::repeat_n("error", 8));
        assert_eq!(step(&mut known, &[], 6 * HOUR)[0].kind, UP);
        assert!(known.is_empty());
    }
}
