//! SQL of the servers.

use super::model::{AuthType, CHECK_METHODS, CONTAINERS, Fields, Has, PACKAGES};
use super::{Alerts, Availability, HostKeyState, Polled, Server, State, Worst};
use crate::audit::Snapshot;
use crate::base::clock::Ms;
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::base::shape::described;
use crate::db::{self, Conn};
use crate::vault::reference;
use rusqlite::{OptionalExtension, Row, params};

const COLUMNS: &str = "s.id, s.name, s.host, s.ssh_port, s.username, s.auth_type, s.description, s.tags, s.public_ips,
    s.glances_scheme, s.glances_host, s.glances_port, s.glances_path, s.glances_auth_type, s.glances_username,
    s.glances_tls_pin, s.glances_profile, s.poll_interval_s, s.host_key, s.host_key_seen, s.host_key_state, s.status,
    s.status_since, s.fail_count, s.last_error_code, s.last_error_say, s.glances_api, s.glances_path_seen, s.facts,
    s.facts_at, s.revision, s.created_at, s.updated_at, s.password IS NOT NULL, s.ssh_key IS NOT NULL,
    s.ssh_key_passphrase IS NOT NULL, s.glances_password IS NOT NULL, s.glances_token IS NOT NULL,
    s.poll_revision, s.missed_since, s.state, s.state_since, s.alerts_open, s.alerts_kinds, a.id, a.kind, a.level, a.variant,
    a.title, a.target_name, s.host_seen, s.glances_allow, s.glances_bind, s.moved_at, s.moved, s.packages,
    s.environment, s.os_type, s.check_method, s.containers,
    iif(substr(s.password, 1, 1) = x'02', substr(s.password, 1, 9), NULL),
    iif(substr(s.ssh_key, 1, 1) = x'02', substr(s.ssh_key, 1, 9), NULL),
    iif(substr(s.glances_password, 1, 1) = x'02', substr(s.glances_password, 1, 9), NULL),
    iif(substr(s.glances_token, 1, 1) = x'02', substr(s.glances_token, 1, 9), NULL)";
const FROM: &str = "servers s LEFT JOIN main.alerts a ON a.id = s.alert_id";

/// End of a silence for the whole server, of several the last; silences of some alert kinds do not count.
const SILENCED: &str = "(SELECT max(q.ends_at) FROM main.silences q WHERE q.state = 'active' AND q.kind = ''
      AND NOT EXISTS (SELECT 1 FROM main.silence_targets t WHERE t.silence_id = q.id
        AND (t.target_type <> 'server' OR t.target_id <> s.id)
        AND (t.target_type <> 'group' OR NOT EXISTS (SELECT 1 FROM main.group_members m
          WHERE m.group_id = t.target_id AND m.server_id = s.id)))
      AND (q.scope = '' OR EXISTS (SELECT 1 FROM main.silence_servers m WHERE m.silence_id = q.id AND m.server_id = s.id)))";

fn strings(json: String) -> Vec<String> {
    serde_json::from_str(&json).unwrap_or_default()
}

