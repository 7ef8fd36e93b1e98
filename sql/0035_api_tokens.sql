-- Tokens that programs speak by. Of the token itself only the SHA-256 is kept.
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
