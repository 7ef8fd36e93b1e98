-- What the host name, where it is one, has meant so far: addresses with spaces between, the latest first.
ALTER TABLE servers ADD COLUMN addresses TEXT NOT NULL DEFAULT '';
-- When it came to mean none of them any more, unix ms, and what was seen then.
ALTER TABLE servers ADD COLUMN moved_at INTEGER;
ALTER TABLE servers ADD COLUMN moved TEXT NOT NULL DEFAULT '';
