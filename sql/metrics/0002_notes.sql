-- Numbers and short texts to be found again after a restart: since when the controller is offline, how far samples have been
-- pushed, how the poller is doing.
CREATE TABLE note (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
