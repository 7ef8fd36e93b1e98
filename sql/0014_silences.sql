-- Times and things of which somebody wants no message.
CREATE TABLE silences (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  -- What it is about; all that is given must fit, nothing given means everything.
  kind       TEXT    NOT NULL DEFAULT '',     -- of alerts
  tag        TEXT    NOT NULL DEFAULT '' COLLATE NOCASE, -- of servers
  server_id  INTEGER REFERENCES servers(id) ON DELETE CASCADE,
  domain_id  INTEGER REFERENCES domains(id) ON DELETE CASCADE,
  group_id   INTEGER REFERENCES groups(id) ON DELETE CASCADE, -- of domains
  reason     TEXT    NOT NULL,
  author     TEXT    NOT NULL,
  starts_at  INTEGER NOT NULL,
  ends_at    INTEGER NOT NULL CHECK (ends_at > starts_at),
  state      TEXT    NOT NULL CHECK (state IN ('waiting','active','over')),
  ended_at   INTEGER,                         -- when it really ended
  ended_by   TEXT,                            -- who ended it early
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX silences_state ON silences (state, starts_at);

ALTER TABLE alerts ADD COLUMN variant TEXT NOT NULL DEFAULT '';       -- finds other words for the same kind
ALTER TABLE alerts ADD COLUMN quiet TEXT NOT NULL DEFAULT '' CHECK (quiet IN ('','muted','silenced','flapping'));
ALTER TABLE alerts ADD COLUMN quiet_by INTEGER NOT NULL DEFAULT 0;    -- muted: by which alert; silenced: by which silence
ALTER TABLE alerts ADD COLUMN quiet_until INTEGER;
ALTER TABLE alerts ADD COLUMN told TEXT NOT NULL DEFAULT '';          -- the level that was told last; empty: nothing was
ALTER TABLE alerts ADD COLUMN flaps INTEGER NOT NULL DEFAULT 0;       -- how often it had begun when it was taken to flap
ALTER TABLE alerts ADD COLUMN good_since INTEGER;                     -- it flaps, and is good at the moment
ALTER TABLE alerts ADD COLUMN changed_at INTEGER NOT NULL DEFAULT 0;  -- last to bad or good
ALTER TABLE alerts ADD COLUMN for_good INTEGER NOT NULL DEFAULT 0;    -- ended by what a person did: no coming and going
UPDATE alerts SET told = level, changed_at = first_at;
CREATE INDEX alerts_fingerprint ON alerts (fingerprint, first_at);
CREATE INDEX alerts_about ON alerts (target_type, target_id) WHERE state <> 'resolved';
CREATE INDEX alerts_quiet ON alerts (quiet) WHERE state <> 'resolved' AND quiet <> '';
