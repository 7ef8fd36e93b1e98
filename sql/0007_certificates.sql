-- A person's own certificates; those of Let's Encrypt live on the servers and are only watched.
CREATE TABLE certificates (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  name       TEXT    NOT NULL UNIQUE COLLATE NOCASE,
  chain      TEXT    NOT NULL,                -- PEM, the leaf first
  key        BLOB,                            -- sealed PEM; NULL only inside the transaction that makes the row
  names      TEXT    NOT NULL,                -- JSON array of DNS names and addresses
  issuer     TEXT    NOT NULL,
  not_before INTEGER NOT NULL,                -- unix ms
  not_after  INTEGER NOT NULL,
  sha256     TEXT    NOT NULL,                -- of the leaf's DER form, hex
  revision   INTEGER NOT NULL DEFAULT 1,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
