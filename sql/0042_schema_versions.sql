-- Which version of the program brought this file to which schema: what an older program says when it refuses the file.
CREATE TABLE schema_versions (
  schema  INTEGER PRIMARY KEY,      -- user_version afterwards
  program TEXT    NOT NULL,         -- 0.2.0
  at      INTEGER NOT NULL          -- unix ms
) STRICT;
