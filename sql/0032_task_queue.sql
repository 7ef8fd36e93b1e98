-- Tasks wait for more than a worker: for the resources they share with others, for a further try, for a person's approval,
-- for a window of time, for their children. What was a lane is one of the resources.
CREATE TABLE task_locks (
  task_id  INTEGER NOT NULL REFERENCES tasks(id) ON DELETE CASCADE,
  resource TEXT    NOT NULL,                -- server:12, domain:3, …; held while the task runs
  PRIMARY KEY (task_id, resource)
) STRICT, WITHOUT ROWID;
CREATE INDEX task_locks_resource ON task_locks (resource, task_id);

CREATE TABLE tasks_new (
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
) STRICT;
INSERT INTO tasks_new (id, kind, target_type, target_id, target_name, input, status, changed, steps, error_code, error_say,
                       attempt, cancel_asked, created_by, request_id, created_at, started_at, finished_at)
  SELECT id, kind, target_type, target_id, target_name, input, status, changed, steps, error_code, error_say,
         attempt, cancel_asked, created_by, request_id, created_at, started_at, finished_at FROM tasks;
-- Numbers are never given twice, also when the newest tasks are gone.
DELETE FROM sqlite_sequence WHERE name = 'tasks_new';
INSERT INTO sqlite_sequence (name, seq) SELECT 'tasks_new', seq FROM sqlite_sequence WHERE name = 'tasks';
DROP TABLE tasks;
ALTER TABLE tasks_new RENAME TO tasks;
CREATE INDEX tasks_status ON tasks (status, id);
CREATE INDEX tasks_target ON tasks (target_type, target_id, id);
CREATE INDEX tasks_parent ON tasks (parent_id, id) WHERE parent_id IS NOT NULL;
