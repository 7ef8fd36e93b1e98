-- Since when it is so, unix ms: a look that sees the same again moves nothing. Of what is so already, as its alert knows.
ALTER TABLE domains ADD COLUMN ns_since INTEGER;
ALTER TABLE domains ADD COLUMN cert_since INTEGER;
ALTER TABLE domain_sites ADD COLUMN since INTEGER;
UPDATE domains SET
  ns_since = (SELECT min(a.first_at) FROM alerts a WHERE a.state <> 'resolved' AND a.target_type = 'domain'
    AND a.target_id = domains.id AND a.kind = CASE ns_state WHEN 'mismatch' THEN 'ns.mismatch' WHEN 'error' THEN 'ns.resolve_failed' END),
  cert_since = (SELECT min(a.first_at) FROM alerts a WHERE a.state <> 'resolved' AND a.target_type = 'domain'
    AND a.target_id = domains.id AND a.kind = 'certificate.' || cert_state);
UPDATE domain_sites SET since = coalesce(
  (SELECT min(a.first_at) FROM alerts a WHERE a.state <> 'resolved' AND a.target_type = 'domain' AND a.target_id = domain_id
    AND a.kind = CASE domain_sites.state WHEN 'failed' THEN 'deploy.failed' WHEN 'drifted' THEN 'domain.drifted' END),
  CASE state WHEN 'live' THEN deployed_at END);

-- What is beyond its limit and waits for its rule's time, as it was when that was last written down.
CREATE TABLE alert_rule_waiting (
  rule_id    INTEGER NOT NULL,
  server_id  INTEGER NOT NULL REFERENCES servers(id) ON DELETE CASCADE,
  part       TEXT    NOT NULL,               -- as in alert_rule_firing
  revision   INTEGER NOT NULL,
  held_ms    INTEGER NOT NULL,               -- so long at the last poll, by the monotonic clock
  seen_at    INTEGER NOT NULL,               -- when that poll was, unix ms
  readings   TEXT    NOT NULL,               -- JSON: the values with their times, for the evidence
  PRIMARY KEY (rule_id, server_id, part)
) STRICT, WITHOUT ROWID;
