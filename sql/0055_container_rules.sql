-- Rules about containers: which of them, and the words in a log that are counted.
ALTER TABLE alert_rules ADD COLUMN containers TEXT NOT NULL DEFAULT '';  -- names with *, project:NAME, exit:CODE; empty: all
ALTER TABLE alert_rules ADD COLUMN words TEXT NOT NULL DEFAULT '';       -- of a log

CREATE TRIGGER containers_take_their_rules_along AFTER DELETE ON containers BEGIN
  DELETE FROM alert_rule_firing WHERE subject_kind = 'container' AND subject_id = OLD.id;
  DELETE FROM alert_rule_waiting WHERE subject_kind = 'container' AND subject_id = OLD.id;
END;

-- Is it restarted when it is unhealthy?
ALTER TABLE containers ADD COLUMN restart_label INTEGER NOT NULL DEFAULT 0;   -- 1: its label says so
ALTER TABLE containers ADD COLUMN restart_unhealthy TEXT NOT NULL DEFAULT 'label'
  CHECK (restart_unhealthy IN ('label','on','off'));                          -- what people say of it
ALTER TABLE containers ADD COLUMN healed_at TEXT NOT NULL DEFAULT '[]';       -- times of the last of these restarts, unix ms
