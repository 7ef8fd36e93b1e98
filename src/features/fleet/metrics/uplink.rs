//! Tells a failure of Lamplighter's own network from failures of servers. Evidence: since the last response from any
//! server, nine of ten of those that used to answer (at least three) have become silent; if our kernel reports no
//! route, more than half are enough. A refusal or a wrong response counts as a response: it came over the network.
//! Until a server responds again, silence takes no server down.
//!
//! Limitation: with a threshold of one failed poll, servers polled before the evidence is complete go down.

use super::probe::Outcome;
use crate::base::clock::{Ms, rfc3339};
use std::collections::{HashMap, HashSet};

/// State of our own network. Nothing here reads a clock.
#[derive(Debug, Default)]
pub struct Uplink {
    /// Servers that answered last time; others say nothing about our network.
    answering: HashSet<i64>,
    /// Servers of these that became silent since the last response of any.
    silent: HashMap<i64, Silent>,
    heard_at: Option<Ms>,
    offline: Option<Ms>,
}

#[derive(Debug)]
struct Silent {
    /// Our own machine could not send.
    local: bool,
    say: String,
    at: Ms,
}

/// Change of the network's state.
#[derive(Debug, PartialEq)]
pub enum UplinkChange {
    /// Lost since then; evidence, oldest first.
    Lost(Ms, Vec<String>),
    /// Back after so many ms; the server that answered first.
    Back(Ms, i64),
}

/// Minimum of silent servers: two may be switched off together.
const SILENT_MIN: usize = 3;
/// Limit of sentences in the evidence.
const SENTENCES_MAX: usize = 3;

/// Is it silence, or an error that a local firewall or router could cause?
fn is_silence(code: &str) -> bool {
    is_local(code) || ["connect_timeout", "no_route", "name_slow", "name_unknown"].contains(&code)
}

fn is_local(code: &str) -> bool {
    ["no_network", "local_network"].contains(&code)
}

impl Uplink {
    /// Restores the state: offline since then, or online.
    pub fn resume(offline: Option<Ms>) -> Uplink {
        Uplink {
            offline,
            ..Uplink::default()
        }
    }

    /// Sets the servers on other machines, and whether each was up when last heard of.
    pub fn know(&mut self, all: &[(i64, bool)]) {
        let ids: HashSet<i64> = all.iter().map(|(id, _)| *id).collect();
        self.answering.retain(|id| ids.contains(id));
        self.silent.retain(|id, _| ids.contains(id));
        let up = all.iter().filter(|(id, up)| *up && !self.silent.contains_key(id));
        self.answering.extend(up.map(|(id, _)| *id));
    }

    /// Processes outcomes in order.
    pub fn weigh(&mut self, batch: &[Outcome]) -> Vec<UplinkChange> {
        batch.iter().filter_map(|outcome| self.weigh_one(outcome)).collect()
    }

    fn weigh_one(&mut self, outcome: &Outcome) -> Option<UplinkChange> {
        if !outcome.far {
            return None;
        }
        let (id, at) = (outcome.server.get(), outcome.at_ms);
        match &outcome.result {
            Err(e) if is_silence(e.code) => {
                if self.offline.is_some() || !self.answering.contains(&id) {
                    return None;
                }
                let (local, say) = (is_local(e.code), e.say.clone());
                self.silent.entry(id).or_insert(Silent { local, say, at });
                self.is_lost().then(|| self.lose(at))
            }
            // It accepted the connection, perhaps before the network failed: ambiguous.
            Err(e) if e.code == "read_timeout" => None,
            other => {
                // A server that is silent while others answer is silent by itself.
                for gone in std::mem::take(&mut self.silent).into_keys() {
                    self.answering.remove(&gone);
                }
                if other.is_ok() {
                    self.answering.insert(id);
                }
                self.heard_at = Some(at);
                self.offline
                    .take()
                    .map(|since| UplinkChange::Back((at - since).max(0), id))
            }
        }
    }

    fn is_lost(&self) -> bool {
        let (silent, all) = (self.silent.len(), self.answering.len());
        let our_kernel_says_so = 2 * silent > all && self.silent.values().all(|s| s.local);
        our_kernel_says_so || (silent >= SILENT_MIN && 10 * silent >= 9 * all)
    }

    fn lose(&mut self, at: Ms) -> UplinkChange {
        let mut silent: Vec<Silent> = std::mem::take(&mut self.silent).into_values().collect();
        silent.sort_by_key(|s| s.at);
        let since = silent.first().map_or(at, |s| s.at);
        self.offline = Some(since);
        let mut evidence = Vec::new();
        if let Some(heard) = self.heard_at {
            evidence.push(format!("{} the last answer of any server", rfc3339(heard)));
        }
        let sentences = silent.iter().take(SENTENCES_MAX);
        evidence.extend(sentences.map(|s| format!("{} {}", rfc3339(s.at), s.say)));
        evidence.push(format!(
            "{} of {} servers that used to answer fell silent, and none answered in between",
            silent.len(),
            self.answering.len()
        ));
        UplinkChange::Lost(since, evidence)
    }

    /// Is this failure caused by our network, so that it does not count against the server?
    pub fn excuses(&self, outcome: &Outcome) -> bool {
        let silence = outcome
            .result
            .as_ref()
            .is_err_and(|e| is_silence(e.code) || e.code == "read_timeout");
        self.offline.is_some() && outcome.far && silence
    }
}

