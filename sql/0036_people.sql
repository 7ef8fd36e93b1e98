-- People: an address to write to, and until when a sign-in may be tried afresh (`unlock`).
ALTER TABLE users ADD COLUMN email TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN unlocked_at INTEGER NOT NULL DEFAULT 0;

-- From what a sign-in came, to be shown to its owner.
ALTER TABLE sessions ADD COLUMN agent TEXT NOT NULL DEFAULT '';
ALTER TABLE refresh_tokens ADD COLUMN ip TEXT NOT NULL DEFAULT '';
ALTER TABLE refresh_tokens ADD COLUMN agent TEXT NOT NULL DEFAULT '';
CREATE INDEX refresh_user ON refresh_tokens (user_id);

-- One-time links by which somebody gives themselves a password. Only the SHA-256 of the token is kept.
CREATE TABLE invites (
  user_id     INTEGER PRIMARY KEY REFERENCES users(id) ON DELETE CASCADE,
  hash        BLOB    NOT NULL UNIQUE,
  expires_at  INTEGER NOT NULL
) STRICT;

-- Codes of an authenticator (RFC 6238). One that was never confirmed by a code asks nobody for one.
CREATE TABLE second_factors (
  user_id       INTEGER PRIMARY KEY REFERENCES users(id) ON DELETE CASCADE,
  secret        BLOB    NOT NULL,            -- sealed
  confirmed_at  INTEGER,
  last_step     INTEGER NOT NULL DEFAULT 0   -- of the last code that was taken: each is good once
) STRICT;
CREATE TABLE recovery_codes (
  user_id  INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  tag      BLOB    NOT NULL,                 -- under a key of the vault
  used_at  INTEGER,
  PRIMARY KEY (user_id, tag)
) STRICT, WITHOUT ROWID;

-- When somebody has last shown, within one sign-in, that it is still them.
CREATE TABLE confirmations (
  family   TEXT    PRIMARY KEY,
  user_id  INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX confirmations_user ON confirmations (user_id);
