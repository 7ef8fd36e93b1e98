-- What stood there before a change and after it, and by what somebody was let in; and the ways by which rows are looked for.
ALTER TABLE audit ADD COLUMN via TEXT NOT NULL DEFAULT '';          -- session 1f3a…, sign-in 1f3a…, token 5 backup, cli; empty: our own work
ALTER TABLE audit ADD COLUMN before TEXT NOT NULL DEFAULT '';       -- JSON object of what is different; empty: nothing was there
ALTER TABLE audit ADD COLUMN after TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN object_kind TEXT NOT NULL GENERATED ALWAYS AS (substr(object, 1, instr(object || ' ', ' ') - 1)) VIRTUAL;
ALTER TABLE audit ADD COLUMN object_ref TEXT NOT NULL GENERATED ALWAYS AS (
  substr(object, 1, instr(object || ' ', ' ') + instr(substr(object, instr(object || ' ', ' ') + 1) || ' ', ' ') - 1)
) VIRTUAL;
CREATE INDEX audit_at ON audit (at);
-- Those that leave many rows have the other filters' columns, too: no row is read that another filter drops.
CREATE INDEX audit_actor ON audit (actor, at, object_kind, ip);
CREATE INDEX audit_action ON audit (action, at, object_kind, ip);
CREATE INDEX audit_actor_action ON audit (actor, action, at, object_kind, ip);
CREATE INDEX audit_object_kind ON audit (object_kind, at);
CREATE INDEX audit_object_ref ON audit (object_ref, at);
CREATE INDEX audit_ip ON audit (ip, at);
-- INSERT OR REPLACE removes a row without asking the trigger that keeps them: a row comes behind the last one or not at all.
CREATE TRIGGER audit_grows_at_its_end BEFORE INSERT ON audit
  WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM audit)
  BEGIN SELECT RAISE(ABORT, 'audit rows come at the end'); END;
