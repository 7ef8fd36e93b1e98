CREATE TABLE groups (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  kind       TEXT    NOT NULL DEFAULT 'domain' CHECK (kind IN ('domain','host')),
  name       TEXT    NOT NULL COLLATE NOCASE,
  notes      TEXT    NOT NULL DEFAULT '',
  revision   INTEGER NOT NULL DEFAULT 1,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  UNIQUE (kind, name)
) STRICT;