fn word(text: &str, words: &[&'static str]) -> &'static str {
    words.iter().copied().find(|w| *w == text).unwrap_or(words[0])
}

fn read(r: &Row) -> rusqlite::Result<Server> {
    let error_code: Option<String> = r.get(24)?;
    Ok(Server {
        id: Id::new(r.get(0)?),
        fields: Fields {
            name: r.get(1)?,
            host: r.get(2)?,
            ssh_port: r.get(3)?,
            username: r.get(4)?,
            auth_type: AuthType::parse(&r.get::<_, String>(5)?),
            description: r.get(6)?,
            tags: strings(r.get(7)?),
            public_ips: strings(r.get(8)?),
            glances_scheme: word(r.get_ref(9)?.as_str()?, &["http", "https"]),
            glances_host: r.get(10)?,
            glances_port: r.get(11)?,
            glances_path: r.get(12)?,
            glances_auth_type: word(r.get_ref(13)?.as_str()?, &["none", "basic", "token"]),
            glances_username: r.get(14)?,
            glances_tls_pin: r.get(15)?,
            glances_allow: strings(r.get(51)?),
            glances_bind: r.get(52)?,
            packages: word(r.get_ref(55)?.as_str()?, &PACKAGES),
            poll_interval_s: r.get(17)?,
            environment: r.get(56)?,
            os_type: r.get(57)?,
            check_method: word(r.get_ref(58)?.as_str()?, &CHECK_METHODS),
            containers: word(r.get_ref(59)?.as_str()?, &CONTAINERS),
        },
        glances_profile: word(r.get_ref(16)?.as_str()?, &["unknown", "protected", "open"]),
        host_key: r.get(18)?,
        host_key_seen: r.get(19)?,
        host_key_state: HostKeyState::parse(r.get_ref(20)?.as_str()?),
        availability: Availability {
            status: word(r.get_ref(21)?.as_str()?, &["provisioning", "ok", "unreachable"]),
            since: r.get(22)?,
            fail_count: r.get(23)?,
            missed_since: r.get(39)?,
            error: error_code
                .map(|code| Ok::<_, rusqlite::Error>((code, r.get(25)?)))
                .transpose()?,
            host: r.get(50)?,
        },
        state: State::parse(r.get_ref(40)?.as_str()?),
        state_since: r.get(41)?,
        alerts: Alerts {
            open: r.get(42)?,
            kinds: r.get(43)?,
            worst: r.get::<_, Option<i64>>(44)?.map(|id| worst(r, id)).transpose()?,
        },
        moved: moved(r.get(53)?, r.get(54)?),
        silenced_until: r.get(64)?,
        refers: [refers(r, 60)?, refers(r, 61)?, refers(r, 62)?, refers(r, 63)?],
        glances_api: r.get(26)?,
        glances_path_seen: r.get(27)?,
        facts: r.get(28)?,
        facts_at: r.get(29)?,
        revision: r.get(30)?,
        created_at: r.get(31)?,
        updated_at: r.get(32)?,
        has: Has {
            password: r.get(33)?,
            ssh_key: r.get(34)?,
            ssh_key_passphrase: r.get(35)?,
            glances_password: r.get(36)?,
            glances_token: r.get(37)?,
        },
        poll_revision: r.get(38)?,
    })
}

fn refers(r: &Row, column: usize) -> rusqlite::Result<Option<i64>> {
    let head: Option<Vec<u8>> = r.get(column)?;
    Ok(head.and_then(|head| reference::secret_of(&head)))
}

fn moved(at: Option<Ms>, seen: String) -> Option<(Ms, String)> {
    at.map(|at| (at, seen))
}

fn worst(r: &Row, id: i64) -> rusqlite::Result<Worst> {
    Ok(Worst {
        id,
        kind: r.get(45)?,
        level: r.get(46)?,
        variant: r.get(47)?,
        title: r.get(48)?,
        name: r.get(49)?,
    })
}

pub fn get(conn: &Conn, id: Id<id::Server>) -> Result<Option<Server>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS}, {SILENCED} FROM {FROM} WHERE s.id = ?1"))?;
    Ok(statement.query_row([id.get()], read).optional()?)
}

/// By its name, whatever the case.
pub fn by_name(conn: &Conn, name: &str) -> Result<Option<Id<id::Server>>> {
    let mut statement = conn.prepare_cached("SELECT id FROM servers WHERE name = ?1")?;
    Ok(statement.query_row([name], |r| r.get(0)).optional()?.map(Id::new))
}

