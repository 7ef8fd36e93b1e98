-- What every feature stands on: keys, settings, events, audit, tasks.

-- Data keys, each wrapped by a key derived from the master key; that it unwraps them proves that it is the right one.
CREATE TABLE keyring (
  id          INTEGER PRIMARY KEY,
  purpose     TEXT    NOT NULL,             -- secrets | access | pepper | audit
  wrapped     BLOB    NOT NULL,
  created_at  INTEGER NOT NULL              -- unix ms, as all times here
) STRICT;

CREATE TABLE settings (
  key         TEXT PRIMARY KEY,             -- a row of settings::TABLE
  value       TEXT NOT NULL,
  changed_at  INTEGER NOT NULL,
  changed_by  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What happened. Written in the transaction of the change; reactions and streams read from here.
CREATE TABLE events (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  at          INTEGER NOT NULL,
  kind        TEXT    NOT NULL,             -- server.unreachable, …
  target_type TEXT    NOT NULL,             -- server | task | user | …
  target_id   INTEGER NOT NULL,
  data        TEXT    NOT NULL              -- JSON object, no secrets
) STRICT;

-- How far each reader of the events has come.
CREATE TABLE event_cursors (
  reader      TEXT PRIMARY KEY,
  event_id    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Who changed what. Each row's mac covers the row before it.
CREATE TABLE audit (
  seq         INTEGER PRIMARY KEY,
  at          INTEGER NOT NULL,
  actor       TEXT    NOT NULL,
  ip          TEXT    NOT NULL,
  action      TEXT    NOT NULL,
  object      TEXT    NOT NULL,
  detail      TEXT    NOT NULL,             -- JSON object, secrets masked
  request_id  TEXT    NOT NULL,
  mac         BLOB    NOT NULL
) STRICT;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit rows do not change'); END;

CREATE TABLE tasks (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  kind         TEXT    NOT NULL,
  target_type  TEXT    NOT NULL,
  target_id    INTEGER NOT NULL,
  target_name  TEXT    NOT NULL,            -- as it was called then
  lane         TEXT    NOT NULL,            -- one at a time in a lane
  input        TEXT    NOT NULL,            -- JSON; secrets stay in their own tables
  status       TEXT    NOT NULL CHECK (status IN ('queued','running','ok','failed','cancelled','interrupted')),
  changed      INTEGER NOT NULL DEFAULT 0,
  steps        TEXT    NOT NULL DEFAULT '[]',
  error_code   TEXT,
  error_say    TEXT,
  attempt      INTEGER NOT NULL DEFAULT 0,
  cancel_asked INTEGER NOT NULL DEFAULT 0,
  created_by   TEXT    NOT NULL,
  request_id   TEXT    NOT NULL,
  created_at   INTEGER NOT NULL,
  started_at   INTEGER,
  finished_at  INTEGER
) STRICT;
CREATE INDEX tasks_status ON tasks (status, id);
CREATE INDEX tasks_target ON tasks (target_type, target_id, id);

CREATE TABLE task_logs (
  task_id  INTEGER NOT NULL REFERENCES tasks(id) ON DELETE CASCADE,
  seq      INTEGER NOT NULL,                -- 1, 2, … within the task; the SSE event id
  at       INTEGER NOT NULL,
  level    TEXT    NOT NULL,                -- info | warning | error
  source   TEXT    NOT NULL,                -- task | step | command | ssh
  stream   TEXT    NOT NULL,                -- stdout | stderr | ''
  line     TEXT    NOT NULL,
  PRIMARY KEY (task_id, seq)
) STRICT, WITHOUT ROWID;

-- Periodic work: when it last ran, for /health/scheduler in whichever process answers.
CREATE TABLE periodic (
  name     TEXT PRIMARY KEY,
  every_ms INTEGER NOT NULL,
  last_at  INTEGER NOT NULL,
  last_ms  INTEGER NOT NULL,
  error    TEXT
) STRICT, WITHOUT ROWID;
