-- Tasks that are put in by the clock.
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
