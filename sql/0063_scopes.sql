-- What alert rules, silences and endpoints are narrowed to is said in the one language of rules; tags and groups of before
-- become such scopes. An empty scope is everything.
ALTER TABLE alert_rules ADD COLUMN scope TEXT NOT NULL DEFAULT ''; -- JSON object
UPDATE alert_rules SET scope = json_object('field', 'tags', 'op', 'in', 'value', json(tags)) WHERE json_array_length(tags) > 0;
UPDATE alert_rules SET scope = json_object('field', 'groups', 'op', 'in', 'value', json(groups))
  WHERE json_array_length(groups) > 0;
ALTER TABLE alert_rules DROP COLUMN tags;
ALTER TABLE alert_rules DROP COLUMN groups;

ALTER TABLE notification_endpoints ADD COLUMN scope TEXT NOT NULL DEFAULT '';
UPDATE notification_endpoints SET scope = json_object('field', 'tags', 'op', 'in', 'value', json(tags))
  WHERE json_array_length(tags) > 0;
ALTER TABLE notification_endpoints DROP COLUMN tags;

ALTER TABLE silences ADD COLUMN scope TEXT NOT NULL DEFAULT '';
UPDATE silences SET scope = json_object('field', 'tags', 'op', 'in', 'value', json_array(tag)) WHERE tag <> '';
-- The servers that a scope holds for, kept for lists while the silence is active; the scope itself decides about alerts.
CREATE TABLE silence_servers (
  silence_id INTEGER NOT NULL REFERENCES silences(id) ON DELETE CASCADE,
  server_id  INTEGER NOT NULL REFERENCES servers(id) ON DELETE CASCADE,
  PRIMARY KEY (silence_id, server_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX silence_servers_server ON silence_servers (server_id);
INSERT INTO silence_servers (silence_id, server_id)
  SELECT q.id, t.server_id FROM silences q JOIN server_tags t ON t.tag = q.tag WHERE q.tag <> '' AND q.state <> 'over'
  GROUP BY q.id, t.server_id;
ALTER TABLE silences DROP COLUMN tag;
