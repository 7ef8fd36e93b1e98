CREATE TABLE domains (
  id             INTEGER PRIMARY KEY AUTOINCREMENT,
  domain         TEXT    NOT NULL UNIQUE,     -- A-labels, lower case, no final dot
  upstream_id    INTEGER REFERENCES upstreams(id),
  group_id       INTEGER REFERENCES groups(id) ON DELETE SET NULL,
  ssl            INTEGER NOT NULL DEFAULT 0,
  hsts           INTEGER NOT NULL DEFAULT 0,
  certificate_id INTEGER REFERENCES certificates(id),  -- NULL: from the ACME server
  ns_policy      TEXT    NOT NULL DEFAULT '',
  preflight      TEXT    NOT NULL DEFAULT 'strict' CHECK (preflight IN ('strict','warn','off')),
  notes          TEXT    NOT NULL DEFAULT '',
  ns_state       TEXT    NOT NULL DEFAULT 'unknown' CHECK (ns_state IN ('unknown','ok','mismatch','error')),
  ns_say         TEXT    NOT NULL DEFAULT '', -- one sentence, pushed by nswatch
  ns_at          INTEGER,
  cert_state     TEXT    NOT NULL DEFAULT 'unknown' CHECK (cert_state IN ('unknown','ok','soon','urgent','bad')),
  cert_say       TEXT    NOT NULL DEFAULT '', -- one sentence, pushed by certwatch
  cert_not_after INTEGER,                     -- the earliest end of those that are served, unix ms
  removing       INTEGER NOT NULL DEFAULT 0,  -- 1: deleted by a person, its sites are being taken off the servers
  revision       INTEGER NOT NULL DEFAULT 1,
  created_at     INTEGER NOT NULL,
  updated_at     INTEGER NOT NULL
) STRICT;
CREATE INDEX domains_upstream ON domains (upstream_id);
CREATE INDEX domains_group ON domains (group_id);
CREATE INDEX domains_certificate ON domains (certificate_id);

-- A domain on a server: what is wanted there, and what we last put there.
CREATE TABLE domain_sites (
  domain_id   INTEGER NOT NULL REFERENCES domains(id) ON DELETE CASCADE,
  server_id   INTEGER NOT NULL REFERENCES servers(id),
  position    INTEGER NOT NULL,               -- the first wanted one is the canary
  wanted      INTEGER NOT NULL DEFAULT 1,     -- 0: to be taken off at the next deploy
  state       TEXT    NOT NULL DEFAULT 'none' CHECK (state IN ('none','live','failed','drifted')),
  name        TEXT    NOT NULL DEFAULT '',    -- the domain its file there is named after; empty: there is none
  generation  INTEGER NOT NULL DEFAULT 0,     -- grows with every text that is put there
  text        TEXT    NOT NULL DEFAULT '',    -- the file as it should be there: put by us, or adopted
  nginx       TEXT    NOT NULL DEFAULT '',    -- JSON: what the nginx there understands, as last seen
  adopted     INTEGER NOT NULL DEFAULT 0,     -- 1: a person accepted a text that is not ours
  seen        TEXT,                           -- the file as it was found, when it is another
  code        TEXT,                           -- of the last failure
  say         TEXT,
  deployed_at INTEGER,
  looked_at   INTEGER,
  PRIMARY KEY (domain_id, server_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX domain_sites_server ON domain_sites (server_id);
