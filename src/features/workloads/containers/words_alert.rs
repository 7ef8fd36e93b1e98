//! The alert for words in logs: counts new lines with the words of the setting, by container.

use super::observed::CONTAINERS;
use super::queries;
use super::settings::{self, WORDS_WINDOW};
use crate::app::App;
use crate::base::clock::{self, Ms, rfc3339};
use crate::base::error::{Error, Result};
use crate::base::lines;
use crate::base::parallel::lock;
use crate::base::text;
use crate::events::outbox;
use crate::journal::{Stream, Words};
use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

/// Alert: lines with the words of the setting came too often.
pub const SAID: &str = "container.said";
/// They have not come for a while.
pub const SILENT_AGAIN: &str = "container.said_no_more";

/// Lines that are looked at in one round; a flood is counted by a part of it.
const LINES_MAX: usize = 5_000;
/// Lines of evidence.
const EVIDENCE: usize = 20;

/// Counts.
#[derive(Default)]
pub struct WordsAlert(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    words: String,
    /// Number of the last line that was looked at.
    after: Option<i64>,
    /// By container: times and texts of lines with the words.
    found: HashMap<i64, VecDeque<(Ms, String)>>,
}

impl WordsAlert {
    /// Looks at what was stored since the last call.
    pub fn look(&self, app: &App) -> Result<()> {
        let (text, count) = app.db.read(|conn| {
            Ok((
                settings::CONTAINERS_ALERT_WORDS.text(conn)?,
                settings::CONTAINERS_ALERT_COUNT.number(conn)?,
            ))
        })?;
        let mut counts = lock(&self.0);
        if text.is_empty() && counts.words.is_empty() {
            return Ok(());
        }
        let words = Words::parse(&text).map_err(Error::internal)?;
        if counts.words != text {
            *counts = Counts {
                words: text,
                ..Counts::default()
            };
        }
        let subjects: Vec<_> = app
            .journal
            .subjects(CONTAINERS.name)
            .into_iter()
            .map(|id| (CONTAINERS.name, id))
            .collect();
        let after = match counts.after {
            Some(after) => after,
            None => app.journal.newest_id(),
        };
        let (lines, _) = match words.is_empty() {
            true => (Vec::new(), false),
            false => app.journal.since(&subjects, after, LINES_MAX)?,
        };
        counts.after = Some(lines.last().map_or(after, |(_, line)| line.id));
        let now = clock::now();
        for ((_, id), line) in &lines {
            if line.stream != Stream::Note && words.find(&line.text) {
                let found = counts.found.entry(*id).or_default();
                found.push_back((now, lines::uncoloured(text::cut(&line.text, 300))));
                let many = found.len().saturating_sub(10_000);
                found.drain(..many);
            }
        }
        counts.found.retain(|_, found| {
            found.retain(|(at, _)| now - *at < WORDS_WINDOW);
            !found.is_empty()
        });
        tell(app, &counts.found, usize::try_from(count).unwrap_or(1))
    }
}

fn tell(app: &App, found: &HashMap<i64, VecDeque<(Ms, String)>>, count: usize) -> Result<()> {
    let filter = queries::Filter {
        limit: i64::MAX,
        ..Default::default()
    };
    let (all, _) = app.db.read(|conn| queries::list(conn, &filter))?;
    let is_told = |one: &queries::Container| one.troubles.iter().any(|kind| kind == SAID);
    let hits = |one: &queries::Container| found.get(&one.id).map_or(0, VecDeque::len);
    let turned = |one: &&queries::Container| match is_told(one) {
        true => hits(one) == 0,
        false => hits(one) >= count,
    };
    let turned: Vec<i64> = all.iter().filter(turned).map(|one| one.id).collect();
    if turned.is_empty() {
        return Ok(());
    }
    app.db.write(|tx| {
        for id in turned {
            let Some(mut one) = queries::get(tx, id)? else { continue };
            let (kind, lines) = match is_told(&one) {
                true => (SILENT_AGAIN, Vec::new()),
                false => {
                    let lines = found.get(&id).into_iter().flatten();
                    (
                        SAID,
                        lines.map(|(at, line)| format!("{} {line}", rfc3339(*at))).collect(),
                    )
                }
            };
            one.troubles.retain(|trouble| trouble != SAID);
            one.troubles.extend((kind == SAID).then(|| SAID.to_string()));
            queries::put(tx, &one)?;
            let lines = &lines[lines.len().saturating_sub(EVIDENCE)..];
            let data = serde_json::json!({
                "name": one.full_name(), "container": one.name, "server_id": one.server, "evidence": lines,
            });
            outbox::emit(tx, &app.wakes.events, kind, (CONTAINERS.name, id), &data)?;
        }
        Ok(())
    })
}
