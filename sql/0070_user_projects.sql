-- Of what belongs to projects an account sees that of these alone: a JSON list of their numbers; empty: of all.
ALTER TABLE users ADD COLUMN projects TEXT NOT NULL DEFAULT '[]';
