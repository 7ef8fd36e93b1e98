-- What the open alerts about a server come to, pushed by whoever changes one: nobody has to count them.
ALTER TABLE servers ADD COLUMN alerts_open INTEGER NOT NULL DEFAULT 0;
ALTER TABLE servers ADD COLUMN alerts_kinds TEXT NOT NULL DEFAULT '';    -- of them, with spaces between
ALTER TABLE servers ADD COLUMN alert_id INTEGER;                         -- the worst from WARNING on, of several the oldest
ALTER TABLE servers ADD COLUMN alerts_since INTEGER NOT NULL DEFAULT 0;  -- when that began; without one, when the last ended
ALTER TABLE servers ADD COLUMN missed_since INTEGER;                     -- when the first of the polls missed in a row began

ALTER TABLE servers ADD COLUMN host_seen TEXT;                           -- while it is dark: which of its other ports answered

-- The state of a server, for everybody who asks. Since when: the condition that is told of.
ALTER TABLE servers ADD COLUMN state TEXT NOT NULL GENERATED ALWAYS AS (
  CASE WHEN status = 'unreachable' THEN 'down' WHEN alert_id IS NOT NULL THEN 'degraded' WHEN status = 'ok' THEN 'up' ELSE 'pending' END
) VIRTUAL;
ALTER TABLE servers ADD COLUMN state_since INTEGER NOT NULL GENERATED ALWAYS AS (
  CASE WHEN status = 'unreachable' THEN status_since WHEN alert_id IS NOT NULL THEN alerts_since
  ELSE max(status_since, alerts_since) END
) VIRTUAL;

UPDATE servers SET
  alerts_open = (SELECT count(*) FROM alerts a WHERE a.target_type = 'server' AND a.target_id = servers.id AND a.state <> 'resolved'),
  alerts_kinds = (SELECT coalesce(group_concat(DISTINCT a.kind), '') FROM alerts a
    WHERE a.target_type = 'server' AND a.target_id = servers.id AND a.state <> 'resolved'),
  alert_id = (SELECT a.id FROM alerts a
    WHERE a.target_type = 'server' AND a.target_id = servers.id AND a.state <> 'resolved' AND a.level <> 'INFO'
    ORDER BY instr('WARNING ERROR CRITICAL', a.level) DESC, a.first_at, a.id LIMIT 1);
UPDATE servers SET alerts_since = coalesce((SELECT first_at FROM alerts a WHERE a.id = servers.alert_id), 0),
  alerts_kinds = replace(alerts_kinds, ',', ' ');

-- Who was told of an alert.
CREATE INDEX notification_queue_about ON notification_queue (fingerprint, id);
