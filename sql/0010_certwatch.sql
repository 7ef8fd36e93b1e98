-- The certificate that a server last showed for a domain.
CREATE TABLE certwatch_served (
  domain_id  INTEGER NOT NULL,
  server_id  INTEGER NOT NULL,
  looked_at  INTEGER NOT NULL,
  code       TEXT    NOT NULL DEFAULT '',     -- empty: good; else unreachable, wrong_name, untrusted, expired, …
  say        TEXT    NOT NULL DEFAULT '',
  misses     INTEGER NOT NULL DEFAULT 0,      -- looks in a row that were not good
  private    INTEGER NOT NULL DEFAULT 0,      -- 1: signed by an authority that this machine does not know
  -- What follows is of the certificate last seen, also while nothing answers.
  names      TEXT    NOT NULL DEFAULT '[]',   -- JSON array
  issuer     TEXT    NOT NULL DEFAULT '',
  serial     TEXT    NOT NULL DEFAULT '',
  key_type   TEXT    NOT NULL DEFAULT '',
  sha256     TEXT    NOT NULL DEFAULT '',     -- hex; empty: none was ever shown
  not_before INTEGER,
  not_after  INTEGER,
  PRIMARY KEY (domain_id, server_id),
  FOREIGN KEY (domain_id, server_id) REFERENCES domain_sites(domain_id, server_id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
