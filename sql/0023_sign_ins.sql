-- One sign-in is one family: its session and its tokens end together.
ALTER TABLE sessions ADD COLUMN family TEXT NOT NULL DEFAULT '';
UPDATE sessions SET family = lower(hex(hash));
CREATE INDEX sessions_family ON sessions (family);
-- For which token this one was given, and a hash of the client that has used it: a token may come twice only from a
-- client that lost the answer.
ALTER TABLE refresh_tokens ADD COLUMN parent BLOB;
ALTER TABLE refresh_tokens ADD COLUMN used_by BLOB;
