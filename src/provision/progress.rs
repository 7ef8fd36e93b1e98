//! Parses a job's output: marks (lines that begin with the job's nonce) and the output of its commands. Pure: lines and
//! times in, progress out. The server runs the script and can forge any mark: it can lie about itself only, and within
//! limits.

use super::steps::{self, Step};
use crate::base::clock::{Duration, Instant, Ms};
use crate::base::error::{Error, Result};
use crate::base::process::Stream;
use crate::base::text::{one_line, telling, unbase64};
use crate::lang::Lang;
use std::collections::{BTreeMap, VecDeque};

/// Maximum facts of a job, and their lengths in bytes.
const FACTS_MAX: usize = 96;
const FACT_SIZE_MAX: usize = 1024;
/// Limit of all texts of a job in bytes, and their number. A text that does not fit is dropped as a whole.
pub const TEXTS_SIZE_MAX: usize = 256 * 1024;
const TEXTS_MAX: usize = 600;
const SENTENCE_SIZE_MAX: usize = 400;
/// Lines of stderr kept as the reason of a failure.
const REASON_LINES_MAX: usize = 40;

/// Progress of a running job.
#[derive(Debug, PartialEq)]
pub enum Progress<'a> {
    /// A step has begun or ended.
    Step {
        /// Index from 1.
        index: u32,
        /// Number of steps of the recipe.
        total: u32,
        /// The step.
        step: &'static Step,
        /// Its state.
        state: State,
        /// Duration in ms; 0 while it runs.
        ms: u64,
    },
    /// A command begins.
    Command {
        /// The command, without secrets.
        line: &'a str,
    },
    /// That command has ended.
    Ended {
        /// The command.
        line: &'a str,
        /// Its exit code.
        rc: i32,
        /// Duration in ms, measured here.
        ms: u64,
    },
    /// A line of output.
    Line {
        /// Its stream.
        stream: Stream,
        /// The line without its end; untrusted text.
        text: &'a str,
    },
    /// A fact that the script reports.
    Fact {
        /// `[a-z0-9_]+`
        key: &'a str,
        /// One line, untrusted text.
        value: &'a str,
    },
}

/// State of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It has begun.
    Running,
    /// It was right already.
    Ok,
    /// It was changed and is right now.
    Changed,
    /// It was not needed.
    Skipped,
    /// The job ends here.
    Failed,
}

/// A finished step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepDone {
    /// Its id.
    pub id: &'static str,
    /// `Ok`, `Changed` or `Skipped`.
    pub state: State,
    /// Duration in ms.
    pub ms: u64,
}

/// Result of a successful job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Number of steps that changed something. A second run has 0.
    pub changed: u32,
    /// In the order they were done.
    pub steps: Vec<StepDone>,
    /// Reported facts by key.
    pub facts: BTreeMap<String, String>,
    /// Reported texts by key; untrusted. Invalid UTF-8 becomes U+FFFD.
    pub texts: BTreeMap<String, String>,
}

/// Parser state of one job.
pub struct ProgressReader<'a> {
    nonce: &'a str,
    plan: &'a [&'static str],
    step: Option<(&'static Step, Instant)>,
    command: Option<(String, Instant)>,
    /// The last failed command and its exit code.
    broken: Option<(String, i32)>,
    reason: VecDeque<String>,
    failure: Option<(String, String)>,
    /// Result of the rollback, a sentence.
    rollback: Option<String>,
    /// How far the server's clock was ahead of ours when the job failed.
    ahead: Ms,
    /// By key; `None`: too long.
    texts: BTreeMap<String, Option<Vec<u8>>>,
    ended: bool,
    outcome: Outcome,
}

