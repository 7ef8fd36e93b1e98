-- Rules of alerts: the changed ones of those that come with the program (their numbers are below 1000) and people's own.
-- A built-in rule without a row is as it came.
CREATE TABLE alert_rules (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  name       TEXT    NOT NULL DEFAULT '' COLLATE NOCASE,  -- empty: a built-in one
  watches    TEXT    NOT NULL,               -- an event, or a series of the polls
  enabled    INTEGER NOT NULL CHECK (enabled IN (0,1)),
  level      TEXT    NOT NULL CHECK (level IN ('INFO','WARNING','ERROR','CRITICAL')),
  tags       TEXT    NOT NULL DEFAULT '[]',  -- only servers with one of these
  groups     TEXT    NOT NULL DEFAULT '[]',  -- only domains in one of these (numbers)
  mount      TEXT    NOT NULL DEFAULT '',    -- empty: any
  below      INTEGER NOT NULL DEFAULT 0 CHECK (below IN (0,1)),
  threshold  REAL    NOT NULL DEFAULT 0,
  clear      REAL    NOT NULL DEFAULT 0,
  for_s      INTEGER NOT NULL DEFAULT 0,
  revision   INTEGER NOT NULL DEFAULT 1,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX alert_rules_name ON alert_rules (name) WHERE name <> '';
INSERT INTO sqlite_sequence (name, seq) VALUES ('alert_rules', 999);

-- What is beyond its limit now, so that a restart neither tells it again nor forgets to tell its end.
CREATE TABLE alert_rule_firing (
  rule_id    INTEGER NOT NULL,
  server_id  INTEGER NOT NULL REFERENCES servers(id) ON DELETE CASCADE,
  part       TEXT    NOT NULL,               -- a mount point, or empty
  revision   INTEGER NOT NULL,               -- of the rule that fired
  PRIMARY KEY (rule_id, server_id, part)
) STRICT, WITHOUT ROWID;
CREATE INDEX alert_rule_firing_server ON alert_rule_firing (server_id);

-- Which rule an alert is from and which part of its target it is about; empty: there is only one alert of its kind.
ALTER TABLE alerts ADD COLUMN part TEXT NOT NULL DEFAULT '';
