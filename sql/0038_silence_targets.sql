-- A silence is about things of any kind (servers, domains, groups, and what features bring later), at most one of each kind.
-- Rows hang on no table of things: who keeps a kind removes the silences of what it deletes by a trigger, as below.
CREATE TABLE silences_new (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  -- What it is about; all that is given must fit, nothing given (nor in silence_targets) means everything.
  kind       TEXT    NOT NULL DEFAULT '',     -- of alerts
  tag        TEXT    NOT NULL DEFAULT '' COLLATE NOCASE, -- of servers
  reason     TEXT    NOT NULL,
  author     TEXT    NOT NULL,
  starts_at  INTEGER NOT NULL,
  ends_at    INTEGER NOT NULL CHECK (ends_at > starts_at),
  state      TEXT    NOT NULL CHECK (state IN ('waiting','active','over')),
  ended_at   INTEGER,                         -- when it really ended
  ended_by   TEXT,                            -- who ended it early
  created_at INTEGER NOT NULL
) STRICT;
INSERT INTO silences_new (id, kind, tag, reason, author, starts_at, ends_at, state, ended_at, ended_by, created_at)
  SELECT id, kind, tag, reason, author, starts_at, ends_at, state, ended_at, ended_by, created_at FROM silences;
DELETE FROM sqlite_sequence WHERE name = 'silences_new';
INSERT INTO sqlite_sequence (name, seq) SELECT 'silences_new', seq FROM sqlite_sequence WHERE name = 'silences';
CREATE TABLE silence_targets (
  silence_id  INTEGER NOT NULL REFERENCES silences(id) ON DELETE CASCADE,
  target_type TEXT    NOT NULL,             -- server, domain, group, …
  target_id   INTEGER NOT NULL,
  PRIMARY KEY (silence_id, target_type)
) STRICT, WITHOUT ROWID;
INSERT INTO silence_targets (silence_id, target_type, target_id)
  SELECT id, 'server', server_id FROM silences WHERE server_id IS NOT NULL
  UNION ALL SELECT id, 'domain', domain_id FROM silences WHERE domain_id IS NOT NULL
  UNION ALL SELECT id, 'group', group_id FROM silences WHERE group_id IS NOT NULL;
DROP TABLE silences;
ALTER TABLE silences_new RENAME TO silences;
CREATE INDEX silences_state ON silences (state, starts_at);
CREATE INDEX silence_targets_target ON silence_targets (target_type, target_id);
CREATE TRIGGER silences_of_server AFTER DELETE ON servers BEGIN
  DELETE FROM silences WHERE id IN
    (SELECT silence_id FROM silence_targets WHERE target_type = 'server' AND target_id = OLD.id);
END;
CREATE TRIGGER silences_of_domain AFTER DELETE ON domains BEGIN
  DELETE FROM silences WHERE id IN
    (SELECT silence_id FROM silence_targets WHERE target_type = 'domain' AND target_id = OLD.id);
END;
CREATE TRIGGER silences_of_group AFTER DELETE ON groups BEGIN
  DELETE FROM silences WHERE id IN
    (SELECT silence_id FROM silence_targets WHERE target_type = 'group' AND target_id = OLD.id);
END;
