-- Secrets that were given out for a while.
CREATE TABLE leases (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  secret_id  INTEGER NOT NULL REFERENCES secrets(id) ON DELETE CASCADE,
  kind       TEXT    NOT NULL CHECK (kind IN ('copy', 'account', 'key')),
  state      TEXT    NOT NULL CHECK (state IN ('making', 'active', 'ending', 'ended')),
  holder     TEXT    NOT NULL,              -- login
  via        TEXT    NOT NULL,              -- token 12, session ab12…
  version    INTEGER NOT NULL,              -- of a copy
  server_id  INTEGER,                       -- of the others
  account    TEXT    NOT NULL DEFAULT '',   -- there
  public_key TEXT    NOT NULL DEFAULT '',   -- the line that was added there
  issued_at  INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  max_at     INTEGER NOT NULL,              -- it is renewed up to here
  ended_at   INTEGER,
  tries      INTEGER NOT NULL DEFAULT 0,    -- to end it there
  next_try   INTEGER NOT NULL DEFAULT 0,
  told       INTEGER NOT NULL DEFAULT 0,    -- that it cannot be ended
  say        TEXT    NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX leases_due ON leases (expires_at) WHERE state <> 'ended';
CREATE INDEX leases_secret ON leases (secret_id, id);
CREATE INDEX leases_ended ON leases (ended_at) WHERE state = 'ended';
