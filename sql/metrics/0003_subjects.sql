-- Series of anything, not of servers alone. A subject's row is part of the key of its hot rows: those of servers have had
-- the server's number there, so the first subjects keep it.
CREATE TABLE subject (
  id     INTEGER PRIMARY KEY,
  kind   TEXT    NOT NULL,          -- server, container …
  number INTEGER NOT NULL,          -- among those of its kind
  UNIQUE (kind, number)
) STRICT;
INSERT INTO subject (id, kind, number) SELECT server, 'server', server FROM (SELECT server FROM series UNION SELECT id >> 32 FROM hot);

-- One row a series. Its number is part of every chunk's key, and stays.
CREATE TABLE subject_series (
  id      INTEGER PRIMARY KEY,
  subject INTEGER NOT NULL,
  key     TEXT    NOT NULL,         -- cpu, load1, disk …
  part    TEXT    NOT NULL,         -- a mount point …; empty: there is one
  unit    TEXT    NOT NULL,         -- of its values: percent, bytes_per_second …
  source  TEXT    NOT NULL,         -- who observed it first: glances …
  UNIQUE (subject, key, part)
) STRICT;
INSERT INTO subject_series (id, subject, key, part, unit, source)
  SELECT id, server, CASE substr(key, 1, 5) WHEN 'disk:' THEN 'disk' ELSE key END, CASE substr(key, 1, 5) WHEN 'disk:' THEN substr(key, 6) ELSE '' END,
    CASE WHEN key IN ('load1', 'load5', 'load15') THEN 'load' WHEN key IN ('net_rx', 'net_tx', 'disk_read', 'disk_write') THEN 'bytes_per_second'
      WHEN key = 'uptime' THEN 'seconds' WHEN key = 'poll' THEN 'milliseconds' ELSE 'percent' END, 'glances'
  FROM series;
DROP TABLE series;
ALTER TABLE subject_series RENAME TO series;
