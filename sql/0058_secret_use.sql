-- Who may use a secret, and how another value comes to it.
ALTER TABLE secrets ADD COLUMN scope TEXT NOT NULL DEFAULT '[]';      -- JSON list: servers, server:5, endpoints, exporter, …
ALTER TABLE secrets ADD COLUMN lessees TEXT NOT NULL DEFAULT '[]';    -- JSON list: role:automation, user:anna, token:12
ALTER TABLE secrets ADD COLUMN plan TEXT NOT NULL DEFAULT 'remind' CHECK (plan IN ('remind', 'rotate', 'apply'));
ALTER TABLE secrets ADD COLUMN hours TEXT NOT NULL DEFAULT '';        -- 02:00-04:00, by the house's clocks; empty: any time
ALTER TABLE secrets ADD COLUMN next_try INTEGER NOT NULL DEFAULT 0;   -- not by itself before this
ALTER TABLE secrets ADD COLUMN lease_kind TEXT NOT NULL DEFAULT 'copy' CHECK (lease_kind IN ('copy', 'account', 'key'));
ALTER TABLE secrets ADD COLUMN lease_max_s INTEGER NOT NULL DEFAULT 86400;
ALTER TABLE secrets ADD COLUMN lease_servers TEXT NOT NULL DEFAULT '[]';  -- JSON list of numbers
ALTER TABLE secrets ADD COLUMN lease_account TEXT NOT NULL DEFAULT '';    -- key: the account that lets it in; account: its groups
ALTER TABLE secrets ADD COLUMN lease_rotates INTEGER NOT NULL DEFAULT 0;  -- another value when a lease of a copy ends

-- Another value on its way to the hosts: both are kept until it is known everywhere which one is good.
CREATE TABLE secret_rotations (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  secret_id  INTEGER NOT NULL REFERENCES secrets(id) ON DELETE CASCADE,
  state      TEXT    NOT NULL CHECK (state IN ('open', 'done', 'dropped')),
  value      BLOB,                          -- sealed
  passphrase BLOB,                          -- sealed
  public_key TEXT    NOT NULL DEFAULT '',
  origin     TEXT    NOT NULL,
  made_by    TEXT    NOT NULL,
  made_at    INTEGER NOT NULL,
  ended_at   INTEGER
) STRICT;
CREATE UNIQUE INDEX secret_rotations_open ON secret_rotations (secret_id) WHERE state = 'open';
CREATE INDEX secret_rotations_secret ON secret_rotations (secret_id, id);

CREATE TABLE secret_rotation_hosts (
  rotation_id INTEGER NOT NULL REFERENCES secret_rotations(id) ON DELETE CASCADE,
  place       INTEGER NOT NULL,             -- 0 is the first one, alone
  server_id   INTEGER NOT NULL,
  server_name TEXT    NOT NULL,
  account     TEXT    NOT NULL,
  step        TEXT    NOT NULL CHECK (step IN ('waiting', 'setting', 'proved', 'done', 'failed')),
  good        TEXT    NOT NULL CHECK (good IN ('old', 'new', 'unknown')),
  code        TEXT    NOT NULL DEFAULT '',
  say         TEXT    NOT NULL DEFAULT '',
  next_try    INTEGER NOT NULL DEFAULT 0,
  at          INTEGER NOT NULL,
  PRIMARY KEY (rotation_id, server_id, account)
) STRICT, WITHOUT ROWID;
CREATE INDEX secret_rotation_hosts_server ON secret_rotation_hosts (server_id) WHERE good = 'new';
