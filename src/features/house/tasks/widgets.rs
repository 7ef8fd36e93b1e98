//! Parts of task pages for other pages: short lists, texts and glyphs of states, kinds and steps.

use crate::base::clock::Ms;
use crate::http::route::Web;
use crate::lang::Lang;
use crate::provision::steps;
use crate::task::{self, Status, StepView, Task};
use serde::Serialize;

/// A task in a short list.
#[derive(Serialize)]
pub struct TaskRow {
    id: i64,
    glyph: &'static str,
    title: String,
    target_name: String,
    /// Name of the running step.
    step: Option<String>,
    error: Option<Problem>,
    created_by: String,
    took_ms: Option<Ms>,
    at: Ms,
}

/// Code and English sentence of a failure.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    /// Code, for the text in the reader's language.
    pub code: String,
    /// English sentence, if there is no text.
    pub message: String,
}

/// The glyph of a task's state.
pub fn glyph(status: Status) -> &'static str {
    match status {
        Status::WaitingApproval | Status::WaitingWindow | Status::Queued => "wait",
        Status::Running | Status::WaitingChildren => "run",
        Status::Ok => "ok",
        Status::Failed | Status::Interrupted => "fail",
        Status::Cancelled => "skip",
    }
}

/// Display name of a step.
pub fn step_title(step: &StepView, lang: Lang) -> String {
    let (id, on) = step.name.split_once('@').unwrap_or((&step.name, ""));
    match (lang, steps::step(id)) {
        (Lang::Ru, Some(known)) if on.is_empty() => known.title(lang).to_string(),
        (Lang::Ru, Some(known)) => format!("{on}: {}", known.title(lang)),
        _ => step.title.clone(),
    }
}

/// A task for a short list.
pub fn task_row(web: &Web, lang: Lang, task: Task) -> TaskRow {
    let steps: Vec<StepView> = serde_json::from_str(&task.steps).unwrap_or_default();
    let step = steps.iter().find(|s| s.state == "running");
    TaskRow {
        id: task.id.get(),
        glyph: glyph(task.status),
        title: task::title(&web.app.registry, &task.kind, lang),
        target_name: task.target.2,
        step: step.map(|s| step_title(s, lang)),
        error: task.error.map(|(code, message)| Problem { code, message }),
        created_by: task.created_by,
        took_ms: task.finished_at.zip(task.started_at).map(|(end, start)| end - start),
        at: task.finished_at.or(task.started_at).unwrap_or(task.created_at),
    }
}
