-- Groups of hosts: their members are said one by one, or found by a rule.
ALTER TABLE groups ADD COLUMN rule TEXT NOT NULL DEFAULT ''; -- JSON object; empty: members are said
CREATE TABLE group_members (
  group_id  INTEGER NOT NULL REFERENCES groups(id) ON DELETE CASCADE,
  server_id INTEGER NOT NULL REFERENCES servers(id) ON DELETE CASCADE,
  PRIMARY KEY (group_id, server_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX group_members_server ON group_members (server_id);
