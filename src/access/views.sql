-- What a caller sees who was granted less than everything: views before the tables of the same names, on a connection of
-- their own. `granted` has a row for each right to read and scope; `reached` says to which things these come, as
-- `Grants::hold` does. A table that is not here is filtered by the right that its routes ask for alone.
CREATE TEMP TABLE granted ("right" TEXT NOT NULL, scope TEXT NOT NULL, id INTEGER);

CREATE TEMP VIEW reached AS
  SELECT "right", scope AS type, id FROM granted WHERE scope IN ('group', 'server')
  UNION ALL
  SELECT g."right", 'domain', d.id FROM granted g JOIN main.domains d ON d.group_id = g.id WHERE g.scope = 'group'
  UNION ALL
  SELECT g."right", 'domain', s.domain_id FROM granted g JOIN main.domain_sites s ON s.server_id = g.id
  WHERE g.scope = 'server' AND NOT EXISTS (
    SELECT 1 FROM main.domain_sites o WHERE o.domain_id = s.domain_id AND o.server_id NOT IN (
      SELECT h.id FROM granted h WHERE h."right" = g."right" AND h.scope = 'server'))
  UNION ALL
  SELECT g."right", 'container', c.id FROM granted g JOIN main.containers c ON c.server_id = g.id WHERE g.scope = 'server'
  UNION ALL
  SELECT g."right", 'service', s.id FROM granted g JOIN main.services s ON s.server_id = g.id WHERE g.scope = 'server';

-- Things of projects that are not the caller's, if they see some projects alone.
CREATE TEMP VIEW hidden AS SELECT kind AS type, thing_id AS id FROM main.project_things
  WHERE EXISTS (SELECT 1 FROM granted WHERE scope = 'project')
    AND project_id NOT IN (SELECT id FROM granted WHERE scope = 'project');

CREATE TEMP VIEW everything AS SELECT "right" FROM granted WHERE scope = 'all';

CREATE TEMP VIEW servers AS SELECT * FROM main.servers WHERE 'servers:read' IN everything
  OR id IN (SELECT r.id FROM reached r WHERE r."right" = 'servers:read' AND r.type = 'server');
CREATE TEMP VIEW server_tags AS SELECT * FROM main.server_tags WHERE server_id IN (SELECT id FROM temp.servers);
CREATE TEMP VIEW host_checks AS SELECT * FROM main.host_checks WHERE server_id IN (SELECT id FROM temp.servers);
CREATE TEMP VIEW host_facts AS SELECT * FROM main.host_facts WHERE server_id IN (SELECT id FROM temp.servers);
CREATE TEMP VIEW domains AS SELECT * FROM main.domains WHERE 'domains:read' IN everything
  OR id IN (SELECT r.id FROM reached r WHERE r."right" = 'domains:read' AND r.type = 'domain');
CREATE TEMP VIEW domain_sites AS SELECT * FROM main.domain_sites WHERE domain_id IN (SELECT id FROM temp.domains);
CREATE TEMP VIEW containers AS SELECT * FROM main.containers WHERE 'containers:read' IN everything
  OR server_id IN (SELECT r.id FROM reached r WHERE r."right" = 'containers:read' AND r.type = 'server');
CREATE TEMP VIEW container_engines AS SELECT * FROM main.container_engines WHERE 'containers:read' IN everything
  OR server_id IN (SELECT r.id FROM reached r WHERE r."right" = 'containers:read' AND r.type = 'server');
CREATE TEMP VIEW services AS SELECT * FROM main.services WHERE 'services:read' IN everything
  OR server_id IN (SELECT r.id FROM reached r WHERE r."right" = 'services:read' AND r.type = 'server');
CREATE TEMP VIEW availability AS SELECT * FROM main.availability WHERE CASE kind
  WHEN 'server' THEN subject IN (SELECT id FROM temp.servers)
  WHEN 'domain' THEN subject IN (SELECT id FROM temp.domains)
  ELSE subject IN (SELECT id FROM temp.services) END;
CREATE TEMP VIEW groups AS SELECT * FROM main.groups WHERE ('groups:read' IN everything
  OR id IN (SELECT r.id FROM reached r WHERE r."right" = 'groups:read' AND r.type = 'group'))
  AND id NOT IN (SELECT h.id FROM hidden h WHERE h.type = 'group');
CREATE TEMP VIEW secrets AS SELECT * FROM main.secrets WHERE id NOT IN (SELECT h.id FROM hidden h WHERE h.type = 'secret');
CREATE TEMP VIEW notification_endpoints AS SELECT * FROM main.notification_endpoints
  WHERE id NOT IN (SELECT h.id FROM hidden h WHERE h.type = 'endpoint');
CREATE TEMP VIEW plugins AS SELECT * FROM main.plugins WHERE id NOT IN (SELECT h.id FROM hidden h WHERE h.type = 'plugin');
CREATE TEMP VIEW leases AS SELECT * FROM main.leases
  WHERE secret_id NOT IN (SELECT h.id FROM hidden h WHERE h.type = 'secret');
CREATE TEMP VIEW notification_queue AS SELECT * FROM main.notification_queue
  WHERE endpoint_id NOT IN (SELECT h.id FROM hidden h WHERE h.type = 'endpoint');
CREATE TEMP VIEW group_members AS SELECT * FROM main.group_members WHERE group_id IN (SELECT id FROM temp.groups)
  AND server_id IN (SELECT id FROM temp.servers);
CREATE TEMP VIEW upstreams AS SELECT * FROM main.upstreams WHERE 'upstreams:read' IN everything;
CREATE TEMP VIEW certificates AS SELECT * FROM main.certificates WHERE 'certificates:read' IN everything;
CREATE TEMP VIEW tasks AS SELECT * FROM main.tasks WHERE ('tasks:read' IN everything
  OR (target_type, target_id) IN (SELECT r.type, r.id FROM reached r WHERE r."right" = 'tasks:read'))
  AND (target_type, target_id) NOT IN (SELECT h.type, h.id FROM hidden h);
CREATE TEMP VIEW schedules AS SELECT * FROM main.schedules WHERE ('tasks:read' IN everything
  OR (target_type, target_id) IN (SELECT r.type, r.id FROM reached r WHERE r."right" = 'tasks:read'))
  AND (target_type, target_id) NOT IN (SELECT h.type, h.id FROM hidden h);
CREATE TEMP VIEW alerts AS SELECT * FROM main.alerts WHERE ('alerts:read' IN everything
  OR (target_type, target_id) IN (SELECT r.type, r.id FROM reached r WHERE r."right" = 'alerts:read'))
  AND (target_type, target_id) NOT IN (SELECT h.type, h.id FROM hidden h);
CREATE TEMP VIEW events AS SELECT * FROM main.events WHERE ('events:read' IN everything
  OR (target_type, target_id) IN (SELECT r.type, r.id FROM reached r WHERE r."right" = 'events:read'))
  AND (target_type, target_id) NOT IN (SELECT h.type, h.id FROM hidden h);
CREATE TEMP VIEW silences AS SELECT s.* FROM main.silences s WHERE 'silences:read' IN everything
  OR ((SELECT t.target_type FROM main.silence_targets t WHERE t.silence_id = s.id
       ORDER BY t.target_type <> 'server', t.target_type LIMIT 1),
      (SELECT t.target_id FROM main.silence_targets t WHERE t.silence_id = s.id
       ORDER BY t.target_type <> 'server', t.target_type LIMIT 1))
    IN (SELECT r.type, r.id FROM reached r WHERE r."right" = 'silences:read');
