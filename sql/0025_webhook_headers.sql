-- Further headers of a webhook, one a line; they may hold keys.
ALTER TABLE notification_endpoints ADD COLUMN headers BLOB; -- sealed
