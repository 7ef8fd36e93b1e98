//! What features tell of what they look after: those that write it themselves, and for all other kinds of subjects the last
//! value of each series, left out when it is older than the subject may be silent.

use crate::app::App;
use crate::base::clock::{self, SECOND};
use crate::base::error::Result;
use crate::base::exposition::{Kind, Text};
use crate::feature::Exposes;
use crate::series::{Keep, Kind as SubjectKind, Store, Window, split};

/// Appends all of it.
pub fn write(app: &App, out: &mut Text) -> Result<()> {
    let written = app.registry.all::<Exposes>();
    written.iter().try_for_each(|exposes| (exposes.write)(app, out))?;
    let store = Store::new(app.metrics.clone());
    for kind in app.registry.all::<SubjectKind>() {
        if written.iter().all(|exposes| exposes.kind != kind.name) {
            write_kind(app, &store, kind, out)?;
        }
    }
    Ok(())
}

/// A series' last value.
struct Last {
    /// Of which subject.
    name: String,
    /// [`split`] into key and part.
    series: String,
    value: f64,
}

fn write_kind(app: &App, store: &Store, kind: &SubjectKind, out: &mut Text) -> Result<()> {
    let now_s = u32::try_from(clock::now() / SECOND).unwrap_or(0);
    let mut all = Vec::new();
    for (id, name) in app.db.read(kind.all)? {
        let silence_ms = app.db.read(|conn| (kind.silence_max)(conn, id))?;
        let silence_s = u32::try_from(silence_ms / SECOND).unwrap_or(0);
        let window = Window::new(now_s.saturating_sub(silence_s), now_s, now_s, &Keep::default());
        for line in store.history((kind.name, id), &window)? {
            all.extend(line.points.last().map(|(_, mean, ..)| Last {
                name: name.clone(),
                series: line.key,
                value: *mean,
            }));
        }
    }
    for key in kind.keys.iter().filter(|key| !key.metric.is_empty()) {
        out.family(key.metric, Kind::Gauge, key.help);
        for last in &all {
            let (of, part) = split(&last.series);
            let labels = [(kind.name, last.name.as_str()), (key.part, part)];
            let labels = if key.part.is_empty() { &labels[..1] } else { &labels };
            if of == key.name {
                out.value(key.metric, labels, key.unit.to_base(last.value));
            }
        }
    }
    Ok(())
}
