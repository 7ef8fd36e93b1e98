-- lamplighter.db

CREATE TABLE action_file_parts (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  task_id INTEGER NOT NULL REFERENCES tasks(id) ON DELETE CASCADE,
  number  INTEGER NOT NULL,                 -- 0, 1, …
  content BLOB    NOT NULL DEFAULT x'',     -- sealed
  UNIQUE (task_id, number)
) STRICT;

CREATE TABLE action_results (
  task_id   INTEGER PRIMARY KEY REFERENCES tasks(id) ON DELETE CASCADE,
  server_id INTEGER NOT NULL REFERENCES servers(id) ON DELETE CASCADE,
  kind      TEXT    NOT NULL CHECK (kind IN ('logs', 'updates')),
  name      TEXT    NOT NULL,               -- what it is called when it is downloaded
  content   TEXT    NOT NULL,               -- secrets masked; of updates JSON
  cut       INTEGER NOT NULL DEFAULT 0,     -- it was longer than may be kept
  at        INTEGER NOT NULL
) STRICT;

CREATE INDEX action_results_server ON action_results (server_id, kind, at);

CREATE TABLE action_silences (
  task_id    INTEGER PRIMARY KEY REFERENCES tasks(id) ON DELETE CASCADE,
  silence_id INTEGER NOT NULL REFERENCES silences(id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX action_silences_silence ON action_silences (silence_id);

CREATE TABLE "alert_rule_firing" (
  rule_id      INTEGER NOT NULL,
  subject_kind TEXT    NOT NULL,               -- server, container …
  subject_id   INTEGER NOT NULL,
  part         TEXT    NOT NULL,               -- a mount point …; empty: it is about the subject
  revision     INTEGER NOT NULL,               -- of the rule that fired
  PRIMARY KEY (rule_id, subject_kind, subject_id, part)
) STRICT, WITHOUT ROWID;

CREATE INDEX alert_rule_firing_subject ON alert_rule_firing (subject_kind, subject_id);

CREATE TABLE "alert_rule_waiting" (
  rule_id      INTEGER NOT NULL,
  subject_kind TEXT    NOT NULL,
  subject_id   INTEGER NOT NULL,
  part         TEXT    NOT NULL,               -- as in alert_rule_firing
  revision     INTEGER NOT NULL,
  held_ms      INTEGER NOT NULL,               -- so long when it was last observed, by the monotonic clock
  seen_at      INTEGER NOT NULL,               -- when that was, unix ms
  readings     TEXT    NOT NULL,               -- JSON: the values with their times, for the evidence
  PRIMARY KEY (rule_id, subject_kind, subject_id, part)
) STRICT, WITHOUT ROWID;

CREATE TABLE alert_rules (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  name       TEXT    NOT NULL DEFAULT '' COLLATE NOCASE,  -- empty: a built-in one
  watches    TEXT    NOT NULL,               -- an event, or a series of the polls
  enabled    INTEGER NOT NULL CHECK (enabled IN (0,1)),
  level      TEXT    NOT NULL CHECK (level IN ('INFO','WARNING','ERROR','CRITICAL')),
  mount      TEXT    NOT NULL DEFAULT '',    -- empty: any
  below      INTEGER NOT NULL DEFAULT 0 CHECK (below IN (0,1)),
  threshold  REAL    NOT NULL DEFAULT 0,
  clear      REAL    NOT NULL DEFAULT 0,
  for_s      INTEGER NOT NULL DEFAULT 0,
  revision   INTEGER NOT NULL DEFAULT 1,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
, containers TEXT NOT NULL DEFAULT '', words TEXT NOT NULL DEFAULT '', scope TEXT NOT NULL DEFAULT '') STRICT;

CREATE UNIQUE INDEX alert_rules_name ON alert_rules (name) WHERE name <> '';

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
, part TEXT NOT NULL DEFAULT '', variant TEXT NOT NULL DEFAULT '', quiet TEXT NOT NULL DEFAULT '' CHECK (quiet IN ('','muted','silenced','flapping')), quiet_by INTEGER NOT NULL DEFAULT 0, quiet_until INTEGER, notified_level TEXT NOT NULL DEFAULT '', flaps INTEGER NOT NULL DEFAULT 0, good_since INTEGER, changed_at INTEGER NOT NULL DEFAULT 0, for_good INTEGER NOT NULL DEFAULT 0) STRICT;

CREATE INDEX alerts_about ON alerts (target_type, target_id) WHERE state <> 'resolved';

CREATE INDEX alerts_fingerprint ON alerts (fingerprint, first_at);

CREATE UNIQUE INDEX alerts_open ON alerts (fingerprint) WHERE state <> 'resolved';

CREATE INDEX alerts_quiet ON alerts (quiet) WHERE state <> 'resolved' AND quiet <> '';

CREATE INDEX alerts_time ON alerts (last_at);

CREATE TABLE api_tokens (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  user_id    INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  name       TEXT    NOT NULL COLLATE NOCASE,
  hash       BLOB    NOT NULL,
  role       TEXT    NOT NULL,               -- its rights are this role's; empty: those of `scopes`
  scopes     TEXT    NOT NULL,               -- JSON array of noun:verb[@group:3|@server:5]
  cidrs      TEXT    NOT NULL,               -- JSON array of the addresses it is taken from; empty: any
  created_at INTEGER NOT NULL,
  expires_at INTEGER,                        -- NULL: never
  used_at    INTEGER,                        -- to a few minutes
  used_ip    TEXT    NOT NULL DEFAULT '',    -- from where, then
  UNIQUE (user_id, name)
) STRICT;

CREATE TRIGGER audit_grows_at_its_end BEFORE INSERT ON audit
  WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM audit)
  BEGIN SELECT RAISE(ABORT, 'audit rows come at the end'); END;

