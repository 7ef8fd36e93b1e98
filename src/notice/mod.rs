//! What everybody is told on every page, and the maintenance of Lamplighter itself: while it lasts, looks are allowed, and
//! changes and runs are refused with a sentence.

mod queries;

use crate::base::clock::Ms;
use crate::base::error::{Error, Kind, Result};
use crate::base::shape::described;
use crate::db::{Conn, Tx};
use serde::Serialize;

/// How urgent a banner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Worth acting on.
    Warning,
    /// Now.
    Critical,
}
described!(Level: "info", "warning", "critical");

impl Level {
    /// As stored and shown.
    pub fn name(self) -> &'static str {
        Level::WORDS[self as usize]
    }

    /// Reads a name; another text is `Info`.
    pub fn parse(name: &str) -> Level {
        match name {
            "warning" => Level::Warning,
            "critical" => Level::Critical,
            _ => Level::Info,
        }
    }
}

/// A text on every page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Banner {
    /// One line.
    pub text: String,
    /// How urgent it is.
    pub level: Level,
    /// Until when it is shown, unix ms; `None`: until it is taken away.
    pub until: Option<Ms>,
}

/// Maintenance and banner, as they are set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// Are changes and runs refused?
    pub maintenance: bool,
    /// Why.
    pub message: String,
    /// Do schedules put nothing in meanwhile?
    pub pause_schedules: bool,
    /// What is shown.
    pub banner: Option<Banner>,
}

impl Notice {
    /// What is shown at this time.
    pub fn banner_at(&self, now: Ms) -> Option<&Banner> {
        self.banner
            .as_ref()
            .filter(|banner| banner.until.is_none_or(|until| until > now))
    }

    /// Do schedules rest?
    pub fn is_paused(&self) -> bool {
        self.maintenance && self.pause_schedules
    }

    /// Error `maintenance`, while it lasts.
    pub fn refuse(&self) -> Result<()> {
        if !self.maintenance {
            return Ok(());
        }
        let say = match self.message.is_empty() {
            true => {
                "Lamplighter is in maintenance: you may look, but nothing is changed or started until that is over."
                    .into()
            }
            false => format!(
                "Lamplighter is in maintenance, so nothing is changed or started: {}",
                self.message
            ),
        };
        Err(Error::new(Kind::Busy, "maintenance", say))
    }
}

/// What is set now.
pub fn get(conn: &Conn) -> Result<Notice> {
    queries::get(conn)
}

/// Sets it all. Whoever calls this writes the audit.
pub fn set(tx: &Tx, notice: &Notice) -> Result<()> {
    queries::set(tx, notice)
}
