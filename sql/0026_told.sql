-- What a client called the request that carried a change; the row's MAC covers it where it is there.
ALTER TABLE audit ADD COLUMN client_request_id TEXT NOT NULL DEFAULT '';

-- The role of who saved an endpoint last: its messages say what that role may see. Of those that are there, as the audit
-- knows; one from the environment is the administrator's of the machine.
ALTER TABLE notification_endpoints ADD COLUMN saved_by TEXT NOT NULL DEFAULT 'operator';
UPDATE notification_endpoints SET saved_by = coalesce(
  (SELECT CASE WHEN a.actor IN ('system', 'cli') THEN 'admin' ELSE u.role END
     FROM audit a LEFT JOIN users u ON u.login = a.actor
    WHERE a.action IN ('notification.create', 'notification.update')
      AND a.object LIKE 'notification ' || notification_endpoints.id || ' %'
    ORDER BY a.seq DESC LIMIT 1), 'operator');
