-- One row a series: what is measured of which server. The number is part of every chunk's key.
CREATE TABLE series (
  id     INTEGER PRIMARY KEY,
  server INTEGER NOT NULL,
  key    TEXT    NOT NULL,          -- cpu, load1, disk:/srv …
  UNIQUE (server, key)
) STRICT;

-- Polls that are not yet in chunks: one row a poll, all its values in one blob (chunk.rs, `row`).
CREATE TABLE hot (
  id   INTEGER PRIMARY KEY,         -- server << 32 | unix seconds
  data BLOB NOT NULL
) STRICT;

-- Series in columns (chunk.rs). A rowid table: with an index b-tree blobs of this size would take whole pages.
CREATE TABLE chunk (
  id   INTEGER PRIMARY KEY,         -- tier << 60 | series << 32 | unix seconds of the span's beginning
  data BLOB NOT NULL
) STRICT;

-- The last poll of each server, pushed to the servers' lists and ready for lists: JSON as the API gives it, and two bytes (CPU, memory) for each of the
-- last 60 polls. The disks come last: a list does not read them.
CREATE TABLE server_latest (
  server  INTEGER PRIMARY KEY,
  at_ms   INTEGER NOT NULL,
  took_ms INTEGER NOT NULL,
  sample  TEXT    NOT NULL,
  spark   BLOB    NOT NULL,
  disks   TEXT    NOT NULL
) STRICT;
