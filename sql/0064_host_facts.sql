-- What checks have found on a host: equal snapshots in a row are one row; the newest of a host is what holds now.
CREATE TABLE host_facts (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  server_id  INTEGER NOT NULL REFERENCES servers(id) ON DELETE CASCADE,
  first_at   INTEGER NOT NULL,                -- this was found from
  last_at    INTEGER NOT NULL,                -- to
  count      INTEGER NOT NULL DEFAULT 1,      -- how often in a row
  facts      TEXT    NOT NULL                 -- JSON object, without what changes all the time
) STRICT;
CREATE INDEX host_facts_server ON host_facts (server_id, id);
-- When a host was last asked for its facts by the clock, so that one that does not answer is not asked all the time.
CREATE TABLE host_facts_asked (
  server_id INTEGER PRIMARY KEY REFERENCES servers(id) ON DELETE CASCADE,
  at        INTEGER NOT NULL
) STRICT;
