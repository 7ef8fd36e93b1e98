-- A certificate is taken no longer than those above it: the end that comes first, and whose it is.
ALTER TABLE certwatch_served ADD COLUMN good_until INTEGER;
ALTER TABLE certwatch_served ADD COLUMN ends_by TEXT NOT NULL DEFAULT ''; -- empty: its own
UPDATE certwatch_served SET good_until = not_after;
