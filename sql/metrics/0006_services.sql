-- The figures that were seen of each service last.
CREATE TABLE service_latest (
  service INTEGER PRIMARY KEY,
  at_ms   INTEGER NOT NULL,
  figures TEXT    NOT NULL            -- JSON
) STRICT;
