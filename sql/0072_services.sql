-- What is looked after: units, programs, addresses. What people say of them is here, how they are in `service_states`.
CREATE TABLE services (
  id             INTEGER PRIMARY KEY AUTOINCREMENT,
  name           TEXT    NOT NULL UNIQUE COLLATE NOCASE,
  kind           TEXT    NOT NULL,
  server_id      INTEGER REFERENCES servers(id) ON DELETE CASCADE, -- NULL: looked at from here
  enabled        INTEGER NOT NULL DEFAULT 1,
  tags           TEXT    NOT NULL DEFAULT '[]',
  notes          TEXT    NOT NULL DEFAULT '',
  config         TEXT    NOT NULL DEFAULT '{}',      -- JSON object, as its kind needs it
  password       BLOB,                               -- sealed
  token          BLOB,                               -- sealed; of a heartbeat
  token_hash     BLOB    UNIQUE,                     -- SHA-256 of the token, by which a call is known
  private        INTEGER NOT NULL DEFAULT 0,         -- an administrator let it go to private addresses
  interval_s     INTEGER NOT NULL DEFAULT 30,
  up_after       INTEGER NOT NULL DEFAULT 1,         -- good looks until it is up
  down_after     INTEGER NOT NULL DEFAULT 2,         -- bad looks until it is down
  restart_policy TEXT    NOT NULL DEFAULT 'never' CHECK (restart_policy IN ('always', 'on-failure', 'never')),
  max_restarts   INTEGER NOT NULL DEFAULT 5,
  window_s       INTEGER NOT NULL DEFAULT 300,
  delay_s        INTEGER NOT NULL DEFAULT 1,
  after          TEXT    NOT NULL DEFAULT '[]',      -- JSON: ids of those that must be healthy first
  revision       INTEGER NOT NULL DEFAULT 1,
  created_at     INTEGER NOT NULL,
  updated_at     INTEGER NOT NULL
) STRICT;
CREATE INDEX services_server ON services (server_id);

CREATE TABLE service_states (
  service_id    INTEGER PRIMARY KEY REFERENCES services(id) ON DELETE CASCADE,
  state         TEXT    NOT NULL DEFAULT 'unknown',  -- running, stopped, starting, backoff, failed; of what only looks: unknown
  health        TEXT    NOT NULL DEFAULT 'unknown' CHECK (health IN ('healthy', 'degraded', 'unhealthy', 'unknown')),
  code          TEXT    NOT NULL DEFAULT '',         -- why
  say           TEXT    NOT NULL DEFAULT '',         -- the same as a sentence
  since         INTEGER NOT NULL,                    -- of this health
  checked_at    INTEGER,
  goods         INTEGER NOT NULL DEFAULT 0,          -- good looks in a row
  bads          INTEGER NOT NULL DEFAULT 0,
  wanted        TEXT    NOT NULL DEFAULT '' CHECK (wanted IN ('', 'running', 'stopped')), -- what a person said last
  life          TEXT    NOT NULL DEFAULT '',         -- which start of it was seen last
  restarts      INTEGER NOT NULL DEFAULT 0,          -- without a person's act, systemd's and ours
  restarts_at   TEXT    NOT NULL DEFAULT '[]',       -- JSON: unix ms of ours that count
  next_at       INTEGER,                             -- not restarted again before
  healthy_since INTEGER,
  troubles      TEXT    NOT NULL DEFAULT '[]',       -- JSON: what is an alert about it
  ended         TEXT    NOT NULL DEFAULT '',         -- JSON: why it stopped last
  called_at     INTEGER,                             -- of a heartbeat: its last call
  call          TEXT    NOT NULL DEFAULT ''          -- JSON: exit code and output of that call
) STRICT;
