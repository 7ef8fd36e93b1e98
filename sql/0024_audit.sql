-- Rows of the audit do not go, either: nothing of ours removes one, and the chain misses what somebody else does.
CREATE TRIGGER audit_keeps_its_rows BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit rows are not removed'); END;
