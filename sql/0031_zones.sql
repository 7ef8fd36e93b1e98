-- The time zone somebody reads times in, like Europe/Berlin; empty: the house's.
ALTER TABLE users ADD COLUMN time_zone TEXT NOT NULL DEFAULT '';
ALTER TABLE notification_endpoints ADD COLUMN time_zone TEXT NOT NULL DEFAULT '';