#[cfg(test)]
mod tests {
    use super::super::glances::Sample;
    use super::super::probe::Seen;
    use super::*;
    use crate::base::clock::Duration;
    use crate::base::error::{Error, Kind};
    use crate::base::id::Id;

    const SEEN: &str = "";

    /// A poll of a server at a second; an empty code is a good one.
    fn poll(server: i64, second: i64, code: &'static str) -> Outcome {
        let seen = Seen {
            sample: Sample::default(),
            path: "/".into(),
        };
        Outcome {
            server: Id::new(server),
            revision: 1,
            fail_threshold: 3,
            far: true,
            at_ms: second * 1_000,
            tries: 1,
            misses: 0,
            took_ms: 1,
            interval: Duration::from_secs(30),
            result: match code {
                SEEN => Ok(seen),
                code => Err(Error::new(Kind::Timeout, code, format!("{server}: {code}."))),
            },
            host: None,
            means: Vec::new(),
        }
    }

    fn fleet(n: i64) -> Uplink {
        let mut net = Uplink::default();
        assert_eq!(net.weigh(&(1..=n).map(|s| poll(s, 0, SEEN)).collect::<Vec<_>>()), []);
        net
    }

    #[test]
    fn all_silent_is_us_and_one_answer_ends_it() {
        let mut net = fleet(10);
        for server in 1..=8 {
            assert_eq!(net.weigh(&[poll(server, 30 + server, "connect_timeout")]), []);
        }
        let turns = net.weigh(&[poll(9, 39, "connect_timeout"), poll(10, 40, "no_route")]);
        let [UplinkChange::Lost(since, evidence)] = &turns[..] else {
            panic!("{turns:?}")
        };
        assert_eq!(*since, 31_000);
        assert!(
            evidence.iter().any(|e| e.starts_with("9 of 10 servers")),
            "{evidence:?}"
        );
        assert!(net.excuses(&poll(1, 61, "connect_timeout")));
        assert!(net.excuses(&poll(1, 61, "name_slow")));
        assert!(!net.excuses(&poll(1, 61, "glances_auth")), "whoever answers is judged");
        assert_eq!(net.weigh(&[poll(10, 61, "connect_timeout")]), [], "it is told once");
        assert_eq!(net.weigh(&[poll(3, 91, SEEN)]), [UplinkChange::Back(60_000, 3)]);
        assert!(!net.excuses(&poll(1, 92, "connect_timeout")));
    }

    #[test]
    fn half_of_a_fleet_down_is_not_us() {
        let mut net = fleet(10);
        // One rack of six goes down; the others go on answering in between.
        for round in 1..5 {
            for server in 1..=10 {
                let code = if server <= 6 { "connect_timeout" } else { SEEN };
                assert_eq!(net.weigh(&[poll(server, 30 * round + server, code)]), []);
            }
        }
        // A refusal comes over the network as well.
        let mut net = fleet(4);
        for server in [1, 2, 4] {
            assert_eq!(net.weigh(&[poll(server, 30, "connect_timeout")]), []);
        }
        assert_eq!(net.weigh(&[poll(3, 31, "refused"), poll(3, 61, "connect_timeout")]), []);
        assert_eq!(net.offline, None);
    }

    #[test]
    fn two_servers_need_the_kernels_word() {
        let mut net = fleet(2);
        assert_eq!(
            net.weigh(&[poll(1, 30, "connect_timeout"), poll(2, 31, "connect_timeout")]),
            []
        );
        let mut net = fleet(2);
        let turns = net.weigh(&[poll(1, 30, "no_network"), poll(2, 31, "no_network")]);
        assert!(matches!(turns[..], [UplinkChange::Lost(30_000, _)]), "{turns:?}");
        let mut net = fleet(1);
        assert!(matches!(
            net.weigh(&[poll(1, 30, "no_network")])[..],
            [UplinkChange::Lost(..)]
        ));
    }

    #[test]
    fn who_was_silent_before_and_who_is_near_says_nothing() {
        let mut net = Uplink::default();
        net.know(&[(1, true), (2, false), (3, false), (4, false), (5, false)]);
        for server in 2..=5 {
            assert_eq!(net.weigh(&[poll(server, 30, "no_network")]), [], "it never answered");
        }
        assert!(matches!(
            net.weigh(&[poll(1, 31, "no_network")])[..],
            [UplinkChange::Lost(..)]
        ));
        // Glances on our own machine goes on answering.
        let near = Outcome {
            far: false,
            ..poll(9, 40, SEEN)
        };
        assert_eq!(net.weigh(&[near]), []);
        assert!(net.offline.is_some());
        net.know(&[(2, false)]);
        assert_eq!(net.weigh(&[poll(2, 50, SEEN)]), [UplinkChange::Back(19_000, 2)]);
    }

    #[test]
    fn a_poll_that_was_under_way_when_the_cable_was_pulled_proves_nothing() {
        let mut net = fleet(3);
        let batch = [
            poll(1, 30, "connect_timeout"),
            poll(2, 30, "connect_timeout"),
            poll(3, 29, "read_timeout"),
        ];
        assert_eq!(net.weigh(&batch), []);
        assert!(matches!(
            net.weigh(&[poll(3, 59, "connect_timeout")])[..],
            [UplinkChange::Lost(..)]
        ));
    }

    #[test]
    fn a_restart_in_the_middle_forgets_nothing() {
        let mut net = Uplink::resume(Some(5_000));
        assert!(net.excuses(&poll(1, 30, "connect_timeout")));
        assert_eq!(net.weigh(&[poll(1, 35, SEEN)]), [UplinkChange::Back(30_000, 1)]);
    }
}
