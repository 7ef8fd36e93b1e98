-- What each container used last.
CREATE TABLE container_latest (
  container    INTEGER PRIMARY KEY,
  at_ms        INTEGER NOT NULL,
  cpu          REAL,                -- percent of one processor
  memory       REAL,                -- percent of what it may use
  memory_used  INTEGER,             -- bytes
  memory_limit INTEGER,
  pids         INTEGER
) STRICT;
