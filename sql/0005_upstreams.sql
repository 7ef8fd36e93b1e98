CREATE TABLE upstreams (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  name       TEXT    NOT NULL UNIQUE COLLATE NOCASE,
  notes      TEXT    NOT NULL DEFAULT '',
  revision   INTEGER NOT NULL DEFAULT 1,      -- grows with every change
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE upstream_targets (
  upstream_id INTEGER NOT NULL REFERENCES upstreams(id) ON DELETE CASCADE,
  position    INTEGER NOT NULL,
  host        TEXT    NOT NULL,               -- address or DNS name, IPv6 without brackets
  port        INTEGER NOT NULL,
  weight      INTEGER,                        -- NULL: not said, nginx takes 1
  PRIMARY KEY (upstream_id, position)
) STRICT, WITHOUT ROWID;
