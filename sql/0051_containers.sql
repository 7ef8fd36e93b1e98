-- Containers that were seen, by name: a new life under an old name goes on with its history.
ALTER TABLE servers ADD COLUMN containers TEXT NOT NULL DEFAULT 'off' CHECK (containers IN ('off','auto'));

CREATE TABLE containers (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  server_id  INTEGER REFERENCES servers(id) ON DELETE CASCADE, -- NULL: the machine that Lamplighter runs on
  name       TEXT    NOT NULL,
  life       TEXT    NOT NULL,                     -- the engine's id of it, 64 hex digits
  image      TEXT    NOT NULL,
  project    TEXT    NOT NULL DEFAULT '',          -- compose project and service, from its labels
  service    TEXT    NOT NULL DEFAULT '',
  state      TEXT    NOT NULL,                     -- created running paused restarting removing exited dead; gone: removed
  health     TEXT    NOT NULL DEFAULT '',          -- starting healthy unhealthy; empty: it has no check
  exit_code  INTEGER,
  oom        INTEGER NOT NULL DEFAULT 0,           -- 1: its last end was for want of memory
  restarts   INTEGER NOT NULL DEFAULT 0,           -- ends without a person's act since it is known
  restarts_at TEXT   NOT NULL DEFAULT '[]',        -- times of the last of them, unix ms
  since      INTEGER NOT NULL,                     -- when it came into its state
  unhealthy_since INTEGER,
  asked_until INTEGER,                             -- an end before this is one that somebody here has asked for
  troubles   TEXT    NOT NULL DEFAULT '[]',        -- what was said of it as alerts and is not over: died, oom …
  created_at INTEGER NOT NULL,                     -- first seen
  seen_at    INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX containers_name ON containers (coalesce(server_id, 0), name);
CREATE TRIGGER silences_of_container AFTER DELETE ON containers BEGIN
  DELETE FROM silences WHERE id IN
    (SELECT silence_id FROM silence_targets WHERE target_type = 'container' AND target_id = OLD.id);
END;

-- Whom we ask for containers on each server.
CREATE TABLE container_engines (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  server_id  INTEGER REFERENCES servers(id) ON DELETE CASCADE, -- NULL: the machine that Lamplighter runs on
  engine     TEXT    NOT NULL DEFAULT '',          -- docker, podman; empty: not known yet
  version    TEXT    NOT NULL DEFAULT '',
  socket     TEXT    NOT NULL DEFAULT '',
  state      TEXT    NOT NULL,                     -- waiting answers silent
  code       TEXT    NOT NULL DEFAULT '',          -- why it does not answer
  say        TEXT    NOT NULL DEFAULT '',
  since      INTEGER NOT NULL,
  told       INTEGER NOT NULL DEFAULT 0            -- 1: its silence was an event
) STRICT;
CREATE UNIQUE INDEX container_engines_server ON container_engines (coalesce(server_id, 0));
