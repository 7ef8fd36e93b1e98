-- Backups that were made, or that failed. The files lie where `path` says.
CREATE TABLE backups (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  began_at        INTEGER NOT NULL,
  ended_at        INTEGER,                       -- NULL: it is being made
  path            TEXT    NOT NULL,
  size            INTEGER NOT NULL DEFAULT 0,    -- bytes
  encryption      TEXT    NOT NULL,              -- none | recipient | passphrase
  error           TEXT    NOT NULL DEFAULT '',   -- empty: it was made
  rehearsed_at    INTEGER,
  rehearsal_error TEXT    NOT NULL DEFAULT ''
) STRICT;
