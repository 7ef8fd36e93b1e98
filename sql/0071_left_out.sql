-- A host that a rotation goes on without.
ALTER TABLE secret_rotation_hosts ADD COLUMN left_out INTEGER NOT NULL DEFAULT 0;
