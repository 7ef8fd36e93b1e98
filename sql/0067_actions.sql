-- A task whose parts have ended may go on: it runs again and puts in the next ones.
ALTER TABLE tasks ADD COLUMN goes_on INTEGER NOT NULL DEFAULT 0;
-- What an action has brought: lines of a log, a list of updates. It goes with its task.
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
-- A file on its way to servers, until the task has ended that it was given for.
CREATE TABLE action_file_parts (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  task_id INTEGER NOT NULL REFERENCES tasks(id) ON DELETE CASCADE,
  number  INTEGER NOT NULL,                 -- 0, 1, …
  content BLOB    NOT NULL DEFAULT x'',     -- sealed
  UNIQUE (task_id, number)
) STRICT;
-- The silence that was made for a task, and ends with it.
CREATE TABLE action_silences (
  task_id    INTEGER PRIMARY KEY REFERENCES tasks(id) ON DELETE CASCADE,
  silence_id INTEGER NOT NULL REFERENCES silences(id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX action_silences_silence ON action_silences (silence_id);