/// Ids and names of these servers, by name.
pub fn names(conn: &Conn, ids: &[i64]) -> Result<Vec<(i64, String)>> {
    let mut statement = conn.prepare_cached(
        "SELECT id, name FROM servers WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY name, id",
    )?;
    let rows = statement.query_map([serde_json::json!(ids).to_string()], |r| Ok((r.get(0)?, r.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Filter of a list; empty texts mean any.
#[derive(Debug, Default)]
pub struct Filter<'a> {
    /// Part of the name, host, tags or description.
    pub q: &'a str,
    /// Exact tag, ignoring case.
    pub tag: &'a str,
    /// `provisioning`, `ok` or `unreachable`.
    pub status: &'a str,
    /// The name of a [`State`].
    pub state: &'a str,
    /// Exact environment.
    pub environment: &'a str,
    /// From Z to A.
    pub descending: bool,
    /// Page size.
    pub limit: i64,
    /// Rows to skip.
    pub offset: i64,
}

pub fn list(conn: &Conn, filter: &Filter) -> Result<(Vec<Server>, i64)> {
    // An unused condition still names its parameter, so that the same list of values fits every statement.
    let when = |wanted: bool, condition, filler| if wanted { condition } else { filler };
    let wheres = [
        when(
            !filter.q.is_empty(),
            r"(s.name LIKE ?1 ESCAPE '\' OR s.host LIKE ?1 ESCAPE '\' OR s.tags LIKE ?1 ESCAPE '\' OR s.description LIKE ?1 ESCAPE '\')",
            "?1 IS ?1",
        ),
        when(!filter.tag.is_empty(), "EXISTS (SELECT 1 FROM server_tags t WHERE t.tag = ?2 AND t.server_id = s.id)", "?2 IS ?2"),
        when(!filter.status.is_empty(), "s.status = ?3", "?3 IS ?3"),
        when(!filter.state.is_empty(), "s.state = ?4", "?4 IS ?4"),
        when(!filter.environment.is_empty(), "s.environment = ?5", "?5 IS ?5"),
    ]
    .join(" AND ");
    let like = format!(
        "%{}%",
        filter.q.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_")
    );
    let total = conn
        .prepare_cached(&format!("SELECT count(*) FROM servers s WHERE {wheres}"))?
        .query_row(
            params![like, filter.tag, filter.status, filter.state, filter.environment],
            |r| r.get(0),
        )?;
    let order = if filter.descending { "DESC" } else { "ASC" };
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS}, {SILENCED} FROM {FROM} WHERE {wheres} ORDER BY s.name {order}, s.id LIMIT ?6 OFFSET ?7"
    ))?;
    let rows = statement
        .query_map(
            params![
                like,
                filter.tag,
                filter.status,
                filter.state,
                filter.environment,
                filter.limit,
                filter.offset
            ],
            read,
        )?
        .collect::<rusqlite::Result<_>>()?;
    Ok((rows, total))
}

/// Every server, for overview and poller.
pub fn all(conn: &Conn) -> Result<Vec<Server>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS}, {SILENCED} FROM {FROM} ORDER BY s.name, s.id"
    ))?;
    Ok(statement.query_map([], read)?.collect::<rusqlite::Result<_>>()?)
}

described! {
    /// Number of servers by state.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct Counts {
        /// Total.
        pub total: i64,
        /// Number in this state.
        pub up: i64,
        /// Number in this state.
        pub degraded: i64,
        /// Number in this state.
        pub down: i64,
        /// Number in this state.
        pub pending: i64,
        /// Silenced ones.
        pub silenced: i64,
        /// Not silenced ones, in the order of [`State::ALL`].
        #[serde(skip)]
        pub loud: [i64; 4],
    }
}

impl Counts {
    /// Counts one server.
    pub fn add(&mut self, state: State, silenced: bool) {
        self.total += 1;
        self.silenced += i64::from(silenced);
        self.loud[state as usize] += i64::from(!silenced);
        *match state {
            State::Up => &mut self.up,
            State::Degraded => &mut self.degraded,
            State::Down => &mut self.down,
            State::Pending => &mut self.pending,
        } += 1;
    }

    /// Number in this state.
    pub fn of(&self, state: State) -> i64 {
        match state {
            State::Up => self.up,
            State::Degraded => self.degraded,
            State::Down => self.down,
            State::Pending => self.pending,
        }
    }

