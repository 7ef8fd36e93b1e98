//! The menu of every page: the entries of all features with their counts, and the palette's actions.

use crate::access::Right;
use crate::app::App;
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::lang::Lang;
use crate::task::{self, Status, queue};
use serde::Serialize;

/// An entry of the menu: one row of a feature's `MENU`.
pub struct Entry {
    /// Path.
    pub path: &'static str,
    /// Other paths that belong to this entry.
    pub also: &'static [&'static str],
    /// Id of its name, below `nav.`.
    pub word: &'static str,
    /// Icon.
    pub icon: &'static str,
    /// Keyboard shortcut: `g s`.
    pub keys: &'static str,
    /// Right needed.
    pub right: Right,
    /// Section and position.
    pub place: (u8, u8),
    /// Name in the dock of small screens; empty: not there.
    pub dock: &'static str,
    /// Is there anything behind it?
    pub is_shown: fn(&App) -> Result<bool>,
    /// Computes its badge.
    pub badge: fn(&App) -> Result<Badge>,
}

impl Entry {
    /// Defaults for struct update.
    pub const NEW: Entry = Entry {
        path: "/",
        also: &[],
        word: "",
        icon: "link",
        keys: "",
        right: Right::SignedIn,
        place: (u8::MAX, 0),
        dock: "",
        is_shown: |_| Ok(true),
        badge: |_| Ok(Badge::default()),
    };
}

/// Count and state of an entry.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Badge {
    /// Number beside its name.
    pub count: Option<u64>,
    /// Needs attention; hidden when 0.
    pub is_urgent: bool,
    /// State of its objects, without silenced ones.
    pub state: State,
    /// Number in that state, unless [`State::Up`].
    pub affected: i64,
}

/// States, better first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No problem.
    #[default]
    Up,
    /// Partly working.
    Degraded,
    /// Not working.
    Down,
}

/// An action of the command palette: one row of a feature's `ACTIONS`.
pub struct Action {
    /// Id of its name.
    pub word: &'static str,
    /// Its picture.
    pub icon: &'static str,
    /// Page of the action.
    pub path: &'static str,
    /// Right needed.
    pub right: Right,
}

/// The menu for a page.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Nav {
    /// By section.
    pub sections: Vec<Vec<Item>>,
    /// Worst state of all entries.
    pub state: State,
    /// Number in that state, unless [`State::Up`].
    pub affected: i64,
    /// Running tasks, newest first.
    pub running: Vec<Running>,
    /// Actions of the palette.
    pub actions: Vec<Choice>,
}

/// An entry for a page.
#[derive(Debug, Clone, Serialize)]
pub struct Item {
    path: &'static str,
    word: &'static str,
    icon: &'static str,
    keys: &'static str,
    dock: &'static str,
    #[serde(flatten)]
    badge: Badge,
    #[serde(skip)]
    right: Right,
}

/// An action for a page.
#[derive(Debug, Clone, Serialize)]
pub struct Choice {
    word: &'static str,
    icon: &'static str,
    path: &'static str,
    #[serde(skip)]
    right: Right,
}

/// A running task in the top bar.
#[derive(Debug, Clone, Serialize)]
pub struct Running {
    /// Its id.
    pub id: i64,
    /// Title.
    pub title: String,
    /// Start.
    pub started_at: Ms,
}

/// Maximum of running tasks shown.
const RUNNING_SHOWN: i64 = 8;

impl Nav {
    /// Computes all counts.
    pub fn read(app: &App, lang: Lang) -> Result<Nav> {
        let mut entries = Vec::new();
        for entry in app.registry.all::<Entry>() {
            if (entry.is_shown)(app)? {
                entries.push(*entry);
            }
        }
        entries.sort_by_key(|entry| entry.place);
        let mut nav = Nav {
            running: running(app, lang)?,
            ..Nav::default()
        };
        for section in entries.chunk_by(|a, b| a.place.0 == b.place.0) {
            nav.sections
                .push(section.iter().map(|entry| item(app, entry)).collect::<Result<_>>()?);
        }
        let badges = || nav.sections.iter().flatten().map(|item| item.badge);
        nav.state = badges().map(|badge| badge.state).max().unwrap_or_default();
        nav.affected = badges()
            .filter(|badge| badge.state == nav.state)
            .map(|badge| badge.affected)
            .sum();
        let choice = |action: &&'static Action| Choice {
            word: action.word,
            icon: action.icon,
            path: action.path,
            right: action.right,
        };
        nav.actions = app.registry.all::<Action>().iter().map(choice).collect();
        Ok(nav)
    }

    /// The entries and actions whose right is accepted by `may`.
    pub fn narrowed(mut self, may: impl Fn(Right) -> bool) -> Nav {
        (self.sections.iter_mut()).for_each(|section| section.retain(|item| may(item.right)));
        self.sections.retain(|section| !section.is_empty());
        self.actions.retain(|action| may(action.right));
        self
    }
}

/// Path of the entry that a page belongs to, by its address; empty: none.
pub fn here(app: &App, address: &str) -> &'static str {
    let at = address.split('?').next().unwrap_or_default();
    let is_below = |path: &str| match at.strip_prefix(path) {
        Some(rest) => rest.is_empty() || (path != "/" && rest.starts_with('/')),
        None => false,
    };
    let reaches = |entry: &&Entry| is_below(entry.path) || entry.also.iter().any(|path| is_below(path));
    let all = app.registry.all::<Entry>().iter().copied();
    all.filter(reaches).map(|entry| entry.path).next().unwrap_or_default()
}

fn item(app: &App, entry: &Entry) -> Result<Item> {
    Ok(Item {
        path: entry.path,
        word: entry.word,
        icon: entry.icon,
        keys: entry.keys,
        dock: entry.dock,
        badge: (entry.badge)(app)?,
        right: entry.right,
    })
}

fn running(app: &App, lang: Lang) -> Result<Vec<Running>> {
    let filter = task::Filter {
        status: Some(Status::Running),
        limit: RUNNING_SHOWN,
        ..task::Filter::default()
    };
    let (rows, _) = app.db.read(|conn| queue::list(conn, &filter))?;
    let shown = rows.into_iter().map(|t| Running {
        id: t.id.get(),
        title: format!("{}: {}", t.target.2, task::title(&app.registry, &t.kind, lang)),
        started_at: t.started_at.unwrap_or(t.created_at),
    });
    Ok(shown.collect())
}
