-- The secret of the engine that values are pushed to and long charts are read from. It was the exporter's.
CREATE TABLE engine (
  one        INTEGER PRIMARY KEY CHECK (one = 1),
  secret     BLOB    NOT NULL,              -- sealed
  changed_at INTEGER NOT NULL,
  changed_by TEXT    NOT NULL
) STRICT;
INSERT INTO engine SELECT 1, value, changed_at, changed_by FROM exporter WHERE name = 'push';
DELETE FROM exporter WHERE name = 'push';