    /// The worst state of any server; pending does not count.
    pub fn worst(&self) -> State {
        let faults = [State::Down, State::Degraded];
        faults.into_iter().find(|s| self.of(*s) > 0).unwrap_or(State::Up)
    }
}

/// How many servers are in which state.
pub fn counts(conn: &Conn) -> Result<Counts> {
    let mut counts = Counts::default();
    let mut statement = conn.prepare_cached(&format!("SELECT s.state, {SILENCED} IS NOT NULL FROM servers s"))?;
    let mut rows = statement.query([])?;
    while let Some(r) = rows.next()? {
        counts.add(State::parse(r.get_ref(0)?.as_str().unwrap_or_default()), r.get(1)?);
    }
    Ok(counts)
}

/// Servers added at about the same time, and their progress.
#[derive(Debug, Clone, Copy)]
pub struct Company {
    /// Of those, not evaluated yet: too few polls.
    pub pending: i64,
    /// Total of those.
    pub young: i64,
    /// Of all servers: never answered and known for it.
    pub unreached: i64,
}

/// The other servers added since then.
pub fn company(conn: &Conn, id: i64, since: Ms) -> Result<Company> {
    let mut statement = conn.prepare_cached(
        "SELECT coalesce(sum(created_at >= ?2 AND status = 'provisioning'), 0), coalesce(sum(created_at >= ?2), 0),
           coalesce(sum(status = 'unreachable' AND glances_api IS NULL), 0) FROM servers WHERE id <> ?1",
    )?;
    let read = |r: &Row| {
        Ok(Company {
            pending: r.get(0)?,
            young: r.get(1)?,
            unreached: r.get(2)?,
        })
    };
    Ok(statement.query_row(params![id, since], read)?)
}

/// Updates the number of open alerts of this server.
pub fn alerts_changed(conn: &Conn, id: i64, at: Ms) -> Result<()> {
    let mut statement = conn.prepare_cached(
        "WITH open AS (SELECT id, kind, level, first_at FROM alerts
           WHERE target_type = 'server' AND target_id = ?1 AND state <> 'resolved'),
         worst AS (SELECT id, first_at FROM open WHERE level <> 'INFO'
           ORDER BY instr('WARNING ERROR CRITICAL', level) DESC, first_at, id LIMIT 1)
         UPDATE servers SET alerts_open = (SELECT count(*) FROM open),
           alerts_kinds = (SELECT coalesce(group_concat(kind, ' '), '') FROM (SELECT DISTINCT kind FROM open ORDER BY kind)),
           alert_id = (SELECT id FROM worst),
           alerts_since = coalesce((SELECT first_at FROM worst), CASE WHEN alert_id IS NULL THEN alerts_since ELSE ?2 END),
           revision = revision + 1
         WHERE id = ?1",
    )?;
    statement.execute(params![id, at])?;
    Ok(())
}

/// Every tag with its number of servers.
pub fn tags(conn: &Conn) -> Result<Vec<(String, i64)>> {
    let mut statement = conn
        .prepare_cached("SELECT tag, count(*) FROM server_tags GROUP BY tag ORDER BY count(*) DESC, tag LIMIT 200")?;
    Ok(statement
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?)
}

/// Changes when a server is added, removed or its polling parameters change.
pub fn poll_fingerprint(conn: &Conn) -> Result<(i64, i64)> {
    let mut statement =
        conn.prepare_cached("SELECT coalesce(sum(poll_revision), 0), coalesce(sum(id), 0) FROM servers")?;
    Ok(statement.query_row([], |r| Ok((r.get(0)?, r.get(1)?)))?)
}

/// A server's row for exported metrics.
#[derive(Debug)]
pub struct StateRow {
    /// Id.
    pub id: i64,
    /// Name.
    pub name: String,
    /// Availability status.
    pub status: &'static str,
    /// Number in this state.
    pub state: State,
    /// Open alerts.
    pub alerts: i64,
    /// Is it silenced?
    pub silenced: bool,
    /// Poll interval in seconds.
    pub interval_s: i64,
}

