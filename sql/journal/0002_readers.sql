-- Who takes lines away as they are stored, and how far it has come.
CREATE TABLE readers (
  name    TEXT    PRIMARY KEY,
  place   TEXT    NOT NULL,                 -- where it takes them: another place begins anew
  last    INTEGER NOT NULL,                 -- number of the last line that it has taken
  taken   INTEGER NOT NULL DEFAULT 0,       -- lines
  missed  INTEGER NOT NULL DEFAULT 0,       -- lines that were no longer kept when it came to them
  fault   TEXT    NOT NULL DEFAULT '',      -- why it takes none now
  since   INTEGER NOT NULL DEFAULT 0,       -- since when, unix ms
  told    INTEGER NOT NULL DEFAULT 0        -- 1: that was an event
) STRICT, WITHOUT ROWID;
CREATE INDEX chunks_last ON chunks (last, first);
