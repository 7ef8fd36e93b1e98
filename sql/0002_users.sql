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
) STRICT;

-- Browser sessions. Only the SHA-256 of the cookie is kept.
CREATE TABLE sessions (
  hash        BLOB PRIMARY KEY,
  user_id     INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  generation  INTEGER NOT NULL,
  csrf        TEXT    NOT NULL,
  created_at  INTEGER NOT NULL,
  seen_at     INTEGER NOT NULL,
  ip          TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_user ON sessions (user_id);

-- Families of refresh tokens: one sign-in, one family. A token used twice ends its family.
CREATE TABLE refresh_tokens (
  hash        BLOB PRIMARY KEY,
  family      TEXT    NOT NULL,
  user_id     INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  generation  INTEGER NOT NULL,
  created_at  INTEGER NOT NULL,
  used_at     INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_family ON refresh_tokens (family);