CREATE TRIGGER audit_is_append_only BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit rows do not change'); END;

CREATE TRIGGER audit_keeps_its_rows BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit rows are not removed'); END;

CREATE TABLE audit (
  seq         INTEGER PRIMARY KEY,
  at          INTEGER NOT NULL,
  actor       TEXT    NOT NULL,
  ip          TEXT    NOT NULL,
  action      TEXT    NOT NULL,
  object      TEXT    NOT NULL,
  detail      TEXT    NOT NULL,             -- JSON object, secrets masked
  request_id  TEXT    NOT NULL,
  mac         BLOB    NOT NULL
, client_request_id TEXT NOT NULL DEFAULT '', via TEXT NOT NULL DEFAULT '', before TEXT NOT NULL DEFAULT '', after TEXT NOT NULL DEFAULT '', object_kind TEXT NOT NULL GENERATED ALWAYS AS (substr(object, 1, instr(object || ' ', ' ') - 1)) VIRTUAL, object_ref TEXT NOT NULL GENERATED ALWAYS AS (
  substr(object, 1, instr(object || ' ', ' ') + instr(substr(object, instr(object || ' ', ' ') + 1) || ' ', ' ') - 1)
) VIRTUAL) STRICT;

CREATE INDEX audit_action ON audit (action, at, object_kind, ip);

CREATE INDEX audit_actor ON audit (actor, at, object_kind, ip);

CREATE INDEX audit_actor_action ON audit (actor, action, at, object_kind, ip);

CREATE INDEX audit_at ON audit (at);

CREATE INDEX audit_ip ON audit (ip, at);

CREATE INDEX audit_object_kind ON audit (object_kind, at);

CREATE INDEX audit_object_ref ON audit (object_ref, at);

CREATE TABLE availability (
  kind    TEXT    NOT NULL CHECK (kind IN ('server', 'domain', 'service')),
  subject INTEGER NOT NULL,
  since   INTEGER NOT NULL,
  until   INTEGER,                        -- NULL: it is so now
  state   TEXT    NOT NULL CHECK (state IN ('up', 'down', 'unknown')),
  cause   TEXT    NOT NULL DEFAULT '',    -- one sentence
  PRIMARY KEY (kind, subject, since)
) STRICT, WITHOUT ROWID;

CREATE TABLE availability_off (
  since INTEGER PRIMARY KEY,
  until INTEGER NOT NULL
) STRICT;

CREATE TABLE availability_report (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  at INTEGER NOT NULL
) STRICT;

