-- What everybody is told on every page, and whether anything may be changed meanwhile. One row.
CREATE TABLE site_notice (
  id              INTEGER PRIMARY KEY CHECK (id = 1),
  maintenance     INTEGER NOT NULL DEFAULT 0,   -- 1: changes and runs are refused
  message         TEXT    NOT NULL DEFAULT '',  -- why
  pause_schedules INTEGER NOT NULL DEFAULT 0,   -- 1: schedules put nothing in meanwhile
  banner          TEXT    NOT NULL DEFAULT '',  -- empty: none
  level           TEXT    NOT NULL DEFAULT 'info' CHECK (level IN ('info', 'warning', 'critical')),
  banner_until    INTEGER                       -- NULL: until somebody takes it away
) STRICT;
INSERT INTO site_notice (id) VALUES (1);
