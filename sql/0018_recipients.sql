-- Who cannot be reached is a state of each recipient, not of the endpoint: one that works says nothing about the other.
CREATE TABLE notification_gone (
  endpoint_id INTEGER NOT NULL REFERENCES notification_endpoints(id) ON DELETE CASCADE,
  recipient   TEXT    NOT NULL,               -- as in the queue
  since       INTEGER NOT NULL,
  answer      TEXT    NOT NULL,               -- the last words of whoever refused
  PRIMARY KEY (endpoint_id, recipient)
) STRICT, WITHOUT ROWID;
-- What was known about whole endpoints ends here; the next dead letter says of whom.
UPDATE alerts SET state = 'resolved', resolved_at = last_at WHERE kind = 'notification.dead' AND state <> 'resolved';
ALTER TABLE notification_endpoints DROP COLUMN failing;

-- How many answers to a message said neither yes nor no.
ALTER TABLE notification_queue ADD COLUMN doubts INTEGER NOT NULL DEFAULT 0;
