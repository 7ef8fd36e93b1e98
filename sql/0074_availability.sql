-- Since when each thing is up, down or unknown: a row for each stretch of time, the last one of a thing without an end.
CREATE TABLE availability (
  kind    TEXT    NOT NULL CHECK (kind IN ('server', 'domain', 'service')),
  subject INTEGER NOT NULL,
  since   INTEGER NOT NULL,
  until   INTEGER,                        -- NULL: it is so now
  state   TEXT    NOT NULL CHECK (state IN ('up', 'down', 'unknown')),
  cause   TEXT    NOT NULL DEFAULT '',    -- one sentence
  PRIMARY KEY (kind, subject, since)
) STRICT, WITHOUT ROWID;
-- When Lamplighter itself was off, or saw nothing.
CREATE TABLE availability_off (
  since INTEGER PRIMARY KEY,
  until INTEGER NOT NULL
) STRICT;
-- When the report was made last.
CREATE TABLE availability_report (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  at INTEGER NOT NULL
) STRICT;
CREATE TRIGGER availability_of_server AFTER DELETE ON servers BEGIN
  DELETE FROM availability WHERE kind = 'server' AND subject = OLD.id;
END;
CREATE TRIGGER availability_of_domain AFTER DELETE ON domains BEGIN
  DELETE FROM availability WHERE kind = 'domain' AND subject = OLD.id;
END;
CREATE TRIGGER availability_of_service AFTER DELETE ON services BEGIN
  DELETE FROM availability WHERE kind = 'service' AND subject = OLD.id;
END;
-- What is known of before: of servers and services since when they are as they are.
INSERT INTO availability (kind, subject, since, state, cause)
  SELECT 'server', id, status_since, iif(status = 'ok', 'up', 'down'), iif(status = 'ok', '', coalesce(last_error_say, ''))
  FROM servers WHERE status <> 'provisioning';
INSERT INTO availability (kind, subject, since, state, cause)
  SELECT 'service', service_id, since, iif(health = 'unhealthy', 'down', 'up'), iif(health = 'unhealthy', say, '')
  FROM service_states WHERE health <> 'unknown';
INSERT INTO availability (kind, subject, since, state)
  SELECT 'domain', id, coalesce(answer_since, unixepoch() * 1000), iif(answer_state IN ('ok', 'partly'), 'up', 'down')
  FROM domains WHERE answer_state <> 'unknown';
-- The public page: what stands on it, under which name.
CREATE TABLE status_things (
  kind     TEXT    NOT NULL CHECK (kind IN ('server', 'domain', 'service')),
  subject  INTEGER NOT NULL,
  name     TEXT    NOT NULL,
  section  TEXT    NOT NULL DEFAULT '',
  position INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER status_of_server AFTER DELETE ON servers BEGIN
  DELETE FROM status_things WHERE kind = 'server' AND subject = OLD.id;
END;
CREATE TRIGGER status_of_domain AFTER DELETE ON domains BEGIN
  DELETE FROM status_things WHERE kind = 'domain' AND subject = OLD.id;
END;
CREATE TRIGGER status_of_service AFTER DELETE ON services BEGIN
  DELETE FROM status_things WHERE kind = 'service' AND subject = OLD.id;
END;
-- Incidents as people tell them there.
CREATE TABLE status_incidents (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  title       TEXT    NOT NULL,
  began_at    INTEGER NOT NULL,
  resolved_at INTEGER                     -- NULL: it goes on
) STRICT;
CREATE TABLE status_updates (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  incident_id INTEGER NOT NULL REFERENCES status_incidents(id) ON DELETE CASCADE,
  at          INTEGER NOT NULL,
  said        TEXT    NOT NULL
) STRICT;
CREATE INDEX status_updates_incident ON status_updates (incident_id, at);
