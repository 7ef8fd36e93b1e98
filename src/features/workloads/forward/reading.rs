//! How a receiver's lines are read, with the names of their subjects.

use super::target::Target;
use crate::app::App;
use crate::base::clock::{self, Duration, Instant};
use crate::base::error::Result;
use crate::journal::{Line, Part, Reader};
use crate::schedule::service::ServiceRun;
use crate::series::Kind as SubjectKind;
use std::collections::HashMap;
use std::sync::Arc;

/// What a line's subject is called.
#[derive(Debug, Default)]
pub struct Named {
    /// Its server.
    pub server: String,
    /// Itself.
    pub name: String,
}

/// A part of the journal with names.
pub struct Lines {
    part: Part,
    names: Vec<Arc<Named>>,
    /// As [`Part::last`].
    pub last: i64,
}

impl Lines {
    /// The lines with the names of their subjects.
    pub fn named(&self) -> impl Iterator<Item = (&Named, &Line)> {
        self.part.lines.iter().map(|(of, line)| (&*self.names[*of], line))
    }

    /// A reader has taken them all.
    pub fn pass(&self, reader: &mut Reader) {
        reader.taken += self.part.lines.len() as i64;
        reader.missed += self.part.missed;
        reader.last = self.part.last;
    }
}

/// A receiver's reading of the journal.
pub struct Run<'a> {
    run: &'a ServiceRun<'a>,
    target: Target,
    /// What was taken, as it is stored.
    pub reader: Reader,
    names: HashMap<(String, i64), (Arc<Named>, Instant)>,
}

/// How long a name is known: containers may be renamed.
const NAME_LASTS: Duration = Duration::from_secs(60);

impl<'a> Run<'a> {
    /// Goes on where the reader is.
    pub fn new(run: &'a ServiceRun<'a>, target: Target, reader: Reader) -> Run<'a> {
        Run {
            run,
            target,
            reader,
            names: HashMap::new(),
        }
    }

    /// The next lines.
    pub fn next(&mut self, max: i64) -> Result<Lines> {
        self.after(self.reader.last, max)
    }

    /// The lines after a number.
    pub fn after(&mut self, last: i64, max: i64) -> Result<Lines> {
        let app = self.run.app;
        let part = app.journal.part(last, max)?;
        let mut names = Vec::with_capacity(part.subjects.len());
        for subject in &part.subjects {
            let known = self.names.get(subject).filter(|(_, at)| at.elapsed() < NAME_LASTS);
            let name = match known {
                Some((name, _)) => name.clone(),
                None => {
                    let name = Arc::new(named(app, subject)?);
                    if self.names.len() > 10_000 {
                        self.names.clear();
                    }
                    self.names.insert(subject.clone(), (name.clone(), clock::mono()));
                    name
                }
            };
            names.push(name);
        }
        Ok(Lines {
            last: part.last,
            part,
            names,
        })
    }

    /// The receiver has taken what this says.
    pub fn taken(&mut self, reader: Reader) -> Result<()> {
        self.run.app.journal.set_reader(self.target.name(), Some(&reader))?;
        self.reader = reader;
        Ok(())
    }

    /// Was the service asked to stop?
    pub fn is_stopping(&self) -> bool {
        self.run.is_stopping()
    }

    /// Waits, or until the service is asked to stop.
    pub fn wait(&self, pause: Duration) {
        self.run.pause(pause);
    }
}

fn named(app: &App, (kind, id): &(String, i64)) -> Result<Named> {
    let kinds = app.registry.all::<SubjectKind>();
    let name = match kinds.iter().find(|known| known.name == kind) {
        Some(known) => app.db.read(|conn| (known.name_of)(conn, *id))?,
        None => None,
    };
    let name = name.unwrap_or_else(|| format!("-/{kind}-{id}"));
    let (server, name) = name.split_once('/').unwrap_or(("-", &name));
    Ok(Named {
        server: server.into(),
        name: name.into(),
    })
}
