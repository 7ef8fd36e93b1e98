//! The menu of every page: the sum of the entries that features declare, with what they count, and the palette's actions.

use crate::access::{Actor, Place, Right};
use crate::app::App;
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::lang::Lang;
use crate::task::{self, Status, queue};
use serde::Serialize;

/// An entry of the menu: one row of a feature's `MENU`.
pub struct Entry {
    /// Where it leads.
    pub path: &'static str,
    /// Other paths below which a reader is there as well.
    pub also: &'static [&'static str],
    /// Its name, below `nav.` of the words.
    pub word: &'static str,
    /// Its picture.
    pub icon: &'static str,
    /// The keys that lead there: `g s`.
    pub keys: &'static str,
    /// Who may go there.
    pub right: Right,
    /// Its section, and its place there.
    pub place: (u8, u8),
    /// Its name in the row at the foot of a small screen; empty: it is not there.
    pub dock: &'static str,
    /// What it counts.
    pub badge: fn(&App) -> Result<Badge>,
}

impl Entry {
    /// To be filled by struct update.
    pub const NEW: Entry = Entry {
        path: "/",
        also: &[],
        word: "",
        icon: "link",
        keys: "",
        right: Right::SignedIn,
        place: (u8::MAX, 0),
        dock: "",
        badge: |_| Ok(Badge::default()),
    };
}

/// What an entry counts.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Badge {
    /// Shown beside its name.
    pub count: Option<u64>,
    /// It waits for a person, and is not shown when it is 0.
    pub is_urgent: bool,
    /// How what it leads to is; what is silenced is left out.
    pub state: State,
    /// How many are in that state, when it is not [`State::Up`].
    pub affected: i64,
}

/// How things are, the better first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing is wrong.
    #[default]
    Up,
    /// Something works not as it should.
    Degraded,
    /// Something does not work.
    Down,
}

/// An action of the command palette: one row of a feature's `ACTIONS`.
pub struct Action {
    /// Its name among the words.
    pub word: &'static str,
    /// Its picture.
    pub icon: &'static str,
    /// The page that does it.
    pub path: &'static str,
    /// Who may.
    pub right: Right,
}

/// The menu as a page draws it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Nav {
    /// By section, in their order.
    pub sections: Vec<Vec<Item>>,
    /// The worst state of any entry.
    pub state: State,
    /// What is in that state, when it is not [`State::Up`].
    pub affected: i64,
    /// Tasks that run now, newest first, a handful at most.
    pub running: Vec<Running>,
    /// For the palette.
    pub actions: Vec<Choice>,
}

/// An entry as a page draws it.
#[derive(Debug, Clone, Serialize)]
pub struct Item {
    path: &'static str,
    also: &'static [&'static str],
    word: &'static str,
    icon: &'static str,
    keys: &'static str,
    dock: &'static str,
    #[serde(flatten)]
    badge: Badge,
    #[serde(skip)]
    right: Right,
}

/// An action as a page draws it.
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
    /// Its title in words.
    pub title: String,
    /// Since when.
    pub started_at: Ms,
}

/// Running tasks in the top bar.
const RUNNING_SHOWN: i64 = 8;

impl Nav {
    /// Counts everything.
    pub fn read(app: &App, lang: Lang) -> Result<Nav> {
        let mut entries = app.registry.all::<Entry>().to_vec();
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

    /// What somebody may go to.
    pub fn for_actor(&self, actor: &Actor) -> Nav {
        let mut nav = self.clone();
        nav.sections
            .iter_mut()
            .for_each(|section| section.retain(|item| actor.has(item.right, &Place::Granted)));
        nav.sections.retain(|section| !section.is_empty());
        nav.actions.retain(|action| actor.has(action.right, &Place::Granted));
        nav
    }
}

fn item(app: &App, entry: &Entry) -> Result<Item> {
    Ok(Item {
        path: entry.path,
        also: entry.also,
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
