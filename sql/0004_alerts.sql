CREATE TABLE alerts (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  fingerprint  TEXT    NOT NULL,             -- kind and target: one open alert each
  kind         TEXT    NOT NULL,
  level        TEXT    NOT NULL CHECK (level IN ('INFO','WARNING','ERROR','CRITICAL')),
  state        TEXT    NOT NULL CHECK (state IN ('firing','acknowledged','resolved')),
  target_type  TEXT    NOT NULL,
  target_id    INTEGER NOT NULL,
  target_name  TEXT    NOT NULL,
  title        TEXT    NOT NULL,
  evidence     TEXT    NOT NULL,             -- JSON array of sentences
  count        INTEGER NOT NULL DEFAULT 1,
  first_at     INTEGER NOT NULL,
  last_at      INTEGER NOT NULL,
  acked_by     TEXT,
  acked_at     INTEGER,
  resolved_at  INTEGER
) STRICT;
CREATE UNIQUE INDEX alerts_open ON alerts (fingerprint) WHERE state <> 'resolved';
CREATE INDEX alerts_time ON alerts (last_at);
