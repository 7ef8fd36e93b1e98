-- What the exporter keeps of secrets: a scraper's token (only its SHA-256) and the push engine's (sealed).
CREATE TABLE exporter (
  name       TEXT    PRIMARY KEY CHECK (name IN ('token','push')),
  value      BLOB    NOT NULL,
  changed_at INTEGER NOT NULL,
  changed_by TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