impl<'a> ProgressReader<'a> {
    /// A parser for a job with this nonce and these step ids, in order.
    pub fn new(nonce: &'a str, plan: &'a [&'static str]) -> ProgressReader<'a> {
        ProgressReader {
            nonce,
            plan,
            step: None,
            command: None,
            broken: None,
            reason: VecDeque::new(),
            failure: None,
            rollback: None,
            ahead: 0,
            texts: BTreeMap::new(),
            ended: false,
            outcome: Outcome::default(),
        }
    }

    /// Takes one line that arrived at `at` (`wall`: the same on the wall clock).
    pub fn feed(&mut self, stream: Stream, line: &str, at: Instant, wall: Ms, on_progress: &mut dyn FnMut(Progress)) {
        // Output without a line end stands before our mark.
        let (text, mark) = match line.split_once(self.nonce) {
            Some((text, mark)) => (text, Some(mark.trim_start())),
            None => (line, None),
        };
        if mark.is_none() || !text.is_empty() {
            if stream == Stream::Stderr {
                if self.reason.len() == REASON_LINES_MAX {
                    self.reason.pop_front();
                }
                self.reason.push_back(one_line(text, SENTENCE_SIZE_MAX));
            }
            on_progress(Progress::Line { stream, text });
        }
        match (stream, mark) {
            (_, None) => {}
            (Stream::Stderr, Some(_)) => self.reason.clear(),
            (Stream::Stdout, Some(mark)) => self.mark(mark, at, wall, on_progress),
        }
    }

    fn mark(&mut self, mark: &str, at: Instant, wall: Ms, on_progress: &mut dyn FnMut(Progress)) {
        let (kind, rest) = mark.split_once(' ').unwrap_or((mark, ""));
        let (word, text) = rest.split_once(' ').unwrap_or((rest, ""));
        match kind {
            "step" => self.step(word, text, at, on_progress),
            "cmd" => {
                on_progress(Progress::Command { line: rest });
                self.command = Some((rest.to_string(), at));
            }
            "rc" => {
                let Some((line, since)) = self.command.take() else {
                    return;
                };
                let rc = word.parse().unwrap_or(-1);
                on_progress(Progress::Ended {
                    line: &line,
                    rc,
                    ms: ms_between(since, at),
                });
                self.broken = (rc != 0).then_some((line, rc));
            }
            "fact" => self.fact(word, text, wall, on_progress),
            "fail" if self.failure.is_none() => {
                self.failure = Some((one_line(word, 32), one_line(text, SENTENCE_SIZE_MAX)));
            }
            "time" => self.ahead = word.parse::<Ms>().map_or(0, |theirs| theirs.saturating_sub(wall)),
            "rollback" => self.rollback = Some(one_line(rest, SENTENCE_SIZE_MAX)),
            "text" => self.text(word, text),
            "end" => self.ended = true,
            _ => {}
        }
    }

    /// A piece of a text in base64; pieces of a key follow each other.
    fn text(&mut self, key: &str, piece: &str) {
        if !key_like(key) || (self.texts.len() == TEXTS_MAX && !self.texts.contains_key(key)) {
            return;
        }
        let told: usize = self.texts.values().flatten().map(Vec::len).sum();
        let text = self.texts.entry(key.to_string()).or_insert_with(|| Some(Vec::new()));
        match (&mut *text, unbase64(piece)) {
            (Some(bytes), Some(more)) if told + more.len() <= TEXTS_SIZE_MAX => bytes.extend(more),
            _ => *text = None,
        }
    }

    fn step(&mut self, id: &str, state: &str, at: Instant, on_progress: &mut dyn FnMut(Progress)) {
        let state = match state {
            "running" => State::Running,
            "ok" => State::Ok,
            "changed" => State::Changed,
            "skipped" => State::Skipped,
            "failed" => State::Failed,
            _ => return,
        };
        let Some(place) = self.plan.iter().position(|planned| *planned == id) else {
            return;
        };
        let Some(step) = steps::step(id) else { return };
        if self.outcome.steps.iter().any(|done| done.id == step.id) {
            return;
        }
        let ms = match self.step {
            Some((running, since)) if running == step => ms_between(since, at),
            _ => 0,
        };
        on_progress(Progress::Step {
            index: place as u32 + 1,
            total: self.plan.len() as u32,
            step,
            state,
            ms,
        });
        match state {
            State::Running => self.step = Some((step, at)),
            State::Failed => {}
            State::Ok | State::Changed | State::Skipped => {
                self.step = None;
                self.outcome.changed += u32::from(state == State::Changed);
                self.outcome.steps.push(StepDone { id: step.id, state, ms });
            }
        }
    }

    fn fact(&mut self, key: &str, value: &str, wall: Ms, on_progress: &mut dyn FnMut(Progress)) {
        let named = key_like(key);
        let value = one_line(value, FACT_SIZE_MAX);
        // The server's clock is compared with ours at the same moment.
        let (key, value) = match (key, value.parse::<Ms>()) {
            ("epoch_ms", Ok(theirs)) => ("clock_skew_ms", theirs.saturating_sub(wall).to_string()),
            ("epoch_ms", Err(_)) => return,
            _ => (key, value),
        };
        if named && !value.is_empty() && self.outcome.facts.len() < FACTS_MAX {
            on_progress(Progress::Fact { key, value: &value });
            self.outcome.facts.insert(key.to_string(), value);
        }
    }

    /// The result at the end. `rc` is the script's exit code. Error: the failure that the script reported, or its exit
    /// code.
    pub fn outcome(mut self, rc: i32) -> Result<Outcome> {
        let whole =
            |(key, bytes): (String, Option<Vec<u8>>)| Some((key, String::from_utf8_lossy(&bytes?).into_owned()));
        self.outcome.texts = std::mem::take(&mut self.texts).into_iter().filter_map(whole).collect();
        match (&self.failure, rc) {
            (None, 0) if self.ended => Ok(self.outcome),
            (Some((code, sentence)), _) => Err(self.failed(code, sentence)),
            (None, 0) => Err(self.failed("broken_off", "The job did not reach its end.")),
            (None, 129..=159) => Err(self.failed("broken_off", "The job was ended on the server.")),
            (None, _) => Err(self.failed("step_failed", "")),
        }
    }

    /// The failure: what is wrong, the server's message, the step, advice.
    fn failed(&self, code: &str, sentence: &str) -> Error {
        let failure = steps::failure_of(sharper(code, &self.reason));
        let command = self
            .broken
            .as_ref()
            .map(|(line, rc)| (one_line(line, SENTENCE_SIZE_MAX), rc));
        let mut say = match (sentence, &command) {
            ("", Some((line, rc))) => vec![format!("“{line}” ended with code {rc}.")],
            ("", None) => vec!["The step did not end well.".to_string()],
            (sentence, _) => vec![sentence.to_string()],
        };
        let said = telling(self.reason.iter().map(String::as_str));
        if !said.is_empty() {
            say.push(format!("The server said: “{}”.", said.join(" / ")));
        }
        say.extend(clock_words(failure.code, self.ahead));
        say.extend(self.rollback.clone());
        if let Some((step, _)) = self.step {
            say.push(format!("(Step “{}”.)", step.title(Lang::En)));
        }
        say.push(failure.advice.to_string());
        let lines: Vec<&str> = self.reason.iter().map(String::as_str).collect();
        Error::new(failure.kind, failure.code, say.join(" ")).log(format!(
            "step {}; command {command:?}; stderr: {}",
            self.step.map_or("-", |(step, _)| step.id),
            lines.join(" / ")
        ))
    }
}

/// A wrong clock makes certificates and package lists appear invalid: it is mentioned for those failures.
fn clock_words(code: &str, ahead: Ms) -> Option<String> {
    const JUDGED: &[&str] = &["apt_failed", "site_not_served", "step_failed", "glances_not_answering"];
    const MINUTE: Ms = 60_000;
    let size = match ahead.abs() / MINUTE {
        0..5 => return None,
        minutes @ 5..120 => format!("{minutes} minutes"),
        minutes @ 120..2880 => format!("{} hours", (minutes + 30) / 60),
        minutes => format!("{} days", (minutes + 720) / 1440),
    };
    let side = if ahead > 0 { "ahead of" } else { "behind" };
    (code.starts_with("acme_") || JUDGED.contains(&code))
        .then(|| format!("The server’s clock is {size} {side} this machine’s."))
}

fn key_like(key: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=32).contains(&key.len()) && key.bytes().all(plain)
}

fn ms_between(since: Instant, at: Instant) -> u64 {
    at.saturating_duration_since(since).max(Duration::ZERO).as_millis() as u64
}

/// Refines a general code by the server's messages.
fn sharper<'a>(code: &'a str, reason: &VecDeque<String>) -> &'a str {
    const WORDS: &[(&str, &str)] = &[
        ("No space left on device", "disk_full"),
        ("have enough free space", "disk_full"),
        ("Could not get lock", "dpkg_locked"),
        ("Address already in use", "port_taken"),
        ("Unable to locate package", "package_missing"),
    ];
    if !["apt_failed", "step_failed", "write_failed", "nginx_not_running"].contains(&code) {
        return code;
    }
    WORDS
        .iter()
        .find(|(words, _)| reason.iter().any(|line| line.contains(words)))
        .map_or(code, |(_, sharp)| sharp)
}
