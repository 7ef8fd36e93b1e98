-- What was said by whoever is listened to: a container, a service. Lines are numbered in the order in which they came.
CREATE TABLE sources (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  kind    TEXT    NOT NULL,                 -- of the subject, as in series
  subject INTEGER NOT NULL,
  mark    TEXT    NOT NULL DEFAULT '',      -- where its reader goes on, in the reader's own words
  last_at INTEGER NOT NULL DEFAULT 0,       -- of its newest line, unix ns
  UNIQUE (kind, subject)
) STRICT;

-- Lines as they came, until there are enough of a source for a chunk. `data` as in chunks.
CREATE TABLE fresh (
  first   INTEGER PRIMARY KEY,              -- number of its first line
  source  INTEGER NOT NULL,
  last    INTEGER NOT NULL,                 -- number of its last line
  count   INTEGER NOT NULL,
  from_at INTEGER NOT NULL,                 -- of its first line, unix ns
  to_at   INTEGER NOT NULL,                 -- of its last line
  bytes   INTEGER NOT NULL,
  data    BLOB    NOT NULL
) STRICT;

CREATE TABLE chunks (
  first   INTEGER PRIMARY KEY,
  source  INTEGER NOT NULL,
  last    INTEGER NOT NULL,
  count   INTEGER NOT NULL,
  from_at INTEGER NOT NULL,
  to_at   INTEGER NOT NULL,
  bytes   INTEGER NOT NULL,                 -- of words and data
  words   BLOB    NOT NULL,                 -- which three bytes in a row stand somewhere in it
  data    BLOB    NOT NULL
) STRICT;
CREATE INDEX chunks_source ON chunks (source, last, count, from_at, to_at, bytes);
CREATE INDEX chunks_age ON chunks (to_at);