CREATE TABLE backups (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  began_at        INTEGER NOT NULL,
  ended_at        INTEGER,                       -- NULL: it is being made
  path            TEXT    NOT NULL,
  size            INTEGER NOT NULL DEFAULT 0,    -- bytes
  encryption      TEXT    NOT NULL,              -- none | recipient | passphrase
  error           TEXT    NOT NULL DEFAULT '',   -- empty: it was made
  rehearsed_at    INTEGER,
  rehearsal_error TEXT    NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE certificates (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  name       TEXT    NOT NULL UNIQUE COLLATE NOCASE,
  chain      TEXT    NOT NULL,                -- PEM, the leaf first
  key        BLOB,                            -- sealed PEM; NULL only inside the transaction that makes the row
  names      TEXT    NOT NULL,                -- JSON array of DNS names and addresses
  issuer     TEXT    NOT NULL,
  not_before INTEGER NOT NULL,                -- unix ms
  not_after  INTEGER NOT NULL,
  sha256     TEXT    NOT NULL,                -- of the leaf's DER form, hex
  revision   INTEGER NOT NULL DEFAULT 1,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE certwatch_served (
  domain_id  INTEGER NOT NULL,
  server_id  INTEGER NOT NULL,
  looked_at  INTEGER NOT NULL,
  code       TEXT    NOT NULL DEFAULT '',     -- empty: good; else unreachable, wrong_name, untrusted, expired, …
  say        TEXT    NOT NULL DEFAULT '',
  misses     INTEGER NOT NULL DEFAULT 0,      -- looks in a row that were not good
  private    INTEGER NOT NULL DEFAULT 0,      -- 1: signed by an authority that this machine does not know
  -- What follows is of the certificate last seen, also while nothing answers.
  names      TEXT    NOT NULL DEFAULT '[]',   -- JSON array
  issuer     TEXT    NOT NULL DEFAULT '',
  serial     TEXT    NOT NULL DEFAULT '',
  key_type   TEXT    NOT NULL DEFAULT '',
  sha256     TEXT    NOT NULL DEFAULT '',     -- hex; empty: none was ever shown
  not_before INTEGER,
  not_after  INTEGER, good_until INTEGER, ends_by TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (domain_id, server_id),
  FOREIGN KEY (domain_id, server_id) REFERENCES domain_sites(domain_id, server_id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE confirmations (
  family   TEXT    PRIMARY KEY,
  user_id  INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX confirmations_user ON confirmations (user_id);

CREATE TABLE container_engines (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  server_id  INTEGER REFERENCES servers(id) ON DELETE CASCADE, -- NULL: the machine that Lamplighter runs on
  engine     TEXT    NOT NULL DEFAULT '',          -- docker, podman; empty: not known yet
  version    TEXT    NOT NULL DEFAULT '',
  socket     TEXT    NOT NULL DEFAULT '',
  state      TEXT    NOT NULL,                     -- waiting answers silent
  code       TEXT    NOT NULL DEFAULT '',          -- why it does not answer
  say        TEXT    NOT NULL DEFAULT '',
  since      INTEGER NOT NULL,
  told       INTEGER NOT NULL DEFAULT 0            -- 1: its silence was an event
) STRICT;

CREATE UNIQUE INDEX container_engines_server ON container_engines (coalesce(server_id, 0));

CREATE TRIGGER containers_take_their_rules_along AFTER DELETE ON containers BEGIN
  DELETE FROM alert_rule_firing WHERE subject_kind = 'container' AND subject_id = OLD.id;
  DELETE FROM alert_rule_waiting WHERE subject_kind = 'container' AND subject_id = OLD.id;
END;

CREATE TRIGGER silences_of_container AFTER DELETE ON containers BEGIN
  DELETE FROM silences WHERE id IN
    (SELECT silence_id FROM silence_targets WHERE target_type = 'container' AND target_id = OLD.id);
END;

CREATE TABLE containers (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  server_id  INTEGER REFERENCES servers(id) ON DELETE CASCADE, -- NULL: the machine that Lamplighter runs on
  name       TEXT    NOT NULL,
  life       TEXT    NOT NULL,                     -- the engine's id of it, 64 hex digits
  image      TEXT    NOT NULL,
  project    TEXT    NOT NULL DEFAULT '',          -- compose project and service, from its labels
  service    TEXT    NOT NULL DEFAULT '',
  state      TEXT    NOT NULL,                     -- created running paused restarting removing exited dead; gone: removed
  health     TEXT    NOT NULL DEFAULT '',          -- starting healthy unhealthy; empty: it has no check
  exit_code  INTEGER,
  oom        INTEGER NOT NULL DEFAULT 0,           -- 1: its last end was for want of memory
  restarts   INTEGER NOT NULL DEFAULT 0,           -- ends without a person's act since it is known
  restarts_at TEXT   NOT NULL DEFAULT '[]',        -- times of the last of them, unix ms
  since      INTEGER NOT NULL,                     -- when it came into its state
  unhealthy_since INTEGER,
  asked_until INTEGER,                             -- an end before this is one that somebody here has asked for
  troubles   TEXT    NOT NULL DEFAULT '[]',        -- what was said of it as alerts and is not over: died, oom …
  created_at INTEGER NOT NULL,                     -- first seen
  seen_at    INTEGER NOT NULL
, restart_label INTEGER NOT NULL DEFAULT 0, restart_unhealthy TEXT NOT NULL DEFAULT 'label'
  CHECK (restart_unhealthy IN ('label','on','off')), healed_at TEXT NOT NULL DEFAULT '[]') STRICT;

CREATE UNIQUE INDEX containers_name ON containers (coalesce(server_id, 0), name);

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
  looked_at   INTEGER, stands TEXT NOT NULL DEFAULT '', issued INTEGER NOT NULL DEFAULT 0, inside TEXT NOT NULL DEFAULT '', inside_say TEXT NOT NULL DEFAULT '', inside_at INTEGER, since INTEGER,
  PRIMARY KEY (domain_id, server_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX domain_sites_server ON domain_sites (server_id);

CREATE TRIGGER availability_of_domain AFTER DELETE ON domains BEGIN
  DELETE FROM availability WHERE kind = 'domain' AND subject = OLD.id;
END;

CREATE TRIGGER silences_of_domain AFTER DELETE ON domains BEGIN
  DELETE FROM silences WHERE id IN
    (SELECT silence_id FROM silence_targets WHERE target_type = 'domain' AND target_id = OLD.id);
END;

CREATE TRIGGER status_of_domain AFTER DELETE ON domains BEGIN
  DELETE FROM status_things WHERE kind = 'domain' AND subject = OLD.id;
END;

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
, answer_state TEXT NOT NULL DEFAULT 'unknown'
  CHECK (answer_state IN ('unknown','ok','partly','backend','shadowed','firewalled','unreachable','down')), answer_say TEXT NOT NULL DEFAULT '[]', answer_since INTEGER, ns_since INTEGER, cert_since INTEGER) STRICT;

CREATE INDEX domains_certificate ON domains (certificate_id);

CREATE INDEX domains_group ON domains (group_id);

CREATE INDEX domains_upstream ON domains (upstream_id);

CREATE TABLE engine (
  one        INTEGER PRIMARY KEY CHECK (one = 1),
  secret     BLOB    NOT NULL,              -- sealed
  changed_at INTEGER NOT NULL,
  changed_by TEXT    NOT NULL
) STRICT;

CREATE TABLE event_cursors (
  reader      TEXT PRIMARY KEY,
  event_id    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  at          INTEGER NOT NULL,
  kind        TEXT    NOT NULL,             -- server.unreachable, …
  target_type TEXT    NOT NULL,             -- server | task | user | …
  target_id   INTEGER NOT NULL,
  data        TEXT    NOT NULL              -- JSON object, no secrets
) STRICT;

CREATE TABLE exporter (
  name       TEXT    PRIMARY KEY CHECK (name IN ('token','push')),
  value      BLOB    NOT NULL,
  changed_at INTEGER NOT NULL,
  changed_by TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE forward_secret (
  one        INTEGER PRIMARY KEY CHECK (one = 1),
  place      TEXT    NOT NULL,              -- scheme, host and port
  secret     BLOB    NOT NULL,              -- sealed
  changed_at INTEGER NOT NULL,
  changed_by TEXT    NOT NULL
) STRICT;

CREATE TABLE group_members (
  group_id  INTEGER NOT NULL REFERENCES groups(id) ON DELETE CASCADE,
  server_id INTEGER NOT NULL REFERENCES servers(id) ON DELETE CASCADE,
  PRIMARY KEY (group_id, server_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX group_members_server ON group_members (server_id);

CREATE TRIGGER no_project_of_group AFTER DELETE ON groups BEGIN
  DELETE FROM project_things WHERE kind = 'group' AND thing_id = OLD.id;
END;

CREATE TRIGGER project_of_group AFTER INSERT ON groups BEGIN
  INSERT INTO project_things SELECT 'group', NEW.id, id FROM projects WHERE usual = 1;
END;

CREATE TRIGGER silences_of_group AFTER DELETE ON groups BEGIN
  DELETE FROM silences WHERE id IN
    (SELECT silence_id FROM silence_targets WHERE target_type = 'group' AND target_id = OLD.id);
END;

CREATE TABLE groups (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  kind       TEXT    NOT NULL DEFAULT 'domain' CHECK (kind IN ('domain','host')),
  name       TEXT    NOT NULL COLLATE NOCASE,
  notes      TEXT    NOT NULL DEFAULT '',
  revision   INTEGER NOT NULL DEFAULT 1,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL, rule TEXT NOT NULL DEFAULT '',
  UNIQUE (kind, name)
) STRICT;

CREATE TABLE host_checks (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  server_id  INTEGER NOT NULL REFERENCES servers(id) ON DELETE CASCADE,
  first_at   INTEGER NOT NULL,                -- this result was seen from
  last_at    INTEGER NOT NULL,                -- to
  count      INTEGER NOT NULL DEFAULT 1,      -- how often in a row
  status     TEXT    NOT NULL CHECK (status IN ('up', 'down', 'unknown')),
  method     TEXT    NOT NULL CHECK (method IN ('ping', 'tcp', 'ssh')),
  code       TEXT    NOT NULL DEFAULT '',     -- why it is not up
  say        TEXT    NOT NULL DEFAULT '',     -- the same as a sentence
  latency    REAL,                            -- ms, of the last look; NULL: it did not answer
  latency_min REAL,
  latency_max REAL
) STRICT;

CREATE INDEX host_checks_server ON host_checks (server_id, id);

CREATE TABLE host_facts (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  server_id  INTEGER NOT NULL REFERENCES servers(id) ON DELETE CASCADE,
  first_at   INTEGER NOT NULL,                -- this was found from
  last_at    INTEGER NOT NULL,                -- to
  count      INTEGER NOT NULL DEFAULT 1,      -- how often in a row
  facts      TEXT    NOT NULL                 -- JSON object, without what changes all the time
) STRICT;

CREATE INDEX host_facts_server ON host_facts (server_id, id);

CREATE TABLE host_facts_asked (
  server_id INTEGER PRIMARY KEY REFERENCES servers(id) ON DELETE CASCADE,
  at        INTEGER NOT NULL
) STRICT;

CREATE TABLE invites (
  user_id     INTEGER PRIMARY KEY REFERENCES users(id) ON DELETE CASCADE,
  hash        BLOB    NOT NULL UNIQUE,
  expires_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE keyring (
  id          INTEGER PRIMARY KEY,
  purpose     TEXT    NOT NULL,             -- secrets | access | pepper | audit
  wrapped     BLOB    NOT NULL,
  created_at  INTEGER NOT NULL              -- unix ms, as all times here
, next BLOB) STRICT;

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

CREATE INDEX leases_ended ON leases (ended_at) WHERE state = 'ended';

CREATE INDEX leases_secret ON leases (secret_id, id);

CREATE TRIGGER no_project_of_endpoint AFTER DELETE ON notification_endpoints BEGIN
  DELETE FROM project_things WHERE kind = 'endpoint' AND thing_id = OLD.id;
END;

CREATE TRIGGER project_of_endpoint AFTER INSERT ON notification_endpoints BEGIN
  INSERT INTO project_things SELECT 'endpoint', NEW.id, id FROM projects WHERE usual = 1;
END;

CREATE TABLE notification_endpoints (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  type          TEXT    NOT NULL,             -- telegram | webhook | slack | email
  name          TEXT    NOT NULL UNIQUE COLLATE NOCASE,
  enabled       INTEGER NOT NULL,
  lang          TEXT    NOT NULL,
  min_level     TEXT    NOT NULL,
  events        TEXT    NOT NULL,             -- JSON array of patterns; empty: every alert
  config        TEXT    NOT NULL,             -- JSON object by type, no secrets
  token         BLOB,                         -- sealed
  url           BLOB,                         -- sealed
  secret        BLOB,                         -- sealed
  password      BLOB,                         -- sealed
  blocked_until INTEGER NOT NULL DEFAULT 0,   -- the receiver has asked us to wait
  revision      INTEGER NOT NULL DEFAULT 1,
  created_at    INTEGER NOT NULL,
  updated_at    INTEGER NOT NULL
, headers BLOB, saved_by TEXT NOT NULL DEFAULT 'operator', time_zone TEXT NOT NULL DEFAULT '', scope TEXT NOT NULL DEFAULT '') STRICT;

CREATE TABLE notification_gone (
  endpoint_id INTEGER NOT NULL REFERENCES notification_endpoints(id) ON DELETE CASCADE,
  recipient   TEXT    NOT NULL,               -- as in the queue
  since       INTEGER NOT NULL,
  answer      TEXT    NOT NULL,               -- the last words of whoever refused
  PRIMARY KEY (endpoint_id, recipient)
) STRICT, WITHOUT ROWID;

CREATE TABLE "notification_last_sent" (
  endpoint_id INTEGER NOT NULL REFERENCES notification_endpoints(id) ON DELETE CASCADE,
  fingerprint TEXT    NOT NULL,
  alert_id    INTEGER NOT NULL,               -- the alert it was told of
  at          INTEGER NOT NULL,
  held        INTEGER NOT NULL DEFAULT 0,     -- how many were held back since
  PRIMARY KEY (endpoint_id, fingerprint)
) STRICT, WITHOUT ROWID;

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
, doubts INTEGER NOT NULL DEFAULT 0) STRICT;

CREATE INDEX notification_queue_about ON notification_queue (fingerprint, id);

CREATE INDEX notification_queue_due ON notification_queue (next_at) WHERE status IN ('queued','sending');

CREATE INDEX notification_queue_endpoint ON notification_queue (endpoint_id, id);

CREATE UNIQUE INDEX notification_queue_once ON notification_queue (endpoint_id, recipient, event_id) WHERE event_id > 0;

CREATE TABLE notification_seed (
  one         INTEGER PRIMARY KEY CHECK (one = 1),
  state       TEXT    NOT NULL CHECK (state IN ('env','ui')),
  endpoint_id INTEGER NOT NULL
) STRICT;

CREATE TABLE ns_checks (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  domain_id INTEGER NOT NULL REFERENCES domains(id) ON DELETE CASCADE,
  first_at  INTEGER NOT NULL,                 -- this result was seen from
  last_at   INTEGER NOT NULL,                 -- to
  count     INTEGER NOT NULL DEFAULT 1,       -- how often in a row
  state     TEXT    NOT NULL CHECK (state IN ('ok','mismatch','error')),
  code      TEXT    NOT NULL,                 -- ok, mismatch, nxdomain, servfail, refused, timeout, lame, …
  zone      TEXT    NOT NULL,                 -- the apex that answered, A-labels
  ns        TEXT    NOT NULL,                 -- JSON array
  policy    TEXT    NOT NULL,
  say       TEXT    NOT NULL
) STRICT;

CREATE INDEX ns_checks_domain ON ns_checks (domain_id, last_at);

CREATE TABLE ns_resolvers_silent (
  one   INTEGER PRIMARY KEY CHECK (one = 1),
  since INTEGER NOT NULL
) STRICT;

CREATE TABLE periodic (
  name     TEXT PRIMARY KEY,
  every_ms INTEGER NOT NULL,
  last_at  INTEGER NOT NULL,
  last_ms  INTEGER NOT NULL,
  error    TEXT
, fails INTEGER NOT NULL DEFAULT 0, alive_at INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;

CREATE TRIGGER no_project_of_plugin AFTER DELETE ON plugins BEGIN
  DELETE FROM project_things WHERE kind = 'plugin' AND thing_id = OLD.id;
END;

CREATE TRIGGER project_of_plugin AFTER INSERT ON plugins BEGIN
  INSERT INTO project_things SELECT 'plugin', NEW.id, id FROM projects WHERE usual = 1;
END;

CREATE TABLE plugins (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  name       TEXT    NOT NULL COLLATE NOCASE UNIQUE,
  definition TEXT    NOT NULL,
  config     TEXT    NOT NULL DEFAULT '{}', -- JSON, without secrets
  token      BLOB,                          -- sealed
  enabled    INTEGER NOT NULL DEFAULT 1,
  last_at    INTEGER,                       -- NULL: never asked
  last_ok    INTEGER,
  last_say   TEXT    NOT NULL DEFAULT '',
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE project_things (
  kind       TEXT    NOT NULL CHECK (kind IN ('group', 'secret', 'endpoint', 'plugin')),
  thing_id   INTEGER NOT NULL,
  project_id INTEGER NOT NULL REFERENCES projects(id),
  PRIMARY KEY (kind, thing_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX project_things_project ON project_things (project_id, kind);

CREATE TABLE projects (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  name       TEXT    NOT NULL COLLATE NOCASE UNIQUE,
  notes      TEXT    NOT NULL DEFAULT '',
  usual      INTEGER NOT NULL DEFAULT 0,    -- 1: new things belong to it
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX projects_usual ON projects (usual) WHERE usual = 1;

CREATE TABLE recovery_codes (
  user_id  INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  tag      BLOB    NOT NULL,                 -- under a key of the vault
  used_at  INTEGER,
  PRIMARY KEY (user_id, tag)
) STRICT, WITHOUT ROWID;

CREATE TABLE refresh_tokens (
  hash        BLOB PRIMARY KEY,
  family      TEXT    NOT NULL,
  user_id     INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  generation  INTEGER NOT NULL,
  created_at  INTEGER NOT NULL,
  used_at     INTEGER
, parent BLOB, used_by BLOB, ip TEXT NOT NULL DEFAULT '', agent TEXT NOT NULL DEFAULT '') STRICT, WITHOUT ROWID;

CREATE INDEX refresh_family ON refresh_tokens (family);

CREATE INDEX refresh_user ON refresh_tokens (user_id);

CREATE TABLE schedules (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  name        TEXT    NOT NULL UNIQUE,
  kind        TEXT    NOT NULL,             -- of the task
  target_type TEXT    NOT NULL,
  target_id   INTEGER NOT NULL,
  target_name TEXT    NOT NULL,
  input       TEXT    NOT NULL,             -- JSON of the task
  cron        TEXT    NOT NULL,             -- five fields or @daily and the like
  zone        TEXT    NOT NULL,             -- Europe/Berlin
  missed      TEXT    NOT NULL CHECK (missed IN ('skip','once')),
  enabled     INTEGER NOT NULL,
  owner       TEXT    NOT NULL,             -- login of whoever saved it last
  changed_at  INTEGER NOT NULL,
  last_due    INTEGER,                      -- the due time that was dealt with last
  last_result TEXT    NOT NULL DEFAULT '',  -- queued | skipped | open | failed
  last_say    TEXT    NOT NULL DEFAULT '',
  last_task   INTEGER,
  next_run    INTEGER                       -- NULL: it is off
) STRICT;

CREATE TABLE schema_versions (
  schema  INTEGER PRIMARY KEY,      -- user_version afterwards
  program TEXT    NOT NULL,         -- 0.2.0
  at      INTEGER NOT NULL          -- unix ms
) STRICT;

CREATE TABLE second_factors (
  user_id       INTEGER PRIMARY KEY REFERENCES users(id) ON DELETE CASCADE,
  secret        BLOB    NOT NULL,            -- sealed
  confirmed_at  INTEGER,
  last_step     INTEGER NOT NULL DEFAULT 0   -- of the last code that was taken: each is good once
) STRICT;

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
  at          INTEGER NOT NULL, left_out INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (rotation_id, server_id, account)
) STRICT, WITHOUT ROWID;

CREATE INDEX secret_rotation_hosts_server ON secret_rotation_hosts (server_id) WHERE good = 'new';

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

CREATE TABLE secret_versions (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  secret_id  INTEGER NOT NULL REFERENCES secrets(id) ON DELETE CASCADE,
  number     INTEGER NOT NULL,              -- 1, 2, …
  value      BLOB    NOT NULL DEFAULT x'',  -- sealed
  passphrase BLOB,                          -- sealed; of a private key
  public_key TEXT    NOT NULL DEFAULT '',   -- of a private key: ssh-ed25519 AAAA…
  origin     TEXT    NOT NULL,              -- given | generated
  made_by    TEXT    NOT NULL,              -- login
  made_at    INTEGER NOT NULL,
  UNIQUE (secret_id, number)
) STRICT;

CREATE TRIGGER no_project_of_secret AFTER DELETE ON secrets BEGIN
  DELETE FROM project_things WHERE kind = 'secret' AND thing_id = OLD.id;
END;

CREATE TRIGGER project_of_secret AFTER INSERT ON secrets BEGIN
  INSERT INTO project_things SELECT 'secret', NEW.id, id FROM projects WHERE usual = 1;
END;

CREATE TRIGGER silences_of_secret AFTER DELETE ON secrets BEGIN
  DELETE FROM silences WHERE id IN
    (SELECT silence_id FROM silence_targets WHERE target_type = 'secret' AND target_id = OLD.id);
END;

CREATE TABLE secrets (
  id                  INTEGER PRIMARY KEY AUTOINCREMENT,
  name                TEXT    NOT NULL COLLATE NOCASE UNIQUE,
  type                TEXT    NOT NULL CHECK (type IN ('password', 'token', 'text', 'private_key')),
  tags                TEXT    NOT NULL DEFAULT '[]',  -- JSON list
  notes               TEXT    NOT NULL DEFAULT '',
  expires_at          INTEGER,                        -- NULL: never
  rotation_interval_s INTEGER,                        -- NULL: nobody is reminded
  version             INTEGER NOT NULL DEFAULT 0,     -- number of the version that is in force
  told                INTEGER NOT NULL DEFAULT 0,     -- of its end: 0 nothing, 1 two weeks, 2 three days before, 3 at it
  created_at          INTEGER NOT NULL,
  updated_at          INTEGER NOT NULL
, scope TEXT NOT NULL DEFAULT '[]', lessees TEXT NOT NULL DEFAULT '[]', plan TEXT NOT NULL DEFAULT 'remind' CHECK (plan IN ('remind', 'rotate', 'apply')), hours TEXT NOT NULL DEFAULT '', next_try INTEGER NOT NULL DEFAULT 0, lease_kind TEXT NOT NULL DEFAULT 'copy' CHECK (lease_kind IN ('copy', 'account', 'key')), lease_max_s INTEGER NOT NULL DEFAULT 86400, lease_servers TEXT NOT NULL DEFAULT '[]', lease_account TEXT NOT NULL DEFAULT '', lease_rotates INTEGER NOT NULL DEFAULT 0) STRICT;

CREATE TABLE server_tags (
  server_id INTEGER NOT NULL REFERENCES servers(id) ON DELETE CASCADE,
  tag       TEXT    NOT NULL COLLATE NOCASE,
  PRIMARY KEY (tag, server_id)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER availability_of_server AFTER DELETE ON servers BEGIN
  DELETE FROM availability WHERE kind = 'server' AND subject = OLD.id;
END;

CREATE TRIGGER servers_take_their_rules_along AFTER DELETE ON servers BEGIN
  DELETE FROM alert_rule_firing WHERE subject_kind = 'server' AND subject_id = OLD.id;
  DELETE FROM alert_rule_waiting WHERE subject_kind = 'server' AND subject_id = OLD.id;
END;

CREATE TRIGGER silences_of_server AFTER DELETE ON servers BEGIN
  DELETE FROM silences WHERE id IN
    (SELECT silence_id FROM silence_targets WHERE target_type = 'server' AND target_id = OLD.id);
END;

CREATE TRIGGER status_of_server AFTER DELETE ON servers BEGIN
  DELETE FROM status_things WHERE kind = 'server' AND subject = OLD.id;
END;

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
, alerts_open INTEGER NOT NULL DEFAULT 0, alerts_kinds TEXT NOT NULL DEFAULT '', alert_id INTEGER, alerts_since INTEGER NOT NULL DEFAULT 0, missed_since INTEGER, host_seen TEXT, state TEXT NOT NULL GENERATED ALWAYS AS (
  CASE WHEN status = 'unreachable' THEN 'down' WHEN alert_id IS NOT NULL THEN 'degraded' WHEN status = 'ok' THEN 'up' ELSE 'pending' END
) VIRTUAL, state_since INTEGER NOT NULL GENERATED ALWAYS AS (
  CASE WHEN status = 'unreachable' THEN status_since WHEN alert_id IS NOT NULL THEN alerts_since
  ELSE max(status_since, alerts_since) END
) VIRTUAL, glances_allow TEXT NOT NULL DEFAULT '[]', glances_bind TEXT NOT NULL DEFAULT '', addresses TEXT NOT NULL DEFAULT '', moved_at INTEGER, moved TEXT NOT NULL DEFAULT '', packages TEXT NOT NULL DEFAULT 'sources' CHECK (packages IN ('sources', 'bundle')), environment TEXT NOT NULL DEFAULT '', os_type TEXT NOT NULL DEFAULT '', check_method TEXT NOT NULL DEFAULT 'none'
  CHECK (check_method IN ('none', 'ping', 'tcp', 'ssh')), containers TEXT NOT NULL DEFAULT 'off' CHECK (containers IN ('off','auto'))) STRICT;

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
, nodes TEXT NOT NULL DEFAULT '[]') STRICT;

CREATE TRIGGER availability_of_service AFTER DELETE ON services BEGIN
  DELETE FROM availability WHERE kind = 'service' AND subject = OLD.id;
END;

CREATE TRIGGER status_of_service AFTER DELETE ON services BEGIN
  DELETE FROM status_things WHERE kind = 'service' AND subject = OLD.id;
END;

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
, applied INTEGER NOT NULL DEFAULT 0) STRICT;

CREATE INDEX services_server ON services (server_id);

CREATE TABLE sessions (
  hash        BLOB PRIMARY KEY,
  user_id     INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  generation  INTEGER NOT NULL,
  csrf        TEXT    NOT NULL,
  created_at  INTEGER NOT NULL,
  seen_at     INTEGER NOT NULL,
  ip          TEXT    NOT NULL
, family TEXT NOT NULL DEFAULT '', agent TEXT NOT NULL DEFAULT '') STRICT, WITHOUT ROWID;

CREATE INDEX sessions_family ON sessions (family);

CREATE INDEX sessions_user ON sessions (user_id);

CREATE TABLE settings (
  key         TEXT PRIMARY KEY,             -- a row of settings::TABLE
  value       TEXT NOT NULL,
  changed_at  INTEGER NOT NULL,
  changed_by  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE silence_servers (
  silence_id INTEGER NOT NULL REFERENCES silences(id) ON DELETE CASCADE,
  server_id  INTEGER NOT NULL REFERENCES servers(id) ON DELETE CASCADE,
  PRIMARY KEY (silence_id, server_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX silence_servers_server ON silence_servers (server_id);

CREATE TABLE silence_targets (
  silence_id  INTEGER NOT NULL REFERENCES silences(id) ON DELETE CASCADE,
  target_type TEXT    NOT NULL,             -- server, domain, group, …
  target_id   INTEGER NOT NULL,
  PRIMARY KEY (silence_id, target_type)
) STRICT, WITHOUT ROWID;

CREATE INDEX silence_targets_target ON silence_targets (target_type, target_id);

CREATE TABLE "silences" (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  -- What it is about; all that is given must fit, nothing given (nor in silence_targets) means everything.
  kind       TEXT    NOT NULL DEFAULT '',     -- of alerts
  reason     TEXT    NOT NULL,
  author     TEXT    NOT NULL,
  starts_at  INTEGER NOT NULL,
  ends_at    INTEGER NOT NULL CHECK (ends_at > starts_at),
  state      TEXT    NOT NULL CHECK (state IN ('waiting','active','over')),
  ended_at   INTEGER,                         -- when it really ended
  ended_by   TEXT,                            -- who ended it early
  created_at INTEGER NOT NULL
, scope TEXT NOT NULL DEFAULT '') STRICT;

CREATE INDEX silences_state ON silences (state, starts_at);

CREATE TABLE site_notice (
  id              INTEGER PRIMARY KEY CHECK (id = 1),
  maintenance     INTEGER NOT NULL DEFAULT 0,   -- 1: changes and runs are refused
  message         TEXT    NOT NULL DEFAULT '',  -- why
  pause_schedules INTEGER NOT NULL DEFAULT 0,   -- 1: schedules put nothing in meanwhile
  banner          TEXT    NOT NULL DEFAULT '',  -- empty: none
  level           TEXT    NOT NULL DEFAULT 'info' CHECK (level IN ('info', 'warning', 'critical')),
  banner_until    INTEGER                       -- NULL: until somebody takes it away
) STRICT;

CREATE TABLE "sitewatch_probes" (
  domain_id  INTEGER NOT NULL,
  server_id  INTEGER NOT NULL,
  looked_at  INTEGER NOT NULL,
  code       TEXT    NOT NULL DEFAULT '',     -- empty: it answers; else refused, silent, mute, other, backend or unseen
  say        TEXT    NOT NULL DEFAULT '',
  misses     INTEGER NOT NULL DEFAULT 0,      -- looks in a row in vain
  since      INTEGER,                         -- when the first of them was
  state      TEXT    NOT NULL DEFAULT 'unknown', -- what the looks have come to
  PRIMARY KEY (domain_id, server_id),
  FOREIGN KEY (domain_id, server_id) REFERENCES domain_sites(domain_id, server_id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE status_incidents (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  title       TEXT    NOT NULL,
  began_at    INTEGER NOT NULL,
  resolved_at INTEGER                     -- NULL: it goes on
) STRICT;

CREATE TABLE status_things (
  kind     TEXT    NOT NULL CHECK (kind IN ('server', 'domain', 'service')),
  subject  INTEGER NOT NULL,
  name     TEXT    NOT NULL,
  section  TEXT    NOT NULL DEFAULT '',
  position INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;

CREATE TABLE status_updates (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  incident_id INTEGER NOT NULL REFERENCES status_incidents(id) ON DELETE CASCADE,
  at          INTEGER NOT NULL,
  said        TEXT    NOT NULL
) STRICT;

CREATE INDEX status_updates_incident ON status_updates (incident_id, at);

CREATE TABLE task_locks (
  task_id  INTEGER NOT NULL REFERENCES tasks(id) ON DELETE CASCADE,
  resource TEXT    NOT NULL,                -- server:12, domain:3, …; held while the task runs
  PRIMARY KEY (task_id, resource)
) STRICT, WITHOUT ROWID;

CREATE INDEX task_locks_resource ON task_locks (resource, task_id);

CREATE TABLE task_logs (
  task_id  INTEGER NOT NULL REFERENCES tasks(id) ON DELETE CASCADE,
  seq      INTEGER NOT NULL,                -- 1, 2, … within the task; the SSE event id
  at       INTEGER NOT NULL,
  level    TEXT    NOT NULL,                -- info | warning | error
  source   TEXT    NOT NULL,                -- task | step | command | ssh
  stream   TEXT    NOT NULL,                -- stdout | stderr | ''
  line     TEXT    NOT NULL,
  PRIMARY KEY (task_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE "tasks" (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  kind          TEXT    NOT NULL,
  target_type   TEXT    NOT NULL,
  target_id     INTEGER NOT NULL,
  target_name   TEXT    NOT NULL,           -- as it was called then
  parent_id     INTEGER REFERENCES tasks(id) ON DELETE SET NULL,
  input         TEXT    NOT NULL,           -- JSON; secrets stay in their own tables
  status        TEXT    NOT NULL CHECK (status IN ('waiting_approval','waiting_window','queued','running','waiting_children',
                                                   'ok','failed','cancelled','interrupted')),
  approve_until INTEGER,                    -- approval: it ends without one after this
  not_before    INTEGER,                    -- window: its beginning; queued: the next try
  not_after     INTEGER,                    -- window: its end
  decided_by    TEXT,                       -- who approved or refused
  decided_at    INTEGER,
  changed       INTEGER NOT NULL DEFAULT 0,
  steps         TEXT    NOT NULL DEFAULT '[]',
  error_code    TEXT,
  error_say     TEXT,
  attempt       INTEGER NOT NULL DEFAULT 0,
  cancel_asked  INTEGER NOT NULL DEFAULT 0,
  created_by    TEXT    NOT NULL,
  request_id    TEXT    NOT NULL,
  created_at    INTEGER NOT NULL,
  started_at    INTEGER,
  finished_at   INTEGER
, goes_on INTEGER NOT NULL DEFAULT 0) STRICT;

CREATE INDEX tasks_parent ON tasks (parent_id, id) WHERE parent_id IS NOT NULL;

CREATE INDEX tasks_status ON tasks (status, id);

CREATE INDEX tasks_target ON tasks (target_type, target_id, id);

CREATE TABLE upstream_targets (
  upstream_id INTEGER NOT NULL REFERENCES upstreams(id) ON DELETE CASCADE,
  position    INTEGER NOT NULL,
  host        TEXT    NOT NULL,               -- address or DNS name, IPv6 without brackets
  port        INTEGER NOT NULL,
  weight      INTEGER,                        -- NULL: not said, nginx takes 1
  PRIMARY KEY (upstream_id, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE upstreams (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  name       TEXT    NOT NULL UNIQUE COLLATE NOCASE,
  notes      TEXT    NOT NULL DEFAULT '',
  revision   INTEGER NOT NULL DEFAULT 1,      -- grows with every change
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE users (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  login         TEXT    NOT NULL UNIQUE COLLATE NOCASE,
  password_hash TEXT    NOT NULL,
  role          TEXT    NOT NULL CHECK (role IN ('admin','operator','viewer','automation')),
  disabled      INTEGER NOT NULL DEFAULT 0,
  generation    INTEGER NOT NULL DEFAULT 1,  -- grows with each password or role change: older sessions and tokens end
  lang          TEXT    NOT NULL DEFAULT '',
  created_at    INTEGER NOT NULL,
  last_login_at INTEGER
, time_zone TEXT NOT NULL DEFAULT '', email TEXT NOT NULL DEFAULT '', unlocked_at INTEGER NOT NULL DEFAULT 0, projects TEXT NOT NULL DEFAULT '[]') STRICT;

-- metrics.db

CREATE TABLE chunk (
  id   INTEGER PRIMARY KEY,         -- tier << 60 | series << 32 | unix seconds of the span's beginning
  data BLOB NOT NULL
) STRICT;

CREATE TABLE container_latest (
  container    INTEGER PRIMARY KEY,
  at_ms        INTEGER NOT NULL,
  cpu          REAL,                -- percent of one processor
  memory       REAL,                -- percent of what it may use
  memory_used  INTEGER,             -- bytes
  memory_limit INTEGER,
  pids         INTEGER
) STRICT;

CREATE TABLE hot (
  id   INTEGER PRIMARY KEY,         -- server << 32 | unix seconds
  data BLOB NOT NULL
) STRICT;

CREATE TABLE note (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE schema_versions (
  schema  INTEGER PRIMARY KEY,      -- user_version afterwards
  program TEXT    NOT NULL,         -- 0.2.0
  at      INTEGER NOT NULL          -- unix ms
) STRICT;

CREATE TABLE "series" (
  id      INTEGER PRIMARY KEY,
  subject INTEGER NOT NULL,
  key     TEXT    NOT NULL,         -- cpu, load1, disk …
  part    TEXT    NOT NULL,         -- a mount point …; empty: there is one
  unit    TEXT    NOT NULL,         -- of its values: percent, bytes_per_second …
  source  TEXT    NOT NULL,         -- who observed it first: glances …
  UNIQUE (subject, key, part)
) STRICT;

CREATE TABLE server_latest (
  server  INTEGER PRIMARY KEY,
  at_ms   INTEGER NOT NULL,
  took_ms INTEGER NOT NULL,
  sample  TEXT    NOT NULL,
  spark   BLOB    NOT NULL,
  disks   TEXT    NOT NULL
) STRICT;

CREATE TABLE service_latest (
  service INTEGER PRIMARY KEY,
  at_ms   INTEGER NOT NULL,
  figures TEXT    NOT NULL            -- JSON
) STRICT;

CREATE TABLE subject (
  id     INTEGER PRIMARY KEY,
  kind   TEXT    NOT NULL,          -- server, container …
  number INTEGER NOT NULL,          -- among those of its kind
  UNIQUE (kind, number)
) STRICT;

