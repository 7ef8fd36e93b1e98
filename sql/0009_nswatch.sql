-- One row for each change of what the name servers say, and the newest look (kept up to date in place).
CREATE TABLE ns_checks (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  domain_id INTEGER NOT NULL REFERENCES domains(id) ON DELETE CASCADE,
  first_at  INTEGER NOT NULL,                 -- this result was seen from
  last_at   INTEGER NOT NULL,                 -- to
  count     INTEGER NOT NULL DEFAULT 1,       -- how often in a row
  state     TEXT    NOT NULL CHECK (state IN ('ok','mismatch','error')),
  code      TEXT    NOT NULL,                 -- ok, mismatch, nxdomain, servfail, refused, timeout, lame, …
  zone      TEXT    NOT NULL,                 -- the apex that answered, A-labels
  ns        TEXT    NOT NULL,                 -- JSON array
  policy    TEXT    NOT NULL,
  say       TEXT    NOT NULL
) STRICT;
CREATE INDEX ns_checks_domain ON ns_checks (domain_id, last_at);
