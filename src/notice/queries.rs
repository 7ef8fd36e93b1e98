//! SQL of the one row.

use super::{Banner, Level, Notice};
use crate::base::error::Result;
use crate::db::Conn;
use rusqlite::params;

pub fn get(conn: &Conn) -> Result<Notice> {
    let mut statement = conn.prepare_cached(
        "SELECT maintenance, message, pause_schedules, banner, level, banner_until FROM site_notice WHERE id = 1",
    )?;
    Ok(statement.query_row([], |r| {
        let text: String = r.get(3)?;
        let banner = Banner {
            text,
            level: Level::parse(r.get_ref(4)?.as_str()?),
            until: r.get(5)?,
        };
        Ok(Notice {
            maintenance: r.get(0)?,
            message: r.get(1)?,
            pause_schedules: r.get(2)?,
            banner: Some(banner).filter(|banner| !banner.text.is_empty()),
        })
    })?)
}

pub fn set(conn: &Conn, notice: &Notice) -> Result<()> {
    let banner = notice.banner.as_ref();
    conn.execute(
        "UPDATE site_notice SET maintenance = ?1, message = ?2, pause_schedules = ?3, banner = ?4, level = ?5, banner_until = ?6
         WHERE id = 1",
        params![
            notice.maintenance,
            notice.message,
            notice.pause_schedules,
            banner.map_or("", |banner| &banner.text),
            banner.map_or("info", |banner| banner.level.name()),
            banner.and_then(|banner| banner.until),
        ],
    )?;
    Ok(())
}
