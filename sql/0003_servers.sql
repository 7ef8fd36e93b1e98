CREATE TABLE servers (
  id                INTEGER PRIMARY KEY AUTOINCREMENT,
  name              TEXT    NOT NULL UNIQUE COLLATE NOCASE,
  host              TEXT    NOT NULL,
  ssh_port          INTEGER NOT NULL,
  username          TEXT    NOT NULL,
  auth_type         TEXT    NOT NULL CHECK (auth_type IN ('password','ssh_key')),
  password          BLOB,                    -- sealed; with auth_type ssh_key it is the sudo password
  ssh_key           BLOB,                    -- sealed
  ssh_key_passphrase BLOB,                   -- sealed
  description       TEXT    NOT NULL DEFAULT '',
  tags              TEXT    NOT NULL DEFAULT '[]',
  public_ips        TEXT    NOT NULL DEFAULT '[]',
  glances_scheme    TEXT    NOT NULL CHECK (glances_scheme IN ('http','https')),
  glances_host      TEXT    NOT NULL DEFAULT '',   -- empty: as host
  glances_port      INTEGER NOT NULL,
  glances_path      TEXT    NOT NULL,
  glances_auth_type TEXT    NOT NULL CHECK (glances_auth_type IN ('none','basic','token')),
  glances_username  TEXT    NOT NULL DEFAULT '',
  glances_password  BLOB,                    -- sealed
  glances_token     BLOB,                    -- sealed
  glances_tls_pin   TEXT    NOT NULL DEFAULT '',   -- SHA-256 of the certificate, hex; empty: system roots
  glances_profile   TEXT    NOT NULL DEFAULT 'unknown' CHECK (glances_profile IN ('unknown','protected','open')),
  poll_interval_s   INTEGER NOT NULL,
  host_key          TEXT    NOT NULL DEFAULT '',   -- what is pinned
  host_key_seen     TEXT    NOT NULL DEFAULT '',   -- what was offered when it is not (yet) pinned
  host_key_state    TEXT    NOT NULL DEFAULT 'unknown' CHECK (host_key_state IN ('unknown','pending','pinned','changed')),
  status            TEXT    NOT NULL DEFAULT 'provisioning' CHECK (status IN ('provisioning','ok','unreachable')),
  status_since      INTEGER NOT NULL,
  fail_count        INTEGER NOT NULL DEFAULT 0,
  last_error_code   TEXT,
  last_error_say    TEXT,
  glances_api       INTEGER,                 -- 3 | 4, as last seen
  glances_path_seen TEXT,                    -- the path that answered
  facts             TEXT    NOT NULL DEFAULT '{}', -- JSON, from check-ssh
  facts_at          INTEGER,
  revision          INTEGER NOT NULL DEFAULT 1,    -- grows with every change: cache keys
  poll_revision     INTEGER NOT NULL DEFAULT 1,    -- grows when Glances is to be asked in another way
  created_at        INTEGER NOT NULL,
  updated_at        INTEGER NOT NULL
) STRICT;

CREATE TABLE server_tags (
  server_id INTEGER NOT NULL REFERENCES servers(id) ON DELETE CASCADE,
  tag       TEXT    NOT NULL COLLATE NOCASE,
  PRIMARY KEY (tag, server_id)
) STRICT, WITHOUT ROWID;
