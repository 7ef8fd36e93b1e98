-- Rules hold for subjects of any kind, not for servers alone. What fires and what waits names its subject; a kind that can
-- be removed takes its rows along with a trigger of its own.
CREATE TABLE subject_firing (
  rule_id      INTEGER NOT NULL,
  subject_kind TEXT    NOT NULL,               -- server, container …
  subject_id   INTEGER NOT NULL,
  part         TEXT    NOT NULL,               -- a mount point …; empty: it is about the subject
  revision     INTEGER NOT NULL,               -- of the rule that fired
  PRIMARY KEY (rule_id, subject_kind, subject_id, part)
) STRICT, WITHOUT ROWID;
INSERT INTO subject_firing SELECT rule_id, 'server', server_id, part, revision FROM alert_rule_firing;
DROP TABLE alert_rule_firing;
ALTER TABLE subject_firing RENAME TO alert_rule_firing;
CREATE INDEX alert_rule_firing_subject ON alert_rule_firing (subject_kind, subject_id);

CREATE TABLE subject_waiting (
  rule_id      INTEGER NOT NULL,
  subject_kind TEXT    NOT NULL,
  subject_id   INTEGER NOT NULL,
  part         TEXT    NOT NULL,               -- as in alert_rule_firing
  revision     INTEGER NOT NULL,
  held_ms      INTEGER NOT NULL,               -- so long when it was last observed, by the monotonic clock
  seen_at      INTEGER NOT NULL,               -- when that was, unix ms
  readings     TEXT    NOT NULL,               -- JSON: the values with their times, for the evidence
  PRIMARY KEY (rule_id, subject_kind, subject_id, part)
) STRICT, WITHOUT ROWID;
INSERT INTO subject_waiting SELECT rule_id, 'server', server_id, part, revision, held_ms, seen_at, readings FROM alert_rule_waiting;
DROP TABLE alert_rule_waiting;
ALTER TABLE subject_waiting RENAME TO alert_rule_waiting;

CREATE TRIGGER servers_take_their_rules_along AFTER DELETE ON servers BEGIN
  DELETE FROM alert_rule_firing WHERE subject_kind = 'server' AND subject_id = OLD.id;
  DELETE FROM alert_rule_waiting WHERE subject_kind = 'server' AND subject_id = OLD.id;
END;