/// The [`StateRow`] of every server.
pub fn states(conn: &Conn) -> Result<Vec<StateRow>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT s.id, s.name, s.status, s.state, s.alerts_open, {SILENCED} IS NOT NULL, s.poll_interval_s
         FROM servers s ORDER BY s.name"
    ))?;
    let rows = statement.query_map([], |r| {
        Ok(StateRow {
            id: r.get(0)?,
            name: r.get(1)?,
            status: word(r.get_ref(2)?.as_str()?, &["provisioning", "ok", "unreachable"]),
            state: State::parse(r.get_ref(3)?.as_str()?),
            alerts: r.get(4)?,
            silenced: r.get(5)?,
            interval_s: r.get(6)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Name, poll revision, availability, and the API version and path seen last.
pub fn polled(conn: &Conn, id: Id<id::Server>) -> Result<Option<Polled>> {
    let mut statement = conn.prepare_cached(
        "SELECT name, poll_revision, status, status_since, fail_count, last_error_code, last_error_say, glances_api,
           glances_path_seen, missed_since, host_seen, addresses, moved_at, moved FROM servers WHERE id = ?1",
    )?;
    let row = statement.query_row([id.get()], |r| {
        let code: Option<String> = r.get(5)?;
        Ok(Polled {
            name: r.get(0)?,
            revision: r.get(1)?,
            availability: Availability {
                status: word(r.get_ref(2)?.as_str()?, &["provisioning", "ok", "unreachable"]),
                since: r.get(3)?,
                fail_count: r.get(4)?,
                missed_since: r.get(9)?,
                error: code
                    .map(|code| Ok::<_, rusqlite::Error>((code, r.get(6)?)))
                    .transpose()?,
                host: r.get(10)?,
            },
            glances_api: r.get(7)?,
            glances_path_seen: r.get(8)?,
            addresses: r.get(11)?,
            moved: moved(r.get(12)?, r.get(13)?),
        })
    });
    Ok(row.optional()?)
}

fn on_unique_violation(name: &str) -> impl FnOnce(rusqlite::Error) -> Error {
    db::on_unique_violation(
        "name",
        format!("There is a server called “{name}” already. Give this one another name."),
    )
}

pub fn insert(conn: &Conn, f: &Fields, at: Ms) -> Result<Id<id::Server>> {
    conn.execute(
        "INSERT INTO servers (name, host, ssh_port, username, auth_type, description, tags, public_ips, glances_scheme,
           glances_host, glances_port, glances_path, glances_auth_type, glances_username, glances_tls_pin, poll_interval_s,
           glances_allow, glances_bind, packages, environment, os_type, check_method, containers, status, status_since, created_at,
           updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?18, ?19, ?20, ?21, ?22, ?23, ?24,
           'provisioning', ?17, ?17, ?17)",
        params![
            f.name, f.host, f.ssh_port, f.username, f.auth_type.name(), f.description, json(&f.tags), json(&f.public_ips),
            f.glances_scheme, f.glances_host, f.glances_port, f.glances_path, f.glances_auth_type, f.glances_username,
            f.glances_tls_pin, f.poll_interval_s, at, json(&f.glances_allow), f.glances_bind, f.packages, f.environment, f.os_type,
            f.check_method, f.containers
        ],
    )
    .map_err(on_unique_violation(&f.name))?;
    let id = Id::new(conn.last_insert_rowid());
    set_tags(conn, id, &f.tags)?;
    Ok(id)
}

pub fn update(conn: &Conn, id: Id<id::Server>, f: &Fields, at: Ms) -> Result<()> {
    conn.execute(
        "UPDATE servers SET name = ?2, host = ?3, ssh_port = ?4, username = ?5, auth_type = ?6, description = ?7, tags = ?8,
           public_ips = ?9, glances_scheme = ?10, glances_host = ?11, glances_port = ?12, glances_path = ?13,
           glances_auth_type = ?14, glances_username = ?15, glances_tls_pin = ?16, poll_interval_s = ?17, updated_at = ?18,
           glances_allow = ?19, glances_bind = ?20, packages = ?21, environment = ?22, os_type = ?23, check_method = ?24, containers = ?25,
           addresses = CASE WHEN host = ?3 AND glances_host = ?11 THEN addresses ELSE '' END,
           moved_at = CASE WHEN host = ?3 AND glances_host = ?11 THEN moved_at END,
           revision = revision + 1, poll_revision = poll_revision + 1
         WHERE id = ?1",
        params![
            id.get(), f.name, f.host, f.ssh_port, f.username, f.auth_type.name(), f.description, json(&f.tags),
            json(&f.public_ips), f.glances_scheme, f.glances_host, f.glances_port, f.glances_path, f.glances_auth_type,
            f.glances_username, f.glances_tls_pin, f.poll_interval_s, at, json(&f.glances_allow), f.glances_bind, f.packages,
            f.environment, f.os_type, f.check_method, f.containers
        ],
    )
    .map_err(on_unique_violation(&f.name))?;
    set_tags(conn, id, &f.tags)
}

fn json(items: &[String]) -> String {
    serde_json::to_string(items).unwrap_or_else(|_| "[]".into())
}

fn set_tags(conn: &Conn, id: Id<id::Server>, tags: &[String]) -> Result<()> {
    conn.execute("DELETE FROM server_tags WHERE server_id = ?1", [id.get()])?;
    for tag in tags {
        conn.execute(
            "INSERT OR IGNORE INTO server_tags (server_id, tag) VALUES (?1, ?2)",
            params![id.get(), tag],
        )?;
    }
    Ok(())
}

pub fn remove(conn: &Conn, id: Id<id::Server>) -> Result<()> {
    conn.execute("DELETE FROM servers WHERE id = ?1", [id.get()])?;
    Ok(())
}

/// Ids and stored names of domains that this server serves or still holds.
pub fn used_by(conn: &Conn, id: Id<id::Server>) -> Result<Vec<(i64, String)>> {
    let mut statement = conn.prepare_cached(
        "SELECT d.id, d.domain FROM domain_sites s JOIN domains d ON d.id = s.domain_id WHERE s.server_id = ?1 ORDER BY d.domain",
    )?;
    Ok(statement
        .query_map([id.get()], |r| Ok((r.get(0)?, r.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?)
}

/// Marks all sites on this server as removed.
pub fn forget_sites(conn: &Conn, id: Id<id::Server>) -> Result<()> {
    conn.execute("DELETE FROM domain_sites WHERE server_id = ?1", [id.get()])?;
    Ok(())
}

/// The sealed value of one secret column. `column` is one of [`SECRETS`].
pub fn sealed(conn: &Conn, id: Id<id::Server>, column: &'static str) -> Result<Option<Vec<u8>>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {column} FROM servers WHERE id = ?1"))?;
    Ok(statement.query_row([id.get()], |r| r.get(0)).optional()?.flatten())
}

pub fn set_sealed(conn: &Conn, id: Id<id::Server>, column: &'static str, sealed: Option<&[u8]>) -> Result<()> {
    conn.execute(
        &format!(
            "UPDATE servers SET {column} = ?2, revision = revision + 1, poll_revision = poll_revision + 1 WHERE id = ?1"
        ),
        params![id.get(), sealed],
    )?;
    Ok(())
}

pub fn set_host_key(conn: &Conn, id: Id<id::Server>, key: &str, seen: &str, state: HostKeyState) -> Result<()> {
    conn.execute(
        "UPDATE servers SET host_key = ?2, host_key_seen = ?3, host_key_state = ?4, revision = revision + 1 WHERE id = ?1",
        params![id.get(), key, seen, state.name()],
    )?;
    Ok(())
}

pub fn set_facts(conn: &Conn, id: Id<id::Server>, facts: &str, at: Ms) -> Result<()> {
    conn.execute(
        "UPDATE servers SET facts = ?2, facts_at = ?3, revision = revision + 1 WHERE id = ?1",
        params![id.get(), facts, at],
    )?;
    Ok(())
}

/// Stores how Glances is reached after its installation.
pub fn set_glances(conn: &Conn, id: Id<id::Server>, f: &Fields, profile: &str) -> Result<()> {
    conn.execute(
        "UPDATE servers SET glances_scheme = ?2, glances_host = ?3, glances_port = ?4, glances_path = ?5, glances_auth_type = ?6,
           glances_username = ?7, glances_tls_pin = ?8, glances_profile = ?9, glances_allow = ?10,
           glances_bind = ?11, addresses = CASE WHEN glances_host = ?3 THEN addresses ELSE '' END, fail_count = 0, missed_since = NULL,
           glances_path_seen = NULL, revision = revision + 1, poll_revision = poll_revision + 1
         WHERE id = ?1",
        params![
            id.get(), f.glances_scheme, f.glances_host, f.glances_port, f.glances_path, f.glances_auth_type,
            f.glances_username, f.glances_tls_pin, profile, json(&f.glances_allow), f.glances_bind
        ],
    )?;
    Ok(())
}

/// Resets availability: Glances is not installed yet.
pub fn set_newcomer(conn: &Conn, id: Id<id::Server>, at: Ms) -> Result<()> {
    conn.execute(
        "UPDATE servers SET status = 'provisioning', status_since = ?2, last_error_code = NULL, last_error_say = NULL,
           host_seen = NULL, glances_api = NULL WHERE id = ?1",
        params![id.get(), at],
    )?;
    Ok(())
}

pub fn set_availability(conn: &Conn, id: Id<id::Server>, availability: &Availability) -> Result<()> {
    let (code, say) = availability
        .error
        .as_ref()
        .map(|(c, s)| (c.as_str(), s.as_str()))
        .unzip();
    conn.prepare_cached(
        "UPDATE servers SET status = ?2, status_since = ?3, fail_count = ?4, last_error_code = ?5, last_error_say = ?6,
           missed_since = ?7, host_seen = ?8, revision = revision + 1 WHERE id = ?1",
    )?
    .execute(params![
        id.get(),
        availability.status,
        availability.since,
        availability.fail_count,
        code,
        say,
        availability.missed_since,
        availability.host
    ])?;
    Ok(())
}

/// Stores the addresses of the server's name, latest first.
pub fn set_addresses(conn: &Conn, id: Id<id::Server>, addresses: &str) -> Result<()> {
    conn.prepare_cached("UPDATE servers SET addresses = ?2 WHERE id = ?1")?
        .execute(params![id.get(), addresses])?;
    Ok(())
}

/// Stores a change of addresses with its sentence.
pub fn set_moved(conn: &Conn, id: Id<id::Server>, at: Ms, seen: &str) -> Result<()> {
    conn.prepare_cached("UPDATE servers SET moved_at = ?2, moved = ?3, revision = revision + 1 WHERE id = ?1")?
        .execute(params![id.get(), at, seen])?;
    Ok(())
}

pub fn set_glances_seen(conn: &Conn, id: Id<id::Server>, api: i64, path: &str) -> Result<()> {
    conn.prepare_cached(
        "UPDATE servers SET glances_api = ?2, glances_path_seen = ?3, revision = revision + 1 WHERE id = ?1",
    )?
    .execute(params![id.get(), api, path])?;
    Ok(())
}

/// What people say of a server; what was found out about it changes by itself.
pub fn snapshot(conn: &Conn, id: Id<id::Server>) -> Result<Snapshot> {
    let found_out = |name: &str| {
        let begins = [
            "status",
            "state",
            "fail_",
            "last_",
            "alert",
            "facts",
            "missed_",
            "moved",
            "glances_api",
        ];
        begins.iter().any(|begin| name.starts_with(begin))
            || ["host_seen", "addresses", "glances_path_seen"].contains(&name)
    };
    Ok(Snapshot::of(conn, "servers", id.get())?.without(found_out))
}
