-- Secrets that people keep under a name: passwords, tokens, texts, private keys.
CREATE TABLE secrets (
  id                  INTEGER PRIMARY KEY AUTOINCREMENT,
  name                TEXT    NOT NULL COLLATE NOCASE UNIQUE,
  type                TEXT    NOT NULL CHECK (type IN ('password', 'token', 'text', 'private_key')),
  tags                TEXT    NOT NULL DEFAULT '[]',  -- JSON list
  notes               TEXT    NOT NULL DEFAULT '',
  expires_at          INTEGER,                        -- NULL: never
  rotation_interval_s INTEGER,                        -- NULL: nobody is reminded
  version             INTEGER NOT NULL DEFAULT 0,     -- number of the version that is in force
  told                INTEGER NOT NULL DEFAULT 0,     -- of its end: 0 nothing, 1 two weeks, 2 three days before, 3 at it
  created_at          INTEGER NOT NULL,
  updated_at          INTEGER NOT NULL
) STRICT;

-- Their values, also those that were replaced.
CREATE TABLE secret_versions (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  secret_id  INTEGER NOT NULL REFERENCES secrets(id) ON DELETE CASCADE,
  number     INTEGER NOT NULL,              -- 1, 2, …
  value      BLOB    NOT NULL DEFAULT x'',  -- sealed
  passphrase BLOB,                          -- sealed; of a private key
  public_key TEXT    NOT NULL DEFAULT '',   -- of a private key: ssh-ed25519 AAAA…
  origin     TEXT    NOT NULL,              -- given | generated
  made_by    TEXT    NOT NULL,              -- login
  made_at    INTEGER NOT NULL,
  UNIQUE (secret_id, number)
) STRICT;

CREATE TRIGGER silences_of_secret AFTER DELETE ON secrets BEGIN
  DELETE FROM silences WHERE id IN
    (SELECT silence_id FROM silence_targets WHERE target_type = 'secret' AND target_id = OLD.id);
END;
