-- Of a service of the kind command: which revision of it was written to its server last; 0: none is there.
ALTER TABLE services ADD COLUMN applied INTEGER NOT NULL DEFAULT 0;
