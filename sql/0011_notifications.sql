-- Whom to tell, what waits to be told, and what has been.
CREATE TABLE notification_endpoints (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  type          TEXT    NOT NULL,             -- telegram | webhook | slack | email
  name          TEXT    NOT NULL UNIQUE COLLATE NOCASE,
  enabled       INTEGER NOT NULL,
  lang          TEXT    NOT NULL,
  min_level     TEXT    NOT NULL,
  events        TEXT    NOT NULL,             -- JSON array of patterns; empty: every alert
  tags          TEXT    NOT NULL,             -- JSON array; empty: whatever it is about
  config        TEXT    NOT NULL,             -- JSON object by type, no secrets
  token         BLOB,                         -- sealed
  url           BLOB,                         -- sealed
  secret        BLOB,                         -- sealed
  password      BLOB,                         -- sealed
  blocked_until INTEGER NOT NULL DEFAULT 0,   -- the receiver has asked us to wait
  failing       INTEGER NOT NULL DEFAULT 0,   -- the last message died
  revision      INTEGER NOT NULL DEFAULT 1,
  created_at    INTEGER NOT NULL,
  updated_at    INTEGER NOT NULL
) STRICT;

-- The endpoint that the environment has asked for: `env` follows it, `ui` means a person has changed or removed it.
CREATE TABLE notification_seed (
  one         INTEGER PRIMARY KEY CHECK (one = 1),
  state       TEXT    NOT NULL CHECK (state IN ('env','ui')),
  endpoint_id INTEGER NOT NULL
) STRICT;

-- One row a message and receiver. `key` stays the same from attempt to attempt.
CREATE TABLE notification_queue (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  endpoint_id INTEGER NOT NULL REFERENCES notification_endpoints(id) ON DELETE CASCADE,
  recipient   TEXT    NOT NULL,               -- chat or address; empty where the endpoint has only one
  event_id    INTEGER NOT NULL,               -- 0: a test
  fingerprint TEXT    NOT NULL,               -- kind and target
  key         TEXT    NOT NULL,
  what        TEXT    NOT NULL CHECK (what IN ('raised','resolved','event','test')),
  kind        TEXT    NOT NULL,
  level       TEXT    NOT NULL,
  facts       TEXT    NOT NULL,               -- JSON object: what happened, without words
  status      TEXT    NOT NULL CHECK (status IN ('queued','sending','sent','dead','held')),
  attempts    INTEGER NOT NULL DEFAULT 0,
  created_at  INTEGER NOT NULL,
  since       INTEGER NOT NULL,               -- its age counts from here: sending again begins anew
  next_at     INTEGER NOT NULL,
  ended_at    INTEGER,
  answer      TEXT    NOT NULL DEFAULT ''     -- the receiver's last words, or why there are none
) STRICT;
CREATE UNIQUE INDEX notification_queue_once ON notification_queue (endpoint_id, recipient, event_id) WHERE event_id > 0;
CREATE INDEX notification_queue_due ON notification_queue (next_at) WHERE status IN ('queued','sending');
CREATE INDEX notification_queue_endpoint ON notification_queue (endpoint_id, id);

-- When an endpoint was last told of something, so that the same is not told again and again.
CREATE TABLE notification_told (
  endpoint_id INTEGER NOT NULL REFERENCES notification_endpoints(id) ON DELETE CASCADE,
  fingerprint TEXT    NOT NULL,
  alert_id    INTEGER NOT NULL,               -- the alert it was told of
  at          INTEGER NOT NULL,
  held        INTEGER NOT NULL DEFAULT 0,     -- how many were held back since
  PRIMARY KEY (endpoint_id, fingerprint)
) STRICT, WITHOUT ROWID;
