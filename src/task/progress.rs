//! Progress of a provisioning job, as lines and steps of a task's log.

use super::StepView;
use super::worker::Run;
use crate::lang::Lang;
use crate::provision::{Progress, State};
use crate::ssh::Stream;

impl Run<'_> {
    /// Writes a job's progress to the log. With several servers, `server` says which one it is; a step's name is then
    /// `step@server`.
    pub fn on_progress(&self, server: &str) -> impl FnMut(Progress) {
        move |report| self.report(server, report)
    }

    fn report(&self, server: &str, report: Progress) {
        let said = |text: &str| match server {
            "" => text.to_string(),
            server => format!("{server}: {text}"),
        };
        let write = |level, source, stream, text: &str| self.log.line(level, source, stream, &said(text));
        match report {
            Progress::Step {
                index,
                total,
                step,
                state,
                ms,
            } => {
                let name = match server {
                    "" => step.id.into(),
                    server => format!("{}@{server}", step.id),
                };
                let view = StepView {
                    name,
                    title: said(step.title(Lang::En)),
                    state: name_of(state).into(),
                    ms,
                };
                self.log.step(index as usize, total as usize, view);
            }
            Progress::Command { line } => write("info", "command", "", line),
            Progress::Ended { line, rc, ms } => {
                let level = if rc == 0 { "info" } else { "warning" };
                write(level, "command", "", &format!("rc {rc} after {ms} ms: {line}"));
            }
            Progress::Line { stream, text } => {
                let stream = match stream {
                    Stream::Stdout => "stdout",
                    Stream::Stderr => "stderr",
                };
                write("info", "ssh", stream, text);
            }
            Progress::Fact { key, value } => write("info", "fact", "", &format!("{key}: {value}")),
        }
    }
}

/// Name as in [`StepView::state`].
fn name_of(state: State) -> &'static str {
    match state {
        State::Running => "running",
        State::Ok => "ok",
        State::Changed => "changed",
        State::Skipped => "skipped",
        State::Failed => "failed",
    }
}
