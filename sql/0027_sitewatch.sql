-- Whether each site answers as it should, as seen from outside.
CREATE TABLE sitewatch_looks (
  domain_id  INTEGER NOT NULL,
  server_id  INTEGER NOT NULL,
  looked_at  INTEGER NOT NULL,
  code       TEXT    NOT NULL DEFAULT '',     -- empty: it answers; else refused, silent, mute, other, backend or unseen
  say        TEXT    NOT NULL DEFAULT '',
  misses     INTEGER NOT NULL DEFAULT 0,      -- looks in a row in vain
  since      INTEGER,                         -- when the first of them was
  state      TEXT    NOT NULL DEFAULT 'unknown', -- what the looks have come to
  PRIMARY KEY (domain_id, server_id),
  FOREIGN KEY (domain_id, server_id) REFERENCES domain_sites(domain_id, server_id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- The same asked on the server itself, by the look for drift.
ALTER TABLE domain_sites ADD COLUMN inside TEXT NOT NULL DEFAULT '';     -- proved, other, refused, silent; empty: not asked
ALTER TABLE domain_sites ADD COLUMN inside_say TEXT NOT NULL DEFAULT '';
ALTER TABLE domain_sites ADD COLUMN inside_at INTEGER;

-- What both come to, pushed by the watch.
ALTER TABLE domains ADD COLUMN answer_state TEXT NOT NULL DEFAULT 'unknown'
  CHECK (answer_state IN ('unknown','ok','partly','backend','shadowed','firewalled','unreachable','down'));
ALTER TABLE domains ADD COLUMN answer_say TEXT NOT NULL DEFAULT '[]';    -- JSON array of sentences
ALTER TABLE domains ADD COLUMN answer_since INTEGER;
