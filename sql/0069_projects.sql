-- Projects: what belongs together. There is always one, and exactly one is the usual.
CREATE TABLE projects (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  name       TEXT    NOT NULL COLLATE NOCASE UNIQUE,
  notes      TEXT    NOT NULL DEFAULT '',
  usual      INTEGER NOT NULL DEFAULT 0,    -- 1: new things belong to it
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX projects_usual ON projects (usual) WHERE usual = 1;
INSERT INTO projects (id, name, usual, created_at, updated_at) VALUES (1, 'default', 1, 0, 0);
-- Plugins: where inventories and secrets come from besides here.
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
-- To which project a thing belongs: one row for each.
CREATE TABLE project_things (
  kind       TEXT    NOT NULL CHECK (kind IN ('group', 'secret', 'endpoint', 'plugin')),
  thing_id   INTEGER NOT NULL,
  project_id INTEGER NOT NULL REFERENCES projects(id),
  PRIMARY KEY (kind, thing_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX project_things_project ON project_things (project_id, kind);
INSERT INTO project_things SELECT 'group', id, 1 FROM groups;
INSERT INTO project_things SELECT 'secret', id, 1 FROM secrets;
INSERT INTO project_things SELECT 'endpoint', id, 1 FROM notification_endpoints;
CREATE TRIGGER project_of_group AFTER INSERT ON groups BEGIN
  INSERT INTO project_things SELECT 'group', NEW.id, id FROM projects WHERE usual = 1;
END;
CREATE TRIGGER project_of_secret AFTER INSERT ON secrets BEGIN
  INSERT INTO project_things SELECT 'secret', NEW.id, id FROM projects WHERE usual = 1;
END;
CREATE TRIGGER project_of_endpoint AFTER INSERT ON notification_endpoints BEGIN
  INSERT INTO project_things SELECT 'endpoint', NEW.id, id FROM projects WHERE usual = 1;
END;
CREATE TRIGGER project_of_plugin AFTER INSERT ON plugins BEGIN
  INSERT INTO project_things SELECT 'plugin', NEW.id, id FROM projects WHERE usual = 1;
END;
CREATE TRIGGER no_project_of_group AFTER DELETE ON groups BEGIN
  DELETE FROM project_things WHERE kind = 'group' AND thing_id = OLD.id;
END;
CREATE TRIGGER no_project_of_secret AFTER DELETE ON secrets BEGIN
  DELETE FROM project_things WHERE kind = 'secret' AND thing_id = OLD.id;
END;
CREATE TRIGGER no_project_of_endpoint AFTER DELETE ON notification_endpoints BEGIN
  DELETE FROM project_things WHERE kind = 'endpoint' AND thing_id = OLD.id;
END;
CREATE TRIGGER no_project_of_plugin AFTER DELETE ON plugins BEGIN
  DELETE FROM project_things WHERE kind = 'plugin' AND thing_id = OLD.id;
END;
