-- The secret of who takes lines of logs away, and where alone it may be shown.
CREATE TABLE forward_secret (
  one        INTEGER PRIMARY KEY CHECK (one = 1),
  place      TEXT    NOT NULL,              -- scheme, host and port
  secret     BLOB    NOT NULL,              -- sealed
  changed_at INTEGER NOT NULL,
  changed_by TEXT    NOT NULL
) STRICT;
