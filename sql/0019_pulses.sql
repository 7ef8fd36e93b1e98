-- How often in a row periodic work has failed, and when it last showed that it is alive.
ALTER TABLE periodic ADD COLUMN fails INTEGER NOT NULL DEFAULT 0;
ALTER TABLE periodic ADD COLUMN alive_at INTEGER NOT NULL DEFAULT 0;
