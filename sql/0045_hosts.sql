-- A server as a host: where it belongs, what runs there, and how it is looked at beside the polls of Glances.
ALTER TABLE servers ADD COLUMN environment TEXT NOT NULL DEFAULT '';
ALTER TABLE servers ADD COLUMN os_type TEXT NOT NULL DEFAULT '';
ALTER TABLE servers ADD COLUMN check_method TEXT NOT NULL DEFAULT 'none'
  CHECK (check_method IN ('none', 'ping', 'tcp', 'ssh'));
-- Equal results in a row; the newest of a server is what holds now.
CREATE TABLE host_checks (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  server_id  INTEGER NOT NULL REFERENCES servers(id) ON DELETE CASCADE,
  first_at   INTEGER NOT NULL,                -- this result was seen from
  last_at    INTEGER NOT NULL,                -- to
  count      INTEGER NOT NULL DEFAULT 1,      -- how often in a row
  status     TEXT    NOT NULL CHECK (status IN ('up', 'down', 'unknown')),
  method     TEXT    NOT NULL CHECK (method IN ('ping', 'tcp', 'ssh')),
  code       TEXT    NOT NULL DEFAULT '',     -- why it is not up
  say        TEXT    NOT NULL DEFAULT '',     -- the same as a sentence
  latency    REAL,                            -- ms, of the last look; NULL: it did not answer
  latency_min REAL,
  latency_max REAL
) STRICT;
CREATE INDEX host_checks_server ON host_checks (server_id, id);
